/**
 * Forwards of `serve()` for the clients of others: local, remote and dynamic ones, to ports and Unix sockets, with `-W` and `-J`.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { serve } from "../../lib/api/server.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { endChild, freePort } from "../_support/child.ts";
import { dropbearKey, scratchDir, testKeys } from "../_support/keys.ts";
import { newerPython, npmFolder, openSsh10, peers, peerTest, scripts } from "../_support/peers.ts";
import { inTime, PROGRAM_HANGS, until } from "../_support/until.ts";

const SIZE = 3_000_000;
const sent = new Uint8Array(SIZE).map((_, i) => i * 7 ^ i >> 9);

async function hash(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** Each form of an address to listen at (RFC 4254 section 7.1, and OpenSSH's), and one at which a client reaches it. */
const addresses: readonly (readonly [address: string, reached: string])[] = [
  ["", "127.0.0.1"],
  ["*", "::1"],
  ["localhost", "::1"],
  ["127.0.0.1", "127.0.0.1"],
  ["0.0.0.0", "127.0.0.1"],
  ["::", "::1"],
  ["::1", "::1"],
];

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
  await until(
    async () => {
      conn = await Deno.connect(options as Deno.ConnectOptions).catch(() => undefined);
      return conn !== undefined;
    },
    "the forward listens",
    PROGRAM_HANGS,
  );
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
      await endChild(child);
      await Promise.all([output, stdout]);
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
      assertEquals(await hash(await inTime(stdio.stdout, "what -W brings", PROGRAM_HANGS)), await hash(sent));
      await client[Symbol.asyncDispose]();
    },
  );

  peerTest(id, `${peers[id].title} has serve() listen at each address, and at a port that it chooses`, async () => {
    const dir = scratchDir(), started = await start(dir);
    await using _server = started.server;
    await using target = echo();
    const listeners = addresses.map(([address, reached]) => ({
      address: address.includes(":") ? `[${address}]` : address,
      hostname: reached,
      port: freePort(),
    }));
    const args = listeners.flatMap(({ address, port }) => ["-R", `${address}:${port}:127.0.0.1:${target.port}`]);
    await using _client = run(ssh(id, started, "-N", ...args));
    for (const { hostname, port } of listeners) await through(await connected({ hostname, port }));
    assertEquals(started.asked.toSorted(), addresses.map(([address]) => address === "*" ? "" : address).toSorted());

    await using chosen = run(
      ssh(id, started, "-N", "-o", "LogLevel=INFO", "-R", `127.0.0.1:0:127.0.0.1:${target.port}`),
    );
    let port = 0;
    const allocated = (): number => Number(/Allocated port (\d+)/.exec(chosen.errors())?.[1] ?? 0);
    await until(() => (port = allocated()) > 0, "the port is told", PROGRAM_HANGS);
    await through(await connected({ port }));
  });

  peerTest(
    id,
    `${peers[id].title} jumps through two of serve() to a third: -J, and -W behind a proxy command`,
    async () => {
      const dir = scratchDir(), hops = [await start(dir), await start(scratchDir())] as const;
      await using _first = hops[0].server;
      await using _second = hops[1].server;
      await using end = await startEnd(hops[0]);
      const [program, , , ...settings] = ssh(id, hops[0]), config = `${dir}/config`;
      Deno.writeTextFileSync(`${hops[0].knownHosts}`, Deno.readTextFileSync(hops[1].knownHosts), { append: true });
      const host = (name: string, port: number): string => `Host ${name}\n  HostName 127.0.0.1\n  Port ${port}\n`;
      Deno.writeTextFileSync(
        config,
        host("first", hops[0].port) + host("second", hops[1].port) + host("end", end.port) +
          `Host *\n  User alice\n${
            settings.filter((one) => one.includes("=")).map((one) => `  ${one.replace("=", " ")}\n`).join("")
          }`,
      );
      await using jumping = run([program!, "-F", config, "-T", "-J", "first,second", "end"]);
      const said = await inTime(jumping.stdout, "what the third server says", PROGRAM_HANGS);
      assertEquals(new TextDecoder().decode(said), "at the end\n", jumping.errors());
      assertEquals([hops[0].asked, hops[1].asked], [["127.0.0.1"], ["127.0.0.1"]]);

      const proxy = ssh(id, hops[0], "-W", "%h:%p").join(" ");
      await using behind = run(ssh(id, { ...hops[0], port: end.port }, "-o", `ProxyCommand=${proxy}`, "-T"));
      assertEquals(
        new TextDecoder().decode(await inTime(behind.stdout, "what it says", PROGRAM_HANGS)),
        "at the end\n",
        behind.errors(),
      );
    },
  );
}

