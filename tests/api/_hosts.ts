/**
 * Test support. Hosts in memory that reach each other by name, each a server of ours: what a chain of jump hosts runs through.
 *
 * @module
 */
import { serveConn, type ServeConnOptions } from "../../lib/api/server.ts";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { type MemoryPair, memoryPair, type MemoryPairOptions } from "../_support/duplex.ts";
import { serverOptions } from "../_support/joined.ts";

/** Hosts by name. */
export class Hosts {
  /** Connections that are open now, by host. */
  readonly open: Record<string, number> = {};
  /** What has happened, in order: `+name` for a connection, `-name` for its end. */
  readonly log: string[] = [];
  /** What `onError` was told. */
  readonly errors: unknown[] = [];
  /** All connections, from here and from host to host, and where to. */
  readonly pairs: MemoryPair[] = [];
  readonly names: string[] = [];
  readonly #hosts: Readonly<Record<string, Partial<ServeConnOptions>>>;

  constructor(hosts: Readonly<Record<string, Partial<ServeConnOptions>>>) {
    this.#hosts = hosts;
    for (const name of Object.keys(hosts)) this.open[name] = 0;
  }

  /** Streams from here to a host. */
  reach(name: string, options: MemoryPairOptions = {}): ByteDuplex {
    const pair = memoryPair(options);
    this.pairs.push(pair);
    this.names.push(name);
    void this.#serve(name, pair.server);
    return pair.client;
  }

  /** Connections to all hosts that are open now. */
  get count(): number {
    return Object.values(this.open).reduce((sum, count) => sum + count, 0);
  }

  async #serve(name: string, conn: ByteDuplex): Promise<void> {
    this.open[name]!++;
    this.log.push(`+${name}`);
    const options = await serverOptions({
      onError: (error) => this.errors.push(error),
      allowForward: (_info, request) => "hostname" in request && request.hostname in this.#hosts,
      onForward: async (_info, { hostname, conn }) => {
        const there = this.reach(hostname, { chunks: "whole" });
        await Promise.allSettled([conn.readable.pipeTo(there.writable), there.readable.pipeTo(conn.writable)]);
      },
      ...this.#hosts[name],
    });
    await serveConn(conn, options).catch(() => {});
    this.open[name]!--;
    this.log.push(`-${name}`);
  }
}
