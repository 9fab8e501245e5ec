/**
 * Sessions with OpenSSH on the other side: `ssh` against serve(), and connect() against sshd. Which algorithms work with whom is
 * shown in tests/interop.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { connect, type ConnectOptions, type SshClient } from "../../lib/api/client.ts";
import { serve, type SshServer } from "../../lib/api/server.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { ChannelOpenError, SshError } from "../../lib/errors.ts";
import { pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import type { ServerSession, SessionHandler } from "../../lib/session/server_session.ts";
import { run } from "../_support/child.ts";
import { seededBytes, sleep } from "../_support/duplex.ts";
import { until } from "../_support/until.ts";
import { decodeText, encodeText } from "../../lib/wire/byte_text.ts";
import { testKeys } from "../_support/keys.ts";
import { peerTest, startDropbear, startOpenSshd } from "../_support/peers.ts";
import { commands, say, text } from "../_support/joined.ts";

/** "café" in Latin-1. */
const LATIN_1 = Uint8Array.of(0x63, 0x61, 0x66, 0xe9);

/** `ssh` with a throw-away key, and no file of the user's own. With `latin1`, `$cafe` in an argument is that word. */
async function ssh(
  server: SshServer,
  args: readonly string[],
  { latin1, ...options }: Parameters<typeof run>[1] & { latin1?: boolean } = {},
) {
  const { user } = await testKeys();
  const config = [
    "BatchMode=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "GlobalKnownHostsFile=/dev/null",
    "IdentityAgent=none",
    "IdentitiesOnly=yes",
    "LogLevel=ERROR",
    `IdentityFile=${user.ed25519.file}`,
  ].flatMap((line) => ["-o", line]);
  const where = ["-p", `${server.addr.port}`, "alice@127.0.0.1"];
  const command = ["/usr/bin/ssh", "-F", "/dev/null", ...config, ...where, ...args];
  // Arguments of a command are text here, and bytes there.
  const quoted = command.map((word) => `"${word}"`).join(" ");
  const shell = ["/bin/sh", "-c", `cafe=$(printf 'caf\\351'); ${quoted}`];
  return await run(latin1 ? shell : command, {
    deadline: 120_000,
    ...options,
  });
}

/** A server that lets the throw-away key in. */
async function listen(
  handler: SessionHandler,
  subsystems: Record<string, SessionHandler> = {},
): Promise<SshServer> {
  const { host, user } = await testKeys();
  return serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await parsePrivateKey(host.ed25519.text)],
    auth: { publicKey: (_info, key) => user.ed25519.line.endsWith(` ${key.blob.toBase64()}`) },
    handler,
    subsystems: { ...subsystems, upper: async (session) => void await session.stdin.pipeTo(session.stdout) },
    maxStartupsPerSource: 1000,
    onError: () => {},
  });
}

async function dial(
  options: Parameters<typeof startOpenSshd>[0] = {},
  extra: Partial<ConnectOptions> = {},
  start: typeof startOpenSshd | typeof startDropbear = startOpenSshd,
) {
  const sshd = await (start === startDropbear ? startDropbear() : startOpenSshd({ defaults: true, ...options }));
  const client: SshClient = await connect({
    hostname: sshd.hostname,
    port: sshd.port,
    username: sshd.username,
    auth: [publicKey(await parsePrivateKey(sshd.clientKey.text))],
    verifyHostKey: pinnedHostKey(...sshd.hostKeys),
    ...extra,
  });
  return {
    client,
    sshd,
    async [Symbol.asyncDispose]() {
      await client.close();
      await sshd.stop();
    },
  };
}

peerTest("openssh", "serve() gives ssh output, exit codes and signals", async () => {
  await using server = await listen(commands);
  const hello = await ssh(server, ["echo hello"]);
  assertEquals([text(hello.stdout), hello.stderr, hello.code], ["hello\n", "", 0]);
  const both = await ssh(server, ["stderr"]);
  assertEquals([text(both.stdout), both.stderr, both.code], ["out", "err", 3]);
  assertEquals((await ssh(server, ["exit 77"])).code, 77);
  assertEquals((await ssh(server, ["throw"])).code, 1);
  assertEquals(text((await ssh(server, [])).stdout), "shell of alice\n");
  await using signalled = await listen((session) => session.exit({ signal: "KILL", message: "gone" }));
  const killed = await ssh(signalled, ["x"], {});
  assertEquals(killed.code, 255);
});

peerTest("openssh", "serve() moves megabytes each way through ssh", async () => {
  await using server = await listen(commands);
  const data = seededBytes(20_000_000);
  const back = await ssh(server, ["cat"], { stdin: data });
  assertEquals([back.stdout.length, back.code], [data.length, 0]);
  assert(back.stdout.every((byte, i) => byte === data[i]));
  assertEquals((await ssh(server, ["bytes 30000000"])).stdout.length, 30_000_000);
});

