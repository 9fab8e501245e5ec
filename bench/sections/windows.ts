/**
 * Bench. Receive windows: rates down from sshd and up to this module's server, for each cipher, over paths of 0 to 300 ms, with
 * windows that follow the path, windows that stay as they are, and OpenSSH at both ends.
 *
 * A cell of the table is a direction, a cipher and a delay; `--cells` names some of them by a regular expression, such as
 * `--cells "gcm down from sshd 9.* (0|20) ms"`. All of them take an hour a round.
 *
 * @module
 */

import { openSsh10 } from "../../tests/_support/peers.ts";
import { alternate, type Figure, log, pick, type Target } from "../harness.ts";
import { type Bench, CHACHA, type Endpoint, overRelay } from "../support/bench.ts";
import type { Client, Result } from "../support/run.ts";
import { type Sshd, startSshd } from "../support/sshd.ts";
import { transfer } from "./throughput.ts";

const MIB = 1_048_576;
const GCM = "aes128-gcm@openssh.com";
const ciphers: Readonly<Record<string, string>> = {
  "aes128-gcm": GCM,
  "aes128-ctr": "aes128-ctr",
  "chacha20-poly1305": CHACHA,
};
/** Milliseconds that a relay adds to the round trip. */
const delays = [0, 1, 20, 100, 300];
const fixed = [1, 2, 16];
const ours = "this module";
/** What OpenSSH starts with and stays at. */
const OPENSSH_WINDOW = 2 * MIB;

const rate = (result: Result): number => result.bytes! / result.seconds! / 1e6;
const show = (result: Result): string => `${rate(result).toFixed(1)} MB/s in ${result.seconds!.toFixed(1)} s`;
const fixedName = (mib: number): string => `a fixed window of ${mib} MiB`;

/** One transfer over a path with a relay of its own. */
interface Run {
  readonly client: Client;
  readonly to: Endpoint;
  readonly window: number;
  readonly params: Readonly<Record<string, unknown>>;
}

/**
 * What can flow in so many seconds as suit the delay: a window that has to grow takes some round trips for it. A sender that
 * copies what it has read ahead gets less to do.
 */
function amount(bench: Bench, delay: number, window: number): number {
  const seconds = bench.settings.quick ? Math.max(1.5, 0.03 * delay) : Math.max(3, 0.08 * delay);
  const most = delay <= 1 && window > 4 * MIB ? 25e6 : Math.min(200e6, window / Math.max(delay, 1) * 1e3);
  return Math.ceil(seconds * most);
}

async function overPath(
  bench: Bench,
  { client, to, window, params }: Run,
  direction: "down" | "up",
  delay: number,
): Promise<Result> {
  const bytes = amount(bench, delay, window);
  if (delay === 0) return await transfer(bench, client, direction, { ...params, bytes, to });
  const over = await overRelay(to, delay, (to) => transfer(bench, client, direction, { ...params, bytes, to }));
  return over.result;
}

/** The table of windows, then this module beside ssh and ssh2 on loopback. */
export async function windows(bench: Bench): Promise<Figure[]> {
  await using started = new AsyncDisposableStack();
  const servers = new Map<string, Sshd>([["sshd 9", bench.sshd]]);
  try {
    Deno.statSync(`${openSsh10()}/sbin/sshd`);
    servers.set("sshd 10", started.use(await startSshd(bench.keys, openSsh10())));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    log("windows: no OpenSSH 10 here");
  }
  const growing = started.use(bench.server());
  const staying = fixed.map((mib) => [mib, started.use(bench.server({ fixedWindow: mib * MIB }))] as const);
  const figures: Figure[] = [];

  const cell = async (
    name: string,
    direction: "down" | "up",
    delay: number,
    runs: Record<string, () => Promise<Run>>,
  ) => {
    if (!bench.settings.cells.test(name)) return;
    const results = await alternate(
      bench.settings,
      name,
      Object.fromEntries(
        Object.entries(runs).map(([who, run]) => [who, async () => overPath(bench, await run(), direction, delay)]),
      ),
      show,
    );
    const values = pick(results, rate);
    const targets: Target[] = [...fixed.map((mib) => ({ rival: fixedName(mib), atLeast: 0.95 })), { rival: "ssh" }];
    figures.push({ what: `${name}, MB/s`, ours, values, targets, digits: 1 });
  };

  for (const delay of delays) {
    for (const [title, cipher] of Object.entries(ciphers)) {
      for (const [peer, sshd] of servers) {
        const run = (client: Client, window: number, params = {}) => () =>
          Promise.resolve({ client, to: sshd, window, params: { cipher, ...params } });
        await cell(`${title} down from ${peer}, ${delay} ms`, "down", delay, {
          [ours]: run(ours, delay <= 1 ? OPENSSH_WINDOW : 16 * MIB),
          ...Object.fromEntries(
            fixed.map((mib) => [fixedName(mib), run(ours, mib * MIB, { fixedWindow: mib * MIB })]),
          ),
          ssh: run("ssh", OPENSSH_WINDOW),
        });
      }
      const run = (to: () => Endpoint | Promise<Endpoint>, window: number) => async () => {
        return { client: "ssh" as const, to: await to(), window, params: { cipher } };
      };
      await cell(`${title} up to this module's server, ${delay} ms`, "up", delay, {
        [ours]: run(() => growing.get(), delay <= 1 ? OPENSSH_WINDOW : 16 * MIB),
        ...Object.fromEntries(
          staying.map(([mib, server]) => [fixedName(mib), run(() => server.get(), mib * MIB)]),
        ),
        ssh: run(() => bench.sshd, OPENSSH_WINDOW),
      });
    }
  }
  const loopback = async (what: string, cipher: string, rival: Client, atLeast: number) => {
    if (!bench.settings.cells.test(what)) return;
    const results = await alternate(
      bench.settings,
      what,
      Object.fromEntries(([ours, rival] as const).map((client) => [
        client,
        () => transfer(bench, client, "down", { cipher, bytes: amount(bench, 0, OPENSSH_WINDOW) }),
      ])),
      show,
    );
    figures.push({
      what: `${what}, MB/s`,
      ours,
      values: pick(results, rate),
      targets: [{ rival, atLeast }],
      digits: 0,
    });
  };
  await loopback("chacha20-poly1305 down on loopback", CHACHA, "ssh", 1);
  await loopback("aes128-gcm down on loopback", GCM, "ssh2 on Deno", 1.2);
  return figures;
}
