/**
 * The way from Deno's HTTP client into the connection: a SOCKS server on the loopback address that lets this program in, and nobody else.
 * RFC 1928, RFC 1929.
 *
 * Other users of the machine can connect to it, too. So a random login is wanted of whoever does, and with it every path of this machine
 * into the connection is the program's own. Who logs in says by its user name what it wants: whatever it names, or one Unix socket.
 *
 * @module
 */
import { equalBytes } from "../crypto/constant_time.ts";
import { randomBytes } from "../crypto/random.ts";
import { forwardDynamic, type ForwardHost, type RemoteTarget } from "../forward/standing.ts";
import { closedError } from "../transport/closing.ts";
import { toHex } from "../wire/base_text.ts";

const ANY_HOST = "tcp", ONE_PATH = "unix:";
/** Bytes of the path of a Unix socket that can be asked for: what a login's user name has room for. Systems take 107. */
export const LONGEST_PATH = 250;

/** Connections that could not be made, or were cut, whose reasons are kept until somebody asks: so many of each. */
const MOST_FAILURES = 256;

/** A connection that could not be made, or was cut. */
interface Failure {
  readonly to: string;
  readonly at: number;
  readonly error: unknown;
}

const utf8 = new TextEncoder();

/** The way in of one SSH connection, with which it ends. */
export class Door {
  readonly #port: number;
  readonly #password: string;
  readonly #lost = new AbortController();
  readonly #failures: Failure[] = [];
  readonly #cuts: Failure[] = [];
  #noted = 0;

  /** Opens it, for which it takes the permission to listen on 127.0.0.1. */
  constructor(host: ForwardHost) {
    const { mux, ending } = host, end = (error: unknown): void => this.#lost.abort(error);
    // Ahead of the forward, which cuts the connections: who sees that is to know why.
    ending.watch((lost) => end(lost?.error ?? closedError(null)));
    this.#password = toHex(randomBytes(16));
    const secret = utf8.encode(this.#password);
    const forward = forwardDynamic(host, { hostname: "127.0.0.1", port: 0 }, {}, {
      login: (username, password) => equalBytes(password, secret) && isRoute(username),
      leadsTo: ({ username, hostname, port }) =>
        username === ANY_HOST ? { hostname, port } : { path: username.slice(ONE_PATH.length) },
      // Channels know of the end before anybody else does.
      opened: (conn) => void conn.closed.catch((error) => mux.hasEnded && end(error)),
      refused: (to, error) => this.#note(this.#failures, to, error),
      cut: (to, error) => this.#note(this.#cuts, to, error),
    });
    this.#port = (forward.addr as Deno.NetAddr).port;
  }

  /** Aborts when the connection has ended, with the reason. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** What Deno's HTTP client is told of it; with a path, every request leads to that Unix socket on the server's side. */
  proxy(path: string | undefined): Deno.Proxy {
    const username = path === undefined ? ANY_HOST : ONE_PATH + path;
    return { url: `socks5h://127.0.0.1:${this.#port}`, basicAuth: { username, password: this.#password } };
  }

  /** A moment, for {@linkcode Door.failure} and {@linkcode Door.cut}. */
  get now(): number {
    return this.#noted;
  }

  /** Why the last connection to `to` that was tried since a moment could not be made; null where none has failed. */
  failure(to: RemoteTarget, since: number): unknown {
    return lastOf(this.#failures, to, since);
  }

  /** How the far end has cut a connection to `to` since a moment; null where it has cut none. */
  cut(to: RemoteTarget, since: number): unknown {
    return lastOf(this.#cuts, to, since);
  }

  #note(list: Failure[], to: RemoteTarget, error: unknown): void {
    list.push({ to: keyOf(to), at: ++this.#noted, error });
    if (list.length > MOST_FAILURES) list.shift();
  }
}

function lastOf(list: readonly Failure[], to: RemoteTarget, since: number): unknown {
  const key = keyOf(to);
  return list.findLast((one) => one.to === key && one.at > since)?.error ?? null;
}

function isRoute(username: string): boolean {
  return username === ANY_HOST || username.startsWith(ONE_PATH) && username.length > ONE_PATH.length;
}

function keyOf(to: RemoteTarget): string {
  return "path" in to ? `${ONE_PATH}${to.path}` : `${to.port} ${to.hostname.toLowerCase()}`;
}
