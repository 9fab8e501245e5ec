/**
 * Whether the options of `connect()` make sense, before anything is dialled, and what is written here for what others call otherwise.
 *
 * @module
 */
import { checkMethods } from "../auth/methods.ts";
import { printable } from "../errors.ts";
import { withoutBrackets } from "../forward/addresses.ts";
import { MAX_HOST } from "../forward/messages.ts";
import { isPublicKey } from "../keys/check_key.ts";
import { insecureAcceptAnyHostKey, knownHosts, pinnedHostKey } from "../keys/trust/known_hosts.ts";
import { checkCommand, expandCommand } from "../proxy/command.ts";
import { checkTarget, parseProxy } from "../proxy/proxy_url.ts";
import { checkDuplex, checkNames, checkPort, checkText, type Habit, kindOf, wrongKind } from "../wire/check.ts";
import { checkClientHostKeys } from "./check_algorithms.ts";
import { channelChecks, checkAll, type Checks, optionIs, protocolChecks } from "./check_options.ts";
import type { ConnectOptions, DialOptions, HandshakeOptions, LoginOptions } from "./connect_options.ts";
import { proxyOf } from "./dial.ts";
import { hopsOf } from "./jump.ts";
import { SshClient } from "./ssh_client.ts";

const key = { ours: ["auth"], write: "`auth: [publicKey(text)]`" };
const verifier = {
  ours: ["verifyHostKey"],
  write: "`verifyHostKey: knownHosts(text)` or `pinnedHostKey(fingerprint)`",
};
const streams = { ours: ["transport", "jump", "proxyCommand", "proxy"], write: "`transport: { readable, writable }`" };
const jump = { ours: ["jump"], write: '`jump: "user@host"`' };
const command = { ours: ["proxyCommand"], write: '`proxyCommand: ["nc", "%h", "%p"]`, in words,' };
const proxyUrl = { ours: ["proxy"], write: '`proxy: "socks5://host:1080"`' };
/** A signal is no advice: it would end the connection, too. */
const time = {
  ours: ["handshakeTimeout", "loginTimeout", "signal"],
  write: "`loginTimeout` for all of it, or `handshakeTimeout`, in milliseconds,",
};
const listed = (name: string): Habit => ({ ours: ["algorithms"], write: `\`algorithms: { ${name}: […] }\`` });

/** What users of ssh2, node-ssh, paramiko, AsyncSSH and ssh_config are used to. */
const habits: Readonly<Record<string, Habit>> = {
  host: { ours: ["hostname"], write: "`hostname`" },
  address: { ours: ["hostname"], write: "`hostname`" },
  server: { ours: ["hostname"], write: "`hostname`" },
  user: { ours: ["username"], write: "`username`" },
  login: { ours: ["username"], write: "`username`" },
  password: { ours: ["auth"], write: "`auth: [password(text)]`" },
  passphrase: { ours: ["auth"], write: "`auth: [publicKey(await parsePrivateKey(text, { passphrase }))]`" },
  tryKeyboard: { ours: ["auth"], write: "`auth: [keyboardInteractive(answer)]`" },
  agent: { ours: ["auth"], write: "`auth: [publicKey(await connectAgent())]`" },
  privateKey: key,
  privateKeyPath: key,
  private_key: key,
  key,
  pkey: key,
  keyFile: key,
  key_filename: key,
  client_keys: key,
  identityFile: key,
  IdentityFile: key,
  authHandler: { ours: ["auth"], write: "`auth: […]`, tried in order" },
  authMethods: { ours: ["auth"], write: "`auth: […]`, tried in order" },
  hostVerifier: verifier,
  hostHash: verifier,
  hostKey: verifier,
  knownHosts: verifier,
  known_hosts: verifier,
  strictHostKeyChecking: verifier,
  StrictHostKeyChecking: verifier,
  sock: streams,
  socket: streams,
  stream: streams,
  tunnel: jump,
  ProxyJump: jump,
  proxyJump: jump,
  jumpHost: jump,
  jump_host: jump,
  ProxyCommand: command,
  proxy_command: command,
  socks: proxyUrl,
  socksProxy: proxyUrl,
  httpProxy: proxyUrl,
  HostKeyAlias: { ours: ["hostKeyAlias"], write: "`hostKeyAlias`" },
  host_key_alias: { ours: ["hostKeyAlias"], write: "`hostKeyAlias`" },
  timeout: time,
  readyTimeout: time,
  connectTimeout: time,
  connect_timeout: time,
  login_timeout: { ours: ["loginTimeout"], write: "`loginTimeout`, in milliseconds," },
  ConnectTimeout: time,
  keepaliveInterval: { ours: ["keepalive"], write: "`keepalive: { interval }`" },
  keepalive_interval: { ours: ["keepalive"], write: "`keepalive: { interval }`" },
  ChannelTimeout: { ours: ["idleTimeout"], write: "`idleTimeout`, in milliseconds and for the connection," },
  ServerAliveInterval: { ours: ["keepalive"], write: "`keepalive: { interval }`, in milliseconds," },
  keepaliveCountMax: { ours: ["keepalive"], write: "`keepalive: { interval, maxMissed }`" },
  ServerAliveCountMax: { ours: ["keepalive"], write: "`keepalive: { interval, maxMissed }`" },
  ciphers: listed("cipher"),
  cipher: listed("cipher"),
  kex: listed("kex"),
  kexAlgorithms: listed("kex"),
  mac: listed("mac"),
  macs: listed("mac"),
  compress: listed("compression"),
  compression: listed("compression"),
};

