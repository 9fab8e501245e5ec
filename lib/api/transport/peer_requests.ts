/**
 * What a peer asks of a server step by step, as its {@linkcode ServerInterface} decides: channels, forwards, other global requests.
 * RFC 4254 sections 4, 5.1 and 7.1.
 *
 * @module
 */
import { forbidsForward } from "../../auth/forward_grants.ts";
import type { Grants } from "../../auth/grants.ts";
import type { ChannelOpenRequest } from "../../connection/mux.ts";
import { ChannelOpenError } from "../../errors.ts";
import { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import { Writer } from "../../wire/writer.ts";
import type { AcceptQueue } from "./accept_queue.ts";
import { Channel, putUnder } from "./channel.ts";
import { checkChannelClass } from "./check_transport.ts";
import type { ServerInterface } from "./server_interface.ts";

/** The peer opens a channel, which waits in `accepted` once it is open and does what `grants` allow. */
export async function openByPeer(
  server: ServerInterface,
  { type, id, data }: ChannelOpenRequest,
  accepted: AcceptQueue<Channel>,
  grants: () => Grants,
): Promise<{ channel: Channel; opened: () => void } | null> {
  if (accepted.isFull) throw new ChannelOpenError("Too many channels wait to be accepted", 4);
  if (forbidsForward(grants(), "open", type, data)) return null;
  const channel = await server.checkChannelRequest(type, id);
  if (channel === null) return null;
  if (!(channel instanceof Channel) || channel.id !== id) {
    throw new TypeError(`Cannot open channel: checkChannelRequest() gave no Channel made with the number ${id}`);
  }
  checkChannelClass(channel);
  putUnder(channel, grants());
  return { channel, opened: () => accepted.push(channel) };
}

/** The peer sends a global request. */
export async function answerPeer(
  server: ServerInterface,
  name: string,
  data: Bytes,
  grants: Grants,
): Promise<Bytes | boolean> {
  if (forbidsForward(grants, "listen", name, data)) return false;
  if (name !== "tcpip-forward") return await server.checkGlobalRequest(name, data);
  const reader = new Reader(data), hostname = reader.text(), port = reader.u32();
  reader.end();
  if (port > 0xffff) return false;
  const bound = await server.checkPortForwardRequest(hostname, port);
  if (bound === false) return false;
  if (!Number.isInteger(bound) || bound < 1 || bound > 0xffff) {
    throw new RangeError(`Cannot forward: checkPortForwardRequest() gave ${bound}, not a port from 1 to 65535`);
  }
  return port === 0 ? new Writer().u32(bound).bytes() : true;
}
