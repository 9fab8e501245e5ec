/** Attacks on sessions through `serve()` and `connect()`. Numbers are the rows of the table of attacks. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  connect,
  password,
  serveConn,
  type ServeConnOptions,
  type SshClient,
  SshError,
  SshProtocolError,
} from "../../mod.ts";
import { serviceAccept, serviceRequest, userauthRequest, userauthSuccess } from "../../lib/auth/messages.ts";
import {
  ChannelClose,
  ChannelEof,
  ChannelOpen,
  ChannelOpenFailure,
  ChannelSuccess,
  OpenFailureReason,
} from "../../lib/connection/messages.ts";
import {
  Break,
  Env,
  Exec,
  ExitSignal,
  ExitStatusRequest,
  PtyReq,
  Shell,
  Subsystem,
  WindowChange,
  X11Req,
} from "../../lib/session/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { confirmation, data, globalRequest, open, request, utf8 } from "../_support/fake_transport.ts";
import { memoryPair } from "../_support/duplex.ts";
import { RawPeer } from "../_support/raw_peer.ts";
import { inTime, until } from "../_support/until.ts";
import { hostKey } from "../_support/attack.ts";

const algorithms = { kex: ["curve25519-sha256"] };
const nothing = new Uint8Array(0);

// ---------------------------------------------------------------------------------------------- the server

/** A client that has logged in and does what it likes. */
async function client(options: Partial<ServeConnOptions> = {}): Promise<{
  peer: RawPeer;
  served: Promise<unknown>;
  /** Opens a session; its number on the other side. */
  session: () => Promise<number>;
  /** Sends a request and tells what the answer is. */
  ask: (recipient: number, name: string, more: Bytes) => Promise<boolean>;
}> {
  const pair = memoryPair();
  const served = serveConn(pair.server, {
    hostKeys: [hostKey],
    auth: { password: () => true },
    handler: () => new Promise<number>(() => {}),
    subsystems: { echo: () => new Promise<number>(() => {}) },
    ...options,
  }).then(() => null, (error) => error);
  const peer = new RawPeer(pair.client, { role: "client", algorithms });
  await peer.handshake();
  await peer.send(serviceRequest.encode({ service: "ssh-userauth" }));
  await peer.receiveType(Msg.SERVICE_ACCEPT);
  await peer.send(userauthRequest.encode({
    user: utf8("alice"),
    service: utf8("ssh-connection"),
    method: utf8("password"),
    fields: new Writer().bool(false).text("x").bytes(),
  }));
  await peer.receiveType(Msg.USERAUTH_SUCCESS);
  let sender = 100;
  return {
    peer,
    served,
    session: async () => {
      await peer.send(open(sender++));
      const payload = await peer.receiveType(Msg.CHANNEL_OPEN_CONFIRMATION);
      return new DataView(payload.buffer, payload.byteOffset).getUint32(5);
    },
    ask: async (recipient, name, more) => {
      await peer.send(request(recipient, name, true, more));
      for (;;) {
        const payload = await peer.receive();
        assert(payload !== null && payload[0] !== Msg.DISCONNECT, `${name} ended the connection`);
        if (payload[0] === Msg.CHANNEL_SUCCESS) return true;
        if (payload[0] === Msg.CHANNEL_FAILURE) return false;
      }
    },
  };
}

const pty = (modes: Uint8Array) =>
  PtyReq.encode({ term: "xterm", columns: 0xffff_ffff, rows: 0, width: 0xffff_ffff, height: 0, modes });
const x11 = X11Req.encode({ single: false, protocol: "MIT-MAGIC-COOKIE-1", cookie: "00".repeat(16), screen: 0 });
const size = WindowChange.encode({ columns: 0xffff_ffff, rows: 0xffff_ffff, width: 0, height: 0xffff_ffff });

Deno.test("session attacks: serve() runs one command on a session (109)", async () => {
  let runs = 0;
  const { peer, served, session, ask } = await client({ handler: () => (runs++, new Promise<number>(() => {})) });
  for (
    const [name, more] of [["exec", Exec.encode({ command: "a" })], ["shell", nothing], [
      "subsystem",
      Subsystem.encode({ name: "echo" }),
    ]] as const
  ) {
    const id = await session();
    assertEquals(await ask(id, name, more), true, name);
    assertEquals(await ask(id, "exec", Exec.encode({ command: "b" })), false);
    assertEquals(await ask(id, "shell", Shell.encode({})), false);
    assertEquals(await ask(id, "subsystem", Subsystem.encode({ name: "echo" })), false);
    assertEquals(await ask(id, "pty-req", pty(nothing)), false, "a terminal comes too late");
    assertEquals(await ask(id, "env", Env.encode({ name: "A", value: "b" })), false, "so does a variable");
  }
  assertEquals(runs, 2);
  await peer.close();
  assert(await served instanceof SshError);
});

