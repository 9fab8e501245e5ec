/**
 * `serve()` and `serveConn()`: listening, and the limits before login.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import { checkDuplex } from "../wire/check.ts";
import { callBack } from "../wire/callback.ts";
import { TurnShare } from "../wire/turns.ts";
import { requireDeno, requireReusePort } from "../wire/system.ts";
import type { ByteDuplex } from "../wire/types.ts";
import { Admission, type MaxStartups, type Ticket } from "./admission/admission.ts";
import { checkServe } from "./check_serve.ts";
import { type ErrorReports, errorReports } from "./error_reports.ts";
import { given } from "./options.ts";
import { type Offence, Penalties } from "./admission/penalties.ts";
import type { ServeConnOptions, ServeOptions, SshServer } from "./serve_options.ts";
import { ServedConnection } from "./served_connection.ts";
import { NOT_ALLOWED, TOO_MANY, turnAway } from "./admission/turn_away.ts";

export type { ServeConnOptions, ServeOptions, SshServer } from "./serve_options.ts";

/** OpenSSH's, but for `begin`: its 10 turns away half of a burst of clients. */
const DEFAULT_MAX_STARTUPS: MaxStartups = { begin: 60, rate: 30, full: 100 };
const DEFAULT_PER_SOURCE = 60;
/** Milliseconds without accepting after an error such as too many open files; doubled each time up to the second. */
const ACCEPT_PAUSE = { first: 5, longest: 1000 };

/**
 * Listens and serves, like `Deno.serve`.
 *
 * Throws `TypeError` without host keys, for algorithms that are not known or fit none of the keys and for options of another kind than
 * they should be, `RangeError` for limits that make no sense, and what `Deno.listen` throws. Errors of connections and handlers go to
 * `onError`, or without it those of handlers to the console, and never end the server.
 *
 * @example A server that answers one command
 * ```ts
 * import { generateKey, serve } from "@amiko/ssh";
 *
 * await using server = serve({
 *   hostname: "127.0.0.1",
 *   port: 0,
 *   hostKeys: [await generateKey()],
 *   auth: { password: ({ username }, password) => username === "alice" && password === "wonderland" },
 *   async handler(session) {
 *     const writer = session.stdout.getWriter();
 *     await writer.write(new TextEncoder().encode(`You said ${session.command}\n`));
 *     return 0;
 *   },
 * });
 * console.log(`ssh -p ${server.addr.port} alice@127.0.0.1 hello`);
 * ```
 */
export function serve(options: ServeOptions): SshServer {
  checkServe(options, "serve()");
  options.signal?.throwIfAborted();
  requireDeno("listen", "`serveConn()` serves a pair of streams");
  const { hostname = "0.0.0.0", port = 22, reusePort = false } = options;
  if (reusePort) requireReusePort();
  // Deno's stable types do not know of `reusePort`.
  const where = { hostname, port, reusePort, ...given(options, "tcpBacklog") };
  return new Server(Deno.listen(where), options);
}

/**
 * Serves one connection that is already there. Resolves when it has ended cleanly, and rejects with the `SshError` that ended it
 * otherwise. A socket should have `setNoDelay(true)`.
 */
export async function serveConn(conn: ByteDuplex, options: ServeConnOptions): Promise<void> {
  checkServe(options, "serveConn()");
  checkDuplex("conn", conn, true);
  await new ServedConnection(conn, options, errorReports(options.onError)).run(() => {});
}

class Server implements SshServer {
  readonly addr: Deno.NetAddr;
  readonly finished: Promise<void>;
  readonly #listener: Deno.TcpListener;
  readonly #options: ServeOptions;
  readonly #reports: ErrorReports;
  readonly #admission: Admission;
  readonly #penalties: Penalties | null;
  /** Those that have not logged in are false. */
  readonly #connections = new Map<ServedConnection, boolean>();
  readonly #sockets = new Set<Deno.TcpConn>();
  readonly #serving = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #refed = true;

