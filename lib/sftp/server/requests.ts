/**
 * What the server does for each request. draft-ietf-secsh-filexfer-02 sections 6 and 7, OpenSSH PROTOCOL section 4.
 * No I/O but the backend's.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { AuthInfo } from "../../auth/types.ts";
import type { Field, Message, ValuesOf } from "../../wire/codec.ts";
import { Reader } from "../../wire/reader.ts";
import { turnEnd } from "../../wire/turn_end.ts";
import type { MaybePromise } from "../../wire/types.ts";
import { attributesOf, extendedLength, longName } from "../wire/attrs.ts";
import type { SftpAttributes } from "../../files/file_info.ts";
import type { SftpBackend, SftpBackendEntry, SftpBackendFile, SftpBackendInfo } from "../../files/backend.ts";
import { canonicalPath, namesDirectory } from "../../files/canonical.ts";
import { Extension, Fxp, LIMITS_TOLD, MAX_PACKET, MAX_TRANSFER, OpenFlag } from "../wire/constants.ts";
import { Status } from "../../files/limits.ts";
import { copyData } from "./copy_data.ts";
import { type DirectoryHandle, type FileHandle, type Handles, MAX_HANDLES } from "./handles.ts";
import * as m from "../wire/messages.ts";
import { isEncodable } from "../../files/names.ts";
import { after, isPending } from "../../wire/pending.ts";
import { type DataReply, readCost, readData } from "./read_data.ts";
import { namePlaceOf, notDirectory, placeOf } from "./paths.ts";
import { SYMLINK_ORDER } from "../wire/symlink_order.ts";

/** Directories open up to which replies are made ahead. */
const MAX_AHEAD = 8;
/** Names in one reply. */
const MAX_NAMES = 100;
/** Where a reply of names stops growing: some bytes less than a packet, for the last name. */
const NAMES_LIMIT = 131_072;
/** Permission bits a client may set: setuid, setgid and sticky are not among them. */
const MODE_MASK = 0o777;

/** One session's state, as its requests see it. */
export interface JobContext {
  /** The file system. */
  readonly backend: SftpBackend;
  /** Whether it is this module's own, which keeps no memory and tells no wrong counts. */
  readonly trusted: boolean;
  /** Who asks. */
  readonly info: AuthInfo;
  /** Open files and directories. */
  readonly handles: Handles;
  /** Whether SYMLINK's fields come in the draft's order. */
  readonly linkFirst: boolean;
  /** Aborted when the session ends: what takes long stops. */
  readonly ended: AbortSignal;
}

/** What answers a request: a payload, data, a status that is no failure (EOF), or nothing for status OK. */
export type Answer = Uint8Array | DataReply | typeof Status.EOF | void;

/** A request that is ready to run. */
export interface Job {
  /**
   * `shared` changes nothing and may run beside its like; `write` may run beside writes that follow it in the same file;
   * anything else runs alone, so that the result is as if each request waited for the one before (section 6).
   */
  readonly order: "shared" | "write" | "alone";
  /** The file of a `write`. */
  readonly target?: FileHandle;
  /** Where a `write` starts. */
  readonly from?: number;
  /** Where a `write` ends. */
  readonly to?: number;
  /** Bytes that the reply may need. */
  readonly cost?: number;
  /** Does it. What is known at once is returned at once: a promise costs more than most requests do. */
  run(): MaybePromise<Answer>;
}

type Body<F> = (values: ValuesOf<F>, context: JobContext) => Job;
type Handler = (payload: Uint8Array, context: JobContext) => Job;

function on<F extends Record<string, Field<unknown>>>(message: Message<F>, body: Body<F>): Handler {
  return (payload, context) => body(message.decode(payload), context);
}

function shared(run: Job["run"]): Job {
  return { order: "shared", run };
}
function alone(run: Job["run"]): Job {
  return { order: "alone", run };
}

/** Calls an optional method of the backend, by any of its names; without one the answer is OP_UNSUPPORTED. */
function call(context: JobContext, names: readonly (keyof SftpBackend)[], ...values: unknown[]): unknown {
  for (const name of names) {
    const method = context.backend[name] as ((...values: unknown[]) => unknown) | undefined;
    if (typeof method === "function") return method.call(context.backend, ...values, context.info);
  }
  throw new SftpError("Operation unsupported", Status.OP_UNSUPPORTED);
}
function has(context: JobContext, ...names: (keyof SftpBackend)[]): boolean {
  return names.some((name) => typeof context.backend[name] === "function");
}

