/** Limits before the login that several servers keep together, each of them over a port. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  connect,
  password,
  serve,
  type ServeOptions,
  type SharedAdmission,
  sharedAdmission,
  type SshClient,
  SshDisconnectError,
  SshError,
  type SshServer,
} from "../../mod.ts";
import { RemoteGate } from "../../lib/api/admission/remote_gate.ts";
import { TOO_MANY } from "../../lib/api/admission/turn_away.ts";
import type { FromServer, ToServer } from "../../lib/api/admission/port_messages.ts";
import { login, serverOptions, text } from "../_support/joined.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { settle } from "../_support/fake_transport.ts";
import { inTime, until } from "../_support/until.ts";

const wrong = [password("wrong")];

async function listen(admission: MessagePort, extra: Partial<ServeOptions> = {}): Promise<SshServer> {
  return serve({
    ...await serverOptions(),
    hostname: "127.0.0.1",
    port: 0,
    algorithms: { kex: ["curve25519-sha256"] },
    admission,
    ...extra,
  });
}

function dial(server: SshServer, auth = login.auth!) {
  return connect({ hostname: "127.0.0.1", port: server.addr.port, ...login, auth });
}

/** A socket that says nothing, and what the server has said first. */
async function knock(server: SshServer): Promise<{ conn: Deno.TcpConn; said: string }> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
  const bytes = new Uint8Array(256);
  return { conn, said: text(bytes.subarray(0, await conn.read(bytes) ?? 0)) };
}

/** Sockets that say nothing, one for each server named; all of them are let in. */
async function idle(...servers: SshServer[]): Promise<Deno.TcpConn[]> {
  const conns: Deno.TcpConn[] = [];
  for (const server of servers) {
    const { conn, said } = await knock(server);
    assertStringIncludes(said, "SSH-2.0-");
    conns.push(conn);
  }
  return conns;
}

async function isTurnedAway(server: SshServer): Promise<boolean> {
  const { conn, said } = await knock(server);
  conn.close();
  return said.startsWith("Exceeded the number of connections without a login");
}

/** A port in the hands of somebody who speaks its language, as a server would. */
function raw(port: MessagePort) {
  const heard: ToServer[] = [];
  port.onmessage = ({ data }) => void heard.push(data);
  return {
    heard,
    say: (...messages: FromServer[]) => messages.forEach((message) => port.postMessage(message)),
    close: () => port.close(),
    answers: () => heard.flatMap((message) => message[0] === "answer" ? [message[2]] : []),
  };
}

/** The clock of the limits goes on; timers, which ports take part in, are left alone. */
function clockAhead(milliseconds: number): Disposable {
  const { now } = performance;
  performance.now = () => now.call(performance) + milliseconds;
  return { [Symbol.dispose]: () => void (performance.now = now) };
}

Deno.test("sharedAdmission() holds the limit of a source over all servers, whichever it comes to", async () => {
  using admission = sharedAdmission({ maxStartupsPerSource: 3 });
  await using one = await listen(admission.port());
  await using other = await listen(admission.port());
  const conns = await idle(one, other, one), clients: SshClient[] = [];
  assert(await isTurnedAway(one));
  assert(await isTurnedAway(other));
  conns.pop()!.close();
  // A place that is free at one is free at the other; who logs in needs it only until then.
  for (const server of [other, one, other]) {
    await until(() => dial(server).then((client) => (clients.push(client), true), () => false), "a login");
  }
  for (const conn of conns) conn.close();
  for (const client of clients) await client.close();
});

Deno.test("sharedAdmission() holds `maxStartups.full` over all servers", async () => {
  using admission = sharedAdmission({ maxStartups: { begin: 2, rate: 100, full: 2 } });
  await using one = await listen(admission.port());
  await using other = await listen(admission.port());
  const conns = await idle(one, other);
  assert(await isTurnedAway(one));
  assert(await isTurnedAway(other));
  for (const conn of conns) conn.close();
});

Deno.test("who failed at one server is refused at the others, and the one where it failed says so", async () => {
  const told: [SshError[], SshError[]] = [[], []];
  const refusals = () => told.map((errors) => errors.filter(({ message }) => message.startsWith("Refuses ")).length);
  using admission = sharedAdmission({ penalties: { authFail: 60_000 } });
  await using one = await listen(admission.port(), { onError: (error) => told[0].push(error as SshError) });
  await using other = await listen(admission.port(), { onError: (error) => told[1].push(error as SshError) });
  await using before = await dial(other);
  await assertRejects(() => dial(one, wrong), SshError);
  await until(() => refusals()[0] === 1, "the server that it failed at says so");
  const error = await assertRejects(() => dial(other), SshDisconnectError, "Not allowed at this time");
  assertEquals(error.reason, 1);
  assertEquals(text((await before.exec("echo still here")).stdout), "still here\n");
  assertEquals(refusals(), [1, 0]);
});

