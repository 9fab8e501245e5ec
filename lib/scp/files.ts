/**
 * The files that an SCP exchange reads and writes: local ones for a client, a backend's for a server.
 *
 * @module
 */
import type { AuthInfo } from "../auth/types.ts";
import { SftpError } from "../errors.ts";
import { callBack } from "../wire/callback.ts";
import type { SftpAttributes } from "../files/file_info.ts";
import type { SftpBackend, SftpBackendFile } from "../files/backend.ts";
import { canonicalPath, namesDirectory } from "../files/canonical.ts";
import { Status } from "../files/limits.ts";
import {
  createLocal,
  listLocal,
  type LocalInfo,
  localMode,
  localStat,
  localSystem,
  localTimes,
  makeLocalDirectory,
  namesLocalDirectory,
  openLocal,
  removeLocal,
  renameLocal,
  splitLocal,
} from "../files/local_files.ts";
import type { GlobEntry } from "../files/glob.ts";
import { localNameOf } from "../files/local_names.ts";
import { baseName, isEntryName, joinPath } from "../files/names.ts";
import { countOf } from "../files/backend.ts";
import { refusalOf } from "../files/refusals.ts";
import { reasonOf } from "./text.ts";
import { isFileSystemError, statusOf } from "../files/errors.ts";
import { partName } from "../files/copied.ts";

/** Times in seconds since 1970. */
export interface ScpTimes {
  /** Last change. */
  readonly mtime: number;
  /** Last access. */
  readonly atime: number;
}

/** A file being written. */
export interface ScpTarget {
  /** Takes the next bytes. */
  write(bytes: Uint8Array): Promise<void>;
  /** All bytes are there. Where this throws, nothing more is to be done; a file whose times cannot be kept is there whole. */
  finish(times: ScpTimes | null): Promise<void>;
  /** They will not come. Never throws. */
  abandon(): Promise<void>;
}

/** A file being read. */
export interface ScpSource {
  /** Metadata of what was opened. */
  readonly info: LocalInfo;
  /** The next bytes, at most as many as fit; 0 at the end. */
  read(p: Uint8Array): Promise<number>;
  /** Lets go of it. Never throws. */
  close(): Promise<void>;
}

/** What an exchange needs of a file system. */
export interface ScpFiles {
  /** Metadata, or null where there is nothing. */
  stat(path: string, followLinks: boolean): Promise<LocalInfo | null>;
  /** What is in a directory. */
  list(path: string): AsyncIterable<GlobEntry>;
  /** Opens a file to read. */
  open(path: string): Promise<ScpSource>;
  /** Opens a file to write. */
  create(path: string, mode: number, size: number): Promise<ScpTarget>;
  /** Makes a directory; one that is there is taken, but no link to one unless `top`. */
  makeDirectory(path: string, mode: number, top: boolean): Promise<void>;
  /** Sets what is kept of a directory when it is full. */
  finishDirectory(path: string, mode: number | null, times: ScpTimes | null): Promise<void>;
  /** What a name of the other side is called here, or null where it cannot be had. */
  spell(name: string): string | null;
  /** The last component of a path. */
  base(path: string): string;
  /** A path as the other side may read it in an error. */
  shown(path: string): string;
}

/**
 * Local files; a file is written beside its name and renamed when it is whole. One that replaces another has that one's permission bits,
 * as when scp writes to it, unless times and bits are kept.
 */
export const localScpFiles: ScpFiles = {
  stat: localStat,
  async *list(path) {
    for await (const { name, kind } of listLocal(path)) yield { name, isDirectory: kind === "directory" };
  },
  async open(path) {
    const file = await openLocal(path);
    return {
      info: file.stat(),
      read: async (p) => await file.read(p) ?? 0,
      close: () => Promise.resolve(file[Symbol.dispose]()),
    };
  },
  async create(path, mode, size) {
    if (namesLocalDirectory(path)) throw new SftpError("There is no such directory", Status.NO_SUCH_FILE, path);
    const { directory, base } = splitLocal(path);
    const part = joinPath(directory, partName(base, path, size, 0));
    const there = await localStat(path, false), kept = there?.kind === "file" ? there.mode : null;
    // It is open to nobody, at no time, whom the one or the other keeps out.
    const file = await createLocal(part, kept === null ? mode : kept & mode);
    return {
      write: (bytes) => file.write(bytes),
      async finish(times) {
        file[Symbol.dispose]();
        let notKept: SftpError | null = null;
        try {
          if (times !== null) {
            await localMode(part, mode);
            await localTimes(part, times.atime, times.mtime);
          }
        } catch (error) {
          const message = `it is there whole, and its times cannot be set: ${reasonOf(error)}`;
          notKept = new SftpError(message, statusOf(error), path, { cause: error });
        }
        try {
          if (times === null && kept !== null) await localMode(part, kept);
          await renameLocal(part, path);
        } catch (error) {
          await removeLocal(part).catch(() => {});
          throw error;
        }
        if (notKept !== null) throw notKept;
      },
      async abandon() {
        file[Symbol.dispose]();
        await removeLocal(part).catch(() => {});
      },
    };
  },
  async makeDirectory(path, _mode, top) {
    const there = await localStat(path, top);
    if (there === null) await makeLocalDirectory(path, top);
    else if (there.kind !== "directory") {
      throw new SftpError("something else of that name is here", Status.FAILURE, path);
    }
  },
  async finishDirectory(path, mode, times) {
    if (mode !== null) await localMode(path, mode);
    if (times !== null) await localTimes(path, times.atime, times.mtime);
  },
  spell: (name) => localNameOf(name, localSystem()),
  base: (path) => splitLocal(path).base,
  // The rest of it is none of the server's business.
  shown: (path) => splitLocal(path).base,
};

