import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  ChannelClose,
  ChannelData,
  ChannelOpen,
  ChannelOpenConfirmation,
  ChannelOpenFailure,
  GlobalRequest,
} from "../../lib/connection/messages.ts";
import { Mux } from "../../lib/connection/mux.ts";
import { ChannelOpenError, SshError } from "../../lib/errors.ts";
import { Disconnect } from "../../lib/transport/messages.ts";
import { cannot, ProxiedTransport } from "../../lib/transport/proxied_transport.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { memoryPair } from "../_support/duplex.ts";
import { confirmation, data, TestChannel, text } from "../_support/fake_transport.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { mutate } from "../_support/fuzz.ts";
import { packetOf, RawMaster } from "../_support/raw_master.ts";
import { inTime, turns, until } from "../_support/until.ts";

interface Started {
  readonly transport: ProxiedTransport;
  readonly mux: Mux;
  readonly master: RawMaster;
  /** What the streams are let go of with, where they are kept. */
  held: (() => Promise<void>) | null;
  /** The next payload. */
  next(): Promise<Uint8Array>;
}

function start(rest: Uint8Array = new Uint8Array(0)): Started {
  const { client, server } = memoryPair();
  let mux!: Mux;
  const transport = new ProxiedTransport(
    client,
    { rest, hold: (close) => void (started.held = close), copyingWritable: false },
    (transport) => mux = new Mux(transport, { cannot }),
  );
  const master = new RawMaster(server);
  const started: Started = {
    transport,
    mux,
    master,
    held: null,
    async next() {
      const packet = await inTime(master.receive(), "a packet");
      assert(packet !== null, "the client has hung up");
      assertEquals(packet[0], 0);
      return packet.subarray(1);
    },
  };
  return started;
}

const NOTHING = new Uint8Array(0);
const opening = (mux: Mux): Promise<TestChannel> => mux.openChannel("session", NOTHING, (id) => new TestChannel(id));

async function opened(started: Started): Promise<TestChannel> {
  const channel = opening(started.mux);
  const { sender } = ChannelOpen.decode(await started.next());
  await started.master.packet(confirmation(sender));
  return await channel;
}

Deno.test("ProxiedTransport carries channels in packets without padding, and hangs up when it is closed", async () => {
  const started = start(), { transport, master, next } = started;
  const channel = await opened(started);
  const writing = channel.writable.getWriter().write(new TextEncoder().encode("out"));
  assertEquals(text(ChannelData.decode(await next()).data), "out");
  await writing;
  await master.packet(data(channel.id, "in"));
  const reader = channel.readable.getReader();
  assertEquals(text((await reader.read()).value!), "in");
  const closing = transport.close();
  assertEquals(ChannelClose.decode(await next()).recipient, 7000 + channel.id);
  assertEquals(await inTime(master.receive(), "the end"), null);
  await master.hangUp();
  await closing;
  await transport.closed;
  assertEquals(started.held, null);
  assertEquals((channel.ended as SshError).code, "CLOSED");
});

Deno.test("ProxiedTransport delivers what came in one piece with the master's answer", async () => {
  const early = packetOf(new Uint8Array([Msg.CHANNEL_OPEN_CONFIRMATION]));
  const { transport } = start(early);
  const error = await assertRejects(() => inTime(transport.closed, "the end"), SshError);
  assertEquals(error.code, "PROTOCOL_ERROR");
});

Deno.test("ProxiedTransport sends nothing but what is about channels: the master would pass it on for all", async () => {
  const started = start(), { transport, mux, next } = started;
  const channel = await opened(started);
  const goodbye = Disconnect.encode({ reason: 11, description: "", language: "" });
  for (const payload of [goodbye, GlobalRequest.encode({ name: "x", wantReply: false, data: NOTHING })]) {
    const error = assertThrows(() => transport.send(payload), SshError, "Cannot send message");
    assertEquals(error.code, "REQUEST_DENIED");
  }
  for (const type of [1, 2, 3, 4, 5, 20, 21, 50, 80, 81, 82, 89, 101, 192]) {
    assertThrows(() => transport.send(new Uint8Array([type])), SshError);
  }
  assertThrows(() => mux.notify("keepalive@openssh.com"), SshError);
  await assertRejects(() => mux.globalRequest("tcpip-forward"), SshError, "through a control socket");
  assertThrows(() => mux.onChannel("auth-agent@openssh.com", () => null), SshError, "auth-agent@openssh.com");
  await assertRejects(() => transport.rekey(), SshError, "Cannot renew the keys");
  assertThrows(() => transport.info, SshError, "Cannot tell what the handshake agreed on");
  assertThrows(() => transport.setHandler(), TypeError);
  // An error of this side's own has no DISCONNECT either.
  transport.fail(new SshError("enough", { code: "CLOSED" }));
  assertEquals(await inTime(started.master.receive(), "the end"), null);
  assertEquals((channel.ended as SshError).message, "enough");
  void next;
  await started.master.hangUp();
  await assertRejects(() => transport.closed, SshError, "enough");
});

