/** What counts as use of a connection, and what becomes of one that nobody uses. */
import { assert, assertEquals, assertRejects, fail } from "@std/assert";
import {
  ChannelClose,
  ChannelData,
  ChannelEof,
  ChannelOpen,
  ChannelRequest,
  ChannelWindowAdjust,
  GlobalRequest,
} from "../../lib/connection/messages.ts";
import type { Mux } from "../../lib/connection/mux.ts";
import { SshDisconnectError, SshError } from "../../lib/errors.ts";
import { Transport } from "../../lib/api/transport/transport.ts";
import type { MaybePromise } from "../../lib/wire/types.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { memoryPair } from "../_support/duplex.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { fakeMux, type FakeTransport, openOn, PEER, TestChannel } from "../_support/fake_transport.ts";
import { hostKey, join } from "../_support/joined.ts";
import { inTime, until } from "../_support/until.ts";

const TIME = 1000, nothing = new Uint8Array(0);

interface Scene {
  readonly transport: FakeTransport;
  readonly mux: Mux;
  readonly channel: TestChannel;
  readonly peer: (payload: Uint8Array) => void;
}

/** What may happen in the midst of the time, and whether it begins it anew. */
const events: readonly (readonly [what: string, isUse: boolean, act: (scene: Scene) => MaybePromise<void>])[] = [
  ["data of the peer", true, ({ channel, peer }) => {
    peer(ChannelData.encode({ recipient: channel.id, data: new Uint8Array(1) }));
  }],
  [
    "data without a byte",
    false,
    ({ channel, peer }) => peer(ChannelData.encode({ recipient: channel.id, data: nothing })),
  ],
  ["data of this side", true, async ({ channel, transport }) => {
    await channel.writable.getWriter().write(new Uint8Array(1));
    assertEquals(transport.takeType(Msg.CHANNEL_DATA).length, 1);
  }],
  ["a window that grows", false, ({ channel, peer }) => {
    peer(ChannelWindowAdjust.encode({ recipient: channel.id, bytes: 5 }));
  }],
  ["the end of data", true, ({ channel, peer }) => peer(ChannelEof.encode({ recipient: channel.id }))],
  ["the end of a channel", true, ({ channel, peer }) => peer(ChannelClose.encode({ recipient: channel.id }))],
  ["the end of data of this side", true, ({ channel }) => channel.sendEof()],
  ["the end of a channel by this side", true, ({ channel }) => void channel.close()],
  ["a channel that is refused", true, ({ peer }) => {
    peer(ChannelOpen.encode({ type: "x", sender: PEER, window: 1, maxPacket: 1, data: nothing }));
  }],
  ["a channel that this side opens", true, ({ mux }) => {
    mux.openChannel("x", nothing, (id) => new TestChannel(id)).catch(() => {});
  }],
  [
    "a request of the peer",
    true,
    ({ peer }) => peer(GlobalRequest.encode({ name: "x", wantReply: true, data: nothing })),
  ],
  ["a request of this side", true, ({ mux }) => void mux.globalRequest("x").catch(() => {})],
  ["news of this side", true, ({ mux }) => mux.notify("x")],
  ["a request on a channel", true, ({ channel, peer }) => {
    peer(ChannelRequest.encode({ recipient: channel.id, name: "signal", wantReply: false, data: nothing }));
  }],
  ["a request of this side on a channel", true, ({ channel }) => void channel.request("x", nothing).catch(() => {})],
  ["a question whether this side is there", false, ({ mux }) => mux.askForLife()],
  ["an answer", false, ({ peer }) => peer(new Uint8Array([Msg.REQUEST_FAILURE]))],
  ...["keepalive@openssh.com", "keepalive@lag.net", "keepalive@libssh2.org"].map((name) =>
    [`${name} of the peer`, false, ({ peer }: Scene) => {
      peer(GlobalRequest.encode({ name, wantReply: true, data: nothing }));
    }] as const
  ),
  ["keepalive@openssh.com on a channel, as sshd sends it", false, ({ channel, peer }) => {
    peer(
      ChannelRequest.encode({ recipient: channel.id, name: "keepalive@openssh.com", wantReply: true, data: nothing }),
    );
  }],
  ["a request that is called almost so", true, ({ peer }) => {
    peer(GlobalRequest.encode({ name: "keepalive", wantReply: false, data: nothing }));
  }],
];

