/**
 * OpenSSH certificates: reading one, and whether its CA has signed it. draft-miller-ssh-cert, OpenSSH PROTOCOL.certkeys. No I/O. Whether one
 * holds for somebody is for trust/certificate_rules.ts to say.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import { decodeText } from "../wire/byte_text.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { keyFormatError, parsing } from "./format/format_error.ts";
import { keyCharacters, type KeyText, looksLikePath, pathHint } from "./key_text.ts";
import { type CertificateType, certificateTypes } from "./key_types.ts";
import { decodeBase64, publicKeyFromBlob, publicKeyLine, signatureAlgorithm, verifyWith } from "./public_key.ts";
import type { RsaKeyOptions } from "./rsa_public.ts";
import type { Certificate, PublicKey } from "./types.ts";

/** Longest certificate that is looked at. */
export const MAX_CERTIFICATE = 32_768;
/** Most principals of one, as OpenSSH has it. */
export const MAX_PRINCIPALS = 256;
/** The end of time. */
export const FOREVER = 0xffff_ffff_ffff_ffffn;
/** Kinds by their numbers. */
export const KINDS = { user: 1, host: 2 } as const;
/** Milliseconds that a Date can hold. */
const LAST_DATE = 8.64e15;

const WHAT = "Cannot read certificate";
const fail = (why: string, cause?: unknown): SshError => keyFormatError(`${WHAT}: ${why}`, cause);

/** An option as it stands there: its data is a string within a string, or empty. */
export type RawOption = readonly [name: string, data: Bytes];

/** What a certificate says, to the bit. */
export interface CertificateFields {
  readonly kind: Certificate["kind"];
  readonly publicKey: PublicKey;
  readonly serial: bigint;
  readonly keyId: string;
  readonly principals: readonly string[];
  /** Seconds since 1970. */
  readonly validAfter: bigint;
  /** Seconds since 1970; {@linkcode FOREVER} is never. */
  readonly validBefore: bigint;
  readonly criticalOptions: readonly RawOption[];
  readonly extensions: readonly RawOption[];
  readonly signedBy: PublicKey;
  /** What the CA signed. */
  readonly signed: Bytes;
  /** Its signature blob. */
  readonly signature: Bytes;
}

/** What is in a string of an option's data: the text, or null where that is not one string and nothing else. */
export function optionValue(data: Uint8Array): string | null {
  const reader = new Reader(data);
  if (!reader.hasString) return null;
  const text = decodeText(reader.view());
  return reader.remaining === 0 ? text : null;
}

/** Options as a program sees them: the first of each name counts. */
function optionMap(options: readonly RawOption[]): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  for (const [name, data] of options) if (!map.has(name)) map.set(name, optionValue(data) ?? decodeText(data));
  return map;
}

function dateOf(seconds: bigint): Date {
  return new Date(Math.min(Number(seconds) * 1000, LAST_DATE));
}

/** A public key that comes with a certificate. Nothing says yet that the CA has signed it: {@linkcode checkCertificate} does. */
export class CertifiedKey implements PublicKey {
  readonly type: string;
  /** What it says, for those who decide. */
  readonly fields: CertificateFields;
  readonly certificate: Certificate;
  readonly #blob: Bytes;
  #signed: Promise<boolean> | undefined;

  /** Made by {@linkcode anyKeyFromBlob} alone. */
  constructor(type: string, blob: Bytes, fields: CertificateFields) {
    this.type = type;
    this.fields = fields;
    this.#blob = blob;
    const { kind, publicKey, keyId, serial, principals, validAfter, validBefore, signedBy } = fields;
    this.certificate = Object.freeze({
      kind,
      publicKey,
      keyId,
      serial,
      principals: Object.freeze([...principals]),
      validAfter: dateOf(validAfter),
      validBefore: validBefore === FOREVER ? null : dateOf(validBefore),
      signedBy,
      criticalOptions: optionMap(fields.criticalOptions),
      extensions: optionMap(fields.extensions),
    });
  }

  get blob(): Bytes {
    return this.#blob.slice();
  }

  fingerprint(): Promise<string> {
    return this.fields.publicKey.fingerprint();
  }

  toString(): string {
    return publicKeyLine(this);
  }

  verify(data: Uint8Array, signature: Uint8Array): Promise<boolean> {
    return this.fields.publicKey.verify(data, signature);
  }

  /** Whether the signature is the CA's; one with SHA-1 never is. */
  isSigned(): Promise<boolean> {
    return this.#signed ??= isSigned(this.fields);
  }
}

async function isSigned({ signedBy, signed, signature }: CertificateFields): Promise<boolean> {
  return await verifyWith(signedBy, signatureAlgorithm(signature), signed, signature);
}

/** Throws `KEY_FORMAT` for a certificate that its CA has not signed; any other key is left alone. */
export async function checkCertificate(key: PublicKey): Promise<void> {
  if (!(key instanceof CertifiedKey) || await key.isSigned()) return;
  const { signedBy, signature } = key.fields;
  const ca = `${signedBy.type} ${await signedBy.fingerprint()}`;
  throw fail(`its signature (${printable(signatureAlgorithm(signature), 64)}) is not one of its CA's, ${ca}`);
}

/** Strings in a string. None holds a NUL: what reads them as C does would see another one. */
function readStrings(reader: Reader, what: string): string[] {
  const inner = new Reader(reader.view()), strings: string[] = [];
  while (inner.remaining > 0) {
    if (strings.length === MAX_PRINCIPALS) throw fail(`it has more than ${MAX_PRINCIPALS} ${what}s`);
    strings.push(readString(inner, what));
  }
  return strings;
}

