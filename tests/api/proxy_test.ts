/** `proxy` and TCP: which way connect() takes, and what becomes of proxies that are none, refuse, or say nothing. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import { connect, type ConnectOptions, serve, SshError } from "../../mod.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { login, serverOptions } from "../_support/joined.ts";
import { inTime, until } from "../_support/until.ts";

/** A proxy on loopback that does with each connection what the test says; it tells when the other side has gone. */
function fakeProxy(answer: (conn: Deno.TcpConn) => Promise<unknown>) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }), served: Promise<void>[] = [];
  const running = (async () => {
    for await (const conn of listener) {
      served.push((async () => {
        await answer(conn).catch(() => {});
        // Until the client has closed: a connection that it left open would hang the test.
        const rest = new Uint8Array(4096);
        while (await conn.read(rest).catch(() => null) !== null);
        try {
          conn.close();
        } catch {
          // Its streams have closed it.
        }
      })());
    }
  })();
  return {
    port: listener.addr.port,
    get count() {
      return served.length;
    },
    async [Symbol.asyncDispose]() {
      listener.close();
      await running;
      await inTime(Promise.all(served), "the end of each connection to the proxy");
    },
  };
}

const bytes = (...parts: (number | string)[]) =>
  Uint8Array.from(parts.flatMap((part) => typeof part === "number" ? [part] : [...new TextEncoder().encode(part)]));

async function read(conn: Deno.TcpConn, length: number): Promise<Uint8Array> {
  const all = new Uint8Array(length);
  for (let at = 0; at < length;) at += await conn.read(all.subarray(at)) ?? length;
  return all;
}

const through = (proxy: string, more: Partial<ConnectOptions> = {}): Promise<unknown> =>
  connect({ hostname: "target.invalid", port: 2222, ...login, proxy, ...more });

/** Whatever of an error a program could show. */
function shown(error: unknown): string {
  return `${Deno.inspect(error)} ${error instanceof Error ? error.stack : ""} ${
    error instanceof Error && error.cause !== undefined ? shown(error.cause) : ""
  }`;
}

Deno.test("connect() goes through a SOCKS5 and an HTTP proxy, which look up the name, and closes the socket with the client", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0, onListen: () => {}, ...await serverOptions() });
  const asked: string[] = [];
  const forward = async (conn: Deno.TcpConn) => {
    const far = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
    await Promise.all([conn.readable.pipeTo(far.writable), far.readable.pipeTo(conn.writable)]);
  };
  await using socks = fakeProxy(async (conn) => {
    await read(conn, 4);
    await conn.write(bytes(5, 2));
    const login = await read(conn, 15);
    await conn.write(bytes(1, 0));
    const target = await read(conn, 5 + 14 + 2);
    asked.push(new TextDecoder().decode(login.subarray(2)), new TextDecoder().decode(target.subarray(5, 19)));
    await conn.write(bytes(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
    await forward(conn);
  });
  await using http = fakeProxy(async (conn) => {
    let head = "";
    while (!head.endsWith("\r\n\r\n")) head += new TextDecoder().decode(await read(conn, 1));
    asked.push(head);
    await conn.write(bytes("HTTP/1.1 200 OK\r\n\r\n"));
    await forward(conn);
  });
  for (const proxy of [`socks5://alice:hunter2@127.0.0.1:${socks.port}`, new URL(`http://127.0.0.1:${http.port}`)]) {
    await using client = await connect({ hostname: "target.invalid", port: 2222, ...login, proxy });
    assertEquals((await client.exec("exit 4")).code, 4);
  }
  assertEquals(asked[0]!.replace("\x07", " "), "alice hunter2");
  assertEquals(asked[1], "target.invalid");
  assert(asked[2]!.startsWith("CONNECT target.invalid:2222 HTTP/1.1\r\n"), asked[2]);
});

