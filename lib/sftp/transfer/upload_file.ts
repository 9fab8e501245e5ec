/**
 * Copies one file to the server, from here or from another one. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.6.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import { fileInfo } from "../wire/attrs.ts";
import type { SftpAttributes, SftpFileInfo } from "../../files/file_info.ts";
import { OpenFlag } from "../wire/constants.ts";
import { Status } from "../../files/limits.ts";
import { LAST_WINDOW } from "../remote/flight_window.ts";
import type { CopySource, SourceFile, SourceInfo } from "../../files/copy_source.ts";
import { Fsetstat, Lstat, Open, Remove, Setstat } from "../wire/messages.ts";
import { dirName, joinPath, quoted } from "../../files/names.ts";
import { moveIntoPlace, noting } from "../remote/replace.ts";
import { refusalOf } from "../../files/refusals.ts";
import type { SftpSession } from "../remote/session.ts";
import { localFailure, type TransferRun, UNKNOWN_LIMIT } from "./run.ts";
import { abortable } from "../../wire/abortable.ts";
import { partName } from "../../files/copied.ts";
import { WritePipeline } from "../remote/write_pipeline.ts";
import type { Item } from "./walk.ts";

/** Read from a file at once. */
const BLOCK = 1_048_576;
/** The same for a file whose size is given as 0. */
const UNKNOWN_BLOCK = 65_536;
/** Opens what is not there yet, and nothing that is: a link neither. */
const FRESH = OpenFlag.CREAT | OpenFlag.EXCL | OpenFlag.TRUNC;

/** What this side has against a copy. */
export function refused({ action }: CopySource, path: string, why: string, status: number = Status.FAILURE): SftpError {
  return new SftpError(`Cannot ${action} ${quoted(path)}: ${why}`, status, path);
}

/** What is thrown for an error of either side. */
export function failure({ action }: CopySource, path: string, error: unknown): unknown {
  return localFailure(error, `${action} ${quoted(path)}`, path);
}

/** What `preserve` keeps of something. */
export function kept({ mode, atime, mtime }: SourceInfo): SftpAttributes {
  return { ...(mode === null ? {} : { mode }), ...(mtime === null ? {} : { atime: atime ?? mtime, mtime }) };
}

/** The names beside `remote` of what is written, and of what is there already while that takes its place. */
export function partPaths(
  remote: string,
  identity: string,
  size: number,
  mtime: number | null,
): { readonly part: string; readonly aside: string } {
  const base = remote.slice(remote.lastIndexOf("/") + 1), directory = dirName(remote);
  const named = (ending: string): string => joinPath(directory, partName(base, identity, size, mtime ?? 0, ending));
  return { part: named("part"), aside: named("old") };
}

/** What is written to a handle, and how. */
interface Writing {
  /** The name that the handle was opened by. */
  readonly path: string;
  /** Where it starts. */
  readonly offset: number;
  /** The permission bits that it gets before any contents, which they may have to keep from others; null for those it has. */
  readonly mode: number | null | Promise<number | null>;
  /** Whether its bytes are counted and reported: those that are sent once more are not. */
  readonly isCounted: boolean;
}

/** One file on its way. */
export class FileUpload {
  readonly #session: SftpSession;
  readonly #run: TransferRun;
  readonly #source: CopySource;
  readonly #file: SourceFile;
  readonly #item: Item;
  readonly #info: SourceInfo;
  /** Where the source is read next. */
  #position = 0;

  /** `info` is what `file` was when it was opened. */
  constructor(
    session: SftpSession,
    run: TransferRun,
    source: CopySource,
    file: SourceFile,
    item: Item,
    info: SourceInfo,
  ) {
    this.#session = session;
    this.#run = run;
    this.#source = source;
    this.#file = file;
    this.#item = item;
    this.#info = info;
  }

  /** Copies it. */
  async run(): Promise<void> {
    const { path, to: remote, identity } = this.#item, { inPlace, resume } = this.#run.options, info = this.#info;
    if (resume && isWhole(await this.#fileAt(remote), info)) {
      this.#run.wasWhole(path, info.size);
      return;
    }
    if (inPlace) await this.#writeInPlace(await this.#open(remote, OpenFlag.CREAT | OpenFlag.TRUNC), true);
    else {
      const { part, aside } = partPaths(remote, identity, info.size, info.mtime);
      await this.#writePart(part);
      await moveIntoPlace(this.#session, {
        part,
        path: remote,
        aside,
        what: "file",
        openInPlace: (how) => this.#open(remote, how === "new" ? FRESH : OpenFlag.TRUNC),
        writeInPlace: (handle) => this.#writeInPlace(handle, false),
        onWarning: (left) => this.#run.warn(left),
      });
    }
    this.#run.finished();
  }

