/**
 * What a channel receives, as a byte stream: copied out of the packets once, queued within the window, and credited when
 * it leaves the queue. RFC 4254 section 5.2.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";

/** The largest buffer that packets are gathered in before they go to the reader as one chunk. */
const LARGEST_BUFFER = 262_144;

/** Data that is not shared with anything goes to the reader as it is from this size on; less is worth gathering. */
const KEPT = 8_192;

/**
 * Buffers of the largest size, for the next batch of any channel that somebody waits for: making one costs as much as filling it, and
 * what leaves here is full or a copy, so that nobody sees what others had in it.
 */
const spareBuffers: Bytes[] = [];
const SPARES = 8;

/** What looks at bytes that stay in the queue. */
export interface Looker {
  /** More bytes have come, which are to be looked at before this returns. */
  more(bytes: Uint8Array): void;
  /** No more will come: null at the end, or why they were cut off. */
  ended(error: { readonly reason: unknown } | null): void;
}

/** One inbound stream of a channel. */
export class ReceiveStream {
  /**
   * Told of all data as it comes, whoever reads it and whether anybody does; the view dies with the call. Returns how many bytes of its
   * beginning nobody is to get. Must not throw.
   */
  tap: ((data: Uint8Array) => number) | null = null;

  readonly #consumed: (bytes: number) => void;
  /** The stream the application reads, once it has asked for it: four streams are most of what opening a channel costs. */
  #readable: ReadableStream<Bytes> | null = null;
  #controller: ReadableByteStreamController | null = null;
  /** A `read()` that waits, and whether there ever was one: then nobody else reads. */
  #reading: PromiseWithResolvers<Bytes | null> | null = null;
  #isRead = false;
  /** Room that a `read()` had no use for, to gather packets in. */
  #spare: Bytes | null = null;
  #queue: Bytes[] = [];
  /** The buffer being filled, and how much of it is. */
  #open: Bytes | null = null;
  #filled = 0;
  /** Room that a read offers, filled straight from the packets while nothing else waits, and how much of it is. */
  #room: Bytes | null = null;
  #roomFilled = 0;
  /** The buffer of the view that the stream has offered last. */
  #offered: ArrayBufferLike | null = null;
  /** What the last chunk held tells how large the next buffer should be. */
  #expected = 0;
  #wanted = false;
  #discarding = false;
  #ended = false;
  #error: { readonly reason: unknown } | null = null;
  #settled = false;
  /** Bytes at the front of the queue that the peer has been given the window back for. */
  #credited = 0;
  /** Who looks at the queue, and up to where it did: a chunk, the buffer being filled behind the last, and bytes of it. */
  #looker: Looker | null = null;
  #looked = { chunks: 0, bytes: 0 };
  /** Bytes that the looker was shown. */
  #lookedAt = 0;

  /** `consumed` is told of bytes that left the queue. */
  constructor(consumed: (bytes: number) => void) {
    this.#consumed = consumed;
  }

