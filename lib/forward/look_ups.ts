/**
 * How many names are looked up at once for the forwards of a server. A look-up takes one of Deno's 32 threads for as long as name servers
 * let it wait, and files, logins by them included, go through the same ones: a client that names what nobody answers for would hold up
 * everybody. Deno does not tell a look-up from the connecting behind it, nor ends one that is given up: each counts until it is known to
 * be over, or as long as resolvers usually take. No I/O.
 *
 * @module
 */
import { Timer } from "../wire/timer.ts";

/** Names that are looked up at once for one connection, and for all of the program. */
const OF_ONE = 16, OF_ALL = 24;
/** Milliseconds after which one counts no more: two tries at a name server, and some. */
const LOOK_UP_TIME = 15_000;

/** Places for look-ups, which those who wait get in the order in which they came. */
export class LookUps {
  readonly #most: number;
  readonly #outer: LookUps | null;
  /** By the times at which they end at the latest, in order. */
  readonly #places = new Set<{ readonly until: number }>();
  readonly #waiting = new Set<() => void>();
  readonly #timer = new Timer(() => this.#next());

  /** So many at once, each of which takes a place of `outer` as well. */
  constructor(most: number = OF_ONE, outer: LookUps | null = ofAll) {
    this.#most = most;
    this.#outer = outer;
  }

  /** Waits for a place, until the signal aborts. What is returned is to be called when the look-up is known to be over. */
  async begin(signal: AbortSignal): Promise<() => void> {
    const own = await this.#place(signal);
    try {
      const outer = await this.#outer?.begin(signal);
      return () => {
        own();
        outer?.();
      };
    } catch (error) {
      own();
      throw error;
    }
  }

  #place(signal: AbortSignal): Promise<() => void> {
    this.#forget();
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      if (this.#waiting.size === 0 && this.#places.size < this.#most) return resolve(this.#take());
      const leave = (): void => {
        this.#waiting.delete(goOn);
        signal.removeEventListener("abort", onAbort);
      };
      const goOn = (): void => {
        leave();
        resolve(this.#take());
      };
      const onAbort = (): void => {
        leave();
        reject(signal.reason);
        this.#watch();
      };
      this.#waiting.add(goOn);
      signal.addEventListener("abort", onAbort);
      this.#watch();
    });
  }

  #take(): () => void {
    const place = { until: performance.now() + LOOK_UP_TIME };
    this.#places.add(place);
    return () => {
      if (this.#places.delete(place)) this.#next();
    };
  }

  #next(): void {
    this.#forget();
    for (const goOn of this.#waiting) {
      if (this.#places.size >= this.#most) break;
      goOn();
    }
    this.#watch();
  }

  #forget(): void {
    const now = performance.now();
    for (const place of this.#places) {
      if (place.until > now) break;
      this.#places.delete(place);
    }
  }

  /** Only who waits has to be told of the time. */
  #watch(): void {
    const [first] = this.#places;
    if (this.#waiting.size === 0 || first === undefined) this.#timer.stop();
    else this.#timer.start(Math.max(0, first.until - performance.now()));
  }
}

const ofAll: LookUps = new LookUps(OF_ALL, null);
