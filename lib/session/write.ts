/**
 * One text, or bytes, into a byte stream: what takes a writer and an encoder otherwise. No I/O.
 *
 * @module
 */
import { leavable } from "../connection/output_stream.ts";
import { wrongKind } from "../wire/check.ts";

/**
 * Writes it behind what was written before, and lets go of the stream at once, so that calls need not wait for each other, and nobody for
 * any of them. `name` is what the caller knows the stream as, and `find` gives it.
 */
export function writeTo(
  find: () => WritableStream<Uint8Array>,
  data: string | Uint8Array,
  name: string,
): Promise<void> {
  return leavable(write(find, data, name));
}

async function write(find: () => WritableStream<Uint8Array>, data: string | Uint8Array, name: string): Promise<void> {
  const stream = find();
  if (typeof data !== "string" && !(data instanceof Uint8Array)) {
    throw wrongKind("data", data, "a text or a Uint8Array");
  }
  if (stream.locked) throw new TypeError(`Cannot write: \`${name}\` is in use, by a writer or a pipe`);
  const writer = stream.getWriter();
  // The caller hears of it by what is written.
  writer.closed.catch(() => {});
  const written = writer.write(typeof data === "string" ? new TextEncoder().encode(data) : data);
  writer.releaseLock();
  await written;
}
