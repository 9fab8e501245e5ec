/**
 * How long a refusal takes at least, so that its time tells nothing of why. No transport.
 *
 * @module
 */

/** Longest floor in milliseconds. */
const MAX_FLOOR = 5_000;
/** Most that a user's name adds, in milliseconds. */
const JITTER = 4;

let jitterKey: Promise<CryptoKey> | undefined;

/** Milliseconds from 0 to 4, the same each time for a name in this process, and unknown outside of it. */
async function jitterOf(user: string): Promise<number> {
  jitterKey ??= crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, false, ["sign"]) as Promise<CryptoKey>;
  const mac = await crypto.subtle.sign("HMAC", await jitterKey, new TextEncoder().encode(user));
  return new DataView(mac).getUint32(0) / 2 ** 32 * JITTER;
}

/**
 * Milliseconds still to wait when a refusal has taken `elapsed`: until the floor (`floor` and the user's jitter), or where that
 * has passed until twice, four times… as much, so that slow answers fall into few classes. Nothing past 5 seconds.
 */
export async function remainingDelay(user: string, floor: number, elapsed: number): Promise<number> {
  let until = floor + await jitterOf(user);
  if (floor <= 0) return 0;
  while (until < elapsed && until < MAX_FLOOR) until *= 2;
  return Math.max(0, Math.min(until, MAX_FLOOR) - elapsed);
}
