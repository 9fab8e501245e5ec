/**
 * The only reader of a connection's stream: identification, then chunks, cut into packets, opened in batches and handed on one by one.
 * It never waits for writing or for the application, but for key exchanges and where the connection has used its share of a turn. While
 * a cipher opens a batch elsewhere, the next one is read and begun.
 *
 * @module
 */
import { plainOpener } from "../crypto/cipher/ciphers.ts";
import type { Decompressor, PacketOpener } from "../crypto/types.ts";
import { SshError, SshProtocolError } from "../errors.ts";
import type { MaybePromise } from "../wire/types.ts";
import { ByteSource } from "./byte_source.ts";
import { FLUSH_TIME, lostError, within } from "./closing.ts";
import type { Ending } from "./ending.ts";
import { Framer, MAX_PACKET_LENGTH, payloadOf } from "./framer.ts";
import { IdentReader } from "./ident.ts";
import type { KeyExchanges } from "./key_exchanges.ts";
import { CHUNK_WORK, PACKET_WORK, type WorkShare } from "./work_share.ts";

/** Packets opened together; one at a time while keys are being changed. */
const BATCH_PACKETS = 128;
/** What a peer may send behind an error before it is cut off. */
const MAX_DROPPED = { chunks: 64, bytes: 262_144 };
/** Bytes that are read ahead while a step of a key exchange is computed. */
const MAX_READ_AHEAD = 65_536;

/** What the reader needs of its connection. */
export interface ReaderHost {
  /** This side. */
  readonly role: "client" | "server";
  /** Told of packets, asked which come one at a time. */
  readonly exchanges: KeyExchanges;
  /** How much of a turn may be used. */
  readonly share: WorkShare;
  /** The end of the connection: what comes behind it is dropped. */
  readonly ending: Ending;
  /** The peer has identified itself. */
  identified(ident: string): void;
  /**
   * One payload. The view dies with the turn of the event loop, unless it is `owned`: then its buffer holds nothing else. Returns a
   * promise when later packets must wait for it.
   */
  receive(payload: Uint8Array, sequence: number, owned: boolean): Promise<void> | null;
  /** Nothing more is there right now, or others run before it is looked at. */
  delivered(): void;
  /** Whether nothing large is expected. */
  isQuiet(): boolean;
  /** The stream has failed or ended. Returns a promise where it takes a moment to find out why. */
  broken(error: Error): void | Promise<void>;
  /** Ends the connection. */
  fail(error: Error): void;
}

/** A batch that is opened, or being opened elsewhere. */
interface Batch {
  readonly packets: MaybePromise<readonly Uint8Array[]>;
  /** What opens it. */
  readonly opener: PacketOpener;
  /** Number of its first packet. */
  readonly sequence: number;
  /** What handling it costs, as {@linkcode WorkShare} counts. */
  readonly work: number;
}

/** The reader of one connection. */
export class ReaderLoop {
  readonly #host: ReaderHost;
  readonly #framer = new Framer();
  readonly #ident: IdentReader;
  readonly #ended = Promise.withResolvers<void>();
  #source: ByteSource | null = null;
  #remoteIdent = "";
  #opener: PacketOpener = plainOpener();
  #sequence = 0;
  #decompressor: Decompressor | null = null;
  /**
   * The batch that is being opened elsewhere, while the one after it is read; there are never more than these two. There is none while
   * keys are exchanged: what comes next may be under others.
   */
  #opening: Batch | null = null;
  /** A read that is under way meanwhile. The framer is not to be used until it is done. */
  #reading: Promise<boolean> | null = null;
  #lastReceived = 0;
  #chunks = 0;
  /** What came after the end. */
  #chunksDropped = 0;
  #bytesDropped = 0;

  /** Reads nothing before `run()`. */
  constructor(host: ReaderHost) {
    this.#host = host;
    this.#ident = new IdentReader(host.role);
  }

  /** Identification line of the peer, empty until it has come. */
  get remoteIdent(): string {
    return this.#remoteIdent;
  }

  /** What the peer said in its place so far, for the end of an error. */
  get said(): string {
    return this.#ident.said;
  }

  /** When the peer last sent something, by `performance.now()`. */
  get lastReceived(): number {
    return this.#lastReceived;
  }

  /** Chunks that have come in so far. */
  get chunks(): number {
    return this.#chunks;
  }

