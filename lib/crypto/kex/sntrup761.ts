/**
 * The key encapsulation mechanism Streamlined NTRU Prime 761. draft-josefsson-ntruprime-ssh section 3. No I/O.
 *
 * What a caller sees of a ciphertext that was not made for the key is a secret that nobody else knows: it is rejected implicitly, in
 * the same time.
 *
 * @module
 */
import { concat, equals } from "@std/bytes";
import type { Bytes } from "../../wire/types.ts";
import { digest } from "../hash.ts";
import { decode, encode, encodeSmall, encodingOf, SMALL_LENGTH } from "./sntrup761_encoding.ts";
import {
  HALF,
  mod3,
  modQ,
  nonzeroMask,
  P,
  type Polynomial,
  Q,
  reciprocalModulo3,
  reciprocalOf3Times,
  sorted,
  timesModulo3,
  timesSmall,
  WEIGHT,
} from "./sntrup761_rings.ts";

/** Bytes of a public key. */
export const PUBLIC_KEY_LENGTH = 1158;
/** Bytes of a ciphertext, the last 32 of which confirm the rest. */
export const CIPHERTEXT_LENGTH = 1039;
const CONFIRMATION = 32;
/** Coefficients modulo 4591, and rounded ones, a third of which is written. */
const WHOLE = encodingOf(Q), ROUNDED = encodingOf(1531);

/** Gives random bytes. */
export type RandomBytes = (length: number) => Bytes;
const systemRandom: RandomBytes = (length) => crypto.getRandomValues(new Uint8Array(length));

/** A key pair, which serves one exchange. */
export interface Sntrup761Key {
  /** 1,158 bytes. */
  readonly publicKey: Bytes;
  /** Its polynomial. */
  readonly h: Polynomial;
  /** A short polynomial. */
  readonly f: Polynomial;
  /** Modulo 3, the inverse of the small polynomial g; the public key is g/(3f). */
  readonly gInverse: Polynomial;
  /** What takes the place of a secret that a ciphertext does not hold, 191 bytes. */
  readonly rho: Bytes;
}

/** The first 32 bytes of SHA-512 of `prefix` and `parts`. */
async function hash(prefix: number, ...parts: Uint8Array[]): Promise<Bytes> {
  return (await digest("SHA-512", Uint8Array.of(prefix), ...parts)).slice(0, 32);
}

/** 761 numbers of 32 bits. */
function randomWords(random: RandomBytes): Int32Array<ArrayBuffer> {
  const bytes = random(4 * P), view = new DataView(bytes.buffer, bytes.byteOffset), words = new Int32Array(P);
  for (let i = 0; i < P; i++) words[i] = view.getInt32(4 * i, true);
  return words;
}

/** A polynomial with coefficients from -1 to 1. */
function randomSmall(random: RandomBytes): Polynomial {
  const words = randomWords(random);
  for (let i = 0; i < P; i++) words[i] = (Math.imul(words[i]! & 0x3fffffff, 3) >>> 30) - 1;
  return words;
}

/** A small polynomial of which 286 coefficients are not 0. */
function randomShort(random: RandomBytes): Polynomial {
  const words = randomWords(random);
  // The two lowest bits say which coefficient it will be, the others in what place: as numbers without a sign, so the sign is turned.
  for (let i = 0; i < P; i++) words[i] = (i < WEIGHT ? words[i]! & -2 : words[i]! & -3 | 1) ^ 1 << 31;
  const short = sorted(words);
  for (let i = 0; i < P; i++) short[i] = (short[i]! & 3) - 1;
  return short;
}

/** The polynomial of a public key. */
function decodePublicKey(bytes: Uint8Array): Polynomial {
  const h = new Int32Array(decode(WHOLE, bytes));
  for (let i = 0; i < P; i++) h[i]! -= HALF;
  return h;
}

function encodePublicKey(h: Polynomial): Bytes {
  const values = new Uint32Array(P);
  for (let i = 0; i < P; i++) values[i] = h[i]! + HALF;
  return encode(WHOLE, values, PUBLIC_KEY_LENGTH);
}

