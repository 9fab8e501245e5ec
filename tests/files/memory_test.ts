/** Files in memory: as a program sees them, as a client does, and what they do not grow beyond. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { Status } from "../../lib/files/limits.ts";
import { type MemoryFiles, memoryFiles } from "../../lib/files/memory/files.ts";
import { Extension, Fxp, OpenFlag } from "../../lib/sftp/wire/constants.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { begin, ours, pattern, statusIn } from "../_support/sftp_peers.ts";

const text = new TextEncoder();

/** The status and the message that a call is refused with. */
async function refusal(act: () => unknown): Promise<string> {
  const error = await assertRejects(async () => await act(), SftpError);
  const [name] = Object.entries(Status).find(([, status]) => status === error.status)!;
  return `${name}: ${error.message}`;
}

/** Names and contents. */
function contents(files: MemoryFiles): Record<string, string> {
  return Object.fromEntries(files.list().filter((path) => !path.endsWith("/")).map((path) => [path, files.text(path)]));
}

Deno.test("memoryFiles() holds what it is given, and tells and changes it without a server", () => {
  const bytes = pattern(10),
    files = memoryFiles({
      "/etc/motd": "hello",
      "srv/größe ✓": "größe",
      "/srv//./data/../bytes": bytes,
      "/empty/dir": null,
      "/": null,
    });
  bytes.fill(0);
  assertEquals(files.list(), [
    "/empty/",
    "/empty/dir/",
    "/etc/",
    "/etc/motd",
    "/srv/",
    "/srv/bytes",
    "/srv/data/",
    "/srv/größe ✓",
  ]);
  assertEquals(files.list("/etc"), ["/etc/motd"]);
  assertEquals(files.read("/srv/bytes"), pattern(10));
  assertEquals([files.text("/etc/motd"), files.text("srv/größe ✓")], ["hello", "größe"]);
  files.write("/etc/motd", "hi");
  files.write("/new/deep/file", new Uint8Array([104, 105]));
  assertEquals([files.text("/etc/motd"), files.text("/new/deep/file")], ["hi", "hi"]);
  // What it gives is nobody else's.
  files.read("/etc/motd").fill(0);
  assertEquals(files.text("/etc/motd"), "hi");
  files.symlink("../etc", "/srv/link");
  assertEquals(files.text("/srv/link/motd"), "hi");
  files.write("/srv/link/other", "x");
  assertEquals(files.list("/srv/link/"), ["/etc/motd", "/etc/other"]);
});

Deno.test("memoryFiles() names the path in what it says to the program", async () => {
  const files = memoryFiles({ "/f": "x", "/d": null });
  files.symlink("loop", "/loop");
  assertEquals(await refusal(() => files.read("/none")), 'NO_SUCH_FILE: Cannot read "/none": No such file');
  assertEquals(await refusal(() => files.text("/d")), 'FAILURE: Cannot read "/d": Is a directory');
  assertEquals(await refusal(() => files.write("/d", "")), 'FAILURE: Cannot write "/d": Is a directory');
  assertEquals(await refusal(() => files.write("/", "")), 'FAILURE: Cannot write "/": Is a directory');
  assertEquals(await refusal(() => files.write("/d/", "")), 'FAILURE: Cannot write "/d/": Is a directory');
  assertEquals(await refusal(() => files.write("/f/x", "")), 'NO_SUCH_FILE: Cannot write "/f/x": Not a directory');
  assertEquals(await refusal(() => files.list("/f")), 'NO_SUCH_FILE: Cannot list "/f": Not a directory');
  assertEquals(
    await refusal(() => files.read("/loop")),
    'NO_SUCH_FILE: Cannot read "/loop": Too many levels of symbolic links',
  );
  assertEquals(await refusal(() => files.read("/a\0b")), 'BAD_MESSAGE: Cannot read "/a\ufffdb": Invalid argument');
  assertEquals(
    await refusal(() => memoryFiles({ "/a": "x", "/a/b": "y" })),
    'NO_SUCH_FILE: Cannot write "/a/b": Not a directory',
  );
  assertEquals(files.list(), ["/d/", "/f", "/loop"]);
});

