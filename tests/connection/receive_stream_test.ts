import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { concat } from "@std/bytes";
import { ReceiveStream } from "../../lib/connection/receive_stream.ts";
import { Prng } from "../_support/fuzz.ts";
import { settle, stateOf, text, utf8 } from "../_support/fake_transport.ts";

function make(): { stream: ReceiveStream; credited: () => number } {
  let bytes = 0;
  const stream = new ReceiveStream((n) => {
    assert(n > 0);
    bytes += n;
  });
  return { stream, credited: () => bytes };
}

const broken = new Error("broken");

/** The plain twin: one array of bytes, and how it ended. */
class Twin {
  bytes: number[] = [];
  end: Error | null | undefined = undefined;
}

Deno.test("ReceiveStream gives what was pushed, whatever the splits, the reader and the end (twin)", async () => {
  // "Fast code has a plain twin".
  for (let seed = 0; seed < 200; seed++) {
    const prng = new Prng(seed);
    const { stream, credited } = make();
    const twin = new Twin();
    const kind = prng.pick(["default", "byob", "byob min"] as const);
    const largest = prng.pick([1, 10, 3000, 40_000]);
    const got: Uint8Array[] = [];
    const pushing = async () => {
      for (let n = prng.below(40); n > 0; n--) {
        const bytes = prng.bytes(1 + prng.below(largest));
        // Owned data is kept, other data dies behind the call.
        const owned = prng.below(3) === 0;
        for (const byte of bytes) twin.bytes.push(byte);
        const pushed = bytes.slice();
        stream.push(pushed, owned);
        if (!owned) pushed.fill(0xdd);
        if (prng.below(2) === 0) stream.flush();
        if (prng.below(3) === 0) await Promise.resolve();
        if (prng.below(20) === 0) await settle();
      }
      // The batch ends at last, as every batch does.
      stream.flush();
      twin.end = prng.below(2) === 0 ? null : broken;
      stream.end(twin.end);
    };
    const reading = async (): Promise<Error | null> => {
      let reader: ReadableStreamBYOBReader | ReadableStreamDefaultReader<Uint8Array> | null = null;
      try {
        for (;;) {
          reader ??= kind === "default" ? stream.readable.getReader() : stream.readable.getReader({ mode: "byob" });
          let result: { done: boolean; value?: Uint8Array | undefined };
          if (reader instanceof ReadableStreamDefaultReader) result = await reader.read();
          else {
            const view = new Uint8Array(1 + prng.below(largest * 2));
            // A min beyond what comes would lose a part when the stream fails: asked for only where it closes.
            result = await reader.read(view, kind === "byob min" && prng.below(4) === 0 ? { min: 1 } : {});
          }
          if (result.value !== undefined && result.value.length > 0) got.push(result.value);
          if (result.done) return null;
          if (prng.below(5) === 0) {
            reader.releaseLock();
            reader = null;
          }
          if (prng.below(4) === 0) await settle();
        }
      } catch (error) {
        return error as Error;
      }
    };
    const [, end] = await Promise.all([pushing(), reading()]);
    const bytes = concat(got);
    assertEquals(bytes.length, twin.bytes.length, `seed ${seed}`);
    assert(bytes.every((byte, i) => byte === twin.bytes[i]), `seed ${seed}`);
    assert(end === twin.end, `seed ${seed}: ${end}`);
    assertEquals(credited(), bytes.length, `seed ${seed}`);
    assert(stream.drained);
  }
});

Deno.test("ReceiveStream credits nothing before somebody reads, and a chunk when it leaves", async () => {
  const { stream, credited } = make();
  stream.push(new Uint8Array(1000));
  stream.flush();
  await settle();
  assertEquals(credited(), 0);
  const reader = stream.readable.getReader();
  const { value } = await reader.read();
  assertEquals(value!.length, credited());
  stream.push(new Uint8Array(500));
  stream.flush();
  await settle();
  assert(credited() <= 1000, "nobody asked for the rest");
});

Deno.test("ReceiveStream hands small packets of a batch over as one chunk", async () => {
  const { stream } = make();
  const reader = stream.readable.getReader();
  const first = reader.read();
  for (let i = 0; i < 64; i++) stream.push(utf8("0123456789"));
  stream.flush();
  let length = (await first).value!.length, chunks = 1;
  while (length < 640) {
    length += (await reader.read()).value!.length;
    chunks++;
  }
  assert(chunks <= 10, `${chunks} chunks`);
});

