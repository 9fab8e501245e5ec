/**
 * L5. How many bytes of one file may be asked for ahead of their answers. No I/O.
 *
 * @module
 */

/** What a transfer starts with: 64 requests of 32 KiB. */
export const FIRST_WINDOW = 2_097_152;
/** Where it stops growing. A resumed upload sends this much again: see upload.ts. */
export const LAST_WINDOW = 16_777_216;

/**
 * Grows while a larger window makes the path faster: twice the window must bring an eighth more. Below the first window it
 * grows whenever it holds the transfer up.
 */
export class FlightWindow {
  #size: number;
  readonly #last: number;
  #round = 0;
  #roundStart = -1;
  #best = 0;
  #waited = false;

  /** A window that starts at `first` bytes and grows up to `last`. */
  constructor(first: number = FIRST_WINDOW, last: number = LAST_WINDOW) {
    this.#last = last;
    this.#size = Math.min(first, last);
  }

  /** Bytes that may be under way. */
  get size(): number {
    return this.#size;
  }

  /** This side had to wait for the peer: the window may be what holds the transfer up. */
  waited(): void {
    this.#waited = true;
  }

  /** `bytes` were answered at `now` milliseconds. A round is a window's worth of answers. */
  answered(bytes: number, now: number): void {
    if (this.#roundStart < 0) this.#roundStart = now;
    this.#round += bytes;
    if (this.#round < this.#size) return;
    const rate = this.#round / Math.max(now - this.#roundStart, 0.01);
    if (this.#waited && (this.#size < FIRST_WINDOW || rate > this.#best * 1.125)) {
      this.#best = rate;
      this.#size = Math.min(2 * this.#size, this.#last);
    }
    this.#round = 0;
    this.#roundStart = now;
    this.#waited = false;
  }
}
