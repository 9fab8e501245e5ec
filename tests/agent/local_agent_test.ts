/** An agent of this program, and what clients of agents do to it. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { AgentUse } from "../../lib/agent/agent_connection.ts";
import { Keyring } from "../../lib/agent/keyring.ts";
import { createAgent, type CreateAgentOptions, type LocalAgent } from "../../lib/agent/local_agent.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { trustedUserCAs } from "../../lib/auth/user_certificates.ts";
import { SshError, SshProtocolError } from "../../lib/errors.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { signCertificate } from "../../lib/keys/sign_certificate.ts";
import type { PrivateKey, PublicKey, Signer } from "../../lib/keys/types.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { join } from "../_support/joined.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { opensshKeys, strings } from "../_support/key_vectors.ts";
import { memoryPair } from "../_support/duplex.ts";
import { inTime, until } from "../_support/until.ts";
import { clientOf, knownBy, loginData, questionOf, rawClientOf, testHost } from "../_support/agents.ts";

const data = new TextEncoder().encode("data");
const one = await generateKey("ed25519", { comment: "one" }), two = await generateKey("ed25519", { comment: "two" });
const keys: PrivateKey[] = await Promise.all(opensshKeys().slice(0, 5).map((key) => parsePrivateKey(key.private)));

const isDenied = (action: () => Promise<unknown>): Promise<SshError> =>
  assertRejects(action, SshError).then((error) => (assertEquals(error.code, "REQUEST_DENIED", error.message), error));
const blobs = async (agent: { signers(): Promise<readonly Signer[]> }): Promise<string[]> =>
  (await agent.signers()).map(({ publicKey }) => publicKey.blob.toHex());
const hex = ({ publicKey }: Signer): string => publicKey.blob.toHex();

Deno.test("a client adds keys of each type to an agent, lists them, signs with them and removes them", async () => {
  await using agent = createAgent({ keys: [one] });
  const client = await clientOf(agent);
  for (const key of keys) await client.add(key, { comment: `my ${key.publicKey.type}` });
  for (const seen of [agent, client]) {
    const signers = await seen.signers();
    assertEquals(signers.map(hex), [one, ...keys].map(hex));
    assertEquals(signers.map(({ comment }) => comment), ["one", ...keys.map((key) => `my ${key.publicKey.type}`)]);
    for (const signer of signers) {
      for (const algorithm of signer.algorithms) {
        assert(await signer.publicKey.verify(data, await signer.sign(data, algorithm)), algorithm);
      }
    }
  }
  await client.remove(one.publicKey);
  assertEquals((await isDenied(() => client.remove(one.publicKey))).message.includes("not hold the key"), true);
  // The same key again takes the place of the one before, with what is said now.
  await client.add(keys[1]!, { comment: "again" });
  assertEquals((await agent.signers()).length, keys.length);
  await client.removeAll();
  assertEquals(await blobs(agent), []);
  await client[Symbol.asyncDispose]();
  await inTime(client.served, "its end");
});

Deno.test("a certificate is added with its key and beside it, for each type of key, and logs in", async () => {
  await using agent = createAgent();
  const client = await clientOf(agent), raw = rawClientOf(agent), ca = one;
  const certified = async (key: PrivateKey): Promise<Signer> =>
    withCertificate(
      key,
      await signCertificate(ca, key.publicKey, { kind: "user", keyId: "id", principals: ["alice"] }),
    );
  for (const key of [...keys, await generateKey("mldsa44-ed25519")]) {
    const signer = await certified(key), { blob } = signer.publicKey;
    await client.add(signer, { comment: "certified" });
    await client.add(key);
    assertEquals(await blobs(client), [blob.toHex(), hex(key)]);
    const flags = key.publicKey.type === "ssh-rsa" ? 4 : 0;
    const answer = new Reader(await raw.ask(13, ...strings(blob, data), 0, 0, 0, flags), 1);
    assert(await key.publicKey.verify(data, answer.string()));
    await client.remove(signer.publicKey);
    assertEquals(await blobs(agent), [hex(key)]);
    await agent.removeAll();
  }
  // The certificate of one key with the private part of another: nobody else may say whose key it is.
  const [ed] = keys, stolen = (await certified(two)).publicKey;
  const part = strings(ed!.publicKey.blob.subarray(19), new Uint8Array(64));
  assertEquals([...await raw.ask(17, ...strings(stolen.type, stolen.blob), ...part, ...strings(""))], [5]);
  const question = (await questionOf(async (client) => client.add(await certified(ed!)))).slice(1);
  const length = 4 + stolen.type.length + 4 + stolen.blob.length, other = strings(stolen.type, stolen.blob);
  assertEquals([...await raw.ask(17, ...other, ...question.slice(length))], [5]);
  assertEquals([...await raw.ask(17, ...question)], [6]);
  // Both an agent's object and a client of agents log in with it.
  for (const held of [agent, client]) {
    await using joined = await join({
      auth: { publicKey: trustedUserCAs(`${ca.publicKey}`) },
      handler: () => 7,
    }, { auth: [publicKey(held)] });
    assertEquals((await joined.client.exec("x")).code, 7);
  }
  await client[Symbol.asyncDispose]();
  await raw.close();
});

Deno.test("an agent of this program takes signers that keep their private part to themselves, and a connection does not", async () => {
  const token: Signer = {
    publicKey: two.publicKey,
    algorithms: two.algorithms,
    sign: (data, name) => two.sign(data, name),
  };
  await using agent = createAgent({ keys: [token] });
  await agent.add(token, { comment: "token" });
  const client = await clientOf(agent), [signer] = await client.signers();
  assertEquals(signer!.comment, "token");
  assert(await two.publicKey.verify(data, await signer!.sign(data, "ssh-ed25519")));
  await assertRejects(() => client.add(token as PrivateKey), TypeError, "keeps its private part to itself");
  await client[Symbol.asyncDispose]();
});

Deno.test("onConfirm() is asked before each use of a key that wants it, and nothing but true is yes", async () => {
  const uses: AgentUse[] = [], errors: unknown[] = [];
  let say: unknown = true;
  await using agent = createAgent({
    keys: [one],
    onConfirm: (use) => {
      uses.push(use);
      if (say instanceof Error) throw say;
      return say as boolean;
    },
    onError: (error) => void errors.push(error),
  });
  const client = await clientOf(agent);
  await client.add(two, { confirm: true });
  const [free, asked] = await client.signers();
  await free!.sign(data, "ssh-ed25519");
  assertEquals(uses, []);
  assert(await two.publicKey.verify(data, await asked!.sign(data, "ssh-ed25519")));
  const host = await testHost(), session = await host.session();
  await asked!.sign(loginData(two, session, "alice"), "ssh-ed25519");
  await asked!.sign(
    new Uint8Array([...new TextEncoder().encode("SSHSIG"), ...strings("git", "", "sha512", "x")]),
    "ssh-ed25519",
  );
  await client.bind(session);
  await asked!.sign(loginData(two, session, "bob"), "ssh-ed25519");
  // Whoever asks writes nothing of its own on the terminal where the question stands.
  const trick = "x\r\n\x1b[2K\x9b1A", texts = strings(trick, "", "sha512", "x");
  await asked!.sign(loginData(two, session, trick), "ssh-ed25519");
  await asked!.sign(new Uint8Array([...new TextEncoder().encode("SSHSIG"), ...texts]), "ssh-ed25519");
  assertEquals(
    uses.map(({ comment, purpose, username, hostKey, namespace, forwarded }) => [
      ...[comment, purpose, username, hostKey?.blob, namespace, forwarded],
    ]),
    [
      ["two", "other", null, undefined, null, false],
      ["two", "login", "alice", undefined, null, false],
      ["two", "file", null, undefined, "git", false],
      ["two", "login", "bob", host.key.publicKey.blob, null, false],
      ["two", "login", "x\ufffd\ufffd\ufffd[2K\ufffd1A", host.key.publicKey.blob, null, false],
      ["two", "file", null, undefined, "x\ufffd\ufffd\ufffd[2K\ufffd1A", false],
    ],
  );
  for (const no of [false, undefined, 1, "yes", Promise.resolve(false), new Error("a secret")]) {
    say = no;
    const error = await isDenied(() => asked!.sign(data, "ssh-ed25519"));
    assert(!error.message.includes("secret"));
  }
  assertEquals(errors.map(String), ["Error: a secret"]);
  assertEquals(uses.length, 12);
  await client[Symbol.asyncDispose]();
});

Deno.test("onError() is told of all that onConfirm() and signers throw, and not of clients that go", async () => {
  const errors: unknown[] = [], refused = new SshError("no token", { code: "REQUEST_DENIED" });
  let asked = 0;
  const token: Signer = {
    ...two,
    algorithms: two.algorithms,
    publicKey: two.publicKey,
    sign: () => Promise.reject(refused),
  };
  await using agent = createAgent({
    keys: [token],
    onConfirm: () => ++asked === 1 ? Promise.reject(refused) : new Promise<boolean>(() => {}),
    onError: (error) => void errors.push(error),
  });
  await agent.add(one, { confirm: true });
  const [signer, confirmed] = await agent.signers(), end = new AbortController();
  for (const key of [signer!, confirmed!]) await isDenied(() => key.sign(data, "ssh-ed25519"));
  assertEquals(errors, [refused, refused]);
  const raw = rawClientOf(agent, { signal: end.signal });
  await raw.writer.write(strings(new Uint8Array([13, ...strings(one.publicKey.blob, data), 0, 0, 0, 0])));
  await until(() => asked === 2, "it is asked");
  end.abort(new Error("enough"));
  assertEquals(String(await inTime(raw.served, "its end")), "Error: enough");
  assertEquals(errors, [refused, refused]);
});

Deno.test("an agent that asks for every key does so, and one that cannot ask holds no key that wants it", async () => {
  let asked = 0;
  await using all = createAgent({ keys: [one], confirm: true, onConfirm: () => ++asked > 1 });
  const [signer] = await all.signers();
  await isDenied(() => signer!.sign(data, "ssh-ed25519"));
  assert(await one.publicKey.verify(data, await signer!.sign(data, "ssh-ed25519")));
  assertThrows(() => createAgent({ confirm: true }), TypeError, "no `onConfirm`");
  await using mute = createAgent();
  await assertRejects(() => mute.add(one, { confirm: true }), TypeError, "without `onConfirm`");
  const client = await clientOf(mute);
  await isDenied(() => client.add(one, { confirm: true }));
  assertEquals(await blobs(mute), []);
  await client[Symbol.asyncDispose]();
});

Deno.test("what changes while a person thinks counts: a key that goes, a lock, a client that goes", async () => {
  const answers: PromiseWithResolvers<boolean>[] = [], signals: AbortSignal[] = [];
  await using agent = createAgent({
    onConfirm: ({ signal }) => {
      signals.push(signal);
      return (answers[signals.length - 1] = Promise.withResolvers()).promise;
    },
  });
  await agent.add(two, { confirm: true });
  const [signer] = await agent.signers();
  const changes: (() => Promise<unknown>)[] = [
    () => agent.remove(two.publicKey),
    () => agent.add(two, { confirm: true }),
    () => agent.lock("x"),
  ];
  for (const [i, change] of changes.entries()) {
    const signing = isDenied(() => signer!.sign(data, "ssh-ed25519"));
    await until(() => signals.length === i + 1, "it is asked");
    // The agent's own requests come one after the other, as those of any client.
    const other = await clientOf(agent);
    await (i === 2 ? other.lock("x") : i === 1 ? change() : other.remove(two.publicKey));
    await other[Symbol.asyncDispose]();
    answers[i]!.resolve(true);
    await signing;
    if (i === 0) await agent.add(two, { confirm: true });
  }
  await agent.unlock("x");
  const raw = rawClientOf(agent);
  await raw.writer.write(strings(new Uint8Array([13, ...strings(two.publicKey.blob, data), 0, 0, 0, 0])));
  await until(() => signals.length === 4, "it is asked");
  await raw.writer.close();
  await until(() => signals[3]!.aborted, "it is told that nobody waits");
  await raw.close();
});

Deno.test("a key is forgotten at the end of its lifetime, whoever asks and when nobody does", async () => {
  using time = new FakeTime();
  const agent = createAgent({ lifetime: 10_000, keys: [keys[1]!] });
  await agent.add(one, { lifetime: 2_000 });
  await agent.add(two, { lifetime: Infinity });
  await agent.add(keys[0]!, { lifetime: 60_001 });
  const [, signer] = await agent.signers();
  time.tick(1_999);
  assertEquals((await agent.signers()).length, 4);
  assertEquals(time.pending, 1);
  time.tick(1);
  await isDenied(() => signer!.sign(data, "ssh-ed25519"));
  assertEquals(await blobs(agent), [keys[1]!, two, keys[0]!].map(hex));
  time.tick(8_000);
  assertEquals(await blobs(agent), [hex(keys[0]!)]);
  // Whole seconds: the last one is begun.
  time.tick(50_999);
  assertEquals(await blobs(agent), [hex(keys[0]!)]);
  time.tick(1);
  assertEquals([await blobs(agent), time.pending], [[], 0]);
  await agent[Symbol.asyncDispose]();
});

Deno.test("a locked agent lists nothing, signs nothing and changes nothing; wrong passphrases cost more each time", async () => {
  using time = new FakeTime();
  const agent = createAgent({ keys: [one] }), client = await clientOf(agent), other = await clientOf(agent);
  const [signer] = await client.signers();
  await isDenied(() => client.unlock("x"));
  await client.lock("s3cret");
  assertEquals(await blobs(client), []);
  for (
    const action of [
      () => signer!.sign(data, "ssh-ed25519"),
      () => client.add(two),
      () => agent.add(two),
      () => client.remove(one.publicKey),
      () => client.removeAll(),
      () => client.lock("s3cret"),
      () => client.extensions(),
    ]
  ) await isDenied(action);
  assertEquals(time.pending, 0);
  for (let tries = 1; tries <= 3; tries++) {
    const wrong = isDenied(() => client.unlock("s3creT"));
    await until(() => time.pending === 1, "the agent takes its time");
    // Whoever else tries meanwhile, waits.
    let done = false;
    const right = tries === 3 ? other.unlock("s3cret").then(() => done = true) : null;
    time.tick(100 * tries - 1);
    await client.signers;
    assertEquals([time.pending, done], [1, false]);
    time.tick(1);
    const error = await wrong;
    assert(!/s3cre/i.test(`${error.message} ${error.stack}`));
    await right;
  }
  assertEquals(await blobs(client), [hex(one)]);
  // Counted anew.
  await client.lock("x");
  const wrong = isDenied(() => client.unlock("y"));
  await until(() => time.pending === 1, "the agent takes its time");
  time.tick(100);
  await wrong;
  for (const bad of ["", "\ud800", 7]) {
    await assertRejects(() => client.lock(bad as string), TypeError);
    await assertRejects(() => agent.unlock(bad as string), TypeError);
  }
  await client[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
  await agent[Symbol.asyncDispose]();
});

Deno.test("a delay for a wrong passphrase is ten seconds at most, and ends with the agent", async () => {
  using time = new FakeTime();
  const agent = createAgent();
  await agent.lock("right");
  for (let tries = 1; tries <= 101; tries++) {
    const wrong = isDenied(() => agent.unlock("wrong"));
    await until(() => time.pending === 1, "the agent takes its time");
    time.next();
    await wrong;
  }
  assertEquals([time.delays.at(-1), time.delays.at(-2), time.delays.at(-3)], [10_000, 10_000, 9_900]);
  const waiting = assertRejects(() => agent.unlock("wrong"), SshError);
  await until(() => time.pending === 1, "the agent takes its time");
  await agent[Symbol.asyncDispose]();
  await waiting;
  assertEquals(time.pending, 0);
});

Deno.test("an agent refuses what it does not know, and constraints that it could not keep", async () => {
  await using agent = createAgent({ onConfirm: () => true });
  const raw = rawClientOf(agent);
  const added = (await questionOf((client) => client.add(one))).slice(1);
  const extension = (name: string, contents: Uint8Array) => [255, ...strings(name, contents)];
  const restrict = (contents: Uint8Array) => extension("restrict-destination-v00@openssh.com", contents);
  const hop = (user: string, host: string, ...rest: number[]) => new Uint8Array([...strings(user, host, ""), ...rest]);
  const step = (from: Uint8Array, to: Uint8Array, more = "") => strings(strings(from, to, more));
  const key = [...strings(one.publicKey.blob), 0], here = hop("", ""), there = hop("", "b", ...key);
  const bad: [string, number[]][] = [
    ["a constraint that is not known", [4]],
    ["a number of signatures, which only XMSS has", [3, 0, 0, 0, 1]],
    ["a lifetime that is cut", [1, 0, 0]],
    ["two lifetimes", [1, 0, 0, 1, 0, 1, 0, 0, 1, 0]],
    ["confirm twice", [2, 2]],
    ["an extension that is not known", extension("x@y", new Uint8Array(0))],
    ["a provider of tokens", extension("sk-provider@openssh.com", strings("/x.so"))],
    ["associated certificates", extension("associated-certs-v00@openssh.com", new Uint8Array(0))],
    ["no destination", restrict(new Uint8Array(0))],
    ["garbage", restrict(Uint8Array.of(1, 2, 3))],
    ["a user where it begins", restrict(step(hop("u", "a", ...key), there))],
    ["a first host without keys", restrict(step(hop("", "a"), there))],
    ["first keys without a host", restrict(step(hop("", "", ...key), there))],
    ["a destination without keys", restrict(step(here, hop("", "b")))],
    ["a destination without a name", restrict(step(here, hop("", "", ...key)))],
    ["an empty key", restrict(step(here, hop("", "b", ...strings(""), 0)))],
    ["more in a step", restrict(step(here, there, "more"))],
    ["more in a host", restrict(step(here, new Uint8Array([...strings("", "b", "more"), ...key])))],
    ["a name with a control character", restrict(step(here, hop("", "b\n", ...key)))],
    ["a name of 1,025 characters", restrict(step(here, hop("", "b".repeat(1025), ...key)))],
    ["1,025 destinations", restrict(new Uint8Array(Array(1025).fill([...step(here, there)]).flat()))],
    ["restricted twice", [...restrict(step(here, there)), ...restrict(step(here, there))]],
  ];
  for (const [what, more] of bad) assertEquals([...await raw.ask(25, ...added, ...more)], [5], what);
  assertEquals(await blobs(agent), []);
  for (
    const good of [[], [1, 0, 0, 1, 0], [2], restrict(step(here, there)), [
      1,
      0,
      0,
      1,
      0,
      2,
      ...restrict(step(here, there)),
    ]]
  ) {
    assertEquals([...await raw.ask(25, ...added, ...good)], [6]);
  }
  assertEquals([...await raw.ask(17, ...added)], [6]);
  assertEquals(await blobs(agent), [hex(one)]);
  // Tokens (CVE-2023-38408), version 1, and numbers that do not exist.
  for (let type = 0; type < 256; type++) {
    if ([11, 13, 17, 18, 19, 22, 23, 25, 27].includes(type)) continue;
    assertEquals([...await raw.ask(type, ...strings("/usr/lib/x.so", "1234"))], [5], String(type));
  }
  for (
    const garbage of [[13], [17], [17, 1], [18], [18, 0, 0, 0, 9], [19, 0], [11, 0], [22], [23], [25], [27], [
      27,
      ...strings("é"),
    ]]
  ) {
    assertEquals([...await raw.ask(...garbage)], [5], String(garbage));
  }
  assertEquals([...await raw.ask(27, ...strings("query"), 0)], [5]);
  assertEquals([...await raw.ask(27, ...strings("query"))], [
    29,
    ...strings("query", "query", "session-bind@openssh.com"),
  ]);
  assertEquals(await raw.close(), null);
});

Deno.test("a connection that may only read lists and signs, and changes nothing", async () => {
  await using agent = createAgent({ keys: [one] });
  const client = await clientOf(agent, { readOnly: true }), [signer] = await client.signers();
  assert(await one.publicKey.verify(data, await signer!.sign(data, "ssh-ed25519")));
  for (
    const action of [
      () => client.add(two),
      () => client.remove(one.publicKey),
      () => client.removeAll(),
      () => client.lock("x"),
      () => client.unlock("x"),
    ]
  ) await isDenied(action);
  assertEquals(await blobs(agent), [hex(one)]);
  await client[Symbol.asyncDispose]();
});

Deno.test("SHA-1 is signed with for ssh-add -T, and for nothing that means something", async () => {
  const rsa = keys[4]!,
    token: Signer = { ...rsa, publicKey: rsa.publicKey, algorithms: rsa.algorithms, sign: rsa.sign };
  await using agent = createAgent({ keys: [rsa] });
  const raw = rawClientOf(agent), session = await (await testHost()).session();
  const ask = async (data: Uint8Array, flags = 0): Promise<string | null> => {
    const answer = new Reader(await raw.ask(13, ...strings(rsa.publicKey.blob, data), 0, 0, 0, flags));
    return answer.u8() === 14 ? new Reader(answer.view()).ascii() : null;
  };
  const file = new Uint8Array([...new TextEncoder().encode("SSHSIG"), ...strings("git", "", "sha512", "x")]);
  assertEquals([await ask(data), await ask(loginData(rsa, session, "alice")), await ask(file)], [
    "ssh-rsa",
    null,
    null,
  ]);
  const named = ["rsa-sha2-256", "rsa-sha2-512", "rsa-sha2-256", null];
  for (const [i, flags] of [2, 4, 6, 8].entries()) assertEquals(await ask(file, flags), named[i], String(flags));
  await agent.add(token);
  assertEquals([await ask(data)], [null]);
  await raw.close();
});

Deno.test("an agent holds as many keys as it can list, and comments that are listed", async () => {
  await using agent = createAgent();
  const signer = (i: number): Signer => {
    const blob = strings("ssh-ed25519", new Uint8Array([i >> 8, i, ...new Uint8Array(30)]));
    return {
      ...two,
      algorithms: two.algorithms,
      sign: () => Promise.reject(),
      publicKey: knownBy(two.publicKey, blob),
    };
  };
  await isDenied(() => agent.add(one, { comment: "x".repeat(4097) }));
  for (let i = 0; i < 2048; i++) await agent.add(signer(i), { comment: "" });
  await isDenied(() => agent.add(signer(2048)));
  await agent.add(signer(7), { comment: "" });
  assertEquals((await agent.signers()).length, 2048);
  await agent.removeAll();
  let held = 0;
  try {
    for (; held < 100; held++) await agent.add(signer(held), { comment: "é".repeat(4096) });
  } catch { /* no room */ }
  assertEquals([held, (await agent.signers()).length], [21, 21]);
  // Host keys are made up, and 1 MiB with the host's name and what keeping them costs.
  const large = knownBy(two.publicKey, strings("ssh-ed25519", new Uint8Array(1_048_576 - 2 * 128 - 2 - 19)));
  await agent.removeAll();
  for (const i of [0, 1, 2, 3, 3]) {
    await agent.add(signer(i), { destinations: [{ to: { hostname: "a", hostKeys: [large] } }] });
  }
  const more = { destinations: [{ to: { hostname: "a", hostKeys: [two.publicKey] } }] };
  await isDenied(() => agent.add(signer(4), more));
  await agent.remove(signer(0).publicKey);
  await agent.add(signer(4), more);
  // Names count as keys do, and so does their number.
  await agent.removeAll();
  const small = knownBy(two.publicKey, strings("x"));
  const named = { destinations: Array(1000).fill({ to: { hostname: "a".repeat(900), hostKeys: [small] } }) };
  const crowded = { destinations: [{ to: { hostname: "a", hostKeys: Array(30_000).fill(small) } }] };
  for (const i of [0, 1]) await agent.add(signer(i), named);
  await isDenied(() => agent.add(signer(2), named));
  await isDenied(() => agent.add(signer(2), crowded));
});

