/**
 * HTTP through a connection: what a client fetches from where its server reaches, and serves where its server listens.
 *
 * @module
 */
import type { ClientForwards, RemoteAddress } from "../forward/client.ts";
import type { Forward, ForwardOptions } from "../forward/forward.ts";
import { closedError } from "../transport/closing.ts";
import { requireDeno } from "../wire/system.ts";
import { checkedRequest, checkHttpClient, checkServe } from "./check.ts";
import { Door } from "./door.ts";
import { fetchThrough, type OwnClient } from "./fetch.ts";
import { type HttpClientOptions, makeHttpClient } from "./http_client.ts";
import { type HttpHandler, serveThrough } from "./serve.ts";

/** HTTP through one connection; the methods are those of `SshClient`. */
export class ClientHttp {
  readonly #forwards: ClientForwards;
  /** Those that are open. */
  readonly #clients = new Map<Deno.HttpClient, OwnClient>();
  #door: Door | null = null;
  /** What fetches unless the caller says otherwise. */
  #default: OwnClient | null = null;
  #ended: { readonly reason: unknown } | null = null;

  /** Over a connection's paths. */
  constructor(forwards: ClientForwards) {
    this.#forwards = forwards;
    forwards.host.ending.watch((lost) => {
      this.#ended = { reason: lost?.error ?? closedError(null) };
      for (const client of [...this.#clients.keys()]) client.close();
    });
  }

  /** See `SshClient.fetch()`. */
  async fetch(
    input: string | URL | Request,
    init?: RequestInit & { client?: Deno.HttpClient | undefined },
  ): Promise<Response> {
    checkRuntime("fetch through a connection");
    const given = init?.client;
    // With the connection all of them have ended, and that is what there is to say then.
    if (this.#ended === null && given !== undefined && !this.#clients.has(given)) {
      throw new TypeError(
        "Cannot use `client`: it must be one that `createHttpClient()` of this connection has made, and still open",
      );
    }
    const request = checkedRequest(input, init);
    try {
      const way = this.#way(), own = given === undefined ? this.#default ??= this.#make({}) : this.#clients.get(given)!;
      return await fetchThrough(way, own, request);
    } catch (error) {
      // Where Deno has begun with it, it has let go of it as well.
      request.body?.cancel(error).catch(() => {});
      throw error;
    }
  }

  /** See `SshClient.createHttpClient()`. */
  createHttpClient(options: HttpClientOptions): Deno.HttpClient {
    checkRuntime("make an HTTP client");
    checkHttpClient(options);
    return this.#make(options).client;
  }

  /** See `SshClient.serve()`. */
  async serve(options: RemoteAddress & ForwardOptions, handler: HttpHandler): Promise<Forward> {
    checkRuntime("serve HTTP through a connection");
    checkServe(options, handler);
    const { signal, onError, maxConnections, ...from } = options, { host, listeners } = this.#forwards;
    try {
      return await serveThrough(host, listeners, from, handler, { signal, onError, maxConnections });
    } catch (error) {
      throw withPermission("serve()", error);
    }
  }

  #make(options: HttpClientOptions): OwnClient {
    const client = makeHttpClient(this.#way(), options, () => this.#clients.delete(client));
    const own: OwnClient = { client, path: options.path };
    this.#clients.set(client, own);
    return own;
  }

  #way(): Door {
    if (this.#ended !== null) throw this.#ended.reason;
    try {
      return this.#door ??= new Door(this.#forwards.host);
    } catch (error) {
      throw withPermission("fetch()", error);
    }
  }
}

/** The HTTP client and server are Deno's. */
function checkRuntime(what: string): void {
  requireDeno(what, "`dial()` and `listen()` give connections, for an HTTP of your own");
}

/** An error that says which permission is missing, where one is. */
function withPermission(what: string, cause: unknown): unknown {
  if (!(cause instanceof Deno.errors.NotCapable)) return cause;
  const message = `Cannot use ${what} of a connection without --allow-net=127.0.0.1: between Deno's HTTP and the ` +
    `connection is a socket of this machine (${cause.message})`;
  return new Deno.errors.NotCapable(message, { cause });
}
