/**
 * Splits a byte stream into packets. draft-ietf-secsh-filexfer-02 section 3. No I/O.
 *
 * DATA can go straight to where its reader wants it: each byte is copied once, however the stream is cut.
 *
 * @module
 */
import { SshProtocolError } from "../../errors.ts";
import { Fxp, MAX_PACKET } from "./constants.ts";

/** What becomes of packets. What a method throws ends the session. */
export interface PacketSink {
  /** A whole packet from its type byte on. The bytes belong to the sink. */
  packet(payload: Uint8Array): void;
  /** A DATA packet starts: exactly `length` bytes to fill, or null to get it by `packet()`. */
  dataStart?(id: number, length: number): Uint8Array | null;
  /** The bytes of that DATA packet are all there. */
  dataEnd?(id: number): void;
}

/** Length, type, id and the length of the data: what a DATA packet has before its data. */
const DATA_HEAD = 13;

function u32(b: Uint8Array, at: number): number {
  return ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
}

/** Packets from this size on are worth their memory being kept for the next ones. */
const LARGE = 65_536;
/** The memory of large packets that nobody reads any more, of all sessions, so that one at rest holds none. It holds their bytes. */
const spare: Uint8Array[] = [];
const MAX_SPARE = 8;

/** How a {@linkcode PacketReader} reads. */
export interface PacketReading {
  /** Packets shorter than this are an error: type and id, or a version, always make 5. @default {5} */
  readonly least?: number | undefined;
  /**
   * Whether large packets may lie in memory that others have used before and will use next, behind `recycle()`. Whoever reads a packet then
   * reads nothing around it. @default {false}
   */
  readonly reuses?: boolean | undefined;
}

/** Takes chunks of any size. */
export class PacketReader {
  readonly #sink: PacketSink;
  readonly #least: number;
  readonly #reuses: boolean;
  /** The start of a packet whose head is not there yet. */
  readonly #head = new Uint8Array(DATA_HEAD);
  #headLength = 0;
  /** A packet being put together, its length field not in it. Grows with what arrived, not with what was announced. */
  #body: Uint8Array | null = null;
  #bodyLength = 0;
  #filled = 0;
  #shared = false;
  /** Where the data of a DATA packet goes. */
  #data: Uint8Array | null = null;
  #dataLength = 0;
  #dataId = 0;

  /** At the start of a packet. */
  constructor(sink: PacketSink, { least = 5, reuses = false }: PacketReading = {}) {
    this.#sink = sink;
    this.#least = least;
    this.#reuses = reuses;
  }

  /** Whether the stream may end here. */
  get atBoundary(): boolean {
    return this.#headLength === 0 && this.#body === null && this.#data === null;
  }

