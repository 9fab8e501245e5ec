/**
 * Bench. OpenSSH's `ssh` as a client, under bash, which tells the time and the CPU of the child it waited for.
 * The same scenarios, marks and results as `common.mjs`.
 */

import { endChild } from "../../tests/_support/child.ts";
import { Lines } from "../support/lines.ts";
import { cpuSecondsOf, descendants, memoryOf } from "../support/proc.ts";
import { Gather, latencies, params as p, report } from "./common.mjs";

const destination = `${p.username}@${p.hostname}`;
const options = [
  ...["-F", "none", "-i", p.keyFile, "-p", String(p.port), "-e", "none", "-T"],
  ...["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "LogLevel=ERROR"],
  ...["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null"],
  ...["-o", "ControlPath=none"],
  ...(p.cipher ? ["-c", p.cipher] : []),
  ...(p.kex ? ["-o", `KexAlgorithms=${p.kex}`] : []),
  ...(p.rekeyBytes ? ["-o", `RekeyLimit=${p.rekeyBytes}`] : []),
];

/** Runs `ssh` and prints its process id, when it ended and what it used; stderr carries the mark between them. */
const measured = `
  exec 4<&0
  ssh "$@" <&4 >/dev/null & pid=$!
  echo "pid $pid" >&2
  wait $pid; code=$?
  echo "end $EPOCHREALTIME $code" >&2
  times >&2`;

function bash(script: string, args: readonly string[], stdin: "piped" | "null" = "null") {
  return new Deno.Command("bash", {
    args: ["-c", script, "bash", ...args],
    stdin,
    stdout: "piped",
    stderr: "piped",
    env: { LC_ALL: "C" },
  }).spawn();
}

/** `0m1.234s` in seconds. */
function seconds(text: string): number {
  const match = /^(\d+)m([\d.]+)s$/.exec(text);
  return match === null ? NaN : Number(match[1]) * 60 + Number(match[2]);
}

function now(): number {
  return performance.timeOrigin + performance.now();
}

/** CPU of the server's processes; sampled, because sshd's process for a connection ends with it. */
class ServerCpu {
  #pids: number[] = [];
  #from = 0;
  #last = 0;

  begin(): void {
    if (!p.serverPid) return;
    const forked = descendants(p.serverPid).filter(({ name }) => name.startsWith("sshd"));
    this.#pids = [p.serverPid, ...forked.map(({ pid }) => pid)];
    this.#from = this.#last = this.#sum();
  }

  sample(): void {
    const sum = this.#sum();
    if (sum > this.#last) this.#last = sum;
  }

  result(): { serverCpu?: number } {
    return p.serverPid ? { serverCpu: this.#last - this.#from } : {};
  }

  #sum(): number {
    return this.#pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
  }
}

async function transfer(script: string, stdin: "piped" | "null") {
  const child = bash(script, [...options, destination, p.command], stdin);
  const lines = new Lines(child.stderr);
  const drained = child.stdout.cancel();
  let pid = 0, begin = 0, cpu = 0, end = 0, used = 0, peak = 0, code = NaN;
  const server = new ServerCpu();
  const series: number[] = [];
  let poll: ReturnType<typeof setInterval> | undefined;
  for (let line = await lines.next(); line !== null; line = await lines.next()) {
    const words = line.split(/\s+/);
    if (words[0] === "pid") pid = Number(words[1]);
    else if (words[0] === "start") {
      begin = now();
      cpu = cpuSecondsOf(pid);
      server.begin();
      if (stdin === "piped") {
        const writer = child.stdin.getWriter();
        await writer.write(new TextEncoder().encode("go\n"));
        await writer.close();
      }
      poll = setInterval(() => {
        series.push(memoryOf(pid, "VmRSS"));
        peak = Math.max(peak, memoryOf(pid, "VmHWM") || 0);
        server.sample();
      }, 50);
    } else if (words[0] === "end") {
      end = Number(words[1]) * 1000;
      code = Number(words[2]);
      clearInterval(poll);
      server.sample();
      await lines.next();
      const [user, system] = (await lines.next() ?? "").split(" ");
      used = seconds(user ?? "") + seconds(system ?? "");
    } else throw new Error(`ssh said: ${line}`);
  }
  await drained;
  await child.status;
  if (code !== 0) throw new Error(`ssh ended with ${code}`);
  return { bytes: p.bytes, seconds: (end - begin) / 1000, cpu: used - cpu, series, peak, ...server.result() };
}

async function loop(script: string, args: readonly string[]) {
  const child = bash(script, args);
  const [out, err] = await Promise.all([new Lines(child.stdout).rest(), new Lines(child.stderr).rest()]);
  if (!(await child.status).success) throw new Error(`ssh failed: ${err.join(" ")}`);
  const marks = out.map((line) => Number(line) * 1000);
  const each = marks.slice(1).map((mark, i) => mark - marks[i]!);
  return { count: each.length, seconds: (marks.at(-1)! - marks[0]!) / 1000, ...latencies(each) };
}

/** A master connection and its control socket, for as long as `body` runs. */
async function withMaster<T>(body: (through: string[], pid: number) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "bench" });
  const socket = `${folder}/s`;
  const at = options.indexOf("ControlPath=none");
  const base = [...options.slice(0, at - 1), ...options.slice(at + 1), "-S", socket];
  const master = new Deno.Command("ssh", { args: ["-M", "-N", ...base, destination], stdin: "null" }).spawn();
  try {
    for (let i = 0;; i++) {
      const check = await new Deno.Command("ssh", {
        args: [...base, "-O", "check", destination],
        stdout: "null",
        stderr: "null",
      }).output();
      if (check.success) break;
      if (i === 100) throw new Error("The master connection did not come up");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return await body([...base, destination], master.pid);
  } finally {
    await endChild(master);
    await Deno.remove(folder, { recursive: true });
  }
}

const scenarios: Record<string, () => Promise<unknown>> = {
  down: () => transfer(`set -- -n "$@"; ${measured}`, "null"),

  up: () => transfer(`{ read -r _; exec head -c ${p.bytes} /dev/zero; } | ( ${measured} )`, "piped"),

  channels: () =>
    withMaster(async (through, pid) => {
      const cpu = cpuSecondsOf(pid);
      const begin = now();
      const each = Array.from({ length: p.channels }, () =>
        new Deno.Command("ssh", {
          args: ["-n", ...through, p.command],
          stdin: "null",
          stdout: "null",
          stderr: "null",
        }).output());
      for (const { success } of await Promise.all(each)) if (!success) throw new Error("ssh failed");
      const took = (now() - begin) / 1000;
      return { bytes: p.bytes, seconds: took, cpu: cpuSecondsOf(pid) - cpu, series: [], peak: memoryOf(pid, "VmHWM") };
    }),

  execs: () =>
    withMaster((through) =>
      loop(
        `for ((i = 0; i < 5; i++)); do ssh -n "$@" || exit 1; done
         echo $EPOCHREALTIME
         for ((i = 0; i < ${p.count}; i++)); do ssh -n "$@" || exit 1; echo $EPOCHREALTIME; done`,
        [...through, p.command],
      )
    ),

  logins: () =>
    loop(
      `for ((i = 0; i < 2; i++)); do ssh -n "$@" || exit 1; done
       echo $EPOCHREALTIME
       for ((i = 0; i < ${p.count}; i++)); do ssh -n "$@" || exit 1; echo $EPOCHREALTIME; done`,
      [...options, destination, "true"],
    ),

  async echo() {
    const child = new Deno.Command("ssh", {
      args: [...options, destination, p.command],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    const gather = new Gather();
    const reading = (async () => {
      for await (const chunk of child.stdout) gather.add(chunk.length);
    })();
    const message = new Uint8Array(p.message).fill(0x61);
    const once = async (): Promise<void> => {
      const reply = gather.expect(message.length);
      await writer.write(message);
      await reply;
    };
    for (let i = 0; i < 50; i++) await once();
    const each: number[] = [];
    const begin = performance.now();
    for (let i = 0; i < p.count; i++) {
      const from = performance.now();
      await once();
      each.push(performance.now() - from);
    }
    const took = (performance.now() - begin) / 1000;
    await writer.close();
    await reading;
    await child.status;
    return { count: p.count, seconds: took, ...latencies(each) };
  },

  async idle() {
    const held: { child: Deno.ChildProcess; out: Lines }[] = [];
    /** Logs in ten at a time: each is a process. */
    const hold = async (count: number): Promise<void> => {
      while (held.length < count) {
        const more = Array.from({ length: Math.min(10, count - held.length) }, () => {
          const child = new Deno.Command("ssh", {
            args: ["-N", "-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo up", ...options, destination],
            stdin: "null",
            stdout: "piped",
          }).spawn();
          return { child, out: new Lines(child.stdout) };
        });
        held.push(...more);
        for (const { out } of more) if (await out.next() !== "up") throw new Error("ssh did not log in");
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
      report({ ready: true });
      await Deno.stdin.read(new Uint8Array(1));
    };
    const { warm = 0 } = p;
    await hold(warm);
    await hold(warm + p.count);
    const pss = held.map(({ child }) => memoryOf(child.pid, "Pss"));
    const perConnection = pss.reduce((a, b) => a + b, 0) / pss.length;
    await Promise.all(held.map(({ child, out }) => Promise.all([endChild(child), out.rest()])));
    return { perConnection, first: perConnection };
  },
};

const scenario = scenarios[p.scenario];
if (scenario === undefined) throw new Error(`No such scenario: "${p.scenario}"`);
report(await scenario());
