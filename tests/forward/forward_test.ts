import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import { ChannelOpenError, SshError } from "../../lib/errors.ts";
import type { Forward } from "../../lib/forward/forward.ts";
import { Prng } from "../_support/fuzz.ts";
import { systemSockets } from "../../lib/forward/sockets.ts";
import { inTime, until } from "../_support/until.ts";
import { channels, hangUp, pattern, readAll, writeAll } from "./_conns.ts";
import { pathServer } from "./_server.ts";

const HERE = { hostname: "127.0.0.1", port: 0 };
const THERE = { hostname: "there", port: 80 };

function connect(forward: Forward): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname: "127.0.0.1", port: (forward.addr as Deno.NetAddr).port });
}

/** Sends bytes through an echo, and checks that they come back whole. */
async function echoed(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  const all = readAll(conn);
  await writeAll(conn, bytes);
  await conn.closeWrite();
  assertEquals(await inTime(all, "the echo"), bytes);
}

Deno.test("`forwardLocal()` carries connections to the far end, and tells which are open", async () => {
  const server = pathServer(), forward = await server.forwards.forwardLocal({ port: 0 }, THERE, {});
  // Unlike `Deno.listen()`: nobody else is to get in.
  assertEquals((forward.addr as Deno.NetAddr).hostname, "127.0.0.1");
  const conn = await connect(forward);
  await until(() => server.dialled.length === 1, "Nothing was dialled");
  assertEquals(server.dialled[0], { host: "there", port: 80, from: `127.0.0.1 ${conn.localAddr.port}` });
  const [open] = forward.connections;
  assertEquals([open!.from, open!.to], [conn.localAddr, { transport: "tcp", ...THERE }]);
  await echoed(conn, pattern(1_000_000));
  conn.close();
  await until(() => forward.connections.size === 0 && channels(server)[0] === 0, "A connection is still open");
  await forward.close();
  await forward.finished;
  await assertRejects(() => connect(forward), Deno.errors.ConnectionRefused);
});

Deno.test("a forward leads where it was told to, whatever becomes of the object that said so", async () => {
  const server = pathServer(), there = { ...THERE }, target = Deno.listen(HERE), { port } = target.addr as Deno.NetAddr;
  const here = { hostname: "127.0.0.1", port };
  const forward = await server.forwards.forwardLocal(HERE, there, {});
  const back = await server.forwards.forwardRemote({ port: 80 }, here, {});
  there.port = here.port = NaN;
  const conn = await connect(forward);
  await echoed(conn, pattern(10));
  conn.close();
  assertEquals(server.dialled.map(({ host, port }) => [host, port]), [["there", 80]]);
  const far = await server.connect("localhost", 80);
  (await target.accept()).close();
  await far.close();
  target.close();
  await Promise.all([forward.close(), back.close()]);
});

Deno.test("`forwardLocal()` listens at all addresses where it is told so, as ssh_config writes it or the RFC", async () => {
  const server = pathServer();
  for (const hostname of ["*", "", "0.0.0.0"]) {
    await using forward = await server.forwards.forwardLocal({ hostname, port: 0 }, THERE, {});
    assertEquals((forward.addr as Deno.NetAddr).hostname, "0.0.0.0");
  }
});

Deno.test("a connection that fails is closed and told, and the forward goes on", async () => {
  let open = false;
  const server = pathServer(undefined, () => open ? null : new ChannelOpenError("Connection refused", 2));
  const errors: [unknown, unknown][] = [];
  const forward = await server.forwards.forwardLocal(HERE, THERE, {
    onError: (error, connection) => {
      errors.push([error, connection?.to]);
      throw new Error("what onError throws changes nothing");
    },
  });
  const refused = await connect(forward);
  assertEquals(await inTime(refused.read(new Uint8Array(1)), "the end"), null);
  refused.close();
  await until(() => errors.length === 1, "Nobody was told");
  assertInstanceOf(errors[0]![0], ChannelOpenError);
  assertEquals(errors[0]![1], { transport: "tcp", ...THERE });
  open = true;
  const conn = await connect(forward);
  await echoed(conn, pattern(1000));
  conn.close();
  await forward.close();
  assertEquals(errors.length, 1);
});

