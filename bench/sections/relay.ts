/**
 * Bench. The relay that makes paths longer: what it lets through without a delay, and its CPU, so that nobody takes its limit for that of a
 * contender.
 *
 * @module
 */

import { alternate, type Figure, pick } from "../harness.ts";
import { type Bench, type Endpoint, overRelay } from "../support/bench.ts";
import { start } from "../support/run.ts";
import { transfer } from "./throughput.ts";

const through = "through the relay", without = "without a relay";

interface Measured {
  readonly rate: number;
  readonly cpu: number;
}

/** Bytes over plain TCP from the target, or to it where negative. */
async function carry({ port }: Endpoint, bytes: number): Promise<number> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const request = new Uint8Array(8), block = new Uint8Array(256 * 1024), begin = performance.now();
  new DataView(request.buffer).setFloat64(0, bytes);
  await conn.write(request);
  for (let left = -bytes; left > 0;) left -= await conn.write(left < block.length ? block.subarray(0, left) : block);
  for (let left = Math.max(bytes, 1); left > 0;) {
    const n = await conn.read(block);
    if (n === null) throw new Error(`${left} bytes are missing`);
    left -= n;
  }
  return (performance.now() - begin) / 1000;
}

/** Plain TCP and `ssh`, down and up, through the relay at 0 ms and without it. */
export async function relayed(bench: Bench): Promise<Figure[]> {
  await using target = start("target", {});
  const { port } = await target.next(), { bytes } = bench.settings, figures: Figure[] = [];
  const plain: Endpoint = { port: port!, pid: target.pid };
  const works: [string, Endpoint, (to: Endpoint) => Promise<number>][] = (["down", "up"] as const).flatMap((way) => [
    [`plain TCP ${way}`, plain, (to) => carry(to, way === "down" ? bytes : -bytes)],
    [`ssh ${way}`, bench.sshd, async (to) => (await transfer(bench, "ssh", way, { to, bytes })).seconds!],
  ]);
  for (const [what, to, work] of works) {
    const results = await alternate<Measured>(bench.settings, what, {
      [through]: async () => {
        const { result: seconds, cpu } = await overRelay(to, 0, work);
        return { rate: bytes / seconds / 1e6, cpu: cpu / (bytes / 1e9) };
      },
      [without]: async () => ({ rate: bytes / await work(to) / 1e6, cpu: 0 }),
    }, ({ rate, cpu }) => `${rate.toFixed(0)} MB/s, the relay's CPU ${cpu.toFixed(2)} s/GB`);
    const common = { ours: through, targets: [{ rival: without }], digits: 0 };
    figures.push(
      { what: `${what}, MB/s`, values: pick(results, ({ rate }) => rate), ...common },
      {
        what: `${what}, CPU of the relay, s/GB`,
        values: pick(results, ({ cpu }) => cpu),
        ...common,
        targets: [],
        digits: 2,
      },
    );
  }
  return figures;
}
