/**
 * The three forwards of `ssh`: -L and -D, which listen here and connect there, and -R, which listens there and connects here. RFC 4254
 * section 7, OpenSSH PROTOCOL 2.4.
 *
 * @module
 */
import { OpenFailureReason } from "../connection/messages.ts";
import type { ChannelAcceptor, Mux } from "../connection/mux.ts";
import { ChannelOpenError, SshError } from "../errors.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import { requireDeno } from "../wire/system.ts";
import { Timer } from "../wire/timer.ts";
import type { MaybePromise } from "../wire/types.ts";
import { placeOf } from "./addresses.ts";
import { isUnix } from "./check.ts";
import { acceptConn, isCut, type SshConn } from "./conn.ts";
import { dialTcp, dialUnix } from "./dial.ts";
import type { Ending } from "./ending.ts";
import { type Carried, type Forward, type ForwardOptions, StandingForward } from "./forward.ts";
import { type Lender, lent, lentAddress } from "./lender.ts";
import {
  connectLocal,
  hangUp,
  listenLocal,
  type LocalListener,
  type LocalSocket,
  type TcpAddress,
  type TcpListenAddress,
  type UnixAddress,
} from "./local_sockets.ts";
import { pump } from "./pump.ts";
import { Refs } from "./refs.ts";
import type { ConnTaker, RemoteListeners, RemoteSocket, Stand } from "./remote_listeners.ts";
import {
  readSocks,
  SocksError,
  socksGranted,
  type SocksLogin,
  socksRefused,
  type SocksRequest,
  withRest,
  writeAll,
} from "./socks.ts";

/** Milliseconds that a SOCKS client gets to say what it wants. */
export const SOCKS_TIME = 30_000;
/** Milliseconds until a client that was refused must have read that and hung up. */
const LINGER = 1000;
/** Milliseconds until the next try where accepting fails. */
const ACCEPT_PAUSE = 100;

/** Where a forward leads through the server. */
export type RemoteTarget = { readonly hostname: string; readonly port: number } | { readonly path: string };

/** What forwards need of their connection. */
export interface ForwardHost {
  /** Opens the channels. */
  readonly mux: Mux;
  /** Tells of the connection's end. */
  readonly ending: Ending;
  /** Sockets here keep the program alive as the connection does. */
  readonly refs: Refs;
  /** Whose the connection is, where it is lent. */
  readonly lender?: Lender | undefined;
}

/** As `ssh -L`: listens here, connects there. */
export function forwardLocal(
  host: ForwardHost,
  from: TcpListenAddress | UnixAddress,
  to: RemoteTarget,
  options: ForwardOptions,
): Forward {
  // What was checked is what is dialled, whatever becomes of the caller's object.
  const target = { ...to }, { timeout } = options;
  return listening(host, from, addrOf(target), options, async (socket, { signal }) => {
    const conn = await dialled(host, target, socket, { signal, timeout });
    await pump(socket, conn, { signal });
  });
}

/** A SOCKS server for this program alone, which does not keep it alive. */
export interface OwnSocks {
  /** Lets the program in, and nobody else. */
  readonly login: SocksLogin;
  /** Where a request leads. */
  leadsTo(request: SocksRequest): RemoteTarget;
  /** A connection stands. */
  opened(conn: SshConn): void;
  /** A connection could not be made; its client learns it after this. */
  refused(to: RemoteTarget, error: unknown): void;
  /** Its far end has cut a connection; its client sees the end of it after this. */
  cut(to: RemoteTarget, error: unknown): void;
}

/** As `ssh -D`: a SOCKS server here, connections made there. */
export function forwardDynamic(
  host: ForwardHost,
  from: TcpListenAddress | UnixAddress,
  options: ForwardOptions,
  own: OwnSocks | null = null,
): Forward {
  const { timeout } = options;
  return listening(host, from, null, options, async (socket, carried) => {
    const request = await asked(socket, own?.login ?? null), { version, rest } = request;
    const to = own?.leadsTo(request) ?? { hostname: request.hostname, port: request.port };
    carried.leadsTo(addrOf(to));
    let conn: SshConn;
    try {
      conn = await dialled(host, to, socket, { signal: carried.signal, timeout });
      own?.opened(conn);
    } catch (error) {
      own?.refused(to, error);
      await dismiss(socket, socksRefused(version, error));
      throw error;
    }
    try {
      await writeAll(socket, socksGranted(version));
    } catch (error) {
      await conn.close();
      throw error;
    }
    await pump(withRest(socket, rest), conn, { signal: carried.signal }).catch((error) => {
      if (isCut(error)) own?.cut(to, error);
      throw error;
    });
  }, own === null);
}

