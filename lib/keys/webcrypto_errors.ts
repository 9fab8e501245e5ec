/**
 * Telling what WebCrypto says of data from what it says of itself. No I/O.
 *
 * A signature that does not fit and a runtime that cannot look at it are different things: the first is an attack perhaps, and the
 * second never is.
 *
 * @module
 */

/** Whether an exception says that something is wrong with the data: a key that is none, a signature or tag that does not fit. */
export function isDataError(error: unknown): boolean {
  return error instanceof DOMException && (error.name === "DataError" || error.name === "OperationError");
}

/** The error for an exception that says nothing of the data: an algorithm or a function that is missing, or a mistake of ours. */
export function runtimeError(what: string, cause: unknown): TypeError {
  const missing = cause instanceof DOMException && cause.name === "NotSupportedError";
  const why = missing ? "the WebCrypto of this runtime does not have it" : "this runtime failed";
  return new TypeError(`${what}: ${why} (${cause instanceof Error ? cause.message : String(cause)})`, { cause });
}
