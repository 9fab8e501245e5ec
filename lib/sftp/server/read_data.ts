/**
 * What the server does for READ: DATA, read into the packet that leaves. draft-ietf-secsh-filexfer-02 section 6.4.
 * No I/O but the backend's.
 *
 * @module
 */
import type { MaybePromise } from "../../wire/types.ts";
import { countOf, type SftpBackendFile } from "../../files/backend.ts";
import { MAX_TRANSFER } from "../wire/constants.ts";
import { Status } from "../../files/limits.ts";
import { after } from "../../wire/pending.ts";

/** What DATA replies with: the bytes are read into a whole packet, its head left to the sender. */
export interface DataReply {
  /** A packet with 13 bytes for the head, then the data. */
  readonly packet: Uint8Array;
  /** Bytes of data. */
  readonly length: number;
}

const HEAD = 13;
/** From this length on a READ gets a buffer of full size, which is used again: what a client asks for is seldom what a file has. */
const LARGE = 65_537;

/** Buffers of full size, of all sessions. They hold what was read last. */
const spare: Uint8Array[] = [];
const MAX_SPARE = 16;

/** Takes back the packet of a {@linkcode DataReply} that nobody reads any more. */
export function recycle(packet: Uint8Array): void {
  const { buffer } = packet;
  if (buffer.byteLength === HEAD + MAX_TRANSFER && spare.length < MAX_SPARE) spare.push(new Uint8Array(buffer));
}

/** Bytes that a READ of `length` takes while it runs. */
export function readCost(length: number): number {
  return length < LARGE ? length : MAX_TRANSFER;
}

/**
 * Reads at an offset. A file that is not `trusted` gets zeros to read into: should it say that it read more than it wrote, the
 * rest would be of another session.
 */
export function readData(
  file: SftpBackendFile,
  offset: number,
  length: number,
  trusted: boolean,
): MaybePromise<DataReply | typeof Status.EOF> {
  // Not the end of the file: nothing was asked for, and that is what sftp-server sends.
  if (length === 0) return { packet: new Uint8Array(HEAD), length };
  const used = length < LARGE ? undefined : spare.pop();
  const scratch = used ?? new Uint8Array(HEAD + readCost(length)), room = scratch.subarray(HEAD, HEAD + length);
  if (used !== undefined && !trusted) room.fill(0);
  return after(file.readAt(room, offset), (count) => {
    const got = countOf(count, length);
    let packet = scratch.subarray(0, HEAD + got);
    if (length >= LARGE && got < MAX_TRANSFER / 2) {
      // A buffer is not held for what fills little of it: that is copied, and the buffer serves the next one.
      packet = packet.slice();
      recycle(scratch);
    }
    return got === 0 ? Status.EOF : { packet, length: got };
  });
}
