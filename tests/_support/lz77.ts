/**
 * Test support. What other implementations compress with: zlib with its dictionary, which finds again what stood in earlier payloads.
 *
 * @module
 */
import { Z_PARTIAL_FLUSH, zlibDeflate, zlibDeflateInit, ZStream } from "pako";
import type { Compressor } from "../../lib/crypto/types.ts";

/** A stream of its own, with a partial flush behind each payload. */
export function lz77Compressor(): Compressor {
  const stream = new ZStream();
  zlibDeflateInit(stream, 6);
  return {
    compress(payload) {
      stream.input = payload;
      stream.next_in = 0;
      stream.avail_in = payload.length;
      stream.output = new Uint8Array(payload.length + payload.length / 8 + 4096);
      stream.next_out = 0;
      stream.avail_out = stream.output.length;
      zlibDeflate(stream, Z_PARTIAL_FLUSH);
      return stream.output.slice(0, stream.next_out);
    },
  };
}
