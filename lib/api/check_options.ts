/**
 * L6. Whether the options of a connection make sense, before anything is opened: else every connection would fail by them.
 *
 * @module
 */
import { ciphers, macs } from "../crypto/ciphers.ts";
import { kexMethods } from "../crypto/registry.ts";
import { keyTypeOf } from "../keys/public_key.ts";
import { minRsaBits, type RsaKeyOptions } from "../keys/rsa_public.ts";
import type { Signer } from "../keys/types.ts";
import { compressions } from "../transport/compression.ts";
import { identLine } from "../transport/ident.ts";
import { isPseudoName } from "../transport/negotiate.ts";
import { RekeyPolicy } from "../transport/rekey_policy.ts";
import type { Algorithms, RekeyLimits } from "../transport/types.ts";
import type { MaxStartups } from "./admission.ts";
import type { KeepaliveOptions } from "./options.ts";

/** What an option may be: an integer, and `Infinity` where nothing needs to be limited. */
interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** Throws `RangeError` for a number that is not an integer within bounds; an option that is not given is none. */
export function checkInteger(name: string, value: number | undefined, { min, max }: Bounds): void {
  if (value === undefined) return;
  if ((Number.isInteger(value) || value === Infinity) && value >= min && value <= max) return;
  const most = max === Infinity ? "or more" : `to ${max}`;
  throw new RangeError(`Cannot use ${String(value)} as \`${name}\`: it must be an integer, ${min} ${most}`);
}

/** A number of things that may be there at a time: as many as wanted, but at least one. */
const COUNT: Bounds = { min: 1, max: Infinity };
/** What the wire can carry, and a window of 0 would never open. */
const WINDOW: Bounds = { min: 1, max: 0xffff_ffff };

/** Throws `RangeError` for numbers that make no sense as limits of a server. */
export function checkCounts(
  options: { maxAuthTries?: number; maxSessions?: number; maxChannels?: number; maxStartupsPerSource?: number },
): void {
  for (const name of ["maxAuthTries", "maxSessions", "maxChannels", "maxStartupsPerSource"] as const) {
    checkInteger(name, options[name], COUNT);
  }
}

/** Throws `RangeError` where nobody could ever connect, or the numbers contradict each other, as `sshd` does. */
export function checkMaxStartups({ begin, rate, full }: MaxStartups): void {
  checkInteger("maxStartups.full", full ?? NaN, COUNT);
  checkInteger("maxStartups.begin", begin ?? NaN, { min: 0, max: full });
  if (!(rate >= 0 && rate <= 100)) {
    throw new RangeError(`Cannot use ${rate} as \`maxStartups.rate\`: it must be a percentage, 0 to 100`);
  }
}

/** Throws `RangeError` for what is no TCP port; a client cannot dial port 0. */
export function checkPort(port: number, min: 0 | 1): void {
  if (Number.isInteger(port) && port >= min && port <= 0xffff) return;
  throw new RangeError(`Cannot use ${String(port)} as a port: it must be an integer, ${min} to 65535`);
}

/** Options that both roles have. */
export interface ConnectionOptions extends RsaKeyOptions {
  /** Overrides of the preference lists. */
  algorithms?: Partial<Algorithms>;
  /** When to rekey. */
  rekey?: RekeyLimits;
  /** Receive window of each channel in bytes. */
  window?: number;
  /** Identification, without `SSH-2.0-`. */
  ident?: string;
}

/** Throws `RangeError` for numbers that make no sense, and `TypeError` for names that nothing is known by. */
export function checkConnection(options: ConnectionOptions): void {
  const { algorithms, rekey, window, ident } = options;
  minRsaBits(options);
  checkInteger("window", window, WINDOW);
  // It checks them as it is made.
  if (rekey !== undefined) new RekeyPolicy(rekey);
  if (ident !== undefined) identLine(ident);
  if (algorithms === undefined) return;
  checkNames("kex", algorithms.kex, (name) => kexMethods.has(name) || isPseudoName(name), kexMethods.keys());
  checkNames("cipher", algorithms.cipher, (name) => ciphers.has(name), ciphers.keys());
  checkNames("compression", algorithms.compression, (name) => compressions.includes(name), compressions);
  // Ciphers that authenticate need none.
  if (algorithms.mac?.length !== 0) checkNames("mac", algorithms.mac, (name) => macs.has(name), macs.keys());
}

/** As {@linkcode checkConnection} for a client's host key algorithms: it verifies only what this module knows. */
export function checkClientHostKeys(algorithms: Partial<Algorithms> | undefined): void {
  checkNames("hostKey", algorithms?.hostKey, (name) => keyTypeOf(name) !== null, null);
}

/** Throws `TypeError` without host keys, for what is no key, and where `algorithms.hostKey` fits none of them. */
export function checkServerHostKeys(hostKeys: readonly Signer[], algorithms: Partial<Algorithms> | undefined): void {
  if (hostKeys.length === 0) {
    throw new TypeError(
      "Cannot serve without host keys: make one with `await generateKey()` and keep it, or clients will warn of a changed host",
    );
  }
  for (const key of hostKeys) {
    if (typeof key?.sign !== "function" || !Array.isArray(key.algorithms) || key.algorithms.length === 0) {
      throw new TypeError("Cannot serve: a host key is none; make it with generateKey() or parsePrivateKey()");
    }
  }
  const made = new Set(hostKeys.flatMap((key) => key.algorithms));
  const wanted = algorithms?.hostKey;
  if (wanted === undefined || wanted.some((name) => made.has(name))) return;
  throw new TypeError(
    `Cannot serve: no host key fits \`algorithms.hostKey\` (${wanted.join(", ")}); the keys make ${
      [...made].join(", ")
    }`,
  );
}

function checkNames(
  list: keyof Algorithms,
  names: readonly string[] | undefined,
  isKnown: (name: string) => boolean,
  known: Iterable<string> | null,
): void {
  if (names === undefined) return;
  if (names.every(isPseudoName)) throw new TypeError(`Cannot connect: \`algorithms.${list}\` names none`);
  for (const name of names) {
    if (isKnown(name)) continue;
    const choice = known === null ? "" : `; known are ${[...known].join(", ")}`;
    throw new TypeError(`Cannot use "${name}" in \`algorithms.${list}\`: no such algorithm is known${choice}`);
  }
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
