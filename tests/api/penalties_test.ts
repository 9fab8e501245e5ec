import { assert, assertEquals, assertInstanceOf, assertMatch, assertRejects } from "@std/assert";
import {
  connect,
  generateKey,
  password,
  publicKey,
  serve,
  type ServeOptions,
  SshDisconnectError,
  SshError,
  type SshServer,
} from "../../mod.ts";
import { Penalties } from "../../lib/api/admission/penalties.ts";
import { TOO_MANY, turnAway } from "../../lib/api/admission/turn_away.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { stateOf } from "../_support/fake_transport.ts";
import { until } from "../_support/until.ts";
import { login, serverOptions, text } from "../_support/joined.ts";

Deno.test("Penalties.punish() adds up what is not over yet, and nothing comes of it before `min`", () => {
  const penalties = new Penalties({ authFail: 5_000, min: 15_000 });
  assertEquals(penalties.punish("192.0.2.1", "authFail", 0), 0);
  assertEquals(penalties.punish("192.0.2.1", "authFail", 0), 0);
  assertEquals(penalties.refusedFor("192.0.2.1", 0), 0);
  assertEquals(penalties.punish("192.0.2.1", "authFail", 0), 15_000);
  assertEquals(penalties.refusedFor("192.0.2.1", 1), 14_999);
  assertEquals(penalties.refusedFor("192.0.2.2", 1), 0);
  // From there on it is refused to the end, however little is left, and what comes on top is no new beginning.
  assertEquals(penalties.punish("192.0.2.1", "authFail", 14_000), 0);
  assertEquals(penalties.refusedFor("192.0.2.1", 19_999), 1);
  assertEquals(penalties.refusedFor("192.0.2.1", 20_000), 0);
  assertEquals(penalties.size, 0);
  // What is over does not count again.
  for (let now = 20_000; now < 200_000; now += 5_000) assertEquals(penalties.punish("192.0.2.1", "authFail", now), 0);
});

Deno.test("Penalties.punish() begins anew behind a penalty that is over, whether or not anybody has asked since", () => {
  const penalties = new Penalties({ authFail: 5_000, min: 15_000 });
  for (let i = 0; i < 3; i++) penalties.punish("192.0.2.1", "authFail", 0);
  assertEquals(penalties.punish("192.0.2.1", "authFail", 20_000), 0);
  assertEquals(penalties.refusedFor("192.0.2.1", 20_000), 0);
  penalties.punish("192.0.2.2", "authFail", 0);
  const begun = [1, 2, 3].map(() => penalties.punish("192.0.2.2", "authFail", 90_000));
  assertEquals(begun, [0, 0, 15_000]);
});

Deno.test("Penalties.punish() refuses from `min` on at whatever fraction of a millisecond", () => {
  // Of such sums and differences every fifth is a little less than it should be.
  for (let i = 0; i < 1000; i++) {
    assert(new Penalties({ authFail: 60_000 }).punish("192.0.2.1", "authFail", i * 48.326090352848325) > 0);
  }
});

Deno.test("Penalties.punish() refuses nobody for longer than `max`, and costs of 0 are none", () => {
  const penalties = new Penalties({ max: 100_000, noAuth: 1_000 });
  for (let i = 0; i < 1000; i++) penalties.punish("192.0.2.1", "authFail", 0);
  assertEquals(penalties.refusedFor("192.0.2.1", 0), 100_000);
  for (let i = 0; i < 59; i++) penalties.punish("192.0.2.2", "noAuth", 0);
  assertEquals(penalties.refusedFor("192.0.2.2", 0), 0);
  assertEquals(penalties.punish("192.0.2.2", "noAuth", 0), 60_000);
  for (let i = 0; i < 1000; i++) penalties.punish("192.0.2.3", "graceExceeded", 0);
  assertEquals(penalties.refusedFor("192.0.2.3", 0), 0);
  // A `max` below `min` can be reached, too.
  const short = new Penalties({ max: 10_000 });
  assertEquals([short.punish("a", "authFail", 0), short.punish("a", "authFail", 0)], [0, 10_000]);
});

