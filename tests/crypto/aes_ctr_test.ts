/** The key stream of AES-CTR beside that of WebCrypto: where its counter carries, in any portions, and where bytes lie anyhow. */
import { assertEquals, assertThrows } from "@std/assert";
import { CtrStream } from "../../lib/crypto/cipher/aes_ctr.ts";
import { Prng } from "../_support/fuzz.ts";

/** What WebCrypto makes of it, in one piece. */
async function expected(key: Uint8Array<ArrayBuffer>, iv: Uint8Array<ArrayBuffer>, data: Uint8Array<ArrayBuffer>) {
  const web = await crypto.subtle.importKey("raw", key, "AES-CTR", false, ["encrypt"]);
  return new Uint8Array(await crypto.subtle.encrypt({ name: "AES-CTR", counter: iv, length: 128 }, web, data));
}

Deno.test("CtrStream agrees with WebCrypto where its counter carries and wraps, and over any portions", async () => {
  const prng = new Prng(7);
  const ivs = [
    "00000000000000000000000000000000",
    "000102030405060708090a0bfffffffd",
    "0001020304050607ffffffffffffffff",
    "000102030405060708090a0bfffff7ff",
    "ffffffffffffffffffffffffffffffff",
    "fffffffffffffffffffffffffffffc00",
  ].map((text) => Uint8Array.fromHex(text));
  for (const keyLength of [16, 24, 32]) {
    for (const iv of [...ivs, prng.bytes(16)]) {
      const key = prng.bytes(keyLength), stream = new CtrStream({ key, iv, macKey: new Uint8Array(0) });
      const lengths = [16, 0, 48, 32_768, 16, 32_752, 32_784, 262_144 - 16, 16];
      const data = prng.bytes(lengths.reduce((sum, length) => sum + length));
      const parts: Uint8Array[] = [];
      let at = 0;
      for (const length of lengths) {
        // As packets lie in a chunk from the socket: at any offset.
        const shift = prng.below(8), lying = new Uint8Array(length + shift);
        lying.set(data.subarray(at, at += length), shift);
        parts.push(stream.update(lying.subarray(shift)));
        assertEquals(parts.at(-1)!.byteLength, parts.at(-1)!.buffer.byteLength);
      }
      stream.close();
      assertEquals(new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer()), await expected(key, iv, data));
    }
  }
});

Deno.test("CtrStream refuses what is no whole block, and an IV of another length", () => {
  const key = new Uint8Array(16), iv = new Uint8Array(16), macKey = new Uint8Array(0);
  const stream = new CtrStream({ key, iv, macKey });
  assertThrows(() => stream.update(new Uint8Array(15)), RangeError, "blocks of 16");
  stream.close();
  assertThrows(() => new CtrStream({ key, iv: iv.subarray(1), macKey }), RangeError, "wants 16 bytes");
});
