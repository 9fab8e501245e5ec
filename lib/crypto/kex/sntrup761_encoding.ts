/**
 * How Streamlined NTRU Prime 761 writes its polynomials as bytes. draft-josefsson-ntruprime-ssh section 3, and the submission that it
 * names. No I/O.
 *
 * Neighbours become one number, again and again; what is above 14 bits leaves as bytes. How many, the moduli alone say: writing neither
 * branches on a number nor divides. Only what is public is read.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { P, type Polynomial } from "./sntrup761_rings.ts";

/** Bytes of a small polynomial, four coefficients in each. */
export const SMALL_LENGTH = 191;

/** Four coefficients from -1 to 1 in a byte. */
export function encodeSmall(small: Polynomial): Bytes {
  const out = new Uint8Array(SMALL_LENGTH);
  for (let i = 0; i < P; i++) out[i >> 2]! |= small[i]! + 1 << 2 * (i & 3);
  return out;
}

/** A round in which numbers become pairs. */
interface Round {
  /** Numbers before it. */
  readonly count: number;
  /** Modulus of all of them but the last, and that of the last. */
  readonly modulus: number;
  readonly last: number;
  /** Bytes that a pair leaves, and those of the last pair where the count is even. */
  readonly bytes: number;
  readonly lastBytes: number;
}

/** All rounds for 761 numbers below `modulus`, and the modulus of the number that is left. */
export interface Encoding {
  readonly rounds: readonly Round[];
  readonly modulus: number;
}

/** What is left of a modulus, and how many bytes went. */
function lowered(modulus: number, until: number): { modulus: number; bytes: number } {
  let bytes = 0;
  for (; modulus >= until; bytes++) modulus = Math.ceil(modulus / 256);
  return { modulus, bytes };
}

/** The encoding of 761 numbers below `modulus`. */
export function encodingOf(modulus: number): Encoding {
  const rounds: Round[] = [];
  let count = P, last = modulus;
  while (count > 1) {
    const pair = lowered(modulus * modulus, 16_384), lastPair = lowered(modulus * last, 16_384);
    rounds.push({ count, modulus, last, bytes: pair.bytes, lastBytes: lastPair.bytes });
    if (count % 2 === 0) last = lastPair.modulus;
    count = count + 1 >> 1;
    // The last number of the next round may be the only one.
    modulus = count === 1 ? last : pair.modulus;
  }
  return { rounds, modulus };
}

/** Writes 761 numbers, each below the encoding's modulus, as `length` bytes, and leaves none of them as they were. */
export function encode({ rounds, modulus }: Encoding, values: Uint32Array, length: number): Bytes {
  const out = new Uint8Array(length);
  let at = 0;
  for (const round of rounds) {
    const pairs = round.count >> 1;
    for (let i = 0; i < pairs; i++) {
      let value = values[2 * i]! + Math.imul(values[2 * i + 1]!, round.modulus);
      const bytes = 2 * i + 2 === round.count ? round.lastBytes : round.bytes;
      for (let j = 0; j < bytes; j++) {
        out[at++] = value;
        value >>>= 8;
      }
      values[i] = value;
    }
    if (round.count % 2 === 1) values[pairs] = values[round.count - 1]!;
  }
  for (let value = values[0]!, { bytes } = lowered(modulus, 2); bytes > 0; bytes--, value >>>= 8) out[at++] = value;
  return out;
}

/** The numbers that {@linkcode encode} was given. Bytes that it never writes give numbers below the modulus, too. */
export function decode({ rounds, modulus }: Encoding, bytes: Uint8Array): Uint32Array<ArrayBuffer> {
  const values = new Uint32Array(P);
  let at = 0;
  for (const round of rounds) {
    at += round.count % 2 === 0
      ? (round.count / 2 - 1) * round.bytes + round.lastBytes
      : (round.count - 1) / 2 * round.bytes;
  }
  /** The number in front of `at`, with `high` above it. */
  const before = (count: number, high: number): number => {
    for (let j = 0; j < count; j++) high = 256 * high + bytes[--at]!;
    return high;
  };
  const end = lowered(modulus, 2).bytes;
  at += end;
  values[0] = before(end, 0) % modulus;
  for (let r = rounds.length - 1; r >= 0; r--) {
    const round = rounds[r]!, pairs = round.count >> 1;
    if (round.count % 2 === 1) values[round.count - 1] = values[pairs]!;
    for (let i = pairs - 1; i >= 0; i--) {
      const isLast = 2 * i + 2 === round.count;
      const whole = before(isLast ? round.lastBytes : round.bytes, values[i]!);
      values[2 * i] = whole % round.modulus;
      values[2 * i + 1] = Math.floor(whole / round.modulus) % (isLast ? round.last : round.modulus);
    }
  }
  return values;
}
