/**
 * The peers talk to each other: what the interop tests stand on works without the library.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { seededBytes } from "./duplex.ts";
import { keyTypes, testKeys } from "./keys.ts";
import { readClientOffer, readServerOffer } from "./offer.ts";
import {
  asyncSsh2Client,
  asyncSshClient,
  type ClientPeer,
  dropbearClient,
  opensshClient,
  paramiko2Client,
  paramikoClient,
  puttyClient,
  ssh2Client,
} from "./peer_clients.ts";
import {
  type PeerId,
  peerTest,
  type ServerPeer,
  startAsyncSsh2Server,
  startAsyncSshServer,
  startDropbear,
  startOpenSshd,
  startParamiko2Server,
  startParamikoServer,
  startSsh2Server,
  startTinysshd,
} from "./peers.ts";

const command = "cat; printf err >&2; exit 3";
const input = seededBytes(256 * 1024);

async function check(client: ClientPeer, server: ServerPeer, login: Parameters<ClientPeer["run"]>[0]["login"]) {
  const { host } = await testKeys();
  const hostKeys = Object.values(host).filter((key) => server.hostKeys.includes(key.line));
  const { stdout, stderr, code } = await client.run({
    port: server.port,
    hostKeys: hostKeys.length > 0 ? hostKeys : server.hostKeys.map((line) => ({ ...host.ed25519, line })),
    username: server.username,
    login,
    command,
    input,
  });
  assertEquals(code, 3);
  assertEquals(stderr, "err");
  assertEquals(stdout.length, input.length);
  assert(stdout.every((byte, i) => byte === input[i]));
}

const servers: [PeerId, () => Promise<ServerPeer>][] = [
  ["openssh", () => startOpenSshd()],
  ["openssh10", () => startOpenSshd({ version: "10" })],
  ["dropbear", () => startDropbear()],
  ["paramiko", () => startParamikoServer()],
  ["paramiko2", () => startParamiko2Server()],
  ["asyncssh", () => startAsyncSshServer()],
  ["asyncssh2", () => startAsyncSsh2Server()],
  ["ssh2", () => startSsh2Server()],
  ["tinyssh", startTinysshd],
];

for (const [id, start] of servers) {
  peerTest(id, `start…() serves OpenSSH's client: ${id}`, async () => {
    await using server = await start();
    await using client = await opensshClient("9.2");
    await check(client, server, { key: server.userKeys.ed25519 });
    if (server.password !== null) await check(client, server, { password: server.password });
    if (server.interactive) await check(client, server, { password: server.password!, interactive: true });
    const offer = await readServerOffer(server.port);
    assert(offer.kex.length > 0 && offer.hostKey.length > 0 && offer.cipher.length > 0 && offer.mac.length > 0);
    await assertRejects(() => check(client, server, { password: "wrong" }));
  });
}

const clients: [PeerId, () => Promise<ClientPeer>][] = [
  ["openssh", () => opensshClient("9.2")],
  ["openssh10", () => opensshClient("10")],
  ["dropbear", dropbearClient],
  ["putty", puttyClient],
  ["paramiko", paramikoClient],
  ["paramiko2", paramiko2Client],
  ["asyncssh", asyncSshClient],
  ["asyncssh2", asyncSsh2Client],
  ["ssh2", ssh2Client],
];

/** Types of keys that are tried: tests/interop/serve_test.ts tries all of them with every client. */
const types = { openssh: keyTypes } as Partial<Record<PeerId, typeof keyTypes>>;

for (const [id, start] of clients) {
  peerTest(id, `…Client() runs a command on AsyncSSH's server: ${id}`, async () => {
    await using server = await startAsyncSshServer();
    await using client = await start();
    for (const type of types[id] ?? ["ed25519"]) await check(client, server, { key: server.userKeys[type] });
    await check(client, server, { password: server.password! });
    if (client.interactive) await check(client, server, { password: server.password!, interactive: true });
    // dbclient would try for ever.
    if (id !== "dropbear") await assertRejects(() => check(client, server, { password: "wrong" }));
    const { host } = await testKeys();
    const offer = await readClientOffer((port) =>
      client.run({
        port,
        hostKeys: [host.ed25519],
        username: "u",
        login: { key: server.clientKey },
        command: "true",
        input,
      })
    );
    assert(offer.kex.length > 0 && offer.hostKey.length > 0 && offer.cipher.length > 0 && offer.mac.length > 0);
  });
}
