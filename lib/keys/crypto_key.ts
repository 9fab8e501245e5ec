/**
 * Keys of WebCrypto as signers: those that never leave the runtime, a browser's store or a hardware module behind it.
 * RFC 8709, RFC 5656, RFC 8332. No I/O.
 *
 * @module
 */
import { checkObject, wrongKind } from "../wire/check.ts";
import { requireWebCrypto } from "../wire/system.ts";
import type { Bytes } from "../wire/types.ts";
import { isPublicKey } from "./check_key.ts";
import { readSpki } from "./format/spki.ts";
import type { WebCryptoForm } from "./key_type.ts";
import { keyTypes } from "./key_types.ts";
import { publicKeyFromBlob } from "./public_key.ts";
import { minRsaBits, type RsaKeyOptions } from "./rsa_public.ts";
import { writeSignature } from "./signature_blob.ts";
import type { PublicKey, Signer } from "./types.ts";

/** A pair of WebCrypto's; the public half may also be a key of this module's. */
export interface CryptoKeys {
  /** Signs; it need not be extractable. */
  readonly privateKey: CryptoKey;
  /** Its public half. */
  readonly publicKey: CryptoKey | PublicKey;
}

/**
 * A signer from a pair of WebCrypto's, as `crypto.subtle.generateKey()` makes one: Ed25519, ECDSA on P-256, P-384 or P-521, or
 * RSASSA-PKCS1-v1_5 with SHA-256 or SHA-512, which signs with that hash and no other. The private half need not be extractable. It serves
 * wherever a signer does: in `publicKey()`, as one of a server's `hostKeys`, for certificates.
 *
 * Rejects with `TypeError` for a key with another algorithm or hash, for one that may not sign, for a public half that cannot be
 * exported, and for halves of different keys; with `KeyFormatError` for an RSA key that is too short.
 *
 * ```ts
 * import { signerFromCryptoKey } from "@amiko/ssh/keys";
 *
 * const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]) as CryptoKeyPair;
 * const signer = await signerFromCryptoKey(pair);
 * console.log(signer.publicKey.toString());
 * ```
 */
export async function signerFromCryptoKey(pair: CryptoKeys, options: RsaKeyOptions = {}): Promise<Signer> {
  checkObject("options", options, "an object such as `{ insecureMinRsaBits }`");
  minRsaBits(options);
  requireWebCrypto("use CryptoKey");
  checkPair(pair);
  const { privateKey } = pair;
  if (privateKey.type !== "private") throw fail(`it is a ${privateKey.type} key, and the private one is needed`);
  if (!privateKey.usages.includes("sign")) throw fail('it was made without the usage "sign"');
  const { form, algorithms } = formOf(privateKey.algorithm);
  const publicKey = await publicOf(pair.publicKey, options);
  const sign = async (data: Uint8Array, algorithm: string): Promise<Bytes> => {
    if (!algorithms.includes(algorithm)) {
      throw new TypeError(`Cannot sign with "${algorithm}": this CryptoKey signs with ${algorithms.join(", ")}`);
    }
    return writeSignature(algorithm, await form.sign(privateKey, data.slice(), algorithm));
  };
  const probe = crypto.getRandomValues(new Uint8Array(32));
  if (!await publicKey.verify(probe, await sign(probe, algorithms[0]!))) {
    throw fail("its private and public halves do not belong together");
  }
  return Object.freeze({ publicKey, algorithms: Object.freeze([...algorithms]), sign });
}

function fail(why: string): TypeError {
  return new TypeError(`Cannot use CryptoKey: ${why}`);
}

function isCryptoKey(value: unknown): value is CryptoKey {
  return typeof CryptoKey === "function" && value instanceof CryptoKey;
}

function checkPair(pair: unknown): asserts pair is CryptoKeys {
  const { privateKey, publicKey } = typeof pair === "object" && pair !== null ? pair as Partial<CryptoKeys> : {};
  if (isCryptoKey(privateKey) && (isCryptoKey(publicKey) || isPublicKey(publicKey))) return;
  const advice = isCryptoKey(pair)
    ? ": write `{ privateKey, publicKey }`, because one half does not tell the other"
    : "";
  throw wrongKind("pair", pair, `a pair of CryptoKeys, as crypto.subtle.generateKey() gives one${advice}`);
}

function formOf(algorithm: KeyAlgorithm): { form: WebCryptoForm; algorithms: readonly string[] } {
  for (const { webCrypto: form } of keyTypes.values()) {
    const algorithms = form?.algorithmsOf(algorithm) ?? null;
    if (form === undefined || algorithms === null) continue;
    if (algorithms.length > 0) return { form, algorithms };
    throw fail(
      `SSH has no ${algorithm.name} signatures with ${
        (algorithm as RsaHashedKeyAlgorithm).hash.name
      } that are worth it`,
    );
  }
  const { name, namedCurve } = algorithm as EcKeyAlgorithm;
  throw fail(
    `SSH has no keys of ${name}${
      namedCurve === undefined ? "" : ` on ${namedCurve}`
    }; Ed25519, ECDSA on P-256, P-384 and P-521, and ` +
      "RSASSA-PKCS1-v1_5 with SHA-256 or SHA-512 can be used",
  );
}

async function publicOf(key: CryptoKey | PublicKey, options: RsaKeyOptions): Promise<PublicKey> {
  if (!isCryptoKey(key)) return publicKeyFromBlob(key.blob, options);
  if (key.type !== "public") throw fail(`its public half is a ${key.type} key`);
  if (!key.extractable) {
    throw fail("its public half cannot be exported; hand it over as `publicKey: parsePublicKey(text)`");
  }
  return publicKeyFromBlob(readSpki(new Uint8Array(await crypto.subtle.exportKey("spki", key))), options);
}
