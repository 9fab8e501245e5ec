/**
 * Test support. A TCP relay on loopback with delay and a limit on the rate, for tests and benches of long paths.
 *
 * @module
 */

/** Options of {@linkcode delayRelay}. */
export interface DelayRelayOptions {
  /** Where connections go. */
  to: { hostname?: string; port: number };
  /** Milliseconds that a byte takes one way; half of the round trip. @default {0} */
  delay?: number;
  /** Bytes per second, each way and each connection. @default {no limit} */
  bandwidth?: number;
  /** Bytes that one direction holds on their way before it stops reading. @default {64 MiB} */
  buffer?: number;
}

/** A running relay. */
export interface DelayRelay extends AsyncDisposable {
  /** Where it listens. */
  readonly hostname: string;
  /** Where it listens. */
  readonly port: number;
  /** Bytes that went through so far. */
  readonly bytes: { toServer: number; toClient: number };
  /** Ends every connection and the listener. */
  stop(): Promise<void>;
}

/** A TCP relay on loopback that holds every byte for a while: the kernel here has no netem. */
export function delayRelay(options: DelayRelayOptions): DelayRelay {
  const hostname = "127.0.0.1";
  const listener = Deno.listen({ hostname, port: 0 });
  const stopper = new AbortController();
  const open = new Set<Deno.TcpConn>();
  const running = new Set<Promise<unknown>>();
  const bytes = { toServer: 0, toClient: 0 };

  const close = (conn: Deno.TcpConn) => {
    if (!open.delete(conn)) return;
    try {
      conn.close();
    } catch { /* closed by its stream */ }
  };

  async function serveOne(near: Deno.TcpConn): Promise<void> {
    open.add(near);
    let far: Deno.TcpConn;
    try {
      far = await Deno.connect({ hostname: options.to.hostname ?? "127.0.0.1", port: options.to.port });
    } catch {
      return close(near);
    }
    open.add(far);
    if (stopper.signal.aborted) {
      close(near);
      close(far);
      return;
    }
    near.setNoDelay(true);
    far.setNoDelay(true);
    await Promise.all([
      oneWay(near, far, options, stopper.signal, (n) => bytes.toServer += n),
      oneWay(far, near, options, stopper.signal, (n) => bytes.toClient += n),
    ].map((way) =>
      way.catch(() => {
        close(near);
        close(far);
      })
    ));
    close(near);
    close(far);
  }

  const accepting = (async () => {
    for await (const near of listener) {
      const one = serveOne(near).finally(() => running.delete(one));
      running.add(one);
    }
  })();

  const stop = async () => {
    if (stopper.signal.aborted) return;
    stopper.abort();
    listener.close();
    for (const conn of [...open]) close(conn);
    await accepting;
    await Promise.all([...running]);
  };
  return { hostname, port: listener.addr.port, bytes, stop, [Symbol.asyncDispose]: stop };
}

/** Reads, holds, writes; the reading side goes on while bytes are on their way. */
async function oneWay(
  from: Deno.TcpConn,
  to: Deno.TcpConn,
  { delay = 0, bandwidth = Infinity, buffer = 64 * 1024 * 1024 }: DelayRelayOptions,
  signal: AbortSignal,
  count: (bytes: number) => void,
): Promise<void> {
  const queue: { due: number; bytes: Uint8Array | null }[] = [];
  let held = 0;
  let failed = false;
  let wakeReader = () => {};
  let wakeWriter = () => {};

  const reading = (async () => {
    try {
      let lineFree = 0;
      while (!failed) {
        while (held >= buffer && !failed) await new Promise<void>((resolve) => wakeReader = resolve);
        const block = new Uint8Array(64 * 1024);
        const n = await from.read(block);
        lineFree = Math.max(lineFree, performance.now()) + (n ?? 0) / bandwidth * 1000;
        held += n ?? 0;
        queue.push({ due: lineFree + delay, bytes: n === null ? null : block.subarray(0, n) });
        wakeWriter();
        if (n === null) return;
      }
    } catch (error) {
      failed = true;
      wakeWriter();
      throw error;
    }
  })();
  const writing = (async () => {
    try {
      while (true) {
        while (queue.length === 0 && !failed) await new Promise<void>((resolve) => wakeWriter = resolve);
        const next = queue.shift();
        if (failed || next === undefined) return;
        const wait = next.due - performance.now();
        if (wait > 0.5) await sleep(wait, signal);
        if (next.bytes === null) return await to.closeWrite();
        for (let sent = 0; sent < next.bytes.length;) sent += await to.write(next.bytes.subarray(sent));
        held -= next.bytes.length;
        count(next.bytes.length);
        wakeReader();
      }
    } catch (error) {
      failed = true;
      wakeReader();
      throw error;
    }
  })();
  await Promise.all([reading, writing]);
}

/** Waits; an abort ends the wait at once and leaves no timer. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}