Deno.test("Penalties know an IPv4 address in each of its forms, and an IPv6 /64, as one source", () => {
  const penalties = new Penalties({ authFail: 60_000 });
  penalties.punish("::ffff:192.0.2.1", "authFail", 0);
  assertEquals(penalties.refusedFor("192.0.2.1", 0), 60_000);
  assertEquals(penalties.refusedFor("::ffff:c000:201", 0), 60_000);
  penalties.punish("2001:db8:1:2::1", "authFail", 0);
  assertEquals(penalties.refusedFor("2001:db8:1:2:ffff::9", 0), 60_000);
  assertEquals(penalties.refusedFor("2001:db8:1:3::1", 0), 0);
});

// A table that grows with every address would be a leak that anybody can open.
Deno.test("Penalties forget those that are over soonest where too many sources fail, each family by itself", () => {
  const penalties = new Penalties({ maxSources: 80, min: 5_000 });
  penalties.punish("2001:db8::1", "authFail", 0);
  for (let i = 0; i < 10; i++) penalties.punish("192.0.2.1", "authFail", 0);
  for (let i = 0; i < 10_000; i++) {
    penalties.punish(`10.0.${i >> 8}.${i & 255}`, "authFail", i / 1000);
    assert(penalties.size <= 81);
  }
  assert(penalties.refusedFor("192.0.2.1", 10) > 0, "the one that failed most is the last to be forgotten");
  assert(penalties.refusedFor("2001:db8::1", 10) > 0, "the other family is not touched");
  assert(penalties.refusedFor("10.0.39.15", 10) > 0, "the newest is known");
  const one = new Penalties({ maxSources: 1, min: 5_000 });
  for (const address of ["192.0.2.1", "192.0.2.2"]) one.punish(address, "authFail", 0);
  assertEquals([one.refusedFor("192.0.2.1", 0), one.refusedFor("192.0.2.2", 0), one.size], [0, 5_000, 1]);
});

const wrong = [password("wrong")];

async function listen(extra: Partial<ServeOptions>): Promise<SshServer> {
  return serve({
    ...await serverOptions(),
    hostname: "127.0.0.1",
    port: 0,
    maxStartupsPerSource: 10_000,
    algorithms: { kex: ["curve25519-sha256"] },
    ...extra,
  });
}

function dial(server: SshServer, auth = login.auth!) {
  return connect({ hostname: "127.0.0.1", port: server.addr.port, ...login, auth });
}

async function fail(server: SshServer): Promise<void> {
  const error = await assertRejects(() => dial(server, wrong), SshError);
  assertEquals(error.code, "AUTH_FAILED");
}

/** A socket that is closed when the server has said its first line. */
async function knock(server: SshServer): Promise<string> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
  const bytes = new Uint8Array(256), said = text(bytes.subarray(0, await conn.read(bytes) ?? 0));
  conn.close();
  return said;
}

Deno.test("serve() refuses an address whose logins failed again and again, says why to both sides, and forgives in time", async () => {
  const errors: SshError[] = [];
  await using server = await listen({ onError: (error) => errors.push(error as SshError) });
  await using before = await dial(server);
  const refusals = () => errors.filter(({ message }) => message.includes("Refuses 127.0.0.1"));
  // A minute of penalties of five seconds each, which time takes from.
  let count = 0, code = "";
  for (; count < 100 && code !== "DISCONNECTED"; count++) {
    code = (await assertRejects(() => dial(server, wrong), SshError)).code;
    assert(code === "AUTH_FAILED" || code === "DISCONNECTED", code);
  }
  assert(count > 12 && code === "DISCONNECTED", `${count} connections`);
  assertInstanceOf(refusals()[0], SshError);
  assertMatch(
    refusals()[0]!.message,
    /^Refuses 127\.0\.0\.1 for 6\d s: too many of its connections failed to log in; see `penalties` of serve\(\)$/,
  );
  using time = new FakeTime();
  assert((await knock(server)).startsWith("Not allowed at this time"));
  const error = await assertRejects(() => dial(server), SshDisconnectError, "Not allowed at this time");
  assertEquals(error.reason, 1);
  // Who is in stays in.
  assertEquals(text((await before.exec("echo still here")).stdout), "still here\n");
  assertEquals(refusals().length, 1);
  time.tick(70_000);
  await using after = await dial(server);
  assertEquals(text((await after.exec("echo back")).stdout), "back\n");
});

