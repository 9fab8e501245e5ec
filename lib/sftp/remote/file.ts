/**
 * An open remote file. draft-ietf-secsh-filexfer-02 sections 6.2 to 6.4 and 6.8, OpenSSH PROTOCOL sections 4.5 and 4.10.
 *
 * @module
 */
import { abortable } from "../../wire/abortable.ts";
import { SftpError } from "../../errors.ts";
import type { WaitOptions } from "../../wire/deadline.ts";
import type { Bytes } from "../../wire/types.ts";
import { fileInfo } from "../wire/attrs.ts";
import type { SftpAttributes, SftpFileInfo } from "../../files/file_info.ts";
import { checkAttributes, checkBuffer, checkCall, checkStays, checkTimes } from "../../files/check_calls.ts";
import { Extension, OpenFlag } from "../wire/constants.ts";
import { Status } from "../../files/limits.ts";
import { Fsetstat, Fstat, Fstatvfs, Fsync, Stat, StatvfsReply } from "../wire/messages.ts";
import { quoted } from "../../files/names.ts";
import { readInto, ReadPipeline } from "./read_pipeline.ts";
import { closedError, type SftpSession } from "./session.ts";
import { type SftpFileSystemInfo, spaceOf } from "./space.ts";
import { asked, atMost, heeding } from "./asked.ts";
import { type Purpose, unsupportedError } from "./errors.ts";
import { WritePipeline } from "./write_pipeline.ts";

/** The open flags of draft-ietf-secsh-filexfer-02 section 6.3 for `Deno.OpenOptions`. */
export function openFlags(options: Deno.OpenOptions): number {
  const { read, write, append, truncate, create, createNew } = options;
  if ((truncate || create || createNew) && !write && !append) {
    throw new TypeError("Cannot open file: `create`, `createNew` and `truncate` need `write` or `append`");
  }
  if (truncate && append) throw new TypeError("Cannot open file: `truncate` and `append` exclude each other");
  const reading = read ?? !(write || append);
  if (!reading && !write && !append) {
    throw new TypeError("Cannot open file: one of `read`, `write`, `append` is needed");
  }
  return (reading ? OpenFlag.READ : 0) | (write || append ? OpenFlag.WRITE : 0) | (append ? OpenFlag.APPEND : 0) |
    (create || createNew ? OpenFlag.CREAT : 0) | (truncate ? OpenFlag.TRUNC : 0) | (createNew ? OpenFlag.EXCL : 0);
}

/** Something that is asked about an open file. */
type Work<T> = (handle: Uint8Array, purpose: Purpose) => Promise<T>;

let construct: (session: SftpSession, handle: Uint8Array, path: string, flags: number) => SftpFile;

/** The file behind a handle that was opened with these flags; the handle belongs to it from here on. */
export function openedFile(session: SftpSession, handle: Uint8Array, path: string, flags: number): SftpFile {
  return construct(session, handle, path, flags);
}

/**
 * An open remote file: the stream and position methods of `Deno.FsFile`.
 *
 * `read`, `write` and `seek` share one position and run one after the other; `readAt` and `writeAt` leave it alone and may
 * run side by side. All of them are done before a file that is closed meanwhile is closed. A read whose wait ends early
 * leaves the position and its buffer alone from then on; of a write that ends early, any part may have been written.
 */
export class SftpFile implements AsyncDisposable {
  readonly #session: SftpSession;
  readonly #handle: Uint8Array;
  readonly #path: string;
  readonly #flags: number;
  readonly #append: boolean;
  #position = 0;
  #turn: Promise<unknown> = Promise.resolve();
  /** What runs beside the turns. */
  readonly #beside = new Set<Promise<unknown>>();
  /** The writes of `writable`, as long as nobody was told that they failed. */
  #writing: WritePipeline | null = null;
  #closing: Promise<void> | null = null;
  /** Whether a method has told of the end of the session. */
  #isLossTold = false;
  #readable: ReadableStream<Bytes> | null = null;
  #writable: WritableStream<Uint8Array> | null = null;

  static {
    construct = (session, handle, path, flags) => new SftpFile(session, handle, path, flags);
  }

  private constructor(session: SftpSession, handle: Uint8Array, path: string, flags: number) {
    this.#session = session;
    this.#handle = handle;
    this.#path = path;
    this.#flags = flags;
    this.#append = (flags & OpenFlag.APPEND) !== 0;
  }

