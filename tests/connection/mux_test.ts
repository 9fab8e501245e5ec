import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FakeTime } from "../_support/fake_time.ts";
import { ChannelOpenError, SshError, SshProtocolError } from "../../lib/errors.ts";
import type { BaseChannel } from "../../lib/connection/channel.ts";
import {
  ChannelClose,
  ChannelEof,
  ChannelFailure,
  ChannelOpen,
  ChannelOpenConfirmation,
  ChannelOpenFailure,
  ChannelRequest,
  ChannelSuccess,
  ChannelWindowAdjust,
  GlobalRequest,
  RequestFailure,
  RequestSuccess,
} from "../../lib/connection/messages.ts";
import { Mux, type MuxOptions } from "../../lib/connection/mux.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import {
  confirmation,
  data,
  extendedData,
  fakeMux,
  FakeTransport,
  globalRequest,
  open,
  openChannel,
  openOn,
  PEER,
  request,
  settle,
  stateOf,
  TestChannel,
  text,
  utf8,
} from "../_support/fake_transport.ts";

const nothing = new Uint8Array(0);
const success = (data: Uint8Array = nothing) => RequestSuccess.encode({ data });
const failure = RequestFailure.encode({});
const make = (id: number) => new TestChannel(id);
const types = (payloads: readonly Uint8Array[]) => payloads.map((payload) => payload[0]);

// ---------------------------------------------------------------------------------------------- opening

Deno.test("Mux.openChannel() opens a channel, and its number is not the next again behind CLOSE", async () => {
  const { transport, mux } = fakeMux({ window: 4096 });
  const opened = mux.openChannel("direct-tcpip", utf8("where"), make);
  assertEquals(transport.take(), [
    ChannelOpen.encode({ type: "direct-tcpip", sender: 0, window: 4096, maxPacket: 32_768, data: utf8("where") }),
  ]);
  assertEquals(await stateOf(opened), "pending");
  transport.receive(confirmation(0));
  const channel = await opened;
  assertEquals([channel.id, channel.type, channel.isOpen], [0, "direct-tcpip", true]);
  assertEquals((await openOn(transport, mux)).id, 1);
  const closed = channel.close();
  assertEquals(transport.takeType(Msg.CHANNEL_CLOSE), [ChannelClose.encode({ recipient: PEER })]);
  assertEquals(mux.channelCount, 2);
  transport.receive(ChannelClose.encode({ recipient: 0 }));
  await closed;
  assertEquals((await openOn(transport, mux)).id, 2);
});

Deno.test("Mux.isQuiet is so while no channel is open: reads that wait have little room then", async () => {
  const { transport, mux } = fakeMux();
  assert(mux.isQuiet);
  const channel = await openOn(transport, mux);
  assert(!mux.isQuiet);
  const closed = channel.close();
  transport.receive(ChannelClose.encode({ recipient: channel.id }));
  await closed;
  assert(mux.isQuiet);
});

Deno.test("Mux gathers what several channels get in a turn, and who waits has it before the connection ends", async () => {
  for (const isLost of [false, true]) {
    const { transport, mux } = fakeMux();
    const readers = [await openOn(transport, mux), await openOn(transport, mux)].map(({ readable }) =>
      readable.getReader()
    );
    const first = readers.map((reader) => reader.read());
    await settle();
    // What a chunk held tells how much room the next one has.
    transport.receive(data(0, "xx"), data(1, "yy"));
    assertEquals((await Promise.all(first)).map(({ value }) => text(value!)), ["xx", "yy"]);
    const reads = readers.map((reader) => reader.read());
    await settle();
    transport.receive(data(0, "a"), data(1, "b"));
    transport.receive(data(1, "c"), data(0, "d"));
    if (isLost) transport.finish(new SshError("gone", { code: "CONNECTION_LOST" }));
    assertEquals((await Promise.all(reads)).map(({ value }) => text(value!)), ["ad", "bc"]);
    if (isLost) { for (const reader of readers) await assertRejects(() => reader.read(), SshError, "gone"); }
    // Where one alone has something, nobody waits for others.
    else {
      const next = readers[0]!.read();
      await settle();
      transport.receive(data(0, "e"));
      assertEquals(text((await next).value!), "e");
    }
  }
});

