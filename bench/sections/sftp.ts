/**
 * Bench. Files: one large one, many small ones, `stat`, a listing, a long path, this module's server, memory.
 *
 * @module
 */

import { alternate, type Figure, median, pick, type Target } from "../harness.ts";
import { type Bench, type Endpoint, overRelay } from "../support/bench.ts";
import { type Files, makeFiles } from "../support/files.ts";
import { memoryOf } from "../support/proc.ts";
import type { Client, Result } from "../support/run.ts";

const ours = "this module";
const all: readonly Client[] = [ours, "sftp", "ssh2 on Node", "ssh2 on Deno", "AsyncSSH", "paramiko"];
/** paramiko 2 has no ChaCha20-Poly1305 and takes what it likes best of the rest. */
const shown: readonly Target[] = [{ rival: "ssh2 on Deno" }, { rival: "AsyncSSH" }, { rival: "paramiko" }];
/** Milliseconds that the relay adds to a round trip. */
const ADDED_DELAY = 50;
const SMALL_FILES = 1000;
const LISTED = 10_000;

type Direction = "down" | "up";
const directions: readonly Direction[] = ["down", "up"];

const fileBytes = (bench: Bench): number => Math.min(bench.settings.bytes, 300e6);
const smallFiles = (bench: Bench): number => bench.settings.quick ? SMALL_FILES / 4 : SMALL_FILES;
const rate = (result: Result): number => result.bytes! / result.seconds! / 1e6;
const perSecond = (result: Result): number => result.count! / result.seconds!;
const cpuPerGb = (result: Result): number => result.cpu! / (result.bytes! / 1e9);

function showFile(result: Result): string {
  return `${rate(result).toFixed(1)} MB/s, ${cpuPerGb(result).toFixed(2)} s/GB, peak ${
    (result.peak! / 1e6).toFixed(0)
  } MB`;
}

function showSteps(result: Result): string {
  const { count, seconds, cpu } = result;
  return `${perSecond(result).toFixed(0)}/s, ${(seconds! * 1000).toFixed(0)} ms, CPU ${
    (cpu! / count! * 1e6).toFixed(0)
  } us each`;
}

/** Copies something in one direction, and checks the copy. */
async function copy(
  bench: Bench,
  files: Files,
  client: Client,
  direction: Direction,
  original: string,
  more: Readonly<Record<string, unknown>> & { to?: Endpoint; tree?: boolean; root?: string },
): Promise<Result> {
  const { to, tree, root = "", ...params } = more;
  const target = files.target();
  const remote = direction === "down" ? original : target, local = direction === "down" ? target : original;
  const scenario = (direction === "down" ? "sftpGet" : "sftpPut") + (tree ? "Tree" : "");
  const result = await bench.client(
    client,
    scenario,
    { ...params, remote: remote.slice(root.length), local },
    to === undefined ? {} : { to },
  );
  await files.check(original, target);
  return result;
}

function each<T>(clients: readonly Client[], run: (client: Client) => Promise<T>): Record<string, () => Promise<T>> {
  return Object.fromEntries(clients.map((client) => [client, () => run(client)]));
}

/** One large file, down and up. */
export async function sftpFile(bench: Bench): Promise<Figure[]> {
  await using files = await makeFiles();
  const bytes = fileBytes(bench), original = await files.large(bytes);
  const figures: Figure[] = [];
  for (const direction of directions) {
    const results = await alternate(
      bench.settings,
      `sftp, one file ${direction}`,
      each(all, (client) => copy(bench, files, client, direction, original, { bytes })),
      showFile,
    );
    figures.push({
      what: `sftp, one file of ${bytes / 1e6} MB ${direction}, MB/s`,
      ours,
      values: pick(results, rate),
      targets: [{ rival: "sftp", atLeast: 1 }, { rival: "ssh2 on Node", atLeast: 1.7 }, ...shown],
      digits: 0,
    }, {
      what: `sftp, one file ${direction}, CPU s/GB`,
      ours,
      values: pick(results, cpuPerGb),
      targets: [{ rival: "sftp" }, { rival: "ssh2 on Node" }, ...shown],
      digits: 2,
    }, {
      what: `sftp, one file ${direction}, peak memory, MB`,
      ours,
      values: pick(results, (result) => result.peak! / 1e6),
      targets: [{ rival: "sftp" }, { rival: "ssh2 on Node" }, ...shown],
      digits: 0,
    });
  }
  return figures;
}

