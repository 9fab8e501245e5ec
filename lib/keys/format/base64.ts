/**
 * Base64 as files of keys hold it. RFC 4648 section 4. No I/O.
 *
 * @module
 */
import { fromBase64 } from "../../wire/base_text.ts";
import type { Bytes } from "../../wire/types.ts";
import { keyFormatError } from "./format_error.ts";

/** Decodes strict base64 without white space; `what` begins the error's message. */
export function decodeBase64(text: string, what: string): Bytes {
  try {
    if (/[\t\n\f\r ]/.test(text)) throw new SyntaxError("White space in base64");
    return fromBase64(text, { lastChunkHandling: "strict" });
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw keyFormatError(`${what}: it is not base64`, cause);
  }
}
