/**
 * Test support. Forwarded connections and sockets whose both ends the test holds.
 */
import { acceptConn, type ConnChannel, openConn, type SshConn } from "../../lib/forward/conn.ts";
import type { Mux } from "../../lib/connection/mux.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { type JoinedMuxes, joinedMuxes } from "../_support/joined_muxes.ts";

const addr = (port: number): Deno.NetAddr => ({ transport: "tcp", hostname: "127.0.0.1", port });

/** Both ends of a connection. */
export interface ConnPair extends JoinedMuxes {
  readonly near: SshConn<Deno.NetAddr>;
  readonly far: SshConn<Deno.NetAddr>;
  /** The channel of the far end. */
  readonly channel: ConnChannel;
}

/** Opens a connection through a pair of muxes. */
export async function connPair(
  options: Parameters<typeof joinedMuxes>[0] = {},
  muxes: JoinedMuxes = joinedMuxes(options),
): Promise<ConnPair> {
  const accepted = Promise.withResolvers<{ far: SshConn<Deno.NetAddr>; channel: ConnChannel }>();
  const door = muxes.server.onChannel("direct-tcpip", ({ id }) => {
    const { channel, conn } = acceptConn(id, { localAddr: addr(2), remoteAddr: addr(1) });
    return { channel, opened: () => accepted.resolve({ far: conn, channel }) };
  });
  const near = await openConn(muxes.client, "direct-tcpip", new Uint8Array(0), {
    localAddr: addr(1),
    remoteAddr: addr(2),
  });
  door[Symbol.dispose]();
  return { ...muxes, near, ...await accepted.promise };
}

/** A TCP connection on this machine, both ends. */
export async function socketPair(): Promise<{ ours: Deno.TcpConn; theirs: Deno.TcpConn } & Disposable> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const theirs = await Deno.connect({ port: (listener.addr as Deno.NetAddr).port, hostname: "127.0.0.1" });
  const ours = await accepted;
  return { ours, theirs, [Symbol.dispose]: () => [ours, theirs].forEach(hangUp) };
}

/** Closes a socket that may be closed already. */
export function hangUp(conn: { close(): void }): void {
  try {
    conn.close();
  } catch {
    // It is.
  }
}

/** Everything until the end. */
export async function readAll(conn: { read(p: Uint8Array): Promise<number | null> }): Promise<Bytes> {
  const parts: Bytes[] = [], part = new Uint8Array(65_536);
  for (let n; (n = await conn.read(part)) !== null;) parts.push(part.slice(0, n));
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Writes all of it. */
export async function writeAll(
  conn: { write(p: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let left = bytes; left.length > 0;) left = left.subarray(await conn.write(left));
}

/** Bytes that no mix-up leaves the same. */
export function pattern(length: number, seed = 1): Bytes {
  const bytes = new Uint8Array(length);
  for (let i = 0, x = seed; i < length; i++) bytes[i] = (x = (x * 1_103_515_245 + 12_345) >>> 0) >>> 16;
  return bytes;
}

/** The channels that two muxes have open. */
export function channels({ client, server }: { client: Mux; server: Mux }): [number, number] {
  return [client.channelCount, server.channelCount];
}
