/**
 * Attacks on what a whole server has to give: its accept loop, its files, its memory and its time. Numbers are the rows of the table
 * of attacks. Rows 69, 70, 80 and 83 are held by tests/auth, row 110 by tests/api/serve_test.ts, rows 144 and 145 by
 * tests/load/slow_login_test.ts.
 */
import { assert, assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { connect, type ServerSession, SshAuthError, SshError, type SshServer } from "../../mod.ts";
import { ChannelOpenFailure, ChannelRequest, GlobalRequest } from "../../lib/connection/messages.ts";
import { Disconnect } from "../../lib/transport/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { commands, login, text } from "../_support/joined.ts";
import { endChild } from "../_support/child.ts";
import { sleep } from "../_support/duplex.ts";
import { assertGivenBack, holdings, MemoryWatch, sized } from "../_support/resources.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { plainPacket } from "../_support/attack.ts";
import type { Drip } from "./_drip.ts";
import { client, outcome, startServer } from "../_support/load.ts";
import { openSession, passwordRequest, Served } from "../_support/served.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const connectTo = (server: SshServer) => Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });

async function assertAlive(server: SshServer): Promise<void> {
  await using alive = await client(server);
  assertEquals(text((await alive.exec("echo alive")).stdout), "alive\n");
}

/** Reads until the other side closes; returns what it said. */
async function readToEnd(conn: Deno.TcpConn): Promise<Uint8Array> {
  const parts: Uint8Array[] = [], buffer = new Uint8Array(65_536);
  try {
    for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) parts.push(buffer.slice(0, n));
  } catch {
    // A reset is an end too.
  }
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}

// Row 8.
Deno.test("a server closes at once on what does not speak SSH, and logs nothing of it", async () => {
  const errors: unknown[] = [];
  await using server = await startServer({ onError: (error) => errors.push(error) });
  const hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
  const greetings = [
    utf8("GET /MARKER HTTP/1.1\r\nHost: MARKER\r\n\r\n"),
    utf8("\x1b]0;MARKER\x07\r\n"),
    new Uint8Array(hello),
    new Uint8Array(65_536),
  ];
  for (const greeting of greetings) {
    const conn = await connectTo(server);
    await conn.write(greeting).catch(() => {});
    if (greeting.length === hello.length) await conn.write(utf8("\n"));
    const said = text(await inTime(readToEnd(conn), "The end"));
    assert(said.startsWith("SSH-2.0-") || said === "", said);
    conn.close();
  }
  await assertAlive(server);
  assertEquals(errors.length, greetings.length);
  for (const error of errors) {
    assertInstanceOf(error, SshError);
    // deno-lint-ignore no-control-regex
    assertMatch(error.message, /^[^\x00-\x1f\x7f-\x9f]{10,300}$/);
    assert(!error.message.includes("MARKER"), error.message);
  }
});

// Row 10.
Deno.test("a server closes a client that sends its identification byte by byte, when its time is over", async () => {
  const errors: unknown[] = [];
  await using server = await startServer({ onError: (error) => errors.push(error) });
  {
    using time = new FakeTime();
    const conn = await connectTo(server);
    let open = true;
    const reading = readToEnd(conn).finally(() => open = false);
    const bytes = utf8("SSH-2.0-" + "x".repeat(231));
    await conn.write(bytes.subarray(0, 1));
    await until(() => time.delays.includes(120_000), "No timer for the login");
    // 239 bytes in a little less than the two minutes that a login may take.
    for (const byte of bytes.subarray(1)) {
      await conn.write(new Uint8Array([byte]));
      time.tick(500);
    }
    await turns();
    assert(open, `closed after ${time.now()} ms`);
    time.tick(1000);
    // The server waits a moment for the client to hang up.
    await until(() => (time.tick(100), !open), "It stays open");
    await reading;
    conn.close();
  }
  await assertAlive(server);
  assertInstanceOf(errors[0], SshAuthError);
});

// Rows 10 and 17: the same as fast as it goes, in a message that is never whole and in small ones without end.
Deno.test("a server closes a client that sends byte by byte and as fast as it can, when its time is over", async () => {
  const large = plainPacket(262_140, 4, new Uint8Array(0));
  const small = plainPacket(12, 6, new Uint8Array([Msg.IGNORE, 0, 0, 0, 0, ...new Uint8Array(6)]));
  for (const [again, most] of [[large, 200_000], [small, Infinity]] as const) {
    const errors: unknown[] = [];
    const ended = Promise.withResolvers<void>();
    await using server = await startServer({
      loginTimeout: 750,
      onError: (error) => {
        errors.push(error);
        ended.resolve();
      },
    });
    const worker = new Worker(new URL("./_drip.ts", import.meta.url), { type: "module" });
    const written = new Promise<number>((resolve) => worker.onmessage = ({ data }) => resolve(data));
    const drip: Drip = { port: server.addr.port, head: utf8("SSH-2.0-drip\r\n"), again, most };
    worker.postMessage(drip);
    await inTime(ended.promise, "The end");
    assert(await inTime(written, "The end of the connection") > 500);
    worker.terminate();
    assertInstanceOf(errors[0], SshAuthError);
  }
});

