/**
 * Many connections through one forward, at once and one after the other, half of them cut: of a client through sshd, and of `ssh` through
 * `serve()`. Nothing is left of them. `deno task soak` has 1,000 of each, every other run fewer.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { equals } from "@std/bytes";
import { connect, generateKey, parsePrivateKey, pinnedHostKey, publicKey, serve } from "../../mod.ts";
import { endChild, freePort } from "../_support/child.ts";
import { Prng } from "../_support/fuzz.ts";
import { testKeys } from "../_support/keys.ts";
import { peerTest, startOpenSshd } from "../_support/peers.ts";
import { assertGivenBack, type Holdings, holdings, sized } from "../_support/resources.ts";
import { inTime, PROGRAM_HANGS, until } from "../_support/until.ts";

const COUNT = sized(200, 1_000);
/** One after the other, each of them waits for three processes. */
const IN_TURN = sized(40, 1_000);
const LIMIT = sized(90_000, 120_000);

/** What a target does with a connection, said by its first byte: all comes back, or it hangs up after some, or at once. */
const ECHO = 0, SOME = 1, NONE = 2;

async function answer(conn: Deno.Conn): Promise<void> {
  const part = new Uint8Array(8_192);
  try {
    const first = await conn.read(part);
    if (first === null || part[0] === NONE) return;
    const once = part[0] === SOME;
    for (let n: number | null = first; n !== null; n = once ? null : await conn.read(part)) {
      for (let left = part.subarray(0, n); left.length > 0;) left = left.subarray(await conn.write(left));
    }
    await conn.closeWrite();
  } catch {
    // Its client has cut it.
  } finally {
    conn.close();
  }
}

/** Answers, and counts what is open. */
function target(): { readonly port: number; readonly open: number; readonly accepted: number } & AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 4096 });
  let open = 0, accepted = 0;
  const done = (async () => {
    for await (const conn of listener) {
      open++;
      accepted++;
      void answer(conn).finally(() => open--);
    }
  })();
  return {
    port: listener.addr.port,
    get open() {
      return open;
    },
    get accepted() {
      return accepted;
    },
    async [Symbol.asyncDispose]() {
      listener.close();
      await done;
    },
  };
}

/** One connection; those that are not cut carry their bytes both ways. */
async function one(port: number, prng: Prng): Promise<void> {
  const bytes = prng.bytes(1 + prng.below(12_000)), kind = prng.below(4);
  // A quarter each is cut here, and there.
  bytes[0] = kind === 0 ? prng.pick([SOME, NONE]) : ECHO;
  const cut = kind === 1 ? prng.below(bytes.length) : null;
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  try {
    for (let left = bytes.subarray(0, cut ?? bytes.length); left.length > 0;) {
      left = left.subarray(await conn.write(left));
    }
    // What has come and is not read makes the system reset it.
    if (cut !== null) return;
    await conn.closeWrite();
    const got = new Uint8Array(bytes.length + 1);
    let filled = 0;
    for (let n; (n = await conn.read(got.subarray(filled))) !== null;) filled += n;
    if (kind > 1) assert(equals(got.subarray(0, filled), bytes), `${filled} of ${bytes.length} bytes came back`);
  } catch (error) {
    if (kind > 1 || !(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe)) {
      throw error;
    }
  } finally {
    conn.close();
  }
}

async function atOnce(port: number, prng: Prng, count: number): Promise<void> {
  const seeds = Array.from({ length: count }, () => new Prng(prng.below(1_000_000)));
  await inTime(Promise.all(seeds.map((seed) => one(port, seed))), "the connections", LIMIT);
}

async function inTurn(port: number, prng: Prng, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await inTime(one(port, prng), "a connection");
}

/** Some first, so that what is made once is there; then all of them, twice at once: the second time finds every number free. */
async function load(port: number, open: () => number, seed: number): Promise<void> {
  const prng = new Prng(seed);
  await atOnce(port, prng, COUNT / 10);
  await until(() => open() === 0, "A connection is still open", PROGRAM_HANGS);
  const before: Holdings = await holdings();
  await atOnce(port, prng, COUNT);
  await until(() => open() === 0, "A connection is still open", PROGRAM_HANGS);
  await atOnce(port, prng, COUNT);
  await inTurn(port, prng, IN_TURN);
  await until(() => open() === 0, "A connection is still open", PROGRAM_HANGS);
  await assertGivenBack(before);
}

peerTest(
  "openssh",
  `${COUNT} connections through one forward of a client's, half of them cut, leave nothing`,
  async () => {
    await using there = target();
    await using sshd = await startOpenSshd();
    await using client = await connect({
      hostname: sshd.hostname,
      port: sshd.port,
      username: sshd.username,
      auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(sshd.clientKey.file)))],
      verifyHostKey: pinnedHostKey(...sshd.hostKeys),
    });
    const lead = { hostname: "127.0.0.1", port: there.port };
    for (const kind of ["local", "remote"] as const) {
      const forward = kind === "local"
        ? await client.forwardLocal({ port: 0 }, lead)
        : await client.forwardRemote({ port: 0 }, lead);
      await load((forward.addr as Deno.NetAddr).port, () => forward.connections.size + there.open, 1);
      await forward.close();
    }
    assertEquals((await client.exec("echo alive")).stdout.length, 6);
  },
);

peerTest(
  "openssh",
  `${COUNT} connections through one forward of ssh's by serve(), half of them cut, leave nothing`,
  async () => {
    await using there = target();
    const { user } = await testKeys();
    await using server = serve({
      hostname: "127.0.0.1",
      port: 0,
      hostKeys: [await generateKey()],
      auth: { publicKey: () => true },
      allowForward: () => true,
      // Fewer than there are in all, and twice those that are open at a time: `ssh` may not have closed the ones before.
      maxChannels: 2 * COUNT + 10,
      onListen: () => {},
    });
    const local = freePort(), remote = freePort();
    const settings = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
      .concat(
        [
          "GlobalKnownHostsFile=/dev/null",
          "IdentityAgent=none",
          "IdentitiesOnly=yes",
          `IdentityFile=${user.ed25519.file}`,
        ],
      );
    const child = new Deno.Command("/usr/bin/ssh", {
      args: ["-F", "/dev/null", "-p", String(server.addr.port), "-N", ...settings.flatMap((one) => ["-o", one])].concat(
        ["-L", `127.0.0.1:${local}:127.0.0.1:${there.port}`, "-R", `127.0.0.1:${remote}:127.0.0.1:${there.port}`],
        ["alice@127.0.0.1"],
      ),
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      for (const port of [local, remote]) {
        await until(
          () => Deno.connect({ port }).then((conn) => (conn.close(), true), () => false),
          "ssh does not forward",
          PROGRAM_HANGS,
        );
        await load(port, () => there.open, 2);
      }
    } finally {
      await endChild(child);
    }
  },
);
