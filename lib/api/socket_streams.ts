/**
 * The streams of a socket, which fail each by itself.
 *
 * @module
 */
import { ChannelConn } from "../forward/conn.ts";
import { hasDeno } from "../wire/system.ts";
import type { ByteDuplex } from "../wire/types.ts";

/** A `Deno.TcpConn`, as far as it is used here. */
interface Socket extends ByteDuplex {
  write(p: Uint8Array): Promise<number>;
  close(): void;
}

/**
 * A socket's streams. Where a write fails, that of Deno's own `writable` closes the socket, and with it goes what lies there to be read: a
 * peer that said why it hangs up, and did so while this side wrote, would not be heard. Closing or aborting this one closes the socket.
 */
export function socketStreams(socket: Socket): ByteDuplex {
  if (!hasDeno()) return socket;
  const close = (): void => closeSocket(socket);
  const writable = new WritableStream<Uint8Array>({
    async write(chunk) {
      let at = await socket.write(chunk);
      while (at < chunk.length) at += await socket.write(chunk.subarray(at));
    },
    close,
    abort: close,
  });
  return { readable: socket.readable, writable };
}

/**
 * The streams that a connection runs over: those of {@linkcode socketStreams} where `conn` is a socket of Deno's, whose own `writable` is
 * locked from then on; otherwise `conn` itself.
 */
export function streamsOf(conn: ByteDuplex): ByteDuplex {
  if (!isSocket(conn)) return conn;
  conn.writable.getWriter();
  return socketStreams(conn);
}

/** A forwarded connection has the methods, too, and streams that fail each by itself. A `writable` that a program put there is meant. */
function isSocket(conn: ByteDuplex): conn is Socket {
  if (!hasDeno() || conn instanceof ChannelConn || Object.hasOwn(conn, "writable")) return false;
  const { read, write, closeWrite, close } = conn as Partial<Deno.Conn>;
  return [read, write, closeWrite, close].every((method) => typeof method === "function");
}

/** Closes a socket that its streams may have closed. */
export function closeSocket(socket: Pick<Socket, "close">): void {
  try {
    socket.close();
  } catch {
    // They have.
  }
}