Deno.test("a proxy that is none, or refuses, is told in the error, without its password, and the socket is closed", async () => {
  const page = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<html>hunter2</html>";
  const cases: [scheme: string, login: string, answer: Uint8Array, text: string][] = [
    ["http", "alice:hunter2@", bytes(page), 'the proxy refused: it answered "403 Forbidden"'],
    ["http", "alice:hunter2@", bytes("HTTP/1.1 407 hunter2 YWxpY2U6aHVudGVyMg==\r\n\r\n"), "refused the login"],
    ["http", "", bytes("HTTP/1.1 407 Login\r\n\r\n"), "the proxy wants a login"],
    ["http", "", bytes("SSH-2.0-OpenSSH_9.2\r\n"), "no HTTP proxy"],
    ["socks5", "alice:hunter2@", bytes(page), "is it `http://`?"],
    ["socks5", "alice:hunter2@", bytes(5, 2, 1, 1), "the proxy refused the login"],
    ["socks5", "", bytes(5, 0xff), "the proxy wants a login"],
    ["socks5", "", bytes(5, 0, 5, 5), "connection refused"],
    ["socks5", "", bytes(0, 0, 0, 0), "no SOCKS5 proxy"],
    ["socks4a", "alice@", bytes(0, 91, 0, 0, 0, 0, 0, 0), "rejected or failed"],
  ];
  for (const [scheme, login, answer, text] of cases) {
    await using proxy = fakeProxy((conn) => conn.write(answer));
    const events: unknown[] = [];
    const url = `${scheme}://${login}127.0.0.1:${proxy.port}`;
    const error = await inTime(
      assertRejects(() => through(url, { trace: (event) => events.push(event) }), SshError),
      text,
    );
    assertEquals(error.code, "CONNECTION_LOST");
    assert(
      error.message.startsWith(
        `Cannot connect to "target.invalid" port 2222 through the proxy "127.0.0.1" port ${proxy.port}: `,
      ),
      error.message,
    );
    assert(error.message.includes(text), error.message);
    assert(!/hunter2|YWxpY2U6aHVudGVyMg/.test(shown(error) + Deno.inspect(events)), shown(error));
  }
});

Deno.test("a proxy that says nothing, or not enough, ends with the time for dialling, the login's, or the signal", async () => {
  for (const answer of [bytes(), bytes(5), bytes(5, 0, 5, 0, 0, 3, 200)]) {
    await using proxy = fakeProxy((conn) => conn.write(answer));
    const url = `socks5://alice:hunter2@127.0.0.1:${proxy.port}`;
    const slow = await inTime(assertRejects(() => through(url, { handshakeTimeout: 100 }), SshError), "the error");
    assert(slow.message.endsWith(`"127.0.0.1" port ${proxy.port}: no answer within 100 ms`), slow.message);
    const late = await inTime(assertRejects(() => through(url, { loginTimeout: 100 }), SshError), "the error");
    assertEquals(
      late.message,
      'Login at "target.invalid" port 2222 took longer than 100 ms: it still waited for the connection',
    );
    const counted = countedSignal(), reason = new Error("enough");
    const connecting = through(url, { signal: counted.signal }).then(() => null, (error) => error);
    await until(() => proxy.count >= 3, "the third connection");
    counted.abort(reason);
    assertStrictEquals(await inTime(connecting, "the end"), reason);
    assertEquals(counted.listeners, 0);
  }
});

Deno.test("a proxy that takes nothing does not hold up the end", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  // It is never accepted, and never read.
  const url = `http://alice:${"x".repeat(4000)}@127.0.0.1:${listener.addr.port}`;
  const error = await inTime(assertRejects(() => through(url, { loginTimeout: 200 }), SshError), "the end");
  assertInstanceOf(error.cause, DOMException);
  assertEquals(error.cause.name, "TimeoutError");
  listener.close();
});

