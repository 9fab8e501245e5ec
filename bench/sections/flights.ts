/**
 * Bench. Round trips before the first byte, counted on the wire, and the time that they take where one takes 100 ms.
 *
 * @module
 */

import { alternate, type Figure, type Settings } from "../harness.ts";
import type { Bench, Endpoint } from "../support/bench.ts";
import { FlightRelay } from "../support/flights.ts";
import { type Client, type Result, start } from "../support/run.ts";

/** Milliseconds one way of the path whose time is taken. */
const DELAY = 50;
/** Rounds of the count: a busy machine may cut a flight in two, which only adds to them, so the fewest count. */
const ROUNDS = 2;

const ours = "this module";
/** As users ask for it: the second connection to a host, and this module's own server. */
const again = "this module, once more", own = "this module, its own server";

/** Done after each step, by its name: round trips on the wire, or milliseconds. */
type Steps = Record<string, number>;

/** What is counted, in the words of the table. */
const steps: readonly { readonly name: string; readonly what: string; readonly atMost?: number }[] = [
  { name: "connect", what: "connect, TCP's own with it", atMost: 3.3 },
  { name: "exec", what: "a command, `true`" },
  { name: "work", what: "connect, `true` and its end", atMost: 5.5 },
  { name: "sftp", what: "an SFTP session", atMost: 2 },
  { name: "file", what: "the first small file read there" },
  { name: "close", what: "close" },
];

/** Runs a program, and asks `now` at each of its marks. */
async function marked(
  program: Client | "ssh flights" | "python flights",
  params: unknown,
  now: (mark: Result & { mark: string }) => number,
): Promise<Steps> {
  await using running = start(program, params);
  const found: Steps = {};
  for (;;) {
    const mark = await running.next() as Result & { mark: string };
    if (mark.mark === "end") break;
    found[mark.mark] = now(mark);
  }
  await running.finish();
  return { ...found, work: found.connect! + found.exec! };
}

/** `ssh` and `sftp` are two programs: one has the command, the other the session and the file. */
async function openSsh(run: (params: Readonly<Record<string, unknown>>) => Promise<Steps>): Promise<Steps> {
  const { work, connect, exec } = await run({ sftp: false }) as { work: number; connect: number; exec: number };
  return { ...await run({ sftp: true }), work, connect, exec };
}

/** Every contender's steps. `run` starts one with parameters, at a server. */
function everyone(
  settings: Settings,
  what: string,
  bench: Bench,
  server: () => Promise<Endpoint>,
  run: (
    program: Client | "ssh flights" | "python flights",
    params: Readonly<Record<string, unknown>>,
    to: Endpoint,
  ) => Promise<Steps>,
): Promise<Map<string, Steps[]>> {
  const { sshd } = bench;
  return alternate<Steps>(
    settings,
    what,
    {
      [ours]: () => run("this module", {}, sshd),
      [again]: () => run("this module", { again: true }, sshd),
      [own]: async () => run("this module", {}, await server()),
      "ssh": () => openSsh((params) => run("ssh flights", params, sshd)),
      "ssh2 on Node": () => run("ssh2 on Node", {}, sshd),
      "paramiko": () => run("python flights", { library: "paramiko" }, sshd),
      "AsyncSSH": () => run("python flights", { library: "AsyncSSH" }, sshd),
    },
    (found) => Object.entries(found).map(([name, value]) => `${name} ${value.toFixed(1)}`).join(", "),
  );
}

/** Round trips, counted and timed. */
export async function flights(bench: Bench): Promise<Figure[]> {
  const remote = `${bench.keys.folder}/small`;
  await Deno.writeTextFile(remote, "hello\n");
  await using server = bench.server({ spawn: true, root: bench.keys.folder });
  const params = (more: Readonly<Record<string, unknown>>, to: Endpoint, port: number): unknown =>
    // A cipher of its own has its rounds of packets like any other: each contender's first choices are used.
    bench.params("flights", { cipher: undefined, remote: to.port === bench.sshd.port ? remote : "/small", ...more }, {
      ...to,
      port,
    });

  const counted = await everyone(
    { ...bench.settings, rounds: bench.settings.quick ? 1 : ROUNDS },
    "flights",
    bench,
    () => server.get(),
    async (program, more, to) => {
      await using relay = new FlightRelay(to.port, bench.settings.quick ? 100 : undefined);
      // TCP's own handshake comes before.
      let before = -1;
      return await marked(program, params(more, to, relay.port), () => {
        const taken = relay.roundTrips - before;
        before = relay.roundTrips;
        return taken;
      });
    },
  );
  const timed = await everyone(
    { ...bench.settings, rounds: bench.settings.quick ? 0 : bench.settings.rounds },
    "100 ms",
    bench,
    () => server.get(),
    async (program, more, to) => {
      await using relay = start("relay", { port: to.port, delay: DELAY });
      const { port } = await relay.next();
      const found = await marked(
        program,
        params(more, to, port!),
        ({ mark, ms }) => ms! + (mark === "connect" ? 2 * DELAY : 0),
      );
      await relay.finish();
      return found;
    },
  );

  /** Each contender's values of a step, where it has the step. */
  const values = (results: ReadonlyMap<string, readonly Steps[]>, name: string, fewest: boolean) => {
    const each = [...results].map(([who, rounds]) => {
      const found = rounds.map((one) => one[name]!).filter((value) => value !== undefined);
      return [who, fewest && found.length > 0 ? [Math.min(...found)] : found] as const;
    });
    return new Map(each.filter(([, found]) => found.length > 0));
  };
  return steps.flatMap(({ name, what, atMost }) =>
    ([["round trips on the wire", counted, true], ["ms where one takes 100", timed, false]] as const).map((
      [unit, results, fewest],
    ) => ({
      what: `${what}, ${unit}`,
      ours,
      values: values(results, name, fewest),
      targets: [again, own, "ssh", "ssh2 on Node", "paramiko", "AsyncSSH"].map((rival) => ({ rival })),
      ...(fewest && atMost !== undefined ? { limit: { atMost } } : {}),
      digits: fewest ? 1 : 0,
    })).filter(({ values }) => values.size > 0)
  );
}
