/**
 * What connect() remembers of servers: the next connection to the same place guesses what will be agreed on.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, type ConnectOptions } from "../../lib/api/client.ts";
import { serve, type ServeOptions } from "../../lib/api/server.ts";
import { ServerMemory, serverMemory } from "../../lib/api/server_memory.ts";
import { defaultAlgorithms } from "../../lib/crypto/algorithms.ts";
import { HostKeyError, SshError } from "../../lib/errors.ts";
import { NOT_ALLOWED, turnAway } from "../../lib/api/admission/turn_away.ts";
import { memoryPair } from "../_support/duplex.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { stateOf } from "../_support/fake_transport.ts";
import { hostKey, join, login } from "../_support/joined.ts";
import { inTime, turns } from "../_support/until.ts";

const CURVE = "curve25519-sha256", NIST = "ecdh-sha2-nistp256";

/** A server; it counts its connections. */
async function server(options: Partial<ServeOptions> = {}) {
  const count = { connections: 0 };
  const served = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await hostKey()],
    auth: {
      password: () => {
        count.connections++;
        return true;
      },
    },
    onListen: () => {},
    ...options,
  });
  return { served, port: served.addr.port, count };
}

/** Logs in and leaves again; gives whether the key exchange was guessed, and which it was. */
async function visit(port: number, options: Partial<ConnectOptions> = {}): Promise<{ guessed: boolean; kex: string }> {
  const seen: string[] = [];
  // Of a connection that was begun anew, the last try counts.
  const trace: ConnectOptions["trace"] = ({ number, event }) => {
    if (number === 0) seen.length = 0;
    seen.push(event);
  };
  await using client = await inTime(connect({ hostname: "127.0.0.1", port, ...login, trace, ...options }), "The login");
  return { guessed: seen.includes("guess"), kex: client.info.kex };
}

Deno.test("connect() guesses the key exchange of a server that it has been at, as far as that changes nothing", async () => {
  const { served, port } = await server();
  await using _ = served;
  const first = await visit(port), second = await visit(port);
  assertEquals([first.guessed, second], [false, { guessed: true, kex: first.kex }]);
  // With other wishes, what the server has decides, and not what was agreed on before.
  const other = await visit(port, { algorithms: { kex: [NIST, CURVE] } });
  assertEquals(other, { guessed: false, kex: NIST });
  assertEquals((await visit(port)).guessed, true);
});

Deno.test("connect() remembers nothing of a server whose host key was refused, and of streams that the program brings", async () => {
  const { served, port } = await server();
  await using _ = served;
  await assertRejects(() => visit(port, { verifyHostKey: () => false }), HostKeyError);
  assertEquals((await visit(port)).guessed, false);
  assertEquals((await visit(port)).guessed, true);
  // One that fails in its key exchange is forgotten.
  await assertRejects(() => visit(port, { verifyHostKey: () => false }), HostKeyError);
  assertEquals((await visit(port)).guessed, false);
  for (let i = 0; i < 2; i++) {
    const seen: string[] = [];
    await using _ = await join({}, { trace: ({ event }) => void seen.push(event) });
    assertEquals(seen.includes("guess"), false);
  }
});

Deno.test("connect() begins anew, without a guess, at a server that is another one than it was", async () => {
  // Its line is one that tells nothing of whether it has read what came before; and it would not notice that a guess is wrong.
  const changes: [Partial<ServeOptions>, Partial<ServeOptions>, string][] = [
    [{}, { ident: "other_1.0" }, "another line"],
    [
      { ident: "paramiko_3.5.1", algorithms: { kex: [CURVE] } },
      { ident: "paramiko_3.5.1", algorithms: { kex: [NIST] } },
      "other wishes",
    ],
  ];
  for (const [before, after, how] of changes) {
    const old = await server(before);
    await visit(old.port);
    await old.served.shutdown();
    const { served } = await server({ ...after, port: old.port });
    await using _ = served;
    assertEquals((await visit(old.port)).guessed, false, how);
    // What is known of it now is what it is now.
    assertEquals((await visit(old.port)).guessed, how === "other wishes", how);
  }
});

Deno.test("connect() guesses nothing the second time, whatever others have learnt of the place meanwhile", async () => {
  const { served, port, count } = await server({ ident: "other_1.0" });
  await using _ = served;
  let tries = 0;
  // Before each connection, another one has been at the other server of the place.
  const wantedTypes = () => {
    tries++;
    serverMemory.keep(JSON.stringify([null, "127.0.0.1", port]), {
      ident: "SSH-2.0-OpenSSH_10.0",
      kex: [...defaultAlgorithms.kex],
      hostKey: ["ssh-ed25519"],
    });
    return [];
  };
  const verifyHostKey = Object.assign(() => true, { wantedTypes });
  const { guessed } = await visit(port, { verifyHostKey });
  assertEquals([guessed, tries, count.connections], [false, 2, 1]);
});

