/**
 * This program's terminal and standard streams, as Deno has them.
 *
 * A read of standard input that waits cannot be taken back in Deno, and gets the next line whoever wants it by then. So a terminal is
 * read by `node:tty`, which opens it anew and closes that. A pipe has no second end: there a read goes on waiting when nobody wants it any more,
 * without keeping the program alive, and what it gets is for the next who reads here.
 *
 * @module
 */
import { system } from "../system/system.ts";
import type { OwnTerminal } from "../terminal/own_terminal.ts";
import type { PtyOptions, WindowSize } from "../session/types.ts";
import { requireDeno } from "../wire/system.ts";
import type { Bytes } from "../wire/types.ts";

/** Bytes that are read at once. */
const PIECE = 65_536;
/** Milliseconds between looks at the size where no signal tells of it. */
const LOOKS = 500;
/** Milliseconds at most between tries to write where there is no room. */
const MAX_WAIT = 16;
/** Name in the environment, and what is taken without it. */
const DEFAULT_TERM = "xterm-256color";

/** Signals that want the program's end; which there are is the system's affair. */
const ENDS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK"] as const satisfies readonly Deno.Signal[];

/** A `ReadStream` of `node:tty`. */
interface TtyStream {
  on(event: "data", act: (chunk: Uint8Array) => void): void;
  on(event: "end", act: () => void): void;
  on(event: "error", act: (error: Error) => void): void;
  pause(): void;
  resume(): void;
  destroy(): void;
}

interface WithProcess {
  readonly process: { getBuiltinModule(name: "node:tty"): { readonly ReadStream: new (fd: number) => TtyStream } };
}

/** Something bytes come from. */
interface Source {
  /** The next bytes; null at the end. */
  read(): Promise<Bytes | null>;
  /** Nobody reads any more. */
  leave(): void;
}

/** A terminal, opened anew. */
function keyboard(): Source {
  const { ReadStream } = (globalThis as unknown as WithProcess).process.getBuiltinModule("node:tty");
  const stream = new ReadStream(0), queue: Bytes[] = [];
  let waiting: PromiseWithResolvers<Bytes | null> | null = null;
  let over: { readonly error: Error | null } | null = null;
  const settle = (): void => {
    if (waiting === null) return;
    const { resolve, reject } = waiting, next = queue.shift();
    if (next === undefined && over === null) return;
    waiting = null;
    if (next !== undefined) resolve(next);
    else if (over!.error !== null) reject(over!.error);
    else resolve(null);
  };
  stream.on("data", (chunk) => {
    queue.push(new Uint8Array(chunk));
    stream.pause();
    settle();
  });
  const onOver = (error: Error | null): void => {
    over ??= { error };
    settle();
  };
  stream.on("end", () => onOver(null));
  stream.on("error", onOver);
  stream.pause();
  return {
    read() {
      waiting = Promise.withResolvers();
      const { promise } = waiting;
      if (queue.length === 0 && over === null) stream.resume();
      else settle();
      return promise;
    },
    leave() {
      stream.destroy();
      for (const chunk of queue.splice(0)) unread(chunk);
    },
  };
}

/** The read of a pipe that waits, or has got something that nobody took. */
let pending: Promise<Bytes | null> | null = null;

/** A pipe, a file, or whatever else standard input is. */
const plain: Source = {
  async read() {
    keepAlive(true);
    pending ??= readPiece();
    const piece = await pending;
    return piece;
  },
  leave() {
    if (pending === null) return;
    keepAlive(false);
    // Others who read standard input are waited for.
    pending.catch(() => {}).finally(() => keepAlive(true));
  },
};

async function readPiece(): Promise<Bytes | null> {
  const piece = new Uint8Array(PIECE), read = await Deno.stdin.read(piece);
  return read === null ? null : piece.subarray(0, read);
}

/** Whether reads of standard input keep the program alive. Deno has this for `node:process`, and no other name for it. */
function keepAlive(kept: boolean): void {
  const stdin = Deno.stdin as unknown as Record<symbol, (() => void) | undefined>;
  const name = Object.getOwnPropertySymbols(Object.getPrototypeOf(stdin))
    .find(({ description }) => description === (kept ? "REF" : "UNREF"));
  if (name !== undefined) stdin[name]?.();
}

/** Bytes that were read too much. */
const kept: Bytes[] = [];

function unread(bytes: Bytes): void {
  kept.push(bytes);
}

/** Whether somebody reads standard input through this file. */
let isRead = false;

