/** The streams of a socket, which fail each by itself. */
import { assertEquals, assertRejects } from "@std/assert";
import { socketStreams } from "../../lib/api/socket_streams.ts";
import { text } from "../_support/joined.ts";
import { pattern } from "../_support/sftp_peers.ts";

/** Both ends of a connection. */
async function pair(): Promise<{ near: Deno.TcpConn; far: Deno.TcpConn }> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const [near, far] = await Promise.all([Deno.connect({ hostname: "127.0.0.1", port }), listener.accept()]);
  return { near, far };
}

Deno.test("socketStreams() carry bytes both ways, and close the socket with the end of either", async () => {
  for (const how of ["close", "abort", "cancel"] as const) {
    const { near, far } = await pair(), { readable, writable } = socketStreams(near), bytes = pattern(3_000_000);
    const writer = writable.getWriter(), reader = readable.getReader();
    const written = writer.write(bytes), got = new Uint8Array(bytes.length);
    for (let at = 0; at < got.length;) at += (await far.read(got.subarray(at)))!;
    await written;
    assertEquals(got, bytes);
    await far.write(new TextEncoder().encode("back"));
    assertEquals(text((await reader.read()).value!), "back");
    await (how === "cancel" ? reader.cancel() : writer[how]());
    assertEquals(await far.read(new Uint8Array(1)), null);
    if (how !== "cancel") await reader.cancel().catch(() => {});
    else await writer.close();
    far.close();
  }
});

Deno.test("socketStreams() can be read to the end where the other side does not take what is written", async () => {
  const { near, far } = await pair(), { readable, writable } = socketStreams(near);
  const writer = writable.getWriter(), reader = readable.getReader();
  await writer.write(new Uint8Array(1));
  await far.write(new TextEncoder().encode("why"));
  // What it has not read makes this a reset.
  far.close();
  const gone = await assertRejects(async () => {
    for (;;) await writer.write(new Uint8Array(100));
  });
  await assertRejects(() => writer.closed, Error, (gone as Error).message);
  assertEquals(text((await reader.read()).value!), "why");
  await reader.read().catch(() => {});
  await reader.cancel().catch(() => {});
});
