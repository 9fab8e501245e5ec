/**
 * Test support. Byte streams without a peer: pairs in memory that split, stall and cut, and (from relay.ts) a TCP relay with delay.
 * Imports nothing from lib/ but types, so that a test of any layer can use it.
 *
 * ```ts ignore
 * const { client, server } = memoryPair();                              // like a socket: 256 KiB between the ends
 * const pair = memoryPair({ chunks: "bytes" });                         // one byte per chunk
 * const pair = memoryPair({ chunks: { seed: 7 } });                     // split at random, the same way every time
 * const pair = memoryPair({ highWaterMark: 0 });                        // a write ends when its bytes were read
 * const pair = memoryPair({ cutAfter: { toServer: 100 } });             // reset both ways behind byte 100
 * const pair = memoryPair({ tap: { toServer: (bytes, offset) => … } }); // watch or change what passes
 * pair.toClient.stall();                                                // the client gets nothing more until resume()
 * pair.reset();                                                         // what a killed process leaves behind
 * ```
 *
 * `AMIKO_CHUNK=1` makes one-byte chunks the default for the first 8 KiB of a direction (handshake, login and more) and small random ones behind them,
 * `AMIKO_CHUNK=random` or `random:SEED` random ones, and `AMIKO_HWM=N` sets the default high-water mark: with them all tests that have such
 * pairs run once more under worse streams. A test that moves megabytes says `chunks: "whole"` to stay out of it.
 *
 * @module
 */
import type { ByteDuplex } from "../../lib/wire/types.ts";

export { type DelayRelay, delayRelay, type DelayRelayOptions, sleep } from "./relay.ts";

/** How bytes are cut into the chunks that a reader gets. */
export type Chunks =
  /** As they were written. */
  | "whole"
  /** One byte each. */
  | "bytes"
  /** One byte each at first, and then at random as with `{ seed: 1, max: 1024 }`. */
  | "bytes-first"
  /** At random, repeatable by seed; pieces of 1 to `max` (default 64) bytes, small ones more often. */
  | { readonly seed: number; readonly max?: number };

/** Options of {@linkcode memoryPair}. */
export interface MemoryPairOptions {
  /** How chunks are cut. @default {"whole", or what AMIKO_CHUNK says} */
  chunks?: Chunks;
  /** Bytes that may wait between the ends before `write()` waits. @default {262144, or what AMIKO_HWM says} */
  highWaterMark?: number;
  /** Ends the connection behind so many bytes of a direction. */
  cutAfter?: { toServer?: number; toClient?: number };
  /** What a cut looks like: an error on both ends and both ways, or a clean end of that direction. @default {"reset"} */
  cut?: "reset" | "end";
  /** Sees every written chunk with its offset in the direction; what it returns goes on in its place. */
  tap?: { toServer?: Tap; toClient?: Tap };
}

/** Sees a chunk, which is its own to change, and may return another one in its place. */
export type Tap = (bytes: Uint8Array<ArrayBuffer>, offset: number) => Uint8Array | void;

/** One direction of a pair. */
export interface Pipe {
  /** Bytes written into it so far. */
  readonly written: number;
  /** Bytes that its reader has taken so far. */
  readonly delivered: number;
  /** Keeps everything from the reader from now on, as if the network had stopped. */
  stall(): void;
  /** Ends a stall. */
  resume(): void;
}

/** Two ends in memory; what one writes the other reads. */
export interface MemoryPair {
  /** One end. */
  readonly client: ByteDuplex;
  /** The other end. */
  readonly server: ByteDuplex;
  /** From the client to the server. */
  readonly toServer: Pipe;
  /** From the server to the client. */
  readonly toClient: Pipe;
  /** Breaks both directions at once: readers and writers fail with `error`, by default ConnectionReset. */
  reset(error?: Error): void;
}

/** Makes a pair of ends. Each direction ends on its own, as with a socket's half close. Nothing stays open when a pair is dropped. */
export function memoryPair(options: MemoryPairOptions = {}): MemoryPair {
  const chunks = options.chunks ?? defaultChunks();
  const highWaterMark = options.highWaterMark ?? defaultHighWaterMark();
  const reset = (error: Error = new Deno.errors.ConnectionReset("Connection reset by peer (os error 104)")) => {
    toServer.fail(error);
    toClient.fail(error);
  };
  const make = (direction: "toServer" | "toClient", salt: number) =>
    new MemoryPipe({
      size: chunkSizes(chunks, salt),
      highWaterMark,
      cutAfter: options.cutAfter?.[direction] ?? Infinity,
      onCut: (pipe) => options.cut === "end" ? pipe.end() : reset(),
      tap: options.tap?.[direction],
    });
  const toServer = make("toServer", 1);
  const toClient = make("toClient", 2);
  return {
    client: { readable: toClient.readable, writable: toServer.writable },
    server: { readable: toServer.readable, writable: toClient.writable },
    toServer,
    toClient,
    reset,
  };
}

/** A generator of numbers in [0, 1), the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Bytes that are the same for the same seed. */
export function seededBytes(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const random = seededRandom(seed);
  const words = new Uint32Array((length + 3) >> 2);
  for (let i = 0; i < words.length; i++) words[i] = random() * 4294967296;
  return new Uint8Array(words.buffer, 0, length);
}

