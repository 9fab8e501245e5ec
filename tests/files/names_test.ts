/** Names as strings and back, beside a plain twin that goes byte by byte. */
import { assertEquals } from "@std/assert";
import { decodeName, encodeName } from "../../lib/files/names.ts";
import { dice } from "../_support/sftp_peers.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The longest valid sequence at each place, as the decoder of the platform sees it; any other byte stands for itself. */
function twin(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    let found: string | null = null, length = 1;
    for (; length <= 4 && found === null; length++) {
      try {
        found = strict.decode(bytes.subarray(at, at + length));
      } catch {
        // Not valid, or not whole.
      }
    }
    text += found ?? String.fromCharCode(0xdc00 + bytes[at]!);
    at += found === null ? 1 : length - 1;
  }
  return text;
}

Deno.test("decodeName() takes any bytes as its twin does, and encodeName() gives them back", () => {
  const random = dice(4711), encoder = new TextEncoder();
  const pieces = ["a", "é", "€", "\ufeff", "\ufffd", "\ud7ff", "\ue000", "\uffff", "😀", "\u{10ffff}", "\x7f", "\x80"]
    .map((one) => encoder.encode(one));
  // Overlong, surrogates, beyond U+10FFFF, cut short, and bytes that never stand in UTF-8.
  pieces.push(...[[0xc0, 0x80], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xf0, 0x9f, 0x98]]
    .map((one) => Uint8Array.from(one)));
  pieces.push(...[0x80, 0xbf, 0xc3, 0xe2, 0xf0, 0xf8, 0xff].map((byte) => Uint8Array.of(byte)));
  for (let round = 0; round < 500; round++) {
    const bytes = Array.from({ length: random(30) }, () => Array.from(pieces[random(pieces.length)]!)).flat();
    const name = Uint8Array.from(bytes), text = decodeName(name);
    assertEquals(text, twin(name));
    assertEquals(encodeName(text), name);
  }
});

Deno.test("decodeName() takes 260,000 bytes that are not UTF-8, and some between them that are", () => {
  const bytes = Uint8Array.from({ length: 260_000 }, (_, i) => i % 3 === 0 ? 0x61 : 0xff), text = decodeName(bytes);
  assertEquals([text.length, text.slice(0, 4)], [260_000, "a\udcff\udcffa"]);
  for (let i = 0; i < text.length; i += 3) assertEquals(text.charCodeAt(i), 0x61);
  assertEquals(encodeName(text), bytes);
});
