/**
 * Keys are let go of wherever a connection ends. Deno counts what a cipher of `node:crypto` holds as a resource, so that the sanitizers see
 * what is left: with AES-CBC each key holds something from the moment it is made.
 *
 * @module
 */
import { assert, assertInstanceOf } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { SecureTransport } from "../../lib/transport/secure_transport.ts";
import { type MemoryPair, memoryPair } from "../_support/duplex.ts";

const hostKey = await generateKey("ed25519");
const algorithms = { kex: ["curve25519-sha256"], cipher: ["aes128-cbc"], mac: ["hmac-sha2-256"] };

/** Both sides' first exchange and a second one, as far as they come. `verifying` runs when the client is about to make its first keys. */
async function play(pair: MemoryPair, verifying: (client: SecureTransport) => void = () => {}): Promise<void> {
  const client: SecureTransport = new SecureTransport(pair.client, {
    role: "client",
    algorithms,
    verifyHostKey: () => {
      verifying(client);
      return true;
    },
  });
  const server = new SecureTransport(pair.server, { role: "server", algorithms, hostKeys: [hostKey] });
  const done = await Promise.allSettled([client.start().then(() => client.rekey()), server.start()]);
  await Promise.all([client.close(), server.close()]);
  for (const result of done) if (result.status === "rejected") assertInstanceOf(result.reason, SshError);
}

Deno.test("SecureTransport lets go of its keys when the connection drops anywhere in an exchange", async () => {
  const whole = memoryPair({ chunks: "whole" });
  await play(whole);
  const played: Promise<void>[] = [];
  for (const direction of ["toServer", "toClient"] as const) {
    const { written } = whole[direction];
    for (let at = 0; at < written; at += 1 + (written >> 5)) {
      for (const cut of ["reset", "end"] as const) {
        played.push(play(memoryPair({ chunks: "whole", cutAfter: { [direction]: at }, cut })));
      }
    }
  }
  assert(played.length > 100);
  await Promise.all(played);
});

// After each number of steps from the decision about the host key on: in some of them the keys are being made.
Deno.test("SecureTransport lets go of keys that are made while the connection ends", async () => {
  await Promise.all(Array.from({ length: 40 }, (_, steps) =>
    play(memoryPair({ chunks: "whole" }), async (client) => {
      for (let i = 0; i < steps; i++) await null;
      client.fail(new SshError("Given up", { code: "CLOSED" }));
    })));
});
