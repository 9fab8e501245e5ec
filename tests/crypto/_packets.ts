/**
 * What tests of packet ciphers share: keys, packets, and going through a sealer and an opener as the transport does.
 *
 * @module
 */
import { ciphers, macs } from "../../lib/crypto/cipher/ciphers.ts";
import type { DirectionKeys, PacketFrame, PacketOpener, PacketSealer } from "../../lib/crypto/types.ts";
import type { Bytes } from "../../lib/wire/types.ts";

/** A cipher, and a MAC where it wants one. */
export type Pair = readonly [cipher: string, mac: string | null];

/** Every cipher with every MAC it is used with. */
export const pairs: readonly Pair[] = [...ciphers.values()].flatMap(({ name, aead }): Pair[] =>
  aead ? [[name, null]] : [...macs.keys()].map((mac): Pair => [name, mac])
);

/** Random bytes. */
export function random(length: number): Bytes {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 65_536) crypto.getRandomValues(bytes.subarray(i, i + 65_536));
  return bytes;
}

/** Bytes of a hexadecimal string. */
export function hex(text: string): Bytes {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Random keys of the lengths a cipher and a MAC want. */
export function randomKeys(cipher: string, mac: string | null): DirectionKeys {
  const info = ciphers.get(cipher)!;
  return {
    key: random(info.keyLength),
    iv: random(info.ivLength),
    macKey: random(mac === null ? 0 : macs.get(mac)!.keyLength),
  };
}

/** A packet with a random content of about `size` bytes: length, padding_length, and so on, without a tag. */
export function packet(sealer: PacketSealer, size: number): Bytes {
  const outside = sealer.lengthPadded ? 0 : 4;
  let total = Math.max(4 + size, outside + 16);
  while ((total - outside) % Math.max(8, sealer.blockSize) !== 0) total++;
  const bytes = random(total);
  new DataView(bytes.buffer).setUint32(0, total - 4);
  return bytes;
}

/** Lays packets out in the sealer's workspace and seals them. */
export async function sealAll(sealer: PacketSealer, packets: readonly Uint8Array[], sequence: number): Promise<Bytes> {
  const total = packets.reduce((sum, bytes) => sum + bytes.length + sealer.tagLength, 0);
  const workspace = sealer.workspace(total), ends: number[] = [];
  let at = 0;
  for (const bytes of packets) {
    workspace.set(bytes, at);
    ends.push(at += bytes.length + sealer.tagLength);
  }
  const sealed = sealer.seal(workspace, ends, sequence);
  // Others may use the workspace as soon as seal() has returned.
  workspace.fill(0xa5, 0, total);
  return await sealed;
}

/** Splits a chunk into frames as a framer does; what does not fit is left out. */
export function split(opener: PacketOpener, chunk: Uint8Array, sequence: number, limit = Infinity): PacketFrame[] {
  const frames: PacketFrame[] = [];
  for (let offset = 0; offset + opener.headLength <= chunk.length && frames.length < limit;) {
    const length = opener.packetLength(chunk, offset, (sequence + frames.length) >>> 0);
    if (offset + 4 + length + opener.tagLength > chunk.length) break;
    frames.push({ offset, length });
    offset += 4 + length + opener.tagLength;
  }
  return frames;
}

/** Splits and opens a chunk; copies what comes out, with the length back in front. */
export async function openAll(opener: PacketOpener, chunk: Uint8Array, sequence: number): Promise<Bytes[]> {
  const frames = split(opener, chunk, sequence);
  return (await opener.open(chunk, frames, sequence)).map((body) => {
    const bytes = new Uint8Array(4 + body.length);
    new DataView(bytes.buffer).setUint32(0, body.length);
    bytes.set(body, 4);
    return bytes;
  });
}
