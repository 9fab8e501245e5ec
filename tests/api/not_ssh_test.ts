/** Who answers where no SSH server is, and who hangs up: what it said is in the error, and what it means. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, serveConn, SshDisconnectError, SshError, SshProtocolError } from "../../mod.ts";
import { Transport } from "../../lib/api/transport/transport.ts";
import { Disconnect } from "../../lib/transport/messages.ts";
import type { ByteDuplex, Bytes } from "../../lib/wire/types.ts";
import { memoryPair } from "../_support/duplex.ts";
import { hostKey, rawClient, rawServer } from "../_support/scripted_login.ts";
import { inTime, turns, until } from "../_support/until.ts";

const bytes = (text: string): Bytes => new TextEncoder().encode(text);

/** What `connect()` and `Transport.startClient()` reject with over these streams. */
const clients: [name: string, start: (conn: ByteDuplex, limit: number) => Promise<unknown>][] = [
  ["connect()", (transport, handshakeTimeout) =>
    connect({
      hostname: "test",
      username: "alice",
      auth: [],
      verifyHostKey: () => true,
      transport,
      handshakeTimeout,
    })],
  ["Transport.startClient()", (conn) => new Transport(conn).startClient()],
];

/** A server that says this and hangs up. */
async function saying(start: (conn: ByteDuplex, limit: number) => Promise<unknown>, said: string): Promise<SshError> {
  const pair = memoryPair();
  const failed = assertRejects(() => start(pair.client, 20_000), SshError);
  failed.catch(() => {});
  const hearing = pair.server.readable.pipeTo(new WritableStream()).catch(() => {});
  const writer = pair.server.writable.getWriter();
  if (said !== "") await writer.write(Uint8Array.from(said, (c) => c.charCodeAt(0)));
  await writer.close();
  const error = await inTime(failed, "the error");
  await inTime(hearing, "the end of what is heard");
  return error;
}

for (const [name, start] of clients) {
  Deno.test(`${name} quotes what answers in the place of an SSH server`, async () => {
    const closed = "Peer closed the connection before it identified itself";
    const none = ": that is no SSH server";
    const cases: [said: string, message: string][] = [
      ["HTTP/1.0 400 Bad request\r\n\r\n<html>", `${closed}; it sent "HTTP/1.0 400 Bad request"${none}`],
      ["220 mail ESMTP\r\n", `${closed}; it sent "220 mail ESMTP"${none}`],
      ["\x15\x03\x01\x00\x02\x02\x46", `${closed}; it sent "\\x15\\x03\\x01\\x00\\x02\\x02F"${none}`],
      ["Exceeded MaxStartups\r\n", `${closed}; it sent "Exceeded MaxStartups"`],
      ["Not allowed at this time\r\n", `${closed}; it sent "Not allowed at this time"`],
      ["\x1b]0;owned\x07\r\n", `${closed}; it sent "\\x1b]0;owned\\x07"`],
      ["", `${closed}: it may have too many connections, or block this address`],
    ];
    for (const [said, message] of cases) {
      const error = await saying(start, said);
      assertEquals([error.message, error.code], [message, "CONNECTION_LOST"]);
    }
  });
}

Deno.test("connect() quotes a server that greets in another protocol and waits, when its time is over", async () => {
  for (const [said, why] of [["220 mail ESMTP\r\n", '; it sent "220 mail ESMTP": that is no SSH server'], ["", ""]]) {
    const pair = memoryPair();
    const failed = assertRejects(() => clients[0]![1](pair.client, 50), SshError);
    failed.catch(() => {});
    const writer = pair.server.writable.getWriter();
    if (said !== "") await writer.write(bytes(said!));
    const { message } = await inTime(failed, "the error");
    assertEquals(message, `Key exchange took longer than 50 ms: the peer did not identify itself${why}`);
    await Promise.allSettled([writer.close(), pair.server.readable.cancel()]);
  }
});

Deno.test("connect() to a web server says what that answered", async () => {
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => new Response("hello"));
  const { port } = server.addr;
  const options = { hostname: "127.0.0.1", port, username: "alice", auth: [], verifyHostKey: () => true };
  const error = await assertRejects(() => connect({ ...options, handshakeTimeout: 20_000 }), SshError);
  assertStringIncludes(error.message, '; it sent "HTTP/1.1 400 Bad Request": that is no SSH server');
});

Deno.test("what a client says that does not speak SSH stands neither in the error of serveConn() nor in the answer", async () => {
  const pair = memoryPair();
  const served = serveConn(pair.server, { hostKeys: [hostKey], auth: {} }).then(() => null, (error) => error);
  const writer = pair.client.writable.getWriter();
  // The server may have hung up before it has taken all.
  const writing = writer.write(bytes("GET /<script> HTTP/1.1\r\nHost: x\r\n")).catch(() => {});
  const answer = new Response(pair.client.readable).text();
  const error = await inTime(served, "the error");
  assertInstanceOf(error, SshProtocolError);
  assertEquals(error.message, 'Peer does not speak SSH: its first line does not begin with "SSH-"');
  await writing;
  await writer.close().catch(() => {});
  const text = await answer;
  assertStringIncludes(text, "does not speak SSH");
  assert(!text.includes("script"), text);
});