/** A folder of small files, down and up. */
export async function sftpSmall(bench: Bench): Promise<Figure[]> {
  await using files = await makeFiles();
  const count = smallFiles(bench), original = await files.small(count);
  const figures: Figure[] = [];
  for (const direction of directions) {
    const results = await alternate(
      bench.settings,
      `sftp, small files ${direction}`,
      each(all, (client) => copy(bench, files, client, direction, original, { count, tree: true })),
      showSteps,
    );
    figures.push({
      what: `sftp, ${count} files of 4 KiB ${direction}, files per second`,
      ours,
      values: pick(results, perSecond),
      targets: [{ rival: "sftp", atLeast: 3 }, { rival: "ssh2 on Node" }, ...shown],
      digits: 0,
    });
  }
  return figures;
}

/** `stat`, one after the other and many at once. `sftp` has no command for it. */
export async function sftpStat(bench: Bench): Promise<Figure[]> {
  await using files = await makeFiles();
  const remote = `${await files.small(1)}/file-0`, parallel = 32;
  const clients = all.filter((client) => client !== "sftp");
  const count = bench.settings.count * 10;
  const results = await alternate(
    bench.settings,
    "sftp, stat",
    each(clients, (client) => bench.client(client, "sftpStat", { remote, count })),
    showSteps,
  );
  const many = await alternate(
    bench.settings,
    `sftp, stat, ${parallel} at once`,
    each(
      clients.filter((client) => client !== "paramiko"),
      (client) => bench.client(client, "sftpStatParallel", { remote, count, parallel }),
    ),
    showSteps,
  );
  const targets: Target[] = [{ rival: "ssh2 on Node" }, ...shown];
  const level = targets.map((one) => one.rival.startsWith("ssh2") ? { ...one, atLeast: 1 } : one);
  return [
    {
      what: "sftp, stat one after the other, per second",
      ours,
      values: pick(results, perSecond),
      targets: level,
      digits: 0,
    },
    {
      what: "sftp, stat one after the other, CPU us each",
      ours,
      values: pick(results, ({ cpu, count }) => cpu! / count! * 1e6),
      targets,
      digits: 0,
    },
    { what: `sftp, stat, ${parallel} at once, per second`, ours, values: pick(many, perSecond), targets, digits: 0 },
  ];
}

/** A directory of many entries. */
export async function sftpList(bench: Bench): Promise<Figure[]> {
  await using files = await makeFiles();
  const remote = await files.many(LISTED);
  const results = await alternate(
    bench.settings,
    "sftp, list",
    each(all, (client) => bench.client(client, "sftpList", { remote, count: LISTED })),
    showSteps,
  );
  return [{
    what: `sftp, a listing of ${LISTED} entries, ms`,
    ours,
    values: pick(results, (result) => result.seconds! * 1000),
    targets: [{ rival: "sftp" }, { rival: "ssh2 on Node" }, ...shown],
    digits: 0,
  }];
}

/** One large file over a path with delay, which a relay in a process of its own adds. */
export async function sftpDelay(bench: Bench): Promise<Figure[]> {
  await using files = await makeFiles();
  const bytes = fileBytes(bench), original = await files.large(bytes), { settings } = bench;
  const figures: Figure[] = [];
  for (const direction of directions) {
    const results = await alternate(
      settings.quick ? { ...settings, rounds: 1 } : settings,
      `sftp, one file ${direction}, ${ADDED_DELAY} ms`,
      each(all, async (client) => {
        const run = (to: Endpoint) => copy(bench, files, client, direction, original, { bytes, to });
        return (await overRelay(bench.sshd, ADDED_DELAY, run)).result;
      }),
      showFile,
    );
    figures.push({
      what: `sftp, one file ${direction}, ${ADDED_DELAY} ms added to the round trip, MB/s`,
      ours,
      values: pick(results, rate),
      targets: [{ rival: "sftp", atLeast: direction === "up" ? 3 : 4 }, { rival: "ssh2 on Node" }, ...shown],
      digits: 1,
    });
  }
  return figures;
}

