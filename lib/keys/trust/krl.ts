/**
 * Key revocation lists: what one says, and whether it revokes a key. OpenSSH PROTOCOL.krl. No I/O.
 *
 * A list that cannot be read whole revokes nothing that could be told, and so nobody may go on with it: reading throws.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { digest } from "../../crypto/hash.ts";
import type { SshError } from "../../errors.ts";
import { fromBase64, toBase64 } from "../../wire/base_text.ts";
import { decodeText } from "../../wire/byte_text.ts";
import { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import { keyFormatError, parsing } from "../format/format_error.ts";
import { publicKeyFromBlob } from "../public_key.ts";
import { RSA_BITS } from "../rsa_public.ts";
import type { PublicKey } from "../types.ts";
import { howToRead } from "../user_files.ts";

/** `SSHKRL`, a line break and a NUL. */
export const KRL_MAGIC: Bytes = new TextEncoder().encode("SSHKRL\n\0");
/** The format's only version. */
export const KRL_FORMAT = 1;

/** Types of sections. */
export const Section = {
  CERTIFICATES: 1,
  EXPLICIT_KEY: 2,
  FINGERPRINT_SHA1: 3,
  SIGNATURE: 4,
  FINGERPRINT_SHA256: 5,
  EXTENSION: 255,
} as const;

/** Types of sections within one of certificates. */
export const CertSection = {
  SERIAL_LIST: 0x20,
  SERIAL_RANGE: 0x21,
  SERIAL_BITMAP: 0x22,
  KEY_ID: 0x23,
  EXTENSION: 0x39,
} as const;

/** Bytes of a list that are read at most. */
export const MAX_KRL = 16_777_216;
/** Bytes of a bitmap, as OpenSSH has it. */
export const MAX_BITMAP = 2048;

const MAX_SERIAL = 0xffff_ffff_ffff_ffffn;

const WHAT = "Cannot read key revocation list";
const fail = (why: string): SshError => keyFormatError(`${WHAT}: ${why}`);

/** A serial number, or the first and the last of several in a row. */
export type SerialRange = bigint | readonly [from: bigint, to: bigint];

/** Certificates that are revoked. */
export interface RevokedCertificates {
  /** Who signed them; null for whoever did. */
  readonly ca: PublicKey | null;
  /** Their serial numbers, from 1 on. @default {none} */
  readonly serials?: Iterable<SerialRange> | undefined;
  /** Their key IDs. @default {none} */
  readonly keyIds?: Iterable<string> | undefined;
}

/** What a key revocation list says. */
export interface KrlContent {
  /** Its number, which grows with each list of a series. @default {0n} */
  readonly version?: bigint | undefined;
  /** When it was made. @default {now} */
  readonly generated?: Date | undefined;
  /** What it is. @default {""} */
  readonly comment?: string | undefined;
  /**
   * Keys, or their wire encodings, those of certificates for the keys in them; a key that has signed certificates revokes those, too.
   * @default {none}
   */
  readonly keys?: Iterable<PublicKey | Uint8Array> | undefined;
  /** Keys by their fingerprints, `SHA256:…` or `SHA1:…`. @default {none} */
  readonly fingerprints?: Iterable<string> | undefined;
  /** Certificates. @default {none} */
  readonly certificates?: Iterable<RevokedCertificates> | undefined;
}

/** A key revocation list that was read. Each of its iterables can be gone through again. */
export interface Krl {
  /** Its number. */
  readonly version: bigint;
  /** When it was made. */
  readonly generated: Date;
  /** What it is. */
  readonly comment: string;
  /** Wire encodings of keys. */
  readonly keys: Iterable<Uint8Array>;
  /** Fingerprints of keys. */
  readonly fingerprints: Iterable<string>;
  /** Certificates. */
  readonly certificates: readonly RevokedCertificates[];
  /** Why it revokes a key, or the certificate of one; null where it does not. */
  revocation(key: PublicKey): Promise<string | null>;
}

/** Serial numbers as a section has them. */
type Serials =
  | { readonly list: readonly bigint[] }
  | { readonly from: bigint; readonly to: bigint }
  | { readonly offset: bigint; readonly bitmap: Bytes };

interface Certificates {
  readonly ca: PublicKey | null;
  readonly serials: Serials[];
  readonly keyIds: Set<string>;
}

function readBitmap(reader: Reader): Serials {
  const offset = reader.u64(), bytes = reader.view();
  if (bytes[0]! >= 0x80) throw fail("a bitmap is negative");
  const start = bytes.findIndex((byte) => byte !== 0),
    bitmap = (start < 0 ? new Uint8Array(0) : bytes.slice(start)) as Bytes;
  if (bitmap.length > MAX_BITMAP) throw fail(`a bitmap has more than ${MAX_BITMAP} bytes`);
  const bits = bitmap.length === 0 ? 0 : 8 * bitmap.length - Math.clz32(bitmap[0]!) + 24;
  if (bits > 0 && offset + BigInt(bits) - 1n > MAX_SERIAL) throw fail("a bitmap goes beyond the last serial number");
  if (offset === 0n && bits > 0 && (bitmap.at(-1)! & 1) !== 0) throw fail("serial number 0 cannot be revoked");
  return { offset, bitmap };
}

