/**
 * What a server's file system is to the SFTP server. No I/O.
 *
 * @module
 */
import type { AuthInfo } from "../auth/types.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import type { SftpAttributes, SftpFileInfo } from "./file_info.ts";

/**
 * A file system to serve: one method per SFTP request, each allowed to throw `SftpError` or a `Deno.errors` class, which
 * become statuses. The message of an `SftpError` is sent to the client; of any other error only the status is.
 *
 * Paths are absolute and in one form: they start with `/`, and hold no `.`, no `..`, no `//`, no NUL, and no `/` at the end.
 * `/` is where relative paths of the client start. Names that are not UTF-8 come as they do in `SftpClient`. What is absent
 * answers OP_UNSUPPORTED, but for `realPath` and `homeDirectory`, whose answers are then the path itself and `/`.
 *
 * What only looks may be called while other calls are under way, as writes to different parts of one file may; anything that
 * changes something is called when all calls before it have ended. However long a call takes, answers leave in the order of
 * the requests, so one that takes long holds up its session: up to 64 requests and 4 MiB of data go on behind it. Files are
 * closed when the calls to them have ended, at the end of a session too: a call that may wait for ever has to end by itself.
 *
 * `memoryFiles()` is one that does all of this, for tests and as an example.
 */
export interface SftpBackend {
  /**
   * Opens a file. `mode` holds no more than the nine permission bits. Unlike in `Deno.open`, `create` and `createNew` may come
   * with `read` alone.
   */
  open(path: string, options: Deno.OpenOptions, info: AuthInfo): MaybePromise<SftpBackendFile>;
  /** Lists a directory. It is read as far as the client asks, and left when the client closes the listing. */
  readDir(path: string, info: AuthInfo): AsyncIterable<SftpBackendEntry>;
  /** Metadata; `followLinks` tells stat from lstat. */
  stat(path: string, followLinks: boolean, info: AuthInfo): MaybePromise<SftpBackendInfo>;
  /** Changes the attributes that are there (SETSTAT; lsetstat@openssh.com where `followLinks` is false). */
  setStat?(path: string, attrs: SftpAttributes, followLinks: boolean, info: AuthInfo): MaybePromise<void>;
  /** Removes a file or link, never a directory. */
  remove?(path: string, info: AuthInfo): MaybePromise<void>;
  /** Makes a directory. */
  mkdir?(path: string, options: { mode?: number }, info: AuthInfo): MaybePromise<void>;
  /** Removes an empty directory. */
  rmdir?(path: string, info: AuthInfo): MaybePromise<void>;
  /** Renames; without `replace` a file of the new name is an error (RENAME; with it posix-rename@openssh.com). */
  rename?(oldPath: string, newPath: string, options: { replace: boolean }, info: AuthInfo): MaybePromise<void>;
  /** The canonical form of a path whose last component need not exist. */
  realPath?(path: string, info: AuthInfo): MaybePromise<string>;
  /** Reads a link. */
  readLink?(path: string, info: AuthInfo): MaybePromise<string>;
  /** Makes a symbolic link at `path`; `target` is as the client gave it. */
  symlink?(target: string, path: string, info: AuthInfo): MaybePromise<void>;
  /** Makes a hard link (hardlink@openssh.com). */
  link?(oldPath: string, newPath: string, info: AuthInfo): MaybePromise<void>;
  /** Space of the file system, fields by their POSIX names such as `f_bsize` (statvfs@openssh.com). */
  statfs?(path: string, info: AuthInfo): MaybePromise<Readonly<Record<string, bigint>>>;
  /** The home directory of a user; "" is the one logged in (home-directory, and `~` of expand-path@openssh.com). */
  homeDirectory?(username: string, info: AuthInfo): MaybePromise<string>;
  /** Names by number, "" where there is none (users-groups-by-id@openssh.com). */
  usersGroups?(
    uids: readonly number[],
    gids: readonly number[],
    info: AuthInfo,
  ): MaybePromise<{ users: readonly string[]; groups: readonly string[] }>;
  /** Same as `setStat`, by the name that the request has on the wire. */
  setstat?(path: string, attrs: SftpAttributes, followLinks: boolean, info: AuthInfo): MaybePromise<void>;
  /** Same as `realPath`, by the name that the request has on the wire. */
  realpath?(path: string, info: AuthInfo): MaybePromise<string>;
  /** Same as `readLink`, by the name that the request has on the wire. */
  readlink?(path: string, info: AuthInfo): MaybePromise<string>;
}

/** Metadata of a file of a {@linkcode SftpBackend}: `SftpFileInfo`, extended attributes left out or not. */
export interface SftpBackendInfo extends Omit<SftpFileInfo, "extended"> {
  /** Extended attributes by name; a file with more than 64 KiB of them is told of without them. */
  readonly extended?: ReadonlyMap<string, Bytes> | undefined;
}

/** An entry of a directory of a {@linkcode SftpBackend}. */
export interface SftpBackendEntry extends Deno.DirEntry {
  /** Metadata; of a link, not of what it points to. */
  readonly info: SftpBackendInfo;
}

/** An open file of a {@linkcode SftpBackend}. */
export interface SftpBackendFile extends AsyncDisposable {
  /**
   * Reads at an offset into `p`, which is not to be touched once the call has ended; says how many bytes, from the start of
   * `p`. 0 or null is the end; what is no count of bytes in `p` makes the READ fail. Calls may overlap.
   */
  readAt(p: Uint8Array, offset: number): MaybePromise<number | null>;
  /** Writes all of it at an offset. Calls may overlap, their ranges do not. */
  writeAt(p: Uint8Array, offset: number): MaybePromise<void>;
  /** Metadata. */
  stat(): MaybePromise<SftpBackendInfo>;
  /** Changes the attributes that are there (FSETSTAT). Where it is absent, the backend's own `setStat` gets the path. */
  setStat?(attrs: SftpAttributes): MaybePromise<void>;
  /** Puts what was written on the disk (fsync@openssh.com). Absent answers OP_UNSUPPORTED. */
  sync?(): MaybePromise<void>;
  /** Space of its file system (fstatvfs@openssh.com). Where it is absent, the backend's own `statfs` gets the path. */
  statfs?(): MaybePromise<Readonly<Record<string, bigint>>>;
}

/** The count of bytes that a backend says it read, where it can be one; what it is otherwise is a mistake of the backend. */
export function countOf(read: number | null, room: number): number {
  const count = read ?? 0;
  if (Number.isInteger(count) && count >= 0 && count <= room) return count;
  throw new RangeError(`Cannot read: the backend says it read ${count} bytes into ${room}`);
}
