/**
 * aes128-ctr, aes192-ctr and aes256-ctr with a MAC. RFC 4344 section 4, RFC 4253 section 6.4, OpenSSH PROTOCOL section
 * 1.5 (encrypt-then-MAC). No I/O.
 *
 * Small batches are done at once by `node:crypto`; large ones, and all where there is none, by WebCrypto in other threads. MACs are
 * always those of `node:crypto` where it exists.
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
/** From this length on a batch is encrypted by WebCrypto; measured, see bench/sections/crypto.ts. */
const LARGE = 32_768;
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
  readonly #name: string;
  readonly #key: Bytes;
  readonly #iv: Bytes;
  readonly #web: CryptoKey;
  /** Blocks used so far. */
  #blocks = 0;
  /** Stands at `#blocks` where it is not null. */
  #open: NodeCipher | null = null;

  private constructor(keys: DirectionKeys, web: CryptoKey) {
    this.#name = `aes-${8 * keys.key.length}-ctr`;
    this.#key = keys.key.slice();
    this.#iv = keys.iv.slice();
    this.#web = web;
  }

  /** Starts at the block that the IV names. */
  static async create(keys: DirectionKeys): Promise<CtrStream> {
    if (keys.iv.length !== BLOCK) throw new RangeError("Cannot use IV: AES-CTR wants 16 bytes");
    return new CtrStream(keys, await crypto.subtle.importKey("raw", keys.key, "AES-CTR", false, ["encrypt"]));
  }

  #take(length: number): number {
    if (length % BLOCK !== 0) {
      throw new RangeError(`Cannot use ${length} bytes of key stream: it comes in blocks of 16`);
    }
    const first = this.#blocks;
    this.#blocks += length / BLOCK;
    return first;
  }

  /** XORs at once, through `node:crypto`. */
  update(data: Uint8Array): Uint8Array {
    const first = this.#take(data.length);
    this.#open ??= nodeCipher(this.#name, "encrypt", this.#key, counterBlock(this.#iv, first));
    return this.#open.update(data);
  }

  /** Lets go of the cipher of `node:crypto`. */
  close(): void {
    this.#open?.close();
    this.#open = null;
  }

  /** XORs the parts one after the other, through WebCrypto; they are copied before this returns. */
  async later(parts: readonly Uint8Array[]): Promise<Uint8Array[]> {
    this.close();
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
      await crypto.subtle.encrypt({ name: "AES-CTR", counter, length: 128 }, this.#web, data as Bytes),
    );
    let at = 0;
    return lengths.map((each) => done.subarray(at, at += each));
  }
}

/** Whether a batch is done at once. */
function isSmall(length: number): boolean {
  return length < LARGE && hasNodeCrypto();
}

/** Seals counter mode in either order of cipher and MAC. */
export class CtrSealer implements PacketSealer {
  /** An AES block. */
  readonly blockSize = BLOCK;
  /** True with encrypt-and-MAC, where the length is encrypted. */
  readonly lengthPadded: boolean;
  /** Bytes of the MAC. */
  readonly tagLength: number;
  /** Large batches are copied before they are sealed. */
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
    const length = ends.at(-1) ?? 0;
    if (isSmall(length)) return this.#atOnce.seal(workspace, ends, sequence);
    const out = sealedInto(kept, length);
    out.set(workspace.subarray(0, length));
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
    return isSmall(batchLength(frames))
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

function batchLength(frames: readonly PacketFrame[]): number {
  let total = 0;
  for (const frame of frames) total += 4 + frame.length;
  return total;
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

  /** Opens at once or later. */
  open(chunk: Uint8Array, frames: readonly PacketFrame[], sequence: number): MaybePromise<readonly Uint8Array[]> {
    const packets = frames.map((frame) => {
      const tag = frameEnd(chunk, frame, this.tagLength) - this.tagLength;
      if ((4 + frame.length) % BLOCK !== 0) throw macInvalid();
      return chunk.subarray(frame.offset, tag);
    });
    const tags = frames.map(({ offset, length }) =>
      chunk.slice(offset + 4 + length, offset + 4 + length + this.tagLength)
    );
    const checked = (plains: readonly Uint8Array[], macs: readonly Uint8Array[]) => {
      if (!allEqual(macs, tags)) throw macInvalid();
      return plains.map((plain) => plain.subarray(4));
    };
    if (isSmall(batchLength(frames))) {
      const plains = packets.map((packet) => this.#stream.update(packet));
      return checked(plains, plains.map((plain, i) => this.#mac.compute((sequence + i) >>> 0, plain)));
    }
    return this.#stream.later(packets).then(async (plains) =>
      checked(plains, await this.#mac.computeAll(sequence, plains))
    );
  }

  /** See {@linkcode PacketOpener}. */
  close(): void {
    this.#stream.close();
    this.#block.close();
  }
}
