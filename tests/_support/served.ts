/**
 * Test support. A served connection in memory with a scripted client on the other end, at any stage of its login.
 *
 * @module
 */
import { serveConn, type ServeConnOptions } from "../../mod.ts";
import { ChannelOpen, ChannelOpenConfirmation, ChannelRequest } from "../../lib/connection/messages.ts";
import { serviceRequest, userauthRequest } from "../../lib/auth/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { serverOptions } from "./joined.ts";
import { type MemoryPair, memoryPair, type MemoryPairOptions } from "./duplex.ts";
import { RawPeer } from "./raw_peer.ts";
import { fast } from "./load.ts";

/** A server's connection and who speaks to it. */
export class Served {
  readonly peer: RawPeer;
  readonly pair: MemoryPair;
  /** How `serveConn()` ended: null, or its error. */
  readonly ended: Promise<unknown>;
  /** What `onError` was told. */
  readonly errors: unknown[] = [];

  private constructor(pair: MemoryPair, options: ServeConnOptions) {
    this.pair = pair;
    this.ended = serveConn(pair.server, { onError: (error) => this.errors.push(error), ...options })
      .then(() => null, (error) => error);
    this.peer = new RawPeer(pair.client, { role: "client", algorithms: fast });
  }

  /** After the handshake. */
  static async connected(options: Partial<ServeConnOptions> = {}, pair: MemoryPairOptions = {}): Promise<Served> {
    const served = new Served(
      memoryPair({ chunks: "whole", ...pair }),
      await serverOptions({ algorithms: fast, ...options }),
    );
    await served.peer.handshake();
    return served;
  }

  /** After SERVICE_ACCEPT. */
  static async accepted(options?: Partial<ServeConnOptions>, pair?: MemoryPairOptions): Promise<Served> {
    const served = await Served.connected(options, pair);
    await served.peer.send(serviceRequest.encode({ service: "ssh-userauth" }));
    await served.peer.receiveType(Msg.SERVICE_ACCEPT);
    return served;
  }

  /** After the login. */
  static async loggedIn(options?: Partial<ServeConnOptions>, pair?: MemoryPairOptions): Promise<Served> {
    const served = await Served.accepted(options, pair);
    await served.peer.send(passwordRequest("wonderland"));
    await served.peer.receiveType(Msg.USERAUTH_SUCCESS);
    // Its host keys, which every client is told of.
    await served.peer.receiveType(Msg.GLOBAL_REQUEST);
    return served;
  }

  /** Opens a session channel; returns the server's number of it. */
  async openSession(sender = 0): Promise<number> {
    await this.peer.send(openSession(sender));
    return ChannelOpenConfirmation.decode(await this.peer.receiveType(Msg.CHANNEL_OPEN_CONFIRMATION)).sender;
  }

  /** Sends a channel request and says whether it was granted. */
  async request(recipient: number, name: string, data: Uint8Array = new Uint8Array(0)): Promise<boolean> {
    await this.peer.send(ChannelRequest.encode({ recipient, name, wantReply: true, data }));
    for (;;) {
      const payload = await this.peer.receive();
      if (payload === null) throw new Error(`The stream ended while the answer to ${name} was awaited`);
      if (payload[0] === Msg.CHANNEL_SUCCESS || payload[0] === Msg.CHANNEL_FAILURE) {
        return payload[0] === Msg.CHANNEL_SUCCESS;
      }
    }
  }

  /** Puts many messages on the wire in one piece. */
  async sendAll(payloads: readonly Uint8Array[]): Promise<void> {
    const out = new Writer(1 << 16);
    for (const payload of payloads) out.raw(await this.peer.packet(payload));
    await this.peer.sendRaw(out.bytes());
  }

  /** Hangs up; returns how the server saw that. */
  async hangUp(): Promise<unknown> {
    await this.peer.close();
    return await this.ended;
  }
}

const utf8 = (text: string) => new TextEncoder().encode(text);

/** A login by password. */
export function passwordRequest(password: string, user = "alice"): Bytes {
  const fields = new Writer().bool(false).text(password).bytes();
  return userauthRequest.encode({
    user: utf8(user),
    service: utf8("ssh-connection"),
    method: utf8("password"),
    fields,
  });
}

/** A CHANNEL_OPEN of a session. */
export function openSession(sender: number, type = "session"): Bytes {
  return ChannelOpen.encode({ type, sender, window: 2 ** 21, maxPacket: 32_768, data: new Uint8Array(0) });
}
