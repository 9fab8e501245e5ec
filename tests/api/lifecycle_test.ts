/**
 * Every way a connection can end while something waits: each call settles once, `closed` settles on both sides, nothing leaks.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { connect, SshClient } from "../../lib/api/client.ts";
import { serveConn } from "../../lib/api/server.ts";
import { password } from "../../lib/auth/methods.ts";
import { HostKeyError, SshAuthError, SshError } from "../../lib/errors.ts";
import { pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { memoryPair, sleep } from "../_support/duplex.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { commands, join, type Joined, login, serverOptions, text } from "../_support/joined.ts";

/** What a promise came to, as text. */
async function outcome(promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => "resolved", (error) => error instanceof SshError ? error.code : String(error));
}

/** Every call that can wait, by name; each on a server whose handler never ends by itself. Those without a handler say when they wait. */
const waits: Record<string, (client: SshClient, begun: () => void) => Promise<unknown>> = {
  exec: (client) => client.exec("hang"),
  spawn: async (client) => (await client.spawn("hang")).status,
  stdout: async (client) => new Response((await client.spawn("hang")).stdout).text(),
  stdin: async (client) => {
    const writer = (await client.spawn("hang")).stdin.getWriter();
    for (;;) await writer.write(new Uint8Array(1_000_000));
  },
  openChannel: async (client, begun) => {
    const channel = await client.openChannel("session");
    begun();
    await channel.closed;
  },
  request: async (client, begun) => {
    const channel = await client.openChannel("session");
    for (;;) {
      await channel.request("nobody@example.org");
      begun();
      // In memory everything happens in microtasks, and they go before timers.
      await sleep(0);
    }
  },
  globalRequest: async (client, begun) => {
    for (;;) {
      const error = await assertRejects(() => client.request("nobody@example.org"), SshError);
      if (error.code !== "REQUEST_DENIED") throw error;
      begun();
      await sleep(0);
    }
  },
  rekey: async (client, begun) => {
    for (;;) {
      await client.rekey();
      begun();
    }
  },
};

for (const [name, wait] of Object.entries(waits)) {
  /** Joins, and lets it wait. */
  const start = async () => {
    const begun = Promise.withResolvers<void>();
    const joined = await join({
      handler: (session) => {
        begun.resolve();
        return commands(session);
      },
    });
    const waiting = outcome(wait(joined.client, begun.resolve));
    await inTime(begun.promise, name);
    await turns();
    return { joined, waiting };
  };

  Deno.test(`close() ends ${name} that waits, and closed resolves`, async () => {
    const { joined, waiting } = await start();
    await using _ = joined;
    const { client, served } = joined;
    await client.close();
    assertEquals(await waiting, "CLOSED");
    assertEquals(await outcome(client.closed), "resolved");
    assertEquals(await served, null);
    assertEquals(await outcome(client.exec("echo x")), "CLOSED");
  });

  Deno.test(`a reset ends ${name} that waits, and closed says CONNECTION_LOST on both sides`, async () => {
    const { joined, waiting } = await start();
    await using _ = joined;
    const { client, served, pair } = joined;
    pair.reset();
    // Between two requests there is only a channel that is closed.
    assertEquals(await waiting, name === "request" ? "CLOSED" : "CONNECTION_LOST");
    assertEquals(await outcome(client.closed), "CONNECTION_LOST");
    assertEquals((await served as SshError).code, "CONNECTION_LOST");
  });
}

Deno.test("exec() rejects with the signal's reason, aborted before, while and after it runs", async () => {
  await using joined = await join();
  const { client } = joined, reason = new Error("enough");
  const error = await assertRejects(() => client.exec("echo x", { signal: AbortSignal.abort(reason) }));
  assertEquals(error, reason);
  const running = new AbortController();
  const process = client.exec("hang", { signal: running.signal });
  await sleep(20);
  running.abort(reason);
  assertEquals(await assertRejects(() => process), reason);
  const after = new AbortController();
  assertEquals(text((await client.exec("echo x", { signal: after.signal })).stdout), "x\n");
  after.abort(reason);
  assertEquals(text((await client.exec("echo y")).stdout), "y\n");
});

