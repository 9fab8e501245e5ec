import { assert, assertEquals, assertInstanceOf, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { connect, type ConnectOptions, type SshClient } from "../../lib/api/client.ts";
import { serve, serveConn, type ServeOptions, type SshServer } from "../../lib/api/server.ts";
import { ChannelOpenError, SshDisconnectError, SshError } from "../../lib/errors.ts";
import { password } from "../../mod.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { memoryPair, sleep } from "../_support/duplex.ts";
import { until } from "../_support/until.ts";
import { join, login, serverOptions, text } from "../_support/joined.ts";

/** A server on loopback with limits that many clients of one address do not meet. */
async function listen(extra: Partial<ServeOptions> = {}): Promise<SshServer> {
  return serve({ hostname: "127.0.0.1", port: 0, maxStartupsPerSource: 1000, ...await serverOptions(), ...extra });
}

function dial(server: SshServer, extra: Partial<ConnectOptions> = {}): Promise<SshClient> {
  return connect({ hostname: "127.0.0.1", port: server.addr.port, ...login, ...extra });
}

/** What an idle socket gets until the server closes it. */
async function knock(server: SshServer): Promise<string> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
  return await new Response(conn.readable).text().catch((error) => String(error));
}

/** A socket that the server has taken: it has said who it is. */
async function takenSocket(server: SshServer): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
  assert((await conn.read(new Uint8Array(256)))! > 0);
  return conn;
}

/** A socket that says nothing, once the server has taken it; `end` is when the server has closed it. */
async function idleSocket(server: SshServer): Promise<{ end: Promise<void> }> {
  const conn = await takenSocket(server);
  return { end: conn.readable.pipeTo(new WritableStream()).catch(() => {}) };
}

Deno.test("serve() listens, tells where, and serves commands", async () => {
  const told = Promise.withResolvers<Deno.NetAddr>();
  await using server = await listen({ onListen: told.resolve });
  assertEquals(await told.promise, server.addr);
  assertNotEquals(server.addr.port, 0);
  await using client = await dial(server);
  assertEquals(text((await client.exec("echo hello")).stdout), "hello\n");
});

Deno.test("serve() refuses options that make no sense", async () => {
  const options = { hostname: "127.0.0.1", port: 0, ...await serverOptions() };
  assertThrows(() => serve({ ...options, hostKeys: [] }), TypeError, "generateKey()");
  for (
    const wrong of [{ loginTimeout: 0 }, { maxAuthTries: 0 }, { maxSessions: NaN }, { keepalive: { interval: -1 } }]
  ) {
    assertThrows(() => serve({ ...options, ...wrong }), RangeError);
  }
  assertThrows(() => serve({ ...options, signal: AbortSignal.abort(new Error("no")) }), Error, "no");
});

Deno.test("shutdown() waits for open connections, and drops who has not logged in", async () => {
  const server = await listen();
  const client = await dial(server);
  const idle = await idleSocket(server);
  let stopped = false;
  const shutdown = server.shutdown().then(() => stopped = true);
  await idle.end;
  assertEquals(text((await client.exec("echo still here")).stdout), "still here\n");
  assertEquals(stopped, false);
  await assertRejects(() => dial(server), SshError, "Connection refused");
  await client.close();
  await shutdown;
  await server.finished;
  await server.shutdown();
});

Deno.test("disposing a server and aborting its signal close every connection", async () => {
  for (const how of ["dispose", "signal"] as const) {
    const abort = new AbortController();
    const server = await listen({ signal: abort.signal });
    const clients = [await dial(server), await dial(server)];
    const running = clients.map((client) => client.exec("hang").then(() => "ended", (error) => error.code));
    const idle = await idleSocket(server);
    if (how === "dispose") await server[Symbol.asyncDispose]();
    else abort.abort();
    await server.finished;
    assertEquals(await Promise.all(running), ["DISCONNECTED", "DISCONNECTED"]);
    await Promise.all(clients.map((client) => client.closed));
    await idle.end;
  }
});

Deno.test("unref() lets a program end while its server listens", async () => {
  const program = `
    import { generateKey, serve } from ${JSON.stringify(new URL("../../server.ts", import.meta.url).href)};
    const server = serve({ hostname: "127.0.0.1", port: 0, hostKeys: [await generateKey()], auth: {} });
    server.unref();
    console.log("end");`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", program],
    cwd: new URL("../../", import.meta.url),
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill(), 60_000);
  const { stdout, stderr, signal } = await child.output();
  clearTimeout(timer);
  assertEquals([text(stdout), signal], ["end\n", null], text(stderr));
});

