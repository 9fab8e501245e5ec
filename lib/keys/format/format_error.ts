/**
 * The one error that key formats throw: `KeyFormatError`, whose code is `KEY_FORMAT`. No I/O.
 *
 * @module
 */
import { KeyFormatError, type KeyFormatReason, SshProtocolError } from "../../errors.ts";

/** An error for what is not as its format wants it, unless another reason is given; the message never holds key material. */
export function keyFormatError(message: string, cause?: unknown, reason: KeyFormatReason = "DAMAGED"): KeyFormatError {
  return new KeyFormatError(message, reason, cause === undefined ? undefined : { cause });
}

/** The error for a format, a cipher, a type or a size that is not known or not taken. */
export function unsupported(message: string, cause?: unknown): KeyFormatError {
  return keyFormatError(message, cause, "UNSUPPORTED");
}

/** The error for an encrypted key without a passphrase. */
export function noPassphrase(message: string): KeyFormatError {
  return keyFormatError(message, undefined, "NO_PASSPHRASE");
}

/** The error for what a passphrase does not decrypt. */
export function wrongPassphrase(message: string, cause?: unknown): KeyFormatError {
  return keyFormatError(message, cause, "WRONG_PASSPHRASE");
}

/** The error for something else than what was asked for. */
export function otherKind(message: string): KeyFormatError {
  return keyFormatError(message, undefined, "OTHER_KIND");
}

/** The error for a private key whose halves are of different keys, or are made of numbers that do not fit each other. */
export function notTogether(): KeyFormatError {
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