function isMissing(error: unknown): boolean {
  if (error instanceof SftpError) return refusalOf(error) === "missing";
  return error instanceof Error && (error.name === "NotFound" || (error as { code?: unknown }).code === "ENOENT");
}

/** A backend's files, as one user sees them. `onError` is told of what is a mistake in the backend, as in `serveSftp()`. */
export function backendScpFiles(backend: SftpBackend, who: AuthInfo, onError: (error: unknown) => void): ScpFiles {
  const watched = async <T>(work: () => T | PromiseLike<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw noted(error);
    }
  };
  const noted = (error: unknown): unknown => {
    if (!(error instanceof SftpError) && !isFileSystemError(error)) callBack(() => onError(error));
    return error;
  };
  const closed = (file: SftpBackendFile): Promise<void> => watched(() => file[Symbol.asyncDispose]());
  const open = (path: string, options: Deno.OpenOptions): Promise<SftpBackendFile> => {
    const place = canonicalPath(path);
    return watched(() => backend.open(place, options, who));
  };
  const stat = async (path: string, followLinks: boolean): Promise<LocalInfo> => {
    const place = canonicalPath(path), isDirectory = namesDirectory(path);
    const info = await watched(() => backend.stat(place, followLinks || isDirectory, who));
    if (isDirectory && !info.isDirectory) throw new SftpError("Not a directory", Status.NO_SUCH_FILE);
    const mtime = Math.floor((info.mtime?.getTime() ?? 0) / 1000);
    return {
      kind: info.isFile ? "file" : info.isDirectory ? "directory" : info.isSymlink ? "link" : "other",
      size: info.size,
      mode: info.mode === null ? null : info.mode & 0o777,
      mtime,
      atime: info.atime === null ? mtime : Math.floor(info.atime.getTime() / 1000),
    };
  };
  /** A backend that keeps no attributes has none to set. */
  const setStat = async (path: string, attrs: SftpAttributes): Promise<void> => {
    const method = backend.setStat ?? backend.setstat, place = canonicalPath(path);
    await watched(() => method?.call(backend, place, attrs, true, who));
  };
  return {
    stat: (path, followLinks) =>
      stat(path, followLinks).catch((error) => {
        if (isMissing(error)) return null;
        throw error;
      }),
    async *list(path) {
      const place = canonicalPath(path);
      try {
        for await (const entry of backend.readDir(place, who)) {
          // The directory itself would be copied into itself.
          if (entry.name !== "." && entry.name !== "..") yield entry;
        }
      } catch (error) {
        throw noted(error);
      }
    },
    async open(path) {
      const info = await stat(path, true), file = await open(path, { read: true });
      let offset = 0;
      return {
        info,
        async read(p) {
          const count = await watched(async () => countOf(await file.readAt(p, offset), p.length));
          offset += count;
          return count;
        },
        close: () => closed(file).catch(() => {}),
      };
    },
    async create(path, mode) {
      if (namesDirectory(path)) throw new SftpError("Is a directory", Status.FAILURE);
      const file = await open(path, { write: true, create: true, truncate: true, mode });
      let offset = 0;
      return {
        async write(bytes) {
          await watched(() => file.writeAt(bytes, offset));
          offset += bytes.length;
        },
        async finish(times) {
          try {
            if (times !== null) {
              if (file.setStat === undefined) await setStat(path, { mode, ...times });
              else await watched(() => file.setStat!({ mode, ...times }));
            }
          } catch (error) {
            await closed(file).catch(() => {});
            throw error;
          }
          await closed(file);
        },
        // The error that led here is the one to tell.
        abandon: () => closed(file).catch(() => {}),
      };
    },
    async makeDirectory(path, mode, _top) {
      const there = await this.stat(path, true), place = canonicalPath(path);
      if (there?.kind === "directory") return;
      if (backend.mkdir === undefined) throw new SftpError("Operation unsupported", Status.OP_UNSUPPORTED);
      await watched(() => backend.mkdir!(place, { mode: mode | 0o700 }, who));
    },
    async finishDirectory(path, mode, times) {
      if (mode !== null || times !== null) await setStat(path, { ...(mode === null ? {} : { mode }), ...times });
    },
    // What a backend cannot have, it refuses.
    spell: (name) => isEntryName(name) ? name : null,
    base: (path) => baseName(canonicalPath(path)),
    // It is what the client named.
    shown: (path) => path,
  };
}
