/** Numbers and sizes that a program or a peer gives: an error where they were given, or a cut, and the connection lives on. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { Channel } from "../../lib/api/transport/channel.ts";
import { serve, serveConn } from "../../lib/api/server.ts";
import { Transport } from "../../lib/api/transport/transport.ts";
import { keyboardInteractive, password } from "../../lib/auth/methods.ts";
import { ChannelOpenError } from "../../lib/errors.ts";
import type { SessionHandler } from "../../lib/session/server_session.ts";
import { memoryPair } from "../_support/duplex.ts";
import { hostKey, join, serverOptions, text } from "../_support/joined.ts";

/** The longest text that fits nowhere. */
const LONG = "x".repeat(261_121);
/** Numbers that no uint32 is. */
const NUMBERS = [1.5, NaN, -1, 2 ** 32, Infinity];

Deno.test("session.exit() and a handler's result take unsigned 32-bit integers, and nothing else", async () => {
  let result = 0;
  const thrown: unknown[] = [];
  await using joined = await join({
    handler: (session) => {
      if (session.command === "return") return result;
      try {
        void session.exit(result);
        return 7;
      } catch (error) {
        thrown.push(error);
        throw error;
      }
    },
  });
  for (result of NUMBERS) {
    for (const command of ["return", "exit"]) {
      // The status of a handler that has failed.
      assertEquals((await joined.client.exec(command)).code, 1, `${result}`);
      assertInstanceOf(joined.errors.pop(), RangeError);
    }
    assertInstanceOf(thrown.pop(), RangeError);
  }
  for (result of [0, 1, 255, 2 ** 32 - 1]) {
    assertEquals((await joined.client.exec("return")).code, result);
    assertEquals((await joined.client.exec("exit")).code, result);
  }
  assertEquals(joined.errors, []);
});

Deno.test("resize(), sendBreak() and a terminal's size take unsigned 32-bit integers, and nothing else", async () => {
  await using joined = await join();
  await using process = await joined.client.spawn("hang", { pty: true });
  for (const wrong of NUMBERS) {
    for (const name of ["columns", "rows", "width", "height"]) {
      const size = { columns: 80, rows: 24, [name]: wrong };
      assertThrows(() => process.resize(size), RangeError, "uint32", `${name} ${wrong}`);
      await assertRejects(() => joined.client.exec("exit 0", { pty: size }), RangeError, "uint32");
    }
    await assertRejects(() => process.sendBreak(wrong), RangeError, "uint32");
    await assertRejects(() => joined.client.exec("exit 0", { pty: { modes: { VINTR: wrong } } }), RangeError);
  }
  process.resize({ columns: 1, rows: 2 ** 32 - 1 });
  assertEquals(await process.sendBreak(2 ** 32 - 1), false);
});

/** Two ends, logged in; the server accepts every channel. */
async function transports(make: (id: number) => Channel = (id) => new Channel(id)) {
  const pair = memoryPair(), server = new Transport(pair.server), client = new Transport(pair.client);
  server.addServerKey(await hostKey());
  await Promise.all([
    server.startServer({ checkAuthNone: () => true, checkChannelRequest: (_kind, id) => make(id) }),
    client.startClient(),
  ]);
  await client.authNone("alice");
  return {
    client,
    server,
    async [Symbol.asyncDispose]() {
      await client.close();
      await server.closed.catch(() => {});
    },
  };
}

Deno.test("Channel takes unsigned 32-bit integers and what fits in a packet, and nothing else", async () => {
  await using both = await transports();
  const [channel, far] = await Promise.all([both.client.openSession(), both.server.accept()]);
  for (const wrong of NUMBERS) {
    assertThrows(() => far!.sendExitStatus(wrong), RangeError, "uint32");
    assertThrows(() => channel.resizePty({ columns: wrong, rows: 1 }), RangeError, "uint32");
    await assertRejects(() => channel.getPty({ rows: wrong }), RangeError, "uint32");
    const dest: Deno.NetAddr = { transport: "tcp", hostname: "h", port: wrong }, origin = { ...dest, port: 1 };
    await assertRejects(() => both.client.openChannel("direct-tcpip", { dest, origin }), RangeError, "port");
  }
  const dest: Deno.NetAddr = { transport: "tcp", hostname: "h", port: 65_536 };
  await assertRejects(() => both.client.openChannel("direct-tcpip", { dest, origin: dest }), RangeError, "port");
  // With something written that waits for window, so that messages wait behind it.
  const writer = channel.writable.getWriter();
  const writing = writer.write(new Uint8Array(3_000_000));
  for (const big of [LONG, LONG.slice(0, 261_110)]) {
    await assertRejects(() => channel.execCommand(big), RangeError, "fit in a packet");
    await assertRejects(() => channel.invokeSubsystem(big), RangeError, "fit in a packet");
    await assertRejects(() => channel.setEnvironmentVariable("A", big), RangeError, "fit in a packet");
    await assertRejects(() => channel.getPty({ term: big }), RangeError, "fit in a packet");
  }
  await assertRejects(() => channel.request("x", new Uint8Array(261_120)), RangeError, "fit in a packet");
  assertThrows(() => channel.notify("x", new Uint8Array(261_120)), RangeError, "fit in a packet");
  await assertRejects(() => channel.request(LONG), RangeError, "fit in a packet");
  await assertRejects(() => both.client.openChannel(LONG), RangeError, "fit in a packet");
  await assertRejects(() => both.client.openChannel("x", { data: new Uint8Array(261_120) }), RangeError);
  await assertRejects(() => both.client.globalRequest("x", new Uint8Array(261_120)), RangeError, "fit in a packet");
  await far!.readable.cancel();
  await writing;
  assertEquals(await both.client.globalRequest("x"), null);
});

