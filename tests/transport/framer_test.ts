import { assert, assertEquals, assertThrows } from "@std/assert";
import { plainOpener } from "../../lib/crypto/cipher/ciphers.ts";
import type { PacketOpener } from "../../lib/crypto/types.ts";
import { DisconnectReason, SshProtocolError } from "../../lib/errors.ts";
import { ByteSource } from "../../lib/transport/byte_source.ts";
import { Framer, MAX_PACKET_LENGTH, payloadOf } from "../../lib/transport/framer.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { seededRandom } from "../_support/duplex.ts";

/** A packet of the plain cipher around `payload` bytes of value `fill`. */
function packet(payload: number, fill = 1): Uint8Array<ArrayBuffer> {
  let padding = 8 - (5 + payload) % 8;
  if (padding < 4) padding += 8;
  return new Writer().u32(1 + payload + padding).u8(padding).raw(new Uint8Array(payload).fill(fill)).raw(
    new Uint8Array(padding),
  ).bytes();
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const w = new Writer();
  for (const part of parts) w.raw(part);
  return w.bytes();
}

/** Payload lengths of all packets that are whole. */
function drain(framer: Framer, opener = plainOpener(), limit = 256): number[] {
  const lengths: number[] = [];
  for (;;) {
    const batch = framer.next(opener, lengths.length, limit);
    if (batch === null) return lengths;
    assert(batch.frames.length >= 1 && batch.frames.length <= limit);
    for (const opened of opener.open(batch.chunk, batch.frames, lengths.length) as Uint8Array[]) {
      lengths.push(payloadOf(opened).length);
    }
  }
}

const sizes = [1, 2, 7, 8, 11, 100, 3000, 40_000, 1, 5];
const wire = concat(sizes.map((size) => packet(size)));

Deno.test("Framer.next() gives whole packets in order, whatever chunks they came in", () => {
  for (const step of [1, 2, 3, 5, 7, 64, 1000, 10_000, wire.length]) {
    const framer = new Framer(), got: number[] = [];
    for (let at = 0; at < wire.length; at += step) {
      framer.push(wire.subarray(at, at + step));
      got.push(...drain(framer));
    }
    assertEquals(got, sizes);
    assertEquals(framer.buffered, 0);
  }
});

Deno.test("Framer.next() gives no more packets than asked for, and goes on behind them", () => {
  for (const limit of [1, 2, 3]) {
    const framer = new Framer();
    framer.push(wire);
    assertEquals(drain(framer, plainOpener(), limit), sizes);
  }
  const framer = new Framer();
  framer.push(wire);
  const batch = framer.next(plainOpener(), 0, 1)!;
  assertEquals([batch.frames.length, batch.bytes], [1, packet(1).length]);
});

Deno.test("Framer.next() keeps a batch near 256 KiB", () => {
  const framer = new Framer();
  framer.push(concat(Array.from({ length: 40 }, () => packet(30_000))));
  const batch = framer.next(plainOpener(), 0, 1000)!;
  assert(batch.bytes >= 262_144 && batch.bytes < 262_144 + 40_000, `${batch.bytes}`);
});

// A length may be decrypted from a key stream: asking twice would be wrong for some ciphers, and costs time for all.
Deno.test("Framer.next() reads the length of a packet once, with its own sequence number", () => {
  const plain = plainOpener(), asked: number[] = [];
  const opener: PacketOpener = {
    ...plain,
    packetLength: (chunk, offset, sequence) => {
      asked.push(sequence);
      return plain.packetLength(chunk, offset, sequence);
    },
  };
  const framer = new Framer();
  let sequence = 0xffff_fffe;
  for (const byte of concat([packet(1), packet(2), packet(3), packet(4)])) {
    framer.push(new Uint8Array([byte]));
    const batch = framer.next(opener, sequence, 8);
    if (batch !== null) sequence = (sequence + batch.frames.length) >>> 0;
  }
  assertEquals(asked, [0xffff_fffe, 0xffff_ffff, 0, 1]);
  const whole = new Framer();
  asked.length = 0;
  whole.push(concat([packet(1), packet(2), packet(3)]));
  whole.next(opener, 0xffff_ffff, 8);
  assertEquals(asked, [0xffff_ffff, 0, 1]);
});

