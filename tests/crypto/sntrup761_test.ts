/** Streamlined NTRU Prime 761, held to what OpenSSH's code computes, and its parts to plain twins of them. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { digest } from "../../lib/crypto/hash.ts";
import { encodeString } from "../../lib/crypto/kex/shared_secret.ts";
import { decapsulate, encapsulate, generateSntrup761, type RandomBytes } from "../../lib/crypto/kex/sntrup761.ts";
import { decode, encode, encodeSmall, encodingOf } from "../../lib/crypto/kex/sntrup761_encoding.ts";
import {
  mod3,
  modQ,
  P,
  type Polynomial,
  Q,
  reciprocalModulo3,
  reciprocalOf3Times,
  sorted,
  timesModulo3,
  timesSmall,
} from "../../lib/crypto/kex/sntrup761_rings.ts";
import { sntrup761x25519 } from "../../lib/crypto/kex/sntrup761x25519.ts";
import { x25519Key } from "../../lib/crypto/kex/x25519.ts";
import { Prng } from "../_support/fuzz.ts";
import vectors from "../vectors/sntrup761.json" with { type: "json" };
import { assertRefused, exchange, flipped } from "./_peers.ts";

const hex = (text: string) => Uint8Array.fromHex(text);

/** Bytes of a vector, in the order taken; all of them must be. */
function recorded(text: string): { random: RandomBytes; rest(): number } {
  let bytes = hex(text);
  return {
    random(length) {
      const taken = bytes.slice(0, length);
      assertEquals(taken.length, length);
      bytes = bytes.slice(length);
      return taken;
    },
    rest: () => bytes.length,
  };
}

function seeded(seed: number): (from: number, to: number) => number {
  const prng = new Prng(seed);
  return (from, to) => from + prng.u32() % (to - from + 1);
}

function polynomial(seed: number, from: number, to: number): Polynomial {
  const below = seeded(seed);
  return Int32Array.from({ length: P }, () => below(from, to));
}

/** `x` modulo `m`, with the remainder of least size. */
const centred = (x: number, m: number) => ((x + (m - 1) / 2) % m + m) % m - (m - 1) / 2;

/** The product modulo x^761 - x - 1 and `m`, as one learns it. */
function plainProduct(a: Polynomial, b: Polynomial, m: number): Polynomial {
  const wide = new Array<number>(2 * P - 1).fill(0);
  for (let i = 0; i < P; i++) for (let j = 0; j < P; j++) wide[i + j]! += a[i]! * b[j]!;
  for (let i = 2 * P - 2; i >= P; i--) {
    wide[i - P]! += wide[i]!;
    wide[i - P + 1]! += wide[i]!;
  }
  return Int32Array.from(wide.slice(0, P), (x) => centred(x, m));
}

const one = new Int32Array(P);
one[0] = 1;

Deno.test("keys, ciphertexts and secrets are those of OpenSSH's code for the same random bytes", async () => {
  assertEquals(vectors.cases.length, 4);
  for (const vector of vectors.cases) {
    const forKey = recorded(vector.keygenRandom), key = generateSntrup761(forKey.random);
    assertEquals(key.publicKey.toHex(), vector.publicKey);
    const secretKey = concat([encodeSmall(key.f), encodeSmall(key.gInverse), key.publicKey, key.rho]);
    assert(vector.secretKey.startsWith(secretKey.toHex()));
    const forSecret = recorded(vector.encapsulateRandom);
    const made = await encapsulate(hex(vector.publicKey), forSecret.random);
    assertEquals(made!.ciphertext.toHex(), vector.ciphertext);
    assertEquals(made!.secret.toHex(), vector.sharedSecret);
    assertEquals([forKey.rest(), forSecret.rest()], [0, 0]);
    assertEquals((await decapsulate(key, hex(vector.ciphertext))).toHex(), vector.sharedSecret);
    const tampered = await decapsulate(key, flipped(hex(vector.ciphertext), vector.tamperedAt));
    assertEquals(tampered.toHex(), vector.rejectedSecret);
  }
});

Deno.test("decapsulate() rejects every flipped, cut and foreign ciphertext with a secret of its own that is always the same", async () => {
  const key = generateSntrup761(), other = generateSntrup761();
  const { ciphertext, secret } = (await encapsulate(key.publicKey))!;
  assertEquals(await decapsulate(key, ciphertext), secret);
  const foreign = await encapsulate(other.publicKey), seen = new Set([secret.toHex()]);
  const bad = [0, 1, 500, 1006, 1007, 1022, 1038].map((at) => flipped(ciphertext, at));
  for (const one of [...bad, foreign!.ciphertext, new Uint8Array(1039), new Uint8Array(1039).fill(0xff)]) {
    const rejected = await decapsulate(key, one);
    assertEquals(rejected.length, 32);
    assert(!seen.has(rejected.toHex()));
    seen.add(rejected.toHex());
    assertEquals(await decapsulate(key, one), rejected);
    // It depends on what is secret of the key: whoever has the ciphertext cannot compute it.
    assertNotEquals(await decapsulate({ ...key, rho: flipped(key.rho, 3) }, one), rejected);
  }
});

