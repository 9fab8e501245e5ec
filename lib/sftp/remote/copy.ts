/**
 * Copies a remote file to another remote file. draft-ietf-secsh-filexfer-extensions-00 section 7.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { SftpAttributes } from "../../files/file_info.ts";
import { FileType, Status } from "../../files/limits.ts";
import { abortable } from "../../wire/abortable.ts";
import { Extension, OpenFlag } from "../wire/constants.ts";
import { CopyData, Fsetstat, Fstat, Open, Setstat, Stat } from "../wire/messages.ts";
import { quoted } from "../../files/names.ts";
import { refusalOf } from "../../files/refusals.ts";
import { readInto, ReadPipeline } from "./read_pipeline.ts";
import { noting } from "./replace.ts";
import type { SftpSession } from "./session.ts";
import { WritePipeline } from "./write_pipeline.ts";

/** Copies contents and permission bits: on the server's side where it has copy-data, else through here. */
export async function copyRemoteFile(
  session: SftpSession,
  from: string,
  to: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const source = await session.handle(
    Open,
    { path: from, flags: OpenFlag.READ, attrs: {} },
    { action: "open", path: from, signal },
  );
  try {
    const { size, mode } = await told(session, source, from);
    // OpenSSH opens one like a file, and refuses to read it when the target is there.
    if (((mode ?? 0) & FileType.MASK) === FileType.DIRECTORY) {
      throw new SftpError(`Cannot copy ${quoted(from)}: it is a directory`, Status.FAILURE, from);
    }
    const target = await session.handle(
      Open,
      {
        path: to,
        flags: OpenFlag.WRITE | OpenFlag.CREAT,
        attrs: mode === undefined ? {} : { mode: mode & 0o777 },
      },
      { action: "open", path: to, signal },
    );
    let isTouched = false;
    try {
      // TRUNC would empty the source where both are one file, by a hard link: only what is longer than it is cut.
      const there = (await told(session, target, to)).size ?? Infinity;
      const isThere = session.extensions.has(Extension.copyData) && size !== undefined &&
        (there === 0 || await reaches(session, source, from, size, signal));
      const cut = async (size: number): Promise<void> => {
        const purpose = { action: "truncate", path: to, signal }, attrs = { size };
        await session.status(Fsetstat, { handle: target, attrs }, purpose)
          .catch(() => session.status(Setstat, { path: to, attrs }, purpose));
      };
      isTouched = true;
      if (isThere && there > size) await cut(size);
      if (!isThere || !await isCopiedThere(session, source, from, target, signal)) {
        const copied = await copyThrough(session, source, from, target, to, signal);
        // What it has now is known, and what it had is what the server said.
        await cut(copied).catch((error) => {
          if (there > copied || session.ended !== null) throw error;
        });
      }
    } catch (error) {
      session.dropHandle(target, to);
      throw isTouched ? notWhole(error, to) : error;
    }
    // A full disk may show only now.
    await session.closeHandle(target, to).catch((error) => {
      throw notWhole(error, to);
    });
  } finally {
    session.dropHandle(source, from);
  }
}

function notWhole(error: unknown, path: string): unknown {
  return noting(error, `what is at ${quoted(path)} is not whole`);
}

/** What the server tells of an open file, by its path where it does not by its handle; nothing where by neither. */
async function told(session: SftpSession, handle: Uint8Array, path: string): Promise<SftpAttributes> {
  const purpose = { action: "stat", path };
  return await session.attrs(Fstat, { handle }, purpose)
    .catch(() => session.attrs(Stat, { path }, purpose))
    .catch((error) => {
      if (session.ended !== null) throw error;
      return {};
    });
}

/**
 * Whether a file has all of the size that the server gives, which for those of /sys is more than there is: where a copy ends before
 * that, what was behind it would stay, and nobody could tell.
 */
async function reaches(
  session: SftpSession,
  source: Uint8Array,
  from: string,
  size: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  return size === 0 || await readInto(session, source, from, new Uint8Array(1), size - 1, signal) !== null;
}

/** Has the server copy all of it; false where it names copy-data among its extensions, and has none for this file. */
async function isCopiedThere(
  session: SftpSession,
  source: Uint8Array,
  from: string,
  target: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const whole = { from: source, fromOffset: 0n, length: 0n, to: target, toOffset: 0n };
  try {
    await session.status(CopyData, whole, { action: "copy", path: from, signal });
    return true;
  } catch (error) {
    if (refusalOf(error) !== "unsupported") throw error;
    signal?.throwIfAborted();
    return false;
  }
}

/** Copies to the end of the file, and tells where that was. */
async function copyThrough(
  session: SftpSession,
  source: Uint8Array,
  from: string,
  target: Uint8Array,
  to: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  const reading = new ReadPipeline(session, source, from, { offset: 0, end: null });
  const writing = new WritePipeline(session, target, to, { offset: 0 });
  try {
    await abortable(
      (async () => {
        for (let part = await reading.next(); part !== null; part = await reading.next()) await writing.write(part);
        await writing.finish();
      })(),
      signal,
    );
    return writing.offset;
  } catch (error) {
    void writing.abandon(error);
    throw error;
  } finally {
    reading.cancel();
  }
}
