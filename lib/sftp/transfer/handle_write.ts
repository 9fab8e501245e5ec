/**
 * Writes one file to an open handle, and closes it. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.9.
 *
 * The handle gets its mode before any contents, then the contents, with many requests under way, then what is kept of the source, and
 * CLOSE leaves right behind. Where anything of that is refused the rest is waited for, so that nothing is left running, and what is there
 * is never taken for the whole file.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { CopySource, SourceFile, SourceInfo } from "../../files/copy_source.ts";
import type { SftpAttributes } from "../../files/file_info.ts";
import { Status } from "../../files/limits.ts";
import { quoted } from "../../files/names.ts";
import { refusalOf } from "../../files/refusals.ts";
import { abortable } from "../../wire/abortable.ts";
import { noting } from "../remote/replace.ts";
import type { SftpSession } from "../remote/session.ts";
import { WritePipeline } from "../remote/write_pipeline.ts";
import { Fsetstat, Setstat } from "../wire/messages.ts";
import { localFailure, type TransferRun, UNKNOWN_LIMIT } from "./run.ts";
import type { Item } from "./walk.ts";

/** Read from a file at once. */
const BLOCK = 1_048_576;
/** The same for a file whose size is given as 0. */
const UNKNOWN_BLOCK = 65_536;

/** A file that is copied: from where, by which run and session, and what it was when it was opened. */
export interface FileCopy {
  /** The same object for all sessions with the server that it goes to. */
  readonly server: object;
  readonly session: SftpSession;
  readonly run: TransferRun;
  readonly source: CopySource;
  readonly file: SourceFile;
  readonly item: Item;
  readonly info: SourceInfo;
}

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

/** What is written to a handle, and how. */
export interface Writing {
  /** The name that the handle was opened by. */
  readonly path: string;
  /** Where it starts. */
  readonly offset: number;
  /** The permission bits that it gets before any contents, which they may have to keep from others; null for those it has. */
  readonly mode: number | null | Promise<number | null>;
  /** Whether its bytes are counted and reported: those that are sent once more are not. */
  readonly isCounted: boolean;
}

/** One writing, which is run once. */
export class HandleWrite {
  readonly #copy: FileCopy;
  readonly #handle: Uint8Array;
  readonly #writing: Writing;
  readonly #pipeline: WritePipeline;
  /** Bytes of the source; null where that is not told: a server may tell a size of 0 for what has none, as /proc does. */
  readonly #total: number | null;
  /** Bytes that the server has taken. */
  #done: number;
  /** Where the source is read next. */
  #position: number;
  /** What the server does not do by handle is left for when the file is closed. */
  #byPath: SftpAttributes | null = null;
  /** The answer to the first change of mode, and to CLOSE. */
  #changed: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /** Nothing is asked for yet. The handle is closed by `run()`, or where that fails by whoever opened it, once more. */
  constructor(copy: FileCopy, handle: Uint8Array, writing: Writing) {
    this.#copy = copy;
    this.#handle = handle;
    this.#writing = writing;
    this.#total = copy.info.size > 0 ? copy.info.size : null;
    this.#done = this.#position = writing.offset;
    this.#pipeline = this.#begin();
  }

