/**
 * When keys are renewed. RFC 4253 section 9, RFC 4344 section 3. Pure: told of volume and time, says whether it is due.
 *
 * @module
 */
import { ciphers } from "../crypto/cipher/ciphers.ts";
import type { NegotiatedDirection, RekeyLimits } from "./types.ts";

const DEFAULT_BYTES = 1_073_741_824;
const DEFAULT_INTERVAL = 3_600_000;
const DEFAULT_PACKETS = 2 ** 31;

/** Exchanges a peer may start in a row without data between them, and how fast that credit comes back. */
const PEER_BURST = 1000;
const PEER_PER_SECOND = 2;
const PEER_FREE_BYTES = 4096;
/** What an exchange costs a peer that has not logged in: no honest one renews its keys there. */
const PEER_COST_BEFORE_LOGIN = 200;

function positive(value: number | undefined, fallback: number, name: string): number {
  if (value === undefined) return fallback;
  if (!(value > 0)) throw new RangeError(`Cannot use ${value} as rekey.${name}: it must be greater than 0`);
  return value;
}

function limitOf(direction: NegotiatedDirection): number {
  return ciphers.get(direction.cipher)?.rekeyBytes ?? DEFAULT_BYTES;
}

/** Volume that one pair of keys may protect, and what has passed so far. */
export class RekeyPolicy {
  readonly #bytes: number;
  readonly #packets: number;
  /** Milliseconds between two exchanges. */
  readonly interval: number;
  #sentLimit = DEFAULT_BYTES;
  #receivedLimit = DEFAULT_BYTES;
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
  }

  /** New keys are in force outbound: counts start anew, under the limit of their cipher. */
  renewedOutbound(direction: NegotiatedDirection): void {
    this.#sentLimit = limitOf(direction);
    this.#sentBytes = this.#sentPackets = 0;
  }

  /** New keys are in force inbound: counts start anew, under the limit of their cipher. */
  renewedInbound(direction: NegotiatedDirection): void {
    this.#receivedLimit = limitOf(direction);
    this.#receivedBytes = this.#receivedPackets = 0;
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
    return this.#reaches(this.#bytes, this.#packets);
  }

  /** Whether the keys may not be used any more, whatever the program's own limits are. */
  get exhausted(): boolean {
    return this.#reaches(DEFAULT_BYTES, DEFAULT_PACKETS);
  }

  #reaches(bytes: number, packets: number): boolean {
    return this.#sentBytes >= Math.min(bytes, this.#sentLimit) ||
      this.#receivedBytes >= Math.min(bytes, this.#receivedLimit) ||
      this.#sentPackets >= packets || this.#receivedPackets >= packets;
  }

  /**
   * The peer started an exchange at `now` (milliseconds) with a KEXINIT of so many bytes. False when it does nothing else: each
   * exchange costs this side a key agreement and a signature.
   */
  peerMayRekey(now: number, kexInit: number, loggedIn: boolean): boolean {
    this.#peerCredit = Math.min(PEER_BURST, this.#peerCredit + (now - this.#peerCreditAt) / 1000 * PEER_PER_SECOND);
    this.#peerCreditAt = now;
    // The KEXINIT itself, which can be long, is no data.
    if (loggedIn && this.#receivedBytes + this.#sentBytes - kexInit >= PEER_FREE_BYTES) return true;
    this.#peerCredit -= loggedIn ? 1 : PEER_COST_BEFORE_LOGIN;
    return this.#peerCredit >= 0;
  }
}
