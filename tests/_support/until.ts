/**
 * Test support. Waiting for something, and telling that it does not come; and time, where a test cannot do without.
 *
 * A busy machine stops a test for a second anywhere. So no test wants something within less than {@linkcode HANGS}, which only what
 * hangs takes. Where a bound on work matters, a test counts steps, bytes or turns, compares two measurements of the same run, or
 * takes {@linkcode fastest} with a factor of twenty to spare.
 *
 * @module
 */

// Taken before any test puts a clock of its own in their place.
const { setTimeout, clearTimeout } = globalThis;
const now = performance.now.bind(performance);

/**
 * Milliseconds after which what has not come will not come. Shorter than the time limits that the library has unless told otherwise
 * (30 seconds and more), so that what only such a limit ends counts as hanging.
 */
export const HANGS = 20_000;

/** The same for what programs of others do, which have to be loaded first: a browser, a database, an interpreter with its libraries. */
export const PROGRAM_HANGS = 90_000;

/** Waits until something holds; fails with `what` when it does not come to be. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  limit: number = HANGS,
): Promise<void> {
  // Turns first, as most conditions hold after some of them, and then a little longer each time.
  for (let i = 0, end = now() + limit; !await condition(); i++) {
    if (now() > end) throw new Error(`${what}, after ${limit} ms`);
    await new Promise<void>((resolve) => setTimeout(resolve, i < 20 ? 0 : Math.min(10, i / 20)));
  }
}

/** What a promise comes to; fails with `what` when it hangs. */
export async function inTime<T>(promise: Promise<T>, what: string, limit: number = HANGS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    return await Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${what}: nothing came in ${limit} ms`)), limit);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Lets the event loop turn: what is ready to happen happens. For showing that something does *not* happen, where nothing that must
 * come later can be waited for; a slow machine makes such a test weaker, never red.
 */
export async function turns(count = 10): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setTimeout(resolve, 0));
}

/**
 * Milliseconds of the fastest of some tries, and of the first one that is below `enough`: the machine may have other things to do
 * in one of them, but long work is long each time.
 */
export async function fastest(enough: number, act: () => unknown, tries = 5): Promise<number> {
  let time = Infinity;
  for (let i = 0; i < tries && time >= enough; i++) {
    const start = now();
    await act();
    time = Math.min(time, now() - start);
  }
  return time;
}
