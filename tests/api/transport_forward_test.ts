/**
 * Forwards through `Transport`: what a server's interface is told, and what never reaches it.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { Channel, type ServerInterface, Transport } from "../../lib/api/transport/transport.ts";
import { ChannelOpenError } from "../../lib/errors.ts";
import { TcpipForward } from "../../lib/forward/messages.ts";
import { memoryPair } from "../_support/duplex.ts";
import { hostKey } from "../_support/joined.ts";

async function loggedIn(server: Partial<ServerInterface>): Promise<Transport> {
  const pair = memoryPair(), ours = new Transport(pair.server), client = new Transport(pair.client);
  ours.addServerKey(await hostKey());
  const starting = ours.startServer({ checkAuthPassword: () => true, ...server });
  await Promise.all([starting, client.startClient()]);
  await client.authPassword("alice", "x");
  return client;
}

const at = (hostname: string, port: number): Deno.NetAddr => ({ transport: "tcp", hostname, port });

Deno.test("checkChannelRequest() is told where a direct-tcpip channel goes, and the channel knows it", async () => {
  const told: unknown[] = [], channels: Channel[] = [];
  const client = await loggedIn({
    checkChannelRequest: (kind, id, addresses) => {
      told.push([kind, addresses]);
      const channel = new Channel(id);
      channels.push(channel);
      return channel;
    },
  });
  const dest = at("db.internal", 5432), origin = at("127.0.0.1", 9);
  await client.openChannel("direct-tcpip", { dest, origin });
  await client.openSession();
  assertEquals(told, [["direct-tcpip", { dest, origin }], ["session", undefined]]);
  assertEquals(channels.map((channel) => [channel.dest, channel.origin]), [[dest, origin], [null, null]]);
  await client.close();
});

Deno.test("a direct-tcpip channel to what is no host or port is refused unasked", async () => {
  let asked = 0;
  const client = await loggedIn({ checkChannelRequest: (_kind, id) => (asked++, new Channel(id)) });
  const good = at("host", 22);
  for (const dest of [at("", 22), at("a b", 22), at("a\0b", 22), at("x".repeat(1026), 22), at("host", 0)]) {
    const error = await assertRejects(
      () => client.openChannel("direct-tcpip", { dest, origin: good }),
      ChannelOpenError,
    );
    assertEquals(error.reason, 1);
  }
  await assertRejects(
    () => client.openChannel("direct-tcpip", { dest: good, origin: at("a\nb", 1) }),
    ChannelOpenError,
  );
  assertEquals(asked, 0);
  await client.openChannel("direct-tcpip", { dest: good, origin: at("", 0) });
  await client.close();
});

Deno.test("cancelPortForwardRequest() is asked for forwards that were granted, once, and an address is granted once", async () => {
  const asked: unknown[] = [];
  const client = await loggedIn({
    checkPortForwardRequest: (hostname, port) => (asked.push(["listen", hostname, port]), port === 0 ? 4000 : port),
    cancelPortForwardRequest: (hostname, port) => asked.push(["cancel", hostname, port]) > 0,
  });
  const ask = async (name: string, address: string, port: number): Promise<boolean> =>
    await client.globalRequest(name, TcpipForward.encode({ address, port })) !== null;
  assertEquals(await ask("cancel-tcpip-forward", "h", 9), false);
  assertEquals(await ask("tcpip-forward", "h", 9), true);
  assertEquals(await ask("tcpip-forward", "h", 9), false);
  assertEquals(await ask("tcpip-forward", "h", 0), true);
  assertEquals(await ask("tcpip-forward", "a b", 1), false);
  assertEquals(await ask("cancel-tcpip-forward", "other", 9), false);
  assertEquals(await ask("cancel-tcpip-forward", "h", 9), true);
  assertEquals(await ask("cancel-tcpip-forward", "h", 9), false);
  assertEquals(await ask("cancel-tcpip-forward", "h", 4000), true);
  assertEquals(asked, [["listen", "h", 9], ["listen", "h", 0], ["cancel", "h", 9], ["cancel", "h", 4000]]);
  await client.close();
});

Deno.test("a cancelled forward that no method takes goes to checkGlobalRequest()", async () => {
  const asked: string[] = [];
  const client = await loggedIn({
    checkPortForwardRequest: (_hostname, port) => port,
    checkGlobalRequest: (name) => asked.push(name) > 0,
  });
  const data = TcpipForward.encode({ address: "h", port: 9 });
  await client.globalRequest("tcpip-forward", data);
  assertEquals(await client.globalRequest("cancel-tcpip-forward", data), new Uint8Array(0));
  assertEquals(asked, ["cancel-tcpip-forward"]);
  // It is cancelled: not a second time, and it may be asked for again.
  assertEquals(await client.globalRequest("cancel-tcpip-forward", data), null);
  assertEquals(await client.globalRequest("tcpip-forward", data), new Uint8Array(0));
  await client.close();
});
