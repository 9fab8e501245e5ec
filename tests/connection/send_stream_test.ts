import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { concat, equals } from "@std/bytes";
import { SendStream } from "../../lib/connection/send_stream.ts";
import { Prng } from "../_support/fuzz.ts";
import { settle, stateOf, text, utf8 } from "../_support/fake_transport.ts";

const STAGE = 131_072;

function make(): { stream: SendStream; events: string[]; take: (most: number) => Uint8Array } {
  const events: string[] = [];
  const stream = new SendStream({
    hasData: () => void events.push("data"),
    finished: () => void events.push("finished"),
    aborted: (reason) => void events.push(`aborted ${reason}`),
  });
  const out = new Uint8Array(300_000);
  return {
    stream,
    events,
    take: (most) => {
      const n = stream.take(out, 9, most);
      return out.slice(9, 9 + n);
    },
  };
}

Deno.test("SendStream gives packets of what was written, in order, whatever the sizes", async () => {
  for (let seed = 0; seed < 60; seed++) {
    const prng = new Prng(seed);
    const { stream, take } = make();
    const writer = stream.writable.getWriter();
    const largest = prng.pick([10, 5000, 100_000, 400_000]);
    const written: Uint8Array[] = [], got: Uint8Array[] = [];
    let done = false;
    const writing = (async () => {
      for (let n = prng.below(30); n > 0; n--) {
        const chunk = new Uint8Array(prng.below(largest)).map((_, i) => i * 7 + n);
        written.push(chunk.slice());
        await writer.write(chunk);
        // Once written, the chunk is the application's again.
        chunk.fill(0xee);
      }
      await writer.close();
      done = true;
    })();
    while (!done) {
      await settle();
      got.push(take(1 + prng.below(prng.pick([10_000, 32_768, 32_768]))));
    }
    await writing;
    const expected = concat(written), actual = concat(got);
    assertEquals(actual.length, expected.length);
    assert(actual.every((byte, i) => byte === expected[i]), `seed ${seed}`);
    assertEquals(stream.available, 0);
  }
});

Deno.test("SendStream gathers small writes at once and makes a write that does not fit wait", async () => {
  const { stream, take } = make();
  const writer = stream.writable.getWriter();
  await writer.write(new Uint8Array(STAGE - 1));
  await writer.write(new Uint8Array(1));
  const full = writer.write(utf8("x"));
  assertEquals(await stateOf(full), "pending");
  assertEquals(stream.staged, STAGE);
  assertEquals(stream.available, STAGE + 1);
  while (stream.staged > 0) take(32_768);
  assertEquals(await stateOf(full), "pending");
  assertEquals(text(take(100)), "x");
  await full;
});

Deno.test("SendStream.write() takes an empty chunk at once, and only Uint8Array", async () => {
  const { stream, events } = make();
  const writer = stream.writable.getWriter();
  await writer.write(new Uint8Array(0));
  assertEquals(events, []);
  await assertRejects(() => writer.write("text" as unknown as Uint8Array), TypeError, "Uint8Array");
});

Deno.test("SendStream.abort() rejects a write that waits, at once", async () => {
  // Row 112.
  const { stream, events } = make();
  const writer = stream.writable.getWriter();
  await writer.write(new Uint8Array(STAGE));
  const waiting = writer.write(new Uint8Array(10));
  await settle();
  const aborted = writer.abort("enough");
  assertEquals(await waiting.catch((error) => error), "enough");
  await aborted;
  assertEquals(events.at(-1), "aborted enough");
  assertEquals(stream.available, 0);
  assertEquals(await writer.closed.catch((error) => error), "enough");
});

Deno.test("SendStream.abort() while close() waits tells the owner", async () => {
  const { stream, events } = make();
  const writer = stream.writable.getWriter();
  await writer.write(utf8("abc"));
  const closing = writer.close();
  await settle();
  const aborted = writer.abort("enough");
  assertEquals(await closing.catch((error) => error), "enough");
  await aborted.catch(() => {});
  assertEquals(events.filter((event) => event !== "data"), ["aborted enough"]);
  assertEquals(stream.available, 0);
});

Deno.test("SendStream.abort() with a close() queued behind a write that waits tells the owner once", async () => {
  const { stream, events } = make();
  const writer = stream.writable.getWriter();
  const waiting = writer.write(new Uint8Array(STAGE + 1));
  const closing = writer.close();
  await settle();
  await writer.abort("enough");
  await assertRejects(() => closing);
  assertEquals(await waiting.catch((error) => error), "enough");
  assertEquals(events.filter((event) => event !== "data"), ["aborted enough"]);
});

Deno.test("SendStream.close() finishes when the last byte has been taken", async () => {
  const { stream, events, take } = make();
  const writer = stream.writable.getWriter();
  await writer.write(utf8("abc"));
  const closing = writer.close();
  assertEquals(await stateOf(closing), "pending");
  take(2);
  assertEquals(await stateOf(closing), "pending");
  take(2);
  await closing;
  assertEquals(events.at(-1), "finished");
  // The end of the channel comes later and spoils nothing.
  stream.fail(new Error("late"));
  stream.shut(() => new Error("late"));
  await writer.closed;
});

