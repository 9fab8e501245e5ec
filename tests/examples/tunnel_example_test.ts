/**
 * examples/tunnel_server.ts with a client that is `ssh`.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { endChild } from "../_support/child.ts";
import { peerTest } from "../_support/peers.ts";
import { PROGRAM_HANGS, until } from "../_support/until.ts";
import { startServer } from "../_support/examples.ts";

peerTest("openssh", "examples/tunnel_server.ts brings HTTP to who has asked for the host's name", async () => {
  await using server = await startServer("tunnel_server.ts", ["0", "0"]);
  const http = /http:\S+/.exec(server.said)![0], dir = await Deno.makeTempDir();
  await using site = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    return new Response(`${request.headers.get("host")}: ${await request.text()}`);
  });
  const askPass = `${dir}/pass`;
  await Deno.writeTextFile(askPass, "#!/bin/sh\necho tunnel\n", { mode: 0o755 });
  const tunnel = (name: string, port = site.addr.port) =>
    new Deno.Command("/usr/bin/ssh", {
      args: ["-F", "/dev/null", "-N", "-p", `${server.port}`, "-o", "StrictHostKeyChecking=no"].concat(
        ["-o", "UserKnownHostsFile=/dev/null", "-o", "ExitOnForwardFailure=yes", "-o", "IdentityAgent=none"],
        ["-o", "PreferredAuthentications=password", "-R", `${name}:80:127.0.0.1:${port}`, "x@127.0.0.1"],
      ),
      env: { SSH_ASKPASS: askPass, SSH_ASKPASS_REQUIRE: "force" },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  const ask = async (host: string, end = false): Promise<[number, string]> => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: Number(new URL(http).port) });
    const request = `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello`;
    await conn.write(new TextEncoder().encode(request));
    if (end) await conn.closeWrite();
    const text = await new Response(conn.readable).text();
    return [Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]), text.split("\r\n\r\n")[1] ?? ""];
  };
  assertEquals((await ask("app.localhost"))[0], 404);
  const client = tunnel("app");
  await until(async () => (await ask("app.localhost"))[0] === 200, "the tunnel stands", PROGRAM_HANGS);
  assertEquals(await ask("app.localhost"), [200, "app.localhost: hello"]);
  assertEquals((await ask("other.localhost"))[0], 404);
  // Who has said all still gets the answer.
  using slow = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const second = tunnel("slow", slow.addr.port);
  const serving = (async () => {
    const conn = await slow.accept(), text = new TextDecoder(), part = new Uint8Array(1000);
    let said = "";
    for (let n; (n = await conn.read(part)) !== null;) said += text.decode(part.subarray(0, n));
    await conn.write(new TextEncoder().encode(`HTTP/1.1 201 Created\r\n\r\n${said.length}`));
    conn.close();
  })();
  await until(
    async () => {
      const [status, length] = await ask("slow.localhost", true);
      if (status === 201) assertEquals(length, "84");
      return status === 201;
    },
    "the answer comes",
    PROGRAM_HANGS,
  );
  await serving;
  await endChild(second);
  // A name is one client's.
  assertEquals((await tunnel("app").status).success, false);
  await endChild(client);
  await until(async () => (await ask("app.localhost"))[0] === 404, "the tunnel has gone", PROGRAM_HANGS);
  await Deno.remove(dir, { recursive: true });
});
