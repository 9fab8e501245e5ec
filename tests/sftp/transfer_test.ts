/** Uploads and downloads. security.md rows 134 and 135. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { openSftp, type SftpClient } from "../../lib/sftp/client.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import type { SftpChannel } from "../../lib/sftp/wire/channel.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import { fileNode, memoryFiles, refusing } from "../_support/refusing_server.ts";
import { turns } from "../_support/until.ts";
import {
  dice,
  idOf,
  isMissing,
  OPENSSH_SERVER,
  ours,
  pattern,
  pipes,
  RawPeer,
  sha256,
  someone,
  spawned,
  tempDir,
} from "../_support/sftp_peers.ts";

const openssh = isMissing(OPENSSH_SERVER);

/** A tree as lines: type, path, contents or target; with times and modes where wanted. */
async function treeOf(path: string, kept = false): Promise<string[]> {
  const lines: string[] = [];
  const walk = async (at: string, prefix: string): Promise<void> => {
    for await (const entry of Deno.readDir(at)) {
      const full = `${at}/${entry.name}`, name = `${prefix}${entry.name}`, info = await Deno.lstat(full);
      const extra = kept && !entry.isSymlink
        ? ` ${(info.mode! & 0o777).toString(8)} ${Math.floor(info.mtime!.getTime() / 1000)}`
        : "";
      if (entry.isSymlink) lines.push(`l ${name} ${await Deno.readLink(full)}`);
      else if (entry.isDirectory) {
        lines.push(`d ${name}${extra}`);
        await walk(full, `${name}/`);
      } else lines.push(`f ${name} ${await sha256(full)}${extra}`);
    }
  };
  await walk(path, "");
  return lines.sort();
}

async function makeTree(path: string): Promise<void> {
  await Deno.mkdir(`${path}/sub/deep`, { recursive: true });
  await Deno.mkdir(`${path}/empty`);
  const names = ["plain", "with space", "quo'te\"s", "new\nline", "-dash", "grüße 😀", "$(id)"];
  for (const [i, name] of names.entries()) {
    await Deno.writeFile(`${path}/${name}`, pattern([0, 1, 32_769, 4096, 100, 7, 9][i]!, i + 1));
  }
  await Deno.writeFile(`${path}/sub/large`, pattern(3_000_001));
  await Deno.writeFile(`${path}/sub/deep/one`, pattern(261_121));
  await Deno.chmod(`${path}/sub/deep/one`, 0o400);
  await Deno.utime(`${path}/sub/deep/one`, 1000, 2000);
  await Deno.symlink("../plain", `${path}/sub/link`);
  await Deno.symlink("sub", `${path}/dirlink`);
  await Deno.symlink(".", `${path}/sub/loop`);
  await Deno.symlink("nowhere", `${path}/dangling`);
  await Deno.chmod(`${path}/empty`, 0o755);
  await Deno.utime(`${path}/empty`, 3000, 4000);
}

