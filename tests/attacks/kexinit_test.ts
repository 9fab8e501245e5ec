// Attacks on KEXINIT and negotiation (RFC 4253 sections 7 and 9): rows 29 to 42.
// Held at the unit already: the limits of a name-list and its names (rows 30 and 31) in tests/wire/reader_test.ts.
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { DisconnectReason, SshProtocolError } from "../../lib/errors.ts";
import { GexRequest, KexInit, type KexInitValues } from "../../lib/transport/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { FakeTime } from "../_support/fake_time.ts";
import {
  concat,
  expectAlive,
  expectClose,
  memoryInUse,
  named,
  roles,
  utf8,
  Victim,
  type VictimOptions,
} from "../_support/attack.ts";

const { PROTOCOL_ERROR, KEY_EXCHANGE_FAILED } = DisconnectReason;

const values: KexInitValues = {
  cookie: new Uint8Array(16),
  kex: ["curve25519-sha256"],
  hostKey: ["ssh-ed25519"],
  cipherClientToServer: ["aes128-ctr"],
  cipherServerToClient: ["aes128-ctr"],
  macClientToServer: ["hmac-sha2-256-etm@openssh.com"],
  macServerToClient: ["hmac-sha2-256-etm@openssh.com"],
  compressionClientToServer: ["none"],
  compressionServerToClient: ["none"],
  languageClientToServer: [],
  languageServerToClient: [],
  firstKexPacketFollows: false,
  reserved: 0,
};
const lists = Object.keys(values).slice(1, 11) as (keyof KexInitValues)[];

/** A KEXINIT with one list, or its length, replaced by raw bytes. */
function withList(list: keyof KexInitValues, names: Uint8Array, length = names.length): Bytes {
  const w = new Writer().u8(Msg.KEXINIT).raw(values.cookie);
  for (const key of lists) {
    if (key === list) w.u32(length).raw(names);
    else w.nameList(values[key] as readonly string[]);
  }
  return w.bool(false).u32(0).bytes();
}

/** The same KEXINIT with its lists of names written in another way; empty ones stay. */
function withCommas(kexInit: Uint8Array, change: (names: string, i: number) => string, follows = false): Bytes {
  const reader = new Reader(kexInit, 17), w = new Writer().raw(kexInit.subarray(0, 17));
  lists.forEach((_, i) => {
    const names = new TextDecoder().decode(reader.view());
    w.text(names === "" ? "" : change(names, i));
  });
  return w.bool(follows).u32(0).bytes();
}

/** Sends a KEXINIT as it is, as the peer's first message. */
async function sendFirst(victim: Victim, kexInit: Uint8Array): Promise<void> {
  await victim.peer.identify();
  await victim.peer.send(kexInit);
}

