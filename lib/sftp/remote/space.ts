/**
 * Space of a remote file system. OpenSSH PROTOCOL section 4.4. No I/O.
 *
 * @module
 */
import type { MessageOf } from "../../wire/codec.ts";
import type { StatvfsReply } from "../wire/messages.ts";

/** Space of a remote file system, in bytes. */
export interface SftpFileSystemInfo {
  /** Whole size. */
  readonly total: bigint;
  /** Free to an ordinary user. */
  readonly available: bigint;
  /** Every field of the reply by its POSIX name, such as `f_bsize`. */
  readonly raw: Readonly<Record<string, bigint>>;
}

/** Reads a statvfs reply. */
export function spaceOf(reply: MessageOf<typeof StatvfsReply>): SftpFileSystemInfo {
  const { id: _, ...raw } = reply;
  return { total: raw.f_frsize * raw.f_blocks, available: raw.f_frsize * raw.f_bavail, raw };
}
