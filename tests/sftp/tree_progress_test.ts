/** `onTreeProgress` of uploads and downloads, by SFTP and SCP. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import type { TreeProgress } from "../../lib/files/tree_progress.ts";
import { scpCommand } from "../../lib/scp/command.ts";
import { scpDownload, scpUpload } from "../../lib/scp/scp.ts";
import { serveScp } from "../../lib/scp/server.ts";
import type { TransferOptions } from "../../lib/sftp/transfer/run.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { fileNode, memoryFiles, refusing } from "../_support/refusing_server.ts";
import { isMissing, OPENSSH_SERVER, ours, pattern, pipes, someone, spawned, tempDir } from "../_support/sftp_peers.ts";

/** Figures fit together, and only grow. */
function assertSound(told: readonly TreeProgress[]): TreeProgress {
  assert(told.length >= 2, `told ${told.length} times`);
  assertEquals([told[0]!.files, told[0]!.bytes], [0, 0]);
  for (const [i, { files, totalFiles, bytes, totalBytes, rate, secondsLeft }] of told.entries()) {
    const before = told[i - 1];
    assert(files >= (before?.files ?? 0) && bytes >= (before?.bytes ?? 0));
    assert(totalFiles === null ? before?.totalFiles !== undefined || i === 0 : files <= totalFiles);
    assert(totalBytes === null || bytes <= totalBytes);
    assert(rate >= 0 && Number.isFinite(rate) && (secondsLeft === null || secondsLeft >= 0));
  }
  return told.at(-1)!;
}

/** A copy, and what it told. */
async function told(copy: (options: TransferOptions) => Promise<unknown>): Promise<TreeProgress[]> {
  const all: TreeProgress[] = [];
  await copy({ recursive: true, onTreeProgress: (progress) => void all.push(progress) });
  return all;
}

async function makeTree(path: string): Promise<{ files: number; bytes: number }> {
  await Deno.mkdir(`${path}/a/b`, { recursive: true });
  await Deno.mkdir(`${path}/empty`);
  let files = 0, bytes = 0;
  for (const [name, size] of [["one", 0], ["a/two", 1], ["a/b/three", 40_000], ["large", 2_000_000]] as const) {
    await Deno.writeFile(`${path}/${name}`, pattern(size));
    files++;
    bytes += size;
  }
  for (let i = 0; i < 150; i++) await Deno.writeFile(`${path}/a/b/f${i}`, pattern(i));
  await Deno.mkdir(`${path}/out`);
  await Deno.writeFile(`${path}/out/f`, pattern(5000));
  return { files: files + 150, bytes: bytes + 149 * 75 };
}

