import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { hexToBytes } from "@noble/curves/utils.js";
import { digest } from "../../lib/crypto/hash.ts";
import {
  coefficientsReduced,
  decapsulate,
  hasMlKem,
  mlkem1024nistp384,
  mlkem768nistp256,
  mlkem768x25519,
} from "../../lib/crypto/kex/mlkem.ts";
import { nativeEcdhKey } from "../../lib/crypto/kex/nistp.ts";
import { encodeString } from "../../lib/crypto/kex/shared_secret.ts";
import { x25519Key } from "../../lib/crypto/kex/x25519.ts";
import vectors from "../vectors/mlkem768.json" with { type: "json" };
import { assertRefused, exchange, flipped } from "./_peers.ts";

/** WebCrypto's key encapsulation, as the tests use it. */
interface Kem {
  importKey(
    format: string,
    key: Uint8Array,
    algorithm: string,
    extractable: boolean,
    usages: string[],
  ): Promise<CryptoKey>;
  exportKey(format: string, key: CryptoKey): Promise<ArrayBuffer>;
  getPublicKey(key: CryptoKey, usages: string[]): Promise<CryptoKey>;
  generateKey(algorithm: string, extractable: boolean, usages: string[]): Promise<CryptoKeyPair>;
  encapsulateBits(algorithm: string, key: CryptoKey): Promise<{ sharedKey: ArrayBuffer; ciphertext: ArrayBuffer }>;
}
const subtle = crypto.subtle as unknown as Kem;

/** Sets coefficient `index` of an encapsulation key. */
function withCoefficient(key: Uint8Array, index: number, value: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(key);
  const at = 3 * (index >> 1);
  if (index % 2 === 0) {
    copy[at] = value & 0xff;
    copy[at + 1] = copy[at + 1]! & 0xf0 | value >> 8;
  } else {
    copy[at + 1] = copy[at + 1]! & 0x0f | (value & 0x0f) << 4;
    copy[at + 2] = value >> 4;
  }
  return copy;
}

Deno.test("decapsulate() computes the vectors of other implementations", async () => {
  assert(hasMlKem);
  assertEquals(vectors.vectors.length, 5);
  for (const { seed, ek, c, K, note } of vectors.vectors) {
    const key = await subtle.importKey("raw-seed", hexToBytes(seed), "ML-KEM-768", true, ["decapsulateBits"]);
    const publicKey = await subtle.getPublicKey(key, ["encapsulateBits"]);
    assertEquals(new Uint8Array(await subtle.exportKey("raw-public", publicKey)), hexToBytes(ek), note);
    assert(coefficientsReduced(hexToBytes(ek)), note);
    assertEquals(await decapsulate(key, hexToBytes(c)), hexToBytes(K), note);
  }
});

Deno.test("mlkem768x25519 agrees, in values of 1216 and 1120 bytes and a secret of 32 as a string", async () => {
  for (let i = 0; i < 20; i++) {
    const client = await mlkem768x25519.start();
    assertEquals(client.publicValue.length, 1216);
    const { publicValue, secret } = await mlkem768x25519.respond(client.publicValue);
    assertEquals(publicValue.length, 1120);
    assertEquals(secret.length, 36);
    assertEquals(secret.subarray(0, 4), new Uint8Array([0, 0, 0, 32]));
    assertEquals(await client.finish(publicValue), secret);
  }
});

Deno.test("mlkem768x25519 as a server makes K of the hash of K_PQ and K_CL in that order", async () => {
  const pair = await subtle.generateKey("ML-KEM-768", true, ["encapsulateBits", "decapsulateBits"]);
  const classical = await x25519Key();
  const ek = new Uint8Array(await subtle.exportKey("raw-public", pair.publicKey));
  const { publicValue, secret } = await mlkem768x25519.respond(concat([ek, classical.publicValue]));
  const postQuantum = await decapsulate(pair.privateKey, publicValue.subarray(0, 1088));
  const shared = await classical.agree(publicValue.subarray(1088));
  assertEquals(secret, encodeString(await digest("SHA-256", postQuantum, shared)));
});

Deno.test("mlkem768x25519 as a client makes K of the hash of K_PQ and K_CL in that order", async () => {
  const client = await mlkem768x25519.start();
  const key = await subtle.importKey("raw-public", client.publicValue.subarray(0, 1184), "ML-KEM-768", false, [
    "encapsulateBits",
  ]);
  const { sharedKey, ciphertext } = await subtle.encapsulateBits("ML-KEM-768", key);
  const classical = await x25519Key();
  const shared = await classical.agree(client.publicValue.subarray(1184));
  const secret = await client.finish(concat([new Uint8Array(ciphertext), classical.publicValue]));
  assertEquals(secret, encodeString(await digest("SHA-256", new Uint8Array(sharedKey), shared)));
});

Deno.test("mlkem768x25519 refuses values of any other length", async () => {
  for (const length of [0, 32, 1088, 1119, 1121, 1184, 1215, 1217, 2432]) {
    await assertRefused(mlkem768x25519, new Uint8Array(length).fill(9), `${length} bytes`);
  }
  // The length of the other side's value.
  const client = await mlkem768x25519.start();
  const { publicValue } = await mlkem768x25519.respond(client.publicValue);
  await assertRefusedBy(() => mlkem768x25519.respond(publicValue));
  await assertRefusedBy(() => client.finish(client.publicValue));
});

async function assertRefusedBy(act: () => Promise<unknown>): Promise<void> {
  let failure: unknown;
  try {
    await act();
  } catch (error) {
    failure = error;
  }
  assertEquals((failure as { reason?: number } | undefined)?.reason, 3);
}

