/**
 * Streams of Node as web streams, and as calls that read and write bytes.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";
import { asDenoError } from "./node_errors.ts";

type Readable = import("node:stream").Readable;
type Writable = import("node:stream").Writable;

/** Bytes that may wait to be read before the stream is told to stop, and of a read that brings no room of its own. */
const ENOUGH = 262_144;
const CHUNK = 65_536;

/** Reads a stream of Node's: it stops while nobody reads. */
export class NodeSource {
  readonly #stream: Readable;
  readonly #chunks: Uint8Array[] = [];
  #waiting = 0;
  #ended = false;
  #error: { readonly error: unknown } | null = null;
  #wake: (() => void) | null = null;

  /** Nobody else reads it. */
  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on("data", (chunk: Uint8Array) => {
      this.#chunks.push(chunk);
      this.#waiting += chunk.length;
      if (this.#waiting >= ENOUGH) stream.pause();
      this.#tell();
    });
    stream.on("end", () => {
      this.#ended = true;
      this.#tell();
    });
    stream.on("error", (error: unknown) => this.#fail(asDenoError(error)));
    stream.on("close", () => {
      if (!this.#ended) this.#fail(new Error("Connection is closed"));
    });
  }

  #fail(error: unknown): void {
    this.#error ??= { error };
    this.#tell();
  }

  #tell(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** The next bytes; null at the end. One call at a time. */
  async read(p: Uint8Array): Promise<number | null> {
    while (this.#chunks.length === 0) {
      if (this.#ended) return null;
      if (this.#error !== null) throw this.#error.error;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    let length = 0;
    for (let chunk; length < p.length && (chunk = this.#chunks[0]) !== undefined;) {
      const room = p.length - length;
      p.set(chunk.length > room ? chunk.subarray(0, room) : chunk, length);
      length += Math.min(chunk.length, room);
      if (chunk.length > room) this.#chunks[0] = chunk.subarray(room);
      else this.#chunks.shift();
    }
    this.#waiting -= length;
    if (this.#waiting < ENOUGH && this.#stream.isPaused()) this.#stream.resume();
    return length;
  }
}

/** What a source gives, as a stream that reads straight into the room of its reader; cancelling it destroys the stream of Node's. */
export function readableOver(
  read: (p: Uint8Array) => Promise<number | null>,
  cancel: () => void,
): ReadableStream<Bytes> {
  return new ReadableStream<Bytes>({
    type: "bytes",
    autoAllocateChunkSize: CHUNK,
    async pull(controller): Promise<void> {
      const request = (controller as ReadableByteStreamController).byobRequest!, { view } = request;
      const length = await read(new Uint8Array(view!.buffer, view!.byteOffset, view!.byteLength));
      if (length === null) controller.close();
      request.respond(length ?? 0);
    },
    cancel,
  });
}

const heard = new WeakSet<Writable>();

/** An error that a call has told comes as an event, too, which ends the whole program where nobody listens. */
function listen(stream: Writable): void {
  if (heard.has(stream)) return;
  heard.add(stream);
  stream.on("error", () => {});
}

/** Writes all of a chunk; settles when the system has it, and the chunk may be used again. */
export function writeTo(stream: Writable, chunk: Uint8Array): Promise<void> {
  listen(stream);
  return new Promise((resolve, reject) => {
    stream.write(chunk, (error) => error ? reject(asDenoError(error)) : resolve());
  });
}

/** Ends a stream; settles when the other side can see that. */
export function endOf(stream: Writable): Promise<void> {
  listen(stream);
  return new Promise((resolve, reject) => {
    const told = (error?: Error | null): void => {
      if (stream.writableFinished) resolve();
      else reject(asDenoError(error ?? new Error("Connection is closed")));
    };
    stream.once("error", told);
    stream.once("close", told);
    stream.end(told as () => void);
  });
}

/** A stream of Node's to write to. */
export function writableOver(stream: Writable): WritableStream<Uint8Array> {
  listen(stream);
  return new WritableStream<Uint8Array>({
    write: (chunk) => writeTo(stream, chunk),
    close: () => endOf(stream),
    abort: () => void stream.destroy(),
  });
}
