// Peers that send as fast as they can, from processes of their own (row 111, and what stands beside it): deadlines hold and others are
// served. `deno task bench -- floods` measures how well.
import { assert, assertEquals } from "@std/assert";
import { connect, SshError } from "../../mod.ts";
import { login } from "../_support/joined.ts";
import { client, startServer } from "../_support/load.ts";
import { type FloodKind, floodKinds } from "../_support/flooder.ts";

/** Long enough for any machine; a flood that stops the event loop goes on for ever. */
const LONG = 60_000;

/** A flood in a process of its own. */
class Flood implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(kind: FloodKind | `${FloodKind} server`, port?: number) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--quiet",
        "--no-check",
        new URL("../_support/flooder.ts", import.meta.url).pathname,
        JSON.stringify({ kind, port }),
      ],
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The next thing that it says, or null when it has ended. */
  async next(): Promise<Record<string, unknown> | null> {
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return JSON.parse(line);
      }
      const { done, value } = await this.#lines.read();
      if (done) return null;
      this.#rest += value;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#lines.cancel();
    await this.#child.status;
  }
}

async function inTime<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => timer = setTimeout(() => reject(new Error(what)), LONG));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

for (const kind of floodKinds) {
  const stranger = ["plain", "sealed", "drip", "accepted"].includes(kind);
  Deno.test(`a server serves others beside a flood: ${kind}${stranger ? ", whose time to log in ends" : ""}`, async () => {
    await using server = await startServer({ loginTimeout: stranger ? 1500 : LONG });
    await using flood = new Flood(kind, server.addr.port);
    assertEquals(await inTime(flood.next(), "The flood did not begin"), { begun: true });
    const honest = Array.from({ length: 5 }, async () => {
      await using connection = await client(server);
      const { code } = await connection.exec("exit 7");
      assertEquals(code, 7);
    });
    // With strangers the limit is for the honest as well, and on a slow machine some may miss it.
    const outcomes = await inTime(Promise.allSettled(honest), "Others were not served");
    if (!stranger) assertEquals(outcomes.filter(({ status }) => status === "rejected"), []);
    if (!stranger) return;
    const end = await inTime(flood.next(), "The flood did not end");
    assert(typeof end?.milliseconds === "number" && end.milliseconds >= 1000, `${end?.milliseconds}`);
  });
}

for (const kind of ["accepted", "empty data"] as const) {
  Deno.test(`a server closes beside a flood: ${kind}`, async () => {
    const server = await startServer();
    await using flood = new Flood(kind, server.addr.port);
    assertEquals(await inTime(flood.next(), "The flood did not begin"), { begun: true });
    await inTime(server[Symbol.asyncDispose](), "The server did not close");
    assert(typeof (await inTime(flood.next(), "The flood did not end"))?.milliseconds === "number");
  });
}

for (const kind of ["plain", "sealed", "drip"] as const) {
  Deno.test(`a client gives up at its signal's time beside a flood of its server: ${kind}`, async () => {
    await using flood = new Flood(`${kind} server`);
    const port = (await flood.next())!.port as number;
    const signal = AbortSignal.timeout(500);
    const connecting = connect({ hostname: "127.0.0.1", port, ...login, signal }).then(() => null, (error) => error);
    const error = await inTime(connecting, "The signal did not end it");
    assert(error === signal.reason || error instanceof SshError, `${error}`);
  });
}
