/**
 * L5. The files that an SCP exchange reads and writes: local ones for a client, a backend's for a server.
 *
 * @module
 */
import type { AuthInfo } from "../auth/types.ts";
import { SftpError } from "../errors.ts";
import type { SftpBackend } from "./backend.ts";
import { canonicalPath } from "./canonical.ts";
import { Status } from "./constants.ts";
import {
  createLocal,
  listLocal,
  type LocalInfo,
  localMode,
  localStat,
  localTimes,
  makeLocalDirectory,
  openLocal,
  removeLocal,
  renameLocal,
  splitLocal,
} from "./local_files.ts";
import { baseName, joinPath, quoted } from "./names.ts";
import { partName } from "./transfer.ts";

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
  /** All bytes are there. */
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
  /** Lets go of it. */
  close(): Promise<void>;
}

/** What an exchange needs of a file system. */
export interface ScpFiles {
  /** Metadata, or null where there is nothing. */
  stat(path: string, followLinks: boolean): Promise<LocalInfo | null>;
  /** Names in a directory. */
  list(path: string): AsyncIterable<string>;
  /** Opens a file to read. */
  open(path: string): Promise<ScpSource>;
  /** Opens a file to write. */
  create(path: string, mode: number, size: number): Promise<ScpTarget>;
  /** Makes a directory; one that is there is taken, but no link to one unless `top`. */
  makeDirectory(path: string, mode: number, top: boolean): Promise<void>;
  /** Sets what is kept of a directory when it is full. */
  finishDirectory(path: string, mode: number | null, times: ScpTimes | null): Promise<void>;
  /** The last component of a path. */
  base(path: string): string;
}

/** Local files; a file is written beside its name and renamed when it is whole. */
export const localScpFiles: ScpFiles = {
  stat: localStat,
  async *list(path) {
    for await (const { name } of listLocal(path)) yield name;
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
    const { directory, base } = splitLocal(path);
    const part = joinPath(directory, partName(base, path, size, 0));
    const file = await createLocal(part, mode);
    return {
      write: (bytes) => file.write(bytes),
      async finish(times) {
        file[Symbol.dispose]();
        if (times !== null) {
          await localMode(part, mode);
          await localTimes(part, times.atime, times.mtime);
        }
        await renameLocal(part, path);
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
      throw new SftpError(
        `Cannot make directory ${quoted(path)}: something else of that name is here`,
        Status.FAILURE,
        path,
      );
    }
  },
  async finishDirectory(path, mode, times) {
    if (mode !== null) await localMode(path, mode);
    if (times !== null) await localTimes(path, times.atime, times.mtime);
  },
  base: (path) => splitLocal(path).base,
};

function unsupported(): SftpError {
  return new SftpError("Operation unsupported", Status.OP_UNSUPPORTED);
}

/** A backend's files, as one user sees them. */
export function backendScpFiles(backend: SftpBackend, who: AuthInfo): ScpFiles {
  const stat = async (path: string, followLinks: boolean): Promise<LocalInfo> => {
    const info = await backend.stat(canonicalPath(path), followLinks, who);
    const mtime = Math.floor((info.mtime?.getTime() ?? 0) / 1000);
    return {
      kind: info.isFile ? "file" : info.isDirectory ? "directory" : info.isSymlink ? "link" : "other",
      size: info.size,
      mode: info.mode === null ? null : info.mode & 0o777,
      mtime,
      atime: info.atime === null ? mtime : Math.floor(info.atime.getTime() / 1000),
    };
  };
  return {
    stat: (path, followLinks) =>
      stat(path, followLinks).catch((error) => {
        const missing = error instanceof SftpError
          ? error.status === Status.NO_SUCH_FILE
          : error instanceof Error && (error.name === "NotFound" || (error as { code?: unknown }).code === "ENOENT");
        if (missing) return null;
        throw error;
      }),
    async *list(path) {
      for await (const { name } of backend.readDir(canonicalPath(path), who)) yield name;
    },
    async open(path) {
      const info = await stat(path, true);
      const file = await backend.open(canonicalPath(path), { read: true }, who);
      let offset = 0;
      return {
        info,
        async read(p) {
          const count = await file.readAt(p, offset);
          offset += count;
          return count;
        },
        close: async () => await file[Symbol.asyncDispose](),
      };
    },
    async create(path, mode) {
      const options = { write: true, create: true, truncate: true, mode };
      const file = await backend.open(canonicalPath(path), options, who);
      let offset = 0;
      return {
        async write(bytes) {
          await file.writeAt(bytes, offset);
          offset += bytes.length;
        },
        async finish(times) {
          try {
            if (times !== null) await file.setStat?.({ mode, ...times });
          } finally {
            await file[Symbol.asyncDispose]();
          }
        },
        async abandon() {
          try {
            await file[Symbol.asyncDispose]();
          } catch {
            // The error that led here is the one to tell.
          }
        },
      };
    },
    async makeDirectory(path, mode, _top) {
      const there = await this.stat(path, true);
      if (there?.kind === "directory") return;
      if (backend.mkdir === undefined) throw unsupported();
      await backend.mkdir(canonicalPath(path), { mode: mode | 0o700 }, who);
    },
    async finishDirectory(path, mode, times) {
      if (mode === null && times === null) return;
      await backend.setStat?.(canonicalPath(path), { ...(mode === null ? {} : { mode }), ...times }, true, who);
    },
    base: (path) => baseName(canonicalPath(path)),
  };
}
