/**
 * Test support. A transport without packets, ciphers or time: what a mux sends lies in `sent` once the socket "takes" it, and what
 * its peer sends is handed to it in batches whose bytes die afterwards, as the real ones do.
 */
import { SshError } from "../../lib/errors.ts";
import { type BaseChannel, channelCore } from "../../lib/connection/channel.ts";
import type { ChannelCore } from "../../lib/connection/channel_core.ts";
import { BaseChannel as Channel } from "../../lib/connection/channel.ts";
import { Mux, type MuxOptions } from "../../lib/connection/mux.ts";
import {
  ChannelData,
  ChannelExtendedData,
  ChannelOpen,
  ChannelOpenConfirmation,
  ChannelRequest,
  GlobalRequest,
} from "../../lib/connection/messages.ts";
import type { ConnectionInfo, DataTransport, MessageHandler, OutboundSource } from "../../lib/transport/types.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes, MaybePromise } from "../../lib/wire/types.ts";

/** Largest payload that the real transport takes. */
const MAX_PAYLOAD = 261_120;

/** A transport whose other end is the test. */
export class FakeTransport implements DataTransport {
  readonly role: "client" | "server";
  readonly info = {} as ConnectionInfo;
  readonly extensions: ReadonlyMap<string, Bytes> = new Map();
  /** The clock of {@linkcode DataTransport.lastReceived}. */
  lastReceived = 0;
  /** See {@linkcode DataTransport.roundTrip}. */
  roundTrip = 0;
  /** What {@linkcode DataTransport.roundTripAtMost} was told: milliseconds. */
  readonly answers: number[] = [];
  /** Times that {@linkcode DataTransport.measureRoundTrip} was called. */
  measured = 0;
  /** Payloads that have left, in order. */
  readonly sent: Bytes[] = [];
  /** Whether the socket takes what there is, a microtask later. Else the test calls `drain()`. */
  takes = true;
  /** How the connection ended. */
  end: { readonly error: Error | null } | null = null;
  /** Most messages that waited at once. */
  peak = 0;
  readonly #scratch = new Uint8Array(40_000);
  #items: Bytes[] = [];
  #control = new Set<OutboundSource>();
  #sources = new Set<OutboundSource>();
  #handler: MessageHandler | null = null;
  #scheduled = false;

  constructor(role: "client" | "server" = "client") {
    this.role = role;
  }

  /** Messages that wait for the socket. */
  get queued(): number {
    return this.#items.length;
  }

  setHandler(handler: MessageHandler): void {
    this.#handler = handler;
    if (this.end !== null) handler.ended(this.end.error);
  }

  setAuthenticated(): void {}

  roundTripAtMost(sent: number): void {
    this.answers.push(this.lastReceived - sent);
  }

  measureRoundTrip(): void {
    this.measured++;
  }

