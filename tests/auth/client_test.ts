/** ClientAuth and authenticate() against a server under the test's control. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type AttemptOptions, type AttemptResult, authenticate, ClientAuth } from "../../lib/auth/client.ts";
import { decodeInfoResponse, encodeInfoRequest, userauthRequest } from "../../lib/auth/messages.ts";
import { type AuthMethod, keyboardInteractive, none, password, publicKey } from "../../lib/auth/methods.ts";
import { DisconnectReason, SshAuthError, SshError, SshProtocolError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { Agent, Signer } from "../../lib/keys/types.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import {
  acceptPayload,
  failurePayload,
  fakePair,
  type FakeTransport,
  passwordPayload,
  requestPayload,
  ScriptedPeer,
  serviceRequestPayload,
  successPayload,
} from "../_support/fake_pair.ts";

const alice = await generateKey("ed25519"), other = await generateKey("ed25519");
const rsaKey = await generateKey("rsa", { bits: 2048 });
const PROTOCOL_ERROR = 2;

interface Started {
  client: FakeTransport;
  peer: ScriptedPeer;
  auth: ClientAuth;
  banners: string[];
  /** For each call of onSuccess, whether the transport was marked before. */
  successes: boolean[];
}

function start(): Started {
  const { client, server } = fakePair(), banners: string[] = [], successes: boolean[] = [];
  const auth = new ClientAuth(client, {
    onBanner: (text) => void banners.push(text),
    onSuccess: () => void successes.push(client.authenticated),
  });
  return { client, peer: new ScriptedPeer(server), auth, banners, successes };
}

/** Starts an attempt and answers the service request. */
async function attempting(
  method: AuthMethod,
  options: AttemptOptions = {},
  started = start(),
): Promise<Started & { result: Promise<AttemptResult> }> {
  const result = started.auth.attempt("alice", method, options);
  result.catch(() => {});
  await started.peer.expect(Msg.SERVICE_REQUEST);
  started.peer.send(acceptPayload());
  return { ...started, result };
}

function pkOk(algorithm: string, blob: Uint8Array): Uint8Array {
  return new Writer().u8(Msg.USERAUTH_PK_OK).text(algorithm).string(blob).bytes();
}

function banner(text: string): Uint8Array {
  return new Writer().u8(Msg.USERAUTH_BANNER).text(text).text("").bytes();
}

function question(count = 1): Uint8Array {
  return encodeInfoRequest({
    name: "",
    instruction: "",
    prompts: Array.from({ length: count }, () => ({ text: "?", echo: false })),
  });
}

function pause(milliseconds = 0): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

Deno.test("ClientAuth asks for the service once, before the first attempt", async () => {
  const { client, peer, auth, successes } = start();
  await pause();
  assertEquals(client.sent.length, 0);
  const first = auth.attempt("alice", none());
  assertEquals(await peer.next(), serviceRequestPayload());
  await pause();
  assertEquals(peer.received.length, 1);
  peer.send(acceptPayload());
  assertEquals(await peer.next(), requestPayload("alice", "none"));
  peer.send(failurePayload(["password", "publickey"]));
  assertEquals(await first, { success: false, partial: false, remaining: ["password", "publickey"], notes: [] });
  const second = auth.attempt("alice", password("x"));
  assertEquals(await peer.next(), passwordPayload("alice", "x"));
  peer.send(successPayload());
  assertEquals(await second, { success: true, partial: false, remaining: [], notes: [] });
  assertEquals(successes, [true]);
  await assertRejects(() => auth.attempt("alice", none()), TypeError, "logged in");
  client.close();
});

Deno.test("ClientAuth lets its first request follow at once where the server has told its extensions", async () => {
  const { client, peer, auth } = start();
  client.told = Promise.resolve();
  const first = auth.attempt("alice", publicKey(alice));
  assertEquals(await peer.next(), serviceRequestPayload());
  const { method, fields } = userauthRequest.decode((await peer.next())!);
  assertEquals([new TextDecoder().decode(method), fields[0]], ["publickey", 1]);
  peer.send(acceptPayload(), failurePayload(["password"]));
  assertEquals((await first).remaining, ["password"]);
  client.close();
  // An answer that comes before SERVICE_ACCEPT is none.
  for (const answer of [successPayload(), failurePayload(["password"])]) {
    const early = start();
    early.client.told = Promise.resolve();
    const result = early.auth.attempt("alice", none());
    result.catch(() => {});
    await early.peer.expect(Msg.SERVICE_REQUEST);
    await early.peer.expect(Msg.USERAUTH_REQUEST);
    early.peer.send(answer);
    assertEquals(await early.peer.disconnect(), PROTOCOL_ERROR);
    await assertRejects(() => result, SshProtocolError, "nothing asked for it");
    assertEquals(early.successes, []);
  }
});

