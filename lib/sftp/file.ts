/**
 * L5. An open remote file. draft-ietf-secsh-filexfer-02 sections 6.2 to 6.4 and 6.8, OpenSSH PROTOCOL sections 4.5 and 4.10.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import type { Bytes } from "../wire/types.ts";
import { fileInfo, type SftpAttributes, type SftpFileInfo } from "./attrs.ts";
import { Extension, OpenFlag } from "./constants.ts";
import { Fsetstat, Fstat, Fstatvfs, Fsync, StatvfsReply } from "./messages.ts";
import { quoted } from "./names.ts";
import { readInto, ReadPipeline } from "./read_pipeline.ts";
import type { SftpSession } from "./requests.ts";
import { type SftpFileSystemInfo, spaceOf } from "./space.ts";
import { unsupportedError } from "./status.ts";
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

let construct: (session: SftpSession, handle: Uint8Array, path: string, append: boolean) => SftpFile;

/** The file behind a handle; the handle belongs to it from here on. */
export function openedFile(session: SftpSession, handle: Uint8Array, path: string, append: boolean): SftpFile {
  return construct(session, handle, path, append);
}

/**
 * An open remote file: the stream and position methods of `Deno.FsFile`.
 *
 * `read`, `write` and `seek` share one position and run one after the other; `readAt` and `writeAt` leave it alone and may
 * run side by side.
 */
export class SftpFile implements AsyncDisposable {
  readonly #session: SftpSession;
  readonly #handle: Uint8Array;
  readonly #path: string;
  readonly #append: boolean;
  #position = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | null = null;
  #readable: ReadableStream<Bytes> | null = null;
  #writable: WritableStream<Uint8Array> | null = null;

  static {
    construct = (session, handle, path, append) => new SftpFile(session, handle, path, append);
  }

  private constructor(session: SftpSession, handle: Uint8Array, path: string, append: boolean) {
    this.#session = session;
    this.#handle = handle;
    this.#path = path;
    this.#append = append;
  }

