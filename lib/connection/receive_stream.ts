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

/** One inbound stream of a channel. */
export class ReceiveStream {
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
  /** What the last chunk held tells how large the next buffer should be. */
  #expected = 0;
  #wanted = false;
  #discarding = false;
  #ended = false;
  #error: { readonly reason: unknown } | null = null;
  #settled = false;

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
        const view = (controller as ReadableByteStreamController).byobRequest?.view;
        this.#room = view ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : null;
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
      this.#consumed(chunk.length);
      return Promise.resolve(chunk);
    }
    if (this.#ended) return this.#error === null ? Promise.resolve(null) : Promise.reject(this.#error.reason);
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
    if (this.#discarding) return this.#consumed(data.length);
    let at = this.#room === null ? 0 : this.#fillRoom(this.#room, data);
    if (at === data.length) return;
    if (owned && data.length - at >= KEPT) {
      this.#closeBuffer();
      this.#queue.push((at === 0 ? data : data.subarray(at)) as Bytes);
      return;
    }
    while (at < data.length) {
      if (this.#open === null) {
        const size = Math.max(data.length - at, Math.min(this.#expected, LARGEST_BUFFER));
        const spare = this.#spare;
        this.#spare = null;
        this.#open = spare !== null && spare.length >= size ? spare : new Uint8Array(size);
        this.#filled = 0;
      }
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

  #closeBuffer(): void {
    const filled = this.#filled;
    if (this.#open === null || filled === 0) return;
    this.#queue.push(this.#open.subarray(0, filled));
    // Grows by doubling while buffers fill up within a batch, and follows what comes when they do not.
    this.#expected = filled === this.#open.length ? Math.min(2 * filled, LARGEST_BUFFER) : filled;
    this.#open = null;
    this.#filled = 0;
  }

  /** Gives the reader a chunk if it waits for one; called when a batch of packets has been taken. */
  flush(): void {
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
        this.#consumed(length);
      }
    }
    if (this.#ended && this.drained) this.#settle();
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
    this.#open = null;
    this.#filled = 0;
    this.#queue = [];
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
    if (bytes > 0) this.#consumed(bytes);
  }
}
