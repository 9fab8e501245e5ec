/**
 * Types shared by all layers.
 *
 * @module
 */

/** Bytes this library hands out: always a fresh, transferable buffer. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A value now or later. */
export type MaybePromise<T> = T | Promise<T>;

/** Any pair of byte streams: a `Deno.Conn`, a WebSocket adapter, or one of our own channels. */
export interface ByteDuplex {
  /** Bytes from the peer. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Bytes to the peer. */
  readonly writable: WritableStream<Uint8Array>;
}
