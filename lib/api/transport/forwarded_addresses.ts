/**
 * The addresses of a channel that forwards.
 *
 * @module
 */

/** Where a forwarded connection goes, and where it comes from (RFC 4254 section 7.2). */
export interface ForwardedAddresses {
  /** The host and port that the peer names. */
  readonly dest: Deno.NetAddr;
  /** Who has connected, as the peer says. */
  readonly origin: Deno.NetAddr;
}
