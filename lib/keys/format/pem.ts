/**
 * PEM armour. RFC 7468, RFC 1421 section 4.6 for headers. No I/O, no crypto.
 *
 * @module
 */
import { printable } from "../../errors.ts";
import { toBase64 } from "../../wire/base_text.ts";
import type { Bytes } from "../../wire/types.ts";
import { keyFormatError } from "./format_error.ts";
import { pathHint } from "../key_text.ts";
import { notTheKind } from "./other_kinds.ts";
import { decodeBase64 } from "./base64.ts";

/** A PEM block. */
export interface Pem {
  /** What stands behind BEGIN. */
  readonly label: string;
  /** Headers, by name in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Content. */
  readonly bytes: Bytes;
}

/** Reads the first PEM block that holds a private key, from a text of one character a byte; other blocks before it, such as EC PARAMETERS, are passed over. */
export function readPem(text: string): Pem {
  const lines = text.split(/\r\n|\r|\n/).map((line) => line.trim());
  const begin = lines.findIndex((line) => /^-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----$/.test(line));
  if (begin < 0) {
    const nothing = `no line "-----BEGIN … PRIVATE KEY-----" was found${pathHint(text)}`;
    throw notTheKind("Cannot read private key", text, nothing);
  }
  const label = lines[begin]!.slice(11, -5);
  const end = lines.indexOf(`-----END ${label}-----`, begin);
  if (end < 0) {
    throw keyFormatError(`Cannot read private key: the line "-----END ${printable(label, 40)}-----" is missing`);
  }
  const headers = new Map<string, string>();
  let at = begin + 1;
  while (at < end && lines[at]!.includes(":")) {
    const line = lines[at++]!, colon = line.indexOf(":");
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  const bytes = decodeBase64(lines.slice(at, end).join(""), "Cannot read private key");
  return { label, headers, bytes };
}

/** Whether the headers say that the content is encrypted. */
export function isEncryptedPem(headers: ReadonlyMap<string, string>): boolean {
  return headers.has("dek-info") || headers.get("proc-type")?.includes("ENCRYPTED") === true;
}

/** Bytes as lines of base64. */
export function base64Lines(bytes: Uint8Array<ArrayBuffer>, width: number): string[] {
  return toBase64(bytes).match(new RegExp(`.{1,${width}}`, "g")) ?? [];
}

/** Writes a block without headers. */
export function armour(label: string, bytes: Uint8Array<ArrayBuffer>, width = 64): string {
  return [`-----BEGIN ${label}-----`, ...base64Lines(bytes, width), `-----END ${label}-----`, ""].join("\n");
}
