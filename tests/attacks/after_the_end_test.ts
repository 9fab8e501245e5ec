/**
 * Nothing is delivered behind the end of a connection, whoever ends it: not even what came in the same segment.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { SshDisconnectError, SshError } from "../../lib/errors.ts";
import { Disconnect } from "../../lib/transport/messages.ts";
import type { SecureTransport } from "../../lib/transport/secure_transport.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { concat, roles, Victim } from "../_support/attack.ts";

type Ending = (transport: SecureTransport) => void;

const message = (n: number): Bytes => new Uint8Array([90, n]);
const endings: [name: string, end: Ending][] = [
  ["fail()", (transport) => transport.fail(new SshError("Given up", { code: "CLOSED" }))],
  ["close()", (transport) => void transport.close()],
  ["a handler that throws", () => {
    throw new SshError("Given up", { code: "CLOSED" });
  }],
];

/** Hands packets over in one segment. */
async function sendTogether(victim: Victim, payloads: readonly Uint8Array[]): Promise<void> {
  const packets: Uint8Array[] = [];
  for (const payload of payloads) packets.push(await victim.peer.packet(payload));
  await victim.peer.sendRaw(concat(...packets));
}

for (const role of roles) {
  // Small packets are opened at once, and large ones in other threads.
  for (const size of [2, 20_000]) {
    Deno.test(`a ${role} delivers nothing of ${size} bytes behind the message at which it ended the connection`, async () => {
      for (const [name, end] of endings) {
        const victim: Victim = new Victim(role, {
          peer: { algorithms: { cipher: ["aes128-gcm@openssh.com"] } },
          pair: { chunks: "whole" },
          known: () => {
            if (victim.messages.length === 2) end(victim.transport);
            return true;
          },
        });
        await victim.handshake();
        const padding = new Uint8Array(size - 2);
        await sendTogether(victim, [1, 2, 3, 4, 5, 6].map((n) => concat(message(n), padding)));
        // The peer hangs up at the DISCONNECT: nobody waits for it.
        await Promise.all([
          victim.transport.closed.catch(() => {}),
          victim.readReason().then(() => victim.peer.close()),
        ]);
        assertEquals(victim.messages.map((payload) => payload[1]), [1, 2], name);
      }
    });
  }

  Deno.test(`a ${role} delivers nothing behind its peer's DISCONNECT`, async () => {
    const victim = new Victim(role, { pair: { chunks: "whole" } });
    await victim.handshake();
    const disconnect = Disconnect.encode({ reason: 11, description: "bye", language: "" });
    await sendTogether(victim, [message(1), disconnect, message(2), message(3)]);
    await victim.transport.closed;
    assertEquals(victim.messages, [message(1)]);
    await victim.peer.close();
  });

  // RFC 4253 section 11.1: before there are keys, anybody on the way can say so.
  Deno.test(`a ${role} takes no DISCONNECT of the first exchange for a clean end`, async () => {
    for (const place of [0, 1, 2] as const) {
      const victim = new Victim(role);
      await victim.play(place);
      await victim.peer.send(Disconnect.encode({ reason: 11, description: "bye", language: "" }));
      const error = await assertRejects(
        () => victim.transport.closed,
        SshDisconnectError,
        "Peer disconnected: bye (11)",
      );
      assertEquals(await victim.started, error);
      assertEquals(victim.endings, [error]);
      await victim.peer.close();
    }
  });
}
