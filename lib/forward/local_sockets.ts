/**
 * Sockets of this machine: where forwards listen, and where they lead. Reaches the system.
 *
 * @module
 */
import { abortable } from "../wire/abortable.ts";
import { withoutBrackets } from "./addresses.ts";
import { isUnix } from "./check.ts";
import { requireDeno, requireReusePort } from "../wire/system.ts";
import type { Socket } from "./pump.ts";
import type { Refable } from "./refs.ts";
import { bindUnix, KERNEL_BACKLOG } from "./sockets.ts";

/** A TCP address; the options of `Deno.listen()` and `Deno.connect()` are some. */
export interface TcpAddress {
  /** Said for clarity. */
  transport?: "tcp" | undefined;
  /** Name or address. */
  hostname?: string | undefined;
  /** TCP port. */
  port: number;
}

/** Where to listen here; the options of `Deno.listen()` are one. */
export interface TcpListenAddress extends TcpAddress {
  /**
   * Lets others listen at the same port, as `Deno.listen()` does: the flag `--unstable-net` is needed, and on Linux connections are
   * spread over all who listen. @default {false}
   */
  reusePort?: boolean | undefined;
  /** Connections that the system keeps until they are accepted, at most. @default {4096} */
  tcpBacklog?: number | undefined;
}

/** The address of a Unix socket, as `Deno.listen()` and `Deno.connect()` take it. */
export interface UnixAddress {
  /** Said for clarity: `path` alone tells. */
  transport?: "unix" | undefined;
  /** Where it is in the file system. */
  path: string;
}

/** A socket with its ends' addresses. */
export interface LocalSocket extends Socket, Refable {
  /** The other end; a Unix socket's has no path. */
  readonly remoteAddr: Deno.Addr;
}

/** A listening socket. */
export interface LocalListener extends Refable {
  /** Where. */
  readonly addr: Deno.Addr;
  /** The next connection. */
  accept(): Promise<LocalSocket>;
  /** Listens no more; who waits for `accept()` sees an error. */
  close(): void | Promise<void>;
}

/** Only programs of this machine reach it: a forward opens a way past a firewall. */
const LOOPBACK = "127.0.0.1";

/**
 * Listens, on the loopback address where no other is given. A Unix socket is the user's own, whatever the umask says. Without `refed`,
 * neither it nor its connections keep the program alive.
 */
export function listenLocal(from: TcpListenAddress | UnixAddress, refed = true): LocalListener {
  requireDeno("listen", "`dial()` and `dialUnix()` give a connection itself");
  if (isUnix(from)) return held(bindUnix((from as UnixAddress).path), refed);
  const { hostname = LOOPBACK, port, reusePort = false, tcpBacklog = KERNEL_BACKLOG } = from as TcpListenAddress;
  if (reusePort) requireReusePort();
  const address = hostname === "" || hostname === "*" ? "0.0.0.0" : withoutBrackets(hostname);
  // Deno's stable types do not know of `reusePort`.
  const where = { hostname: address, port, reusePort, tcpBacklog };
  return held(Deno.listen(where), refed, quick);
}

/** What keeps the program alive or not, as its connections do; those are prepared by `prepare`. */
function held<C extends Deno.TcpConn | Deno.UnixConn>(
  listener: Deno.Listener<C>,
  refed: boolean,
  prepare: (conn: C) => C = (conn) => conn,
): LocalListener {
  if (!refed) listener.unref();
  const accept = async (): Promise<C> => {
    const conn = prepare(await listener.accept());
    if (!refed) conn.unref();
    return conn;
  };
  const { addr } = listener;
  return { addr, accept, close: () => listener.close(), ref: () => listener.ref(), unref: () => listener.unref() };
}

/** Connects, to the loopback address where no other is given. */
export async function connectLocal(to: TcpAddress | UnixAddress, signal: AbortSignal): Promise<LocalSocket> {
  if (isUnix(to)) {
    const connecting = Deno.connect({ transport: "unix", path: (to as UnixAddress).path });
    return await abortable(connecting, signal, hangUp);
  }
  const { hostname = LOOPBACK, port } = to as TcpAddress;
  const connecting = Deno.connect({ hostname: withoutBrackets(hostname), port, signal });
  return quick(await abortable(connecting, signal, hangUp));
}

/** Without Nagle's algorithm: what one side wrote at once is not to wait for an answer to what was before. */
function quick(socket: Deno.TcpConn): Deno.TcpConn {
  try {
    socket.setNoDelay(true);
  } catch {
    // Its peer has hung up already, which reading tells.
  }
  return socket;
}

/** Closes a socket that may be closed. */
export function hangUp(socket: Socket): void {
  try {
    socket.close();
  } catch {
    // It is.
  }
}
