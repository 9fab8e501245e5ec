/** What a program's own functions throw: it is told, and ends nothing. */
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { Channel } from "../../lib/api/transport/channel.ts";
import { serve } from "../../lib/api/server.ts";
import type { ServerInterface } from "../../lib/api/transport/server_interface.ts";
import { Transport, type TransportOptions } from "../../lib/api/transport/transport.ts";
import { keyboardInteractive, password } from "../../lib/auth/methods.ts";
import { ChannelOpenError, SshAuthError, SshError } from "../../lib/errors.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { memoryPair } from "../_support/duplex.ts";
import { hostKey, join, login, serverOptions, text } from "../_support/joined.ts";

/** A server that lets alice in, and a client that is logged in. */
async function loggedIn(server: Partial<ServerInterface>, options: TransportOptions) {
  const pair = memoryPair(), serving = new Transport(pair.server, options), client = new Transport(pair.client);
  serving.addServerKey(await hostKey());
  await Promise.all([
    serving.startServer({ checkAuthNone: () => true, ...server }),
    client.startClient(),
  ]);
  await client.authNone("alice");
  return {
    client,
    server: serving,
    async [Symbol.asyncDispose]() {
      await client.close();
      await serving.closed.catch(() => {});
    },
  };
}

const mine = new Error("mine");
/** Ways to fail. */
const failures: Record<string, () => never> = {
  throws: () => {
    throw mine;
  },
  rejects: () => Promise.reject(mine) as never,
  "rejects, by a promise of another library": () =>
    ({ then: (_: unknown, reject: (e: unknown) => void) => reject(mine) }) as never,
};

for (const [how, fail] of Object.entries(failures)) {
  Deno.test(`Transport tells onError what the methods of a channel throw, and the peer sees a refusal (${how})`, async () => {
    const errors: unknown[] = [];
    class Failing extends Channel {
      override checkExecRequest = fail;
      override checkShellRequest = fail;
      override checkSubsystemRequest = fail;
      override checkPtyRequest = fail;
      override checkEnvRequest = fail;
      override checkSignalRequest = fail;
      override checkOtherRequest = fail;
    }
    await using both = await loggedIn({ checkChannelRequest: (_kind, id) => new Failing(id) }, {
      onError: (error) => errors.push(error),
    });
    const requests: ((channel: Channel) => Promise<unknown>)[] = [
      (channel) => channel.execCommand("x"),
      (channel) => channel.invokeShell(),
      (channel) => channel.invokeSubsystem("x"),
      (channel) => channel.getPty(),
      (channel) => channel.setEnvironmentVariable("A", "b").then((set) => assertEquals(set, false)),
      (channel) =>
        channel.request("signal", new Writer().text("TERM").bytes()).then((done) => assertEquals(done, false)),
      (channel) => channel.request("other").then((done) => assertEquals(done, false)),
    ];
    for (const [i, request] of requests.entries()) {
      const channel = await both.client.openSession();
      if (i < 4) assertEquals((await assertRejects(() => request(channel), SshError)).code, "REQUEST_DENIED");
      else await request(channel);
      assertEquals(errors.length, i + 1);
      await channel.close();
    }
    assert(errors.every((error) => error === mine));
    assert(both.client.isActive() && both.server.isActive());
  });

  Deno.test(`Transport tells onError what the methods of the server throw (${how})`, async () => {
    const errors: unknown[] = [];
    await using both = await loggedIn({
      checkChannelRequest: fail,
      checkGlobalRequest: fail,
      checkPortForwardRequest: fail,
    }, { onError: (error) => errors.push(error) });
    await assertRejects(() => both.client.openSession(), ChannelOpenError, "prohibited");
    assertEquals(await both.client.globalRequest("x"), null);
    const forward = new Writer().text("localhost").u32(0).bytes();
    assertEquals(await both.client.globalRequest("tcpip-forward", forward), null);
    assertEquals(errors, [mine, mine, mine]);
  });

  Deno.test(`Transport lives on when windowChange(), onEof() or onEnded() fails, and tells onError (${how})`, async () => {
    const errors: unknown[] = [], pushed: PromiseWithResolvers<void>[] = [];
    const told = (count: number): Promise<void> => {
      while (pushed.length < count) pushed.push(Promise.withResolvers());
      return pushed[count - 1]!.promise;
    };
    class Failing extends Channel {
      override checkPtyRequest = () => true;
      override windowChange = fail;
      override onEof = fail;
      override onEnded(error: Error | null) {
        super.onEnded(error);
        return fail();
      }
    }
    await using both = await loggedIn({ checkChannelRequest: (_kind, id) => new Failing(id) }, {
      onError: (error) => {
        const count = errors.push(error);
        void told(count);
        pushed[count - 1]!.resolve();
        // An error handler that fails as well changes nothing.
        return fail();
      },
    });
    const channel = await both.client.openSession();
    await channel.getPty();
    const size = new Writer().u32(1).u32(2).u32(3).u32(4).bytes();
    assertEquals(await channel.request("window-change", size), false);
    await told(1);
    channel.sendEof();
    await told(2);
    await channel.close();
    await told(3);
    assertEquals(errors, [mine, mine, mine]);
    await (await both.client.openSession()).close();
    assert(both.client.isActive() && both.server.isActive());
  });

  Deno.test(`a login goes on when onError fails for what a handler threw (${how})`, async () => {
    let errors = 0, tries = 0;
    const onError = () => {
      errors++;
      return fail();
    };
    await using joined = await join({
      onError,
      auth: {
        keyboardInteractive: fail,
        password: (_, secret) => secret === "wonderland" && ++tries > 0,
      },
    }, { auth: [keyboardInteractive(() => []), password("wonderland")] });
    assertEquals([errors, tries], [1, 1]);
    assertEquals(text((await joined.client.exec("echo on")).stdout), "on\n");
  });

  Deno.test(`a server goes on when onError fails for what a session's handler threw (${how})`, async () => {
    let errors = 0;
    const onError = () => {
      errors++;
      return fail();
    };
    await using joined = await join({ onError, handler: fail, subsystems: { broken: fail } });
    for (const n of [1, 2]) {
      assertEquals((await joined.client.exec("x")).code, 1);
      assertEquals(errors, n);
    }
    await using process = await joined.client.subsystem("broken");
    assertEquals((await process.output()).code, 1);
    assertEquals(errors, 3);
  });

  Deno.test(`connect() goes on when onBanner or trace fails (${how})`, async () => {
    let banners = 0;
    await using joined = await join({ banner: "Welcome", trace: () => fail() }, {
      onBanner: () => {
        banners++;
        return fail();
      },
      trace: () => fail(),
    });
    assertEquals(banners, 1);
    assertEquals(text((await joined.client.exec("echo on")).stdout), "on\n");
  });

  Deno.test(`serve() goes on when onListen fails, and tells onError (${how})`, async () => {
    const told = Promise.withResolvers<unknown>();
    await using server = serve({
      hostname: "127.0.0.1",
      port: 0,
      ...await serverOptions(),
      onListen: () => fail(),
      onError: (error) => {
        told.resolve(error);
        return fail();
      },
    });
    assertEquals(await told.promise, mine);
    await using client = await connect({ hostname: "127.0.0.1", port: server.addr.port, ...login });
    assertEquals(text((await client.exec("echo on")).stdout), "on\n");
  });
}

