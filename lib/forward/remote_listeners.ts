/**
 * What the server listens on for this side: asks for it, gives each forwarded connection to its listener, and refuses those that
 * belong to none. RFC 4254 sections 7.1 and 7.2, OpenSSH PROTOCOL 2.4. No I/O.
 *
 * A server may send connections ahead of its answer to the request that they come from, and which port 0 became stands in that answer
 * alone. So a connection that no listener is known for waits for the answers that are still to come, and only then is refused.
 *
 * @module
 */
import { OpenFailureReason } from "../connection/messages.ts";
import type { ChannelAcceptor, ChannelOpenRequest, Mux } from "../connection/mux.ts";
import { ChannelOpenError, SshError } from "../errors.ts";
import { abortable } from "../wire/abortable.ts";
import { Reader } from "../wire/reader.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import { Timer } from "../wire/timer.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { covers, placeOf, withoutBrackets } from "./addresses.ts";
import { acceptConn } from "./conn.ts";
import type { Ending } from "./ending.ts";
import { isHost } from "./host.ts";
import { ConnListener } from "./listener.ts";
import {
  CancelStreamlocalForward,
  CancelTcpipForward,
  ForwardedStreamlocal,
  ForwardedTcpip,
  isPort,
  StreamlocalForward,
  TcpipForward,
} from "./messages.ts";

/** Connections of one listener that nobody has accepted yet; more are refused. */
export const BACKLOG = 256;
/** Milliseconds that the answer to a cancellation is waited for. */
export const CANCEL_TIME = 3000;

/** What {@linkcode RemoteListeners} do with a connection: take its channel, or throw `ChannelOpenError`. */
export type ConnTaker<A extends Deno.Addr> = (
  request: ChannelOpenRequest,
  addrs: { readonly localAddr: A; readonly remoteAddr: A },
) => ReturnType<ChannelAcceptor>;

/** Something that the server listens on for us. */
export interface RemoteSocket<A extends Deno.Addr> {
  /** Where, with the real port. */
  readonly addr: A;
  /** Has the server stop; resolves when it has answered, or has had its time, or is gone. Safe to call twice; never rejects. */
  stop(): Promise<void>;
}

/**
 * Makes what a socket is for. Called as soon as the server has granted it, ahead of its first connection; `close()` of what is made stops
 * the socket.
 */
export type Stand<A extends Deno.Addr, T extends { close(): Promise<void> }> = (
  socket: RemoteSocket<A>,
) => { readonly made: T; readonly take: ConnTaker<A> };

/** A socket, and who takes its connections. */
interface Registered<A extends Deno.Addr> {
  readonly addr: A;
  /** Port that was asked for. */
  readonly asked: number;
  readonly take: ConnTaker<A>;
}

/** What the server has granted, and how it is cancelled. */
interface Granted<A extends Deno.Addr> extends Omit<Registered<A>, "take"> {
  readonly cancel: readonly [name: string, data: Bytes];
}

/** The listening sockets of one connection. */
export class RemoteListeners {
  readonly #mux: Mux;
  readonly #tcp = new Set<Registered<Deno.NetAddr>>();
  readonly #unix = new Set<Registered<Deno.UnixAddr>>();
  /** Requests whose answers are still to come. */
  readonly #asked = new Set<Promise<unknown>>();
  readonly #ending: Ending;
  #opened = false;

  /** Of a connection and its end. */
  constructor(mux: Mux, ending: Ending) {
    this.#mux = mux;
    this.#ending = ending;
  }

