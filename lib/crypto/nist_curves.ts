/**
 * L1. Points on the NIST curves, checked without trust in the runtime: Deno 2.9 imports a point that is not on its curve.
 * RFC 5656 sections 4 and 10.1, SEC 1 section 3.2.2.1. No I/O.
 *
 * @module
 */
import { bigIntOf } from "./shared_secret.ts";

/** A NIST curve by its WebCrypto name. */
export type NistCurve = "P-256" | "P-384" | "P-521";

/** y^2 = x^3 - 3x + b over the integers modulo p; the cofactor is 1, so every point but infinity has the full order. */
interface CurveParameters {
  /** Bytes of a coordinate. */
  readonly length: number;
  /** Prime of the field. */
  readonly p: bigint;
  /** Coefficient b. */
  readonly b: bigint;
}

const curves: Record<NistCurve, CurveParameters> = {
  "P-256": {
    length: 32,
    p: (1n << 256n) - (1n << 224n) + (1n << 192n) + (1n << 96n) - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
  },
  "P-384": {
    length: 48,
    p: (1n << 384n) - (1n << 128n) - (1n << 96n) + (1n << 32n) - 1n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
  },
  "P-521": {
    length: 66,
    p: (1n << 521n) - 1n,
    b: 0x0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
  },
};

/** Bytes of a coordinate, and so of a shared secret. */
export function coordinateLength(curve: NistCurve): number {
  return curves[curve].length;
}

/** Whether `point` is an uncompressed point of the curve: its form, its length, both coordinates below p, and the equation. */
export function isOnCurve(curve: NistCurve, point: Uint8Array): boolean {
  const { length, p, b } = curves[curve];
  if (point.length !== 1 + 2 * length || point[0] !== 0x04) return false;
  const x = bigIntOf(point.subarray(1, 1 + length)), y = bigIntOf(point.subarray(1 + length));
  return x < p && y < p && (y * y - (x * x * x - 3n * x + b)) % p === 0n;
}