Deno.test("a channel's check methods may answer by a promise of another library", async () => {
  const later = (answer: boolean) => ({ then: (resolve: (answer: boolean) => void) => resolve(answer) }) as never;
  class Later extends Channel {
    override checkPtyRequest = () => later(true);
    override checkExecRequest = (command: string) => later(command === "yes");
  }
  await using both = await loggedIn({ checkChannelRequest: (_kind, id) => new Later(id) }, {});
  const channel = await both.client.openSession();
  await channel.getPty();
  await assertRejects(() => channel.execCommand("no"), SshError, "refused");
  await channel.execCommand("yes");
});

Deno.test("Transport tells onError of answers that are none, and refuses", async () => {
  const errors: unknown[] = [];
  let channel: unknown, port: unknown, reply: unknown;
  await using both = await loggedIn({
    checkChannelRequest: () => channel as Channel,
    checkPortForwardRequest: () => port as number,
    checkGlobalRequest: () => reply as boolean,
  }, { onError: (error) => errors.push(error) });
  for (channel of [undefined, 1, {}, new Channel(77)]) {
    await assertRejects(() => both.client.openSession(), ChannelOpenError, "prohibited");
    assertInstanceOf(errors.pop(), TypeError);
  }
  for (port of [undefined, true, 0, -1, 1.5, NaN, 65_536, "22"]) {
    for (const wanted of [0, 8080]) {
      const forward = new Writer().text("localhost").u32(wanted).bytes();
      assertEquals(await both.client.globalRequest("tcpip-forward", forward), null, `${port}`);
      assertInstanceOf(errors.pop(), RangeError);
    }
  }
  reply = new Uint8Array(261_120);
  assertEquals(await both.client.globalRequest("x"), null);
  assertInstanceOf(errors.pop(), RangeError);
  reply = new Uint8Array(261_119);
  assertEquals((await both.client.globalRequest("x"))?.length, 261_119);
  assertEquals(errors, []);
});

