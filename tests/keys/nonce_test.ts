import { assert, assertEquals } from "@std/assert";
import { type Envelope, readEnvelope, readPrivatePart } from "../../lib/keys/format/openssh.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { utf8 } from "../_support/key_vectors.ts";

function inverse(a: bigint, n: bigint): bigint {
  let [r0, r1, s0, s1] = [n, a % n, 0n, 1n];
  while (r1 !== 0n) {
    const q = r0 / r1;
    [r0, r1, s0, s1] = [r1, r0 - q * r1, s1, s0 - q * s1];
  }
  return (s0 % n + n) % n;
}

for (const [bits, hash, count] of [[256, "SHA-256", 256], [384, "SHA-384", 256], [521, "SHA-512", 512]] as const) {
  Deno.test(`sign() with nistp${bits} has no bias in the leading bits of its nonces`, async () => {
    const key = await generateKey("ecdsa", { bits });
    const text = (await key.export()).split("\n").slice(1, -2).join("");
    const envelope: Envelope = readEnvelope(Uint8Array.fromBase64(text), {});
    const { material } = await readPrivatePart(envelope, undefined);
    assert(material.kind === "ecdsa");
    const { curve: { n }, d } = material;
    const ones = new Array<number>(9).fill(0);
    const seen = new Set<bigint>();
    for (let i = 0; i < count; i++) {
      const data = utf8(`message ${i}`);
      const blob = new Reader(await key.sign(data, key.publicKey.type));
      blob.ascii();
      const value = new Reader(blob.view());
      const r = value.mpint(), s = value.mpint();
      const h = BigInt("0x" + new Uint8Array(await crypto.subtle.digest(hash, data)).toHex());
      // k = (h + r d) / s; a signature may have been made with n - k just as well.
      const k = (h + r * d) % n * inverse(s, n) % n;
      seen.add(k);
      for (let bit = 0; bit < 9; bit++) ones[bit]! += Number(k >> BigInt(bits - 1 - bit) & 1n);
    }
    assertEquals(seen.size, count, "no nonce comes twice");
    // 7 standard deviations: of 27 sums, one is beyond them by chance once in ten billion runs.
    for (const [bit, sum] of ones.entries()) {
      assert(Math.abs(sum - count / 2) < 7 * Math.sqrt(count) / 2, `bit ${bit} is one in ${sum} of ${count}`);
    }
  });
}
