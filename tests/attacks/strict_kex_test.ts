// Attacks on strict key exchange (OpenSSH PROTOCOL section 1.9), Terrapin and its family, and EXT_INFO (RFC 8308): rows 43 to 50.
// Row 46: that no CBC cipher is offered by default stands in tests/crypto/algorithms_test.ts.
import { assertEquals, assertStringIncludes } from "@std/assert";
import { DisconnectReason } from "../../lib/errors.ts";
import { encodeExtInfo } from "../../lib/transport/ext_info.ts";
import { KexInit, Unimplemented } from "../../lib/transport/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { inTime, until } from "../_support/until.ts";
import {
  concat,
  debugMessage,
  expectAlive,
  expectClose,
  hostKey,
  ignoreMessage,
  MARKER,
  named,
  plainPacket,
  roles,
  unimplementedMessage,
  utf8,
  Victim,
} from "../_support/attack.ts";

const { PROTOCOL_ERROR, KEY_EXCHANGE_FAILED, MAC_ERROR } = DisconnectReason;

const extInfo = (entries: [string, Uint8Array][]): Bytes => encodeExtInfo(new Map(entries));
const sigAlgs = extInfo([["server-sig-algs", utf8("ssh-rsa")]]);

const secondKexInit = KexInit.encode({
  cookie: new Uint8Array(16),
  kex: ["curve25519-sha256"],
  hostKey: ["ssh-ed25519"],
  cipherClientToServer: ["aes128-gcm@openssh.com"],
  cipherServerToClient: ["aes128-gcm@openssh.com"],
  macClientToServer: ["none"],
  macServerToClient: ["none"],
  compressionClientToServer: ["none"],
  compressionServerToClient: ["none"],
  languageClientToServer: [],
  languageServerToClient: [],
  firstKexPacketFollows: false,
  reserved: 0,
});

// Rows 43, 48 and 49: the last two are EXT_INFO and USERAUTH_REQUEST in the clear.
const injected: readonly [name: string, message: Uint8Array, eaten: boolean][] = [
  ["IGNORE", ignoreMessage, true],
  ["DEBUG", debugMessage, true],
  ["UNIMPLEMENTED", unimplementedMessage, true],
  ["EXT_INFO", sigAlgs, false],
  ["PING", new Writer().u8(Msg.PING).text(MARKER).bytes(), false],
  ["message 200", new Uint8Array([200, 1, 2, 3]), false],
  ["SERVICE_REQUEST", new Writer().u8(Msg.SERVICE_REQUEST).text("ssh-userauth").bytes(), false],
  [
    "USERAUTH_REQUEST",
    new Writer().u8(Msg.USERAUTH_REQUEST).text(MARKER).text("ssh-connection").text("none").bytes(),
    false,
  ],
  ["a second KEXINIT", secondKexInit, false],
];