/** A server at the end of a chain, which greets; the known hosts of the first hop know it. */
async function startEnd({ keys, knownHosts }: Started): Promise<{ port: number } & AsyncDisposable> {
  const { file, line } = keys.host.ed25519;
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await parsePrivateKey(await Deno.readTextFile(file))],
    auth: { publicKey: () => true },
    handler: async ({ stdout }) => {
      const writer = stdout.getWriter();
      await writer.write(new TextEncoder().encode("at the end\n"));
      writer.releaseLock();
    },
    onListen: () => {},
  });
  Deno.writeTextFileSync(knownHosts, `[127.0.0.1]:${server.addr.port} ${line}\n`, { append: true });
  return { port: server.addr.port, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

peerTest(
  "dropbear",
  `${peers.dropbear.title} forwards through serve(): -L, -R with each address, -B, and to a second server`,
  async () => {
    const dir = scratchDir(), started = await start(dir);
    await using _server = started.server;
    await using target = echo();
    const key = await dropbearKey(started.keys.user.ed25519), local = freePort();
    const base = ["/usr/bin/dbclient", "-y", "-y", "-i", key];
    const to = (...args: string[]): string[] => [...base, "-p", String(started.port), ...args, "alice@127.0.0.1"];
    // An address with colons is none that its command line takes.
    const listeners = addresses.filter(([address]) => !address.includes(":"))
      .map(([address, hostname]) => ({ address, hostname, port: freePort() }));
    const remote = listeners.flatMap(({ address, port }) => ["-R", `${address}:${port}:127.0.0.1:${target.port}`]);
    await using _client = run(to("-N", "-L", `127.0.0.1:${local}:127.0.0.1:${target.port}`, ...remote));
    await through(await connected({ port: local }));
    for (const { hostname, port } of listeners) await through(await connected({ hostname, port }));

    await using stdio = run(to("-B", `127.0.0.1:${target.port}`));
    const writer = stdio.stdin.getWriter();
    await Promise.all([writer.write(sent), writer.close()]);
    assertEquals(await hash(await inTime(stdio.stdout, "what -B brings", PROGRAM_HANGS)), await hash(sent));

    await using end = await startEnd(started);
    await using hopping = run([...base, "-T", `alice@127.0.0.1/${started.port},alice@127.0.0.1/${end.port}`]);
    const said = await inTime(hopping.stdout, "what the second server says", PROGRAM_HANGS);
    assertEquals(new TextDecoder().decode(said), "at the end\n", hopping.errors());
  },
);

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

/** What asyncssh_forwards.py and ssh2_forwards.mjs say. */
const scripted = [
  ...["direct", "direct unix"],
  ...addresses.flatMap(([address]) => [`remote ${address}`, "cancelled"]),
  "remote unix",
];

for (
  const [id, what, command, env, said] of [
    [
      "asyncssh",
      "each way, at each address, and to a second server",
      ["/usr/bin/python3", `${scripts}/asyncssh_forwards.py`],
      newerPython,
      [
        ...[...scripted, "local", "dynamic"],
        "at the end",
      ],
    ],
    [
      "ssh2",
      "each way, at each address, and to a second server",
      ["node", `${scripts}/ssh2_forwards.mjs`, npmFolder],
      {},
      [...scripted, "at the end"],
    ],
    [
      "paramiko",
      "a connection, and a listener at a port that it chooses",
      ["/usr/bin/python3", `${scripts}/paramiko_forwards.py`],
      newerPython,
      [
        ...["direct ok", "remote ok"],
        "cancelled",
      ],
    ],
  ] as const
) {
  peerTest(id, `${peers[id].title} forwards through serve(): ${what}`, async () => {
    const dir = scratchDir(), started = await start(dir);
    await using _server = started.server;
    await using target = echo();
    await using _unix = echo({ transport: "unix", path: `${dir}/target` });
    await using end = await startEnd(started);
    const settings = {
      ...{ port: started.port, key: started.keys.user.ed25519.file, target: target.port },
      ...{ unix_target: `${dir}/target`, folder: dir, addresses, second: end.port },
    };
    await using client = run([...command, JSON.stringify(settings)], env);
    const printed = new TextDecoder().decode(await inTime(client.stdout, "what the client prints", PROGRAM_HANGS));
    assertEquals(printed.trimEnd().split("\n"), [...said], client.errors());
  });
}