Deno.test("Transport tells nobody of a ChannelOpenError, but of one whose reason the wire cannot carry", async () => {
  const errors: unknown[] = [];
  let failure: ChannelOpenError;
  await using both = await loggedIn({
    checkChannelRequest: () => {
      throw failure;
    },
  }, { onError: (error) => errors.push(error) });
  failure = new ChannelOpenError("no such host", 2);
  const refused = await assertRejects(() => both.client.openSession(), ChannelOpenError, "no such host");
  assertEquals([refused.reason, errors], [2, []]);
  for (const reason of [-1, 1.5, NaN, 2 ** 32]) {
    failure = new ChannelOpenError("no", reason);
    assertEquals((await assertRejects(() => both.client.openSession(), ChannelOpenError)).reason, 1);
    assert(errors.pop() === failure);
  }
});

Deno.test("isActive() is false until both sides have negotiated, and false again at the end", async () => {
  const pair = memoryPair(), server = new Transport(pair.server), client = new Transport(pair.client);
  server.addServerKey(await hostKey());
  assertEquals([client.isActive(), server.isActive()], [false, false]);
  pair.toServer.stall();
  const starting = Promise.all([server.startServer({}), client.startClient()]);
  assertEquals([client.isActive(), server.isActive()], [false, false]);
  pair.toServer.resume();
  await starting;
  assertEquals([client.isActive(), server.isActive()], [true, true]);
  await client.close();
  assertEquals(client.isActive(), false);
  await server.closed.catch(() => {});
  assertEquals(server.isActive(), false);

  const failing = memoryPair(), alone = new Transport(failing.client);
  const started = alone.startClient();
  started.catch(() => {});
  failing.reset();
  await assertRejects(() => started, SshError);
  assertEquals(alone.isActive(), false);
});

Deno.test("session.info.passed names all methods that the user passed, in order", async () => {
  const seen: unknown[] = [];
  await using joined = await join({
    auth: {
      password: (info) => {
        seen.push([...info.passed]);
        return { partial: ["keyboard-interactive", "publickey"] };
      },
      keyboardInteractive: (info) => {
        seen.push([...info.passed]);
        return { partial: ["publickey"] };
      },
      publicKey: (info) => {
        seen.push([...info.passed]);
        return true;
      },
    },
    handler: (session) => {
      seen.push(session.info.passed, session.user.method);
      assert(Object.isFrozen(session.info.passed));
    },
  }, {
    auth: [
      password("x"),
      keyboardInteractive(() => []),
      (await import("../../lib/auth/methods.ts")).publicKey(await hostKey()),
    ],
  });
  await joined.client.exec("x");
  assertEquals(seen, [
    [],
    ["password"],
    // Asked for the key, and once more when it has signed.
    ["password", "keyboard-interactive"],
    ["password", "keyboard-interactive"],
    ["password", "keyboard-interactive", "publickey"],
    "publickey",
  ]);
  assertEquals(joined.errors, []);
});

Deno.test("getAllowedAuths() that gives no array refuses the login, and is told to onError", async () => {
  for (const methods of ["password", undefined, null, 1]) {
    const errors: unknown[] = [], pair = memoryPair();
    const server = new Transport(pair.server, { onError: (error) => errors.push(error) });
    server.addServerKey(await hostKey());
    const client = new Transport(pair.client);
    await Promise.all([
      server.startServer({ checkAuthPassword: () => true, getAllowedAuths: () => methods as unknown as string[] }),
      client.startClient(),
    ]);
    await assertRejects(() => client.authPassword("alice", "x"), SshAuthError);
    assert(errors.length > 0 && errors.every((error) => error instanceof TypeError));
    assert(client.isActive());
    await client.close();
    await server.closed.catch(() => {});
  }
});

Deno.test("a login that is refused by what getAllowedAuths() threw is told to onError", async () => {
  const errors: unknown[] = [], pair = memoryPair();
  const server = new Transport(pair.server, { onError: (error) => errors.push(error) });
  server.addServerKey(await hostKey());
  const client = new Transport(pair.client);
  await Promise.all([
    server.startServer({ checkAuthPassword: () => true, getAllowedAuths: failures.throws! }),
    client.startClient(),
  ]);
  await assertRejects(() => client.authPassword("alice", "x"), SshAuthError);
  assert(errors.length > 0 && errors.every((error) => error === mine));
  assert(client.isActive());
  await client.close();
  await server.closed.catch(() => {});
});
