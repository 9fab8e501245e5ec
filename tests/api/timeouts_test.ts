/**
 * `timeout` beside `signal` wherever a client waits: the error says what was waited for, neither a timer nor a listener stays, and what
 * the server gives later is given back and never taken for the answer to something else.
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import type { SshClient } from "../../lib/api/client.ts";
import {
  ChannelClose,
  ChannelOpen,
  ChannelOpenConfirmation,
  ChannelRequest,
  ChannelSuccess,
  GlobalRequest,
  RequestFailure,
  RequestSuccess,
} from "../../lib/connection/messages.ts";
import type { WaitOptions } from "../../lib/wire/deadline.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { FakeTime } from "../_support/fake_time.ts";
import type { RawPeer } from "../_support/raw_peer.ts";
import { closeBoth, scriptedServer } from "../_support/scripted_login.ts";
import { inTime, turns } from "../_support/until.ts";

/** One call that waits for a server that says nothing. */
interface Wait {
  readonly name: string;
  start(client: SshClient, wait: WaitOptions): Promise<unknown>;
  /** How the error's message goes on behind "waiting for ". */
  readonly what: string;
}

const bytes = (text: string): Bytes => new TextEncoder().encode(text);
const THERE = { hostname: "db", port: 5432 };

/** Starts a wait, lets its time pass when the server has got what it is asked for, and checks the error. */
async function expired<T>(
  client: SshClient,
  { name, start, what }: Wait,
  asked: () => Promise<T>,
): Promise<T> {
  using time = new FakeTime();
  const counted = countedSignal(), before = time.pending;
  let outcome: unknown = null;
  const waiting = start(client, { timeout: 1000, signal: counted.signal })
    .then(() => outcome = "resolved", (error) => outcome = error);
  const said = await asked();
  time.tick(999);
  await turns(2);
  assertEquals([outcome, counted.listeners > 0], [null, true], name);
  time.tick(1);
  await waiting;
  assertInstanceOf(outcome, DOMException, `${name}: ${outcome}`);
  const { name: kind, message } = outcome as DOMException;
  assertEquals([kind, message], ["TimeoutError", `Timed out after 1000 ms waiting for ${what}`], name);
  assertEquals([counted.listeners, time.pending], [0, before], name);
  return said;
}

const channels: readonly Wait[] = [
  {
    name: "dial()",
    start: (client, wait) => client.dial({ ...THERE, ...wait }),
    what: "the server to open a direct-tcpip channel to db:5432",
  },
  {
    name: "dial() to an IPv6 address",
    start: (client, wait) => client.dial({ hostname: "[2001:db8::7]", port: 1, ...wait }),
    what: "the server to open a direct-tcpip channel to [2001:db8::7]:1",
  },
  {
    name: "dialUnix()",
    start: (client, wait) => client.dialUnix("/run/x", wait),
    what: 'the server to open a direct-streamlocal@openssh.com channel to "/run/x"',
  },
  {
    name: "openChannel()",
    start: (client, wait) => client.openChannel("session", undefined, wait),
    what: "the server to open a session channel",
  },
  { name: "sftp()", start: (client, wait) => client.sftp(wait), what: "the server to start SFTP" },
  { name: "exec()", start: (client, wait) => client.exec("x", wait), what: "the command to end" },
  { name: "run()", start: (client, wait) => client.run("x", wait), what: "the command to end" },
  { name: "spawn()", start: (client, wait) => client.spawn("x", wait), what: "the command to end" },
  { name: "shell()", start: (client, wait) => client.shell(wait), what: "the session to end" },
  { name: "subsystem()", start: (client, wait) => client.subsystem("x", wait), what: "the session to end" },
  {
    name: "scp.upload()",
    start: (client, wait) => client.scp.upload("/nowhere", "/x", wait),
    what: '"/nowhere" to be copied',
  },
  {
    name: "scp.download()",
    start: (client, wait) => client.scp.download("/x", "/nowhere", wait),
    what: '"/x" to be copied',
  },
];

/** The CHANNEL_OPEN that comes. */
async function opening(peer: RawPeer): Promise<number> {
  return ChannelOpen.decode(await peer.receiveType(Msg.CHANNEL_OPEN)).sender;
}

async function confirm(peer: RawPeer, recipient: number): Promise<void> {
  await peer.send(
    ChannelOpenConfirmation.encode({ recipient, sender: 70, window: 1 << 20, maxPacket: 32_768, data: bytes("") }),
  );
}

Deno.test("a channel that the server does not open in time is a TimeoutError, and is closed when it opens late", async () => {
  const { peer, client } = await scriptedServer();
  for (const wait of channels) {
    const id = await expired(client, wait, () => opening(peer));
    await confirm(peer, id);
    const closed = ChannelClose.decode(await inTime(peer.receiveType(Msg.CHANNEL_CLOSE), wait.name));
    assertEquals(closed.recipient, 70, wait.name);
    await peer.send(ChannelClose.encode({ recipient: id }));
  }
  await closeBoth(client, peer);
});

