/**
 * Bench. README.md and speed.svg, written of the results that are kept in bench/results, a file for each section.
 *
 * README.md says where sections go by comments: `<!-- results: down up -->` before their tables, `<!-- end of results -->` behind them; what
 * stands between them is replaced where there are results of one of the sections. Sections that no comment names go to
 * `<!-- results: others -->`, and revisions that were compared to `<!-- results: comparisons -->`.
 *
 * @module
 */

import { picture } from "./picture.ts";
import { comparisonText, merge, parseResults, printResults, type Results, sectionText } from "./results.ts";

const region = /<!-- results: ([\w -]+) -->\n([^]*?)<!-- end of results -->/g;
const folder = new URL("results/", import.meta.url), readme = new URL("README.md", import.meta.url);

/** The text with the tables of the results. */
export function withResults(text: string, { sections, comparisons }: Results): string {
  const named = new Set([...text.matchAll(region)].flatMap(([, names]) => names!.split(" ")));
  return text.replaceAll(region, (whole, names: string) => {
    const wanted = names === "others"
      ? sections.filter(({ section }) => !named.has(section))
      : names.split(" ").flatMap((name) => sections.filter(({ section }) => section === name));
    const shown = names === "comparisons" ? comparisonText(comparisons) : sectionText(wanted);
    return shown === "" ? whole : `<!-- results: ${names} -->\n\n${shown}\n\n<!-- end of results -->`;
  });
}

/** What a file holds; nothing where there is none. */
export async function stored(file: string | URL): Promise<Results> {
  try {
    return parseResults(await Deno.readTextFile(file));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { format: 1, sections: [], comparisons: [] };
    throw error;
  }
}

/** The results that are kept. */
export function keptResults(): Results {
  const files = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.endsWith(".json"))
    .toSorted();
  return merge(...files.map((name) => parseResults(Deno.readTextFileSync(new URL(name, folder)))));
}

/** Keeps the results of files of runs, the later ones before the earlier ones, and writes README.md and speed.svg anew. */
export async function write(files: readonly string[]): Promise<void> {
  const measured = merge(...files.map((file) => parseResults(Deno.readTextFileSync(file))));
  for (const section of measured.sections.filter(({ figures }) => figures.length > 0)) {
    const text = printResults({ format: 1, sections: [section], comparisons: [] });
    await Deno.writeTextFile(new URL(`${section.section}.json`, folder), text);
  }
  for (const [old, comparisons = []] of Map.groupBy(measured.comparisons, ({ old }) => old.split(" ")[0]!)) {
    const file = new URL(`beside-${old}.json`, folder);
    const text = printResults(merge(await stored(file), { format: 1, sections: [], comparisons }));
    await Deno.writeTextFile(file, text);
  }
  const results = keptResults();
  await Deno.writeTextFile(readme, withResults(await Deno.readTextFile(readme), results));
  await Deno.writeTextFile(new URL("speed.svg", import.meta.url), picture(results));
}
