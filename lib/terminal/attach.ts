/**
 * A remote process on this program's terminal: keys go there, output comes here, resizes follow. No I/O of its own.
 *
 * The life of one: the terminal is made raw where the process has one too. Keys are read until the process takes no more, outputs until
 * they end; then the exit status counts. It ends early, with an error, by an escape, a signal to this program, or a terminal that goes
 * away, which end the process; or by the caller's own signal, which leaves the process as it is. However it ends, nothing is read any
 * more and the terminal is as it was before anybody hears of it.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import { RemoteProcess, windowOf } from "../session/process.ts";
import type { ExitStatus } from "../session/types.ts";
import { callBack } from "../wire/callback.ts";
import { checkNames, checkObject, checkWait, wrongKind } from "../wire/check.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import type { Bytes } from "../wire/types.ts";
import { type EscapeAction, EscapeFilter, escapeHelp } from "./escapes.ts";
import { briefly, type OwnTerminal, rawMode } from "./own_terminal.ts";
import { ScreenModes } from "./screen_modes.ts";

/**
 * Options of `attachTerminal()`. The signal and the time detach the terminal: the process goes on, and can be attached again.
 */
export interface AttachOptions extends WaitOptions {
  /**
   * The character that begins keys for this side, at the start of a line and on a raw terminal only: `~.` ends the session, also where
   * the connection hangs, `~^Z` suspends this program, `~B` sends a BREAK, `~?` shows these, `~~` is a `~`. One character of ASCII, or false
   * for none. @default {"~"}
   */
  escape?: string | false | undefined;
}

function checkAttach(process: unknown, options: unknown): asserts options is AttachOptions {
  if (!(process instanceof RemoteProcess)) {
    throw wrongKind("process", process, 'what `await client.shell({ pty: "inherit" })` gives');
  }
  checkObject("options", options, "an object such as `{ escape: false }`");
  checkNames("attachTerminal()", options as object, ["escape", "signal", "timeout"], {
    escapeChar: { ours: ["escape"], write: "`escape`" },
    abortSignal: { ours: ["signal"], write: "`signal`" },
  });
  const { escape } = options as AttachOptions;
  if (escape !== undefined && escape !== false && !(typeof escape === "string" && /^[\x20-\x7e]$/.test(escape))) {
    throw wrongKind("escape", escape, "one character of ASCII, or false");
  }
  checkWait(options);
  for (const name of ["stdin", "stdout", "stderr"] as const) {
    if (!process[name].locked) continue;
    throw new TypeError(
      `Cannot attach terminal: \`${name}\` of the process is in use; leave it "piped", and do not read it`,
    );
  }
}

/** Connects a process and a terminal until either is done. */
export async function attach(
  process: RemoteProcess,
  options: AttachOptions,
  terminal: OwnTerminal,
): Promise<ExitStatus> {
  checkAttach(process, options);
  const { escape = "~" } = options;
  return await withDeadline(
    options,
    () => "the session to end",
    (signal) => attachUntil(process, { escape, signal }, terminal),
  );
}

async function attachUntil(
  process: RemoteProcess,
  { escape, signal }: { escape: string | false; signal: AbortSignal | undefined },
  terminal: OwnTerminal,
): Promise<ExitStatus> {
  signal?.throwIfAborted();
  const early = Promise.withResolvers<never>(),
    hasWindow = windowOf(process) !== null,
    isRaw = hasWindow && terminal.isTerminal;
  early.promise.catch(() => {});
  /** Ends the process as well: what is left of the session has no terminal. */
  const end = (error: unknown): void => {
    early.reject(error);
    void process[Symbol.asyncDispose]();
  };
  const undo: (() => void)[] = [], modes = isRaw ? new ScreenModes() : null;
  try {
    const input = terminal.input().getReader();
    undo.push(() => void input.cancel().catch(() => {}));
    if (isRaw) undo.push(rawMode(terminal, "both ways"));
    const onAbort = (): void => early.reject(signal!.reason);
    signal?.addEventListener("abort", onAbort);
    undo.push(() => signal?.removeEventListener("abort", onAbort));
    if (isRaw) {
      undo.push(terminal.onSignal((name) => end(closed(` by ${name} to this program`))));
    }
    if (hasWindow) {
      const resize = (): void => {
        const size = terminal.size();
        // One of a terminal that does not know it is 0.
        if (size === null || size.columns === 0 || size.rows === 0) return;
        const { columns, rows } = windowOf(process)!;
        if (size.columns !== columns || size.rows !== rows) process.resize(size);
      };
      resize();
      undo.push(terminal.onResize(resize), terminal.onContinue(resize));
    }
    const typing = new Typing(process, input, { terminal, escape: isRaw ? escape : false, end });
    undo.push(() => typing.leave());
    void (isRaw ? typing.sendKeys() : typing.sendAll());
    const shown = (["stdout", "stderr"] as const).map((name) => {
      const reader = process[name].getReader();
      undo.push(() => reader.releaseLock());
      return show(reader, name, { terminal, end, modes });
    });
    const over = Promise.all(shown).then(() => process.status);
    over.catch(() => {});
    const status = await Promise.race([over, early.promise]);
    void process[Symbol.asyncDispose]();
    return status;
  } finally {
    // Each is done, whatever happens to the others.
    for (const one of undo.reverse()) callBack(one);
    const reset = modes?.reset() ?? null;
    if (reset !== null) await briefly(terminal.write("stdout", reset));
  }
}

