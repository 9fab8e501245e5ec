/**
 * What may be sent to the peer on a channel, and how much of its time data waited for more of that. RFC 4254 section 5.2. No I/O.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";

/** One channel's. */
export class SendWindow {
  #left = 0;
  #most = 0;
  /** Since when data waits, or 0; and how long it has waited before. */
  #since = 0;
  #held = 0;

  /** Bytes that may be sent. */
  get left(): number {
    return this.#left;
  }

  /** The most that there ever were: what the peer lets be under way. */
  get most(): number {
    return this.#most;
  }

  /** Milliseconds for which data has waited. */
  get held(): number {
    return this.#held + (this.#since === 0 ? 0 : performance.now() - this.#since);
  }

  /** The peer takes so many bytes more; says whether there were none left. */
  add(bytes: number): boolean {
    const wasEmpty = this.#left === 0;
    if (this.#left + bytes > 0xffff_ffff) throw new SshProtocolError("Peer adjusts a channel window beyond 2^32 - 1");
    this.#left += bytes;
    this.#most = Math.max(this.#most, this.#left);
    if (this.#since > 0) {
      this.#held += performance.now() - this.#since;
      this.#since = 0;
    }
    return wasEmpty;
  }

  /** So many bytes leave; `isMore` tells whether data waits behind them. */
  take(bytes: number, isMore: boolean): void {
    this.#left -= bytes;
    if (isMore && this.#left === 0) this.wants();
  }

  /** There is data, and nothing is left. */
  wants(): void {
    if (this.#since === 0) this.#since = performance.now();
  }
}
