/**
 * Displays of clients on a server: who may have one, where it listens, and when that ends.
 */
import { assert, assertEquals } from "@std/assert";
import type { ServeConnOptions } from "../../lib/api/server.ts";
import { SshError } from "../../lib/errors.ts";
import { type Sockets, type SystemListener, type SystemSocket, systemSockets } from "../../lib/forward/sockets.ts";
import { X11Req } from "../../lib/session/messages.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { parseAuthority } from "../../lib/x11/authority.ts";
import { X11Open } from "../../lib/x11/messages.ts";
import { ServedDisplays } from "../../lib/x11/served_displays.ts";
import { acceptConn, type SshConn } from "../../lib/forward/conn.ts";
import { memoryPair } from "../_support/duplex.ts";
import { join } from "../_support/joined.ts";
import { joinedMuxes } from "../_support/joined_muxes.ts";
import { Served } from "../_support/served.ts";
import { inTime, turns, until } from "../_support/until.ts";

const COOKIE = "00112233445566778899aabbccddeeff";
const asked = { single: false, protocol: "MIT-MAGIC-COOKIE-1", cookie: COOKIE, screen: 0 };

/** A display on a server whose client takes all connections. */
function start(sockets: Partial<Sockets> = {}, maxForwarded = Infinity) {
  const muxes = joinedMuxes(), conns: SshConn[] = [], errors: unknown[] = [], origins: string[] = [];
  muxes.client.onChannel("x11", ({ id, data }) => {
    const { originHost } = X11Open.decode(data), addr: Deno.NetAddr = { transport: "tcp", hostname: "", port: 0 };
    const { channel, conn } = acceptConn(id, { localAddr: addr, remoteAddr: addr });
    origins.push(originHost);
    return { channel, opened: () => void conns.push(conn) };
  });
  const displays = new ServedDisplays(muxes.server, {
    sockets: { ...systemSockets, ...sockets },
    maxForwarded,
    onError: (error) => errors.push(error),
  });
  return { displays, conns, errors, origins, end: () => muxes.transports.server.finish(null) };
}

function portOf(display: string): number {
  return 6000 + Number(/^127\.0\.0\.1:(\d+)\.\d+$/.exec(display)![1]);
}

/** The system lets go of a listening socket a moment after it was closed. */
function isRefused(port: number): Promise<boolean> {
  return dial(port).then((socket) => socket.close(), (error) => error).then((error) =>
    error instanceof Deno.errors.ConnectionRefused
  );
}

const dial = (port: number) => Deno.connect({ hostname: "127.0.0.1", port });

Deno.test("a display listens on the loopback address from 6010 on, each at a port of its own, until its session ends", async () => {
  const { displays, conns, origins, end } = start();
  const one = displays.open(asked)!, two = displays.open({ ...asked, screen: 1 })!;
  const ports = [portOf(one.display), portOf(two.display)];
  assert(ports[0]! >= 6010 && ports[1]! > ports[0]! && two.display.endsWith(".1"));
  const [entry] = parseAuthority(two.authority);
  assertEquals([entry!.number, entry!.name, entry!.data.toHex()], [String(ports[1]! - 6000), asked.protocol, COOKIE]);
  const socket = await dial(ports[0]!);
  await until(() => conns.length === 1, "the client hears of it");
  await socket.write(Uint8Array.of(1, 2, 3));
  const buffer = new Uint8Array(10);
  assertEquals([await conns[0]!.read(buffer), origins], [3, ["127.0.0.1"]]);
  one[Symbol.dispose]();
  two[Symbol.dispose]();
  for (const port of ports) await until(() => isRefused(port), "nothing listens any more");
  // What is open goes on until one of its ends closes it, or the connection ends.
  await conns[0]!.write(Uint8Array.of(4));
  assertEquals(await socket.read(buffer), 1);
  displays.end(null);
  assertEquals(await socket.read(buffer).catch(() => null), null);
  socket.close();
  end();
});

Deno.test("a single connection is the only one", async () => {
  const { displays, conns, end } = start(), display = displays.open({ ...asked, single: true })!;
  using _ = await dial(portOf(display.display));
  await until(() => conns.length === 1, "the client hears of it");
  await until(() => isRefused(portOf(display.display)), "nothing listens any more");
  displays.end(null);
  end();
});

