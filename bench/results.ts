/**
 * Bench. Results as JSON, one schema for every section, and the tables that are written of them.
 *
 * What is measured stands in each contender's `values`, and what was wanted in `targets` and `limit`; medians, spreads, ratios
 * and verdicts are there for who reads the JSON, and made anew for the tables.
 *
 * @module
 */

import { type Compared, compareTable, summary } from "./compare.ts";
import { type Figure, median, spread, table, type Target } from "./harness.ts";

/** One contender of a figure. */
export interface ContenderResult {
  readonly name: string;
  /** What it ran as, where the name does not say it: "ssh 9.2p1". */
  readonly version: string;
  /** What every round gave. */
  readonly values: readonly number[];
  readonly median: number;
  /** Half of the way from the least to the greatest value, in percent of the median. */
  readonly spread: number;
}

/** What became of a bound. */
export type Verdict = "met" | "short" | "";

/** One quantity, measured of every contender. */
export interface FigureResult {
  /** What it is, with its unit. */
  readonly what: string;
  /** Digits after the point. */
  readonly digits: number;
  /** The name of ours among the contenders. */
  readonly ours: string;
  readonly contenders: readonly ContenderResult[];
  /** Rivals in order, with ours divided by theirs. */
  readonly targets: readonly (Target & { readonly ratio: number | null; readonly verdict: Verdict })[];
  /** A bound on ours alone. */
  readonly limit?: { readonly atMost: number; readonly verdict: Verdict };
}

/** Of what and how something was measured. */
export interface Circumstances {
  readonly section: string;
  /** When it ended, by ISO 8601. */
  readonly date: string;
  readonly machine: string;
  /** Versions by the name of a program. */
  readonly versions: Readonly<Record<string, string>>;
  readonly rounds: number;
  readonly bytes: number;
  readonly count: number;
  readonly quick: boolean;
}

/** One section of one run. */
export interface SectionResult extends Circumstances {
  /** The revision of this module, or nothing where nobody noted it. */
  readonly revision: string;
  /** How long it took. */
  readonly seconds: number;
  readonly figures: readonly FigureResult[];
  readonly failures: readonly string[];
  /** What else has to be said. */
  readonly note?: string;
}

/** One section of two revisions side by side. */
export interface ComparisonResult extends Circumstances {
  /** The older revision, with its date. */
  readonly old: string;
  readonly new: string;
  readonly figures: readonly Compared[];
  readonly failures: readonly string[];
}

/** A file of results. */
export interface Results {
  readonly format: 1;
  readonly sections: readonly SectionResult[];
  readonly comparisons: readonly ComparisonResult[];
}

/** A contender with the versions of what it is made of. */
export function versionOf(name: string, versions: Readonly<Record<string, string>>): string {
  const openssh = versions["OpenSSH"];
  if (/^(?:ssh|sshd|sftp|ssh and sshd)$/.test(name)) return openssh === undefined ? name : `${name} ${openssh}`;
  return name.replace(/\b(?:ssh2|Deno|Node|AsyncSSH|paramiko)\b(?! \d)/g, (word) => {
    return versions[word] === undefined ? word : `${word} ${versions[word]}`;
  });
}

const short = (value: number): number => Number(value.toPrecision(6));

function met(value: number, { atLeast, atMost }: { readonly atLeast?: number; readonly atMost?: number }): Verdict {
  if ((atLeast === undefined && atMost === undefined) || !Number.isFinite(value)) return "";
  return (atLeast === undefined || value >= atLeast) && (atMost === undefined || value <= atMost) ? "met" : "short";
}

/** A figure for the JSON. */
export function figureResult(figure: Figure, versions: Readonly<Record<string, string>>): FigureResult {
  const { what, digits, ours, targets, limit } = figure;
  // What a contender does not tell is no number.
  const values = new Map([...figure.values].map(([name, each]) => [name, each.filter(Number.isFinite)]));
  const middle = (name: string): number => median(values.get(name) ?? []);
  return {
    what,
    digits,
    ours,
    contenders: [...values].filter(([, each]) => each.length > 0).map(([name, each]) => ({
      name,
      version: versionOf(name, versions),
      values: each.map(short),
      median: short(median(each)),
      spread: short(spread(each)),
    })),
    targets: targets.map((target) => {
      const ratio = middle(ours) / middle(target.rival);
      return { ...target, ratio: Number.isFinite(ratio) ? short(ratio) : null, verdict: met(ratio, target) };
    }),
    ...limit !== undefined ? { limit: { ...limit, verdict: met(middle(ours), limit) } } : {},
  };
}

/** Results of several files: later ones take the place of those of the same section and the same old revision. */
export function merge(...all: readonly Results[]): Results {
  const sections = new Map<string, SectionResult>(), comparisons = new Map<string, ComparisonResult>();
  for (const each of all) {
    for (const section of each.sections) sections.set(section.section, section);
    for (const one of each.comparisons) comparisons.set(`${one.section} ${one.old}`, one);
  }
  return { format: 1, sections: [...sections.values()], comparisons: [...comparisons.values()] };
}

/** Reads a file of results. */
export function parseResults(text: string): Results {
  const { format, sections, comparisons } = JSON.parse(text);
  if (format !== 1 || !Array.isArray(sections) || !Array.isArray(comparisons)) {
    throw new TypeError("These are no results of this bench, or those of another version of it");
  }
  return { format, sections, comparisons };
}