function readString(reader: Reader, what: string): string {
  const bytes = reader.view();
  if (bytes.includes(0)) throw fail(`its ${what} holds a NUL`);
  return decodeText(bytes);
}

/** Options by name. OpenSSH bears them out of order, and so does this. */
function readOptions(reader: Reader, what: string): RawOption[] {
  const inner = new Reader(reader.view()), options: RawOption[] = [];
  while (inner.remaining > 0) options.push([readString(inner, what), inner.string()]);
  return options;
}

function readKind(number: number): Certificate["kind"] {
  if (number === KINDS.user) return "user";
  if (number === KINDS.host) return "host";
  throw fail(`it is of kind ${number}, and 1 (user) and 2 (host) are known`);
}

/** A key that stands in a certificate, with what it is there in an error's message. */
function readInner(what: string, blob: Uint8Array, rsa: RsaKeyOptions): PublicKey {
  try {
    return publicKeyFromBlob(blob, rsa);
  } catch (cause) {
    if (cause instanceof SshError) throw fail(`${what}: ${cause.message}`, cause);
    throw cause;
  }
}

function readFields(type: CertificateType, bytes: Bytes, reader: Reader, rsa: RsaKeyOptions): CertificateFields {
  reader.view();
  const from = bytes.length - reader.remaining;
  // How long the key is, its own reader knows; what it makes of a weak one is told below.
  type.plain.readPublic(reader, 0);
  const plain = new Writer(4 + type.plain.name.length + bytes.length).text(type.plain.name)
    .raw(bytes.subarray(from, bytes.length - reader.remaining)).bytes();
  const publicKey = readInner("its key", plain, rsa);
  const serial = reader.u64(), kind = readKind(reader.u32()), keyId = readString(reader, "key ID");
  const principals = readStrings(reader, "principal");
  const validAfter = reader.u64(), validBefore = reader.u64();
  const criticalOptions = readOptions(reader, "critical option"), extensions = readOptions(reader, "extension");
  if (new Set(criticalOptions.map(([name]) => name)).size < criticalOptions.length) {
    throw fail("a critical option stands twice");
  }
  reader.view();
  const ca = reader.view();
  // What signs certificates is a plain key: nobody has to follow a chain.
  const signedBy = readInner("its CA's key", ca, rsa);
  const signed = bytes.slice(0, bytes.length - reader.remaining), signature = reader.string();
  reader.end();
  signatureAlgorithm(signature);
  return {
    ...{ kind, publicKey, serial, keyId, principals, validAfter, validBefore, criticalOptions, extensions },
    ...{ signedBy, signed, signature },
  };
}

/**
 * Reads a public key, or one with its certificate, from its wire encoding; throws `KEY_FORMAT` as `publicKeyFromBlob()` does. The signature
 * of a certificate is not checked.
 */
export function anyKeyFromBlob(blob: Uint8Array, rsa: RsaKeyOptions = {}): PublicKey {
  return certifiedKeyFromBlob(blob, rsa) ?? publicKeyFromBlob(blob, rsa);
}

/** The same for a certificate alone; null for what does not say that it is one. */
function certifiedKeyFromBlob(blob: Uint8Array, rsa: RsaKeyOptions): CertifiedKey | null {
  return parsing(WHAT, () => {
    const start = new Reader(blob);
    const name = start.hasString ? decodeText(start.view()) : "", type = certificateTypes.get(name);
    if (type === undefined) return null;
    if (blob.length > MAX_CERTIFICATE) throw fail(`it is longer than ${MAX_CERTIFICATE} bytes`);
    const bytes = blob.slice() as Bytes, reader = new Reader(bytes);
    reader.view();
    return new CertifiedKey(name, bytes, readFields(type, bytes, reader, rsa));
  });
}

/** Reads the line of a certificate, without a look at its signature. */
export function certifiedKeyFromText(text: KeyText, rsa: RsaKeyOptions = {}): CertifiedKey {
  const lines = keyCharacters(WHAT, text).split(/\r\n|\r|\n/).map((line) => line.trim()).filter((line) => line !== "");
  const first = lines[0];
  if (first === undefined) throw fail("the text is empty");
  if (lines.length !== 1) throw fail(`${lines.length} lines where one is expected`);
  const [type, base64] = first.split(/[ \t]+/);
  if (base64 === undefined || looksLikePath(first)) {
    throw fail(`it is not of the form "type base64 comment"${pathHint(first)}`);
  }
  const key = certifiedKeyFromBlob(decodeBase64(base64, WHAT), rsa);
  if (key === null) throw fail(`the text is of type "${printable(type!, 64)}", which is no certificate's`);
  if (key.type !== type) throw fail(`the line says "${printable(type!, 64)}" and holds one of type ${key.type}`);
  return key;
}

/**
 * Reads the line of a certificate, as a file `…-cert.pub` holds it, and checks that its CA has signed it. Whether it holds for somebody at
 * this time, and whether the CA is to be trusted, is not asked.
 *
 * Throws `SshError` with code `KEY_FORMAT` for anything else, a signature with SHA-1, an RSA key below 2,048 bits, and a CA that is itself a
 * certificate.
 */
export async function parseCertificate(text: KeyText, options: RsaKeyOptions = {}): Promise<Certificate> {
  const key = certifiedKeyFromText(text, options);
  await checkCertificate(key);
  return key.certificate;
}
