import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { SftpError, SshError } from "../../lib/errors.ts";
import type { SftpClient } from "../../lib/sftp/client.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import {
  bytewise,
  isMissing,
  OPENSSH_SERVER,
  ours,
  pattern,
  scripted,
  sha256,
  spawned,
  statusReply,
  tempDir,
} from "../_support/sftp_peers.ts";
import { fileNode, memoryFiles } from "../_support/refusing_server.ts";

const openssh = { ignore: isMissing(OPENSSH_SERVER) };

/** Peers that every operation is tried with; `base` is where the test's directory is to be found there. */
const peers: {
  name: string;
  ignore: boolean;
  start(root: string): Promise<AsyncDisposable & { sftp: SftpClient }>;
  base(root: string): string;
}[] = [
  { name: "OpenSSH sftp-server", ...openssh, start: () => spawned(), base: (root) => root },
  { name: "our server", ignore: false, start: (root) => ours({ root }), base: () => "" },
  { name: "our server, byte by byte", ignore: false, start: (root) => ours({ root }, bytewise), base: () => "" },
];

for (const { name, ignore, start, base } of peers) {
  Deno.test({
    name: `SftpClient does what Deno's file functions do (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      await using peer = await start(dir.path);
      const { sftp } = peer, at = (path: string): string => `${base(dir.path)}/${path}`;

      await sftp.mkdir(at("a/b/c"), { recursive: true });
      await sftp.mkdir(at("a/b/c"), { recursive: true });
      await sftp.writeTextFile(at("a/f"), "hello");
      assertEquals(await sftp.readTextFile(at("a/f")), "hello");
      await sftp.writeTextFile(at("a/f"), " world", { append: true });
      assertEquals(await sftp.readTextFile(at("a/f")), "hello world");
      await assertRejects(() => sftp.writeTextFile(at("a/f"), "x", { createNew: true }), SftpError);
      await assertRejects(() => sftp.writeTextFile(at("a/none"), "x", { create: false }), SftpError, "no such file");

      await sftp.symlink("f", at("a/l"));
      assertEquals(await sftp.readLink(at("a/l")), "f");
      assertEquals((await sftp.stat(at("a/l"))).isFile, true);
      assertEquals((await sftp.lstat(at("a/l"))).isSymlink, true);
      await sftp.link(at("a/f"), at("a/h"));
      await sftp.rename(at("a/h"), at("a/g"));
      await sftp.copyFile(at("a/f"), at("a/copy"));
      assertEquals(await sftp.readTextFile(at("a/copy")), "hello world");
      await assertRejects(() => sftp.copyFile(at("a/f"), at("a/f")), SftpError, "one file");
      await sftp.rename(at("a/copy"), at("a/g"));

      const names: string[] = [];
      for await (const entry of sftp.readDir(at("a"))) {
        assertEquals(entry.isSymlink, entry.name === "l");
        assertEquals(entry.info.isDirectory, entry.name === "b");
        names.push(entry.name);
      }
      assertEquals(names.sort(), ["b", "f", "g", "l"]);
      assertEquals((await Array.fromAsync(sftp.glob(at("a/{f,g,zz}")))).sort(), [at("a/f"), at("a/g")]);
      assertEquals((await Array.fromAsync(sftp.glob(at("**/[e-f]")))).length, 1);
      assertEquals((await Array.fromAsync(sftp.glob(at("a/**")))).length, 5);

      await sftp.chmod(at("a/f"), 0o640);
      await sftp.utime(at("a/f"), 1000, new Date(2_000_000));
      await sftp.truncate(at("a/f"), 5);
      await sftp.utime(at("a/f"), 1000, new Date(2_000_000));
      const info = await sftp.stat(at("a/f"));
      assertEquals([info.size, info.mode! & 0o7777, info.mtime, info.atime], [5, 0o640, new Date(2e6), new Date(1e6)]);
      await sftp.chown(at("a/f"), info.uid!, info.gid!);
      await sftp.setStat(at("a/l"), { atime: 7, mtime: 8 }, { followLinks: false });
      assertEquals((await sftp.lstat(at("a/l"))).mtime, new Date(8000));
      assertEquals((await sftp.stat(at("a/f"))).mtime, new Date(2e6));

      const space = await sftp.statfs(at("a"));
      assert(space.total > space.available && space.available > 0n && space.raw["f_namemax"]! > 0n);
      assertEquals(await sftp.realPath(at("a/./b/..")), at("a"));
      assert((await sftp.homeDirectory("root").catch(() => "/")).startsWith("/"));
      assert((await sftp.expandPath("~")).startsWith("/"));
      if (sftp.server.extensions.has(Extension.usersGroupsById)) {
        const { users, groups } = await sftp.usersGroups([0, 4_000_000], [0]);
        assertEquals([users.length, groups.length, users[1]], [2, 1, ""]);
      }

      await assertRejects(() => sftp.remove(at("a")), SftpError);
      await sftp.remove(at("a"), { recursive: true });
      const gone = await assertRejects(() => sftp.stat(at("a")), SftpError, "no such file");
      assertEquals([gone.status, gone.path, gone.code], [Status.NO_SUCH_FILE, at("a"), "SFTP_STATUS"]);
      await sftp.mkdir(at("e"));
      await sftp.remove(at("e"));
    },
  });

  Deno.test({
    name: `SftpFile reads, writes and seeks as Deno.FsFile does (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      await using peer = await start(dir.path);
      const { sftp } = peer, path = `${base(dir.path)}/file`;
      const file = await sftp.open(path, { read: true, write: true, create: true, mode: 0o600 });
      assertEquals(await file.write(new TextEncoder().encode("0123456789")), 10);
      assertEquals(await file.seek(2, Deno.SeekMode.Start), 2);
      const p = new Uint8Array(4);
      assertEquals(await file.read(p), 4);
      assertEquals(new TextDecoder().decode(p), "2345");
      assertEquals(await file.seek(-1, Deno.SeekMode.Current), 5);
      assertEquals(await file.seek(-2, Deno.SeekMode.End), 8);
      assertEquals(await file.read(p), 2);
      assertEquals(await file.read(p), null);
      assertEquals(await file.readAt(p, 100), null);
      assertEquals(await file.read(new Uint8Array(0)), 0);
      await assertRejects(() => file.seek(-1, Deno.SeekMode.Start), RangeError);
      await file.writeAt(new TextEncoder().encode("XY"), 12);
      assertEquals((await file.stat()).size, 14);
      await file.truncate(3);
      await file.sync();
      await file.utime(5, 6);
      assertEquals([(await file.stat()).size, (await file.stat()).mtime], [3, new Date(6000)]);
      assert((await file.statfs()).total > 0n);
      await file.close();
      await file.close();
      const closed = await assertRejects(() => file.read(p), SshError, "is closed");
      assertEquals(closed.code, "CLOSED");
      await assertRejects(() => sftp.open(path, { truncate: true }), TypeError);

      const tail = await sftp.open(path, { append: true });
      await tail.write(new TextEncoder().encode("!"));
      await tail.close();
      assertEquals(await sftp.readTextFile(path), "012!");
    },
  });

  Deno.test({
    name: `SftpClient moves contents of all sizes unchanged (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      await using peer = await start(dir.path);
      const { sftp } = peer, sizes = [0, 1, 32_768, 32_769];
      if (!name.includes("byte")) sizes.push(261_120, 261_121, 20_000_003);
      for (const size of sizes) {
        const data = pattern(size, size + 1), path = `${base(dir.path)}/f${size}`;
        await sftp.writeFile(path, data);
        assertEquals(await sha256(`${dir.path}/f${size}`), await sha256(data), `written, ${size}`);
        assertEquals(await sha256(await sftp.readFile(path)), await sha256(data), `read, ${size}`);
        const streamed = await new Response((await sftp.open(path)).readable).bytes();
        assertEquals(await sha256(streamed), await sha256(data), `streamed, ${size}`);
        await using target = await sftp.open(`${path}s`, { write: true, create: true });
        const writer = target.writable.getWriter();
        for (let at = 0; at < size; at += 100_000) await writer.write(data.subarray(at, Math.min(size, at + 100_000)));
        await writer.close();
        assertEquals(await sha256(`${dir.path}/f${size}s`), await sha256(data), `streamed there, ${size}`);
      }
    },
  });

  Deno.test({
    name: `SftpClient keeps names of any bytes (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      await using peer = await start(dir.path);
      const { sftp } = peer;
      const names = ["a b", "quo'te\"s", "new\nline", "-rf", "$(id)", "`x`", "*?[", "grüße 😀", "\\", " ", "~"];
      // Deno cannot spell other names than UTF-8, so our server has none.
      if (name.startsWith("OpenSSH")) names.push("caf\udce9", "\udcff\udcfe", "\udced\udcb2\udc80");
      for (const entry of names) await sftp.writeTextFile(`${base(dir.path)}/${entry}`, entry.toWellFormed());
      const found = await Array.fromAsync(sftp.readDir(base(dir.path) || "/"), (entry) => entry.name);
      assertEquals(found.sort(), [...names].sort());
      for (const entry of names) {
        assertEquals(await sftp.readTextFile(`${base(dir.path)}/${entry}`), entry.toWellFormed());
        await sftp.remove(`${base(dir.path)}/${entry}`);
      }
      assertEquals(await Array.fromAsync(sftp.readDir(base(dir.path) || "/")), []);
    },
  });
}

