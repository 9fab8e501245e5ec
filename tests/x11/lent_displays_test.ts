/**
 * Displays that sessions are lent, with a scripted server: the cookie of the session is what a program has to show, and the display's own
 * never leaves.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ChannelOpenError, SshError } from "../../lib/errors.ts";
import { openConn, type SshConn } from "../../lib/forward/conn.ts";
import { X11Req } from "../../lib/session/messages.ts";
import type { X11Options } from "../../lib/session/types.ts";
import { LentDisplays } from "../../lib/x11/lent_displays.ts";
import { X11Open } from "../../lib/x11/messages.ts";
import { type MemoryPair, memoryPair } from "../_support/duplex.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { joinedMuxes } from "../_support/joined_muxes.ts";
import { inTime, turns, until } from "../_support/until.ts";

const REAL = "00112233445566778899aabbccddeeff";
const MAGIC = "MIT-MAGIC-COOKIE-1";

/** The first packet of a program of X, little-endian unless told otherwise. */
function setup(cookie: string, name = MAGIC, big = false): number[] {
  const two = (value: number) => big ? [value >> 8, value & 255] : [value & 255, value >> 8];
  const padded = (bytes: number[]) => [...bytes, ...new Array(-bytes.length & 3).fill(0)];
  const [names, data] = [[...new TextEncoder().encode(name)], [...Uint8Array.fromHex(cookie)]];
  return [
    big ? 0x42 : 0x6c,
    0,
    ...[11, 0, names.length, data.length, 0].flatMap(two),
    ...padded(names),
    ...padded(data),
  ];
}

/** A client with a display in memory, and its server. */
function start() {
  const muxes = joinedMuxes(),
    displays = new LentDisplays(muxes.client),
    shown: MemoryPair[] = [],
    errors: unknown[] = [];
  const connect = () => {
    const pair = memoryPair({ highWaterMark: 65_536, chunks: "whole" });
    shown.push(pair);
    return pair.client;
  };
  const open = (): Promise<SshConn> => {
    const addr: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 4321 };
    const data = X11Open.encode({ originHost: addr.hostname, originPort: addr.port });
    return openConn(muxes.server, "x11", data, { localAddr: addr, remoteAddr: addr });
  };
  return {
    muxes,
    shown,
    errors,
    open,
    /** Lends a display; gives what the server is told of it. */
    async lend(options: X11Options = {}) {
      const onError = (error: unknown) => errors.push(error);
      const lent = await displays.lend({ cookie: REAL, connect, onError, ...options }, undefined);
      return { ...lent, ...X11Req.decode(lent.requests[0]!.data) };
    },
    /** Opens a channel and sends bytes; whatever becomes of it. */
    async send(bytes: readonly number[]): Promise<SshConn> {
      const conn = await open();
      await conn.write(Uint8Array.from(bytes));
      return conn;
    },
    end: () => muxes.transports.client.finish(null),
  };
}

async function first(pair: MemoryPair, length: number): Promise<number[]> {
  const reader = pair.server.readable.getReader(), got: number[] = [];
  while (got.length < length) {
    const { value, done } = await inTime(reader.read(), "the first packet");
    if (done) break;
    got.push(...value);
  }
  reader.releaseLock();
  return got;
}

/** That a channel has been closed. */
async function isClosed(conn: SshConn): Promise<void> {
  assertEquals(await inTime(new Response(conn.readable).bytes(), "the end of the channel"), new Uint8Array(0));
  await conn.close();
  await inTime(conn.closed, "its close");
}

