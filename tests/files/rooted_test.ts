/** A rooted server against clients that want out. security.md rows 122 to 126. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import type { SftpBackend } from "../../lib/files/backend.ts";
import { openSftp, type SftpClient } from "../../lib/sftp/client.ts";
import { Status } from "../../lib/files/limits.ts";
import { openRootedBackend } from "../../lib/files/rooted/backend.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import { isMissing, ours, pipes, someone, spawned, tempDir } from "../_support/sftp_peers.ts";

const SECRET = "nobody may read this";

/** A root with a secret beside it, and a client of a server on it. */
async function cage(strategy?: "named"): Promise<
  AsyncDisposable & { readonly sftp: SftpClient; readonly root: string; readonly outside: string }
> {
  const dir = await tempDir(), root = `${dir.path}/u1`, outside = `${dir.path}/u10`;
  await Deno.mkdir(`${root}/d/e`, { recursive: true });
  await Deno.mkdir(`${outside}/inner`, { recursive: true });
  await Deno.writeTextFile(`${outside}/secret`, SECRET);
  await Deno.writeTextFile(`${root}/f`, "inside");
  const backend = await openRootedBackend({ root, ...(strategy === undefined ? {} : { strategy }) });
  const peer = await ours(backend);
  return {
    sftp: peer.sftp,
    root,
    outside,
    async [Symbol.asyncDispose]() {
      await peer[Symbol.asyncDispose]();
      await backend[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}

/** Everything outside, to be the same before and after. */
async function outsideState(outside: string): Promise<string> {
  const lines: string[] = [];
  const walk = async (path: string): Promise<void> => {
    for await (const entry of Deno.readDir(path)) {
      const info = await Deno.lstat(`${path}/${entry.name}`);
      lines.push(`${path}/${entry.name} ${info.mode} ${info.size} ${info.mtime?.getTime()} ${info.uid}`);
      if (entry.isDirectory) await walk(`${path}/${entry.name}`);
    }
  };
  await walk(outside);
  return lines.sort().join("\n") + await Deno.readTextFile(`${outside}/secret`);
}

for (const strategy of [undefined, "named"] as const) {
  const how = strategy === undefined ? "held" : "named";

  Deno.test(`row 122: paths stay in the root (${how})`, async () => {
    await using world = await cage(strategy);
    const { sftp } = world;
    for (const path of ["..", "/..", "/../../..", "d/../..", "//", ".", "", "/d/e/../../..", "/f/.."]) {
      assertEquals(
        await Array.fromAsync(sftp.readDir(path), ({ name }) => name).then((n) => n.sort()),
        ["d", "f"],
        path,
      );
      assertEquals(await sftp.realPath(path), "/", path);
    }
    for (
      const path of [
        "/../../etc/passwd",
        "../u10/secret",
        "d/../../u10/secret",
        world.outside + "/secret",
        "/etc/passwd",
      ]
    ) {
      assertEquals((await assertRejects(() => sftp.readFile(path), SftpError)).status, Status.NO_SUCH_FILE, path);
      assertEquals((await assertRejects(() => sftp.lstat(path), SftpError)).status, Status.NO_SUCH_FILE, path);
    }
    for (const path of [".\0x", "f\0", "x".repeat(4097), `/${"y/".repeat(2049)}`]) {
      assertEquals((await assertRejects(() => sftp.stat(path), SftpError)).status, Status.BAD_MESSAGE);
      await assertRejects(() => sftp.writeTextFile(path, "x"), SftpError);
    }
    for (const path of ["caf\udce9", "d/\udcff", "\\..\\", "n".repeat(300)]) {
      await assertRejects(() => sftp.stat(path), SftpError);
    }
    await assertRejects(() => sftp.writeTextFile("caf\udce9", "x"), SftpError, "UTF-8");
    assertEquals(await Array.fromAsync(sftp.readDir("/"), ({ name }) => name).then((n) => n.sort()), ["d", "f"]);
  });

  Deno.test(`row 123: a sibling whose name begins with the root's is outside (${how})`, async () => {
    await using world = await cage(strategy);
    const { sftp } = world;
    for (const path of ["../u10", "../u10/secret", "/../u10/secret", "u10/secret", "0/secret"]) {
      await assertRejects(() => sftp.stat(path), SftpError, "no such file", path);
    }
  });

  Deno.test(`row 124: links that an administrator made lead nowhere outside (${how})`, async () => {
    await using world = await cage(strategy);
    const { sftp, root, outside } = world, before = await outsideState(outside);
    await Deno.symlink(outside, `${root}/abs`);
    await Deno.symlink("../u10", `${root}/rel`);
    await Deno.symlink("../../u10/secret", `${root}/d/file`);
    await Deno.symlink(`${outside}/new`, `${root}/dangling`);
    await Deno.symlink("loop2", `${root}/loop1`);
    await Deno.symlink("loop1", `${root}/loop2`);
    await Deno.symlink(`${root}/f`, `${root}/home`);
    await Deno.symlink("../../../../f", `${root}/d/clamped`);
    for (const path of ["abs/secret", "rel/secret", "d/file", "abs/inner/../secret", "loop1", "dangling/x"]) {
      await assertRejects(() => sftp.readFile(path), SftpError, "no such file", path);
      await assertRejects(() => sftp.stat(path), SftpError, "no such file", path);
      await assertRejects(() => sftp.chmod(path, 0o777), SftpError, undefined, path);
      await assertRejects(() => sftp.truncate(path), SftpError, undefined, path);
      await assertRejects(() => sftp.utime(path, 1, 1), SftpError, undefined, path);
    }
    for (const path of ["abs", "rel"]) {
      await assertRejects(() => Array.fromAsync(sftp.readDir(path)), SftpError, undefined, path);
      await assertRejects(() => sftp.writeTextFile(`${path}/x`, "x"), SftpError, undefined, path);
      await assertRejects(() => sftp.mkdir(`${path}/x`), SftpError, undefined, path);
      await assertRejects(() => sftp.remove(`${path}/secret`), SftpError, undefined, path);
      await assertRejects(() => sftp.rename(`${path}/secret`, "/stolen"), SftpError, undefined, path);
      await assertRejects(() => sftp.rename("/f", `${path}/x`), SftpError, undefined, path);
      await assertRejects(() => sftp.link(`${path}/secret`, "/stolen"), SftpError, undefined, path);
      await assertRejects(() => sftp.link("/f", `${path}/x`), SftpError, undefined, path);
      await assertRejects(() => sftp.symlink("f", `${path}/x`), SftpError, undefined, path);
      await assertRejects(() => sftp.statfs(`${path}/secret`), SftpError, undefined, path);
    }
    // What looks like a way out is a way inside.
    assertEquals(await sftp.readTextFile("/home"), "inside");
    assertEquals(await sftp.readTextFile("/d/clamped"), "inside");
    // A dangling link is walked inside the root: the same path there, whose directories are missing.
    await assertRejects(() => sftp.writeTextFile("/dangling", "x"), SftpError, "no such file");
    await sftp.rename("/abs", "/moved");
    await sftp.remove("/moved");
    await sftp.remove("/rel");
    assertEquals(await outsideState(outside), before);
  });

  Deno.test(`row 124: links that a client makes stay inside, for processes of the host too (${how})`, async () => {
    await using world = await cage(strategy);
    const { sftp, root, outside } = world, before = await outsideState(outside);
    for (const target of ["../../etc", "..", "d/../../x", "/../etc", "../u10/secret"]) {
      const error = await assertRejects(() => sftp.symlink(target, "/bad"), SftpError, undefined, target);
      assertEquals(error.status, Status.PERMISSION_DENIED, target);
    }
    await sftp.symlink("/etc", "/etc2");
    await assertRejects(() => sftp.readFile("/etc2/passwd"), SftpError);
    assertEquals(await Deno.readLink(`${root}/etc2`), `${root}/etc`);
    assertEquals(await sftp.readLink("/etc2"), "/etc");
    await sftp.symlink("/f", "/d/link");
    assertEquals(await sftp.readTextFile("/d/link"), "inside");
    assertEquals(await Deno.readTextFile(`${root}/d/link`), "inside");
    await sftp.symlink("../f", "/d/back");
    assertEquals(await sftp.readTextFile("/d/back"), "inside");
    await sftp.symlink("new", "/d/dangling");
    await sftp.writeTextFile("/d/dangling", "made");
    assertEquals(await Deno.readTextFile(`${root}/d/new`), "made");
    await assertRejects(() => sftp.open("/d/dangling", { write: true, createNew: true }), SftpError);
    for (const path of ["/", ".", "/d/..", ""]) {
      await assertRejects(() => sftp.remove(path), SftpError);
      await assertRejects(() => sftp.rename(path, "/x"), SftpError);
      await assertRejects(() => sftp.rename("/d", path), SftpError);
    }
    assertEquals(await outsideState(outside), before);
  });

  Deno.test(`row 126: no answer tells where the root lies (${how})`, async () => {
    await using world = await cage(strategy);
    const { sftp, root } = world;
    await Deno.symlink(`${root}/d/e`, `${root}/l1`);
    await Deno.symlink(root, `${root}/l2`);
    await Deno.symlink("/etc/passwd", `${root}/l3`);
    const said = [
      await sftp.readLink("/l1"),
      await sftp.readLink("/l2"),
      await sftp.readLink("/l3"),
      await sftp.realPath("/l1"),
      await sftp.realPath("/l2/d"),
      await sftp.homeDirectory(),
      await sftp.expandPath("~/x"),
      await sftp.expandPath("~tester"),
    ];
    assertEquals(said, ["/d/e", "/", "/etc/passwd", "/d/e", "/d", "/", "/x", "/"]);
    const attempts = [
      () => sftp.stat("/none/x"),
      () => sftp.readFile("/d"),
      () => sftp.readLink("/f"),
      () => sftp.mkdir("/d"),
      () => sftp.remove("/d"),
      () => sftp.open("/f/x"),
      () => sftp.rename("/none", "/x"),
      () => sftp.link("/d", "/x"),
      () => sftp.expandPath("~root"),
    ];
    for (const attempt of attempts) {
      const error = await assertRejects(attempt, SftpError);
      assert(!error.message.includes(root), error.message);
    }
  });

  Deno.test(`the rooted backend opens nothing but regular files (${how})`, async () => {
    await using world = await cage(strategy);
    const { sftp, root } = world;
    const made = await new Deno.Command("mkfifo", { args: [`${root}/pipe`] }).output().then(
      (o) => o.success,
      () => false,
    );
    if (made) {
      await assertRejects(() => sftp.open("/pipe"), SftpError);
      await assertRejects(() => sftp.open("/pipe", { write: true }), SftpError);
    }
    await assertRejects(() => sftp.open("/d"), SftpError);
    await assertRejects(() => sftp.open("/d", { write: true, create: true }), SftpError);
    await assertRejects(() => sftp.open("/", { write: true, create: true }), SftpError);
  });
}

/** Swaps a directory and a link to the outside as fast as it can, in a thread of its own. */
const swapper = `
self.onmessage = ({ data: { root, outside } }) => {
  let swaps = 0;
  const until = Date.now() + 240000;
  try { Deno.symlinkSync(outside, root + "/spare"); } catch {}
  for (;;) {
    for (let i = 0; i < 50; i++) {
      try {
        Deno.renameSync(root + "/door", root + "/hidden");
        Deno.renameSync(root + "/spare", root + "/door");
        swaps++;
        Deno.renameSync(root + "/door", root + "/spare");
        Deno.renameSync(root + "/hidden", root + "/door");
      } catch {}
    }
    if (Date.now() > until) break;
    self.postMessage(swaps);
    const stop = root + "/../stop";
    try { Deno.lstatSync(stop); break; } catch {}
  }
  self.postMessage(-1);
};`;

Deno.test({
  name: "row 125: no request escapes while a directory and a link change places (held)",
  ignore: Deno.build.os !== "linux" || isMissing("/proc/self/status"),
  async fn() {
    await using world = await cage();
    const { sftp, root, outside } = world;
    await Deno.mkdir(`${root}/door`);
    await Deno.writeTextFile(`${root}/door/secret`, "harmless");
    const before = await outsideState(outside);
    const worker = new Worker(URL.createObjectURL(new Blob([swapper], { type: "text/javascript" })), {
      type: "module",
    });
    let swaps = 0;
    const stopped = new Promise<void>((resolve) => {
      worker.onmessage = ({ data }) => data === -1 ? resolve() : void (swaps = data);
    });
    worker.postMessage({ root, outside });
    const tries = Number(Deno.env.get("AMIKO_RACE_TRIES") ?? 1000);
    let harmless = 0, refused = 0;
    const attempt = async (work: () => Promise<unknown>): Promise<void> => {
      await work().catch((error) => {
        assert(error instanceof SftpError, String(error));
        refused++;
      });
    };
    for (let i = 0; i < tries; i++) {
      await Promise.all([
        attempt(async () => {
          const text = await sftp.readTextFile("/door/secret");
          assertEquals(text, "harmless");
          harmless++;
        }),
        attempt(async () => {
          for await (const { name } of sftp.readDir("/door")) assert(name !== "inner", "listed the outside");
        }),
        attempt(async () => assertEquals((await sftp.stat("/door/secret")).size, 8)),
        attempt(() => sftp.utime("/door/secret", 5, 5)),
        attempt(() => sftp.chmod("/door/secret", 0o600)),
        attempt(() => sftp.writeTextFile(`/door/new${i % 9}`, "x")),
        attempt(() => sftp.mkdir(`/door/dir${i % 9}`)),
        attempt(() => sftp.rename("/door/secret", "/door/secret2")),
        attempt(() => sftp.rename("/door/secret2", "/door/secret")),
        attempt(() => sftp.remove(`/door/new${(i + 5) % 9}`)),
        attempt(() => sftp.remove(`/door/dir${(i + 5) % 9}`)),
      ]);
    }
    await Deno.writeTextFile(`${root}/../stop`, "");
    await stopped;
    worker.terminate();
    assertEquals(await outsideState(outside), before);
    assert(swaps > 0 && refused > 0 && harmless > 0, `${swaps} swaps, ${refused} refused, ${harmless} read`);
  },
});

Deno.test("row 125: no session of the same server escapes while another changes places (named)", async () => {
  await using world = await cage("named");
  const { root, outside } = world;
  await Deno.mkdir(`${root}/door`);
  await Deno.writeTextFile(`${root}/door/secret`, "harmless");
  await Deno.symlink(outside, `${root}/spare`);
  const before = await outsideState(outside);
  const backend: SftpBackend & AsyncDisposable = await openRootedBackend({ root, strategy: "named" });
  const { near, far } = pipes();
  const served = serveSftp(far, backend, someone);
  const other = await openSftp(near);
  let swapping = true;
  const swaps = (async () => {
    while (swapping) {
      await Promise.allSettled([
        other.rename("/door", "/hidden"),
        other.rename("/spare", "/door"),
        other.rename("/door", "/spare"),
        other.rename("/hidden", "/door"),
      ]);
      // Without this the two ends in memory would leave the event loop no turn.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  })();
  for (let i = 0; i < 300; i++) {
    await Promise.allSettled([
      world.sftp.readTextFile("/door/secret").then((text) => assertEquals(text, "harmless")),
      world.sftp.writeTextFile(`/door/n${i}`, "x"),
      world.sftp.mkdir(`/door/m${i}`),
      Array.fromAsync(world.sftp.readDir("/door"), ({ name }) => assert(name !== "inner")),
    ]).then((results) => {
      for (const result of results) {
        if (result.status === "rejected") assert(result.reason instanceof SftpError, String(result.reason));
      }
    });
  }
  swapping = false;
  await swaps;
  await other.close();
  await served;
  await backend[Symbol.asyncDispose]();
  assertEquals(await outsideState(outside), before);
});

Deno.test("openRootedBackend() needs a directory", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "");
  await assertRejects(() => openRootedBackend({ root: `${dir.path}/f` }), TypeError, "no directory");
  await assertRejects(() => openRootedBackend({ root: `${dir.path}/none` }), Deno.errors.NotFound);
});

Deno.test("the stdio server runs with no more permissions than its root, by names", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "inside");
  const script = new URL("../_support/stdio_server.ts", import.meta.url).pathname;
  const args = [
    "run",
    "--no-check",
    "--quiet",
    `--allow-read=${dir.path}`,
    `--allow-write=${dir.path}`,
    script,
    dir.path,
  ];
  await using peer = await spawned(Deno.execPath(), args);
  assertEquals(await peer.sftp.readTextFile("/f"), "inside");
  await peer.sftp.writeTextFile("/g", "new");
  assertEquals(await Deno.readTextFile(`${dir.path}/g`), "new");
  assertEquals((await peer.sftp.stat("/f")).size, 6);
  assertEquals((await Array.fromAsync(peer.sftp.readDir("/"))).length, 2);
});
