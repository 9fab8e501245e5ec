/**
 * Whether what a session is asked for makes sense, before a channel is opened for it. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import {
  checkFlag,
  checkFunction,
  checkInteger,
  checkNames,
  checkObject,
  checkSignalOption,
  checkText,
  checkTime,
  type Habit,
  kindOf,
  wrongKind,
} from "../wire/check.ts";
import { checkRespond } from "./respond.ts";
import type { ExecOptions, PtyOptions, WindowSize, X11Options } from "./types.ts";

type Check = (value: unknown, name: string) => void;
/** A check of each option: one that is forgotten does not compile. */
type Checks<T> = { readonly [K in keyof Required<T>]: Check };

/** Throws `RangeError` for what is no uint32 of the wire. */
export const checkU32: Check = (value, name) => {
  if (typeof value === "number" && value >>> 0 === value) return;
  const shown = typeof value === "number" ? String(value) : kindOf(value);
  throw new RangeError(`Cannot use ${shown} as \`${name}\`: it must be a uint32, an integer from 0 to 4294967295`);
};

function checkAll(checks: Readonly<Record<string, Check>>, options: object, prefix = ""): void {
  for (const [name, check] of Object.entries(checks)) {
    const value = (options as Record<string, unknown>)[name];
    if (value !== undefined) check(value, prefix + name);
  }
}

function isOneOf(...words: readonly string[]): (advice?: string) => Check {
  const list = words.map((word) => `"${word}"`).join(", ").replace(/, ([^,]*)$/, " or $1");
  return (advice = "") => (value, name) => {
    // What was given may be the text for a password prompt.
    if (!words.includes(value as string)) throw wrongKind(name, value, list + advice);
  };
}

const sizeChecks: Checks<WindowSize> = { columns: checkU32, rows: checkU32, width: checkU32, height: checkU32 };

/** Throws `TypeError` or `RangeError` for what is no size of a terminal. */
export function checkSize(size: unknown): asserts size is WindowSize {
  checkObject("size", size, "an object such as `{ columns: 80, rows: 24 }`");
  for (const name of ["columns", "rows"] as const) {
    const value = (size as Partial<WindowSize>)[name];
    if (value === undefined) throw wrongKind(name, value, "an integer");
  }
  checkAll(sizeChecks, size as object);
}

const ptyChecks: Checks<PtyOptions> = {
  ...sizeChecks,
  term: (value, name) => checkText(name, value, "the name of a terminal, such as `xterm-256color`"),
  modes: (value, name) => {
    checkObject(name, value, "an object such as `{ ECHO: 0 }`");
    // Their names and numbers are looked at where they are encoded.
  },
};

const ptyHabits: Readonly<Record<string, Habit>> = {
  cols: { ours: ["columns"], write: "`columns`" },
  type: { ours: ["term"], write: "`term`" },
  terminal: { ours: ["term"], write: "`term`" },
};

/** Throws `TypeError` or `RangeError` for what is no terminal. */
export function checkPty(pty: unknown): asserts pty is PtyOptions {
  checkObject("pty", pty, 'true, false, "inherit", or an object such as `{ columns: 80, rows: 24 }`');
  checkNames("`pty`", pty as object, Object.keys(ptyChecks), ptyHabits);
  checkAll(ptyChecks, pty as object, "pty.");
}

function checkEnv(env: unknown, name: string): void {
  if (env instanceof Map || env instanceof Headers) {
    throw wrongKind(name, env, "an object: `Object.fromEntries(…)` makes one");
  }
  checkObject(name, env, 'an object such as `{ LANG: "C" }`');
  for (const [variable, value] of Object.entries(env as object)) {
    checkText(`${name}.${printable(variable, 64)}`, value, "a text");
  }
}

/** Whether a shell can set a variable of that name. */
export function isVariable(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);
}

