/**
 * Remote files as a copy reads them and a tally counts them. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.8.
 *
 * @module
 */
import type { CopySource, SourceFile, SourceInfo } from "../../files/copy_source.ts";
import type { SftpFileInfo } from "../../files/file_info.ts";
import { FileType } from "../../files/limits.ts";
import { baseName } from "../../files/names.ts";
import { isMissing } from "../../files/refusals.ts";
import { abortable } from "../../wire/abortable.ts";
import type { TallyInfo } from "../../files/tally.ts";
import { listDirectory } from "../remote/listing.ts";
import { openToRead } from "../remote/open_to_read.ts";
import { ReadPipeline } from "../remote/read_pipeline.ts";
import type { RemoteFiles } from "../remote/remote_files.ts";
import { remoteTree } from "../remote/remote_tree.ts";
import type { SftpSession } from "../remote/session.ts";
import { fileInfo } from "../wire/attrs.ts";

/** What a server tells of something, as far as it counts. */
export function tallyInfo({ isDirectory, isSymlink, isFile, mode, size }: SftpFileInfo): TallyInfo {
  if (isDirectory) return { kind: "directory", size };
  if (isSymlink) return { kind: "link", size };
  // What nothing tells the type of may be a file, and is copied as one.
  return { kind: isFile || ((mode ?? 0) & FileType.MASK) === 0 ? "file" : "other", size };
}

function sourceInfo(info: SftpFileInfo): SourceInfo {
  const { mode, atime, mtime } = info;
  const seconds = (time: Date | null): number | null => time && Math.floor(time.getTime() / 1000);
  return {
    ...tallyInfo(info),
    mode: mode === null ? null : mode & 0o777,
    atime: seconds(atime ?? mtime),
    mtime: seconds(mtime),
  };
}

/** The files of a session. */
export function remoteSource(
  client: RemoteFiles,
  session: SftpSession,
  signal: AbortSignal | undefined,
): CopySource {
  return {
    action: "copy",
    isForeign: true,
    globs: remoteTree(session, (path) => client.readDir(path, { signal }), { signal }),
    async *roots(pattern, within) {
      for await (const path of client.glob(pattern, { signal })) {
        const info = await client.stat(path, { signal }).catch(() => null);
        if (info !== null) yield { path, info: tallyInfo(info), within, name: baseName(path) };
      }
    },
    async *list(path) {
      for await (const entries of listDirectory(session, path, { signal })) {
        yield entries.map(({ name, info, partial }) => ({ name, info: sourceInfo(info), isWhole: !partial }));
      }
    },
    async look(path, followLinks) {
      try {
        return sourceInfo(await (followLinks ? client.stat(path, { signal }) : client.lstat(path, { signal })));
      } catch (error) {
        if (session.ended === null && isMissing(error)) return null;
        throw error;
      }
    },
    // Some servers resolve directories only.
    realPath: (path) => abortable(session.realPath(path, signal).catch(() => path), signal),
    readLink: (path) => client.readLink(path, { signal }),
    async open(path, requests) {
      const { handle, attrs } = await openToRead(session, path, signal);
      return new RemoteSourceFile(session, handle, path, sourceInfo(fileInfo(attrs)), requests, signal);
    },
    base: baseName,
  };
}

/** An open file, read ahead in order. */
class RemoteSourceFile implements SourceFile {
  readonly #session: SftpSession;
  readonly #handle: Uint8Array;
  readonly #path: string;
  readonly #info: SourceInfo;
  readonly #requests: number | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #stop = (): void => this.#pipeline?.cancel();
  #pipeline: ReadPipeline | null = null;
  /** What came and was not taken yet. */
  #part: Uint8Array | null = null;
  #taken = 0;
  #offset = 0;

  constructor(
    session: SftpSession,
    handle: Uint8Array,
    path: string,
    info: SourceInfo,
    requests: number | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#session = session;
    this.#handle = handle;
    this.#path = path;
    this.#info = info;
    this.#requests = requests;
    this.#signal = signal;
    signal?.addEventListener("abort", this.#stop);
  }

  stat(): SourceInfo {
    return this.#info;
  }

  async read(p: Uint8Array): Promise<number | null> {
    if (this.#part === null) {
      this.#pipeline ??= this.#begin();
      this.#part = await this.#pipeline.next();
      this.#signal?.throwIfAborted();
      this.#taken = 0;
      if (this.#part === null) return null;
    }
    const part = this.#part, taken = part.subarray(this.#taken, this.#taken + p.length);
    p.set(taken);
    this.#taken += taken.length;
    this.#offset += taken.length;
    if (this.#taken === part.length) {
      this.#part = null;
      this.#pipeline!.recycle(part);
    }
    return taken.length;
  }

  #begin(): ReadPipeline {
    const requests = this.#requests, plan = { offset: this.#offset, end: null, size: this.#info.size };
    return new ReadPipeline(this.#session, this.#handle, this.#path, {
      ...plan,
      ...(requests === undefined ? {} : { concurrency: requests }),
    });
  }

  seek(offset: number): Promise<void> {
    if (offset !== this.#offset) {
      this.#pipeline?.cancel();
      this.#pipeline = this.#part = null;
      this.#offset = offset;
    }
    return Promise.resolve();
  }

  [Symbol.dispose](): void {
    this.#signal?.removeEventListener("abort", this.#stop);
    this.#pipeline?.cancel();
    this.#session.dropHandle(this.#handle, this.#path);
  }
}
