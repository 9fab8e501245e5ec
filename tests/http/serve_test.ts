/** What a client serves where its server listens: requests, who is let in, and how it ends. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import type { Forward } from "../../lib/forward/forward.ts";
import { join, type Joined } from "../_support/joined.ts";
import { scratchDir } from "../_support/keys.ts";
import { inTime, until } from "../_support/until.ts";

const allowed = (): Promise<Joined> => join({ allowForward: () => true });

function portOf(forward: Forward): number {
  return (forward.addr as Deno.NetAddr).port;
}

/** Connects where a forward listens, and sends a request. */
async function ask(forward: Forward, path = "/", headers = ""): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: portOf(forward) });
  await conn.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`));
  return conn;
}

/** All that comes until the end. */
async function rest(conn: Deno.TcpConn): Promise<string> {
  return await inTime(new Response(conn.readable).text().catch((error) => `${error}`), "the end of a connection");
}

Deno.test("serve() answers requests from where the server listens: bodies, who asks, keep-alive, WebSockets, Unix sockets", async () => {
  await using joined = await allowed();
  const connections = new Set<number>(), { client } = joined;
  const handler = async (request: Request, { remoteAddr }: Deno.ServeHandlerInfo): Promise<Response> => {
    if (request.headers.get("upgrade") === "websocket") {
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.onmessage = ({ data }) => socket.send(`${data} it is`);
      return response;
    }
    if (remoteAddr.transport === "tcp") connections.add(remoteAddr.port);
    const from = remoteAddr.transport === "tcp" ? remoteAddr.hostname : remoteAddr.transport;
    return new Response([request.method, new URL(request.url).pathname, from, await request.text()].join(" "));
  };
  await using forward = await client.serve({ port: 0 }, handler);
  const url = `http://127.0.0.1:${portOf(forward)}/x`;
  assertEquals(await (await fetch(url, { method: "POST", body: "body" })).text(), "POST /x 127.0.0.1 body");
  assertEquals(await (await fetch(url)).text(), "GET /x 127.0.0.1 ");
  assertEquals([connections.size, forward.connections.size], [1, 1]);
  const [{ from, to }] = [...forward.connections] as unknown as [{ from: Deno.Addr; to: Deno.Addr | null }];
  assertEquals([(from as Deno.NetAddr).port, to], [[...connections][0], null]);
  const socket = new WebSocket(url.replace("http", "ws")), said = Promise.withResolvers<string>();
  socket.onopen = () => socket.send("there");
  socket.onmessage = ({ data }) => said.resolve(data);
  assertEquals(await inTime(said.promise, "an answer"), "there it is");
  const over = Promise.withResolvers<unknown>();
  socket.onclose = over.resolve;
  socket.close();
  await inTime(over.promise, "the close");
  const path = `${scratchDir()}/web.sock`;
  await using unix = await client.serve({ path }, handler);
  assertEquals(unix.addr, { transport: "unix", path });
  using http = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  assertEquals(await (await fetch("http://x/y", { client: http })).text(), "GET /y unix ");
});

Deno.test("serve() answers 500 where the handler fails, and tells `onError`; the next request is served", async () => {
  await using joined = await allowed();
  const errors: unknown[] = [], failed = new Error("the handler failed");
  const onError = (error: unknown, connection: unknown): void => {
    errors.push(error);
    assertEquals(connection, null);
    throw new Error("and so does onError");
  };
  await using forward = await joined.client.serve({ port: 0, onError }, (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/throws") throw failed;
    if (pathname === "/rejects") return Promise.reject(failed);
    if (pathname === "/nothing") return undefined as unknown as Response;
    return new Response("it works");
  });
  for (const [path, status] of [["/throws", 500], ["/rejects", 500], ["/nothing", 500], ["/", 200]] as const) {
    const response = await fetch(`http://127.0.0.1:${portOf(forward)}${path}`);
    assertEquals(response.status, status, path);
    await response.text();
  }
  assertEquals(errors.slice(0, 2), [failed, failed]);
  assertEquals(errors.length, 3);
});

/** The ports at which Deno's servers listen that are made meanwhile. */
async function listening<T>(act: () => Promise<T>): Promise<[T, number[]]> {
  const { serve } = Deno, ports: number[] = [];
  Object.assign(Deno, {
    serve(...args: Parameters<typeof serve>) {
      const server = serve(...args);
      ports.push((server.addr as Deno.NetAddr).port);
      return server;
    },
  });
  try {
    return [await act(), ports];
  } finally {
    Object.assign(Deno, { serve });
  }
}

Deno.test("serve() turns away whoever connects to its own socket on this machine: no handler hears of that", async () => {
  await using joined = await allowed();
  let served = 0;
  const [forward, [port]] = await listening(() =>
    joined.client.serve({ port: 0 }, () => {
      served++;
      return new Response("it works");
    })
  );
  await using _ = forward;
  // While a visitor is there, and when that one has gone.
  const visitor = await ask(forward);
  await visitor.read(new Uint8Array(1024));
  for (let i = 0; i < 3; i++) {
    const stranger = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "let me in" });
    assertEquals([stranger.status, await stranger.text()], [403, ""]);
    if (i === 0) visitor.close();
    if (i === 0) await until(() => forward.connections.size === 0, "The visitor is still there");
  }
  assertEquals(served, 1);
});