Deno.test("streams that do not let go hold up no error", async () => {
  const never = () => new Promise<never>(() => {});
  const stuck = () => ({
    readable: new ReadableStream<Uint8Array>({ cancel: never }),
    writable: new WritableStream<Uint8Array>({ write: never, close: never, abort: never }),
  });
  const options = { hostname: "target.invalid", ...login };
  const wrong = connect({ ...options, port: 0, transport: stuck() });
  await inTime(assertRejects(() => wrong, RangeError), "the error");
  const reason = new Error("enough"), signal = AbortSignal.abort(reason);
  const jump = { ...options, transport: stuck() };
  const aborted = connect({ ...options, jump, signal }).then(() => null, (error) => error);
  assertStrictEquals(await inTime(aborted, "the end"), reason);
  const late = connect({ ...options, jump: { ...options, transport: stuck() }, loginTimeout: 100 });
  await inTime(assertRejects(() => late, SshError, "took longer than 100 ms"), "the end");
});

Deno.test("a proxy that cannot be reached is named, and hosts that it cannot be asked for are refused before", async () => {
  const gone = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = gone.addr;
  gone.close();
  const error = await assertRejects(() => through(`socks5://a:hunter2@127.0.0.1:${port}`), SshError);
  assert(error.message.startsWith(`Cannot connect to the proxy "127.0.0.1" port ${port}: `), error.message);
  assert(!shown(error).includes("hunter2"));
  await using proxy = fakeProxy(() => Promise.resolve());
  for (
    const [url, hostname] of [[`socks5://127.0.0.1:${proxy.port}`, "x".repeat(256)], [
      `socks4a://127.0.0.1:${proxy.port}`,
      "[::1]",
    ]] as const
  ) await assertRejects(() => through(url, { hostname }), TypeError, "Cannot connect through a SOCKS proxy");
  assertEquals(proxy.count, 0);
});

Deno.test("the environment's proxy is used only where `proxy` says so", async () => {
  const names = ["all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"];
  const before = names.map((name) => [name, Deno.env.get(name)] as const);
  await using server = serve({ hostname: "127.0.0.1", port: 0, onListen: () => {}, ...await serverOptions() });
  await using proxy = fakeProxy((conn) => conn.write(bytes("HTTP/1.1 502 Bad Gateway\r\n\r\n")));
  const options = { hostname: "127.0.0.1", port: server.addr.port, ...login };
  try {
    for (const name of names) Deno.env.delete(name);
    await (await connect({ ...options, proxy: "environment" })).close();
    Deno.env.set("ALL_PROXY", `http://alice:hunter2@127.0.0.1:${proxy.port}`);
    await (await connect(options)).close();
    assertEquals(proxy.count, 0);
    await assertRejects(() => connect({ ...options, proxy: "environment" }), SshError, "502 Bad Gateway");
    assertEquals(proxy.count, 1);
    Deno.env.set("NO_PROXY", "example.org,127.0.0.1");
    await (await connect({ ...options, proxy: "environment" })).close();
    Deno.env.set("all_proxy", "ftp://alice:hunter2@host");
    Deno.env.delete("NO_PROXY");
    const wrong = await assertRejects(() => connect({ ...options, proxy: "environment" }), TypeError, "`all_proxy`");
    assert(!shown(wrong).includes("hunter2"));
  } finally {
    for (const [name, value] of before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
  }
});

Deno.test("a dialled socket has TCP keepalive on, and Nagle's algorithm off", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0, onListen: () => {}, ...await serverOptions() });
  const dial = Deno.connect, set: [string, boolean | undefined][] = [];
  const spying = async (options: Deno.ConnectOptions) => {
    const conn = await dial(options), { setKeepAlive, setNoDelay } = conn;
    conn.setKeepAlive = (on) => (set.push(["keepalive", on]), setKeepAlive.call(conn, on));
    conn.setNoDelay = (on) => (set.push(["no delay", on]), setNoDelay.call(conn, on));
    return conn;
  };
  Object.assign(Deno, { connect: spying });
  try {
    await (await connect({ hostname: "127.0.0.1", port: server.addr.port, ...login })).close();
  } finally {
    Object.assign(Deno, { connect: dial });
  }
  assertEquals(Object.fromEntries(set), { keepalive: true, "no delay": true });
});
