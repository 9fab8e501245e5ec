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
import { type Gate, limitsOf, LocalGate, type OnRefuses, type Pass } from "./admission/gate.ts";
import type { Offence } from "./admission/penalties.ts";
import { RemoteGate } from "./admission/remote_gate.ts";
import { checkServe } from "./check_serve.ts";
import { type ErrorReports, errorReports } from "./error_reports.ts";
import { given } from "./options.ts";
import type { ServeConnOptions, ServeOptions, SshServer } from "./serve_options.ts";
import { ServedConnection } from "./served_connection.ts";
import { type Refusal, turnAway } from "./admission/turn_away.ts";
import { closeSocket } from "./socket_streams.ts";

export type { ServeConnOptions, ServeOptions, SshServer } from "./serve_options.ts";

/** Connections about which it was asked elsewhere whether they may come in, and not been answered: no more are accepted then. */
const MAX_UNDECIDED = 32;
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
  const reports = errorReports(options.onError), gate = gateOf(options, reports);
  try {
    return new Server(Deno.listen(where), options, reports, gate);
  } catch (error) {
    gate.close();
    throw error;
  }
}

/**
 * Serves one connection that is already there. Resolves when it has ended cleanly, and rejects with the `SshError` that ended it
 * otherwise. A socket should have `setNoDelay(true)`.
 */
export async function serveConn(conn: ByteDuplex, options: ServeConnOptions): Promise<void> {
  checkServe(options, "serveConn()");
  checkDuplex("conn", conn, true);
  await new ServedConnection(conn, options).run(() => {});
}

/** Who decides before the login: the server by itself, or with others. */
function gateOf(options: ServeOptions, reports: ErrorReports): Gate {
  const onRefuses: OnRefuses = (address, time) => {
    const message = `Refuses ${address} for ${Math.round(time / 1000)} s: too many of its connections failed to log in`;
    reports.connection(new SshError(`${message}; see \`penalties\` of serve()`, { code: "AUTH_FAILED" }));
  };
  const { admission } = options;
  return admission === undefined ? new LocalGate(limitsOf(options), onRefuses) : new RemoteGate(admission, onRefuses);
}

class Server implements SshServer {
  readonly addr: Deno.NetAddr;
  readonly finished: Promise<void>;
  readonly #listener: Deno.TcpListener;
  readonly #options: ServeOptions;
  readonly #reports: ErrorReports;
  readonly #gate: Gate;
  /** Those that have not logged in are false. */
  readonly #connections = new Map<ServedConnection, boolean>();
  readonly #sockets = new Set<Deno.TcpConn>();
  readonly #serving = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #undecided = 0;
  #refed = true;

  constructor(listener: Deno.TcpListener, options: ServeOptions, reports: ErrorReports, gate: Gate) {
    this.#listener = listener;
    this.#options = options;
    this.#reports = reports;
    this.#gate = gate;
    this.addr = listener.addr as Deno.NetAddr;
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
    this.#gate.stop();
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
    this.#gate.close();
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
        const undecided = this.#take(socket);
        if (this.#undecided >= MAX_UNDECIDED) await undecided;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        this.#reports.program(error);
        pause = Math.min(pause === 0 ? ACCEPT_PAUSE.first : 2 * pause, ACCEPT_PAUSE.longest);
        await sleep(pause, this.#stop.signal);
      }
    }
  }

  /** Serves a socket that may come in; a promise where that is asked elsewhere, which settles with the answer. */
  #take(socket: Deno.TcpConn): void | Promise<void> {
    let address: string;
    try {
      // Throws when the client has reset the connection already.
      socket.setNoDelay(true);
      if (!this.#refed) socket.unref();
      address = (socket.remoteAddr as Deno.NetAddr).hostname;
    } catch {
      return closeSocket(socket);
    }
    const verdict = this.#gate.admit(address);
    if (!(verdict instanceof Promise)) return this.#judge(socket, verdict);
    this.#undecided++;
    this.#sockets.add(socket);
    const undecided = verdict.then((verdict) => {
      this.#undecided--;
      this.#serving.delete(undecided);
      this.#sockets.delete(socket);
      this.#judge(socket, verdict);
    });
    this.#serving.add(undecided);
    return undecided;
  }

  #judge(socket: Deno.TcpConn, verdict: Pass | Refusal): void {
    if ("reason" in verdict) return this.#during(turnAway(socket, this.#options.ident, verdict));
    if (this.#stop.signal.aborted) {
      // The answer came while the server stopped.
      verdict.ended(null);
      return closeSocket(socket);
    }
    this.#during(this.#serve(socket, verdict));
  }

  /** The server has stopped when this is done, and no sooner. */
  #during(work: Promise<void>): void {
    const serving = work.finally(() => this.#serving.delete(serving));
    this.#serving.add(serving);
  }

  async #serve(socket: Deno.TcpConn, pass: Pass): Promise<void> {
    this.#sockets.add(socket);
    let offence: Offence | null = null, reports = this.#reports;
    try {
      const connection = new ServedConnection(socket, this.#options, true);
      reports = connection.reports;
      connection.setRef(this.#refed);
      this.#connections.set(connection, false);
      pass.onDismissed = () => connection.dismiss();
      try {
        await connection.run(() => {
          pass.loggedIn();
          this.#connections.set(connection, true);
        });
      } finally {
        offence = connection.offence;
        this.#connections.delete(connection);
      }
    } catch (error) {
      reports.connection(error);
    } finally {
      this.#sockets.delete(socket);
      closeSocket(socket);
      pass.ended(offence);
    }
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
