/** Keys of an agent that are tied to hosts: the rules of ssh-agent, over connections that go through none, one and more of them. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type AgentConnection, connectAgent } from "../../lib/agent/agent.ts";
import type { AgentHop, KeyDestination } from "../../lib/agent/destinations.ts";
import { createAgent, type LocalAgent } from "../../lib/agent/local_agent.ts";
import { connect } from "../../lib/api/client.ts";
import { serveConn } from "../../lib/api/server.ts";
import { defaultIdentities } from "../../lib/agent/default_identities.ts";
import { type AuthMethod, publicKey } from "../../lib/auth/methods.ts";
import { keyDestinations } from "../../lib/agent/known_destinations.ts";
import { HostKeyUnknownError, SshAuthError, SshError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { AgentSession } from "../../lib/keys/session_agents.ts";
import { signCertificate } from "../../lib/keys/sign_certificate.ts";
import { hashHostname } from "../../lib/keys/trust/known_hosts.ts";
import type { PrivateKey } from "../../lib/keys/types.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { memoryPair } from "../_support/duplex.ts";
import { join } from "../_support/joined.ts";
import { inTime } from "../_support/until.ts";
import { clientOf, loginData, type TestHost, testHost } from "../_support/agents.ts";

const key = await generateKey("ed25519", { comment: "tied" }), free = await generateKey("ed25519", { comment: "free" });
const a = await testHost(), b = await testHost(), c = await testHost();

const hop = (hostname: string, { key }: TestHost): AgentHop => ({ hostname, hostKeys: [key.publicKey] });
const to = (host: TestHost, username?: string): KeyDestination => ({ to: { ...hop("to", host), username } });
const through = (from: TestHost, host: TestHost, username?: string): KeyDestination => ({
  from: hop("from", from),
  ...to(host, username),
});

/** What a client does on a connection. */
async function on<T>(agent: LocalAgent, act: (client: AgentConnection) => Promise<T>): Promise<T> {
  const client = await clientOf(agent);
  try {
    return await act(client);
  } finally {
    await client[Symbol.asyncDispose]();
  }
}

async function isListed(client: AgentConnection): Promise<boolean> {
  const listed = (await client.signers()).map(({ comment }) => comment);
  assert(listed.includes("free"), "keys that are tied to nothing are there");
  return listed.includes("tied");
}

/** Whether the key signs, whoever lists it. */
async function signs(client: AgentConnection, data: Uint8Array): Promise<boolean> {
  const sign = new Uint8Array([
    13,
    ...lengthOf(key.publicKey.blob),
    ...key.publicKey.blob,
    ...lengthOf(data),
    ...data,
    0,
    0,
    0,
    0,
  ]);
  return await rawly(client, sign) === 14;
}

const lengthOf = ({ length }: Uint8Array): number[] =>
  [length >>> 24, length >>> 16, length >>> 8, length].map((n) => n & 255);

/** The type of the answer to a message, past what a client checks. */
async function rawly(client: AgentConnection, message: Uint8Array): Promise<number> {
  const [sign] = (await client.signers()).filter(({ comment }) => comment === "tied");
  if (message[0] !== 13) throw new Error("only signing");
  const data = message.subarray(5 + key.publicKey.blob.length + 4, -4);
  if (sign !== undefined) return await sign.sign(data, "ssh-ed25519").then(() => 14, () => 5);
  return 5;
}

/** An agent with the key, tied to hosts, and one that is tied to nothing. */
async function tied(...destinations: KeyDestination[]): Promise<LocalAgent> {
  const agent = createAgent({ keys: [free] });
  await on(agent, (client) => client.add(key, { destinations }));
  return agent;
}

