/**
 * `hostkeys-00@openssh.com`: a server tells and proves its host keys, and a client's known_hosts follows.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { ConnectOptions } from "../../lib/api/client.ts";
import type { Mux } from "../../lib/connection/mux.ts";
import { SshError } from "../../lib/errors.ts";
import { announceHostKeys } from "../../lib/host_keys/announce.ts";
import { type HostKeyUpdate, learnHostKeys, type LearnOptions } from "../../lib/host_keys/learn.ts";
import { MAX_KEYS, proofAlgorithm, proofOf, readStrings, writeStrings } from "../../lib/host_keys/messages.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { knownHosts } from "../../lib/keys/trust/known_hosts.ts";
import { revokedKeys } from "../../lib/keys/trust/revoked_keys.ts";
import { verifierAround } from "../../lib/keys/trust/verifier_around.ts";
import type { HostKeyVerifier, PrivateKey, Signer } from "../../lib/keys/types.ts";
import type { ConnectionInfo } from "../../lib/transport/types.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { fuzzBytes, mutate } from "../_support/fuzz.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { join } from "../_support/joined.ts";
import { joinedMuxes } from "../_support/joined_muxes.ts";
import { opensshKeys } from "../_support/key_vectors.ts";
import { inTime, until } from "../_support/until.ts";

const [first, second, third, ecdsa] = await Promise.all([
  generateKey(),
  generateKey(),
  generateKey(),
  generateKey("ecdsa"),
]);
const rsa = await parsePrivateKey(opensshKeys()[4]!.private);
const NAME = "test.invalid";
const line = (key: Signer, name = NAME) => `${name} ${key.publicKey}\n`;

async function withFile(text: string, action: (file: string, folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "amiko_ssh_" }), file = `${folder}/known_hosts`;
  await Deno.writeTextFile(file, text);
  try {
    await action(file, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const read = (file: string) => Deno.readTextFile(file);

/** A session with a server that has these keys, for the client to learn of them until its file is as `wanted`; gives its notices. */
async function learnFrom(
  hostKeys: readonly PrivateKey[],
  options: Partial<ConnectOptions>,
  wanted?: () => boolean | Promise<boolean>,
): Promise<string[]> {
  const notices: string[] = [];
  await using joined = await join({ hostKeys }, { onNotice: (notice) => notices.push(notice), ...options });
  if (wanted !== undefined) await until(wanted, "the keys are not learnt");
  // Rounds in which nothing more should come.
  for (let i = 0; i < 3; i++) await joined.client.exec("echo x");
  await joined.client.close();
  assertEquals(joined.errors, []);
  return notices;
}

Deno.test("a client learns the keys that its server has besides, and forgets those that it has no more", async () => {
  const before = `# mine\nother ${ecdsa.publicKey}\n${line(first)}${line(second)}`;
  await withFile(before, async (file) => {
    const updates: HostKeyUpdate[] = [];
    const options = {
      verifyHostKey: knownHosts({ files: [file] }),
      updateHostKeys: (update: HostKeyUpdate) => updates.push(update) > 0,
    };
    const both = `# mine\nother ${ecdsa.publicKey}\n${line(first)}${line(third)}${line(rsa)}`;
    assertEquals(await learnFrom([first, third, rsa], options, async () => await read(file) === both), []);
    assertEquals(
      updates.map(({ name, added, retired }) => [name, added.map(String), retired.map(({ blob }) => blob)]),
      [[NAME, [third, rsa].map(({ publicKey }) => `${publicKey}`), [second.publicKey.blob]]],
    );
    // The old key goes, and the server is known by the new one, which it has shown by now.
    const now = `# mine\nother ${ecdsa.publicKey}\n${line(third)}${line(rsa)}`;
    assertEquals(await learnFrom([third, rsa], options, async () => await read(file) === now), []);
    assertEquals(await learnFrom([third, rsa], options), []);
    assertEquals(updates.length, 2);
    const error = await assertRejects(() => learnFrom([first], options), Error);
    assert(error.message.includes("it has changed"), error.message);
  });
});

