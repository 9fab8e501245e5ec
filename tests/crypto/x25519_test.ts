import { assert, assertEquals, assertRejects } from "@std/assert";
import { concat } from "@std/bytes";
import { hexToBytes } from "@noble/curves/utils.js";
import { x25519 as noble } from "@noble/curves/ed25519.js";
import { SshProtocolError } from "../../lib/errors.ts";
import { encodeMpint } from "../../lib/crypto/kex/shared_secret.ts";
import { curve25519, x25519Agree, x25519Key } from "../../lib/crypto/kex/x25519.ts";
import vectors from "../vectors/x25519.json" with { type: "json" };
import { assertRefused, exchange } from "./_peers.ts";

/** The PKCS #8 frame of RFC 8410 around a private key. */
function privateKeyOf(bytes: Uint8Array): Promise<CryptoKey> {
  const pkcs8 = concat([hexToBytes("302e020100300506032b656e04220420"), bytes]);
  return crypto.subtle.importKey("pkcs8", pkcs8, "X25519", false, ["deriveBits"]);
}

Deno.test("x25519Agree() computes the vectors of RFC 7748 and of OpenSSL", async () => {
  assertEquals(vectors.vectors.length, 9);
  for (const { private: secret, peer, shared, note } of vectors.vectors) {
    const result = await x25519Agree(await privateKeyOf(hexToBytes(secret)), hexToBytes(peer));
    assertEquals(result, hexToBytes(shared), note);
  }
});

Deno.test("x25519Agree() agrees with another implementation", async () => {
  for (let i = 0; i < 10; i++) {
    const key = await x25519Key();
    const other = noble.utils.randomSecretKey();
    assertEquals(
      await key.agree(noble.getPublicKey(other)),
      new Uint8Array(noble.getSharedSecret(other, key.publicValue)),
    );
  }
});

Deno.test("x25519Agree() refuses every point of low order in every encoding", async () => {
  assertEquals(vectors.lowOrder.length, 12);
  const points = [...vectors.lowOrder.map((hex) => hexToBytes(hex))];
  for (const u of [0, 1]) {
    const topBit = new Uint8Array(32);
    topBit[0] = u;
    topBit[31] = 0x80;
    points.push(topBit);
  }
  const key = await x25519Key();
  for (const point of points) {
    const error = await assertRejects(() => key.agree(point), SshProtocolError, "Curve25519");
    assertEquals(error.reason, 3);
  }
  for (const point of points.slice(0, 3)) await assertRefused(curve25519, point, point.join());
});

Deno.test("x25519Agree() refuses a zero secret even when WebCrypto does not", async () => {
  const { subtle } = crypto;
  const key = await x25519Key();
  const original = subtle.deriveBits;
  subtle.deriveBits = () => Promise.resolve(new ArrayBuffer(32));
  try {
    await assertRejects(
      () => key.agree(noble.getPublicKey(noble.utils.randomSecretKey())),
      SshProtocolError,
      "low order",
    );
  } finally {
    subtle.deriveBits = original;
  }
});

Deno.test("curve25519 refuses values that are not 32 bytes long", async () => {
  for (const length of [0, 1, 31, 33, 64, 1216]) {
    await assertRefused(curve25519, new Uint8Array(length).fill(9), `${length}`);
  }
});

Deno.test("curve25519 agrees, and its secret is a minimal mpint", async () => {
  const lengths = new Set<number>();
  for (let i = 0; i < 300; i++) {
    const secret = await exchange(curve25519);
    lengths.add(secret.length);
    assertEquals(secret, encodeMpint(secret.subarray(4)));
  }
  assert(lengths.has(36) && lengths.has(37), "both lengths occur: top bit set and not");
});

Deno.test("curve25519 does not change the value it is given", async () => {
  const client = await curve25519.start();
  const value = new Uint8Array(client.publicValue);
  await curve25519.respond(value);
  assertEquals(value, client.publicValue);
});
