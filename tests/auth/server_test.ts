/** serveAuth() against a client under the test's control. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { defaultSignatureAlgorithms, serveAuth, type ServeAuthOptions } from "../../lib/auth/server.ts";
import type { AuthenticatedUser, ServerAuth } from "../../lib/auth/types.ts";
import {
  decodeInfoRequest,
  encodeInfoResponse,
  publicKeySignedData,
  userauthFailure,
} from "../../lib/auth/messages.ts";
import { DisconnectReason, SshError, SshProtocolError } from "../../lib/errors.ts";
import { generateKey, insecureSha1Signer } from "../../lib/keys/private_key.ts";
import type { Signer } from "../../lib/keys/types.ts";
import { decodeExtInfo } from "../../lib/transport/ext_info.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { turns, until } from "../_support/until.ts";
import { FakeTime } from "../_support/fake_time.ts";
import {
  acceptPayload,
  failurePayload,
  fakeInfo,
  fakePair,
  type FakeTransport,
  passwordPayload,
  publicKeyPayload,
  requestPayload,
  scriptedClient,
  ScriptedPeer,
  serviceRequestPayload,
  successPayload,
} from "../_support/fake_pair.ts";

const keyA = await generateKey("ed25519"), keyB = await generateKey("ed25519");
const rsaKey = await generateKey("rsa", { bits: 2048 });
const PROTOCOL_ERROR = 2, NO_SERVICE = 7, NO_MORE = 14;

interface Served {
  peer: ScriptedPeer;
  server: FakeTransport;
  done: Promise<AuthenticatedUser>;
  successes: AuthenticatedUser[];
  errors: unknown[];
}

function serveRaw(
  auth: ServerAuth,
  options: Partial<ServeAuthOptions> = {},
): Omit<Served, "peer"> & { client: FakeTransport } {
  const { client, server } = fakePair(), successes: AuthenticatedUser[] = [], errors: unknown[] = [];
  const done = serveAuth(server, {
    auth,
    failureDelay: 0,
    onSuccess: (user) => void successes.push(user),
    onError: (error) => void errors.push(error),
    ...options,
  });
  done.catch(() => {});
  return { client, server, done, successes, errors };
}

async function serve(auth: ServerAuth, options: Partial<ServeAuthOptions> = {}): Promise<Served> {
  const served = serveRaw(auth, options);
  return { ...served, peer: await scriptedClient(served.client) };
}

async function failure(peer: ScriptedPeer): Promise<{ methods: readonly string[]; partial: boolean }> {
  return userauthFailure.decode(await peer.expect(Msg.USERAUTH_FAILURE));
}

async function sign(
  key: Signer,
  change: {
    sessionId?: Uint8Array;
    user?: string;
    service?: string;
    algorithm?: string;
    blob?: Uint8Array;
    hostKey?: Uint8Array;
  } = {},
  signWith = change.algorithm ?? key.algorithms[0]!,
): Promise<Uint8Array> {
  const data = publicKeySignedData({
    sessionId: change.sessionId ?? fakeInfo.sessionId,
    user: new TextEncoder().encode(change.user ?? "alice"),
    service: change.service ?? "ssh-connection",
    algorithm: change.algorithm ?? key.algorithms[0]!,
    blob: change.blob ?? key.publicKey.blob,
    hostKey: change.hostKey,
  });
  return await key.sign(data, signWith);
}

/** Every handler, each counting its calls. */
function counting(): { auth: Required<ServerAuth>; calls: string[] } {
  const calls: string[] = [];
  return {
    calls,
    auth: {
      none: () => (calls.push("none"), false),
      password: () => (calls.push("password"), false),
      passwordChange: () => (calls.push("passwordChange"), false),
      publicKey: () => (calls.push("publicKey"), true),
      hostBased: () => (calls.push("hostBased"), false),
      keyboardInteractive: async (_, ask) => (calls.push("keyboardInteractive"), await ask([]), false),
    },
  };
}

// Row 65.
Deno.test("serveAuth() closes on any message of the connection protocol before the login", async () => {
  const stages: Record<string, (peer: ScriptedPeer) => Promise<void>> = {
    "after NEWKEYS": () => Promise.resolve(),
    "after SERVICE_ACCEPT": async (peer) => {
      peer.send(serviceRequestPayload());
      await peer.expect(Msg.SERVICE_ACCEPT);
    },
    "after FAILURE": async (peer) => {
      peer.send(serviceRequestPayload(), passwordPayload("alice", "x"));
      await peer.expect(Msg.SERVICE_ACCEPT);
      await peer.expect(Msg.USERAUTH_FAILURE);
    },
    "after PK_OK": async (peer) => {
      peer.send(serviceRequestPayload(), publicKeyPayload("alice", "ssh-ed25519", keyA.publicKey.blob));
      await peer.expect(Msg.SERVICE_ACCEPT);
      await peer.expect(Msg.USERAUTH_PK_OK);
    },
  };
  for (const [stage, reach] of Object.entries(stages)) {
    for (let type = 80; type < 128; type++) {
      const { auth, calls } = counting();
      const { client, successes, done } = serveRaw(auth);
      const peer = new ScriptedPeer(client);
      await reach(peer);
      calls.length = 0;
      const body = new Writer().u8(type).text("session").u32(0).u32(1).u32(1).bytes();
      // What comes behind it is not looked at.
      peer.send(body, passwordPayload("alice", "x"));
      assertEquals(await peer.disconnect(), PROTOCOL_ERROR, `${type} ${stage}`);
      await assertRejects(() => done, SshProtocolError, `Message ${type}`);
      assertEquals([calls, successes], [[], []], `${type} ${stage}`);
    }
  }
});

// Row 66.
Deno.test("serveAuth() closes on messages that only servers send, and on answers to nothing", async () => {
  const messages = [
    successPayload(),
    failurePayload(["password"]),
    new Writer().u8(Msg.USERAUTH_BANNER).text("hi").text("").bytes(),
    new Writer().u8(60).text("ssh-ed25519").string(keyA.publicKey.blob).bytes(),
    encodeInfoResponse(["x"]),
    new Writer().u8(66).bytes(),
    acceptPayload(),
  ];
  for (const message of messages) {
    const { auth, calls } = counting();
    const { peer, server, done, successes } = await serve(auth);
    // By itself: what comes behind it would end the connection, too.
    peer.send(message);
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR, String(message[0]));
    await assertRejects(() => done, SshProtocolError);
    assertEquals([calls, successes, server.authenticated], [[], [], false]);
  }
});

