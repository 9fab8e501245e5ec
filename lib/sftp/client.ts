/**
 * L5. The SFTP client. draft-ietf-secsh-filexfer-02, OpenSSH PROTOCOL section 4. Knows byte streams, not SSH.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
import type { Bytes } from "../wire/types.ts";
import { fileInfo, type SftpAttributes, type SftpFileInfo } from "./attrs.ts";
import { Extension, FileType, OpenFlag, Status } from "./constants.ts";
import {
  checkAttributes,
  checkCall,
  checkChannel,
  checkContents,
  checkIds,
  checkMode,
  checkPaths,
  checkTimes,
  checkWord,
} from "./check_calls.ts";
import { copyRemoteFile } from "./copy.ts";
import type { SftpDirEntry } from "./entry.ts";
import { checkOffset, openedFile, openFlags, secondsOf, type SftpFile } from "./file.ts";
import { expandGlob } from "./glob.ts";
import { listDirectory } from "./listing.ts";
import { makeDirectory } from "./make_directory.ts";
import {
  ExpandPath,
  Fstat,
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
} from "./messages.ts";
import { joinPath, quoted } from "./names.ts";
import { readAll } from "./read_pipeline.ts";
import { remoteTree } from "./remote_tree.ts";
import { remove } from "./remove.ts";
import { abortable, type SftpChannel, SftpSession } from "./requests.ts";
import { type SftpFileSystemInfo, spaceOf } from "./space.ts";
import { reworded, unsupportedError } from "./status.ts";
import { saidLinkFirst } from "./symlink_order.ts";
import { download } from "./download.ts";
import type { TransferOptions, TransferSummary } from "./transfer.ts";
import { upload } from "./upload.ts";
import { writeWholeFile } from "./write_file.ts";

/** What an SFTP server offers. */
export interface SftpServerInfo {
  /** Protocol version in use: 3. */
  readonly version: number;
  /** Extensions by name, with the data the server sent along. */
  readonly extensions: ReadonlyMap<string, string>;
  /** The reply to limits@openssh.com by the names of its fields in camel case, or nothing. 0 means unlimited. */
  readonly limits: Readonly<Record<string, number>>;
}

/** `work`, or the signal's reason as soon as it aborts: a server that answers nothing must not hold the caller. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | null | undefined): Promise<T> {
  return await (signal ? abortable(work, signal, () => {}) : work);
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
function checkFilePath(action: string, path: string): void {
  if (!/\/\.{0,2}$/.test(path)) return;
  throw new SftpError(
    `Cannot ${action} ${quoted(path)}: a path that ends in a slash is a directory's; add the name of the file`,
    Status.FAILURE,
    path,
  );
}

let construct: (session: SftpSession, linkFirst: boolean) => SftpClient;

/**
 * Starts an SFTP session on the streams of a channel, which it owns from here on. With `linkFirst` the fields of SYMLINK are in
 * the draft's order and not in that of OpenSSH and most others, unless the server says which it wants
 * (symlink-order@rjk.greenend.org.uk).
 */
export async function openSftp(
  channel: SftpChannel,
  options: { signal?: AbortSignal | undefined; linkFirst?: boolean | undefined } = {},
): Promise<SftpClient> {
  checkChannel(channel);
  checkCall("session", options);
  const session = new SftpSession(channel);
  await session.start(options.signal);
  return construct(session, saidLinkFirst(session.extensions) ?? options.linkFirst ?? false);
}

/**
 * An SFTP session. Method names follow `Deno.*` file functions.
 *
 * Relative paths start where the server says, which is the user's home directory nearly everywhere. Names that are not UTF-8
 * survive: each byte that does not belong to valid UTF-8 is the lone surrogate U+DC00 plus the byte, in what is received and
 * in what is sent. Every method throws {@linkcode SftpError} for a status other than OK, also when the connection is lost
 * (`code` is `CONNECTION_LOST`) or the session was closed (`CLOSED`).
 */
export class SftpClient implements AsyncDisposable {
  readonly #session: SftpSession;
  readonly #linkFirst: boolean;
  /** What the server offers: version, extensions and limits. */
  readonly server: SftpServerInfo;

  static {
    construct = (session, linkFirst) => new SftpClient(session, linkFirst);
  }

  private constructor(session: SftpSession, linkFirst: boolean) {
    this.#session = session;
    this.#linkFirst = linkFirst;
    this.server = { version: 3, extensions: session.extensions, limits: session.limits };
  }

