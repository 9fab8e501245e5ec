import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { publicKey } from "../../lib/auth/methods.ts";
import { SshError, type SshErrorCode } from "../../lib/errors.ts";
import { connectAgent } from "../../lib/agent/agent.ts";
import { agentDialler, agentSocketPath, type AgentSystem } from "../../lib/agent/agent_socket.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { join } from "../_support/joined.ts";
import { memoryPair } from "../_support/duplex.ts";
import { questionOf } from "../_support/agents.ts";
import { blobOf, opensshKeys, strings, utf8 } from "../_support/key_vectors.ts";

const u32 = (n: number) => Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);
const frame = (...body: Uint8Array[]) => strings(new Uint8Array(body.flatMap((part) => [...part])));
const FAILURE = frame(Uint8Array.of(5));
const ed = blobOf(opensshKeys()[0]!.public), rsa = blobOf(opensshKeys()[4]!.public);
const identities = (...keys: [Uint8Array, string][]) =>
  frame(Uint8Array.of(12), u32(keys.length), ...keys.map(([blob, comment]) => strings(blob, comment)));

/** Answers each request with what `answer` gives, or closes on null. */
async function serve(conn: ByteDuplex, answer: (request: Uint8Array) => Uint8Array | null): Promise<void> {
  const writer = conn.writable.getWriter();
  let buffer: number[] = [];
  try {
    for await (const chunk of conn.readable) {
      buffer.push(...chunk);
      for (;;) {
        if (buffer.length < 4) break;
        const length = new DataView(Uint8Array.from(buffer.slice(0, 4)).buffer).getUint32(0);
        if (buffer.length < 4 + length) break;
        const reply = answer(Uint8Array.from(buffer.slice(4, 4 + length)));
        buffer = buffer.slice(4 + length);
        if (reply === null) return await writer.close();
        await writer.write(reply);
      }
    }
  } catch { /* the client let go */ }
}

async function assertCode(action: Promise<unknown>, code: SshErrorCode, what?: string): Promise<void> {
  const error = await assertRejects(() => action, what);
  assertInstanceOf(error, SshError, what);
  assertEquals(error.code, code, `${what}: ${error.message}`);
}

Deno.test("connectAgent() lists identities and signs with the flags for RSA", async () => {
  const key = await parsePrivateKey(opensshKeys()[4]!.private);
  const requests: Uint8Array[] = [];
  const { client, server } = memoryPair();
  const data = utf8("data");
  const signatures = new Map([[4, await key.sign(data, "rsa-sha2-512")], [2, await key.sign(data, "rsa-sha2-256")]]);
  const serving = serve(server, (request) => {
    requests.push(request);
    if (request[0] === 11) {
      return identities([ed, "one"], [strings("ssh-dss", 1n), "old"], [rsa, "twö"], [new Uint8Array(0), "empty"]);
    }
    return frame(Uint8Array.of(14), strings(signatures.get(request.at(-1)!)!));
  });
  {
    await using agent = await connectAgent(client);
    const signers = await agent.signers();
    assertEquals(signers.map(({ publicKey, comment }) => `${publicKey.type} ${comment}`), [
      "ssh-ed25519 one",
      "ssh-rsa twö",
    ]);
    const signer = signers[1]!;
    assertEquals(signer.algorithms, ["rsa-sha2-512", "rsa-sha2-256"]);
    for (const algorithm of signer.algorithms) {
      assert(await signer.publicKey.verify(data, await signer.sign(data, algorithm)));
    }
    await assertRejects(() => signer.sign(data, "ssh-rsa"), TypeError);
    await assertRejects(() => signer.sign(new Uint8Array(262_145), "rsa-sha2-512"), RangeError);
    assertEquals(requests[1], new Uint8Array([13, ...strings(rsa, data), 0, 0, 0, 4]));
    assertEquals(requests[2], new Uint8Array([13, ...strings(rsa, data), 0, 0, 0, 2]));
  }
  await serving;
});