// Row 67.
Deno.test("serveAuth() wants SERVICE_REQUEST first, and for ssh-userauth only", async () => {
  for (
    const [payload, reason] of [
      [passwordPayload("alice", "x"), PROTOCOL_ERROR],
      [serviceRequestPayload("ssh-connection"), NO_SERVICE],
      [serviceRequestPayload("nope"), NO_SERVICE],
      [new Uint8Array([Msg.SERVICE_REQUEST]), PROTOCOL_ERROR],
      [new Uint8Array([Msg.SERVICE_REQUEST, 0, 0, 0, 1, 0x1b]), PROTOCOL_ERROR],
    ] as const
  ) {
    const { auth, calls } = counting();
    const peer = new ScriptedPeer(serveRaw(auth).client);
    peer.send(payload);
    assertEquals(await peer.disconnect(), reason);
    assertEquals(calls, []);
  }
});

Deno.test("serveAuth() answers SERVICE_REQUEST again, as often as it takes requests", async () => {
  const { peer } = await serve({ password: () => true });
  peer.send(serviceRequestPayload());
  await peer.expect(Msg.SERVICE_ACCEPT);
  for (let i = 0; i < 127; i++) peer.send(serviceRequestPayload());
  assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
});

// Row 68, and row 81 after a partial success.
Deno.test("serveAuth() closes when the user or the service changes between requests", async () => {
  for (
    const first of [passwordPayload("alice", "x"), requestPayload("alice", "none"), passwordPayload("alice", "half")]
  ) {
    for (
      const second of [
        passwordPayload("bob", "x"),
        passwordPayload("alice\0", "x"),
        requestPayload("alice", "password", new Writer().bool(false).text("x").bytes(), "ssh-nothing"),
      ]
    ) {
      const asked: string[] = [];
      const { peer, successes } = await serve({
        password: (info, secret) => {
          asked.push(info.username);
          return secret === "half" && { partial: ["keyboard-interactive"] };
        },
        keyboardInteractive: () => true,
      });
      peer.send(first);
      await peer.expect(Msg.USERAUTH_FAILURE);
      peer.send(second, requestPayload("bob", "keyboard-interactive", new Writer().text("").text("").bytes()));
      assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
      assert(!asked.includes("bob"));
      assertEquals(successes, []);
    }
  }
  const { peer } = await serve({ password: () => true });
  peer.send(requestPayload("alice", "none", new Uint8Array(0), "nope"));
  assertEquals(await peer.disconnect(), NO_SERVICE);
});

// Row 69.
Deno.test("serveAuth() disconnects at the sixth failure; the first none is free", async () => {
  let calls = 0;
  const { peer, done } = await serve({ password: () => (calls++, false) });
  peer.send(requestPayload("alice", "none"));
  await peer.expect(Msg.USERAUTH_FAILURE);
  for (let i = 0; i < 40; i++) peer.send(passwordPayload("alice", `wrong ${i}`));
  for (let i = 0; i < 5; i++) await peer.expect(Msg.USERAUTH_FAILURE);
  assertEquals(await peer.next(), null);
  assertEquals(await peer.disconnect(), NO_MORE);
  assertEquals(calls, 6);
  const error = await assertRejects(() => done, SshProtocolError, "Too many authentication failures");
  assertEquals([error.code, error.reason], ["AUTH_FAILED", NO_MORE]);
  // Only the first is.
  const other = await serve({ password: () => false }, { maxAuthTries: 3 });
  for (let i = 0; i < 9; i++) other.peer.send(requestPayload("alice", "none"));
  for (let i = 0; i < 3; i++) await other.peer.expect(Msg.USERAUTH_FAILURE);
  assertEquals(await other.peer.disconnect(), NO_MORE);
});

Deno.test("serveAuth() counts refused keys behind the sixth, and unknown methods, as failures", async () => {
  let refused = 0;
  const { peer } = await serve({ publicKey: () => false }, { maxAuthTries: 3, onRefused: () => refused++ });
  const query = publicKeyPayload("alice", "ssh-ed25519", keyA.publicKey.blob);
  for (let i = 0; i < 6; i++) {
    peer.send(query);
    await peer.expect(Msg.USERAUTH_FAILURE);
  }
  // Each of them is an attempt for those who count the attempts of many connections.
  assertEquals(refused, 6);
  peer.send(query, requestPayload("alice", "gssapi-with-mic"));
  peer.send(passwordPayload("alice", "x"));
  await peer.expect(Msg.USERAUTH_FAILURE);
  await peer.expect(Msg.USERAUTH_FAILURE);
  assertEquals(await peer.disconnect(), NO_MORE);
  assertEquals(refused, 9);
});

Deno.test("serveAuth() lets in a user whose right key comes behind eleven others, and no signature is free", async () => {
  const right = keyA.publicKey.blob.toBase64();
  const auth: ServerAuth = { publicKey: (_, key) => key.blob.toBase64() === right };
  for (const [wrong, lives] of [[11, true], [12, false]] as const) {
    const { peer } = await serve(auth);
    for (let i = 0; i < wrong; i++) peer.send(publicKeyPayload("alice", "ssh-ed25519", keyB.publicKey.blob));
    for (let i = 0; i < 11; i++) await peer.expect(Msg.USERAUTH_FAILURE);
    if (!lives) {
      assertEquals(await peer.disconnect(), NO_MORE);
      continue;
    }
    peer.send(publicKeyPayload("alice", "ssh-ed25519", keyA.publicKey.blob));
    await peer.expect(Msg.USERAUTH_PK_OK);
  }
  // Nor is a question for a method that is not offered.
  const other = await serve({ password: () => true }, { maxAuthTries: 2 });
  for (let i = 0; i < 2; i++) other.peer.send(publicKeyPayload("alice", "ssh-ed25519", keyB.publicKey.blob));
  assertEquals(await other.peer.disconnect(), NO_MORE);
  const signed = await serve({ publicKey: () => false }, { maxAuthTries: 2 });
  const payload = publicKeyPayload("alice", "ssh-ed25519", keyB.publicKey.blob, new Uint8Array(64));
  for (let i = 0; i < 2; i++) signed.peer.send(payload);
  assertEquals(await signed.peer.disconnect(), NO_MORE);
});

