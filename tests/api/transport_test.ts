import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { Channel } from "../../lib/api/transport/channel.ts";
import type { ServerInterface } from "../../lib/api/transport/server_interface.ts";
import { Transport, type TransportOptions } from "../../lib/api/transport/transport.ts";
import { ChannelOpenError, HostKeyError, SshAuthError, SshError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { PublicKey } from "../../lib/keys/types.ts";
import { ExitSignal, Signal } from "../../lib/session/messages.ts";
import type { PtyOptions, WindowSize } from "../../lib/session/types.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { memoryPair, sleep } from "../_support/duplex.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { hostKey, text } from "../_support/joined.ts";

/** A session that answers `exec` by the name of what is to happen. */
class Session extends Channel {
  readonly seen: unknown[] = [];
  override checkExecRequest(command: string): boolean {
    this.seen.push(command);
    if (command === "no") return false;
    if (command === "throw") throw new Error("broken");
    if (command === "quiet") this.close();
    if (command === "yes") {
      const writer = this.writable.getWriter();
      writer.write(new TextEncoder().encode("Hello there.\n"));
      writer.close().then(async () => {
        const errors = this.stderrWritable.getWriter();
        assert(errors !== null);
        this.sendExitStatus(23);
        await this.close();
      });
    }
    if (command === "signal") {
      this.sendExitSignal("KILL");
      this.close();
    }
    return true;
  }
  override checkShellRequest(): Promise<boolean> {
    return sleep(5).then(() => true);
  }
  override checkSubsystemRequest(name: string): boolean {
    return name === "known";
  }
  override checkPtyRequest(pty: PtyOptions): boolean {
    this.seen.push(pty);
    return true;
  }
  override checkEnvRequest(name: string, value: string): boolean {
    this.seen.push([name, value]);
    return name === "LANG";
  }
  override windowChange(size: WindowSize): void {
    this.seen.push(size);
  }
  override checkSignalRequest(signal: string): boolean {
    this.seen.push(signal);
    return true;
  }
}

/** Two transports in memory, negotiated. */
async function negotiated(
  server?: Partial<ServerInterface>,
  options: {
    client?: TransportOptions;
    server?: TransportOptions;
    make?: (conn: never, o?: TransportOptions) => Transport;
  } = {},
) {
  const pair = memoryPair();
  const serving = options.make === undefined
    ? new Transport(pair.server, options.server)
    : options.make(pair.server as never, options.server);
  serving.addServerKey(await hostKey());
  const client = new Transport(pair.client, options.client);
  await Promise.all([server === undefined ? serving.startServer() : serving.startServer(server), client.startClient()]);
  return {
    client,
    server: serving,
    pair,
    async [Symbol.asyncDispose]() {
      await client.close();
      await serving.closed.catch(() => {});
    },
  };
}

const password: Partial<ServerInterface> = {
  getAllowedAuths: () => ["password"],
  checkAuthPassword: (username, password) => username === "slowdive" && password === "pygmalion",
  checkChannelRequest: (kind, id) => kind === "session" ? new Session(id) : null,
};

Deno.test("startClient() and startServer() negotiate, and refuse everything until somebody says otherwise", async () => {
  await using both = await negotiated({});
  const { client, server } = both;
  assertEquals([client.isActive(), server.isActive()], [true, true]);
  assertEquals([client.isAuthenticated(), server.isAuthenticated()], [false, false]);
  assertEquals(client.getRemoteServerKey().blob, (await hostKey()).publicKey.blob);
  assertEquals(client.info.strictKex, true);
  const tries = [
    () => client.authNone("slowdive"),
    () => client.authPassword("slowdive", "pygmalion"),
    () => hostKey().then((key) => client.authPublickey("slowdive", key)),
    () => client.authInteractive("slowdive", () => []),
  ];
  for (const attempt of tries) {
    const error = await assertRejects(attempt, SshAuthError);
    assertEquals(error.remaining, []);
  }
  await assertRejects(() => client.openSession(), SshError, "nobody is logged in");
  await assertRejects(() => client.globalRequest("x"), SshError, "nobody is logged in");
  assertEquals(await server.getAllowedAuths("slowdive"), []);
  assertEquals(await server.checkChannelRequest("session", 0), null);
  assertEquals(await server.checkPortForwardRequest("", 0), false);
});

Deno.test("the server's methods are asked only for what getAllowedAuths() offers", async () => {
  const asked: string[] = [];
  await using both = await negotiated({
    getAllowedAuths: (username) => username === "slowdive" ? ["publickey"] : ["password"],
    checkAuthPassword: () => Boolean(asked.push("password")),
    checkAuthPublickey: () => {
      asked.push("publickey");
      return false;
    },
  });
  const none = await assertRejects(() => both.client.authNone("slowdive"), SshAuthError);
  assertEquals(none.remaining, ["publickey"]);
  const error = await assertRejects(() => both.client.authPassword("slowdive", "x"), SshAuthError, "publickey");
  assertEquals(error.remaining, ["publickey"]);
  await assertRejects(async () => both.client.authPublickey("slowdive", await hostKey()), SshAuthError);
  assertEquals(asked, ["publickey"]);
});

Deno.test("an object without getAllowedAuths() offers what it checks", async () => {
  await using both = await negotiated({ checkAuthPassword: (_user, password) => password === "right" });
  const error = await assertRejects(() => both.client.authPassword("u", "wrong"), SshAuthError);
  assertEquals(error.remaining, ["password"]);
  assertEquals(await both.client.authPassword("u", "right"), []);
  assertEquals(both.client.isAuthenticated(), true);
});

Deno.test("authPublickey(), authPassword() and authInteractive() log in in turn, as partial success asks for", async () => {
  const key = await generateKey(), rounds: unknown[] = [];
  await using both = await negotiated({
    getAllowedAuths: () => ["publickey", "password", "keyboard-interactive"],
    checkAuthPublickey: (_user, offered: PublicKey) =>
      offered.blob.every((byte, i) => byte === key.publicKey.blob[i]) && { partial: ["password"] },
    checkAuthPassword: (_user, password) => password === "two" && { partial: ["keyboard-interactive"] },
    checkAuthInteractive: (_user, answers) => {
      if (answers === null) return { prompts: [{ text: "Password: ", echo: false }], name: "Login", instruction: "Do" };
      if (answers.length === 1) return answers[0] === "three" && { prompts: [] };
      return true;
    },
  });
  const { client } = both;
  assertEquals(await client.authPublickey("u", key), ["password"]);
  assertEquals(await client.authPassword("u", "two"), ["keyboard-interactive"]);
  assertEquals(
    await client.authInteractive("u", (title, instruction, prompts) => {
      rounds.push([title, instruction, prompts]);
      return prompts.map(() => "three");
    }),
    [],
  );
  assertEquals(rounds, [["Login", "Do", [{ text: "Password: ", echo: false }]], ["", "", []]]);
  assertEquals([client.isAuthenticated(), both.server.isAuthenticated()], [true, true]);
});

Deno.test("a subclass of Transport is its own server", async () => {
  class Server extends Transport {
    readonly channels: Session[] = [];
    override checkAuthPassword(username: string, password: string): boolean {
      return username === "slowdive" && password === "pygmalion";
    }
    override checkChannelRequest(kind: string, channelId: number): Channel | null {
      return kind === "session" ? new Session(channelId) : null;
    }
  }
  await using both = await negotiated(undefined, { make: (conn, options) => new Server(conn, options) });
  const { client, server } = both;
  assertEquals(await server.getAllowedAuths("slowdive"), ["password"]);
  await client.authPassword("slowdive", "pygmalion");
  const channel = await client.openSession();
  await channel.execCommand("yes");
  assertEquals(await new Response(channel.readable).text(), "Hello there.\n");
  assertEquals(await channel.exitStatus, { success: false, code: 23, signal: null });
  const accepted = await server.accept();
  assertEquals([accepted?.type, accepted?.id], ["session", 0]);
  await assertRejects(
    () => client.openChannel("x11", { origin: { transport: "tcp", hostname: "h", port: 1 } }),
    ChannelOpenError,
  );
});

Deno.test("a channel's check methods decide on its requests", async () => {
  await using both = await negotiated(password);
  const { client, server } = both;
  await client.authPassword("slowdive", "pygmalion");
  const [channel, far] = await Promise.all([client.openSession(), server.accept()]);
  const { seen } = far as Session;
  assertEquals(await channel.setEnvironmentVariable("LANG", "C"), true);
  assertEquals(await channel.setEnvironmentVariable("PATH", "/"), false);
  await channel.getPty({ columns: 100, modes: { ECHO: 1 } });
  await assertRejects(() => channel.getPty(), SshError, "refused");
  await assertRejects(() => channel.execCommand("no"), SshError, "refused");
  await assertRejects(() => channel.execCommand("throw"), SshError, "refused");
  await assertRejects(() => channel.invokeSubsystem("unknown"), SshError, "refused");
  await channel.invokeShell();
  await assertRejects(() => channel.execCommand("yes"), SshError, "refused");
  assertEquals(await channel.setEnvironmentVariable("LANG", "C"), false);
  channel.resizePty({ columns: 1, rows: 2 });
  channel.sendSignal("SIGINT");
  assertEquals(await channel.request("nobody@example.org"), false);
  assertEquals(seen, [
    ["LANG", "C"],
    ["PATH", "/"],
    { term: "xterm-256color", columns: 100, rows: 24, width: 0, height: 0, modes: { ECHO: 1 } },
    "no",
    "throw",
    { columns: 1, rows: 2, width: 0, height: 0 },
    "INT",
  ]);
});

Deno.test("exitStatus tells a code, a signal, or that the channel closed without either", async () => {
  await using both = await negotiated(password);
  await both.client.authPassword("slowdive", "pygmalion");
  const end = async (command: string) => {
    const channel = await both.client.openSession();
    await channel.execCommand(command).catch(() => {});
    await channel.closed;
    return await channel.exitStatus;
  };
  assertEquals((await end("yes")).code, 23);
  assertEquals(await end("signal"), { success: false, code: null, signal: "KILL" });
  assertEquals(await end("quiet"), { success: false, code: null, signal: null });
});

Deno.test("signals go by their names without SIG, however a client or a server writes them", async () => {
  const sent: string[] = [];
  class Signalled extends Session {
    override notify(name: string, data?: Uint8Array): void {
      if (name === "exit-signal") sent.push(ExitSignal.decode(data!).signal);
      super.notify(name, data);
    }
  }
  await using both = await negotiated({ ...password, checkChannelRequest: (_kind, id) => new Signalled(id) });
  await both.client.authPassword("slowdive", "pygmalion");
  const channel = await both.client.openSession(), far = await both.server.accept() as Signalled;
  for (const name of ["TERM", "SIGTERM"]) {
    assertEquals(await channel.request("signal", Signal.encode({ signal: name })), true);
    far.sendExitSignal(name);
  }
  assertEquals([far.seen, sent], [["TERM", "TERM"], ["TERM", "TERM"]]);
  assertEquals((await channel.exitStatus).signal, "TERM");
});

Deno.test("a garbled exit-status spoils its channel and nothing else", async () => {
  await using both = await negotiated(password);
  const { client, server } = both;
  await client.authPassword("slowdive", "pygmalion");
  for (let length = 0; length < 6; length++) {
    if (length === 4) continue;
    const [channel, far] = await Promise.all([client.openSession(), server.accept()]);
    far!.notify("exit-status", new Uint8Array(length));
    const error = await assertRejects(() => channel.exitStatus, SshError);
    assertEquals(error.code, "PROTOCOL_ERROR");
    await channel.closed;
  }
  const [channel, far] = await Promise.all([client.openSession(), server.accept()]);
  far!.sendExitStatus(1);
  far!.sendExitStatus(2);
  assertEquals((await channel.exitStatus).code, 1);
  assertThrows(() => far!.sendExitStatus(-1), RangeError);
});

Deno.test("accept() gives channels in order, null when its signal aborts, and null at the end", async () => {
  await using both = await negotiated(password);
  const { client, server } = both;
  const abort = new AbortController(), waiting = server.accept({ signal: abort.signal });
  abort.abort();
  assertEquals(await waiting, null);
  await client.authPassword("slowdive", "pygmalion");
  for (let i = 0; i < 5; i++) await client.openSession();
  for (let i = 0; i < 5; i++) assertEquals((await server.accept())?.id, i);
  const last = server.accept();
  await client.close();
  assertEquals([await last, await server.accept(), server.isActive()], [null, null, false]);
});

Deno.test("a server that accepts nothing is not flooded with channels", async () => {
  await using both = await negotiated(password);
  await both.client.authPassword("slowdive", "pygmalion");
  for (let i = 0; i < 64; i++) await both.client.openSession();
  const error = await assertRejects(() => both.client.openSession(), ChannelOpenError);
  assertEquals(error.reason, 4);
  await both.server.accept();
  await both.client.openSession();
});

Deno.test("a server that accepts nothing is not flooded with channels that come at once, and those that it opens no more keep no place", async () => {
  let channels = 0;
  class Counted extends Channel {
    constructor(id: number) {
      super(id);
      channels++;
    }
    override onEnded(error: Error | null): void {
      channels--;
      super.onEnded(error);
    }
  }
  await using both = await negotiated({
    ...password,
    checkChannelRequest: (kind, id) => {
      const channel = new Counted(id);
      if (kind === "closed@test") void channel.close();
      return channel;
    },
  });
  const { client, server } = both;
  await client.authPassword("slowdive", "pygmalion");
  const at = async (kind: string, count: number): Promise<number> => {
    const opening = Array.from({ length: count }, () => client.openChannel(kind));
    const opened = await Promise.allSettled(opening);
    return opened.filter(({ status }) => status === "fulfilled").length;
  };
  assertEquals([await at("closed@test", 100), channels], [0, 0]);
  assertEquals([await at("session", 100), channels], [64, 64]);
  for (let i = 0; i < 10; i++) await server.accept();
  assertEquals(await at("session", 20), 10);
});

Deno.test("a client refuses every channel that its server opens, and every global request", async () => {
  await using both = await negotiated(password);
  const { client, server } = both;
  await client.authPassword("slowdive", "pygmalion");
  const address: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 80 };
  for (const kind of ["session", "x11", "auth-agent@openssh.com", "forwarded-tcpip"]) {
    const error = await assertRejects(
      () => server.openChannel(kind, { dest: address, origin: address }),
      ChannelOpenError,
    );
    assertEquals(error.reason, 1);
  }
  assertEquals(await server.globalRequest("hostkeys-prove-00@openssh.com"), null);
});

