/** What the rooted backend's files ask of the system, seen from there. */
import { assertEquals, assertRejects } from "@std/assert";
import { RootedFile } from "../../lib/files/rooted/file.ts";

type NodeFs = typeof import("node:fs");

/** A file on a system whose calls are these. */
function fileOn(fs: Record<string, unknown>, size = Infinity): RootedFile {
  return new RootedFile(fs as unknown as NodeFs, 7, { readOnly: false, held: false, size });
}

Deno.test("RootedFile.sync() asks for fsync() of its descriptor, and ends with it", async () => {
  const calls: { fd: number; done: (error: Error | null) => void }[] = [];
  const file = fileOn({ fsync: (fd: number, done: (error: Error | null) => void) => calls.push({ fd, done }) });
  let ended = false;
  const good = file.sync().then(() => ended = true);
  assertEquals([calls.map(({ fd }) => fd), ended], [[7], false]);
  await Promise.resolve();
  assertEquals(ended, false);
  calls[0]!.done(null);
  await good;
  const bad = file.sync();
  calls[1]!.done(new Deno.errors.NotSupported("EIO"));
  await assertRejects(() => bad, Deno.errors.NotSupported);
});

for (const length of [1000, 100_000]) {
  Deno.test(`RootedFile.writeAt() writes all ${length} bytes, though the system takes a part at a time`, async () => {
    const there = new Uint8Array(length + 50), data = Uint8Array.from({ length }, (_, i) => i % 251);
    const take = (p: Uint8Array, at: number, count: number, offset: number): number => {
      const part = Math.min(count, 333);
      there.set(p.subarray(at, at + part), offset);
      return part;
    };
    const file = fileOn({
      writeSync: (_fd: number, p: Uint8Array, at: number, count: number, offset: number) => take(p, at, count, offset),
      write: (
        _fd: number,
        p: Uint8Array,
        at: number,
        count: number,
        offset: number,
        done: (error: null, count: number) => void,
      ) => queueMicrotask(() => done(null, take(p, at, count, offset))),
    });
    await file.writeAt(data, 50);
    assertEquals(there.subarray(50), data);
    assertEquals(there.subarray(0, 50), new Uint8Array(50));
  });
}
