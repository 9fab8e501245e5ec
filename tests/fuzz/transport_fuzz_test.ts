// The parsers of the transport, and its state machine under random sequences of messages. Seeds are in the names of failures.
import { assert, assertEquals } from "@std/assert";
import { plainOpener } from "../../lib/crypto/cipher/ciphers.ts";
import { defaultAlgorithms } from "../../lib/crypto/algorithms.ts";
import { SshError, SshProtocolError } from "../../lib/errors.ts";
import { decodeExtInfo, encodeExtInfo } from "../../lib/transport/ext_info.ts";
import { Framer, MAX_PACKET_LENGTH, payloadOf } from "../../lib/transport/framer.ts";
import { IdentReader } from "../../lib/transport/ident.ts";
import { type KexContext, KexMachine } from "../../lib/transport/kex_machine.ts";
import { Disconnect, KexInit } from "../../lib/transport/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { fuzz, fuzzAsync, fuzzBytes, mutate, Prng } from "../_support/fuzz.ts";
import { inTime, turns } from "../_support/until.ts";
import { hostKey, Victim } from "../_support/attack.ts";

const SHARE = 7;

/** What a check gives, or null where it fails as it may. */
function orRefused<T>(check: () => T): T | null {
  try {
    return check();
  } catch (error) {
    if (error instanceof SshProtocolError) return null;
    throw error;
  }
}

Deno.test("fuzz: IdentReader gives the same for any split of any bytes", () => {
  const bases = ["SSH-2.0-x\r\nrest", "hello\r\nSSH-1.99-y z\n", "SSH-2.0\r\n", `SSH-2.0-${"x".repeat(245)}\r\n`];
  const { count, accepted } = fuzz((seed) => {
    const prng = new Prng(seed);
    const base = new TextEncoder().encode(prng.pick(bases));
    const bytes = prng.below(4) === 0 ? fuzzBytes(seed, 300) : mutate(base, seed);
    const role = prng.pick(["client", "server"] as const);
    const read = (step: () => number) => {
      const reader = new IdentReader(role);
      for (let at = 0; at < bytes.length;) {
        const n = step();
        const found = reader.push(bytes.subarray(at, at + n));
        at += n;
        if (found !== null) return { ident: found.ident, rest: bytes.length - at + found.rest.length };
      }
      return null;
    };
    const whole = orRefused(() => read(() => bytes.length)), split = orRefused(() => read(() => 1 + prng.below(9)));
    if (split !== null && whole !== null) {
      // The rest is what follows the line, whichever chunk that ended in.
      assertEquals(split.ident, whole.ident);
      // The version may be blank (C11), but something stands there.
      assert(/^SSH-(2\.0|1\.99)-[\x20-\x7e]+$/.test(whole.ident), whole.ident);
    } else {
      assertEquals(split, whole);
    }
    return whole !== null;
  }, { count: 20_000, share: SHARE });
  assert(accepted > count / 20);
});

Deno.test("fuzz: Framer cuts any bytes into packets within its limits, whatever the split", () => {
  const { count, accepted } = fuzz((seed) => {
    const prng = new Prng(seed);
    const w = new Writer();
    for (let i = prng.below(5); i >= 0; i--) {
      const padding = 4 + prng.below(8), length = 8 * (1 + prng.below(6)) + 4;
      w.u32(length).u8(padding).raw(prng.bytes(length - 1));
    }
    const bytes = prng.below(3) === 0 ? w.bytes() : mutate(w.bytes(), seed);
    const cut = (step: () => number) => {
      const framer = new Framer(), payloads: string[] = [];
      let refused = false;
      for (let at = 0; at < bytes.length && !refused;) {
        const n = step();
        framer.push(bytes.subarray(at, at + n));
        at += n;
        refused = orRefused(() => {
          for (let batch; (batch = framer.next(plainOpener(), 0, 1 + prng.below(4))) !== null;) {
            for (const { offset, length } of batch.frames) {
              assert(length >= 5 && length <= MAX_PACKET_LENGTH && offset + 4 + length <= batch.chunk.length);
              payloads.push(payloadOf(batch.chunk.subarray(offset + 4, offset + 4 + length)).toHex());
            }
          }
          return true;
        }) === null;
      }
      return { payloads, refused };
    };
    const whole = cut(() => bytes.length), split = cut(() => 1 + prng.below(20));
    // One batch may hold a packet that is refused only when it is opened: what went before it is the same.
    assertEquals(split.refused, whole.refused);
    const common = Math.min(split.payloads.length, whole.payloads.length);
    assertEquals(split.payloads.slice(0, common), whole.payloads.slice(0, common));
    if (!whole.refused) assertEquals(split.payloads.length, whole.payloads.length);
    return !whole.refused;
  }, { count: 20_000, share: SHARE });
  assert(accepted > count / 10);
});

Deno.test("fuzz: decodeExtInfo() reads what it can write again, or refuses", () => {
  const { count, accepted } = fuzz((seed) => {
    const prng = new Prng(seed);
    const extensions = new Map<string, Uint8Array>();
    for (let i = prng.below(4); i > 0; i--) extensions.set(`name${i}@x`, prng.bytes(prng.below(20)));
    const payload = prng.below(4) === 0 ? fuzzBytes(seed) : mutate(encodeExtInfo(extensions), seed);
    const read = orRefused(() => decodeExtInfo(payload));
    if (read === null) return false;
    assert(read.size <= 64);
    assertEquals(decodeExtInfo(encodeExtInfo(read)), read);
    return true;
  }, { count: 20_000, share: SHARE });
  assert(accepted > count / 50);
});