Deno.test("SendStream.fail() rejects a write that waits, a close that waits, and what comes", async () => {
  const error = new Error("gone");
  const writing = make(), closing = make();
  const writer = writing.stream.writable.getWriter();
  const waiting = writer.write(new Uint8Array(STAGE + 1));
  await settle();
  writing.stream.fail(error);
  assert(await waiting.catch((cause) => cause) === error);
  assert(await writer.write(utf8("x")).catch((cause) => cause) === error);
  assertEquals(writing.stream.available, 0);
  const other = closing.stream.writable.getWriter();
  await other.write(utf8("abc"));
  const closed = other.close();
  await settle();
  closing.stream.fail(error);
  assert(await closed.catch((cause) => cause) === error);
});

Deno.test("SendStream.shut() refuses what comes and lets what is staged leave", async () => {
  const error = new Error("shut");
  const { stream, take } = make();
  const writer = stream.writable.getWriter();
  await writer.write(utf8("abc"));
  stream.shut(() => error);
  stream.shut(() => new Error("again"));
  assert(await writer.write(utf8("d")).catch((cause) => cause) === error);
  assertEquals(text(take(100)), "abc");
  // A stream that is being closed goes on with that.
  const other = make();
  const closer = other.stream.writable.getWriter();
  await closer.write(utf8("abc"));
  const closing = closer.close();
  await settle();
  other.stream.shut(() => error);
  assertEquals(text(other.take(100)), "abc");
  await closing;
});

Deno.test("SendStream refuses a chunk whose buffer was transferred while it waited", async () => {
  const { stream, take } = make();
  const writer = stream.writable.getWriter();
  const chunk = new Uint8Array(200_000);
  const waiting = writer.write(chunk);
  await settle();
  assertEquals(take(1000).length, 1000);
  structuredClone(chunk, { transfer: [chunk.buffer] });
  assert(stream.available >= 0);
  assertEquals(take(1000).length, 0);
  assertEquals(stream.available, 0);
  await assertRejects(() => waiting, TypeError, "transferred");
});

Deno.test("SendStream.write() and end() send what a stream would, and nobody can take the stream beside them", async () => {
  for (let seed = 0; seed < 20; seed++) {
    const prng = new Prng(seed), { stream, events, take } = make(), largest = prng.pick([10, 5000, 100_000, 400_000]);
    const written: Uint8Array[] = [], got: Uint8Array[] = [];
    let done = false;
    const writing = (async () => {
      for (let n = prng.below(20); n > 0; n--) {
        const chunk = new Uint8Array(prng.below(largest)).map((_, i) => i * 7 + n);
        written.push(chunk.slice());
        await stream.write(chunk);
        chunk.fill(0xee);
      }
      await stream.end();
      done = true;
    })();
    while (!done) {
      await settle();
      got.push(take(1 + prng.below(prng.pick([10_000, 32_768]))));
    }
    await writing;
    assert(equals(concat(got), concat(written)), `seed ${seed}`);
    assertEquals(events.at(-1), "finished");
    assert(!stream.isStream);
    if (seed > 0) continue;
    void stream.gone;
    assertThrows(() => stream.writable, TypeError, "elsewhere");
  }
});

Deno.test("SendStream without a stream fails as one would: failed, shut and aborted, before and in a write", async () => {
  const error = new Error("gone");
  const fails: [string, (stream: SendStream) => void][] = [
    ["failed", (stream) => stream.fail(error)],
    ["shut", (stream) => stream.shut(() => error)],
    ["aborted", (stream) => stream.abort(error)],
  ];
  for (const [name, fail] of fails) {
    for (const waits of [false, true]) {
      const { stream, events } = make(), { gone } = stream;
      const waiting = stream.write(new Uint8Array(waits ? STAGE + 1 : 1)).catch((cause) => cause);
      if (!waits) await waiting;
      assertEquals(await stateOf(gone), "pending");
      fail(stream);
      assert(await gone.catch((cause) => cause) === error, name);
      if (waits) assert(await waiting === error, name);
      assert(await stream.write(utf8("x")).catch((cause) => cause) === error, name);
      assert(await stream.end().catch((cause) => cause) === error, name);
      assertEquals(events.includes(`aborted ${error}`), name === "aborted");
      // What was taken before a shut still leaves.
      assertEquals(stream.available, name === "shut" && !waits ? 1 : 0);
    }
  }
  // Behind an end nothing can fail any more.
  const { stream, events } = make();
  await stream.end();
  stream.abort(error);
  stream.fail(error);
  assertEquals(events, ["finished"]);
  assertEquals(await stateOf(stream.gone), "pending");
});

Deno.test("SendStream.write() behind end() is refused, and nothing of it comes behind EOF", async () => {
  for (const waits of [false, true]) {
    const { stream, events, take } = make();
    if (waits) await stream.write(new Uint8Array(5));
    const ending = stream.end();
    for (const bytes of [1, STAGE + 1]) {
      assertEquals((await stream.write(new Uint8Array(bytes)).catch((cause) => cause)).code, "CLOSED");
    }
    assertEquals(stream.available, waits ? 5 : 0);
    if (waits) assertEquals(take(100).length, 5);
    await ending;
    assertEquals(events, waits ? ["data", "finished"] : ["finished"]);
    assertEquals((await stream.write(utf8("x")).catch((cause) => cause)).code, "CLOSED");
  }
});

Deno.test("A stream that nobody had asked for fails like one that was there, and closes where nothing was lost", async () => {
  const error = new Error("gone"), shut = make(), failed = make(), clean = make();
  shut.stream.shut(() => error);
  failed.stream.fail(error);
  clean.stream.fail(error, true);
  for (const { stream } of [shut, failed]) {
    assert(await stream.writable.getWriter().write(utf8("x")).catch((cause) => cause) === error);
  }
  await clean.stream.writable.close();
});
