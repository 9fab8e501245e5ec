/**
 * How many bytes of one file may be asked for ahead of their answers. No I/O.
 *
 * @module
 */

/** What a transfer starts with: 64 requests of 32 KiB. */
export const FIRST_WINDOW = 2_097_152;
/** Where it stops growing. A resumed upload sends this much again: see upload.ts. */
export const LAST_WINDOW = 16_777_216;
/** Requests under way, where a server allows them to be so small that bytes are no bound. */
export const MAX_REQUESTS = 1024;

/**
 * Grows to twice what the path holds: the rate of answers times the shortest time that one took. While the window is what
 * holds the transfer up, that doubles it each round trip; where the peer or the path does, it stays.
 */
export class FlightWindow {
  #size: number;
  readonly #last: number;
  #shortest = Infinity;
  #round = 0;
  #roundStart = -1;
  #rounds = 0;

  /** A window that starts at `first` bytes and grows up to `last`. */
  constructor(first: number = FIRST_WINDOW, last: number = LAST_WINDOW) {
    this.#last = last;
    this.#size = Math.min(first, last);
  }

  /** Bytes that may be under way. */
  get size(): number {
    return this.#size;
  }

  /** The shortest time that an answer took, in milliseconds. */
  get shortest(): number {
    return this.#shortest;
  }

  /** Rounds that were measured: each as long as the shortest answer at least. */
  get rounds(): number {
    return this.#rounds;
  }

  /** `bytes` were answered at `now` that were asked for at `sent`, both in milliseconds. */
  answered(bytes: number, sent: number, now: number): void {
    this.#shortest = Math.min(this.#shortest, Math.max(now - sent, 0.01));
    if (this.#roundStart < 0) {
      // An answer shows that there is more to come than was thought.
      this.#size = Math.max(this.#size, Math.min(FIRST_WINDOW, this.#last));
      this.#roundStart = now;
      return;
    }
    this.#round += bytes;
    const elapsed = now - this.#roundStart;
    if (elapsed < this.#shortest) return;
    const held = (this.#round / elapsed) * this.#shortest;
    this.#size = Math.max(this.#size, Math.min(Math.ceil(2 * held), this.#last));
    this.#round = 0;
    this.#roundStart = now;
    this.#rounds++;
  }
}
