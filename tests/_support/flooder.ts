/**
 * Test support, a program: a peer that sends as fast as it can, in a process of its own. Prints a line when its flood begins, and
 * `{ "milliseconds": …, "bytes": … }` when the other side has ended the connection: since it was made, and what was sent.
 *
 *     deno run -A tests/_support/flooder.ts '{ "kind": "sealed", "port": 2222 }'
 *
 * As a client it floods the server at `port`. Kinds ending in ` server` listen instead, print their port first, and flood one client.
 *
 * @module
 */
import { serviceRequest, userauthRequest } from "../../lib/auth/messages.ts";
import { ChannelOpen, ChannelOpenConfirmation, ChannelRequest, GlobalRequest } from "../../lib/connection/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { RawPeer } from "./raw_peer.ts";

/** What floods there are. */
export const floodKinds = [
  "plain",
  "sealed",
  "drip",
  "accepted",
  "empty data",
  "pings",
  "requests",
  "rekeys",
] as const;

/** One of them. */
export type FloodKind = typeof floodKinds[number];

interface Params {
  readonly kind: FloodKind | `${FloodKind} server`;
  readonly port?: number;
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const ignore = new Uint8Array([Msg.IGNORE, 0, 0, 0, 0]);

function print(value: unknown): void {
  Deno.stdout.writeSync(utf8(`${JSON.stringify(value)}\n`));
}

/** Packets of one payload, as many as fit in some 128 KiB, under the keys in force. */
async function block(peer: RawPeer, payload: Uint8Array): Promise<Uint8Array> {
  const { sealer } = peer, block = Math.max(8, sealer.blockSize);
  const body = (sealer.lengthPadded ? 5 : 1) + payload.length;
  let padding = block - body % block;
  if (padding < 4) padding += block;
  const length = 1 + payload.length + padding, whole = 4 + length + sealer.tagLength;
  const count = Math.floor(131_072 / whole), ends: number[] = [];
  const out = sealer.workspace(count * whole);
  for (let i = 0; i < count; i++) {
    const at = i * whole;
    out.set([length >>> 24, length >>> 16, length >>> 8, length, padding], at);
    out.set(payload, at + 5);
    ends.push(at + whole);
  }
  const sealed = await sealer.seal(out, ends, peer.sequence);
  peer.sequence = (peer.sequence + count) >>> 0;
  return sealed;
}

/** The largest packets there are, a byte at a time. */
async function drip(peer: RawPeer, count: (bytes: number) => void): Promise<never> {
  const packet = new Uint8Array(262_144), fields = new DataView(packet.buffer);
  fields.setUint32(0, packet.length - 4);
  packet.set([6, Msg.IGNORE], 4);
  fields.setUint32(6, packet.length - 4 - 1 - 6 - 5);
  for (let at = 0;; at = (at + 1) % packet.length) {
    await peer.sendRaw(packet.subarray(at, at + 1));
    count(1);
  }
}

async function logIn(peer: RawPeer): Promise<void> {
  await peer.send(serviceRequest.encode({ service: "ssh-userauth" }));
  await peer.receiveType(Msg.SERVICE_ACCEPT);
  const fields = new Writer().bool(false).text("wonderland").bytes();
  await peer.send(userauthRequest.encode({
    user: utf8("alice"),
    service: utf8("ssh-connection"),
    method: utf8("password"),
    fields,
  }));
  await peer.receiveType(Msg.USERAUTH_SUCCESS);
}

async function openCat(peer: RawPeer): Promise<number> {
  await peer.send(ChannelOpen.encode({
    type: "session",
    sender: 0,
    window: 1 << 20,
    maxPacket: 32_768,
    data: new Uint8Array(0),
  }));
  const { sender } = ChannelOpenConfirmation.decode(await peer.receiveType(Msg.CHANNEL_OPEN_CONFIRMATION));
  const data = new Writer().text("cat").bytes();
  await peer.send(ChannelRequest.encode({ recipient: sender, name: "exec", wantReply: true, data }));
  await peer.receiveType(Msg.CHANNEL_SUCCESS);
  return sender;
}

/** Reads and throws away, so that answers do not hold the other side up. */
async function drain(peer: RawPeer): Promise<void> {
  while (await peer.receive() !== null);
}

async function flood(peer: RawPeer, kind: FloodKind, begun: () => void, count: (bytes: number) => void): Promise<void> {
  await peer.identify();
  if (kind === "plain" || kind === "drip") {
    begun();
    void drain(peer).catch(() => {});
    if (kind === "drip") await drip(peer, count);
    const plain = await block(peer, ignore);
    for (;;) {
      await peer.sendRaw(plain);
      count(plain.length);
    }
  }
  await peer.rekey();
  if (kind !== "sealed") {
    if (kind === "accepted") {
      await peer.send(serviceRequest.encode({ service: "ssh-userauth" }));
      await peer.receiveType(Msg.SERVICE_ACCEPT);
    } else await logIn(peer);
  }
  const channel = kind === "empty data" ? await openCat(peer) : 0;
  begun();
  if (kind === "rekeys") {
    for (;;) {
      await peer.rekey();
      count(1);
    }
  }
  void drain(peer).catch(() => {});
  const payload = kind === "empty data"
    ? new Writer().u8(Msg.CHANNEL_DATA).u32(channel).u32(0).bytes()
    : kind === "pings"
    ? new Uint8Array([Msg.PING, 0, 0, 0, 1, 7])
    : kind === "requests"
    ? GlobalRequest.encode({ name: "x", wantReply: true, data: new Uint8Array(0) })
    : ignore;
  for (;;) {
    const bytes = await block(peer, payload);
    await peer.sendRaw(bytes);
    count(bytes.length);
  }
}

async function run({ kind, port }: Params): Promise<void> {
  let conn: Deno.TcpConn, role: "client" | "server" = "client", what: string = kind;
  if (kind.endsWith(" server")) {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    print({ port: (listener.addr as Deno.NetAddr).port });
    conn = await listener.accept();
    role = "server";
    what = kind.slice(0, -" server".length);
  } else {
    conn = await Deno.connect({ hostname: "127.0.0.1", port: port! });
  }
  conn.setNoDelay(true);
  const since = performance.now();
  let sent = 0;
  const peer = new RawPeer(conn, { role, algorithms: { kex: ["curve25519-sha256"] } });
  try {
    await flood(peer, what as FloodKind, () => print({ begun: true }), (bytes) => sent += bytes);
  } catch {
    // The other side has ended it.
  }
  print({ milliseconds: performance.now() - since, bytes: sent });
}

if (import.meta.main) {
  await run(JSON.parse(Deno.args[0]!));
  Deno.exit(0);
}
