import { assert, assertEquals, assertThrows } from "@std/assert";
import { hasNodeCrypto, nodeCipher, nodeGcmOpen, nodeGcmSeal, nodeHmac } from "../../lib/crypto/node_crypto.ts";
import { random } from "./_packets.ts";

Deno.test("hasNodeCrypto() is true in Deno", () => {
  assert(hasNodeCrypto());
});

Deno.test("nodeHmac() agrees with WebCrypto, and nothing hands out a Buffer", async () => {
  const parts = [random(3), new Uint8Array(0), random(1000)],
    whole = Uint8Array.from(parts.flatMap((part) => [...part]));
  const key = random(20), cipher = nodeCipher("aes-128-ctr", "encrypt", random(16), random(16));
  for (
    const [name, hash] of [["sha1", "SHA-1"], ["sha256", "SHA-256"], ["sha384", "SHA-384"], [
      "sha512",
      "SHA-512",
    ]] as const
  ) {
    const webKey = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash }, false, ["sign"]);
    assertEquals(nodeHmac(name, key, ...parts), new Uint8Array(await crypto.subtle.sign("HMAC", webKey, whole)));
  }
  for (
    const bytes of [
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
