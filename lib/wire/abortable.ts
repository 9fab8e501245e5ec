/**
 * Waiting for what cannot be aborted, but no longer than a signal lets. No I/O.
 *
 * @module
 */
import { callBack } from "./callback.ts";

/**
 * What `promise` settles to, or a rejection with the signal's reason as soon as it aborts. What the promise still gives then goes to
 * `late`, which lets go of it: the caller gets the value or `late` does, never both, however closely the two follow each other.
 */
export function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  late: (value: T) => unknown = () => {},
): Promise<T> {
  if (signal === undefined) return promise;
  const outcome = Promise.withResolvers<T>();
  let aborted = false;
  const onAbort = (): void => {
    aborted = true;
    outcome.reject(signal.reason);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  const leave = (): void => signal.removeEventListener("abort", onAbort);
  promise.then((value) => {
    leave();
    if (aborted) callBack(() => late(value));
    else outcome.resolve(value);
  }, (error) => {
    leave();
    outcome.reject(error);
  });
  return outcome.promise;
}