  #offers(extension: string): boolean {
    return this.#session.extensions.has(extension);
  }

  /** Opens a file; reading is the default, as in `Deno.open`. */
  async open(path: string, options: Deno.OpenOptions & { signal?: AbortSignal | undefined } = {}): Promise<SftpFile> {
    checkPaths({ path });
    checkCall("open", options);
    const flags = openFlags(options);
    if (flags & OpenFlag.CREAT) checkFilePath("open", path);
    const attrs = options.mode === undefined || !(flags & OpenFlag.CREAT) ? {} : { mode: options.mode & 0o7777 };
    const handle = await this.#session.handle(
      Open,
      { path, flags, attrs },
      { action: "open", path },
      options.signal,
    );
    return openedFile(this.#session, handle, path, flags);
  }

  /**
   * Reads a whole file, with many requests under way. It ends where the server says so, whatever size it gave before; a
   * `RangeError` where it has more than 64 MiB and eight times that size, or 1 GiB where none was given.
   */
  async readFile(path: string, options: { signal?: AbortSignal | undefined } = {}): Promise<Bytes> {
    checkPaths({ path });
    checkCall("read", options);
    return await unlessAborted(this.#readFile(path, options.signal), options.signal);
  }

  async #readFile(path: string, signal?: AbortSignal): Promise<Bytes> {
    const session = this.#session;
    const handle = await session.handle(
      Open,
      { path, flags: OpenFlag.READ, attrs: {} },
      { action: "open", path },
      signal,
    );
    try {
      const { size, mode } = await session.attrs(Fstat, { handle }, { action: "stat", path }).catch((error) => {
        // It is a hint, and a server without it has the file all the same.
        if (session.ended !== null) throw error;
        return {} as SftpAttributes;
      });
      // Only a regular file's size says where it may end; in /proc even that is 0.
      const regular = mode === undefined || (mode & FileType.MASK) === FileType.REGULAR;
      return await readAll(session, handle, path, regular ? size ?? 0 : 0, signal);
    } finally {
      session.dropHandle(handle, path);
    }
  }

  /** Reads a whole file as UTF-8; a byte order mark stays, as with `Deno.readTextFile()`. */
  async readTextFile(path: string, options: { signal?: AbortSignal | undefined } = {}): Promise<string> {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(await this.readFile(path, options));
  }

  /**
   * Writes a whole file; it is created, and what was in it replaced, unless the options say otherwise. A `mode` is given to a file
   * that is there too. It is written in place: bytes that fit into one request (32 KiB, or what the server's limits say) leave
   * what was there whole where the server refuses them, more of them and streams do not, and the error says so.
   */
  async writeFile(
    path: string,
    data: Uint8Array | ReadableStream<Uint8Array>,
    options: Deno.WriteFileOptions = {},
  ): Promise<void> {
    checkPaths({ path });
    checkContents(data);
    checkCall("write", options);
    checkFilePath("write", path);
    await unlessAborted(writeWholeFile(this, this.#session, path, data, options), options.signal);
  }

  /** Writes a whole file as UTF-8. */
  async writeTextFile(path: string, data: string, options: Deno.WriteFileOptions = {}): Promise<void> {
    checkWord("data", data);
    await this.writeFile(path, new TextEncoder().encode(data), options);
  }

  /** Lists a directory, without `.` and `..`. A listing left early is closed. */
  async *readDir(path: string): AsyncIterable<SftpDirEntry> {
    checkPaths({ path });
    for await (const entries of listDirectory(this.#session, path)) {
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
  async stat(path: string): Promise<SftpFileInfo> {
    checkPaths({ path });
    return fileInfo(await this.#session.attrs(Stat, { path }, { action: "stat", path }));
  }

  /** Metadata; does not follow links. */
  async lstat(path: string): Promise<SftpFileInfo> {
    checkPaths({ path });
    return fileInfo(await this.#session.attrs(Lstat, { path }, { action: "lstat", path }));
  }

  /** Makes a directory; with `recursive` its parents too, and it may exist already. */
  async mkdir(
    path: string,
    options: { mode?: number | undefined; recursive?: boolean | undefined } = {},
  ): Promise<void> {
    checkPaths({ path });
    checkCall("makeDirectory", options);
    await makeDirectory(this.#session, path, options);
  }

  /** Removes a file or an empty directory; with `recursive` whatever is in it, links themselves and not their targets. */
  async remove(path: string, options: { recursive?: boolean | undefined } = {}): Promise<void> {
    checkPaths({ path });
    checkCall("remove", options);
    await remove(this, this.#session, path, options.recursive ?? false);
  }

  /**
   * Renames. Where the server has posix-rename@openssh.com, a file of the new name is replaced in one step; elsewhere it is an
   * error.
   */
  async rename(oldPath: string, newPath: string): Promise<void> {
    checkPaths({ oldPath, newPath });
    const purpose = { action: "rename", path: oldPath };
    const message = this.#offers(Extension.posixRename) ? PosixRename : Rename;
    await namingBoth(oldPath, newPath, this.#session.status(message, { oldPath, newPath }, purpose));
  }

  /** Resolves a path to an absolute one; a leading `~` too, where the server has expand-path@openssh.com. */
  async realPath(path: string): Promise<string> {
    checkPaths({ path });
    const purpose = { action: "resolve", path };
    if (path.startsWith("~") && this.#offers(Extension.expandPath)) {
      return await this.#session.name(ExpandPath, { path }, purpose);
    }
    return await this.#session.realPath(path);
  }

  /** Expands a leading `~` or `~user` (expand-path@openssh.com); elsewhere `~` and `~/…` by resolving `.` */
  async expandPath(path: string): Promise<string> {
    checkPaths({ path });
    if (this.#offers(Extension.expandPath) || !/^~(\/|$)/.test(path)) return await this.realPath(path);
    return await this.realPath(joinPath(await this.realPath("."), path.slice(2)));
  }

  /** The home directory of a user, or of the one logged in (home-directory; elsewhere by resolving `.`). */
  async homeDirectory(username = ""): Promise<string> {
    checkPaths({ username });
    const purpose = { action: "find the home directory of", path: username };
    if (this.#offers(Extension.homeDirectory)) return await this.#session.name(HomeDirectory, { username }, purpose);
    if (this.#offers(Extension.expandPath)) {
      return await this.#session.name(ExpandPath, { path: `~${username}` }, purpose);
    }
    if (username !== "") throw unsupportedError(purpose, Extension.homeDirectory);
    return await this.realPath(".");
  }

  /** Names of users and groups by number, "" where the server knows none (users-groups-by-id@openssh.com). */
  async usersGroups(
    uids: readonly number[],
    gids: readonly number[],
  ): Promise<{ users: readonly string[]; groups: readonly string[] }> {
    const purpose = { action: "look up users and groups", path: null };
    if (!this.#offers(Extension.usersGroupsById)) throw unsupportedError(purpose, Extension.usersGroupsById);
    const { users, groups } = await this.#session.extended(UsersGroupsById, { uids, gids }, UsersGroupsReply, purpose);
    if (users.length !== uids.length || groups.length !== gids.length) {
      const message = "Cannot look up users and groups: the server answered with another number of names";
      throw new SftpError(message, Status.BAD_MESSAGE);
    }
    return { users, groups };
  }

  /** Reads a link. */
  async readLink(path: string): Promise<string> {
    checkPaths({ path });
    return await this.#session.name(Readlink, { path }, { action: "read link", path });
  }

  /** Makes a symbolic link at `path` that says `target`. */
  async symlink(target: string, path: string): Promise<void> {
    checkPaths({ target, path });
    const fields = this.#linkFirst ? { target: path, path: target } : { target, path };
    await this.#session.status(Symlink, fields, { action: "make symbolic link", path });
  }

  /** Makes a hard link (hardlink@openssh.com); `SftpError` OP_UNSUPPORTED where the server cannot. */
  async link(oldPath: string, newPath: string): Promise<void> {
    checkPaths({ oldPath, newPath });
    const purpose = { action: "link", path: newPath };
    if (!this.#offers(Extension.hardlink)) throw unsupportedError(purpose, Extension.hardlink);
    await namingBoth(oldPath, newPath, this.#session.status(Hardlink, { oldPath, newPath }, purpose));
  }

  /**
   * Changes attributes in one request. With `followLinks: false` those of a link itself, which needs lsetstat@openssh.com
   * unless `path` is no link.
   */
  async setStat(
    path: string,
    attrs: SftpAttributes,
    options: { followLinks?: boolean | undefined } = {},
  ): Promise<void> {
    checkPaths({ path });
    checkAttributes(attrs);
    checkCall("setStat", options);
    const purpose = { action: "change attributes of", path };
    if (options.followLinks !== false) return await this.#session.status(Setstat, { path, attrs }, purpose);
    if (this.#offers(Extension.lsetstat)) return await this.#session.status(Lsetstat, { path, attrs }, purpose);
    if ((await this.lstat(path)).isSymlink) throw unsupportedError(purpose, Extension.lsetstat);
    await this.#session.status(Setstat, { path, attrs }, purpose);
  }

  /** Changes permission bits. */
  async chmod(path: string, mode: number): Promise<void> {
    checkPaths({ path });
    checkMode(mode);
    await this.#session.status(Setstat, { path, attrs: { mode } }, { action: "change mode of", path });
  }

  /** Changes owner and group. */
  async chown(path: string, uid: number, gid: number): Promise<void> {
    checkPaths({ path });
    checkIds({ uid, gid });
    await this.#session.status(Setstat, { path, attrs: { uid, gid } }, { action: "change owner of", path });
  }

  /** Changes access and modification times, in seconds since 1970 or as dates. */
  async utime(path: string, atime: number | Date, mtime: number | Date): Promise<void> {
    checkPaths({ path });
    checkTimes({ atime, mtime });
    const attrs = { atime: secondsOf(atime), mtime: secondsOf(mtime) };
    await this.#session.status(Setstat, { path, attrs }, { action: "change times of", path });
  }

  /** Cuts or extends a file to `len` bytes. */
  async truncate(path: string, len = 0): Promise<void> {
    checkPaths({ path });
    checkOffset("truncate to", len);
    await this.#session.status(Setstat, { path, attrs: { size: len } }, { action: "truncate", path });
  }

  /**
   * Copies a file and its permission bits on the server's side (copy-data), or through here where it cannot. It is written in
   * place: where that fails halfway, the error says that what is at `to` is not whole.
   */
  async copyFile(from: string, to: string): Promise<void> {
    checkPaths({ from, to });
    checkFilePath("copy to", to);
    // Some servers resolve directories only.
    const [a, b] = await Promise.all([from, to].map((path) => this.#session.realPath(path).catch(() => null)));
    if (from === to || a !== null && a === b) {
      throw new SftpError(`Cannot copy ${quoted(from)} to ${quoted(to)}: they are one file`, Status.FAILURE, from);
    }
    await copyRemoteFile(this.#session, from, to);
  }

  /** Free and total space (statvfs@openssh.com); `SftpError` OP_UNSUPPORTED where the server cannot. */
  async statfs(path: string): Promise<SftpFileSystemInfo> {
    checkPaths({ path });
    const purpose = { action: "stat file system of", path };
    if (!this.#offers(Extension.statvfs)) throw unsupportedError(purpose, Extension.statvfs);
    return spaceOf(await this.#session.extended(Statvfs, { path }, StatvfsReply, purpose));
  }

  /**
   * Paths that match a glob: `*`, `?`, `[a-z]`, `{a,b}`, and `**` for any depth, which does not follow links. Names with a
   * leading dot match only where the pattern has one. A backslash takes the meaning off the next character.
   */
  async *glob(pattern: string): AsyncIterable<string> {
    checkPaths({ pattern });
    yield* expandGlob(remoteTree(this.#session, (path) => this.readDir(path)), pattern);
  }

  /**
   * Copies a local file or tree there; parallel, resumable, with progress. A file becomes `remote`, or goes into it where that
   * is a directory; a directory becomes `remote`, and is merged with what is there; what a glob finds goes into `remote`. Each
   * file is written beside its name and renamed when it is whole; where the server renames nothing it is then written in place,
   * and the one beside it is removed when that is done. Whatever the server refuses, the old file or the new one is left whole:
   * under its name, or under one that the error says. What fails does not keep the rest from being copied, and is thrown at the
   * end.
   */
  async upload(local: string, remote: string, options: TransferOptions = {}): Promise<TransferSummary> {
    checkPaths({ local, remote });
    checkCall("copy", options);
    return await upload(this, this.#session, local, remote === "" ? "." : remote, options);
  }

  /**
   * Copies a remote file or tree here; parallel, resumable, with progress. A file becomes `local`, or goes into it where that
   * is a directory; a directory becomes `local`, and is merged with what is there; what a glob finds goes into `local`. Each
   * file is written beside its name and renamed when it is whole. What fails does not keep the rest from being copied, and is
   * thrown at the end. A file ends where the server says so, though it gave a smaller size before; one that ends before the size
   * that it gave fails. Bytes of names that are not UTF-8, which Deno cannot spell, become `%XX` here.
   */
  async download(remote: string, local: string, options: TransferOptions = {}): Promise<TransferSummary> {
    checkPaths({ remote, local });
    checkCall("copy", options);
    return await download(this, this.#session, remote, local, options);
  }

  /** Ends the session; requests without an answer are rejected. Safe to call twice. */
  async close(): Promise<void> {
    await this.#session.close();
  }

  /** Same as {@linkcode SftpClient.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
