/**
 * Attacks on the connection layer through a real transport, in both roles. Numbers are the rows of the table of attacks. Their
 * finer points are held by the tests of tests/connection.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { BaseChannel } from "../../lib/connection/channel.ts";
import {
  ChannelClose,
  ChannelData,
  ChannelEof,
  ChannelFailure,
  ChannelOpenConfirmation,
  ChannelOpenFailure,
  ChannelSuccess,
  ChannelWindowAdjust,
  GlobalRequest,
  RequestFailure,
  RequestSuccess,
} from "../../lib/connection/messages.ts";
import { Mux, type MuxOptions } from "../../lib/connection/mux.ts";
import { SshError } from "../../lib/errors.ts";
import { SecureTransport } from "../../lib/transport/secure_transport.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import {
  confirmation,
  data,
  extendedData,
  fakeMux,
  globalRequest,
  open,
  openOn,
  request,
  settle,
  TestChannel,
} from "../_support/fake_transport.ts";
import { memoryPair, type MemoryPairOptions } from "../_support/duplex.ts";
import type { RawPeer } from "../_support/raw_peer.ts";
import { inTime, turns, until } from "../_support/until.ts";
import {
  concat,
  expectClose,
  finish,
  hostKey,
  memoryInUse,
  named,
  type Role,
  roles,
  Victim,
} from "../_support/attack.ts";

const WINDOW = 65_536;
const nothing = new Uint8Array(0);
const eof = ChannelEof.encode({ recipient: 0 });
const close = ChannelClose.encode({ recipient: 0 });
const adjust = (bytes: number, recipient = 0) => ChannelWindowAdjust.encode({ recipient, bytes });
const refusal = (recipient: number) =>
  ChannelOpenFailure.encode({ recipient, reason: 1, description: "no", language: "" });

/** A victim that is logged in, with one channel which the peer knows as 50 and which is number 0 here. */
class Target {
  readonly victim: Victim;
  readonly mux: Mux;
  readonly channels: TestChannel[] = [];

