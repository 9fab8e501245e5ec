import { assert, assertEquals, assertRejects } from "@std/assert";
import { concat } from "@std/bytes";
import { getDiffieHellman } from "node:crypto";
import { SshProtocolError } from "../../lib/errors.ts";
import { dhAgreement, isPublicValue, modpAgreement, modPow } from "../../lib/crypto/kex/dh.ts";
import {
  MODP_2048,
  MODP_3072,
  MODP_4096,
  MODP_6144,
  MODP_8192,
  type ModpGroup,
  OAKLEY_GROUP_2,
} from "../../lib/crypto/kex/dh_groups.ts";
import { randomBytes } from "../../lib/crypto/random.ts";
import { bigIntOf, encodeMpint } from "../../lib/crypto/kex/shared_secret.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { bitLength } from "../../lib/wire/integers.ts";
import { mpintBytes } from "../../lib/wire/writer.ts";
import { exchange } from "./_peers.ts";

/** The groups by the names of node:crypto, with the constant of their formula in RFC 2409 and RFC 3526. */
const groups: [group: ModpGroup, node: string, constant: bigint][] = [
  [OAKLEY_GROUP_2, "modp2", 129_093n],
  [MODP_2048, "modp14", 124_476n],
  [MODP_3072, "modp15", 1_690_314n],
  [MODP_4096, "modp16", 240_904n],
  [MODP_6144, "modp17", 929_484n],
  [MODP_8192, "modp18", 4_743_158n],
];

const primeOf = (group: ModpGroup) => BigInt("0x" + group.hex);

/** floor(2^bits * pi), by Machin's formula. */
function scaledPi(bits: bigint): bigint {
  const one = 1n << (bits + 64n);
  const arctan = (x: bigint) => {
    let sum = 0n;
    for (let n = 1n, term = one / x, sign = 1n; term > 0n; n += 2n, term /= x * x, sign = -sign) {
      sum += sign * (term / n);
    }
    return sum;
  };
  return (4n * (4n * arctan(5n) - arctan(239n))) >> 64n;
}

Deno.test("the fixed groups are those of RFC 2409 and RFC 3526: 2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) pi) + k)", () => {
  for (const [group, node, constant] of groups) {
    const n = BigInt(group.bits);
    const p = (1n << n) - (1n << (n - 64n)) - 1n + (1n << 64n) * (scaledPi(n - 130n) + constant);
    assertEquals(primeOf(group), p, node);
    assertEquals(bitLength(p), group.bits, node);
    assertEquals(getDiffieHellman(node).getPrime("hex"), group.hex, node);
  }
});

Deno.test("modPow() agrees with plain square and multiply", () => {
  const plain = (base: bigint, exponent: bigint, modulus: bigint) => {
    let result = 1n;
    for (let e = exponent, b = base % modulus; e > 0n; e >>= 1n, b = b * b % modulus) {
      if ((e & 1n) === 1n) result = result * b % modulus;
    }
    return result;
  };
  for (let i = 0; i < 40; i++) {
    const modulus = bigIntOf(randomBytes(1 + i * 4)) | 3n;
    const base = bigIntOf(randomBytes(1 + i * 4)) % modulus;
    const exponent = randomBytes(64);
    if (i % 4 === 0) exponent.fill(0, 0, 1 + i);
    assertEquals(modPow(base, exponent, modulus), plain(base, bigIntOf(exponent), modulus));
  }
});

Deno.test("bitLength() counts bits", () => {
  for (const [value, bits] of [[1n, 1], [2n, 2], [255n, 8], [256n, 9], [1n << 2047n, 2048]] as const) {
    assertEquals(bitLength(value), bits);
  }
});

