/** `timeout` of each step of a `Transport`: the error says what was waited for, and what waited has let go. */
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { Channel, Transport } from "../../lib/api/transport/transport.ts";
import { serviceAccept } from "../../lib/auth/messages.ts";
import { GlobalRequest, RequestSuccess } from "../../lib/connection/messages.ts";
import { SshError } from "../../lib/errors.ts";
import type { WaitOptions } from "../../lib/wire/deadline.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { type MemoryPair, memoryPair } from "../_support/duplex.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { closeBoth, hostKey, letIn, rawServer } from "../_support/scripted_login.ts";
import { inTime, turns, until } from "../_support/until.ts";

/**
 * Starts a wait, lets its time pass once `asked` has resolved; what comes of it: a value, or a TimeoutError's message. `ending` is waited
 * for as well: a connection that ends lets the other side read its goodbye.
 */
async function expired(
  start: (wait: WaitOptions) => Promise<unknown>,
  asked: () => Promise<unknown>,
  ending: Promise<void> = Promise.resolve(),
): Promise<unknown> {
  using time = new FakeTime();
  const counted = countedSignal();
  const waiting = start({ timeout: 500, signal: counted.signal }).catch((error) => error);
  await asked();
  time.tick(500);
  let done = false;
  const all = Promise.all([waiting, ending.catch(() => {})]).finally(() => done = true);
  while (!done) {
    await turns(5);
    time.tick(100);
  }
  const [outcome] = await all;
  assertEquals(counted.listeners, 0);
  if (!(outcome instanceof DOMException)) return outcome;
  assertEquals(outcome.name, "TimeoutError");
  return outcome.message;
}

/** The reason of a connection that a deadline has ended. */
async function endedBy(transport: Transport): Promise<string> {
  const error = await assertRejects(() => transport.closed, SshError);
  assertInstanceOf(error.cause, DOMException);
  return error.cause.name;
}

Deno.test("startClient(), startServer() and connect() end the connection where the peer says nothing in time", async () => {
  const begun: Record<string, (transport: Transport, wait: WaitOptions) => Promise<void>> = {
    "the key exchange": (transport, wait) => transport.startClient(wait),
    'the key exchange and the login as "alice"': (transport, wait) =>
      transport.connect({ username: "alice", password: "x", ...wait }),
  };
  const startServer = (transport: Transport, wait: WaitOptions): Promise<void> => {
    transport.addServerKey(hostKey);
    return transport.startServer({}, wait);
  };
  for (const [what, start] of [...Object.entries(begun), ["the key exchange", startServer] as const]) {
    const pair = memoryPair(), transport = new Transport(pair.client);
    const message = await expired((wait) => start(transport, wait), () => turns(), transport.closed);
    assertEquals(message, `Timed out after 500 ms waiting for ${what}`);
    assertEquals([await endedBy(transport), transport.isActive()], ["TimeoutError", false]);
    // The streams are let go of.
    await ended(pair);
  }
});

/** Reads what was sent to its end, which may be an error. */
async function ended(pair: MemoryPair): Promise<void> {
  const reader = pair.server.readable.getReader();
  const rest = async (): Promise<void> => {
    while (!(await reader.read()).done);
  };
  await inTime(rest().catch(() => {}), "the end of what was sent");
}

Deno.test("a login that the server does not answer in time is a TimeoutError, and ends the connection", async () => {
  const attempts: Record<string, (transport: Transport, wait: WaitOptions) => Promise<unknown>> = {
    none: (transport, wait) => transport.authNone("alice", wait),
    password: (transport, wait) => transport.authPassword("alice", "x", wait),
    publickey: (transport, wait) => transport.authPublickey("alice", hostKey, wait),
    "keyboard-interactive": (transport, wait) => transport.authInteractive("alice", () => [], wait),
  };
  for (const [method, attempt] of Object.entries(attempts)) {
    const pair = memoryPair(), peer = rawServer(pair.server), transport = new Transport(pair.client);
    await Promise.all([transport.startClient(), peer.handshake()]);
    const asked = async (): Promise<void> => {
      await peer.receiveType(Msg.SERVICE_REQUEST);
      await peer.send(serviceAccept.encode({ service: "ssh-userauth" }));
      await peer.receiveType(Msg.USERAUTH_REQUEST);
    };
    const message = await expired((wait) => attempt(transport, wait), asked, transport.closed);
    assertEquals(message, `Timed out after 500 ms waiting for the login as "alice" with ${method}`);
    assertEquals(await endedBy(transport), "TimeoutError");
    await peer.close();
  }
});

Deno.test("openSession(), openChannel() and globalRequest() reject in time, and a late reply is not the next one's", async () => {
  const pair = memoryPair(), peer = rawServer(pair.server), transport = new Transport(pair.client);
  await Promise.all([transport.startClient(), peer.handshake()]);
  await Promise.all([transport.authPassword("alice", "x"), letIn(peer)]);
  const opened = (): Promise<unknown> => peer.receiveType(Msg.CHANNEL_OPEN);
  assertEquals(
    await expired((wait) => transport.openSession(wait), opened),
    "Timed out after 500 ms waiting for the peer to open a session channel",
  );
  assertEquals(
    await expired((wait) => transport.openChannel("x@example.org", wait), opened),
    "Timed out after 500 ms waiting for the peer to open a x@example.org channel",
  );
  assertEquals(
    await expired(
      (wait) => transport.globalRequest("first", undefined, wait),
      () => peer.receiveType(Msg.GLOBAL_REQUEST),
    ),
    'Timed out after 500 ms waiting for the peer to answer global request "first"',
  );
  const second = transport.globalRequest("second");
  assertEquals(GlobalRequest.decode(await peer.receiveType(Msg.GLOBAL_REQUEST)).name, "second");
  for (const byte of [1, 2]) await peer.send(RequestSuccess.encode({ data: new Uint8Array([byte]) }));
  assertEquals(await inTime(second, "the reply"), new Uint8Array([2]));
  await closeBoth(transport, peer);
});

Deno.test("accept() resolves to null when its time is over, and the next channel is for who waits then", async () => {
  const pair = memoryPair();
  await using client = new Transport(pair.client), server = new Transport(pair.server);
  server.addServerKey(hostKey);
  await Promise.all([
    server.startServer({ checkAuthPassword: () => true, checkChannelRequest: (_kind, id) => new Channel(id) }),
    client.startClient(),
  ]);
  await client.authPassword("alice", "x");
  assertEquals(await expired((wait) => server.accept(wait), () => turns()), null);
  const waiting = server.accept({ timeout: 2 ** 40 });
  const channel = await client.openSession({ timeout: 2 ** 40 });
  assert(await inTime(waiting, "the channel") instanceof Channel);
  // One that is there is not waited for.
  await client.openSession();
  assert(await server.accept({ timeout: 0.001 }) instanceof Channel);
  await until(() => channel.isOpen, "the channel is open");
});
