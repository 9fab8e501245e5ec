/**
 * Decrypts PEM whose headers say how it is encrypted, as `ssh-keygen -m PEM` writes it to this day. RFC 1421 section 4.6.1, with
 * the ciphers and the key derivation of OpenSSL: the passphrase and eight bytes of the IV through MD5, once. It is read only.
 *
 * @module
 */
import { printable } from "../../errors.ts";
import { nodeMd5 } from "../../crypto/node_crypto.ts";
import { fromHex } from "../../wire/base_text.ts";
import type { Bytes } from "../../wire/types.ts";
import { keyFormatError, noPassphrase, unsupported, wrongPassphrase } from "./format_error.ts";
import type { AskPassphrase } from "../passphrase.ts";
import { type PaddedCipher, paddedCiphers } from "./padded_ciphers.ts";

const FAILED = "Cannot read encrypted PEM private key";

/** Ciphers by their names in the header. */
const ciphers: ReadonlyMap<string, PaddedCipher> = new Map([
  ["AES-128-CBC", paddedCiphers.aes128],
  ["AES-192-CBC", paddedCiphers.aes192],
  ["AES-256-CBC", paddedCiphers.aes256],
  ["DES-EDE3-CBC", paddedCiphers.tripleDes],
]);

/** Decrypts the content of a block with such headers. What a wrong passphrase gives may be nonsense. */
export async function decryptPem(
  headers: ReadonlyMap<string, string>,
  body: Uint8Array,
  ask: AskPassphrase | undefined,
): Promise<Bytes> {
  const [name = "", hex = ""] = (headers.get("dek-info") ?? "").split(",").map((part) => part.trim());
  const cipher = ciphers.get(name.toUpperCase());
  if (cipher === undefined) {
    throw unsupported(
      `${FAILED}: the cipher "${printable(name, 40)}" is not supported; convert it with "ssh-keygen -p -f FILE"`,
    );
  }
  const { keyLength, blockSize } = cipher;
  if (hex.length !== 2 * blockSize || !/^[0-9a-f]*$/i.test(hex)) {
    throw keyFormatError(`${FAILED}: its IV does not fit the cipher`);
  }
  if (body.length === 0 || body.length % blockSize !== 0) {
    throw keyFormatError(`${FAILED}: its content is no whole number of blocks`);
  }
  const passphrase = await ask?.(null);
  if (passphrase === undefined || passphrase === "") throw noPassphrase(`${FAILED}: no passphrase was given`);
  const iv = fromHex(hex);
  const key = keyFrom(new TextEncoder().encode(passphrase), iv.subarray(0, 8), keyLength);
  try {
    const plain = await cipher.decrypt(key, iv, body.slice());
    if (plain === null) throw wrongPassphrase("Cannot decrypt PEM private key: the passphrase is wrong");
    return plain;
  } finally {
    key.fill(0);
  }
}

/** As many bytes of key as are needed: each sixteen of them are a hash of those before, the passphrase and the salt. */
function keyFrom(passphrase: Uint8Array, salt: Uint8Array, length: number): Bytes {
  const key = new Uint8Array(length);
  let last: Uint8Array = new Uint8Array(0);
  for (let at = 0; at < length; at += last.length) {
    const digest = nodeMd5(last, passphrase, salt);
    if (digest === null) {
      throw unsupported(`${FAILED}: this runtime has no MD5; convert it with "ssh-keygen -p -f FILE"`);
    }
    last = digest;
    key.set(last.subarray(0, length - at), at);
  }
  return key;
}