for (const role of roles) {
  // Row 29.
  Deno.test(`a ${role} closes on a KEXINIT cut at any byte, too long, or with a lying length`, async () => {
    const whole = KexInit.encode(values);
    const cases: [string, Uint8Array][] = Array.from(whole, (_, i) => [`cut at ${i}`, whole.subarray(0, i)]);
    cases.push(["four bytes more", concat(whole, new Uint8Array(4))]);
    cases.push(["reserved", KexInit.encode({ ...values, reserved: 1 })]);
    for (const list of lists) cases.push([`length of ${list}`, withList(list, utf8("none"), 0xffff_ffff)]);
    for (const [name, bytes] of cases) {
      await named(name, async () => {
        const victim = new Victim(role);
        await expectClose(victim, PROTOCOL_ERROR, () => sendFirst(victim, bytes));
      });
    }
  });

  // Rows 30 and 31.
  Deno.test(`a ${role} closes on lists that are too long and on names that are none`, async () => {
    const many = Array.from({ length: 28_000 }, (_, i) => `n${i}`).join(",");
    const cases: [string, Uint8Array][] = [
      ["28,000 names", utf8(many)],
      ["257 names", utf8(Array.from({ length: 257 }, (_, i) => `n${i}`).join(","))],
      ["200 KiB of commas", utf8(",".repeat(200 << 10))],
      ["256 commas", utf8(",".repeat(256))],
      ["65 characters", utf8("a".repeat(65))],
      ["a NUL", utf8("a\0b")],
      ["a byte 0x80", new Uint8Array([0x61, 0x80])],
      ["a line break", utf8("a\nb")],
      ["a space", utf8("a b")],
    ];
    for (const [name, bytes] of cases) {
      for (const list of ["kex", "macServerToClient", "languageServerToClient"] as const) {
        await named(`${name} in ${list}`, async () => {
          const victim = new Victim(role);
          const kexInit = withList(list, bytes);
          await expectClose(victim, [PROTOCOL_ERROR, KEY_EXCHANGE_FAILED], () => sendFirst(victim, kexInit));
        });
      }
    }
  });

  // C1 of the cases; what row 31 wanted of empty names is that they match nothing.
  Deno.test(`a ${role} takes lists with stray commas, in every exchange, and the signature covers them as they came`, async () => {
    const forms: [string, (names: string) => string][] = [
      ["a comma last", (names) => `${names},`],
      ["a comma first", (names) => `,${names}`],
      ["commas all over", (names) => `,,${names.replaceAll(",", ",,")},,`],
      ["254 of them", (names) => names.padEnd(names.length + 254 - names.split(",").length, ",")],
    ];
    for (const [name, change] of forms) {
      await named(name, async () => {
        const victim = new Victim(role);
        await victim.peer.identify();
        for (let exchange = 0; exchange < 2; exchange++) {
          await victim.peer.kexInit();
          const kexInit = withCommas(victim.peer.machine!.kexInit, change);
          Object.defineProperty(victim.peer.machine!, "kexInit", { value: kexInit });
          await victim.peer.send(kexInit);
          await victim.peer.runExchange();
          assertEquals(await victim.started, null);
          assertEquals(victim.transport.info.strictKex, true);
        }
        await expectAlive(victim);
      });
    }
  });

  // C1: the first name is the first that is one.
  Deno.test(`a ${role} finds a guess behind a stray comma right, and one that is not the first name wrong`, async () => {
    const ours = { algorithms: { kex: ["curve25519-sha256"] } };
    for (const [before, junk] of [[",", false], [",ecdh-sha2-nistp256,", true]] as const) {
      const victim = new Victim(role, { transport: ours });
      await victim.peer.identify();
      await victim.peer.kexInit();
      const kexInit = withCommas(victim.peer.machine!.kexInit, (names, i) => i === 0 ? before + names : names, true);
      Object.defineProperty(victim.peer.machine!, "kexInit", { value: kexInit });
      await victim.peer.send(kexInit);
      if (junk) {
        const type = role === "client" ? Msg.KEX_REPLY : Msg.KEX_INIT;
        await victim.peer.send(new Writer().u8(type).string(new Uint8Array(7)).bytes());
      }
      await victim.peer.runExchange();
      assertEquals(await victim.started, null);
      await expectAlive(victim);
    }
  });

  // C1: empty names are nothing that both sides have.
  Deno.test(`a ${role} finds nothing in common in lists of commas`, async () => {
    for (const list of ["kex", "hostKey", "cipherClientToServer", "compressionServerToClient"] as const) {
      const victim = new Victim(role);
      const error = await expectClose(
        victim,
        KEY_EXCHANGE_FAILED,
        () => sendFirst(victim, withList(list, utf8(",,"))),
      );
      assertStringIncludes(error.message, "No common ");
    }
  });

  // Row 32: the victim's own pseudo names are among them, so that both lists hold them.
  Deno.test(`a ${role} never selects a pseudo name`, async () => {
    for (
      const kex of [
        ["ext-info-c"],
        ["ext-info-s"],
        ["kex-strict-s-v00@openssh.com", "ext-info-s"],
        ["kex-strict-c-v00@openssh.com", "ext-info-c"],
        ["kex-strict-c", "kex-strict-s"],
        [],
      ]
    ) {
      const victim = new Victim(role);
      const error = await expectClose(
        victim,
        KEY_EXCHANGE_FAILED,
        () => sendFirst(victim, KexInit.encode({ ...values, kex })),
      );
      assertEquals(error.code, "NO_COMMON_ALGORITHM");
    }
  });

  // Row 33.
  Deno.test(`a ${role} names the list in which nothing is common`, async () => {
    const what = ["key exchange method", "host key algorithm", "cipher from client", "cipher from server"];
    what.push("MAC from client", "MAC from server", "compression from client", "compression from server");
    for (const [i, words] of what.entries()) {
      await named(words, async () => {
        const victim = new Victim(role);
        const kexInit = KexInit.encode({ ...values, [lists[i]!]: ["nothing@example.com"] });
        const error = await expectClose(victim, KEY_EXCHANGE_FAILED, () => sendFirst(victim, kexInit));
        assertEquals(error.code, "NO_COMMON_ALGORITHM");
        assertStringIncludes(error.message, words);
        assertStringIncludes(error.message, "nothing@example.com");
      });
    }
  });

  // Row 34.
  Deno.test(`a ${role} needs no MAC in common where the cipher authenticates`, async () => {
    const victim = new Victim(role, {
      peer: { algorithms: { cipher: ["aes128-gcm@openssh.com"], mac: ["nothing@example.com"] } },
    });
    await victim.handshake();
    assertEquals(victim.transport.info.clientToServer.mac, null);
    await expectAlive(victim);
  });

  // Row 35.
  Deno.test(`a ${role} drops exactly one packet of a wrong guess, and uses a right one`, async () => {
    const junk = new Writer().u8(role === "client" ? Msg.KEX_REPLY : Msg.KEX_INIT).string(new Uint8Array(7)).bytes();
    const wrong: VictimOptions = {
      transport: { algorithms: { kex: ["curve25519-sha256"] } },
      peer: { algorithms: { kex: ["ecdh-sha2-nistp256", "curve25519-sha256"] } },
    };
    const begin = async (victim: Victim) => {
      await victim.peer.identify();
      await victim.sendKexInit((values) => ({ ...values, firstKexPacketFollows: true }));
    };
    const right = new Victim(role, { transport: { algorithms: { kex: ["curve25519-sha256"] } } });
    await begin(right);
    await right.peer.runExchange();
    assertEquals(await right.started, null);
    await expectAlive(right);

    const one = new Victim(role, wrong);
    await begin(one);
    await one.peer.send(junk);
    await one.peer.runExchange();
    assertEquals(await one.started, null);
    await expectAlive(one);

    for (const options of [wrong, { transport: wrong.transport! }]) {
      const victim = new Victim(role, options);
      await expectClose(victim, [PROTOCOL_ERROR, KEY_EXCHANGE_FAILED], async (peer) => {
        await begin(victim);
        await peer.send(junk);
        if (options === wrong) await peer.send(junk);
      });
    }
  });

  // Row 36.
  Deno.test(`a ${role} closes on key exchange messages that are out of order`, async () => {
    const string = (type: number) => new Writer().u8(type).string(new Uint8Array(32)).bytes();
    const bare = (type: number) => new Uint8Array([type]);
    const gexRequest = GexRequest.encode({ min: 2048, n: 2048, max: 8192 });
    const gex = ["diffie-hellman-group-exchange-sha256"];
    // Where in the exchange (see play()), what is sent there, and the methods on offer.
    const cases: [name: string, place: 1 | 2 | 3 | 4, messages: readonly Uint8Array[], kex?: readonly string[]][] = [
      ["NEWKEYS at once", 1, [bare(Msg.NEWKEYS)]],
      ["a second KEXINIT", 1, [KexInit.encode(values)]],
      ["a second KEXINIT in the middle", 2, [KexInit.encode(values)]],
      ["a second KEXINIT before NEWKEYS", 4, [KexInit.encode(values)]],
      ["message 22", 1, [bare(22)]],
      ["message 49", 4, [bare(49)]],
      ["NEWKEYS with a byte more", 4, [new Uint8Array([Msg.NEWKEYS, 0])]],
    ];
    if (role === "server") {
      cases.push(
        ["a server's reply", 1, [string(Msg.KEX_REPLY)]],
        ["its value twice", 2, [string(Msg.KEX_INIT)]],
        ["a GEX_REQUEST that nobody agreed on", 1, [gexRequest]],
        ["GEX_INIT before GEX_REQUEST", 1, [string(Msg.KEX_DH_GEX_INIT)], gex],
        ["the old GEX_REQUEST", 1, [new Writer().u8(Msg.KEX_DH_GEX_REQUEST_OLD).u32(2048).bytes()], gex],
        ["GEX_REQUEST twice", 1, [gexRequest, gexRequest], gex],
        ["NEWKEYS instead of GEX_INIT", 1, [gexRequest, bare(Msg.NEWKEYS)], gex],
      );
    } else {
      cases.push(
        ["a client's value", 1, [string(Msg.KEX_INIT)]],
        ["its reply twice", 4, [string(Msg.KEX_REPLY)]],
        ["GEX_REPLY before GEX_GROUP", 1, [string(Msg.KEX_DH_GEX_REPLY)], gex],
        ["NEWKEYS instead of GEX_GROUP", 1, [bare(Msg.NEWKEYS)], gex],
      );
    }
    for (const [name, place, messages, kex] of cases) {
      await named(name, async () => {
        const algorithms = kex === undefined ? {} : { algorithms: { kex } };
        const victim = new Victim(role, { transport: algorithms, peer: algorithms });
        await expectClose(victim, [PROTOCOL_ERROR, KEY_EXCHANGE_FAILED], async (peer) => {
          await victim.play(place);
          for (const message of messages) await peer.send(message);
        });
        assert((await victim.started) !== null);
      });
    }
    const done = new Victim(role);
    await done.handshake();
    await expectClose(done, PROTOCOL_ERROR, (peer) => peer.send(bare(Msg.NEWKEYS)));
  });

  // Row 37. What an application writes meanwhile waits where it is: tests/transport/rekey_test.ts.
  Deno.test(`a ${role} closes on a peer that stops in the middle of an exchange, the first or a later one`, async () => {
    const first = role === "server" ? 120_000 : 30_000;
    using time = new FakeTime();
    const late = async (victim: Victim, limit: number) => {
      const error = await expectClose(victim, KEY_EXCHANGE_FAILED, async () => {
        time.tick(limit - 1);
        await turns();
        assert(victim.transport.isActive, "It did not wait");
        time.tick(1);
      });
      assertInstanceOf(error, SshProtocolError);
      assertStringIncludes(error.message, `${limit} ms`);
    };
    for (const place of [0, 1, 2, 3, 4] as const) {
      await named(`at place ${place}`, async () => {
        const victim = new Victim(role);
        await victim.play(place);
        await late(victim, first);
      });
    }
    const victim = new Victim(role);
    await victim.handshake();
    time.tick(first + 1);
    await turns();
    assert(victim.transport.isActive, "The clock of the first exchange still runs");
    await victim.sendKexInit();
    await victim.takeKexInit();
    // What is under way on a slow path goes before the answers of a later one.
    await late(victim, 300_000);
  });

  // Row 38, as far as C13 of the cases leaves it: behind the login the connection protocol may go on.
  Deno.test(`a ${role} closes on anything but key exchange after the peer's KEXINIT`, async () => {
    const behindLogin = [5, 7, 50, 79, 128, 150, 192], connection = [80, 90, 93, 94, 97, 98, 127];
    for (const [login, types] of [[true, behindLogin], [false, [...behindLogin, ...connection]]] as const) {
      for (const type of types) {
        await named(`message ${type} ${login ? "behind" : "before"} the login`, async () => {
          const victim = new Victim(role);
          await victim.handshake(login);
          await expectClose(victim, PROTOCOL_ERROR, async (peer) => {
            await peer.send(await peer.kexInit());
            await peer.send(new Writer().u8(type).u32(0).string(new Uint8Array(1)).bytes());
          });
        });
      }
    }
  });

  // C13 of the cases, and what row 38 guards: nothing is stored, and nothing leaves in the exchange.
  Deno.test(`a ${role} hands on what a peer sends behind its KEXINIT after the login, at once and in order`, async () => {
    const victim = new Victim(role, { known: (type) => type !== 127 });
    await victim.handshake();
    const { peer, transport, messages } = victim;
    let sent = 0;
    const send = async (count: number) => {
      for (let i = 0; i < count; i++) await peer.send(new Writer().u8(94).u32(sent++).bytes());
      await until(() => messages.length === sent, "It waits for the end of the exchange");
    };
    for (let exchange = 0; exchange < 2; exchange++) {
      if (exchange === 0) await peer.send(await peer.kexInit());
      else {
        const renewed = transport.rekey();
        renewed.catch(() => {});
        await peer.send(await peer.kexInit());
      }
      await send(50);
      // What it provokes waits for the new keys.
      await peer.send(new Uint8Array([127]));
      await until(() => messages.length === sent + 1, "What provokes waits for the end of the exchange");
      messages.length = 0;
      sent = 0;
      await peer.runExchange(async () => {
        await send(50);
        assert(!peer.received.some(([type]) => type === Msg.UNIMPLEMENTED), "An answer left in the exchange");
      });
      await inTime(peer.receiveType(Msg.UNIMPLEMENTED), "the answer");
      peer.received.length = 0;
      assertEquals(messages.map((m) => new DataView(m.buffer).getUint32(1)), Array.from(messages, (_, i) => i));
    }
    await expectAlive(victim);
  });

  // C13: what a peer may provoke is bounded as ever.
  Deno.test(`a ${role} closes on a peer that asks for answers without end behind its KEXINIT`, async () => {
    const victim = new Victim(role, { known: () => false });
    await victim.handshake();
    const { peer, transport } = victim;
    await peer.send(await peer.kexInit());
    for (let i = 0; i < 17_000 && transport.isActive; i++) await peer.send(new Uint8Array([127])).catch(() => {});
    const reason = inTime(victim.readReason(), "DISCONNECT");
    const error = await inTime(assertRejects(() => transport.closed, SshProtocolError), "the end");
    assertStringIncludes(error.message, "more answers than it reads");
    assertEquals(await reason, PROTOCOL_ERROR);
    await peer.close();
  });

  // Row 39.
  Deno.test(`a ${role} takes what was in flight before the peer saw its KEXINIT, in order`, async () => {
    const victim = new Victim(role);
    await victim.handshake();
    const { peer, transport, messages } = victim;
    const renewed = transport.rekey();
    for (let i = 0; i < 300; i++) await peer.send(new Writer().u8(94).u32(i).bytes());
    await peer.rekey();
    await renewed;
    for (let i = 300; i < 400; i++) await peer.send(new Writer().u8(94).u32(i).bytes());
    await until(() => messages.length === 400, "Messages were lost");
    assertEquals(messages.map((m) => new DataView(m.buffer).getUint32(1)), Array.from(messages, (_, i) => i));
    await expectAlive(victim);
  });

  // Rows 40 and 42: before login an exchange is served, and soon no more; after login there is a rate.
  Deno.test(`a ${role} serves a few exchanges before login and many after, without a leak`, async () => {
    const early = new Victim(role);
    await early.handshake(false);
    let served = 0;
    await expectClose(early, PROTOCOL_ERROR, async (peer) => {
      for (; served < 100 && early.transport.isActive; served++) {
        try {
          await peer.rekey();
        } catch {
          break;
        }
      }
      // The DISCONNECT was read in the exchange already.
      early.readReason = () => Promise.resolve(PROTOCOL_ERROR);
    });
    assert(served >= 1 && served < 10, `${served} were served`);

    const victim = new Victim(role);
    await victim.handshake();
    const sessionId = victim.transport.info.sessionId;
    let before = 0;
    for (let i = 0; i < 250; i++) {
      if (i === 100) before = await memoryInUse();
      victim.peer.received.length = 0;
      await victim.peer.rekey();
    }
    const grown = (await memoryInUse() - before) / 1e6;
    assert(grown < 2, `${grown.toFixed(1)} MB more`);
    assertEquals(victim.transport.info.sessionId, sessionId);
    await expectAlive(victim);
  });

  // Row 41.
  Deno.test(`a ${role} takes other algorithms in a rekey, and keeps its session identifier`, async () => {
    const victim = new Victim(role, {
      transport: { algorithms: { kex: ["curve25519-sha256", "ecdh-sha2-nistp256"], mac: ["hmac-sha2-256"] } },
    });
    await victim.handshake();
    const { sessionId } = victim.transport.info;
    for (
      const [kex, cipher] of [["ecdh-sha2-nistp256", "aes256-ctr"], ["curve25519-sha256", "aes128-gcm@openssh.com"]]
    ) {
      victim.peerOptions.algorithms = { kex: [kex!], cipher: [cipher!], mac: ["hmac-sha2-256"] };
      await Promise.all([victim.transport.rekey(), victim.peer.rekey()]);
      const { info } = victim.transport;
      assertEquals([info.kex, info.clientToServer.cipher, info.serverToClient.cipher], [kex, cipher, cipher]);
      assertEquals(info.sessionId, sessionId);
      await victim.peer.send(new Uint8Array([94]));
    }
    await until(() => victim.messages.length === 2, "Messages were lost");
    await expectAlive(victim);
  });
}

