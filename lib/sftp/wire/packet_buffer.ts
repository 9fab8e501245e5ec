/**
 * Gathers outgoing packets into few large chunks. draft-ietf-secsh-filexfer-02 section 3. No I/O.
 *
 * @module
 */
import { Fxp } from "./constants.ts";

/** Chunks grow up to this. */
const CHUNK = 262_144 + 32_768;

/** Chunks that nobody reads any more, of all sessions, to be filled again: a session at rest holds none. They hold what was sent last. */
const spare: Uint8Array[] = [];
const MAX_SPARE = 8;

/** Packets one behind the other. A chunk that was taken is never written again, unless it is given back. */
export class PacketBuffer {
  #chunk: Uint8Array = new Uint8Array(0);
  #length = 0;
  #full: Uint8Array[] = [];
  #fullLength = 0;
  #next = 512;

  /** Bytes waiting. */
  get length(): number {
    return this.#fullLength + this.#length;
  }

  /** Room for `length` bytes in one piece; the caller fills all of them. */
  #reserve(length: number): number {
    if (this.#length + length > this.#chunk.length) {
      this.#finish();
      const size = Math.max(length, this.#next);
      const isLarge = size > CHUNK / 2 && size <= CHUNK;
      this.#chunk = (isLarge ? spare.pop() : undefined) ?? new Uint8Array(isLarge ? CHUNK : size);
      this.#next = Math.min(2 * this.#chunk.length, CHUNK);
    }
    const at = this.#length;
    this.#length += length;
    return at;
  }

  #finish(): void {
    if (this.#length > 0) {
      this.#full.push(this.#chunk.subarray(0, this.#length));
      this.#fullLength += this.#length;
    }
    this.#chunk = new Uint8Array(0);
    this.#length = 0;
  }

  #u32(at: number, value: number): void {
    const b = this.#chunk;
    b[at] = value >>> 24;
    b[at + 1] = value >>> 16;
    b[at + 2] = value >>> 8;
    b[at + 3] = value;
  }

  /** Adds a packet; the payload is copied. */
  packet(payload: Uint8Array): void {
    const at = this.#reserve(4 + payload.length);
    this.#u32(at, payload.length);
    this.#chunk.set(payload, at + 4);
  }

  /** Adds bytes that are a whole packet already, length included. They belong to the buffer from here on. */
  framed(packet: Uint8Array): void {
    this.#finish();
    this.#full.push(packet);
    this.#fullLength += packet.length;
  }

  /** The type, id, handle and offset of READ and WRITE (section 6.4), with room for `more` bytes; where those start. */
  #transfer(type: number, id: number, handle: Uint8Array, offset: number, more: number): number {
    const length = 1 + 4 + 4 + handle.length + 8 + more;
    const at = this.#reserve(4 + length);
    this.#u32(at, length);
    this.#chunk[at + 4] = type;
    this.#u32(at + 5, id);
    this.#u32(at + 9, handle.length);
    this.#chunk.set(handle, at + 13);
    const end = at + 13 + handle.length;
    this.#u32(end, Math.floor(offset / 0x1_0000_0000));
    this.#u32(end + 4, offset % 0x1_0000_0000);
    return end + 8;
  }

  /** Adds SSH_FXP_READ. */
  read(id: number, handle: Uint8Array, offset: number, length: number): void {
    this.#u32(this.#transfer(Fxp.READ, id, handle, offset, 4), length);
  }

  /** Adds SSH_FXP_WRITE; the data is copied. */
  write(id: number, handle: Uint8Array, offset: number, data: Uint8Array): void {
    const at = this.#transfer(Fxp.WRITE, id, handle, offset, 4 + data.length);
    this.#u32(at, data.length);
    this.#chunk.set(data, at + 4);
  }

  /** Takes back a chunk that nobody reads any more. */
  recycle(chunk: Uint8Array): void {
    if (chunk.buffer.byteLength === CHUNK && spare.length < MAX_SPARE) spare.push(new Uint8Array(chunk.buffer));
  }

  /** All that waits, as few chunks, which belong to the caller. */
  take(): Uint8Array[] {
    this.#next = Math.min(Math.max(512, 2 * this.#length), CHUNK);
    this.#finish();
    const chunks = this.#full;
    this.#full = [];
    this.#fullLength = 0;
    return chunks;
  }
}
