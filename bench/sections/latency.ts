/**
 * Bench. Many small steps: execs, logins, echoes.
 *
 * @module
 */

import { alternate, type Figure, pick, type Target } from "../harness.ts";
import type { Bench } from "../support/bench.ts";
import type { Result } from "../support/run.ts";
import { clients } from "./throughput.ts";

/** ssh2 leaves Nagle's algorithm on unless a program calls `setNoDelay()`; the plain contenders do call it. */
const asItComes = "ssh2 on Node, Nagle left on";

/** CPU of a step, where the contender tells of it. */
function cpuFigure(what: string, results: ReadonlyMap<string, readonly Result[]>, targets: readonly Target[]): Figure {
  const values = pick(results, ({ cpu = NaN, count }) => cpu / count! * 1e3);
  return {
    what: `${what}, CPU ms each`,
    ours: "this module",
    values,
    targets: targets.map(({ rival }) => ({ rival })),
    digits: 2,
  };
}

const perSecond = (result: Result): number => result.count! / result.seconds!;
const show = (result: Result): string => {
  const { count, p50, p99, max, over40, cpu } = result;
  return `${perSecond(result).toFixed(1)}/s, p50 ${p50!.toFixed(2)} ms, p99 ${p99!.toFixed(2)} ms, ` +
    `max ${max!.toFixed(1)} ms, ${over40} of 40 ms or more` +
    (cpu === undefined ? "" : `, CPU ${(cpu / count! * 1e3).toFixed(2)} ms each`);
};

function steps(bench: Bench, what: string, scenario: string, params: Readonly<Record<string, unknown>>) {
  return alternate(
    bench.settings,
    what,
    {
      ...Object.fromEntries(clients.map((client) => [client, () => bench.client(client, scenario, params)])),
      [asItComes]: () => bench.client("ssh2 on Node", scenario, { ...params, nagle: true }),
    },
    show,
  );
}

/** Commands one after the other on one connection. */
export async function execs(bench: Bench): Promise<Figure[]> {
  const results = await steps(bench, "execs", "execs", { command: "true", count: bench.settings.count });
  const ours = "this module";
  const targets: Target[] = [
    { rival: "ssh", atLeast: 1 },
    { rival: "ssh2 on Deno", atLeast: 1.1 },
    { rival: "ssh2 on Node" },
    { rival: asItComes },
  ];
  return [
    {
      what: "execs one after the other on one connection, per second",
      ours,
      values: pick(results, perSecond),
      targets,
      digits: 0,
    },
    cpuFigure("execs one after the other", results, targets),
    {
      what: "the same, longest step of all rounds, ms",
      ours,
      values: new Map([...results].map(([name, each]) => [name, [Math.max(...each.map(({ max }) => max!))]])),
      targets: targets.map(({ rival }) => ({ rival })),
      limit: { atMost: 40 },
      digits: 1,
    },
  ];
}

/** Connections with login, one after the other: each with the key exchange all have, then as each comes. */
export async function logins(bench: Bench): Promise<Figure[]> {
  const count = Math.max(10, bench.settings.count >> 2), ours = "this module";
  const same = await steps(bench, "logins, curve25519-sha256", "logins", { count, kex: "curve25519-sha256" });
  const own = await steps(bench, "logins, own key exchange", "logins", { count });
  const targets = [
    { rival: "ssh2 on Node", atLeast: 1.5 },
    { rival: asItComes, atLeast: 1.5 },
    { rival: "ssh2 on Deno" },
    { rival: "ssh" },
  ];
  return [
    {
      what: "connections with login, curve25519-sha256, per second",
      ours,
      values: pick(same, perSecond),
      targets,
      digits: 1,
    },
    {
      what: "connections with login, each one's own first key exchange, per second",
      ours,
      values: pick(own, perSecond),
      targets: targets.map(({ rival }) => ({ rival })),
      digits: 1,
    },
  ];
}

/** 1 KiB through `cat` and back. */
export async function echo(bench: Bench): Promise<Figure[]> {
  const results = await steps(bench, "echo", "echo", { command: "cat", count: bench.settings.count * 10 });
  const targets: Target[] = [
    { rival: "ssh", atLeast: 1 },
    { rival: "ssh2 on Deno", atLeast: 1.1 },
    { rival: "ssh2 on Node" },
    { rival: asItComes },
  ];
  return [{
    what: "1 KiB echoed by cat, round trips per second",
    ours: "this module",
    values: pick(results, perSecond),
    targets,
    digits: 0,
  }, cpuFigure("1 KiB echoed by cat", results, targets)];
}
