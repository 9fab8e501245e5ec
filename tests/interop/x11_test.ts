/**
 * Real programs of X, shown on a display through OpenSSH at either end: `ssh -X` and `-Y` to `serve()`, and `x11` of a client to sshd.
 *
 * @module
 */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serve, type ServeOptions } from "../../lib/api/server.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { SshError } from "../../lib/errors.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { insecureAcceptAnyHostKey } from "../../lib/keys/trust/known_hosts.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { run } from "../_support/child.ts";
import { scratchDir, testKeys } from "../_support/keys.ts";
import { openSsh10, peers, peerTest, startOpenSshd } from "../_support/peers.ts";
import { until } from "../_support/until.ts";
import { startX, type XServer } from "./_x11.ts";

const decoder = new TextDecoder();

/** Has programs find the display, and puts back what was set. */
function useDisplay({ display, authority }: XServer): Disposable {
  const before = ["DISPLAY", "XAUTHORITY"].map((name) => [name, Deno.env.get(name)] as const);
  Deno.env.set("DISPLAY", display);
  Deno.env.set("XAUTHORITY", authority);
  return {
    [Symbol.dispose]: () => {
      for (const [name, value] of before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    },
  };
}

/** Runs the command of a session with the display that was lent to it. */
async function withDisplay(session: ServerSession): Promise<number> {
  const writer = session.stdout.getWriter();
  if (session.x11 === null) {
    await writer.write(new TextEncoder().encode("no display\n"));
    return 3;
  }
  const authority = Deno.makeTempFileSync({ dir: scratchDir() });
  Deno.writeFileSync(authority, session.x11.authority, { mode: 0o600 });
  const { stdout, stderr, code } = await new Deno.Command("/bin/sh", {
    args: ["-c", session.command!],
    env: { DISPLAY: session.env.DISPLAY!, XAUTHORITY: authority },
    stdin: "null",
  }).output();
  await writer.write(stdout);
  await writer.write(stderr);
  return code;
}

function isFree(port: number): Promise<boolean> {
  return Deno.connect({ hostname: "127.0.0.1", port }).then((conn) => {
    conn.close();
    return false;
  }, () => true);
}

async function server(options: Partial<ServeOptions> = {}) {
  const { user, host } = await testKeys();
  return serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await parsePrivateKey(await Deno.readTextFile(host.ed25519.file))],
    auth: { publicKey: (_info, key) => key.toString() === user.ed25519.line.split(" ").slice(0, 2).join(" ") },
    handler: withDisplay,
    onListen: () => {},
    ...options,
  });
}

for (const version of ["9.2", "10"] as const) {
  const id = version === "10" ? "openssh10" : "openssh", both = peers[id].installed ? "x11" : id;

  peerTest(both, `a client shows windows of programs on ${peers[id].title}'s sshd, trusted and untrusted`, async () => {
    await using x = await startX();
    using _ = useDisplay(x);
    await using sshd = await startOpenSshd({ version, config: ["X11Forwarding=yes"] });
    await using client = await connect({
      hostname: sshd.hostname,
      port: sshd.port,
      username: sshd.username,
      auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(sshd.clientKey.file)))],
      verifyHostKey: insecureAcceptAnyHostKey(),
    });
    for (const x11 of [{ trusted: true }, true, { cookie: x.cookie, display: `unix${x.display}.0` }]) {
      const { code, stdout, stderr } = await client.exec("xdpyinfo", { x11 });
      assertEquals(code, 0, decoder.decode(stderr));
      assertStringIncludes(decoder.decode(stdout), "320x240");
      // What untrusted programs see of a display leaves out the extensions that could watch others.
      assertEquals(decoder.decode(stdout).includes("XTEST"), x11 !== true);
    }
    // The right cookie, and nothing else.
    const { stdout, code } = await client.exec("xauth list; XAUTHORITY=/dev/null xdpyinfo", { x11: { trusted: true } });
    assertEquals([code, decoder.decode(stdout).includes(x.cookie)], [1, false]);
  });

  peerTest(both, `ssh -X and ssh -Y of ${peers[id].title} show windows of programs on serve()`, async () => {
    await using x = await startX();
    const { user, host } = await testKeys(), dir = scratchDir(), seen: unknown[] = [];
    await using listening = await server({
      allowX11: ({ username }) => username === "amiko",
      handler: (session) => {
        seen.push(session.x11 && [session.x11.protocol, session.x11.cookie.length, session.x11.display.split(":")[0]]);
        return withDisplay(session);
      },
    });
    const { port } = listening.addr;
    Deno.writeTextFileSync(`${dir}/known_hosts`, `[127.0.0.1]:${port} ${host.ed25519.line}\n`);
    const ssh = (name: string, ...args: string[]) =>
      run([
        version === "10" ? `${openSsh10()}/bin/ssh` : "/usr/bin/ssh",
        ...["-F", "/dev/null", "-p", String(port), "-i", user.ed25519.file, "-o", "IdentitiesOnly=yes"],
        ...["-o", `UserKnownHostsFile=${dir}/known_hosts`, "-o", "BatchMode=yes", ...args, `${name}@127.0.0.1`],
        "xdpyinfo",
      ], { env: { DISPLAY: x.display, XAUTHORITY: x.authority } });
    for (const how of [["-Y"], ["-X", "-o", "ForwardX11Trusted=no"]]) {
      const { stdout, stderr, code } = await ssh("amiko", ...how);
      assertEquals([code, stderr], [0, ""]);
      assertStringIncludes(decoder.decode(stdout), "320x240");
      assertEquals(decoder.decode(stdout).includes("XTEST"), how[0] === "-Y");
    }
    const refused = await ssh("mallory", "-Y");
    assertEquals([refused.code, decoder.decode(refused.stdout)], [3, "no display\n"]);
    assertStringIncludes(refused.stderr, "X11 forwarding request failed");
    const one = ["MIT-MAGIC-COOKIE-1", 32, "127.0.0.1"];
    assertEquals(seen, [one, one, null]);
  });
}

peerTest("x11", "a client of serve() shows windows, and is refused where nothing allows that", async () => {
  await using x = await startX();
  using _ = useDisplay(x);
  const { user } = await testKeys();
  const login = async (port: number) =>
    await connect({
      ...{ hostname: "127.0.0.1", port, username: "amiko", verifyHostKey: insecureAcceptAnyHostKey() },
      auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(user.ed25519.file)))],
    });
  {
    const ports: number[] = [];
    await using listening = await server({
      allowX11: true,
      handler: (session) => {
        ports.push(6000 + Number(session.x11!.display.match(/:(\d+)/)![1]));
        return withDisplay(session);
      },
    });
    await using client = await login(listening.addr.port);
    const outputs = await Promise.all(
      [true, { trusted: true }, { trusted: true, single: true }].map((x11) =>
        client.exec("xdpyinfo; xdpyinfo 2>&1 >/dev/null", { x11 })
      ),
    );
    assertEquals(outputs.map(({ code }) => code), [0, 0, 1]);
    for (const { stdout } of outputs) assertStringIncludes(decoder.decode(stdout), "320x240");
    // A listener ends with its session.
    for (const port of ports) {
      await until(() => isFree(port), "the listener ends");
    }
  }
  await using listening = await server();
  await using client = await login(listening.addr.port);
  const error = await assertRejects(() => client.exec("xdpyinfo", { x11: true }), SshError, "forwards no X11");
  assertEquals(error.code, "REQUEST_DENIED");
  assertEquals((await client.exec("xdpyinfo")).code, 3);
});
