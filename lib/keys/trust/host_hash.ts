/**
 * The hash of a host name in known_hosts: HMAC-SHA1 keyed with the line's salt, as sshd(8) tells under SSH_KNOWN_HOSTS FILE FORMAT.
 * RFC 2104; FIPS 180-4, section 6.1. No I/O.
 *
 * A file may have a hundred thousand hashed lines, and each has to be tried with the name that is looked up. WebCrypto takes two promises and
 * a key object for each; this takes a microsecond. Nothing here is secret: salt, hash and name stand in files and in the user's own words.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";

/** Bytes of a SHA-1 hash, and of the salts that OpenSSH makes. */
export const HASH_BYTES = 20;
const BLOCK = 64;

const schedule = new Int32Array(80);

/** Takes one block in. */
function compress(state: Int32Array, bytes: Uint8Array, at: number): void {
  const w = schedule;
  for (let i = 0; i < 16; i++, at += 4) {
    w[i] = bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!;
  }
  for (let i = 16; i < 80; i++) {
    const x = w[i - 3]! ^ w[i - 8]! ^ w[i - 14]! ^ w[i - 16]!;
    w[i] = x << 1 | x >>> 31;
  }
  let a = state[0]!, b = state[1]!, c = state[2]!, d = state[3]!, e = state[4]!;
  for (let i = 0; i < 80; i++) {
    // The constants of FIPS 180-4, section 4.2.1, as signed numbers: sums of those stay integers.
    const mixed = i < 20
      ? (b & c | ~b & d) + 0x5a827999 | 0
      : i < 40
      ? (b ^ c ^ d) + 0x6ed9eba1 | 0
      : i < 60
      ? (b & c | b & d | c & d) - 0x70e44324 | 0
      : (b ^ c ^ d) - 0x359d3e2a | 0;
    const next = (a << 5 | a >>> 27) + ((mixed + e | 0) + w[i]! | 0) | 0;
    e = d;
    d = c;
    c = b << 30 | b >>> 2;
    b = a;
    a = next;
  }
  state[0]! += a;
  state[1]! += b;
  state[2]! += c;
  state[3]! += d;
  state[4]! += e;
}

/** SHA-1 of the key's block, each byte of it XORed with `pad`, and of `data`. */
function keyedHash(key: Uint8Array, pad: number, data: Uint8Array): Bytes {
  const padded = new Uint8Array((BLOCK + data.length + 9 + BLOCK - 1) & -BLOCK);
  padded.fill(pad, 0, BLOCK);
  for (let i = 0; i < key.length; i++) padded[i]! ^= key[i]!;
  padded.set(data, BLOCK);
  padded[BLOCK + data.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 4, 8 * (BLOCK + data.length));
  const state = Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0);
  for (let at = 0; at < padded.length; at += BLOCK) compress(state, padded, at);
  const hash = new Uint8Array(HASH_BYTES), out = new DataView(hash.buffer);
  for (let i = 0; i < 5; i++) out.setInt32(4 * i, state[i]!);
  return hash;
}

/** HMAC-SHA1 of a name, keyed with a salt of 64 bytes at most. */
export function hostHash(salt: Uint8Array, name: string): Bytes {
  return keyedHash(salt, 0x5c, keyedHash(salt, 0x36, new TextEncoder().encode(name)));
}
