/**
 * L5. Copies a remote file to another remote file. draft-ietf-secsh-filexfer-extensions-00 section 7.
 *
 * @module
 */
import { Extension, OpenFlag } from "./constants.ts";
import { CopyData, Fsetstat, Fstat, Open } from "./messages.ts";
import { ReadPipeline } from "./read_pipeline.ts";
import type { SftpSession } from "./requests.ts";
import { WritePipeline } from "./write_pipeline.ts";

/** Copies contents and permission bits: on the server's side where it has copy-data, else through here. */
export async function copyRemoteFile(session: SftpSession, from: string, to: string): Promise<void> {
  const source = await session.handle(
    Open,
    { path: from, flags: OpenFlag.READ, attrs: {} },
    { action: "open", path: from },
  );
  try {
    const { size = 0, mode } = await session.attrs(Fstat, { handle: source }, { action: "stat", path: from });
    const target = await session.handle(
      Open,
      {
        path: to,
        flags: OpenFlag.WRITE | OpenFlag.CREAT,
        attrs: mode === undefined ? {} : { mode: mode & 0o777 },
      },
      { action: "open", path: to },
    );
    try {
      // TRUNC would empty the source where both are one file, by a hard link: only what is longer than it is cut.
      const there = await session.attrs(Fstat, { handle: target }, { action: "stat", path: to });
      if ((there.size ?? Infinity) > size) {
        await session.status(Fsetstat, { handle: target, attrs: { size } }, { action: "truncate", path: to });
      }
      if (session.extensions.has(Extension.copyData)) {
        const whole = { from: source, fromOffset: 0n, length: 0n, to: target, toOffset: 0n };
        await session.status(CopyData, whole, { action: "copy", path: from });
      } else {
        await copyThrough(session, source, from, target, to);
      }
    } catch (error) {
      session.dropHandle(target, to);
      throw error;
    }
    // A full disk may show only now.
    await session.closeHandle(target, to);
  } finally {
    session.dropHandle(source, from);
  }
}

async function copyThrough(
  session: SftpSession,
  source: Uint8Array,
  from: string,
  target: Uint8Array,
  to: string,
): Promise<void> {
  const reading = new ReadPipeline(session, source, from, { offset: 0, end: null });
  const writing = new WritePipeline(session, target, to, { offset: 0 });
  try {
    for (let part = await reading.next(); part !== null; part = await reading.next()) await writing.write(part);
    await writing.finish();
  } catch (error) {
    writing.abandon(error);
    throw error;
  } finally {
    reading.cancel();
  }
}
