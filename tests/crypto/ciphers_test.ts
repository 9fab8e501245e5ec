import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { available, ciphers, macs, plainOpener, plainSealer } from "../../lib/crypto/cipher/ciphers.ts";
import type { DirectionKeys, PacketFrame, PacketOpener } from "../../lib/crypto/types.ts";
import { SshProtocolError } from "../../lib/errors.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { closeCiphers, createOpener, createSealer } from "../_support/packet_ciphers.ts";
import vectors from "../vectors/packets.json" with { type: "json" };
import { hex, openAll, packet, pairs, random, randomKeys, sealAll, split } from "./_packets.ts";

Deno.test.afterEach(closeCiphers);

/** Opening must fail as for a wrong MAC, now or later. */
async function assertMacInvalid(open: () => unknown, message = ""): Promise<void> {
  const error = await assertRejects(async () => await open(), SshProtocolError, undefined, message);
  assertEquals([error.code, error.reason], ["MAC_INVALID", 5], message);
}

async function both(cipher: string, mac: string | null, keys: DirectionKeys = randomKeys(cipher, mac)) {
  return { keys, sealer: await createSealer(cipher, mac, keys), opener: await createOpener(cipher, mac, keys) };
}

Deno.test("createSealer() and createOpener() agree with AsyncSSH under every cipher and MAC", async () => {
  assertEquals(vectors.vectors.length, pairs.length);
  for (const vector of vectors.vectors) {
    const keys = { key: hex(vector.key), iv: hex(vector.iv), macKey: hex(vector.macKey) };
    const sealer = await createSealer(vector.cipher, vector.mac, keys);
    const plain = vector.packets.map((each) => hex(each.plain)),
      sealed = vector.packets.map((each) => hex(each.sealed));
    assertEquals(plain.length, 4);
    const first = vector.packets[0]!.sequence, name = `${vector.cipher} ${vector.mac}`;
    const chunk = Uint8Array.from(sealed.flatMap((bytes) => [...bytes]));
    assertEquals(await sealAll(sealer, plain, first), chunk, name);
    assertEquals(await openAll(await createOpener(vector.cipher, vector.mac, keys), chunk, first), plain, name);
    // One by one it must be the same.
    const singly = await createSealer(vector.cipher, vector.mac, keys);
    const opener = await createOpener(vector.cipher, vector.mac, keys);
    for (let i = 0; i < 4; i++) {
      const sequence = (first + i) >>> 0;
      assertEquals(await sealAll(singly, [plain[i]!], sequence), sealed[i]!, name);
      assertEquals(await openAll(opener, sealed[i]!, sequence), [plain[i]!], name);
    }
  }
});