  private constructor(victim: Victim, options: MuxOptions) {
    this.victim = victim;
    this.mux = new Mux(victim.transport, {
      window: WINDOW,
      onOpen: ({ id }) => ({ channel: this.#make(id) }),
      ...options,
      onEnded: (error) => void victim.endings.push(error),
    });
    victim.transport.setHandler(this.mux);
  }

  #make(id: number): TestChannel {
    const channel = new TestChannel(id);
    this.channels.push(channel);
    return channel;
  }

  get peer(): RawPeer {
    return this.victim.peer;
  }

  get channel(): TestChannel {
    return this.channels[0]!;
  }

  static async make(
    role: Role,
    options: MuxOptions & { pair?: MemoryPairOptions; peerWindow?: number } = {},
  ): Promise<Target> {
    const { pair, peerWindow = 1_000_000, ...muxOptions } = options;
    const victim = new Victim(role, pair === undefined ? {} : { pair });
    await victim.handshake();
    const target = new Target(victim, muxOptions);
    if (options.onOpen !== undefined) return target;
    // Either side may open channels.
    await victim.peer.send(open(50, "session", { window: peerWindow }));
    await victim.peer.receiveType(Msg.CHANNEL_OPEN_CONFIRMATION);
    return target;
  }

  /** What our side asks for, and the peer has seen. */
  async asked(): Promise<{ opened: Promise<TestChannel>; id: number }> {
    const opened = this.mux.openChannel("session", nothing, (id) => this.#make(id));
    opened.catch(() => {});
    await this.peer.receiveType(Msg.CHANNEL_OPEN);
    return { opened, id: this.channels.at(-1)!.id };
  }
}

// ---------------------------------------------------------------------------------------------- breaches

const full = (bytes: number): Bytes[] => {
  const payloads: Bytes[] = [];
  for (let left = bytes; left > 0; left -= 32_768) payloads.push(data(0, new Uint8Array(Math.min(left, 32_768))));
  return payloads;
};

/** What must end the connection, message by message; only the last one is wrong. */
const breaches: readonly (readonly [name: string, payloads: readonly Uint8Array[]])[] = [
  ...[1, 9, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff].flatMap((id) =>
    ([
      [`96: DATA to channel ${id}`, [data(id, "x")]],
      [`96: EXTENDED_DATA to channel ${id}`, [extendedData(id, 1, "x")]],
      [`96: EOF to channel ${id}`, [ChannelEof.encode({ recipient: id })]],
      [`96: CLOSE to channel ${id}`, [ChannelClose.encode({ recipient: id })]],
      [`96: REQUEST to channel ${id}`, [request(id, "exec")]],
      [`96: SUCCESS to channel ${id}`, [ChannelSuccess.encode({ recipient: id })]],
      [`96: FAILURE to channel ${id}`, [ChannelFailure.encode({ recipient: id })]],
      [`96: CONFIRMATION of channel ${id}`, [confirmation(id)]],
      [`96: OPEN_FAILURE of channel ${id}`, [refusal(id)]],
      [`96: WINDOW_ADJUST to channel ${id}`, [adjust(1, id)]],
    ] as const).slice(0, id === 1 ? 10 : id === 0xffff_ffff ? 3 : 1)
  ),
  ["97: window beyond 2^32 - 1 by one", [adjust(0xffff_ffff - 1_000_000), adjust(1)]],
  ["97: window beyond 2^32 - 1 at once", [adjust(0xffff_ffff)]],
  ["98: one byte beyond the window", [...full(WINDOW), data(0, "x")]],
  ["98: one byte of stderr beyond the window", [...full(WINDOW), extendedData(0, 1, "x")]],
  ["98: one byte of an unknown type beyond the window", [...full(WINDOW), extendedData(0, 7, "x")]],
  ["98: twice the window", [...full(WINDOW), ...full(32_768)]],
  ["99: a packet larger than agreed", [data(0, new Uint8Array(32_769))]],
  ["99: a packet of 200 KiB", [data(0, new Uint8Array(200 * 1024))]],
  ["101: CONFIRMATION of an open channel", [confirmation(0)]],
  ["101: OPEN_FAILURE for an open channel", [refusal(0)]],
  ["102: DATA behind EOF", [eof, eof, data(0, "x")]],
  ["102: empty DATA behind EOF", [eof, data(0, "")]],
  ["102: EXTENDED_DATA behind EOF", [eof, extendedData(0, 1, "x")]],
  ["truncated DATA", [data(0, "hello").subarray(0, 8)]],
  ["DATA with more behind it", [concat(data(0, "hello"), new Uint8Array(1))]],
  ["DATA whose length is absurd", [Uint8Array.from([Msg.CHANNEL_DATA, 0, 0, 0, 0, 255, 255, 255, 255, 1])]],
  ["a name that is not ASCII", [Uint8Array.from([Msg.GLOBAL_REQUEST, 0, 0, 0, 2, 0xc3, 0xa9, 1])]],
  ["REQUEST_FAILURE with more behind it", [concat(RequestFailure.encode({}), new Uint8Array(4))]],
];

for (const role of roles) {
  Deno.test(`connection attacks: a ${role} closes on each breach`, async () => {
    for (const [name, payloads] of breaches) {
      await named(name, async () => {
        const target = await Target.make(role);
        const { channel, victim } = target;
        const reading = channel.readable.getReader().closed.catch((error) => error);
        const error = await expectClose(victim, 2, async (peer) => {
          for (const payload of payloads) await peer.send(payload);
        });
        if (!channel.events.includes("ended")) throw new Error("The channel was not told");
        assert(await channel.closed.catch((cause) => cause) === error);
        void reading;
      });
    }
  });

  Deno.test(`connection attacks: a ${role} closes on answers that are wrong for what it asked`, async () => {
    for (
      const [name, answers] of [
        ["100: maximum packet of 0", (id: number) => [confirmation(id, { maxPacket: 0 })]],
        ["101: CONFIRMATION twice", (id: number) => [confirmation(id), confirmation(id)]],
        ["101: CONFIRMATION, then OPEN_FAILURE", (id: number) => [confirmation(id), refusal(id)]],
        ["101: OPEN_FAILURE twice", (id: number) => [refusal(id), refusal(id)]],
        ["96: DATA before the CONFIRMATION", (id: number) => [data(id, "x")]],
        ["96: CLOSE before the CONFIRMATION", (id: number) => [ChannelClose.encode({ recipient: id })]],
      ] as const
    ) {
      await named(name, async () => {
        const target = await Target.make(role);
        const { opened, id } = await target.asked();
        const error = await expectClose(target.victim, 2, async (peer) => {
          for (const payload of answers(id)) await peer.send(payload);
        });
        const settled = await opened.then((channel) => channel.closed, (error) => Promise.reject(error)).catch((e) =>
          e
        );
        assert(settled === error || name.includes("OPEN_FAILURE twice"), `${settled}`);
      });
    }
  });

  Deno.test(`connection attacks: a ${role} lives on with what is odd and allowed`, async () => {
    const target = await Target.make(role);
    const { peer, victim, channel } = target;
    // 105: nobody asked, nobody is confused.
    for (let i = 0; i < 2500; i++) {
      for (
        const payload of [
          RequestSuccess.encode({ data: nothing }),
          RequestFailure.encode({}),
          ChannelSuccess.encode({ recipient: 0 }),
          ChannelFailure.encode({ recipient: 0 }),
        ]
      ) await peer.send(payload);
    }
    // The peer's answers count from the moment that there is a question.
    await peer.send(request(0, "sync"));
    await peer.receiveType(Msg.CHANNEL_SUCCESS);
    const answered = target.mux.globalRequest("question");
    assertEquals(GlobalRequest.decode(await peer.receiveType(Msg.GLOBAL_REQUEST)).name, "question");
    await peer.send(RequestSuccess.encode({ data: Uint8Array.from([42]) }));
    assertEquals((await answered)![0], 42);

    // 103: unknown types are credited; stdout and stderr share the window, and nobody reads stdout.
    let room = WINDOW;
    for (const dataType of [0, 2, 0xffff_ffff]) {
      for (let sent = 0; sent < 4 * WINDOW; sent += 16_384) {
        while (room < 16_384) {
          room += ChannelWindowAdjust.decode(await peer.receiveType(Msg.CHANNEL_WINDOW_ADJUST)).bytes;
        }
        await peer.send(extendedData(0, dataType, new Uint8Array(16_384)));
        room -= 16_384;
      }
    }

    // 100: packets of one byte into a window of 1.
    await peer.send(open(60, "session", { window: 0, maxPacket: 1 }));
    await peer.receiveType(Msg.CHANNEL_OPEN_CONFIRMATION);
    const tiny = target.channels[1]!;
    await tiny.writable.getWriter().write(Uint8Array.from([1, 2, 3]));
    for (const byte of [1, 2, 3]) {
      await peer.send(adjust(1, tiny.id));
      assertEquals(ChannelData.decode(await peer.receiveType(Msg.CHANNEL_DATA)).data, Uint8Array.from([byte]));
    }
    await peer.send(open(61, "session", { maxPacket: 0 }));
    assertEquals(ChannelOpenFailure.decode(await peer.receiveType(Msg.CHANNEL_OPEN_FAILURE)).recipient, 61);

    // 102 and 96: EOF twice, CLOSE, and an adjustment that comes late.
    await peer.send(eof);
    await peer.send(eof);
    await peer.send(close);
    await peer.receiveType(Msg.CHANNEL_CLOSE);
    await peer.send(adjust(5));
    await channel.closed;
    assertEquals(channel.events, ["sync", "eof", "ended"]);
    await peer.send(request(tiny.id, "alive"));
    await peer.receiveType(Msg.CHANNEL_SUCCESS);
    await finish(victim);
  });

  Deno.test(`connection attacks: a ${role} opens nothing that nobody allows (92)`, async () => {
    const victim = new Victim(role);
    await victim.handshake();
    victim.transport.setHandler(new Mux(victim.transport));
    for (
      const type of ["session", "forwarded-tcpip", "x11", "auth-agent@openssh.com", "direct-tcpip", "tun@openssh.com"]
    ) {
      await victim.peer.send(open(3, type));
      const refusal = ChannelOpenFailure.decode(await victim.peer.receiveType(Msg.CHANNEL_OPEN_FAILURE));
      // What no peer of that role may ask for is unknown, the rest is not allowed.
      const foreign = role === "client" ? ["direct-tcpip"] : ["forwarded-tcpip", "x11", "auth-agent@openssh.com"];
      assertEquals([refusal.recipient, refusal.reason], [3, foreign.includes(type) ? 3 : 1], type);
    }
    await finish(victim);
  });

  Deno.test(`connection attacks: a ${role} takes 300 OPENs as far as its cap (104)`, async () => {
    const target = await Target.make(role, { maxChannels: 100 });
    let accepted = 1, refused = 0;
    for (let i = 0; i < 300; i++) await target.peer.send(open(100 + i));
    while (accepted + refused < 301) {
      const payload = await target.peer.receive();
      if (payload![0] === Msg.CHANNEL_OPEN_CONFIRMATION) accepted++;
      else if (payload![0] === Msg.CHANNEL_OPEN_FAILURE) refused++;
    }
    assertEquals([accepted, target.mux.channelCount], [100, 100]);
    await finish(target.victim);
    for (const channel of target.channels) await assertRejects(() => channel.closed, SshError);
  });

  Deno.test(`connection attacks: a ${role} ends a peer that asks and never reads (106)`, async () => {
    const target = await Target.make(role, { onGlobalRequest: () => true, pair: { highWaterMark: 65_536 } });
    const { peer, victim } = target;
    // The peer's own end is never read from here on.
    const before = await memoryInUse();
    let sent = 0, most = 0;
    const flood = async (make: () => Uint8Array) => {
      for (; victim.transport.isActive && sent < 100_000; sent++) {
        await peer.send(make());
        if (sent % 4096 === 4095) most = Math.max(most, victim.transport.provoked.messages);
      }
    };
    const payload = globalRequest("x");
    await flood(() => payload);
    assert(!victim.transport.isActive, `the peer sent ${sent} requests and is still there`);
    assert(sent < 60_000 && most <= 40_000, `${sent} sent, ${most} queued`);
    assert(await memoryInUse() - before < 64 * 1024 * 1024);
    const closed = inTime(victim.transport.closed, "The end");
    await assertRejects(() => closed, SshError, "more answers than it reads");
    await peer.close();
    assertEquals(victim.endings.length, 1);
  });

  Deno.test(`connection attacks: a ${role} whose peer never reads waits, bounded, and can abort (107, 108)`, async () => {
    const target = await Target.make(role, { pair: { highWaterMark: 65_536 }, peerWindow: 0xffff_ffff });
    const { victim, channel } = target;
    const chunk = new Uint8Array(64 * 1024 * 1024);
    const before = await memoryInUse();
    const writer = channel.writable.getWriter();
    writer.closed.catch(() => {});
    let done = 0;
    const writes = Array.from({ length: 16 }, () => writer.write(chunk).then(() => done++));
    const results = Promise.allSettled(writes);
    // Reading goes on: a request is taken although its answer cannot leave.
    await target.peer.send(request(0, "still reading"));
    await until(() => channel.requests.length === 1, "The victim does not read");
    assertEquals(done, 0);
    assert(await memoryInUse() - before < 32 * 1024 * 1024);
    await inTime(writer.abort(new Error("enough")), "abort()");
    for (const result of await inTime(results, "The writes")) {
      assert(result.status === "rejected" && result.reason.message === "enough");
    }
    victim.transport.fail(new SshError("over", { code: "CONNECTION_LOST" }));
    await target.peer.close();
    await assertRejects(() => victim.transport.closed, SshError);
  });
}

// ---------------------------------------------------------------------------------------------- numbers

Deno.test("connection attacks: 100 000 OPENs that the application rejects leave nothing behind (104)", async () => {
  const { transport, mux } = fakeMux({ onOpen: () => null });
  const batch = Array.from({ length: 100 }, (_, i) => open(i, "session"));
  const run = async (batches: number) => {
    let refused = 0;
    for (let i = 0; i < batches; i++) {
      transport.receive(...batch);
      await settle();
      refused += transport.takeType(Msg.CHANNEL_OPEN_FAILURE).length;
    }
    assertEquals(refused, batches * batch.length);
  };
  await run(50);
  const before = await memoryInUse();
  await run(1000);
  assert(await memoryInUse() - before < 4 * 1024 * 1024);
  assertEquals([mux.channelCount, transport.end], [0, null]);
});

Deno.test("connection attacks: 5000 channels opened and closed leave nothing behind", async () => {
  const { transport, mux } = fakeMux();
  const run = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const channel = await openOn(transport, mux);
      await channel.writable.getWriter().write(new Uint8Array(100));
      transport.receive(data(channel.id, "x"), ChannelClose.encode({ recipient: channel.id }));
      await channel.closed;
      transport.take();
    }
  };
  await run(500);
  const before = await memoryInUse();
  await run(5000);
  assert(await memoryInUse() - before < 4 * 1024 * 1024);
});

