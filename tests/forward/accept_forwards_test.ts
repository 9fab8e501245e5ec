/**
 * The server's side of forwards over muxes in memory, with the sockets of this machine: who allows, what is refused, what is left open.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Grant, Grants } from "../../lib/auth/grants.ts";
import type { ForwardRequest } from "../../lib/auth/forward_grants.ts";
import type { AuthInfo } from "../../lib/auth/types.ts";
import { ChannelOpenError, SshError } from "../../lib/errors.ts";
import { acceptForwards, type ForwardAcceptance, type Forwards } from "../../lib/forward/accept_forwards.ts";
import { acceptConn, type ConnAddrs, openConn, type SshConn } from "../../lib/forward/conn.ts";
import { DirectStreamlocal, DirectTcpip, ForwardedTcpip, StreamlocalForward } from "../../lib/forward/messages.ts";
import { TcpipForward } from "../../lib/forward/messages.ts";
import { type Sockets, type SystemListener, type SystemSocket, systemSockets } from "../../lib/forward/sockets.ts";
import { type JoinedMuxes, joinedMuxes } from "../_support/joined_muxes.ts";
import { inTime as within, turns, until as comes } from "../_support/until.ts";

const addrs: ConnAddrs<Deno.NetAddr> = {
  localAddr: { transport: "tcp", hostname: "here", port: 1 },
  remoteAddr: { transport: "tcp", hostname: "there", port: 2 },
};
const info = { username: "alice" } as AuthInfo;
const inTime = <T>(promise: Promise<T>): Promise<T> => within(promise, "the other side");
const until = (condition: () => boolean | Promise<boolean>): Promise<void> => comes(condition, "what is waited for");
const NOTHING = new Uint8Array(0);

interface Given extends Partial<Omit<ForwardAcceptance, "grants">> {
  grants?: readonly Grant[];
}

/** A server's forwards, and the client's mux. */
class Under implements AsyncDisposable {
  readonly errors: unknown[] = [];
  readonly arrived: { conn: SshConn; address: string; port: number }[] = [];
  readonly muxes: JoinedMuxes;
  #forwards: Forwards | null = null;

  constructor({ grants = [], ...given }: Given = {}) {
    this.muxes = joinedMuxes({
      server: { onError: (error) => this.errors.push(error), onEnded: (error) => this.#forwards?.end(error) },
    });
    this.#forwards = acceptForwards(this.muxes.server, {
      info,
      grants: new Grants(grants),
      sockets: systemSockets,
      maxListeners: 20,
      maxForwarded: 200,
      forwardTimeout: 30_000,
      onError: (error) => this.errors.push(error),
      ...given,
    });
    this.muxes.client.onChannel(ForwardedTcpip.name, ({ id, data }) => {
      const { address, port } = ForwardedTcpip.decode(data), { channel, conn } = acceptConn(id, addrs);
      this.arrived.push({ conn, address, port });
      return { channel };
    });
    this.muxes.client.onChannel("forwarded-streamlocal@openssh.com", ({ id }) => {
      const { channel, conn } = acceptConn(id, addrs);
      this.arrived.push({ conn, address: "", port: 0 });
      return { channel };
    });
  }

  dial(host: string, port: number, origin: { host?: string; port?: number } = {}): Promise<SshConn> {
    const { host: originHost = "127.0.0.1", port: originPort = 9 } = origin;
    const data = DirectTcpip.encode({ host, port, originHost, originPort });
    return inTime(openConn(this.muxes.client, DirectTcpip.name, data, addrs));
  }

  dialUnix(path: string): Promise<SshConn> {
    const data = DirectStreamlocal.encode({ path, reserved: NOTHING, reservedNumber: 0 });
    return inTime(openConn(this.muxes.client, DirectStreamlocal.name, data, addrs));
  }

  ask(name: string, data: Uint8Array): Promise<Uint8Array | null> {
    return inTime(this.muxes.client.globalRequest(name, data));
  }

  /** The port, or null. */
  async listen(address: string, port = 0): Promise<number | null> {
    const reply = await this.ask("tcpip-forward", TcpipForward.encode({ address, port }));
    if (reply === null) return null;
    return port === 0 ? new DataView(reply.buffer, reply.byteOffset).getUint32(0) : port;
  }

  async cancel(address: string, port: number): Promise<boolean> {
    return await this.ask("cancel-tcpip-forward", TcpipForward.encode({ address, port })) !== null;
  }

  async unix(name: string, path: string): Promise<boolean> {
    return await this.ask(name, StreamlocalForward.encode({ path })) !== null;
  }

  end(error: Error | null = null): void {
    this.muxes.transports.server.finish(error);
    this.muxes.transports.client.finish(error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.end();
    return Promise.resolve();
  }
}

