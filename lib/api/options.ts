/**
 * Options of both roles, and handing them down.
 *
 * @module
 */
import type { RsaKeyOptions } from "../keys/rsa_public.ts";
import type { AlgorithmOverrides, RekeyLimits } from "../transport/types.ts";

/** What the two sides encrypt with, and how this one names itself. */
export interface ProtocolOptions extends RsaKeyOptions {
  /**
   * Lists to use in the place of the default ones, the most wanted first.
   * @default {defaultAlgorithms; for a server without diffie-hellman-group-exchange-sha256 and diffie-hellman-group18-sha512}
   */
  algorithms?: AlgorithmOverrides | undefined;
  /** When to rekey. */
  rekey?: RekeyLimits | undefined;
  /** Identification, without `SSH-2.0-`: 1 to 245 characters of printable US-ASCII. @default {"amiko"} */
  ident?: string | undefined;
}

/** What holds for all that runs over a connection. */
export interface ChannelOptions {
  /**
   * Receive window that each channel starts with, in bytes. On a path that is fast and long it grows up to eightfold, and
   * to 16 MiB at most; on a short path, channels that receive at once share 4 MiB. @default {2097152}
   */
  window?: number | undefined;
  /** Asks a silent peer for a sign of life, and ends the connection when it stays silent. @default {off} */
  keepalive?: KeepaliveOptions | undefined;
  /**
   * Milliseconds after which a connection is closed that nobody uses: no data went either way, no channel was opened or closed and
   * nothing was asked for so long. What is open counts as little as a keepalive does: a command that runs without a word is idle. What
   * has been written leaves first, as with `close()`; what waits then rejects with `SshError` `CLOSED`, whose `cause` is a `TimeoutError`,
   * `closed` resolves, and the peer reads why. The time begins with the login. @default {Infinity}
   */
  idleTimeout?: number | undefined;
}

/** When a silent peer is asked for a sign of life, and when it is given up (OpenSSH's ServerAliveInterval and its kin). */
export interface KeepaliveOptions {
  /** Milliseconds of silence after which the peer is asked. */
  interval: number;
  /** Questions without any sign of life before the connection is ended. @default {3} */
  maxMissed?: number | undefined;
}

/** Channels of a client at once: its own, and those that servers open where it listens. Each forwarded connection is one. */
export const MAX_CHANNELS = 4096;

/** The options that were given, by name: `exactOptionalPropertyTypes` tells an absent option from an undefined one. */
export function given<T extends object, K extends keyof T>(
  options: T,
  ...names: K[]
): { [P in K]?: Exclude<T[P], undefined> } {
  const some: { [P in K]?: Exclude<T[P], undefined> } = {};
  for (const name of names) if (options[name] !== undefined) some[name] = options[name] as Exclude<T[K], undefined>;
  return some;
}