Deno.test("a connection of one server gives its place to one of another, and is told why", async () => {
  using admission = sharedAdmission({ maxStartupsPerSource: 1 });
  await using one = await listen(admission.port());
  await using other = await listen(admission.port());
  const [conn] = await idle(one) as [Deno.TcpConn];
  {
    using _later = clockAhead(2000);
    await (await dial(other)).close();
  }
  const said = await inTime(new Response(conn.readable).text().catch(String), "the first one is sent away");
  assertStringIncludes(said, "Too many connections without a login");
});

Deno.test("what a server holds is given back when it stops, however many it held", async () => {
  using admission = sharedAdmission({ maxStartupsPerSource: 3 });
  await using one = await listen(admission.port());
  const other = await listen(admission.port());
  const conns = await idle(other, other, other);
  assert(await isTurnedAway(one));
  await other.shutdown();
  await idle(one, one).then((more) => conns.push(...more));
  for (const conn of conns) conn.close();
});

Deno.test("what a worker holds is given back when it ends, by an error, by itself or by its parent", async () => {
  using admission = sharedAdmission({ maxStartups: { begin: 2, rate: 100, full: 2 } });
  const here = raw(admission.port());
  let id = 0;
  for (const how of ["throw new Error('the end')", "Deno.exit(3)", "self.close()", ""]) {
    const program = `self.onmessage = ({ data: port }) => {
      let answers = 0;
      port.onmessage = ({ data }) => { if (++answers === 2) { self.postMessage(data[2]); setTimeout(() => { ${how} }); } };
      port.postMessage(["admit", 1, "192.0.2.1"]);
      port.postMessage(["admit", 2, "192.0.2.2"]);
    }`;
    const worker = new Worker(`data:application/javascript,${encodeURIComponent(program)}`, { type: "module" });
    worker.onerror = (event) => event.preventDefault();
    const said = new Promise<string>((resolve) => worker.onmessage = ({ data }) => resolve(data));
    const port = admission.port();
    worker.postMessage(port, [port]);
    assertEquals(await inTime(said, "the worker's connections are let in"), "in");
    if (how === "") {
      here.say(["admit", ++id, "192.0.2.3"]);
      await until(() => here.answers().length === id, "an answer");
      assertEquals(here.answers().at(-1), "too many");
      worker.terminate();
    }
    await until(async () => {
      const asked = ++id;
      here.say(["admit", asked, "192.0.2.3"], ["loggedIn", asked]);
      await until(() => here.answers().length === asked, "an answer");
      return here.answers().at(-1) === "in";
    }, `its places are free again after "${how}"`);
    worker.terminate();
  }
});

Deno.test("nobody gets in more connections by asking over many ports, or for the same number twice", async () => {
  using admission = sharedAdmission({ maxStartupsPerSource: 10, maxStartups: { begin: 20, rate: 100, full: 20 } });
  const ports = Array.from({ length: 50 }, () => raw(admission.port()));
  const answers = () => ports.flatMap((port) => port.answers());
  for (const port of ports) port.say(["admit", 1, "192.0.2.1"], ["admit", 2, "192.0.2.1"]);
  await until(() => answers().length === 100, "all answers");
  assertEquals(answers().filter((answer) => answer === "in").length, 10);
  const last = raw(admission.port());
  last.say(["admit", 1, "192.0.2.2"], ["admit", 1, "192.0.2.2"], ["ended", 1, null], ["ended", 1, null], [
    "ended",
    9,
    "authFail",
  ]);
  for (let i = 2; i < 30; i++) last.say(["admit", i, `198.51.100.${i}`]);
  await until(() => last.answers().length === 30, "all answers of the last one");
  // Others made room for them, and each of those was told.
  const all = [...ports, last],
    count = (is: (message: ToServer) => boolean) => all.flatMap(({ heard }) => heard).filter(is).length;
  const dismissed = () => count(([what]) => what === "dismissed");
  await until(() => count((message) => message[2] === "in") - 2 - dismissed() === 20, "twenty are in");
  // With their ports all are given back.
  for (const port of all) port.close();
  const other = raw(admission.port());
  await until(async () => {
    const asked = other.answers().length + 1;
    other.say(["admit", asked, "192.0.2.1"], ["ended", asked, null]);
    await until(() => other.answers().length === asked, "an answer");
    return other.answers().at(-1) === "in";
  }, "the first source is let in again");
});