Deno.test("an agent that is closed ends its connections and forgets its keys, and a signal ends a connection", async () => {
  const agent = createAgent({ keys: [one] }), client = await clientOf(agent), [signer] = await client.signers();
  const stop = new AbortController(), stopped = rawClientOf(agent, { signal: stop.signal });
  stop.abort(new Error("enough"));
  assertEquals(String(await inTime(stopped.served, "its end")), "Error: enough");
  await agent[Symbol.asyncDispose]();
  await agent[Symbol.asyncDispose]();
  const why = await inTime(client.served, "its end");
  assert(why instanceof SshError && why.code === "CLOSED", String(why));
  await assertRejects(() => signer!.sign(data, "ssh-ed25519"), SshError);
  for (
    const action of [() => agent.signers(), () => agent.add(two), () => agent.lock("x"), () => agent.listen()]
  ) assertEquals((await assertRejects(action, SshError)).code, "CLOSED");
  const { server } = memoryPair();
  assertEquals((await assertRejects(() => agent.serve(server), SshError)).code, "CLOSED");
  await client[Symbol.asyncDispose]();
});

Deno.test("the keys of an agent that is closed are gone, those that are on their way as well", () => {
  const keyring = new Keyring(), constraints = { lifetime: null, confirm: false, steps: null };
  const identity = { blob: one.publicKey.blob, comment: "", key: one, constraints };
  keyring.add(identity);
  assertEquals(keyring.all().length, 1);
  keyring.end();
  assertEquals(assertThrows(() => keyring.add(identity), SshError).code, "CLOSED");
  assertEquals(keyring.all(), []);
});

