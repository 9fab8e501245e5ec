import { assert, assertEquals, assertRejects, assertStrictEquals, assertStringIncludes } from "@std/assert";
import { ChannelOpenError, SshError } from "../../lib/errors.ts";
import { covers } from "../../lib/forward/addresses.ts";
import type { SshConn } from "../../lib/forward/conn.ts";
import { ConnListener, type SshListener } from "../../lib/forward/listener.ts";
import { BACKLOG, CANCEL_TIME } from "../../lib/forward/remote_listeners.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { channels, connPair } from "./_conns.ts";
import { pathServer, portReply } from "./_server.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

async function refused(opening: Promise<unknown>): Promise<number> {
  return (await assertRejects(() => opening, ChannelOpenError)).reason;
}

Deno.test("`listen()` gives the connections of the server with their addresses, and a loop over them ends with `close()`", async () => {
  const server = pathServer(), listener = await server.forwards.listen({ port: 8080 });
  assertEquals(listener.addr, { transport: "tcp", hostname: "localhost", port: 8080 });
  const seen: SshConn<Deno.NetAddr>[] = [];
  const loop = (async () => {
    for await (const conn of listener) seen.push(conn);
  })();
  const far = [await server.connect("localhost", 8080), await server.connect("localhost", 8080)];
  await until(() => seen.length === 2, "The connections do not come");
  assertEquals(seen[0]!.remoteAddr, { transport: "tcp", hostname: "192.0.2.7", port: 4321 });
  assertEquals(seen[0]!.localAddr, { transport: "tcp", hostname: "localhost", port: 8080 });
  await Promise.all([listener.close(), listener.close()]);
  await inTime(loop, "the loop's end");
  await listener.close();
  assertEquals(server.asked, ["listen localhost 8080", "cancel localhost 8080"]);
  await assertRejects(() => listener.accept(), SshError, "Listener is closed");
  // Those that were accepted go on.
  await far[0]!.write(utf8("hello"));
  assertEquals(await seen[0]!.read(new Uint8Array(9)), 5);
  assertEquals(await refused(server.connect("localhost", 8080)), 1);
  await Promise.all([...far, ...seen].map((conn) => conn.close()));
});

Deno.test("code for a `Deno.Listener` runs over an `SshListener`", async () => {
  const server = pathServer();
  using listener: Deno.Listener = await server.forwards.listen({ port: 0 });
  const accepted = listener.accept();
  const far = await server.connect("localhost", 4711), conn: Deno.Conn = await accepted;
  await conn.write(utf8("hello"));
  assertEquals(await far.read(new Uint8Array(9)), 5);
  conn.close();
  // Leaving a loop closes a listener, here as there.
  void server.connect("localhost", 4711).catch(() => {});
  for await (const conn of listener) {
    conn.close();
    break;
  }
  await assertRejects(() => listener.accept(), SshError);
});

Deno.test("with port 0 `addr` has the server's port, and a server that does not tell it is an error", async () => {
  const server = pathServer();
  const listener = await server.forwards.listen({ hostname: "", port: 0 });
  assertEquals(listener.addr, { transport: "tcp", hostname: "", port: 4711 });
  await listener.close();
  assertEquals(server.asked, ["listen  0", "cancel  4711"]);
  for (const reply of [true, portReply(0), portReply(65_536), new Uint8Array(3)]) {
    server.onListen = () => reply;
    const error = await assertRejects(() => server.forwards.listen({ port: 0 }), SshError, "does not say which port");
    assertEquals(error.code, "PROTOCOL_ERROR");
  }
  // It may listen somewhere all the same.
  assertEquals(server.asked.at(-1), "cancel localhost 0");
  // What stands behind the port, and a port where none was asked for, harm nobody.
  server.onListen = () => new Uint8Array([0, 0, 18, 103, 9, 9]);
  assertEquals((await server.forwards.listen({ port: 0 })).addr.port, 4711);
  assertEquals((await server.forwards.listen({ port: 80 })).addr.port, 80);
  server.onListen = () => false;
  const error = await assertRejects(() => server.forwards.listen({ port: 80 }), SshError, "port 80");
  assertEquals(error.code, "REQUEST_DENIED");
});

