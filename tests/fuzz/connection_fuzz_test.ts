import { assert, assertEquals } from "@std/assert";
import { SshError, SshProtocolError } from "../../lib/errors.ts";
import {
  ChannelClose,
  ChannelData,
  ChannelEof,
  ChannelExtendedData,
  ChannelFailure,
  ChannelOpen,
  ChannelOpenConfirmation,
  ChannelOpenFailure,
  ChannelSuccess,
  ChannelWindowAdjust,
  RequestFailure,
  RequestSuccess,
} from "../../lib/connection/messages.ts";
import { Mux } from "../../lib/connection/mux.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import {
  data,
  extendedData,
  FakeTransport,
  globalRequest,
  open,
  request,
  settle,
  TestChannel,
} from "../_support/fake_transport.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { fuzzAsync, mutate, Prng } from "../_support/fuzz.ts";

const PACKET = 32_768;
const MAX_U32 = 0xffff_ffff;
const nothing = new Uint8Array(0);

/** What the peer must know of a channel to keep to the protocol, or to break it. */
interface Model {
  readonly channel: TestChannel;
  readonly peer: number;
  /** What the peer may send, and what we may. */
  left: number;
  sendLeft: number;
  eofReceived: boolean;
  eofSent: boolean;
  closeSent: boolean;
}

/** One mux, an application that does what it likes, and a peer that mostly keeps to the protocol. */
class Game {
  readonly prng: Prng;
  readonly transport: FakeTransport;
  readonly mux: Mux;
  readonly window: number;
  readonly models = new Map<number, Model>();
  /** Numbers of channels that have been closed. */
  readonly gone = new Set<number>();
  readonly opening = new Map<number, TestChannel>();
  readonly channels: TestChannel[] = [];
  readonly promises: Promise<unknown>[] = [];
  /** Offers of the peer by its number, and decisions that the application has not made yet. */
  readonly offers = new Map<number, { window: number; id: number | null }>();
  readonly decisions: (() => void)[] = [];
  readonly aborts: AbortController[] = [];
  requestsReceived = 0;
  /** The peer sent something that must end the connection. */
  wrong: string | null = null;
  /** From here on nobody can say what is right. */
  over = false;
  nextOffer = 1000;

  constructor(seed: number) {
    this.prng = new Prng(seed);
    this.transport = new FakeTransport(this.prng.pick(["client", "server"]));
    this.window = this.prng.pick([1, 100, 5000, 100_000, 2_097_152]);
    this.mux = new Mux(this.transport, {
      window: this.window,
      maxChannels: 6,
      onOpen: ({ id, type }) => {
        const offer = Number(type.slice(1));
        this.offers.get(offer)!.id = id;
        return this.decide(() => {
          if (this.prng.below(4) === 0) return null;
          if (this.prng.below(6) === 0) throw new Error("no");
          return { channel: this.make(id) };
        });
      },
      onGlobalRequest: () => this.decide(() => this.prng.below(2) === 0),
    });
    this.transport.setHandler(this.mux);
    this.transport.takes = this.prng.below(3) > 0;
  }

  make(id: number): TestChannel {
    const channel = new TestChannel(id);
    channel.answer = () => this.decide(() => this.prng.below(2) === 0);
    this.channels.push(channel);
    this.keep(channel.closed);
    return channel;
  }

  keep<T>(promise: Promise<T>): Promise<T> {
    this.promises.push(promise);
    promise.catch(() => {});
    return promise;
  }

