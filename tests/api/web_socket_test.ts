/** SSH over WebSocket: both ends over `Deno.serve`, and the far ends that misbehave. */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serveConn, type ServeConnOptions } from "../../lib/api/server.ts";
import { webSocketTransport } from "../../lib/api/web_socket.ts";
import { SshError } from "../../lib/errors.ts";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { seededBytes } from "../_support/duplex.ts";
import { login, serverOptions, text } from "../_support/joined.ts";
import { HANGS, inTime, until } from "../_support/until.ts";

/** Serves upgrades on a port of its own; `/no` is refused, and `/never` gets no answer. */
function upgrades(onSocket: (socket: WebSocket) => unknown) {
  const sockets: WebSocket[] = [], unanswered = Promise.withResolvers<Response>();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/no") return new Response("no", { status: 403 });
    if (pathname === "/never") return unanswered.promise;
    const { socket, response } = Deno.upgradeWebSocket(request);
    sockets.push(socket);
    onSocket(socket);
    return response;
  });
  return {
    url: `ws://127.0.0.1:${server.addr.port}/`,
    async [Symbol.asyncDispose]() {
      unanswered.resolve(new Response(null, { status: 503 }));
      for (const socket of sockets) if (socket.readyState <= WebSocket.OPEN) socket.close();
      await server.shutdown();
    },
  };
}

/** Both ends of a socket. */
async function joined(use: (near: ByteDuplex, far: WebSocket) => Promise<void>): Promise<void> {
  const opened = Promise.withResolvers<WebSocket>();
  await using server = upgrades((socket) => socket.addEventListener("open", () => opened.resolve(socket)));
  await use(await webSocketTransport(server.url), await opened.promise);
}

const hash = async (bytes: Uint8Array<ArrayBuffer>) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();

async function overSocket(url: string) {
  return await connect({ ...login, hostname: "far", transport: await webSocketTransport(url) });
}

async function sshOver(extra: Partial<ServeConnOptions> = {}) {
  const options = await serverOptions(extra);
  const served: Promise<unknown>[] = [];
  const server = upgrades((socket) =>
    served.push(webSocketTransport(socket).then((conn) => serveConn(conn, options)).catch((error) => error))
  );
  return { ...server, served };
}

Deno.test("webSocketTransport() carries SSH at both ends, and bulk arrives whole both ways", async () => {
  await using server = await sshOver({
    handler: async (session) => void await session.stdin.pipeTo(session.stdout),
  });
  {
    await using client = await overSocket(server.url);
    const bytes = seededBytes(6 << 20, 7);
    await using process = await client.spawn("echo");
    const [back] = await Promise.all([
      new Response(process.stdout).bytes(),
      new Response(bytes).body!.pipeTo(process.stdin),
    ]);
    assertEquals(await hash(back), await hash(bytes));
  }
  assertEquals(await inTime(Promise.all(server.served), "the server's end"), [undefined]);
});

Deno.test("webSocketTransport() can be awaited in the handler of an upgrade, before its response", async () => {
  const options = await serverOptions();
  let served: Promise<unknown> = Promise.resolve();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    served = serveConn(await webSocketTransport(socket), options).catch(() => {});
    return response;
  });
  {
    await using client = await overSocket(`http://127.0.0.1:${server.addr.port}`);
    assertEquals(text((await client.exec("echo hello")).stdout), "hello\n");
  }
  await served;
  await server.shutdown();
});

Deno.test("a refused upgrade is a lost connection, and a URL that is none a TypeError without its secrets", async () => {
  await using server = upgrades(() => {});
  const refused = await assertRejects(() => webSocketTransport(`${server.url}no?token=geheim`), SshError);
  assertEquals(refused.code, "CONNECTION_LOST");
  assertStringIncludes(refused.message, "refused the upgrade");
  assert(!refused.message.includes("geheim"), refused.message);
  assert(refused.cause !== undefined);
  for (const url of ["ftp://user:geheim@host/", "no url geheim", "ws://host/#part"]) {
    const error = await assertRejects(() => webSocketTransport(url), TypeError);
    assert(!`${error.message}${error.cause}`.includes("geheim"), error.message);
  }
  for (const wrong of [null, undefined, 7, {}, { send() {}, close() {} }]) {
    await assertRejects(() => webSocketTransport(wrong as unknown as WebSocket), TypeError, "WebSocket");
  }
});

Deno.test("the signal ends the wait for a socket that does not open", async () => {
  await using server = upgrades(() => {});
  const stop = new AbortController(), reason = new Error("enough");
  const waiting = webSocketTransport(`${server.url}never`, { signal: stop.signal });
  stop.abort(reason);
  assertEquals(await assertRejects(() => inTime(waiting, "the abort")), reason);
  assertEquals(
    await assertRejects(() => webSocketTransport(server.url, { signal: AbortSignal.abort(reason) })),
    reason,
  );
});

