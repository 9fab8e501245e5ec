/**
 * RSA signature verification with WebCrypto, and in plain arithmetic for keys that WebCrypto does not take.
 * RFC 8017 section 8.2.2, RFC 8332. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { fromHex, toHex } from "../wire/base_text.ts";
import type { Bytes } from "../wire/types.ts";
import { base64url, bitLength, fromBigEndian, publicPower, toBigEndian } from "./integers.ts";

/** Hashes of RSA signatures. */
export type RsaHash = keyof typeof digestInfo;

/** DER of DigestInfo up to the digest (RFC 8017 section 9.2, note 1). */
const digestInfo = {
  "SHA-1": "3021300906052b0e03021a05000414",
  "SHA-256": "3031300d060960864801650304020105000420",
  "SHA-512": "3051300d060960864801650304020305000440",
} as const;

/**
 * Bits of an RSA modulus: what is taken and made, what is taken where a program asks for it by an option that is named
 * insecure, and the limit.
 */
export const RSA_BITS = { min: 2048, insecureMin: 1024, max: 16_384 } as const;

/** What every function that takes RSA keys from outside may be told. */
export interface RsaKeyOptions {
  /**
   * Takes RSA keys from so many bits on, 1,024 at least, as `ssh` does: for devices that have nothing better. Keys of
   * 1,024 bits can be broken by those who spend enough. @default {2048}
   */
  insecureMinRsaBits?: number | undefined;
}

/** The limit that the options name; throws `RangeError` for one that makes no sense. */
export function minRsaBits({ insecureMinRsaBits: bits = RSA_BITS.min }: RsaKeyOptions): number {
  if (!Number.isInteger(bits) || bits < RSA_BITS.insecureMin || bits > RSA_BITS.min) {
    throw new RangeError(
      `Cannot use ${bits} as insecureMinRsaBits: ${RSA_BITS.insecureMin} to ${RSA_BITS.min} are allowed`,
    );
  }
  return bits;
}

/** Why `n` and `e` are not taken as an RSA public key, or null. */
export function rsaProblem(n: bigint, e: bigint, min: number = RSA_BITS.min): string | null {
  const bits = bitLength(n);
  // The product of two primes of 1,024 bits has 2,047 bits or 2,048: what some programs make counts as 2,048.
  const least = min === RSA_BITS.min ? min - 1 : min;
  if (bits < least || bits > RSA_BITS.max) {
    const hint = bits < least && bits >= RSA_BITS.insecureMin
      ? "; where nothing better can be had, the option `insecureMinRsaBits` takes it"
      : "";
    return `the modulus has ${bits} bits, ${min} to ${RSA_BITS.max} are allowed${hint}`;
  }
  if ((n & 1n) === 0n) return "the modulus is even";
  if ((e & 1n) === 0n || e < 3n || e >= 1n << 64n) return "the public exponent must be odd, from 3 and below 2^64";
  return null;
}

/**
 * Checks signatures of exactly the modulus' length with WebCrypto, one imported key per hash, for a modulus and an exponent that
 * `rsaProblem()` has nothing against.
 */
export function rsaVerifier(n: bigint, e: bigint): (hash: RsaHash, signature: Bytes, data: Bytes) => Promise<boolean> {
  const keys = new Map<RsaHash, Promise<CryptoKey>>();
  // Deno's WebCrypto takes moduli up to 4096 bits and exponents up to 2^33 - 1; other runtimes take more.
  const tooLarge = bitLength(n) > 4096 || e >= 1n << 32n, jwk = { kty: "RSA", n: base64url(n), e: base64url(e) };
  const imported = (hash: RsaHash) => {
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash };
    const key = keys.get(hash) ?? crypto.subtle.importKey("jwk", jwk, algorithm, false, ["verify"]);
    keys.set(hash, key);
    return key.catch(() => null);
  };
  return async (hash, signature, data) => {
    const key = tooLarge ? null : await imported(hash);
    if (key !== null) return await crypto.subtle.verify("RSASSA-PKCS1-v1_5", key, signature, data);
    const s = fromBigEndian(signature);
    if (s >= n) return false;
    const info = fromHex(digestInfo[hash] + toHex(new Uint8Array(await crypto.subtle.digest(hash, data))));
    const expected = new Uint8Array(signature.length).fill(0xff);
    expected[0] = 0;
    expected[1] = 1;
    expected[expected.length - info.length - 1] = 0;
    expected.set(info, expected.length - info.length);
    return equals(toBigEndian(publicPower(s, e, n), signature.length), expected);
  };
}
