/**
 * Text of peers that may not be UTF-8: as strings, and back, without loss. RFC 4251 section 5 leaves the encoding of most strings to
 * their users, and what a peer sends is what its user typed. No I/O.
 *
 * @module
 */
import type { Bytes } from "./types.ts";

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

/** Text up to this is read without the decoder, which takes longer to call than that takes to read. */
const SHORT_TEXT = 48;

/** What a decoder puts in the place of what is no UTF-8. */
const REPLACEMENT = "\ufffd";
/** Units of UTF-16 made into a string at once. */
const UNITS = 4096;

function isAscii(byte: number): boolean {
  return byte < 0x80;
}

/**
 * The string that stands for bytes of a peer's: UTF-8 as far as they are that; each other byte becomes the lone surrogate U+DC00 plus
 * the byte (U+DC80 to U+DCFF), as Python's `surrogateescape` has it. {@linkcode encodeText} gives the same bytes back.
 *
 * This is how the whole module keeps text that is not UTF-8, in both roles: commands, environment variables, names of subsystems and of
 * terminals, file names, and what SFTP and SCP say. Strings that it takes may hold such surrogates as well, user names, passwords and
 * answers to questions included. Names of users, passwords and answers that a server is given must be UTF-8, as RFC 4252 wants.
 *
 * For display, `String.prototype.toWellFormed()` puts U+FFFD in their place.
 *
 * @example A command in Latin-1
 * ```ts
 * import { decodeText, type SshClient } from "@amiko/ssh";
 *
 * const command = decodeText(Uint8Array.from([...new TextEncoder().encode("cat caf"), 0xe9]));
 * const output = (client: SshClient) => client.exec(command);
 * ```
 */
export function decodeText(bytes: Uint8Array): string {
  if (bytes.length <= SHORT_TEXT && bytes.every(isAscii)) return String.fromCharCode(...bytes);
  const text = decoder.decode(bytes);
  return text.includes(REPLACEMENT) ? decodeOther(bytes) : text;
}

/** Text that is not UTF-8, or holds what the decoder puts for that. A peer chooses how much of it there is. */
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

/** The bytes that a string stands for, {@linkcode decodeText}'s above all. Throws `TypeError` for any other lone surrogate. */
export function encodeText(text: string): Bytes {
  if (text.isWellFormed()) return encoder.encode(text);
  const bytes = new Uint8Array(3 * text.length);
  let length = 0, at = 0;
  for (const { 0: half, index } of text.matchAll(/[\ud800-\udfff]/gu)) {
    length += encoder.encodeInto(text.slice(at, index), bytes.subarray(length)).written;
    at = index + 1;
    const code = half.charCodeAt(0);
    if (code < 0xdc80 || code > 0xdcff) {
      throw new TypeError(`Cannot encode text: U+${code.toString(16).toUpperCase()} stands for no byte`);
    }
    bytes[length++] = code - 0xdc00;
  }
  length += encoder.encodeInto(text.slice(at), bytes.subarray(length)).written;
  return bytes.slice(0, length);
}

/** Whether a string stands for bytes: {@linkcode encodeText} does not throw. */
export function isEncodable(text: string): boolean {
  return text.isWellFormed() || !/[\ud800-\udc7f\udd00-\udfff]/u.test(text);
}
