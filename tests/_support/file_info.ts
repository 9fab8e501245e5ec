/** Test support. What a backend says of a file or a directory of which nothing but the size matters. */
import type { SftpFileInfo } from "../../lib/files/file_info.ts";

/** A file of that size, or a directory. */
export function info(size = 0, isDirectory = false): SftpFileInfo {
  return {
    isFile: !isDirectory,
    isDirectory,
    isSymlink: false,
    size,
    mtime: null,
    atime: null,
    mode: null,
    uid: null,
    gid: null,
    extended: new Map(),
  };
}
