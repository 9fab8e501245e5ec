/**
 * What peers really do beyond their RFCs, and how `connect()` bears it.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, parsePrivateKey, pinnedHostKey, publicKey, serve, SshError, type TraceEvent } from "../../mod.ts";
import { testKeys } from "../_support/keys.ts";
import { asyncSsh2Client } from "../_support/peer_clients.ts";
import { peerTest, startAsyncSsh2Server, startTinysshd } from "../_support/peers.ts";
import { inTime, until } from "../_support/until.ts";

// C4, C5.
peerTest(
  "tinyssh",
  "connect(): TinySSH answers UNIMPLEMENTED to a keepalive and to other global requests",
  async () => {
    await using server = await startTinysshd();
    let unimplemented = 0;
    await using client = await connect({
      hostname: server.hostname,
      port: server.port,
      username: server.username,
      auth: [publicKey(server.userKeys.ed25519.text)],
      verifyHostKey: pinnedHostKey(...server.hostKeys),
      keepalive: { interval: 200, maxMissed: 8 },
      trace: ({ event, detail }) => void (event === "received" && detail.type === 3 && unimplemented++),
    });
    await until(() => unimplemented > 10, "UNIMPLEMENTED, again and again");
    for (const name of ["a@example.com", "b@example.com"]) {
      const error = await assertRejects(() => inTime(client.request(name), "the refusal"), SshError);
      assertEquals(error.code, "REQUEST_DENIED");
    }
    const { code, stdout } = await client.exec("echo alive");
    assertEquals([code, new TextDecoder().decode(stdout)], [0, "alive\n"]);
  },
);

/** Counts messages of the connection protocol between the peer's KEXINIT and its NEWKEYS. */
function dataBehindKexInit(): {
  readonly count: number;
  readonly exchanges: number;
  trace: (event: TraceEvent) => void;
} {
  let inside = false, count = 0, exchanges = 0;
  return {
    get count() {
      return count;
    },
    get exchanges() {
      return exchanges;
    },
    trace: ({ event, detail }) => {
      if (event !== "received") return;
      if (detail.type === 20) inside = true;
      else if (detail.type === 21) {
        inside = false;
        exchanges++;
      } else if (inside && Number(detail.type) >= 80) count++;
    },
  };
}

// C13. It sends on while its own part of the exchange is under way, so the exchanges have to meet data.
const size = 16 << 20, rekey = 256 << 10;

peerTest("asyncssh2", "connect(): AsyncSSH 2.10 sends data behind its KEXINIT", async () => {
  await using server = await startAsyncSsh2Server({ rekey_bytes: rekey });
  const seen = dataBehindKexInit();
  await using client = await connect({
    hostname: server.hostname,
    port: server.port,
    username: server.username,
    auth: [publicKey(server.userKeys.ed25519.text)],
    verifyHostKey: pinnedHostKey(...server.hostKeys),
    trace: seen.trace,
  });
  const { code, stdout } = await client.exec(`head -c ${size} /dev/zero`);
  assertEquals([code, stdout.length, stdout.every((byte) => byte === 0)], [0, size, true]);
  assert(seen.exchanges > 3, `${seen.exchanges} exchanges`);
  assert(seen.count > 0, "It sent nothing behind its KEXINIT");
});

peerTest("asyncssh2", "serve(): AsyncSSH 2.10 sends data behind its KEXINIT", async () => {
  const { host, user } = await testKeys(), seen = dataBehindKexInit(), errors: unknown[] = [];
  let received = 0;
  await using server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await parsePrivateKey(host.ed25519.text)],
    auth: { publicKey: () => true },
    handler: async (session) => {
      for await (const chunk of session.stdin) received += chunk.length;
      return 3;
    },
    trace: seen.trace,
    onError: (error) => errors.push(error),
  });
  await using client = await asyncSsh2Client();
  const { code } = await client.run({
    port: server.addr.port,
    hostKeys: [host.ed25519],
    username: "alice",
    login: { key: user.ed25519 },
    command: "take",
    input: new Uint8Array(size),
    rekeyBytes: rekey,
  });
  assertEquals([code, received, errors], [3, size, []]);
  assert(seen.exchanges > 3, `${seen.exchanges} exchanges`);
  assert(seen.count > 0, "It sent nothing behind its KEXINIT");
});
