/**
 * L5. File names as strings, and back, without loss. No I/O.
 *
 * SFTP version 3 carries names as bytes of no stated encoding. Here a name is UTF-8 as far as it is valid; each byte that is
 * not part of valid UTF-8 becomes the lone surrogate U+DC00 plus the byte (U+DC80 to U+DCFF), as Python's `surrogateescape`
 * does. Encoding turns these back into the same bytes.
 *
 * @module
 */
import { printable } from "../errors.ts";
import type { Bytes } from "../wire/types.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** The length of the valid UTF-8 sequence that starts at `at`, or 0 (RFC 3629 section 4). */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!;
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (at + length > bytes.length) return 0;
  const second = bytes[at + 1]!;
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let i = 2; i < length; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return 0;
  return length;
}

/** Names up to this are read without the decoder, which takes longer to call than they take to read. */
const SHORT_NAME = 48;

/** What a decoder puts in the place of what is no UTF-8. */
const REPLACEMENT = "\ufffd";
/** Units of UTF-16 made into a string at once. */
const UNITS = 4096;

function isAscii(byte: number): boolean {
  return byte < 0x80;
}

/** The string that stands for the bytes of a name. */
export function decodeName(bytes: Uint8Array): string {
  if (bytes.length <= SHORT_NAME && bytes.every(isAscii)) return String.fromCharCode(...bytes);
  const text = decoder.decode(bytes);
  return text.includes(REPLACEMENT) ? decodeOther(bytes) : text;
}

/** A name that is not UTF-8, or holds what the decoder puts for that. A peer chooses how much of it there is. */
function decodeOther(bytes: Uint8Array): string {
  // No sequence of UTF-8 has more units of UTF-16 than bytes.
  const units = new Uint16Array(bytes.length);
  let count = 0;
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes, at);
    if (length <= 1) {
      const byte = bytes[at++]!;
      units[count++] = length === 1 ? byte : 0xdc00 + byte;
      continue;
    }
    let code = bytes[at]! & (0xff >> (length + 1));
    for (let i = 1; i < length; i++) code = code << 6 | bytes[at + i]! & 0x3f;
    at += length;
    if (code > 0xffff) {
      units[count++] = 0xd800 + (code - 0x10000 >> 10);
      units[count++] = 0xdc00 + (code & 0x3ff);
    } else units[count++] = code;
  }
  let text = "";
  for (let at = 0; at < count; at += UNITS) {
    text += Reflect.apply(String.fromCharCode, null, units.subarray(at, Math.min(at + UNITS, count)));
  }
  return text;
}

/** The bytes that a string made by {@linkcode decodeName} stands for. Throws `TypeError` for any other lone surrogate. */
export function encodeName(name: string): Bytes {
  if (name.isWellFormed()) return encoder.encode(name);
  const bytes: number[] = [];
  for (const character of name) {
    const code = character.codePointAt(0)!;
    if (code >= 0xdc80 && code <= 0xdcff) bytes.push(code - 0xdc00);
    else if (code >= 0xd800 && code <= 0xdfff) {
      throw new TypeError(`Cannot encode a file name: U+${code.toString(16).toUpperCase()} stands for no byte`);
    } else bytes.push(...encoder.encode(character));
  }
  return new Uint8Array(bytes);
}

/** Whether bytes stand for a name: {@linkcode encodeName} does not throw. */
export function isEncodable(name: string): boolean {
  if (name.isWellFormed()) return true;
  for (const character of name) if (/^[\ud800-\udc7f\udd00-\udfff]$/.test(character)) return false;
  return true;
}

/** A name in quotes for an error message. */
export function quoted(name: string): string {
  return `"${printable(name, 1024).toWellFormed()}"`;
}

/** Joins a directory and a name with `/`. */
export function joinPath(directory: string, name: string): string {
  if (directory === "" || directory === ".") return name;
  return directory.endsWith("/") ? directory + name : `${directory}/${name}`;
}

/** The last component of a path, or "" for a root. */
export function baseName(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("/") + 1);
}

/** All but the last component of a path: ".", "/" or a path without a slash at its end. */
export function dirName(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  const slash = trimmed.lastIndexOf("/");
  if (slash < 0) return trimmed === "" && path.startsWith("/") ? "/" : ".";
  return trimmed.slice(0, slash).replace(/\/+$/, "") || "/";
}

/**
 * Whether a name that a peer gave for an entry of a directory is one component and nothing else: not empty, not `.` or `..`,
 * without `/` or NUL. What else a system makes of it local_names.ts knows.
 */
export function isEntryName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
}

/**
 * Whether a link's target stays inside a tree, for a link `depth` directories below its top. An absolute target counts from
 * the top. `..` may only come first, and not more often than there are directories: behind a name, which may be a link itself,
 * it could lead anywhere.
 */
export function isContainedTarget(target: string, depth: number): boolean {
  let left = target.startsWith("/") ? 0 : depth, named = false;
  for (const part of target.split("/")) {
    if (part === "..") {
      if (named || left-- === 0) return false;
    } else if (part !== "" && part !== ".") named = true;
  }
  return true;
}