Deno.test("`close()` cuts what is open, `shutdown()` waits for it, and both listen no more", async () => {
  for (const way of ["close", "shutdown", "signal", "cut"] as const) {
    const server = pathServer(), controller = new AbortController(), errors: unknown[] = [];
    const forward = await server.forwards.forwardLocal(HERE, THERE, {
      signal: controller.signal,
      onError: (error) => errors.push(error),
    });
    const conn = await connect(forward);
    await writeAll(conn, pattern(10));
    await conn.read(new Uint8Array(10));
    const ended = way === "signal"
      ? (controller.abort(), forward.finished)
      : way === "cut"
      ? ([...forward.connections][0]!.close(), until(() => forward.connections.size === 0, "It is not cut"))
      : forward[way]();
    if (way === "shutdown") {
      assertEquals(forward.connections.size, 1);
      await echoed(conn, pattern(100));
    } else assertEquals(await inTime(conn.read(new Uint8Array(1)), "the end"), null);
    await inTime(ended, "the forward's end");
    if (way !== "cut") await assertRejects(() => connect(forward), Deno.errors.ConnectionRefused);
    await forward.close();
    await forward.finished;
    assertEquals([forward.connections.size, errors.length], [0, 0]);
    await until(() => channels(server).every((count) => count === 0), "A channel is still open");
    conn.close();
  }
});

Deno.test("a forward that is being shut down is still cut by its signal, and still says that its connection was lost", async () => {
  const lost = new SshError("Gone", { code: "CONNECTION_LOST" });
  for (const how of ["signal", "loss"] as const) {
    const server = pathServer(), controller = new AbortController();
    const forwards = [
      await server.forwards.forwardLocal(HERE, THERE, { signal: controller.signal }),
      await server.forwards.forwardRemote({ port: 0 }, { port: 9 }, { signal: controller.signal }),
    ];
    const conn = await connect(forwards[0]!);
    await until(() => forwards[0]!.connections.size === 1, "No connection");
    const ends = forwards.map((forward) => forward.shutdown());
    how === "signal" ? controller.abort() : server.end(lost);
    await inTime(Promise.all(ends), "the end");
    assertEquals(await inTime(conn.read(new Uint8Array(1)), "the connection's end"), null);
    const finished = await Promise.all(forwards.map(({ finished }) => finished.then(() => null, (error) => error)));
    assertEquals(finished, how === "signal" ? [null, null] : [lost, lost]);
    conn.close();
  }
});

Deno.test("a signal that has aborted opens nothing", async () => {
  const server = pathServer(), reason = new Error("enough"), signal = AbortSignal.abort(reason);
  for (
    const begin of [
      () => server.forwards.forwardLocal(HERE, THERE, { signal }),
      () => server.forwards.forwardDynamic(HERE, { signal }),
      () => server.forwards.forwardRemote(THERE, { port: 1 }, { signal }),
    ]
  ) assertStrictEquals(await begin().then(() => null, (error) => error), reason);
  assertEquals(server.asked, []);
});

Deno.test("a signal that aborts at any step is seen, or ends what has been made, and leaves nothing open here or there", async () => {
  const reason = new Error("enough");
  for (const step of [...Array(9).keys(), 20]) {
    const server = pathServer(), controller = new AbortController(), { forwards } = server, { signal } = controller;
    const begun = [
      forwards.dial({ ...THERE, signal }),
      forwards.dialUnix("/x", { signal }),
      forwards.listen({ port: 80, signal }),
      forwards.listenUnix("/x", { signal }),
      forwards.forwardLocal(HERE, THERE, { signal }),
      forwards.forwardRemote({ port: 81 }, { port: 9 }, { signal }),
      forwards.forwardDynamic(HERE, { signal }),
    ];
    const outcomes = Promise.allSettled(begun);
    for (let i = 0; i < step; i++) await null;
    controller.abort(reason);
    for (const outcome of await inTime(outcomes, "an outcome")) {
      if (outcome.status === "rejected") {
        assertStrictEquals(outcome.reason, reason);
        continue;
      }
      const { value } = outcome;
      if ("finished" in value) await inTime(value.finished, "the forward's end");
      else if ("accept" in value) assertStrictEquals(await value.accept().catch((error) => error), reason);
      await value.close();
    }
    await until(() => channels(server).every((count) => count === 0), "A channel is still open");
    const count = (what: string): number => server.asked.filter((one) => one.startsWith(what)).length;
    await until(() => count("listen") === count("cancel"), "Something is still listened at");
  }
});