Deno.test("ClientAuth takes a SERVICE_ACCEPT without a name, as old servers send it, and none for another service", async () => {
  for (
    const [payload, fine] of [
      [new Uint8Array([Msg.SERVICE_ACCEPT]), true],
      [new Writer().u8(Msg.SERVICE_ACCEPT).text("ssh-connection").bytes(), false],
      [new Uint8Array([Msg.SERVICE_ACCEPT, 0]), false],
    ] as const
  ) {
    const { client, peer, auth } = start();
    const result = auth.attempt("alice", none());
    result.catch(() => {});
    await peer.expect(Msg.SERVICE_REQUEST);
    peer.send(payload);
    if (fine) await peer.expect(Msg.USERAUTH_REQUEST);
    else assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
    client.close();
    await assertRejects(() => result, SshError);
  }
});

Deno.test("ClientAuth calls onSuccess while it handles USERAUTH_SUCCESS, before what comes behind", async () => {
  const { client, server } = fakePair(), seen: (string | number)[] = [];
  const auth = new ClientAuth(client, {
    onSuccess: () => {
      seen.push("success");
      client.setHandler({ message: (payload) => (seen.push(payload[0]!), true), ended: () => {} });
    },
  });
  const peer = new ScriptedPeer(server);
  const result = auth.attempt("alice", none());
  await peer.expect(Msg.SERVICE_REQUEST);
  peer.send(acceptPayload());
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(successPayload(), new Uint8Array([80]), new Uint8Array([98]));
  assert((await result).success);
  assertEquals(seen, ["success", 80, 98]);
  client.close();
});

Deno.test("ClientAuth ends the connection when onSuccess throws", async () => {
  const { client, server } = fakePair();
  const auth = new ClientAuth(client, {
    onSuccess: () => {
      throw new Error("no room");
    },
  });
  const { result, peer } = await attempting(none(), {}, {
    client,
    auth,
    peer: new ScriptedPeer(server),
    banners: [],
    successes: [],
  });
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(successPayload());
  await assertRejects(() => result, Error, "no room");
  assertEquals(client.failure?.message, "no room");
});

Deno.test("attempt() runs alone, and wants a method that this module made", async () => {
  const { client, result, auth } = await attempting(none());
  await assertRejects(() => auth.attempt("alice", none()), TypeError, "another one is running");
  await assertRejects(() => auth.attempt("alice", { name: "none" }), TypeError, "make it with none()");
  client.close();
  await assertRejects(() => result, SshError, "Connection closed before the login");
  await assertRejects(() => auth.attempt("alice", none()), SshError, "Connection closed before the login");
});

// Row 86.
Deno.test("ClientAuth closes on a USERAUTH_SUCCESS, FAILURE or message 60 that answers nothing", async () => {
  const messages = [successPayload(), failurePayload(["password"]), question()];
  for (const message of messages) {
    // Before any attempt.
    const early = start();
    early.peer.send(message);
    assertEquals(await early.peer.disconnect(), PROTOCOL_ERROR);
    await assertRejects(() => early.auth.attempt("alice", none()), SshProtocolError);
    // Before SERVICE_ACCEPT.
    const started = start();
    const result = started.auth.attempt("alice", none());
    result.catch(() => {});
    await started.peer.expect(Msg.SERVICE_REQUEST);
    started.peer.send(message);
    assertEquals(await started.peer.disconnect(), PROTOCOL_ERROR);
    await assertRejects(() => result, SshProtocolError);
    // Before any request.
    const secret = Promise.withResolvers<string>();
    const waiting = await attempting(password(() => secret.promise));
    waiting.peer.send(message);
    assertEquals(await waiting.peer.disconnect(), PROTOCOL_ERROR);
    await assertRejects(() => waiting.result, SshProtocolError);
    secret.resolve("hunter2");
    await pause();
    // Between a question and its answer.
    const answers = Promise.withResolvers<string[]>();
    const asked = await attempting(keyboardInteractive(() => answers.promise));
    await asked.peer.expect(Msg.USERAUTH_REQUEST);
    asked.peer.send(question(), message);
    assertEquals(await asked.peer.disconnect(), PROTOCOL_ERROR);
    await assertRejects(() => asked.result, SshProtocolError);
    answers.resolve(["hunter2"]);
    await pause();
    for (const { client, successes } of [early, started, waiting, asked]) {
      assertEquals([successes, client.authenticated], [[], false]);
      assert(!client.sent.some((payload) => new TextDecoder().decode(payload).includes("hunter2")));
    }
  }
  // After a FAILURE that ended an attempt.
  const over = await attempting(password("x"));
  await over.peer.expect(Msg.USERAUTH_REQUEST);
  over.peer.send(failurePayload(["password"]), successPayload());
  assertEquals(await over.peer.disconnect(), PROTOCOL_ERROR);
  assertEquals(over.successes, []);
});

