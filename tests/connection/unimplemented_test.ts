/** UNIMPLEMENTED as an answer (RFC 4253 section 11.4): the request that it names is refused, and no other. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  ChannelOpenError,
  generateKey,
  password,
  publicKey,
  SshAuthError,
  SshError,
  SshProtocolError,
} from "../../mod.ts";
import { connect } from "../../lib/api/client.ts";
import { Transport } from "../../lib/api/transport/transport.ts";
import { serviceAccept, userauthSuccess } from "../../lib/auth/messages.ts";
import {
  ChannelOpen,
  ChannelRequest,
  ChannelSuccess,
  GlobalRequest,
  OpenFailureReason,
  RequestSuccess,
} from "../../lib/connection/messages.ts";
import { numberMeant, Questions } from "../../lib/transport/questions.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { encodeExtInfo } from "../../lib/transport/ext_info.ts";
import { memoryPair } from "../_support/duplex.ts";
import type { RawPeer } from "../_support/raw_peer.ts";
import {
  closeBoth,
  hostKey,
  lastNumber,
  letIn,
  logIn,
  rawClient,
  rawServer,
  scriptedServer,
  unimplemented,
} from "../_support/scripted_login.ts";
import { inTime } from "../_support/until.ts";
import { confirmation } from "../_support/fake_transport.ts";

// C5 of the cases throughout.

/** Number of the next request of that type, and the payload. */
async function next(peer: RawPeer, type: number): Promise<[sequence: number, payload: Uint8Array]> {
  const payload = await inTime(peer.receiveType(type), `message ${type}`);
  return [lastNumber(peer), payload];
}

/** A `Transport` of either role, logged in, and the script that it talks to. */
async function facade(role: "client" | "server", strict: boolean): Promise<{ transport: Transport; peer: RawPeer }> {
  const pair = memoryPair();
  if (role === "client") {
    const transport = new Transport(pair.client), peer = rawServer(pair.server, { strict });
    const started = transport.startClient();
    await peer.handshake();
    await started;
    const login = transport.authPassword("alice", "x");
    await letIn(peer);
    await login;
    return { transport, peer };
  }
  const transport = new Transport(pair.server), peer = rawClient(pair.client, { strict });
  transport.addServerKey(hostKey);
  const started = transport.startServer({
    getAllowedAuths: () => ["password"],
    checkAuthPassword: () => true,
  });
  await peer.handshake();
  await started;
  await logIn(peer);
  return { transport, peer };
}

// C5
Deno.test("connect(): UNIMPLEMENTED refuses the global request that it names, and later answers find their requests", async () => {
  const { peer, client } = await scriptedServer();
  const asked = ["a", "b", "c"].map((name) => client.request(name));
  asked.forEach((answer) => answer.catch(() => {}));
  await next(peer, Msg.GLOBAL_REQUEST);
  const [b] = await next(peer, Msg.GLOBAL_REQUEST);
  await next(peer, Msg.GLOBAL_REQUEST);
  await peer.send(unimplemented(b));
  assertEquals((await assertRejects(() => inTime(asked[1]!, "b"), SshError)).code, "REQUEST_DENIED");
  for (const answer of [1, 3]) await peer.send(RequestSuccess.encode({ data: new Uint8Array([answer]) }));
  assertEquals(await asked[0], new Uint8Array([1]));
  assertEquals(await asked[2], new Uint8Array([3]));
  // The same number again, numbers of no request, and what is cut short: nothing comes of them.
  for (const number of [b, 0, 0xffff_ffff]) await peer.send(unimplemented(number));
  await peer.send(unimplemented(0).subarray(0, 3));
  const last = client.request("d");
  await next(peer, Msg.GLOBAL_REQUEST);
  await peer.send(RequestSuccess.encode({ data: new Uint8Array([4]) }));
  assertEquals(await inTime(last, "d"), new Uint8Array([4]));
  await closeBoth(client, peer);
});

