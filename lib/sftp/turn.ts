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

/** Who waits to go on, of all sessions: one at each turn of the event loop, in the order in which they came. */
const waiting: (() => void)[] = [];
let handing = false;

async function handOut(): Promise<void> {
  handing = true;
  while (waiting.length > 0) {
    await (turnEnd() ?? new Promise((resolve) => setTimeout(resolve, 0)));
    waiting.shift()!();
  }
  handing = false;
}

/**
 * The time of one session or exchange. What several were given runs out by the clock, used or not, so that a turn of the event
 * loop takes no longer however many of them have work.
 */
export class Turn {
  #over = 0;

  /** What to wait for before going on, or null while there is time left; a promise for each step would cost more than most do. */
  rest(): Promise<void> | null {
    return performance.now() < this.#over ? null : this.#next();
  }

  async #next(): Promise<void> {
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
      if (!handing) handOut();
    });
    this.#over = performance.now() + TURN;
  }
}
