// Attacks on the binary packet protocol (RFC 4253 section 6): rows 12 to 28, before keys and under every family of ciphers.
// Held at the unit already: row 19 for every byte of 4 KiB and row 20 for every cipher and MAC in tests/crypto/ciphers_test.ts; row 27
// for the expansion itself in tests/transport/compression_test.ts; row 23 in tests/crypto/chacha20_poly1305_test.ts (no nonce twice) and
// tests/transport/rekey_policy_test.ts (a rekey at 2^31 packets at the latest).
import { assert, assertEquals } from "@std/assert";
import { DisconnectReason, SshDisconnectError } from "../../lib/errors.ts";
import { Disconnect, Unimplemented } from "../../lib/transport/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import type { RawPeer } from "../_support/raw_peer.ts";
import { inTime, until } from "../_support/until.ts";
import { FakeTime } from "../_support/fake_time.ts";
import {
  concat,
  debugMessage,
  expectAlive,
  expectClose,
  finish,
  ignoreMessage,
  MARKER,
  memoryInUse,
  named,
  plainPacket,
  type Role,
  roles,
  unimplementedMessage,
  utf8,
  Victim,
  type VictimOptions,
} from "../_support/attack.ts";
import { lz77Compressor } from "../_support/lz77.ts";

const { PROTOCOL_ERROR, KEY_EXCHANGE_FAILED, MAC_ERROR, COMPRESSION_ERROR } = DisconnectReason;

const families = [
  ["chacha20-poly1305@openssh.com", "hmac-sha2-256"],
  ["aes128-gcm@openssh.com", "hmac-sha2-256"],
  ["aes128-ctr", "hmac-sha2-256-etm@openssh.com"],
  ["aes128-ctr", "hmac-sha2-256"],
] as const;

function family([cipher, mac]: readonly [string, string]): VictimOptions {
  const algorithms = { cipher: [cipher], mac: [mac] };
  return { transport: { algorithms }, peer: { algorithms } };
}

/** A packet as the sealer makes it, with a packet_length and a padding_length that may lie about `body`. */
async function sealed(peer: RawPeer, length: number, padding: number, body: Uint8Array): Promise<Bytes> {
  const { sealer } = peer;
  const head = sealer.lengthPadded ? 5 : 1;
  const rest = new Uint8Array(Math.ceil((head + body.length) / 16) * 16 - head);
  rest.set(body);
  const end = 5 + rest.length + sealer.tagLength;
  const workspace = sealer.workspace(end);
  workspace.set(plainPacket(length, padding, rest));
  const out = await sealer.seal(workspace, [end], peer.sequence);
  peer.sequence = (peer.sequence + 1) >>> 0;
  return out.slice();
}

/** A victim before keys, and one under each family; what is sent differs in nothing but the seal. */
async function* victims(role: Role): AsyncGenerator<[string, Victim]> {
  const victim = new Victim(role);
  await victim.peer.identify();
  await victim.peer.receiveType(Msg.KEXINIT);
  yield ["before keys", victim];
  for (const names of families) {
    const victim = new Victim(role, family(names));
    await victim.handshake();
    yield [names.join(" "), victim];
  }
}

async function each(role: Role, name: string, act: (victim: Victim) => Promise<unknown>): Promise<void> {
  for await (const [cipher, victim] of victims(role)) await named(`${name}, ${cipher}`, () => act(victim));
}

const headLength = (peer: RawPeer) => peer.sealer.blockSize === 16 && peer.sealer.lengthPadded ? 16 : 4;

