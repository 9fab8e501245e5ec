/**
 * The paths that a client opens through its server, each checked before anything is sent. RFC 4254 section 7.
 *
 * @module
 */
import type { Mux } from "../connection/mux.ts";
import { checkWait } from "../wire/check.ts";
import type { WaitOptions } from "../wire/deadline.ts";
import { checkAddress, checkForwardOptions, checkListenAddress, checkSocketPath } from "./check.ts";
import type { SshConn } from "./conn.ts";
import { dialTcp, dialUnix } from "./dial.ts";
import { Ending } from "./ending.ts";
import type { Forward, ForwardOptions } from "./forward.ts";
import type { Lender } from "./lender.ts";
import { LentListeners } from "./lent_listeners.ts";
import type { SshListener } from "./listener.ts";
import type { TcpAddress, TcpListenAddress, UnixAddress } from "./local_sockets.ts";
import { Refs } from "./refs.ts";
import { RemoteListeners } from "./remote_listeners.ts";
import { forwardDynamic, type ForwardHost, forwardLocal, forwardRemote, type RemoteTarget } from "./standing.ts";

/** Where the server is to listen. */
export type RemoteAddress = { hostname?: string | undefined; port: number } | { path: string };

const REMOTE = { dialled: true, unix: true } as const;

/** The paths of one connection; the methods are those of `SshClient`. */
export class ClientForwards {
  /** The connection that they run over. */
  readonly host: ForwardHost;
  /** What the server listens on; one connection has one of these. */
  readonly listeners: RemoteListeners;

  /** In the place of those where the connection is lent. */
  readonly #lent: LentListeners | null;

  /** `closed` settles when the connection has ended, and rejects when it was lost. `lender` is whose it is, where it is lent. */
  constructor(mux: Mux, closed: Promise<void>, lender?: Lender) {
    const ending = new Ending(closed);
    this.host = { mux, ending, refs: new Refs(), lender };
    this.listeners = new RemoteListeners(mux, ending);
    this.#lent = lender === undefined ? null : new LentListeners(lender, ending);
  }

  /** See `SshClient.dial()`. */
  async dial(
    options: { hostname: string; port: number } & WaitOptions,
  ): Promise<SshConn<Deno.NetAddr>> {
    checkAddress("dial()", null, options, { dialled: true, unix: false, more: ["signal", "timeout"] });
    checkWait(options);
    return await dialTcp(this.host.mux, options);
  }

  /** See `SshClient.dialUnix()`. */
  async dialUnix(path: string, options?: WaitOptions): Promise<SshConn<Deno.UnixAddr>> {
    checkSocketPath(path);
    checkWait(options);
    return await dialUnix(this.host.mux, path, options);
  }

  /** See `SshClient.listen()`. */
  async listen(
    options: { hostname?: string | undefined; port: number } & WaitOptions,
  ): Promise<SshListener<Deno.NetAddr>> {
    checkAddress("listen()", null, options, { dialled: false, unix: false, more: ["signal", "timeout"] });
    checkWait(options);
    return await (this.#lent ?? this.listeners).listenTcp(options);
  }

  /** See `SshClient.listenUnix()`. */
  async listenUnix(path: string, options?: WaitOptions): Promise<SshListener<Deno.UnixAddr>> {
    checkSocketPath(path);
    checkWait(options);
    return await (this.#lent ?? this.listeners).listenUnix(path, options);
  }

  /** See `SshClient.forwardLocal()`. */
  async forwardLocal(
    from: TcpListenAddress | UnixAddress,
    to: RemoteTarget,
    options: ForwardOptions,
  ): Promise<Forward> {
    checkListenAddress("forwardLocal()", "from", from);
    checkAddress("forwardLocal()", "to", to, REMOTE);
    checkForwardOptions("forwardLocal()", options);
    return await forwardLocal(this.host, from, to, options);
  }

  /** See `SshClient.forwardDynamic()`. */
  async forwardDynamic(from: TcpListenAddress | UnixAddress, options: ForwardOptions): Promise<Forward> {
    checkListenAddress("forwardDynamic()", "from", from);
    checkForwardOptions("forwardDynamic()", options);
    return await forwardDynamic(this.host, from, options);
  }

  /** See `SshClient.forwardRemote()`. */
  async forwardRemote(from: RemoteAddress, to: TcpAddress | UnixAddress, options: ForwardOptions): Promise<Forward> {
    checkAddress("forwardRemote()", "from", from, { dialled: false, unix: true });
    checkAddress("forwardRemote()", "to", to, { dialled: true, named: false, unix: true });
    checkForwardOptions("forwardRemote()", options);
    return await forwardRemote(this.host, this.listeners, from, to, options);
  }
}
