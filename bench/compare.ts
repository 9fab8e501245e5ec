/**
 * Bench. Two revisions of this module side by side: what one round of each gives, the ratio's interval, and the verdict.
 *
 * A verdict rests on pairs: a round of the new revision and the one of the old that ran beside it. The ratio is that of the medians; its
 * interval holds the median of the pairs' ratios in some 94 of 100 cases (five pairs: from the least to the greatest). What is
 * slower by more than 3 percent in all of the interval is slower; where the interval reaches better values, or there are fewer than
 * five pairs, it is slower with a question mark, and more rounds tell.
 *
 * @module
 */

import { median, spread, table } from "./harness.ts";

/** What may be lost. */
const ALLOWED = 0.03;
/** Fewer pairs decide nothing. */
const ENOUGH = 5;

/** One quantity of a round. */
export interface Quantity {
  /** Its unit, which names it. */
  readonly unit: string;
  /** How much. */
  readonly value: number;
  /** Whether more of it is better. */
  readonly more: boolean;
}

/** What a program's result says of speed and cost; where it tells of our server's CPU, that of the other's client is left out. */
export function quantitiesOf(result: unknown): Quantity[] {
  const fields = new Map<string, unknown>(Object.entries(Object(result)));
  const number = (name: string): number => Number(fields.get(name) ?? NaN);
  const bytes = number("bytes"), count = number("count"), seconds = number("seconds");
  const server = number("serverCpu"), cpu = Number.isNaN(server) ? number("cpu") : server;
  const whose = Number.isNaN(server) ? "CPU" : "the server's CPU";
  const all: Quantity[] = bytes > 0
    ? [
      { unit: "MB/s", value: bytes / seconds / 1e6, more: true },
      { unit: `${whose}, s/GB`, value: cpu / (bytes / 1e9), more: false },
    ]
    : [
      { unit: "per second", value: count / seconds, more: true },
      { unit: `${whose}, us each`, value: cpu / count * 1e6, more: false },
    ];
  return all.filter(({ value }) => Number.isFinite(value));
}

/** A compared quantity: as many values of each side, those of one round at the same place. */
export interface Compared {
  readonly what: string;
  readonly unit: string;
  readonly more: boolean;
  readonly new: readonly number[];
  readonly old: readonly number[];
}

/** What came of it. */
export type CompareVerdict = "slower" | "slower?" | "level" | "faster" | "";

/** The judgement of one quantity; ratios are new by old. */
export interface Judgement {
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
  readonly verdict: CompareVerdict;
}

/** How many pairs may be cut off at each end of the interval, so that it holds the median in at least nine of ten cases. */
function cut(pairs: number): number {
  let cut = 0, tail = 0, ways = 1;
  for (;;) {
    tail += ways / 2 ** pairs;
    if (2 * tail > 0.1) return Math.max(0, cut - 1);
    ways = ways * (pairs - cut) / (cut + 1);
    cut++;
  }
}

/** Judges a quantity. */
export function judge({ more, new: ours, old }: Compared): Judgement {
  const ratios = ours.map((value, i) => value / old[i]!).sort((a, b) => a - b), off = cut(ratios.length);
  const ratio = median(ours) / median(old), low = ratios[off]!, high = ratios[ratios.length - 1 - off]!;
  const [worst, best, middle] = more ? [low, high, ratio] : [1 / high, 1 / low, 1 / ratio];
  const bound = 1 - ALLOWED, enough = ratios.length >= ENOUGH;
  const verdict = enough && best < bound
    ? "slower"
    : middle < bound
    ? "slower?"
    : enough && worst > 1 + ALLOWED
    ? "faster"
    : enough && worst >= bound
    ? "level"
    : "";
  return { ratio, low, high, verdict };
}

/** The table in Markdown. */
export function compareTable(all: readonly Compared[]): string {
  const digits = (value: number): string => value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
  const cell = (values: readonly number[]): string => `${digits(median(values))} ±${spread(values).toFixed(0)}%`;
  const lines = all.map((one) => {
    const { ratio, low, high, verdict } = judge(one);
    return [
      `${one.what}, ${one.unit}`,
      cell(one.old),
      cell(one.new),
      ratio.toFixed(3),
      `${low.toFixed(3)} to ${high.toFixed(3)}`,
      verdict,
    ];
  });
  return table(["figure", "old", "new", "new/old", "interval", "verdict"], lines, [1, 2, 3, 4]);
}

/** What is slower, in a sentence. */
export function summary(all: readonly Compared[]): string {
  const of = (wanted: CompareVerdict): string[] =>
    all.filter((one) => judge(one).verdict === wanted).map(({ what, unit }) => `${what}, ${unit}`);
  const slower = of("slower"), perhaps = of("slower?");
  const list = (names: readonly string[]): string => names.map((name) => `\n- ${name}`).join("");
  return [
    slower.length === 0
      ? "Nothing is slower by more than 3 percent beyond the spread."
      : `Slower by more than 3 percent, whatever the spread:\n${list(slower)}`,
    ...perhaps.length === 0
      ? []
      : [`Slower by the medians, but not in all rounds; more rounds tell:\n${list(perhaps)}`],
  ].join("\n\n");
}