Deno.test("UNIMPLEMENTED for a request that has had its answer refuses no other", async () => {
  const { peer, client } = await scriptedServer();
  const first = client.request("a"), [number] = await next(peer, Msg.GLOBAL_REQUEST);
  await peer.send(RequestSuccess.encode({ data: new Uint8Array([1]) }));
  assertEquals(await inTime(first, "a"), new Uint8Array([1]));
  const second = client.request("b");
  await next(peer, Msg.GLOBAL_REQUEST);
  await peer.send(unimplemented(number));
  await peer.send(RequestSuccess.encode({ data: new Uint8Array([2]) }));
  assertEquals(await inTime(second, "b"), new Uint8Array([2]));
  await closeBoth(client, peer);
});

Deno.test("connect(): UNIMPLEMENTED refuses a command, a shell, a subsystem and a channel, and the connection lives on", async () => {
  const { peer, client } = await scriptedServer();
  for (const start of [(): Promise<unknown> => client.exec("x"), () => client.shell(), () => client.subsystem("x")]) {
    const starting = start();
    const [, open] = await next(peer, Msg.CHANNEL_OPEN);
    await peer.send(confirmation(ChannelOpen.decode(open).sender));
    const [number] = await next(peer, Msg.CHANNEL_REQUEST);
    await peer.send(unimplemented(number));
    assertEquals((await assertRejects(() => inTime(starting, "the refusal"), SshError)).code, "REQUEST_DENIED");
  }
  const opening = client.exec("x"), other = client.openChannel("other");
  const [number] = await next(peer, Msg.CHANNEL_OPEN);
  const [, open] = await next(peer, Msg.CHANNEL_OPEN);
  await peer.send(unimplemented(number));
  const refused = await assertRejects(() => inTime(opening, "the refusal"), ChannelOpenError);
  assertEquals(refused.reason, OpenFailureReason.UNKNOWN_CHANNEL_TYPE);
  await peer.send(confirmation(ChannelOpen.decode(open).sender));
  await using channel = await inTime(other, "the other channel");
  // A request that waits behind one that is refused gets its own answer.
  const answers = [channel.request("a"), channel.request("b"), channel.request("c")];
  const numbers: number[] = [];
  for (let i = 0; i < 3; i++) numbers.push((await next(peer, Msg.CHANNEL_REQUEST))[0]);
  await peer.send(unimplemented(numbers[0]!));
  await peer.send(ChannelSuccess.encode({ recipient: channel.id }));
  await peer.send(unimplemented(numbers[2]!));
  assertEquals(await inTime(Promise.all(answers), "the answers"), [false, true, false]);
  await closeBoth(client, peer);
});

for (const role of ["client", "server"] as const) {
  for (const strict of [true, false]) {
    const how = strict ? "with" : "without";
    Deno.test(`Transport, a ${role} ${how} strict key exchange: UNIMPLEMENTED finds its request across a rekey`, async () => {
      const { transport, peer } = await facade(role, strict);
      const opening = transport.openChannel("test");
      const [, open] = await next(peer, Msg.CHANNEL_OPEN);
      await peer.send(confirmation(ChannelOpen.decode(open).sender));
      const channel = await opening;
      const before = [channel.request("a"), channel.request("b")];
      const numbers: number[] = [];
      for (let i = 0; i < 2; i++) numbers.push((await next(peer, Msg.CHANNEL_REQUEST))[0]);
      // Its number is given again after the rekey, where numbers start anew: to a request that has not been asked yet.
      await peer.rekey();
      await peer.send(unimplemented(numbers[1]!));
      await peer.send(ChannelSuccess.encode({ recipient: channel.id }));
      assertEquals(await inTime(Promise.all(before), "the answers"), [true, false]);
      const after: Promise<boolean>[] = [];
      for (let i = 0; i < 40; i++) after.push(channel.request("c"));
      for (let i = 0; i < 40; i++) {
        const [number] = await next(peer, Msg.CHANNEL_REQUEST);
        await peer.send(i % 2 === 0 ? unimplemented(number) : ChannelSuccess.encode({ recipient: channel.id }));
      }
      assertEquals(await inTime(Promise.all(after), "the answers"), after.map((_, i) => i % 2 === 1));
      await closeBoth(transport, peer);
    });
  }
}

