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

/** Runs a parser and turns what its cursor throws into `KEY_FORMAT`; `what` begins the message. */
export function parsing<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof SshProtocolError) throw keyFormatError(`${what}: ${error.message}`, error);
    throw error;
  }
}
