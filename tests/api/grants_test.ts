/**
 * What a login grants, and that sessions hold to it: in `serve()` and in `Transport`.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Channel } from "../../lib/api/transport/channel.ts";
import { Transport } from "../../lib/api/transport/transport.ts";
import { forbidsForward, grantsSay } from "../../lib/auth/forward_grants.ts";
import { checkGrant, type Grant, Grants } from "../../lib/auth/grants.ts";
import { password } from "../../lib/auth/methods.ts";
import type { AuthResult } from "../../lib/auth/types.ts";
import { ChannelOpenError, DisconnectReason, SshAuthError, SshDisconnectError, SshError } from "../../lib/errors.ts";
import type { Signer } from "../../lib/keys/types.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { memoryPair } from "../_support/duplex.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { hostKey, join, text } from "../_support/joined.ts";

/** Says what it was started as. */
async function tell(session: ServerSession): Promise<void> {
  const { command, subsystem, env, pty } = session;
  const writer = session.stdout.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify({ command, subsystem, env, pty: pty !== null })));
  writer.releaseLock();
}

const granting = (grant: Grant) => ({
  auth: { password: (): AuthResult => ({ grant }) },
  handler: tell,
  subsystems: { sftp: tell, other: tell },
});

Deno.test("a grant's command runs in the place of whatever the client asks for", async () => {
  await using joined = await join(granting({ command: "backup --all" }));
  const { client } = joined;
  const told = async (process: Promise<{ output(): Promise<{ stdout: Uint8Array }> }>) =>
    JSON.parse(text((await (await process).output()).stdout));
  const forced = { command: "backup --all", subsystem: null, pty: false };
  assertEquals(await told(client.spawn("rm -r /", { stdin: "null" })), {
    ...forced,
    env: { SSH_ORIGINAL_COMMAND: "rm -r /" },
  });
  // A client cannot say so itself.
  const lying = { stdin: "null", env: { SSH_ORIGINAL_COMMAND: "nothing" } } as const;
  assertEquals(await told(client.shell(lying)), { ...forced, env: {} });
  assertEquals(await told(client.subsystem("other", lying)), { ...forced, env: { SSH_ORIGINAL_COMMAND: "other" } });
  assertEquals(await told(client.subsystem("nobody knows", { stdin: "null" })), {
    ...forced,
    env: { SSH_ORIGINAL_COMMAND: "nobody knows" },
  });
});

Deno.test("a grant's command internal-sftp is the subsystem sftp, whatever the client asks for", async () => {
  await using joined = await join(granting({ command: "internal-sftp" }));
  const { stdout } = await joined.client.exec("sh");
  assertEquals(JSON.parse(text(stdout)), {
    command: null,
    subsystem: "sftp",
    env: { SSH_ORIGINAL_COMMAND: "sh" },
    pty: false,
  });
});

Deno.test("a grant without pty gets no terminal, and its environment is set whatever the client sets", async () => {
  const environment = { ROLE: "guest" };
  await using joined = await join(granting({ pty: false, environment }));
  const { client } = joined;
  await assertRejects(() => client.spawn("x", { pty: {} }), SshError, "gives no terminal");
  const { stdout } = await client.exec("x", { env: { ROLE: "root", LANG: "C" } });
  assertEquals(JSON.parse(text(stdout)).env, { ROLE: "guest", LANG: "C" });
});

Deno.test("a grant that has expired lets nobody in, and one that expires ends the login", async () => {
  const past = new Date(Date.now() - 1);
  const refused = await assertRejects(() => join(granting({ expires: past })), SshAuthError);
  assertEquals(refused.remaining, ["password"]);
  // Nor is a key asked to sign for it.
  const key = await generateKey();
  let signed = 0;
  const signer: Signer = {
    publicKey: key.publicKey,
    algorithms: key.algorithms,
    sign: (data, name) => (signed++, key.sign(data, name)),
  };
  const auth = { publicKey: (): AuthResult => ({ grant: { expires: past } }) };
  await assertRejects(() => join({ auth, handler: tell }, { auth: [publicKey(signer)] }), SshAuthError);
  assertEquals(signed, 0);
  using time = new FakeTime();
  await using joined = await join(granting({ expires: new Date(Date.now() + 60_000) }));
  // What still has a time of its own behind the login is over by then.
  assert((await joined.client.exec("true")).success);
  time.tick(60_000);
  const error = await assertRejects(() => joined.client.closed, SshDisconnectError, "The login has expired");
  assertEquals(error.reason, DisconnectReason.NO_MORE_AUTH_METHODS_AVAILABLE);
});

