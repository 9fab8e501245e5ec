import { assertEquals, assertRejects, assertStrictEquals, assertStringIncludes } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import type { SshConn } from "../../lib/forward/conn.ts";
import { Ending } from "../../lib/forward/ending.ts";
import { SocketConn } from "../../lib/forward/socket_conn.ts";
import { inTime, until } from "../_support/until.ts";
import { channels, connPair, pattern, readAll, socketPair, writeAll } from "./_conns.ts";

const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Code that was written for a `Deno.Conn`: answers in capital letters, until the end. */
async function shout(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(5);
  for (let n; (n = await conn.read(buffer)) !== null;) {
    await conn.write(utf8(text(buffer.subarray(0, n)).toUpperCase()));
  }
  await conn.closeWrite();
}

Deno.test("code that was written for a `Deno.Conn` runs over an `SshConn`", async () => {
  const pair = await connPair(), served = shout(pair.far);
  await writeAll(pair.near, utf8("many words in one go"));
  await pair.near.closeWrite();
  assertEquals(text(await inTime(readAll(pair.near), "the answer")), "MANY WORDS IN ONE GO");
  await served;
  pair.far[Symbol.dispose]();
  await inTime(pair.near.closed, "the end");
  assertEquals(channels(pair), [0, 0]);
});

Deno.test("`SshConn.read()` leaves the caller's buffer and the bytes behind it where they are", async () => {
  const { near, far } = await connPair();
  await far.write(utf8("abcdef"));
  const buffer = new Uint8Array(4).fill(46);
  assertEquals(await near.read(new Uint8Array(0)), 0);
  assertEquals(await near.read(buffer.subarray(0, 2)), 2);
  assertEquals(text(buffer), "ab..");
  // The streams are free between two calls, and have the rest.
  const reader = near.readable.getReader();
  assertEquals(text((await reader.read()).value), "cdef");
  await assertRejects(() => near.read(buffer), TypeError);
  reader.releaseLock();
  await far.closeWrite();
  assertEquals([await near.read(buffer), await near.read(buffer)], [null, null]);
  await near.close();
});

Deno.test("`SshConn.write()` does not keep the bytes it was given, and calls that overlap go in order", async () => {
  const { near, far } = await connPair({ server: { window: 1000 } });
  const sent = pattern(300_000), all = readAll(far);
  const writes = [0, 100_000, 200_000].map(async (at) => {
    const part = sent.slice(at, at + 100_000);
    await near.write(part);
    part.fill(0);
  });
  await inTime(Promise.all(writes), "the writes");
  await Promise.all([near.closeWrite(), near.closeWrite()]);
  assertEquals(await inTime(all, "the bytes"), sent);
  await far.close();
});

Deno.test("`SshConn.closeWrite()` ends one direction, `close()` both, and a reader sees that this side cut it", async () => {
  const { near, far } = await connPair();
  await near.closeWrite();
  assertEquals(await far.read(new Uint8Array(1)), null);
  await far.write(utf8("still"));
  const buffer = new Uint8Array(9);
  assertEquals(await near.read(buffer), 5);
  await assertRejects(() => near.write(buffer), Error);
  const waiting = assertRejects(() => near.read(buffer), SshError, "closed");
  await near.close();
  await near.close();
  await waiting;
  await inTime(far.closed, "the far end's close");
  const error = await assertRejects(() => far.write(buffer), SshError);
  assertEquals(error.code, "CLOSED");
});

Deno.test("a wrong argument of `SshConn.write()` or `read()` ends nothing", async () => {
  const { near, far } = await connPair();
  for (const wrong of ["text", null, 5, new ArrayBuffer(3), [1, 2]] as unknown as Uint8Array[]) {
    await assertRejects(() => near.write(wrong), TypeError);
  }
  await assertRejects(async () => await far.read("buffer" as unknown as Uint8Array), TypeError);
  await near.write(utf8("still"));
  assertEquals(await far.read(new Uint8Array(9)), 5);
  await Promise.all([near.close(), far.close()]);
});

Deno.test("`SshConn.closeWrite()` can be tried again where somebody held the stream", async () => {
  const { near, far } = await connPair(), writer = near.writable.getWriter();
  await assertRejects(() => near.closeWrite(), TypeError);
  writer.releaseLock();
  await Promise.all([near.closeWrite(), near.closeWrite()]);
  assertEquals(await far.read(new Uint8Array(1)), null);
  await Promise.all([near.close(), far.close()]);
});

Deno.test("data for standard error does not stop a connection", async () => {
  const { near, far, channel } = await connPair({ client: { window: 65_536 } });
  const all = readAll(near), writer = channel.stderrWritable.getWriter();
  await inTime(writer.write(new Uint8Array(300_000)), "what nobody reads");
  await writeAll(far, pattern(200_000));
  await far.closeWrite();
  assertEquals((await inTime(all, "the data")).length, 200_000);
  await near.close();
});

Deno.test("a connection that is lost fails what waits on its `SshConn`s", async () => {
  const { near, far, transports } = await connPair(), lost = new SshError("Gone", { code: "CONNECTION_LOST" });
  const waiting = [near.read(new Uint8Array(1)), far.read(new Uint8Array(1)), near.closed, far.closed];
  transports.client.finish(lost);
  for (const one of waiting) assertStrictEquals(await inTime(one.then(() => null, (error) => error), "the end"), lost);
});

