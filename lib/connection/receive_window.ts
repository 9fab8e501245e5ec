/**
 * What the peer may send on a channel, when it is told that it may send more, and how that follows the path. RFC 4254
 * section 5.2. No I/O, no timers.
 *
 * A window below the product of rate and round trip is what the peer waits for. One far above it is paid for by the peer:
 * `sshd` reads ahead of a command as far as the window lets it, into one buffer that it may copy for each packet. So a window
 * grows where it lasts for few round trips, the growth is kept where it brought rate, and else taken back.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";
import type { WindowShare } from "./window_share.ts";

/** Data bytes of the largest packet this side takes and makes (RFC 4253 section 6.1 makes peers take as much). */
export const MAX_PACKET = 32_768;
/** Receive window that a channel starts with when nobody says otherwise. */
export const DEFAULT_WINDOW = 2_097_152;
/** No window grows beyond this. */
const LARGEST = 16_777_216;
/** A window wants to last for this many round trips: some are longer than the least one, and credit is paid in portions. */
const ROUND_TRIPS = 2;
/** One that lasts for this many is too large. */
const TOO_MANY = 4;
/** A growth has to be worth a trial. */
const LEAST_GROWTH = 1.25;
/** How much more the rate has to be for a growth to be kept. */
const LEAST_GAIN = 1.03;
/** Milliseconds without another trial after one that brought nothing: doubled each time. */
const REST = { first: 1000, last: 64_000 };

/** A growth that has to bring more than the rate before, now and later, or the size before comes back. */
interface Trial {
  readonly size: number;
  readonly rate: number;
  /** The growth before, which counts again then. */
  readonly before: Trial | null;
}

/**
 * Invariant: `size` is the sum of what the peer may send, what is owed to it, and what waits for the reader. A window that
 * shrinks is not retracted: what is consumed is not owed until `size` has come down to what is wanted, and to the channel's part
 * of what the connection's windows may hold together.
 */
export class ReceiveWindow {
  /** A window may grow to this many times its first size. The bench sets it to 1 for windows that stay as they are. */
  static growth = 8;

  readonly #first: number;
  readonly #limit: number;
  readonly #packet: number;
  readonly #share: WindowShare | null;
  /** Bytes of the share's period, and which it was; the most that the window may hold. */
  #inPeriod = 0;
  #period = 0;
  #most = Infinity;
  #size: number;
  #wanted: number;
  #left: number;
  #owed = 0;
  #inBatch = 0;
  /** Bytes to pass over before a measurement starts, with the batch behind them; negative once it runs. */
  #passOver = 0;
  /** Since when bytes are counted, how many so far, and whether the reader ever fell behind, and ever caught up. */
  #since = 0;
  #measured = 0;
  #behind = false;
  #drained = false;
  /** Whether the first window's worth is being counted: it may come at the full rate of the path, whatever the window. */
  #atFirst = true;
  #trial: Trial | null = null;
  /** Measurements in turn in which the window was far too large. */
  #tooLarge = 0;
  #rest = REST.first;
  #restUntil = 0;

  /** Starts with `size` bytes, in packets of at most `packet` bytes; `share` is that of the connection. */
  constructor(size: number, packet: number, share: WindowShare | null = null) {
    this.#first = this.#size = size;
    this.#wanted = this.#left = size;
    this.#limit = Math.max(size, Math.min(size * ReceiveWindow.growth, LARGEST));
    this.#packet = packet;
    this.#share = ReceiveWindow.growth === 1 ? null : share;
  }

  /** Bytes that the peer may send. */
  get left(): number {
    return this.#left;
  }

  /** Bytes that the window has now. */
  get size(): number {
    return this.#size;
  }