Deno.test({
  name: "SftpClient moves parts of a sparse file of 5 GB beyond 4 GiB",
  ...openssh,
  async fn() {
    await using dir = await tempDir();
    for (const start of [() => spawned(), () => ours({ root: dir.path })]) {
      await using peer = await start();
      const { sftp } = peer, path = sftp.server.limits["maxOpenHandles"] === 1024 ? "/sparse" : `${dir.path}/sparse`;
      await using file = await sftp.open(path, { read: true, write: true, create: true });
      await file.truncate(5_000_000_000);
      const data = pattern(300_000), offset = 2 ** 32 - 1000;
      await file.writeAt(data, offset);
      assertEquals((await sftp.stat(path)).size, 5_000_000_000);
      const back = new Uint8Array(300_000);
      assertEquals(await file.readAt(back, offset), 300_000);
      assertEquals(back, data);
      assertEquals(await file.readAt(back, 5_000_000_000 - 10), 10);
      assertEquals(await file.readAt(back, 5_000_000_000), null);
      assertEquals(await file.readAt(back.subarray(0, 5), 0), 5);
      assertEquals(Array.from(back.subarray(0, 5)), [0, 0, 0, 0, 0]);
    }
  },
});

Deno.test({
  name: "SftpClient.readFile() reads files whose size is given as 0",
  ignore: isMissing(OPENSSH_SERVER) || isMissing("/proc/self/status"),
  async fn() {
    await using peer = await spawned();
    assertStringIncludes(await peer.sftp.readTextFile("/proc/self/status"), "sftp-server");
    assertEquals((await peer.sftp.readFile("/dev/null")).length, 0);
  },
});