Deno.test("session attacks: serve() refuses garbled requests and lives on (109)", async () => {
  const { peer, served, session, ask } = await client();
  const id = await session();
  // Opcodes 1 to 159 carry a uint32; this one has three bytes of it. An end without TTY_OP_END is common.
  assertEquals(await ask(id, "pty-req", pty(Uint8Array.from([1, 0, 0, 0]))), false);
  assertEquals(await ask(id, "pty-req", pty(nothing).subarray(0, 9)), false);
  assertEquals(await ask(id, "pty-req", pty(Uint8Array.from([1, 0, 0, 0, 3, 0]))), true);
  assertEquals(await ask(id, "pty-req", pty(nothing)), false, "one terminal");
  assertEquals(await ask(id, "window-change", size), true);
  assertEquals(await ask(id, "window-change", size.subarray(0, 15)), false);
  assertEquals(await ask(id, "env", Uint8Array.from([0, 0, 0, 9, 65])), false);
  assertEquals(await ask(id, "env", Env.encode({ name: "A=B", value: "" })), false);
  assertEquals(await ask(id, "env", new Writer().text("A").text("x".repeat(33_000)).bytes()), false);
  assertEquals(await ask(id, "exec", new Writer().text("a\0b").bytes()), false);
  assertEquals(await ask(id, "subsystem", Subsystem.encode({ name: "__proto__" })), false);
  assertEquals(await ask(id, "subsystem", Subsystem.encode({ name: "toString" })), false);
  assertEquals(await ask(id, "exec", new Writer().text("x".repeat(250_000)).bytes()), true);
  for (const signal of ["../", "", "A\nB", "TERM;x"]) {
    assertEquals(await ask(id, "signal", new Writer().text(signal).bytes()), false, `signal ${signal}`);
  }
  assertEquals(await ask(id, "break", Break.encode({ length: 0xffff_ffff })), false);
  assertEquals(await ask(id, "nonsense@example.com", utf8("x")), false);
  await peer.close();
  assert(await served instanceof SshError);
});

Deno.test("session attacks: serve() takes 128 variables of 10 000 (109)", async () => {
  let variables = -1;
  const { peer, served, session, ask } = await client({
    handler: ({ env }) => {
      variables = Object.keys(env).length;
      return 0;
    },
  });
  const id = await session();
  for (let i = 0; i < 10_000; i++) {
    await peer.send(request(id, "env", false, Env.encode({ name: `V${i}`, value: "x" })));
  }
  assertEquals(await ask(id, "env", Env.encode({ name: "LAST", value: "x" })), false);
  assertEquals(await ask(id, "shell", nothing), true);
  await peer.receiveType(Msg.CHANNEL_CLOSE);
  assertEquals(variables, 128);
  await peer.close();
  assert(await served instanceof SshError);
});

Deno.test("session attacks: serve() opens ten sessions of 300, and no other channels (104, 113)", async () => {
  const { peer, served } = await client();
  let accepted = 0;
  const reasons: number[] = [];
  for (let i = 0; i < 300; i++) await peer.send(open(i));
  for (const type of ["direct-tcpip", "direct-streamlocal@openssh.com", "x11", "nonsense"]) {
    await peer.send(open(999, type));
  }
  while (accepted + reasons.length < 304) {
    const payload = await peer.receive();
    assert(payload !== null);
    if (payload[0] === Msg.CHANNEL_OPEN_CONFIRMATION) accepted++;
    else if (payload[0] === Msg.CHANNEL_OPEN_FAILURE) reasons.push(ChannelOpenFailure.decode(payload).reason);
  }
  assertEquals(accepted, 10);
  assertEquals(reasons.slice(0, 290), new Array(290).fill(OpenFailureReason.RESOURCE_SHORTAGE));
  assertEquals(reasons.slice(290, 292), [1, 1]);
  await peer.close();
  assert(await served instanceof SshError);
});

Deno.test("session attacks: serve() tells a handler that its client has gone also where it went while the server decided what it lends (112)", async () => {
  for (const [name, more] of [["x11-req", x11], ["auth-agent-req@openssh.com", nothing]] as const) {
    const allowed = Promise.withResolvers<boolean>(), allow = () => allowed.promise, signals: AbortSignal[] = [];
    const { peer, session } = await client({
      allowX11: allow,
      allowAgent: allow,
      handler: async ({ signal, signals: sent }) => {
        for await (const _ of sent);
        signals.push(signal);
      },
    });
    const recipient = await session();
    await peer.send(request(recipient, name, false, more));
    await peer.send(request(recipient, "exec", false, Exec.encode({ command: "x" })));
    await peer.send(ChannelClose.encode({ recipient }));
    await peer.receiveType(Msg.CHANNEL_CLOSE);
    allowed.resolve(true);
    await until(() => signals.length === 1, "the handler hears of the end");
    assert(signals[0]!.aborted && signals[0]!.reason instanceof SshError);
    await peer.close();
  }
});

