/**
 * The inbound pipe of a session, read into one buffer over and over where the stream is a byte stream. No protocol.
 *
 * @module
 */

import { lockReadable } from "./lock.ts";
import type { Bytes, PlainSource } from "./types.ts";

/** Room for what a channel of this module has at once: a batch of packets. */
const LARGEST_ROOM = 327_680;
/** Room for small requests and answers: the garbage collector counts all of a buffer's memory each time it changes hands. */
const FIRST_ROOM = 8_192;

/** The only reader of a session's readable side. */
export class ChunkSource {
  readonly #own: PlainSource | null;
  readonly #byob: ReadableStreamBYOBReader | null;
  readonly #plain: ReadableStreamDefaultReader<Uint8Array> | null;
  /** The memory of the last chunk, for the next one. */
  #buffer: ArrayBuffer | null = null;
  /** Grows while chunks fill it, and falls back behind a small one: a read that waits holds all of its room. */
  #room = FIRST_ROOM;

  /** Locks the stream, or reads without one. */
  constructor(readable: ReadableStream<Uint8Array> | PlainSource) {
    this.#own = readable instanceof ReadableStream ? null : readable;
    const own = { byob: null, plain: null };
    ({ byob: this.#byob, plain: this.#plain } = readable instanceof ReadableStream ? lockReadable(readable) : own);
  }

  /**
   * Hands the next chunk to `take`; false at the end. Its bytes are the caller's until the next call, or for good after `retain()`. It is
   * not returned because a function that waits holds what its variables held before: a session at rest would hold its last chunk.
   */
  async read(take: (chunk: Uint8Array) => void): Promise<boolean> {
    if (this.#plain !== null) {
      const { done, value } = await this.#plain.read();
      if (!done) take(value);
      return !done;
    }
    const buffer = this.#buffer ?? new ArrayBuffer(this.#room), { byteLength } = buffer;
    this.#buffer = null;
    if (this.#own !== null) {
      const chunk = await this.#own.read(new Uint8Array(buffer));
      if (chunk === null) return false;
      this.#came(chunk, byteLength);
      take(chunk);
      return true;
    }
    const { done, value } = await this.#byob!.read(new Uint8Array(buffer));
    if (done || value === undefined) return false;
    this.#came(value, byteLength);
    take(value);
    return true;
  }

  #came(chunk: Bytes, asked: number): void {
    if (chunk.length >= asked) {
      this.#room = Math.min(8 * asked, LARGEST_ROOM);
    } else if (chunk.length < FIRST_ROOM) {
      this.#room = FIRST_ROOM;
    }
    if (this.#room === chunk.buffer.byteLength) this.#buffer = chunk.buffer;
  }

  /** Somebody keeps bytes of the last chunk: the next one gets memory of its own. */
  retain(): void {
    this.#buffer = null;
  }

  /** Ends reading; a read that waits returns. */
  async cancel(reason: unknown): Promise<void> {
    if (this.#own !== null) this.#own.discard();
    else await (this.#byob ?? this.#plain)!.cancel(reason);
  }
}
