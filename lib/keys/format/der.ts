/**
 * A cursor over DER: definite lengths in their shortest form, nothing left over. X.690 section 10. No I/O, no crypto.
 *
 * @module
 */
import { keyFormatError } from "./format_error.ts";
import { fromBigEndian } from "../integers.ts";
import { toHex } from "../../wire/base_text.ts";

/** Tags that key formats use. */
export const Tag = {
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OBJECT_IDENTIFIER: 0x06,
  SEQUENCE: 0x30,
  CONTEXT_0: 0xa0,
  CONTEXT_1: 0xa1,
} as const;

/** Reads elements one after the other. */
export class DerReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  /** Reads `bytes`, which are not copied. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** Tag of the next element, or -1 at the end. */
  get tag(): number {
    return this.#bytes[this.#at] ?? -1;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw keyFormatError("Cannot read DER: it is cut short");
    return byte;
  }

  /** Content of the next element, which must have this tag. */
  element(tag: number): Uint8Array {
    if (this.#byte() !== tag) throw keyFormatError("Cannot read DER: another kind of element is expected");
    let length = this.#byte();
    if (length >= 0x80) {
      const count = length - 0x80;
      if (count < 1 || count > 3) throw keyFormatError("Cannot read DER: a length is indefinite or too large");
      length = 0;
      for (let i = 0; i < count; i++) length = length << 8 | this.#byte();
      if (length < 0x80 || length < 1 << 8 * (count - 1)) {
        throw keyFormatError("Cannot read DER: a length is not shortest");
      }
    }
    if (length > this.remaining) throw keyFormatError("Cannot read DER: it is cut short");
    return this.#bytes.subarray(this.#at, this.#at += length);
  }

  /** A reader of the content of the next element. */
  nested(tag: number = Tag.SEQUENCE): DerReader {
    return new DerReader(this.element(tag));
  }

  /** INTEGER that is not negative, of at most `maxBytes` bytes. */
  integer(maxBytes: number): bigint {
    const bytes = this.element(Tag.INTEGER);
    if (bytes.length === 0 || bytes[0]! >= 0x80) {
      throw keyFormatError("Cannot read DER: an integer is empty or negative");
    }
    if (bytes.length > maxBytes + 1 || (bytes.length === maxBytes + 1 && bytes[0] !== 0)) {
      throw keyFormatError(`Cannot read DER: an integer is longer than ${maxBytes} bytes`);
    }
    return fromBigEndian(bytes);
  }

  /** OBJECT IDENTIFIER as the hex of its content. */
  oid(): string {
    return toHex(this.element(Tag.OBJECT_IDENTIFIER).slice());
  }

  /** Checks that nothing is left. */
  end(): void {
    if (this.remaining !== 0) throw keyFormatError("Cannot read DER: bytes follow its last element");
  }
}