Deno.test("what a client says in the place of an identification, before it goes, is not repeated", async () => {
  const pair = memoryPair();
  const served = serveConn(pair.server, { hostKeys: [hostKey], auth: {} }).then(() => null, (error) => error);
  const answer = new Response(pair.client.readable).text();
  const writer = pair.client.writable.getWriter();
  await writer.write(bytes("SSH-MARKER"));
  await writer.close();
  const error = await inTime(served, "the error");
  assertInstanceOf(error, SshError);
  assert(!error.message.includes("MARKER"), error.message);
  assert(!(await answer).includes("MARKER"));
});

Deno.test("connect() tells no server what it said itself", async () => {
  const pair = memoryPair();
  const failed = assertRejects(() => clients[0]![1](pair.client, 20_000), SshProtocolError, '"x: MARKER');
  failed.catch(() => {});
  const writer = pair.server.writable.getWriter();
  const answer = new Response(pair.server.readable).text();
  // Line after line, without an identification.
  await writer.write(bytes("x: MARKER\r\n".repeat(1025)));
  await inTime(failed, "the error");
  await writer.close().catch(() => {});
  const text = await answer;
  assertStringIncludes(text, "lines before the identification");
  assert(!text.includes("MARKER"), text);
});

/** Streams whose writes fail from the second one on; the peer has said `said` by then, and hangs up unless it `stays`. */
function broken(said: Uint8Array, stays = false): ByteDuplex {
  let writes = 0, fail = (): void => {};
  const failed = new Promise<void>((resolve) => fail = resolve);
  let state: "waits" | "said" = "waits";
  return {
    readable: new ReadableStream<Uint8Array>({
      async pull(controller) {
        if (state === "said") return stays ? await new Promise(() => {}) : controller.close();
        state = "said";
        controller.enqueue(bytes("SSH-2.0-x\r\n"));
        // What lies in the socket is read once the write has failed.
        await failed;
        await turns(3);
        if (said.length > 0) controller.enqueue(said);
      },
    }, { highWaterMark: 0 }),
    writable: new WritableStream<Uint8Array>({
      write() {
        if (++writes < 2) return;
        fail();
        throw new Deno.errors.BrokenPipe("Broken pipe (os error 32)");
      },
    }),
  };
}

Deno.test("connect() says what a server said before it hung up, where a write fails first", async () => {
  const payload = Disconnect.encode({ reason: 12, description: "Too many connections", language: "" });
  const padding = 4 + (8 - (4 + 1 + payload.length + 4) % 8) % 8;
  const packet = new Uint8Array(5 + payload.length + padding);
  new DataView(packet.buffer).setUint32(0, packet.length - 4);
  packet[4] = padding;
  packet.set(payload, 5);
  const told = await assertRejects(() => inTime(clients[0]![1](broken(packet), 20_000), "the end"), SshDisconnectError);
  assertEquals([told.message, told.reason], ["Peer disconnected: Too many connections (12)", 12]);
  const closed = await assertRejects(() => inTime(clients[0]![1](broken(bytes("")), 20_000), "the end"), SshError);
  assertEquals(closed.message, "Peer closed the connection without a word");
  // One that neither says anything nor hangs up is not waited for.
  const lost = await assertRejects(() => inTime(clients[0]![1](broken(bytes(""), true), 20_000), "the end"), SshError);
  assertEquals([lost.message, lost.code], ["Connection was lost while writing", "CONNECTION_LOST"]);
  assertInstanceOf(lost.cause, Deno.errors.BrokenPipe);
});

// C10 of the cases: what comes in one piece with the line is dropped by some servers; ssh and sshd wait as well.
for (const role of ["client", "server"] as const) {
  Deno.test(`a ${role} sends nothing behind its identification before the peer's has come`, async () => {
    // There is room for what is sent, so that it counts before the peer reads.
    const pair = memoryPair({ chunks: "whole", highWaterMark: 65_536 });
    const peer = role === "client" ? rawServer(pair.server) : rawClient(pair.client);
    const way = role === "client" ? pair.toServer : pair.toClient;
    const transport = new Transport(role === "client" ? pair.client : pair.server, { ident: "here" });
    if (role === "server") transport.addServerKey(hostKey);
    const started = role === "client" ? transport.startClient() : transport.startServer();
    const line = "SSH-2.0-here\r\n".length;
    await until(() => way.written === line, "The identification did not come");
    await turns(20);
    // Lines of text in front of it are no identification.
    if (role === "client") await peer.sendRaw(bytes("Welcome\r\n"));
    await peer.sendRaw(bytes(peer.ident));
    await turns(20);
    assertEquals(way.written, line);
    await peer.sendRaw(bytes("\r\n"));
    await until(() => way.written > line, "KEXINIT did not follow the peer's identification");
    const { sendRaw } = peer;
    peer.sendRaw = () => Promise.resolve();
    await peer.identify();
    peer.sendRaw = sendRaw;
    await peer.rekey();
    await inTime(started, "the first exchange");
    const closed = transport.close();
    await peer.disconnected();
    await peer.close();
    await closed;
  });
}
