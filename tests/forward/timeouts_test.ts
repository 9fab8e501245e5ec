/** `timeout` of forwards and of listeners: what is not opened in time is closed, and told; everything else goes on. */
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { ChannelClose, ChannelOpen } from "../../lib/connection/messages.ts";
import { ChannelOpenError } from "../../lib/errors.ts";
import { ClientForwards } from "../../lib/forward/client.ts";
import type { Forward, ForwardOptions } from "../../lib/forward/forward.ts";
import { forwardHere } from "../../lib/forward/standing.ts";
import { abortable } from "../../lib/wire/abortable.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { confirmation, fakeMux, PEER } from "../_support/fake_transport.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { inTime, until } from "../_support/until.ts";
import { channels, hangUp, readAll, socketPair, writeAll } from "./_conns.ts";
import { pathServer } from "./_server.ts";

const THERE = { hostname: "db", port: 5432 };
const NEVER = new Promise<never>(() => {});

/** What `onError` was told. */
function told(): { errors: unknown[]; options: ForwardOptions } {
  const errors: unknown[] = [];
  return { errors, options: { timeout: 20, onError: (error) => void errors.push(error) } };
}

function assertTimedOut(error: unknown, what: string, timeout = 20): void {
  assertInstanceOf(error, DOMException);
  assertEquals([error.name, error.message], ["TimeoutError", `Timed out after ${timeout} ms waiting for ${what}`]);
}

/** At least so many bytes; the first of them. */
async function readSome(conn: Deno.Conn, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(64);
  let at = 0;
  while (at < length) {
    const count = await conn.read(bytes.subarray(at));
    if (count === null) break;
    at += count;
  }
  return bytes.subarray(0, Math.min(at, length));
}

for (const kind of ["forwardLocal", "forwardDynamic"] as const) {
  Deno.test(`${kind}(): a connection that the server does not open in time is closed and told, and given back when it opens late`, async () => {
    const { transport, mux } = fakeMux(), { errors, options } = told();
    const paths = new ClientForwards(mux, NEVER);
    const forward: Forward = kind === "forwardLocal"
      ? await paths.forwardLocal({ port: 0 }, THERE, options)
      : await paths.forwardDynamic({ port: 0 }, options);
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: (forward.addr as Deno.NetAddr).port });
    // SOCKS5 without a login, and CONNECT to db:5432.
    if (kind === "forwardDynamic") {
      await writeAll(conn, new Uint8Array([5, 1, 0, 5, 1, 0, 3, 2, 0x64, 0x62, 5432 >> 8, 5432 & 255]));
    }
    if (kind === "forwardLocal") assertEquals(await inTime(readAll(conn), "the end"), new Uint8Array(0));
    else {
      // The greeting's answer, and host unreachable.
      assertEquals([...await inTime(readSome(conn, 4), "the refusal")], [5, 0, 5, 4]);
      hangUp(conn);
    }
    await until(() => errors.length === 1 && forward.connections.size === 0, "It is not told");
    assertTimedOut(errors[0], "the server to open a direct-tcpip channel to db:5432");
    const [opening] = transport.takeType(Msg.CHANNEL_OPEN).map((payload) => ChannelOpen.decode(payload).sender);
    transport.receive(confirmation(opening!));
    await until(() => transport.sent.some((payload) => payload[0] === Msg.CHANNEL_CLOSE), "It is not closed");
    const [closed] = transport.takeType(Msg.CHANNEL_CLOSE);
    assertEquals(ChannelClose.decode(closed!).recipient, PEER + opening!);
    transport.receive(ChannelClose.encode({ recipient: opening! }));
    hangUp(conn);
    await forward.close();
    await forward.finished;
  });
}

Deno.test("forwardRemote(): a connection that cannot be made here in time is refused and told, and the next one is taken", async () => {
  const server = pathServer(), { errors, options } = told();
  let connected: Promise<Deno.TcpConn> = NEVER;
  using sockets = await socketPair();
  const forward = await forwardHere(server.forwards.host, server.forwards.listeners, { port: 80 }, {
    to: { transport: "tcp", hostname: "127.0.0.1", port: 8080 },
    connect: (signal) => abortable(connected, signal),
  }, options);
  await assertRejects(() => inTime(server.connect("localhost", 80), "the refusal"), ChannelOpenError, "TimeoutError");
  await until(() => errors.length === 1, "It is not told");
  assertTimedOut(errors[0], 'a connection to "127.0.0.1" port 8080');
  connected = Promise.resolve(sockets.ours);
  const far = await server.connect("localhost", 80);
  await far.close();
  await forward.close();
  await until(() => channels(server).every((count) => count === 0), "A channel is still open");
  assertEquals(errors.length, 1);
});

Deno.test("accept() of a listener rejects when its time is over, and the next connection is for who waits then", async () => {
  const server = pathServer(), counted = countedSignal();
  const listener = await server.forwards.listen({ port: 80, timeout: 2 ** 40 });
  const early = await assertRejects(() => listener.accept({ timeout: 1, signal: counted.signal }));
  assertTimedOut(early, 'a connection to "localhost" port 80', 1);
  assertEquals(counted.listeners, 0);
  await assertRejects(() => listener.accept({ timeout: 0 }), RangeError, "milliseconds above 0");
  const waiting = listener.accept({ timeout: 2 ** 40, signal: counted.signal });
  const far = await server.connect("localhost", 80);
  const conn = await inTime(waiting, "the connection");
  assertEquals(counted.listeners, 0);
  conn.close();
  await far.close();
  const unix = await server.forwards.listenUnix("/run/x", { timeout: 2 ** 40 });
  assertTimedOut(await assertRejects(() => unix.accept({ timeout: 1 })), 'a connection to "/run/x"', 1);
  await Promise.all([listener.close(), unix.close()]);
});

Deno.test("the time of `listen()` ends the asking alone, and its signal the listening", async () => {
  const server = pathServer(), counted = countedSignal(), reason = new Error("enough");
  using time = new FakeTime();
  const listener = await server.forwards.listen({ port: 80, timeout: 20, signal: counted.signal });
  const waiting = assertRejects(() => listener.accept());
  time.tick(1000);
  counted.abort(reason);
  assertEquals(await waiting, reason);
  await until(() => server.asked.at(-1) === "cancel localhost 80", "It is not cancelled");
});