Deno.test("connectAgent() keeps requests and answers in step, whatever the chunks", async () => {
  const key = await parsePrivateKey(opensshKeys()[0]!.private);
  const { client, server } = memoryPair({ chunks: "bytes", highWaterMark: 0 });
  const pending: Uint8Array[] = [];
  const texts = Array.from({ length: 20 }, (_, i) => utf8(`data ${i}`));
  for (const text of texts) pending.push(await key.sign(text, "ssh-ed25519"));
  const serving = serve(server, (request) => {
    if (request[0] === 11) return identities([ed, ""]);
    const signature = pending.shift()!;
    return pending.length % 5 === 0 ? FAILURE : frame(Uint8Array.of(14), strings(signature));
  });
  const agent = await connectAgent(client);
  const [signer] = await agent.signers();
  const results = await Promise.allSettled(texts.map((text) => signer!.sign(text, "ssh-ed25519")));
  for (const [i, result] of results.entries()) {
    if ((19 - i) % 5 === 0) {
      assert(result.status === "rejected");
      assertEquals(result.reason.code, "REQUEST_DENIED");
    } else {
      assert(result.status === "fulfilled");
      assert(await key.publicKey.verify(texts[i]!, result.value));
    }
  }
  await agent[Symbol.asyncDispose]();
  await serving;
});

Deno.test("connectAgent() meets hostile answers with typed errors and no more requests", async () => {
  const cases: [string, Uint8Array | null, SshErrorCode][] = [
    ["failure", FAILURE, "REQUEST_DENIED"],
    ["success for a list", frame(Uint8Array.of(6)), "PROTOCOL_ERROR"],
    ["sign response for a list", frame(Uint8Array.of(14), strings("x")), "PROTOCOL_ERROR"],
    ["length 0", u32(0), "PROTOCOL_ERROR"],
    ["256 KiB + 1", u32(262_145), "PROTOCOL_ERROR"],
    ["4 GiB", u32(0xffff_ffff), "PROTOCOL_ERROR"],
    ["count without keys", frame(Uint8Array.of(12), u32(1)), "PROTOCOL_ERROR"],
    ["count of 2^32-1", frame(Uint8Array.of(12), u32(0xffff_ffff)), "PROTOCOL_ERROR"],
    ["more behind the keys", frame(Uint8Array.of(12), u32(0), u32(0)), "PROTOCOL_ERROR"],
    ["string beyond the end", frame(Uint8Array.of(12), u32(1), u32(0xffff_ffff)), "PROTOCOL_ERROR"],
    ["end at once", null, "CONNECTION_LOST"],
  ];
  for (const [what, reply, code] of cases) {
    const { client, server } = memoryPair();
    const serving = serve(server, () => reply);
    const agent = await connectAgent(client);
    await assertCode(agent.signers(), code, what);
    await assertCode(agent.signers(), code, `${what}, again`);
    await agent[Symbol.asyncDispose]();
    await assertCode(agent.signers(), code === "REQUEST_DENIED" ? "CLOSED" : code, `${what}, after the end`);
    await serving;
  }
});

Deno.test("connectAgent() refuses signatures that are not what was asked for", async () => {
  const cases: [string, Uint8Array, SshErrorCode][] = [
    ["success", frame(Uint8Array.of(6)), "PROTOCOL_ERROR"],
    ["another algorithm", frame(Uint8Array.of(14), strings(strings("ssh-rsa", "x"))), "PROTOCOL_ERROR"],
    ["not a signature", frame(Uint8Array.of(14), strings("x")), "PROTOCOL_ERROR"],
    ["empty", frame(Uint8Array.of(14)), "PROTOCOL_ERROR"],
    ["failure", FAILURE, "REQUEST_DENIED"],
  ];
  for (const [what, reply, code] of cases) {
    const { client, server } = memoryPair();
    const serving = serve(server, (request) => request[0] === 11 ? identities([rsa, ""]) : reply);
    await using agent = await connectAgent(client);
    const [signer] = await agent.signers();
    await assertCode(signer!.sign(utf8("x"), "rsa-sha2-256"), code, what);
    await agent[Symbol.asyncDispose]();
    await serving;
  }
});

Deno.test("connectAgent() takes nothing that it did not ask for as an answer", async () => {
  const { client, server } = memoryPair({ chunks: "whole" });
  const two = new Uint8Array([...identities([ed, ""]), ...identities([rsa, ""])]);
  const serving = serve(server, () => two);
  await using agent = await connectAgent(client);
  assertEquals((await agent.signers())[0]!.publicKey.type, "ssh-ed25519");
  await assertCode(agent.signers(), "PROTOCOL_ERROR");
  await serving;
});

