/**
 * Bench. The picture of the README, made of the tables in bench/README.md: bars for some of their rows, the longer the faster.
 *
 * @module
 */

/** A bar: who, and how much. */
interface Bar {
  readonly name: string;
  readonly value: number;
  /** As the table writes it. */
  readonly text: string;
}

/** What is shown, by the words of the tables. */
const shown: readonly { readonly title: string; readonly row: string; readonly columns?: readonly string[] }[] = [
  { title: "One channel down, MB/s", row: "client, one channel down, MB/s" },
  { title: "One channel up, MB/s", row: "client, one channel up, MB/s" },
  {
    title: "One channel down, 100 ms away, MB/s",
    row: "chacha20-poly1305 down from sshd 10, 100 ms",
    columns: ["ours", "`ssh`"],
  },
  { title: "Commands on one connection, per second", row: "execs one after the other on one connection, per second" },
  { title: "SFTP, 1,000 files of 4 KiB down, per second", row: "sftp, 1000 files of 4 KiB down, files per second" },
];

const cellsOf = (line: string): string[] => line.split("|").slice(1, -1).map((cell) => cell.trim());

/** The lines of the table that holds a row, its head first, or none. */
function tableWith(lines: readonly string[], row: string): string[][] {
  const at = lines.findIndex((line) => cellsOf(line)[0] === row);
  if (at < 0) throw new Error(`No table has a row "${row}"`);
  let head = at;
  while (lines[head - 1]?.startsWith("|")) head--;
  return [cellsOf(lines[head]!), ...lines.slice(head + 2).filter((line) => cellsOf(line)[0] === row).map(cellsOf)];
}

/** The bars of a row: ours, and each rival once. */
function barsOf(lines: readonly string[], row: string, columns: readonly string[] | undefined): Bar[] {
  const [head, ...rows] = tableWith(lines, row) as [string[], ...string[][]];
  const bar = (name: string, text: string): Bar => ({ name, text, value: Number(text.replaceAll(",", "")) });
  const cell = (cells: readonly string[], column: string): string => cells[head.indexOf(column)] ?? "";
  const bars = columns === undefined
    ? [
      bar("@amiko/ssh", cell(rows[0]!, "ours")),
      ...rows.map((cells) => bar(cell(cells, "rival"), cell(cells, "theirs"))),
    ]
    : columns.map((column) =>
      bar(column === "ours" ? "@amiko/ssh" : column.replaceAll("`", ""), cell(rows[0]!, column))
    );
  if (bars.some(({ value }) => !(value > 0))) throw new Error(`A row "${row}" has no numbers`);
  return bars.filter(({ name }) => !name.includes(","));
}

const WIDTH = 760, LEFT = 130, LONGEST = 540, BAR = 14, LINE = 19, TITLE = 30;

/** The picture, of the text of bench/README.md. */
export function picture(tables: string): string {
  const lines = tables.split("\n"), drawn: string[] = [];
  let y = 0;
  for (const { title, row, columns } of shown) {
    const bars = barsOf(lines, row, columns), most = Math.max(...bars.map(({ value }) => value));
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

/** Writes bench/speed.svg anew. */
export async function draw(): Promise<void> {
  const here = (name: string): URL => new URL(name, import.meta.url);
  await Deno.writeTextFile(here("speed.svg"), picture(await Deno.readTextFile(here("README.md"))));
}