for (const [cipher, mac] of pairs) {
  const name = mac === null ? cipher : `${cipher} with ${mac}`;

  Deno.test(`createOpener() gets back what createSealer() sealed: ${name}`, async () => {
    const { sealer, opener } = await both(cipher, mac);
    let sequence = 0xfffffff0;
    for (let round = 0; round < 12; round++) {
      const sizes = Array.from(random(1 + round % 7), (byte) => Math.floor((byte / 255) ** 4 * 40_000));
      const packets = sizes.map((size) => packet(sealer, size));
      const sealed = await sealAll(sealer, packets, sequence);
      // As from a socket: in chunks cut anywhere, what is left over goes before the next.
      const opened: Uint8Array[] = [];
      let held = new Uint8Array(0), from = 0, next = sequence;
      while (from < sealed.length) {
        const to = Math.min(sealed.length, from + 1 + Math.floor(Math.random() * sealed.length));
        const chunk = new Uint8Array(held.length + to - from);
        chunk.set(held);
        chunk.set(sealed.subarray(from, to), held.length);
        const frames = split(opener, chunk, next), last = frames.at(-1);
        for (const body of await opener.open(chunk, frames, next)) opened.push(body.slice());
        held = last === undefined ? chunk : chunk.slice(last.offset + 4 + last.length + opener.tagLength);
        next = (next + frames.length) >>> 0;
        from = to;
      }
      assertEquals(held.length, 0);
      assertEquals(opened.length, packets.length);
      opened.forEach((body, i) => assertEquals(body, packets[i]!.subarray(4)));
      sequence = next;
    }
  });

  Deno.test(`createOpener() refuses a packet with any byte changed: ${name}`, async () => {
    const { keys, sealer } = await both(cipher, mac);
    const packets = [packet(sealer, 40), packet(sealer, 70)];
    const sealed = await sealAll(sealer, packets, 0), good: PacketFrame[] = [];
    for (let i = 0, offset = 0; i < 2; i++) {
      good.push({ offset, length: packets[i]!.length - 4 });
      offset += packets[i]!.length + sealer.tagLength;
    }
    for (let at = 0; at < sealed.length; at++) {
      const chunk = sealed.slice();
      chunk[at]! ^= 1 << at % 8;
      const frames = split(await createOpener(cipher, mac, keys), chunk, 0, 2);
      const opener = await createOpener(cipher, mac, keys);
      for (const frame of good) opener.packetLength(chunk, frame.offset, good.indexOf(frame));
      await assertMacInvalid(() => opener.open(chunk, good, 0), `byte ${at}`);
      // Where the changed length makes other frames, they must fail too.
      if (frames.length > 0 && JSON.stringify(frames) !== JSON.stringify(good) && at < packets[0]!.length) {
        const other = await createOpener(cipher, mac, keys);
        await assertMacInvalid(() => other.open(chunk, frames, 0), `byte ${at}, other frames`);
      }
    }
  });

  Deno.test(`createOpener() refuses packets replayed, dropped, swapped or cut: ${name}`, async () => {
    const { keys, sealer } = await both(cipher, mac);
    const sealed: Uint8Array[] = [];
    for (let i = 0; i < 3; i++) sealed.push(await sealAll(sealer, [packet(sealer, 52)], i));
    const frame: PacketFrame = { offset: 0, length: sealed[0]!.length - 4 - sealer.tagLength };
    const opens = async (order: readonly number[]): Promise<PacketOpener> => {
      const opener = await createOpener(cipher, mac, keys);
      for (const [sequence, which] of order.entries()) {
        opener.packetLength(sealed[which]!, 0, sequence);
        await opener.open(sealed[which]!.slice(), [frame], sequence);
      }
      return opener;
    };
    await opens([0, 1, 2]);
    for (const order of [[0, 0], [1], [0, 2], [1, 0], [0, 1, 0], [0, 1, 1]]) await assertMacInvalid(() => opens(order));
    for (const cut of [1, sealer.tagLength]) {
      const opener = await opens([0]);
      await assertMacInvalid(() => opener.open(sealed[1]!.slice(0, -cut), [frame], 1));
    }
    for (const length of [-5, 0, NaN, 2 ** 32 - 1, frame.length - 8]) {
      const opener = await opens([0]);
      await assertMacInvalid(() => opener.open(sealed[1]!.slice(), [{ offset: 0, length }], 1), `length ${length}`);
    }
  });
}

for (const [cipher, mac] of pairs.filter(([name]) => /^(chacha|aes256-gcm|aes128-ctr)/.test(name))) {
  if (mac !== null && !/^hmac-sha2-256/.test(mac)) continue;
  Deno.test(`createOpener() refuses a 4 KiB packet with any byte changed: ${cipher} ${mac ?? ""}`, async () => {
    const { keys, sealer } = await both(cipher, mac);
    const sent = packet(sealer, 4096), sealed = await sealAll(sealer, [sent], 0);
    const frame = { offset: 0, length: sent.length - 4 };
    for (let at = 0; at < sealed.length; at++) {
      const opener = await createOpener(cipher, mac, keys), chunk = sealed.slice();
      chunk[at]! ^= 1 << at % 8;
      opener.packetLength(chunk, 0, 0);
      await assertMacInvalid(() => opener.open(chunk, [frame], 0), `byte ${at}`);
    }
  });
}

