/**
 * L1. aes128-ctr, aes192-ctr and aes256-ctr with a MAC. RFC 4344 section 4. No I/O.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";
import { equalBytes } from "./constant_time.ts";
import type { PacketMac } from "./hmac.ts";
import { type NodeCipher, nodeCipher } from "./node_crypto.ts";
import { frameEnd, macInvalid, uint32At } from "./packets.ts";
import type { DirectionKeys, PacketFrame, PacketOpener } from "./types.ts";

const BLOCK = 16;

/** The counter block `blocks` after `iv`: a 128-bit number that wraps (RFC 4344 section 4). */
export function counterBlock(iv: Uint8Array, blocks: number): Bytes {
  const block = new Uint8Array(iv);
  for (let i = BLOCK - 1, carry = blocks; i >= 0 && carry > 0; i--) {
    carry += block[i]!;
    block[i] = carry % 256;
    carry = Math.floor(carry / 256);
  }
  return block;
}

/** Opens counter mode with encrypt-and-MAC: the length is in the first block, which is decrypted ahead of the rest. */
export class CtrOpener implements PacketOpener {
  readonly blockSize = BLOCK;
  readonly lengthPadded = true;
  readonly tagLength: number;
  readonly headLength = BLOCK;
  readonly #iv: Bytes;
  readonly #cipher: NodeCipher;
  /** Bare AES: encrypting a counter block gives the key stream at any place. */
  readonly #block: NodeCipher;
  readonly #mac: PacketMac;
  /** The packet last looked at: its number, the block it starts at, its length. */
  #ahead = { sequence: -1, block: 0, length: -4 };

  constructor(keys: DirectionKeys, mac: PacketMac) {
    const bits = 8 * keys.key.length;
    this.#iv = keys.iv.slice();
    this.#cipher = nodeCipher(`aes-${bits}-ctr`, "decrypt", keys.key, keys.iv);
    this.#block = nodeCipher(`aes-${bits}-ecb`, "encrypt", keys.key, null);
    this.#mac = mac;
    this.tagLength = mac.tagLength;
  }

  packetLength(chunk: Uint8Array, offset: number, sequence: number): number {
    const ahead = this.#ahead;
    if (sequence === ahead.sequence) return ahead.length;
    const block = ahead.block + Math.floor((4 + ahead.length) / BLOCK);
    const stream = this.#block.update(counterBlock(this.#iv, block));
    const length = (uint32At(chunk, offset) ^ uint32At(stream, 0)) >>> 0;
    this.#ahead = { sequence, block, length };
    return length;
  }

  open(chunk: Uint8Array, frames: readonly PacketFrame[], sequence: number): readonly Uint8Array[] {
    return frames.map((frame, i) => {
      const end = frameEnd(chunk, frame, this.tagLength), tag = end - this.tagLength;
      const plain = this.#cipher.update(chunk.subarray(frame.offset, tag));
      const expected = this.#mac.compute((sequence + i) >>> 0, plain);
      if (!equalBytes(expected, chunk.subarray(tag, end))) throw macInvalid();
      return plain.subarray(4);
    });
  }
}