/** A way to a server, for those who send their line alone, as Twisted's servers want it: what comes in one piece with it is the end. */
function fussy(to: number) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const ends: Promise<unknown>[] = [], settings = { breaks: false };
  const join = async (near: Deno.Conn): Promise<void> => {
    using far = await Deno.connect({ hostname: "127.0.0.1", port: to });
    const buffer = new Uint8Array(1024), length = await near.read(buffer);
    if (settings.breaks) return near.close();
    await far.write(buffer.subarray(0, length!));
    await Promise.allSettled([near.readable.pipeTo(far.writable), far.readable.pipeTo(near.writable)]);
  };
  const accepting = (async () => {
    for await (const conn of listener) ends.push(join(conn).catch(() => {}));
  })();
  const stop = async (): Promise<void> => {
    listener.close();
    await accepting;
    await Promise.all(ends);
  };
  return { port: listener.addr.port, settings, [Symbol.asyncDispose]: stop };
}

Deno.test("connect() guesses no more where a guess has failed: a server that cannot bear it fails no second login", async () => {
  const { served, port } = await server();
  await using _ = served;
  await using way = fussy(port);
  assertEquals((await visit(way.port)).guessed, false);
  way.settings.breaks = true;
  await assertRejects(() => visit(way.port), SshError);
  way.settings.breaks = false;
  for (let i = 0; i < 3; i++) assertEquals((await visit(way.port)).guessed, false);
});

Deno.test("ServerMemory keeps nothing of the last 256 places that were given up", () => {
  const memory = new ServerMemory(), offer = { ident: "SSH-2.0-x", kex: ["a"], hostKey: ["b"] };
  memory.keep("0", offer);
  memory.giveUp("x".repeat(4097));
  for (let i = 0; i < 256; i++) memory.giveUp(`${i}`);
  memory.keep("0", offer);
  assertEquals([memory.size, memory.recall("0")], [0, null]);
  memory.giveUp("256");
  for (const place of ["0", "1", "256"]) memory.keep(place, offer);
  assertEquals([memory.recall("0"), memory.recall("1"), memory.recall("256")], [offer, null, null]);
});

Deno.test("ServerMemory keeps 256 places, those used last, and none whose offer is long", () => {
  const memory = new ServerMemory(), offer = { ident: "SSH-2.0-x", kex: ["a"], hostKey: ["b"] };
  for (let i = 0; i < 256; i++) memory.keep(`${i}`, offer);
  assertEquals(memory.recall("0"), offer);
  memory.keep("one more", offer);
  assertEquals([memory.size, memory.recall("0"), memory.recall("1")], [256, offer, null]);
  const long = (length: number) => ({ ...offer, kex: ["x".repeat(length - "SSH-2.0-x".length - "b".length - 2)] });
  memory.keep("at", long(4096));
  memory.keep("by", long(4097));
  assert(memory.recall("at") !== null);
  assertEquals([memory.size, memory.recall("by")], [256, null]);
  // What has become too long is not kept as it was.
  memory.keep("at", long(5000));
  assertEquals([memory.size, memory.recall("at")], [255, null]);
  memory.forget("0");
  assertEquals(memory.recall("0"), null);
});

Deno.test("a connection that ends while a guess is made is over when that is made: nothing of it is left behind", async () => {
  const { subtle } = crypto, { exportKey } = subtle, asked = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  Object.assign(subtle, {
    async exportKey(...args: Parameters<typeof exportKey>) {
      asked.resolve();
      await released.promise;
      return await exportKey.apply(subtle, args);
    },
  });
  using _time = new FakeTime();
  try {
    const { client, server } = memoryPair(), writer = server.writable.getWriter(), reader = server.readable.getReader();
    const algorithms = { kex: [CURVE], hostKey: ["ssh-ed25519"] };
    const failed = assertRejects(() => connect({ hostname: "h", ...login, transport: client, algorithms }), SshError);
    // It guesses, as it wants one thing only, and this server forgives that.
    const said = turnAway(
      { write: (p) => writer.write(p).then(() => p.length), close() {} },
      "OpenSSH_9.2",
      NOT_ALLOWED,
    );
    await Promise.all([said, asked.promise]);
    while (!(await reader.read()).done);
    await turns();
    assertEquals(await stateOf(failed), "pending");
    released.resolve();
    assertEquals((await failed).code, "DISCONNECTED");
  } finally {
    released.resolve();
    Reflect.deleteProperty(subtle, "exportKey");
  }
});
