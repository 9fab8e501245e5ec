// Much of one's own to say, through exchanges of keys: what the program queues waits, and ends nothing.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SshError, SshProtocolError } from "../../mod.ts";
import { Mux } from "../../lib/connection/mux.ts";
import { GlobalRequest } from "../../lib/connection/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { join, text } from "../_support/joined.ts";
import { memoryPair } from "../_support/duplex.ts";
import { Served } from "../_support/served.ts";

const soak = Deno.env.get("AMIKO_SOAK") !== undefined;
const twenty = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`NAME_${i}`, `value ${i} ${"x".repeat(50)}`]));
/** Channels of one connection. */
const many = { maxSessions: 1000, maxChannels: 1000 };

for (const renewing of ["the client", "the server", "both"] as const) {
  Deno.test(`200 commands at once with 20 variables each, while ${renewing} renew keys every 64 KiB`, async () => {
    const rekey = { bytes: 65_536 };
    const sides = renewing === "both" ? ["the client", "the server"] : [renewing];
    await using joined = await join(
      { ...many, ...sides.includes("the server") && { rekey } },
      sides.includes("the client") ? { rekey } : {},
      memoryPair({ chunks: "whole" }),
    );
    for (let round = 0; round < (soak ? 100 : 2); round++) {
      const outputs = await Promise.all(Array.from({ length: 200 }, async () => {
        const { code, stdout } = await joined.client.exec("env", { env: twenty });
        assertEquals(code, 0);
        return text(stdout);
      }));
      for (const output of outputs) assertEquals(JSON.parse(output), twenty);
    }
    assertEquals(joined.errors, []);
  });
}

Deno.test("Requests of the program's own wait through a rekey, however many and large they are", async () => {
  await using joined = await join(many, {}, memoryPair({ chunks: "whole" }));
  const { client } = joined;
  for (const [count, bytes] of [[1200, 0], [100, 200_000], [20_000, 10]] as const) {
    const data = new Uint8Array(bytes);
    const renewed = client.rekey();
    // More than 256 wait at the server only where it decides slowly: this one says no at once.
    const answers = await Promise.allSettled(Array.from({ length: count }, () => client.request("x@test", data)));
    assert(answers.every((answer) => answer.status === "rejected" && answer.reason.code === "REQUEST_DENIED"));
    await renewed;
  }
  assertEquals(joined.errors, []);
});

Deno.test("A server's own messages wait for a client that renews keys", async () => {
  const channels: Promise<unknown>[] = [];
  await using joined = await join(
    {
      ...many,
      handler: async (session) => {
        const out = session.stdout.getWriter(), errors = session.stderr.getWriter();
        for (let i = 0; i < 200; i++) {
          await out.write(new Uint8Array(10));
          await errors.write(new Uint8Array(10));
        }
        return 3;
      },
    },
    {},
    memoryPair({ chunks: "whole" }),
  );
  for (let i = 0; i < 250; i++) {
    channels.push(
      joined.client.exec("x").then(({ code, stdout, stderr }) => {
        assertEquals([code, stdout.length, stderr.length], [3, 2000, 2000]);
      }),
    );
    if (i % 50 === 0) channels.push(joined.client.rekey());
  }
  await Promise.all(channels);
  assertEquals(joined.errors, []);
});

// What the bound is for.
Deno.test("a server closes on a client that asks for answers and reads none of them, in an exchange as well", async () => {
  for (const held of [false, true]) {
    // The server's own exchange, which the client never answers, holds its answers back, and nothing hinders the socket.
    const served = await Served.loggedIn(held ? { rekey: { bytes: 5000 } } : {}, held ? {} : { highWaterMark: 1024 });
    const request = GlobalRequest.encode({ name: "x", wantReply: true, data: new Uint8Array(0) });
    const batch = Array.from({ length: 1000 }, () => request);
    const sending = (async () => {
      for (let i = 0; i < 100; i++) await served.sendAll(batch);
    })().catch(() => {});
    const error = await served.ended;
    assert(error instanceof SshProtocolError, `${error}`);
    assert(error.message.includes("more answers than it reads"), error.message);
    served.pair.reset();
    await sending;
    await served.peer.close();
  }
});

Deno.test("Mux tells the transport which messages the peer has provoked", async () => {
  const sent: [number, boolean][] = [];
  const transport = {
    role: "server" as const,
    info: {} as never,
    extensions: new Map(),
    lastReceived: 0,
    setHandler() {},
    send: (payload: Uint8Array, provoked = false) => void sent.push([payload[0]!, provoked]),
    setAuthenticated() {},
    fail(error: Error) {
      throw error;
    },
    wantControl() {},
    wantData() {},
    forget() {},
  };
  const mux = new Mux(transport as never);
  mux.message(GlobalRequest.encode({ name: "x", wantReply: true, data: new Uint8Array(0) }));
  mux.notify("y");
  assertEquals(sent, [[Msg.REQUEST_FAILURE, true], [Msg.GLOBAL_REQUEST, false]]);
  mux.ended(null);
  await assertRejects(() => mux.globalRequest("z"), SshError);
});