for (const role of roles) {
  // Row 43: 9 messages at 5 places, with and without strict key exchange.
  Deno.test(`a ${role} under strict key exchange closes on every message that does not belong there`, async () => {
    for (const [name, message] of injected) {
      for (const place of [0, 1, 2, 3, 4] as const) {
        await named(`${name} at place ${place}`, async () => {
          const victim = new Victim(role);
          await expectClose(victim, [PROTOCOL_ERROR, KEY_EXCHANGE_FAILED], async (peer) => {
            await victim.play(place);
            await peer.send(message);
            // Before KEXINIT nobody knows yet that the exchange will be strict.
            if (place === 0) await victim.sendKexInit().catch(() => {});
          });
          assertEquals(victim.transport.extensions.size, 0);
        });
      }
    }
  });

  Deno.test(`a ${role} without strict key exchange takes IGNORE, DEBUG and UNIMPLEMENTED there, and nothing else`, async () => {
    for (const [name, message, eaten] of injected) {
      for (const place of [0, 1, 2, 3, 4] as const) {
        await named(`${name} at place ${place}`, async () => {
          const victim = new Victim(role, { peer: { strict: false } });
          if (!eaten) {
            await expectClose(victim, [PROTOCOL_ERROR, KEY_EXCHANGE_FAILED], async (peer) => {
              await victim.play(place);
              await peer.send(message);
              if (place === 0) await victim.sendKexInit().catch(() => {});
            });
            assertEquals(victim.transport.extensions.size, 0);
            return;
          }
          await victim.play(5, async (at) => {
            if (at === place) await victim.peer.send(message);
          });
          assertEquals(await victim.started, null);
          await expectAlive(victim);
        });
      }
    }
  });

  // Row 44. AES-GCM does not use the number.
  Deno.test(`a ${role} closes on a strict peer that does not start its numbers anew, at either NEWKEYS`, async () => {
    for (const cipher of ["chacha20-poly1305@openssh.com", "aes128-ctr"]) {
      const peer = { algorithms: { cipher: [cipher] } };
      const first = new Victim(role, { peer });
      await first.handshake();
      await expectClose(first, [MAC_ERROR, PROTOCOL_ERROR], async (peer) => {
        peer.sequence = 3;
        await peer.send(ignoreMessage);
      });
      const second = new Victim(role, { peer });
      await second.handshake();
      await second.peer.send(ignoreMessage);
      await second.peer.rekey();
      await expectClose(second, [MAC_ERROR, PROTOCOL_ERROR], async (peer) => {
        peer.sequence = 4;
        await peer.send(ignoreMessage);
      });
    }
  });

  // Row 44 the other way: a peer that did not say it is strict may not start anew.
  Deno.test(`a ${role} closes on a peer that starts its numbers anew without strict key exchange`, async () => {
    const victim = new Victim(role, { peer: { strict: false, algorithms: { cipher: ["aes128-ctr"] } } });
    await victim.handshake();
    await expectClose(victim, [MAC_ERROR, PROTOCOL_ERROR], async (peer) => {
      peer.sequence = 0;
      await peer.send(ignoreMessage);
    });
  });

  // Row 45.
  Deno.test(`a ${role} takes the marker of strict key exchange from the first KEXINIT of the right side only`, async () => {
    const theirs = role === "server" ? "c" : "s", ours = role === "server" ? "s" : "c";
    const cipher = ["chacha20-poly1305@openssh.com"];
    const wrong = new Victim(role, { peer: { strict: false, algorithms: { cipher } } });
    await wrong.play(0);
    await wrong.sendKexInit((values) => ({
      ...values,
      kex: [...values.kex, `kex-strict-${ours}-v00@openssh.com`, `kex-strict-${ours}`],
    }));
    await wrong.peer.runExchange();
    assertEquals(await wrong.started, null);
    assertEquals(wrong.transport.info.strictKex, false);
    await expectAlive(wrong);

    const late = new Victim(role, { peer: { strict: false, algorithms: { cipher } } });
    await late.handshake();
    for (let i = 0; i < 2; i++) {
      await late.sendKexInit((values) => ({ ...values, kex: [...values.kex, `kex-strict-${theirs}-v00@openssh.com`] }));
      await late.peer.runExchange();
      await late.peer.send(ignoreMessage);
    }
    assertEquals(late.transport.info.strictKex, false);
    await expectAlive(late);
  });

  // Row 46.
  Deno.test(`a ${role} tells of a connection without strict key exchange, and refuses it on demand`, async () => {
    const peer = { strict: false, algorithms: { cipher: ["chacha20-poly1305@openssh.com"] } };
    const victim = new Victim(role, { peer });
    await victim.handshake();
    assertEquals(victim.transport.info.strictKex, false);
    await expectAlive(victim);
    const strict = new Victim(role, { peer, transport: { requireStrictKex: true } });
    const error = await expectClose(strict, KEY_EXCHANGE_FAILED, async (peer) => {
      await peer.identify();
      await strict.sendKexInit();
    });
    assertStringIncludes(error.message, "requireStrictKex");
    const good = new Victim(role, { transport: { requireStrictKex: true } });
    await good.handshake();
    assertEquals(good.transport.info.strictKex, true);
    await expectAlive(good);
  });

  // Row 50.
  // C6
  Deno.test(`a ${role} bounds EXT_INFO, its number, its entries and its place`, async () => {
    const raw = (count: number, ...rest: Uint8Array[]) => concat(new Writer().u8(7).u32(count).bytes(), ...rest);
    const entry = new Writer().text("a").text("b").bytes();
    // The first three by their number alone: what follows is not looked at, and could not be read.
    const counted = "it claims ", garbage = new Uint8Array(100_000).fill(0xff);
    const cases: [name: string, messages: readonly Uint8Array[], says?: string][] = [
      ["2^32 - 1 entries", [raw(0xffff_ffff, garbage)], `${counted}4294967295 extensions`],
      ["1024 entries", [raw(1024, garbage)], `${counted}1024 extensions`],
      ["65 entries", [raw(65, garbage)], `${counted}65 extensions`],
      ["65 sound entries", [raw(65, ...Array.from({ length: 65 }, () => entry))], `${counted}65 extensions`],
      ["an entry less than it says", [raw(2, entry)]],
      ["an entry more than it says", [raw(0, entry)]],
      ["an entry cut short", [raw(1, entry.subarray(0, -1))]],
      ["a name that is none", [raw(1, new Writer().text("a\0").text("b").bytes())]],
    ];
    for (const [name, messages, says = ""] of cases) {
      await named(name, async () => {
        const victim = new Victim(role);
        await victim.handshake(false);
        const error = await expectClose(victim, PROTOCOL_ERROR, async (peer) => {
          for (const message of messages) await peer.send(message);
        });
        assertStringIncludes(error.message, says);
      });
    }
    // C6 of the cases: in any place and number it ends nothing. What is too many is not looked at, before the login and behind it.
    const most = role === "server" ? 1 : 2, unreadable = raw(0xffff_ffff, garbage);
    for (const login of [false, true]) {
      const many = new Victim(role);
      await many.handshake(login);
      await many.peer.send(ignoreMessage);
      await many.peer.send(new Uint8Array([94]));
      for (let i = 0; i < most; i++) await many.peer.send(extInfo([[`n${i}`, utf8("x")]]));
      for (const more of [sigAlgs, unreadable]) {
        const { sequence } = many.peer;
        await many.peer.send(more);
        const answer = Unimplemented.decode(await inTime(many.peer.receiveType(Msg.UNIMPLEMENTED), "the answer"));
        assertEquals(answer.sequence, sequence);
      }
      assertEquals([...many.transport.extensions.keys()], Array.from({ length: most }, (_, i) => `n${i}`));
      await expectAlive(many);
      const late = new Victim(role);
      await late.handshake(login);
      await late.peer.send(new Uint8Array([94]));
      await until(() => late.messages.length === 1, "The message did not come");
      await expectClose(late, PROTOCOL_ERROR, (peer) => peer.send(unreadable));
    }

    const good = new Victim(role);
    await good.handshake(false);
    await good.peer.send(extInfo([["server-sig-algs", utf8("ssh-ed25519")], ["x@y", utf8("a\0b")]]));
    await good.peer.send(new Uint8Array([94]));
    await expectAlive(good);
    assertEquals(good.transport.extensions.get("server-sig-algs"), utf8("ssh-ed25519"));
    assertEquals(good.transport.extensions.get("x@y"), utf8("a\0b"));
  });
}

