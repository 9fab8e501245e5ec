/**
 * L6. `serve()` and `serveConn()`: listening, the limits before login, and one served connection.
 *
 * @module
 */
import { checkBanner, defaultSignatureAlgorithms, serveAuth } from "../auth/server.ts";
import type { Grants } from "../auth/grants.ts";
import type { AuthenticatedUser, ServerAuth } from "../auth/types.ts";
import { Mux } from "../connection/mux.ts";
import { DisconnectReason, SshAuthError, SshError, SshProtocolError } from "../errors.ts";
import type { Signer } from "../keys/types.ts";
import { acceptSessions } from "../session/accept_sessions.ts";
import type { SessionHandler } from "../session/server_session.ts";
import { abortedError } from "../transport/closing.ts";
import { SecureTransport } from "../transport/secure_transport.ts";
import type { TraceEvent } from "../transport/transport_options.ts";
import type { Algorithms, RekeyLimits } from "../transport/types.ts";
import { TurnShare } from "../wire/turns.ts";
import { callBack } from "../wire/callback.ts";
import { Timer } from "../wire/timer.ts";
import type { ByteDuplex } from "../wire/types.ts";
import { Admission, type MaxStartups, type Ticket } from "./admission.ts";
import {
  checkConnection,
  checkCounts,
  checkMaxStartups,
  checkPort,
  checkServerHostKeys,
  checkTimes,
} from "./check_options.ts";
import { given, type KeepaliveOptions } from "./options.ts";
import { turnAway } from "./turn_away.ts";

/** Options of {@linkcode serve}; names follow `Deno.serve`. */
export interface ServeOptions {
  /** Address to bind. @default {"0.0.0.0"} */
  hostname?: string;
  /** TCP port; 0 takes a free one. @default {22} */
  port?: number;
  /** At least one; no key is ever made up. */
  hostKeys: readonly Signer[];
  /** Who may log in; required, so that an open server is a written decision. Without a handler in it nobody gets in. */
  auth: ServerAuth;
  /** Shell and exec sessions; both are refused without it. */
  handler?: SessionHandler;
  /** Subsystems by name. */
  subsystems?: Readonly<Record<string, SessionHandler>>;
  /** Overrides of the preference lists. */
  algorithms?: Partial<Algorithms>;
  /** When to rekey. */
  rekey?: RekeyLimits;
  /**
   * Receive window that each channel starts with, in bytes. On a path that is fast and long it grows up to eightfold, and
   * to 16 MiB at most. @default {2097152}
   */
  window?: number;
  /** Milliseconds allowed until login; `Infinity` waits without end. @default {120000} */
  loginTimeout?: number;
  /** Failed attempts allowed. @default {6} */
  maxAuthTries?: number;
  /** Connections without a login from which some, and at `full` all, are turned away. @default {{ begin: 10, rate: 30, full: 100 }} */
  maxStartups?: MaxStartups;
  /**
   * Connections without a login that one source may hold at a time, and make per second; a source is an IPv4 address or an IPv6 /64.
   * Logins do not count. At the limit a new one takes the place of the source's oldest, if that has had a second. @default {10}
   */
  maxStartupsPerSource?: number;
  /** Sessions at a time on one connection. @default {10} */
  maxSessions?: number;
  /** Channels at a time on one connection. @default {256} */
  maxChannels?: number;
  /** Text sent before the login. */
  banner?: string;
  /** Identification, without `SSH-2.0-`. */
  ident?: string;
  /**
   * Takes RSA user keys from so many bits on, 1,024 at least: for devices that have nothing better. Keys of 1,024 bits can be
   * broken by those who spend enough. @default {2048}
   */
  insecureMinRsaBits?: number | undefined;
  /** Asks a silent client for a sign of life, and ends the connection when it stays silent. @default {off} */
  keepalive?: KeepaliveOptions;
  /** Stops listening and ends every connection at once; the server's own dispose lets what was written leave first. */
  signal?: AbortSignal;
  /** Called when the server listens. What it throws goes to `onError`. */
  onListen?: (addr: Deno.NetAddr) => void;
  /** Called for connection and handler errors. What it throws is ignored, at once or by a promise. */
  onError?: (error: unknown) => void;
  /** Told of what happens on connections, for whoever debugs: never a payload, never a secret. */
  trace?: (event: TraceEvent) => void;
}

/** Options of {@linkcode serveConn}. */
export type ServeConnOptions = Omit<ServeOptions, "hostname" | "port" | "onListen">;

