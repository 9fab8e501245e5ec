/**
 * Encrypted PKCS#8: PBES2 with PBKDF2 or scrypt, and AES or triple DES in CBC mode. RFC 8018 appendices A.2,
 * A.4 and B.2.5, RFC 7914 section 7. No I/O.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import type { AskPassphrase } from "../passphrase.ts";
import { type DerReader, Tag } from "./der.ts";
import { keyFormatError, noPassphrase, unsupported as unsupportedError, wrongPassphrase } from "./format_error.ts";
import { OID_PBES2, OID_PBKDF2, OID_SCRYPT } from "./oids.ts";
import { type PaddedCipher, paddedCiphers } from "./padded_ciphers.ts";

/** Iterations that are read at most; OpenSSL writes 2,048, careful programs a million. */
export const MAX_ITERATIONS = 10_000_000;
/** Iterations that are written unless a program says otherwise: a fifth of a second on the machines of today. */
export const DEFAULT_ITERATIONS = 600_000;
/** N times r times p of scrypt that is read at most: memory of 128 MiB, and as much work. OpenSSL writes 131,072. */
const MAX_SCRYPT = 1_048_576;

const hashes: ReadonlyMap<string, string> = new Map([
  ["2a864886f70d0207", "SHA-1"],
  ["2a864886f70d0209", "SHA-256"],
  ["2a864886f70d020a", "SHA-384"],
  ["2a864886f70d020b", "SHA-512"],
]);
/** Ciphers by their object identifiers. */
const ciphers: ReadonlyMap<string, PaddedCipher> = new Map([
  ["60864801650304012a", paddedCiphers.aes256],
  ["608648016503040116", paddedCiphers.aes192],
  ["608648016503040102", paddedCiphers.aes128],
  ["2a864886f70d0307", paddedCiphers.tripleDes],
]);

/** A key derivation, and what it is to be done with. */
type Derivation =
  & { readonly salt: Bytes; readonly keyLength: number | null }
  & (
    | { readonly kind: "pbkdf2"; readonly hash: string; readonly iterations: number }
    | { readonly kind: "scrypt"; readonly n: number; readonly r: number; readonly p: number }
  );

function readKdf(kdf: DerReader, unsupported: (what: string) => Error): Derivation {
  const name = kdf.oid();
  if (name !== OID_PBKDF2 && name !== OID_SCRYPT) throw unsupported("KDF");
  const reader = kdf.nested();
  kdf.end();
  const number = (): number => Number(reader.integer(4));
  const keyLength = (): number | null => reader.tag === Tag.INTEGER ? Number(reader.integer(2)) : null;
  const salt = reader.element(Tag.OCTET_STRING).slice();
  if (name === OID_SCRYPT) {
    const scrypt = { kind: "scrypt" as const, salt, n: number(), r: number(), p: number(), keyLength: keyLength() };
    reader.end();
    return scrypt;
  }
  const pbkdf2 = { kind: "pbkdf2" as const, salt, iterations: number(), keyLength: keyLength() };
  let hash = "SHA-1";
  if (reader.tag === Tag.SEQUENCE) {
    const prf = reader.nested();
    const known = hashes.get(prf.oid());
    if (known === undefined) throw unsupported("hash of its KDF");
    if (prf.remaining > 0) prf.element(Tag.NULL);
    prf.end();
    hash = known;
  }
  reader.end();
  return { ...pbkdf2, hash };
}

/** Refuses what would take too long or too much memory, before anything is begun. */
function checkDerivation(derivation: Derivation): void {
  const { salt } = derivation;
  const refuse = (what: string, allowed: string): Error =>
    unsupportedError(
      `Cannot read encrypted PKCS#8 private key: a salt of ${salt.length} bytes and ${what}, 1 to 64 and ${allowed} are allowed`,
    );
  const saltFits = salt.length >= 1 && salt.length <= 64;
  if (derivation.kind === "pbkdf2") {
    const { iterations } = derivation;
    if (saltFits && iterations >= 1 && iterations <= MAX_ITERATIONS) return;
    throw refuse(`${iterations} iterations`, `1 to ${MAX_ITERATIONS}`);
  }
  const { n, r, p } = derivation, blocks = n * r;
  const isPower = n >= 2 && (n & (n - 1)) === 0;
  if (saltFits && isPower && r >= 1 && p >= 1 && blocks <= MAX_SCRYPT && blocks * p <= MAX_SCRYPT) return;
  throw refuse(`scrypt with N ${n}, r ${r} and p ${p}`, `a power of two with N times r times p up to ${MAX_SCRYPT}`);
}

/** PBKDF2 (RFC 8018 section 5.2). */
export async function deriveBits(
  passphrase: string,
  hash: string,
  salt: Bytes,
  iterations: number,
  length: number,
): Promise<Bytes> {
  const bytes = new TextEncoder().encode(passphrase);
  const secret = await crypto.subtle.importKey("raw", bytes, "PBKDF2", false, ["deriveBits"]);
  bytes.fill(0);
  return new Uint8Array(
    await crypto.subtle.deriveBits({ name: "PBKDF2", hash, salt, iterations }, secret, 8 * length),
  );
}

/** RFC 7914. */
async function scryptKey(
  passphrase: string,
  derivation: Derivation & { kind: "scrypt" },
  length: number,
): Promise<Bytes> {
  // Loaded by the few that need it.
  const { scrypt } = await import("@noble/hashes/scrypt.js");
  const { salt, n, r, p } = derivation;
  return scrypt(new TextEncoder().encode(passphrase), salt, { N: n, r, p, dkLen: length }).slice();
}

/** Decrypts the EncryptedPrivateKeyInfo in `reader` (RFC 5958 section 3). */
export async function decryptPkcs8(reader: DerReader, ask: AskPassphrase | undefined): Promise<Bytes> {
  const unsupported = (what: string) =>
    unsupportedError(
      `Cannot read encrypted PKCS#8 private key: the ${what} is not supported; convert it with "ssh-keygen -p -f FILE"`,
    );
  const scheme = reader.nested();
  if (scheme.oid() !== OID_PBES2) throw unsupported("encryption scheme");
  const parameters = scheme.nested();
  scheme.end();
  const kdf = parameters.nested();
  const derivation = readKdf(kdf, unsupported);
  const encryption = parameters.nested();
  const cipher = ciphers.get(encryption.oid());
  if (cipher === undefined) throw unsupported("cipher");
  const { keyLength, blockSize } = cipher;
  const iv = encryption.element(Tag.OCTET_STRING).slice();
  encryption.end();
  parameters.end();
  const body = reader.element(Tag.OCTET_STRING).slice();
  reader.end();
  const isWhole = body.length > 0 && body.length % blockSize === 0;
  if (iv.length !== blockSize || !isWhole || (derivation.keyLength ?? keyLength) !== keyLength) {
    throw keyFormatError(
      "Cannot read encrypted PKCS#8 private key: its IV, key length or content does not fit the cipher",
    );
  }
  checkDerivation(derivation);
  const passphrase = await ask?.(null);
  if (passphrase === undefined || passphrase === "") {
    throw noPassphrase("Cannot read encrypted PKCS#8 private key: no passphrase was given");
  }
  const key = derivation.kind === "pbkdf2"
    ? await deriveBits(passphrase, derivation.hash, derivation.salt, derivation.iterations, keyLength)
    : await scryptKey(passphrase, derivation, keyLength);
  try {
    const plain = await cipher.decrypt(key, iv, body);
    if (plain === null) throw wrongPassphrase("Cannot decrypt PKCS#8 private key: the passphrase is wrong");
    return plain;
  } finally {
    key.fill(0);
  }
}
