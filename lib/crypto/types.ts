/**
 * The seams between the transport and cryptography: packet protection and key agreement.
 * RFC 4253 sections 6 to 8. No I/O.
 *
 * @module
 */
import type { Bytes, MaybePromise } from "../wire/types.ts";

/** Hashes that key exchanges use, by their WebCrypto names. */
export type HashName = "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";

/**
 * Protects packets in one direction, outbound.
 *
 * The outbox asks for a workspace, lays packets out in it one after the other, each as
 * `uint32 packet_length | byte padding_length | payload | padding | tagLength bytes of room`, and calls `seal()` at once, in the
 * same turn of the event loop. So a workspace may be memory that all connections share.
 */
export interface PacketSealer {
  /** Padding makes the padded part a multiple of this, and never less than 8. */
  readonly blockSize: number;
  /** Whether the padded part includes the four bytes of packet_length (false for AEAD and encrypt-then-MAC). */
  readonly lengthPadded: boolean;
  /** Bytes of MAC or tag after each packet. */
  readonly tagLength: number;
  /** Whether packets have padding at all, as those of RFC 4253 have. @default {true} */
  readonly padded?: boolean;
  /** Whether `seal()` has a use for `out`. @default {false} */
  readonly fillsOut?: boolean;
  /** Memory for at least `size` bytes, to be used before anything else runs. */
  workspace(size: number): Uint8Array;
  /**
   * Seals the packets in the workspace and returns what goes on the wire: at the start of `out` where the sealer can use it, else
   * in a fresh buffer.
   * `ends` holds, for each packet, the offset at which it ends, its tag included. The first packet has sequence number
   * `sequence`; the numbers wrap at 2^32.
   */
  seal(workspace: Uint8Array, ends: readonly number[], sequence: number, out?: Bytes): MaybePromise<Bytes>;
  /** Lets go of what the runtime holds for it. Nothing is sealed after that. */
  close?(): void;
}

/** Where a packet lies in a chunk: the offset of its packet_length, and the value of packet_length. */
export interface PacketFrame {
  /** Offset of the packet's first byte. */
  readonly offset: number;
  /** The decoded packet_length: the whole packet takes `4 + length + tagLength` bytes. */
  readonly length: number;
}

/** Opens packets in one direction, inbound. */
export interface PacketOpener {
  /** The padded part must be a multiple of this. */
  readonly blockSize: number;
  /** Whether the padded part includes the four bytes of packet_length. */
  readonly lengthPadded: boolean;
  /** Bytes of MAC or tag after each packet. */
  readonly tagLength: number;
  /** Whether packets have padding at all, as those of RFC 4253 have. @default {true} */
  readonly padded?: boolean;
  /** Bytes of a packet that must be there before its length can be read: 4, or a cipher block. */
  readonly headLength: number;
  /**
   * Reads packet_length of the packet at `offset`. Called once per packet, in order, and again only for a packet whose
   * rest had not arrived. The result is not authenticated, and the caller checks its bounds.
   */
  packetLength(chunk: Uint8Array, offset: number, sequence: number): number;
  /**
   * Opens whole packets in order. Returns for each `byte padding_length | payload | padding`. The views are valid until the
   * next call to any opener, so the caller uses or copies them before anything else runs; but one that fills its buffer from
   * end to end belongs to the caller. The chunk may be overwritten as soon as this returns, be it with a promise; then the next batch may
   * be opened before that is done.
   * Throws `SshProtocolError` with code `MAC_INVALID` and reason 5 when any packet is not what the peer sent; nothing is
   * delivered then.
   */
  open(chunk: Uint8Array, frames: readonly PacketFrame[], sequence: number): MaybePromise<readonly Uint8Array[]>;
  /** Lets go of what the runtime holds for it. Nothing is opened after that. */
  close?(): void;
}

/** Keys of one direction, already cut to the lengths that the algorithms need. */
export interface DirectionKeys {
  /** Initial IV (RFC 4253 section 7.2, A and B). */
  readonly iv: Bytes;
  /** Encryption key (C and D). */
  readonly key: Bytes;
  /** Integrity key (E and F); empty for AEAD ciphers. */
  readonly macKey: Bytes;
}

/** A key agreement whose messages are one value each way, such as curve25519-sha256 or diffie-hellman-group14-sha256. */
export interface KeyAgreement {
  /**
   * Client: makes the first value. `finish` takes the server's value and gives the shared secret as it stands in the
   * exchange hash: an encoded `mpint`, or an encoded `string` for the hybrids (length included in both).
   * Values travel without their length: the content of the `string`, or the two's complement bytes of the `mpint`.
   */
  start(): Promise<{ readonly publicValue: Bytes; finish(peerValue: Uint8Array): Promise<Bytes> }>;
  /** Server: answers the client's value. */
  respond(peerValue: Uint8Array): Promise<{ readonly publicValue: Bytes; readonly secret: Bytes }>;
}

/** A key exchange method by name. */
export interface KexMethod {
  /** Name on the wire. */
  readonly name: string;
  /** Hash of the exchange and of key derivation. */
  readonly hash: HashName;
  /** The agreement, or null for group exchange (RFC 4419), where the server chooses the group. */
  readonly agreement: KeyAgreement | null;
}

/** Stateful compression of payloads in one direction (RFC 4253 section 6.2). */
export interface Compressor {
  /** Compresses one payload with a partial flush. */
  compress(payload: Uint8Array): Uint8Array;
}

/** The other direction of {@linkcode Compressor}. */
export interface Decompressor {
  /** Expands one payload; throws `SshProtocolError` with reason 6 when the stream is broken or grows past `limit` bytes. */
  decompress(payload: Uint8Array, limit: number): Uint8Array;
}
