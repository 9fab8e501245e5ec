/**
 * The streams of a socket of this side's own, which fail each by itself.
 *
 * @module
 */
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

/** Closes a socket that its streams may have closed. */
export function closeSocket(socket: Pick<Socket, "close">): void {
  try {
    socket.close();
  } catch {
    // They have.
  }
}
