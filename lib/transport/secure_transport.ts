/**
 * One SSH transport over any byte streams: owns the pipes, the keys and the end. RFC 4253, RFC 8308, OpenSSH PROTOCOL
 * sections 1.8 and 1.9. Reading never waits for writing or for the application.
 *
 * The life of a connection, in order. The constructor puts the parts together, and nothing moves. `start()` locks both streams and
 * sets off two loops that run until the end: the `WriterLoop` sends this side's identification line and then whatever the `Outbox`
 * gives it; the `ReaderLoop` reads the peer's line, then packets, and calls `#receive()` with the payload of each. Messages 20 to 49 go to
 * `KeyExchanges`, which answers through the outbox, tells the reader when the peer's new keys begin, and holds back all else that would
 * leave meanwhile. When the first exchange is done, `start()` resolves. From then on the `MessageHandler` gets every message of the
 * services (first the login's, then the connection protocol's, one handler after the other), `GenericMessages` gets what is left, and the
 * layers above send by `send()`, `wantControl()` and `wantData()`. Keys are renewed by the same steps, with the loops running. The end
 * comes once, through `#finish()`, whoever brings it: a DISCONNECT of the peer, an error, a stream that breaks, `close()`. Whoever waits is told at
 * once; then `#release()` lets the DISCONNECT leave, gives the peer a moment to hang up, lets go of streams and keys, and settles `closed`.
 *
 * @module
 */
import { disconnectOf, printable, SshError, SshProtocolError } from "../errors.ts";
import { callBack } from "../wire/callback.ts";
import { Msg } from "../wire/numbers.ts";
import { requireWebCrypto } from "../wire/system.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";
import {
  abortedError,
  closedError,
  type End,
  FLUSH_TIME,
  JUST_NOW,
  LATELY,
  LINGER_TIME,
  LINGER_TIME_FOR_DATA,
  lossOf,
  lostError,
  Patience,
  reasonOf,
  within,
} from "./closing.ts";
import { Ending } from "./ending.ts";
import { endOf, GenericMessages } from "./generic_messages.ts";
import type { ServerOffer } from "./guess.ts";
import { identLine, withoutQuote } from "./ident.ts";
import { KeyExchanges } from "./key_exchanges.ts";
import { Disconnect } from "./messages.ts";
import { MAX_PAYLOAD, Outbox } from "./outbox.ts";
import { ReaderLoop } from "./reader_loop.ts";
import { exchangeOptions, type SecureTransportOptions } from "./transport_options.ts";
import type { ConnectionInfo, DataTransport, MessageHandler, OutboundSource, Question } from "./types.ts";
import { WorkShare } from "./work_share.ts";
import { WriterLoop } from "./writer_loop.ts";

/** Messages that a peer may provoke without taking them, beyond which it is held to be abusive. */
const MAX_PROVOKED = { messages: 16_384, bytes: 4_194_304 };

/** One SSH transport over any byte streams (RFC 4253). */
export class SecureTransport implements DataTransport {
  /** Which side this is. */
  readonly role: "client" | "server";
  /**
   * Resolves on a clean end (either side disconnected "by application"), rejects with `SshError` otherwise. Settles once
   * the streams are released; never an unhandled rejection.
   */
  readonly closed: Promise<void>;

  readonly #conn: ByteDuplex;
  readonly #options: SecureTransportOptions;
  readonly #localIdent: string;
  readonly #outbox: Outbox;
  readonly #exchanges: KeyExchanges;
  readonly #generic: GenericMessages;
  readonly #reader: ReaderLoop;
  #writer: WriterLoop | null = null;
  readonly #ending = new Ending();
  readonly #share = new WorkShare();
  readonly #closed = Promise.withResolvers<void>();
  readonly #writeEnded = Promise.withResolvers<void>();
  #handler: MessageHandler | null = null;
  #handlerSet: (() => void) | null = null;
  #started = false;
  #traced = 0;
  /** A close that waits until what was accepted has left, as long as it has patience. */
  #draining: PromiseWithResolvers<void> | null = null;
  readonly #patience = new Patience(() => this.#draining?.resolve());
  /** When channel data last left. */
  #lastData = -Infinity;
  /** When something last left that no answer tells the end of: data, or a request that wants none. */
  #lastUnanswered = -Infinity;
  #dataSent = 0;