Deno.test("what is no grant lets nobody in, and the server's onError is told", async () => {
  const wrong: unknown[] = [
    true,
    null,
    [],
    "all",
    { comand: "ls" },
    { command: 5 },
    { command: "a\0b" },
    { pty: "no" },
    { pty: null },
    { environment: { A: 1 } },
    { environment: { "A=B": "1" } },
    { environment: ["A=1"] },
    { expires: "tomorrow" },
    { expires: new Date(NaN) },
    { portForwarding: "host:22" },
    { portForwarding: { open: "host:22" } },
    { portForwarding: { opens: [] } },
    { forwardOnly: true },
    { forwardOnly: { open: [5] } },
    new Map([["command", "ls"]]),
    new Set(["pty"]),
    new Date(),
    Object.create({ comand: "ls" }),
    Object.defineProperty({}, "comand", { value: "ls" }),
    { comand() {} },
  ];
  for (const grant of wrong) {
    assertThrows(() => checkGrant(grant), TypeError, "Cannot grant login");
    const errors: unknown[] = [];
    const auth = { password: () => ({ grant }) as AuthResult };
    await assertRejects(() => join({ auth, onError: (error) => errors.push(error) }), SshAuthError);
    assert(errors.some((error) => error instanceof TypeError), JSON.stringify(grant));
  }
  for (const right of [{}, { command: undefined, pty: undefined }, { portForwarding: { open: ["db:5432"] } }]) {
    assertEquals(checkGrant(right), right);
  }
});

Deno.test("a grant made by a class, hidden or inherited restricts as a plain one does", async () => {
  class Limits {
    readonly #command = "only this";
    get command(): string {
      return this.#command;
    }
    get pty(): boolean {
      return false;
    }
    describe(): string {
      return "a guest";
    }
  }
  const hidden = Object.defineProperties({}, { command: { value: "only this" }, pty: { value: false } });
  for (const grant of [new Limits(), Object.create({ command: "only this", pty: false }), hidden]) {
    await using joined = await join(granting(grant as Grant));
    await assertRejects(() => joined.client.spawn("x", { pty: true }), SshError, "gives no terminal");
    assertEquals(JSON.parse(text((await joined.client.exec("rm")).stdout)).command, "only this");
  }
});

Deno.test("each step of a login grants, and all of them hold", async () => {
  const key = await generateKey();
  const steps = (first: Grant, second: AuthResult) => ({
    auth: {
      publicKey: (): AuthResult => ({ partial: ["password"], grant: first }),
      password: () => second,
    },
    handler: tell,
  });
  const both = { auth: [publicKey(key), password("wonderland")] };
  const first = { command: "one", environment: { A: "1", B: "1" } };
  await using joined = await join(steps(first, { grant: { pty: false, environment: { B: "2" } } }), both);
  await assertRejects(() => joined.client.spawn("x", { pty: {} }), SshError);
  const { stdout } = await joined.client.exec("x");
  assertEquals(JSON.parse(text(stdout)), {
    command: "one",
    subsystem: null,
    env: { A: "1", B: "2", SSH_ORIGINAL_COMMAND: "x" },
    pty: false,
  });
  await using plain = await join(steps({ command: "one" }, true), both);
  assertEquals(JSON.parse(text((await plain.client.exec("x")).stdout)).command, "one");
  // Two commands contradict each other: nothing can be right then.
  await assertRejects(() => join(steps({ command: "one" }, { grant: { command: "two" } }), both), SshAuthError);
});

Deno.test("Grants allows what each step allows, and what none speaks of as the server says", () => {
  const none = new Grants([]);
  assertEquals([none.allow("pty", true), none.allow("pty", false)], [true, false]);
  assertEquals([none.command, none.expires, none.contradict], [null, Infinity, false]);
  const two = none.and({ pty: true, expires: new Date(5000) }).and(null).and({ pty: false, expires: new Date(4000) });
  assertEquals([two.allow("pty", true), two.allow("x11Forwarding", false), two.expires], [false, false, 4000]);
  assertEquals(none.and({ pty: true }).and({}).allow("pty", false), true);
});

