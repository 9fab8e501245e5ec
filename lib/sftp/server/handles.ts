/**
 * The open files and directories of one server session. draft-ietf-secsh-filexfer-02 section 6.2. No I/O of its own.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { Bytes } from "../../wire/types.ts";
import type { SftpBackendEntry, SftpBackendFile } from "../../files/backend.ts";
import { Status } from "../../files/limits.ts";

/** An open file. */
export interface FileHandle {
  /** Tells it from a directory. */
  readonly kind: "file";
  /** The backend's file. */
  readonly file: SftpBackendFile;
  /** The path it was opened by. */
  readonly path: string;
  /** Opened for reading. */
  readonly read: boolean;
  /** Opened for writing. */
  readonly write: boolean;
  /** Every write goes to the end. */
  readonly append: boolean;
}

/** A directory being listed. */
export interface DirectoryHandle {
  /** Tells it from a file. */
  readonly kind: "directory";
  /** Its path. */
  readonly path: string;
  /** The listing. */
  readonly entries: AsyncIterator<SftpBackendEntry>;
  /** An entry that did not fit into the last reply. */
  kept: SftpBackendEntry | null;
  /** The listing has ended. */
  done: boolean;
  /** The next reply, made while the client reads the last one; null at the end. */
  ahead: Promise<Uint8Array | null> | null;
}

/** Handles at once, of files and directories together. */
export const MAX_HANDLES = 1024;
const TAG = 8;

/** A session's handles: a random tag, so that another session's handle is none of this one's, and a number never used again. */
export class Handles {
  readonly #tag = crypto.getRandomValues(new Uint8Array(TAG));
  readonly #open = new Map<number, FileHandle | DirectoryHandle>();
  #next = 0;
  /** Handles promised to an OPEN or OPENDIR that is not done yet. */
  #reserved = 0;

  /** Directories among them. */
  #directories = 0;

  /** Directories that are open. */
  get directories(): number {
    return this.#directories;
  }

  /** Handles that are open. */
  get size(): number {
    return this.#open.size;
  }

  /** Takes a place for a handle, or throws FAILURE where none is left. Each is followed by `add()` or `release()`. */
  reserve(): void {
    if (this.#open.size + this.#reserved >= MAX_HANDLES) {
      throw new SftpError(`Too many open handles: ${MAX_HANDLES} at most`, Status.FAILURE);
    }
    this.#reserved++;
  }

  /** Gives back a place that is not needed. */
  release(): void {
    this.#reserved--;
  }

  /** Puts an open thing into the place reserved for it. */
  add(entry: FileHandle | DirectoryHandle): Bytes {
    this.#reserved--;
    const number = this.#next++;
    this.#open.set(number, entry);
    if (entry.kind === "directory") this.#directories++;
    const handle = new Uint8Array(TAG + 4);
    handle.set(this.#tag);
    new DataView(handle.buffer).setUint32(TAG, number);
    return handle;
  }

  #number(handle: Uint8Array): number {
    if (handle.length !== TAG + 4) return -1;
    for (let i = 0; i < TAG; i++) if (handle[i] !== this.#tag[i]) return -1;
    return ((handle[TAG]! << 24) | (handle[TAG + 1]! << 16) | (handle[TAG + 2]! << 8) | handle[TAG + 3]!) >>> 0;
  }

  /** What a handle stands for; throws FAILURE for one that is unknown, closed, or another session's. */
  get(handle: Uint8Array): FileHandle | DirectoryHandle {
    const entry = this.#open.get(this.#number(handle));
    if (entry === undefined) throw new SftpError("Invalid handle", Status.FAILURE);
    return entry;
  }

  /** The open file of a handle. */
  file(handle: Uint8Array): FileHandle {
    const entry = this.get(handle);
    if (entry.kind !== "file") throw new SftpError("Invalid handle: it is a directory's", Status.FAILURE);
    return entry;
  }

  /** The open directory of a handle. */
  directory(handle: Uint8Array): DirectoryHandle {
    const entry = this.get(handle);
    if (entry.kind !== "directory") throw new SftpError("Invalid handle: it is a file's", Status.FAILURE);
    return entry;
  }

  /** Closes a handle; it is gone even where closing fails. */
  async close(handle: Uint8Array): Promise<void> {
    const entry = this.get(handle);
    this.#open.delete(this.#number(handle));
    if (entry.kind === "directory") this.#directories--;
    await closeEntry(entry);
  }

  /** Closes all of them; `failed` is told of each that cannot be. */
  async closeAll(failed: (error: unknown) => void): Promise<void> {
    const entries = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(entries.map((entry) => closeEntry(entry).catch(failed)));
  }
}

async function closeEntry(entry: FileHandle | DirectoryHandle): Promise<void> {
  if (entry.kind === "file") await entry.file[Symbol.asyncDispose]();
  else await entry.entries.return?.();
}