Deno.test("serve() listens nowhere else where DENO_SERVE_ADDRESS says so", async () => {
  await using joined = await allowed();
  const handler = (): Response => new Response();
  // What Deno does with it, it does for the first server of a program only.
  const { serve } = Deno, servers: Deno.HttpServer[] = [];
  Object.assign(Deno, {
    serve(options: Deno.ServeTcpOptions, handler: Deno.ServeHandler<Deno.NetAddr>) {
      servers.push(serve({ ...options, hostname: "0.0.0.0" }, handler));
      return servers.at(-1);
    },
  });
  try {
    await assertRejects(() => joined.client.serve({ port: 0 }, handler), TypeError, "DENO_SERVE_ADDRESS");
  } finally {
    Object.assign(Deno, { serve });
  }
  await servers[0]!.finished;
  Deno.env.set("DENO_SERVE_ADDRESS", "duplicate,tcp:0.0.0.0:9977");
  try {
    await assertRejects(() => joined.client.serve({ port: 0 }, handler), TypeError, "DENO_SERVE_ADDRESS");
  } finally {
    Deno.env.delete("DENO_SERVE_ADDRESS");
  }
});

Deno.test("shutdown() lets requests be answered and hangs up on visitors that wait; close() cuts all, whatever handlers do", async () => {
  await using joined = await allowed();
  for (const how of ["shutdown", "close", "signal", "close of the connection"] as const) {
    const asked = new Set<string>(), release = Promise.withResolvers<void>(), stop = new AbortController();
    const forward = await joined.client.serve({ port: 0, signal: stop.signal }, async (request) => {
      const { pathname } = new URL(request.url);
      asked.add(pathname);
      if (pathname === "/waits") await release.promise;
      if (pathname === "/never") return new Response(new ReadableStream({ pull: () => new Promise(() => {}) }));
      return new Response("it works");
    });
    const idle = await ask(forward), waits = await ask(forward, "/waits", "Connection: close\r\n");
    const others = how === "shutdown" ? [] : [await ask(forward, "/never")];
    await idle.read(new Uint8Array(1024));
    await until(() => asked.size === 2 + others.length, "Requests do not come");
    let ended = false;
    const end = {
      shutdown: () => forward.shutdown(),
      close: () => forward.close(),
      signal: async () => {
        stop.abort();
        await forward.finished;
      },
      "close of the connection": async () => {
        await joined.client.close();
        await forward.finished;
      },
    }[how]().then(() => ended = true);
    assertEquals(await rest(idle), "");
    if (how === "shutdown") {
      await until(() => forward.connections.size === 1, "The idle one stays");
      assertEquals(ended, false);
      release.resolve();
      assertStringIncludes(await rest(waits), "it works");
    } else {
      assertEquals(await rest(waits), "");
      for (const conn of others) await rest(conn);
    }
    await inTime(end, how);
    await inTime(forward.finished, how);
    assertEquals(forward.connections.size, 0);
    release.resolve();
  }
});

Deno.test("serve() cancels the body of an answer that comes when nobody waits for it any more", async () => {
  await using joined = await allowed();
  const asked = Promise.withResolvers<void>(), release = Promise.withResolvers<void>();
  const cancelled = Promise.withResolvers<void>();
  const forward = await joined.client.serve({ port: 0 }, async () => {
    asked.resolve();
    await release.promise;
    return new Response(new ReadableStream({ cancel: () => cancelled.resolve() }));
  });
  const visitor = await ask(forward);
  await asked.promise;
  await forward.close();
  release.resolve();
  await inTime(cancelled.promise, "the end of the body");
  await rest(visitor);
});

Deno.test("serve() ends with a lost connection, and is refused as listen() is; nothing stays open", async () => {
  const joined = await allowed(), { client } = joined;
  const forward = await client.serve({ port: 0 }, () => new Promise<Response>(() => {}));
  const visitor = await ask(forward);
  await until(() => forward.connections.size === 1, "No visitor");
  joined.pair.reset();
  const error = await inTime(forward.finished.then(() => null, (error) => error), "the end");
  assert(error instanceof SshError && error.code === "CONNECTION_LOST", String(error));
  await rest(visitor);
  await joined.served;
  await using strict = await join();
  await assertRejects(() => strict.client.serve({ port: 0 }, () => new Response()), SshError, "the server refused");
  const signal = AbortSignal.abort(new Error("enough"));
  await assertRejects(() => strict.client.serve({ port: 0, signal }, () => new Response()), Error, "enough");
});

Deno.test("serve() has the server refuse connections beyond `maxConnections`", async () => {
  await using joined = await allowed();
  await using forward = await joined.client.serve({ port: 0, maxConnections: 1 }, () => new Response("it works"));
  const one = await ask(forward);
  await one.read(new Uint8Array(1024));
  assertEquals(await rest(await ask(forward)), "");
  one.close();
  await until(() => forward.connections.size === 0, "It stays");
  assertStringIncludes(await rest(await ask(forward, "/", "Connection: close\r\n")), "it works");
});

Deno.test("serve() wants a function and an address", async () => {
  await using joined = await allowed();
  for (
    const [options, handler, type, text] of [
      [{ port: 0 }, undefined, TypeError, "`handler`"],
      [{ port: 0 }, {}, TypeError, "`handler`"],
      [{ port: 70_000 }, () => new Response(), RangeError, "`port`"],
      [undefined, () => new Response(), TypeError, "`{ hostname, port }` or `{ path }`"],
      [{ port: 0, onError: 5 }, () => new Response(), TypeError, "`onError`"],
    ] as const
  ) {
    const call = joined.client.serve(options as { port: number }, handler as () => Response);
    const error = await call.then(() => null, (error) => error);
    assertInstanceOf(error, type);
    assertStringIncludes(error.message, text);
  }
});
