/**
 * Readers that stop, on either side, and ends of one direction: what waits is bounded, and everything comes in the end.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { ServerSession, SshServer } from "../../mod.ts";
import { join } from "../_support/joined.ts";
import { memoryPair, sleep } from "../_support/duplex.ts";
import { assertGivenBack, holdings, MemoryWatch, sized } from "../_support/resources.ts";
import { client, fast, startServer } from "../_support/load.ts";

/** Of each kind. */
const POINTS = sized(8, 40);
/** Where readers stop: spread over two windows of a channel. */
const points = Array.from({ length: POINTS }, (_, i) => Math.floor(i * 2 ** 22 / POINTS) + i);
const PIECE = 65_536;
const LIMIT = 32 * 2 ** 20;
const WINDOW = 131_072;
/** A window that has grown as far as it may, what a channel gathers, what the pair holds, and a piece: a writer gets no further. */
const AHEAD = 8 * WINDOW + 131_072 + 262_144 + PIECE;

/** What went through one direction of a channel. */
interface Flow {
  written: number;
  read: number;
}
let toClient: Flow, toServer: Flow;
/** How long a reader stands still, while the other side writes as much as it is let. */
const PAUSE = 60;

/** Looks while a reader stands still. */
let watch: MemoryWatch;

/** Reads to the end, and counts; behind `point` bytes it stands still once, and then calls `rested`. */
async function readSlowly(
  readable: ReadableStream<Uint8Array>,
  point: number,
  flow: Flow,
  rested: () => void,
): Promise<number> {
  let paused = false;
  for await (const chunk of readable) {
    flow.read += chunk.length;
    if (paused || flow.read < point) continue;
    paused = true;
    await sleep(PAUSE);
    watch.look();
    assert(flow.written - flow.read <= AHEAD, `the writer is ${flow.written - flow.read} bytes ahead`);
    rested();
  }
  return flow.read;
}

/** Writes, and counts, until it is told that this is enough. */
async function writeOn(writable: WritableStream<Uint8Array>, flow: Flow, enough: () => boolean): Promise<number> {
  const writer = writable.getWriter(), piece = new Uint8Array(PIECE);
  while (!enough()) {
    await writer.write(piece);
    flow.written += PIECE;
    // In memory everything happens in microtasks, and they go before timers.
    if (flow.written % 2 ** 20 === 0) await sleep(0);
  }
  await writer.close();
  return flow.written;
}

/** Writes until the client's end of file has come, and tells how much it wrote and how much it read, standing still at a point. */
async function handler(session: ServerSession): Promise<void> {
  let over = false;
  const [read, written] = await Promise.all([
    readSlowly(session.stdin, Number(session.command), toServer, () => {}).then((length) => {
      over = true;
      return length;
    }),
    writeOn(session.stdout, toClient, () => over),
  ]);
  const writer = session.stderr.getWriter();
  await writer.write(new TextEncoder().encode(`${read} ${written}`));
}

function startFlows(): void {
  toClient = { written: 0, read: 0 };
  toServer = { written: 0, read: 0 };
}

type Client = Awaited<ReturnType<typeof join>>["client"];

/** Both sides write all the time; the client stands still at one point, the handler at another. */
async function run(client: Client, clientPoint: number, serverPoint: number, writes = true): Promise<void> {
  startFlows();
  const process = await client.spawn(String(serverPoint));
  let rested = false;
  const enough = () => rested;
  if (!writes) {
    const read = readSlowly(process.stdout, clientPoint, toClient, () => void process.stdin.close());
    const [told, length] = await Promise.all([new Response(process.stderr).text(), read]);
    assertEquals(told, `0 ${length}`);
  } else {
    const [read, written, told] = await Promise.all([
      readSlowly(process.stdout, clientPoint, toClient, () => rested = true),
      writeOn(process.stdin, toServer, enough),
      new Response(process.stderr).text(),
    ]);
    assertEquals(told, `${written} ${read}`);
  }
  assertEquals((await process.status).code, 0);
}