// Row 47: the published attack on chacha20-poly1305, as its proof of concept does it: an IGNORE is put in before NEWKEYS, and the
// server's first packet under the new keys, EXT_INFO, is taken out. Without strict key exchange nobody notices, which shows that
// the attack is the right one.
for (const strict of [false, true]) {
  Deno.test(`Terrapin takes EXT_INFO from a client ${strict ? "in vain" : "without strict key exchange"}`, async () => {
    let drop = false, dropped = 0;
    const ignore = plainPacket(12, 6, concat(new Uint8Array([Msg.IGNORE, 0, 0, 0, 0]), new Uint8Array(6)));
    const victim = new Victim("client", {
      peer: { strict, hostKey, algorithms: { cipher: ["chacha20-poly1305@openssh.com"] } },
      pair: {
        tap: {
          toClient: (bytes) => {
            if (drop && dropped === 0) {
              dropped++;
              return new Uint8Array(0);
            }
            if (!drop && bytes[5] === Msg.NEWKEYS && bytes[0] === 0) {
              drop = true;
              return concat(ignore, bytes);
            }
            return bytes;
          },
        },
      },
    });
    const attack = async () => {
      await victim.peer.handshake().catch(() => {});
      await victim.peer.send(sigAlgs).catch(() => {});
    };
    if (strict) {
      victim.readReason = () => Promise.resolve(PROTOCOL_ERROR);
      await expectClose(victim, PROTOCOL_ERROR, attack);
    } else {
      await attack();
      assertEquals(await victim.started, null);
      await expectAlive(victim);
    }
    assertEquals(dropped, 1);
    assertEquals(victim.transport.extensions.size, 0);
  });
}