/** The text of a file of results: what fits into a line stands in one. */
export function printResults(results: Results): string {
  const print = (value: unknown, indent: string, key: string): string => {
    const flat = JSON.stringify(value, null, 1).replace(/\n\s*/g, " ").replace(/\[ | \]/g, (ends) => ends.trim());
    const short = indent.length + key.length + flat.length < 120;
    if (typeof value !== "object" || value === null || short) return indent + key + flat;
    const list = Array.isArray(value);
    const parts = Object.entries(value).filter(([, one]) => one !== undefined).map(([name, one]) =>
      print(one, `${indent}  `, list ? "" : `${JSON.stringify(name)}: `)
    );
    return `${indent}${key}${list ? "[" : "{"}\n${parts.join(",\n")}\n${indent}${list ? "]" : "}"}`;
  };
  return print(results, "", "") + "\n";
}

const bound = ({ atLeast, atMost }: { readonly atLeast?: number; readonly atMost?: number }): string =>
  atLeast !== undefined ? `≥ ${atLeast}` : atMost !== undefined ? `≤ ${atMost}` : "";

const judged = (limits: { readonly atLeast?: number; readonly atMost?: number }, verdict: Verdict): string =>
  verdict === "" ? "" : ` (${bound(limits)}${verdict === "short" ? ": short" : ""})`;

function number(value: number, digits: number): string {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function measured(figure: FigureResult, name: string): string {
  const values = figure.contenders.find((one) => one.name === name)?.values ?? [];
  if (values.length === 0) return "-";
  return number(median(values), figure.digits) + (values.length > 1 ? ` ±${spread(values).toFixed(0)}%` : "");
}

/** The tables of figures: a column for ours and for each rival, a new table where the rivals change. */
export function tables(figures: readonly FigureResult[]): string {
  const rivals = (figure: FigureResult): string[] => figure.targets.map(({ rival }) => rival);
  return grouped(figures, (figure) => rivals(figure).join("\n")).map((group) => {
    const versions = (rival: string): string =>
      group.flatMap(({ contenders }) => contenders).find(({ name }) => name === rival)?.version ?? rival;
    const lines = group.map((figure) => [
      figure.what,
      measured(figure, figure.ours) + (figure.limit === undefined ? "" : judged(figure.limit, figure.limit.verdict)),
      ...figure.targets.map((target) => {
        const ratio = target.ratio === null ? "" : `; ${target.ratio.toFixed(2)}`;
        return measured(figure, target.rival) + ratio + judged(target, target.verdict);
      }),
    ]);
    const head = ["figure", "ours", ...rivals(group[0]!).map(versions)];
    return table(head, lines, head.keys().drop(1).toArray());
  }).join("\n\n");
}

/** What was not reached, a line each. */
export function shortfalls(figures: readonly FigureResult[]): string[] {
  return figures.flatMap((figure) => [
    ...figure.limit?.verdict === "short"
      ? [`${figure.what}: ${measured(figure, figure.ours)}, where ${bound(figure.limit)} is wanted`]
      : [],
    ...figure.targets.filter(({ verdict }) => verdict === "short").map((target) =>
      `${figure.what}: ${target.ratio!.toFixed(2)} of what ${target.rival} has, where ${bound(target)} is wanted`
    ),
  ]);
}

const months = "January February March April May June July August September October November December".split(" ");

function caption(at: Circumstances & { readonly revision?: string; readonly note?: string }): string {
  const [year, month, day] = at.date.slice(0, 10).split("-").map(Number) as [number, number, number];
  return [
    `${day} ${months[month - 1]} ${year}${at.revision ? `, at \`${at.revision}\`` : ""}`,
    at.machine,
    `medians of ${at.rounds} round${at.rounds === 1 ? "" : "s"}, ${at.bytes / 1e6} MB a transfer` +
    (at.quick ? " (`--quick`)" : ""),
    ...at.note === undefined ? [] : [at.note],
  ].join("; ") + ".";
}

/** Lines of at most 120 characters, as `deno fmt` breaks them. */
function wrap(text: string): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line !== "" && line.length + 1 + word.length > 120) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines.join("\n");
}

/** Neighbours that a key makes equal. */
function grouped<T>(all: readonly T[], key: (one: T) => string): T[][] {
  const groups: T[][] = [];
  for (const one of all) {
    const last = groups.at(-1);
    if (last !== undefined && key(last[0]!) === key(one)) last.push(one);
    else groups.push([one]);
  }
  return groups;
}

const names = (sections: readonly Circumstances[]): string => `\`${sections.map(({ section }) => section).join(" ")}\``;

const failed = (failures: readonly string[]): string =>
  failures.length === 0 ? "" : ["```text", ...failures.map((failure) => `Failed: ${failure}`), "```"].join("\n");

const paragraphs = (...parts: readonly string[]): string => parts.filter((part) => part !== "").join("\n\n");

/** Sections as a document shows them: those that were measured alike stand under one caption. */
export function sectionText(sections: readonly SectionResult[]): string {
  return paragraphs(
    ...grouped(sections, caption).map((group) =>
      paragraphs(
        wrap(`${names(group)}: ${caption(group[0]!)}`),
        tables(group.flatMap(({ figures }) => figures)),
        failed(group.flatMap(({ failures }) => failures)),
      )
    ),
  );
}

/** Comparisons, those of the same revisions together. */
export function comparisonText(comparisons: readonly ComparisonResult[]): string {
  return paragraphs(
    ...grouped(comparisons, (one) => `${one.old} ${one.new} ${caption(one)}`).map((group) => {
      const figures = group.flatMap(({ figures }) => figures);
      return paragraphs(
        wrap(`Old: ${group[0]!.old}`),
        wrap(`New: ${group[0]!.new}`),
        wrap(`${names(group)}: ${caption(group[0]!)}`),
        compareTable(figures),
        summary(figures),
        failed(group.flatMap(({ failures }) => failures)),
      );
    }),
  );
}
