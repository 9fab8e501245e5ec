/**
 * HMAC over a packet and its sequence number. RFC 4253 section 6.4, RFC 6668. No I/O.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { nodeHmac } from "../node_crypto.ts";

/** A MAC of packets. */
export interface PacketMac {
  /** Bytes of a tag. */
  readonly tagLength: number;
  /** The tag of `packet` with that sequence number, at once. Needs `node:crypto`. */
  compute(sequence: number, packet: Uint8Array): Uint8Array;
  /** The tags of packets that follow each other, through WebCrypto; the packets are copied before this returns. */
  computeAll(sequence: number, packets: readonly Uint8Array[]): Promise<readonly Uint8Array[]>;
}

/** The hashes by their names in WebCrypto, with what `node:crypto` calls them. */
const HASHES = { "SHA-1": ["sha1", 20], "SHA-256": ["sha256", 32], "SHA-512": ["sha512", 64] } as const;

/** Hashes that MACs use. */
export type MacHash = keyof typeof HASHES;

function sequenceBytes(sequence: number): Uint8Array {
  return Uint8Array.of(sequence >>> 24, sequence >>> 16, sequence >>> 8, sequence);
}

/** HMAC with that hash and key. */
export function packetHmac(hash: MacHash, key: Bytes): PacketMac {
  const [nodeName, tagLength] = HASHES[hash];
  if (key.length !== tagLength) throw new RangeError(`Cannot use MAC key: HMAC with ${hash} wants ${tagLength} bytes`);
  const macKey = key.slice();
  let webKey: Promise<CryptoKey> | undefined;
  const later = async (sequence: number, packet: Uint8Array) => {
    const data = new Uint8Array(4 + packet.length);
    data.set(sequenceBytes(sequence));
    data.set(packet, 4);
    webKey ??= crypto.subtle.importKey("raw", macKey, { name: "HMAC", hash }, false, ["sign"]);
    return new Uint8Array(await crypto.subtle.sign("HMAC", await webKey, data));
  };
  return {
    tagLength,
    compute: (sequence, packet) => nodeHmac(nodeName, macKey, sequenceBytes(sequence), packet),
    computeAll: (sequence, packets) => Promise.all(packets.map((packet, i) => later((sequence + i) >>> 0, packet))),
  };
}
