/**
 * Public keys: parsing, fingerprints, verification. RFC 4253 section 6.6, RFC 4716. No I/O.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { keyFormatError, parsing } from "./format/format_error.ts";
import { keyCharacters, type KeyText, looksLikePath, pathHint } from "./key_text.ts";
import type { PublicPart } from "./key_type.ts";
import {
  certificateTypes,
  insecureAlgorithmsOf,
  isInsecure,
  keyTypeOf,
  keyTypes,
  signatureAlgorithmsOf,
  signatureLabelOf,
} from "./key_types.ts";
import { minRsaBits, type RsaKeyOptions } from "./rsa_public.ts";
import { readSignature } from "./signature_blob.ts";
import type { PublicKey } from "./types.ts";
import { isDataError, runtimeError } from "./webcrypto_errors.ts";

export { keyTypeOf, signatureAlgorithmsOf } from "./key_types.ts";
export { signatureAlgorithm } from "./signature_blob.ts";

/** Longest key blob that is looked at: an RSA key of 16,384 bits takes 2,073 bytes. */
const MAX_BLOB = 16_384;

const fail = (what: string) => keyFormatError(`Cannot read public key: ${what}`);

/** The fingerprint of a key by its blob. */
export async function fingerprintOf(blob: Bytes): Promise<string> {
  return "SHA256:" + new Uint8Array(await crypto.subtle.digest("SHA-256", blob)).toBase64({ omitPadding: true });
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
    return await this.verifyAny(signatureAlgorithmsOf(this.type), data, signature);
  }

  async verifyAny(algorithms: readonly string[], data: Uint8Array, signature: Uint8Array): Promise<boolean> {
    let algorithm: string, value: Uint8Array;
    try {
      ({ algorithm, value } = readSignature(signature));
    } catch (error) {
      if (error instanceof SshError) return false;
      throw error;
    }
    if (!algorithms.includes(algorithm)) return false;
    try {
      return (await this.part.verify(value, data.slice(), algorithm)) === true;
    } catch (error) {
      // A key that is none verifies nothing, and no key a value that is no signature. Whatever else is thrown says nothing of the signature.
      if (error instanceof SshError || isDataError(error)) return false;
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
      const isCertificate = certificateTypes.has(type);
      throw fail(
        `the type "${printable(type, 64)}" is ${
          isCertificate ? "a certificate's: parseCertificate() reads it" : "not supported"
        }`,
      );
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
  return own !== null && await own.verifyAny(insecureAlgorithmsOf(own.type), data, signature);
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
  const own = ours(key);
  return own !== null && keyTypeOf(algorithm) === key.type &&
    await own.verifyAny([signatureLabelOf(algorithm)], data, signature);
}

/** The size of a key in bits, as `ssh-keygen -l` counts it. */
export function keyBits(key: PublicKey): number {
  return ours(key)?.part.bits ?? 0;
}

/** Decodes strict base64 without white space; `what` begins the error's message. */
export function decodeBase64(text: string, what: string): Bytes {
  try {
    if (/[\t\n\f\r ]/.test(text)) throw new SyntaxError("White space in base64");
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw keyFormatError(`${what}: it is not base64`, cause);
  }
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
  return `${key.type} ${key.blob.toBase64()}${comment === "" ? "" : " " + comment}`;
}

/**
 * Reads one public key, from text or from the bytes of a file: an OpenSSH line (`ssh-ed25519 AAAA… comment`) or an RFC 4716 block.
 *
 * Throws {@linkcode SshError} with code `KEY_FORMAT` for anything else; the message says what was found.
 */
export function parsePublicKey(text: KeyText, options: RsaKeyOptions = {}): PublicKey {
  const characters = keyCharacters("Cannot read public key", text);
  const lines = characters.split(/\r\n|\r|\n/).map((line) => line.trim()).filter((line) => line !== "");
  const first = lines[0];
  if (first === undefined) throw fail("the text is empty");
  if (/^---- ?BEGIN SSH2 PUBLIC KEY ?----$/.test(first)) return parseBlock(lines, options);
  if (first.startsWith("-----BEGIN ")) throw fail(pemAdvice(first));
  if (lines.length !== 1) throw fail(`${lines.length} lines where one is expected`);
  const [type, base64] = first.split(/[ \t]+/);
  if (base64 === undefined || looksLikePath(first)) {
    throw fail(`it is not of the form "type base64 comment"${pathHint(first)}`);
  }
  return publicKeyFromWords(type!, base64, options);
}

function pemAdvice(first: string): string {
  const label = printable(first.replace(/^-+BEGIN |-+$/g, ""), 40);
  if (label.endsWith("PRIVATE KEY")) return `it is a private key ("${label}")`;
  const format = label === "PUBLIC KEY" ? "PKCS8" : "PEM";
  return `it is PEM ("${label}"); convert it with "ssh-keygen -i -m ${format} -f FILE"`;
}

/** RFC 4716 section 3: headers end at the first line without a colon, and a backslash continues a header. */
function parseBlock(lines: readonly string[], options: RsaKeyOptions): PublicKey {
  if (!/^---- ?END SSH2 PUBLIC KEY ?----$/.test(lines.at(-1)!)) {
    throw fail("the RFC 4716 block has no end line");
  }
  let base64 = "";
  let continued = false;
  for (const line of lines.slice(1, -1)) {
    if (continued || (base64 === "" && line.includes(":"))) continued = line.endsWith("\\");
    else base64 += line;
  }
  if (continued) throw fail("a header of the RFC 4716 block does not end");
  return publicKeyFromBlob(decodeBase64(base64, "Cannot read public key"), options);
}