Deno.test("serve() punishes nobody for connections without a try, for a login at the second try, or where it shall not", async () => {
  {
    await using server = await listen({ penalties: { min: 5_000 } });
    for (let i = 0; i < 30; i++) assert((await knock(server)).startsWith("SSH-2.0-"));
    for (let i = 0; i < 5; i++) await (await dial(server, [...wrong, ...login.auth!])).close();
    await (await dial(server)).close();
  }
  await using server = await listen({ penalties: false });
  for (let i = 0; i < 30; i++) await fail(server);
  await (await dial(server)).close();
});

Deno.test("serve() punishes connections without a try, and those that are too slow, where a program says so", async () => {
  for (const penalties of [{ noAuth: 60_000 }, { graceExceeded: 60_000 }]) {
    await using server = await listen({ penalties, loginTimeout: "noAuth" in penalties ? 60_000 : 300 });
    if ("noAuth" in penalties) await knock(server);
    else {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
      await new Response(conn.readable).text().catch(() => {});
    }
    // The server hears of it in its own time.
    await until(() => dial(server).then((client) => client.close().then(() => false), () => true), "It is let in");
    await assertRejects(() => dial(server), SshDisconnectError, "Not allowed at this time");
  }
});

Deno.test("serve() punishes who has asked whether a key would do, and goes away", async () => {
  const { auth } = await serverOptions(), key = publicKey(await generateKey());
  await using server = await listen({ auth: { ...auth, publicKey: () => false }, penalties: { authFail: 60_000 } });
  const error = await assertRejects(() => dial(server, [key]), SshError);
  assertEquals(error.code, "AUTH_FAILED");
  await until(() => dial(server).then((client) => client.close().then(() => false), () => true), "It is let in");
  await assertRejects(() => dial(server), SshDisconnectError, "Not allowed at this time");
});

Deno.test("serve() punishes who was sent away to make room for what it tried, and for nothing else", async () => {
  await using server = await listen({ maxStartupsPerSource: 1, penalties: { authFail: 60_000, noAuth: 60_000 } });
  /** One that logs in when the one before it has had its time, and so takes its place. */
  const takesItsPlace = async (): Promise<void> => {
    using time = new FakeTime();
    time.tick(2000);
    await (await dial(server)).close();
  };
  const idle = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port }), said = new Uint8Array(256);
  // Its time begins when the server takes the connection, and says who it is.
  let length = await idle.read(said) ?? 0;
  await takesItsPlace();
  while (!text(said).includes("Too many connections without a login")) {
    length += await idle.read(said.subarray(length)) ?? said.length;
  }
  idle.close();
  await (await dial(server)).close();
  // One that was refused, and then takes its time.
  const refused = Promise.withResolvers<void>();
  const slow = password(() => (refused.resolve(), new Promise<string>(() => {})));
  const dismissed = assertRejects(() => dial(server, [...wrong, slow]), SshDisconnectError, "Too many connections");
  await refused.promise;
  await takesItsPlace();
  await dismissed;
  await until(() => dial(server).then((client) => client.close().then(() => false), () => true), "It is let in");
  await assertRejects(() => dial(server), SshDisconnectError, "Not allowed at this time");
});

Deno.test("turnAway() is over when the socket is closed, which a server that stops waits for", async () => {
  const written = Promise.withResolvers<number>();
  let isClosed = false;
  const over = turnAway({ write: () => written.promise, close: () => void (isClosed = true) }, undefined, TOO_MANY);
  assertEquals([await stateOf(over), isClosed], ["pending", false]);
  written.reject(new Error("reset"));
  await over;
  assert(isClosed);
});

// C: 20 at once, and half were turned away.
Deno.test("serve() by default serves fifty clients of one address at once", async () => {
  await using server = serve({ ...await serverOptions(), hostname: "127.0.0.1", port: 0 });
  const outputs = await Promise.all(Array.from({ length: 50 }, async (_, i) => {
    await using client = await dial(server);
    return text((await client.exec(`echo ${i}`)).stdout);
  }));
  assertEquals(outputs, Array.from({ length: 50 }, (_, i) => `${i}\n`));
});