Deno.test("known_hosts follows a server only where a line of its own trusts it, and the program has not said no", async () => {
  const keys = [first, second];
  const cases: [string, (file: string) => Partial<ConnectOptions>][] = [
    // Files that a program has named are its own, unless it says so.
    [line(first), (file) => ({ verifyHostKey: knownHosts({ files: [file] }) })],
    [line(first), (file) => ({ verifyHostKey: knownHosts({ files: [file] }), updateHostKeys: false })],
    [line(first), (file) => ({ verifyHostKey: knownHosts({ files: [file] }), updateHostKeys: () => false })],
    [line(first), (file) => ({
      verifyHostKey: knownHosts({ files: [file] }),
      updateHostKeys: (() => 1) as unknown as () => boolean,
    })],
    [line(first), (file) => ({
      verifyHostKey: knownHosts({ files: [`${file}.other`], globalFiles: [file] }),
      updateHostKeys: true,
    })],
    [line(first), (file) => ({ verifyHostKey: knownHosts(Deno.readTextFileSync(file)), updateHostKeys: true })],
    [line(first), () => ({ verifyHostKey: () => true, updateHostKeys: true })],
    // Lines that are somebody's own work, or another host's as well.
    ...[
      line(first, "*.invalid"),
      line(first, `${NAME},!other`),
      line(first, `${NAME},a,b`),
      `${line(first)}@cert-authority * ${third.publicKey}\n`,
      `${line(first)}@revoked ${NAME} ${third.publicKey}\n`,
      `${line(first)}other ${first.publicKey}\n`,
      `${line(first)}other ${second.publicKey}\n`,
      `${line(first)}${line(third)}other ${third.publicKey}\n`,
    ].map((text): [string, (file: string) => Partial<ConnectOptions>] => [text, (file) => ({
      verifyHostKey: knownHosts({ files: [file] }),
      updateHostKeys: true,
    })]),
  ];
  for (const [text, options] of cases) {
    await withFile(text, async (file, folder) => {
      assertEquals(await learnFrom(keys, options(file)), [], text);
      assertEquals(await read(file), text);
      assertEquals([...Deno.readDirSync(folder)].length, 1);
    });
  }
});

Deno.test("the user's own known_hosts follows a server unless the program says no, behind a function of it too", async () => {
  const home = Deno.env.get("HOME");
  const verifiers: HostKeyVerifier[] = [
    knownHosts(),
    knownHosts({ acceptNew: true }),
    (key, host) => knownHosts()(key, host),
  ];
  try {
    for (const verifyHostKey of verifiers) {
      await withFile("", async (_, folder) => {
        Deno.env.set("HOME", folder);
        await Deno.mkdir(`${folder}/.ssh`);
        const file = `${folder}/.ssh/known_hosts`, second2 = `${folder}/.ssh/known_hosts2`;
        await Deno.writeTextFile(file, line(first));
        await Deno.writeTextFile(second2, line(third));
        await learnFrom([first, second], { verifyHostKey, updateHostKeys: false });
        assertEquals(await read(file), line(first));
        const isLearnt = async () => await read(file) === line(first) + line(second) && await read(second2) === "";
        assertEquals(await learnFrom([first, second], { verifyHostKey }, isLearnt), []);
      });
    }
    // A new host is known by all its keys at once.
    await withFile("", async (file, folder) => {
      Deno.env.set("HOME", folder);
      const isLearnt = async () => await read(`${folder}/.ssh/known_hosts`) === line(first) + line(second);
      await learnFrom([first, second], { verifyHostKey: knownHosts({ acceptNew: true, hash: false }) }, isLearnt);
      assertEquals(await read(file), "");
    });
  } finally {
    if (home === undefined) Deno.env.delete("HOME");
    else Deno.env.set("HOME", home);
  }
});