Deno.test("of two listeners the one that is meant gets the connection, and closing one leaves the other", async () => {
  const server = pathServer();
  const first = await server.forwards.listen({ hostname: "127.0.0.1", port: 80 });
  const second = await server.forwards.listen({ hostname: "::1", port: 80 });
  const third = await server.forwards.listen({ hostname: "", port: 81 });
  const accepted = async (listener: SshListener<Deno.NetAddr>, address: string, port: number): Promise<void> => {
    const waiting = listener.accept(), far = await server.connect(address, port), near = await waiting;
    assertEquals(near.localAddr.port, port);
    await Promise.all([far.close(), near.close()]);
  };
  await accepted(second, "::1", 80);
  await accepted(first, "127.0.0.1", 80);
  await accepted(second, "0:0:0:0:0:0:0:1", 80);
  await accepted(third, "198.51.100.1", 81);
  await first.close();
  await accepted(second, "localhost", 80);
  await accepted(second, "::1", 80);
  assertEquals(await refused(server.connect("127.0.0.1", 80)), 1);
  assertEquals(await refused(server.connect("", 82)), 1);
  await second.close();
  assertEquals(await refused(server.connect("::1", 80)), 1);
  await accepted(third, "", 81);
});

Deno.test("an address of a server's covers what servers name for it, and no other", () => {
  for (
    const [asked, ...named] of [
      ["", "", "0.0.0.0", "::", "*", "10.0.0.1", "2001:db8::1", "localhost"],
      ["0.0.0.0", "0.0.0.0", "", "10.0.0.1", "::ffff:10.0.0.1"],
      ["::", "::", "2001:db8::1", "10.0.0.1"],
      ["localhost", "localhost", "127.0.0.1", "::1", "0:0::1", "127.1.2.3", "LOCALHOST", ""],
      ["127.0.0.1", "127.0.0.1", "localhost", "::ffff:127.0.0.1", "0.0.0.0"],
      ["::1", "::1", "localhost", "0:0:0:0:0:0:0:1"],
      ["host.example", "host.example", "HOST.example", "10.0.0.1", "2001:db8::1"],
    ] as const
  ) {
    for (const name of named) assert(covers(asked, name), `"${asked}" does not cover "${name}"`);
  }
  for (const [asked, name] of [["127.0.0.1", "10.0.0.1"], ["::1", "127.0.0.1"], ["localhost", "10.0.0.1"]] as const) {
    assert(!covers(asked, name), `"${asked}" covers "${name}"`);
  }
  assert(!covers("10.0.0.1", "localhost"));
});

Deno.test("connections that the server opens before it has answered wait for the answer, and are refused with it", async () => {
  const server = pathServer(), answer = Promise.withResolvers<Uint8Array<ArrayBuffer> | boolean>();
  server.onListen = () => answer.promise;
  const listening = server.forwards.listen({ port: 0 });
  await until(() => server.asked.length === 1, "Nobody has asked");
  const early = server.connect("localhost", 4711), other = refused(server.connect("localhost", 4712));
  await turns(2);
  answer.resolve(portReply(4711));
  const listener = await listening, near = await listener.accept();
  await (await early).write(utf8("first"));
  assertEquals(await near.read(new Uint8Array(9)), 5);
  assertEquals(await other, 1);

  const no = Promise.withResolvers<boolean>();
  server.onListen = () => no.promise;
  const failing = assertRejects(() => server.forwards.listen({ port: 99 }), SshError);
  await until(() => server.asked.length === 2, "Nobody has asked");
  const lost = refused(server.connect("localhost", 99));
  no.resolve(false);
  assertEquals(await lost, 1);
  await failing;
  await listener.close();
});