Deno.test("createOpener() delivers nothing of a batch when its last packet is wrong", async () => {
  for (const [cipher, mac] of pairs) {
    const { sealer, opener } = await both(cipher, mac);
    const sealed = await sealAll(sealer, [5, 9000, 30].map((size) => packet(sealer, size)), 0);
    const frames = split(opener, sealed, 0);
    assertEquals(frames.length, 3);
    sealed[sealed.length - 1]! ^= 0x80;
    await assertMacInvalid(() => opener.open(sealed, frames, 0));
  }
});

// Large batches take another way through each cipher than small ones: other threads, or memory that they do not fit into at once.
for (const [cipher, mac] of pairs.filter(([name]) => !name.endsWith("-cbc"))) {
  const name = mac === null ? cipher : `${cipher} with ${mac}`;

  Deno.test(`createOpener() delivers nothing of a large batch in which any packet was changed: ${name}`, async () => {
    // Beside small ones; one packet of the largest size; and more than fits in the memory of AES-GCM and chacha20.
    for (const sizes of [[9000, 40, 9000], [30_000, 20, 36_000], [262_000], [33_000, 261_000, 33_000]]) {
      const { keys, sealer } = await both(cipher, mac);
      const packets = sizes.map((size) => packet(sealer, size));
      const sealed = await sealAll(sealer, packets, 7), frames: PacketFrame[] = [];
      const opened = async (chunk: Bytes, sequence = 7) => {
        const opener = await createOpener(cipher, mac, keys);
        frames.forEach(({ offset }, i) => opener.packetLength(sealed, offset, sequence + i));
        return await opener.open(chunk, frames, sequence);
      };
      let offset = 0;
      for (const { length } of packets) {
        frames.push({ offset, length: length - 4 });
        offset += length + sealer.tagLength;
      }
      assertEquals((await opened(sealed.slice())).map((body) => body.slice()), packets.map((each) => each.slice(4)));
      for (const { offset, length } of [frames[0]!, frames.at(-1)!]) {
        const tag = offset + 4 + length;
        const places = [offset + 4, offset + 5, offset + 4 + length / 2, tag - 1, tag, tag + sealer.tagLength - 1];
        for (const at of places.map(Math.floor)) {
          const chunk = sealed.slice();
          chunk[at]! ^= 1 << at % 8;
          await assertMacInvalid(() => opened(chunk), `${sizes}: byte ${at}`);
        }
        // A length that was changed, where the frames are as they were.
        const chunk = sealed.slice();
        chunk[offset + 3]! ^= 1;
        await assertMacInvalid(() => opened(chunk), `${sizes}: length at ${offset}`);
      }
      // AES-GCM numbers its packets by itself.
      if (mac !== null || cipher.startsWith("chacha")) {
        await assertMacInvalid(() => opened(sealed.slice(), 8), `${sizes}: another sequence number`);
      }
    }
  });
}

Deno.test("createOpener() takes a packet that its memory cannot hold for one that was changed: chacha20-poly1305", async () => {
  const { opener } = await both("chacha20-poly1305@openssh.com", null), size = 16 << 20;
  await assertMacInvalid(() => opener.open(new Uint8Array(size), [{ offset: 0, length: size - 20 }], 0));
});

Deno.test("createOpener() gives a packet without a payload to the framer as it is", async () => {
  for (const [cipher, mac] of pairs) {
    const { sealer, opener } = await both(cipher, mac);
    // padding_length and padding only, and a padding_length that is larger than the packet.
    const sent = [packet(sealer, 0), packet(sealer, 0)];
    sent[0]![4] = sent[0]!.length - 5;
    sent[1]![4] = 255;
    assertEquals(await openAll(opener, await sealAll(sealer, sent, 0), 0), sent);
  }
});

