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
import { ChannelOpenError, printable, SshError } from "../errors.ts";
import { abortable } from "../wire/abortable.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { covers, withoutBrackets } from "./addresses.ts";
import { acceptConn, type SshConn } from "./conn.ts";
import type { Ending } from "./ending.ts";
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

/** What {@linkcode RemoteListeners} do with a connection: take its channel, or throw `ChannelOpenError`. */
export type ConnTaker<A extends Deno.Addr> = (
  request: ChannelOpenRequest,
  addrs: { readonly localAddr: A; readonly remoteAddr: A },
) => ReturnType<ChannelAcceptor>;

/** Something that the server listens on for us. */
export interface RemoteSocket<A extends Deno.Addr> {
  /** Where, with the real port. */
  readonly addr: A;
  /** Has the server stop; resolves when it has answered, or the connection has ended. Safe to call twice; never rejects. */
  stop(): Promise<void>;
}

/** How to ask for a socket, and who takes its connections. */
interface Registered<A extends Deno.Addr> extends RemoteSocket<A> {
  /** Port that was asked for. */
  readonly asked: number;
  readonly take: ConnTaker<A>;
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
    options: { hostname?: string | undefined; port: number; signal?: AbortSignal | undefined },
  ): Promise<ConnListener<Deno.NetAddr>> {
    return this.#listen((take) => this.openTcp(options, take), options.signal);
  }

  /** The server listens on a Unix socket; see `SshClient.listenUnix()`. */
  listenUnix(path: string, signal: AbortSignal | undefined): Promise<ConnListener<Deno.UnixAddr>> {
    return this.#listen((take) => this.openUnix(path, signal, take), signal);
  }

  async #listen<A extends Deno.Addr>(
    open: (take: ConnTaker<A>) => Promise<RemoteSocket<A>>,
    signal: AbortSignal | undefined,
  ): Promise<ConnListener<A>> {
    // Connections may come as soon as the server has answered, before this function goes on.
    const early: SshConn<A>[] = [];
    let listener: ConnListener<A> | null = null;
    /** Taken, and not open yet: a batch of messages may hold many. */
    let opening = 0;
    const socket = await open(({ id }, addrs) => {
      if ((listener?.queued ?? early.length) + opening >= BACKLOG) {
        throw new ChannelOpenError("too many connections wait to be accepted", OpenFailureReason.RESOURCE_SHORTAGE);
      }
      const { channel, conn } = acceptConn(id, addrs);
      opening++;
      const opened = (): void => {
        opening--;
        if (listener === null) early.push(conn);
        else listener.push(conn);
      };
      return { channel, opened };
    });
    const onAbort = (): void => {
      made.fail(signal!.reason);
      void made.close();
    };
    const made = listener = new ConnListener<A>(socket.addr, () => {
      leave();
      signal?.removeEventListener("abort", onAbort);
      return socket.stop();
    });
    for (const conn of early) made.push(conn);
    const leave = this.#ending.watch((lost) => lost === null ? void made.close() : made.fail(lost.error));
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    signal?.throwIfAborted();
    return made;
  }

  /** Has the server listen, and gives each connection to `take`. The signal ends the asking alone. */
  async openTcp(
    { hostname = "localhost", port, signal }: {
      hostname?: string | undefined;
      port: number;
      signal?: AbortSignal | undefined;
    },
    take: ConnTaker<Deno.NetAddr>,
  ): Promise<RemoteSocket<Deno.NetAddr>> {
    const address = withoutBrackets(hostname), where = `"${printable(address, 256)}" port ${port}`;
    const cancelled = (bound: number): Bytes => CancelTcpipForward.encode({ address, port: bound });
    return await this.#open(
      this.#tcp,
      signal,
      "tcpip-forward",
      TcpipForward.encode({ address, port }),
      where,
      (reply) => {
        const bound = port === 0 ? chosenPort(reply) : port;
        if (bound === null) {
          void this.#cancel("cancel-tcpip-forward", cancelled(0));
          throw new SshError(`Cannot listen on ${where}: the server does not say which port it has chosen`, {
            code: "PROTOCOL_ERROR",
          });
        }
        const addr: Deno.NetAddr = { transport: "tcp", hostname: address, port: bound };
        return { addr, asked: port, take, cancel: ["cancel-tcpip-forward", cancelled(bound)] };
      },
    );
  }

  /** As {@linkcode RemoteListeners.openTcp} on a Unix socket. */
  async openUnix(
    path: string,
    signal: AbortSignal | undefined,
    take: ConnTaker<Deno.UnixAddr>,
  ): Promise<RemoteSocket<Deno.UnixAddr>> {
    const name = "streamlocal-forward@openssh.com", where = `"${printable(path, 256)}"`;
    return await this.#open(this.#unix, signal, name, StreamlocalForward.encode({ path }), where, () => ({
      addr: { transport: "unix", path },
      asked: 0,
      take,
      cancel: ["cancel-streamlocal-forward@openssh.com", CancelStreamlocalForward.encode({ path })],
    }));
  }

  async #open<A extends Deno.Addr>(
    sockets: Set<Registered<A>>,
    signal: AbortSignal | undefined,
    name: string,
    data: Bytes,
    where: string,
    granted: (reply: Bytes) => Omit<Registered<A>, "stop"> & { readonly cancel: readonly [string, Bytes] },
  ): Promise<RemoteSocket<A>> {
    signal?.throwIfAborted();
    this.#openDoors();
    const asking = (async () => {
      const reply = await this.#mux.globalRequest(name, data);
      if (reply === null) {
        const message =
          `Cannot listen on ${where}: the server refused; it may not allow that, or something listens there`;
        throw new SshError(message, { code: "REQUEST_DENIED" });
      }
      const { cancel, ...socket } = granted(reply);
      let stopped: Promise<void> | null = null;
      const registered: Registered<A> = {
        ...socket,
        stop: () => stopped ??= (sockets.delete(registered), this.#cancel(...cancel)),
      };
      sockets.add(registered);
      return registered;
    })();
    this.#asked.add(asking);
    const answered = (): void => void this.#asked.delete(asking);
    asking.then(answered, answered);
    // What the server grants to somebody who has given up is given back.
    return await abortable(asking, signal, (late) => late.stop());
  }

  /** Never rejects: a server that refuses does not listen, and one that has gone does not, either. */
  async #cancel(name: string, data: Bytes): Promise<void> {
    await this.#mux.globalRequest(name, data).catch(() => {});
  }

  #openDoors(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.#mux.onChannel("forwarded-tcpip", (request) => {
      const { address, port, originHost, originPort } = ForwardedTcpip.decode(request.data);
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
    if (this.#asked.size === 0) throw notAsked();
    return this.#later(find, give);
  }

  async #later<A extends Deno.Addr>(
    find: () => Registered<A> | null,
    give: (socket: Registered<A>) => MaybePromise<Awaited<ReturnType<ChannelAcceptor>>>,
  ): Promise<Awaited<ReturnType<ChannelAcceptor>>> {
    // Those that are asked for from now on do not count: nobody could connect to them before.
    await Promise.allSettled([...this.#asked]);
    const socket = find();
    if (socket === null) throw notAsked();
    return await give(socket);
  }
}

function notAsked(): ChannelOpenError {
  return new ChannelOpenError("nobody asked for this", OpenFailureReason.ADMINISTRATIVELY_PROHIBITED);
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
