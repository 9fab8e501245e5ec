/**
 * aes128-ctr and aes256-ctr by WebCrypto, in other threads, where there is no `node:crypto`: with encrypt-then-MAC alone, as the length of
 * other packets has to be decrypted at once. RFC 4344 section 4, OpenSSH PROTOCOL section 1.5 (encrypt-then-MAC). No I/O.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { BLOCK, blocksOf, counterBlock, firstBlock } from "./aes_ctr.ts";
import { equalBytes } from "../constant_time.ts";
import type { PacketMac } from "./hmac.ts";
import { frameEnd, macInvalid, sealedInto, sharedWorkspace, uint32At } from "./packets.ts";
import type { DirectionKeys, PacketFrame, PacketOpener, PacketSealer } from "../types.ts";

/** What one call of WebCrypto gets at least. A packet that is as long by itself need not be copied together with others. */
const GROUP = 32_768;

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
export class WebCtrStream {
  readonly #iv: Bytes;
  readonly #key: CryptoKey;
  /** Blocks used so far. */
  #blocks = 0;

  private constructor(iv: Bytes, key: CryptoKey) {
    this.#iv = iv;
    this.#key = key;
  }

  /** Starts at the block that the IV names. */
  static async create(keys: DirectionKeys): Promise<WebCtrStream> {
    const iv = firstBlock(keys);
    return new WebCtrStream(iv, await crypto.subtle.importKey("raw", keys.key, "AES-CTR", false, ["encrypt"]));
  }

  /** XORs the parts one after the other; they are copied before this returns. */
  async xor(parts: readonly Uint8Array[]): Promise<Uint8Array[]> {
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
    const counter = counterBlock(this.#iv, this.#blocks), lengths = parts.map((part) => part.length);
    this.#blocks += blocksOf(length);
    const data = parts.length === 1 ? parts[0]! : joined(parts, length);
    const done = new Uint8Array(
      await crypto.subtle.encrypt({ name: "AES-CTR", counter, length: 128 }, this.#key, data as Bytes),
    );
    let at = 0;
    return lengths.map((each) => done.subarray(at, at += each));
  }
}

/** Seals: the length stays clear, and the MAC is over what was encrypted. */
export class WebCtrSealer implements PacketSealer {
  /** An AES block. */
  readonly blockSize = BLOCK;
  /** The length stands outside of the encryption. */
  readonly lengthPadded = false;
  /** Bytes of the MAC. */
  readonly tagLength: number;
  /** It writes all of it. */
  readonly fillsOut = true;
  readonly #stream: WebCtrStream;
  readonly #mac: PacketMac;

  /** Takes over the stream. */
  constructor(stream: WebCtrStream, mac: PacketMac) {
    this.#stream = stream;
    this.#mac = mac;
    this.tagLength = mac.tagLength;
  }

  /** Memory that all ciphers of this kind share. */
  workspace(size: number): Uint8Array {
    return sharedWorkspace(size);
  }

  /** Seals; the workspace is copied before this returns. */
  seal(workspace: Uint8Array, ends: readonly number[], sequence: number, kept?: Bytes): Promise<Bytes> {
    const out = sealedInto(kept, ends.at(-1) ?? 0);
    out.set(workspace.subarray(0, out.length));
    return this.#seal(out, ends, sequence);
  }

  async #seal(out: Bytes, ends: readonly number[], sequence: number): Promise<Bytes> {
    const packets = ends.map((end, i) => out.subarray(ends[i - 1] ?? 0, end - this.tagLength));
    const bodies = await this.#stream.xor(packets.map((packet) => packet.subarray(4)));
    bodies.forEach((body, i) => packets[i]!.set(body, 4));
    (await this.#mac.computeAll(sequence, packets)).forEach((tag, i) => out.set(tag, ends[i]! - this.tagLength));
    return out;
  }
}

/** Opens the same: nothing is handed out before all MACs of a batch were right. */
export class WebCtrOpener implements PacketOpener {
  /** An AES block. */
  readonly blockSize = BLOCK;
  /** The length stands outside of the encryption. */
  readonly lengthPadded = false;
  /** Bytes of the MAC. */
  readonly tagLength: number;
  /** The length can be read as it is. */
  readonly headLength = 4;
  readonly #stream: WebCtrStream;
  readonly #mac: PacketMac;

  /** Takes over the stream. */
  constructor(stream: WebCtrStream, mac: PacketMac) {
    this.#stream = stream;
    this.#mac = mac;
    this.tagLength = mac.tagLength;
  }

  /** The clear length. */
  packetLength(chunk: Uint8Array, offset: number): number {
    return uint32At(chunk, offset);
  }

  /** Opens; the chunk is used no more once this has returned. */
  open(chunk: Uint8Array, frames: readonly PacketFrame[], sequence: number): Promise<readonly Uint8Array[]> {
    const ends = frames.map((frame) => frameEnd(chunk, frame, this.tagLength));
    if (frames.some(({ length }) => length % BLOCK !== 0)) throw macInvalid();
    const tags = ends.map((end) => chunk.slice(end - this.tagLength, end));
    const whole = frames.map(({ offset, length }) => chunk.subarray(offset, offset + 4 + length));
    const checked = this.#mac.computeAll(sequence, whole).then((macs) => {
      if (!macs.every((mac, i) => equalBytes(mac, tags[i]!))) throw macInvalid();
    });
    const bodies = this.#stream.xor(whole.map((packet) => packet.subarray(4)));
    return Promise.all([bodies, checked]).then(([opened]) => opened);
  }
}