// Row 11.
Deno.test("a server lives through thousands of connections that are reset or closed at once, and keeps none", async () => {
  await using server = await startServer();
  await assertAlive(server);
  const before = await holdings();
  const COUNT = sized(1000, 10_000), AT_ONCE = 50;
  for (let i = 0; i < COUNT; i += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, async (_, k) => {
      const conn = await connectTo(server);
      if (k % 4 === 1) await conn.closeWrite().catch(() => {});
      // Closing with the server's identification unread is a reset.
      if (k % 4 === 2) await sleep(3);
      if (k % 4 === 3) await conn.write(new Uint8Array(100)).catch(() => {});
      conn.close();
    }));
    if (i % 500 === 0) await assertAlive(server);
  }
  await assertAlive(server);
  await assertGivenBack(before);
});

// Row 11, EMFILE.
Deno.test({
  name: "a server that has run out of files serves who is there, and accepts again when it has some",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const script = new URL("../_support/limited_server.ts", import.meta.url).pathname;
    const child = new Deno.Command("/bin/sh", {
      args: ["-c", 'ulimit -n 60; exec "$@" 2>&1', "sh", Deno.execPath(), "run", "-A", "--no-check", "--quiet", script],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    let printed = "", ended = false;
    const reading = (async () => {
      for await (const chunk of child.stdout) printed += text(chunk);
      ended = true;
    })();
    const printsSoon = async (pattern: RegExp) => {
      await until(() => ended || pattern.test(printed), `The server does not print ${pattern}`);
      const found = pattern.exec(printed);
      assert(found !== null, `The server ended: ${printed}`);
      return found;
    };
    try {
      const port = Number((await printsSoon(/port (\d+)\n/))[1]);
      const address = { hostname: "127.0.0.1", port };
      const first = await connect({ ...address, ...login });
      const flood = await Promise.all(Array.from({ length: 100 }, () => Deno.connect(address)));
      await printsSoon(/Too many open files|os error 24/);
      assertEquals(text((await first.exec("x")).stdout), "alive\n");
      for (const conn of flood) conn.close();
      const second = await inTime(connect({ ...address, ...login }), "A connection after the flood");
      assertEquals(text((await second.exec("x")).stdout), "alive\n");
      assertEquals(text((await first.exec("x")).stdout), "alive\n");
      await first.close();
      await second.close();
    } catch (cause) {
      throw new Error(`${cause}; the server printed: ${printed}`, { cause });
    } finally {
      await endChild(child);
      await reading;
    }
  },
});

// Row 82.
Deno.test("a login whose handler never ends is closed when its time is over, and what it says later counts for nothing", async () => {
  const answer = Promise.withResolvers<boolean>();
  let sessions = 0;
  using time = new FakeTime();
  const asked = Promise.withResolvers<void>();
  const served = await Served.accepted({
    auth: { password: () => (asked.resolve(), answer.promise) },
    handler: () => void sessions++,
  });
  const { peer } = served;
  await peer.send(passwordRequest("wonderland"));
  await asked.promise;
  time.tick(119_999);
  await turns();
  assertEquals(await Promise.race([served.ended, "open"]), "open");
  time.tick(1);
  assertEquals((await inTime(peer.receiveType(Msg.DISCONNECT), "DISCONNECT"))[4], 14);
  await peer.close();
  assertInstanceOf(await inTime(served.ended, "The end"), SshAuthError);
  answer.resolve(true);
  await turns();
  assertEquals(peer.received.filter(([type]) => type === Msg.USERAUTH_SUCCESS), []);
  assertEquals([sessions, served.errors], [0, []]);
});

// Row 104.
Deno.test("a client that opens channels without end gets ten sessions, and the server's memory stays flat", async () => {
  const served = await Served.loggedIn({ maxSessions: 10 });
  const { peer } = served;
  const answers = async (count: number) => {
    const counts = new Map<string, number>();
    for (let i = 0; i < count; i++) {
      const payload = (await peer.receive())!;
      const reason = payload[0] === Msg.CHANNEL_OPEN_FAILURE ? ChannelOpenFailure.decode(payload).reason : "";
      const key = `${payload[0]} ${reason}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
      peer.received.length = 0;
    }
    return Object.fromEntries(counts);
  };
  await served.sendAll(Array.from({ length: 300 }, (_, i) => openSession(i)));
  assertEquals(await answers(300), { "91 ": 10, "92 4": 290 });
  const watch = await MemoryWatch.start();
  const COUNT = sized(20_000, 1_000_000), AT_ONCE = 1000;
  for (let i = 0; i < COUNT; i += AT_ONCE) {
    const type = i % (2 * AT_ONCE) === 0 ? "session" : "x11";
    const sending = served.sendAll(Array.from({ length: AT_ONCE }, (_, k) => openSession(i + k, type)));
    // Of those that come in one piece some are refused because others are still being decided on.
    const { "92 3": unknown = 0, "92 4": tooMany = 0 } = await answers(AT_ONCE);
    assertEquals(unknown + tooMany, AT_ONCE);
    assert(type === "session" ? unknown === 0 : unknown > 0);
    await sending;
    if (i % 10_000 === 0) watch.look();
  }
  watch.assertUnder(16 * 2 ** 20);
  assertEquals(await served.hangUp().then((error) => (error as SshError).code), "CONNECTION_LOST");
});

// Row 106.
Deno.test("a client that asks without end and never reads is cut off while the answers are few", async () => {
  for (const channel of [false, true]) {
    let over = false;
    const served = await Served.loggedIn({ trace: ({ event }) => over ||= event === "ended" });
    const name = "nobody@example.org", data = new Uint8Array(0);
    const ask = channel
      ? ChannelRequest.encode({ recipient: await served.openSession(), name, wantReply: true, data })
      : GlobalRequest.encode({ name, wantReply: true, data });
    const watch = await MemoryWatch.start();
    served.pair.toClient.stall();
    let sent = 0;
    for (; sent < 100_000 && !over; sent += 1000) {
      await served.sendAll(Array.from({ length: 1000 }, () => ask));
      await sleep(0);
    }
    watch.look();
    assert(over && sent < 40_000, `${sent} requests without an end`);
    const error = await served.ended;
    assertInstanceOf(error, SshError);
    assertEquals(error.code, "PROTOCOL_ERROR");
    watch.assertUnder(32 * 2 ** 20);
    served.pair.reset();
    await served.peer.close();
  }
});

// Row 109.
Deno.test("a session takes one command, sound requests, and no more of them than fit", async () => {
  const sessions: ServerSession[] = [];
  const served = await Served.loggedIn({
    handler: async (session) => {
      sessions.push(session);
      await new Promise((resolve) => session.signal.addEventListener("abort", resolve));
    },
    subsystems: { sub: () => {} },
  }, { highWaterMark: 4 * 2 ** 20 });
  const string = (value: string) => new Writer().text(value).bytes();
  const env = (name: string, value: string) => new Writer().text(name).text(value).bytes();
  const pty = (modes: Uint8Array, term = "xterm") =>
    new Writer().text(term).u32(80).u32(24).u32(0).u32(0).string(modes).bytes();
  const size = new Writer().u32(0xffff_ffff).u32(0xffff_ffff).u32(0).u32(0).bytes();
  const id = await served.openSession();
  const ask = (name: string, data?: Uint8Array) => served.request(id, name, data);

  // Before the start: modes that are cut short, 10,000 variables, and what is too long.
  assertEquals(await ask("pty-req", pty(new Uint8Array([53, 0, 0]))), false);
  assertEquals(await ask("pty-req", pty(new Uint8Array(1_003).fill(1))), false);
  assertEquals(await ask("pty-req", pty(new Uint8Array(20_000).fill(1))), false);
  assertEquals(await ask("pty-req", pty(new Uint8Array(0), "x".repeat(70_000))), false);
  assertEquals(await ask("window-change", size), false, "there is no terminal");
  assertEquals(await ask("pty-req", pty(new Uint8Array([0]))), true);
  assertEquals(await ask("pty-req", pty(new Uint8Array([0]))), false, "a second terminal");
  assertEquals(await ask("window-change", size), true);
  assertEquals(await ask("window-change", size.subarray(0, 15)), false);
  let granted = 0;
  for (let i = 0; i < 10_000; i++) if (await ask("env", env(`N${i}`, "x".repeat(20)))) granted++;
  assertEquals(granted, 128);
  assertEquals(await ask("env", env("N0", "x".repeat(33_000))), false);
  assertEquals(await ask("env", env("A=B", "x")), false);
  assertEquals(await ask("env", env("N0", "a\0b")), false);
  assertEquals(await ask("env", env("__proto__", "x")), false);
  assertEquals(await ask("signal", string("TERM")), false, "nothing runs");
  assertEquals(await ask("exec", string("x".repeat(256 * 1024 - 100)).subarray(0, 200_000)), false, "cut short");
  assertEquals(await ask("exec", string("a\0b")), false);
  assertEquals(await ask("subsystem", string("constructor")), false);
  assertEquals(await ask("subsystem", string("x".repeat(5000))), false);
  assertEquals(sessions.length, 0);

  // One command, however long, and nothing after it.
  const command = "x".repeat(250_000);
  assertEquals(await ask("exec", string(command)), true);
  for (const [name, data] of [["exec", string("y")], ["shell", undefined], ["subsystem", string("sub")]] as const) {
    assertEquals(await ask(name, data), false, name);
  }
  assertEquals(await ask("env", env("LATE", "x")), false);
  for (const name of ["../", "", "x".repeat(65), "TE RM", "\x1b", "-9"]) {
    assertEquals(await ask("signal", string(name)), false, name);
  }
  assertEquals(await ask("signal", string("USR1")), true);
  assertEquals(await ask("window-change", size), true);
  assertEquals(sessions.length, 1);
  const [session] = sessions;
  assertEquals(session!.command, command);
  assertEquals(Object.keys(session!.env).length, 128);
  assertEquals(session!.pty!.columns, 0xffff_ffff);

  // A command in one packet is 256 KiB at most: the packet is.
  const other = await served.openSession(1);
  assertEquals(await served.request(other, "shell"), true);
  assertEquals(served.errors, []);
  await served.hangUp();
});

// Row 146.
Deno.test("nothing that a client does, and no way to end, makes a rejection that nobody handles", async () => {
  let unhandled = 0;
  const count = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    unhandled++;
  };
  globalThis.addEventListener("unhandledrejection", count);
  try {
    // That the listener hears anything at all. In a turn of its own: what is rejected while the runner calls a test, before the
    // first `await`, may be the runner's to tell.
    setTimeout(() => void Promise.reject(new Error("on purpose")), 0);
    await until(() => unhandled > 0, "The listener heard nothing");
    assertEquals(unhandled, 1);
    unhandled = 0;

    const hostile: readonly Uint8Array[] = [
      Disconnect.encode({ reason: 2, description: "x", language: "" }),
      new Uint8Array([Msg.USERAUTH_SUCCESS]),
      new Uint8Array([Msg.KEXINIT, 1, 2, 3]),
      new Uint8Array([Msg.NEWKEYS]),
      new Uint8Array([Msg.EXT_INFO, 0xff, 0xff, 0xff, 0xff]),
      new Uint8Array([0]),
      new Uint8Array([Msg.CHANNEL_DATA, 0, 0, 0, 9]),
      new Uint8Array([Msg.CHANNEL_CLOSE, 0, 0, 0, 0]),
      new Uint8Array([Msg.CHANNEL_OPEN, 0]),
      passwordRequest("wrong", "bob"),
      openSession(0),
    ];
    const handler = (session: ServerSession) => {
      // Promises of the session that the handler never looks at again.
      void session.stdin.getReader().closed.catch(() => {});
      void session.stdout.getWriter().write(new Uint8Array(5_000_000)).catch(() => {});
      return commands(session);
    };
    const run = new Writer().text("hang").bytes();
    const stages: Record<string, () => Promise<Served>> = {
      connected: () => Served.connected({ handler }),
      accepted: () => Served.accepted({ handler }),
      asked: async () => {
        const served = await Served.accepted({ auth: { password: () => new Promise(() => {}) } });
        await served.peer.send(passwordRequest("wonderland"));
        return served;
      },
      loggedIn: () => Served.loggedIn({ handler }),
      running: async () => {
        const served = await Served.loggedIn({ handler });
        await served.request(await served.openSession(), "exec", run);
        return served;
      },
      rekeying: async () => {
        const served = await Served.loggedIn({ handler });
        await served.peer.send(await served.peer.kexInit());
        return served;
      },
    };
    const ends: Record<string, (served: Served) => unknown> = {
      "hanging up": (served) => served.peer.close(),
      "a reset": (served) => served.pair.reset(),
      "a stall and a reset": async (served) => {
        served.pair.toClient.stall();
        await served.peer.send(new Uint8Array([18])).catch(() => {});
        served.pair.reset();
      },
      "bytes that are no packet": (served) => served.peer.sendRaw(new Uint8Array(300_000).fill(0xab)).catch(() => {}),
    };
    for (const [stage, start] of Object.entries(stages)) {
      const attacks = [
        ...Object.entries(ends),
        ...hostile.map((message) =>
          [
            `message ${message[0]}`,
            (served: Served) => served.peer.send(message).catch(() => {}),
          ] as const
        ),
      ];
      for (const [name, attack] of attacks) {
        const served = await start();
        await attack(served);
        await sleep(1);
        await served.peer.close();
        const end = await outcome(served.ended);
        assertEquals(end, "resolved", `${name}, ${stage}`);
      }
    }
    await sleep(50);
    assertEquals(unhandled, 0);
  } finally {
    globalThis.removeEventListener("unhandledrejection", count);
  }
});
