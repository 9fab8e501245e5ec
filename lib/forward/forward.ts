/**
 * A standing forward: what it listens on, the connections that it carries just now, how they and it end. RFC 4254 section 7.
 * No I/O of its own.
 *
 * A forward runs until it is closed, its signal aborts, or the SSH connection ends. While it is being shut down it listens no more and
 * waits for its connections; being closed it cuts them. What goes wrong with one connection is told to `onError` and ends nothing else.
 *
 * @module
 */
import { callBack } from "../wire/callback.ts";
import type { MaybePromise } from "../wire/types.ts";
import type { Ending } from "./ending.ts";

/** One connection of a {@linkcode Forward}. */
export interface ForwardedConnection {
  /** Who has connected, as far as the listening side tells; a Unix socket does not. */
  readonly from: Deno.Addr;
  /** Where it leads; null while a SOCKS client has not said so, and where it leads to a handler of `serve()`. */
  readonly to: Deno.Addr | null;
  /** Cuts it: both ends are closed, and nothing is told to `onError`. */
  close(): void;
}

/** Options of a {@linkcode Forward}. */
export interface ForwardOptions {
  /** Ends the forward, as `close()` does. */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds to wait for what is opened: for the server to listen, where it does, and for each connection to be made. After that
   * `forwardRemote()` and `serve()` reject with a `TimeoutError` that says what was waited for; a connection is closed, and `onError` told
   * that error. @default {Infinity}
   */
  timeout?: number | undefined;
  /**
   * Told of each connection that failed: its target refused, one of its ends was reset, a SOCKS client sent something else. Also told,
   * without a connection, where accepting failed for a reason that may pass, such as too many open files.
   */
  onError?: ((error: unknown, connection: ForwardedConnection | null) => void) | undefined;
  /**
   * Connections at a time. Where it listens here, no more are accepted until there is room again; where the server listens, more are
   * refused. @default {1024}
   */
  maxConnections?: number | undefined;
}

/** A standing forward. */
export interface Forward extends AsyncDisposable {
  /** Where it listens, with the real port when 0 was asked for. */
  readonly addr: Deno.Addr;
  /** The connections that are open, or being opened. */
  readonly connections: ReadonlySet<ForwardedConnection>;
  /**
   * Resolves when the forward has been closed, by whatever asked for that, and its connections are; rejects with the error where the SSH
   * connection was lost or listening failed. Never an unhandled rejection.
   */
  readonly finished: Promise<void>;
  /**
   * Stops listening, and resolves when the connections that are open have ended; `close()` and the signal still cut them. Never rejects.
   */
  shutdown(): Promise<void>;
  /** Stops listening and cuts the connections that are open; `finished` resolves then. Safe to call twice; never rejects. */
  close(): Promise<void>;
}

/** Connections of a forward at a time, unless an option says otherwise. */
export const MAX_CONNECTIONS = 1024;

/** A connection as whoever carries it sees it. */
export interface Carried {
  /** Aborts when the connection is to be cut. */
  readonly signal: AbortSignal;
  /** The target is known now. */
  leadsTo(to: Deno.Addr): void;
}

class Connection implements ForwardedConnection, Carried {
  readonly from: Deno.Addr;
  readonly #cut = new AbortController();
  #to: Deno.Addr | null;

  constructor(from: Deno.Addr, to: Deno.Addr | null) {
    this.from = from;
    this.#to = to;
  }

  get to(): Deno.Addr | null {
    return this.#to;
  }

  get signal(): AbortSignal {
    return this.#cut.signal;
  }

  leadsTo(to: Deno.Addr): void {
    this.#to = to;
  }

  close(): void {
    this.#cut.abort();
  }
}

/** A {@linkcode Forward}, and what those do with it who accept its connections. */
export class StandingForward implements Forward {
  readonly addr: Deno.Addr;
  readonly finished: Promise<void>;
  readonly #connections = new Set<Connection>();
  readonly #finished = Promise.withResolvers<void>();
  readonly #options: ForwardOptions;
  readonly #stop: () => MaybePromise<void>;
  readonly #ended: () => MaybePromise<void>;
  readonly #leave: () => void;
  /** Settles when it has stopped listening. */
  #stopped: Promise<void> | null = null;
  #failure: { readonly error: unknown } | null = null;
  /** Wakes who waits for room, and who waits for the last connection's end. */
  #wake = Promise.withResolvers<void>();

  /** `stop` has it listen no more; `ended` is called when its connections have ended, too. Neither may reject. */
  constructor(
    addr: Deno.Addr,
    stop: () => MaybePromise<void>,
    ending: Ending,
    options: ForwardOptions,
    ended: () => MaybePromise<void> = () => {},
  ) {
    this.addr = addr;
    this.#stop = stop;
    this.#ended = ended;
    this.#options = options;
    this.finished = this.#finished.promise;
    this.finished.catch(() => {});
    const { signal } = options, onAbort = (): void => void this.close();
    const unwatch = ending.watch((lost) => lost === null ? void this.close() : this.fail(lost.error));
    this.#leave = () => {
      unwatch();
      signal?.removeEventListener("abort", onAbort);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
  }

  get connections(): ReadonlySet<ForwardedConnection> {
    return this.#connections;
  }

  /** Whether connections are still taken. */
  get isListening(): boolean {
    return this.#stopped === null;
  }

  /** Whether there is room for a connection. */
  get hasRoom(): boolean {
    return this.#connections.size < (this.#options.maxConnections ?? MAX_CONNECTIONS);
  }

  /** Waits for room, or the end. */
  async room(): Promise<void> {
    while (this.isListening && !this.hasRoom) await this.#wake.promise;
  }

  /** Carries a connection: `work` settles when it has ended and nothing of it is open. */
  carry(from: Deno.Addr, to: Deno.Addr | null, work: (carried: Carried) => Promise<void>): void {
    const connection = new Connection(from, to);
    this.#connections.add(connection);
    const done = (): void => {
      this.#connections.delete(connection);
      this.#changed();
    };
    work(connection).then(done, (error) => {
      done();
      if (!connection.signal.aborted) this.report(error, connection);
    });
  }

  /** Something went wrong that does not end the forward. */
  report(error: unknown, connection: ForwardedConnection | null = null): void {
    callBack(() => this.#options.onError?.(error, connection));
  }

  /** Listening has failed, or the SSH connection is lost. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    void this.close();
  }

  shutdown(): Promise<void> {
    return this.#stopped ??= this.#end();
  }

  close(): Promise<void> {
    const stopped = this.shutdown();
    for (const connection of [...this.#connections]) connection.close();
    return stopped;
  }

  #changed(): void {
    const { resolve } = this.#wake;
    this.#wake = Promise.withResolvers();
    resolve();
  }

  async #end(): Promise<void> {
    this.#changed();
    await this.#stop();
    while (this.#connections.size > 0) await this.#wake.promise;
    await this.#ended();
    this.#leave();
    if (this.#failure === null) this.#finished.resolve();
    else this.#finished.reject(this.#failure.error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