Deno.test("messages that are empty, too long or cut end a connection to an agent, and that one alone", async () => {
  await using agent = createAgent({ keys: [one] });
  for (const bytes of [[0, 0, 0, 0], [0, 4, 0, 1], [255, 255, 255, 255], [0, 0, 0, 2, 11], [0, 0]]) {
    const raw = rawClientOf(agent);
    await raw.writer.write(Uint8Array.from(bytes)).catch(() => {});
    await raw.writer.close().catch(() => {});
    assert(await inTime(raw.served, "the end") instanceof SshProtocolError, String(bytes));
  }
  const raw = rawClientOf(agent);
  // As much as there may be, and what was asked before it was answered.
  const longest = new Uint8Array([...[0, 4, 0, 0, 13], ...new Uint8Array(262_143)]);
  await raw.writer.write(new Uint8Array([...longest, 0, 0, 0, 1, 11, 0, 0, 0, 1, 11]));
  assertEquals([...await raw.answer()], [5]);
  assertEquals([(await raw.answer())[0], (await raw.answer())[0]], [12, 12]);
  assertEquals(await raw.close(), null);
});

Deno.test("createAgent(), add() and serve() refuse what makes no sense, before anything is done", async () => {
  const wrong: [unknown, typeof TypeError | typeof RangeError][] = [
    [null, TypeError],
    [{ keys: one }, TypeError],
    [{ keys: [one.publicKey] }, TypeError],
    [{ onConfirm: true }, TypeError],
    [{ onError: 1 }, TypeError],
    [{ confirm: 1, onConfirm: () => true }, TypeError],
    [{ lifetime: 0 }, RangeError],
    [{ lifetime: "1" }, RangeError],
    [{ lifetime: 4_294_967_295_001 }, RangeError],
    [{ insecureMinRsaBits: 512 }, RangeError],
    [{ onConfrm: () => true }, TypeError],
  ];
  for (const [options, type] of wrong) {
    assertThrows(() => createAgent(options as CreateAgentOptions), type, undefined, JSON.stringify(options));
  }
  await using agent = createAgent({ lifetime: 4_294_967_295_000, insecureMinRsaBits: 1024 });
  const client = await clientOf(agent), host = { hostname: "a", hostKeys: [one.publicKey] };
  const options: [unknown, typeof TypeError | typeof RangeError][] = [
    [1, TypeError],
    [{ comment: 1 }, TypeError],
    [{ lifetime: -1 }, RangeError],
    [{ lifetime: NaN }, RangeError],
    [{ confirm: "yes" }, TypeError],
    [{ destinations: [] }, RangeError],
    [{ destinations: host }, TypeError],
    [{ destinations: Array(1025).fill({ to: host }) }, RangeError],
    [{ destinations: [{}] }, TypeError],
    [{ destinations: [{ to: { hostname: "a" } }] }, TypeError],
    [{ destinations: [{ to: { ...host, hostname: "" } }] }, TypeError],
    [{ destinations: [{ to: { ...host, hostname: "a\n" } }] }, TypeError],
    [{ destinations: [{ to: { ...host, username: 1 } }] }, TypeError],
    [{ destinations: [{ to: { ...host, hostKeys: ["x"] } }] }, TypeError],
    [{ destinations: [{ to: host, from: { hostname: "b" } }] }, TypeError],
    [{ destinations: [{ to: host, from: { ...host, username: "u" } }] }, TypeError],
  ];
  for (const held of [agent, client]) {
    for (const [given, type] of options) {
      await assertRejects(() => held.add(one, given as object), type, undefined, JSON.stringify(given));
    }
    await assertRejects(() => held.add(one.publicKey as unknown as PrivateKey), TypeError);
    await assertRejects(() => held.remove("x" as unknown as PublicKey), TypeError);
  }
  await assertRejects(() => agent.serve(1 as never), TypeError);
  await assertRejects(() => agent.serve(memoryPair().server, { readOnly: 1 } as never), TypeError);
  await assertRejects(() => agent.serve(memoryPair().server, new AbortController().signal as never), TypeError);
  await assertRejects(() => agent.listen({ path: 1 } as never), TypeError);
  await assertRejects(() => client.extension(""), TypeError);
  await assertRejects(() => client.extension("x", "y" as never), TypeError);
  assertEquals(await blobs(agent), []);
  await client[Symbol.asyncDispose]();
});

Deno.test("a program's connections to an agent wait for each other, and no connection for another's", async () => {
  const slow = Promise.withResolvers<boolean>();
  await using agent: LocalAgent = createAgent({ keys: [one], confirm: true, onConfirm: () => slow.promise });
  const client = await clientOf(agent), other = await clientOf(agent);
  const [signer] = await client.signers();
  const signing = signer!.sign(data, "ssh-ed25519"), listing = client.signers();
  assertEquals(await blobs(other), [hex(one)]);
  slow.resolve(true);
  assert(await one.publicKey.verify(data, await signing));
  assertEquals((await listing).length, 1);
  await client[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
});
