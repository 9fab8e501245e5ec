/**
 * RSA keys. RFC 8017, RFC 8332. No I/O.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";
import { keyFormatError, notTogether } from "./format/format_error.ts";
import { base64url, bitLength, jwkIntegers, paddedMpint, positiveMpint } from "./integers.ts";
import type { KeyType, SignatureAlgorithm } from "./key_type.ts";
import { RSA_BITS, type RsaHash, rsaProblem, rsaVerifier } from "./rsa_public.ts";

/** The components that OpenSSH keeps. */
export interface RsaMaterial {
  readonly kind: "rsa";
  /** Modulus. */
  readonly n: bigint;
  /** Public exponent. */
  readonly e: bigint;
  /** Private exponent. */
  readonly d: bigint;
  /** q^-1 mod p. */
  readonly iqmp: bigint;
  /** First prime. */
  readonly p: bigint;
  /** Second prime. */
  readonly q: bigint;
}

const NAME = "ssh-rsa";
const MAX_BYTES = RSA_BITS.max / 8;

/** The algorithm with the name of the key type is the one with SHA-1, whose signatures can be forged at a price. */
const algorithms: readonly (SignatureAlgorithm & { hash: RsaHash })[] = [
  { name: "rsa-sha2-512", hash: "SHA-512", agentFlags: 4 },
  { name: "rsa-sha2-256", hash: "SHA-256", agentFlags: 2 },
  { name: NAME, hash: "SHA-1", insecure: true },
];

function hashOf(algorithm: string): RsaHash {
  const found = algorithms.find(({ name }) => name === algorithm);
  if (found === undefined) throw new TypeError(`Cannot use "${algorithm}": an RSA key has no such algorithm`);
  return found.hash;
}

/** `value` padded with zeros on the left to the modulus' length, as RFC 8332 section 3 allows it to be short; null when longer. */
function signatureOf(modulusBytes: number, value: Uint8Array): Bytes | null {
  if (value.length === 0 || value.length > modulusBytes) return null;
  const padded = new Uint8Array(modulusBytes);
  padded.set(value, modulusBytes - value.length);
  return padded;
}

function importRsa({ n, e, d, iqmp, p, q }: RsaMaterial, hash: RsaHash): Promise<CryptoKey> {
  const size = (bitLength(n) + 7) >> 3;
  const jwk = {
    kty: "RSA",
    n: base64url(n),
    e: base64url(e),
    d: base64url(d, size),
    p: base64url(p),
    q: base64url(q),
    dp: base64url(d % (p - 1n)),
    dq: base64url(d % (q - 1n)),
    qi: base64url(iqmp),
  };
  return crypto.subtle.importKey("jwk", jwk, { name: "RSASSA-PKCS1-v1_5", hash }, false, ["sign"]);
}

/** Makes a key. */
export async function generateRsa(bits = 3072): Promise<RsaMaterial> {
  if (!Number.isInteger(bits) || bits < RSA_BITS.min || bits > RSA_BITS.max) {
    throw new RangeError(`Cannot make rsa key: ${bits} bits given, ${RSA_BITS.min} to ${RSA_BITS.max} are allowed`);
  }
  const pair = await crypto.subtle.generateKey(
    { name: "RSASSA-PKCS1-v1_5", modulusLength: bits, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-512" },
    true,
    ["sign", "verify"],
  );
  const { n, e, d, qi, p, q } = jwkIntegers(await crypto.subtle.exportKey("jwk", pair.privateKey));
  return { kind: "rsa", n: n!, e: e!, d: d!, iqmp: qi!, p: p!, q: q! };
}

/** `ssh-rsa`. */
export const rsa: KeyType<RsaMaterial> = {
  name: NAME,
  algorithms,
  readPublic(reader, minBits) {
    const e = positiveMpint(reader, 8), n = positiveMpint(reader, MAX_BYTES);
    const problem = rsaProblem(n, e, minBits);
    if (problem !== null) throw keyFormatError(`Cannot read ${NAME} key: ${problem}`);
    const bits = bitLength(n), verify = rsaVerifier(n, e);
    return {
      bits,
      async verify(value, data, algorithm): Promise<boolean> {
        const signature = signatureOf((bits + 7) >> 3, value);
        return signature !== null && await verify(hashOf(algorithm), signature, data);
      },
    };
  },
  private: {
    holds: ({ kind }) => kind === "rsa",
    read(reader) {
      const n = paddedMpint(reader, MAX_BYTES), e = paddedMpint(reader, 8), d = paddedMpint(reader, MAX_BYTES);
      const iqmp = paddedMpint(reader, MAX_BYTES), p = paddedMpint(reader, MAX_BYTES);
      return { kind: "rsa", n, e, d, iqmp, p, q: paddedMpint(reader, MAX_BYTES) };
    },
    write: (writer, { n, e, d, iqmp, p, q }) => void writer.mpint(n).mpint(e).mpint(d).mpint(iqmp).mpint(p).mpint(q),
    behindCertificate: {
      read(half, reader) {
        const e = positiveMpint(half, 8), n = positiveMpint(half, MAX_BYTES), d = paddedMpint(reader, MAX_BYTES);
        const iqmp = paddedMpint(reader, MAX_BYTES), p = paddedMpint(reader, MAX_BYTES);
        return { kind: "rsa", n, e, d, iqmp, p, q: paddedMpint(reader, MAX_BYTES) };
      },
      write: (writer, { d, iqmp, p, q }) => void writer.mpint(d).mpint(iqmp).mpint(p).mpint(q),
    },
    readPutty(half, secret) {
      const e = half.mpint(), n = half.mpint(), d = paddedMpint(secret, MAX_BYTES);
      const p = paddedMpint(secret, MAX_BYTES), q = paddedMpint(secret, MAX_BYTES);
      return { kind: "rsa", n, e, d, p, q, iqmp: paddedMpint(secret, MAX_BYTES) };
    },
    writePublic: (writer, { n, e }) => void writer.mpint(e).mpint(n),
    check({ n, e, d, iqmp, p, q }, minBits) {
      const problem = rsaProblem(n, e, minBits);
      if (problem !== null) throw keyFormatError(`Cannot read ${NAME} private key: ${problem}`);
      if (p < 3n || q < 3n || p * q !== n || d >= n || iqmp >= p) throw notTogether();
      if (e * d % (p - 1n) !== 1n || e * d % (q - 1n) !== 1n || iqmp * q % p !== 1n) throw notTogether();
    },
    signer(material) {
      const keys = new Map<RsaHash, Promise<CryptoKey>>();
      return async (data, algorithm) => {
        const hash = hashOf(algorithm), key = keys.get(hash) ?? importRsa(material, hash);
        keys.set(hash, key);
        return new Uint8Array(await crypto.subtle.sign("RSASSA-PKCS1-v1_5", await key, data));
      };
    },
  },
};
