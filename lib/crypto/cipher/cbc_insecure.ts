/**
 * Opens the ciphers in CBC mode, which are insecure (CVE-2008-5161) and only for a program that names them. RFC 4253
 * section 6.3. No I/O.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { equalBytes } from "../constant_time.ts";
import type { PacketMac } from "./hmac.ts";
import { type NodeCipher, nodeCipher, nodeCipherOnce } from "../node_crypto.ts";
import { frameEnd, macInvalid, MAX_PACKET_LENGTH, uint32At } from "./packets.ts";
import type { DirectionKeys, PacketFrame, PacketOpener } from "../types.ts";

/**
 * Opens CBC with encrypt-and-MAC. A length that cannot be is answered as OpenSSH does: a packet of maximal length is read, and
 * then its MAC is wrong. So the peer cannot learn from the time or the kind of the error what a block decrypts to.
 */
export class CbcOpener implements PacketOpener {
  /** Bytes of a cipher block. */
  readonly blockSize: number;
  /** The length is in the first block. */
  readonly lengthPadded = true;
  /** Bytes of the MAC. */
  readonly tagLength: number;
  /** A cipher block, which holds the length. */
  readonly headLength: number;
  readonly #name: string;
  readonly #key: Bytes;
  readonly #cipher: NodeCipher;
  readonly #mac: PacketMac;
  /** What precedes the next packet to look at: the last block of the one before, once that has been opened. */
  #previous: Bytes;
  #ahead = { sequence: -1, length: 0 };
  #broken = false;
  /** Sequence number of the packet that `#previous` precedes; null before the first. */
  #next: number | null = null;

  /** Opens with the cipher that OpenSSL gives that name. */
  constructor(name: string, blockSize: number, keys: DirectionKeys, mac: PacketMac) {
    this.#name = name;
    this.#key = keys.key.slice();
    this.#previous = keys.iv.slice();
    this.#cipher = nodeCipher(name, "decrypt", keys.key, keys.iv);
    this.#mac = mac;
    this.blockSize = blockSize;
    this.headLength = blockSize;
    this.tagLength = mac.tagLength;
  }

  /** Decrypts the first block for its length. */
  packetLength(chunk: Uint8Array, offset: number, sequence: number): number {
    if (sequence === this.#ahead.sequence) return this.#ahead.length;
    this.#next ??= sequence;
    // The packet before has been opened, or it stands in the same chunk, just before this one.
    const last = offset - this.tagLength;
    const previous = sequence === this.#next ? this.#previous : chunk.subarray(last - this.blockSize, last);
    const block = chunk.subarray(offset, offset + this.blockSize);
    const head = nodeCipherOnce(this.#name, "decrypt", this.#key, new Uint8Array(previous), block);
    let length = uint32At(head, 0);
    if (length < 5 || length > MAX_PACKET_LENGTH || (4 + length) % this.blockSize !== 0) {
      this.#broken = true;
      length = MAX_PACKET_LENGTH - 4;
    }
    this.#ahead = { sequence, length };
    return length;
  }

  /** Opens at once. */
  open(chunk: Uint8Array, frames: readonly PacketFrame[], sequence: number): readonly Uint8Array[] {
    const opened = frames.map((frame, i) => {
      const end = frameEnd(chunk, frame, this.tagLength), tag = end - this.tagLength;
      const plain = this.#cipher.update(chunk.subarray(frame.offset, tag));
      const expected = this.#mac.compute((sequence + i) >>> 0, plain);
      if (!equalBytes(expected, chunk.subarray(tag, end)) || uint32At(plain, 0) !== frame.length) throw macInvalid();
      this.#previous = new Uint8Array(chunk.subarray(tag - this.blockSize, tag));
      return plain.subarray(4);
    });
    if (this.#broken && opened.length > 0 && this.#ahead.sequence === (sequence + frames.length - 1) >>> 0) {
      throw macInvalid();
    }
    this.#next = (sequence + frames.length) >>> 0;
    return opened;
  }

  /** See {@linkcode PacketOpener}. */
  close(): void {
    this.#cipher.close();
  }
}
