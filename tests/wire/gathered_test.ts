/** Bytes in pieces. */
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { Gathered } from "../../lib/wire/gathered.ts";
import { seededBytes, seededRandom } from "../_support/duplex.ts";

Deno.test("Gathered gives all bytes, and holds few objects, however small the pieces are", () => {
  const data = seededBytes(300_000);
  const random = seededRandom(1),
    sizes: Record<string, () => number> = {
      single: () => 1,
      alternating: (() => {
        let turn = 0;
        return () => turn++ % 2 === 0 ? 1 : 4096;
      })(),
      random: () => Math.floor(random() ** 4 * 20_000),
      whole: () => data.length,
    };
  for (const [name, size] of Object.entries(sizes)) {
    for (const isOwn of [true, false]) {
      const gathered = new Gathered();
      for (let at = 0; at < data.length;) {
        const piece = data.slice(at, at + size());
        gathered.add(piece, isOwn);
        at += piece.length;
        // What is not the gatherer's is used again.
        if (!isOwn) piece.fill(0);
      }
      assert(gathered.pieces <= 2 * data.length / 4096 + 2, `${name}: ${gathered.pieces}`);
      assertEquals(gathered.length, data.length);
      assertEquals(gathered.bytes(), data, name);
    }
  }
});

Deno.test("Gathered gives nothing of nothing, a large piece as it is, and of a small one no more than its bytes", () => {
  const gathered = new Gathered();
  assertEquals(gathered.bytes().length, 0);
  gathered.add(new Uint8Array(0));
  const large = new Uint8Array(4096);
  gathered.add(large);
  assertStrictEquals(gathered.bytes(), large);
  const small = new Gathered();
  small.add(new Uint8Array([1, 2]));
  assertEquals([small.pieces, small.bytes().buffer.byteLength], [1, 2]);
});
