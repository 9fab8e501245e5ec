/**
 * What a peer asks of a server step by step, as its {@linkcode ServerInterface} decides: channels, forwards, other global requests.
 * RFC 4254 sections 4, 5.1 and 7.1.
 *
 * @module
 */
import { forbidsForward } from "../../auth/forward_grants.ts";
import type { Grants } from "../../auth/grants.ts";
import { OpenFailureReason } from "../../connection/messages.ts";
import type { ChannelOpenRequest, Mux } from "../../connection/mux.ts";
import { ChannelOpenError } from "../../errors.ts";
import { isHost } from "../../forward/host.ts";
import { CancelTcpipForward, DirectTcpip, TcpipForward, TcpipForwardReply } from "../../forward/messages.ts";
import type { Bytes } from "../../wire/types.ts";
import type { AcceptQueue } from "./accept_queue.ts";
import { Channel, lendThrough, putUnder } from "./channel.ts";
import { checkChannelClass } from "./check_transport.ts";
import { LentDoors } from "./lent_doors.ts";
import type { ForwardedAddresses } from "./forwarded_addresses.ts";
import type { ServerInterface } from "./server_interface.ts";

/** Addresses that a peer may have this side listen at; more are refused. */
const MAX_FORWARDS = 256;

/** Makes channels of a client that may ask the server to open others: windows and an agent. `report` is told of what their takers throw. */
export function lendingChannels(mux: Mux, report: (error: unknown) => void): (id: number) => Channel {
  const make = (id: number): Channel => {
    const channel = new Channel(id);
    lendThrough(channel, doors);
    return channel;
  };
  const doors = new LentDoors(mux, make, report);
  return make;
}

/** The peer opens a channel, which waits in `accepted` once it is open and does what `grants` allow. */
export async function openByPeer(
  server: ServerInterface,
  { type, id, data }: ChannelOpenRequest,
  accepted: AcceptQueue<Channel>,
  grants: () => Grants,
): Promise<{ channel: Channel; opened: () => void } | null> {
  if (accepted.isFull) throw tooMany();
  if (forbidsForward(grants(), "open", type, data)) return null;
  const addresses = type === DirectTcpip.name ? addressesOf(data) : undefined;
  if (addresses === null) return null;
  const channel = await server.checkChannelRequest(type, id, addresses);
  if (channel === null) return null;
  if (!(channel instanceof Channel) || channel.id !== id) {
    throw new TypeError(`Cannot open channel: checkChannelRequest() gave no Channel made with the number ${id}`);
  }
  checkChannelClass(channel);
  // A batch of messages may hold many, which all found room when they were asked about.
  if (accepted.isFull) {
    void channel.close();
    throw tooMany();
  }
  putUnder(channel, grants(), addresses ?? null);
  const come = accepted.keepPlace(), leave = (): void => come(null);
  // It may be closed, or the connection may end, before it is open.
  channel.closed.then(leave, leave);
  return { channel, opened: () => come(channel) };
}

function tooMany(): ChannelOpenError {
  return new ChannelOpenError("Too many channels wait to be accepted", OpenFailureReason.RESOURCE_SHORTAGE);
}

/** Null where they make no sense. */
function addressesOf(data: Bytes): ForwardedAddresses | null {
  const { host, port, originHost, originPort } = DirectTcpip.decode(data);
  if (host === "" || !isHost(host) || port < 1 || port > 0xffff) return null;
  if (!isHost(originHost) || originPort > 0xffff) return null;
  return {
    dest: { transport: "tcp", hostname: host, port },
    origin: { transport: "tcp", hostname: originHost, port: originPort },
  };
}

/** The peer sends a global request. `forwards` are those that were granted, and are kept here. */
export async function answerPeer(
  server: ServerInterface,
  name: string,
  data: Bytes,
  grants: Grants,
  forwards: Set<string>,
): Promise<Bytes | boolean> {
  if (forbidsForward(grants, "listen", name, data)) return false;
  if (name === TcpipForward.name) return await listen(server, data, forwards);
  if (name === CancelTcpipForward.name) {
    const { address, port } = CancelTcpipForward.decode(data), key = keyOf(address, port);
    if (!forwards.has(key)) return false;
    const cancelled = await server.cancelPortForwardRequest?.(address, port) === true ||
      await server.checkGlobalRequest(name, data);
    // Whoever took it: the address may be asked for again.
    if (cancelled === true || cancelled instanceof Uint8Array) forwards.delete(key);
    return cancelled;
  }
  return await server.checkGlobalRequest(name, data);
}

async function listen(server: ServerInterface, data: Bytes, forwards: Set<string>): Promise<Bytes | boolean> {
  const { address, port } = TcpipForward.decode(data);
  if (!isHost(address) || port > 0xffff || forwards.has(keyOf(address, port))) return false;
  if (forwards.size >= MAX_FORWARDS) return false;
  const bound = await server.checkPortForwardRequest(address, port);
  if (bound === false) return false;
  if (!Number.isInteger(bound) || bound < 1 || bound > 0xffff) {
    throw new RangeError(`Cannot forward: checkPortForwardRequest() gave ${bound}, not a port from 1 to 65535`);
  }
  // What the peer names when it cancels: the port that it was told.
  forwards.add(keyOf(address, port === 0 ? bound : port));
  return port === 0 ? TcpipForwardReply.encode({ port: bound }) : true;
}

function keyOf(address: string, port: number): string {
  return `${address} ${port}`;
}
