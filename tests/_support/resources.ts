/**
 * Test support. What this process holds, memory and open files, and whether it gives them back; and how much of a load test runs:
 * `AMIKO_SOAK=1` makes it the long one.
 *
 * @module
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Whether this is the long run, `deno task soak`. */
export const soaking: boolean = Deno.env.get("AMIKO_SOAK") === "1";

/** One of two sizes: for each run of the tests, and for the long run. */
export function sized<T>(each: T, soak: T): T {
  return soaking ? soak : each;
}

/** What a process holds. */
export interface Holdings {
  /** Bytes of the heap and of buffers that are in use, after a collection. */
  readonly memory: number;
  /** Bytes that the system counts for the process. */
  readonly rss: number;
  /** Open files and sockets; 0 where /proc does not tell. */
  readonly files: number;
}

let collect: (() => void) | null = null;

/** Collects garbage, and lets finalisers of buffers run. */
export async function collectGarbage(): Promise<void> {
  if (collect === null) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Open files and sockets of this process; 0 where /proc does not tell. */
export function openFiles(): number {
  try {
    // The directory that is being read is one of them.
    return [...Deno.readDirSync("/proc/self/fd")].length - 1;
  } catch {
    return 0;
  }
}

/** What this process holds now. */
export async function holdings(): Promise<Holdings> {
  await collectGarbage();
  const { heapUsed, external, rss } = Deno.memoryUsage();
  return { memory: heapUsed + external, rss, files: openFiles() };
}

/** What may stay behind besides 5 %: code compiled meanwhile, buffers kept for the next connection. */
const STAYS = { memory: 6 * 2 ** 20, files: 2 };

/** Fails unless memory and open files are back within 5 % of what they were, ten seconds from now at the latest. */
export async function assertGivenBack(before: Holdings, within = 10_000): Promise<void> {
  const end = performance.now() + within;
  for (;;) {
    const now = await holdings();
    const memory = now.memory <= before.memory * 1.05 + STAYS.memory;
    const files = now.files <= before.files * 1.05 + STAYS.files;
    if (memory && files) return;
    if (performance.now() > end) {
      throw new Error(
        `Not given back within ${within} ms: ${mebibytes(before.memory)} and ${before.files} files before, ` +
          `${mebibytes(now.memory)} and ${now.files} files now`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Bytes by which a process grows because the collector has its time. */
const GARBAGE = 96 * 2 ** 20;

/** Bytes as people read them. */
export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/**
 * Watches the memory of this process. It collects garbage each time it looks, so that what grows is what is held, and not what
 * the collector has put off.
 */
export class MemoryWatch {
  readonly #start: Holdings;
  #growth = 0;
  #rssGrowth = 0;

  private constructor(start: Holdings) {
    this.#start = start;
  }

  /** Starts from what is in use now. */
  static async start(): Promise<MemoryWatch> {
    return new MemoryWatch(await holdings());
  }

  /** Looks now: where most is held. Takes tens of milliseconds. */
  look(): void {
    this.#rssGrowth = Math.max(this.#rssGrowth, Deno.memoryUsage().rss - this.#start.rss);
    collect!();
    const { heapUsed, external } = Deno.memoryUsage();
    this.#growth = Math.max(this.#growth, heapUsed + external - this.#start.memory);
  }

  /**
   * Fails when more than so many bytes were held at a time, or the process as a whole grew by much more: `garbage` is what the
   * collector may let lie.
   */
  assertUnder(bytes: number, garbage = GARBAGE): void {
    this.look();
    if (this.#growth < bytes && this.#rssGrowth < bytes + garbage) return;
    throw new Error(
      `Grown by ${mebibytes(this.#growth)}, and the process by ${mebibytes(this.#rssGrowth)}: ${
        mebibytes(bytes)
      } are allowed`,
    );
  }
}
