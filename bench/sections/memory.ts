/**
 * Bench. Memory: of a connection at rest at either end, and whether it grows with what passes.
 *
 * @module
 */

import { alternate, type Figure, median, pick } from "../harness.ts";
import type { AmikoServer, Bench, Endpoint } from "../support/bench.ts";
import { type Client, start } from "../support/run.ts";
import { clients, transfer } from "./throughput.ts";

interface Rest {
  client: number;
  server: number;
}

/** Holds idle connections open and weighs both ends. */
async function atRest(bench: Bench, client: Client, to: Endpoint, weigh: () => Promise<number>): Promise<Rest> {
  const count = 20;
  const before = await weigh();
  await using program = start(client, bench.params("idle", { count }, to), { gc: true });
  await program.next();
  const server = (await weigh() - before) / count;
  await program.nudge();
  const { perConnection } = await program.next();
  await program.finish();
  return { client: perConnection!, server };
}

/** Idle connections. */
export async function rest(bench: Bench): Promise<Figure[]> {
  await using server = bench.server({ gc: true });
  const ours = "this module", theirs = "sshd";
  const show = ({ client, server }: Rest): string =>
    `client ${(client / 1024).toFixed(0)} KiB, server ${(server / 1024).toFixed(0)} KiB`;
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
  const servers = await alternate(
    settings,
    "at rest, server",
    {
      [ours]: async () => {
        const running = await server.get();
        return await atRest(bench, "ssh", running, () => weight(running));
      },
      [theirs]: () => atRest(bench, "ssh", bench.sshd, () => Promise.resolve(bench.sshd.memory())),
    },
    show,
  );
  return [
    {
      what: "a connection at rest, client, KiB",
      ours,
      values: pick(ends, ({ client }) => client / 1024),
      targets: [{ rival: "ssh" }, { rival: "ssh2 on Deno" }, { rival: "ssh2 on Node" }],
      digits: 0,
    },
    {
      what: "a connection at rest, server, KiB",
      ours,
      values: pick(servers, ({ server }) => server / 1024),
      targets: [{ rival: theirs }],
      digits: 0,
    },
  ];
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
