/**
 * A file system in memory: a server's backend, and for the program itself a view to read and set what is in it. No I/O.
 *
 * Each call does what it does at once, so that no other comes in between, and keeps what POSIX says of names and open files: a
 * file that is renamed or removed while it is open stays what its handles read and write.
 *
 * @module
 */
import { printable, SftpError } from "../../errors.ts";
import { checkInteger, checkNames, checkObject, checkText, wrongKind } from "../../wire/check.ts";
import type { Bytes } from "../../wire/types.ts";
import type { SftpBackend, SftpBackendFile } from "../backend.ts";
import type { SftpAttributes, SftpDirEntry, SftpFileInfo } from "../file_info.ts";
import { MAX_PATH } from "../limits.ts";
import { decodeName, encodeName, isEncodable, joinPath, quoted } from "../names.ts";
import { Space } from "./content.ts";
import {
  Bit,
  check,
  type DirectoryNode,
  type FileNode,
  infoOf,
  MAX_NAME,
  newDirectory,
  newFile,
  newLink,
  type Node,
  type Place,
  refused,
  sizeOf,
  UMASK,
  walk,
} from "./tree.ts";

const DEFAULT_MAX_BYTES = 268_435_456;
const DEFAULT_MAX_FILES = 65_536;

/** Options of {@linkcode memoryFiles}. */
export interface MemoryFilesOptions {
  /** Bytes that all files may have together, holes and removed files that are still open included. @default {268435456} */
  maxBytes?: number | undefined;
  /** Files, directories and links that there may be, a file of two names counted twice. @default {65536} */
  maxFiles?: number | undefined;
}

/** What a file holds: text, which becomes UTF-8, or bytes, which are copied. */
export type MemoryContent = string | Uint8Array;

const CONTENT = "a text or a Uint8Array";

function isContent(data: unknown): data is MemoryContent {
  return typeof data === "string" || data instanceof Uint8Array;
}

/**
 * A file system in memory, as {@linkcode memoryFiles} makes it: an {@linkcode SftpBackend}, whose methods can be called by the
 * program as well, and `read()`, `text()`, `write()` and `list()`, which ask for no permission bits.
 */
export class MemoryFiles implements SftpBackend {
  readonly #root: DirectoryNode = newDirectory(null, 0o755);
  readonly #space: Space;

  /** {@linkcode memoryFiles} says what it takes. */
  constructor(initial: Readonly<Record<string, MemoryContent | null>>, options: MemoryFilesOptions) {
    checkObject("initial", initial, 'an object of paths and what the files hold, such as `{ "/etc/motd": "hello" }`');
    checkObject("options", options, "an object such as `{ maxBytes: 1_000_000 }`");
    checkNames("memoryFiles()", options, ["maxBytes", "maxFiles"]);
    const { maxBytes = DEFAULT_MAX_BYTES, maxFiles = DEFAULT_MAX_FILES } = options;
    const bounds = { min: 1, max: Number.MAX_SAFE_INTEGER };
    for (const [name, value] of Object.entries({ maxBytes, maxFiles })) {
      if (value === Infinity) throw new RangeError(`Cannot use Infinity as \`${name}\`: memory is not endless`);
      checkInteger(name, value, bounds);
    }
    this.#space = new Space(maxBytes, maxFiles);
    for (const [path, data] of Object.entries(initial)) {
      if (data === null) this.#told("make", path, () => this.#makeParents(`${path}/`));
      else if (isContent(data)) this.write(path, data);
      else throw wrongKind(`initial["${printable(path, 64)}"]`, data, `${CONTENT}, or null for a directory`);
    }
  }

  // ------------------------------------------------------------------------------------------- for the program itself

