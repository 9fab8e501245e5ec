/**
 * Writes DER, element by element. X.690 section 10. No I/O, no crypto.
 *
 * @module
 */
import { concat } from "@std/bytes";
import { fromHex } from "../../wire/base_text.ts";
import { mpintBytes } from "../../wire/writer.ts";
import type { Bytes } from "../../wire/types.ts";
import { Tag } from "./der.ts";

/** An element with this tag. */
function element(tag: number, ...parts: readonly Uint8Array[]): Bytes {
  const content = concat(parts), length = content.length;
  if (length < 0x80) return concat([Uint8Array.of(tag, length), content]);
  const bytes = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concat([Uint8Array.of(tag, ...bytes), content]);
}

/** SEQUENCE of elements. */
export function sequence(...parts: readonly Uint8Array[]): Bytes {
  return element(Tag.SEQUENCE, ...parts);
}

/** INTEGER that is not negative. */
export function integer(value: bigint): Bytes {
  return element(Tag.INTEGER, value === 0n ? Uint8Array.of(0) : mpintBytes(value));
}

/** OCTET STRING. */
export function octets(bytes: Uint8Array): Bytes {
  return element(Tag.OCTET_STRING, bytes);
}

/** BIT STRING of whole bytes. */
export function bits(bytes: Uint8Array): Bytes {
  return element(Tag.BIT_STRING, Uint8Array.of(0), bytes);
}

/** OBJECT IDENTIFIER, given as the hex of its content. */
export function oid(hex: string): Bytes {
  return element(Tag.OBJECT_IDENTIFIER, fromHex(hex));
}

/** NULL. */
export const nothing: Bytes = element(Tag.NULL);

/** `[1]`, explicit. */
export function context1(content: Uint8Array): Bytes {
  return element(Tag.CONTEXT_1, content);
}