Deno.test("session attacks: serve() closes on a session after no-more-sessions@openssh.com (110)", async () => {
  const { peer, served, session } = await client();
  await session();
  await peer.send(globalRequest("no-more-sessions@openssh.com"));
  await peer.receiveType(Msg.REQUEST_SUCCESS);
  await peer.send(open(500));
  assertEquals((await inTime(peer.disconnected(), "The end")).reason, 2);
  await peer.close();
  assert(await served instanceof SshProtocolError);
});

// ---------------------------------------------------------------------------------------------- the client

/** A server that lets anybody in and does what it likes, and the client that came. */
async function server(): Promise<{ peer: RawPeer; client: SshClient }> {
  const pair = memoryPair();
  const peer = new RawPeer(pair.server, { role: "server", hostKey, algorithms });
  const connecting = connect({
    hostname: "test",
    username: "alice",
    auth: [password("x")],
    verifyHostKey: () => true,
    transport: pair.client,
  });
  await peer.handshake();
  await peer.receiveType(Msg.SERVICE_REQUEST);
  await peer.send(serviceAccept.encode({ service: "ssh-userauth" }));
  await peer.receiveType(Msg.USERAUTH_REQUEST);
  await peer.send(userauthSuccess.encode({}));
  return { peer, client: await connecting };
}

Deno.test("session attacks: connect() lets the server open nothing (92)", async () => {
  const { peer, client } = await server();
  for (
    const type of ["session", "forwarded-tcpip", "x11", "auth-agent@openssh.com", "forwarded-streamlocal@openssh.com"]
  ) {
    await peer.send(open(4, type));
    assertEquals(ChannelOpenFailure.decode(await peer.receiveType(Msg.CHANNEL_OPEN_FAILURE)).reason, 1, type);
  }
  for (const name of ["tcpip-forward", "no-more-sessions@openssh.com", "hostkeys-prove-00@openssh.com"]) {
    await peer.send(globalRequest(name));
    await peer.receiveType(Msg.REQUEST_FAILURE);
  }
  const closed = client.close();
  await peer.disconnected();
  await peer.close();
  await closed;
});

Deno.test("session attacks: connect() takes a garbled exit for an error of one session (93)", async () => {
  const { peer, client } = await server();
  /** Starts a command on the client, and gives its channel the messages. */
  const run = async (payloads: (id: number) => Uint8Array[]) => {
    const spawning = client.spawn("x");
    const { sender: id } = ChannelOpen.decode(await peer.receiveType(Msg.CHANNEL_OPEN));
    await peer.send(confirmation(id));
    await peer.receiveType(Msg.CHANNEL_REQUEST);
    await peer.send(ChannelSuccess.encode({ recipient: id }));
    const process = await spawning;
    process.status.catch(() => {});
    for (const payload of payloads(id)) await peer.send(payload);
    await peer.receiveType(Msg.CHANNEL_CLOSE);
    return { process, id };
  };
  const end = (id: number) => [ChannelEof.encode({ recipient: id }), ChannelClose.encode({ recipient: id })];
  const status = (code: number) => ExitStatusRequest.encode({ code });
  const garbled = [
    ...[0, 1, 2, 3].map((length) => ["exit-status", status(0).subarray(0, length)] as const),
    ["exit-signal", new Writer().text("K\x1bILL").bool(false).text("").text("").bytes()],
  ] as const;
  for (const [name, more] of garbled) {
    const { process, id } = await run((id) => [request(id, name, false, more)]);
    await assertRejects(() => inTime(process.status, "status"), SshProtocolError);
    await peer.send(ChannelClose.encode({ recipient: id }));
  }
  // The first of two counts.
  const twice = await run((id) => [
    data(id, "out"),
    request(id, "exit-status", false, status(3)),
    request(id, "exit-status", false, status(4)),
    ...end(id),
  ]);
  assertEquals((await twice.process.status).code, 3);
  assertEquals(await new Response(twice.process.stdout).text(), "out");
  const killed = await run((id) => [
    request(
      id,
      "exit-signal",
      false,
      ExitSignal.encode({ signal: "KILL", coreDumped: true, message: "\x1b[2J", language: "" }),
    ),
    ...end(id),
  ]);
  assertEquals((await killed.process.status).signal, "KILL");
  const closed = client.close();
  await peer.disconnected();
  await peer.close();
  await closed;
});
