// Attacks on the identification exchange (RFC 4253 section 4.2): rows 1 to 10. Row 11 is about the accept loop and stands with the
// server's own tests; rows 2, 3 and 7 in all their forms stand in tests/transport/ident_test.ts.
import { assert, assertEquals } from "@std/assert";
import { DisconnectReason } from "../../lib/errors.ts";
import type { RawPeer } from "../_support/raw_peer.ts";
import { turns, until } from "../_support/until.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { concat, expectClose, finish, MARKER, named, roles, utf8, Victim } from "../_support/attack.ts";

const { KEY_EXCHANGE_FAILED, PROTOCOL_VERSION_NOT_SUPPORTED: VERSION } = DisconnectReason;

/** Sends the line without waiting for it to be read, which it may never be, and takes the victim's. */
async function identifyUnread(peer: RawPeer): Promise<void> {
  const { sendRaw } = peer;
  peer.sendRaw = (bytes) => {
    sendRaw.call(peer, bytes).catch(() => {});
    return Promise.resolve();
  };
  await peer.identify();
}

/** Takes the victim's line, and sends none: `identify()` does both. */
async function takeIdent(peer: RawPeer): Promise<void> {
  const { sendRaw } = peer;
  peer.sendRaw = () => Promise.resolve();
  await peer.identify();
  peer.sendRaw = sendRaw;
}

/** A victim whose peer sends `bytes` where its identification belongs. */
function attacked(role: "client" | "server", bytes: Uint8Array): Victim {
  // The peer's own line is replaced on its way.
  const tap = (written: Uint8Array<ArrayBuffer>, offset: number) => offset === 0 ? bytes : written;
  return new Victim(role, { pair: { tap: role === "server" ? { toServer: tap } : { toClient: tap } } });
}

// Rows 1, 4, 6, 7 and 8.
const bad: readonly [name: string, bytes: Uint8Array, side?: "server" | "client"][] = [
  ["a line before the identification", utf8(`hello\r\nSSH-2.0-x\r\n`), "server"],
  ["a request of HTTP", utf8("GET / HTTP/1.1\r\n\r\n"), "server"],
  ["a TLS ClientHello", new Uint8Array([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]), "server"],
  ["64 KiB of zeros", new Uint8Array(65_536)],
  ["8,193 bytes", utf8(`${"SSH-2.0-".padEnd(8193, "x")}\r\n`)],
  ["8,193 bytes, the end still to come", utf8("SSH-2.0-".padEnd(8193, "x"))],
  ["a NUL", utf8(`SSH-2.0-${MARKER}\0x\r\n`)],
  ["an escape", utf8(`SSH-2.0-${MARKER}\x1b[2Jx\r\n`)],
  ["a byte 0x80", concat(utf8(`SSH-2.0-${MARKER}`), new Uint8Array([0x80]), utf8("\r\n"))],
  ["a lone carriage return", utf8(`SSH-2.0-${MARKER}\rx\r\n`)],
  ["version 1.5", utf8("SSH-1.5-x\r\n")],
  ["version 3.0", utf8("SSH-3.0-x\r\n")],
  ["no software version", utf8("SSH-2.0-\r\n")],
  ["no second dash", utf8("SSH-2.0\r\n")],
];

for (const role of roles) {
  Deno.test(`a ${role} closes on what is no identification, before it reads on`, async () => {
    for (const [name, bytes, side] of bad) {
      if (side !== undefined && side !== role) continue;
      await named(name, async () => {
        const victim = attacked(role, bytes);
        await expectClose(victim, VERSION, identifyUnread);
      });
    }
  });

  // Rows 4, 5, 7 and 9; the exchange hash fails if the line is not hashed without its end.
  Deno.test(`a ${role} takes the longest line, lines without CR, and 1.99`, async () => {
    for (
      const [ident, wire] of [
        ["SSH-2.0-".padEnd(8192, "x"), `${"SSH-2.0-".padEnd(8192, "x")}\r\n`],
        ["SSH-2.0- ", "SSH-2.0- \r\n"],
        ["SSH-2.0- X", "SSH-2.0- X\n"],
        ["SSH-2.0-".padEnd(300, "x"), `${"SSH-2.0-".padEnd(300, "x")}\r\n`],
        ["SSH-2.0-x", "SSH-2.0-x\n"],
        ["SSH-1.99-x comment here", "SSH-1.99-x comment here\r\n"],
      ] as const
    ) {
      await named(ident, async () => {
        const tap = (written: Uint8Array<ArrayBuffer>, offset: number) => offset === 0 ? utf8(wire) : written;
        const victim = new Victim(role, {
          peer: { ident },
          pair: { tap: role === "server" ? { toServer: tap } : { toClient: tap } },
        });
        await victim.handshake();
        assertEquals(victim.transport.info.remoteIdent, ident);
        await finish(victim);
      });
    }
  });

  // Row 9.
  Deno.test(`a ${role} takes identification and KEXINIT in one segment, and split anywhere`, async () => {
    const identLength = "SSH-2.0-raw_peer\r\n".length;
    const splits = Array.from({ length: identLength + 24 }, (_, i) => i);
    for (let at = identLength + 24; at < 900; at += 37) splits.push(at);
    for (const split of splits) {
      await named(`split at ${split}`, async () => {
        const victim = new Victim(role);
        const { peer } = victim;
        await peer.kexInit();
        const bytes = concat(utf8(peer.ident + "\r\n"), await peer.packet(peer.machine!.kexInit));
        await peer.sendRaw(bytes.subarray(0, split));
        await turns(1);
        await peer.sendRaw(bytes.subarray(split));
        await takeIdent(peer);
        await peer.runExchange();
        assertEquals(await victim.started, null);
        await finish(victim);
      });
    }
  });

  // Row 10: the clock runs from the start and nothing that arrives winds it up. That it runs while bytes come as fast as they can
  // stands in server_limits_test.ts.
  Deno.test(`a ${role} closes at its deadline on a peer that sends its identification byte by byte`, async () => {
    using time = new FakeTime();
    const victim = new Victim(role);
    const way = role === "server" ? victim.pair.toServer : victim.pair.toClient;
    const limit = role === "server" ? 120_000 : 30_000, each = 5_000;
    const error = await expectClose(victim, [null, KEY_EXCHANGE_FAILED], async (peer) => {
      const bytes = utf8("SSH-2.0-" + "x".repeat(100));
      for (let at = 0; (at + 1) * each < limit; at++) {
        await peer.sendRaw(bytes.subarray(at, at + 1));
        await until(() => way.delivered === at + 1, "The byte was not read");
        time.tick(each);
        assert(victim.transport.isActive, `It ended after ${(at + 1) * each} ms`);
      }
      time.tick(each);
      assert(!victim.transport.isActive, `It lives on after ${limit} ms`);
      await takeIdent(peer);
    });
    assert(error.message.includes(`took longer than ${limit} ms`), error.message);
  });
}
