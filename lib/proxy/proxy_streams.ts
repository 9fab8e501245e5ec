/**
 * The streams of a connection to a proxy while it is asked for a way: reads what the proxy answers and not a byte more, so that what
 * follows stays where it was, or is put in front of the rest. No protocol, no I/O of its own.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import { lockReadable } from "../wire/lock.ts";
import type { ByteDuplex } from "../wire/types.ts";

/** What is wrong with a proxy's answer; whoever asked for the connection says where to. */
export function proxyError(why: string, cause?: unknown): SshError {
  return new SshError(why, { code: "CONNECTION_LOST", ...cause === undefined ? {} : { cause } });
}

/** Holds the locks of both streams until `release()` or `giveUp()`. */
export class ProxyStreams {
  readonly #conn: ByteDuplex;
  readonly #byob: ReadableStreamBYOBReader | null;
  readonly #plain: ReadableStreamDefaultReader<Uint8Array> | null;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  /** Came with what was asked for; only streams that are no byte streams give more than that. */
  #rest: Uint8Array = new Uint8Array(0);
  #writeError: unknown;

  /** Locks the streams. */
  constructor(conn: ByteDuplex) {
    this.#conn = conn;
    ({ byob: this.#byob, plain: this.#plain } = lockReadable(conn.readable));
    this.#writer = conn.writable.getWriter();
    this.#writer.closed.catch(() => {});
  }

  /** Sends bytes without waiting for them: a proxy may refuse before it has read. Where that fails, reading says so. */
  write(bytes: Uint8Array): void {
    this.#writer.write(bytes).catch((error) => this.#writeError ??= error);
  }

  /** Between one byte and `limit`; rejects at the end. */
  async readSome(limit: number): Promise<Uint8Array> {
    let chunk = this.#rest;
    while (chunk.length === 0) {
      const { done, value } = this.#byob === null
        ? await this.#plain!.read()
        : await this.#byob.read(new Uint8Array(limit));
      if (done) throw proxyError("the proxy closed the connection before it had answered", this.#writeError);
      chunk = value!;
    }
    this.#rest = chunk.subarray(limit);
    return chunk.subarray(0, limit);
  }

  /** Exactly `length` bytes. */
  async read(length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const chunk = await this.readSome(length - at);
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
  }

  /** The streams for what follows: the connection's own ones wherever nothing of theirs was read too far. */
  release(): ByteDuplex {
    (this.#byob ?? this.#plain)!.releaseLock();
    this.#writer.releaseLock();
    if (this.#rest.length === 0) return this.#conn;
    return { readable: withFront(this.#rest, this.#conn.readable), writable: this.#conn.writable };
  }

  /**
   * Ends both directions; a read that waits returns. It waits for nothing: aborting a stream waits for the write that it is at, which a
   * proxy that does not read holds up until whoever opened the connection closes it.
   */
  giveUp(reason: unknown): void {
    (this.#byob ?? this.#plain)!.cancel(reason).catch(() => {});
    this.#writer.abort(reason).catch(() => {});
  }
}

/** `first`, and then what `rest` has. */
function withFront(first: Uint8Array, rest: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = rest.getReader();
  return new ReadableStream({
    type: "bytes",
    start: (controller) => controller.enqueue(first.slice()),
    pull: async (controller) => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) {
          controller.close();
          controller.byobRequest?.respond(0);
          return;
        }
        if (value.length === 0) continue;
        // A chunk is its stream's own, which may be larger than the view that somebody waits with.
        return controller.enqueue(value.slice());
      }
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}
