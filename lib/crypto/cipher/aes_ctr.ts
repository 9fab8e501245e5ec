/**
 * aes128-ctr, aes192-ctr and aes256-ctr with a MAC. RFC 4344 section 4, RFC 4253 section 6.4, OpenSSH PROTOCOL section
 * 1.5 (encrypt-then-MAC). No I/O.
 *
 * At once by `node:crypto` where that exists: counter blocks are encrypted as blocks by themselves and XORed here, as its own counter mode
 * takes seven times as long in Deno (bench/sections/crypto.ts). Else by WebCrypto, in other threads.
 *
 * @module
 */
import type { Bytes, MaybePromise } from "../../wire/types.ts";
import { BlockSealer, EtmOpener } from "./cipher_and_mac.ts";
import { equalBytes } from "../constant_time.ts";
import type { PacketMac } from "./hmac.ts";
import { hasNodeCrypto, type NodeCipher, nodeCipher } from "../node_crypto.ts";
import { frameEnd, macInvalid, sealedInto, sharedWorkspace, uint32At } from "./packets.ts";
import type { DirectionKeys, PacketFrame, PacketOpener, PacketSealer } from "../types.ts";

const BLOCK = 16;
/** Counter blocks that are encrypted together. */
const PORTION = 2048;
/** What one call of WebCrypto gets at least. A packet that is as long by itself need not be copied together with others. */
const GROUP = 32_768;

/** The counter block `blocks` after `iv`: a 128-bit number that wraps (RFC 4344 section 4). */
function counterBlock(iv: Uint8Array, blocks: number): Bytes {
  const block = new Uint8Array(iv);
  for (let i = BLOCK - 1, carry = blocks; i >= 0 && carry > 0; i--) {
    carry += block[i]!;
    block[i] = carry % 256;
    carry = Math.floor(carry / 256);
  }
  return block;
}

/** Counter blocks, used up before anything else runs. */
class Counters {
  readonly #bytes = new Uint8Array(PORTION * BLOCK);
  readonly #words = new Uint32Array(this.#bytes.buffer);
  readonly #view = new DataView(this.#bytes.buffer);

  /** As many of `count` blocks from `start` on as there is room for, and as differ in their last four bytes alone. */
  from(start: Bytes, count: number): Uint8Array {
    const words = this.#words, [a, b, c] = new Uint32Array(start.buffer) as unknown as [number, number, number];
    const low = uint32At(start, 12), fitting = Math.min(count, PORTION, 2 ** 32 - low);
    for (let i = 0; i < fitting; i++) {
      words[4 * i] = a;
      words[4 * i + 1] = b;
      words[4 * i + 2] = c;
      this.#view.setUint32(BLOCK * i + 12, low + i);
    }
    return this.#bytes.subarray(0, BLOCK * fitting);
  }
}

let counters: Counters | undefined;

/** The bytes as words of the machine, a copy where they do not lie as such. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  const lying = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Uint32Array(lying.buffer, lying.byteOffset, lying.length / 4);
}

function joined(parts: readonly Uint8Array[], length: number): Bytes {
  const data = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return data;
}

/** The key stream of one direction: each block of it is used once. */
export class CtrStream implements NodeCipher {
  readonly #iv: Bytes;
  /** One of the two: bare AES, or what makes counter mode elsewhere. */
  readonly #aes: NodeCipher | null;
  readonly #web: CryptoKey | null;
  /** Blocks used so far. */
  #blocks = 0;

  private constructor(iv: Bytes, aes: NodeCipher | null, web: CryptoKey | null) {
    this.#iv = iv.slice();
    this.#aes = aes;
    this.#web = web;
  }

  /** Starts at the block that the IV names. */
  static async create({ key, iv }: DirectionKeys): Promise<CtrStream> {
    if (iv.length !== BLOCK) throw new RangeError("Cannot use IV: AES-CTR wants 16 bytes");
    return hasNodeCrypto()
      ? new CtrStream(iv, nodeCipher(`aes-${8 * key.length}-ecb`, "encrypt", key, null), null)
      : new CtrStream(iv, null, await crypto.subtle.importKey("raw", key, "AES-CTR", false, ["encrypt"]));
  }

