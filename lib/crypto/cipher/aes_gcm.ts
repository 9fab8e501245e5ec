/**
 * aes128-gcm@openssh.com and aes256-gcm@openssh.com. RFC 5647 section 7, OpenSSH PROTOCOL section 1.6. No I/O.
 *
 * Small packets are done by `node:crypto`, large ones by its AES and a GHASH in WebAssembly: WebCrypto costs more than both, for its
 * copies and the way to another thread and back. Where one of the two is missing, packets go to WebCrypto, all of a batch at once. Each
 * has its own nonce, so the order of work is free.
 *
 * @module
 */
import type { Bytes, MaybePromise } from "../../wire/types.ts";
import { GcmAtOnce } from "./aes_gcm_at_once.ts";
import { hasNodeCrypto, nodeGcmOpen, nodeGcmSeal } from "../node_crypto.ts";
import { frameEnd, macInvalid, sealedInto, sharedWorkspace, uint32At } from "./packets.ts";
import type { DirectionKeys, PacketFrame, PacketOpener, PacketSealer } from "../types.ts";

const TAG_LENGTH = 16;
/** Packets shorter than this cost `node:crypto` alone no more than the steps of both. */
const SMALL = 1024;
/** Nor is a batch shorter than this: the tables of a key take milliseconds to make, so only connections that move much get them. */
const SMALL_BATCH = 16_384;

/** Hands out nonces: 4 fixed bytes and a 64-bit counter that starts anywhere and wraps, but never takes a value twice. */
class Nonces {
  readonly #view: DataView;
  #left = 2 ** 32;

  constructor(iv: Uint8Array) {
    this.#view = new DataView(iv.slice().buffer);
  }