Deno.test("memoryFiles() refuses what makes no sense, in words", () => {
  const bad = <T>(value: unknown): T => value as T;
  const cases: [() => unknown, typeof TypeError | typeof RangeError, string][] = [
    [() => memoryFiles(bad(null)), TypeError, "`initial`"],
    [() => memoryFiles(bad(new Map([["/a", "b"]]))), TypeError, "`initial`"],
    [() => memoryFiles(bad({ "/a": 7 })), TypeError, '`initial["/a"]`'],
    [() => memoryFiles(bad({ "/a": undefined })), TypeError, "or null for a directory"],
    [() => memoryFiles(bad({ maxBytes: 7 })), TypeError, 'initial["maxBytes"]'],
    [() => memoryFiles({}, bad(7)), TypeError, "`options`"],
    [() => memoryFiles({}, bad({ maxbytes: 7 })), TypeError, "`maxBytes`"],
    [() => memoryFiles({}, { maxBytes: 0 }), RangeError, "`maxBytes`"],
    [() => memoryFiles({}, { maxBytes: Infinity }), RangeError, "memory is not endless"],
    [() => memoryFiles({}, { maxBytes: 2 ** 53 }), RangeError, "`maxBytes`"],
    [() => memoryFiles({}, { maxFiles: 1.5 }), RangeError, "`maxFiles`"],
    [() => memoryFiles({}, { maxFiles: bad("7") }), RangeError, "`maxFiles`"],
    [() => memoryFiles().write("/a", bad(7)), TypeError, "`data`"],
    [() => memoryFiles().write("/a", bad(new ArrayBuffer(3))), TypeError, "`data`"],
    [() => memoryFiles().write(bad(new URL("file:///a")), "b"), TypeError, "`path`"],
    [() => memoryFiles().read(bad(undefined)), TypeError, "`path`"],
  ];
  for (const [act, kind, words] of cases) assertThrows(act, kind as typeof Error, words);
  memoryFiles({}, { maxBytes: undefined, maxFiles: undefined });
  memoryFiles({}, { maxBytes: 1, maxFiles: 1 });
});

Deno.test("memoryFiles() is a file system for clients: files, directories, links, times, space", async () => {
  const files = memoryFiles({ "/etc/motd": "hello" });
  await using peer = await ours(files);
  const { sftp } = peer, large = pattern(700_000);
  await sftp.writeFile("/large", large);
  assertEquals(files.read("/large"), large);
  assertEquals(await sftp.readFile("large"), large);
  await sftp.writeTextFile("/large", "end", { append: true });
  assertEquals((await sftp.stat("/large")).size, 700_003);
  await assertRejects(() => sftp.open("/large", { write: true, createNew: true }), SftpError, "File exists");
  await sftp.truncate("/large", 5);
  assertEquals(files.read("/large"), large.subarray(0, 5));
  // What was cut off does not come back.
  await sftp.truncate("/large", 9);
  assertEquals(files.read("/large"), Uint8Array.from([...large.subarray(0, 5), 0, 0, 0, 0]));
  await sftp.mkdir("/a/b/c", { recursive: true });
  await sftp.symlink("../../etc/motd", "/a/b/link");
  await sftp.link("/etc/motd", "/a/hard");
  assertEquals(await sftp.readTextFile("/a/b/link"), "hello");
  assertEquals([await sftp.readLink("/a/b/link"), (await sftp.lstat("/a/b/link")).size], ["../../etc/motd", 14]);
  assertEquals(await sftp.realPath("/a/b/../b/link"), "/etc/motd");
  files.write("/etc/motd", "both names");
  assertEquals(files.text("/a/hard"), "both names");
  await sftp.setStat("/a/hard", { mode: 0o640, atime: 5, mtime: 6, uid: 7, gid: 8 });
  const { mode, atime, mtime, uid, gid } = await sftp.stat("/etc/motd");
  assertEquals([mode! & 0o777, atime!.getTime(), mtime!.getTime(), uid, gid], [0o640, 5000, 6000, 7, 8]);
  const entries = await Array.fromAsync(
    sftp.readDir("/a"),
    ({ name, isFile, isDirectory }) => [name, isFile, isDirectory],
  );
  assertEquals(entries, [["b", false, true], ["hard", true, false]]);
  await sftp.rename("/a/b", "/moved");
  assertEquals(files.list("/moved"), ["/moved/c/", "/moved/link"]);
  await sftp.copyFile("/large", "/copied");
  assertEquals(files.read("/copied"), files.read("/large"));
  const before = await sftp.statfs("/");
  await sftp.remove("/large");
  const after = await sftp.statfs("/");
  assertEquals([after.total, after.available - before.available], [268_435_456n, 9n]);
  await sftp.remove("/moved", { recursive: true });
  assertEquals(files.list(), ["/a/", "/a/hard", "/copied", "/etc/", "/etc/motd"]);
});

