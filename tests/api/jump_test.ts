/** `jump`: chains of servers in memory, each reached through the one before. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import {
  ChannelOpenError,
  connect,
  type ConnectOptions,
  generateKey,
  HostKeyChangedError,
  type HostKeyError,
  HostKeyUnknownError,
  knownHosts,
  password,
  publicKey,
  SshAuthError,
  type SshClient,
  SshError,
} from "../../mod.ts";
import { closeHop, dialThrough, type Hop } from "../../lib/api/jump.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { hostKey, login } from "../_support/joined.ts";
import { inTime, until } from "../_support/until.ts";
import { Hosts } from "./_hosts.ts";

const hop = (hostname: string, more: Partial<ConnectOptions> = {}): ConnectOptions => ({ hostname, ...login, ...more });

/** Every connection to every host has ended, whatever the test did. */
async function gone(hosts: Hosts): Promise<void> {
  await until(() => hosts.count === 0, `Not gone: ${JSON.stringify(hosts.open)}`);
}

async function failure(promise: Promise<unknown>): Promise<SshError> {
  const error = await inTime(assertRejects(() => promise, SshError), "the error");
  return error;
}

Deno.test("connect() goes through the hops of `jump` in order, and closes them from the far end", async () => {
  const hosts = new Hosts({ a: {}, b: {}, c: {} });
  const asked: string[] = [];
  const verify = (by: string): Partial<ConnectOptions> => ({
    verifyHostKey: (_key, { hostname, port }) => (asked.push(`${by}: ${hostname} ${port}`), true),
  });
  const client = await connect(
    hop("c", {
      ...verify("c"),
      port: 2222,
      jump: [hop("a", { ...verify("a"), transport: hosts.reach("a") }), hop("b", verify("b"))],
    }),
  );
  assertEquals(hosts.log, ["+a", "+b", "+c"]);
  assertEquals(asked, ["a: a 22", "b: b 22", "c: c 2222"]);
  assertEquals(new TextDecoder().decode((await client.exec("echo hi")).stdout), "hi\n");
  await client.close();
  await client.closed;
  await gone(hosts);
  assertEquals(hosts.log.slice(3), ["-c", "-b", "-a"]);
  assertEquals(hosts.errors, []);
});

Deno.test("hops of hops come first, and a client that is open stays open", async () => {
  const hosts = new Hosts({ a: {}, b: {}, c: {}, d: {} });
  const open = await connect(hop("a", { transport: hosts.reach("a") }));
  const client = await connect(hop("d", { jump: hop("c", { jump: [hop("b", { jump: open })] }) }));
  assertEquals(hosts.log, ["+a", "+b", "+c", "+d"]);
  assertEquals((await client.exec("exit 5")).code, 5);
  await client.close();
  await until(() => hosts.count === 1, "More than the first hop is open");
  // Straight through it, twice at once.
  const both = await Promise.all([connect(hop("d", { jump: open })), connect(hop("b", { jump: [open] }))]);
  for (const one of both) assertEquals((await one.exec("exit 6")).code, 6);
  await Promise.all(both.map((one) => one.close()));
  assertEquals((await open.exec("exit 7")).code, 7);
  await open.close();
  await gone(hosts);
  const error = await failure(connect(hop("d", { jump: open })));
  assertEquals([error.code, error.message], [
    "CONNECTION_LOST",
    'Cannot connect to "d" port 22 through "a" port 22 (hop 1 of 1): ' +
    'Connection was lost with "a" port 22 (hop 1 of 1): Connection is closed',
  ]);
});

