/**
 * What errors of a file system come to as a status, and as words that tell nothing about it. draft-ietf-secsh-filexfer-02 section 7.
 * No I/O.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
import { Status } from "./limits.ts";

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
