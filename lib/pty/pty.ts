/**
 * The master's side of one pseudo-terminal: its bytes as streams, its size, its modes, and the processes that hang on it.
 * RFC 4254 sections 6.2, 6.7 and 8.
 *
 * A terminal is made without anybody on it. A process that leads a session of its own opens `path`, which becomes its controlling
 * terminal by that. When this process ends, the kernel hangs the terminal up, and `readable` ends behind the last byte that was
 * written. `close()` hangs up from this side: the leader and the foreground group get SIGHUP.
 *
 * @module
 */
import type { WindowSize } from "../session/types.ts";
import type { Bytes } from "../wire/types.ts";
import { heedingSignals } from "./ignored_signals.ts";
import type { Libc } from "./libc.ts";
import { type Poller, READABLE, WRITABLE } from "./poller.ts";
import { acquireTerminals, releaseTerminals } from "./terminals.ts";
import { applyModes, endOfInput, TERMIOS_BYTES } from "./termios.ts";

/** Open for reading and writing, never this program's own terminal, never blocking, and not for other programs that start meanwhile. */
const OPEN_FLAGS = 0o2 | 0o400 | 0o4000 | 0o2000000;
const TCGETS = 0x5401n, TCSETS = 0x5402n, TIOCSWINSZ = 0x5414n;
/** The group of a file that keeps its group. */
const SAME_GROUP = 0xffff_ffff;
const MAX_PATH = 64;
/** The kernel gives 4095 bytes at a time; a chunk holds as many of those as are there, up to this. */
const CHUNK = 32 * 1024;
/** The kernel's numbers are of 16 bits. */
const MAX_SIZE = 0xffff;

/** Options of {@linkcode openPty}. */
export interface OpenPtyOptions {
  /** The size; 0 where nobody knows. Numbers above 65535 become that. */
  readonly window: WindowSize;
  /** RFC 4254 section 8 opcodes by name; what the system does not have is left out. */
  readonly modes?: Readonly<Record<string, number>> | undefined;
  /** Owner of the terminal's file, who else could not open it. @default {who runs this program} */
  readonly uid?: number | undefined;
}

/** Makes a terminal. Throws `Error` where the system has none left, and as `loadLibc()` does. */
export function openPty({ window, modes = {}, uid }: OpenPtyOptions): Pty {
  const { lib, poller } = acquireTerminals(), master = lib.posix_openpt(OPEN_FLAGS), path = new Uint8Array(MAX_PATH);
  if (
    master < 0 || lib.unlockpt(master) !== 0 || lib.ptsname_r(master, path, BigInt(MAX_PATH)) !== 0 ||
    uid !== undefined && lib.chown(path, uid, SAME_GROUP) !== 0
  ) {
    if (master >= 0) lib.close(master);
    releaseTerminals();
    if (master < 0) throw new Error("Cannot make a terminal: this system or this program has none left");
    throw new Error(`Cannot make a terminal${uid === undefined ? "" : ` for uid ${uid}`}: the system refuses it`);
  }
  const pty = new Pty(lib, poller, master, new TextDecoder().decode(path.subarray(0, path.indexOf(0))));
  pty.resize(window);
  pty.setModes(modes);
  return pty;
}

/** One terminal. */
export class Pty {
  /** The terminal's file, such as `/dev/pts/3`. Somebody else's once this is closed. */
  readonly path: string;
  /** What is written to the terminal. Ends when nobody has it open any more; nothing that was written before is missing. */
  readonly readable: ReadableStream<Bytes>;
  /** What is typed. Closing it ends the input where the terminal edits lines, and else does nothing. */
  readonly writable: WritableStream<Uint8Array>;
  /** Resolves when `readable` has ended, or nobody wants it. */
  readonly drained: Promise<void>;
  readonly #libc: Libc;
  readonly #poller: Poller;
  readonly #master: number;
  #isLastOut = false;
  #isOpen = true;
  #closed: Promise<void> | null = null;
  /** What was typed last ended a line, so that an end of input is one. */
  #isAtStart = true;