Deno.test("maxStartupsPerSource turns away what comes too often, with a DISCONNECT that says so", async () => {
  await using server = await listen({ maxStartupsPerSource: 3 });
  const idle = await Promise.all([1, 2, 3].map(() => takenSocket(server)));
  assert((await knock(server)).startsWith("Exceeded "));
  const error = await assertRejects(() => dial(server), SshDisconnectError, "Too many connections");
  assertEquals(error.reason, 12);
  for (const conn of idle) conn.close();
  await sleep(1100);
  // Logins do not count, however many come one after the other.
  for (let i = 0; i < 8; i++) await (await dial(server)).close();
});

Deno.test("maxStartups turns away all beyond `full`, whatever their source", async () => {
  await using server = await listen({ maxStartups: { begin: 2, rate: 100, full: 2 } });
  const idle = await Promise.all([1, 2].map(() => takenSocket(server)));
  await assertRejects(() => dial(server), SshDisconnectError, "Too many connections");
  for (const conn of idle) conn.close();
  // The server hears of it in its own time.
  await until(() => dial(server).then((client) => client.close().then(() => true), () => false), "It takes no more");
  await using client = await dial(server);
  await using _other = await dial(server);
  assertEquals(text((await client.exec("echo x")).stdout), "x\n");
});

Deno.test("serve() lives through resets, floods of bytes and endless connects", async () => {
  const errors: unknown[] = [];
  await using server = await listen({ onError: (error) => errors.push(error) });
  const address = { hostname: "127.0.0.1", port: server.addr.port };
  for (let i = 0; i < 100; i++) {
    const conn = await Deno.connect(address);
    // Closing with unread bytes in the buffer resets the connection.
    if (i % 3 === 0) await conn.write(new Uint8Array(70_000));
    if (i % 3 === 1) await conn.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
    if (i % 2 === 0) await sleep(1);
    conn.close();
  }
  await using client = await dial(server);
  assertEquals(text((await client.exec("echo alive")).stdout), "alive\n");
  assert(
    errors.every((error) => error instanceof SshError),
    String(errors.find((error) => !(error instanceof SshError))),
  );
});

Deno.test("serve() serves many clients at once", async () => {
  await using server = await listen({ maxStartups: { begin: 1000, rate: 30, full: 2000 } });
  const outputs = await Promise.all(Array.from({ length: 40 }, async (_, i) => {
    await using client = await dial(server);
    return text((await client.exec(`echo ${i}`)).stdout);
  }));
  assertEquals(outputs, Array.from({ length: 40 }, (_, i) => `${i}\n`));
});

Deno.test("onError is told the address of who had connected: a refused client, a handler that throws, a lost connection", async () => {
  const told: { error: unknown; port: number | undefined }[] = [];
  await using server = await listen({
    maxAuthTries: 1,
    handler: () => {
      throw new Error("of the handler");
    },
    onError: (error, { remoteAddr }) => {
      assertEquals(remoteAddr?.transport === "tcp" && remoteAddr.hostname, "127.0.0.1");
      told.push({ error, port: (remoteAddr as Deno.NetAddr).port });
    },
  });
  const knocking = await takenSocket(server), knocked = (knocking.localAddr as Deno.NetAddr).port;
  await knocking.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n".repeat(40)));
  await until(() => told.length === 1, "It is told of the one who spoke no SSH");
  knocking.close();
  assertEquals(told[0]!.port, knocked);
  await assertRejects(() => dial(server, { auth: [password("wrong")] }));
  await until(() => told.length === 2, "It is told of the refused client");
  assertInstanceOf(told[1]!.error, SshError);
  {
    await using client = await dial(server);
    await client.exec("x");
    assertEquals([(told[2]!.error as Error).message, told.length], ["of the handler", 3]);
    assertNotEquals(told[2]!.port, told[1]!.port);
  }
  let info: unknown;
  const pair = memoryPair();
  const serving = serveConn(pair.server, { ...await serverOptions(), onError: (_error, about) => info = about });
  pair.client.writable.close();
  await serving.catch(() => {});
  if (info !== undefined) assertEquals(info, { remoteAddr: undefined });
});

