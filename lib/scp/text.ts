/**
 * What is said of an error in SCP: to the other side in the words that users of scp know, and to the caller. No I/O.
 *
 * @module
 */
import { SftpError, SshProtocolError } from "../errors.ts";
import { Status } from "../files/limits.ts";
import { quoted } from "../files/names.ts";
import { statusOf, statusTexts } from "../files/errors.ts";

/** As strerror(3) has them. */
const byErrno: ReadonlyMap<unknown, string> = new Map([
  ["E2BIG", "Argument list too long"],
  ["EACCES", "Permission denied"],
  ["EBUSY", "Device or resource busy"],
  ["EDQUOT", "Disk quota exceeded"],
  ["EEXIST", "File exists"],
  ["EFBIG", "File too large"],
  ["EINVAL", "Invalid argument"],
  ["EIO", "Input/output error"],
  ["EISDIR", "Is a directory"],
  ["ELOOP", "Too many levels of symbolic links"],
  ["EMFILE", "Too many open files"],
  ["ENAMETOOLONG", "File name too long"],
  ["ENFILE", "Too many open files in system"],
  ["ENOENT", "No such file or directory"],
  ["ENOSPC", "No space left on device"],
  ["ENOTDIR", "Not a directory"],
  ["ENOTSUP", "Operation not supported"],
  ["EOPNOTSUPP", "Operation not supported"],
  ["EPERM", "Operation not permitted"],
  ["EROFS", "Read-only file system"],
  ["ETXTBSY", "Text file busy"],
]);

const errnoOf: ReadonlyMap<unknown, string> = new Map([
  ["AlreadyExists", "EEXIST"],
  ["Busy", "EBUSY"],
  ["FilesystemLoop", "ELOOP"],
  ["GlobLimitError", "E2BIG"],
  ["IsADirectory", "EISDIR"],
  ["NotADirectory", "ENOTDIR"],
  ["NotCapable", "EACCES"],
  ["NotFound", "ENOENT"],
  ["NotSupported", "ENOTSUP"],
  ["PermissionDenied", "EACCES"],
]);

const errnoOfStatus: ReadonlyMap<number, string> = new Map([
  [Status.NO_SUCH_FILE, "ENOENT"],
  [Status.OP_UNSUPPORTED, "ENOTSUP"],
]);

/**
 * What the other side may know of an error: its kind. An `SftpError` tells it by its message, which a backend makes for its
 * clients; the message of anything else may hold paths of the host.
 */
export function reasonOf(error: unknown): string {
  if (error instanceof SshProtocolError) return "protocol error";
  if (error instanceof SftpError) {
    const isBare = error.message === statusTexts[error.status];
    return (isBare ? byErrno.get(errnoOfStatus.get(error.status)) : undefined) ?? error.message;
  }
  if (!(error instanceof Error)) return "Failure";
  return byErrno.get((error as Error & { code?: unknown }).code) ?? byErrno.get(errnoOf.get(error.name)) ?? "Failure";
}

/** The caller's error for what a file system threw. */
export function copyError(action: "copy" | "copy to", path: string, error: unknown): SftpError {
  return new SftpError(`Cannot ${action} ${quoted(path)}: ${reasonOf(error)}`, statusOf(error), path, { cause: error });
}
