import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { SshError, SshProtocolError } from "../../lib/errors.ts";
import {
  ChannelClose,
  ChannelData,
  ChannelEof,
  ChannelExtendedData,
  ChannelFailure,
  ChannelRequest,
  ChannelSuccess,
  ChannelWindowAdjust,
} from "../../lib/connection/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Prng } from "../_support/fuzz.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { fastest } from "../_support/until.ts";
import {
  confirmation,
  data,
  extendedData,
  fakeMux,
  type FakeTransport,
  open as openByPeer,
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

const WINDOW = 2_097_152;
const PACKET = 32_768;
const eof = ChannelEof.encode({ recipient: 0 });
const close = ChannelClose.encode({ recipient: 0 });
const adjust = (bytes: number) => ChannelWindowAdjust.encode({ recipient: 0, bytes });
const success = ChannelSuccess.encode({ recipient: 0 });
const failure = ChannelFailure.encode({ recipient: 0 });
const types = (payloads: readonly Uint8Array[]) => payloads.map((payload) => payload[0]);
const adjusted = (transport: FakeTransport) =>
  transport.takeType(Msg.CHANNEL_WINDOW_ADJUST).map((payload) => ChannelWindowAdjust.decode(payload).bytes);
const dataOf = (payloads: readonly Uint8Array[]) =>
  payloads.filter((payload) => payload[0] === Msg.CHANNEL_DATA).map((payload) =>
    text(ChannelData.decode(payload).data)
  );

async function isProtocolError(transport: FakeTransport, channel: TestChannel, part: string): Promise<void> {
  assert(transport.end?.error instanceof SshProtocolError, `${transport.end?.error}`);
  assert(transport.end.error.message.includes(part), transport.end.error.message);
  assert(await channel.closed.catch((error) => error) === transport.end.error);
  assert(channel.ended === transport.end.error);
}

// ---------------------------------------------------------------------------------------------- the fast path

Deno.test("Channel data in and out equals the declared message, with or without stderr", async () => {
  for (let seed = 0; seed < 200; seed++) {
    const prng = new Prng(seed);
    const bytes = prng.bytes(1 + prng.below(PACKET));
    const { transport, channel } = await openChannel();
    const stderr = prng.below(2) === 0;
    const writer = (stderr ? channel.stderrWritable : channel.writable).getWriter();
    await writer.write(bytes);
    assertEquals(
      transport.take(),
      [
        stderr
          ? ChannelExtendedData.encode({ recipient: PEER, dataType: 1, data: bytes })
          : ChannelData.encode({ recipient: PEER, data: bytes }),
      ],
    );
    const reader = (stderr ? channel.stderr : channel.readable).getReader();
    transport.receive(stderr ? extendedData(0, 1, bytes) : data(0, bytes));
    assertEquals((await reader.read()).value, bytes);
  }
});

Deno.test("Channel data that is malformed fails as the declared message does", async () => {
  for (let seed = 0; seed < 400; seed++) {
    const prng = new Prng(seed);
    const extended = prng.below(2) === 0;
    const good = extended ? extendedData(0, 1, "hello, world") : data(0, "hello, world");
    const at = 5 + prng.below(good.length - 5);
    let payload = good.slice();
    if (prng.below(3) === 0) payload = good.slice(0, at);
    else if (prng.below(2) === 0) payload = Uint8Array.from([...good, 0]);
    else payload[at] = prng.below(256);
    let declared = true;
    try {
      if (extended) ChannelExtendedData.decode(payload);
      else ChannelData.decode(payload);
    } catch {
      declared = false;
    }
    const { transport } = await openChannel();
    transport.receive(payload);
    assertEquals(transport.end === null, declared, `seed ${seed}`);
    if (!declared) assert(transport.end!.error instanceof SshProtocolError);
  }
});

// ---------------------------------------------------------------------------------------------- what comes in

Deno.test("Channel.readable gives window back when bytes leave the queue, by OpenSSH's rule", async () => {
  const { transport, channel } = await openChannel();
  const packet = new Uint8Array(PACKET);
  for (let i = 0; i < 4; i++) transport.receive(data(0, packet));
  await settle();
  // Nobody has read.
  assertEquals(adjusted(transport), []);
  const reader = channel.readable.getReader();
  let read = 0;
  while (read < 4 * PACKET) {
    read += (await reader.read()).value!.length;
    const given = adjusted(transport);
    if (read <= 3 * PACKET) assertEquals(given, [], `after ${read}`);
    else assertEquals(given, [read]);
  }
});

Deno.test("Channel.readable gives window back when less than half of a small window is left", async () => {
  for (const ours of [1, 2, 1000]) {
    const { transport, channel } = await openChannel({ ours });
    const reader = channel.readable.getReader();
    let given = 0;
    for (let sent = 0; sent < 10 * ours; sent++) {
      transport.receive(data(0, "x"));
      assertEquals((await reader.read()).value!.length, 1);
      const owed = sent + 1 - given;
      const adjustments = adjusted(transport);
      assertEquals(adjustments, owed > ours / 2 ? [owed] : []);
      if (adjustments.length > 0) given += owed;
    }
  }
});

Deno.test("Channel.stderr and Channel.readable share one window", async () => {
  const { transport, channel } = await openChannel();
  const half = WINDOW / 2;
  for (let sent = 0; sent < half; sent += PACKET) {
    transport.receive(data(0, new Uint8Array(PACKET)), extendedData(0, 1, new Uint8Array(PACKET)));
  }
  assertEquals(transport.end, null);
  transport.receive(extendedData(0, 1, "x"));
  await isProtocolError(transport, channel, "window of 0");
});

Deno.test("Channel closes the connection at the first byte beyond its window", async () => {
  // Row 98.
  for (const bytes of [1, WINDOW]) {
    const { transport, channel } = await openChannel();
    for (let sent = 0; sent < WINDOW; sent += PACKET) transport.receive(data(0, new Uint8Array(PACKET)));
    assertEquals(transport.end, null);
    transport.receive(data(0, new Uint8Array(Math.min(bytes, PACKET))));
    await isProtocolError(transport, channel, "window of 0");
    // What came within the window is the reader's.
    const reader = channel.readable.getReader();
    let read = 0;
    const end = await (async () => {
      for (;;) read += (await reader.read()).value!.length;
    })().catch((error) => error);
    assertEquals(read, WINDOW);
    assert(end === transport.end!.error);
  }
});

Deno.test("Channel closes the connection on a packet larger than agreed", async () => {
  // Row 99.
  const { transport, channel } = await openChannel();
  transport.receive(data(0, new Uint8Array(PACKET)));
  assertEquals(transport.end, null);
  transport.receive(data(0, new Uint8Array(PACKET + 1)));
  await isProtocolError(transport, channel, "were agreed");
});

Deno.test("Channel credits extended data of unknown types at once", async () => {
  // Row 103.
  for (const dataType of [0, 2, 0xffff_ffff]) {
    const { transport, channel } = await openChannel();
    for (let sent = 0; sent < 4 * WINDOW; sent += PACKET) {
      transport.receive(extendedData(0, dataType, new Uint8Array(PACKET)));
      transport.drain();
    }
    assertEquals(transport.end, null);
    const given = adjusted(transport).reduce((sum, bytes) => sum + bytes, 0);
    assert(given > 4 * WINDOW - 4 * PACKET, `${given}`);
    assertEquals(await stateOf(channel.stderr.getReader().read()), "pending");
  }
});

Deno.test("Channel credits at once what comes for a stream that is cancelled or discarded", async () => {
  const cancelled = await openChannel(), discarded = await openChannel();
  await cancelled.channel.stderr.cancel();
  discarded.channel.discard("stderr");
  for (const { transport, channel } of [cancelled, discarded]) {
    for (let sent = 0; sent < 2 * WINDOW; sent += PACKET) {
      transport.receive(extendedData(0, 1, new Uint8Array(PACKET)));
      transport.drain();
    }
    assertEquals(transport.end, null);
    // The other stream is as it was.
    const read = channel.readable.getReader().read();
    transport.receive(data(0, "still here"));
    assertEquals(text((await read).value!), "still here");
  }
});

Deno.test("Channel.readable that nobody reads stalls its own channel only", async () => {
  const { transport, mux, channel } = await openChannel();
  const other = await openOn(transport, mux);
  for (let sent = 0; sent < WINDOW; sent += PACKET) transport.receive(data(0, new Uint8Array(PACKET)));
  await settle();
  assertEquals(adjusted(transport), []);
  const reader = other.readable.getReader();
  let read = 0;
  for (let sent = 0; sent < 2 * WINDOW; sent += PACKET) {
    transport.receive(data(1, new Uint8Array(PACKET)));
    read += (await reader.read()).value!.length;
  }
  while (read < 2 * WINDOW) read += (await reader.read()).value!.length;
  assert(transport.take().every((payload) => ChannelWindowAdjust.decode(payload).recipient === PEER + 1));
  // Requests of the stalled channel are answered as well.
  transport.receive(request(0, "ping"));
  assertEquals(types(transport.take()), [Msg.CHANNEL_SUCCESS]);
  assertEquals(channel.requests.length, 1);
});

Deno.test("Channel grows its window by eight at most on a long path, and never for a reader that is slow", async () => {
  for (const slow of [false, true]) {
    const { transport, mux } = fakeMux({ window: 100_000 });
    const opened = mux.openChannel("session", new Uint8Array(0), (id) => new TestChannel(id));
    transport.take();
    transport.roundTrip = 100;
    transport.lastReceived = performance.now() + 100;
    transport.receive(confirmation(0));
    const channel = await opened;
    const reader = channel.readable.getReader();
    let room = 100_000, size = room;
    for (let trip = 0; trip < 40; trip++) {
      transport.lastReceived += 101;
      // The peer uses all it has, in batches of one packet.
      let sent = 0;
      while (room > 0) {
        const length = Math.min(room, PACKET);
        transport.receive(data(0, new Uint8Array(length)));
        room -= length;
        sent += length;
        if (!slow) sent -= (await reader.read()).value!.length;
      }
      while (sent > 0) sent -= (await reader.read()).value!.length;
      for (const bytes of adjusted(transport)) room += bytes;
      size = Math.max(size, room);
    }
    assertEquals(transport.end, null);
    if (slow) assertEquals(size, 100_000);
    else assert(size > 700_000 && size <= 800_000, `${size}`);
  }
});

Deno.test("Channel tells the transport what the peer's first word about it took, and no later one", async () => {
  using time = new FakeTime();
  const { transport, mux } = fakeMux({ onOpen: ({ id }) => ({ channel: new TestChannel(id) }) });
  const opened = mux.openChannel("session", new Uint8Array(0), (id) => new TestChannel(id));
  transport.lastReceived = time.now() + 500;
  transport.receive(confirmation(0));
  await opened;
  assertEquals(transport.answers, [500]);
  // A channel of the peer: that it opens is no answer, and its first request is one.
  time.tick(1000);
  transport.lastReceived = time.now();
  transport.receive(openByPeer(9));
  await settle();
  for (let i = 0; i < 3; i++) {
    transport.lastReceived = time.now() + 70 + i;
    transport.receive(request(1, "exec"));
    transport.receive(request(0, "late"));
  }
  assertEquals(transport.answers, [500, 70]);
});

Deno.test("Channel has the round trip measured while much comes, and not for a little", async () => {
  const { transport, channel } = await openChannel();
  const reader = channel.readable.getReader();
  for (let i = 0; i < 3; i++) {
    transport.receive(data(0, new Uint8Array(PACKET)));
    await reader.read();
  }
  assertEquals(transport.measured, 0);
  transport.receive(data(0, new Uint8Array(PACKET)));
  await reader.read();
  assertEquals(transport.measured, 1);
});

Deno.test("Channel gives no window back for what nobody may send any more", async () => {
  const { transport, channel } = await openChannel();
  for (let i = 0; i < 8; i++) transport.receive(data(0, new Uint8Array(PACKET)));
  transport.receive(eof);
  let read = 0;
  for await (const chunk of channel.readable) read += chunk.length;
  assertEquals(read, 8 * PACKET);
  assertEquals(transport.take(), []);
});

Deno.test("Channel takes a flood of empty data and empty adjustments without a packet or an event", async () => {
  // Row 111.
  const { transport, channel } = await openChannel();
  const read = channel.readable.getReader().read();
  const empty = data(0, ""), emptyStderr = extendedData(0, 1, ""), nothing = adjust(0);
  // Some 100 ms each time.
  const time = await fastest(4000, () => {
    for (let i = 0; i < 100_000; i++) transport.receive(empty, emptyStderr, nothing);
  });
  assert(time < 4000, `${time} ms`);
  assertEquals(transport.take(), []);
  assertEquals(await stateOf(read), "pending");
  assertEquals(channel.events, []);
});

Deno.test("Channel ends its readables at EOF, tells once, and takes no data behind it", async () => {
  // Row 102.
  const { transport, channel } = await openChannel();
  transport.receive(data(0, "out"), extendedData(0, 1, "err"), eof, eof);
  assertEquals(transport.end, null);
  assertEquals(channel.events, ["eof"]);
  assertEquals(await Array.fromAsync(channel.readable, text), ["out"]);
  assertEquals(await Array.fromAsync(channel.stderr, text), ["err"]);
  assert(channel.isOpen);
  const writer = channel.writable.getWriter();
  await writer.write(utf8("half open"));
  assertEquals(dataOf(transport.take()), ["half open"]);
  for (const late of [data(0, "x"), data(0, ""), extendedData(0, 1, "x"), extendedData(0, 9, "x")]) {
    const other = await openChannel();
    other.transport.receive(eof, late);
    await isProtocolError(other.transport, other.channel, "after its EOF");
  }
});

Deno.test("Channel drops what the peer sends between our CLOSE and its own", async () => {
  // Row 102: the peer has not seen our CLOSE yet.
  const { transport, mux, channel } = await openChannel();
  const closed = channel.close();
  transport.receive(data(0, "late"), extendedData(0, 1, "late"), adjust(5), request(0, "late"), success, eof, failure);
  assertEquals(transport.end, null);
  assertEquals(channel.requests, []);
  assertEquals(mux.channelCount, 1);
  transport.receive(close);
  await closed;
  assertEquals(mux.channelCount, 0);
  assertEquals(types(transport.take()), [Msg.CHANNEL_CLOSE]);
  // Data may have been dropped: what it ends with is no end of file.
  await assertRejects(() => Array.fromAsync(channel.readable), SshError, "Channel is closed");
});

Deno.test("Channel.close() fails readers of what the peer has not ended, and leaves what it has ended whole", async () => {
  for (const ended of [false, true]) {
    const { transport, channel } = await openChannel();
    transport.receive(data(0, "out"), extendedData(0, 1, "err"), ...ended ? [eof] : []);
    void channel.close();
    for (const stream of [channel.readable, channel.stderr]) {
      const read = new Response(stream).text();
      if (ended) assertEquals((await read).length, 3);
      else await assertRejects(() => read, SshError, "Channel is closed");
    }
    transport.receive(close);
    await channel.closed;
  }
});

Deno.test("Channel.writable aborted fails its readers with the same reason", async () => {
  const { transport, channel } = await openChannel();
  const reason = new Error("the source broke"), read = new Response(channel.readable).text();
  await channel.writable.abort(reason);
  assertEquals(await assertRejects(() => read), reason);
  transport.receive(close);
  await channel.closed;
});

Deno.test("Channel that nobody reads keeps the window closed while it drops what comes behind CLOSE", async () => {
  const { transport, channel } = await openChannel();
  void channel.close();
  for (let sent = 0; sent < WINDOW; sent += PACKET) transport.receive(data(0, new Uint8Array(PACKET)));
  assertEquals(transport.end, null);
  assertEquals(types(transport.take()), [Msg.CHANNEL_CLOSE]);
  transport.receive(data(0, "x"));
  await isProtocolError(transport, channel, "window of 0");
});

Deno.test("Channel answers CLOSE with CLOSE, and keeps what came before for the reader", async () => {
  const { transport, mux, channel } = await openChannel();
  transport.receive(data(0, "out"), close);
  await channel.closed;
  assertEquals(channel.ended, null);
  assertEquals(channel.isOpen, false);
  assertEquals(mux.channelCount, 0);
  assertEquals(transport.take(), [ChannelClose.encode({ recipient: PEER })]);
  assertEquals(await Array.fromAsync(channel.readable, text), ["out"]);
  await assertRejects(() => channel.writable.getWriter().write(utf8("x")), SshError, "closed");
});

Deno.test("Channel.writable can still be closed when the peer closed first and everything written had left, and not otherwise", async () => {
  const cases = [["stream", "", true], ["writer", "", true], ["writer", "abc", true], [
    "stream",
    "staged",
    false,
  ]] as const;
  for (const [how, written, resolves] of cases) {
    const { transport, channel } = await openChannel({ window: written === "staged" ? 0 : 100 });
    const writer = channel.writable.getWriter();
    writer.closed.catch(() => {});
    if (written !== "") await writer.write(utf8(written));
    await settle();
    if (how === "stream") writer.releaseLock();
    transport.receive(close);
    await settle();
    const closing = how === "stream" ? channel.writable.close() : writer.close();
    if (resolves) await closing;
    else assertEquals((await assertRejects(() => closing, SshError)).code, "CLOSED");
    if (how === "writer") await assertRejects(() => writer.write(utf8("more")), SshError, "Channel is closed");
    await channel.closed.catch(() => {});
  }
  {
    // A write that waits for window is lost, though nothing was staged.
    const { transport, channel } = await openChannel({ window: 0 });
    const writer = channel.writable.getWriter();
    const refused = assertRejects(() => writer.write(new Uint8Array(200_000)), SshError);
    await settle();
    transport.receive(close);
    await refused;
    assertEquals((await assertRejects(() => writer.close(), SshError)).code, "CLOSED");
  }
  const { transport, channel } = await openChannel();
  transport.finish(new SshError("gone", { code: "CONNECTION_LOST" }));
  await channel.closed.catch(() => {});
  await assertRejects(() => channel.writable.close(), SshError, "gone");
});

Deno.test("Channel whose connection is lost gives its reader the data, and then the error", async () => {
  const { transport, channel } = await openChannel();
  transport.receive(data(0, new Uint8Array(20_000)), extendedData(0, 1, "err"));
  const lost = new SshError("Connection was lost", { code: "CONNECTION_LOST" });
  transport.finish(lost);
  let read = 0;
  const end = await (async () => {
    for await (const chunk of channel.readable) read += chunk.length;
  })().catch((error) => error);
  assertEquals(read, 20_000);
  assert(end === lost);
  const reader = channel.stderr.getReader();
  assertEquals(text((await reader.read()).value!), "err");
  assert(await reader.read().catch((error) => error) === lost);
  assert(await channel.closed.catch((error) => error) === lost);
  assertEquals(channel.events, ["ended"]);
  assert(await channel.request("x").catch((error) => error.code) === "CLOSED");
  channel.notify("x");
  await channel.close();
});

// ---------------------------------------------------------------------------------------------- what goes out

Deno.test("Channel.writable sends no more than the window, and waits for more of it", async () => {
  const { transport, channel } = await openChannel({ window: 10 });
  const writer = channel.writable.getWriter();
  await writer.write(utf8("0123456789abcdef"));
  assertEquals(dataOf(transport.take()), ["0123456789"]);
  await settle();
  assertEquals(transport.take(), []);
  transport.receive(adjust(4));
  assertEquals(dataOf(transport.take()), ["abcd"]);
  transport.receive(adjust(0));
  transport.receive(adjust(0xffff_fff0));
  assertEquals(dataOf(transport.take()), ["ef"]);
});

Deno.test("Channel closes the connection when its window is adjusted beyond 2^32 - 1", async () => {
  // Row 97.
  const { transport, channel } = await openChannel({ window: 10 });
  transport.receive(adjust(0xffff_ffff - 10));
  assertEquals(transport.end, null);
  transport.receive(adjust(1));
  await isProtocolError(transport, channel, "2^32 - 1");
});

Deno.test("Channel works with a window of 0 and packets of one byte", async () => {
  // Row 100.
  const { transport, channel } = await openChannel({ window: 0, maxPacket: 1 });
  const writer = channel.writable.getWriter(), stderr = channel.stderrWritable.getWriter();
  await writer.write(utf8("ab"));
  await stderr.write(utf8("cd"));
  await settle();
  assertEquals(transport.take(), []);
  transport.receive(adjust(3));
  // In turn, one byte each.
  assertEquals(types(transport.take()), [Msg.CHANNEL_DATA, Msg.CHANNEL_EXTENDED_DATA, Msg.CHANNEL_DATA]);
  transport.receive(adjust(100));
  assertEquals(types(transport.take()), [Msg.CHANNEL_EXTENDED_DATA]);
});

Deno.test("Channel makes no packet larger than 32 KiB, whatever the peer takes", async () => {
  const { transport, channel } = await openChannel({ window: 0xffff_ffff, maxPacket: 0xffff_ffff });
  const writer = channel.writable.getWriter();
  await writer.write(new Uint8Array(300_000));
  const sizes = transport.take().map((payload) => ChannelData.decode(payload).data.length);
  assert(sizes.every((size) => size <= PACKET));
  assertEquals(sizes.reduce((a, b) => a + b), 300_000);
});

Deno.test("Channel.writable counts a total beyond 4 GiB without truncation", async () => {
  // Row 108. One buffer, written again and again; nothing is copied but 32 KiB at a time.
  const { transport, channel } = await openChannel({ window: 0xffff_ffff });
  const core = channel.core;
  const chunk = new Uint8Array(64 * 1024 * 1024);
  const out = new Uint8Array(40_000);
  transport.takes = false;
  const writer = channel.writable.getWriter();
  let sent = 0;
  for (let i = 0; i < 3; i++) {
    const written = writer.write(chunk);
    await settle();
    for (let n = core.writeData(out, 0); n > 0; n = core.writeData(out, 0)) sent += n - 9;
    await written;
  }
  assertEquals(sent, 3 * chunk.length);
  // The window, counted down from 2^32 - 1, to the byte.
  transport.receive(adjust(sent));
  assertEquals(transport.end, null);
  transport.receive(adjust(1));
  assert(transport.end !== null);
});

Deno.test("Channel takes a single chunk that claims 5 GiB", async () => {
  // Row 108 without the memory: the length alone counts.
  const { transport, channel } = await openChannel({ window: 100 });
  const size = 5 * 2 ** 30;
  const chunk = new Uint8Array(1000);
  Object.defineProperty(chunk, "length", { value: size });
  const writer = channel.writable.getWriter();
  const waiting = writer.write(chunk);
  assertEquals(await stateOf(waiting), "pending");
  assertEquals(channel.core.sent.available, size - 100);
  assertEquals(dataOf(transport.take()).join("").length, 100);
  const aborted = writer.abort("enough");
  assertEquals(await waiting.catch((error) => error), "enough");
  await aborted;
});

Deno.test("Channel.writable sends EOF behind staged data when it is closed", async () => {
  const { transport, channel } = await openChannel({ window: 5 });
  const writer = channel.writable.getWriter();
  await writer.write(utf8("0123456789"));
  const closing = writer.close();
  assertEquals(types(transport.take()), [Msg.CHANNEL_DATA]);
  assertEquals(await stateOf(closing), "pending");
  transport.receive(adjust(5));
  assertEquals(types(transport.take()), [Msg.CHANNEL_DATA, Msg.CHANNEL_EOF]);
  await closing;
  channel.sendEof();
  assertEquals(transport.take(), []);
  assert(channel.isOpen);
});

Deno.test("Channel.sendEof() waits for standard error as well, and nothing follows it", async () => {
  const { transport, channel } = await openChannel({ window: 3 });
  const writer = channel.writable.getWriter(), stderr = channel.stderrWritable.getWriter();
  await stderr.write(utf8("error"));
  await writer.close();
  assertEquals(types(transport.take()), [Msg.CHANNEL_EXTENDED_DATA]);
  transport.receive(adjust(100));
  assertEquals(types(transport.take()), [Msg.CHANNEL_EXTENDED_DATA, Msg.CHANNEL_EOF]);
  await assertRejects(() => stderr.write(utf8("late")), SshError, "EOF has been sent");
  assertEquals(transport.take(), []);
});

Deno.test("Channel.sendEof() waits for a write that waits for window, and refuses what comes behind", async () => {
  const { transport, channel } = await openChannel({ window: 10 });
  const writer = channel.writable.getWriter();
  const large = writer.write(new Uint8Array(200_000));
  await settle();
  channel.sendEof();
  channel.sendEof();
  assertEquals(types(transport.take()), [Msg.CHANNEL_DATA]);
  transport.receive(adjust(1_000_000));
  assertEquals(types(transport.take()).at(-1), Msg.CHANNEL_EOF);
  await large;
  await assertRejects(() => writer.write(utf8("late")), SshError, "EOF has been sent");
  assertEquals(transport.take(), []);
});

Deno.test("Channel.sendEof() sends no EOF where the write that it waits for is cut off: what has come must not look whole", async () => {
  for (const how of ["close", "closing", "transferred"]) {
    for (const output of ["writable", "stderrWritable"] as const) {
      const { transport, mux, channel } = await openChannel({ window: 10 });
      const writer = channel[output].getWriter(), large = new Uint8Array(200_000);
      await writer.write(new Uint8Array(100));
      const cut = writer.write(large).catch((error) => error);
      await settle();
      // The end of standard output is the EOF of both.
      if (output === "writable") channel.sendEof();
      else await channel.writable.close();
      if (how === "close") void channel.close();
      else if (how === "closing") mux.closing();
      else large.buffer.transfer();
      transport.receive(adjust(1_000_000));
      const sent = new Set(types(transport.take()));
      assertEquals(sent.has(Msg.CHANNEL_EOF), false, `${how}, ${output}`);
      assertEquals(sent.has(Msg.CHANNEL_CLOSE), how === "close");
      transport.finish(null);
      assert(await cut instanceof Error);
    }
  }
});

Deno.test("Channel.close() sends CLOSE behind all staged data, however often the window must grow for it", async () => {
  const { transport, channel } = await openChannel({ window: 5 });
  transport.takes = false;
  const writer = channel.writable.getWriter();
  await writer.write(utf8("0123456789"));
  const closed = channel.close();
  transport.drain();
  assertEquals(dataOf(transport.take()), ["01234"]);
  assertEquals(await stateOf(closed), "pending");
  transport.receive(adjust(3));
  transport.drain();
  assertEquals(dataOf(transport.take()), ["567"]);
  transport.receive(adjust(100));
  transport.drain();
  assertEquals(types(transport.take()), [Msg.CHANNEL_DATA, Msg.CHANNEL_CLOSE]);
  // What was asked for is done; the peer may take its time.
  await closed;
  assertEquals(await stateOf(channel.closed), "pending");
  transport.receive(close);
  await channel.closed;
  // And in one go where the window is large enough.
  const wide = await openChannel();
  wide.transport.takes = false;
  await wide.channel.writable.getWriter().write(new Uint8Array(100_000));
  void wide.channel.close();
  wide.transport.drain();
  assertEquals(types(wide.transport.take()), [94, 94, 94, 94, Msg.CHANNEL_CLOSE]);
});

Deno.test("Channel.close() gives up when the peer has taken nothing for 3 seconds, and says what is lost", async () => {
  using time = new FakeTime();
  const { transport, channel } = await openChannel({ window: 2 });
  const writer = channel.writable.getWriter();
  await writer.write(utf8("staged"));
  await settle();
  transport.take();
  const waiting = writer.write(new Uint8Array(200_000));
  const asked = channel.request("x");
  await settle();
  transport.take();
  const closed = channel.close();
  await assertRejects(() => waiting, SshError, "closed");
  await assertRejects(() => writer.write(utf8("late")), SshError, "closed");
  time.tick(2999);
  transport.receive(adjust(1));
  assertEquals(dataOf(transport.take()), ["a"]);
  time.tick(2999);
  assertEquals(transport.take(), []);
  time.tick(1);
  assertEquals(types(transport.take()), [Msg.CHANNEL_CLOSE]);
  await closed;
  await assertRejects(() => asked, SshError, "closed");
  assert(!channel.isOpen);
  void channel.close();
  transport.receive(close);
  await assertRejects(() => channel.closed, SshError, "3 bytes are lost");
  assertEquals(transport.take(), []);
  assertEquals(channel.events, ["ended"]);
});

Deno.test("Channel.close() gives up after 30 seconds on a peer that takes a little now and then", async () => {
  using time = new FakeTime();
  const { transport, channel } = await openChannel({ window: 0 });
  await channel.writable.getWriter().write(new Uint8Array(1000));
  void channel.close();
  for (let second = 0; second < 30; second++) {
    transport.receive(adjust(1));
    assertEquals(types(transport.take()), [Msg.CHANNEL_DATA]);
    time.tick(1000);
  }
  assertEquals(types(transport.take()), [Msg.CHANNEL_CLOSE]);
  transport.receive(close);
  await assertRejects(() => channel.closed, SshError, "970 bytes are lost");
});

Deno.test("Channel.close() before the peer's confirmation has the same patience after it", async () => {
  using time = new FakeTime();
  const { transport, mux } = fakeMux();
  let channel: TestChannel | undefined;
  const opened = mux.openChannel("session", new Uint8Array(0), (id) => channel = new TestChannel(id));
  await channel!.writable.getWriter().write(utf8("early"));
  void channel!.close();
  transport.take();
  transport.receive(confirmation(0, { window: 0 }));
  await opened;
  assertEquals(transport.take(), []);
  time.tick(3000);
  assertEquals(types(transport.take()), [Msg.CHANNEL_CLOSE]);
  transport.receive(close);
  await assertRejects(() => channel!.closed, SshError, "5 bytes are lost");
});

Deno.test("Channel.close() is not put off by an application that goes on writing", async () => {
  const { transport, channel } = await openChannel();
  transport.takes = false;
  const writer = channel.writable.getWriter();
  await writer.write(new Uint8Array(100_000));
  void channel.close();
  await assertRejects(() => writer.write(new Uint8Array(100_000)), SshError, "closed");
  transport.drain();
  const sent = transport.take();
  assertEquals(sent.at(-1)![0], Msg.CHANNEL_CLOSE);
  assertEquals(sent.length, 5);
});

Deno.test("Channel.close() leaves a write of standard error that waits behind, not a message", async () => {
  const { transport, channel } = await openChannel({ window: 4 });
  transport.takes = false;
  await channel.stderrWritable.getWriter().write(utf8("error"));
  channel.notify("exit-status", new Uint8Array([0, 0, 0, 1]));
  void channel.close();
  transport.drain();
  assertEquals(types(transport.take()), [Msg.CHANNEL_EXTENDED_DATA, Msg.CHANNEL_REQUEST]);
  transport.receive(adjust(1));
  transport.drain();
  assertEquals(types(transport.take()), [Msg.CHANNEL_EXTENDED_DATA, Msg.CHANNEL_CLOSE]);
});

Deno.test("Channel.writable.abort() while a write waits for window rejects it at once and sends CLOSE", async () => {
  // Rows 107 and 112.
  for (const closing of [false, true]) {
    const { transport, channel } = await openChannel({ window: 0 });
    const writer = channel.writable.getWriter();
    await writer.write(utf8("staged"));
    const waiting = closing ? writer.close() : writer.write(new Uint8Array(1_000_000));
    await settle();
    transport.take();
    const aborted = writer.abort("enough");
    assertEquals(await waiting.catch((error) => error), "enough");
    await aborted.catch(() => {});
    assertEquals(types(transport.take()), [Msg.CHANNEL_CLOSE]);
    assertEquals(await writer.write(utf8("x")).catch((error) => error instanceof Error ? "error" : error), "enough");
    transport.receive(close);
    await channel.closed;
  }
});

Deno.test("Channel.notify() keeps its place behind data that has been written and can leave", async () => {
  const { transport, channel } = await openChannel({ window: 2 * PACKET });
  transport.takes = false;
  const writer = channel.writable.getWriter();
  await writer.write(new Uint8Array(PACKET + 1));
  channel.notify("exit-status", new Uint8Array(4));
  transport.drain(1);
  assertEquals(types(transport.take()), [Msg.CHANNEL_DATA]);
  // Whatever comes behind it, with or without an answer, keeps the order.
  void channel.request("ask").catch(() => {});
  channel.notify("window-change");
  await writer.write(new Uint8Array(2 * PACKET));
  transport.drain();
  // The window is used up, and a signal must reach a process that does not read.
  const sent = transport.take();
  assertEquals(sent.map((payload) => payload[0] === Msg.CHANNEL_DATA ? "data" : ChannelRequest.decode(payload).name), [
    "data",
    "exit-status",
    "ask",
    "window-change",
  ]);
  channel.notify("signal");
  transport.drain();
  assertEquals(types(transport.take()), [Msg.CHANNEL_REQUEST]);
  transport.receive(adjust(4 * PACKET));
  transport.drain();
  assertEquals(types(transport.take()), [Msg.CHANNEL_DATA, Msg.CHANNEL_DATA]);
});

Deno.test("Channel takes writes, EOF and CLOSE of a subclass that is not open yet", async () => {
  const { transport, mux } = await openChannel();
  const opened = mux.openChannel("session", new Uint8Array(0), (id) => {
    const channel = new TestChannel(id);
    void channel.writable.getWriter().write(utf8("early"));
    return channel;
  });
  await settle();
  assertEquals(types(transport.take()), [Msg.CHANNEL_OPEN]);
  transport.receive(confirmation(1));
  const channel = await opened;
  assertEquals(dataOf(transport.take()), ["early"]);
  channel.sendEof();
  assertEquals(types(transport.take()), [Msg.CHANNEL_EOF]);
  const eager = mux.openChannel("session", new Uint8Array(0), (id) => {
    const made = new TestChannel(id);
    void made.writable.close();
    queueMicrotask(() => void made.close());
    return made;
  });
  await settle();
  transport.take();
  transport.receive(confirmation(2));
  await eager;
  assertEquals(types(transport.take()), [Msg.CHANNEL_EOF, Msg.CHANNEL_CLOSE]);
});

// ---------------------------------------------------------------------------------------------- requests

Deno.test("Channel answers requests in order although their handlers finish in another", async () => {
  const { transport, channel } = await openChannel();
  const decisions: PromiseWithResolvers<boolean>[] = [];
  channel.answer = (name) => {
    if (name === "now") return true;
    const decision = Promise.withResolvers<boolean>();
    decisions.push(decision);
    return decision.promise;
  };
  transport.receive(request(0, "slow"), request(0, "now"), request(0, "slow"), request(0, "now", false));
  await settle();
  // One at a time: the second one starts when the first has been answered.
  assertEquals(channel.events, ["slow"]);
  assertEquals(transport.take(), []);
  decisions[0]!.resolve(false);
  await settle();
  assertEquals(types(transport.take()), [Msg.CHANNEL_FAILURE, Msg.CHANNEL_SUCCESS]);
  decisions[1]!.reject(new Error("broken"));
  await settle();
  assertEquals(types(transport.take()), [Msg.CHANNEL_FAILURE]);
  assertEquals(channel.events, ["slow", "now", "slow", "now"]);
});

Deno.test("Channel answers only true with SUCCESS", async () => {
  const { transport, channel } = await openChannel();
  for (const answer of [false, undefined, null, 1, "yes", {}, Promise.resolve(1)]) {
    channel.answer = () => answer as boolean;
    transport.receive(request(0, "x"));
    await settle();
    assertEquals(types(transport.take()), [Msg.CHANNEL_FAILURE], String(answer));
  }
});

Deno.test("Channel closes the connection when too many requests wait for their answers", async () => {
  for (const bytes of [0, 100_000]) {
    const { transport, channel } = await openChannel();
    channel.answer = () => new Promise<boolean>(() => {});
    let sent = 0;
    while (transport.end === null && sent < 1000) {
      transport.receive(request(0, "x", true, new Uint8Array(bytes)));
      sent++;
    }
    assert(sent <= 260, `${sent}`);
    if (bytes > 0) assert(sent * bytes <= 2_000_000, `${sent}`);
    await isProtocolError(transport, channel, "ahead of their answers");
  }
});

Deno.test("Channel calls no handler for requests that waited when the connection ended", async () => {
  const { transport, channel } = await openChannel();
  const decision = Promise.withResolvers<boolean>();
  channel.answer = () => decision.promise;
  transport.receive(request(0, "a"), request(0, "b"));
  transport.finish(null);
  decision.resolve(true);
  await settle();
  assertEquals(channel.events, ["a", "ended"]);
  assertEquals(transport.take(), []);
});

Deno.test("Channel serves a request that came before CLOSE, and has nowhere to answer", async () => {
  const { transport, channel } = await openChannel();
  const decision = Promise.withResolvers<boolean>();
  channel.answer = () => decision.promise;
  transport.receive(request(0, "a"), request(0, "exit-status", false), close);
  await channel.closed;
  decision.resolve(true);
  await settle();
  assertEquals(channel.requests.map(({ name }) => name), ["a", "exit-status"]);
  assertEquals(types(transport.take()), [Msg.CHANNEL_CLOSE]);
});

Deno.test("Channel.request() matches answers in order, and an aborted one keeps its place", async () => {
  // Rows 105 and 112.
  const { transport, channel } = await openChannel();
  for (let i = 0; i < 10_000; i++) transport.receive(i % 2 === 0 ? success : failure);
  assertEquals(transport.end, null);
  const abort = new AbortController();
  const first = channel.request("a"), second = channel.request("b", undefined, { signal: abort.signal });
  const third = channel.request("c");
  abort.abort("enough");
  assertEquals(await second.catch((error) => error), "enough");
  transport.receive(failure, success, failure);
  assertEquals([await first, await third], [false, false]);
  const sent = transport.take().map((payload) => ChannelRequest.decode(payload).name);
  assertEquals(sent, ["a", "b", "c"]);
  assertEquals(await channel.request("d", undefined, { signal: abort.signal }).catch((error) => error), "enough");
  assertEquals(transport.take(), []);
});

Deno.test("Channel.request() rejects when the channel ends first, and for what does not fit", async () => {
  const { transport, channel } = await openChannel();
  await assertRejects(() => channel.request("x", new Uint8Array(300_000)), RangeError);
  const asked = channel.request("x"),
    aborted = channel.request("y", undefined, { signal: new AbortController().signal });
  transport.receive(close);
  await assertRejects(() => asked, SshError, "closed");
  await assertRejects(() => aborted, SshError, "closed");
});

Deno.test("Channel that throws in onEnded() ends the connection, and the other channels are told", async () => {
  const { transport, mux, channel } = await openChannel();
  const other = await openOn(transport, mux);
  const cause = new Error("mine");
  channel.onEnded = () => {
    throw cause;
  };
  transport.receive(close);
  assert(transport.end?.error === cause);
  assert(other.ended === cause);
  const both = await openChannel();
  const second = await openOn(both.transport, both.mux);
  both.channel.onEnded = () => {
    throw cause;
  };
  const waiting = both.mux.globalRequest("x");
  both.transport.finish(null);
  assert(second.ended instanceof SshError);
  await assertRejects(() => waiting, SshError);
});

Deno.test("Channel refuses messages that do not fit at once, even where they would wait behind data", async () => {
  const { transport, channel } = await openChannel();
  const writer = channel.writable.getWriter();
  const writing = writer.write(new Uint8Array(10_000));
  await settle();
  channel.notify("first");
  assertThrows(() => channel.notify("x", new Uint8Array(261_120)), RangeError, 'channel request "x"');
  assertThrows(() => channel.notify("x".repeat(261_120)), RangeError, "fit in a packet");
  await assertRejects(() => channel.request("x", new Uint8Array(261_120)), RangeError, 'channel request "x"');
  const asked = channel.request("second");
  assertEquals(types(transport.take()), [Msg.CHANNEL_DATA, Msg.CHANNEL_REQUEST, Msg.CHANNEL_REQUEST]);
  await writing;
  transport.receive(success);
  assertEquals([await asked, transport.end], [true, null]);
});