  /** What a file holds. Throws `SftpError` where there is none. */
  read(path: string): Bytes {
    return this.#told("read", path, () => {
      const node = this.#fileAt(path), bytes = new Uint8Array(node.content.size);
      node.content.read(bytes, 0);
      return bytes;
    });
  }

  /** What a file holds, as text. Throws `SftpError` where there is none. */
  text(path: string): string {
    return decodeName(this.read(path));
  }

  /**
   * Writes a file whole, in the place of what it held. It and its directories are made where they are not there. Throws
   * `SftpError` where there is a directory of this name, and where there is no room.
   */
  write(path: string, data: MemoryContent): void {
    if (!isContent(data)) throw wrongKind("data", data, CONTENT);
    const bytes = typeof data === "string" ? encodeName(data) : data;
    this.#told("write", path, () => {
      this.#makeParents(path);
      const place = this.#walk(path, true, false);
      if (place.node?.kind === "directory") throw refused.EISDIR();
      const node = place.node as FileNode | null ?? this.#addFile(place, 0o644), { size } = node.content;
      // Whether there is room for it is known before anything is lost.
      if (bytes.length > size) node.content.truncate(bytes.length);
      node.content.truncate(0);
      node.content.write(bytes, 0);
      node.mtime = Date.now();
    });
  }

  /**
   * The paths of everything below a directory, sorted; those of directories end with `/`. Throws `SftpError` where there is no
   * such directory.
   */
  list(path: string = "/"): string[] {
    return this.#told("list", path, () => {
      const top = this.#walk(path, true, false), paths: string[] = [];
      const todo = [{ path: top.path, node: this.#directory(top) }];
      for (let one = todo.pop(); one !== undefined; one = todo.pop()) {
        for (const [name, node] of one.node.entries) {
          const path = joinPath(one.path, name);
          paths.push(node.kind === "directory" ? `${path}/` : path);
          // What is deeper no path leads to.
          if (node.kind === "directory" && path.length < MAX_PATH) todo.push({ path, node });
        }
      }
      return paths.sort();
    });
  }

  /** Makes a directory with all those above it, where they are not there. */
  #makeParents(path: string): void {
    for (let at = path.indexOf("/", 1); at > 0; at = path.indexOf("/", at + 1)) {
      const place = this.#walk(path.slice(0, at), true, false);
      if (place.node === null) this.#add(place, newDirectory(place.parent, 0o755));
    }
  }

  /** Errors that a program sees name the path. */
  #told<T>(what: string, path: string, act: () => T): T {
    checkText("path", path, "the path of a file");
    try {
      return act();
    } catch (error) {
      if (!(error instanceof SftpError)) throw error;
      throw new SftpError(`Cannot ${what} ${quoted(path)}: ${error.message}`, error.status, path, { cause: error });
    }
  }

  // ---------------------------------------------------------------------------------------------------- as a backend

  /** Opens a file; `options` are those of `Deno.open`. */
  open(path: string, options: Deno.OpenOptions = { read: true }): SftpBackendFile {
    const { read, write, truncate, create, createNew, mode = 0o666 } = options;
    const place = this.#walk(path, !createNew);
    let { node } = place;
    if (node === null) {
      if (!create && !createNew) throw refused.ENOENT();
      if (place.isDirectory) throw refused.EISDIR();
      check(place.parent, Bit.WRITE);
      // Whoever makes a file may write it, whatever its bits say of later.
      node = this.#addFile(place, mode & 0o777 & ~UMASK);
    } else {
      if (createNew) throw refused.EEXIST();
      if (node.kind !== "file") throw refused.EISDIR();
      check(node, (read ? Bit.READ : 0) | (write ? Bit.WRITE : 0));
      if (truncate && write) cut(node, 0);
    }
    return this.#handle(node as FileNode);
  }

  #handle(node: FileNode): SftpBackendFile {
    node.handles++;
    let isOpen = true;
    return {
      readAt: (p, offset) => node.content.read(p, checked(offset)),
      writeAt: (p, offset) => {
        checked(offset);
        node.content.write(p, offset);
        node.mtime = Date.now();
      },
      stat: () => infoOf(node),
      setStat: (attrs) => this.#change(node, attrs),
      sync: () => {},
      statfs: () => this.#spaceFields(),
      [Symbol.asyncDispose]: () => {
        if (isOpen) {
          node.handles--;
          this.#letGo(node);
        }
        isOpen = false;
        return Promise.resolve();
      },
    };
  }

  /** Lists a directory, in the order in which its names came to be. */
  async *readDir(path: string): AsyncGenerator<SftpDirEntry> {
    const node = this.#directory(this.#walk(path, true));
    check(node, Bit.READ);
    let left = node.entries.size;
    for (const [name, one] of node.entries) {
      // What gets a name meanwhile stands behind all others: whoever renames what he is told of would be told of it again, without end.
      if (left-- === 0) return;
      const info = infoOf(one), { isFile, isDirectory, isSymlink } = info;
      yield { name, isFile, isDirectory, isSymlink, info };
    }
  }

  /** Metadata; with `followLinks` of what a link leads to. */
  stat(path: string, followLinks: boolean = true): SftpFileInfo {
    return infoOf(found(this.#walk(path, followLinks || path.endsWith("/"))));
  }

  /** Changes the attributes that are there. */
  setStat(path: string, attrs: SftpAttributes, followLinks: boolean = true): void {
    const node = found(this.#walk(path, followLinks || path.endsWith("/")));
    if (attrs.size !== undefined && node.kind === "file") check(node, Bit.WRITE);
    this.#change(node, attrs);
  }

  /** Bits beyond the nine are left out. */
  #change(node: Node, { size, mode, uid, gid, atime, mtime }: SftpAttributes): void {
    if (node.kind === "link" && (size !== undefined || mode !== undefined)) throw refused.ENOTSUP();
    if (size !== undefined) {
      if (node.kind !== "file") throw refused.EISDIR();
      if (!Number.isSafeInteger(size) || size < 0) throw refused.EINVAL();
      cut(node, size);
    }
    if (mode !== undefined) node.mode = mode & 0o777;
    if (atime !== undefined) node.atime = atime * 1000;
    if (mtime !== undefined) node.mtime = mtime * 1000;
    if (uid !== undefined) node.uid = uid;
    if (gid !== undefined) node.gid = gid;
  }

  /** Removes a file or link, never a directory. */
  remove(path: string): void {
    const place = this.#walk(path, false), node = found(place);
    if (place.name === null) throw refused.EISDIR();
    check(place.parent, Bit.WRITE);
    if (node.kind === "directory") throw refused.EISDIR();
    this.#drop(place.parent, place.name);
  }

  /** Makes a directory; its bits are those of `mode` without 022. */
  mkdir(path: string, options: { mode?: number } = {}): void {
    const place = this.#walk(path, false);
    if (place.node !== null) throw refused.EEXIST();
    check(place.parent, Bit.WRITE);
    this.#add(place, newDirectory(place.parent, (options.mode ?? 0o777) & 0o777 & ~UMASK));
  }

  /** Removes an empty directory. */
  rmdir(path: string): void {
    const place = this.#walk(path, false), node = found(place);
    if (place.name === null) throw refused.EBUSY();
    check(place.parent, Bit.WRITE);
    if (node.kind !== "directory") throw refused.ENOTDIR();
    if (node.entries.size > 0) throw refused.ENOTEMPTY();
    this.#drop(place.parent, place.name);
  }

  /** Renames; without `replace` whatever has the new name is an error. */
  rename(oldPath: string, newPath: string, options: { replace: boolean } = { replace: false }): void {
    const from = this.#walk(oldPath, false), to = this.#walk(newPath, false), node = found(from);
    if (from.name === null || to.name === null) throw refused.EBUSY();
    if (!options.replace && to.node !== null) throw refused.EEXIST();
    if (node.kind === "directory" && isWithin(to.parent, node)) throw refused.EINVAL();
    if (node.kind !== "directory" && to.isDirectory) throw refused.ENOTDIR();
    // Two names of one file stay two names.
    if (node === to.node) return;
    check(from.parent, Bit.WRITE);
    check(to.parent, Bit.WRITE);
    if (to.node !== null) {
      if (node.kind === "directory" && to.node.kind !== "directory") throw refused.ENOTDIR();
      if (node.kind !== "directory" && to.node.kind === "directory") throw refused.EISDIR();
      if (to.node.kind === "directory" && to.node.entries.size > 0) throw refused.ENOTEMPTY();
      this.#drop(to.parent, to.name);
    }
    from.parent.entries.delete(from.name);
    to.parent.entries.set(to.name, node);
    if (node.kind === "directory") node.parent = to.parent;
    touch(from.parent);
    touch(to.parent);
  }

  /** The path without links, whose last component need not exist. */
  realPath(path: string): string {
    return this.#walk(path, true).path;
  }

  /** Where a link leads. */
  readLink(path: string): string {
    const node = found(this.#walk(path, false));
    if (node.kind !== "link") throw refused.EINVAL();
    return node.target;
  }

  /** Makes a symbolic link at `path`. An absolute target counts from the root of this file system. */
  symlink(target: string, path: string): void {
    const place = this.#walk(path, false);
    if (target === "") throw refused.ENOENT();
    if (target.includes("\0") || !isEncodable(target)) throw refused.EINVAL();
    if (target.length > MAX_PATH || encodeName(target).length > MAX_PATH) throw refused.ENAMETOOLONG();
    if (place.node !== null) throw refused.EEXIST();
    check(place.parent, Bit.WRITE);
    const node = newLink(target);
    this.#space.takeBytes(sizeOf(node));
    try {
      this.#add(place, node);
    } catch (error) {
      this.#space.bytes -= sizeOf(node);
      throw error;
    }
  }

  /** Makes a hard link: another name of a file, or of a symbolic link. */
  link(oldPath: string, newPath: string): void {
    const node = found(this.#walk(oldPath, false)), to = this.#walk(newPath, false);
    if (to.node !== null) throw refused.EEXIST();
    if (node.kind === "directory") throw refused.EPERM();
    check(to.parent, Bit.WRITE);
    this.#add(to, node);
  }

  /** Space, in blocks of one byte; the path has to exist. */
  statfs(path: string = "/"): Readonly<Record<string, bigint>> {
    found(this.#walk(path, true));
    return this.#spaceFields();
  }

  #spaceFields(): Readonly<Record<string, bigint>> {
    const { maxBytes, maxFiles, bytes, files } = this.#space;
    const free = BigInt(maxBytes - bytes), names = BigInt(maxFiles - files);
    return {
      f_bsize: 4096n,
      f_frsize: 1n,
      f_blocks: BigInt(maxBytes),
      f_bfree: free,
      f_bavail: free,
      f_files: BigInt(maxFiles),
      f_ffree: names,
      f_favail: names,
      f_namemax: BigInt(MAX_NAME),
    };
  }

  // --------------------------------------------------------------------------------------------------------- the tree

  #walk(path: string, follow: boolean, checked = true): Place {
    return walk(this.#root, path, follow, checked);
  }

  #directory(place: Place): DirectoryNode {
    const node = found(place);
    if (node.kind !== "directory") throw refused.ENOTDIR();
    return node;
  }

  #fileAt(path: string): FileNode {
    const node = found(this.#walk(path, true, false));
    if (node.kind !== "file") throw refused.EISDIR();
    return node;
  }

  #addFile(place: Place, mode: number): FileNode {
    const node = newFile(this.#space, mode);
    this.#add(place, node);
    return node;
  }

  /** Puts something where nothing is. */
  #add(place: Place, node: Node): void {
    if (place.isDirectory && node.kind !== "directory") throw refused.ENOENT();
    this.#space.takeFile();
    if (node.kind !== "directory") node.names++;
    place.parent.entries.set(place.name!, node);
    touch(place.parent);
  }

  /** Takes a name away; what it was the last one of goes with it. */
  #drop(parent: DirectoryNode, name: string): void {
    const node = parent.entries.get(name)!;
    parent.entries.delete(name);
    touch(parent);
    if (node.kind === "directory") this.#space.files--;
    else if (--node.names > 0) this.#space.files--;
    else this.#letGo(node);
  }

  /** Gives back the room of what has no name and no handle any more. Until then a removed file counts as one. */
  #letGo(node: Exclude<Node, DirectoryNode>): void {
    if (node.names > 0 || node.kind === "file" && node.handles > 0) return;
    this.#space.files--;
    if (node.kind === "file") node.content.truncate(0);
    else this.#space.bytes -= sizeOf(node);
  }
}

