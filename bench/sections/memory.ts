/**
 * Bench. Memory: of a connection at rest at either end, and whether it grows with what passes.
 *
 * @module
 */

import { alternate, type Figure, median, pick } from "../harness.ts";
import { type AmikoServer, type Bench, type Endpoint, sendZeros } from "../support/bench.ts";
import { type Client, start } from "../support/run.ts";
import { clients, transfer } from "./throughput.ts";

/** Bytes of a connection at rest at either end: one of the first few, with which the process warms up, and one of those behind them. */
interface Rest {
  client: number;
  firstClients: number;
  server: number;
}

/** The first few, and how many behind them are weighed. */
const WARM = 20, WEIGHED = 100;
/** What connections have carried that rest again. */
const CARRIED = 8e6;

/** Holds idle connections open and weighs both ends; with `more` each has done something before. */
async function atRest(
  bench: Bench,
  client: Client,
  to: Endpoint,
  weigh: () => Promise<number>,
  more: Readonly<Record<string, unknown>> = {},
): Promise<Rest> {
  const count = bench.settings.quick ? WEIGHED / 2 : WEIGHED;
  await using program = start(client, bench.params("idle", { warm: WARM, count, ...more }, to), { gc: true });
  await program.next();
  const before = await weigh();
  await program.nudge();
  await program.next();
  const server = (await weigh() - before) / count;
  await program.nudge();
  const { perConnection, first } = await program.next();
  await program.finish();
  return { client: perConnection!, firstClients: first!, server };
}

/** Idle connections: those that have done nothing, and those that have carried something. */
export async function rest(bench: Bench): Promise<Figure[]> {
  const ours = "this module", theirs = "sshd";
  const show = ({ client, firstClients, server }: Rest): string =>
    `client ${(client / 1024).toFixed(0)} KiB, one of the first ${WARM} ${(firstClients / 1024).toFixed(0)} KiB, ` +
    `server ${(server / 1024).toFixed(0)} KiB`;
  const rivals = [{ rival: "ssh" }, { rival: "ssh2 on Deno" }, { rival: "ssh2 on Node" }];
  const settings = bench.settings.quick ? { ...bench.settings, rounds: 1 } : bench.settings;
  const ends = await alternate(
    settings,
    "at rest, client",
    Object.fromEntries(clients.map((client) => [
      client,
      () => atRest(bench, client, bench.sshd, () => Promise.resolve(bench.sshd.memory())),
    ])),
    show,
  );
  // Those that have carried something take most of the time.
  const further = { ...settings, rounds: settings.quick ? 0 : settings.rounds };
  const carried = await alternate(
    further,
    "at rest behind a download, client",
    Object.fromEntries(
      clients.filter((client) => client !== "ssh").map((client) => [
        client,
        () =>
          atRest(bench, client, bench.sshd, () => Promise.resolve(bench.sshd.memory()), {
            command: sendZeros(CARRIED),
          }),
      ]),
    ),
    show,
  );
  /** A server of its own each time: one that has had connections before holds free memory for the next ones. */
  const served = async (more: Readonly<Record<string, unknown>> = {}, client: Client = "ssh"): Promise<Rest> => {
    await using server = bench.server({ gc: true });
    const running = await server.get();
    return await atRest(bench, client, running, () => weight(running), more);
  };
  const sshd = (): Promise<Rest> => atRest(bench, "ssh", bench.sshd, () => Promise.resolve(bench.sshd.memory()));
  const servers = await alternate(settings, "at rest, server", { [ours]: () => served(), [theirs]: sshd }, show);
  const carrying = await alternate(further, "at rest behind a download, server", {
    [ours]: () => served({ command: sendZeros(CARRIED) }, ours),
  }, show);
  return [
    {
      what: "a connection at rest, client, KiB",
      ours,
      values: pick(ends, ({ client }) => client / 1024),
      targets: rivals,
      limit: { atMost: 250 },
      digits: 0,
    },
    {
      what: `one of the first ${WARM} in a process, client, KiB`,
      ours,
      values: pick(ends, ({ firstClients }) => firstClients / 1024),
      targets: rivals,
      digits: 0,
    },
    {
      what: `a connection at rest that has carried ${CARRIED / 1e6} MB down, client, KiB`,
      ours,
      values: pick(carried, ({ client }) => client / 1024),
      targets: rivals.slice(1),
      digits: 0,
    },
    {
      what: "a connection at rest, server, KiB",
      ours,
      values: pick(servers, ({ server }) => server / 1024),
      targets: [{ rival: theirs }],
      limit: { atMost: 200 },
      digits: 0,
    },
    {
      what: `a connection at rest that has carried ${CARRIED / 1e6} MB down, server, KiB`,
      ours,
      values: pick(carrying, ({ server }) => server / 1024),
      targets: [],
      digits: 0,
    },
  ].filter(({ values }) => values.size > 0);
}

async function weight(server: AmikoServer): Promise<number> {
  return (await server.stat()).rss!;
}

/** Growth of the client between the second quarter and the last one of a long transfer, with and without many rekeys. */
export async function flat(bench: Bench): Promise<Figure[]> {
  const bytes = bench.settings.long ? 10e9 : bench.settings.bytes;
  const once = { ...bench.settings, rounds: 1 };
  const figures: Figure[] = [];
  for (const [what, more] of [["", {}], [" with a rekey every 16 MB", { rekeyBytes: 16e6 }]] as const) {
    for (const direction of ["down", "up"] as const) {
      const results = await alternate(
        once,
        `memory, ${direction}${what}`,
        { "this module": () => transfer(bench, "this module", direction, { bytes, ...more }) },
        (result) =>
          `${(result.bytes! / result.seconds! / 1e6).toFixed(1)} MB/s, resident ${
            (result.series ?? []).map((value) => (value / 1e6).toFixed(0)).join(" ")
          } MB`,
      );
      const quarter = (series: readonly number[], from: number): number =>
        median(series.slice(Math.floor(series.length * from), Math.floor(series.length * (from + 0.25)))) / 1e6;
      figures.push({
        what: `memory in the last quarter of ${(bytes / 1e9).toFixed(1)} GB ${direction}${what}, over the second, MB`,
        ours: "this module",
        values: pick(results, ({ series = [] }) => quarter(series, 0.75) - quarter(series, 0.25)),
        targets: [],
        limit: { atMost: 10 },
        digits: 1,
      }, {
        what: `client ${direction}${what}, MB/s`,
        ours: "this module",
        values: pick(results, (result) => result.bytes! / result.seconds! / 1e6),
        targets: [],
        digits: 0,
      });
    }
  }
  return figures;
}