Deno.test("idleTimeout counts silence: data, channels and requests begin it anew, keepalives and answers do not", async () => {
  for (const [what, isUse, act] of events) {
    using time = new FakeTime();
    let over = 0;
    const { transport, mux } = fakeMux({ idleTimeout: TIME, onIdle: () => over++ });
    const channel = await openOn(transport, mux);
    time.tick(TIME - 1);
    await act({ transport, mux, channel, peer: (payload) => transport.receive(payload) });
    assertEquals(transport.end, null, what);
    time.tick(1);
    assertEquals(over, isUse ? 0 : 1, what);
    time.tick(TIME - 2);
    assertEquals(over, isUse ? 0 : 1, what);
    time.tick(1);
    assertEquals(over, 1, what);
    time.tick(10 * TIME);
    assertEquals(over, 1, what);
    transport.finish(null);
    assertEquals(time.pending, 0, what);
  }
});

Deno.test("idleTimeout sets no timer where there is none, and none is left behind the end", () => {
  using time = new FakeTime();
  for (const idleTimeout of [undefined, Infinity]) {
    const { transport } = fakeMux({ idleTimeout, onIdle: fail });
    assertEquals(time.pending, 0);
    transport.finish(null);
  }
  const { transport } = fakeMux({ idleTimeout: TIME, onIdle: fail });
  assertEquals(time.pending, 1);
  transport.finish(null);
  assertEquals(time.pending, 0);
});

/** What a wait came to. */
function outcome(promise: Promise<unknown>): Promise<unknown> {
  return inTime(promise.then(() => null, (error: unknown) => error), "an idle connection ends");
}

Deno.test("a client that has idleTimeout ends a silent connection in good order, whatever runs, and both sides hear why", async () => {
  const joined = await join({}, { idleTimeout: 50, keepalive: { interval: 5, maxMissed: Infinity } });
  const error = await outcome(joined.client.exec("hang"));
  assert(error instanceof SshError, String(error));
  assertEquals([error.code, (error.cause as Error).name], ["CLOSED", "TimeoutError"]);
  assertEquals(error.message, "Connection was closed: nobody used it for 50 ms, which is its `idleTimeout`");
  assertEquals(await outcome(joined.client.closed), null);
  assertEquals(await joined.served, null);
});

Deno.test("a server that has idleTimeout ends a silent connection in good order, and its client hears why", async () => {
  const joined = await join({ idleTimeout: 50, keepalive: { interval: 5, maxMissed: Infinity } });
  const error = await outcome(joined.client.exec("hang"));
  assert(error instanceof SshDisconnectError, String(error));
  assertEquals([error.reason, error.message], [11, "Peer disconnected: Idle for 50 ms (11)"]);
  assertEquals([await outcome(joined.client.closed), await joined.served, joined.errors], [null, null, []]);
});

Deno.test("new keys are no use of a connection, and an idle end in the midst of an exchange is in good order", async () => {
  const joined = await join({}, { idleTimeout: 100 });
  const renewed = (async () => {
    for (;;) await joined.client.rekey();
  })();
  const error = await outcome(renewed);
  assert(error instanceof SshError, String(error));
  assertEquals([error.code, (error.cause as Error).name], ["CLOSED", "TimeoutError"]);
  assertEquals([await outcome(joined.client.closed), await joined.served], [null, null]);
});

Deno.test("idleTimeout leaves the login its own time, and holds for Transport in both roles", async () => {
  for (const role of ["client", "server"] as const) {
    const pair = memoryPair(), idleTimeout = 40;
    const login = Promise.withResolvers<void>();
    const server = new Transport(pair.server, role === "server" ? { idleTimeout } : {});
    server.addServerKey(await hostKey());
    const client = new Transport(pair.client, role === "client" ? { idleTimeout } : {});
    const served = server.startServer({ checkAuthPassword: () => login.promise.then(() => true) });
    await client.startClient();
    await served;
    const loggedIn = client.authPassword("alice", "x");
    // Several times as long as a connection may be idle.
    const start = performance.now();
    await until(() => performance.now() - start > 3 * idleTimeout, "time passes");
    assert(client.isActive() && server.isActive());
    login.resolve();
    assertEquals(await loggedIn, []);
    assertEquals([await outcome(client.closed), await outcome(server.closed)], [null, null]);
    await assertRejects(() => client.openSession(), SshError, role === "client" ? "`idleTimeout`" : "Idle for 40 ms");
  }
});