Deno.test("the user's own known_hosts stays as it is, without a word, where the runtime would have to ask for leave to write it", async () => {
  const home = Deno.env.get("HOME"), { query } = Deno.permissions;
  try {
    await withFile("", async (_, folder) => {
      Deno.env.set("HOME", folder);
      await Deno.mkdir(`${folder}/.ssh`);
      const file = `${folder}/.ssh/known_hosts`;
      await Deno.writeTextFile(file, line(first));
      const asked: Deno.PermissionDescriptor[] = [];
      Deno.permissions.query = (descriptor) => {
        asked.push(descriptor);
        return Promise.resolve({ state: "prompt" } as Deno.PermissionStatus);
      };
      assertEquals(await learnFrom([first, second], { verifyHostKey: knownHosts() }, () => asked.length > 0), []);
      assertEquals(await read(file), line(first));
      // Who says so in so many words is asked.
      const isLearnt = async () => await read(file) === line(first) + line(second);
      await learnFrom([first, second], { verifyHostKey: knownHosts(), updateHostKeys: true }, isLearnt);
    });
  } finally {
    Deno.permissions.query = query;
    if (home === undefined) Deno.env.delete("HOME");
    else Deno.env.set("HOME", home);
  }
});

Deno.test("a key that is marked @revoked is not learnt, wherever the mark stands, and a notice says so", async () => {
  await withFile(line(first), async (file, folder) => {
    const global = `${folder}/global`;
    await Deno.writeTextFile(global, `@revoked *.invalid ${second.publicKey}\n`);
    const options = { verifyHostKey: knownHosts({ files: [file], globalFiles: [global] }), updateHostKeys: true };
    const notices = await learnFrom([first, second, third], options);
    assertEquals(notices, [
      `Host keys of "${NAME}" are not updated: it has a key that is marked @revoked at ${global}:1`,
    ]);
    assertEquals(await read(file), line(first));
    // A mark without a port is for each of them.
    const name = `[${NAME}]:2222`, text = `@revoked ${NAME} ${second.publicKey}\n${line(first, name)}`;
    await Deno.writeTextFile(file, text);
    assertEquals(await learnFrom([first, second], { ...options, port: 2222 }), [
      `Host keys of "${name}" are not updated: it has a key that is marked @revoked at ${file}:1`,
    ]);
    assertEquals(await read(file), text);
  });
});

Deno.test("a key that is on a list of revoked keys is not learnt, whichever functions are around the list", async () => {
  await withFile(line(first), async (file) => {
    const known = knownHosts({ files: [file] }), listed = revokedKeys(`${second.publicKey}\n`);
    for (
      const verifyHostKey of [
        listed.hosts(known),
        verifierAround(listed.hosts(known), (key, host, inner) => inner(key, host)),
      ]
    ) {
      const notices = await learnFrom([first, second, third], { verifyHostKey, updateHostKeys: true });
      assertEquals(notices, [
        `Host keys of "${NAME}" are not updated: it has a key that is revoked, ssh-ed25519 ${await second.publicKey
          .fingerprint()}: the key is revoked`,
      ]);
      assertEquals(await read(file), line(first));
    }
    const both = `${line(first)}${line(third)}`, options = { verifyHostKey: listed.hosts(known), updateHostKeys: true };
    assertEquals(await learnFrom([first, third], options, async () => await read(file) === both), []);
  });
});