Deno.test("serveAuth() takes no algorithm whose name has a byte order mark before it, or is no UTF-8", async () => {
  const { peer } = await serve({ publicKey: () => true });
  const { blob } = keyA.publicKey, name = new TextEncoder().encode("ssh-ed25519");
  for (const before of [[0xef, 0xbb, 0xbf], [0xff], [0]]) {
    const fields = new Writer().bool(false).string(Uint8Array.of(...before, ...name)).string(blob).bytes();
    peer.send(requestPayload("alice", "publickey", fields));
    await peer.expect(Msg.USERAUTH_FAILURE);
  }
});

// OpenSSH PROTOCOL section 1.10.
Deno.test("serveAuth() tells its signature algorithms again behind the first request, where the client takes that", async () => {
  for (const [told, takes] of [["0", true], ["1", false], [null, false]] as const) {
    const served = serveRaw({ password: () => false }, { algorithms: ["ssh-ed25519"] }), { server } = served;
    const peer = await scriptedClient(served.client);
    if (told !== null) server.extensions.set("ext-info-in-auth@openssh.com", new TextEncoder().encode(told));
    peer.send(requestPayload("alice", "none"), requestPayload("alice", "none"));
    if (takes) {
      const extensions = decodeExtInfo(await peer.expect(Msg.EXT_INFO));
      assertEquals([...extensions.keys()], ["server-sig-algs"]);
      assertEquals(new TextDecoder().decode(extensions.get("server-sig-algs")), "ssh-ed25519");
    }
    // Once, and before the first answer.
    await peer.expect(Msg.USERAUTH_FAILURE);
    await peer.expect(Msg.USERAUTH_FAILURE);
  }
});

// Row 70.
Deno.test("serveAuth() takes 128 requests on a connection, whatever comes of them", async () => {
  let calls = 0;
  const queries = await serve({ publicKey: () => (calls++, true) });
  for (let i = 0; i < 128; i++) {
    queries.peer.send(publicKeyPayload("alice", "ssh-ed25519", keyA.publicKey.blob));
    await queries.peer.expect(Msg.USERAUTH_PK_OK);
  }
  queries.peer.send(publicKeyPayload("alice", "ssh-ed25519", keyA.publicKey.blob));
  assertEquals(await queries.peer.disconnect(), NO_MORE);
  assertEquals(calls, 128);

  // A loop of partial successes ends by itself: no method passes twice.
  const loop = await serve({ password: () => ({ partial: ["password"] }) });
  for (let i = 0; i < 20; i++) loop.peer.send(passwordPayload("alice", "x"));
  assertEquals(await failure(loop.peer), { methods: [], partial: true });
  assertEquals(await failure(loop.peer), { methods: [], partial: false });
  assertEquals(await loop.peer.disconnect(), NO_MORE);

  // Nobody gets in behind it, and the program is told why.
  assertEquals(loop.errors.length, 1);
  assertStringIncludes(
    String(loop.errors[0]),
    "partial success of password: it names password, and none that has a handler",
  );
  const misnamed = await serve({ password: () => ({ partial: ["publicKey"] }), publicKey: () => true });
  misnamed.peer.send(passwordPayload("alice", "x"));
  assertEquals(await failure(misnamed.peer), { methods: [], partial: true });
  assertStringIncludes(
    String(misnamed.errors[0]),
    "the names are publickey, password, keyboard-interactive and hostbased",
  );

  const many = await serve({ none: () => false }, { maxAuthTries: 1000 });
  for (let i = 0; i < 128; i++) {
    many.peer.send(requestPayload("alice", "none"));
    await many.peer.expect(Msg.USERAUTH_FAILURE);
  }
  many.peer.send(requestPayload("alice", "none"));
  assertEquals(await many.peer.disconnect(), NO_MORE);
});

// Row 71.
Deno.test("serveAuth() binds the login to the key that signed, not to one that was offered", async () => {
  const asked: string[] = [];
  const isA = keyA.publicKey.blob.toBase64(), isB = keyB.publicKey.blob.toBase64();
  const auth: ServerAuth = {
    publicKey: (_, key) => {
      asked.push(key.blob.toBase64());
      return key.blob.toBase64() === isA;
    },
  };
  const a = keyA.publicKey.blob, b = keyB.publicKey.blob;
  for (
    const [payload, seen] of [
      // B over B: the program is asked about B.
      [publicKeyPayload("alice", "ssh-ed25519", b, await sign(keyB)), [isA, isB]],
      // B's signature under A: the program is not asked again.
      [publicKeyPayload("alice", "ssh-ed25519", a, await sign(keyB, { blob: a })), [isA]],
      [publicKeyPayload("alice", "ssh-ed25519", a, await sign(keyB)), [isA]],
    ] as const
  ) {
    asked.length = 0;
    const { peer, successes } = await serve(auth);
    peer.send(publicKeyPayload("alice", "ssh-ed25519", a));
    const ok = await peer.expect(Msg.USERAUTH_PK_OK);
    assertEquals(ok, new Writer().u8(60).text("ssh-ed25519").string(a).bytes());
    peer.send(payload);
    assertEquals(await failure(peer), { methods: ["publickey"], partial: false });
    assertEquals([asked, successes], [[...seen], []]);
    peer.transport.close();
  }
  // Query B as well, then sign with A: the last key asked about and the user's key are A.
  asked.length = 0;
  const { peer, done } = await serve({ publicKey: (_, key) => (asked.push(key.blob.toBase64()), true) });
  peer.send(publicKeyPayload("alice", "ssh-ed25519", a), publicKeyPayload("alice", "ssh-ed25519", b));
  peer.send(publicKeyPayload("alice", "ssh-ed25519", a, await sign(keyA)));
  const user = await done;
  assertEquals(asked, [isA, isB, isA]);
  assertEquals(user.publicKey?.blob, a);
});

