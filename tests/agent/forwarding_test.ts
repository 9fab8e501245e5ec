/**
 * Agents that sessions are lent: what the far end may ask of one, who gets it, and when that ends.
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { connectAgent } from "../../lib/agent/agent.ts";
import { ForwardedAgents } from "../../lib/agent/forwarded_agent.ts";
import { LentAgent } from "../../lib/agent/lent_agent.ts";
import { type AgentAnswerer, answersOf, serveAgent } from "../../lib/agent/serve_agent.ts";
import type { ServeConnOptions } from "../../lib/api/server.ts";
import { ChannelOpen } from "../../lib/connection/messages.ts";
import { ChannelOpenError, SshError, SshProtocolError } from "../../lib/errors.ts";
import { openConn, type SshConn } from "../../lib/forward/conn.ts";
import { systemSockets } from "../../lib/forward/sockets.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import type { Agent, PrivateKey, Signer } from "../../lib/keys/types.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { memoryPair } from "../_support/duplex.ts";
import { confirmation, fakeMux } from "../_support/fake_transport.ts";
import { join } from "../_support/joined.ts";
import { joinedMuxes } from "../_support/joined_muxes.ts";
import { opensshKeys, strings } from "../_support/key_vectors.ts";
import { Served } from "../_support/served.ts";
import { inTime, until } from "../_support/until.ts";

/** An agent in the program. */
function agentOf(...signers: Signer[]): Agent {
  return { signers: () => Promise.resolve(signers), [Symbol.asyncDispose]: () => Promise.resolve() };
}

const keys = async (): Promise<PrivateKey[]> =>
  await Promise.all([generateKey(), parsePrivateKey(opensshKeys()[4]!.private)]);

const addr: Deno.UnixAddr = { transport: "unix", path: "" };
const data = new TextEncoder().encode("data");

/** One end of an agent that `answer` speaks for. */
function asking(answer: AgentAnswerer) {
  const { client, server } = memoryPair({ highWaterMark: 65_536, chunks: "whole" }), stop = new AbortController();
  const ended = serveAgent(server, answer, stop.signal).then(() => null, (error) => error);
  const writer = client.writable.getWriter(), reader = client.readable.getReader();
  return {
    ended,
    stop,
    writer,
    /** Sends bytes of a frame, and gives the answer's. */
    async ask(...bytes: number[]): Promise<number[]> {
      await writer.write(strings(Uint8Array.from(bytes)));
      const got: number[] = [];
      while (got.length < 4 || got.length < 4 + new DataView(Uint8Array.from(got).buffer).getUint32(0)) {
        const { value, done } = await inTime(reader.read(), "the answer");
        if (done) throw new Error("it has ended");
        got.push(...value);
      }
      return got.slice(4);
    },
  };
}

Deno.test("an agent that is lent lists its keys and signs with each algorithm, as seen by a client of agents", async () => {
  const signers = await keys(), { client, server } = memoryPair();
  const ended = serveAgent(server, answersOf(agentOf(...signers)), new AbortController().signal);
  {
    await using agent = await connectAgent(client);
    const listed = await agent.signers();
    assertEquals(listed.map(({ comment }) => comment), signers.map(({ comment }) => comment));
    for (const [i, signer] of listed.entries()) {
      assertEquals(signer.publicKey.blob, signers[i]!.publicKey.blob);
      for (const algorithm of signer.algorithms) {
        assert(await signer.publicKey.verify(data, await signer.sign(data, algorithm)), algorithm);
      }
    }
  }
  await ended.catch(() => {});
});

Deno.test("an agent that is lent is not changed, and loads nothing: all else is refused, and nobody behind hears of it", async () => {
  const heard: number[] = [];
  const { ask, writer, ended } = asking((message) => {
    heard.push(message[0]!);
    return Promise.resolve(Uint8Array.of(6));
  });
  // Adding, removing, locking, tokens with their providers (CVE-2023-38408), and numbers that do not exist.
  for (let type = 0; type < 256; type++) {
    if (type === 11 || type === 13 || type === 27) continue;
    assertEquals(await ask(type, 0, 0, 0, 0), [5], String(type));
  }
  assertEquals(await ask(11, 0), [5]);
  for (const name of ["query", "restrict-destination-v00@openssh.com", "session-bind@openssh.co", ""]) {
    assertEquals(await ask(27, ...strings(name)), [5], name);
  }
  assertEquals(await ask(27), [5]);
  assertEquals(heard, []);
  assertEquals([await ask(11), await ask(13, 1), await ask(27, ...strings("session-bind@openssh.com", "x"))], [
    ...[[6], [6], [6]],
  ]);
  assertEquals(heard, [11, 13, 27]);
  await writer.close();
  assertEquals(await inTime(ended, "the end"), null);
});