Deno.test("a key that is tied to hosts is listed where it may be used, and signs for logins there", async () => {
  await using agent = await tied(to(a, "al*"), to(b));
  const login = await a.session(), other = await c.session(), second = await b.session();
  await on(agent, async (client) => {
    // At home it is there, and signs nothing that nobody has proven.
    assertEquals([await isListed(client), await signs(client, loginData(key, login, "alice"))], [true, false]);
    assertEquals(await client.bind(login), true);
    assertEquals([await isListed(client), await signs(client, loginData(key, login, "alice"))], [true, true]);
    // The first host may know nothing of logins with its key in them.
    assertEquals(await signs(client, loginData(key, login, "alice", null)), true);
    for (const user of ["bob", "Alice", "", "al\0", "xalice"]) {
      assertEquals(await signs(client, loginData(key, login, user)), user.startsWith("al"), user);
    }
  });
  await on(agent, async (client) => {
    assertEquals([await client.bind(second), await signs(client, loginData(key, second, "anyone"))], [true, true]);
  });
  await on(agent, async (client) => {
    assertEquals([await client.bind(other), await isListed(client)], [true, false]);
    assertEquals(await signs(client, loginData(key, other, "alice")), false);
    // What is not there is not removed either.
    await assertRejects(() => client.remove(key.publicKey), SshError);
    await assertRejects(() => client.add(key), SshError);
    await client.removeAll();
  });
  await on(agent, async (client) => {
    const listed = await client.signers();
    assertEquals(listed.map(({ comment }) => comment), ["tied"]);
  });
});

Deno.test("a key that is tied to hosts signs nothing but logins, on the connection that was told last", async () => {
  await using agent = await tied(to(a));
  const login = await a.session(), earlier = await a.session();
  const text = new TextEncoder();
  const whole = loginData(key, login, "alice"), at = 4 + login.sessionId.length;
  const changed = (change: (data: Uint8Array) => void): Uint8Array => {
    const data = whole.slice();
    change(data);
    return data;
  };
  const wrong: [string, Uint8Array][] = [
    ["anything", text.encode("data")],
    ["nothing", new Uint8Array(0)],
    ["a file", new Uint8Array([...text.encode("SSHSIG"), 0, 0, 0, 3, ...text.encode("git"), ...new Uint8Array(12)])],
    ["another connection", loginData(key, earlier, "alice")],
    ["another host key", loginData(key, login, "alice", b.key.publicKey.blob)],
    ["another key's login", loginData(free, login, "alice")],
    ["a login that is cut", whole.subarray(0, -1)],
    ["more behind it", new Uint8Array([...whole, 0])],
    ["another message", changed((data) => data[at] = 51)],
    ["a question", changed((data) => data[data.indexOf(1, at + 60)] = 0)],
    ["another service", changed((data) => data[at + 15] = 120)],
  ];
  await on(agent, async (client) => {
    await client.bind(login);
    for (const [what, data] of wrong) assertEquals(await signs(client, data), false, what);
    assertEquals(await signs(client, whole), true);
  });
});

Deno.test("a key that is tied to hosts goes two hops where both steps are named, and no other way", async () => {
  await using agent = await tied(to(a), through(a, b, "bob"));
  const first = await a.session(), second = await b.session(), third = await c.session();
  await on(agent, async (client) => {
    assertEquals(await client.bind(first, { forwarding: true }), true);
    // It is there at the first host, because it can be used from there; and is not used on the connection that leads there.
    assertEquals([await isListed(client), await signs(client, loginData(key, first, "alice"))], [true, false]);
    assertEquals(await client.bind(second), true);
    assertEquals([await isListed(client), await signs(client, loginData(key, second, "bob"))], [true, true]);
    assertEquals(await signs(client, loginData(key, second, "alice")), false);
    // Behind the first host, somebody in between could be meant.
    assertEquals(await signs(client, loginData(key, second, "bob", null)), false);
  });
  const ways: [string, [AgentSession, boolean][], boolean][] = [
    ["through a to c", [[first, true], [third, false]], false],
    ["to b without a", [[second, false]], false],
    ["through b to a", [[second, true], [first, false]], false],
    ["through a and b to c", [[first, true], [second, true], [third, false]], false],
    ["forwarded to b, which nothing leads on from", [[first, true], [second, true]], false],
    ["forwarded to c", [[third, true]], false],
    ["through a to a", [[first, true], [await a.session(), false]], false],
    ["through a to b", [[first, true], [second, false]], true],
  ];
  for (const [way, told, there] of ways) {
    await on(agent, async (client) => {
      for (const [session, forwarding] of told) assertEquals(await client.bind(session, { forwarding }), true, way);
      assertEquals(await isListed(client), there, way);
      assertEquals(await signs(client, loginData(key, told.at(-1)![0], "bob")), there, way);
    });
  }
});