Deno.test("Mux.openChannel() rejects when the peer refuses, with a text that is fit to print", async () => {
  const { transport, mux } = fakeMux();
  let channel: TestChannel | null = null;
  const opened = mux.openChannel("session", nothing, (id) => channel = make(id));
  transport.receive(
    ChannelOpenFailure.encode({ recipient: 0, reason: 2, description: "no \x1b[31mroute", language: "" }),
  );
  const error = await assertRejects(() => opened, ChannelOpenError, 'connect failed, "no \ufffd[31mroute"');
  assertEquals(error.reason, 2);
  assert(channel!.ended === error);
  assert(await (channel! as TestChannel).closed.catch((cause) => cause) === error);
  assertEquals(mux.channelCount, 0);
  assertEquals((await openOn(transport, mux)).id, 1);
});

Deno.test("Mux.openChannel() rejects for a channel that does not fit, and keeps nothing", async () => {
  const { transport, mux } = fakeMux({ maxChannels: 1 });
  await assertRejects(() => mux.openChannel("session", new Uint8Array(300_000), make), RangeError);
  await assertRejects(() => mux.openChannel("session", nothing, () => make(5)), TypeError, "its number is 1");
  await assertRejects(
    () =>
      mux.openChannel("session", nothing, () => {
        throw new Error("mine");
      }),
    Error,
    "mine",
  );
  assertEquals(transport.take(), []);
  const channel = await openOn(transport, mux);
  await assertRejects(() => mux.openChannel("session", nothing, make), ChannelOpenError, "which is the limit");
  const other = new Mux(transport);
  for (let number = 0; number < channel.id; number++) {
    await assertRejects(
      () => other.openChannel("session", nothing, () => make(55)),
      TypeError,
      `its number is ${number}`,
    );
  }
  await assertRejects(() => other.openChannel("session", nothing, () => channel), TypeError, "twice");
});

Deno.test("Mux.openChannel() rejects when the confirmation has a maximum packet of 0", async () => {
  // Row 100.
  const { transport, mux } = fakeMux();
  const opened = mux.openChannel("session", nothing, make);
  transport.receive(confirmation(0, { maxPacket: 0 }));
  const error = await assertRejects(() => opened, SshProtocolError, "maximum packet size of 0");
  assert(transport.end!.error === error);
});

Deno.test("Mux.openChannel() aborted at each point rejects once, and a late answer closes the channel", async () => {
  // Row 112.
  const { transport, mux } = fakeMux();
  const aborted = AbortSignal.abort("before");
  assertEquals(
    await mux.openChannel("session", nothing, make, { signal: aborted }).catch((reason) => reason),
    "before",
  );
  assertEquals(transport.take(), []);

  for (const answer of ["confirmation", "refusal", "end", "nothing"]) {
    const { transport, mux } = fakeMux();
    const abort = new AbortController();
    let channel: TestChannel | null = null;
    const opened = mux.openChannel("session", nothing, (id) => channel = make(id), { signal: abort.signal });
    transport.take();
    abort.abort("meanwhile");
    assertEquals(await opened.catch((reason) => reason), "meanwhile");
    if (answer === "confirmation") {
      transport.receive(confirmation(0));
      assertEquals(transport.take(), [ChannelClose.encode({ recipient: PEER })]);
      transport.receive(data(0, "late"), ChannelClose.encode({ recipient: 0 }));
      await channel!.closed;
    } else if (answer === "refusal") {
      transport.receive(ChannelOpenFailure.encode({ recipient: 0, reason: 1, description: "", language: "" }));
    } else if (answer === "end") {
      transport.finish(null);
      assert(channel!.ended instanceof SshError);
      continue;
    } else {
      // The number stays taken: the answer may still come.
      assertEquals((await openOn(transport, mux)).id, 1);
      continue;
    }
    assertEquals(transport.end, null);
    assertEquals(mux.channelCount, 0);
    assertEquals((await openOn(transport, mux)).id, 1);
  }

  const abort = new AbortController();
  const opened = mux.openChannel("session", nothing, make, { signal: abort.signal });
  transport.receive(confirmation(0));
  abort.abort("after");
  const channel = await opened;
  assert(channel.isOpen);
});

Deno.test("Mux closes the connection on answers to what nobody asked for", async () => {
  // Row 101.
  const refusal = ChannelOpenFailure.encode({ recipient: 0, reason: 1, description: "", language: "" });
  for (const answer of [confirmation(0), refusal, confirmation(0x8000_0000)]) {
    const unasked = fakeMux();
    unasked.transport.receive(answer);
    assert(unasked.transport.end?.error instanceof SshProtocolError);
    const { transport, channel } = await openChannel();
    transport.receive(answer);
    assert(transport.end?.error instanceof SshProtocolError);
    assert(await channel.closed.catch((error) => error) === transport.end.error);
  }
});

// ---------------------------------------------------------------------------------------------- unknown channels