Deno.test("the time ends the wait for a socket that does not open, and says for which, without its secrets", async () => {
  // It accepts connections, and answers nobody.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const error = await assertRejects(
    () => webSocketTransport(`ws://127.0.0.1:${port}/ssh?token=secret`, { timeout: 20 }),
    DOMException,
  );
  const what = `the WebSocket "ws://127.0.0.1:${port}/ssh" to open`;
  assertEquals([error.name, error.message], ["TimeoutError", `Timed out after 20 ms waiting for ${what}`]);
  await assertRejects(() => webSocketTransport("ws://127.0.0.1:1/", { timeout: NaN }), RangeError, "`timeout`");
});

Deno.test("what had come before a close is read, and then its code and reason are the error", async () => {
  await joined(async (near, far) => {
    far.send(new Uint8Array([1, 2]));
    far.send(new Uint8Array([]));
    far.send(new Uint8Array([3]));
    far.close(4321, "went\u001b away");
    const reader = near.readable.getReader({ mode: "byob" }), got: number[] = [];
    const error = await assertRejects(async () => {
      for (;;) {
        const { value, done } = await inTime(reader.read(new Uint8Array(2)), "a read");
        if (done) break;
        got.push(...value);
      }
    }, SshError);
    assertEquals([error.code, got], ["CONNECTION_LOST", [1, 2, 3]]);
    assertMatch(error.message, /code 4321: went. away$/);
    assert(!error.message.includes("\u001b"));
    await assertRejects(() => near.writable.getWriter().write(new Uint8Array(1)), SshError, "4321");
  });
});

Deno.test("a plain close ends reading, with a byte reader that waits or one that comes later", async () => {
  await joined(async (near, far) => {
    const reading = near.readable.getReader({ mode: "byob" }).read(new Uint8Array(4));
    far.close();
    assertEquals((await inTime(reading, "the end")).done, true);
  });
  await joined(async (near, far) => {
    far.close();
    assertEquals((await inTime(new Response(near.readable).bytes(), "the end")).length, 0);
  });
});

Deno.test("a text message is refused with an error that says so, and a code that does", async () => {
  await joined(async (near, far) => {
    const closed = new Promise<CloseEvent>((resolve) => far.addEventListener("close", resolve));
    far.send("SSH-2.0-text\r\n");
    const error = await assertRejects(() => inTime(near.readable.getReader().read(), "the refusal"), SshError);
    assertStringIncludes(error.message, "text message");
    assertEquals((await inTime(closed, "the close")).code, 4003);
  });
});

Deno.test("more than 32 MiB that nobody reads end the socket, and are not kept", async () => {
  await joined(async (near, far) => {
    const closed = new Promise<CloseEvent>((resolve) => far.addEventListener("close", resolve));
    for (let sent = 0; sent < 40 && far.readyState === WebSocket.OPEN; sent++) {
      far.send(new Uint8Array(1 << 20));
      await until(() => far.bufferedAmount === 0 || far.readyState !== WebSocket.OPEN, "a message to leave");
    }
    assertEquals((await inTime(closed, "the close")).code, 4009);
    const error = await assertRejects(() => inTime(near.readable.getReader().read(), "the error"), SshError);
    assertStringIncludes(error.message, "33554432 bytes waited");
  });
});

/** A socket of the standard interface whose far end reads when it is told to. */
class SlowSocket extends EventTarget {
  readyState = 1;
  binaryType = "blob";
  url = "ws://slow/";
  bufferedAmount = 0;
  most = 0;
  longest = 0;
  closedWith: number | null = null;
  send(bytes: Uint8Array): void {
    this.bufferedAmount += bytes.length;
    this.most = Math.max(this.most, this.bufferedAmount);
    this.longest = Math.max(this.longest, bytes.length);
  }
  close(code: number): void {
    this.closedWith = code;
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason: "", wasClean: true }));
  }
}

Deno.test("writing waits while the socket holds much, messages are short, and a close waits until all has left", async () => {
  const socket = new SlowSocket();
  const near = await webSocketTransport(socket as unknown as WebSocket), writer = near.writable.getWriter();
  let done = false;
  const writing = writer.write(new Uint8Array(1 << 20)).then(() => done = true);
  await until(() => socket.bufferedAmount > 262_144, "a full socket");
  assertEquals(done, false);
  while (!done) {
    socket.bufferedAmount = 0;
    await new Promise((resolve) => setTimeout(resolve));
  }
  await writing;
  assertEquals([socket.most, socket.longest], [262_144 + 65_536, 65_536]);
  socket.bufferedAmount = 1;
  const closing = writer.close();
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(socket.closedWith, null);
  socket.bufferedAmount = 0;
  await inTime(closing, "the close");
  assertEquals(socket.closedWith, 1000);
});

Deno.test("a chunk whose buffer is transferred while it waits is refused, and not cut short without a word", async () => {
  const socket = new SlowSocket(), chunk = new Uint8Array(1 << 20);
  const near = await webSocketTransport(socket as unknown as WebSocket);
  const writing = assertRejects(() => near.writable.getWriter().write(chunk), TypeError, "transferred or resized");
  await until(() => socket.bufferedAmount > 262_144, "a full socket");
  structuredClone(chunk, { transfer: [chunk.buffer] });
  socket.bufferedAmount = 0;
  await inTime(writing, "the refusal");
});