  /** Takes over the streams; nothing moves before `start()`. */
  constructor(conn: ByteDuplex, options: SecureTransportOptions) {
    requireWebCrypto("connect");
    this.role = options.role;
    this.#conn = conn;
    this.#options = options;
    this.#localIdent = identLine(options.ident ?? "amiko");
    this.#outbox = new Outbox({
      wake: () => this.#writer?.wake(),
      sealed: (packets, bytes) => this.#sealed(packets, bytes),
      reuse: options.copyingWritable ?? false,
    });
    this.#exchanges = new KeyExchanges(
      exchangeOptions(options, this.#localIdent, () => this.#reader.remoteIdent, () => this.#reader.said),
      {
        outbox: this.#outbox,
        useInbound: (...keys) => this.#reader.useKeys(...keys),
        asked: () => this.#generic.roundTrip.asked(performance.now()),
        share: this.#share,
        fail: (error) => this.fail(error),
        trace: (event, detail) => this.#trace(event, detail),
      },
    );
    this.#reader = new ReaderLoop({
      role: options.role,
      exchanges: this.#exchanges,
      share: this.#share,
      ending: this.#ending,
      identified: (remote) => {
        this.#trace("ident", { remote });
        this.#exchanges.identified(remote);
      },
      receive: (payload, sequence, owned) => this.#receive(payload, sequence, owned),
      delivered: () => this.#delivered(),
      isQuiet: () => this.#handler?.isQuiet ?? false,
      broken: (error) => this.#broken(error),
      fail: (error) => this.fail(error),
    });
    this.#generic = new GenericMessages({
      role: options.role,
      outbox: this.#outbox,
      remoteIdent: () => this.#reader.remoteIdent,
      lastReceived: () => this.#reader.lastReceived,
    });
    this.closed = this.#closed.promise;
    this.closed.catch(() => {});
  }

  /** What the latest exchange agreed on; throws until the first is done. */
  get info(): ConnectionInfo {
    return this.#exchanges.info;
  }

  /** The host key's signature of `info.sessionId`, which proves to others who the server is; throws until the first exchange is done. */
  get hostKeySignature(): Bytes {
    return this.#exchanges.signature;
  }

  /** Client: what the server offered in the first exchange, whose host key was verified; null until that is done. */
  get offer(): ServerOffer | null {
    return this.#exchanges.offer;
  }

  /** Extensions of the peer's EXT_INFO so far. */
  get extensions(): ReadonlyMap<string, Bytes> {
    return this.#generic.extensions;
  }

  /** Resolves when the peer has told its extensions; never where it has none. */
  get told(): Promise<void> {
    return this.#generic.told;
  }

  /** Whether the transport is up: started, and not ended. */
  get isActive(): boolean {
    return this.#started && !this.#ending.hasCome;
  }

  /** When the peer last sent something, by `performance.now()`. */
  get lastReceived(): number {
    return this.#reader.lastReceived;
  }

  /** The least round trip seen, in milliseconds; 0 while none was. */
  get roundTrip(): number {
    return this.#generic.roundTrip.least;
  }

  /** What came last cannot have been sent before the peer saw what left at `sent` or later. */
  roundTripAtMost(sent: number): void {
    this.#generic.roundTrip.atMost(sent, this.#reader.lastReceived);
  }

  /** Sends a PING where the peer announced that it takes one and one is due: not before login, not in a key exchange. */
  measureRoundTrip(): void {
    const ping = this.#ending.hasCome ? null : this.#generic.ping();
    if (ping !== null) this.send(ping);
  }

  /** Messages that wait to leave, whoever has them to say. */
  get queued(): number {
    return this.#outbox.queued;
  }

  /** Messages that the peer has provoked and that wait to leave; see {@linkcode Outbox.provoked}. */
  get provoked(): { readonly messages: number; readonly bytes: number } {
    return this.#outbox.provoked;
  }

  /** Whether the connection's timers keep the program alive, as they do unless told otherwise. */
  setRef(refed: boolean): void {
    this.#exchanges.setRef(refed);
    this.#patience.setRef(refed);
  }

  /** Identification and first key exchange. Aborting ends the connection and rejects with the signal's reason. */
  async start(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#started) throw new TypeError("Transport has been started already");
    if (this.#ending.hasCome) throw this.#ending.closedError;
    const { readable, writable } = this.#conn;
    if (readable.locked || writable.locked) throw new TypeError("Cannot take over the streams: they are locked");
    const { signal } = options;
    const abort = () => this.fail(abortedError(signal!));
    signal?.addEventListener("abort", abort, { once: true });
    this.#reader.lock(readable);
    this.#writer = new WriterLoop(writable.getWriter(), {
      outbox: this.#outbox,
      share: this.#share,
      ending: this.#ending,
      chunksReceived: () => this.#reader.chunks,
      idle: () => {
        if (this.#draining !== null && this.#hasLeft) this.#draining.resolve();
      },
    });
    this.#started = true;
    this.#exchanges.begin();
    this.#write(this.#writer);
    this.#reader.run();
    if (signal?.aborted) abort();
    try {
      await this.#exchanges.first;
      // It may have been aborted since the exchange ended.
      signal?.throwIfAborted();
    } catch (error) {
      if (signal?.aborted) {
        await this.closed.catch(() => {});
        throw signal.reason;
      }
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Takes the place of the handler before. Until one is set, messages beyond the key exchange wait. */
  setHandler(handler: MessageHandler): void {
    this.#handler = handler;
    this.#handlerSet?.();
    const { end } = this.#ending;
    if (end !== null) handler.ended(reasonOf(end));
  }

  /** Queues a payload; it belongs to the transport from here on. Never waits; does nothing once the end has come. */
  send(payload: Uint8Array, provoked = false, question?: Question): void {
    if (payload.length > MAX_PAYLOAD) {
      throw new RangeError(`Cannot send a message of ${payload.length} bytes: at most ${MAX_PAYLOAD} fit in a packet`);
    }
    if (this.#ending.hasCome) return;
    if (payload[0] === Msg.SERVICE_REQUEST) this.#generic.roundTrip.asked(performance.now());
    const isRequest = payload[0] === Msg.CHANNEL_REQUEST || payload[0] === Msg.GLOBAL_REQUEST;
    if (isRequest && question === undefined) this.#lastUnanswered = performance.now();
    this.#outbox.send(payload, provoked, question);
  }

  /** A source has a small message that goes before data. */
  wantControl(source: OutboundSource): void {
    if (!this.#ending.hasCome) this.#outbox.wantControl(source);
  }

  /** A source has data; it is asked until it has none. */
  wantData(source: OutboundSource): void {
    if (!this.#ending.hasCome) this.#outbox.wantData(source);
  }

  /** A source has gone. */
  forget(source: OutboundSource): void {
    this.#outbox.forget(source);
  }

  /** Login is done: delayed compression starts, and limits that hold before login are lifted. */
  setAuthenticated(): void {
    this.#generic.authenticated = true;
    this.#share.setKnown();
    this.#reader.setKnown(this.#exchanges.loggedIn());
  }

  /** Renews the keys; resolves when both directions use the new ones. */
  rekey(): Promise<void> {
    if (this.#ending.hasCome) return Promise.reject(this.#ending.closedError);
    return this.#exchanges.rekey();
  }

  /** Ends the connection: a DISCONNECT that fits the error, then the streams are closed. */
  fail(error: Error): void {
    this.#finish({ error, clean: false });
  }

  /**
   * Lets what was accepted from the application leave, as far as the peer takes it: a close gives up when the peer has taken nothing
   * more for 3 seconds, or after 30. Then sends DISCONNECT (11, by application) and closes the streams; resolves when all is
   * released. Where something could not leave, `closed` rejects and says how much. `wish` and `says` as with `end()`.
   */
  close(wish?: Error, says?: string): Promise<void> {
    const drained = this.#drain();
    return drained === null ? this.end(wish, says) : drained.then(() => this.end(wish, says));
  }

  /**
   * Sends DISCONNECT (11, by application) at once, behind messages that wait; data that was accepted and has not left is lost, and
   * `closed` says so. Whoever waits for something sees `wish`, where that is given, and the peer reads what it `says`.
   */
  async end(wish?: Error, says?: string): Promise<void> {
    this.#finish({ error: null, clean: true, ...wish !== undefined && { wish }, ...says !== undefined && { says } });
    await this.closed.catch(() => {});
  }

  /** Resolves when nothing waits to leave any more, when the peer takes no more, or when the connection has ended; null if that is so. */
  #drain(): Promise<void> | null {
    const writes = this.#writer !== null && this.#writer.isBusy;
    if (this.#ending.hasCome || !this.#exchanges.firstDone || this.#hasLeft && !(writes && this.#dataSent > 0)) {
      return null;
    }
    if (this.#draining === null) {
      this.#draining = Promise.withResolvers<void>();
      this.#handler?.closing?.();
      this.#patience.start();
      this.#writer?.wake();
    }
    return this.#draining.promise;
  }

  // ------------------------------------------------------------------------------------------------ outbound

  async #write(writer: WriterLoop): Promise<void> {
    try {
      await writer.run(new TextEncoder().encode(`${this.#localIdent}\r\n`));
    } catch (cause) {
      // What the peer said before it hung up says more, such as its DISCONNECT: it may lie in the socket still.
      if (!this.#ending.hasCome) await within(FLUSH_TIME, Promise.race([this.#reader.ended, this.#ending.come]));
      await this.#broken(cause instanceof SshError ? cause : lostError("Connection was lost while writing", cause));
    } finally {
      this.#writeEnded.resolve();
    }
  }

  /** Whether nothing waits to leave but what is being written. */
  get #hasLeft(): boolean {
    return this.#outbox.queued === 0 && this.#unsent === 0;
  }

  get #unsent(): number {
    return this.#handler?.unsent ?? 0;
  }

  #sealed(packets: number, bytes: number): void {
    this.#trace("sealed", { packets, bytes });
    if (this.#outbox.dataSent !== this.#dataSent) {
      this.#dataSent = this.#outbox.dataSent;
      this.#lastUnanswered = this.#lastData = performance.now();
    }
    this.#patience.progress();
    this.#exchanges.sent(packets, bytes);
  }

  // ------------------------------------------------------------------------------------------------ inbound

  /** Nothing more is there right now, or others run before it is looked at. */
  #delivered(): void {
    this.#handler?.batchEnd?.();
    this.#exchanges.renewIfDue();
    const { messages, bytes } = this.#outbox.provoked;
    if (this.#exchanges.firstDone && (messages > MAX_PROVOKED.messages || bytes > MAX_PROVOKED.bytes)) {
      throw new SshProtocolError(`Peer asks for more answers than it reads: ${messages} wait, of ${bytes} bytes`);
    }
  }

  /** One packet's payload. Returns a promise when later packets must wait for it. */
  #receive(payload: Uint8Array, sequence: number, owned: boolean): Promise<void> | null {
    const type = payload.length === 0 ? 0 : payload[0]!;
    if (this.#options.trace !== undefined) this.#trace("received", { type, bytes: payload.length });
    if (type === 0) throw new SshProtocolError("Peer sent an empty message or message number 0");
    if (type === Msg.DISCONNECT) {
      this.#finish(endOf(payload, this.#exchanges.firstDone));
      return null;
    }
    if ((type >= 20 && type <= 49) || type === Msg.SERVICE_ACCEPT) {
      this.#generic.roundTrip.answered(this.#reader.lastReceived);
    }
    if (type >= 20 && type <= 49) return this.#exchanges.receive(payload, sequence);
    if (!this.#exchanges.peerIsFree) this.#checkDuringExchange(type);
    if (type > 4 && type !== Msg.EXT_INFO && type < Msg.PING) {
      if (this.#handler !== null) {
        if (!this.#handler.message(payload, owned)) this.#generic.unknown(sequence);
        return null;
      }
      return this.#waitForHandler(payload.slice(), sequence);
    }
    this.#generic.receive(type, payload, sequence);
    return null;
  }

  /**
   * RFC 4253 section 7.1, and OpenSSH PROTOCOL section 1.9 for the strict form of the first exchange. A peer that has logged in may go on with
   * the connection protocol until its NEWKEYS, as AsyncSSH to 2.10 does: nothing of it is stored here, so that windows bound it as ever, and the
   * answers wait as they would without.
   */
  #checkDuringExchange(type: number): void {
    if (this.#generic.authenticated && type >= Msg.GLOBAL_REQUEST && type < 128) return;
    if (type >= Msg.IGNORE && type <= Msg.DEBUG && !this.#exchanges.strictNow) return;
    throw new SshProtocolError(`Peer sent message ${type} during a key exchange`);
  }

  async #waitForHandler(payload: Bytes, sequence: number): Promise<void> {
    await new Promise<void>((resolve) => this.#handlerSet = resolve);
    this.#handlerSet = null;
    if (!this.#ending.hasCome && !this.#handler!.message(payload)) this.#generic.unknown(sequence);
  }

  // ------------------------------------------------------------------------------------------------ the end

  /** A stream has failed or ended. Returns a promise where it takes a moment to find out why. */
  #broken(error: Error): void | Promise<void> {
    const { lost } = this.#options;
    const why = lost === undefined || this.#ending.hasCome ? error : lost(error);
    return why instanceof Promise ? why.then((known) => this.fail(known)) : this.fail(why);
  }

  #finish(wanted: End): void {
    if (this.#ending.hasCome) return;
    const end = this.#withLoss(wanted), { error } = end;
    this.#ending.take(end);
    this.#patience.stop();
    this.#draining?.resolve();
    this.#trace("ended", { error: error === null ? "" : error.name });
    this.#exchanges.end(closedError(reasonOf(end)));
    const handler = this.#handler;
    const told = disconnectOf(closedError(error));
    // An orderly close lets what is queued leave first, unless an exchange holds it back.
    const dropped = wanted.error !== null || this.#outbox.held;
    if (dropped) this.#outbox.drop();
    if (told !== null && this.#started) {
      const description = printable(wanted.says ?? withoutQuote(told.description), 1024);
      const payload = Disconnect.encode({ ...told, description, language: "" });
      if (dropped) this.#outbox.sendKex(payload);
      else this.#outbox.send(payload);
    }
    this.#release(told !== null && this.#started);
    this.#writer?.wake();
    this.#handlerSet?.();
    try {
      handler?.ended(reasonOf(end));
    } catch {
      // Whoever called this may be a timer or the reader: the connection has ended, and nothing more can follow from an error.
    }
  }

  /** A clean end is none where this side's own data is lost: when it closes, or waits for that and the peer leaves first. */
  #withLoss(end: End): End {
    const unsent = this.#unsent;
    if (!end.clean || unsent === 0 || end.error !== null && this.#draining === null) return end;
    const { error, wish, says } = end, aborted = wish !== undefined && says === undefined;
    const why = error?.message ?? (aborted ? "it was aborted" : "the peer did not take them in time");
    return { ...end, error: lossOf("Connection", `${unsent} bytes are`, why, error ?? wish?.cause), clean: false };
  }

  /** Lets the DISCONNECT leave, waits a moment for the peer to hang up, then lets go of the streams and settles `closed`. */
  async #release(linger: boolean): Promise<void> {
    const end = this.#ending.end!, { clean } = end;
    let { error } = end;
    if (this.#writer === null) {
      await within(LINGER_TIME, Promise.allSettled([this.#conn.readable.cancel(), this.#conn.writable.abort()]));
    } else {
      const flushed = await within(FLUSH_TIME, this.#writeEnded.promise);
      const patience = error === null ? this.#lingerTime() : LINGER_TIME;
      if (linger && flushed && patience > 0) await within(patience, this.#reader.ended);
      if (!flushed && clean && error === null && this.#dataSent > 0) {
        error = lossOf("Connection", "the latest bytes are", "the peer stopped reading");
      }
      const ending = flushed ? this.#writer.close() : this.#writer.abort(closedError(error));
      await within(LINGER_TIME, ending.catch(() => {}));
      await within(LINGER_TIME, this.#reader.cancel());
    }
    await within(LINGER_TIME, this.#exchanges.idle);
    this.#outbox.close();
    this.#reader.close();
    if (error === null || clean && error === end.error) this.#closed.resolve();
    else this.#closed.reject(error);
  }

  /** How long the peer gets to hang up behind an orderly end: a socket that is closed before drops what is still on its way. */
  #lingerTime(): number {
    const now = performance.now();
    if (now - this.#lastData < JUST_NOW) return LINGER_TIME_FOR_DATA;
    // A client that has sent nothing of late but what was answered has nothing to lose: it goes at once.
    return this.role === "client" && now - this.#lastUnanswered > LATELY ? 0 : LINGER_TIME;
  }

  #trace(event: string, detail: Record<string, string | number | boolean>): void {
    // Who watches a connection does not change what becomes of it.
    const { trace } = this.#options;
    if (trace !== undefined) callBack(() => trace({ number: this.#traced++, event, detail }));
  }
}
