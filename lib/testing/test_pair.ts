/**
 * `testPair()`: a client and a server in memory, for the tests of applications.
 *
 * A pair is a host key, the server's options and the connections that were made to it; each has a server's end that is served and
 * a client, which is the pair's or, by `options()`, the application's. It ends once: the clients first, as if they had hung up,
 * then the server's ends of what others have opened, then the handlers, which hear of it by their signals and get a while to end.
 *
 * @module
 */
import { checkConnectNames } from "../api/check_connect.ts";
import { checkServe } from "../api/check_serve.ts";
import { connect, type ConnectOptions, type SshClient } from "../api/client.ts";
import { errorReports } from "../api/error_reports.ts";
import { serveConn, type ServeConnOptions } from "../api/server.ts";
import { none } from "../auth/methods.ts";
import type { ServerAuth } from "../auth/types.ts";
import { generateKey } from "../keys/private_key.ts";
import { pinnedHostKey } from "../keys/trust/known_hosts.ts";
import type { HostKeyVerifier, Signer } from "../keys/types.ts";
import { within } from "../transport/closing.ts";
import { checkNames, checkObject, type Habit } from "../wire/check.ts";
import { callBack } from "../wire/callback.ts";
import { type MemoryConn, memoryConn } from "./memory_conn.ts";

/** Milliseconds that handlers get to end once their connections have. */
const HANDLER_TIME = 1000;
/** Ports that a server sees its clients come from: the first one, and how many. */
const FIRST_PORT = 49_152, PORTS = 16_384;

/** What a client of a {@linkcode TestPair} may be told: all that `connect()` takes, but for the ways to a server. */
export type TestClientOptions = Partial<Omit<ConnectOptions, "transport" | "jump" | "proxy" | "proxyCommand">>;

/** Options of {@linkcode testPair}: all that `serve()` takes, but for where it listens; nothing of it has to be given. */
export interface TestPairOptions extends Omit<ServeConnOptions, "hostKeys" | "auth" | "onError"> {
  /** The server's host keys, which the clients trust. @default {a new Ed25519 key} */
  hostKeys?: readonly Signer[] | undefined;
  /** Who may log in. @default {anybody, by `none`} */
  auth?: ServerAuth | undefined;
  /**
   * Told of what `serve()` would tell its `onError`: what handlers throw, and how connections end that do not end well. Without it
   * what handlers throw fails the test, at the end of the pair. @default {prints, and the end of the pair rejects}
   */
  onError?: ((error: unknown) => void) | undefined;
  /** What all clients have in the place of the defaults. @default {{ hostname: "test", username: "test", auth: [none()] }} */
  client?: TestClientOptions | undefined;
}

