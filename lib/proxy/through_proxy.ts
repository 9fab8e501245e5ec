/**
 * Asks a proxy for a connection, over streams to it that are open. No I/O of its own.
 *
 * @module
 */
import { abortable } from "../wire/abortable.ts";
import type { ByteDuplex } from "../wire/types.ts";
import type { ProxyTarget } from "./address.ts";
import { askHttp } from "./http_connect.ts";
import { ProxyStreams } from "./proxy_streams.ts";
import { checkTarget, type Proxy } from "./proxy_url.ts";
import { askSocks4a, askSocks5 } from "./socks.ts";

const ask = { socks5: askSocks5, socks4a: askSocks4a, http: askHttp } as const;

/**
 * Resolves to streams to `target`: those that were given, where nothing of the target's has been read with the proxy's answer, as
 * never happens with byte streams. Rejects with what the proxy says, or with the reason of the signal; then both streams are given up, and
 * who opened the connection closes it. Rejects with `TypeError` for a target that the proxy cannot be asked for.
 */
export async function throughProxy(
  conn: ByteDuplex,
  proxy: Proxy,
  target: ProxyTarget,
  signal?: AbortSignal,
): Promise<ByteDuplex> {
  // Lengths that do not fit would have the proxy read something else.
  checkTarget(proxy, target);
  const streams = new ProxyStreams(conn);
  try {
    signal?.throwIfAborted();
    await abortable(ask[proxy.kind](streams, proxy, target), signal);
    return streams.release();
  } catch (error) {
    streams.giveUp(error);
    throw error;
  }
}
