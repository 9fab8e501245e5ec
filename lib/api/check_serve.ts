/**
 * Whether the options of `serve()` and `serveConn()` make sense, before anything listens, and what is written here for what others
 * call otherwise.
 *
 * @module
 */
import type { ServerAuth } from "../auth/types.ts";
import { isPublicKey, isSigner } from "../keys/check_key.ts";
import {
  checkBacklog,
  checkFunction,
  checkInteger,
  checkNames,
  checkObject,
  checkPort,
  checkText,
  type Habit,
  isOptions,
  kindOf,
  wrongKind,
} from "../wire/check.ts";
import { isThenable } from "../wire/callback.ts";
import { meantBy } from "../wire/near.ts";
import type { MaxStartups } from "./admission/admission.ts";
import {
  channelChecks,
  checkAll,
  type Checks,
  checkServerHostKeys,
  COUNT,
  optionIs,
  protocolChecks,
  serverLoginChecks,
} from "./check_options.ts";
import type { SourcePenalties } from "./admission/penalties.ts";
import type {
  AdmissionOptions,
  ListenOptions,
  ServeOptions,
  ServerHandshakeOptions,
  ServerLoginOptions,
  ServiceOptions,
} from "./serve_options.ts";

const EXAMPLE = "`serve({ hostKeys: [key], auth: { password: (info, text) => … } })`";

const key = { ours: ["hostKeys"], write: "`hostKeys: [await parsePrivateKey(text)]`" };
const forwarding = { ours: ["allowForward"], write: "`allowForward: (info, request) => …`" };
const elsewhere = { ours: ["port"], write: "`hostname` and `port`; what comes otherwise is for `serveConn()`" };
const listed = (name: string): Habit => ({ ours: ["algorithms"], write: `\`algorithms: { ${name}: […] }\`` });

/** What users of ssh2, AsyncSSH, `Deno.serve`, Go's ssh and sshd_config are used to. */
const habits: Readonly<Record<string, Habit>> = {
  host: { ours: ["hostname"], write: "`hostname`" },
  address: { ours: ["hostname"], write: "`hostname`" },
  ListenAddress: { ours: ["hostname"], write: "`hostname`" },
  path: elsewhere,
  backlog: { ours: ["tcpBacklog"], write: "`tcpBacklog`" },
  listener: elsewhere,
  hostKey: key,
  host_keys: key,
  HostKey: key,
  server_host_keys: key,
  privateKey: key,
  authentication: { ours: ["auth"], write: "`auth: { … }`" },
  authorizedKeys: { ours: ["auth"], write: "`auth: { publicKey: (info, key) => … }`" },
  authorized_keys: { ours: ["auth"], write: "`auth: { publicKey: (info, key) => … }`" },
  password: { ours: ["auth"], write: "`auth: { password: (info, text) => … }`" },
  publicKey: { ours: ["auth"], write: "`auth: { publicKey: (info, key) => … }`" },
  onSession: { ours: ["handler"], write: "`handler`" },
  process_factory: { ours: ["handler"], write: "`handler`" },
  session_factory: { ours: ["handler"], write: "`handler`" },
  sftp: { ours: ["subsystems"], write: "`subsystems: { sftp: sftpSubsystem({ root }) }`" },
  sftp_factory: { ours: ["subsystems"], write: "`subsystems: { sftp: sftpSubsystem({ root }) }`" },
  LoginGraceTime: { ours: ["loginTimeout"], write: "`loginTimeout`, in milliseconds," },
  login_timeout: { ours: ["loginTimeout"], write: "`loginTimeout`, in milliseconds," },
  debug: { ours: ["trace"], write: "`trace`" },
  keepaliveInterval: { ours: ["keepalive"], write: "`keepalive: { interval }`" },
  keepalive_interval: { ours: ["keepalive"], write: "`keepalive: { interval }`" },
  ChannelTimeout: { ours: ["idleTimeout"], write: "`idleTimeout`, in milliseconds and for the connection," },
  UnusedConnectionTimeout: { ours: ["idleTimeout"], write: "`idleTimeout`, in milliseconds," },
  ClientAliveInterval: { ours: ["keepalive"], write: "`keepalive: { interval }`, in milliseconds," },
  PerSourcePenalties: { ours: ["penalties"], write: "`penalties`" },
  allowTcpForwarding: forwarding,
  AllowTcpForwarding: forwarding,
  PermitOpen: forwarding,
  portForwarding: forwarding,
  x11Forwarding: { ours: ["allowX11"], write: "`allowX11: true`" },
  X11Forwarding: { ours: ["allowX11"], write: "`allowX11: true`" },
  x11_forwarding: { ours: ["allowX11"], write: "`allowX11: true`" },
  agentForwarding: { ours: ["allowAgent"], write: "`allowAgent: true`" },
  agent_forwarding: { ours: ["allowAgent"], write: "`allowAgent: true`" },
  AllowAgentForwarding: { ours: ["allowAgent"], write: "`allowAgent: true`" },
  ciphers: listed("cipher"),
  kex: listed("kex"),
  macs: listed("mac"),
};