for (
  const { name, ignore, start, inside } of [
    { name: "OpenSSH sftp-server", ignore: openssh, start: (_: string) => spawned(), inside: (root: string) => root },
    { name: "our server", ignore: false, start: (root: string) => ours({ root }), inside: () => "" },
  ]
) {
  Deno.test({
    name: `upload() and download() copy trees with links, loops and strange names (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      await makeTree(`${dir.path}/src`);
      await using peer = await start(dir.path);
      const { sftp } = peer, base = inside(dir.path);
      const expected = await treeOf(`${dir.path}/src`);
      const up = await sftp.upload(`${dir.path}/src`, `${base}/up`, { recursive: true });
      assertEquals(await treeOf(`${dir.path}/up`), expected);
      assertEquals([up.files, up.bytes], [13, 3_000_001 + 261_121 + 1 + 32_769 + 4096 + 100 + 7 + 9]);
      const down = await sftp.download(`${base}/up`, `${dir.path}/down`, { recursive: true });
      assertEquals(await treeOf(`${dir.path}/down`), expected);
      assertEquals(down, up);
      // Once more over what is there, and with times and modes.
      const kept = await treeOf(`${dir.path}/src`, true);
      await sftp.upload(`${dir.path}/src`, `${base}/up`, { recursive: true, preserve: true });
      assertEquals(await treeOf(`${dir.path}/up`, true), kept);
      await sftp.download(`${base}/up`, `${dir.path}/down`, { recursive: true, preserve: true });
      assertEquals(await treeOf(`${dir.path}/down`, true), kept);
      // Nothing to do the second time.
      const again = await sftp.upload(`${dir.path}/src`, `${base}/up`, {
        recursive: true,
        resume: true,
        links: "skip",
      });
      assertEquals([again.files, again.bytes], [0, 0]);
      const back = await sftp.download(`${base}/up`, `${dir.path}/down`, {
        recursive: true,
        resume: true,
        links: "skip",
      });
      assertEquals([back.files, back.bytes], [0, 0]);
    },
  });

  Deno.test({
    name: `upload() and download() take single files, directories to put them in, and globs (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      await using peer = await start(dir.path);
      const { sftp } = peer, base = inside(dir.path);
      for (const [file, size] of [["a.txt", 10], ["b.txt", 0], ["c.bin", 20]] as const) {
        await Deno.writeFile(`${dir.path}/${file}`, pattern(size));
      }
      await Deno.mkdir(`${dir.path}/into`);
      assertEquals(await sftp.upload(`${dir.path}/a.txt`, `${base}/copy`), { files: 1, bytes: 10, warnings: [] });
      assertEquals(await sftp.upload(`${dir.path}/a.txt`, `${base}/into`), { files: 1, bytes: 10, warnings: [] });
      assertEquals(await sftp.upload(`${dir.path}/a.txt`, `${base}/into/`), { files: 1, bytes: 10, warnings: [] });
      assertEquals(await sftp.upload(`${dir.path}/*.txt`, `${base}/globbed`), { files: 2, bytes: 10, warnings: [] });
      assertEquals(await sftp.download(`${base}/a.txt`, `${dir.path}/copy2`), { files: 1, bytes: 10, warnings: [] });
      assertEquals(await sftp.download(`${base}/c.bin`, `${dir.path}/into`), { files: 1, bytes: 20, warnings: [] });
      assertEquals(await sftp.download(`${base}/*.{txt,bin}`, `${dir.path}/globbed2`), {
        files: 3,
        bytes: 30,
        warnings: [],
      });
      assertEquals(await sha256(`${dir.path}/copy`), await sha256(`${dir.path}/copy2`));
      assertEquals(Array.from(Deno.readDirSync(`${dir.path}/into`), (e) => e.name).sort(), ["a.txt", "c.bin"]);
      assertEquals(Array.from(Deno.readDirSync(`${dir.path}/globbed2`), (e) => e.name).sort(), [
        "a.txt",
        "b.txt",
        "c.bin",
      ]);
      await assertRejects(() => sftp.upload(`${dir.path}/into`, `${base}/x`), SftpError, "recursive: true");
      await assertRejects(() => sftp.download(`${base}/into`, `${dir.path}/x`), SftpError, "recursive: true");
      await assertRejects(() => sftp.upload(`${dir.path}/none`, `${base}/x`), SftpError, "no such file");
      await assertRejects(() => sftp.download(`${base}/none`, `${dir.path}/x`), SftpError, "no such file");
      await assertRejects(() => sftp.upload(`${dir.path}/a.txt`, `${base}/none/x`), SftpError, "Cannot create");
      await assertRejects(() => sftp.upload(`${dir.path}/a.txt`, `${base}/x`, { concurrency: 0 }), RangeError);
      // Over a file that is there; no name of a part is left anywhere.
      await sftp.upload(`${dir.path}/c.bin`, `${base}/copy`);
      assertEquals(await sha256(`${dir.path}/copy`), await sha256(`${dir.path}/c.bin`));
      assert(!(await treeOf(dir.path)).some((line) => line.includes(".part")));
    },
  });

  Deno.test({
    name: `links: "follow" copies what links lead to, and ends at loops (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      await using peer = await start(dir.path);
      const { sftp } = peer, base = inside(dir.path);
      await Deno.mkdir(`${dir.path}/t/sub`, { recursive: true });
      await Deno.writeTextFile(`${dir.path}/t/sub/f`, "x");
      await Deno.symlink("sub", `${dir.path}/t/also`);
      await Deno.symlink("sub/f", `${dir.path}/t/file`);
      await sftp.upload(`${dir.path}/t`, `${base}/u`, { recursive: true, links: "follow" });
      await sftp.download(`${base}/t`, `${dir.path}/v`, { recursive: true, links: "follow" });
      assertEquals(await treeOf(`${dir.path}/u`), await treeOf(`${dir.path}/v`));
      assertEquals((await treeOf(`${dir.path}/u`)).filter((line) => line.startsWith("f")).length, 3);
      await Deno.symlink("..", `${dir.path}/t/sub/loop`);
      const options = { recursive: true, links: "follow" } as const;
      await assertRejects(() => sftp.upload(`${dir.path}/t`, `${base}/w`, options), SftpError, "leads back");
      await assertRejects(() => sftp.download(`${base}/t`, `${dir.path}/w2`, options), SftpError, "leads back");
    },
  });
}

Deno.test("upload() and download() tell their progress", async () => {
  await using dir = await tempDir();
  await using peer = await ours({ root: dir.path });
  await Deno.writeFile(`${dir.path}/f`, pattern(2_000_000));
  for (const way of ["upload", "download"] as const) {
    const seen: { path: string; bytes: number; total: number | null }[] = [];
    const onProgress = (progress: { path: string; bytes: number; total: number | null }) => void seen.push(progress);
    if (way === "upload") await peer.sftp.upload(`${dir.path}/f`, "/g", { onProgress });
    else await peer.sftp.download("/f", `${dir.path}/h`, { onProgress });
    assertEquals(seen[0], { path: way === "upload" ? `${dir.path}/f` : "/f", bytes: 0, total: 2_000_000 });
    assertEquals(seen.at(-1)!.bytes, 2_000_000);
    assert(seen.length > 3 && seen.every((one, i) => i === 0 || one.bytes > seen[i - 1]!.bytes));
  }
});

Deno.test("concurrency: 1 keeps one request in flight", async () => {
  await using dir = await tempDir();
  for (let i = 0; i < 5; i++) await Deno.writeFile(`${dir.path}/f${i}`, pattern(1_000_000, i + 1));
  let running = 0, most = 0;
  await using backend = await (await import("../../lib/files/rooted/backend.ts")).openRootedBackend({ root: dir.path });
  const open = backend.open.bind(backend);
  backend.open = async (...args) => {
    const file = await open(...args);
    const count = async <T>(work: () => T): Promise<Awaited<T>> => {
      most = Math.max(most, ++running);
      try {
        return await work();
      } finally {
        running--;
      }
    };
    return {
      readAt: (p: Uint8Array, o: number) => count(() => file.readAt(p, o)),
      writeAt: (p: Uint8Array, o: number) => count(() => file.writeAt(p, o)),
      stat: () => file.stat(),
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    };
  };
  await using peer = await ours(backend);
  await peer.sftp.download("/f*", `${dir.path}/down`, { concurrency: 1 });
  await peer.sftp.upload(`${dir.path}/f0`, "/up", { concurrency: 1 });
  assertEquals(most, 1);
  await peer.sftp.download("/f*", `${dir.path}/down`, {});
  assert(most > 1);
});

/** A session whose link breaks after some bytes in one direction. */
async function breaking(
  root: string,
  bytes: number,
  direction: "up" | "down",
): Promise<AsyncDisposable & { sftp: SftpClient }> {
  const { near, far } = pipes();
  const served = serveSftp(far, { root }, someone);
  served.catch(() => {});
  let left = bytes;
  const fuse = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      left -= chunk.length;
      if (left >= 0) return controller.enqueue(chunk);
      controller.enqueue(chunk.slice(0, chunk.length + left));
      controller.error(new Error("the line was cut"));
    },
  });
  let channel: SftpChannel;
  if (direction === "down") channel = { readable: near.readable.pipeThrough(fuse), writable: near.writable };
  else {
    fuse.readable.pipeTo(near.writable).catch(() => {});
    channel = { readable: near.readable, writable: fuse.writable };
  }
  const sftp = await openSftp(channel);
  return {
    sftp,
    async [Symbol.asyncDispose]() {
      await sftp.close();
      await served.catch(() => {});
    },
  };
}

Deno.test("a transfer cut at random points, then resumed, is identical, and never under its name before", async () => {
  const rounds = Number(Deno.env.get("AMIKO_CUT_ROUNDS") ?? 20), random = dice(4711), size = 5_000_011;
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.writeFile(`${dir.path}/src`, pattern(size));
  await Deno.writeFile(`${dir.path}/there/src`, pattern(size));
  const hash = await sha256(`${dir.path}/src`);
  let resumed = 0;
  for (let round = 0; round < rounds; round++) {
    const up = round % 2 === 0, cut = 2000 + random(size - 4000);
    const target = up ? `${dir.path}/there/copy` : `${dir.path}/copy`;
    {
      await using peer = await breaking(`${dir.path}/there`, cut, up ? "up" : "down");
      const copying = up ? peer.sftp.upload(`${dir.path}/src`, "/copy") : peer.sftp.download("/src", target);
      const error = await assertRejects(() => copying, SftpError);
      assertEquals(error.status, Status.CONNECTION_LOST);
      assert(error.path !== null);
    }
    await assertRejects(() => Deno.lstat(target), Deno.errors.NotFound);
    await using peer = await ours({ root: `${dir.path}/there` });
    const { sftp } = peer, options = { resume: true };
    const summary = up
      ? await sftp.upload(`${dir.path}/src`, "/copy", options)
      : await sftp.download("/src", target, options);
    if (summary.bytes < size) resumed++;
    assertEquals(await sha256(target), hash, `round ${round}, cut after ${cut}`);
    await Deno.remove(target);
    assert(!(await treeOf(dir.path)).some((line) => line.includes(".part")));
  }
  assert(resumed > 0);
});

Deno.test("a large upload goes on where it was, and not from its start", async () => {
  const size = 40_000_000;
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.writeFile(`${dir.path}/src`, pattern(size));
  {
    await using peer = await breaking(`${dir.path}/there`, 35_000_000, "up");
    await assertRejects(() => peer.sftp.upload(`${dir.path}/src`, "/copy"), SftpError);
  }
  await using peer = await ours({ root: `${dir.path}/there` });
  const summary = await peer.sftp.upload(`${dir.path}/src`, "/copy", { resume: true });
  assert(summary.bytes < 25_000_000, `${summary.bytes} sent again`);
  assertEquals(await sha256(`${dir.path}/there/copy`), await sha256(`${dir.path}/src`));
});

Deno.test("a copy that is aborted leaves nothing under its name, and can go on", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.writeFile(`${dir.path}/src`, pattern(20_000_000));
  await Deno.writeFile(`${dir.path}/there/src`, pattern(20_000_000));
  await using peer = await ours({ root: `${dir.path}/there` });
  for (const way of ["upload", "download"] as const) {
    const controller = new AbortController();
    const options = {
      signal: controller.signal,
      onProgress: ({ bytes }: { bytes: number }) => bytes > 5_000_000 && controller.abort(new Error("stop it")),
    };
    const target = way === "upload" ? `${dir.path}/there/copy` : `${dir.path}/copy`;
    const copy = (options: object) =>
      way === "upload"
        ? peer.sftp.upload(`${dir.path}/src`, "/copy", options)
        : peer.sftp.download("/src", target, options);
    await assertRejects(() => copy(options), Error, "stop it");
    await assertRejects(() => Deno.lstat(target), Deno.errors.NotFound);
    assert((await treeOf(dir.path)).some((line) => line.includes(".part")));
    await copy({ resume: true });
    assertEquals(await sha256(target), await sha256(`${dir.path}/src`));
    await assertRejects(() => copy({ signal: AbortSignal.abort(new Error("early")) }), Error, "early");
  }
  assert(!(await treeOf(dir.path)).some((line) => line.includes(".part")));
});

Deno.test("a source that changed is copied anew by resume", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.writeFile(`${dir.path}/src`, pattern(300_000, 1));
  await Deno.utime(`${dir.path}/src`, 1000, 1000);
  await using peer = await ours({ root: `${dir.path}/there` });
  await peer.sftp.upload(`${dir.path}/src`, "/copy");
  await Deno.writeFile(`${dir.path}/src`, pattern(300_000, 2));
  await Deno.utime(`${dir.path}/src`, 9_999_999_999, 4_000_000_000);
  assertEquals(await peer.sftp.upload(`${dir.path}/src`, "/copy", { resume: true }), {
    files: 1,
    bytes: 300_000,
    warnings: [],
  });
  assertEquals(await sha256(`${dir.path}/there/copy`), await sha256(`${dir.path}/src`));
});

Deno.test("inPlace writes to the name itself", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/src`, pattern(300_000));
  await Deno.writeFile(`${dir.path}/copy`, pattern(400_000, 3));
  await Deno.link(`${dir.path}/copy`, `${dir.path}/other`);
  await using peer = await ours({ root: dir.path });
  await peer.sftp.upload(`${dir.path}/src`, "/copy", { inPlace: true });
  assertEquals(await sha256(`${dir.path}/other`), await sha256(`${dir.path}/src`));
  await Deno.writeFile(`${dir.path}/copy`, pattern(400_000, 3));
  await peer.sftp.download("/src", `${dir.path}/copy`, { inPlace: true });
  assertEquals(await sha256(`${dir.path}/other`), await sha256(`${dir.path}/src`));
});

