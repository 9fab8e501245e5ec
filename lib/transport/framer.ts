/**
 * Cuts the inbound bytes into packets. RFC 4253 section 6. No I/O, no crypto of its own, no timers.
 *
 * @module
 */
import type { PacketFrame, PacketOpener } from "../crypto/types.ts";
import { DisconnectReason, SshProtocolError } from "../errors.ts";
import type { Bytes } from "../wire/types.ts";

/** Largest packet_length accepted: what OpenSSH, x/crypto and libssh take. */
export const MAX_PACKET_LENGTH = 262_144;

const FIRST_BUFFER = 8_192;
/** The largest read, and the largest while nobody has logged in: what one read brings is handled in one go. */
const LARGEST_READ = 262_144;
const LARGEST_FIRST_READ = 16_384;

/** A batch of whole packets; it is valid until the next call of the framer. */
export interface PacketBatch {
  /** The bytes the frames lie in. */
  readonly chunk: Uint8Array;
  /** The packets, in order. */
  readonly frames: readonly PacketFrame[];
  /** Bytes on the wire that they take. */
  readonly bytes: number;
}

/**
 * Holds what has arrived and not been opened. Bytes come in by `push()`, or straight from a byte stream by `readTarget()`
 * and `filled()`. The buffer grows with what arrives, never with what a length field claims.
 */
export class Framer {
  #buffer: Bytes = new Uint8Array(0);
  #start = 0;
  #end = 0;
  /** Grows while reads fill it, and falls back behind a small one: a connection at rest holds little. */
  #readSize = FIRST_BUFFER;
  #largestRead = LARGEST_FIRST_READ;
  /** packet_length of the packet at `#start`, once it has been read: it is decrypted once only. */
  #length = -1;

  /** Bytes held. */
  get buffered(): number {
    return this.#end - this.#start;
  }

  /** The user is known: reads may grow. */
  setKnown(): void {
    this.#largestRead = LARGEST_READ;
  }

  /** Little is expected: the next read takes little room. A read that waits holds all of its room, and cannot be called back. */
  rest(): void {
    this.#readSize = FIRST_BUFFER;
  }

  /** Room behind what is held, to be handed to a BYOB read; `filled()` takes the view that comes back. */
  readTarget(): Bytes {
    if (this.#start === this.#end) {
      this.#start = this.#end = 0;
      if (this.#buffer.length > 2 * this.#readSize) this.#buffer = new Uint8Array(0);
    }
    this.#makeRoom(this.#readSize);
    const target = this.#buffer.subarray(this.#end);
    this.#buffer = new Uint8Array(0);
    return target;
  }

  /** Takes back the view that a BYOB read filled, `asked` being the length of the target. */
  filled(view: Bytes, asked: number): void {
    this.#buffer = new Uint8Array(view.buffer);
    this.#end = view.byteOffset + view.length;
    if (view.length === asked) {
      this.#readSize = Math.min(this.#largestRead, 4 * this.#readSize);
    } else if (view.length < FIRST_BUFFER) {
      this.#readSize = FIRST_BUFFER;
    }
  }

  /** Takes a chunk of any size; it is copied. */
  push(chunk: Uint8Array): void {
    this.#makeRoom(chunk.length);
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  #makeRoom(room: number): void {
    if (this.#buffer.length - this.#end >= room) return;
    const held = this.#end - this.#start;
    const need = held + room;
    if (need <= this.#buffer.length) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
    } else {
      const grown = new Uint8Array(held === 0 ? need : Math.max(need, 2 * held));
      grown.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = grown;
    }
    this.#start = 0;
    this.#end = held;
  }

  /** Drops what is held. */
  clear(): void {
    this.#start = this.#end = 0;
    this.#length = -1;
  }

  /**
   * Whole packets in order, at most `limit` and hardly more than 256 KiB of them, or null when none is complete. Throws on a
   * length that no peer may send.
   */
  next(opener: PacketOpener, sequence: number, limit: number): PacketBatch | null {
    const frames: PacketFrame[] = [];
    const { headLength, tagLength } = opener;
    const first = this.#start;
    while (frames.length < limit && this.#start - first < LARGEST_READ) {
      const have = this.#end - this.#start;
      if (this.#length < 0) {
        if (have < Math.max(4, headLength)) break;
        const length = opener.packetLength(this.#buffer, this.#start, (sequence + frames.length) >>> 0);
        this.#check(length, opener);
        this.#length = length;
      }
      const whole = 4 + this.#length + tagLength;
      if (have < whole) break;
      frames.push({ offset: this.#start, length: this.#length });
      this.#start += whole;
      this.#length = -1;
    }
    if (frames.length === 0) return null;
    const bytes = this.#start - first;
    const batch = { chunk: this.#buffer.subarray(0, this.#start), frames, bytes };
    return batch;
  }

  #check(length: number, opener: PacketOpener): void {
    const { blockSize, lengthPadded } = opener, unpadded = opener.padded === false;
    const padded = lengthPadded ? length + 4 : length;
    const block = unpadded ? 1 : Math.max(8, blockSize), least = unpadded ? 2 : 5;
    if (length < least || length > MAX_PACKET_LENGTH || padded % block !== 0) {
      throw new SshProtocolError(
        length > MAX_PACKET_LENGTH
          ? `Packet of ${length} bytes: at most ${MAX_PACKET_LENGTH} are accepted, so the stream is broken or not SSH`
          : unpadded
          ? `Packet of ${length} bytes has no message in it`
          : `Packet length ${length} is not a whole number of ${block}-byte blocks: padding error`,
        DisconnectReason.PROTOCOL_ERROR,
      );
    }
  }
}

/** Cuts `byte padding_length | payload | padding` down to the payload. */
export function payloadOf(packet: Uint8Array): Uint8Array {
  const padding = packet[0]!;
  const end = packet.length - padding;
  if (padding < 4 || end < 2) {
    throw new SshProtocolError(`Packet has ${padding} bytes of padding in ${packet.length}: padding error`);
  }
  return packet.subarray(1, end);
}
