import { assert, assertEquals } from "@std/assert";
import { fillRandom, randomBytes } from "../../lib/crypto/random.ts";
import { kexMethods } from "../../lib/crypto/kex/methods.ts";

Deno.test("randomBytes() gives the length asked for, past what one call of the system gives", () => {
  for (const n of [0, 1, 16, 65_536, 65_537, 200_000]) assertEquals(randomBytes(n).length, n);
  const big = randomBytes(200_000);
  for (let at = 0; at < big.length; at += 1_000) {
    assert(big.subarray(at, at + 1_000).some((byte) => byte !== 0), `${at}: not filled`);
  }
});

Deno.test("randomBytes() and fillRandom() do not repeat themselves", () => {
  const seen = new Set<string>();
  const view = new Uint8Array(16);
  for (let i = 0; i < 5_000; i++) {
    fillRandom(view);
    seen.add(view.join());
    seen.add(randomBytes(16).join());
  }
  assertEquals(seen.size, 10_000);
});

Deno.test("fillRandom() fills views of any size and touches nothing beside them", () => {
  for (const n of [0, 1, 255, 16_383, 16_384, 16_385, 100_000]) {
    const memory = new Uint8Array(n + 2);
    fillRandom(memory.subarray(1, n + 1));
    assertEquals([memory[0], memory[n + 1]], [0, 0]);
    if (n >= 255) {
      const counts = new Uint32Array(256);
      for (const byte of memory.subarray(1, n + 1)) counts[byte]!++;
      // The expected share of one value is n / 256; eight standard deviations away is a defect.
      const most = n / 256 + 8 * Math.sqrt(n / 256) + 8;
      assert(counts.every((count) => count < most), "a byte value comes far too often");
    }
  }
});

Deno.test("fillRandom() and ephemeral keys do not depend on Math.random()", async () => {
  const original = Math.random;
  Math.random = () => {
    throw new Error("Math.random was called");
  };
  try {
    fillRandom(new Uint8Array(40_000));
    randomBytes(32);
    for (const { name, agreement } of kexMethods.values()) {
      if (agreement === null || name.includes("group18")) continue;
      const one = await agreement.start(), two = await agreement.start();
      assert(one.publicValue.join() !== two.publicValue.join(), `${name}: the same key twice`);
    }
  } finally {
    Math.random = original;
  }
});
