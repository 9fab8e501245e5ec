/**
 * Bytes flipped in flight, under every cipher and MAC, through the whole stack: the other side says so, and nothing of what was
 * changed is delivered.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { defaultAlgorithms, insecureAlgorithms, SshDisconnectError, SshError } from "../../mod.ts";
import { join } from "../_support/joined.ts";
import { memoryPair, sleep } from "../_support/duplex.ts";
import { soaking } from "../_support/resources.ts";
import { fast, outcome } from "../_support/load.ts";

const PACKET = soaking ? 65_536 : 4096;
/** What is sent behind the flip, so that a length that has grown meets its end. */
const BEHIND = 300_000;

const ciphers = [...defaultAlgorithms.cipher, ...insecureAlgorithms.cipher];
const isAead = (name: string) => name.includes("gcm") || name.includes("poly1305");
const macs = [...defaultAlgorithms.mac, ...insecureAlgorithms.mac];
/** The long run flips so many bytes that one MAC for each cipher has to do. */
const pairs = ciphers.flatMap((cipher) =>
  isAead(cipher)
    ? [[cipher, "none"] as const]
    : macs.slice(0, soaking ? 1 : macs.length).map((mac) => [cipher, mac] as const)
);

/** Ten offsets of a packet: its length, its padding length, its first blocks, its middle, its end. */
const offsets = soaking ? Array.from({ length: PACKET }, (_, i) => i) : [0, 1, 2, 3, 4, 5, 17, 1000, -17, -1];

async function flip(way: "toServer" | "toClient", cipher: string, mac: string, offset: number): Promise<void> {
  let armed = false, flipped = false;
  const tap = (bytes: Uint8Array) => {
    // Window adjusts of the session before are small; the packet meant is the first one that is not.
    if (!armed || bytes.length < PACKET) return;
    armed = false;
    flipped = true;
    const at = offset < 0 ? bytes.length + offset : offset;
    bytes[at]! ^= 1 << Math.abs(offset) % 8;
  };
  const algorithms = { ...fast, cipher: [cipher], ...(mac === "none" ? {} : { mac: [mac] }) };
  let seen = 0;
  await using joined = await join(
    {
      algorithms,
      handler: async (session) => {
        const writer = session.stdout.getWriter();
        await writer.write(new Uint8Array(1));
        if (way === "toClient") {
          await session.stdin.getReader().read();
          await writer.write(new Uint8Array(PACKET));
          // The connection may end meanwhile, and nobody waits for a handler then.
          await sleep(0, session.signal);
          await writer.write(new Uint8Array(BEHIND));
          return await new Promise(() => {}) as never;
        }
        for await (const chunk of session.stdin) seen += chunk.length;
      },
    },
    { algorithms },
    memoryPair({ chunks: "whole", tap: { [way]: tap } }),
  );
  const process = await joined.client.spawn("x");
  const reader = process.stdout.getReader(), writer = process.stdin.getWriter();
  await reader.read();
  // The end of a writer may come between two writes.
  writer.closed.catch(() => {});
  armed = true;
  if (way === "toClient") {
    await writer.write(new Uint8Array(1));
    for (;;) {
      const next = await reader.read().catch(() => null);
      if (next === null || next.done) break;
      seen += next.value.length;
    }
  } else {
    await writer.write(new Uint8Array(PACKET)).catch(() => {});
    await sleep(0);
    await writer.write(new Uint8Array(BEHIND)).catch(() => {});
    await outcome(joined.client.closed);
  }
  const [victim, other] = way === "toServer"
    ? [await joined.served, await joined.client.closed.catch((error) => error)]
    : [await joined.client.closed.then(() => null, (error) => error), await joined.served];
  assert(flipped, "no packet was changed");
  assertInstanceOf(victim, SshError);
  // A length is looked at before a MAC can be, where it is not under one of its own.
  const inLength = offset >= 0 && offset < 16;
  assert(
    victim.code === "MAC_INVALID" || (inLength && victim.code === "PROTOCOL_ERROR"),
    `${victim.code}: ${victim.message}`,
  );
  if (other instanceof SshDisconnectError) assertEquals(other.reason, victim.code === "MAC_INVALID" ? 5 : 2);
  // What fits in whole packets before the changed one was sound.
  const before = offset < 0 ? 0 : Math.floor(offset / 32_768) * 32_768;
  assert(seen <= before, `${seen} bytes of the changed packet, or behind it, were delivered`);
  assertEquals(joined.errors, []);
}

for (const [cipher, mac] of pairs) {
  Deno.test(`a byte flipped at any of ${offsets.length} offsets ends the connection: ${cipher} ${mac}`, async () => {
    for (const way of ["toServer", "toClient"] as const) {
      for (const offset of offsets) {
        // The long run takes every second byte one way, and the others the other way.
        if (soaking && (offset % 2 === 0) !== (way === "toServer")) continue;
        try {
          await flip(way, cipher, mac, offset);
        } catch (cause) {
          throw new Error(`Byte ${offset} ${way}: ${cause instanceof Error ? cause.message : cause}`, { cause });
        }
      }
    }
  });
}
