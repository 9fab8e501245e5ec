/** Whatever takes a signal has let go of it when it is done: one long-lived signal may be given to a thousand calls. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serve, serveConn } from "../../lib/api/server.ts";
import { Channel } from "../../lib/api/transport/channel.ts";
import { sftpSubsystem } from "../../lib/api/sftp_subsystem.ts";
import { scpHandler } from "../../lib/api/scp_handler.ts";
import { Transport } from "../../lib/api/transport/transport.ts";
import { password } from "../../lib/auth/methods.ts";
import { SshAuthError, SshError } from "../../lib/errors.ts";
import { defaultIdentities } from "../../lib/agent/default_identities.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { memoryPair } from "../_support/duplex.ts";
import { commands, hostKey, join, login, serverOptions } from "../_support/joined.ts";

Deno.test("countedSignal() counts who listens, once each, and who is told of the abort", async () => {
  const counted = countedSignal(), one = () => {}, two = () => {};
  counted.signal.addEventListener("abort", one);
  counted.signal.addEventListener("abort", one);
  counted.signal.addEventListener("abort", two, { once: true });
  assertEquals([counted.listeners, counted.added], [2, 2]);
  counted.signal.removeEventListener("abort", one);
  assertEquals(counted.listeners, 1);
  counted.abort();
  assertEquals(counted.listeners, 0);
  await counted.released();
});

Deno.test("exec(), spawn(), shell(), subsystem(), openChannel(), request() and sftp() let go of their signal", async () => {
  const directory = await Deno.makeTempDir();
  try {
    await using joined = await join({
      subsystems: { sftp: sftpSubsystem({ root: directory }), echo: commands },
      handler: (session) =>
        session.command?.startsWith("scp ") ? scpHandler({ root: directory })(session) : commands(session),
    });
    const { client } = joined;
    const { scp } = client;
    await Deno.writeTextFile(`${directory}/there`, "hello");
    const calls: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
      "exec()": (signal) => client.exec("echo hello", { signal }),
      "exec() that is refused": (signal) => assertRejects(() => client.subsystem("none", { signal }), SshError),
      "exec() of a caller's mistake": (signal) => assertRejects(() => client.exec("a\0b", { signal }), TypeError),
      "spawn()": async (signal) => {
        await using process = await client.spawn("echo hello", { signal });
        await process.output();
      },
      "spawn() that is left alone": async (signal) => {
        await using _process = await client.spawn("hang", { signal });
      },
      "shell()": async (signal) => {
        await using shell = await client.shell({ signal });
        await shell.output();
      },
      "subsystem()": async (signal) => {
        await using process = await client.subsystem("echo", { signal });
        await process.stdout.cancel();
      },
      "openChannel()": async (signal) => {
        await using _channel = await client.openChannel("session", undefined, { signal });
      },
      "openChannel() that is refused": (signal) =>
        assertRejects(() => client.openChannel("none", undefined, { signal }), SshError),
      "request()": (signal) => assertRejects(() => client.request("none", undefined, { signal }), SshError),
      "sftp()": async (signal) => {
        await using _sftp = await client.sftp({ signal });
      },
      "Channel.request()": async (signal) => {
        await using channel = await client.openChannel("session");
        assertEquals(await channel.request("none", undefined, { signal }), false);
        const last = channel.request("none", undefined, { signal });
        last.catch(() => {});
        await channel.close();
        await last.catch(() => {});
      },
      "scp.upload() and download()": async (signal) => {
        await scp.upload(`${directory}/there`, "copy", { signal });
        await scp.download("copy", `${directory}/back`, { signal });
      },
    };
    for (const [name, call] of Object.entries(calls)) {
      const counted = countedSignal();
      await call(counted.signal);
      await counted.released().catch((error) => {
        throw new Error(`${name}: ${error.message}`);
      });
      if (!name.endsWith("mistake")) assert(counted.added > 0, `${name} did not listen`);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("exec() and spawn() let go of their signal when it aborts, and when the connection ends first", async () => {
  for (const how of ["abort", "end"] as const) {
    const joined = await join();
    const counted = countedSignal();
    await using process = await joined.client.spawn("hang", { signal: counted.signal });
    const running = joined.client.exec("hang", { signal: counted.signal });
    running.catch(() => {});
    const reader = process.stdout.getReader();
    await reader.read();
    if (how === "abort") counted.abort(new Error("enough"));
    await joined.client.close();
    await assertRejects(() => running, Error);
    await counted.released();
    await joined.served;
  }
});

Deno.test("connect(), serveConn() and serve() listen while the connection lasts, and no longer", async () => {
  const server = countedSignal(), client = countedSignal();
  for (let n = 0; n < 3; n++) {
    await using joined = await join({ signal: server.signal }, { signal: client.signal });
    assertEquals([server.listeners, client.listeners], [1, 1]);
    await joined.client.exec("echo hello");
    await joined.client.close();
    await joined.served;
    await Promise.all([server.released(), client.released()]);
  }
  // A login that fails.
  await assertRejects(
    () => join({ signal: server.signal }, { signal: client.signal, auth: [password("wrong")] }),
    SshAuthError,
  );
  await Promise.all([server.released(), client.released()]);
  // A connection that is lost before and after the login.
  const broken = memoryPair({ cutAfter: { toServer: 200 } });
  const served = serveConn(broken.server, await serverOptions({ signal: server.signal })).catch(() => {});
  await assertRejects(() =>
    connect({ hostname: "test.invalid", ...login, transport: broken.client, signal: client.signal })
  );
  await served;
  await Promise.all([server.released(), client.released()]);
  const joined = await join({ signal: server.signal }, { signal: client.signal });
  joined.pair.reset();
  await joined.served;
  await Promise.all([server.released(), client.released()]);
  // Over sockets, and nobody there.
  const listening = serve({
    hostname: "127.0.0.1",
    port: 0,
    ...await serverOptions({ signal: server.signal }),
  });
  const { port } = listening.addr;
  await (await connect({ hostname: "127.0.0.1", port, ...login, signal: client.signal })).close();
  await listening[Symbol.asyncDispose]();
  await assertRejects(() => connect({ hostname: "127.0.0.1", port, ...login, signal: client.signal }), SshError);
  await Promise.all([server.released(), client.released()]);
});

Deno.test("Transport lets go of the signals of all its methods", async () => {
  const counted = countedSignal(), { signal } = counted;
  const pair = memoryPair(), server = new Transport(pair.server), client = new Transport(pair.client);
  server.addServerKey(await hostKey());
  const serving = server.startServer({
    checkAuthPassword: () => true,
    checkChannelRequest: (kind, id) => kind === "session" ? new Channel(id) : null,
  }, { signal });
  await client.connect({ username: "alice", password: "x", signal });
  await serving;
  await counted.released();
  const accepting = server.accept({ signal });
  assertEquals(counted.listeners, 1);
  const channel = await client.openSession({ signal });
  assert(await accepting !== null);
  await assertRejects(() => client.openChannel("none", { signal }), SshError);
  assertEquals(await channel.request("none", undefined, { signal }), false);
  await counted.released();
  const last = server.accept({ signal }), opening = client.openSession({ signal });
  opening.catch(() => {});
  await client.close();
  await server.closed.catch(() => {});
  await last;
  await counted.released();
  await opening.catch(() => {});
});

Deno.test("defaultIdentities() lets go of its signal wherever it is left", async () => {
  const directory = await Deno.makeTempDir(), home = Deno.env.get("HOME"), agent = Deno.env.get("SSH_AUTH_SOCK");
  const counted = countedSignal();
  try {
    Deno.env.set("HOME", directory);
    Deno.env.delete("SSH_AUTH_SOCK");
    await Deno.mkdir(`${directory}/.ssh`);
    await Deno.writeTextFile(`${directory}/.ssh/id_ed25519`, await (await hostKey()).export());
    for await (const _ of defaultIdentities({ signal: counted.signal })) assertEquals(counted.listeners, 0);
    for await (const _ of defaultIdentities({ signal: counted.signal })) break;
    assert(counted.added > 0);
    await counted.released();
  } finally {
    if (home !== undefined) Deno.env.set("HOME", home);
    if (agent !== undefined) Deno.env.set("SSH_AUTH_SOCK", agent);
    await Deno.remove(directory, { recursive: true });
  }
});
