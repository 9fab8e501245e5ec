// deno-lint-ignore-file no-console -- errors of handlers are printed
/** `testPair()`, as the tests of applications use it: without permissions, and with all sanitizers on. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import {
  connect,
  generateKey,
  memoryFiles,
  password,
  scpHandler,
  type ServerSession,
  sftpSubsystem,
  SshAuthError,
  SshError,
  testPair,
  type TestPairOptions,
} from "../../mod.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { seededBytes } from "../_support/duplex.ts";
import { until } from "../_support/until.ts";

/** A test of which nothing may need a permission. */
function plain(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, permissions: "none", sanitizeExit: true, fn });
}

async function say(session: ServerSession, text: string): Promise<void> {
  await new Response(text).body!.pipeTo(session.stdout);
}

/** A server that says who asks for what, and copies what it is sent for `cat`. */
async function parrot(session: ServerSession): Promise<number> {
  if (session.command === "cat") await session.stdin.pipeTo(session.stdout);
  else await say(session, `${session.user.name}: ${session.command ?? "shell"}`);
  return 7;
}

/** A handler that only its session's end ends. */
async function hang({ signal }: ServerSession): Promise<void> {
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
}

plain("testPair() is a client and a server that talk, with nothing but a handler to write", async () => {
  await using pair = await testPair({ handler: parrot });
  const output = await pair.client.exec("uname -a");
  assertEquals([output.code, output.text()], [7, "test: uname -a"]);
  const data = seededBytes(1_000_000);
  assertEquals((await pair.client.exec("cat", { stdin: data })).stdout, data);
  await using shell = await pair.client.shell();
  assertEquals(await new Response(shell.stdout).text(), "test: shell");
  // Keys were exchanged, as over any network.
  assertEquals(pair.client.info.strictKex, true);
  await pair.client.rekey();
});

plain(
  "testPair() without options has a server that lets `test` in, and refuses what it has no handler for",
  async () => {
    await using pair = await testPair();
    const error = await assertRejects(() => pair.client.exec("x"), SshError);
    assertEquals(error.code, "REQUEST_DENIED");
    await testPair({}).then((pair) => pair.close());
  },
);

plain(
  "testPair() shows a handler what a server does: terminal, environment, signals, where a client comes from",
  async () => {
    const seen: unknown[] = [];
    await using pair = await testPair({
      async handler(session) {
        const { pty, env, info } = session;
        seen.push(pty?.columns, env.LANG, info.username, info.remoteAddr);
        for await (const signal of session.signals) {
          seen.push(signal);
          break;
        }
      },
    });
    await using process = await pair.client.spawn("x", { pty: { columns: 99 }, env: { LANG: "C" }, stdin: "null" });
    await process.kill("HUP");
    await process.status;
    const remoteAddr = { transport: "tcp", hostname: "127.0.0.1", port: 49_152 };
    assertEquals(seen, [99, "C", "test", remoteAddr, "HUP"]);
  },
);

plain("testPair() takes what serve() takes: files, SCP, forwards, limits, logins", async () => {
  const files = memoryFiles({ "/motd": "hello" });
  const key = await generateKey();
  await using pair = await testPair({
    handler: scpHandler(files),
    subsystems: { sftp: sftpSubsystem(files) },
    allowForward: (_, request) => request.kind === "direct" && request.port === 80,
    onForward: async (_, { conn }) => {
      await conn.readable.pipeTo(conn.writable);
    },
    auth: { password: ({ username }, text) => username === "alice" && text === "wonderland" },
    hostKeys: [key],
    maxSessions: 1,
    client: { username: "alice", auth: [password("wonderland")], requireAuth: true },
  });
  assertEquals(pair.client.info.hostKey.blob, key.publicKey.blob);
  {
    await using sftp = await pair.client.sftp();
    assertEquals(await sftp.readTextFile("/motd"), "hello");
    const error = await assertRejects(() => pair.client.sftp(), SshError);
    assertEquals(error.code, "CHANNEL_OPEN_FAILED");
  }
  using conn = await pair.client.dial({ hostname: "anywhere", port: 80 });
  const writer = conn.writable.getWriter();
  await writer.write(new TextEncoder().encode("echo"));
  await writer.close();
  assertEquals(await new Response(conn.readable).text(), "echo");
  await assertRejects(() => pair.client.dial({ hostname: "anywhere", port: 81 }), SshError);
});

plain("testPair() has any number of clients of one server, each with its user", async () => {
  await using pair = await testPair({
    handler: parrot,
    auth: { none: ({ username }) => username !== "mallory" },
    client: { username: "alice", ident: undefined },
  });
  const bob = await pair.connect({ username: "bob", auth: undefined });
  const texts = [pair.client, bob, await pair.connect()].map(async (client) => (await client.exec("x")).text());
  assertEquals(await Promise.all(texts), ["alice: x", "bob: x", "alice: x"]);
  await assertRejects(() => pair.connect({ username: "mallory" }), SshAuthError);
  await bob.close();
  assertEquals((await pair.client.exec("y")).text(), "alice: y");
});

