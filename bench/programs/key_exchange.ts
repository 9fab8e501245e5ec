// deno-lint-ignore-file no-console -- a program that prints
/**
 * Bench. One end of a key agreement: `METHOD client|server`. Values go out and come in as lines of hex; behind each exchange stands a
 * line with the CPU time that it took here, in microseconds.
 *
 * @module
 */
import process from "node:process";
import { kexMethods } from "../../lib/crypto/kex/methods.ts";
import { Lines } from "../support/lines.ts";

const [name, role] = Deno.args, agreement = kexMethods.get(name!)!.agreement!, lines = new Lines(Deno.stdin.readable);

async function received(): Promise<Uint8Array> {
  return Uint8Array.fromHex(await lines.next() ?? Deno.exit());
}

/** What `work` gives, and the CPU time that all threads of this process took meanwhile. */
async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const before = process.cpuUsage(), result = await work(), { user, system } = process.cpuUsage(before);
  return [result, user + system];
}

for (;;) {
  if (role === "client") {
    const [client, start] = await timed(() => agreement.start());
    console.log(client.publicValue.toHex());
    const answer = await received(), [, end] = await timed(() => client.finish(answer));
    console.log(start + end);
  } else {
    const value = await received(), [answer, time] = await timed(() => agreement.respond(value));
    console.log(answer.publicValue.toHex());
    console.log(time);
  }
}
