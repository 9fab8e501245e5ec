/** Signs of life, in both roles. What a peer answers to a keepalive does not matter (C4 of the cases). */
import { assert, assertEquals } from "@std/assert";
import { RequestSuccess } from "../../lib/connection/messages.ts";
import { Mux } from "../../lib/connection/mux.ts";
import type { SshError } from "../../lib/errors.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import type { RawPeer } from "../_support/raw_peer.ts";
import { closeBoth, lastNumber, scriptedClient, scriptedServer, unimplemented } from "../_support/scripted_login.ts";
import { inTime } from "../_support/until.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { FakeTransport, globalRequest } from "../_support/fake_transport.ts";

const keepalive = { interval: 10, maxMissed: 10 };

/** What a peer may answer, or do at the time, and what it is then. */
const signs: [name: string, sign: (peer: RawPeer) => Uint8Array][] = [
  ["UNIMPLEMENTED", (peer) => unimplemented(lastNumber(peer))],
  ["UNIMPLEMENTED for another message", () => unimplemented(0)],
  ["REQUEST_SUCCESS", () => RequestSuccess.encode({ data: new Uint8Array(0) })],
  ["REQUEST_FAILURE", () => new Uint8Array([Msg.REQUEST_FAILURE])],
  ["IGNORE", () => new Writer().u8(Msg.IGNORE).text("").bytes()],
  ["DEBUG", () => new Writer().u8(Msg.DEBUG).bool(false).text("").text("").bytes()],
  ["a global request of its own", () => globalRequest("keepalive@openssh.com", false)],
  ["a message that nobody knows", () => new Uint8Array([199])],
];

for (const [name, sign] of signs) {
  for (const role of ["client", "server"] as const) {
    Deno.test(`keepalive of a ${role}: ${name} is a sign of life`, async () => {
      const { peer, end } = role === "client"
        ? await scriptedServer({ keepalive }).then(({ peer, client }) => ({ peer, end: () => closeBoth(client, peer) }))
        : await scriptedClient({ keepalive }).then(({ peer, served }) => ({
          peer,
          end: async () => {
            await peer.close();
            await served;
          },
        }));
      // More in a row than may be missed.
      for (let asked = 0; asked < 25;) {
        const payload = await inTime(peer.receive(), "a keepalive");
        assert(payload !== null && payload[0] !== Msg.DISCONNECT, "The connection has ended");
        if (payload[0] !== Msg.GLOBAL_REQUEST) continue;
        asked++;
        await peer.send(sign(peer));
      }
      await end();
    });
  }
}

// C4
Deno.test("a keepalive counts silence only: whatever comes in between starts it anew, be it part of a packet", () => {
  using time = new FakeTime();
  const transport = new FakeTransport();
  transport.setHandler(new Mux(transport, { keepalive: { interval: 1000, maxMissed: 2 } }));
  let asked = 0;
  for (let i = 0; i < 20; i++) {
    time.tick(1000);
    asked += transport.take().length;
    // The transport has got something, and gives the mux nothing of it.
    time.tick(1);
    if (i % 2 === 1) transport.lastReceived = time.now();
  }
  assertEquals(transport.end, null);
  assert(asked >= 9, `${asked} keepalives`);
  time.tick(5000);
  assertEquals((transport.end! as { error: SshError }).error.code, "CONNECTION_LOST");
});
