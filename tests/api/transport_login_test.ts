/** `Transport`'s logins against a server that answers as it is told. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Transport } from "../../lib/api/transport/transport.ts";
import { Channel } from "../../lib/api/transport/channel.ts";
import { ChannelOpenError, SshAuthError } from "../../lib/errors.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { failurePayload, successPayload } from "../_support/fake_pair.ts";
import { memoryPair } from "../_support/duplex.ts";
import { RawPeer } from "../_support/raw_peer.ts";
import { hostKey } from "../_support/joined.ts";

/** A transport behind its handshake with a server that gives the answers in turn. */
async function against(answers: readonly Uint8Array[]): Promise<AsyncDisposable & { transport: Transport }> {
  const pair = memoryPair(),
    transport = new Transport(pair.client),
    peer = new RawPeer(pair.server, { role: "server" });
  const serving = (async () => {
    await peer.handshake();
    await peer.receiveType(Msg.SERVICE_REQUEST);
    await peer.send(new Writer().u8(Msg.SERVICE_ACCEPT).text("ssh-userauth").bytes());
    for (const answer of answers) {
      await peer.receiveType(Msg.USERAUTH_REQUEST);
      await peer.send(answer);
    }
  })();
  await transport.startClient();
  return {
    transport,
    async [Symbol.asyncDispose]() {
      await serving;
      await transport.close();
      await peer.close();
    },
  };
}

// C25.
Deno.test("authPassword() does not take a partial success with an empty list for a login", async () => {
  await using served = await against([failurePayload([], true), successPayload()]);
  const { transport } = served;
  assertEquals(await transport.authPassword("alice", "one"), ["publickey", "keyboard-interactive"]);
  assert(!transport.isAuthenticated());
  assertEquals(await transport.authInteractive("alice", () => []), []);
  assert(transport.isAuthenticated());
});

Deno.test("Transport.connect() says what may be needed where a partial success comes with an empty list", async () => {
  const pair = memoryPair(),
    peer = new RawPeer(pair.server, { role: "server" }),
    transport = new Transport(pair.client);
  const login = transport.connect({ username: "alice", password: "one" });
  login.catch(() => {});
  await peer.handshake();
  await peer.receiveType(Msg.SERVICE_REQUEST);
  await peer.send(new Writer().u8(Msg.SERVICE_ACCEPT).text("ssh-userauth").bytes());
  await peer.receiveType(Msg.USERAUTH_REQUEST);
  await peer.send(failurePayload([], true));
  await peer.disconnected();
  await assertRejects(() => login, SshAuthError, "the server wants publickey or keyboard-interactive as well");
  await peer.close();
});

Deno.test("a server's own class with a method that nothing would call is told so: of Transport, and of Channel", async () => {
  class Server extends Transport {
    checkAuthPasword(): boolean {
      return true;
    }
  }
  const misspelt = new Server(memoryPair().client);
  misspelt.addServerKey(await hostKey());
  await assertRejects(() => misspelt.startServer(), TypeError, "nothing calls it, `checkAuthPassword` is meant");
  await misspelt.close();

  class Session extends Channel {
    checkExecRequset(): boolean {
      return true;
    }
  }
  const pair = memoryPair(), errors: unknown[] = [];
  await using server = new Transport(pair.server, { onError: (error) => errors.push(error) });
  await using client = new Transport(pair.client);
  server.addServerKey(await hostKey());
  const allowing = {
    checkAuthPassword: () => true,
    checkChannelRequest: (_kind: string, id: number) => new Session(id),
  };
  await Promise.all([server.startServer(allowing), client.startClient()]);
  await client.authPassword("alice", "x");
  await assertRejects(() => client.openSession(), ChannelOpenError);
  assertEquals(errors.map(String), [
    "TypeError: Cannot use method `checkExecRequset` of a channel: nothing calls it, `checkExecRequest` is meant",
  ]);
});
