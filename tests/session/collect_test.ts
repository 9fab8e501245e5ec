/** What `exec()` collects without streams. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ReceiveStream } from "../../lib/connection/receive_stream.ts";
import { collect, collectPlain } from "../../lib/session/output.ts";
import { seededBytes } from "../_support/duplex.ts";
import { settle } from "../_support/fake_transport.ts";

Deno.test("collectPlain() gives all bytes however they come, and makes no large rooms for single ones", async () => {
  const data = seededBytes(700_000), asked: number[] = [];
  for (const size of [1, 100, 4096, 5000, 32_768]) {
    const source = new ReceiveStream(() => {}), length = Math.min(data.length, 200 * size);
    const { buffer } = data;
    const collecting = collectPlain(
      {
        read: (room) => {
          asked.push(room.length);
          return source.read(room);
        },
        discard: () => source.discard(),
      },
      { left: Infinity },
      () => {},
    );
    for (let at = 0; at < length; at += size) {
      source.push(new Uint8Array(buffer, at, Math.min(size, length - at)));
      source.flush();
      if (at % (7 * size) === 0) await settle();
    }
    source.end();
    assertEquals(await collecting, data.slice(0, length));
    if (size === 1) assert(Math.max(...asked) === 4096, "single bytes are worth no large rooms");
  }
});

Deno.test("collectPlain() tells of what is too much, and ends as its source does", async () => {
  const source = new ReceiveStream(() => {}), reason = new Error("full");
  let told = 0;
  const collecting = collectPlain(source, { left: 10 }, () => {
    told++;
    source.cut(reason);
  });
  source.push(new Uint8Array(11));
  source.flush();
  assert(await assertRejects(() => collecting) === reason);
  assertEquals(told, 1);
});

Deno.test("collect() and collectPlain() hold no object for each byte of a server that sends one at a time", async () => {
  const all = 500_000,
    held = () => {
      const { heapUsed, external } = Deno.memoryUsage();
      return heapUsed + external;
    };
  for (const plain of [true, false]) {
    const before = held(), byte = () => Uint8Array.of(7);
    let sent = 0, most = 0;
    const isOver = (): boolean => {
      if (sent % 50_000 === 0) most = Math.max(most, held() - before);
      return sent++ === all;
    };
    const collected = plain
      ? await collectPlain(
        { read: () => Promise.resolve(isOver() ? null : byte()), discard: () => {} },
        { left: Infinity },
        () => {},
      )
      : await collect(
        new ReadableStream({ pull: (to) => isOver() ? to.close() : to.enqueue(byte()) }, { highWaterMark: 0 }),
        { left: Infinity },
        () => {},
      );
    assertEquals(collected.length, all);
    // With an object for each it was 75 MB and more; what nobody holds is counted as well, until it is collected.
    assert(most < 30_000_000, `${most} bytes were held for ${all}`);
  }
});