function found({ node }: Place): Node {
  if (node === null) throw refused.ENOENT();
  return node;
}

/** An offset, unless it is none: not to be reached by a client, and to the program that calls it a mistake. */
function checked(offset: number): number {
  if (!Number.isInteger(offset) || offset < 0) throw refused.EINVAL();
  return offset;
}

function touch(node: Node): void {
  node.mtime = Date.now();
}

function cut(node: FileNode, size: number): void {
  node.content.truncate(size);
  touch(node);
}

/** Whether a directory is `top` or below it. */
function isWithin(node: DirectoryNode, top: DirectoryNode): boolean {
  for (let at = node;; at = at.parent) {
    if (at === top) return true;
    if (at === at.parent) return false;
  }
}

/**
 * A file system in memory, for tests and for servers that keep nothing: `sftpSubsystem(memoryFiles({ "/etc/motd": "hello" }))`, and in the same
 * way `scpHandler()`. It is also an example of an {@linkcode SftpBackend}.
 *
 * `initial` has what files hold by their paths; null stands for an empty directory, and the directories above are made. All users see the same
 * files. They behave as those of a disk: open files stay what they are when they are renamed or removed, links are followed within this file
 * system and nowhere else, and permission bits hold as for a user who owns everything and is not root: what is to be refused gets
 * `files.setStat(path, { mode: 0 })`. New files have the bits that are asked for without 022; owners and times are kept as they are set. Nothing
 * grows beyond `maxBytes` and `maxFiles`: what does not fit is refused as by a full disk.
 *
 * Throws `TypeError` and `RangeError` for options that make no sense, and `SftpError` for initial files that do not fit.
 *
 * @example A server's files in a test
 * ```ts
 * import { memoryFiles, sftpSubsystem, testPair } from "@amiko/ssh";
 *
 * const files = memoryFiles({ "/etc/motd": "hello" }, { maxBytes: 1_000_000 });
 * await using pair = await testPair({ subsystems: { sftp: sftpSubsystem(files) } });
 * await using sftp = await pair.client.sftp();
 * await sftp.rename("/etc/motd", "/motd");
 * console.log(files.list(), files.text("/motd")); // [ "/etc/", "/motd" ] hello
 * ```
 */
export function memoryFiles(
  initial: Readonly<Record<string, MemoryContent | null>> = {},
  options: MemoryFilesOptions = {},
): MemoryFiles {
  return new MemoryFiles(initial, options);
}
