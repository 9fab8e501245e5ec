/**
 * What is wrong with a configuration, and where it stands.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";

/** A place in a configuration file. */
export interface ConfigPlace {
  /** The file's path. */
  readonly file: string;
  /** Line number, counted from 1; 0 where the whole file is meant. */
  readonly line: number;
}

/** A configuration that cannot be used, as `ssh` would refuse it too. Its `code` is `CONFIG_INVALID`. */
export class SshConfigError extends SshError {
  /** The place, or null where the fault is in no file: in the name that was given, or in what comes of several lines. */
  readonly place: ConfigPlace | null;
  /** Creates the error. */
  constructor(message: string, place: ConfigPlace | null, options?: ErrorOptions) {
    super(message, { ...options, code: "CONFIG_INVALID" });
    this.place = place;
  }
}

/** The error for a line. `why` says what is wrong with it. */
export function lineError(place: ConfigPlace, why: string, cause?: unknown): SshConfigError {
  const where = place.line === 0 ? printable(place.file, 1024) : `${printable(place.file, 1024)}:${place.line}`;
  return new SshConfigError(`Cannot use ssh_config: ${where}: ${why}`, place, cause === undefined ? {} : { cause });
}
