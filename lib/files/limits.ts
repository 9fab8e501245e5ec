/**
 * Numbers of files that every protocol of files shares: statuses, types, limits. draft-ietf-secsh-filexfer-02 section 7. No I/O.
 *
 * @module
 */

/** Status codes (section 7), without `SSH_FX_`. */
export const Status = {
  OK: 0,
  EOF: 1,
  NO_SUCH_FILE: 2,
  PERMISSION_DENIED: 3,
  FAILURE: 4,
  BAD_MESSAGE: 5,
  NO_CONNECTION: 6,
  CONNECTION_LOST: 7,
  OP_UNSUPPORTED: 8,
} as const;

/** File types in the permission bits, as POSIX numbers them. */
export const FileType = {
  MASK: 0o170000,
  FIFO: 0o010000,
  DIRECTORY: 0o040000,
  REGULAR: 0o100000,
  SYMLINK: 0o120000,
} as const;

/** Longest path the server takes, in bytes; POSIX PATH_MAX. */
export const MAX_PATH = 4096;

/** Deepest directory a recursive operation enters. */
export const MAX_DEPTH = 64;
