/**
 * L3. When keys are renewed. RFC 4253 section 9, RFC 4344 section 3. Pure: told of volume and time, says whether it is due.
 *
 * @module
 */
import { ciphers } from "../crypto/ciphers.ts";
import type { NegotiatedDirection, RekeyLimits } from "./types.ts";

const DEFAULT_BYTES = 1_073_741_824;
const DEFAULT_INTERVAL = 3_600_000;
const DEFAULT_PACKETS = 2 ** 31;

/** Exchanges a peer may start in a row without data between them, and how fast that credit comes back. */
const PEER_BURST = 1000;
const PEER_PER_SECOND = 2;
const PEER_FREE_BYTES = 4096;

function positive(value: number | undefined, fallback: number, name: string): number {
  if (value === undefined) return fallback;
  if (!(value > 0)) throw new RangeError(`Cannot use ${value} as rekey.${name}: it must be greater than 0`);
  return value;
}

/** Volume that one pair of keys may protect, and what has passed so far. */
export class RekeyPolicy {
  readonly #bytes: number;
  readonly #packets: number;
  /** Milliseconds between two exchanges. */
  readonly interval: number;
  #bytesLimit: number;
  #sentBytes = 0;
  #sentPackets = 0;
  #receivedBytes = 0;
  #receivedPackets = 0;
  #peerCredit = PEER_BURST;
  #peerCreditAt = 0;

  /** Checks and keeps the limits. */
  constructor(limits: RekeyLimits = {}) {
    this.#bytes = positive(limits.bytes, DEFAULT_BYTES, "bytes");
    this.#packets = Math.min(positive(limits.packets, DEFAULT_PACKETS, "packets"), DEFAULT_PACKETS);
    this.interval = positive(limits.interval, DEFAULT_INTERVAL, "interval");
    this.#bytesLimit = this.#bytes;
  }

  /** New keys are in force in both directions: counts start anew, under the limits of their ciphers. */
  renewed(outbound: NegotiatedDirection, inbound: NegotiatedDirection): void {
    const limitOf = (d: NegotiatedDirection) => ciphers.get(d.cipher)?.rekeyBytes ?? DEFAULT_BYTES;
    this.#bytesLimit = Math.min(this.#bytes, limitOf(outbound), limitOf(inbound));
    this.#sentBytes =
      this.#sentPackets =
      this.#receivedBytes =
      this.#receivedPackets =
        0;
  }

  /** Packets were sealed. */
  sent(packets: number, bytes: number): void {
    this.#sentPackets += packets;
    this.#sentBytes += bytes;
  }

  /** Packets were opened. */
  received(packets: number, bytes: number): void {
    this.#receivedPackets += packets;
    this.#receivedBytes += bytes;
  }

  /** Whether the volume asks for an exchange. At least one packet passes between two exchanges. */
  get due(): boolean {
    return this.#sentBytes >= this.#bytesLimit || this.#receivedBytes >= this.#bytesLimit ||
      this.#sentPackets >= this.#packets || this.#receivedPackets >= this.#packets;
  }

  /**
   * The peer started an exchange at `now` (milliseconds). False when it does nothing else: each exchange costs this side a
   * key agreement and a signature.
   */
  peerMayRekey(now: number): boolean {
    this.#peerCredit = Math.min(PEER_BURST, this.#peerCredit + (now - this.#peerCreditAt) / 1000 * PEER_PER_SECOND);
    this.#peerCreditAt = now;
    if (this.#receivedBytes + this.#sentBytes >= PEER_FREE_BYTES) return true;
    return --this.#peerCredit >= 0;
  }
}