function readSerials(type: number, reader: Reader): Serials {
  if (type === CertSection.SERIAL_BITMAP) return readBitmap(reader);
  if (type === CertSection.SERIAL_RANGE) {
    const from = reader.u64(), to = reader.u64();
    if (from === 0n) throw fail("serial number 0 cannot be revoked");
    if (from > to) throw fail("a range of serial numbers ends before it begins");
    return { from, to };
  }
  const list: bigint[] = [];
  while (reader.remaining > 0) list.push(reader.u64());
  if (list.includes(0n)) throw fail("serial number 0 cannot be revoked");
  return { list: list.sort((a, b) => a < b ? -1 : a > b ? 1 : 0) };
}

/** Passes over an extension that is not known, unless it says that nobody may. */
function readExtension(reader: Reader): void {
  reader.view();
  if (reader.bool()) throw fail("it has a critical extension that is not known");
  reader.view();
}

function readCertificates(reader: Reader): Certificates {
  const blob = reader.view();
  reader.view();
  const ca = blob.length === 0 ? null : publicKeyFromBlob(blob, { insecureMinRsaBits: RSA_BITS.insecureMin });
  const serials: Serials[] = [], keyIds = new Set<string>();
  while (reader.remaining > 0) {
    const type = reader.u8(), inner = new Reader(reader.view());
    if (type === CertSection.KEY_ID) { while (inner.remaining > 0) keyIds.add(decodeText(inner.view())); }
    else if (type === CertSection.EXTENSION) readExtension(inner);
    else if (type >= CertSection.SERIAL_LIST && type <= CertSection.SERIAL_BITMAP) {
      serials.push(readSerials(type, inner));
    } else throw fail(`it has a section of certificates of type ${type}, which is not known`);
    inner.end();
  }
  return { ca, serials, keyIds };
}

/** Whether a bit of a bitmap is set; the last bit of the last byte is bit 0. */
function bitAt(bitmap: Uint8Array, bit: number): boolean {
  return (bitmap[bitmap.length - 1 - (bit >> 3)]! >> (bit & 7) & 1) === 1;
}

function has(serials: Serials, serial: bigint): boolean {
  if ("from" in serials) return serial >= serials.from && serial <= serials.to;
  if ("bitmap" in serials) {
    const at = serial - serials.offset;
    return at >= 0n && at < BigInt(8 * serials.bitmap.length) && bitAt(serials.bitmap, Number(at));
  }
  const { list } = serials;
  let low = 0, high = list.length;
  while (low < high) {
    const middle = low + high >> 1;
    if (list[middle]! < serial) low = middle + 1;
    else high = middle;
  }
  return list[low] === serial;
}

function* numbersOf(all: readonly Serials[]): Generator<SerialRange> {
  for (const serials of all) {
    if ("list" in serials) yield* serials.list;
    else if ("from" in serials) yield [serials.from, serials.to];
    else {
      for (let bit = 0; bit < 8 * serials.bitmap.length; bit++) {
        if (bitAt(serials.bitmap, bit)) yield serials.offset + BigInt(bit);
      }
    }
  }
}

class ReadKrl implements Krl {
  readonly version: bigint;
  readonly generated: Date;
  readonly comment: string;
  readonly #keys = new Set<string>();
  readonly #sha1 = new Set<string>();
  readonly #sha256 = new Set<string>();
  readonly #certificates: Certificates[] = [];
  readonly #signatures: { readonly key: PublicKey; readonly signed: Uint8Array; readonly signature: Uint8Array }[] = [];

  constructor(bytes: Uint8Array) {
    const reader = new Reader(bytes, KRL_MAGIC.length);
    const format = reader.u32();
    if (format !== KRL_FORMAT) throw fail(`it is of format ${format}, and ${KRL_FORMAT} is known`);
    this.version = reader.u64();
    this.generated = new Date(Number(reader.u64()) * 1000);
    // Flags, of which none is known, and what is reserved.
    reader.u64();
    reader.view();
    this.comment = decodeText(reader.view());
    while (reader.remaining > 0) this.#section(reader.u8(), reader, bytes);
  }

  /**
   * Checks what the list is signed with, where it is, as OpenSSH did as long as it looked: each signature has to be right, and one of the keys
   * not revoked by the list itself. Whose they are nobody asks.
   */
  async check(): Promise<void> {
    let sound = this.#signatures.length === 0;
    for (const { key, signed, signature } of this.#signatures) {
      if (!await key.verify(signed, signature)) throw fail("its signature is not one of the key that it names");
      sound ||= await this.revocation(key) === null;
    }
    if (!sound) throw fail("it revokes each of the keys that signed it");
  }

