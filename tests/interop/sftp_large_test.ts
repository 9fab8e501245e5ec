/**
 * A sparse file of 5 GiB on either side: what lies behind 4 GiB is read, written and copied by its offset. With `AMIKO_SOAK=1` the whole of it is
 * copied down and up too.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { SftpClient, TransferOptions } from "../../mod.ts";
import { runText } from "../_support/child.ts";
import { seededBytes } from "../_support/duplex.ts";
import { opensshOptions } from "../_support/file_clients.ts";
import { peers, peerTest, type ServerPeer, startAsyncSshServer, startOpenSshd } from "../_support/peers.ts";
import { soaking } from "../_support/resources.ts";
import { connectTo, folders, startOurs } from "./_files.ts";
import { assertSameBytes } from "./_matrix.ts";

const GiB = 1024 ** 3;
const size = 5 * GiB;
/** Places of blocks: the start, across 2 GiB and 4 GiB, behind, and the end. */
const places = [0, 2 * GiB - 500, 4 * GiB - 500, 4 * GiB + 200_000, size - 100_000];
/** What is missing of a file that is resumed. */
const TAIL = 4 * 1024 * 1024;
const block = (place: number) => seededBytes(100_000, 1 + place % 1000);

/** Writes the blocks into a file that is there. */
async function writeBlocks(path: string): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true });
  await file.truncate(size);
  for (const place of places) {
    await file.seek(place, Deno.SeekMode.Start);
    const bytes = block(place);
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  }
}

async function checkBlocks(path: string, from = 0): Promise<void> {
  using file = await Deno.open(path);
  assertEquals((await file.stat()).size, size);
  for (const place of places.filter((place) => place >= from)) {
    await file.seek(place, Deno.SeekMode.Start);
    const got = new Uint8Array(100_000);
    for (let at = 0; at < got.length;) at += await file.read(got.subarray(at)) ?? got.length;
    assertSameBytes(got, block(place));
  }
}

/** Begins a copy and makes its part one of which the end only is missing: what is resumed starts behind 4 GiB. */
async function cutShort(directory: string, begin: (options: TransferOptions) => Promise<unknown>): Promise<void> {
  const controller = new AbortController(), { signal } = controller;
  const onProgress = ({ bytes }: { bytes: number }): void => {
    if (bytes > 0) controller.abort(new Error("stop it"));
  };
  await assertRejects(() => begin({ signal, onProgress }), Error, "stop it");
  const [part, ...others] = Array.from(Deno.readDirSync(directory), ({ name }) => name)
    .filter((name) => name.endsWith(".part"));
  assertEquals(others, []);
  await Deno.truncate(`${directory}/${part}`, size - TAIL);
}

/** A file whose last part only is missing. */
async function allButTheEnd(path: string, source: string): Promise<void> {
  await Deno.truncate(path, size - TAIL).catch(async () => {
    await Deno.writeFile(path, new Uint8Array());
    await Deno.truncate(path, size - TAIL);
  });
  // So that it is not older than the source.
  const { mtime } = await Deno.stat(source);
  await Deno.utime(path, mtime!, mtime!);
}

async function check(sftp: SftpClient, local: string, folder: string, prefix: string): Promise<void> {
  // Written by the client.
  {
    await using file = await sftp.open(`${prefix}/written`, { read: true, write: true, create: true });
    await file.truncate(size);
    for (const place of places) await file.writeAt(block(place), place);
    assertEquals((await file.stat()).size, size);
    for (const place of places) {
      const got = new Uint8Array(100_000);
      assertEquals(await file.readAt(got, place), got.length);
      assertSameBytes(got, block(place));
    }
    assertEquals(await file.readAt(new Uint8Array(10), size), null);
  }
  await checkBlocks(`${folder}/written`);
  const { blocks } = await Deno.stat(`${folder}/written`);
  assert(blocks! * 512 < 16 * 1024 * 1024, "the server's file is not sparse");
  assertEquals((await sftp.stat(`${prefix}/written`)).size, size);

  // Down, but for its end.
  const download = (options: TransferOptions) => sftp.download(`${prefix}/written`, `${local}/down`, options);
  await cutShort(local, download);
  assertEquals(await download({ resume: true }), { files: 1, bytes: TAIL, warnings: [] });
  await checkBlocks(`${local}/down`, size - TAIL);

  // And up; a client goes back as far as gaps may reach.
  await writeBlocks(`${local}/up`);
  const upload = (options: TransferOptions) => sftp.upload(`${local}/up`, `${prefix}/up`, options);
  await cutShort(folder, upload);
  const up = await upload({ resume: true });
  assertEquals(up.files, 1);
  assert(up.bytes >= TAIL && up.bytes < TAIL + 20 * 1024 * 1024, `${up.bytes} bytes`);
  await checkBlocks(`${folder}/up`, size - TAIL);

  if (!soaking) return;
  await sftp.download(`${prefix}/written`, `${local}/whole`);
  await runText(["cmp", `${folder}/written`, `${local}/whole`], { deadline: 120_000 });
  await Deno.remove(`${local}/whole`);
  await sftp.upload(`${local}/up`, `${prefix}/whole`);
  await runText(["cmp", `${folder}/whole`, `${local}/up`], { deadline: 120_000 });
  await Deno.remove(`${folder}/whole`);
}

const servers = [
  ["openssh", () => startOpenSshd()],
  ["asyncssh", () => startAsyncSshServer()],
] as const satisfies [keyof typeof peers, () => Promise<ServerPeer>][];

for (const [id, start] of servers) {
  peerTest(id, `client.sftp() reaches behind 4 GiB of a file on ${peers[id].title}`, async () => {
    const { local, folder } = folders("local", "folder");
    await using server = await start();
    await using client = await connectTo(server);
    await using sftp = await client.sftp();
    await check(sftp, local, folder, folder);
  });
}

Deno.test("sftpSubsystem() reaches behind 4 GiB of a file", async () => {
  const { local, folder } = folders("local", "folder");
  await using server = await startOurs(folder);
  await using client = await connectTo(server);
  await using sftp = await client.sftp();
  await check(sftp, local, folder, "");
});

peerTest("openssh", `sftpSubsystem() serves ${peers.openssh.title}'s sftp what lies behind 4 GiB`, async () => {
  const { local, folder } = folders("local", "folder");
  await writeBlocks(`${folder}/file`);
  await allButTheEnd(`${local}/file`, `${folder}/file`);
  await writeBlocks(`${local}/other`);
  await allButTheEnd(`${folder}/other`, `${local}/other`);
  await using server = await startOurs(folder);
  await runText([
    "/usr/bin/sftp",
    ...["-P", String(server.port)],
    ...opensshOptions({ ...server, tree: local, back: local }),
    ...["-q", "-b", "-", `${server.username}@127.0.0.1`],
  ], { stdin: new TextEncoder().encode(`reget /file ${local}/file\nreput ${local}/other /other\n`) });
  await checkBlocks(`${local}/file`, size - TAIL);
  await checkBlocks(`${folder}/other`, size - TAIL);
});
