/**
 * `Transport` between the pipes of a socket, `socket.readable.pipeThrough(transport.wire).pipeTo(socket.writable)`, with every peer and in
 * both roles, keys being renewed all the while.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Channel, parsePrivateKey, pinnedHostKey, type ServerInterface, Transport } from "../../mod.ts";
import { testKeys } from "../_support/keys.ts";
import {
  asyncSshClient,
  type ClientPeer,
  dropbearClient,
  opensshClient,
  paramiko2Client,
  paramikoClient,
  puttyClient,
  ssh2Client,
} from "../_support/peer_clients.ts";
import {
  type PeerId,
  peers,
  peerTest,
  type ServerPeer,
  startAsyncSshServer,
  startDropbear,
  startOpenSshd,
  startParamiko2Server,
  startParamikoServer,
  startSsh2Server,
  startTinysshd,
  username,
} from "../_support/peers.ts";
import { assertSameBytes, command, input, within } from "./_matrix.ts";

const rekey = { bytes: 65_536 };

const servers: readonly [PeerId, () => Promise<ServerPeer>][] = [
  ["openssh", startOpenSshd],
  ["openssh10", () => startOpenSshd({ version: "10" })],
  ["dropbear", startDropbear],
  ["paramiko", startParamikoServer],
  ["paramiko2", startParamiko2Server],
  ["asyncssh", startAsyncSshServer],
  ["ssh2", startSsh2Server],
  ["tinyssh", startTinysshd],
];

for (const [id, start] of servers) {
  peerTest(id, `Transport.wire between the pipes of a socket to ${peers[id].title}`, async () => {
    await using server = await start();
    await within(120_000, async (signal) => {
      const socket = await Deno.connect({ hostname: server.hostname, port: server.port });
      socket.setNoDelay(true);
      const transport = new Transport(undefined, { rekey });
      // It may fail while others are waited for: a peer that hangs up first is none of this test's business.
      const piped = socket.readable.pipeThrough(transport.wire).pipeTo(socket.writable).catch(() => {});
      await transport.startClient({ signal });
      const trusted = pinnedHostKey(...server.hostKeys);
      assert(await trusted(transport.getRemoteServerKey(), { hostname: server.hostname, port: server.port }));
      const key = await parsePrivateKey(server.clientKey.text);
      assertEquals(await transport.authPublickey(server.username, key), []);
      const channel = await transport.openSession({ signal });
      await channel.execCommand(command);
      const writer = channel.writable.getWriter();
      const feeding = writer.write(input.slice()).then(() => writer.close());
      const [stdout, stderr] = await Promise.all([
        new Response(channel.readable).bytes(),
        new Response(channel.stderr).text(),
        feeding,
      ]);
      assertSameBytes(stdout, input);
      assertEquals([stderr, (await channel.exitStatus).code], ["err", 3]);
      await transport.close();
      await transport.closed;
      // What closes the socket is the pipe's end.
      await piped;
    });
  });
}

/** What a shell would make of the command, without one. */
class Session extends Channel {
  override checkExecRequest(asked: string): boolean {
    if (asked !== command) return false;
    this.#run().catch(() => this.close());
    return true;
  }

  async #run(): Promise<void> {
    await this.readable.pipeTo(this.writable, { preventClose: true });
    const errors = this.stderrWritable.getWriter();
    await errors.write(new TextEncoder().encode("err"));
    errors.releaseLock();
    this.sendExitStatus(3);
    await this.close();
  }
}

const clients: readonly [PeerId, () => Promise<ClientPeer>][] = [
  ["openssh", () => opensshClient("9.2")],
  ["openssh10", () => opensshClient("10")],
  ["dropbear", dropbearClient],
  ["putty", puttyClient],
  ["paramiko", paramikoClient],
  ["paramiko2", paramiko2Client],
  ["asyncssh", asyncSshClient],
  ["ssh2", ssh2Client],
];

for (const [id, start] of clients) {
  peerTest(id, `Transport.wire between the pipes of a socket from ${peers[id].title}`, async () => {
    await using client = await start();
    const { host, user } = await testKeys();
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const trusted = user.ed25519.line.split(" ")[1];
    const server: Partial<ServerInterface> = {
      getAllowedAuths: () => ["publickey"],
      checkAuthPublickey: (name, key) => name === username && key.blob.toBase64() === trusted,
      checkChannelRequest: (kind, id) => kind === "session" ? new Session(id) : null,
    };
    const serving = (async () => {
      const socket = await listener.accept();
      socket.setNoDelay(true);
      const transport = new Transport(undefined, { rekey });
      transport.addServerKey(await parsePrivateKey(host.ed25519.text));
      // It may fail while others are waited for: a peer that hangs up first is none of this test's business.
      const piped = socket.readable.pipeThrough(transport.wire).pipeTo(socket.writable).catch(() => {});
      await transport.startServer(server);
      await transport.closed.catch(() => {});
      await piped;
    })();
    const output = await client.run({
      port: listener.addr.port,
      hostKeys: [host.ed25519],
      username,
      login: { key: user.ed25519 },
      command,
      input,
    });
    assertEquals([output.stderr, output.code], ["err", 3]);
    assertSameBytes(output.stdout, input);
    await serving;
  });
}