  /** Whether `update()` is what there is, and not `later()`. */
  get isAtOnce(): boolean {
    return this.#aes !== null;
  }

  #take(length: number): number {
    if (length % BLOCK !== 0) {
      throw new RangeError(`Cannot use ${length} bytes of key stream: it comes in blocks of 16`);
    }
    const first = this.#blocks;
    this.#blocks += length / BLOCK;
    return first;
  }

  /** XORs at once. */
  update(data: Uint8Array): Uint8Array {
    const out = new Uint8Array(data), words = wordsOf(out), first = this.#take(data.length);
    counters ??= new Counters();
    for (let at = 0; at < words.length;) {
      const start = counterBlock(this.#iv, first + 4 * at / BLOCK);
      const stream = wordsOf(this.#aes!.update(counters.from(start, (data.length - 4 * at) / BLOCK)));
      for (let i = 0; i < stream.length; i++) words[at + i]! ^= stream[i]!;
      at += stream.length;
    }
    return out;
  }

  /** Lets go of the cipher. */
  close(): void {
    this.#aes?.close();
  }

  /** XORs the parts one after the other, through WebCrypto; they are copied before this returns. */
  async later(parts: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const groups: Promise<Uint8Array[]>[] = [];
    for (let from = 0; from < parts.length;) {
      let to = from, length = 0;
      while (to < parts.length && length < GROUP) length += parts[to++]!.length;
      groups.push(this.#group(parts.slice(from, to), length));
      from = to;
    }
    return (await Promise.all(groups)).flat();
  }

  async #group(parts: readonly Uint8Array[], length: number): Promise<Uint8Array[]> {
    const counter = counterBlock(this.#iv, this.#take(length)), lengths = parts.map((part) => part.length);
    const data = parts.length === 1 ? parts[0]! : joined(parts, length);
    const done = new Uint8Array(
      await crypto.subtle.encrypt({ name: "AES-CTR", counter, length: 128 }, this.#web!, data as Bytes),
    );
    let at = 0;
    return lengths.map((each) => done.subarray(at, at += each));
  }
}

/** Seals counter mode in either order of cipher and MAC. */
export class CtrSealer implements PacketSealer {
  /** An AES block. */
  readonly blockSize = BLOCK;
  /** True with encrypt-and-MAC, where the length is encrypted. */
  readonly lengthPadded: boolean;
  /** Bytes of the MAC. */
  readonly tagLength: number;
  /** It writes all of it. */
  readonly fillsOut = true;
  readonly #stream: CtrStream;
  readonly #mac: PacketMac;
  readonly #atOnce: BlockSealer;

  /** Takes over the stream; `etm` encrypts first and leaves the length clear. */
  constructor(stream: CtrStream, mac: PacketMac, etm: boolean) {
    this.#stream = stream;
    this.#mac = mac;
    this.#atOnce = new BlockSealer(stream, BLOCK, mac, etm);
    this.lengthPadded = !etm;
    this.tagLength = mac.tagLength;
  }

  /** Memory that all ciphers of this kind share. */
  workspace(size: number): Uint8Array {
    return sharedWorkspace(size);
  }

  /** Seals at once or later. */
  seal(workspace: Uint8Array, ends: readonly number[], sequence: number, kept?: Bytes): MaybePromise<Bytes> {
    if (this.#stream.isAtOnce) return this.#atOnce.seal(workspace, ends, sequence, kept);
    const out = sealedInto(kept, ends.at(-1) ?? 0);
    out.set(workspace.subarray(0, out.length));
    return this.#later(out, ends, sequence);
  }

  async #later(out: Bytes, ends: readonly number[], sequence: number): Promise<Bytes> {
    const etm = !this.lengthPadded, clear = etm ? 4 : 0;
    const packets = ends.map((end, i) => out.subarray(ends[i - 1] ?? 0, end - this.tagLength));
    const macs = () => this.#mac.computeAll(sequence, packets);
    // Both calls have copied what they need before they return, so that they may overlap where the MAC is over the plaintext.
    const early = etm ? null : macs();
    const encrypted = this.#stream.later(packets.map((packet) => packet.subarray(clear)));
    const [bodies, tags] = await Promise.all([encrypted, early]);
    bodies.forEach((body, i) => packets[i]!.set(body, clear));
    (tags ?? await macs()).forEach((tag, i) => out.set(tag, ends[i]! - this.tagLength));
    return out;
  }

  /** See {@linkcode PacketSealer}. */
  close(): void {
    this.#stream.close();
  }
}

/** Opens counter mode with encrypt-then-MAC: the length is clear, and nothing is handed out before its MAC was right. */
export class CtrEtmOpener implements PacketOpener {
  /** An AES block. */
  readonly blockSize = BLOCK;
  /** The length stands outside of the encryption. */
  readonly lengthPadded = false;
  /** Bytes of the MAC. */
  readonly tagLength: number;
  /** The length can be read as it is. */
  readonly headLength = 4;
  readonly #stream: CtrStream;
  readonly #mac: PacketMac;
  readonly #atOnce: EtmOpener;

  /** Takes over the stream. */
  constructor(stream: CtrStream, mac: PacketMac) {
    this.#stream = stream;
    this.#mac = mac;
    this.#atOnce = new EtmOpener(stream, BLOCK, mac);
    this.tagLength = mac.tagLength;
  }

  /** The clear length. */
  packetLength(chunk: Uint8Array, offset: number): number {
    return uint32At(chunk, offset);
  }

  /** Opens at once or later. */
  open(chunk: Uint8Array, frames: readonly PacketFrame[], sequence: number): MaybePromise<readonly Uint8Array[]> {
    return this.#stream.isAtOnce
      ? this.#atOnce.open(chunk, frames, sequence)
      : this.#later(chunk, frames, sequence);
  }

  /** The chunk is used no more once this has returned. Nothing is handed out before all MACs were right. */
  #later(chunk: Uint8Array, frames: readonly PacketFrame[], sequence: number): Promise<readonly Uint8Array[]> {
    const ends = frames.map((frame) => frameEnd(chunk, frame, this.tagLength));
    if (frames.some(({ length }) => length % BLOCK !== 0)) throw macInvalid();
    const tags = ends.map((end) => chunk.slice(end - this.tagLength, end));
    const check = (macs: readonly Uint8Array[]) => {
      if (!allEqual(macs, tags)) throw macInvalid();
    };
    const body = ({ offset, length }: PacketFrame) => chunk.subarray(offset + 4, offset + 4 + length);
    const macs = this.#mac.computeAll(
      sequence,
      frames.map(({ offset, length }) => chunk.subarray(offset, offset + 4 + length)),
    );
    if (!(macs instanceof Promise)) check(macs);
    const bodies = this.#stream.later(frames.map(body));
    if (!(macs instanceof Promise)) return bodies;
    return Promise.all([bodies, macs.then(check)]).then(([opened]) => opened);
  }

  /** See {@linkcode PacketOpener}. */
  close(): void {
    this.#stream.close();
  }
}

/** Compares every tag with the one of its packet. */
function allEqual(expected: readonly Uint8Array[], tags: readonly Uint8Array[]): boolean {
  return expected.every((mac, i) => equalBytes(mac, tags[i]!));
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
  readonly #iv: Bytes;
  readonly #stream: CtrStream;
  /** Bare AES: encrypting a counter block gives the key stream at any place. */
  readonly #block: NodeCipher;
  readonly #mac: PacketMac;
  /** The packet last looked at: its number, the block it starts at, its length. */
  #ahead = { sequence: -1, block: 0, length: -4 };

  /** Takes over the stream, which has the same keys. */
  constructor(stream: CtrStream, keys: DirectionKeys, mac: PacketMac) {
    this.#iv = keys.iv.slice();
    this.#stream = stream;
    this.#block = nodeCipher(`aes-${8 * keys.key.length}-ecb`, "encrypt", keys.key, null);
    this.#mac = mac;
    this.tagLength = mac.tagLength;
  }

  /** Decrypts the first block for its length. */
  packetLength(chunk: Uint8Array, offset: number, sequence: number): number {
    const ahead = this.#ahead;
    if (sequence === ahead.sequence) return ahead.length;
    const block = ahead.block + Math.floor((4 + ahead.length) / BLOCK);
    const stream = this.#block.update(counterBlock(this.#iv, block));
    const length = (uint32At(chunk, offset) ^ uint32At(stream, 0)) >>> 0;
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
    this.#block.close();
  }
}
