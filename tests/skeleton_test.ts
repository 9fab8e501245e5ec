import { assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { toText } from "@std/streams";
import { bytesToHex } from "@noble/curves/utils.js";
Deno.test("links resolve", async () => {
  assertEquals(bytesToHex(concat([new Uint8Array([1]), new Uint8Array([2])])), "0102");
  assertEquals(await toText(new Blob(["x"]).stream()), "x");
});