Deno.test("memoryFiles() keeps open files what they are while they are renamed, replaced and removed", async () => {
  const files = memoryFiles({ "/a": "one", "/b": "two" }, { maxBytes: 20, maxFiles: 4 });
  await using peer = await ours(files);
  const { sftp } = peer;
  {
    await using file = await sftp.open("/a", { read: true, write: true });
    await sftp.rename("/a", "/c");
    await file.writeAt(text.encode("X"), 0);
    assertEquals(contents(files), { "/b": "two", "/c": "Xne" });
    await sftp.rename("/b", "/c");
    assertEquals(contents(files), { "/c": "two" });
    const p = new Uint8Array(8);
    assertEquals(await file.readAt(p, 0), 3);
    assertEquals(p.subarray(0, 3), text.encode("Xne"));
    // It still has its room: of 20 bytes, 6 are taken, and of 4 files 2.
    assertEquals((await sftp.statfs("/")).available, 14n);
    assertEquals(files.statfs().f_ffree, 2n);
    await file.writeAt(new Uint8Array(16), 1);
    await assertRejects(() => file.writeAt(new Uint8Array(1), 17), SftpError, "No space left on device");
    await file.truncate(0);
    files.write("/d", "x".repeat(17));
    await assertRejects(() => file.writeAt(new Uint8Array(1), 0), SftpError, "No space left on device");
  }
  assertEquals([files.statfs().f_bfree, files.statfs().f_ffree], [0n, 2n]);
});

Deno.test("memoryFiles() grows beyond neither its bytes nor its files, and gives back what is removed", async () => {
  const files = memoryFiles({ "/f": "12345" }, { maxBytes: 10, maxFiles: 3 });
  await using peer = await ours(files);
  const { sftp } = peer, full = "FAILURE: No space left on device";
  {
    await using file = await sftp.open("/f", { read: true, write: true });
    // Holes count, and nothing is allocated for what is refused.
    for (const offset of [10, 2 ** 40, Number.MAX_SAFE_INTEGER - 1]) {
      await assertRejects(() => file.writeAt(new Uint8Array(1), offset), SftpError, "No space left on device");
    }
    await assertRejects(() => file.truncate(11), SftpError, "No space left on device");
    await assertRejects(() => file.truncate(2 ** 52), SftpError, "No space left on device");
    await file.writeAt(text.encode("X"), 9);
    assertEquals(files.text("/f"), "12345\0\0\0\0X");
    await file.truncate(5);
  }
  assertEquals(await refusal(() => files.write("/f", "x".repeat(11))), `${full.replace(" ", ' Cannot write "/f": ')}`);
  assertEquals(files.text("/f"), "12345");
  assertEquals(await refusal(() => files.symlink("123456", "/l")), full);
  files.symlink("12345", "/l");
  files.link("/f", "/g");
  for (
    const act of [
      () => files.mkdir("/d"),
      () => files.link("/f", "/h"),
      () => files.symlink("x", "/h"),
      () => files.open("/h", { write: true, create: true }),
    ]
  ) assertEquals(await refusal(act), full);
  // A file that has another name is still there.
  files.remove("/f");
  assertEquals([files.statfs().f_bfree, files.statfs().f_ffree], [0n, 1n]);
  files.rename("/g", "/l", { replace: true });
  assertEquals([files.statfs().f_bfree, files.statfs().f_ffree], [5n, 2n]);
  files.remove("/l");
  for (let i = 0; i < 3; i++) files.mkdir(`/${i}`);
  for (let i = 0; i < 3; i++) files.rmdir(`/${i}`);
  assertEquals([files.statfs().f_bfree, files.statfs().f_ffree], [10n, 3n]);
  assertEquals(
    await refusal(() => memoryFiles({ "/a": "xx" }, { maxBytes: 1 })),
    'FAILURE: Cannot write "/a": No space left on device',
  );
});