Deno.test("global requests and forwards go to the interface", async () => {
  const seen: unknown[] = [];
  await using both = await negotiated({
    ...password,
    checkGlobalRequest: (name: string, data: Bytes) => {
      seen.push([name, text(data)]);
      return name === "echo" ? data : name === "yes";
    },
    checkPortForwardRequest: (hostname, port) => {
      seen.push([hostname, port]);
      return port === 80 ? false : port === 0 ? 4000 : port;
    },
  });
  const { client } = both;
  await client.authPassword("slowdive", "pygmalion");
  const encode = (text: string) => new TextEncoder().encode(text);
  assertEquals(await client.globalRequest("echo", encode("x")), encode("x"));
  assertEquals(await client.globalRequest("yes"), new Uint8Array(0));
  assertEquals(await client.globalRequest("no"), null);
  const forward = (port: number[]) =>
    client.globalRequest("tcpip-forward", new Uint8Array([0, 0, 0, 1, 0x68, ...port]));
  assertEquals(await forward([0, 0, 0, 0]), new Uint8Array([0, 0, 0x0f, 0xa0]));
  assertEquals(await forward([0, 0, 0, 9]), new Uint8Array(0));
  assertEquals(await forward([0, 0, 0, 80]), null);
  assertEquals(await forward([0, 1, 0, 0]), null);
  assertEquals(seen, [["echo", "x"], ["yes", ""], ["no", ""], ["h", 0], ["h", 9], ["h", 80]]);
});

