/**
 * Bytes that come in pieces, however small, and are wanted as a whole: an object for each byte would be hundreds of times the byte.
 * No I/O.
 *
 * @module
 */
import { concat } from "@std/bytes";
import type { Bytes } from "./types.ts";

/** Pieces from this size on are kept; smaller ones go together. */
const KEPT = 4_096;
/** Bytes of the buffers that they go together in: twice what has come, within these. */
const ROOM = { least: 512, most: 65_536 };

/** Pieces in order. */
export class Gathered {
  readonly #pieces: Uint8Array[] = [];
  #length = 0;
  /** The buffer being filled, where its last piece ends, and where it is filled to. */
  #open: Bytes = new Uint8Array(0);
  #start = 0;
  #end = 0;

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** Objects that hold them. */
  get pieces(): number {
    return this.#pieces.length + (this.#end > this.#start ? 1 : 0);
  }

  /** Takes a piece; one that is the caller's own is kept where it is large, and otherwise copied. */
  add(piece: Uint8Array, isOwn = true): void {
    this.#length += piece.length;
    if (piece.length >= KEPT) {
      this.#close();
      this.#pieces.push(isOwn ? piece : piece.slice());
      return;
    }
    if (this.#open.length - this.#end < piece.length) {
      this.#close();
      this.#open = new Uint8Array(Math.max(piece.length, ROOM.least, Math.min(2 * this.#length, ROOM.most)));
      this.#start = this.#end = 0;
    }
    this.#open.set(piece, this.#end);
    this.#end += piece.length;
  }

  /** What follows a large piece goes behind what is there. */
  #close(): void {
    if (this.#end > this.#start) this.#pieces.push(this.#open.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }

  /** All of it; a large piece that came alone is given as it is. */
  bytes(): Bytes {
    const rest = this.#open.subarray(this.#start, this.#end);
    if (this.#pieces.length === 0) return rest.slice();
    return this.#pieces.length === 1 && rest.length === 0 ? this.#pieces[0] as Bytes : concat([...this.#pieces, rest]);
  }
}
