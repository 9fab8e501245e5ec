/**
 * PING that is not what it should be (OpenSSH PROTOCOL section 1.8): nothing of it is sent back.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { DisconnectReason } from "../../lib/errors.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { concat, expectClose, MARKER, named, roles, Victim } from "../_support/attack.ts";

for (const role of roles) {
  Deno.test(`a ${role} closes on a PING that is cut, or holds more than one string`, async () => {
    const sound = new Writer().u8(Msg.PING).text(MARKER).bytes();
    const cases: [name: string, payload: Uint8Array][] = [
      ["no string", new Uint8Array([Msg.PING])],
      ["a length that is cut", sound.subarray(0, 3)],
      ["a string that is cut", sound.subarray(0, -1)],
      ["a length that lies", new Writer().u8(Msg.PING).u32(0xffff_ffff).bytes()],
      ["a byte more", concat(sound, new Uint8Array(1))],
    ];
    for (const [name, payload] of cases) {
      await named(name, async () => {
        const victim = new Victim(role);
        await victim.handshake();
        await expectClose(victim, DisconnectReason.PROTOCOL_ERROR, (peer) => peer.send(payload));
        assertEquals(victim.peer.received.filter((message) => message[0] === Msg.PONG), []);
      });
    }
  });
}
