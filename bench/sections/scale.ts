/**
 * Bench. Many logged-in connections to one server, a tenth of them busy: what each costs must not grow with their number. And what a login
 * costs a server, beside `sshd`.
 *
 * @module
 */

import { alternate, type Figure, pick } from "../harness.ts";
import type { AmikoServer, Bench, Endpoint } from "../support/bench.ts";
import { childSecondsOf, cpuSecondsOf, openFilesOf } from "../support/proc.ts";
import { start } from "../support/run.ts";

/** Connections of one process of clients. */
const EACH = 250;
/** Commands of each busy connection. */
const STEPS = 20;
/** Milliseconds in which nobody asks for anything. */
const IDLE = 5000;

/** What some number of connections cost the server. */
interface Cost {
  /** Milliseconds of CPU of a login. */
  login: number;
  /** Bytes of one, on top of the first tenth. */
  memory: number;
  /** Milliseconds of CPU in a second while all are idle, of all together. */
  idle: number;
  /** Milliseconds of CPU of a command. */
  command: number;
  /** Milliseconds until a command has ended, of the middle one and of one in a hundred. */
  p50: number;
  p99: number;
  /** Open files of one. */
  files: number;
}

async function resident(server: AmikoServer): Promise<number> {
  return (await server.stat()).rss!;
}

async function cost(bench: Bench, count: number): Promise<Cost> {
  await using lazy = bench.server({ gc: true });
  const server = await lazy.get();
  await using programs = new AsyncDisposableStack();
  const clients = async (count: number) => {
    const program = programs.use(start("many", bench.params("many", { count, steps: STEPS }, server)));
    await program.next();
    return program;
  };
  // The first few warm the server up: it compiles what it runs, and the collector finds its size.
  const warm = await clients(50);
  const before = { rss: await resident(server), cpu: cpuSecondsOf(server.pid), files: openFilesOf(server.pid) };
  const many = [];
  for (let left = count; left > 0; left -= EACH) many.push(await clients(Math.min(EACH, left)));
  const login = (cpuSecondsOf(server.pid) - before.cpu) / count * 1e3;
  const memory = (await resident(server) - before.rss) / count;
  const files = (openFilesOf(server.pid) - before.files) / count;
  const still = cpuSecondsOf(server.pid);
  await new Promise((resolve) => setTimeout(resolve, IDLE));
  const busy = cpuSecondsOf(server.pid), idle = (busy - still) / IDLE * 1e6;
  const results = await Promise.all(many.map(async (program) => {
    await program.nudge();
    return await program.next();
  }));
  const commands = results.reduce((sum, { count }) => sum + count!, 0);
  const command = (cpuSecondsOf(server.pid) - busy) / commands * 1e3;
  const most = (of: "p50" | "p99"): number => Math.max(...results.map((result) => result[of]!));
  for (const program of [...many, warm]) await program.finish();
  return { login, memory, idle, command, p50: most("p50"), p99: most("p99"), files };
}

/** CPU seconds of a server with its children that have ended: sshd has one for each connection. */
function secondsOf(pid: number): number {
  return cpuSecondsOf(pid) + childSecondsOf(pid);
}

/** Logs in a number of times, and says what that cost the server. */
async function logins(bench: Bench, to: Endpoint, count: number): Promise<number> {
  const run = (count: number) => bench.client("this module", "logins", { count, kex: "curve25519-sha256" }, { to });
  await run(5);
  const before = secondsOf(to.pid);
  await run(count);
  // A child counts when it has ended, and sshd has heard of it.
  await new Promise((resolve) => setTimeout(resolve, 500));
  return (secondsOf(to.pid) - before) / count * 1e3;
}

/** 100, 300 and 1,000 connections; with `quick` the first two. */
export async function scale(bench: Bench): Promise<Figure[]> {
  const counts = bench.settings.quick ? [100, 300] : [100, 300, 1000];
  const ours = "this module", theirs = "sshd", figures: Figure[] = [];
  const show = (cost: Cost): string =>
    `a login ${cost.login.toFixed(1)} ms of CPU, a connection ${(cost.memory / 1024).toFixed(0)} KiB and ` +
    `${cost.files.toFixed(2)} files, all idle ${cost.idle.toFixed(1)} ms/s, a command ${
      cost.command.toFixed(2)
    } ms of CPU, ` +
    `${cost.p50.toFixed(1)} ms, one in a hundred ${cost.p99.toFixed(0)} ms`;
  for (const count of counts) {
    const costs = await alternate(bench.settings, `${count} connections`, { [ours]: () => cost(bench, count) }, show);
    const figure = (what: string, of: (cost: Cost) => number, digits: number): Figure => ({
      what: `${count} connections, ${what}`,
      ours,
      values: pick(costs, of),
      targets: [],
      digits,
    });
    figures.push(
      figure("memory of each at the server, KiB", ({ memory }) => memory / 1024, 0),
      figure("CPU of a login, ms", ({ login }) => login, 1),
      figure("CPU while all are idle, ms each second", ({ idle }) => idle, 1),
      figure("CPU of a command, a tenth of them busy, ms", ({ command }) => command, 2),
      figure("the same, until it has ended, ms", ({ p50 }) => p50, 1),
    );
  }
  await using server = bench.server();
  const count = Math.max(20, bench.settings.count >> 2), each = (ms: number): string => `${ms.toFixed(1)} ms of CPU`;
  const costs = await alternate(bench.settings, "a login", {
    [ours]: async () => await logins(bench, await server.get(), count),
    [theirs]: () => logins(bench, bench.sshd, count),
  }, each);
  figures.push({
    what: "CPU of the server for a login, ms",
    ours,
    values: pick(costs, (ms) => ms),
    targets: [{ rival: theirs }],
    digits: 1,
  });
  return figures;
}