  /** Resolves when nothing more comes, or nothing more is waited for. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** From here on packets are opened with these. */
  useKeys(opener: PacketOpener, decompressor: Decompressor | null, resetSequence: boolean): void {
    this.#opener.close?.();
    this.#opener = opener;
    this.#decompressor = decompressor;
    if (resetSequence) this.#sequence = 0;
  }

  /** Login is done: limits that hold before it are lifted, and delayed compression starts. */
  setKnown(decompressor: Decompressor | null): void {
    this.#framer.setKnown();
    this.#decompressor = decompressor ?? this.#decompressor;
  }

  /** Locks the stream. */
  lock(readable: ReadableStream<Uint8Array>): void {
    this.#source = new ByteSource(readable, this.#framer);
  }

  /** Ends reading; a read that waits returns. */
  async cancel(): Promise<void> {
    await this.#source?.cancel();
  }

  /** Lets go of the keys. */
  close(): void {
    this.#opener.close?.();
  }

  /** Reads until the peer ends its side or the stream is cancelled. */
  async run(): Promise<void> {
    const source = this.#source!, { share, ending } = this.#host;
    try {
      await this.#readIdent(source);
      while (await this.#more(source)) {
        this.#arrived();
        if (share.isUsedBy(CHUNK_WORK)) await share.next();
        if (!ending.hasCome) await this.#received();
        else this.#dropped();
      }
      if (!ending.hasCome) throw lostError("Peer closed the connection without a word");
    } catch (cause) {
      await this.#host.broken(
        cause instanceof SshError ? cause : lostError("Connection was lost while reading", cause),
      );
    } finally {
      this.#ended.resolve();
    }
  }

  async #readIdent(source: ByteSource): Promise<void> {
    const { share, ending } = this.#host;
    for (;;) {
      const chunk = await source.readChunk().catch((cause) => {
        throw lostError(`Connection was lost before the peer identified itself${this.#whyNoIdent()}`, cause);
      });
      if (ending.hasCome) return;
      if (chunk === null) {
        throw lostError(`Peer closed the connection before it identified itself${this.#whyNoIdent()}`);
      }
      const found = this.#ident.push(chunk);
      if (found === null) {
        if (share.isUsedBy(CHUNK_WORK)) await share.next();
        continue;
      }
      this.#remoteIdent = found.ident;
      this.#host.identified(found.ident);
      this.#framer.push(found.rest);
      this.#arrived();
      return await this.#received();
    }
  }

  /** What the peer said; where it said nothing, what servers mean by that. */
  #whyNoIdent(): string {
    const silent = this.#host.role === "client" ? ": it may have too many connections, or block this address" : "";
    return this.#ident.said || silent;
  }

  /**
   * Waits for a step of a key exchange, in which a host key may be shown to a person. Meanwhile it reads on, so that the end of the
   * connection is no news only after the answer; what came before that end is looked at if the step is done soon.
   */
  async #readOn(step: Promise<void>): Promise<void> {
    const source = this.#source!, { ending } = this.#host;
    let waiting = true;
    const done = step.finally(() => waiting = false);
    while (waiting && !ending.hasCome && this.#framer.buffered < MAX_READ_AHEAD) {
      const reading = (this.#reading ?? source.readAhead()).catch((cause) => {
        throw lostError("Connection was lost while reading", cause);
      });
      const more = await Promise.race([done, reading]);
      if (more === undefined) break;
      if (more) {
        if (this.#reading !== null) this.#reading = null;
        else {
          await source.fill();
          this.#arrived();
        }
        continue;
      }
      // Somebody on this side was first, and nothing comes of the step any more.
      if (ending.hasCome) return void done.catch(() => {});
      if (await within(FLUSH_TIME, done.catch(() => {}))) break;
      throw lostError("Peer closed the connection during the key exchange");
    }
    await done;
  }

  /**
   * What comes after the end is read, so that the peer is not cut off while it reads our DISCONNECT, and dropped. One that goes on and
   * on has had its time.
   */
  #dropped(): void {
    this.#bytesDropped += this.#framer.buffered;
    this.#framer.clear();
    const endless = ++this.#chunksDropped > MAX_DROPPED.chunks || this.#bytesDropped > MAX_DROPPED.bytes;
    if (endless && this.#host.ending.end!.error !== null) this.#ended.resolve();
  }

  #arrived(): void {
    this.#lastReceived = performance.now();
    this.#chunks++;
  }

  /** Reads the next chunk; false at the end. A batch that is opened before it comes is handed on. */
  async #more(source: ByteSource): Promise<boolean> {
    if (this.#host.isQuiet()) this.#framer.rest();
    const reading = source.fill(), opening = this.#opening;
    if (opening === null) return await reading;
    this.#reading = reading;
    const opened = Promise.resolve(opening.packets).then(() => false, () => false);
    const came = await Promise.race([reading.catch(() => false), opened]);
    // What came before the end of the stream, or before it broke, is handed on first.
    if (!came) {
      await this.#received(async () => {
        await this.#handOpening();
        if (!this.#host.ending.hasCome) this.#host.delivered();
      });
    }
    this.#reading = null;
    return await reading;
  }

  async #received(deliver: () => Promise<void> = () => this.#deliver()): Promise<void> {
    try {
      await deliver();
    } catch (cause) {
      if (cause instanceof SshError && cause.code === "CONNECTION_LOST") await this.#host.broken(cause);
      else {
        this.#host.fail(
          cause instanceof Error ? cause : new SshError("Connection failed", { code: "PROTOCOL_ERROR", cause }),
        );
      }
    }
  }

  /**
   * Delivers every whole packet that is there, but for the last batch where that is being opened elsewhere. Synchronous but for key
   * exchanges and such ciphers.
   */
  async #deliver(): Promise<void> {
    const { exchanges, ending } = this.#host;
    for (;;) {
      if (exchanges.running) await this.#handOpening();
      if (ending.hasCome) return;
      let batch: Batch | null;
      try {
        batch = this.#open();
      } catch (error) {
        await this.#handOpening();
        throw error;
      }
      if (batch === null) break;
      const before = this.#opening, isLater = batch.packets instanceof Promise;
      this.#opening = isLater ? batch : null;
      if (before !== null) {
        // Views into the cipher's memory die with the turn of the event loop.
        if (!isLater) batch = { ...batch, packets: (batch.packets as Uint8Array[]).map((packet) => packet.slice()) };
        await this.#hand(before);
      }
      if (!isLater) await this.#hand(batch);
    }
    this.#host.delivered();
  }

  /** Begins to open the next whole packets; null when none is there. */
  #open(): Batch | null {
    const { exchanges } = this.#host, opener = this.#opener, sequence = this.#sequence;
    const batch = this.#framer.next(opener, sequence, exchanges.running ? 1 : BATCH_PACKETS);
    if (batch === null) return null;
    const { chunk, frames, bytes } = batch, count = frames.length;
    if (!exchanges.firstDone && sequence + count > 0xffff_ffff) {
      throw new SshProtocolError("Sequence number wrapped during the initial key exchange");
    }
    this.#sequence = (sequence + count) >>> 0;
    exchanges.received(count, bytes);
    const packets = opener.open(chunk, frames, sequence);
    // An error of a batch is looked at when it is its turn, or never.
    if (packets instanceof Promise) packets.catch(() => {});
    return { packets, opener, sequence, work: bytes + PACKET_WORK * count };
  }

  /** Hands on the batch that is being opened elsewhere, where there is one. */
  async #handOpening(): Promise<void> {
    const opening = this.#opening;
    this.#opening = null;
    if (opening !== null) await this.#hand(opening);
  }

  /** Hands the packets of a batch on, and lets others run where the connection has used its share. */
  async #hand({ packets: opened, opener, sequence, work }: Batch): Promise<void> {
    const { share, ending } = this.#host;
    let packets = opened instanceof Promise ? await opened : opened;
    for (let i = 0; i < packets.length; i++) {
      if (ending.hasCome) return;
      if (this.#opener !== opener) throw new SshProtocolError("Peer sent a message under its old keys after NEWKEYS");
      const pending = this.#receive(packets[i]!, (sequence + i) >>> 0);
      if (pending === null) continue;
      // Views into the cipher's memory die with the turn of the event loop.
      packets = packets.map((packet, k) => k > i ? packet.slice() : packet);
      await this.#readOn(pending);
    }
    if (ending.hasCome || !share.isUsedBy(work)) return;
    this.#host.delivered();
    await share.next();
  }

  #receive(packet: Uint8Array, sequence: number): Promise<void> | null {
    const packed = payloadOf(packet);
    if (this.#decompressor !== null) {
      return this.#host.receive(this.#decompressor.decompress(packed, MAX_PACKET_LENGTH), sequence, false);
    }
    return this.#host.receive(packed, sequence, packet.byteLength === packet.buffer.byteLength);
  }
}
