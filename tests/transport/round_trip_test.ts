// The least round trip: what counts, what does not, and when a PING goes out. The clock is the test's own.
import { assertEquals } from "@std/assert";
import { generateKey } from "../../lib/keys/private_key.ts";
import { encodeExtInfo } from "../../lib/transport/ext_info.ts";
import { RoundTrip } from "../../lib/transport/round_trip.ts";
import { SecureTransport } from "../../lib/transport/secure_transport.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { memoryPair } from "../_support/duplex.ts";
import { RawPeer } from "../_support/raw_peer.ts";

const hostKey = await generateKey("ed25519");
const serviceRequest = () => new Writer().u8(Msg.SERVICE_REQUEST).text("ssh-userauth").bytes();
const serviceAccept = () => new Writer().u8(Msg.SERVICE_ACCEPT).text("ssh-userauth").bytes();
const pong = () => new Writer().u8(Msg.PONG).text("").bytes();
const utf8 = (text: string) => new TextEncoder().encode(text);

/** Waits for what comes of its own accord, turn by turn. */
async function until(check: () => boolean): Promise<void> {
  for (let turn = 0; !check(); turn++) {
    if (turn === 10_000) throw new Error("It did not happen");
    await new Promise((resolve) => setTimeout(resolve));
  }
}

/** Stands for `performance.now()`, and stands still. */
class Clock implements Disposable {
  readonly #real = performance.now;
  now = 1_000_000;
  constructor() {
    performance.now = () => this.now;
  }
  [Symbol.dispose](): void {
    performance.now = this.#real;
  }
}

Deno.test("RoundTrip.least is the smallest answer, and 0 while there is none", () => {
  const trip = new RoundTrip();
  assertEquals(trip.least, 0);
  trip.answered(5);
  assertEquals(trip.least, 0);
  for (const [from, to, least] of [[10, 50, 40], [60, 85, 25], [90, 200, 25], [200, 200, 25]] as const) {
    trip.asked(from);
    trip.answered(to);
    // A second answer answers nothing.
    trip.answered(to + 1);
    assertEquals(trip.least, least);
  }
});

Deno.test("RoundTrip.least forgets after one to two minutes, once something newer is known", () => {
  const trip = new RoundTrip();
  const take = (at: number, took: number) => {
    trip.asked(at - took);
    trip.answered(at);
    return trip.least;
  };
  assertEquals(take(1_000, 5), 5);
  assertEquals(take(59_000, 80), 5);
  assertEquals(take(62_000, 90), 5);
  // Nobody asks for an hour: what is known stays.
  assertEquals(trip.least, 5);
  assertEquals(take(3_600_000, 100), 90);
  assertEquals(take(3_700_000, 120), 100);
});

Deno.test("RoundTrip.atMost() shows a shorter path, and never a longer one", () => {
  const trip = new RoundTrip();
  trip.asked(0);
  trip.answered(30);
  trip.atMost(100, 900);
  assertEquals(trip.least, 30);
  trip.atMost(1000, 1020);
  assertEquals(trip.least, 20);
  trip.atMost(2000, 2000);
  trip.atMost(2000, 1990);
  assertEquals(trip.least, 20);
  // The start of a session, long after, is no reason to forget.
  trip.atMost(500_000, 500_700);
  assertEquals(trip.least, 20);
});

Deno.test("RoundTrip asks for a PING each ten seconds at most, and for none while one is under way", () => {
  const trip = new RoundTrip();
  assertEquals(trip.pingDue(0), true);
  trip.pinged(0);
  assertEquals(trip.pingDue(60_000), false);
  trip.ponged(20);
  assertEquals(trip.least, 20);
  // A PONG that nobody asked for.
  trip.ponged(21);
  assertEquals(trip.least, 20);
  assertEquals(trip.pingDue(9_999), false);
  assertEquals(trip.pingDue(10_000), true);
});

Deno.test("SecureTransport.roundTrip of a client is the least of its key exchanges and its service request", async () => {
  using clock = new Clock();
  const pair = memoryPair();
  let reply = 40;
  const peer = new RawPeer(pair.server, {
    role: "server",
    hostKey,
    tamper: (payload) => {
      // The server takes its time before KEXINIT and NEWKEYS as well, which nobody waits for.
      if (payload[0] === Msg.KEXINIT || payload[0] === Msg.NEWKEYS) clock.now += 3;
      if (payload[0] === Msg.KEX_REPLY) clock.now += reply;
      return payload;
    },
  });
  const client = new SecureTransport(pair.client, { role: "client", verifyHostKey: () => true });
  client.setHandler({ message: () => true, ended: () => {} });
  assertEquals(client.roundTrip, 0);
  await Promise.all([client.start(), peer.handshake()]);
  assertEquals(client.roundTrip, 40);
  client.send(serviceRequest());
  await peer.receiveType(Msg.SERVICE_REQUEST);
  clock.now += 25;
  await peer.send(serviceAccept());
  await peer.send(new Uint8Array([Msg.GLOBAL_REQUEST]));
  await until(() => client.roundTrip !== 40);
  assertEquals(client.roundTrip, 25);
  reply = 20;
  client.setAuthenticated();
  const renewed = client.rekey();
  await peer.rekey();
  await renewed;
  assertEquals(client.roundTrip, 20);
  reply = 90;
  const again = client.rekey();
  await peer.rekey();
  await again;
  assertEquals(client.roundTrip, 20);
  await Promise.all([client.close(), peer.disconnected()]);
  await peer.close();
});