Deno.test("ClientAuth closes on USERAUTH_SUCCESS in answer to a key that has not signed", async () => {
  let signed = 0;
  const key: Signer = { ...signerOf(alice), sign: (data, name) => (signed++, alice.sign(data, name)) };
  const { peer, result, successes } = await attempting(publicKey(key));
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(successPayload());
  assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
  await assertRejects(() => result, SshProtocolError);
  assertEquals([signed, successes], [0, []]);
});

function signerOf(key: Signer): Signer {
  return { publicKey: key.publicKey, algorithms: key.algorithms, sign: (data, name) => key.sign(data, name) };
}

Deno.test("ClientAuth closes on messages of clients and of the connection protocol, and leaves unknown ones alone", async () => {
  for (const type of [5, 50, 61, 80, 90, 94, 98, 127]) {
    const { peer, result } = await attempting(none());
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.send(new Writer().u8(type).text("ssh-userauth").bytes());
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR, String(type));
    await assertRejects(() => result, SshProtocolError);
  }
  const { client, peer, result } = await attempting(none());
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(new Uint8Array([54]), new Uint8Array([66]), new Uint8Array([200]), failurePayload([]));
  assertEquals((await result).success, false);
  assertEquals(client.unknown, [54, 66, 200]);
  client.close();
});

Deno.test("ClientAuth closes on messages that are cut short or too long", async () => {
  const messages = [
    new Uint8Array([Msg.USERAUTH_FAILURE]),
    new Uint8Array([...failurePayload(["password"]), 0]),
    new Uint8Array([Msg.USERAUTH_SUCCESS, 0]),
    new Uint8Array([Msg.USERAUTH_BANNER, 0xff, 0xff, 0xff, 0xff]),
  ];
  for (const message of messages) {
    const { peer, result, successes } = await attempting(none());
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.send(message);
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
    await assertRejects(() => result, SshProtocolError);
    assertEquals(successes, []);
  }
});

// Row 87.
Deno.test("attempt() takes no login without a proof where one is required", async () => {
  const nothing = keyboardInteractive(() => []);
  for (const method of [none(), nothing]) {
    const { peer, result, successes } = await attempting(method, { requireAuth: true });
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.send(...(method === nothing ? [question(0)] : [successPayload()]));
    if (method === nothing) {
      await peer.expect(Msg.USERAUTH_INFO_RESPONSE);
      peer.send(successPayload());
    }
    await assertRejects(() => result, SshAuthError, "no proof");
    assertEquals(successes, []);
  }
  const { client, peer, result } = await attempting(password("x"), { requireAuth: true });
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(successPayload());
  assert((await result).success);
  client.close();
});

// Row 88.
Deno.test("publicKey() signs nothing after a USERAUTH_PK_OK for another key or algorithm", async () => {
  let signed = 0;
  const counted = (key: Signer): Signer => ({
    ...signerOf(key),
    sign: (data, name) => (signed++, key.sign(data, name)),
  });
  const { blob } = alice.publicKey;
  const cut = pkOk("ssh-ed25519", blob);
  for (
    const [key, answer] of [
      [alice, pkOk("ssh-ed25519", other.publicKey.blob)],
      [alice, pkOk("ssh-ed25519", blob.subarray(0, -1))],
      [alice, pkOk("rsa-sha2-512", blob)],
      [alice, cut.subarray(0, -1)],
      [alice, new Uint8Array([...cut, 0])],
      [alice, question()],
      [rsaKey, pkOk("rsa-sha2-256", rsaKey.publicKey.blob)],
      [rsaKey, pkOk("ssh-ed25519", rsaKey.publicKey.blob)],
      [rsaKey, pkOk("rsa-sha2-512", blob)],
    ] as const
  ) {
    const { peer, result } = await attempting(publicKey(counted(key)));
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.send(answer);
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
    await assertRejects(() => result, SshProtocolError);
    assertEquals(signed, 0);
  }
  // The key's type in the place of the algorithm is what servers from before RFC 8332 send.
  const { client, peer, result } = await attempting(publicKey(counted(rsaKey)));
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(pkOk("ssh-rsa", rsaKey.publicKey.blob));
  const request = userauthRequest.decode(await peer.expect(Msg.USERAUTH_REQUEST));
  assert(new TextDecoder("latin1").decode(request.fields).includes("rsa-sha2-512"));
  peer.send(successPayload());
  assert((await result).success);
  assertEquals(signed, 1);
  client.close();
});

