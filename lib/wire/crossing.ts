/**
 * Two pairs of streams, back to back: what is written to one is read from the other. Backpressure, ends and errors cross too, and
 * chunks are handed on as they are.
 *
 * @module
 */
import type { ByteDuplex, Bytes } from "./types.ts";

/** The two pairs. Neither holds more than a chunk each way. */
export function crossing(): { inner: ByteDuplex; outer: ReadableWritablePair<Bytes, Uint8Array> } {
  const inbound = new TransformStream<Uint8Array, Uint8Array>(), outbound = new TransformStream<Uint8Array, Bytes>();
  return {
    inner: { readable: inbound.readable, writable: outbound.writable },
    outer: { readable: outbound.readable, writable: inbound.writable },
  };
}
