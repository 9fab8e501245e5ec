/**
 * Locks the readable side of a pair of streams, whatever kind of stream it is. No I/O.
 *
 * @module
 */

/** The only reader of a stream: one of the two is null. */
export interface LockedReadable {
  /** Reads into memory of the caller's, where the stream is a byte stream. */
  readonly byob: ReadableStreamBYOBReader | null;
  /** Hands out the stream's own chunks, where it is none. */
  readonly plain: ReadableStreamDefaultReader<Uint8Array> | null;
}

/** Locks a stream; throws `TypeError` for one that is locked. What it fails with is told by its reads. */
export function lockReadable(readable: ReadableStream<Uint8Array>): LockedReadable {
  let byob: ReadableStreamBYOBReader | null = null;
  try {
    byob = readable.getReader({ mode: "byob" });
  } catch {
    // Not a byte stream, or locked: the next line says which.
  }
  const plain = byob === null ? readable.getReader() : null;
  (byob ?? plain)!.closed.catch(() => {});
  return { byob, plain };
}
