/**
 * L5. Turns status codes into errors that say what to do, and errors into status codes.
 * draft-ietf-secsh-filexfer-02 section 7. No I/O.
 *
 * @module
 */
import { printable, SftpError, SshError, type SshErrorCode } from "../errors.ts";
import { Status } from "./constants.ts";
import { quoted } from "./names.ts";
import { meaningOf, refusalOfStatus } from "./refusals.ts";

/** What a request was for: it names itself in errors. */
export interface Purpose {
  /** A verb, and what follows it but the path: `open`, `read`. */
  readonly action: string;
  /** The path it was for, or null where there is none. */
  readonly path: string | null;
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

/** Texts of statuses as a server sends them; nothing about the server's own file system is in them. */
export const statusTexts: Readonly<Record<number, string>> = {
  [Status.OK]: "Success",
  [Status.EOF]: "End of file",
  [Status.NO_SUCH_FILE]: "No such file",
  [Status.PERMISSION_DENIED]: "Permission denied",
  [Status.FAILURE]: "Failure",
  [Status.BAD_MESSAGE]: "Bad message",
  [Status.OP_UNSUPPORTED]: "Operation unsupported",
};

const byErrno: Readonly<Record<string, number>> = {
  ENOENT: Status.NO_SUCH_FILE,
  ENOTDIR: Status.NO_SUCH_FILE,
  ELOOP: Status.NO_SUCH_FILE,
  EACCES: Status.PERMISSION_DENIED,
  EPERM: Status.PERMISSION_DENIED,
  EROFS: Status.PERMISSION_DENIED,
  ENAMETOOLONG: Status.BAD_MESSAGE,
  EINVAL: Status.BAD_MESSAGE,
  ENOSYS: Status.OP_UNSUPPORTED,
  EOPNOTSUPP: Status.OP_UNSUPPORTED,
};

const byName: Readonly<Record<string, number>> = {
  NotFound: Status.NO_SUCH_FILE,
  NotADirectory: Status.NO_SUCH_FILE,
  FilesystemLoop: Status.NO_SUCH_FILE,
  PermissionDenied: Status.PERMISSION_DENIED,
  NotCapable: Status.PERMISSION_DENIED,
  NotSupported: Status.OP_UNSUPPORTED,
};

/** Those that a client makes up by itself, and no server sends (section 7): of a backend's own upstream they tell nothing here. */
const ofClients: ReadonlySet<number> = new Set([Status.NO_CONNECTION, Status.CONNECTION_LOST]);

/** The status that a backend's error stands for: an `SftpError` tells its own, a `Deno.errors` class or errno fits one. */
export function statusOf(error: unknown): number {
  if (error instanceof SftpError) {
    const { status } = error;
    const isSent = Number.isInteger(status) && status > Status.OK && status <= 0xffff_ffff && !ofClients.has(status);
    return isSent ? status : Status.FAILURE;
  }
  if (!(error instanceof Error)) return Status.FAILURE;
  const { code } = error as Error & { code?: unknown };
  return (typeof code === "string" ? byErrno[code] : undefined) ?? byName[error.name] ?? Status.FAILURE;
}

const otherFileSystemErrors: ReadonlySet<string> = new Set([
  "AlreadyExists",
  "IsADirectory",
  "Busy",
  "BadResource",
  "WriteZero",
  "UnexpectedEof",
  "Interrupted",
  "TimedOut",
]);

/** Whether an error tells of the file system, and not of a mistake in the program that serves it. */
export function isFileSystemError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  // Codes of Node.js that tell of a mistake in a call start with ERR_.
  return typeof code === "string" && /^E(?!RR_)[A-Z0-9]+$/.test(code) || Object.hasOwn(byName, error.name) ||
    otherFileSystemErrors.has(error.name);
}