/** OpenSSH's `sftp` as the client of this module's server and of sshd with OpenSSH's sftp-server. */
export async function sftpServer(bench: Bench): Promise<Figure[]> {
  await using files = await makeFiles();
  await using server = bench.server({ root: files.root });
  const bytes = fileBytes(bench), large = await files.large(bytes);
  const count = smallFiles(bench), small = await files.small(count), many = await files.many(LISTED);
  const theirs = "sshd";
  const figures: Figure[] = [];
  const both = (
    what: string,
    run: (more: { to: Endpoint; root: string }) => Promise<Result>,
    show: (result: Result) => string,
  ): Promise<Map<string, Result[]>> =>
    alternate(bench.settings, `sftp server, ${what}`, {
      [ours]: async () => {
        const to = await server.get(), { cpu } = await to.stat();
        const result = await run({ to, root: files.root });
        return Object.assign(result, { serverCpu: (await to.stat()).cpu! - cpu! });
      },
      [theirs]: () => run({ to: bench.sshd, root: "" }),
    }, show);
  const targets = [{ rival: theirs, atLeast: 1 }];
  for (const direction of directions) {
    const results = await both(
      `one file ${direction}`,
      (more) => copy(bench, files, "sftp", direction, large, { ...more, bytes }),
      showFile,
    );
    figures.push({
      what: `sftp server of sftp, one file of ${bytes / 1e6} MB ${direction}, MB/s`,
      ours,
      values: pick(results, rate),
      targets,
      digits: 0,
    });
  }
  for (const direction of directions) {
    const results = await both(
      `small files ${direction}`,
      (more) => copy(bench, files, "sftp", direction, small, { ...more, count, tree: true }),
      showSteps,
    );
    figures.push({
      what: `sftp server of sftp, ${count} files of 4 KiB ${direction}, files per second`,
      ours,
      values: pick(results, perSecond),
      targets,
      digits: 0,
    });
  }
  const lists = await both("list", ({ to, root }) => {
    return bench.client("sftp", "sftpList", { remote: many.slice(root.length), count: LISTED }, { to });
  }, showSteps);
  figures.push({
    what: `sftp server of sftp, listings of ${LISTED} entries per second`,
    ours,
    values: pick(lists, (result) => 1 / result.seconds!),
    targets,
    digits: 1,
  });
  return figures;
}

/** Memory of either end in the last quarter of a file over the second: it must not follow the file's size. */
export async function sftpMemory(bench: Bench): Promise<Figure[]> {
  await using files = await makeFiles();
  await using server = bench.server({ root: files.root });
  const bytes = bench.settings.long ? 5e9 : 4 * fileBytes(bench), original = await files.large(bytes);
  const once = { ...bench.settings, rounds: 1, only: [] };
  const figures: Figure[] = [];
  const quarter = (series: readonly number[], from: number): number =>
    median(series.slice(Math.floor(series.length * from), Math.floor(series.length * (from + 0.25)))) / 1e6;
  for (const direction of directions) {
    const what = `${(bytes / 1e9).toFixed(1)} GB ${direction}`;
    const client = await alternate(
      once,
      `sftp memory, client, ${what}`,
      { [ours]: () => copy(bench, files, ours, direction, original, { bytes, sample: true }) },
      (result) =>
        `${showFile(result)}, resident ${(result.series ?? []).map((v) => (v / 1e6).toFixed(0)).join(" ")} MB`,
    );
    figures.push({
      what: `sftp, memory in the last quarter of ${what}, over the second, MB`,
      ours,
      values: pick(client, ({ series = [] }) => quarter(series, 0.75) - quarter(series, 0.25)),
      targets: [],
      limit: { atMost: 10 },
      digits: 1,
    });
    const running = await server.get();
    const served = await alternate(
      once,
      `sftp memory, server, ${what}`,
      {
        [ours]: async () => {
          await using sampled = sample(running.pid);
          await copy(bench, files, "sftp", direction, original, { bytes, to: running, root: files.root });
          return sampled.series;
        },
      },
      (series) => `resident ${series.map((v) => (v / 1e6).toFixed(0)).join(" ")} MB`,
    );
    figures.push({
      what: `sftp server, memory in the last quarter of ${what}, over the second, MB`,
      ours,
      values: pick(served, (series) => quarter(series, 0.75) - quarter(series, 0.25)),
      targets: [],
      limit: { atMost: 10 },
      digits: 1,
    });
  }
  return figures;
}

/** Looks at a process's memory five times a second. */
function sample(pid: number): { series: number[]; [Symbol.asyncDispose](): Promise<void> } {
  const series: number[] = [];
  const timer = setInterval(() => series.push(memoryOf(pid, "VmRSS")), 200);
  return {
    series,
    [Symbol.asyncDispose]() {
      clearInterval(timer);
      return Promise.resolve();
    },
  };
}
