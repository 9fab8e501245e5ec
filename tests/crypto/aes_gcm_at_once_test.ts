import { assert, assertEquals, assertThrows } from "@std/assert";
import { GcmAtOnce } from "../../lib/crypto/cipher/aes_gcm_at_once.ts";
import { FREE, ghashTables, GROUP, instantiateGhash, TABLES } from "../../lib/crypto/cipher/ghash_wasm.ts";
import { random } from "./_packets.ts";

const number = (bytes: Uint8Array): bigint => BigInt(`0x${bytes.toHex()}`);

/** NIST SP 800-38D section 6.3, step by step. */
function product(x: bigint, y: bigint): bigint {
  let sum = 0n;
  for (let bit = 127n; bit >= 0n; bit--) {
    if (x >> bit & 1n) sum ^= y;
    y = y & 1n ? y >> 1n ^ 0xe1n << 120n : y >> 1n;
  }
  return sum;
}

Deno.test("ghash() agrees with the definition for any key and any count of groups", () => {
  const { memory, functions } = instantiateGhash(2), data = FREE + TABLES, out = data + 8 * GROUP;
  const single = (byte: number, value: number) => new Uint8Array(16).fill(value, byte, byte + 1);
  for (const key of [random(16), random(16), new Uint8Array(16).fill(0xff), single(0, 0x80), single(15, 1)]) {
    memory.set(ghashTables(key), FREE);
    for (const groups of [1, 2, 3, 7]) {
      const bytes = random(groups * GROUP);
      memory.set(bytes, data);
      functions.ghash(FREE, data, bytes.length, out);
      let sum = 0n;
      for (let at = 0; at < bytes.length; at += 16) {
        sum = product(sum ^ number(bytes.subarray(at, at + 16)), number(key));
      }
      assertEquals(number(memory.slice(out, out + 16)), sum);
    }
  }
});

async function both(keyLength: number) {
  const key = random(keyLength), once = GcmAtOnce.create(key)!;
  const web = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  const sealed = async (iv: Uint8Array<ArrayBuffer>, clear: Uint8Array<ArrayBuffer>, data: Uint8Array<ArrayBuffer>) =>
    new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: clear }, web, data));
  return { once, sealed };
}

Deno.test("GcmAtOnce agrees with WebCrypto on every length up to some groups, and on the longest packet", async () => {
  for (const keyLength of [16, 32]) {
    const { once, sealed } = await both(keyLength);
    const lengths = Array.from({ length: 40 }, (_, i) => 16 * i);
    for (const length of [...lengths, 32_784, 262_144]) {
      const iv = random(12), clear = random(4), data = random(length), out = new Uint8Array(length + 21).fill(7);
      once.seal(iv, clear, data, out, 5);
      const expected = await sealed(iv, clear, data), tag = expected.subarray(length);
      assertEquals(out.subarray(0, 5), new Uint8Array(5).fill(7));
      assert(number(out.subarray(5)) === number(expected), `${length} bytes`);
      once.begin();
      const body = expected.subarray(0, length);
      assertEquals(once.open(iv, clear, body, tag)?.toHex(), data.toHex());
      for (const wrong of [random(4), clear]) {
        if (wrong === clear) tag[15]! ^= 1;
        assertEquals(once.open(iv, wrong, body, tag), null);
      }
    }
    once.close();
  }
});

Deno.test("GcmAtOnce keeps what it opened until the next batch, however much that is, beside other keys", async () => {
  const one = await both(16), other = await both(32);
  for (
    const lengths of [
      [32_784, 16, 64_000, 512, 32_784, 200_000],
      [262_144, 262_144, 16, 262_144],
      Array(256).fill(1040),
    ]
  ) {
    one.once.begin();
    const opened: Uint8Array[] = [], sent: Uint8Array[] = [];
    const sealed = await Promise.all(lengths.map(async (length) => {
      const iv = random(12), clear = random(4), data = random(length);
      sent.push(data);
      return { iv, clear, bytes: await one.sealed(iv, clear, data) };
    }));
    const out = new Uint8Array(1040);
    for (const { iv, clear, bytes } of sealed) {
      opened.push(one.once.open(iv, clear, bytes.subarray(0, -16), bytes.subarray(-16))!);
    }
    assertEquals(opened.map((bytes) => bytes.toHex() === sent.shift()!.toHex()), lengths.map(() => true));
    // Another key in between changes what lies in the shared memory.
    other.once.seal(random(12), random(4), random(1024), out, 0);
  }
  one.once.close();
  other.once.close();
});

Deno.test("GcmAtOnce refuses what is no whole number of blocks, or longer than any packet", async () => {
  const { once } = await both(16), iv = random(12), clear = random(4), tag = random(16);
  for (const length of [1, 15, 17, 1000, 262_160]) {
    assertEquals(once.open(iv, clear, new Uint8Array(length), tag), null);
    assertThrows(() => once.seal(iv, clear, new Uint8Array(length), new Uint8Array(length + 16), 0), RangeError);
  }
  once.close();
});
