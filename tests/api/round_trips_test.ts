/**
 * How many round trips a login, a command and an SFTP session take, counted on a wire that carries one flight at a time: all that one side
 * says without having heard more of the other is one flight.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { connect, type ConnectOptions } from "../../lib/api/client.ts";
import { serveConn } from "../../lib/api/server.ts";
import { sftpSubsystem } from "../../lib/api/sftp_subsystem.ts";
import { password, publicKey } from "../../lib/auth/methods.ts";
import { memoryFiles } from "../../lib/files/memory/files.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { toBase64 } from "../../lib/wire/base_text.ts";
import { sleep } from "../_support/duplex.ts";
import { login, serverOptions } from "../_support/joined.ts";

/** Milliseconds without a word that end a flight. */
const QUIET = 60;
/** A busy machine may make a flight end too early, which only adds flights: the fewest of so many tries count. */
const TRIES = 10;

/** One end of the wire. */
class End {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  said: Uint8Array[] = [];
  #controller!: ReadableStreamDefaultController<Uint8Array>;

  constructor(onWrite: () => void) {
    this.readable = new ReadableStream({ start: (controller) => void (this.#controller = controller) });
    this.writable = new WritableStream({
      write: (chunk) => {
        this.said.push(chunk.slice());
        onWrite();
      },
    });
  }

  end(): void {
    try {
      this.#controller.close();
    } catch {
      // Its reader has left.
    }
  }

  hear(chunks: Uint8Array[]): void {
    for (const chunk of chunks) this.#controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
  }
}

/** A wire between two ends that carries flights. */
class Wire {
  readonly client = new End(() => this.#written++);
  readonly server = new End(() => this.#written++);
  #written = 0;

  /** Carries flights both ways until `work` is done; gives its result and the round trips that it took. */
  async during<T>(work: Promise<T>): Promise<{ result: T; roundTrips: number }> {
    let isDone = false;
    const done = work.finally(() => isDone = true);
    done.catch(() => {});
    // What is said at once crosses: each turn is half a round trip.
    let turns = 0;
    while (!isDone) {
      for (let seen = -1; seen !== this.#written && !isDone;) {
        seen = this.#written;
        await sleep(QUIET);
      }
      if (isDone) break;
      const toServer = this.client.said.splice(0), toClient = this.server.said.splice(0);
      this.server.hear(toServer);
      this.client.hear(toClient);
      turns++;
    }
    return { result: await done, roundTrips: turns / 2 };
  }
}

const alice = await generateKey();

/** A client on a wire, and the round trips of its login. */
async function connected(auth: ConnectOptions["auth"], algorithms?: ConnectOptions["algorithms"]) {
  const wire = new Wire();
  const served = serveConn(
    wire.server,
    await serverOptions({
      auth: {
        password: (_, secret) => secret === "wonderland",
        publicKey: (_, { blob }) => toBase64(blob) === toBase64(alice.publicKey.blob),
      },
      handler: () => 0,
      subsystems: { sftp: sftpSubsystem(memoryFiles({ "/motd": "hello" })) },
    }),
  ).catch(() => {});
  const { result: client, roundTrips } = await wire.during(
    connect({ hostname: "test.invalid", ...login, auth, algorithms, transport: wire.client }),
  );
  /** The wire is cut behind all that has been said. */
  const end = async (): Promise<void> => {
    wire.server.hear(wire.client.said.splice(0));
    wire.server.end();
    wire.client.end();
    await served;
  };
  return { wire, client, roundTrips, end };
}

/** Round trips of all of it. */
async function count(auth: ConnectOptions["auth"]): Promise<Record<string, number>> {
  const first = await connected(auth), { wire } = first;
  const command = await wire.during(first.client.exec("true"));
  assertEquals(command.result.code, 0);
  const closing = await wire.during(first.client.close());
  await first.end();
  const second = await connected([publicKey(alice)]);
  const session = await second.wire.during(second.client.sftp());
  const file = await second.wire.during(session.result.readTextFile("/motd"));
  assertEquals(file.result, "hello");
  await second.end();
  await second.client.closed.catch(() => {});
  return {
    connect: first.roundTrips,
    exec: command.roundTrips,
    close: closing.roundTrips,
    sftp: session.roundTrips,
    readFile: file.roundTrips,
  };
}

/** The fewest of each, in as many tries as it takes to come down to what is wanted. */
async function fewest(
  auth: ConnectOptions["auth"],
  wanted: Record<string, number>,
): Promise<Record<string, number>> {
  let least: Record<string, number> = {};
  for (let i = 0; i < TRIES; i++) {
    for (const [name, roundTrips] of Object.entries(await count(auth))) {
      least = { ...least, [name]: Math.min(least[name] ?? Infinity, roundTrips) };
    }
    if (Object.entries(wanted).every(([name, most]) => least[name]! <= most)) break;
  }
  return least;
}

Deno.test("a login with a key in memory takes three round trips, a command and an SFTP session two", async () => {
  const wanted = { connect: 3, exec: 2, close: 0, sftp: 2, readFile: 3 };
  assertEquals(await fewest([publicKey(alice)], wanted), wanted);
});

Deno.test("a login with a password takes one round trip more, to learn whether the server takes passwords", async () => {
  const wanted = { connect: 4, exec: 2, close: 0, sftp: 2, readFile: 3 };
  assertEquals(await fewest([password("wonderland")], wanted), wanted);
});

Deno.test("a key exchange of which there is only one to agree on is guessed, which saves half a round trip where the server's line is there first", async () => {
  let least = Infinity;
  for (let i = 0; i < TRIES && least > 2.5; i++) {
    const only = { kex: ["mlkem768x25519-sha256"], hostKey: ["ssh-ed25519"] };
    const { client, roundTrips, end } = await connected([publicKey(alice)], only);
    least = Math.min(least, roundTrips);
    await client.close();
    await end();
  }
  assertEquals(least, 2.5);
});