Deno.test("a key that is on a list of revoked keys is not learnt, whichever functions are around the list", async () => {
  await withFile(line(first), async (file) => {
    const known = knownHosts({ files: [file] }), listed = revokedKeys(`${second.publicKey}\n`);
    for (
      const verifyHostKey of [
        listed.hosts(known),
        verifierAround(listed.hosts(known), (key, host, inner) => inner(key, host)),
      ]
    ) {
      const notices = await learnFrom([first, second, third], { verifyHostKey, updateHostKeys: true });
      assertEquals(notices, [
        `Host keys of "${NAME}" are not updated: it has a key that is revoked, ssh-ed25519 ${await second.publicKey
          .fingerprint()}: the key is revoked`,
      ]);
      assertEquals(await read(file), line(first));
    }
    const both = `${line(first)}${line(third)}`, options = { verifyHostKey: listed.hosts(known), updateHostKeys: true };
    assertEquals(await learnFrom([first, third], options, async () => await read(file) === both), []);
  });
});

Deno.test("a client that is closed as soon as its session is over has learnt what its server told", async () => {
  await withFile(line(first), async (file) => {
    const options = { verifyHostKey: knownHosts({ files: [file] }), updateHostKeys: true };
    // However long it takes here, no time passes.
    using _time = new FakeTime();
    {
      await using joined = await join({ hostKeys: [first, second, rsa] }, options);
      await joined.client.exec("echo x");
    }
    assertEquals(await read(file), line(first) + line(second) + line(rsa));
  });
});

Deno.test("what a client writes names the host by its alias and port, and as the file's other lines do", async () => {
  await withFile("", async (file) => {
    const accept = { verifyHostKey: knownHosts({ files: [file], acceptNew: true, hash: true }), updateHostKeys: true };
    const hashed = async () => (await read(file)).match(/^\|1\|\S+ \S+ \S+$/gm)?.length ?? 0;
    await learnFrom([first, second], { ...accept, port: 2222 }, async () => await hashed() === 2);
    const known = { verifyHostKey: knownHosts({ files: [file] }), updateHostKeys: true };
    await learnFrom([second, first, ecdsa], { ...known, port: 2222 }, async () => await hashed() === 3);
    await learnFrom([third, ecdsa], {
      ...accept,
      verifyHostKey: knownHosts({ files: [file], acceptNew: true, hash: false }),
      hostKeyAlias: "web",
    });
    assert((await read(file)).endsWith(`web ${third.publicKey}\n`), "a key that is another's as well is not spread");
  });
});

Deno.test("keys are proved under the session's first hash, however often the connection's keys are renewed", async () => {
  await withFile(line(first), async (file) => {
    const gate = Promise.withResolvers<void>();
    const slow: Signer = {
      publicKey: second.publicKey,
      algorithms: second.algorithms,
      sign: async (data, algorithm) => {
        await gate.promise;
        return await second.sign(data, algorithm);
      },
    };
    const options = { verifyHostKey: knownHosts({ files: [file] }), updateHostKeys: true };
    await using joined = await join({ hostKeys: [first, slow] }, options);
    await joined.client.rekey();
    await joined.client.exec("echo x");
    await joined.client.rekey();
    assertEquals(await read(file), line(first));
    gate.resolve();
    await until(async () => await read(file) === line(first) + line(second), "the key is not learnt");
  });
});

// ------------------------------------------------------------------------------------------- servers that lie

const info = {
  sessionId: crypto.getRandomValues(new Uint8Array(32)),
  hostKey: first.publicKey,
  hostKeyAlgorithm: "ssh-ed25519",
  remoteIdent: "SSH-2.0-test",
} as unknown as ConnectionInfo;

const sign = async (key: PrivateKey, data: Bytes) => await key.sign(data, key.algorithms[0]!);
const prove = (key: PrivateKey, { sessionId } = info) => sign(key, proofOf(sessionId, key.publicKey.blob));

