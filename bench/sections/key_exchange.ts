/**
 * Bench. CPU time of a key agreement at either end: of the first one in a process, which loads and compiles what it needs, and of later
 * ones. The other end runs in a process of its own. Signatures, key derivation and packets are not in it.
 *
 * @module
 */
import { kexMethods } from "../../lib/crypto/kex/methods.ts";
import { type Figure, log, median } from "../harness.ts";
import type { Bench } from "../support/bench.ts";
import { Lines } from "../support/lines.ts";

const METHODS = ["curve25519-sha256", "mlkem768x25519-sha256", "sntrup761x25519-sha512"];
/** Most milliseconds of CPU that a post-quantum key exchange may take at either end. */
const LIMIT = 60;

/** CPU milliseconds of `count` agreements in one process. */
async function run(name: string, role: "client" | "server", count: number): Promise<number[]> {
  const agreement = kexMethods.get(name)!.agreement!, encoder = new TextEncoder();
  const path = new URL("../programs/key_exchange.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--cached-only", "--no-lock", path, name, role],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const lines = new Lines(child.stdout), writer = child.stdin.getWriter();
  const next = async (): Promise<string> => {
    const line = await lines.next();
    if (line === null) throw new Error(`${name}: the ${role} ended`);
    return line;
  };
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    if (role === "client") {
      const { publicValue } = await agreement.respond(Uint8Array.fromHex(await next()));
      await writer.write(encoder.encode(publicValue.toHex() + "\n"));
    } else {
      const { publicValue, finish } = await agreement.start();
      await writer.write(encoder.encode(publicValue.toHex() + "\n"));
      await finish(Uint8Array.fromHex(await next()));
    }
    times.push(Number(await next()) / 1000);
  }
  await writer.close();
  await lines.rest();
  await child.status;
  return times;
}

/** First and later exchanges, client and server, for each method. */
export async function keyExchange({ settings }: Bench): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (
    const name of METHODS.filter((name) =>
      settings.only.length === 0 || settings.only.some((part) => name.includes(part))
    )
  ) {
    for (const role of ["client", "server"] as const) {
      const rounds: number[][] = [];
      for (let i = 0; i < settings.rounds; i++) rounds.push(await run(name, role, 21));
      const values = { first: rounds.map(([first]) => first!), later: rounds.map(([, ...later]) => median(later)) };
      for (const [which, all] of Object.entries(values)) {
        log(`${name}, ${role}, ${which}: ${all.map((ms) => ms.toFixed(1)).join(" ")} ms of CPU`);
        figures.push({
          what: `${name}, the ${role}'s ${which} key exchange${which === "later" ? "s" : ""}, ms of CPU`,
          ours: "this module",
          values: new Map([["this module", all]]),
          targets: [],
          limit: { atMost: LIMIT },
          digits: 1,
        });
      }
    }
  }
  return figures;
}
