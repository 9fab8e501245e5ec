/**
 * `client.sftp()` on the servers of others. How to run one peer: _matrix.ts.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type SftpClient, SftpError } from "../../mod.ts";
import {
  type PeerId,
  peers,
  peerTest,
  type ServerPeer,
  startAsyncSshServer,
  startDropbear,
  startOpenSshd,
  startParamikoServer,
  startSsh2Server,
} from "../_support/peers.ts";
import { seededBytes } from "../_support/duplex.ts";
import {
  assertSameFile,
  assertSameTree,
  connectTo,
  folders,
  names,
  sizes,
  writeNames,
  writeRawName,
  writeSizes,
} from "./_files.ts";
import { assertSameBytes } from "./_matrix.ts";

interface Entry {
  readonly id: PeerId;
  readonly start: () => Promise<ServerPeer>;
  /** Whether names that are not UTF-8 survive in it. */
  readonly rawNames: boolean;
  /** Whether it says that a rename can replace a file. */
  readonly posixRename: boolean;
}

const entries: readonly Entry[] = [
  { id: "openssh", start: () => startOpenSshd(), rawNames: true, posixRename: true },
  { id: "openssh10", start: () => startOpenSshd({ version: "10" }), rawNames: true, posixRename: true },
  // Its SFTP server is that of OpenSSH.
  { id: "dropbear", start: () => startDropbear(), rawNames: true, posixRename: true },
  { id: "paramiko", start: () => startParamikoServer(), rawNames: false, posixRename: false },
  { id: "asyncssh", start: () => startAsyncSshServer(), rawNames: true, posixRename: true },
  { id: "ssh2", start: () => startSsh2Server(), rawNames: false, posixRename: false },
];

/** Names of a directory's entries, in order. */
async function list(sftp: SftpClient, path: string): Promise<string[]> {
  return (await Array.fromAsync(sftp.readDir(path), ({ name }) => name)).sort();
}

