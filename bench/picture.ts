/**
 * Bench. The picture of the README, made of the results: bars for some of the figures, the longer the faster. What was not measured is left out.
 *
 * @module
 */

import { median } from "./harness.ts";
import type { FigureResult, Results } from "./results.ts";

/** A bar: who, and how much. */
interface Bar {
  readonly name: string;
  readonly value: number;
  readonly text: string;
}

/** What is shown, by the figure's name; beside which rivals, unless beside all. */
const shown: readonly { readonly title: string; readonly what: string; readonly rivals?: readonly string[] }[] = [
  { title: "One channel down, MB/s", what: "client, one channel down, MB/s" },
  { title: "One channel up, MB/s", what: "client, one channel up, MB/s" },
  {
    title: "One channel down, 100 ms away, MB/s",
    what: "chacha20-poly1305 down from sshd 10, 100 ms, MB/s",
    rivals: ["ssh"],
  },
  { title: "Commands on one connection, per second", what: "execs one after the other on one connection, per second" },
  { title: "SFTP, 1,000 files of 4 KiB down, per second", what: "sftp, 1000 files of 4 KiB down, files per second" },
];

/** The bars of a figure: ours, and each rival that has a value; ways of a rival that its name explains are left out. */
function barsOf(figure: FigureResult, rivals: readonly string[] = figure.targets.map(({ rival }) => rival)): Bar[] {
  return [figure.ours, ...rivals.filter((rival) => !rival.includes(","))].flatMap((name) => {
    const values = figure.contenders.find((one) => one.name === name)?.values ?? [];
    if (values.length === 0) return [];
    const value = median(values), { digits } = figure;
    const text = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return [{ name: name === figure.ours ? "@amiko/ssh" : name, value, text }];
  });
}

const WIDTH = 760, LEFT = 130, LONGEST = 540, BAR = 14, LINE = 19, TITLE = 30;

/** The picture. */
export function picture({ sections }: Results): string {
  const figures = sections.flatMap(({ figures }) => figures), drawn: string[] = [];
  let y = 0;
  for (const { title, what, rivals } of shown) {
    const figure = figures.find((one) => one.what === what);
    if (figure === undefined) continue;
    const bars = barsOf(figure, rivals), most = Math.max(...bars.map(({ value }) => value));
    y += TITLE;
    drawn.push(`<text x="0" y="${y - 8}" font-weight="600">${title}</text>`);
    for (const { name, value, text } of bars) {
      const length = Math.round(LONGEST * value / most), colour = name === "@amiko/ssh" ? "#0f7b6c" : "#9aa4af";
      drawn.push(
        `<text x="${LEFT - 8}" y="${y + 11}" text-anchor="end">${name}</text>`,
        `<rect x="${LEFT}" y="${y}" width="${length}" height="${BAR}" rx="2" fill="${colour}"/>`,
        `<text x="${LEFT + length + 8}" y="${y + 11}">${text}</text>`,
      );
      y += LINE;
    }
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 4}" width="${WIDTH}" height="${
      y + 4
    }" role="img"`,
    `  font-family="system-ui, sans-serif" font-size="12" fill="#6e7781">`,
    `<title>Speed beside other SSH clients, against the same sshd; longer is faster</title>`,
    ...drawn,
    "</svg>",
    "",
  ].join("\n");
}
