/**
 * Calling functions of the program that only are told something: what they throw changes nothing. No I/O.
 *
 * @module
 */

/**
 * Calls `run`. What it throws, at once or by the promise it returns, goes to `failed` and no further; what `failed` throws has nowhere
 * to go.
 */
export function callBack(run: () => unknown, failed: (error: unknown) => unknown = () => {}): void {
  const tell = (error: unknown): void => {
    try {
      ignored(failed(error));
    } catch {
      // Nobody is left to be told.
    }
  };
  try {
    const result = run();
    if (isThenable(result)) Promise.resolve(result).catch(tell);
  } catch (error) {
    tell(error);
  }
}

/**
 * The same function, for callers that what it throws ends: what a promise that it returned was rejected with is thrown by its next call.
 * Behind the last one it has nowhere to go.
 */
export function heeded<A extends unknown[]>(run: (...args: A) => unknown): (...args: A) => void {
  let failed: { readonly error: unknown } | null = null;
  return (...args) => {
    if (failed !== null) throw failed.error;
    const result = run(...args);
    if (isThenable(result)) Promise.resolve(result).catch((error) => failed ??= { error });
  };
}

/** A promise whose rejection nobody handles would end the process. */
function ignored(result: unknown): void {
  if (isThenable(result)) Promise.resolve(result).catch(() => {});
}

/** Whether `value` is a promise, of whatever realm or library. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}