Deno.test("ReceiveStream.push() fills the room of a BYOB read straight from the packets of a batch", async () => {
  const { stream, credited } = make();
  const reader = stream.readable.getReader({ mode: "byob" });
  let room = new Uint8Array(2500);
  for (const [packets, sizes] of [[1, [1000]], [3, [2500, 500]], [2, [2000]]] as const) {
    const before = credited();
    const reading = reader.read(room);
    await settle();
    for (let i = 0; i < packets; i++) stream.push(new Uint8Array(1000).fill(i + 1));
    assertEquals(credited(), before);
    stream.flush();
    let next: typeof reading | null = reading, at = 0;
    for (const size of sizes) {
      const { value } = await (next ?? reader.read(room));
      next = null;
      assertEquals(value!.length, size);
      assert(value!.every((byte, i) => byte === 1 + Math.floor((at + i) / 1000)));
      // The memory goes round between reader and stream.
      assertEquals([value!.byteOffset, value!.buffer.byteLength], [0, 2500]);
      at += size;
      room = new Uint8Array(value!.buffer);
    }
    assertEquals(credited(), before + 1000 * packets);
  }
  await reader.cancel();
});

Deno.test("ReceiveStream.push() makes no buffer much larger than what came", async () => {
  const { stream } = make();
  const reader = stream.readable.getReader();
  // Large chunks teach it to expect large ones; single bytes behind them must not keep 256 KiB each.
  for (let i = 0; i < 40; i++) stream.push(new Uint8Array(32_768));
  let rest = 40 * 32_768;
  while (rest > 0) rest -= (await reader.read()).value!.length;
  let held = 0;
  for (let i = 0; i < 40; i++) {
    stream.push(new Uint8Array(1));
    stream.push(new Uint8Array(8192), true);
  }
  for (let bytes = 0; bytes < 40 * 8193;) {
    const { value } = await reader.read();
    bytes += value!.length;
    held += value!.buffer.byteLength;
  }
  assert(held < 40 * 8193 + 300_000, `${held}`);
});

Deno.test("ReceiveStream gives chunks that hold their own bytes and nothing else, whether a reader waits or not", async () => {
  const { stream } = make(), other = make().stream;
  const reader = stream.readable.getReader(), beside = other.readable.getReader();
  /** Pushes `size` bytes of `byte` in packets while both wait, or before either does, and reads them. */
  const round = async (size: number, byte: number, waits: boolean): Promise<void> => {
    const reads = waits ? [reader.read(), beside.read()] : [];
    await settle();
    for (const [each, value] of [[stream, byte], [other, byte + 1]] as const) {
      for (let left = size; left > 0; left -= 32_768) {
        each.push(new Uint8Array(Math.min(left, 32_768)).fill(value));
      }
    }
    stream.flush();
    other.flush();
    for (const [i, from] of [reader, beside].entries()) {
      for (let bytes = 0; bytes < size;) {
        const { value } = await (reads[i] ?? from.read());
        delete reads[i];
        bytes += value!.length;
        assertEquals([value!.byteOffset, value!.buffer.byteLength], [0, value!.length]);
        assert(value!.every((one) => one === byte + i), "a byte of another channel");
      }
    }
  };
  let byte = 1;
  // Full buffers make it expect more of them, and what comes then fills a part of one.
  for (const size of [300_000, 600_000, 100_000, 40_000, 9000, 262_144, 262_145, 20_000]) {
    for (const waits of [true, false]) await round(size, byte += 2, waits);
  }
});

Deno.test("ReceiveStream.end() closes behind what is queued, and reader.closed settles with the last chunk", async () => {
  const { stream } = make();
  stream.push(utf8("last"));
  stream.end();
  const reader = stream.readable.getReader();
  assertEquals(await stateOf(reader.closed), "pending");
  assertEquals(text((await reader.read()).value!), "last");
  await reader.closed;
  assertEquals((await reader.read()).done, true);
});

Deno.test("ReceiveStream.end() tells a reader that waits, and one that does not", async () => {
  const waits = make(), idle = make(), failed = make();
  const pending = waits.stream.readable.getReader().read();
  waits.stream.end();
  assertEquals((await pending).done, true);
  idle.stream.end();
  await idle.stream.readable.getReader().closed;
  failed.stream.end(broken);
  assert(await failed.stream.readable.getReader().closed.catch((error) => error) === broken);
});

