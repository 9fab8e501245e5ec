/**
 * Test support. A logged-in connection whose other side is a script: what it sends is the test's own, sealed with the keys in force.
 *
 * @module
 */
import type { SshClient } from "../../lib/api/client.ts";
import { connect, type ConnectOptions } from "../../lib/api/client.ts";
import { serveConn, type ServeConnOptions } from "../../lib/api/server.ts";
import { serviceAccept, serviceRequest, userauthRequest, userauthSuccess } from "../../lib/auth/messages.ts";
import { password } from "../../lib/auth/methods.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { Unimplemented } from "../../lib/transport/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { ByteDuplex, Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { memoryPair } from "./duplex.ts";
import { RawPeer, type RawPeerOptions } from "./raw_peer.ts";

export const hostKey = await generateKey("ed25519");

/** One fast exchange unless a test asks for another. */
const fast = { kex: ["curve25519-sha256"] };

/** A scripted server up to the first key exchange, over streams. */
export function rawServer(conn: ByteDuplex, options: Partial<RawPeerOptions> = {}): RawPeer {
  return new RawPeer(conn, { role: "server", hostKey, algorithms: fast, ...options });
}

/** A scripted client up to the first key exchange, over streams. */
export function rawClient(conn: ByteDuplex, options: Partial<RawPeerOptions> = {}): RawPeer {
  return new RawPeer(conn, { role: "client", algorithms: fast, ...options });
}

/** Lets the client in that asks at `peer`. */
export async function letIn(peer: RawPeer): Promise<void> {
  await peer.receiveType(Msg.SERVICE_REQUEST);
  await peer.send(serviceAccept.encode({ service: "ssh-userauth" }));
  await peer.receiveType(Msg.USERAUTH_REQUEST);
  await peer.send(userauthSuccess.encode({}));
}

/** Logs `peer` in at a server that takes any password. */
export async function logIn(peer: RawPeer): Promise<void> {
  await peer.send(serviceRequest.encode({ service: "ssh-userauth" }));
  await peer.receiveType(Msg.SERVICE_ACCEPT);
  const bytes = (text: string): Bytes => new TextEncoder().encode(text);
  await peer.send(userauthRequest.encode({
    user: bytes("alice"),
    service: bytes("ssh-connection"),
    method: bytes("password"),
    fields: new Writer().bool(false).text("x").bytes(),
  }));
  await peer.receiveType(Msg.USERAUTH_SUCCESS);
}

/** A client of `connect()` that a scripted server has let in. */
export async function scriptedServer(
  options: Partial<ConnectOptions> = {},
  raw: Partial<RawPeerOptions> = {},
): Promise<{ peer: RawPeer; client: SshClient }> {
  const pair = memoryPair();
  const peer = rawServer(pair.server, raw);
  const connecting = connect({
    hostname: "test",
    username: "alice",
    auth: [password("x")],
    verifyHostKey: () => true,
    transport: pair.client,
    ...options,
  });
  connecting.catch(() => {});
  await peer.handshake();
  await letIn(peer);
  return { peer, client: await connecting };
}

/** A server of `serveConn()` that a scripted client has logged in to; `served` is how it ended: null, or its error. */
export async function scriptedClient(
  options: Partial<ServeConnOptions> = {},
  raw: Partial<RawPeerOptions> = {},
): Promise<{ peer: RawPeer; served: Promise<unknown> }> {
  const pair = memoryPair();
  const served = serveConn(pair.server, { hostKeys: [hostKey], auth: { password: () => true }, ...options })
    .then(() => null, (error) => error);
  const peer = rawClient(pair.client, raw);
  await peer.handshake();
  await logIn(peer);
  return { peer, served };
}

/** Closes a client whose server is a script. */
export async function closeBoth(closing: { close(): Promise<void> }, peer: RawPeer): Promise<void> {
  const closed = closing.close();
  await peer.disconnected();
  await peer.close();
  await closed;
}

/** The number of the message that `peer` has received last. */
export function lastNumber(peer: RawPeer): number {
  return (peer.receiveSequence - 1) >>> 0;
}

/** UNIMPLEMENTED for the message with this number. */
export function unimplemented(sequence: number): Bytes {
  return Unimplemented.encode({ sequence });
}
