// How connections share the event loop. What real floods come to is in tests/attacks/flood_test.ts.
import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import type { Signer } from "../../lib/keys/types.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { SecureTransport } from "../../lib/transport/secure_transport.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { TurnShare } from "../../lib/wire/turns.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { memoryPair } from "../_support/duplex.ts";
import { RawPeer } from "../_support/raw_peer.ts";

const hostKey = await generateKey("ed25519");
const turnOfTheLoop = () => new Promise<void>((resolve) => void setImmediate(resolve));

/** A clock that stands still unless a test lets it go on. */
class Clock implements Disposable {
  readonly #real = performance.now;
  #now = 1000;

  constructor() {
    performance.now = () => this.#now;
  }

  spend(milliseconds: number): void {
    this.#now += milliseconds;
  }

  [Symbol.dispose](): void {
    performance.now = this.#real;
  }
}

Deno.test("TurnShare.isUsed says so after the share of a stranger, and later of one who is known", async () => {
  using clock = new Clock();
  for (const known of [false, true]) {
    await turnOfTheLoop();
    const share = new TurnShare();
    if (known) share.setKnown();
    assert(!share.isUsed);
    clock.spend(1.5);
    assertEquals(share.isUsed, !known);
    clock.spend(1.5);
    assert(share.isUsed);
    await turnOfTheLoop();
    await turnOfTheLoop();
    assert(!share.isUsed, "In another turn");
  }
});

Deno.test("TurnShare.next() lets all go on that want little, and one of those that take what they can get", async () => {
  using clock = new Clock();
  await turnOfTheLoop();
  const log: string[] = [];
  const greedy = async (name: string) => {
    const share = new TurnShare();
    for (let i = 0; i < 3; i++) {
      share.isUsed;
      clock.spend(3);
      assert(share.isUsed);
      await share.next();
      log.push(name);
    }
  };
  const modest = async (name: string) => {
    const share = new TurnShare();
    assert(share.isUsed, "The turn is used up by others");
    await share.next();
    log.push(name);
  };
  const all = [greedy("A"), greedy("B"), greedy("C"), modest("x"), modest("y")];
  const turns: string[] = [];
  for (let i = 0; i < 9; i++) {
    await turnOfTheLoop();
    turns.push(log.splice(0).join(""));
  }
  await Promise.all(all);
  assertEquals(turns.join(" ").trim().split(/ +/), ["xyA", "B", "C", "A", "B", "C", "A", "B", "C"]);
});

// Row 111 before the login. The stream never makes the reader wait, as a socket does not while the peer is faster.
Deno.test("SecureTransport returns to the event loop while its peer sends without end", async () => {
  const all = new Uint8Array(65_536);
  for (let at = 0; at < all.length; at += 16) all.set([0, 0, 0, 12, 6, 2, 0, 0, 0, 0], at);
  const ident = new TextEncoder().encode("SSH-2.0-flood\r\n");
  // Large chunks, and a large packet that comes a byte at a time.
  const floods = [{ size: 65_536, count: 300, mostInTurn: 100 }, { size: 1, count: 20_000, mostInTurn: 10_000 }];
  for (
    const [type, flood] of (["bytes", undefined] as const).flatMap((type) => floods.map((f) => [type, f] as const))
  ) {
    const { size, count, mostInTurn } = flood;
    const packet = new Uint8Array([0, 3, 0xff, 0xfc, 6, 2]);
    let chunks = 0, inTurn = 0, most = 0, timers = 0;
    interface Controller {
      enqueue(chunk: Uint8Array<ArrayBuffer>): void;
      close(): void;
      readonly byobRequest?: ReadableStreamBYOBRequest | null;
    }
    const pull = (controller: Controller) => {
      most = Math.max(most, ++inTurn);
      if (++chunks > count) {
        controller.close();
        controller.byobRequest?.respond(0);
        return;
      }
      const part = size === 1 ? packet.subarray(chunks - 2, chunks - 1) : all;
      controller.enqueue(chunks === 1 ? ident.slice() : part.length > 0 ? part.slice() : new Uint8Array(1));
    };
    const readable = type === "bytes"
      ? new ReadableStream<Uint8Array<ArrayBuffer>>({ type, pull, autoAllocateChunkSize: 65_536 }, { highWaterMark: 0 })
      : new ReadableStream<Uint8Array<ArrayBuffer>>({ pull }, { highWaterMark: 0 });
    const transport = new SecureTransport({ readable, writable: new WritableStream() }, {
      role: "server",
      hostKeys: [hostKey],
    });
    let over = false;
    transport.closed.catch(() => {}).then(() => over = true);
    const started = transport.start().catch(() => {});
    const ticking = (async () => {
      while (!over) {
        await turnOfTheLoop();
        inTurn = 0;
        timers++;
      }
    })();
    await Promise.all([started, ticking]);
    assert(chunks > count, `${chunks} chunks`);
    assert(most <= mostInTurn, `${most} chunks of ${chunks} in one turn`);
    assert(timers > 5, `${timers} turns`);
  }
});

