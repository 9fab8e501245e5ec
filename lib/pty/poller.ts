/**
 * Waits until terminals can be read or written: all of them in one poll(2), which runs in a thread of Deno's while anybody waits. Reads
 * and writes themselves never block.
 *
 * A thread for each terminal would do as well, but Deno has 32 of them in all, and the files and names of the whole program go through
 * the same ones.
 *
 * @module
 */
import type { Libc } from "./libc.ts";

/** There is something to read. */
export const READABLE = 1;
/** Something can be written. */
export const WRITABLE = 4;
/** Always told of: the other side is gone, or the descriptor is bad. */
const ENDED = 8 | 16 | 32;

/** Bytes of a `struct pollfd`: the descriptor, and what is wanted and what has come in two bytes each. */
const ENTRY = 8;
const NONBLOCKING_CLOSED_ON_EXEC = 0o2004000;

interface Wait {
  readonly descriptor: number;
  readonly wanted: number;
  readonly resolve: () => void;
}

/** One for all terminals of the program. */
export class Poller {
  readonly #libc: Libc;
  readonly #waits = new Set<Wait>();
  /** What is written to ends the poll that is under way, so that the next one takes all waits. */
  readonly #bell: number;
  /** The poll that is under way. */
  #round: Promise<void> | null = null;

  /** Makes it; nothing runs before somebody waits. */
  constructor(libc: Libc) {
    this.#libc = libc;
    this.#bell = libc.eventfd(0, NONBLOCKING_CLOSED_ON_EXEC);
    if (this.#bell < 0) throw new Error("Cannot make terminals: this program has no file descriptor left");
  }

  /** Resolves when the descriptor is ready or has ended, or somebody calls `leave()`. */
  ready(descriptor: number, wanted: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waits.add({ descriptor, wanted, resolve });
      if (this.#round === null) void this.#run();
      else this.#ring();
    });
  }

  /** Whether the descriptor has ended, as far as that can be told without waiting: nothing more can be read. */
  hasEnded(descriptor: number): boolean {
    const come = this.#now(descriptor);
    return (come & READABLE) === 0 && (come & ENDED) !== 0;
  }

  /** Whether nobody is at the other side now; something may still be there to be read. Waiting to write returns at once then. */
  isHungUp(descriptor: number): boolean {
    return (this.#now(descriptor) & ENDED) !== 0;
  }

  #now(descriptor: number): number {
    const entry = new DataView(new ArrayBuffer(ENTRY));
    entry.setInt32(0, descriptor, true);
    entry.setInt16(4, READABLE, true);
    return this.#libc.poll(new Uint8Array(entry.buffer), 1n, 0) <= 0 ? 0 : entry.getInt16(6, true);
  }

  /** Lets go of everybody who waits for the descriptor. When this resolves, nothing here knows it, and it may be closed. */
  async leave(descriptor: number): Promise<void> {
    for (const wait of this.#waits) if (wait.descriptor === descriptor) this.#end(wait);
    if (this.#round === null) return;
    this.#ring();
    await this.#round;
  }

  /** Nobody waits, and nobody will. */
  close(): void {
    this.#libc.close(this.#bell);
  }

  #end(wait: Wait): void {
    this.#waits.delete(wait);
    wait.resolve();
  }

  #ring(): void {
    this.#libc.write(this.#bell, new Uint8Array(new BigUint64Array([1n]).buffer), 8n);
  }

  async #run(): Promise<void> {
    while (this.#waits.size > 0) {
      this.#round = this.#poll();
      await this.#round;
    }
    this.#round = null;
  }

  async #poll(): Promise<void> {
    const waits = [...this.#waits];
    // An `ArrayBuffer` of its own stays where it is while the thread has it.
    const entries = new DataView(new ArrayBuffer(ENTRY * (waits.length + 1)));
    entries.setInt32(0, this.#bell, true);
    entries.setInt16(4, READABLE, true);
    for (const [i, { descriptor, wanted }] of waits.entries()) {
      entries.setInt32(ENTRY * (i + 1), descriptor, true);
      entries.setInt16(ENTRY * (i + 1) + 4, wanted, true);
    }
    await this.#libc.waitForAny(new Uint8Array(entries.buffer), BigInt(waits.length + 1), -1);
    if (entries.getInt16(6, true) !== 0) this.#libc.read(this.#bell, new Uint8Array(new ArrayBuffer(8)), 8n);
    for (const [i, wait] of waits.entries()) {
      if (entries.getInt16(ENTRY * (i + 1) + 6, true) !== 0 && this.#waits.has(wait)) this.#end(wait);
    }
  }
}