Deno.test("an agent's object fails for keys it does not have, algorithms they do not have, and garbage", async () => {
  const [ed, rsa] = await keys(), broken: Signer = { ...rsa!, sign: () => Promise.reject(new Error("a secret")) };
  const { ask, writer, ended } = asking(answersOf(agentOf(ed!, broken)));
  const request = (key: PrivateKey, flags: number) => [13, ...strings(key.publicKey.blob, data), 0, 0, 0, flags];
  assertEquals((await ask(...request(ed!, 0)))[0], 14);
  for (const flags of [1, 2, 4, 6, 8]) assertEquals(await ask(...request(ed!, flags)), [5], String(flags));
  assertEquals(await ask(...request(await generateKey(), 0)), [5]);
  // ssh-rsa, which nobody signs with any more, and a key that fails.
  for (const flags of [0, 4]) assertEquals(await ask(...request(rsa!, flags)), [5]);
  for (const garbage of [[13], [13, 255, 255, 255, 255], [...request(ed!, 0), 0]]) {
    assertEquals(await ask(...garbage), [5]);
  }
  await writer.close();
  assertEquals(await inTime(ended, "the end"), null);
});

Deno.test("messages that are empty, too long or cut end the connection to an agent that is lent", async () => {
  for (const bytes of [[0, 0, 0, 0], [0, 4, 0, 1], [255, 255, 255, 255], [0, 0, 0, 2, 11], [0, 0]]) {
    const { writer, ended } = asking(() => Promise.reject(new Error("nobody is asked")));
    await writer.write(Uint8Array.from(bytes)).catch(() => {});
    await writer.close().catch(() => {});
    assert(await inTime(ended, "the end") instanceof SshProtocolError, String(bytes));
  }
});

// ------------------------------------------------------------------------------------------------ the client

const bound = { hostKey: Uint8Array.of(1), sessionId: Uint8Array.of(2), signature: Uint8Array.of(3) };

function start() {
  const muxes = joinedMuxes(), lending = new LentAgent(muxes.client, bound);
  return {
    lending,
    open: (): Promise<SshConn> =>
      openConn(muxes.server, "auth-agent@openssh.com", new Uint8Array(0), { localAddr: addr, remoteAddr: addr }),
    end: () => muxes.transports.client.finish(null),
  };
}

Deno.test("agent channels are refused unless a session lends one, and end with the last that does", async () => {
  const { lending, open, end } = start(), [key] = await keys(), agent = agentOf(key!);
  const refused = async () => assertEquals((await assertRejects(open, ChannelOpenError)).reason, 1);
  await refused();
  const one = lending.lend(agent), two = lending.lend(agent);
  // Channels do not tell whose they are: another agent would be there for both.
  assertThrows(() => lending.lend(agentOf(key!)), TypeError, "another session of this connection lends another one");
  one.release();
  one.release();
  const conn = await open(), connected = await connectAgent(conn);
  assertEquals((await connected.signers()).length, 1);
  two.release();
  await refused();
  await assertRejects(() => connected.signers(), SshError);
  await inTime(conn.closed, "its end");
  lending.lend(agentOf(key!)).revoke();
  await refused();
  end();
});

Deno.test("a server that takes an agent once on a connection, as sshd does, may refuse it afterwards", () => {
  const { lending, end } = start(), agent = agentOf(), first = lending.lend(agent), second = lending.lend(agent);
  assertEquals(first.requests[0]!.refused(), "takes no agent");
  first.requests[0]!.granted!();
  assertEquals(second.requests[0]!.refused(), null);
  end();
});

Deno.test("connections to an agent are 32 at most, and those whose far end has gone make room", async () => {
  const { lending, open, end } = start(), hanging = Promise.withResolvers<never>(), ends: unknown[] = [];
  const lent = lending.lend({ signers: () => hanging.promise, [Symbol.asyncDispose]: () => Promise.resolve() });
  const conns = await Promise.all(Array.from({ length: 32 }, open));
  assertEquals((await assertRejects(open, ChannelOpenError)).reason, 4);
  // It waits for an answer that never comes.
  await conns[0]!.write(Uint8Array.of(0, 0, 0, 1, 11));
  await conns[0]!.close();
  let again: SshConn | undefined;
  await until(async () => (again = await open().catch(() => undefined)) !== undefined, "there is room");
  lent.release();
  for (const conn of [...conns.slice(1), again!]) {
    await inTime(conn.closed.catch((error) => ends.push(error)), "the end of each");
  }
  end();
});