// Row 89.
Deno.test("keyboardInteractive() takes 32 prompts a round and 20 rounds", async () => {
  let calls = 0;
  const method = keyboardInteractive(({ prompts }) => (calls++, prompts.map(() => "x")));
  const many = question(33), absurd = question(0);
  new DataView(absurd.buffer).setUint32(absurd.length - 4, 0xffff_ffff);
  for (const bad of [many, absurd, question(2).subarray(0, -1), new Uint8Array([...question(2), 0])]) {
    const { peer, result } = await attempting(method);
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.send(bad);
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
    await assertRejects(() => result, SshProtocolError);
    assertEquals(calls, 0);
  }
  const { peer, result } = await attempting(method);
  await peer.expect(Msg.USERAUTH_REQUEST);
  for (let round = 0; round < 20; round++) {
    peer.send(question(32));
    assertEquals(decodeInfoResponse(await peer.expect(Msg.USERAUTH_INFO_RESPONSE), 32)?.length, 32);
  }
  peer.send(question(1));
  assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
  await assertRejects(() => result, SshProtocolError, "20 rounds");
  assertEquals(calls, 20);
});

// Row 89.
Deno.test("keyboardInteractive() hands on text that is fit for a terminal, and checks the answers", async () => {
  const rounds: unknown[] = [];
  const { client, peer, result, auth } = await attempting(
    keyboardInteractive((round) => (rounds.push(round), ["a", "b"])),
  );
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(encodeInfoRequest({
    name: "N\u001b[31m",
    instruction: "one\r\ntwo\rthree\u0007",
    prompts: [{ text: "P\u009b2J\u202e: ", echo: true }],
  }));
  await assertRejects(() => result, TypeError, "1 strings are needed");
  assertEquals(rounds, [{
    name: "N\ufffd[31m",
    instruction: "one\ntwo\nthree\ufffd",
    prompts: [{ text: "P\ufffd2J\ufffd: ", echo: true }],
  }]);
  // The connection is good for another attempt, which drops the question.
  const next = auth.attempt("alice", password("x"));
  assertEquals(await peer.next(), passwordPayload("alice", "x"));
  peer.send(successPayload());
  assert((await next).success);
  client.close();
});

// Row 90.
Deno.test("ClientAuth takes 128 KiB of banners, and closes at more", async () => {
  const { client, peer, banners, result } = await attempting(none());
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(banner("a".repeat(100_000)), banner("\u001b]0;title\u0007 \ud83d\ude42"));
  await pause();
  assertEquals([banners.map((text) => text.length), client.end], [[100_000, 13], undefined]);
  assertEquals(banners[1], "\ufffd]0;title\ufffd \ud83d\ude42");
  for (let i = 0; i < 1000; i++) peer.send(banner("b".repeat(100_000)));
  assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
  await assertRejects(() => result, SshProtocolError, "banners of more than 131072 bytes");
  assertEquals(banners.length, 2);
});

// Row 91.
Deno.test("ClientAuth closes on a list of methods that is too long", async () => {
  const names = Array.from({ length: 100_000 }, (_, i) => `m${i}`);
  for (const list of [names.slice(0, 257), names.slice(0, 20_000), ["m".repeat(65)], ["a\u001b"]]) {
    const { peer, result } = await attempting(none());
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.send(failurePayload(list));
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
    await assertRejects(() => result, SshProtocolError);
  }
});

// C1 of the cases.
Deno.test("authenticate() reads a list of methods with stray commas", async () => {
  for (const list of [["password", ""], ["", "password"], ["publickey", "", "", "password"]]) {
    const { client, peer, auth } = start();
    const login = authenticate(auth, "alice", [password("hunter2")]);
    await peer.expect(Msg.SERVICE_REQUEST);
    peer.send(acceptPayload());
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.send(failurePayload(list));
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.send(failurePayload(list));
    const error = await assertRejects(() => login, SshAuthError, "password (refused)");
    assertEquals(error.remaining, list.filter((name) => name !== ""));
    client.close();
  }
});

