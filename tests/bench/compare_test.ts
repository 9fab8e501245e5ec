/** Two revisions side by side: what the bench makes of their rounds. */

import { assertEquals } from "@std/assert";
import { type Compared, compareTable, judge, quantitiesOf, summary } from "../../bench/compare.ts";

const rates = (ours: number[], old: number[]): Compared => ({ what: "down", unit: "MB/s", more: true, new: ours, old });

Deno.test("a rate is slower where all pairs lost more than 3 percent, and slower with a question mark where one did not", () => {
  const old = [100, 100, 100, 100, 100];
  assertEquals(judge(rates([90, 91, 92, 93, 94], old)), { ratio: 0.92, low: 0.9, high: 0.94, verdict: "slower" });
  assertEquals(judge(rates([90, 91, 92, 93, 98], old)).verdict, "slower?");
  assertEquals(judge(rates([90, 91, 92, 93], old)).verdict, "slower?");
  assertEquals(judge(rates([98, 99, 100, 101, 102], old)).verdict, "level");
  assertEquals(judge(rates([96, 99, 100, 101, 102], old)).verdict, "");
  assertEquals(judge(rates([104, 105, 106, 107, 108], old)).verdict, "faster");
});

Deno.test("a cost is slower where it grew", () => {
  const cost = (ours: number[]): Compared => ({
    what: "down",
    unit: "CPU, s/GB",
    more: false,
    new: ours,
    old: [1, 1, 1, 1, 1],
  });
  assertEquals(judge(cost([1.05, 1.06, 1.07, 1.08, 1.09])).verdict, "slower");
  assertEquals(judge(cost([0.9, 0.91, 0.92, 0.93, 0.94])).verdict, "faster");
  assertEquals(judge(cost([0.9, 1.01, 1.01, 1.01, 1.02])).verdict, "level");
});

Deno.test("a round that went wrong for both revisions changes no ratio, and of nine pairs the outermost are left out", () => {
  assertEquals(judge(rates([50, 100, 100, 100, 100], [50, 100, 100, 100, 100])).verdict, "level");
  const nine = judge(rates([50, 95, 96, 97, 98, 99, 100, 101, 200], Array(9).fill(100)));
  assertEquals([nine.low, nine.high], [0.95, 1.01]);
});

Deno.test("a result gives a rate and its CPU; a server's own CPU stands in the place of its client's", () => {
  const units = (result: unknown): string[] => quantitiesOf(result).map(({ unit, value }) => `${value} ${unit}`);
  assertEquals(units({ bytes: 2e9, seconds: 4, cpu: 3 }), ["500 MB/s", "1.5 CPU, s/GB"]);
  assertEquals(units({ bytes: 2e9, seconds: 4, cpu: 3, serverCpu: 2 }), ["500 MB/s", "1 the server's CPU, s/GB"]);
  assertEquals(units({ count: 100, seconds: 2, cpu: 0.01 }), ["50 per second", "100 CPU, us each"]);
  assertEquals(units({ client: 1, server: 2 }), []);
  assertEquals(units(undefined), []);
});

Deno.test("the table and the sentence name what is slower", () => {
  const slow = rates([90, 91, 92, 93, 94], [100, 100, 100, 100, 100]);
  assertEquals(
    compareTable([slow]).split("\n").at(-1),
    "| down, MB/s | 100 ±0% | 92.0 ±2% |   0.920 | 0.900 to 0.940 | slower  |",
  );
  assertEquals(summary([slow]), "Slower by more than 3 percent, whatever the spread:\n\n- down, MB/s");
  assertEquals(summary([]), "Nothing is slower by more than 3 percent beyond the spread.");
});