const EXAMPLE = "`connect({ hostname, username })`";

function checkVerifier(value: unknown, name: string): void {
  if (typeof value === "function") {
    const factory = [knownHosts, pinnedHostKey, insecureAcceptAnyHostKey].find((one) => one === value);
    if (factory === undefined) return;
    throw new TypeError(`Cannot use ${factory.name} as \`${name}\`: call it, ${factory.name}()`);
  }
  const advice = typeof value === "string"
    ? "; `pinnedHostKey(text)` makes one of a fingerprint or a key, `knownHosts(text)` of known_hosts"
    : value === true
    ? "; `insecureAcceptAnyHostKey()` is one that trusts whoever answers"
    : isPublicKey(value)
    ? "; `pinnedHostKey(await key.fingerprint())` makes one of a key"
    : ", as knownHosts() and pinnedHostKey() make it";
  throw wrongKind(name, value, `a function${advice}`);
}

/** Throws for names that are no name of a host, but an address with more in it, and says how that is written. */
function checkHostname(value: unknown, name: string): void {
  if (value instanceof URL) throw wrongKind(name, value, "a text: write `url.hostname`");
  checkText(name, value, "a text");
  const hostname = value as string, cannot = `Cannot connect to "${printable(hostname, 64)}":`;
  if (hostname === "") throw new TypeError("Cannot connect: `hostname` is empty");
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(hostname)?.[0];
  const [, user, host, port] =
    /^(?:([^@]*)@)?(\[.*\]|[^:/]*)(?::(\d*))?(?:\/.*)?$/.exec(hostname.slice(scheme?.length ?? 0)) ?? [];
  // What stands before the @ may hold a password.
  if (scheme !== undefined || user !== undefined) {
    const parts = [
      `hostname: ${host ? `"${printable(host.replace(/^\[|\]$/g, ""), 64)}"` : "…"}`,
      ...port ? [`port: ${Number(port)}`] : [],
      ...user !== undefined ? [`username: ${user.includes(":") ? "…" : `"${printable(user, 64)}"`}`] : [],
    ];
    throw new TypeError(
      `Cannot use a ${scheme === undefined ? "user@host" : "URL"} as \`hostname\`: write \`${parts.join(", ")}\``,
    );
  }
  if (port !== undefined) {
    const bare = printable(host!.replace(/^\[|\]$/g, ""), 64);
    const write = `hostname: "${bare}"${port === "" ? "" : `, port: ${Number(port)}`}`;
    throw new TypeError(`${cannot} it names a port; write \`${write}\``);
  }
  checkName(cannot, hostname);
  // As URLs write IPv6 addresses; connect() takes the brackets off.
  if (/[[\]]/.test(hostname) && !/^\[[\da-f:.%\w]+\]$/i.test(hostname)) {
    throw new TypeError(`${cannot} brackets belong around an IPv6 address only, and none are needed`);
  }
}

/** Throws for a name that no host has. */
function checkName(cannot: string, hostname: string): void {
  // deno-lint-ignore no-control-regex
  if (/[\s\u0000-\u001f\u007f]/.test(hostname)) {
    throw new TypeError(`${cannot} a name of a host has no spaces and no control characters`);
  }
  if (!hostname.isWellFormed()) throw new TypeError(`${cannot} a name of a host has no lone surrogates`);
  const { length } = new TextEncoder().encode(hostname);
  if (length > MAX_HOST) throw new RangeError(`${cannot} a name of ${length} bytes; ${MAX_HOST} are the most`);
}

function checkAlias(value: unknown, name: string): void {
  checkText(name, value);
  if (value === "") throw new TypeError(`Cannot connect: \`${name}\` is empty`);
  checkName(`Cannot use "${printable(value as string, 64)}" as \`${name}\`:`, value as string);
}