Deno.test("ReceiveStream.end() with an error gives the reader all data first", async () => {
  const { stream } = make();
  for (let i = 0; i < 5; i++) stream.push(new Uint8Array(20_000).fill(i), i % 2 === 0);
  stream.end(broken);
  const reader = stream.readable.getReader();
  let bytes = 0;
  const error = await assertRejects(async () => {
    for (;;) bytes += (await reader.read()).value!.length;
  });
  assert(error === broken);
  assertEquals(bytes, 100_000);
});

Deno.test("ReceiveStream.end() with an error gives a BYOB reader with small views all data first", async () => {
  const { stream } = make();
  const reader = stream.readable.getReader({ mode: "byob" });
  const first = reader.read(new Uint8Array(10));
  stream.push(utf8("0123456789abcdefghij"));
  stream.flush();
  assertEquals(text((await first).value!), "0123456789");
  // The second half has left this queue, but not the stream.
  stream.end(broken);
  assertEquals(text((await reader.read(new Uint8Array(4))).value!), "abcd");
  assertEquals(text((await reader.read(new Uint8Array(100))).value!), "efghij");
  assert(await reader.read(new Uint8Array(1)).catch((error) => error) === broken);
});

Deno.test("ReceiveStream.end() does not lose a chunk whose reader let go of its lock", async () => {
  const { stream } = make();
  const reader = stream.readable.getReader();
  const given = reader.read();
  reader.releaseLock();
  await assertRejects(() => given, TypeError);
  stream.push(utf8("kept"));
  stream.flush();
  stream.end(broken);
  const next = stream.readable.getReader();
  assertEquals(text((await next.read()).value!), "kept");
  assert(await next.read().catch((error) => error) === broken);
});

Deno.test("ReceiveStream serves who comes behind a BYOB reader that left with a read pending, whatever his kind", async () => {
  for (const kind of ["default", "byob"] as const) {
    for (const order of ["bytes", "reader"] as const) {
      const { stream, credited } = make();
      const gone = stream.readable.getReader({ mode: "byob" }), pending = gone.read(new Uint8Array(100));
      await settle();
      gone.releaseLock();
      await assertRejects(() => pending, TypeError);
      const come = (bytes: string): void => {
        stream.push(utf8(bytes));
        stream.flush();
      };
      if (order === "bytes") come("abc");
      const { readable } = stream;
      const reader = kind === "default" ? readable.getReader() : readable.getReader({ mode: "byob" });
      const next = async (): Promise<string> => {
        const read = reader instanceof ReadableStreamDefaultReader ? reader.read() : reader.read(new Uint8Array(10));
        return text((await read).value!);
      };
      const first = next();
      await settle();
      if (order === "reader") come("abc");
      assertEquals(await stateOf(first), "resolved", `${kind}, ${order} first`);
      assertEquals(await first, "abc");
      const second = next();
      await settle();
      come("def");
      assertEquals(await second, "def");
      assertEquals(credited(), 6);
      stream.end();
      await reader.closed;
    }
  }
});

Deno.test("ReceiveStream.end() fails only the reader that waits for half an element", async () => {
  const { stream } = make();
  const reader = stream.readable.getReader({ mode: "byob" });
  const pending = reader.read(new Uint16Array(4));
  await settle();
  stream.push(new Uint8Array(1));
  stream.flush();
  // A stream throws here, and that must not end the connection.
  stream.end();
  await assertRejects(() => pending, TypeError);
});

Deno.test("ReceiveStream.discard() fails only the reader that waits for half an element", async () => {
  const { stream } = make();
  const pending = stream.readable.getReader({ mode: "byob" }).read(new Uint32Array(4));
  await settle();
  stream.push(new Uint8Array(3));
  stream.flush();
  stream.discard();
  await assertRejects(() => pending, TypeError);
});

Deno.test("ReceiveStream.end() counts once: the first end is the end", async () => {
  const { stream } = make();
  stream.push(utf8("x"));
  stream.end();
  stream.end(broken);
  const reader = stream.readable.getReader();
  assertEquals((await reader.read()).value!.length, 1);
  assertEquals((await reader.read()).done, true);
});

Deno.test("ReceiveStream credits at once what a cancelled reader will not read", async () => {
  // Row 103 in part.
  const { stream, credited } = make();
  stream.push(new Uint8Array(300));
  await stream.readable.cancel("enough");
  assertEquals(credited(), 300);
  stream.push(new Uint8Array(200));
  assertEquals(credited(), 500);
  stream.end(broken);
  stream.flush();
});