Deno.test("small messages count as what they take, and what waits is read in large chunks", async () => {
  const flood = async (count: number, length: number) => {
    const socket = new SlowSocket(), near = await webSocketTransport(socket as unknown as WebSocket);
    for (let i = 0; i < count && socket.closedWith === null; i++) {
      socket.dispatchEvent(new MessageEvent("message", { data: new Uint8Array(length).fill(i).buffer }));
    }
    return { closedWith: socket.closedWith, reader: near.readable.getReader() };
  };
  const much = await flood(40_000, 512);
  assertEquals(much.closedWith, 4009);
  await assertRejects(() => much.reader.read(), SshError, "33554432 bytes waited");
  const { reader, closedWith } = await flood(1000, 1);
  assertEquals(closedWith, null);
  const { value } = await inTime(reader.read(), "a chunk");
  assertEquals([value!.length, value!.every((byte, i) => byte === (i & 255))], [1000, true]);
});

Deno.test("a close ends for SSH whose far end never answers the socket's", async () => {
  const deaf = new SlowSocket();
  await using server = await sshOver();
  const socket = new WebSocket(server.url);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  socket.addEventListener("message", ({ data }) => deaf.dispatchEvent(new MessageEvent("message", { data })));
  deaf.send = (bytes) => socket.send(bytes);
  let asked = 0;
  deaf.close = () => {
    asked++;
    deaf.readyState = 2;
  };
  const client = await connect({
    ...login,
    hostname: "far",
    transport: await webSocketTransport(deaf as unknown as WebSocket),
  });
  await inTime(client.close(), "the close");
  await inTime(client.closed.catch(() => {}), "the end");
  assert(asked > 0);
  socket.close();
  await inTime(Promise.all(server.served), "the server's end");
});

Deno.test("a stranger who floods is read, dropped and ended in its time", async () => {
  await using server = await sshOver({ loginTimeout: 500 });
  const socket = new WebSocket(server.url),
    closed = new Promise((resolve) => socket.addEventListener("close", resolve));
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  socket.send(new TextEncoder().encode("SSH-2.0-flood\r\n"));
  // IGNORE messages, which may come before the keys: 64 to a message of the socket.
  const ignore = new Uint8Array(32 * 64);
  for (let at = 0; at < ignore.length; at += 32) ignore.set([0, 0, 0, 28, 10, 2, 0, 0, 0, 12], at);
  for (const end = performance.now() + HANGS; socket.readyState === WebSocket.OPEN && performance.now() < end;) {
    for (let i = 0; i < 64 && socket.bufferedAmount < 1 << 20; i++) socket.send(ignore);
    await new Promise((resolve) => setTimeout(resolve));
  }
  await inTime(closed, "the close");
  const [error] = await inTime(Promise.all(server.served), "the server's end");
  assert(error instanceof SshError, String(error));
});

Deno.test("aborting ends a write that waits, and events after the end change nothing", async () => {
  const socket = new SlowSocket();
  const near = await webSocketTransport(socket as unknown as WebSocket), writer = near.writable.getWriter();
  const reason = new Error("enough"), writing = writer.write(new Uint8Array(1 << 20));
  const rejected = assertRejects(() => writing);
  await until(() => socket.bufferedAmount > 262_144, "a full socket");
  await inTime(writer.abort(reason), "the abort");
  assertEquals(await inTime(rejected, "the write"), reason);
  assertEquals(socket.closedWith, 4000);
  const error = await assertRejects(() => near.readable.getReader().read(), SshError);
  assertEquals([error.code, error.cause], ["CLOSED", reason]);
  for (const data of ["late", new ArrayBuffer(4)]) socket.dispatchEvent(new MessageEvent("message", { data }));
  socket.dispatchEvent(new Event("error"));
  socket.close(1000);
});

Deno.test("a page that vanishes without a word is found by keepalive", async () => {
  const quiet = new SlowSocket();
  const conn = await webSocketTransport(quiet as unknown as WebSocket);
  await using server = await sshOver({ handler: () => new Promise<void>(() => {}) });
  // What passes between the two until the page is gone.
  const socket = new WebSocket(server.url);
  socket.binaryType = "arraybuffer";
  let gone = false;
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  socket.addEventListener("message", ({ data }) => {
    if (!gone) quiet.dispatchEvent(new MessageEvent("message", { data }));
  });
  quiet.send = (bytes) => gone ? undefined : socket.send(bytes);
  const client = await connect({
    ...login,
    hostname: "far",
    transport: conn,
    keepalive: { interval: 50, maxMissed: 2 },
  });
  gone = true;
  const error = await assertRejects(() => inTime(client.closed, "keepalive"), SshError);
  assertEquals(error.code, "CONNECTION_LOST");
  await client.close();
  await until(() => quiet.closedWith !== null, "the socket to be closed");
  socket.close();
  await inTime(Promise.all(server.served), "the server's end");
});
