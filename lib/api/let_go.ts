/**
 * Letting go of streams that nobody has begun to use.
 *
 * @module
 */
import type { ByteDuplex } from "../wire/types.ts";

/** Cancels and aborts the streams, if they are any. Never rejects. */
export async function letGo(conn: Partial<ByteDuplex> | undefined, reason?: unknown): Promise<void> {
  await Promise.allSettled([
    (async () => await conn?.readable?.cancel(reason))(),
    (async () => await conn?.writable?.abort(reason))(),
  ]);
}