Deno.test("an aborted spawn() sends TERM, closes the channel and aborts the handler's signal", async () => {
  const seen: unknown[] = [], ended = Promise.withResolvers<void>();
  await using joined = await join({
    handler: async (session) => {
      session.signal.addEventListener("abort", () => ended.resolve());
      for await (const signal of session.signals) seen.push(signal);
    },
  });
  const abort = new AbortController();
  await using process = await joined.client.spawn("wait", { signal: abort.signal });
  const output = process.output();
  abort.abort(new Error("enough"));
  await assertRejects(() => output, Error, "enough");
  await ended.promise;
  assertEquals(seen, ["TERM"]);
  await assertRejects(() => process.status, Error, "enough");
  assertEquals(joined.errors, []);
});

Deno.test("exec() aborted at any moment settles, and the connection goes on", async () => {
  await using joined = await join();
  const outcomes = new Set<string>();
  for (let turns = 0; turns < 60; turns++) {
    const abort = new AbortController();
    const result = outcome(joined.client.exec("echo x", { signal: abort.signal, pty: true, env: { A: "b" } }));
    for (let i = 0; i < turns; i++) await (i % 6 === 5 ? sleep(0) : Promise.resolve());
    abort.abort(new Error("enough"));
    outcomes.add(await result);
  }
  assertEquals([...outcomes].toSorted(), ["Error: enough", "resolved"]);
  assertEquals(text((await joined.client.exec("echo y")).stdout), "y\n");
});

Deno.test("connect() aborted at any message rejects with the reason and lets go of the streams", async () => {
  const reason = new Error("enough");
  for (let at = 0, done = false; !done; at++) {
    const abort = new AbortController();
    let chunks = 0;
    const count = () => {
      if (chunks++ === at) abort.abort(reason);
    };
    const pair = memoryPair({ tap: { toServer: count, toClient: count } });
    const served = outcome(serveConn(pair.server, await serverOptions()));
    const result = await connect({ hostname: "test.invalid", ...login, transport: pair.client, signal: abort.signal })
      .then((client) => client, (error) => error as unknown);
    if (result instanceof SshClient) {
      done = true;
      assert(at > 5, `logged in after ${at} chunks`);
      await result.close();
    } else assertEquals(result, reason);
    await served;
  }
});

Deno.test("connect() cut behind any byte rejects with CONNECTION_LOST, and so does the server", async () => {
  for (const way of ["toServer", "toClient"] as const) {
    let passed = 0;
    for (let at = 1; passed === 0; at = Math.ceil(at * 1.25)) {
      for (const cut of ["reset", "end"] as const) {
        const pair = memoryPair({ cutAfter: { [way]: at }, cut });
        const served = outcome(serveConn(pair.server, await serverOptions()));
        const result = await connect({ hostname: "test.invalid", ...login, transport: pair.client }).then(
          async (client) => {
            const done = outcome(client.exec("echo x"));
            await done;
            await client.close();
            return await done;
          },
          (error) => error.code as string,
        );
        if (result === "resolved") passed++;
        else assert(["CONNECTION_LOST", "CLOSED"].includes(result), `${result} behind byte ${at} ${way} (${cut})`);
        assert(["CONNECTION_LOST", "CLOSED", "resolved"].includes(await served), `served: ${await served}`);
      }
    }
  }
});

Deno.test("the signal of connect() closes the connection later on", async () => {
  const abort = new AbortController();
  await using joined = await join({}, { signal: abort.signal });
  const running = outcome(joined.client.exec("hang"));
  await sleep(10);
  abort.abort();
  assertEquals([await running, await outcome(joined.client.closed), await joined.served], ["CLOSED", "resolved", null]);
});

Deno.test("the signal of serveConn() ends handshake, login and connection", async () => {
  for (const stage of ["handshake", "session"]) {
    const abort = new AbortController();
    if (stage === "session") {
      await using joined = await join({ signal: abort.signal });
      const process = await joined.client.spawn("hang");
      const running = outcome(process.status), reader = process.stdout.getReader();
      // Nothing is under way then.
      assertEquals(text((await reader.read()).value!), "hanging\n");
      abort.abort();
      assertEquals(await joined.served, null);
      await reader.closed.catch(() => {});
      assert(["DISCONNECTED", "CLOSED"].includes(await running), await running);
    } else {
      const pair = memoryPair();
      const served = outcome(serveConn(pair.server, await serverOptions({ signal: abort.signal })));
      await sleep(10);
      abort.abort();
      assertEquals(await served, "resolved");
    }
  }
});

Deno.test("`await using` closes client and process, also when the connection is lost meanwhile", async () => {
  let joined!: Joined;
  {
    await using inner = joined = await join();
    await using process = await inner.client.spawn("hang");
    assertEquals(await process.stdout.getReader().read().then(({ value }) => text(value!)), "hanging\n");
  }
  assertEquals(await outcome(joined.client.closed), "resolved");
  {
    await using inner = await join();
    await using _process = await inner.client.spawn("hang");
    inner.pair.reset();
  }
});

