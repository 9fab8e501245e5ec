/**
 * Compression of payloads, one zlib stream per direction with its context kept from packet to packet. RFC 4253 section 6.2,
 * OpenSSH PROTOCOL section 1.1 (zlib@openssh.com is the same stream, begun only after authentication). No I/O.
 *
 * The runtime's own zlib cannot do this step by step without waiting, so pako does; it is loaded when compression was agreed on.
 *
 * @module
 */
import type { ZStream } from "pako";
import type { Compressor, Decompressor } from "../crypto/types.ts";
import { DisconnectReason, SshProtocolError } from "../errors.ts";

type Pako = typeof import("pako");

/** What zlib itself and OpenSSH use: a window of 32 KiB, and 16,384 symbols a block. */
const LEVEL = 6, WINDOW_BITS = 15, MEMORY_LEVEL = 8, DEFLATED = 8;

/** Where all streams put their output, one call at a time. */
let scratch = new Uint8Array(0);

/** Makes room for `size` bytes and keeps the first `used`. */
function reserve(size: number, used: number): void {
  if (scratch.length >= size) return;
  const grown = new Uint8Array(size);
  grown.set(scratch.subarray(0, used));
  scratch = grown;
}

function begin(stream: ZStream, input: Uint8Array): void {
  stream.input = input;
  stream.next_in = 0;
  stream.avail_in = input.length;
}

/** Lets the stream write into the scratch memory from `used` up to `end`. */
function offer(stream: ZStream, used: number, end: number): void {
  stream.output = scratch;
  stream.next_out = used;
  stream.avail_out = end - used;
}

class ZlibCompressor implements Compressor {
  readonly #pako: Pako;
  readonly #stream: ZStream;

  constructor(pako: Pako) {
    this.#pako = pako;
    this.#stream = new pako.ZStream();
    // Bytes are written in as few bits as their number of times allows, and nothing that stood before is found again, as in OpenSSH
    // since 10.6: else whoever gets text of their choice into a connection would see by its length whether it repeats a secret.
    pako.zlibDeflateInit2(this.#stream, LEVEL, DEFLATED, WINDOW_BITS, MEMORY_LEVEL, pako.Z_HUFFMAN_ONLY);
  }

  compress(payload: Uint8Array): Uint8Array {
    const { zlibDeflate, Z_BUF_ERROR, Z_OK, Z_PARTIAL_FLUSH } = this.#pako, stream = this.#stream;
    begin(stream, payload);
    for (let used = 0, size = payload.length + 4096;; size *= 2) {
      reserve(size, used);
      offer(stream, used, scratch.length);
      const status = zlibDeflate(stream, Z_PARTIAL_FLUSH);
      if (status !== Z_OK && status !== Z_BUF_ERROR) {
        throw new SshProtocolError(
          `Cannot compress payload: zlib status ${status}`,
          DisconnectReason.COMPRESSION_ERROR,
        );
      }
      used = stream.next_out;
      if (stream.avail_out > 0) return scratch.slice(0, used);
    }
  }
}

class ZlibDecompressor implements Decompressor {
  readonly #pako: Pako;
  readonly #stream: ZStream;
  /** Once the stream was wrong, nothing after it can be right. */
  #broken = false;

  constructor(pako: Pako) {
    this.#pako = pako;
    this.#stream = new pako.ZStream();
    pako.zlibInflateInit(this.#stream);
  }

  decompress(payload: Uint8Array, limit: number): Uint8Array {
    const { zlibInflate, Z_BUF_ERROR, Z_OK, Z_SYNC_FLUSH } = this.#pako, stream = this.#stream;
    if (this.#broken) this.#fail("the stream was broken before");
    begin(stream, payload);
    // One byte more than allowed shows whether there is more.
    for (let used = 0, size = Math.min(limit + 1, 4 * payload.length + 4096);; size = Math.min(limit + 1, 2 * size)) {
      reserve(size, used);
      offer(stream, used, size);
      const status = zlibInflate(stream, Z_SYNC_FLUSH);
      // The end of the stream is an error, too: there is none in SSH.
      if (status !== Z_OK && status !== Z_BUF_ERROR) this.#fail(`zlib status ${status}`);
      used = stream.next_out;
      if (used > limit) this.#fail(`it expands to more than ${limit} bytes`);
      if (stream.avail_out > 0) {
        if (stream.avail_in > 0) this.#fail("the stream is stuck");
        return scratch.slice(0, used);
      }
    }
  }

  #fail(why: string): never {
    this.#broken = true;
    throw new SshProtocolError(`Cannot decompress payload: ${why}`, DisconnectReason.COMPRESSION_ERROR);
  }
}

/** Names that can be agreed on. */
export const compressions: readonly string[] = ["none", "zlib", "zlib@openssh.com"];

async function load(name: string): Promise<Pako | null> {
  switch (name) {
    case "none":
      return null;
    case "zlib":
    case "zlib@openssh.com":
      return await import("pako");
    default:
      throw new TypeError(`Cannot use compression "${name}": it is not known`);
  }
}

/** Makes what compresses outbound payloads, or null for `none`. Throws `TypeError` for a name that is not known. */
export async function createCompressor(name: string): Promise<Compressor | null> {
  const pako = await load(name);
  return pako === null ? null : new ZlibCompressor(pako);
}

/** Makes what expands inbound payloads, or null for `none`. Throws `TypeError` for a name that is not known. */
export async function createDecompressor(name: string): Promise<Decompressor | null> {
  const pako = await load(name);
  return pako === null ? null : new ZlibDecompressor(pako);
}