/** Throws `TypeError` for what are no host keys: each kind of thing that is near gets its own words. */
function checkHostKeys(value: unknown, name: string): void {
  const parse = "`hostKeys: [await parsePrivateKey(text)]`";
  if (typeof value === "string" || value instanceof Uint8Array) {
    throw wrongKind(name, value, `an array of private keys: write ${parse}`);
  }
  if (isSigner(value)) throw wrongKind(name, value, "an array of private keys: write `hostKeys: [key]`, in brackets");
  if (!Array.isArray(value)) throw wrongKind(name, value, "an array of private keys, as `[await generateKey()]`");
  if (value.length === 0) {
    throw new TypeError(
      "Cannot serve without host keys: make one with `await generateKey()` and keep it, or clients will warn of a changed host",
    );
  }
  // Array.from() shows holes, too.
  for (const one of Array.from(value)) {
    if (isSigner(one) && Array.isArray(one.algorithms) && one.algorithms.length > 0) continue;
    const advice = typeof one === "string" || one instanceof Uint8Array
      ? `write ${parse}`
      : isPublicKey(one)
      ? "the private key is needed, a public one cannot sign"
      : "make it with generateKey() or parsePrivateKey()";
    throw wrongKind(`${name}`, one, `an array of private keys: a host key is none; ${advice}`);
  }
}

/** Names of {@linkcode ServerAuth}; one that is left out does not compile. */
const authNames: Readonly<Record<keyof ServerAuth, true>> = {
  none: true,
  password: true,
  passwordChange: true,
  publicKey: true,
  keyboardInteractive: true,
  hostBased: true,
};

/** Throws `TypeError` for handlers that are none, and for names that nothing calls: nobody would ever get in by them. */
function checkAuth(value: unknown, name: string): void {
  if (!isOptions(value)) {
    const given = value === undefined ? "" : `; ${kindOf(value)} is no object of handlers`;
    const advice = typeof value === "function"
      ? ", write `auth: { password: (info, text) => … }`"
      : isThenable(value)
      ? ", write `await` before it"
      : "";
    throw new TypeError(
      `Cannot serve without \`auth\`: it says who may log in, and \`{}\` lets nobody in${given}${advice}`,
    );
  }
  const names = Object.keys(authNames);
  for (const one of names) {
    checkFunction(`${name}.${one}`, (value as Record<string, unknown>)[one], "a function that says who may log in");
  }
  const proto = Object.getPrototypeOf(value), plain = proto === Object.prototype || proto === null;
  for (const one of Object.keys(value)) {
    if (names.includes(one) || (value as Record<string, unknown>)[one] === undefined) continue;
    const meant = meantBy(one, names);
    // Objects of a class may hold what they like.
    if (meant === null && !plain) continue;
    throw new TypeError(
      `Cannot use \`${name}.${one}\`: no method of login has this name; ${
        meant === null ? `there are ${names.join(", ")}` : `\`${meant}\` is meant`
      }`,
    );
  }
}

function checkSubsystems(value: unknown, name: string): void {
  checkObject(name, value, "handlers by name, such as `{ sftp: sftpSubsystem({ root }) }`");
  for (const [one, handler] of Object.entries(value as object)) {
    if (typeof handler !== "function") throw wrongKind(`${name}.${one}`, handler, "a function that serves a session");
  }
}

const startupChecks: Checks<MaxStartups> = {
  begin: (value, name) => checkInteger(`maxStartups.${name}`, value, { min: 0, max: Infinity }),
  rate: (value) => {
    if (typeof value === "number" && value >= 0 && value <= 100) return;
    const given = typeof value === "number" ? value : kindOf(value);
    throw new RangeError(`Cannot use ${given} as \`maxStartups.rate\`: it must be a percentage, 0 to 100`);
  },
  full: (value, name) => checkInteger(`maxStartups.${name}`, value, COUNT),
};

/** Throws `RangeError` where nobody could ever connect, or the numbers contradict each other, as `sshd` does. */
function checkMaxStartups(value: unknown, name: string): void {
  checkObject(name, value, "such as `{ begin: 60, rate: 30, full: 100 }`");
  const limits = value as Partial<MaxStartups>;
  checkNames("`maxStartups`", limits, Object.keys(startupChecks));
  for (const one of ["full", "begin", "rate"] as const) startupChecks[one](limits[one] ?? NaN, one);
  checkInteger("maxStartups.begin", limits.begin, { min: 0, max: limits.full! });
}

