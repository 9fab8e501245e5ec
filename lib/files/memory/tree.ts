/**
 * The tree of a file system in memory: what stands under which name, and how a path leads there. No I/O.
 *
 * Nothing outside of it can be named: `..` ends at its root, and the target of a link is a path of this tree, whatever it says.
 * Permission bits count as for a user who owns every file and is not root: those of the owner say what may be done.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import { FileType, MAX_PATH, Status } from "../limits.ts";
import { namesDirectory } from "../canonical.ts";
import { encodeName, isEncodable } from "../names.ts";
import type { SftpFileInfo } from "../file_info.ts";
import type { Bytes } from "../../wire/types.ts";
import { Content, type Space } from "./content.ts";

/** Bytes of a name at most, as everywhere on Linux. */
export const MAX_NAME = 255;
/** Links that one path may lead through, as on Linux. */
const MAX_LINKS = 40;
/** Components walked for one path, those of links counted; without links none has as many. */
const MAX_WALKED = 4096;
/** Who owns what is new. */
const OWNER = 1000;
/** What a file, a directory and a link that others may not change look like: a umask of 022. */
export const UMASK = 0o022;

/** Permissions of the owner. */
export const Bit = { READ: 0o400, WRITE: 0o200, SEARCH: 0o100 } as const;

/** What all things in the tree have. */
export interface Meta {
  /** Permission bits. */
  mode: number;
  /** Owner. */
  uid: number;
  /** Group. */
  gid: number;
  /** Last access, as far as anybody has set it: reading does not change it. Milliseconds since 1970. */
  atime: number;
  /** Last change. Milliseconds since 1970. */
  mtime: number;
}

/** A file; it is there as long as it has a name, or somebody has it open. */
export interface FileNode extends Meta {
  /** Tells it from the others. */
  readonly kind: "file";
  /** Its bytes. */
  readonly content: Content;
  /** Names that it has. */
  names: number;
  /** Handles that it has. */
  handles: number;
}

/** A directory. */
export interface DirectoryNode extends Meta {
  /** Tells it from the others. */
  readonly kind: "directory";
  /** What is in it. */
  readonly entries: Map<string, Node>;
  /** Where it is; the root is in itself. */
  parent: DirectoryNode;
}

/** A symbolic link. */
export interface LinkNode extends Meta {
  /** Tells it from the others. */
  readonly kind: "link";
  /** Where it leads, as it was given. */
  readonly target: string;
  /** Names that it has. */
  names: number;
}

/** Anything in the tree. */
export type Node = FileNode | DirectoryNode | LinkNode;

/** Where a path has led. */
export interface Place {
  /** The directory of the name; for the root, itself. */
  readonly parent: DirectoryNode;
  /** The last component; null for the root, and for a directory that was reached by `..`. */
  readonly name: string | null;
  /** What is there, or null. */
  readonly node: Node | null;
  /** The path, without links as far as it was followed. */
  readonly path: string;
  /** Whether it ends with a slash or a dot: only a directory may be there. */
  readonly isDirectory: boolean;
}

/** The errors of a file system, by what POSIX calls them. */
export const refused = {
  ENOENT: () => new SftpError("No such file", Status.NO_SUCH_FILE),
  ENOTDIR: () => new SftpError("Not a directory", Status.NO_SUCH_FILE),
  ELOOP: () => new SftpError("Too many levels of symbolic links", Status.NO_SUCH_FILE),
  EACCES: () => new SftpError("Permission denied", Status.PERMISSION_DENIED),
  EPERM: () => new SftpError("Operation not permitted", Status.PERMISSION_DENIED),
  EEXIST: () => new SftpError("File exists", Status.FAILURE),
  EISDIR: () => new SftpError("Is a directory", Status.FAILURE),
  ENOTEMPTY: () => new SftpError("Directory not empty", Status.FAILURE),
  EBUSY: () => new SftpError("Device or resource busy", Status.FAILURE),
  EINVAL: () => new SftpError("Invalid argument", Status.BAD_MESSAGE),
  ENAMETOOLONG: () => new SftpError("File name too long", Status.BAD_MESSAGE),
  ENOTSUP: () => new SftpError("Operation not supported", Status.OP_UNSUPPORTED),
} as const;

