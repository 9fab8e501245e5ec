/**
 * A connection in memory: two ends, of which one reads what the other writes. No I/O.
 *
 * @module
 */
import type { ByteDuplex } from "../wire/types.ts";

/** Bytes that may be on their way in one direction before a write waits. */
const BUFFER = 262_144;

/** A connection in memory. */
export interface MemoryConn {
  /** The end of the client. */
  readonly client: ByteDuplex;
  /** The end of the server, with an address of the client. */
  readonly server: ByteDuplex & { readonly remoteAddr: Deno.NetAddr };
  /** Breaks it at once: what is on its way is lost, and both ends see a connection that was reset. */
  cut(): void;
}

/** Makes a connection that comes from this port of 127.0.0.1, as the server sees it. */
export function memoryConn(port: number): MemoryConn {
  const up = pipe(), down = pipe();
  return {
    client: { readable: down.readable, writable: up.writable },
    server: {
      readable: up.readable,
      writable: down.writable,
      remoteAddr: { transport: "tcp", hostname: "127.0.0.1", port },
    },
    cut() {
      for (const one of [up, down]) one.fail();
    },
  };
}

interface Pipe {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  fail(): void;
}

function pipe(): Pipe {
  let controller!: TransformStreamDefaultController<Uint8Array>;
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>(
    { start: (given) => void (controller = given) },
    undefined,
    new ByteLengthQueuingStrategy({ highWaterMark: BUFFER }),
  );
  return { readable, writable, fail: () => controller.error(reset()) };
}

/** What a system says of a connection whose other end is gone. */
function reset(): Error {
  return Object.assign(new Error("Connection reset by peer"), { name: "ConnectionReset", code: "ECONNRESET" });
}