function defaultChunks(): Chunks {
  const value = Deno.env.get("AMIKO_CHUNK") ?? "";
  if (value === "1") return "bytes-first";
  if (value.startsWith("random")) return { seed: Number(value.slice("random:".length)) || 1 };
  return "whole";
}

function defaultHighWaterMark(): number {
  const value = Deno.env.get("AMIKO_HWM") ?? "";
  return value === "" ? 256 * 1024 : Number(value);
}

function chunkSizes(chunks: Chunks, salt: number): (waiting: number) => number {
  if (chunks === "whole") return (waiting) => waiting;
  if (chunks === "bytes") return () => 1;
  if (chunks === "bytes-first") {
    let left = 8 * 1024;
    const later = chunkSizes({ seed: 1, max: 1024 }, salt);
    return (waiting) => left-- > 0 ? 1 : later(waiting);
  }
  const random = seededRandom(chunks.seed * 31 + salt);
  const max = chunks.max ?? 64;
  return () => 1 + Math.floor(random() ** 3 * max);
}

interface MemoryPipeOptions {
  size: (waiting: number) => number;
  highWaterMark: number;
  cutAfter: number;
  onCut: (pipe: MemoryPipe) => void;
  tap: Tap | undefined;
}

/** Invariant: `#waiting` is the sum of the lengths in `#queue`; after an end or a failure nothing is delivered. */
class MemoryPipe implements Pipe {
  written = 0;
  delivered = 0;
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly #options: MemoryPipeOptions;
  readonly #queue: Uint8Array[] = [];
  #waiting = 0;
  #stalled = false;
  #ended = false;
  #error: Error | null = null;
  #readableController!: ReadableByteStreamController;
  #writableController!: WritableStreamDefaultController;
  #wakeReader: (() => void) | null = null;
  #wakeWriter: (() => void) | null = null;

  constructor(options: MemoryPipeOptions) {
    this.#options = options;
    this.readable = new ReadableStream({
      type: "bytes",
      start: (controller) => {
        this.#readableController = controller;
      },
      pull: () => this.#pull(),
      cancel: () => this.fail(new Deno.errors.BrokenPipe("Broken pipe (os error 32)")),
    }, { highWaterMark: 0 });
    this.writable = new WritableStream({
      start: (controller) => {
        this.#writableController = controller;
      },
      write: (chunk) => this.#write(chunk),
      close: () => this.end(),
      abort: () => this.fail(new Deno.errors.ConnectionReset("Connection reset by peer (os error 104)")),
    });
  }

  stall(): void {
    this.#stalled = true;
  }

  resume(): void {
    this.#stalled = false;
    this.#wake();
  }

  /** No more bytes: the reader sees the end behind what is still waiting. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** Breaks this direction on both sides. */
  fail(error: Error): void {
    if (this.#error !== null || (this.#ended && this.#waiting === 0)) return;
    this.#error = error;
    this.#queue.length = 0;
    this.#waiting = 0;
    // Both throw or do nothing where the stream has ended already.
    try {
      this.#readableController.error(error);
    } catch { /* ended */ }
    try {
      this.#writableController.error(error);
    } catch { /* ended */ }
    this.#wake();
  }

  #wake(): void {
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }

  async #write(chunk: Uint8Array): Promise<void> {
    // A copy: a socket has taken the bytes when write() ends, and the writer may use its buffer again.
    const copy = new Uint8Array(chunk);
    const bytes = this.#options.tap?.(copy, this.written) ?? copy;
    this.written += chunk.length;
    if (bytes.length > 0) {
      this.#queue.push(bytes);
      this.#waiting += bytes.length;
    }
    this.#wakeReader?.();
    while (this.#error === null && this.#waiting > this.#options.highWaterMark && !this.#ended) {
      await new Promise<void>((resolve) => this.#wakeWriter = resolve);
      this.#wakeWriter = null;
    }
    if (this.#error !== null) throw this.#error;
  }

  async #pull(): Promise<void> {
    while (this.#error === null && (this.#stalled || (this.#waiting === 0 && !this.#ended))) {
      await new Promise<void>((resolve) => this.#wakeReader = resolve);
      this.#wakeReader = null;
    }
    if (this.#error !== null) return;
    const controller = this.#readableController;
    if (this.#waiting === 0) {
      controller.close();
      controller.byobRequest?.respond(0);
      return;
    }
    const first = this.#queue[0]!;
    const view = controller.byobRequest?.view ?? null;
    const size = Math.min(
      this.#options.size(first.length),
      first.length,
      this.#options.cutAfter - this.delivered,
      view?.byteLength ?? Infinity,
    );
    if (size > 0) {
      const piece = first.slice(0, size);
      if (size === first.length) this.#queue.shift();
      else this.#queue[0] = first.subarray(size);
      this.#waiting -= size;
      this.delivered += size;
      if (view === null) {
        controller.enqueue(piece);
      } else {
        new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(piece);
        controller.byobRequest!.respond(size);
      }
      this.#wakeWriter?.();
      return;
    }
    this.#queue.length = 0;
    this.#waiting = 0;
    this.#options.onCut(this);
    if (this.#error === null) {
      controller.close();
      controller.byobRequest?.respond(0);
    }
  }
}
