import { assert, assertEquals } from "@std/assert";
import { ChunkSource } from "../../lib/wire/chunk_source.ts";
import { collectGarbage } from "../_support/resources.ts";

/** A byte stream that gives so many bytes for each number, and then waits; says how much room the last read had. */
function byteStream(sizes: number[]) {
  const waiting = Promise.withResolvers<void>();
  let room = 0;
  const stream = new ReadableStream({
    type: "bytes",
    async pull(controller) {
      const view = controller.byobRequest!.view!, left = sizes[0];
      room = view.byteLength;
      if (left === undefined) {
        waiting.resolve();
        await new Promise(() => {});
      }
      const n = Math.min(view.byteLength, left!);
      if (n === left) sizes.shift();
      else sizes[0] = left! - n;
      controller.byobRequest!.respond(n);
    },
  });
  return { stream, waiting: waiting.promise, room: () => room };
}

/** Reads all that comes, and keeps only references that keep nothing. */
async function readAll(
  source: ChunkSource,
  seen: { buffer: WeakRef<ArrayBufferLike>; length: number }[],
): Promise<void> {
  while (await source.read((chunk) => void seen.push({ buffer: new WeakRef(chunk.buffer), length: chunk.length })));
}

Deno.test("ChunkSource.read() gives the bytes of byte streams and others, and says where they end", async () => {
  for (const type of ["bytes", undefined] as const) {
    const stream = new ReadableStream<Uint8Array>({
      type: type as undefined,
      start(controller) {
        for (const length of [1, 20_000, 3]) controller.enqueue(new Uint8Array(length).fill(length));
        controller.close();
      },
    });
    const source = new ChunkSource(stream), bytes: number[] = [];
    while (await source.read((chunk) => void bytes.push(...chunk)));
    assertEquals(bytes.length, 20_004);
    assertEquals([bytes[0], bytes[1], bytes.at(-1)], [1, 20_000 & 255, 3]);
    assertEquals(await source.read(() => {}), false);
  }
});

Deno.test("ChunkSource waits with little room behind a small chunk, and holds nothing of the one before", async () => {
  const { stream, waiting, room } = byteStream([1_000_000, 10]), source = new ChunkSource(stream);
  const seen: { buffer: WeakRef<ArrayBufferLike>; length: number }[] = [];
  const reading = readAll(source, seen);
  await waiting;
  assert(seen.some(({ length }) => length > 262_144), "Reads grow");
  assertEquals(room(), 8_192);
  await collectGarbage();
  assertEquals(seen.filter(({ buffer }) => (buffer.deref()?.byteLength ?? 0) > 0).map(({ length }) => length), []);
  await source.cancel(null);
  await reading;
});
