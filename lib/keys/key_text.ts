/**
 * Text of keys as programs hand it over: a string, or the bytes of a file. No I/O.
 *
 * Formats of private keys are read byte by byte, whichever way they came: as a string with one character a byte. Only so does a
 * MAC over a file with a comment in Latin-1 come out right.
 *
 * @module
 */
import { keyFormatError } from "./format/format_error.ts";
import { howToRead } from "./user_files.ts";

/** Text of a key or of a list of keys: a string, or the bytes of the file. */
export type KeyText = string | Uint8Array;

/** Longest text that is looked at as a key. */
const MAX_TEXT = 65_536;

/** What was given in the place of a text, in words. */
function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "undefined";
  if (Array.isArray(value)) return "an array";
  if (value instanceof URL) return `a URL: pass \`${howToRead.text}\``;
  const kind = typeof value;
  return kind === "object" ? value instanceof Promise ? "a promise, await it" : "an object" : `a ${kind}`;
}

/** Throws `TypeError` for what is no text. `what` begins the message. */
function checkText(what: string, text: unknown): asserts text is KeyText {
  if (typeof text === "string" || text instanceof Uint8Array) return;
  throw new TypeError(`${what}: its text or its bytes are needed, and this is ${kindOf(text)}`);
}

/** Whether a text of one line is, by its looks, where a file is and not what is in it. */
export function looksLikePath(text: string): boolean {
  const line = text.trim();
  return line.length <= 4096 && !/[\r\n\0]/.test(line) &&
    (/^file:\/\/|^(~|\.{0,2}|[A-Za-z]:)[\\/]\S/.test(line) || /^[\w.@+-]+([\\/][\w.@+ -]+)*$/.test(line)) &&
    !/^(AAAA|SHA256:|MD5:)/.test(line);
}

/** What an error says more about a text that is a path; nothing for any other. */
export function pathHint(text: string): string {
  return looksLikePath(text) ? `; it looks like a path: pass \`${howToRead.text}\`` : "";
}

/** The text as characters, for formats in which bytes beyond ASCII stand in comments alone. */
export function characters(what: string, text: KeyText): string {
  checkText(what, text);
  return typeof text === "string" ? text.replace(/^\ufeff/, "") : new TextDecoder().decode(text);
}

/** The text of one key as characters. */
export function keyCharacters(what: string, text: KeyText): string {
  checkLength(what, text);
  return characters(what, text);
}

/** The text of one key as its bytes, each of them a character, without a byte order mark. */
export function byteString(what: string, text: KeyText): string {
  checkLength(what, text);
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  let string = "";
  for (let at = 0; at < bytes.length; at += 8192) string += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return string.replace(/^\xef\xbb\xbf/, "");
}

function checkLength(what: string, text: KeyText): void {
  checkText(what, text);
  if (text.length <= MAX_TEXT) return;
  throw keyFormatError(`${what}: more than ${MAX_TEXT} ${typeof text === "string" ? "characters" : "bytes"}`);
}

/** The other way. */
export function bytesOfString(string: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(string, (character) => character.charCodeAt(0));
}

/** A comment: UTF-8, and where it is not, what Windows and old systems wrote. */
export function commentText(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}
