/**
 * Scripted proxies: what the client sends is compared byte by byte, what it gets is written as it stands.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { parseProxy } from "../../lib/proxy/proxy_url.ts";
import { throughProxy } from "../../lib/proxy/through_proxy.ts";
import { type Chunks, memoryPair } from "../_support/duplex.ts";

/** A step of a script: bytes that the client must send, or bytes that the proxy sends. */
export type Step = { expect: Uint8Array } | { send: Uint8Array } | "end";

/** Bytes from numbers and texts. */
export function bytes(...parts: (number | string)[]): Uint8Array {
  return Uint8Array.from(
    parts.flatMap((part) => typeof part === "number" ? [part] : [...new TextEncoder().encode(part)]),
  );
}

/** Reads exactly so many bytes. */
export async function readExactly(readable: ReadableStream<Uint8Array>, length: number): Promise<Uint8Array> {
  const reader = readable.getReader({ mode: "byob" });
  try {
    const { value } = await reader.read(new Uint8Array(length), { min: Math.max(1, length) });
    return value!;
  } finally {
    reader.releaseLock();
  }
}

/** Runs `throughProxy()` against a script. With `plain` the client's streams are no byte streams. */
export async function askScripted(
  url: string,
  target: { hostname: string; port: number },
  steps: readonly Step[],
  options: { chunks?: Chunks; plain?: boolean; signal?: AbortSignal } = {},
): Promise<{ conn: ByteDuplex; given: ByteDuplex; server: ByteDuplex }> {
  const { client, server } = memoryPair(options.chunks === undefined ? {} : { chunks: options.chunks });
  const given = options.plain
    ? {
      readable: client.readable.pipeThrough(new TransformStream<Uint8Array, Uint8Array>()),
      writable: client.writable,
    }
    : client;
  const asking = throughProxy(given, parseProxy(url), target, options.signal);
  asking.catch(() => {});
  const script = (async () => {
    const writer = server.writable.getWriter();
    writer.closed.catch(() => {});
    for (const step of steps) {
      if (step === "end") await writer.close();
      else if ("expect" in step) assertEquals(await readExactly(server.readable, step.expect.length), step.expect);
      // Not waited for: what follows the answer is read later.
      else writer.write(step.send).catch(() => {});
    }
    writer.releaseLock();
  })();
  await script;
  return { conn: await asking, given, server };
}
