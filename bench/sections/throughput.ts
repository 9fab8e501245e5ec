/**
 * Bench. Bytes through channels: the client, the server, both ends, AES-GCM, eight channels.
 *
 * @module
 */

import { alternate, type Figure, pick, type Target } from "../harness.ts";
import { type Bench, type Endpoint, sendZeros, takeAll } from "../support/bench.ts";
import type { Client, Result } from "../support/run.ts";

/** The clients, ours first. */
export const clients: readonly Client[] = ["this module", "ssh2 on Deno", "ssh2 on Node", "ssh"];

type Direction = "down" | "up";

const rate = (result: Result): number => result.bytes! / result.seconds! / 1e6;
const cpuPerGb = (result: Result): number => result.cpu! / (result.bytes! / 1e9);
const serverCpuPerGb = (result: Result): number => (result.serverCpu ?? NaN) / (result.bytes! / 1e9);
const show = (result: Result): string => {
  const server = result.serverCpu === undefined ? "" : `, server ${serverCpuPerGb(result).toFixed(2)} s/GB`;
  return `${rate(result).toFixed(1)} MB/s, ${cpuPerGb(result).toFixed(2)} s/GB${server}, peak ${
    (result.peak! / 1e6).toFixed(0)
  } MB`;
};

/** One transfer. */
export function transfer(
  bench: Bench,
  client: Client,
  direction: Direction,
  more: Readonly<Record<string, unknown>> & { to?: Endpoint; bytes?: number } = {},
): Promise<Result> {
  const { to, ...params } = more;
  const bytes = more.bytes ?? bench.settings.bytes;
  const command = direction === "down" ? sendZeros(bytes) : takeAll;
  return bench.client(client, direction, { command, ...params, bytes }, to === undefined ? {} : { to });
}

/** One channel, this module as the client of sshd against the others. */
export function oneChannel(direction: Direction): (bench: Bench) => Promise<Figure[]> {
  return async (bench) => {
    const results = await alternate(
      bench.settings,
      direction,
      Object.fromEntries(clients.map((client) => [client, () => transfer(bench, client, direction)])),
      show,
    );
    const ours = "this module", shown = [{ rival: "ssh2 on Deno" }, { rival: "ssh2 on Node" }];
    return [
      {
        what: `client, one channel ${direction}, MB/s`,
        ours,
        values: pick(results, rate),
        targets: [{ rival: "ssh", atLeast: 0.95 }, ...shown],
        digits: 0,
      },
      {
        what: `client, one channel ${direction}, CPU s/GB`,
        ours,
        values: pick(results, cpuPerGb),
        // Up, who feeds the bytes to `ssh` counts as part of it.
        targets: [{ rival: "ssh", atMost: direction === "down" ? 1.4 : 1 }, { rival: "ssh2 on Deno", atMost: 0.6 }, {
          rival: "ssh2 on Node",
        }],
        digits: 2,
      },
      {
        what: `client, one channel ${direction}, peak memory, MB`,
        ours,
        values: pick(results, (result) => result.peak! / 1e6),
        targets: [{ rival: "ssh" }, ...shown],
        digits: 0,
      },
    ];
  };
}

/** OpenSSH's ssh as the client of this module's server and of sshd. */
export async function server(bench: Bench): Promise<Figure[]> {
  await using inProcess = bench.server();
  await using spawning = bench.server({ spawn: true });
  const ours = "this module, bytes made in process", fair = "this module, commands spawned", theirs = "sshd";
  const figures: Figure[] = [];
  for (const direction of ["down", "up"] as const) {
    const to = (endpoint: () => Endpoint | Promise<Endpoint>) => async () => {
      const server = await endpoint();
      return await transfer(bench, "ssh", direction, { to: server, serverPid: server.pid });
    };
    const results = await alternate(
      bench.settings,
      `server ${direction}`,
      { [ours]: to(() => inProcess.get()), [fair]: to(() => spawning.get()), [theirs]: to(() => bench.sshd) },
      show,
    );
    for (const [name, note] of [[ours, "bytes made in process"], [fair, "commands spawned"]] as const) {
      figures.push({
        what: `server of ssh, ${direction}, ${note}, MB/s`,
        ours: name,
        values: pick(results, rate),
        targets: [{ rival: theirs, atLeast: 1 }],
        digits: 0,
      }, {
        what: `server of ssh, ${direction}, ${note}, CPU s/GB`,
        ours: name,
        values: pick(results, serverCpuPerGb),
        targets: [{ rival: theirs }],
        digits: 2,
      });
    }
  }
  return figures;
}

