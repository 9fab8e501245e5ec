import { assert, assertFalse } from "@std/assert";
import { equalBytes } from "../../lib/crypto/constant_time.ts";

Deno.test("equalBytes() compares all bytes", () => {
  const bytes = crypto.getRandomValues(new Uint8Array(40));
  assert(equalBytes(bytes, bytes.slice()));
  assert(equalBytes(new Uint8Array(0), new Uint8Array(0)));
  assertFalse(equalBytes(bytes, bytes.subarray(1)));
  assertFalse(equalBytes(bytes, new Uint8Array(0)));
  for (let length = 0; length < 40; length++) {
    assertFalse(equalBytes(bytes.subarray(0, length), bytes), `the first ${length} bytes`);
    assertFalse(equalBytes(bytes, bytes.subarray(0, length)), `the first ${length} bytes`);
  }
  for (let bit = 0; bit < 320; bit++) {
    const other = bytes.slice();
    other[bit >> 3]! ^= 1 << bit % 8;
    assertFalse(equalBytes(bytes, other));
  }
});

Deno.test("equalBytes() takes no start of the bytes for the whole, on either side", () => {
  for (let n = 0; n < 40; n++) {
    for (let more = 1; more < 40; more++) {
      const bytes = Uint8Array.from({ length: n + more }, (_, i) => i * 7 + n), start = bytes.slice(0, n);
      assertFalse(equalBytes(bytes, start), `${n} of ${n + more}`);
      assertFalse(equalBytes(start, bytes), `${n} of ${n + more}`);
      // What follows is nothing but zeros.
      assertFalse(equalBytes(start, new Uint8Array([...start, ...new Uint8Array(more)])));
    }
  }
});
