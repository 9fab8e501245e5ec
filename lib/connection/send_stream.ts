/**
 * What a channel sends, as a writable stream: small writes are gathered, large ones are cut into packets straight from
 * the application's chunk when the socket asks. RFC 4254 section 5.2.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import type { Bytes } from "../wire/types.ts";
import { OutputStream } from "./output_stream.ts";

/** Bytes gathered from writes that return at once; a chunk that does not fit waits for its turn instead. */
const STAGE = 131_072;
/** Bytes of the stage that small writes begin with: most connections through a forward carry no more at once. */
const FIRST_STAGE = 4_096;

/** Large stages of channels that have nothing to send just now, kept for the next one that has. */
const spareStages: Bytes[] = [];

/** What the channel does for its outbound streams. */
export interface SendStreamOwner {
  /** There is something to send now. */
  hasData(): void;
  /** Everything written has become packets, and the application closed the stream. */
  finished(): void;
  /** The application gave the stream up. */
  aborted(reason: unknown): void;
}

/** One outbound stream of a channel. At most one write of the application waits: streams hand out the next when it is done. */
export class SendStream {
  readonly #owner: SendStreamOwner;
  /** The stream the application writes, once it has asked for it: four streams are most of what opening a channel costs. */
  #writable: WritableStream<Uint8Array> | null = null;
  #controller: WritableStreamDefaultController | null = null;
  /** What the stream fails with, also where nobody has asked for it yet. */
  #failure: (() => unknown) | null = null;
  /** Whether somebody writes without the stream, and whom to tell of its failure. */
  #isWritten = false;
  #gone: PromiseWithResolvers<never> | null = null;
  #stage: Bytes | null = null;
  #stageStart = 0;
  #stageEnd = 0;
  #chunk: Uint8Array | null = null;
  #chunkAt = 0;
  #chunkEnd = 0;
  #chunkDone: PromiseWithResolvers<void> | null = null;
  #closing: PromiseWithResolvers<void> | null = null;
  /** The connection is being closed: what has not been taken stays where it is. */
  #held = false;
  /** The rest of a chunk was dropped. */
  #isCut = false;
  /** Everything has become packets and the stream is closed: nothing can fail any more. */
  #finished = false;
  #error: { readonly reason: unknown } | null = null;
  /** What `close()` gives once the stream has failed. */
  #ending: Promise<void> | null = null;

  /** The owner is told when there is something to do. */
  constructor(owner: SendStreamOwner) {
    this.#owner = owner;
  }

