/**
 * Forwards of `serveConn()`: its options, the grant of a login, and what is left open at each kind of end.
 *
 * @module
 */
import { createServer } from "node:net";
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Channel } from "../../lib/api/transport/channel.ts";
import type { Grant } from "../../lib/auth/grants.ts";
import type { AuthResult } from "../../lib/auth/types.ts";
import { ChannelOpen } from "../../lib/connection/messages.ts";
import { ChannelOpenError, SshError } from "../../lib/errors.ts";
import { DirectTcpip } from "../../lib/forward/messages.ts";
import { memoryPair } from "../_support/duplex.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { join, type Joined, text } from "../_support/joined.ts";
import { Served } from "../_support/served.ts";
import { inTime, turns, until } from "../_support/until.ts";

const at = (hostname: string, port: number): Deno.NetAddr => ({ transport: "tcp", hostname, port });

function dial({ client }: Joined, hostname: string, port: number): Promise<Channel> {
  return client.openChannel("direct-tcpip", { dest: at(hostname, port), origin: at("127.0.0.1", 9) });
}

Deno.test("serveConn() forwards nothing by default", async () => {
  await using joined = await join();
  const error = await assertRejects(() => dial(joined, "127.0.0.1", 22), ChannelOpenError);
  assertEquals(error.reason, 1);
});

Deno.test("onForward of serveConn() answers what allowForward allows, by the host that the client names", async () => {
  await using joined = await join({
    allowForward: ({ username }, request) => username === "alice" && request.kind === "direct" && request.port === 80,
    onForward: async ({ username }, { hostname, conn }) => {
      const { value } = await conn.readable.getReader().read();
      await conn.write(new TextEncoder().encode(`${username} ${hostname} ${text(value!)}`));
      await conn.close();
    },
  });
  await using channel = await dial(joined, "some.name", 80);
  const writer = channel.writable.getWriter();
  await writer.write(new TextEncoder().encode("x"));
  assertEquals(await new Response(channel.readable).text(), "alice some.name x");
  assertEquals((await assertRejects(() => dial(joined, "some.name", 81), ChannelOpenError)).reason, 1);
});

Deno.test("a grant of the login allows forwards of serveConn() by itself, and forbids them whatever allowForward says", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }), { port } = listener.addr as Deno.NetAddr;
  const granting = (grant: Grant) => ({ auth: { password: (): AuthResult => ({ grant }) } });
  {
    await using joined = await join(granting({ portForwarding: { open: [`127.0.0.1:${port}`] } }));
    const channel = await dial(joined, "127.0.0.1", port), socket = await listener.accept();
    await socket.write(new TextEncoder().encode("granted"));
    socket.close();
    const { value } = await channel.readable.getReader().read();
    assertEquals(text(value!), "granted");
    assertEquals((await assertRejects(() => dial(joined, "127.0.0.1", port - 1), ChannelOpenError)).reason, 1);
  }
  await using joined = await join({ ...granting({ portForwarding: false }), allowForward: () => true });
  assertEquals((await assertRejects(() => dial(joined, "127.0.0.1", port), ChannelOpenError)).reason, 1);
  // A grant of something else says nothing of forwards.
  await using other = await join(granting({ pty: true }));
  assertEquals((await assertRejects(() => dial(other, "127.0.0.1", port), ChannelOpenError)).reason, 1);
  listener.close();
});

for (const how of ["close", "abort", "reset", "expire"] as const) {
  Deno.test(`sockets of forwards end with a connection that ends by ${how}`, async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }), { port } = listener.addr as Deno.NetAddr;
    const stop = new AbortController(), pair = memoryPair();
    using time = new FakeTime();
    const joined = await join(
      {
        allowForward: () => true,
        signal: stop.signal,
        auth: { password: (): AuthResult => ({ grant: { expires: new Date(Date.now() + 1e6) } }) },
      },
      {},
      pair,
    );
    await dial(joined, "127.0.0.1", port);
    const socket = await listener.accept();
    if (how === "close") await joined.client.close();
    if (how === "abort") stop.abort();
    if (how === "reset") pair.reset();
    if (how === "expire") time.tick(1e6);
    assertEquals(await inTime(socket.read(new Uint8Array(1)).catch(() => null), "the socket's end"), null);
    await joined.served;
    await joined.client.closed.catch(() => {});
    socket.close();
    listener.close();
  });
}

