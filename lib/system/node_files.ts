/**
 * Files of `node:fs`, as Deno has them.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";
import { denoLike } from "./node_errors.ts";
import { nodeModule, nodeProcess } from "./node_modules.ts";
import { readableOver } from "./node_streams.ts";
import type { FileFacts, FileSystem, OpenFile } from "./types.ts";

type Stats = import("node:fs").Stats;
type Handle = import("node:fs/promises").FileHandle;

/** Those of Node's that give promises. */
function files(): typeof import("node:fs/promises") {
  return nodeModule("node:fs").promises;
}

function factsOf(stats: Stats): FileFacts {
  const { size, ino, dev, atime, mtime } = stats;
  // Windows has none of these: what Node gives there is made up, and says that everybody may write everything.
  const { mode, uid, gid } = nodeProcess().platform === "win32" ? { mode: null, uid: null, gid: null } : stats;
  return {
    isFile: stats.isFile(),
    isDirectory: stats.isDirectory(),
    isSymlink: stats.isSymbolicLink(),
    isSocket: stats.isSocket(),
    ...{ size, mode, uid, gid, ino, dev, atime, mtime },
  };
}

/** The flags of open(2). */
function flagsOf(options: Deno.OpenOptions): number {
  const { constants } = nodeModule("node:fs");
  const { write = false, append = false, create = false, createNew = false, truncate = false } = options;
  const read = options.read ?? !(write || append), writes = write || append;
  return (writes ? read ? constants.O_RDWR : constants.O_WRONLY : constants.O_RDONLY) |
    (append ? constants.O_APPEND : 0) | (create || createNew ? constants.O_CREAT : 0) |
    (createNew ? constants.O_EXCL : 0) | (truncate ? constants.O_TRUNC : 0);
}

/** Who has locked what, by device and number. Node has no locks of files: these hold within one program, and others do not see them. */
const locks = new Map<string, NodeFile>();

class NodeFile implements OpenFile {
  readonly readable: ReadableStream<Bytes>;
  readonly writable: WritableStream<Uint8Array>;
  readonly #handle: Handle;
  /** Where it is read and written, for a file; a pipe has no such place. */
  #position: number | null;
  /** What it has locked. */
  #lock: string | null = null;

  constructor(handle: Handle, appends: boolean) {
    this.#handle = handle;
    this.#position = appends || !this.statSync().isFile ? null : 0;
    this.readable = readableOver((p) => this.read(p), () => this.close());
    this.writable = new WritableStream({
      write: async (chunk) => {
        for (let at = 0; at < chunk.length;) at += await this.write(chunk.subarray(at));
      },
      close: () => this.close(),
      abort: () => this.close(),
    });
  }

  async read(p: Uint8Array): Promise<number | null> {
    if (p.length === 0) return 0;
    const { bytesRead } = await denoLike(() => this.#handle.read(p, 0, p.length, this.#position));
    if (this.#position !== null) this.#position += bytesRead;
    return bytesRead === 0 ? null : bytesRead;
  }

  async write(p: Uint8Array): Promise<number> {
    const { bytesWritten } = await denoLike(() => this.#handle.write(p, 0, p.length, this.#position));
    if (this.#position !== null) this.#position += bytesWritten;
    return bytesWritten;
  }

  seek(offset: number): Promise<number> {
    this.#position = offset;
    return Promise.resolve(offset);
  }

  async stat(): Promise<FileFacts> {
    return factsOf(await denoLike(() => this.#handle.stat()));
  }

  statSync(): FileFacts {
    return factsOf(nodeModule("node:fs").fstatSync(this.#handle.fd));
  }

  truncate(length: number): Promise<void> {
    return denoLike(() => this.#handle.truncate(length));
  }

  sync(): Promise<void> {
    return denoLike(() => this.#handle.sync());
  }

  tryLock(): Promise<boolean> {
    const { dev, ino } = this.statSync(), lock = `${dev}:${ino}`, holder = locks.get(lock) ?? this;
    if (holder === this) {
      locks.set(lock, this);
      this.#lock = lock;
    }
    return Promise.resolve(holder === this);
  }

  /** What is being done with it is done to its end. */
  close(): void {
    if (this.#lock !== null) locks.delete(this.#lock);
    this.#lock = null;
    this.#handle.close().catch(() => {});
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Those of Node. */
export const nodeFiles: FileSystem = {
  stat: (path) => denoLike(async () => factsOf(await files().stat(path))),
  lstat: (path) => denoLike(async () => factsOf(await files().lstat(path))),
  open: (path, options = {}) =>
    denoLike(async () => {
      const handle = await files().open(path, flagsOf(options), options.mode ?? 0o666);
      return new NodeFile(handle, options.append ?? false);
    }),
  readFile: (path) => denoLike(async () => new Uint8Array(await files().readFile(path))),
  readTextFile: (path) => denoLike(() => files().readFile(path, "utf-8")),
  async *readDir(path): AsyncGenerator<Deno.DirEntry> {
    for await (const entry of await denoLike(() => files().opendir(path))) {
      const isSymlink = entry.isSymbolicLink();
      yield { name: entry.name, isFile: entry.isFile(), isDirectory: entry.isDirectory(), isSymlink };
    }
  },
  mkdir: (path, options = {}) => denoLike(async () => void await files().mkdir(path, options)),
  remove: (path) =>
    denoLike(async () => {
      if ((await files().lstat(path)).isDirectory()) await files().rmdir(path);
      else await files().unlink(path);
    }),
  rename: (from, to) => denoLike(() => files().rename(from, to)),
  symlink: (target, path) => denoLike(() => files().symlink(target, path)),
  readLink: (path) => denoLike(() => files().readlink(path)),
  realPath: (path) => denoLike(() => files().realpath(path)),
  chmod: (path, mode) => denoLike(() => files().chmod(path, mode)),
  chown: (path, uid, gid) => denoLike(() => files().chown(path, uid, gid)),
  utime: (path, atime, mtime) => denoLike(() => files().utimes(path, atime, mtime)),
};
