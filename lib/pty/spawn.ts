/**
 * Starts a program of this machine on a terminal of its own. RFC 4254 sections 6.2, 6.7 and 6.9.
 *
 * Deno starts the program as the leader of a session; a shell in front of it opens the terminal, by which it becomes the session's, and
 * becomes the program. No text is handed to that shell as a command but the fixed one below.
 *
 * @module
 */
import type { PtyOptions, WindowSize } from "../session/types.ts";
import { checkFlag, checkInteger, checkNames, checkObject, checkSignal, checkText, wrongKind } from "../wire/check.ts";
import type { Bytes } from "../wire/types.ts";
import { killNow, statusOf } from "./child.ts";
import { openPty, type Pty } from "./pty.ts";
import { signalNumber } from "./signals.ts";

/** Opens the terminal, and becomes the program. */
const ON_TERMINAL = 'exec <>"$0" >&0 2>&1 || exit 126; exec "$@"';

/** Milliseconds from SIGHUP to SIGKILL where somebody waits for the end. */
const GRACE = 5000;

/** What a terminal type may be made of: it names a file for the program. */
const TERMINAL_TYPE = /^[A-Za-z0-9][A-Za-z0-9._+:-]{0,63}$/;

/** Options of {@linkcode spawnPty}; what `Deno.CommandOptions` has too is that. */
export interface SpawnPtyOptions {
  /** Arguments. @default {[]} */
  args?: readonly string[] | undefined;
  /** Environment, added to this program's. @default {{}} */
  env?: Readonly<Record<string, string>> | undefined;
  /** Nothing of this program's environment. @default {false} */
  clearEnv?: boolean | undefined;
  /** Directory to run in. @default {this program's} */
  cwd?: string | undefined;
  /** User to run as, who owns the terminal then; for root only, and with `gid`. @default {this program's} */
  uid?: number | undefined;
  /** Group to run as, which is the only one with `uid`. @default {this program's} */
  gid?: number | undefined;
  /** TERM. What could name a file elsewhere, or is longer than 64 characters, becomes `dumb`. @default {"xterm-256color"} */
  term?: string | undefined;
  /** Size of the terminal; numbers above 65535 become that. @default {{ columns: 80, rows: 24 }} */
  window?: WindowSize | undefined;
  /** Modes by the names of RFC 4254 section 8; what Linux does not have is left out. @default {{}} */
  modes?: PtyOptions["modes"];
  /** Aborting hangs the terminal up, as `hangUp()` does. */
  signal?: AbortSignal | undefined;
}

/** A program on a terminal. */
export interface PtyProcess extends AsyncDisposable {
  /** Number of the process, which leads the terminal's session. */
  readonly pid: number;
  /** The terminal's file, such as `/dev/pts/3`. */
  readonly path: string;
  /**
   * What is typed. A byte that the terminal's modes give a meaning has it: 3 is ^C, and reaches whoever is in the foreground. Closing it is
   * ^D where the terminal edits lines, and nothing where it does not.
   */
  readonly stdin: WritableStream<Uint8Array>;
  /**
   * What the programs on the terminal write, both outputs. It ends when the first of them has ended, and then holds all that was written
   * until then; the program waits while nobody reads. What others write to the terminal later is lost, as the system has taken it away.
   */
  readonly stdout: ReadableStream<Bytes>;
  /** How the program ended. Where a signal that has no name here has ended it, the exit code is 128 and its number. Never rejects. */
  readonly status: Promise<Deno.CommandStatus>;
  /** Gives the terminal another size, of which whoever is in the foreground is told by SIGWINCH. */
  resize(size: WindowSize): void;
  /** Sends a signal, such as `"TERM"`, to the process group in the foreground and to that of the program. Throws `TypeError` for another. */
  kill(signal: string): void;
  /**
   * Takes the terminal away: the program and whoever is in the foreground get SIGHUP. Resolves when the terminal is gone, which is not to
   * say that they have ended.
   */
  hangUp(): Promise<void>;
  /** The same, and waits for the program, which gets SIGKILL where it has not ended after five seconds. */
  [Symbol.asyncDispose](): Promise<void>;
}