// ---------------------------------------------------------------------------------------------- two of ours

async function connected(options: MuxOptions = {}): Promise<{
  client: SecureTransport;
  server: SecureTransport;
  mux: Mux;
  served: TestChannel[];
}> {
  const pair = memoryPair({ chunks: "whole" });
  const algorithms = { kex: ["curve25519-sha256"] };
  const client = new SecureTransport(pair.client, { role: "client", algorithms, verifyHostKey: () => true });
  const server = new SecureTransport(pair.server, { role: "server", algorithms, hostKeys: [hostKey] });
  const served: TestChannel[] = [];
  const mux = new Mux(client);
  client.setHandler(mux);
  server.setHandler(
    new Mux(server, {
      ...options,
      onOpen: ({ id }) => {
        const channel = new TestChannel(id);
        served.push(channel);
        return { channel };
      },
    }),
  );
  await Promise.all([client.start(), server.start()]);
  // EXT_INFO comes before the login that these tests leave out.
  await until(() => client.extensions.size > 0 && server.extensions.size > 0, "No EXT_INFO");
  client.setAuthenticated();
  server.setAuthenticated();
  return { client, server, mux, served };
}

const openOne = (mux: Mux): Promise<BaseChannel> =>
  mux.openChannel<BaseChannel>("session", nothing, (id) => new TestChannel(id));

