/**
 * Whether a host that a peer names makes sense. No I/O.
 *
 * @module
 */
import { MAX_HOST } from "./messages.ts";

const utf8 = new TextEncoder();

/** What holds blanks, control characters or bytes that are no UTF-8 is no name and no address. An empty one is somebody else's to judge. */
export function isHost(text: string): boolean {
  // deno-lint-ignore no-control-regex -- those are what is looked for
  return text.isWellFormed() && !/[\x00-\x20\x7f]/.test(text) && utf8.encode(text).length <= MAX_HOST;
}
