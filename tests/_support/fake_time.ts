/**
 * Test support. `setTimeout` and `performance.now()` by hand, for code that looks at the clock and does nothing else with it. What has
 * no delay is no matter of time, and takes a turn of the event loop as ever.
 */
export class FakeTime implements Disposable {
  /** Delays that timers were set with. */
  readonly delays: number[] = [];
  readonly #real = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    now: performance.now,
  };
  #now = Math.ceil(performance.now());
  #timers = new Map<number, { at: number; act: () => void }>();
  // Numbers that no real timer has.
  #next = 2 ** 40;

  constructor() {
    const replacement = (act: () => void, delay = 0) => {
      if (delay <= 0) return this.#real.setTimeout.call(globalThis, act, 0);
      this.delays.push(delay);
      this.#timers.set(this.#next, { at: this.#now + delay, act });
      return this.#next++;
    };
    globalThis.setTimeout = replacement as unknown as typeof setTimeout;
    globalThis.clearTimeout = ((id?: number) => {
      if (!this.#timers.delete(id!)) this.#real.clearTimeout.call(globalThis, id);
    }) as typeof clearTimeout;
    performance.now = () => this.#now;
  }

  /** Timers that have been set, and neither cleared nor run. */
  get pending(): number {
    return this.#timers.size;
  }

  /** The time. */
  now(): number {
    return this.#now;
  }

  /** Lets time pass until the next timer falls due, and runs it. */
  next(): void {
    this.tick(Math.min(...[...this.#timers.values()].map(({ at }) => at)) - this.#now);
  }

  /** Lets time pass, and runs what falls due. */
  tick(milliseconds: number): void {
    const until = this.#now + milliseconds;
    for (;;) {
      const [id, timer] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
      if (timer === undefined || timer.at > until) break;
      this.#timers.delete(id!);
      this.#now = timer.at;
      timer.act();
    }
    this.#now = until;
  }

  [Symbol.dispose](): void {
    globalThis.setTimeout = this.#real.setTimeout;
    globalThis.clearTimeout = this.#real.clearTimeout;
    performance.now = this.#real.now;
  }
}