Deno.test("each hop is asked for its own key, and known_hosts is searched for its own name", async () => {
  const other = (await generateKey()).publicKey, { publicKey: right } = await hostKey();
  const line = (name: string, key = right) => `${name} ${key}\n`;
  const cases: [knownToB: string, type: typeof HostKeyError][] = [
    [line("c"), HostKeyUnknownError],
    [line("b", other), HostKeyChangedError as typeof HostKeyError],
    [line("b", right).replace(/^/, "@revoked "), HostKeyChangedError as typeof HostKeyError],
  ];
  for (const [known, type] of cases) {
    const hosts = new Hosts({ a: {}, b: {}, c: {} });
    const error = await failure(connect(hop("c", {
      verifyHostKey: knownHosts(line("c")),
      jump: [
        hop("a", { transport: hosts.reach("a"), verifyHostKey: knownHosts(line("a")) }),
        hop("b", { verifyHostKey: knownHosts(known) }),
      ],
    })));
    assertInstanceOf(error, type);
    assertEquals(error.code, "HOST_KEY_REJECTED");
    assert(error.message.startsWith('Cannot connect through "b" port 22 (hop 2 of 2): '), error.message);
    if (error instanceof HostKeyChangedError) assertEquals(error.places.map(({ line }) => line), [1]);
    assertInstanceOf(error.cause, type);
    await gone(hosts);
    // Nothing went further, and nobody asked again.
    assertEquals(hosts.log.toSorted(), ["+a", "+b", "-a", "-b"]);
  }
});

Deno.test("a hop is logged in to once where the target is asked again for the key that is known", async () => {
  const ecdsa = await generateKey("ecdsa"), ed25519 = await hostKey();
  const hosts = new Hosts({ a: {}, b: { hostKeys: [ed25519, ecdsa] } });
  const known = knownHosts(`b ${ecdsa.publicKey}\n`);
  const client = await connect(hop("b", {
    verifyHostKey: (key, host) => known(key, host),
    jump: hop("a", { transport: hosts.reach("a") }),
  }));
  assertEquals(hosts.log.filter((one) => one.startsWith("+")), ["+a", "+b", "+b"]);
  await client.close();
  await gone(hosts);
});

Deno.test("what goes wrong at a hop keeps its kind and says at which hop, and nothing stays open", async () => {
  const hosts = new Hosts({ a: {}, b: { allowForward: () => false }, c: {} });
  const a = () => hop("a", { transport: hosts.reach("a") });
  const refused = await failure(connect(hop("c", { jump: [a(), hop("b", { auth: [password("wrong")] })] })));
  assertInstanceOf(refused, SshAuthError);
  assertEquals(refused.remaining, ["password"]);
  assert(refused.message.startsWith('Cannot connect through "b" port 22 (hop 2 of 2): Cannot log in'), refused.message);
  const closed = await failure(connect(hop("c", { jump: [a(), hop("b")] })));
  assertInstanceOf(closed, ChannelOpenError);
  assertEquals([closed.reason, closed.code], [1, "CHANNEL_OPEN_FAILED"]);
  assert(
    closed.message.startsWith('Cannot connect to "c" port 22 through "b" port 22 (hop 2 of 2): '),
    closed.message,
  );
  const nowhere = await failure(connect(hop("c", { jump: [a(), hop("nowhere"), hop("b")] })));
  assert(
    nowhere.message.startsWith(
      'Cannot connect through "nowhere" port 22 (hop 2 of 3): Cannot connect to "nowhere" port 22 through "a" port 22 (hop 1 of 3): ',
    ),
    nowhere.message,
  );
  const own = new Error("the program's own");
  const thrown = await connect(hop("c", { jump: [a(), hop("b", { auth: [password(() => Promise.reject(own))] })] }))
    .then(() => null, (error) => error);
  assertStrictEquals(thrown, own);
  await gone(hosts);
});

Deno.test("options of every hop are checked before anything is opened", async () => {
  const hosts = new Hosts({ a: {}, b: {} });
  const bad: Partial<ConnectOptions>[] = [{ port: 0 }, { hostname: "" }, { proxy: "http://h" }, {
    auth: "x",
  } as never];
  for (const one of bad) {
    const error = await connect(hop("b", { jump: [hop("a", { transport: hosts.reach("a") }), hop("c", one)] }))
      .then(() => null, (error) => error);
    assert(error instanceof TypeError || error instanceof RangeError, `${error}`);
    assert(error.message.endsWith("(hop 2 of `jump`)"), error.message);
    // The streams that were given are let go of all the same.
    await gone(hosts);
  }
});