Deno.test("a channel that the client closes ends the handler's streams, and frees the number", async () => {
  const outcomes: string[] = [];
  await using joined = await join({
    handler: async (session) => {
      const writer = session.stdout.getWriter();
      outcomes.push(
        await outcome((async () => {
          for (;;) await writer.write(new Uint8Array(100_000));
        })()),
      );
    },
  });
  for (let i = 0; i < 30; i++) {
    await using process = await joined.client.spawn("flood");
    await process.stdout.getReader().read();
  }
  await until(() => outcomes.length === 30, "A handler still writes");
  assertEquals(new Set(outcomes), new Set(["CLOSED"]));
  assertEquals(joined.errors, []);
});

Deno.test("connect() says why it failed, and lets go of the streams", async () => {
  const attempt = async (options: Partial<Parameters<typeof connect>[0]>, server = {}) => {
    const pair = memoryPair();
    const served = outcome(serveConn(pair.server, await serverOptions(server)));
    const error = await assertRejects(() =>
      connect({ hostname: "test.invalid", ...login, transport: pair.client, ...options })
    );
    return [error as SshError, await served] as const;
  };
  const [refused] = await attempt({ auth: [password("wrong")] });
  assertInstanceOf(refused, SshAuthError);
  assertEquals(refused.remaining, ["password"]);
  assert(!refused.message.includes('wrong"'), refused.message);
  const [pinned, serverSide] = await attempt({ verifyHostKey: pinnedHostKey(`SHA256:${"A".repeat(43)}`) });
  assertInstanceOf(pinned, HostKeyError);
  assertEquals(serverSide, "DISCONNECTED");
  const thrown = new Error("the policy broke");
  const [policy] = await attempt({ verifyHostKey: () => Promise.reject(thrown) });
  assertInstanceOf(policy, HostKeyError);
  assertEquals(policy.cause, thrown);
  assertInstanceOf((await attempt({ verifyHostKey: (() => undefined) as never }))[0], HostKeyError);
  const [common] = await attempt({ algorithms: { cipher: ["aes128-ctr"] } }, {
    algorithms: { cipher: ["aes256-ctr"] },
  });
  assertEquals(common.code, "NO_COMMON_ALGORITHM");
  const [nobody] = await attempt({}, { auth: {} });
  assertInstanceOf(nobody, SshAuthError);
  assertEquals(nobody.remaining, []);
  const [asked] = await attempt({ requireAuth: true }, { auth: { none: () => true } });
  assertInstanceOf(asked, SshAuthError);
});

Deno.test("loginTimeout ends handshakes and logins that take too long", async () => {
  for (const silent of [true, false]) {
    using time = new FakeTime();
    const pair = memoryPair();
    let over = false;
    const served = serveConn(pair.server, await serverOptions({ loginTimeout: 5000 })).finally(() => over = true);
    const rejected = assertRejects(() => served, SshError, "5000 ms");
    const asking = Promise.withResolvers<void>(), asked = Promise.withResolvers<string>();
    const never = silent ? null : connect({
      hostname: "test.invalid",
      ...login,
      transport: pair.client,
      auth: [password(() => (asking.resolve(), asked.promise))],
    });
    const told = never === null ? null : assertRejects(() => never, SshError, "log in");
    if (never !== null) await inTime(asking.promise, "The question for the password");
    time.tick(4999);
    await turns();
    assert(!over, "It did not wait");
    time.tick(1);
    // What remains is a moment for the peer to hang up.
    await until(() => (time.tick(50), over), "The end");
    await told;
    asked.resolve("wonderland");
    await rejected;
    await pair.client.readable.cancel().catch(() => {});
  }
});

Deno.test("keepalive ends the connection to a peer that has gone silent, and not to one that is idle", async () => {
  // A busy machine may take a while for an answer.
  const keepalive = { interval: 150, maxMissed: 4 };
  {
    await using joined = await join({ keepalive }, { keepalive });
    await sleep(900);
    assertEquals(text((await joined.client.exec("echo x")).stdout), "x\n");
  }
  await using joined = await join({}, { keepalive });
  joined.pair.toClient.stall();
  assertEquals(await outcome(joined.client.closed), "CONNECTION_LOST");
  joined.pair.reset();
  await assertRejects(() => join({}, { keepalive: { interval: 0 } }), RangeError);
});
