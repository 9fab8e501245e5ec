/**
 * The requests of a session that need no other: each a method, by the names of `Deno.*`'s file functions.
 * draft-ietf-secsh-filexfer-02 section 6, OpenSSH PROTOCOL section 4. No I/O of its own.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { WaitOptions } from "../../wire/deadline.ts";
import { fileInfo } from "../wire/attrs.ts";
import type { SftpAttributes, SftpFileInfo } from "../../files/file_info.ts";
import { Extension, OpenFlag } from "../wire/constants.ts";
import { Status } from "../../files/limits.ts";
import { checkAttributes, checkCall, checkIds, checkMode, checkPaths, checkTimes } from "../../files/check_calls.ts";
import type { SftpDirEntry } from "../../files/file_info.ts";
import { checkOffset, openedFile, openFlags, secondsOf, type SftpFile } from "./file.ts";
import { expandGlob } from "../../files/glob.ts";
import { listDirectory } from "./listing.ts";
import { makeDirectory } from "./make_directory.ts";
import {
  ExpandPath,
  Hardlink,
  HomeDirectory,
  Lsetstat,
  Lstat,
  Open,
  PosixRename,
  Readlink,
  Rename,
  Setstat,
  Stat,
  Statvfs,
  StatvfsReply,
  Symlink,
  UsersGroupsById,
  UsersGroupsReply,
} from "../wire/messages.ts";
import { joinPath, quoted } from "../../files/names.ts";
import { remoteTree } from "./remote_tree.ts";
import type { SftpSession } from "./session.ts";
import { type SftpFileSystemInfo, spaceOf } from "./space.ts";
import { asked, within } from "./asked.ts";
import { type Purpose, reworded, unsupportedError } from "./errors.ts";

/** What an SFTP server offers. */
export interface SftpServerInfo {
  /** Protocol version in use: 3. */
  readonly version: number;
  /** Extensions by name, with the data the server sent along. */
  readonly extensions: ReadonlyMap<string, string>;
  /** The reply to limits@openssh.com by the names of its fields in camel case, or nothing. 0 means unlimited. */
  readonly limits: Readonly<Record<string, number>>;
}

/** What a request about two paths throws names both. */
async function namingBoth(oldPath: string, newPath: string, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof SftpError) || error.path === null) throw error;
    throw reworded(error, error.message.replace(quoted(error.path), () => `${quoted(oldPath)} to ${quoted(newPath)}`));
  }
}

/** Some servers would make a file of the name before the slash, where the caller takes it for a directory. */
export function checkFilePath(action: string, path: string): void {
  if (!/\/\.{0,2}$/.test(path)) return;
  throw new SftpError(
    `Cannot ${action} ${quoted(path)}: a path that ends in a slash is a directory's; add the name of the file`,
    Status.FAILURE,
    path,
  );
}

/**
 * The files at the far end, request by request; `SftpClient` adds what takes many. The server may still do what a wait was given up for.
 */
export class RemoteFiles {
  readonly #session: SftpSession;
  readonly #linkFirst: boolean;
  /** What the server offers: version, extensions and limits. */
  readonly server: SftpServerInfo;

  /** With `linkFirst` the fields of SYMLINK are in the draft's order. */
  constructor(session: SftpSession, linkFirst: boolean) {
    this.#session = session;
    this.#linkFirst = linkFirst;
    this.server = { version: 3, extensions: session.extensions, limits: session.limits };
  }

