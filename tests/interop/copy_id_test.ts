/**
 * `copyId()` on the servers of others, which let the key in afterwards. How to run one peer: _matrix.ts.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import {
  connect,
  copyId,
  generateKey,
  insecureAcceptAnyHostKey,
  publicKey,
  type Signer,
  SshAuthError,
} from "../../mod.ts";
import {
  type PeerId,
  peers,
  peerTest,
  type ServerPeer,
  startDropbear,
  startOpenSshd,
  username,
} from "../_support/peers.ts";
import { connectTo } from "./_files.ts";

const entries: readonly { readonly id: PeerId; readonly what?: string; readonly start: () => Promise<ServerPeer> }[] = [
  { id: "openssh", start: () => startOpenSshd() },
  {
    id: "openssh",
    what: ", whose SFTP server is missing,",
    start: () => startOpenSshd({ config: ["Subsystem=sftp /nowhere"] }),
  },
  { id: "openssh10", start: () => startOpenSshd({ version: "10" }) },
  { id: "dropbear", start: () => startDropbear() },
];

for (const { id, what = "", start } of entries) {
  peerTest([id, "dropbear"], `${peers[id].title}${what} lets a key in that copyId() has brought there`, async () => {
    await using server = await start();
    // Without a home of its own the server would change the files of whoever runs this.
    if (server.username !== username) throw new Error("libnss_wrapper is missing");
    const key = await generateKey(), to = { hostname: server.hostname, port: server.port, username };
    const run = async (signer: Signer): Promise<string> => {
      const auth = [publicKey(signer)];
      await using client = await connect({ ...to, auth, verifyHostKey: insecureAcceptAnyHostKey() });
      return (await client.run("cat .ssh/authorized_keys")).text();
    };
    await assertRejects(() => run(key), SshAuthError);
    await using client = await connectTo(server);
    const before = (await client.run("cat .ssh/authorized_keys")).text();
    assertEquals(await copyId(client, key, { comment: "it's new" }), true);
    assertEquals(await run(key), `${before}${key.publicKey} it's new\n`);
    assertEquals(await copyId(client, key), false);
    // Where the folder is gone it is made so that the server takes it.
    await client.run("rm -r .ssh");
    assertEquals(await copyId(client, key), true);
    assertEquals(await run(key), `${key.publicKey}\n`);
    assertEquals((await client.run("stat -c %a .ssh .ssh/authorized_keys")).lines(), ["700", "600"]);
  });
}