Deno.test("Mux closes the connection on a message for a channel that is not open", async () => {
  // Row 96.
  for (const recipient of [0, 7, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
    for (
      const payload of [
        data(recipient, "x"),
        extendedData(recipient, 1, "x"),
        ChannelEof.encode({ recipient }),
        ChannelClose.encode({ recipient }),
        request(recipient, "x"),
        ChannelSuccess.encode({ recipient }),
        ChannelFailure.encode({ recipient }),
        ChannelWindowAdjust.encode({ recipient, bytes: 1 }),
      ]
    ) {
      const { transport, mux } = fakeMux();
      // One that we are opening is not open either.
      const opening = recipient === 0 ? mux.openChannel("session", nothing, make) : null;
      transport.receive(payload);
      assert(transport.end?.error instanceof SshProtocolError, `${payload[0]}`);
      if (opening !== null) await assertRejects(() => opening, SshProtocolError);
    }
  }
});

Deno.test("Mux drops late messages for a channel that has gone", async () => {
  // Rows 96 and 102.
  const { transport, channel } = await openChannel();
  const late = ChannelWindowAdjust.encode({ recipient: 0, bytes: 5 });
  const close = ChannelClose.encode({ recipient: 0 }), eof = ChannelEof.encode({ recipient: 0 });
  const status = ChannelRequest.encode({
    recipient: 0,
    name: "exit-status",
    wantReply: false,
    data: new Uint8Array(4),
  });
  transport.receive(close, late, late, status, data(0, "x"), eof, close);
  await channel.closed;
  assertEquals(transport.end, null);
  transport.receive(data(1, "x"));
  assert(transport.end !== null);
});

// ---------------------------------------------------------------------------------------------- the peer opens

Deno.test("Mux refuses to open what no function allows", async () => {
  // Row 92.
  for (const onOpen of [undefined, () => null, () => Promise.resolve(null), () => Promise.reject(new Error("mine"))]) {
    const { transport, mux } = fakeMux(onOpen === undefined ? {} : { onOpen });
    for (const type of ["session", "forwarded-tcpip", "x11", "auth-agent@openssh.com"]) {
      transport.receive(open(3, type));
      await settle();
      const refusal = ChannelOpenFailure.decode(transport.take()[0]!);
      // What went wrong in the application is its own.
      assertEquals([refusal.recipient, refusal.reason, refusal.description], [3, 1, "not allowed"], type);
    }
    assertEquals(mux.channelCount, 0);
    assertEquals(transport.end, null);
  }
});

Deno.test("Mux asks who registered for a channel type, and refuses what nobody did with the right reason", async () => {
  const { transport, mux } = fakeMux();
  const asked: string[] = [];
  const session = mux.onChannel("session", ({ type, id }) => {
    asked.push(type);
    return { channel: make(id) };
  });
  mux.onChannel("x11", () => null);
  assertThrows(() => mux.onChannel("session", () => null), TypeError, 'Cannot answer channel type "session" twice');
  for (const type of ["session", "x11", "forwarded-tcpip", "tun@openssh.com", "conference", ""]) {
    transport.receive(open(3, type));
    await settle();
    const answer = transport.take()[0]!;
    const reason = answer[0] === Msg.CHANNEL_OPEN_FAILURE ? ChannelOpenFailure.decode(answer).reason : 0;
    assertEquals(reason, { session: 0, conference: 3, "": 3 }[type] ?? 1, type);
  }
  session[Symbol.dispose]();
  transport.receive(open(4, "session"));
  await settle();
  assertEquals(types(transport.take()), [Msg.CHANNEL_OPEN_FAILURE]);
  assertEquals([asked, transport.end], [["session"], null]);
  // Another may register now, and the one that has gone does not take it away.
  mux.onChannel("session", () => null);
  session[Symbol.dispose]();
  assertThrows(() => mux.onChannel("session", () => null), TypeError);
});

Deno.test("Mux asks who registered for a global request, in order, before onGlobalRequest", async () => {
  const others: string[] = [];
  const { transport, mux } = fakeMux({ onGlobalRequest: (name) => others.push(name) > 0 });
  const slow = Promise.withResolvers<Bytes>();
  mux.onRequest("slow", () => slow.promise);
  mux.onRequest("never", () => false);
  assertThrows(() => mux.onRequest("slow", () => true), TypeError, 'Cannot answer global request "slow" twice');
  transport.receive(globalRequest("slow"), globalRequest("never"), globalRequest("another"));
  await settle();
  assertEquals(transport.take(), []);
  slow.resolve(utf8("done"));
  await settle();
  assertEquals(transport.take(), [success(utf8("done")), failure, success()]);
  assertEquals(others, ["another"]);
});

Deno.test("Mux refuses with the reason that a ChannelOpenError gives", async () => {
  const { transport } = fakeMux({
    onOpen: () => {
      throw new ChannelOpenError("no such type", 3);
    },
  });
  transport.receive(open(1));
  await settle();
  assertEquals(transport.take(), [
    ChannelOpenFailure.encode({ recipient: 1, reason: 3, description: "no such type", language: "" }),
  ]);
});

function accepting(more: MuxOptions = {}): {
  transport: FakeTransport;
  mux: Mux;
  channels: TestChannel[];
} {
  const channels: TestChannel[] = [];
  const { transport, mux } = fakeMux({
    onOpen: ({ id }) => {
      const channel = make(id);
      channels.push(channel);
      return { channel };
    },
    ...more,
  }, "server");
  return { transport, mux, channels };
}

Deno.test("Mux confirms an accepted channel before anything of it", async () => {
  const { transport, mux } = fakeMux({
    window: 1234,
    onOpen: ({ id, type, data }) => {
      assertEquals([id, type, data.length], [0, "session", 0]);
      const channel = make(id);
      const writer = channel.writable.getWriter();
      void writer.write(utf8("early"));
      void writer.close();
      return {
        channel,
        opened: () => channel.notify("first"),
      };
    },
  });
  transport.receive(open(9));
  await settle();
  const sent = transport.take();
  assertEquals(types(sent), [
    Msg.CHANNEL_OPEN_CONFIRMATION,
    Msg.CHANNEL_DATA,
    Msg.CHANNEL_EOF,
    Msg.CHANNEL_REQUEST,
  ]);
  assertEquals(ChannelOpenConfirmation.decode(sent[0]!), {
    recipient: 9,
    sender: 0,
    window: 1234,
    maxPacket: 32_768,
    data: nothing,
  });
  assertEquals(mux.channelCount, 1);
});

Deno.test("Mux refuses an OPEN with a maximum packet of 0, and a channel that was closed meanwhile", async () => {
  // Row 100.
  const zero = accepting();
  zero.transport.receive(open(1, "session", { maxPacket: 0 }));
  await settle();
  assertEquals(types(zero.transport.take()), [Msg.CHANNEL_OPEN_FAILURE]);
  assertEquals(zero.channels, []);
  const { transport, mux } = fakeMux({
    onOpen: ({ id }) => {
      const channel = make(id);
      void channel.close();
      return { channel };
    },
  });
  transport.receive(open(1));
  await settle();
  assertEquals(types(transport.take()), [Msg.CHANNEL_OPEN_FAILURE]);
  assertEquals([mux.channelCount, transport.end], [0, null]);
});

Deno.test("Mux ends the connection when the application makes a channel with another number", async () => {
  const { transport } = fakeMux({ onOpen: () => ({ channel: make(55) }) });
  transport.receive(open(1));
  await settle();
  assert(transport.end?.error instanceof TypeError);
});

Deno.test("Mux holds no more channels than maxChannels, decisions and openings included", async () => {
  // Row 104.
  const { transport, mux, channels } = accepting({ maxChannels: 100 });
  for (let i = 0; i < 300; i++) transport.receive(open(i));
  await settle();
  assertEquals([mux.channelCount, channels.length], [100, 100]);
  const sent = types(transport.take());
  assertEquals(sent.filter((type) => type === Msg.CHANNEL_OPEN_CONFIRMATION).length, 100);
  assertEquals(sent.filter((type) => type === Msg.CHANNEL_OPEN_FAILURE).length, 200);
  await assertRejects(() => mux.openChannel("session", nothing, make), ChannelOpenError);
  transport.receive(ChannelClose.encode({ recipient: 50 }), open(1000));
  await settle();
  assertEquals(channels.at(-1)!.id, 100);

  let asked = 0;
  const never = fakeMux({ onOpen: () => (asked++, new Promise<null>(() => {})) });
  for (let i = 0; i < 100_000; i++) never.transport.receive(open(i));
  assertEquals(asked, 256);
  assertEquals(types(never.transport.take()).length, 100_000 - 256);
});

Deno.test("Mux drops late messages for the last 64 channels that have gone, and remembers no more", async () => {
  const { transport, mux } = fakeMux();
  for (let i = 0; i < 65; i++) {
    const channel = await openOn(transport, mux);
    assertEquals(channel.id, i);
    transport.receive(ChannelClose.encode({ recipient: i }));
    await channel.closed;
  }
  assertEquals(mux.channelCount, 0);
  for (const late of [64, 2, 1]) transport.receive(ChannelEof.encode({ recipient: late }));
  assertEquals(transport.end, null);
  transport.receive(ChannelEof.encode({ recipient: 0 }));
  assertEquals(transport.end?.error?.message, "Peer sent a message for channel 0, which is not open");
});

Deno.test("Mux counts channels that it has asked for, those that the peer waits for, and those that are open, as one", async () => {
  const { transport, mux } = fakeMux({ maxChannels: 3, onOpen: () => new Promise<null>(() => {}) });
  const channel = await openOn(transport, mux);
  const asked = mux.openChannel("session", nothing, make);
  transport.receive(open(1));
  assertEquals(types(transport.take()), [Msg.CHANNEL_OPEN]);
  await assertRejects(
    () => mux.openChannel("session", nothing, make),
    ChannelOpenError,
    "3 are open, which is the limit",
  );
  transport.receive(open(2));
  assertEquals(types(transport.take()), [Msg.CHANNEL_OPEN_FAILURE]);
  // One that is refused makes room, and so does one that is closed.
  transport.receive(ChannelOpenFailure.encode({ recipient: 1, reason: 1, description: "", language: "" }));
  await assertRejects(() => asked, ChannelOpenError);
  const next = await openOn(transport, mux);
  transport.receive(ChannelClose.encode({ recipient: channel.id }));
  await openOn(transport, mux);
  await assertRejects(() => mux.openChannel("session", nothing, make), ChannelOpenError);
  assertEquals([next.isOpen, mux.channelCount], [true, 2]);
});

Deno.test("Mux.onOpen() that settles after the end gets its channel told, and nothing is sent", async () => {
  for (const error of [null, new SshError("gone", { code: "CONNECTION_LOST" })]) {
    const decision = Promise.withResolvers<{ channel: BaseChannel; opened: () => void } | null>();
    const { transport, mux } = fakeMux({ onOpen: () => decision.promise });
    transport.receive(open(1));
    transport.finish(error);
    const channel = make(0);
    let opened = false;
    decision.resolve({ channel, opened: () => opened = true });
    await settle();
    assert(channel.ended instanceof SshError);
    if (error !== null) assert(channel.ended === error);
    await assertRejects(() => channel.closed, SshError);
    await assertRejects(() => channel.readable.getReader().read(), SshError);
    await assertRejects(() => channel.writable.getWriter().write(utf8("x")), SshError);
    assertEquals([opened, mux.channelCount, transport.take().length], [false, 0, 0]);
  }
});

Deno.test("Mux.onOpen() that rejects after the end disturbs nobody", async () => {
  const decision = Promise.withResolvers<null>();
  const { transport } = fakeMux({ onOpen: () => decision.promise });
  transport.receive(open(1));
  transport.finish(null);
  decision.reject(new Error("late"));
  await settle();
  assertEquals(transport.take(), []);
});

// ---------------------------------------------------------------------------------------------- global requests

Deno.test("Mux.globalRequest() matches replies in order, and an aborted one keeps its place", async () => {
  // Rows 105 and 112.
  const { transport, mux } = fakeMux();
  for (let i = 0; i < 10_000; i++) transport.receive(i % 2 === 0 ? success() : failure);
  assertEquals(transport.end, null);
  const abort = new AbortController();
  const first = mux.globalRequest("a", utf8("data"));
  const second = mux.globalRequest("b", nothing, { signal: abort.signal });
  const third = mux.globalRequest("c");
  mux.notify("d");
  assertEquals(transport.take(), [
    GlobalRequest.encode({ name: "a", wantReply: true, data: utf8("data") }),
    GlobalRequest.encode({ name: "b", wantReply: true, data: nothing }),
    GlobalRequest.encode({ name: "c", wantReply: true, data: nothing }),
    GlobalRequest.encode({ name: "d", wantReply: false, data: nothing }),
  ]);
  abort.abort("enough");
  assertEquals(await second.catch((reason) => reason), "enough");
  transport.receive(success(utf8("1")), success(utf8("2")), failure);
  assertEquals([text((await first)!), await third], ["1", null]);
  assertEquals(await mux.globalRequest("e", nothing, { signal: abort.signal }).catch((reason) => reason), "enough");
  await assertRejects(() => mux.globalRequest("f", new Uint8Array(300_000)), RangeError);
  assertEquals(transport.take(), []);
  // What did not leave waits for no reply.
  const last = mux.globalRequest("g");
  transport.receive(success(utf8("g")));
  assertEquals(text((await last)!), "g");
});

Deno.test("Mux.globalRequest() has no more requests wait than a peer of this module allows, but for signs of life", async () => {
  const { transport, mux } = fakeMux(),
    names = () => transport.take().map((payload) => GlobalRequest.decode(payload).name);
  const asked = Array.from({ length: 300 }, (_, i) => mux.globalRequest(`r${i}`));
  assertEquals(names().length, 128);
  mux.askForLife();
  assertEquals(names(), ["keepalive@openssh.com"]);
  // The answer to the sign of life comes in its turn, too.
  for (let i = 0; i < 301; i++) transport.receive(i === 128 ? failure : success(utf8(`r${i < 128 ? i : i - 1}`)));
  assertEquals(names().length, 172);
  assertEquals((await Promise.all(asked)).map((reply) => text(reply!)), asked.map((_, i) => `r${i}`));
});

Deno.test("Mux answers global requests in order although their answers come in another", async () => {
  const decisions = new Map<string, PromiseWithResolvers<Bytes | boolean>>();
  const asked: string[] = [];
  const { transport } = fakeMux({
    onGlobalRequest: (name, _data, wantReply) => {
      asked.push(`${name} ${wantReply}`);
      if (name === "now") return utf8("now");
      const decision = Promise.withResolvers<Bytes | boolean>();
      decisions.set(name, decision);
      return decision.promise;
    },
  });
  transport.receive(globalRequest("a"), globalRequest("now"), globalRequest("b"), globalRequest("now", false));
  await settle();
  assertEquals(asked, ["a true"]);
  decisions.get("a")!.resolve(true);
  await settle();
  assertEquals(transport.take(), [success(), success(utf8("now"))]);
  decisions.get("b")!.reject(new Error("no"));
  await settle();
  assertEquals(transport.take(), [failure]);
  assertEquals(asked, ["a true", "now true", "b true", "now false"]);
});

Deno.test("Mux refuses a global request unless the answer is true or bytes", async () => {
  const none = fakeMux();
  none.transport.receive(globalRequest("x"), globalRequest("x", false));
  assertEquals(none.transport.take(), [failure]);
  for (
    const answer of [undefined, null, 0, "", 1, "yes", {}, { then: (done: (value: boolean) => void) => done(false) }]
  ) {
    const { transport } = fakeMux({ onGlobalRequest: () => answer as unknown as boolean });
    transport.receive(globalRequest("x"));
    await settle();
    assertEquals(transport.take(), [failure], String(answer));
  }
});

Deno.test("Mux closes the connection when too many global requests wait for their answers", () => {
  // Row 106 in part.
  const { transport } = fakeMux({ onGlobalRequest: () => new Promise<boolean>(() => {}) });
  let sent = 0;
  for (; transport.end === null && sent < 1000; sent++) transport.receive(globalRequest("x"));
  assert(sent <= 260, `${sent}`);
  assert(transport.end?.error instanceof SshProtocolError);
});

Deno.test("Mux calls no handler for global requests that waited when the connection ended", async () => {
  const decision = Promise.withResolvers<boolean>();
  let asked = 0;
  const { transport } = fakeMux({ onGlobalRequest: () => (asked++, decision.promise) });
  transport.receive(globalRequest("a"), globalRequest("b"));
  transport.finish(null);
  decision.resolve(true);
  await settle();
  assertEquals([asked, transport.take().length], [1, 0]);
});

// ---------------------------------------------------------------------------------------------- the rest

Deno.test("Mux knows no other messages, and late messages of authentication only for their side", () => {
  for (const role of ["client", "server"] as const) {
    const { mux } = fakeMux({}, role);
    assertEquals(mux.message(new Uint8Array([Msg.USERAUTH_REQUEST, 1, 2])), role === "server");
    assertEquals(mux.message(new Uint8Array([Msg.USERAUTH_BANNER, 1, 2])), role === "client");
    for (const type of [5, 51, 52, 60, 61, 79, 83, 89, 101, 127]) {
      assertEquals(mux.message(new Uint8Array([type])), false);
    }
  }
});

Deno.test("Mux.ended() settles everything once, and what is asked later rejects", async () => {
  for (const error of [null, new SshError("gone", { code: "CONNECTION_LOST" })]) {
    const endings: (Error | null)[] = [];
    const { transport, mux } = fakeMux({ onEnded: (error) => void endings.push(error) });
    const channel = await openOn(transport, mux, { window: 0 });
    const abort = new AbortController();
    const writer = channel.writable.getWriter();
    await writer.write(utf8("staged"));
    const pending = [
      mux.openChannel("session", nothing, make),
      mux.openChannel("session", nothing, make, { signal: abort.signal }),
      mux.globalRequest("x"),
      mux.globalRequest("x", nothing, { signal: abort.signal }),
      channel.request("x"),
      channel.request("x", nothing, { signal: abort.signal }),
      writer.write(new Uint8Array(200_000)),
      channel.readable.getReader().read(),
      channel.stderr.getReader({ mode: "byob" }).read(new Uint8Array(1)),
      channel.closed,
    ];
    const closing = channel.stderrWritable.getWriter();
    await closing.write(utf8("staged"));
    pending.push(closing.close());
    await settle();
    transport.finish(error);
    mux.ended(null);
    const results = await Promise.allSettled(pending);
    for (const result of results) {
      assert(result.status === "rejected");
      if (error !== null) assert(result.reason === error);
      else assertEquals((result.reason as SshError).code, "CLOSED");
    }
    abort.abort("late");
    assertEquals(endings, [error]);
    await assertRejects(() => mux.openChannel("session", nothing, make), SshError);
    await assertRejects(() => mux.globalRequest("x"), SshError);
    mux.notify("x");
    await channel.close();
    assertEquals(mux.channelCount, 0);
  }
});

Deno.test("Mux ends the connection when keepalives get no answer, and only then", () => {
  // Row 106 in part.
  using time = new FakeTime();
  const transport = new FakeTransport();
  transport.setHandler(new Mux(transport, { keepalive: { interval: 1000, maxMissed: 2 } }));
  time.tick(1000);
  assertEquals(GlobalRequest.decode(transport.take()[0]!).name, "keepalive@openssh.com");
  // Any answer will do.
  transport.lastReceived = time.now();
  transport.receive(failure);
  time.tick(500);
  assertEquals(transport.take(), []);
  let asked = 0;
  for (let i = 0; i < 10; i++) {
    time.tick(1000);
    asked += transport.take().length;
  }
  assertEquals(asked, 2);
  assertEquals((transport.end?.error as SshError).code, "CONNECTION_LOST");
});

Deno.test("Mux.openChannel(), Mux.globalRequest() and Channel.request() leave no listener on their signal", async () => {
  const controller = new AbortController(), { signal } = controller, listeners = new Set<unknown>();
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (type: string, listener: EventListener, options?: AddEventListenerOptions) => {
    listeners.add(listener);
    addEventListener.call(signal, type, listener, options);
  };
  signal.removeEventListener = (type: string, listener: EventListener) => {
    listeners.delete(listener);
    removeEventListener.call(signal, type, listener);
  };
  const { transport, mux } = fakeMux();
  const opened = mux.openChannel("session", nothing, make, { signal });
  const refused = mux.openChannel("session", nothing, make, { signal });
  const asked = [mux.globalRequest("a", nothing, { signal }), mux.globalRequest("b", nothing, { signal })];
  assertEquals(listeners.size, 4);
  transport.receive(confirmation(0));
  transport.receive(ChannelOpenFailure.encode({ recipient: 1, reason: 1, description: "", language: "" }));
  transport.receive(success(), failure);
  const channel = await opened;
  await assertRejects(() => refused, ChannelOpenError);
  assertEquals(await Promise.all(asked), [nothing, null]);
  assertEquals(listeners.size, 0);
  const answer = channel.request("x", nothing, { signal });
  assertEquals(listeners.size, 1);
  transport.receive(ChannelSuccess.encode({ recipient: 0 }));
  assertEquals([await answer, listeners.size], [true, 0]);
  // The end of the connection is an answer, too.
  const waiting = [
    channel.request("y", nothing, { signal }),
    mux.globalRequest("z", nothing, { signal }),
    mux.openChannel("session", nothing, make, { signal }),
  ];
  assertEquals(listeners.size, 3);
  transport.finish(null);
  for (const each of waiting) await assertRejects(() => each, SshError);
  assertEquals(listeners.size, 0);
});

// The sanitizers see the timer that is left: an hour is longer than any test.
Deno.test("Mux.ended() leaves no keepalive timer behind", () => {
  for (const error of [null, new SshError("The line was cut", { code: "CONNECTION_LOST" })]) {
    const transport = new FakeTransport();
    transport.setHandler(new Mux(transport, { keepalive: { interval: 3_600_000 } }));
    transport.finish(error);
  }
  // And of one that was set anew.
  using time = new FakeTime();
  const transport = new FakeTransport();
  transport.setHandler(new Mux(transport, { keepalive: { interval: 1000 } }));
  time.tick(1000);
  assertEquals(time.delays.length, 2);
  transport.finish(null);
  time.tick(10_000);
  assertEquals(time.delays.length, 2);
});

Deno.test("Mux.keepalive takes an interval that timers cannot", () => {
  using time = new FakeTime();
  const transport = new FakeTransport();
  transport.setHandler(new Mux(transport, { keepalive: { interval: 1e12 } }));
  assert(time.delays.every((delay) => delay === 0x7fff_ffff));
  transport.finish(null);
});

Deno.test("Mux leaves no timer of its keepalive behind, however the connection ends", () => {
  for (const error of [null, new SshError("gone", { code: "CONNECTION_LOST" })]) {
    for (const waited of [0, 60_000, 90_000]) {
      using time = new FakeTime();
      const transport = new FakeTransport();
      transport.setHandler(new Mux(transport, { keepalive: { interval: 60_000 } }));
      time.tick(waited);
      assertEquals(time.pending, 1);
      transport.finish(error);
      assertEquals(time.pending, 0);
    }
  }
});

Deno.test("Mux keeps no more than some megabytes of channels that the application is deciding on", async () => {
  let asked = 0;
  const decision = Promise.withResolvers<null>();
  const { transport } = fakeMux({ onOpen: () => (asked++, decision.promise) }, "server");
  const large = (sender: number, type: string, data: number) =>
    ChannelOpen.encode({ type, sender, window: 0, maxPacket: 1, data: new Uint8Array(data) });
  for (let i = 0; i < 200; i++) {
    transport.receive(large(i, i % 2 === 0 ? "x" : "x".repeat(200_000), i % 2 === 0 ? 200_000 : 0));
  }
  await settle();
  assert(asked * 200_000 <= 4_194_304 + 200_000, `${asked}`);
  const refused = transport.take();
  assertEquals(refused.length, 200 - asked);
  for (const payload of refused) {
    assertEquals(ChannelOpenFailure.decode(payload).reason, 4);
  }
  assertEquals(transport.end, null);
  decision.resolve(null);
  await settle();
  transport.take();
  // What has been decided is free again.
  transport.receive(large(1000, "x", 200_000));
  await settle();
  assertEquals(ChannelOpenFailure.decode(transport.take()[0]!).reason, 1);
});

Deno.test("Mux counts requests of all channels together, their names too, and ends the connection at some megabytes", async () => {
  const { transport, mux, channels } = accepting({ maxChannels: 100 });
  for (let i = 0; i < 100; i++) transport.receive(open(i));
  await settle();
  assertEquals([mux.channelCount, channels.length], [100, 100]);
  let sent = 0;
  for (const channel of channels) {
    channel.answer = () => new Promise<boolean>(() => {});
    // Below what one channel may hold.
    for (let i = 0; i < 4 && transport.end === null; i++, sent++) {
      transport.receive(ChannelRequest.encode({
        recipient: channel.id,
        name: "x".repeat(i % 2 === 0 ? 200_000 : 1),
        wantReply: true,
        data: new Uint8Array(i % 2 === 0 ? 0 : 200_000),
      }));
    }
  }
  assert(sent * 200_000 <= 4_194_304 + 2 * 200_000, `${sent}`);
  assert(transport.end?.error instanceof SshProtocolError);
});

Deno.test("Mux cuts the description of a refusal at a whole character, and tells of what is not meant for the peer", async () => {
  const errors: unknown[] = [];
  let failure: Error = new ChannelOpenError("\u{1f600}".repeat(100_000), 2);
  const { transport } = fakeMux({
    onOpen: () => {
      throw failure;
    },
    onError: (error) => errors.push(error),
  });
  transport.receive(open(1));
  await settle();
  const { description, reason } = ChannelOpenFailure.decode(transport.take()[0]!);
  assertEquals([reason, description.length % 2, description.includes("\ufffd")], [2, 0, false]);
  assert(description.length > 1000 && description.length <= 16_000);
  assertEquals([errors, transport.end], [[], null]);
  failure = new RangeError("mine");
  transport.receive(open(1));
  await settle();
  assertEquals([ChannelOpenFailure.decode(transport.take()[0]!).reason, errors], [1, [failure]]);
});

Deno.test("Channel whose onEof() or onEnded() throws leaves the connection as it is where somebody is told", async () => {
  const errors: unknown[] = [], mine = new Error("mine");
  const { transport, mux, channel } = await openChannel({ onError: (error) => errors.push(error) });
  const other = await openOn(transport, mux);
  channel.onEof = channel.onEnded = () => {
    throw mine;
  };
  transport.receive(ChannelEof.encode({ recipient: channel.id }), ChannelClose.encode({ recipient: channel.id }));
  assertEquals([errors, transport.end, other.ended], [[mine, mine], null, undefined]);
  // Without one to tell it ends the connection: it must not go unseen.
  const untold = await openChannel();
  untold.channel.onEof = () => {
    throw mine;
  };
  untold.transport.receive(ChannelEof.encode({ recipient: untold.channel.id }));
  assert(untold.transport.end?.error === mine);
});
