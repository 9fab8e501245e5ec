/**
 * Test support. Two muxes that talk to each other without packets, ciphers or time: what one sends, the other gets a microtask later.
 */
import { Mux, type MuxOptions } from "../../lib/connection/mux.ts";
import { FakeTransport } from "./fake_transport.ts";

class CrossedTransport extends FakeTransport {
  other!: CrossedTransport;

  override drain(packets?: number): void {
    super.drain(packets);
    const payloads = this.sent.splice(0);
    if (payloads.length > 0) queueMicrotask(() => this.other.receive(...payloads));
  }

  override finish(error: Error | null): void {
    super.finish(error);
    this.other.end === null && queueMicrotask(() => this.other.finish(error));
  }
}

/** A client's mux and a server's. */
export interface JoinedMuxes {
  readonly client: Mux;
  readonly server: Mux;
  /** What carries them: `finish(error)` ends both, `takes = false` stalls one. */
  readonly transports: { readonly client: FakeTransport; readonly server: FakeTransport };
}

/** Joins two muxes. */
export function joinedMuxes(options: { client?: MuxOptions; server?: MuxOptions } = {}): JoinedMuxes {
  const client = new CrossedTransport("client"), server = new CrossedTransport("server");
  client.other = server;
  server.other = client;
  const muxes = { client: new Mux(client, options.client), server: new Mux(server, options.server) };
  client.setHandler(muxes.client);
  server.setHandler(muxes.server);
  return { ...muxes, transports: { client, server } };
}
