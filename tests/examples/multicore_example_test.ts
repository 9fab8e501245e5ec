/**
 * examples/multicore_server.ts: two workers at one port, which are one server to those who are not let in.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect, type ConnectOptions, insecureAcceptAnyHostKey, password } from "../../mod.ts";
import { startServer } from "../_support/examples.ts";
import { PROGRAM_HANGS, until } from "../_support/until.ts";

function toPort(port: number): ConnectOptions {
  return {
    hostname: "127.0.0.1",
    port,
    username: "alice",
    auth: [password("cores")],
    algorithms: { kex: ["curve25519-sha256"] },
    verifyHostKey: insecureAcceptAnyHostKey(),
  };
}

async function run(to: ConnectOptions, text: string): Promise<string> {
  await using client = await connect(to);
  return (await client.exec(text)).text().trim();
}

/** Reads to the end, whatever it is. */
async function drain(conn: Deno.TcpConn): Promise<void> {
  const bytes = new Uint8Array(4096);
  try {
    while (await conn.read(bytes) !== null);
  } catch {
    // Closed, at either end.
  }
}

Deno.test({
  name:
    "examples/multicore_server.ts serves by both workers, keeps one limit over both, and replaces a worker that crashes",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await using server = await startServer("multicore_server.ts", ["0", "2"]);
    assertStringIncludes(server.said, "with 2 workers");
    const to = toPort(server.port), command = (text: string) => run(to, text);
    const served = async (): Promise<Set<string>> => {
      const by = new Set<string>();
      await until(async () => by.add(await command("who")).size === 2, "both workers serve", PROGRAM_HANGS);
      return by;
    };
    const both = ["worker 1 serves alice", "worker 2 serves alice"];
    assertEquals([...await served()].toSorted(), both);

    // One source holds sixty without a login, however the kernel spreads them.
    const conns: Deno.TcpConn[] = [];
    const ends: Promise<void>[] = [];
    let inside = 0, away = 0, ended = 0;
    for (let i = 0; i < 70; i++) {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.port }), bytes = new Uint8Array(256);
      const said = new TextDecoder().decode(bytes.subarray(0, await conn.read(bytes) ?? 0));
      conns.push(conn);
      if (said.startsWith("Exceeded the number of connections without a login")) away++;
      else if (said.startsWith("SSH-2.0-")) {
        inside++;
        ends.push(drain(conn).finally(() => ended++));
      }
    }
    assertEquals(inside + away, 70);
    // On a slow machine those that have had their second make room for newer ones, and are closed.
    await until(() => inside - ended <= 60, "no more than sixty are held", PROGRAM_HANGS);
    assert(inside >= 60, `${inside} were let in`);
    for (const conn of conns) conn.close();
    await Promise.all(ends);

    await until(() => command("crash").then(() => true, () => true), "a worker is told to crash", PROGRAM_HANGS);
    await until(async () => [...await served().catch(() => [])].length === 2, "both serve again", PROGRAM_HANGS);
    const client = await connect(to);
    server.child.kill("SIGTERM");
    await client.closed.catch(() => {});
    assertEquals((await server.child.status).code, 0);
  },
});

Deno.test({
  name: "examples/multicore_server.ts starts the worker that found the port at that one again",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await using server = await startServer("multicore_server.ts", ["0", "1"]);
    const to = toPort(server.port);
    assertEquals(await run(to, "who"), "worker 1 serves alice");
    await run(to, "crash").catch(() => {});
    await until(() => run(to, "who").then((said) => said !== "", () => false), "it serves again", PROGRAM_HANGS);
  },
});
