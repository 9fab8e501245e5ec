/**
 * The OpenSSH private key format. OpenSSH PROTOCOL.key. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { printable } from "../../errors.ts";
import { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import { Writer } from "../../wire/writer.ts";
import { aes256Ctr, type FileCipher, fileCiphers } from "./file_ciphers.ts";
import { keyFormatError, noPassphrase, parsing, unsupported, wrongPassphrase } from "./format_error.ts";
import { armour } from "./pem.ts";
import { commentText } from "../key_text.ts";
import type { AskPassphrase } from "../passphrase.ts";
import { publicBlobOf } from "../key_material.ts";
import { type KeyMaterial, privateFormOf, typeOfMaterial } from "../key_types.ts";
import { publicKeyFromBlob } from "../public_key.ts";
import type { RsaKeyOptions } from "../rsa_public.ts";
import type { PublicKey } from "../types.ts";

/** "openssh-key-v1" and a NUL. */
const MAGIC = new TextEncoder().encode("openssh-key-v1\0");
/** Rounds of bcrypt_pbkdf that are read at most: each costs milliseconds of this thread. */
export const MAX_ROUNDS = 2048;
/** Rounds that are written unless a program says otherwise; what ssh-keygen writes since OpenSSH 9.4. */
export const DEFAULT_ROUNDS = 24;

/** Room for the components of any key, with its lengths, check numbers and padding. */
const MAX_MATERIAL = 12_288;

const CONVERT = 'convert it with "ssh-keygen -p -f FILE"';

const FAILED = "Cannot read OpenSSH private key";

const fail = (what: string) => keyFormatError(`${FAILED}: ${what}`);

/** What can be read from a file without its passphrase. */
export interface Envelope {
  /** The public half, in clear. */
  readonly publicKey: PublicKey;
  /** Whether a passphrase is needed. */
  readonly encrypted: boolean;
  /** The cipher, or null for none. */
  readonly cipher: FileCipher | null;
  /** Salt of bcrypt_pbkdf; empty without a cipher. */
  readonly salt: Bytes;
  /** Rounds of bcrypt_pbkdf; 0 without a cipher. */
  readonly rounds: number;
  /** The private part, as it stands in the file. */
  readonly body: Bytes;
  /** Its tag, for ciphers that have one. */
  readonly tag: Bytes;
}

/** Reads the part in clear from the bytes inside the PEM armour. */
export function readEnvelope(bytes: Uint8Array, options: RsaKeyOptions): Envelope {
  return parsing(FAILED, () => {
    const reader = new Reader(bytes);
    if (reader.remaining < MAGIC.length || !equals(reader.rawView(MAGIC.length), MAGIC)) {
      throw fail('it does not begin with "openssh-key-v1"');
    }
    const cipherName = reader.ascii(), kdf = reader.ascii();
    const kdfOptions = new Reader(reader.view());
    const count = reader.u32();
    if (count !== 1) throw unsupported(`${FAILED}: it holds ${count} keys, 1 is supported`);
    const cipher = fileCiphers.get(cipherName) ?? null;
    if (cipher === null && cipherName !== "none") {
      throw unsupported(`${FAILED}: the cipher "${printable(cipherName, 64)}" is not supported; ${CONVERT}`);
    }
    if (kdf !== "none" && kdf !== "bcrypt") {
      throw unsupported(`${FAILED}: the KDF "${printable(kdf, 64)}" is not supported; ${CONVERT}`);
    }
    if ((kdf === "none") !== (cipher === null)) {
      throw fail(`cipher "${cipherName}" with KDF "${kdf}"`);
    }
    const salt = kdf === "none" ? new Uint8Array(0) : kdfOptions.string();
    const rounds = kdf === "none" ? 0 : kdfOptions.u32();
    kdfOptions.end();
    if (kdf !== "none" && (rounds < 1 || rounds > MAX_ROUNDS)) {
      throw unsupported(`${FAILED}: ${rounds} rounds of bcrypt, 1 to ${MAX_ROUNDS} are allowed`);
    }
    if (kdf !== "none" && (salt.length < 1 || salt.length > 64)) {
      throw fail(`a salt of ${salt.length} bytes, 1 to 64 are allowed`);
    }
    const publicKey = publicKeyFromBlob(reader.view(), options);
    const body = reader.string();
    const tag = reader.raw(cipher?.tagLength ?? 0);
    reader.end();
    const block = cipher?.blockSize ?? 8;
    if (body.length === 0 || body.length % block !== 0) {
      throw fail(`${body.length} bytes are no whole number of blocks`);
    }
    return { publicKey, encrypted: cipher !== null, cipher, salt, rounds, body, tag };
  });
}