  constructor(listener: Deno.TcpListener, options: ServeOptions) {
    this.#listener = listener;
    this.#options = options;
    this.#reports = errorReports(options.onError);
    this.addr = listener.addr as Deno.NetAddr;
    this.#admission = new Admission({
      maxStartups: options.maxStartups ?? DEFAULT_MAX_STARTUPS,
      maxStartupsPerSource: options.maxStartupsPerSource ?? DEFAULT_PER_SOURCE,
    });
    this.#penalties = options.penalties === false ? null : new Penalties(options.penalties);
    this.finished = this.#run();
  }

  async shutdown(): Promise<void> {
    this.#close();
    for (const [connection, loggedIn] of this.#connections) if (!loggedIn) void connection.close();
    await this.finished;
  }

  ref(): void {
    this.#refed = true;
    this.#listener.ref();
    for (const socket of this.#sockets) socket.ref();
    for (const connection of this.#connections.keys()) connection.setRef(true);
  }

  unref(): void {
    this.#refed = false;
    this.#listener.unref();
    for (const socket of this.#sockets) socket.unref();
    for (const connection of this.#connections.keys()) connection.setRef(false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    for (const connection of this.#connections.keys()) void connection.close();
    await this.finished;
  }

  /** Stops listening. */
  #close(): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    this.#listener.close();
  }

  async #run(): Promise<void> {
    const { signal, onListen } = this.#options;
    // Connections watch the signal themselves.
    const onAbort = (): void => this.#close();
    signal?.addEventListener("abort", onAbort);
    // As a promise's reaction, so that `onListen` may use what `serve()` returned.
    await null;
    callBack(() => onListen?.(this.addr), this.#reports.program);
    await this.#accept();
    while (this.#serving.size > 0) await Promise.all(this.#serving);
    signal?.removeEventListener("abort", onAbort);
  }

  /** Accepts until the listener is closed, whatever happens to single connections (EMFILE, a reset in the queue). */
  async #accept(): Promise<void> {
    const share = new TurnShare();
    let pause = 0;
    while (!this.#stop.signal.aborted) {
      // While connections are waiting, accepting them does not return to the event loop.
      if (share.isUsed) await share.next();
      try {
        const socket = await this.#listener.accept();
        pause = 0;
        this.#admit(socket);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        this.#reports.program(error);
        pause = Math.min(pause === 0 ? ACCEPT_PAUSE.first : 2 * pause, ACCEPT_PAUSE.longest);
        await sleep(pause, this.#stop.signal);
      }
    }
  }

  #admit(socket: Deno.TcpConn): void {
    const { ident } = this.#options;
    let address: string;
    try {
      // Throws when the client has reset the connection already.
      socket.setNoDelay(true);
      if (!this.#refed) socket.unref();
      address = (socket.remoteAddr as Deno.NetAddr).hostname;
    } catch {
      return closeSocket(socket);
    }
    if (this.#penalties !== null && this.#penalties.refusedFor(address) > 0) {
      return turnAway(socket, ident, NOT_ALLOWED);
    }
    const ticket = this.#admission.admit(address);
    if (ticket === null) return turnAway(socket, ident, TOO_MANY);
    const serving = this.#serve(socket, ticket, address).finally(() => this.#serving.delete(serving));
    this.#serving.add(serving);
  }

  async #serve(socket: Deno.TcpConn, ticket: Ticket, address: string): Promise<void> {
    this.#sockets.add(socket);
    let offence: Offence | null = null, dismissed = false;
    try {
      const connection = new ServedConnection(socket, this.#options, this.#reports, true);
      connection.setRef(this.#refed);
      this.#connections.set(connection, false);
      ticket.onDismissed = () => {
        dismissed = true;
        connection.dismiss();
      };
      try {
        await connection.run(() => {
          ticket.loggedIn();
          this.#connections.set(connection, true);
        });
      } finally {
        offence = connection.offence;
        this.#connections.delete(connection);
      }
    } catch (error) {
      this.#reports.connection(error);
    } finally {
      ticket.ended();
      this.#sockets.delete(socket);
      closeSocket(socket);
      // What the server ended to make room is no fault of the client, but what it tried until then is.
      if (offence !== null && (!dismissed || offence === "authFail")) this.#punish(address, offence);
    }
  }

  #punish(address: string, offence: Offence): void {
    const time = this.#penalties?.punish(address, offence) ?? 0;
    if (time === 0) return;
    const message = `Refuses ${address} for ${Math.round(time / 1000)} s: too many of its connections failed to log in`;
    this.#reports.connection(new SshError(`${message}; see \`penalties\` of serve()`, { code: "AUTH_FAILED" }));
  }
}

/** The streams of a socket close it; this is for what was never read. */
function closeSocket(socket: Deno.TcpConn): void {
  try {
    socket.close();
  } catch {
    // It is closed.
  }
}

function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
  });
}