// Row 72.
Deno.test("serveAuth() refuses signatures over anything but this request in this session", async () => {
  const { blob } = rsaKey.publicKey;
  const good = { algorithm: "rsa-sha2-512" };
  const data = publicKeySignedData({
    sessionId: fakeInfo.sessionId,
    user: new TextEncoder().encode("alice"),
    service: "ssh-connection",
    algorithm: "rsa-sha2-512",
    blob,
  });
  // "publickey" begins behind the session id, the number, the user and the service.
  const method = 4 + 32 + 1 + 4 + 5 + 4 + 14 + 4;
  const otherMethod = data.slice();
  otherMethod[method] = "P".charCodeAt(0);
  const notSigned = data.slice();
  notSigned[method + 9] = 0;
  const wrong = [
    await sign(rsaKey, { ...good, sessionId: new Uint8Array(32) }),
    await sign(rsaKey, { ...good, user: "bob" }),
    await sign(rsaKey, { ...good, service: "ssh-userauth" }),
    await sign(rsaKey, { algorithm: "rsa-sha2-256" }, "rsa-sha2-512"),
    await rsaKey.sign(otherMethod, "rsa-sha2-512"),
    await rsaKey.sign(notSigned, "rsa-sha2-512"),
  ];
  let calls = 0;
  const { peer, done } = await serve({ publicKey: () => (calls++, true) }, { maxAuthTries: 100 });
  for (const signature of wrong) {
    peer.send(publicKeyPayload("alice", "rsa-sha2-512", blob, signature));
    assertEquals(await failure(peer), { methods: ["publickey"], partial: false });
  }
  assertEquals(calls, 0);
  peer.send(publicKeyPayload("alice", "rsa-sha2-512", blob, await rsaKey.sign(data, "rsa-sha2-512")));
  assertEquals((await done).publicKey?.type, "ssh-rsa");
});

// Rows 73, 74 and 75.
Deno.test("serveAuth() refuses algorithms, keys and signatures that do not fit, and lives on", async () => {
  const p521 = await generateKey("ecdsa", { bits: 521 }), sha1 = insecureSha1Signer(rsaKey);
  const a = keyA.publicKey.blob, rsa = rsaKey.publicKey.blob;
  const good = await sign(keyA), goodRsa = await sign(rsaKey, { algorithm: "rsa-sha2-512" });
  const hugeModulus = new Uint8Array(16_392 / 8).fill(0xff);
  const huge = new Writer().text("ssh-rsa").string(new Uint8Array([1, 0, 1]))
    .string(new Uint8Array([0, ...hugeModulus])).bytes();
  const nested = new Writer().text("ssh-ed25519-cert-v01@openssh.com").string(a).bytes();
  const relabelled = new Writer().text("rsa-sha2-256").raw(goodRsa.slice(4 + 12)).bytes();
  const query = (algorithm: string, blob: Uint8Array): Uint8Array => publicKeyPayload("alice", algorithm, blob);
  const wrong: Record<string, Uint8Array> = {
    "73 SHA-1": query("ssh-rsa", rsa),
    "73 DSA": query("ssh-dss", rsa),
    "73 unknown, no key at all": query("x", new Uint8Array(0)),
    "73 algorithm is not text": requestPayload(
      "alice",
      "publickey",
      new Writer().bool(false).string(new Uint8Array([0xff])).string(a).bytes(),
    ),
    "73 name is not the key's": query("ecdsa-sha2-nistp256", a),
    "73 RSA name, other key": query("rsa-sha2-512", a),
    "73 nistp521 where only nistp384 is allowed": query("ecdsa-sha2-nistp521", p521.publicKey.blob),
    "73 nistp521 under the name of nistp384": query("ecdsa-sha2-nistp384", p521.publicKey.blob),
    "74 empty blob": query("ssh-ed25519", new Uint8Array(0)),
    "74 cut blob": query("ssh-ed25519", a.slice(0, -1)),
    "74 long blob": query("ssh-ed25519", new Uint8Array([...a, 0])),
    "74 length past the end": query("ssh-ed25519", new Uint8Array([0xff, 0xff, 0xff, 0xff, 1])),
    "74 RSA of 16,392 bits": query("rsa-sha2-512", huge),
    "74 certificate": query("ssh-ed25519-cert-v01@openssh.com", nested),
    "74 certificate's blob under the plain name": query("ssh-ed25519", nested),
    "75 trailing bytes": publicKeyPayload("alice", "ssh-ed25519", a, new Uint8Array([...good, 0])),
    "75 empty": publicKeyPayload("alice", "ssh-ed25519", a, new Uint8Array(0)),
    "75 label is not the algorithm": publicKeyPayload("alice", "rsa-sha2-256", rsa, goodRsa),
    "75 label changed": publicKeyPayload("alice", "rsa-sha2-256", rsa, relabelled),
    "75 SHA-1 label": publicKeyPayload(
      "alice",
      "rsa-sha2-512",
      rsa,
      await sign(sha1, { algorithm: "rsa-sha2-512" }, "ssh-rsa"),
    ),
  };
  let calls = 0;
  const algorithms = defaultSignatureAlgorithms.filter((name) => name !== "ecdsa-sha2-nistp521");
  const { peer, done } = await serve({ publicKey: () => (calls++, true) }, { maxAuthTries: 100, algorithms });
  for (const [name, payload] of Object.entries(wrong)) {
    peer.send(payload);
    assertEquals((await peer.next())?.[0], Msg.USERAUTH_FAILURE, name);
    assertEquals(calls, 0, name);
  }
  peer.send(publicKeyPayload("alice", "ssh-ed25519", a, good));
  assertEquals((await done).method, "publickey");
});

Deno.test("serveAuth() takes SHA-1 signatures only where a program names ssh-rsa", async () => {
  const sha1 = insecureSha1Signer(rsaKey);
  const { peer, done } = await serve({ publicKey: () => true }, { algorithms: ["ssh-rsa"] });
  const signature = await sign(sha1, { algorithm: "ssh-rsa" });
  peer.send(publicKeyPayload("alice", "ssh-rsa", rsaKey.publicKey.blob, signature));
  assertEquals((await done).method, "publickey");
});

