/**
 * Trees with links and loops over whole connections, and names that a server's file system cannot hold.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { SftpError } from "../../mod.ts";
import { run } from "../_support/child.ts";
import { opensshOptions } from "../_support/file_clients.ts";
import { peers, peerTest, startOpenSshd } from "../_support/peers.ts";
import { assertSameTree, connectTo, folders, names, startOurs, type Target, treeText, writeRawName } from "./_files.ts";

/** A tree with links of every kind that stay in it: to files, directories, nothing, themselves, each other and what they lie in. */
async function makeTree(dir: string): Promise<void> {
  await Deno.mkdir(`${dir}/a/b/c`, { recursive: true });
  await Deno.writeTextFile(`${dir}/a/file`, "in a");
  await Deno.writeTextFile(`${dir}/a/b/c/file`, "in c");
  await Deno.symlink("a/file", `${dir}/to_file`);
  await Deno.symlink("a/b", `${dir}/to_directory`);
  await Deno.symlink("nothing", `${dir}/a/to_nothing`);
  await Deno.symlink("self", `${dir}/self`);
  await Deno.symlink("pong", `${dir}/ping`);
  await Deno.symlink("ping", `${dir}/pong`);
  await Deno.symlink("..", `${dir}/a/b/up`);
  await Deno.symlink("../..", `${dir}/a/b/c/top`);
  await Deno.symlink(".", `${dir}/a/here`);
}

async function check(server: Target, folder: string, prefix: string): Promise<void> {
  const { local, back, followed, skipped } = folders("local", "back", "followed", "skipped");
  await makeTree(local);
  await using client = await connectTo(server);
  await using sftp = await client.sftp();

  // As links, which end nowhere and everywhere.
  await sftp.upload(local, `${prefix}/tree`, { recursive: true });
  await assertSameTree(`${folder}/tree`, local);
  await sftp.download(`${prefix}/tree`, back, { recursive: true });
  await assertSameTree(back, local);
  // Once more over what is there.
  await sftp.upload(local, `${prefix}/tree`, { recursive: true });
  await sftp.download(`${prefix}/tree`, back, { recursive: true });
  await assertSameTree(back, local);

  // Left out.
  await sftp.download(`${prefix}/tree`, skipped, { recursive: true, links: "skip" });
  assertEquals((await treeText(skipped)).includes("->"), false);
  assertEquals(await Deno.readTextFile(`${skipped}/a/b/c/file`), "in c");

  // Followed: what leads nowhere or back to where it lies is told of, and the rest is there.
  const options = { recursive: true, links: "follow" } as const;
  await assertRejects(() => sftp.download(`${prefix}/tree`, followed, options), SftpError, "Cannot copy everything");
  await assertRejects(() => sftp.upload(local, `${prefix}/followed`, options), SftpError, "Cannot copy everything");
  for (const dir of [followed, `${folder}/followed`]) {
    assertEquals(await Deno.readTextFile(`${dir}/to_file`), "in a");
    assertEquals(await Deno.readTextFile(`${dir}/to_directory/c/file`), "in c");
    assert(!(await treeText(dir)).includes("->"));
  }

  // A whole tree with loops is removed, and nothing that its links lead to outside of it.
  await sftp.writeTextFile(`${prefix}/precious`, "keep");
  await Deno.symlink("../precious", `${folder}/tree/a/to_precious`);
  await sftp.remove(`${prefix}/tree`, { recursive: true });
  assertEquals(await sftp.readTextFile(`${prefix}/precious`), "keep");
  await assertRejects(() => sftp.lstat(`${prefix}/tree`), SftpError);
}

peerTest("openssh", `client.sftp() copies a tree with links and loops, with ${peers.openssh.title}`, async () => {
  const { folder } = folders("folder");
  await using server = await startOpenSshd();
  await check(server, folder, folder);
});

Deno.test("client.sftp() copies a tree with links and loops, with sftpSubsystem()", async () => {
  const { folder } = folders("folder");
  await using server = await startOurs(folder);
  await check(server, folder, "");
});

peerTest(
  "openssh",
  `sftp.download() makes no link that leads out of the tree, with ${peers.openssh.title}`,
  async () => {
    const { folder, local } = folders("folder", "local");
    await Deno.mkdir(`${folder}/tree/sub`, { recursive: true });
    await Deno.writeTextFile(`${folder}/tree/file`, "x");
    await Deno.symlink("/etc", `${folder}/tree/absolute`);
    await Deno.symlink("../../up", `${folder}/tree/sub/relative`);
    await using server = await startOpenSshd();
    await using client = await connectTo(server);
    await using sftp = await client.sftp();
    const { message } = await assertRejects(
      () => sftp.download(`${folder}/tree`, `${local}/tree`, { recursive: true }),
      SftpError,
    );
    assertStringIncludes(message, "leads out of the tree");
    assertEquals(await Deno.readTextFile(`${local}/tree/file`), "x");
    assert(!(await treeText(`${local}/tree`)).includes("->"));
  },
);

peerTest(
  "openssh",
  `sftpSubsystem() refuses ${peers.openssh.title}'s sftp names that Deno cannot spell, and only those`,
  async () => {
    const { tree, root } = folders("tree", "root");
    await writeRawName(tree);
    await Deno.writeTextFile(`${tree}/plain`, "plain");
    await Deno.writeTextFile(`${root}/there`, "there");
    await writeRawName(root);
    await using server = await startOurs(root);
    const { stdout, stderr, code } = await run([
      "/usr/bin/sftp",
      ...["-P", String(server.port)],
      ...opensshOptions({ ...server, tree, back: tree }),
      ...["-q", "-b", "-", `${server.username}@127.0.0.1`],
    ], { stdin: new TextEncoder().encode(`-put ${tree}/* /\nls -1 /\nget /there ${tree}/there\n`) });
    const text = new TextDecoder().decode(stdout);
    assertEquals(code, 0, text + stderr);
    assertStringIncludes(stderr, "No such file");
    assertEquals(await Deno.readTextFile(`${root}/plain`), "plain");
    assertEquals(await Deno.readTextFile(`${tree}/there`), "there");
    assertStringIncludes(text, "there");

    await using client = await connectTo(server);
    await using sftp = await client.sftp();
    await assertRejects(() => sftp.readFile(`/${names.raw.text}`), SftpError, "UTF-8");
  },
);
