/**
 * Transfers that are cut at random points and resumed, by hash; 20 of them, or 200 with `AMIKO_SOAK=1`, half up and half down, with OpenSSH and
 * with `serve()`. And a lost connection: what waits is rejected with its path.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../mod.ts";
import { seededBytes, seededRandom } from "../_support/duplex.ts";
import { peers, peerTest, startOpenSshd } from "../_support/peers.ts";
import { soaking } from "../_support/resources.ts";
import { assertSameFile, connectTo, cuttingRelay, folders, startOurs, type Target } from "./_files.ts";

/** OpenSSH takes an upload some ten times as long as `serve()` does: of those that run each time, most go there. */
const rounds = {
  up: soaking ? { openssh: 50, ours: 50 } : { openssh: 3, ours: 7 },
  down: soaking ? { openssh: 50, ours: 50 } : { openssh: 5, ours: 5 },
};
// An upload sends up to 16 MiB again, as there may be gaps behind what arrived: it must be longer to go on from anywhere but its start.
const sizes = { up: 20 * 1024 * 1024 + 12_345, down: 6 * 1024 * 1024 + 12_345 };
/** What the login and the first messages take, at most. */
const login = 16_384;

interface Round {
  readonly server: Target;
  /** Where the server keeps its files. */
  readonly folder: string;
  /** That folder as the server names it. */
  readonly prefix: string;
  readonly random: () => number;
  readonly up: boolean;
}

/** Cuts one transfer once to three times, then lets it end. */
async function cutAndResume({ server, folder, prefix, random, up }: Round): Promise<void> {
  const { local } = folders("local");
  const size = up ? sizes.up : sizes.down;
  const source = up ? `${local}/file` : `${folder}/file`, target = up ? `${folder}/file` : `${local}/file`;
  await Deno.writeFile(source, seededBytes(size, 1 + Math.floor(random() * 1e6)));
  await Deno.remove(target).catch(() => {});
  const transfer = async (port: number) => {
    await using client = await connectTo(server, port);
    await using sftp = await client.sftp();
    const options = { resume: true };
    return await (up
      ? sftp.upload(`${local}/file`, `${prefix}/file`, options)
      : sftp.download(`${prefix}/file`, `${local}/file`, options));
  };
  let left = size;
  for (let cuts = 1 + Math.floor(random() * 3); cuts > 0; cuts--) {
    // Anywhere, from the handshake to shortly before the end.
    const after = Math.max(1, Math.floor(random() * (left - login)));
    await using relay = cuttingRelay(server.port, after);
    await assertRejects(() => transfer(relay.port), Error);
    assertEquals(await Deno.stat(target).catch(() => null), null, "a part of the file has its name");
    left = Math.max(left - after, login + 2);
  }
  const { files } = await transfer(server.port);
  assertEquals(files, 1);
  await assertSameFile(target, source);
  // Nothing else is left where it was written.
  const dir = up ? folder : local;
  assertEquals(Array.from(Deno.readDirSync(dir), ({ name }) => name), ["file"]);
  await Deno.remove(source);
  await Deno.remove(target);
}

for (const up of [false, true]) {
  const verb = up ? "upload" : "download", { openssh, ours } = rounds[up ? "up" : "down"];
  peerTest(
    "openssh",
    `sftp.${verb}() resumes what was cut, ${openssh} times, with ${peers.openssh.title}`,
    async () => {
      const { folder } = folders("folder");
      await using server = await startOpenSshd();
      const random = seededRandom(up ? 3 : 4);
      for (let i = 0; i < openssh; i++) await cutAndResume({ server, folder, prefix: folder, random, up });
    },
  );

  Deno.test(`sftp.${verb}() resumes what was cut, ${ours} times, with sftpSubsystem()`, async () => {
    const { folder } = folders("folder");
    await using server = await startOurs(folder);
    const random = seededRandom(up ? 5 : 6);
    for (let i = 0; i < ours; i++) await cutAndResume({ server, folder, prefix: "", random, up });
  });
}

peerTest("openssh", `a resumed transfer goes on where it was, with ${peers.openssh.title}`, async () => {
  const { local, folder } = folders("local", "folder");
  await using server = await startOpenSshd();
  const run = async (port: number, up: boolean) => {
    await using client = await connectTo(server, port);
    await using sftp = await client.sftp();
    return await (up
      ? sftp.upload(`${local}/up`, `${folder}/up`, { resume: true })
      : sftp.download(`${folder}/down`, `${local}/down`, { resume: true }));
  };
  await Deno.writeFile(`${local}/up`, seededBytes(sizes.up));
  await Deno.writeFile(`${folder}/down`, seededBytes(sizes.down));
  for (const up of [false, true]) {
    const size = up ? sizes.up : sizes.down;
    {
      await using relay = cuttingRelay(server.port, size - 500_000);
      await assertRejects(() => run(relay.port, up), Error);
    }
    const { files, bytes } = await run(server.port, up);
    assertEquals(files, 1);
    assert(bytes < (up ? 19 * 1024 * 1024 : 4 * 1024 * 1024), `${bytes} of ${size} bytes again`);
    const name = up ? "up" : "down";
    await assertSameFile(`${folder}/${name}`, `${local}/${name}`);
  }
});

peerTest(
  "openssh",
  `client.sftp() rejects what waits, with its path, when ${peers.openssh.title} is lost`,
  async () => {
    const { folder } = folders("folder");
    await Deno.writeFile(`${folder}/file`, new Uint8Array(2_000_000));
    await using server = await startOpenSshd();
    await using relay = cuttingRelay(server.port, 1_000_000);
    await using client = await connectTo(server, relay.port);
    await using sftp = await client.sftp();
    const paths = Array.from({ length: 8 }, (_, i) => i % 2 ? `${folder}/missing${i}` : `${folder}/file`);
    const results = await Promise.allSettled(paths.map((path) => sftp.readFile(path)));
    for (const [i, result] of results.entries()) {
      if (i % 2) continue;
      assert(result.status === "rejected" && result.reason instanceof SftpError, `${i}`);
      assertEquals(result.reason.path, paths[i]);
    }
    const late = await assertRejects(() => sftp.stat(`${folder}/file`), SftpError);
    assertEquals(late.path, `${folder}/file`);
  },
);
