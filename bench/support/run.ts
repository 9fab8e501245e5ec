/**
 * Bench. Starts the programs of the contenders and reads their one line of JSON.
 *
 * @module
 */

import { atInterrupt } from "./ending.ts";
import { Lines } from "./lines.ts";

/** The folder of the programs of this bench. */
export const programsHere = new URL("../programs/", import.meta.url);

let programs = programsHere;

/** Has this module's programs start from another folder: the one of another revision. */
export function usePrograms(folder: URL): void {
  programs = folder;
}

/** Where this module's programs start from. */
export function programsInUse(): URL {
  return programs;
}

/** Who is measured as a client. */
export type Client = "this module" | "ssh2 on Deno" | "ssh2 on Node" | "ssh" | "sftp" | "paramiko" | "AsyncSSH";

/** What a program prints. */
export type Result = Record<string, number> & { series?: number[] };

/** How a program is started. */
export interface StartOptions {
  /** Lets the program collect garbage by hand, for memory at rest. */
  gc?: boolean;
  /** Folder for V8's CPU profiles of this module's programs. */
  profile?: string | undefined;
}

/** A started program. */
export interface Program extends AsyncDisposable {
  /** Its process id. */
  readonly pid: number;
  /** The next line, parsed. */
  next(): Promise<Result>;
  /** Sends an empty line. */
  nudge(): Promise<void>;
  /** Closes its input, waits for its end, and returns the last line. */
  finish(): Promise<Result | null>;
}

/** Command line of a program. */
function commandLine(program: string, json: string, options: StartOptions): string[] {
  const path = (name: string, folder = programsHere): string => new URL(name, folder).pathname;
  const deno = (name: string, ours: boolean): string[] => [
    Deno.execPath(),
    "run",
    "-A",
    "--quiet",
    "--no-lock",
    ...(program === "workers" ? ["--unstable-net"] : []),
    ...(options.gc ? ["--v8-flags=--expose-gc"] : []),
    ...(ours && options.profile !== undefined ? ["--cpu-prof", `--cpu-prof-dir=${options.profile}`] : []),
    path(name, ours ? programs : programsHere),
    json,
  ];
  switch (program) {
    case "this module":
      return deno("amiko_client.ts", true);
    case "server":
      return deno("amiko_server.ts", true);
    case "workers":
      return deno("amiko_workers.ts", true);
    case "ssh2 on Deno":
      return deno("ssh2_client.mjs", false);
    case "ssh2 on Node":
      return ["node", ...(options.gc ? ["--expose-gc"] : []), path("ssh2_client.mjs"), json];
    case "ssh":
      return deno("openssh_client.ts", false);
    case "sftp":
      return deno("openssh_sftp.ts", false);
    case "paramiko":
    case "AsyncSSH":
      return ["/usr/bin/python3", path("python_clients.py"), program, json];
    case "python flights":
      return ["/usr/bin/python3", path("python_flights.py"), JSON.parse(json).library, json];
    case "ssh flights":
      return deno("openssh_flights.ts", false);
    case "forward":
      return deno("amiko_forward.ts", true);
    case "target":
      return deno("target.ts", false);
    case "soak":
      return deno("amiko_soak.ts", true);
    case "many":
      return deno("amiko_many.ts", true);
    case "relay":
      return ["/usr/bin/python3", path("relay.py"), json];
    case "flooded server":
      return deno("flooded_server.ts", true);
    case "flooder":
      return deno("../../tests/_support/flooder.ts", false);
    default:
      throw new TypeError(`No such program: "${program}"`);
  }
}

const running = new Set<Deno.ChildProcess>();
/** Minutes after which a round is stuck. */
const STUCK = 10;

/** Runs a round; where it is stuck, ends the programs that it started, so that it fails and the bench goes on. */
export async function watched<T>(round: () => Promise<T>): Promise<T> {
  const before = new Set(running);
  const timer = setTimeout(() => {
    for (const child of running.difference(before)) child.kill("SIGKILL");
  }, STUCK * 60_000);
  try {
    return await round();
  } finally {
    clearTimeout(timer);
  }
}

/** Starts a program. */
export function start(
  program:
    | Client
    | "server"
    | "workers"
    | "forward"
    | "soak"
    | "many"
    | "target"
    | "relay"
    | "flooded server"
    | "flooder"
    | "ssh flights"
    | "python flights",
  params: unknown,
  options: StartOptions = {},
): Program {
  const [command, ...args] = commandLine(program, JSON.stringify(params), options);
  const child = new Deno.Command(command!, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  const forget = atInterrupt(() => child.kill("SIGKILL"));
  running.add(child);
  void child.status.then(() => {
    running.delete(child);
    forget();
  });
  const lines = new Lines(child.stdout);
  const errors = new Lines(child.stderr).rest();
  const writer = child.stdin.getWriter();
  let over = false;
  const failure = async (): Promise<Error> => {
    over = true;
    const { code, signal } = await child.status;
    return new Error(`"${program}" ended with ${signal ?? code}: ${(await errors).slice(0, 12).join("\n")}`);
  };
  const end = async (): Promise<void> => {
    if (over) return;
    over = true;
    try {
      child.kill("SIGKILL");
    } catch {
      // It ended in between.
    }
    await child.status;
    await errors;
  };
  return {
    pid: child.pid,
    async next() {
      const line = await lines.next();
      if (line === null) throw await failure();
      return JSON.parse(line);
    },
    async nudge() {
      await writer.write(new TextEncoder().encode("\n"));
    },
    async finish() {
      await writer.close().catch(() => {});
      const rest = await lines.rest();
      const { success } = await child.status;
      if (!success) throw await failure();
      over = true;
      await errors;
      const last = rest.at(-1);
      return last === undefined ? null : JSON.parse(last);
    },
    [Symbol.asyncDispose]: end,
  };
}

/** Runs a client program to its end. */
export async function runClient(
  client: Client,
  params: unknown,
  seconds: number,
  options?: StartOptions,
): Promise<Result> {
  await using program = start(client, params, options);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`"${client}" took more than ${seconds} s`)), seconds * 1000);
  });
  try {
    const result = await Promise.race([program.next(), late]);
    await Promise.race([program.finish(), late]);
    return result;
  } finally {
    clearTimeout(timer);
  }
}
