import { assertEquals, assertRejects } from "@std/assert";
import { bcryptPbkdf } from "../../lib/keys/format/bcrypt_pbkdf.ts";
import { Blowfish } from "../../lib/keys/format/blowfish.ts";
import { tables } from "../../lib/keys/format/blowfish_tables.ts";
import { vectors } from "../_support/key_vectors.ts";

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

/** The integer square root, by Newton's method from above. */
function squareRoot(n: bigint): bigint {
  let root = 1n << BigInt((n.toString(16).length + 1) * 2);
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** Chudnovsky's series from term `a` up to `b`, by binary splitting: the P, Q and T of the recurrence. */
function series(a: bigint, b: bigint): [p: bigint, q: bigint, t: bigint] {
  if (b - a === 1n) {
    const p = a === 0n ? 1n : (6n * a - 5n) * (2n * a - 1n) * (6n * a - 1n);
    const q = a === 0n ? 1n : a * a * a * 10939058860032000n;
    const t = p * (13591409n + 545140134n * a);
    return [p, q, a & 1n ? -t : t];
  }
  const middle = (a + b) >> 1n;
  const [p1, q1, t1] = series(a, middle), [p2, q2, t2] = series(middle, b);
  return [p1 * p2, q1 * q2, q2 * t1 + p1 * t2];
}

Deno.test("Blowfish begins with the fraction of pi", () => {
  const bits = 32 * 1042, guard = 64;
  // Each term gives 47.1 bits.
  const [, q, t] = series(0n, BigInt(Math.ceil((bits + guard) / 47)));
  const pi = 426880n * squareRoot(10005n << (2n * BigInt(bits + guard))) * q / t;
  const fraction = ((pi >> BigInt(guard)) & ((1n << BigInt(bits)) - 1n)).toString(16).padStart(bits / 4, "0");
  assertEquals(Uint8Array.fromBase64(tables).toHex(), fraction);
});

Deno.test("Blowfish encrypts a block as Schneier's vectors say", () => {
  // An all-zero key leaves the tables to pi alone; the block is Eric Young's first test vector.
  const cipher = new Blowfish();
  cipher.expand(new Int32Array(16), null);
  const block = new Int32Array(2);
  cipher.encrypt(block);
  assertEquals([...block].map((word) => (word >>> 0).toString(16)), ["4ef99745", "6198dd78"]);
});
