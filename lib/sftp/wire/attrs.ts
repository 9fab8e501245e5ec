/**
 * File attributes. draft-ietf-secsh-filexfer-02 section 5. No I/O.
 *
 * @module
 */
import { SshProtocolError } from "../../errors.ts";
import type { Field } from "../../wire/codec.ts";
import type { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import type { Writer } from "../../wire/writer.ts";
import type { SftpAttributes, SftpFileInfo } from "../../files/file_info.ts";
import { FileType } from "../../files/limits.ts";
import { decodeName, encodeName } from "../../files/names.ts";

const SIZE = 1, UIDGID = 2, PERMISSIONS = 4, ACMODTIME = 8, EXTENDED = 0x8000_0000;

/** `uint64` as a number; above 2^53 it is rounded. */
export function readSize(reader: Reader): number {
  const high = reader.u32();
  return high * 0x1_0000_0000 + reader.u32();
}

function read(reader: Reader): SftpAttributes {
  const flags = reader.u32();
  const attrs: { -readonly [K in keyof SftpAttributes]: SftpAttributes[K] } = {};
  if (flags & SIZE) attrs.size = readSize(reader);
  if (flags & UIDGID) {
    attrs.uid = reader.u32();
    attrs.gid = reader.u32();
  }
  if (flags & PERMISSIONS) attrs.mode = reader.u32();
  if (flags & ACMODTIME) {
    attrs.atime = reader.u32();
    attrs.mtime = reader.u32();
  }
  if (flags & EXTENDED) {
    const count = reader.u32();
    if (count * 8 > reader.remaining) {
      throw new SshProtocolError(`Cannot read attributes: ${count} extended ones do not fit`);
    }
    const extended = new Map<string, Bytes>();
    for (let i = 0; i < count; i++) {
      const name = decodeName(reader.view());
      extended.set(name, reader.string());
    }
    attrs.extended = extended;
  }
  return attrs;
}

/** A time in whole seconds as 32 bits carry it: for one outside, the first or the last of them. */
function seconds(time: number): number {
  return Math.min(Math.max(Math.floor(time), 0), 0xffff_ffff);
}

/** Seconds of a file's time; 0 for one that no `Date` can tell, which is no reason not to list the file. */
function secondsOf(date: Date): number {
  return date.getTime() / 1000 || 0;
}

function write(writer: Writer, attrs: SftpAttributes): void {
  const owner = attrs.uid !== undefined && attrs.gid !== undefined;
  const times = attrs.atime !== undefined && attrs.mtime !== undefined;
  const extended = attrs.extended !== undefined && attrs.extended.size > 0;
  writer.u32(
    (attrs.size !== undefined ? SIZE : 0) + (owner ? UIDGID : 0) + (attrs.mode !== undefined ? PERMISSIONS : 0) +
      (times ? ACMODTIME : 0) + (extended ? EXTENDED : 0),
  );
  if (attrs.size !== undefined) writer.u64(BigInt(Math.floor(attrs.size)));
  if (owner) writer.u32(attrs.uid!).u32(attrs.gid!);
  if (attrs.mode !== undefined) writer.u32(attrs.mode);
  if (times) writer.u32(seconds(attrs.atime!)).u32(seconds(attrs.mtime!));
  if (extended) {
    writer.u32(attrs.extended!.size);
    for (const [name, value] of attrs.extended!) writer.string(encodeName(name)).string(value);
  }
}

/** `ATTRS` (section 5). */
export const attributes: Field<SftpAttributes> = { read, write };

const none: ReadonlyMap<string, Bytes> = new Map();

/** The file type, or 0; `typeBits` is used where the server sent none with the permissions, or no permissions. */
export function typeOf(attrs: SftpAttributes, typeBits: number): number {
  return ((attrs.mode ?? 0) & FileType.MASK) || typeBits;
}

/** Attributes in the shape of `Deno.FileInfo`; for `typeBits` see {@linkcode typeOf}. */
export function fileInfo(attrs: SftpAttributes, typeBits = 0): SftpFileInfo {
  const type = typeOf(attrs, typeBits);
  return {
    isFile: type === FileType.REGULAR,
    isDirectory: type === FileType.DIRECTORY,
    isSymlink: type === FileType.SYMLINK,
    size: attrs.size ?? 0,
    mtime: attrs.mtime === undefined ? null : new Date(attrs.mtime * 1000),
    atime: attrs.atime === undefined ? null : new Date(attrs.atime * 1000),
    mode: attrs.mode ?? null,
    uid: attrs.uid ?? null,
    gid: attrs.gid ?? null,
    extended: attrs.extended ?? none,
  };
}

/** Bytes that the extended attributes of one file may take in a server's replies, which have to fit into packets. */
const MAX_EXTENDED = 65_536;

/** Bytes that extended attributes take at most: no UTF-16 unit of a name takes more than three. */
export function extendedLength(extended: ReadonlyMap<string, Uint8Array> | undefined): number {
  let length = 0;
  for (const [name, value] of extended ?? none) length += 8 + 3 * name.length + value.length;
  return length;
}

/** The opposite of {@linkcode fileInfo}, for a server's replies: with more extended attributes than fit, without them. */
export function attributesOf(
  info: Omit<SftpFileInfo, "extended"> & { readonly extended?: ReadonlyMap<string, Bytes> | undefined },
): SftpAttributes {
  const type = info.isDirectory
    ? FileType.DIRECTORY
    : info.isSymlink
    ? FileType.SYMLINK
    : info.isFile
    ? FileType.REGULAR
    : 0;
  const plain = info.mode ?? (info.isDirectory ? 0o755 : info.isSymlink ? 0o777 : 0o644);
  return {
    size: info.size,
    mode: (plain & FileType.MASK) !== 0 ? plain : plain | type,
    ...(info.uid !== null && info.gid !== null ? { uid: info.uid, gid: info.gid } : {}),
    ...(info.mtime !== null ? { mtime: secondsOf(info.mtime), atime: secondsOf(info.atime ?? info.mtime) } : {}),
    ...(info.extended?.size && extendedLength(info.extended) <= MAX_EXTENDED ? { extended: info.extended } : {}),
  };
}

const letters: Readonly<Record<string, number>> = {
  "-": FileType.REGULAR,
  d: FileType.DIRECTORY,
  l: FileType.SYMLINK,
};

/** The file type that the first letter of a long name tells (section 7, NAME). */
export function typeOfLongName(longName: string): number {
  return letters[longName.charAt(0)] ?? 0;
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** The line of `ls -l` for an entry (section 7, NAME), with numbers for owner and group. */
export function longName(name: string, attrs: SftpAttributes, now: number): string {
  const mode = attrs.mode ?? 0, type = mode & FileType.MASK;
  let line = type === FileType.DIRECTORY
    ? "d"
    : type === FileType.SYMLINK
    ? "l"
    : type === FileType.REGULAR
    ? "-"
    : "?";
  for (let bit = 8; bit >= 0; bit--) line += mode & (1 << bit) ? "xwr".charAt(bit % 3) : "-";
  const time = new Date(seconds(attrs.mtime ?? 0) * 1000);
  const old = Math.abs(now - time.getTime()) > 182 * 86_400_000;
  const two = (n: number): string => String(n).padStart(2, "0");
  const when = old ? ` ${time.getUTCFullYear()}` : `${two(time.getUTCHours())}:${two(time.getUTCMinutes())}`;
  return `${line}    1 ${String(attrs.uid ?? 0).padEnd(8)} ${String(attrs.gid ?? 0).padEnd(8)} ` +
    `${String(attrs.size ?? 0).padStart(8)} ${months[time.getUTCMonth()]!} ${
      String(time.getUTCDate()).padStart(2)
    } ${when} ${name}`;
}
