import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { hexToBytes } from "@noble/curves/utils.js";
import { p256, p384, p521 } from "@noble/curves/nist.js";
import { coordinateLength, isOnCurve, type NistCurve } from "../../lib/crypto/kex/nist_curves.ts";
import { ecdhAgreement, nativeEcdh, nativeEcdhKey, nobleEcdhKey } from "../../lib/crypto/kex/nistp.ts";
import { encodeMpint } from "../../lib/crypto/kex/shared_secret.ts";
import vectors from "../vectors/ecdh_nist.json" with { type: "json" };
import { assertRefused, exchange, flipped } from "./_peers.ts";

const curves: NistCurve[] = ["P-256", "P-384", "P-521"];
const nobles = { "P-256": p256, "P-384": p384, "P-521": p521 };

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function privateKeyOf(curve: NistCurve, d: Uint8Array, point: Uint8Array): Promise<CryptoKey> {
  const length = coordinateLength(curve);
  const x = base64url(point.subarray(1, 1 + length)), y = base64url(point.subarray(1 + length));
  const jwk = { kty: "EC", crv: curve, d: base64url(d), x, y };
  return crypto.subtle.importKey("jwk", jwk, { name: "ECDH", namedCurve: curve }, false, ["deriveBits"]);
}

Deno.test("nativeEcdh() computes the vectors of RFC 5903 and of OpenSSL", async () => {
  assertEquals(vectors.vectors.length, 16);
  for (const { curve, private: d, public: point, peer, shared, note } of vectors.vectors) {
    const name = curve as NistCurve;
    assert(isOnCurve(name, hexToBytes(point)) && isOnCurve(name, hexToBytes(peer)), note);
    const key = await privateKeyOf(name, hexToBytes(d), hexToBytes(point));
    assertEquals(await nativeEcdh(name, key, new Uint8Array(hexToBytes(peer))), hexToBytes(shared), `${curve} ${note}`);
  }
});

for (const curve of curves) {
  const length = coordinateLength(curve);

  Deno.test(`ecdhAgreement() of ${curve} agrees, natively, in software and across both`, async () => {
    await exchange(ecdhAgreement(curve));
    const native = await nativeEcdhKey(curve), software = await nobleEcdhKey(curve);
    const secret = await native.agree(software.publicValue);
    assertEquals(secret.length, length);
    assertEquals(await software.agree(native.publicValue), secret);
    assert(isOnCurve(curve, native.publicValue) && isOnCurve(curve, software.publicValue));
  });

  Deno.test(`ecdhAgreement() of ${curve} gives the x coordinate as an mpint`, async () => {
    const noble = nobles[curve];
    const secretKey = noble.utils.randomSecretKey();
    const { publicValue, secret } = await ecdhAgreement(curve).respond(noble.getPublicKey(secretKey, false));
    assertEquals(secret, encodeMpint(noble.getSharedSecret(secretKey, publicValue, true).subarray(1)));
  });

  Deno.test(`ecdhAgreement() of ${curve} falls back to software where the runtime lacks the curve`, async () => {
    const { subtle } = crypto;
    const original = subtle.generateKey;
    subtle.generateKey = (() =>
      Promise.reject(new DOMException("no such curve", "NotSupportedError"))) as typeof original;
    try {
      await exchange(ecdhAgreement(curve));
    } finally {
      subtle.generateKey = original;
    }
  });

  Deno.test(`ecdhAgreement() of ${curve} refuses what is not an uncompressed point of the curve`, async () => {
    const agreement = ecdhAgreement(curve);
    const noble = nobles[curve];
    const secretKey = noble.utils.randomSecretKey();
    const point = new Uint8Array(noble.getPublicKey(secretKey, false));
    const p = noble.Point.Fp.ORDER;
    const fieldBytes = (value: bigint) => hexToBytes(value.toString(16).padStart(2 * length, "0"));
    const x = BigInt("0x" + noble.Point.BASE.x.toString(16)), y = noble.Point.BASE.y;
    const bad: [string, Uint8Array][] = [
      ["x off the curve", flipped(point, 1 + length - 1)],
      ["y off the curve", flipped(point, -1)],
      ["empty", new Uint8Array(0)],
      ["infinity", new Uint8Array([0])],
      ["infinity, padded", new Uint8Array(1 + 2 * length)],
      ["(0, 0)", concat([new Uint8Array([4]), new Uint8Array(2 * length)])],
      ["compressed", noble.getPublicKey(secretKey, true)],
      ["hybrid form", concat([new Uint8Array([6 + (point.at(-1)! & 1)]), point.subarray(1)])],
      ["no form byte", point.subarray(1)],
      ["one byte short", point.subarray(0, -1)],
      ["one byte more", concat([point, new Uint8Array(1)])],
      ["x = p", concat([new Uint8Array([4]), fieldBytes(p), point.subarray(1 + length)])],
      ["y = p", concat([new Uint8Array([4]), point.subarray(1, 1 + length), fieldBytes(p)])],
      ["all ones", concat([new Uint8Array([4]), new Uint8Array(2 * length).fill(0xff)])],
    ];
    // Where p leaves room, a coordinate that is only reduced modulo p is on the curve and still refused.
    if (x + p < 1n << BigInt(8 * length)) {
      bad.push(["x + p", concat([new Uint8Array([4]), fieldBytes(x + p), fieldBytes(y)])]);
    }
    if (y + p < 1n << BigInt(8 * length)) {
      bad.push(["y + p", concat([new Uint8Array([4]), fieldBytes(x), fieldBytes(y + p)])]);
    }
    for (const other of curves) {
      if (other !== curve) bad.push([`a point of ${other}`, (await nativeEcdhKey(other)).publicValue]);
    }
    for (const [what, value] of bad) {
      assert(!isOnCurve(curve, value), what);
      await assertRefused(agreement, value, what);
    }
  });
}
