/**
 * A part of the real file system as a server's backend. May use `node:fs` and `Deno.*`.
 *
 * Every path goes through rooted_tree.ts, whose head says what it holds against whom. Looking up, opening and changing names
 * are synchronous system calls, so that no request of this process comes between a check and its use; reading but for small
 * files, writing and listing are not, nor, where directories are held, what takes long. Hard links that an administrator made below the root are the files they are.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { SftpAttributes, SftpFileInfo } from "../file_info.ts";
import type { SftpBackend, SftpBackendFile } from "../backend.ts";
import { Status } from "../limits.ts";
import { encodeName, isContainedTarget } from "../names.ts";
import type { SftpDirEntry } from "../file_info.ts";
import { infoOf, infoOfStats, RootedFile, spaceFields } from "./file.ts";
import { type Place, RootedTree } from "./tree.ts";

type NodeFs = typeof import("node:fs");

const O_PATH = 0o10000000;
/** Tries of an OPEN whose file is there at one moment and gone at the next. */
const OPEN_TRIES = 8;
/** Entries looked at in one synchronous step. */
const LIST_BATCH = 100;

/** Characters of names that the open listings of a session may hold; one directory alone may have more. */
const MAX_LISTED = 4_194_304;

/** Which part of the file system is served. */
export interface RootedOptions {
  /**
   * The directory that clients see as `/`. On Linux with `--allow-all` nothing that other processes do below it can lead a
   * client out; elsewhere no other process that is not trusted may be able to write below it.
   */
  readonly root: string;
  /** Refuse every change. @default {false} */
  readonly readOnly?: boolean | undefined;
}

/** Opens a root; throws where it is no directory. */
export async function openRootedBackend(
  options: RootedOptions & { readonly strategy?: "named" },
): Promise<SftpBackend & AsyncDisposable> {
  // Without an import statement, which what bundles for a page would have to resolve.
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  const fs = process?.getBuiltinModule?.("node:fs") as NodeFs | undefined;
  if (fs === undefined) throw new TypeError("Cannot serve files of this machine: this runtime has no node:fs");
  return await Promise.resolve(
    new RootedBackend(fs, new RootedTree(fs, options.root, options.strategy), options.readOnly ?? false),
  );
}

function denied(): SftpError {
  return new SftpError("Permission denied", Status.PERMISSION_DENIED);
}
function failure(message: string): SftpError {
  return new SftpError(message, Status.FAILURE);
}

/** Opening a device or a pipe may do something to it, or never come back. */
function irregular(there: { readonly isDirectory: boolean }): SftpError {
  return failure(there.isDirectory ? "Is a directory" : "Not a regular file");
}

function errno(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}

function sameFile(a: { dev: number; ino: number | null }, b: { dev: number; ino: number | null }): boolean {
  return a.dev === b.dev && a.ino === b.ino && a.ino !== null;
}

class RootedBackend implements SftpBackend, AsyncDisposable {
  readonly #fs: NodeFs;
  readonly #tree: RootedTree;
  readonly #readOnly: boolean;
  /** Characters of names that open listings hold, where directories go by names. */
  #listed = 0;

  constructor(fs: NodeFs, tree: RootedTree, readOnly: boolean) {
    this.#fs = fs;
    this.#tree = tree;
    this.#readOnly = readOnly;
  }

  #change(): void {
    if (this.#readOnly) throw denied();
  }

