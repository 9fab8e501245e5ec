/**
 * What a server listens on for this side where the connection is lent, and its lender hands over the connections as sockets. RFC 4254
 * section 7.1. No I/O of its own.
 *
 * @module
 */
import type { WaitOptions } from "../wire/deadline.ts";
import type { Ending } from "./ending.ts";
import { type Lender, lent, lentAddress, type LentListener } from "./lender.ts";
import { ConnListener } from "./listener.ts";
import { hangUp } from "./local_sockets.ts";
import { BACKLOG } from "./remote_listeners.ts";
import { SocketConn } from "./socket_conn.ts";

/** The listening sockets of a connection that is lent. */
export class LentListeners {
  readonly #lender: Lender;
  readonly #ending: Ending;

  /** Of a lender, and of the end of what it lends. */
  constructor(lender: Lender, ending: Ending) {
    this.#lender = lender;
    this.#ending = ending;
  }

  /** See `SshClient.listen()`. */
  async listenTcp(
    { signal, timeout, ...where }: { hostname?: string | undefined; port: number } & WaitOptions,
  ): Promise<ConnListener<Deno.NetAddr>> {
    const there = await lent(this.#lender, this.#ending, lentAddress(where), { signal, timeout });
    return this.#listening<Deno.NetAddr>(there, signal);
  }

  /** See `SshClient.listenUnix()`. */
  async listenUnix(path: string, options?: WaitOptions): Promise<ConnListener<Deno.UnixAddr>> {
    return this.#listening<Deno.UnixAddr>(await lent(this.#lender, this.#ending, { path }, options), options?.signal);
  }

  #listening<A extends Deno.Addr>(there: LentListener, signal: AbortSignal | undefined): ConnListener<A> {
    const localAddr = there.addr as A;
    const onAbort = (): void => {
      made.fail(signal!.reason);
      void made.close();
    };
    const made = new ConnListener<A>(localAddr, () => {
      leave();
      signal?.removeEventListener("abort", onAbort);
      return there.stop();
    });
    const leave = this.#ending.watch((lost) => {
      if (lost !== null) made.fail(lost.error);
      void made.close();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
    const accepting = async (): Promise<void> => {
      for (;;) {
        const socket = await there.accept();
        if (made.queued >= BACKLOG) hangUp(socket);
        else made.push(new SocketConn(socket, { localAddr, remoteAddr: socket.remoteAddr as A }, this.#ending));
      }
    };
    accepting().catch((error) => {
      // Where it was closed, nothing of this is heard.
      made.fail(error);
      void made.close();
    });
    return made;
  }
}
