// Rekeying under load: the matrix at the end of the design of the data path. Limits of one packet, 500 bytes and 256 KiB; both directions
// at full speed over 8 channels; a channel that nobody reads; chunks of one byte; high-water marks of 0; both sides at once; a peer that
// falls silent; a connection that drops in the middle. Nothing may hang, get lost, or change its order.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SshError, SshProtocolError } from "../../lib/errors.ts";
import { BaseChannel } from "../../lib/connection/channel.ts";
import { Mux } from "../../lib/connection/mux.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { SecureTransport } from "../../lib/transport/secure_transport.ts";
import type { SecureTransportOptions } from "../../lib/transport/transport_options.ts";
import type { RekeyLimits } from "../../lib/transport/types.ts";
import { type MemoryPair, memoryPair, type MemoryPairOptions, seededBytes } from "../_support/duplex.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { FakeTime } from "../_support/fake_time.ts";

const hostKey = await generateKey("ed25519");

interface Session {
  readonly pair: MemoryPair;
  readonly client: SecureTransport;
  readonly server: SecureTransport;
  readonly clientMux: Mux;
  readonly serverMux: Mux;
  /** Channels that the server has accepted, in order. */
  readonly accepted: BaseChannel[];
  /** Exchanges done by the client, the first included. */
  exchanges(): number;
  close(): Promise<void>;
}

interface SessionOptions {
  pair?: MemoryPairOptions;
  client?: RekeyLimits;
  server?: RekeyLimits;
  cipher?: string;
  transport?: Partial<SecureTransportOptions>;
}

/** Two transports with a mux each, logged in. */
async function connect(options: SessionOptions = {}): Promise<Session> {
  // Data is moved by the megabyte: what the environment says about chunks is for smaller tests.
  const pair = memoryPair({ chunks: "whole", ...options.pair });
  const algorithms = {
    kex: ["curve25519-sha256"],
    cipher: [options.cipher ?? "chacha20-poly1305@openssh.com"],
    mac: ["hmac-sha2-256-etm@openssh.com"],
    hostKey: ["ssh-ed25519"],
  };
  let exchanges = 0;
  const client = new SecureTransport(pair.client, {
    role: "client",
    verifyHostKey: () => true,
    algorithms,
    ...(options.client === undefined ? {} : { rekey: options.client }),
    trace: ({ event }) => {
      if (event === "keys") exchanges++;
    },
    ...options.transport,
  });
  const server = new SecureTransport(pair.server, {
    role: "server",
    hostKeys: [hostKey],
    algorithms,
    ...(options.server === undefined ? {} : { rekey: options.server }),
    ...options.transport,
  });
  const accepted: BaseChannel[] = [];
  const clientMux = new Mux(client);
  const serverMux = new Mux(server, {
    onOpen: ({ id }) => {
      const channel = new BaseChannel(id);
      accepted.push(channel);
      return { channel };
    },
  });
  client.setHandler(clientMux);
  server.setHandler(serverMux);
  await Promise.all([client.start(), server.start()]);
  await login(client, server);
  return {
    pair,
    client,
    server,
    clientMux,
    serverMux,
    accepted,
    exchanges: () => exchanges,
    close: async () => {
      await client.close();
      await server.closed.catch(() => {});
    },
  };
}

/** EXT_INFO belongs before the login, so a login without messages waits for it. */
async function login(client: SecureTransport, server: SecureTransport): Promise<void> {
  while (client.extensions.size === 0 || server.extensions.size === 0) {
    if (!client.isActive || !server.isActive) throw new Error("The connection ended before the login");
    await turns(1);
  }
  server.setAuthenticated();
  client.setAuthenticated();
}

const nothing = new Uint8Array(0);

async function openChannels(session: Session, count: number): Promise<[BaseChannel, BaseChannel][]> {
  const opened: [BaseChannel, BaseChannel][] = [];
  for (let i = 0; i < count; i++) {
    const channel = await session.clientMux.openChannel("session", nothing, (id) => new BaseChannel(id));
    opened.push([channel, session.accepted[i]!]);
  }
  return opened;
}

async function write(channel: BaseChannel, bytes: Uint8Array): Promise<void> {
  const writer = channel.writable.getWriter();
  const step = 30_011;
  for (let at = 0; at < bytes.length; at += step) await writer.write(bytes.slice(at, at + step));
  await writer.close();
}