/** Throws `TypeError` for variables that a shell could not set. */
export function checkVariables(env: ExecOptions["env"]): void {
  for (const name of Object.keys(env ?? {})) {
    if (isVariable(name)) continue;
    const words = `Cannot use "${printable(name, 64)}" as a name in \`env\` of a command`;
    throw new TypeError(`${words}: it must be letters, digits and "_", and begin with no digit`);
  }
}

const stdinIs = isOneOf("piped", "null", "open", "inherit")(", `{ text }`, bytes, or a stream of bytes");

function checkStdin(value: unknown, name: string): void {
  if (value instanceof Uint8Array) return;
  if (value instanceof ReadableStream) {
    if (value.locked) throw new TypeError(`Cannot use a stream as \`${name}\` that is in use already`);
    return;
  }
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, "text")) return stdinIs(value, name);
  checkNames(`\`${name}\``, value, ["text"], {});
  const { text } = value as { text: unknown };
  if (typeof text !== "string") throw wrongKind(`${name}.text`, text, "a text");
}

function checkCwd(value: unknown, name: string): void {
  checkText(name, value, "the path of a directory");
  if (value === "") throw new TypeError(`Cannot use \`${name}\`: it is empty`);
}
/** A display: a host, or nothing for this machine, and a number; or the path of a socket. */
const DISPLAY = /^[^\0]*:\d{1,5}(?:\.\d{1,5})?$/;

const x11Checks: Checks<X11Options> = {
  display: (value, name) => {
    checkText(name, value, "a display such as `:0`");
    if (DISPLAY.test(value as string)) return;
    throw new TypeError(
      `Cannot use "${printable(value as string, 64)}" as \`${name}\`: a display is written as \`:0\` or \`host:0.1\``,
    );
  },
  cookie: (value, name) => {
    // What is wrong with it is not told: it is a secret.
    if (typeof value === "string" && /^(?:[0-9a-f]{2}){1,256}$/i.test(value)) return;
    throw new TypeError(`Cannot use \`${name}\`: it must be hexadecimal digits, such as \`xauth list\` shows`);
  },
  trusted: (value, name) => checkFlag(name, value),
  timeout: (value, name) => checkTime(name, value),
  single: (value, name) => checkFlag(name, value),
  connect: (value, name) => checkFunction(name, value, "a function that connects to a display"),
  onError: (value, name) => checkFunction(name, value),
};

const x11Habits: Readonly<Record<string, Habit>> = {
  singleConnection: { ours: ["single"], write: "`single`" },
  single_connection: { ours: ["single"], write: "`single`" },
  authCookie: { ours: ["cookie"], write: "`cookie`" },
  auth_cookie: { ours: ["cookie"], write: "`cookie`" },
};

/** Throws `TypeError` or `RangeError` for what no server can be asked for of a display. */
export function checkX11Request(options: unknown): void {
  checkObject("options", options, "an object such as `{ screen: 0 }`");
  const { screen, protocol, cookie, single } = options as Record<string, unknown>;
  checkNames("requestX11()", options as object, ["screen", "protocol", "cookie", "single"], {
    ...x11Habits,
    screen_number: { ours: ["screen"], write: "`screen`" },
    auth_protocol: { ours: ["protocol"], write: "`protocol`" },
  });
  if (screen !== undefined) checkU32(screen, "screen");
  if (protocol !== undefined) checkText("protocol", protocol, "a text such as `MIT-MAGIC-COOKIE-1`");
  if (cookie !== undefined) x11Checks.cookie(cookie, "cookie");
  checkFlag("single", single);
}

function checkX11(x11: unknown, name: string): void {
  if (typeof x11 === "boolean") return;
  checkObject(name, x11, "true, false, or an object such as `{ trusted: true }`");
  checkNames("`x11`", x11 as object, Object.keys(x11Checks), x11Habits);
  checkAll(x11Checks, x11 as object, "x11.");
  const { connect, cookie, trusted } = x11 as X11Options;
  if (connect === undefined || cookie !== undefined || trusted === true) return;
  throw new TypeError(
    "Cannot use `x11.connect` alone: nothing would confine remote programs; give a `cookie` that does, or `trusted: true`",
  );
}

