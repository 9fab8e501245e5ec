/**
 * A listener of this machine whose connections a client gets over channels, for what belongs to one of its sessions: a display, an agent.
 * No I/O of its own.
 *
 * While as many are open as may be, no more are accepted: they wait with the system.
 *
 * @module
 */
import { TurnShare } from "../wire/turns.ts";
import type { SshConn } from "./conn.ts";
import { pump } from "./pump.ts";
import type { SystemListener, SystemSocket } from "./sockets.ts";

/** Milliseconds to wait when connections cannot be accepted, doubled each time. */
const PAUSE = { first: 5, longest: 1000 };

/** What a relay does. */
export interface RelayOptions {
  /** Opens the channel of a connection. */
  readonly open: (socket: SystemSocket, signal: AbortSignal) => Promise<SshConn>;
  /** Connections open at once. */
  readonly most: number;
  /** Whether the first connection is the only one. */
  readonly single?: boolean | undefined;
  /** Told once that it has stopped and nothing is open. */
  readonly onDone?: (() => void) | undefined;
}

/** A listener and its connections. */
export class Relay {
  readonly #listener: SystemListener;
  readonly #options: RelayOptions;
  readonly #sockets = new Set<SystemSocket>();
  readonly #end = new AbortController();
  #open = true;
  #refed = true;
  #wake: (() => void) | null = null;

  /** Begins to accept. */
  constructor(listener: SystemListener, options: RelayOptions) {
    this.#listener = listener;
    this.#options = options;
    void this.#accept();
  }

  /** Accepts no more; what is open goes on. Safe to call twice. */
  stop(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#listener.close();
    this.#wake?.();
    this.#gone();
  }

  /** As `stop()`, and ends what is open. */
  end(reason: unknown): void {
    this.stop();
    this.#end.abort(reason);
  }

  /** Whether sockets keep the program alive. */
  setRef(refed: boolean): void {
    this.#refed = refed;
    if (this.#open) this.#listener.setRef(refed);
    for (const socket of this.#sockets) socket.setRef(refed);
  }

  async #accept(): Promise<void> {
    const share = new TurnShare();
    let pause = 0;
    while (this.#open) {
      if (share.isUsed) await share.next();
      if (this.#sockets.size >= this.#options.most) {
        await this.#sleep(Infinity);
        continue;
      }
      try {
        const socket = await this.#listener.accept();
        pause = 0;
        if (!this.#open) return socket.close() as undefined;
        void this.#carry(socket);
        if (this.#options.single) this.stop();
      } catch {
        if (!this.#open) return;
        pause = Math.min(pause === 0 ? PAUSE.first : 2 * pause, PAUSE.longest);
        await this.#sleep(pause);
      }
    }
  }

  /** Ends early when a connection has gone, and at the end. */
  async #sleep(milliseconds: number): Promise<void> {
    const slept = Promise.withResolvers<void>();
    const timer = milliseconds === Infinity ? undefined : setTimeout(slept.resolve, milliseconds);
    this.#wake = slept.resolve;
    await slept.promise;
    this.#wake = null;
    clearTimeout(timer);
  }

  async #carry(socket: SystemSocket): Promise<void> {
    this.#sockets.add(socket);
    if (!this.#refed) socket.setRef(false);
    const { signal } = this.#end;
    try {
      await pump(await this.#options.open(socket, signal), socket, { signal });
    } catch {
      // The client wants none, or has gone, or one side has reset the other.
      socket.close();
    } finally {
      this.#sockets.delete(socket);
      this.#wake?.();
      this.#gone();
    }
  }

  #gone(): void {
    if (!this.#open && this.#sockets.size === 0) this.#options.onDone?.();
  }
}
