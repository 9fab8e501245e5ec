/**
 * Forwards of `serve()` for the clients of others: local, remote and dynamic ones, to ports and Unix sockets, with `-W` and `-J`.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { serve } from "../../lib/api/server.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { freePort } from "../_support/child.ts";
import { dropbearKey, scratchDir, testKeys } from "../_support/keys.ts";
import { newerPython, npmFolder, openSsh10, peers, peerTest, scripts } from "../_support/peers.ts";
import { inTime, until } from "../_support/until.ts";

const SIZE = 3_000_000;
const sent = new Uint8Array(SIZE).map((_, i) => i * 7 ^ i >> 9);

async function hash(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** A server that allows everything, and what listens behind it. */
async function start(dir: string) {
  const keys = await testKeys(), hostKey = await generateKey();
  const asked: string[] = [];
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [hostKey],
    auth: { publicKey: () => true, password: () => true },
    handler: async (session) => {
      await new Promise((resolve) => session.signal.addEventListener("abort", resolve));
    },
    allowForward: (_info, request) => asked.push("path" in request ? request.path : request.hostname) > 0,
    onListen: () => {},
    onError: () => {},
  });
  const line = hostKey.publicKey.toString();
  const knownHosts = `${dir}/known_hosts`;
  Deno.writeTextFileSync(knownHosts, `[127.0.0.1]:${server.addr.port} ${line}\n`);
  return { server, keys, asked, knownHosts, port: server.addr.port };
}

type Started = Awaited<ReturnType<typeof start>>;

/** What sends back all that it gets, and ends when it does. */
function echo(
  options: Deno.TcpListenOptions | { transport: "unix"; path: string } = { hostname: "127.0.0.1", port: 0 },
) {
  const listener = Deno.listen(options as Deno.TcpListenOptions), serving: Promise<void>[] = [];
  const done = (async () => {
    for await (const conn of listener) serving.push(conn.readable.pipeTo(conn.writable).catch(() => {}));
    await Promise.all(serving);
  })();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await done;
    },
  };
}

/** Sends all, half-closes, and gets all back. */
async function through(conn: Deno.Conn): Promise<void> {
  const writing = (async () => {
    for (let at = 0; at < SIZE;) at += await conn.write(sent.subarray(at, at + 65_536));
    await conn.closeWrite();
  })();
  const back = await new Response(conn.readable).bytes();
  await writing;
  assertEquals(await hash(back), await hash(sent));
}

async function connected(options: Deno.ConnectOptions | { transport: "unix"; path: string }): Promise<Deno.Conn> {
  let conn: Deno.Conn | undefined;
  await until(async () => {
    conn = await Deno.connect(options as Deno.ConnectOptions).catch(() => undefined);
    return conn !== undefined;
  }, "the forward listens");
  return conn!;
}

