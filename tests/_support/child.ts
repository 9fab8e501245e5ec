/**
 * Test support. Child processes: daemons that listen on loopback, line-by-line drivers, and commands that run to their end.
 * Whatever is started is stopped by its own handle and waited for.
 *
 * @module
 */

/** Options of {@linkcode startDaemon}. */
export interface DaemonOptions {
  /** Program and arguments. */
  command: readonly string[];
  /** Port that it will listen on, on 127.0.0.1. */
  port: number;
  /** Folder for its log. */
  dir: string;
  /** Added environment. */
  env?: Record<string, string>;
  /** Milliseconds until it must answer. @default {60000} */
  deadline?: number;
}

/** A running daemon. */
export interface Daemon extends AsyncDisposable {
  /** Where it listens. */
  readonly port: number;
  /** What it wrote to standard output and standard error so far. */
  log(): string;
  /** Ends it and waits for its end. */
  stop(): Promise<void>;
}

/** Ports that this process has been given, each but once. */
const given = new Set<number>();

/** Of two runs of tests side by side, the one with `AMIKO_LANE=0` takes even ports, the one with 1 odd ones. */
const lane = Deno.env.get("AMIKO_LANE");

/**
 * A port that was free a moment ago at every address of this machine. It is none of those that the system hands out by itself, to
 * listeners at port 0 and to whoever connects: one of them would take it before the program listens that it is for.
 */
export function freePort(): number {
  for (let tries = 0; tries < 1_000; tries++) {
    const port = 10_000 + Math.floor(Math.random() * (lowestOfSystem() - 10_000));
    if (lane !== undefined && port % 2 !== Number(lane)) continue;
    if (given.has(port) || !["0.0.0.0", "::"].every((hostname) => isFree(hostname, port))) continue;
    given.add(port);
    return port;
  }
  throw new Error("No port is free");
}

let lowest: number | undefined;

/** The first of the ports that the system hands out. */
function lowestOfSystem(): number {
  if (lowest !== undefined) return lowest;
  try {
    lowest = Number(Deno.readTextFileSync("/proc/sys/net/ipv4/ip_local_port_range").split(/\s+/)[0]);
  } catch {
    // No Linux, or it does not tell.
  }
  return lowest = lowest !== undefined && lowest >= 12_000 ? lowest : 32_768;
}

function isFree(hostname: string, port: number): boolean {
  try {
    Deno.listen({ hostname, port }).close();
    return true;
  } catch (error) {
    // A machine may be without a family.
    return !(error instanceof Deno.errors.AddrInUse);
  }
}

/** Starts a daemon and waits until it answers on its port with an SSH identification. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const logFile = await Deno.makeTempFile({ dir: options.dir, suffix: ".log" });
  // The shell gives way to the program: a log in a file needs no reader here, and the process id stays the same.
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", logFile, ...options.command],
    ...(options.env === undefined ? {} : { env: options.env }),
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  let ended = false;
  const status = child.status.then(() => {
    ended = true;
  });
  const log = () => Deno.readTextFileSync(logFile);
  const stop = async () => {
    await endChild(child);
    await status;
  };
  try {
    const deadline = performance.now() + (options.deadline ?? 60_000);
    while (!await answersSsh(options.port)) {
      if (ended) throw new Error(`Cannot start ${options.command[0]}: it ended: ${log()}`);
      if (performance.now() > deadline) throw new Error(`Cannot start ${options.command[0]}: no answer: ${log()}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { port: options.port, log, stop, [Symbol.asyncDispose]: stop };
}

async function answersSsh(port: number): Promise<boolean> {
  let conn: Deno.TcpConn;
  try {
    conn = await Deno.connect({ hostname: "127.0.0.1", port });
  } catch {
    return false;
  }
  const timer = setTimeout(() => conn.close(), 5_000);
  try {
    const block = new Uint8Array(255);
    const n = await conn.read(block);
    return new TextDecoder().decode(block.subarray(0, n ?? 0)).startsWith("SSH-");
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
    try {
      conn.close();
    } catch { /* the timer was first */ }
  }
}