Deno.test("ProxiedTransport ends with an error for what no master sends, and at a length that none may have", async () => {
  for (
    const [bytes, message] of [
      [new Uint8Array([0, 0, 0, 1, 0]), "has no message in it"],
      [new Uint8Array([0, 0, 0, 0]), "has no message in it"],
      [new Uint8Array([0, 4, 0, 1, 0, 97]), "at most 262144 are accepted"],
      [new Uint8Array([0xff, 0xff, 0xff, 0xff]), "at most 262144 are accepted"],
      [new Uint8Array([0, 0, 0, 3, 1, 97, 0]), "1 bytes of padding"],
      ...[1, 2, 20, 50, 80, 81, 101, 192].map((type) =>
        [packetOf(new Uint8Array([type])), `sent message ${type}, which is not about a channel`] as const
      ),
      [packetOf(ChannelClose.encode({ recipient: 5 })), "channel 5, which is not open"],
      [packetOf(confirmation(5)), "channel 5, which nobody asked for"],
    ] as const
  ) {
    const { transport, master } = start();
    await master.raw(bytes);
    const error = await assertRejects(() => inTime(transport.closed, message), SshError);
    assertStringIncludes(error.message, message);
    assertEquals(error.code, "PROTOCOL_ERROR", message);
  }
});

Deno.test("ProxiedTransport tells all who wait when the master hangs up or its socket breaks", async () => {
  const started = start();
  const channel = await opened(started), waiting = opening(started.mux);
  await started.next();
  await started.master.hangUp();
  for (const promise of [started.transport.closed, waiting, channel.readable.getReader().read()]) {
    const error = await assertRejects(() => inTime(promise as Promise<unknown>, "the end"), SshError, "master hung up");
    assertEquals(error.code, "CONNECTION_LOST");
  }
  await assertRejects(() => opening(started.mux), SshError);
  const pair = memoryPair();
  const broken = new ProxiedTransport(
    pair.client,
    { rest: NOTHING, hold: () => {}, copyingWritable: false },
    (transport) => new Mux(transport),
  );
  pair.reset();
  const error = await assertRejects(() => inTime(broken.closed, "the end"), SshError, "The master is gone");
  assertEquals(error.code, "CONNECTION_LOST");
});

Deno.test("ProxiedTransport.close() waits for a channel that is being opened, and closes it", async () => {
  const started = start(), { transport, mux, master, next } = started;
  const waiting = opening(mux);
  const { sender } = ChannelOpen.decode(await next());
  const closing = transport.close();
  assertInstanceOf(await waiting.catch((error) => error), SshError);
  await turns();
  await master.packet(confirmation(sender));
  await closing;
  assertEquals(started.held, null);
  await master.hangUp();
});

Deno.test("ProxiedTransport keeps its streams where a channel was refused: the master would end itself", async () => {
  const started = start(), { transport, mux, master, next } = started;
  const waiting = opening(mux);
  const { sender } = ChannelOpen.decode(await next());
  await master.packet(ChannelOpenFailure.encode({ recipient: sender, reason: 2, description: "no", language: "" }));
  await assertRejects(() => waiting, ChannelOpenError, "connect failed");
  await transport.close();
  await transport.closed;
  assert(started.held !== null);
  let gone = false;
  const listening = master.receive().then((packet) => void (gone = packet === null));
  await turns();
  assert(!gone);
  await started.held();
  await inTime(listening, "the end");
  await master.hangUp();
});

Deno.test("ProxiedTransport keeps its streams where a channel is still being opened in the end", async () => {
  const started = start(), { transport, mux, next } = started;
  const waiting = opening(mux);
  await next();
  {
    using time = new FakeTime();
    const closing = transport.end(new SshError("aborted", { code: "CLOSED" }));
    await assertRejects(() => waiting, SshError, "aborted");
    await until(() => time.pending > 0, "the close waits");
    time.tick(3000);
    await closing;
  }
  assert(started.held !== null);
  await started.held();
  await started.master.hangUp();
});

Deno.test("ProxiedTransport says what was lost where the end does not wait for the window", async () => {
  const started = start(), { transport, master, mux, next } = started;
  const channel = opening(mux);
  const { sender } = ChannelOpen.decode(await next());
  await master.packet(
    ChannelOpenConfirmation.encode({ recipient: sender, sender: 9, window: 0, maxPacket: 100, data: NOTHING }),
  );
  const writer = (await channel).writable.getWriter();
  writer.closed.catch(() => {});
  await writer.write(new Uint8Array(10));
  void transport.end();
  const error = await assertRejects(() => inTime(transport.closed, "the end"), SshError, "10 bytes are lost");
  assertEquals(error.code, "CLOSED");
  await master.hangUp();
});

Deno.test("ProxiedTransport comes to one end, an SshError, whatever a master sends", async () => {
  for (let seed = 0; seed < 40; seed++) {
    const started = start(), channel = await opened(started);
    const reading = channel.readable.pipeTo(new WritableStream()).catch((error) => error);
    const valid = [data(channel.id, "text"), confirmation(channel.id), ChannelClose.encode({ recipient: channel.id })];
    const sent = valid.map((payload, i) => i === seed % 3 ? mutate(packetOf(payload), seed) : packetOf(payload));
    for (const bytes of sent) await started.master.raw(bytes);
    await started.master.hangUp();
    const error = await inTime(started.transport.closed.catch((error) => error), `seed ${seed}`);
    assertInstanceOf(error, SshError, `seed ${seed}`);
    await inTime(reading, `seed ${seed}`);
    assertEquals(started.mux.channelCount, 0);
  }
});
