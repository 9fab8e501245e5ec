/**
 * Bench. Bytes and connections through forwards, of this module's client against `ssh`, and of its server against `sshd`.
 *
 * @module
 */

import { endChild } from "../../tests/_support/child.ts";
import { alternate, type Figure, pick, type Settings, type Target } from "../harness.ts";
import { type Bench, CHACHA } from "../support/bench.ts";
import { Lines } from "../support/lines.ts";
import { cpuSecondsOf, descendants } from "../support/proc.ts";
import { start } from "../support/run.ts";
import { freePort } from "../support/sshd.ts";

/** Options of `ssh` that ask for a forward, or a forward behind a jump host. */
const kinds = ["-L", "-R", "-D", "-J"] as const;
type Kind = typeof kinds[number];

/** A process that forwards. */
interface Forwarder extends AsyncDisposable {
  /** Where it listens. */
  readonly port: number;
  /** The process, with those below it. */
  readonly pid: number;
}

interface Through {
  readonly kind: Kind;
  /** Where the target listens. */
  readonly target: number;
  /** The server's port. */
  readonly server: number;
}

/** This module's client. Its jump host is the server itself. */
async function ours(bench: Bench, { kind, target, server }: Through): Promise<Forwarder> {
  const more = { kind, target, ...(kind === "-J" ? { through: server } : {}) };
  const program = start("forward", bench.params("forward", more, { port: server, pid: 0 }), {
    profile: bench.settings.profile,
  });
  const { port } = await program.next();
  return { port: port!, pid: program.pid, [Symbol.asyncDispose]: async () => void await program.finish() };
}

