/**
 * Writes a whole remote file in place. draft-ietf-secsh-filexfer-02 sections 6.3 and 6.4.
 *
 * @module
 */
import type { RemoteFiles } from "../remote/remote_files.ts";
import { OpenFlag } from "../wire/constants.ts";
import { checkStays } from "../../files/check_calls.ts";
import { FileType } from "../../files/limits.ts";
import { Fsetstat, Open, Setstat, Stat } from "../wire/messages.ts";
import { abortable } from "../../wire/abortable.ts";
import { quoted } from "../../files/names.ts";
import { lostError } from "../remote/errors.ts";
import { noting } from "../remote/replace.ts";
import { refusalOf } from "../../files/refusals.ts";
import type { SftpSession } from "../remote/session.ts";
import { WritePipeline } from "../remote/write_pipeline.ts";

/** Options of a write; its time is in the signal. */
type WriteOptions = Omit<Deno.WriteFileOptions, "signal"> & { signal: AbortSignal | undefined };

/** Bytes in pieces, between which a write can be aborted. */
function* pieces(data: Uint8Array, length: number): Iterable<Uint8Array> {
  for (let at = 0; at < length; at += 1_048_576) {
    checkStays("write", data, length);
    yield data.subarray(at, at + 1_048_576);
  }
}

/** Writes `data` to a file, which is created or replaced unless the options say otherwise. */
export async function writeWholeFile(
  client: RemoteFiles,
  session: SftpSession,
  path: string,
  data: Uint8Array | ReadableStream<Uint8Array>,
  options: WriteOptions,
): Promise<void> {
  const { append = false, create = true, createNew = false, mode, signal } = options;
  const { length } = data instanceof Uint8Array ? data : { length: 0 };
  if (data instanceof Uint8Array && length > 0 && length <= session.maxWrite && !append && !createNew) {
    if (await isWrittenAtOnce(session, path, data, options)) return;
  }
  const source = data instanceof Uint8Array ? ReadableStream.from(pieces(data, length)) : data;
  const file = await client.open(path, {
    write: true,
    append,
    create,
    createNew,
    truncate: !append,
    ...(mode === undefined ? {} : { mode }),
    ...(signal === undefined ? {} : { signal }),
  }).catch((error) => {
    leave(source, error);
    throw error;
  });
  // A source that has nothing to give just now would not hear that there is nowhere for it to go any more.
  const end = session.untilEnd(signal, (ended) => lostError({ action: "write", path }, ended));
  try {
    // OPEN gives it to a file that it creates only, and less what the server's umask takes away.
    if (mode !== undefined) {
      const attrs = { mode: mode & 0o7777 };
      await file.setStat(attrs, { signal })
        .catch((error) => changeByPath(session, path, attrs, error, signal));
    }
    await piped(source, file.writable, end.signal, () => {
      if (data instanceof Uint8Array) checkStays("write", data, length);
    });
  } catch (error) {
    // Closed with the stream already, but where nothing could be piped at all; what a CLOSE says now is not what went wrong.
    await file.close().catch(() => {});
    leave(source, error);
    throw append ? error : notWhole(error, path);
  } finally {
    end.stop();
  }
}

/** Whoever gives a stream need not see to what is left of it. A pipe has done so where it began. */
function leave(source: ReadableStream<Uint8Array>, error: unknown): void {
  source.cancel(error).catch(() => {});
}

/**
 * Writes all of `source`, which is cancelled where that fails, and closes what was written, which waits for all answers. `written` hears
 * of an abort at once: a pipe would tell it, and `source`, behind the write that the server does not answer.
 */
async function piped(
  source: ReadableStream<Uint8Array>,
  written: WritableStream<Uint8Array>,
  signal: AbortSignal,
  beforeClose: () => void,
): Promise<void> {
  const writer = written.getWriter();
  const onAbort = (): void => void writer.abort(signal.reason).catch(() => {});
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  const through = new WritableStream<Uint8Array>({
    write: (chunk) => writer.write(chunk),
    abort: (reason) => writer.abort(reason),
  });
  try {
    await source.pipeTo(through, { signal });
    beforeClose();
    await writer.close();
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** What a server does not do by handle it may do by path; `error` says what it refused first. */
async function changeByPath(
  session: SftpSession,
  path: string,
  attrs: { mode: number },
  error: unknown,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (session.ended !== null) throw error;
  await session.status(Setstat, { path, attrs }, { action: "change attributes of", path, signal }).catch((second) => {
    throw session.ended === null ? error : second;
  });
}

function notWhole(error: unknown, path: string): unknown {
  return noting(error, `what is at ${quoted(path)} is not whole, as it was written to in place`);
}

/**
 * Writes what one request can carry over what is there, and cuts off the rest when it is there: a server that refuses the
 * write, as one whose disk is full, has the old file still. False where it has to be emptied first.
 */
async function isWrittenAtOnce(
  session: SftpSession,
  path: string,
  data: Uint8Array,
  { create = true, mode, signal }: WriteOptions,
): Promise<boolean> {
  const purpose = { action: "open", path, signal }, flags = OpenFlag.WRITE | (create ? OpenFlag.CREAT : 0);
  const attrs = mode === undefined || !create ? {} : { mode: mode & 0o7777 };
  const size = data.length;
  let handle: Uint8Array;
  try {
    handle = await session.handle(Open, { path, flags, attrs }, purpose);
  } catch (error) {
    const refusal = refusalOf(error);
    // What may be had otherwise: some servers do not open without TRUNC.
    const isOpen = refusal === "unclear" || refusal === "malformed" || refusal === "unsupported";
    if (isOpen && session.ended === null) return false;
    throw error;
  }
  const changing = { action: "change attributes of", path };
  const write = async (): Promise<void> => {
    if (mode !== undefined) {
      const attrs = { mode: mode & 0o7777 };
      await session.status(Fsetstat, { handle, attrs }, changing)
        .catch((error) => changeByPath(session, path, attrs, error, signal));
    }
    signal?.throwIfAborted();
    checkStays("write", data, size);
    const writing = new WritePipeline(session, handle, path, { offset: 0 });
    await writing.write(data);
    await writing.finish();
  };
  try {
    // Whoever gives up has the handle closed at once, whatever the server still has to answer.
    await abortable(write(), signal);
  } catch (error) {
    session.dropHandle(handle, path);
    throw error;
  }
  const cutting = { action: "truncate", path };
  const cut = session.status(Fsetstat, { handle, attrs: { size } }, cutting).then(() => true, () => false);
  // Both are waited for: a server may refuse the one before it has done the other.
  const [isCut, refusal] = await Promise.all([
    cut,
    session.closeHandle(handle, path).then(() => null, (error) => ({ error })),
  ]);
  if (refusal !== null) throw isCut ? refusal.error : notWhole(refusal.error, path);
  return isCut || await isCutByPath(session, path, size, signal);
}

/**
 * The same for a server without FSETSTAT; what is no regular file, or no longer, has nothing to be cut off. Behind an abort another may
 * have written to the path: nothing is cut then.
 */
async function isCutByPath(
  session: SftpSession,
  path: string,
  size: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const purpose = { action: "truncate", path, signal };
  try {
    const there = await session.attrs(Stat, { path }, purpose);
    const isRegular = ((there.mode ?? FileType.REGULAR) & FileType.MASK) === FileType.REGULAR;
    if (!isRegular || (there.size ?? Infinity) <= size) return true;
    await session.status(Setstat, { path, attrs: { size } }, purpose);
    return true;
  } catch (error) {
    if (session.ended !== null) throw notWhole(error, path);
    return false;
  }
}
