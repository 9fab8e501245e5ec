import { assertEquals, assertRejects } from "@std/assert";
import { bcryptPbkdf } from "../../lib/keys/bcrypt_pbkdf.ts";
import { Blowfish } from "../../lib/keys/blowfish.ts";
import { vectors } from "./_help.ts";

interface Vector {
  passphrase: string;
  salt: string;
  length: number;
  rounds: number;
  key: string;
}

Deno.test("bcryptPbkdf() derives the known keys", async () => {
  for (const { passphrase, salt, length, rounds, key } of vectors<Vector>("bcrypt_pbkdf", 7)) {
    const derived = await bcryptPbkdf(Uint8Array.fromHex(passphrase), Uint8Array.fromHex(salt), length, rounds);
    assertEquals(derived.toHex(), key);
  }
});

Deno.test("bcryptPbkdf() refuses what has no meaning", async () => {
  const one = new Uint8Array(1);
  for (
    const [passphrase, salt, length, rounds] of [
      [new Uint8Array(0), one, 1, 1],
      [one, new Uint8Array(0), 1, 1],
      [one, one, 0, 1],
      [one, one, 1025, 1],
      [one, one, 1, 0],
    ] as const
  ) await assertRejects(() => bcryptPbkdf(passphrase, salt, length, rounds), RangeError);
});

Deno.test("Blowfish computes its tables from pi", () => {
  // An all-zero key leaves the tables to pi alone; the block is Eric Young's first test vector.
  const cipher = new Blowfish();
  cipher.expand(new Int32Array(16), null);
  const block = new Int32Array(2);
  cipher.encrypt(block);
  assertEquals([...block].map((word) => (word >>> 0).toString(16)), ["4ef99745", "6198dd78"]);
});
