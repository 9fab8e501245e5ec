/**
 * L6. What a server says to a client that it has no room for. RFC 4253 sections 4.2, 6 and 11.1.
 *
 * @module
 */
import { identLine } from "../transport/ident.ts";
import { Disconnect } from "../transport/messages.ts";
import { Writer } from "../wire/writer.ts";

/** A socket, as far as it is needed here. */
interface Socket {
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

/**
 * Says that there are too many connections, in a line that people and ssh-audit read and as a DISCONNECT in the clear, and closes.
 * Nothing is waited for and nothing is read.
 */
export function turnAway(socket: Socket, ident: string | undefined, reason: number): void {
  const disconnect = Disconnect.encode({ reason, description: "Too many connections", language: "" });
  const padding = 4 + (8 - (4 + 1 + disconnect.length + 4) % 8) % 8;
  const packet = new Writer()
    .raw(
      new TextEncoder().encode(
        `Exceeded the number of connections without a login\r\n${identLine(ident ?? "amiko")}\r\n`,
      ),
    )
    .u32(1 + disconnect.length + padding).u8(padding).raw(disconnect).raw(new Uint8Array(padding));
  const close = (): void => {
    try {
      socket.close();
    } catch {
      // It is closed.
    }
  };
  socket.write(packet.bytes()).then(close, close);
}
