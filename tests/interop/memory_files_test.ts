/**
 * `memoryFiles()` for the programs of others, behind `sftpSubsystem()` and `scpHandler()`. How to run one peer: _matrix.ts.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { type MemoryFiles, memoryFiles, SshError } from "../../mod.ts";
import { type FileClient, fileClients, sshfs } from "../_support/file_clients.ts";
import { peers, peerTest } from "../_support/peers.ts";
import { assertSameTree, canMount, folders, startOurs, writeNames, writeSizes } from "./_files.ts";

/** Those whose ways differ most: pipelined, by SCP, through a cache, through the kernel. */
const chosen: readonly (readonly [FileClient["id"], string])[] = [
  ["openssh", "sftp"],
  ["openssh10", "scp -O"],
  ["lftp", "lftp"],
  ["rclone", "rclone"],
];

async function hash(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** The same files, directories and links are in memory as in a local folder. */
async function assertHolds(files: MemoryFiles, tree: string, path: string): Promise<void> {
  const names: string[] = [];
  for await (const { name, isDirectory, isSymlink } of Deno.readDir(tree)) {
    const here = `${tree}/${name}`, there = `${path}/${name}`;
    names.push(name);
    if (isDirectory) await assertHolds(files, here, there);
    else if (isSymlink) assertEquals(files.readLink(there), await Deno.readLink(here));
    else assertEquals(await hash(files.read(there)), await hash(await Deno.readFile(here)), there);
  }
  assertEquals(
    await Array.fromAsync(files.readDir(path), ({ name }) => name).then((list) => list.sort()),
    names.sort(),
  );
}

async function check(client: FileClient): Promise<void> {
  const { tree, root, back } = folders("tree", "root", "back");
  await writeSizes(tree);
  await writeNames(tree, { lineFeed: client.names !== "plain" });
  await Deno.mkdir(`${tree}/deep/er`, { recursive: true });
  await Deno.mkdir(`${tree}/empty`);
  await Deno.writeTextFile(`${tree}/deep/er/file`, "deep");
  if (client.links) {
    await Deno.symlink("deep/er/file", `${tree}/link`);
    await Deno.symlink("missing", `${tree}/deep/dangling`);
  }
  const files = memoryFiles({}, { maxBytes: 10_000_000 });
  await using server = await startOurs(root, { sftp: files, scp: files });
  await client.copy({ ...server, tree, back }).catch((error) => {
    throw new Error(`${error}; the server saw: ${server.errors.map(String).join("; ")}`, { cause: error });
  });
  await assertHolds(files, tree, "/tree");
  await assertSameTree(`${back}/tree`, tree);
  assertEquals(files.list().filter((path) => !path.startsWith("/tree/")), []);
  const errors = server.errors.filter((error) => !(error instanceof SshError && error.code === "CONNECTION_LOST"));
  assertEquals(errors, []);
}

for (const client of fileClients.filter((one) => chosen.some(([id, title]) => one.id === id && one.title === title))) {
  peerTest(
    client.id,
    `memoryFiles() serves ${peers[client.id].title}: ${client.title} copies a tree there and back`,
    () => check(client),
  );
}

if (await canMount()) {
  peerTest("sshfs", `memoryFiles() serves ${peers.sshfs.title}: a tree is copied there and back`, () => check(sshfs));
}
