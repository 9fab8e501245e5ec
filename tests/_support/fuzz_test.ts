import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { fuzz, fuzzBytes, mutate, Prng } from "./fuzz.ts";

Deno.test("Prng gives the same sequence for a seed and another for the next seed", () => {
  for (const seed of [0, 1, 0x9e37_79b9, 0xffff_ffff]) {
    assertEquals(new Prng(seed).bytes(32), new Prng(seed).bytes(32));
    assertNotEquals(new Prng(seed).bytes(32), new Prng(seed + 1).bytes(32));
  }
  const prng = new Prng(7), seen = new Set<number>();
  for (let i = 0; i < 1_000; i++) seen.add(prng.below(10));
  assertEquals(seen.size, 10);
});

Deno.test("fuzzBytes() and mutate() are deterministic and keep their bounds", () => {
  const message = new Uint8Array(40).fill(7);
  let changed = 0;
  for (let seed = 0; seed < 2_000; seed++) {
    assertEquals(fuzzBytes(seed, 64), fuzzBytes(seed, 64));
    assert(fuzzBytes(seed, 64).length <= 64);
    const other = mutate(message, seed);
    assertEquals(other, mutate(message, seed));
    if (other.join() !== message.join()) changed++;
  }
  assertEquals(message, new Uint8Array(40).fill(7));
  assert(changed > 1_700, `${changed}`);
});

Deno.test("fuzz() names the seed of a finding", () => {
  const error = assertThrows(
    () =>
      fuzz((seed) => {
        if (seed === 41) throw new TypeError("boom");
        return true;
      }, { count: 100 }),
    Error,
    "seed 41",
  );
  assert(error.cause instanceof TypeError);
});