peerTest("openssh", "serve() takes ssh's terminal, environment and subsystem", async () => {
  const seen: unknown[] = [];
  await using server = await listen(async (session) => {
    seen.push(session.pty?.term, session.env["AMIKO"], typeof session.pty?.modes["VINTR"]);
    await say(session.stdout.getWriter(), "done\r\n");
  });
  const { code } = await ssh(server, ["-tt", "-o", "SetEnv=AMIKO=yes", "x"], { env: { TERM: "vt100" } });
  assertEquals([code, seen], [0, ["vt100", "yes", "undefined"]]);
  const subsystem = await ssh(server, ["-s", "upper"], { stdin: new TextEncoder().encode("hello") });
  assertEquals(text(subsystem.stdout), "hello");
  const unknown = await ssh(server, ["-s", "nope"]);
  assertEquals(unknown.code, 255);
});

peerTest("openssh", "serve() refuses what ssh wants forwarded, and goes on", async () => {
  await using server = await listen(commands);
  const remote = await ssh(server, ["-R", "0:127.0.0.1:9", "echo", "x"]);
  assertEquals([text(remote.stdout), remote.code], ["x\n", 0]);
  const strict = await ssh(server, ["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:9", "echo", "x"]);
  assertEquals(strict.code, 255);
  const direct = await ssh(server, ["-W", "127.0.0.1:9"]);
  assertEquals(direct.code, 255);
  assertMatch(direct.stderr, /administratively prohibited|forwarding failed/);
});

peerTest("openssh", "serve() ends the handler when ssh is gone", async () => {
  const aborted = Promise.withResolvers<void>(), running = Promise.withResolvers<void>();
  await using server = await listen(async (session) => {
    session.signal.addEventListener("abort", () => aborted.resolve());
    running.resolve();
    await session.stdin.pipeTo(session.stdout);
    await aborted.promise;
  });
  await assertRejects(() => ssh(server, ["x"], { deadline: 1500 }), Error, "no end in time");
  await running.promise;
  await aborted.promise;
});

peerTest("openssh", "exec() and spawn() get sshd's output, exit codes and signals", async () => {
  await using both = await dial();
  const { client } = both;
  const { stdout, stderr, code } = await client.exec("echo out; echo err >&2; exit 9");
  assertEquals([text(stdout), text(stderr), code], ["out\n", "err\n", 9]);
  assertEquals((await client.exec("kill -KILL $$")).signal, "KILL");
  const data = seededBytes(20_000_000);
  await using cat = await client.spawn("cat");
  const [back] = await Promise.all([new Response(cat.stdout).bytes(), new Blob([data]).stream().pipeTo(cat.stdin)]);
  assertEquals([back.length, (await cat.status).code], [data.length, 0]);
  assert(back.every((byte, i) => byte === data[i]));
  await using quiet = await client.spawn("yes | head -c 20000000", { stdout: "null" });
  assertEquals((await quiet.output()).code, 0);
  // Disposing it does not wait for the process, whose end sshd waits for.
  await using _sleeping = await client.spawn("sleep 20");
  await assertRejects(() => client.subsystem("nope"), SshError, '"nope"');
});

peerTest("openssh", "shell() on sshd has the terminal asked for, and takes resizes", async () => {
  await using both = await dial();
  await using shell = await both.client.shell({ pty: { columns: 101, rows: 33, term: "dumb", modes: { ECHO: 0 } } });
  const writer = shell.stdin.getWriter();
  const reader = shell.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  const saw = async (wanted: string) => {
    while (!said.includes(wanted)) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`The shell ended: ${said}`);
      said += value;
    }
  };
  await say(writer, "stty size; echo $TERM; echo asked\n");
  await saw("asked");
  assertMatch(said, /33 101\s+dumb/);
  shell.resize({ columns: 44, rows: 22 });
  await say(writer, "stty size; exit 5\n");
  await saw("22 44");
  while (!(await reader.read()).done);
  assertEquals((await shell.status).code, 5);
});

peerTest(
  "openssh",
  "env reaches sshd as far as its AcceptEnv goes, and a command all the same beyond that",
  async () => {
    await using both = await dial({ config: ["AcceptEnv=AMIKO_*"] });
    const { stdout } = await both.client.exec("echo $AMIKO_A $OTHER", { env: { AMIKO_A: "yes", OTHER: "no" } });
    assertEquals(text(stdout), "yes no\n");
    await using shell = await both.client.shell({
      env: { AMIKO_A: "yes", OTHER: "no" },
      stdin: { text: "echo $AMIKO_A $OTHER\n" },
    });
    assertEquals((await shell.output()).lines().at(-1), "yes");
  },
);

