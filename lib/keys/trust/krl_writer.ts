/**
 * Writing key revocation lists, as short as lists, ranges and bitmaps of serial numbers make them. OpenSSH PROTOCOL.krl. No I/O.
 *
 * @module
 */
import { fromBase64, toHex } from "../../wire/base_text.ts";
import { decodeText, encodeText, isEncodable } from "../../wire/byte_text.ts";
import { checkNames, checkObject, wrongKind } from "../../wire/check.ts";
import { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import { mpintBytes, Writer } from "../../wire/writer.ts";
import { anyKeyFromBlob } from "../certificate.ts";
import { isPublicKey } from "../check_key.ts";
import { certificateTypes } from "../key_types.ts";
import { RSA_BITS } from "../rsa_public.ts";
import type { PublicKey } from "../types.ts";
import { CertSection, KRL_FORMAT, KRL_MAGIC, type KrlContent, MAX_BITMAP, Section, type SerialRange } from "./krl.ts";

const MAX_U64 = 0xffff_ffff_ffff_ffffn;

type Range = readonly [from: bigint, to: bigint];

/** Ranges in their order, with those that touch joined. */
function joined(serials: Iterable<SerialRange>): Range[] {
  const ranges: Range[] = [];
  for (const one of serials) {
    const [from, to] = typeof one === "bigint" ? [one, one] : one;
    if (typeof from !== "bigint" || typeof to !== "bigint" || from < 1n || to > MAX_U64 || from > to) {
      throw new RangeError(
        "Cannot revoke serial numbers: they are bigints from 1 to 2^64 - 1, and a range's first comes first",
      );
    }
    ranges.push([from, to]);
  }
  ranges.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
  const out: Range[] = [];
  for (const [from, to] of ranges) {
    const last = out.at(-1);
    if (last !== undefined && from <= last[1] + 1n) out[out.length - 1] = [last[0], to > last[1] ? to : last[1]];
    else out.push([from, to]);
  }
  return out;
}

/** Bytes of a range as a part of a list, or on its own. */
function sizeOf([from, to]: Range): number {
  return from === to ? 8 : 21;
}

/** How many ranges from `start` on are shorter as one bitmap; 0 where none are. */
function bitmapLength(ranges: readonly Range[], start: number): number {
  const first = ranges[start]![0];
  let length = 0, apart = 0;
  for (let i = start; i < ranges.length; i++) {
    const bits = ranges[i]![1] - first + 1n;
    if (bits > BigInt(8 * MAX_BITMAP - 1)) break;
    apart += sizeOf(ranges[i]!);
    if (Number(bits >> 3n) + 18 < apart) length = i - start + 1;
  }
  return length;
}

function writeSerials(out: Writer, ranges: readonly Range[]): void {
  const list = new Writer();
  const section = (type: number, body: Writer): void => void out.u8(type).string(body.bytes());
  for (let at = 0; at < ranges.length;) {
    const length = bitmapLength(ranges, at), [from, to] = ranges[at]!;
    if (length > 0) {
      let bitmap = 0n;
      for (const [low, high] of ranges.slice(at, at + length)) bitmap |= ((1n << high - low + 1n) - 1n) << low - from;
      section(CertSection.SERIAL_BITMAP, new Writer().u64(from).string(mpintBytes(bitmap)));
    } else if (from === to) list.u64(from);
    else section(CertSection.SERIAL_RANGE, new Writer().u64(from).u64(to));
    at += Math.max(length, 1);
  }
  if (list.length > 0) section(CertSection.SERIAL_LIST, list);
}

/** The blob of the key itself: with a certificate it comes in more than one, and each of them is the key's. */
function keyBlob(key: PublicKey | Uint8Array): Uint8Array {
  if (!(key instanceof Uint8Array) && !isPublicKey(key)) throw wrongKind("keys", key, "public keys, or their bytes");
  const blob = key instanceof Uint8Array ? key : key.blob, reader = new Reader(blob);
  if (!reader.hasString || !certificateTypes.has(decodeText(reader.view()))) return blob;
  const { certificate } = anyKeyFromBlob(blob, { insecureMinRsaBits: RSA_BITS.insecureMin });
  return certificate!.publicKey.blob;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && !value.includes("\0") && isEncodable(value);
}

/** The bytes of a fingerprint, by its kind. */
function fingerprintBytes(text: unknown): readonly [kind: "SHA1" | "SHA256", bytes: Bytes] {
  const match = typeof text === "string" ? /^(SHA1:[A-Za-z0-9+/]{27}|SHA256:[A-Za-z0-9+/]{43})=?$/.exec(text) : null;
  if (match === null) {
    throw wrongKind("fingerprints", text, "texts such as `SHA256:` and 43 characters, or `SHA1:` and 27");
  }
  const [kind, base64] = match[1]!.split(":") as ["SHA1" | "SHA256", string];
  return [kind, fromBase64(base64)];
}

/** Strings in the order of their bytes, each once: as OpenSSH has them, and the same for the same content. */
function sorted(blobs: Iterable<Uint8Array>): Uint8Array[] {
  const byHex = new Map([...blobs].map((blob) => [toHex(blob), blob]));
  return [...byHex.keys()].sort().map((hex) => byHex.get(hex)!);
}

function writeBlobs(out: Writer, type: number, blobs: readonly Uint8Array[]): void {
  if (blobs.length === 0) return;
  const body = new Writer();
  for (const blob of blobs) body.string(blob);
  out.u8(type).string(body.bytes());
}

/**
 * Writes a key revocation list, which `sshd` (RevokedKeys), `ssh` (RevokedHostKeys) and {@linkcode revokedKeys} read.
 *
 * ```ts
 * import { generateKey, parseKrl, writeKrl } from "@amiko/ssh";
 *
 * const lost = await generateKey(), ca = await generateKey();
 * const bytes = writeKrl({
 *   keys: [lost.publicKey],
 *   certificates: [{ ca: ca.publicKey, serials: [7n, [100n, 199n]], keyIds: ["bob"] }],
 * });
 * const krl = await parseKrl(bytes);
 * console.log(await krl.revocation(lost.publicKey)); // the key is revoked
 * ```
 *
 * What {@linkcode parseKrl} gave is content, too: `{ ...krl }` does not copy it, but `{ keys: [...krl.keys, key], … }` adds to it.
 * Throws `TypeError` and `RangeError` for what makes no sense, and `SshError` with code `KEY_FORMAT` for the bytes of a certificate, among
 * the keys, that cannot be read.
 */
export function writeKrl(content: KrlContent): Bytes {
  checkObject("content", content, "an object such as `{ keys }`");
  checkNames("writeKrl()", content, ["version", "generated", "comment", "keys", "fingerprints", "certificates"]);
  const { version = 0n, generated = new Date(), comment = "", keys = [], fingerprints = [], certificates = [] } =
    content;
  if (typeof version !== "bigint" || version < 0n || version > MAX_U64) {
    throw new RangeError("Cannot write key revocation list: `version` is a bigint from 0 to 2^64 - 1");
  }
  if (!(generated instanceof Date) || !(generated.getTime() >= 0)) {
    throw wrongKind("generated", generated, "a Date from 1970 on");
  }
  if (!isText(comment)) throw wrongKind("comment", comment, "a text without NUL");
  const out = new Writer(1024).raw(KRL_MAGIC).u32(KRL_FORMAT).u64(version);
  out.u64(BigInt(Math.floor(generated.getTime() / 1000))).u64(0n).text("").string(encodeText(comment));
  for (const { ca, serials = [], keyIds = [] } of certificates) {
    if (ca !== null && !isPublicKey(ca)) throw wrongKind("ca", ca, "a public key, or null for whoever signed");
    if (ca !== null && certificateTypes.has(ca.type)) {
      throw new TypeError("Cannot write key revocation list: `ca` is itself a certificate, which signs no others");
    }
    const body = new Writer().string(ca?.blob ?? new Uint8Array(0)).text("");
    writeSerials(body, joined(serials));
    const ids = [...keyIds].map((id) => {
      if (!isText(id) || id === "") throw wrongKind("keyIds", id, "texts without NUL");
      return encodeText(id);
    });
    writeBlobs(body, CertSection.KEY_ID, sorted(ids));
    out.u8(Section.CERTIFICATES).string(body.bytes());
  }
  const hashes = [...fingerprints].map(fingerprintBytes);
  const ofKind = (wanted: string) => sorted(hashes.filter(([kind]) => kind === wanted).map(([, bytes]) => bytes));
  writeBlobs(out, Section.EXPLICIT_KEY, sorted([...keys].map(keyBlob)));
  writeBlobs(out, Section.FINGERPRINT_SHA1, ofKind("SHA1"));
  writeBlobs(out, Section.FINGERPRINT_SHA256, ofKind("SHA256"));
  return out.bytes();
}