for (const entry of entries) {
  peerTest(entry.id, `client.sftp() moves files to and from ${peers[entry.id].title}`, async (t) => {
    await using server = await entry.start();
    await using client = await connectTo(server);
    await using sftp = await client.sftp();

    await t.step("files of every size", async () => {
      const { local, remote, back } = folders("local", "remote", "back");
      for (const name of await writeSizes(local)) {
        const size = Number(name), bytes = seededBytes(size, size + 1);
        assertEquals(await sftp.upload(`${local}/${name}`, `${remote}/${name}`), {
          files: 1,
          bytes: size,
          warnings: [],
        });
        await assertSameFile(`${remote}/${name}`, `${local}/${name}`);
        assertEquals(await sftp.download(`${remote}/${name}`, `${back}/${name}`), {
          files: 1,
          bytes: size,
          warnings: [],
        });
        await assertSameFile(`${back}/${name}`, `${local}/${name}`);
        assertSameBytes(await sftp.readFile(`${remote}/${name}`), bytes);
        await sftp.writeFile(`${remote}/${name}.written`, bytes);
        await assertSameFile(`${remote}/${name}.written`, `${local}/${name}`);
        assertEquals((await sftp.stat(`${remote}/${name}`)).size, size);
      }
      assertEquals(await list(sftp, remote), sizes.flatMap((size) => [`${size}`, `${size}.written`]).sort());
    });

    await t.step("metadata, directories and links", async () => {
      const { remote } = folders("remote");
      assertEquals(await sftp.realPath(`${remote}/../remote/.`), remote);
      await sftp.mkdir(`${remote}/a/b/c`, { recursive: true });
      await sftp.writeTextFile(`${remote}/a/file`, "hello");
      await sftp.chmod(`${remote}/a/file`, 0o640);
      await sftp.utime(`${remote}/a/file`, 1_000_000_000, 1_100_000_000);
      const info = await sftp.stat(`${remote}/a/file`);
      assertEquals([info.isFile, info.size, info.mode! & 0o777], [true, 5, 0o640]);
      assertEquals(info.mtime, new Date(1_100_000_000_000));
      await sftp.truncate(`${remote}/a/file`, 2);
      assertEquals(await sftp.readTextFile(`${remote}/a/file`), "he");

      await sftp.symlink("file", `${remote}/a/link`);
      assertEquals(await Deno.readLink(`${remote}/a/link`), "file");
      assertEquals(await sftp.readLink(`${remote}/a/link`), "file");
      assertEquals((await sftp.lstat(`${remote}/a/link`)).isSymlink, true);
      assertEquals((await sftp.stat(`${remote}/a/link`)).isFile, true);

      await sftp.rename(`${remote}/a/file`, `${remote}/a/renamed`);
      await sftp.writeTextFile(`${remote}/a/other`, "other");
      if (entry.posixRename) {
        await sftp.rename(`${remote}/a/other`, `${remote}/a/renamed`);
        assertEquals(await Deno.readTextFile(`${remote}/a/renamed`), "other");
      } else {
        await assertRejects(() => sftp.rename(`${remote}/a/other`, `${remote}/a/renamed`), SftpError);
        await sftp.remove(`${remote}/a/other`);
      }
      assertEquals(await list(sftp, `${remote}/a`), ["b", "link", "renamed"]);
      const missing = await assertRejects(() => sftp.stat(`${remote}/missing`), SftpError);
      assertEquals([missing.status, missing.path], [2, `${remote}/missing`]);
      await assertRejects(() => sftp.remove(`${remote}/a`), SftpError);
      await sftp.remove(`${remote}/a`, { recursive: true });
      assertEquals(await list(sftp, remote), []);
    });

    await t.step("many requests at once on one file", async () => {
      const { remote } = folders("remote");
      await using file = await sftp.open(`${remote}/f`, { read: true, write: true, create: true });
      const blocks = Array.from({ length: 64 }, (_, i) => seededBytes(5000 + i, i + 1));
      await Promise.all(blocks.map((block, i) => file.writeAt(block, i * 10_000)));
      await Promise.all(blocks.map(async (block, i) => {
        const got = new Uint8Array(block.length);
        assertEquals(await file.readAt(got, i * 10_000), got.length);
        assertSameBytes(got, block);
      }));
    });

    await t.step("a listing of 500 entries", async () => {
      const { remote } = folders("remote");
      for (let i = 0; i < 500; i++) Deno.writeFileSync(`${remote}/${i}`, new Uint8Array(i));
      const found = await Array.fromAsync(sftp.readDir(remote));
      assertEquals(found.length, 500);
      for (const { name, isFile, info } of found) assertEquals([isFile, info.size], [true, Number(name)]);
    });

    await t.step("special names", async () => {
      const { local, remote, back } = folders("local", "remote", "back");
      const special = await writeNames(local, { lineFeed: true });
      for (const name of special) {
        await sftp.upload(`${local}/${name}`, `${remote}/${name}`);
        assertEquals((await sftp.lstat(`${remote}/${name}`)).isFile, true);
        await sftp.download(`${remote}/${name}`, `${back}/${name}`);
        await sftp.rename(`${remote}/${name}`, `${remote}/${name}.2`);
        await sftp.rename(`${remote}/${name}.2`, `${remote}/${name}`);
      }
      assertEquals(await list(sftp, remote), [...special].sort());
      await assertSameTree(remote, local);
      await assertSameTree(back, local);
    });

    if (entry.rawNames) {
      await t.step("names that are not UTF-8", async () => {
        const { twin, remote, back } = folders("twin", "remote", "back");
        await writeRawName(twin);
        await sftp.writeTextFile(`${remote}/${names.raw.text}`, "raw");
        await assertSameTree(remote, twin);
        assertEquals(await list(sftp, remote), [names.raw.text]);
        assertEquals(await sftp.readTextFile(`${remote}/${names.raw.text}`), "raw");
        await sftp.download(remote, back, { recursive: true });
        assertEquals(await Deno.readTextFile(`${back}/caf%E9 %FF`), "raw");
        await sftp.symlink(names.raw.text, `${remote}/link`);
        assertEquals(await sftp.readLink(`${remote}/link`), names.raw.text);
        await sftp.rename(`${remote}/${names.raw.text}`, `${remote}/plain`);
        assertEquals(await list(sftp, remote), ["link", "plain"]);
      });
    }

    await t.step("a tree up and down", async () => {
      const { local, remote, back } = folders("local", "remote", "back");
      await Deno.mkdir(`${local}/deep/er/est`, { recursive: true });
      await Deno.mkdir(`${local}/empty`);
      await writeSizes(`${local}/deep`);
      await writeNames(`${local}/deep/er`);
      for (let i = 0; i < 100; i++) await Deno.writeFile(`${local}/deep/er/est/${i}`, seededBytes(i * 10, i + 1));
      await Deno.symlink("deep/er", `${local}/link`);
      await Deno.symlink("../missing", `${local}/deep/dangling`);
      // A link to a directory above it: copied as the link it is.
      await Deno.symlink("../..", `${local}/deep/er/loop`);
      const options = { recursive: true, preserve: true };
      await sftp.upload(local, `${remote}/tree`, options);
      await assertSameTree(`${remote}/tree`, local);
      const seconds = async (path: string) => Math.floor((await Deno.stat(path)).mtime!.getTime() / 1000);
      assertEquals(await seconds(`${remote}/tree/deep/0`), await seconds(`${local}/deep/0`));
      await sftp.download(`${remote}/tree`, `${back}/tree`, options);
      await assertSameTree(`${back}/tree`, local);
      // All of it is there, so that nothing is copied again.
      const again = await sftp.upload(local, `${remote}/tree`, { ...options, resume: true });
      assert(again.bytes === 0, `${again.bytes} bytes again`);
      const backAgain = await sftp.download(`${remote}/tree`, `${back}/tree`, { ...options, resume: true });
      assertEquals(backAgain.bytes, 0);
    });
  });
}

peerTest(
  "dropbear",
  "a command follows at once on an SFTP session that was closed, and Dropbear does not end it for the other",
  async () => {
    await using server = await startDropbear(["ed25519"]);
    await using client = await connectTo(server);
    for (let i = 0; i < 20; i++) {
      const sftp = await client.sftp();
      await sftp.realPath(".");
      await sftp.close();
      assertEquals((await client.run("echo here")).text(), "here\n");
    }
  },
);
