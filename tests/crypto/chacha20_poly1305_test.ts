import { assert, assertEquals, assertThrows } from "@std/assert";
import { chachaOpener, chachaSealer } from "../../lib/crypto/cipher/chacha20_poly1305.ts";
import { FREE, instantiateChacha } from "../../lib/crypto/cipher/chacha20_poly1305_wasm.ts";
import { SshProtocolError } from "../../lib/errors.ts";
import chachaVectors from "../vectors/chacha20.json" with { type: "json" };
import polyVectors from "../vectors/poly1305.json" with { type: "json" };
import * as twin from "./_chacha_twin.ts";
import { hex, openAll, packet, random, sealAll } from "./_packets.ts";

const { memory, functions } = instantiateChacha(4);
const KEY = FREE, NONCE = FREE + 32, TAG = FREE + 64, ONE_TIME_KEY = FREE + 80, DATA = FREE + 112;
/** Where what is authenticated lies when it is not part of the data. */
const ELSEWHERE = 131_072;
const empty = new Uint8Array(0);

function wasmChacha(key: Uint8Array, nonce: Uint8Array, counter: number, data: Uint8Array): Uint8Array {
  memory.set(key, KEY);
  memory.set(nonce, NONCE);
  memory.set(data, DATA);
  functions.chacha20(KEY, NONCE, counter, DATA, data.length);
  return memory.slice(DATA, DATA + data.length);
}

/** Poly1305 by itself, and again beside as much of ChaCha20. */
function wasmPoly(key: Uint8Array, data: Uint8Array): Uint8Array {
  memory.set(key, ONE_TIME_KEY);
  memory.set(data, ELSEWHERE);
  functions.poly1305(ONE_TIME_KEY, ELSEWHERE, data.length, TAG);
  const tag = memory.slice(TAG, TAG + 16);
  memory.fill(0, TAG, TAG + 16);
  functions.chacha20Poly1305(KEY, NONCE, 0, DATA, data.length, ONE_TIME_KEY, ELSEWHERE, data.length, TAG);
  assertEquals(memory.slice(TAG, TAG + 16), tag);
  return tag;
}

Deno.test("chacha20() matches RFC 8439 appendix A.2, and so does its twin", () => {
  assertEquals(chachaVectors.vectors.length, 3);
  for (const vector of chachaVectors.vectors) {
    const key = hex(vector.key), nonce = hex(vector.nonce), plain = hex(vector.plain), sealed = hex(vector.cipher);
    assertEquals(wasmChacha(key, nonce, vector.counter, plain), sealed);
    const long = new Uint8Array(8);
    long.set(nonce, 4);
    assertEquals(twin.chacha20(key, long, vector.counter, plain), sealed);
  }
});

Deno.test("poly1305() matches RFC 8439 appendix A.3, and so does its twin", () => {
  assertEquals(polyVectors.vectors.length, 11);
  for (const vector of polyVectors.vectors) {
    const key = hex(vector.key), data = hex(vector.data), tag = hex(vector.tag);
    assertEquals(wasmPoly(key, data), tag);
    assertEquals(twin.poly1305(key, data), tag);
  }
});

Deno.test("poly1305() matches RFC 8439 section 2.5.2", () => {
  const key = hex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b");
  const data = new TextEncoder().encode("Cryptographic Forum Research Group");
  assertEquals(wasmPoly(key, data), hex("a8061dc1305136c6c22b8baf0c0127a9"));
});

Deno.test("chacha20() equals its twin at all lengths to 600 and leaves its surroundings alone", () => {
  const key = random(32), nonce = random(4), data = random(600);
  const long = new Uint8Array(8);
  long.set(nonce, 4);
  const expected = twin.chacha20(key, long, 7, data);
  for (let length = 0; length <= 600; length++) {
    memory.fill(0x5a, DATA, DATA + 1000);
    assertEquals(wasmChacha(key, nonce, 7, data.subarray(0, length)), expected.subarray(0, length));
    assert(memory.subarray(DATA + length, DATA + 1000).every((byte) => byte === 0x5a));
  }
});

