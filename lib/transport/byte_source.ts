/**
 * The inbound pipe: reads straight into the framer where the stream is a byte stream, and copies chunks into it where it
 * is not. No protocol.
 *
 * @module
 */
import { lockReadable } from "../wire/lock.ts";
import type { Bytes } from "../wire/types.ts";
import type { Framer } from "./framer.ts";

/** The only reader of a connection's readable side. */
export class ByteSource {
  readonly #framer: Framer;
  readonly #byob: ReadableStreamBYOBReader | null;
  readonly #plain: ReadableStreamDefaultReader<Uint8Array> | null;
  #ahead: Promise<Uint8Array | null> | null = null;

  /** Locks the stream. */
  constructor(readable: ReadableStream<Uint8Array>, framer: Framer) {
    this.#framer = framer;
    ({ byob: this.#byob, plain: this.#plain } = lockReadable(readable));
  }

  /** Reads a chunk that is handed out, for what comes before packets; null at the end. */
  async readChunk(): Promise<Uint8Array | null> {
    const { done, value } = this.#byob === null
      ? await this.#plain!.read()
      : await this.#byob.read(new Uint8Array(2048));
    return done ? null : value!;
  }

  /** Begins to read while the framer is in use; resolves to whether something came, which the next `fill()` puts there. */
  async readAhead(): Promise<boolean> {
    return await (this.#ahead ??= this.readChunk()) !== null;
  }

  /** Reads into the framer, which is not to be used until this is done; false at the end. */
  async fill(): Promise<boolean> {
    if (this.#ahead !== null) {
      const chunk = await this.#ahead;
      if (chunk === null) return false;
      this.#ahead = null;
      this.#framer.push(chunk);
      return true;
    }
    if (this.#byob === null) {
      const { done, value } = await this.#plain!.read();
      if (!done) this.#framer.push(value);
      return !done;
    }
    const target = this.#framer.readTarget();
    const asked = target.length;
    const { done, value } = await this.#byob.read(target);
    if (value !== undefined) this.#framer.filled(value as Bytes, asked);
    return !done;
  }

  /** Ends reading; a read that waits returns. */
  async cancel(): Promise<void> {
    const reader = (this.#byob ?? this.#plain)!;
    await reader.cancel().catch(() => {});
    reader.releaseLock();
  }
}
