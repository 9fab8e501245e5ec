/** Trees of files between a disk and `memoryFiles()`, over a connection that is lost on the way. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { memoryFiles, scpHandler, sftpSubsystem, SshError, testPair } from "../../mod.ts";
import { seededBytes } from "../_support/duplex.ts";
import { sha256, tempDir } from "../_support/sftp_peers.ts";

/** Every file below a directory with its hash, every link with its target, and every directory. */
async function treeOf(path: string): Promise<string[]> {
  const lines: string[] = [];
  const walk = async (at: string): Promise<void> => {
    for await (const { name, isDirectory, isSymlink } of Deno.readDir(path + at)) {
      const here = `${at}/${name}`;
      lines.push(
        `${here} ${isDirectory ? "" : isSymlink ? await Deno.readLink(path + here) : await sha256(path + here)}`,
      );
      if (isDirectory) await walk(here);
    }
  };
  await walk("");
  return lines.sort();
}

Deno.test("a tree goes up to memoryFiles() and down again over a testPair() that is cut twice, with resume", async () => {
  await using dir = await tempDir();
  const from = `${dir.path}/from`, back = `${dir.path}/back`;
  await Deno.mkdir(`${from}/deep/er`, { recursive: true });
  await Deno.mkdir(`${from}/empty`);
  for (let i = 0; i < 20; i++) await Deno.writeFile(`${from}/deep/${i}`, seededBytes(i * 20_000 + i, i + 1));
  await Deno.writeTextFile(`${from}/deep/er/größe ✓`, "x");
  await Deno.symlink("er/größe ✓", `${from}/deep/link`);
  const files = memoryFiles({}, { maxBytes: 10_000_000 });
  await using pair = await testPair({ subsystems: { sftp: sftpSubsystem(files) } });
  let client = pair.client, cuts = 0;
  /** Cuts the connection once so much of a copy is done. */
  const cutAfter = (bytes: number) => {
    const seen = new Map<string, number>();
    let isCut = false;
    return ({ path, bytes: done }: { path: string; bytes: number }): void => {
      seen.set(path, done);
      if (isCut || [...seen.values()].reduce((sum, one) => sum + one, 0) < bytes) return;
      isCut = true;
      cuts++;
      void pair.cut();
    };
  };
  {
    await using sftp = await client.sftp();
    const options = { recursive: true, resume: true, links: "copy", onProgress: cutAfter(1_500_000) } as const;
    const error = await assertRejects(() => sftp.upload(from, "/tree", options), SshError);
    assertEquals(error.code, "CONNECTION_LOST");
  }
  client = await pair.connect();
  {
    await using sftp = await client.sftp();
    await sftp.upload(from, "/tree", { recursive: true, resume: true, links: "copy" });
    const options = { recursive: true, resume: true, links: "copy", onProgress: cutAfter(1_500_000) } as const;
    await assertRejects(() => sftp.download("/tree", back, options), SshError);
  }
  client = await pair.connect();
  await using sftp = await client.sftp();
  await sftp.download("/tree", back, { recursive: true, resume: true, links: "copy" });
  assertEquals(cuts, 2);
  assertEquals(await treeOf(back), await treeOf(from));
  assert(files.list("/tree").length === 25, files.list("/tree").join("\n"));
});

Deno.test("a tree goes to memoryFiles() and back by SCP, as far as there is room", async () => {
  await using dir = await tempDir();
  const from = `${dir.path}/from`, back = `${dir.path}/back`;
  await Deno.mkdir(`${from}/sub/empty`, { recursive: true });
  for (const [i, size] of [0, 1, 70_000].entries()) await Deno.writeFile(`${from}/sub/${i}`, seededBytes(size, i + 1));
  const files = memoryFiles({}, { maxBytes: 100_000 });
  await using pair = await testPair({ handler: scpHandler(files) });
  const { scp } = pair.client;
  await scp.upload(from, "/tree", { recursive: true, preserve: true });
  assertEquals(files.list(), ["/tree/", "/tree/sub/", "/tree/sub/0", "/tree/sub/1", "/tree/sub/2", "/tree/sub/empty/"]);
  await scp.download("/tree", back, { recursive: true });
  assertEquals(await treeOf(back), await treeOf(from));
  await assertRejects(() => scp.upload(`${from}/sub/2`, "/more"), SshError, "No space left on device");
  assertEquals(files.stat("/tree/sub/2").size, 70_000);
});