/** What a client does with an announcement, and what a server answers that wants to be believed; `answer` gives what it is asked to prove. */
async function believe(
  file: string,
  announced: Uint8Array,
  answer: (data: Bytes, server: Mux) => Promise<Bytes | boolean> | Bytes | boolean,
  options: Partial<LearnOptions> = {},
): Promise<{ notices: string[]; asked: number }> {
  const { client, server, transports } = joinedMuxes();
  const notices: string[] = [], ended = Promise.withResolvers<void>();
  let asked = 0;
  server.onRequest("hostkeys-prove-00@openssh.com", (data) => {
    asked++;
    return answer(data, server);
  });
  server.onRequest("ping", () => true);
  const { written } = learnHostKeys(client, {
    info,
    algorithms: ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512"],
    insecureMinRsaBits: undefined,
    trustedBy: { name: NAME, files: [file], globalFiles: [], areUsersOwn: false, hash: undefined },
    revocations: [],
    ask: () => (ended.resolve(), true),
    unasked: false,
    notice: (text) => {
      notices.push(text);
      ended.resolve();
    },
    ...options,
  });
  server.notify("hostkeys-00@openssh.com", announced);
  await inTime(ended.promise, "nothing came of it");
  // Whatever is answered comes in order: behind this, all has been told.
  await client.globalRequest("ping").catch(() => {});
  await written();
  transports.client.finish(null);
  return { notices, asked };
}

const told = (...keys: PrivateKey[]) => writeStrings(keys.map(({ publicKey }) => publicKey.blob));

Deno.test("a key that the server does not prove, as it should, is not learnt, and none of the others is", async () => {
  const [good, other] = [await prove(second), await prove(third)];
  const flipped = good.slice();
  flipped[flipped.length - 1]! ^= 1;
  const elsewhere = await prove(second, { ...info, sessionId: new Uint8Array(32) });
  const exchange = await sign(second, info.sessionId);
  const raw = await sign(second, second.publicKey.blob);
  const answers: [Bytes | boolean, string][] = [
    [false, "does not prove"],
    [new Uint8Array(0), "0 proofs for 2 keys"],
    [true, "0 proofs for 2 keys"],
    [writeStrings([good]), "1 proofs for 2 keys"],
    [writeStrings([good, other, other]), "3 proofs for 2 keys"],
    [writeStrings([other, good]), "has not proved its ssh-ed25519 key"],
    [writeStrings([good, good]), "has not proved its ssh-ed25519 key"],
    [writeStrings([flipped, other]), "has not proved its ssh-ed25519 key"],
    [writeStrings([elsewhere, other]), "has not proved its ssh-ed25519 key"],
    [writeStrings([exchange, other]), "has not proved its ssh-ed25519 key"],
    [writeStrings([raw, other]), "has not proved its ssh-ed25519 key"],
    [writeStrings([new Uint8Array(0), other]), "has not proved its ssh-ed25519 key"],
    [writeStrings([good, new Uint8Array(30_000)]), "has not proved its ssh-ed25519 key"],
    [writeStrings([good, other]).slice(0, -1), "Cannot read host keys"],
    [new Uint8Array([255, 255, 255, 255]), "Cannot read host keys"],
  ];
  await withFile(line(first) + line(ecdsa), async (file) => {
    for (const [answer, why] of answers) {
      const { notices, asked } = await believe(file, told(first, second, third), () => answer);
      assertEquals([asked, notices.length], [1, 1]);
      assert(notices[0]!.includes(why), notices[0]);
      // Nothing is taken away either.
      assertEquals(await read(file), line(first) + line(ecdsa));
    }
    const { notices } = await believe(file, told(first, second, third), (data) => {
      assertEquals(readStrings(data), [second.publicKey.blob, third.publicKey.blob]);
      return writeStrings([good, other]);
    });
    assertEquals(notices, []);
    assertEquals(await read(file), line(first) + line(second) + line(third));
  });
});