Deno.test("connectAgent() settles every request when the streams end at any byte", async () => {
  const answer = identities([ed, "one"]);
  for (const cut of ["reset", "end"] as const) {
    for (let at = 0; at < answer.length; at++) {
      const { client, server } = memoryPair({ cutAfter: { toClient: at }, cut });
      const serving = serve(server, () => answer);
      await using agent = await connectAgent(client);
      const both = [agent.signers(), agent.signers()];
      for (const one of both) await assertCode(one, "CONNECTION_LOST", `${cut} at ${at}`);
      await agent[Symbol.asyncDispose]();
      await serving;
    }
  }
});

Deno.test("Agent[Symbol.asyncDispose]() settles requests that wait for an answer", async () => {
  const { client } = memoryPair();
  const agent = await connectAgent(client);
  const waiting = [agent.signers(), agent.signers(), agent.signers()].map((one) => assertCode(one, "CLOSED"));
  await Promise.resolve();
  await agent[Symbol.asyncDispose]();
  await agent[Symbol.asyncDispose]();
  await Promise.all(waiting);
  await assertCode(agent.signers(), "CLOSED");
});

Deno.test("connectAgent() says that SSH_AUTH_SOCK is missing or nobody answers there", async () => {
  const before = Deno.env.get("SSH_AUTH_SOCK");
  try {
    Deno.env.delete("SSH_AUTH_SOCK");
    const missing = await assertRejects(() => connectAgent(), SshError, "SSH_AUTH_SOCK is not set");
    assertEquals(missing.code, "CONNECTION_LOST");
    Deno.env.set("SSH_AUTH_SOCK", "/nonexistent/agent");
    await assertRejects(() => connectAgent(), SshError, "/nonexistent/agent");
  } finally {
    if (before === undefined) Deno.env.delete("SSH_AUTH_SOCK");
    else Deno.env.set("SSH_AUTH_SOCK", before);
  }
});

// C17: Windows' agent of old and Apache MINA's answer the flags for SHA-2 with ssh-rsa.
Deno.test("a signature that an agent refuses, or makes with another algorithm, costs that key and not the agent", async () => {
  const key = await parsePrivateKey(opensshKeys()[0]!.private);
  const answers: [string, Uint8Array][] = [
    ["ssh-rsa", frame(Uint8Array.of(14), strings(strings("ssh-rsa", "x")))],
    ["the other hash", frame(Uint8Array.of(14), strings(strings("rsa-sha2-256", "x")))],
    ["another type", frame(Uint8Array.of(14), strings(strings("ssh-ed25519", new Uint8Array(64))))],
    ["garbage", frame(Uint8Array.of(14), strings(new Uint8Array(40).fill(0xff)))],
    ["no signature", frame(Uint8Array.of(14))],
    ["more behind it", frame(Uint8Array.of(14), strings(strings("rsa-sha2-512", "x"), "more"))],
    ["a length beyond the end", frame(Uint8Array.of(14), u32(0xffff_ffff))],
    ["another answer", frame(Uint8Array.of(6))],
    ["an unknown answer", frame(Uint8Array.of(255), strings("x"))],
    ["failure", FAILURE],
    ["failure of old agents", frame(Uint8Array.of(30))],
    ["failure of ssh.com's", frame(Uint8Array.of(102))],
  ];
  for (const [what, answer] of answers) {
    const { client, server } = memoryPair();
    const signature = { ready: await key.sign(utf8("x"), "ssh-ed25519") };
    const serving = serve(server, (request) => {
      if (request[0] === 11) return identities([rsa, "one"], [ed, "two"]);
      const isRsa = new DataView(request.buffer).getUint32(1) === rsa.length;
      return isRsa ? answer : frame(Uint8Array.of(14), strings(signature.ready));
    });
    await using agent = await connectAgent(client);
    const [first, second] = await agent.signers();
    const error = await assertRejects(() => first!.sign(utf8("x"), "rsa-sha2-512"), SshError, undefined, what);
    assertEquals(error.code, what.startsWith("failure") ? "REQUEST_DENIED" : "PROTOCOL_ERROR", what);
    if (what === "ssh-rsa") assert(error.message.includes('it signed with "ssh-rsa" and not with "rsa-sha2-512"'));
    assertEquals(await second!.sign(utf8("x"), "ssh-ed25519"), signature.ready, what);
    assertEquals((await agent.signers()).length, 2, what);
    await agent[Symbol.asyncDispose]();
    await serving;
  }
});