// Row 78.
Deno.test("serveAuth() refuses answers that do not fit the questions, and closes on those to none", async () => {
  const start = requestPayload("alice", "keyboard-interactive", new Writer().text("").text("").bytes());
  const auth: ServerAuth = {
    keyboardInteractive: async (_, ask) => {
      // A handler that carries on past the refusal gains nothing by it.
      try {
        await ask([{ text: "A", echo: false }, { text: "B", echo: false }]);
      } catch (error) {
        assert(error instanceof SshError);
        await assertRejects(() => ask([]), SshError);
      }
      return true;
    },
  };
  const response = (count: number, ...answers: Uint8Array[]): Uint8Array => {
    const writer = new Writer().u8(Msg.USERAUTH_INFO_RESPONSE).u32(count);
    for (const answer of answers) writer.string(answer);
    return writer.bytes();
  };
  const x = new Uint8Array([120]);
  for (
    const bad of [
      response(0x1000_0000),
      response(0),
      response(1, x),
      response(3, x, x, x),
      response(2, x, new Uint8Array([0xff])),
    ]
  ) {
    const { peer, successes } = await serve(auth);
    peer.send(start);
    assertEquals(decodeInfoRequest(await peer.expect(Msg.USERAUTH_INFO_REQUEST)).prompts.length, 2);
    peer.send(bad);
    assertEquals(await failure(peer), { methods: ["keyboard-interactive"], partial: false });
    // The questions are gone with it.
    peer.send(response(2, x, x));
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
    assertEquals(successes, []);
  }
  for (const bad of [response(2, x), response(2, x, x, x), new Uint8Array([Msg.USERAUTH_INFO_RESPONSE, 0])]) {
    const { peer } = await serve(auth);
    peer.send(start);
    await peer.expect(Msg.USERAUTH_INFO_REQUEST);
    peer.send(bad);
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
  }
  const { peer } = await serve(auth);
  peer.send(start, response(2, x, x));
  assertEquals(await peer.disconnect(), PROTOCOL_ERROR, "before the question");
});

Deno.test("serveAuth() drops keyboard-interactive when the client goes on to another request", async () => {
  const reasons: unknown[] = [];
  const auth: ServerAuth = {
    keyboardInteractive: async (_, ask) => {
      await ask([{ text: "A", echo: false }]).catch((error) => reasons.push(error));
      return true;
    },
    password: () => false,
  };
  const start = requestPayload("alice", "keyboard-interactive", new Writer().text("").text("").bytes());
  const { peer, errors } = await serve(auth);
  peer.send(start);
  await peer.expect(Msg.USERAUTH_INFO_REQUEST);
  peer.send(passwordPayload("alice", "x"));
  // One answer, to the password.
  await peer.expect(Msg.USERAUTH_FAILURE);
  // Already behind it in the queue: no question is asked at all.
  peer.send(start, passwordPayload("alice", "x"));
  await peer.expect(Msg.USERAUTH_FAILURE);
  assertEquals([reasons.length, errors], [2, []]);
  peer.send(encodeInfoResponse(["x"]));
  assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
  // Requests dropped in this way count, so that they are no way around the limit.
  const other = await serve(auth, { maxAuthTries: 3 });
  for (let i = 0; i < 9; i++) other.peer.send(start);
  assertEquals(await other.peer.disconnect(), NO_MORE);
});

Deno.test("serveAuth() lets no question be asked before the last is answered, or after the handler is done", async () => {
  let late: ((prompts: []) => Promise<readonly string[]>) | undefined, forgotten: Promise<unknown> | undefined;
  const { peer } = await serve({
    keyboardInteractive: async (_, ask) => {
      late = ask;
      const first = ask([{ text: "A", echo: false }]);
      await assertRejects(() => ask([]), TypeError);
      await first;
      forgotten = ask([]);
      return false;
    },
  });
  peer.send(requestPayload("alice", "keyboard-interactive", new Writer().text("").text("").bytes()));
  await peer.expect(Msg.USERAUTH_INFO_REQUEST);
  peer.send(encodeInfoResponse(["x"]));
  await peer.expect(Msg.USERAUTH_INFO_REQUEST);
  await peer.expect(Msg.USERAUTH_FAILURE);
  await assertRejects(() => forgotten!, SshError);
  await assertRejects(() => late!([]), SshError);
  peer.transport.close();
});

// Row 79.
Deno.test("serveAuth() refuses names and passwords that nobody has, and hands on all others as they are", async () => {
  const asked: string[] = [];
  const auth: ServerAuth = { password: (info) => (asked.push(info.username), false), none: () => true };
  const invalid = [
    new TextEncoder().encode("u".repeat(1025)),
    new TextEncoder().encode("al\0ice"),
    new Uint8Array([0x61, 0xff]),
    new Uint8Array(200_000).fill(0x61),
  ];
  for (const user of invalid) {
    const { peer, successes } = await serve(auth);
    peer.send(passwordPayload(user, "x"), requestPayload(user, "none"));
    assertEquals((await failure(peer)).methods, ["password"]);
    await peer.expect(Msg.USERAUTH_FAILURE);
    // The connection lives, and the name was nobody's.
    peer.send(passwordPayload("alice", "x"));
    await peer.expect(Msg.USERAUTH_FAILURE);
    assertEquals([asked.splice(0), successes], [["alice"], []]);
    peer.transport.close();
  }
  for (const user of ["../x", "u".repeat(1024), "", "e\u0301", "\u00e9", "al ice\n"]) {
    const { peer } = await serve(auth);
    peer.send(passwordPayload(user, "x"));
    await peer.expect(Msg.USERAUTH_FAILURE);
    assertEquals(asked.splice(0), [user]);
    peer.transport.close();
  }
  const { peer } = await serve({ password: () => (asked.push("password"), true) }, { maxAuthTries: 100 });
  const password = (secret: Uint8Array): Uint8Array =>
    requestPayload("alice", "password", new Writer().bool(false).string(secret).bytes());
  peer.send(password(new Uint8Array(250_000).fill(0x61)), password(new Uint8Array([0xff])));
  // Row 85 in passing: fields of a method that is not known are not parsed.
  peer.send(requestPayload("alice", "m".repeat(65_536)), requestPayload("alice", "toString"));
  peer.send(requestPayload("alice", "gssapi-with-mic", new Writer().u32(0xffff_ffff).bytes()));
  for (let i = 0; i < 5; i++) assertEquals(await failure(peer), { methods: ["password"], partial: false });
  assertEquals(asked, []);
  peer.transport.close();
});