// Rows 12 to 14.
Deno.test("Framer.next() refuses lengths that no peer may send, at their last byte", () => {
  const shapes = [
    { ...plainOpener() },
    { ...plainOpener(), blockSize: 16 },
    { ...plainOpener(), blockSize: 16, lengthPadded: false, tagLength: 16 },
    { ...plainOpener(), lengthPadded: false, tagLength: 16 },
  ];
  for (const opener of shapes) {
    const { blockSize, lengthPadded } = opener;
    for (const length of [0, 1, 2, 3, 4, 13, 17, 262_145, 262_148, 262_160, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      const framer = new Framer();
      const bytes = new Writer().u32(length).bytes();
      framer.push(bytes.subarray(0, 3));
      assertEquals(framer.next(opener, 0, 1), null);
      framer.push(bytes.subarray(3));
      const error = assertThrows(() => framer.next(opener, 0, 1), SshProtocolError);
      assertEquals(error.reason, DisconnectReason.PROTOCOL_ERROR);
    }
    for (let length = 5; length < 100; length++) {
      const framer = new Framer();
      framer.push(new Writer().u32(length).raw(new Uint8Array(200)).bytes());
      const fits = (length + (lengthPadded ? 4 : 0)) % blockSize === 0;
      if (fits) assertEquals(framer.next(opener, 0, 1)?.frames, [{ offset: 0, length }]);
      else assertThrows(() => framer.next(opener, 0, 1), SshProtocolError);
    }
    const largest = lengthPadded ? MAX_PACKET_LENGTH - 4 : MAX_PACKET_LENGTH;
    const framer = new Framer();
    framer.push(new Writer().u32(largest).raw(new Uint8Array(largest + 16)).bytes());
    assertEquals(framer.next(opener, 0, 1)?.frames[0]?.length, largest);
  }
});

// Rows 13 and 17.
Deno.test("Framer holds what has come, not what a length claims", () => {
  const framer = new Framer();
  framer.push(new Writer().u32(262_140).bytes());
  assertEquals(framer.next(plainOpener(), 0, 1), null);
  assertEquals(framer.buffered, 4);
  // The room for a read is what an idle connection has.
  assert(framer.readTarget().buffer.byteLength <= 8192 + 4);
});

// Rows 15, 16 and 18.
Deno.test("payloadOf() cuts padding of 4 to 255 bytes off, and refuses any other and a packet without a payload", () => {
  assertEquals(payloadOf(new Uint8Array([4, 80, 81, 0, 0, 0, 0])), new Uint8Array([80, 81]));
  const most = new Uint8Array(257);
  most[0] = 255;
  most[1] = 80;
  assertEquals(payloadOf(most), new Uint8Array([80]));
  for (let padding = 0; padding < 256; padding++) {
    for (const length of [5, 6, 8, 12, 16, 100, 256]) {
      const body = new Uint8Array(length);
      body[0] = padding;
      if (padding >= 4 && length - padding >= 2) assertEquals(payloadOf(body).length, length - padding - 1);
      else assertThrows(() => payloadOf(body), SshProtocolError);
    }
  }
});

/** A byte stream that hands out pieces of the sizes that `size` gives. */
function byteStream(bytes: Uint8Array, size: () => number): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    type: "bytes",
    pull(controller) {
      const view = controller.byobRequest?.view;
      const n = Math.min(size(), bytes.length - at, view?.byteLength ?? Infinity);
      if (n === 0) {
        controller.close();
        controller.byobRequest?.respond(0);
      } else if (view) {
        new Uint8Array(view.buffer, view.byteOffset).set(bytes.subarray(at, at + n));
        at += n;
        controller.byobRequest!.respond(n);
      } else {
        controller.enqueue(bytes.slice(at, at + n));
        at += n;
      }
    },
  });
}

function chunkStream(bytes: Uint8Array, size: () => number): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      const n = Math.min(size(), bytes.length - at);
      if (n === 0) controller.close();
      else controller.enqueue(bytes.slice(at, at + n));
      at += n;
    },
  });
}

Deno.test("ByteSource.fill() reads byte streams and others alike, in pieces of any size", async () => {
  const random = seededRandom(11);
  const many: number[] = [];
  for (let i = 0; i < 80; i++) many.push(1 + Math.floor(random() ** 4 * 60_000));
  const bytes = concat(many.map((size) => packet(size)));
  for (const max of [17, 3000, 9000, 300_000]) {
    for (const make of [byteStream, chunkStream]) {
      const framer = new Framer(), got: number[] = [];
      const source = new ByteSource(make(bytes, () => 1 + Math.floor(random() * max)), framer);
      while (await source.fill()) got.push(...drain(framer));
      assertEquals(got, many);
      assertEquals(framer.buffered, 0);
      await source.cancel();
    }
  }
});

Deno.test("ByteSource.readChunk() and fill() follow each other", async () => {
  for (const make of [byteStream, chunkStream]) {
    const framer = new Framer(), bytes = concat([new Uint8Array(7), packet(100), packet(50)]);
    const source = new ByteSource(make(bytes, () => 10), framer);
    framer.push((await source.readChunk())!.subarray(7));
    const got: number[] = [];
    while (await source.fill()) got.push(...drain(framer));
    assertEquals(got, [100, 50]);
    assertEquals(await source.readChunk(), null);
    await source.cancel();
  }
});

Deno.test("ByteSource.cancel() ends a read that waits, and lets go of the stream", async () => {
  let cancelled = 0;
  const cancel = () => void cancelled++;
  const waiting = () => new Promise<void>(() => {});
  for (
    const stream of [
      new ReadableStream({ type: "bytes", pull: waiting, cancel }),
      new ReadableStream<Uint8Array>({ pull: waiting, cancel }),
    ]
  ) {
    const source = new ByteSource(stream, new Framer());
    const reading = source.fill();
    await source.cancel();
    assertEquals(await reading, false);
    assert(!stream.locked);
  }
  assertEquals(cancelled, 2);
});

Deno.test("Framer gives memory back after a burst", () => {
  const framer = new Framer();
  const read = (bytes: number) => {
    const target = framer.readTarget(), asked = target.length;
    const n = Math.min(bytes, asked);
    framer.filled(target.subarray(0, n) as Uint8Array<ArrayBuffer>, asked);
    framer.clear();
    return asked;
  };
  let asked = 0;
  for (let i = 0; i < 8; i++) asked = read(1 << 20);
  assertEquals(asked, 16_384, "What one read may bring before the login");
  framer.setKnown();
  for (let i = 0; i < 8; i++) asked = read(1 << 20);
  assert(asked >= 262_144);
  read(10);
  assertEquals(framer.readTarget().buffer.byteLength, 8_192, "What waits behind a small read");
  framer.filled(new Uint8Array(8_192), 8_192);
  framer.clear();
  for (let i = 0; i < 8; i++) asked = read(1 << 20);
  assert(asked >= 262_144);
  framer.rest();
  assertEquals(framer.readTarget().buffer.byteLength, 8_192, "What waits where little is expected");
});
