/**
 * bcrypt_pbkdf, which turns passphrases into keys: PBKDF2's frame around bcrypt's core, with SHA-512 and a spread output.
 * OpenBSD bcrypt_pbkdf(3), OpenSSH PROTOCOL.key section 3. No I/O.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { Blowfish } from "./blowfish.ts";

/** Bytes that one block gives. */
const BLOCK = 32;
/** The text that bcrypt's core encrypts, as eight big-endian words. */
const TEXT = words(new TextEncoder().encode("OxychromaticBlowfishSwatDynamite"));

/** Big-endian words. */
function words(bytes: Uint8Array): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Int32Array.from({ length: bytes.length >> 2 }, (_, i) => view.getInt32(4 * i));
}

async function sha512(bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-512", bytes));
}

/** bcrypt's core over a hashed passphrase and a hashed salt of 16 words each; 32 bytes, little-endian words. */
function bcryptHash(passphrase: Int32Array, salt: Int32Array): Bytes {
  const state = new Blowfish();
  state.expand(passphrase, salt);
  for (let i = 0; i < 64; i++) {
    state.expand(salt, null);
    state.expand(passphrase, null);
  }
  const text = TEXT.slice();
  for (let at = 0; at < text.length; at += 2) {
    const block = text.subarray(at, at + 2);
    for (let i = 0; i < 64; i++) state.encrypt(block);
  }
  const out = new Uint8Array(BLOCK), view = new DataView(out.buffer);
  text.forEach((word, i) => view.setInt32(4 * i, word, true));
  return out;
}

/**
 * Derives `length` bytes (1 to 1024) from a passphrase and a salt, neither empty, in `rounds` rounds. The caller bounds the
 * rounds: each takes some milliseconds of this thread per 32 bytes.
 */
export async function bcryptPbkdf(
  passphrase: Uint8Array,
  salt: Uint8Array,
  length: number,
  rounds: number,
): Promise<Bytes> {
  if (passphrase.length === 0 || salt.length === 0 || rounds < 1 || length < 1 || length > 1024) {
    throw new RangeError("Cannot derive key: the passphrase, the salt, the rounds or the length is out of range");
  }
  const hashedPassphrase = words(await sha512(passphrase.slice()));
  const blocks = Math.ceil(length / BLOCK), perBlock = Math.ceil(length / blocks);
  const counted = new Uint8Array(salt.length + 4);
  counted.set(salt);
  const key = new Uint8Array(length);
  for (let block = 0; block < blocks; block++) {
    new DataView(counted.buffer).setUint32(salt.length, block + 1);
    let last = bcryptHash(hashedPassphrase, words(await sha512(counted)));
    const sum = last.slice();
    for (let round = 1; round < rounds; round++) {
      last = bcryptHash(hashedPassphrase, words(await sha512(last)));
      for (let i = 0; i < BLOCK; i++) sum[i]! ^= last[i]!;
    }
    // Output bytes are dealt out to the blocks in turn, so that every key bit costs all blocks.
    for (let i = 0; i < perBlock && i * blocks + block < length; i++) key[i * blocks + block] = sum[i]!;
  }
  return key;
}