/** A client that stays until the test is done with it. */
function run(command: readonly string[], env: Record<string, string> = {}) {
  const [program, ...args] = command;
  const child = new Deno.Command(program!, { args, env, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  let errors = "";
  const output = child.stderr.pipeThrough(new TextDecoderStream()).pipeTo(
    new WritableStream({ write: (text) => void (errors += text) }),
  );
  const stdout = new Response(child.stdout).bytes();
  return {
    stdin: child.stdin,
    stdout,
    /** What it has said so far. */
    errors: () => errors,
    async [Symbol.asyncDispose]() {
      await child.stdin.close().catch(() => {});
      try {
        child.kill();
      } catch {
        // It has ended.
      }
      await Promise.all([child.status, output, stdout]);
    },
  };
}

function ssh(id: "openssh" | "openssh10", { keys, knownHosts, port }: Started, ...args: string[]): string[] {
  const program = id === "openssh10" ? `${openSsh10()}/bin/ssh` : "/usr/bin/ssh";
  const options = [
    "BatchMode=yes",
    `UserKnownHostsFile=${knownHosts}`,
    "GlobalKnownHostsFile=/dev/null",
    "IdentityAgent=none",
  ]
    .concat(["IdentitiesOnly=yes", "ExitOnForwardFailure=yes", `IdentityFile=${keys.user.ed25519.file}`]);
  return [
    ...[program, "-F", "/dev/null", "-p", String(port), ...options.flatMap((option) => ["-o", option])],
    ...[...args, "alice@127.0.0.1"],
  ];
}

for (const id of ["openssh", "openssh10"] as const) {
  peerTest(
    id,
    `${peers[id].title} forwards through serve(): -L, -D, -W, -R with each address, and Unix sockets`,
    async () => {
      const dir = scratchDir(), started = await start(dir);
      await using _server = started.server;
      await using target = echo();
      await using _unix = echo({ transport: "unix", path: `${dir}/target` });
      const local = freePort(), socks = freePort(), localUnix = freePort();
      await using client = run(ssh(
        id,
        started,
        "-N",
        ...[
          ["-L", `127.0.0.1:${local}:127.0.0.1:${target.port}`],
          ["-L", `127.0.0.1:${localUnix}:${dir}/target`],
          ["-D", `127.0.0.1:${socks}`],
          ["-R", `${dir}/remote:127.0.0.1:${target.port}`],
        ].flat(),
      ));
      await through(await connected({ port: local }));
      await through(await connected({ port: localUnix }));
      await through(await connected({ transport: "unix", path: `${dir}/remote` }));
      const dynamic = await connected({ port: socks });
      // SOCKS5, no login; CONNECT to 127.0.0.1.
      await dynamic.write(new Uint8Array([5, 1, 0]));
      assertEquals(await dynamic.read(new Uint8Array(2)), 2);
      await dynamic.write(new Uint8Array([5, 1, 0, 1, 127, 0, 0, 1, target.port >> 8, target.port & 255]));
      assertEquals(await dynamic.read(new Uint8Array(10)), 10);
      await through(dynamic);

      await using stdio = run(ssh(id, started, "-W", `127.0.0.1:${target.port}`));
      const writer = stdio.stdin.getWriter();
      await Promise.all([writer.write(sent), writer.close()]);
      assertEquals(await hash(await inTime(stdio.stdout, "what -W brings")), await hash(sent));
      await client[Symbol.asyncDispose]();
    },
  );

  peerTest(id, `${peers[id].title} has serve() listen at each address, and at a port that it chooses`, async () => {
    const dir = scratchDir(), started = await start(dir);
    await using _server = started.server;
    await using target = echo();
    for (
      const [address, reached] of [["", "127.0.0.1"], ["*", "::1"], ["localhost", "::1"], ["[::1]", "::1"]] as const
    ) {
      const port = freePort();
      await using _client = run(ssh(id, started, "-N", "-R", `${address}:${port}:127.0.0.1:${target.port}`));
      await through(await connected({ hostname: reached, port }));
    }
    await using chosen = run(
      ssh(id, started, "-N", "-o", "LogLevel=INFO", "-R", `127.0.0.1:0:127.0.0.1:${target.port}`),
    );
    let port = 0;
    await until(() => (port = Number(/Allocated port (\d+)/.exec(chosen.errors())?.[1] ?? 0)) > 0, "the port is told");
    await through(await connected({ port }));
  });

  peerTest(id, `${peers[id].title} jumps through serve() to another server`, async () => {
    const dir = scratchDir(), started = await start(dir);
    await using _server = started.server;
    const key = await parsePrivateKey(await Deno.readTextFile(started.keys.host.ed25519.file));
    await using second = serve({
      hostname: "127.0.0.1",
      port: 0,
      hostKeys: [key],
      auth: { publicKey: () => true },
      handler: async ({ stdout }) => {
        const writer = stdout.getWriter();
        await writer.write(new TextEncoder().encode("at the second\n"));
        writer.releaseLock();
      },
      onListen: () => {},
    });
    const proxy = ssh(id, started, "-W", "%h:%p").join(" ");
    Deno.writeTextFileSync(started.knownHosts, `[127.0.0.1]:${second.addr.port} ${started.keys.host.ed25519.line}\n`, {
      append: true,
    });
    await using client = run(ssh(id, { ...started, port: second.addr.port }, "-o", `ProxyCommand=${proxy}`, "-T"));
    const said = await inTime(client.stdout, "what the second server says");
    assertEquals(new TextDecoder().decode(said), "at the second\n");
  });
}

peerTest("dropbear", `${peers.dropbear.title} forwards through serve(): -L and -R`, async () => {
  const dir = scratchDir(), started = await start(dir);
  await using _server = started.server;
  await using target = echo();
  const local = freePort(), remote = freePort(), key = await dropbearKey(started.keys.user.ed25519);
  await using _client = run(
    ["/usr/bin/dbclient", "-N", "-y", "-y", "-i", key, "-p", String(started.port)].concat(
      [
        "-L",
        `127.0.0.1:${local}:127.0.0.1:${target.port}`,
        "-R",
        `${remote}:127.0.0.1:${target.port}`,
        "alice@127.0.0.1",
      ],
    ),
  );
  await through(await connected({ port: local }));
  await through(await connected({ port: remote }));
});

peerTest("putty", `${peers.putty.title} forwards through serve(): -L and -R`, async () => {
  const dir = scratchDir(), started = await start(dir);
  await using _server = started.server;
  await using target = echo();
  const local = freePort(), remote = freePort();
  const print = await fingerprint((await Deno.readTextFile(started.knownHosts)).split(" ")[2]!);
  await using _client = run(
    ["/usr/bin/plink", "-batch", "-N", "-pw", "any", "-hostkey", print, "-P", String(started.port)].concat(
      [
        "-L",
        `127.0.0.1:${local}:127.0.0.1:${target.port}`,
        "-R",
        `${remote}:127.0.0.1:${target.port}`,
        "alice@127.0.0.1",
      ],
    ),
  );
  await through(await connected({ port: local }));
  await through(await connected({ port: remote }));
});

/** `SHA256:…` of a public key in base64. */
async function fingerprint(base64: string): Promise<string> {
  const blob = Uint8Array.fromBase64(base64);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", blob));
  return `SHA256:${digest.toBase64({ omitPadding: true })}`;
}

for (
  const [id, command, env] of [
    ["asyncssh", ["/usr/bin/python3", `${scripts}/asyncssh_forwards.py`], newerPython],
    ["paramiko", ["/usr/bin/python3", `${scripts}/paramiko_forwards.py`], newerPython],
    ["ssh2", ["node", `${scripts}/ssh2_forwards.mjs`, npmFolder], {}],
  ] as const
) {
  peerTest(
    id,
    `${peers[id].title} forwards through serve(): a direct connection, and a listener at a port that it chooses`,
    async () => {
      const started = await start(scratchDir());
      await using _server = started.server;
      await using target = echo();
      const settings = { port: started.port, target: target.port, key: started.keys.user.ed25519.file };
      await using client = run([...command, JSON.stringify(settings)], env);
      const printed = await inTime(client.stdout, "what the client prints");
      assertEquals(new TextDecoder().decode(printed), "direct ok\nremote ok\ncancelled\n", client.errors());
    },
  );
}
