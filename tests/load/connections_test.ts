/**
 * Many connections to one server at once.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { text } from "../_support/joined.ts";
import type { SshServer } from "../../mod.ts";
import { assertGivenBack, holdings, sized } from "../_support/resources.ts";
import { client, outcome, startServer } from "../_support/load.ts";

const COUNT = sized(200, 1000);

Deno.test(`serve() serves ${COUNT} connections at once, and gives everything back`, async () => {
  await using server = await startServer();
  {
    // What is loaded and compiled once is no part of the measure.
    await using first = await client(server);
    await first.exec("echo x");
  }
  const before = await holdings();
  // In a function of its own: what it holds goes with it.
  await load(server, before.memory);
  await assertGivenBack(before);
});

async function load(server: SshServer, before: number): Promise<void> {
  const clients = await Promise.all(Array.from({ length: COUNT }, () => client(server)));
  const outputs = await Promise.all(clients.map((client, i) => client.exec(`echo ${i}`)));
  assertEquals(outputs.map(({ code, stdout }) => `${code} ${text(stdout)}`), clients.map((_, i) => `0 ${i}\n`));

  const each = ((await holdings()).memory - before) / COUNT / 2;
  assert(each <= 100_000, `${Math.round(each)} bytes for each end of a connection at rest`);

  assertEquals(text((await clients[COUNT - 1]!.exec("echo last")).stdout), "last\n");
  assertEquals(new Set(await Promise.all(clients.map((client) => outcome(client.close())))), new Set(["resolved"]));
}
