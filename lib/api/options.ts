/**
 * Options of both roles, and handing them down.
 *
 * @module
 */

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