Deno.test("a program that shows the session's cookie gets to the display with the display's own, in either byte order", async () => {
  const { lend, send, shown, errors, end } = start();
  const { cookie, protocol, single, screen } = await lend({ display: ":3.1" });
  assertEquals([protocol, single, screen, cookie.length], [MAGIC, false, 1, 32]);
  assert(cookie !== REAL);
  for (const big of [false, true]) {
    const packet = setup(cookie, MAGIC, big);
    for (const cut of [packet.length, 1, 13, 40]) {
      const conn = await send(packet.slice(0, cut));
      await conn.write(Uint8Array.from([...packet.slice(cut), 7, 8, 9]));
      await until(() => shown.length > 0, "the display is connected to");
      const pair = shown.pop()!;
      assertEquals(await first(pair, packet.length + 3), [...setup(REAL, MAGIC, big), 7, 8, 9]);
      // Both directions, and the end of each.
      const writer = pair.server.writable.getWriter();
      await writer.write(Uint8Array.of(1, 2));
      await writer.close();
      assertEquals(await new Response(conn.readable).bytes(), Uint8Array.of(1, 2));
      await conn.closeWrite();
      assertEquals(await first(pair, 1), []);
      await inTime(conn.closed, "the end");
    }
  }
  assertEquals(errors, []);
  end();
});

