import { assert, assertEquals, assertThrows } from "@std/assert";
import { checkSize, explanation } from "../../lib/transport/message_size.ts";
import { MAX_PAYLOAD } from "../../lib/transport/outbox.ts";

Deno.test("checkSize() takes what fits in a packet, and names what does not", () => {
  checkSize(new Uint8Array(0), "nothing");
  checkSize(new Uint8Array(MAX_PAYLOAD), "the largest");
  assertThrows(
    () => checkSize(new Uint8Array(MAX_PAYLOAD + 1), "this one"),
    RangeError,
    "Cannot send this one: it makes a message of 261121 bytes, and at most 261120 fit in a packet",
  );
});

Deno.test("explanation() keeps short texts, and cuts long ones at a whole character", () => {
  const bytes = (text: string) => new TextEncoder().encode(text).length;
  for (const text of ["", "short", "x".repeat(32_000), "\u20ac".repeat(10_666), "\u{1f600}".repeat(8_000)]) {
    assertEquals(explanation(text), text);
  }
  for (const unit of ["x", "\u00e9", "\u20ac", "\u{1f600}", "a\u{1f600}", "ab\u{1f600}", "abc\u{1f600}"]) {
    const text = unit.repeat(20_000), cut = explanation(text.repeat(2));
    assert(text.repeat(2).startsWith(cut));
    assert(bytes(cut) <= 32_000 && bytes(cut) > 32_000 - 4, unit);
    assertEquals(new TextDecoder().decode(new TextEncoder().encode(cut)), cut);
  }
});