  /** Bytes that have come and wait for the reader. */
  get waiting(): number {
    return this.#size - this.#left - this.#owed;
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
    const before = this.waiting - this.#inBatch;
    if (before <= this.#size / 16) this.#drained = true;
    else if (before > this.#size / 4) this.#behind = true;
    this.#inBatch = 0;
  }

  /**
   * Bytes that came by `now` left a queue; the least round trip seen is `roundTrip`, or 0 while none was. Says whether it is
   * time to pay the peer back (the rule of OpenSSH's channels.c).
   */
  consumed(bytes: number, now: number, roundTrip: number): boolean {
    if (this.#share !== null) this.#countPart(this.#share, bytes, roundTrip);
    const change = Math.max(-bytes, Math.min(this.#wanted, this.#most) - this.#size);
    this.#size += change;
    this.#owed += bytes + change;
    this.#count(bytes, now, roundTrip);
    return this.#owed > 3 * this.#packet || (this.#owed > 0 && this.#left < this.#size / 2);
  }

  #countPart(share: WindowShare, bytes: number, roundTrip: number): void {
    if (this.#period !== share.period) {
      this.#period = share.period;
      this.#inPeriod = 0;
    }
    share.count(bytes, this.#inPeriod);
    this.#inPeriod += bytes;
    this.#most = share.part(roundTrip);
  }

  #count(bytes: number, now: number, roundTrip: number): void {
    if (roundTrip === 0) return;
    if (this.#passOver >= 0) {
      // The clock starts behind the first batch: what that took to come is not known.
      this.#passOver -= bytes;
      this.#restart(now);
      return;
    }
    this.#measured += bytes;
    const time = now - this.#since;
    if (time === 0) return;
    if (this.#atFirst) {
      if (this.#measured >= this.#first / 2) this.#measuredFirst(this.#measured / time, now, roundTrip);
    } else if (this.#measured >= this.#size && time >= roundTrip) {
      this.#measuredOne(this.#measured / time, now, roundTrip);
    } else if (this.#trial !== null && time * this.#trial.rate * LEAST_GAIN > this.#size) {
      this.#measuredOne(0, now, roundTrip);
    }
  }

  /** Whether it is the reader who says how fast it goes: a larger window would only fill up. */
  get #heldByReader(): boolean {
    return this.#behind || !this.#drained;
  }

  #restart(now: number): void {
    this.#since = now;
    this.#measured = 0;
    this.#behind = false;
    this.#drained = false;
  }

  /** The first bytes came without a wait for window: their rate tells how much the path may hold. */
  #measuredFirst(rate: number, now: number, roundTrip: number): void {
    this.#atFirst = false;
    const held = this.#heldByReader;
    this.#restart(now);
    if (!held) this.#grow(rate * roundTrip, Math.min(rate, this.#size / roundTrip));
  }

  /** A window's worth came at this rate. */
  #measuredOne(rate: number, now: number, roundTrip: number): void {
    const trial = this.#trial, held = this.#heldByReader;
    this.#restart(now);
    if (trial !== null && rate < trial.rate * LEAST_GAIN) {
      this.#trial = trial.before;
      this.#wanted = trial.size;
      this.#restUntil = now + this.#rest;
      this.#rest = Math.min(2 * this.#rest, REST.last);
      return;
    }
    const product = rate * roundTrip, wanted = ROUND_TRIPS * product;
    this.#tooLarge = TOO_MANY * product < this.#size ? this.#tooLarge + 1 : 0;
    if (this.#tooLarge === 2) {
      this.#tooLarge = 0;
      this.#trial = null;
      this.#wanted = Math.max(this.#first, Math.ceil(wanted));
    } else if (wanted > this.#size && !held && now >= this.#restUntil) {
      this.#grow(Math.max(wanted, LEAST_GROWTH * this.#size), rate);
    }
  }

  /** Grows to `size`, within the limit, if that is worth it; `rate` is what has been reached so far. */
  #grow(size: number, rate: number): void {
    const grown = Math.min(Math.ceil(size), this.#limit, this.#most);
    if (size < LEAST_GROWTH * this.#size || grown <= this.#size) return;
    this.#trial = { size: this.#size, rate, before: this.#trial };
    this.#passOver = this.#left + this.waiting;
    this.#owed += grown - this.#size;
    this.#size = this.#wanted = grown;
  }

  /** Bytes to put into a WINDOW_ADJUST; the peer may send them from here on. */
  pay(): number {
    const bytes = this.#owed;
    this.#owed = 0;
    this.#left += bytes;
    return bytes;
  }
}