  send(payload: Uint8Array): void {
    if (payload.length > MAX_PAYLOAD) throw new RangeError("Cannot send a message: too long");
    if (this.end !== null) return;
    this.#items.push(payload.slice() as Bytes);
    this.peak = Math.max(this.peak, this.#items.length);
    this.#schedule();
  }

  wantControl(source: OutboundSource): void {
    if (this.end !== null) return;
    this.#control.add(source);
    this.#schedule();
  }

  wantData(source: OutboundSource): void {
    if (this.end !== null) return;
    this.#sources.add(source);
    this.#schedule();
  }

  forget(source: OutboundSource): void {
    this.#control.delete(source);
    this.#sources.delete(source);
  }

  fail(error: Error): void {
    this.finish(error);
  }

  /** The end, as either side makes it. */
  finish(error: Error | null): void {
    if (this.end !== null) return;
    this.end = { error };
    this.#items = [];
    this.#control.clear();
    this.#sources.clear();
    this.#handler?.ended(error);
  }

  #schedule(): void {
    if (!this.takes || this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.takes) this.drain();
    });
  }

  /** The socket takes messages, then window adjustments, then up to `packets` packets of data, round robin. */
  drain(packets = Infinity): void {
    for (let taken = 0; this.end === null;) {
      if (this.#items.length > 0) {
        this.sent.push(...this.#items.splice(0, 1000));
        continue;
      }
      const [control] = this.#control;
      if (control !== undefined) {
        this.#control.delete(control);
        const payload = control.takeControl();
        if (payload !== null) this.sent.push(payload.slice() as Bytes);
        continue;
      }
      const [source] = this.#sources;
      if (source === undefined || taken >= packets) return;
      this.#sources.delete(source);
      const length = source.writeData(this.#scratch, 0);
      if (length === 0) continue;
      this.sent.push(this.#scratch.slice(0, length));
      this.#sources.add(source);
      taken++;
    }
  }

  /** Payloads that have left since the last call. */
  take(): Bytes[] {
    if (this.takes) this.drain();
    return this.sent.splice(0);
  }

  /** The same, of one type. */
  takeType(type: number): Bytes[] {
    return this.take().filter((payload) => payload[0] === type);
  }

  /** The peer sends these as one batch. What they throw ends the connection, as with the real transport. */
  receive(...payloads: readonly Uint8Array[]): void {
    const handler = this.#handler!;
    try {
      for (const payload of payloads) {
        if (this.end !== null) return;
        const copy = payload.slice();
        handler.message(copy);
        // A view that was kept would read this.
        copy.fill(0xdd);
      }
      if (this.end === null) handler.batchEnd?.();
    } catch (cause) {
      this.fail(cause instanceof Error ? cause : new SshError("Connection failed", { code: "PROTOCOL_ERROR", cause }));
    }
  }
}

/** A channel that writes down what happens to it. */
export class TestChannel extends Channel {
  readonly requests: { name: string; data: Bytes; wantReply: boolean }[] = [];
  readonly events: string[] = [];
  ended: Error | null | undefined = undefined;
  answer: (name: string, data: Bytes) => MaybePromise<boolean> = () => true;

  override onRequest(name: string, data: Bytes, wantReply: boolean): MaybePromise<boolean> {
    this.requests.push({ name, data, wantReply });
    this.events.push(name);
    return this.answer(name, data);
  }

  override onEof(): void {
    this.events.push("eof");
  }

  override onEnded(error: Error | null): void {
    this.events.push("ended");
    this.ended = error;
  }

  get core(): ChannelCore {
    return channelCore(this as BaseChannel);
  }
}

/** Number that the peer gives its first channel. */
export const PEER = 7000;

/** A mux on a fake transport. */
export function fakeMux(options: MuxOptions = {}, role: "client" | "server" = "client"): {
  transport: FakeTransport;
  mux: Mux;
} {
  const transport = new FakeTransport(role);
  const mux = new Mux(transport, options);
  transport.setHandler(mux);
  return { transport, mux };
}

/** What the peer's side of a channel begins with. */
export interface PeerWindow {
  window?: number;
  maxPacket?: number;
}

/** Opens a channel; the peer, whose number is 7000 plus ours, accepts at once. */
export async function openOn(transport: FakeTransport, mux: Mux, peer: PeerWindow = {}): Promise<TestChannel> {
  const opened = mux.openChannel("session", new Uint8Array(0), (id) => new TestChannel(id));
  const { sender } = ChannelOpen.decode(transport.takeType(Msg.CHANNEL_OPEN).at(-1)!);
  transport.receive(confirmation(sender, peer));
  return await opened;
}

/** A mux with one open channel; `window` is the peer's, `ours` this side's. */
export async function openChannel(options: Omit<MuxOptions, "window"> & PeerWindow & { ours?: number } = {}): Promise<{
  transport: FakeTransport;
  mux: Mux;
  channel: TestChannel;
}> {
  const { window, maxPacket, ours, ...rest } = options;
  const { transport, mux } = fakeMux(ours === undefined ? rest : { ...rest, window: ours });
  const peer: PeerWindow = {};
  if (window !== undefined) peer.window = window;
  if (maxPacket !== undefined) peer.maxPacket = maxPacket;
  const channel = await openOn(transport, mux, peer);
  transport.take();
  return { transport, mux, channel };
}

export function confirmation(recipient: number, peer: PeerWindow = {}): Bytes {
  const { window = 0x10_0000, maxPacket = 0x8000 } = peer;
  return ChannelOpenConfirmation.encode({
    recipient,
    sender: (PEER + recipient) >>> 0,
    window,
    maxPacket,
    data: new Uint8Array(0),
  });
}

export function open(sender: number, type = "session", peer: PeerWindow = {}): Bytes {
  const { window = 0x10_0000, maxPacket = 0x8000 } = peer;
  return ChannelOpen.encode({ type, sender, window, maxPacket, data: new Uint8Array(0) });
}

export function data(recipient: number, bytes: Uint8Array | string): Bytes {
  return ChannelData.encode({ recipient, data: typeof bytes === "string" ? utf8(bytes) : bytes });
}

export function extendedData(recipient: number, dataType: number, bytes: Uint8Array | string): Bytes {
  return ChannelExtendedData.encode({
    recipient,
    dataType,
    data: typeof bytes === "string" ? utf8(bytes) : bytes,
  });
}

export function request(recipient: number, name: string, wantReply = true, more = new Uint8Array(0)): Bytes {
  return ChannelRequest.encode({ recipient, name, wantReply, data: more });
}

export function globalRequest(name: string, wantReply = true, more = new Uint8Array(0)): Bytes {
  return GlobalRequest.encode({ name, wantReply, data: more });
}

export const utf8 = (text: string): Bytes => new TextEncoder().encode(text);
export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Lets promises settle that need no event loop. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

/** What a promise has come to, without waiting for it. */
export async function stateOf(promise: Promise<unknown>): Promise<"pending" | "resolved" | Error> {
  let state: "pending" | "resolved" | Error = "pending";
  promise.then(() => state = "resolved", (error) => state = error as Error);
  await settle();
  return state;
}
