/**
 * Bench: `deno task bench -- [section …] [options]`. Sets this module beside OpenSSH and npm's ssh2, on loopback, in one run, and prints a table.
 *
 * Sections: down up server both gcm channels execs logins echo floods flights rest flat import, sftp-file sftp-small sftp-stat sftp-list
 * sftp-delay sftp-server sftp-memory, forwards forward-server; all of them when none is named. A file of the sftp sections has at most 300 MB.
 * Three have to be named: windows, which takes long, the table of receive windows over paths with delay; crypto, what each cipher
 * costs here, and kex, what key exchanges do, beside nobody.
 * Options: `--rounds 5`, `--bytes 1e9`, `--count 400`, `--quick` (2 rounds, 200 MB, 100 steps), `--long` (10 GB where
 * memory must not grow), `--only NAME,…` (contenders by a part of their name), `--json FILE` (every round's values), `--profile FOLDER` (V8 CPU
 * profiles of this module's programs), `--cells REGEXP` (cells of the table of windows, and figures of forwards, such as "-L one").
 *
 * `deno task bench -- compare REVISION [section …] [options]` measures this module alone, as it is here and as it was at a revision, in turns
 * in one run, and marks what has become slower by more than 3 percent: down up server gcm execs logins echo sftp-file sftp-small
 * sftp-stat sftp-list sftp-server where none is named. It checks the revision out in a temporary folder, and runs it by the
 * programs of today, 500 MB a transfer; what that revision cannot do is left out. `--new REVISION` takes another one for what is here.
 *
 * `--picture` measures nothing, and writes speed.svg of the tables in README.md, which a new run's tables go into.
 *
 * @module
 */

import { type Compared, compareTable, quantitiesOf, summary } from "./compare.ts";
import { fail, failures, type Figure, markdown, rows, type Settings, type Sides } from "./harness.ts";
import { draw } from "./picture.ts";
import { packetProtection } from "./sections/crypto.ts";
import { flights } from "./sections/flights.ts";
import { floods } from "./sections/floods.ts";
import { forwards, forwardServer } from "./sections/forwards.ts";
import { keyExchange } from "./sections/key_exchange.ts";
import { echo, execs, logins } from "./sections/latency.ts";
import { flat, rest } from "./sections/memory.ts";
import { sftpDelay, sftpFile, sftpList, sftpMemory, sftpServer, sftpSmall, sftpStat } from "./sections/sftp.ts";
import { importing } from "./sections/start.ts";
import { bothEnds, channels, gcm, oneChannel, server } from "./sections/throughput.ts";
import { windows } from "./sections/windows.ts";
import { Bench } from "./support/bench.ts";
import { describeMachine, installSsh2 } from "./support/machine.ts";
import { checkOut, workingTree } from "./support/revisions.ts";
import { makeKeys, startSshd } from "./support/sshd.ts";

const sections: Readonly<Record<string, (bench: Bench) => Promise<Figure[]>>> = {
  down: oneChannel("down"),
  up: oneChannel("up"),
  server,
  both: bothEnds,
  gcm,
  channels,
  execs,
  logins,
  echo,
  floods,
  flights,
  rest,
  flat,
  import: importing,
  "sftp-file": sftpFile,
  "sftp-small": sftpSmall,
  "sftp-stat": sftpStat,
  "sftp-list": sftpList,
  "sftp-delay": sftpDelay,
  "sftp-server": sftpServer,
  "sftp-memory": sftpMemory,
  forwards,
  "forward-server": forwardServer,
  windows,
  crypto: packetProtection,
  kex: keyExchange,
};

/** What is compared where no section is named. */
const compared = "down up server gcm execs logins echo sftp-file sftp-small sftp-stat sftp-list sftp-server".split(" ");

interface Options extends Settings {
  readonly wanted: readonly string[];
  /** Revisions to compare: the old one, and the new one unless it is what is here. */
  readonly revisions: { readonly old: string; readonly new: string | undefined } | undefined;
  readonly json: string | undefined;
}

