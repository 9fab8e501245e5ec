/**
 * Bench: `deno task bench -- [section …] [options]`. Sets this module beside OpenSSH, npm's ssh2, AsyncSSH and paramiko, on loopback, in one
 * run, and prints tables: medians, half of the spread in percent, ours divided by theirs, and the bounds.
 *
 * `--list` names the sections, with a line on each. Without a section all run but those that have to be named.
 * Options: `--rounds 5`, `--bytes 1e9` a transfer (a file of the sftp sections has at most 300 MB), `--count 400` steps, `--quick` (2 rounds,
 * 60 MB, 40 steps, less of what takes long, and no AsyncSSH or paramiko: all sections in some six minutes), `--long` (10 GB where memory
 * must not grow), `--only NAME,…` (contenders by a part of their name), `--cells REGEXP` (cells of the table of windows, and figures of
 * forwards, such as "-L one"), `--profile FOLDER` (V8 CPU profiles of this module's programs).
 *
 * Results go to `--json FILE`, or bench/.cache/results.json, as each section ends: every round's value, and of what and when. A file that is
 * there keeps its other sections, so that a long bench can be run in parts. A section that fails is named, and the rest goes on.
 * `--write FILE …` measures nothing: it keeps the results of such files in bench/results/, and writes the tables of
 * bench/README.md and the picture bench/speed.svg of all that is kept there.
 *
 * `deno task bench -- compare REVISION [section …] [options]` measures this module alone, as it is here and as it was at a revision, in turns
 * in one run, and marks what has become slower by more than 3 percent: down up server gcm execs logins echo sftp-file sftp-small
 * sftp-stat sftp-list sftp-server where none is named. It checks the revision out in a temporary folder, and runs it by the
 * programs of today, 500 MB a transfer; what that revision cannot do is left out. `--new REVISION` takes another one for what is here.
 *
 * @module
 */

import { type Compared, quantitiesOf } from "./compare.ts";
import { stored, write } from "./document.ts";
import { fail, failures, type Figure, log, type Sides } from "./harness.ts";
import { type Options, parseOptions } from "./options.ts";
import {
  type Circumstances,
  comparisonText,
  figureResult,
  merge,
  printResults,
  type Results,
  sectionText,
  shortfalls,
} from "./results.ts";
import { cores } from "./sections/cores.ts";
import { packetProtection } from "./sections/crypto.ts";
import { flights } from "./sections/flights.ts";
import { floods } from "./sections/floods.ts";
import { forwards, forwardServer } from "./sections/forwards.ts";
import { keyExchange } from "./sections/key_exchange.ts";
import { echo, execs, logins } from "./sections/latency.ts";
import { flat, rest } from "./sections/memory.ts";
import { sftpDelay, sftpFile, sftpList, sftpMemory, sftpServer, sftpSmall, sftpStat } from "./sections/sftp.ts";
import { relayed } from "./sections/relay.ts";
import { scale } from "./sections/scale.ts";
import { soak } from "./sections/soak.ts";
import { importing } from "./sections/start.ts";
import { aes, bothEnds, channels, oneChannel, server } from "./sections/throughput.ts";
import { windows } from "./sections/windows.ts";
import { Bench } from "./support/bench.ts";
import { describeMachine, installSsh2 } from "./support/machine.ts";
import { checkOut, revisionHere, workingTree } from "./support/revisions.ts";
import { makeKeys, startSshd } from "./support/sshd.ts";

/** A section, what it measures, and whether it has to be named. */
type Section = readonly [run: (bench: Bench) => Promise<Figure[]>, about: string, named?: "named"];

const sections: Readonly<Record<string, Section>> = {
  down: [oneChannel("down"), "bytes down one channel of a client: rate, CPU, memory"],
  up: [oneChannel("up"), "bytes up one channel of a client"],
  server: [server, "bytes from and to a server, by ssh"],
  both: [bothEnds, "this module at both ends, OpenSSH at both ends"],
  gcm: [aes("aes128-gcm", "aes128-gcm@openssh.com"), "bytes both ways with AES-128-GCM"],
  ctr: [aes("aes128-ctr", "aes128-ctr"), "the same with AES-128-CTR"],
  channels: [channels, "eight channels down at once"],
  execs: [execs, "commands one after the other on one connection"],
  logins: [logins, "connections with login, one after the other"],
  echo: [echo, "1 KiB there and back"],
  cores: [cores, "a server's logins and bytes by one worker, two and none, and sshd's logins"],
  floods: [floods, "logins beside a peer that floods, and the wait for a turn"],
  flights: [flights, "round trips on the wire, of connect, a command, an SFTP session and a first file"],
  rest: [rest, "memory of a connection at rest, either end"],
  flat: [flat, "whether memory grows with what passes"],
  soak: [
    soak,
    "what both ends hold over bytes, rekeys and channels by the thousand: 20 GB, 10,000 and 10,000 with --long",
    "named",
  ],
  scale: [scale, "100, 300 and 1,000 connections to one server, a tenth of them busy; what a login costs it", "named"],
  import: [importing, "how long a program takes to start"],
  "sftp-file": [sftpFile, "one large file, down and up"],
  "sftp-small": [sftpSmall, "1,000 files of 4 KiB, down and up"],
  "sftp-stat": [sftpStat, "stat, one after the other and 32 at once"],
  "sftp-list": [sftpList, "a listing of 10,000 entries"],
  "sftp-delay": [sftpDelay, "one large file over a path of 50 ms"],
  "sftp-server": [sftpServer, "an SFTP server, by sftp: a file, small files, a listing"],
  "sftp-memory": [sftpMemory, "whether memory grows with a file, either end"],
  forwards: [forwards, "bytes and connections through -L, -R, -D and a jump host"],
  "forward-server": [forwardServer, "the same of a server, by ssh"],
  windows: [windows, "receive windows over paths of 0 to 300 ms, beside fixed ones: an hour a round", "named"],
  relay: [relayed, "what the relay with delay costs and lets through", "named"],
  crypto: [packetProtection, "what each cipher costs, beside nobody", "named"],
  kex: [keyExchange, "what key exchanges cost, beside nobody", "named"],
};

