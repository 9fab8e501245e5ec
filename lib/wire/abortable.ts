/**
 * Waiting for what cannot be aborted, but no longer than a signal lets. No I/O.
 *
 * @module
 */

/**
 * What `promise` settles to, or a rejection with the signal's reason as soon as it aborts. What the promise still gives then goes to
 * `late`, which lets go of it.
 */
export async function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  late: (value: T) => unknown = () => {},
): Promise<T> {
  if (signal === undefined) return await promise;
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => {
    aborted.reject(signal.reason);
    promise.then(late).catch(() => {});
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([aborted.promise, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