Deno.test("SftpClient.readFile() and open() can be aborted, and the session goes on", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/f`, pattern(3_000_000));
  await using peer = await ours({ root: dir.path });
  const { sftp } = peer;
  await assertRejects(() => sftp.readFile("/f", { signal: AbortSignal.abort(new Error("early")) }), Error, "early");
  for (let i = 0; i < 20; i++) {
    const controller = new AbortController();
    const reading = sftp.readFile("/f", { signal: controller.signal });
    reading.catch(() => {});
    for (let turns = 0; turns < i * 3; turns++) await null;
    controller.abort(new Error("now"));
    await assertRejects(() => reading, Error, "now");
  }
  assertEquals((await sftp.readFile("/f")).length, 3_000_000);
});

Deno.test("SftpFile.readable that is cancelled, and readDir() that is left, give their handles back", async () => {
  const { backend, nodes } = memoryFiles();
  nodes.set("/f", fileNode(pattern(400_000)));
  for (let i = 0; i < 300; i++) nodes.set(`/n${i}`, fileNode(new Uint8Array(0)));
  await using peer = await ours(backend);
  const { sftp } = peer;
  // More of each kind than the 1,024 handles that the server has.
  for (let i = 0; i < 1100; i++) {
    const file = await sftp.open("/f");
    const reader = file.readable.getReader();
    if (i % 2) await reader.read();
    await reader.cancel();
    for await (const _ of sftp.readDir("/")) break;
  }
  await (await sftp.open("/f")).close();
});

Deno.test({
  name: "a lost connection rejects every pending call with its path",
  ...openssh,
  async fn() {
    await using peer = await spawned();
    const { sftp, child } = peer;
    const file = await sftp.open("/etc/hosts");
    child.kill("SIGSTOP");
    const calls = [
      sftp.stat("/one"),
      sftp.readDir("/two")[Symbol.asyncIterator]().next(),
      file.read(new Uint8Array(9)),
    ];
    const settled = Promise.allSettled(calls);
    child.kill("SIGKILL");
    const paths = (await settled).map((result) => {
      assert(result.status === "rejected" && result.reason instanceof SftpError);
      assertEquals(result.reason.status, Status.CONNECTION_LOST);
      return result.reason.path;
    });
    assertEquals(paths, ["/one", "/two", "/etc/hosts"]);
    const late = await assertRejects(() => sftp.stat("/late"), SftpError);
    assertEquals([late.status, late.path], [Status.CONNECTION_LOST, "/late"]);
  },
});

Deno.test("close() rejects what is asked afterwards with status 6, and is safe to call twice", async () => {
  await using dir = await tempDir();
  await using peer = await ours({ root: dir.path });
  await peer.sftp.close();
  await peer.sftp.close();
  const error = await assertRejects(() => peer.sftp.stat("/x"), SftpError, "was closed");
  assertEquals(error.status, Status.NO_CONNECTION);
});

Deno.test("SftpFile.readable is a byte stream, from the position on, and closes the file at its end", async () => {
  await using dir = await tempDir();
  const data = pattern(700_001);
  await Deno.writeFile(`${dir.path}/f`, data);
  await using peer = await ours({ root: dir.path });
  const file = await peer.sftp.open("/f");
  await file.seek(1000, Deno.SeekMode.Start);
  const reader = file.readable.getReader({ mode: "byob" });
  const parts: number[] = [];
  let buffer = new ArrayBuffer(10_000);
  for (;;) {
    const { done, value } = await reader.read(new Uint8Array(buffer));
    if (done) break;
    for (const byte of value) parts.push(byte);
    buffer = value.buffer as ArrayBuffer;
  }
  assertEquals(Uint8Array.from(parts), data.subarray(1000));
  await assertRejects(() => file.stat(), SshError, "is closed");
});

Deno.test("SftpFile.writable gathers small writes and keeps their order", async () => {
  await using dir = await tempDir();
  await using peer = await ours({ root: dir.path });
  const data = pattern(50_000);
  const writer = (await peer.sftp.open("/f", { write: true, create: true })).writable.getWriter();
  const writes: Promise<void>[] = [];
  for (let at = 0; at < data.length; at += 7) writes.push(writer.write(data.slice(at, at + 7)));
  await Promise.all(writes);
  await writer.close();
  assertEquals(await Deno.readFile(`${dir.path}/f`), data);
  const cut = (await peer.sftp.open("/g", { write: true, create: true })).writable.getWriter();
  await cut.write(data);
  await cut.abort(new Error("given up"));
  assert((await peer.sftp.stat("/g")).size <= data.length);
});

Deno.test("a file that is closed tells which write was refused, also where its CLOSE is refused as well", async () => {
  for (const closing of [Status.OK, Status.FAILURE]) {
    await using server = await scripted((payload, id) => {
      if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
      if (payload[0] === Fxp.WRITE) return statusReply(id, 14);
      return statusReply(id, payload[0] === Fxp.CLOSE ? closing : Status.OK);
    });
    const writer = (await server.sftp.open("/f", { write: true })).writable.getWriter();
    await writer.write(new Uint8Array(10));
    await assertRejects(() => writer.close(), SftpError, 'Cannot write "/f": no space is left there');
  }
});

Deno.test("SftpFile.sync() sends fsync@openssh.com with the file's handle, and waits for its answer", async () => {
  const synced: string[] = [];
  let answer = Status.OK as number;
  await using peer = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) {
      return m.Handle.encode({ id, handle: new TextEncoder().encode(m.Open.decode(payload).path) });
    }
    if (payload[0] !== Fxp.EXTENDED) return undefined;
    synced.push(new TextDecoder().decode(m.Fsync.decode(payload).handle));
    return statusReply(id, answer);
  }, [[Extension.fsync, "1"]]);
  const one = await peer.sftp.open("/one", { write: true }), two = await peer.sftp.open("/two", { write: true });
  await two.sync();
  await one.sync();
  assertEquals(synced, ["/two", "/one"]);
  answer = Status.FAILURE;
  await assertRejects(() => one.sync(), SftpError, 'Cannot sync "/one"');
  assertEquals(synced.length, 3);
  await one.close();
  await two.close();
});