Deno.test("memoryFiles() allocates nothing for holes, and reads them as zeros", async () => {
  const files = memoryFiles({}, { maxBytes: 2 ** 50 });
  const file = files.open("/f", { read: true, write: true, create: true });
  await file.writeAt(text.encode("end"), 2 ** 49);
  await file.writeAt(text.encode("one page"), 65_530);
  const p = new Uint8Array(200_000).fill(7);
  assertEquals(await file.readAt(p, 2 ** 49 - 3), 6);
  assertEquals(p.subarray(0, 7), Uint8Array.from([0, 0, 0, ...text.encode("end"), 7]));
  assertEquals(await file.readAt(p, 65_520), 200_000);
  assertEquals(p.subarray(0, 20), Uint8Array.from([...new Array(10).fill(0), ...text.encode("one page"), 0, 0]));
  assert(p.subarray(20).every((byte) => byte === 0));
  assertEquals(await file.readAt(p, 2 ** 49 + 3), 0);
  await file[Symbol.asyncDispose]();
});

Deno.test("memoryFiles() reads and writes what an array of bytes does, over any order of writes and cuts", () => {
  const files = memoryFiles(), file = files.open("/f", { read: true, write: true, create: true });
  let seed = 1;
  const roll = (limit: number): number => (seed = (seed * 48_271) % 2_147_483_647) % limit;
  let wanted = new Uint8Array();
  const sized = (size: number): Uint8Array<ArrayBuffer> => {
    const other = new Uint8Array(size);
    other.set(wanted.subarray(0, size));
    return other;
  };
  for (let i = 0; i < 100; i++) {
    const offset = roll(300_000), data = pattern(roll(4) === 0 ? roll(200_000) : roll(100), i + 1);
    if (roll(4) === 0) {
      file.setStat!({ size: offset });
      wanted = sized(offset);
    } else {
      file.writeAt(data, offset);
      if (data.length > 0) wanted = sized(Math.max(wanted.length, offset + data.length));
      wanted.set(data, data.length > 0 ? offset : 0);
    }
    assertEquals(files.stat("/f").size, wanted.length);
    const p = new Uint8Array(100_000), at = roll(300_000), count = file.readAt(p, at) as number;
    assertEquals(count, Math.max(0, Math.min(p.length, wanted.length - at)));
    assert(p.subarray(0, count).every((byte, j) => byte === wanted[at + j]));
  }
  assertEquals(files.read("/f"), wanted);
});