const starts: readonly Wait[] = [
  {
    name: "sftp() that is not let begin",
    start: (client, wait) => client.sftp(wait),
    what: "the server to start SFTP",
  },
  {
    name: "spawn() that is not let begin",
    start: (client, wait) => client.spawn("x", wait),
    what: "the command to end",
  },
];

Deno.test("a channel whose start the server does not answer in time is closed at once", async () => {
  const { peer, client } = await scriptedServer();
  const asked = async (): Promise<number> => {
    const id = await opening(peer);
    await confirm(peer, id);
    assertEquals(ChannelRequest.decode(await peer.receiveType(Msg.CHANNEL_REQUEST)).wantReply, true);
    return id;
  };
  for (const wait of starts) {
    const id = await expired(client, wait, asked);
    await inTime(peer.receiveType(Msg.CHANNEL_CLOSE), wait.name);
    // Late, and of no use.
    await peer.send(ChannelSuccess.encode({ recipient: id }));
    await peer.send(ChannelClose.encode({ recipient: id }));
  }
  // A server that takes the subsystem, and says nothing in it.
  const silent = async (): Promise<number> => {
    const id = await asked();
    await peer.send(ChannelSuccess.encode({ recipient: id }));
    await peer.receiveType(Msg.CHANNEL_DATA);
    return id;
  };
  const id = await expired(client, starts[0]!, silent);
  await inTime(peer.receiveType(Msg.CHANNEL_CLOSE), "SFTP's channel");
  await peer.send(ChannelClose.encode({ recipient: id }));
  await closeBoth(client, peer);
});

const listening: readonly (Wait & { readonly cancelled: string })[] = [
  {
    name: "listen()",
    start: (client, wait) => client.listen({ port: 80, ...wait }),
    what: 'the server to listen on "localhost" port 80',
    cancelled: "cancel-tcpip-forward",
  },
  {
    name: "listenUnix()",
    start: (client, wait) => client.listenUnix("/run/x", wait),
    what: 'the server to listen on "/run/x"',
    cancelled: "cancel-streamlocal-forward@openssh.com",
  },
  {
    name: "forwardRemote()",
    start: (client, wait) => client.forwardRemote({ hostname: "", port: 80 }, { port: 8080 }, wait),
    what: 'the server to listen on "" port 80',
    cancelled: "cancel-tcpip-forward",
  },
  {
    name: "forwardRemote() from a Unix socket",
    start: (client, wait) => client.forwardRemote({ path: "/run/y" }, { port: 8080 }, wait),
    what: 'the server to listen on "/run/y"',
    cancelled: "cancel-streamlocal-forward@openssh.com",
  },
];

Deno.test("what the server does not listen on in time is a TimeoutError, and is cancelled when it is granted late", async () => {
  const { peer, client } = await scriptedServer();
  for (const wait of listening) {
    await expired(client, wait, () => peer.receiveType(Msg.GLOBAL_REQUEST));
    await peer.send(RequestSuccess.encode({ data: bytes("") }));
    const { name } = GlobalRequest.decode(await inTime(peer.receiveType(Msg.GLOBAL_REQUEST), wait.name));
    assertEquals(name, wait.cancelled, wait.name);
    await peer.send(RequestSuccess.encode({ data: bytes("") }));
    // Refused late, there is nothing to cancel.
    await expired(client, wait, () => peer.receiveType(Msg.GLOBAL_REQUEST));
    await peer.send(RequestFailure.encode({}));
  }
  await closeBoth(client, peer);
});

Deno.test("a late answer to a global request is not taken for the answer to the next one", async () => {
  const { peer, client } = await scriptedServer();
  const ask: Wait = {
    name: "request()",
    start: (client, wait) => client.request("first@example.org", undefined, wait),
    what: 'the server to answer global request "first@example.org"',
  };
  await expired(client, ask, () => peer.receiveType(Msg.GLOBAL_REQUEST));
  const second = client.request("second@example.org");
  await peer.receiveType(Msg.GLOBAL_REQUEST);
  await peer.send(RequestSuccess.encode({ data: bytes("first") }));
  await peer.send(RequestSuccess.encode({ data: bytes("second") }));
  assertEquals(new TextDecoder().decode(await inTime(second, "the answer")), "second");
  await closeBoth(client, peer);
});

Deno.test("a late answer to a channel request is not taken for the answer to the next one", async () => {
  const { peer, client } = await scriptedServer();
  const opened = client.openChannel("session");
  const id = await opening(peer);
  await confirm(peer, id);
  const channel = await opened;
  const ask: Wait = {
    name: "channel.request()",
    start: (_client, wait) => channel.request("first@example.org", undefined, wait),
    what: 'the peer to answer channel request "first@example.org"',
  };
  await expired(client, ask, () => peer.receiveType(Msg.CHANNEL_REQUEST));
  const second = channel.request("second@example.org");
  await peer.receiveType(Msg.CHANNEL_REQUEST);
  await peer.send(ChannelSuccess.encode({ recipient: id }));
  await turns();
  await peer.send(ChannelClose.encode({ recipient: id }));
  // The one SUCCESS was the first one's.
  assert(await second.then(() => false, () => true));
  await closeBoth(client, peer);
});