Deno.test("hundreds of global requests at once are answered, also by who takes his time, and across new keys", async () => {
  await using both = await negotiated({
    ...password,
    checkGlobalRequest: async (_name: string, data: Bytes) => {
      await Promise.resolve();
      return data;
    },
  });
  const { client } = both;
  await client.authPassword("slowdive", "pygmalion");
  const renewed = client.renegotiateKeys();
  const asked = Array.from({ length: 600 }, (_, i) => client.globalRequest("echo", new TextEncoder().encode(`${i}`)));
  assertEquals((await Promise.all(asked)).map((reply) => text(reply!)), asked.map((_, i) => `${i}`));
  await renewed;
});

Deno.test("hundreds of requests of a channel at once are answered, also by who takes his time", async () => {
  class Slow extends Channel {
    override async checkOtherRequest(name: string): Promise<boolean> {
      await Promise.resolve();
      return Number(name) % 3 === 0;
    }
  }
  await using both = await negotiated({ ...password, checkChannelRequest: (_kind, id) => new Slow(id) });
  const { client } = both;
  await client.authPassword("slowdive", "pygmalion");
  const channel = await client.openSession();
  const asked = Array.from({ length: 600 }, (_, i) => channel.request(`${i}`));
  assertEquals(await Promise.all(asked), asked.map((_, i) => i % 3 === 0));
});