  #signature(reader: Reader, bytes: Uint8Array): void {
    const key = publicKeyFromBlob(reader.view(), { insecureMinRsaBits: RSA_BITS.insecureMin });
    const signed = bytes.slice(0, bytes.length - reader.remaining), signature = reader.string();
    if (this.#signatures.some((one) => equals(one.key.blob, key.blob))) throw fail("a key has signed it twice");
    this.#signatures.push({ key, signed, signature });
  }

  #section(type: number, reader: Reader, bytes: Uint8Array): void {
    if (type === Section.SIGNATURE) return this.#signature(reader, bytes);
    if (this.#signatures.length > 0) throw fail("it goes on behind its signature");
    const inner = new Reader(reader.view());
    if (type === Section.CERTIFICATES) this.#certificates.push(readCertificates(inner));
    else if (type === Section.EXPLICIT_KEY) readBlobs(inner, this.#keys);
    else if (type === Section.FINGERPRINT_SHA1) readBlobs(inner, this.#sha1, 20);
    else if (type === Section.FINGERPRINT_SHA256) readBlobs(inner, this.#sha256, 32);
    else if (type === Section.EXTENSION) readExtension(inner);
    else throw fail(`it has a section of type ${type}, which is not known`);
    inner.end();
  }

  *#all<T>(from: Iterable<string>, make: (text: string) => T): Generator<T> {
    for (const text of from) yield make(text);
  }

  get keys(): Iterable<Uint8Array> {
    return { [Symbol.iterator]: () => this.#all(this.#keys, (text) => fromBase64(text)) };
  }

  get fingerprints(): Iterable<string> {
    const sha1 = this.#sha1, sha256 = this.#sha256;
    return {
      *[Symbol.iterator]() {
        for (const text of sha1) yield `SHA1:${text.replaceAll("=", "")}`;
        for (const text of sha256) yield `SHA256:${text.replaceAll("=", "")}`;
      },
    };
  }

  get certificates(): readonly RevokedCertificates[] {
    return this.#certificates.map(({ ca, serials, keyIds }) => ({
      ca,
      serials: { [Symbol.iterator]: () => numbersOf(serials) },
      keyIds: { [Symbol.iterator]: () => keyIds.values() },
    }));
  }

  async revocation(key: PublicKey): Promise<string | null> {
    const { certificate } = key;
    if (await this.#revokes((certificate?.publicKey ?? key).blob)) return "the key is revoked";
    if (certificate === undefined) return null;
    const { signedBy, serial, keyId } = certificate, ca = signedBy.blob;
    if (await this.#revokes(ca)) return "the key of its certificate's CA is revoked";
    for (const revoked of this.#certificates) {
      if (revoked.ca !== null && !equals(revoked.ca.blob, ca)) continue;
      if (revoked.keyIds.has(keyId)) return "the key ID of its certificate is revoked";
      // A CA that numbers nothing gives each certificate the number 0.
      if (serial !== 0n && revoked.serials.some((some) => has(some, serial))) {
        return `the serial number ${serial} of its certificate is revoked`;
      }
    }
    return null;
  }

  async #revokes(blob: Bytes): Promise<boolean> {
    const hashed = async (set: Set<string>, hash: "SHA-1" | "SHA-256"): Promise<boolean> =>
      set.size > 0 && set.has(toBase64(await digest(hash, blob)));
    return this.#keys.has(toBase64(blob)) || await hashed(this.#sha256, "SHA-256") ||
      await hashed(this.#sha1, "SHA-1");
  }
}

/** Strings, each of them kept as base64, of a length where one is wanted. */
function readBlobs(reader: Reader, into: Set<string>, length?: number): void {
  while (reader.remaining > 0) {
    const bytes = reader.view();
    if (length !== undefined && bytes.length !== length) {
      throw fail(`a fingerprint has ${bytes.length} bytes, not ${length}`);
    }
    into.add(toBase64(bytes));
  }
}

/** Whether bytes say that they are a key revocation list. */
export function isKrl(bytes: Uint8Array): boolean {
  return bytes.length >= KRL_MAGIC.length && equals(bytes.subarray(0, KRL_MAGIC.length), KRL_MAGIC);
}

/**
 * Reads a key revocation list as `ssh-keygen -k` makes it (OpenSSH PROTOCOL.krl).
 *
 * Rejects with `SshError`, code `KEY_FORMAT`, for anything else: what is cut short, has sections or critical extensions that are not known,
 * has a signature that is wrong, or has more than 16 MiB. Whoever cannot read a list must refuse each key.
 */
export async function parseKrl(bytes: Uint8Array): Promise<Krl> {
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError(`${WHAT}: its bytes are needed, as ${howToRead.bytes} gives them`);
  }
  if (bytes.length > MAX_KRL) throw fail(`it has more than ${MAX_KRL} bytes`);
  if (!isKrl(bytes)) throw fail('it does not begin with "SSHKRL"');
  const krl = parsing(WHAT, () => new ReadKrl(bytes));
  await krl.check();
  return krl;
}
