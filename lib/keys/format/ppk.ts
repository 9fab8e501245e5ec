/**
 * PuTTY's private key files, versions 2 and 3: reading. PuTTY manual, appendix C. No I/O.
 *
 * @module
 */
import { concat } from "@std/bytes";
import { printable } from "../../errors.ts";
import { fromHex } from "../../wire/base_text.ts";
import { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import { Writer } from "../../wire/writer.ts";
import { cbcDecrypt } from "./file_ciphers.ts";
import { keyFormatError, noPassphrase, parsing, unsupported, wrongPassphrase } from "./format_error.ts";
import { bytesOfString, commentText } from "../key_text.ts";
import { howToRead } from "../user_files.ts";
import { type KeyMaterial, privateFormOf } from "../key_types.ts";
import { decodeBase64 } from "./base64.ts";
import type { AskPassphrase } from "../passphrase.ts";
import { anyKeyFromBlob } from "../certificate.ts";
import type { RsaKeyOptions } from "../rsa_public.ts";
import type { PublicKey } from "../types.ts";

/** Most lines of base64 in either part. */
const MAX_LINES = 500;
/** Most memory in KiB, and most memory times passes, that Argon2 may take: PuTTY writes 8,192 KiB and about a dozen passes. */
const MAX_MEMORY = 262_144;
const MAX_WORK = 1_048_576;
/** KiB that Argon2 takes in files that are written, as PuTTY has it. */
export const WRITTEN_MEMORY = 8192;
/** Passes that are written unless a program says otherwise: half a second to one on the machines of today. */
export const DEFAULT_PASSES = 8;
/** Passes that are read at most with so much memory. */
export const MAX_PASSES = MAX_WORK / WRITTEN_MEMORY;

/** A file taken apart. */
export interface Ppk {
  /** Format version. */
  readonly version: 2 | 3;
  /** Key type. */
  readonly type: string;
  /** `none` or `aes256-cbc`. */
  readonly encryption: string;
  /** Comment stored with it, as its bytes: the MAC is over them. */
  readonly comment: Bytes;
  /** The public half, in clear. */
  readonly publicKey: PublicKey;
  /** The same as it stands in the file: where PuTTY has added a certificate to the key (0.78 and later), that stands there. */
  readonly publicBlob: Bytes;
  /** The private part, as it stands in the file. */
  readonly body: Bytes;
  /** MAC over all of it. */
  readonly mac: Bytes;
  /** Headers of Argon2 by name. */
  readonly kdf: ReadonlyMap<string, string>;
}

const FAILED = "Cannot read PuTTY private key";

const fail = (what: string, cause?: unknown) => keyFormatError(`${FAILED}: ${what}`, cause);

/** Whether a text is a PuTTY private key file. */
export function isPpk(text: string): boolean {
  return /^\s*PuTTY-User-Key-File-/.test(text.slice(0, 200));
}

/** Takes a file apart, given as a text of one character a byte; nothing is decrypted. */
export function readPpk(text: string, options: RsaKeyOptions): Ppk {
  const lines = text.trim().split(/\r\n|\r|\n/);
  let at = 0;
  const header = (name?: string): [string, string] => {
    const match = /^([A-Za-z0-9-]+): ?(.*)$/.exec(lines[at++] ?? "");
    if (match === null || (name !== undefined && match[1] !== name)) {
      throw fail(`the header "${name ?? ""}" is missing`);
    }
    return [match[1]!, match[2]!];
  };
  const block = (name: string): Bytes => {
    const count = header(name)[1];
    if (!/^\d{1,3}$/.test(count) || Number(count) > MAX_LINES) throw fail(`"${name}" has no sound number of lines`);
    return decodeBase64(lines.slice(at, at += Number(count)).join(""), FAILED);
  };
  const [format, type] = header();
  if (format !== "PuTTY-User-Key-File-2" && format !== "PuTTY-User-Key-File-3") {
    throw unsupported(
      `${FAILED}: "${
        printable(format, 40)
      }" is not supported; convert it with "puttygen FILE -O private-openssh -o NEWFILE"`,
    );
  }
  const version = format.endsWith("2") ? 2 : 3;
  const encryption = header("Encryption")[1];
  if (encryption !== "none" && encryption !== "aes256-cbc") {
    throw unsupported(`${FAILED}: the cipher "${printable(encryption, 40)}" is not supported`);
  }
  const comment = bytesOfString(header("Comment")[1]);
  const publicBlob = block("Public-Lines"), shown = anyKeyFromBlob(publicBlob, options);
  const publicKey = shown.certificate?.publicKey ?? shown;
  if (shown.type !== type) throw fail("its type is not that of its public part");
  const kdf = new Map<string, string>();
  if (version === 3 && encryption !== "none") {
    for (const name of ["Key-Derivation", "Argon2-Memory", "Argon2-Passes", "Argon2-Parallelism", "Argon2-Salt"]) {
      kdf.set(name, header(name)[1]);
    }
  }
  const body = block("Private-Lines");
  const mac = header("Private-MAC")[1];
  if (!/^([0-9a-f]{2})+$/.test(mac) || mac.length !== (version === 2 ? 40 : 64)) throw fail("its MAC is malformed");
  if (at !== lines.length) throw fail("lines follow its MAC");
  if (encryption !== "none" && (body.length === 0 || body.length % 16 !== 0)) {
    throw fail(`${body.length} bytes are no whole number of blocks`);
  }
  return { version, type, encryption, comment, publicKey, publicBlob, body, mac: fromHex(mac), kdf };
}

/** Decrypts and reads the private part. The material is not checked yet. */
export async function readPpkMaterial(
  ppk: Ppk,
  ask: AskPassphrase | undefined,
): Promise<{ material: KeyMaterial; comment: string }> {
  const encrypted = ppk.encryption !== "none", parameters = argon2Of(ppk);
  const passphrase = encrypted ? await ask?.(ppk.publicKey) : undefined;
  if (encrypted && (passphrase === undefined || passphrase === "")) {
    throw noPassphrase(`${FAILED}: it is encrypted and no passphrase was given`);
  }
  const secret = new TextEncoder().encode(passphrase ?? "");
  const { key, iv, macKey } = await (ppk.version === 2 ? keysOf2(secret) : argon2Keys(parameters, secret));
  const body = encrypted ? await cbcDecrypt(key, iv, ppk.body) : ppk.body;
  const covered = coveredByMac(ppk.type, ppk.encryption, ppk.comment, ppk.publicBlob, body);
  const hmac = { name: "HMAC", hash: ppk.version === 2 ? "SHA-1" : "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", macKey, hmac, false, ["verify"]);
  if (!await crypto.subtle.verify("HMAC", imported, ppk.mac, covered)) {
    const lossy = new TextDecoder().decode(ppk.comment).includes("\ufffd")
      ? `, unless the file is not UTF-8 and its text has lost something: pass its bytes, \`${howToRead.bytes}\``
      : "";
    throw encrypted ? wrongPassphrase(`${FAILED}: the passphrase is wrong${lossy}`) : fail(`its MAC is wrong${lossy}`);
  }
  return { material: readMaterial(ppk.publicKey, body), comment: commentText(ppk.comment) };
}

/** Keys that a passphrase gives. */
export interface PpkKeys {
  /** Of the cipher. */
  readonly key: Bytes;
  /** Of the cipher. */
  readonly iv: Bytes;
  /** Of the MAC. */
  readonly macKey: Bytes;
}

async function keysOf2(passphrase: Uint8Array): Promise<PpkKeys> {
  const sha1 = async (...parts: Uint8Array[]) => new Uint8Array(await crypto.subtle.digest("SHA-1", concat(parts)));
  const first = await sha1(Uint8Array.of(0, 0, 0, 0), passphrase);
  const second = await sha1(Uint8Array.of(0, 0, 0, 1), passphrase);
  const macKey = await sha1(new TextEncoder().encode("putty-private-key-file-mac-key"), passphrase);
  return { key: concat([first, second]).slice(0, 32), iv: new Uint8Array(16), macKey };
}

/** What the MAC is over; `body` is the private half in clear. */
export function coveredByMac(
  type: string,
  encryption: string,
  comment: Uint8Array,
  blob: Uint8Array,
  body: Uint8Array,
): Bytes {
  const utf8 = new TextEncoder();
  const fields = [utf8.encode(type), utf8.encode(encryption), comment, blob, body];
  const writer = new Writer(fields.reduce((sum, field) => sum + 4 + field.length, 0));
  for (const field of fields) writer.string(field);
  return writer.bytes();
}

const argon2Names: readonly string[] = ["Argon2d", "Argon2i", "Argon2id"];

/** What Argon2 is told. */
export interface Argon2Parameters {
  /** Argon2d, Argon2i or Argon2id. */
  readonly kdf: string;
  /** KiB. */
  readonly memory: number;
  /** Passes. */
  readonly passes: number;
  /** Lanes. */
  readonly parallelism: number;
  /** 8 to 64 bytes. */
  readonly salt: Bytes;
}

/** The keys of version 3; null is for a file in clear. */
export async function argon2Keys(parameters: Argon2Parameters | null, passphrase: Uint8Array): Promise<PpkKeys> {
  // An HMAC key of one zero byte is the empty key, which WebCrypto does not take.
  if (parameters === null) return { key: new Uint8Array(0), iv: new Uint8Array(0), macKey: new Uint8Array(1) };
  const { kdf, memory, passes, parallelism, salt } = parameters;
  // Loaded by those who need it: most keys are no PuTTY files.
  const { argon2d, argon2i, argon2id } = await import("@noble/hashes/argon2.js");
  const derive = [argon2d, argon2i, argon2id][argon2Names.indexOf(kdf)]!;
  const derived = derive(passphrase, salt, { m: memory, t: passes, p: parallelism, dkLen: 80 });
  return { key: derived.slice(0, 32), iv: derived.slice(32, 48), macKey: derived.slice(48) };
}

/** What a file asks of Argon2, within bounds; null for one that needs none. */
function argon2Of({ version, encryption, kdf }: Ppk): Argon2Parameters | null {
  if (version === 2 || encryption === "none") return null;
  const number = (name: string) => {
    const text = kdf.get(name) ?? "";
    return /^\d{1,9}$/.test(text) ? Number(text) : 0;
  };
  const memory = number("Argon2-Memory"), passes = number("Argon2-Passes"), parallelism = number("Argon2-Parallelism");
  const hex = kdf.get("Argon2-Salt") ?? "";
  if (
    parallelism < 1 || memory < 8 * parallelism || memory > MAX_MEMORY || passes < 1 ||
    memory * passes > MAX_WORK || hex.length > 128 || !/^([0-9a-f]{2}){8,}$/.test(hex)
  ) {
    throw unsupported(
      `${FAILED}: ${memory} KiB, ${passes} passes and ${parallelism} lanes of Argon2 are not supported`,
    );
  }
  const name = kdf.get("Key-Derivation") ?? "";
  if (!argon2Names.includes(name)) throw unsupported(`${FAILED}: the KDF "${printable(name, 40)}" is not supported`);
  return { kdf: name, memory, passes, parallelism, salt: fromHex(hex) };
}

function readMaterial(publicKey: PublicKey, body: Uint8Array): KeyMaterial {
  return parsing(FAILED, () => {
    const half = new Reader(publicKey.blob), reader = new Reader(body);
    const material = privateFormOf(half.ascii()).readPutty(half, reader);
    // What is left is padding up to a cipher block: random in version 3, part of a hash in version 2; the MAC covers it.
    if (reader.remaining > 15) throw fail("bytes follow its private part");
    return material;
  });
}
