/**
 * How far the copy of a whole tree is: what is done of how much, how fast, and how long it may still take. No I/O; the clock is
 * `performance.now()`.
 *
 * What there is to do is counted by a walk of its own, which runs beside the copying (tally.ts): until it is at its end, nobody knows.
 * Figures only grow, but for the rate. What is sent counts for the rate; what an earlier copy had done counts as done alone.
 *
 * @module
 */

/** How far a copy is. */
export interface TreeProgress {
  /** The path that the last bytes were copied from, as `onProgress` has it; what was to be copied, where there were none yet. */
  readonly path: string;
  /** Files and links that are done, with those that `resume` found whole. */
  readonly files: number;
  /** How many there are; null until all directories have been looked at. */
  readonly totalFiles: number | null;
  /** Bytes that are done, with those that `resume` found there. */
  readonly bytes: number;
  /** How many there are; null until all directories have been looked at. */
  readonly totalBytes: number | null;
  /** Bytes a second that were sent in the last five seconds, without what `resume` found there. */
  readonly rate: number;
  /** Seconds that the rest takes at this rate; null where that is not known. */
  readonly secondsLeft: number | null;
}

/** Milliseconds between two calls. */
const INTERVAL = 100;
/** Milliseconds that the rate is taken over. */
const WINDOW = 5000;

/** Counts for one copy, and tells. What the listener throws goes to whoever counted. */
export class TreeMeter {
  readonly #listener: (progress: TreeProgress) => unknown;
  #path: string;
  #files = 0;
  #bytes = 0;
  #sent = 0;
  #totalFiles = 0;
  #totalBytes = 0;
  #isKnown = false;
  #toldAt: number;
  /** What had been sent when, at each call: the oldest is the last one before the window, or the start. */
  readonly #samples: { readonly at: number; readonly sent: number }[];

  /** The time starts; `begin()` follows. */
  constructor(path: string, listener: (progress: TreeProgress) => unknown) {
    this.#path = path;
    this.#listener = listener;
    this.#toldAt = performance.now();
    this.#samples = [{ at: this.#toldAt, sent: 0 }];
  }

  /** Tells that nothing is done yet. */
  begin(): void {
    this.#tell(this.#toldAt, false);
  }

  /** There is more to do. */
  found(files: number, bytes: number): void {
    this.#totalFiles += files;
    this.#totalBytes += bytes;
  }

  /** All that there is to do has been found, with what is told here. */
  allFound(files = 0, bytes = 0): void {
    this.found(files, bytes);
    this.#isKnown = true;
  }

  /** Bytes of a file were copied, `beyond` of them behind the end that its size had told. */
  sent(path: string, bytes: number, beyond = 0): void {
    this.#path = path;
    this.#sent += bytes;
    this.#bytes += bytes;
    this.#totalBytes += beyond;
    this.#tellInTime();
  }

  /** Bytes of a file are there already. */
  passed(path: string, bytes: number): void {
    this.#path = path;
    this.#bytes += bytes;
    this.#tellInTime();
  }

  /** A file or link is done. */
  finished(): void {
    this.#files++;
    this.#tellInTime();
  }

  /** The copy is at its end: tells once more. With nothing failed, all that there was to do is what was done. */
  end(failed: number): void {
    if (failed === 0) {
      this.#totalFiles = this.#files;
      this.#totalBytes = this.#bytes;
      this.#isKnown = true;
    }
    this.#tell(performance.now(), true);
  }

  #tellInTime(): void {
    const now = performance.now();
    if (now - this.#toldAt >= INTERVAL) this.#tell(now, false);
  }

  #tell(now: number, isOver: boolean): void {
    this.#toldAt = now;
    const rate = this.#rate(now), files = this.#files, bytes = this.#bytes;
    // A file may have grown since it was counted.
    const totalFiles = this.#isKnown ? Math.max(this.#totalFiles, files) : null;
    const totalBytes = this.#isKnown ? Math.max(this.#totalBytes, bytes) : null;
    const left = totalBytes === null ? null : totalBytes - bytes;
    const secondsLeft = isOver || left === 0 ? 0 : left === null || rate === 0 ? null : left / rate;
    this.#listener({ path: this.#path, files, totalFiles, bytes, totalBytes, rate, secondsLeft });
  }

  #rate(now: number): number {
    const samples = this.#samples;
    while (samples.length > 1 && samples[1]!.at <= now - WINDOW) samples.shift();
    const [first] = samples, time = now - first!.at;
    const rate = time > 0 ? 1000 * (this.#sent - first!.sent) / time : 0;
    if (samples.at(-1)!.at < now) samples.push({ at: now, sent: this.#sent });
    return rate;
  }
}