const yes = { allowForward: () => true };

/** A listener whose connections get back what they send, with the half-close. */
function echo(
  options: Deno.TcpListenOptions | { transport: "unix"; path: string } = { hostname: "127.0.0.1", port: 0 },
) {
  const listener = Deno.listen(options as Deno.TcpListenOptions);
  const serving: Promise<void>[] = [];
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

async function all(readable: ReadableStream<Uint8Array>): Promise<string> {
  return await inTime(new Response(readable as ReadableStream<Uint8Array<ArrayBuffer>>).text());
}

async function echoed(conn: SshConn, text: string): Promise<string> {
  await conn.write(new TextEncoder().encode(text));
  await conn.closeWrite();
  return await all(conn.readable);
}

async function refusal(opening: Promise<unknown>): Promise<{ reason: number; message: string }> {
  const { reason, message } = await assertRejects(() => opening, ChannelOpenError);
  return { reason, message };
}

/** Whether nobody listens there; a listener that is being closed may still reset. */
async function isRefused(hostname: string, port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname, port })).close();
    return false;
  } catch (error) {
    return error instanceof Deno.errors.ConnectionRefused;
  }
}

/** Sockets that must not be used. */
const noSockets: Sockets = {
  connect: () => Promise.reject(new Error("connected")),
  listen: () => {
    throw new Error("listened");
  },
  listenUnix: () => {
    throw new Error("listened");
  },
};

Deno.test("nothing is forwarded where neither allowForward nor a grant says so", async () => {
  await using under = new Under({ sockets: noSockets });
  assertEquals((await refusal(under.dial("127.0.0.1", 22))).reason, 1);
  assertEquals((await refusal(under.dialUnix("/run/x"))).reason, 1);
  assertEquals(await under.listen("127.0.0.1"), null);
  assertEquals(await under.unix("streamlocal-forward@openssh.com", "/tmp/x"), false);
  assertEquals(under.errors, []);
});

Deno.test("only true of allowForward allows, and what it throws is a refusal that the program hears of", async () => {
  for (const answer of [false, undefined, 1, "yes", {}, null]) {
    await using under = new Under({ sockets: noSockets, allowForward: () => answer as boolean });
    assertEquals((await refusal(under.dial("127.0.0.1", 22))).reason, 1);
    assertEquals(await under.listen(""), null);
  }
  const failed = new Error("the policy is broken");
  for (
    const allowForward of [() => Promise.reject(failed), () => {
      throw failed;
    }]
  ) {
    await using under = new Under({ sockets: noSockets, allowForward });
    assertEquals((await refusal(under.dial("127.0.0.1", 22))).reason, 1);
    assertEquals(await under.listen(""), null);
    assertEquals(under.errors, [failed, failed]);
  }
});

Deno.test("allowForward is told what is asked for, as the client names it", async () => {
  const asked: ForwardRequest[] = [];
  await using under = new Under({
    allowForward: (who, request) => (assertEquals(who, info), asked.push(request), false),
  });
  await refusal(under.dial("Db.Internal", 5432));
  await refusal(under.dialUnix("/run/x"));
  await under.listen("*", 8080);
  await under.unix("streamlocal-forward@openssh.com", "/tmp/y");
  assertEquals(asked, [
    { kind: "direct", hostname: "Db.Internal", port: 5432 },
    { kind: "direct-unix", path: "/run/x" },
    { kind: "listen", hostname: "*", port: 8080 },
    { kind: "listen-unix", path: "/tmp/y" },
  ]);
});

