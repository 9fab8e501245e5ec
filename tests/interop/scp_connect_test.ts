/**
 * `client.scp` on the servers of others. How to run one peer: _matrix.ts.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../mod.ts";
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
import { assertSameFile, assertSameTree, connectTo, folders, startOurs, writeNames, writeSizes } from "./_files.ts";

// All but AsyncSSH run the scp of OpenSSH.
const entries: readonly [PeerId, () => Promise<ServerPeer>][] = [
  ["openssh", () => startOpenSshd()],
  ["openssh10", () => startOpenSshd({ version: "10" })],
  ["dropbear", () => startDropbear()],
  ["paramiko", () => startParamikoServer()],
  ["asyncssh", () => startAsyncSshServer()],
  ["ssh2", () => startSsh2Server()],
];

for (const [id, start] of entries) {
  peerTest(id, `client.scp moves files to and from ${peers[id].title}`, async (t) => {
    await using server = await start();
    await using client = await connectTo(server);

    await t.step("files of every size", async () => {
      const { local, remote, back } = folders("local", "remote", "back");
      for (const name of await writeSizes(local)) {
        const size = Number(name);
        assertEquals(await client.scp.upload(`${local}/${name}`, remote), { files: 1, bytes: size, warnings: [] });
        await assertSameFile(`${remote}/${name}`, `${local}/${name}`);
        assertEquals(await client.scp.download(`${remote}/${name}`, `${back}/${name}`), {
          files: 1,
          bytes: size,
          warnings: [],
        });
        await assertSameFile(`${back}/${name}`, `${local}/${name}`);
      }
    });

    await t.step("special names", async () => {
      const { local, remote, back } = folders("local", "remote", "back");
      for (const name of await writeNames(local)) {
        // AsyncSSH takes every path for a pattern.
        if (id === "asyncssh" && name.includes("*")) {
          await Deno.remove(`${local}/${name}`);
          continue;
        }
        await client.scp.upload(`${local}/${name}`, `${remote}/${name}`);
        await client.scp.download(`${remote}/${name}`, `${back}/${name}`);
      }
      await assertSameTree(remote, local);
      await assertSameTree(back, local);
    });

    await t.step("a tree up and down", async () => {
      const { local, remote, back } = folders("local", "remote", "back");
      await Deno.mkdir(`${local}/deep/er`, { recursive: true });
      await Deno.mkdir(`${local}/empty`);
      await writeSizes(`${local}/deep`);
      await writeNames(`${local}/deep/er`);
      await Deno.chmod(`${local}/deep/1`, 0o751);
      const options = { recursive: true, preserve: true };
      await client.scp.upload(local, `${remote}/tree`, options);
      await assertSameTree(`${remote}/tree`, local);
      await client.scp.download(`${remote}/tree`, `${back}/tree`, options);
      await assertSameTree(`${back}/tree`, local);
      const facts = async (dir: string) => {
        const { mode, mtime } = await Deno.stat(`${dir}/deep/1`);
        return [mode! & 0o777, Math.floor(mtime!.getTime() / 1000)];
      };
      assertEquals(await facts(`${remote}/tree`), await facts(local));
      assertEquals(await facts(`${back}/tree`), await facts(local));
    });

    await t.step("a file that is missing", async () => {
      const { back } = folders("back");
      await assertRejects(() => client.scp.download(`${back}/missing`, `${back}/here`), SftpError);
      assertEquals([...Deno.readDirSync(back)], []);
    });
  });
}

Deno.test("client.scp and scpHandler() move a tree between each other", async () => {
  const { local, root, back } = folders("local", "root", "back");
  await Deno.mkdir(`${local}/deep`);
  await writeSizes(local);
  await writeNames(`${local}/deep`);
  await using server = await startOurs(root);
  await using client = await connectTo(server);
  await client.scp.upload(local, "/tree", { recursive: true });
  await client.scp.download("/tree", `${back}/tree`, { recursive: true });
  await assertSameTree(`${root}/tree`, local);
  await assertSameTree(`${back}/tree`, local);
  // Anything else is no command of this handler.
  assertEquals((await client.exec("id; scp -f /tree")).code, 127);
});