/** A listener that gives connections when a test says so. */
function listenerByHand() {
  const waiting: PromiseWithResolvers<SystemSocket>[] = [];
  let closed = 0;
  const listener: SystemListener = {
    port: 0,
    accept: () => {
      const next = Promise.withResolvers<SystemSocket>();
      waiting.push(next);
      return next.promise;
    },
    close: () => {
      closed++;
      for (const one of waiting) one.reject(new Error("closed"));
    },
    setRef: () => {},
  };
  return { listener, waiting, closed: () => closed };
}

Deno.test("ports that others have are passed over, and where none is free or may be opened there is no display", () => {
  const tried: number[] = [], { listener } = listenerByHand();
  const taken = (upTo: number): Partial<Sockets> => ({
    listen: (hostname, port) => {
      assertEquals(hostname, "127.0.0.1");
      tried.push(port);
      if (port < upTo) throw new Deno.errors.AddrInUse("taken");
      return [listener];
    },
  });
  const some = start(taken(6013)), all = start(taken(70_000));
  const display = some.displays.open(asked)!;
  assertEquals([display.display, tried.splice(0)], ["127.0.0.1:13.0", [6010, 6011, 6012, 6013]]);
  assertEquals([all.displays.open(asked), tried.length, tried.at(-1)], [null, 1000, 7009]);
  const forbidden = start({
    listen: () => {
      throw new Deno.errors.NotCapable("--allow-net");
    },
  });
  assertEquals([forbidden.displays.open(asked), forbidden.errors.length], [null, 1]);
  display[Symbol.dispose]();
  for (const { end } of [some, all, forbidden]) end();
});

Deno.test("connections beyond 128 wait with the system until one has gone", async () => {
  const { listener, waiting, closed } = listenerByHand(),
    { displays, conns, end } = start({ listen: () => [listener] });
  const display = displays.open(asked)!;
  let hungUp = 0;
  const socket = (): SystemSocket & { ended: PromiseWithResolvers<null> } => {
    const ended = Promise.withResolvers<null>();
    return {
      ended,
      from: null,
      read: () => ended.promise,
      write: (p) => Promise.resolve(p.length),
      closeWrite: () => Promise.resolve(),
      close: () => {
        hungUp++;
        ended.resolve(null);
      },
      setRef: () => {},
    };
  };
  for (let i = 0; i < 128; i++) {
    await until(() => waiting.length > i, "the next one is accepted");
    waiting[i]!.resolve(socket());
  }
  await until(() => conns.length === 128, "all are open");
  await turns();
  assertEquals(waiting.length, 128);
  await conns[0]!.close();
  await until(() => waiting.length === 129, "there is room");
  display[Symbol.dispose]();
  assertEquals(closed(), 1);
  displays.end(null);
  await until(() => hungUp === 128, "all are hung up");
  end();
});

Deno.test("connections to a display leave room for sessions, but one is always possible", async () => {
  const { displays, conns, end } = start({}, 2), small = start({}, 0), display = displays.open(asked)!;
  const sockets = [await dial(portOf(display.display)), await dial(portOf(display.display))];
  await until(() => conns.length === 2, "two are open");
  const third = await dial(portOf(display.display));
  assertEquals(await third.read(new Uint8Array(1)).catch(() => null), null);
  third.close();
  await conns[0]!.close();
  sockets[0]!.close();
  await conns[0]!.closed;
  // The server counts it until its own end of it has ended, and turns away who comes before.
  await until(async () => {
    const socket = await dial(portOf(display.display));
    let isOver = false;
    void socket.read(new Uint8Array(1)).catch(() => null).then(() => isOver = true);
    await until(() => isOver || conns.length === 3, "an answer");
    conns.length === 3 ? sockets.push(socket) : socket.close();
    return conns.length === 3;
  }, "there is room again");
  sockets.push(await dial(portOf(small.displays.open(asked)!.display)));
  await until(() => small.conns.length === 1, "one is possible");
  for (const one of [displays, small.displays]) one.end(null);
  for (const socket of sockets.slice(1)) socket.close();
  for (const one of [end, small.end]) one();
});

