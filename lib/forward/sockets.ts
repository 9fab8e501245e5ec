/**
 * Sockets of the system for the forwards of a server: where a client wants to go, and where it wants to be reached. Nothing here asks
 * whether it may.
 *
 * @module
 */
import { abortable } from "../wire/abortable.ts";
import type { Socket } from "./pump.ts";

/** Where a client wants to go. */
export type Target = { readonly hostname: string; readonly port: number } | { readonly path: string };

/** A connection of the system's. */
export interface SystemSocket extends Socket {
  /** Who has connected, where it is an address. */
  readonly from: { readonly hostname: string; readonly port: number } | null;
  /** Whether it keeps the program alive. */
  setRef(refed: boolean): void;
}

/** What accepts connections. */
export interface SystemListener {
  /** The port, or 0 for a Unix socket. */
  readonly port: number;
  /** The next connection. Rejects when the listener is closed, and for the troubles of one connection or of the system. */
  accept(): Promise<SystemSocket>;
  /** Stops listening. Safe to call twice. */
  close(): void;
  /** Whether it keeps the program alive. */
  setRef(refed: boolean): void;
}

/** What the forwards of a server need of the system. */
export interface Sockets {
  /** Connects, until the signal aborts. */
  connect(target: Target, signal: AbortSignal): Promise<SystemSocket>;
  /** Listens at an address as RFC 4254 section 7.1 writes it: one listener for each family, at the same port. */
  listen(hostname: string, port: number): SystemListener[];
  /** Listens at a path where nothing is yet; the socket is its owner's alone, and goes away with the listener. */
  listenUnix(path: string): SystemListener;
}

/** Those of Deno. */
export const systemSockets: Sockets = { connect, listen, listenUnix };

async function connect(target: Target, signal: AbortSignal): Promise<SystemSocket> {
  const connecting: Promise<Deno.Conn> = "path" in target
    ? Deno.connect({ transport: "unix", path: target.path })
    : Deno.connect({ ...target, signal });
  return wrapped(await abortable(connecting, signal, (late) => late.close()));
}

/** An IPv4 address as a socket of both families shows it. */
const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** Throws where a connection is gone already. */
function wrapped(conn: Deno.Conn): SystemSocket {
  try {
    if ("setNoDelay" in conn) (conn as Deno.TcpConn).setNoDelay(true);
    const addr = conn.remoteAddr;
    return {
      from: "hostname" in addr ? { hostname: mapped.exec(addr.hostname)?.[1] ?? addr.hostname, port: addr.port } : null,
      read: (p) => conn.read(p),
      write: (p) => conn.write(p),
      closeWrite: () => conn.closeWrite(),
      close: () => closed(conn),
      setRef: (refed) => refed ? conn.ref() : conn.unref(),
    };
  } catch (error) {
    closed(conn);
    throw error;
  }
}

function closed(resource: { close(): void }): void {
  try {
    resource.close();
  } catch {
    // It is closed.
  }
}

function listener(socket: Deno.Listener, port: number): SystemListener {
  let open = true;
  return {
    port,
    accept: async () => wrapped(await socket.accept()),
    close: () => {
      if (!open) return;
      open = false;
      closed(socket);
    },
    setRef: (refed) => refed ? socket.ref() : socket.unref(),
  };
}

/** Connections that the kernel keeps until they are accepted, as far as it lets a program say so. */
export const KERNEL_BACKLOG = 4096;

/** How often a free port is looked for that is free in both families. */
const TRIES = 16;

/** RFC 4254 section 7.1, and `*` as OpenSSH takes it. Both families are one attempt, and one that the system lacks is left out. */
function listen(hostname: string, port: number): SystemListener[] {
  // A socket at `::` takes IPv4 as well on most systems; where it does, the second one finds the address in use.
  if (hostname === "" || hostname === "*") return atBoth("::", "0.0.0.0", port, true);
  if (hostname.toLowerCase() === "localhost") return atBoth("127.0.0.1", "::1", port, false);
  return [at(hostname, port)];
}

function at(hostname: string, port: number): SystemListener {
  const socket = Deno.listen({ hostname, port, tcpBacklog: KERNEL_BACKLOG });
  return listener(socket, (socket.addr as Deno.NetAddr).port);
}

function atBoth(first: string, second: string, port: number, both: boolean): SystemListener[] {
  for (let tries = 1;; tries++) {
    const one = attempt(first, port, isMissing);
    if (one === null) return [at(second, port)];
    try {
      const other = attempt(second, one.port, (error) => isMissing(error) || both && isTaken(error));
      return other === null ? [one] : [one, other];
    } catch (error) {
      one.close();
      // Half of an address is none: another program may hold the other half, and would get what is meant for this client.
      if (port !== 0 || !isTaken(error) || tries === TRIES) throw error;
    }
  }
}

function attempt(hostname: string, port: number, isNone: (error: unknown) => boolean): SystemListener | null {
  try {
    return at(hostname, port);
  } catch (error) {
    if (isNone(error)) return null;
    throw error;
  }
}

function isTaken(error: unknown): boolean {
  return error instanceof Deno.errors.AddrInUse;
}

/** The system has no such family, or no address of it. */
function isMissing(error: unknown): boolean {
  return error instanceof Deno.errors.AddrNotAvailable || (error as { code?: unknown }).code === "EAFNOSUPPORT";
}

function listenUnix(path: string): SystemListener {
  return listener(bindUnix(path), 0);
}

/**
 * Listens at a path where nothing is yet; the socket is its owner's alone, and Deno removes it with the listener. Bound with that mode
 * where the program may set its mask (`--allow-sys=umask`), so that there is no moment in which others could connect; the mask is the
 * whole program's, and what else is made in that moment is its owner's to use. Without, only a mask that lets others write leaves them
 * that moment.
 */
export function bindUnix(path: string): Deno.UnixListener {
  const mayMask = Deno.permissions.querySync({ name: "sys", kind: "umask" }).state === "granted";
  const umask = mayMask && Deno.build.os !== "windows" ? Deno.umask(0o077) : null;
  let socket: Deno.UnixListener;
  try {
    socket = Deno.listen({ transport: "unix", path });
  } finally {
    if (umask !== null) Deno.umask(umask);
  }
  try {
    Deno.chmodSync(path, 0o600);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** What goes wrong with the system here, in the words of OpenSSH; the client learns no more of it. */
const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: "Connection refused",
  ECONNRESET: "Connection reset by peer",
  EHOSTUNREACH: "No route to host",
  ENETUNREACH: "Network is unreachable",
  ETIMEDOUT: "Connection timed out",
  ENOENT: "No such file or directory",
  EACCES: "Permission denied",
};

/** Why connecting has failed. */
export function wordsFor(error: unknown): string {
  const { code, message, name } = error as { code?: unknown; message?: unknown; name?: unknown };
  if (name === "TimeoutError") return words.ETIMEDOUT!;
  if (typeof code === "string" && Object.hasOwn(words, code)) return words[code]!;
  if (typeof message === "string" && message.startsWith("failed to lookup")) return "Name or service not known";
  return "Connect failed";
}

/** Whether the program itself lacks a permission of the runtime: it should hear of that. */
export function isNotCapable(error: unknown): boolean {
  return error instanceof Deno.errors.NotCapable;
}
