/**
 * Test support. What programs on a terminal write, word by word, and whether they still run.
 *
 * @module
 */
import { until } from "../_support/until.ts";

/** Reads a program's output as it comes. */
export class Screen {
  /** All that has come so far, byte by byte as U+0000 to U+00FF. */
  said = "";
  /** The last bytes of it. */
  tail = "";
  /** Bytes so far, without keeping them. */
  count = 0;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  /** Reads `stream`. */
  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** Reads once; false at the end. */
  async next(): Promise<boolean> {
    const { value, done } = await this.#reader.read();
    if (done) return false;
    this.count += value.length;
    const text = String.fromCharCode(...value);
    if (this.said.length < 1_000_000) this.said += text;
    this.tail = (this.tail + text).slice(-1000);
    return true;
  }

  /** Reads until the output holds what is wanted, and gives what matches. */
  async until(wanted: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = wanted.exec(this.said);
      if (match !== null) return match;
      if (!await this.next()) throw new Error(`It ended without ${wanted}: ${this.said}`);
    }
  }

  /** Reads to the end. */
  async end(): Promise<string> {
    while (await this.next());
    return this.said;
  }
}

/** Whether a process still runs: those that have ended and that nobody has asked for do not. */
export function isRunning(pid: number | string): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

/** Waits until processes have ended. */
export async function ended(pids: readonly (number | string)[]): Promise<void> {
  await until(() => !pids.some(isRunning), `Some of ${pids} still run`);
}

/** How many terminals this program holds. */
export function terminals(): number {
  let count = 0;
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      if (Deno.readLinkSync(`/proc/self/fd/${name}`).endsWith("/ptmx")) count++;
    } catch {
      // It was that of the folder.
    }
  }
  return count;
}
