import { assertEquals, assertThrows } from "@std/assert";
import { type BaseText, ownBaseText } from "../../lib/wire/base_text.ts";

/** What a call gives, or the kind of error. */
function outcome(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return (error as Error).name;
  }
}

const natives: BaseText = {
  toHex: (bytes) => bytes.toHex(),
  fromHex: (text) => Uint8Array.fromHex(text),
  toBase64: (bytes, options) => bytes.toBase64(options as { alphabet?: "base64" }),
  fromBase64: (text, options) => Uint8Array.fromBase64(text, options as { alphabet?: "base64" }),
};

const alphabets = ["base64", "base64url", undefined] as const;

Deno.test("bytes become the same text without the runtime's own functions as with them", () => {
  for (const length of [...Array(40).keys(), 4095, 4096, 4097, 20_000]) {
    const bytes = crypto.getRandomValues(new Uint8Array(length));
    const hex = ownBaseText.toHex(bytes);
    assertEquals(hex, natives.toHex(bytes));
    assertEquals([ownBaseText.fromHex(hex), ownBaseText.fromHex(hex.toUpperCase())], [bytes, bytes]);
    for (const alphabet of alphabets) {
      for (const omitPadding of [true, false, undefined]) {
        const text = ownBaseText.toBase64(bytes, { alphabet, omitPadding });
        assertEquals(text, natives.toBase64(bytes, { alphabet, omitPadding }));
        assertEquals(ownBaseText.fromBase64(text, { alphabet }), bytes);
      }
    }
  }
});

Deno.test("text that is no hexadecimal or base64 is refused as the runtime's own functions refuse it", () => {
  const pieces = ["A", "Q", "g", "/", "+", "-", "_", "=", "==", " ", "\n", "é", "AAAA", "AA==", "AAA=", "\0", "\v"];
  const texts = ["", ...pieces, ...pieces.flatMap((one) => pieces.flatMap((two) => [one + two, `AA${one}${two}`]))];
  for (let i = 0; i < 3000; i++) {
    texts.push(Array.from({ length: i % 9 }, () => pieces[Math.floor(Math.random() * pieces.length)]).join(""));
  }
  const same = (own: unknown, native: unknown, what: unknown) => {
    if (String(own) !== String(native)) assertEquals(own, native, JSON.stringify(what));
  };
  for (const text of texts) {
    same(outcome(() => ownBaseText.fromHex(text)), outcome(() => natives.fromHex(text)), text);
    for (const alphabet of alphabets) {
      for (const lastChunkHandling of ["loose", "strict", undefined] as const) {
        const options = { alphabet, lastChunkHandling };
        const own = outcome(() => ownBaseText.fromBase64(text, options));
        same(own, outcome(() => natives.fromBase64(text, options)), [text, options]);
      }
    }
  }
  for (const call of [ownBaseText.fromHex, ownBaseText.fromBase64]) {
    assertThrows(() => call(undefined as unknown as string), TypeError, "it is no string");
  }
});
