/**
 * Whether what is to be said fits in a packet. RFC 4253 section 6.1. No I/O.
 *
 * @module
 */
import { MAX_PAYLOAD } from "./outbox.ts";

/** Bytes of a text that only explains: with it a message still fits in the packets that every peer must take. */
const MAX_TEXT = 32_000;

/** Throws `RangeError` for a message that no packet holds; `what` names it in the error. */
export function checkSize(payload: Uint8Array, what: string): void {
  if (payload.length <= MAX_PAYLOAD) return;
  throw new RangeError(
    `Cannot send ${what}: it makes a message of ${payload.length} bytes, and at most ${MAX_PAYLOAD} fit in a packet`,
  );
}

/** The start of a text that only explains, such as why something failed: as much as every peer takes, in whole characters. */
export function explanation(text: string): string {
  // No character takes more than three bytes for each of its UTF-16 units.
  if (3 * text.length <= MAX_TEXT) return text;
  const bytes = new Uint8Array(MAX_TEXT);
  const { read } = new TextEncoder().encodeInto(text, bytes);
  return text.slice(0, read);
}