function parse(args: readonly string[]): Options {
  const quick = args.includes("--quick");
  let rounds = quick ? 2 : 5, bytes = quick ? 200e6 : 1e9, count = quick ? 100 : 400;
  let old: string | undefined, newer: string | undefined;
  let long = false, cells = /(?:)/, only: string[] = [], json: string | undefined, profile: string | undefined;
  const wanted: string[] = [];
  const rest = args.filter((arg) => arg !== "--" && arg !== "--quick");
  const value = (name: string): string => {
    const next = rest.shift();
    if (next === undefined) throw new TypeError(`${name} needs a value`);
    return next;
  };
  const positive = (name: string): number => {
    const number = Number(value(name));
    if (!(number >= 1)) throw new TypeError(`${name} needs a positive number`);
    return Math.floor(number);
  };
  if (rest.includes("compare")) bytes /= 2;
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "compare") old = value(arg);
    else if (arg === "--new") newer = value(arg);
    else if (arg === "--rounds") rounds = positive(arg);
    else if (arg === "--bytes") bytes = positive(arg);
    else if (arg === "--count") count = positive(arg);
    else if (arg === "--long") long = true;
    else if (arg === "--only") only = value(arg).split(",");
    else if (arg === "--cells") cells = new RegExp(value(arg));
    else if (arg === "--json") json = value(arg);
    else if (arg === "--profile") profile = value(arg);
    else if (Object.hasOwn(sections, arg)) wanted.push(arg);
    else throw new TypeError(`No such section or option: "${arg}"; sections are ${Object.keys(sections).join(" ")}`);
  }
  return {
    rounds,
    bytes,
    count,
    quick,
    cells,
    long,
    only,
    json,
    profile,
    revisions: old === undefined ? undefined : { old, new: newer },
    wanted: wanted.length > 0
      ? wanted
      : old !== undefined
      ? compared
      : Object.keys(sections).filter((name) => !["windows", "crypto", "kex"].includes(name)),
  };
}

if (Deno.args.includes("--picture")) {
  await draw();
  Deno.exit();
}
const options = parse(Deno.args);
const modules = await installSsh2();
await using keys = await makeKeys();
await using sshd = await startSshd(keys);
const figures: Figure[] = [], comparisons: Compared[] = [];

async function run(bench: Bench): Promise<void> {
  for (const name of options.wanted) {
    try {
      figures.push(...await sections[name]!(bench));
    } catch (error) {
      fail(name, error);
    }
  }
}

/** Measures two revisions, and tells of them. */
async function compare(old: string, newer: string | undefined): Promise<string> {
  await using before = await checkOut("old", old);
  await using now = newer === undefined ? workingTree() : await checkOut("new", newer);
  const take: Sides["take"] = (what, contender, results) => {
    const quantities = { new: results.new.map(quantitiesOf), old: results.old.map(quantitiesOf) };
    for (const [i, { unit, more }] of (quantities.new[0] ?? []).entries()) {
      const side = (name: "new" | "old"): number[] => quantities[name].map((each) => each[i]!.value);
      comparisons.push({
        what: contender === "this module" ? what : `${what}: ${contender}`,
        unit,
        more,
        new: side("new"),
        old: side("old"),
      });
    }
  };
  await run(new Bench({ ...options, sides: { each: [before, now], take } }, keys, sshd, modules));
  return [
    `Old: ${before.about}\nNew: ${now.about}`,
    compareTable(comparisons),
    summary(comparisons),
  ].join("\n\n");
}

let told: string;
if (options.revisions === undefined) {
  await run(new Bench(options, keys, sshd, modules));
  told = markdown(figures.flatMap(rows));
} else told = await compare(options.revisions.old, options.revisions.new);
const machine = await describeMachine(modules);
const text = [
  "",
  `${machine} Medians of ${options.rounds} rounds, ${options.bytes / 1e6} MB a transfer.`,
  "",
  told,
  ...(failures.length > 0 ? ["", "Failed:", ...failures.map((failure) => `- ${failure}`)] : []),
  "",
].join("\n");
await Deno.stdout.write(new TextEncoder().encode(text));
if (options.json !== undefined) {
  const values = figures.map((figure) => ({ ...figure, values: Object.fromEntries(figure.values) }));
  await Deno.writeTextFile(
    options.json,
    JSON.stringify({ machine, options, figures: values, comparisons, failures }, null, 1) + "\n",
  );
}
