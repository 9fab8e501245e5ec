/** Results of the bench: what goes into the JSON, and the tables that are written of it. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { withResults } from "../../bench/document.ts";
import type { Figure } from "../../bench/harness.ts";
import { parseOptions } from "../../bench/options.ts";
import { picture } from "../../bench/picture.ts";
import {
  comparisonText,
  figureResult,
  merge,
  parseResults,
  printResults,
  type Results,
  type SectionResult,
  sectionText,
  shortfalls,
  tables,
  versionOf,
} from "../../bench/results.ts";

const versions = { OpenSSH: "9.2p1", ssh2: "1.17.0", Deno: "2.9.6", Node: "20.20.2" };
const down: Figure = {
  what: "client, one channel down, MB/s",
  ours: "this module",
  values: new Map([["this module", [90, 100, 110]], ["ssh", [200, 200, 200]], ["ssh2 on Deno", [80, 50, 40]]]),
  targets: [{ rival: "ssh", atLeast: 0.95 }, { rival: "ssh2 on Deno", atLeast: 2 }, { rival: "ssh2 on Node" }],
  digits: 0,
};
const held: Figure = {
  ...down,
  what: "memory, MB",
  values: new Map([["this module", [12.34]]]),
  targets: [],
  limit: { atMost: 10 },
};

function section(name: string, more: Partial<SectionResult> = {}): SectionResult {
  return {
    section: name,
    date: "2026-11-29T19:30:00.000Z",
    revision: "abc1234",
    machine: "2 cores",
    versions,
    rounds: 3,
    bytes: 1e9,
    count: 400,
    quick: false,
    seconds: 60,
    figures: [figureResult(down, versions)],
    failures: [],
    ...more,
  };
}
const results = (...sections: SectionResult[]): Results => ({ format: 1, sections, comparisons: [] });

Deno.test("a figure in the JSON has every round of each contender, its version, median and spread, ratios and verdicts", () => {
  const { contenders, targets } = figureResult(down, versions);
  assertEquals(contenders[0], {
    name: "this module",
    version: "this module",
    values: [90, 100, 110],
    median: 100,
    spread: 10,
  });
  assertEquals(contenders.map(({ version }) => version), ["this module", "ssh 9.2p1", "ssh2 1.17.0 on Deno 2.9.6"]);
  assertEquals(targets, [
    { rival: "ssh", atLeast: 0.95, ratio: 0.5, verdict: "short" },
    { rival: "ssh2 on Deno", atLeast: 2, ratio: 2, verdict: "met" },
    { rival: "ssh2 on Node", ratio: null, verdict: "" },
  ]);
  assertEquals(figureResult(held, versions).limit, { atMost: 10, verdict: "short" });
});

Deno.test("a contender's version stands behind what it is made of, and only where it is known", () => {
  assertEquals(versionOf("ssh and sshd", versions), "ssh and sshd 9.2p1");
  assertEquals(versionOf("ssh2 on Node, Nagle left on", versions), "ssh2 1.17.0 on Node 20.20.2, Nagle left on");
  assertEquals(versionOf("a fixed window of 1 MiB", versions), "a fixed window of 1 MiB");
  assertEquals(versionOf("AsyncSSH", versions), "AsyncSSH");
});

Deno.test("a table has a column for each rival, and figures with other rivals a table of their own", () => {
  const text = tables([down, held].map((figure) => figureResult(figure, versions)));
  assertEquals(text.split("\n").map((line) => line.replace(/ +/g, " ").replace(/-+/g, "-")), [
    "| figure | ours | ssh 9.2p1 | ssh2 1.17.0 on Deno 2.9.6 | ssh2 on Node |",
    "| - | -: | -: | -: | -: |",
    "| client, one channel down, MB/s | 100 ±10% | 200 ±0%; 0.50 (≥ 0.95: short) | 50 ±40%; 2.00 (≥ 2) | - |",
    "",
    "| figure | ours |",
    "| - | -: |",
    "| memory, MB | 12 (≤ 10: short) |",
  ]);
});

Deno.test("what was not reached is told in a line each", () => {
  assertEquals(shortfalls([down, held].map((figure) => figureResult(figure, versions))), [
    "client, one channel down, MB/s: 0.50 of what ssh has, where ≥ 0.95 is wanted",
    "memory, MB: 12, where ≤ 10 is wanted",
  ]);
});

Deno.test("results of several runs are merged by section, the later in the place of the earlier, and read as they were printed", () => {
  const first = results(section("down"), section("up")), later = results(section("up", { revision: "def5678" }));
  const merged = merge(first, later);
  assertEquals(merged.sections.map(({ section, revision }) => [section, revision]), [["down", "abc1234"], [
    "up",
    "def5678",
  ]]);
  assertEquals(parseResults(printResults(merged)), merged);
  assert(printResults(merged).split("\n").every((line) => line.length <= 120));
  assertThrows(() => parseResults('{"figures":[]}'), TypeError, "no results of this bench");
});

Deno.test("sections that were measured alike stand under one caption, with what failed", () => {
  const text = sectionText([
    section("down"),
    section("up", { failures: ["up, ssh: it ended"] }),
    section("echo", { quick: true }),
  ]);
  assertEquals(text.match(/^`.*$/gm), [
    "`down up`: 29 November 2026, at `abc1234`; 2 cores; medians of 3 rounds, 1000 MB a transfer.",
    "```text",
    "```",
    "`echo`: 29 November 2026, at `abc1234`; 2 cores; medians of 3 rounds, 1000 MB a transfer (`--quick`).",
  ]);
  assert(text.includes("\nFailed: up, ssh: it ended\n"));
});

Deno.test("a document gets the tables where its comments name their sections, keeps what has no results, and is the same when written again", () => {
  const kept = "<!-- results: windows -->\n\nAs it was.\n\n<!-- end of results -->";
  const before = `Head\n\n<!-- results: up down -->\n\nold\n\n<!-- end of results -->\n\nText\n\n${kept}\n\n` +
    "<!-- results: others -->\n\n<!-- end of results -->\n";
  const measured = results(section("down"), section("new one"));
  const once = withResults(before, measured);
  assert(once.startsWith("Head\n\n<!-- results: up down -->\n\n`down`: 29 November"));
  assert(once.includes(`\n\nText\n\n${kept}`) && once.includes("`new one`: ") && !once.includes("\nold\n"));
  assertEquals(withResults(once, measured), once);
});

Deno.test("the picture has a bar for ours and each rival that was measured, and leaves out what was not", () => {
  const drawn = picture(results(section("down")));
  assertEquals([...drawn.matchAll(/text-anchor="end">([^<]+)</g)].map(([, name]) => name), [
    "@amiko/ssh",
    "ssh",
    "ssh2 on Deno",
  ]);
  assert(drawn.includes("One channel down, MB/s") && !drawn.includes("One channel up"));
  assertEquals(picture(results()).includes("<rect"), false);
});

Deno.test("revisions that were compared are told with the verdicts", () => {
  const { figures: _, revision: __, ...at } = section("down");
  const one = { what: "down", unit: "MB/s", more: true, new: [1, 1, 1, 1, 1], old: [2, 2, 2, 2, 2] };
  const text = comparisonText([{ ...at, old: "abc of 2026-11-22", new: "def of 2026-11-29", figures: [one] }]);
  assert(text.includes("Old: abc of 2026-11-22\n") && text.includes("| slower"));
  assert(text.endsWith("Slower by more than 3 percent, whatever the spread:\n\n- down, MB/s"));
});

Deno.test("the command line takes sections and options in any order, and refuses what it does not know", () => {
  const { wanted, rounds, bytes, revisions } = parseOptions(
    ["--rounds", "3", "up", "--", "compare", "HEAD~1", "down"],
    ["up", "down"],
  );
  assertEquals({ wanted, rounds, bytes, revisions }, {
    wanted: ["up", "down"],
    rounds: 3,
    bytes: 500e6,
    revisions: { old: "HEAD~1", new: undefined },
  });
  assertThrows(() => parseOptions(["sideways"], ["up"]), TypeError, "sections are up");
  assertThrows(() => parseOptions(["--rounds", "0"], ["up"]), TypeError, "--rounds needs a positive number");
});
