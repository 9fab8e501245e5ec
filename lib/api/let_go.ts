/**
 * Letting go of streams that nobody has begun to use.
 *
 * @module
 */
import { LINGER_TIME, within } from "../transport/closing.ts";
import type { ByteDuplex } from "../wire/types.ts";

/**
 * Cancels and aborts the streams, if they are any. Never rejects, and does not wait long: a stream aborts only when it is done with the write
 * that it is at, which a peer that does not read holds up.
 */
export async function letGo(conn: Partial<ByteDuplex> | undefined, reason?: unknown): Promise<void> {
  await within(
    LINGER_TIME,
    Promise.allSettled([
      (async () => await conn?.readable?.cancel(reason))(),
      (async () => await conn?.writable?.abort(reason))(),
    ]),
  );
}