Deno.test("mlkem768x25519 refuses a zero or low-order X25519 half on both sides", async () => {
  const client = await mlkem768x25519.start();
  const { publicValue } = await mlkem768x25519.respond(client.publicValue);
  for (const u of [0, 1]) {
    const half = new Uint8Array(32);
    half[0] = u;
    await assertRefusedBy(() => mlkem768x25519.respond(concat([client.publicValue.subarray(0, 1184), half])));
    await assertRefusedBy(() => client.finish(concat([publicValue.subarray(0, 1088), half])));
  }
});

Deno.test("coefficientsReduced() finds a coefficient of q or more at every position and of every such value", async () => {
  const { publicValue } = await mlkem768x25519.start();
  const ek = publicValue.subarray(0, 1184);
  assert(coefficientsReduced(ek));
  for (let i = 0; i < 768; i++) {
    assert(!coefficientsReduced(withCoefficient(ek, i, 3329)), `coefficient ${i} = q`);
    assert(!coefficientsReduced(withCoefficient(ek, i, 4095)), `coefficient ${i} = 4095`);
    assert(coefficientsReduced(withCoefficient(ek, i, 3328)), `coefficient ${i} = q - 1`);
  }
  for (let value = 3329; value < 4096; value++) assert(!coefficientsReduced(withCoefficient(ek, 5, value)));
});

Deno.test("mlkem768x25519 refuses an encapsulation key with a coefficient of q or more", async () => {
  const client = await mlkem768x25519.start();
  for (const [index, value] of [[0, 3329], [1, 3329], [767, 4095], [400, 3500]] as const) {
    const bad = withCoefficient(client.publicValue, index, value);
    await assertRefusedBy(() => mlkem768x25519.respond(bad));
  }
  await mlkem768x25519.respond(withCoefficient(client.publicValue, 3, 3328));
});

Deno.test("mlkem768x25519 gives another secret for a flipped ciphertext, so that the host signature fails", async () => {
  const client = await mlkem768x25519.start();
  const { publicValue, secret } = await mlkem768x25519.respond(client.publicValue);
  for (const at of [0, 500, 1087]) assertNotEquals(await client.finish(flipped(publicValue, at)), secret);
});

Deno.test("mlkem768x25519 gives a new secret each time", async () => {
  assertNotEquals(await exchange(mlkem768x25519), await exchange(mlkem768x25519));
});

/** The hybrids with NIST's curves: what they are made of, and how long their values are. */
const nist = [
  {
    name: "mlkem768nistp256",
    agreement: mlkem768nistp256,
    kem: "ML-KEM-768",
    curve: "P-256",
    hash: "SHA-256",
    key: 1184,
    ciphertext: 1088,
    point: 65,
  },
  {
    name: "mlkem1024nistp384",
    agreement: mlkem1024nistp384,
    kem: "ML-KEM-1024",
    curve: "P-384",
    hash: "SHA-384",
    key: 1568,
    ciphertext: 1568,
    point: 97,
  },
] as const;

for (const { name, agreement, kem, curve, hash, key, ciphertext, point } of nist) {
  Deno.test(`${name} agrees in values of the right lengths, and K is the hash of K_PQ and the whole x coordinate`, async () => {
    for (let i = 0; i < 5; i++) {
      const client = await agreement.start();
      assertEquals(client.publicValue.length, key + point);
      const { publicValue, secret } = await agreement.respond(client.publicValue);
      assertEquals(publicValue.length, ciphertext + point);
      assertEquals(await client.finish(publicValue), secret);
    }
    const pair = await subtle.generateKey(kem, true, ["encapsulateBits", "decapsulateBits"]);
    const classical = await nativeEcdhKey(curve);
    const ek = new Uint8Array(await subtle.exportKey("raw-public", pair.publicKey));
    const { publicValue, secret } = await agreement.respond(concat([ek, classical.publicValue]));
    const postQuantum = await decapsulate(pair.privateKey, publicValue.slice(0, ciphertext), kem);
    const shared = await classical.agree(publicValue.slice(ciphertext));
    assertEquals(shared.length, (point - 1) / 2);
    assertEquals(secret, encodeString(await digest(hash, postQuantum, shared)));
  });

  Deno.test(`${name} refuses other lengths, points that are none, and coefficients of q or more`, async () => {
    for (
      const length of [0, point, key, key + point - 1, key + point + 1, ciphertext + point - 1, ciphertext + point + 1]
    ) {
      if (length !== key + point) await assertRefused(agreement, new Uint8Array(length).fill(4), `${length} bytes`);
    }
    const client = await agreement.start(), { publicValue, secret } = await agreement.respond(client.publicValue);
    for (
      const bad of [
        new Uint8Array(point),
        flipped(client.publicValue.slice(key), 5),
        flipped(client.publicValue.slice(key), 0),
      ]
    ) {
      await assertRefusedBy(() => agreement.respond(concat([client.publicValue.slice(0, key), bad])));
      await assertRefusedBy(() => client.finish(concat([publicValue.slice(0, ciphertext), bad])));
    }
    await assertRefusedBy(() => agreement.respond(withCoefficient(client.publicValue, 0, 3329)));
    const last = 2 * (key - 32) / 3 - 1;
    await assertRefusedBy(() => agreement.respond(withCoefficient(client.publicValue, last, 4095)));
    assertNotEquals(await client.finish(flipped(publicValue, 500)), secret);
  });
}
