/**
 * The server's side of copy-data. draft-ietf-secsh-filexfer-extensions-00 section 7. No I/O but the backend's.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import { Status } from "../../files/limits.ts";
import type { FileHandle } from "./handles.ts";
import { countOf } from "../../files/backend.ts";
import { TurnShare } from "../../wire/turns.ts";

const CHUNK = 262_144;

/** Copies `length` bytes, or to the end where that is 0; never more than the source had when it began, nor when `ended` is. */
export async function copyData(
  from: FileHandle,
  to: FileHandle,
  range: { readonly fromOffset: bigint; readonly length: bigint; readonly toOffset: bigint },
  ended: AbortSignal,
): Promise<void> {
  if (!from.read || !to.write) {
    throw new SftpError("Permission denied: a handle is not open for this", Status.PERMISSION_DENIED);
  }
  // A file copied into itself could grow without end.
  if (from === to || from.path === to.path) throw new SftpError("Cannot copy a file into itself", Status.FAILURE);
  const size = BigInt((await from.file.stat()).size);
  const { fromOffset, toOffset, length } = range;
  const there = fromOffset < size ? size - fromOffset : 0n;
  const count = length === 0n || length > there ? there : length;
  if (toOffset + count > BigInt(Number.MAX_SAFE_INTEGER)) throw new SftpError("Offset out of range", Status.FAILURE);
  const turn = TurnShare.known(), buffer = new Uint8Array(Number(count < CHUNK ? count : CHUNK));
  let read = Number(fromOffset), write = Number(toOffset), left = Number(count);
  while (left > 0) {
    // A backend that has everything at once would copy it all in one turn.
    await turn.rest();
    ended.throwIfAborted();
    const room = Math.min(left, buffer.length);
    const got = countOf(await from.file.readAt(buffer.subarray(0, room), read), room);
    if (got === 0) return;
    await to.file.writeAt(buffer.subarray(0, got), to.append ? (await to.file.stat()).size : write);
    read += got;
    write += got;
    left -= got;
  }
}
