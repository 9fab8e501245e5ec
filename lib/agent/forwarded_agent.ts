/**
 * The agent that a client lends to a session, from the server's side. OpenSSH PROTOCOL.agent section 3. No I/O of its own.
 *
 * @module
 */
import type { Mux } from "../connection/mux.ts";
import { SshError } from "../errors.ts";
import { openConn, type SshConn } from "../forward/conn.ts";
import { Relay } from "../forward/relay.ts";
import { isNotCapable, type Sockets } from "../forward/sockets.ts";
import type { ForwardedAgent } from "../session/types.ts";
import { checkWait } from "../wire/check.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import type { ByteDuplex } from "../wire/types.ts";
import { socketFolder } from "./agent_socket.ts";
import { AGENT_CHANNEL } from "./lent_agent.ts";

/** Connections to the socket, open at once. */
const MAX_CLIENTS = 32;

const NOTHING = new Uint8Array(0);

/** What agents of a server need. */
export interface AgentServices {
  /** The system's. */
  readonly sockets: Sockets;
  /** Told of permissions that the program lacks. */
  readonly onError: (error: unknown) => void;
}

/** The agents of one connection's sessions. */
export class ForwardedAgents {
  readonly #mux: Mux;
  readonly #services: AgentServices;
  readonly #sockets = new Set<Relay>();
  #refed = true;

  constructor(mux: Mux, services: AgentServices) {
    this.#mux = mux;
    this.#services = services;
  }

  /** The agent for one session, which ends it by `Symbol.dispose`. */
  open(): ForwardedAgent & Disposable {
    const end = new AbortController(), conns = new Set<SshConn>();
    const connect = async (signal: AbortSignal | undefined): Promise<SshConn> => {
      end.signal.throwIfAborted();
      const addr: Deno.UnixAddr = { transport: "unix", path: "" };
      const conn = await openConn(this.#mux, AGENT_CHANNEL, NOTHING, { localAddr: addr, remoteAddr: addr, signal });
      conns.add(conn);
      const gone = (): void => void conns.delete(conn);
      conn.closed.then(gone, gone);
      if (!end.signal.aborted) return conn;
      void conn.close();
      throw end.signal.reason;
    };
    let listening: Promise<string> | null = null;
    return {
      open: async (options: WaitOptions = {}): Promise<ByteDuplex> => {
        checkWait(options);
        return await withDeadline(options, () => "the client to open a channel to its agent", connect);
      },
      listen: () => listening ??= this.#listen(connect, end.signal),
      [Symbol.dispose]: () => {
        end.abort(new SshError("Cannot use agent: the session it was lent to has ended", { code: "CLOSED" }));
        for (const conn of conns) void conn.close();
      },
    };
  }

  async #listen(connect: (signal: AbortSignal) => Promise<SshConn>, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    let remove = (): void => {};
    try {
      const folder = await socketFolder(), path = `${folder.path}/agent`;
      remove = folder.remove;
      const relay: Relay = new Relay(this.#services.sockets.listenUnix(path), {
        most: MAX_CLIENTS,
        open: (_socket, signal) => connect(signal),
        onDone: () => this.#sockets.delete(relay),
      });
      this.#sockets.add(relay);
      if (!this.#refed) relay.setRef(false);
      const end = (): void => {
        relay.end(signal.reason);
        remove();
      };
      if (signal.aborted) end();
      else signal.addEventListener("abort", end, { once: true });
      signal.throwIfAborted();
      return path;
    } catch (error) {
      remove();
      if (isNotCapable(error)) this.#services.onError(error);
      throw error;
    }
  }

  /** Whether sockets keep the program alive. */
  setRef(refed: boolean): void {
    this.#refed = refed;
    for (const relay of this.#sockets) relay.setRef(refed);
  }
}
