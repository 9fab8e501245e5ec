// The transport's own life: beginning, end, handlers, limits. What peers may do to it is in tests/attacks/, rekeying in rekey_test.ts.
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { SshDisconnectError, SshError, SshProtocolError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { Disconnect } from "../../lib/transport/messages.ts";
import { MAX_PAYLOAD } from "../../lib/transport/outbox.ts";
import { closedError } from "../../lib/transport/closing.ts";
import { SecureTransport } from "../../lib/transport/secure_transport.ts";
import type { SecureTransportOptions, TraceEvent } from "../../lib/transport/transport_options.ts";
import type { MessageHandler } from "../../lib/transport/types.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { ByteDuplex, Bytes } from "../../lib/wire/types.ts";
import { type MemoryPair, memoryPair } from "../_support/duplex.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { RawPeer } from "../_support/raw_peer.ts";
import { inTime, turns, until } from "../_support/until.ts";

const hostKey = await generateKey("ed25519");
const rsa = await generateKey("rsa", { bits: 2048 });

class Recorder implements MessageHandler {
  readonly messages: Bytes[] = [];
  readonly endings: (Error | null)[] = [];
  batches = 0;
  message(payload: Uint8Array): boolean {
    this.messages.push(payload.slice() as Bytes);
    return true;
  }
  batchEnd(): void {
    this.batches++;
  }
  ended(error: Error | null): void {
    this.endings.push(error);
  }
}

type Changes = Partial<SecureTransportOptions>;

function client(conn: ByteDuplex, changes: Changes = {}): SecureTransport {
  return new SecureTransport(conn, { role: "client", verifyHostKey: () => true, ...changes });
}

function server(conn: ByteDuplex, changes: Changes = {}): SecureTransport {
  return new SecureTransport(conn, { role: "server", hostKeys: [hostKey], ...changes });
}

interface Two {
  pair: MemoryPair;
  near: SecureTransport;
  far: SecureTransport;
  nearHandler: Recorder;
  farHandler: Recorder;
}

async function connected(near: Changes = {}, far: Changes = {}): Promise<Two> {
  const pair = memoryPair();
  const two = {
    pair,
    near: client(pair.client, near),
    far: server(pair.server, far),
    nearHandler: new Recorder(),
    farHandler: new Recorder(),
  };
  two.near.setHandler(two.nearHandler);
  two.far.setHandler(two.farHandler);
  await Promise.all([two.near.start(), two.far.start()]);
  return two;
}

Deno.test("SecureTransport connects with the defaults of both sides, and tells what was agreed", async () => {
  const { near, far, nearHandler, farHandler } = await connected({ ident: "near_1 x" });
  assertEquals(near.info.localIdent, "SSH-2.0-near_1 x");
  assertEquals([far.info.remoteIdent, far.info.localIdent], ["SSH-2.0-near_1 x", "SSH-2.0-amiko"]);
  for (
    const key of ["sessionId", "strictKex", "kex", "hostKeyAlgorithm", "clientToServer", "serverToClient"] as const
  ) {
    assertEquals(near.info[key], far.info[key]);
  }
  assertEquals(near.info.hostKey.blob, hostKey.publicKey.blob);
  assert(near.info.strictKex);
  near.send(new Uint8Array([80, 1]));
  near.send(new Uint8Array([81, 2]));
  far.send(new Uint8Array([90, 3]));
  await until(() => farHandler.messages.length === 2 && nearHandler.messages.length === 1, "It did not come");
  assertEquals(farHandler.messages, [new Uint8Array([80, 1]), new Uint8Array([81, 2])]);
  assertEquals(nearHandler.messages, [new Uint8Array([90, 3])]);
  assert(farHandler.batches > 0);
  assertEquals([...near.extensions.keys()].sort(), [
    ...["ping@openssh.com", "publickey-hostbound@openssh.com", "server-sig-algs"],
  ]);
  assertEquals([...far.extensions.keys()], ["ping@openssh.com", "ext-info-in-auth@openssh.com"]);
  await near.close();
  await far.closed;
  assertEquals(nearHandler.endings, [null]);
  assertEquals(farHandler.endings.length, 1);
});

Deno.test("new SecureTransport() refuses options that cannot work", () => {
  const { client: end } = memoryPair();
  const refuse = (options: SecureTransportOptions, error: typeof TypeError | typeof RangeError) =>
    assertThrows(() => new SecureTransport(end, options), error);
  refuse({ role: "server" }, TypeError);
  refuse({ role: "server", hostKeys: [] }, TypeError);
  refuse({ role: "server", hostKeys: [hostKey], algorithms: { hostKey: ["rsa-sha2-512"] } }, TypeError);
  refuse({ role: "client", ident: "a\r\nb" }, TypeError);
  refuse({ role: "client", rekey: { bytes: 0 } }, RangeError);
  assert(!end.readable.locked && !end.writable.locked);
});

Deno.test("SecureTransport offers as a server what its host keys sign, in the order of the preferences", async () => {
  for (
    const [hostKeys, preferred, expected] of [
      [[rsa], undefined, ["rsa-sha2-512", "rsa-sha2-256"]],
      [[rsa, hostKey], undefined, ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"]],
      [[rsa, hostKey], ["rsa-sha2-256", "ssh-ed25519"], ["rsa-sha2-256", "ssh-ed25519"]],
    ] as const
  ) {
    const pair = memoryPair();
    const far = server(pair.server, {
      hostKeys: [...hostKeys],
      ...(preferred === undefined ? {} : { algorithms: { hostKey: preferred } }),
    });
    const started = far.start().catch(() => {});
    const peer = new RawPeer(pair.client, { role: "client" });
    await peer.identify();
    const kexInit = await peer.receiveType(Msg.KEXINIT);
    const length = new DataView(kexInit.buffer).getUint32(17);
    const at = 17 + 4 + length, names = new DataView(kexInit.buffer).getUint32(at);
    assertEquals(new TextDecoder().decode(kexInit.subarray(at + 4, at + 4 + names)).split(","), [...expected]);
    await peer.close();
    await started;
    await far.closed.catch(() => {});
  }
});

Deno.test("SecureTransport.start() runs once, and not after the end", async () => {
  const { near, far } = await connected();
  await assertRejects(() => near.start(), TypeError);
  await near.close();
  await far.closed;
  await assertRejects(() => near.start(), TypeError);
  const unused = client(memoryPair().client);
  await unused.close();
  await assertRejects(() => unused.start(), SshError);
  assert(!unused.isActive);
  const failed = client(memoryPair().client), why = new SshError("Given up", { code: "CLOSED" });
  failed.fail(why);
  assertEquals(await failed.start().catch((error) => error), why);
  assertEquals(await failed.closed.catch((error) => error), why);
});

Deno.test("SecureTransport.start() leaves streams alone that it cannot have", async () => {
  for (const which of ["readable", "writable"] as const) {
    const pair = memoryPair();
    const lock = which === "readable" ? pair.client.readable.getReader() : pair.client.writable.getWriter();
    const near = client(pair.client);
    await assertRejects(() => near.start(), TypeError, "locked");
    assert(!near.isActive);
    lock.releaseLock();
    assert(!pair.client.readable.locked && !pair.client.writable.locked);
    await near.close();
  }
});

Deno.test("SecureTransport.start() aborted at any write rejects with the signal's reason, or is done and active", async () => {
  const reason = new Error("enough");
  for (let at = 0, done = false; !done; at++) {
    const controller = new AbortController();
    let writes = 0;
    const count = () => {
      if (writes++ === at) controller.abort(reason);
    };
    const pair = memoryPair({ highWaterMark: 0, tap: { toServer: count, toClient: count } });
    const near = client(pair.client);
    const far = server(pair.server), peer = far.start().catch(() => {});
    const error = await near.start({ signal: controller.signal }).then(() => null, (error) => error);
    if (error === null) {
      assert(at > 4 && near.isActive, `aborted at write ${at}`);
      done = true;
      await near.close();
    } else assertEquals(error, reason);
    await peer;
    await far.closed.catch(() => {});
  }
});

Deno.test("SecureTransport.start() rejects with the signal's reason, before and while it waits", async () => {
  const reason = new Error("enough");
  const aborted = client(memoryPair().client);
  assertEquals(await aborted.start({ signal: AbortSignal.abort(reason) }).catch((error) => error), reason);
  const waiting = client(memoryPair().client), controller = new AbortController();
  const started = waiting.start({ signal: controller.signal }).catch((error) => error);
  await turns();
  controller.abort(reason);
  assertEquals(await started, reason);
  const error = await waiting.closed.catch((error) => error);
  assertEquals([error.code, error.cause], ["CLOSED", reason]);
  // Later the signal is not looked at any more.
  const pair = memoryPair(), late = new AbortController();
  const near = client(pair.client), far = server(pair.server);
  await Promise.all([near.start({ signal: late.signal }), far.start()]);
  late.abort();
  assert(near.isActive);
  await near.close();
  await far.closed;
});

Deno.test("SecureTransport ends with CONNECTION_LOST where the peer hangs up, wherever that is", async () => {
  const hangUps: [string, (peer: RawPeer, pair: MemoryPair) => Promise<void>][] = [
    ["at once", (peer) => peer.close()],
    ["in its identification", async (peer) => {
      await peer.sendRaw(new TextEncoder().encode("SSH-2."));
      await peer.close();
    }],
    ["in a packet", async (peer) => {
      await peer.identify();
      await peer.sendRaw(new Uint8Array([0, 0, 0, 12, 4]));
      await peer.close();
    }],
    ["by a reset", (_, pair) => Promise.resolve(pair.reset())],
  ];
  for (const [name, hangUp] of hangUps) {
    for (const role of ["client", "server"] as const) {
      const pair = memoryPair();
      const transport = role === "client" ? client(pair.client) : server(pair.server);
      const handler = new Recorder();
      transport.setHandler(handler);
      const started = transport.start().catch((error) => error);
      const peer = new RawPeer(role === "client" ? pair.server : pair.client, {
        role: role === "client" ? "server" : "client",
      });
      await hangUp(peer, pair);
      const error = await started;
      assertEquals(error.code, "CONNECTION_LOST", name);
      assertEquals(await transport.closed.catch((error) => error), error);
      assertEquals(handler.endings, [error]);
      await peer.close();
    }
  }
});

Deno.test("SecureTransport.closed resolves when the peer disconnects by application, and rejects for other reasons", async () => {
  for (const reason of [11, 2, 10, 14]) {
    const pair = memoryPair(), near = client(pair.client), handler = new Recorder();
    near.setHandler(handler);
    const peer = new RawPeer(pair.server, { role: "server", hostKey });
    await Promise.all([near.start(), peer.handshake()]);
    await peer.send(Disconnect.encode({ reason, description: "so long", language: "" }));
    await peer.close();
    const error = await near.closed.then(() => null, (error) => error);
    assertEquals(error === null, reason === 11);
    assert(handler.endings[0] instanceof SshDisconnectError);
    assertEquals([handler.endings.length, handler.endings[0].reason], [1, reason]);
    assertStringIncludes(handler.endings[0].message, "so long");
  }
});

Deno.test("SecureTransport.close() sends what is queued, then DISCONNECT, once", async () => {
  const { near, far, farHandler } = await connected();
  for (let i = 0; i < 300; i++) near.send(new Uint8Array(1000).fill(80));
  await Promise.all([near.close(), near.close()]);
  await far.closed;
  assertEquals(farHandler.messages.length, 300);
  near.send(new Uint8Array([80]));
  near.fail(new Error("too late"));
  near.setAuthenticated();
  await near.closed;
  await near.close();
  assertEquals((await near.rekey().catch((error) => error)).code, "CLOSED");
});

Deno.test("SecureTransport.fail() tells the peer what fits the error, and nothing of errors of the program", async () => {
  const cases: [Error, number | null, string][] = [
    [new SshProtocolError("This is wrong", 7), 7, "This is wrong"],
    [new Error("secret of the program"), 11, "Internal error"],
    [new SshError("Lost", { code: "CONNECTION_LOST" }), null, ""],
    [new SshProtocolError("bad\x1b[2J\u202e" + "x".repeat(5000), 2), 2, "bad\ufffd[2J\ufffd" + "x".repeat(1016) + "…"],
  ];
  for (const [error, reason, description] of cases) {
    const pair = memoryPair(), near = client(pair.client), handler = new Recorder();
    near.setHandler(handler);
    const peer = new RawPeer(pair.server, { role: "server", hostKey });
    await Promise.all([near.start(), peer.handshake()]);
    near.fail(error);
    const told = await peer.disconnected();
    assertEquals([told.reason, told.description], [reason, description]);
    assertEquals(await near.closed.catch((error) => error), error);
    assertEquals(handler.endings, [error]);
    await peer.close();
  }
});

Deno.test("SecureTransport lets go of streams whose peer neither reads nor hangs up", async () => {
  for (const end of ["close", "end", "fail"] as const) {
    using time = new FakeTime();
    const { near, far, pair } = await connected();
    pair.toServer.stall();
    pair.toClient.stall();
    for (let i = 0; i < 10; i++) near.send(new Uint8Array(200_000).fill(80));
    const ending = end === "fail" ? near.fail(new SshProtocolError("Enough")) : near[end](), from = time.now();
    let over = false;
    near.closed.catch(() => {}).finally(() => over = true);
    await until(() => {
      if (!over && time.pending > 0) time.next();
      return over;
    }, "The end");
    await ending;
    assert(time.now() - from < 30_000, `It let go after ${time.now() - from} ms`);
    assert(!pair.client.readable.locked);
    pair.reset();
    await far.closed.catch(() => {});
  }
});

Deno.test("SecureTransport.close() of a client waits for its peer to hang up where something unanswered has just left, and nowhere else", async () => {
  const question = { waits: true, unimplemented: () => {} };
  const request = (type: number): Uint8Array => new Uint8Array([type, 0, 0, 0, 0]);
  const waits: Record<string, [(near: SecureTransport) => void, boolean]> = {
    "nothing": [() => {}, false],
    "a question": [(near) => near.send(request(Msg.CHANNEL_REQUEST), false, question), false],
    "a signal": [(near) => near.send(request(Msg.CHANNEL_REQUEST)), true],
    "a word on the connection": [(near) => near.send(request(Msg.GLOBAL_REQUEST)), true],
  };
  for (const [what, [send, expected]] of Object.entries(waits)) {
    using time = new FakeTime();
    const pair = memoryPair(), near = client(pair.client);
    near.setHandler(new Recorder());
    const peer = new RawPeer(pair.server, { role: "server", hostKey });
    await Promise.all([near.start(), peer.handshake()]);
    send(near);
    let over = false;
    const closing = near.close().then(() => over = true);
    // It reads and stays.
    await peer.receiveType(Msg.DISCONNECT);
    const ended = peer.receive();
    if (expected) {
      await turns(50);
      assert(!over, what);
      await until(() => (time.tick(50), over), what);
    }
    await inTime(Promise.all([closing, ended]), what);
    await peer.close();
  }
});

Deno.test("SecureTransport lets go of a socket whose peer neither reads nor hangs up", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [socket, other] = await Promise.all([
    Deno.connect({ hostname: "127.0.0.1", port: (listener.addr as Deno.NetAddr).port }),
    listener.accept(),
  ]);
  listener.close();
  const far = server(socket), peer = new RawPeer(other, { role: "client" });
  far.setHandler(new Recorder());
  await Promise.all([far.start(), peer.handshake()]);
  // More than all buffers of the system take.
  for (let i = 0; i < 100; i++) far.send(new Uint8Array(200_000).fill(80));
  await turns(50);
  far.fail(new SshProtocolError("Enough"));
  await inTime(far.closed.catch(() => {}), "The end");
  // The sanitizer finds the socket if it is still open.
  await peer.close();
});

Deno.test("SecureTransport keeps messages until there is a handler, and gives each to the one that is set", async () => {
  const pair = memoryPair();
  const near = client(pair.client), far = server(pair.server), first = new Recorder(), second = new Recorder();
  await Promise.all([near.start(), far.start()]);
  for (let i = 0; i < 10; i++) near.send(new Uint8Array([80, i]));
  await turns();
  far.setHandler({
    message: (payload) => {
      first.message(payload);
      if (payload[1] === 4) far.setHandler(second);
      return true;
    },
    ended: (error) => first.ended(error),
  });
  await until(() => second.messages.length === 5, "It did not come");
  assertEquals([...first.messages, ...second.messages].map((m) => m[1]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await near.close();
  await far.closed;
  assertEquals([first.endings.length, second.endings.length], [0, 1]);
  // Who comes late hears of the end at once.
  const late = new Recorder();
  far.setHandler(late);
  assertEquals(late.endings, second.endings);
});

Deno.test("SecureTransport ends while messages wait for a handler", async () => {
  const pair = memoryPair(), near = client(pair.client), far = server(pair.server);
  await Promise.all([near.start(), far.start()]);
  near.send(new Uint8Array([80]));
  await turns();
  await far.close();
  await near.closed;
  const late = new Recorder();
  far.setHandler(late);
  assertEquals([late.messages.length, late.endings.length], [0, 1]);
});

Deno.test("SecureTransport ends with what a handler throws, and ignores what ended() and trace() throw", async () => {
  const thrown = new Error("bug");
  const { near, far } = await connected({
    trace: () => {
      throw new Error("nobody minds");
    },
  });
  far.setHandler({
    message: () => {
      throw thrown;
    },
    ended: () => {
      throw new Error("nobody minds");
    },
  });
  near.send(new Uint8Array([80]));
  assertEquals(await far.closed.catch((error) => error), thrown);
  await near.closed;
});

Deno.test("SecureTransport.send() refuses what fits in no packet, and sends the largest that does", async () => {
  const { near, far, farHandler } = await connected();
  assertThrows(() => near.send(new Uint8Array(MAX_PAYLOAD + 1)), RangeError);
  near.send(new Uint8Array(MAX_PAYLOAD).fill(80));
  await until(() => farHandler.messages.length === 1, "It did not come");
  assertEquals(farHandler.messages[0]!.length, MAX_PAYLOAD);
  await near.close();
  await far.closed;
});

Deno.test("SecureTransport compresses from the login on where both sides ask for it", async () => {
  const algorithms = { compression: ["zlib@openssh.com"] };
  const { near, far, farHandler, nearHandler, pair } = await connected({ algorithms }, { algorithms });
  await until(() => near.extensions.size > 0 && far.extensions.size > 0, "It did not come");
  const before = pair.toServer.written;
  near.send(new Uint8Array(50_000).fill(50));
  await until(() => farHandler.messages.length === 1, "It did not come");
  assert(pair.toServer.written - before > 50_000);
  // As a server does it: the answer, then the change; the client changes when it reads the answer.
  near.setHandler({
    message: (payload) => {
      if (payload[0] === 52) near.setAuthenticated();
      return nearHandler.message(payload);
    },
    ended: (error) => nearHandler.ended(error),
  });
  far.send(new Uint8Array([52]));
  far.setAuthenticated();
  far.send(new Uint8Array([80, 1, 2]));
  await until(() => nearHandler.messages.length === 2, "It did not come");
  const [up, down] = [pair.toServer.written, pair.toClient.written];
  for (let i = 0; i < 3; i++) {
    near.send(new Uint8Array(50_000).fill(i + 80));
    far.send(new Uint8Array(50_000).fill(i + 80));
    await until(() => farHandler.messages.length === 2 + i && nearHandler.messages.length === 3 + i, "It did not come");
    await Promise.all([near.rekey(), far.rekey()]);
  }
  // Without a dictionary a byte that is repeated takes a bit.
  assert(pair.toServer.written - up < 60_000 && pair.toClient.written - down < 60_000);
  assertEquals(farHandler.messages.at(-1), new Uint8Array(50_000).fill(82));
  await near.close();
  await far.closed;
});

Deno.test("SecureTransport.rekey() waits for the first exchange, and joins one that runs", async () => {
  const pair = memoryPair(), near = client(pair.client), far = server(pair.server);
  const starting = near.start();
  const early = near.rekey();
  await Promise.all([starting, far.start(), early]);
  const [a, b] = [near.rekey(), near.rekey()];
  assert(a === b);
  await a;
  await near.close();
  await far.closed;
});

Deno.test("SecureTransport traces numbered events without a payload or a secret", async () => {
  const events: TraceEvent[] = [];
  const { near, far } = await connected({ trace: (event) => void events.push(event) });
  near.send(new TextEncoder().encode("Psecret of the user"));
  await near.rekey();
  await near.close();
  await far.closed;
  assertEquals(events.map(({ number }) => number), events.map((_, i) => i));
  const names = new Set(events.map(({ event }) => event));
  for (const name of ["ident", "received", "sealed", "keys", "ended"]) assert(names.has(name), name);
  assert(!JSON.stringify(events).includes("secret"));
});

Deno.test("SecureTransport works over streams that are no byte streams, and with a writer that is slow", async () => {
  const transforms = () => {
    const up = new TransformStream<Uint8Array, Uint8Array>(), down = new TransformStream<Uint8Array, Uint8Array>();
    return [{ readable: down.readable, writable: up.writable }, {
      readable: up.readable,
      writable: down.writable,
    }] as const;
  };
  const [left, right] = transforms();
  const near = client(left), far = server(right), handler = new Recorder();
  near.setHandler(new Recorder());
  far.setHandler(handler);
  await Promise.all([near.start(), far.start()]);
  const sent = Array.from({ length: 50 }, (_, i) => new Uint8Array(10_000).fill(i).fill(80, 0, 1));
  for (const message of sent) near.send(message);
  await until(() => handler.messages.length === 50, "It did not come");
  assertEquals(handler.messages, sent);
  await near.close();
  await far.closed;
});

Deno.test("closedError() gives the error, or one that says the connection is closed", () => {
  const error = new Error("x");
  assertEquals(closedError(error), error);
  assertEquals((closedError(null) as SshError).code, "CLOSED");
});