/** The changes that a client may ask for: special permission bits and extended attributes are left out. */
function changes(attrs: SftpAttributes): SftpAttributes {
  const { extended: _, ...rest } = attrs;
  if (rest.size !== undefined && !Number.isSafeInteger(rest.size)) {
    throw new SftpError("Bad attributes: the size is out of range", Status.FAILURE);
  }
  return rest.mode === undefined ? rest : { ...rest, mode: rest.mode & MODE_MASK };
}

/** An offset that file systems can take: below 2^53, the bytes counted too. */
function offsetOf(offset: bigint, length = 0): number {
  const value = Number(offset);
  if (!Number.isSafeInteger(value + length)) throw new SftpError("Offset out of range", Status.FAILURE);
  return value;
}

function denied(what: string): SftpError {
  return new SftpError(`Permission denied: the handle is not open for ${what}`, Status.PERMISSION_DENIED);
}

function attributesReply(id: number, info: SftpBackendInfo): Uint8Array {
  return m.Attrs.encode({ id, attrs: attributesOf(info) });
}
function names(id: number, entries: readonly m.NameEntry[]): Uint8Array {
  return m.Name.encode({ id, entries });
}
function oneName(id: number, name: string): Uint8Array {
  return names(id, [{ name, longName: name, attrs: {} }]);
}

function openFile(
  context: JobContext,
  id: number,
  path: string,
  flags: number,
  mode: number,
): MaybePromise<Uint8Array> {
  const write = (flags & OpenFlag.WRITE) !== 0, append = write && (flags & OpenFlag.APPEND) !== 0;
  const read = (flags & OpenFlag.READ) !== 0 || !write;
  const create = (flags & OpenFlag.CREAT) !== 0;
  const createNew = create && (flags & OpenFlag.EXCL) !== 0;
  const truncate = write && (flags & OpenFlag.TRUNC) !== 0;
  const options: Deno.OpenOptions = { read, write, append, truncate, create, createNew };
  const { backend, handles, info } = context;
  const opened = (file: SftpBackendFile): Uint8Array =>
    m.Handle.encode({ id, handle: handles.add({ kind: "file", file, path, read, write, append }) });
  const failed = (error: unknown): never => {
    handles.release();
    throw error;
  };
  handles.reserve();
  try {
    const file = backend.open(path, create ? { ...options, mode: mode & MODE_MASK } : options, info);
    return isPending(file) ? Promise.resolve(file).then(opened, failed) : opened(file);
  } catch (error) {
    return failed(error);
  }
}

function openDirectory(context: JobContext, id: number, path: string): Uint8Array {
  context.handles.reserve();
  let entries;
  try {
    entries = context.backend.readDir(path, context.info)[Symbol.asyncIterator]();
  } catch (error) {
    context.handles.release();
    throw error;
  }
  return m.Handle.encode({
    id,
    handle: context.handles.add({ kind: "directory", path, entries, kept: null, done: false, ahead: null }),
  });
}

/** The first entry is read with OPENDIR, so that a directory that cannot be listed fails there. */
async function opendir(context: JobContext, id: number, path: string): Promise<Uint8Array> {
  const payload = openDirectory(context, id, path);
  const { handle } = m.Handle.decode(payload), directory = context.handles.directory(handle);
  try {
    await nextEntry(directory);
  } catch (error) {
    await context.handles.close(handle).catch(() => {});
    throw error;
  }
  return payload;
}

async function nextEntry(directory: DirectoryHandle): Promise<SftpBackendEntry | null> {
  if (directory.kept === null && !directory.done) {
    const { done, value } = await directory.entries.next();
    if (done) directory.done = true;
    else directory.kept = value;
  }
  return directory.kept;
}

/** The next reply is made while the client reads this one, unless many directories are open: each may take 128 KiB. */
async function readdir({ handles }: JobContext, directory: DirectoryHandle, id: number): Promise<Answer> {
  const { ahead } = directory;
  directory.ahead = null;
  const payload = await (ahead ?? nextNames(directory));
  if (payload === null) return Status.EOF;
  new DataView(payload.buffer, payload.byteOffset).setUint32(1, id);
  const sent = handles.directories <= MAX_AHEAD ? turnEnd() : undefined;
  if (sent !== undefined) {
    directory.ahead = sent.then(() => nextNames(directory));
    // What fails is told to whoever asks for it.
    directory.ahead.catch(() => {});
  }
  return payload;
}