Deno.test("fuzz: Disconnect and KexInit refuse damaged messages with nothing but SshProtocolError", () => {
  const kexInit = new KexMachine(context("client")).kexInit;
  const disconnect = Disconnect.encode({ reason: 2, description: "so long", language: "en" });
  const { accepted } = fuzz((seed) => {
    const [message, bytes] = seed % 2 === 0 ? [KexInit, kexInit] as const : [Disconnect, disconnect] as const;
    return orRefused(() => message.decode(mutate(bytes, seed))) !== null;
  }, { count: 10_000, share: SHARE });
  assert(accepted > 0);
});

function context(role: "client" | "server"): KexContext {
  return {
    role,
    localIdent: role === "client" ? "SSH-2.0-c" : "SSH-2.0-s",
    remoteIdent: role === "client" ? "SSH-2.0-s" : "SSH-2.0-c",
    algorithms: { ...defaultAlgorithms, kex: ["curve25519-sha256"] },
    hostKeys: role === "server" ? [hostKey] : [],
    sessionId: null,
    hostKey: null,
    verifyHostKey: () => true,
  };
}

Deno.test("fuzz: KexMachine takes damaged messages to no other end than SshError, and agrees with no damaged reply", async () => {
  const { count, accepted } = await fuzzAsync(async (seed) => {
    const client = new KexMachine(context("client")), server = new KexMachine(context("server"));
    const at = seed % 4;
    const change = (place: number, payload: Bytes): Bytes => place === at ? mutate(payload, seed) : payload;
    const kexInits = [change(0, client.kexInit), change(1, server.kexInit)] as const;
    try {
      await server.receive(kexInits[0]);
      const { send: [value] } = await client.receive(kexInits[1]);
      const sent = change(2, value!);
      const { send: [reply] } = await server.receive(sent);
      const damaged = change(3, reply!);
      const { outcome } = await client.receive(damaged);
      // Whatever was changed, the signature covers it: an outcome means that the damage left the message as it was.
      const [before, after] = [
        [client.kexInit, kexInits[0]],
        [server.kexInit, kexInits[1]],
        [value!, sent],
        [reply!, damaged],
      ][at]!;
      const whole = before!.toHex() === after!.toHex();
      assert(outcome === undefined || whole, "A damaged exchange came to an outcome");
      return true;
    } catch (error) {
      if (!(error instanceof SshError)) throw error;
      return false;
    }
  }, { count: 600, share: SHARE });
  assert(accepted < count / 4);
});

/** Messages of every kind, sound and not, that a peer may send at any time. */
function randomMessage(prng: Prng): Uint8Array {
  const type = prng.below(3) === 0
    ? prng.below(256)
    : prng.pick([1, 2, 3, 4, 5, 7, 20, 21, 30, 31, 32, 50, 52, 80, 90, 94, 98, 192, 193, 200]);
  switch (prng.below(4)) {
    case 0:
      return new Uint8Array([type]);
    case 1:
      return new Writer().u8(type).u32(prng.below(4)).string(prng.bytes(prng.below(40))).string(prng.bytes(3)).bytes();
    case 2:
      return new Writer().u8(type).string(prng.bytes(32)).bytes();
    default:
      return new Writer().u8(type).raw(prng.bytes(prng.below(60))).bytes();
  }
}

for (const role of ["server", "client"] as const) {
  Deno.test(`fuzz: a ${role} takes random sequences of messages at any point, and lives or closes in order`, async () => {
    const { accepted } = await fuzzAsync(async (seed) => {
      const prng = new Prng(seed);
      const victim = new Victim(role, { peer: { strict: prng.below(3) > 0 } });
      const { peer, transport, endings } = victim;
      const place = prng.below(8);
      let reached = false;
      try {
        if (place < 5) await victim.play(place as 0);
        else await victim.handshake(prng.below(2) === 0);
        reached = place >= 5;
        for (let i = 1 + prng.below(6); i > 0 && transport.isActive; i--) {
          if (reached && prng.below(12) === 0) await inTime(peer.rekey(), "A rekey", 1000).catch(() => {});
          else await peer.send(randomMessage(prng)).catch(() => {});
        }
        await turns(4);
      } catch {
        // The victim ended while its peer was still at it.
      }
      // Before the first exchange is done nothing reaches anybody above.
      if (!reached) assertEquals(victim.messages.length, 0);
      for (const [type] of victim.messages) assert(type! > 4 && type !== Msg.EXT_INFO && !(type! >= 20 && type! <= 49));
      const lived = transport.isActive;
      await peer.close();
      const error = await inTime(transport.closed.then(() => null, (error) => error), "The end");
      assert(error === null || error instanceof SshError, `${error}`);
      assertEquals(endings.length, 1);
      await inTime(victim.started, "start()");
      return lived;
    }, { count: 250, share: SHARE });
    assert(accepted > 10);
  });
}
