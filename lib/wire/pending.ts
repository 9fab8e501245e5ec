/**
 * Values that are there or yet to come. No I/O.
 *
 * @module
 */
import { isThenable } from "./callback.ts";
import type { MaybePromise } from "./types.ts";

/** Whether a value is yet to come; a backend may return any thenable. */
export function isPending<T>(value: MaybePromise<T>): value is Promise<T> {
  return isThenable(value);
}

/** Goes on with a value when it is there, which may be now. */
export function after<T, R>(value: MaybePromise<T>, next: (value: T) => MaybePromise<R>): MaybePromise<R> {
  return isPending(value) ? Promise.resolve(value).then(next) : next(value);
}
