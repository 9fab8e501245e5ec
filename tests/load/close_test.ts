// A clean close lets what was accepted leave first: every byte whose write had resolved arrives.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, serve, type ServerSession, type SshClient, SshError, Transport } from "../../mod.ts";
import { Channel } from "../../lib/api/transport/channel.ts";
import { hostKey, join, login, serverOptions } from "../_support/joined.ts";
import { delayRelay, memoryPair, seededRandom } from "../_support/duplex.ts";

const soak = Deno.env.get("AMIKO_SOAK") !== undefined;

/** Counts what a session's client sends. */
class Counter {
  bytes = 0;
  readonly ended = Promise.withResolvers<void>();

  readonly handler = async (session: ServerSession): Promise<void> => {
    try {
      for await (const chunk of session.stdin) this.bytes += chunk.length;
    } catch {
      // The connection has ended.
    }
    this.ended.resolve();
  };
}

/** Writes until something goes wrong; the bytes of the writes that resolved. */
class Filler {
  accepted = 0;
  readonly done: Promise<void>;

  constructor(stream: WritableStream<Uint8Array>, random: () => number) {
    this.done = this.#run(stream.getWriter(), random);
  }

  async #run(writer: WritableStreamDefaultWriter<Uint8Array>, random: () => number): Promise<void> {
    try {
      for (;;) {
        const size = random() < 0.5 ? Math.ceil(random() * 1000) : Math.ceil(random() * 120_000);
        await writer.write(new Uint8Array(size));
        this.accepted += size;
        if (random() < 0.1) await new Promise<void>((resolve) => void setImmediate(resolve));
      }
    } catch {
      // It was closed.
    }
  }
}

Deno.test("SshClient.close() lets what was written leave, with windows that are full and in a rekey", async () => {
  for (const window of [32_768, 100_000, 2_097_152]) {
    for (const rekeying of [false, true]) {
      const counter = new Counter();
      const joined = await join({ handler: counter.handler, window });
      const process = await joined.client.spawn("x");
      const writer = process.stdin.getWriter();
      for (let i = 0; i < 4; i++) await writer.write(new Uint8Array(30_000));
      if (rekeying) void joined.client.rekey().catch(() => {});
      await joined.client.close();
      await joined.client.closed;
      await counter.ended.promise;
      assertEquals(counter.bytes, 120_000);
      assertEquals(await joined.served, null);
      await assertRejects(() => writer.write(new Uint8Array(1)), SshError);
      await assertRejects(() => joined.client.exec("x"), SshError, "closed");
    }
  }
});

Deno.test("A server that is disposed of lets what its handlers have written leave", async () => {
  const written = Promise.withResolvers<void>();
  const server = serve({
    ...await serverOptions({ onError: () => {} }),
    hostname: "127.0.0.1",
    port: 0,
    handler: async (session) => {
      const writer = session.stdout.getWriter();
      for (let i = 0; i < 4; i++) await writer.write(new Uint8Array(30_000));
      written.resolve();
      await new Promise<void>((resolve) => session.signal.addEventListener("abort", () => resolve()));
    },
  });
  await using client = await connect({ hostname: "127.0.0.1", port: server.addr.port, ...login });
  const process = await client.spawn("x");
  await written.promise;
  const disposed = server[Symbol.asyncDispose]();
  let bytes = 0;
  await (async () => {
    for await (const chunk of process.stdout) bytes += chunk.length;
  })().catch(() => {});
  assertEquals(bytes, 120_000);
  await disposed;
});