Deno.test("a forward ends with its connection: `finished` says whether it was lost", async () => {
  const lost = new SshError("Gone", { code: "CONNECTION_LOST" });
  for (const error of [undefined, lost]) {
    const server = pathServer(),
      forwards = [
        await server.forwards.forwardLocal(HERE, THERE, {}),
        await server.forwards.forwardDynamic(HERE, {}),
        await server.forwards.forwardRemote(THERE, { port: 9 }, {}),
      ];
    const conns = [await connect(forwards[0]!), await connect(forwards[1]!)];
    await until(() => forwards[0]!.connections.size === 1 && forwards[1]!.connections.size === 1, "No connection");
    server.end(error);
    for (const { finished } of forwards) {
      assertEquals(await inTime(finished.then(() => undefined, (error) => error), "the end"), error);
    }
    for (const conn of conns) {
      assertEquals(await inTime(conn.read(new Uint8Array(1)), "the end"), null);
      conn.close();
    }
    // Nothing begins any more.
    for (
      const begin of [
        () => server.forwards.forwardLocal(HERE, THERE, {}),
        () => server.forwards.forwardDynamic(HERE, {}),
        () => server.forwards.forwardRemote(THERE, { port: 9 }, {}),
      ]
    ) {
      const failure = await assertRejects(begin, SshError);
      error === undefined ? assertEquals(failure.code, "CLOSED") : assertStrictEquals(failure, error);
    }
  }
});

Deno.test("no more connections than `maxConnections` are open at once; the others wait", async () => {
  const server = pathServer(), forward = await server.forwards.forwardLocal(HERE, THERE, { maxConnections: 2 });
  const conns = await Promise.all([1, 2, 3].map(() => connect(forward)));
  const echoes = conns.map(async (conn) => {
    await writeAll(conn, new Uint8Array(1));
    assertEquals(await conn.read(new Uint8Array(1)), 1);
  });
  await until(() => server.dialled.length === 2, "Nothing is dialled");
  await Promise.race(echoes);
  assertEquals([forward.connections.size, server.dialled.length], [2, 2]);
  // Whoever has got an echo makes room.
  const first = await Promise.race(echoes.map(async (echo, i) => (await echo, i)));
  conns[first]!.close();
  await inTime(Promise.all(echoes), "the third one's echo");
  assertEquals(server.dialled.length, 3);
  conns.forEach(hangUp);
  await forward.close();
});

Deno.test("`forwardRemote()` connects here, refuses what it cannot connect, and keeps within its bound", async () => {
  const target = Deno.listen(HERE);
  const server = pathServer(), errors: unknown[] = [], { port } = target.addr as Deno.NetAddr;
  const forward = await server.forwards.forwardRemote({ port: 0 }, { port }, {
    maxConnections: 1,
    onError: (error) => errors.push(error),
  });
  assertEquals(forward.addr, { transport: "tcp", hostname: "localhost", port: 4711 });
  const far = await server.connect("localhost", 4711), socket = await target.accept();
  const serving = (async () => {
    await writeAll(socket, await readAll(socket));
    socket.close();
  })();
  const [open] = forward.connections;
  assertEquals([open!.from, open!.to], [{ transport: "tcp", hostname: "192.0.2.7", port: 4321 }, {
    transport: "tcp",
    hostname: "127.0.0.1",
    port,
  }]);
  assertEquals((await assertRejects(() => server.connect("localhost", 4711), ChannelOpenError)).reason, 4);
  const bytes = pattern(300_000), all = readAll(far);
  await writeAll(far, bytes);
  await far.closeWrite();
  assertEquals(await inTime(all, "the echo"), bytes);
  await serving;
  await until(() => forward.connections.size === 0, "A connection is still open");
  target.close();
  const refused = await assertRejects(() => server.connect("localhost", 4711), ChannelOpenError);
  assertEquals(refused.reason, 2);
  await until(() => errors.length === 1, "Nobody was told");
  assertInstanceOf(errors[0], Deno.errors.ConnectionRefused);
  await forward.close();
  assertEquals(server.asked.at(-1), "cancel localhost 4711");
  assertEquals((await assertRejects(() => server.connect("localhost", 4711), ChannelOpenError)).reason, 1);
});

