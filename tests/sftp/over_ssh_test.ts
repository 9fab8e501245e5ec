/** `client.sftp()` over a connection: its signal, and how its channel ends. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, generateKey, password, pinnedHostKey, serve, type ServerSession, type SshClient } from "../../mod.ts";
import { SftpError } from "../../lib/errors.ts";
import { memoryFiles, testPair } from "../../lib/testing/mod.ts";
import { sftpSubsystem } from "../../server.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { framed, idOf, pattern, RawPeer } from "../_support/sftp_peers.ts";

async function linked(
  sftp: (session: ServerSession) => Promise<number>,
): Promise<AsyncDisposable & { readonly client: SshClient; readonly stop: () => void }> {
  const hostKey = await generateKey(), controller = new AbortController();
  const server = serve({
    signal: controller.signal,
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [hostKey],
    auth: { password: () => true },
    subsystems: { sftp },
    onListen: () => {},
    onError: () => {},
  });
  const client = await connect({
    hostname: "127.0.0.1",
    port: server.addr.port,
    username: "u",
    auth: [password("x")],
    verifyHostKey: pinnedHostKey(await hostKey.publicKey.fingerprint()),
  });
  return {
    client,
    stop: () => controller.abort(),
    async [Symbol.asyncDispose]() {
      await client.close();
      await server.shutdown();
    },
  };
}

Deno.test("SftpClient.close() ends the channel of a server that reads nothing more", async () => {
  const gone = Promise.withResolvers<string>();
  await using link = await linked(async (session) => {
    session.signal.addEventListener("abort", () => gone.resolve("closed"));
    const writer = session.stdout.getWriter(), reader = session.stdin.getReader();
    await reader.read();
    await writer.write(framed(m.encodeVersion(Fxp.VERSION, 3)));
    const { value } = await reader.read();
    // The handle for the one file, and then nothing any more.
    await writer.write(framed(m.Handle.encode({ id: idOf(value!.subarray(4)), handle: new Uint8Array([1]) })));
    await gone.promise;
    return 0;
  });
  const sftp = await link.client.sftp();
  const file = await sftp.open("/f", { write: true });
  const writing = file.writeAt(pattern(8_000_000), 0).catch(() => "refused");
  await turns();
  await sftp.close();
  assertEquals(await writing, "refused");
  const outcome = await inTime(gone.promise, "The end of the channel").finally(() => gone.resolve(""));
  assertEquals(outcome, "closed");
});

Deno.test("SftpClient.close() ends the channel of a server that is silent", async () => {
  const gone = Promise.withResolvers<string>();
  await using link = await linked(async (session) => {
    session.signal.addEventListener("abort", () => gone.resolve("closed"));
    const writer = session.stdout.getWriter(), reader = session.stdin.getReader();
    await reader.read();
    await writer.write(framed(m.encodeVersion(Fxp.VERSION, 3)));
    while (!(await reader.read()).done);
    await gone.promise;
    return 0;
  });
  const sftp = await link.client.sftp();
  await sftp.close();
  const outcome = await inTime(gone.promise, "The end of the channel").finally(() => gone.resolve(""));
  assertEquals(outcome, "closed");
});

Deno.test("client.sftp() is opened under its signal, and outlives it", async () => {
  await using link = await linked(async (session) => {
    const peer = new RawPeer({ readable: session.stdin, writable: session.stdout });
    await peer.next();
    await peer.send(m.encodeVersion(Fxp.VERSION, 3));
    for (let payload = await peer.next(); payload !== null; payload = await peer.next()) {
      await peer.send(m.Attrs.encode({ id: idOf(payload), attrs: { size: 5, mode: 0o100644 } }));
    }
    await peer.end();
    return 0;
  });
  const controller = new AbortController();
  const sftp = await link.client.sftp({ signal: controller.signal });
  assertEquals((await sftp.stat("/f")).size, 5);
  controller.abort(new Error("the time to open it is over"));
  await turns();
  const after = await sftp.stat("/f").then((info) => info.size, (error) => (error as Error).message);
  await sftp.close();
  assertEquals(after, 5);
});

Deno.test("client.sftp() ends the channel of a server that breaks the protocol", async () => {
  const gone = Promise.withResolvers<string>();
  await using link = await linked(async (session) => {
    session.signal.addEventListener("abort", () => gone.resolve("closed"));
    const writer = session.stdout.getWriter(), reader = session.stdin.getReader();
    await reader.read();
    await writer.write(framed(m.encodeVersion(Fxp.VERSION, 3)));
    await reader.read();
    await writer.write(framed(m.StatusReply.encode({ id: 77, status: 0, text: "", language: "" })));
    await gone.promise;
    return 0;
  });
  const sftp = await link.client.sftp();
  const outcome = await sftp.stat("/f").then(() => "answered", (error) => (error as Error).message);
  assertStringIncludes(outcome, "no request has the id 77");
  const end = await inTime(gone.promise, "The end of the channel").finally(() => gone.resolve(""));
  await sftp.close();
  assertEquals(end, "closed");
});

Deno.test("a call of client.sftp() carries CONNECTION_LOST where the server goes, and CLOSED where the client was closed", async () => {
  const ends: readonly (readonly [string, (link: Awaited<ReturnType<typeof linked>>) => unknown])[] = [
    ["CONNECTION_LOST", ({ stop }) => stop()],
    ["CLOSED", ({ client }) => client.close()],
  ];
  for (const [code, end] of ends) {
    await using link = await linked(async (session) => {
      const peer = new RawPeer({ readable: session.stdin, writable: session.stdout });
      await peer.next();
      await peer.send(m.encodeVersion(Fxp.VERSION, 3));
      while (await peer.next() !== null);
      return 0;
    });
    const sftp = await link.client.sftp();
    const waiting = sftp.stat("/f").then(() => null, (error) => error);
    await turns();
    await end(link);
    for (const error of [await waiting, await sftp.stat("/f").then(() => null, (error) => error)]) {
      assertEquals([error instanceof SftpError, (error as SftpError).code], [true, code], String(error));
    }
  }
});

Deno.test("What is asked for while SftpClient.close() goes on is refused by itself: its session ends well, and the connection stays", async () => {
  const errors: unknown[] = [], files = memoryFiles({ "/a": "abc" });
  await using pair = await testPair({
    subsystems: { sftp: sftpSubsystem(files) },
    handler: async (session) => await session.write("here"),
    onError: (error) => errors.push(error),
  });
  for (const before of [false, true]) {
    const sftp = await pair.client.sftp();
    const asked = before ? sftp.readTextFile("/a").catch(String) : null;
    const stated = before ? sftp.stat("/a").then(({ size }) => size) : null;
    const closing = sftp.close();
    const at = [sftp.stat("/a"), sftp.writeFile("/b", new Uint8Array(200_000))];
    const late = [...at, turns(1).then(() => sftp.stat("/a"))].map((one) => assertRejects(() => one, SftpError));
    for (const { code } of await Promise.all(late)) assertEquals(code, "CLOSED");
    await closing;
    if (before) assertEquals(await stated, 3);
    await asked;
  }
  assertEquals((await pair.client.exec("x")).text(), "here");
  assertEquals(errors, []);
});

Deno.test("A handler around sftpSubsystem() has standard error still when that is done, whose end is no end of the session", async () => {
  const serve = sftpSubsystem(memoryFiles({ "/a": "abc" })), told: unknown[] = [], errors: unknown[] = [];
  await using pair = await testPair({
    subsystems: {
      sftp: async (session) => {
        const early = session.write(new Uint8Array(300_000), "stderr");
        await serve(session);
        await early;
        told.push(await session.write("done", "stderr").catch((error) => error));
        return 3;
      },
    },
    onError: (error) => errors.push(error),
  });
  const sftp = await pair.client.sftp();
  assertEquals(await sftp.readTextFile("/a"), "abc");
  await sftp.close();
  await until(() => told.length > 0, "The end of the handler");
  assertEquals([told, errors], [[undefined], []]);
});
