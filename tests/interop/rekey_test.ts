/**
 * Much data each way through `cat` over OpenSSH with a rekey every 1 MB, compared by hash; 64 MiB, or 1 GB with `AMIKO_BIG=1`, in each role
 * with one of the two versions, which renew keys in the same way.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { createHash, type Hash } from "node:crypto";
import { connect, parsePrivateKey, pinnedHostKey, publicKey, serve } from "../../mod.ts";
import { endChild } from "../_support/child.ts";
import { seededBytes } from "../_support/duplex.ts";
import { scratchDir, testKeys } from "../_support/keys.ts";
import { openSsh10, type PeerId, peers, peerTest, startOpenSshd, username } from "../_support/peers.ts";

const big = Deno.env.get("AMIKO_BIG") === "1";
const most = { bytes: 1_000_000_000, text: "1 GB" }, some = { bytes: 64 * 1024 * 1024, text: "64 MiB" };
const limit = 1_000_000;
/** Rekeys that must have been seen: fewer than one for each 1 MB, since a side may finish what it has begun. */
const least = (total: number) => Math.floor(total / limit / 2);
const block = seededBytes(1_000_003);

/** Bytes that never repeat in step with packets or buffers, hashed as they go. */
function source(hash: Hash, total: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  let sent = 0;
  return new ReadableStream({
    pull(controller) {
      const at = sent % block.length;
      const piece = block.slice(at, Math.min(at + 65_536, block.length, at + total - sent));
      hash.update(piece);
      sent += piece.length;
      controller.enqueue(piece);
      if (sent === total) controller.close();
    },
  }, { highWaterMark: 0 });
}

async function drain(readable: ReadableStream<Uint8Array>, hash: Hash): Promise<number> {
  let bytes = 0;
  for await (const piece of readable) {
    hash.update(piece);
    bytes += piece.length;
  }
  return bytes;
}

const countOf = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].length;

const versions: readonly [PeerId, "9.2" | "10"][] = [["openssh", "9.2"], ["openssh10", "10"]];

for (const [id, version] of versions) {
  const down = big && version === "9.2" ? most : some, up = big && version === "10" ? most : some;

  peerTest(id, `connect() moves ${down.text} each way over ${peers[id].title} with a rekey every 1 MB`, async () => {
    await using server = await startOpenSshd({ version, config: ["LogLevel=DEBUG1"] });
    await using client = await connect({
      hostname: server.hostname,
      port: server.port,
      username: server.username,
      auth: [publicKey(server.clientKey.text)],
      verifyHostKey: pinnedHostKey(...server.hostKeys),
      rekey: { bytes: limit },
    });
    const sent = createHash("sha256"), received = createHash("sha256");
    const process = await client.spawn("cat");
    const [, bytes] = await Promise.all([
      source(sent, down.bytes).pipeTo(process.stdin),
      drain(process.stdout, received),
      drain(process.stderr, createHash("sha256")),
    ]);
    assertEquals(bytes, down.bytes);
    assertEquals(received.digest("hex"), sent.digest("hex"));
    assertEquals((await process.status).code, 0);
    const rekeys = countOf(server.log(), /SSH2_MSG_NEWKEYS received/g) - 1;
    assert(rekeys >= least(down.bytes), `${rekeys} rekeys`);
  });

  peerTest(id, `serve() moves ${up.text} each way over ${peers[id].title} with a rekey every 1 MB`, async () => {
    const { host, user } = await testKeys();
    await using server = serve({
      hostname: "127.0.0.1",
      port: 0,
      hostKeys: [await parsePrivateKey(host.ed25519.text)],
      auth: { publicKey: (_info, key) => key.blob.toBase64() === user.ed25519.line.split(" ")[1] },
      handler: (session) => session.stdin.pipeTo(session.stdout),
      rekey: { bytes: limit },
    });
    const dir = scratchDir();
    await Deno.writeTextFile(`${dir}/known_hosts`, `[127.0.0.1]:${server.addr.port} ${host.ed25519.line}\n`);
    const config = [
      `UserKnownHostsFile=${dir}/known_hosts`,
      "StrictHostKeyChecking=yes",
      "IdentityAgent=none",
      "IdentitiesOnly=yes",
      "BatchMode=yes",
      "LogLevel=DEBUG1",
      `IdentityFile=${user.ed25519.file}`,
      `RekeyLimit=${limit}`,
    ];
    const child = new Deno.Command(id === "openssh10" ? `${openSsh10()}/bin/ssh` : "/usr/bin/ssh", {
      args: [
        ...["-F", "/dev/null", "-T", "-p", String(server.addr.port), "-E", `${dir}/log`],
        ...config.flatMap((line) => ["-o", line]),
        `${username}@127.0.0.1`,
        "cat",
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    try {
      const sent = createHash("sha256"), received = createHash("sha256");
      const [, bytes] = await Promise.all([source(sent, up.bytes).pipeTo(child.stdin), drain(child.stdout, received)]);
      assertEquals(bytes, up.bytes);
      assertEquals(received.digest("hex"), sent.digest("hex"));
      assertEquals((await child.status).code, 0);
      const rekeys = countOf(await Deno.readTextFile(`${dir}/log`), /SSH2_MSG_NEWKEYS received/g) - 1;
      assert(rekeys >= least(up.bytes), `${rekeys} rekeys`);
    } finally {
      await endChild(child);
    }
  });
}