Deno.test("ReceiveStream.discard() closes the stream, and credits what is queued and what comes", async () => {
  const { stream, credited } = make();
  const reader = stream.readable.getReader({ mode: "byob" });
  stream.push(new Uint8Array(10));
  const { value } = await reader.read(new Uint8Array(4));
  assertEquals(value!.length, 4);
  const waiting = reader.read(new Uint8Array(4)).then(() => reader.read(new Uint8Array(4))).then(() =>
    reader.read(new Uint8Array(4))
  );
  await settle();
  stream.discard();
  stream.discard();
  assertEquals((await waiting).done, true);
  stream.push(new Uint8Array(7));
  assertEquals(credited(), 17);
  stream.end();
});

Deno.test("ReceiveStream serves several reads that wait at once", async () => {
  const { stream, credited } = make();
  const reader = stream.readable.getReader();
  const reads = [reader.read(), reader.read(), reader.read()];
  await settle();
  stream.push(new Uint8Array(10_000).fill(1), true);
  stream.push(new Uint8Array(10_000).fill(2), true);
  stream.flush();
  stream.end();
  const [a, b, c] = await Promise.all(reads);
  assertEquals([a!.value![0], b!.value![0], c!.done], [1, 2, true]);
  assertEquals(credited(), 20_000);
});

/** What one read gave: the bytes, whether it was the last one, or that it failed. */
type Read = { bytes: number[]; done: boolean } | string;

/** Reads with one plan of views, least counts and locks until the end. */
async function readAll(readable: ReadableStream<Uint8Array>, seed: number): Promise<Read[]> {
  const prng = new Prng(seed), reads: Read[] = [];
  for (let after = 0; after < 3;) {
    const size = 1 + prng.below(120), min = prng.pick([1, size, 1 + prng.below(size)]), plain = prng.below(4) === 0;
    const reader = plain ? readable.getReader() : readable.getReader({ mode: "byob" });
    try {
      const { done, value } = reader instanceof ReadableStreamDefaultReader
        ? await reader.read()
        : await reader.read(new Uint8Array(size), { min });
      reads.push({ bytes: [...value ?? []], done });
      // What reads behind the end give counts as well.
      if (done) after++;
    } catch (error) {
      reads.push(String(error));
      after++;
    }
    reader.releaseLock();
  }
  return reads;
}

/** The bytes of all reads, and how the stream ended. */
function summary(reads: readonly Read[]): { bytes: number[]; end: string } {
  const bytes = reads.flatMap((read) => typeof read === "string" ? [] : read.bytes);
  return {
    bytes,
    end: reads.filter((read) => typeof read === "string" || read.done).map((read) =>
      typeof read === "string" ? read : "done"
    ).join(),
  };
}

/** Bytes that the two streams cut into chunks of their own. */
function plainStream(data: Uint8Array, end: Error | null): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    type: "bytes",
    pull(controller) {
      const view = controller.byobRequest?.view;
      const n = Math.min(data.length - at, view?.byteLength ?? 50);
      if (n === 0 && end !== null) return controller.error(end);
      if (n === 0) {
        controller.close();
        return controller.byobRequest?.respond(0);
      }
      if (view) {
        new Uint8Array(view.buffer, view.byteOffset, n).set(data.subarray(at, at + n));
        controller.byobRequest!.respond(n);
      } else controller.enqueue(data.slice(at, at + n));
      at += n;
    },
  }, { highWaterMark: 0 });
}

Deno.test("ReceiveStream gives a read with `min` at the end what a socket gives it (100 bytes and EOF)", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  for (const plan of [[[96, 96], [96, 96], [96, 96]], [[96, 1], [96, 50], [10, 1]], [[200, 200], [5, 5]]]) {
    const [conn, served] = await Promise.all([
      Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
      listener.accept(),
    ]);
    const writer = served.writable.getWriter();
    await writer.write(new Uint8Array(100).fill(7));
    await writer.close();
    await served.readable.cancel();
    const { stream } = make();
    stream.push(new Uint8Array(100).fill(7));
    stream.end();
    const socket = conn.readable.getReader({ mode: "byob" }), channel = stream.readable.getReader({ mode: "byob" });
    for (const [size, min] of plan) {
      const [wanted, got] = await Promise.all([socket, channel].map(async (reader) => {
        const { done, value } = await reader.read(new Uint8Array(size!), { min: min! });
        return { done, bytes: value?.length };
      }));
      assertEquals(got, wanted, `${size}, ${min}`);
    }
  }
});