  /** At once, soon, late, or never until the end. */
  decide<T>(make: () => T): T | Promise<T> {
    const when = this.prng.below(4);
    if (when === 0) return make();
    if (when === 1) return Promise.resolve().then(make);
    return new Promise<T>((resolve, reject) => {
      this.decisions.push(() => {
        try {
          resolve(make());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  // -------------------------------------------------------------------------------- the application

  act(): void {
    const { prng } = this;
    const channel = this.channels.length === 0 ? null : prng.pick(this.channels);
    const abort = () => {
      if (prng.below(2) === 0) return {};
      const controller = new AbortController();
      if (prng.below(4) === 0) controller.abort("before");
      this.aborts.push(controller);
      return { signal: controller.signal };
    };
    switch (prng.below(15)) {
      case 0: {
        let made: TestChannel | null = null;
        this.keep(this.mux.openChannel("session", nothing, (id) => made = this.make(id), abort()));
        if (made !== null) this.opening.set((made as TestChannel).id, made);
        return;
      }
      case 1:
        this.keep(this.mux.globalRequest("x", nothing, abort()));
        return;
      case 2:
        this.decisions.splice(prng.below(this.decisions.length + 1), 1)[0]?.();
        return;
      case 3:
        this.aborts.pop()?.abort("meanwhile");
        return;
      case 4:
        this.transport.drain(prng.below(5));
        return;
    }
    if (channel === null) return;
    const readable = prng.pick([channel.readable, channel.stderr]);
    const writable = prng.pick([channel.writable, channel.stderrWritable]);
    switch (prng.below(14)) {
      case 0:
      case 1:
      case 2:
        if (!readable.locked) {
          const byob = prng.below(2) === 0;
          const reader = byob ? readable.getReader({ mode: "byob" }) : readable.getReader();
          reader.closed.catch(() => {});
          const read = reader instanceof ReadableStreamDefaultReader
            ? reader.read()
            : reader.read(new Uint8Array(1 + prng.below(5000)));
          this.keep(read).then(() => reader.releaseLock(), () => {});
        }
        return;
      case 3:
      case 4:
      case 5:
      case 6: {
        const writer = writable.getWriter();
        writer.closed.catch(() => {});
        writer.ready.catch(() => {});
        this.keep(writer.write(new Uint8Array(prng.below(prng.pick([10, 10, 5000, 5000, 5000, 200_000])))));
        writer.releaseLock();
        return;
      }
      case 7:
        this.keep(writable.close());
        return;
      case 8:
        if (prng.below(3) === 0) this.keep(writable.abort("enough"));
        return;
      case 9:
        if (prng.below(2) === 0 && !readable.locked) this.keep(readable.cancel());
        return;
      case 10:
        channel.sendEof();
        return;
      case 11:
        if (prng.below(3) === 0) this.keep(channel.close());
        return;
      case 12:
        this.keep(channel.request("x", nothing, abort()));
        return;
      default:
        channel.notify("x");
    }
  }

  // -------------------------------------------------------------------------------- the peer

  /** A message, and what the protocol says of it. */
  message(): Uint8Array {
    const { prng } = this;
    const ids = [...this.models.keys()];
    // One message in forty may break the protocol; the others keep to it.
    const bold = prng.below(40) === 0;
    const id = ids.length > 0 && !bold ? prng.pick(ids) : prng.pick([0, 1, 5, 9, 0x8000_0000, MAX_U32]);
    const model = this.models.get(id);
    // A peer that guesses the number of a channel before the confirmation has left for it is right by luck. It ends the game.
    const early = this.channels.some((channel) => channel.id === id && channel.ended === undefined);
    if (model === undefined && early && !this.opening.has(id)) {
      this.wrong = "maybe";
      this.over = true;
    }
    const must = (fine: boolean, why: string) => {
      if (!fine) this.wrong ??= why;
    };
    // What comes late for a channel that has gone is dropped.
    const gone = this.gone.has(id);
    const toOpen = (why: string) => must(model !== undefined || gone, `${why} for channel ${id}`);
    let kind = prng.below(16);
    if (!bold) {
      if (this.opening.size === 0 && (kind === 1 || kind === 2)) kind = 0;
      if (model === undefined && kind > 2 && kind < 14) kind = prng.pick([0, 14, 15]);
      if (model?.eofReceived && kind >= 3 && kind <= 6) kind = 7;
    }
    switch (kind) {
      case 0: {
        const offer = this.nextOffer++, window = prng.pick([0, 1, 1000, 1_000_000, MAX_U32]);
        this.offers.set(offer, { window, id: null });
        return open(offer, `t${offer}`, { window, maxPacket: prng.below(9) === 0 ? 0 : this.maxPacket() });
      }
      case 1:
      case 2: {
        const asked = [...this.opening.keys()];
        const recipient = asked.length > 0 && !bold ? prng.pick(asked) : id;
        const channel = this.opening.get(recipient);
        must(channel !== undefined, `an answer for ${recipient}`);
        this.opening.delete(recipient);
        if (prng.below(4) === 0) {
          return ChannelOpenFailure.encode({ recipient, reason: prng.below(9), description: "", language: "" });
        }
        const window = prng.pick([0, 1, 1000, 1_000_000, MAX_U32]);
        const maxPacket = bold ? 0 : this.maxPacket();
        must(maxPacket > 0, "a maximum packet of 0");
        // A number of its own, so that what is sent late is not taken for the next channel's.
        const sender = this.nextOffer++;
        if (channel !== undefined && maxPacket > 0) this.opened(channel, sender, window);
        return ChannelOpenConfirmation.encode({ recipient, sender, window, maxPacket, data: nothing });
      }
      case 3:
      case 4:
      case 5:
      case 6: {
        const most = Math.min(model?.left ?? 0, PACKET);
        const length = bold ? most + 1 : prng.below(most + 1);
        toOpen("data");
        if (model !== undefined) {
          must(length <= model.left, "data beyond the window");
          must(length <= PACKET, "a large packet");
          must(!model.eofReceived, "data after EOF");
          model.left -= length;
        }
        const bytes = new Uint8Array(length);
        return prng.below(3) > 0 ? data(id, bytes) : extendedData(id, prng.pick([1, 1, 1, 0, 2]), bytes);
      }
      case 7:
      case 8: {
        const room = MAX_U32 - (model?.sendLeft ?? 0);
        const bytes = bold ? MAX_U32 : Math.min(room, prng.pick([0, 1, 1000, 100_000, MAX_U32]));
        if (model !== undefined) {
          const fine = model.sendLeft + bytes <= MAX_U32;
          // Once what lies in the outbox has left, it may fit after all.
          if (!fine) this.transport.drain();
          this.observe();
          must(model.sendLeft + bytes <= MAX_U32, "too much window");
          model.sendLeft += bytes;
        } else this.wrong ??= "maybe";
        return ChannelWindowAdjust.encode({ recipient: id, bytes });
      }
      case 9:
        toOpen("EOF");
        if (model !== undefined) model.eofReceived = true;
        return ChannelEof.encode({ recipient: id });
      case 10:
        toOpen("CLOSE");
        if (this.models.delete(id)) this.gone.add(id);
        return ChannelClose.encode({ recipient: id });
      case 11:
      case 12:
        toOpen("a request");
        return request(id, "x", prng.below(2) === 0);
      case 13:
        toOpen("an answer");
        return (prng.below(2) === 0 ? ChannelSuccess : ChannelFailure).encode({ recipient: id });
      case 14: {
        const wantReply = prng.below(2) === 0;
        if (wantReply) this.requestsReceived++;
        return globalRequest("x", wantReply);
      }
      default:
        return prng.below(2) === 0 ? RequestSuccess.encode({ data: nothing }) : RequestFailure.encode({});
    }
  }

  /** Packets of one byte are slow work, and rare. */
  maxPacket(): number {
    return this.prng.below(50) === 0 ? 1 : this.prng.pick([1000, PACKET, MAX_U32]);
  }

  opened(channel: TestChannel, peer: number, sendLeft: number): void {
    this.models.set(channel.id, {
      channel,
      peer,
      left: this.window,
      sendLeft,
      eofReceived: false,
      eofSent: false,
      closeSent: false,
    });
  }

  /** Reads what has left, and checks that it keeps to the protocol. */
  observe(): void {
    const byPeer = (peer: number) => [...this.models.values()].find((model) => model.peer === peer);
    for (const payload of this.transport.sent.splice(0)) {
      switch (payload[0]) {
        case Msg.CHANNEL_OPEN:
          ChannelOpen.decode(payload);
          break;
        case Msg.CHANNEL_OPEN_CONFIRMATION: {
          const { recipient, sender } = ChannelOpenConfirmation.decode(payload);
          const offer = this.offers.get(recipient);
          assert(offer !== undefined && offer.id === sender, "confirms what was offered, once");
          this.offers.delete(recipient);
          assert(!this.models.has(sender), "gives a number that is free");
          this.opened(this.channels.findLast(({ id }) => id === sender)!, recipient, offer.window);
          break;
        }
        case Msg.CHANNEL_OPEN_FAILURE:
          assert(this.offers.delete(ChannelOpenFailure.decode(payload).recipient), "refuses what was offered, once");
          break;
        case Msg.REQUEST_SUCCESS:
        case Msg.REQUEST_FAILURE:
          assert(--this.requestsReceived >= 0, "answers what was asked");
          break;
        case Msg.GLOBAL_REQUEST:
          break;
        default:
          this.observeChannel(payload, byPeer);
      }
    }
  }

  observeChannel(payload: Uint8Array, byPeer: (peer: number) => Model | undefined): void {
    const peer = new DataView(payload.buffer, payload.byteOffset).getUint32(1);
    const model = byPeer(peer);
    // The peer's CLOSE has crossed with it.
    if (model === undefined) return;
    assert(!model.closeSent, `message ${payload[0]} behind our CLOSE`);
    switch (payload[0]) {
      case Msg.CHANNEL_DATA:
      case Msg.CHANNEL_EXTENDED_DATA: {
        const { data } = payload[0] === Msg.CHANNEL_DATA
          ? ChannelData.decode(payload)
          : ChannelExtendedData.decode(payload);
        assert(!model.eofSent, "data behind our EOF");
        assert(data.length > 0 && data.length <= PACKET);
        model.sendLeft -= data.length;
        assert(model.sendLeft >= 0, "data beyond the peer's window");
        break;
      }
      case Msg.CHANNEL_WINDOW_ADJUST: {
        const { bytes } = ChannelWindowAdjust.decode(payload);
        assert(bytes > 0);
        model.left += bytes;
        assert(model.left <= 8 * this.window, "more window than it may grow to");
        break;
      }
      case Msg.CHANNEL_EOF:
        assert(!model.eofSent, "EOF twice");
        model.eofSent = true;
        break;
      case Msg.CHANNEL_CLOSE:
        model.closeSent = true;
        break;
      default:
        assert(payload[0]! >= Msg.CHANNEL_REQUEST && payload[0]! <= Msg.CHANNEL_FAILURE, `message ${payload[0]}`);
    }
  }

  async play(): Promise<boolean> {
    const { prng, transport } = this;
    const damage = prng.below(10) === 0;
    for (let step = 8 + prng.below(28); step > 0 && transport.end === null; step--) {
      if (prng.below(2) === 0) {
        this.act();
      } else {
        // The mux reads what came before it reads on.
        await settle();
        this.observe();
        let message = this.message();
        // What a damaged message means nobody says; it is the last.
        if (damage && prng.below(20) === 0) {
          this.over = true;
          message = mutate(message, prng.u32());
          this.wrong = "maybe";
        }
        transport.receive(message);
        this.judge();
        if (this.over) break;
      }
      if (prng.below(3) === 0) await settle();
      if (transport.end === null && !this.over) this.observe();
    }
    const alive = transport.end === null;
    await settle();
    if (transport.end === null) {
      transport.drain();
      if (this.wrong === null && !this.over) this.observe();
    }
    transport.finish(prng.below(2) === 0 ? null : new SshError("gone", { code: "CONNECTION_LOST" }));
    for (const decision of this.decisions.splice(0)) decision();
    await settle();
    for (const decision of this.decisions.splice(0)) decision();
    await this.settled();
    return alive;
  }

  /** The connection lives on, or has ended for a breach of the protocol, as it should. */
  judge(): void {
    const { end } = this.transport;
    if (end === null) {
      assert(this.wrong === null || this.wrong === "maybe", `the connection lives on after ${this.wrong}`);
      this.wrong = null;
    } else {
      assert(this.wrong !== null, `the connection ended without need: ${end.error}`);
      assert(end.error instanceof SshProtocolError, `${end.error}`);
    }
  }

  /** Every promise settles at the end, and every channel is told once. */
  async settled(): Promise<void> {
    for (const channel of this.channels) {
      for (const readable of [channel.readable, channel.stderr]) {
        if (!readable.locked) this.keep(readable.cancel());
      }
      for (const writable of [channel.writable, channel.stderrWritable]) this.keep(writable.abort());
    }
    let open = this.promises.length;
    for (const promise of this.promises) promise.then(() => open--, () => open--);
    await settle();
    await settle();
    assertEquals(open, 0, "promises that never settle");
    assertEquals(this.mux.channelCount, 0);
    for (const channel of this.channels) {
      const told = channel.events.filter((event) => event === "ended").length;
      // One that was made for a request that had failed has never been the mux's.
      assert(told === 1, `a channel was told ${told} times`);
      assert(channel.events.lastIndexOf("eof") <= channel.events.lastIndexOf("ended"));
    }
  }
}

Deno.test("fuzz: a mux keeps to the protocol, ends only for a breach of it, and settles every promise", async () => {
  const { count, accepted } = await fuzzAsync((seed) => new Game(seed).play(), { count: 8_000, share: 2 });
  assert(accepted > count / 4, `only ${accepted} of ${count} lived`);
});

/** Two muxes, one the other's peer; messages cross, wait and come in batches. Neither may find fault with the other. */
async function playPair(seed: number): Promise<boolean> {
  // A close waits for windows that are smaller than what was written, and gives up in the end.
  using time = new FakeTime();
  const prng = new Prng(seed);
  const sides = (["client", "server"] as const).map((role) => {
    const transport = new FakeTransport(role);
    const channels: TestChannel[] = [];
    const make = (id: number) => {
      const channel = new TestChannel(id);
      channel.answer = () => prng.below(2) === 0 ? true : Promise.resolve(false);
      channels.push(channel);
      return channel;
    };
    const mux = new Mux(transport, {
      window: prng.pick([1, 1000, 100_000, 2_097_152]),
      onOpen: ({ id }) => prng.below(5) === 0 ? null : { channel: make(id) },
      onGlobalRequest: () => prng.below(2) === 0,
    });
    transport.takes = false;
    transport.setHandler(mux);
    return { transport, mux, channels, make, inbox: [] as Uint8Array[] };
  });
  const promises: Promise<unknown>[] = [];
  let mixed = 0;
  const keep = (promise: Promise<unknown>) => {
    promises.push(promise);
    promise.catch(() => {});
  };
  const deliver = (from: number, all: boolean) => {
    const { transport } = sides[from]!, to = sides[1 - from]!;
    transport.drain(all ? Infinity : prng.below(4));
    to.inbox.push(...transport.sent.splice(0));
    to.transport.receive(...to.inbox.splice(0, all ? Infinity : prng.below(8)));
  };
  const alive = () => {
    for (const { transport } of sides) assert(transport.end === null, `ended with ${transport.end?.error}`);
  };
  const write = (channel: TestChannel, stderr: boolean) => {
    const writable = stderr ? channel.stderrWritable : channel.writable;
    if (writable.locked) return;
    const writer = writable.getWriter();
    writer.closed.catch(() => {});
    writer.ready.catch(() => {});
    keep(writer.write(new Uint8Array(prng.below(prng.pick([10, 3000, 3000, 200_000]))).fill(stderr ? 2 : 1)));
    writer.releaseLock();
  };
  const read = (channel: TestChannel, stderr: boolean) => {
    const readable = stderr ? channel.stderr : channel.readable;
    if (readable.locked) return;
    const reader = readable.getReader({ mode: "byob" });
    reader.closed.catch(() => {});
    const pending = reader.read(new Uint8Array(1 + prng.below(10_000))).then(({ value }) => {
      if (value?.some((byte) => byte !== (stderr ? 2 : 1))) mixed++;
      reader.releaseLock();
    });
    keep(pending);
  };
  for (let step = 20 + prng.below(60); step > 0; step--) {
    const side = prng.pick(sides);
    const channel = side.channels.length === 0 ? null : prng.pick(side.channels);
    const kind = prng.below(20), stderr = prng.below(2) === 0;
    if (kind < 5) deliver(prng.below(2), false);
    else if (kind < 7) keep(side.mux.openChannel("session", nothing, side.make));
    else if (kind === 7) keep(side.mux.globalRequest("x"));
    else if (channel === null) continue;
    else if (kind < 11) write(channel, stderr);
    else if (kind < 14) read(channel, stderr);
    else if (kind === 14) keep(channel.request("x"));
    else if (kind === 15) channel.notify("x");
    else if (kind === 16) channel.sendEof();
    else if (kind === 17) {
      const writable = stderr ? channel.stderrWritable : channel.writable;
      if (!writable.locked) keep(prng.below(3) === 0 ? writable.abort("enough") : writable.close());
    } else if (kind === 18 && prng.below(3) === 0) keep(channel.close());
    else if (kind === 19 && prng.below(3) === 0) channel.discard(stderr ? "stderr" : "readable");
    if (prng.below(2) === 0) await settle();
    alive();
  }
  // In the end everybody reads, closes and hears of it: nothing is left but by the end of the connection.
  for (const { channels } of sides) {
    for (const channel of channels) {
      channel.discard("readable");
      channel.discard("stderr");
      keep(channel.close());
    }
  }
  for (let i = 0; i < 16; i++) {
    await settle();
    if (i === 8) time.tick(31_000);
    deliver(i % 2, true);
    alive();
    for (const { channels } of sides) for (const channel of channels) if (channel.isOpen) keep(channel.close());
  }
  await settle();
  for (const { mux } of sides) assertEquals(mux.channelCount, 0, "every channel has gone");
  let open = promises.length;
  for (const promise of promises) promise.then(() => open--, () => open--);
  await settle();
  assertEquals(open, 0, "promises that never settle");
  assertEquals(mixed, 0, "bytes of the other stream");
  for (const { transport, channels } of sides) {
    transport.finish(null);
    for (const channel of channels) assertEquals(channel.events.filter((event) => event === "ended").length, 1);
  }
  return true;
}

Deno.test("fuzz: two muxes never find fault with each other, and everything settles without the end", async () => {
  await fuzzAsync(playPair, { count: 1000, share: 2 });
});