  /** The server listens; see `SshClient.listen()`. */
  listenTcp(
    options: { hostname?: string | undefined; port: number } & WaitOptions,
  ): Promise<ConnListener<Deno.NetAddr>> {
    return this.openTcp(options, (socket) => this.#listener(socket, options.signal));
  }

  /** The server listens on a Unix socket; see `SshClient.listenUnix()`. */
  listenUnix(path: string, options?: WaitOptions): Promise<ConnListener<Deno.UnixAddr>> {
    return this.openUnix(path, options, (socket) => this.#listener(socket, options?.signal));
  }

  #listener<A extends Deno.Addr>(
    socket: RemoteSocket<A>,
    signal: AbortSignal | undefined,
  ): ReturnType<Stand<A, ConnListener<A>>> {
    const onAbort = (): void => {
      made.fail(signal!.reason);
      void made.close();
    };
    const unwatch = this.#ending.watch((lost) => {
      leave();
      lost === null ? void made.close() : made.fail(lost.error);
    });
    const leave = (): void => {
      unwatch();
      signal?.removeEventListener("abort", onAbort);
    };
    const made = new ConnListener<A>(socket.addr, () => {
      leave();
      return socket.stop();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
    /** Taken, and not open yet: a batch of messages may hold many. */
    let opening = 0;
    const take: ConnTaker<A> = ({ id }, addrs) => {
      if (made.queued + opening >= BACKLOG) {
        throw new ChannelOpenError("too many connections wait to be accepted", OpenFailureReason.RESOURCE_SHORTAGE);
      }
      const { channel, conn } = acceptConn(id, addrs);
      opening++;
      const opened = (): void => {
        opening--;
        made.push(conn);
      };
      return { channel, opened };
    };
    return { made, take };
  }

  /** Has the server listen, and makes what it is for. The signal and the time end the asking alone. */
  openTcp<T extends { close(): Promise<void> }>(
    { hostname = "localhost", port, ...wait }: { hostname?: string | undefined; port: number } & WaitOptions,
    stand: Stand<Deno.NetAddr, T>,
  ): Promise<T> {
    const address = withoutBrackets(hostname), where = placeOf({ hostname: address, port });
    const cancel = (bound: number) =>
      ["cancel-tcpip-forward", CancelTcpipForward.encode({ address, port: bound })] as const;
    const granted = (reply: Bytes): Granted<Deno.NetAddr> => {
      const bound = port === 0 ? chosenPort(reply) : port;
      if (bound !== null) {
        return { addr: { transport: "tcp", hostname: address, port: bound }, asked: port, cancel: cancel(bound) };
      }
      void this.#cancel(...cancel(0));
      throw new SshError(`Cannot listen on ${where}: the server does not say which port it has chosen`, {
        code: "PROTOCOL_ERROR",
      });
    };
    return this.#open(
      this.#tcp,
      wait,
      ["tcpip-forward", TcpipForward.encode({ address, port })],
      where,
      granted,
      stand,
    );
  }

  /** As {@linkcode RemoteListeners.openTcp} on a Unix socket. */
  openUnix<T extends { close(): Promise<void> }>(
    path: string,
    wait: WaitOptions | undefined,
    stand: Stand<Deno.UnixAddr, T>,
  ): Promise<T> {
    const request = ["streamlocal-forward@openssh.com", StreamlocalForward.encode({ path })] as const;
    const granted = (): Granted<Deno.UnixAddr> => ({
      addr: { transport: "unix", path },
      asked: 0,
      cancel: ["cancel-streamlocal-forward@openssh.com", CancelStreamlocalForward.encode({ path })],
    });
    return this.#open(this.#unix, wait, request, placeOf({ path }), granted, stand);
  }