Deno.test("a grant allows what it names without allowForward, and forbids all else whatever allowForward says", async () => {
  await using server = echo();
  const open = [`127.0.0.1:${server.port}`];
  for (const allowForward of [undefined, () => true]) {
    await using under = new Under({ grants: [{ portForwarding: { open } }], allowForward });
    assertEquals(await echoed(await under.dial("127.0.0.1", server.port), "granted"), "granted");
    assertEquals((await refusal(under.dial("127.0.0.1", server.port + 1))).reason, 1);
    assertEquals((await refusal(under.dial("localhost", server.port))).reason, 1);
    assertEquals((await refusal(under.dialUnix("/run/x"))).reason, 1);
    assertEquals(await under.listen("127.0.0.1"), null);
  }
  await using none = new Under({ grants: [{ portForwarding: false }], sockets: noSockets, ...yes });
  assertEquals((await refusal(none.dial("127.0.0.1", server.port))).reason, 1);
  assertEquals(await none.listen(""), null);
  // Where both have a say, both have to allow it.
  await using denied = new Under({ grants: [{ portForwarding: true }], sockets: noSockets, allowForward: () => false });
  assertEquals((await refusal(denied.dial("127.0.0.1", server.port))).reason, 1);
});

Deno.test("a grant of all ports does not reach Unix sockets nor listening below 1024 or for others than this machine, which have to be named", async () => {
  const seen: unknown[] = [];
  const sockets = {
    ...noSockets,
    listen: (hostname: string, port: number) => (seen.push([hostname, port]), []),
    listenUnix: (path: string) => (seen.push(path), noSockets.listenUnix(path)),
  };
  for (const portForwarding of [true, { open: ["*:*"], listen: ["*:*"] }]) {
    await using under = new Under({ grants: [{ portForwarding }], sockets });
    for (const port of [1, 1023]) assertEquals(await under.listen("localhost", port), null);
    for (const address of ["", "0.0.0.0", "::", "192.0.2.1"]) assertEquals(await under.listen(address, 8080), null);
    assertEquals(await under.unix("streamlocal-forward@openssh.com", "/tmp/x"), false);
    assertEquals((await refusal(under.dialUnix("/run/x"))).reason, 1);
  }
  assertEquals(seen, []);
  const listen = ["*:80", ":8080", "*:*", "[::]:80", "192.0.2.1:*", "/tmp/x"];
  await using named = new Under({ grants: [{ portForwarding: { listen } }], sockets });
  for (const address of ["localhost", "127.0.0.1", "::1", "", "::", "192.0.2.1"]) {
    for (const port of [80, 8080]) await named.listen(address, port);
  }
  await named.unix("streamlocal-forward@openssh.com", "/tmp/x");
  await named.unix("streamlocal-forward@openssh.com", "/tmp/y");
  const local = ["localhost", "127.0.0.1", "::1"].flatMap((address) => [[address, 80], [address, 8080]]);
  assertEquals(seen, [...local, ["", 8080], ["::", 80], ["192.0.2.1", 8080], "/tmp/x"]);
});

Deno.test("ports out of range, and hosts and origins that are none, are refused as prohibited, unasked, and the others go on", async () => {
  await using server = echo();
  let asked = 0;
  await using under = new Under({ allowForward: () => ++asked > 0 });
  for (const port of [0, 65_536, 0xffff_ffff]) assertEquals((await refusal(under.dial("127.0.0.1", port))).reason, 1);
  for (const host of ["", "a b", "a\0b", "a\nb", "x".repeat(1026), "x".repeat(65_536), "\udc80"]) {
    assertEquals((await refusal(under.dial(host, 22))).reason, 1);
    if (host !== "") assertEquals((await refusal(under.dial("127.0.0.1", 22, { host }))).reason, 1);
    if (host !== "") assertEquals(await under.listen(host), null);
  }
  assertEquals((await refusal(under.dial("127.0.0.1", 22, { port: 65_536 }))).reason, 1);
  for (const port of [65_536, 0xffff_ffff]) assertEquals(await under.listen("127.0.0.1", port), null);
  // Looking a name up to bind it would hold up everybody.
  for (
    const name of ["slow.example", "127.1", "0", "0x7f000001", "256.0.0.1", "[::1]", "::1::", "a:b", "::1%", "%lo"]
  ) {
    assertEquals(await under.listen(name), null, name);
  }
  for (const path of ["", "relative", "/a\0b", `/${"x".repeat(107)}`, `/${"x".repeat(65_536)}`, "/a/../b", "/.."]) {
    assertEquals((await refusal(under.dialUnix(path))).reason, 1);
    assertEquals(await under.unix("streamlocal-forward@openssh.com", path), false);
  }
  assertEquals(asked, 0);
  assertEquals(await echoed(await under.dial("127.0.0.1", server.port, { host: "", port: 0 }), "on"), "on");
});