  /** The stream the application writes. */
  get writable(): WritableStream<Uint8Array> {
    if (this.#writable === null) {
      if (this.#isWritten) throw new TypeError("Cannot write to channel: its bytes come from elsewhere");
      this.#writable = this.#make();
      if (this.#failure !== null) this.#controller!.error(this.#failure());
    }
    return this.#writable;
  }

  #make(): WritableStream<Uint8Array> {
    return new OutputStream({
      start: (controller) => {
        this.#controller = controller;
        // A stream calls abort() below only once the write in flight has ended, and that may be waiting for window; and one
        // that is being closed never calls it.
        controller.signal.addEventListener("abort", () => {
          const { reason } = controller.signal, closing = this.#closing !== null;
          this.#settle(reason);
          if (closing) queueMicrotask(() => this.#owner.aborted(reason));
        }, { once: true });
      },
      write: (chunk) => this.#write(chunk),
      close: () => this.#close(),
      abort: (reason) => {
        this.#drop();
        this.#owner.aborted(reason);
      },
    }, () => this.#ending);
  }

  /** Whether somebody has asked for the stream: then the four methods below are not to be called any more. */
  get isStream(): boolean {
    return this.#writable !== null;
  }

  /** Rejects when nothing more can be written, with the reason; else it stays pending. */
  get gone(): Promise<never> {
    this.#isWritten = true;
    if (this.#gone === null) {
      this.#gone = Promise.withResolvers<never>();
      this.#gone.promise.catch(() => {});
      if (this.#failure !== null) this.#gone.reject(this.#failure());
    }
    return this.#gone.promise;
  }

  /** Writes without a stream, for what carries bytes on; the chunk is free once that has settled. One at a time, and none behind `end()`. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#failure !== null) throw this.#failure();
    if (this.#finished || this.#closing !== null) {
      throw new SshError("Cannot write to channel: EOF has been asked for", { code: "CLOSED" });
    }
    await this.#write(chunk);
  }

  /** Closing the stream, without one. */
  async end(): Promise<void> {
    if (this.#ending !== null) return await this.#ending;
    if (this.#failure !== null) throw this.#failure();
    await this.#close();
  }

  /** Aborting the stream, without one. */
  abort(reason: unknown): void {
    if (this.#failure !== null || this.#finished) return;
    this.#fails(() => reason);
    this.#settle(reason);
    this.#owner.aborted(reason);
  }

  #fails(reason: () => unknown): void {
    this.#failure ??= reason;
    this.#gone?.reject(this.#failure());
  }

  /** Bytes that the application counts as written and that are not packets yet. */
  get staged(): number {
    return this.#stageEnd - this.#stageStart;
  }

  /** Bytes that could become packets now. */
  get available(): number {
    return this.staged + (this.#chunk === null || this.#held ? 0 : this.#chunkEnd - this.#chunkAt);
  }

  /** Bytes that an end has to follow. Without end where some will never leave: what has left must not look whole. */
  get waiting(): number {
    if (this.#isCut) return Infinity;
    return this.staged + (this.#chunk === null ? 0 : this.#chunkEnd - this.#chunkAt);
  }

  #write(chunk: Uint8Array): void | Promise<void> {
    if (!(chunk instanceof Uint8Array)) throw new TypeError("Cannot write to a channel: chunks must be Uint8Array");
    if (this.#error !== null) throw this.#error.reason;
    if (chunk.length === 0) return;
    if (chunk.length <= STAGE - this.staged && !this.#held) {
      this.#gather(chunk);
      this.#owner.hasData();
      return;
    }
    this.#chunk = chunk;
    this.#chunkAt = 0;
    this.#chunkEnd = chunk.length;
    this.#chunkDone = Promise.withResolvers<void>();
    this.#owner.hasData();
    return this.#chunkDone.promise;
  }

  /**
   * Sends bytes of this side's own, whoever holds the stream: behind what is staged and before the rest of a chunk that waits. False
   * where nothing can be sent any more, or too much waits.
   */
  insert(bytes: Uint8Array): boolean {
    if (this.#failure !== null || this.#finished || this.#closing !== null) return false;
    if (this.staged + bytes.length > 2 * STAGE) return false;
    if (bytes.length === 0) return true;
    this.#gather(bytes);
    this.#owner.hasData();
    return true;
  }

  #gather(chunk: Uint8Array): void {
    let stage = this.#stage;
    if (stage === null || stage.length - this.#stageEnd < chunk.length) stage = this.#roomFor(chunk.length);
    stage.set(chunk, this.#stageEnd);
    this.#stageEnd += chunk.length;
  }

  /** A stage with room for so many bytes behind what is staged. */
  #roomFor(bytes: number): Bytes {
    const { staged } = this, old = this.#stage, start = this.#stageStart, whole = staged + bytes;
    let stage = old;
    if (stage === null || stage.length < whole) {
      const size = whole <= FIRST_STAGE ? FIRST_STAGE : Math.max(whole, STAGE);
      stage = (size === STAGE ? spareStages.pop() : undefined) ?? new Uint8Array(size);
    }
    if (staged > 0) stage.set(old!.subarray(start, start + staged));
    this.#stage = stage;
    this.#stageStart = 0;
    this.#stageEnd = staged;
    return stage;
  }

  /** Copies up to `most` bytes into `out` at `at`, and returns how many. */
  take(out: Uint8Array, at: number, most: number): number {
    if (this.staged > 0) {
      const n = Math.min(most, this.staged);
      out.set(this.#stage!.subarray(this.#stageStart, this.#stageStart + n), at);
      this.#stageStart += n;
      if (this.staged === 0) this.#freeStage();
      this.#finishIfEmpty();
      return n;
    }
    if (this.#chunk === null || this.#held) return 0;
    if (this.#chunk.length !== this.#chunkEnd) {
      this.#isCut = true;
      this.#settle(new TypeError("Cannot send a chunk: its buffer was transferred or resized during the write"));
      // The other stream of the channel may still have something.
      this.#owner.hasData();
      return 0;
    }
    const n = Math.min(most, this.#chunkEnd - this.#chunkAt);
    out.set(this.#chunk.subarray(this.#chunkAt, this.#chunkAt + n), at);
    this.#chunkAt += n;
    if (this.#chunkAt === this.#chunkEnd) {
      this.#chunk = null;
      this.#chunkDone!.resolve();
      this.#chunkDone = null;
    }
    return n;
  }

  #freeStage(): void {
    if (this.#stage?.length === STAGE && spareStages.length < 16) spareStages.push(this.#stage);
    this.#stage = null;
    this.#stageStart = this.#stageEnd = 0;
  }

  #close(): void | Promise<void> {
    if (this.#error !== null) throw this.#error.reason;
    if (this.available === 0) {
      this.#finished = true;
      return this.#owner.finished();
    }
    this.#closing = Promise.withResolvers<void>();
    return this.#closing.promise;
  }

  #finishIfEmpty(): void {
    if (this.#closing === null || this.available > 0) return;
    const closing = this.#closing;
    this.#closing = null;
    this.#finished = true;
    this.#owner.finished();
    closing.resolve();
  }

  #drop(): void {
    this.#freeStage();
    this.#chunk = null;
  }

  /** Takes nothing more from the application, whose next write waits for the end; what is staged still leaves. */
  hold(): void {
    this.#held = true;
  }

  /**
   * Takes nothing more from the application; what is staged still leaves. Writers see the error, which is made where there are any; a
   * stream being closed does not.
   */
  shut(error: () => Error): void {
    if (this.#error !== null || this.#finished || this.#closing !== null) return;
    this.#fails(error);
    if (this.#controller === null && this.#chunkDone === null) return;
    const reason = error();
    this.#isCut ||= this.#chunk !== null;
    this.#chunk = null;
    this.#chunkDone?.reject(reason);
    this.#chunkDone = null;
    this.#controller?.error(reason);
  }

  /**
   * Nothing more can be sent: what waits is dropped, and writers see `reason`. After a clean end by the peer the stream can still be
   * closed where nothing waited.
   */
  fail(reason: unknown, clean = false): void {
    if (this.#error !== null || this.#finished) return;
    this.#error = { reason };
    this.#ending = clean && this.staged === 0 && this.#chunk === null ? Promise.resolve() : Promise.reject(reason);
    this.#ending.catch(() => {});
    this.#fails(() => reason);
    this.#settle(reason);
    this.#controller?.error(reason);
  }

  #settle(reason: unknown): void {
    this.#drop();
    this.#chunkDone?.reject(reason);
    this.#chunkDone = null;
    this.#closing?.reject(reason);
    this.#closing = null;
  }
}