// Row 91.
Deno.test("authenticate() gives up after a number of partial successes", async () => {
  const { client, peer, auth, successes } = start();
  const login = authenticate(auth, "alice", [password("hunter2"), keyboardInteractive(() => [])]);
  login.catch(() => {});
  await peer.expect(Msg.SERVICE_REQUEST);
  peer.send(acceptPayload());
  let requests = 0;
  const serving = (async () => {
    while (await peer.next() !== null) {
      requests++;
      peer.send(failurePayload(["password", "keyboard-interactive"], true));
    }
  })();
  const error = await assertRejects(() => login, SshAuthError, "no end after 10 partial successes");
  assert(!error.message.includes("hunter2"));
  assertEquals([requests, successes], [11, []]);
  client.close();
  await serving;
});

Deno.test("authenticate() tries none first, then methods in order as far as the server's list allows", async () => {
  const { client, peer, auth } = start();
  const login = authenticate(auth, "alice", [
    none(),
    keyboardInteractive(() => []),
    password("first"),
    password("second"),
    publicKey(alice),
  ]);
  await peer.expect(Msg.SERVICE_REQUEST);
  peer.send(acceptPayload());
  const answers = [
    [requestPayload("alice", "none"), failurePayload(["password", "hostbased"])],
    [passwordPayload("alice", "first"), failurePayload(["password", "hostbased"])],
    [passwordPayload("alice", "second"), failurePayload(["keyboard-interactive"], true)],
    [requestPayload("alice", "keyboard-interactive", new Uint8Array(8)), successPayload()],
  ] as const;
  for (const [request, answer] of answers) {
    assertEquals(await peer.next(), request);
    peer.send(answer);
  }
  await login;
  assertEquals(peer.received.length, 5);
  client.close();
});

Deno.test("authenticate() offers another key where the server wants publickey twice", async () => {
  const { client, peer, auth } = start();
  const login = authenticate(auth, "alice", [publicKey(alice, other)]);
  await peer.expect(Msg.SERVICE_REQUEST);
  peer.send(acceptPayload());
  // The first key signs at once, the other one when it would do.
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(failurePayload(["publickey"], true));
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(pkOk("ssh-ed25519", other.publicKey.blob));
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(successPayload());
  await login;
  client.close();
});

Deno.test("authenticate() passes on errors of the program and of the connection, without secrets", async () => {
  const mine = new Error("cancelled by the user");
  const cancelled = start();
  const login = authenticate(cancelled.auth, "alice", [password(() => Promise.reject(mine))]);
  login.catch(() => {});
  await cancelled.peer.expect(Msg.SERVICE_REQUEST);
  cancelled.peer.send(acceptPayload());
  await cancelled.peer.expect(Msg.USERAUTH_REQUEST);
  cancelled.peer.send(failurePayload(["password"]));
  assertEquals(await assertRejects(() => login), mine);
  cancelled.client.close();

  for (
    const [reason, type] of [[DisconnectReason.BY_APPLICATION, SshError], [14, SshAuthError], [
      2,
      SshAuthError,
    ]] as const
  ) {
    const { peer, auth } = start();
    const lost = authenticate(auth, "alice", [password("hunter2")]);
    lost.catch(() => {});
    await peer.expect(Msg.SERVICE_REQUEST);
    peer.send(acceptPayload());
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.send(failurePayload(["password"]));
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.transport.fail(new SshProtocolError("Go away", reason));
    const error = await assertRejects(() => lost, type, "Go away");
    assertEquals(error.constructor === SshAuthError, type === SshAuthError);
    assert(!error.message.includes("hunter2"));
    if (error instanceof SshAuthError) assertEquals(error.remaining, ["password"]);
  }
});

Deno.test("publicKey() ends the login with the error of a key text that it cannot read", async () => {
  const { client, peer, auth } = start();
  const login = authenticate(auth, "alice", [publicKey("not a key")]);
  login.catch(() => {});
  await peer.expect(Msg.SERVICE_REQUEST);
  peer.send(acceptPayload());
  const error = await assertRejects(() => login, SshError);
  assertEquals(error.code, "KEY_FORMAT");
  client.close();
});

