/**
 * Where a server listens for one client, and the connections that come there. RFC 4254 sections 7.1 and 7.2, OpenSSH PROTOCOL 2.4. No
 * I/O of its own.
 *
 * While the client has as many connections open as it may, no more are accepted: they wait with the system.
 *
 * @module
 */
import type { Mux } from "../connection/mux.ts";
import { Timer } from "../wire/timer.ts";
import { turnEnd } from "../wire/turn_end.ts";
import { TurnShare } from "../wire/turns.ts";
import { openConn, type SshConn } from "./conn.ts";
import { ForwardedStreamlocal, ForwardedTcpip } from "./messages.ts";
import { pump } from "./pump.ts";
import { isNotCapable, type Sockets, type SystemListener, type SystemSocket } from "./sockets.ts";

/** What listeners may take. */
export interface ListenerServices {
  /** The system's. */
  readonly sockets: Sockets;
  /** Addresses listened at. */
  readonly maxListeners: number;
  /** Channels that connections to them may hold. */
  readonly maxForwarded: number;
  /** Told of permissions that the program lacks. */
  readonly onError: (error: unknown) => void;
}

/** Milliseconds to wait when connections cannot be accepted, doubled each time. */
const PAUSE = { first: 5, longest: 1000 };

/** An address that is listened at. */
interface Open {
  /** One for each family. */
  readonly listeners: readonly SystemListener[];
  /** Settles when nobody waits for their connections any more: only then the system lets go of them. */
  ended: Promise<unknown>;
}

/** The listeners of one connection. An address with the port null is the path of a Unix socket. */
export class ServedListeners {
  readonly #mux: Mux;
  readonly #limits: ListenerServices;
  readonly #hold: (socket: SystemSocket) => () => void;
  readonly #open = new Map<string, Open>();
  /** Channels of connections that came, asked for or open. */
  #forwarded = 0;
  /** Told when one has gone, and at the end. */
  readonly #waiting = new Set<() => void>();
  #ended = false;
  #refed = true;

  /** `hold` is told of sockets, and returns what tells it that they have gone. */
  constructor(mux: Mux, limits: ListenerServices, hold: (socket: SystemSocket) => () => void) {
    this.#mux = mux;
    this.#limits = limits;
    this.#hold = hold;
  }

  /** Whether there is room for an address that is not listened at. Port 0 is always another one. */
  takes(address: string, port: number | null): boolean {
    return this.#open.size < this.#limits.maxListeners && !this.#open.has(keyOf(address, port));
  }

  /** Listens. Returns the port, or null where that is not possible, and behind the end. */
  listen(address: string, port: number | null): number | null {
    if (this.#ended) return null;
    const { sockets, onError } = this.#limits;
    let listeners: SystemListener[];
    try {
      listeners = port === null ? [sockets.listenUnix(address)] : sockets.listen(address, port);
    } catch (error) {
      if (isNotCapable(error)) onError(error);
      return null;
    }
    const bound = listeners[0]!.port, key = keyOf(address, port === null ? null : bound);
    const open: Open = { listeners, ended: Promise.resolve() }, isOpen = (): boolean => this.#open.get(key) === open;
    this.#open.set(key, open);
    open.ended = Promise.all(listeners.map((listener) => {
      if (!this.#refed) listener.setRef(false);
      return this.#accept(listener, isOpen, address, port === null ? null : bound);
    }));
    return bound;
  }

  /**
   * Stops listening where that was asked for, and resolves when somebody else may listen there; connections that have come go on.
   */
  async cancel(address: string, port: number | null): Promise<boolean> {
    const key = keyOf(address, port), open = this.#open.get(key);
    if (open === undefined) return false;
    this.#open.delete(key);
    for (const listener of open.listeners) listener.close();
    this.#wake();
    await open.ended;
    return true;
  }

  /** Stops listening everywhere. */
  end(): void {
    this.#ended = true;
    const open = this.#all();
    this.#open.clear();
    for (const listener of open) listener.close();
    this.#wake();
  }

  /** Whether listeners keep the program alive. */
  setRef(refed: boolean): void {
    this.#refed = refed;
    for (const listener of this.#all()) listener.setRef(refed);
  }

  #all(): SystemListener[] {
    return [...this.#open.values()].flatMap(({ listeners }) => listeners);
  }

  /** Whatever else the client has open counts, too, but one connection is always possible. */
  get #isFull(): boolean {
    const { maxForwarded } = this.#limits;
    return this.#forwarded >= maxForwarded ||
      this.#forwarded > 0 && this.#mux.channelsBeside("session") >= maxForwarded;
  }

  /** A connection has gone; nobody tells when another channel does, so that is looked at now and then. */
  #woken(): Promise<void> {
    if (this.#forwarded < this.#limits.maxForwarded) return this.#sleep(PAUSE.longest);
    return new Promise((resolve) => this.#waiting.add(resolve));
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  async #accept(
    listener: SystemListener,
    isOpen: () => boolean,
    address: string,
    port: number | null,
  ): Promise<void> {
    // The client hears of the listener first.
    await turnEnd();
    const share = new TurnShare();
    let pause = 0;
    const isFull = (): boolean => isOpen() && this.#isFull;
    for (;;) {
      if (share.isUsed) await share.next();
      while (isFull()) await this.#woken();
      if (!isOpen()) return;
      try {
        const socket = await listener.accept();
        pause = 0;
        // The last place may have gone to another listener's connection: this one keeps its socket until there is a place again.
        while (isFull()) await this.#woken();
        if (isOpen()) void this.#forward(socket, address, port);
        else socket.close();
      } catch {
        if (!isOpen()) return;
        pause = Math.min(pause === 0 ? PAUSE.first : 2 * pause, PAUSE.longest);
        await this.#sleep(pause);
      }
    }
  }

  /** Ends early with the connection. */
  async #sleep(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>(), timer = new Timer(resolve);
    // The connection keeps the program alive, or does not.
    timer.unref();
    timer.start(milliseconds);
    this.#waiting.add(resolve);
    await promise;
    this.#waiting.delete(resolve);
    timer.stop();
  }

  async #forward(socket: SystemSocket, address: string, port: number | null): Promise<void> {
    const gone = this.#hold(socket);
    this.#forwarded++;
    try {
      const conn = port === null ? await this.#openUnix(address) : await this.#openTcp(address, port, socket);
      await pump(conn, socket);
    } catch {
      // The client wants none, or has gone, or one side has reset the other.
      socket.close();
    } finally {
      gone();
      this.#forwarded--;
      this.#wake();
    }
  }

  #openTcp(address: string, port: number, { from }: SystemSocket): Promise<SshConn> {
    const { hostname, port: fromPort } = from ?? { hostname: "", port: 0 };
    const data = ForwardedTcpip.encode({ address, port, originHost: hostname, originPort: fromPort });
    return openConn<Deno.NetAddr>(this.#mux, ForwardedTcpip.name, data, {
      localAddr: { transport: "tcp", hostname, port: fromPort },
      remoteAddr: { transport: "tcp", hostname: address, port },
    });
  }

  #openUnix(path: string): Promise<SshConn> {
    const data = ForwardedStreamlocal.encode({ path, reserved: new Uint8Array(0) }), addr = { transport: "unix", path };
    return openConn(this.#mux, ForwardedStreamlocal.name, data, {
      localAddr: addr as Deno.UnixAddr,
      remoteAddr: addr as Deno.UnixAddr,
    });
  }
}

function keyOf(address: string, port: number | null): string {
  return port === null ? `unix ${address}` : `tcp ${address} ${port}`;
}