Deno.test("memoryFiles() keeps to permission bits as for a user who owns everything and is not root", async () => {
  const files = memoryFiles({ "/secret": "x", "/shut/f": "x", "/blind/f": "x", "/fixed/f": "x" });
  await using peer = await ours(files);
  const { sftp } = peer, no = "PERMISSION_DENIED";
  const denied = async (act: () => Promise<unknown>): Promise<void> => {
    const error = await assertRejects(act, SftpError);
    assertEquals(error.status, Status.PERMISSION_DENIED, `${no} was expected: ${error.message}`);
  };
  await sftp.setStat("/secret", { mode: 0o200 });
  await denied(() => sftp.readFile("/secret"));
  await sftp.setStat("/secret", { mode: 0o400 });
  await denied(() => sftp.open("/secret", { write: true }));
  await denied(() => sftp.truncate("/secret", 0));
  assertEquals(await sftp.readTextFile("/secret"), "x");
  // The program itself asks for no bits.
  files.setStat("/secret", { mode: 0 });
  files.write("/secret", "y");
  assertEquals(files.text("/secret"), "y");
  // A directory that does not let in, one that is not listed, and one in which nothing changes.
  files.setStat("/shut", { mode: 0o600 });
  files.setStat("/blind", { mode: 0o300 });
  files.setStat("/fixed", { mode: 0o500 });
  for (const act of [() => sftp.stat("/shut/f"), () => sftp.readFile("/shut/f")]) await denied(act);
  await denied(() => Array.fromAsync(sftp.readDir("/blind")));
  assertEquals(await sftp.readTextFile("/blind/f"), "x");
  for (
    const act of [
      () => sftp.writeFile("/fixed/new", new Uint8Array()),
      () => sftp.remove("/fixed/f"),
      () => sftp.mkdir("/fixed/d"),
      () => sftp.rename("/fixed/f", "/f"),
      () => sftp.rename("/secret", "/fixed/secret"),
      () => sftp.symlink("f", "/fixed/l"),
      () => sftp.link("/fixed/f", "/fixed/l"),
    ]
  ) await denied(act);
  await sftp.writeTextFile("/fixed/f", "changed");
  // Whoever makes a file may write it, whatever its bits are to be.
  await sftp.writeTextFile("/own", "x", { mode: 0o444 });
  assertEquals((await sftp.stat("/own")).mode! & 0o777, 0o444);
  assertEquals(contents(memoryFiles({ "/a": "b" })), { "/a": "b" });
});

Deno.test("memoryFiles() takes names at their bounds, and none beyond; `..` and links stay inside", async () => {
  const files = memoryFiles({ "/d/e/f": "inside" });
  await using peer = await begin(files);
  const { peer: raw } = peer, id = 1;
  const stat = async (path: string) => (await raw.ask(m.Stat.encode({ id, path })))![0];
  const make = async (path: string) => statusIn(await raw.ask(m.Mkdir.encode({ id, path, attrs: {} })));
  assertEquals(await make(`/${"ü".repeat(127)}n`), Status.OK);
  assertEquals(await make(`/${"ü".repeat(128)}`), Status.BAD_MESSAGE);
  assertEquals(await make("/a\0b"), Status.BAD_MESSAGE);
  assertEquals(await make("/d/./x//"), Status.OK);
  assertEquals(await stat(`/d/${"./".repeat(2045)}`), Fxp.ATTRS, "4,093 bytes");
  assertEquals(statusIn(await raw.ask(m.Stat.encode({ id, path: `/${"/".repeat(4096)}` }))), Status.BAD_MESSAGE);
  for (const path of ["/d/../../../d/e/f", "../../d/e/f"]) assertEquals(await stat(path), Fxp.ATTRS, path);
  // A link counts from where it is, an absolute one from the top of these files.
  for (
    const [target, leads] of [
      ["../../../../d/e/f", "/d/e/f"],
      ["/d/e/f", "/d/e/f"],
      ["/..", "/"],
      ["e/./../e//f", "/d/e/f"],
      ["nowhere", "/d/nowhere"],
    ] as const
  ) {
    assertEquals(statusIn(await raw.ask(m.Symlink.encode({ id, target, path: "/d/l" }))), Status.OK);
    assertEquals(files.realPath("/d/l"), leads);
    files.remove("/d/l");
  }
  assertEquals(await refusal(() => files.symlink("t".repeat(4097), "/l")), "BAD_MESSAGE: File name too long");
  assertEquals(await refusal(() => files.symlink("", "/l")), "NO_SUCH_FILE: No such file");
  // Forty links are followed, and not one more.
  for (let i = 0; i < 41; i++) files.symlink(i === 0 ? "d" : `l${i - 1}`, `/l${i}`);
  assertEquals(files.realPath("/l39"), "/d");
  assertEquals(await refusal(() => files.realPath("/l40")), "NO_SUCH_FILE: Too many levels of symbolic links");
  // Names that are not UTF-8 come back as they were; what stands for no byte is none.
  files.write("/caf\udce9", "raw");
  assertEquals(files.list().includes("/caf\udce9"), true);
  assertEquals(await refusal(() => files.mkdir("/\ud800")), "BAD_MESSAGE: Invalid argument");
});

