/**
 * Chains of servers of others: bytes by hash through hops of each kind, and what becomes of a transfer when the hop in the middle is killed, or
 * stands still. How to run one peer: _matrix.ts. `ssh -J` and `-W` through serve() are in forward_server_test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  connect,
  type ConnectOptions,
  insecureAcceptAnyHostKey,
  knownHosts,
  parsePrivateKey,
  pinnedHostKey,
  publicKey,
  serve,
  SshError,
} from "../../mod.ts";
import { seededBytes } from "../_support/duplex.ts";
import { commands, hostKey, login } from "../_support/joined.ts";
import {
  type PeerId,
  peers,
  peerTest,
  type ServerPeer,
  startAsyncSshServer,
  startDropbear,
  startOpenSshd,
  startSsh2Server,
} from "../_support/peers.ts";
import { openFiles } from "../_support/resources.ts";
import { inTime, until } from "../_support/until.ts";

const sent = seededBytes(300_000);
const digest = async (bytes: Uint8Array<ArrayBuffer>) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();

async function to(server: ServerPeer, more: Partial<ConnectOptions> = {}): Promise<ConnectOptions> {
  return {
    hostname: server.hostname,
    port: server.port,
    username: server.username,
    auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(server.clientKey.file)))],
    verifyHostKey: pinnedHostKey(...server.hostKeys),
    ...more,
  };
}

/** A command gives back what it gets. */
async function roundTrip(options: ConnectOptions): Promise<void> {
  await using client = await connect(options);
  const process = await client.spawn("cat"), output = process.output();
  const writer = process.stdin.getWriter();
  await writer.write(sent);
  await writer.close();
  assertEquals(await digest((await inTime(output, "the output")).stdout), await digest(sent));
}

const starts: readonly (readonly [PeerId, () => Promise<ServerPeer>])[] = [
  ["openssh", () => startOpenSshd()],
  ["openssh10", () => startOpenSshd({ version: "10" })],
  ["dropbear", () => startDropbear()],
  ["asyncssh", () => startAsyncSshServer({ forwards: true })],
  ["ssh2", () => startSsh2Server({ forwards: true })],
];

for (const [id, start] of starts) {
  peerTest(id, `connect() goes through ${peers[id].title} as a jump host, to serve() and to itself`, async () => {
    await using hop = await start();
    await using target = serve({
      hostname: "127.0.0.1",
      port: 0,
      hostKeys: [await hostKey()],
      auth: { password: () => true },
      handler: commands,
      onListen: () => {},
    });
    const { port } = target.addr;
    // Nobody but the hop names the target as it is looked up.
    const verifyHostKey = knownHosts(`[127.0.0.1]:${port} ${(await hostKey()).publicKey}\n`);
    const own = { hostname: "127.0.0.1", ...login, port, verifyHostKey };
    await roundTrip({ ...own, jump: await to(hop) });
    await using open = await connect(await to(hop));
    await roundTrip(await to(hop, { jump: open }));
    const nobody = Deno.listen({ hostname: "127.0.0.1", port: 0 }), closed = nobody.addr.port;
    nobody.close();
    const error = await assertRejects(() => connect({ ...own, port: closed, jump: open }), SshError);
    const place = `"127.0.0.1" port ${closed} through "127.0.0.1" port ${hop.port} (hop 1 of 1): `;
    assert(error.message.startsWith(`Cannot connect to ${place}`), error.message);
    assertEquals(error.code, "CHANNEL_OPEN_FAILED");
    await open.exec("true");
  });
}

/** Processes of a server on this port, but for the one that listens. */
function sessionsOf(port: number): number[] {
  const parents = new Map<number, number>();
  let daemon = 0;
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const parent = Number(/.*\) \S (\d+)/s.exec(Deno.readTextFileSync(`/proc/${name}/stat`))![1]);
      parents.set(Number(name), parent);
      // The sessions' processes have words of their own.
      if (parent === Deno.pid && Deno.readTextFileSync(`/proc/${name}/cmdline`).includes(`\0-p\0${port}\0`)) {
        daemon = Number(name);
      }
    } catch {
      // It has ended.
    }
  }
  const isBelow = (pid: number): boolean =>
    parents.get(pid) === daemon || parents.has(pid) && isBelow(parents.get(pid)!);
  return [...parents.keys()].filter(isBelow);
}

peerTest(
  "openssh10",
  "the hop in the middle of three is killed, or stands still, in mid-transfer: an error that names it, and nothing left",
  async () => {
    await using first = await startOpenSshd();
    await using middle = await startOpenSshd({ version: "10" });
    await using last = await startDropbear();
    const verifyHostKey = insecureAcceptAnyHostKey();
    const jump = [await to(first, { verifyHostKey }), await to(middle, { keepalive: { interval: 500, maxMissed: 4 } })];
    await roundTrip(await to(last, { jump }));
    const place = `"127.0.0.1" port ${middle.port} (hop 2 of 2)`;
    for (const signal of ["SIGKILL", "SIGSTOP"] as const) {
      await until(
        () => sessionsOf(middle.port).length === 0 && sessionsOf(first.port).length === 0,
        "sessions are left",
      );
      const files = openFiles();
      const client = await connect(await to(last, { jump }));
      const process = await client.spawn("cat /dev/zero"), reader = process.stdout.getReader();
      let received = 0;
      const reading = (async () => {
        for (let chunk; (chunk = (await reader.read()).value) !== undefined;) received += chunk.length;
      })();
      reading.catch(() => {});
      await until(() => received > 1_000_000, "a part of the transfer");
      const pids = sessionsOf(middle.port);
      assert(pids.length > 0);
      for (const pid of pids) Deno.kill(pid, signal);
      try {
        const ends: Promise<unknown>[] = [reading, process.status, client.closed];
        for (const end of ends.map((end) => assertRejects(() => end, SshError))) {
          const error = await inTime(end, signal);
          assertEquals(error.code, "CONNECTION_LOST");
          assert(error.message.startsWith(`Connection was lost with ${place}: `), error.message);
          assert(signal === "SIGKILL" || error.message.includes("Peer is gone"), error.message);
        }
        await client.close();
        await until(() => openFiles() <= files, `${openFiles()} files are open, and ${files} were before`);
      } finally {
        for (const pid of signal === "SIGSTOP" ? pids : []) Deno.kill(pid, "SIGKILL");
      }
    }
  },
);
