/**
 * Turns status codes into errors that say what to do, and errors into status codes.
 * draft-ietf-secsh-filexfer-02 section 7. No I/O.
 *
 * @module
 */
import { printable, SftpError, SshError, type SshErrorCode } from "../../errors.ts";
import { Status } from "../../files/limits.ts";
import { quoted } from "../../files/names.ts";
import { meaningOf, refusalOfStatus } from "../../files/refusals.ts";

/** What a request was for: it names itself in errors. */
export interface Purpose {
  /** A verb, and what follows it but the path: `open`, `read`. */
  readonly action: string;
  /** The path it was for, or null where there is none. */
  readonly path: string | null;
  /** Once it has aborted nothing more is asked for. */
  readonly signal?: AbortSignal | undefined;
}

/** What may help, by action and status. */
function advice(action: string, status: number): string {
  if (status === Status.FAILURE) {
    switch (action) {
      case "rename":
        return "; a file of the new name may exist already, or lie on another file system";
      case "make directory":
        return "; it may exist already";
      case "open":
        return "; it may be a directory, or exist already where a new file was asked for";
      case "remove directory":
        return "; it may not be empty: remove it with `recursive: true`";
      case "link":
      case "make symbolic link":
        return "; the new name may exist already";
      case "read":
        return "; it may be a directory";
      case "write":
        return "; the disk may be full, or a quota reached";
      case "replace":
        return "; it may be a directory, or with `inPlace: true` be written to";
    }
  }
  const refusal = refusalOfStatus(status);
  if (refusal === "not empty" && action === "remove directory") return "; remove it with `recursive: true`";
  if (refusal === "missing") {
    if (action === "make directory") return "; its parent may be missing: make that first, or use `recursive: true`";
    if (action === "create") return "; its directory may be missing: make that first";
  }
  if (action === "keep the mode of" || action === "replace") {
    return "; with `inPlace: true` the file is written to and not replaced";
  }
  return "";
}

function describe(purpose: Purpose): string {
  return purpose.path === null ? purpose.action : `${purpose.action} ${quoted(purpose.path)}`;
}

/** The error for a status other than OK. */
export function statusError(purpose: Purpose, status: number, text: string): SftpError {
  const meaning = meaningOf(status);
  // Most servers say no more than the status does.
  const said =
    text === "" || /^(success|end of file|no such file( or directory)?|permission denied|failure|bad message)$/i
        .test(text)
      ? ""
      : `: ${printable(text).toWellFormed()}`;
  return new SftpError(
    `Cannot ${describe(purpose)}: ${meaning}${said}${advice(purpose.action, status)}`,
    status,
    purpose.path,
  );
}

/** How a session ended, for programs: by this side, by a peer that breaks its rules, or by a loss, after which it may be tried again. */
function codeOf(cause: unknown): SshErrorCode {
  const code = cause instanceof SshError ? cause.code : null;
  return code === "CLOSED" || code === "PROTOCOL_ERROR" || code === "MAC_INVALID" ? code : "CONNECTION_LOST";
}

/** The error for a request that a lost connection, a broken server or `close()` left without an answer. */
export function lostError(purpose: Purpose, cause: unknown): SftpError {
  const code = codeOf(cause), closed = code === "CLOSED", reason = closed ? (cause as SshError).cause : undefined;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new SftpError(
    `Cannot ${describe(purpose)}: ${
      closed ? "the SFTP session was closed" : `the SFTP session ended before the answer: ${why}`
    }`,
    closed ? Status.NO_CONNECTION : Status.CONNECTION_LOST,
    purpose.path,
    // Where a signal ended the connection, its reason is what the program wants to see.
    { code, cause: reason ?? cause },
  );
}

/** The same error in other words. */
export function reworded(error: SftpError, message: string): SftpError {
  const { status, path, code, cause } = error;
  return new SftpError(message, status, path, cause === undefined ? { code } : { code, cause });
}

/** The error for an extension that the server does not offer and that nothing can replace. */
export function unsupportedError(purpose: Purpose, extension: string): SftpError {
  return new SftpError(
    `Cannot ${describe(purpose)}: the server does not offer ${extension}`,
    Status.OP_UNSUPPORTED,
    purpose.path,
  );
}