/** The next NAME reply, its id left out, or null at the end. */
async function nextNames(directory: DirectoryHandle): Promise<Uint8Array | null> {
  const entries: m.NameEntry[] = [], now = Date.now();
  let size = 0;
  while (entries.length < MAX_NAMES) {
    const entry = await nextEntry(directory);
    if (entry === null) break;
    // No UTF-16 unit of a name takes more than three bytes; it stands in the reply twice.
    const { name } = entry, nameLength = 6 * name.length + 160, attrs = attributesOf(entry.info);
    const length = nameLength + extendedLength(attrs.extended);
    if (size > 0 && size + length > NAMES_LIMIT) break;
    directory.kept = null;
    // A backend's entry that is no single name, that no bytes stand for, or too long for any file system, is not one to pass on.
    if (name === "" || /[/\0]/.test(name) || nameLength > NAMES_LIMIT || !isEncodable(name)) continue;
    size += length;
    entries.push({ name, longName: longName(name, attrs, now), attrs });
  }
  return entries.length === 0 ? null : names(0, entries);
}

function write({ file, append }: FileHandle, offset: number, data: Uint8Array): MaybePromise<void> {
  if (!append) return file.writeAt(data, offset);
  return after(file.stat(), ({ size }) => file.writeAt(data, size));
}

function setFileStat(context: JobContext, handle: FileHandle, attrs: SftpAttributes): MaybePromise<void> {
  if (attrs.size !== undefined && !handle.write) throw denied("writing");
  const { file, path } = handle, wanted = changes(attrs);
  if (file.setStat !== undefined) return file.setStat(wanted);
  return call(context, ["setStat", "setstat"], path, wanted, true) as MaybePromise<void>;
}

/** `~` and `~user` in front of a path, each by the backend's own home directories. */
async function expand(context: JobContext, path: string): Promise<string> {
  const match = /^~([^/]*)(\/.*)?$/s.exec(path);
  const whole = match === null ? path : `${await homeOf(context, match[1]!)}${match[2] ?? ""}`;
  return await realPath(context, canonicalPath(whole));
}
async function homeOf(context: JobContext, username: string): Promise<string> {
  if (has(context, "homeDirectory")) return await call(context, ["homeDirectory"], username) as string;
  if (username === "" || username === context.info.username) return "/";
  throw new SftpError("No such user", Status.NO_SUCH_FILE);
}
async function realPath(context: JobContext, path: string): Promise<string> {
  const names = ["realPath", "realpath"] as const;
  return has(context, ...names) ? await call(context, names, path) as string : path;
}

/** Fields of statvfs that a backend leaves out are 0. */
function statvfs(id: number, fields: Readonly<Record<string, bigint>>): Uint8Array {
  const one = (name: string): bigint => BigInt.asUintN(64, fields[name] ?? 0n);
  return m.StatvfsReply.encode({
    id,
    f_bsize: one("f_bsize"),
    f_frsize: one("f_frsize"),
    f_blocks: one("f_blocks"),
    f_bfree: one("f_bfree"),
    f_bavail: one("f_bavail"),
    f_files: one("f_files"),
    f_ffree: one("f_ffree"),
    f_favail: one("f_favail"),
    f_fsid: one("f_fsid"),
    f_flag: one("f_flag"),
    f_namemax: one("f_namemax"),
  });
}

function rename(replace: boolean): Body<{ oldPath: Field<string>; newPath: Field<string> }> {
  return ({ oldPath, newPath }, context) =>
    alone(() => {
      const from = canonicalPath(oldPath), to = canonicalPath(newPath);
      // Either may be written as a directory's where it is one that moves.
      const isDirectory = namesDirectory(oldPath) || namesDirectory(newPath);
      return after(
        isDirectory ? placeOf(context, `${from}/`, false) : from,
        () => call(context, ["rename"], from, to, { replace }) as MaybePromise<void>,
      );
    });
}
function stat(followLinks: boolean): Body<{ id: Field<number>; path: Field<string> }> {
  return ({ id, path }, { backend, info }) =>
    shared(() => {
      // A slash behind a link asks for what it leads to, as in lstat(2).
      const isDirectory = namesDirectory(path);
      return after(backend.stat(canonicalPath(path), followLinks || isDirectory, info), (found) => {
        if (isDirectory && !found.isDirectory) throw notDirectory();
        return attributesReply(id, found);
      });
    });
}
function setstat(followLinks: boolean): Body<{ path: Field<string>; attrs: Field<SftpAttributes> }> {
  return ({ path, attrs }, context) =>
    alone(() =>
      after(placeOf(context, path), (place) => {
        const follow = followLinks || namesDirectory(path);
        return call(context, ["setStat", "setstat"], place, changes(attrs), follow) as MaybePromise<void>;
      })
    );
}

