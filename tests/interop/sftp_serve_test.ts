/**
 * `sftpSubsystem()` and `scpHandler()` for the programs of others. How to run one peer: _matrix.ts.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { SshError } from "../../mod.ts";
import { type FileClient, fileClients, sshfs } from "../_support/file_clients.ts";
import { peers, peerTest } from "../_support/peers.ts";
import { assertSameTree, canMount, folders, startOurs, writeNames, writeSizes } from "./_files.ts";

async function check(client: FileClient): Promise<void> {
  const { tree, root, back } = folders("tree", "root", "back");
  const names = [...await writeSizes(tree), ...await writeNames(tree, { lineFeed: client.names !== "plain" })];
  await Deno.mkdir(`${tree}/deep/er`, { recursive: true });
  await Deno.mkdir(`${tree}/empty`);
  await Deno.writeTextFile(`${tree}/deep/er/file`, "deep");
  if (client.links) {
    await Deno.symlink("deep/er/file", `${tree}/link`);
    await Deno.symlink("missing", `${tree}/deep/dangling`);
  }
  await using server = await startOurs(root);
  const listing = await client.copy({ ...server, tree, back }).catch((error) => {
    throw new Error(`${error}; the server saw: ${server.errors.map(String).join("; ")}`, { cause: error });
  });
  await assertSameTree(`${root}/tree`, tree);
  await assertSameTree(`${back}/tree`, tree);
  // Nothing but the tree, and no part of a file, is left.
  assertEquals(Array.from(Deno.readDirSync(root), ({ name }) => name), ["tree"]);
  // Not every program says goodbye.
  const errors = server.errors.filter((error) => !(error instanceof SshError && error.code === "CONNECTION_LOST"));
  assertEquals(errors, []);
  if (listing === null) return;
  // Programs show line feeds and what is not ASCII in their own ways.
  for (const name of [...names.filter((name) => /^[ -~]*$/.test(name)), "deep", "empty"]) {
    assert(listing.includes(name), `${name} is not in the listing:\n${listing}`);
  }
}

for (const client of fileClients) {
  const symbol = /scp/i.test(client.title) && !/sftp/.test(client.title) ? "scpHandler()" : "sftpSubsystem()";
  peerTest(
    client.id,
    `${symbol} serves ${peers[client.id].title}: ${client.title} copies a tree there and back`,
    () => check(client),
  );
}

const mounts = await canMount();
if (mounts) {
  peerTest("sshfs", `sftpSubsystem() serves ${peers.sshfs.title}: a tree is copied there and back`, () => check(sshfs));
} else if (Deno.env.get("CI") !== "true") {
  // A machine without FUSE is no fault of the checkout, and in CI no test may be ignored: there it is left out.
  Deno.test({
    name: "sftpSubsystem() serves SSHFS (ignored: this process cannot open /dev/fuse)",
    ignore: true,
    fn: () => {},
  });
}
