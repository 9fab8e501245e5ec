/** The streams of a socket, which fail each by itself. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { socketStreams } from "../../lib/api/socket_streams.ts";
import { connect, serveConn, SshDisconnectError, SshError, Transport } from "../../mod.ts";
import { TOO_MANY, turnAway } from "../../lib/api/admission/turn_away.ts";
import { hostKey, login, serverOptions, text } from "../_support/joined.ts";
import { pattern } from "../_support/sftp_peers.ts";
import { turns } from "../_support/until.ts";

/** Both ends of a connection. */
async function pair(): Promise<{ near: Deno.TcpConn; far: Deno.TcpConn }> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const [near, far] = await Promise.all([Deno.connect({ hostname: "127.0.0.1", port }), listener.accept()]);
  return { near, far };
}

Deno.test("socketStreams() carry bytes both ways, and close the socket with the end of either", async () => {
  for (const how of ["close", "abort", "cancel"] as const) {
    const { near, far } = await pair(), { readable, writable } = socketStreams(near), bytes = pattern(3_000_000);
    const writer = writable.getWriter(), reader = readable.getReader();
    const written = writer.write(bytes), got = new Uint8Array(bytes.length);
    for (let at = 0; at < got.length;) at += (await far.read(got.subarray(at)))!;
    await written;
    assertEquals(got, bytes);
    await far.write(new TextEncoder().encode("back"));
    assertEquals(text((await reader.read()).value!), "back");
    await (how === "cancel" ? reader.cancel() : writer[how]());
    assertEquals(await far.read(new Uint8Array(1)), null);
    if (how !== "cancel") await reader.cancel().catch(() => {});
    else await writer.close();
    far.close();
  }
});

Deno.test("socketStreams() can be read to the end where the other side does not take what is written", async () => {
  const { near, far } = await pair(), { readable, writable } = socketStreams(near);
  const writer = writable.getWriter(), reader = readable.getReader();
  await writer.write(new Uint8Array(1));
  await far.write(new TextEncoder().encode("why"));
  // What it has not read makes this a reset.
  far.close();
  const gone = await assertRejects(async () => {
    for (;;) await writer.write(new Uint8Array(100));
  });
  await assertRejects(() => writer.closed, Error, (gone as Error).message);
  assertEquals(text((await reader.read()).value!), "why");
  await reader.read().catch(() => {});
  await reader.cancel().catch(() => {});
});

/** Hangs up, without the line in front, which no client may send. */
async function hangUp(socket: Deno.TcpConn): Promise<void> {
  const write = (bytes: Uint8Array) => socket.write(bytes.subarray(TOO_MANY.line.length + "\r\n".length));
  await turnAway({ write, close: () => socket.close() }, undefined, TOO_MANY);
}

/** A socket that was reset before anything is written to it, and that is read a little later; and where it comes from. */
function resetSocket(
  far: (socket: Deno.TcpConn) => Promise<void>,
): { listener: Deno.TcpListener; dial: (options: Deno.ConnectOptions) => Promise<Deno.TcpConn> } {
  const { connect } = Deno, listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const reset = listener.accept().then(far);
  const dial = async (options: Deno.ConnectOptions): Promise<Deno.TcpConn> => {
    const socket = await connect(options);
    await socket.write(new Uint8Array(1));
    await reset;
    const from = socket.readable.getReader();
    let isFirst = true;
    const readable = new ReadableStream({
      async pull(controller) {
        if (isFirst) await turns();
        isFirst = false;
        const { done, value } = await from.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => from.cancel(reason),
    }, { highWaterMark: 0 });
    return Object.defineProperty(socket, "readable", { value: readable });
  };
  return { listener, dial };
}

/** How `connect()` fails where its socket is a reset one. */
async function refused(far: (socket: Deno.TcpConn) => Promise<void>, proxy?: "http"): Promise<SshError> {
  const { connect: own } = Deno, { listener, dial } = resetSocket(far), { port } = listener.addr as Deno.NetAddr;
  using _ = listener;
  Object.assign(Deno, { connect: dial });
  try {
    const way = proxy && { proxy: `${proxy}://127.0.0.1:${port}` };
    return await assertRejects(() => connect({ hostname: "127.0.0.1", port, ...way, ...login }), SshError);
  } finally {
    Object.assign(Deno, { connect: own });
  }
}

Deno.test("connect() hears why a server hangs up, though it was writing when the server had", async () => {
  const error = await refused(hangUp);
  assertInstanceOf(error, SshDisconnectError);
  assertStringIncludes(error.message, "Too many connections");
  assertEquals(error.code, "DISCONNECTED");
});

Deno.test("connect() hears why a proxy refuses, though it was writing when the proxy had hung up", async () => {
  const error = await refused(async (socket) => {
    await socket.write(new TextEncoder().encode("HTTP/1.1 403 Not today\r\n\r\n"));
    socket.close();
  }, "http");
  assertStringIncludes(error.message, "Not today");
});

Deno.test("who is handed a socket hears why the other side hangs up, though it was writing when that had", async (t) => {
  const key = await hostKey();
  const ways: Record<string, (conn: Deno.TcpConn) => Promise<unknown>> = {
    "connect()": (transport) => connect({ hostname: "127.0.0.1", transport, ...login }),
    "Transport, as client": (conn) => new Transport(conn).startClient(),
    "Transport, as server": (conn) => {
      const transport = new Transport(conn);
      transport.addServerKey(key);
      return transport.startServer();
    },
    "serveConn()": (conn) => serveConn(conn, { hostKeys: [key], auth: {} }),
  };
  for (const [who, use] of Object.entries(ways)) {
    await t.step(who, async () => {
      const { listener, dial } = resetSocket(hangUp);
      using _ = listener;
      const { port } = listener.addr as Deno.NetAddr;
      const conn = await dial({ hostname: "127.0.0.1", port }), { writable } = conn;
      const using = use(conn);
      const error = await assertRejects(() => using, SshDisconnectError, "Too many connections");
      assertEquals(error.code, "DISCONNECTED");
      assert(writable.locked);
    });
  }
});

Deno.test("a writable that a program put in place of a socket's own is the one that is used", async () => {
  const { near, far } = await pair(), writer = near.writable.getWriter();
  let isUsed = false;
  const writable = new WritableStream<Uint8Array>({
    write(chunk) {
      isUsed = true;
      return writer.write(chunk);
    },
    close: () => writer.close(),
    abort: (reason) => writer.abort(reason),
  });
  const serving = serveConn(far, await serverOptions());
  const transport = Object.defineProperty(near, "writable", { value: writable });
  const client = await connect({ hostname: "127.0.0.1", transport, ...login });
  assert(isUsed);
  await client.close();
  await serving;
});
