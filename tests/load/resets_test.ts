/**
 * The connection breaks at any byte of a session: in memory with every call watched, and on loopback with a server that lives on.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { connect, serveConn, type ServerSession } from "../../mod.ts";
import { commands, login, serverOptions, text } from "../_support/joined.ts";
import { memoryPair, type MemoryPairOptions, seededBytes } from "../_support/duplex.ts";
import { assertGivenBack, holdings, sized } from "../_support/resources.ts";
import { client, ENDS, fast, outcome, startServer } from "../_support/load.ts";

const POINTS = 200;
const ways = ["toServer", "toClient"] as const;
const DATA = seededBytes(sized(20_000, 5_000));

/** How each call of a session ended, and how many bytes passed. */
interface Ran {
  readonly calls: Record<string, string>;
  readonly bytes: { readonly toServer: number; readonly toClient: number };
}

/** Login, a command with data, a command with an exit code; every promise of both sides is looked at. */
async function session(options: MemoryPairOptions): Promise<Ran> {
  const pair = memoryPair({ chunks: "whole", ...options });
  const calls: Record<string, string> = {}, handlers: Promise<unknown>[] = [], errors: unknown[] = [];
  const handler = (session: ServerSession) => {
    const handled = commands(session);
    handlers.push(handled);
    return handled;
  };
  const served = outcome(
    serveConn(pair.server, {
      ...await serverOptions({ handler, algorithms: fast }),
      onError: (error) => errors.push(error),
    }),
  );
  const connecting = connect({ hostname: "test.invalid", ...login, transport: pair.client });
  calls.connect = await outcome(connecting);
  if (calls.connect === "resolved") {
    const client = await connecting, spawning = client.spawn("cat");
    calls.spawn = await outcome(spawning);
    if (calls.spawn === "resolved") {
      const process = await spawning, writer = process.stdin.getWriter();
      const all = Promise.all(
        ([
          ["write", writer.write(DATA)],
          ["end", writer.close()],
          ["output", process.output()],
          ["status", process.status],
          ["writer", writer.closed],
        ] as const).map(async ([name, promise]) => calls[name] = await outcome(promise)),
      );
      await all;
    }
    const exit = client.exec("exit 3");
    calls.exec = await outcome(exit);
    if (calls.exec === "resolved") assertEquals((await exit).code, 3);
    calls.close = await outcome(client.close());
    calls.closed = await outcome(client.closed);
  }
  calls.served = await served;
  await Promise.all(handlers.map(async (handled, i) => calls[`handler ${i}`] = await outcome(handled)));
  assertEquals(errors, []);
  return { calls, bytes: { toServer: pair.toServer.written, toClient: pair.toClient.written } };
}

for (const cut of ["reset", "end"] as const) {
  const what = cut === "reset" ? "a reset" : "an end of one direction";
  Deno.test(`${what} at any of ${sized(String(POINTS), "all")} offsets of a session settles every call, both ways`, async () => {
    const whole = await session({});
    assertEquals(new Set(Object.values(whole.calls)), new Set(["resolved"]), JSON.stringify(whole.calls));
    await session({ cutAfter: { toServer: 1000 } });
    const before = await holdings();
    for (const way of ways) {
      // Encrypted packets vary a little in size; a cut that is never reached is no cut.
      const total = whole.bytes[way], step = sized(total / POINTS, 1);
      let cuts = 0;
      for (let at = 1; at <= total; at += step) {
        const behind = Math.floor(at), { calls } = await session({ cutAfter: { [way]: behind }, cut });
        for (const [name, end] of Object.entries(calls)) {
          assert(end === "resolved" || ENDS.has(end), `${name}: ${end}, ${cut} behind byte ${behind} ${way}`);
        }
        if (ENDS.has(calls.connect!) || ENDS.has(calls.closed!)) cuts++;
      }
      assert(cuts > 0.9 * POINTS, `only ${cuts} sessions ended by a cut ${way}`);
    }
    await assertGivenBack(before);
  });
}

/** A relay on loopback that closes both of its sockets behind so many bytes of one direction: unread bytes make that a reset. */
function cuttingRelay(port: number, way: typeof ways[number], after: number): Deno.TcpListener {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  (async () => {
    const near = await listener.accept(), far = await Deno.connect({ hostname: "127.0.0.1", port });
    const cut = () => {
      for (const conn of [near, far, listener]) {
        try {
          conn.close();
        } catch { /* closed */ }
      }
    };
    const pump = async (from: Deno.TcpConn, to: Deno.TcpConn, most: number) => {
      const buffer = new Uint8Array(4096);
      try {
        for (let passed = 0; passed < most;) {
          const n = await from.read(buffer.subarray(0, Math.min(4096, most - passed)));
          if (n === null) break;
          passed += n;
          for (let at = 0; at < n;) at += await to.write(buffer.subarray(at, n));
        }
      } catch { /* the other side has closed */ }
      cut();
    };
    await Promise.all([
      pump(near, far, way === "toServer" ? after : Infinity),
      pump(far, near, way === "toClient" ? after : Infinity),
    ]);
  })();
  return listener;
}

Deno.test("serve() lives through sockets that break at any offset, and gives their files back", async () => {
  const errors: unknown[] = [];
  await using server = await startServer({ onError: (error) => errors.push(error) });
  await (await client(server)).close();
  const before = await holdings();
  const step = sized(1300, 97);
  for (const way of ways) {
    for (let after = 1; after < 26_000; after += step) {
      const { addr } = cuttingRelay(server.addr.port, way, after);
      const ran = connect({ hostname: "127.0.0.1", port: addr.port, ...login }).then(async (client) => {
        const process = await client.spawn("cat"), writer = process.stdin.getWriter();
        writer.write(DATA).then(() => writer.close()).catch(() => {});
        await process.output().finally(() => client.close());
      });
      const end = await outcome(ran);
      assert(ENDS.has(end) || end === "resolved", `${end}, cut behind byte ${after} ${way}`);
    }
  }
  for (const error of errors) assert(ENDS.has(await outcome(Promise.reject(error))), String(error));
  await using alive = await client(server);
  assertEquals(text((await alive.exec("echo alive")).stdout), "alive\n");
  await alive.close();
  await assertGivenBack(before);
});
