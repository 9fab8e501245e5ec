/**
 * aes128-ctr, aes192-ctr and aes256-ctr, at once. RFC 4344 section 4, RFC 4253 section 6.4. No I/O.
 *
 * AES by `node:crypto`: counter blocks are encrypted as blocks by themselves and XORed here, as its own counter mode takes seven times as
 * long in Deno. Where there is none, see aes_ctr_web_crypto.ts.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { equalBytes } from "../constant_time.ts";
import type { PacketMac } from "./hmac.ts";
import { type NodeCipher, nodeCipher } from "../node_crypto.ts";
import { frameEnd, macInvalid, uint32At } from "./packets.ts";
import type { DirectionKeys, PacketFrame, PacketOpener } from "../types.ts";

/** Bytes of an AES block. */
export const BLOCK = 16;
/** Bytes of counter blocks that there is room for at first: those of a packet of 32 KiB. */
const ROOM = 33_024;

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

/** How many blocks so many bytes are. */
export function blocksOf(length: number): number {
  if (length % BLOCK !== 0) throw new RangeError(`Cannot use ${length} bytes of key stream: it comes in blocks of 16`);
  return length / BLOCK;
}

/** The IV, which names the first block, as a copy. */
export function firstBlock({ iv }: DirectionKeys): Bytes {
  if (iv.length !== BLOCK) throw new RangeError("Cannot use IV: AES-CTR wants 16 bytes");
  return iv.slice();
}

let room = new Uint8Array(0);

/** Writes `count` counter blocks from `start` on. They lie in memory that all share, and are used up before anything else runs. */
function counterBlocks(start: Bytes, count: number): Uint8Array {
  if (room.length < BLOCK * count) room = new Uint8Array(Math.max(ROOM, BLOCK * count));
  const words = new Uint32Array(room.buffer), view = new DataView(room.buffer);
  const [a, b, c] = new Uint32Array(start.buffer) as unknown as [number, number, number];
  const low = uint32At(start, 12), carry = 2 ** 32 - low;
  for (let i = 0; i < Math.min(count, carry); i++) {
    words[4 * i] = a;
    words[4 * i + 1] = b;
    words[4 * i + 2] = c;
    view.setUint32(BLOCK * i + 12, low + i);
  }
  // One in four billion carries beyond the last four bytes.
  for (let i = carry; i < count; i++) room.set(counterBlock(start, i), BLOCK * i);
  return room.subarray(0, BLOCK * count);
}

/** The bytes as words of the machine, a copy where they do not lie as such. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  const lying = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Uint32Array(lying.buffer, lying.byteOffset, lying.length / 4);
}

/** The key stream of one direction: each block of it is used once. */
export class CtrStream implements NodeCipher {
  readonly #iv: Bytes;
  readonly #aes: NodeCipher;
  /** Blocks used so far. */
  #blocks = 0;

  /** Starts at the block that the IV names. */
  constructor(keys: DirectionKeys) {
    this.#iv = firstBlock(keys);
    this.#aes = nodeCipher(`aes-${8 * keys.key.length}-ecb`, "encrypt", keys.key, null);
  }

  /** XORs. */
  update(data: Uint8Array): Uint8Array {
    const count = blocksOf(data.length), first = counterBlock(this.#iv, this.#blocks), given = wordsOf(data);
    this.#blocks += count;
    const stream = wordsOf(this.#aes.update(counterBlocks(first, count)));
    for (let i = 0; i < given.length; i++) stream[i]! ^= given[i]!;
    return new Uint8Array(stream.buffer, stream.byteOffset, data.length);
  }

  /** The key stream's block of that number, which may be used ahead of its turn. */
  block(number: number): Uint8Array {
    return this.#aes.update(counterBlock(this.#iv, number));
  }

  /** Lets go of the cipher. */
  close(): void {
    this.#aes.close();
  }
}

/**
 * Opens counter mode with encrypt-and-MAC: the length is in the first block, which is decrypted ahead of the rest. That must
 * be done at once, so this needs `node:crypto`.
 */
export class CtrOpener implements PacketOpener {
  /** An AES block. */
  readonly blockSize = BLOCK;
  /** The length is in the first block. */
  readonly lengthPadded = true;
  /** Bytes of the MAC. */
  readonly tagLength: number;
  /** An AES block, which holds the length. */
  readonly headLength = BLOCK;
  readonly #stream: CtrStream;
  readonly #mac: PacketMac;
  /** The packet last looked at: its number, the block it starts at, its length. */
  #ahead = { sequence: -1, block: 0, length: -4 };

  /** Takes over the stream. */
  constructor(stream: CtrStream, mac: PacketMac) {
    this.#stream = stream;
    this.#mac = mac;
    this.tagLength = mac.tagLength;
  }

  /** Decrypts the first block for its length. */
  packetLength(chunk: Uint8Array, offset: number, sequence: number): number {
    const ahead = this.#ahead;
    if (sequence === ahead.sequence) return ahead.length;
    const block = ahead.block + Math.floor((4 + ahead.length) / BLOCK);
    const length = (uint32At(chunk, offset) ^ uint32At(this.#stream.block(block), 0)) >>> 0;
    this.#ahead = { sequence, block, length };
    return length;
  }

  /** Opens at once. */
  open(chunk: Uint8Array, frames: readonly PacketFrame[], sequence: number): readonly Uint8Array[] {
    return frames.map((frame, i) => {
      const end = frameEnd(chunk, frame, this.tagLength), tag = end - this.tagLength;
      if ((4 + frame.length) % BLOCK !== 0) throw macInvalid();
      const plain = this.#stream.update(chunk.subarray(frame.offset, tag));
      const expected = this.#mac.compute((sequence + i) >>> 0, plain);
      if (!equalBytes(expected, chunk.subarray(tag, end))) throw macInvalid();
      return plain.subarray(4);
    });
  }

  /** See {@linkcode PacketOpener}. */
  close(): void {
    this.#stream.close();
  }
}