/** Decrypts and reads the private part. The material is not checked yet. */
export async function readPrivatePart(
  envelope: Envelope,
  ask: AskPassphrase | undefined,
): Promise<{ material: KeyMaterial; comment: string }> {
  const { cipher } = envelope;
  if (cipher === null) {
    const damaged = () => keyFormatError("Cannot decrypt OpenSSH private key: its check numbers differ");
    return readSection(envelope.body, envelope.publicKey, damaged);
  }
  const passphrase = await ask?.(envelope.publicKey);
  if (passphrase === undefined || passphrase === "") {
    throw noPassphrase(`${FAILED}: it is encrypted and no passphrase was given`);
  }
  const keys = await deriveKeys(passphrase, envelope.salt, envelope.rounds, cipher);
  const section = await cipher.decrypt(keys.key, keys.iv, envelope.body, envelope.tag);
  const wrong = () => wrongPassphrase("Cannot decrypt OpenSSH private key: the passphrase is wrong");
  if (section === null) throw wrong();
  try {
    return readSection(section, envelope.publicKey, wrong);
  } finally {
    section.fill(0);
  }
}

async function deriveKeys(
  passphrase: string,
  salt: Uint8Array,
  rounds: number,
  cipher: FileCipher,
): Promise<{ key: Bytes; iv: Bytes }> {
  // The cost is paid only by programs that meet an encrypted key, and so is the loading.
  const { bcryptPbkdf } = await import("./bcrypt_pbkdf.ts");
  const derived = await bcryptPbkdf(
    new TextEncoder().encode(passphrase),
    salt,
    cipher.keyLength + cipher.ivLength,
    rounds,
  );
  return { key: derived.slice(0, cipher.keyLength), iv: derived.slice(cipher.keyLength) };
}

function readSection(
  section: Uint8Array,
  publicKey: PublicKey,
  whenChecksDiffer: () => Error,
): { material: KeyMaterial; comment: string } {
  return parsing(FAILED, () => {
    const reader = new Reader(section);
    if (reader.u32() !== reader.u32()) throw whenChecksDiffer();
    const material = privateFormOf(reader.ascii()).read(reader);
    const comment = commentText(reader.view());
    for (let i = 1; reader.remaining > 0; i++) {
      if (reader.u8() !== (i & 0xff)) throw fail("its padding is wrong");
    }
    if (!equals(publicBlobOf(material), publicKey.blob)) {
      throw fail("its public and private parts are of different keys");
    }
    return { material, comment };
  });
}

function writeSection(material: KeyMaterial, comment: string, blockSize: number): Bytes {
  const check = crypto.getRandomValues(new Uint8Array(4));
  const text = new TextEncoder().encode(comment);
  // Room for all of it from the start: a buffer that grows would leave copies of the secret behind.
  const writer = new Writer(MAX_MATERIAL + text.length).raw(check).raw(check);
  const type = typeOfMaterial(material);
  type.private.write(writer.text(type.name), material);
  writer.string(text);
  for (let i = 1; writer.length % blockSize !== 0; i++) writer.u8(i);
  return writer.bytes();
}

function envelope(cipher: string, kdf: string, options: Uint8Array, material: KeyMaterial, body: Uint8Array): string {
  const writer = new Writer(MAX_MATERIAL + options.length + body.length).raw(MAGIC).text(cipher).text(kdf).string(
    options,
  );
  return armour("OPENSSH PRIVATE KEY", writer.u32(1).string(publicBlobOf(material)).string(body).bytes(), 70);
}

/** Writes a key that is not encrypted. */
export function writePlain(material: KeyMaterial, comment: string): string {
  return envelope("none", "none", new Uint8Array(0), material, writeSection(material, comment, 8));
}

/** Writes a key encrypted with bcrypt_pbkdf and aes256-ctr, as ssh-keygen does. */
export async function writeEncrypted(
  material: KeyMaterial,
  comment: string,
  passphrase: string,
  rounds: number,
): Promise<string> {
  const cipher = aes256Ctr;
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const { key, iv } = await deriveKeys(passphrase, salt, rounds, cipher);
  const body = await cipher.encrypt(key, iv, writeSection(material, comment, cipher.blockSize));
  const options = new Writer().string(salt).u32(rounds).bytes();
  return envelope("aes256-ctr", "bcrypt", options, material, body);
}