Deno.test("an agent believes what a host has signed, once, and as long as nobody has logged in", async () => {
  await using agent = await tied(to(a), through(a, b));
  const first = await a.session(), second = await b.session();
  const lies: [string, AgentSession][] = [
    ["another host's key", { ...first, hostKey: b.key.publicKey.blob }],
    ["another number", { ...first, sessionId: second.sessionId }],
    ["another signature", { ...first, signature: second.signature }],
    ["no signature", { ...first, signature: new Uint8Array(0) }],
    ["no number", { ...first, sessionId: new Uint8Array(0) }],
    ["a number of 129 bytes", await longSession(129)],
    ["no key", { ...first, hostKey: new Uint8Array(0) }],
  ];
  for (const [what, lie] of lies) {
    await on(agent, async (client) => {
      assertEquals([await client.bind(lie), await isListed(client)], [false, false], what);
      await assertRejects(() => client.removeAll(), SshError);
      // It may still be told the truth.
      assertEquals([await client.bind(first), await isListed(client)], [true, true], what);
    });
  }
  await on(agent, async (client) => assertEquals(await client.bind(await longSession(128)), true));
  await on(agent, async (client) => {
    // Twice the same is nothing new, and neither is it another one.
    assertEquals([await client.bind(first, { forwarding: true }), await client.bind(first)], [true, true]);
    assertEquals(
      await client.bind({
        ...second,
        sessionId: first.sessionId,
        signature: await b.key.sign(first.sessionId, "ssh-ed25519"),
      }),
      false,
    );
    assertEquals(
      [await client.bind(second), await client.bind(second), await client.bind(first, { forwarding: true })],
      [
        ...[true, false, false],
      ],
    );
    assertEquals(await signs(client, loginData(key, second, "bob")), true);
  });
  await on(agent, async (client) => {
    for (let i = 0; i < 16; i++) assertEquals(await client.bind(await a.session(), { forwarding: true }), true);
    assertEquals(await client.bind(await a.session(), { forwarding: true }), false);
  });
});

Deno.test("a host that could not be told of, or that came while the agent was locked, takes nobody's place", async () => {
  await using agent = await tied(to(a), through(a, b));
  const hops: [string, (client: AgentConnection) => Promise<unknown>][] = [
    ["the first hop", async (client) => {
      const lie = { ...await a.session(), sessionId: new Uint8Array(32) };
      assertEquals(await client.bind(lie, { forwarding: true }), false);
    }],
    ["a hop behind another", async (client) => {
      assertEquals(await client.bind(await a.session(), { forwarding: true }), true);
      const lie = { ...await c.session(), sessionId: new Uint8Array(32) };
      assertEquals(await client.bind(lie, { forwarding: true }), false);
    }],
    ["a locked agent", async (client) => {
      await agent.lock("x");
      assertEquals(await client.bind(await c.session(), { forwarding: true }), false);
      await agent.unlock("x");
    }],
  ];
  for (const [i, [what, come]] of hops.entries()) {
    await on(agent, async (client) => {
      await come(client);
      // Whoever is there asks as if from the host before.
      const session = await (i === 1 ? b : a).session();
      assertEquals([await client.bind(session), await isListed(client)], [true, false], what);
      assertEquals(await signs(client, loginData(key, session, "alice")), false, what);
    });
  }
});

async function longSession(length: number): Promise<AgentSession> {
  const sessionId = new Uint8Array(length).fill(7);
  return { hostKey: a.key.publicKey.blob, sessionId, signature: await a.key.sign(sessionId, "ssh-ed25519") };
}

Deno.test("a connection that was forwarded to another host lists and signs, and changes nothing", async () => {
  await using agent = createAgent({ keys: [free] });
  await on(agent, async (client) => {
    await client.bind(await a.session(), { forwarding: true });
    const [signer] = await client.signers(), data = new TextEncoder().encode("data");
    assert(await free.publicKey.verify(data, await signer!.sign(data, "ssh-ed25519")));
    for (
      const action of [
        () => client.add(key),
        () => client.remove(free.publicKey),
        () => client.removeAll(),
        () => client.lock("x"),
        () => client.unlock("x"),
      ]
    ) await assertRejects(action, SshError);
  });
  // Nor does it where the agent was locked when it was told.
  await agent.lock("x");
  await on(agent, async (client) => {
    assertEquals(await client.bind(await a.session(), { forwarding: true }), false);
    await agent.unlock("x");
    await assertRejects(() => client.removeAll(), SshError);
  });
  assertEquals((await agent.signers()).length, 1);
});

