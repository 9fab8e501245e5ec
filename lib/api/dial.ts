/**
 * The first way to a server, where no other server leads to it: by TCP, through a proxy, through a program, or over streams of the
 * application's own.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import type { ProxyTarget } from "../proxy/address.ts";
import { proxyOfEnvironment } from "../proxy/environment.ts";
import { parseProxy, type Proxy } from "../proxy/proxy_url.ts";
import { throughProxy } from "../proxy/through_proxy.ts";
import { isNotCapable, system } from "../system/system.ts";
import type { TcpSocket } from "../system/types.ts";
import { requireSystem } from "../wire/system.ts";
import { Timer } from "../wire/timer.ts";
import type { DialOptions } from "./connect_options.ts";
import { startProxyCommand } from "./proxy_command.ts";
import { closeSocket, socketStreams } from "./socket_streams.ts";
import type { Way } from "./way.ts";

/** Milliseconds. */
const DEFAULT_DIAL_TIMEOUT = 30_000;

/** A host and its port, for an error. */
export function placeOf({ hostname, port }: ProxyTarget): string {
  return `"${printable(hostname, 256)}" port ${port}`;
}

/** The proxy that the options name, or the environment where they say so. Throws `TypeError` or `RangeError` for what is none. */
export function proxyOf({ proxy }: Pick<DialOptions, "proxy">, hostname: string): Proxy | null {
  if (proxy === undefined) return null;
  if (proxy === "environment") requireSystem('use "environment" as `proxy`', "name the proxy itself");
  return proxy === "environment" ? proxyOfEnvironment((name) => system.env.get(name), hostname) : parseProxy(proxy);
}

/** Dials, or takes what the application has brought. Rejects with `SshError` `CONNECTION_LOST`, or the signal's reason. */
export async function dial(
  options: DialOptions & { readonly username: string },
  target: ProxyTarget,
  signal: AbortSignal,
): Promise<Way> {
  const { transport, proxyCommand, username } = options;
  if (transport !== undefined) return { conn: transport, copies: false };
  if (proxyCommand !== undefined) {
    requireSystem("run `proxyCommand`", "hand over `transport`, such as `await webSocketTransport(url)` gives");
    return startProxyCommand(proxyCommand as readonly [string, ...string[]], { ...target, username });
  }
  requireSystem(
    `connect to ${placeOf(target)}`,
    "hand over `transport`, such as `await webSocketTransport(url)` gives",
  );
  const proxy = proxyOf(options, target.hostname);
  return await whileDialling(options.handshakeTimeout, signal, async (dialling) => {
    const socket = await dialTcp(proxy ?? target, dialling).catch((cause) => {
      throw cannotConnect(proxy === null ? placeOf(target) : `the proxy ${placeOf(proxy)}`, cause, signal);
    });
    const setRef = (refed: boolean): void => refed ? socket.ref() : socket.unref();
    if (proxy === null) return { conn: socket, copies: true, setRef };
    try {
      return { conn: await throughProxy(socketStreams(socket), proxy, target, dialling), copies: true, setRef };
    } catch (cause) {
      closeSocket(socket);
      throw cannotConnect(`${placeOf(target)} through the proxy ${placeOf(proxy)}`, cause, signal);
    }
  });
}

/**
 * Runs `act` for no longer than `limit`, with a signal of its own: it ends with the dialling, so that later aborts say goodbye first.
 */
export async function whileDialling<T>(
  limit = DEFAULT_DIAL_TIMEOUT,
  signal: AbortSignal,
  act: (dialling: AbortSignal) => Promise<T>,
): Promise<T> {
  const dialling = new AbortController();
  const onAbort = (): void => dialling.abort(signal.reason);
  const timer = new Timer(() => {
    dialling.abort(new SshError(`no answer within ${limit} ms`, { code: "CONNECTION_LOST" }));
  });
  signal.throwIfAborted();
  timer.start(limit);
  signal.addEventListener("abort", onAbort);
  try {
    return await act(dialling.signal);
  } finally {
    timer.stop();
    signal.removeEventListener("abort", onAbort);
  }
}

async function dialTcp({ hostname, port }: ProxyTarget, signal: AbortSignal): Promise<TcpSocket> {
  const conn = await system.connect({ hostname, port, signal });
  try {
    // A request and its answer are small packets: Nagle's algorithm would make each wait for the one before.
    conn.setNoDelay(true);
    // A peer that has gone without a word is noticed some time, also where nobody asked for `keepalive`.
    conn.setKeepAlive(true);
  } catch (error) {
    closeSocket(conn);
    throw error;
  }
  return conn;
}

/** What dialling rejects with; `signal` is the one of the whole login. */
export function cannotConnect(where: string, cause: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (cause instanceof TypeError || isNotCapable(cause)) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new SshError(`Cannot connect to ${where}: ${why}`, { code: "CONNECTION_LOST", cause });
}
