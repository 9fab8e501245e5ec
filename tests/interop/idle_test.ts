/** `idleTimeout` against OpenSSH: what its users read. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, insecureAcceptAnyHostKey, parsePrivateKey, publicKey, serve, SshError } from "../../mod.ts";
import { testKeys } from "../_support/keys.ts";
import { opensshClient } from "../_support/peer_clients.ts";
import { peerTest, startOpenSshd } from "../_support/peers.ts";

peerTest(
  "openssh",
  "ssh says why serve() has ended a connection that was idle, though ssh asked for signs of life",
  async () => {
    const keys = await testKeys(), hostKey = keys.host.ed25519;
    await using server = serve({
      hostname: "127.0.0.1",
      port: 0,
      hostKeys: [await parsePrivateKey(await Deno.readTextFile(hostKey.file))],
      auth: { none: () => true, publicKey: () => true },
      // Nothing happens here: the session ends with the connection.
      handler: ({ signal }) => new Promise((resolve) => signal.addEventListener("abort", () => resolve(0))),
      idleTimeout: 1500,
    });
    await using ssh = await opensshClient("9.2", { defaults: true, config: ["ServerAliveInterval=1"] });
    const error = await assertRejects(() =>
      ssh.run({
        port: server.addr.port,
        hostKeys: [hostKey],
        username: "alice",
        login: { key: keys.user.ed25519 },
        command: "wait",
        input: new Uint8Array(0),
      })
    );
    assertStringIncludes(String(error), "Received disconnect from 127.0.0.1");
    assertStringIncludes(String(error), ":11: Idle for 1500 ms");
  },
);

peerTest(
  "openssh",
  "connect() ends a connection to sshd that is idle, though sshd asks for signs of life",
  async () => {
    await using sshd = await startOpenSshd({
      config: ["ClientAliveInterval=1", "ClientAliveCountMax=9"],
      defaults: true,
    });
    const keys = await testKeys();
    const client = await connect({
      hostname: "127.0.0.1",
      port: sshd.port,
      username: sshd.username,
      auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(keys.user.ed25519.file)))],
      verifyHostKey: insecureAcceptAnyHostKey(),
      idleTimeout: 1500,
    });
    const error = await client.exec("exec sleep 100").then(() => null, (error: unknown) => error);
    assert(error instanceof SshError, String(error));
    assertEquals(error.code, "CLOSED");
    assertStringIncludes(error.message, "nobody used it for 1500 ms");
    await client.closed;
  },
);