Deno.test("an error handler that throws does not end the server", async () => {
  await using server = await listen({
    onError: () => {
      throw new Error("the handler of errors failed");
    },
  });
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
  await conn.write(new TextEncoder().encode("hello\r\n"));
  await new Response(conn.readable).text().catch(() => {});
  await using client = await dial(server);
  assertEquals((await client.exec("throw")).code, 1);
});

Deno.test("maxAuthTries ends a connection after so many wrong passwords", async () => {
  const tried: string[] = [];
  await using server = await listen({
    maxAuthTries: 2,
    auth: {
      password: (_info, password) => {
        tried.push(password);
        return false;
      },
    },
  });
  const { password } = await import("../../lib/auth/methods.ts");
  const auth = ["a", "b", "c", "d"].map((word) => password(word));
  await assertRejects(() => dial(server, { auth }), SshError, "Too many authentication failures");
  assertEquals(tried, ["a", "b"]);
});

Deno.test("a server tells its handlers who is there, and shows its banner", async () => {
  const banners: string[] = [], infos: unknown[] = [];
  await using server = await listen({
    banner: "Authorized use only\n",
    auth: {
      password: (info) => {
        infos.push(info.username, (info.remoteAddr as Deno.NetAddr).hostname, info.connection.strictKex);
        return true;
      },
    },
    handler: (session) => void infos.push(session.user),
  });
  await using client = await dial(server, { onBanner: (text) => banners.push(text) });
  await client.exec("x");
  assertEquals(banners, ["Authorized use only\n"]);
  assertEquals(infos, ["alice", "127.0.0.1", true, { name: "alice", method: "password", publicKey: null }]);
});

const tcpip = (host: string, port: number) => new Writer().text(host).u32(port).text("127.0.0.1").u32(1234).bytes();

Deno.test("a server refuses channels that nobody allowed", async () => {
  await using joined = await join();
  const { client } = joined;
  const refused = async (type: string, data?: Uint8Array) => {
    const error = await assertRejects(() => client.openChannel(type, data), ChannelOpenError);
    return error.reason;
  };
  assertEquals(await refused("direct-tcpip", tcpip("127.0.0.1", 22)), 1);
  assertEquals(await refused("direct-tcpip", new Uint8Array(3)), 1);
  assertEquals(await refused("direct-streamlocal@openssh.com"), 1);
  for (const type of ["forwarded-tcpip", "x11", "auth-agent@openssh.com", "nobody@example.org"]) {
    assertEquals(await refused(type), 3, type);
  }
  for (
    const name of ["tcpip-forward", "cancel-tcpip-forward", "streamlocal-forward@openssh.com", "nobody@example.org"]
  ) {
    const data = new Writer().text("0.0.0.0").u32(0).bytes();
    assertEquals((await assertRejects(() => client.request(name, data), SshError)).code, "REQUEST_DENIED");
  }
  assertEquals(text((await client.exec("echo x")).stdout), "x\n");
});

Deno.test("maxSessions and maxChannels bound what is open at a time, and what has ended is free again", async () => {
  await using joined = await join({ maxSessions: 3 });
  const { client } = joined;
  for (let round = 0; round < 3; round++) {
    const open = await Promise.all([1, 2, 3].map(() => client.spawn("hang")));
    const error = await assertRejects(() => client.spawn("hang"), ChannelOpenError);
    assertEquals(error.reason, 4);
    for (const process of open) await process[Symbol.asyncDispose]();
  }
  await using few = await join({ maxSessions: 100, maxChannels: 5 });
  const channels = await Promise.all(Array.from({ length: 5 }, () => few.client.openChannel("session")));
  assertEquals((await assertRejects(() => few.client.openChannel("session"), ChannelOpenError)).reason, 4);
  await channels[0]!.close();
  await using _channel = await few.client.openChannel("session");
});

Deno.test("a session opened after no-more-sessions@openssh.com ends the connection", async () => {
  await using joined = await join();
  const { client } = joined;
  assertEquals(await client.request("no-more-sessions@openssh.com"), new Uint8Array(0));
  await assertRejects(() => client.exec("echo x"), SshError);
  const error = await joined.served;
  assertInstanceOf(error, SshError);
  assertEquals(error.code, "PROTOCOL_ERROR");
});

Deno.test("channels refused by the thousand leave nothing behind", async () => {
  await using joined = await join();
  for (let i = 0; i < 5000; i++) {
    await joined.client.openChannel("x11").catch((error) => assertInstanceOf(error, ChannelOpenError));
  }
  assertEquals(text((await joined.client.exec("echo x")).stdout), "x\n");
});
