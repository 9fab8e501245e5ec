/**
 * The local files of a transfer: the one place of the client's side that may use files of the system.
 *
 * @module
 */
import { system } from "../system/system.ts";
import type { FileFacts, OpenFile } from "../system/types.ts";

/** What a transfer wants to know of a local file. */
export interface LocalInfo {
  /** What it is; `other` is a device, a pipe or a socket. */
  readonly kind: "file" | "directory" | "link" | "other";
  /** Bytes. */
  readonly size: number;
  /** Permission bits, or null where the system has none. */
  readonly mode: number | null;
  /** Last access in seconds since 1970. */
  readonly atime: number;
  /** Last change in seconds since 1970. */
  readonly mtime: number;
}

/** A local file open for reading or writing. */
export interface LocalFile extends Disposable {
  /** Metadata. */
  stat(): LocalInfo;
  /** Reads at the position; null at the end. */
  read(p: Uint8Array): Promise<number | null>;
  /** Writes all of it at the position. */
  write(p: Uint8Array): Promise<void>;
  /** Moves the position. */
  seek(offset: number): Promise<void>;
  /** Cuts the file. */
  truncate(length: number): Promise<void>;
}

function infoOf(info: FileFacts): LocalInfo {
  return {
    kind: info.isFile ? "file" : info.isDirectory ? "directory" : info.isSymlink ? "link" : "other",
    size: info.size,
    mode: info.mode === null ? null : info.mode & 0o777,
    atime: (info.atime ?? info.mtime)?.getTime() ?? 0,
    mtime: info.mtime?.getTime() ?? 0,
  };
}
function inSeconds(info: LocalInfo): LocalInfo {
  return { ...info, atime: Math.floor(info.atime / 1000), mtime: Math.floor(info.mtime / 1000) };
}

function wrap(file: OpenFile): LocalFile {
  return {
    stat: () => inSeconds(infoOf(file.statSync())),
    read: (p) => file.read(p),
    write: async (p) => {
      for (let done = 0; done < p.length;) done += await file.write(p.subarray(done));
    },
    seek: async (offset) => void await file.seek(offset, 0),
    truncate: (length) => file.truncate(length),
    [Symbol.dispose]: () => file.close(),
  };
}

/** Metadata, or null where there is nothing. */
export async function localStat(path: string, followLinks: boolean): Promise<LocalInfo | null> {
  try {
    return inSeconds(infoOf(await (followLinks ? system.stat(path) : system.lstat(path))));
  } catch (error) {
    if (error instanceof system.errors.NotFound) return null;
    throw error;
  }
}

/** Opens a file to read. */
export async function openLocal(path: string): Promise<LocalFile> {
  return wrap(await system.open(path));
}

/** Makes a file that is not there yet; what is there already, a link too, is removed and never written to. */
export async function createLocal(path: string, mode: number | null): Promise<LocalFile> {
  const options = { write: true, createNew: true, ...(mode === null ? {} : { mode }) };
  try {
    return wrap(await system.open(path, options));
  } catch (error) {
    if (!(error instanceof system.errors.AlreadyExists)) throw error;
  }
  await system.remove(path);
  return wrap(await system.open(path, options));
}

/** Opens a regular file that is there to write on, though its bits forbid it to its owner; null where there is none. */
export async function continueLocal(path: string): Promise<LocalFile | null> {
  const info = await localStat(path, false);
  if (info?.kind !== "file") return null;
  const { mode } = info, locked = mode !== null && (mode & 0o200) === 0;
  if (!locked) return wrap(await system.open(path, { write: true }));
  await localMode(path, mode | 0o200);
  try {
    return wrap(await system.open(path, { write: true }));
  } finally {
    await localMode(path, mode);
  }
}

/** Opens a file to write in place, emptied; a link is written through, or makes room for a file. */
export async function openLocalInPlace(
  path: string,
  mode: number | null,
  links: "follow" | "replace",
): Promise<LocalFile> {
  const options = { write: true, create: true, truncate: true, ...(mode === null ? {} : { mode }) };
  if (links === "replace" && (await localStat(path, false))?.kind === "link") await system.remove(path);
  return wrap(await system.open(path, options));
}

/** Entries of a directory. */
export async function* listLocal(path: string): AsyncIterable<{ name: string; kind: LocalInfo["kind"] }> {
  for await (const entry of system.readDir(path)) {
    const kind = entry.isFile ? "file" : entry.isDirectory ? "directory" : entry.isSymlink ? "link" : "other";
    yield { name: entry.name, kind };
  }
}

/** Makes a directory and its parents. */
export async function makeLocalDirectory(path: string, recursive: boolean): Promise<void> {
  try {
    await system.mkdir(path, { recursive });
  } catch (error) {
    if (!(error instanceof system.errors.AlreadyExists)) throw error;
  }
}

/** Renames, over a file of the new name. */
export async function renameLocal(from: string, to: string): Promise<void> {
  await system.rename(from, to);
}

/** Removes a file, if it is there. */
export async function removeLocal(path: string): Promise<void> {
  await system.remove(path).catch((error) => {
    if (!(error instanceof system.errors.NotFound)) throw error;
  });
}

/** Sets times, in seconds since 1970. */
export async function localTimes(path: string, atime: number, mtime: number): Promise<void> {
  await system.utime(path, atime, mtime);
}

/** Sets permission bits, where the system has them. */
export async function localMode(path: string, mode: number): Promise<void> {
  if (system.build.os !== "windows") await system.chmod(path, mode);
}

/** Reads a link. */
export async function localLink(path: string): Promise<string> {
  return await system.readLink(path);
}

/** Makes a link, in the place of a link or file of that name, which goes only when the link is there, `part` until then. */
export async function makeLocalLink(target: string, path: string, part: string): Promise<void> {
  const there = await localStat(path, false);
  if (there?.kind !== "link" && there?.kind !== "file") return await system.symlink(target, path);
  await removeLocal(part);
  await system.symlink(target, part);
  try {
    await system.rename(part, path);
  } catch (error) {
    await removeLocal(part).catch(() => {});
    throw error;
  }
}

/** The canonical form of a path that exists. */
export async function localRealPath(path: string): Promise<string> {
  return await system.realPath(path);
}

/** The separator between components: `/`, or on Windows either. */
export function splitLocal(path: string): { directory: string; base: string } {
  const pattern = system.build.os === "windows" ? /^(.*?)[\\/]*([^\\/]*)[\\/]*$/s : /^(.*?)\/*([^/]*)\/*$/s;
  const match = pattern.exec(path)!;
  const directory = match[1]! !== "" ? match[1]! : path.startsWith("/") ? "/" : ".";
  return { directory, base: match[2]! };
}

/** Whether a path can only be that of a directory, as it is written. */
export function namesLocalDirectory(path: string): boolean {
  return (system.build.os === "windows" ? /(^|[\\/])\.{0,2}$/ : /(^|\/)\.{0,2}$/).test(path);
}

/** Makes a file with these contents; what is there already, a link too, is removed and never written to. */
export async function writeLocal(path: string, data: Uint8Array, mode: number | null): Promise<void> {
  // `Deno.writeFile()` would set the mode whatever the umask takes away.
  using file = await createLocal(path, mode);
  await file.write(data);
}

/** The system whose files these are. */
export function localSystem(): string {
  return system.build.os;
}

/** Whether this system takes a link's target for absolute, or for something else than a relative path. */
export function isForeignTarget(target: string): boolean {
  return target.startsWith("/") || system.build.os === "windows" && /[\\:]/.test(target);
}
