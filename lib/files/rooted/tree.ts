/**
 * Finds the place of a path below a root, and nothing outside of it. May use `node:fs` and `Deno.*`.
 *
 * A path is walked one component at a time, from the root. Symbolic links are read and walked here, never by the kernel: an
 * absolute target starts at the root again, and `..` stops there, as in a chroot.
 *
 * How a directory that was reached is named to the kernel:
 *
 * - `held` (Linux with all of Deno's permissions): each directory is opened with O_PATH and O_NOFOLLOW, and what lies in it is
 *   named `/proc/self/fd/N/name`. This is openat(2): whoever moves directories about or puts links in their place, the
 *   directory that was checked is the one that is used. There is no race, for reading or for changing.
 * - `named` (elsewhere): each component is looked at with lstat, and what lies in it is named by its path. Walking and using
 *   happen in one synchronous step, so no request of this process, in whatever session, can come between. Another process of
 *   the same machine that may write below the root can: for OPEN the file that was opened is compared with the place
 *   afterwards and refused if they differ, which narrows the gap to two well-timed swaps; for requests that only change names,
 *   attributes or listings it stays. Give such a tree to no one else, or run with all permissions on Linux.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import { Status } from "../limits.ts";

type NodeFs = typeof import("node:fs");

/** Links followed on one path, as Linux has it. */
const MAX_LINKS = 40;
/** Components walked for one path, those of links counted: each is a system call of the walk's one step. */
const MAX_STEPS = 1024;
/** The same where directories go by names, whose calls take longer the deeper they are. */
const MAX_NAMED_STEPS = 512;
/** Linux's flag to open a place and not what is there. */
const O_PATH = 0o10000000;

/** A directory below the root, for as long as the walk that found it. */
interface Directory {
  /** What the kernel calls it. */
  readonly at: string;
  /** Its descriptor, where it is held. */
  readonly fd: number | null;
}

/** Where a path leads: a name in a directory. Disposing it lets go of the directory. */
export interface Place extends Disposable {
  /** What the kernel calls it; the name's own link is not followed by this. */
  readonly path: string;
  /** The path below the root, without links on the way: `/` and components. */
  readonly canonical: string;
  /** It is a directory that the path ended in, and not a name in one. */
  readonly isSelf: boolean;
  /** What the name was a moment ago, for a walk that looked: no link, or null for a name that is not there. */
  readonly found?: Deno.FileInfo | null;
}

const PERMISSIONS = ["read", "write", "net", "env", "sys", "run", "ffi"] as const;

function isGranted(name: typeof PERMISSIONS[number]): boolean {
  return Deno.permissions.querySync({ name }).state === "granted";
}

function errno(error: unknown): string | undefined {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : undefined;
}