  /** Servers have odd words for it: OpenSSH's says that there is no such file. */
  #opened(to: "read" | "write", action: string): void {
    if (this.#flags & (to === "read" ? OpenFlag.READ : OpenFlag.WRITE)) return;
    const other = to === "read" ? "write" : "read";
    const why = `it was opened to ${other} only; open it with \`${to}: true\``;
    throw new TypeError(`Cannot ${action} ${quoted(this.#path)}: ${why}`);
  }

  #open(action: string): Uint8Array {
    if (this.#closing !== null) throw closedError({ action, path: this.#path });
    return this.#handle;
  }

  /** Notes where what is thrown tells of the end of the session. */
  async #noting<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (this.#session.ended !== null) this.#isLossTold = true;
      throw error;
    }
  }

  /** Runs what moves the position after all that was asked for before. */
  async #inTurn<T>(action: string, options: WaitOptions, work: Work<T>): Promise<T> {
    const handle = this.#open(action);
    return await heeding(action, this.#path, options, (purpose) => this.#noting(this.#next(handle, purpose, work)));
  }

  #next<T>(handle: Uint8Array, purpose: Purpose, work: Work<T>): Promise<T> {
    const { signal } = purpose, before = this.#turn;
    const result = abortable(before, signal).then(() => {
      signal?.throwIfAborted();
      return work(handle, purpose);
    });
    // Who waits no longer for a turn leaves it to those before.
    this.#turn = Promise.allSettled([before, result]);
    return result;
  }

  /** Runs what need not wait for a turn. */
  async #atOnce<T>(action: string, options: WaitOptions, work: Work<T>): Promise<T> {
    return await this.#asked(action, options, async (handle, purpose) => {
      const running = work(handle, purpose);
      this.#beside.add(running);
      try {
        return await running;
      } finally {
        this.#beside.delete(running);
      }
    });
  }

  /** Asks for what the caller waits for as long as it says. */
  async #asked<T>(action: string, options: WaitOptions, work: Work<T>): Promise<T> {
    const handle = this.#open(action);
    return await asked(action, this.#path, options, (purpose) => this.#noting(work(handle, purpose)));
  }

  /**
   * Contents from the position at the first read on, as a byte stream with read-ahead. The file is closed when the stream
   * ends or is cancelled, as `Deno.FsFile` does it.
   */
  get readable(): ReadableStream<Bytes> {
    if (this.#readable !== null) return this.#readable;
    let pipeline: ReadPipeline | null = null;
    return this.#readable = new ReadableStream({
      type: "bytes",
      pull: async (controller) => {
        try {
          const handle = this.#open("read");
          this.#opened("read", "read");
          pipeline ??= new ReadPipeline(this.#session, handle, this.#path, { offset: this.#position, end: null });
          const part = await this.#noting(pipeline.next());
          if (part === null) {
            controller.close();
            controller.byobRequest?.respond(0);
            await this.close();
            return;
          }
          this.#position += part.length;
          controller.enqueue(part as Bytes);
        } catch (error) {
          this.#leave();
          throw error;
        }
      },
      cancel: () => {
        pipeline?.cancel();
        this.#leave();
      },
    }, { highWaterMark: 0 });
  }

  /**
   * Takes contents from the position at the first write on, with pipelined writes: a write is done when it was sent, and
   * closing waits for all of them. The file is closed with the stream, as `Deno.FsFile` does it. Aborting waits for nothing.
   */
  get writable(): WritableStream<Uint8Array> {
    if (this.#writable !== null) return this.#writable;
    let signal!: AbortSignal;
    return this.#writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        ({ signal } = controller);
        // A stream calls `abort` only when the write in flight has ended, and never when it is being closed.
        signal.addEventListener("abort", () => {
          void this.#writing?.abandon(signal.reason);
          this.#writing = null;
          this.#leave();
        });
      },
      write: async (chunk) => {
        try {
          if (!(chunk instanceof Uint8Array)) {
            throw new TypeError(`Cannot write ${quoted(this.#path)}: a chunk of its stream is no Uint8Array`);
          }
          this.#opened("write", "write");
          const { length } = chunk;
          await this.#atOnce("write", {}, async (handle) => {
            if (this.#writing === null) {
              const offset = await abortable(this.#writePosition(handle), signal);
              signal.throwIfAborted();
              this.#writing = new WritePipeline(this.#session, handle, this.#path, { offset });
            }
            const pipeline = this.#writing;
            checkStays("write", chunk, length);
            await pipeline.write(chunk);
            this.#position = pipeline.offset;
          });
        } catch (error) {
          this.#writing = null;
          this.#leave();
          throw error;
        }
      },
      close: async () => {
        try {
          await abortable(this.close(), signal);
        } catch (error) {
          // Whoever closes the file too, as `await using` does, need not be told once more.
          this.#closing = Promise.resolve();
          throw error;
        }
      },
    });
  }

  /** Closes the file where nobody waits for it. */
  #leave(): void {
    this.close().catch(() => {});
  }

  async #size(handle: Uint8Array): Promise<number> {
    const session = this.#session, path = this.#path, purpose = { action: "stat", path };
    const { size } = await session.attrs(Fstat, { handle }, purpose).catch(async (error) => {
      // Where there is no FSTAT the path tells; a file that is not there under it any more has no size to be told.
      return await session.attrs(Stat, { path }, purpose).catch(() => {
        throw error;
      });
    });
    if (size === undefined) {
      throw new SftpError(`Cannot stat ${quoted(path)}: the server does not tell its size`, Status.FAILURE, path);
    }
    return size;
  }

  /** Where a write at the position goes: the end of a file opened to append, which not every server sees to itself. */
  async #writePosition(handle: Uint8Array): Promise<number> {
    return this.#append ? await this.#size(handle) : this.#position;
  }

  async #writeAll(handle: Uint8Array, p: Uint8Array, offset: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const pipeline = new WritePipeline(this.#session, handle, this.#path, { offset });
    try {
      await abortable(
        (async () => {
          await pipeline.write(p);
          await pipeline.finish();
        })(),
        signal,
      );
    } catch (error) {
      if (signal?.aborted) void pipeline.abandon(error);
      throw error;
    }
  }

  /** Reads at the current position, until `p` is full or the file ends; null where it had ended already. */
  async read(p: Uint8Array, options: WaitOptions = {}): Promise<number | null> {
    checkBuffer(p);
    this.#opened("read", "read");
    const { length } = p;
    return await this.#inTurn("read", options, async (handle, { signal }) => {
      checkStays("read", p, length);
      const count = await readInto(this.#session, handle, this.#path, p, this.#position, signal);
      this.#position += count ?? 0;
      return count;
    });
  }

  /** Writes all of `p` at the current position, or at the end of a file opened to append. */
  async write(p: Uint8Array, options: WaitOptions = {}): Promise<number> {
    checkBuffer(p);
    this.#opened("write", "write");
    const { length } = p;
    return await this.#inTurn("write", options, async (handle, { signal }) => {
      const offset = await abortable(this.#writePosition(handle), signal);
      checkStays("write", p, length);
      await this.#writeAll(handle, p, offset, signal);
      this.#position = offset + length;
      return length;
    });
  }

  /** Reads at an offset, until `p` is full or the file ends; null where it had ended already. */
  async readAt(p: Uint8Array, offset: number, options: WaitOptions = {}): Promise<number | null> {
    checkBuffer(p);
    checkOffset("read", offset);
    this.#opened("read", "read");
    return await this.#atOnce(
      "read",
      options,
      (handle, { signal }) => readInto(this.#session, handle, this.#path, p, offset, signal),
    );
  }

  /** Writes all of `p` at an offset. */
  async writeAt(p: Uint8Array, offset: number, options: WaitOptions = {}): Promise<number> {
    checkBuffer(p);
    checkOffset("write", offset);
    this.#opened("write", "write");
    const { length } = p;
    await this.#atOnce("write", options, (handle, { signal }) => this.#writeAll(handle, p, offset, signal));
    return length;
  }

  /** Moves the position; resolves to the new one. */
  async seek(offset: number, whence: Deno.SeekMode, options: WaitOptions = {}): Promise<number> {
    if (whence !== 0 && whence !== 1 && whence !== 2) {
      throw new TypeError("Cannot seek: `whence` must be `Deno.SeekMode.Start`, `.Current` or `.End`");
    }
    if (!Number.isSafeInteger(offset)) {
      throw new RangeError(`Cannot seek to offset ${String(offset)}: it is no integer`);
    }
    return await this.#inTurn("seek in", options, async (handle, { signal }) => {
      // Deno.SeekMode: Start 0, Current 1, End 2.
      const base = whence === 0 ? 0 : whence === 1 ? this.#position : await abortable(this.#size(handle), signal);
      checkOffset("seek to", base + offset);
      return this.#position = base + offset;
    });
  }

  /** Metadata (SSH_FXP_FSTAT). */
  async stat(options: WaitOptions = {}): Promise<SftpFileInfo> {
    return fileInfo(
      await this.#asked("stat", options, (handle, purpose) => this.#session.attrs(Fstat, { handle }, purpose)),
    );
  }

  /** Changes attributes (SSH_FXP_FSETSTAT). */
  async setStat(attrs: SftpAttributes, options: WaitOptions = {}): Promise<void> {
    checkAttributes(attrs);
    if (attrs.size !== undefined) this.#opened("write", "truncate");
    await this.#change("change attributes of", attrs, options);
  }

  async #change(action: string, attrs: SftpAttributes, options: WaitOptions): Promise<void> {
    await this.#asked(
      action,
      options,
      (handle, purpose) => this.#session.status(Fsetstat, { handle, attrs }, purpose),
    );
  }

  /** Cuts or extends to `len` bytes. */
  async truncate(len = 0, options: WaitOptions = {}): Promise<void> {
    checkOffset("truncate to", len);
    this.#opened("write", "truncate");
    await this.#change("truncate", { size: len }, options);
  }

  /** Sets the times, in seconds since 1970 or as dates. */
  async utime(atime: number | Date, mtime: number | Date, options: WaitOptions = {}): Promise<void> {
    checkTimes({ atime, mtime });
    await this.setStat({ atime: secondsOf(atime), mtime: secondsOf(mtime) }, options);
  }

  /** Puts what was written on the disk (fsync@openssh.com); `SftpError` OP_UNSUPPORTED where the server cannot. */
  async sync(options: WaitOptions = {}): Promise<void> {
    await this.#asked("sync", options, async (handle, purpose) => {
      if (!this.#session.extensions.has(Extension.fsync)) throw unsupportedError(purpose, Extension.fsync);
      await this.#session.status(Fsync, { handle }, purpose);
    });
  }

  /** Free and total space of the file system it lies on (fstatvfs@openssh.com). */
  async statfs(options: WaitOptions = {}): Promise<SftpFileSystemInfo> {
    return await this.#asked("stat file system of", options, async (handle, purpose) => {
      if (!this.#session.extensions.has(Extension.fstatvfs)) throw unsupportedError(purpose, Extension.fstatvfs);
      return spaceOf(await this.#session.extended(Fstatvfs, { handle }, StatvfsReply, purpose));
    });
  }

  /**
   * Closes the handle; what other methods still do is done first, and rejects where bytes that `writable` took cannot be written.
   * Safe to call twice. A file whose closing was waited for no longer is closed when the server answers.
   */
  async close(options: WaitOptions = {}): Promise<void> {
    checkCall("wait", options);
    const closing = this.#closing ??= this.#close();
    await atMost(options, () => `${quoted(this.#path)} to be closed`, () => closing);
  }

  async #close(): Promise<void> {
    await Promise.allSettled([this.#turn, ...this.#beside]);
    const refused = await this.#writing?.finish().then(() => null, (error) => ({ error })) ?? null;
    await this.#session.closeHandle(this.#handle, this.#path).catch((error) => {
      // What was refused first says more.
      throw refused === null ? error : refused.error;
    });
    if (refused !== null) throw refused.error;
  }

  /**
   * Same as {@linkcode SftpFile.close}, but for a session that has ended: what a method has told of that already, or what concerns a
   * file that was only read, is not told once more in the place of the error that the block ends with.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const isKnown = this.#session.ended !== null && (this.#isLossTold || (this.#flags & OpenFlag.WRITE) === 0);
    await this.close().catch((error) => {
      if (!isKnown) throw error;
    });
  }
}

/** Throws `RangeError` for what is no number of bytes. */
export function checkOffset(action: string, offset: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0) {
    throw new RangeError(`Cannot ${action} offset ${String(offset)}: it is not a whole number of bytes`);
  }
}

/** Seconds since 1970. */
export function secondsOf(time: number | Date): number {
  return typeof time === "number" ? time : time.getTime() / 1000;
}
