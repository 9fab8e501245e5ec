/**
 * Bench. A server on several cores: what workers at one port cost, beside one thread and beside sshd.
 *
 * Clients run on the same cores, so that nothing is said by the clock: CPU time of the server's threads counts alone. What its busiest
 * thread takes bounds the rate where each thread has a core to itself.
 *
 * @module
 */

import { alternate, type Figure, pick } from "../harness.ts";
import { type Bench, type Endpoint, sendZeros } from "../support/bench.ts";
import { childSecondsOf, cpuSecondsOf, descendants, memoryOf, threadsOf } from "../support/proc.ts";
import { type Program, start } from "../support/run.ts";

/** Client processes at a time. */
const CLIENTS = 4;
/** Logins that a client makes before those it counts. */
const FIRST = 2;
const ONE = "one worker", TWO = "two workers", NONE = "no worker", SSHD = "sshd";

interface Cost {
  /** CPU seconds for one login or GB, all threads. */
  readonly all: number;
  /** Logins or GB for each CPU second of the thread that took most. */
  readonly busiest: number;
  /** CPU seconds for one login or GB of each thread that serves. */
  readonly each: readonly number[];
  /** Those of the main thread, where it only answers. */
  readonly main: number;
  /** Resident MB afterwards. */
  readonly resident: number;
}

/** Logins of all clients together, or bytes. */
async function load(bench: Bench, to: Endpoint, what: "logins" | "GB", amount: number): Promise<void> {
  const share = Math.ceil((what === "logins" ? amount : amount * 1e9) / CLIENTS);
  await Promise.all(
    Array.from(
      { length: CLIENTS },
      () =>
        what === "logins"
          ? bench.client("this module", "logins", { count: share, kex: "curve25519-sha256" }, { to })
          : bench.client("this module", "down", { bytes: share, command: sendZeros(share) }, { to }),
    ),
  );
}

/** What a server of this module takes for what it has served, by its threads. */
async function ours(bench: Bench, workers: number, what: "logins" | "GB", amount: number): Promise<Cost> {
  await using program: Program = start("workers", { hostKey: bench.keys.hostKey, workers });
  const { port } = await program.next(), to = { port: port!, pid: program.pid };
  const served = async (): Promise<number[]> => {
    await program.nudge();
    const { series = [] } = await program.next();
    return series.filter((_, i) => i % 2 === (what === "logins" ? 0 : 1)).map((n) => what === "GB" ? n / 1e9 : n);
  };
  // What is compiled and loaded with the first ones is not what is asked for.
  await load(bench, to, what, amount / 4);
  const first = await served(), before = threadsOf(program.pid);
  await load(bench, to, what, amount);
  const counts = (await served()).map((n, i) => n - first[i]!), after = threadsOf(program.pid);
  const taken = after.map(({ id, name, seconds }) => ({
    name: id === program.pid ? "main" : name,
    seconds: seconds - (before.find((one) => one.id === id)?.seconds ?? 0),
  }));
  const total = counts.reduce((sum, n) => sum + n, 0), main = taken.find(({ name }) => name === "main")!.seconds;
  const serving = workers === 0
    ? [main]
    : taken.filter(({ name }) => /^worker-\d/.test(name)).map(({ seconds }) => seconds);
  if (serving.length !== counts.length) throw new Error(`${serving.length} threads of ${counts.length} workers`);
  const resident = memoryOf(program.pid, "VmRSS") / 1e6;
  await program.finish();
  return {
    all: taken.reduce((sum, { seconds }) => sum + seconds, 0) / total,
    busiest: total / Math.max(...serving),
    each: serving.map((seconds, i) => seconds / counts[i]!),
    main: main / total,
    resident,
  };
}

/** What sshd takes for logins: it has processes for each, whose time is told when they have ended. */
async function theirs(bench: Bench, amount: number): Promise<Cost> {
  const { sshd } = bench;
  const ended = async (): Promise<void> => {
    while (descendants(sshd.pid).length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  const seconds = (): number => cpuSecondsOf(sshd.pid) + childSecondsOf(sshd.pid);
  await load(bench, sshd, "logins", amount / 10);
  await ended();
  const before = seconds();
  await load(bench, sshd, "logins", amount);
  await ended();
  const logins = (Math.ceil(amount / CLIENTS) + FIRST) * CLIENTS;
  return { all: (seconds() - before) / logins, busiest: NaN, each: [], main: NaN, resident: NaN };
}

/** Logins and bytes of a server in one thread, with one worker and with two. */
export async function cores(bench: Bench): Promise<Figure[]> {
  const { quick, count, bytes } = bench.settings, figures: Figure[] = [];
  for (const what of (["logins", "GB"] as const).filter((what) => bench.settings.cells.test(what))) {
    const amount = what === "logins" ? quick ? 100 : count * 2 : bytes * 2 / 1e9;
    const costs = await alternate(bench.settings, `cores, ${what}`, {
      [TWO]: () => ours(bench, 2, what, amount),
      [ONE]: () => ours(bench, 1, what, amount),
      [NONE]: () => ours(bench, 0, what, amount),
      ...what === "logins" ? { [SSHD]: () => theirs(bench, amount) } : {},
    }, show);
    const name = what === "logins" ? "a login" : "a GB down", unit = what === "logins" ? 1000 : 1;
    const short = what === "logins" ? "ms" : "s", digits = 2;
    const rivals = [{ rival: NONE }, ...what === "logins" ? [{ rival: SSHD }] : []];
    figures.push(
      {
        what: `${name}, CPU of the server, ${short}`,
        ours: TWO,
        values: pick(costs, ({ all }) => all * unit),
        targets: [{ rival: ONE, atMost: 1.15 }, ...rivals],
        digits,
      },
      {
        what: `${name}, CPU of the thread that serves it, the dearer one, ${short}`,
        ours: TWO,
        values: pick(costs, ({ each }) => Math.max(...each, 0) * unit),
        targets: [{ rival: ONE, atMost: 1.15 }, { rival: NONE }],
        digits,
      },
      {
        what: `${what} for each CPU second of the busiest thread`,
        ours: TWO,
        values: pick(costs, ({ busiest }) => busiest),
        targets: [what === "logins" ? { rival: ONE, atLeast: 1.7 } : { rival: ONE }, { rival: NONE }],
        digits: what === "logins" ? 0 : 2,
      },
    );
    if (what === "GB") continue;
    figures.push({
      what: "a login, CPU of the main thread that keeps the limits, ms",
      ours: TWO,
      values: pick(costs, ({ main }) => main * 1000),
      targets: [{ rival: ONE }],
      digits,
    }, {
      what: "server after its logins, resident, MB",
      ours: TWO,
      values: pick(costs, ({ resident }) => resident),
      targets: [{ rival: ONE }, { rival: NONE }],
      digits: 0,
    });
  }
  return figures;
}

function show({ all, busiest, each, main, resident }: Cost): string {
  return `${(all * 1000).toFixed(2)} ms of CPU each; threads ${
    each.map((s) => (s * 1000).toFixed(2)).join(" ")
  }, main ${(main * 1000).toFixed(3)}; ${busiest.toFixed(2)} a second of the busiest; ${resident.toFixed(0)} MB`;
}