for (const end of ["cut", "stopped server"] as const) {
  Deno.test(`a hop that is lost (${end}) ends what runs through it, with an error that names the hop`, async () => {
    const stop = new AbortController();
    const hosts = new Hosts({ a: {}, b: { signal: stop.signal }, c: {} });
    const client = await connect(hop("c", { jump: [hop("a", { transport: hosts.reach("a") }), hop("b")] }));
    const running = [client.exec("hang"), client.dial({ hostname: "c", port: 1 }).then((conn) => conn.closed)];
    const opened = client.spawn("bytes 100000000").then((process) => new Response(process.stdout).bytes());
    await client.exec("exit 1");
    if (end === "cut") hosts.pairs[0]!.reset();
    else stop.abort();
    const place = end === "cut" ? '"a" port 22 (hop 1 of 2)' : '"b" port 22 (hop 2 of 2)';
    for (const error of await Promise.all([...running, opened, client.closed].map(failure))) {
      assertEquals(error.code, "CONNECTION_LOST");
      assert(error.message.startsWith(`Connection was lost with ${place}: `), error.message);
      assertInstanceOf(error.cause, SshError);
    }
    await client.close();
    await gone(hosts);
  });
}

Deno.test("the hop that was lost is named also by what notices late, when the hops before it have been closed", async () => {
  const hosts = new Hosts({ a: {}, b: {}, c: {} });
  const a = await connect(hop("a", { transport: hosts.reach("a") })), b = await connect(hop("b", { jump: a }));
  const first: Hop = { client: a, place: "A", before: null, isOurs: true };
  const second: Hop = { client: b, place: "B", before: first, isOurs: true };
  const way = await dialThrough(second, hop("c"), { hostname: "c", port: 22 }, new AbortController().signal);
  hosts.pairs[hosts.names.indexOf("b")]!.reset();
  const { message } = await failure(b.closed);
  // As the end of B does.
  await closeHop(first);
  const late = await way.lost!(new Error("late")) as SshError;
  assertEquals([late.message, late.code], [`Connection was lost with B: ${message}`, "CONNECTION_LOST"]);
  await way.close!();
  await b.close();
  await gone(hosts);
});

Deno.test("a signal ends a chain wherever it is, and nothing stays open or listens", async () => {
  const never = () => new Promise<never>(() => {});
  const stuck: Record<string, (hosts: Hosts, at: () => void) => Partial<ConnectOptions>> = {
    "the first hop's streams": (_hosts, at) => {
      at();
      return { jump: hop("a", { transport: { readable: new ReadableStream(), writable: new WritableStream() } }) };
    },
    "the first hop's key": (hosts, at) => ({
      jump: hop("a", { transport: hosts.reach("a"), verifyHostKey: () => (at(), never()) }),
    }),
    "the second hop's password": (hosts, at) => ({
      jump: [
        hop("a", { transport: hosts.reach("a") }),
        hop("b", { auth: [password(() => (at(), never()))] }),
      ],
    }),
    "the way to the target": (hosts, at) => ({
      jump: [hop("a", { transport: hosts.reach("a") }), hop("slow", { onBanner: () => at() })],
    }),
    "the target's key": (hosts, at) => ({
      jump: [hop("a", { transport: hosts.reach("a") })],
      verifyHostKey: () => (at(), never()),
    }),
    "the client": (hosts) => ({ jump: [hop("a", { transport: hosts.reach("a") }), hop("b")] }),
  };
  for (const [where, make] of Object.entries(stuck)) {
    const reached = Promise.withResolvers<void>();
    const hosts = new Hosts({
      a: {},
      b: {},
      c: {},
      slow: { allowForward: () => (reached.resolve(), never()) },
    });
    const counted = countedSignal(), reason = new Error("enough");
    const connecting = connect(hop("c", { signal: counted.signal, ...make(hosts, reached.resolve) }));
    connecting.catch(() => {});
    if (where === "the client") {
      const client = await connecting, running = client.exec("hang");
      counted.abort(reason);
      assertStrictEquals((await failure(running)).cause, reason);
      await client.closed.catch(() => {});
    } else {
      await inTime(reached.promise, where);
      counted.abort(reason);
      assertStrictEquals(await inTime(connecting.then(() => null, (error) => error), where), reason);
    }
    await gone(hosts);
    await counted.released();
  }
});