/** What the console is told meanwhile. */
async function printed(act: () => Promise<void>): Promise<unknown[]> {
  const lines: unknown[] = [], { error } = console;
  console.error = (...line) => void lines.push(...line);
  try {
    await act();
  } finally {
    console.error = error;
  }
  return lines;
}

plain(
  "a test does not pass where a handler of its testPair() threw: the end of the pair rejects with the error",
  async () => {
    const bug = new Error("my bug");
    const lines = await printed(async () => {
      const error = await assertRejects(async () => {
        await using pair = await testPair({
          handler() {
            throw bug;
          },
        });
        assertEquals((await pair.client.exec("x")).code, 1);
      });
      assertStrictEquals(error, bug);
    });
    assertEquals(lines, [bug]);
  },
);

plain("testPair() tells of all that handlers of any kind threw, once", async () => {
  const errors = ["session", "subsystem", "forward", "login"].map((name) => new Error(name));
  const lines = await printed(async () => {
    const pair = await testPair({
      handler: () => Promise.reject(errors[0]),
      subsystems: { x: () => Promise.reject(errors[1]) },
      allowForward: () => true,
      onForward: () => Promise.reject(errors[2]),
      auth: {
        none: ({ username }) => username === "test",
        password() {
          throw errors[3];
        },
      },
    });
    await pair.client.exec("x");
    await (await pair.client.subsystem("x")).status;
    await pair.client.dial({ hostname: "x", port: 1 }).then((conn) => new Response(conn.readable).text()).catch(
      () => {},
    );
    await assertRejects(() => pair.connect({ username: "alice", auth: [password("x")] }), SshAuthError);
    const error = await assertRejects(() => pair.close(), AggregateError, "4 handlers of the test pair threw");
    assertEquals(error.errors, errors);
    // The `await using` behind it has nothing to add.
    await pair.close();
    await pair[Symbol.asyncDispose]();
  });
  assertEquals(lines.length, 4);
});

plain("testPair() hands errors to onError, and ends without one then", async () => {
  const errors: unknown[] = [];
  const lines = await printed(async () => {
    await using pair = await testPair({
      handler() {
        throw new TypeError("expected");
      },
      onError: (error) => errors.push(error),
    });
    await pair.client.exec("x");
    assertInstanceOf(errors[0], TypeError);
    await pair.cut();
  });
  // As serve() does, it tells of connections that end badly, too.
  assertEquals(errors.length, 2);
  assertEquals((errors[1] as SshError).code, "CONNECTION_LOST");
  assertEquals(lines, []);
});

plain("a cut of testPair() is a lost connection for both sides, and another one can be made", async () => {
  const ends: unknown[] = [];
  let begun = 0;
  await using pair = await testPair({
    async handler(session) {
      if (session.command !== "hang") return await parrot(session);
      begun++;
      await hang(session);
      ends.push(session.signal.reason);
      return 0;
    },
  });
  const { client } = pair, other = await pair.connect();
  const running = client.exec("hang");
  await using left = await other.spawn("hang");
  await until(() => begun === 2, "the handlers did not begin");
  const lost = assertRejects(() => running, SshError);
  await pair.cut(client);
  assertEquals((await lost).code, "CONNECTION_LOST");
  assertEquals((await assertRejects(() => client.closed, SshError)).code, "CONNECTION_LOST");
  assertEquals((await assertRejects(() => client.exec("x"), SshError)).code, "CONNECTION_LOST");
  await until(() => ends.length === 1, "the handler did not hear of it");
  // The other one is as it was, until all are cut.
  assertEquals((await other.exec("x")).text(), "test: x");
  await pair.cut(client);
  await pair.cut();
  await assertRejects(() => left.status, SshError);
  await until(() => ends.length === 2, "the other handler did not hear of it");
  await pair.cut();
  const again = await pair.connect();
  assertEquals((await again.exec("x")).text(), "test: x");
  await using stranger = await testPair();
  await assertRejects(() => pair.cut(stranger.client), TypeError, "none that `connect()` of the test pair gave");
});

plain("testPair() plays a connection that is lost in the middle of an upload, which is then resumed", async () => {
  const files = memoryFiles(), data = seededBytes(2_000_000);
  await using pair = await testPair({ subsystems: { sftp: sftpSubsystem(files) } });
  {
    await using sftp = await pair.client.sftp();
    await using file = await sftp.open("/f", { write: true, create: true });
    let cut: Promise<void> | undefined;
    await assertRejects(async () => {
      for (let at = 0; at < data.length; at += 100_000) {
        await file.writeAt(data.subarray(at, at + 100_000), at);
        if (at === 1_000_000) cut = pair.cut();
      }
    }, SshError);
    await cut;
  }
  const { size } = files.stat("/f");
  assert(size < data.length, `all was there: ${size} bytes`);
  await using client = await pair.connect();
  await using sftp = await client.sftp();
  await using file = await sftp.open("/f", { write: true });
  await file.writeAt(data.subarray(size), size);
  assertEquals(files.read("/f"), data);
});

