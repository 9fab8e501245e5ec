/**
 * Bench. What importing the module adds to Deno's own start.
 *
 * @module
 */

import { alternate, type Figure, pick } from "../harness.ts";
import type { Bench } from "../support/bench.ts";

async function once(program: string): Promise<number> {
  const path = new URL(`../programs/${program}`, import.meta.url).pathname;
  const begin = performance.now();
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--cached-only", "--no-lock", path],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
  return performance.now() - begin;
}

/** Start to end of a program that only imports, and of an empty one, in turn. */
export async function importing(bench: Bench): Promise<Figure[]> {
  // The first runs fill the cache of compiled modules.
  for (const program of ["empty.ts", "import.ts"]) await once(program).catch(() => {});
  const results = await alternate(
    { ...bench.settings, rounds: Math.max(21, bench.settings.rounds * 5), only: [] },
    "import",
    { "this module": () => once("import.ts"), "an empty program": () => once("empty.ts") },
    (ms) => `${ms.toFixed(1)} ms`,
  );
  const empty = results.get("an empty program") ?? [], ours = results.get("this module") ?? [];
  return [
    {
      what: "import beyond Deno's own start, ms",
      ours: "this module",
      values: new Map([["this module", ours.map((ms, i) => ms - empty[i]!)]]),
      targets: [],
      limit: { atMost: 80 },
      digits: 1,
    },
    {
      what: "start to end of a program that only imports, ms",
      ours: "this module",
      values: pick(results, (ms) => ms),
      targets: [{ rival: "an empty program" }],
      digits: 1,
    },
  ];
}
