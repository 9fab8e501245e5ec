/**
 * The second connection to a server of others: its key exchange is guessed where that server is known to take it.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { connect, type ConnectOptions, publicKey } from "../../mod.ts";
import {
  type PeerId,
  peerTest,
  type ServerPeer,
  startDropbear,
  startOpenSshd,
  startSsh2Server,
  startTinysshd,
} from "../_support/peers.ts";

/** Whether the first two connections guessed. paramiko and AsyncSSH are visited more than once by other tests, which take longer to start. */
async function visits(server: ServerPeer, algorithms: ConnectOptions["algorithms"]): Promise<boolean[]> {
  const guessed: boolean[] = [];
  for (let i = 0; i < 2; i++) {
    const seen: string[] = [];
    await using client = await connect({
      hostname: server.hostname,
      port: server.port,
      username: server.username,
      auth: [publicKey(server.clientKey.text)],
      verifyHostKey: () => true,
      algorithms,
      trace: ({ event }) => void seen.push(event),
    });
    assertEquals((await client.exec("echo hello")).text(), "hello\n");
    guessed.push(seen.includes("guess"));
  }
  return guessed;
}

const peers: readonly [PeerId, () => Promise<ServerPeer>, boolean][] = [
  ["openssh", () => startOpenSshd({ defaults: true }), true],
  ["openssh10", () => startOpenSshd({ version: "10", defaults: true }), true],
  ["dropbear", () => startDropbear(), true],
  ["tinyssh", startTinysshd, true],
  // Behind a right guess it waits for another one.
  ["ssh2", () => startSsh2Server(), false],
];
for (const [id, start, guesses] of peers) {
  peerTest(
    id,
    `connect() ${guesses ? "guesses" : "does not guess"} the key exchange of ${id} when it comes again`,
    async () => {
      await using server = await start();
      // TinySSH wants this one most, and this side another one that both have.
      const algorithms = id === "tinyssh" ? { kex: ["curve25519-sha256"] } : undefined;
      assertEquals(await visits(server, algorithms), [false, guesses]);
    },
  );
}