Deno.test("headers() gives the first word of block 0 for four nonces", () => {
  const key = random(32), nonces = random(16), data = random(16);
  memory.set(key, KEY);
  memory.set(nonces, NONCE);
  memory.set(data, DATA);
  functions.headers(KEY, NONCE, DATA);
  for (let lane = 0; lane < 4; lane++) {
    const nonce = new Uint8Array(8);
    nonce.set(nonces.subarray(4 * lane, 4 * lane + 4), 4);
    const part = data.subarray(4 * lane, 4 * lane + 4);
    assertEquals(memory.slice(DATA + 4 * lane, DATA + 4 * lane + 4), twin.chacha20(key, nonce, 0, part));
  }
});

Deno.test("poly1305() equals its twin at all lengths to 600 and at long ones", () => {
  const data = random(70_000);
  for (let length = 0; length <= 600; length++) {
    const key = random(32);
    assertEquals(wasmPoly(key, data.subarray(0, length)), twin.poly1305(key, data.subarray(0, length)));
  }
  const view = new DataView(random(200).buffer);
  const lengths = Array.from({ length: 100 }, (_, i) => view.getUint16(2 * i) % 40_961);
  for (const length of [1023, 32_772, 65_535, 70_000, ...lengths]) {
    const key = random(32), part = data.subarray(70_000 - length);
    assertEquals(wasmPoly(key, part), twin.poly1305(key, part));
  }
});

Deno.test("poly1305() carries right with limbs of all zeros and all ones", () => {
  // Limbs of 32 bits that are 0, 1, 2^32 - 1 or close to it, in r, s and the data: where a lost carry would show.
  const limbs = [0, 1, 4, 5, 0xfffffffa, 0xfffffffb, 0xfffffffc, 0xffffffff, 0x0ffffffc, 0x0fffffff, 0x80000000];
  const pick = (count: number) => {
    const bytes = new Uint8Array(4 * count), view = new DataView(bytes.buffer), choice = random(count);
    for (let i = 0; i < count; i++) view.setUint32(4 * i, limbs[choice[i]! % limbs.length]!, true);
    return bytes;
  };
  for (let i = 0; i < 3000; i++) {
    const key = pick(8), blocks = i % 10 === 0 ? 16 + i % 35 : 1 + i % 12;
    const data = pick(4 * blocks).subarray(0, i % 3 === 0 ? undefined : -(i % 16));
    assertEquals(wasmPoly(key, data), twin.poly1305(key, data));
  }
});

Deno.test("poly1305() carries right with the largest and the smallest r, s and blocks", () => {
  const filled = (length: number, byte: number) => new Uint8Array(length).fill(byte);
  // Clamping makes the largest r of all ones. r = 0, 1 and 2^124 go with sums that are never, always and hardly reduced.
  const one = filled(16, 0), high = filled(16, 0);
  one[0] = 1;
  high[15] = 0x0f;
  for (const r of [filled(16, 0xff), filled(16, 0), one, high]) {
    for (const s of [filled(16, 0xff), filled(16, 0)]) {
      const key = Uint8Array.from([...r, ...s]);
      for (const byte of [0xff, 0x00, 0xfb]) {
        for (const length of [0, 1, 15, 16, 17, 32, 48, 64, 160, 255, 256, 257, 511, 512, 600, 1600, 16_000, 40_960]) {
          const data = filled(length, byte);
          assertEquals(wasmPoly(key, data), twin.poly1305(key, data));
        }
      }
    }
  }
});

Deno.test("poly1305() reduces right when the result is 2^130 - 5 and its neighbours", () => {
  // With r = 1 the result is the sum of the blocks: any value near the modulus can be reached.
  const key = new Uint8Array(32);
  key[0] = 1;
  const p = (1n << 130n) - 5n;
  for (let delta = -12n; delta <= 12n; delta++) {
    for (const [multiple, blocks] of [[1n, 3], [2n, 7], [5n, 16], [6n, 20], [9n, 32]] as const) {
      // Blocks bring 2^128 each, and the rest is spread over their 128 bits.
      let rest = multiple * p + delta - (BigInt(blocks) << 128n);
      const data = new Uint8Array(16 * blocks);
      for (let block = 0; block < blocks; block++) {
        const most = (1n << 128n) - 1n, part = rest > most ? most : rest > 0n ? rest : 0n;
        rest -= part;
        for (let i = 0; i < 16; i++) data[16 * block + i] = Number(part >> BigInt(8 * i) & 0xffn);
      }
      assertEquals(rest, 0n);
      assertEquals(wasmPoly(key, data), twin.poly1305(key, data));
    }
  }
});