Deno.test("an announcement that is none, is too long, or comes twice changes nothing, and what is of no use here is passed over", async () => {
  const blobs = (n: number) => Array.from({ length: n }, (_, i) => new Uint8Array(4).fill(i));
  const bad: [Uint8Array, string][] = [
    [told(first, second, second), "tells one of them twice"],
    [writeStrings([new Uint8Array(0), new Uint8Array(0)]), "tells one of them twice"],
    [writeStrings(blobs(MAX_KEYS + 1)), `more than ${MAX_KEYS}`],
    [told(first).slice(0, -1), "Cannot read host keys"],
    [new Uint8Array([0]), "Cannot read host keys"],
  ];
  await withFile(line(first) + line(second), async (file) => {
    for (const [announced, why] of bad) {
      const { notices, asked } = await believe(file, announced, () => false);
      assertEquals([asked, notices.length], [0, 1]);
      assert(notices[0]!.includes(why), notices[0]);
    }
    // Keys of types that are not known or not wanted, and no keys at all.
    const strange = [...blobs(3), new TextEncoder().encode("\0\0\0\x0assh-future"), ecdsa.publicKey.blob];
    const wanted = writeStrings([...strange, first.publicKey.blob, second.publicKey.blob, third.publicKey.blob]);
    const { notices } = await believe(file, wanted, async () => writeStrings([await prove(third)]), {
      algorithms: ["ssh-ed25519"],
    });
    assertEquals([notices, await read(file)], [[], line(first) + line(second) + line(third)]);
    // What is announced is not taken away, though it is not wanted; the key in use never is.
    await Deno.writeTextFile(file, line(first) + line(ecdsa) + line(third));
    await believe(file, told(ecdsa, second), async () => writeStrings([await prove(second)]), {
      algorithms: ["ssh-ed25519"],
    });
    assertEquals(await read(file), line(first) + line(ecdsa) + line(second));
    // Twice.
    const { client, server, transports } = joinedMuxes();
    const asked: string[] = [];
    const { settle } = learnHostKeys(client, {
      ...{ info, algorithms: ["ssh-ed25519"], insecureMinRsaBits: undefined, ask: () => false, unasked: false },
      trustedBy: { name: NAME, files: [file], globalFiles: [], areUsersOwn: false, hash: undefined },
      revocations: [],
      notice: (text) => asked.push(text),
    });
    assertEquals(await server.globalRequest("hostkeys-00@openssh.com", told(first)), new Uint8Array(0));
    assertEquals(await server.globalRequest("hostkeys-00@openssh.com", told(first)), null);
    // The file is being read still.
    await settle();
    transports.client.finish(null);
    assertEquals(asked, []);
  });
});

Deno.test("a server that never proves its keys keeps nobody, and what comes after the end is not written", async () => {
  await withFile(line(first), async (file) => {
    const options = (ask: () => Promise<boolean> | boolean): LearnOptions => ({
      ...{ info, algorithms: ["ssh-ed25519"], insecureMinRsaBits: undefined, ask, unasked: false },
      trustedBy: { name: NAME, files: [file], globalFiles: [], areUsersOwn: false, hash: undefined },
      revocations: [],
      notice: (text) => notices.push(text),
    });
    const notices: string[] = [];
    for (const late of ["proof", "answer"]) {
      const { client, server, transports } = joinedMuxes();
      const asked = Promise.withResolvers<void>(), never = Promise.withResolvers<boolean>();
      server.onRequest("hostkeys-prove-00@openssh.com", async () => {
        if (late === "answer") return writeStrings([await prove(second)]);
        asked.resolve();
        return await never.promise;
      });
      const { settle, written } = learnHostKeys(client, options(() => (asked.resolve(), never.promise)));
      server.notify("hostkeys-00@openssh.com", told(first, second));
      await inTime(asked.promise, "nobody was asked");
      // A close gives the server a moment, and no more.
      {
        using time = new FakeTime();
        const settled = settle();
        time.tick(500);
        await inTime(settled, "the close waits");
      }
      transports.client.finish(null);
      await inTime(written(), "the end waits");
      never.resolve(true);
      await written();
    }
    assertEquals([await read(file), notices], [line(first), []]);
  });
});

