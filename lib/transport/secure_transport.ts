/**
 * One SSH transport over any byte streams: owns the pipes, the keys and the end. RFC 4253, RFC 8308, OpenSSH PROTOCOL
 * sections 1.8 and 1.9. Reading never waits for writing or for the application.
 *
 * @module
 */
import { plainOpener } from "../crypto/cipher/ciphers.ts";
import type { Decompressor, PacketOpener } from "../crypto/types.ts";
import {
  disconnectOf,
  DisconnectReason,
  printable,
  SshDisconnectError,
  SshError,
  SshProtocolError,
} from "../errors.ts";
import { callBack } from "../wire/callback.ts";
import { Msg } from "../wire/numbers.ts";
import { Reader } from "../wire/reader.ts";
import { turnEnd } from "../wire/turn_end.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";
import { ByteSource } from "./byte_source.ts";
import {
  abortedError,
  closedError,
  type End,
  FLUSH_TIME,
  JUST_NOW,
  LINGER_TIME,
  LINGER_TIME_FOR_DATA,
  lossOf,
  Patience,
  reasonOf,
  within,
} from "./closing.ts";
import { decodeExtInfo } from "./ext_info.ts";
import { Framer, MAX_PACKET_LENGTH, payloadOf } from "./framer.ts";
import { identLine, IdentReader, withoutQuote } from "./ident.ts";
import { KeyExchanges } from "./key_exchanges.ts";
import { Debug, Disconnect, Unimplemented } from "./messages.ts";
import { MAX_PAYLOAD, Outbox } from "./outbox.ts";
import { numberMeant } from "./questions.ts";
import { RoundTrip } from "./round_trip.ts";
import { exchangeOptions, type SecureTransportOptions } from "./transport_options.ts";
import { TurnShare } from "../wire/turns.ts";
import type { ConnectionInfo, DataTransport, MessageHandler, OutboundSource, Question } from "./types.ts";

/** Packets opened together; one at a time while keys are being changed. */
const BATCH_PACKETS = 256;
/** How much is handled before a look at the clock, in bytes, where a packet and a chunk cost as much as so many. */
const WORK_BETWEEN_LOOKS = 65_536;
const PACKET_WORK = 512;
const CHUNK_WORK = 4096;
/** Messages that a peer may provoke without taking them, beyond which it is held to be abusive. */
const MAX_PROVOKED = { messages: 16_384, bytes: 4_194_304 };
/** What a peer may send behind an error before it is cut off. */
const MAX_DROPPED = { chunks: 64, bytes: 262_144 };
/** Bytes that are read ahead while a step of a key exchange is computed. */
const MAX_READ_AHEAD = 65_536;
/** The largest PONG: what an exchange of any cipher still makes a packet of that peers accept. */
const MAX_PONG = 262_100;
/** Chunks below this are worth waiting a moment for what may follow them. */
const SMALL_CHUNK = 16_384;