/** What is compared where no section is named. */
const compared = "down up server gcm execs logins echo sftp-file sftp-small sftp-stat sftp-list sftp-server".split(" ");

/** Seconds for a quick run: a section that has used its share of what is left does no second round. */
const QUICK = 300;

/** Prints a text. */
async function print(text: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(`\n${text}\n`));
}

/** Measures the sections that are wanted. */
async function measure(options: Options): Promise<void> {
  const started = performance.now(), modules = await installSsh2(), machine = await describeMachine(modules);
  const file = options.json ?? new URL(".cache/results.json", import.meta.url).pathname;
  await using keys = await makeKeys();
  await using sshd = await startSshd(keys);
  let all: Results = { format: 1, sections: [], comparisons: [] };
  const keep = async (more: Partial<Results>): Promise<void> => {
    const added: Results = { format: 1, sections: [], comparisons: [], ...more };
    all = merge(all, added);
    await Deno.writeTextFile(`${file}.new`, printResults(merge(await stored(file), added)));
    await Deno.rename(`${file}.new`, file);
  };
  /** Runs a section, and says what it was run on. */
  const one = async (section: string, bench: Bench) => {
    const begun = performance.now(), before = failures.length;
    const figures = await sections[section]![0](bench).catch((error) => {
      fail(section, error);
      return [];
    });
    const seconds = Math.round((performance.now() - begun) / 1000), { rounds, bytes, count, quick } = options;
    log(`${section}: ${seconds} s`);
    const at: Circumstances = { section, date: new Date().toISOString(), ...machine, rounds, bytes, count, quick };
    return { at, figures, failures: failures.slice(before), seconds };
  };
  if (options.revisions === undefined) {
    const revision = revisionHere();
    const unnamed = Object.entries(sections).filter(([, [, , named]]) => named === undefined).map(([name]) => name);
    const wanted = options.wanted.length > 0 ? options.wanted : unnamed;
    for (const [i, section] of wanted.entries()) {
      const since = performance.now(), share = (started + QUICK * 1000 - since) / (wanted.length - i);
      const enough = () => options.quick && performance.now() - since > share;
      const bench = new Bench({ ...options, enough }, keys, sshd, modules);
      const { at, figures, failures, seconds } = await one(section, bench);
      const results = figures.map((figure) => figureResult(figure, machine.versions));
      await keep({ sections: [{ ...at, revision, seconds, figures: results, failures }] });
    }
    const lacking = shortfalls(all.sections.flatMap(({ figures }) => figures));
    await print(sectionText(all.sections));
    if (lacking.length > 0) await print(["Short:", "", ...lacking.map((line) => `- ${line}`)].join("\n"));
  } else {
    await using before = await checkOut("old", options.revisions.old);
    const newer = options.revisions.new;
    await using now = newer === undefined ? workingTree() : await checkOut("new", newer);
    let figures: Compared[] = [];
    const take: Sides["take"] = (what, contender, results) => {
      const quantities = { new: results.new.map(quantitiesOf), old: results.old.map(quantitiesOf) };
      for (const [i, { unit, more }] of (quantities.new[0] ?? []).entries()) {
        const side = (name: "new" | "old"): number[] => quantities[name].map((each) => each[i]?.value ?? NaN);
        const name = contender === "this module" ? what : `${what}: ${contender}`;
        figures.push({ what: name, unit, more, new: side("new"), old: side("old") });
      }
    };
    const bench = new Bench({ ...options, sides: { each: [before, now], take } }, keys, sshd, modules);
    for (const section of options.wanted.length > 0 ? options.wanted : compared) {
      figures = [];
      const { at, failures } = await one(section, bench);
      await keep({ comparisons: [{ ...at, old: before.about, new: now.about, figures, failures }] });
    }
    await print(comparisonText(all.comparisons));
  }
  log(`${Math.round((performance.now() - started) / 1000)} s in all; the results are in ${file}`);
}

const args = Deno.args.filter((arg) => arg !== "--");
if (args.includes("--list")) {
  const line = (name: string, [, about, named]: Section): string =>
    `${name.padEnd(16)}${about}${named === undefined ? "" : "; has to be named"}`;
  await print(Object.entries(sections).map(([name, section]) => line(name, section)).join("\n"));
} else if (args[0] === "--write") await write(args.slice(1));
else await measure(parseOptions(args, Object.keys(sections)));