// Row 80.
Deno.test("serveAuth() takes as long to refuse an unknown user as a known one, and a wrong key as a wrong password", async () => {
  using time = new FakeTime();
  const spend = (milliseconds: number): false => {
    time.tick(milliseconds);
    return false;
  };
  const auth: ServerAuth = {
    password: (info) => info.username === "known" && spend(2),
    publicKey: (info) => info.username === "known" && spend(3),
  };
  /** Milliseconds that a refusal takes, in which nothing passes but what handlers spend and the server waits. */
  const spent = async (payload: Uint8Array): Promise<number> => {
    const { peer } = await serve(auth, { failureDelay: 5, maxAuthTries: 1000 });
    const times: number[] = [];
    for (let i = 0; i < 3; i++) {
      const from = time.now();
      peer.send(payload);
      await until(() => time.pending > 0, "The refusal does not wait");
      time.next();
      await peer.expect(Msg.USERAUTH_FAILURE);
      times.push(time.now() - from);
    }
    peer.transport.close();
    assert(Math.max(...times) - Math.min(...times) < 0.001, String(times));
    return times[0]!;
  };
  const key = keyA.publicKey.blob;
  const known = [
    await spent(passwordPayload("known", "x")),
    await spent(publicKeyPayload("known", "ssh-ed25519", key)),
  ];
  const unknown = [
    await spent(passwordPayload("unknown", "x")),
    await spent(publicKeyPayload("unknown", "ssh-ed25519", key)),
    await spent(requestPayload("unknown", "nope")),
  ];
  // What belongs to the user tells nothing about him: it is up to 4 ms, and the same whatever was asked.
  for (const times of [known, unknown]) {
    for (const time of times) assert(Math.abs(time - times[0]!) < 0.001, String(times));
    assert(times[0]! >= 5 && times[0]! < 9, String(times));
  }
});

// Row 82.
Deno.test("serveAuth() refuses where a handler throws, rejects or returns nonsense, and tells the program alone", async () => {
  const results: (() => unknown)[] = [
    () => {
      throw new Error("database at 10.0.0.1 is down");
    },
    () => Promise.reject("no"),
    () => undefined,
    () => 1,
    () => "true",
    () => ({}),
    () => ({ partial: "publickey" }),
    () => ({ partial: null }),
    () => ({ change: 1 }),
    () => ({ change: "Expired" }),
    () => null,
  ];
  for (const result of results) {
    const { peer, errors, successes } = await serve({ password: result as ServerAuth["password"] & object });
    peer.send(passwordPayload("alice", "hunter2"));
    assertEquals(await failure(peer), { methods: ["password"], partial: false });
    // Nothing is a refusal; `change` is a question, which a server without `passwordChange` cannot ask.
    const silent = [results[2], results[8], results[9], results[10]].includes(result);
    assertEquals(errors.length, silent ? 0 : 1, String(result));
    assertEquals(successes, []);
    peer.transport.close();
  }
});

// Row 82.
Deno.test("serveAuth() ignores what handlers say after the end", async () => {
  for (const outcome of [true, new Error("late")]) {
    const gate = Promise.withResolvers<boolean>();
    const { peer, server, done, successes, errors } = await serve({ password: () => gate.promise });
    peer.send(passwordPayload("alice", "x"), passwordPayload("alice", "y"));
    await turns(1);
    peer.transport.fail(new SshError("gone", { code: "CONNECTION_LOST" }));
    await assertRejects(() => done, SshError, "Connection lost");
    const sent = server.sent.length;
    if (outcome === true) gate.resolve(true);
    else gate.reject(outcome);
    await turns(1);
    assertEquals([server.sent.length, successes, errors, server.authenticated], [sent, [], [], false]);
  }
});

// Row 83.
Deno.test("serveAuth() handles pipelined requests strictly one at a time and in order", async () => {
  let running = 0;
  const seen: string[] = [];
  const { peer, done } = await serve({
    password: async (_, secret) => {
      assertEquals(++running, 1);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running--;
      seen.push(secret);
      return secret === "19";
    },
  }, { maxAuthTries: 100 });
  for (let i = 0; i < 25; i++) peer.send(passwordPayload("alice", String(i)));
  for (let i = 0; i < 19; i++) await peer.expect(Msg.USERAUTH_FAILURE);
  await peer.expect(Msg.USERAUTH_SUCCESS);
  assertEquals((await done).name, "alice");
  assertEquals(seen, Array.from({ length: 20 }, (_, i) => String(i)));
  await turns();
  // Row 84: those behind the success are ignored.
  assertEquals([seen.length, peer.received.length, peer.transport.end], [20, 21, undefined]);
  peer.transport.close();
});

// Row 83.
Deno.test("serveAuth() keeps 64 requests and a mebibyte waiting, and closes at more", async () => {
  for (const payload of [passwordPayload("alice", "x"), passwordPayload("alice", "x".repeat(250_000))]) {
    let calls = 0;
    const { peer } = await serve({ password: () => (calls++, new Promise<boolean>(() => {})) });
    peer.send(passwordPayload("alice", "x"));
    await turns(1);
    const most = payload.length < 1000 ? 64 : 4;
    for (let i = 0; i < most; i++) peer.send(payload);
    await turns(1);
    assertEquals([calls, peer.transport.end], [1, undefined]);
    peer.send(payload);
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
    assertEquals(calls, 1);
  }
});

Deno.test("serveAuth() sends USERAUTH_SUCCESS, marks the transport and calls onSuccess in one turn", async () => {
  const order: string[] = [];
  const { client, server } = fakePair();
  const messages: number[] = [];
  const done = serveAuth(server, {
    auth: { password: () => true },
    onSuccess: (user) => {
      order.push(user.name, String(server.authenticated), String(server.sent.at(-1)![0]));
      server.setHandler({ message: (payload) => (messages.push(payload[0]!), true), ended: () => {} });
    },
  });
  const peer = await scriptedClient(client);
  peer.send(passwordPayload("alice", "x"));
  await peer.expect(Msg.USERAUTH_SUCCESS);
  peer.send(passwordPayload("alice", "y"), new Writer().u8(Msg.CHANNEL_OPEN).bytes());
  assertEquals((await done).method, "password");
  await turns(1);
  assertEquals(order, ["alice", "true", "52"]);
  assertEquals(messages, [50, 90]);
  client.close();
});