Deno.test("publicKey() goes through an iteration of keys only as far as it needs, and lets go of it at the end", async () => {
  for (const how of ["found", "abort"] as const) {
    const steps: string[] = [];
    const found = (async function* (): AsyncGenerator<Signer> {
      try {
        yield await Promise.resolve(alice);
        steps.push("second");
        yield other;
        steps.push("third");
      } finally {
        steps.push("released");
      }
    })();
    const controller = new AbortController();
    const { client, peer, result } = await attempting(publicKey(found), { signal: controller.signal });
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.send(failurePayload(["publickey"]));
    await peer.expect(Msg.USERAUTH_REQUEST);
    assertEquals(steps, ["second"]);
    if (how === "abort") controller.abort();
    else {
      peer.send(pkOk("ssh-ed25519", other.publicKey.blob));
      await peer.expect(Msg.USERAUTH_REQUEST);
      peer.send(successPayload());
    }
    await result.catch(() => {});
    await pause();
    assertEquals(steps, ["second", "released"]);
    client.close();
  }
});

Deno.test("publicKey() stops where the server takes no more keys, and notes what came of each", async () => {
  const rsa: Signer = signerOf(rsaKey);
  assertEquals(rsa.algorithms.length, 2);
  const stopped = await attempting(publicKey(rsa, alice));
  await stopped.peer.expect(Msg.USERAUTH_REQUEST);
  // A refusal of a mere question cannot be a partial success.
  stopped.peer.send(failurePayload(["password"], true));
  const fingerprint = await rsaKey.publicKey.fingerprint();
  assertEquals(await stopped.result, {
    success: false,
    partial: false,
    remaining: ["password"],
    notes: [`ssh-rsa ${fingerprint} was refused`],
  });
  stopped.client.close();

  const signed = await attempting(publicKey(signerOf(alice)));
  await signed.peer.expect(Msg.USERAUTH_REQUEST);
  signed.peer.send(pkOk("ssh-ed25519", alice.publicKey.blob));
  await signed.peer.expect(Msg.USERAUTH_REQUEST);
  signed.peer.send(failurePayload(["publickey"]));
  const notes = [`the signature by ssh-ed25519 ${await alice.publicKey.fingerprint()} was refused`];
  assertEquals(await signed.result, { success: false, partial: false, remaining: ["publickey"], notes });
  // Nothing is sent where there is nothing to offer.
  const sent = signed.client.sent.length;
  const empty = await signed.auth.attempt("alice", publicKey());
  assertEquals(empty.notes, ["there was no key to offer"]);
  assertEquals([empty.remaining, signed.client.sent.length], [["publickey"], sent]);
  signed.client.close();
});

Deno.test("none() and publicKey() close on message 60 where it has no place", async () => {
  const nothing = await attempting(none());
  await nothing.peer.expect(Msg.USERAUTH_REQUEST);
  nothing.peer.send(question());
  assertEquals(await nothing.peer.disconnect(), PROTOCOL_ERROR);
  await assertRejects(() => nothing.result, SshProtocolError, "message 60");
  // A key in memory signs at once, so that its first answer is the last.
  for (const [signer, answers] of [[signerOf(alice), 2], [alice, 1]] as const) {
    const { peer, result } = await attempting(publicKey(signer));
    for (let i = 0; i < answers; i++) {
      await peer.expect(Msg.USERAUTH_REQUEST);
      peer.send(pkOk("ssh-ed25519", alice.publicKey.blob));
    }
    assertEquals(await peer.disconnect(), PROTOCOL_ERROR);
    await assertRejects(() => result, SshProtocolError, "message 60");
  }
});

Deno.test("password() takes strings only, and five changes at most", async () => {
  const change = new Writer().u8(60).text("again").text("").bytes();
  const wrong = await attempting(password(() => undefined as unknown as string));
  await assertRejects(() => wrong.result, TypeError, "not a string");
  wrong.client.close();
  const fresh = await attempting(password("x", { change: () => 1 as unknown as string }));
  await fresh.peer.expect(Msg.USERAUTH_REQUEST);
  fresh.peer.send(change);
  await assertRejects(() => fresh.result, TypeError, "not a string");
  fresh.client.close();
  const endless = await attempting(password("x", { change: () => "y" }));
  for (let i = 0; i < 6; i++) {
    await endless.peer.expect(Msg.USERAUTH_REQUEST);
    endless.peer.send(change);
  }
  assertEquals((await endless.result).notes, ["the server turned down 5 new passwords"]);
  endless.client.close();
});

