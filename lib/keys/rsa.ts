/**
 * RSA keys. RFC 8017, RFC 8332. No I/O.
 *
 * @module
 */
import { concat } from "@std/bytes";
import type { Bytes } from "../wire/types.ts";
import { integer, nothing, oid, sequence } from "./format/der_writer.ts";
import { DerReader } from "./format/der.ts";
import { notTogether, unsupported } from "./format/format_error.ts";
import { base64url, bitLength, inverse, jwkIntegers, paddedMpint, positiveMpint } from "./integers.ts";
import { OID_RSA } from "./format/oids.ts";
import type { JwkText } from "./jwk_members.ts";
import type { ForeignForm, KeyType, SignatureAlgorithm, WebCryptoForm } from "./key_type.ts";
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

/** RFC 7518 section 6.3.1. */
function publicJwk(n: bigint, e: bigint): JwkText {
  return { kty: "RSA", n: base64url(n), e: base64url(e) };
}

/** RFC 7518 section 6.3.2. */
function privateJwk({ n, d, iqmp, p, q }: RsaMaterial): JwkText {
  return {
    d: base64url(d, (bitLength(n) + 7) >> 3),
    p: base64url(p),
    q: base64url(q),
    dp: base64url(d % (p - 1n)),
    dq: base64url(d % (q - 1n)),
    qi: base64url(iqmp),
  };
}

function importRsa(material: RsaMaterial, hash: RsaHash): Promise<CryptoKey> {
  const jwk = { ...publicJwk(material.n, material.e), ...privateJwk(material) };
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

/**
 * Components of which programs keep a part only, or keep it wrong: d and q^-1 mod p are made anew, because with a wrong one a signature
 * gives the primes away.
 */
export function rsaMaterialOf(n: bigint, e: bigint, d: bigint, p: bigint, q: bigint): RsaMaterial {
  const iqmp = p > 1n ? inverse(q, p) : null, phi = (p - 1n) * (q - 1n);
  if (iqmp === null || phi <= 0n) throw notTogether();
  return { kind: "rsa", n, e, d: d < n ? d : d % phi, iqmp, p, q };
}

/** RFC 8017 appendix A.1, RFC 7518 section 6.3. */
const foreign: ForeignForm<RsaMaterial> = {
  algorithm: concat([oid(OID_RSA), nothing]),
  jwk: { kty: "RSA" },
  writePublic(half) {
    const e = half.mpint(), n = half.mpint();
    return sequence(integer(n), integer(e));
  },
  readPublic(bits, writer) {
    const outer = new DerReader(bits), reader = outer.nested();
    outer.end();
    const n = reader.integer(MAX_BYTES), e = reader.integer(8);
    reader.end();
    writer.mpint(e).mpint(n);
  },
  writePublicJwk(half) {
    const e = half.mpint(), n = half.mpint();
    return publicJwk(n, e);
  },
  readPublicJwk: (members, writer) => void writer.mpint(members.integer("e", 8)).mpint(members.integer("n", MAX_BYTES)),
  writePrivate: ({ n, e, d, iqmp, p, q }) =>
    sequence(...[0n, n, e, d, p, q, d % (p - 1n), d % (q - 1n), iqmp].map(integer)),
  writePrivateJwk: privateJwk,
  readPrivateJwk(members) {
    if (members.has("oth")) throw unsupported("Cannot read RSA private key: only keys of two primes are supported");
    if (!members.has("p") || !members.has("q")) {
      throw unsupported("Cannot read RSA private key: a JSON Web Key without its primes is not supported");
    }
    const n = members.integer("n", MAX_BYTES), e = members.integer("e", 8), d = members.integer("d", MAX_BYTES);
    return rsaMaterialOf(n, e, d, members.integer("p", MAX_BYTES), members.integer("q", MAX_BYTES));
  },
};

const webCrypto: WebCryptoForm = {
  algorithmsOf(algorithm) {
    if (algorithm.name !== "RSASSA-PKCS1-v1_5") return null;
    // A key of WebCrypto's signs with one hash and no other.
    const { hash } = algorithm as RsaHashedKeyAlgorithm;
    return algorithms.filter((one) => one.hash === hash.name && one.insecure !== true).map(({ name }) => name);
  },
  sign: async (key, data) => new Uint8Array(await crypto.subtle.sign("RSASSA-PKCS1-v1_5", key, data)),
};

/** `ssh-rsa`. */
export const rsa: KeyType<RsaMaterial> = {
  name: NAME,
  algorithms,
  readPublic(reader, minBits) {
    const e = positiveMpint(reader, 8), n = positiveMpint(reader, MAX_BYTES);
    const problem = rsaProblem(n, e, minBits);
    if (problem !== null) throw unsupported(`Cannot read ${NAME} key: ${problem}`);
    const bytes = (bitLength(n) + 7) >> 3, verify = rsaVerifier(n, e);
    return {
      async verify(value, data, algorithm): Promise<boolean> {
        const signature = signatureOf(bytes, value);
        return signature !== null && await verify(hashOf(algorithm), signature, data);
      },
    };
  },
  foreign,
  webCrypto,
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
    writePutty: (writer, { d, p, q, iqmp }) => void writer.mpint(d).mpint(p).mpint(q).mpint(iqmp),
    writePublic: (writer, { n, e }) => void writer.mpint(e).mpint(n),
    check({ n, e, d, iqmp, p, q }, minBits) {
      const problem = rsaProblem(n, e, minBits);
      if (problem !== null) throw unsupported(`Cannot read ${NAME} private key: ${problem}`);
      if (p < 3n || q < 3n || p * q !== n || d >= n || iqmp >= p) throw notTogether();
      if (e * d % (p - 1n) !== 1n || e * d % (q - 1n) !== 1n || iqmp * q % p !== 1n) throw notTogether();
    },
    signer(material) {
      const keys = new Map<RsaHash, Promise<CryptoKey>>();
      return async (data, algorithm) => {
        const hash = hashOf(algorithm), key = keys.get(hash) ?? importRsa(material, hash);
        keys.set(hash, key);
        return await webCrypto.sign(await key, data, algorithm);
      };
    },
  },
};
