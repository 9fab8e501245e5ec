/** Requests that tests/files/rooted_test.ts does not race, and SCP, while a directory and a link to the outside change places. */
import { assert, assertEquals } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import type { SftpClient } from "../../lib/sftp/client.ts";
import { scpDownload, scpUpload } from "../../lib/scp/scp.ts";
import { serveScp } from "../../lib/scp/server.ts";
import { scpCommand } from "../../lib/scp/command.ts";
import { isMissing, ours, pipes, someone, tempDir } from "../_support/sftp_peers.ts";

/** In a thread of its own: `door` is the directory at one moment and the link at the next. */
const swapper = `
self.onmessage = ({ data: { root, outside } }) => {
  const until = Date.now() + 60000;
  let swaps = 0;
  Deno.symlinkSync(outside, root + "/spare");
  for (let going = true; going && Date.now() < until;) {
    for (let i = 0; i < 50; i++) {
      try {
        Deno.renameSync(root + "/door", root + "/hidden");
        Deno.renameSync(root + "/spare", root + "/door");
        swaps++;
        Deno.renameSync(root + "/door", root + "/spare");
        Deno.renameSync(root + "/hidden", root + "/door");
      } catch {}
    }
    try { Deno.lstatSync(root + "/../stop"); going = false; } catch {}
  }
  self.postMessage(swaps);
};`;

/** Everything below a directory, with what is in it. */
async function stateOf(dir: string): Promise<string> {
  const lines: string[] = [];
  for await (const { name } of Deno.readDir(dir)) {
    const info = await Deno.lstat(`${dir}/${name}`);
    lines.push(`${name} ${info.mode} ${info.size} ${info.mtime?.getTime()} ${info.nlink} ${info.uid}`);
  }
  return lines.sort().join("\n") + await Deno.readTextFile(`${dir}/secret`);
}

Deno.test({
  name: "row 125: no other request and no scp escapes while a directory and a link change places (held)",
  ignore: Deno.build.os !== "linux" || isMissing("/proc/self/status"),
  async fn() {
    await using dir = await tempDir();
    const root = `${dir.path}/root`, outside = `${dir.path}/outside`, local = `${dir.path}/local`;
    for (const path of [root, `${root}/door`, outside, local]) await Deno.mkdir(path);
    await Deno.writeTextFile(`${root}/door/secret`, "harmless");
    await Deno.writeTextFile(`${root}/mine`, "mine");
    await Deno.writeTextFile(`${outside}/secret`, "nobody may read this");
    await Deno.symlink("target-outside", `${outside}/link`);
    await Deno.symlink("target-inside", `${root}/door/link`);
    await Deno.writeTextFile(`${local}/up`, "harmless");
    const before = await stateOf(outside);
    await using peer = await ours({ root });
    const sftp: SftpClient = peer.sftp;
    const worker = new Worker(URL.createObjectURL(new Blob([swapper], { type: "text/javascript" })), {
      type: "module",
    });
    const stopped = new Promise<number>((resolve) => worker.onmessage = ({ data }) => resolve(data));
    worker.postMessage({ root, outside });
    let worked = 0, refused = 0;
    const attempt = async (work: () => Promise<unknown>): Promise<void> => {
      try {
        await work();
        worked++;
      } catch (error) {
        assert(error instanceof SftpError, String(error));
        refused++;
      }
    };
    const copy = async (direction: "to" | "from", path: string, i: number): Promise<void> => {
      const { near, far } = pipes();
      const code = serveScp(far, scpCommand(direction, path), { root }, someone);
      try {
        if (direction === "to") await scpUpload(near, `${local}/up`);
        else {
          await scpDownload(near, path, `${local}/down${i}`);
          assertEquals(await Deno.readTextFile(`${local}/down${i}`), "harmless");
        }
      } finally {
        await code;
      }
    };
    for (let i = 0; i < 150; i++) {
      await Promise.all([
        attempt(() => sftp.truncate("/door/secret", 8)),
        attempt(() => sftp.setStat("/door/secret", { mode: 0o600 }, { followLinks: false })),
        attempt(async () => assertEquals(await sftp.readLink("/door/link"), "target-inside")),
        attempt(() => sftp.symlink("x", `/door/made${i % 5}`)),
        attempt(() => sftp.link("/mine", `/door/linked${i % 5}`)),
        attempt(() => sftp.remove(`/door/made${(i + 2) % 5}`)),
        attempt(() => sftp.remove(`/door/linked${(i + 2) % 5}`)),
        attempt(async () => {
          await sftp.link("/door/secret", `/copy${i}`);
          assertEquals(await Deno.readTextFile(`${root}/copy${i}`), "harmless");
        }),
        attempt(async () => {
          await sftp.writeTextFile(`/over${i}`, "over");
          await sftp.rename(`/over${i}`, "/door/over");
        }),
        attempt(async () => {
          await using file = await sftp.open("/door/whole", { write: true, create: true, truncate: true });
          await file.write(new Uint8Array(5));
        }),
        attempt(async () => {
          await using file = await sftp.open("/door/new", { write: true, createNew: true });
          await file.setStat({ mode: 0o600 });
        }),
        attempt(() => sftp.remove("/door/new")),
        attempt(() => sftp.copyFile("/door/secret", `/copied${i}`)),
        attempt(async () => assert((await sftp.realPath("/door/x")).startsWith("/door"))),
        attempt(() => copy("to", "/door/scp", i)),
        attempt(() => copy("from", "/door/secret", i)),
      ]);
    }
    await Deno.writeTextFile(`${dir.path}/stop`, "");
    const swaps = await stopped;
    worker.terminate();
    assertEquals(await stateOf(outside), before);
    for await (const { name } of Deno.readDir(root)) {
      if (!/^(copy|copied)/.test(name)) continue;
      assert(["harmless", ""].includes(await Deno.readTextFile(`${root}/${name}`)), name);
    }
    assert(swaps > 0 && worked > 0 && refused > 0, `${swaps} swaps, ${worked} worked, ${refused} refused`);
  },
});

Deno.test({
  name: "row 125: statvfs tells nothing of another file system while its path changes places with a link (held)",
  ignore: Deno.build.os !== "linux" || isMissing("/proc/self/status"),
  async fn() {
    await using dir = await tempDir();
    const root = `${dir.path}/root`;
    await Deno.mkdir(`${root}/door`, { recursive: true });
    await using peer = await ours({ root });
    const worker = new Worker(URL.createObjectURL(new Blob([swapper], { type: "text/javascript" })), {
      type: "module",
    });
    const stopped = new Promise<number>((resolve) => worker.onmessage = ({ data }) => resolve(data));
    // No block of it is on a disk, so that its numbers are told from those of the root.
    worker.postMessage({ root, outside: "/proc" });
    let inside = 0, outside = 0;
    for (let i = 0; i < 2000; i++) {
      const space = await peer.sftp.statfs("/door").catch((error) => {
        assert(error instanceof SftpError, String(error));
        return null;
      });
      if (space !== null) space.raw.f_blocks === 0n ? outside++ : inside++;
    }
    await Deno.writeTextFile(`${dir.path}/stop`, "");
    assert(await stopped > 0);
    worker.terminate();
    assertEquals(outside, 0, `${outside} answers of ${outside + inside} tell of /proc`);
  },
});