Deno.test("a connection that fails is told in the words of OpenSSH and no others", async () => {
  await using under = new Under(yes);
  const free = Deno.listen({ hostname: "127.0.0.1", port: 0 }), { port } = free.addr as Deno.NetAddr;
  free.close();
  const refused = await refusal(under.dial("127.0.0.1", port));
  assertEquals(refused.reason, 2);
  assert(refused.message.endsWith('connect failed, "Connection refused"'), refused.message);
  const missing = await refusal(under.dialUnix("/nowhere/at/all"));
  assertEquals(missing.reason, 2);
  assert(missing.message.endsWith('connect failed, "No such file or directory"'), missing.message);
  const odd = new Error("a secret path");
  await using other = new Under({ ...yes, sockets: { ...noSockets, connect: () => Promise.reject(odd) } });
  assert((await refusal(other.dial("x", 1))).message.endsWith('connect failed, "Connect failed"'));
});

Deno.test("connecting ends with its time and with the connection, and a slow one holds nobody up", async () => {
  const signals: AbortSignal[] = [];
  const connect: Sockets["connect"] = (target, signal) => {
    if ("port" in target && target.port !== 7) return systemSockets.connect(target, signal);
    signals.push(signal);
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  };
  const sockets = { ...systemSockets, connect };
  await using server = echo();
  await using quick = new Under({ ...yes, sockets, forwardTimeout: 5 });
  assert((await refusal(quick.dial("x", 7))).message.includes("Connection timed out"));

  const under = new Under({ ...yes, sockets }), slow = under.dial("x", 7), lost = assertRejects(() => slow, SshError);
  assertEquals(await echoed(await under.dial("127.0.0.1", server.port), "past it"), "past it");
  assertEquals(signals.map(({ aborted }) => aborted), [true, false]);
  under.end(new SshError("gone", { code: "CONNECTION_LOST" }));
  await lost;
  assert(signals[1]!.aborted);
});

Deno.test("a client that names hosts whose look-ups take their time has sixteen of them at once, and addresses wait for none", async () => {
  const waiting: { readonly host: string; fail(): void }[] = [];
  const connect: Sockets["connect"] = (target, signal) => {
    if ("path" in target || target.hostname === "127.0.0.1") return systemSockets.connect(target, signal);
    return new Promise((_, reject) => {
      waiting.push({ host: target.hostname, fail: () => reject(new Error("failed to lookup address information")) });
    });
  };
  await using server = echo();
  await using under = new Under({ ...yes, sockets: { ...systemSockets, connect } });
  const hosts = Array.from({ length: 20 }, (_, i) => `h${i}.example`);
  const dials = hosts.map((host) => refusal(under.dial(host, 80)));
  await until(() => waiting.length >= 16);
  assertEquals(await echoed(await under.dial("127.0.0.1", server.port), "past it"), "past it");
  assertEquals(waiting.map(({ host }) => host), hosts.slice(0, 16));
  for (let i = 0; i < 20; i++) {
    await until(() => waiting.length > i);
    assertEquals(waiting.length, Math.min(20, 16 + i));
    waiting[i]!.fail();
    await turns();
  }
  for (const dial of dials) assert((await dial).message.includes("Name or service not known"));
  assertEquals(under.errors, []);
});

Deno.test("allowForward that takes its time holds up no channel, and what it allows too late opens nothing", async () => {
  const late = Promise.withResolvers<boolean>();
  await using server = echo();
  let connected = 0;
  const sockets: Sockets = { ...systemSockets, connect: (...args) => (connected++, systemSockets.connect(...args)) };
  const under = new Under({
    sockets,
    allowForward: (_info, request) => "hostname" in request && request.port === 1 ? late.promise : true,
  });
  const opening = assertRejects(() => under.dial("slow", 1), SshError);
  const asking = assertRejects(() => under.listen("127.0.0.1", 1), SshError);
  assertEquals(await echoed(await under.dial("127.0.0.1", server.port), "past it"), "past it");
  under.end(new SshError("gone", { code: "CONNECTION_LOST" }));
  late.resolve(true);
  await Promise.all([opening, asking]);
  assertEquals([connected, under.errors], [1, []]);
});

