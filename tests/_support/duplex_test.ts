import { assert, assertEquals, assertRejects } from "@std/assert";
import { delayRelay, memoryPair, seededBytes } from "./duplex.ts";

async function readAll(readable: ReadableStream<Uint8Array>): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readable) chunks.push(chunk);
  return chunks;
}

const join = (chunks: Uint8Array[]) => new Uint8Array(chunks.flatMap((chunk) => [...chunk]));

async function writeAll(writable: WritableStream<Uint8Array>, ...chunks: Uint8Array[]): Promise<void> {
  const writer = writable.getWriter();
  for (const chunk of chunks) await writer.write(chunk);
  await writer.close();
}

for (const chunks of ["whole", "bytes", { seed: 3 }] as const) {
  for (const highWaterMark of [0, 1, 4096]) {
    Deno.test(`memoryPair() carries bytes both ways, chunks ${JSON.stringify(chunks)}, mark ${highWaterMark}`, async () => {
      const pair = memoryPair({ chunks, highWaterMark });
      const up = seededBytes(1000, 1), down = seededBytes(777, 2);
      const [, , atServer, atClient] = await Promise.all([
        writeAll(pair.client.writable, up.subarray(0, 500), up.subarray(500)),
        writeAll(pair.server.writable, down),
        readAll(pair.server.readable),
        readAll(pair.client.readable),
      ]);
      assertEquals(join(atServer), up);
      assertEquals(join(atClient), down);
      if (chunks === "whole") assertEquals(atServer.length, 2);
      else if (chunks === "bytes") assertEquals(atServer.length, 1000);
      else assert(atServer.length > 15);
      assertEquals(pair.toServer.delivered, 1000);
    });
  }
}

Deno.test("memoryPair() makes one-byte chunks first and small ones later", async () => {
  const pair = memoryPair({ chunks: "bytes-first" });
  const bytes = seededBytes(20_000);
  const [, got] = await Promise.all([writeAll(pair.client.writable, bytes), readAll(pair.server.readable)]);
  assertEquals(join(got), bytes);
  assertEquals(got.findIndex((chunk) => chunk.length > 1) >= 8192, true);
  assert(got.length < 9000);
});

Deno.test("memoryPair() reads into a caller's buffer", async () => {
  const pair = memoryPair({ chunks: "whole" });
  const writing = writeAll(pair.client.writable, seededBytes(100));
  const reader = pair.server.readable.getReader({ mode: "byob" });
  const got: number[] = [];
  while (true) {
    const { value, done } = await reader.read(new Uint8Array(16));
    got.push(...value ?? []);
    if (done) break;
  }
  await writing;
  assertEquals(new Uint8Array(got), seededBytes(100));
});

Deno.test("memoryPair() waits in write() beyond the high-water mark", async () => {
  const pair = memoryPair({ chunks: "whole", highWaterMark: 10 });
  const writer = pair.client.writable.getWriter();
  await writer.write(new Uint8Array(10));
  let settled = false;
  const second = writer.write(new Uint8Array(1)).then(() => settled = true);
  for (let i = 0; i < 20; i++) await Promise.resolve();
  assert(!settled);
  const reader = pair.server.readable.getReader();
  await reader.read();
  await second;
});

Deno.test("memoryPair() cuts both directions behind a number of bytes", async () => {
  const pair = memoryPair({ cutAfter: { toServer: 3 } });
  const writing = pair.client.writable.getWriter().write(new Uint8Array([1, 2, 3, 4]));
  writing.catch(() => {});
  const reader = pair.server.readable.getReader();
  const got: number[] = [];
  await assertRejects(async () => {
    while (true) got.push(...(await reader.read()).value ?? []);
  }, Deno.errors.ConnectionReset);
  assertEquals(got, [1, 2, 3]);
  await assertRejects(() => pair.client.readable.getReader().read(), Deno.errors.ConnectionReset);
  await assertRejects(() => pair.server.writable.getWriter().write(new Uint8Array(1)));
});