Deno.test("Transport holds its channels to the grant, too", async () => {
  const seen: unknown[] = [];
  class Session extends Channel {
    override checkExecRequest(command: string): boolean {
      return seen.push(["exec", command]) > 0;
    }
    override checkShellRequest(): boolean {
      return seen.push("shell") > 0;
    }
    override checkSubsystemRequest(name: string): boolean {
      return seen.push(["subsystem", name]) > 0;
    }
    override checkPtyRequest(): boolean {
      return true;
    }
    override checkEnvRequest(name: string, value: string): boolean {
      return seen.push([name, value]) > 0;
    }
  }
  using time = new FakeTime();
  const pair = memoryPair();
  const server = new Transport(pair.server), client = new Transport(pair.client);
  server.addServerKey(await hostKey());
  const expires = new Date(Date.now() + 60_000);
  const starting = server.startServer({
    getAllowedAuths: () => ["password"],
    checkAuthPassword: () => ({ grant: { command: "only this", pty: false, environment: { A: "1" }, expires } }),
    checkChannelRequest: (_kind, id) => new Session(id),
  });
  await Promise.all([starting, client.startClient()]);
  await client.authPassword("alice", "x");
  const channel = await client.openSession();
  await assertRejects(() => channel.getPty(), SshError);
  await channel.execCommand("anything");
  assertEquals(seen, [["A", "1"], ["SSH_ORIGINAL_COMMAND", "anything"], ["exec", "only this"]]);
  // The date is the real one: less than a minute is left, and what is set when it is over has its own time.
  time.next();
  await assertRejects(() => client.closed, SshDisconnectError, "The login has expired");
  await assertRejects(() => server.closed, SshError);
});

/** A `Transport` server whose user `grant` is for, and a client that has logged in; `made` makes its channels. */
async function under(grant: Grant, made: (id: number) => Channel, errors: unknown[] = []): Promise<Transport[]> {
  const pair = memoryPair();
  const server = new Transport(pair.server, { onError: (error) => errors.push(error) });
  const client = new Transport(pair.client);
  server.addServerKey(await hostKey());
  const starting = server.startServer({
    checkAuthPassword: () => ({ grant }),
    checkChannelRequest: (_kind, id) => made(id),
  });
  await Promise.all([starting, client.startClient()]);
  await client.authPassword("alice", "x");
  return [client, server];
}

Deno.test("Transport's channel waits for a grant's variables, and a failure to set them starts nothing", async () => {
  const seen: string[] = [], errors: unknown[] = [];
  class Session extends Channel {
    override async checkEnvRequest(name: string): Promise<boolean> {
      await null;
      seen.push(name);
      if (name === "BAD") throw new Error("cannot set");
      return true;
    }
    override checkExecRequest(): boolean {
      return seen.push("exec") > 0;
    }
  }
  const [client] = await under({ environment: { A: "1" } }, (id) => new Session(id)) as [Transport];
  await (await client.openSession()).execCommand("x");
  assertEquals(seen, ["A", "exec"]);
  const [failing] = await under({ environment: { BAD: "1" } }, (id) => new Session(id), errors) as [Transport];
  const channel = await failing.openSession();
  await assertRejects(() => channel.execCommand("x"), SshError, "refused");
  assertEquals(seen, ["A", "exec", "BAD"]);
  assertEquals(errors.map(String), ["Error: cannot set"]);
  await Promise.all([client.close(), failing.close()]);
});

Deno.test("Transport's channel asks nobody for what the grant forbids, nor lets a client say what it asked for", async () => {
  const seen: string[] = [];
  class Session extends Channel {
    override checkEnvRequest(name: string): boolean {
      return seen.push(name) > 0;
    }
    override checkOtherRequest(name: string): boolean {
      return seen.push(name) > 0;
    }
  }
  const forbidden = { command: "x", agentForwarding: false, x11Forwarding: false };
  const [client] = await under(forbidden, (id) => new Session(id)) as [Transport];
  const channel = await client.openSession();
  // The last one sets the first where a program joins names and values itself.
  for (const name of ["SSH_ORIGINAL_COMMAND", "", "SSH_ORIGINAL_COMMAND=lie"]) {
    assertEquals(await channel.setEnvironmentVariable(name, "lie"), false);
  }
  for (const name of ["auth-agent-req@openssh.com", "x11-req"]) assertEquals(await channel.request(name), false);
  assertEquals(await channel.request("other@example.com"), true);
  assertEquals(seen, ["other@example.com"]);
  await client.close();
});

