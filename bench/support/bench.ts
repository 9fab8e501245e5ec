/**
 * Bench. What every section needs: the keys, sshd, this module's server, and a way to run a client against either.
 *
 * @module
 */

import { fail, type Settings } from "../harness.ts";
import { cpuSecondsOf } from "./proc.ts";
import { type Client, programsInUse, type Result, runClient, start, type StartOptions } from "./run.ts";
import type { Keys, Sshd } from "./sshd.ts";

/** The cipher of every figure that does not say otherwise. */
export const CHACHA = "chacha20-poly1305@openssh.com";

/** Where a client connects to. */
export interface Endpoint {
  /** Port on 127.0.0.1. */
  readonly port: number;
  /** Process id, for the server's CPU and memory. */
  readonly pid: number;
}

/** This module's server in a process of its own. */
export interface AmikoServer extends Endpoint, AsyncDisposable {
  /** Its memory and CPU now, garbage collected before. */
  stat(): Promise<Result>;
}

/** How this module's server is started. */
export interface ServerOptions extends StartOptions {
  /** Run commands as sshd does. */
  spawn?: boolean;
  /** Serve the files there. */
  root?: string;
  /** Let its clients forward. */
  forwards?: boolean;
  /** Bytes of its receive windows, which then stay as they are. */
  fixedWindow?: number;
}

/** A server that starts when it is first asked for, so that one that cannot start fails only the contenders that need it. */
export class LazyServer implements AsyncDisposable {
  readonly #start: () => Promise<AmikoServer>;
  /** One for each revision that is measured. */
  readonly #servers = new Map<URL, Promise<AmikoServer>>();

  /** Takes the way to start it. */
  constructor(start: () => Promise<AmikoServer>) {
    this.#start = start;
  }

  /** The running server. */
  get(): Promise<AmikoServer> {
    const programs = programsInUse(), server = this.#servers.get(programs) ?? this.#start();
    this.#servers.set(programs, server);
    return server;
  }

  /** Ends it where it runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const starting of this.#servers.values()) {
      const server = await starting.catch(() => undefined);
      await server?.[Symbol.asyncDispose]();
    }
  }
}

/** The makings of a run. */
export class Bench {
  /** What was asked for. */
  readonly settings: Settings;
  /** Throw-away keys. */
  readonly keys: Keys;
  /** The one sshd of the run. */
  readonly sshd: Sshd;
  /** The node_modules folder with ssh2. */
  readonly modules: string;

  /** Takes what was made; `main.ts` ends it. */
  constructor(settings: Settings, keys: Keys, sshd: Sshd, modules: string) {
    this.settings = settings;
    this.keys = keys;
    this.sshd = sshd;
    this.modules = modules;
  }

  /** Runs a scenario of a client. */
  async client(
    client: Client,
    scenario: string,
    params: Readonly<Record<string, unknown>>,
    options: StartOptions & { to?: Endpoint } = {},
  ): Promise<Result> {
    const bytes = typeof params.bytes === "number" ? params.bytes : 0;
    return await runClient(client, this.params(scenario, params, options.to), 180 + bytes / 8e6, {
      ...options,
      profile: this.settings.profile,
    });
  }

  /** The argument of a client program. */
  params(scenario: string, params: Readonly<Record<string, unknown>>, to: Endpoint = this.sshd): unknown {
    return {
      scenario,
      hostname: "127.0.0.1",
      port: to.port,
      username: Deno.env.get("USER") ?? "root",
      privateKey: this.keys.userKey,
      keyFile: this.keys.userKeyFile,
      modules: this.modules,
      cipher: CHACHA,
      chunk: 65536,
      message: 1024,
      ...params,
    };
  }

  /**
   * Starts this module's server; with `spawn` it runs commands as sshd does, else it makes and discards bytes itself; with
   * `root` it serves the files there; with `fixedWindow` its receive windows have these bytes and stay as they are.
   */
  server(options: ServerOptions = {}): LazyServer {
    return new LazyServer(() => this.#startServer(options));
  }

  async #startServer(options: ServerOptions): Promise<AmikoServer> {
    const { spawn = false, root, fixedWindow, forwards } = options;
    const program = start("server", { hostKey: this.keys.hostKey, spawn, root, fixedWindow, forwards }, {
      ...options,
      profile: this.settings.profile,
    });
    const { port } = await program.next();
    return {
      port: port!,
      pid: program.pid,
      async stat() {
        await program.nudge();
        return await program.next();
      },
      async [Symbol.asyncDispose]() {
        await program.finish();
      },
    };
  }
}

/** Share of a core from which on the relay may be what limits a rate. */
const RELAY_LIMIT = 0.85;

/** Runs something over a path with so many milliseconds of round trip, which a relay in a process of its own adds, and says what the relay used. */
export async function overRelay<T>(
  to: Endpoint,
  delay: number,
  run: (to: Endpoint) => Promise<T>,
): Promise<{ result: T; cpu: number }> {
  await using relay = start("relay", { port: to.port, delay: delay / 2 });
  const { port } = await relay.next();
  const cpu = cpuSecondsOf(relay.pid), begin = performance.now();
  const result = await run({ port: port!, pid: to.pid });
  const used = cpuSecondsOf(relay.pid) - cpu, share = used / ((performance.now() - begin) / 1000);
  if (share > RELAY_LIMIT) {
    fail(`a path of ${delay} ms`, `the relay took ${(share * 100).toFixed(0)} percent of a core`);
  }
  await relay.finish();
  return { result, cpu: used };
}

/** Remote command that sends zeros, its mark first. */
export function sendZeros(bytes: number): string {
  return `echo start >&2; exec head -c ${bytes} /dev/zero`;
}

/** Remote command that takes everything, its mark first. */
export const takeAll = "echo start >&2; exec cat >/dev/null";