Deno.test("a login goes on to the agent's next key where one gives no signature that will do", async () => {
  const key = await parsePrivateKey(opensshKeys()[0]!.private);
  for (const answer of [frame(Uint8Array.of(14), strings(strings("ssh-rsa", "x"))), FAILURE, frame(Uint8Array.of(6))]) {
    const { client, server } = memoryPair();
    const writer = server.writable.getWriter();
    const serving = (async () => {
      let buffer: number[] = [];
      for await (const chunk of server.readable) {
        buffer.push(...chunk);
        for (;;) {
          const length = buffer.length < 4
            ? Infinity
            : new DataView(Uint8Array.from(buffer.slice(0, 4)).buffer).getUint32(0);
          if (buffer.length < 4 + length) break;
          const request = Uint8Array.from(buffer.slice(4, 4 + length));
          buffer = buffer.slice(4 + length);
          if (request[0] === 11) await writer.write(identities([rsa, "one"], [ed, "two"]));
          else if (new DataView(request.buffer).getUint32(1) === rsa.length) await writer.write(answer);
          else {
            const at = 5 + ed.length, size = new DataView(request.buffer).getUint32(at);
            const signature = await key.sign(request.slice(at + 4, at + 4 + size), "ssh-ed25519");
            await writer.write(frame(Uint8Array.of(14), strings(signature)));
          }
        }
      }
    })().catch(() => {});
    await using agent = await connectAgent(client);
    const users: (string | undefined)[] = [];
    {
      await using joined = await join({
        auth: { publicKey: () => true },
        handler: (session) => {
          users.push(session.user.publicKey?.type);
          return 0;
        },
      }, { auth: [publicKey(agent)] });
      await joined.client.exec("x");
    }
    assertEquals(users, ["ssh-ed25519"]);
    await agent[Symbol.asyncDispose]();
    await serving;
  }
});

Deno.test("the agent of Windows' OpenSSH is found by its pipe, which is opened as a file; a socket of the environment goes before it", async () => {
  const pipe = "\\\\.\\pipe\\openssh-ssh-agent", other = "\\\\.\\pipe\\other";
  const cases: [string, string | undefined, string | null, string | null][] = [
    ["windows", undefined, pipe, `open ${pipe}`],
    ["windows", "", pipe, `open ${pipe}`],
    ["windows", other, other, `open ${other}`],
    ["windows", "//./PIPE/other", "//./PIPE/other", "open //./PIPE/other"],
    ["windows", "C:\\agent.sock", "C:\\agent.sock", "connect C:\\agent.sock"],
    ["linux", other, other, `connect ${other}`],
    ["linux", "/run/agent", "/run/agent", "connect /run/agent"],
    ["darwin", undefined, null, null],
  ];
  for (const [os, socket, path, asked] of cases) {
    const calls: string[] = [], { client } = memoryPair();
    const system: AgentSystem = {
      os,
      socket: () => socket,
      connect: (path) => (calls.push(`connect ${path}`), Promise.resolve(client)),
      open: (path) => (calls.push(`open ${path}`), Promise.resolve(client)),
    };
    assertEquals(agentSocketPath(system), path);
    if (asked === null) {
      assertThrows(() => agentDialler(system), SshError, "SSH_AUTH_SOCK is not set");
      continue;
    }
    const dial = agentDialler(system);
    assertEquals([await dial(), await dial()], [client, client]);
    assertEquals(calls, [asked, asked]);
  }
  const silent: AgentSystem = {
    os: "windows",
    socket: () => undefined,
    connect: () => Promise.reject(new Error("nobody")),
    open: () => Promise.reject(new Error("no such pipe")),
  };
  const error = await assertRejects(agentDialler(silent), SshError, "no such pipe; start the service");
  assertEquals(error.code, "CONNECTION_LOST");
});