Deno.test("encapsulate() takes a key only as keys are written, and draws new randomness each time", async () => {
  const { publicKey } = generateSntrup761();
  const first = await encapsulate(publicKey), second = await encapsulate(publicKey);
  assertNotEquals(first!.ciphertext, second!.ciphertext);
  assertNotEquals(first!.secret, second!.secret);
  assertEquals(await encapsulate(new Uint8Array(1158).fill(0xff)), null);
  // The last bytes hold the topmost number, which never reaches their whole range.
  for (const last of [0x80, 0xff]) {
    const bad = publicKey.slice();
    bad.fill(last, 1156);
    assertEquals(await encapsulate(bad), null);
  }
});

Deno.test("short polynomials have 286 coefficients that are not 0, small ones all three in like numbers", () => {
  const { f, gInverse } = generateSntrup761();
  assertEquals(f.reduce((sum, x) => sum + Math.abs(x), 0), 286);
  for (const polynomial of [f, gInverse]) assert(polynomial.every((x) => x >= -1 && x <= 1));
  const count = (value: number) => gInverse.filter((x) => x === value).length;
  for (const value of [-1, 0, 1]) assert(count(value) > 150, `${value}: ${count(value)}`);
});

Deno.test("modQ() and mod3() are what % gives, at every edge and far from them", () => {
  for (const [reduce, m, bound] of [[modQ, Q, 2 ** 25], [mod3, 3, 2 ** 14]] as const) {
    const below = seeded(m);
    const values = Array.from({ length: 50_000 }, () => below(1 - bound, bound - 1));
    for (let i = -3 * m; i <= 3 * m; i++) values.push(i);
    for (let i = 1; i <= 10; i++) values.push(bound - i, i - bound);
    for (const x of values) {
      if (reduce(x) !== centred(x, m)) assertEquals(reduce(x), centred(x, m), `${x} modulo ${m}`);
    }
  }
});

Deno.test("products are those of a plain multiplication, at the largest coefficients as well", () => {
  for (let seed = 0; seed < 3; seed++) {
    const a = polynomial(seed, -2295, 2295), small = polynomial(100 + seed, -1, 1);
    assertEquals(timesSmall(a, small), plainProduct(a, small, Q));
    assertEquals(
      timesModulo3(polynomial(200 + seed, -1, 1), small),
      plainProduct(polynomial(200 + seed, -1, 1), small, 3),
    );
  }
  for (const [x, y] of [[2295, 1], [2295, -1], [-2295, -1]] as const) {
    const a = new Int32Array(P).fill(x), small = new Int32Array(P).fill(y);
    assertEquals(timesSmall(a, small), plainProduct(a, small, Q));
  }
  assertEquals(timesSmall(polynomial(7, -2295, 2295), one), polynomial(7, -2295, 2295));
});

Deno.test("reciprocals times what they were made of are 1, in both rings", () => {
  for (let seed = 0; seed < 12; seed++) {
    const small = polynomial(300 + seed, -1, 1);
    const threefold = timesSmall(reciprocalOf3Times(small), small).map((x) => centred(3 * x, Q));
    assertEquals(threefold, one);
    // Nearly all have one.
    assertEquals(timesModulo3(reciprocalModulo3(small)!, small), one);
  }
  assertEquals(reciprocalOf3Times(one).map((x) => centred(3 * x, Q)), one);
  assertEquals(reciprocalModulo3(one), one);
  assertEquals(reciprocalModulo3(new Int32Array(P)), null);
  const minusOne = one.map((x) => -x);
  assertEquals(reciprocalModulo3(minusOne), minusOne);
});

Deno.test("generateSntrup761() tries again where g has no inverse", () => {
  let asked = 0;
  const key = generateSntrup761((length) => {
    const bytes = crypto.getRandomValues(new Uint8Array(length));
    // g is 0 the first time: each word's low 30 bits are a third of what there is.
    if (asked++ === 0) { for (let i = 0; i < length; i += 4) bytes.set([0, 0, 0, 0x20], i); }
    return bytes;
  });
  assertEquals(asked, 4);
  assertEquals(key.publicKey.length, 1158);
});

