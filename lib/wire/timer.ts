/**
 * A timer that takes any length of time, can stand still, and need not keep the program alive. No I/O.
 *
 * @module
 */

/** The longest time that `setTimeout()` takes, in milliseconds: it fires at once for more. */
const LONGEST = 0x7fff_ffff;

/** The timers of a runtime that is no browser are objects, and can be told not to keep the program alive. */
interface Refable {
  ref?(): void;
  unref?(): void;
}

/** Calls `expired` when its time is over; it can be started again and again, one time after the other. */
export class Timer {
  readonly #expired: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Milliseconds still to go at `#since`. */
  #left = 0;
  #since = 0;
  #running = false;
  #refed = true;

  /** Does not run yet. */
  constructor(expired: () => void) {
    this.#expired = expired;
  }

  /** Runs for `milliseconds` from now on, whatever it did before. `Infinity` never ends, and more than 2^31 is as long as it says. */
  start(milliseconds: number): void {
    this.#left = milliseconds;
    this.resume();
  }

  /** Stands still until `resume()`; the time that is left stays. */
  pause(): void {
    if (!this.#running) return;
    this.#left = Math.max(0, this.#left - (performance.now() - this.#since));
    this.#clear();
  }

  /** Goes on with the time that was left. */
  resume(): void {
    this.#clear();
    if (this.#left === Infinity) return;
    this.#running = true;
    this.#since = performance.now();
    this.#timer = setTimeout(() => this.#fired(), Math.min(this.#left, LONGEST));
    if (!this.#refed) (this.#timer as Refable).unref?.();
  }

  /** Does not expire any more. */
  stop(): void {
    this.#clear();
    this.#left = Infinity;
  }

  /** Keeps the program alive while it runs, as timers do. */
  ref(): void {
    this.#refed = true;
    (this.#timer as Refable | undefined)?.ref?.();
  }

  /** Lets the program end while it runs. */
  unref(): void {
    this.#refed = false;
    (this.#timer as Refable | undefined)?.unref?.();
  }

  #clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#running = false;
  }

  #fired(): void {
    this.#running = false;
    this.#left -= LONGEST;
    if (this.#left > 0) return this.resume();
    this.stop();
    this.#expired();
  }
}