const handlers: Readonly<Record<number, Handler>> = {
  [Fxp.OPEN]: on(m.Open, ({ id, path, flags, attrs }, context) => ({
    order: flags & (OpenFlag.WRITE | OpenFlag.CREAT) ? "alone" : "shared",
    run: () => {
      if (flags & OpenFlag.CREAT && namesDirectory(path)) throw new SftpError("Is a directory", Status.FAILURE);
      return after(namePlaceOf(context, path), (place) => openFile(context, id, place, flags, attrs.mode ?? 0o666));
    },
  })),
  [Fxp.CLOSE]: on(m.Close, ({ handle }, { handles }) => alone(() => handles.close(handle))),
  [Fxp.READ]: on(m.Read, ({ handle, offset, length }, { handles, trusted }) => {
    const wanted = Math.min(length, MAX_TRANSFER);
    return {
      order: "shared",
      cost: readCost(wanted),
      run: () => {
        const entry = handles.file(handle);
        if (!entry.read) throw denied("reading");
        return readData(entry.file, offsetOf(offset, wanted), wanted, trusted);
      },
    };
  }),
  [Fxp.WRITE]: on(m.Write, ({ handle, offset, data }, { handles }) => {
    const target = handles.file(handle), from = offsetOf(offset, data.length);
    if (!target.write) throw denied("writing");
    return {
      order: target.append ? "alone" : "write",
      target,
      from,
      to: from + data.length,
      run: () => write(target, from, data),
    };
  }),
  [Fxp.LSTAT]: on(m.Lstat, stat(false)),
  [Fxp.STAT]: on(m.Stat, stat(true)),
  [Fxp.FSTAT]: on(m.Fstat, ({ id, handle }, { handles, backend, info }) =>
    shared(() => {
      const entry = handles.get(handle);
      const found = entry.kind === "file" ? entry.file.stat() : backend.stat(entry.path, true, info);
      return after(found, (info) => attributesReply(id, info));
    })),
  [Fxp.SETSTAT]: on(m.Setstat, setstat(true)),
  [Fxp.FSETSTAT]: on(
    m.Fsetstat,
    ({ handle, attrs }, context) => alone(() => setFileStat(context, context.handles.file(handle), attrs)),
  ),
  [Fxp.OPENDIR]: on(m.Opendir, ({ id, path }, context) => alone(() => opendir(context, id, canonicalPath(path)))),
  [Fxp.READDIR]: on(
    m.Readdir,
    ({ id, handle }, context) => alone(() => readdir(context, context.handles.directory(handle), id)),
  ),
  [Fxp.REMOVE]: on(
    m.Remove,
    ({ path }, context) =>
      alone(() => after(namePlaceOf(context, path), (place) => call(context, ["remove"], place) as MaybePromise<void>)),
  ),
  [Fxp.MKDIR]: on(
    m.Mkdir,
    ({ path, attrs }, context) =>
      alone(() =>
        call(context, ["mkdir"], canonicalPath(path), { mode: (attrs.mode ?? 0o777) & MODE_MASK }) as MaybePromise<void>
      ),
  ),
  [Fxp.RMDIR]: on(
    m.Rmdir,
    ({ path }, context) => alone(() => call(context, ["rmdir"], canonicalPath(path)) as MaybePromise<void>),
  ),
  [Fxp.REALPATH]: on(
    m.Realpath,
    ({ id, path }, context) => shared(async () => oneName(id, await realPath(context, canonicalPath(path)))),
  ),
  [Fxp.RENAME]: on(m.Rename, rename(false)),
  [Fxp.READLINK]: on(
    m.Readlink,
    ({ id, path }, context) =>
      shared(async () => oneName(id, await call(context, ["readLink", "readlink"], canonicalPath(path)) as string)),
  ),
  [Fxp.SYMLINK]: on(m.Symlink, (fields, context) =>
    alone(() => {
      const [target, path] = context.linkFirst ? [fields.path, fields.target] : [fields.target, fields.path];
      // The target is no path of this server yet; only what no file system takes is refused here.
      canonicalPath(target);
      return after(
        namePlaceOf(context, path),
        (place) => call(context, ["symlink"], target, place) as MaybePromise<void>,
      );
    })),
};

