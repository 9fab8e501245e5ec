import { assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { pump, type Socket } from "../../lib/forward/pump.ts";
import { memoryPair } from "../_support/duplex.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { channels, connPair, hangUp, pattern, readAll, socketPair, writeAll } from "./_conns.ts";

Deno.test("`pump()` carries bytes and half-closes both ways, between a socket and a connection", async () => {
  using sockets = await socketPair();
  const pair = await connPair(), joined = pump(sockets.ours, pair.near);
  const up = pattern(700_000, 1), down = pattern(900_000, 2);
  const upRead = readAll(pair.far);
  await writeAll(sockets.theirs, up);
  await sockets.theirs.closeWrite();
  assertEquals(await inTime(upRead, "the bytes upward"), up);
  // That direction is at its end, and the other one has not begun.
  const downRead = readAll(sockets.theirs);
  await writeAll(pair.far, down);
  assertEquals(channels(pair), [1, 1]);
  await pair.far.closeWrite();
  assertEquals(await inTime(downRead, "the bytes downward"), down);
  await inTime(joined, "the pump's end");
  await until(() => channels(pair)[0] === 0, "A channel is still open");
});

Deno.test("`pump()` reads nothing for a side that takes nothing", async () => {
  using sockets = await socketPair();
  const pair = await connPair({ server: { window: 50_000 } }), joined = pump(sockets.ours, pair.near);
  let written = 0, stop = false;
  const flood = (async () => {
    const part = new Uint8Array(65_536);
    for (; !stop; written += part.length) await writeAll(sockets.theirs, part);
  })();
  let before = -1;
  // Once what lies between is full, nothing moves any more.
  await until(async () => {
    const still = written === before;
    before = written;
    await turns(20);
    return still;
  }, "The flood does not stop");
  stop = true;
  const all = readAll(pair.far);
  await flood;
  await sockets.theirs.closeWrite();
  assertEquals((await inTime(all, "the bytes")).length, written);
  await pair.far.closeWrite();
  await inTime(joined, "the pump's end");
});

Deno.test("`pump()` resets the connection where the socket is reset, also while it is stalled", async () => {
  const pair = await connPair({ server: { window: 1000 } }), reset = Promise.withResolvers<null>();
  let reads = 0, closed = 0;
  const socket: Socket = {
    // More than is taken without a wait, and then nothing.
    read: (p) => ++reads < 5 ? Promise.resolve(p.length) : reset.promise,
    write: (p) => Promise.resolve(p.length),
    closeWrite: () => Promise.resolve(),
    close: () => closed++,
  };
  const joined = assertRejects(() => inTime(pump(socket, pair.near), "the end"), Deno.errors.ConnectionReset);
  await until(() => reads === 5, "The socket is not read");
  await pair.far.read(new Uint8Array(1));
  reset.reject(new Deno.errors.ConnectionReset("Reset"));
  await joined;
  assertEquals(closed, 1);
  await until(() => channels(pair).every((count) => count === 0), "A channel is still open");
});

Deno.test("`pump()` delivers what a connection sent before it closed, and then closes the idle socket", async () => {
  using sockets = await socketPair();
  const pair = await connPair(), joined = pump(pair.near, sockets.ours);
  const bytes = pattern(1_500_000);
  await writeAll(pair.far, bytes);
  // Without an end of its own: CLOSE is one.
  await pair.far.close();
  assertEquals(await inTime(readAll(sockets.theirs), "the bytes"), bytes);
  await inTime(joined, "the pump's end");
  assertEquals(channels(pair), [0, 0]);
});

Deno.test("`pump()` says so where a side took less than there was", async () => {
  const pair = await connPair({ server: { window: 10 } });
  const { client, server } = memoryPair({ chunks: "whole", highWaterMark: 1_000_000 });
  const joined = assertRejects(() => pump(server, pair.near), SshError, "closed");
  const writer = client.writable.getWriter();
  await writer.write(new Uint8Array(300_000));
  await until(() => pair.transports.client.queued === 0, "Something is still queued");
  await pair.far.read(new Uint8Array(10));
  await pair.far.close();
  // The rest of the pair ends as its far end does.
  await client.readable.cancel();
  await writer.close().catch(() => {});
  await inTime(joined, "the pump's end");
});

Deno.test("`pump()` resets both sides where its signal aborts, before as well as later", async () => {
  for (const early of [true, false]) {
    using sockets = await socketPair();
    const pair = await connPair(), controller = new AbortController(), reason = new Error("enough");
    if (early) controller.abort(reason);
    const joined = pump(sockets.ours, pair.near, { signal: controller.signal });
    const seen = joined.then(() => null, (error) => error);
    if (!early) {
      await writeAll(sockets.theirs, new Uint8Array(10));
      await pair.far.read(new Uint8Array(10));
      controller.abort(reason);
    }
    assertStrictEquals(await inTime(seen, "the pump's end"), reason);
    await until(() => channels(pair).every((count) => count === 0), "A channel is still open");
    assertEquals(await inTime(sockets.theirs.read(new Uint8Array(1)), "the socket's end"), null);
  }
});

Deno.test("`pump()` whose signal aborts closes the channel, also where that direction has ended", async () => {
  for (const inUse of [false, true]) {
    using sockets = await socketPair();
    const pair = await connPair(), controller = new AbortController(), reason = new Error("enough");
    // Somebody has had a look at the stream: it stays what is read.
    if (inUse) assertEquals(pair.near.readable.locked, false);
    const joined = pump(sockets.ours, pair.near, { signal: controller.signal }).then(() => null, (error) => error);
    await sockets.theirs.closeWrite();
    assertEquals(await inTime(pair.far.read(new Uint8Array(1)), "the end"), null);
    controller.abort(reason);
    assertStrictEquals(await inTime(joined, "the pump's end"), reason);
    await until(() => channels(pair).every((count) => count === 0), "A channel is still open");
  }
});

Deno.test("A connection that is pumped is nobody else's to read or write", async () => {
  using sockets = await socketPair();
  const pair = await connPair(), joined = pump(sockets.ours, pair.near);
  assertThrows(() => pair.near.readable, TypeError, "elsewhere");
  assertThrows(() => pair.near.writable, TypeError, "elsewhere");
  await sockets.theirs.closeWrite();
  await pair.far.closeWrite();
  await inTime(joined, "the pump's end");
});

Deno.test("`pump()` closes a socket whose peer takes nothing when the connection is lost", async () => {
  using sockets = await socketPair();
  const pair = await connPair(), lost = new SshError("Gone", { code: "CONNECTION_LOST" });
  const joined = pump(sockets.ours, pair.near).then(() => null, (error) => error);
  // More than the kernel keeps: the pump waits in a write.
  writeAll(pair.far, new Uint8Array(30_000_000)).catch(() => {});
  const some = new Uint8Array(1);
  await sockets.theirs.read(some);
  await turns(5);
  pair.transports.server.finish(lost);
  assertStrictEquals(await inTime(joined, "the pump's end"), lost);
});

Deno.test("`pump()` joins pairs of streams whose sinks keep what they are given", async () => {
  using sockets = await socketPair();
  const { client, server } = memoryPair({ chunks: "whole" }), bytes = pattern(600_000);
  const joined = pump(sockets.ours, server);
  const kept: Uint8Array[] = [];
  const reading = (async () => {
    for await (const chunk of client.readable) kept.push(chunk);
  })();
  await writeAll(sockets.theirs, bytes);
  await sockets.theirs.closeWrite();
  await inTime(reading, "the bytes");
  assertEquals(new Uint8Array(await new Blob(kept as Uint8Array<ArrayBuffer>[]).arrayBuffer()), bytes);
  await client.writable.close();
  await inTime(joined, "the pump's end");
});

Deno.test("`pump()` joins two Unix sockets, and ends when both have", async () => {
  const folder = await Deno.makeTempDir(), path = `${folder}/socket`;
  using listener = Deno.listen({ transport: "unix", path });
  const ends: Deno.UnixConn[] = [], far: Deno.UnixConn[] = [];
  for (let i = 0; i < 2; i++) {
    const accepted = listener.accept();
    far.push(await Deno.connect({ transport: "unix", path }));
    ends.push(await accepted);
  }
  const joined = pump(ends[0]!, ends[1]!), bytes = pattern(500_000), all = readAll(far[1]!);
  await writeAll(far[0]!, bytes);
  await far[0]!.closeWrite();
  assertEquals(await inTime(all, "the bytes"), bytes);
  far[1]!.close();
  await inTime(joined, "the pump's end");
  assertEquals(await far[0]!.read(new Uint8Array(1)), null);
  far.forEach(hangUp);
  await Deno.remove(folder, { recursive: true });
});