  #begin(): WritePipeline {
    const { session, run, item } = this.#copy, { path, offset, isCounted } = this.#writing, { requests } = run;
    // Written in place, a gap that a lost connection leaves could pass for contents.
    const isSpread = path !== item.to && requests === undefined;
    const left = (): number => (this.#total ?? 0) - this.#pipeline.offset;
    return new WritePipeline(session, this.#handle, item.to, {
      offset,
      ...(!isSpread ? {} : {
        again: (offset, length) => this.#again(offset, length),
        onHeld: (window) => run.further?.spread(this.#pipeline, path, left(), window),
      }),
      ...(requests === undefined ? {} : { concurrency: requests }),
      ...(!isCounted ? {} : {
        onWritten: (bytes) => {
          if (isSpread) run.further?.share(this.#pipeline, path, left());
          this.#written(bytes);
        },
      }),
    });
  }

  #written(bytes: number): void {
    const { run, item, info } = this.#copy;
    this.#done += bytes;
    const beyond = Math.max(0, Math.min(bytes, this.#done - info.size));
    run.copied(item.path, bytes, beyond);
    run.report(item.path, this.#done, beyond > 0 ? null : this.#total);
  }

  /** Writes all of it. Errors name the path that the file is to have. */
  async run(): Promise<void> {
    const { signal } = this.#copy.run.options, stop = (): void => void this.#pipeline.abandon(signal!.reason);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      await this.#start();
      await this.#contents();
      await this.#finish();
    } catch (error) {
      await this.#giveUp(error);
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
    if (this.#byPath !== null) await this.#changeByPath(this.#byPath);
  }

  /** Gives the mode that comes before any contents, and tells of what was there before. */
  async #start(): Promise<void> {
    const { run, item } = this.#copy, { offset, isCounted } = this.#writing, mode = await this.#writing.mode;
    run.check(item.path);
    if (mode !== null) this.#changed = this.#change({ mode: mode & 0o777 });
    if (!isCounted) return;
    run.report(item.path, offset, this.#total);
    run.passed(item.path, offset);
  }

  /** Reads the source and hands it on. */
  async #contents(): Promise<void> {
    const { run, source, file, item, info } = this.#copy, { offset } = this.#writing, total = this.#total;
    if (offset > 0) await file.seek(offset);
    const buffer = new Uint8Array(total === null ? UNKNOWN_BLOCK : Math.min(BLOCK, total - offset));
    // Another server may give a smaller size than the file has: its end is where that says EOF.
    const isOpenEnded = total === null || source.isForeign;
    for (let left = isOpenEnded ? Infinity : total - offset; left > 0;) {
      const count = await file.read(left < buffer.length ? buffer.subarray(0, left) : buffer);
      run.check(item.path);
      if (count === null) {
        if (this.#position >= info.size) return;
        throw refused(source, item.path, "it became shorter meanwhile");
      }
      this.#position += count;
      if (source.isForeign && this.#position > info.size + UNKNOWN_LIMIT) {
        throw refused(source, item.path, `its size is given as ${info.size}, and it has over 1 GiB more`);
      }
      await this.#pipeline.write(buffer.subarray(0, count));
      left -= count;
    }
  }

  /** What comes after the last write does not wait for its answer, but for other sessions'; times last, as a write changes them. */
  async #finish(): Promise<void> {
    const { session, run, item, info } = this.#copy, written = this.#pipeline.finish();
    if (this.#pipeline.isShared) await written;
    const keeping = run.options.preserve ? this.#change(kept(info)) : undefined;
    this.#closing = session.closeHandle(this.#handle, item.to);
    await settled([written, this.#changed, keeping, this.#closing]);
  }

  async #giveUp(error: unknown): Promise<void> {
    const { session, run, item } = this.#copy, { path } = this.#writing, { signal } = run.options;
    const pipeline = this.#pipeline, left = pipeline.abandon(error);
    // Some servers do not remove what is open.
    if (session.ended === null && !signal?.aborted) await abortable(left, signal).catch(() => {});
    // Sent twice it would close what has the same handle by then.
    if (this.#closing === undefined) session.dropHandle(this.#handle, item.to);
    if (path !== item.to || pipeline.refusedAt === null) return;
    // A gap in a file of the right size would pass for the whole one when a copy is resumed.
    const attrs = { size: pipeline.refusedAt };
    await session.status(Setstat, { path, attrs }, { action: "truncate", path }).catch(() => {});
  }

  get #changing(): { readonly action: string; readonly path: string } {
    const { run, item } = this.#copy;
    return { action: run.options.preserve ? "change attributes of" : "keep the mode of", path: item.to };
  }

  #change(attrs: SftpAttributes): Promise<void> {
    const { session, run, info } = this.#copy;
    const changed = session.status(Fsetstat, { handle: this.#handle, attrs }, this.#changing).catch((error) => {
      if (session.ended !== null) throw error;
      if (run.options.preserve || isUnsupported(error)) this.#byPath = attrs;
      // Some servers deny it, those of object stores among them: that matters where the file would be open to more than before.
      else if (((info.mode ?? 0o777) & ~(attrs.mode ?? 0)) !== 0) throw error;
    });
    // It may fail before it is waited for.
    changed.catch(() => {});
    return changed;
  }

  async #changeByPath(attrs: SftpAttributes): Promise<void> {
    const { session, run } = this.#copy, { path } = this.#writing;
    await session.status(Setstat, { path, attrs }, this.#changing).catch((error) => {
      if (session.ended !== null) throw error;
      if (run.options.preserve) run.warn(noting(error, "it is copied whole"));
      // A server without permission bits has none to keep.
      else if (!isUnsupported(error)) throw error;
    });
  }

  /** Bytes that were sent before; what is read next stays what it was. */
  async #again(offset: number, length: number): Promise<Uint8Array> {
    const { source, file, item } = this.#copy, bytes = new Uint8Array(length);
    await file.seek(offset);
    for (let done = 0; done < length;) {
      const count = await file.read(bytes.subarray(done));
      if (count === null) throw refused(source, item.path, "it became shorter meanwhile");
      done += count;
    }
    await file.seek(this.#position);
    return bytes;
  }
}

function isUnsupported(error: unknown): boolean {
  return refusalOf(error) === "unsupported";
}

/** Waits for all, then throws the first failure: nothing is left running. */
async function settled(promises: readonly (Promise<void> | undefined)[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) {
    if (result.status === "rejected") throw result.reason;
  }
}
