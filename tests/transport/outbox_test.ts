import { assert, assertEquals } from "@std/assert";
import { plainOpener, plainSealer } from "../../lib/crypto/cipher/ciphers.ts";
import type { Compressor, PacketOpener, PacketSealer } from "../../lib/crypto/types.ts";
import { Framer, payloadOf } from "../../lib/transport/framer.ts";
import { MAX_DATA_PAYLOAD, MAX_PAYLOAD, Outbox } from "../../lib/transport/outbox.ts";
import type { OutboundSource } from "../../lib/transport/types.ts";
import { closeCiphers, createOpener, createSealer } from "../_support/packet_ciphers.ts";

Deno.test.afterEach(closeCiphers);

/** An outbox with what reads its chunks. */
function make() {
  const sealed: [number, number][] = [];
  let wakes = 0;
  const outbox = new Outbox({
    wake: () => void wakes++,
    sealed: (packets, bytes) => void sealed.push([packets, bytes]),
    reuse: false,
  });
  const framer = new Framer();
  let opener: PacketOpener = plainOpener(), sequence = 0;
  return {
    outbox,
    sealed,
    wakes: () => wakes,
    setOpener: (next: PacketOpener) => {
      opener = next;
      sequence = 0;
    },
    /** Takes one chunk and returns its payloads; null when there is none. */
    take: async (): Promise<Uint8Array[] | null> => {
      const chunk = await outbox.take();
      if (chunk === null) return null;
      framer.push(chunk);
      const payloads: Uint8Array[] = [];
      for (;;) {
        const batch = framer.next(opener, sequence, 1);
        if (batch === null) break;
        const [packet] = await opener.open(batch.chunk, batch.frames, sequence);
        sequence++;
        payloads.push(payloadOf(packet!).slice());
      }
      assertEquals(framer.buffered, 0);
      return payloads;
    },
  };
}

/** A source that has `packets` packets of `size` bytes, each with its `mark` and number. */
class Source implements OutboundSource {
  control: Uint8Array | null = null;
  made = 0;
  constructor(readonly mark: number, public packets: number, readonly size = 100) {}
  takeControl(): Uint8Array | null {
    const { control } = this;
    this.control = null;
    return control;
  }
  writeData(out: Uint8Array, at: number): number {
    if (this.made === this.packets) return 0;
    out.fill(this.mark, at, at + this.size);
    out[at + 1] = this.made++;
    return this.size;
  }
}

const message = (...bytes: number[]) => Uint8Array.from(bytes);
const firsts = (payloads: Uint8Array[] | null) => payloads?.map(([first]) => first);

Deno.test("Outbox.take() gives key exchange messages alone while it is held, and all lanes in order after that", async () => {
  const { outbox, take, wakes } = make();
  const source = new Source(94, 2);
  outbox.send(message(80));
  outbox.send(message(81), true);
  outbox.wantData(source);
  source.control = message(93);
  outbox.wantControl(source);
  assertEquals([outbox.ready, await take(), wakes()], [false, null, 0]);
  outbox.sendKex(message(20));
  assertEquals(wakes(), 1);
  assertEquals(await take(), [message(20)]);
  assertEquals(await take(), null);
  assertEquals([outbox.queued, outbox.provoked], [2, { messages: 1, bytes: 1 }]);
  outbox.release();
  outbox.sendKex(message(2));
  assertEquals(firsts(await take()), [2, 80, 81, 93, 94, 94]);
  assertEquals([await take(), outbox.queued, outbox.provoked], [null, 0, { messages: 0, bytes: 0 }]);
});

Deno.test("Outbox.take() serves sources in turn, a packet each", async () => {
  const { outbox, take } = make();
  outbox.release();
  for (const [mark, packets] of [[94, 3], [95, 1], [96, 2]] as const) outbox.wantData(new Source(mark, packets));
  assertEquals(firsts(await take()), [94, 95, 96, 94, 96, 94]);
});

Deno.test("Outbox.take() stops near 256 KiB, so that keys can change soon", async () => {
  const { outbox, take, sealed } = make();
  outbox.release();
  const source = new Source(94, 30, MAX_DATA_PAYLOAD);
  outbox.wantData(source);
  const first = await take();
  assert(first!.length >= 8 && first!.length <= 9, `${first!.length}`);
  assert(sealed[0]![1] < 262_144 + 35_000);
  // A message that comes now goes before the rest of the data.
  outbox.send(message(80));
  assertEquals((await take())![0], message(80));
  while (await take() !== null);
  assertEquals(source.made, 30);
});