/** A running server: the shape of `Deno.HttpServer`. */
export interface SshServer extends AsyncDisposable {
  /** Where it listens. */
  readonly addr: Deno.NetAddr;
  /** Settles when the server has stopped and its connections have ended; never rejects. */
  readonly finished: Promise<void>;
  /** Accepts no more, drops who has not logged in, waits for the open connections. */
  shutdown(): Promise<void>;
  /** Keeps the event loop alive. */
  ref(): void;
  /** Lets the event loop end. */
  unref(): void;
  /**
   * Stops listening, closes every connection, and waits for that. What handlers have written leaves first; where a client takes nothing
   * of it for 3 seconds, or not all in 30, `onError` is told how much was lost.
   */
  [Symbol.asyncDispose](): Promise<void>;
}

const DEFAULT_LOGIN_TIMEOUT = 120_000;
const DEFAULT_MAX_STARTUPS: MaxStartups = { begin: 10, rate: 30, full: 100 };
const DEFAULT_PER_SOURCE = 10;
const DEFAULT_MAX_SESSIONS = 10;
/** Milliseconds without accepting after an error such as too many open files; doubled each time up to the second. */
const ACCEPT_PAUSE = { first: 5, longest: 1000 };

/**
 * Listens and serves, like `Deno.serve`.
 *
 * Throws `TypeError` without host keys and for algorithms that are not known or fit none of the keys, `RangeError` for limits that
 * make no sense, and what `Deno.listen` throws. Errors of
 * connections and handlers go to `onError` and never end the server.
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
  checkOptions(options);
  if (options.port !== undefined) checkPort(options.port, 0);
  options.signal?.throwIfAborted();
  const listener = Deno.listen({ hostname: options.hostname ?? "0.0.0.0", port: options.port ?? 22, transport: "tcp" });
  return new Server(listener, options);
}

/**
 * Serves one connection that is already there. Resolves when it has ended cleanly, and rejects with the `SshError` that ended it
 * otherwise. A socket should have `setNoDelay(true)`.
 */
export async function serveConn(conn: ByteDuplex, options: ServeConnOptions): Promise<void> {
  checkOptions(options);
  await new ServedConnection(conn, options).run(() => {});
}

function checkOptions(options: ServeConnOptions): void {
  checkServerHostKeys(options.hostKeys, options.algorithms);
  if (typeof options.auth !== "object" || options.auth === null) {
    throw new TypeError("Cannot serve without `auth`: it says who may log in, and `{}` lets nobody in");
  }
  checkConnection(options);
  checkCounts(options);
  checkTimes(options);
  if (options.maxStartups !== undefined) checkMaxStartups(options.maxStartups);
  if (options.banner !== undefined) checkBanner(options.banner);
}

/** One connection, from its first byte to its end. */
class ServedConnection {
  readonly #options: ServeConnOptions;
  readonly #transport: SecureTransport;
  readonly #remoteAddr: Deno.Addr | undefined;
  /** Absolute: neither progress nor chatter moves it. */
  readonly #loginTimer: Timer;
  readonly #expiry = new Timer(() => this.#transport.fail(expired()));
  #mux: Mux | null = null;
  #refed = true;

