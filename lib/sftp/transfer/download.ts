/**
 * Copies remote files and trees here. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.7.
 *
 * The server is not trusted with names: an entry whose name is more than one component is refused, links are made last and
 * only where they stay in the tree, and nothing is written through a link that is here already but the one the caller named.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { SourceInfo } from "../../files/copy_source.ts";
import type { RemoteFiles } from "../remote/remote_files.ts";
import { OpenFlag } from "../wire/constants.ts";
import { Status } from "../../files/limits.ts";
import {
  continueLocal,
  createLocal,
  isForeignTarget,
  type LocalFile,
  type LocalInfo,
  localMode,
  localStat,
  localSystem,
  localTimes,
  makeLocalDirectory,
  makeLocalLink,
  openLocalInPlace,
  removeLocal,
  renameLocal,
  splitLocal,
  writeLocal,
} from "../../files/local_files.ts";
import { localNameOf } from "../../files/local_names.ts";
import { Open } from "../wire/messages.ts";
import { joinPath, quoted } from "../../files/names.ts";
import { ReadPipeline } from "../remote/read_pipeline.ts";
import type { SftpSession } from "../remote/session.ts";
import { localFailure, type TransferOptions, TransferRun, UNKNOWN_LIMIT, withGrace } from "./run.ts";
import { HERE, partName, takePart, type TransferSummary } from "../../files/copied.ts";
import { remoteSource } from "./remote_source.ts";
import { type CopyTarget, copyTree, type Item } from "./walk.ts";

function refused(remote: string, why: string, status: number = Status.FAILURE): SftpError {
  return new SftpError(`Cannot download ${quoted(remote)}: ${why}`, status, remote);
}

function failure(remote: string, local: string, error: unknown): unknown {
  return localFailure(error, `download ${quoted(remote)} to ${quoted(local)}`, remote);
}

/** Copies a remote file, a tree, or what a glob finds. */
export async function download(
  client: RemoteFiles,
  session: SftpSession,
  remote: string,
  local: string,
  options: TransferOptions,
): Promise<TransferSummary> {
  const run = new TransferRun(session, null, options, remote), source = remoteSource(client, session, options.signal);
  const copying = copyTree(source, new LocalTarget(session, run), run, remote, local === "" ? "." : local);
  return await withGrace(copying, options.signal);
}

/** Files here that are written. */
class LocalTarget implements CopyTarget {
  readonly where = "here";
  readonly #session: SftpSession;
  readonly #run: TransferRun;
  readonly refused = refused;

  constructor(session: SftpSession, run: TransferRun) {
    this.#session = session;
    this.#run = run;
  }

  failure({ path, to }: Pick<Item, "path" | "to">, error: unknown): unknown {
    return failure(path, to, error);
  }

  /** The name here of what the server names so. */
  spell(name: string, path: string): string {
    const local = localNameOf(name, localSystem());
    if (local !== null) return local;
    throw refused(path, `the server names ${quoted(name)}, which is no name of a file here`, Status.BAD_MESSAGE);
  }

  async kindAt(path: string): Promise<SourceInfo["kind"] | null> {
    return (await localStat(path, true))?.kind ?? null;
  }

  async makeDirectory({ path, to, isNamed }: Pick<Item, "path" | "to" | "isNamed">): Promise<boolean> {
    // Inside the tree a link could lead anywhere.
    const there = await localStat(to, isNamed);
    if (there === null) await makeLocalDirectory(to, isNamed);
    else if (there.kind !== "directory") throw refused(path, `something else of that name is here, ${quoted(to)}`);
    return there === null;
  }

  takesLink(target: string): boolean {
    return !isForeignTarget(target) && target.isWellFormed();
  }

  async link({ path, to }: Item, target: string): Promise<void> {
    const { directory, base } = splitLocal(to);
    await makeLocalLink(target, to, joinPath(directory, partName(base, path, 0, 0)));
    this.#run.finished();
  }

  async keep(path: string, { mode, atime, mtime }: SourceInfo): Promise<void> {
    if (mode !== null) await localMode(path, mode);
    if (mtime !== null) await localTimes(path, atime ?? mtime, mtime);
  }

  async file(item: Item, info: SourceInfo): Promise<void> {
    await this.#run.hold(info.size);
    try {
      await this.#copy(item, info);
    } finally {
      this.#run.letGo(info.size);
    }
  }

  async #copy(item: Item, info: SourceInfo): Promise<void> {
    const { path: remote, to: local, identity, isNamed, isNew } = item;
    const { inPlace, resume, preserve, signal } = this.#run.options;
    // Looked at while the server is asked for the contents.
    const replaced = isNew || inPlace || preserve && !resume ? null : regularFile(local);
    if (resume && isWhole(await replaced, info)) {
      this.#run.wasWhole(remote, info.size);
      return;
    }
    const { directory, base } = splitLocal(local);
    using part = takePart(
      HERE,
      (copy) => joinPath(directory, partName(base, identity, info.size, (info.mtime ?? 0) * 1000, { copy })),
    );
    const path = inPlace ? local : part.path;
    const { mode: own } = info;
    const kept = preserve ? null : replaced?.then((there) => there?.mode ?? null) ?? null;
    try {
      const isSmall = !inPlace && !resume && info.size > 0 && info.size <= this.#session.maxRead;
      if (!isSmall || !await this.#small(remote, path, info.size, own, kept)) {
        const handle = await this.#open(remote);
        try {
          using target = inPlace
            ? await openLocalInPlace(path, own, isNamed || isNew ? "follow" : "replace")
            : await openPart(path, resume, await kept ?? own);
          await this.#large(handle, remote, target, info.size, resume ?? false);
        } finally {
          this.#session.dropHandle(handle, remote);
        }
      }
      const mode = await kept;
      if (mode !== null) await localMode(path, mode);
      // A file system that does not keep them has the contents all the same.
      if (preserve) await this.keep(path, info).catch((error) => this.#run.warn(failure(remote, local, error)));
      if (!inPlace) await renameLocal(path, local);
    } catch (error) {
      const cut = this.#session.ended !== null || signal?.aborted;
      if (!inPlace && !cut) await removeLocal(path).catch(() => {});
      throw error;
    }
    this.#run.finished();
  }