Deno.test("CbcOpener.packetLength() reads on to the longest packet where a length cannot be, then opening fails", async () => {
  for (const [cipher, mac] of pairs.filter(([name, mac]) => name.endsWith("-cbc") && !mac!.includes("-etm"))) {
    const { keys, sealer } = await both(cipher, mac);
    const sealed = await sealAll(sealer, [packet(sealer, 100)], 0);
    // The highest bit of the length: any other change may by chance make one that can be.
    const opener = await createOpener(cipher, mac, { ...keys, iv: keys.iv.with(0, keys.iv[0]! ^ 0x80) });
    const length = opener.packetLength(sealed, 0, 0);
    assertEquals([length, (4 + length) % opener.blockSize], [262_140, 0]);
    const chunk = random(4 + length + opener.tagLength);
    chunk.set(sealed);
    await assertMacInvalid(() => opener.open(chunk, [{ offset: 0, length }], 0));
  }
});

Deno.test("plainSealer() and plainOpener() pass packets as they are", async () => {
  const sealer = plainSealer(), opener = plainOpener();
  const packets = [1, 100, 3000].map((size) => packet(sealer, size));
  const sealed = await sealAll(sealer, packets, 0);
  assertEquals(sealed, Uint8Array.from(packets.flatMap((bytes) => [...bytes])));
  assertEquals(await openAll(opener, sealed, 0), packets);
  assertThrows(() => opener.open(sealed.subarray(0, 20), [{ offset: 0, length: 17 }], 0), SshProtocolError);
});

Deno.test("plainSealer() lays packets out in memory that all share: a login takes none of its own for each chunk", async () => {
  const sealer = plainSealer(), size = 297_144;
  assertEquals(sealer.workspace(size).buffer === plainSealer().workspace(size).buffer, true);
  const sealed = await sealAll(sealer, [packet(sealer, 40)], 0), copy = sealed.slice();
  sealer.workspace(size).fill(7);
  assertEquals(sealed, copy);
});

Deno.test("ciphers and macs say what the RFCs say of them", async () => {
  assertEquals([ciphers.size, macs.size], [9, 6]);
  for (const [name, info] of ciphers) {
    assertEquals(info.name, name);
    assertEquals(info.insecure, name.endsWith("-cbc"));
    assertEquals(info.rekeyBytes, name.startsWith("aes") ? 2 ** 36 : 2 ** 30);
  }
  for (const [name, info] of macs) {
    assertEquals([info.name, info.etm, info.insecure], [
      name,
      name.endsWith("-etm@openssh.com"),
      name.includes("sha1"),
    ]);
  }
  for (const [cipher, mac] of pairs) {
    const { sealer, opener } = await both(cipher, mac), info = ciphers.get(cipher)!;
    const tag = mac === null ? 16 : macs.get(mac)!.tagLength, outside = mac === null || macs.get(mac)!.etm;
    assertEquals([sealer.blockSize, sealer.tagLength, sealer.lengthPadded], [info.blockSize, tag, !outside]);
    assertEquals([opener.blockSize, opener.tagLength, opener.lengthPadded], [info.blockSize, tag, !outside]);
    assertEquals(opener.headLength, outside ? 4 : info.blockSize);
  }
});

Deno.test("createSealer() refuses names it does not know and keys of the wrong length", async () => {
  const keys = randomKeys("aes128-ctr", "hmac-sha2-256"), short = keys.key.slice(1);
  for (const create of [createSealer, createOpener]) {
    await assertRejects(async () => void await create("arcfour", null, keys), TypeError, '"arcfour"');
    await assertRejects(async () => void await create("aes128-ctr", null, keys), TypeError, "MAC");
    await assertRejects(async () => void await create("aes128-ctr", "hmac-md5", keys), TypeError, '"hmac-md5"');
    await assertRejects(
      async () => void await create("aes128-ctr", "hmac-sha2-256", { ...keys, key: short }),
      RangeError,
    );
    await assertRejects(async () => void await create("aes128-ctr", "hmac-sha2-512", keys), RangeError);
    for (const [cipher] of pairs) {
      await assertRejects(async () => void await create(cipher, "hmac-sha2-256", { ...keys, key: short }), RangeError);
    }
  }
});