/** TERM, and KILL where that does not end it in three seconds: `ssh` sleeps on where TERM comes just before it begins to wait. */
export async function endChild(child: Deno.ChildProcess): Promise<void> {
  const kill = (signal: Deno.Signal) => {
    try {
      child.kill(signal);
    } catch { /* ended */ }
  };
  kill("SIGTERM");
  const timer = setTimeout(() => kill("SIGKILL"), 3_000);
  await child.status;
  clearTimeout(timer);
}

/** What a command left behind. */
export interface Output {
  /** Standard output. */
  readonly stdout: Uint8Array;
  /** Standard error, as text. */
  readonly stderr: string;
  /** Exit code. */
  readonly code: number;
}

/** Runs a command to its end, with input; kills it at the deadline. */
export async function run(
  command: readonly string[],
  options: { stdin?: Uint8Array | ReadableStream<Uint8Array>; env?: Record<string, string>; deadline?: number } = {},
): Promise<Output> {
  const child = new Deno.Command(command[0]!, {
    args: command.slice(1),
    ...(options.env === undefined ? {} : { env: options.env }),
    stdin: options.stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    try {
      child.kill("SIGKILL");
    } catch { /* ended */ }
  }, options.deadline ?? 60_000);
  try {
    // A command may well end without reading its input.
    const feeding = options.stdin === undefined
      ? undefined
      : (options.stdin instanceof Uint8Array ? new Blob([new Uint8Array(options.stdin)]).stream() : options.stdin)
        .pipeTo(child.stdin).catch(() => {});
    const { stdout, stderr, code } = await child.output();
    await feeding;
    if (late) throw new Error(`Cannot run ${command.join(" ")}: no end in time: ${new TextDecoder().decode(stderr)}`);
    return { stdout, stderr: new TextDecoder().decode(stderr), code };
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a command that must succeed; returns its standard output as text. */
export async function runText(command: readonly string[], options: Parameters<typeof run>[1] = {}): Promise<string> {
  const { stdout, stderr, code } = await run(command, options);
  if (code !== 0) throw new Error(`Cannot run ${command.join(" ")}: exit code ${code}: ${stderr}`);
  return new TextDecoder().decode(stdout);
}

/** A process that answers one line of JSON with one line of JSON. */
export class Driver implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #log: string;
  #text = "";

  private constructor(child: Deno.ChildProcess, log: string) {
    this.#child = child;
    this.#log = log;
    this.#writer = child.stdin.getWriter();
    this.#reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Starts the process. */
  static async start(command: readonly string[], dir: string, env?: Record<string, string>): Promise<Driver> {
    const log = await Deno.makeTempFile({ dir, suffix: ".log" });
    const child = new Deno.Command("/bin/sh", {
      args: ["-c", 'log=$1; shift; exec "$@" 2>"$log"', "sh", log, ...command],
      ...(env === undefined ? {} : { env }),
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    return new Driver(child, log);
  }

  /** Sends a request and waits for its answer. */
  async call(request: unknown, deadline = 60_000): Promise<unknown> {
    const timer = setTimeout(() => {
      try {
        this.#child.kill("SIGKILL");
      } catch { /* ended */ }
    }, deadline);
    try {
      await this.#writer.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));
      while (!this.#text.includes("\n")) {
        const { value, done } = await this.#reader.read();
        if (done) throw new Error(`The driver ended: ${Deno.readTextFileSync(this.#log)}`);
        this.#text += value;
      }
    } finally {
      clearTimeout(timer);
    }
    const end = this.#text.indexOf("\n");
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    return JSON.parse(line);
  }

  /** Ends the process. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    await endChild(this.#child);
    await this.#reader.cancel();
  }
}