Deno.test("Transport.close() lets what its channels have written leave, in both roles", async () => {
  for (const closing of ["client", "server"] as const) {
    const pair = memoryPair(), near = new Transport(pair.client), far = new Transport(pair.server);
    far.addServerKey(await hostKey());
    await Promise.all([
      near.startClient(),
      far.startServer({
        getAllowedAuths: () => ["password"],
        checkAuthPassword: () => true,
        checkChannelRequest: (_kind, id) => new Channel(id),
      }),
    ]);
    await near.authPassword("alice", "x");
    const [mine, theirs] = await Promise.all([near.openSession(), far.accept()]);
    const [from, to, transport] = closing === "client" ? [mine, theirs!, near] : [theirs!, mine, far];
    const writer = from.writable.getWriter();
    for (let i = 0; i < 4; i++) await writer.write(new Uint8Array(30_000));
    const ended = transport.close();
    let bytes = 0;
    await (async () => {
      for await (const chunk of to.readable) bytes += chunk.length;
    })().catch(() => {});
    assertEquals(bytes, 120_000, closing);
    await ended;
    await Promise.allSettled([near.close(), far.close()]);
  }
});

Deno.test("Every byte whose write resolved before a clean close arrives, at random moments under load", async () => {
  const random = seededRandom(20_261_128);
  const rounds = soak ? 1000 : 60;
  for (let round = 0; round < rounds; round++) {
    const counters = [new Counter(), new Counter(), new Counter()];
    let next = 0;
    const window = [32_768, 131_072, 2_097_152][round % 3]!;
    const over = round % 2 === 0 ? "memory" : "socket";
    const options = {
      ...await serverOptions({ onError: () => {} }),
      window,
      handler: (session: ServerSession) => counters[next++]!.handler(session),
      ...round % 5 === 0 && { rekey: { bytes: 100_000 } },
    };
    let client: SshClient, end: () => Promise<unknown>;
    if (over === "memory") {
      const joined = await join(options);
      client = joined.client;
      end = () => joined.served;
    } else {
      const server = serve({ ...options, hostname: "127.0.0.1", port: 0 });
      client = await connect({ hostname: "127.0.0.1", port: server.addr.port, ...login });
      end = () => server[Symbol.asyncDispose]();
    }
    const fillers: Filler[] = [];
    for (let i = 0; i < counters.length; i++) {
      const process = await client.spawn("x");
      fillers.push(new Filler(process.stdin, random));
    }
    const moments = Math.ceil(random() * 20);
    for (let i = 0; i < moments; i++) await new Promise<void>((resolve) => void setImmediate(resolve));
    // What has resolved up to here is what counts.
    const accepted = fillers.map((filler) => filler.accepted);
    await client.close();
    await client.closed;
    await Promise.all(fillers.map((filler) => filler.done));
    await Promise.all(counters.map((counter) => counter.ended.promise));
    for (const [i, counter] of counters.entries()) {
      assert(counter.bytes >= accepted[i]!, `${counter.bytes} of ${accepted[i]} bytes, round ${round} over ${over}`);
    }
    await end();
  }
});

Deno.test("SshClient.close() delivers over a slow network, and waits until the peer has hung up", async () => {
  const counter = new Counter();
  await using server = serve({
    ...await serverOptions({ handler: counter.handler }),
    hostname: "127.0.0.1",
    port: 0,
  });
  await using relay = delayRelay({ to: { port: server.addr.port }, delay: 150 });
  const client = await connect({ hostname: "127.0.0.1", port: relay.port, ...login });
  const process = await client.spawn("x");
  const writer = process.stdin.getWriter();
  let sent = 0;
  while (sent < 3_000_000) {
    await writer.write(new Uint8Array(30_000));
    sent += 30_000;
  }
  await client.close();
  await counter.ended.promise;
  assertEquals(counter.bytes, sent);
});

Deno.test("A close that could not deliver all says how much is lost", async () => {
  const joined = await join({
    window: 32_768,
    handler: async (session) => {
      await new Promise<void>((resolve) => session.signal.addEventListener("abort", () => resolve()));
    },
  });
  const process = await joined.client.spawn("x");
  await process.stdin.getWriter().write(new Uint8Array(50_000));
  await joined.client.close();
  const error = await assertRejects(() => joined.client.closed, SshError, "17232 bytes are lost");
  assertEquals(error.code, "CLOSED");
  await joined.served;
});