Deno.test("serveAuth() ends the connection when onSuccess throws", async () => {
  const { peer, server, done } = await serve({ password: () => true }, {
    onSuccess: () => {
      throw new Error("no room");
    },
  });
  peer.send(passwordPayload("alice", "x"));
  await assertRejects(() => done, Error, "no room");
  assertEquals(server.failure?.message, "no room");
});

Deno.test("serveAuth() offers the methods that have handlers, and after a partial success those named", async () => {
  const refuse = (): false => false;
  for (
    const [auth, methods] of [
      [{}, []],
      [{ none: refuse }, []],
      [{ passwordChange: refuse }, []],
      [{ password: refuse }, ["password"]],
      [{ keyboardInteractive: refuse, publicKey: refuse, password: refuse }, [
        "publickey",
        "password",
        "keyboard-interactive",
      ]],
    ] as const
  ) {
    const { peer } = await serve(auth);
    peer.send(requestPayload("alice", "none"), passwordPayload("alice", "x"));
    assertEquals(await failure(peer), { methods: [...methods], partial: false });
    assertEquals(await failure(peer), { methods: [...methods], partial: false });
    peer.transport.close();
  }
  // What follows needs a handler, is not named twice, and none is out.
  const calls: string[] = [];
  const { peer } = await serve({
    none: () => (calls.push("none"), { partial: ["publickey", "hostbased", "none"] }),
    password: () => (calls.push("password"), true),
    publicKey: refuse,
  });
  peer.send(requestPayload("alice", "none"), requestPayload("alice", "none"), passwordPayload("alice", "x"));
  assertEquals(await failure(peer), { methods: ["publickey"], partial: true });
  assertEquals(await failure(peer), { methods: ["publickey"], partial: false });
  assertEquals(await failure(peer), { methods: ["publickey"], partial: false });
  assertEquals(calls, ["none"]);
  peer.transport.close();
});

Deno.test("serveAuth() closes on requests that are cut short or too long", async () => {
  const text = (...names: string[]): Uint8Array => names.reduce((w, name) => w.text(name), new Writer()).bytes();
  const payloads = [
    new Uint8Array([Msg.USERAUTH_REQUEST]),
    new Writer().u8(Msg.USERAUTH_REQUEST).u32(0xffff_ffff).bytes(),
    requestPayload("alice", "none", new Uint8Array([0])),
    requestPayload("alice", "password"),
    requestPayload("alice", "password", new Uint8Array([0, 0, 0, 0, 9])),
    requestPayload("alice", "password", new Uint8Array([0, 0, 0, 0, 0, 0])),
    requestPayload("alice", "password", new Uint8Array([1, 0, 0, 0, 0])),
    requestPayload("alice", "publickey", new Uint8Array([0])),
    requestPayload("alice", "publickey", new Uint8Array([1, ...text("ssh-ed25519", "blob")])),
    requestPayload("alice", "publickey", new Uint8Array([0, ...text("ssh-ed25519", "blob", "more")])),
    requestPayload("alice", "keyboard-interactive", text("")),
    requestPayload("alice", "keyboard-interactive", text("", "", "")),
  ];
  for (const payload of payloads) {
    const { auth, calls } = counting();
    const { peer } = await serve(auth);
    peer.send(payload);
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
    assertEquals(calls, []);
  }
});

Deno.test("serveAuth() leaves messages that it does not know to the transport", async () => {
  const { peer, server } = await serve({ password: () => true });
  peer.send(new Uint8Array([54]), new Uint8Array([59]));
  peer.send(passwordPayload("alice", "x"));
  await peer.expect(Msg.USERAUTH_SUCCESS);
  assertEquals(server.unknown, [54, 59]);
  peer.transport.close();
});

Deno.test("serveAuth() ends the connection when its signal aborts, wherever it waits", async () => {
  const never = (): Promise<boolean> => new Promise(() => {});
  const waits: Record<string, { auth: ServerAuth; payload: Uint8Array | null; delay?: number }> = {
    "for a request": { auth: {}, payload: null },
    "for a handler": { auth: { password: never }, payload: passwordPayload("alice", "x") },
    "for an answer": {
      auth: { keyboardInteractive: async (_, ask) => (await ask([{ text: "A", echo: true }])).length > 0 },
      payload: requestPayload("alice", "keyboard-interactive", new Writer().text("").text("").bytes()),
    },
    "before a refusal": { auth: { password: () => false }, payload: passwordPayload("alice", "x"), delay: 4000 },
    "before the last refusal": { auth: { password: () => false }, payload: passwordPayload("alice", "x"), delay: 4000 },
  };
  for (const [where, { auth, payload, delay = 0 }] of Object.entries(waits)) {
    for (const how of ["abort", "fail", "close"] as const) {
      const controller = new AbortController();
      const { peer, server, done, errors } = await serve(auth, {
        signal: controller.signal,
        failureDelay: delay,
        maxAuthTries: where === "before the last refusal" ? 1 : 6,
      });
      if (payload !== null) peer.send(payload);
      await turns(2);
      if (how === "abort") {
        controller.abort(new SshProtocolError("Login grace time is over", DisconnectReason.BY_APPLICATION));
      } else if (how === "fail") server.fail(new SshError("Broken", { code: "CONNECTION_LOST" }));
      else peer.transport.close();
      const message =
        { abort: "Login grace time is over", fail: "Broken", close: "Connection closed before the login" }[how];
      await assertRejects(() => done, SshError, message, where);
      assert(server.end !== undefined, where);
      assertEquals(errors, []);
      // Aborting again, and ending, does nothing more.
      controller.abort();
      peer.transport.close();
    }
  }
});

Deno.test("serveAuth() ends at once with a signal that is aborted already", async () => {
  const { client, done } = serveRaw({}, { signal: AbortSignal.abort("stop") });
  const error = await assertRejects(() => done, SshError, "Login aborted");
  assertEquals(error.cause, "stop");
  const peer = new ScriptedPeer(client);
  assertEquals(await peer.disconnect(), DisconnectReason.BY_APPLICATION);
});

Deno.test("serveAuth() refuses limits that are none", () => {
  for (const options of [{ maxAuthTries: 0 }, { maxAuthTries: NaN }, { failureDelay: -1 }, { failureDelay: NaN }]) {
    assertThrows(() => serveRaw({}, options), RangeError);
  }
});