Deno.test("what connects to an agent is asked for each channel, which is refused where it fails", async () => {
  const { lending, open, end } = start(), [key] = await keys(), served: Promise<unknown>[] = [];
  const heard: Uint8Array[] = [];
  let calls = 0;
  const lent = lending.lend(() => {
    if (calls++ === 0) throw new Error("a secret");
    const { client, server } = memoryPair();
    const answer = answersOf(agentOf(key!));
    served.push(
      serveAgent(server, (message, signal) => {
        heard.push(message);
        return answer(message, signal);
      }, new AbortController().signal).catch(() => {}),
    );
    return client;
  });
  const error = await assertRejects(open, ChannelOpenError);
  assert(error.reason === 2 && !error.message.includes("secret"), error.message);
  for (let i = 0; i < 2; i++) {
    await using agent = await connectAgent(await open());
    assertEquals((await agent.signers())[0]!.publicKey.blob, key!.publicKey.blob);
  }
  lent.release();
  assertEquals(calls, 3);
  // First it is told which host it was lent to; that it does not know what that means changes nothing.
  const bind = strings("session-bind@openssh.com", bound.hostKey, bound.sessionId, bound.signature);
  assertEquals([...heard[0]!], [27, ...bind, 1]);
  assertEquals(heard.map(([type]) => type), [27, 11, 27, 11]);
  await inTime(Promise.all(served), "the ends of their connections");
  end();
});

// ------------------------------------------------------------------------------------------------ the server

/** Whether a session has the client's agent, under options of the server and what its login was granted. */
async function has(options: Partial<ServeConnOptions>, agentForwarding?: boolean): Promise<boolean> {
  let session: ServerSession | undefined;
  const [key] = await keys();
  await using joined = await join({
    ...options,
    ...agentForwarding !== undefined && { auth: { password: () => ({ grant: { agentForwarding } }) } },
    handler: async (it) => {
      session = it;
      await using agent = await connectAgent(await it.agent!.open());
      return (await agent.signers()).length;
    },
  });
  try {
    assertEquals((await joined.client.exec("x", { agent: agentOf(key!) })).code, 1);
  } catch (error) {
    assert(error instanceof SshError && error.code === "REQUEST_DENIED", String(error));
    return false;
  }
  // It is over with the session.
  await until(() => session!.signal.aborted, "the session ends");
  assertEquals((await assertRejects(() => session!.agent!.open(), SshError)).code, "CLOSED");
  await assertRejects(() => session!.agent!.listen(), SshError);
  return true;
}

Deno.test("a session has the client's agent where the server's options and the grants of the login allow it", async () => {
  assertEquals([await has({}), await has({ allowAgent: false }), await has({ allowAgent: () => false })], [
    ...[false, false, false],
  ]);
  assertEquals([await has({ allowAgent: true }), await has({ allowAgent: () => Promise.resolve(true) })], [true, true]);
  assertEquals([await has({ allowAgent: true }, false), await has({}, false)], [false, false]);
  assertEquals([await has({}, true), await has({ allowAgent: false }, true)], [true, false]);
});

Deno.test("a session without an agent of its own sees none, and auth-agent-req is refused twice and behind the start", async () => {
  const agents: unknown[] = [];
  const served = await Served.loggedIn({
    allowAgent: true,
    handler: async (session) => {
      agents.push(session.agent);
      await new Promise((resolve) => session.signal.addEventListener("abort", resolve));
    },
  });
  const id = await served.openSession(), name = "auth-agent-req@openssh.com";
  assertEquals(await served.request(id, name, Uint8Array.of(1)), false);
  assertEquals([await served.request(id, name), await served.request(id, name)], [true, false]);
  const other = await served.openSession(1);
  assertEquals(await served.request(other, "shell"), true);
  assertEquals(await served.request(other, name), false);
  await until(() => agents.length === 1, "the handler runs");
  assertEquals(agents, [null]);
  await served.hangUp();
});

Deno.test("session.agent.open() rejects when its time is over, and the channel that opens late is closed", async () => {
  const { transport, mux } = fakeMux({}, "server");
  using agent = new ForwardedAgents(mux, { sockets: systemSockets, onError: () => {} }).open();
  const error = await assertRejects(() => agent.open({ timeout: 20 }), DOMException);
  const message = "Timed out after 20 ms waiting for the client to open a channel to its agent";
  assertEquals([error.name, error.message], ["TimeoutError", message]);
  const { sender } = ChannelOpen.decode(transport.takeType(Msg.CHANNEL_OPEN)[0]!);
  transport.receive(confirmation(sender));
  await until(() => transport.sent.some((payload) => payload[0] === Msg.CHANNEL_CLOSE), "It is not closed");
  await assertRejects(() => agent.open({ timeout: 0 }), RangeError, "milliseconds above 0");
});

Deno.test("session.agent.listen() that cannot listen leaves no folder behind", async () => {
  const { mux } = fakeMux({}, "server"), tried: string[] = [];
  const listenUnix = (path: string): never => {
    tried.push(path);
    assert(Deno.statSync(path.replace(/\/agent$/, "")).isDirectory);
    throw new Deno.errors.NotCapable("no");
  };
  const errors: unknown[] = [], sockets = { ...systemSockets, listenUnix };
  using agent = new ForwardedAgents(mux, { sockets, onError: (error) => errors.push(error) }).open();
  await assertRejects(() => agent.listen(), Deno.errors.NotCapable);
  assertEquals([tried.length, errors.length], [1, 1]);
  assertThrows(() => Deno.statSync(tried[0]!.replace(/\/agent$/, "")), Deno.errors.NotFound);
});