  #offers(extension: string): boolean {
    return this.#session.extensions.has(extension);
  }

  /** Opens a file; reading is the default, as in `Deno.open`. */
  async open(path: string, options: Deno.OpenOptions & WaitOptions = {}): Promise<SftpFile> {
    checkPaths({ path });
    checkCall("open", options);
    const flags = openFlags(options);
    if (flags & OpenFlag.CREAT) checkFilePath("open", path);
    const attrs = options.mode === undefined || !(flags & OpenFlag.CREAT) ? {} : { mode: options.mode & 0o7777 };
    const request = { path, flags, attrs };
    const handle = await within(
      options,
      () => `${quoted(path)} to be opened`,
      (signal) => this.#session.handle(Open, request, { action: "open", path, signal }),
    );
    return openedFile(this.#session, handle, path, flags);
  }

  /** Lists a directory, without `.` and `..`. A listing left early is closed. `timeout` is the time of each answer that it takes. */
  async *readDir(path: string, options: WaitOptions = {}): AsyncIterable<SftpDirEntry> {
    checkPaths({ path });
    for await (const entries of listDirectory(this.#session, path, options)) {
      for (const { name, info } of entries) {
        if (name === "" || /[/\0]/.test(name)) {
          throw new SftpError(
            `Cannot list ${quoted(path)}: the server names ${quoted(name)} in it`,
            Status.BAD_MESSAGE,
            path,
          );
        }
        yield { name, isFile: info.isFile, isDirectory: info.isDirectory, isSymlink: info.isSymlink, info };
      }
    }
  }

  /** Metadata; follows links. */
  async stat(path: string, options: WaitOptions = {}): Promise<SftpFileInfo> {
    checkPaths({ path });
    return fileInfo(await asked("stat", path, options, (purpose) => this.#session.attrs(Stat, { path }, purpose)));
  }

  /** Metadata; does not follow links. */
  async lstat(path: string, options: WaitOptions = {}): Promise<SftpFileInfo> {
    checkPaths({ path });
    return fileInfo(await asked("lstat", path, options, (purpose) => this.#session.attrs(Lstat, { path }, purpose)));
  }

  /** Makes a directory; with `recursive` its parents too, and it may exist already. */
  async mkdir(
    path: string,
    options: WaitOptions & { mode?: number | undefined; recursive?: boolean | undefined } = {},
  ): Promise<void> {
    checkPaths({ path });
    await asked(
      "make directory",
      path,
      options,
      ({ signal }) => makeDirectory(this.#session, path, options, signal),
      "makeDirectory",
    );
  }

  /**
   * Renames. Where the server has posix-rename@openssh.com, a file of the new name is replaced in one step; elsewhere it is an
   * error.
   */
  async rename(oldPath: string, newPath: string, options: WaitOptions = {}): Promise<void> {
    checkPaths({ oldPath, newPath });
    const message = this.#offers(Extension.posixRename) ? PosixRename : Rename;
    const ask = (purpose: Purpose): Promise<void> => this.#session.status(message, { oldPath, newPath }, purpose);
    // Within the wait, whose end may be told by an error of another request.
    await asked("rename", oldPath, options, (purpose) => namingBoth(oldPath, newPath, ask(purpose)));
  }

  /** Resolves a path to an absolute one; a leading `~` too, where the server has expand-path@openssh.com. */
  async realPath(path: string, options: WaitOptions = {}): Promise<string> {
    checkPaths({ path });
    return await asked("resolve", path, options, ({ signal }) => this.#resolve(path, signal));
  }

  #resolve(path: string, signal: AbortSignal | undefined): Promise<string> {
    if (!path.startsWith("~") || !this.#offers(Extension.expandPath)) return this.#session.realPath(path, signal);
    return this.#session.name(ExpandPath, { path }, { action: "resolve", path, signal });
  }

  /** Expands a leading `~` or `~user` (expand-path@openssh.com); elsewhere `~` and `~/…` by resolving `.` */
  async expandPath(path: string, options: WaitOptions = {}): Promise<string> {
    checkPaths({ path });
    return await asked("resolve", path, options, async ({ signal }) => {
      if (this.#offers(Extension.expandPath) || !/^~(\/|$)/.test(path)) return await this.#resolve(path, signal);
      return await this.#resolve(joinPath(await this.#resolve(".", signal), path.slice(2)), signal);
    });
  }

  /** The home directory of a user, or of the one logged in (home-directory; elsewhere by resolving `.`). */
  async homeDirectory(username = "", options: WaitOptions = {}): Promise<string> {
    checkPaths({ username });
    return await asked("find the home directory of", username, options, async (purpose) => {
      if (this.#offers(Extension.homeDirectory)) return await this.#session.name(HomeDirectory, { username }, purpose);
      if (this.#offers(Extension.expandPath)) {
        return await this.#session.name(ExpandPath, { path: `~${username}` }, purpose);
      }
      if (username !== "") throw unsupportedError(purpose, Extension.homeDirectory);
      return await this.#resolve(".", purpose.signal);
    });
  }

  /** Names of users and groups by number, "" where the server knows none (users-groups-by-id@openssh.com). */
  async usersGroups(
    uids: readonly number[],
    gids: readonly number[],
    options: WaitOptions = {},
  ): Promise<{ users: readonly string[]; groups: readonly string[] }> {
    const { users, groups } = await asked("look up users and groups", null, options, async (purpose) => {
      if (!this.#offers(Extension.usersGroupsById)) throw unsupportedError(purpose, Extension.usersGroupsById);
      return await this.#session.extended(UsersGroupsById, { uids, gids }, UsersGroupsReply, purpose);
    });
    if (users.length !== uids.length || groups.length !== gids.length) {
      const message = "Cannot look up users and groups: the server answered with another number of names";
      throw new SftpError(message, Status.BAD_MESSAGE);
    }
    return { users, groups };
  }

  /** Reads a link. */
  async readLink(path: string, options: WaitOptions = {}): Promise<string> {
    checkPaths({ path });
    return await asked("read link", path, options, (purpose) => this.#session.name(Readlink, { path }, purpose));
  }

  /** Makes a symbolic link at `path` that says `target`. */
  async symlink(target: string, path: string, options: WaitOptions = {}): Promise<void> {
    checkPaths({ target, path });
    const fields = this.#linkFirst ? { target: path, path: target } : { target, path };
    await asked("make symbolic link", path, options, (purpose) => this.#session.status(Symlink, fields, purpose));
  }

  /** Makes a hard link (hardlink@openssh.com); `SftpError` OP_UNSUPPORTED where the server cannot. */
  async link(oldPath: string, newPath: string, options: WaitOptions = {}): Promise<void> {
    checkPaths({ oldPath, newPath });
    await asked("link", newPath, options, async (purpose) => {
      if (!this.#offers(Extension.hardlink)) throw unsupportedError(purpose, Extension.hardlink);
      await namingBoth(oldPath, newPath, this.#session.status(Hardlink, { oldPath, newPath }, purpose));
    });
  }

  /**
   * Changes attributes in one request. With `followLinks: false` those of a link itself, which needs lsetstat@openssh.com
   * unless `path` is no link.
   */
  async setStat(
    path: string,
    attrs: SftpAttributes,
    options: WaitOptions & { followLinks?: boolean | undefined } = {},
  ): Promise<void> {
    checkPaths({ path });
    checkAttributes(attrs);
    await asked("change attributes of", path, options, async (purpose) => {
      const { followLinks = true } = options;
      if (!followLinks && this.#offers(Extension.lsetstat)) {
        return await this.#session.status(Lsetstat, { path, attrs }, purpose);
      }
      if (!followLinks && (await this.lstat(path)).isSymlink) throw unsupportedError(purpose, Extension.lsetstat);
      await this.#session.status(Setstat, { path, attrs }, purpose);
    }, "setStat");
  }

  /** Changes some attributes in one request. */
  async #change(action: string, path: string, attrs: SftpAttributes, options: WaitOptions): Promise<void> {
    await asked(action, path, options, (purpose) => this.#session.status(Setstat, { path, attrs }, purpose));
  }

  /** Changes permission bits. */
  async chmod(path: string, mode: number, options: WaitOptions = {}): Promise<void> {
    checkPaths({ path });
    checkMode(mode);
    await this.#change("change mode of", path, { mode }, options);
  }

  /** Changes owner and group. */
  async chown(path: string, uid: number, gid: number, options: WaitOptions = {}): Promise<void> {
    checkPaths({ path });
    checkIds({ uid, gid });
    await this.#change("change owner of", path, { uid, gid }, options);
  }

  /** Changes access and modification times, in seconds since 1970 or as dates. */
  async utime(path: string, atime: number | Date, mtime: number | Date, options: WaitOptions = {}): Promise<void> {
    checkPaths({ path });
    checkTimes({ atime, mtime });
    await this.#change("change times of", path, { atime: secondsOf(atime), mtime: secondsOf(mtime) }, options);
  }

  /** Cuts or extends a file to `len` bytes. */
  async truncate(path: string, len = 0, options: WaitOptions = {}): Promise<void> {
    checkPaths({ path });
    checkOffset("truncate to", len);
    await this.#change("truncate", path, { size: len }, options);
  }

  /** Free and total space (statvfs@openssh.com); `SftpError` OP_UNSUPPORTED where the server cannot. */
  async statfs(path: string, options: WaitOptions = {}): Promise<SftpFileSystemInfo> {
    checkPaths({ path });
    return await asked("stat file system of", path, options, async (purpose) => {
      if (!this.#offers(Extension.statvfs)) throw unsupportedError(purpose, Extension.statvfs);
      return spaceOf(await this.#session.extended(Statvfs, { path }, StatvfsReply, purpose));
    });
  }

  /**
   * Paths that match a glob: `*`, `?`, `[a-z]`, `{a,b}`, and `**` for any depth, which does not follow links. Names with a
   * leading dot match only where the pattern has one. A backslash takes the meaning off the next character. `timeout` is the time of
   * each answer that it takes.
   */
  async *glob(pattern: string, options: WaitOptions = {}): AsyncIterable<string> {
    checkPaths({ pattern });
    yield* expandGlob(remoteTree(this.#session, (path) => this.readDir(path, options), options), pattern);
  }
}
