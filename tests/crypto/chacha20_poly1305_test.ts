import { assert, assertEquals, assertThrows } from "@std/assert";
import { chachaOpener, chachaSealer } from "../../lib/crypto/chacha20_poly1305.ts";
import { FREE, instantiateChacha } from "../../lib/crypto/chacha20_poly1305_wasm.ts";
import { SshProtocolError } from "../../lib/errors.ts";
import chachaVectors from "../vectors/chacha20.json" with { type: "json" };
import polyVectors from "../vectors/poly1305.json" with { type: "json" };
import * as twin from "./chacha_twin.ts";
import { hex, openAll, packet, random, sealAll } from "./packets_help.ts";

const { memory, functions } = instantiateChacha(4);
const KEY = FREE, NONCE = FREE + 32, TAG = FREE + 64, DATA = FREE + 96;
const empty = new Uint8Array(0);

function wasmChacha(key: Uint8Array, nonce: Uint8Array, counter: number, data: Uint8Array): Uint8Array {
  memory.set(key, KEY);
  memory.set(nonce, NONCE);
  memory.set(data, DATA);
  functions.chacha20(KEY, NONCE, counter, DATA, data.length);
  return memory.slice(DATA, DATA + data.length);
}

function wasmPoly(key: Uint8Array, data: Uint8Array): Uint8Array {
  memory.set(key, KEY);
  memory.set(data, DATA);
  functions.poly1305(KEY, DATA, data.length, TAG);
  return memory.slice(TAG, TAG + 16);
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

Deno.test("poly1305() equals its twin at all lengths to 300 and at long ones", () => {
  const data = random(70_000);
  for (let length = 0; length <= 300; length++) {
    const key = random(32);
    assertEquals(wasmPoly(key, data.subarray(0, length)), twin.poly1305(key, data.subarray(0, length)));
  }
  const key = random(32);
  for (const length of [1023, 32_772, 65_535, 70_000]) {
    assertEquals(wasmPoly(key, data.subarray(0, length)), twin.poly1305(key, data.subarray(0, length)));
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
    const key = pick(8), data = pick(4 * (1 + i % 12)).subarray(0, i % 3 === 0 ? undefined : -(i % 16));
    assertEquals(wasmPoly(key, data), twin.poly1305(key, data));
  }
  for (const length of [16, 32, 48, 64, 160, 1600, 16_000]) {
    const ones = new Uint8Array(length).fill(0xff), key = new Uint8Array(32).fill(0xff);
    assertEquals(wasmPoly(key, ones), twin.poly1305(key, ones));
  }
});

Deno.test("poly1305() reduces right when the result is 2^130 - 5 and its neighbours", () => {
  // With r = 1 the result is the sum of the blocks: any value near the modulus can be reached.
  const key = new Uint8Array(32);
  key[0] = 1;
  const p = (1n << 130n) - 5n;
  for (let delta = -12n; delta <= 12n; delta++) {
    for (const multiple of [1n, 2n]) {
      // Four or more blocks bring 2^128 each, and the rest is spread over their 128 bits.
      const blocks = multiple === 1n ? 3 : 7;
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

Deno.test("chachaSealer() goes on the same when large packets change over to node:crypto", async () => {
  const key = random(64), keys = { key, iv: empty, macKey: empty };
  const sealer = chachaSealer(keys), opener = chachaOpener(keys);
  const large = packet(sealer, 9000);
  for (let sequence = 0; sequence < 300; sequence++) {
    const sealed = await sealAll(sealer, [large], sequence);
    if (sequence % 50 === 0 || sequence > 290) assertEquals(sealed, twin.sealPacket(key, sequence, large));
    assertEquals(await openAll(opener, sealed, sequence), [large]);
  }
  const packets = [8180, 8187, 8188, 8195, 8200, 100, 40_000].map((size) => packet(sealer, size));
  const sealed = await sealAll(sealer, packets, 300);
  assertEquals(sealed, Uint8Array.from(packets.flatMap((bytes, i) => [...twin.sealPacket(key, 300 + i, bytes)])));
  assertEquals(await openAll(opener, sealed, 300), packets);
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
  const sent = packet(sealer, 1000), sealed = await sealAll(sealer, [sent], 0);
  const [view] = await opener.open(sealed, [{ offset: 0, length: sent.length - 4 }], 0);
  assertEquals(view, sent.subarray(4));
  sealed[sealed.length - 1]! ^= 1;
  assertThrows(() => opener.open(sealed, [{ offset: 0, length: sent.length - 4 }], 0), SshProtocolError);
  // The view shows the memory where the packet was checked: still as it came.
  assertEquals(view, sealed.subarray(4, -16));
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
