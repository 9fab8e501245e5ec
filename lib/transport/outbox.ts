/**
 * What waits to be sent, and how it becomes packets: built and sealed in batches when the socket asks. RFC 4253
 * sections 6, 7.1 and 9. No I/O, no timers.
 *
 * The life of a message, in order. Whoever has something to say puts it into one of three lanes: the key exchange calls `sendKex()`, all
 * others `send()` a finished payload, and channels only say that they have a window to announce (`wantControl()`) or data
 * (`wantData()`). Each of these calls `wake`, and nothing more happens then. The writer of the connection wakes, and calls `take()` as often as
 * it can give the socket another chunk. `take()` begins a `Batch`, which lays out packets one behind the other in memory of the sealer:
 * first messages of the key exchange; then, unless an exchange holds the rest back (`hold()`, `release()`), the payloads that wait, in order;
 * then what the channels are asked for, control first, and data one packet from each channel in turn, until the batch is full. The
 * sealer encrypts the batch as one chunk. When a batch ends with NEWKEYS, the next one is sealed with the new keys. Once the socket
 * has taken the chunk, `recycle()` brings its memory back for another. At the end of the connection `drop()` throws away what must
 * not leave any more, and `close()` all, keys too.
 *
 * @module
 */
import { plainSealer } from "../crypto/cipher/ciphers.ts";
import { fillRandom } from "../crypto/random.ts";
import type { Compressor, PacketSealer } from "../crypto/types.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { Questions } from "./questions.ts";
import type { OutboundSource, Question } from "./types.ts";

/** Bytes sealed as one chunk. */
const BATCH = 262_144;
/** Packets sealed as one chunk: small ones cost more than their bytes, and the event loop waits meanwhile. */
const BATCH_PACKETS = 1024;
/** Room behind a full batch for one packet more of data or control, with its header, padding and tag. */
const PACKET_ROOM = 35_000;
/** Enough for any chunk that `Outbox.take()` makes. */
const CHUNK_SIZE = BATCH + PACKET_ROOM;
/** The largest payload of a single message: with its header, padding and tag it still makes a packet that peers accept. */
export const MAX_PAYLOAD = 261_120;
/** The largest payload that {@linkcode OutboundSource.writeData} may write. */
export const MAX_DATA_PAYLOAD = 32_768 + 13;

/** Keys to use after the NEWKEYS they stand with. */
export interface OutboundKeys {
  /** Seals from here on. */
  readonly sealer: PacketSealer;
  /** Whether the sequence number starts anew (strict key exchange). */
  readonly resetSequence: boolean;
  /** Compression that starts here, if it is not delayed. */
  readonly compressor: Compressor | null;
  /** Called once the keys are in force. */
  readonly inForce?: () => void;
}

interface KexItem {
  readonly payload: Uint8Array;
  readonly keys: OutboundKeys | null;
}

interface Item {
  readonly payload: Uint8Array;
  /** The peer asked for it. */
  readonly provoked: boolean;
  /** Told when the peer does not know it. */
  readonly question: Question | undefined;
  /** Compression that starts behind this payload (zlib@openssh.com, behind USERAUTH_SUCCESS). */
  readonly startCompression: Compressor | null;
}

/** Options of {@linkcode Outbox}. */
export interface OutboxOptions {
  /** Called when there is something to take. */
  readonly wake: () => void;
  /** Told of each batch, before it is sent. */
  readonly sealed: (packets: number, bytes: number) => void;
  /** Chunks come back by `recycle()`, so their buffers are used again. */
  readonly reuse: boolean;
  /** Seals until other keys come. @default {plainSealer()} */
  readonly sealer?: PacketSealer;
}

/** Buffers of large chunks, for the next one: making one costs as much as filling it. */
const spareChunks: Bytes[] = [];
const SPARES = 4;
/** Chunks from this size on are worth it. */
const REUSED = 65_536;

/**
 * Three lanes: key exchange, which always goes; messages, in order; and sources of data. While a key exchange holds the
 * outbox, only the first moves (RFC 4253 section 7.1).
 */
export class Outbox {
  #sealer: PacketSealer;
  #compressor: Compressor | null = null;
  #sequence = 0;
  #kex: KexItem[] = [];
  #items: Item[] = [];
  #dataSent = 0;
  #provoked = { messages: 0, bytes: 0 };
  #control = new Set<OutboundSource>();
  #sources = new Set<OutboundSource>();
  #held = true;
  /** What has left and waits for its answer. */
  readonly questions: Questions = new Questions();
  #scratch: Uint8Array = new Uint8Array(0);
  readonly #options: OutboxOptions;

