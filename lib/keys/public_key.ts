/**
 * Public keys: parsing, fingerprints, verification. RFC 4253 section 6.6, RFC 4716, RFC 5656, RFC 8332, RFC 8709. No I/O.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import { printable } from "../errors.ts";
import { isOnCurve } from "../crypto/kex/nist_curves.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { type Curve, curves } from "./curves.ts";
import { keyFormatError, parsing } from "./format/format_error.ts";
import { bitLength, positiveMpint } from "./integers.ts";
import { keyCharacters, type KeyText, looksLikePath, pathHint } from "./key_text.ts";
import { minRsaBits, RSA_BITS, rsaHashes, type RsaKeyOptions, rsaProblem, RsaVerifier } from "./rsa_public.ts";
import { ecdsaSignature, ed25519Signature, readSignature, rsaSignature } from "./signature_blob.ts";
import type { PublicKey } from "./types.ts";
import { isDataError, runtimeError } from "./webcrypto_errors.ts";

export { signatureAlgorithm } from "./signature_blob.ts";

/** Longest key blob that is looked at: an RSA key of 16,384 bits takes 2,073 bytes. */
const MAX_BLOB = 16_384;

/** Checks a signature value made with `algorithm`, which is one that the key has. */
type Verifier = (algorithm: string, value: Uint8Array, data: Bytes) => Promise<boolean>;

class SshPublicKey implements PublicKey {
  readonly type: string;
  readonly #blob: Bytes;
  readonly #verifier: Verifier;
  /** Bits of the key, as `ssh-keygen -l` counts them. */
  readonly bits: number;
  #fingerprint: Promise<string> | undefined;

  constructor(type: string, blob: Bytes, bits: number, verifier: Verifier) {
    this.type = type;
    this.#blob = blob;
    this.bits = bits;
    this.#verifier = verifier;
  }

  /** A copy, so that nobody can change what the verifier was made from. */
  get blob(): Bytes {
    return this.#blob.slice();
  }

  fingerprint(): Promise<string> {
    return this.#fingerprint ??= crypto.subtle.digest("SHA-256", this.#blob)
      .then((digest) => "SHA256:" + new Uint8Array(digest).toBase64({ omitPadding: true }));
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
      return (await this.#verifier(algorithm, value, data.slice())) === true;
    } catch (error) {
      // A key that is none verifies nothing. Whatever else is thrown says nothing of the signature.
      if (isDataError(error)) return false;
      throw runtimeError(`Cannot verify ${algorithm} signature`, error);
    }
  }
}

/** Imports on first use. */
function lazyKey(algorithm: EcKeyImportParams | "Ed25519", raw: Bytes): () => Promise<CryptoKey> {
  let key: Promise<CryptoKey> | undefined;
  return () => key ??= crypto.subtle.importKey("raw", raw, algorithm, false, ["verify"]);
}

function readEd25519(reader: Reader): { bits: number; verifier: Verifier } {
  const raw = reader.string();
  if (raw.length !== 32) throw keyFormatError(`Cannot read ssh-ed25519 key: ${raw.length} bytes where 32 are needed`);
  const key = lazyKey("Ed25519", raw);
  return {
    bits: 256,
    async verifier(_algorithm, value, data): Promise<boolean> {
      const signature = ed25519Signature(value);
      return signature !== null && await crypto.subtle.verify("Ed25519", await key(), signature, data);
    },
  };
}

function readEcdsa(curve: Curve, reader: Reader): { bits: number; verifier: Verifier } {
  const name = reader.ascii();
  if (name !== curve.name) {
    throw keyFormatError(`Cannot read ${curve.type} key: it names the curve "${printable(name, 64)}"`);
  }
  const point = reader.string();
  if (!isOnCurve(curve.webName, point)) {
    throw keyFormatError(`Cannot read ${curve.type} key: it holds no uncompressed point of the curve`);
  }
  const key = lazyKey({ name: "ECDSA", namedCurve: curve.webName }, point);
  return {
    bits: bitLength(curve.n),
    async verifier(_algorithm, value, data): Promise<boolean> {
      const signature = ecdsaSignature(curve, value);
      if (signature === null) return false;
      return await crypto.subtle.verify({ name: "ECDSA", hash: curve.hash }, await key(), signature, data);
    },
  };
}