Deno.test("a request that waits through a rekey has the number that it leaves with", async () => {
  const { peer, client } = await scriptedServer();
  await peer.send(await peer.kexInit());
  await peer.machine!.receive(await peer.receiveType(Msg.KEXINIT));
  const asked = [client.request("a"), client.request("b")];
  asked.forEach((answer) => answer.catch(() => {}));
  await peer.runExchange();
  const [, a] = await next(peer, Msg.GLOBAL_REQUEST), [number] = await next(peer, Msg.GLOBAL_REQUEST);
  assertEquals(GlobalRequest.decode(a).name, "a");
  await peer.send(unimplemented(number));
  await assertRejects(() => inTime(asked[1]!, "b"), SshError);
  await peer.send(RequestSuccess.encode({ data: new Uint8Array(0) }));
  await inTime(asked[0]!, "a");
  await closeBoth(client, peer);
});

Deno.test("a request that stands behind data of a channel is told, too", async () => {
  const { peer, client } = await scriptedServer();
  const opening = client.openChannel("test");
  const [, open] = await next(peer, Msg.CHANNEL_OPEN);
  await peer.send(confirmation(ChannelOpen.decode(open).sender));
  await using channel = await opening;
  const writer = channel.writable.getWriter();
  const written = writer.write(new Uint8Array(200_000));
  channel.notify("first");
  const answer = channel.request("second");
  for (;;) {
    const [number, payload] = await next(peer, Msg.CHANNEL_REQUEST);
    if (ChannelRequest.decode(payload).name === "first") continue;
    await peer.send(unimplemented(number));
    break;
  }
  assertEquals(await inTime(answer, "the answer"), false);
  await written;
  await closeBoth(client, peer);
});

Deno.test("connect(): UNIMPLEMENTED in the login is a refusal and never a success", async () => {
  const pair = memoryPair(), peer = rawServer(pair.server);
  const connecting = connect({
    hostname: "test",
    username: "alice",
    auth: [password("x")],
    verifyHostKey: () => true,
    transport: pair.client,
  });
  connecting.catch(() => {});
  await peer.handshake();
  await peer.receiveType(Msg.SERVICE_REQUEST);
  await peer.send(serviceAccept.encode({ service: "ssh-userauth" }));
  await peer.receiveType(Msg.USERAUTH_REQUEST);
  await peer.send(new Uint8Array([Msg.USERAUTH_FAILURE, 0, 0, 0, 8, ...new TextEncoder().encode("password"), 0]));
  const [number] = await next(peer, Msg.USERAUTH_REQUEST);
  await peer.send(unimplemented(number));
  const error = await assertRejects(() => inTime(connecting, "the refusal"), SshAuthError);
  assertStringIncludes(error.message, "password (refused)");
  await peer.disconnected();
  await peer.close();
});

Deno.test("connect(): a SUCCESS behind an UNIMPLEMENTED for the same request lets nobody in", async () => {
  const pair = memoryPair(), peer = rawServer(pair.server);
  let asked = 0;
  const connecting = connect({
    hostname: "test",
    username: "alice",
    auth: [password(() => (asked++, new Promise<string>(() => {})))],
    verifyHostKey: () => true,
    transport: pair.client,
  });
  connecting.catch(() => {});
  await peer.handshake();
  await peer.receiveType(Msg.SERVICE_REQUEST);
  await peer.send(serviceAccept.encode({ service: "ssh-userauth" }));
  const [number] = await next(peer, Msg.USERAUTH_REQUEST);
  await peer.send(unimplemented(number));
  await peer.send(userauthSuccess.encode({}));
  await assertRejects(() => inTime(connecting, "the end"), SshError);
  await peer.disconnected();
  await peer.close();
});

Deno.test("connect(): a server that does not know SERVICE_REQUEST says so in the error", async () => {
  const pair = memoryPair(), peer = rawServer(pair.server);
  const connecting = connect({
    hostname: "test",
    username: "alice",
    auth: [],
    verifyHostKey: () => true,
    transport: pair.client,
  });
  connecting.catch(() => {});
  await peer.handshake();
  const [number] = await next(peer, Msg.SERVICE_REQUEST);
  await peer.send(unimplemented(number));
  const error = await assertRejects(() => inTime(connecting, "the end"), SshProtocolError);
  assertStringIncludes(error.message, "SERVICE_REQUEST");
  assertEquals((await peer.disconnected()).reason, 7);
  await peer.close();
});

