/**
 * Big integers as key formats carry them. RFC 4251 section 5. No I/O, no crypto.
 *
 * @module
 */
import type { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { keyFormatError } from "./format/format_error.ts";

/** The integer that big-endian `bytes` spell. */
export function fromBigEndian(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt("0x" + new Uint8Array(bytes).toHex());
}

/** The integer that little-endian `bytes` spell. */
export function fromLittleEndian(bytes: Uint8Array): bigint {
  return fromBigEndian(bytes.slice().reverse());
}

/** `value` as exactly `length` big-endian bytes; a larger value is an error. */
export function toBigEndian(value: bigint, length: number): Bytes {
  const hex = value.toString(16);
  if (value < 0n || hex.length > 2 * length) {
    throw new RangeError(`Cannot write integer: it needs more than ${length} bytes`);
  }
  return Uint8Array.fromHex(hex.padStart(2 * length, "0"));
}

/** Number of bits of a positive integer. */
export function bitLength(value: bigint): number {
  const hex = value.toString(16);
  return value <= 0n ? 0 : 4 * (hex.length - 1) + (32 - Math.clz32(parseInt(hex[0]!, 16)));
}

/** Reads an `mpint` that is positive, shortest, and of at most `maxBytes` bytes, before any arithmetic is done with it. */
export function positiveMpint(reader: Reader, maxBytes: number): bigint {
  const bytes = reader.view();
  if (bytes.length === 0 || bytes[0]! >= 0x80) throw keyFormatError("Cannot read integer: it is not positive");
  if (bytes[0] === 0 && (bytes.length === 1 || bytes[1]! < 0x80)) {
    throw keyFormatError("Cannot read integer: it has needless leading bytes");
  }
  if (bytes.length - (bytes[0] === 0 ? 1 : 0) > maxBytes) {
    throw keyFormatError(`Cannot read integer: it is longer than ${maxBytes} bytes`);
  }
  return fromBigEndian(bytes);
}

/**
 * The same with zeros before it that are not needed, as OpenSSH bears them: in signatures, and in private keys, which are written
 * anew from what was read. Not in public keys, which are compared byte by byte.
 */
export function paddedMpint(reader: Reader, maxBytes: number): bigint {
  const bytes = reader.view();
  if (bytes.length === 0 || bytes[0]! >= 0x80) throw keyFormatError("Cannot read integer: it is not positive");
  const start = bytes.findIndex((byte) => byte !== 0);
  if (start < 0) throw keyFormatError("Cannot read integer: it is not positive");
  if (bytes.length - start > maxBytes) {
    throw keyFormatError(`Cannot read integer: it is longer than ${maxBytes} bytes`);
  }
  return fromBigEndian(bytes.subarray(start));
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

/** The number that `value` times is 1 modulo `modulus`, or null where there is none. Not constant in time. */
export function inverse(value: bigint, modulus: bigint): bigint | null {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n];
  while (b > 0n) {
    const quotient = a / b;
    [a, b, x, y] = [b, a - quotient * b, y, x - quotient * y];
  }
  return a === 1n ? (x % modulus + modulus) % modulus : null;
}

/** `value` as the JSON Web Key formats want it: base64url without padding, in `length` bytes or as few as it takes. */
export function base64url(value: bigint | Uint8Array, length?: number): string {
  const bytes = typeof value === "bigint"
    ? toBigEndian(value, length ?? Math.max(1, (bitLength(value) + 7) >> 3))
    : new Uint8Array(value);
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/** The integers of a private key as JSON Web Key, by name. */
export function jwkIntegers(jwk: JsonWebKey): Partial<Record<"n" | "e" | "d" | "qi" | "p" | "q", bigint>> {
  const integers: ReturnType<typeof jwkIntegers> = {};
  for (const name of ["n", "e", "d", "qi", "p", "q"] as const) {
    const value = jwk[name];
    if (value !== undefined) integers[name] = fromBigEndian(Uint8Array.fromBase64(value, { alphabet: "base64url" }));
  }
  return integers;
}