Deno.test("Outbox.take() takes messages of every size up to the largest, many and few", async () => {
  const { outbox, take, sealed } = make();
  outbox.release();
  const lengths = [1, 2, 7, 8, 9, 251, 255, 256, 35_000, MAX_PAYLOAD - 1, MAX_PAYLOAD, 1, MAX_PAYLOAD, 1000];
  for (const length of lengths) outbox.send(new Uint8Array(length).fill(80));
  for (let i = 0; i < 20_000; i++) outbox.send(message(81));
  const got: number[] = [];
  let payloads: Uint8Array[] | null;
  while ((payloads = await take()) !== null) got.push(...payloads.map((p) => p.length));
  assertEquals(got.slice(0, lengths.length), lengths);
  assertEquals(got.length, lengths.length + 20_000);
  assert(sealed.every(([, bytes]) => bytes < 262_144 + 35_000));
  assertEquals(sealed.reduce((sum, [packets]) => sum + packets, 0), got.length);
});

Deno.test("Outbox lays out packets whose padding is random, of 4 bytes at least, and fills whole blocks", async () => {
  const paddings = new Set<string>();
  for (const cipher of ["", "chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes128-ctr"]) {
    const { outbox, sealed, setOpener } = make();
    const keys = { iv: new Uint8Array(16), key: new Uint8Array(64), macKey: new Uint8Array(32) };
    const cut = (length: number, iv = 16) => ({ ...keys, key: keys.key.slice(0, length), iv: keys.iv.slice(0, iv) });
    const forCipher = cipher.startsWith("chacha") ? cut(64, 0) : cipher.includes("gcm") ? cut(16, 12) : cut(16);
    let opener = plainOpener();
    if (cipher !== "") {
      const sealer = await createSealer(cipher, "hmac-sha2-256", forCipher);
      opener = await createOpener(cipher, "hmac-sha2-256", forCipher);
      outbox.sendKex(message(21), { sealer, resetSequence: true, compressor: null });
      await outbox.take();
      setOpener(opener);
    }
    outbox.release();
    for (let length = 1; length < 80; length++) {
      outbox.send(new Uint8Array(length).fill(80));
      const chunk = (await outbox.take())!;
      const framer = new Framer();
      framer.push(chunk);
      const batch = framer.next(opener, length - 1, 1)!;
      const [packet] = await opener.open(batch.chunk, batch.frames, length - 1);
      const padding = packet![0]!;
      assert(padding >= 4 && padding <= 4 + Math.max(8, opener.blockSize), `${padding}`);
      assertEquals(packet!.length - padding - 1, length);
      assertEquals((packet!.length + (opener.lengthPadded ? 4 : 0)) % Math.max(8, opener.blockSize), 0);
      if (padding >= 8) paddings.add(packet!.subarray(-8).toHex());
    }
    assert(sealed.length >= 79);
  }
  assert(paddings.size > 100, "Padding repeats itself");
});

Deno.test("Outbox changes keys right behind NEWKEYS, and numbers with them where that is wanted", async () => {
  const keys = { iv: new Uint8Array(0), key: new Uint8Array(64).fill(3), macKey: new Uint8Array(0) };
  const name = "chacha20-poly1305@openssh.com";
  for (const resetSequence of [true, false]) {
    const { outbox } = make();
    let inForce = 0;
    outbox.sendKex(message(20));
    outbox.sendKex(message(21), {
      sealer: await createSealer(name, null, keys),
      resetSequence,
      compressor: null,
      inForce: () => void inForce++,
    });
    outbox.sendKex(message(7));
    outbox.send(message(80));
    outbox.release();
    const plain = await outbox.take() as Uint8Array;
    assertEquals([inForce, outbox.sequence], [1, resetSequence ? 0 : 2]);
    const framer = new Framer();
    framer.push(plain);
    assertEquals(framer.next(plainOpener(), 0, 9)?.frames.length, 2);
    framer.push(await outbox.take() as Uint8Array);
    const opener = await createOpener(name, null, keys), from = resetSequence ? 0 : 2;
    const batch = framer.next(opener, from, 9)!;
    const opened = await opener.open(batch.chunk, batch.frames, from);
    assertEquals(opened.map((packet) => payloadOf(packet)[0]), [7, 80]);
    assertEquals([outbox.sequence, inForce], [from + 2, 1]);
  }
});

/** Marks what it was given. */
function marker(mark: number): Compressor {
  return { compress: (payload) => Uint8Array.from([mark, ...payload]) };
}

Deno.test("Outbox starts compression behind the message it was asked to, for every lane", async () => {
  const { outbox, take } = make();
  outbox.release();
  outbox.send(message(52));
  outbox.compressAfterLast(marker(1));
  outbox.send(message(80));
  outbox.wantData(new Source(94, 1, 3));
  outbox.sendKex(message(20));
  assertEquals(await take(), [message(20), message(52), message(1, 80), message(1, 94, 0, 94)]);
  outbox.compressAfterLast(marker(2));
  outbox.sendKex(message(20));
  assertEquals(await take(), [message(2, 20)]);
});