/** This module at both ends, in two processes, against OpenSSH at both ends. */
export async function bothEnds(bench: Bench): Promise<Figure[]> {
  await using inProcess = bench.server();
  await using spawning = bench.server({ spawn: true });
  const ours = "this module at both ends", fair = "this module at both ends, commands spawned", theirs = "ssh and sshd";
  const figures: Figure[] = [];
  for (const direction of ["down", "up"] as const) {
    const results = await alternate(
      bench.settings,
      `both ends ${direction}`,
      {
        [ours]: async () => transfer(bench, "this module", direction, { to: await inProcess.get() }),
        [fair]: async () => transfer(bench, "this module", direction, { to: await spawning.get() }),
        [theirs]: () => transfer(bench, "ssh", direction),
      },
      show,
    );
    for (const [name, note] of [[ours, "bytes made in process"], [fair, "commands spawned"]] as const) {
      figures.push({
        what: `both ends ours, ${direction}, ${note}, MB/s`,
        ours: name,
        values: pick(results, rate),
        targets: [{ rival: theirs, atLeast: 1.2 }],
        digits: 0,
      });
    }
  }
  return figures;
}

/** One channel with AES. */
export function aes(name: string, cipher: string): (bench: Bench) => Promise<Figure[]> {
  return (bench) => withCipher(bench, name, cipher);
}

/** A cipher against ssh2 on the same runtime. */
async function withCipher(bench: Bench, name: string, cipher: string): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const direction of ["down", "up"] as const) {
    const results = await alternate(
      bench.settings,
      `${name} ${direction}`,
      Object.fromEntries(clients.map((client) => [
        client,
        () => transfer(bench, client, direction, { cipher }),
      ])),
      show,
    );
    const targets: Target[] = [{ rival: "ssh2 on Deno", atLeast: 2 }, { rival: "ssh2 on Node" }, { rival: "ssh" }];
    figures.push(
      {
        what: `client, ${name}, ${direction}, MB/s`,
        ours: "this module",
        values: pick(results, rate),
        targets,
        digits: 0,
      },
      {
        what: `client, ${name}, ${direction}, CPU s/GB`,
        ours: "this module",
        values: pick(results, cpuPerGb),
        targets: targets.map(({ rival }) => rival === "ssh2 on Deno" ? { rival, atMost: 0.5 } : { rival }),
        digits: 2,
      },
    );
  }
  return figures;
}

/** Eight channels of one connection at once. */
export async function channels(bench: Bench): Promise<Figure[]> {
  const count = 8, each = Math.ceil(bench.settings.bytes / count), one = "this module, one channel";
  const results = await alternate(
    bench.settings,
    "eight channels",
    {
      ...Object.fromEntries(clients.map((client) => [
        client,
        () => bench.client(client, "channels", { command: sendZeros(each), bytes: each * count, channels: count }),
      ])),
      [one]: () => transfer(bench, "this module", "down"),
    },
    show,
  );
  const shown: Target[] = [{ rival: "ssh" }, { rival: "ssh2 on Deno" }, { rival: "ssh2 on Node" }];
  const ours = "this module";
  return [
    {
      what: "client, eight channels down, sum, MB/s",
      ours,
      values: pick(results, rate),
      targets: [{ rival: one, atLeast: 1 }, ...shown],
      digits: 0,
    },
    {
      what: "client, eight channels down, CPU s/GB",
      ours,
      values: pick(results, cpuPerGb),
      targets: [{ rival: one }, ...shown],
      digits: 2,
    },
  ];
}
