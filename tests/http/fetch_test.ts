/** What a client fetches through its server, with a server in memory: requests and bodies, errors, aborts, ends, and who gets in. */
import { assert, assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { ChannelOpenError, SshError } from "../../lib/errors.ts";
import { join } from "../_support/joined.ts";
import { collectGarbage } from "../_support/resources.ts";
import { inTime, until } from "../_support/until.ts";
import { inside, insideRaw, webServer } from "./_web.ts";

const encoder = new TextEncoder();

/** What a promise rejects with. */
function rejection(promise: Promise<unknown>, what = "the error"): Promise<unknown> {
  return inTime(promise.then((value) => new Error(`it resolved to ${value}`), (error) => error), what);
}

/** Says something on each connection, once a request has come, and keeps it open. */
function saying(text: string, then: (conn: { close(): Promise<void> }) => unknown = () => {}) {
  return insideRaw(async (conn) => {
    await conn.read(new Uint8Array(4096));
    await conn.write(encoder.encode(text));
    await then(conn);
    while (await conn.read(new Uint8Array(4096)).catch(() => null) !== null);
    await conn.close();
  });
}

Deno.test("fetch() takes what `fetch()` does: methods, headers, bodies, redirects, Request and URL objects; the far end looks names up", async () => {
  await using far = await inside(async (request) => {
    const { pathname, hostname } = new URL(request.url);
    if (pathname === "/moved") return Response.redirect("http://192.0.2.1/there", 307);
    const body = await request.text(), { headers } = request;
    return new Response(
      [request.method, hostname, pathname, headers.get("content-length"), headers.get("x-a"), body].join(" "),
      { status: 201, headers: { "x-long": "y".repeat(30_000) } },
    );
  });
  const { client } = far, plain = await client.fetch("http://inner.test/a");
  assertEquals([plain.status, plain.headers.get("x-long")?.length], [201, 30_000]);
  assertEquals(await plain.text(), "GET inner.test /a   ");
  const headers = { "x-a": "1" }, post = { method: "POST", body: "hello", headers };
  for (
    const [input, init] of [
      [new URL("http://inner.test/a"), post],
      [new Request("http://inner.test/a", post)],
      [new Request("http://inner.test/a", { method: "PUT", headers }), post],
    ] as const
  ) {
    assertEquals(await (await client.fetch(input, init)).text(), "POST inner.test /a 5 1 hello");
  }
  const moved = await client.fetch("http://inner.test/moved", { method: "POST", body: "again" });
  assertEquals([moved.url, moved.redirected], ["http://192.0.2.1/there", true]);
  assertEquals(await moved.text(), "POST 192.0.2.1 /there 5  again");
  const kept = await client.fetch("http://inner.test/moved", { redirect: "manual" });
  assertEquals([kept.status, kept.headers.get("location")], [307, "http://192.0.2.1/there"]);
  await kept.body?.cancel();
  assertEquals(new Set(far.dialled), new Set(["inner.test 80", "192.0.2.1 80"]));
});

Deno.test("fetch() keeps connections: one serves requests that follow each other, and many at once get as many as they need", async () => {
  await using far = await inside((request) => new Response(new URL(request.url).search));
  const get = async (i: number): Promise<void> => {
    assertEquals(await (await far.client.fetch(`http://192.0.2.1:8080/?${i}`)).text(), `?${i}`);
  };
  for (let i = 0; i < 20; i++) await get(i);
  assertEquals(far.dialled, ["192.0.2.1 8080"]);
  await inTime(Promise.all(Array.from({ length: 100 }, (_, i) => get(i))), "a hundred requests");
  assert(far.dialled.length <= 101, `${far.dialled.length} connections`);
});

Deno.test("fetch() streams bodies in both directions at once", async () => {
  await using far = await inside((request) => new Response(request.body));
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>(), writer = writable.getWriter();
  void writer.write(encoder.encode("1"));
  const response = await inTime(far.client.fetch("http://192.0.2.1/", { method: "POST", body: readable }), "headers");
  const reader = response.body!.getReader();
  for (const part of ["1", "2", "3"]) {
    if (part !== "1") void writer.write(encoder.encode(part));
    assertEquals(await inTime(reader.read(), part), { done: false, value: encoder.encode(part) });
  }
  await writer.close();
  assertEquals((await inTime(reader.read(), "the end")).done, true);
});

Deno.test("fetch() says why the server could not connect, for each of many requests, and for where a redirect leads", async () => {
  await using far = await inside(() =>
    new Response(null, { status: 302, headers: { location: "http://192.0.2.9:81/" } })
  );
  const refused = await rejection(far.client.fetch("https://No-Such-Host.test/x?token=secret"));
  assertInstanceOf(refused, ChannelOpenError);
  assertStringIncludes(refused.message, 'Cannot connect to "no-such-host.test" port 443 through the server: ');
  assert(!Deno.inspect(refused).includes("secret"));
  const redirected = await rejection(far.client.fetch("http://192.0.2.1/"));
  assertInstanceOf(redirected, ChannelOpenError);
  assertStringIncludes(redirected.message, '"192.0.2.9" port 81');
  const names = Array.from({ length: 20 }, (_, i) => `192.0.2.${i + 10}`);
  const many = await Promise.all(
    names.map((name) => rejection(far.client.fetch(`http://${name}:8080/`))),
  );
  many.forEach((error, i) => {
    assertInstanceOf(error, ChannelOpenError);
    assertStringIncludes(error.message, `"${names[i]}" port 8080`);
  });
  await using own = await join({ allowForward: () => true });
  // Nobody listens there, and `fetch()` has nothing against it.
  const port = 2;
  for (const [host, shown] of [["127.0.0.1", "127.0.0.1"], ["[::1]", "::1"]]) {
    const error = await rejection(own.client.fetch(`http://${host}:${port}/`));
    assertInstanceOf(error, ChannelOpenError, String(error));
    assertStringIncludes(error.message, `Cannot connect to "${shown}" port ${port} through the server: `);
    assertEquals(error.reason, 2);
  }
});

Deno.test("fetch() refuses what leads nowhere through a server, before anything is opened", async () => {
  const far = await inside(() => new Response());
  const foreign = Deno.createHttpClient({});
  for (
    const [input, init, text] of [
      ["file:///etc/passwd", {}, '"file:"'],
      ["data:text/plain,x", {}, '"data:"'],
      ["blob:null/x", {}, '"blob:"'],
      ["ws://192.0.2.1/", {}, '"ws:"'],
      ["192.0.2.1/?token=secret", {}, "no URL"],
      ["", {}, "no URL"],
      [5, {}, "a URL"],
      [{}, {}, "a URL"],
      ["http://192.0.2.1/", 5, "`init`"],
      ["http://192.0.2.1/", { method: "GET", body: "x" }, "Cannot fetch: "],
      ["http://192.0.2.1/", { client: foreign }, "createHttpClient()"],
    ] as const
  ) {
    const error = await rejection(far.client.fetch(input as string, init as RequestInit));
    assertInstanceOf(error, TypeError, String(input));
    assert(error.message.startsWith("Cannot "), error.message);
    assertStringIncludes(error.message, text);
    assert(!error.message.includes("secret"));
  }
  foreign.close();
  assertEquals(far.dialled, []);
  await far[Symbol.asyncDispose]();
  const late = await rejection(far.client.fetch("http://192.0.2.1/"));
  assert(late instanceof SshError && late.code === "CLOSED", String(late));
  const never = await join({ allowForward: () => true });
  await never.client.close();
  for (const call of [() => never.client.fetch("http://x.test/"), () => never.client.createHttpClient()]) {
    const error = await rejection(call());
    assert(error instanceof SshError && error.code === "CLOSED", String(error));
  }
  await never.served;
});

Deno.test("fetch() says what is wrong with an answer, and with a host that speaks no TLS", async () => {
  await using far = await saying("SSH-2.0-x\r\n\r\n", (conn) => conn.close());
  for (const scheme of ["http", "https"]) {
    const error = await rejection(far.client.fetch(`${scheme}://192.0.2.1/?token=secret`));
    assertInstanceOf(error, TypeError);
    assert(!error.message.includes("secret"));
    assertStringIncludes(error.message, `Cannot fetch from "${scheme}://192.0.2.1": client error`);
  }
});

Deno.test("a lost SSH connection fails requests that wait and bodies that flow, however their end is marked, and says why", async () => {
  for (const head of ["Content-Length: 9\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n"]) {
    await using far = await saying(`HTTP/1.1 200 OK\r\n${head}\r\n1\r\nx\r\n`);
    const response = await inTime(far.client.fetch("http://192.0.2.1/"), "headers"),
      reader = response.body!.getReader();
    await inTime(reader.read(), "the first bytes");
    // What nobody holds any more is no longer looked at by Deno.
    if (head.startsWith("Connection")) await collectGarbage();
    const rest = (async () => {
      while (!(await reader.read()).done);
    })();
    far.joined.pair.reset();
    const error = await rejection(rest, head);
    assert(error instanceof SshError && error.code === "CONNECTION_LOST", `${head}: ${error}`);
  }
  await using silent = await saying("");
  const waiting = rejection(silent.client.fetch("http://192.0.2.1/"));
  await until(() => silent.open.count === 1, "No connection");
  silent.joined.pair.reset();
  const error = await waiting;
  assert(error instanceof SshError && error.code === "CONNECTION_LOST", String(error));
});

Deno.test("a body whose end nothing announces fails where its connection was cut at the far end, and is whole where it was closed", async () => {
  let isCut = true, read = Promise.withResolvers<void>();
  await using far = await insideRaw(async (conn) => {
    await conn.read(new Uint8Array(4096));
    await conn.write(encoder.encode("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it"));
    await read.promise;
    if (isCut) await conn.writable.abort(new Error("Connection reset by peer"));
    await conn.close();
  });
  for (const url of ["http://192.0.2.1/", "http://192.0.2.1:8080/a"]) {
    read = Promise.withResolvers();
    const reader = (await inTime(far.client.fetch(url), "headers")).body!.getReader();
    assertEquals(new TextDecoder().decode((await reader.read()).value), "half of it");
    read.resolve();
    const error = await rejection(reader.read());
    assert(error instanceof SshError && error.message.includes("cut at its far end"), String(error));
  }
  isCut = false;
  assertEquals(await (await far.client.fetch("http://192.0.2.1/")).text(), "half of it");
});

Deno.test("close() ends requests that wait and bodies that nobody reads, and leaves nothing open", async () => {
  await using far = await saying("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
  await using silent = await saying("");
  const response = await inTime(far.client.fetch("http://192.0.2.1/"), "headers");
  const waiting = rejection(silent.client.fetch("http://192.0.2.1/"));
  await until(() => silent.open.count === 1, "No connection");
  await Promise.all([far.client.close(), silent.client.close()]);
  for (const error of [await waiting, await rejection(response.text())]) {
    assert(error instanceof SshError && error.code === "CLOSED", String(error));
  }
});

Deno.test("fetch() over a connection that has ended says why, whichever client it is given, and cancels the body that it was to send", async () => {
  for (const isLost of [true, false]) {
    await using far = await saying("");
    const { client } = far, http = await client.createHttpClient(), cancelled: unknown[] = [];
    if (isLost) far.joined.pair.reset();
    else await client.close();
    await client.closed.catch(() => {});
    for (const init of [{}, { client: http }]) {
      const body = new ReadableStream<Uint8Array>({ cancel: (reason) => void cancelled.push(reason) });
      const error = await rejection(client.fetch("http://192.0.2.1/", { method: "POST", body, ...init }));
      assert(error instanceof SshError && error.code === (isLost ? "CONNECTION_LOST" : "CLOSED"), String(error));
      assertEquals(cancelled.pop(), error);
    }
  }
});

Deno.test("bodies can be read, piped, cloned and cancelled like those of `fetch()`, and given to a server as they are", async () => {
  await using far = await inside((request) => {
    const { pathname } = new URL(request.url);
    return pathname === "/none" ? new Response(null, { status: 204 }) : new Response(`it works at ${pathname}`);
  });
  const get = (path: string): Promise<Response> => far.client.fetch(`http://192.0.2.1${path}`);
  const response = await get("/a"), twin = response.clone();
  assert(response instanceof Response && twin.url === response.url && twin.type === "basic");
  assertEquals([await response.text(), await twin.text()], ["it works at /a", "it works at /a"]);
  assertEquals(response.bodyUsed, true);
  const byob = (await get("/b")).body!.getReader({ mode: "byob" }), parts: number[] = [];
  for (let read; !(read = await byob.read(new Uint8Array(5))).done;) parts.push(...read.value);
  assertEquals(new TextDecoder().decode(new Uint8Array(parts)), "it works at /b");
  await (await get("/c")).body!.cancel();
  assertEquals((await get("/none")).body, null);
  await using proxy = webServer((request) => get(new URL(request.url).pathname));
  assertEquals(await (await fetch(`http://127.0.0.1:${proxy.addr.port}/d`)).text(), "it works at /d");
});

Deno.test("a signal ends a request before, while it waits, and in its body; its connection is closed, others go on", async () => {
  await using far = await saying("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
  await using silent = await saying("");
  const reason = new Error("enough");
  assertEquals(await rejection(far.client.fetch("http://192.0.2.1/", { signal: AbortSignal.abort(reason) })), reason);
  assertEquals(far.dialled, []);
  const waits = new AbortController(), flows = new AbortController();
  const waiting = rejection(silent.client.fetch(new Request("http://192.0.2.1/", { signal: waits.signal })));
  await until(() => silent.open.count === 1, "No connection");
  const other = await far.client.fetch("http://192.0.2.1/");
  const body = await far.client.fetch("http://192.0.2.1/", { signal: flows.signal });
  const reading = rejection(body.text());
  await collectGarbage();
  waits.abort(reason);
  flows.abort(reason);
  assertEquals([await waiting, await reading], [reason, reason]);
  await until(() => silent.open.count === 0 && far.open.count === 1, "The connections stay open");
  await other.body!.cancel();
  await until(() => far.open.count === 0, "The connection of a cancelled body stays open");
});

/** What `Deno.createHttpClient()` was told of the proxy. */
async function proxyOf(act: () => Promise<unknown>): Promise<{ port: number; username: string; password: string }> {
  const { createHttpClient } = Deno, seen: Deno.CreateHttpClientOptions[] = [];
  Object.assign(Deno, {
    createHttpClient(options: Deno.CreateHttpClientOptions) {
      seen.push({ ...options });
      return createHttpClient(options);
    },
  });
  try {
    await act();
  } finally {
    Object.assign(Deno, { createHttpClient });
  }
  const { url, basicAuth } = seen[0]!.proxy as { url: string; basicAuth: { username: string; password: string } };
  return { port: Number(new URL(url).port), ...basicAuth };
}

Deno.test("nobody else on this machine gets into the connection: without the login of a client, nothing is dialled", async () => {
  await using far = await inside(() => new Response("it works"));
  const { port, username, password } = await proxyOf(() => far.client.createHttpClient());
  await using twin = await inside(() => new Response());
  const other = await proxyOf(() => twin.client.createHttpClient());
  assert(/^[0-9a-f]{32}$/.test(password) && other.password !== password);
  const login = (user: string, pass: string): number[] => [
    1,
    user.length,
    ...encoder.encode(user),
    pass.length,
    ...encoder.encode(pass),
  ];
  const request = [5, 1, 0, 3, 10, ...encoder.encode("inner.test"), 0, 80];
  /** The bytes that come back before it hangs up, or the request is granted. */
  const answer = async (...bytes: number[]): Promise<number[]> => {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port });
    await conn.write(new Uint8Array(bytes));
    const got: number[] = [], buffer = new Uint8Array(64);
    for (let n; got.length < 14 && (n = await inTime(conn.read(buffer), "an answer").catch(() => null)) !== null;) {
      got.push(...buffer.subarray(0, n));
    }
    return got;
  };
  for (
    const [what, bytes, got] of [
      ["no login", [5, 1, 0, ...request], [5, 255]],
      ["SOCKS4", [4, 1, 0, 80, 192, 0, 2, 1, 0], []],
      ["SOCKS4A", [4, 1, 0, 80, 0, 0, 0, 1, 0, ...encoder.encode("inner.test"), 0], []],
      ["HTTP", [...encoder.encode("GET http://inner.test/ HTTP/1.1\r\n\r\n")], []],
      ["no password", [5, 1, 2, ...login(username, ""), ...request], [5, 2, 1, 1]],
      ["another password", [5, 1, 2, ...login(username, "0".repeat(32)), ...request], [5, 2, 1, 1]],
      ["another client's", [5, 1, 2, ...login(username, other.password), ...request], [5, 2, 1, 1]],
      ["half of it", [5, 1, 2, ...login(username, password.slice(0, 16)), ...request], [5, 2, 1, 1]],
      ["more than it", [5, 1, 2, ...login(username, `${password}0`), ...request], [5, 2, 1, 1]],
      ["another user", [5, 1, 2, ...login("root", password), ...request], [5, 2, 1, 1]],
      ["no path", [5, 1, 2, ...login("unix:", password), ...request], [5, 2, 1, 1]],
      ["another version of the login", [5, 1, 2, 5, ...login(username, password).slice(1), ...request], [5, 2, 1, 1]],
    ] as const
  ) {
    assertEquals(await answer(...bytes), [...got], what);
  }
  assertEquals(far.dialled, []);
  // And the same with it.
  assertEquals(await answer(5, 2, 0, 2, ...login(username, password), ...request), [
    5,
    2,
    1,
    0,
    5,
    0,
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    0,
  ]);
  assertEquals(far.dialled, ["inner.test 80"]);
});

Deno.test("fetch() never connects from here to a host that NO_PROXY names: it goes through the server, or not at all", async () => {
  let direct = 0;
  await using here = webServer(() => {
    direct++;
    return new Response("here");
  });
  const { port } = here.addr, before = Deno.env.get("NO_PROXY");
  Deno.env.set("NO_PROXY", "*, localhost, 127.0.0.1, 192.0.2.1");
  try {
    const allowForward = (): boolean => true, onForward = () => {};
    // The server takes the connections, and says nothing.
    await using far = await join({ allowForward, onForward });
    for (const host of ["localhost", "127.0.0.1"]) {
      const signal = AbortSignal.timeout(200);
      assertEquals(
        (await rejection(far.client.fetch(`http://${host}:${port}/`, { signal })) as Error).name,
        "TimeoutError",
      );
    }
    assertEquals(Deno.env.get("NO_PROXY"), "*, localhost, 127.0.0.1, 192.0.2.1");
    // As without the permission to change it.
    const permissions = Deno.permissions;
    Object.defineProperty(permissions, "querySync", { configurable: true, value: () => ({ state: "prompt" }) });
    try {
      await using far = await join({ allowForward, onForward });
      for (const host of ["localhost", "127.0.0.1"]) {
        const error = await rejection(far.client.fetch(`http://${host}:${port}/`));
        assertInstanceOf(error, TypeError, String(error));
        assertStringIncludes(error.message, "--allow-env=NO_PROXY,no_proxy");
      }
    } finally {
      Reflect.deleteProperty(permissions, "querySync");
    }
    assertEquals(direct, 0);
  } finally {
    before === undefined ? Deno.env.delete("NO_PROXY") : Deno.env.set("NO_PROXY", before);
  }
});

Deno.test("createHttpClient() makes clients that end with close() or with the connection, and work for WebSockets", async () => {
  await using far = await inside((request) => {
    if (request.headers.get("upgrade") !== "websocket") return new Response("it works");
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = ({ data }) => socket.send(`${data} it is`);
    return response;
  });
  const { client } = far, http = await client.createHttpClient({ poolMaxIdlePerHost: 0 });
  for (let i = 0; i < 2; i++) {
    assertEquals(await (await client.fetch("http://192.0.2.1/", { client: http })).text(), "it works");
  }
  assertEquals(far.dialled, ["192.0.2.1 80", "192.0.2.1 80"]);
  const socket = new WebSocket("ws://192.0.2.1:8080/", { client: http } as never),
    said = Promise.withResolvers<string>();
  socket.onopen = () => socket.send("there");
  socket.onmessage = ({ data }) => said.resolve(data);
  assertEquals(await inTime(said.promise, "an answer"), "there it is");
  const over = Promise.withResolvers<unknown>();
  socket.onclose = over.resolve;
  socket.close();
  await inTime(over.promise, "the close");
  assertEquals(far.dialled.at(-1), "192.0.2.1 8080");
  http.close();
  http.close();
  const error = await rejection(client.fetch("http://192.0.2.1/", { client: http }));
  assertInstanceOf(error, TypeError);
  assertStringIncludes(error.message, "still open");
  using late = await client.createHttpClient();
  await client.close();
  late.close();
});

Deno.test({
  name: "fetch(), createHttpClient() and serve() say which permission is missing, and that they need Deno",
  permissions: { net: false, env: true },
  fn: async () => {
    const { client, served } = await join({ allowForward: () => true });
    const calls = {
      fetch: () => client.fetch("http://192.0.2.1/"),
      createHttpClient: () => client.createHttpClient(),
      serve: () => client.serve({ port: 0 }, () => new Response()),
    };
    for (const call of Object.values(calls)) {
      const error = await rejection(call());
      assertInstanceOf(error, Deno.errors.NotCapable);
      assertStringIncludes(error.message, "--allow-net=127.0.0.1");
    }
    const hidden = Object.getOwnPropertyDescriptor(globalThis, "Deno")!;
    for (const call of Object.values(calls)) {
      Reflect.deleteProperty(globalThis, "Deno");
      const error = await rejection(call()).finally(() => Object.defineProperty(globalThis, "Deno", hidden));
      assertInstanceOf(error, TypeError);
      assertStringIncludes(error.message, "that takes Deno");
    }
    await client.close();
    await served;
  },
});

Deno.test({
  name: "fetch() says for which host the permission is missing",
  permissions: { net: ["127.0.0.1"], env: true },
  fn: async () => {
    await using far = await join({ allowForward: () => true });
    const error = await rejection(far.client.fetch("http://192.0.2.1/"));
    assertInstanceOf(error, Deno.errors.NotCapable);
    assertStringIncludes(error.message, 'net access to "192.0.2.1:80"');
  },
});
