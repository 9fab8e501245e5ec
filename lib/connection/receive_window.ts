/**
 * L4. What the peer may send on a channel, when it is told that it may send more, and how much that grows. RFC 4254
 * section 5.2. No I/O, no timers.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";

/** A window may grow to this many times its first size on a path that is fast and long. */
const GROWTH = 8;
/** A window that lasts for fewer round trips than this may be what the peer waits for. */
const ROUND_TRIPS = 3;

/** Invariant: `size` is the sum of what the peer may send, what is owed to it, and what waits for the reader. */
export class ReceiveWindow {
  readonly #limit: number;
  readonly #packet: number;
  #size: number;
  #left: number;
  #owed = 0;
  #inBatch = 0;
  /** When the peer was asked for a word, and how long that took: never less than a round trip, or 0 while it is not known. */
  readonly #askedAt: number;
  #roundTrip = 0;
  /** Growth looks at a window's worth of bytes at a time: how many so far, since when, and whether the reader fell behind. */
  #measured = 0;
  #measuredSince = 0;
  #behind = false;

  /** Starts with `size` bytes, in packets of at most `packet` bytes; at `now` the peer is asked for its next word. */
  constructor(size: number, packet: number, now: number) {
    this.#size = this.#left = size;
    this.#limit = Math.min(size * GROWTH, 0xffff_ffff);
    this.#packet = packet;
    this.#askedAt = now;
  }

  /** Bytes that the peer may send. */
  get left(): number {
    return this.#left;
  }

  /** Bytes that the window has grown to. */
  get size(): number {
    return this.#size;
  }

  /** Bytes that have come and wait for the reader. */
  get waiting(): number {
    return this.#size - this.#left - this.#owed;
  }

  /** The peer sent a message about the channel, which came at `now`. The first one behind the question counts. */
  heard(now: number): void {
    if (this.#roundTrip > 0 || now <= this.#askedAt) return;
    this.#roundTrip = now - this.#askedAt;
    this.#measuredSince = now;
  }

  /** The peer sent data. */
  take(bytes: number): void {
    if (bytes > this.#left) {
      throw new SshProtocolError(`Peer sent ${bytes} bytes into a channel window of ${this.#left}`);
    }
    if (bytes > this.#packet) {
      throw new SshProtocolError(
        `Peer sent ${bytes} bytes of channel data in a packet: ${this.#packet} were agreed`,
      );
    }
    this.#left -= bytes;
    this.#inBatch += bytes;
  }

  /** A batch of packets has ended, and the reader is about to get it. What waits from batches before, it was too slow for. */
  batchEnd(): void {
    if (this.waiting - this.#inBatch > this.#size / 4) this.#behind = true;
    this.#inBatch = 0;
  }

  /** Bytes left a queue; says whether it is time to pay the peer back (the rule of OpenSSH's channels.c). */
  consumed(bytes: number, now: number): boolean {
    this.#owed += bytes;
    this.#measured += bytes;
    if (this.#measured >= this.#size) this.#measure(now);
    return this.#owed > 3 * this.#packet || this.#left < this.#size / 2;
  }

  /** A window's worth has been read. Where that took little more than a round trip, the peer may be waiting for window. */
  #measure(now: number): void {
    if (!this.#behind && now - this.#measuredSince < ROUND_TRIPS * this.#roundTrip) {
      const more = Math.min(this.#size, this.#limit - this.#size);
      this.#size += more;
      this.#owed += more;
    }
    this.#measured = 0;
    this.#measuredSince = now;
    this.#behind = false;
  }

  /** Bytes to put into a WINDOW_ADJUST; the peer may send them from here on. */
  pay(): number {
    const bytes = this.#owed;
    this.#owed = 0;
    this.#left += bytes;
    return bytes;
  }
}
