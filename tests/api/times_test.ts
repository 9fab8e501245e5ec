// Options that are times, at their bounds, and what their clocks count.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { connect, serve, serveConn, SshError, Transport } from "../../mod.ts";
import { join, login, serverOptions } from "../_support/joined.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { memoryPair } from "../_support/duplex.ts";

/** No time at all for a timer that takes them as they are. */
const endless = [Infinity, 2 ** 31, 2 ** 31 + 1, 2 ** 32, 30 * 86_400_000, Number.MAX_VALUE];
const senseless = [0, -1, NaN, -Infinity];

Deno.test("Times of any length are as long as they say", async () => {
  for (const time of endless) {
    const keepalive = { interval: time };
    await using server = serve({
      ...await serverOptions(),
      hostname: "127.0.0.1",
      port: 0,
      loginTimeout: time,
      rekey: { interval: time },
      keepalive,
    });
    await using client = await connect({
      hostname: "127.0.0.1",
      port: server.addr.port,
      ...login,
      handshakeTimeout: time,
      rekey: { interval: time },
      keepalive,
    });
    // A timer that fires at once has fired by now.
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve, 1));
    assertEquals((await client.exec("exit 4")).code, 4);
  }
});

Deno.test("Times that make no sense are a RangeError, and nothing is opened", async () => {
  for (const time of senseless) {
    const { client, server } = memoryPair();
    const options = await serverOptions();
    assertThrows(() => serve({ ...options, port: 0, loginTimeout: time }), RangeError, "loginTimeout");
    assertThrows(() => serve({ ...options, port: 0, rekey: { interval: time } }), RangeError, "interval");
    assertThrows(() => serve({ ...options, port: 0, keepalive: { interval: time } }), RangeError, "interval");
    await assertRejects(() => serveConn(server, { ...options, loginTimeout: time }), RangeError, "loginTimeout");
    const dial = { hostname: "127.0.0.1", transport: client, ...login };
    await assertRejects(() => connect({ ...dial, handshakeTimeout: time }), RangeError, "handshakeTimeout");
    await assertRejects(() => connect({ ...dial, rekey: { interval: time } }), RangeError, "interval");
    await assertRejects(() => connect({ ...dial, keepalive: { interval: time } }), RangeError, "interval");
    assertThrows(() => new Transport(memoryPair().client, { loginTimeout: time }), RangeError, "loginTimeout");
    assertThrows(() => new Transport(memoryPair().client, { rekey: { interval: time } }), RangeError, "interval");
  }
});

Deno.test("connect() does not count the time that verifyHostKey takes, but that of a server that says nothing", async () => {
  let asked = 0;
  {
    using time = new FakeTime();
    const slow = async () => {
      asked++;
      await null;
      time.tick(30_000);
      return true;
    };
    await using joined = await join({}, { handshakeTimeout: 20_000, verifyHostKey: slow });
    assertEquals(asked, 1);
    assertEquals((await joined.client.exec("exit 4")).code, 4);
  }
  const { client: silent } = memoryPair();
  const error = await assertRejects(
    () => connect({ hostname: "x.invalid", ...login, transport: silent, handshakeTimeout: 50 }),
    SshError,
  );
  assert(error.message.includes("50 ms") && error.message.includes("did not identify itself"), error.message);
});

Deno.test("SshServer.unref() lets the program end while a client is logged in", async () => {
  const root = new URL("../../", import.meta.url);
  const program = `
    import { generateKey, serve } from ${JSON.stringify(new URL("mod.ts", root).href)};
    const server = serve({
      hostname: "127.0.0.1", port: 0, hostKeys: [await generateKey()], keepalive: { interval: 1e6 },
      auth: { password: () => true },
      handler: () => { setTimeout(() => server.unref(), 10); },
      onListen: ({ port }) => console.log(port),
    });
  `;
  const config = new URL("deno.json", root).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--config", config, "-"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(program));
  await writer.close();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const port = Number((await lines.read()).value);
  const client = await connect({ hostname: "127.0.0.1", port, ...login });
  assertEquals((await client.exec("x")).code, 0);
  const { success } = await child.status;
  assert(success);
  await lines.cancel();
  await client.closed.catch(() => {});
  await client.close();
});