function readRsa(reader: Reader, minBits: number): { bits: number; verifier: Verifier } {
  const e = positiveMpint(reader, 8);
  const n = positiveMpint(reader, RSA_BITS.max / 8);
  const problem = rsaProblem(n, e, minBits);
  if (problem !== null) throw keyFormatError(`Cannot read ssh-rsa key: ${problem}`);
  const bits = bitLength(n), rsa = new RsaVerifier(n, e);
  return {
    bits,
    async verifier(algorithm, value, data): Promise<boolean> {
      const hash = rsaHashes.get(algorithm), signature = rsaSignature((bits + 7) >> 3, value);
      return hash !== undefined && signature !== null && await rsa.verify(hash, signature, data);
    },
  };
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
  if (blob.length > MAX_BLOB) throw keyFormatError(`Cannot read public key: it is longer than ${MAX_BLOB} bytes`);
  const bytes = blob.slice();
  return parsing("Cannot read public key", () => {
    const reader = new Reader(bytes);
    const type = reader.ascii();
    const curve = curves.get(type);
    let parts: { bits: number; verifier: Verifier };
    if (type === "ssh-ed25519") parts = readEd25519(reader);
    else if (curve !== undefined) parts = readEcdsa(curve, reader);
    else if (type === "ssh-rsa") parts = readRsa(reader, minBits);
    else throw keyFormatError(`Cannot read public key: the type "${printable(type, 64)}" is not supported`);
    reader.end();
    return new SshPublicKey(type, bytes, parts.bits, parts.verifier);
  });
}

/** The signature algorithms that a key type allows, most wanted first; empty for a type that is not known. */
export function signatureAlgorithmsOf(type: string): readonly string[] {
  if (type === "ssh-rsa") return ["rsa-sha2-512", "rsa-sha2-256"];
  return type === "ssh-ed25519" || curves.has(type) ? [type] : [];
}

/** The key type that a signature algorithm belongs to, or null: `ssh-rsa` for `rsa-sha2-256`. */
export function keyTypeOf(algorithm: string): string | null {
  if (rsaHashes.has(algorithm)) return "ssh-rsa";
  return algorithm === "ssh-ed25519" || curves.has(algorithm) ? algorithm : null;
}

/** Ours, made anew from the blob when the key is another program's object. */
function ours(key: PublicKey): SshPublicKey | null {
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
  if (!signatureAlgorithmsOf(key.type).includes(algorithm)) return false;
  return await ours(key)?.verifyAny([algorithm], data, signature) ?? false;
}

/**
 * Checks a signature blob labelled `ssh-rsa`, which is RSA with SHA-1: only for a program that named `ssh-rsa` among its
 * algorithms by hand. SHA-1 signatures can be forged at a price.
 */
export async function insecureVerifySha1(key: PublicKey, data: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (key.type !== "ssh-rsa") return false;
  return await ours(key)?.verifyAny(["ssh-rsa"], data, signature) ?? false;
}

/** The size of a key in bits, as `ssh-keygen -l` counts it. */
export function keyBits(key: PublicKey): number {
  return ours(key)?.bits ?? 0;
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
  if (base64.length > 2 * MAX_BLOB) throw keyFormatError(`Cannot read public key: it is longer than ${MAX_BLOB} bytes`);
  const key = publicKeyFromBlob(decodeBase64(base64, "Cannot read public key"), options);
  if (key.type !== type) {
    throw keyFormatError(
      `Cannot read public key: the line says "${printable(type, 64)}" and holds a key of type ${key.type}`,
    );
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
  if (first === undefined) throw keyFormatError("Cannot read public key: the text is empty");
  if (/^---- ?BEGIN SSH2 PUBLIC KEY ?----$/.test(first)) return parseBlock(lines, options);
  if (first.startsWith("-----BEGIN ")) throw keyFormatError(`Cannot read public key: ${pemAdvice(first)}`);
  if (lines.length !== 1) throw keyFormatError(`Cannot read public key: ${lines.length} lines where one is expected`);
  const [type, base64] = first.split(/[ \t]+/);
  if (base64 === undefined || looksLikePath(first)) {
    throw keyFormatError(`Cannot read public key: it is not of the form "type base64 comment"${pathHint(first)}`);
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
    throw keyFormatError("Cannot read public key: the RFC 4716 block has no end line");
  }
  let base64 = "";
  let continued = false;
  for (const line of lines.slice(1, -1)) {
    if (continued || (base64 === "" && line.includes(":"))) continued = line.endsWith("\\");
    else base64 += line;
  }
  if (continued) throw keyFormatError("Cannot read public key: a header of the RFC 4716 block does not end");
  return publicKeyFromBlob(decodeBase64(base64, "Cannot read public key"), options);
}