Deno.test("renegotiateKeys() keeps channels and the host key", async () => {
  await using both = await negotiated(password);
  const { client, server } = both;
  await client.authPassword("slowdive", "pygmalion");
  const before = client.info.sessionId;
  await Promise.all([client.renegotiateKeys(), server.renegotiateKeys()]);
  const channel = await client.openSession();
  await channel.execCommand("yes");
  assertEquals(await new Response(channel.readable).text(), "Hello there.\n");
  assertEquals(client.info.sessionId, before);
});

Deno.test("connect() negotiates, checks the host key and logs in with key and password", async () => {
  const key = await generateKey(), wanted = (await hostKey()).publicKey;
  const tryConnect = async (
    rules: Partial<ServerInterface>,
    options: Parameters<Transport["connect"]>[0],
  ): Promise<[Transport, unknown]> => {
    const pair = memoryPair();
    const server = new Transport(pair.server);
    server.addServerKey(await hostKey());
    const started = server.startServer(rules).catch(() => {});
    const client = new Transport(pair.client);
    const result = await client.connect(options).then(() => null, (error) => error);
    await started;
    return [client, result];
  };
  const keyOnly = { checkAuthPublickey: () => true };
  const passwordOnly = { checkAuthPassword: (_user: string, password: string) => password === "pygmalion" };
  const good: [Partial<ServerInterface>, Parameters<Transport["connect"]>[0]][] = [
    [keyOnly, { username: "u", hostKey: wanted, key }],
    [passwordOnly, { username: "u", hostKey: wanted, password: "pygmalion" }],
    [passwordOnly, { username: "u", key, password: "pygmalion" }],
    [
      { ...passwordOnly, checkAuthPublickey: () => ({ partial: ["password"] }) },
      { username: "u", key, password: "pygmalion" },
    ],
  ];
  for (const [rules, options] of good) {
    const [client, error] = await tryConnect(rules, options);
    assertEquals([error, client.isAuthenticated()], [null, true]);
    await client.close();
  }
  const [negotiatedOnly] = await tryConnect(keyOnly, { username: "u", hostKey: wanted });
  assertEquals([negotiatedOnly.isActive(), negotiatedOnly.isAuthenticated()], [true, false]);
  await negotiatedOnly.close();

  const [other, refused] = await tryConnect(keyOnly, { username: "u", hostKey: key.publicKey, key });
  assertInstanceOf(refused, HostKeyError);
  assert(refused.message.includes(await wanted.fingerprint()), refused.message);
  assertEquals(other.isActive(), false);
  const [wrong, why] = await tryConnect(passwordOnly, { username: "u", password: "wrong" });
  assertInstanceOf(why, SshAuthError);
  assertEquals([why.remaining, wrong.isActive()], [["password"], false]);
  const half = { checkAuthPublickey: () => ({ partial: ["password"] }), checkAuthPassword: () => false };
  const [, more] = await tryConnect(half, { username: "u", key });
  assertInstanceOf(more, SshAuthError);
  assertEquals(more.remaining, ["password"]);
});