/** `ssh`. */
async function theirs(bench: Bench, { kind, target, server }: Through): Promise<Forwarder> {
  const user = Deno.env.get("USER") ?? "root", port = freePort();
  const config = `${bench.keys.folder}/ssh_config_${port}`;
  await Deno.writeTextFile(
    config,
    [
      "Host *",
      ...["HostName 127.0.0.1", `Port ${server}`, `User ${user}`, `IdentityFile ${bench.keys.userKeyFile}`],
      ...["BatchMode yes", "IdentitiesOnly yes", "IdentityAgent none", "StrictHostKeyChecking no", "LogLevel ERROR"],
      ...["UserKnownHostsFile /dev/null", "GlobalKnownHostsFile /dev/null", "ControlPath none", `Ciphers ${CHACHA}`],
      ...["ExitOnForwardFailure yes", ""],
    ].join("\n"),
  );
  const lead = `127.0.0.1:${port}:127.0.0.1:${target}`;
  const args = kind === "-D" ? ["-D", `127.0.0.1:${port}`] : kind === "-J" ? ["-J", "hop", "-L", lead] : [kind, lead];
  const child = new Deno.Command("ssh", {
    args: ["-F", config, "-N", ...args, "end"],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const errors = new Lines(child.stderr).rest();
  const end = (): Promise<void> => endChild(child);
  for (let i = 0;; i++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      break;
    } catch {
      if (i === 400) {
        await end();
        throw new Error(`ssh does not forward: ${(await errors).join("\n")}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  return { port, pid: child.pid, [Symbol.asyncDispose]: end };
}

/** CPU of a process and of those below it. */
function cpuOf(pid: number): number {
  return [pid, ...descendants(pid).map((one) => one.pid)].reduce((sum, one) => sum + cpuSecondsOf(one), 0);
}

/** A connection through the forward to the target, which is told what to do: bytes to send, or negative to take. */
async function opened({ port }: Forwarder, { kind, target }: Through, bytes: number): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  conn.setNoDelay(true);
  const request = new Uint8Array(8);
  new DataView(request.buffer).setFloat64(0, bytes);
  if (kind === "-D") {
    const answer = new Uint8Array(12);
    await conn.write(new Uint8Array([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, target >> 8, target & 255]));
    for (let filled = 0; filled < 12;) {
      const n = await conn.read(answer.subarray(filled));
      if (n === null) throw new Error("The proxy hung up");
      filled += n;
    }
  }
  await conn.write(request);
  return conn;
}

const chunk = new Uint8Array(256 * 1024);

/** Bytes to here, or from here where negative. */
async function carry(forwarder: Forwarder, through: Through, bytes: number): Promise<void> {
  const conn = await opened(forwarder, through, bytes), buffer = new Uint8Array(256 * 1024);
  try {
    for (let left = -bytes; left > 0;) left -= await conn.write(left < chunk.length ? chunk.subarray(0, left) : chunk);
    for (let left = Math.max(bytes, 1); left > 0;) {
      const n = await conn.read(buffer);
      if (n === null) throw new Error(`${left} bytes are missing`);
      left -= n;
    }
  } finally {
    conn.close();
  }
}

interface Measured {
  readonly amount: number;
  readonly seconds: number;
  readonly cpu: number;
}

type Work = (forwarder: Forwarder, through: Through) => Promise<void>;

async function measured(pid: number, amount: number, work: () => Promise<void>): Promise<Measured> {
  const cpu = cpuOf(pid), begin = performance.now();
  await work();
  return { amount, seconds: (performance.now() - begin) / 1000, cpu: cpuOf(pid) - cpu };
}

/** Streams of equal size at once. */
function streams(count: number, bytes: number): Work {
  return async (forwarder, through) =>
    void await Promise.all(Array.from({ length: count }, () => carry(forwarder, through, Math.trunc(bytes / count))));
}

/** Connections that bring 100 bytes each, `atOnce` of them at a time. */
function connections(count: number, atOnce: number): Work {
  return async (forwarder, through) => {
    let left = count;
    const some = async (): Promise<void> => {
      while (left-- > 0) await carry(forwarder, through, 100);
    };
    await Promise.all(Array.from({ length: atOnce }, some));
  };
}

const rate = ({ amount, seconds }: Measured): number => amount / seconds;
const showBytes = (result: Measured): string =>
  `${(rate(result) / 1e6).toFixed(1)} MB/s, ${(result.cpu / (result.amount / 1e9)).toFixed(2)} s/GB`;
const showConnections = (result: Measured): string =>
  `${rate(result).toFixed(0)} per second, ${(result.cpu / result.amount * 1e6).toFixed(0)} us each`;

interface Task {
  readonly name: string;
  readonly amount: number;
  readonly unit: "bytes" | "connections";
  readonly work: Work;
  readonly warm: Work;
}

function tasks({ settings }: Bench, kind: Kind): Task[] {
  const { bytes, quick } = settings, count = quick ? 300 : 1000;
  const some = (name: string, amount: number, work: Work, warm: Work): Task => ({
    name,
    amount,
    unit: "bytes",
    work,
    warm,
  });
  const short = (name: string, atOnce: number): Task => ({
    name,
    amount: count,
    unit: "connections",
    work: connections(count, atOnce),
    warm: connections(100, atOnce),
  });
  return [
    some("one stream down", bytes, streams(1, bytes), streams(1, 50e6)),
    some("one stream up", bytes, streams(1, -bytes), streams(1, -50e6)),
    some("eight streams down", bytes, streams(8, bytes), streams(8, 50e6)),
    ...kind === "-L" ? [short("connections, one after the other", 1), short("connections, 50 at once", 50)] : [],
  ];
}

function figures(what: string, task: Task, results: Map<string, Measured[]>, ours: string, rival: string): Figure[] {
  const bound: Target = { rival, atLeast: task.unit === "bytes" ? 0.9 : 1 };
  const per = task.unit === "bytes" ? 1e6 : 1;
  return [
    {
      what: `${what}, ${task.name}, ${task.unit === "bytes" ? "MB/s" : "per second"}`,
      ours,
      values: pick(results, (result) => rate(result) / per),
      targets: [bound],
      digits: 0,
    },
    {
      what: `${what}, ${task.name}, CPU ${task.unit === "bytes" ? "s/GB" : "ms each"}`,
      ours,
      values: pick(results, ({ cpu, amount }) => task.unit === "bytes" ? cpu / (amount / 1e9) : cpu / amount * 1e3),
      targets: [{ rival }],
      digits: 2,
    },
  ];
}

const fewer = ({ settings }: Bench): Settings => settings.quick ? { ...settings, rounds: 1 } : settings;

/** This module's client against `ssh`, each with the same sshd. */
export async function forwards(bench: Bench): Promise<Figure[]> {
  await using target = start("target", {});
  const { port } = await target.next(), made: Figure[] = [];
  for (const kind of kinds.filter((one) => bench.settings.cells.test(one))) {
    const through = { kind, target: port!, server: bench.sshd.port };
    for (const task of tasks(bench, kind)) {
      if (!bench.settings.cells.test(`${kind} ${task.name}`)) continue;
      const by = (make: typeof ours) => async () => {
        await using forwarder = await make(bench, through);
        await task.warm(forwarder, through);
        return await measured(forwarder.pid, task.amount, () => task.work(forwarder, through));
      };
      const results = await alternate(
        fewer(bench),
        `${kind}, ${task.name}`,
        { "this module": by(ours), ssh: by(theirs) },
        task.unit === "bytes" ? showBytes : showConnections,
      );
      made.push(...figures(`forward ${kind}`, task, results, "this module", "ssh"));
    }
  }
  return made;
}

/** This module's server against sshd, each with `ssh`. */
export async function forwardServer(bench: Bench): Promise<Figure[]> {
  await using target = start("target", {});
  await using server = bench.server({ forwards: true });
  const { port } = await target.next(), made: Figure[] = [];
  for (const kind of ["-L", "-R"] as const) {
    for (const task of tasks(bench, kind)) {
      if (!bench.settings.cells.test(`server ${kind} ${task.name}`)) continue;
      const by = (of: () => Promise<{ port: number; pid: number }>) => async () => {
        const { port: serverPort, pid } = await of(), through = { kind, target: port!, server: serverPort };
        await using forwarder = await theirs(bench, through);
        await task.warm(forwarder, through);
        return await measured(pid, task.amount, () => task.work(forwarder, through));
      };
      const results = await alternate(
        fewer(bench),
        `server of ${kind}, ${task.name}`,
        { "this module": by(() => server.get()), sshd: by(() => Promise.resolve(bench.sshd)) },
        task.unit === "bytes" ? showBytes : showConnections,
      );
      made.push(...figures(`server of a forward ${kind}`, task, results, "this module", "sshd"));
    }
  }
  return made;
}