const penalty = (value: unknown, name: string): void => {
  if (typeof value === "number" && value >= 0) return;
  const given = typeof value === "number" ? value : kindOf(value);
  throw new RangeError(`Cannot use ${given} as \`penalties.${name}\`: it must be a number of milliseconds, 0 or more`);
};
const penaltyChecks: Checks<SourcePenalties> = {
  authFail: penalty,
  noAuth: penalty,
  graceExceeded: penalty,
  min: penalty,
  max: penalty,
  maxSources: (value, name) => checkInteger(`penalties.${name}`, value, { min: 1, max: 2 ** 24 }),
};

function checkPenalties(value: unknown, name: string): void {
  if (value === false) return;
  checkObject(name, value, "false, or such as `{ authFail: 5_000, min: 60_000 }`");
  checkNames("`penalties`", value as object, Object.keys(penaltyChecks));
  checkAll(penaltyChecks, value as object);
}

function checkAllowLent(value: unknown, name: string): void {
  if (typeof value !== "boolean") checkFunction(name, value, "true, false or a function that says who may");
}

function checkPortOfAdmission(value: unknown, name: string): void {
  if (value instanceof MessagePort) return;
  const isShared = typeof (value as { port?: unknown } | null)?.port === "function";
  throw wrongKind(
    name,
    value,
    isShared ? "a port: write `admission.port()`" : "a port that `port()` of `sharedAdmission()` has given",
  );
}

const listenChecks: Checks<ListenOptions> = {
  hostname: (value, name) => {
    checkText(name, value, "a text such as `127.0.0.1`");
    if (value === "") throw new TypeError("Cannot serve: `hostname` is empty; leave it out to listen on all addresses");
  },
  port: (value) => checkPort(value, 0),
  reusePort: optionIs.flag,
  tcpBacklog: (value, name) => checkBacklog(name, value),
  admission: checkPortOfAdmission,
  onListen: optionIs.function,
};

const admissionChecks: Checks<AdmissionOptions> = {
  maxStartups: checkMaxStartups,
  maxStartupsPerSource: optionIs.count,
  penalties: checkPenalties,
};

const handshakeChecks: Checks<ServerHandshakeOptions> = {
  ...protocolChecks,
  hostKeys: checkHostKeys,
  trace: optionIs.function,
};

const loginChecks: Checks<ServerLoginOptions> = { ...serverLoginChecks, auth: checkAuth };

const serviceChecks: Checks<ServiceOptions> = {
  ...channelChecks,
  handler: (value, name) => checkFunction(name, value, "a function that serves a session"),
  subsystems: checkSubsystems,
  maxSessions: optionIs.count,
  maxChannels: optionIs.count,
  allowForward: (value, name) => checkFunction(name, value, "a function that says who may forward"),
  onForward: (value, name) => checkFunction(name, value, "a function that answers forwards"),
  allowX11: checkAllowLent,
  allowAgent: checkAllowLent,
  maxListeners: optionIs.count,
  forwardTimeout: optionIs.time,
};

const checks: Checks<ServeOptions> = {
  ...listenChecks,
  ...admissionChecks,
  ...handshakeChecks,
  ...loginChecks,
  ...serviceChecks,
  signal: optionIs.signal,
  onError: optionIs.function,
};

/** Throws `TypeError` or `RangeError` for what are no limits of {@linkcode AdmissionOptions}. */
export function checkAdmission(limits: unknown): void {
  checkObject("limits", limits, "an object such as `{ maxStartupsPerSource: 30 }`");
  checkNames("sharedAdmission()", limits as object, Object.keys(admissionChecks));
  checkAll(admissionChecks, limits as object);
}

/** Throws `TypeError` or `RangeError` for options that make no sense, the first one that it meets. */
export function checkServe(
  options: unknown,
  where: "serve()" | "serveConn()" | "testPair()",
): asserts options is ServeOptions {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    const got = options === undefined ? "no options were given" : `${kindOf(options)} is no object of options`;
    throw new TypeError(`Cannot serve: ${got}; write ${EXAMPLE}`);
  }
  checkNames(where, options, Object.keys(checks), habits);
  const { hostKeys, auth, algorithms } = options as Partial<ServeOptions>;
  checkHostKeys(hostKeys ?? [], "hostKeys");
  checkAuth(auth, "auth");
  checkAll(checks, options);
  for (const one of Object.keys(admissionChecks) as (keyof AdmissionOptions)[]) {
    const { admission, [one]: limit } = options as Partial<ServeOptions>;
    if (admission === undefined || limit === undefined) continue;
    throw new TypeError(`Cannot use \`${one}\` beside \`admission\`: tell it to \`sharedAdmission()\``);
  }
  checkServerHostKeys(hostKeys!, algorithms);
}