Deno.test("sorted() sorts numbers with a sign, of any values and in any order, as many as there are", () => {
  const below = seeded(5);
  for (const count of [2, 3, 4, 5, 31, 32, 33, 255, 256, 257, 760, 761]) {
    const values = Int32Array.from({ length: count }, () => below(-(2 ** 31), 2 ** 31 - 1));
    const few = Int32Array.from({ length: count }, () => below(-1, 1));
    const edges = Int32Array.from({ length: count }, (_, i) => [2 ** 31 - 1, -(2 ** 31), 0, -1, 1][i % 5]!);
    for (const one of [values, few, edges, values.toSorted(), values.toSorted().reverse()]) {
      assertEquals(sorted(one), one.toSorted());
    }
  }
});

Deno.test("encode() writes numbers in as many bytes as the moduli say, and decode() reads them again", () => {
  const below = seeded(6);
  for (const [modulus, length] of [[4591, 1158], [1531, 1007]] as const) {
    const encoding = encodingOf(modulus);
    for (const pick of [() => 0, () => modulus - 1, () => below(0, modulus - 1), (i: number) => i % modulus]) {
      const values = Uint32Array.from({ length: P }, (_, i) => pick(i));
      const bytes = encode(encoding, values.slice(), length);
      assertEquals(decode(encoding, bytes), values);
    }
    // Whatever the bytes are, the numbers are below the modulus.
    for (const fill of [0x80, 0xff]) {
      assert(decode(encoding, new Uint8Array(length).fill(fill)).every((value) => value < modulus));
    }
  }
});

Deno.test("sntrup761x25519 agrees, in values of 1190 and 1071 bytes and a secret of 64 as a string", async () => {
  for (let i = 0; i < 10; i++) {
    const client = await sntrup761x25519.start();
    assertEquals(client.publicValue.length, 1190);
    const { publicValue, secret } = await sntrup761x25519.respond(client.publicValue);
    assertEquals(publicValue.length, 1071);
    assertEquals(secret.subarray(0, 4), Uint8Array.of(0, 0, 0, 64));
    assertEquals(secret.length, 68);
    assertEquals(await client.finish(publicValue), secret);
  }
  assertNotEquals(await exchange(sntrup761x25519), await exchange(sntrup761x25519));
});

Deno.test("sntrup761x25519 makes K of the hash of K_PQ and K_CL in that order, in both roles", async () => {
  const key = generateSntrup761(), ours = await x25519Key();
  const { publicValue, secret } = await sntrup761x25519.respond(concat([key.publicKey, ours.publicValue]));
  const parts = [await decapsulate(key, publicValue.slice(0, 1039)), await ours.agree(publicValue.slice(1039))];
  assertEquals(secret, encodeString(await digest("SHA-512", ...parts)));

  const client = await sntrup761x25519.start(), theirs = await x25519Key();
  const made = (await encapsulate(client.publicValue.slice(0, 1158)))!;
  const shared = await theirs.agree(client.publicValue.slice(1158));
  const agreed = await client.finish(concat([made.ciphertext, theirs.publicValue]));
  assertEquals(agreed, encodeString(await digest("SHA-512", made.secret, shared)));
});

Deno.test("sntrup761x25519 refuses other lengths, keys that no encoder wrote, and an X25519 half of low order", async () => {
  for (const length of [0, 32, 1039, 1070, 1072, 1158, 1189, 1191, 2380]) {
    await assertRefused(sntrup761x25519, new Uint8Array(length).fill(1), `${length} bytes`);
  }
  const client = await sntrup761x25519.start(),
    { publicValue, secret } = await sntrup761x25519.respond(client.publicValue);
  const refused = async (act: () => Promise<unknown>) => {
    const error = await act().then(() => null, (error) => error);
    assertEquals((error as { code?: string; reason?: number } | null)?.reason, 3);
    assertEquals((error as { code?: string } | null)?.code, "PROTOCOL_ERROR");
  };
  await refused(() => sntrup761x25519.respond(publicValue));
  await refused(() => client.finish(client.publicValue));
  await refused(() => sntrup761x25519.respond(client.publicValue.map((byte, i) => i < 1158 ? 0xff : byte)));
  for (const u of [0, 1]) {
    const half = new Uint8Array(32);
    half[0] = u;
    await refused(() => sntrup761x25519.respond(concat([client.publicValue.slice(0, 1158), half])));
    await refused(() => client.finish(concat([publicValue.slice(0, 1039), half])));
  }
  // Whatever else comes is for the signature to tell.
  for (const at of [0, 700, 1020]) assertNotEquals(await client.finish(flipped(publicValue, at)), secret);
});