/** A server in memory and its clients. */
export interface TestPair extends AsyncDisposable {
  /** The first client. */
  readonly client: SshClient;
  /**
   * Connects one more client to the same server; `options` come before those of the pair. Rejects as `connect()` does, and with
   * `TypeError` when the pair has ended.
   */
  connect(options?: TestClientOptions): Promise<SshClient>;
  /**
   * Options with which the application calls `connect()` itself. Each call is one connection, so each connection wants a call. The
   * client is the application's to close. Throws `TypeError` when the pair has ended.
   */
  options(options?: TestClientOptions): ConnectOptions;
  /**
   * Breaks all connections, or that of one client that the pair has connected, as a network does: without a word, and what was on
   * its way is lost. Clients see `CONNECTION_LOST`, and may connect again. Resolves when both ends have noticed; rejects with
   * `TypeError` for a client that is not the pair's, and with nothing else.
   */
  cut(client?: SshClient): Promise<void>;
  /**
   * Closes the clients, ends what the application has left open, and waits for the handlers; one that has not ended a second after its
   * `session.signal` is left behind. Rejects with what handlers have thrown, unless an `onError` has been told of that: with the error
   * itself, or an `AggregateError` of several; the first call only.
   */
  close(): Promise<void>;
  /** Same as {@linkcode TestPair.close}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A client and a server that talk SSH in memory: for unit tests of applications, without sockets, files and permissions. Nothing is left
 * out but the network: keys are exchanged, logins checked, limits kept.
 *
 * All that `serve()` takes can be given, and `client` for what clients have in the place of the defaults. By default the server has a new host key
 * that the clients trust, and the user `test` is logged in without a question; it sees its clients come from ports of 127.0.0.1. What listens is
 * left out, and with it `maxStartups` and `penalties`.
 *
 * A test does not pass when a handler has thrown: the error is printed, as by `serve()`, and the end of the pair rejects with it, unless
 * `onError` takes it. Once the pair has ended, nothing of it is left running, so that the sanitizers of `deno test` have nothing to say.
 *
 * Rejects with `TypeError` or `RangeError` for options that make no sense, and as `connect()` does where the first login fails.
 *
 * @example The unit test of something that runs commands
 * ```ts
 * import { type SshClient, testPair } from "@amiko/ssh";
 *
 * const freeSpace = async (client: SshClient) => (await client.$`df --output=avail /`).lines()[1];
 *
 * Deno.test({
 *   name: "freeSpace() tells the second line",
 *   permissions: "none",
 *   async fn() {
 *     await using pair = await testPair({
 *       async handler(session) {
 *         await session.write("Avail\n4096\n");
 *       },
 *     });
 *     const space = await freeSpace(pair.client);
 *     if (space !== "4096") throw new Error(`It says ${space}`);
 *   },
 * });
 * ```
 */
export async function testPair(options: TestPairOptions = {}): Promise<TestPair> {
  checkObject("options", options, "an object such as `{ handler }`");
  const { client = {}, onError, hostKeys = [await generateKey()], auth = { none: () => true }, ...rest } = options;
  checkClient("client", client);
  const served: ServeConnOptions = { ...rest, hostKeys, auth, onError };
  checkNames("testPair()", options, ["client"], habits);
  checkServe(served, "testPair()");
  const pair = new Pair(served, client, pinnedHostKey(...await fingerprints(hostKeys)));
  try {
    return await pair.begin();
  } catch (error) {
    // The first login tells more than what a handler of it has thrown.
    await pair.close().catch(() => {});
    throw error;
  }
}

/** Before the defaults hide that a name was meant for theirs. */
function checkClient(name: string, options: unknown): void {
  checkObject(name, options, "options of `connect()`, such as `{ username }`");
  checkConnectNames("a client of testPair()", options as object);
}

/** What clients have, written where servers have theirs. */
const habits: Readonly<Record<string, Habit>> = {
  username: { ours: ["client"], write: "`client: { username }`" },
  verifyHostKey: { ours: ["client"], write: "`client: { verifyHostKey }`" },
};

function fingerprints(keys: readonly Signer[]): Promise<string[]> {
  return Promise.all(keys.map((key) => key.publicKey.fingerprint()));
}

/** One connection of a pair. */
interface Line {
  readonly conn: MemoryConn;
  /** Settles when the server's end has ended; never rejects. */
  readonly served: Promise<void>;
  /** The pair's own client, once it has logged in. */
  client?: SshClient;
}

class Pair implements TestPair {
  readonly #options: ServeConnOptions;
  readonly #onError: ServeConnOptions["onError"];
  readonly #defaults: TestClientOptions;
  /** Those whose server's end has not ended. */
  readonly #lines = new Set<Line>();
  readonly #lineOf = new WeakMap<SshClient, Line>();
  readonly #handlers = new Set<Promise<unknown>>();
  readonly #stop = new AbortController();
  /** What handlers have thrown, as long as nobody has heard of it. */
  readonly #thrown: unknown[] = [];
  #client: SshClient | null = null;
  #count = 0;
  #ended: Promise<void> | null = null;