// A rekey may agree on no compression: the stream that was must end with its keys.
Deno.test("Outbox takes the compression of new keys, none included", async () => {
  const { outbox, take } = make();
  outbox.release();
  outbox.sendKex(message(21), { sealer: plainSealer(), resetSequence: false, compressor: marker(1) });
  assertEquals(await take(), [message(21)]);
  outbox.send(message(80));
  assertEquals(await take(), [message(1, 80)]);
  outbox.sendKex(message(21), { sealer: plainSealer(), resetSequence: false, compressor: null });
  assertEquals(await take(), [message(1, 21)]);
  outbox.send(message(80));
  assertEquals(await take(), [message(80)]);
});

Deno.test("Outbox.hold() during take() lets the batch go and stops the next", async () => {
  let outbox: Outbox | null = null;
  const sealed = () => {
    outbox!.hold();
    outbox!.sendKex(message(20));
  };
  outbox = new Outbox({ wake: () => {}, sealed, reuse: false });
  outbox.release();
  outbox.send(message(80));
  const chunk = await outbox.take() as Uint8Array;
  const framer = new Framer();
  framer.push(chunk);
  assertEquals(framer.next(plainOpener(), 0, 9)?.frames.length, 1);
  outbox.send(message(81));
  framer.push(await outbox.take() as Uint8Array);
  const batch = framer.next(plainOpener(), 0, 9)!;
  assertEquals(batch.frames.length, 1);
  assertEquals(batch.chunk[batch.frames[0]!.offset + 5], 20);
});

Deno.test("Outbox.drop() leaves key exchange messages alone, and forget() takes a source out", async () => {
  const { outbox, take } = make();
  outbox.release();
  const kept = new Source(94, 1), gone = new Source(95, 1);
  outbox.wantData(kept);
  outbox.wantData(gone);
  outbox.wantControl(gone);
  outbox.forget(gone);
  assertEquals(firsts(await take()), [94]);
  outbox.wantData(gone);
  outbox.wantControl(kept);
  outbox.send(message(80), true);
  outbox.sendKex(message(1));
  outbox.drop();
  assertEquals([outbox.queued, outbox.provoked], [0, { messages: 0, bytes: 0 }]);
  assertEquals(await take(), [message(1)]);
  assertEquals(await take(), null);
});

Deno.test("Outbox.take() asks a source that has nothing no second time until it asks again", async () => {
  const { outbox, take } = make();
  outbox.release();
  const source = new Source(94, 0);
  outbox.wantData(source);
  outbox.wantControl(source);
  assertEquals(await take(), null);
  assert(!outbox.ready);
  source.packets = 1;
  outbox.wantData(source);
  assertEquals(firsts(await take()), [94]);
});

Deno.test("Outbox.recycle() uses large buffers again, and their old bytes never leave", async () => {
  const outbox = new Outbox({ wake: () => {}, sealed: () => {}, reuse: true });
  outbox.release();
  const keys = { iv: new Uint8Array(0), key: new Uint8Array(64).fill(3), macKey: new Uint8Array(0) };
  const name = "chacha20-poly1305@openssh.com";
  outbox.sendKex(message(21), { sealer: await createSealer(name, null, keys), resetSequence: true, compressor: null });
  await outbox.take();
  const opener = await createOpener(name, null, keys);
  let sequence = 0;
  for (const size of [200_000, 100_000, 70_000, 200_000, 10]) {
    outbox.send(new Uint8Array(size).fill(size % 251 + 1));
    const chunk = await outbox.take() as Uint8Array<ArrayBuffer>;
    assert(chunk.length >= size && chunk.length < size + 100);
    const framer = new Framer();
    framer.push(chunk);
    const batch = framer.next(opener, sequence, 1)!;
    const [packet] = await opener.open(batch.chunk, batch.frames, sequence++);
    const payload = payloadOf(packet!);
    assertEquals(payload.length, size);
    assert(payload.every((byte) => byte === size % 251 + 1));
    outbox.recycle(chunk);
  }
});

Deno.test("Outbox.take() gives buffers for reuse to sealers that have a use for them, and to no others", async () => {
  for (const fillsOut of [true, false]) {
    const given: (Uint8Array | undefined)[] = [];
    const outbox = new Outbox({ wake: () => {}, sealed: () => {}, reuse: true });
    const plain = plainSealer();
    const sealer: PacketSealer = {
      blockSize: plain.blockSize,
      lengthPadded: plain.lengthPadded,
      tagLength: plain.tagLength,
      fillsOut,
      workspace: (size) => plain.workspace(size),
      seal: (workspace, ends, sequence, out) => {
        given.push(out);
        return plain.seal(workspace, ends, sequence);
      },
    };
    outbox.sendKex(message(21), { sealer, resetSequence: false, compressor: null });
    outbox.release();
    await outbox.take();
    for (let i = 0; i < 3; i++) {
      outbox.send(new Uint8Array(100_000));
      await outbox.take();
    }
    assertEquals(given.map((out) => out !== undefined), [fillsOut, fillsOut, fillsOut]);
    outbox.close();
  }
});
