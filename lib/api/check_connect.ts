/**
 * Whether the options of `connect()` make sense, before anything is dialled, and what is written here for what others call otherwise.
 *
 * @module
 */
import { checkMethods } from "../auth/methods.ts";
import { printable } from "../errors.ts";
import { isPublicKey } from "../keys/check_key.ts";
import { insecureAcceptAnyHostKey, knownHosts, pinnedHostKey } from "../keys/trust/known_hosts.ts";
import { checkDuplex, checkNames, checkPort, checkText, type Habit, kindOf, wrongKind } from "../wire/check.ts";
import { checkClientHostKeys } from "./check_algorithms.ts";
import { checkAll, checkKeepalive, type Checks, connectionChecks, optionIs } from "./check_options.ts";
import type { ConnectOptions } from "./connect_options.ts";

const key = { ours: ["auth"], write: "`auth: [publicKey(text)]`" };
const verifier = {
  ours: ["verifyHostKey"],
  write: "`verifyHostKey: knownHosts(text)` or `pinnedHostKey(fingerprint)`",
};
const streams = { ours: ["transport"], write: "`transport: { readable, writable }`" };
const time = { ours: ["handshakeTimeout", "signal"], write: "`handshakeTimeout` or `signal: AbortSignal.timeout(…)`" };
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
  tunnel: streams,
  timeout: time,
  readyTimeout: time,
  connectTimeout: time,
  connect_timeout: time,
  login_timeout: time,
  ConnectTimeout: time,
  keepaliveInterval: { ours: ["keepalive"], write: "`keepalive: { interval }`" },
  keepalive_interval: { ours: ["keepalive"], write: "`keepalive: { interval }`" },
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
  // deno-lint-ignore no-control-regex
  if (/[\s\u0000-\u001f\u007f]/.test(hostname)) {
    throw new TypeError(`${cannot} a name of a host has no spaces and no control characters`);
  }
  // As URLs write IPv6 addresses; connect() takes the brackets off.
  if (/[[\]]/.test(hostname) && !/^\[[\da-f:.%\w]+\]$/i.test(hostname)) {
    throw new TypeError(`${cannot} brackets belong around an IPv6 address only, and none are needed`);
  }
}

const checks: Checks<ConnectOptions> = {
  ...connectionChecks,
  hostname: checkHostname,
  port: (value) => checkPort(value, 1),
  username: (value, name) => {
    checkText(name, value);
    if (value === "") throw new TypeError("Cannot connect: `username` is empty");
  },
  auth: checkMethods,
  verifyHostKey: checkVerifier,
  transport: (value, name) => {
    // What Deno.connect() and its addresses have under this name.
    if (value === "tcp") throw wrongKind(name, value, "left out to dial by TCP, or a pair of byte streams");
    checkDuplex(name, value);
  },
  signal: optionIs.signal,
  onBanner: optionIs.function,
  handshakeTimeout: optionIs.time,
  keepalive: checkKeepalive,
  requireStrictKex: optionIs.flag,
  requireAuth: optionIs.flag,
  trace: optionIs.function,
};

/** Throws `TypeError` or `RangeError` for options that make no sense, the first one that it meets. */
export function checkConnect(options: unknown): asserts options is ConnectOptions {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    const got = options === undefined ? "no options were given" : `${kindOf(options)} is no object of options`;
    throw new TypeError(`Cannot connect: ${got}; write ${EXAMPLE}`);
  }
  checkNames("connect()", options, Object.keys(checks), habits);
  for (const name of ["hostname", "username"] as const) {
    if ((options as Partial<ConnectOptions>)[name] !== undefined) continue;
    throw new TypeError(`Cannot connect: \`${name}\` is missing; write ${EXAMPLE}`);
  }
  checkAll(checks, options);
  checkClientHostKeys((options as ConnectOptions).algorithms);
}