function lost(message: string, cause?: unknown): SshError {
  return new SshError(message, cause === undefined ? { code: "CONNECTION_LOST" } : { code: "CONNECTION_LOST", cause });
}

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
  readonly #framer = new Framer();
  readonly #extensions = new Map<string, Bytes>();
  readonly #roundTrip = new RoundTrip();
  readonly #closed = Promise.withResolvers<void>();
  readonly #readEnded = Promise.withResolvers<void>();
  readonly #writeEnded = Promise.withResolvers<void>();
  /** Resolves when the end has come, before anything is let go of. */
  readonly #ending = Promise.withResolvers<void>();
  #source: ByteSource | null = null;
  #writer: WritableStreamDefaultWriter<Uint8Array> | null = null;
  readonly #ident: IdentReader;
  #remoteIdent = "";
  #opener: PacketOpener = plainOpener();
  #sequence = 0;
  #decompressor: Decompressor | null = null;
  #authenticated = false;
  #extInfoCount = 0;
  #handler: MessageHandler | null = null;
  #handlerSet: (() => void) | null = null;
  #end: End | null = null;
  #wakeWriter: (() => void) | null = null;
  #started = false;
  /** The writer has something to do, or looks for it. */
  #writing = true;
  #traced = 0;
  #lastReceived = 0;
  /** Inbound chunks so far. */
  #chunks = 0;
  /** What came after the end. */
  #chunksDropped = 0;
  #bytesDropped = 0;
  readonly #share = new TurnShare();
  /** Work since the last look at the clock. */
  #work = 0;
  /** A close that waits until what was accepted has left, as long as it has patience. */
  #draining: PromiseWithResolvers<void> | null = null;
  readonly #patience = new Patience(() => this.#draining?.resolve());
  /** When channel data last left. */
  #lastData = -Infinity;
  #dataSent = 0;

  /** Takes over the streams; nothing moves before `start()`. */
  constructor(conn: ByteDuplex, options: SecureTransportOptions) {
    this.role = options.role;
    this.#conn = conn;
    this.#options = options;
    this.#localIdent = identLine(options.ident ?? "amiko");
    this.#ident = new IdentReader(options.role);
    this.#outbox = new Outbox({
      wake: () => this.#wake(),
      sealed: (packets, bytes) => this.#sealed(packets, bytes),
      reuse: options.copyingWritable ?? false,
    });
    this.#exchanges = new KeyExchanges(
      exchangeOptions(options, this.#localIdent, () => this.#remoteIdent, () => this.#ident.said),
      {
        outbox: this.#outbox,
        useInbound: (opener, decompressor, resetSequence) => {
          this.#opener.close?.();
          this.#opener = opener;
          this.#decompressor = decompressor;
          if (resetSequence) this.#sequence = 0;
        },
        asked: () => this.#roundTrip.asked(performance.now()),
        fail: (error) => this.fail(error),
        trace: (event, detail) => this.#trace(event, detail),
      },
    );
    this.closed = this.#closed.promise;
    this.closed.catch(() => {});
  }

  /** What the latest exchange agreed on; throws until the first is done. */
  get info(): ConnectionInfo {
    return this.#exchanges.info;
  }

  /** Extensions of the peer's EXT_INFO so far. */
  get extensions(): ReadonlyMap<string, Bytes> {
    return this.#extensions;
  }

  /** Whether the transport is up: started, and not ended. */
  get isActive(): boolean {
    return this.#started && this.#end === null;
  }

  /** When the peer last sent something, by `performance.now()`. */
  get lastReceived(): number {
    return this.#lastReceived;
  }

  /** The least round trip seen, in milliseconds; 0 while none was. */
  get roundTrip(): number {
    return this.#roundTrip.least;
  }

  /** What came last cannot have been sent before the peer saw what left at `sent` or later. */
  roundTripAtMost(sent: number): void {
    this.#roundTrip.atMost(sent, this.#lastReceived);
  }

  /** Sends a PING where the peer announced that it takes one and one is due: not before login, not in a key exchange. */
  measureRoundTrip(): void {
    if (this.#end !== null || !this.#authenticated || this.#outbox.held || !this.#takesPing) return;
    const now = performance.now();
    if (!this.#roundTrip.pingDue(now)) return;
    this.#roundTrip.pinged(now);
    this.send(new Uint8Array([Msg.PING, 0, 0, 0, 0]));
  }

  /** OpenSSH PROTOCOL section 1.8: the value is a version, and 0 is the one there is. */
  get #takesPing(): boolean {
    const value = this.#extensions.get("ping@openssh.com");
    return value !== undefined && value.length === 1 && value[0] === 0x30;
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
    if (this.#end !== null) throw closedError(reasonOf(this.#end));
    const { readable, writable } = this.#conn;
    if (readable.locked || writable.locked) throw new TypeError("Cannot take over the streams: they are locked");
    const { signal } = options;
    const abort = () => this.fail(abortedError(signal!));
    signal?.addEventListener("abort", abort, { once: true });
    this.#source = new ByteSource(readable, this.#framer);
    this.#writer = writable.getWriter();
    this.#started = true;
    this.#exchanges.begin();
    this.#write(this.#writer);
    this.#read(this.#source);
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
    if (this.#end !== null) handler.ended(reasonOf(this.#end));
  }

  /** Queues a payload; it belongs to the transport from here on. Never waits; does nothing once the end has come. */
  send(payload: Uint8Array, provoked = false, question?: Question): void {
    if (payload.length > MAX_PAYLOAD) {
      throw new RangeError(`Cannot send a message of ${payload.length} bytes: at most ${MAX_PAYLOAD} fit in a packet`);
    }
    if (this.#end !== null) return;
    if (payload[0] === Msg.SERVICE_REQUEST) this.#roundTrip.asked(performance.now());
    this.#outbox.send(payload, provoked, question);
  }

  /** A source has a small message that goes before data. */
  wantControl(source: OutboundSource): void {
    if (this.#end === null) this.#outbox.wantControl(source);
  }

  /** A source has data; it is asked until it has none. */
  wantData(source: OutboundSource): void {
    if (this.#end === null) this.#outbox.wantData(source);
  }

  /** A source has gone. */
  forget(source: OutboundSource): void {
    this.#outbox.forget(source);
  }

  /** Login is done: delayed compression starts, and limits that hold before login are lifted. */
  setAuthenticated(): void {
    this.#authenticated = true;
    this.#share.setKnown();
    this.#framer.setKnown();
    this.#decompressor = this.#exchanges.loggedIn() ?? this.#decompressor;
  }

  /** Renews the keys; resolves when both directions use the new ones. */
  rekey(): Promise<void> {
    if (this.#end !== null) return Promise.reject(closedError(reasonOf(this.#end)));
    return this.#exchanges.rekey();
  }

  /** Ends the connection: a DISCONNECT that fits the error, then the streams are closed. */
  fail(error: Error): void {
    this.#finish({ error, clean: false });
  }

  /**
   * Lets what was accepted from the application leave, as far as the peer takes it: a close gives up when the peer has taken nothing
   * more for 3 seconds, or after 30. Then sends DISCONNECT (11, by application) and closes the streams; resolves when all is
   * released. Where something could not leave, `closed` rejects and says how much.
   */
  close(): Promise<void> {
    const drained = this.#drain();
    return drained === null ? this.end() : drained.then(() => this.end());
  }

  /**
   * Sends DISCONNECT (11, by application) at once, behind messages that wait; data that was accepted and has not left is lost, and
   * `closed` says so. Whoever waits for something sees `wish`, where that is given.
   */
  async end(wish?: Error): Promise<void> {
    this.#finish(wish === undefined ? { error: null, clean: true } : { error: null, clean: true, wish });
    await this.closed.catch(() => {});
  }

  /** Resolves when nothing waits to leave any more, when the peer takes no more, or when the connection has ended; null if that is so. */
  #drain(): Promise<void> | null {
    if (this.#end !== null || !this.#exchanges.firstDone || this.#hasLeft && !(this.#writing && this.#dataSent > 0)) {
      return null;
    }
    if (this.#draining === null) {
      this.#draining = Promise.withResolvers<void>();
      this.#handler?.closing?.();
      this.#patience.start();
      this.#wake();
    }
    return this.#draining.promise;
  }

  /** Whether others have to run first, after so much work more. */
  #hasUsedShare(work: number): boolean {
    this.#work += work;
    if (this.#work < WORK_BETWEEN_LOOKS) return false;
    this.#work = 0;
    return this.#share.isUsed;
  }

  // ------------------------------------------------------------------------------------------------ outbound

  #wake(): void {
    const wake = this.#wakeWriter;
    this.#wakeWriter = null;
    wake?.();
  }

  /** The only writer of the stream. */
  async #write(writer: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
    try {
      writer.closed.catch(() => {});
      await writer.write(new TextEncoder().encode(`${this.#localIdent}\r\n`));
      // While the socket takes a large chunk, the next one is sealed.
      let writing: Promise<void> | null = null;
      // A turn may set off much, such as a WINDOW_ADJUST and the requests of many files, and each chunk is a system call here and
      // wakes the peer: what follows a small chunk leaves together at the end of the turn, unless it answers what came since.
      let answered = -1;
      for (;;) {
        if (answered === this.#chunks && this.#outbox.ready) await turnEnd();
        const taken = this.#outbox.take();
        if (taken !== null) {
          const chunk = taken instanceof Promise ? await taken : taken;
          await writing;
          writing = writer.write(chunk).then(() => this.#outbox.recycle(chunk));
          writing.catch(() => {});
          if (this.#hasUsedShare(chunk.length + CHUNK_WORK)) await this.#share.next();
          if (chunk.length >= SMALL_CHUNK) continue;
        }
        if (writing !== null) {
          if (taken !== null) answered = this.#chunks;
          await writing;
          writing = null;
        } else if (this.#end !== null) {
          break;
        } else {
          this.#writing = false;
          if (this.#draining !== null && this.#hasLeft) this.#draining.resolve();
          await new Promise<void>((resolve) => this.#wakeWriter = resolve);
          this.#writing = true;
        }
      }
    } catch (cause) {
      // What the peer said before it hung up says more, such as its DISCONNECT: it may lie in the socket still.
      if (this.#end === null) await within(FLUSH_TIME, Promise.race([this.#readEnded.promise, this.#ending.promise]));
      this.fail(cause instanceof SshError ? cause : lost("Connection was lost while writing", cause));
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
      this.#lastData = performance.now();
    }
    this.#patience.progress();
    this.#exchanges.sent(packets, bytes);
  }

  // ------------------------------------------------------------------------------------------------ inbound

  /** The only reader of the stream. */
  async #read(source: ByteSource): Promise<void> {
    try {
      await this.#readIdent(source);
      while (await source.fill()) {
        this.#arrived();
        if (this.#hasUsedShare(CHUNK_WORK)) await this.#share.next();
        if (this.#end === null) await this.#received();
        else this.#dropped();
      }
      if (this.#end === null) throw lost("Peer closed the connection without a word");
    } catch (cause) {
      this.fail(cause instanceof SshError ? cause : lost("Connection was lost while reading", cause));
    } finally {
      this.#readEnded.resolve();
    }
  }

  /**
   * Waits for a step of a key exchange, in which a host key may be shown to a person. Meanwhile it reads on, so that the end of the
   * connection is no news only after the answer; what came before that end is looked at if the step is done soon.
   */
  async #readOn(step: Promise<void>): Promise<void> {
    const source = this.#source!;
    let waiting = true;
    const done = step.finally(() => waiting = false);
    while (waiting && this.#end === null && this.#framer.buffered < MAX_READ_AHEAD) {
      const reading = source.readAhead().catch((cause) => {
        throw lost("Connection was lost while reading", cause);
      });
      const more = await Promise.race([done, reading]);
      if (more === undefined) break;
      if (more) {
        await source.fill();
        this.#arrived();
        continue;
      }
      if (await within(FLUSH_TIME, done.catch(() => {}))) break;
      throw lost("Peer closed the connection during the key exchange");
    }
    await done;
  }

  async #readIdent(source: ByteSource): Promise<void> {
    for (;;) {
      const chunk = await source.readChunk().catch((cause) => {
        throw lost(`Connection was lost before the peer identified itself${this.#whyNoIdent()}`, cause);
      });
      if (this.#end !== null) return;
      if (chunk === null) throw lost(`Peer closed the connection before it identified itself${this.#whyNoIdent()}`);
      const found = this.#ident.push(chunk);
      if (found === null) {
        if (this.#hasUsedShare(CHUNK_WORK)) await this.#share.next();
        continue;
      }
      this.#remoteIdent = found.ident;
      this.#trace("ident", { remote: found.ident });
      this.#exchanges.identified();
      this.#framer.push(found.rest);
      this.#arrived();
      return await this.#received();
    }
  }

  /** What the peer said; where it said nothing, what servers mean by that. */
  #whyNoIdent(): string {
    const silent = this.role === "client" ? ": it may have too many connections, or block this address" : "";
    return this.#ident.said || silent;
  }

  /**
   * What comes after the end is read, so that the peer is not cut off while it reads our DISCONNECT, and dropped. One that goes on and
   * on has had its time.
   */
  #dropped(): void {
    this.#bytesDropped += this.#framer.buffered;
    this.#framer.clear();
    const endless = ++this.#chunksDropped > MAX_DROPPED.chunks || this.#bytesDropped > MAX_DROPPED.bytes;
    if (endless && this.#end!.error !== null) this.#readEnded.resolve();
  }

  #arrived(): void {
    this.#lastReceived = performance.now();
    this.#chunks++;
  }

  async #received(): Promise<void> {
    try {
      await this.#deliver();
    } catch (cause) {
      this.fail(cause instanceof Error ? cause : new SshError("Connection failed", { code: "PROTOCOL_ERROR", cause }));
    }
  }

  /** Delivers every whole packet that is there. Synchronous but for key exchanges and ciphers that work elsewhere. */
  async #deliver(): Promise<void> {
    for (;;) {
      const limit = this.#exchanges.running ? 1 : BATCH_PACKETS;
      const sequence = this.#sequence;
      const batch = this.#framer.next(this.#opener, sequence, limit);
      if (batch === null) break;
      if (!this.#exchanges.firstDone && sequence + batch.frames.length > 0xffff_ffff) {
        throw new SshProtocolError("Sequence number wrapped during the initial key exchange");
      }
      this.#sequence = (sequence + batch.frames.length) >>> 0;
      this.#exchanges.received(batch.frames.length, batch.bytes);
      const opener = this.#opener;
      const opened = opener.open(batch.chunk, batch.frames, sequence);
      let packets = opened instanceof Promise ? await opened : opened;
      for (let i = 0; i < packets.length; i++) {
        if (this.#end !== null) return;
        if (this.#opener !== opener) throw new SshProtocolError("Peer sent a message under its old keys after NEWKEYS");
        const packet = packets[i]!;
        const owned = packet.byteLength === packet.buffer.byteLength;
        const pending = this.#receive(payloadOf(packet), (sequence + i) >>> 0, owned);
        if (pending === null) continue;
        // Views into the cipher's memory die with the turn of the event loop.
        packets = packets.map((packet, k) => k > i ? packet.slice() : packet);
        await this.#readOn(pending);
      }
      if (this.#end !== null) return;
      if (!this.#hasUsedShare(batch.bytes + PACKET_WORK * batch.frames.length)) continue;
      this.#delivered();
      await this.#share.next();
      if (this.#end !== null) return;
    }
    this.#delivered();
  }

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
  #receive(packed: Uint8Array, sequence: number, owned: boolean): Promise<void> | null {
    const payload = this.#decompressor === null ? packed : this.#decompressor.decompress(packed, MAX_PACKET_LENGTH);
    const type = payload.length === 0 ? 0 : payload[0]!;
    if (this.#options.trace !== undefined) this.#trace("received", { type, bytes: payload.length });
    if (type === 0) throw new SshProtocolError("Peer sent an empty message or message number 0");
    if (type === Msg.DISCONNECT) {
      this.#disconnected(payload);
      return null;
    }
    if ((type >= 20 && type <= 49) || type === Msg.SERVICE_ACCEPT) this.#roundTrip.answered(this.#lastReceived);
    if (type >= 20 && type <= 49) return this.#exchanges.receive(payload, sequence);
    if (!this.#exchanges.peerIsFree) this.#checkDuringExchange(type);
    if (type > 4 && type !== Msg.EXT_INFO && type < Msg.PING) {
      if (this.#handler !== null) {
        if (!this.#handler.message(payload, owned && payload === packed)) {
          this.#outbox.send(Unimplemented.encode({ sequence }), true);
        }
        return null;
      }
      return this.#waitForHandler(payload.slice(), sequence);
    }
    this.#receiveGeneric(type, payload, sequence);
    return null;
  }

  /**
   * RFC 4253 section 7.1, and OpenSSH PROTOCOL section 1.9 for the strict form of the first exchange. A peer that has logged in may go on with
   * the connection protocol until its NEWKEYS, as AsyncSSH to 2.10 does: nothing of it is stored here, so that windows bound it as ever, and the
   * answers wait as they would without.
   */
  #checkDuringExchange(type: number): void {
    if (this.#authenticated && type >= Msg.GLOBAL_REQUEST && type < 128) return;
    if (type >= Msg.IGNORE && type <= Msg.DEBUG && !this.#exchanges.strictNow) return;
    throw new SshProtocolError(`Peer sent message ${type} during a key exchange`);
  }

  #receiveGeneric(type: number, payload: Uint8Array, sequence: number): void {
    switch (type) {
      case Msg.IGNORE:
        return;
      case Msg.UNIMPLEMENTED:
        return this.#unimplemented(payload);
      case Msg.DEBUG:
        Debug.decode(payload);
        return;
      case Msg.EXT_INFO: {
        // Peers send it in other places than RFC 8308 section 2.4 has for it; its number is bounded, and it is never taken in the clear.
        const most = this.role === "server" ? 1 : 2;
        if (++this.#extInfoCount > most) {
          this.#outbox.send(Unimplemented.encode({ sequence }), true);
          return;
        }
        for (const [name, value] of decodeExtInfo(payload)) this.#extensions.set(name, value);
        return;
      }
      case Msg.PING:
        // Nothing is echoed or queued for a peer that has not logged in.
        if (!this.#authenticated || payload.length > MAX_PONG) return;
        this.#outbox.send(pong(payload), true);
        return;
      case Msg.PONG:
        this.#roundTrip.ponged(this.#lastReceived);
        return;
      default:
        this.#outbox.send(Unimplemented.encode({ sequence }), true);
    }
  }

  #unimplemented(payload: Uint8Array): void {
    if (payload.length < 5) return;
    const sequence = new Reader(payload, 1).u32();
    this.#outbox.questions.unimplemented(numberMeant(sequence, this.#remoteIdent));
  }

  async #waitForHandler(payload: Bytes, sequence: number): Promise<void> {
    await new Promise<void>((resolve) => this.#handlerSet = resolve);
    this.#handlerSet = null;
    if (this.#end === null && !this.#handler!.message(payload)) {
      this.#outbox.send(Unimplemented.encode({ sequence }), true);
    }
  }

  #disconnected(payload: Uint8Array): void {
    const { reason, description } = Disconnect.decode(payload);
    const text = printable(description);
    this.#finish({
      error: new SshDisconnectError(`Peer disconnected: ${text === "" ? "no reason given" : text} (${reason})`, reason),
      clean: reason === DisconnectReason.BY_APPLICATION && this.#exchanges.firstDone,
    });
  }

  // ------------------------------------------------------------------------------------------------ the end

  #finish(wanted: End): void {
    if (this.#end !== null) return;
    const end = this.#withLoss(wanted), { error } = end;
    this.#end = end;
    this.#ending.resolve();
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
      const description = printable(withoutQuote(told.description), 1024);
      const payload = Disconnect.encode({ ...told, description, language: "" });
      if (dropped) this.#outbox.sendKex(payload);
      else this.#outbox.send(payload);
    }
    this.#release(told !== null && this.#started);
    this.#wake();
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
    const { error, wish } = end;
    const why = error?.message ?? (wish === undefined ? "the peer did not take them in time" : "it was aborted");
    return { ...end, error: lossOf("Connection", `${unsent} bytes are`, why, error ?? wish?.cause), clean: false };
  }

  /** Lets the DISCONNECT leave, waits a moment for the peer to hang up, then lets go of the streams and settles `closed`. */
  async #release(linger: boolean): Promise<void> {
    const { clean } = this.#end!;
    let { error } = this.#end!;
    if (this.#writer === null || this.#source === null) {
      await Promise.allSettled([this.#conn.readable.cancel(), this.#conn.writable.abort()]);
    } else {
      const flushed = await within(FLUSH_TIME, this.#writeEnded.promise);
      const justNow = error === null && performance.now() - this.#lastData < JUST_NOW;
      if (linger && flushed) await within(justNow ? LINGER_TIME_FOR_DATA : LINGER_TIME, this.#readEnded.promise);
      if (!flushed && clean && error === null && this.#dataSent > 0) {
        error = lossOf("Connection", "the latest bytes are", "the peer stopped reading");
      }
      const ending = flushed ? this.#writer.close() : this.#writer.abort(closedError(error));
      await within(LINGER_TIME, ending.catch(() => {}));
      await within(LINGER_TIME, this.#source.cancel());
    }
    await within(LINGER_TIME, this.#exchanges.idle);
    this.#outbox.close();
    this.#opener.close?.();
    if (error === null || clean && error === this.#end!.error) this.#closed.resolve();
    else this.#closed.reject(error);
  }

  #trace(event: string, detail: Record<string, string | number | boolean>): void {
    // Who watches a connection does not change what becomes of it.
    const { trace } = this.#options;
    if (trace !== undefined) callBack(() => trace({ number: this.#traced++, event, detail }));
  }
}

/** PONG carries what PING carried (OpenSSH PROTOCOL section 1.8). */
function pong(ping: Uint8Array): Uint8Array {
  const reader = new Reader(ping, 1);
  reader.view();
  reader.end();
  const payload = ping.slice();
  payload[0] = Msg.PONG;
  return payload;
}