Deno.test("memoryFiles() walks no more of a path than a bound, however many dots its links are padded with", async () => {
  const files = memoryFiles({ "/d": null, "/file": "hello" });
  // What stands for nothing is no step, and at the end still says that it is a directory's.
  files.symlink(`d${"/.".repeat(2000)}`, "/padded");
  files.symlink(`${"./".repeat(2000)}d`, "/before");
  files.symlink("file/.", "/wrong");
  assertEquals([files.realPath("/padded"), files.realPath("/before/.")], ["/d", "/d"]);
  assertEquals(await refusal(() => files.stat("/wrong")), "NO_SUCH_FILE: Not a directory");
  assertEquals(await refusal(() => files.open("/wrong", { read: true })), "NO_SUCH_FILE: Not a directory");
  // Each name of the last ones looked at all the dots behind it: most of a second for one request, in which nobody else had a turn.
  for (let i = 0; i < 20; i++) files.symlink(`p${i + 1}${"/.".repeat(2000)}`, `/p${i}`);
  for (let i = 20; i < 39; i++) files.symlink(`${"d/../".repeat(800)}${i < 38 ? `p${i + 1}` : "d"}`, `/p${i}`);
  assertEquals(await refusal(() => files.realPath("/p0")), "NO_SUCH_FILE: Too many levels of symbolic links");
  assertEquals(files.realPath("/p37"), "/d");
});

Deno.test("memoryFiles() keeps a directory out of itself, and the root where it is", async () => {
  const files = memoryFiles({ "/a/b/c": "x", "/empty": null, "/f": "x" });
  const rename = (from: string, to: string, replace = true) => refusal(() => files.rename(from, to, { replace }));
  assertEquals(await rename("/a", "/a/b/d"), "BAD_MESSAGE: Invalid argument");
  assertEquals(await rename("/a", "/a/d"), "BAD_MESSAGE: Invalid argument");
  assertEquals(await rename("/a/b", "/a"), "FAILURE: Directory not empty");
  assertEquals(await rename("/a", "/f"), "NO_SUCH_FILE: Not a directory");
  assertEquals(await rename("/f", "/empty"), "FAILURE: Is a directory");
  assertEquals(await rename("/a", "/empty", false), "FAILURE: File exists");
  assertEquals(await rename("/f", "/f", false), "FAILURE: File exists");
  assertEquals(await rename("/", "/x"), "FAILURE: Device or resource busy");
  assertEquals(await rename("/f", "/"), "FAILURE: Device or resource busy");
  assertEquals(await refusal(() => files.rmdir("/")), "FAILURE: Device or resource busy");
  assertEquals(await refusal(() => files.remove("/")), "FAILURE: Is a directory");
  assertEquals(await refusal(() => files.mkdir("/")), "FAILURE: File exists");
  assertEquals(await refusal(() => files.link("/a", "/x")), "PERMISSION_DENIED: Operation not permitted");
  files.rename("/f", "/f", { replace: true });
  files.rename("/a", "/empty", { replace: true });
  assertEquals(contents(files), { "/empty/b/c": "x", "/f": "x" });
  // What has moved knows where it is.
  files.symlink("../../f", "/empty/b/up");
  assertEquals(files.realPath("/empty/b/up"), "/f");
});

Deno.test("memoryFiles() goes on with a listing while names come and go", async () => {
  const names = Array.from({ length: 250 }, (_, i) => String(i).padStart(3, "0"));
  const files = memoryFiles(Object.fromEntries(names.map((name) => [`/d/${name}`, ""])));
  await using peer = await ours(files);
  const seen: string[] = [];
  for await (const { name } of peer.sftp.readDir("/d")) {
    seen.push(name);
    if (name === "000") {
      files.remove("/d/249");
      files.rename("/d/001", "/moved");
    }
  }
  assertEquals(new Set(seen).size, seen.length);
  // Some replies were on their way already.
  assertEquals(names.slice(2, 249).every((name) => seen.includes(name)), true);
  assertEquals(seen.includes("249"), false);
});