function checkAgent(agent: unknown, name: string): void {
  if (agent === true || typeof agent === "function") return;
  if (typeof (agent as { signers?: unknown } | null)?.signers === "function") return;
  throw wrongKind(name, agent, "true, what `await connectAgent()` gives, or a function that connects to an agent");
}

const execChecks: Checks<ExecOptions> = {
  env: checkEnv,
  pty: (value) => {
    if (typeof value !== "boolean" && value !== "inherit") checkPty(value);
  },
  cwd: checkCwd,
  agent: checkAgent,
  x11: checkX11,
  stdin: checkStdin,
  respond: checkRespond,
  stdout: isOneOf("piped", "null", "inherit")(),
  stderr: isOneOf("piped", "null", "inherit", "stdout")(),
  check: (value, name) => checkFlag(name, value),
  maxOutput: (value, name) => {
    if (value !== Infinity) checkInteger(name, value, { min: 0, max: Infinity });
  },
  timeout: (value, name) => checkTime(name, value),
  signal: () => {},
};

const execHabits: Readonly<Record<string, Habit>> = {
  abortSignal: { ours: ["signal"], write: "`signal`" },
  cancelSignal: { ours: ["signal"], write: "`signal`" },
  environment: { ours: ["env"], write: "`env`" },
  responders: { ours: ["respond"], write: "`respond: [{ pattern, answer }]`" },
  watchers: { ours: ["respond"], write: "`respond: [{ pattern, answer }]`" },
  expect: { ours: ["respond"], write: "`respond: [{ pattern, answer }]`" },
  input: { ours: ["stdin"], write: "`stdin: { text }`, bytes or a stream" },
  maxBuffer: { ours: ["maxOutput"], write: "`maxOutput`" },
  stdio: { ours: ["stdin", "stdout", "stderr"], write: "`stdin`, `stdout` and `stderr`" },
  agentForward: { ours: ["agent"], write: "`agent: true`" },
  agent_forwarding: { ours: ["agent"], write: "`agent: true`" },
  agentForwarding: { ours: ["agent"], write: "`agent: true`" },
  forwardAgent: { ours: ["agent"], write: "`agent: true`" },
  x11Forwarding: { ours: ["x11"], write: "`x11: true`" },
  x11_forwarding: { ours: ["x11"], write: "`x11: true`" },
  tty: { ours: ["pty"], write: "`pty`" },
  get_pty: { ours: ["pty"], write: "`pty`" },
  term: { ours: ["pty"], write: "`pty: { term }`" },
};

/** Throws `TypeError` or `RangeError` for options of a command, a shell or a subsystem that make no sense. */
export function checkExec(options: unknown): asserts options is ExecOptions {
  checkSignalOption(options);
  checkNames("a session", options as object, Object.keys(execChecks), execHabits);
  checkAll(execChecks, options as object);
  const { stdin, respond = [] } = options as ExecOptions;
  if (typeof stdin !== "object" || !respond.some(({ times }) => times === Infinity)) return;
  throw new TypeError(
    "Cannot use `stdin` that says what is sent: it waits until `respond` is done, and `times: Infinity` never is",
  );
}

/** Throws `TypeError` for what is no command line. */
export function checkCommand(command: unknown): asserts command is string {
  const advice = Array.isArray(command)
    ? ": join the words, quoted for the shell there"
    : command instanceof Uint8Array
    ? ": decodeText() makes one of bytes"
    : "";
  checkText("command", command, `a text${advice}`);
}

/** Throws `TypeError` for what is no name of a signal. */
export function checkSignalName(signal: unknown): asserts signal is string {
  const wanted = 'the name of a signal, such as "TERM"';
  checkText("signal", signal, wanted);
  if (/^\d+$/.test(signal as string)) {
    throw new TypeError(`Cannot send signal ${signal}: it goes by its name, such as "KILL" for 9`);
  }
}
