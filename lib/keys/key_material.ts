/**
 * What private keys are made of, and signing with it. RFC 5656, RFC 8017, RFC 8332, RFC 8709. No I/O, no file formats.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { isOnCurve } from "../crypto/kex/nist_curves.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import type { Curve } from "./curves.ts";
import { keyFormatError } from "./format/format_error.ts";
import { base64url, bitLength, toBigEndian } from "./integers.ts";
import { publicKeyFromBlob } from "./public_key.ts";
import { rsaHashes, rsaProblem } from "./rsa_public.ts";
import { ecdsaSignatureValue, writeSignature } from "./signature_blob.ts";
import type { PublicKey } from "./types.ts";
import { isDataError, runtimeError } from "./webcrypto_errors.ts";

/** Ed25519: the seed of RFC 8032 section 5.1.5, and the public point it gives. */
export interface Ed25519Material {
  /** Discriminant. */
  readonly kind: "ed25519";
  /** 32 bytes. */
  readonly seed: Bytes;
  /** 32 bytes. */
  readonly point: Bytes;
}

/** ECDSA: a scalar and its point. */
export interface EcdsaMaterial {
  /** Discriminant. */
  readonly kind: "ecdsa";
  /** The curve. */
  readonly curve: Curve;
  /** Uncompressed point. */
  readonly point: Bytes;
  /** Secret scalar. */
  readonly d: bigint;
}

/** RSA, in the components that OpenSSH keeps. */
export interface RsaMaterial {
  /** Discriminant. */
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

/** A private key's components. */
export type KeyMaterial = Ed25519Material | EcdsaMaterial | RsaMaterial;

/** Room for any public blob: an RSA modulus of 16,384 bits, an exponent of 64 bits, the lengths and the name. */
const MAX_PUBLIC_BLOB = 2304;

const PKCS8_ED25519 = "302e020100300506032b657004220420";

/** WebCrypto's private key for a seed; it computes the public point itself. */
function importSeed(seed: Bytes, extractable: boolean): Promise<CryptoKey> {
  const der = Uint8Array.fromHex(PKCS8_ED25519 + seed.toHex());
  return crypto.subtle.importKey("pkcs8", der, "Ed25519", extractable, ["sign"]).catch((error) => {
    throw isDataError(error) ? error : runtimeError("Cannot use ssh-ed25519 private key", error);
  });
}

/** The public point of an Ed25519 seed. */
export async function ed25519Point(seed: Bytes): Promise<Bytes> {
  const { x } = await crypto.subtle.exportKey("jwk", await importSeed(seed, true));
  return Uint8Array.fromBase64(x!, { alphabet: "base64url" });
}

/** The public key in wire encoding (RFC 4253 section 6.6). */
export function publicBlobOf(material: KeyMaterial): Bytes {
  const writer = new Writer(MAX_PUBLIC_BLOB);
  switch (material.kind) {
    case "ed25519":
      return writer.text("ssh-ed25519").string(material.point).bytes();
    case "ecdsa":
      return writer.text(material.curve.type).text(material.curve.name).string(material.point).bytes();
    case "rsa":
      return writer.text("ssh-rsa").mpint(material.e).mpint(material.n).bytes();
  }
}

/**
 * Refuses material whose private part does not belong to its public part: signing with a wrong public half would give the
 * secret away.
 */
export async function checkMaterial(material: KeyMaterial, minRsaBits: number): Promise<void> {
  const wrong = () => keyFormatError("Cannot read private key: its private and public parts do not belong together");
  switch (material.kind) {
    case "ed25519":
      if (material.seed.length !== 32 || material.point.length !== 32) {
        throw keyFormatError("Cannot read ssh-ed25519 private key: 32 bytes are needed for each half");
      }
      if (!equals(await ed25519Point(material.seed), material.point)) throw wrong();
      return;
    case "ecdsa": {
      const { curve, point, d } = material;
      if (!isOnCurve(curve.webName, point)) {
        throw keyFormatError(`Cannot read ${curve.type} private key: it holds no uncompressed point of the curve`);
      }
      if (d < 1n || d >= curve.n) {
        throw keyFormatError(`Cannot read ${curve.type} private key: its scalar is out of range`);
      }
      const probe = crypto.getRandomValues(new Uint8Array(32));
      const signature = await new MaterialSigner(material).sign(probe, curve.type).catch((error) => {
        if (isDataError(error)) return null;
        throw runtimeError(`Cannot check ${curve.type} private key`, error);
      });
      const key: PublicKey = publicKeyFromBlob(publicBlobOf(material));
      if (signature === null || !await key.verify(probe, signature)) throw wrong();
      return;
    }
    case "rsa": {
      const { n, e, d, iqmp, p, q } = material;
      const problem = rsaProblem(n, e, minRsaBits);
      if (problem !== null) throw keyFormatError(`Cannot read ssh-rsa private key: ${problem}`);
      if (p < 3n || q < 3n || p * q !== n || d >= n || iqmp >= p) throw wrong();
      if (e * d % (p - 1n) !== 1n || e * d % (q - 1n) !== 1n || iqmp * q % p !== 1n) throw wrong();
      return;
    }
  }
}

/** Signs with material that was checked; keys are imported on first use and kept. */
export class MaterialSigner {
  readonly #material: KeyMaterial;
  readonly #keys = new Map<string, Promise<CryptoKey>>();

  /** Takes the material. */
  constructor(material: KeyMaterial) {
    this.#material = material;
  }

  #key(name: string, make: () => Promise<CryptoKey>): Promise<CryptoKey> {
    let key = this.#keys.get(name);
    if (key === undefined) this.#keys.set(name, key = make());
    return key;
  }

  /** A signature blob made with `algorithm`, which must fit the material. */
  async sign(data: Uint8Array, algorithm: string): Promise<Bytes> {
    const material = this.#material, message = data.slice();
    switch (material.kind) {
      case "ed25519": {
        const key = await this.#key("", () => importSeed(material.seed, false));
        return writeSignature("ssh-ed25519", new Uint8Array(await crypto.subtle.sign("Ed25519", key, message)));
      }
      case "ecdsa": {
        const { curve } = material;
        const key = await this.#key("", () => importScalar(material));
        const raw = await crypto.subtle.sign({ name: "ECDSA", hash: curve.hash }, key, message);
        return writeSignature(curve.type, ecdsaSignatureValue(curve, new Uint8Array(raw)));
      }
      case "rsa": {
        const hash = rsaHashes.get(algorithm);
        if (hash === undefined) throw new TypeError(`Cannot sign: an RSA key has no algorithm "${algorithm}"`);
        const key = await this.#key(hash, () => importRsa(material, hash));
        return writeSignature(algorithm, new Uint8Array(await crypto.subtle.sign("RSASSA-PKCS1-v1_5", key, message)));
      }
    }
  }
}

function importScalar({ curve, point, d }: EcdsaMaterial): Promise<CryptoKey> {
  const jwk = {
    kty: "EC",
    crv: curve.webName,
    x: base64url(point.subarray(1, 1 + curve.size)),
    y: base64url(point.subarray(1 + curve.size)),
    d: base64url(toBigEndian(d, curve.size)),
  };
  return crypto.subtle.importKey("jwk", jwk, { name: "ECDSA", namedCurve: curve.webName }, false, ["sign"]);
}

function importRsa({ n, e, d, iqmp, p, q }: RsaMaterial, hash: string): Promise<CryptoKey> {
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