Deno.test("nothing is opened for a connection that ends while the word of allowForward is on its way", async () => {
  for (let steps = 0; steps < 9; steps++) {
    const late = Promise.withResolvers<boolean>(), path = `${Deno.makeTempDirSync()}/socket`;
    let asked = 0, open = 0;
    const counted = (listener: SystemListener): SystemListener => {
      open++;
      return { ...listener, close: () => (open--, listener.close()) };
    };
    const under = new Under({
      sockets: {
        ...systemSockets,
        listen: (...args) => systemSockets.listen(...args).map(counted),
        listenUnix: (path) => counted(systemSockets.listenUnix(path)),
        connect: (_target, signal) => {
          open++;
          return new Promise((_, reject) => signal.addEventListener("abort", () => (open--, reject(signal.reason))));
        },
      },
      allowForward: () => (asked++, late.promise),
    });
    const asking = [
      () => under.listen("127.0.0.1"),
      () => under.unix("streamlocal-forward@openssh.com", path),
      () => under.dial("127.0.0.1", 1),
    ][steps % 3]!;
    const ended = assertRejects(asking, SshError);
    await until(() => asked === 1);
    late.resolve(true);
    for (let i = 0; i < Math.floor(steps / 3); i++) await null;
    under.end();
    await ended;
    await turns();
    assertEquals(open, 0, `try ${steps}`);
  }
});

Deno.test("replies to requests to listen keep their order while one waits for allowForward", async () => {
  const late = Promise.withResolvers<boolean>();
  await using under = new Under({
    allowForward: (_info, request) => "hostname" in request && request.hostname === "localhost" ? late.promise : true,
  });
  const order: string[] = [];
  const first = under.listen("localhost").then((port) => (order.push("first"), port));
  const second = under.listen("127.0.0.1").then((port) => (order.push("second"), port));
  await until(() => true);
  assertEquals(order, []);
  late.resolve(true);
  assert(await first !== null && await second !== null);
  assertEquals(order, ["first", "second"]);
});

Deno.test("onForward answers allowed forwards in the place of a socket, and what it throws resets them", async () => {
  const failed = new Error("the broker is broken"), hosts: string[] = [];
  await using under = new Under({
    sockets: noSockets,
    allowForward: (_info, request) => "port" in request && request.port === 80,
    onForward: async (who, { hostname, port, conn }) => {
      assertEquals([who, port], [info, 80]);
      hosts.push(hostname);
      if (hostname === "bad") throw failed;
      assertEquals(conn.remoteAddr, { transport: "tcp", hostname: "127.0.0.1", port: 9 });
      await conn.readable.pipeTo(conn.writable);
    },
  });
  const answered = await under.dial("any.name", 80);
  assertEquals(await echoed(answered, "hello"), "hello");
  await answered.close();
  assertEquals((await refusal(under.dial("other", 81))).reason, 1);
  const reset = await under.dial("bad", 80);
  await inTime(reset.closed);
  assertEquals([hosts, under.errors], [["any.name", "bad"], [failed]]);
  await until(() => under.muxes.server.channelCount === 0);
});

Deno.test("a client that leaves while onForward answers is no news, and what else that throws behind the end is", async () => {
  for (const isLost of [false, true]) {
    const own = new Error("the broker is broken");
    let answered = 0;
    const under = new Under({
      sockets: noSockets,
      allowForward: () => true,
      onForward: async (_info, { hostname, conn }) => {
        try {
          await conn.readable.pipeTo(conn.writable);
        } catch (error) {
          throw hostname === "bad" ? own : error;
        } finally {
          answered++;
        }
      },
    });
    for (const host of ["good", "bad"]) {
      const conn = await under.dial(host, 80);
      await conn.write(Uint8Array.of(1));
      await conn.read(new Uint8Array(1));
      if (!isLost) await conn.close();
    }
    if (isLost) under.end(new SshError("gone", { code: "CONNECTION_LOST" }));
    await until(() => answered === 2);
    await turns();
    assertEquals(under.errors, [own]);
    under.end();
  }
});

