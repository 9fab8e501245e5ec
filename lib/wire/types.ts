/**
 * Types shared by all layers.
 *
 * @module
 */

/** Bytes this library hands out: always a fresh, transferable buffer. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A value now or later. */
export type MaybePromise<T> = T | Promise<T>;

/** What comes in on a channel of our own, without a stream. */
export interface PlainSource {
  /** The next bytes, in `room` or in a buffer that holds nothing else, or null at the end; `room` is given away. One at a time. */
  read(room: Bytes): Promise<Bytes | null>;
  /** Throws away what is there and what will come; a read that waits returns. */
  discard(): void;
}

/** What leaves on a channel, without a stream. */
export interface PlainSink {
  /** Resolves when more may be written. One at a time. */
  write(chunk: Uint8Array): Promise<void>;
  /** Ends it, behind what was written. */
  end(): Promise<void>;
  /** Gives it up; what waits is lost. */
  abort(reason: unknown): void;
}

/** Any pair of byte streams: a `Deno.Conn`, a WebSocket adapter, or one of our own channels. */
export interface ByteDuplex {
  /** Bytes from the peer. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Bytes to the peer. */
  readonly writable: WritableStream<Uint8Array>;
}
