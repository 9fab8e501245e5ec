/**
 * A wire message declared once, as its fields in wire order, gives a type, an encoder and a decoder.
 * RFC 4251 section 5. No I/O, no crypto.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";
import { decodeText, encodeText } from "./byte_text.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

/** How one field is read and written. */
export interface Field<T> {
  /** Reads the field; what it returns does not share memory with the message. */
  read(reader: Reader): T;
  /** Writes the field. */
  write(writer: Writer, value: T): void;
}

/** `byte`. */
export const u8: Field<number> = { read: (r) => r.u8(), write: (w, v) => void w.u8(v) };
/** `boolean`. */
export const bool: Field<boolean> = { read: (r) => r.bool(), write: (w, v) => void w.bool(v) };
/** `uint32`. */
export const u32: Field<number> = { read: (r) => r.u32(), write: (w, v) => void w.u32(v) };
/** `uint64`. */
export const u64: Field<bigint> = { read: (r) => r.u64(), write: (w, v) => void w.u64(v) };
/** `string` of bytes. */
export const bytes: Field<Uint8Array> = { read: (r) => r.string(), write: (w, v) => void w.string(v) };
/** `string` of UTF-8. */
export const text: Field<string> = { read: (r) => r.text(), write: (w, v) => void w.text(v) };
/** `string` of UTF-8, where other bytes are kept: what {@linkcode decodeText} makes of it. */
export const byteText: Field<string> = {
  read: (r) => decodeText(r.view()),
  write: (w, v) => void (v.isWellFormed() ? w.text(v) : w.string(encodeText(v))),
};
/** `string` of UTF-8 read with replacement characters where it is not: for descriptions nobody acts on. */
export const looseText: Field<string> = {
  read: (r) => new TextDecoder().decode(r.view()),
  write: (w, v) => void w.text(v),
};
/** A field that a message may end in front of: `none` stands for it then. */
export function orEnd<T>(field: Field<T>, none: T): Field<T> {
  return { read: (r) => r.remaining === 0 ? none : field.read(r), write: (w, v) => field.write(w, v) };
}
/** The language tag that ends a message, and that nobody acts on: it may be missing, and more may follow it. */
export const languageTag: Field<string> = {
  read: (r) => {
    const tag = orEnd(looseText, "").read(r);
    r.rawView(r.remaining);
    return tag;
  },
  write: (w, v) => void w.text(v),
};
/** A text, or nothing where the message was cut short in it. */
export function orCut(field: Field<string>): Field<string> {
  return {
    read: (r) => r.hasString ? field.read(r) : (r.rawView(r.remaining), ""),
    write: (w, v) => field.write(w, v),
  };
}
/** The language tag where not even that has to be whole. */
export const anyEnd: Field<string> = orCut(languageTag);
/** `string` of printable US-ASCII: a name. */
export const ascii: Field<string> = { read: (r) => r.ascii(), write: (w, v) => void w.text(v) };
/** `mpint`. */
export const mpint: Field<bigint> = { read: (r) => r.mpint(), write: (w, v) => void w.mpint(v) };
/** `name-list`. */
export const nameList: Field<readonly string[]> = { read: (r) => r.nameList(), write: (w, v) => void w.nameList(v) };
/** All that is left, without a length. */
export const rest: Field<Uint8Array> = { read: (r) => r.rest(), write: (w, v) => void w.raw(v) };
/** `byte[length]`. */
export function raw(length: number): Field<Uint8Array> {
  return {
    read: (r) => r.raw(length),
    write: (w, v) => {
      if (v.length !== length) throw new RangeError(`Cannot write ${length} raw bytes: ${v.length} given`);
      w.raw(v);
    },
  };
}

/** Fields by name, in wire order. */
export type Fields = Readonly<Record<string, Field<unknown>>>;
/** The values that fields carry. */
export type ValuesOf<F> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never };
/** The values of a declared message. */
export type MessageOf<M> = M extends Message<infer F> ? ValuesOf<F> : never;

/** Declared fields, written and read as a whole. */
export interface Codec<F> {
  /** Name as the RFC spells it. */
  readonly name: string;
  /** All fields in order. */
  encode(values: ValuesOf<F>): Uint8Array<ArrayBuffer>;
  /** Reads all of `bytes`; nothing may be missing and nothing left. */
  decode(bytes: Uint8Array): ValuesOf<F>;
}

/** A declared message, which is the number and then the fields. */
export interface Message<F> extends Codec<F> {
  /** Message number. */
  readonly type: number;
}

/** Declares fields in wire order. `what` they are begins the error for those that cannot be read; a number stands before them if given. */
export function codec<const F extends Record<string, Field<unknown>>>(
  name: string,
  fields: F,
  what = name,
  type: number | null = null,
): Codec<F> {
  const entries = Object.entries(fields) as [string, Field<unknown>][];
  return {
    name,
    encode(values): Uint8Array<ArrayBuffer> {
      const writer = new Writer();
      if (type !== null) writer.u8(type);
      for (const [key, field] of entries) field.write(writer, (values as Record<string, unknown>)[key]);
      return writer.bytes();
    },
    decode(bytes): ValuesOf<F> {
      const reader = new Reader(bytes);
      const values: Record<string, unknown> = {};
      try {
        if (type !== null && reader.u8() !== type) throw new SshProtocolError(`Cannot read ${name}: another message`);
        for (const [key, field] of entries) values[key] = field.read(reader);
        reader.end();
      } catch (error) {
        if (!(error instanceof SshProtocolError)) throw error;
        throw new SshProtocolError(`Malformed ${what}: ${error.message}`, error.reason, { cause: error });
      }
      return values as ValuesOf<F>;
    },
  };
}

/** Declares a message by its number and its fields in wire order. */
export function message<const F extends Record<string, Field<unknown>>>(
  name: string,
  type: number,
  fields: F,
): Message<F> {
  return { ...codec(name, fields, name, type), type };
}