/** A login over memory at a server with that host key, by an agent. */
async function logIn(agent: AgentConnection | LocalAgent | AuthMethod, hostKey: PrivateKey): Promise<void> {
  const pair = memoryPair();
  const served = serveConn(pair.server, { hostKeys: [hostKey], auth: { publicKey: (_, { blob }) => isKey(blob) } });
  served.catch(() => {});
  try {
    await using _ = await connect({
      hostname: "test",
      username: "alice",
      transport: pair.client,
      verifyHostKey: () => true,
      algorithms: { kex: ["curve25519-sha256"] },
      auth: ["name" in agent ? agent : publicKey(agent)],
    });
  } finally {
    await inTime(served.catch(() => {}), "the server's end");
  }
}

const isKey = (blob: Uint8Array): boolean => blob.toHex() === key.publicKey.blob.toHex();

Deno.test("connect() logs in with keys that are tied to the host, by each kind of agent, and lends them as far as they go", async () => {
  await using agent = await tied(to(a), through(a, b));
  // The agent itself, as often as it is wanted.
  for (let i = 0; i < 2; i++) await logIn(agent, a.key);
  await assertRejects(() => logIn(agent, b.key), SshAuthError);
  // Streams to it, for one login, and the keys that are tied to nothing stay.
  await on(agent, async (client) => {
    await logIn(client, a.key);
    await assertRejects(() => logIn(client, a.key), SshAuthError);
  });
  // The agent of SSH_AUTH_SOCK: each login has a connection for itself, and the program's own goes on listing all.
  await using listener = await agent.listen();
  const before = Deno.env.get("SSH_AUTH_SOCK");
  Deno.env.set("SSH_AUTH_SOCK", listener.path);
  try {
    await using dialled = await connectAgent();
    await logIn(dialled, a.key);
    assertEquals((await dialled.signers()).length, 2);
    await Promise.all([logIn(dialled, a.key), logIn(dialled, a.key)]);
    await assertRejects(() => logIn(dialled, b.key), SshAuthError);
    await logIn(publicKey(defaultIdentities()), a.key);
    await assertRejects(() => logIn(publicKey(defaultIdentities()), c.key), SshAuthError);
    await dialled.remove(key.publicKey);
    await dialled.add(key, { destinations: [to(a), through(a, b)] });
  } finally {
    before === undefined ? Deno.env.delete("SSH_AUTH_SOCK") : Deno.env.set("SSH_AUTH_SOCK", before);
  }
  // Lent to a session there, from which the next login goes.
  await using joined = await join({
    hostKeys: [a.key],
    allowAgent: true,
    handler: async (session) => {
      for (const [host, goes] of [[b, true], [a, false], [c, false]] as const) {
        await using lent = await connectAgent(await session.agent!.open());
        const outcome = logIn(lent, host.key);
        if (goes) await outcome;
        else await assertRejects(() => outcome, SshAuthError);
      }
      return 7;
    },
  });
  assertEquals((await joined.client.exec("x", { agent })).code, 7);
});

