import { assert, assertEquals, assertThrows } from "@std/assert";
import { decodeText, encodeText, isEncodable } from "../../lib/wire/byte_text.ts";
import { fastest } from "../_support/until.ts";

Deno.test("decodeText() keeps UTF-8 as it is, and every other byte as a lone surrogate", () => {
  const rows: [bytes: number[], text: string][] = [
    [[], ""],
    [[0x63, 0x61, 0x66, 0xc3, 0xa9], "café"],
    [[0x63, 0x61, 0x66, 0xe9], "caf\udce9"],
    [[0xe9, 0x20, 0xc3, 0xa9], "\udce9 é"],
    // A mark at the start is text, and so is what stands for what could not be read elsewhere.
    [[0xef, 0xbb, 0xbf, 0x61], "\ufeffa"],
    [[0xef, 0xbf, 0xbd, 0x80], "\ufffd\udc80"],
    [[0xf0, 0x9f, 0x90, 0xa7], "🐧"],
    [[0xf0, 0x9f, 0x90], "\udcf0\udc9f\udc90"],
    // Halves of pairs, long forms and what lies behind Unicode are no UTF-8.
    [[0xed, 0xa0, 0x80], "\udced\udca0\udc80"],
    [[0xc0, 0xaf], "\udcc0\udcaf"],
    [[0xf4, 0x90, 0x80, 0x80], "\udcf4\udc90\udc80\udc80"],
  ];
  for (const [bytes, text] of rows) {
    assertEquals(decodeText(Uint8Array.from(bytes)), text);
    assertEquals(encodeText(text), Uint8Array.from(bytes));
    assert(isEncodable(text));
  }
});

Deno.test("decodeText() and encodeText() lose no byte of any two", () => {
  for (let pair = 0; pair < 0x10000; pair++) {
    const bytes = Uint8Array.of(pair >> 8, pair & 0xff), back = encodeText(decodeText(bytes));
    if (back.length !== 2 || back[0] !== bytes[0] || back[1] !== bytes[1]) assertEquals(back, bytes);
  }
});

Deno.test("encodeText() refuses halves of pairs that stand for no byte: ASCII cannot come in by them", () => {
  for (const text of ["\ud800", "a\udbff", "\udc00b", "\udc2f", "\udc7f", "\udd00", "\udfff", "\udce9\ud83d"]) {
    assertThrows(() => encodeText(text), TypeError, "stands for no byte");
    assert(!isEncodable(text));
  }
});

Deno.test("encodeText() takes a long text of such bytes in little time", async () => {
  const text = "\udcff".repeat(250_000);
  assertEquals(encodeText(text), new Uint8Array(250_000).fill(0xff));
  assert(await fastest(1000, () => encodeText(text)) < 1000);
});
