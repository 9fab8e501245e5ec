/**
 * Windows and agents of whole sessions, over a connection of `connect()` and `serveConn()`: what begins and ends with them.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connectAgent } from "../../lib/agent/agent.ts";
import { SshError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { Agent } from "../../lib/keys/types.ts";
import type { ForwardedX11 } from "../../lib/session/types.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { type MemoryPair, memoryPair } from "../_support/duplex.ts";
import { join } from "../_support/joined.ts";
import { inTime, turns, until } from "../_support/until.ts";

const REAL = "00112233445566778899aabbccddeeff";

/** The first packet of a program, big-endian. */
function setup(cookie: string): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode("MIT-MAGIC-COOKIE-1");
  return Uint8Array.from([0x42, 0, 0, 11, 0, 0, 0, 18, 0, 16, 0, 0, ...name, 0, 0, ...Uint8Array.fromHex(cookie)]);
}

/** A program of a session that opens a window. */
async function openWindow({ display, cookie }: ForwardedX11): Promise<Deno.TcpConn> {
  const [, number] = /^127\.0\.0\.1:(\d+)\./.exec(display)!;
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: 6000 + Number(number) });
  await conn.write(setup(cookie));
  return conn;
}

/** A client and a server whose sessions end when a test says so. */
async function start() {
  const sessions: ServerSession[] = [], shown: MemoryPair[] = [], ends: PromiseWithResolvers<void>[] = [];
  const joined = await join({
    allowX11: true,
    allowAgent: true,
    handler: async (session) => {
      sessions.push(session);
      const end = Promise.withResolvers<void>();
      ends.push(end);
      await end.promise;
    },
  });
  const connect = () => {
    const pair = memoryPair({ highWaterMark: 65_536, chunks: "whole" });
    shown.push(pair);
    return pair.client;
  };
  return { ...joined, joined, sessions, shown, ends, x11: { cookie: REAL, connect } };
}

/** What comes to a display, up to a length or the end. */
async function read(pair: MemoryPair, length: number): Promise<Uint8Array> {
  const reader = pair.server.readable.getReader(), got: number[] = [];
  try {
    while (got.length < length) {
      const { value, done } = await inTime(reader.read(), "bytes of a window");
      if (done) break;
      got.push(...value);
    }
  } catch {
    // It was cut off.
  } finally {
    reader.releaseLock();
  }
  return Uint8Array.from(got);
}

Deno.test("a window that is open goes on when its session ends, and new ones are refused", async () => {
  const { joined, client, sessions, shown, ends, x11 } = await start();
  await using _ = joined;
  const process = await client.spawn("x", { x11 }), { x11: lent } = sessions[0]!;
  const window = await openWindow(lent!);
  await until(() => shown.length === 1, "the display is connected to");
  assertEquals(await read(shown[0]!, setup(REAL).length), setup(REAL));
  // Another session has a display of its own, and its cookie does not fit there.
  const other = await client.spawn("x", { x11 });
  assert(sessions[1]!.x11!.cookie !== lent!.cookie && sessions[1]!.x11!.display !== lent!.display);
  ends[0]!.resolve();
  assertEquals((await process.output()).code, 0);
  await window.write(Uint8Array.of(7));
  assertEquals(await read(shown[0]!, 1), Uint8Array.of(7));
  const late = await openWindow({ ...sessions[1]!.x11!, cookie: lent!.cookie });
  assertEquals(await late.read(new Uint8Array(1)).catch(() => null), null);
  assertEquals(shown.length, 1);
  ends[1]!.resolve();
  await other.output();
  window.close();
  late.close();
  assertEquals(await read(shown[0]!, 1), new Uint8Array(0));
});

