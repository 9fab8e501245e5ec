/**
 * Public keys in the form of SSH's other vendors, and of PuTTY. RFC 4716 section 3. No I/O, no crypto.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { keyFormatError } from "./format_error.ts";
import { base64Lines } from "./pem.ts";

/** Bytes of a line, and of a header's value. */
const LINE = 72, VALUE = 1024;

/** Whether a line begins such a block. */
export function beginsRfc4716(line: string): boolean {
  return /^---- ?BEGIN SSH2 PUBLIC KEY ?----$/.test(line);
}

/** The base64 between the lines: headers end at the first line without a colon, and a backslash continues a header. */
export function readRfc4716(lines: readonly string[]): string {
  const fail = (what: string) => keyFormatError(`Cannot read public key: ${what}`);
  if (!/^---- ?END SSH2 PUBLIC KEY ?----$/.test(lines.at(-1)!)) throw fail("the RFC 4716 block has no end line");
  let base64 = "";
  let continued = false;
  for (const line of lines.slice(1, -1)) {
    if (continued || (base64 === "" && line.includes(":"))) continued = line.endsWith("\\");
    else base64 += line;
  }
  if (continued) throw fail("a header of the RFC 4716 block does not end");
  return base64;
}

/** Writes a key. A comment that is too long for a header is a `RangeError`. */
export function writeRfc4716(blob: Bytes, comment: string): string {
  const lines = ["---- BEGIN SSH2 PUBLIC KEY ----"];
  if (comment !== "") lines.push(...header(`Comment: "${comment}"`));
  return [...lines, ...base64Lines(blob, 70), "---- END SSH2 PUBLIC KEY ----", ""].join("\n");
}

/** A header in lines of at most 72 bytes each. */
function header(text: string): string[] {
  const lines: string[] = [], utf8 = new TextEncoder();
  if (utf8.encode(text).length > VALUE) {
    throw new RangeError(`Cannot write public key: the comment has more than ${VALUE - 11} bytes`);
  }
  let line = "", length = 0;
  for (const character of text) {
    const size = utf8.encode(character).length;
    if (length + size > LINE - 1) {
      lines.push(`${line}\\`);
      line = "";
      length = 0;
    }
    line += character;
    length += size;
  }
  return [...lines, line];
}