Deno.test("connections that nobody accepts are bounded, and closed with their listener", async () => {
  const server = pathServer(), listener = await server.forwards.listen({ port: 80 });
  const opening = Array.from({ length: BACKLOG + 3 }, () => server.connect("localhost", 80).catch((error) => error));
  const results = await Promise.all(opening);
  const errors = results.filter((one) => one instanceof ChannelOpenError);
  assertEquals(errors.map(({ reason }) => reason), [4, 4, 4]);
  // Room for one more as soon as one is accepted.
  await (await listener.accept()).close();
  const more = await server.connect("localhost", 80);
  assertEquals(channels(server), [BACKLOG, BACKLOG]);
  await listener.close();
  await inTime(more.closed, "the end of what nobody accepted");
  await until(() => channels(server).every((count) => count === 0), "A channel is still open");
});

Deno.test("a connection that does not come from an address is refused, and the listener goes on", async () => {
  const server = pathServer(), listener = await server.forwards.listen({ port: 80 });
  for (
    const [hostname, port] of [["a b", 1], ["\x1b[2J", 1], ["\udc80", 1], ["x".repeat(1026), 1], ["h", 65_536]] as const
  ) {
    assertEquals(await refused(server.connect("localhost", 80, { transport: "tcp", hostname, port })), 1);
  }
  for (const [hostname, port] of [["", 0], ["fe80::1%eth0", 65_535], ["host.example", 1]] as const) {
    const far = await server.connect("localhost", 80, { transport: "tcp", hostname, port }),
      near = await listener.accept();
    assertEquals(near.remoteAddr, { transport: "tcp", hostname, port });
    await Promise.all([far.close(), near.close()]);
  }
  await listener.close();
});

Deno.test("what opens for a listen never asked for is refused, before and after there has been one", async () => {
  const server = pathServer();
  assertEquals(await refused(server.connect("localhost", 80)), 1);
  assertEquals(await refused(server.connectUnix("/run/x")), 1);
  const listener = await server.forwards.listenUnix("/run/x");
  assertEquals(await refused(server.connectUnix("/run/y")), 1);
  assertEquals(await refused(server.connect("localhost", 80)), 1);
  const waiting = listener.accept(), far = await server.connectUnix("/run/x"), near = await waiting;
  assertEquals(near.localAddr, { transport: "unix", path: "/run/x" });
  assertEquals(listener.addr, { transport: "unix", path: "/run/x" });
  await listener.close();
  assertEquals(server.asked, ["listen /run/x", "cancel /run/x"]);
  assertEquals(await refused(server.connectUnix("/run/x")), 1);
  await Promise.all([near.close(), far.close()]);
});

Deno.test("a signal ends the asking, and later the listening, and what waits sees its reason", async () => {
  const server = pathServer(), controller = new AbortController(), reason = new Error("enough");
  const listener = await server.forwards.listen({ port: 80, signal: controller.signal });
  const waiting = listener.accept();
  const loop = (async () => {
    for await (const _ of listener);
  })();
  controller.abort(reason);
  for (const one of [waiting, loop, listener.accept()]) {
    assertStrictEquals(await inTime(one.then(() => null, (error) => error), "the end"), reason);
  }
  await until(() => server.asked.length === 2, "Nothing was cancelled");

  // While the server has not answered: what it grants is given back.
  const answer = Promise.withResolvers<boolean>(), second = new AbortController();
  server.onListen = () => answer.promise;
  const asking = server.forwards.listen({ port: 81, signal: second.signal });
  await until(() => server.asked.length === 3, "Nobody has asked");
  second.abort(reason);
  assertStrictEquals(await asking.then(() => null, (error) => error), reason);
  answer.resolve(true);
  await until(() => server.asked.at(-1) === "cancel localhost 81", "What was granted is not given back");
  assertStrictEquals(
    await server.forwards.listen({ port: 82, signal: second.signal }).then(() => null, (error) => error),
    reason,
  );
  assertEquals(server.asked.length, 4);
});