  #open(action: string): Uint8Array {
    if (this.#closing !== null) {
      throw new SshError(`Cannot ${action} ${quoted(this.#path)}: the file is closed`, { code: "CLOSED" });
    }
    return this.#handle;
  }

  /** Runs what moves the position after all that was asked for before. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
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
          pipeline ??= new ReadPipeline(this.#session, this.#open("read"), this.#path, {
            offset: this.#position,
            end: null,
          });
          const part = await pipeline.next();
          if (part === null) {
            controller.close();
            controller.byobRequest?.respond(0);
            await this.close();
            return;
          }
          this.#position += part.length;
          controller.enqueue(part as Bytes);
        } catch (error) {
          await this.close().catch(() => {});
          throw error;
        }
      },
      cancel: async () => {
        pipeline?.cancel();
        await this.close();
      },
    }, { highWaterMark: 0 });
  }

  /**
   * Takes contents from the position at the first write on, with pipelined writes: a write is done when it was sent, and
   * closing waits for all of them. The file is closed with the stream, as `Deno.FsFile` does it.
   */
  get writable(): WritableStream<Uint8Array> {
    if (this.#writable !== null) return this.#writable;
    let pipeline: WritePipeline | null = null;
    return this.#writable = new WritableStream<Uint8Array>({
      write: async (chunk) => {
        try {
          if (pipeline === null) {
            const offset = await this.#writePosition();
            pipeline = new WritePipeline(this.#session, this.#open("write"), this.#path, { offset });
          }
          await pipeline.write(chunk);
          this.#position = pipeline.offset;
        } catch (error) {
          await this.close().catch(() => {});
          throw error;
        }
      },
      close: async () => {
        try {
          await pipeline?.finish();
        } finally {
          await this.close();
        }
      },
      abort: async (reason) => {
        pipeline?.abandon(reason);
        await this.close();
      },
    });
  }

  /** Where a write at the position goes: the end of a file opened to append, which not every server sees to itself. */
  async #writePosition(): Promise<number> {
    return this.#append ? (await this.stat()).size : this.#position;
  }

  /** Reads at the current position, until `p` is full or the file ends; null where it had ended already. */
  read(p: Uint8Array): Promise<number | null> {
    return this.#inTurn(async () => {
      const count = await this.readAt(p, this.#position);
      this.#position += count ?? 0;
      return count;
    });
  }

  /** Writes all of `p` at the current position, or at the end of a file opened to append. */
  write(p: Uint8Array): Promise<number> {
    return this.#inTurn(async () => {
      const offset = await this.#writePosition();
      await this.writeAt(p, offset);
      this.#position = offset + p.length;
      return p.length;
    });
  }

  /** Reads at an offset, until `p` is full or the file ends; null where it had ended already. */
  async readAt(p: Uint8Array, offset: number): Promise<number | null> {
    checkOffset("read", offset);
    return await readInto(this.#session, this.#open("read"), this.#path, p, offset);
  }

  /** Writes all of `p` at an offset. */
  async writeAt(p: Uint8Array, offset: number): Promise<number> {
    checkOffset("write", offset);
    const pipeline = new WritePipeline(this.#session, this.#open("write"), this.#path, { offset });
    await pipeline.write(p);
    await pipeline.finish();
    return p.length;
  }

  /** Moves the position; resolves to the new one. */
  seek(offset: number, whence: Deno.SeekMode): Promise<number> {
    return this.#inTurn(async () => {
      this.#open("seek in");
      // Deno.SeekMode: Start 0, Current 1, End 2.
      const base = whence === 0 ? 0 : whence === 1 ? this.#position : (await this.stat()).size;
      checkOffset("seek to", base + offset);
      return this.#position = base + offset;
    });
  }

  /** Metadata (SSH_FXP_FSTAT). */
  async stat(): Promise<SftpFileInfo> {
    const purpose = { action: "stat", path: this.#path };
    return fileInfo(await this.#session.attrs(Fstat, { handle: this.#open("stat") }, purpose));
  }

  /** Changes attributes (SSH_FXP_FSETSTAT). */
  async setStat(attrs: SftpAttributes): Promise<void> {
    const purpose = { action: "change attributes of", path: this.#path };
    await this.#session.status(Fsetstat, { handle: this.#open("change attributes of"), attrs }, purpose);
  }

  /** Cuts or extends to `len` bytes. */
  async truncate(len = 0): Promise<void> {
    checkOffset("truncate to", len);
    const purpose = { action: "truncate", path: this.#path };
    await this.#session.status(Fsetstat, { handle: this.#open("truncate"), attrs: { size: len } }, purpose);
  }

  /** Sets the times, in seconds since 1970 or as dates. */
  utime(atime: number | Date, mtime: number | Date): Promise<void> {
    return this.setStat({ atime: secondsOf(atime), mtime: secondsOf(mtime) });
  }

  /** Puts what was written on the disk (fsync@openssh.com); `SftpError` OP_UNSUPPORTED where the server cannot. */
  async sync(): Promise<void> {
    const purpose = { action: "sync", path: this.#path }, handle = this.#open("sync");
    if (!this.#session.extensions.has(Extension.fsync)) throw unsupportedError(purpose, Extension.fsync);
    await this.#session.status(Fsync, { handle }, purpose);
  }

  /** Free and total space of the file system it lies on (fstatvfs@openssh.com). */
  async statfs(): Promise<SftpFileSystemInfo> {
    const purpose = { action: "stat file system of", path: this.#path }, handle = this.#open("stat file system of");
    if (!this.#session.extensions.has(Extension.fstatvfs)) throw unsupportedError(purpose, Extension.fstatvfs);
    return spaceOf(await this.#session.extended(Fstatvfs, { handle }, StatvfsReply, purpose));
  }

  /** Closes the handle; what `read`, `write` and `seek` still do is done first. Safe to call twice. */
  close(): Promise<void> {
    return this.#closing ??= this.#turn.then(() => this.#session.closeHandle(this.#handle, this.#path));
  }

  /** Same as {@linkcode SftpFile.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function checkOffset(action: string, offset: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0) {
    throw new RangeError(`Cannot ${action} offset ${offset}: it is not a whole number of bytes`);
  }
}

/** Seconds since 1970. */
export function secondsOf(time: number | Date): number {
  return typeof time === "number" ? time : time.getTime() / 1000;
}
