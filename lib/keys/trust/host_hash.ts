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

const state = new Int32Array(5);
/** The key's block, and behind it what is hashed with it: room for names as people give them. */
let padded = new Uint8Array(2 * BLOCK);
let lastName = "", lastBytes = new Uint8Array(0);

/** SHA-1 of the key's block, each byte of it XORed with `pad`, and of `data`, which goes into `hash`. */
function keyedHash(key: Uint8Array, pad: number, data: Uint8Array, hash: Uint8Array): void {
  const length = (BLOCK + data.length + 9 + BLOCK - 1) & -BLOCK, bits = 8 * (BLOCK + data.length);
  if (length > padded.length) padded = new Uint8Array(length);
  padded.fill(pad, 0, BLOCK);
  for (let i = 0; i < key.length; i++) padded[i] = pad ^ key[i]!;
  padded.set(data, BLOCK);
  padded[BLOCK + data.length] = 0x80;
  padded.fill(0, BLOCK + data.length + 1, length);
  for (let i = 0; i < 4; i++) padded[length - 1 - i] = bits >>> 8 * i;
  state[0] = 0x67452301;
  state[1] = 0xefcdab89;
  state[2] = 0x98badcfe;
  state[3] = 0x10325476;
  state[4] = 0xc3d2e1f0;
  for (let at = 0; at < length; at += BLOCK) compress(state, padded, at);
  for (let i = 0; i < HASH_BYTES; i++) hash[i] = state[i >> 2]! >>> 24 - 8 * (i & 3);
}

/** HMAC-SHA1 of a name, keyed with a salt of 64 bytes at most. */
export function hostHash(salt: Uint8Array, name: string): Bytes {
  // One name is tried with the salts of all lines.
  if (name !== lastName) [lastName, lastBytes] = [name, new TextEncoder().encode(name)];
  const hash = new Uint8Array(HASH_BYTES);
  keyedHash(salt, 0x36, lastBytes, hash);
  keyedHash(salt, 0x5c, hash, hash);
  return hash;
}