Deno.test("a signal of `accept()` ends that wait alone, and the next in line gets the connection", async () => {
  const server = pathServer(), listener = await server.forwards.listen({ port: 80 });
  const controller = new AbortController(), reason = new Error("enough");
  const first = listener.accept({ signal: controller.signal }), second = listener.accept();
  controller.abort(reason);
  assertStrictEquals(await first.then(() => null, (error) => error), reason);
  const far = await server.connect("localhost", 80), near = await inTime(second, "the connection");
  await Promise.all([far.close(), near.close(), listener.close()]);
});

Deno.test("a connection that comes in the turn in which a wait for it is given up is lost to nobody", async () => {
  const addr = { transport: "tcp", hostname: "", port: 80 } as const, reason = new Error("enough");
  for (const first of ["signal", "connection"]) {
    const listener = new ConnListener<Deno.NetAddr>(addr, () => Promise.resolve()), { near, far } = await connPair();
    const controller = new AbortController();
    const waiting = listener.accept({ signal: controller.signal }).catch((error) => error);
    if (first === "signal") controller.abort(reason);
    listener.push(near);
    controller.abort(reason);
    if (first === "signal") assertStrictEquals(await waiting, reason);
    const got = first === "signal" ? await listener.accept() : await waiting;
    assertStrictEquals(got, near);
    await far.write(utf8("alive"));
    assertEquals(await near.read(new Uint8Array(9)), 5);
    await Promise.all([near.close(), far.close(), listener.close()]);
  }
});

Deno.test("a listener that nobody waits for any more lets go of its signal, and takes no connection", async () => {
  const reason = new Error("enough"), server = pathServer(), counted = countedSignal();
  const closed = await server.forwards.listen({ port: 80, signal: counted.signal });
  await closed.close();
  assertEquals(counted.listeners, 0);
  await server.forwards.listen({ port: 80, signal: counted.signal });
  server.end(new SshError("Gone", { code: "CONNECTION_LOST" }));
  await until(() => counted.listeners === 0, "The signal is still held");

  // Given up in the turn of the answer, with the first connections behind it.
  const other = pathServer(), controller = new AbortController(), answer = Promise.withResolvers<true>();
  other.onListen = () => answer.promise;
  const listening = other.forwards.listen({ port: 80, signal: controller.signal });
  await until(() => other.asked.length === 1, "Nobody has asked");
  const opening = [1, 2, 3].map(() => other.connect("localhost", 80).then((conn) => conn.closed, () => {}));
  answer.resolve(true);
  for (let i = 0; i < 8; i++) await null;
  controller.abort(reason);
  await inTime(listening.then((listener) => listener.close(), () => {}), "the listener");
  await inTime(Promise.all(opening), "the connections' end");
  await until(() => other.asked.at(-1) === "cancel localhost 80", "It is not cancelled");
  await until(() => channels(other).every((count) => count === 0), "A channel is still open");
});

Deno.test("closing does not wait longer than its time for a server that says nothing of the cancellation", async () => {
  using time = new FakeTime();
  const server = pathServer(), listener = await server.forwards.listen({ port: 80 });
  const forward = await server.forwards.forwardRemote({ port: 81 }, { port: 1 }, {});
  server.onCancel = () => new Promise(() => {});
  const ends = Promise.all([listener.close(), forward.close()]);
  await until(() => server.asked.length === 3, "Nothing was cancelled");
  time.tick(CANCEL_TIME);
  await inTime(ends, "the end");
  await inTime(forward.finished, "the forward's end");
});

Deno.test("listeners end with their connection: without an error where it was closed, with it where it was lost", async () => {
  for (const error of [undefined, new SshError("Gone", { code: "CONNECTION_LOST" })]) {
    const server = pathServer(), listener = await server.forwards.listen({ port: 80 });
    const loop = (async () => {
      for await (const _ of listener);
    })();
    const waiting = listener.accept(), ends = [loop, waiting].map((one) => one.then(() => null, (error) => error));
    server.end(error);
    const [looped, waited] = await inTime(Promise.all(ends), "the end");
    assertEquals(looped, error ?? null);
    assertStringIncludes(String(waited), error === undefined ? "closed" : "Gone");
    await listener.close();
    await assertRejects(() => server.forwards.listen({ port: 81 }), SshError);
  }
});