Deno.test("memoryFiles() copies data between handles without overtaking itself", async () => {
  const files = memoryFiles({ "/a": pattern(300_000), "/b": "" });
  await using peer = await begin(files);
  const { peer: raw } = peer, id = 1;
  const open = async (path: string, flags: number) =>
    m.Handle.decode((await raw.ask(m.Open.encode({ id, path, flags, attrs: {} })))!).handle;
  const from = await open("/a", OpenFlag.READ), to = await open("/b", OpenFlag.WRITE);
  const range = { from, fromOffset: 5n, length: 0n, to, toOffset: 3n };
  assertEquals(statusIn(await raw.ask(m.CopyData.encode({ id, extension: Extension.copyData, ...range }))), Status.OK);
  assertEquals(files.read("/b"), Uint8Array.from([0, 0, 0, ...pattern(300_000).subarray(5)]));
});

Deno.test("memoryFiles() takes a path with a slash at its end for a directory's, and makes no file of that name", async () => {
  const files = memoryFiles({ "/file": "hello", "/dir/one": "1" }), none = { read: false, write: true, create: true };
  files.symlink("dir", "/link");
  files.symlink("file", "/alias");
  const before = files.list(), missing = "NO_SUCH_FILE: No such file", other = "NO_SUCH_FILE: Not a directory";
  const calls: readonly (readonly [() => unknown, string])[] = [
    ...["/file/", "/file/.", "/file//", "/alias/"].flatMap((path) =>
      [
        () => files.stat(path),
        () => files.stat(path, false),
        () => files.open(path),
        () => files.open(path, none),
        () => files.setStat(path, { size: 0 }),
        () => files.remove(path),
        () => files.rename(path, "/new"),
        () => files.realPath(path),
        () => files.link(path, "/new"),
      ].map((call) => [call, other] as const)
    ),
    [() => files.open("/new/", none), "FAILURE: Is a directory"],
    [() => files.open("/new/", { write: true, createNew: true }), "FAILURE: Is a directory"],
    [() => files.symlink("file", "/new/"), missing],
    [() => files.link("/file", "/new/"), missing],
    [() => files.rename("/file", "/new/"), other],
    // The link itself is meant, and that is no directory.
    [() => files.rmdir("/link/"), other],
    [() => files.rename("/link/", "/new"), other],
  ];
  for (const [call, why] of calls) assertEquals([await refusal(call), String(call)], [why, String(call)]);
  assertEquals(files.list(), before);
  assertEquals(String(files.statfs().f_bfree), String(268_435_456 - "hello1dirfile".length));
  assert(files.stat("/link/", false).isDirectory);
  files.mkdir("/made/");
  files.rename("/made/", "/moved/");
  assertEquals(files.stat("/moved/.").isDirectory, true);
});

Deno.test("memoryFiles() refuses offsets that are none at once", async () => {
  const files = memoryFiles({ "/file": "hello" }), file = files.open("/file", { read: true, write: true });
  for (const offset of [NaN, -1, 0.5, Infinity]) {
    assertEquals(await refusal(() => file.writeAt(new Uint8Array(1), offset)), "BAD_MESSAGE: Invalid argument");
    assertEquals(await refusal(() => file.readAt(new Uint8Array(1), offset)), "BAD_MESSAGE: Invalid argument");
  }
  assertEquals(files.text("/file"), "hello");
});

Deno.test("memoryFiles() lists a directory to its end though whatever is told of is renamed", async () => {
  const files = memoryFiles(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`/f${i}`, ""])));
  let told = 0;
  for await (const { name } of files.readDir("/")) {
    if (++told > 100) break;
    files.rename(`/${name}`, `/${name}.old`);
  }
  assertEquals(told, 100);
  assertEquals(files.list(), Array.from({ length: 100 }, (_, i) => `/f${i}.old`).sort());
});