Deno.test("a signal of a hop's own ends the hop, and with it what runs through it", async () => {
  const hosts = new Hosts({ a: {}, b: {} }), abort = new AbortController();
  const client = await connect(hop("b", { jump: hop("a", { transport: hosts.reach("a"), signal: abort.signal }) }));
  const running = client.exec("hang");
  abort.abort("enough");
  const error = await failure(running);
  assertEquals(error.message, 'Connection was lost with "a" port 22 (hop 1 of 1): Connection was aborted');
  assertEquals((error.cause as Error).cause, "enough");
  await client.close();
  await gone(hosts);
});

Deno.test("a silent hop is given up by its own keepalive, and the error says so", async () => {
  const hosts = new Hosts({ a: {}, b: {} });
  const transport = hosts.reach("a", { chunks: "whole" });
  const client: SshClient = await connect(
    hop("b", { jump: hop("a", { transport, keepalive: { interval: 300, maxMissed: 2 } }) }),
  );
  const running = client.exec("hang");
  running.catch(() => {});
  await client.exec("exit 1");
  hosts.pairs[0]!.toClient.stall();
  const error = await failure(running);
  assert(error.message.startsWith('Connection was lost with "a" port 22 (hop 1 of 1): Peer is gone'), error.message);
  await client.close();
  hosts.pairs[0]!.reset();
  await gone(hosts);
});

for (const silent of ["a", "b", "c"]) {
  Deno.test(`the client's own keepalive names the hop that is silent (${silent})`, async () => {
    // Between each host and the next one there is a pipe that can be stopped.
    const hosts = new Hosts({ a: {}, b: {}, c: {} });
    const far = (name: string): Partial<ConnectOptions> => ({ transport: hosts.reach(name, { chunks: "whole" }) });
    const a = await connect(hop("a", far("a")));
    const stop = (name: string) => hosts.pairs[hosts.names.indexOf(name)]!.toClient.stall();
    const client = await connect(hop("c", { jump: [a, hop("b")], keepalive: { interval: 300, maxMissed: 2 } }));
    const running = client.exec("hang");
    running.catch(() => {});
    await client.exec("exit 1");
    stop(silent);
    const error = await failure(running);
    const names: Record<string, string> = {
      a: 'Connection was lost with "a" port 22 (hop 1 of 2): Peer is gone: 2 keepalives in 600 ms had no answer',
      b: 'Connection was lost with "b" port 22 (hop 2 of 2): Peer is gone: 2 keepalives in 600 ms had no answer',
      c: "Peer is gone: 2 keepalives in 600 ms had no answer",
    };
    assertEquals([error.code, error.message], ["CONNECTION_LOST", names[silent]]);
    for (const pair of hosts.pairs) pair.reset();
    await client.close();
    await a.close();
    await gone(hosts);
  });
}

Deno.test("a list without hops is no way", async () => {
  const hosts = new Hosts({ a: {} });
  await (await connect(hop("a", { jump: [], transport: hosts.reach("a") }))).close();
  await gone(hosts);
});

Deno.test("a chain leads where it was told to, whatever becomes of the objects that said so", async () => {
  const hosts = new Hosts({ a: {}, b: {}, c: {}, elsewhere: {} });
  const b = hop("b"), jump = [hop("a", { transport: hosts.reach("a") }), b], target = hop("c", { jump });
  const connecting = connect(target);
  target.hostname = b.hostname = "elsewhere";
  jump.pop();
  const client = await connecting;
  assertEquals(hosts.log, ["+a", "+b", "+c"]);
  await client.close();
  await gone(hosts);
});

Deno.test("a hop logs in with keys of its own", async () => {
  const keys = await Promise.all([generateKey(), generateKey()]), seen: string[] = [];
  const hosts = new Hosts(Object.fromEntries(["a", "b"].map((name, i) => [name, {
    auth: {
      publicKey: ({ username }, key) => {
        seen.push(`${name} ${username}`);
        return key.toString() === keys[i]!.publicKey.toString();
      },
    },
  }])));
  const client = await connect(hop("b", {
    username: "bob",
    auth: [publicKey(keys[1]!)],
    jump: hop("a", { username: "ann", auth: [publicKey(keys[0]!)], transport: hosts.reach("a") }),
  }));
  assertEquals([...new Set(seen)], ["a ann", "b bob"]);
  await client.close();
  await gone(hosts);
});