Deno.test("a session that its signal ends takes its windows along, and so does the connection's end", async () => {
  const { joined, client, sessions, shown, ends, x11 } = await start(), stop = new AbortController();
  const process = await client.spawn("x", { x11, signal: stop.signal });
  process.status.catch(() => {});
  const staying = await client.spawn("x", { x11 });
  staying.status.catch(() => {});
  const windows = [await openWindow(sessions[0]!.x11!)];
  await until(() => shown.length === 1, "the first is connected");
  windows.push(await openWindow(sessions[1]!.x11!));
  await until(() => shown.length === 2, "the second is connected");
  for (const pair of shown) await read(pair, setup(REAL).length);
  stop.abort(new Error("enough"));
  assertEquals(await read(shown[0]!, 1), new Uint8Array(0));
  await windows[1]!.write(Uint8Array.of(7));
  assertEquals(await read(shown[1]!, 1), Uint8Array.of(7));
  for (const { resolve } of ends) resolve();
  await joined[Symbol.asyncDispose]();
  for (const window of windows) {
    assertEquals(await inTime(window.read(new Uint8Array(1)).catch(() => null), "the end of a window"), null);
    window.close();
  }
  assertEquals(await read(shown[1]!, 1), new Uint8Array(0));
});

Deno.test("a session that does not start lends nothing, and one that is disposed of lends no more", async () => {
  const key = await generateKey(),
    agent: Agent = {
      signers: () => Promise.resolve([key]),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  const { joined, client, sessions, ends, x11 } = await start();
  await using _ = joined;
  // No such subsystem: what was lent is taken back, so that another agent may be lent.
  await assertRejects(() => client.subsystem("nothing", { x11, agent }), SshError);
  const other: Agent = { ...agent }, process = await client.spawn("x", { agent: other, x11 });
  await assertRejects(() => client.spawn("x", { agent }), TypeError, "another session");
  {
    await using lent = await connectAgent(await sessions[0]!.agent!.open());
    assertEquals((await lent.signers())[0]!.publicKey.blob, key.publicKey.blob);
  }
  // The server keeps the channel: its handler does not end. Nothing is lent all the same.
  await process[Symbol.asyncDispose]();
  await assertRejects(() => sessions[0]!.agent!.open(), SshError);
  for (const { resolve } of ends) resolve();
  assertEquals(client.info.hostKey.type, "ssh-ed25519");
});

Deno.test("with an aborted signal, or one that aborts while a display is looked for, no session is opened", async () => {
  const { joined, client, sessions } = await start();
  await using _ = joined;
  const before = ["PATH", "TMPDIR"].map((name) => [name, Deno.env.get(name)] as const);
  const dir = Deno.makeTempDirSync({ prefix: "amiko_ssh_" });
  const folders = (): number => [...Deno.readDirSync(dir)].filter(({ isDirectory }) => isDirectory).length;
  try {
    // One that never answers.
    Deno.writeTextFileSync(`${dir}/xauth`, '#!/bin/sh\n: > "$TMPDIR/asked"\nexec sleep 1000\n', { mode: 0o700 });
    Deno.env.set("PATH", `${dir}:${Deno.env.get("PATH")}`);
    Deno.env.set("TMPDIR", dir);
    const stop = new AbortController(), starting = client.spawn("x", { x11: { display: ":9" }, signal: stop.signal });
    starting.catch(() => {});
    await until(() => [...Deno.readDirSync(dir)].some(({ name }) => name === "asked"), "xauth is asked");
    assertEquals(folders(), 1);
    stop.abort(new Error("given up"));
    await assertRejects(() => inTime(starting, "the end"), Error, "given up");
    // Nothing of it stays.
    await until(() => folders() === 0, "its folder is removed");
    await turns();
    const gone = AbortSignal.abort(new Error("given up"));
    await assertRejects(() => client.spawn("x", { x11: { display: ":9" }, signal: gone }), Error, "given up");
    assertEquals([sessions.length, folders()], [0, 0]);
  } finally {
    for (const [name, value] of before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    Deno.removeSync(dir, { recursive: true });
  }
});
