/**
 * Displays and agents lent to and by AsyncSSH and paramiko, with real programs that use them.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serve } from "../../lib/api/server.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { insecureAcceptAnyHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { answersOf, serveAgent } from "../../lib/agent/serve_agent.ts";
import type { Agent } from "../../lib/keys/types.ts";
import { endChild, runText } from "../_support/child.ts";
import { scratchDir, testKeys } from "../_support/keys.ts";
import { newerPython, peers, peerTest, scripts } from "../_support/peers.ts";
import { startX } from "./_x11.ts";

const COMMAND = "xdpyinfo; ssh-add -L";
const python = "/usr/bin/python3";

/** A key of the tests in an agent of ours, listening on a socket. */
function listeningAgent(agent: Agent) {
  const path = `${scratchDir()}/agent`,
    listener = Deno.listen({ transport: "unix", path }),
    stop = new AbortController();
  const serving: Promise<unknown>[] = [];
  const accepting = (async () => {
    for await (const conn of listener) serving.push(serveAgent(conn, answersOf(agent), stop.signal).catch(() => {}));
  })();
  return {
    path,
    async [Symbol.asyncDispose]() {
      stop.abort();
      listener.close();
      await accepting;
      await Promise.all(serving);
    },
  };
}

async function setting() {
  const { user, host } = await testKeys(), key = await parsePrivateKey(await Deno.readTextFile(user.ecdsa256.file));
  const agent: Agent = {
    signers: () => Promise.resolve([key]),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  return { user, host, agent, line: user.ecdsa256.line.split(" ").slice(0, 2).join(" ") };
}

/** A server that runs commands with the display and the agent of its client. */
async function start() {
  const { host } = await testKeys();
  return serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await parsePrivateKey(await Deno.readTextFile(host.ed25519.file))],
    auth: { publicKey: () => true },
    allowX11: true,
    allowAgent: true,
    onListen: () => {},
    handler: async (session) => {
      const authority = Deno.makeTempFileSync({ dir: scratchDir() });
      Deno.writeFileSync(authority, session.x11!.authority);
      const { stdout, stderr, code } = await new Deno.Command("/bin/sh", {
        args: ["-c", session.command!],
        env: { DISPLAY: session.x11!.display, XAUTHORITY: authority, SSH_AUTH_SOCK: await session.agent!.listen() },
        stdin: "null",
      }).output();
      const writer = session.stdout.getWriter();
      await writer.write(stdout);
      await writer.write(stderr);
      return code;
    },
  });
}

const both = [peers.asyncssh, peers.paramiko].find(({ installed }) => !installed) === undefined;

peerTest(
  both ? "x11" : peers.asyncssh.installed ? "paramiko" : "asyncssh",
  `${peers.asyncssh.title} and ${peers.paramiko.title} lend displays and agents to sessions of serve()`,
  async () => {
    const { user, agent, line } = await setting();
    await using x = await startX();
    await using socket = listeningAgent(agent);
    await using server = await start();
    const settings = JSON.stringify({
      port: server.addr.port,
      key: user.ed25519.file,
      command: COMMAND,
      cookie: x.cookie,
      socket: `/tmp/.X11-unix/X${x.display.slice(1)}`,
    });
    const env = { ...newerPython, DISPLAY: x.display, XAUTHORITY: x.authority, SSH_AUTH_SOCK: socket.path };
    await Promise.all(["asyncssh", "paramiko"].map(async (id) => {
      const output = await runText([python, "-W", "ignore", `${scripts}/${id}_lending.py`, settings], { env });
      assertStringIncludes(output, "320x240", id);
      assertStringIncludes(output, line, id);
    }));
  },
);

peerTest(
  peers.asyncssh.installed ? "x11" : "asyncssh",
  `a client lends its display and its agent to sessions on ${peers.asyncssh.title}'s server`,
  async () => {
    const { user, host, agent, line } = await setting(), dir = scratchDir();
    await using x = await startX();
    const settings = { host_key: host.ed25519.file, authority: `${dir}/authority`, home: dir };
    const child = new Deno.Command(python, {
      args: ["-W", "ignore", `${scripts}/asyncssh_lending.py`, JSON.stringify(settings)],
      env: newerPython,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    try {
      const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
      const port = Number((await reader.read()).value);
      assert(port > 0);
      await using client = await connect({
        hostname: "127.0.0.1",
        port,
        username: "amiko",
        auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(user.ed25519.file)))],
        verifyHostKey: insecureAcceptAnyHostKey(),
      });
      const { stdout, code } = await client.exec(COMMAND, { x11: { cookie: x.cookie, display: x.display }, agent });
      const text = new TextDecoder().decode(stdout);
      assertEquals(code, 0, text);
      assertStringIncludes(text, "320x240");
      assertStringIncludes(text, line);
      await reader.cancel();
    } finally {
      await child.stdin.close().catch(() => {});
      await endChild(child);
    }
  },
);
