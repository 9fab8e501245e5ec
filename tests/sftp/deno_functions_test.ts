/** What `Deno.*` does with the same call, and what a mistaken caller is told. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import {
  isMissing,
  OPENSSH_SERVER,
  ours,
  pattern,
  scripted,
  spawned,
  statusReply,
  tempDir,
} from "../_support/sftp_peers.ts";

const openssh = { ignore: isMissing(OPENSSH_SERVER) };

Deno.test("mkdir() makes parents where the server tells of a missing one by FAILURE only", async () => {
  const made = new Set(["/"]);
  await using peer = await scripted((payload, id) => {
    if (payload[0] === Fxp.MKDIR) {
      const { path } = m.Mkdir.decode(payload);
      const parent = path.slice(0, path.lastIndexOf("/")) || "/";
      const ok = made.has(parent) && !made.has(path);
      if (ok) made.add(path);
      return statusReply(id, ok ? Status.OK : Status.FAILURE);
    }
    if (payload[0] === Fxp.STAT) {
      return made.has(m.Stat.decode(payload).path)
        ? m.Attrs.encode({ id, attrs: { mode: 0o040755 } })
        : statusReply(id, Status.NO_SUCH_FILE);
    }
    return undefined;
  });
  await peer.sftp.mkdir("/a/b/c", { recursive: true });
  assertEquals([...made], ["/", "/a", "/a/b", "/a/b/c"]);
});

Deno.test("writeFile() gives its mode to a file that is there, as Deno.writeFile() does", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/key`, "old");
  await Deno.chmod(`${dir.path}/key`, 0o644);
  await using peer = await ours({ root: dir.path });
  await peer.sftp.writeTextFile("/key", "secret", { mode: 0o600 });
  assertEquals((await Deno.stat(`${dir.path}/key`)).mode! & 0o777, 0o600);
  await peer.sftp.writeTextFile("/new", "", { mode: 0o666 });
  await Deno.writeTextFile(`${dir.path}/local`, "", { mode: 0o666 });
  assertEquals((await Deno.stat(`${dir.path}/new`)).mode, (await Deno.stat(`${dir.path}/local`)).mode);
});

Deno.test("readTextFile() keeps a byte order mark, as Deno.readTextFile() does", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/f`, new Uint8Array([0xef, 0xbb, 0xbf, 0x41]));
  await using peer = await ours({ root: dir.path });
  assertEquals(await peer.sftp.readTextFile("/f"), await Deno.readTextFile(`${dir.path}/f`));
});

Deno.test("truncate() refuses lengths that are none before it asks the server", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "12345");
  await using peer = await ours({ root: dir.path });
  for (const length of [-1, Number.NaN, 2 ** 60]) {
    await assertRejects(() => peer.sftp.truncate("/f", length), RangeError, undefined, String(length));
  }
  assertEquals((await Deno.stat(`${dir.path}/f`)).size, 5);
});

Deno.test("utime() refuses an invalid date", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "12345");
  await Deno.utime(`${dir.path}/f`, 1000, 1000);
  await using peer = await ours({ root: dir.path });
  await peer.sftp.utime("/f", new Date(NaN), new Date("no date")).catch((error) => assert(error instanceof Error));
  assertEquals((await Deno.stat(`${dir.path}/f`)).mtime, new Date(1_000_000));
});

Deno.test("glob() takes a range that is none without a SyntaxError", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/file[z-a]`, "");
  await using peer = await ours({ root: dir.path });
  await Array.fromAsync(peer.sftp.glob("/file[z-a]")).catch((error) => assert(!(error instanceof SyntaxError), error));
});

Deno.test("glob() knows the classes of POSIX", async () => {
  await using dir = await tempDir();
  for (const name of ["a1", "a:", "ax"]) await Deno.writeTextFile(`${dir.path}/${name}`, "");
  await using peer = await ours({ root: dir.path });
  assertEquals(await Array.fromAsync(peer.sftp.glob("/a[[:digit:]]")), ["/a1"]);
});

Deno.test("SftpFile.writable refuses chunks that are no bytes instead of dropping them", async () => {
  await using dir = await tempDir();
  await using peer = await ours({ root: dir.path });
  for (const chunk of [new ArrayBuffer(5), "text", { length: 5 }]) {
    const writer = (await peer.sftp.open("/f", { write: true, create: true })).writable.getWriter();
    writer.closed.catch(() => {});
    await assertRejects(() => writer.write(chunk as unknown as Uint8Array), TypeError, undefined, String(chunk));
  }
});

Deno.test({
  name: "remove() does not follow a link to a directory, with or without recursive (OpenSSH sftp-server)",
  ...openssh,
  async fn() {
    await using dir = await tempDir();
    await Deno.mkdir(`${dir.path}/kept/inner`, { recursive: true });
    await Deno.writeTextFile(`${dir.path}/kept/f`, "x");
    await Deno.mkdir(`${dir.path}/tree`);
    await Deno.symlink("../kept", `${dir.path}/tree/link`);
    await Deno.symlink("kept", `${dir.path}/top`);
    await using peer = await spawned();
    await peer.sftp.remove(`${dir.path}/tree`, { recursive: true });
    await peer.sftp.remove(`${dir.path}/top`, { recursive: true });
    assertEquals(Array.from(Deno.readDirSync(dir.path), (entry) => entry.name), ["kept"]);
    assertEquals(Array.from(Deno.readDirSync(`${dir.path}/kept`)).length, 2);
    // A slash behind it means what it leads to, as for Deno.remove(); what is kept is kept.
    await Deno.symlink("kept", `${dir.path}/top`);
    await peer.sftp.remove(`${dir.path}/top/`, { recursive: true }).catch((error) =>
      assert(error instanceof SftpError)
    );
    assertEquals(Array.from(Deno.readDirSync(`${dir.path}/kept`)).length, 2);
  },
});

Deno.test({
  name: "readDir() of a missing path, of a file, and of a directory that is empty (OpenSSH sftp-server)",
  ...openssh,
  async fn() {
    await using dir = await tempDir();
    await Deno.writeTextFile(`${dir.path}/f`, "x");
    await Deno.mkdir(`${dir.path}/empty`);
    await using peer = await spawned();
    const missing = await assertRejects(() => Array.fromAsync(peer.sftp.readDir(`${dir.path}/none`)), SftpError);
    assertEquals([missing.status, missing.path], [Status.NO_SUCH_FILE, `${dir.path}/none`]);
    await assertRejects(() => Array.fromAsync(peer.sftp.readDir(`${dir.path}/f`)), SftpError);
    assertEquals(await Array.fromAsync(peer.sftp.readDir(`${dir.path}/empty`)), []);
  },
});

Deno.test("SftpFile.readable gives BYOB readers their own buffers filled, and ends them", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/f`, pattern(100_000));
  await Deno.writeFile(`${dir.path}/empty`, new Uint8Array(0));
  await using peer = await ours({ root: dir.path });
  const reader = (await peer.sftp.open("/empty")).readable.getReader({ mode: "byob" });
  const { done, value } = await reader.read(new Uint8Array(10));
  assertEquals([done, value?.length], [true, 0]);
  const whole = (await peer.sftp.open("/f")).readable.getReader({ mode: "byob" });
  const first = await whole.read(new Uint8Array(100_000), { min: 100_000 });
  assertEquals(first.value, pattern(100_000));
  assertEquals((await whole.read(new Uint8Array(1))).done, true);
});

Deno.test("writeFile() with a stream that fails rejects with the stream's error and closes the file", async () => {
  await using dir = await tempDir();
  await using peer = await ours({ root: dir.path });
  const source = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(pattern(10));
      controller.error(new Error("source broke"));
    },
  });
  await assertRejects(() => peer.sftp.writeFile("/f", source), Error, "source broke");
  const locked = new ReadableStream<Uint8Array>();
  locked.getReader();
  await assertRejects(() => peer.sftp.writeFile("/f", locked), TypeError);
  for (let i = 0; i < 1100; i++) await (await peer.sftp.open("/f")).close();
});

Deno.test("SftpFile in append mode writes at the end whatever the position", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "abc");
  await using peer = await ours({ root: dir.path });
  await using file = await peer.sftp.open("/f", { append: true, read: true });
  const p = new Uint8Array(2);
  assertEquals(await file.read(p), 2);
  await file.write(new TextEncoder().encode("DE"));
  assertEquals(await file.seek(0, Deno.SeekMode.Current), 5);
  await file.seek(1, Deno.SeekMode.Start);
  assertEquals(await file.read(p), 2);
  assertEquals(new TextDecoder().decode(p), "bc");
  assertEquals(await Deno.readTextFile(`${dir.path}/f`), "abcDE");
});

Deno.test("rename() and link() that fail name both paths", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  await using peer = await ours({ root: dir.path });
  const renamed = await assertRejects(() => peer.sftp.rename("/f", "/missing/g"), SftpError);
  assertStringIncludes(renamed.message, 'Cannot rename "/f" to "/missing/g": no such file');
  const linked = await assertRejects(() => peer.sftp.link("/none", "/$&"), SftpError);
  assertStringIncludes(linked.message, 'Cannot link "/none" to "/$&": no such file');
  assertEquals([renamed.status, linked.status], [Status.NO_SUCH_FILE, Status.NO_SUCH_FILE]);
});