Deno.test("exec() and its kin refuse what no packet holds before a channel is opened", async () => {
  await using joined = await join();
  const { client } = joined;
  await assertRejects(() => client.exec(LONG), RangeError, "fit in a packet");
  await assertRejects(() => client.exec("x", { env: { A: LONG } }), RangeError, "fit in a packet");
  await assertRejects(() => client.shell({ pty: { term: LONG } }), RangeError, "fit in a packet");
  await assertRejects(() => client.subsystem(LONG), RangeError, "fit in a packet");
  await assertRejects(() => client.openChannel(LONG), RangeError, "fit in a packet");
  await assertRejects(() => client.request("x", new Uint8Array(261_120)), RangeError, "fit in a packet");
  // Twelve sessions more than may be open: none of those above was.
  for (let i = 0; i < 12; i++) assertEquals((await client.exec("exit 3")).code, 3);
});

Deno.test("a message of exit() that is too long is cut at a whole character", async () => {
  // One and two bytes, three, and four in two UTF-16 units: the cut falls inside each.
  for (const unit of ["x", "é", "€", "😀", "a😀"]) {
    const said: string[] = [];
    const message = unit.repeat(300_000);
    await using joined = await join({
      handler: (session) => void session.exit({ signal: "KILL", message }),
    });
    const channel = await joined.client.openChannel("session");
    channel.onRequest = (name, data) => {
      if (name !== "exit-signal") return false;
      const length = new DataView(data.buffer, data.byteOffset).getUint32(9);
      said.push(new TextDecoder("utf-8", { fatal: true }).decode(data.subarray(13, 13 + length)));
      return true;
    };
    await channel.execCommand("x");
    await channel.closed;
    assertEquals(said.length, 1);
    assert(message.startsWith(said[0]!) && said[0]!.length > 5_000, unit);
    assert(new TextEncoder().encode(said[0]!).length <= 32_000, unit);
    assertEquals(joined.errors, []);
    const { success, code, signal, stdout, stderr } = await joined.client.exec("y");
    assertEquals([success, code, signal, stdout.length, stderr.length], [false, null, "KILL", 0, 0]);
  }
});

Deno.test("Channel.sendExitSignal() cuts its message, and a ChannelOpenError its description", async () => {
  await using both = await transports();
  const [channel, far] = await Promise.all([both.client.openSession(), both.server.accept()]);
  far!.sendExitSignal("KILL", LONG);
  assertEquals((await channel.exitStatus).signal, "KILL");
  await using refusing = await transports(() => {
    throw new ChannelOpenError(`Cannot open: ${LONG}`, 2);
  });
  for (let i = 0; i < 3; i++) {
    const error = await assertRejects(() => refusing.client.openSession(), ChannelOpenError, "Cannot open: xxx");
    assertEquals(error.reason, 2);
  }
});

Deno.test("a banner that no packet holds is refused when it is given", async () => {
  const options = { ...await serverOptions(), banner: LONG };
  assertThrows(() => serve({ hostname: "127.0.0.1", port: 0, ...options }), RangeError, "fit in a packet");
  const pair = memoryPair();
  await assertRejects(() => serveConn(pair.server, options), RangeError, "fit in a packet");
  assertThrows(() => new Transport(pair.server, { banner: LONG }), RangeError, "fit in a packet");
});

Deno.test("questions and prompts of a server that no packet holds are told to the program, and refuse the login", async () => {
  const asked: unknown[] = [];
  await using joined = await join({
    auth: {
      keyboardInteractive: async (_, ask) => {
        for (const round of [[LONG, ""], ["", LONG]] as const) {
          const [prompt, instruction] = round;
          await ask([{ text: prompt, echo: true }], { instruction }).catch((error) => asked.push(error));
        }
        await ask([{ text: "really?", echo: true }]);
        return { partial: ["password"] };
      },
      password: (_, secret) => secret === "old" ? { change: LONG } : true,
      passwordChange: () => true,
    },
  }, { auth: [keyboardInteractive(() => ["yes"]), password("old", { change: () => "new" }), password("right")] });
  assertEquals(asked.length, 2);
  for (const error of asked) assertInstanceOf(error, RangeError);
  assertEquals(joined.errors.length, 1);
  assertInstanceOf(joined.errors[0], RangeError);
  assertEquals(text((await joined.client.exec("echo in")).stdout), "in\n");
});

Deno.test("a session takes 256 KiB of variables, however many they are", async () => {
  const seen: number[] = [];
  const handler: SessionHandler = (session) => {
    seen.push(Object.values(session.env).reduce((sum, value) => sum + value.length, 0));
  };
  await using joined = await join({ handler });
  const env = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`V${i}`, "x".repeat(30_000)]));
  await (await joined.client.shell({ env, stdin: "null" })).output();
  assert(seen[0]! <= 262_144 && seen[0]! > 200_000, `${seen}`);
  await joined.client.exec("x", { env: { A: "b" } });
  assertEquals(seen[1], 1);
});
