/**
 * The members of a JSON Web Key. RFC 7517, RFC 7518 section 6, RFC 8037. No I/O.
 *
 * What a member holds is never in an error: it may be a secret.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { fromBase64 } from "../wire/base_text.ts";
import type { Bytes } from "../wire/types.ts";
import { keyFormatError } from "./format/format_error.ts";
import { fromBigEndian } from "./integers.ts";

/** Members to write, all of them text. */
export type JwkText = Readonly<Record<string, string>>;

/** Members that were read. */
export class JwkMembers {
  readonly #members: Readonly<Record<string, unknown>>;
  readonly #what: string;

  /** `what` begins the messages of errors. */
  constructor(members: Readonly<Record<string, unknown>>, what: string) {
    this.#members = members;
    this.#what = what;
  }

  /** Whether there is such a member. */
  has(name: string): boolean {
    return Object.hasOwn(this.#members, name);
  }

  /** What a member holds, whatever that is; undefined where it is missing. */
  value(name: string): unknown {
    return this.has(name) ? this.#members[name] : undefined;
  }

  /** The text of a member, or null where it is missing or no text. */
  text(name: string): string | null {
    const value = this.value(name);
    return typeof value === "string" ? value : null;
  }

  /** The bytes of a member. */
  bytes(name: string): Bytes {
    const text = this.text(name);
    if (text === null) throw this.#fail(`its member "${name}" is missing or no text`);
    try {
      return fromBase64(text, { alphabet: "base64url" });
    } catch {
      // What the exception says is not passed on.
      throw this.#fail(`its member "${name}" is not base64url`);
    }
  }

  /** The bytes of a member that has so many of them. */
  exactly(name: string, length: number): Bytes {
    const bytes = this.bytes(name);
    if (bytes.length !== length) {
      throw this.#fail(`its member "${name}" has ${bytes.length} bytes where ${length} are needed`);
    }
    return bytes;
  }

  /** The positive integer of a member, of at most so many bytes; zeros before it are borne. */
  integer(name: string, maxBytes: number): bigint {
    const bytes = this.bytes(name), start = bytes.findIndex((byte) => byte !== 0);
    if (start < 0 || bytes.length - start > maxBytes) {
      throw this.#fail(`its member "${name}" is no positive number of at most ${maxBytes} bytes`);
    }
    return fromBigEndian(bytes.subarray(start));
  }

  #fail(why: string): Error {
    return keyFormatError(`${this.#what}: ${printable(why)}`);
  }
}