// A peer may not go on under its old keys after its NEWKEYS, however it packs them.
Deno.test("a server closes on messages under old keys behind NEWKEYS in the same segment", async () => {
  const victim = new Victim("server");
  await victim.handshake();
  await expectClose(victim, [PROTOCOL_ERROR, DisconnectReason.MAC_ERROR], async (peer) => {
    const kexInit = await peer.kexInit();
    // The value needs nothing of the server's: all four leave before it answers.
    const parts = [await peer.packet(kexInit)];
    const { publicKey } = await crypto.subtle.generateKey("X25519", true, ["deriveBits"]) as CryptoKeyPair;
    const value = new Uint8Array(await crypto.subtle.exportKey("raw", publicKey));
    parts.push(await peer.packet(new Writer().u8(Msg.KEX_INIT).string(value).bytes()));
    parts.push(await peer.packet(new Uint8Array([Msg.NEWKEYS])));
    parts.push(await peer.packet(new Uint8Array([94, 1, 2, 3])));
    await peer.sendRaw(concat(...parts));
    // What the server sends after its own NEWKEYS cannot be read without the exchange.
    victim.readReason = async () => {
      await peer.disconnected();
      return PROTOCOL_ERROR;
    };
  });
  assertEquals(victim.messages.length, 0);
});
