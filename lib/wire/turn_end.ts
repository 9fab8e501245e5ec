/**
 * The end of a turn of the event loop. No I/O.
 *
 * @module
 */

/** Resolves when what this turn of the event loop sets off has run; undefined where the runtime cannot tell, as in a browser. */
export function turnEnd(): Promise<void> | undefined {
  if (typeof setImmediate !== "function") return undefined;
  return new Promise((resolve) => void setImmediate(resolve));
}