for (const [group, node] of groups) {
  const p = primeOf(group);
  const agreement = modpAgreement(group);

  Deno.test(`modpAgreement() with ${group.bits} bits agrees with itself`, async () => {
    await exchange(agreement);
  });

  if (group.bits <= 4096) {
    Deno.test(`modpAgreement() with ${group.bits} bits agrees with node:crypto`, async () => {
      const other = getDiffieHellman(node);
      other.generateKeys();
      const value = bigIntOf(new Uint8Array(other.getPublicKey()));
      const { publicValue, secret } = await agreement.respond(mpintBytes(value));
      assertEquals(secret, encodeMpint(new Uint8Array(other.computeSecret(publicValue))));
    });
  }

  // Row 51 of the list of attacks.
  Deno.test(`modpAgreement() with ${group.bits} bits refuses values out of range, on both sides, with reason 3`, async () => {
    const client = await agreement.start();
    const negative = new Uint8Array(p.toString(16).length / 2).fill(0xff);
    negative[0] = 0x80;
    const bad: [string, Uint8Array][] = [
      ["0", mpintBytes(0n)],
      ["1", mpintBytes(1n)],
      ["p - 1", mpintBytes(p - 1n)],
      ["p", mpintBytes(p)],
      ["p + 1", mpintBytes(p + 1n)],
      ["p << 64", mpintBytes(p << 64n)],
      ["2p - 2", mpintBytes(2n * p - 2n)],
      ["negative", negative],
      ["-1", new Uint8Array([0xff])],
      ["one bit", mpintBytes(1n << 700n)],
      ["three bits", mpintBytes((1n << 900n) | (1n << 33n) | 1n)],
      ["a zero byte", new Uint8Array([0])],
      ["needless leading zero", concat([new Uint8Array([0]), mpintBytes((p >> 9n) | 1n)])],
      ["a megabyte", new Uint8Array(1 << 20).fill(1)],
    ];
    for (const [what, value] of bad) {
      for (const act of [() => agreement.respond(value), () => client.finish(value)]) {
        const error = await assertRejects(act, SshProtocolError, "Diffie-Hellman value", what);
        assertEquals(error.reason, 3, what);
      }
    }
  });
}

Deno.test("isPublicValue() takes what lies strictly between 1 and p - 1 and has four bits set", () => {
  const p = primeOf(MODP_2048);
  for (const value of [15n, p - 2n, p >> 1n]) assert(isPublicValue(value, p));
  for (const value of [-1n, -15n, 0n, 1n, 2n, 7n, p - 1n, p]) assert(!isPublicValue(value, p));
});

Deno.test("modpAgreement() sends minimal mpints, also where the value has its top bit set or is short", async () => {
  const agreement = modpAgreement(OAKLEY_GROUP_2);
  const lengths = new Set<number>();
  for (let i = 0; i < 60; i++) {
    const client = await agreement.start();
    const { publicValue, secret } = await agreement.respond(client.publicValue);
    for (const value of [client.publicValue, publicValue]) {
      lengths.add(value.length);
      assertEquals(mpintBytes(bigIntOf(value)), value);
    }
    // The reader refuses a secret that is not minimal.
    const reader = new Reader(secret);
    reader.mpint();
    reader.end();
  }
  assert(lengths.has(128) && lengths.has(129));
});

// Row 57: with a small modulus every shape of K comes up, short ones and ones with the top bit set.
Deno.test("dhAgreement() gives both sides the same K whatever its leading bytes, 2,000 times and more", async () => {
  // The largest safe prime below 2^64.
  const agreement = dhAgreement(0xffff_ffff_ffff_fa43n, 2n);
  const lengths = new Set<number>();
  const isWhole = (): boolean => [9, 8, 7].every((bytes) => lengths.has(4 + bytes));
  // One in 512 has a byte less.
  for (let i = 0; i < 2_000 || i < 20_000 && !isWhole(); i++) lengths.add((await exchange(agreement)).length);
  assert(isWhole(), [...lengths].join());
});

Deno.test("dhAgreement() refuses a group whose generator gives a trivial public value", async () => {
  const p = primeOf(MODP_2048);
  const error = await assertRejects(() => dhAgreement(p, p - 1n).start(), SshProtocolError, "group is not usable");
  assertEquals(error.reason, 3);
});
