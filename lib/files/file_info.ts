/**
 * What is told of a file: its attributes, and an entry of a directory. No I/O.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";

/** Attributes of a file; what is absent was not sent, or is not to be changed. */
export interface SftpAttributes {
  /** Bytes. */
  readonly size?: number | undefined;
  /** Owner; changed only together with the group. */
  readonly uid?: number | undefined;
  /** Group; changed only together with the owner. */
  readonly gid?: number | undefined;
  /** Permission bits, with the file type where a server sent it. */
  readonly mode?: number | undefined;
  /** Last access in seconds since 1970; changed only together with `mtime`. */
  readonly atime?: number | undefined;
  /** Last change in seconds since 1970; changed only together with `atime`. */
  readonly mtime?: number | undefined;
  /** Extended attributes by name. */
  readonly extended?: ReadonlyMap<string, Bytes> | undefined;
}

/** Metadata, a subset of `Deno.FileInfo` plus what SFTP knows. */
export interface SftpFileInfo extends
  Pick<
    Deno.FileInfo,
    "isFile" | "isDirectory" | "isSymlink" | "size" | "mtime" | "atime" | "mode" | "uid" | "gid"
  > {
  /** Extended attributes by name. */
  readonly extended: ReadonlyMap<string, Bytes>;
}

/** Directory entry. */
export interface SftpDirEntry extends Deno.DirEntry {
  /** Metadata that came with the entry; of a link, not of what it points to. */
  readonly info: SftpFileInfo;
}
