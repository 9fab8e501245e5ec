/**
 * Bench. Peers that send as fast as they can: whether deadlines hold beside one, how others fare, and how long the event loop keeps
 * everybody waiting.
 *
 * @module
 */

import { type FloodKind, floodKinds } from "../../tests/_support/flooder.ts";
import { connect, insecureAcceptAnyHostKey, password } from "../../mod.ts";
import { type Figure, log, median } from "../harness.ts";
import type { Bench } from "../support/bench.ts";
import { type Program, start } from "../support/run.ts";

/** Milliseconds that a login may take. */
const LOGIN_TIMEOUT = 3000;
/** Honest clients, at the same time. */
const HONEST = 20;
const strangers: readonly string[] = ["plain", "sealed", "drip", "accepted"];

/** Logs in, runs a command and leaves, so many at once; the milliseconds of each. */
async function honest(port: number): Promise<number[]> {
  return await Promise.all(Array.from({ length: HONEST }, async () => {
    const since = performance.now();
    await using client = await connect({
      hostname: "127.0.0.1",
      port,
      username: "alice",
      auth: [password("wonderland")],
      verifyHostKey: insecureAcceptAnyHostKey(),
    });
    await client.exec("true");
    return performance.now() - since;
  }));
}

/** How long the event loop kept others waiting, and the most that it computed meanwhile. */
async function waits(server: Program): Promise<{ longest: number; above: number; most: number }> {
  await server.nudge();
  const { longest, above, most } = await server.next();
  return { longest: longest!, above: above!, most: most! };
}

/** One table: a flood of each kind at a server, and a flooding server at a client with a deadline. */
export async function floods(bench: Bench): Promise<Figure[]> {
  const kinds = bench.settings.quick ? floodKinds.slice(0, 3) : floodKinds;
  const late = new Map<string, number[]>(), slowest = new Map<string, number[]>(), turns = new Map<string, number[]>();
  const computed = new Map<string, number[]>();
  const note = (map: Map<string, number[]>, name: string, value: number): void => {
    map.set(name, [...map.get(name) ?? [], value]);
  };
  for (let round = 1; round <= (bench.settings.quick ? 1 : bench.settings.rounds); round++) {
    for (const kind of ["none", ...kinds]) {
      await using server = start("flooded server", { hostKey: bench.keys.hostKey, loginTimeout: LOGIN_TIMEOUT });
      const { port } = await server.next();
      // What is compiled at the first login is compiled before the measure.
      await honest(port!);
      await using flood = kind === "none" ? undefined : start("flooder", { kind: kind as FloodKind, port });
      await flood?.next();
      await waits(server);
      const times = await honest(port!);
      note(slowest, kind, Math.max(...times));
      const watched = await waits(server);
      note(turns, kind, watched.longest);
      if (!Number.isNaN(watched.most)) note(computed, kind, watched.most);
      let ended = NaN;
      if (strangers.includes(kind)) {
        ended = (await flood!.next()).milliseconds! - LOGIN_TIMEOUT;
        note(late, kind, ended);
      }
      log(
        `floods, round ${round}, ${kind}: login p50 ${median(times).toFixed(0)} ms, max ${
          Math.max(...times).toFixed(0)
        } ms; ` +
          `longest wait ${watched.longest.toFixed(1)} ms, ${watched.above} above 20 ms, ` +
          `${watched.most.toFixed(1)} ms computed in one at most; ` +
          (Number.isNaN(ended) ? "" : `ended ${ended.toFixed(0)} ms after its time`),
      );
    }
    for (const kind of ["plain", "sealed", "drip"] as const) {
      await using flood = start("flooder", { kind: `${kind} server` });
      const { port } = await flood.next();
      const since = performance.now(), signal = AbortSignal.timeout(2000);
      await connect({
        hostname: "127.0.0.1",
        port: port!,
        username: "alice",
        verifyHostKey: insecureAcceptAnyHostKey(),
        signal,
      }).catch(() => {});
      const over = performance.now() - since - 2000;
      note(late, `${kind}, of a client`, over);
      log(`floods, round ${round}, a client beside ${kind}: ended ${over.toFixed(0)} ms after its signal`);
    }
  }
  const figure = (what: string, ours: string, values: Map<string, number[]>, atMost?: number): Figure => ({
    what: `${what}: ${ours}`,
    ours,
    values,
    targets: atMost === undefined && ours !== "none" ? [{ rival: "none" }] : [],
    ...atMost !== undefined && { limit: { atMost } },
    digits: 0,
  });
  return [
    ...[...late.keys()].map((kind) => figure("ms after its time that a flood ended", kind, late, 100)),
    ...[...slowest.keys()].map((kind) =>
      figure(`slowest of ${HONEST} logins at once beside a flood, ms`, kind, slowest)
    ),
    ...[...turns.keys()].map((kind) => figure("longest wait for a turn beside a flood, ms", kind, turns)),
    ...[...computed.keys()].map((kind) => figure("most computed in a turn beside a flood, ms", kind, computed, 20)),
  ];
}
