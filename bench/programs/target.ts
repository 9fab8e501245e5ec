/**
 * Bench. Where forwards lead: a server that is told by each connection how many bytes to send or to take, in eight bytes as a double, those to take
 * negative. What it has taken it acknowledges with one byte. Prints its port, and ends when its standard input does.
 */

import { report } from "./common.mjs";

const chunk = new Uint8Array(256 * 1024);

async function serve(conn: Deno.TcpConn): Promise<void> {
  conn.setNoDelay(true);
  const buffer = new Uint8Array(256 * 1024);
  try {
    let filled = 0;
    while (filled < 8) {
      const n = await conn.read(buffer.subarray(filled, 8));
      if (n === null) return;
      filled += n;
    }
    const bytes = new DataView(buffer.buffer).getFloat64(0);
    for (let left = bytes; left > 0;) left -= await conn.write(left < chunk.length ? chunk.subarray(0, left) : chunk);
    for (let left = -bytes; left > 0;) {
      const n = await conn.read(buffer);
      if (n === null) return;
      left -= n;
    }
    if (bytes < 0) await conn.write(new Uint8Array(1));
  } catch {
    // Its client has gone.
  } finally {
    conn.close();
  }
}

const listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 4096 });
report({ port: (listener.addr as Deno.NetAddr).port });
(async () => {
  for await (const conn of listener) void serve(conn);
})().catch(() => {});
for await (const _ of Deno.stdin.readable);
Deno.exit(0);