/** What connections lead to that the server has accepted. */
export interface HereTarget {
  /** Where that is; null where it has no address of its own. */
  readonly to: Deno.Addr | null;
  /** Connects, for somebody who comes from `from`. */
  connect(signal: AbortSignal, from: Deno.Addr): Promise<LocalSocket>;
  /** No more connections come. */
  stopped?(): void;
  /** The last connection has ended. */
  ended?(): MaybePromise<void>;
}

/** As `ssh -R`: the server listens, and connections are made here. Where one cannot be, its channel is refused. */
export function forwardRemote(
  host: ForwardHost,
  listeners: RemoteListeners,
  from: { hostname?: string | undefined; port: number } | { path: string },
  to: TcpAddress | UnixAddress,
  options: ForwardOptions,
): Promise<StandingForward> {
  requireDeno("forward to a socket of this side", "`listen()` and `listenUnix()` give the connections themselves");
  const target = { ...to };
  return forwardHere(host, listeners, from, {
    to: addrOf(target),
    connect: (signal) => connectLocal(target, signal),
  }, options);
}

/** As {@linkcode forwardRemote}, to whatever is here. */
export function forwardHere(
  { ending, refs, lender }: ForwardHost,
  listeners: RemoteListeners,
  from: { hostname?: string | undefined; port: number } | { path: string },
  here: HereTarget,
  options: ForwardOptions,
): Promise<StandingForward> {
  const { signal, timeout } = options;
  if (lender !== undefined) return forwardLent(lender, { ending, refs }, from, here, options);
  const stand = <A extends Deno.Addr>(socket: RemoteSocket<A>): ReturnType<Stand<A, StandingForward>> => {
    const stop = async (): Promise<void> => {
      await socket.stop();
      here.stopped?.();
    };
    const made = new StandingForward(socket.addr, stop, ending, options, here.ended);
    const take: ConnTaker<A> = ({ id }, addrs) => {
      if (!made.hasRoom) throw new ChannelOpenError("too many connections", OpenFailureReason.RESOURCE_SHORTAGE);
      const taken = Promise.withResolvers<Awaited<ReturnType<ChannelAcceptor>>>();
      made.carry(addrs.remoteAddr, here.to, async ({ signal }) => {
        let socket: LocalSocket;
        try {
          socket = await connected(here, addrs.remoteAddr, { signal, timeout });
        } catch (error) {
          const why = error instanceof Error ? error.name : "failed";
          taken.reject(new ChannelOpenError(`cannot connect: ${why}`, OpenFailureReason.CONNECT_FAILED));
          throw error;
        }
        const { channel, conn } = acceptConn(id, addrs);
        taken.resolve({ channel });
        const leave = refs.add(socket);
        await pump(socket, conn, { signal }).finally(leave);
      });
      return taken.promise;
    };
    return { made, take };
  };
  return isUnix(from)
    ? listeners.openUnix(from.path, { signal, timeout }, stand)
    : listeners.openTcp({ ...from, signal, timeout }, stand);
}

/** As {@linkcode forwardHere} over a connection that is lent. */
async function forwardLent(
  lender: Lender,
  host: Pick<ForwardHost, "ending" | "refs">,
  from: { hostname?: string | undefined; port: number } | { path: string },
  here: HereTarget,
  options: ForwardOptions,
): Promise<StandingForward> {
  const { signal, timeout } = options, there = await lent(lender, host.ending, lentAddress(from), { signal, timeout });
  const { addr } = there;
  const stopped = async (): Promise<void> => {
    await there.stop();
    here.stopped?.();
  };
  const listener: LocalListener = { addr, accept: () => there.accept(), close: stopped };
  return accepted(listener, host, here.to, options, async (socket, { signal }) => {
    await pump(socket, await connected(here, socket.remoteAddr, { signal, timeout }), { signal });
  }, here.ended);
}

function addrOf(to: RemoteTarget | TcpAddress | UnixAddress): Deno.Addr {
  if (isUnix(to)) return { transport: "unix", path: (to as UnixAddress).path };
  const { hostname = "127.0.0.1", port } = to as TcpAddress;
  return { transport: "tcp", hostname, port };
}

/** A connection to `to` by the server, which is told where it comes from. */
function dialled({ mux }: ForwardHost, to: RemoteTarget, socket: LocalSocket, wait: WaitOptions): Promise<SshConn> {
  if (isUnix(to)) return dialUnix(mux, (to as UnixAddress).path, wait);
  const { hostname, port } = to as { hostname: string; port: number }, from = socket.remoteAddr;
  return from.transport === "tcp"
    ? dialTcp(mux, { hostname, port, ...wait }, from)
    : dialTcp(mux, { hostname, port, ...wait });
}

