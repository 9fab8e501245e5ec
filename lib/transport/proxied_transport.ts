/**
 * The connection protocol over a control socket in proxy mode: packets in the clear to a master, who passes them on through its own SSH
 * connection. OpenSSH PROTOCOL.mux section 9, RFC 4253 section 6.
 *
 * It has the shape that `Mux` wants of a transport, and none of what makes one secure: keys, login, rekeying and keepalives are the
 * master's. The master passes on whatever comes, so nothing but messages about channels may leave here: a DISCONNECT would end the
 * connection for all that use it. Of global requests it lets through one kind, never brings an answer, and hangs up for the others.
 *
 * OpenSSH's master (9.2 and 10.0 alike) ends itself when a client hangs up for whom a channel was refused, or not yet opened. So such a
 * control connection is handed to `hold`, to be kept open, and not closed.
 *
 * @module
 */
import { unpaddedOpener, unpaddedSealer } from "../crypto/cipher/ciphers.ts";
import { SshError, SshProtocolError } from "../errors.ts";
import { callBack } from "../wire/callback.ts";
import { Msg } from "../wire/numbers.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";
import { ByteSource } from "./byte_source.ts";
import {
  closedError,
  type End,
  FLUSH_TIME,
  LINGER_TIME,
  lossOf,
  lostError,
  Patience,
  reasonOf,
  within,
} from "./closing.ts";
import { Ending } from "./ending.ts";
import { Framer } from "./framer.ts";
import { MAX_PAYLOAD, Outbox } from "./outbox.ts";
import { RoundTrip } from "./round_trip.ts";
import type { TraceEvent } from "./transport_options.ts";
import type { ConnectionInfo, DataTransport, MessageHandler, OutboundSource, Question } from "./types.ts";
import { CHUNK_WORK, PACKET_WORK, WorkShare } from "./work_share.ts";
import { WriterLoop } from "./writer_loop.ts";

/** Packets delivered before others get a turn. */
const BATCH_PACKETS = 128;
/** Messages that the other side may provoke without taking them. */
const MAX_PROVOKED = { messages: 16_384, bytes: 4_194_304 };
/** Milliseconds that a close waits for channels that are being opened. */
const OPENING_TIME = 3000;

/** Options of {@linkcode ProxiedTransport}. */
export interface ProxiedOptions {
  /** What has been read of the streams already. */
  readonly rest: Uint8Array;
  /** Keeps the streams open: the master would end itself if they were closed. `close` lets go of them, once they have `ended` at the latest. */
  readonly hold: (close: () => Promise<void>, ended: Promise<void>) => void;
  /** The writable has copied a chunk when its write resolves, as sockets do. */
  readonly copyingWritable: boolean;
  /** Told of what happens. */
  readonly trace?: ((event: TraceEvent) => void) | undefined;
}

/** What a master passes on. */
export class ProxiedTransport implements DataTransport {
  readonly role = "client";
  readonly extensions: ReadonlyMap<string, Bytes> = new Map();
  /** Resolves on a clean end, which only this side brings; rejects with `SshError` otherwise. Never an unhandled rejection. */
  readonly closed: Promise<void>;

  readonly #conn: ByteDuplex;
  readonly #options: ProxiedOptions;
  readonly #handler: MessageHandler;
  readonly #source: ByteSource;
  readonly #writer: WriterLoop;
  readonly #outbox: Outbox;
  readonly #framer = new Framer();
  readonly #opener = unpaddedOpener();
  readonly #ending = new Ending();
  readonly #share = new WorkShare();
  readonly #roundTrip = new RoundTrip();
  readonly #closed = Promise.withResolvers<void>();
  readonly #writeEnded = Promise.withResolvers<void>();
  readonly #readEnded = Promise.withResolvers<void>();
  #lastReceived = performance.now();
  #chunks = 0;
  #traced = 0;
  #draining: PromiseWithResolvers<void> | null = null;
  readonly #patience = new Patience(() => this.#draining?.resolve());
  /** Channels that this side has asked for, and the master has not answered for. */
  #opening = 0;
  /** Whether the master still holds a channel that was refused: it never lets go of one. */
  #refused = false;
  /** A close waits for channels that are being opened. */
  #opened: (() => void) | null = null;
  #leaving: Promise<void> | null = null;

