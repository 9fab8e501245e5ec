/**
 * The one error that key formats throw: `SshError` with code `KEY_FORMAT`. No I/O.
 *
 * @module
 */
import { SshError, SshProtocolError } from "../../errors.ts";

/** An error with code `KEY_FORMAT`; the message never holds key material. */
export function keyFormatError(message: string, cause?: unknown): SshError {
  return new SshError(message, cause === undefined ? { code: "KEY_FORMAT" } : { code: "KEY_FORMAT", cause });
}

/** The error for a private key whose halves are of different keys, or are made of numbers that do not fit each other. */
export function notTogether(): SshError {
  return keyFormatError("Cannot read private key: its private and public parts do not belong together");
}

/** Runs a parser and turns what its cursor throws into `KEY_FORMAT`; `what` begins the message. */
export function parsing<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof SshProtocolError) throw keyFormatError(`${what}: ${error.message}`, error);
    throw error;
  }
}
