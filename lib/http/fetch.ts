/**
 * Fetching through the server with Deno's own `fetch()`, and saying why that did not work. Reaches the system.
 *
 * @module
 */
import { ChannelOpenError, printable } from "../errors.ts";
import type { RemoteTarget } from "../forward/standing.ts";
import { withWatchedBody } from "./body.ts";
import type { Door } from "./door.ts";

/** A client of ours, and where it leads to besides the hosts of URLs. */
export interface OwnClient {
  /** Deno's side of it. */
  readonly client: Deno.HttpClient;
  /** The Unix socket that all requests lead to. */
  readonly path: string | undefined;
}

/**
 * Fetches through a door. Rejects with the error of a connection that the server could not make, with why the SSH connection has ended,
 * and else as `fetch()` does; the body fails with the end of the SSH connection, too, and where its own was cut at the far end.
 */
export async function fetchThrough(door: Door, own: OwnClient, request: Request): Promise<Response> {
  const { lost, now } = door;
  lost.throwIfAborted();
  try {
    const response = await fetch(request, { client: own.client });
    // Which connection of several to a host it came through nobody tells: one that was cut speaks for each.
    const to = own.path === undefined ? targetOf(new URL(response.url || request.url)) : { path: own.path };
    return withWatchedBody(response, request, { lost, cut: () => door.cut(to, now) });
  } catch (error) {
    if (request.signal.aborted) throw error;
    if (lost.aborted) throw lost.reason;
    throw explained(error, door, now, own.path, request.url);
  }
}

/** What Deno says of a connection that it has made past the proxy, or rather has not made. */
const PAST_PROXY = /client error \(Connect\): (?:dns error|tcp connect error|tcp bind local error)/;

function explained(error: unknown, door: Door, since: number, path: string | undefined, asked: string): unknown {
  if (!(error instanceof Error)) return error;
  const text = error.cause instanceof Error ? error.cause.message : error.message;
  // A redirect leads elsewhere than what was asked for. Where there was a connection, its addresses stand around the URL.
  const named = / for url \((\S+)\): /.exec(text) ?? / for (\S+) \(\S+\): /.exec(text);
  const url = URL.parse(named?.[1] ?? asked) ?? new URL(asked);
  const where = `"${printable(url.origin, 256)}"`;
  if (error instanceof Deno.errors.NotCapable) {
    const message = `Cannot fetch from ${where}: ${error.message}; Deno wants that though the server connects there`;
    return new Deno.errors.NotCapable(message, { cause: error });
  }
  const failure = door.failure(path === undefined ? targetOf(url) : { path }, since);
  if (failure instanceof ChannelOpenError) {
    // With the stack of the call.
    return new ChannelOpenError(failure.message, failure.reason, { cause: failure });
  }
  if (failure !== null) return failure;
  if (!(error instanceof TypeError)) return error;
  if (!PAST_PROXY.test(text)) {
    // Without the URL, which may hold a secret.
    const why = text.replace(/^error sending request .*?: (?=client error)|^Fetch failed: /s, "");
    return new TypeError(`Cannot fetch from ${where}: ${printable(why, 1024)}`, { cause: error });
  }
  const message = `Cannot fetch from ${where}: NO_PROXY names that host, so Deno would not go through the server; ` +
    "unset it, or let the program change it with --allow-env=NO_PROXY,no_proxy";
  return new TypeError(message, { cause: error });
}

function targetOf({ protocol, hostname, port }: URL): RemoteTarget {
  return {
    hostname: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: port === "" ? protocol === "https:" ? 443 : 80 : Number(port),
  };
}
