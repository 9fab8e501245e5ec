/**
 * An open file of the rooted backend. May use `node:fs`.
 *
 * @module
 */
import type { SftpAttributes, SftpFileInfo } from "../file_info.ts";
import type { SftpBackendFile } from "../backend.ts";
import { FileType } from "../limits.ts";
import type { Bytes, MaybePromise } from "../../wire/types.ts";

type NodeFs = typeof import("node:fs");

/**
 * A file up to this is read, and so much is written, in a synchronous call: a thread for it takes ten times as long as the call.
 */
const SMALL = 65_536;

const none: ReadonlyMap<string, Bytes> = new Map();

/** What fstat tells, as a server's backend gives it. */
export function infoOfStats(stats: import("node:fs").Stats): SftpFileInfo {
  const type = stats.mode & FileType.MASK;
  return {
    isFile: type === FileType.REGULAR,
    isDirectory: type === FileType.DIRECTORY,
    isSymlink: type === FileType.SYMLINK,
    size: stats.size,
    mtime: new Date(stats.mtimeMs),
    atime: new Date(stats.atimeMs),
    mode: stats.mode,
    uid: stats.uid,
    gid: stats.gid,
    extended: none,
  };
}

/** What `Deno.lstat` tells, as a server's backend gives it. */
export function infoOf(info: Deno.FileInfo): SftpFileInfo {
  const { isFile, isDirectory, isSymlink, size, mtime, atime, mode, uid, gid } = info;
  return { isFile, isDirectory, isSymlink, size, mtime, atime, mode, uid, gid, extended: none };
}

/** Space by the fields of statvfs. */
export function spaceFields(
  space: import("node:fs").StatsFs | import("node:fs").BigIntStatsFs,
): Record<string, bigint> {
  const one = (value: number | bigint): bigint => BigInt(value);
  return {
    f_bsize: one(space.bsize),
    f_frsize: one(space.bsize),
    f_blocks: one(space.blocks),
    f_bfree: one(space.bfree),
    f_bavail: one(space.bavail),
    f_files: one(space.files),
    f_ffree: one(space.ffree),
    f_favail: one(space.ffree),
    f_namemax: 255n,
  };
}

/** A file by its descriptor: whatever happens to its name, these are its bytes. */
export class RootedFile implements SftpBackendFile {
  readonly #fs: NodeFs;
  readonly #fd: number;
  readonly #readOnly: boolean;
  readonly #small: boolean;
  /** Space of its file system, whatever became of its name; absent where a descriptor cannot be asked. */
  readonly statfs?: () => Record<string, bigint>;

  /** Owns the descriptor from here on. `size` is what the file had when it was opened; `held` as in rooted_tree.ts. */
  constructor(fs: NodeFs, fd: number, options: { readOnly: boolean; held: boolean; size?: number }) {
    this.#fs = fs;
    this.#fd = fd;
    this.#readOnly = options.readOnly;
    this.#small = (options.size ?? Infinity) <= SMALL;
    if (options.held) this.statfs = () => spaceFields(fs.statfsSync(`/proc/self/fd/${fd}`, { bigint: true }));
  }

  /** Reads at an offset. */
  readAt(p: Uint8Array, offset: number): MaybePromise<number> {
    if (this.#small) return this.#fs.readSync(this.#fd, p, 0, p.length, offset);
    return new Promise((resolve, reject) => {
      this.#fs.read(this.#fd, p, 0, p.length, offset, (error, count) => error ? reject(error) : resolve(count));
    });
  }

  /** Writes all of it at an offset. */
  writeAt(p: Uint8Array, offset: number): MaybePromise<void> {
    if (p.length > SMALL) return this.#writeLarge(p, offset);
    for (let done = 0; done < p.length;) {
      done += this.#fs.writeSync(this.#fd, p, done, p.length - done, offset + done);
    }
  }

  async #writeLarge(p: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < p.length;) {
      done += await new Promise<number>((resolve, reject) => {
        this.#fs.write(this.#fd, p, done, p.length - done, offset + done, (error, count) => {
          if (error) reject(error);
          else resolve(count);
        });
      });
    }
  }

  /** Metadata. */
  stat(): SftpFileInfo {
    return infoOfStats(this.#fs.fstatSync(this.#fd));
  }

  /** Changes attributes. */
  setStat(attrs: SftpAttributes): void {
    if (this.#readOnly) throw new Deno.errors.PermissionDenied("Permission denied");
    if (attrs.size !== undefined) this.#fs.ftruncateSync(this.#fd, attrs.size);
    if (attrs.mode !== undefined) this.#fs.fchmodSync(this.#fd, attrs.mode);
    if (attrs.atime !== undefined && attrs.mtime !== undefined) {
      this.#fs.futimesSync(this.#fd, attrs.atime, attrs.mtime);
    }
    if (attrs.uid !== undefined && attrs.gid !== undefined) this.#fs.fchownSync(this.#fd, attrs.uid, attrs.gid);
  }

  /** Puts what was written on the disk. */
  sync(): Promise<void> {
    return new Promise((resolve, reject) => this.#fs.fsync(this.#fd, (error) => error ? reject(error) : resolve()));
  }

  /** Closes the descriptor. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#fs.closeSync(this.#fd);
    return Promise.resolve();
  }
}