/** Makes a key pair. */
export function generateSntrup761(random: RandomBytes = systemRandom): Sntrup761Key {
  for (;;) {
    const g = randomSmall(random), gInverse = reciprocalModulo3(g);
    if (gInverse === null) continue;
    const f = randomShort(random), h = timesSmall(reciprocalOf3Times(f), g);
    return { publicKey: encodePublicKey(h), h, f, gInverse, rho: random(SMALL_LENGTH) };
  }
}

/** The ciphertext that hides `r` for the owner of a public key, and the encoding of `r`. */
async function hide(r: Polynomial, h: Polynomial, publicKey: Bytes): Promise<{ ciphertext: Bytes; inputs: Bytes }> {
  const inputs = encodeSmall(r), rounded = new Uint32Array(timesSmall(h, r));
  // Each coefficient is rounded to a multiple of 3, and a third of that is written.
  for (let i = 0; i < P; i++) {
    const value = rounded[i]! | 0;
    rounded[i] = Math.imul(value - mod3(value) + HALF, 10_923) >>> 15;
  }
  const confirmation = await hash(2, await hash(3, inputs), await hash(4, publicKey));
  return {
    inputs,
    ciphertext: concat([encode(ROUNDED, rounded, CIPHERTEXT_LENGTH - CONFIRMATION), confirmation]),
  };
}

/** The secret of what was encapsulated, or, with prefix 0, of what was rejected. */
async function sessionSecret(prefix: number, inputs: Bytes, ciphertext: Uint8Array): Promise<Bytes> {
  return await hash(prefix, await hash(3, inputs), ciphertext);
}

/** Makes a secret and its ciphertext for the owner of a public key of 1,158 bytes; null for a key that no encoder has written. */
export async function encapsulate(
  publicKey: Bytes,
  random: RandomBytes = systemRandom,
): Promise<{ readonly ciphertext: Bytes; readonly secret: Bytes } | null> {
  const h = decodePublicKey(publicKey);
  if (!equals(encodePublicKey(h), publicKey)) return null;
  const { ciphertext, inputs } = await hide(randomShort(random), h, publicKey);
  return { ciphertext, secret: await sessionSecret(1, inputs, ciphertext) };
}

/** The short polynomial in a ciphertext; those that were not made for the key give one that says so to nobody. */
function decrypt(key: Sntrup761Key, ciphertext: Uint8Array): Polynomial {
  const c = new Int32Array(decode(ROUNDED, ciphertext.subarray(0, CIPHERTEXT_LENGTH - CONFIRMATION)));
  for (let i = 0; i < P; i++) c[i] = Math.imul(3, c[i]!) - HALF;
  const e = timesSmall(c, key.f);
  for (let i = 0; i < P; i++) e[i] = mod3(modQ(Math.imul(3, e[i]!)));
  const r = timesModulo3(e, key.gInverse);
  let weight = 0;
  for (let i = 0; i < P; i++) weight += r[i]! & 1;
  const wrong = nonzeroMask(weight - WEIGHT);
  for (let i = 0; i < P; i++) r[i]! ^= wrong & (r[i]! ^ (i < WEIGHT ? 1 : 0));
  return r;
}

/** The secret in a ciphertext of 1,039 bytes. */
export async function decapsulate(key: Sntrup761Key, ciphertext: Uint8Array): Promise<Bytes> {
  const r = decrypt(key, ciphertext);
  const { ciphertext: again, inputs } = await hide(r, key.h, key.publicKey);
  let difference = 0;
  for (let i = 0; i < CIPHERTEXT_LENGTH; i++) difference |= again[i]! ^ ciphertext[i]!;
  const rejected = nonzeroMask(difference);
  for (let i = 0; i < SMALL_LENGTH; i++) inputs[i]! ^= rejected & (inputs[i]! ^ key.rho[i]!);
  return await sessionSecret(1 + rejected, inputs, ciphertext);
}