Deno.test("chacha20Poly1305() does the same as chacha20() and poly1305()", () => {
  const key = random(32), nonce = random(4), oneTimeKey = random(32), data = random(3000), long = new Uint8Array(8);
  long.set(nonce, 4);
  const stream = twin.chacha20(key, long, 5, data);
  const lengths = [0, 1, 16, 100, 255, 256, 257, 511, 512, 513, 767, 768, 1000, 2047, 2048, 3000];
  for (const length of lengths) {
    for (const authenticatedLength of lengths) {
      memory.set(key, KEY);
      memory.set(nonce, NONCE);
      memory.set(oneTimeKey, ONE_TIME_KEY);
      memory.fill(0x5a, DATA, DATA + 4000);
      memory.set(data.subarray(0, length), DATA);
      memory.set(data, ELSEWHERE);
      functions.chacha20Poly1305(
        ...[KEY, NONCE, 5, DATA, length] as const,
        ...[ONE_TIME_KEY, ELSEWHERE, authenticatedLength, TAG] as const,
      );
      assertEquals(memory.slice(TAG, TAG + 16), twin.poly1305(oneTimeKey, data.subarray(0, authenticatedLength)));
      assertEquals(memory.slice(DATA, DATA + length), stream.subarray(0, length));
      assert(memory.subarray(DATA + length, DATA + 4000).every((byte) => byte === 0x5a));
      assertEquals(memory.slice(ELSEWHERE, ELSEWHERE + 3000), data);
    }
  }
});

Deno.test("chacha20Poly1305() authenticates what it has XORed, if that begins 256 bytes before", () => {
  const key = random(32), nonce = random(4), oneTimeKey = random(32), long = new Uint8Array(8);
  long.set(nonce, 4);
  const view = new DataView(random(200).buffer);
  const lengths = Array.from({ length: 50 }, (_, i) => view.getUint16(4 * i) % (i < 30 ? 2000 : 40_961));
  for (const [i, length] of [...lengths, 0, 1, 255, 256, 257, 512].entries()) {
    const before = 256 + i % 5 * 49, data = random(before + length);
    memory.set(key, KEY);
    memory.set(nonce, NONCE);
    memory.set(oneTimeKey, ONE_TIME_KEY);
    memory.set(data, DATA);
    functions.chacha20Poly1305(
      ...[KEY, NONCE, 5, DATA + before, length] as const,
      ...[ONE_TIME_KEY, DATA, data.length, DATA + data.length] as const,
    );
    data.set(twin.chacha20(key, long, 5, data.subarray(before)), before);
    assertEquals(memory.slice(DATA, DATA + data.length), data);
    assertEquals(memory.slice(DATA + data.length, DATA + data.length + 16), twin.poly1305(oneTimeKey, data));
  }
});

Deno.test("chachaSealer() equals the twin in batches of all sizes, across the wrap of the sequence number", async () => {
  const key = random(64), keys = { key, iv: empty, macKey: empty };
  const sealer = chachaSealer(keys), opener = chachaOpener(keys);
  let sequence = 0xfffffffa;
  for (const sizes of [[1], [1, 60, 61], [187, 188, 189, 190, 191, 192, 193], [70_000], [5, 4000, 33_000, 17, 9]]) {
    const packets = sizes.map((size) => packet(sealer, size));
    const sealed = await sealAll(sealer, packets, sequence);
    const expected = packets.flatMap((bytes, i) => [...twin.sealPacket(key, (sequence + i) >>> 0, bytes)]);
    assertEquals(sealed, Uint8Array.from(expected));
    assertEquals(await openAll(opener, sealed, sequence), packets);
    sequence = (sequence + sizes.length) >>> 0;
  }
  assert(sequence < 100);
});

Deno.test("chachaSealer() and chachaOpener() take more at once than their workspaces hold", async () => {
  const keys = { key: random(64), iv: empty, macKey: empty };
  const sealer = chachaSealer(keys), opener = chachaOpener(keys);
  const packets = [262_000, 10, 262_000, 100_000].map((size) => packet(sealer, size));
  const sealed = await sealAll(sealer, packets, 3);
  assertEquals(await openAll(opener, sealed, 3), packets);
});