  /** Takes over the streams of a control connection that is in proxy mode; `handlerOf` makes what runs over it. */
  constructor(conn: ByteDuplex, options: ProxiedOptions, handlerOf: (transport: ProxiedTransport) => MessageHandler) {
    this.#conn = conn;
    this.#options = options;
    this.closed = this.#closed.promise;
    this.closed.catch(() => {});
    this.#outbox = new Outbox({
      wake: () => this.#writer?.wake(),
      sealed: (packets, bytes) => {
        this.#trace("sealed", { packets, bytes });
        this.#patience.progress();
      },
      reuse: options.copyingWritable,
      sealer: unpaddedSealer(),
    });
    this.#outbox.release();
    this.#framer.setKnown();
    this.#share.setKnown();
    this.#framer.push(options.rest);
    this.#handler = handlerOf(this);
    this.#source = new ByteSource(conn.readable, this.#framer);
    this.#writer = new WriterLoop(conn.writable.getWriter(), {
      outbox: this.#outbox,
      share: this.#share,
      ending: this.#ending,
      chunksReceived: () => this.#chunks,
      idle: () => {
        if (this.#hasLeft) this.#draining?.resolve();
      },
    });
    this.#write();
    this.#read();
  }

  /** Throws: what was agreed on, the master has agreed on. */
  get info(): ConnectionInfo {
    throw cannot("tell what the handshake agreed on");
  }

  /** See {@linkcode DataTransport}. */
  get lastReceived(): number {
    return this.#lastReceived;
  }

  /** See {@linkcode DataTransport}. */
  get roundTrip(): number {
    return this.#roundTrip.least;
  }

  /** See {@linkcode DataTransport}. */
  roundTripAtMost(sent: number): void {
    this.#roundTrip.atMost(sent, this.#lastReceived);
  }

  /** Does nothing: the answer to a PING would stay with the master. */
  measureRoundTrip(): void {}

  /** Throws: there is one handler, which was given at first. */
  setHandler(): void {
    throw new TypeError("Cannot set another handler");
  }

  /** Does nothing: the login is the master's. */
  setAuthenticated(): void {}

  /** Queues a payload. Throws for anything but a message about a channel: the master would pass it on. */
  send(payload: Uint8Array, provoked = false, question?: Question): void {
    const type = payload[0]!;
    if (!(type >= Msg.CHANNEL_OPEN && type <= Msg.CHANNEL_FAILURE)) throw cannot(`send message ${type}`);
    if (payload.length > MAX_PAYLOAD) {
      throw new RangeError(`Cannot send a message of ${payload.length} bytes: at most ${MAX_PAYLOAD} fit in a packet`);
    }
    if (this.#ending.hasCome) return;
    if (type === Msg.CHANNEL_OPEN) this.#opening++;
    this.#outbox.send(payload, provoked, question);
  }

  /** See {@linkcode DataTransport}. */
  wantControl(source: OutboundSource): void {
    if (!this.#ending.hasCome) this.#outbox.wantControl(source);
  }

  /** See {@linkcode DataTransport}. */
  wantData(source: OutboundSource): void {
    if (!this.#ending.hasCome) this.#outbox.wantData(source);
  }

  /** See {@linkcode DataTransport}. */
  forget(source: OutboundSource): void {
    this.#outbox.forget(source);
  }

  /** Whether the connection's timers keep the program alive, as they do unless told otherwise. */
  setRef(refed: boolean): void {
    this.#patience.setRef(refed);
  }

  /** Rejects: the keys are the master's. */
  rekey(): Promise<void> {
    return Promise.reject(cannot("renew the keys"));
  }

  /** Ends this side's use of the master. */
  fail(error: Error): void {
    this.#finish({ error, clean: false });
  }

  /** As `SecureTransport.close()`: what was accepted leaves first, as far as it is taken. The master goes on. */
  async close(): Promise<void> {
    if (!this.#ending.hasCome && !(this.#hasLeft && !this.#writer.isBusy)) {
      if (this.#draining === null) {
        this.#draining = Promise.withResolvers<void>();
        this.#handler.closing?.();
        this.#patience.start();
        this.#writer.wake();
      }
      await this.#draining.promise;
    }
    await this.end();
  }

  /** Closes all channels at once, and hangs up; whoever waits for something sees `wish`, where that is given. */
  async end(wish?: Error): Promise<void> {
    await (this.#leaving ??= this.#leave(wish));
    await this.closed.catch(() => {});
  }

  async #leave(wish: Error | undefined): Promise<void> {
    if (this.#ending.hasCome) return;
    const end = this.#withLoss(wish === undefined ? { error: null, clean: true } : { error: null, clean: true, wish });
    this.#handler.leave?.(closedError(reasonOf(end)));
    if (this.#opening > 0) {
      const opened = new Promise<void>((resolve) => this.#opened = resolve);
      await within(OPENING_TIME, Promise.race([opened, this.#ending.come]));
    }
    this.#finish(end);
  }

  // ------------------------------------------------------------------------------------------------ outbound

  async #write(): Promise<void> {
    try {
      await this.#writer.run(null);
    } catch (cause) {
      // What came before the master hung up lies in the socket still.
      if (!this.#ending.hasCome) await within(FLUSH_TIME, Promise.race([this.#readEnded.promise, this.#ending.come]));
      this.fail(
        cause instanceof SshError ? cause : lostError("The master is gone: writing to its socket failed", cause),
      );
    } finally {
      this.#writeEnded.resolve();
    }
  }

  get #unsent(): number {
    return this.#handler.unsent ?? 0;
  }

  /** Whether nothing waits to leave but what is being written. */
  get #hasLeft(): boolean {
    return this.#outbox.queued === 0 && this.#unsent === 0;
  }

  // ------------------------------------------------------------------------------------------------ inbound

  async #read(): Promise<void> {
    try {
      do {
        this.#lastReceived = performance.now();
        this.#chunks++;
        if (this.#share.isUsedBy(CHUNK_WORK)) await this.#share.next();
        if (this.#ending.hasCome) this.#framer.clear();
        else await this.#deliver();
        if (this.#handler.isQuiet) this.#framer.rest();
      } while (await this.#source.fill());
      throw lostError("The master hung up: its connection has ended, or it did not like a message");
    } catch (cause) {
      this.fail(
        cause instanceof SshError ? cause : lostError("The master is gone: reading from its socket failed", cause),
      );
    } finally {
      this.#readEnded.resolve();
    }
  }

  async #deliver(): Promise<void> {
    for (;;) {
      const batch = this.#framer.next(this.#opener, 0, BATCH_PACKETS);
      if (batch === null) break;
      for (const packet of this.#opener.open(batch.chunk, batch.frames, 0) as readonly Uint8Array[]) {
        if (this.#ending.hasCome) return;
        this.#receive(packet);
      }
      if (!this.#share.isUsedBy(batch.bytes + PACKET_WORK * batch.frames.length)) continue;
      this.#delivered();
      await this.#share.next();
      if (this.#ending.hasCome) return;
    }
    this.#delivered();
  }

  #delivered(): void {
    this.#handler.batchEnd?.();
    const { messages, bytes } = this.#outbox.provoked;
    if (messages > MAX_PROVOKED.messages || bytes > MAX_PROVOKED.bytes) {
      throw new SshProtocolError(`Master asks for more answers than it reads: ${messages} wait, of ${bytes} bytes`);
    }
  }

  #receive(packet: Uint8Array): void {
    if (packet[0] !== 0) throw new SshProtocolError(`Master sent a packet with ${packet[0]} bytes of padding`);
    const payload = packet.subarray(1), type = payload[0]!;
    if (this.#options.trace !== undefined) this.#trace("received", { type, bytes: payload.length });
    if (type === Msg.CHANNEL_OPEN_CONFIRMATION || type === Msg.CHANNEL_OPEN_FAILURE) {
      this.#opening = Math.max(0, this.#opening - 1);
      if (type === Msg.CHANNEL_OPEN_FAILURE) this.#refused = true;
    }
    const known = type >= Msg.CHANNEL_OPEN && type <= Msg.CHANNEL_FAILURE && this.#handler.message(payload);
    if (!known) throw new SshProtocolError(`Master sent message ${type}, which is not about a channel`);
    if (this.#opening === 0) this.#opened?.();
  }

  // ------------------------------------------------------------------------------------------------ the end

  #finish(end: End): void {
    if (this.#ending.hasCome) return;
    this.#ending.take(end);
    this.#patience.stop();
    this.#draining?.resolve();
    this.#trace("ended", { error: end.error === null ? "" : end.error.name });
    if (end.error !== null) this.#outbox.drop();
    void this.#release(end);
    this.#writer.wake();
    callBack(() => this.#handler.ended(reasonOf(end)));
  }

  /** A clean end is none where this side's own data is lost. */
  #withLoss(end: End): End {
    const unsent = this.#unsent;
    if (unsent === 0) return end;
    const { wish } = end, why = wish === undefined ? "the master did not take them in time" : "it was aborted";
    return { ...end, error: lossOf("Connection", `${unsent} bytes are`, why, wish?.cause), clean: false };
  }

  async #release(end: End): Promise<void> {
    const flushed = await within(FLUSH_TIME, this.#writeEnded.promise);
    const close = async (): Promise<void> => {
      const ending = flushed ? this.#writer.close() : this.#writer.abort(closedError(end.error));
      await within(LINGER_TIME, ending.catch(() => {}));
      await within(LINGER_TIME, this.#source.cancel());
    };
    const masterIsThere = !await within(0, this.#readEnded.promise);
    if (masterIsThere && (this.#refused || this.#opening > 0)) {
      this.#options.hold(close, this.#readEnded.promise);
    } else {
      await close();
    }
    this.#outbox.close();
    if (end.error === null) this.#closed.resolve();
    else this.#closed.reject(end.error);
  }

  #trace(event: string, detail: Record<string, string | number | boolean>): void {
    const { trace } = this.#options;
    if (trace !== undefined) callBack(() => trace({ number: this.#traced++, event, detail }));
  }
}

/** The error for what a client of a master cannot do; `what` ends "Cannot …". */
export function cannot(what: string): SshError {
  const message = `Cannot ${what} through a control socket: the connection is its master's, who does not pass that on`;
  return new SshError(message, { code: "REQUEST_DENIED" });
}