Deno.test("connection: eight channels get their share, and one that nobody reads takes nothing of it", async () => {
  const { client, server, mux, served } = await connected();
  const stalled = await openOne(mux);
  const channels = await Promise.all(Array.from({ length: 8 }, () => openOne(mux)));
  const stop = new AbortController();
  const write = async (channel: BaseChannel) => {
    const writer = channel.writable.getWriter();
    writer.closed.catch(() => {});
    const chunk = new Uint8Array(50_000);
    while (!stop.signal.aborted) await writer.write(chunk).catch(() => stop.signal.throwIfAborted());
  };
  const writing = [stalled, ...channels].map((channel) => write(channel).catch(() => {}));
  const counts = new Array<number>(9).fill(0);
  let total = 0;
  const enough = Promise.withResolvers<void>();
  const reading = served.map(async (channel, i) => {
    if (i === 0) return;
    for await (const chunk of channel.readable) {
      counts[i]! += chunk.length;
      total += chunk.length;
      if (total > 48 * 1024 * 1024) enough.resolve();
    }
  });
  await inTime(enough.promise, "48 MiB", 120_000);
  const shares = counts.slice(1);
  assert(Math.max(...shares) <= 2 * Math.min(...shares), `${shares}`);
  stop.abort();
  const settled = Promise.allSettled([...writing, ...reading]);
  await client.close();
  await server.closed;
  await settled;
});

