/**
 * `Transport.wire`: the transport as a pair of streams that is piped to and from whatever carries the bytes.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Channel } from "../../lib/api/transport/channel.ts";
import type { ServerInterface } from "../../lib/api/transport/server_interface.ts";
import { Transport, type TransportOptions } from "../../lib/api/transport/transport.ts";
import { SshError } from "../../lib/errors.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { memoryPair, seededBytes } from "../_support/duplex.ts";
import { turns, until } from "../_support/until.ts";
import { hostKey } from "../_support/joined.ts";

class Cat extends Channel {
  override checkExecRequest(): boolean {
    this.readable.pipeTo(this.writable).then(() => {
      this.sendExitStatus(0);
      return this.close();
    }).catch(() => {});
    return true;
  }
}

const anybody: Partial<ServerInterface> = {
  getAllowedAuths: () => ["none"],
  checkAuthNone: () => true,
  checkChannelRequest: (_kind, id) => new Cat(id),
};

/** Two transports that nothing carries yet. */
async function loose(options: TransportOptions = {}): Promise<{ client: Transport; server: Transport }> {
  const client = new Transport(undefined, options), server = new Transport(undefined, options);
  server.addServerKey(await hostKey());
  return { client, server };
}

async function logIn(client: Transport, server: Transport): Promise<Channel> {
  await Promise.all([client.startClient(), server.startServer(anybody)]);
  await client.authNone("anybody");
  const channel = await client.openSession();
  await channel.execCommand("cat");
  return channel;
}

async function echoed(channel: Channel, bytes: Uint8Array): Promise<Bytes> {
  const writer = channel.writable.getWriter();
  const writing = writer.write(bytes).then(() => writer.close());
  const back = await new Response(channel.readable).bytes() as Bytes;
  await writing;
  return back;
}

Deno.test("Transport.wire carries a connection from pipe to pipe, through a rekey every 64 KiB, and ends both pipes", async () => {
  const { client, server } = await loose({ rekey: { bytes: 65_536 } });
  const pipes = [client.wire.readable.pipeTo(server.wire.writable), server.wire.readable.pipeTo(client.wire.writable)];
  const channel = await logIn(client, server);
  const bytes = seededBytes(1_000_000);
  assertEquals(await echoed(channel, bytes), bytes);
  assertEquals(await channel.exitStatus, { success: true, code: 0, signal: null });
  await client.close();
  await Promise.all([client.closed, server.closed]);
  await Promise.allSettled(pipes);
});

Deno.test("Transport.wire stands between a socket's streams, in either role", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { client, server } = await loose();
  const accepted = listener.accept();
  const near = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }), far = await accepted;
  const pipes = [
    near.readable.pipeThrough(client.wire).pipeTo(near.writable),
    far.readable.pipeThrough(server.wire).pipeTo(far.writable),
  ];
  const channel = await logIn(client, server);
  const bytes = seededBytes(3_000_000);
  assertEquals(await echoed(channel, bytes), bytes);
  await client.close();
  // The pipes close the sockets, behind the last byte: the sanitizers see that nothing stays open.
  await Promise.all(pipes);
  await server.closed;
});

Deno.test("Transport.wire stops reading where its own bytes are not taken, and goes on when they are", async () => {
  const { client, server } = await loose();
  const pair = memoryPair({ highWaterMark: 65_536 });
  let carried = 0;
  const counting = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      carried += chunk.length;
      controller.enqueue(chunk);
    },
  });
  const pipes = [
    client.wire.readable.pipeThrough(counting).pipeTo(pair.client.writable),
    pair.client.readable.pipeTo(client.wire.writable),
    pair.server.readable.pipeThrough(server.wire).pipeTo(pair.server.writable),
  ];
  const channel = await logIn(client, server);
  pair.toServer.stall();
  const writer = channel.writable.getWriter();
  const bytes = seededBytes(1_500_000);
  const writing = writer.write(bytes).then(() => writer.close());
  let before = -1;
  await until(async () => {
    const now = carried;
    await turns(20);
    return now === (before = carried);
  }, "nothing more to be taken");
  assert(before < 1_500_000, `${before} bytes were taken`);
  pair.toServer.resume();
  assertEquals(await new Response(channel.readable).bytes(), bytes);
  await writing;
  await client.close();
  await server.closed;
  await Promise.allSettled(pipes);
});

Deno.test("Transport.wire carries errors: of what carries the bytes to the transport, of the transport to the pipe", async () => {
  {
    const { client, server } = await loose();
    const broken = Promise.withResolvers<void>();
    const cut = new TransformStream<Uint8Array, Uint8Array>({
      start: (controller) => void broken.promise.then(() => controller.error(new Error("The cable was pulled"))),
    });
    const pipes = [
      client.wire.readable.pipeTo(server.wire.writable),
      server.wire.readable.pipeThrough(cut).pipeTo(client.wire.writable),
    ];
    const channel = await logIn(client, server);
    broken.resolve();
    const error = await assertRejects(() => client.closed, SshError);
    assertEquals([error.code, String(error.cause)], ["CONNECTION_LOST", "Error: The cable was pulled"]);
    await assertRejects(() => channel.closed, SshError);
    await assertRejects(() => server.closed, SshError);
    await Promise.allSettled(pipes);
  }
  {
    const client = new Transport();
    const sent: string[] = [];
    const noise = ReadableStream.from([new TextEncoder().encode("SSH-1.5-old\r\n")]);
    const pipe = noise.pipeThrough(client.wire).pipeTo(
      new WritableStream({ write: (chunk: Uint8Array) => void sent.push(new TextDecoder().decode(chunk)) }),
    );
    await assertRejects(() => client.startClient(), SshError);
    await Promise.allSettled([pipe]);
    assert(sent.every((text) => text.startsWith("SSH-2.0-") || !text.includes("old")));
  }
});

Deno.test("Transport.wire ends when the transport is closed before it was started", async () => {
  const transport = new Transport();
  const { readable, writable } = transport.wire;
  await transport.close();
  await transport.closed;
  assertEquals(await readable.getReader().closed.then(() => "closed", () => "ended"), "ended");
  await assertRejects(() => writable.getWriter().write(new Uint8Array(1)));
  // A pipe tells why it ends.
  const another = new Transport(), idle = new TransformStream<Uint8Array, Uint8Array>();
  const pipe = idle.readable.pipeThrough(another.wire).pipeTo(new WritableStream()).catch((error) => error);
  await another.close();
  const error = await pipe;
  assert(error instanceof SshError, String(error));
  assertEquals([error.code, error.message], ["CLOSED", "Connection is closed"]);
});

Deno.test("Transport.wire throws where the constructor was given streams", async () => {
  const pair = memoryPair();
  await using transport = new Transport(pair.client);
  assertThrows(() => transport.wire, TypeError, "it reads and writes the streams it was made with");
});
