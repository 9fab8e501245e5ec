import { assert, assertEquals } from "@std/assert";
import { PacketBuffer } from "../../lib/sftp/wire/packet_buffer.ts";
import { PacketReader } from "../../lib/sftp/wire/packet_reader.ts";

function fill(buffer: PacketBuffer, byte: number, packets: number): void {
  for (let i = 0; i < packets; i++) buffer.packet(new Uint8Array(32_768).fill(byte));
}

function bytesOf(chunks: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

Deno.test("PacketBuffer.recycle() has large chunks filled again, with none of their old bytes", () => {
  const buffer = new PacketBuffer();
  for (let i = 0; i < 4; i++) {
    fill(buffer, 1, 20);
    for (const chunk of buffer.take()) buffer.recycle(chunk);
  }
  fill(buffer, 2, 20);
  const first = buffer.take();
  fill(buffer, 3, 20);
  const second = buffer.take();
  for (const [chunks, byte] of [[first, 2], [second, 3]] as const) {
    const expected = new PacketBuffer();
    fill(expected, byte, 20);
    assertEquals(bytesOf(chunks), bytesOf(expected.take()));
  }
  const memory = new Set(first.map(({ buffer }) => buffer));
  for (const chunk of first) buffer.recycle(chunk);
  fill(buffer, 4, 20);
  assert(buffer.take().some((chunk) => memory.has(chunk.buffer)));
});

Deno.test("PacketBuffer.take() never hands out the same memory twice unless it was recycled", () => {
  const buffer = new PacketBuffer();
  const seen = new Set<ArrayBufferLike>();
  for (let i = 0; i < 8; i++) {
    fill(buffer, i, 20);
    for (const chunk of buffer.take()) {
      assert(!seen.has(chunk.buffer));
      seen.add(chunk.buffer);
    }
  }
});

Deno.test("PacketBuffer.recycle() and PacketReader.recycle() keep large buffers for all sessions: one at rest holds none", () => {
  const [sent, sends] = [new PacketBuffer(), new PacketBuffer()];
  fill(sent, 1, 40);
  const chunks = sent.take(), memory = new Set(chunks.map(({ buffer }) => buffer));
  for (const chunk of chunks) sent.recycle(chunk);
  fill(sends, 2, 40);
  assert(sends.take().some(({ buffer }) => memory.has(buffer)));

  /** A large packet in pieces, so that it is put together. */
  const read = (byte: number, reuses: boolean): { reader: PacketReader; packet: Uint8Array } => {
    const packets: Uint8Array[] = [];
    const reader = new PacketReader({ packet: (payload) => void packets.push(payload) }, { reuses });
    const whole = new Uint8Array(4 + 100_000).fill(byte);
    new DataView(whole.buffer).setUint32(0, 100_000);
    reader.push(whole.subarray(0, 50_000));
    reader.push(whole.subarray(50_000));
    assertEquals(packets, [whole.subarray(4)]);
    return { reader, packet: packets[0]! };
  };
  for (const reuses of [false, true]) {
    const { reader, packet } = read(6, reuses);
    reader.recycle(packet);
    assert(read(7, false).packet.buffer !== packet.buffer, "Who does not reuse memory gets none of others");
    assertEquals(read(8, true).packet.buffer === packet.buffer, reuses);
  }
});
