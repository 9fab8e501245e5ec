/**
 * Test support, a worker of its own so that nothing it does takes the victim's turns: a client that sends what it is told, and then a
 * message again and again, byte by byte, each in a segment of its own and as fast as it goes, until the other side closes.
 *
 * @module
 */
/// <reference lib="deno.worker" />

/** What the worker is told. */
export interface Drip {
  readonly port: number;
  /** What goes first, in one piece. */
  readonly head: Uint8Array;
  /** What drips. */
  readonly again: Uint8Array;
  /** Bytes of it after which the client falls silent. */
  readonly most: number;
}

self.onmessage = async ({ data }: MessageEvent<Drip>) => {
  const { port, head, again, most } = data;
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  conn.setNoDelay();
  let written = 0;
  const reading = conn.readable.pipeTo(new WritableStream()).catch(() => {});
  const writer = conn.writable.getWriter();
  writer.closed.catch(() => {});
  try {
    await writer.write(head);
    for (; written < most; written++) {
      await writer.write(again.subarray(written % again.length, written % again.length + 1));
    }
  } catch {
    // Closed, which is what it waits for.
  }
  await reading;
  self.postMessage(written);
};

declare const self: DedicatedWorkerGlobalScope;
