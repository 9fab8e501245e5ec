import { assert, assertEquals, assertThrows } from "@std/assert";
import { lockReadable } from "../../lib/wire/lock.ts";

Deno.test("lockReadable() reads a byte stream into the caller's memory, any other by its chunks, and locks both", async () => {
  for (const type of ["bytes", undefined] as const) {
    const start = (controller: { enqueue(chunk: Uint8Array<ArrayBuffer>): void }) =>
      controller.enqueue(Uint8Array.of(1, 2));
    const readable: ReadableStream<Uint8Array> = type === "bytes"
      ? new ReadableStream({ type, start })
      : new ReadableStream({ start });
    const { byob, plain } = lockReadable(readable);
    assertEquals([byob !== null, plain !== null], [type === "bytes", type !== "bytes"]);
    assert(readable.locked);
    assertThrows(() => lockReadable(readable), TypeError, "locked");
    const { value } = byob === null ? await plain!.read() : await byob.read(new Uint8Array(8));
    assertEquals(value, Uint8Array.of(1, 2));
  }
});

Deno.test("lockReadable() leaves what a stream fails with to its reads", async () => {
  const failed = new ReadableStream<Uint8Array>({ start: (controller) => controller.error(new Error("gone")) });
  const { plain } = lockReadable(failed);
  // An unhandled rejection would fail the test here.
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(await plain!.read().catch(String), "Error: gone");
});