  /** A name that may be made, moved or removed: not the root, nor the end of a path of dots. */
  #named(path: string): Place {
    const place = this.#tree.walk(path, false);
    if (!place.isSelf) return place;
    place[Symbol.dispose]();
    throw denied();
  }

  open(path: string, options: Deno.OpenOptions): SftpBackendFile {
    if (options.write || options.create || options.createNew) this.#change();
    const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_EXCL } = this.#fs.constants;
    // Absent on Windows, whose links the walk has seen to.
    const { O_NOFOLLOW = 0, O_NONBLOCK = 0 } = this.#fs.constants as Partial<Record<string, number>>;
    const access = (options.write ? options.read ? O_RDWR : O_WRONLY : O_RDONLY) | (options.append ? O_APPEND : 0) |
      O_NONBLOCK;
    const creates = options.create || options.createNew;
    for (let tries = 0; tries < OPEN_TRIES; tries++) {
      // A name to be created is new most of the time: it is looked at only when that has failed.
      using place = this.#tree.walk(path, !options.createNew && !(creates && tries === 0));
      if (place.isSelf) throw failure("Is a directory");
      if (creates) {
        try {
          // Deno 2.9 loses O_EXCL for a file that is only read. What a handle is for, the session sees to.
          const flags = (options.write ? access : O_RDWR | O_NONBLOCK) | O_CREAT | O_EXCL | O_NOFOLLOW;
          const fd = this.#fs.openSync(place.path, flags, (options.mode ?? 0o666) & 0o777);
          if (!this.#tree.held) this.#verify(fd, place);
          return this.#file(fd);
        } catch (error) {
          if (errno(error) !== "EEXIST") throw error;
          if (options.createNew) throw failure("File exists");
        }
      }
      const existing = this.#openExisting(place, access | O_NOFOLLOW);
      if (existing === null) continue;
      const { fd, size } = existing;
      try {
        if (options.truncate) this.#fs.ftruncateSync(fd, 0);
      } catch (error) {
        this.#fs.closeSync(fd);
        throw error;
      }
      return this.#file(fd, size);
    }
    throw failure("Failure: the file changes while it is opened");
  }

  #file(fd: number, size = Infinity): RootedFile {
    return new RootedFile(this.#fs, fd, { readOnly: this.#readOnly, held: this.#tree.held, size });
  }

  /** Opens a regular file that is there; null where it is a link or something else by now, and the walk is to be made again. */
  #openExisting(place: Place, flags: number): { fd: number; size: number } | null {
    const before = place.found ?? Deno.lstatSync(place.path);
    if (before.isSymlink) return null;
    if (!before.isFile) throw irregular(before);
    let fd: number;
    try {
      fd = this.#fs.openSync(place.path, flags);
    } catch (error) {
      if (errno(error) === "ELOOP") return null;
      throw error;
    }
    if (!this.#tree.held) {
      this.#verify(fd, place, before);
      return { fd, size: before.size };
    }
    const { isFile, size } = Deno.statSync(`/proc/self/fd/${fd}`);
    if (isFile) return { fd, size };
    this.#fs.closeSync(fd);
    return null;
  }

  /** `named` only: the file that was opened must be the one that the walk finds, before it is handed out. */
  #verify(fd: number, place: Place, before?: Deno.FileInfo): void {
    try {
      const opened = this.#fs.fstatSync(fd);
      using again = this.#tree.walk(place.canonical, false);
      const found = Deno.lstatSync(again.path);
      const same = again.path === place.path && sameFile(opened, found) &&
        (before === undefined || sameFile(opened, before));
      if (!same) throw failure("Failure: the file changes while it is opened");
    } catch (error) {
      this.#fs.closeSync(fd);
      throw error;
    }
  }

  stat(path: string, followLinks: boolean): SftpFileInfo {
    using place = this.#tree.walk(path, followLinks);
    if (place.found === null) throw new SftpError("No such file", Status.NO_SUCH_FILE);
    return this.#infoAt(place.path, place.found ?? Deno.lstatSync(place.path));
  }

  /** Metadata; the size of a link is the length of what READLINK tells, as POSIX wants it. */
  #infoAt(path: string, found: Deno.FileInfo): SftpFileInfo {
    if (!found.isSymlink) return infoOf(found);
    return { ...infoOf(found), size: encodeName(this.#tree.showTarget(this.#fs.readlinkSync(path))).length };
  }

  /** An entry with its metadata, or null for one that is gone, or whose name Deno cannot spell. */
  #look(path: string, name: string): SftpDirEntry | null {
    try {
      const info = this.#infoAt(path, Deno.lstatSync(path));
      return { name, isFile: info.isFile, isDirectory: info.isDirectory, isSymlink: info.isSymlink, info };
    } catch (error) {
      // EINVAL: it was a link a moment ago.
      if (error instanceof Deno.errors.NotFound || errno(error) === "EINVAL") return null;
      throw error;
    }
  }

  readDir(path: string): AsyncIterable<SftpDirEntry> {
    return this.#tree.held ? this.#listHeld(path) : this.#listNamed(path);
  }

  async *#listHeld(path: string): AsyncIterable<SftpDirEntry> {
    let fd: number;
    {
      using place = this.#tree.walk(path, true);
      const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = this.#fs.constants;
      fd = this.#fs.openSync(place.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    }
    try {
      for await (const entry of Deno.readDir(`/proc/self/fd/${fd}/.`)) {
        const found = this.#look(`/proc/self/fd/${fd}/${entry.name}`, entry.name);
        if (found !== null) yield found;
      }
    } finally {
      this.#fs.closeSync(fd);
    }
  }

  async *#listNamed(path: string): AsyncIterable<SftpDirEntry> {
    // All names at once, in one string, which takes a third of the memory.
    let names: string, canonical: string, self: Deno.FileInfo;
    {
      using place = this.#tree.walk(path, true);
      canonical = place.canonical;
      self = Deno.lstatSync(place.path);
      if (!self.isDirectory) throw new SftpError("No such directory", Status.NO_SUCH_FILE);
      names = Array.from(Deno.readDirSync(place.path), (entry) => entry.name).join("/");
    }
    if (this.#listed > 0 && this.#listed + names.length > MAX_LISTED) {
      throw failure("Too many names in the listings that are open");
    }
    const { length } = names;
    this.#listed += length;
    try {
      for (let at = 0; at < length;) {
        const batch: SftpDirEntry[] = [];
        {
          using place = this.#tree.walk(canonical, false);
          if (!sameFile(Deno.lstatSync(place.path), self)) {
            throw new SftpError("No such directory", Status.NO_SUCH_FILE);
          }
          while (at < length && batch.length < LIST_BATCH) {
            const slash = names.indexOf("/", at), end = slash < 0 ? length : slash;
            const name = names.slice(at, end), found = this.#look(`${place.path}/${name}`, name);
            if (found !== null) batch.push(found);
            at = end + 1;
          }
        }
        yield* batch;
      }
    } finally {
      this.#listed -= length;
    }
  }

  setStat(path: string, attrs: SftpAttributes, followLinks: boolean): void {
    this.#change();
    using place = this.#tree.walk(path, followLinks);
    if (!this.#tree.held) {
      this.#setStatAt(place.path, place, Deno.lstatSync(place.path), attrs);
      return;
    }
    const at = this.#fs.openSync(place.path, O_PATH | this.#fs.constants.O_NOFOLLOW);
    try {
      // The link of /proc leads to the very file; for a link itself there is only its name in a directory that is held.
      this.#setStatAt(`/proc/self/fd/${at}`, place, infoOfStats(this.#fs.fstatSync(at)), attrs);
    } finally {
      this.#fs.closeSync(at);
    }
  }

  #setStatAt(
    path: string,
    place: Place,
    there: Pick<SftpFileInfo, "isFile" | "isDirectory" | "isSymlink">,
    attrs: SftpAttributes,
  ): void {
    const { size, mode, uid, gid, atime, mtime } = attrs;
    if (there.isSymlink) {
      if (size !== undefined || mode !== undefined) {
        throw new SftpError("Operation unsupported: a link has neither size nor mode", Status.OP_UNSUPPORTED);
      }
      if (atime !== undefined && mtime !== undefined) this.#fs.lutimesSync(place.path, atime, mtime);
      if (uid !== undefined && gid !== undefined) this.#fs.lchownSync(place.path, uid, gid);
      return;
    }
    if (size !== undefined) {
      const fd = this.#openToCut(path, place, there);
      try {
        this.#fs.ftruncateSync(fd, size);
      } finally {
        this.#fs.closeSync(fd);
      }
    }
    if (mode !== undefined) this.#fs.chmodSync(path, mode);
    if (atime !== undefined && mtime !== undefined) this.#fs.utimesSync(path, atime, mtime);
    if (uid !== undefined && gid !== undefined) this.#fs.chownSync(path, uid, gid);
  }

  /** Opens what was looked at, to change its size; nothing but a regular file, as in `open()`. */
  #openToCut(path: string, place: Place, there: Pick<SftpFileInfo, "isFile" | "isDirectory">): number {
    if (!there.isFile) throw irregular(there);
    const { O_NOFOLLOW = 0, O_NONBLOCK = 0 } = this.#fs.constants as Partial<Record<string, number>>;
    const flags = this.#fs.constants.O_WRONLY | O_NONBLOCK;
    // By its descriptor it is what was looked at; by its name it may be something else by now.
    if (this.#tree.held) return this.#fs.openSync(path, flags);
    const existing = this.#openExisting(place, flags | O_NOFOLLOW);
    if (existing === null) throw failure("Failure: the file changes while it is opened");
    return existing.fd;
  }

  async remove(path: string): Promise<void> {
    this.#change();
    using place = this.#named(path);
    // Deno takes empty directories away too.
    if (Deno.lstatSync(place.path).isDirectory) throw failure("Is a directory");
    // A large file takes a while. Only where the directory is held may something else happen meanwhile.
    if (this.#tree.held) await Deno.remove(place.path);
    else Deno.removeSync(place.path);
  }

  mkdir(path: string, options: { mode?: number }): void {
    this.#change();
    using place = this.#tree.walk(path, false);
    if (place.isSelf) throw failure("File exists");
    Deno.mkdirSync(place.path, { mode: (options.mode ?? 0o777) & 0o777 });
  }

  rmdir(path: string): void {
    this.#change();
    using place = this.#named(path);
    if (!Deno.lstatSync(place.path).isDirectory) throw new SftpError("Not a directory", Status.NO_SUCH_FILE);
    this.#fs.rmdirSync(place.path);
  }

  async rename(oldPath: string, newPath: string, options: { replace: boolean }): Promise<void> {
    this.#change();
    using from = this.#named(oldPath);
    using to = this.#named(newPath);
    const { isFile, isSymlink } = Deno.lstatSync(from.path);
    if (isSymlink) this.#checkTarget(this.#fs.readlinkSync(from.path), to);
    if (options.replace) {
      if (this.#tree.held) await Deno.rename(from.path, to.path);
      else Deno.renameSync(from.path, to.path);
      return;
    }
    // A link that cannot be made over another name is what makes this one step for files.
    if (isFile && this.#linkNew(from, to)) {
      try {
        this.#fs.unlinkSync(from.path);
      } catch (error) {
        this.#fs.unlinkSync(to.path);
        throw error;
      }
      return;
    }
    if (exists(to.path)) throw failure("File exists");
    Deno.renameSync(from.path, to.path);
  }

  /** Links a file under a new name; false where the file system cannot. */
  #linkNew(from: Place, to: Place): boolean {
    try {
      this.#fs.linkSync(from.path, to.path);
      return true;
    } catch (error) {
      const code = errno(error);
      if (code === "EEXIST") throw failure("File exists");
      if (code === "EPERM" || code === "EMLINK" || code === "EOPNOTSUPP" || code === "ENOSYS") return false;
      throw error;
    }
  }

  /**
   * Here a link never leads out; a process of the host that follows it at this place shall not be led out either. That a
   * directory with links in it moves up is not looked at.
   */
  #checkTarget(target: string, place: Place): void {
    if (!isContainedTarget(this.#tree.showTarget(target), place.canonical.split("/").length - 2)) throw denied();
  }

  realPath(path: string): string {
    using place = this.#tree.walk(path, true);
    return place.canonical;
  }

  readLink(path: string): string {
    using place = this.#named(path);
    return this.#tree.showTarget(this.#fs.readlinkSync(place.path));
  }

  symlink(target: string, path: string): void {
    this.#change();
    using place = this.#named(path);
    if (target === "" || !target.isWellFormed()) throw failure("Failure: the target is not possible here");
    this.#checkTarget(this.#tree.storeTarget(target), place);
    this.#fs.symlinkSync(this.#tree.storeTarget(target), place.path);
  }

  link(oldPath: string, newPath: string): void {
    this.#change();
    using from = this.#named(oldPath);
    using to = this.#named(newPath);
    // Only Linux is known to link a symbolic link itself and not what it leads to.
    const { isFile, isSymlink } = Deno.lstatSync(from.path);
    if (!isFile && !(isSymlink && this.#tree.held)) throw denied();
    if (isSymlink) this.#checkTarget(this.#fs.readlinkSync(from.path), to);
    this.#fs.linkSync(from.path, to.path);
  }

  statfs(path: string): Readonly<Record<string, bigint>> {
    using place = this.#tree.walk(path, true);
    const { statfsSync, openSync, closeSync, constants } = this.#fs;
    if (!this.#tree.held) return spaceFields(statfsSync(place.path, { bigint: true }));
    // By its name it would be asked for what a link leads to that has come there since.
    const at = openSync(place.path, O_PATH | constants.O_NOFOLLOW);
    try {
      return spaceFields(statfsSync(`/proc/self/fd/${at}`, { bigint: true }));
    } finally {
      closeSync(at);
    }
  }

  /** The host's users are none of the clients' business: no number has a name. */
  usersGroups(uids: readonly number[], gids: readonly number[]): { users: string[]; groups: string[] } {
    return { users: uids.map(() => ""), groups: gids.map(() => "") };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#tree[Symbol.dispose]();
    return Promise.resolve();
  }
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