  constructor(options: ServeConnOptions, client: TestClientOptions, verifyHostKey: HostKeyVerifier) {
    this.#defaults = { hostname: "test", username: "test", auth: [none()], verifyHostKey, ...givenOf(client) };
    const { handler, subsystems, onForward, signal, onError } = options;
    this.#onError = onError;
    const { program } = errorReports(onError);
    this.#options = {
      ...options,
      handler: handler && this.#followed(handler),
      subsystems: subsystems &&
        Object.fromEntries(Object.entries(subsystems).map(([name, one]) => [name, this.#followed(one)])),
      onForward: onForward && this.#followed(onForward),
      signal: signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]),
      onError: (error) => {
        if (onError === undefined) this.#thrown.push(error);
        program(error);
      },
    };
  }

  get client(): SshClient {
    return this.#client!;
  }

  async begin(): Promise<this> {
    this.#client = await this.connect();
    return this;
  }

  async connect(options: TestClientOptions = {}): Promise<SshClient> {
    checkClient("options", options);
    const line = this.#open();
    try {
      const client = await connect(this.#optionsOf(line, options));
      this.#lineOf.set(client, line);
      return line.client = client;
    } catch (error) {
      // The client may not have begun, and would say nothing.
      line.conn.cut();
      await line.served;
      throw error;
    }
  }

  options(options: TestClientOptions = {}): ConnectOptions {
    checkClient("options", options);
    return this.#optionsOf(this.#open(), options);
  }

  async cut(client?: SshClient): Promise<void> {
    const one = client === undefined ? undefined : this.#lineOf.get(client);
    if (client !== undefined && one === undefined) {
      throw new TypeError(
        "Cannot cut the connection of this client: it is none that `connect()` of the test pair gave",
      );
    }
    await Promise.all((one === undefined ? [...this.#lines] : [one]).map(async ({ conn, served, client }) => {
      conn.cut();
      await served;
      await client?.closed.catch(() => {});
    }));
  }

  async close(): Promise<void> {
    await (this.#ended ??= this.#end());
    const thrown = this.#thrown.splice(0);
    if (thrown.length === 1) throw thrown[0];
    if (thrown.length > 1) throw new AggregateError(thrown, `${thrown.length} handlers of the test pair threw`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #end(): Promise<void> {
    await Promise.all([...this.#lines].map(({ client }) => client?.close().catch(() => {})));
    this.#stop.abort();
    await Promise.all([...this.#lines].map(({ conn, served }) => {
      // Nobody is there to answer.
      if (!conn.client.readable.locked) conn.cut();
      return served;
    }));
    if (this.#handlers.size > 0) await within(HANDLER_TIME, Promise.allSettled(this.#handlers));
  }

  #optionsOf(line: Line, options: TestClientOptions): ConnectOptions {
    return { ...this.#defaults, ...givenOf(options), transport: line.conn.client } as ConnectOptions;
  }

  /** Makes a connection, whose server's end waits for a client. */
  #open(): Line {
    if (this.#ended !== null) throw new TypeError("Cannot connect: the test pair has ended");
    const conn = memoryConn(FIRST_PORT + this.#count++ % PORTS);
    const served = serveConn(conn.server, this.#options).catch((error) => {
      // How a connection ended is no failure of a test: its client hears of it, and says so where it matters.
      if (this.#ended === null) callBack(() => this.#onError?.(error, { remoteAddr: undefined }));
    }).finally(() => this.#lines.delete(line));
    const line: Line = { conn, served };
    this.#lines.add(line);
    return line;
  }

  /** The same function, whose calls the end of the pair waits for. */
  #followed<A extends unknown[], R>(act: (...args: A) => R | Promise<R>): (...args: A) => Promise<R> {
    return (...args) => {
      const running = (async () => await act(...args))();
      const settled = running.then(() => {}, () => {}).finally(() => this.#handlers.delete(settled));
      this.#handlers.add(settled);
      return running;
    };
  }
}

/** Options without those that are left undefined, which would hide the defaults. */
function givenOf(options: TestClientOptions): TestClientOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