Deno.test("readStrings() gives the strings of any bytes, or refuses them", () => {
  let read = 0;
  for (let seed = 0; seed < 2000; seed++) {
    const bytes = seed % 2 === 0 ? fuzzBytes(seed) : mutate(told(first, ecdsa), seed);
    try {
      assertEquals(writeStrings(readStrings(bytes)), bytes);
      read++;
    } catch (error) {
      assert(error instanceof SshError && error.code === "KEY_FORMAT", String(error));
    }
  }
  assert(read > 20 && read < 1900, `${read}`);
});

// ------------------------------------------------------------------------------------------- clients that lie

Deno.test("a server proves its own keys, each once in a request and a few times in all, and nothing else", async () => {
  const { client, server, transports } = joinedMuxes();
  const errors: unknown[] = [];
  let announced: Uint8Array | null = null;
  client.onRequest("hostkeys-00@openssh.com", (data, wantReply) => {
    assertEquals(wantReply, false);
    announced = data;
    return true;
  });
  announceHostKeys(server, {
    hostKeys: [first, second, rsa],
    info: { ...info, hostKeyAlgorithm: "rsa-sha2-256" },
    onError: (error) => errors.push(error),
  });
  const ask = (data: Uint8Array) => client.globalRequest("hostkeys-prove-00@openssh.com", data);
  const answer = await ask(told(rsa, first));
  assertEquals(announced, told(first, second, rsa));
  const [byRsa, byFirst] = readStrings(answer!);
  // An RSA key signs with what the two have agreed on.
  assertEquals(readStrings(byRsa!)[0], new TextEncoder().encode("rsa-sha2-256"));
  assertEquals(proofAlgorithm("ssh-rsa", rsa.algorithms, "rsa-sha2-256-cert-v01@openssh.com"), "rsa-sha2-256");
  assert(await rsa.publicKey.verify(proofOf(info.sessionId, rsa.publicKey.blob), byRsa!));
  assert(await first.publicKey.verify(proofOf(info.sessionId, first.publicKey.blob), byFirst!));
  assertEquals(await ask(told(third)), null);
  assertEquals(await ask(told(first, first)), null);
  assertEquals(await ask(told(first).slice(1)), null);
  // That were four.
  for (let i = 4; i < 32; i++) assertEquals(await ask(told(third, second)), null);
  assertEquals(await ask(told(first)), null);
  assertEquals(errors, []);
  transports.client.finish(null);
});

Deno.test("a host key that cannot sign is the server's own error, and its client is refused the proof", async () => {
  const broken: Signer = {
    publicKey: second.publicKey,
    algorithms: second.algorithms,
    sign: () => Promise.reject(new Error("the token is gone")),
  };
  const errors: unknown[] = [];
  await using joined = await join({ hostKeys: [first, broken], onError: (error) => errors.push(error) });
  await assertRejects(() => joined.client.request("hostkeys-prove-00@openssh.com", told(second)), Error, "refused");
  assertEquals(errors.length, 1);
  assert(String(errors[0]).includes("Cannot sign the proof of it with the host key ssh-ed25519"), String(errors[0]));
});

Deno.test("old Tera Terms, which cannot bear it, are told of no host keys", async () => {
  for (
    const [ident, isTold] of [["TTSSH/2.72 Win32", false], ["TTSSH/2.91 Win32", true], ["OpenSSH_9.2", true]] as const
  ) {
    const { client, server, transports } = joinedMuxes();
    let told = false;
    client.onRequest("hostkeys-00@openssh.com", () => told = true);
    client.onRequest("behind", () => true);
    announceHostKeys(server, {
      hostKeys: [first],
      info: { ...info, remoteIdent: `SSH-2.0-${ident}` },
      onError: () => {},
    });
    await server.globalRequest("behind");
    assertEquals(told, isTold, ident);
    transports.client.finish(null);
  }
});
