/**
 * A Unix socket at which an agent of this program answers others. No I/O of its own.
 *
 * While as many are connected as may be, no more are accepted: they wait with the system.
 *
 * @module
 */
import { bindUnix } from "../forward/sockets.ts";
import type { ByteDuplex } from "../wire/types.ts";
import { socketFolder } from "./agent_socket.ts";

/** Connections open at once. */
const MOST_CLIENTS = 128;
/** Milliseconds to wait when connections cannot be accepted, doubled each time. */
const PAUSE = { first: 5, longest: 1000 } as const;

/** A socket at which an agent answers. */
export interface AgentListener extends AsyncDisposable {
  /** Its path, which belongs into SSH_AUTH_SOCK of those who are to find it. */
  readonly path: string;
  /** Listens no more, and ends the connections. Safe to call twice. */
  close(): Promise<void>;
  /** Lets the program end while it listens. */
  unref(): void;
  /** Keeps the program alive, as it does at first. */
  ref(): void;
}

/** A connection that was accepted. */
type Accepted = Awaited<ReturnType<ReturnType<typeof bindUnix>["accept"]>>;

/** Listens at `path`, or in a new folder that only the user can enter. */
export async function listenForAgent(
  path: string | undefined,
  serve: (conn: ByteDuplex, signal: AbortSignal) => Promise<void>,
  onClose: (listener: AgentListener) => void,
): Promise<AgentListener> {
  const folder = path === undefined ? await socketFolder() : null;
  try {
    return new UnixAgentListener(path ?? `${folder!.path}/agent`, serve, (listener) => {
      folder?.remove();
      onClose(listener);
    });
  } catch (error) {
    folder?.remove();
    throw error;
  }
}

class UnixAgentListener implements AgentListener {
  readonly path: string;
  readonly #listener: ReturnType<typeof bindUnix>;
  readonly #serve: (conn: ByteDuplex, signal: AbortSignal) => Promise<void>;
  readonly #onClose: (listener: AgentListener) => void;
  readonly #end = new AbortController();
  readonly #conns = new Map<Accepted, Promise<void>>();
  readonly #accepting: Promise<void>;
  #refed = true;
  #wake: (() => void) | null = null;

  constructor(
    path: string,
    serve: (conn: ByteDuplex, signal: AbortSignal) => Promise<void>,
    onClose: (listener: AgentListener) => void,
  ) {
    this.path = path;
    this.#serve = serve;
    this.#onClose = onClose;
    this.#listener = bindUnix(path);
    this.#accepting = this.#accept();
  }

  async #accept(): Promise<void> {
    const { signal } = this.#end;
    let pause = 0;
    while (!signal.aborted) {
      if (this.#conns.size >= MOST_CLIENTS) {
        await this.#sleep(Infinity);
        continue;
      }
      try {
        const conn = await this.#listener.accept();
        pause = 0;
        this.#conns.set(conn, this.#carry(conn));
      } catch {
        if (signal.aborted) return;
        pause = Math.min(pause === 0 ? PAUSE.first : 2 * pause, PAUSE.longest);
        await this.#sleep(pause);
      }
    }
  }

  async #carry(conn: Accepted): Promise<void> {
    if (!this.#refed) conn.unref();
    try {
      await this.#serve(conn, this.#end.signal);
    } catch {
      // Garbage, or a client that has gone: its connection ends, and that is all there is to say.
    } finally {
      try {
        conn.close();
      } catch {
        // Its streams have closed it.
      }
      this.#conns.delete(conn);
      this.#wake?.();
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

  async close(): Promise<void> {
    if (!this.#end.signal.aborted) {
      this.#end.abort(new Error("The agent listens no more"));
      this.#listener.close();
      this.#wake?.();
      this.#onClose(this);
    }
    await this.#accepting;
    await Promise.all(this.#conns.values());
  }

  unref(): void {
    this.#setRef(false);
  }

  ref(): void {
    this.#setRef(true);
  }

  #setRef(refed: boolean): void {
    this.#refed = refed;
    for (const one of [this.#listener, ...this.#conns.keys()]) refed ? one.ref() : one.unref();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
