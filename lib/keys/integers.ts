/**
 * Big integers as key formats carry them. RFC 4251 section 5. No I/O, no crypto.
 *
 * @module
 */
import { fromBase64, toBase64 } from "../wire/base_text.ts";
import type { Reader } from "../wire/reader.ts";
import { bitLength, fromBigEndian, toBigEndian } from "../wire/integers.ts";
import { keyFormatError } from "./format/format_error.ts";

export { bitLength, fromBigEndian, publicPower, toBigEndian } from "../wire/integers.ts";

/** The integer that little-endian `bytes` spell. */
export function fromLittleEndian(bytes: Uint8Array): bigint {
  return fromBigEndian(bytes.slice().reverse());
}

/** Reads an `mpint` that is positive, shortest, and of at most `maxBytes` bytes, before any arithmetic is done with it. */
export function positiveMpint(reader: Reader, maxBytes: number): bigint {
  const bytes = reader.view();
  if (bytes[0] === 0 && (bytes.length === 1 || bytes[1]! < 0x80)) {
    throw keyFormatError("Cannot read integer: it has needless leading bytes");
  }
  return positive(bytes, maxBytes);
}

/**
 * The same with zeros before it that are not needed, as OpenSSH bears them: in signatures, and in private keys, which are written
 * anew from what was read. Not in public keys, which are compared byte by byte.
 */
export function paddedMpint(reader: Reader, maxBytes: number): bigint {
  return positive(reader.view(), maxBytes);
}

function positive(bytes: Uint8Array, maxBytes: number): bigint {
  const start = bytes.findIndex((byte) => byte !== 0);
  if (start < 0 || bytes[0]! >= 0x80) throw keyFormatError("Cannot read integer: it is not positive");
  if (bytes.length - start > maxBytes) {
    throw keyFormatError(`Cannot read integer: it is longer than ${maxBytes} bytes`);
  }
  return fromBigEndian(bytes.subarray(start));
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
  return toBase64(bytes, { alphabet: "base64url", omitPadding: true });
}

/** The integers of a private key as JSON Web Key, by name. */
export function jwkIntegers(jwk: JsonWebKey): Partial<Record<"n" | "e" | "d" | "qi" | "p" | "q", bigint>> {
  const integers: ReturnType<typeof jwkIntegers> = {};
  for (const name of ["n", "e", "d", "qi", "p", "q"] as const) {
    const value = jwk[name];
    if (value !== undefined) integers[name] = fromBigEndian(fromBase64(value, { alphabet: "base64url" }));
  }
  return integers;
}
