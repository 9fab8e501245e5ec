/**
 * Whose a connection is, where it is lent, and what it has listen for this side. RFC 4254 section 7.1. No I/O.
 *
 * @module
 */
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import { placeOf, withoutBrackets } from "./addresses.ts";
import { isUnix } from "./check.ts";
import type { Ending } from "./ending.ts";
import type { LocalSocket } from "./local_sockets.ts";

/** Where the server is to listen. */
export type LentAddress = { readonly hostname: string; readonly port: number } | { readonly path: string };

/** Something that the server listens on. */
export interface LentListener {
  /** Where, with the real port. */
  readonly addr: Deno.Addr;
  /** The next connection, of which nobody says where it comes from; rejects where there is none any more. */
  accept(): Promise<LocalSocket>;
  /** Listens no more, and resolves when the lender has said so. Safe to call twice; never rejects. */
  stop(): Promise<void>;
}

/** Whose the connection is. */
export interface Lender {
  /** Has the server listen. The signal ends the asking alone. */
  listen(where: LentAddress, signal: AbortSignal | undefined): Promise<LentListener>;
}

/** An address as a caller gives it. */
export function lentAddress(from: { hostname?: string | undefined; port: number } | { path: string }): LentAddress {
  if (isUnix(from)) return { path: (from as { path: string }).path };
  const { hostname = "localhost", port } = from as { hostname?: string; port: number };
  return { hostname: withoutBrackets(hostname), port };
}

/** Has the server listen, and takes that back where the connection has ended, or the wait, meanwhile. */
export function lent(
  lender: Lender,
  ending: Ending,
  where: LentAddress,
  wait: WaitOptions | undefined,
): Promise<LentListener> {
  return withDeadline(
    wait,
    () => `the server to listen on ${placeOf(where)}`,
    (signal) => asked(lender, ending, where, signal),
  );
}

async function asked(
  lender: Lender,
  ending: Ending,
  where: LentAddress,
  signal: AbortSignal | undefined,
): Promise<LentListener> {
  ending.throwIfEnded();
  const there = await lender.listen(where, signal);
  try {
    ending.throwIfEnded();
    signal?.throwIfAborted();
    return there;
  } catch (error) {
    await there.stop();
    throw error;
  }
}
