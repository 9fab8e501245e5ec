import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  hasNodeCrypto,
  nodeCipher,
  nodeGcmOpen,
  nodeGcmSeal,
  nodeHasCipher,
  nodeHash,
  nodeHmac,
  nodeModExp,
} from "../../lib/crypto/node_crypto.ts";
import { hex, random } from "./packets_help.ts";

function number(bytes: Uint8Array): bigint {
  return BigInt("0x" + bytes.toHex());
}

Deno.test("hasNodeCrypto() is true in Deno", () => {
  assert(hasNodeCrypto());
  assert(nodeHasCipher("aes-128-ctr"));
  assert(!nodeHasCipher("rot13"));
});

Deno.test("nodeHash() and nodeHmac() agree with WebCrypto and never hand out a Buffer", async () => {
  const parts = [random(3), new Uint8Array(0), random(1000)],
    whole = Uint8Array.from(parts.flatMap((part) => [...part]));
  const key = random(20), cipher = nodeCipher("aes-128-ctr", "encrypt", random(16), random(16));
  for (
    const [name, hash] of [["sha1", "SHA-1"], ["sha256", "SHA-256"], ["sha384", "SHA-384"], [
      "sha512",
      "SHA-512",
    ]] as const
  ) {
    assertEquals(nodeHash(name, ...parts), new Uint8Array(await crypto.subtle.digest(hash, whole)));
    const webKey = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash }, false, ["sign"]);
    assertEquals(nodeHmac(name, key, ...parts), new Uint8Array(await crypto.subtle.sign("HMAC", webKey, whole)));
  }
  for (
    const bytes of [
      nodeHash("sha1"),
      nodeHmac("sha1", key),
      cipher.update(key),
    ]
  ) {
    assertEquals(bytes!.constructor, Uint8Array);
  }
  cipher.close();
});

Deno.test("nodeGcmOpen() gives null for a wrong tag", () => {
  const key = random(16), iv = random(12), aad = random(4), data = random(50), out = new Uint8Array(70);
  nodeGcmSeal(key, iv, aad, data, out, 4);
  const sealed = out.subarray(4, 54), tag = out.slice(54);
  assertEquals(nodeGcmOpen(key, iv, aad, sealed, tag), data);
  tag[15]! ^= 1;
  assertEquals(nodeGcmOpen(key, iv, aad, sealed, tag), null);
  assertThrows(() => nodeGcmOpen(key, iv, aad, sealed, tag.subarray(0, 12)));
});

Deno.test("nodeModExp() equals the exponentiation of integers, with leading zeros kept", () => {
  // RFC 2409 section 6.2: the 1024-bit group.
  const prime = hex(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd" +
      "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed" +
      "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff",
  );
  const p = number(prime);
  const power = (base: bigint, exponent: bigint) => {
    let result = 1n;
    for (let bit = BigInt(exponent.toString(2).length); bit-- > 0n;) {
      result = result * result % p;
      if (exponent >> bit & 1n) result = result * base % p;
    }
    return result;
  };
  for (let i = 0; i < 20; i++) {
    const base = i === 0 ? Uint8Array.of(2) : random(100), exponent = random(i === 1 ? 1 : 40);
    if (i === 1) exponent[0] = 3;
    const result = nodeModExp(prime, base, exponent)!;
    assertEquals(result.length, 128);
    assertEquals(number(result), power(number(base), number(exponent)));
  }
  // 2^9 is a small number in 128 bytes.
  assertEquals(number(nodeModExp(prime, Uint8Array.of(2), Uint8Array.of(9))!), 512n);
});
