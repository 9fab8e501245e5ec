/**
 * What a server says to a client that it does not let in. RFC 4253 sections 4.2, 6 and 11.1.
 *
 * @module
 */
import { DisconnectReason } from "../../errors.ts";
import { identLine } from "../../transport/ident.ts";
import { Disconnect } from "../../transport/messages.ts";
import { Writer } from "../../wire/writer.ts";
import { closeSocket } from "../socket_streams.ts";

/** A socket, as far as it is needed here. */
interface Socket {
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

/** Why a client is turned away: the line that people and ssh-audit read, and what a DISCONNECT says. */
export interface Refusal {
  readonly line: string;
  readonly reason: number;
  readonly description: string;
}

/** Too many wait for a login. */
export const TOO_MANY: Refusal = {
  line: "Exceeded the number of connections without a login",
  reason: DisconnectReason.TOO_MANY_CONNECTIONS,
  description: "Too many connections",
};

/** The client's address is refused for a while; the first words are those of sshd. */
export const NOT_ALLOWED: Refusal = {
  line: "Not allowed at this time: too many logins from this address failed",
  reason: DisconnectReason.HOST_NOT_ALLOWED_TO_CONNECT,
  description: "Not allowed at this time: too many logins from this address failed",
};

/** Says why, in a line and as a DISCONNECT in the clear, and closes; resolves then. The client is not waited for, and nothing is read. */
export function turnAway(
  socket: Socket,
  ident: string | undefined,
  { line, reason, description }: Refusal,
): Promise<void> {
  const disconnect = Disconnect.encode({ reason, description, language: "" });
  const padding = 4 + (8 - (4 + 1 + disconnect.length + 4) % 8) % 8;
  const packet = new Writer()
    .raw(new TextEncoder().encode(`${line}\r\n${identLine(ident ?? "amiko")}\r\n`))
    .u32(1 + disconnect.length + padding).u8(padding).raw(disconnect).raw(new Uint8Array(padding));
  const close = (): void => closeSocket(socket);
  return socket.write(packet.bytes()).then(close, close);
}
