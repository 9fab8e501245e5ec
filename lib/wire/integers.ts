/**
 * Big integers and their bytes. No I/O, no crypto.
 *
 * @module
 */
import type { Bytes } from "./types.ts";
import { fromHex, toHex } from "./base_text.ts";

/** The integer that big-endian `bytes` spell. */
export function fromBigEndian(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt("0x" + toHex(new Uint8Array(bytes)));
}

/** `value` as exactly `length` big-endian bytes; a larger value is an error. */
export function toBigEndian(value: bigint, length: number): Bytes {
  const hex = value.toString(16);
  if (value < 0n || hex.length > 2 * length) {
    throw new RangeError(`Cannot write integer: it needs more than ${length} bytes`);
  }
  return fromHex(hex.padStart(2 * length, "0"));
}

/** Number of bits of a positive integer. */
export function bitLength(value: bigint): number {
  const hex = value.toString(16);
  return value <= 0n ? 0 : 4 * (hex.length - 1) + (32 - Math.clz32(parseInt(hex[0]!, 16)));
}

/** `base` to the power of `exponent` modulo `modulus`. Not constant in time: for public values only. */
export function publicPower(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let square = base % modulus;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = result * square % modulus;
    square = square * square % modulus;
  }
  return result;
}
