/**
 * Points on the NIST curves, checked without trust in the runtime: Deno 2.9 imports a point that is not on its curve.
 * RFC 5656 sections 4 and 10.1, SEC 1 section 3.2.2.1. No I/O.
 *
 * @module
 */
import { publicPower, toBigEndian } from "../../wire/integers.ts";
import type { Bytes } from "../../wire/types.ts";
import { bigIntOf } from "./shared_secret.ts";

/** A NIST curve by its WebCrypto name. */
export type NistCurve = "P-256" | "P-384" | "P-521";

/** y^2 = x^3 - 3x + b over the integers modulo p; the cofactor is 1, so every point but infinity has the full order. */
export interface CurveParameters {
  /** Bytes of a coordinate. */
  readonly length: number;
  /** Prime of the field. */
  readonly p: bigint;
  /** Coefficient b. */
  readonly b: bigint;
  /** Order of the base point. */
  readonly n: bigint;
  /** Base point. */
  readonly g: { readonly x: bigint; readonly y: bigint };
}

const curves: Record<NistCurve, CurveParameters> = {
  "P-256": {
    length: 32,
    p: (1n << 256n) - (1n << 224n) + (1n << 192n) + (1n << 96n) - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
    n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    g: {
      x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
      y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
    },
  },
  "P-384": {
    length: 48,
    p: (1n << 384n) - (1n << 128n) - (1n << 96n) + (1n << 32n) - 1n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
    n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    g: {
      x: 0xaa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7n,
      y: 0x3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5fn,
    },
  },
  "P-521": {
    length: 66,
    p: (1n << 521n) - 1n,
    b: 0x0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
    n: 0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    g: {
      x: 0x00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66n,
      y: 0x011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650n,
    },
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

/** The numbers that make a curve, for files that spell them out in the place of its name. */
export function curveParameters(curve: NistCurve): CurveParameters {
  return curves[curve];
}

/**
 * A point in any of the forms of SEC 1 section 2.3.4 (compressed, uncompressed, hybrid) as an uncompressed one; null for what is no
 * point of the curve, infinity among it. Not constant in time: points are public.
 */
export function uncompressedPoint(curve: NistCurve, point: Uint8Array): Bytes | null {
  const { length, p, b } = curves[curve], form = point[0] ?? 0;
  const compressed = form === 0x02 || form === 0x03, hybrid = form === 0x06 || form === 0x07;
  if (!compressed && !hybrid && form !== 0x04) return null;
  if (point.length !== 1 + (compressed ? length : 2 * length)) return null;
  const full = new Uint8Array(1 + 2 * length);
  full.set(point);
  full[0] = 0x04;
  if (compressed) {
    const x = bigIntOf(point.subarray(1));
    if (x >= p) return null;
    // p is 3 modulo 4 for each of the curves, so a square's root is its power to (p + 1) / 4.
    const root = publicPower(x * x * x - 3n * x + b, (p + 1n) >> 2n, p);
    const y = (root & 1n) === BigInt(form & 1) ? root : p - root;
    full.set(toBigEndian(y, length), 1 + length);
  }
  if (hybrid && (full.at(-1)! & 1) !== (form & 1)) return null;
  return isOnCurve(curve, full) ? full : null;
}