const kinds: Record<string, (joined: Awaited<ReturnType<typeof join>>, point: number) => Promise<void>> = {
  "a client that stops reading": ({ client }, point) => run(client, point, 0, false),
  "a handler that stops reading": ({ client }, point) => run(client, 1, point),
  "both of them at once": ({ client }, point) => run(client, point, 2 ** 22 - point),
  "a client that gives up reading": async ({ client }, point) => {
    startFlows();
    const process = await client.spawn("0");
    const reader = process.stdout.getReader();
    for (let length = 0; length < point;) length += (await reader.read()).value!.length;
    await sleep(PAUSE / 4);
    watch.look();
    await reader.cancel();
    await process.stdin.close();
    assertEquals((await process.status).code, 0);
  },
  "a network that stops": async ({ client, pair }, point) => {
    const start = pair.toClient.delivered, way = point % 2 === 0 ? pair.toServer : pair.toClient;
    const timer = setInterval(() => {
      if (pair.toClient.delivered - start < point) return;
      clearInterval(timer);
      way.stall();
      setTimeout(() => {
        watch.look();
        way.resume();
      }, PAUSE);
    }, 1);
    await run(client, 1, 0);
    clearInterval(timer);
    await sleep(PAUSE);
    way.resume();
  },
};

for (const [name, run] of Object.entries(kinds)) {
  Deno.test(`${name} at any of ${POINTS} points holds little, and all comes in the end`, async () => {
    await using joined = await join(
      { algorithms: fast, handler, window: WINDOW },
      { algorithms: fast, window: WINDOW },
      memoryPair({ chunks: "whole" }),
    );
    watch = await MemoryWatch.start();
    await run(joined, 0);
    const before = await holdings();
    watch = await MemoryWatch.start();
    for (const point of points) await run(joined, point);
    watch.assertUnder(LIMIT);
    assertEquals(joined.errors, []);
    await assertGivenBack(before);
  });
}

Deno.test("the end of one direction at any point leaves the other one open", async () => {
  const half = async (session: ServerSession) => {
    // The client's end comes first in one half of the cases, the server's own output in the other.
    let length = 0;
    for await (const chunk of session.stdin) length += chunk.length;
    const writer = session.stdout.getWriter();
    for (let i = 0; i < 20; i++) await writer.write(new Uint8Array(PIECE));
    await writer.write(new TextEncoder().encode(String(length)));
    await writer.close();
    await sleep(1);
    const error = session.stderr.getWriter();
    await error.write(new TextEncoder().encode("late"));
    return 7;
  };
  await using joined = await join(
    { algorithms: fast, handler: half },
    { algorithms: fast },
    memoryPair({ chunks: "whole" }),
  );
  for (let point = 0; point < POINTS; point++) {
    const process = await joined.client.spawn("half"), writer = process.stdin.getWriter();
    const bytes = Math.floor(point * 2 ** 21 / POINTS);
    await writer.write(new Uint8Array(bytes));
    await writer.close();
    const { stdout, stderr, code } = await process.output();
    assertEquals(new TextDecoder().decode(stdout.subarray(20 * PIECE)), String(bytes));
    assertEquals([new TextDecoder().decode(stderr), code], ["late", 7]);
  }
  assertEquals(joined.errors, []);
});

const READERS = sized(8, 50);
Deno.test(`${READERS} connections with a reader that has stopped hold little, and end when they are closed`, async () => {
  await using server = await startServer({ handler });
  await (await client(server)).close();
  const before = await holdings();
  await stoppedReaders(server);
  await assertGivenBack(before);
});

async function stoppedReaders(server: SshServer): Promise<void> {
  startFlows();
  const watch = await MemoryWatch.start();
  const clients = await Promise.all(Array.from({ length: READERS }, () => client(server, { algorithms: fast })));
  const processes = await Promise.all(clients.map((client) => client.spawn("0")));
  await sleep(500);
  // A window, a stage and what the sockets hold, for each of them on both sides.
  watch.assertUnder(sized(96, 512) * 2 ** 20);
  const ends = processes.map((process) => process.status.then(() => "resolved", () => "rejected"));
  await Promise.all(clients.map((client) => client.close()));
  assertEquals(new Set(await Promise.all(ends)), new Set(["rejected"]));
}