Deno.test("ReceiveStream loses nothing to readers of any kind with `min`, wherever the end comes (twin)", async () => {
  for (let seed = 0; seed < 400; seed++) {
    const prng = new Prng(seed), data = prng.bytes(prng.below(400));
    const end = prng.below(3) === 0 ? broken : null;
    const { stream, credited } = make();
    const pushing = async () => {
      for (let at = 0; at < data.length;) {
        const n = Math.min(data.length - at, 1 + prng.below(150));
        stream.push(data.slice(at, at + n), prng.below(2) === 0);
        at += n;
        if (prng.below(2) === 0) stream.flush();
        if (prng.below(3) === 0) await settle();
      }
      stream.end(end);
    };
    const [got, wanted] = await Promise.all([
      readAll(stream.readable, seed),
      readAll(plainStream(data, end), seed),
      pushing(),
    ]);
    const channel = summary(got), plain = summary(wanted);
    assertEquals(channel.end, plain.end, `seed ${seed}`);
    assertEquals(credited(), data.length, `seed ${seed}`);
    // An error takes with it what a read with `min` had and that was not enough, here as in any stream.
    if (end === null) assertEquals(channel.bytes, [...data], `seed ${seed}`);
    else assertEquals(channel.bytes, [...data.subarray(0, channel.bytes.length)], `seed ${seed}`);
    if (end === null) assertEquals(plain.bytes, [...data], `seed ${seed}`);
  }
});

Deno.test("ReceiveStream.discard() leaves a reader with `min` the rest of a chunk that it has had a part of", async () => {
  const { stream, credited } = make();
  const reader = stream.readable.getReader({ mode: "byob" });
  stream.push(new Uint8Array(100).fill(1));
  assertEquals((await reader.read(new Uint8Array(96), { min: 96 })).value!.length, 96);
  stream.discard();
  const { done, value } = await reader.read(new Uint8Array(96), { min: 96 });
  assertEquals([done, value!.length], [true, 4]);
  assertEquals(credited(), 100);
});

Deno.test("ReceiveStream.read() gives what was pushed, whatever the splits and the end, without a stream (twin)", async () => {
  for (let seed = 0; seed < 15; seed++) {
    const prng = new Prng(seed), { stream, credited } = make(), twin = new Twin(), got: Uint8Array[] = [];
    const largest = prng.pick([1, 10, 3000, 40_000]);
    const reading = (async () => {
      try {
        for (;;) {
          const chunk = await stream.read(new Uint8Array(1 + prng.below(2 * largest)));
          if (chunk === null) return null;
          assert(chunk.length > 0);
          got.push(chunk);
          if (prng.below(5) === 0) await settle();
        }
      } catch (error) {
        return error;
      }
    })();
    for (let n = prng.below(40); n > 0; n--) {
      const bytes = prng.bytes(1 + prng.below(largest)), owned = prng.below(3) === 0, pushed = bytes.slice();
      for (const byte of bytes) twin.bytes.push(byte);
      stream.push(pushed, owned);
      if (!owned) pushed.fill(0xdd);
      if (prng.below(2) === 0) stream.flush();
      if (prng.below(3) === 0) await Promise.resolve();
    }
    stream.flush();
    twin.end = prng.below(2) === 0 ? null : broken;
    stream.end(twin.end);
    assert(await reading === twin.end, `seed ${seed}`);
    const all = concat(got);
    assertEquals([all.length, credited()], [twin.bytes.length, twin.bytes.length]);
    assert(all.every((byte, i) => byte === twin.bytes[i]), `seed ${seed}`);
  }
});

Deno.test("ReceiveStream.read() that waits ends with a cut and with a discard, and nobody can take the stream beside it", async () => {
  const cut = make(), discarded = make();
  for (const { stream } of [cut, discarded]) {
    assert(!stream.isStream);
    stream.push(utf8("abc"));
    assertEquals(text((await stream.read(new Uint8Array(10)))!), "abc");
    assertThrows(() => stream.readable, TypeError, "elsewhere");
  }
  const waiting = [cut, discarded].map(({ stream }) => stream.read(new Uint8Array(10)).catch((error) => error));
  // Part of it has come, and nobody gets it any more.
  discarded.stream.push(utf8("lost"));
  cut.stream.cut(broken);
  discarded.stream.discard();
  assertEquals(await Promise.all(waiting), [broken, null]);
  assertEquals([cut.credited(), discarded.credited()], [3, 7]);
  assert(await cut.stream.read(new Uint8Array(1)).catch((error) => error) === broken);
  assertEquals(await discarded.stream.read(new Uint8Array(1)), null);
});