for (const address of ["", "*", "localhost", "127.0.0.1", "0.0.0.0", "::1", "::"]) {
  Deno.test(`a listener at "${address}" forwards what comes there, and port 0 answers the port`, async () => {
    await using under = new Under(yes);
    const port = await under.listen(address);
    assert(port !== null && port > 0);
    const hosts = { "": ["127.0.0.1", "::1"], "*": ["127.0.0.1", "::1"], localhost: ["127.0.0.1", "::1"] };
    const reached = hosts[address as keyof typeof hosts] ?? [address === "::" ? "::1" : address];
    for (const [i, hostname] of reached.entries()) {
      using socket = await Deno.connect({ hostname, port });
      await until(() => under.arrived.length > i);
      const { conn, ...came } = under.arrived[i]!;
      assertEquals(came, { address, port });
      await socket.write(new TextEncoder().encode("in"));
      await socket.closeWrite();
      assertEquals(await all(conn.readable), "in");
      await conn.closeWrite();
      assertEquals(await socket.read(new Uint8Array(1)), null);
    }
    assert(await under.cancel(address, port));
    assertEquals(await under.cancel(address, port), false);
    await until(() => isRefused(reached[0]!, port));
  });
}

Deno.test("an address is listened at once, a foreign one is not cancelled, and there are no more than the limit", async () => {
  await using under = new Under({ ...yes, maxListeners: 3 });
  const port = await under.listen("127.0.0.1");
  assertEquals(await under.listen("127.0.0.1", port!), null);
  assertEquals(await under.cancel("localhost", port!), false);
  assertEquals(await under.cancel("127.0.0.1", 0), false);
  const more = [await under.listen("127.0.0.1"), await under.listen("127.0.0.1"), await under.listen("127.0.0.1")];
  assertEquals(more.map((one) => one !== null), [true, true, false]);
  assert(await under.cancel("127.0.0.1", port!));
  assert(await under.listen("127.0.0.1", port!) !== null);
  // Half of localhost is none: what is meant for this client would go to whoever has the other half.
  using taken = Deno.listen({ hostname: "::1", port: 0 });
  await under.cancel("127.0.0.1", port!);
  assertEquals(await under.listen("localhost", (taken.addr as Deno.NetAddr).port), null);
});

Deno.test("port 0 without a reply is not listened at: nobody would know the port", async () => {
  const asked: unknown[] = [];
  await using under = new Under({ sockets: noSockets, allowForward: (_info, request) => asked.push(request) > 0 });
  under.muxes.client.notify("tcpip-forward", TcpipForward.encode({ address: "", port: 0 }));
  await under.listen("", 65_536);
  assertEquals(asked, []);
});

Deno.test("listeners, their connections and those of direct forwards end with the SSH connection", async () => {
  for (const error of [null, new SshError("gone", { code: "CONNECTION_LOST" })]) {
    await using server = echo();
    const path = `${Deno.makeTempDirSync()}/socket`;
    const under = new Under(yes), port = await under.listen("127.0.0.1");
    assert(await under.unix("streamlocal-forward@openssh.com", path));
    const direct = await under.dial("127.0.0.1", server.port);
    using socket = await Deno.connect({ hostname: "127.0.0.1", port: port! });
    await until(() => under.arrived.length === 1);
    under.end(error);
    assertEquals(await inTime(socket.read(new Uint8Array(1)).catch(() => null)), null);
    await assertRejects(() => inTime(direct.closed), SshError);
    await until(() => isRefused("127.0.0.1", port!));
    // The system removes it when nobody waits for connections any more.
    await until(() => Deno.lstat(path).then(() => false, (error) => error instanceof Deno.errors.NotFound));
  }
});

