/**
 * Public keys: parsing, fingerprints, verification. RFC 4253 section 6.6. No I/O.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import { toBase64 } from "../wire/base_text.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { checkObject, checkText, checkWord } from "../wire/check.ts";
import { checkPublicKey } from "./check_key.ts";
import { decodeBase64 } from "./format/base64.ts";
import { keyFormatError, otherKind, parsing, unsupported } from "./format/format_error.ts";
import { isJson, readPublicJwk, writePublicJwk } from "./format/jwk.ts";
import { notTheKind } from "./format/other_kinds.ts";
import { armour } from "./format/pem.ts";
import { beginsRfc4716, readRfc4716, writeRfc4716 } from "./format/rfc4716.ts";
import { readPkcs1Public, readSpki, writeSpki } from "./format/spki.ts";
import { byteString, keyCharacters, type KeyText, looksLikePath, pathHint } from "./key_text.ts";
import type { AuthenticatorData, PublicPart } from "./key_type.ts";
import {
  acceptedAlgorithmsOf,
  certificateTypes,
  fitsAlgorithm,
  insecureAlgorithmsOf,
  isAuthenticators,
  isInsecure,
  keyTypeOf,
  keyTypes,
} from "./key_types.ts";
import { minRsaBits, type RsaKeyOptions } from "./rsa_public.ts";
import { readSignature } from "./signature_blob.ts";
import type { PublicKey } from "./types.ts";
import { isDataError, runtimeError } from "./webcrypto_errors.ts";

export { decodeBase64 } from "./format/base64.ts";
export { keyTypeOf, signatureAlgorithmsOf } from "./key_types.ts";
export { signatureAlgorithm } from "./signature_blob.ts";

/** Longest key blob that is looked at: an RSA key of 16,384 bits takes 2,073 bytes. */
const MAX_BLOB = 16_384;

const fail = (what: string) => keyFormatError(`Cannot read public key: ${what}`);

/** What a signature that fits proves. */
export interface SignatureProof {
  /** The algorithm that it was made with. */
  readonly algorithm: string;
  /** What the authenticator of a FIDO key said; null for any other key. */
  readonly authenticator: AuthenticatorData | null;
}

/** The fingerprint of a key by its blob. */
export async function fingerprintOf(blob: Bytes): Promise<string> {
  return "SHA256:" + toBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", blob)), { omitPadding: true });
}

class SshPublicKey implements PublicKey {
  readonly type: string;
  readonly #blob: Bytes;
  readonly part: PublicPart;
  #fingerprint: Promise<string> | undefined;

  constructor(type: string, blob: Bytes, part: PublicPart) {
    this.type = type;
    this.#blob = blob;
    this.part = part;
  }

  /** A copy, so that nobody can change what the verifier was made from. */
  get blob(): Bytes {
    return this.#blob.slice();
  }

  fingerprint(): Promise<string> {
    return this.#fingerprint ??= fingerprintOf(this.#blob);
  }

  /** The key's line, `type base64`. */
  toString(): string {
    return publicKeyLine(this);
  }

  async verify(data: Uint8Array, signature: Uint8Array): Promise<boolean> {
    return isTouched(await this.prove(acceptedAlgorithmsOf(this.type), data, signature));
  }

  async prove(algorithms: readonly string[], data: Uint8Array, signature: Uint8Array): Promise<SignatureProof | null> {
    let algorithm: string, value: Uint8Array, more: Uint8Array;
    try {
      ({ algorithm, value, more } = readSignature(signature));
    } catch (error) {
      if (error instanceof SshError) return null;
      throw error;
    }
    if (!algorithms.includes(algorithm)) return null;
    try {
      const fits = await this.part.verify(value, data.slice(), algorithm, more);
      // A signature of a kind that says more proves nothing without that.
      if (typeof fits !== "object") {
        return fits === true && !isAuthenticators(algorithm) ? { algorithm, authenticator: null } : null;
      }
      return { algorithm, authenticator: fits };
    } catch (error) {
      // A key that is none verifies nothing, and no key a value that is no signature. Whatever else is thrown says nothing of the signature.
      if (error instanceof SshError || isDataError(error)) return null;
      throw runtimeError(`Cannot verify ${algorithm} signature`, error);
    }
  }
}

/**
 * Reads a public key from its wire encoding (RFC 4253 section 6.6).
 *
 * Throws {@linkcode SshError} with code `KEY_FORMAT` for a type that is not known and for whatever is not exactly one sound
 * key: RSA moduli outside 2,048 (2,047 is let pass) to 16,384 bits, points that are not on their curve, bytes left over.
 */