const dialChecks: Checks<DialOptions> = {
  hostname: checkHostname,
  port: (value) => checkPort(value, 1),
  transport: (value, name) => {
    // What Deno.connect() and its addresses have under this name.
    if (value === "tcp") throw wrongKind(name, value, "left out to dial by TCP, or a pair of byte streams");
    checkDuplex(name, value);
  },
  jump: (value) => void hopsOf(value),
  proxyCommand: checkCommand,
  proxy: (value, name) => {
    // What the environment says is read where the host is known.
    if (value !== "environment") parseProxy(value, name);
  },
  handshakeTimeout: optionIs.time,
};

const handshakeChecks: Checks<HandshakeOptions> = {
  ...protocolChecks,
  verifyHostKey: checkVerifier,
  hostKeyAlias: checkAlias,
  updateHostKeys: (value, name) => {
    if (value === undefined || typeof value === "boolean" || typeof value === "function") return;
    throw wrongKind(name, value, "true, false, or a function that is asked");
  },
  onNotice: optionIs.function,
  requireStrictKex: optionIs.flag,
  trace: optionIs.function,
};

const loginChecks: Checks<LoginOptions> = {
  username: (value, name) => {
    checkText(name, value);
    if (value === "") throw new TypeError("Cannot connect: `username` is empty");
  },
  auth: checkMethods,
  onBanner: optionIs.function,
  requireAuth: optionIs.flag,
  loginTimeout: optionIs.time,
};

const checks: Checks<ConnectOptions> = {
  ...dialChecks,
  ...handshakeChecks,
  ...loginChecks,
  ...channelChecks,
  signal: optionIs.signal,
};

/** The options as they are now. */
export function snapshot(options: ConnectOptions): ConnectOptions {
  const names = Object.keys(checks) as (keyof ConnectOptions)[];
  return Object.fromEntries(names.map((name) => [name, options[name]])) as unknown as ConnectOptions;
}

/** Throws `TypeError` where more than one way leads to the host, or where what is on the way cannot be asked for it. */
function checkWay(options: ConnectOptions): void {
  const { hostname, port = 22, proxyCommand, username } = options,
    target = { hostname: withoutBrackets(hostname), port };
  const ways = (["transport", "jump", "proxyCommand", "proxy"] as const)
    .filter((way) => way === "jump" ? hopsOf(options.jump).length > 0 : options[way] !== undefined);
  if (ways.length > 1) {
    const [one, other] = ways.map((way) => `\`${way}\``);
    const advice = ways.includes("jump") ? "; the first hop may have it, in its own options" : "";
    throw new TypeError(`Cannot connect by two ways at once, ${one} and ${other}${advice}`);
  }
  const proxy = proxyOf(options, target.hostname);
  if (proxy !== null) checkTarget(proxy, target);
  if (proxyCommand !== undefined) {
    expandCommand(proxyCommand as readonly [string, ...string[]], { ...target, username });
  }
}

/** Throws `TypeError` or `RangeError` for options that make no sense, of the host's own or of a hop's, the first one that it meets. */
export function checkConnect(options: unknown): asserts options is ConnectOptions {
  checkHost(options);
  for (const [i, hop] of hopsOf(options.jump).entries()) {
    if (hop instanceof SshClient) continue;
    try {
      checkHost(hop);
      const way = (["transport", "proxyCommand", "proxy"] as const).find((way) => hop[way] !== undefined);
      if (way !== undefined && i > 0) {
        throw new TypeError(
          `Cannot use \`${way}\` of a hop that is reached through another one: the first may have it`,
        );
      }
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
      const type = error instanceof TypeError ? TypeError : RangeError;
      throw new type(`${error.message} (hop ${i + 1} of \`jump\`)`, { cause: error });
    }
  }
}

/** Throws `TypeError` for names that are near misses of ours, in options that need not be whole. */
export function checkConnectNames(where: string, options: object): void {
  checkNames(where, options, Object.keys(checks), habits);
}

function checkHost(options: unknown): asserts options is ConnectOptions {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    const got = options === undefined ? "no options were given" : `${kindOf(options)} is no object of options`;
    throw new TypeError(`Cannot connect: ${got}; write ${EXAMPLE}`);
  }
  checkConnectNames("connect()", options);
  for (const name of ["hostname", "username"] as const) {
    if ((options as Partial<ConnectOptions>)[name] !== undefined) continue;
    throw new TypeError(`Cannot connect: \`${name}\` is missing; write ${EXAMPLE}`);
  }
  checkAll(checks, options);
  checkClientHostKeys((options as ConnectOptions).algorithms);
  checkWay(options as ConnectOptions);
}
