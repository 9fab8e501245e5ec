/**
 * Bench. Contenders in turn, round after round; medians; rows against targets.
 *
 * @module
 */

import { usePrograms, watched } from "./support/run.ts";

/** Revisions of this module that are measured side by side. */
export interface Sides {
  /** Each with the folder of its programs. */
  readonly each: readonly { readonly name: "new" | "old"; readonly programs: URL }[];
  /** Takes the results of a contender of ours, by side; as many of each. */
  readonly take: (
    what: string,
    contender: string,
    results: Readonly<Record<"new" | "old", readonly unknown[]>>,
  ) => void;
}

/** What a run of the bench was told. */
export interface Settings {
  /** Rounds of each figure. */
  readonly rounds: number;
  /** Bytes of a transfer. */
  readonly bytes: number;
  /** Steps of a figure that counts steps: execs, echoes; logins take a quarter. */
  readonly count: number;
  /** Less of everything. */
  readonly quick: boolean;
  /** Cells of the table of windows. */
  readonly cells: RegExp;
  /** The long figures of memory. */
  readonly long: boolean;
  /** Contenders wanted, by a part of their name; empty for all. */
  readonly only: readonly string[];
  /** Contenders left out, by a part of their name. */
  readonly without: readonly string[];
  /** Folder for CPU profiles of this module's programs. */
  readonly profile: string | undefined;
  /** Whether the section has had its time, so that a further round is left out. */
  readonly enough?: () => boolean;
  /** Has contenders of this module measured in two revisions, and no others. */
  readonly sides?: Sides;
}

/** What ours must reach against one rival. */
export interface Target {
  /** The rival's name. */
  readonly rival: string;
  /** Bound of ours divided by theirs; absent where a rival is only shown. */
  readonly atLeast?: number;
  /** Bound of ours divided by theirs. */
  readonly atMost?: number;
}

/** One quantity, measured of every contender. */
export interface Figure {
  /** What it is, with its unit. */
  readonly what: string;
  /** Name of ours among the values. */
  readonly ours: string;
  /** Values of every round by contender. */
  readonly values: ReadonlyMap<string, readonly number[]>;
  /** The rivals, in the order of the rows. */
  readonly targets: readonly Target[];
  /** A bound on ours alone. */
  readonly limit?: { readonly atMost: number };
  /** Digits after the point. */
  readonly digits: number;
}

/** The middle value, or the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** Half of the way from the least to the greatest value, in percent of the median. */
export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / 2 / Math.abs(median(values)) * 100;
}

/** A table in Markdown with its columns in line; those whose numbers are given stand at the right. */
export function table(
  head: readonly string[],
  lines: readonly (readonly string[])[],
  right: readonly number[] = [],
): string {
  const width = head.map((text, i) => Math.max(3, text.length, ...lines.map((cells) => cells[i]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((text, i) => right.includes(i) ? text.padStart(width[i]!) : text.padEnd(width[i]!)).join(" | ")} |`;
  const rule = width.map((w, i) => right.includes(i) ? "-".repeat(w - 1) + ":" : "-".repeat(w));
  return [line(head), line(rule), ...lines.map(line)].join("\n");
}

/** Writes a line of progress. */
export function log(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text + "\n"));
}

/** What went wrong, for the notes under the table. */
export const failures: string[] = [];

/**
 * Runs the contenders one after the other, as many rounds as wanted: A B C, A B C. A contender that fails is left out of the
 * rounds that follow, and named in {@linkcode failures}.
 */
export async function alternate<T>(
  settings: Settings,
  what: string,
  contenders: Readonly<Record<string, () => Promise<T>>>,
  show: (result: T) => string,
): Promise<Map<string, T[]>> {
  if (settings.sides !== undefined) {
    await sideBySide(settings, settings.sides, what, contenders, show);
    return new Map();
  }
  const results = new Map<string, T[]>();
  const out = new Set<string>();
  for (let round = 1; round <= settings.rounds; round++) {
    if (round > 1 && settings.enough?.()) break;
    for (const [name, run] of Object.entries(contenders)) {
      if (out.has(name)) continue;
      if (settings.only.length > 0 && !settings.only.some((part) => name.includes(part))) continue;
      if (settings.without.some((part) => name.includes(part))) continue;
      try {
        const result = await watched(run);
        results.set(name, [...results.get(name) ?? [], result]);
        log(`${what}, round ${round}, ${name}: ${show(result)}`);
      } catch (error) {
        out.add(name);
        results.delete(name);
        fail(`${what}, round ${round}, ${name}`, error);
      }
    }
  }
  return results;
}

/**
 * Runs both revisions of each contender of ours in turns, the other one first in every other round, behind a round that fills caches and does
 * not count. Where one cannot do it, the contender is left out.
 */
async function sideBySide<T>(
  settings: Settings,
  { each, take }: Sides,
  what: string,
  contenders: Readonly<Record<string, () => Promise<T>>>,
  show: (result: T) => string,
): Promise<void> {
  for (const [contender, run] of Object.entries(contenders)) {
    if (!contender.includes("this module")) continue;
    if (settings.only.length > 0 && !settings.only.some((part) => contender.includes(part))) continue;
    const results: Record<"new" | "old", T[]> = { new: [], old: [] };
    try {
      for (let round = 0; round <= settings.rounds; round++) {
        for (const { name, programs } of round % 2 === 0 ? each : each.toReversed()) {
          usePrograms(programs);
          const result = await watched(run).catch((error) => {
            throw new Error(`${name}: ${error instanceof Error ? error.message : error}`);
          });
          log(`${what}, ${round === 0 ? "warming up" : `round ${round}`}, ${contender}, ${name}: ${show(result)}`);
          if (round > 0) results[name].push(result);
        }
      }
      take(what, contender, results);
    } catch (error) {
      fail(`${what}, ${contender}`, error);
    }
  }
}

/** Notes a failure and goes on. */
export function fail(what: string, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  failures.push(`${what}: ${reason.split("\n", 3).join(" ")}`);
  log(`${what} FAILED: ${reason}`);
}

/** One quantity of every contender's results. */
export function pick<T>(results: ReadonlyMap<string, readonly T[]>, of: (result: T) => number): Map<string, number[]> {
  return new Map([...results].map(([name, each]) => [name, each.map(of)]));
}