Deno.test("upload() replaces a file where the server has no posix-rename", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/src`, "new");
  await Deno.writeTextFile(`${dir.path}/copy`, "old");
  await using backend = await (await import("../../lib/files/rooted/backend.ts")).openRootedBackend({ root: dir.path });
  const { near, far } = pipes();
  const served = serveSftp(far, backend, someone);
  // The server's list of extensions, with that one's name spoilt.
  const old = new TextEncoder().encode(Extension.posixRename);
  const hide = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      for (let i = 0; i + old.length <= chunk.length; i++) {
        if (old.every((byte, k) => chunk[i + k] === byte)) chunk[i] = 0x78;
      }
      controller.enqueue(chunk);
    },
  });
  const sftp = await openSftp({ readable: near.readable.pipeThrough(hide), writable: near.writable });
  assert(!sftp.server.extensions.has(Extension.posixRename));
  await assertRejects(() => sftp.rename("/src", "/copy"), SftpError, "may exist already");
  await sftp.upload(`${dir.path}/src`, "/copy");
  assertEquals(await Deno.readTextFile(`${dir.path}/copy`), "new");
  await sftp.close();
  await served;
});

/** A server with one directory of the entries given, each file holding "x". */
async function lister(entries: { name: string; mode: number }[], targets: Record<string, string> = {}) {
  const { near, far } = pipes(), peer = new RawPeer(far);
  const running = (async () => {
    await peer.next();
    await peer.send(m.encodeVersion(Fxp.VERSION, 3));
    const listed = new Set<string>();
    let handles = 0;
    for (let payload = await peer.next(); payload !== null; payload = await peer.next()) {
      const id = idOf(payload);
      const status = (code: number) => m.StatusReply.encode({ id, status: code, text: "", language: "" });
      let reply;
      if (payload[0] === Fxp.STAT) {
        const { path } = m.Stat.decode(payload);
        reply = m.Attrs.encode({ id, attrs: path === "/top" ? { mode: 0o040755 } : { mode: 0o100644, size: 1 } });
      } else if (payload[0] === Fxp.REALPATH) {
        reply = m.Name.encode({ id, entries: [{ name: m.Realpath.decode(payload).path, longName: "", attrs: {} }] });
      } else if (payload[0] === Fxp.OPENDIR || payload[0] === Fxp.OPEN) {
        reply = m.Handle.encode({ id, handle: new Uint8Array([++handles]) });
      } else if (payload[0] === Fxp.READDIR) {
        const key = m.Readdir.decode(payload).handle.join();
        const first = !listed.has(key);
        listed.add(key);
        const attrs = entries.map(({ name, mode }) => ({ name, longName: "", attrs: { mode, size: 1 } }));
        reply = first ? m.Name.encode({ id, entries: attrs }) : status(Status.EOF);
      } else if (payload[0] === Fxp.READLINK) {
        const { path } = m.Readlink.decode(payload);
        reply = m.Name.encode({ id, entries: [{ name: targets[path] ?? "x", longName: "", attrs: {} }] });
      } else if (payload[0] === Fxp.READ) {
        const { offset } = m.Read.decode(payload);
        reply = offset === 0n ? m.Data.encode({ id, data: new Uint8Array([0x78]) }) : status(Status.EOF);
      } else reply = status(Status.OK);
      await peer.send(reply).catch(() => {});
    }
    await peer.end();
  })();
  const sftp = await openSftp(near);
  return {
    sftp,
    async [Symbol.asyncDispose]() {
      await sftp.close();
      await running;
    },
  };
}

Deno.test("row 134: entries that are no names are skipped in a recursive download, and told", async () => {
  await using dir = await tempDir();
  const bad = ["../x", "a/b", "..", "", "/abs", "../../y", "nul\0", "good"];
  await using peer = await lister([...bad, "fine", "caf\udce9"].map((name) => ({ name, mode: 0o100644 })));
  const error = await assertRejects(
    () => peer.sftp.download("/top", `${dir.path}/down`, { recursive: true }),
    SftpError,
    "6 failed, 3 files were copied",
  );
  assert(error.cause instanceof AggregateError && error.cause.errors.length === 6);
  assertEquals(await treeOf(dir.path).then((lines) => lines.map((line) => line.slice(0, 15))), [
    "d down",
    "f down/caf%E9 2",
    "f down/fine 2d7",
    "f down/good 2d7",
  ]);
});

Deno.test("row 134: a name that comes twice is refused", async () => {
  await using dir = await tempDir();
  await using peer = await lister([
    { name: "d", mode: 0o120777 },
    { name: "d", mode: 0o100644 },
  ], { "/top/d": dir.path });
  await assertRejects(() => peer.sftp.download("/top", `${dir.path}/down`, { recursive: true }), SftpError, "2 failed");
  assertEquals(await treeOf(dir.path), ["d down"]);
});

Deno.test("row 135: nothing is written outside the target through links, theirs or ours", async () => {
  for (
    const target of ["/etc", "..", "../../x", "sub/../../x", "/"] as const
  ) {
    await using dir = await tempDir();
    await using peer = await lister([{ name: "link", mode: 0o120777 }, { name: "f", mode: 0o100644 }], {
      "/top/link": target,
    });
    const error = await assertRejects(
      () => peer.sftp.download("/top", `${dir.path}/down`, { recursive: true }),
      SftpError,
      "leads out of the tree",
    );
    assertEquals(error.cause instanceof SftpError, true);
    assertEquals((await treeOf(dir.path)).map((line) => line.slice(0, 8)), ["d down", "f down/f"]);
  }
  // Links that are here already: a file takes the place of one, a directory is not entered through one.
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/down`);
  await Deno.mkdir(`${dir.path}/outside`);
  await Deno.writeTextFile(`${dir.path}/outside/f`, "precious");
  await Deno.symlink(`${dir.path}/outside/f`, `${dir.path}/down/f`);
  await using files = await lister([{ name: "f", mode: 0o100644 }]);
  await files.sftp.download("/top", `${dir.path}/down`, { recursive: true });
  assertEquals(await Deno.readTextFile(`${dir.path}/outside/f`), "precious");
  assertEquals(await Deno.readTextFile(`${dir.path}/down/f`), "x");
  await Deno.symlink(`${dir.path}/outside`, `${dir.path}/down/sub`);
  await using directories = await lister([{ name: "sub", mode: 0o040755 }]);
  await assertRejects(
    () => directories.sftp.download("/top", `${dir.path}/down`, { recursive: true }),
    SftpError,
    "something else of that name",
  );
  assertEquals(Array.from(Deno.readDirSync(`${dir.path}/outside`)).length, 1);
});