Deno.test("an `SshConn` that its far end cut fails behind what came, one that was closed ends, and strangers hear of no difference", async () => {
  for (const ident of ["SSH-2.0-amiko", "SSH-2.0-amiko_1.0", "SSH-2.0-OpenSSH_10.0", "SSH-2.0-amikool", undefined]) {
    for (const how of ["abort", "close"] as const) {
      const { near, far, transports } = await connPair();
      Object.assign(transports.server.info, { remoteIdent: ident });
      await far.write(utf8("half of it"));
      const writer = far.writable.getWriter();
      how === "abort" ? await writer.abort(new Error("cut")) : await far.close();
      const buffer = new Uint8Array(20);
      assertEquals(await near.read(buffer), 10);
      const end = await inTime(near.read(buffer).catch((error) => error), "the end");
      if (how === "abort" && ident?.startsWith("SSH-2.0-amiko") && !ident.endsWith("ool")) {
        assertStringIncludes(String(end), "cut at its far end");
      } else assertEquals(end, null, `${ident} ${how}`);
      await near.closed;
    }
  }
});

Deno.test("an `SshConn` that was aborted closes at the far end, too", async () => {
  const { near, far, ...muxes } = await connPair({ server: { window: 10 } });
  const writer = near.writable.getWriter();
  writer.write(new Uint8Array(1000)).catch(() => {});
  await writer.abort(new Error("enough"));
  await until(() => channels(muxes).every((count) => count === 0), "A channel is still open");
  const conn: SshConn = far;
  await inTime(conn.closed, "the end");
});

Deno.test("`SocketConn.closeWrite()` sends the end behind writes that nobody has waited for, as over a channel", async () => {
  using pair = await socketPair();
  const addr = pair.ours.localAddr as Deno.NetAddr, data = pattern(4_000_000);
  const conn = new SocketConn(pair.ours, { localAddr: addr, remoteAddr: addr }, new Ending(new Promise(() => {})));
  // More than the system takes while nobody reads.
  const sent = Promise.all([
    conn.write(data.subarray(0, 3_000_000)),
    conn.write(data.subarray(3_000_000)),
    conn.closeWrite(),
    conn.closeWrite(),
  ]);
  assertEquals(await inTime(readAll(pair.theirs), "all of it"), data);
  assertEquals((await sent).slice(0, 2), [3_000_000, 1_000_000]);
  await conn.closeWrite();
  await assertRejects(() => conn.write(new Uint8Array(1)), TypeError);
  await conn.close();
});

Deno.test("`SocketConn.write()` that nobody has waited for may fail when its far end has gone, as over a channel", async () => {
  using pair = await socketPair();
  const addr = pair.ours.localAddr as Deno.NetAddr, data = pattern(4_000_000);
  const conn = new SocketConn(pair.ours, { localAddr: addr, remoteAddr: addr }, new Ending(new Promise(() => {})));
  // Unhandled rejections fail a test.
  void conn.write(data);
  pair.theirs.close();
  await inTime(assertRejects(() => conn.write(data), SshError, "reset"), "the reset");
  void conn.closeWrite();
  await assertRejects(() => conn.closeWrite(), SshError, "reset");
  void conn.writable.close();
  await assertRejects(() => conn.writable.close(), SshError, "reset");
  // Nobody reads any more, either.
  await conn.read(new Uint8Array(1)).catch(() => {});
  await inTime(conn.closed, "the end");
});

Deno.test("`SocketConn` still gives what its far end had sent when a write fails, as over a channel", async () => {
  const dir = await Deno.makeTempDir(), addr = { transport: "unix", path: `${dir}/s` } as const;
  using listener = Deno.listen(addr);
  const [theirs, socket] = await Promise.all([listener.accept(), Deno.connect(addr)]);
  const conn = new SocketConn(socket, { localAddr: addr, remoteAddr: addr }, new Ending(new Promise(() => {})));
  await theirs.write(utf8("no room"));
  theirs.close();
  await assertRejects(() => conn.write(new Uint8Array(1)), SshError, "reset");
  assertEquals(text(await new Response(conn.readable).bytes()), "no room");
  await inTime(conn.closed, "the end");
  await Deno.remove(dir, { recursive: true });
});

Deno.test("`SocketConn` refuses a chunk that is no Uint8Array, and one whose buffer was transferred while it waited", async () => {
  const addr: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 1 }, chunk = new Uint8Array(10);
  let written = 0;
  const socket = {
    read: () => Promise.resolve(null),
    write: () => {
      structuredClone(chunk, { transfer: [chunk.buffer] });
      return Promise.resolve(++written);
    },
    closeWrite: () => Promise.resolve(),
    close: () => {},
  };
  const join = () => new SocketConn(socket, { localAddr: addr, remoteAddr: addr }, new Ending(new Promise(() => {})));
  for (const wrong of [new ArrayBuffer(10), "text"]) {
    await using conn = join();
    const writer = conn.writable.getWriter();
    await assertRejects(() => writer.write(wrong as never), TypeError, "chunks must be Uint8Array");
  }
  await using conn = join();
  await assertRejects(() => conn.write(chunk), TypeError, "transferred or resized");
  assertEquals(written, 1);
});
