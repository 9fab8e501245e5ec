/**
 * Attacks of rows 22 and 23: more packets under one pair of keys than may be. Nobody can wait for billions of packets, so a victim's framer is
 * made to find as many as a test says, or as many bytes, with nothing in them.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { DisconnectReason } from "../../lib/errors.ts";
import { Framer, type PacketBatch } from "../../lib/transport/framer.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { expectAlive, expectClose, finish, ignoreMessage, type Role, roles, Victim } from "../_support/attack.ts";

const { PROTOCOL_ERROR } = DisconnectReason;
const { next } = Framer.prototype;

Deno.test.afterEach(() => void (Framer.prototype.next = next));

/** What comes next to the victim comes behind so many packets of so many bytes in all. */
function skip({ peer }: Victim, packets: number, bytes: number): void {
  Framer.prototype.next = function (...args: Parameters<Framer["next"]>): PacketBatch | null {
    if (this === peer.framer) return next.apply(this, args);
    Framer.prototype.next = next;
    // Openers go over frames by `map()`, which takes minutes for an array of that length.
    const frames = Object.assign([], { length: packets, map: () => [], at: () => undefined });
    return { chunk: new Uint8Array(0), frames, bytes };
  };
}

/** A victim that takes IGNORE in the first exchange, and whose keys do not depend on numbers; and how many messages it has looked at. */
function watched(role: Role): { victim: Victim; taken: () => number } {
  let taken = 0;
  const victim = new Victim(role, {
    peer: { strict: false, algorithms: { cipher: ["aes128-gcm@openssh.com"] } },
    transport: {
      trace: ({ event }) => {
        if (event === "received") taken++;
      },
    },
  });
  return { victim, taken: () => taken };
}

/** Waits until something holds; a victim that has ended will not make it so. */
async function until(victim: Victim, check: () => boolean, message: string): Promise<void> {
  while (!check()) {
    if (victim.endings.length > 0) throw new Error(message, { cause: victim.endings[0] });
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

for (const role of roles) {
  // Row 22.
  Deno.test(`a ${role} closes when sequence numbers wrap in the first key exchange`, async () => {
    for (const left of [0, 1, 2]) {
      const { victim, taken } = watched(role);
      const error = await expectClose(victim, PROTOCOL_ERROR, async (peer) => {
        await victim.play(1);
        await until(victim, () => taken() === 1, "The KEXINIT is not taken");
        skip(victim, 2 ** 32 - 1 - left - peer.sequence, 0);
        for (let i = 0; i < left; i++) {
          await peer.send(ignoreMessage);
          await until(victim, () => taken() === 2 + i, `The packet of number 2^32 - ${1 + left - i} is not taken`);
        }
        await peer.send(ignoreMessage);
      });
      assertEquals(error.message, "Sequence number wrapped during the initial key exchange");
      assertEquals(taken(), 1 + left);
    }
  });

  Deno.test(`a ${role} lets sequence numbers wrap behind the first key exchange`, async () => {
    const { victim } = watched(role);
    await victim.handshake();
    skip(victim, 2 ** 32 - victim.peer.sequence - 1, 0);
    for (let i = 0; i < 3; i++) await victim.peer.send(ignoreMessage);
    await expectAlive(victim);
  });

  // Row 23.
  Deno.test(`a ${role} renews its keys after 2^31 packets or 1 GiB of its peer, and not before`, async () => {
    for (const [packets, bytes] of [[2 ** 31, 0], [0, 2 ** 30]] as const) {
      const { victim, taken } = watched(role), { peer } = victim;
      await victim.handshake();
      const before = taken(), isRekey = (payload: Uint8Array) => payload[0] === Msg.KEXINIT;
      skip(victim, Math.max(0, packets - 100), Math.max(0, bytes - 10_000));
      await peer.send(ignoreMessage);
      await until(victim, () => taken() === before + 1, "The message is not taken");
      skip(victim, 100, 10_000);
      await peer.send(ignoreMessage);
      await peer.receiveType(Msg.KEXINIT);
      assertEquals(peer.received.filter(isRekey).length, 2);
      await finish(victim);
    }
  });

  // Row 23 before the login, where there is no rekey.
  Deno.test(`a ${role} closes when its peer has used up the keys before the login`, async () => {
    for (const [packets, bytes] of [[2 ** 31, 0], [0, 2 ** 30]] as const) {
      const { victim, taken } = watched(role);
      await victim.handshake(false);
      const before = taken();
      skip(victim, Math.max(0, packets - 100), Math.max(0, bytes - 10_000));
      await victim.peer.send(ignoreMessage);
      await until(victim, () => taken() === before + 1, "The message is not taken");
      const error = await expectClose(victim, PROTOCOL_ERROR, async (peer) => {
        skip(victim, 100, 10_000);
        await peer.send(ignoreMessage);
      });
      assertEquals(error.message, "Peer used up its keys before logging in");
    }
  });
}