/** What a path is made of. Without what stands for nothing: nobody is to walk over thousands of dots for each name before them. */
function components(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/** A root directory and the walks below it. */
export class RootedTree implements Disposable {
  readonly #fs: NodeFs;
  readonly #root: string;
  /** The components of the root's path: as the system has it, and as it was given. */
  readonly #prefixes: readonly (readonly string[])[];
  readonly #rootFd: number | null;
  readonly #windows: boolean;

  /** Opens the root, which must be a directory; `strategy` "named" is for tests of what other systems use. */
  constructor(fs: NodeFs, root: string, strategy?: "named") {
    this.#fs = fs;
    this.#root = Deno.realPathSync(root);
    this.#prefixes = [components(this.#root), ...(root.startsWith("/") ? [components(root)] : [])];
    this.#windows = Deno.build.os === "windows";
    if (!Deno.statSync(this.#root).isDirectory) throw new TypeError(`Cannot serve "${root}": it is no directory`);
    this.#rootFd = strategy === "named" ? null : this.#hold();
  }

  /** Opens the root for `held`, or null where that does not work here. */
  #hold(): number | null {
    // Deno keeps /proc for those who may do everything; asking for less would make it ask the user.
    if (Deno.build.os !== "linux" || !PERMISSIONS.every((name) => isGranted(name))) return null;
    const { O_DIRECTORY, O_NOFOLLOW } = this.#fs.constants;
    let fd: number | null = null;
    try {
      fd = this.#fs.openSync(this.#root, O_PATH | O_DIRECTORY | O_NOFOLLOW);
      const through = Deno.lstatSync(`/proc/self/fd/${fd}/.`), direct = this.#fs.fstatSync(fd);
      if (through.ino === direct.ino && through.dev === direct.dev) return fd;
    } catch {
      // Without /proc, or without the permission for it.
    }
    if (fd !== null) this.#fs.closeSync(fd);
    return null;
  }

  /** Whether directories are held while they are used; see the head of this file. */
  get held(): boolean {
    return this.#rootFd !== null;
  }

  #enterRoot(): Directory {
    return this.#rootFd === null
      ? { at: this.#root, fd: null }
      : { at: `/proc/self/fd/${this.#rootFd}`, fd: this.#rootFd };
  }

  #leave(directory: Directory): void {
    if (directory.fd !== null && directory.fd !== this.#rootFd) this.#fs.closeSync(directory.fd);
  }

  /** The directory of that name, or null where the name is a link or no directory. */
  #enter(directory: Directory, name: string): Directory | null {
    const path = `${directory.at}/${name}`;
    if (directory.fd === null) return Deno.lstatSync(path).isDirectory ? { at: path, fd: null } : null;
    const { O_DIRECTORY, O_NOFOLLOW } = this.#fs.constants;
    try {
      const fd = this.#fs.openSync(path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
      return { at: `/proc/self/fd/${fd}`, fd };
    } catch (error) {
      if (errno(error) === "ENOTDIR" || errno(error) === "ELOOP") return null;
      throw error;
    }
  }

  /** What is there of that name, not following a link; null where there is nothing. */
  #look(directory: Directory, name: string): Deno.FileInfo | null {
    try {
      return Deno.lstatSync(`${directory.at}/${name}`);
    } catch (error) {
      if (errno(error) === "ENOENT") return null;
      throw error;
    }
  }

  /** A link's target as clients see it: an absolute one below the root loses the root's own path, however that is written. */
  showTarget(target: string): string {
    if (!target.startsWith("/")) return target;
    const parts = components(target);
    for (const prefix of this.#prefixes) {
      if (prefix.length > 0 && prefix.every((part, i) => part === parts[i])) {
        return "/" + parts.slice(prefix.length).join("/");
      }
    }
    return target;
  }

  /** A link's target as it is stored: an absolute one gets the root's own path, so that the host sees the same file. */
  storeTarget(target: string): string {
    if (!target.startsWith("/")) return target;
    return this.#root === "/" ? target : this.#root + target;
  }

  /** Throws for a component that this file system cannot hold, or would take for something else. */
  #check(name: string): void {
    if (!name.isWellFormed()) {
      throw new SftpError("No such file: this server's file system takes UTF-8 names only", Status.NO_SUCH_FILE);
    }
    if (name.includes("\0") || this.#windows && /[\\:]/.test(name)) {
      throw new SftpError("No such file: the name is not possible here", Status.NO_SUCH_FILE);
    }
  }

  /**
   * Walks a path. With `follow` a link at its end is walked too, down to a name that is no link or is not there. Every
   * directory on the way must exist.
   */
  walk(path: string, follow: boolean): Place {
    const stack = [this.#enterRoot()], names: string[] = [];
    const todo = components(path).reverse();
    let links = 0, steps = 0;
    const release = (): void => {
      for (const directory of stack.splice(0)) this.#leave(directory);
    };
    const place = (name: string | null, found?: Deno.FileInfo | null): Place => ({
      path: `${stack.at(-1)!.at}/${name ?? "."}`,
      canonical: "/" + (name === null ? names : [...names, name]).join("/"),
      isSelf: name === null,
      ...(found === undefined ? {} : { found }),
      [Symbol.dispose]: release,
    });
    try {
      while (todo.length > 0) {
        const part = todo.pop()!, top = stack.at(-1)!;
        if (++steps > (this.held ? MAX_STEPS : MAX_NAMED_STEPS)) {
          throw new SftpError("No such file: too many components", Status.NO_SUCH_FILE);
        }
        if (part === "..") {
          if (stack.length > 1) {
            this.#leave(stack.pop()!);
            names.pop();
          }
          continue;
        }
        this.#check(part);
        const last = todo.length === 0;
        if (last && !follow) return place(part);
        const inner = last ? null : this.#enter(top, part);
        if (inner !== null) {
          stack.push(inner);
          names.push(part);
          continue;
        }
        const found = this.#look(top, part);
        if (!found?.isSymlink) {
          if (last) return place(part, found);
          throw new SftpError("No such file", Status.NO_SUCH_FILE);
        }
        const target = this.#fs.readlinkSync(`${top.at}/${part}`);
        if (++links > MAX_LINKS) throw new SftpError("No such file: too many links", Status.NO_SUCH_FILE);
        const shown = this.showTarget(target);
        todo.push(...components(shown).reverse());
        // On Windows a target with a drive or a backslash does not pass `#check()` as a component.
        if (shown.startsWith("/")) {
          for (const directory of stack.splice(1)) this.#leave(directory);
          names.length = 0;
        }
      }
      return place(null);
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Lets go of the root. */
  [Symbol.dispose](): void {
    if (this.#rootFd !== null) this.#fs.closeSync(this.#rootFd);
  }
}
