/**
 * Paths of a client through the servers of others: connections and listeners to ports and Unix sockets, and the forwards of `ssh -L`,
 * `-R` and `-D`, the last with curl. How to run one peer: _matrix.ts.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  ChannelOpenError,
  connect,
  type Forward,
  parsePrivateKey,
  pinnedHostKey,
  publicKey,
  type SshClient,
  SshError,
} from "../../mod.ts";
import { seededBytes } from "../_support/duplex.ts";
import { scratchDir } from "../_support/keys.ts";
import {
  type PeerId,
  peerTest,
  type ServerPeer,
  startAsyncSshServer,
  startDropbear,
  startOpenSshd,
  startSsh2Server,
} from "../_support/peers.ts";
import { inTime, until } from "../_support/until.ts";

interface Entry {
  readonly id: PeerId;
  readonly start: () => Promise<ServerPeer>;
  /** Addresses that it listens at besides `localhost` and `127.0.0.1`, and in whose name a client on this machine reaches them. */
  readonly addresses: Readonly<Record<string, string>>;
  /** What it does not do: Unix sockets; cancelling; half-closes toward its clients, as it closes with them both directions. */
  readonly lacks?: readonly ("unix" | "cancel" | "half-close")[];
}

const everywhere = { "": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::1": "::1", "::": "::1" };
/** Of servers that listen at the loopback addresses whatever a client asks for. */
const onLoopback = { "": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::1": "::1", "::": "127.0.0.1", "*": "127.0.0.1" };

const entries: readonly Entry[] = [
  {
    id: "openssh",
    start: () => startOpenSshd({ config: ["GatewayPorts=clientspecified"] }),
    addresses: { ...everywhere, "*": "127.0.0.1" },
  },
  {
    id: "openssh10",
    start: () => startOpenSshd({ version: "10" }),
    addresses: onLoopback,
  },
  {
    id: "dropbear",
    start: () => startDropbear(),
    addresses: onLoopback,
    lacks: ["unix", "cancel"],
  },
  {
    id: "asyncssh",
    start: () => startAsyncSshServer({ forwards: true }),
    addresses: { ...everywhere, "*": "127.0.0.1" },
  },
  {
    id: "ssh2",
    start: () => startSsh2Server({ forwards: true }),
    addresses: everywhere,
    lacks: ["half-close"],
  },
];

const sent = seededBytes(1_200_000), utf8 = new TextEncoder();

async function login(server: ServerPeer): Promise<SshClient> {
  return await connect({
    hostname: server.hostname,
    port: server.port,
    username: server.username,
    auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(server.clientKey.file)))],
    verifyHostKey: pinnedHostKey(...server.hostKeys),
  });
}

type Stream = Pick<Deno.Conn, "read" | "write" | "closeWrite" | "close">;

async function digest(conn: Stream): Promise<string> {
  const parts: Uint8Array<ArrayBuffer>[] = [], part = new Uint8Array(65_536);
  for (let n; (n = await conn.read(part)) !== null;) parts.push(part.slice(0, n));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer())).toHex();
}

const expected = new Uint8Array(await crypto.subtle.digest("SHA-256", sent)).toHex();

async function writeAll(conn: Stream, bytes: Uint8Array): Promise<void> {
  for (let left = bytes; left.length > 0;) left = left.subarray(await conn.write(left));
}

/** Sends all, half-closes, and compares what comes back after that. */
async function through(conn: Stream): Promise<void> {
  const all = digest(conn);
  await writeAll(conn, sent);
  await conn.closeWrite();
  assertEquals(await inTime(all, "the bytes"), expected);
  await conn.close();
}

/** The same without a half-close: the other side says when it has got all. */
async function throughOpen(conn: Stream): Promise<void> {
  const all = digest(conn);
  await writeAll(conn, sent);
  assertEquals(await inTime(all, "the bytes"), expected);
  await conn.close();
}