  /** Held until `release()`: nothing but the first key exchange may leave. */
  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#sealer = options.sealer ?? plainSealer();
  }

  /** Number of the next packet. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Whether a key exchange keeps everything else waiting. */
  get held(): boolean {
    return this.#held;
  }

  /** Messages that wait and that the peer has provoked. What this side has to say by itself does not count: it just waits. */
  get provoked(): { readonly messages: number; readonly bytes: number } {
    return this.#provoked;
  }

  /** Messages that wait in order, whoever has them to say; sources are not asked. */
  get queued(): number {
    return this.#items.length;
  }

  /** Bytes of data packets so far, with their headers. */
  get dataSent(): number {
    return this.#dataSent;
  }

  /** Sends a message of the key exchange; `keys` go with NEWKEYS. */
  sendKex(payload: Uint8Array, keys: OutboundKeys | null = null): void {
    this.#kex.push({ payload, keys });
    this.#options.wake();
  }

  /** Sends a message when its turn comes; `provoked` where the peer asked for it. */
  send(payload: Uint8Array, provoked = false, question?: Question): void {
    this.#items.push({ payload, provoked, question, startCompression: null });
    this.#count(payload, provoked, 1);
    if (!this.#held) this.#options.wake();
  }

  #count({ length }: Uint8Array, provoked: boolean, sign: 1 | -1): void {
    if (!provoked) return;
    this.#provoked.messages += sign;
    this.#provoked.bytes += sign * length;
  }

  /** Starts compression behind the last message queued. */
  compressAfterLast(compressor: Compressor): void {
    const last = this.#items.pop();
    if (last === undefined) this.#compressor = compressor;
    else this.#items.push({ ...last, startCompression: compressor });
  }

  /** A source has a small message to send. */
  wantControl(source: OutboundSource): void {
    this.#control.add(source);
    if (!this.#held) this.#options.wake();
  }

  /** A source has data to send; it is asked until it has none. */
  wantData(source: OutboundSource): void {
    this.#sources.add(source);
    if (!this.#held) this.#options.wake();
  }

  /** A source has gone. */
  forget(source: OutboundSource): void {
    this.#control.delete(source);
    this.#sources.delete(source);
  }

  /** Only key exchange messages leave from here on. */
  hold(): void {
    this.#held = true;
  }

  /** Everything leaves again. */
  release(): void {
    this.#held = false;
    this.#options.wake();
  }

  /** Drops all but key exchange messages: the connection ends with an error. */
  drop(): void {
    this.#items = [];
    this.#provoked = { messages: 0, bytes: 0 };
    this.#control.clear();
    this.#sources.clear();
  }

  /** Nothing will be taken any more. */
  close(): void {
    this.drop();
    for (const { keys } of this.#kex) keys?.sealer.close?.();
    this.#kex = [];
    this.#sealer.close?.();
  }

  /** Whether `take()` would return something. */
  get ready(): boolean {
    return this.#kex.length > 0 ||
      !this.#held && (this.#items.length > 0 || this.#control.size > 0 || this.#sources.size > 0);
  }

  /**
   * Builds and seals the next chunk for the socket; null when nothing may leave now. Not to be called before the last one is
   * there.
   */
  take(): MaybePromise<Bytes> | null {
    if (!this.ready) return null;
    const batch = new Batch(this.#sealer, this.#sequence);
    let keys: OutboundKeys | null = null;
    let taken = 0;
    for (const item of this.#kex) {
      batch.payload(this.#compress(item.payload));
      taken++;
      keys = item.keys;
      if (keys !== null) break;
    }
    this.#kex.splice(0, taken);
    if (keys === null && !this.#held) this.#fill(batch);
    if (batch.packets === 0) return null;
    this.#sequence = (this.#sequence + batch.packets) >>> 0;
    this.#options.sealed(batch.packets, batch.length);
    const reuse = this.#options.reuse && this.#sealer.fillsOut === true && batch.length >= REUSED;
    const chunk = batch.seal(reuse ? spareChunks.pop() ?? new Uint8Array(CHUNK_SIZE) : undefined);
    if (keys !== null) {
      this.#sealer.close?.();
      this.#sealer = keys.sealer;
      this.#compressor = keys.compressor;
      if (keys.resetSequence) this.#sequence = 0;
      if (keys.resetSequence) this.questions.renumbered();
      keys.inForce?.();
    }
    return chunk;
  }

  /** A chunk has left, and nobody holds it any more. */
  recycle(chunk: Bytes): void {
    if (!this.#options.reuse || chunk.buffer.byteLength !== CHUNK_SIZE || spareChunks.length >= SPARES) return;
    spareChunks.push(new Uint8Array(chunk.buffer));
  }

  #compress(payload: Uint8Array): Uint8Array {
    return this.#compressor === null ? payload : this.#compressor.compress(payload);
  }

  #fill(batch: Batch): void {
    let taken = 0;
    for (const item of this.#items) {
      if (batch.isFull || batch.length + item.payload.length > BATCH && batch.packets > 0) break;
      if (item.question !== undefined) this.questions.left((this.#sequence + batch.packets) >>> 0, item.question);
      batch.payload(this.#compress(item.payload));
      this.#count(item.payload, item.provoked, -1);
      taken++;
      if (item.startCompression !== null) this.#compressor = item.startCompression;
    }
    if (taken === this.#items.length) this.#items = [];
    else this.#items.splice(0, taken);
    // At least one of these leaves however many items there are: what the peer provokes does not hold up its own windows.
    while (this.#control.size > 0) {
      const payload = takeFirst(this.#control).takeControl();
      if (payload !== null) batch.payload(this.#compress(payload));
      if (batch.isFull) return;
    }
    if (this.#items.length > 0) return;
    while (this.#sources.size > 0 && !batch.isFull) {
      const source = takeFirst(this.#sources);
      // One that has more gets its next turn behind the others.
      if (this.#writeData(batch, source)) this.#sources.add(source);
    }
  }

  #writeData(batch: Batch, source: OutboundSource): boolean {
    const before = batch.length;
    const more = this.#compressor === null ? batch.data(source) : this.#compressData(batch, source);
    this.#dataSent += batch.length - before;
    return more;
  }

  #compressData(batch: Batch, source: OutboundSource): boolean {
    if (this.#scratch.length === 0) this.#scratch = new Uint8Array(MAX_DATA_PAYLOAD);
    const length = source.writeData(this.#scratch, 0);
    if (length > 0) batch.payload(this.#compress(this.#scratch.subarray(0, length)));
    return length > 0;
  }
}

/** Takes out what has waited longest: a Set keeps the order in which things were added. */
function takeFirst(waiting: Set<OutboundSource>): OutboundSource {
  const [source] = waiting;
  waiting.delete(source!);
  return source!;
}

/** Packets laid out one after the other, to be sealed together. */
class Batch {
  readonly #sealer: PacketSealer;
  readonly #sequence: number;
  readonly #workspace: Uint8Array;
  #length = 0;
  #ends: number[] = [];

  constructor(sealer: PacketSealer, sequence: number) {
    this.#sealer = sealer;
    this.#sequence = sequence;
    this.#workspace = sealer.workspace(CHUNK_SIZE);
  }

  get packets(): number {
    return this.#ends.length;
  }

  get length(): number {
    return this.#length;
  }

  get isFull(): boolean {
    return this.#length >= BATCH || this.#ends.length >= BATCH_PACKETS;
  }

  payload(payload: Uint8Array): void {
    this.#workspace.set(payload, this.#length + 5);
    this.#close(payload.length);
  }

  data(source: OutboundSource): boolean {
    const length = source.writeData(this.#workspace, this.#length + 5);
    if (length > 0) this.#close(length);
    return length > 0;
  }

  #close(payload: number): void {
    const { blockSize, lengthPadded, tagLength, padded } = this.#sealer;
    const out = this.#workspace, start = this.#length;
    const block = Math.max(8, blockSize);
    const body = (lengthPadded ? 5 : 1) + payload;
    let padding = padded === false ? 0 : block - body % block;
    if (padding < 4 && padded !== false) padding += block;
    const packetLength = 1 + payload + padding;
    out[start] = packetLength >>> 24;
    out[start + 1] = packetLength >>> 16;
    out[start + 2] = packetLength >>> 8;
    out[start + 3] = packetLength;
    out[start + 4] = padding;
    fillRandom(out.subarray(start + 5 + payload, start + 5 + payload + padding));
    this.#length = start + 4 + packetLength + tagLength;
    this.#ends.push(this.#length);
  }

  seal(out: Bytes | undefined): MaybePromise<Bytes> {
    return this.#sealer.seal(this.#workspace, this.#ends, this.#sequence, out);
  }
}