const names: readonly (keyof SpawnPtyOptions)[] = [
  "args",
  "env",
  "clearEnv",
  "cwd",
  "uid",
  "gid",
  "term",
  "window",
  "modes",
  "signal",
];

/** `term`, or `dumb` where that could be anything but a terminal type. */
export function terminalType(term: string): string {
  return TERMINAL_TYPE.test(term) ? term : "dumb";
}

/** Throws `TypeError` for a program that a shell could take for something else. */
export function checkProgram(command: unknown): asserts command is string {
  checkText("command", command, "the name of a program, or its path");
  if (command === "" || (command as string).startsWith("-")) {
    throw new TypeError("Cannot start a program whose name is empty or begins with a dash");
  }
}

/**
 * Throws `RangeError` for what is no number of a user or a group; 4294967295 means "nobody" to the system, and would change nothing. Throws
 * `TypeError` for a user without a group: the group would stay this program's, which is root's where users can be changed at all.
 */
export function checkIds({ uid, gid }: { readonly uid?: number | undefined; readonly gid?: number | undefined }): void {
  for (const [name, value] of Object.entries({ uid, gid })) {
    if (value === Infinity) {
      throw new RangeError(`Cannot use Infinity as \`${name}\`: it must be the number of a ${name}`);
    }
    checkInteger(name, value, { min: 0, max: 0xffff_fffe });
  }
  if (uid !== undefined && gid === undefined) {
    throw new TypeError(
      `Cannot run as uid ${uid} with this program's own group, whose files it could read: give that user's \`gid\` as well`,
    );
  }
}

/** Throws `TypeError` for what is no environment. */
export function checkEnv(env: unknown): void {
  if (env === undefined) return;
  checkObject("env", env, "an object of texts");
  for (const value of Object.values(env as object)) checkText("env", value, "an object of texts");
}

function check(command: unknown, options: SpawnPtyOptions): void {
  checkProgram(command);
  checkObject("options", options, "an object such as `{ args }`");
  checkNames("spawnPty()", options, names);
  const { args, env, clearEnv, cwd, term, window, modes = {}, signal } = options;
  if (args !== undefined && !Array.isArray(args)) throw wrongKind("args", args, "an array of texts");
  for (const arg of args ?? []) checkText("args", arg, "an array of texts");
  checkEnv(env);
  checkFlag("clearEnv", clearEnv);
  if (cwd !== undefined) checkText("cwd", cwd, "the path of a directory");
  if (term !== undefined) checkText("term", term);
  checkObject("modes", modes, "an object such as `{ ECHO: 0 }`");
  for (const [name, value] of Object.entries(modes)) checkInteger(name, value, { min: 0, max: 0xffff_ffff });
  if (window !== undefined) checkWindow(window);
  checkIds(options);
  checkSignal(signal);
}

function checkWindow(window: WindowSize): void {
  checkObject("window", window, "a size such as `{ columns: 80, rows: 24 }`");
  for (const name of ["columns", "rows", "width", "height"] as const) {
    checkInteger(name, window[name], { min: 0, max: 0xffff_ffff });
  }
}

/**
 * Starts a program on a terminal of its own. Linux only; it takes `--allow-ffi` for the terminal, and `--allow-run` for `/bin/sh`, in front
 * of the program, which it becomes.
 *
 * **The program runs as the user of this one** unless `uid` says otherwise, with all that this user may do.
 *
 * Throws `TypeError` and `RangeError` for options that make no sense, `Error` where the system makes no terminal,
 * `Deno.errors.NotCapable` without a permission, and what `Deno.Command` throws. A program that is not there ends with exit code 127, as
 * in a shell.
 *
 * @example A terminal of 100 columns
 * ```ts
 * import { spawnPty } from "@amiko/ssh/pty";
 *
 * async function columns(): Promise<string> {
 *   await using process = spawnPty("stty", { args: ["size"], window: { columns: 100, rows: 30 } });
 *   return await new Response(process.stdout).text(); // "30 100\r\n"
 * }
 * ```
 */
