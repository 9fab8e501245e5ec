/**
 * Reads the data types of RFC 4251 section 5 from a message. No I/O, no crypto.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";
import { fromBigEndian } from "./integers.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A cursor over one message. Every read checks that the bytes are there; `end()` checks that none are left. */
export class Reader {
  readonly #bytes: Uint8Array;
  #offset: number;

  /** Reads `bytes` from `offset` on; the bytes are not copied. */
  constructor(bytes: Uint8Array, offset = 0) {
    this.#bytes = bytes;
    this.#offset = offset;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  #take(length: number): number {
    const at = this.#offset;
    if (length > this.#bytes.length - at) {
      throw new SshProtocolError(`Cannot read message: ${length} bytes wanted, ${this.#bytes.length - at} left`);
    }
    this.#offset = at + length;
    return at;
  }

  /** `byte`. */
  u8(): number {
    return this.#bytes[this.#take(1)]!;
  }

  /** `boolean`: any value but 0 is true. */
  bool(): boolean {
    return this.u8() !== 0;
  }

  /** `uint32`. */
  u32(): number {
    const at = this.#take(4), b = this.#bytes;
    return ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
  }

  /** `uint64`. */
  u64(): bigint {
    const high = this.u32();
    return (BigInt(high) << 32n) | BigInt(this.u32());
  }

  /** `byte[length]` as a view that lives as long as the message does. */
  rawView(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** `byte[length]`, copied. */
  raw(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#take(length);
    return this.#bytes.slice(at, at + length) as Uint8Array<ArrayBuffer>;
  }

  /** Whether a whole `string` is next. */
  get hasString(): boolean {
    return this.remaining >= 4 && new Reader(this.#bytes, this.#offset).u32() <= this.remaining - 4;
  }

  /** `string` as a view that lives as long as the message does. */
  view(): Uint8Array {
    return this.rawView(this.u32());
  }

  /** `string`, copied. */
  string(): Uint8Array<ArrayBuffer> {
    return this.raw(this.u32());
  }

  /** `string` holding UTF-8; anything else is an error. */
  text(): string {
    const bytes = this.view();
    try {
      return utf8.decode(bytes);
    } catch (cause) {
      throw new SshProtocolError("Cannot read message: a string is not UTF-8", undefined, { cause });
    }
  }

  /** `string` holding printable US-ASCII, as algorithm and method names do (RFC 4251 section 6). */
  ascii(): string {
    const bytes = this.view();
    let text = "";
    for (let i = 0; i < bytes.length; i++) {
      const c = bytes[i]!;
      if (c < 0x20 || c > 0x7e) throw new SshProtocolError("Cannot read message: a name is not printable US-ASCII");
      text += String.fromCharCode(c);
    }
    return text;
  }

  /** `mpint` as an integer; refuses encodings with needless leading bytes. */
  mpint(): bigint {
    const bytes = this.view();
    if (bytes.length === 0) return 0n;
    // Zero is the empty string; -1 is the byte 0xff alone.
    const second = bytes[1] ?? 0;
    if (bytes[0] === 0 && second < 0x80 || bytes[0] === 0xff && second >= 0x80) {
      throw new SshProtocolError("Cannot read message: an mpint has needless leading bytes");
    }
    const value = fromBigEndian(bytes);
    return bytes[0]! >= 0x80 ? value - (1n << BigInt(8 * bytes.length)) : value;
  }

  /**
   * `name-list` within the limits given: names of 1 to 64 printable characters without commas (RFC 4251 section 6). Empty names, as stray
   * commas make them, are none; they count, so that commas cost a peer as much as names do.
   */
  nameList(maxNames = 256, maxBytes = 32_768): string[] {
    const length = this.u32();
    if (length > maxBytes) {
      throw new SshProtocolError(`Cannot read name-list: ${length} bytes, at most ${maxBytes} allowed`);
    }
    const bytes = this.rawView(length);
    if (length === 0) return [];
    const names: string[] = [];
    let name = "", count = 0;
    for (let i = 0; i <= length; i++) {
      const c = i < length ? bytes[i]! : 0x2c;
      if (c === 0x2c) {
        if (count++ === maxNames) throw new SshProtocolError(`Cannot read name-list: more than ${maxNames} names`);
        if (name !== "") names.push(name);
        name = "";
        continue;
      }
      if (c <= 0x20 || c > 0x7e) throw new SshProtocolError("Cannot read name-list: a name is not printable US-ASCII");
      if (name.length === 64) throw new SshProtocolError("Cannot read name-list: a name is longer than 64 characters");
      name += String.fromCharCode(c);
    }
    return names;
  }

  /** What is left, copied. */
  rest(): Uint8Array<ArrayBuffer> {
    return this.raw(this.remaining);
  }

  /** Checks that nothing is left. */
  end(): void {
    if (this.remaining !== 0) {
      throw new SshProtocolError(`Cannot read message: ${this.remaining} bytes follow its last field`);
    }
  }
}