for (const role of roles) {
  // Rows 12 and 13. Nothing behind the length is sent: it is refused as soon as it can be read.
  Deno.test(`a ${role} closes on a packet_length that is too small or too large, at its last byte`, async () => {
    for (const length of [0, 1, 4, 262_145, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      await each(role, `${length}`, (victim) =>
        expectClose(victim, PROTOCOL_ERROR, async (peer) => {
          const packet = await sealed(peer, length, 4, utf8(MARKER.padEnd(20)));
          await peer.sendRaw(packet.subarray(0, headLength(peer)));
        }));
    }
  });

  // Row 13, with the junk behind it.
  Deno.test(`a ${role} does not hold what follows a bad packet_length`, async () => {
    await each(role, "junk", (victim) =>
      expectClose(victim, PROTOCOL_ERROR, async (peer) => {
        await peer.sendRaw(concat(await sealed(peer, 0xffff_ffff, 4, new Uint8Array(20)), new Uint8Array(65_536)));
      }));
  });

  // Row 14.
  Deno.test(`a ${role} closes on a packet_length that is no whole number of blocks`, async () => {
    for (const length of [13, 17, 18, 41]) {
      await each(role, `${length}`, (victim) =>
        expectClose(victim, PROTOCOL_ERROR, async (peer) => {
          await peer.sendRaw(await sealed(peer, length, 4, new Uint8Array(50)));
        }));
    }
  });

  // Rows 15, 16 and 18: packets that are sealed as they should be, with nonsense inside.
  Deno.test(`a ${role} closes on padding that does not fit, and on messages that are empty or of number 0`, async () => {
    const cases: [string, number, Uint8Array][] = [
      ...[0, 1, 2, 3].map((n): [string, number, Uint8Array] => [`padding ${n}`, n, new Uint8Array(64).fill(80)]),
      ["padding past the end", 255, new Uint8Array(64).fill(80)],
      ["message number 0", 8, new Uint8Array(64)],
    ];
    for (const [name, padding, body] of cases) {
      await each(role, name, (victim) =>
        expectClose(victim, PROTOCOL_ERROR, async (peer) => {
          const { blockSize, lengthPadded } = peer.sealer;
          const length = 4 * Math.max(8, blockSize) - (lengthPadded ? 4 : 0);
          await peer.sendRaw(await sealed(peer, length, padding, body.subarray(0, length - 1)));
        }));
    }
    // Padding that takes all there is, and one byte more and less than that.
    for (const more of [-1, 0, 1, 2]) {
      await each(role, `padding of all but ${more}`, (victim) =>
        expectClose(victim, PROTOCOL_ERROR, async (peer) => {
          const length = Math.max(8, peer.sealer.blockSize) * 2 - (peer.sealer.lengthPadded ? 4 : 0);
          await peer.sendRaw(await sealed(peer, length, length - Math.max(1, 1 - more), new Uint8Array(length - 1)));
        }));
    }
  });

  // Row 17; that the buffer holds no more than has come stands in tests/transport/framer_test.ts.
  Deno.test(`a ${role} closes at its deadline on a large packet that comes byte by byte`, async () => {
    using time = new FakeTime();
    const victim = new Victim(role), { pair } = victim, way = role === "server" ? pair.toServer : pair.toClient;
    const limit = role === "server" ? 120_000 : 30_000, each = 1_000;
    const error = await expectClose(victim, KEY_EXCHANGE_FAILED, async (peer) => {
      await peer.identify();
      await peer.sendRaw(plainPacket(262_140, 4, new Uint8Array(0)));
      for (let passed = each; passed <= limit; passed += each) {
        await peer.sendRaw(new Uint8Array(1));
        await until(() => way.delivered === way.written, "The byte was not read");
        time.tick(each);
        assertEquals(victim.transport.isActive, passed < limit, `after ${passed} ms`);
      }
    });
    assert(error.message.includes(`${limit} ms`), error.message);
  });

  for (const names of families) {
    const [cipher, mac] = names;

    // Rows 19 and 20, behind the transport.
    Deno.test(`a ${role} closes on packets changed, replayed, dropped or swapped: ${cipher} ${mac}`, async () => {
      // A length that comes out as any number may be one that can be: what it claims has come then.
      const behind = new Uint8Array(300_000);
      const packet = (peer: RawPeer, text: string) => peer.packet(new Writer().u8(80).text(MARKER + text).bytes());
      const attacks: [string, (peer: RawPeer) => Promise<Bytes>][] = [
        ["replayed", async (peer) => {
          const first = await packet(peer, "a");
          await peer.sendRaw(first);
          return first;
        }],
        ["dropped", async (peer) => (await packet(peer, "a"), await packet(peer, "b"))],
        ["swapped", async (peer) => {
          const first = await packet(peer, "a");
          return concat(await packet(peer, "b"), first);
        }],
        ["a tag one byte short", async (peer) => {
          const first = await packet(peer, "a"), next = await packet(peer, "b");
          // What follows does not begin with the byte that is missing.
          const behind = next[0] === first.at(-1) ? next.map((byte) => byte ^ 1) : next;
          return concat(first.subarray(0, -1), behind, new Uint8Array(64));
        }],
      ];
      for (let at = 0; at < 10; at++) {
        attacks.push([`bit ${at % 8} of byte ${16 + at} flipped`, async (peer) => {
          const bytes = await packet(peer, "a");
          bytes[16 + at]! ^= 1 << (at % 8);
          return bytes;
        }]);
        attacks.push([`byte ${at} of the tag flipped`, async (peer) => {
          const bytes = await packet(peer, "a");
          bytes[bytes.length - 1 - at]! ^= 0x80;
          return bytes;
        }]);
      }
      for (const [name, attack] of attacks) {
        await named(name, async () => {
          const victim = new Victim(role, family(names));
          await victim.handshake();
          let replayed = 0;
          if (name === "replayed") {
            // The first of the two is as good as any.
            await victim.peer.sendRaw(concat(await attack(victim.peer), behind)).catch(() => {});
            await until(() => !victim.transport.isActive, "It lives");
            replayed = victim.messages.length;
            await expectClose(victim, [MAC_ERROR, PROTOCOL_ERROR], () => Promise.resolve());
            assertEquals(replayed, 1);
            return;
          }
          // Out of order, an encrypted length comes out as any number, and so does what follows a short tag.
          const isFlip = name.includes("flipped"), reason = isFlip ? MAC_ERROR : [MAC_ERROR, PROTOCOL_ERROR];
          await expectClose(victim, reason, async (peer) => {
            const bytes = await attack(peer);
            await peer.sendRaw(isFlip ? bytes : concat(bytes, behind)).catch(() => {});
          });
        });
      }
    });

    // Row 21: 300 KiB behind the packet are more than any length may claim.
    Deno.test(`a ${role} closes on a changed length within 256 KiB: ${cipher} ${mac}`, async () => {
      for (let bit = 0; bit < 32; bit += 3) {
        await named(`bit ${bit}`, async () => {
          const victim = new Victim(role, { ...family(names), pair: { chunks: "whole" } });
          await victim.handshake();
          await expectClose(victim, [PROTOCOL_ERROR, MAC_ERROR], async (peer) => {
            const bytes = await peer.packet(new Writer().u8(80).text(MARKER).bytes());
            bytes[bit >> 3]! ^= 1 << (bit & 7);
            await peer.sendRaw(concat(bytes, new Uint8Array(300_000))).catch(() => {});
          });
        });
      }
    });
  }

  // Row 24.
  Deno.test(`a ${role} answers what it does not know with UNIMPLEMENTED, and that with nothing`, async () => {
    const victim = new Victim(role, { known: (type) => type === 90 });
    await victim.handshake();
    const { peer } = victim;
    const unknown = [8, 19, 99, 101, 110, 127, 128, 150, 191, 194, 199, 255];
    for (const type of unknown) {
      await peer.send(ignoreMessage);
      await peer.send(debugMessage);
      await peer.send(unimplementedMessage);
      await peer.send(new Uint8Array([Msg.PONG, 0, 0, 0, 0]));
      const { sequence } = peer;
      await peer.send(new Uint8Array([type, 1, 2, 3]));
      const answer = Unimplemented.decode(await inTime(peer.receiveType(Msg.UNIMPLEMENTED), `type ${type}`));
      assertEquals(answer.sequence, sequence, `type ${type}`);
    }
    assertEquals(peer.received.filter(([type]) => type === Msg.UNIMPLEMENTED).length, unknown.length);
    await expectAlive(victim);
  });

  // Row 25.
  Deno.test(`a ${role} closes on DEBUG and DISCONNECT cut short, and cleans the text of a DISCONNECT`, async () => {
    const disconnect = Disconnect.encode({ reason: 2, description: `${MARKER}`, language: "en" });
    // A DISCONNECT counts once its description is whole (C3 of the cases).
    for (const [message, last] of [[debugMessage, 1], [disconnect, 7]] as const) {
      for (const cut of [1, 2, 4, 6, 9, message.length - last]) {
        await named(`message ${message[0]} cut at ${cut}`, async () => {
          const victim = new Victim(role);
          await victim.handshake();
          await expectClose(victim, PROTOCOL_ERROR, (peer) => peer.send(message.subarray(0, cut)));
        });
      }
    }
    for (
      const description of ["\x1b]0;owned\x07\r\nlogin: ", "\u202egnp.exe\u2066", "\x9b2J", "x".repeat(200_000), ""]
    ) {
      const victim = new Victim(role);
      await victim.handshake();
      const error = await expectClose(
        victim,
        null,
        (peer) => peer.send(Disconnect.encode({ reason: 2, description, language: "" })),
      );
      assert(error instanceof SshDisconnectError);
      assertEquals(error.reason, 2);
      assert(error.message.length < 400);
      assert(!/[\u202a-\u202e\u2066-\u2069]/.test(error.message));
    }
  });

  // Row 26.
  Deno.test(`a ${role} answers PING one for one after login, and not at all before`, async () => {
    const ping = (n: number) => new Writer().u8(Msg.PING).string(new Uint8Array(64).fill(n)).bytes();
    const victim = new Victim(role);
    await victim.handshake(false);
    const { peer, transport } = victim;
    const early = new Writer().u8(Msg.PING).text("before login").bytes();
    for (let i = 0; i < 1000; i++) await peer.send(early);
    await peer.send(new Uint8Array([90, 1]));
    await until(() => victim.messages.length === 1, "The message did not come");
    assertEquals(transport.provoked.messages, 0);
    transport.setAuthenticated();
    for (let i = 0; i < 1000; i++) {
      await peer.send(ping(i));
      const pong = await peer.receiveType(Msg.PONG);
      assertEquals(pong.subarray(1), ping(i).subarray(1));
    }
    assertEquals(peer.received.filter(([type]) => type === Msg.PONG).length, 1000);
    // In an exchange that the peer has begun it is an error.
    await expectClose(victim, PROTOCOL_ERROR, async (peer) => {
      await peer.send(await peer.kexInit());
      await peer.send(ping(1));
    });
  });

  // The answer is as long as the question: one that would make a packet no peer takes is not given.
  Deno.test(`a ${role} answers large PINGs, and lives on after the largest`, async () => {
    const victim = new Victim(role, { pair: { chunks: "whole" } });
    await victim.handshake();
    const { peer, transport } = victim;
    for (const size of [261_110, 261_120, 261_200, 262_095, 262_096, 262_120]) {
      await peer.send(new Writer().u8(Msg.PING).string(new Uint8Array(size)).bytes());
    }
    await peer.send(new Writer().u8(Msg.PING).text("last").bytes());
    const answers: number[] = [];
    while (answers.at(-1) !== 9) answers.push((await peer.receiveType(Msg.PONG)).length);
    assertEquals(answers, [261_115, 261_125, 261_205, 262_100, 9]);
    assert(transport.isActive);
    await finish(victim);
  });

  // Row 26: what the peer provokes and does not read is bounded.
  Deno.test(`a ${role} closes when PONGs pile up that nobody reads`, async () => {
    const victim = new Victim(role, { pair: { highWaterMark: 1024 } });
    await victim.handshake();
    const { peer, transport } = victim;
    const pings = new Writer().u8(Msg.PING).string(new Uint8Array(16_384)).bytes();
    let most = 0;
    for (let i = 0; i < 2000 && transport.isActive; i++) {
      await peer.send(pings).catch(() => {});
      most = Math.max(most, transport.provoked.bytes);
    }
    assert(!transport.isActive, "It still takes PINGs");
    assert(most < 5 << 20, `${most} bytes were queued`);
    const error = await inTime(transport.closed.then(() => null, (error) => error), "The end");
    assertEquals(error.reason, PROTOCOL_ERROR);
    await peer.close();
  });
}

// Row 27, behind the transport: only what the client sends is compressed, so that the answer can be read.
Deno.test("a server takes compressed packets up to its limit, and closes on bombs and broken streams", async () => {
  const compression = ["zlib@openssh.com", "none"];
  const connected = async () => {
    const victim = new Victim("server", { transport: { algorithms: { compression } } });
    await victim.peer.identify();
    await victim.sendKexInit((values) => ({
      ...values,
      compressionClientToServer: ["zlib@openssh.com"],
      compressionServerToClient: ["none"],
    }));
    await victim.peer.runExchange();
    assertEquals(await victim.started, null);
    victim.transport.setAuthenticated();
    return victim;
  };
  const legitimate = await connected();
  const compressor = lz77Compressor();
  for (const size of [1, 1000, 100_000, 262_143]) {
    await legitimate.peer.send(compressor.compress(concat(new Uint8Array([94]), new Uint8Array(size))));
    await until(() => legitimate.messages.at(-1)?.length === size + 1, `${size} bytes did not come`);
  }
  await legitimate.peer.send(compressor.compress(new Uint8Array([90, 1, 2, 3])));
  await until(() => legitimate.messages.at(-1)?.[0] === 90, "The last did not come");
  await finish(legitimate);

  const just = lz77Compressor().compress(concat(new Uint8Array([94]), new Uint8Array(262_144)));
  const bomb = lz77Compressor().compress(concat(new Uint8Array([94]), new Uint8Array(64 << 20)));
  for (const [name, payload] of [["one byte over", just], ["64 MiB", bomb], ["no zlib", utf8(MARKER)]] as const) {
    await named(name, async () => {
      const victim = await connected();
      await expectClose(victim, COMPRESSION_ERROR, (peer) => peer.send(payload));
    });
  }
});

// Row 28.
Deno.test("a server offers no compression that starts before login", async () => {
  for (const compression of [["none"], ["zlib@openssh.com", "none"]]) {
    const victim = new Victim("server", { transport: { algorithms: { compression } } });
    const error = await expectClose(victim, KEY_EXCHANGE_FAILED, async (peer) => {
      await peer.identify();
      await victim.sendKexInit((values) => ({
        ...values,
        compressionClientToServer: ["zlib"],
        compressionServerToClient: ["zlib"],
      }));
    });
    assertEquals(error.code, "NO_COMMON_ALGORITHM");
    assert(error.message.includes("compression"));
  }
});

// The last line of what CLOSE means: a thousand repeats leave nothing behind.
Deno.test("memory stays flat over a thousand refused connections", async () => {
  const once = async () => {
    const victim = new Victim("server", { pair: { chunks: "whole" } });
    await expectClose(victim, PROTOCOL_ERROR, async (peer) => {
      await peer.identify();
      await peer.sendRaw(concat(plainPacket(262_148, 4, new Uint8Array(0)), new Uint8Array(65_536)));
    });
  };
  for (let i = 0; i < 100; i++) await once();
  const before = await memoryInUse();
  for (let i = 0; i < 1000; i++) await once();
  const grown = (await memoryInUse() - before) / 1e6;
  assert(grown < 3, `${grown.toFixed(1)} MB more`);
});
