/**
 * The bytes of a file in memory, and how many there may be of all. No I/O.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import { Status } from "../limits.ts";

/** Bytes that are held together. What was never written in between is not there, and reads as zeros. */
const PAGE = 65_536;

/** How much a file system in memory may hold: every byte and every name is taken here before it is there, and given back. */
export class Space {
  /** Bytes at most; holes count as if they had been written. */
  readonly maxBytes: number;
  /** Files, directories and links at most. */
  readonly maxFiles: number;
  /** Bytes that are there. */
  bytes = 0;
  /** Files, directories and links that are there, by all of their names. */
  files = 0;

  /** Makes an empty one. */
  constructor(maxBytes: number, maxFiles: number) {
    this.maxBytes = maxBytes;
    this.maxFiles = maxFiles;
  }

  /** Takes bytes, or throws as a full disk does. */
  takeBytes(count: number): void {
    if (!(count <= this.maxBytes - this.bytes)) throw noSpace();
    this.bytes += count;
  }

  /** Takes the place of a name, or throws as a full disk does. */
  takeFile(): void {
    if (this.files >= this.maxFiles) throw noSpace();
    this.files++;
  }
}

/** Version 3 of SFTP has no status of its own for it; this is what OpenSSH's server sends. */
function noSpace(): SftpError {
  return new SftpError("No space left on device", Status.FAILURE);
}

/** The bytes of one file. What it takes of memory is twice its size at most, and as little as was written where it has holes. */
export class Content {
  readonly #space: Space;
  /** By their numbers; one that is shorter than a page goes on with zeros. */
  readonly #pages = new Map<number, Uint8Array>();
  #size = 0;

  /** Makes an empty one that takes its bytes from `space`. */
  constructor(space: Space) {
    this.#space = space;
  }

  /** Bytes, holes included. */
  get size(): number {
    return this.#size;
  }

  /** Reads at an offset; says how many bytes, 0 at the end and behind it. */
  read(p: Uint8Array, offset: number): number {
    const count = Math.max(0, Math.min(p.length, this.#size - offset));
    for (let done = 0; done < count;) {
      const at = offset + done, start = at % PAGE, part = p.subarray(done, Math.min(count, done + PAGE - start));
      const there = this.#pages.get((at - start) / PAGE)?.subarray(start, start + part.length);
      if (there !== undefined) part.set(there);
      part.fill(0, there?.length ?? 0);
      done += part.length;
    }
    return count;
  }

  /** Writes all of it at an offset, or throws with nothing written. */
  write(p: Uint8Array, offset: number): void {
    // As in pwrite(2), nothing is nothing wherever it is written.
    if (p.length === 0) return;
    const end = offset + p.length;
    if (end > this.#size) {
      this.#space.takeBytes(end - this.#size);
      this.#size = end;
    }
    for (let done = 0; done < p.length;) {
      const at = offset + done, start = at % PAGE, part = p.subarray(done, done + PAGE - start);
      this.#page((at - start) / PAGE, start + part.length).set(part, start);
      done += part.length;
    }
  }

  /** A page with room for `length` bytes. */
  #page(number: number, length: number): Uint8Array {
    const page = this.#pages.get(number);
    if (page !== undefined && page.length >= length) return page;
    const grown = new Uint8Array(Math.min(PAGE, Math.max(length, 2 * (page?.length ?? 0))));
    if (page !== undefined) grown.set(page);
    this.#pages.set(number, grown);
    return grown;
  }

  /** Cuts it, or goes on with zeros; throws where there is no room for them. */
  truncate(size: number): void {
    if (size >= this.#size) return this.#grow(size);
    const last = Math.floor(size / PAGE), rest = size % PAGE;
    for (const number of [...this.#pages.keys()]) if (number > last) this.#pages.delete(number);
    const page = this.#pages.get(last);
    // What is written behind it later must not bring back what was here.
    if (page !== undefined && rest < page.length) this.#pages.set(last, page.slice(0, rest));
    this.#space.bytes -= this.#size - size;
    this.#size = size;
  }

  #grow(size: number): void {
    this.#space.takeBytes(size - this.#size);
    this.#size = size;
  }
}