  /** Takes over an open master. */
  constructor(lib: Libc, poller: Poller, master: number, path: string) {
    this.#libc = lib;
    this.#poller = poller;
    this.#master = master;
    this.path = path;
    const room = new Uint8Array(CHUNK), drained = Promise.withResolvers<void>();
    this.drained = drained.promise;
    this.readable = new ReadableStream({
      pull: async (controller) => {
        for (;;) {
          const length = this.#read(room);
          if (length > 0) return controller.enqueue(room.slice(0, length));
          if (!this.#isOpen || this.#isLastOut || this.#poller.hasEnded(master)) {
            drained.resolve();
            return controller.close();
          }
          await this.#poller.ready(master, READABLE);
        }
      },
      cancel: () => drained.resolve(),
    }, { highWaterMark: 0 });
    this.writable = new WritableStream({
      write: (chunk) => this.#write(chunk),
      close: () => this.#endInput(),
    });
  }

  /** Gives the terminal another size; whoever is in the foreground gets SIGWINCH where it has changed. */
  resize({ columns, rows, width = 0, height = 0 }: WindowSize): void {
    if (!this.#isOpen) return;
    const size = Uint16Array.from([rows, columns, width, height].map((value) => Math.min(value, MAX_SIZE)));
    this.#libc.ioctl(this.#master, TIOCSWINSZ, new Uint8Array(size.buffer));
  }

  /** Sets modes, by the names of RFC 4254 section 8. */
  setModes(modes: Readonly<Record<string, number>>): void {
    const termios = this.#termios();
    if (termios === null) return;
    applyModes(termios, modes);
    this.#libc.ioctl(this.#master, TCSETS, termios);
  }

  /** Whether the process leads the session that has this terminal: it has opened it. */
  isLedBy(pid: number): boolean {
    return this.#isOpen && this.#libc.tcgetsid(this.#master) === pid;
  }

  /** Sends a signal, by its number, to the process group in the foreground, as ^C does, and to that of the leader. */
  signal(leader: number, signal: number): void {
    if (!this.isLedBy(leader)) return;
    const foreground = this.#libc.tcgetpgrp(this.#master);
    for (const group of new Set([foreground, leader])) if (group > 1) this.#libc.kill(-group, signal);
  }

  /**
   * The leader has ended: `readable` ends behind what is there, also where a process that is not the terminal's any more has it open
   * still.
   */
  finish(): void {
    this.#isLastOut = true;
    void this.#poller.leave(this.#master);
  }

  /**
   * Hangs up. The streams end; what was not read is gone. Whoever was started must have opened the terminal by now, or must have ended:
   * `path` may soon be another one's.
   */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#isOpen = false;
    await this.#poller.leave(this.#master);
    this.#libc.close(this.#master);
    releaseTerminals();
  }

  /** Calls `start`, which starts a program for this terminal, with the signals heeded that a terminal sends. */
  starting<T>(start: () => T): T {
    return heedingSignals(this.#libc, start);
  }

  /** Reads what is there; 0 where that is nothing. */
  #read(room: Uint8Array<ArrayBuffer>): number {
    let length = 0;
    while (this.#isOpen && length < room.length) {
      const read = Number(this.#libc.read(this.#master, room.subarray(length), BigInt(room.length - length)));
      if (read <= 0) break;
      length += read;
    }
    return length;
  }

  async #write(chunk: Uint8Array): Promise<void> {
    if (chunk.length > 0) this.#isAtStart = chunk.at(-1) === 10 || chunk.at(-1) === 13;
    for (let at = 0; at < chunk.length;) {
      // Nobody will read it, and that is no mistake of who types.
      if (!this.#isOpen || this.#isLastOut) return;
      const rest = chunk.subarray(at) as Bytes;
      const written = Number(this.#libc.write(this.#master, rest, BigInt(rest.length)));
      if (written > 0) at += written;
      // Programs may run on without it, as daemons do.
      else if (this.#poller.isHungUp(this.#master)) return;
      else await this.#poller.ready(this.#master, WRITABLE);
    }
  }

  async #endInput(): Promise<void> {
    const termios = this.#termios(), char = termios === null ? null : endOfInput(termios);
    // The first one behind a line without its end only hands that line over.
    if (char !== null) await this.#write(new Uint8Array(this.#isAtStart ? 1 : 2).fill(char));
  }

  #termios(): Uint8Array<ArrayBuffer> | null {
    const termios = new Uint8Array(TERMIOS_BYTES);
    return this.#isOpen && this.#libc.ioctl(this.#master, TCGETS, termios) === 0 ? termios : null;
  }
}