  constructor(conn: ByteDuplex, options: ServeConnOptions, isSocket = false) {
    this.#options = options;
    this.#remoteAddr = "remoteAddr" in conn ? conn.remoteAddr as Deno.Addr : undefined;
    this.#transport = new SecureTransport(conn, {
      role: "server",
      copyingWritable: isSocket,
      hostKeys: options.hostKeys,
      signatureAlgorithms: defaultSignatureAlgorithms,
      ...given(options, "algorithms", "rekey", "ident", "trace"),
    });
    const { loginTimeout = DEFAULT_LOGIN_TIMEOUT } = options;
    this.#loginTimer = new Timer(() => this.#transport.fail(tooSlow(loginTimeout)));
  }

  /** Whether the connection's timers keep the program alive; its socket has a word of its own. */
  setRef(refed: boolean): void {
    this.#refed = refed;
    this.#transport.setRef(refed);
    this.#mux?.setRef(refed);
    for (const timer of [this.#loginTimer, this.#expiry]) refed ? timer.ref() : timer.unref();
  }

  /** Serves until the end; `onLogin` is called once when the user has logged in. */
  async run(onLogin: () => void): Promise<void> {
    const { auth, loginTimeout = DEFAULT_LOGIN_TIMEOUT, signal } = this.#options;
    const onAbort = (): void => void this.#transport.end(abortedError(signal!));
    this.#loginTimer.start(loginTimeout);
    signal?.addEventListener("abort", onAbort);
    try {
      if (signal?.aborted) onAbort();
      await this.#transport.start();
      await serveAuth(this.#transport, {
        auth,
        remoteAddr: this.#remoteAddr,
        onError: (error) => report(this.#options.onError, error),
        ...given(this.#options, "maxAuthTries", "banner", "insecureMinRsaBits"),
        onSuccess: (user, passed, grants) => {
          this.#loginTimer.stop();
          this.#mux = this.#makeMux(user, passed, grants);
          this.#expiry.start(grants.expires - Date.now());
          this.#mux.setRef(this.#refed);
          this.#transport.setHandler(this.#mux);
          onLogin();
        },
      });
    } catch (error) {
      // Both have ended the connection already; `closed` tells why, and whether the end was clean.
      this.#transport.fail(error instanceof Error ? error : new SshError("Connection failed", { code: "CLOSED" }));
    } finally {
      this.#loginTimer.stop();
      try {
        await this.#transport.closed;
      } finally {
        this.#expiry.stop();
        signal?.removeEventListener("abort", onAbort);
      }
    }
  }

  /** Disconnects, behind what has been written. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  /** Makes room for a client from elsewhere. */
  dismiss(): void {
    this.#transport.fail(
      new SshProtocolError("Too many connections without a login", DisconnectReason.TOO_MANY_CONNECTIONS),
    );
  }

  #makeMux(user: AuthenticatedUser, passed: readonly string[], grants: Grants): Mux {
    const { handler, subsystems, maxSessions = DEFAULT_MAX_SESSIONS } = this.#options;
    const onError = (error: unknown): void => report(this.#options.onError, error);
    const mux = new Mux(this.#transport, { ...given(this.#options, "window", "maxChannels", "keepalive"), onError });
    const info = { username: user.name, remoteAddr: this.#remoteAddr, connection: this.#transport.info, passed };
    acceptSessions(mux, { user, info, grants, handler, subsystems, maxSessions, onError });
    return mux;
  }
}

function expired(): SshError {
  return new SshProtocolError("The login has expired", DisconnectReason.NO_MORE_AUTH_METHODS_AVAILABLE);
}

function tooSlow(limit: number): SshAuthError {
  return new SshAuthError(`Client did not log in within ${limit} ms`, []);
}

/** An error of the error handler has nowhere to go, and must not end the server. */
function report(onError: ((error: unknown) => void) | undefined, error: unknown): void {
  callBack(() => onError?.(error));
}

class Server implements SshServer {
  readonly addr: Deno.NetAddr;
  readonly finished: Promise<void>;
  readonly #listener: Deno.TcpListener;
  readonly #options: ServeOptions;
  readonly #admission: Admission;
  /** Those that have not logged in are false. */
  readonly #connections = new Map<ServedConnection, boolean>();
  readonly #sockets = new Set<Deno.TcpConn>();
  readonly #serving = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #refed = true;

  constructor(listener: Deno.TcpListener, options: ServeOptions) {
    this.#listener = listener;
    this.#options = options;
    this.addr = listener.addr as Deno.NetAddr;
    this.#admission = new Admission({
      maxStartups: options.maxStartups ?? DEFAULT_MAX_STARTUPS,
      maxStartupsPerSource: options.maxStartupsPerSource ?? DEFAULT_PER_SOURCE,
    });
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
    callBack(() => onListen?.(this.addr), (error) => report(this.#options.onError, error));
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
        report(this.#options.onError, error);
        pause = Math.min(pause === 0 ? ACCEPT_PAUSE.first : 2 * pause, ACCEPT_PAUSE.longest);
        await sleep(pause, this.#stop.signal);
      }
    }
  }

  #admit(socket: Deno.TcpConn): void {
    let ticket: Ticket | null;
    try {
      // Throws when the client has reset the connection already.
      socket.setNoDelay(true);
      if (!this.#refed) socket.unref();
      ticket = this.#admission.admit((socket.remoteAddr as Deno.NetAddr).hostname);
    } catch {
      return closeSocket(socket);
    }
    if (ticket === null) {
      turnAway(socket, this.#options.ident, DisconnectReason.TOO_MANY_CONNECTIONS);
      return;
    }
    const serving = this.#serve(socket, ticket).finally(() => this.#serving.delete(serving));
    this.#serving.add(serving);
  }

  async #serve(socket: Deno.TcpConn, ticket: Ticket): Promise<void> {
    this.#sockets.add(socket);
    try {
      const connection = new ServedConnection(socket, this.#options, true);
      connection.setRef(this.#refed);
      this.#connections.set(connection, false);
      ticket.onDismissed = () => connection.dismiss();
      try {
        await connection.run(() => {
          ticket.loggedIn();
          this.#connections.set(connection, true);
        });
      } finally {
        this.#connections.delete(connection);
      }
    } catch (error) {
      report(this.#options.onError, error);
    } finally {
      ticket.ended();
      this.#sockets.delete(socket);
      closeSocket(socket);
    }
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
