/**
 * aes128-gcm@openssh.com and aes256-gcm@openssh.com. RFC 5647 section 7, OpenSSH PROTOCOL section 1.6. No I/O.
 *
 * Large packets go to WebCrypto, which works on them in other threads, all of a batch at once. Small ones cost less than the way
 * there, and are done here by `node:crypto` where it exists. Each packet has its own nonce, so the order of work is free.
 *
 * @module
 */
import type { Bytes, MaybePromise } from "../../wire/types.ts";
import { hasNodeCrypto, nodeGcmOpen, nodeGcmSeal } from "../node_crypto.ts";
import { frameEnd, macInvalid, sealedInto, sharedWorkspace, uint32At } from "./packets.ts";
import type { DirectionKeys, PacketFrame, PacketOpener, PacketSealer } from "../types.ts";

const TAG_LENGTH = 16;
/**
 * In a batch of this length, packets of that length go to WebCrypto. One way there and back takes some 50 us when nothing else
 * runs, in which `node:crypto` does 8 KiB; see bench/sections/crypto.ts.
 */
const LARGE_BATCH = 16_384;
const LARGE = 2048;

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

/** Packets shorter than this are done at once in a batch of `length` bytes. */
function smallLength(length: number): number {
  if (!hasNodeCrypto()) return 0;
  return length < LARGE_BATCH ? Infinity : LARGE;
}

interface GcmKey {
  readonly raw: Bytes;
  readonly web: CryptoKey;
}

async function importKey(keys: DirectionKeys, usage: "encrypt" | "decrypt"): Promise<GcmKey> {
  if (keys.iv.length !== 12) throw new RangeError("Cannot use IV: AES-GCM wants 12 bytes");
  const raw = keys.key.slice();
  return { raw, web: await crypto.subtle.importKey("raw", raw, "AES-GCM", false, [usage]) };
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
    const out = sealedInto(kept, ends.at(-1) ?? 0), later: Promise<void>[] = [], small = smallLength(out.length);
    let start = 0;
    for (const end of ends) {
      const at = start + 4, iv = this.#nonces.take();
      const aad = workspace.subarray(start, at), plain = workspace.subarray(at, end - TAG_LENGTH);
      out.set(aad, start);
      if (plain.length < small) nodeGcmSeal(this.#key.raw, iv, aad, plain, out, at);
      else later.push(this.#later(iv, aad, plain, out, at));
      start = end;
    }
    return later.length === 0 ? out : Promise.all(later).then(() => out);
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
    const last = frames.at(-1),
      small = smallLength(last === undefined ? 0 : last.offset + last.length - frames[0]!.offset);
    let later = false;
    const opened = frames.map((frame) => {
      const end = frameEnd(chunk, frame, TAG_LENGTH), at = frame.offset + 4, tag = end - TAG_LENGTH;
      const iv = this.#nonces.take(), aad = chunk.subarray(frame.offset, at);
      if (frame.length < small) {
        const plain = nodeGcmOpen(this.#key.raw, iv, aad, chunk.subarray(at, tag), chunk.subarray(tag, end));
        if (plain === null) throw macInvalid();
        return plain;
      }
      later = true;
      return this.#later(iv, aad, chunk.subarray(at, end));
    });
    return later ? Promise.all(opened) : opened as Uint8Array[];
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