Deno.test("servers whose shared admission is gone let in nobody, and keep who is in", async () => {
  const admission = sharedAdmission();
  await using server = await listen(admission.port());
  await using before = await dial(server);
  admission[Symbol.dispose]();
  await until(() => isTurnedAway(server), "nobody is let in");
  assertEquals(text((await before.exec("echo still here")).stdout), "still here\n");
  assertThrows(() => admission.port(), TypeError, "disposed of");
});

Deno.test("a server that gets no answers accepts so many and no more, and stops all the same", async () => {
  const { port1, port2 } = new MessageChannel(), asked = raw(port2).heard as unknown as FromServer[];
  const server = await listen(port1);
  const conns = await Promise.all(
    Array.from({ length: 50 }, () => Deno.connect({ hostname: "127.0.0.1", port: server.addr.port })),
  );
  await until(() => asked.length >= 32, "it has asked");
  await inTime(server.shutdown(), "it stops");
  assertEquals(asked.length, 32);
  for (const conn of conns) conn.close();
  port2.close();
});

Deno.test("who waits for limits that answer nobody any more is turned away, and one answer gives the others time", async () => {
  using time = new FakeTime();
  const { port1, port2 } = new MessageChannel();
  const gate = new RemoteGate(port1, () => {});
  const verdicts: unknown[] = [];
  const ask = (): void => void Promise.resolve(gate.admit("192.0.2.1")).then((verdict) => verdicts.push(verdict));
  ask();
  ask();
  time.tick(9_000);
  port1.onmessage!(new MessageEvent("message", { data: ["answer", 1, "too many"] }));
  time.tick(9_000);
  await settle();
  assertEquals(verdicts, [TOO_MANY]);
  time.tick(1_000);
  await settle();
  assertEquals(verdicts, [TOO_MANY, TOO_MANY]);
  assertEquals(time.pending, 0);
  ask();
  gate.close();
  await settle();
  assertEquals([verdicts.length, time.pending], [3, 0]);
  port2.close();
});

Deno.test("an answer that comes when a server has stopped is given back at once", async () => {
  const { port1, port2 } = new MessageChannel(), { heard, port } = { heard: [] as FromServer[], port: port2 };
  port.onmessage = ({ data }) => {
    heard.push(data);
    if (data[0] === "admit" && data[1] === 1) port.postMessage(["answer", 1, "in"]);
  };
  const server = await listen(port1), client = await dial(server);
  await until(() => heard.some(([what]) => what === "loggedIn"), "a client is in");
  using _conn = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
  await until(() => heard.some(([what, id]) => what === "admit" && id === 2), "it has asked about another one");
  const stopped = server.shutdown();
  port.postMessage(["answer", 2, "in"]);
  await until(() => heard.some(([what, id]) => what === "ended" && id === 2), "that place is given back");
  await client.close();
  await stopped;
  port.close();
});

Deno.test("a port of sharedAdmission() is one server's, and its limits are told to nobody else", async () => {
  using admission: SharedAdmission = sharedAdmission({ penalties: false });
  const port = admission.port();
  await using _server = await listen(port);
  await assertRejects(() => listen(port), TypeError, "another server has this port");
  for (
    const more of [{ penalties: false }, { maxStartupsPerSource: 3 }, {
      maxStartups: { begin: 1, rate: 1, full: 1 },
    }] as const
  ) {
    await assertRejects(
      () => listen(admission.port(), more),
      TypeError,
      "beside `admission`: tell it to `sharedAdmission()`",
    );
  }
  await using _plain = await listen(admission.port(), { penalties: undefined });
  assertThrows(() => sharedAdmission({ maxStartupsPerSource: 0 }), RangeError, "maxStartupsPerSource");
  assertThrows(() => sharedAdmission({ penalties: true } as unknown as { penalties: false }), TypeError, "penalties");
  assertThrows(() => sharedAdmission({ maxStartup: 1 } as object), TypeError, "maxStartups");
  for (const none of [null, 5, "x", []]) assertThrows(() => sharedAdmission(none as unknown as object), TypeError);
});