Deno.test("download() refuses a tree without a bottom", async () => {
  await using dir = await tempDir();
  await using peer = await lister([{ name: "d", mode: 0o040755 }]);
  const error = await assertRejects(() => peer.sftp.download("/top", `${dir.path}/x`, { recursive: true }), SftpError);
  assert(error.message.includes("64 directories deep"), error.message);
});

Deno.test({
  name: "download() spells names that are not UTF-8 with %XX, and remove() takes such trees away",
  ignore: openssh,
  async fn() {
    await using dir = await tempDir();
    await using peer = await spawned();
    const { sftp } = peer, path = `${dir.path}/t`;
    await sftp.mkdir(`${path}/d\udcff`, { recursive: true });
    await sftp.writeTextFile(`${path}/d\udcff/caf\udce9`, "x");
    await sftp.download(path, `${dir.path}/down`, { recursive: true });
    assertEquals(await Deno.readTextFile(`${dir.path}/down/d%FF/caf%E9`), "x");
    await sftp.upload(`${dir.path}/down/d%FF/caf%E9`, `${path}/up\udce9`);
    assertEquals(await sftp.readTextFile(`${path}/up\udce9`), "x");
    await sftp.remove(path, { recursive: true });
    await assertRejects(() => sftp.stat(path), SftpError, "no such file");
  },
});

