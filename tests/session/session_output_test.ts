import { assertEquals, assertRejects } from "@std/assert";
import { OutputStream } from "../../lib/connection/output_stream.ts";
import { SessionOutput } from "../../lib/session/session_output.ts";

/** A target that takes a chunk only when told to. */
function slowTarget() {
  const taken: number[] = [], gates: (() => void)[] = [];
  let closed = false, controller!: WritableStreamDefaultController;
  const stream = new WritableStream<Uint8Array>({
    start: (c) => void (controller = c),
    write: async (chunk) => {
      await new Promise<void>((resolve) => gates.push(resolve));
      taken.push(chunk[0]!);
    },
    close: () => void (closed = true),
  });
  const open = async () => {
    for (let i = 0; i < 20; i++) {
      gates.shift()?.();
      await Promise.resolve();
    }
  };
  return { stream, taken, open, isClosed: () => closed, error: (e: Error) => controller.error(e) };
}

Deno.test("SessionOutput.end() waits for what a writer that is still held has written", async () => {
  const target = slowTarget(), output = new SessionOutput(target.stream);
  const writer = output.writable.getWriter();
  for (const n of [1, 2, 3]) writer.write(new Uint8Array([n]));
  let ended = false;
  const end = output.end().then(() => ended = true);
  await Promise.resolve();
  assertEquals([ended, target.isClosed()], [false, false]);
  while (!ended) await target.open();
  await end;
  assertEquals(target.taken, [1, 2, 3]);
  assertEquals(target.isClosed(), true);
});

Deno.test("SessionOutput closes its target only at the end", async () => {
  const target = slowTarget(), output = new SessionOutput(target.stream);
  await output.writable.close();
  assertEquals(target.isClosed(), false);
  await output.end();
  assertEquals(target.isClosed(), true);
});

Deno.test("SessionOutput.end() does not wait for a write behind the close", async () => {
  const output = new SessionOutput(slowTarget().stream);
  const writer = output.writable.getWriter();
  writer.close();
  await assertRejects(() => writer.write(new Uint8Array([1])), TypeError);
  await output.end();
});

Deno.test("SessionOutput.end() ends when the channel fails, and writers see why", async () => {
  const target = slowTarget(), output = new SessionOutput(target.stream);
  const writer = output.writable.getWriter();
  const writes = [1, 2].map((n) => assertRejects(() => writer.write(new Uint8Array([n])), Error, "gone"));
  const end = output.end();
  target.error(new Error("gone"));
  await target.open();
  await end;
  await Promise.all(writes);
  await assertRejects(() => writer.closed, Error, "gone");
});

Deno.test("SessionOutput keeps its target when its own writer is aborted", async () => {
  const target = slowTarget(), output = new SessionOutput(target.stream);
  await output.writable.abort(new Error("source broke"));
  await output.end();
  assertEquals(target.isClosed(), true);
});

Deno.test("SessionOutput.end() does not wait for chunks that an aborted writer has left behind the one that waits", async () => {
  for (const endsFirst of [false, true]) {
    for (const fails of [false, true]) {
      const target = slowTarget(), output = new SessionOutput(target.stream);
      const writer = output.writable.getWriter();
      const writes = [1, 2, 3, 4].map((n) => writer.write(new Uint8Array([n])).then(() => "left", () => "dropped"));
      await Promise.resolve();
      const early = endsFirst ? output.end() : null;
      const aborting = writer.abort(new Error("source broke"));
      const end = early ?? output.end();
      assertEquals(target.isClosed(), false);
      // The target takes the first chunk after all, or never takes anything.
      if (fails) target.error(new Error("gone"));
      await target.open();
      await end;
      assertEquals(await Promise.all(writes.slice(1)), ["dropped", "dropped", "dropped"]);
      assertEquals([target.taken, target.isClosed()], [[1], !fails]);
      await writes[0];
      await aborting.catch(() => {});
    }
  }
});

Deno.test("SessionOutput can still be closed when the channel's output can and nothing waits, and not otherwise", async () => {
  for (const [queued, resolves] of [[0, true], [1, false]] as const) {
    let fail!: (reason: Error) => void, failWrite: (reason: Error) => void = () => {};
    const target = new OutputStream({
      start: (controller) => void (fail = (reason) => controller.error(reason)),
      write: () => new Promise<void>((_, reject) => failWrite = reject),
    }, () => Promise.resolve());
    const output = new SessionOutput(target), writer = output.writable.getWriter(), gone = new Error("gone");
    const writing = queued === 0 ? null : assertRejects(() => writer.write(new Uint8Array(1)), Error, "gone");
    await new Promise((resolve) => setTimeout(resolve));
    fail(gone);
    failWrite(gone);
    await writing;
    await assertRejects(() => writer.closed, Error, "gone");
    if (resolves) await writer.close();
    else await assertRejects(() => writer.close(), Error, "gone");
  }
});
