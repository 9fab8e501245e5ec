/**
 * Serving HTTP where the server listens, with Deno's own HTTP server behind it. Reaches the system.
 *
 * Deno's server wants sockets: it listens on the loopback address, and each forwarded connection is joined with one to it. Others on this
 * machine can connect to it, too. So the local ports of our own connections are noted, and whoever comes from another one is turned
 * away before the handler hears of it.
 *
 * @module
 */
import type { RemoteAddress } from "../forward/client.ts";
import type { Forward, ForwardOptions } from "../forward/forward.ts";
import { connectLocal } from "../forward/local_sockets.ts";
import { forwardHere, type ForwardHost } from "../forward/standing.ts";
import type { RemoteListeners } from "../forward/remote_listeners.ts";
import { abortable } from "../wire/abortable.ts";
import { callBack } from "../wire/callback.ts";
import type { MaybePromise } from "../wire/types.ts";

/** Answers requests; `info.remoteAddr` is the visitor as the server tells of it. */
export type HttpHandler = (request: Request, info: Deno.ServeHandlerInfo) => MaybePromise<Response>;

const HERE = "127.0.0.1";

/** As `SshClient.serve()`. */
export async function serveThrough(
  host: ForwardHost,
  listeners: RemoteListeners,
  from: RemoteAddress,
  handler: HttpHandler,
  options: ForwardOptions,
): Promise<Forward> {
  options.signal?.throwIfAborted();
  const visitors = new Visitors(), over = new AbortController();
  const server = serveHere(visitors, handler, options, over.signal);
  const end = async (): Promise<void> => {
    // Nobody waits for the answers of handlers that still run, and neither does the server.
    over.abort();
    await server.shutdown().catch(() => {});
  };
  const { port } = server.addr;
  try {
    return await forwardHere(host, listeners, from, {
      to: null,
      connect: async (signal, addr) => {
        const socket = await connectLocal({ hostname: HERE, port }, signal) as Deno.TcpConn;
        socket.unref();
        return visitors.came(socket, addr);
      },
      // Lets the requests that run be answered, and hangs up on visitors that wait.
      stopped: () => void server.shutdown().catch(() => {}),
      ended: end,
    }, options);
  } catch (error) {
    await end();
    throw error;
  }
}

/** The visitors whose connections are open. */
class Visitors {
  /** By the port here that a connection comes from. */
  readonly #ports = new Map<number, Deno.Addr>();

  /** A connection of ours. */
  came(socket: Deno.TcpConn, addr: Deno.Addr) {
    const { port } = socket.localAddr;
    this.#ports.set(port, addr);
    return {
      remoteAddr: socket.remoteAddr,
      read: (p: Uint8Array) => socket.read(p),
      write: (p: Uint8Array) => socket.write(p),
      closeWrite: () => socket.closeWrite(),
      close: () => {
        this.#ports.delete(port);
        socket.close();
      },
    };
  }

  /** Who is behind a connection; null where it is none of ours. */
  behind({ hostname, port }: Deno.NetAddr): Deno.Addr | null {
    return hostname === HERE ? this.#ports.get(port) ?? null : null;
  }
}

function serveHere(visitors: Visitors, handler: HttpHandler, { onError }: ForwardOptions, over: AbortSignal) {
  const answer = async (request: Request, info: Deno.ServeHandlerInfo, remoteAddr: Deno.Addr): Promise<Response> => {
    const own: Deno.ServeHandlerInfo = {
      remoteAddr,
      // Asked for only where it is wanted: its rejection would else be nobody's.
      get completed() {
        return info.completed;
      },
    };
    try {
      // Nobody reads what comes too late.
      return await abortable((async () => await handler(request, own))(), over, (late) => late.body?.cancel());
    } catch (error) {
      if (over.aborted) return new Response(null, { status: 503 });
      throw error;
    }
  };
  const server = Deno.serve({
    hostname: HERE,
    port: 0,
    onListen: () => {},
    ...onError === undefined ? {} : {
      onError: (error: unknown) => {
        callBack(() => onError(error, null));
        return new Response("Internal Server Error", { status: 500 });
      },
    },
  }, (request, info) => {
    const remoteAddr = visitors.behind(info.remoteAddr);
    if (remoteAddr === null) return new Response(null, { status: 403, headers: { connection: "close" } });
    return answer(request, info, remoteAddr);
  });
  server.unref();
  if (server.addr.transport === "tcp" && server.addr.hostname === HERE && !isDuplicated()) return server;
  server.shutdown().catch(() => {});
  throw new TypeError(
    "Cannot serve HTTP through the connection: DENO_SERVE_ADDRESS would have it listen elsewhere; unset it",
  );
}

/** Whether Deno may listen at one address more, where who comes from which port means nothing. */
function isDuplicated(): boolean {
  const variable = "DENO_SERVE_ADDRESS";
  if (Deno.permissions.querySync({ name: "env", variable }).state !== "granted") return false;
  return Deno.env.get(variable)?.startsWith("duplicate") ?? false;
}