const extensions: ReadonlyMap<string, Handler> = new Map(Object.entries({
  [Extension.posixRename]: on(m.PosixRename, rename(true)),
  [Extension.statvfs]: on(
    m.Statvfs,
    ({ id, path }, context) =>
      shared(async () =>
        statvfs(id, await call(context, ["statfs"], canonicalPath(path)) as Readonly<Record<string, bigint>>)
      ),
  ),
  [Extension.fstatvfs]: on(m.Fstatvfs, ({ id, handle }, context) =>
    shared(async () => {
      const entry = context.handles.get(handle);
      const fields = entry.kind === "file" && entry.file.statfs !== undefined
        ? await entry.file.statfs()
        : await call(context, ["statfs"], entry.path) as Readonly<Record<string, bigint>>;
      return statvfs(id, fields);
    })),
  [Extension.hardlink]: on(
    m.Hardlink,
    ({ oldPath, newPath }, context) =>
      alone(() =>
        after(
          namePlaceOf(context, oldPath),
          (from) =>
            after(namePlaceOf(context, newPath), (to) => call(context, ["link"], from, to) as MaybePromise<void>),
        )
      ),
  ),
  [Extension.fsync]: on(m.Fsync, ({ handle }, { handles }) =>
    alone(() => {
      const { file } = handles.file(handle);
      if (file.sync === undefined) throw new SftpError("Operation unsupported", Status.OP_UNSUPPORTED);
      return file.sync();
    })),
  [Extension.lsetstat]: on(m.Lsetstat, setstat(false)),
  [Extension.limits]: on(m.Limits, ({ id }) =>
    shared(() =>
      m.LimitsReply.encode({
        id,
        maxPacketLength: BigInt(limits[0]),
        maxReadLength: BigInt(limits[1]),
        maxWriteLength: BigInt(limits[2]),
        maxOpenHandles: BigInt(limits[3]),
      })
    )),
  [Extension.expandPath]: on(
    m.ExpandPath,
    ({ id, path }, context) => shared(async () => oneName(id, await expand(context, path))),
  ),
  [Extension.copyData]: on(
    m.CopyData,
    (values, { handles, ended }) =>
      alone(() => copyData(handles.file(values.from), handles.file(values.to), values, ended)),
  ),
  [Extension.homeDirectory]: on(
    m.HomeDirectory,
    ({ id, username }, context) => shared(async () => oneName(id, await homeOf(context, username))),
  ),
  [Extension.usersGroupsById]: on(m.UsersGroupsById, ({ id, uids, gids }, context) =>
    shared(async () => {
      const found = await call(context, ["usersGroups"], uids, gids) as {
        users: readonly string[];
        groups: readonly string[];
      };
      return m.UsersGroupsReply.encode({ id, users: found.users, groups: found.groups });
    })),
}));

/** What limits@openssh.com answers: bytes of a packet, of a READ and of a WRITE, and handles. */
const limits = [MAX_PACKET, MAX_TRANSFER, MAX_TRANSFER, MAX_HANDLES] as const;

/** Extensions to offer: those that the backend has no part in, and those it can serve. */
export function offeredExtensions({ backend, linkFirst }: JobContext): [string, string][] {
  const can = (...names: (keyof SftpBackend)[]): boolean => names.some((name) => typeof backend[name] === "function");
  const list: [string, string][] = [
    [Extension.limits, "1"],
    [LIMITS_TOLD, limits.join(" ")],
    [Extension.copyData, "1"],
    [Extension.fsync, "1"],
    [Extension.expandPath, "1"],
    [Extension.homeDirectory, "1"],
  ];
  if (can("symlink")) list.push([SYMLINK_ORDER, linkFirst ? "linkpath-targetpath" : "targetpath-linkpath"]);
  if (can("rename")) list.push([Extension.posixRename, "1"]);
  if (can("statfs")) list.push([Extension.statvfs, "2"], [Extension.fstatvfs, "2"]);
  if (can("link")) list.push([Extension.hardlink, "1"]);
  if (can("setStat", "setstat")) list.push([Extension.lsetstat, "1"]);
  if (can("usersGroups")) list.push([Extension.usersGroupsById, "1"]);
  return list;
}

/** Reads a request; what does not fit throws SshProtocolError. */
export function prepare(payload: Uint8Array, context: JobContext): Job {
  const type = payload[0]!;
  const handler = type === Fxp.EXTENDED ? extensions.get(new Reader(payload, 5).ascii()) : handlers[type];
  if (handler === undefined) throw new SftpError("Operation unsupported", Status.OP_UNSUPPORTED);
  return handler(payload, context);
}