Deno.test("SecureTransport.roundTrip of a server is what its client takes from the reply to NEWKEYS, not what it sends unasked", async () => {
  using clock = new Clock();
  const pair = memoryPair();
  const peer = new RawPeer(pair.client, {
    role: "client",
    tamper: (payload) => {
      if (payload[0] === Msg.KEXINIT || payload[0] === Msg.KEX_INIT) clock.now += 3;
      if (payload[0] === Msg.NEWKEYS) clock.now += 30;
      return payload;
    },
  });
  const server = new SecureTransport(pair.server, { role: "server", hostKeys: [hostKey] });
  const heard: number[] = [];
  server.setHandler({ message: (payload) => heard.push(payload[0]!) > 0, ended: () => {} });
  await Promise.all([server.start(), peer.handshake()]);
  assertEquals(server.roundTrip, 30);
  // A client may send its first request for login without waiting for the service.
  await peer.send(serviceRequest());
  clock.now += 1;
  await peer.send(new Uint8Array([Msg.USERAUTH_REQUEST]));
  await until(() => heard.length === 2);
  assertEquals(server.roundTrip, 30);
  await Promise.all([server.close(), peer.disconnected()]);
  await peer.close();
});

/** A client of a peer that announces `extensions`, and what the peer receives while `act` runs. */
async function pinging(
  extensions: Record<string, string>,
  act: (client: SecureTransport, peer: RawPeer, clock: Clock) => Promise<void>,
): Promise<void> {
  using clock = new Clock();
  const pair = memoryPair();
  const peer = new RawPeer(pair.server, { role: "server", hostKey });
  const client = new SecureTransport(pair.client, { role: "client", verifyHostKey: () => true });
  client.setHandler({ message: () => true, ended: () => {} });
  await Promise.all([client.start(), peer.handshake()]);
  await peer.send(encodeExtInfo(new Map(Object.entries(extensions).map(([name, value]) => [name, utf8(value)]))));
  await until(() => client.extensions.size > 0);
  await act(client, peer, clock);
  await Promise.all([client.close(), peer.disconnected()]);
  await peer.close();
}

/** Messages of the transport's own that have come before the next one that the test sends. */
async function pings(client: SecureTransport, peer: RawPeer): Promise<number> {
  client.send(new Uint8Array([Msg.GLOBAL_REQUEST]));
  const from = peer.received.length;
  await peer.receiveType(Msg.GLOBAL_REQUEST);
  return peer.received.slice(from).filter((payload: Bytes) => payload[0] === Msg.PING).length;
}

Deno.test("SecureTransport.measureRoundTrip() sends one PING where the peer takes it, and times the PONG", async () => {
  await pinging({ "ping@openssh.com": "0" }, async (client, peer, clock) => {
    client.setAuthenticated();
    const { now } = clock;
    for (let i = 0; i < 5; i++) client.measureRoundTrip();
    assertEquals(await pings(client, peer), 1);
    assertEquals(client.roundTrip, 0);
    clock.now += 12;
    await peer.send(pong());
    await until(() => client.roundTrip > 0);
    assertEquals(client.roundTrip, 12);
    clock.now = now + 9_999;
    client.measureRoundTrip();
    assertEquals(await pings(client, peer), 0);
    clock.now = now + 10_000;
    client.measureRoundTrip();
    assertEquals(await pings(client, peer), 1);
  });
});

Deno.test("SecureTransport.measureRoundTrip() sends nothing before login, in a key exchange, or where PING was not announced", async () => {
  await pinging({ "ping@openssh.com": "0" }, async (client, peer) => {
    client.measureRoundTrip();
    assertEquals(await pings(client, peer), 0);
    client.setAuthenticated();
    const renewed = client.rekey();
    client.measureRoundTrip();
    await peer.rekey();
    await renewed;
    assertEquals(await pings(client, peer), 0);
  });
  for (const extensions of [{ "server-sig-algs": "ssh-ed25519" }, { "ping@openssh.com": "1" }]) {
    await pinging(extensions, async (client, peer) => {
      client.setAuthenticated();
      client.measureRoundTrip();
      assertEquals(await pings(client, peer), 0);
    });
  }
});