for (
  const { name, ignore, start } of [
    { name: "OpenSSH sftp-server", ignore: isMissing(OPENSSH_SERVER), start: () => spawned() },
    { name: "our server", ignore: false, start: () => ours({ root: "/" }) },
  ]
) {
  Deno.test({
    name: `onTreeProgress ends with all that was copied, and resume counts what it found (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      const { files, bytes } = await makeTree(`${dir.path}/src`);
      await Deno.symlink("one", `${dir.path}/src/link`);
      await using peer = await start();
      const exclude = ["out/"];
      for (const way of ["up", "down"]) {
        const copy = (options: TransferOptions) =>
          way === "up"
            ? peer.sftp.upload(`${dir.path}/src`, `${dir.path}/up`, { ...options, exclude })
            : peer.sftp.download(`${dir.path}/src`, `${dir.path}/down`, { ...options, exclude });
        const last = assertSound(await told(copy));
        assertEquals([last.files, last.totalFiles, last.secondsLeft], [files + 1, files + 1, 0]);
        assertEquals([last.bytes, last.totalBytes], [bytes, bytes]);
        assert(last.rate > 0);
        const again = assertSound(await told((options) => copy({ ...options, resume: true })));
        assertEquals([again.files, again.bytes, again.totalBytes, again.rate], [files + 1, bytes, bytes, 0]);
      }
    },
  });
}

Deno.test("onTreeProgress of one file, of an empty one and of an empty tree tells the beginning and the end", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.mkdir(`${dir.path}/empty/in`, { recursive: true });
  await using peer = await ours({ root: `${dir.path}/there` });
  // With a clock that stands still nothing is told between.
  using _ = new FakeTime();
  for (const size of [0, 3, 300_000]) {
    await Deno.writeFile(`${dir.path}/f`, pattern(size));
    for (const way of ["up", "down"]) {
      const all = await told((options) =>
        way === "up"
          ? peer.sftp.upload(`${dir.path}/f`, "/f", options)
          : peer.sftp.download("/f", `${dir.path}/g`, options)
      );
      assertEquals(all.length, 2);
      const { path, ...last } = all[1]!;
      assertEquals(path, way === "up" ? `${dir.path}/f` : "/f");
      assertEquals(last, { files: 1, totalFiles: 1, bytes: size, totalBytes: size, rate: 0, secondsLeft: 0 });
    }
  }
  const end = { files: 0, totalFiles: 0, bytes: 0, totalBytes: 0, rate: 0, secondsLeft: 0 };
  const up = await told((options) => peer.sftp.upload(`${dir.path}/empty`, "/empty", options));
  assertEquals([up.length, up[1]], [2, { path: `${dir.path}/empty`, ...end }]);
  const down = await told((options) => peer.sftp.download("/empty", `${dir.path}/e`, options));
  assertEquals([down.length, down[1]], [2, { path: "/empty", ...end }]);
  const glob = await told((options) => peer.sftp.upload(`${dir.path}/[fg]`, "/glob", options));
  assertEquals(glob[1], { ...end, path: glob[1]!.path, files: 2, totalFiles: 2, bytes: 600_000, totalBytes: 600_000 });
});

Deno.test("onTreeProgress knows how much there is before all of it is copied", async () => {
  await using dir = await tempDir();
  const files = memoryFiles();
  files.nodes.set("/top", { kind: "directory", mode: 0o755, mtime: 0, atime: 0 });
  files.nodes.set("/top/sub", { kind: "directory", mode: 0o755, mtime: 0, atime: 0 });
  for (let i = 0; i < 20; i++) files.nodes.set(`/top/${i % 2 ? "sub/" : ""}f${i}`, fileNode(pattern(400_000)));
  await using peer = await refusing(files, () => null);
  using time = new FakeTime();
  for (const way of ["down", "up"]) {
    const all = await told((options) => {
      // Each file's progress takes its time, so that each is told.
      const slowly = { ...options, onProgress: () => time.tick(100), concurrency: 1 };
      return way === "down"
        ? peer.sftp.download("/top", `${dir.path}/down`, slowly)
        : peer.sftp.upload(`${dir.path}/down`, "/up", slowly);
    });
    const last = assertSound(all);
    assertEquals([last.files, last.totalFiles, last.bytes, last.totalBytes], [20, 20, 8_000_000, 8_000_000]);
    const early = all.find(({ totalBytes }) => totalBytes !== null)!;
    assertEquals([early.totalFiles, early.totalBytes], [20, 8_000_000]);
    assert(early.bytes < 4_000_000, `known only after ${early.bytes} bytes`);
    assert(all.some(({ secondsLeft, rate }) => secondsLeft !== null && secondsLeft > 0 && rate > 0));
  }
  assertEquals(peer.open(), 0);
});

Deno.test("onTreeProgress tells of what failed as missing, and of nothing behind an abort", async () => {
  await using dir = await tempDir();
  const files = memoryFiles();
  files.nodes.set("/top", { kind: "directory", mode: 0o755, mtime: 0, atime: 0 });
  for (let i = 0; i < 5; i++) files.nodes.set(`/top/f${i}`, fileNode(pattern(100)));
  const { open } = files.backend;
  files.backend.open = (path, ...rest) => {
    if (path === "/top/f3") throw new Deno.errors.PermissionDenied("No");
    return open(path, ...rest);
  };
  await using peer = await refusing(files, () => null);
  let all: TreeProgress[] = [];
  await told(async (options) => {
    await assertRejects(
      () =>
        peer.sftp.download("/top", `${dir.path}/d`, {
          ...options,
          onTreeProgress: (progress) => void all.push(progress),
        }),
      SftpError,
      "1 failed, 4 files were copied",
    );
  });
  const last = assertSound(all);
  assertEquals([last.files, last.bytes, last.secondsLeft], [4, 400, 0]);
  assertEquals([last.totalFiles ?? 5, last.totalBytes ?? 500], [5, 500]);

  all = [];
  const controller = new AbortController();
  await assertRejects(
    () =>
      peer.sftp.download("/top", `${dir.path}/e`, {
        recursive: true,
        signal: controller.signal,
        onProgress: () => controller.abort(new Error("stop it")),
        onTreeProgress: (progress) => void all.push(progress),
      }),
    Error,
    "stop it",
  );
  assertEquals(all.map(({ bytes }) => bytes), [0]);
});

Deno.test("an error of onTreeProgress ends the copy and not the session, when it begins, in the midst and at the end", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/src`);
  for (let i = 0; i < 3; i++) await Deno.writeFile(`${dir.path}/src/f${i}`, pattern(300_000));
  await using peer = await ours({ root: dir.path });
  using time = new FakeTime();
  for (const at of [0, 1, Infinity]) {
    for (const way of ["up", "down"]) {
      let count = 0;
      const options: TransferOptions = {
        recursive: true,
        onProgress: () => time.tick(at === 1 ? 100 : 0),
        onTreeProgress: ({ secondsLeft }) => {
          if (count++ === at || at === Infinity && secondsLeft === 0) throw new RangeError("in the listener");
        },
      };
      await assertRejects(
        () =>
          way === "up"
            ? peer.sftp.upload(`${dir.path}/src`, "/up", options)
            : peer.sftp.download("/src", `${dir.path}/down`, options),
        RangeError,
        "in the listener",
      );
    }
  }
  assertEquals((await peer.sftp.stat("/src/f0")).size, 300_000);
});