Deno.test("an error of onProgress ends the copy and not the session", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/f`, pattern(3_000_000));
  await using peer = await ours({ root: dir.path });
  const onProgress = ({ bytes }: { bytes: number }): void => {
    if (bytes > 0) throw new RangeError("in the listener");
  };
  await assertRejects(() => peer.sftp.upload(`${dir.path}/f`, "/g", { onProgress }), RangeError, "in the listener");
  await assertRejects(() => peer.sftp.download("/f", `${dir.path}/h`, { onProgress }), RangeError, "in the listener");
  assertEquals((await peer.sftp.stat("/f")).size, 3_000_000);
  await assertRejects(() => Deno.lstat(`${dir.path}/g`), Deno.errors.NotFound);
  await assertRejects(() => Deno.lstat(`${dir.path}/h`), Deno.errors.NotFound);
});

Deno.test("a copy from a server that answers nothing can be aborted", async () => {
  const { near, far } = pipes(), peer = new RawPeer(far);
  const opening = openSftp(near);
  await peer.next();
  await peer.send(m.encodeVersion(Fxp.VERSION, 3));
  const sftp = await opening;
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  const copies = [
    (signal: AbortSignal) => sftp.upload(`${dir.path}/f`, "/g", { signal }),
    (signal: AbortSignal) => sftp.download("/g", `${dir.path}/h`, { signal }),
    (signal: AbortSignal) => sftp.readFile("/g", { signal }),
    (signal: AbortSignal) => sftp.writeFile("/g", pattern(10), { signal }),
    (signal: AbortSignal) => sftp.copyFrom(sftp, "/g", "/h", { signal }),
  ];
  // The second that each may take for what it leaves there goes side by side.
  await Promise.all(copies.map(async (copy) => {
    const controller = new AbortController(), copying = copy(controller.signal);
    copying.catch(() => {});
    await turns();
    controller.abort(new Error("stop it"));
    await assertRejects(() => copying, Error, "stop it");
  }));
  await Promise.all([peer.end(), sftp.close()]);
});

Deno.test("upload() and download() tell progress that starts low, only grows, and ends with the whole", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await using peer = await ours({ root: `${dir.path}/there` });
  for (const size of [0, 1, 40_000, 3_000_000]) {
    await Deno.writeFile(`${dir.path}/f`, pattern(size));
    for (const way of ["up", "down"]) {
      const told: { path: string; bytes: number; total: number | null }[] = [];
      const onProgress = (progress: { path: string; bytes: number; total: number | null }) => void told.push(progress);
      if (way === "up") await peer.sftp.upload(`${dir.path}/f`, "/f", { onProgress });
      else await peer.sftp.download("/f", `${dir.path}/g`, { onProgress });
      assertEquals(told[0]?.bytes, 0);
      assertEquals(told.at(-1)?.bytes, size, `${way} ${size}`);
      for (const [i, { bytes, total, path }] of told.entries()) {
        assertEquals(path, way === "up" ? `${dir.path}/f` : "/f");
        if (size > 0) assertEquals(total, size);
        if (i > 0) assert(bytes >= told[i - 1]!.bytes);
      }
    }
  }
});

Deno.test("upload() and download() are whole though others of the same file are under way", async () => {
  await using dir = await tempDir();
  const files = memoryFiles(), data = pattern(3_000_000), sizes: unknown[] = [];
  files.nodes.set("/f", fileNode(data));
  await Deno.writeFile(`${dir.path}/from`, data);
  await using peer = await refusing(files, () => null);
  const download = async (): Promise<void> => {
    await peer.sftp.download("/f", `${dir.path}/to`);
    sizes.push((await Deno.stat(`${dir.path}/to`)).size);
  };
  const upload = async (): Promise<void> => {
    await peer.sftp.upload(`${dir.path}/from`, "/to");
    sizes.push((files.nodes.get("/to") as { data: Uint8Array }).data.length);
  };
  for (const copy of [download, upload]) await Promise.all([0, 3, 5].map((late) => turns(late).then(copy)));
  assertEquals(sizes, new Array(6).fill(data.length));
  assertEquals(Array.from(Deno.readDirSync(dir.path), ({ name }) => name).sort(), ["from", "to"]);
  assertEquals([...files.nodes.keys()].sort(), ["/", "/f", "/to"]);
});