plain("testPair() gives the options of a connection to an application that connects by itself", async () => {
  await using pair = await testPair({ handler: parrot, client: { username: "alice" } });
  {
    await using client = await connect(pair.options({ username: "bob" }));
    assertEquals((await client.exec("x")).text(), "bob: x");
  }
  // One call, one connection.
  const options = pair.options();
  await using client = await connect(options);
  await assertRejects(() => connect(options), TypeError, "locked");
  assertEquals((await client.exec("x")).text(), "alice: x");
  await pair.cut();
  await assertRejects(() => client.closed, SshError);
});

plain("the end of a testPair() ends what the application left open, and options that nobody used", async () => {
  const pair = await testPair({ handler: hang });
  pair.options();
  const own = await connect(pair.options()), other = await pair.connect();
  const running = own.exec("x").then(() => null, (error) => error);
  await pair.close();
  assertInstanceOf(await running, SshError);
  // The server has said goodbye.
  await own.closed;
  await other.closed;
  await assertRejects(() => pair.connect(), TypeError, "the test pair has ended");
  assertEquals(
    (await assertRejects(async () => await pair.options(), TypeError)).message,
    "Cannot connect: the test pair has ended",
  );
  await pair.cut();
});

plain("the end of a testPair() waits for handlers", async () => {
  let begun = false, ended = false;
  const pair = await testPair({
    async handler(session) {
      begun = true;
      await hang(session);
      // It has something to put away.
      for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 0));
      ended = true;
    },
  });
  const running = pair.client.exec("x").catch((error) => error);
  await until(() => begun, "the handler did not begin");
  await pair.close();
  assertEquals(ended, true);
  assertInstanceOf(await running, SshError);
});

plain("the end of a testPair() leaves a handler behind that does not end", async () => {
  let begun = false;
  const pair = await testPair({
    handler() {
      begun = true;
      return new Promise<void>(() => {});
    },
  });
  const running = pair.client.exec("x").catch((error) => error);
  await until(() => begun, "the handler did not begin");
  let hasEnded = false;
  using time = new FakeTime();
  const closing = pair.close().then(() => hasEnded = true);
  await until(() => time.delays.includes(1000), "the handler is not waited for");
  assertEquals(hasEnded, false);
  time.tick(1000);
  await closing;
  assertInstanceOf(await running, SshError);
});

plain("testPair() rejects where its first client cannot log in, and leaves nothing behind", async () => {
  await assertRejects(() => testPair({ auth: {} }), SshAuthError);
  await assertRejects(() => testPair({ client: { verifyHostKey: () => false } }), SshError);
  await assertRejects(() => testPair({ client: { signal: AbortSignal.abort(new Error("mine")) } }), Error, "mine");
});

plain("testPair() ends by the server's signal, and a client by its own", async () => {
  const server = new AbortController(), client = new AbortController();
  await using pair = await testPair({ handler: parrot, signal: server.signal });
  const other = await pair.connect({ signal: client.signal });
  client.abort();
  await other.closed.catch(() => {});
  assertEquals((await assertRejects(() => other.exec("x"), SshError)).code, "CLOSED");
  assertEquals((await pair.client.exec("x")).code, 7);
  server.abort();
  await pair.client.closed.catch(() => {});
  await assertRejects(() => pair.client.exec("x"), SshError);
});

plain("testPair() refuses what makes no sense, in words, and leaves nothing behind", async () => {
  const cases: [unknown, typeof TypeError | typeof RangeError, string][] = [
    [null, TypeError, "`options`"],
    [parrot, TypeError, "`options`"],
    [{ handler: "x" }, TypeError, "`handler`"],
    [{ handlr: parrot }, TypeError, "`handler`"],
    [{ hostKeys: [] }, TypeError, "without host keys"],
    [{ hostKeys: "x" }, TypeError, "`hostKeys"],
    [{ auth: () => true }, TypeError, "`auth`"],
    [{ username: "alice" }, TypeError, "`client: { username }`"],
    [{ maxSessions: 0 }, RangeError, "`maxSessions`"],
    [{ client: "alice" }, TypeError, "`client`"],
    [{ client: { user: "alice" } }, TypeError, "`username`"],
    [{ client: { username: "" } }, TypeError, "`username` is empty"],
    [{ client: { handshakeTimeout: -1 } }, RangeError, "`handshakeTimeout`"],
    [{ client: { proxy: "socks5://localhost" } }, TypeError, "two ways"],
  ];
  for (const [options, kind, words] of cases) {
    await assertRejects(() => testPair(options as TestPairOptions), kind as typeof Error, words, words);
  }
  await using pair = await testPair();
  await assertRejects(() => pair.connect("alice" as never), TypeError, "`options`");
  await assertRejects(() => pair.connect({ user: "bob" } as never), TypeError, "`username`");
  await assertRejects(() => pair.connect({ port: 0 }), RangeError, "`port`");
});