export function publicKeyFromBlob(blob: Uint8Array, options: RsaKeyOptions = {}): PublicKey {
  const minBits = minRsaBits(options);
  if (!(blob instanceof Uint8Array)) throw new TypeError("Cannot read public key: its blob is no Uint8Array");
  if (blob.length > MAX_BLOB) throw fail(`it is longer than ${MAX_BLOB} bytes`);
  const bytes = blob.slice();
  return parsing("Cannot read public key", () => {
    const reader = new Reader(bytes);
    const type = reader.ascii();
    const part = keyTypes.get(type)?.readPublic(reader, minBits);
    if (part === undefined) {
      if (certificateTypes.has(type)) {
        throw otherKind(
          `Cannot read public key: the type "${printable(type, 64)}" is a certificate's: parseCertificate() reads it`,
        );
      }
      throw unsupported(`Cannot read public key: the type "${printable(type, 64)}" is not supported`);
    }
    reader.end();
    return new SshPublicKey(type, bytes, part);
  });
}

/** Ours, made anew from the blob when the key is another program's object; of a certificate, the key that it certifies. */
function ours(given: PublicKey): SshPublicKey | null {
  const key = given.certificate?.publicKey ?? given;
  if (key instanceof SshPublicKey) return key;
  try {
    return publicKeyFromBlob(key.blob) as SshPublicKey;
  } catch (error) {
    if (error instanceof SshError) return null;
    throw error;
  }
}

/**
 * Checks a signature blob that must be labelled with exactly `algorithm`, and that the key's type must allow.
 * False for whatever does not fit; `ssh-rsa` (SHA-1) never fits. Rejects with `TypeError` where the runtime cannot tell, such as one
 * whose WebCrypto lacks the algorithm.
 */
export async function verifyWith(
  key: PublicKey,
  algorithm: string,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  return !isInsecure(algorithm) && await verifyAgreed(key, algorithm, data, signature);
}

/**
 * Checks a signature blob labelled `ssh-rsa`, which is RSA with SHA-1: only for a program that named `ssh-rsa` among its
 * algorithms by hand. SHA-1 signatures can be forged at a price.
 */
export async function insecureVerifySha1(key: PublicKey, data: Uint8Array, signature: Uint8Array): Promise<boolean> {
  const own = ours(key);
  return own !== null && isTouched(await own.prove(insecureAlgorithmsOf(own.type), data, signature));
}

/**
 * As {@linkcode verifyWith}, for an algorithm that both sides agreed on: an insecure one among them is there only where a program
 * named it by hand.
 */
export async function verifyAgreed(
  key: PublicKey,
  algorithm: string,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  return isTouched(await proveAgreed(key, algorithm, data, signature));
}

/** Whether a signature fits and, where it is an authenticator's, somebody was there to have it made. */
function isTouched(proof: SignatureProof | null): boolean {
  return proof !== null && (proof.authenticator?.userPresent ?? true);
}

