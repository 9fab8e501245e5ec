/**
 * Bench. Whether anything grows: one connection carries much, renews its keys and opens channels, thousands of times, and both ends say
 * what they hold at each step.
 *
 * @module
 */

import { type Figure, log, median, table } from "../harness.ts";
import type { Bench } from "../support/bench.ts";
import { type Result, start } from "../support/run.ts";

/** Steps of each part. */
const STEPS = 10;
/**
 * Megabytes that what an end holds, or its process, may be larger in the second half of a part than in the first, by their medians: the
 * collector has its time, so that what is resident goes up and down by dozens of them.
 */
const GROWTH = { held: 1, resident: 32 };

const mb = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** 20 GB, 10,000 rekeys and 10,000 channels with `--long`, a twentieth of that without; `--cells` chooses among the three. */
export async function soak(bench: Bench): Promise<Figure[]> {
  const share = bench.settings.long ? 1 : 0.05;
  const parts = Object.fromEntries(
    Object.entries({ bytes: 20e9 * share, rekeys: 10_000 * share, channels: 10_000 * share })
      .filter(([part]) => bench.settings.cells.test(part)),
  );
  await using server = bench.server({ gc: true });
  const running = await server.get();
  await using program = start("soak", bench.params("soak", { steps: STEPS, ...parts }, running), { gc: true });
  const lines: string[][] = [], figures: Figure[] = [];
  for (const [part, all] of Object.entries(parts)) {
    const client: Result[] = [], served: Result[] = [];
    for (let step = 1; step <= STEPS; step++) {
      const here = await program.next(), there = await running.stat();
      client.push(here);
      served.push(there);
      const done = all * step / STEPS;
      const line = [
        part === "bytes" ? `${(done / 1e9).toFixed(1)} GB moved` : `${done} ${part}`,
        ...[here, there].flatMap(({ rss, heap, external }) => [mb(rss!), mb(heap!), mb(external!)]),
      ];
      log(`soak: ${line.join(" | ")}`);
      lines.push(line);
      await program.nudge();
    }
    for (const [end, each] of Object.entries({ client, server: served })) {
      const half = (from: number, of: (result: Result) => number): number =>
        median(each.slice(from, from + STEPS / 2).map(of));
      const growth = (of: (result: Result) => number): number => (half(STEPS / 2, of) - half(0, of)) / 1e6;
      const what = part === "bytes" ? `${all / 1e9} GB` : `${all} ${part}`;
      figures.push({
        what: `what the ${end} holds in the second half of ${what}, over the first, MB`,
        ours: "this module",
        values: new Map([["this module", [growth(({ heap, external }) => heap! + external!)]]]),
        targets: [],
        limit: { atMost: GROWTH.held },
        digits: 1,
      }, {
        what: `the same of the process of the ${end}, resident, MB`,
        ours: "this module",
        values: new Map([["this module", [growth(({ rss }) => rss!)]]]),
        targets: [],
        limit: { atMost: GROWTH.resident },
        digits: 1,
      });
    }
  }
  await program.finish();
  const head = ["behind", ...["client", "server"].flatMap((end) => [`${end}: resident`, "heap", "buffers"])];
  log(`\nMegabytes:\n\n${table(head, lines, [1, 2, 3, 4, 5, 6])}\n`);
  return figures;
}