Deno.test("a Unix socket is its owner's alone, takes nobody's place, and is removed at its end", async () => {
  const dir = Deno.makeTempDirSync(), path = `${dir}/socket`, file = `${dir}/file`, link = `${dir}/link`;
  Deno.writeTextFileSync(file, "precious");
  Deno.symlinkSync(`${dir}/nowhere`, link);
  await using under = new Under(yes);
  for (const taken of [file, link]) {
    assertEquals(await under.unix("streamlocal-forward@openssh.com", taken), false);
  }
  assertEquals(Deno.readTextFileSync(file), "precious");
  const umask = Deno.umask();
  assert(await under.unix("streamlocal-forward@openssh.com", path));
  assertEquals([Deno.umask(), Deno.lstatSync(path).mode! & 0o777], [umask, 0o600]);
  assertEquals(await under.unix("streamlocal-forward@openssh.com", path), false);
  using socket = await Deno.connect({ transport: "unix", path });
  await until(() => under.arrived.length === 1);
  await socket.write(new TextEncoder().encode("in"));
  await socket.closeWrite();
  assertEquals(await all(under.arrived[0]!.conn.readable), "in");
  assert(await under.unix("cancel-streamlocal-forward@openssh.com", path));
  assertEquals(await under.unix("cancel-streamlocal-forward@openssh.com", path), false);
  await assertRejects(() => Deno.lstat(path), Deno.errors.NotFound);
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("Unix sockets are reached by direct-streamlocal", async () => {
  const dir = Deno.makeTempDirSync(), path = `${dir}/socket`;
  await using _server = echo({ transport: "unix", path });
  await using under = new Under(yes);
  assertEquals(await echoed(await under.dialUnix(path), "by path"), "by path");
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("connections to a listener beyond the limit wait until one has gone", async () => {
  await using under = new Under({ ...yes, maxForwarded: 2 });
  const port = (await under.listen("127.0.0.1"))!;
  const sockets = await Promise.all([1, 2, 3, 4].map(() => Deno.connect({ hostname: "127.0.0.1", port })));
  await until(() => under.arrived.length === 2);
  await turns(20);
  assertEquals(under.arrived.length, 2);
  await under.arrived[0]!.conn.close();
  await until(() => under.arrived.length === 3);
  for (const socket of sockets) socket.close();
  const ended = async () => {
    for (const { conn } of under.arrived) await conn.close();
    return under.muxes.client.channelCount === 0 && under.muxes.server.channelCount === 0;
  };
  // Those that wait have gone when their turn comes, and that ends nothing.
  await until(ended);
  using _later = await Deno.connect({ hostname: "127.0.0.1", port });
  await until(() => under.muxes.client.channelCount === 1);
});

/** A socket that nothing comes from, and what has been done to it. */
function idleSocket(): SystemSocket & { closed: boolean } {
  const ended = Promise.withResolvers<null>();
  return {
    closed: false,
    from: null,
    read: () => ended.promise,
    write: (p) => Promise.resolve(p.length),
    closeWrite: () => Promise.resolve(),
    close() {
      this.closed = true;
      ended.resolve(null);
    },
    setRef: () => {},
  };
}

/** A listener that gets the connection that a test gives it, and lets go of its address a moment after `close()`. */
class GivenListener implements SystemListener {
  readonly port: number;
  waits = false;
  isBound = true;
  #came = Promise.withResolvers<SystemSocket>();

  constructor(port: number) {
    this.port = port;
  }

  accept(): Promise<SystemSocket> {
    this.waits = true;
    return (this.#came = Promise.withResolvers()).promise;
  }

  come(socket: SystemSocket): void {
    this.#came.resolve(socket);
  }

  async close(): Promise<void> {
    for (let i = 0; i < 100; i++) await null;
    this.isBound = false;
    this.#came.promise.catch(() => {});
    this.#came.reject(new Error("closed"));
  }

  setRef(): void {}
}

Deno.test("connections that come to several listeners at once keep to the limit together, and those that wait are closed in the end", async () => {
  const listeners = [1, 2, 3].map((port) => new GivenListener(port));
  const sockets: Sockets = { ...noSockets, listen: (_hostname, port) => [listeners[port - 1]!] };
  const under = new Under({ ...yes, sockets, maxForwarded: 1 });
  for (const { port } of listeners) await under.listen("127.0.0.1", port);
  const came = listeners.map(() => idleSocket());
  await until(() => listeners.every(({ waits }) => waits));
  listeners.forEach((listener, i) => listener.come(came[i]!));
  await until(() => under.arrived.length === 1);
  await turns(5);
  assertEquals([under.arrived.length, under.muxes.server.channelCount], [1, 1]);
  await under.arrived[0]!.conn.close();
  await until(() => under.arrived.length === 2);
  assertEquals(under.muxes.client.channelCount, 1);
  under.end();
  await until(() => came.every(({ closed }) => closed));
});

Deno.test("an address is free when its cancellation is answered: whoever listens there next is not told that it is in use", async () => {
  const listener = new GivenListener(7);
  await using under = new Under({ ...yes, sockets: { ...noSockets, listen: () => [listener] } });
  assertEquals(await under.listen("127.0.0.1", 7), 7);
  await until(() => listener.waits);
  assert(await under.cancel("127.0.0.1", 7));
  assertEquals(listener.isBound, false);
});

Deno.test("a client that wants no forwarded channel has its connections closed, and the listener goes on", async () => {
  const muxes = joinedMuxes();
  const forwards = acceptForwards(muxes.server, {
    ...{ info, grants: new Grants([]), sockets: systemSockets, maxListeners: 1, maxForwarded: 1, forwardTimeout: 1000 },
    allowForward: () => true,
    onError: () => {},
  });
  const reply = await muxes.client.globalRequest(
    "tcpip-forward",
    TcpipForward.encode({ address: "127.0.0.1", port: 0 }),
  );
  const port = new DataView(reply!.buffer, reply!.byteOffset).getUint32(0);
  for (let i = 0; i < 3; i++) {
    using socket = await Deno.connect({ hostname: "127.0.0.1", port });
    assertEquals(await inTime(socket.read(new Uint8Array(1)).catch(() => null)), null);
  }
  forwards.end(null);
});

Deno.test("a flood of direct forwards is held to the channels of the connection, and leaves no socket", async () => {
  await using server = echo();
  let open = 0, most = 0;
  const connect: Sockets["connect"] = async (target, signal) => {
    most = Math.max(most, ++open);
    const socket = await systemSockets.connect(target, signal);
    let closed = false;
    return {
      ...socket,
      close: () => {
        if (!closed) open--;
        closed = true;
        socket.close();
      },
    };
  };
  const under = new Under({ ...yes, sockets: { ...systemSockets, connect } });
  const outcomes = await Promise.allSettled(Array.from({ length: 400 }, () => under.dial("127.0.0.1", server.port)));
  const opened = outcomes.filter(({ status }) => status === "fulfilled").length;
  assertEquals([opened, most], [256, 256]);
  under.end();
  await until(() => open === 0);
});

Deno.test("a socket that is reset resets the channel, without a word of an end", async () => {
  let closed = 0;
  const failing = Promise.withResolvers<number | null>();
  const socket: SystemSocket = {
    from: null,
    read: () => failing.promise,
    write: (p) => Promise.resolve(p.length),
    closeWrite: () => Promise.resolve(),
    close: () => closed++,
    setRef: () => {},
  };
  await using under = new Under({ ...yes, sockets: { ...noSockets, connect: () => Promise.resolve(socket) } });
  const conn = await under.dial("x", 1);
  failing.reject(new Deno.errors.ConnectionReset());
  await inTime(conn.closed);
  assertEquals([closed, under.muxes.server.channelCount, under.errors], [1, 0, []]);
});

Deno.test("a socket that half-closes still gets all, and one that has gone ends its channel", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }), { port } = listener.addr as Deno.NetAddr;
  await using under = new Under(yes);
  const conn = await under.dial("127.0.0.1", port), socket = await listener.accept();
  await socket.closeWrite();
  assertEquals(await all(conn.readable), "");
  await conn.write(new TextEncoder().encode("still on the way"));
  await conn.closeWrite();
  assertEquals(await all(socket.readable), "still on the way");
  await inTime(conn.closed);

  // One that is gone, and says so when it is written to.
  const other = await under.dial("127.0.0.1", port);
  (await listener.accept()).close();
  assertEquals(await all(other.readable), "");
  await until(async () => {
    await other.write(new Uint8Array(10)).catch(() => {});
    return under.muxes.server.channelCount === 0;
  });
  listener.close();
});