Deno.test("SecureTransport returns to the event loop while it works off a large chunk", async () => {
  const chunk = new Uint8Array(16 << 20);
  for (let at = 0; at < chunk.length; at += 16) chunk.set([0, 0, 0, 12, 6, 2, 0, 0, 0, 0], at);
  const chunks = [new TextEncoder().encode("SSH-2.0-flood\r\n"), chunk];
  const readable = new ReadableStream<Uint8Array>({
    pull: (controller) => chunks.length === 0 ? controller.close() : controller.enqueue(chunks.shift()!),
  }, { highWaterMark: 0 });
  const transport = new SecureTransport({ readable, writable: new WritableStream() }, {
    role: "server",
    hostKeys: [hostKey],
  });
  let over = false, turns = 0;
  transport.closed.catch(() => {}).then(() => over = true);
  const started = transport.start().catch(() => {});
  // Until the chunk has been worked off and the end is seen; a million packets take the share of a stranger many times.
  while (chunks.length > 0) await turnOfTheLoop();
  while (transport.isActive) {
    await turnOfTheLoop();
    turns++;
  }
  await started;
  assert(turns > 20, `${turns} turns`);
  while (!over) await turnOfTheLoop();
});

/** All that a client has to say for a key exchange, in one piece. */
async function exchangeInOne(): Promise<Uint8Array> {
  const peer = new RawPeer(memoryPair().client, { role: "client" });
  const init = new Writer().u8(Msg.KEXINIT).raw(new Uint8Array(16));
  const cipher = "chacha20-poly1305@openssh.com", mac = "hmac-sha2-256";
  for (const list of ["curve25519-sha256", "ssh-ed25519", cipher, cipher, mac, mac, "none", "none", "", ""]) {
    init.text(list);
  }
  const value = new Uint8Array(32);
  value[0] = 9;
  return concat([
    new TextEncoder().encode("SSH-2.0-x\r\n"),
    await peer.packet(init.bool(false).u32(0).bytes()),
    await peer.packet(new Writer().u8(Msg.KEX_INIT).string(value).bytes()),
  ]);
}

// Each client has little for this turn, and all of them much. A step takes 3 ms here.
Deno.test("steps of key exchanges that come together are computed in several turns", async () => {
  const all = await exchangeInOne();
  using clock = new Clock();
  let inTurn = 0, most = 0, steps = 0;
  const slowKey: Signer = {
    publicKey: hostKey.publicKey,
    get algorithms() {
      if (counting) {
        clock.spend(3);
        steps++;
        most = Math.max(most, ++inTurn);
      }
      return hostKey.algorithms;
    },
    sign: (data, algorithm) => hostKey.sign(data, algorithm),
  };
  let counting = false;
  const hangUps: (() => void)[] = [];
  const transports = Array.from({ length: 12 }, () => {
    const readable = new ReadableStream<Uint8Array>({
      start: (controller) => {
        controller.enqueue(all.slice());
        hangUps.push(() => controller.close());
      },
    });
    const transport = new SecureTransport({ readable, writable: new WritableStream() }, {
      role: "server",
      hostKeys: [slowKey],
    });
    transport.closed.catch(() => {});
    return transport;
  });
  await turnOfTheLoop();
  counting = true;
  const started = transports.map((transport) => transport.start().catch(() => {}));
  for (let turn = 0; steps < transports.length; turn++) {
    assert(turn < 100_000, `${steps} steps`);
    await turnOfTheLoop();
    inTurn = 0;
  }
  counting = false;
  assert(most <= 5, `${most} of ${steps} steps in one turn`);
  for (const hangUp of hangUps) hangUp();
  await Promise.all(started);
  await Promise.all(transports.map((transport) => transport.closed.catch(() => {})));
});

Deno.test("SecureTransport reads on between the turns of others, and loses nothing", async () => {
  const pair = memoryPair({ chunks: "whole" });
  const transport = new SecureTransport(pair.server, { role: "server", hostKeys: [hostKey] });
  const peer = new RawPeer(pair.client, { role: "client" }), got: number[] = [];
  transport.setHandler({
    message: (payload) => {
      got.push(payload[1]! * 256 + payload[2]!);
      return true;
    },
    ended: () => {},
  });
  await Promise.all([transport.start(), peer.handshake()]);
  const count = 20_000, parts: Uint8Array[] = [];
  for (let i = 0; i < count; i++) parts.push(await peer.packet(new Uint8Array([80, i >> 8, i])));
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  const sending = peer.sendRaw(all);
  while (got.length < count) await turnOfTheLoop();
  await sending;
  assertEquals(got.every((number, i) => number === i), true);
  await transport.close();
  await peer.close();
});
