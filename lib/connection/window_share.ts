/**
 * What the windows of one connection may hold together while several channels receive at once. RFC 4254 section 5.2. No I/O, no timers.
 *
 * A peer that reads ahead of eight commands, each as far as its window lets it, holds eight windows' worth, and `sshd` moves such a
 * buffer about for each packet: more than twice the time for the same bytes. The path needs one product of rate and round trip,
 * however many channels share it.
 *
 * @module
 */

/** Bytes that all windows together may hold on any path. */
const LEAST_TOGETHER = 4_194_304;
/** The same for each millisecond of a longer round trip: 1 GB/s. */
const PER_MILLISECOND = 1_000_000;
/** No channel's part is less. */
const LEAST_PART = 262_144;
/** Bytes over which the channels are counted that bring many. */
const PERIOD = 2_097_152;
/** Bytes of a period from which on a channel counts: the echo of a key needs no part. */
const MANY = 8_192;

/** One connection's; its windows tell it what comes. */
export class WindowShare {
  #period = 0;
  #bytes = 0;
  #counted = 0;
  #busy = 1;

  /** Number of the period that is being counted. */
  get period(): number {
    return this.#period;
  }

  /** Bytes of one channel left its queue; `before` of them did so in this period already. */
  count(bytes: number, before: number): void {
    if (before < MANY && before + bytes >= MANY) this.#counted++;
    this.#bytes += bytes;
    if (this.#bytes < PERIOD) return;
    this.#busy = Math.max(1, this.#counted);
    this.#period++;
    this.#bytes = this.#counted = 0;
  }

  /** The most that one window may hold, where the least round trip is `roundTrip` milliseconds, or 0 while it is not known. */
  part(roundTrip: number): number {
    if (this.#busy === 1 || roundTrip === 0) return Infinity;
    return Math.max(LEAST_PART, Math.floor(Math.max(LEAST_TOGETHER, PER_MILLISECOND * roundTrip) / this.#busy));
  }
}