/** Takes as much as there will be, or all until the end, and only then gives it back. */
async function giveBack(conn: Stream, expected = Infinity): Promise<void> {
  const parts: Uint8Array<ArrayBuffer>[] = [], part = new Uint8Array(65_536);
  try {
    for (let n, total = 0; total < expected && (n = await conn.read(part)) !== null; total += n) {
      parts.push(part.slice(0, n));
    }
    for (const one of parts) await writeAll(conn, one);
    await conn.closeWrite();
  } catch {
    // Cut, as some tests do.
  }
  await conn.close();
}

/** A server on this machine that gives everything back. */
function echo(at: { path: string } | null = null, expected?: number): { port: number } & AsyncDisposable {
  const listener: Deno.Listener = at === null
    ? Deno.listen({ hostname: "127.0.0.1", port: 0 })
    : Deno.listen({ transport: "unix", ...at });
  const serving: Promise<void>[] = [];
  const done = (async () => {
    for await (const conn of listener) serving.push(giveBack(conn, expected));
    await Promise.all(serving);
  })();
  return {
    port: "port" in listener.addr ? listener.addr.port : 0,
    async [Symbol.asyncDispose]() {
      listener.close();
      await done;
    },
  };
}

function portOf(forward: { readonly addr: Deno.Addr }): number {
  return (forward.addr as Deno.NetAddr).port;
}