  #open(remote: string): Promise<Uint8Array> {
    const purpose = { action: "open", path: remote, signal: this.#run.options.signal };
    const values = { path: remote, flags: OpenFlag.READ, attrs: {} };
    return this.#session.handle(Open, values, purpose);
  }

  /**
   * A file of one request is written in one step, when its handle has gone: CLOSE leaves together with others' requests. False
   * where there is more of it than the server said.
   */
  async #small(
    remote: string,
    path: string,
    size: number,
    own: number | null,
    kept: Promise<number | null> | null,
  ): Promise<boolean> {
    const handle = await this.#open(remote);
    this.#run.report(remote, 0, size);
    let got: Uint8Array | null, more: Uint8Array | null;
    const requests = this.#run.requests;
    const pipeline = new ReadPipeline(this.#session, handle, remote, {
      offset: 0,
      end: null,
      size,
      ...(requests === undefined ? {} : { concurrency: requests }),
    });
    const leave = cancelOnAbort(pipeline, this.#run.options.signal);
    try {
      got = await pipeline.next();
      more = got === null ? null : await pipeline.next();
    } finally {
      leave();
      pipeline.cancel();
      this.#session.dropHandle(handle, remote);
    }
    this.#run.options.signal?.throwIfAborted();
    if (more !== null || got !== null && got.length > size) return false;
    if (got === null || got.length < size) throw shorter(remote, got?.length ?? 0, size);
    await writeLocal(path, got, await kept ?? own);
    this.#run.copied(remote, size);
    this.#run.report(remote, size, size);
    return true;
  }

  /** Writes in order, so that what is there of a cut copy is the start of the file. */
  async #large(handle: Uint8Array, remote: string, target: LocalFile, size: number, resume: boolean): Promise<void> {
    const { signal } = this.#run.options;
    const offset = resume ? Math.min(target.stat().size, size) : 0, total = size > 0 ? size : null;
    // The end is where the server says EOF: it may give less than a file has that it unpacks as it is read.
    if (offset > 0) await target.seek(offset);
    this.#run.report(remote, offset, total);
    this.#run.passed(remote, offset);
    const requests = this.#run.requests;
    const pipeline = new ReadPipeline(this.#session, handle, remote, {
      offset,
      end: null,
      size,
      ...(requests === undefined ? {} : { concurrency: requests }),
    });
    const leave = cancelOnAbort(pipeline, signal);
    let done = offset;
    try {
      for (let part = await pipeline.next(); part !== null; part = await pipeline.next()) {
        await target.write(part);
        done += part.length;
        this.#run.copied(remote, part.length, Math.max(0, Math.min(part.length, done - size)));
        pipeline.recycle(part);
        if (done > size + UNKNOWN_LIMIT) {
          throw refused(remote, `the server gives its size as ${size} and sends over 1 GiB more`);
        }
        this.#run.report(remote, done, done > size ? null : total);
        this.#run.check(remote);
      }
    } finally {
      leave();
      pipeline.cancel();
    }
    signal?.throwIfAborted();
    if (done < size) throw shorter(remote, done, size);
    // A total that was wrong has been told.
    if (total !== null && done > size) this.#run.report(remote, done, done);
    // What a longer file left behind.
    if (resume) await target.truncate(done);
  }
}

/** A server that answers nothing must not hold whoever reads; what is returned lets go of the signal. */
function cancelOnAbort(pipeline: ReadPipeline, signal: AbortSignal | undefined): () => void {
  const stop = (): void => pipeline.cancel();
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  return () => signal?.removeEventListener("abort", stop);
}

function shorter(remote: string, done: number, size: number): SftpError {
  return refused(remote, `it ended after ${done} of ${size} bytes; it may have changed meanwhile`);
}

async function openPart(path: string, resume: boolean | undefined, mode: number | null): Promise<LocalFile> {
  return resume ? await continueLocal(path) ?? await createLocal(path, mode) : await createLocal(path, mode);
}

/** The regular file at a path here, or null where there is none to be seen. */
async function regularFile(path: string): Promise<LocalInfo | null> {
  const there = await localStat(path, false).catch(() => null);
  return there?.kind === "file" ? there : null;
}

/** Whether what is here may be taken for a copy of the file. */
function isWhole(there: LocalInfo | null, info: SourceInfo): boolean {
  return there !== null && there.size === info.size && info.mtime !== null && there.mtime >= info.mtime;
}