Deno.test("serveAuth() lets go of its signal at the login, and at every other end", async () => {
  const counted = countedSignal(), { signal } = counted;
  for (const how of ["login", "failure", "lost", "closed", "breach"] as const) {
    const { peer, done } = await serve({ password: (_, secret) => secret === "right" }, { signal, maxAuthTries: 1 });
    assertEquals(counted.listeners, 1);
    if (how === "login" || how === "failure") peer.send(passwordPayload("alice", how === "login" ? "right" : "wrong"));
    else if (how === "lost") peer.transport.fail(new SshError("gone", { code: "CONNECTION_LOST" }));
    else if (how === "closed") peer.transport.close();
    else peer.send(new Uint8Array([Msg.CHANNEL_OPEN]));
    if (how === "login") await done;
    else await assertRejects(() => done, SshError);
    assertEquals(counted.listeners, 0, how);
    peer.transport.close();
  }
  assertEquals(counted.added, 5);
});

Deno.test("serveAuth() counts the whole of the requests that wait: user names, methods and services too", async () => {
  const long = "x".repeat(250_000);
  const payloads = [
    passwordPayload(long, "x"),
    requestPayload("alice", long),
    requestPayload("alice", "password", new TextEncoder().encode(long)),
  ];
  for (const payload of payloads) {
    const { peer } = await serve({ password: () => new Promise<boolean>(() => {}) });
    // Names that nobody can have bind no user, so that the long ones may follow.
    peer.send(payload === payloads[0] ? passwordPayload(new Uint8Array([0xff]), "x") : passwordPayload("alice", "x"));
    let sent = 0;
    for (; sent < 64 && peer.transport.end === undefined; sent++) {
      peer.send(payload);
      // One that nobody can have is refused in its turn, after its delay.
      await Promise.resolve();
    }
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
    assert(sent <= 6, `${sent}`);
  }
});

Deno.test("serveAuth() tells handlers and onSuccess of all methods that were passed, in order", async () => {
  const seen: (readonly string[])[] = [];
  const { peer, done } = await serve({
    password: ({ passed }) => (seen.push(passed), { partial: ["keyboard-interactive"] }),
    keyboardInteractive: ({ passed }) => (seen.push(passed), true),
  }, { onSuccess: (_user, passed) => void seen.push(passed) });
  peer.send(passwordPayload("alice", "x"));
  await peer.expect(Msg.USERAUTH_FAILURE);
  peer.send(requestPayload("alice", "keyboard-interactive", new Writer().text("").text("").bytes()));
  await peer.expect(Msg.USERAUTH_SUCCESS);
  assertEquals((await done).method, "keyboard-interactive");
  assertEquals(seen, [[], ["password"], ["password", "keyboard-interactive"]]);
  peer.transport.close();
});

Deno.test("serveAuth() refuses where onError throws or rejects as well, and the login goes on", async () => {
  for (
    const fails of [() => Promise.reject(new Error("mine")), () => {
      throw new Error("mine");
    }]
  ) {
    let told = 0, calls = 0;
    const { peer, done } = await serve({
      password: () => ++calls < 3 ? fails() : true,
    }, { onError: () => (told++, fails() as unknown as void) });
    for (let n = 0; n < 2; n++) {
      peer.send(passwordPayload("alice", "x"));
      await peer.expect(Msg.USERAUTH_FAILURE);
    }
    peer.send(passwordPayload("alice", "x"));
    await peer.expect(Msg.USERAUTH_SUCCESS);
    assertEquals([(await done).name, told], ["alice", 2]);
    peer.transport.close();
  }
});

// OpenSSH PROTOCOL section 3.1.
Deno.test("serveAuth() takes a login that names its host key, and refuses one that names another or signs for another", async () => {
  const named = (fields: Writer) => requestPayload("alice", "publickey-hostbound-v00@openssh.com", fields.bytes());
  const blob = keyA.publicKey.blob, ours = fakeInfo.hostKey.blob, other = keyB.publicKey.blob;
  const fields = (signed: boolean, hostKey: Uint8Array) =>
    new Writer().bool(signed).text("ssh-ed25519").string(blob).string(hostKey);
  const plain = await sign(keyA), bound = await sign(keyA, { hostKey: ours });
  const elsewhere = await sign(keyA, { hostKey: other });
  const refused: [string, Uint8Array][] = [
    ["a question that names another host key", named(fields(false, other))],
    ["a signature for another host key", named(fields(true, other).string(elsewhere))],
    ["the same with our host key beside it", named(fields(true, ours).string(elsewhere))],
    ["a signature without a host key", named(fields(true, ours).string(plain))],
    ["a signature with one, as the plain method", publicKeyPayload("alice", "ssh-ed25519", blob, bound)],
  ];
  const { auth, calls } = counting();
  const { peer, done } = await serve(auth, { maxAuthTries: 20 });
  peer.send(serviceRequestPayload());
  await peer.expect(Msg.SERVICE_ACCEPT);
  for (const [what, payload] of refused) {
    peer.send(payload);
    assertEquals((await failure(peer)).methods.includes("publickey"), true, what);
  }
  assertEquals(calls, []);
  peer.send(named(fields(false, ours)));
  await peer.expect(Msg.USERAUTH_PK_OK);
  peer.send(named(fields(true, ours).string(bound)));
  await peer.expect(Msg.USERAUTH_SUCCESS);
  assertEquals((await done).method, "publickey");
  assertEquals(calls, ["publicKey", "publicKey"]);
});

Deno.test("serveAuth() has the login that names a host key only where it has publickey, and closes on one that is cut", async () => {
  const method = "publickey-hostbound-v00@openssh.com", blob = keyA.publicKey.blob;
  const { peer } = await serve({ password: () => false });
  peer.send(serviceRequestPayload());
  await peer.expect(Msg.SERVICE_ACCEPT);
  const whole = new Writer().bool(false).text("ssh-ed25519").string(blob).string(fakeInfo.hostKey.blob).bytes();
  peer.send(requestPayload("alice", method, whole));
  assertEquals((await failure(peer)).methods, ["password"]);
  const other = await serve({ publicKey: () => true });
  other.peer.send(serviceRequestPayload(), requestPayload("alice", method, whole.subarray(0, -1)));
  await other.peer.expect(Msg.SERVICE_ACCEPT);
  assertEquals(await other.peer.disconnect(), PROTOCOL_ERROR);
  await assertRejects(() => other.done, SshProtocolError);
});