for (const { id, start, addresses, lacks = [] } of entries) {
  const unix = !lacks.includes("unix"), cancels = !lacks.includes("cancel");
  /** What the server accepts. */
  const there = lacks.includes("half-close") ? { through: throughOpen, expected: sent.length } : { through };

  peerTest(id, `${id} connects and listens for a client: ports and Unix sockets, both ways, by hash`, async (t) => {
    await using server = await start();
    await using client = await login(server);
    await using target = echo();
    const dir = scratchDir();

    await t.step("dial() carries bytes and half-closes, and says what was refused", async () => {
      await through(await client.dial({ hostname: "127.0.0.1", port: target.port }));
      await through(await client.dial({ hostname: "localhost", port: target.port }));
      const error = await assertRejects(() => client.dial({ hostname: "127.0.0.1", port: 1 }), ChannelOpenError);
      assert([1, 2].includes(error.reason), error.message);
    });

    await t.step("listen() at each address, with port 0 and the same port again, and cancelled", async () => {
      for (
        const [hostname, reached] of Object.entries({ localhost: "127.0.0.1", "127.0.0.1": "127.0.0.1", ...addresses })
      ) {
        const listener = await client.listen({ hostname, port: 0 }), port = portOf(listener);
        assert(port > 0, hostname);
        const accepted = listener.accept();
        const near = await Deno.connect({ hostname: reached, port }), conn = await inTime(accepted, hostname);
        assertEquals(conn.localAddr.port, port);
        assertEquals(conn.remoteAddr.port, near.localAddr.port);
        await Promise.all([there.through(near), giveBack(conn, there.expected)]);
        await listener.close();
        if (!cancels) {
          // The server goes on listening, and what comes of it is refused here.
          const late = await Deno.connect({ hostname: reached, port });
          assertEquals(await inTime(late.read(new Uint8Array(1)), "the end"), null);
          late.close();
          continue;
        }
        await until(
          () => Deno.connect({ hostname: reached, port }).then((conn) => (conn.close(), false), () => true),
          `${hostname}: it still listens`,
        );
        // Free again.
        await (await client.listen({ hostname, port })).close();
      }
    });

    await t.step("of two listeners one is cancelled; a port in use is refused", async () => {
      const first = await client.listen({ port: 0 }), second = await client.listen({ port: 0 });
      // Dropbear finds an address of another family.
      if (id !== "dropbear") {
        await assertRejects(() => client.listen({ port: server.port, hostname: "127.0.0.1" }), SshError);
      }
      await first.close();
      const accepted = second.accept(), near = await Deno.connect({ hostname: "127.0.0.1", port: portOf(second) });
      await Promise.all([there.through(near), giveBack(await accepted, there.expected)]);
      await second.close();
    });

    await t.step("dialUnix() and listenUnix()", async () => {
      const path = `${dir}/there`, listenAt = `${dir}/listening`;
      await using _there = echo({ path });
      if (!unix) {
        await assertRejects(() => client.dialUnix(path), ChannelOpenError);
        await assertRejects(() => client.listenUnix(listenAt), SshError);
        return;
      }
      await through(await client.dialUnix(path));
      const listener = await client.listenUnix(listenAt), accepted = listener.accept();
      const near = await Deno.connect({ transport: "unix", path: listenAt });
      await Promise.all([
        there.through(near),
        giveBack(await inTime(accepted, "the connection"), there.expected),
      ]);
      await listener.close();
    });

    await t.step("forwardLocal() and forwardRemote(), with Unix sockets where there are some", async () => {
      const forwards: Forward[] = [];
      const local = await client.forwardLocal({ port: 0 }, { hostname: "127.0.0.1", port: target.port });
      await using remoteTarget = echo(null, there.expected);
      const remote = await client.forwardRemote({ port: 0 }, { port: remoteTarget.port });
      forwards.push(local, remote);
      await through(await Deno.connect({ hostname: "127.0.0.1", port: portOf(local) }));
      await there.through(await Deno.connect({ hostname: "127.0.0.1", port: portOf(remote) }));
      const path = `${dir}/local`;
      forwards.push(await client.forwardLocal({ path }, { hostname: "127.0.0.1", port: target.port }));
      await through(await Deno.connect({ transport: "unix", path }));
      if (unix) {
        const unixTarget = `${dir}/target`, far = `${dir}/far`, here = `${dir}/here`;
        await using _target = echo({ path: unixTarget }, there.expected);
        forwards.push(await client.forwardLocal({ path: here }, { path: unixTarget }));
        forwards.push(await client.forwardRemote({ path: far }, { path: unixTarget }));
        for (const path of [here, far]) await there.through(await Deno.connect({ transport: "unix", path }));
      }
      await until(() => forwards.every(({ connections }) => connections.size === 0), "A connection is still open");
      for (const forward of forwards) {
        await forward.close();
        await forward.finished;
      }
    });

    await t.step("forwardDynamic() serves curl, SOCKS4A and SOCKS5", async () => {
      await using web = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => new Response(sent));
      const dynamic = await client.forwardDynamic({ port: 0 }), proxy = `127.0.0.1:${portOf(dynamic)}`;
      for (const option of ["--socks5-hostname", "--socks5", "--socks4a", "--socks4"]) {
        const url = `http://localhost:${web.addr.port}/`, args = ["-sS", "--noproxy", "", option, proxy, url];
        const { code, stdout, stderr } = await new Deno.Command("curl", { args }).output();
        assertEquals([code, new TextDecoder().decode(stderr)], [0, ""], option);
        assertEquals(new Uint8Array(await crypto.subtle.digest("SHA-256", stdout)).toHex(), expected, option);
      }
      const args = ["-sS", "--socks5-hostname", proxy, "http://127.0.0.1:1/"];
      const { code, stderr } = await new Deno.Command("curl", { args }).output();
      assertEquals(code, 97, new TextDecoder().decode(stderr));
      await dynamic.close();
    });

    await t.step("100 connections, half of them cut, leave nothing open", async () => {
      const forward = await client.forwardLocal({ port: 0 }, { hostname: "127.0.0.1", port: target.port });
      const one = async (i: number): Promise<void> => {
        const conn = await Deno.connect({ hostname: "127.0.0.1", port: portOf(forward) });
        try {
          await writeAll(conn, utf8.encode(`number ${i}`));
          if (i % 2 === 0) return;
          await conn.closeWrite();
          const part = new Uint8Array(100);
          assertEquals(await conn.read(part), `number ${i}`.length);
        } finally {
          conn.close();
        }
      };
      await inTime(Promise.all(Array.from({ length: 80 }, (_, i) => one(i))), "the connections");
      for (let i = 0; i < 20; i++) await one(i);
      await until(() => forward.connections.size === 0, "A connection is still open");
      await forward.close();
    });
  });
}
