/**
 * Connections of `node:net`, as Deno has them.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";
import { asDenoError } from "./node_errors.ts";
import { nodeModule } from "./node_modules.ts";
import { endOf, NodeSource, readableOver, writableOver, writeTo } from "./node_streams.ts";
import type { TcpSocket } from "./types.ts";

type Socket = import("node:net").Socket;

/** Where a connection leads. */
type Target =
  | { readonly hostname: string; readonly port: number; readonly signal?: AbortSignal | undefined }
  | { readonly transport: "unix"; readonly path: string; readonly signal?: undefined };

class NodeConn implements TcpSocket {
  readonly remoteAddr: Deno.Addr;
  readonly readable: ReadableStream<Bytes>;
  readonly writable: WritableStream<Uint8Array>;
  readonly #socket: Socket;
  readonly #source: NodeSource;

  constructor(socket: Socket, target: Target) {
    this.#socket = socket;
    this.#source = new NodeSource(socket);
    this.remoteAddr = "path" in target ? { transport: "unix", path: target.path } : {
      transport: "tcp",
      hostname: socket.remoteAddress ?? target.hostname,
      port: socket.remotePort ?? target.port,
    };
    this.readable = readableOver((p) => this.read(p), () => this.close());
    this.writable = writableOver(socket);
  }

  read(p: Uint8Array): Promise<number | null> {
    return this.#source.read(p);
  }

  async write(p: Uint8Array): Promise<number> {
    await writeTo(this.#socket, p);
    return p.length;
  }

  closeWrite(): Promise<void> {
    return endOf(this.#socket);
  }

  close(): void {
    this.#socket.destroy();
  }

  setNoDelay(on: boolean): void {
    this.#socket.setNoDelay(on);
  }

  setKeepAlive(on: boolean): void {
    this.#socket.setKeepAlive(on);
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }
}

/** Connects; the signal ends the attempt. */
export function connect(target: Target): Promise<TcpSocket> {
  const { signal } = target;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const to = "path" in target ? { path: target.path } : { host: target.hostname, port: target.port };
    // A peer that has ended its side may still be written to.
    const socket = nodeModule("node:net").connect({ ...to, allowHalfOpen: true });
    const give = (act: () => void): void => {
      signal?.removeEventListener("abort", abort);
      socket.off("error", fail);
      act();
    };
    const fail = (error: unknown): void => give(() => reject(asDenoError(error)));
    const abort = (): void => {
      give(() => reject(signal!.reason));
      // What it says of that is for nobody.
      socket.on("error", () => {});
      socket.destroy();
    };
    socket.once("connect", () => give(() => resolve(new NodeConn(socket, target))));
    socket.on("error", fail);
    signal?.addEventListener("abort", abort);
  });
}
