/**
 * Signature blobs: `string` algorithm, `string` signature. RFC 4253 section 6.6, RFC 5656 section 3.1.2,
 * RFC 8332 section 3, RFC 8709 section 6. No I/O, no crypto.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import type { Curve } from "./curves.ts";
import { keyFormatError, parsing } from "./format/format_error.ts";
import { fromBigEndian, fromLittleEndian, paddedMpint, toBigEndian } from "./integers.ts";

/** Order of the Ed25519 base point (RFC 8032 section 5.1). */
const ED25519_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;

/** A signature blob taken apart. */
export interface SignatureParts {
  /** Signature algorithm it claims. */
  readonly algorithm: string;
  /** What the algorithm makes of it, still encoded. */
  readonly value: Uint8Array;
}

/** Takes a signature blob apart; anything after the two strings is an error. */
export function readSignature(signature: Uint8Array): SignatureParts {
  return parsing("Cannot read signature", () => {
    const reader = new Reader(signature);
    const algorithm = reader.ascii();
    const value = reader.view();
    reader.end();
    return { algorithm, value };
  });
}

/** Puts a signature blob together. */
export function writeSignature(algorithm: string, value: Uint8Array): Bytes {
  return new Writer(8 + algorithm.length + value.length).text(algorithm).string(value).bytes();
}

/** The algorithm that a signature blob names; throws `SshError` with code `KEY_FORMAT` when it is malformed. */
export function signatureAlgorithm(signature: Uint8Array): string {
  return readSignature(signature).algorithm;
}

/** `value` as an Ed25519 signature of 64 bytes with S below the group's order, or null. */
export function ed25519Signature(value: Uint8Array): Bytes | null {
  if (value.length !== 64 || fromLittleEndian(value.subarray(32)) >= ED25519_ORDER) return null;
  return value.slice();
}

/** `value` (`mpint` r, `mpint` s) as WebCrypto takes it, r and s in full width; null when either is out of range. */
export function ecdsaSignature(curve: Curve, value: Uint8Array): Bytes | null {
  try {
    const reader = new Reader(value);
    const r = paddedMpint(reader, curve.size), s = paddedMpint(reader, curve.size);
    reader.end();
    if (r >= curve.n || s >= curve.n) return null;
    const raw = new Uint8Array(2 * curve.size);
    raw.set(toBigEndian(r, curve.size));
    raw.set(toBigEndian(s, curve.size), curve.size);
    return raw;
  } catch (error) {
    if (error instanceof SshError) return null;
    throw error;
  }
}

/** The other way: r and s in full width to two `mpint`s. */
export function ecdsaSignatureValue(curve: Curve, raw: Uint8Array): Bytes {
  if (raw.length !== 2 * curve.size) throw keyFormatError(`Cannot write ${curve.type} signature: unexpected length`);
  return new Writer(2 * (5 + curve.size))
    .mpint(fromBigEndian(raw.subarray(0, curve.size)))
    .mpint(fromBigEndian(raw.subarray(curve.size)))
    .bytes();
}

/** `value` padded with zeros on the left to the modulus' length, as RFC 8332 section 3 allows it to be short; null when longer. */
export function rsaSignature(modulusBytes: number, value: Uint8Array): Bytes | null {
  if (value.length === 0 || value.length > modulusBytes) return null;
  const padded = new Uint8Array(modulusBytes);
  padded.set(value, modulusBytes - value.length);
  return padded;
}
