/**
 * L5. Turns of the event loop, for work that a peer may ask for without end. No I/O.
 *
 * What is always ready, a backend in memory or small files, and a peer that always has more leave the event loop no turn by
 * themselves: timers do not fire and other connections wait. So whoever works off what a peer asks for looks here in between.
 *
 * @module
 */
import { turnEnd } from "../wire/turn_end.ts";

/** Milliseconds of work before the rest of the process has its turn. */
const TURN = 10;

/** The time of one session or exchange. */
export class Turn {
  #over = 0;

  /** What to wait for before going on, or null while there is time left; a promise for each step would cost more than most do. */
  rest(): Promise<void> | null {
    return performance.now() < this.#over ? null : this.#next();
  }

  async #next(): Promise<void> {
    await (turnEnd() ?? new Promise((resolve) => setTimeout(resolve, 0)));
    this.#over = performance.now() + TURN;
  }
}
