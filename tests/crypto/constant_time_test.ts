import { assert, assertFalse } from "@std/assert";
import { equalBytes } from "../../lib/crypto/constant_time.ts";

Deno.test("equalBytes() compares all bytes", () => {
  const bytes = crypto.getRandomValues(new Uint8Array(40));
  assert(equalBytes(bytes, bytes.slice()));
  assert(equalBytes(new Uint8Array(0), new Uint8Array(0)));
  assertFalse(equalBytes(bytes, bytes.subarray(1)));
  assertFalse(equalBytes(bytes, new Uint8Array(0)));
  for (let bit = 0; bit < 320; bit++) {
    const other = bytes.slice();
    other[bit >> 3]! ^= 1 << bit % 8;
    assertFalse(equalBytes(bytes, other));
  }
});
