/**
 * A block cipher kept open over all packets, with a MAC. RFC 4253 section 6.4, OpenSSH PROTOCOL section 1.5
 * (encrypt-then-MAC). No I/O.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { equalBytes } from "../constant_time.ts";
import type { PacketMac } from "./hmac.ts";
import type { NodeCipher } from "../node_crypto.ts";
import { frameEnd, macInvalid, sealedInto, sharedWorkspace, uint32At } from "./packets.ts";
import type { PacketFrame, PacketOpener, PacketSealer } from "../types.ts";

/** Seals with either order of cipher and MAC. */
export class BlockSealer implements PacketSealer {
  /** Bytes of a cipher block. */
  readonly blockSize: number;
  /** True with encrypt-and-MAC, where the length is encrypted. */
  readonly lengthPadded: boolean;
  /** Bytes of the MAC. */
  readonly tagLength: number;
  /** It writes all of it. */
  readonly fillsOut = true;
  readonly #cipher: NodeCipher;
  readonly #mac: PacketMac;

  /** Takes over the cipher; `etm` encrypts first and leaves the length clear. */
  constructor(cipher: NodeCipher, blockSize: number, mac: PacketMac, etm: boolean) {
    this.#cipher = cipher;
    this.#mac = mac;
    this.blockSize = blockSize;
    this.lengthPadded = !etm;
    this.tagLength = mac.tagLength;
  }

  /** Memory that all ciphers of this kind share. */
  workspace(size: number): Uint8Array {
    return sharedWorkspace(size);
  }

  /** Seals at once. */
  seal(workspace: Uint8Array, ends: readonly number[], sequence: number, kept?: Bytes): Bytes {
    const out = sealedInto(kept, ends.at(-1) ?? 0), etm = !this.lengthPadded, clear = etm ? 4 : 0;
    let start = 0;
    for (let i = 0; i < ends.length; i++) {
      const tag = ends[i]! - this.tagLength, packet = workspace.subarray(start, tag);
      out.set(packet.subarray(0, clear), start);
      out.set(this.#cipher.update(packet.subarray(clear)), start + clear);
      out.set(this.#mac.compute((sequence + i) >>> 0, etm ? out.subarray(start, tag) : packet), tag);
      start = ends[i]!;
    }
    return out;
  }

  /** See {@linkcode PacketSealer}. */
  close(): void {
    this.#cipher.close();
  }
}

/** Opens encrypt-then-MAC: the length is clear, and nothing is decrypted before its MAC was right. */
export class EtmOpener implements PacketOpener {
  /** Bytes of a cipher block. */
  readonly blockSize: number;
  /** The length stands outside of the encryption. */
  readonly lengthPadded = false;
  /** Bytes of the MAC. */
  readonly tagLength: number;
  /** The length can be read as it is. */
  readonly headLength = 4;
  readonly #cipher: NodeCipher;
  readonly #mac: PacketMac;

  /** Takes over the cipher. */
  constructor(cipher: NodeCipher, blockSize: number, mac: PacketMac) {
    this.#cipher = cipher;
    this.#mac = mac;
    this.blockSize = blockSize;
    this.tagLength = mac.tagLength;
  }

  /** The clear length. */
  packetLength(chunk: Uint8Array, offset: number): number {
    return uint32At(chunk, offset);
  }

  /** Opens at once. */
  open(chunk: Uint8Array, frames: readonly PacketFrame[], sequence: number): readonly Uint8Array[] {
    return frames.map((frame, i) => {
      const end = frameEnd(chunk, frame, this.tagLength), tag = end - this.tagLength;
      const expected = this.#mac.compute((sequence + i) >>> 0, chunk.subarray(frame.offset, tag));
      if (frame.length % this.blockSize !== 0 || !equalBytes(expected, chunk.subarray(tag, end))) throw macInvalid();
      return this.#cipher.update(chunk.subarray(frame.offset + 4, tag));
    });
  }

  /** See {@linkcode PacketOpener}. */
  close(): void {
    this.#cipher.close();
  }
}