Deno.test("methods show nothing of their secrets", async () => {
  const shown = Deno.inspect(
    [password("hunter2"), publicKey(await alice.export()), keyboardInteractive(() => ["hunter2"])],
    {
      showHidden: true,
      depth: 9,
    },
  );
  assert(!shown.includes("hunter2") && !shown.includes("PRIVATE"), shown);
  assertEquals(JSON.stringify(password("hunter2")), '{"name":"password"}');
});

Deno.test("attempt() settles when its signal aborts or the connection ends, wherever it waits", async () => {
  const never = new Promise<never>(() => {});
  const agent: Agent = { signers: () => never, [Symbol.asyncDispose]: () => Promise.resolve() };
  const stuck: Signer = { ...signerOf(alice), sign: () => never };
  const waits: Record<string, { method: AuthMethod; answers: (Uint8Array | null)[]; signs?: true }> = {
    "for SERVICE_ACCEPT": { method: none(), answers: [] },
    "for an answer": { method: none(), answers: [acceptPayload()] },
    "for the program's password": { method: password(() => never), answers: [acceptPayload()] },
    "for a new password": {
      method: password("x", { change: () => never }),
      answers: [acceptPayload(), new Writer().u8(60).text("old").text("").bytes()],
    },
    "for an answer to a new password": {
      method: password("x", { change: () => "y" }),
      answers: [acceptPayload(), new Writer().u8(60).text("old").text("").bytes()],
    },
    "for the program's answers": { method: keyboardInteractive(() => never), answers: [acceptPayload(), question()] },
    "for the next question": { method: keyboardInteractive(() => ["x"]), answers: [acceptPayload(), question()] },
    "for an agent": { method: publicKey(agent), answers: [acceptPayload()] },
    "for a PK_OK": { method: publicKey(signerOf(alice)), answers: [acceptPayload()] },
    "for a signer": { method: publicKey(stuck), answers: [acceptPayload(), pkOk("ssh-ed25519", alice.publicKey.blob)] },
    "for an answer to a signature": {
      method: publicKey(signerOf(alice)),
      answers: [acceptPayload(), pkOk("ssh-ed25519", alice.publicKey.blob)],
      signs: true,
    },
    "for an answer to a key that signs at once": { method: publicKey(alice), answers: [acceptPayload()], signs: true },
  };
  for (const [where, { method, answers, signs }] of Object.entries(waits)) {
    for (const how of ["abort", "fail", "close"] as const) {
      const { client, peer, auth, successes } = start();
      const controller = new AbortController();
      const result = auth.attempt("alice", method, { signal: controller.signal });
      result.catch(() => {});
      for (const answer of answers) {
        await peer.next();
        peer.send(answer!);
      }
      // A signature takes its time, and is looked at before it leaves.
      if (signs) await peer.next();
      await pause(1);
      const reason = new Error("stop");
      if (how === "abort") controller.abort(reason);
      else if (how === "fail") client.fail(new SshError("Broken", { code: "CONNECTION_LOST" }));
      else peer.transport.close();
      const message = { abort: "stop", fail: "Broken", close: "Connection closed before the login" }[how];
      const error = await assertRejects(() => result, Error, message, `${where}, ${how}`);
      if (how === "abort") {
        assertEquals(error, reason);
        assertEquals(await peer.disconnect(), DisconnectReason.BY_APPLICATION);
      }
      assert(client.end !== undefined);
      assertEquals(successes, []);
      await assertRejects(() => auth.attempt("alice", none()), Error);
    }
  }
});

Deno.test("attempt() does nothing with a signal that is aborted already", async () => {
  const { client, auth } = start();
  await assertRejects(
    () => auth.attempt("alice", none(), { signal: AbortSignal.abort(new Error("stop")) }),
    Error,
    "stop",
  );
  assertEquals([client.sent.length, client.end], [0, undefined]);
  client.close();
});

Deno.test("attempt() sends nothing more once it is over, whatever the program's functions still give", async () => {
  const secret = Promise.withResolvers<string>(), signature = Promise.withResolvers<Uint8Array<ArrayBuffer>>();
  const controller = new AbortController();
  const slow: Signer = { ...signerOf(alice), sign: () => signature.promise };
  const first = await attempting(password(() => secret.promise), { signal: controller.signal });
  const second = await attempting(publicKey(slow), { signal: controller.signal });
  await second.peer.expect(Msg.USERAUTH_REQUEST);
  second.peer.send(pkOk("ssh-ed25519", alice.publicKey.blob));
  await pause();
  controller.abort();
  const sent = [first.client.sent.length, second.client.sent.length];
  secret.resolve("hunter2");
  signature.reject(new Error("late"));
  await pause();
  assertEquals([first.client.sent.length, second.client.sent.length], sent);
  for (const { result } of [first, second]) await assertRejects(() => result, DOMException);
});

