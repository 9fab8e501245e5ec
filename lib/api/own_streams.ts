/**
 * This program's own standard output and error, for processes whose outputs go there.
 *
 * @module
 */
import { requireSystem } from "../wire/system.ts";
import { writeOwn } from "./system_terminal.ts";

/** A stream that is made for each use, as a lock on the one that Deno has would keep others out. Closing it closes nothing. */
export function ownStream(name: "stdout" | "stderr"): WritableStream<Uint8Array> {
  requireSystem(`use "inherit" as \`${name}\``, `\`process.${name}\` is a stream to read`);
  return new WritableStream({ write: (chunk, { signal }) => writeOwn(name, chunk, signal) });
}