function closed(why: string, cause?: unknown): SshError {
  return new SshError(`Session was ended${why}`, { code: "CLOSED", ...cause === undefined ? {} : { cause } });
}

/** Shows an output to its end. What was read is written, also where nobody waits any more. */
async function show(
  reader: ReadableStreamDefaultReader<Bytes>,
  name: "stdout" | "stderr",
  { terminal, end, modes }: { terminal: OwnTerminal; end: (error: unknown) => void; modes: ScreenModes | null },
): Promise<void> {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    modes?.see(value);
    try {
      await terminal.write(name, value);
    } catch (cause) {
      const error = closed(`: this program's ${name} takes no more`, cause);
      end(error);
      throw error;
    }
  }
}

/** Bytes of keys that wait for a process which takes none. Behind them no key is read, nor an escape. */
const MAX_AHEAD = 1024 * 1024;

/** What is typed, on its way to the process. */
class Typing {
  readonly #process: RemoteProcess;
  readonly #input: ReadableStreamDefaultReader<Bytes>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #terminal: OwnTerminal;
  readonly #end: (error: unknown) => void;
  readonly #escape: string | false;
  #left = false;

  constructor(
    process: RemoteProcess,
    input: ReadableStreamDefaultReader<Bytes>,
    { terminal, escape, end }: {
      terminal: OwnTerminal;
      escape: string | false;
      end: (error: unknown) => void;
    },
  ) {
    this.#process = process;
    this.#input = input;
    this.#terminal = terminal;
    this.#escape = escape;
    this.#end = end;
    this.#writer = process.stdin.getWriter();
    this.#writer.closed.catch(() => {});
  }

  /** Nothing more goes there. What was read in the meantime is for the next reader. */
  leave(): void {
    this.#left = true;
    this.#writer.releaseLock();
  }

  /** Keys of a raw terminal: it has no end but that of the terminal itself. They are read, for escapes, also where nobody takes them. */
  async sendKeys(): Promise<void> {
    const filter = this.#escape === false ? null : new EscapeFilter(this.#escape, (action) => this.#act(action));
    let ahead = 0;
    for (;;) {
      const typed = await this.#read(": this program's terminal is gone");
      if (this.#left || typed === undefined) return;
      if (typed === null) return this.#end(closed(": this program's terminal is gone"));
      const bytes = filter === null ? typed : filter.take(typed);
      if (this.#left) return;
      if (bytes.length === 0) continue;
      ahead += bytes.length;
      const taken = this.#writer.write(bytes).catch(() => {}).then(() => void (ahead -= bytes.length));
      if (ahead > MAX_AHEAD) await taken;
    }
  }

  /** Standard input of any other kind, and its end. It is let go of as soon as the process takes no more. */
  async sendAll(): Promise<void> {
    this.#writer.closed.catch(() => this.#input.cancel()).catch(() => {});
    for (;;) {
      const bytes = await this.#read(": standard input of this program failed");
      if (this.#left || bytes === undefined) return;
      try {
        if (bytes === null) return await this.#writer.close();
        await this.#writer.write(bytes);
      } catch {
        return;
      }
    }
  }

  /** Null is the end; undefined that it failed, and that this was told. */
  async #read(failure: string): Promise<Bytes | null | undefined> {
    try {
      const { done, value } = await this.#input.read();
      if (!this.#left) return done ? null : value;
      if (!done) this.#terminal.unread(value);
    } catch (cause) {
      if (!this.#left) this.#end(closed(failure, cause));
    }
    return undefined;
  }

  #act(action: EscapeAction): void {
    switch (action) {
      case "end":
        return this.#end(closed(` by ${this.#escape}.`));
      case "break":
        return void this.#process.sendBreak().catch(() => {});
      case "suspend":
        try {
          return this.#terminal.suspend();
        } catch {
          // The system has no such thing, or the terminal is gone, which the next read tells.
          return;
        }
      case "help":
        // Where that takes no more, the outputs tell.
        void this.#terminal.write("stderr", new TextEncoder().encode(escapeHelp(this.#escape as string))).catch(
          () => {},
        );
    }
  }
}