/** A connection to what is here, for somebody who comes from `from`. */
function connected(
  here: HereTarget,
  from: Deno.Addr,
  wait: WaitOptions & { readonly signal: AbortSignal },
): Promise<LocalSocket> {
  const what = (): string =>
    here.to === null
      ? "a connection to be made"
      : `a connection to ${placeOf(here.to as Deno.NetAddr | Deno.UnixAddr)}`;
  return withDeadline(wait, what, (signal) => here.connect(signal!, from));
}

/**
 * A forward that listens here; `work` carries a connection, which it has closed where it resolves, and which is closed when it is cut.
 * Without `refed` it does not keep the program alive.
 */
function listening(
  { ending, refs }: ForwardHost,
  from: TcpListenAddress | UnixAddress,
  to: Deno.Addr | null,
  options: ForwardOptions,
  work: (socket: LocalSocket, carried: Carried) => Promise<void>,
  refed = true,
): Forward {
  options.signal?.throwIfAborted();
  ending.throwIfEnded();
  return accepted(listenLocal(from, refed), { ending, refs: refed ? refs : new Refs() }, to, options, work);
}

/** A forward of what a listener accepts; it closes the listener. `ended` is called behind the last connection. */
function accepted(
  listener: LocalListener,
  { ending, refs }: Pick<ForwardHost, "ending" | "refs">,
  to: Deno.Addr | null,
  options: ForwardOptions,
  work: (socket: LocalSocket, carried: Carried) => Promise<void>,
  ended?: () => MaybePromise<void>,
): StandingForward {
  const pause = new Pause(), leave = refs.add(listener);
  const forward = new StandingForward(
    listener.addr,
    async () => {
      pause.end();
      leave();
      await listener.close();
      // The system lets go of a listening socket once nobody waits for its next connection any more.
      await loop;
    },
    ending,
    options,
    ended,
  );
  const loop = accepting(listener, forward, pause, (socket) => {
    forward.carry(named(socket.remoteAddr), to, async (carried) => {
      // Whatever it is waiting for.
      carried.signal.addEventListener("abort", () => hangUp(socket));
      const leave = refs.add(socket);
      try {
        await work(socket, carried);
      } catch (error) {
        hangUp(socket);
        throw error;
      } finally {
        leave();
      }
    });
  }).catch((error) => forward.fail(error));
  return forward;
}

/** A Unix socket that connects has no path, which systems show in more than one way. */
function named(addr: Deno.Addr): Deno.Addr {
  return addr.transport === "unix" ? { transport: "unix", path: addr.path ?? "" } : addr;
}

async function accepting(
  listener: LocalListener,
  forward: StandingForward,
  pause: Pause,
  accepted: (socket: LocalSocket) => void,
): Promise<void> {
  for (;;) {
    await forward.room();
    if (!forward.isListening) return;
    let socket: LocalSocket;
    try {
      socket = await listener.accept();
    } catch (error) {
      if (!forward.isListening) return;
      // A connection that was gone before it was accepted, or no file descriptor left for it.
      forward.report(error);
      await pause.take(ACCEPT_PAUSE);
      continue;
    }
    if (!forward.isListening) return hangUp(socket);
    accepted(socket);
  }
}

/** A wait that can be ended early. */
class Pause {
  #over: (() => void) | null = null;
  readonly #timer = new Timer(() => this.end());

  take(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#over = resolve;
    this.#timer.start(milliseconds);
    return promise;
  }

  end(): void {
    this.#timer.stop();
    this.#over?.();
  }
}

/** What a SOCKS client asks for, within its time. One that gets no further is answered where it speaks the protocol. */
async function asked(socket: LocalSocket, login: SocksLogin | null): ReturnType<typeof readSocks> {
  let late = false;
  const timer = new Timer(() => {
    late = true;
    hangUp(socket);
  });
  timer.start(SOCKS_TIME);
  // What it watches is the socket, which keeps the program alive or not.
  timer.unref();
  try {
    return await readSocks(socket, login);
  } catch (error) {
    if (late) {
      throw new SshError(`Cannot serve SOCKS client: it did not say what it wants within ${SOCKS_TIME} ms`, {
        code: "PROTOCOL_ERROR",
        cause: error,
      });
    }
    if (error instanceof SocksError && error.answer !== null) await dismiss(socket, error.answer);
    throw error;
  } finally {
    timer.stop();
  }
}

/**
 * Tells a client why it is not served, and waits a moment for it to read that: what it has sent ahead and nobody read would have the
 * system throw the answer away when the socket is closed. Never rejects.
 */
async function dismiss(socket: LocalSocket, answer: Uint8Array): Promise<void> {
  const timer = new Timer(() => hangUp(socket)), waste = new Uint8Array(4096);
  timer.start(LINGER);
  try {
    await writeAll(socket, answer);
    await socket.closeWrite();
    for (let i = 0; i < 64 && await socket.read(waste) !== null; i++);
  } catch {
    // It has not waited for it.
  } finally {
    timer.stop();
  }
}
