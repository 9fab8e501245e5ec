/**
 * Windows and an agent through `Transport`: what a server's channel is asked, and which channels a client takes for it.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Channel, type ServerInterface, Transport, type X11Request } from "../../lib/api/transport/transport.ts";
import { ChannelOpenError, SshError } from "../../lib/errors.ts";
import { memoryPair } from "../_support/duplex.ts";
import { hostKey } from "../_support/joined.ts";
import { until } from "../_support/until.ts";

async function loggedIn(server: Partial<ServerInterface>) {
  const pair = memoryPair(), ours = new Transport(pair.server), client = new Transport(pair.client);
  ours.addServerKey(await hostKey());
  const starting = ours.startServer({ checkAuthPassword: () => true, ...server });
  await Promise.all([starting, client.startClient()]);
  await client.authPassword("alice", "x");
  return { client, server: ours };
}

const origin: Deno.NetAddr = { transport: "tcp", hostname: "192.0.2.1", port: 7 };

Deno.test("a server's channel is asked for windows and for an agent, and its transport opens channels of them", async () => {
  const asked: unknown[] = [];
  class Lending extends Channel {
    override checkX11Request(x11: X11Request): boolean {
      return asked.push(x11) > 0;
    }
    override checkForwardAgentRequest(): boolean {
      return asked.push("agent") > 0;
    }
  }
  const { client, server } = await loggedIn({ checkChannelRequest: (_kind, id) => new Lending(id) });
  const channel = await client.openSession(), windows: unknown[] = [], agents: Channel[] = [];
  for (const kind of ["x11", "auth-agent@openssh.com"]) {
    assertEquals((await assertRejects(() => server.openChannel(kind, { origin }), ChannelOpenError)).reason, 1);
  }
  const cookie = await channel.requestX11((window, from) => {
    windows.push([window instanceof Channel, from]);
  }, { screen: 1, single: true });
  assertEquals(await channel.requestX11(() => {}, { protocol: "X", cookie: "00ff" }), "00ff");
  await channel.requestForwardAgent((agent) => agents.push(agent));
  assert(/^[0-9a-f]{32}$/.test(cookie));
  assertEquals(asked, [
    { single: true, protocol: "MIT-MAGIC-COOKIE-1", cookie, screen: 1 },
    { single: false, protocol: "X", cookie: "00ff", screen: 0 },
    "agent",
  ]);
  const other = await client.openSession();
  await other.requestX11((window, from) => windows.push([window instanceof Channel, from]));
  await server.openChannel("x11", { origin });
  const agent = await server.openChannel("auth-agent@openssh.com");
  await until(() => windows.length + agents.length === 2, "the client takes both");
  assertEquals(windows, [[true, origin]]);
  const writer = agents[0]!.writable.getWriter(), written = writer.write(Uint8Array.of(5));
  assertEquals((await agent.readable.getReader().read()).value, Uint8Array.of(5));
  await written;
  // They are refused again once the channels that asked have ended; what is open goes on.
  await Promise.all([channel, other].map(async (one) => (await one.close(), await one.closed)));
  for (const kind of ["x11", "auth-agent@openssh.com"]) {
    assertEquals((await assertRejects(() => server.openChannel(kind, { origin }), ChannelOpenError)).reason, 1);
  }
  assert(agents[0]!.isOpen);
  await assertRejects(() => channel.requestX11(() => {}), SshError);
  await client.close();
});

Deno.test("a server's channel refuses windows and agents unless a method of it takes them", async () => {
  const names: string[] = [];
  class Other extends Channel {
    override checkOtherRequest(name: string): boolean {
      return names.push(name) > 2;
    }
  }
  let plain = true;
  const { client, server } = await loggedIn({
    checkChannelRequest: (_kind, id) => plain ? new Channel(id) : new Other(id),
  });
  const refused = await client.openSession();
  for (const ask of [() => refused.requestX11(() => {}), () => refused.requestForwardAgent(() => {})]) {
    assertEquals((await assertRejects(ask, SshError)).code, "REQUEST_DENIED");
  }
  for (const kind of ["x11", "auth-agent@openssh.com"]) {
    await assertRejects(() => server.openChannel(kind, { origin }), ChannelOpenError);
  }
  plain = false;
  const other = await client.openSession();
  await assertRejects(() => other.requestX11(() => {}), SshError);
  await assertRejects(() => other.requestForwardAgent(() => {}), SshError);
  await other.requestX11(() => {});
  assertEquals(names, ["x11-req", "auth-agent-req@openssh.com", "x11-req"]);
  // What makes no sense is the caller's mistake.
  for (
    const options of [null, { screen: -1 }, { cookie: "x" }, { single: 1 }, { protocol: 5 }, { auth_cookie: "00" }]
  ) {
    const error = await other.requestX11(() => {}, options as { screen: number }).catch((error) => error);
    assert(error instanceof TypeError || error instanceof RangeError, JSON.stringify(options));
  }
  for (const nothing of [undefined, null, 5]) {
    await assertRejects(() => other.requestForwardAgent(nothing as unknown as () => void), TypeError);
    await assertRejects(() => other.requestX11(nothing as unknown as () => void), TypeError);
  }
  await assertRejects(() => new Channel(0).requestX11(() => {}), TypeError);
  await client.close();
});