Deno.test("A stream that nobody had asked for ends like one that was there", async () => {
  const ended = make(), failed = make(), cut = make(), discarded = make();
  for (const { stream } of [ended, failed, cut, discarded]) stream.push(utf8("abc"));
  ended.stream.end();
  failed.stream.end(broken);
  cut.stream.cut(undefined);
  discarded.stream.discard();
  assertEquals(text(new Uint8Array(await new Response(ended.stream.readable).arrayBuffer())), "abc");
  const reader = failed.stream.readable.getReader();
  assertEquals(text((await reader.read()).value!), "abc");
  assert(await reader.read().catch((error) => error) === broken);
  assertEquals(await cut.stream.readable.getReader().read().then(() => "read", () => "failed"), "failed");
  assertEquals((await discarded.stream.readable.getReader().read()).done, true);
});

Deno.test("ReceiveStream keeps and credits each byte once, whoever reads, looks, takes some away and lets go in between (twin)", async () => {
  for (let seed = 0; seed < 60; seed++) {
    const prng = new Prng(seed), { stream, credited } = make();
    const all: number[] = [], got: number[] = [];
    const largest = prng.pick([1, 10, 300, 9000]), end = prng.pick([null, broken]);
    let batches = 5 + prng.below(15);
    const push = (): void => {
      if (batches === 0) return stream.end(end);
      batches--;
      for (let n = 1 + prng.below(3); n > 0; n--) {
        const bytes = prng.bytes(1 + prng.below(largest));
        for (const byte of bytes) all.push(byte);
        stream.push(bytes.slice(), prng.below(3) === 0);
      }
      stream.flush();
    };
    const looking = async (): Promise<void> => {
      const reader = stream.readable.getReader(), unread: Uint8Array<ArrayBuffer>[] = [], seen: number[] = [];
      try {
        while (stream.hasRest) unread.push((await reader.read()).value!);
        let looks = 1 + prng.below(4), over = false;
        const release = stream.look({
          more: (bytes) => {
            for (const byte of bytes) seen.push(byte);
            if (prng.below(3) > 0) return;
            over = true;
            const take = prng.below(seen.length + 1);
            got.push(...seen.slice(0, take));
            release(take);
          },
          ended: (error) => {
            over = true;
            assertEquals(error?.reason ?? null, end);
          },
        }, unread);
        stream.flush();
        while (looks-- > 0 && !over) push();
        release(0);
      } finally {
        reader.releaseLock();
      }
    };
    const reading = async (): Promise<boolean> => {
      if (prng.below(2) === 0) {
        const reader = stream.readable.getReader();
        const read = reader.read();
        // One that is given up leaves what it asked for in the stream, unless it has been given that.
        if (prng.below(4) === 0) reader.releaseLock();
        push();
        const { done, value } = await read.catch((error) => {
          if (error === end) throw error;
          return { done: false, value: new Uint8Array(0) };
        });
        reader.releaseLock();
        if (done) return true;
        for (const byte of value!) got.push(byte);
        return false;
      }
      const reader = stream.readable.getReader({ mode: "byob" });
      const read = reader.read(new Uint8Array(1 + prng.below(largest)));
      push();
      const { done, value } = await read;
      reader.releaseLock();
      if (done) return true;
      for (const byte of value!) got.push(byte);
      return false;
    };
    let why: unknown = null;
    try {
      for (;;) {
        if (prng.below(3) === 0) push();
        if (prng.below(2) === 0) await looking();
        if (await reading()) break;
      }
    } catch (error) {
      why = error;
    }
    assertEquals(why, end, `seed ${seed}`);
    const differs = all.findIndex((byte, i) => byte !== got[i]);
    assertEquals([got.length, differs, credited()], [all.length, -1, all.length], `seed ${seed}`);
  }
});

Deno.test("ReceiveStream tells of all data as it comes, and keeps from its reader what it is told to", async () => {
  for (const discarded of [false, true]) {
    const { stream, credited } = make(), told: string[] = [];
    if (discarded) stream.discard();
    stream.tap = (data) => {
      told.push(text(data));
      return told.length === 1 ? data.length : told.length === 2 ? 2 : 0;
    };
    for (const part of ["one", "two", "three"]) stream.push(utf8(part));
    stream.flush();
    assertEquals(told, ["one", "two", "three"]);
    assertEquals(credited(), discarded ? 11 : 5);
    stream.end();
    assertEquals(await new Response(stream.readable).text(), discarded ? "" : "othree");
  }
});