  /** Writes what an earlier copy left to do of the part, or all of it. */
  async #writePart(part: string): Promise<void> {
    const { path, to: remote, isNew } = this.#item, { resume, preserve, signal } = this.#run.options, info = this.#info;
    // Behind the last byte that was written there may be gaps, as wide as what was under way: less is not worth a look.
    let begun = resume && info.size > LAST_WINDOW ? await this.#fileAt(part) : null;
    if (begun !== null && (begun.size <= LAST_WINDOW || begun.size > info.size)) begun = null;
    try {
      // Asked for together with OPEN: it costs no time.
      const replaced = preserve || isNew ? null : this.#fileAt(remote);
      const handle = await this.#openPart(part, begun);
      const locked = isLocked(begun) ? begun.mode : null;
      await this.#write(handle, {
        path: part,
        offset: begun === null ? 0 : begun.size - LAST_WINDOW,
        mode: replaced === null ? locked : replaced.then((there) => there?.mode ?? locked),
        isCounted: true,
      });
      // All may have been under way when the first answer came, and the listener threw.
      this.#run.check(path);
    } catch (error) {
      // What a server refused is of no use; what was cut can go on.
      const cut = this.#run.lost !== null || signal?.aborted;
      if (!cut) await this.#remove(part).catch(() => {});
      throw error;
    }
  }

  /** Writes all of it to the file's own name. */
  async #writeInPlace(handle: Uint8Array, isCounted: boolean): Promise<void> {
    const { to: path } = this.#item;
    try {
      await this.#file.seek(0);
      await this.#write(handle, { path, offset: 0, mode: null, isCounted });
      this.#run.check(this.#item.path);
    } catch (error) {
      this.#session.dropHandle(handle, path);
      const failed = failure(this.#source, this.#item.path, error);
      throw isCounted
        ? noting(failed, `what is at ${quoted(path)} is not whole, as it was written to in place`)
        : failed;
    }
  }

  /** Writes the file to the handle, and closes it. Errors name the path that the file is to have. */
  async #write(handle: Uint8Array, { path, offset, mode, isCounted }: Writing): Promise<void> {
    const session = this.#session, run = this.#run, file = this.#file, info = this.#info;
    const { path: from, to: remote } = this.#item, { preserve, signal } = run.options, requests = run.requests;
    let closing: Promise<void> | undefined, byPath: SftpAttributes | null = null;
    let done = offset;
    // A server may tell a size of 0 for what has none, as /proc does.
    const total = info.size > 0 ? info.size : null;
    const isSpread = path !== remote && requests === undefined;
    const pipeline: WritePipeline = new WritePipeline(session, handle, remote, {
      offset,
      // Written in place, a gap that a lost connection leaves could pass for contents.
      ...(!isSpread ? {} : {
        again: (offset, length) => this.#again(offset, length),
        onHeld: (window) => run.further?.spread(pipeline, path, (total ?? 0) - pipeline.offset, window),
      }),
      ...(requests === undefined ? {} : { concurrency: requests }),
      ...(!isCounted ? {} : {
        onWritten: (bytes) => {
          done += bytes;
          if (isSpread) run.further?.share(pipeline, path, (total ?? 0) - pipeline.offset);
          const beyond = Math.max(0, Math.min(bytes, done - info.size));
          run.copied(from, bytes, beyond);
          run.report(from, done, beyond > 0 ? null : total);
        },
      }),
    });
    const changing = { action: preserve ? "change attributes of" : "keep the mode of", path: remote };
    /** What the server does not do by handle is left for when the file is closed. */
    const change = (attrs: SftpAttributes): Promise<void> => {
      const changed = session.status(Fsetstat, { handle, attrs }, changing).catch((error) => {
        if (session.ended !== null) throw error;
        if (preserve || isUnsupported(error)) byPath = attrs;
        // Some servers deny it, those of object stores among them: that matters where the file would be open to more than before.
        else if (((info.mode ?? 0o777) & ~(attrs.mode ?? 0)) !== 0) throw error;
      });
      // It may fail before it is waited for.
      changed.catch(() => {});
      return changed;
    };
    const stop = (): void => void pipeline.abandon(signal!.reason);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      const bits = await mode;
      run.check(from);
      let changed = bits === null ? undefined : change({ mode: bits & 0o777 });
      if (isCounted) {
        run.report(from, offset, total);
        run.passed(from, offset);
      }
      if (offset > 0) await file.seek(offset);
      this.#position = offset;
      const buffer = new Uint8Array(total === null ? UNKNOWN_BLOCK : Math.min(BLOCK, total - offset));
      // Another server may give a smaller size than the file has: its end is where that says EOF.
      const isOpenEnded = total === null || this.#source.isForeign;
      for (let left = isOpenEnded ? Infinity : total - offset; left > 0;) {
        const count = await file.read(left < buffer.length ? buffer.subarray(0, left) : buffer);
        run.check(from);
        if (count === null) {
          if (this.#position >= info.size) break;
          throw refused(this.#source, from, "it became shorter meanwhile");
        }
        this.#position += count;
        if (this.#source.isForeign && this.#position > info.size + UNKNOWN_LIMIT) {
          throw refused(this.#source, from, `its size is given as ${info.size}, and it has over 1 GiB more`);
        }
        await pipeline.write(buffer.subarray(0, count));
        left -= count;
      }
      // What comes after the last write does not wait for its answer, but for other sessions'; times last, as a write changes them.
      const written = pipeline.finish();
      if (pipeline.isShared) await written;
      if (preserve) {
        const all = change(kept(info));
        changed = changed === undefined ? all : settled([changed, all]);
      }
      closing = session.closeHandle(handle, remote);
      await settled([written, changed, closing]);
    } catch (error) {
      const left = pipeline.abandon(error);
      // Some servers do not remove what is open.
      if (session.ended === null && !signal?.aborted) await abortable(left, signal).catch(() => {});
      // Sent twice it would close what has the same handle by then.
      if (closing === undefined) session.dropHandle(handle, remote);
      if (path === remote && pipeline.refusedAt !== null) {
        // A gap in a file of the right size would pass for the whole one when a copy is resumed.
        const attrs = { size: pipeline.refusedAt };
        await session.status(Setstat, { path, attrs }, { action: "truncate", path }).catch(() => {});
      }
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
    if (byPath === null) return;
    await session.status(Setstat, { path, attrs: byPath }, changing).catch((error) => {
      if (session.ended !== null) throw error;
      if (preserve) run.warn(noting(error, "it is copied whole"));
      // A server without permission bits has none to keep.
      else if (!isUnsupported(error)) throw error;
    });
  }

  /** Bytes that were sent before; what is read next stays what it was. */
  async #again(offset: number, length: number): Promise<Uint8Array> {
    const file = this.#file, bytes = new Uint8Array(length);
    await file.seek(offset);
    for (let done = 0; done < length;) {
      const count = await file.read(bytes.subarray(done));
      if (count === null) throw refused(this.#source, this.#item.path, "it became shorter meanwhile");
      done += count;
    }
    await file.seek(this.#position);
    return bytes;
  }

  #open(path: string, flags: number): Promise<Uint8Array> {
    const { mode } = this.#info, { signal } = this.#run.options;
    const purpose = { action: "create", path: this.#item.to, signal };
    const values = { path, flags: OpenFlag.WRITE | flags, attrs: mode === null ? {} : { mode } };
    return this.#session.handle(Open, values, purpose);
  }

  async #openPart(part: string, begun: SftpFileInfo | null): Promise<Uint8Array> {
    if (begun !== null) {
      // The bits forbid its owner to write to it, and will again when it is open.
      if (isLocked(begun)) {
        const purpose = { action: "create", path: this.#item.to };
        await this.#session.status(Setstat, { path: part, attrs: { mode: (begun.mode | 0o200) & 0o777 } }, purpose);
      }
      return await this.#open(part, 0);
    }
    try {
      return await this.#open(part, FRESH);
    } catch (error) {
      if (!(error instanceof SftpError)) throw error;
      // What an earlier copy left, or a link of that name, is removed and never written to.
      await this.#remove(part).catch(() => {
        throw error;
      });
      return await this.#open(part, FRESH);
    }
  }

  /** The regular file at a path there, or null where there is none to be seen. */
  async #fileAt(path: string): Promise<SftpFileInfo | null> {
    const asked = this.#session.attrs(Lstat, { path }, { action: "lstat", path });
    const there = await asked.then((attrs) => fileInfo(attrs), () => null);
    return there?.isFile ? there : null;
  }

  #remove(path: string): Promise<void> {
    return this.#session.status(Remove, { path }, { action: "remove", path });
  }
}

function isUnsupported(error: unknown): boolean {
  return refusalOf(error) === "unsupported";
}

/** Whether a file's own bits keep its owner from writing to it. */
function isLocked(file: SftpFileInfo | null): file is SftpFileInfo & { mode: number } {
  return file !== null && file.mode !== null && (file.mode & 0o200) === 0;
}

/** Whether what is there may be taken for a copy of the file. */
function isWhole(there: SftpFileInfo | null, info: SourceInfo): boolean {
  return there !== null && there.size === info.size && there.mtime !== null &&
    info.mtime !== null && there.mtime.getTime() >= info.mtime * 1000;
}

/** Waits for all, then throws the first failure: nothing is left running. */
async function settled(promises: readonly (Promise<void> | undefined)[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) {
    if (result.status === "rejected") throw result.reason;
  }
}
