/**
 * Bench. Whether anything grows: one connection carries much, renews its keys and opens channels, thousands of times, and both ends say
 * what they hold at each step.
 *
 * @module
 */

import { type Figure, log, table } from "../harness.ts";
import type { Bench } from "../support/bench.ts";
import { type Result, start } from "../support/run.ts";

/** Steps of each part; the first ones warm up. */
const STEPS = 10, WARM = 2;
/** Megabytes that what an end holds, or its process, may be larger at the end of a part than behind the first steps. */
const GROWTH = { held: 2, resident: 24 };

const mb = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** 20 GB, 10,000 rekeys and 10,000 channels with `--long`, a twentieth of that without. */
export async function soak(bench: Bench): Promise<Figure[]> {
  const share = bench.settings.long ? 1 : 0.05;
  const parts = { bytes: 20e9 * share, rekeys: 10_000 * share, channels: 10_000 * share };
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
      const growth = (of: (result: Result) => number): number => (of(each.at(-1)!) - of(each[WARM - 1]!)) / 1e6;
      const what = part === "bytes" ? `${all / 1e9} GB` : `${all} ${part}`;
      figures.push({
        what: `what the ${end} holds behind ${what}, over what it held behind a fifth of that, MB`,
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