/** As {@linkcode verifyAgreed}, with what the signature proves, and null where it does not fit: whoever asks looks at the flags. */
export async function proveAgreed(
  key: PublicKey,
  algorithm: string,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<SignatureProof | null> {
  const own = ours(key);
  if (own === null || keyTypeOf(algorithm) !== key.type) return null;
  const labels = keyTypes.get(own.type)!.algorithms.map(({ name }) => name);
  return await own.prove(labels.filter((label) => fitsAlgorithm(label, algorithm)), data, signature);
}

/**
 * Checks a signature blob made with any algorithm that a key allows, as its `verify()` does, and tells what it proves; null for whatever
 * does not fit. It is for keys of FIDO authenticators, whose signatures say whether somebody was there: `verify()` refuses those that were
 * made with nobody there, and here the caller looks at {@linkcode SignatureProof.authenticator}. Rejects with `TypeError` where the runtime
 * cannot tell.
 */
export async function verifySignature(
  key: PublicKey,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<SignatureProof | null> {
  const own = ours(key);
  return own === null ? null : await own.prove(acceptedAlgorithmsOf(own.type), data, signature);
}

/** Reads `type base64` as a line holds them: the type word must equal the blob's own. */
export function publicKeyFromWords(type: string, base64: string, options: RsaKeyOptions = {}): PublicKey {
  if (base64.length > 2 * MAX_BLOB) throw fail(`it is longer than ${MAX_BLOB} bytes`);
  const key = publicKeyFromBlob(decodeBase64(base64, "Cannot read public key"), options);
  if (key.type !== type) {
    throw fail(`the line says "${printable(type, 64)}" and holds a key of type ${key.type}`);
  }
  return key;
}

/** The key as OpenSSH writes it on a line: `type base64`, and the comment when there is one. */
export function publicKeyLine(key: PublicKey, comment = ""): string {
  if (/[\r\n\0]/.test(comment)) throw new TypeError("Cannot write public key: the comment holds a line break or a NUL");
  return `${key.type} ${toBase64(key.blob)}${comment === "" ? "" : " " + comment}`;
}

/** The formats that {@linkcode exportPublicKey} writes. */
export type PublicKeyFormat = "openssh" | "rfc4716" | "spki" | "jwk";

const publicFormats: readonly PublicKeyFormat[] = ["openssh", "rfc4716", "spki", "jwk"];

/**
 * Writes a public key as a file holds it, with a line break at its end: as OpenSSH's line (`openssh`, unless another format is asked
 * for), in the form of RFC 4716 (`rfc4716`), which PuTTY takes, as SubjectPublicKeyInfo in PEM (`spki`), which OpenSSL and most others
 * take, or as a JSON Web Key (`jwk`, with the comment as its `kid`). SubjectPublicKeyInfo holds no comment.
 *
 * Throws `TypeError` for a comment with a line break or a NUL, `RangeError` for one of more than 1,013 bytes where `rfc4716` is asked for,
 * and {@linkcode KeyFormatError} for a key of a type that the format does not have.
 */
export function exportPublicKey(
  key: PublicKey,
  options: { format?: PublicKeyFormat | undefined; comment?: string | undefined } = {},
): string {
  checkPublicKey("key", key);
  checkObject("options", options, "an object such as `{ format }`");
  const { format = "openssh", comment = "" } = options;
  checkWord("format", format, publicFormats);
  checkText("comment", comment);
  if (/[\r\n\0]/.test(comment)) {
    throw new TypeError("Cannot write public key: the comment holds a line break or a NUL");
  }
  switch (format) {
    case "openssh":
      return `${publicKeyLine(key, comment)}\n`;
    case "rfc4716":
      return writeRfc4716(key.blob, comment);
    case "spki":
      return armour("PUBLIC KEY", writeSpki(key.blob));
    case "jwk":
      return writePublicJwk(key.blob, comment);
  }
}

/**
 * Reads one public key, from text or from the bytes of a file: an OpenSSH line (`ssh-ed25519 AAAA… comment`), an RFC 4716 block, PEM
 * (SubjectPublicKeyInfo, or PKCS#1 for RSA), or a JSON Web Key.
 *
 * Throws {@linkcode KeyFormatError} for anything else; its `reason` and its message say what was found.
 */
export function parsePublicKey(text: KeyText, options: RsaKeyOptions = {}): PublicKey {
  const what = "Cannot read public key", characters = keyCharacters(what, text);
  const lines = characters.split(/\r\n|\r|\n/).map((line) => line.trim()).filter((line) => line !== "");
  const first = lines[0];
  if (first === undefined) throw fail("the text is empty");
  if (isJson(characters)) return publicKeyFromBlob(readPublicJwk(characters), options);
  if (beginsRfc4716(first)) return publicKeyFromBlob(decodeBase64(readRfc4716(lines), what), options);
  const pem = lines.findIndex((line) => /^-----BEGIN (?:RSA )?PUBLIC KEY-----$/.test(line));
  if (pem >= 0) return publicKeyFromBlob(readPemBlock(lines.slice(pem)), options);
  const [type = "", base64 = ""] = first.split(/[ \t]+/);
  if (base64 !== "" && !looksLikePath(first) && (keyTypes.has(type) || base64.startsWith("AAAA"))) {
    if (lines.length > 1) throw fail(`${lines.length} lines where one is expected`);
    return publicKeyFromWords(type, base64, options);
  }
  const otherwise = `it is not of the form "type base64 comment"${pathHint(first)}`;
  throw notTheKind(what, typeof text === "string" ? text : byteString(what, text), otherwise);
}

function readPemBlock(lines: readonly string[]): Bytes {
  const label = lines[0]!.slice(11, -5), end = lines.indexOf(`-----END ${label}-----`);
  if (end < 0) throw fail(`the line "-----END ${label}-----" is missing`);
  const der = decodeBase64(lines.slice(1, end).join(""), "Cannot read public key");
  return label === "PUBLIC KEY" ? readSpki(der) : readPkcs1Public(der);
}