  /** The stream the application reads; high-water mark 0, so that nothing is credited before somebody wants it. */
  get readable(): ReadableStream<Bytes> {
    if (this.#readable === null) {
      if (this.#isRead) throw new TypeError("Cannot read channel: its bytes go elsewhere");
      this.#readable = this.#make();
      if (this.#ended && this.drained) this.#settle();
    }
    return this.#readable;
  }

  #make(): ReadableStream<Bytes> {
    const source: UnderlyingByteSource = {
      type: "bytes",
      start: (controller) => void (this.#controller = controller),
      pull: (controller) => {
        this.#wanted = true;
        const view = (controller as ReadableByteStreamController).byobRequest?.view ?? null;
        // Room that was offered before and is asked for once more may be that of a reader who has left. Where one of another kind waits, what
        // is put there reaches nobody; a chunk reaches whoever reads.
        const isAnew = view !== null && view.buffer !== this.#offered;
        this.#offered = view === null ? null : view.buffer;
        this.#room = isAnew ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : null;
        this.flush();
      },
      cancel: () => {
        this.#settled = true;
        this.discard();
      },
    };
    return new ReadableStream(source, { highWaterMark: 0 });
  }

  /** Whether somebody has asked for the stream: then `read()` is not to be called any more. */
  get isStream(): boolean {
    return this.#readable !== null;
  }

  /**
   * Reads without a stream, for what carries bytes on: the next bytes, in `room` or in a buffer that holds nothing else, or null at the
   * end. `room` is not the caller's any more unless they are there. One at a time.
   */
  read(room: Bytes): Promise<Bytes | null> {
    this.#isRead = true;
    if (this.#queue.length === 0) this.#closeBuffer();
    const chunk = this.#queue.shift();
    if (chunk !== undefined) {
      this.#spare = room;
      this.#left(chunk.length);
      return Promise.resolve(chunk);
    }
    if (this.#ended) return this.#error === null ? Promise.resolve(null) : Promise.reject(this.#error.reason);
    // A reader at rest holds one room, and no larger one.
    if (this.#spare !== null && this.#spare.length > room.length) this.#spare = null;
    this.#room = room;
    this.#roomFilled = 0;
    this.#reading = Promise.withResolvers();
    return this.#reading.promise;
  }

  /** Whether the reader has taken everything that came. */
  get drained(): boolean {
    return this.#queue.length === 0 && this.#filled === 0 && this.#roomFilled === 0;
  }

  /** Takes data of a packet: the view itself where it is `owned` and large, else a copy. */
  push(data: Uint8Array, owned = false): void {
    const dropped = this.tap === null ? 0 : this.tap(data);
    if (dropped > 0) {
      this.#consumed(dropped);
      if (dropped === data.length) return;
      data = data.subarray(dropped);
    }
    if (this.#discarding) return this.#consumed(data.length);
    let at = this.#room === null ? 0 : this.#fillRoom(this.#room, data);
    if (at === data.length) return;
    if (owned && data.length - at >= KEPT) {
      this.#closeBuffer();
      this.#queue.push((at === 0 ? data : data.subarray(at)) as Bytes);
      return;
    }
    while (at < data.length) {
      this.#open ??= this.#newBuffer(data.length - at);
      const n = Math.min(data.length - at, this.#open.length - this.#filled);
      this.#open.set(at === 0 && n === data.length ? data : data.subarray(at, at + n), this.#filled);
      this.#filled += n;
      at += n;
      if (this.#filled === this.#open.length) this.#closeBuffer();
    }
  }

  /** Copies as much as a BYOB read has room for, unless something waits to go before it. */
  #fillRoom(room: Uint8Array, data: Uint8Array): number {
    if (this.#queue.length > 0 || this.#filled > 0) return 0;
    const n = Math.min(data.length, room.length - this.#roomFilled);
    room.set(n === data.length ? data : data.subarray(0, n), this.#roomFilled);
    this.#roomFilled += n;
    return n;
  }

  /** A buffer for so many bytes and what may follow them: one that is lent, where they leave it when the batch ends. */
  #newBuffer(bytes: number): Bytes {
    const size = Math.max(bytes, Math.min(this.#expected, LARGEST_BUFFER));
    const isLeft = size >= KEPT && this.#wanted && this.#room === null && this.#queue.length === 0;
    const spare = isLeft ? spareBuffers.pop() ?? null : this.#spare;
    if (!isLeft) this.#spare = null;
    return spare !== null && spare.length >= size ? spare : new Uint8Array(size);
  }

  #closeBuffer(): void {
    const filled = this.#filled, open = this.#open;
    if (open === null || filled === 0) return;
    const isFull = filled === open.length;
    // Grows by doubling while buffers fill up within a batch, and follows what comes when they do not.
    this.#expected = isFull ? Math.min(2 * filled, LARGEST_BUFFER) : filled;
    this.#open = null;
    this.#filled = 0;
    const part = open.subarray(0, filled);
    // A `read()` takes its own room along. Anyone else may keep what he gets, and would keep the empty part with it.
    if (isFull || this.#isRead || open.length < KEPT) return void this.#queue.push(part);
    this.#queue.push(new Uint8Array(part));
    if (open.length === LARGEST_BUFFER && spareBuffers.length < SPARES) spareBuffers.push(open);
  }

  /** Gives the reader a chunk if it waits for one; called when a batch of packets has been taken. */
  flush(): void {
    if (this.#looker !== null) return this.#show(this.#looker);
    if (this.#settled) return;
    if (this.#roomFilled > 0) {
      const filled = this.#roomFilled, room = this.#room!, reading = this.#reading;
      this.#reading = null;
      this.#leaveRoom();
      if (reading === null) this.#controller!.byobRequest!.respond(filled);
      else reading.resolve(room.subarray(0, filled));
      this.#consumed(filled);
    } else if (this.#wanted) {
      if (this.#queue.length === 0) this.#closeBuffer();
      const chunk = this.#queue.shift();
      if (chunk !== undefined) {
        this.#leaveRoom();
        const { length } = chunk;
        this.#controller!.enqueue(chunk);
        this.#left(length);
      }
    }
    if (this.#ended && this.drained) this.#settle();
  }

  /** Bytes have left the queue. */
  #left(bytes: number): void {
    const again = Math.min(bytes, this.#credited);
    this.#credited -= again;
    if (bytes > again) this.#consumed(bytes - again);
  }

  /** Whether the stream holds bytes that were meant for a reader who has left, or more than one took: they come before the queue. */
  get hasRest(): boolean {
    return this.#controller !== null && (this.#controller.desiredSize ?? 0) < 0;
  }

  /**
   * Shows `looker` all bytes that nobody has read, from the next `flush()` on, and gives the window back for them. They stay where they
   * are: nobody reads meanwhile, which is the caller's part, as it is to bound them by stopping. Returns what ends that and takes so
   * many bytes away from the front. `unread` has been taken out of the stream and goes back to the front.
   */
  look(looker: Looker, unread: readonly Bytes[]): (take: number) => void {
    if (this.#looker !== null) throw new TypeError("Cannot look at channel: somebody else does");
    // Room that a reader has left behind is not filled meanwhile; whoever reads next asks anew.
    if (this.#roomFilled > 0) this.#queue.unshift(this.#room!.slice(0, this.#roomFilled) as Bytes);
    this.#leaveRoom();
    this.#queue.unshift(...unread);
    for (const { length } of unread) this.#credited += length;
    this.#looker = looker;
    this.#looked = { chunks: 0, bytes: 0 };
    this.#lookedAt = 0;
    return (take) => {
      if (this.#looker !== looker) return;
      this.#looker = null;
      this.#take(take);
      this.flush();
    };
  }

  #show(looker: Looker): void {
    const looked = this.#looked;
    while (this.#looker === looker) {
      const isClosed = looked.chunks < this.#queue.length;
      const chunk = isClosed ? this.#queue[looked.chunks]! : this.#open?.subarray(0, this.#filled);
      if (chunk === undefined) break;
      const fresh = chunk.subarray(looked.bytes);
      looked.bytes = isClosed ? 0 : chunk.length;
      if (isClosed) looked.chunks++;
      if (fresh.length > 0) {
        this.#credit(fresh.length);
        looker.more(fresh);
      }
      if (!isClosed) break;
    }
    if (this.#ended && this.#looker === looker) looker.ended(this.#error);
  }

  /** Gives the window back for bytes that stay, unless that was done when they were looked at before. */
  #credit(bytes: number): void {
    this.#lookedAt += bytes;
    const owed = this.#lookedAt - this.#credited;
    if (owed <= 0) return;
    this.#credited += owed;
    this.#consumed(owed);
  }

  #take(bytes: number): void {
    this.#left(bytes);
    while (bytes > 0) {
      if (this.#queue.length === 0) this.#closeBuffer();
      const chunk = this.#queue[0]!;
      if (chunk.length > bytes) this.#queue[0] = chunk.subarray(bytes);
      else this.#queue.shift();
      bytes -= Math.min(bytes, chunk.length);
    }
  }

  /** What the reader waits for is about to be there; the stream's pull() may follow before that returns. */
  #leaveRoom(): void {
    this.#wanted = false;
    this.#room = null;
    this.#roomFilled = 0;
  }

  #settle(): void {
    const controller = this.#controller;
    if (this.#settled) return;
    if (controller === null) return this.#settleRead();
    // A small BYOB view leaves the rest of a chunk in the stream, and an error would throw it away, and so would a close for a
    // reader that wants more at once than the rest: both wait for the next pull.
    if (!this.#wanted && controller.desiredSize! < 0) return;
    if (this.#error === null) return this.#close(controller);
    this.#settled = true;
    controller.error(this.#error.reason);
  }

  /** Nothing more comes for a `read()` that waits. */
  #settleRead(): void {
    const reading = this.#reading;
    this.#reading = null;
    if (this.#error === null) reading?.resolve(null);
    else reading?.reject(this.#error.reason);
  }

  #close(controller: ReadableByteStreamController): void {
    this.#settled = true;
    try {
      controller.close();
      controller.byobRequest?.respond(0);
    } catch {
      // The reader asked for elements of several bytes and the last one is not whole: its stream has failed with a TypeError.
    }
  }

  /** No more will come: after what is queued the stream closes, or fails with `error`. */
  end(error: Error | null = null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error === null ? null : { reason: error };
    // With nothing left the reader learns it now, whether it waits or not.
    this.flush();
  }

  /** The rest is lost, and what is queued with it: the reader sees why. What the peer has ended is whole, and stays. */
  cut(error: unknown): void {
    if (this.#ended) return;
    this.#ended = this.#discarding = true;
    this.#error = { reason: error };
    // Who looks may take something of what came, while it is there.
    this.#looker?.ended(this.#error);
    this.#looker = null;
    this.#open = null;
    this.#filled = 0;
    this.#queue = [];
    this.#credited = 0;
    this.#leaveRoom();
    if (this.#settled) return;
    if (this.#controller === null) return this.#settleRead();
    this.#settled = true;
    this.#controller.error(error);
  }

  /** Throws away what is queued and what will come, and credits it. */
  discard(): void {
    if (this.#discarding) return;
    this.#discarding = true;
    this.#closeBuffer();
    let bytes = this.#roomFilled;
    this.#leaveRoom();
    for (const chunk of this.#queue) bytes += chunk.length;
    this.#queue = [];
    this.#ended = true;
    this.#settle();
    this.#left(bytes);
  }
}