  /** Handles all packets that `chunk` completes; says whether a packet that was handed out lies in the chunk. */
  push(chunk: Uint8Array): boolean {
    this.#shared = false;
    let at = 0;
    while (at < chunk.length) {
      if (this.#data !== null) at = this.#continueData(chunk, at);
      else if (this.#body !== null) at = this.#continueBody(chunk, at);
      else at = this.#start(chunk, at);
    }
    return this.#shared;
  }

  #whole(payload: Uint8Array): void {
    this.#shared = true;
    this.#sink.packet(payload);
  }

  /** What is still to come of the DATA packet that goes into `data` is thrown away; of another one, nothing changes. */
  divert(data: Uint8Array): void {
    if (this.#data === data) this.#data = new Uint8Array(data.length);
  }

  /** Takes back a packet that nobody reads any more, where memory is used again. */
  recycle(payload: Uint8Array): void {
    if (!this.#reuses) return;
    // One that lies in a chunk does not start where its memory does, and shares it with others.
    if (payload.byteOffset > 0 || payload.length < LARGE || spare.length >= MAX_SPARE) return;
    spare.push(new Uint8Array(payload.buffer));
  }

  #continueData(chunk: Uint8Array, at: number): number {
    let data = this.#data!;
    // The memory of a program may be moved elsewhere, as `postMessage()` does it. What still comes has nowhere to go.
    if (data.length !== this.#dataLength) this.#data = data = new Uint8Array(this.#dataLength);
    const count = Math.min(data.length - this.#filled, chunk.length - at);
    data.set(chunk.subarray(at, at + count), this.#filled);
    this.#filled += count;
    if (this.#filled === data.length) {
      this.#data = null;
      this.#sink.dataEnd!(this.#dataId);
    }
    return at + count;
  }

  #continueBody(chunk: Uint8Array, at: number): number {
    let body = this.#body!;
    const count = Math.min(this.#bodyLength - this.#filled, chunk.length - at), filled = this.#filled + count;
    if (filled > body.length) {
      const grown = new Uint8Array(Math.min(this.#bodyLength, Math.max(filled, 2 * body.length)));
      grown.set(body.subarray(0, this.#filled));
      this.#body = body = grown;
    }
    body.set(chunk.subarray(at, at + count), this.#filled);
    this.#filled = filled;
    if (filled === this.#bodyLength) {
      this.#body = null;
      this.#sink.packet(body);
    }
    return at + count;
  }

  #start(chunk: Uint8Array, at: number): number {
    if (this.#headLength === 0 && chunk.length - at >= 4) {
      const length = this.#check(u32(chunk, at)), end = at + 4 + length;
      if (chunk[at + 4] === Fxp.DATA && this.#sink.dataStart !== undefined) {
        if (chunk.length - at >= Math.min(DATA_HEAD, 4 + length)) {
          if (this.#startData(chunk, at, length)) return at + DATA_HEAD;
          if (end <= chunk.length) {
            this.#whole(chunk.subarray(at + 4, end));
            return end;
          }
        }
      } else if (end <= chunk.length) {
        this.#whole(chunk.subarray(at + 4, end));
        return end;
      }
    }
    // The head is gathered byte by byte: at most 13 of a packet.
    const head = this.#head;
    while (at < chunk.length) {
      head[this.#headLength++] = chunk[at++]!;
      if (this.#headLength < 4) continue;
      const length = this.#check(u32(head, 0));
      const wanted = this.#headLength === 4 || head[4] !== Fxp.DATA || this.#sink.dataStart === undefined
        ? 5
        : Math.min(DATA_HEAD, 4 + length);
      if (this.#headLength < wanted) continue;
      const got = this.#headLength;
      this.#headLength = 0;
      if (wanted > 5 && this.#startData(head, 0, length)) return at;
      // At most sixteen times what is there: one allocation where packets come in a few pieces, little where they trickle.
      const used = this.#reuses && length >= LARGE ? spare.pop() : undefined;
      this.#body = used !== undefined && used.length >= length
        ? used.subarray(0, length)
        : new Uint8Array(Math.min(length, Math.max(4096, 16 * (chunk.length - at))));
      this.#body.set(head.subarray(4, got));
      this.#bodyLength = length;
      this.#filled = got - 4;
      if (this.#filled === length) {
        const body = this.#body;
        this.#body = null;
        this.#sink.packet(body);
      }
      return at;
    }
    return at;
  }

  /** Starts a DATA packet whose head lies at `at`; false when it is to be handled as any packet. */
  #startData(bytes: Uint8Array, at: number, length: number): boolean {
    if (length < 9) return false;
    const id = u32(bytes, at + 5), dataLength = u32(bytes, at + 9);
    if (dataLength !== length - 9) {
      throw new SshProtocolError(`Malformed SSH_FXP_DATA: ${dataLength} bytes announced, ${length - 9} there`);
    }
    const data = this.#sink.dataStart!(id, dataLength);
    if (data === null) return false;
    if (data.length !== dataLength) throw new RangeError("Cannot read DATA: its destination has another length");
    this.#filled = 0;
    this.#dataLength = dataLength;
    this.#dataId = id;
    if (dataLength === 0) this.#sink.dataEnd!(id);
    else this.#data = data;
    return true;
  }

  #check(length: number): number {
    if (length < this.#least || length > MAX_PACKET) {
      throw new SshProtocolError(
        `Malformed SFTP packet: length ${length}, ${this.#least} to ${MAX_PACKET} allowed` +
          (length > 0x2000_0000 ? "; text in the stream, as a login script prints it, looks like this" : ""),
      );
    }
    return length;
  }
}
