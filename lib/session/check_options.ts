/**
 * Whether what a session is asked for makes sense, before a channel is opened for it. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { checkNames, checkObject, checkSignalOption, checkText, type Habit, kindOf, wrongKind } from "../wire/check.ts";
import type { ExecOptions, PtyOptions, WindowSize } from "./types.ts";

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
  checkObject("pty", pty, "true, false, or an object such as `{ columns: 80, rows: 24 }`");
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

const outputIs = isOneOf("piped", "null");

const execChecks: Checks<ExecOptions> = {
  env: checkEnv,
  pty: (value) => {
    if (typeof value !== "boolean") checkPty(value);
  },
  stdin: isOneOf("piped", "null", "open")("; spawn() gives a stream to write text and bytes to"),
  stdout: outputIs(),
  stderr: outputIs(),
  signal: () => {},
};

const execHabits: Readonly<Record<string, Habit>> = {
  timeout: { ours: ["signal"], write: "`signal: AbortSignal.timeout(…)`, in milliseconds," },
  abortSignal: { ours: ["signal"], write: "`signal`" },
  cancelSignal: { ours: ["signal"], write: "`signal`" },
  environment: { ours: ["env"], write: "`env`" },
  input: { ours: ["stdin"], write: "spawn() and its `stdin`" },
  stdio: { ours: ["stdin", "stdout", "stderr"], write: "`stdin`, `stdout` and `stderr`" },
  tty: { ours: ["pty"], write: "`pty`" },
  get_pty: { ours: ["pty"], write: "`pty`" },
  term: { ours: ["pty"], write: "`pty: { term }`" },
};

/** Throws `TypeError` or `RangeError` for options of a command, a shell or a subsystem that make no sense. */
export function checkExec(options: unknown): asserts options is ExecOptions {
  checkSignalOption(options);
  checkNames("a session", options as object, Object.keys(execChecks), execHabits);
  checkAll(execChecks, options as object);
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