  take(): Bytes {
    if (this.#left-- <= 0) throw new RangeError("Cannot protect packet: the key has been used for 2^32 packets");
    const nonce = new Uint8Array(this.#view.buffer.slice(0) as ArrayBuffer);
    const low = this.#view.getUint32(8) + 1;
    this.#view.setUint32(8, low);
    if (low === 2 ** 32) this.#view.setUint32(4, this.#view.getUint32(4) + 1);
    return nonce;
  }
}

class GcmKey {
  readonly raw: Bytes;
  readonly web: CryptoKey;
  #atOnce: GcmAtOnce | null | undefined;

  constructor(raw: Bytes, web: CryptoKey) {
    this.raw = raw;
    this.web = web;
  }

  /** What does large packets at once; null where this runtime cannot. It is made for the first of them. */
  get atOnce(): GcmAtOnce | null {
    return this.#atOnce ??= GcmAtOnce.create(this.raw);
  }

  /** Below which length a packet is for `node:crypto` alone, in a batch of `length` bytes. */
  smallLength(length: number): number {
    if (!hasNodeCrypto()) return 0;
    return length < SMALL_BATCH ? Infinity : SMALL;
  }

  /** A batch begins. */
  begin(): void {
    this.#atOnce?.begin();
  }

  close(): void {
    this.#atOnce?.close();
    this.#atOnce = null;
  }
}

async function importKey(keys: DirectionKeys, usage: "encrypt" | "decrypt"): Promise<GcmKey> {
  if (keys.iv.length !== 12) throw new RangeError("Cannot use IV: AES-GCM wants 12 bytes");
  const raw = keys.key.slice();
  return new GcmKey(raw, await crypto.subtle.importKey("raw", raw, "AES-GCM", false, [usage]));
}

function parameters(iv: Bytes, additionalData: Uint8Array): AesGcmParams {
  return { name: "AES-GCM", iv, additionalData: additionalData as Bytes, tagLength: 8 * TAG_LENGTH };
}

class GcmSealer implements PacketSealer {
  readonly blockSize = 16;
  readonly lengthPadded = false;
  readonly tagLength = TAG_LENGTH;
  readonly fillsOut = true;
  readonly #key: GcmKey;
  readonly #nonces: Nonces;

  constructor(key: GcmKey, iv: Bytes) {
    this.#key = key;
    this.#nonces = new Nonces(iv);
  }

  workspace(size: number): Uint8Array {
    return sharedWorkspace(size);
  }

  seal(workspace: Uint8Array, ends: readonly number[], _sequence: number, kept?: Bytes): MaybePromise<Bytes> {
    const out = sealedInto(kept, ends.at(-1) ?? 0), later: Promise<void>[] = [], key = this.#key;
    const small = key.smallLength(out.length);
    let start = 0;
    for (const end of ends) {
      const at = start + 4, iv = this.#nonces.take();
      const aad = workspace.subarray(start, at), plain = workspace.subarray(at, end - TAG_LENGTH);
      out.set(aad, start);
      if (plain.length < small) nodeGcmSeal(key.raw, iv, aad, plain, out, at);
      else if (key.atOnce !== null) key.atOnce.seal(iv, aad, plain, out, at);
      else later.push(this.#later(iv, aad, plain, out, at));
      start = end;
    }
    return later.length === 0 ? out : Promise.all(later).then(() => out);
  }

  close(): void {
    this.#key.close();
  }

  /** WebCrypto copies the workspace before `encrypt()` returns, so that others may use it next. */
  async #later(iv: Bytes, aad: Uint8Array, plain: Uint8Array, out: Bytes, at: number): Promise<void> {
    const sealed = await crypto.subtle.encrypt(parameters(iv, aad), this.#key.web, plain as Bytes);
    out.set(new Uint8Array(sealed), at);
  }
}

class GcmOpener implements PacketOpener {
  readonly blockSize = 16;
  readonly lengthPadded = false;
  readonly tagLength = TAG_LENGTH;
  readonly headLength = 4;
  readonly #key: GcmKey;
  readonly #nonces: Nonces;

  constructor(key: GcmKey, iv: Bytes) {
    this.#key = key;
    this.#nonces = new Nonces(iv);
  }

  packetLength(chunk: Uint8Array, offset: number): number {
    return uint32At(chunk, offset);
  }

  open(chunk: Uint8Array, frames: readonly PacketFrame[]): MaybePromise<readonly Uint8Array[]> {
    const key = this.#key, last = frames.at(-1);
    const small = key.smallLength(last === undefined ? 0 : last.offset + last.length - frames[0]!.offset);
    let later = false;
    key.begin();
    const opened = frames.map((frame) => {
      const end = frameEnd(chunk, frame, TAG_LENGTH), at = frame.offset + 4, tag = end - TAG_LENGTH;
      const iv = this.#nonces.take(), aad = chunk.subarray(frame.offset, at);
      const isSmall = frame.length < small, atOnce = isSmall ? null : key.atOnce;
      if (isSmall || atOnce !== null) {
        const sealed = chunk.subarray(at, tag), expected = chunk.subarray(tag, end);
        const plain = atOnce === null
          ? nodeGcmOpen(key.raw, iv, aad, sealed, expected)
          : atOnce.open(iv, aad, sealed, expected);
        if (plain === null) throw macInvalid();
        return plain;
      }
      later = true;
      const opening = this.#later(iv, aad, chunk.subarray(at, end));
      // A small packet behind it may be refused at once: then nobody waits for this one.
      opening.catch(() => {});
      return opening;
    });
    return later ? Promise.all(opened) : opened as Uint8Array[];
  }

  close(): void {
    this.#key.close();
  }

  async #later(iv: Bytes, aad: Uint8Array, sealed: Uint8Array): Promise<Uint8Array> {
    try {
      return new Uint8Array(await crypto.subtle.decrypt(parameters(iv, aad), this.#key.web, sealed as Bytes));
    } catch {
      throw macInvalid();
    }
  }
}

/** Seals with AES-GCM; the key has 16 or 32 bytes, the IV 12. */
export async function gcmSealer(keys: DirectionKeys): Promise<PacketSealer> {
  return new GcmSealer(await importKey(keys, "encrypt"), keys.iv);
}

/** Opens with AES-GCM; the key has 16 or 32 bytes, the IV 12. */
export async function gcmOpener(keys: DirectionKeys): Promise<PacketOpener> {
  return new GcmOpener(await importKey(keys, "decrypt"), keys.iv);
}
