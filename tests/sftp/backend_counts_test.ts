/** Backends that say they read what they did not. */
import { assertEquals } from "@std/assert";
import type { SftpBackend, SftpBackendFile } from "../../lib/files/backend.ts";
import { Extension, OpenFlag } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import type { RootedOptions } from "../../lib/files/rooted/backend.ts";
import { scpDownload } from "../../lib/scp/scp.ts";
import { serveScp } from "../../lib/scp/server.ts";
import { scpCommand } from "../../lib/scp/command.ts";
import { info } from "../_support/file_info.ts";
import { begin, pipes, type RawPeer, someone, statusIn, tempDir } from "../_support/sftp_peers.ts";

/** A backend whose files are read as told. */
function backendOf(readAt: SftpBackendFile["readAt"], writeAt: SftpBackendFile["writeAt"] = () => {}): SftpBackend {
  return {
    open: () => ({ readAt, writeAt, stat: () => info(1000), [Symbol.asyncDispose]: () => Promise.resolve() }),
    async *readDir() {},
    stat: () => info(1000),
  };
}

async function opening(
  backend: SftpBackend | RootedOptions,
  onError: (error: unknown) => void = () => {},
): Promise<AsyncDisposable & { peer: RawPeer; open: (path: string) => Promise<Uint8Array> }> {
  // As over SSH: a chunk that was written is the session's again.
  const session = await begin(backend, { onError, shape: (far) => ({ ...far, releasesChunks: true }) }),
    { peer } = session;
  const flags = OpenFlag.READ | OpenFlag.WRITE;
  return {
    peer,
    open: async (path) => m.Handle.decode((await peer.ask(m.Open.encode({ id: 1, path, flags, attrs: {} })))!).handle,
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

Deno.test("a backend that says it read more than it wrote sends zeros, and nothing of another session", async () => {
  await using dir = await tempDir();
  const secret = new Uint8Array(100_000).fill(0x53);
  await Deno.writeFile(`${dir.path}/secret`, secret);
  await using theirs = await opening({ root: dir.path });
  const there = await theirs.open("/secret");
  await using liar = await opening(backendOf((p) => p.length));
  const mine = await liar.open("/f");
  for (const length of [261_120, 200_000, 100_000, 65_537, 30_000, 1]) {
    // The buffer of the one READ is the next one's.
    for (let round = 0; round < 4; round++) {
      const read = m.Read.encode({ id: 2, handle: there, offset: 0n, length: 261_120 });
      assertEquals(m.Data.decode((await theirs.peer.ask(read))!).data, secret);
    }
    const { data } = m.Data.decode(
      (await liar.peer.ask(m.Read.encode({ id: 2, handle: mine, offset: 0n, length })))!,
    );
    assertEquals([data.length, data.findIndex((byte) => byte !== 0)], [length, -1]);
  }
});

for (const count of [101, 2 ** 40, -1, 0.5, NaN, Infinity]) {
  Deno.test(`a backend that says it read ${count} of 100 bytes fails that READ, that copy-data and that scp`, async () => {
    const mistakes: unknown[] = [], written: number[] = [];
    const backend = backendOf((p) => count === 101 ? p.length + 1 : count, (p) => void written.push(p.length));
    await using session = await opening(backend, (error) => mistakes.push(error));
    const { peer } = session, handle = await session.open("/a"), to = await session.open("/b");
    assertEquals(statusIn(await peer.ask(m.Read.encode({ id: 2, handle, offset: 0n, length: 100 }))), Status.FAILURE);
    const range = { fromOffset: 0n, length: 100n, toOffset: 0n };
    const copy = m.CopyData.encode({ id: 3, extension: Extension.copyData, from: handle, to, ...range });
    assertEquals(statusIn(await peer.ask(copy)), Status.FAILURE);
    assertEquals(written, []);
    const { near, far } = pipes();
    await using dir = await tempDir();
    const onError = (error: unknown): void => void mistakes.push(error);
    const code = serveScp(far, scpCommand("from", "/a"), backend, someone, { onError });
    const said = await scpDownload(near, "/a", `${dir.path}/a`).then(() => "copied", String);
    assertEquals([await code, said.includes("Failure")], [1, true], said);
    assertEquals(mistakes.map((error) => (error as Error).name), ["RangeError", "RangeError", "RangeError"]);
  });
}
