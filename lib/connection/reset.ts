/**
 * How a forwarded connection that was cut is told from one that has ended. RFC 4254 has CLOSE for both: many servers close what has ended
 * without EOF, so that one alone cuts nothing. Between two ends of this module a request goes ahead of it, which wants no answer (section
 * 5.4); no other peer gets to see it. No I/O.
 *
 * @module
 */
import type { DataTransport } from "../transport/types.ts";

/** Name of the channel request: what CLOSE ends was cut short. */
export const RESET = "reset@amiko";

/** Whether the peer is of this module, as far as its identification says. */
export function knowsReset(transport: DataTransport): boolean {
  try {
    return /^SSH-2\.0-amiko(?![a-z])/i.test(transport.info.remoteIdent);
  } catch {
    // Through another program's connection nobody knows who the peer is.
    return false;
  }
}