Deno.test("connect(): a first request that is under way with SERVICE_REQUEST finds its answer, and nothing else is taken for one", async () => {
  const alice = await generateKey(), accept = serviceAccept.encode({ service: "ssh-userauth" });
  const success = userauthSuccess.encode({});
  type Answers = (service: number, request: number) => readonly Uint8Array[];
  const ends: Record<string, [Answers, string]> = {
    "no such service, and all the same a login": [
      (service) => [unimplemented(service), success],
      "does not know SERVICE_REQUEST",
    ],
    "a service twice": [() => [accept, accept], "SERVICE_ACCEPT came where nothing asked"],
    "a login before the service": [() => [success, accept], "USERAUTH_SUCCESS came where nothing asked"],
    "no such request, and none either": [(_, request) => [accept, unimplemented(request)], "publickey (refused"],
    "nothing at all": [() => [], "Login aborted"],
  };
  for (const [how, [answers, message]] of Object.entries(ends)) {
    const pair = memoryPair(), peer = rawServer(pair.server), abort = new AbortController();
    const connecting = connect({
      hostname: "test",
      username: "alice",
      auth: [publicKey(alice)],
      verifyHostKey: () => true,
      transport: pair.client,
      algorithms: { kex: ["curve25519-sha256"] },
      signal: abort.signal,
    });
    connecting.catch(() => {});
    await peer.handshake();
    // It may tell more than once.
    for (const list of ["ssh-ed25519,rsa-sha2-256", "ssh-ed25519"]) {
      await peer.send(encodeExtInfo(new Map([["server-sig-algs", new TextEncoder().encode(list)]])));
    }
    const [service] = await next(peer, Msg.SERVICE_REQUEST), [request] = await next(peer, Msg.USERAUTH_REQUEST);
    for (const answer of answers(service, request)) await peer.send(answer);
    if (how.startsWith("no such request")) {
      const [none] = await next(peer, Msg.USERAUTH_REQUEST);
      await peer.send(unimplemented(none));
    }
    if (how === "nothing at all") {
      const reason = new SshError("Login aborted", { code: "CLOSED" });
      abort.abort(reason);
    }
    const error = await assertRejects(() => inTime(connecting, how), SshError);
    assertStringIncludes(error.message, message, how);
    await peer.disconnected();
    await peer.close();
  }
});

Deno.test("Questions holds hardly more than those that wait, and takes the number of the latest where numbers wrap", () => {
  const questions = new Questions(), told: string[] = [];
  const question = (name: string) => ({ waits: true, unimplemented: () => void told.push(name) });
  const old = question("old");
  questions.left(7, old);
  let held = 0;
  for (let i = 0; i < 10_000; i++) {
    const answered = question("answered");
    // A question that is dropped is not looked at any more.
    Object.defineProperty(answered, "waits", { get: () => (held++, false) });
    questions.left(100 + i, answered);
  }
  if (held > 20_000) throw new Error(`${held} looks at questions that had been answered`);
  questions.unimplemented(7);
  questions.unimplemented(8);
  questions.unimplemented(7);
  assertEquals(told, ["old"]);
  // 2^32 packets later, and under strict key exchange after the next one.
  questions.left(9, question("first"));
  questions.left(9, question("second"));
  questions.renumbered();
  questions.left(9, question("third"));
  questions.unimplemented(9);
  questions.unimplemented(9);
  questions.unimplemented(9);
  assertEquals(told, ["old", "third", "second"]);
  questions.left(9, question("fourth"));
  questions.renumbered();
  questions.renumbered();
  questions.unimplemented(9);
  assertEquals(told, ["old", "third", "second"]);
});

Deno.test("Questions: TinySSH names the message behind the one that it means, and only TinySSH does", () => {
  assertEquals(numberMeant(8, "SSH-2.0-tinyssh_20230101-1 kPqy6cSr"), 7);
  assertEquals(numberMeant(0, "SSH-2.0-tinyssh_20230101-1"), 0xffff_ffff);
  for (const ident of ["SSH-2.0-OpenSSH_9.2", "SSH-2.0-x tinyssh", "", "SSH-1.99-tinyssh"]) {
    assertEquals(numberMeant(8, ident), 8);
  }
});
