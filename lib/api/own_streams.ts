/**
 * This program's own standard output and error, for processes whose outputs go there.
 *
 * @module
 */
import { system } from "../system/system.ts";
import { requireSystem } from "../wire/system.ts";

/** A stream that is made for each use, as a lock on the one that Deno has would keep others out. Closing it closes nothing. */
export function ownStream(name: "stdout" | "stderr"): WritableStream<Uint8Array> {
  requireSystem(`use "inherit" as \`${name}\``, `\`process.${name}\` is a stream to read`);
  const file = system[name];
  return new WritableStream({
    async write(chunk): Promise<void> {
      for (let written = 0; written < chunk.length;) written += await file.write(chunk.subarray(written));
    },
  });
}