Deno.test("a program that shows another cookie is cut off, and the display is not connected to", async () => {
  const { lend, send, shown, errors, end } = start(), { cookie } = await lend();
  const other = cookie.slice(0, 31) + (cookie[31] === "0" ? "1" : "0");
  const packets = [
    setup(other),
    setup(REAL),
    setup(""),
    setup(cookie + "00"),
    setup(cookie, "MIT-MAGIC-COOKIE-2"),
    setup(cookie, ""),
    [0x6c, 0, 11, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
    [...new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")],
    setup(cookie).slice(0, -1),
  ];
  for (const [i, packet] of packets.entries()) {
    const conn = await send(packet);
    if (i === packets.length - 1) await conn.closeWrite();
    await isClosed(conn);
  }
  assertEquals([shown.length, errors.length], [0, packets.length]);
  for (const error of errors) {
    assert(error instanceof SshError && error.code === "REQUEST_DENIED");
    assert(!error.message.includes(cookie) && !error.message.includes(REAL));
  }
  end();
});

Deno.test("X11 channels are refused before a session has asked for them, and after its end", async () => {
  const { lend, open, end } = start();
  const refused = async () => {
    const error = await assertRejects(open, ChannelOpenError);
    assertEquals(error.reason, 1);
  };
  await refused();
  const one = await lend(), two = await lend();
  one.release();
  one.release();
  await (await open()).close();
  two.release();
  await refused();
  const three = await lend();
  const conn = await open();
  three.revoke();
  await refused();
  await conn.write(Uint8Array.from(setup(three.cookie)));
  await isClosed(conn);
  end();
});

Deno.test("each session has a cookie of its own, and with its end that one is worth nothing any more", async () => {
  const { lend, send, shown, end } = start(), connected: string[] = [];
  const lendAs = (name: string) =>
    lend({
      connect: () => {
        connected.push(name);
        const pair = memoryPair({ highWaterMark: 65_536, chunks: "whole" });
        shown.push(pair);
        return pair.client;
      },
    });
  const one = await lendAs("one"), two = await lendAs("two");
  const windows = [await send(setup(one.cookie)), await send(setup(two.cookie))];
  await until(() => connected.length === 2, "both are connected");
  assertEquals(connected, ["one", "two"]);
  one.release();
  await isClosed(await send(setup(one.cookie)));
  assertEquals(connected.length, 2);
  // What was open goes on; where this side has given the session up, it does not.
  await windows[0]!.write(Uint8Array.of(5));
  assertEquals((await first(shown[0]!, setup(REAL).length + 1)).at(-1), 5);
  one.revoke();
  await isClosed(windows[0]!);
  two.release();
  await windows[1]!.close();
  end();
});

Deno.test("new connections are taken for as long as `timeout` says, of trusted programs without end", async () => {
  const { lend, send, open, shown, end } = start();
  using time = new FakeTime();
  const forever = await lend({ trusted: true }), named = await lend({ timeout: 1000 }), cookied = await lend();
  assertEquals(time.delays, [1000]);
  const before = await send(setup(named.cookie));
  await until(() => shown.length === 1, "the display is connected to");
  time.tick(1000);
  await isClosed(await send(setup(named.cookie)));
  for (const lent of [forever, cookied]) await send(setup(lent.cookie));
  await until(() => shown.length === 3, "the others are");
  for (const lent of [forever, cookied]) lent.release();
  await assertRejects(open, ChannelOpenError);
  // What was open before goes on.
  await before.write(Uint8Array.of(5));
  assertEquals((await first(shown[0]!, setup(REAL).length + 1)).at(-1), 5);
  end();
});

Deno.test("a single connection is the only one, and the server is told so", async () => {
  const { lend, send, shown, open, end } = start(), { cookie, single } = await lend({ single: true });
  assertEquals(single, true);
  // A wrong cookie does not take its place.
  await isClosed(await send(setup(REAL)));
  const conn = await send(setup(cookie));
  await until(() => shown.length === 1, "the display is connected to");
  await assertRejects(open, ChannelOpenError);
  await conn.close();
  end();
});

Deno.test("programs that say nothing are few, and get half a minute", async () => {
  const { lend, open, send, shown, errors, end } = start(), { cookie } = await lend();
  using time = new FakeTime();
  const silent = await Promise.all(Array.from({ length: 16 }, open));
  const error = await assertRejects(open, ChannelOpenError);
  assertEquals([error.reason, time.delays.length], [4, 16]);
  await silent[0]!.write(Uint8Array.from(setup(cookie).slice(0, 20)));
  await turns();
  time.tick(30_000);
  for (const conn of silent) await isClosed(conn);
  assertEquals([errors.length, shown.length], [16, 0]);
  const conn = await send(setup(cookie));
  await until(() => shown.length === 1, "there is room again");
  await conn.close();
  end();
});

Deno.test("windows of one connection are 128 at most", async () => {
  const { lend, open, send, shown, end } = start(), { cookie } = await lend(), conns: SshConn[] = [];
  while (conns.length < 128) {
    conns.push(...await Promise.all(Array.from({ length: 16 }, () => send(setup(cookie)))));
    await until(() => shown.length === conns.length, `${conns.length} windows`);
  }
  assertEquals((await assertRejects(open, ChannelOpenError)).reason, 4);
  await conns[0]!.close();
  shown[0]!.server.writable.close().catch(() => {});
  await conns[0]!.closed;
  await (await open()).close();
  end();
});

Deno.test("a display that does not answer closes the program's connection, and tells why", async () => {
  const { lend, send, errors, end } = start();
  const failure = new Error("no display today"), hanging = Promise.withResolvers<never>();
  let asked = 0;
  const { cookie } = await lend({
    connect: () => {
      if (asked++ === 0) throw failure;
      return hanging.promise;
    },
  });
  await isClosed(await send(setup(cookie)));
  assertEquals(errors, [failure]);
  // A program that has gone is waited for by nobody.
  const conn = await send(setup(cookie));
  await until(() => asked === 2, "the display is asked");
  await conn.close();
  await inTime(conn.closed, "the end");
  assertEquals(errors.length, 1);
  end();
});

Deno.test("lending a display that is none rejects before anything is asked of the server", async () => {
  const { muxes } = start(), displays = new LentDisplays(muxes.client), before = Deno.env.get("DISPLAY");
  try {
    Deno.env.delete("DISPLAY");
    await assertRejects(() => displays.lend({}, undefined), SshError, "DISPLAY is not set");
    Deno.env.set("DISPLAY", "decnet::0");
    await assertRejects(() => displays.lend({}, undefined), SshError, '"decnet::0" is no display');
    // `xauth` is not there, or makes no cookie for a display that is not there: nothing would confine untrusted programs.
    await assertRejects(() => displays.lend({ display: ":59000" }, undefined), SshError, "untrusted programs");
    const gone = AbortSignal.abort(new Error("given up"));
    await assertRejects(() => displays.lend({ display: ":59000" }, gone), Error, "given up");
  } finally {
    before === undefined ? Deno.env.delete("DISPLAY") : Deno.env.set("DISPLAY", before);
  }
  muxes.transports.client.finish(null);
});
