/** Pipes, sockets and devices below a root: no request opens them, for opening may do something to them or never come back. */
import { assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { Status } from "../../lib/files/limits.ts";
import { openRootedBackend } from "../../lib/files/rooted/backend.ts";
import { scpDownload, scpUpload } from "../../lib/scp/scp.ts";
import { serveScp } from "../../lib/scp/server.ts";
import { scpCommand } from "../../lib/scp/command.ts";
import { isMissing, namesBelow, ours, pipes, someone, tempDir } from "../_support/sftp_peers.ts";

const PYTHON = "/usr/bin/python3";

/** Holds a pipe open for reading; for each line it reads, it says whether a writer has come and gone since. */
const watcher = `
import os, select, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
poll = select.poll()
poll.register(fd, select.POLLIN)
print("ready", flush=True)
for line in sys.stdin:
    print("opened" if poll.poll(0) else "untouched", flush=True)
`;

async function watch(pipe: string): Promise<AsyncDisposable & { readonly state: () => Promise<string> }> {
  const child = new Deno.Command(PYTHON, {
    args: ["-c", watcher, pipe],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter(), reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const line = async (): Promise<string> => {
    let text = "";
    while (!text.endsWith("\n")) {
      const { done, value } = await reader.read();
      if (done) throw new Error("The watcher has ended");
      text += value;
    }
    return text.trim();
  };
  assertEquals(await line(), "ready");
  return {
    state: async () => {
      await writer.write(new TextEncoder().encode("\n"));
      return await line();
    },
    async [Symbol.asyncDispose]() {
      await writer.close();
      await reader.cancel();
      await child.status;
    },
  };
}

async function made(program: string, ...args: string[]): Promise<boolean> {
  return await new Deno.Command(program, { args, stderr: "null" }).output().then(({ success }) => success, () => false);
}

for (const strategy of [undefined, "named"] as const) {
  const how = strategy ?? "held", options = strategy === undefined ? {} : { strategy };

  Deno.test({
    name: `no request by path opens a pipe (${how})`,
    ignore: Deno.build.os !== "linux" || isMissing(PYTHON),
    async fn() {
      await using dir = await tempDir();
      const root = `${dir.path}/root`;
      await Deno.mkdir(`${root}/d`, { recursive: true });
      await Deno.writeTextFile(`${root}/f`, "f");
      assertEquals(await made("mkfifo", `${root}/d/pipe`), true);
      await Deno.symlink("pipe", `${root}/d/link`);
      await Deno.link(`${root}/d/pipe`, `${root}/pipe`);
      await using backend = await openRootedBackend({ root, ...options });
      await using peer = await ours(backend);
      await using pipe = await watch(`${root}/d/pipe`);
      const { sftp } = peer;
      const copy = async (direction: "to" | "from", path: string): Promise<void> => {
        const { near, far } = pipes(), wanted = { recursive: true, preserve: true };
        const code = serveScp(far, scpCommand(direction, path, wanted), backend, someone);
        const copied = direction === "to"
          ? scpUpload(near, `${root}/f`, wanted)
          : scpDownload(near, path, `${dir.path}/copy`, wanted);
        await assertRejects(() => copied, SftpError, "egular file");
        await code;
      };
      const attempts: Record<string, (path: string) => Promise<unknown>> = {
        truncate: (path) => assertRejects(() => sftp.truncate(path, 0), SftpError, "Not a regular file"),
        "truncate to a length": (path) => assertRejects(() => sftp.truncate(path, 10), SftpError, "Not a regular file"),
        "setStat of all": (path) => assertRejects(() => sftp.setStat(path, { size: 0, mode: 0o600 }), SftpError),
        open: (path) => assertRejects(() => sftp.open(path), SftpError, "Not a regular file"),
        "open to write": (path) => assertRejects(() => sftp.open(path, { write: true }), SftpError),
        "open to do all": (path) =>
          assertRejects(() => sftp.open(path, { read: true, write: true, create: true, truncate: true }), SftpError),
        "open to append": (path) => assertRejects(() => sftp.open(path, { append: true, create: true }), SftpError),
        "open a new one": (path) => assertRejects(() => sftp.open(path, { write: true, createNew: true }), SftpError),
        readDir: (path) => assertRejects(() => Array.fromAsync(sftp.readDir(path)), SftpError),
        copyFile: (path) => assertRejects(() => sftp.copyFile(path, "/c"), SftpError),
        "copyFile onto": (path) => assertRejects(() => sftp.copyFile("/f", path), SftpError),
        "scp from": (path) => copy("from", path),
        "scp to": (path) => copy("to", path),
        stat: (path) => sftp.stat(path),
        lstat: (path) => sftp.lstat(path),
        chmod: (path) => sftp.chmod(path, 0o640),
        utime: (path) => sftp.utime(path, 1, 2),
        "times, not of what it leads to": (path) => sftp.setStat(path, { atime: 3, mtime: 4 }, { followLinks: false }),
        realPath: (path) => sftp.realPath(path),
        readLink: (path) => sftp.readLink(path).catch(() => {}),
        statfs: (path) => sftp.statfs(path),
      };
      for (const [name, attempt] of Object.entries(attempts)) {
        for (const path of ["/pipe", "/d/link"]) {
          await attempt(path);
          assertEquals(await pipe.state(), "untouched", `${name} ${path}`);
        }
      }
      const info = await sftp.lstat("/pipe");
      assertEquals([info.mode! & 0o777, info.mtime!.getTime()], [0o640, 4000]);
      await sftp.link("/pipe", "/e").catch(() => {});
      await Array.fromAsync(sftp.readDir("/"));
      await copyTree();
      await sftp.rename("/pipe", "/g");
      await sftp.remove("/g");
      await sftp.remove("/d/link");
      assertEquals(await pipe.state(), "untouched");

      /** A tree with a pipe in it: what is a file comes, and the rest is told. */
      async function copyTree(): Promise<void> {
        const { near, far } = pipes(), wanted = { recursive: true };
        const code = serveScp(far, scpCommand("from", "/", wanted), backend, someone);
        const error = await assertRejects(() => scpDownload(near, "/", `${dir.path}/tree`, wanted), SftpError);
        assertEquals([await code, error.message.includes("regular file")], [1, true], error.message);
        assertEquals(await Deno.readTextFile(`${dir.path}/tree/f`), "f");
      }
    },
  });

  Deno.test({
    name: `truncate() of a socket, a device and a directory fails and does nothing (${how})`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      await using dir = await tempDir();
      await using backend = await openRootedBackend({ root: dir.path, ...options });
      await using peer = await ours(backend);
      await Deno.mkdir(`${dir.path}/directory`);
      using _listener = Deno.listen({ transport: "unix", path: `${dir.path}/socket` });
      // Only root makes devices, and not everywhere.
      const device = await made("mknod", `${dir.path}/device`, "c", "1", "3");
      for (const name of ["socket", "directory", ...device ? ["device"] : []]) {
        for (const size of [0, 5]) {
          const error = await assertRejects(() => peer.sftp.truncate(`/${name}`, size), SftpError);
          const why = name === "directory" ? "Is a directory" : "Not a regular file";
          assertEquals([error.status, error.message.includes(why)], [Status.FAILURE, true], error.message);
        }
      }
    },
  });

  Deno.test(`truncate() by path cuts and lengthens a file, through a link too (${how})`, async () => {
    await using dir = await tempDir();
    await using backend = await openRootedBackend({ root: dir.path, ...options });
    await using peer = await ours(backend);
    await Deno.writeTextFile(`${dir.path}/f`, "whole");
    await Deno.symlink("f", `${dir.path}/link`);
    await peer.sftp.truncate("/link", 2);
    assertEquals(await Deno.readTextFile(`${dir.path}/f`), "wh");
    await peer.sftp.truncate("/f", 4);
    assertEquals(await Deno.readTextFile(`${dir.path}/f`), "wh\0\0");
    const attempt = (): Promise<void> => peer.sftp.setStat("/link", { size: 0 }, { followLinks: false });
    assertEquals((await assertRejects(attempt, SftpError)).status, Status.OP_UNSUPPORTED);
    await assertRejects(() => peer.sftp.truncate("/none", 0), SftpError, "no such file");
  });
}

Deno.test({
  name: "no copy puts a file in the place of a socket, a pipe or a device that it was given as its target",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using dir = await tempDir();
    await using peer = await ours({ root: dir.path });
    await Deno.writeTextFile(`${dir.path}/f`, "f");
    using _listener = Deno.listen({ transport: "unix", path: `${dir.path}/socket` });
    const more = [];
    if (await made("mkfifo", `${dir.path}/pipe`)) more.push("pipe");
    if (await made("mknod", `${dir.path}/device`, "c", "1", "3")) more.push("device");
    await Deno.symlink("socket", `${dir.path}/link`);
    for (const name of ["socket", "link", ...more]) {
      const before = await Deno.lstat(`${dir.path}/${name}`);
      for (const options of [{}, { preserve: true }, { resume: true }]) {
        const down = (): Promise<unknown> => peer.sftp.download("/f", `${dir.path}/${name}`, options);
        await assertRejects(down, SftpError, "here is no regular file");
        const up = (): Promise<unknown> => peer.sftp.upload(`${dir.path}/f`, `/${name}`, options);
        await assertRejects(up, SftpError, "there is no regular file");
      }
      const { near, far } = pipes();
      const served = serveScp(far, scpCommand("from", "/f"), { root: dir.path }, someone);
      await assertRejects(() => scpDownload(near, "/f", `${dir.path}/${name}`), SftpError, "no regular file");
      await served;
      const { ino, isFile } = await Deno.lstat(`${dir.path}/${name}`);
      assertEquals([ino, isFile], [before.ino, false], name);
    }
    assertEquals((await namesBelow(dir.path)).filter((name) => name.endsWith(".part")), []);
    assertEquals((await peer.sftp.download("/f", "/dev/null", { inPlace: true })).files, 1);
  },
});