Deno.test("publicKey() tells an iteration to end when the attempt is over, wherever it waits, and waits for nothing then", async () => {
  const never = new Promise<never>(() => {});
  const stuck: Signer = { ...signerOf(alice), sign: () => never };
  for (const where of ["sign", "next", "return", "fingerprint", "late"] as const) {
    for (const how of ["abort", "fail"] as const) {
      let told = 0;
      const { type, blob } = alice.publicKey;
      const silent: Signer = {
        ...signerOf(alice),
        publicKey: { type, blob, fingerprint: () => never, verify: () => never },
      };
      const iteration: AsyncIterable<Signer> = {
        [Symbol.asyncIterator]: () => ({
          next: () =>
            where === "next" ? never : Promise.resolve({
              done: false,
              value: where === "fingerprint" ? silent : where === "sign" || where === "late" ? stuck : alice,
            }),
          return: () => {
            told++;
            // Nobody waits any more for what fails late, and it must not end the process.
            if (where === "late") return Promise.reject(new Error("late"));
            return where === "return" ? never : Promise.resolve({ done: true, value: undefined });
          },
        }),
      };
      const controller = new AbortController();
      const { client, peer, result } = await attempting(publicKey(iteration), { signal: controller.signal });
      if (where === "sign" || where === "late" || where === "return") {
        await peer.expect(Msg.USERAUTH_REQUEST);
        if (where !== "return") peer.send(pkOk("ssh-ed25519", alice.publicKey.blob));
        // Refused and not to be tried again: the loop ends by itself, and waits for the iteration to end.
        else peer.send(failurePayload(["password"]));
      }
      await pause();
      if (how === "abort") controller.abort(new Error("stop"));
      else client.fail(new SshError("stop", { code: "CONNECTION_LOST" }));
      await assertRejects(() => result, Error, "stop", `${where}, ${how}`);
      await pause();
      assertEquals(told, 1, `${where}, ${how}`);
    }
  }
});

Deno.test("attempt() refuses what no packet holds, with an error that says so, and the connection lives", async () => {
  const started = start(), long = "x".repeat(261_121);
  const vast: Signer = { ...signerOf(alice), sign: () => Promise.resolve(new Uint8Array(300_000)) };
  const methods: [AuthMethod, (peer: ScriptedPeer) => void][] = [
    [password(long), () => {}],
    [keyboardInteractive(() => [long]), (peer) => peer.send(question())],
    [publicKey(vast), (peer) => peer.send(pkOk("ssh-ed25519", alice.publicKey.blob))],
    [password("x", { change: () => long }), (peer) => peer.send(new Writer().u8(60).text("old").text("").bytes())],
  ];
  let first = true;
  for (const [method, answer] of methods) {
    const result = started.auth.attempt("alice", method);
    result.catch(() => {});
    if (first) {
      await started.peer.expect(Msg.SERVICE_REQUEST);
      started.peer.send(acceptPayload());
    } else {
      await started.peer.expect(Msg.USERAUTH_REQUEST);
      answer(started.peer);
    }
    first = false;
    await assertRejects(() => result, RangeError, "at most 261120 fit in a packet");
  }
  await assertRejects(() => started.auth.attempt(long, none()), RangeError, "fit in a packet");
  const last = started.auth.attempt("alice", none());
  await started.peer.expect(Msg.USERAUTH_REQUEST);
  started.peer.send(successPayload());
  assertEquals((await last).success, true);
});

Deno.test("ClientAuth goes on when onBanner throws or rejects, and tells onError", async () => {
  const { client, server } = fakePair(), errors: unknown[] = [], thrown = new Error("mine");
  const peer = new ScriptedPeer(server);
  let calls = 0;
  const auth = new ClientAuth(client, {
    onBanner: (): void => {
      if (++calls === 1) throw thrown;
      return Promise.reject(thrown) as unknown as void;
    },
    onError: (error) => {
      errors.push(error);
      throw new Error("again");
    },
    onSuccess: () => {},
  });
  const result = auth.attempt("alice", none());
  await peer.expect(Msg.SERVICE_REQUEST);
  peer.send(acceptPayload(), banner("one"), banner("two"));
  await peer.expect(Msg.USERAUTH_REQUEST);
  peer.send(successPayload());
  assertEquals((await result).success, true);
  await pause();
  assertEquals([errors, client.end], [[thrown, thrown], undefined]);
});
