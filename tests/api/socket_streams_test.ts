/** The streams of a socket, which fail each by itself. */
import { assertEquals, assertRejects } from "@std/assert";
import { socketStreams } from "../../lib/api/socket_streams.ts";
import { connect, SshDisconnectError } from "../../mod.ts";
import { TOO_MANY, turnAway } from "../../lib/api/admission/turn_away.ts";
import { login, text } from "../_support/joined.ts";
import { pattern } from "../_support/sftp_peers.ts";
import { turns } from "../_support/until.ts";

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

Deno.test("connect() hears why a server hangs up, though it was writing when the server had", async () => {
  const dial = Deno.connect;
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const refusing = (async () => {
    const socket = await listener.accept();
    await turnAway(socket, undefined, TOO_MANY);
  })();
  // A socket that was reset before anything is written to it, and that is read a little later.
  const late = async (options: Deno.ConnectOptions): Promise<Deno.TcpConn> => {
    const socket = await dial(options);
    await socket.write(new Uint8Array(1));
    await refusing;
    const from = socket.readable.getReader();
    let isFirst = true;
    const readable = new ReadableStream({
      async pull(controller) {
        if (isFirst) await turns();
        isFirst = false;
        const { done, value } = await from.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => from.cancel(reason),
    }, { highWaterMark: 0 });
    return Object.defineProperty(socket, "readable", { value: readable });
  };
  Object.assign(Deno, { connect: late });
  try {
    const { port } = listener.addr as Deno.NetAddr;
    const error = await assertRejects(
      () => connect({ hostname: "127.0.0.1", port, ...login }),
      SshDisconnectError,
      "Too many connections",
    );
    assertEquals(error.code, "DISCONNECTED");
  } finally {
    Object.assign(Deno, { connect: dial });
  }
});