Deno.test("connectAgent() asks for extensions, and says of each thing that an agent refuses what it was", async () => {
  const { client, server } = memoryPair(), key = await parsePrivateKey(opensshKeys()[0]!.private);
  const answers: Uint8Array[] = [
    frame(Uint8Array.of(29), strings("query", "query", "x@y")),
    frame(Uint8Array.of(6), strings("query", "old@draft")),
    frame(Uint8Array.of(29), strings("other")),
    frame(Uint8Array.of(28)),
    FAILURE,
    frame(Uint8Array.of(6), Uint8Array.of(1, 2)),
    FAILURE,
    FAILURE,
    FAILURE,
    FAILURE,
    FAILURE,
    frame(Uint8Array.of(6), Uint8Array.of(0)),
    frame(Uint8Array.of(6)),
  ];
  const requests: number[][] = [];
  const serving = serve(server, (request) => (requests.push([...request]), answers[requests.length - 1]!));
  {
    await using agent = await connectAgent(client);
    assertEquals([await agent.extensions(), await agent.extensions()], [["query", "x@y"], ["query", "old@draft"]]);
    await assertCode(agent.extensions(), "PROTOCOL_ERROR", "another extension's answer");
    await assertCode(agent.extension("a@b"), "REQUEST_DENIED", "the extension's failure");
    await assertCode(agent.extension("a@b", Uint8Array.of(7)), "REQUEST_DENIED", "failure");
    assertEquals(await agent.extension("a@b"), Uint8Array.of(1, 2));
    assertEquals([requests[0], requests[4]], [[27, ...strings("query")], [27, ...strings("a@b"), 7]]);
    const secret = "s3cret";
    const refusals: [() => Promise<unknown>, string][] = [
      [() => agent.add(key, { comment: "k" }), "add key"],
      [() => agent.remove(key.publicKey), "remove key"],
      [() => agent.removeAll(), "remove its keys"],
      [() => agent.lock(secret), "be locked"],
      [() => agent.unlock(secret), "be unlocked"],
    ];
    for (const [act, what] of refusals) {
      const error = await assertRejects(act, SshError, `Agent refused to ${what}: `);
      assertEquals([error.code, error.message.includes(secret)], ["REQUEST_DENIED", false]);
    }
    // An answer that is not one to the request costs the request alone.
    await assertCode(agent.removeAll(), "PROTOCOL_ERROR", "more behind success");
    await agent.removeAll();
    assertEquals(requests.at(-1), [19]);
  }
  await serving;
});

Deno.test("a key is handed to an agent as ssh-add does it, with what it is tied to", async () => {
  const key = await parsePrivateKey(opensshKeys()[0]!.private), line = await questionOf((agent) => agent.add(key));
  const point = key.publicKey.blob.slice(-32);
  assertEquals(line.slice(0, 1 + 15 + 36), new Uint8Array([17, ...strings("ssh-ed25519", point)]));
  assertEquals(line.slice(-4 - key.comment.length), strings(key.comment));
  const tied = await questionOf((agent) =>
    agent.add(key, {
      comment: "",
      lifetime: 1_001,
      confirm: true,
      destinations: [
        { to: { hostname: "b", hostKeys: [key.publicKey] } },
        {
          from: { hostname: "b", hostKeys: [key.publicKey] },
          to: { hostname: "c", username: "u*", hostKeys: [key.publicKey], cas: [key.publicKey] },
        },
      ],
    })
  );
  const { blob } = key.publicKey, join = (...parts: Uint8Array[]) => new Uint8Array(parts.flatMap((part) => [...part]));
  const plain = join(strings(blob), Uint8Array.of(0)), ca = join(strings(blob), Uint8Array.of(1));
  const hop = (user: string, host: string, ...keys: Uint8Array[]) => join(strings(user, host, ""), ...keys);
  const steps = [
    strings(hop("", ""), hop("", "b", plain), ""),
    strings(hop("", "b", plain), hop("u*", "c", plain, ca), ""),
  ];
  const constraint = strings("restrict-destination-v00@openssh.com", join(...steps.map((step) => strings(step))));
  const end = join(strings(""), Uint8Array.of(1, 0, 0, 0, 2, 2, 255), constraint);
  assertEquals([tied[0], tied.slice(-end.length)], [25, end]);
});
