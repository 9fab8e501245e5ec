/**
 * Lets a client forward: RFC 4254 section 7, OpenSSH PROTOCOL 2.4. Nothing is opened before the login's grants, and the program where it
 * has a say, have allowed it. What is opened belongs to the connection, and ends with it. No I/O of its own.
 *
 * @module
 */
import { type ForwardRequest, grantsSay } from "../auth/forward_grants.ts";
import type { Grants } from "../auth/grants.ts";
import type { AuthInfo } from "../auth/types.ts";
import { channelCore } from "../connection/channel.ts";
import { OpenFailureReason } from "../connection/messages.ts";
import type { ChannelAcceptor, Mux } from "../connection/mux.ts";
import { ChannelOpenError, SshError } from "../errors.ts";
import { closedError } from "../transport/closing.ts";
import { callBack } from "../wire/callback.ts";
import { Timer } from "../wire/timer.ts";
import type { MaybePromise } from "../wire/types.ts";
import { isAddress, isBindable } from "./addresses.ts";
import { acceptConn, type ConnChannel, type SshConn } from "./conn.ts";
import { isHost } from "./host.ts";
import { LookUps } from "./look_ups.ts";
import { CancelStreamlocalForward, CancelTcpipForward, DirectStreamlocal, DirectTcpip } from "./messages.ts";
import { StreamlocalForward, TcpipForward, TcpipForwardReply } from "./messages.ts";
import { pump } from "./pump.ts";
import { ServedListeners } from "./served_listeners.ts";
import { isNotCapable, type Sockets, type SystemSocket, type Target, wordsFor } from "./sockets.ts";

/** Whether a user may forward; anything but true is no. */
export type AllowForward = (info: AuthInfo, request: ForwardRequest) => MaybePromise<boolean>;

/** A direct forward that is allowed, and its connection. */
export interface DirectForward {
  /** The host that the client named. */
  readonly hostname: string;
  /** The port that it named. */
  readonly port: number;
  /** The client's end. */
  readonly conn: SshConn<Deno.NetAddr>;
}

/** Answers allowed direct forwards in the place of a socket. */
export type OnForward = (info: AuthInfo, request: DirectForward) => MaybePromise<void>;

/** Who allows forwards, and what they may take. */
export interface ForwardAcceptance {
  /** What the login's handlers were told. */
  readonly info: AuthInfo;
  /** What the login may do. */
  readonly grants: Grants;
  /** The program's say. */
  readonly allowForward?: AllowForward | undefined;
  /** Answers direct forwards. */
  readonly onForward?: OnForward | undefined;
  /** The system's. */
  readonly sockets: Sockets;
  /** Addresses listened at. */
  readonly maxListeners: number;
  /** Channels that connections to them may hold. */
  readonly maxForwarded: number;
  /** Milliseconds that connecting may take. */
  readonly forwardTimeout: number;
  /** Told of what the program's functions throw, and of permissions that it lacks. */
  readonly onError: (error: unknown) => void;
}

/** The longest path of a Unix socket. */
const MAX_PATH = 107;

const utf8 = new TextEncoder();

/**
 * From the root, as there is no folder that a client could mean otherwise, and without steps back: who allows what begins with a folder
 * means what is in it.
 */
function isPath(text: string): boolean {
  return text.startsWith("/") && text.isWellFormed() && !text.includes("\0") && !text.split("/").includes("..") &&
    utf8.encode(text).length <= MAX_PATH;
}

/** The forwards of one connection. */
export class Forwards {
  readonly #services: ForwardAcceptance;
  readonly #stop = new AbortController();
  readonly #listeners: ServedListeners;
  readonly #sockets = new Set<SystemSocket>();
  readonly #lookUps = new LookUps();
  #refed = true;

  constructor(mux: Mux, services: ForwardAcceptance) {
    this.#services = services;
    this.#listeners = new ServedListeners(mux, services, (socket) => this.#hold(socket));
  }

  /** Whether sockets keep the program alive. */
  setRef(refed: boolean): void {
    this.#refed = refed;
    this.#listeners.setRef(refed);
    for (const socket of this.#sockets) socket.setRef(refed);
  }

  /** The connection has ended: nothing stays open. Sockets of channels end with those. */
  end(error: Error | null): void {
    this.#stop.abort(closedError(error));
    this.#listeners.end();
  }

  /** A socket has come; returns what tells that it has gone. */
  #hold(socket: SystemSocket): () => void {
    this.#sockets.add(socket);
    if (!this.#refed) socket.setRef(false);
    return () => this.#sockets.delete(socket);
  }

  /** Asks the grants and the program: both have to allow it, where both have a say. */
  async #mayForward(request: ForwardRequest): Promise<boolean> {
    const { grants, allowForward, info } = this.#services, said = grantsSay(grants, request);
    if (said === "forbidden") return false;
    const allowed = allowForward === undefined ? said === "allowed" : await allowForward(info, request) === true;
    // Nothing is opened for a connection that is over.
    this.#stop.signal.throwIfAborted();
    return allowed;
  }

