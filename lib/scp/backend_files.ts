/**
 * A backend's files as a server's SCP exchange reads and writes them.
 *
 * @module
 */
import type { AuthInfo } from "../auth/types.ts";
import { SftpError } from "../errors.ts";
import { countOf, type SftpBackend, type SftpBackendFile } from "../files/backend.ts";
import { canonicalPath, namesDirectory } from "../files/canonical.ts";
import { isFileSystemError } from "../files/errors.ts";
import type { SftpAttributes } from "../files/file_info.ts";
import type { GlobEntry } from "../files/glob.ts";
import { Status } from "../files/limits.ts";
import type { LocalInfo } from "../files/local_files.ts";
import { baseName, isEntryName } from "../files/names.ts";
import { refusalOf } from "../files/refusals.ts";
import { callBack } from "../wire/callback.ts";
import type { ScpFiles, ScpSource, ScpTarget, ScpTimes } from "./files.ts";

function isMissing(error: unknown): boolean {
  if (error instanceof SftpError) return refusalOf(error) === "missing";
  return error instanceof Error && (error.name === "NotFound" || (error as { code?: unknown }).code === "ENOENT");
}

/** A backend, told who asks. */
class Asked {
  readonly backend: SftpBackend;
  readonly who: AuthInfo;
  readonly #onError: (error: unknown) => void;

  constructor(backend: SftpBackend, who: AuthInfo, onError: (error: unknown) => void) {
    this.backend = backend;
    this.who = who;
    this.#onError = onError;
  }

  /** What the backend gives; its mistakes are told. */
  async of<T>(work: () => T | PromiseLike<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.noted(error);
    }
  }

  /** An error, told where it is a mistake. */
  noted(error: unknown): unknown {
    if (!(error instanceof SftpError) && !isFileSystemError(error)) callBack(() => this.#onError(error));
    return error;
  }

  /** A backend that keeps no attributes has none to set. */
  async setStat(path: string, attrs: SftpAttributes): Promise<void> {
    const { backend, who } = this, method = backend.setStat ?? backend.setstat, place = canonicalPath(path);
    await this.of(() => method?.call(backend, place, attrs, true, who));
  }

  open(path: string, options: Deno.OpenOptions): Promise<SftpBackendFile> {
    const place = canonicalPath(path);
    return this.of(() => this.backend.open(place, options, this.who));
  }

  close(file: SftpBackendFile): Promise<void> {
    return this.of(() => file[Symbol.asyncDispose]());
  }
}

/** A backend's files, as one user sees them. `onError` is told of what is a mistake in the backend, as in `serveSftp()`. */
export class BackendScpFiles implements ScpFiles {
  readonly #asked: Asked;

  /** Nothing is asked for yet. */
  constructor(backend: SftpBackend, who: AuthInfo, onError: (error: unknown) => void) {
    this.#asked = new Asked(backend, who, onError);
  }

  async stat(path: string, followLinks: boolean): Promise<LocalInfo | null> {
    try {
      return await this.#stat(path, followLinks);
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async #stat(path: string, followLinks: boolean): Promise<LocalInfo> {
    const { backend, who } = this.#asked, place = canonicalPath(path), isDirectory = namesDirectory(path);
    const info = await this.#asked.of(() => backend.stat(place, followLinks || isDirectory, who));
    if (isDirectory && !info.isDirectory) throw new SftpError("Not a directory", Status.NO_SUCH_FILE);
    const mtime = Math.floor((info.mtime?.getTime() ?? 0) / 1000);
    return {
      kind: info.isFile ? "file" : info.isDirectory ? "directory" : info.isSymlink ? "link" : "other",
      size: info.size,
      mode: info.mode === null ? null : info.mode & 0o777,
      mtime,
      atime: info.atime === null ? mtime : Math.floor(info.atime.getTime() / 1000),
    };
  }

  async *list(path: string): AsyncIterable<GlobEntry> {
    const { backend, who } = this.#asked, place = canonicalPath(path);
    try {
      for await (const entry of backend.readDir(place, who)) {
        // The directory itself would be copied into itself.
        if (entry.name !== "." && entry.name !== "..") yield entry;
      }
    } catch (error) {
      throw this.#asked.noted(error);
    }
  }

  async open(path: string): Promise<ScpSource> {
    const asked = this.#asked, info = await this.#stat(path, true), file = await asked.open(path, { read: true });
    let offset = 0;
    return {
      info,
      async read(p) {
        const count = await asked.of(async () => countOf(await file.readAt(p, offset), p.length));
        offset += count;
        return count;
      },
      close: () => asked.close(file).catch(() => {}),
    };
  }

  async create(path: string, mode: number): Promise<ScpTarget> {
    if (namesDirectory(path)) throw new SftpError("Is a directory", Status.FAILURE);
    const file = await this.#asked.open(path, { write: true, create: true, truncate: true, mode });
    return new BackendTarget(this.#asked, file, path, mode);
  }

  async makeDirectory(path: string, mode: number, _top: boolean): Promise<void> {
    const there = await this.stat(path, true), place = canonicalPath(path), { backend, who } = this.#asked;
    if (there?.kind === "directory") return;
    if (backend.mkdir === undefined) throw new SftpError("Operation unsupported", Status.OP_UNSUPPORTED);
    await this.#asked.of(() => backend.mkdir!(place, { mode: mode | 0o700 }, who));
  }

  async finishDirectory(path: string, mode: number | null, times: ScpTimes | null): Promise<void> {
    if (mode !== null || times !== null) {
      await this.#asked.setStat(path, { ...(mode === null ? {} : { mode }), ...times });
    }
  }

  /** What a backend cannot have, it refuses. */
  spell(name: string): string | null {
    return isEntryName(name) ? name : null;
  }

  base(path: string): string {
    return baseName(canonicalPath(path));
  }

  /** It is what the client named. */
  shown(path: string): string {
    return path;
  }
}

/** A file that a client writes. */
class BackendTarget implements ScpTarget {
  readonly #asked: Asked;
  readonly #file: SftpBackendFile;
  readonly #path: string;
  readonly #mode: number;
  #offset = 0;

  constructor(asked: Asked, file: SftpBackendFile, path: string, mode: number) {
    this.#asked = asked;
    this.#file = file;
    this.#path = path;
    this.#mode = mode;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#asked.of(() => this.#file.writeAt(bytes, this.#offset));
    this.#offset += bytes.length;
  }

  async finish(times: ScpTimes | null): Promise<void> {
    const file = this.#file;
    try {
      if (times !== null) {
        const attrs = { mode: this.#mode, ...times };
        if (file.setStat === undefined) await this.#asked.setStat(this.#path, attrs);
        else await this.#asked.of(() => file.setStat!(attrs));
      }
    } catch (error) {
      await this.abandon();
      throw error;
    }
    await this.#asked.close(file);
  }

  /** The error that led here is the one to tell. */
  async abandon(): Promise<void> {
    await this.#asked.close(this.#file).catch(() => {});
  }
}