Deno.test("connection: aborting at each point of open and request leaves the connection whole (112)", async () => {
  const { client, server, mux } = await connected();
  // A signal that fires after so many turns of the microtask queue, and of the event loop.
  for (let delay = 0; delay < 60; delay++) {
    const abort = new AbortController();
    const fire = async () => {
      for (let i = 0; i < delay % 20; i++) await Promise.resolve();
      await turns(Math.floor(delay / 20) * 2);
      abort.abort("enough");
    };
    const firing = fire();
    const { signal } = abort;
    const use = async () => {
      const channel = await mux.openChannel("session", nothing, (id) => new TestChannel(id), { signal });
      try {
        await channel.request("exec", nothing, { signal });
        await mux.globalRequest("x", nothing, { signal });
      } finally {
        await channel.close();
      }
    };
    const result = await inTime(use().catch((reason) => reason), "open and request");
    assert(result === undefined || result === "enough", `${result}`);
    await firing;
  }
  // Nothing is left behind, and answers find their questions.
  await until(() => mux.channelCount === 0, "Channels were left behind");
  const last = await openOne(mux);
  assertEquals(await last.request("exec"), true);
  assertEquals(await mux.globalRequest("x"), null);
  await client.close();
  await server.closed;
});

Deno.test("connection: a confirmation that comes behind the end of the application's patience is closed (112)", async () => {
  const target = await Target.make("client");
  const abort = new AbortController();
  const opened = target.mux.openChannel("session", nothing, (id) => new TestChannel(id), { signal: abort.signal });
  await target.peer.receiveType(Msg.CHANNEL_OPEN);
  abort.abort("enough");
  assertEquals(await opened.catch((reason) => reason), "enough");
  await target.peer.send(
    ChannelOpenConfirmation.encode({ recipient: 1, sender: 77, window: 1, maxPacket: 1, data: nothing }),
  );
  assertEquals(ChannelClose.decode(await target.peer.receiveType(Msg.CHANNEL_CLOSE)).recipient, 77);
  await target.peer.send(ChannelClose.encode({ recipient: 1 }));
  await until(() => target.mux.channelCount === 1, "The channel was left behind");
  await finish(target.victim);
});
