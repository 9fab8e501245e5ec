/**
 * L6. Options of both roles, and handing them down.
 *
 * @module
 */

/** When a silent peer is asked for a sign of life, and when it is given up (OpenSSH's ServerAliveInterval and its kin). */
export interface KeepaliveOptions {
  /** Milliseconds of silence after which the peer is asked. */
  interval: number;
  /** Questions without any sign of life before the connection is ended. @default {3} */
  maxMissed?: number;
}

/** Options that are times, of any role. */
interface Times {
  loginTimeout?: number;
  handshakeTimeout?: number;
  rekey?: { interval?: number };
  keepalive?: KeepaliveOptions;
}

/** Throws `RangeError` for times that make no sense; `Infinity` is one that does. */
export function checkTimes({ loginTimeout, handshakeTimeout, rekey, keepalive }: Times): void {
  checkTime(loginTimeout, "loginTimeout");
  checkTime(handshakeTimeout, "handshakeTimeout");
  checkTime(rekey?.interval, "rekey.interval");
  if (keepalive === undefined) return;
  const { interval, maxMissed = 3 } = keepalive;
  if (!(interval > 0) || !(maxMissed >= 1)) {
    throw new RangeError("Cannot keep connection alive: `interval` and `maxMissed` must be positive");
  }
}

function checkTime(value: number | undefined, name: string): void {
  if (value !== undefined && !(value > 0)) {
    throw new RangeError(`Cannot use ${value} as ${name}: it is a number of milliseconds above 0`);
  }
}

/** Throws `RangeError` for what is no TCP port. */
export function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) {
    throw new RangeError(`Cannot use ${port} as a port: it must be an integer from 0 to 65535`);
  }
}

/** The options that were given, by name: `exactOptionalPropertyTypes` tells an absent option from an undefined one. */
export function given<T extends object, K extends keyof T>(
  options: T,
  ...names: K[]
): { [P in K]?: Exclude<T[P], undefined> } {
  const some: { [P in K]?: Exclude<T[P], undefined> } = {};
  for (const name of names) if (options[name] !== undefined) some[name] = options[name] as Exclude<T[K], undefined>;
  return some;
}