export function spawnPty(command: string, options: SpawnPtyOptions = {}): PtyProcess {
  check(command, options);
  return startOnPty(command, options, null);
}

/** The same, unchecked; `variable` of the environment is the terminal's file. */
export function startOnPty(command: string, options: SpawnPtyOptions, variable: string | null): Started {
  const { args = [], env = {}, clearEnv = false, cwd, uid, gid, window, modes, signal } = options;
  signal?.throwIfAborted();
  const pty = openPty({ window: window ?? { columns: 80, rows: 24 }, modes, uid });
  let child: Deno.ChildProcess;
  try {
    child = pty.starting(() =>
      new Deno.Command("/bin/sh", {
        args: ["-c", ON_TERMINAL, pty.path, command, ...args],
        env: {
          ...env,
          TERM: terminalType(options.term ?? "xterm-256color"),
          ...variable !== null && { [variable]: pty.path },
        },
        clearEnv,
        ...cwd !== undefined && { cwd },
        ...uid !== undefined && { uid },
        ...gid !== undefined && { gid },
        // A session of its own.
        detached: true,
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn()
    );
  } catch (error) {
    void pty.close();
    throw error;
  }
  return new Running(pty, child, signal);
}

/** What runs, as it is known here. */
export interface Started extends PtyProcess {
  /** This program does not wait for its end any more. */
  unref(): void;
}

class Running implements Started {
  readonly pid: number;
  readonly path: string;
  readonly stdin: WritableStream<Uint8Array>;
  readonly stdout: ReadableStream<Bytes>;
  readonly status: Promise<Deno.CommandStatus>;
  readonly #pty: Pty;
  readonly #child: Deno.ChildProcess;
  #hasEnded = false;
  #hungUp: Promise<void> | null = null;

  constructor(pty: Pty, child: Deno.ChildProcess, signal: AbortSignal | undefined) {
    this.#pty = pty;
    this.#child = child;
    this.pid = child.pid;
    this.path = pty.path;
    this.stdin = pty.writable;
    this.stdout = pty.readable;
    const onAbort = (): void => void this.hangUp();
    signal?.addEventListener("abort", onAbort, { once: true });
    this.status = statusOf(child).then((status) => {
      this.#hasEnded = true;
      signal?.removeEventListener("abort", onAbort);
      pty.finish();
      // What it has written is still to be read; then nobody needs the terminal.
      void pty.drained.then(() => pty.close());
      return status;
    });
  }

  resize(size: WindowSize): void {
    checkWindow(size);
    this.#pty.resize(size);
  }

  kill(signal: string): void {
    const number = signalNumber(signal);
    if (this.#hasEnded) return;
    if (this.#pty.isLedBy(this.pid)) this.#pty.signal(this.pid, number);
    // It has not come to open its terminal, so there is nobody but itself.
    else this.#killAlone(`SIG${signal}` as Deno.Signal);
  }

  #killAlone(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended, and `status` is about to tell.
    }
  }

  hangUp(): Promise<void> {
    return this.#hungUp ??= this.#hangUp();
  }

  unref(): void {
    this.#child.unref();
  }

  async #hangUp(): Promise<void> {
    // The terminal's name may be somebody else's terminal once this one is closed: who has not opened it by now must not.
    if (!this.#hasEnded && !this.#pty.isLedBy(this.pid)) {
      killNow(this.#child);
      await this.status;
    }
    await this.#pty.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hangUp();
    if (this.#hasEnded) return;
    const timer = setTimeout(() => killNow(this.#child), GRACE);
    await this.status;
    clearTimeout(timer);
  }
}