Deno.test("createSealer() hands out a buffer of its own each time", async () => {
  for (const [cipher, mac] of pairs) {
    const { sealer } = await both(cipher, mac);
    const one = await sealAll(sealer, [packet(sealer, 9)], 0), two = await sealAll(sealer, [packet(sealer, 9)], 1);
    for (const bytes of [one, two]) assertEquals(bytes.buffer.byteLength, bytes.length);
    assert(one.buffer !== two.buffer);
    structuredClone(one, { transfer: [one.buffer] });
    assert(two.length > 0);
  }
});

Deno.test("available() keeps everything in Deno", () => {
  const all = { cipher: [...ciphers.keys()], mac: [...macs.keys()] };
  assertEquals(available(all), all);
});

Deno.test("createSealer() and createOpener() do without node:crypto what available() keeps", async () => {
  const worker = new Worker(new URL("./_without_node_worker.ts", import.meta.url), { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<{ node: boolean; done: string[]; wrong: string[] }>();
  worker.onmessage = (event) => resolve(event.data);
  worker.onerror = (event) => reject(new Error(event.message));
  const result = await promise.finally(() => worker.terminate());
  assertEquals([result.node, result.wrong], [false, []]);
  assertEquals(result.done.toSorted(), [
    "aes128-ctr hmac-sha1-etm@openssh.com",
    "aes128-ctr hmac-sha2-256-etm@openssh.com",
    "aes128-ctr hmac-sha2-512-etm@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-ctr hmac-sha1-etm@openssh.com",
    "aes256-ctr hmac-sha2-256-etm@openssh.com",
    "aes256-ctr hmac-sha2-512-etm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
  ]);
});

Deno.test("createOpener() refuses a batch of AES-GCM once where WebAssembly is missing, whoever finds out first", async () => {
  const worker = new Worker(new URL("./_without_wasm_worker.ts", import.meta.url), { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  worker.onmessage = (event) => resolve(event.data);
  worker.onerror = (event) => reject(new Error(event.message));
  assertEquals(await promise.finally(() => worker.terminate()), {
    same: true,
    codes: Array(3).fill("MAC_INVALID"),
    unhandled: 0,
  });
});

Deno.test("createSealer() counts the nonces of AES-GCM up as RFC 5647 says, and never repeats one", async () => {
  const name = "aes128-gcm@openssh.com", keys = randomKeys(name, null);
  keys.iv.set(hex("ffffffffffffff80"), 4);
  const { sealer, opener } = await both(name, null, keys);
  const webKey = await crypto.subtle.importKey("raw", keys.key, "AES-GCM", false, ["decrypt"]);
  const sent = packet(sealer, 40), seen = new Set<string>();
  for (let i = 0; i < 300; i += 3) {
    const sealed = await sealAll(sealer, [sent, sent, sent], i), each = sealed.length / 3;
    assertEquals(await openAll(opener, sealed, i), [sent, sent, sent]);
    for (let k = 0; k < 3; k++) {
      const one = sealed.subarray(k * each, (k + 1) * each), iv = keys.iv.slice();
      new DataView(iv.buffer).setBigUint64(4, 0xffffffffffffff80n + BigInt(i + k));
      const parameters = { name: "AES-GCM", iv, additionalData: one.slice(0, 4) };
      assertEquals(new Uint8Array(await crypto.subtle.decrypt(parameters, webKey, one.slice(4))), sent.slice(4));
      seen.add(one.toHex());
    }
  }
  assertEquals(seen.size, 300);
});

Deno.test("createSealer() and createOpener() mix small batches and large ones", async () => {
  for (const [cipher, mac] of pairs.filter(([name]) => !name.endsWith("-cbc"))) {
    const { sealer, opener } = await both(cipher, mac);
    let sequence = 0;
    for (const sizes of [[10], [70_000, 5], [20, 30], [40_000, 40_000, 200_000, 3], [4096], [1, 2, 3], [65_536]]) {
      const packets = sizes.map((size) => packet(sealer, size));
      assertEquals(await openAll(opener, await sealAll(sealer, packets, sequence), sequence), packets);
      sequence += sizes.length;
    }
  }
});