Deno.test("Transport asks nobody for a forward that the grant forbids", async () => {
  const asked: unknown[] = [], forbidden: Grant["portForwarding"] = { open: ["db:5432", "[::1]:*", "*:80"] };
  const serve = async (portForwarding: Grant["portForwarding"]): Promise<Transport> => {
    const pair = memoryPair();
    const server = new Transport(pair.server), client = new Transport(pair.client);
    server.addServerKey(await hostKey());
    const starting = server.startServer({
      checkAuthPassword: () => ({ grant: { portForwarding } }),
      checkChannelRequest: (kind, id) => (asked.push(kind), new Channel(id)),
      checkPortForwardRequest: (_hostname, port) => (asked.push(port), port),
      checkGlobalRequest: (name) => asked.push(name) > 0,
    });
    await Promise.all([starting, client.startClient()]);
    await client.authPassword("alice", "x");
    return client;
  };
  const at = (hostname: string, port: number): Deno.NetAddr => ({ transport: "tcp", hostname, port });
  const open = (client: Transport, hostname: string, port: number): Promise<Channel> =>
    client.openChannel("direct-tcpip", { dest: at(hostname, port), origin: at("127.0.0.1", 1) });
  const listen = (client: Transport, hostname: string, port: number): Promise<unknown> =>
    client.globalRequest("tcpip-forward", new Writer().text(hostname).u32(port).bytes());
  const path = new Writer().text("/run/x.sock").bytes();

  const none = await serve(false), some = await serve(forbidden), all = await serve(true);
  for (const client of [none, some]) {
    for (const [hostname, port] of [["db", 5433], ["other", 5432], ["::2", 22], ["db:5432", 1]] as const) {
      await assertRejects(() => open(client, hostname, port), ChannelOpenError, "administratively prohibited");
    }
    await assertRejects(() => client.openChannel("direct-streamlocal@openssh.com", { data: path }), ChannelOpenError);
    assertEquals(await listen(client, "db", 5432), null);
    assertEquals(await client.globalRequest("streamlocal-forward@openssh.com", path), null);
  }
  assertEquals(asked, []);
  await assertRejects(() => open(none, "db", 5432), ChannelOpenError);
  for (const [hostname, port] of [["DB", 5432], ["::1", 22], ["anywhere", 80]] as const) {
    await open(some, hostname, port);
  }
  await open(all, "anywhere", 22);
  await listen(all, "", 8080);
  await none.openSession();
  assertEquals(asked, [...new Array(4).fill("direct-tcpip"), 8080, "session"]);
  await Promise.all([none.close(), some.close(), all.close()]);
});

Deno.test("what a grant narrows stays so whatever else allows it, in serve() and in Transport", () => {
  const port = (hostname: string, port: number) => new Writer().text(hostname).u32(port).bytes();
  const path = new Writer().text("/run/x.sock").bytes();
  const only = { open: ["db:5432"], listen: ["*.lan:*", "10.?.0.1:80"] };
  const narrow = new Grants([{ portForwarding: true }, { forwardOnly: only }]);
  const forbidden = (direction: "open" | "listen", hostname: string, number: number): boolean => {
    const [kind, name] = direction === "open"
      ? ["direct", "direct-tcpip"] as const
      : ["listen", "tcpip-forward"] as const;
    const said = grantsSay(narrow, { kind, hostname, port: number }) === "forbidden";
    assertEquals(forbidsForward(narrow, direction, name, port(hostname, number)), said);
    return said;
  };
  for (const [host, number] of [["db", 5432], ["DB", 5432]] as const) {
    assertEquals(forbidden("open", host, number), false);
  }
  for (const [host, number] of [["db", 80], ["*", 5432], ["d", 5432], ["a.lan", 1]] as const) {
    assertEquals(forbidden("open", host, number), true);
  }
  for (const [host, number] of [["a.lan", 1], ["A.LAN", 0], ["10.9.0.1", 80]] as const) {
    assertEquals(forbidden("listen", host, number), false);
  }
  for (const [host, number] of [["", 80], ["lan", 1], ["10.9.0.1", 81], ["db", 5432]] as const) {
    assertEquals(forbidden("listen", host, number), true);
  }
  for (const [direction, name] of [["open", "direct-streamlocal@openssh.com"], ["open", "tun@openssh.com"]] as const) {
    assertEquals(forbidsForward(narrow, direction, name, path), true);
  }
  assertEquals(forbidsForward(narrow, "listen", "streamlocal-forward@openssh.com", path), true);
  // A direction without a list is as it was, and a list by itself allows nothing.
  const half = new Grants([{ forwardOnly: { open: ["db:5432"] } }]);
  assertEquals(grantsSay(half, { kind: "direct", hostname: "db", port: 5432 }), "unsaid");
  assertEquals(grantsSay(half, { kind: "listen", hostname: "db", port: 80 }), "unsaid");
  assertEquals(grantsSay(half, { kind: "listen-unix", path: "/x" }), "unsaid");
  assertEquals(grantsSay(half, { kind: "direct-unix", path: "/x" }), "forbidden");
});

Deno.test("a grant that expires while a later step of the login is under way lets nobody in", async () => {
  const key = await generateKey(), { now } = Date, expires = new Date(now() + 60_000);
  let late = 0;
  const auth = {
    publicKey: (): AuthResult => ({ partial: ["password"], grant: { expires } }),
    password: (): AuthResult => {
      Date.now = () => now() + 60_000;
      return ++late > 0;
    },
  };
  const both = { auth: [publicKey(key), password("wonderland")] };
  try {
    await assertRejects(() => join({ auth, handler: tell }, both), SshAuthError);
  } finally {
    Date.now = now;
  }
  assertEquals(late, 1);
});