Deno.test("a tree that ends nowhere is not counted to its end, and the copy is not held by that", async () => {
  await using dir = await tempDir();
  const files = memoryFiles(), { readDir, stat } = files.backend;
  files.nodes.set("/f", fileNode(pattern(10)));
  let listings = 0;
  // Each directory has others in it; the copy leaves them out at once, and so does the count.
  files.backend.readDir = async function* (path, who) {
    listings++;
    if (path === "/") yield* readDir(path, who);
    const info = await stat("/", true, who);
    for (const name of ["x", "y"]) yield { name, isFile: false, isDirectory: true, isSymlink: false, info };
  };
  files.backend.stat = (path, ...rest) => stat(/[xy]$/.test(path) ? "/" : path, ...rest);
  await using peer = await refusing(files, () => null);
  const all = await told((options) => peer.sftp.download("/", `${dir.path}/d`, { ...options, exclude: ["x", "y"] }));
  assertEquals([all.at(-1)!.files, all.at(-1)!.totalFiles, listings], [1, 1, 2]);
  const controller = new AbortController();
  const endless = peer.sftp.download("/", `${dir.path}/e`, {
    recursive: true,
    signal: controller.signal,
    onTreeProgress: () => {},
    onProgress: () => controller.abort(new Error("stop it")),
  });
  await assertRejects(() => endless, Error, "stop it");
});

Deno.test("a promise of a listener that is rejected ends the copy as an error does, and not the program", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/src`);
  for (let i = 0; i < 3; i++) await Deno.writeFile(`${dir.path}/src/f${i}`, pattern(600_000));
  await using peer = await ours({ root: dir.path });
  const src = `${dir.path}/src`;
  const scp = async (direction: "to" | "from", path: string, act: (near: Near) => Promise<unknown>): Promise<void> => {
    const { near, far } = pipes(), command = scpCommand(direction, path, { recursive: true });
    const served = serveScp(far, command, { root: "/" }, someone).catch(() => {});
    await act(near).finally(() => served);
  };
  type Near = ReturnType<typeof pipes>["near"];
  const copies: Record<string, (options: TransferOptions) => Promise<unknown>> = {
    upload: (options) => peer.sftp.upload(src, "/up", options),
    download: (options) => peer.sftp.download("/src", `${dir.path}/down`, options),
    "scp to": (options) => scp("to", `${dir.path}/up2`, (near) => scpUpload(near, src, options)),
    "scp from": (options) => scp("from", src, (near) => scpDownload(near, "src", `${dir.path}/down2`, options)),
  };
  for (const [name, copy] of Object.entries(copies)) {
    for (const listener of ["onProgress", "onTreeProgress"]) {
      const fails = (): Promise<never> => Promise.reject(new RangeError("in the listener"));
      const options = { recursive: true, [listener]: fails };
      await assertRejects(() => copy(options), RangeError, "in the listener", `${name} ${listener}`);
    }
  }
  assertEquals((await peer.sftp.stat("/src/f0")).size, 600_000);
});

Deno.test("onTreeProgress of SCP ends with all that was copied, both ways, and knows how much is sent", async () => {
  await using dir = await tempDir();
  const { files, bytes } = await makeTree(`${dir.path}/src`);
  await Deno.symlink("one", `${dir.path}/src/link`);
  const scp = async (
    direction: "to" | "from",
    path: string,
    act: (near: ReturnType<typeof pipes>["near"]) => Promise<unknown>,
  ) => {
    const { near, far } = pipes();
    const served = serveScp(far, scpCommand(direction, path, { recursive: true }), { root: "/" }, someone);
    await act(near);
    await served;
  };
  const exclude = ["out/"];
  for (const way of ["up", "down"]) {
    const last = assertSound(
      await told((options) =>
        way === "up"
          ? scp("to", `${dir.path}/up`, (near) => scpUpload(near, `${dir.path}/src`, { ...options, exclude }))
          : scp(
            "from",
            `${dir.path}/src`,
            (near) => scpDownload(near, "src", `${dir.path}/down`, { ...options, exclude }),
          )
      ),
    );
    assertEquals([last.files, last.totalFiles, last.bytes, last.totalBytes], [files + 1, files + 1, bytes, bytes]);
  }
  using time = new FakeTime();
  const slowly = { onProgress: () => time.tick(100) };
  const up = await told((options) =>
    scp("to", `${dir.path}/up2`, (near) => scpUpload(near, `${dir.path}/src`, { ...options, ...slowly, exclude }))
  );
  assertSound(up);
  const early = up.find(({ totalBytes }) => totalBytes !== null)!;
  assertEquals([early.totalFiles, early.totalBytes], [files + 1, bytes]);
  assert(early.files < files + 1);
  const one = await told((options) =>
    scp(
      "from",
      `${dir.path}/src/large`,
      (near) => scpDownload(near, "large", `${dir.path}/l`, { ...options, ...slowly }),
    )
  );
  assertEquals([one[1]!.totalFiles, one[1]!.totalBytes], [1, 2_000_000]);
});