function meta(mode: number): Meta {
  const now = Date.now();
  return { mode, uid: OWNER, gid: OWNER, atime: now, mtime: now };
}

/** Makes a directory that stands nowhere yet. */
export function newDirectory(parent: DirectoryNode | null, mode: number): DirectoryNode {
  const node = { ...meta(mode), kind: "directory", entries: new Map() } as unknown as DirectoryNode;
  node.parent = parent ?? node;
  return node;
}

/** Makes an empty file that has no name yet. */
export function newFile(space: Space, mode: number): FileNode {
  return { ...meta(mode), kind: "file", content: new Content(space), names: 0, handles: 0 };
}

/** Makes a link that has no name yet. */
export function newLink(target: string): LinkNode {
  return { ...meta(0o777), kind: "link", target, names: 0 };
}

/** Throws where the owner may not do that. */
export function check(node: Meta, bits: number): void {
  if ((node.mode & bits) !== bits) throw refused.EACCES();
}

const none: ReadonlyMap<string, Bytes> = new Map();
const types = { file: FileType.REGULAR, directory: FileType.DIRECTORY, link: FileType.SYMLINK } as const;

/** Bytes of what is there: those of a link are its target's. */
export function sizeOf(node: Node): number {
  return node.kind === "file" ? node.content.size : node.kind === "link" ? encodeName(node.target).length : 0;
}

/** Metadata. */
export function infoOf(node: Node): SftpFileInfo {
  const { kind, mode, uid, gid, atime, mtime } = node;
  return {
    isFile: kind === "file",
    isDirectory: kind === "directory",
    isSymlink: kind === "link",
    size: sizeOf(node),
    mtime: new Date(mtime),
    atime: new Date(atime),
    mode: types[kind] | mode,
    uid,
    gid,
    extended: none,
  };
}

/** Throws for a name that this file system cannot have. */
function checkName(name: string): void {
  if (name.includes("\0") || !isEncodable(name)) throw refused.EINVAL();
  // No UTF-16 unit takes more than three bytes.
  if (name.length > MAX_NAME / 3 && encodeName(name).length > MAX_NAME) throw refused.ENAMETOOLONG();
}

/** What a path is made of. Without what stands for nothing: nobody is to walk over thousands of dots for each name before them. */
function components(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/**
 * Walks a path. With `follow` a link at its end is walked too, down to a name that is no link or is not there. Every directory
 * on the way must exist, and with `checked` let its owner in; what ends with a slash is nothing else than a directory.
 */
export function walk(root: DirectoryNode, path: string, follow: boolean, checked: boolean): Place {
  if (path.length > MAX_PATH) throw refused.ENAMETOOLONG();
  const todo = components(path).reverse(), names: string[] = [];
  let at = root, links = 0, steps = 0, isDirectory = namesDirectory(path);
  while (todo.length > 0) {
    const part = todo.pop()!, isLast = todo.length === 0;
    if (++steps > MAX_WALKED) throw refused.ELOOP();
    if (part === "..") {
      at = at.parent;
      names.pop();
      continue;
    }
    if (checked) check(at, Bit.SEARCH);
    checkName(part);
    const node = at.entries.get(part) ?? null;
    if (node?.kind === "link" && (follow || !isLast)) {
      if (++links > MAX_LINKS) throw refused.ELOOP();
      if (node.target.startsWith("/")) {
        at = root;
        names.length = 0;
      }
      if (isLast) isDirectory ||= namesDirectory(node.target);
      todo.push(...components(node.target).reverse());
      continue;
    }
    if (isLast) {
      if (isDirectory && node !== null && node.kind !== "directory") throw refused.ENOTDIR();
      return { parent: at, name: part, node, path: `/${[...names, part].join("/")}`, isDirectory };
    }
    if (node === null) throw refused.ENOENT();
    if (node.kind !== "directory") throw refused.ENOTDIR();
    at = node;
    names.push(part);
  }
  return { parent: at.parent, name: null, node: at, path: `/${names.join("/")}`, isDirectory: true };
}
