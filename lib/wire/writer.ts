/**
 * Writes the data types of RFC 4251 section 5. No I/O, no crypto.
 *
 * @module
 */
import { fromHex } from "./base_text.ts";

const utf8 = new TextEncoder();
/** UTF-16 units of a text for which room is made without counting its bytes first. */
const SHORT_TEXT = 1024;

/** The two's complement bytes of `value`, as an `mpint` carries them, without the length. */
export function mpintBytes(value: bigint): Uint8Array<ArrayBuffer> {
  if (value === 0n) return new Uint8Array(0);
  if (value < 0n) throw new RangeError("Cannot write mpint: negative numbers are not used in SSH");
  let hex = value.toString(16);
  if (hex.length % 2 === 1) hex = "0" + hex;
  if (parseInt(hex.slice(0, 2), 16) >= 0x80) hex = "00" + hex;
  return fromHex(hex);
}

/** A growing buffer; methods can be chained. */
export class Writer {
  #buffer: Uint8Array<ArrayBuffer>;
  #length = 0;

  /** Makes room for `capacity` bytes; more is made when it is needed. */
  constructor(capacity = 128) {
    this.#buffer = new Uint8Array(capacity);
  }

  /** Bytes written. */
  get length(): number {
    return this.#length;
  }

  #reserve(length: number): number {
    const at = this.#length, need = at + length;
    if (need > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(need, 2 * this.#buffer.length));
      grown.set(this.#buffer.subarray(0, at));
      this.#buffer = grown;
    }
    this.#length = need;
    return at;
  }

  /** `byte`. */
  u8(value: number): this {
    if ((value & 0xff) !== value) throw new RangeError(`Cannot write byte: ${value} is not an integer from 0 to 255`);
    // `#reserve()` may replace the buffer, so it runs first.
    const at = this.#reserve(1);
    this.#buffer[at] = value;
    return this;
  }

  /** `boolean`. */
  bool(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  /** `uint32`. */
  u32(value: number): this {
    // Equal only for what is an integer in range already.
    if (value >>> 0 !== value) {
      throw new RangeError(`Cannot write uint32: ${value} is not an integer from 0 to ${0xffff_ffff}`);
    }
    const at = this.#reserve(4), b = this.#buffer;
    b[at] = value >>> 24;
    b[at + 1] = value >>> 16;
    b[at + 2] = value >>> 8;
    b[at + 3] = value;
    return this;
  }

  /** `uint64`. */
  u64(value: bigint): this {
    if (BigInt.asUintN(64, value) !== value) {
      throw new RangeError(`Cannot write uint64: ${value} is not an integer from 0 to 2^64 - 1`);
    }
    return this.u32(Number(value >> 32n)).u32(Number(value & 0xffff_ffffn));
  }

  /** `byte[n]`. */
  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
    return this;
  }

  /** `string`. */
  string(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes);
  }

  /** `string` holding UTF-8. */
  text(text: string): this {
    if (text.length > SHORT_TEXT) return this.string(utf8.encode(text));
    // Straight into the buffer: three bytes is the most that a UTF-16 unit takes.
    const at = this.#reserve(4 + 3 * text.length);
    const { written } = utf8.encodeInto(text, this.#buffer.subarray(at + 4));
    this.#length = at;
    this.u32(written);
    this.#length += written;
    return this;
  }

  /** `mpint`. */
  mpint(value: bigint): this {
    return this.string(mpintBytes(value));
  }

  /** `name-list`. */
  nameList(names: readonly string[]): this {
    return this.text(names.join(","));
  }

  /** A copy of what was written. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer.slice(0, this.#length);
  }
}

/** Writes a uint32 into bytes that are there. */
export function writeU32(out: Uint8Array, at: number, value: number): void {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
}