Deno.test("connections to a display that the client has not answered for leave room for sessions, too", async () => {
  const muxes = joinedMuxes(), answered = Promise.withResolvers<null>();
  let openings = 0;
  muxes.client.onChannel("x11", () => (openings++, answered.promise));
  const displays = new ServedDisplays(muxes.server, { sockets: systemSockets, maxForwarded: 3, onError: () => {} });
  const display = displays.open(asked)!;
  const sockets = await Promise.all(Array.from({ length: 8 }, () => dial(portOf(display.display))));
  let refused = 0;
  for (const socket of sockets) void socket.read(new Uint8Array(1)).catch(() => null).then(() => refused++);
  await until(() => openings + refused === 8, "all have an answer, or wait for one");
  assertEquals([openings, refused], [3, 5]);
  answered.resolve(null);
  await until(() => refused === 8, "the client wants none");
  displays.end(null);
  for (const socket of sockets) socket.close();
  muxes.transports.server.finish(null);
});

// ------------------------------------------------------------------------------------------------ who may

/** What a session sees of its display, under options of the server and what its login was granted. */
async function seen(options: Partial<ServeConnOptions>, x11Forwarding?: boolean): Promise<string | null> {
  let seen: ServerSession | undefined;
  await using joined = await join({
    ...options,
    ...x11Forwarding !== undefined && { auth: { password: () => ({ grant: { x11Forwarding } }) } },
    handler: (session) => void (seen = session),
  });
  const connect = () => memoryPair().client;
  try {
    await joined.client.exec("x", { x11: { cookie: COOKIE, connect }, env: { DISPLAY: "elsewhere:0" } });
  } catch (error) {
    assert(error instanceof SshError && error.code === "REQUEST_DENIED", String(error));
    return joined.errors.length > 0 ? String(joined.errors) : null;
  }
  assertEquals(seen!.env.DISPLAY, seen!.x11!.display);
  assert(seen!.x11!.cookie !== COOKIE);
  return "shown";
}

Deno.test("a session has a display where the server's options and the grants of the login allow it", async () => {
  const no = () => false, yes = () => true, later = () => Promise.resolve(true);
  assertEquals(await seen({}), null);
  assertEquals(await seen({ allowX11: false }), null);
  assertEquals(await seen({ allowX11: no }), null);
  assertEquals(await seen({ allowX11: (() => "yes") as unknown as () => boolean }), null);
  assertEquals(await seen({ allowX11: () => Promise.reject(new Error("asked in vain")) }), "Error: asked in vain");
  for (const allowX11 of [true, yes, later]) {
    assertEquals(await seen({ allowX11 }), "shown");
    assertEquals(await seen({ allowX11 }, false), null);
  }
  assertEquals(await seen({}, true), "shown");
  assertEquals(await seen({ allowX11: false }, true), null);
  assertEquals(await seen({ allowX11: no }, true), null);
});

Deno.test("x11-req is refused where it is malformed, comes twice, or behind the start", async () => {
  let displays = 0;
  const served = await Served.loggedIn({
    allowX11: true,
    handler: async (session) => {
      displays += session.x11 === null ? 0 : 1;
      await new Promise((resolve) => session.signal.addEventListener("abort", resolve));
    },
  });
  const id = await served.openSession(), fine = X11Req.encode(asked);
  const wrong: Partial<typeof asked>[] = [
    ...["", "-x", "MAGIC COOKIE", "x;y", "x\ny", "x".repeat(129)].map((protocol) => ({ protocol })),
    ...["", "0", "0g", "00 11", "00".repeat(257), "00\n"].map((cookie) => ({ cookie })),
    { screen: 65_536 },
  ];
  for (const one of wrong) {
    assertEquals(await served.request(id, "x11-req", X11Req.encode({ ...asked, ...one })), false, JSON.stringify(one));
  }
  for (const data of [new Uint8Array(0), fine.subarray(1), new Uint8Array([...fine, 0])]) {
    assertEquals(await served.request(id, "x11-req", data), false);
  }
  assertEquals(await served.request(id, "x11-req", fine), true);
  assertEquals(await served.request(id, "x11-req", fine), false);
  assertEquals(await served.request(id, "shell"), true);
  assertEquals(await served.request(id, "x11-req", fine), false);
  await inTime(until(() => displays === 1, "the handler runs"), "the handler");
  await served.hangUp();
});