Deno.test("memoryPair() ends a direction behind a number of bytes", async () => {
  const pair = memoryPair({ cutAfter: { toServer: 3 }, cut: "end" });
  const writing = pair.client.writable.getWriter().write(new Uint8Array(4));
  writing.catch(() => {});
  assertEquals(join(await readAll(pair.server.readable)).length, 3);
});

Deno.test("memoryPair() holds everything back while stalled", async () => {
  const pair = memoryPair({ chunks: "whole", highWaterMark: 5 });
  pair.toServer.stall();
  await pair.client.writable.getWriter().write(new Uint8Array(5));
  let read = false;
  const reading = pair.server.readable.getReader().read().then(() => read = true);
  for (let i = 0; i < 20; i++) await Promise.resolve();
  assert(!read);
  pair.toServer.resume();
  await reading;
});

Deno.test("memoryPair() lets a tap watch and change bytes", async () => {
  const offsets: number[] = [];
  const pair = memoryPair({
    chunks: "whole",
    tap: {
      toServer: (bytes, offset) => {
        offsets.push(offset);
        if (offset === 2) bytes[0] = 9;
      },
    },
  });
  const [, got] = await Promise.all([
    writeAll(pair.client.writable, new Uint8Array([1, 2]), new Uint8Array([3, 4])),
    readAll(pair.server.readable),
  ]);
  assertEquals(offsets, [0, 2]);
  assertEquals(join(got), new Uint8Array([1, 2, 9, 4]));
});

Deno.test("memoryPair() fails the writer when the reader cancels, and the reader when the writer aborts", async () => {
  const pair = memoryPair();
  await pair.server.readable.cancel();
  await assertRejects(() => pair.client.writable.getWriter().write(new Uint8Array(1)), Deno.errors.BrokenPipe);
  await pair.server.writable.abort();
  await assertRejects(() => pair.client.readable.getReader().read(), Deno.errors.ConnectionReset);
});

Deno.test("memoryPair() resets pending reads and writes", async () => {
  const pair = memoryPair({ highWaterMark: 0 });
  const reading = assertRejects(() => pair.client.readable.getReader().read(), Deno.errors.ConnectionReset);
  const writing = assertRejects(
    () => pair.client.writable.getWriter().write(new Uint8Array(1)),
    Deno.errors.ConnectionReset,
  );
  pair.reset();
  await Promise.all([reading, writing]);
});

Deno.test("delayRelay() delays each way, limits the rate, and passes half closes on", async () => {
  const echo = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const echoing = (async () => {
    for await (const conn of echo) await conn.readable.pipeTo(conn.writable);
  })();
  {
    await using relay = delayRelay({ to: { port: echo.addr.port }, delay: 30, bandwidth: 2_000_000 });
    const conn = await Deno.connect({ hostname: relay.hostname, port: relay.port });
    const bytes = seededBytes(200_000);
    const start = performance.now();
    const writing = (async () => {
      for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
      await conn.closeWrite();
    })();
    const got = await new Response(conn.readable).bytes();
    await writing;
    const took = performance.now() - start;
    assertEquals(got, bytes);
    assert(took >= 155, `${took} ms`);
    assertEquals(relay.bytes, { toServer: 200_000, toClient: 200_000 });
  }
  echo.close();
  await echoing;
});

Deno.test("delayRelay() stops with a connection open and bytes on their way", async () => {
  const sink = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const relay = delayRelay({ to: { port: sink.addr.port }, delay: 60_000 });
  const conn = await Deno.connect({ hostname: relay.hostname, port: relay.port });
  const far = await sink.accept();
  await conn.write(new Uint8Array(10));
  await new Promise((resolve) => setTimeout(resolve, 20));
  await relay.stop();
  conn.close();
  far.close();
  sink.close();
});