Deno.test("chachaSealer() shares its memory with other sealers and openers without mixing anything up", async () => {
  const pairs = Array.from({ length: 3 }, () => {
    const keys = { key: random(64), iv: empty, macKey: empty };
    return { sealer: chachaSealer(keys), opener: chachaOpener(keys) };
  });
  for (let sequence = 0; sequence < 12; sequence++) {
    for (const { sealer, opener } of pairs) {
      const sent = packet(sealer, 10 + 100 * sequence);
      const sealed = await sealAll(sealer, [sent], sequence);
      for (const other of pairs) {
        if (other.opener !== opener) {
          assertThrows(() => other.opener.open(sealed, [{ offset: 0, length: sent.length - 4 }], sequence));
        }
      }
      assertEquals(await openAll(opener, sealed, sequence), [sent]);
    }
  }
});

Deno.test("chachaSealer() refuses to use a sequence number twice", async () => {
  const sealer = chachaSealer({ key: random(64), iv: empty, macKey: empty });
  await sealAll(sealer, [packet(sealer, 5), packet(sealer, 5)], 0xffffffff);
  for (const sequence of [0, 2, 0xffffffff]) {
    assertThrows(() => sealer.seal(sealer.workspace(64), [32], sequence), RangeError, "does not follow");
  }
  await sealAll(sealer, [packet(sealer, 5)], 1);
});

Deno.test("chachaSealer() equals the twin where packets begin to be large", async () => {
  const key = random(64), keys = { key, iv: empty, macKey: empty };
  const sealer = chachaSealer(keys), opener = chachaOpener(keys);
  let sequence = 0;
  for (const size of [185, 193, 430, 440, 445, 450, 460, 690, 697, 705, 712, 950, 955, 960, 968, 4096, 9000, 32_777]) {
    // Twice the same size, and a small packet between them.
    const packets = [size, 20, size].map((each) => packet(sealer, each));
    const sealed = await sealAll(sealer, packets, sequence);
    const expected = packets.flatMap((bytes, i) => [...twin.sealPacket(key, sequence + i, bytes)]);
    assertEquals(sealed, Uint8Array.from(expected));
    assertEquals(await openAll(opener, sealed, sequence), packets);
    sequence += packets.length;
  }
});

Deno.test("chachaSealer() refuses packets that are no packets", () => {
  for (const ends of [[0], [20], [40, 50], [40, 30], [NaN], [300_000, 2_000_000]]) {
    const sealer = chachaSealer({ key: random(64), iv: empty, macKey: empty });
    assertThrows(() => sealer.seal(sealer.workspace(100), ends, 0), RangeError);
    assertThrows(() => sealer.seal(new Uint8Array(1_000_000), ends, 0), RangeError);
  }
});

Deno.test("chachaOpener() decrypts nothing before the tag was right", async () => {
  const keys = { key: random(64), iv: empty, macKey: empty };
  const sealer = chachaSealer(keys), opener = chachaOpener(keys);
  for (const [sequence, size] of [100, 1000, 40_000].entries()) {
    const sent = packet(sealer, size), sealed = await sealAll(sealer, [sent], sequence);
    const frames = [{ offset: 0, length: sent.length - 4 }];
    const [view] = await opener.open(sealed, frames, sequence);
    assertEquals(view, sent.subarray(4));
    for (const at of [0, 4, sent.length >> 1, sent.length - 1, sent.length, sealed.length - 1]) {
      const forged = sealed.slice();
      forged[at]! ^= 0x80;
      assertThrows(() => opener.open(forged, frames, sequence), SshProtocolError);
      // The view shows the memory where the packet was checked: still as it came.
      assertEquals(view, forged.subarray(4, -16));
    }
    const [again] = await opener.open(sealed, frames, sequence);
    assertEquals(again, sent.subarray(4));
  }
});

Deno.test("chachaOpener() reads a length again, and lengths far apart", () => {
  const key = random(64), keys = { key, iv: empty, macKey: empty };
  const opener = chachaOpener(keys), sealer = chachaSealer(keys);
  const sequences = [0, 0, 1, 2, 3, 4, 4, 9, 8, 0xffffffff, 0, 1, 0x7fffffff, 0x80000000, 0x80000001];
  for (const sequence of sequences) {
    const sent = packet(sealer, 20 + sequence % 50);
    assertEquals(opener.packetLength(twin.sealPacket(key, sequence, sent), 0, sequence), sent.length - 4);
  }
});