Deno.test("`forwardRemote()` with a path that is not given listens at the port", async () => {
  const server = pathServer();
  const forward = await server.forwards.forwardRemote(
    { path: undefined, port: 80 } as { port: number },
    { port: 1 },
    {},
  );
  assertEquals(server.asked, ["listen localhost 80"]);
  await forward.close();
});

Deno.test("Unix sockets are at either end of each forward, and only their user's", async () => {
  const folder = await Deno.makeTempDir(), server = pathServer();
  const paths = { local: `${folder}/local`, dynamic: `${folder}/dynamic`, target: `${folder}/target` };
  const local = await server.forwards.forwardLocal({ path: paths.local }, { path: "/run/there" }, {});
  const conn = await Deno.connect({ transport: "unix", path: paths.local });
  await echoed(conn, pattern(100_000));
  conn.close();
  assertEquals(server.dialled, [{ host: "/run/there", port: 0, from: "" }]);
  assertEquals(local.addr, { transport: "unix", path: paths.local });
  if (Deno.build.os !== "windows") assertEquals(Deno.statSync(paths.local).mode! & 0o777, 0o600);
  // What is there already is nobody's to take away.
  await assertRejects(() => server.forwards.forwardLocal({ path: paths.local }, THERE, {}), Deno.errors.AddrInUse);

  const dynamic = await server.forwards.forwardDynamic({ transport: "unix", path: paths.dynamic }, {});
  const client = await Deno.connect({ transport: "unix", path: paths.dynamic });
  await writeAll(client, new Uint8Array([4, 1, 0, 80, 10, 0, 0, 1, 0]));
  assertEquals(await client.read(new Uint8Array(20)), 8);
  await echoed(client, pattern(1000));
  client.close();

  using target = Deno.listen({ transport: "unix", path: paths.target });
  const remote = await server.forwards.forwardRemote(
    { path: "/run/far" },
    { transport: "unix", path: paths.target },
    {},
  );
  const far = await server.connectUnix("/run/far"), accepted = await target.accept();
  await far.write(pattern(10));
  assertEquals(await accepted.read(new Uint8Array(20)), 10);
  accepted.close();
  assertEquals(await inTime(far.read(new Uint8Array(1)), "the end"), null);
  await far.close();
  for (const forward of [local, dynamic, remote]) await forward.close();
  await Deno.remove(folder, { recursive: true });
});

Deno.test({
  name: "Unix sockets are their user's alone also where the program may not set its mask, and nothing asks for that",
  ignore: Deno.build.os === "windows",
  permissions: { read: true, write: true, net: true },
  fn: async () => {
    const folder = Deno.makeTempDirSync(), path = `${folder}/socket`, server = pathServer();
    const forward = await server.forwards.forwardLocal({ path }, THERE, {});
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
    await forward.close();
    const served = systemSockets.listenUnix(path);
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
    served.close();
    Deno.removeSync(folder, { recursive: true });
  },
});

Deno.test("200 connections through one forward, at once and one after the other, half of them cut at random, leave nothing", async () => {
  const server = pathServer(), forward = await server.forwards.forwardLocal(HERE, THERE, {}), prng = new Prng(7);
  const one = async (cutAt: number | null): Promise<void> => {
    const conn = await connect(forward);
    try {
      const bytes = pattern(prng.below(20_000) + 1, prng.below(1000));
      if (cutAt === null) return await echoed(conn, bytes);
      await writeAll(conn, bytes);
      if (cutAt > 0) await conn.read(new Uint8Array(cutAt));
    } finally {
      conn.close();
    }
  };
  const cut = (): number | null => prng.below(2) === 0 ? null : prng.below(100);
  await inTime(Promise.all(Array.from({ length: 150 }, () => one(cut()))), "the connections");
  for (let i = 0; i < 50; i++) await one(cut());
  await until(
    () => forward.connections.size === 0 && channels(server).every((count) => count === 0),
    "Something is still open",
  );
  await forward.close();
  assert(server.dialled.length === 200);
});