peerTest("openssh", "exec() aborted at any moment leaves the connection to sshd as it was", async () => {
  // sshd counts a session until its process has ended, and by default to ten.
  await using both = await dial({ config: ["MaxSessions=100"] });
  const { client } = both, reason = new Error("enough");
  for (let delay = 0; delay < 20; delay++) {
    const abort = new AbortController();
    const result = client.exec("sleep 0.2", { signal: abort.signal }).then(() => null, (error) => error);
    await sleep(delay);
    abort.abort(reason);
    assertEquals(await result, reason);
  }
  assertEquals(text((await client.exec("echo fine")).stdout), "fine\n");
});

// C19: paramiko #502, MINA #388.
peerTest("openssh", "commands and variables that are no UTF-8 reach sshd byte by byte", async () => {
  await using both = await dial({ config: ["AcceptEnv=AMIKO_*"] });
  const { client } = both, latin1 = decodeText(Uint8Array.of(0x63, 0x61, 0x66, 0xe9));
  assertEquals((await client.exec(`printf %s ${latin1}`)).stdout, Uint8Array.of(0x63, 0x61, 0x66, 0xe9));
  const { stdout } = await client.exec('printf %s "$AMIKO_A"', { env: { AMIKO_A: latin1 } });
  assertEquals(stdout, Uint8Array.of(0x63, 0x61, 0x66, 0xe9));
});

peerTest(
  "openssh",
  "commands, variables and subsystems of ssh that are no UTF-8 reach the handler byte by byte",
  async () => {
    const seen: (string | null | undefined)[] = [];
    const handler = (session: ServerSession): number => {
      seen.push(session.command, session.env["AMIKO"], session.subsystem);
      return 0;
    };
    await using server = await listen(handler, { [decodeText(LATIN_1)]: handler });
    assertEquals((await ssh(server, ["-o", "SetEnv=AMIKO=x$cafe", "cat $cafe"], { latin1: true })).code, 0);
    assertEquals((await ssh(server, ["-s", "$cafe"], { latin1: true })).code, 0);
    assertEquals(seen, ["cat caf\udce9", "xcaf\udce9", null, null, undefined, "caf\udce9"]);
    assertEquals(encodeText(seen[0]!).slice(4), LATIN_1);
  },
);

// D7 of the newcomer's log.
peerTest("openssh", "SshClient.openChannel() with addresses reaches a port through sshd", async () => {
  await using both = await dial();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const dest = listener.addr as Deno.NetAddr, origin: Deno.NetAddr = { ...dest, port: 1234 };
  const echoing = listener.accept().then((conn) => conn.readable.pipeTo(conn.writable));
  const channel = await both.client.openChannel("direct-tcpip", { dest, origin });
  const back = new Response(channel.readable).text();
  const writer = channel.writable.getWriter();
  await say(writer, "there and back");
  await writer.close();
  assertEquals(await back, "there and back");
  await echoing;
  await channel.close();
  for (const type of ["forwarded-tcpip", "x11"]) {
    await assertRejects(
      () => both.client.openChannel(type, { dest, origin }),
      ChannelOpenError,
    );
  }
});

// D1 of the newcomer's log. As root, sshd delivers no signals, and says so in its log.
for (const [peer, start] of [["openssh", startOpenSshd], ["dropbear", startDropbear]] as const) {
  peerTest(
    peer,
    `a deadline sends TERM to what runs on ${peer}, for spawn()'s signal and for connect()'s`,
    async () => {
      const dir = await Deno.makeTempDir();
      // The command ends with the folder, whatever became of the signal.
      try {
        for (const whose of ["spawn", "connect"] as const) {
          const deadline = new AbortController(), reason = new DOMException("Signal timed out.", "TimeoutError");
          const { signal } = deadline, told = `${dir}/${whose}`;
          await using both = await dial({}, whose === "connect" ? { signal } : {}, start);
          const command = `trap 'echo TERM > ${told}; exit' TERM; echo ready; while [ -e ${dir} ]; do sleep 0.05; done`;
          const process = await both.client.spawn(command, whose === "spawn" ? { signal } : {});
          const reader = process.stdout.getReader();
          assertEquals(text((await reader.read()).value!), "ready\n");
          deadline.abort(reason);
          for (const waiting of [reader.read(), process.status]) {
            const error = await waiting.then(() => "resolved", (error) => error);
            assert(error === reason || error.cause === reason, String(error));
          }
          const arrived = () => both.sshd.log().includes("session signalling requires privilege separation");
          await until(async () => arrived() || await Deno.stat(told).then(({ size }) => size > 0, () => false), "TERM");
        }
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  );
}

peerTest("openssh", "closed says what became of the connection when sshd ends", async () => {
  await using both = await dial();
  const { client, sshd } = both;
  const running = client.exec("kill -KILL $PPID; sleep 10").then(() => "ended", (error) => error.code);
  assert(["CONNECTION_LOST", "DISCONNECTED"].includes(await running), await running);
  await assertRejects(() => client.closed, SshError);
  await sshd.stop();
});
