/**
 * Encrypted PKCS#8: PBES2 with PBKDF2 and AES or triple DES in CBC mode. RFC 8018 appendices A.2, A.4 and B.2.5. No I/O.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { type DerReader, Tag } from "./der.ts";
import { keyFormatError } from "./format_error.ts";
import { type PaddedCipher, paddedCiphers } from "./padded_ciphers.ts";

/** Iterations that are read at most; OpenSSL writes 2,048, careful programs a million. */
const MAX_ITERATIONS = 10_000_000;

const OID_PBES2 = "2a864886f70d01050d";
const OID_PBKDF2 = "2a864886f70d01050c";
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

/** Decrypts the EncryptedPrivateKeyInfo in `reader` (RFC 5958 section 3). */
export async function decryptPkcs8(reader: DerReader, passphrase: string | undefined): Promise<Bytes> {
  const unsupported = (what: string) =>
    keyFormatError(
      `Cannot read encrypted PKCS#8 private key: the ${what} is not supported; convert it with "ssh-keygen -p -f FILE"`,
    );
  const scheme = reader.nested();
  if (scheme.oid() !== OID_PBES2) throw unsupported("encryption scheme");
  const parameters = scheme.nested();
  scheme.end();
  const kdf = parameters.nested();
  if (kdf.oid() !== OID_PBKDF2) throw unsupported("KDF");
  const pbkdf2 = kdf.nested();
  const salt = pbkdf2.element(Tag.OCTET_STRING).slice();
  const iterations = Number(pbkdf2.integer(4));
  const statedLength = pbkdf2.tag === Tag.INTEGER ? Number(pbkdf2.integer(2)) : null;
  let hash = "SHA-1";
  if (pbkdf2.tag === Tag.SEQUENCE) {
    const prf = pbkdf2.nested();
    const name = hashes.get(prf.oid());
    if (name === undefined) throw unsupported("hash of its KDF");
    if (prf.remaining > 0) prf.element(Tag.NULL);
    prf.end();
    hash = name;
  }
  pbkdf2.end();
  kdf.end();
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
  if (iv.length !== blockSize || !isWhole || (statedLength ?? keyLength) !== keyLength) {
    throw keyFormatError(
      "Cannot read encrypted PKCS#8 private key: its IV, key length or content does not fit the cipher",
    );
  }
  if (salt.length < 1 || salt.length > 64 || iterations < 1 || iterations > MAX_ITERATIONS) {
    throw keyFormatError(
      `Cannot read encrypted PKCS#8 private key: a salt of ${salt.length} bytes and ${iterations} iterations, 1 to 64 and 1 to ${MAX_ITERATIONS} are allowed`,
    );
  }
  if (passphrase === undefined || passphrase === "") {
    throw keyFormatError("Cannot read encrypted PKCS#8 private key: no passphrase was given");
  }
  const secret = await crypto.subtle.importKey("raw", new TextEncoder().encode(passphrase), "PBKDF2", false, [
    "deriveBits",
  ]);
  const key = new Uint8Array(
    await crypto.subtle.deriveBits({ name: "PBKDF2", hash, salt, iterations }, secret, 8 * keyLength),
  );
  try {
    const plain = await cipher.decrypt(key, iv, body);
    if (plain === null) throw keyFormatError("Cannot decrypt PKCS#8 private key: the passphrase is wrong");
    return plain;
  } finally {
    key.fill(0);
  }
}