  /** Opens a socket within the time, and not beyond the connection's end. */
  async #connect(target: Target): Promise<SystemSocket> {
    const { sockets, forwardTimeout, onError } = this.#services, connecting = new AbortController();
    const { signal } = this.#stop, onStop = (): void => connecting.abort(signal.reason);
    // It may have come since somebody allowed this.
    signal.throwIfAborted();
    const timer = new Timer(() => connecting.abort(new DOMException("Connecting took too long", "TimeoutError")));
    timer.start(forwardTimeout);
    signal.addEventListener("abort", onStop, { once: true });
    let over: (() => void) | undefined;
    try {
      if (!("path" in target) && !isAddress(target.hostname)) over = await this.#lookUps.begin(connecting.signal);
      const socket = await sockets.connect(target, connecting.signal);
      over?.();
      return socket;
    } catch (error) {
      // The look-up goes on where it was given up.
      if (!connecting.signal.aborted) over?.();
      if (isNotCapable(error)) onError(error);
      throw new ChannelOpenError(wordsFor(error), OpenFailureReason.CONNECT_FAILED, { cause: error });
    } finally {
      timer.stop();
      signal.removeEventListener("abort", onStop);
    }
  }

  /** A channel over a socket, which is open before the client hears so: nothing that it sends can be lost. */
  async #joined<A extends Deno.Addr>(
    id: number,
    target: Target,
    addrs: { localAddr: A; remoteAddr: A },
  ): Promise<{ channel: ConnChannel; opened: () => void }> {
    const socket = await this.#connect(target), gone = this.#hold(socket), { channel, conn } = acceptConn(id, addrs);
    let opened = false;
    // The connection may end before the mux has opened the channel.
    const dropped = (): void => {
      if (opened) return;
      gone();
      socket.close();
    };
    conn.closed.then(dropped, dropped);
    return {
      channel,
      opened: () => {
        opened = true;
        // What cuts a forward short, both of its ends see.
        pump(conn, socket).catch(() => {}).finally(gone);
      },
    };
  }

  /** RFC 4254 section 7.2. */
  readonly directTcpip: ChannelAcceptor = async ({ id, data }) => {
    const { host: hostname, port, originHost, originPort } = DirectTcpip.decode(data);
    if (hostname === "" || !isHost(hostname) || port < 1 || port > 0xffff) return null;
    if (!isHost(originHost) || originPort > 0xffff) return null;
    if (!await this.#mayForward({ kind: "direct", hostname, port })) return null;
    const addrs = {
      localAddr: { transport: "tcp", hostname, port },
      remoteAddr: { transport: "tcp", hostname: originHost, port: originPort },
    } as const;
    const { onForward, info, onError } = this.#services;
    if (onForward === undefined) return await this.#joined<Deno.NetAddr>(id, { hostname, port }, addrs);
    const { channel, conn } = acceptConn<Deno.NetAddr>(id, addrs);
    return {
      channel,
      opened: () =>
        callBack(() => onForward(info, { hostname, port, conn }), (error) => {
          // A client that leaves breaks the connection's streams, and that is no news.
          if (channelCore(channel).hasEnded && error instanceof SshError) return;
          channelCore(channel).abort(error);
          onError(error);
        }),
    };
  };

  /** OpenSSH PROTOCOL 2.4. */
  readonly directUnix: ChannelAcceptor = async ({ id, data }) => {
    const { path } = DirectStreamlocal.decode(data);
    if (!isPath(path) || !await this.#mayForward({ kind: "direct-unix", path })) return null;
    const addr = { transport: "unix", path } as const;
    return await this.#joined<Deno.UnixAddr>(id, { path }, { localAddr: addr, remoteAddr: addr });
  };

  /** RFC 4254 section 7.1. The port goes into the reply where the client left it open. */
  async listen(data: Uint8Array, wantReply: boolean): Promise<Uint8Array<ArrayBuffer> | boolean> {
    const { address: hostname, port } = TcpipForward.decode(data);
    // Binding looks names up while everybody waits: the name servers of a name's owner could take their time.
    if (!isBindable(hostname) || port > 0xffff || port === 0 && !wantReply) return false;
    if (!this.#listeners.takes(hostname, port)) return false;
    if (!await this.#mayForward({ kind: "listen", hostname, port })) return false;
    const bound = this.#listeners.listen(hostname, port);
    return bound === null ? false : port === 0 ? TcpipForwardReply.encode({ port: bound }) : true;
  }

  /** RFC 4254 section 7.1. */
  cancel(data: Uint8Array): Promise<boolean> {
    const { address, port } = CancelTcpipForward.decode(data);
    return this.#listeners.cancel(address, port);
  }

  /** OpenSSH PROTOCOL 2.4. */
  async listenUnix(data: Uint8Array): Promise<boolean> {
    const { path } = StreamlocalForward.decode(data);
    if (!isPath(path) || !this.#listeners.takes(path, null)) return false;
    return await this.#mayForward({ kind: "listen-unix", path }) && this.#listeners.listen(path, null) !== null;
  }

  /** OpenSSH PROTOCOL 2.4. */
  cancelUnix(data: Uint8Array): Promise<boolean> {
    return this.#listeners.cancel(CancelStreamlocalForward.decode(data).path, null);
  }
}

/** Registers channel types and global requests at a server's mux. Nothing answers there where nothing can be allowed. */
export function acceptForwards(mux: Mux, services: ForwardAcceptance): Forwards {
  const forwards = new Forwards(mux, services);
  if (services.allowForward === undefined && services.grants.portForwarding.length === 0) return forwards;
  mux.onChannel("direct-tcpip", forwards.directTcpip);
  mux.onChannel("direct-streamlocal@openssh.com", forwards.directUnix);
  mux.onRequest(TcpipForward.name, (data, wantReply) => forwards.listen(data, wantReply));
  mux.onRequest(CancelTcpipForward.name, (data) => forwards.cancel(data));
  mux.onRequest(StreamlocalForward.name, (data) => forwards.listenUnix(data));
  mux.onRequest(CancelStreamlocalForward.name, (data) => forwards.cancelUnix(data));
  return forwards;
}