async function readAll(channel: BaseChannel): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of channel.readable) {
    chunks.push(chunk);
    length += chunk.length;
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

function same(got: Uint8Array, wanted: Uint8Array, what: string): void {
  assertEquals(got.length, wanted.length, `${what}: length`);
  const at = got.findIndex((byte, i) => byte !== wanted[i]);
  assertEquals(at, -1, `${what} differs at ${at}`);
}

/** Moves bytes both ways over all channels at once and compares them. */
async function exchangeData(channels: [BaseChannel, BaseChannel][], size: number): Promise<void> {
  await Promise.all(channels.flatMap(([near, far], i) => {
    const up = seededBytes(size, 2 * i + 1), down = seededBytes(size, 2 * i + 2);
    return [
      write(near, up),
      write(far, down),
      readAll(far).then((got) => same(got, up, `up ${i}`)),
      readAll(near).then((got) => same(got, down, `down ${i}`)),
    ];
  }));
}

const limits: [name: string, limit: RekeyLimits, size: number, least: number][] = [
  ["one packet", { packets: 1 }, 384 << 10, 12],
  ["500 bytes", { bytes: 500 }, 384 << 10, 12],
  ["256 KiB", { bytes: 256 << 10 }, 1 << 20, 16],
];

for (const [name, limit, size, least] of limits) {
  for (const who of ["the client", "both sides"] as const) {
    Deno.test(`SecureTransport rekeys at ${name} by ${who}, with 8 channels at full speed both ways`, async () => {
      const session = await connect({ client: limit, ...(who === "both sides" ? { server: limit } : {}) });
      const channels = await openChannels(session, 8);
      await inTime(exchangeData(channels, size), "The transfer", 120_000);
      assert(session.exchanges() >= least, `${session.exchanges()} exchanges`);
      await session.close();
    });
  }
}

for (const cipher of ["aes128-gcm@openssh.com", "aes128-ctr"]) {
  Deno.test(`SecureTransport rekeys at 256 KiB under ${cipher}, whose batches are sealed in other threads`, async () => {
    const limit = { bytes: 256 << 10 };
    const session = await connect({ client: limit, server: limit, cipher });
    await inTime(exchangeData(await openChannels(session, 8), 1 << 20), "The transfer", 120_000);
    assert(session.exchanges() >= 16, `${session.exchanges()} exchanges`);
    await session.close();
  });
}

const streams: [name: string, pair: MemoryPairOptions, size: number][] = [
  ["chunks of one byte", { chunks: "bytes" }, 300],
  ["chunks at random", { chunks: { seed: 5 } }, 4 << 10],
  ["high-water marks of 0", { highWaterMark: 0 }, 32 << 10],
  ["chunks of one byte and high-water marks of 0", { chunks: "bytes", highWaterMark: 0 }, 300],
];

for (const [name, pair, size] of streams) {
  Deno.test(`SecureTransport rekeys at 500 bytes with ${name}`, async () => {
    const limit = { bytes: 500 };
    const session = await connect({ pair, client: limit, server: limit });
    for (let round = 0; round < 6; round++) {
      session.accepted.length = 0;
      await inTime(exchangeData(await openChannels(session, 4), size), "The transfer", 120_000);
    }
    assert(session.exchanges() >= 7, `${session.exchanges()} exchanges`);
    await session.close();
  });
}

Deno.test("SecureTransport rekeys while nobody reads one channel, which stops that channel alone", async () => {
  const limit = { bytes: 128 << 10 };
  const session = await connect({ client: limit, server: limit });
  const [[stuck], ...others] = await openChannels(session, 5) as [
    [BaseChannel, BaseChannel],
    ...[BaseChannel, BaseChannel][],
  ];
  const writer = stuck.writable.getWriter();
  let wrote = 0;
  const writing = (async () => {
    for (;;) {
      await writer.write(new Uint8Array(65_536));
      wrote += 65_536;
    }
  })().catch((error) => error);
  await inTime(exchangeData(others, 1 << 20), "The transfer", 120_000);
  assert(wrote <= (2 << 20) + (256 << 10), `${wrote} bytes were taken for a reader that does not read`);
  await session.close();
  assert(await inTime(writing, "The writer") instanceof SshError);
});

Deno.test("SecureTransport rekeys when both sides begin at once, again and again", async () => {
  const session = await connect();
  const { client, server } = session;
  const channels = await openChannels(session, 2);
  const moving = exchangeData(channels, 2 << 20);
  const sessionId = client.info.sessionId;
  for (let i = 0; i < 25; i++) {
    await inTime(Promise.all([client.rekey(), server.rekey(), client.rekey()]), `Exchange ${i}`);
    assertEquals(client.info.sessionId, sessionId);
    assertEquals(server.info.sessionId, sessionId);
  }
  await inTime(moving, "The transfer", 120_000);
  // rekey() during an exchange joins it: 25 and not 50, unless the data itself got in between.
  assertEquals(session.exchanges(), 26);
  await session.close();
});

Deno.test("SecureTransport rekeys by the clock, on whichever side has it", async () => {
  for (const side of ["client", "server"] as const) {
    using time = new FakeTime();
    const session = await connect({ [side]: { interval: 30_000 } });
    for (let done = 1; done < 6; done++) {
      await turns();
      assertEquals(session.exchanges(), done);
      time.tick(29_999);
      await turns();
      assertEquals(session.exchanges(), done);
      time.tick(1);
      await until(() => session.exchanges() > done, "The keys are not renewed");
    }
    await session.close();
  }
});

// A program's own limits do not apply before login, where many peers take no KEXINIT.
Deno.test("SecureTransport does not rekey before login, and at once after it", async () => {
  const pair = memoryPair();
  const limit = { packets: 1 };
  let exchanges = 0;
  const server = new SecureTransport(pair.server, {
    role: "server",
    hostKeys: [hostKey],
    rekey: limit,
    trace: ({ event }) => {
      if (event === "keys") exchanges++;
    },
  });
  const client = new SecureTransport(pair.client, { role: "client", verifyHostKey: () => true, rekey: limit });
  let got = 0;
  const handler = { message: () => ++got > 0, ended: () => {} };
  client.setHandler(handler);
  server.setHandler(handler);
  await Promise.all([client.start(), server.start()]);
  for (let i = 0; i < 20; i++) {
    client.send(new Uint8Array([50, i]));
    server.send(new Uint8Array([51, i]));
  }
  await until(() => got === 40, "Messages were lost");
  await turns();
  assertEquals([got, exchanges], [40, 1]);
  server.setAuthenticated();
  client.setAuthenticated();
  client.send(new Uint8Array([94]));
  await until(() => got >= 41 && exchanges >= 2, "The message or the exchange did not come");
  assertEquals(got, 41);
  await client.close();
  await server.closed;
});

/** Everything of a session that somebody can wait for; each must settle when the connection ends. */
async function everyWait(session: Session): Promise<Promise<unknown>[]> {
  const { client, server, clientMux } = session;
  const [[near, far]] = await openChannels(session, 1) as [[BaseChannel, BaseChannel]];
  const waits: Promise<unknown>[] = [];
  const large = near.writable.getWriter();
  waits.push(large.write(new Uint8Array(4 << 20)), large.closed, large.close());
  waits.push(near.readable.getReader().read(), near.stderr.getReader().read(), far.stderr.getReader().read());
  waits.push(client.rekey(), server.rekey());
  waits.push(clientMux.globalRequest("x@y"), near.request("x@y"));
  waits.push(clientMux.openChannel("session", nothing, (id) => new BaseChannel(id)));
  waits.push(near.closed, far.closed, client.closed, server.closed);
  return waits.map((wait) => wait.then(() => null, (error) => error));
}

// What an application sends while keys change waits where it is, and is bounded by the windows.
Deno.test("SecureTransport ends at its deadline when the peer falls silent after KEXINIT, and every promise settles", async () => {
  using time = new FakeTime();
  const session = await connect({ transport: { rekeyTimeout: 60_000 } });
  const { client, server, pair } = session;
  pair.toClient.stall();
  const waits = await Promise.race([
    everyWait(session),
    turns(20).then(() => null),
  ]);
  assertEquals(waits, null, "A channel opened on a stalled connection");
  const renewed = client.rekey();
  const queued: number[] = [];
  for (let i = 0; i < 40; i++) {
    queued.push(client.queued);
    await turns(1);
  }
  assert(Math.max(...queued) <= 64, `${queued}`);
  time.tick(59_999);
  await turns();
  assert(client.isActive, "It did not wait");
  time.tick(1);
  const error = await assertRejects(() => inTime(renewed, "rekey()"), SshProtocolError);
  assertEquals(error.reason, 3);
  // A moment for what cannot leave, and for a peer that does not hang up.
  let closed = false;
  client.closed.catch(() => {}).finally(() => closed = true);
  await until(() => (time.tick(100), closed), "closed does not settle");
  pair.reset();
  await inTime(server.closed.catch(() => {}), "closed of the server");
});

Deno.test("SecureTransport settles every promise when the connection drops at any byte of an exchange", async () => {
  // Where the exchange lies in each direction.
  const measure = await connect();
  await openChannels(measure, 1);
  const from = { toServer: measure.pair.toServer.written, toClient: measure.pair.toClient.written };
  await measure.client.rekey();
  await turns();
  const to = { toServer: measure.pair.toServer.written, toClient: measure.pair.toClient.written };
  await measure.close();
  // Each run takes some milliseconds: every byte on demand, otherwise one in four.
  const step = Deno.env.get("AMIKO_FUZZ_SECONDS") === undefined ? 4 : 1;
  let cuts = 0;
  for (const direction of ["toServer", "toClient"] as const) {
    for (let at = from[direction]; at <= to[direction]; at += step) {
      const cut = cuts % 2 === 0 ? "reset" as const : "end" as const;
      const session = await connect({ pair: { cutAfter: { [direction]: at }, cut } });
      const waits = await inTime(everyWait(session), `Opening, cut at ${at} ${direction}`, 1000).catch(() => null);
      // The peer of a side that got a clean end hears of it by the DISCONNECT, or by a reset when it is late.
      for (const [i, wait] of (waits ?? []).entries()) {
        const error = await inTime(wait, `Promise ${i}, cut at ${at} ${direction}, ${cut}`);
        assert(error === null || error instanceof Error);
      }
      if (waits === null) await session.close();
      cuts++;
    }
  }
  assert(cuts > 50, `${cuts} cuts`);
});