/** Standard input; see {@linkcode OwnTerminal.input}. */
export function ownInput(): ReadableStream<Bytes> {
  requireDeno("read standard input", "hand over a stream, or write to `process.stdin`");
  if (isRead) throw new TypeError("Cannot read standard input: another process or question reads it");
  isRead = true;
  const source = Deno.stdin.isTerminal() ? keyboard() : plain;
  let left = false;
  const leave = (): void => {
    if (left) return;
    left = true;
    isRead = false;
    source.leave();
  };
  return new ReadableStream({
    async pull(controller) {
      const early = kept.shift();
      if (early !== undefined) return controller.enqueue(early);
      try {
        const bytes = await source.read();
        if (left) return;
        if (source === plain) pending = null;
        if (bytes !== null) return controller.enqueue(bytes);
        leave();
        controller.close();
      } catch (error) {
        if (source === plain && !left) pending = null;
        leave();
        controller.error(error);
      }
    },
    cancel: leave,
  }, { highWaterMark: 0 });
}

/**
 * Writes all of it to this program's own output. A pipe that whoever started this program has made non-blocking, as rsync does, takes
 * nothing while it is full, and says so by an error; then it is tried again a little later, until the signal aborts.
 */
export async function writeOwn(name: "stdout" | "stderr", chunk: Uint8Array, signal?: AbortSignal): Promise<void> {
  for (let written = 0, wait = 1; written < chunk.length;) {
    try {
      written += await system[name].write(chunk.subarray(written));
      wait = 1;
    } catch (error) {
      if (!isFull(error)) throw error;
      signal?.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(wait * 2, MAX_WAIT);
    }
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && (error.name === "WouldBlock" || (error as { code?: unknown }).code === "EAGAIN");
}

/** Adds a listener for a signal that the system may not have. Returns how to take it away. */
function listen(signal: Deno.Signal, act: () => void): () => void {
  try {
    Deno.addSignalListener(signal, act);
  } catch {
    return () => {};
  }
  return () => Deno.removeSignalListener(signal, act);
}

function size(): WindowSize | null {
  try {
    return Deno.consoleSize();
  } catch {
    return null;
  }
}

/**
 * Has the terminal write what it is given as it is: raw mode as Deno has it makes CR LF of each LF, of which a program there knows nothing. Setting the
 * terminal back sets this back as well.
 */
function leaveOutput(): void {
  if (Deno.build.os === "windows") return;
  if (Deno.permissions.querySync({ name: "run", command: "stty" }).state !== "granted") return;
  try {
    new Deno.Command("stty", { args: ["-opost"], stdin: "inherit", stdout: "null", stderr: "null" }).outputSync();
  } catch {
    // There is no such program.
  }
}

/** The terminal that this program was started on. */
export const systemTerminal: OwnTerminal = {
  get isTerminal(): boolean {
    return Deno.stdin.isTerminal();
  },
  size,
  term: () => Deno.env.get("TERM") || DEFAULT_TERM,
  setRaw(raw) {
    Deno.stdin.setRaw(raw !== false);
    if (raw === "both ways") leaveOutput();
  },
  input: ownInput,
  unread,
  write: writeOwn,
  onResize(act) {
    if (Deno.build.os !== "windows") return listen("SIGWINCH", act);
    let known = JSON.stringify(size());
    const timer = setInterval(() => {
      const now = JSON.stringify(size());
      if (now === known) return;
      known = now;
      act();
    }, LOOKS);
    Deno.unrefTimer(timer);
    return () => clearInterval(timer);
  },
  onSignal(act) {
    const stops = ENDS.map((name) => listen(name, () => act(name)));
    return () => stops.forEach((stop) => stop());
  },
  onContinue: (act) => listen("SIGCONT", act),
  suspend() {
    if (Deno.build.os === "windows") return;
    Deno.stdin.setRaw(false);
    try {
      Deno.kill(Deno.pid, "SIGTSTP");
    } finally {
      this.setRaw("both ways");
    }
  },
};

/** What `pty: "inherit"` asks for: null where this program's standard input is no terminal. */
export function ownPty(): PtyOptions | null {
  requireDeno('use "inherit" as `pty`', "give its `term`, `columns` and `rows`");
  if (!Deno.stdin.isTerminal()) return null;
  const { columns = 0, rows = 0 } = size() ?? {};
  return { term: systemTerminal.term(), ...columns > 0 && rows > 0 ? { columns, rows } : {} };
}