  #open<A extends Deno.Addr, T extends { close(): Promise<void> }>(
    sockets: Set<Registered<A>>,
    wait: WaitOptions | undefined,
    request: readonly [name: string, data: Bytes],
    where: string,
    granted: (reply: Bytes) => Granted<A>,
    stand: Stand<A, T>,
  ): Promise<T> {
    const ask = (signal: AbortSignal | undefined): Promise<T> =>
      this.#ask(sockets, signal, request, where, granted, stand);
    return withDeadline(wait, () => `the server to listen on ${where}`, ask);
  }

  async #ask<A extends Deno.Addr, T extends { close(): Promise<void> }>(
    sockets: Set<Registered<A>>,
    signal: AbortSignal | undefined,
    request: readonly [name: string, data: Bytes],
    where: string,
    granted: (reply: Bytes) => Granted<A>,
    stand: Stand<A, T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    this.#openDoors();
    const asking = (async () => {
      const reply = await this.#mux.globalRequest(...request);
      if (reply === null) {
        const message =
          `Cannot listen on ${where}: the server refused; it may not allow that, or something listens there`;
        throw new SshError(message, { code: "REQUEST_DENIED" });
      }
      const { cancel, ...socket } = granted(reply);
      if (signal?.aborted) {
        // What the server grants to somebody who has given up is given back.
        void this.#cancel(...cancel);
        throw signal.reason;
      }
      let stopped: Promise<void> | null = null;
      const stop = (): Promise<void> => stopped ??= (sockets.delete(registered), this.#cancel(...cancel));
      const { made, take } = stand({ addr: socket.addr, stop }), registered = { ...socket, take };
      sockets.add(registered);
      return made;
    })();
    this.#asked.add(asking);
    const answered = (): void => void this.#asked.delete(asking);
    asking.then(answered, answered);
    return await abortable(asking, signal, (late) => late.close());
  }

  /**
   * Never rejects: a server that refuses does not listen, and one that has gone does not, either. One that says nothing is not waited for
   * longer than {@linkcode CANCEL_TIME}: OpenSSH's client wants no answer here, so a server may get by without one.
   */
  async #cancel(name: string, data: Bytes): Promise<void> {
    const over = Promise.withResolvers<void>(), timer = new Timer(over.resolve);
    timer.start(CANCEL_TIME);
    this.#mux.globalRequest(name, data).then(() => over.resolve(), () => over.resolve());
    await over.promise;
    timer.stop();
  }

  #openDoors(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.#mux.onChannel("forwarded-tcpip", (request) => {
      const { address, port, originHost, originPort } = ForwardedTcpip.decode(request.data);
      // It becomes the address of a `Deno.Conn`, and stands in logs.
      if (!isHost(originHost) || !isPort(originPort)) throw refused("it does not come from an address");
      const remoteAddr: Deno.NetAddr = { transport: "tcp", hostname: originHost, port: originPort };
      const find = (): Registered<Deno.NetAddr> | null => findTcp([...this.#tcp], address, port);
      return this.#give(find, request, ({ addr }) => ({
        localAddr: { transport: "tcp", hostname: address, port: addr.port },
        remoteAddr,
      }));
    });
    this.#mux.onChannel("forwarded-streamlocal@openssh.com", (request) => {
      const { path } = ForwardedStreamlocal.decode(request.data);
      const find = (): Registered<Deno.UnixAddr> | null =>
        [...this.#unix].find(({ addr }) => addr.path === path) ?? null;
      return this.#give(find, request, () => ({
        localAddr: { transport: "unix", path },
        remoteAddr: { transport: "unix", path: "" },
      }));
    });
  }

  #give<A extends Deno.Addr>(
    find: () => Registered<A> | null,
    request: ChannelOpenRequest,
    addrs: (socket: Registered<A>) => { localAddr: A; remoteAddr: A },
  ): ReturnType<ChannelAcceptor> {
    const give = (socket: Registered<A>): ReturnType<ChannelAcceptor> => socket.take(request, addrs(socket));
    const socket = find();
    if (socket !== null) return give(socket);
    if (this.#asked.size === 0) throw refused(NOT_ASKED);
    return this.#later(find, give);
  }

  async #later<A extends Deno.Addr>(
    find: () => Registered<A> | null,
    give: (socket: Registered<A>) => MaybePromise<Awaited<ReturnType<ChannelAcceptor>>>,
  ): Promise<Awaited<ReturnType<ChannelAcceptor>>> {
    // Those that are asked for from now on do not count: nobody could connect to them before.
    await Promise.allSettled([...this.#asked]);
    const socket = find();
    if (socket === null) throw refused(NOT_ASKED);
    return await give(socket);
  }
}

const NOT_ASKED = "nobody asked for this";

function refused(why: string): ChannelOpenError {
  return new ChannelOpenError(why, OpenFailureReason.ADMINISTRATIVELY_PROHIBITED);
}

/** The port of a reply, which some servers send more behind; null where there is none. */
function chosenPort(reply: Bytes): number | null {
  if (reply.length < 4) return null;
  const port = new Reader(reply).u32();
  return port > 0 && isPort(port) ? port : null;
}

/**
 * Whose connection it is: the listener of that very address, or else the only one that can be meant. Servers that chose a port may name
 * the 0 that they were asked for.
 */
function findTcp(
  sockets: readonly Registered<Deno.NetAddr>[],
  address: string,
  port: number,
): Registered<Deno.NetAddr> | null {
  const exact = sockets.find(({ addr }) => addr.port === port && addr.hostname === address);
  if (exact !== undefined) return exact;
  const meant = sockets.filter(({ addr, asked }) =>
    covers(addr.hostname, address) && (addr.port === port || port === 0 && asked === 0)
  );
  return meant.length === 1 ? meant[0]! : null;
}