Deno.test("a direct-tcpip channel that is cut short or goes on behind its fields ends the connection, asked of nobody", async () => {
  const data = DirectTcpip.encode({ host: "127.0.0.1", port: 22, originHost: "h", originPort: 1 });
  for (const bad of [data.subarray(0, -1), new Uint8Array(0), new Uint8Array([...data, 0])]) {
    let asked = 0;
    const served = await Served.loggedIn({ allowForward: () => ++asked > 0 });
    await served.peer.send(
      ChannelOpen.encode({ type: "direct-tcpip", sender: 0, window: 1000, maxPacket: 1000, data: bad }),
    );
    assertEquals((await served.peer.disconnected()).reason, 2);
    assert(await served.ended instanceof Error);
    assertEquals(asked, 0);
    await served.peer.close();
  }
});

Deno.test("a target that is reset is no end to a client of this module: dial() fails behind what came, and so does the handler of a client that cut", async () => {
  // Deno's own sockets cannot be reset.
  const target = createServer((socket) =>
    socket.once("data", () => socket.write("half", () => socket.resetAndDestroy()))
  );
  await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve));
  const handled = Promise.withResolvers<unknown>();
  await using joined = await join({ allowForward: () => true }, {}, memoryPair({ chunks: "whole" }));
  await using other = await join({
    allowForward: () => true,
    onForward: async (_info, { conn }) =>
      handled.resolve(await new Response(conn.readable).text().catch((error) => error)),
  });
  const { port } = target.address() as { port: number },
    conn = await joined.client.dial({ hostname: "127.0.0.1", port });
  await conn.write(new Uint8Array(1));
  const reading = new Response(conn.readable).bytes();
  const error = await assertRejects(() => inTime(reading, "the end"), SshError, "cut at its far end");
  assertEquals(error.code, "CLOSED");
  await new Promise((resolve) => target.close(resolve));

  const cut = await other.client.dial({ hostname: "any.name", port: 80 });
  await cut.writable.abort(new Error("enough"));
  assert(await inTime(handled.promise, "the handler") instanceof SshError);
});

Deno.test("a client that reads nothing stops its socket, and the other channels go on", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }), { port } = listener.addr as Deno.NetAddr;
  await using joined = await join({ allowForward: () => true }, {}, memoryPair({ chunks: "whole" }));
  await dial(joined, "127.0.0.1", port);
  const socket = await listener.accept();
  let written = 0, last = -1;
  const writing = (async () => {
    for (const chunk = new Uint8Array(65_536);;) written += await socket.write(chunk);
  })().catch(() => {});
  // A stalled socket takes nothing more; a window, the buffers of the system and some chunks are all that was taken.
  await until(async () => {
    const stalled = written === last;
    last = written;
    await new Promise((resolve) => setTimeout(resolve, 50));
    return stalled && written > 2_000_000;
  }, "the socket stalls");
  assert(written < 32 * 2 ** 20, `${written} bytes were taken`);
  assertEquals((await joined.client.exec("echo on")).code, 0);
  await joined.client.close();
  await writing;
  socket.close();
  listener.close();
});

Deno.test("connections to a listener leave room for sessions, whatever else the client has open, but one is always possible", async () => {
  await using joined = await join({
    maxChannels: 16,
    allowForward: () => true,
    onForward: () => new Promise(() => {}),
  });
  const { client } = joined;
  await using listener = await client.listen({ hostname: "127.0.0.1", port: 0 });
  const own = await Promise.all(Array.from({ length: 10 }, () => dial(joined, "some.name", 80)));
  const strangers = await Promise.all(
    Array.from({ length: 8 }, () => Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port })),
  );
  const accepted = [await inTime(listener.accept(), "one")];
  await turns(50);
  assertEquals((await inTime(client.exec("echo"), "a session")).code, 0);
  for (const channel of own) void channel.close();
  await using sessions = new AsyncDisposableStack();
  for (let i = 0; i < 6; i++) sessions.use(await client.spawn("cat", { stdin: "piped" }));
  // The others wait until there is room, five of them for one to go; open sessions take none of theirs.
  for (let i = 0; i < 5; i++) accepted.push(await inTime(listener.accept(), "the next one"));
  for (const one of [...strangers, ...accepted]) one.close();
});