Deno.test("a host may prove itself by a certificate of one of its authorities, which names it and holds", async () => {
  const ca = await generateKey(), host = await generateKey();
  const steps: KeyDestination[] = [{ to: { hostname: "a.example", cas: [ca.publicKey] } }];
  await using agent = await tied(...steps);
  const certificates: [string, Parameters<typeof signCertificate>[2], PrivateKey, boolean][] = [
    ["it names it", { kind: "host", principals: ["a.example"] }, ca, true],
    ["a pattern", { kind: "host", principals: ["b", "*.example"] }, ca, true],
    ["another host's", { kind: "host", principals: ["b.example"] }, ca, false],
    ["nobody's", { kind: "host" }, ca, false],
    ["a user's", { kind: "user", principals: ["a.example"] }, ca, false],
    [
      "one with a critical option",
      {
        kind: "host",
        principals: ["a.example"],
        criticalOptions: new Map([["force-command", "x"]]),
      },
      ca,
      false,
    ],
    ["of another authority", { kind: "host", principals: ["a.example"] }, b.key, false],
    ["one that has expired", { kind: "host", principals: ["a.example"], validBefore: new Date(1000) }, ca, false],
  ];
  for (const [what, options, by, proves] of certificates) {
    const { publicKey } = withCertificate(host, await signCertificate(by, host.publicKey, options));
    const sessionId = new Uint8Array(32).fill(1), signature = await host.sign(sessionId, "ssh-ed25519");
    await on(agent, async (client) => {
      const session = { hostKey: publicKey.blob, sessionId, signature };
      assertEquals([await client.bind(session), await isListed(client)], [true, proves], what);
      assertEquals(await signs(client, loginData(key, session, "alice")), proves, what);
    });
  }
  // Without the certificate it is not one of the host's keys, and neither is the authority's own.
  for (const plain of [host, ca]) {
    const sessionId = new Uint8Array(32).fill(1), signature = await plain.sign(sessionId, "ssh-ed25519");
    await on(agent, async (client) => {
      await client.bind({ hostKey: plain.publicKey.blob, sessionId, signature });
      assertEquals(await isListed(client), false);
    });
  }
});

Deno.test("keyDestinations() writes destinations as ssh-add does, with the keys that known_hosts has", async () => {
  const dir = await Deno.makeTempDir(), files = [`${dir}/one`, `${dir}/missing`, `${dir}/two`];
  const lines = [
    `a,b ${a.key.publicKey}`,
    `${await hashHostname("c", 2222)} ${c.key.publicKey}`,
    `@revoked a,gone ${c.key.publicKey}`,
    `@revoked c ${b.key.publicKey}`,
    `@cert-authority *.example ${b.key.publicKey}`,
    `a ssh-unknown AAAA`,
  ];
  await Deno.writeTextFile(files[0]!, `${lines.join("\n")}\n`);
  await Deno.writeTextFile(files[2]!, `a ${b.key.publicKey}\na,gone ${c.key.publicKey}\n[c]:2222 ${b.key.publicKey}\n`);
  const seen = async (...destinations: string[]) =>
    (await keyDestinations(destinations, { files })).map(({ from, to }) =>
      [from, to].map((hop) =>
        hop && [hop.hostname, ...hop.hostKeys!.map(String), ...hop.cas!.map((key) => `ca ${key}`)]
      ).concat([[to.username ?? ""]])
    );
  const [hostA, hostC, hostX] = [
    ["a", String(a.key.publicKey), String(b.key.publicKey)],
    ["[c]:2222", String(c.key.publicKey)],
    ["x.example", `ca ${b.key.publicKey}`],
  ];
  assertEquals(await seen("a", "al*@A", "a>[c]:2222", "x.example>bob@a"), [
    [undefined, hostA, [""]],
    [undefined, hostA, ["al*"]],
    [hostA, hostC, [""]],
    [hostX, hostA, ["bob"]],
  ]);
  await assertRejects(() => seen("nowhere"), HostKeyUnknownError, "known_hosts has no key of that host");
  await assertRejects(() => seen("gone"), HostKeyUnknownError, "no key of that host");
  for (const bad of ["a>b>c", "u@a>b", "@a"]) await assertRejects(() => seen(bad), TypeError, "write host", bad);
  for (const bad of ["", "a>", ">a", "a b"]) await assertRejects(() => seen(bad), SshError, undefined, bad);
  await assertRejects(() => keyDestinations("a" as never), TypeError);
  await assertRejects(() => keyDestinations(["a"], { files: "x" } as never), TypeError);
  // A key that is tied to them goes there.
  await using agent = createAgent({ keys: [free] });
  await agent.add(key, { destinations: await keyDestinations(["a"], { files }) });
  await logIn(agent, a.key);
  await assertRejects(() => logIn(agent, c.key), SshAuthError);
  await Deno.remove(dir, { recursive: true });
});
