/**
 * SFTP packets by their fields. draft-ietf-secsh-filexfer-02 sections 4, 6 and 7, OpenSSH PROTOCOL section 4. No I/O.
 *
 * Each is declared once; the payload is what follows the packet's length. READ, WRITE and DATA have fast paths in
 * packet_buffer.ts and packet_reader.ts, which a test holds equal to the declarations here.
 *
 * @module
 */
import { SshProtocolError } from "../../errors.ts";
import { type Field, type Message, message, u32, u64 } from "../../wire/codec.ts";
import { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import { Writer } from "../../wire/writer.ts";
import { attributes } from "./attrs.ts";
import type { SftpAttributes } from "../../files/file_info.ts";
import { Fxp, MAX_HANDLE } from "./constants.ts";
import { decodeName, encodeName } from "../../files/names.ts";

/** `string` that is a path or a name. */
export const name: Field<string> = {
  read: (r) => decodeName(r.view()),
  write: (w, v) => void (v.isWellFormed() ? w.text(v) : w.string(encodeName(v))),
};
/** `string` that is a handle of 1 to 256 bytes (section 6.2). */
export const handle: Field<Uint8Array> = {
  read: (r) => {
    const value = r.string();
    if (value.length === 0 || value.length > MAX_HANDLE) {
      throw new SshProtocolError(`Cannot read a handle: ${value.length} bytes, 1 to ${MAX_HANDLE} allowed`);
    }
    return value;
  },
  write: (w, v) => void w.string(v),
};
/** `string` of bytes, as a view of the packet. */
const dataView: Field<Uint8Array> = { read: (r) => r.view(), write: (w, v) => void w.string(v) };
/** The same where anything may follow: Go's pkg/sftp sends the whole of a buffer that is filled in part. */
const paddedDataView: Field<Uint8Array> = {
  read: (r) => {
    const data = r.view();
    if (r.remaining > 0) r.rest();
    return data;
  },
  write: (w, v) => void w.string(v),
};

/** SSH_FXP_OPEN. */
export const Open = message("SSH_FXP_OPEN", Fxp.OPEN, { id: u32, path: name, flags: u32, attrs: attributes });
/** SSH_FXP_CLOSE. */
export const Close = message("SSH_FXP_CLOSE", Fxp.CLOSE, { id: u32, handle });
/** SSH_FXP_READ. */
export const Read = message("SSH_FXP_READ", Fxp.READ, { id: u32, handle, offset: u64, length: u32 });
/** SSH_FXP_WRITE; `data` is a view, and what follows it counts for nothing. */
export const Write = message("SSH_FXP_WRITE", Fxp.WRITE, { id: u32, handle, offset: u64, data: paddedDataView });
/** SSH_FXP_LSTAT. */
export const Lstat = message("SSH_FXP_LSTAT", Fxp.LSTAT, { id: u32, path: name });
/** SSH_FXP_FSTAT. */
export const Fstat = message("SSH_FXP_FSTAT", Fxp.FSTAT, { id: u32, handle });
/** SSH_FXP_SETSTAT. */
export const Setstat = message("SSH_FXP_SETSTAT", Fxp.SETSTAT, { id: u32, path: name, attrs: attributes });
/** SSH_FXP_FSETSTAT. */
export const Fsetstat = message("SSH_FXP_FSETSTAT", Fxp.FSETSTAT, { id: u32, handle, attrs: attributes });
/** SSH_FXP_OPENDIR. */
export const Opendir = message("SSH_FXP_OPENDIR", Fxp.OPENDIR, { id: u32, path: name });
/** SSH_FXP_READDIR. */
export const Readdir = message("SSH_FXP_READDIR", Fxp.READDIR, { id: u32, handle });
/** SSH_FXP_REMOVE. */
export const Remove = message("SSH_FXP_REMOVE", Fxp.REMOVE, { id: u32, path: name });
/** SSH_FXP_MKDIR. */
export const Mkdir = message("SSH_FXP_MKDIR", Fxp.MKDIR, { id: u32, path: name, attrs: attributes });
/** SSH_FXP_RMDIR. */
export const Rmdir = message("SSH_FXP_RMDIR", Fxp.RMDIR, { id: u32, path: name });
/** SSH_FXP_REALPATH. */
export const Realpath = message("SSH_FXP_REALPATH", Fxp.REALPATH, { id: u32, path: name });
/** SSH_FXP_STAT. */
export const Stat = message("SSH_FXP_STAT", Fxp.STAT, { id: u32, path: name });
/** SSH_FXP_RENAME. */
export const Rename = message("SSH_FXP_RENAME", Fxp.RENAME, { id: u32, oldPath: name, newPath: name });
/** SSH_FXP_READLINK. */
export const Readlink = message("SSH_FXP_READLINK", Fxp.READLINK, { id: u32, path: name });
/** SSH_FXP_SYMLINK in the order of fields that OpenSSH and most others use (PROTOCOL section 4.1); see symlink_order.ts. */
export const Symlink = message("SSH_FXP_SYMLINK", Fxp.SYMLINK, { id: u32, target: name, path: name });

/** SSH_FXP_HANDLE. */
export const Handle = message("SSH_FXP_HANDLE", Fxp.HANDLE, { id: u32, handle });
/** SSH_FXP_DATA; `data` is a view. */
export const Data = message("SSH_FXP_DATA", Fxp.DATA, { id: u32, data: dataView });
/** SSH_FXP_ATTRS. */
export const Attrs = message("SSH_FXP_ATTRS", Fxp.ATTRS, { id: u32, attrs: attributes });
/** SSH_FXP_STATUS as this side writes it. */
export const StatusReply = message("SSH_FXP_STATUS", Fxp.STATUS, { id: u32, status: u32, text: name, language: name });

/** One name of a NAME reply. */
export interface NameEntry {
  /** The file's name, or a path. */
  readonly name: string;
  /** A line as `ls -l` prints it. */
  readonly longName: string;
  /** Attributes. */
  readonly attrs: SftpAttributes;
}
const entries: Field<readonly NameEntry[]> = {
  read: (r) => {
    const count = r.u32();
    if (count * 12 > r.remaining) throw new SshProtocolError(`Cannot read names: ${count} of them do not fit`);
    const list: NameEntry[] = [];
    for (let i = 0; i < count; i++) {
      list.push({ name: name.read(r), longName: name.read(r), attrs: attributes.read(r) });
    }
    return list;
  },
  write: (w, list) => {
    w.u32(list.length);
    for (const entry of list) {
      name.write(w, entry.name);
      name.write(w, entry.longName);
      attributes.write(w, entry.attrs);
    }
  },
};
/** SSH_FXP_NAME. */
export const Name = message("SSH_FXP_NAME", Fxp.NAME, { id: u32, entries });

/** What a STATUS reply says. Servers of version 2 and 3 alike leave out the text at times. */
export function readStatus(reader: Reader): { status: number; text: string } {
  const status = reader.u32();
  const text = reader.remaining >= 4 ? decodeName(reader.view()) : "";
  return { status, text };
}

/** The name of an extension, which is the same in every request of its kind (section 8). */
function named(extension: string): Field<string> {
  return {
    read: (r) => {
      if (r.ascii() !== extension) throw new SshProtocolError(`Cannot read ${extension}: another extension`);
      return extension;
    },
    write: (w) => void w.text(extension),
  };
}
/** Declares the request of an extension: SSH_FXP_EXTENDED, an id, the extension's name, then its fields (section 8). */
function extended<const F extends Record<string, Field<unknown>>>(extension: string, fields: F): Message<
  { id: Field<number>; extension: Field<string> } & F
> {
  return message(extension, Fxp.EXTENDED, { id: u32, extension: named(extension), ...fields });
}

/** posix-rename@openssh.com. */
export const PosixRename = extended("posix-rename@openssh.com", { oldPath: name, newPath: name });
/** statvfs@openssh.com. */
export const Statvfs = extended("statvfs@openssh.com", { path: name });
/** fstatvfs@openssh.com. */
export const Fstatvfs = extended("fstatvfs@openssh.com", { handle });
/** hardlink@openssh.com. */
export const Hardlink = extended("hardlink@openssh.com", { oldPath: name, newPath: name });
/** fsync@openssh.com. */
export const Fsync = extended("fsync@openssh.com", { handle });
/** lsetstat@openssh.com. */
export const Lsetstat = extended("lsetstat@openssh.com", { path: name, attrs: attributes });
/** limits@openssh.com. */
export const Limits = extended("limits@openssh.com", {});
/** expand-path@openssh.com. */
export const ExpandPath = extended("expand-path@openssh.com", { path: name });
/** copy-data (draft-ietf-secsh-filexfer-extensions-00 section 7). */
export const CopyData = extended("copy-data", {
  from: handle,
  fromOffset: u64,
  length: u64,
  to: handle,
  toOffset: u64,
});
/** home-directory (draft-ietf-secsh-filexfer-extensions-00 section 5). */
export const HomeDirectory = extended("home-directory", { username: name });

const u32List: Field<readonly number[]> = {
  read: (r) => {
    const inner = new Reader(r.view());
    const list: number[] = [];
    while (inner.remaining > 0) list.push(inner.u32());
    return list;
  },
  write: (w, list) => {
    const inner = new Writer(4 * list.length);
    for (const value of list) inner.u32(value);
    w.string(inner.bytes());
  },
};
const nameList: Field<readonly string[]> = {
  read: (r) => {
    const inner = new Reader(r.view());
    const list: string[] = [];
    while (inner.remaining > 0) list.push(name.read(inner));
    return list;
  },
  write: (w, list) => {
    const inner = new Writer();
    for (const value of list) name.write(inner, value);
    w.string(inner.bytes());
  },
};
/** users-groups-by-id@openssh.com. */
export const UsersGroupsById = extended("users-groups-by-id@openssh.com", { uids: u32List, gids: u32List });

/** Reply of users-groups-by-id@openssh.com. */
export const UsersGroupsReply = message("SSH_FXP_EXTENDED_REPLY", Fxp.EXTENDED_REPLY, {
  id: u32,
  users: nameList,
  groups: nameList,
});
/** Reply of limits@openssh.com. */
export const LimitsReply = message("SSH_FXP_EXTENDED_REPLY", Fxp.EXTENDED_REPLY, {
  id: u32,
  maxPacketLength: u64,
  maxReadLength: u64,
  maxWriteLength: u64,
  maxOpenHandles: u64,
});
/** Reply of statvfs@openssh.com and fstatvfs@openssh.com. */
export const StatvfsReply = message("SSH_FXP_EXTENDED_REPLY", Fxp.EXTENDED_REPLY, {
  id: u32,
  f_bsize: u64,
  f_frsize: u64,
  f_blocks: u64,
  f_bfree: u64,
  f_bavail: u64,
  f_files: u64,
  f_ffree: u64,
  f_favail: u64,
  f_fsid: u64,
  f_flag: u64,
  f_namemax: u64,
});

/** SSH_FXP_INIT or SSH_FXP_VERSION (section 4): a version, then pairs of names and data. */
export function encodeVersion(
  type: typeof Fxp.INIT | typeof Fxp.VERSION,
  version: number,
  extensions: Iterable<readonly [string, string]> = [],
): Bytes {
  const writer = new Writer().u8(type).u32(version);
  for (const [key, value] of extensions) writer.text(key).text(value);
  return writer.bytes();
}

/** Reads what {@linkcode encodeVersion} writes; pairs past the first 1,024 are left out. */
export function decodeVersion(payload: Uint8Array): { version: number; extensions: Map<string, string> } {
  const reader = new Reader(payload, 1);
  const version = reader.u32();
  const extensions = new Map<string, string>();
  for (let pairs = 0; reader.remaining > 0 && pairs < 1024; pairs++) {
    const key = decodeName(reader.view());
    extensions.set(key, decodeName(reader.view()));
  }
  return { version, extensions };
}
