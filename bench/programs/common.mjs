/**
 * Bench. The scenarios, written once over a small driver and run alike by this module's client and by ssh2's, on Deno and on Node.
 * Plain JavaScript because Node runs it too. Measures its own process only; the harness sets the contenders side by side.
 *
 * A driver's `connect(params)` resolves to a connection with:
 * `exec(command)`, resolving at the end; `download(command, onStart, onBytes)`; `upload(command, chunk, bytes, onStart)`;
 * `echo(command)`, resolving to `{ roundTrip(message), close() }`; `close()`.
 * `onStart` is called when the remote command has written its mark to stderr: connecting and starting it is not measured.
 */

import { readFileSync } from "node:fs";
import process from "node:process";

/** Parameters of the run: the program's only argument, as JSON. */
export const params = JSON.parse(process.argv[2] ?? "{}");

/** CPU seconds of this process so far, user and system, all threads. */
export function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Resident bytes now. */
export function rss() {
  return statusKib("VmRSS") * 1024;
}

/** Highest resident bytes so far. */
export function peakRss() {
  return statusKib("VmHWM") * 1024;
}

function statusKib(field) {
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? NaN);
}

/** What the process holds: resident, of the heap, and in buffers beside it. */
export function held() {
  const { heapUsed, external } = process.memoryUsage();
  return { rss: rss(), heap: heapUsed, external };
}

/** Prints the result line. */
export function report(result) {
  process.stdout.write(JSON.stringify(result) + "\n");
}

/** Collects garbage where the engine was started so that it can. */
export async function settle() {
  for (let i = 0; i < 5; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Rate and CPU between the first `begin()` and `end()`. */
class Meter {
  #time = 0;
  #cpu = 0;
  bytes = 0;
  /** Resident bytes at each twentieth of the transfer. */
  series = [];
  #next = 0;
  #step;

  constructor(expected) {
    this.#step = expected / 20;
    this.#next = this.#step;
  }

  begin() {
    if (this.#time !== 0) return;
    this.#cpu = cpuSeconds();
    this.#time = performance.now();
  }

  add(bytes) {
    this.bytes += bytes;
    if (this.bytes >= this.#next) {
      this.#next += this.#step;
      this.series.push(rss());
    }
  }

  end() {
    const seconds = (performance.now() - this.#time) / 1000;
    const cpu = cpuSeconds() - this.#cpu;
    return { bytes: this.bytes, seconds, cpu, series: this.series, peak: peakRss() };
  }
}

/** The distribution of steps in milliseconds. */
export function latencies(steps) {
  const sorted = [...steps].sort((a, b) => a - b);
  const at = (q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1), over40: sorted.filter((step) => step >= 40).length };
}

async function steps(count, warmup, step) {
  for (let i = 0; i < warmup; i++) await step();
  const each = [];
  const cpu = cpuSeconds();
  const begin = performance.now();
  for (let i = 0; i < count; i++) {
    const from = performance.now();
    await step();
    each.push(performance.now() - from);
  }
  const seconds = (performance.now() - begin) / 1000;
  return { count, seconds, cpu: cpuSeconds() - cpu, ...latencies(each) };
}

/** The scenarios by name. */
const scenarios = {
  async down(connect) {
    const conn = await connect(params);
    const meter = new Meter(params.bytes);
    await conn.download(params.command, () => meter.begin(), (n) => meter.add(n));
    const result = meter.end();
    await conn.close();
    return result;
  },

  async up(connect) {
    const conn = await connect(params);
    const meter = new Meter(params.bytes);
    const chunk = new Uint8Array(params.chunk);
    await conn.upload(params.command, chunk, params.bytes, () => meter.begin(), (n) => meter.add(n));
    const result = meter.end();
    await conn.close();
    return result;
  },

  async channels(connect) {
    const conn = await connect(params);
    const meter = new Meter(params.bytes);
    const one = () => conn.download(params.command, () => meter.begin(), (n) => meter.add(n));
    await Promise.all(Array.from({ length: params.channels }, one));
    const result = meter.end();
    await conn.close();
    return result;
  },

  async execs(connect) {
    const conn = await connect(params);
    const result = await steps(params.count, 5, () => conn.exec(params.command));
    await conn.close();
    return result;
  },

  async logins(connect) {
    return await steps(params.count, 2, async () => {
      const conn = await connect(params);
      await conn.close();
    });
  },

  async echo(connect) {
    const conn = await connect(params);
    const echo = await conn.echo(params.command);
    const message = new Uint8Array(params.message).fill(0x61);
    const result = await steps(params.count, 50, () => echo.roundTrip(message));
    await echo.close();
    await conn.close();
    return result;
  },

  /**
   * Memory of connections that do nothing, or nothing any more where there is a `command` whose output each has read: of the first few, with
   * which the process warms up, and of each of those behind them. Says `ready` behind either, and waits for a line on stdin.
   */
  async idle(connect) {
    const held = [];
    const hold = async (count) => {
      while (held.length < count) {
        const conn = await connect(params);
        held.push(conn);
        if (params.command !== undefined) await conn.download(params.command, () => {}, () => {});
      }
      await settle();
      return rss();
    };
    const ready = async () => {
      process.stdout.write('{"ready":true}\n');
      await new Promise((resolve) => process.stdin.once("data", resolve));
    };
    const { warm, count } = params, one = await hold(1), warmed = await hold(warm);
    await ready();
    const full = await hold(warm + count);
    await ready();
    for (const conn of held) await conn.close();
    process.stdin.destroy();
    return { perConnection: (full - warmed) / count, first: (warmed - one) / (warm - 1) };
  },
};

/** Adds scenarios of another file, such as the file transfers'. */
export function addScenarios(more) {
  Object.assign(scenarios, more);
}

/** Runs the scenario that the parameters name. */
export async function run(connect) {
  const scenario = scenarios[params.scenario];
  if (scenario === undefined) throw new Error(`No such scenario: "${params.scenario}"`);
  const result = await scenario(connect);
  report(result);
}

/** Gathers a reply of a known length out of chunks: for the echoes. */
export class Gather {
  #want = 0;
  #resolve = null;
  #reject = null;
  #error = null;

  /** Waits for this many bytes. */
  expect(bytes) {
    if (this.#error !== null) throw this.#error;
    this.#want = bytes;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Takes a chunk. */
  add(bytes) {
    this.#want -= bytes;
    if (this.#want < 0) this.fail(new Error("The echo is longer than the message"));
    if (this.#want === 0) this.#resolve?.();
  }

  /** Ends the wait with an error. */
  fail(error) {
    this.#error = error;
    this.#reject?.(error);
  }
}
