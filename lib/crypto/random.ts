/**
 * Random bytes, from the system's generator only. RFC 4251 section 9.1, RFC 4253 section 6. No I/O.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";

/** What getRandomValues gives in one call at most. */
const MAX_CALL = 65_536;

/** `n` random bytes that nobody else has seen: fit for keys. */
export function randomBytes(n: number): Bytes {
  const bytes = new Uint8Array(n);
  for (let at = 0; at < n; at += MAX_CALL) crypto.getRandomValues(bytes.subarray(at, Math.min(n, at + MAX_CALL)));
  return bytes;
}

const POOL_SIZE = 16_384;
const pool = new Uint8Array(POOL_SIZE);
let used = POOL_SIZE;

/**
 * Fills `view` with random bytes from a pool, each of which is handed out once: for padding and cookies, where a call to the
 * system for every few bytes would cost more than the packet. They have lain in memory before, so keys come from
 * {@linkcode randomBytes}.
 */
export function fillRandom(view: Uint8Array): void {
  let at = 0;
  while (at < view.length) {
    if (used === POOL_SIZE) {
      crypto.getRandomValues(pool);
      used = 0;
    }
    const n = Math.min(view.length - at, POOL_SIZE - used);
    view.set(pool.subarray(used, used + n), at);
    used += n;
    at += n;
  }
}