Deno.test("a transport says what a caller did wrong", async () => {
  const { client: conn } = memoryPair();
  const transport = new Transport(conn);
  await assertRejects(() => transport.startServer(), TypeError, "addServerKey()");
  await assertRejects(() => transport.authPassword("u", "p"), TypeError, "startClient()");
  assertThrows(() => transport.getRemoteServerKey(), SshError, "not negotiated");
  await assertRejects(() => transport.renegotiateKeys(), SshError, "not negotiated");
  assertEquals([transport.isActive(), transport.isAuthenticated()], [false, false]);
  await transport.close();
  await transport.closed;
  assertEquals(await transport.accept(), null);
  await assertRejects(() => transport.startClient(), TypeError, "closed");
});

Deno.test("startClient() fails on what is no SSH server, and isActive() is false", async () => {
  const pair = memoryPair();
  const transport = new Transport(pair.client);
  const writer = pair.server.writable.getWriter();
  writer.write(new TextEncoder().encode("SSH-1.5-old\r\n"));
  const error = await assertRejects(() => transport.startClient(), SshError);
  assertEquals([error.code, transport.isActive()], ["PROTOCOL_ERROR", false]);
  await assertRejects(() => transport.closed, SshError);
});

Deno.test("startClient() and startServer() end when their signal aborts", async () => {
  for (const role of ["client", "server"] as const) {
    const pair = memoryPair(), abort = new AbortController(), reason = new Error("enough");
    const transport = new Transport(pair[role]);
    transport.addServerKey(await hostKey());
    const starting = role === "client"
      ? transport.startClient({ signal: abort.signal })
      : transport.startServer({}, { signal: abort.signal });
    abort.abort(reason);
    assertEquals(await assertRejects(() => starting), reason);
    assertEquals(transport.isActive(), false);
    assertEquals(await transport.accept(), null);
  }
});

Deno.test("a server's loginTimeout ends who does not log in", async () => {
  using time = new FakeTime();
  await using both = await negotiated({}, { server: { loginTimeout: 20_000 } });
  time.tick(20_000);
  await assertRejects(() => both.server.closed, SshError, "20000 ms");
  await assertRejects(() => both.client.closed, SshError);
  assertEquals(await both.server.accept(), null);
});
