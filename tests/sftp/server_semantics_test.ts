/** A rooted server's answers: beside OpenSSH's own server, to the names of its root, in read-only mode, and to links that move. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { AuthInfo } from "../../lib/auth/types.ts";
import { SftpError } from "../../lib/errors.ts";
import type { SftpBackend } from "../../lib/files/backend.ts";
import { Extension, Fxp, OpenFlag } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { type MemoryFiles, memoryFiles } from "../../lib/files/memory/files.ts";
import { openRootedBackend } from "../../lib/files/rooted/backend.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import {
  begin,
  dice,
  isMissing,
  OPENSSH_SERVER,
  ours,
  pipes,
  RawPeer,
  sha256,
  someone,
  statusIn,
  tempDir,
} from "../_support/sftp_peers.ts";

const { READ, WRITE, APPEND, CREAT, TRUNC, EXCL } = OpenFlag;
const text = new TextEncoder();

/** A raw client of a server on a root; `path()` spells a path below the root for it. */
interface World extends AsyncDisposable {
  readonly peer: RawPeer;
  path(path: string): string;
}

async function rooted(
  root: string,
  options: { strategy?: "named"; readOnly?: boolean; ident?: string } = {},
): Promise<World> {
  const { strategy, readOnly = false, ident } = options;
  const backend: SftpBackend & AsyncDisposable = await openRootedBackend({
    root,
    readOnly,
    ...(strategy === undefined ? {} : { strategy }),
  });
  const who = ident === undefined ? someone : { ...someone, connection: { remoteIdent: ident } } as unknown as AuthInfo;
  const { near, far } = pipes(), served = serveSftp(far, backend, who);
  served.catch(() => {});
  const peer = new RawPeer(near);
  await peer.ask(m.encodeVersion(Fxp.INIT, 3));
  return {
    peer,
    path: (path) => path,
    async [Symbol.asyncDispose]() {
      await peer.end();
      await served.catch(() => {});
      await backend[Symbol.asyncDispose]();
    },
  };
}

async function openssh(root: string): Promise<World> {
  const child = new Deno.Command(OPENSSH_SERVER, { stdin: "piped", stdout: "piped", stderr: "null" }).spawn();
  const peer = new RawPeer({ readable: child.stdout, writable: child.stdin });
  await peer.ask(m.encodeVersion(Fxp.INIT, 3));
  return {
    peer,
    path: (path) => root + path,
    async [Symbol.asyncDispose]() {
      await peer.end();
      await child.status;
    },
  };
}

/** Does what may fail. */
async function quietly(act: () => unknown): Promise<void> {
  try {
    await act();
  } catch { /* it may */ }
}

/** What a reply says, in a word: a status, or the type of the packet. */
function word(reply: Uint8Array | null): string {
  if (reply === null) return "the end";
  const types: Record<number, string> = {
    102: "HANDLE",
    103: "DATA",
    104: "NAME",
    105: "ATTRS",
    201: "EXTENDED_REPLY",
  };
  if (reply[0] !== Fxp.STATUS) return types[reply[0]!] ?? `type ${reply[0]}`;
  const status = statusIn(reply);
  return Object.entries(Status).find(([, value]) => value === status)?.[0] ?? String(status);
}

/** Files in memory, beside a server of which a test says what it had to answer. */
async function inMemory(files: MemoryFiles): Promise<World> {
  const { peer, [Symbol.asyncDispose]: end } = await begin(files);
  return { peer, path: (path) => path, [Symbol.asyncDispose]: end };
}

/** What is there before the questions are asked. */
interface Disk {
  mkdir(path: string): unknown;
  write(path: string): unknown;
  symlink(target: string, path: string): unknown;
  /** A file or an empty directory. */
  remove(path: string): unknown;
}

function diskAt(root: string): Disk {
  return {
    mkdir: (path) => Deno.mkdir(root + path),
    write: (path) => Deno.writeTextFile(root + path, "hello"),
    symlink: (target, path) => Deno.symlink(target, root + path),
    remove: (path) => Deno.remove(root + path),
  };
}

function diskOf(files: MemoryFiles): Disk {
  return {
    mkdir: (path) => files.mkdir(path),
    write: (path) => files.write(path, "hello"),
    symlink: (target, path) => files.symlink(target, path),
    remove: (path) => files.stat(path).isDirectory ? files.rmdir(path) : files.remove(path),
  };
}

/** Every request that changes or tells names, with its answer. */
async function answers({ peer, path }: World, disk: Disk): Promise<string[]> {
  const list: string[] = [], id = 1, long = `/${"n".repeat(300)}`;
  const ask = async (what: string, payload: Uint8Array): Promise<void> => {
    list.push(`${what.replace(long, "/nnn…")}: ${word(await peer.ask(payload))}`);
  };
  for (const name of ["/d", "/d/sub", "/empty"]) await disk.mkdir(name);
  for (const name of ["/f", "/g", "/d/x"]) await disk.write(name);
  for (const [target, name] of [["f", "l"], ["d", "ld"], ["missing", "dangling"], ["loop", "loop"]] as const) {
    await disk.symlink(target, `/${name}`);
  }
  for (
    const name of ["/f", "/none", "/none/x", "/f/x", "/l", "/l/x", "/ld/x", "/dangling", "/loop", "/loop/x", "/", long]
  ) {
    const here = path(name);
    await ask(`STAT ${name}`, m.Stat.encode({ id, path: here }));
    await ask(`LSTAT ${name}`, m.Lstat.encode({ id, path: here }));
    await ask(`REALPATH ${name}`, m.Realpath.encode({ id, path: here }));
    await ask(`READLINK ${name}`, m.Readlink.encode({ id, path: here }));
    await ask(`OPENDIR ${name}`, m.Opendir.encode({ id, path: here }));
    await ask(`STATVFS ${name}`, m.Statvfs.encode({ id, extension: Extension.statvfs, path: here }));
    for (const flags of [READ, WRITE, WRITE | TRUNC, WRITE | CREAT | EXCL]) {
      if (flags !== READ && name === "/dangling" || flags === READ && (name === "/ld/x" || name === "/")) continue;
      await ask(`OPEN ${flags} ${name}`, m.Open.encode({ id, path: here, flags, attrs: {} }));
    }
    await ask(`MKDIR ${name}`, m.Mkdir.encode({ id, path: here, attrs: {} }));
    await quietly(() => disk.remove("/none"));
  }
  for (const name of ["/d", "/f", "/none", "/none/x", "/ld", "/l/x", "/dangling", long]) {
    await ask(`RMDIR ${name}`, m.Rmdir.encode({ id, path: path(name) }));
  }
  for (const name of ["/d", "/empty", "/none", "/f/x", "/ld/none", long]) {
    await ask(`REMOVE ${name}`, m.Remove.encode({ id, path: path(name) }));
  }
  const pairs: readonly [string, string][] = [
    ["/f", "/g"],
    ["/f", "/f"],
    ["/f", "/empty"],
    ["/d", "/empty"],
    ["/d", "/f"],
    ["/d", "/d/sub/x"],
    ["/none", "/x"],
    ["/f", "/none/x"],
    ["/f", "/g/x"],
    ["/l", "/g"],
    ["/f", "/dangling"],
    ["/f", long],
    ["/l", "/l2"],
    ["/d", "/d2"],
    ["/d2", "/d"],
  ];
  for (const [from, to] of pairs) {
    const [oldPath, newPath] = [path(from), path(to)];
    await ask(`RENAME ${from} ${to}`, m.Rename.encode({ id, oldPath, newPath }));
    if (from === "/d2" || to === "/d2") continue;
    await ask(`hardlink ${from} ${to}`, m.Hardlink.encode({ id, extension: Extension.hardlink, oldPath, newPath }));
  }
  for (const [from, to] of pairs) {
    const [oldPath, newPath] = [path(from), path(to)];
    await ask(
      `posix-rename ${from} ${to}`,
      m.PosixRename.encode({ id, extension: Extension.posixRename, oldPath, newPath }),
    );
    await quietly(() => disk.write("/f"));
  }
  for (const [target, name] of [["f", "/s"], ["f", "/s"], ["f", "/none/s"], ["f", "/f/s"]] as const) {
    await ask(`SYMLINK ${target} ${name}`, m.Symlink.encode({ id, target, path: path(name) }));
  }
  const changes = [{ size: 2 }, { mode: 0o600 }, { atime: 5, mtime: 6 }, { uid: 0, gid: 0 }, { size: 5_000_000_000 }];
  for (const attrs of [...changes, { size: 2 ** 62 }]) {
    for (const name of ["/f", "/s", "/none", "/none/x"]) {
      // Here what no file system takes is refused before anything is looked at.
      if (attrs.size === 2 ** 62 && name.startsWith("/none")) continue;
      await ask(`SETSTAT ${name} ${JSON.stringify(attrs)}`, m.Setstat.encode({ id, path: path(name), attrs }));
    }
  }
  const opened = await peer.ask(m.Open.encode({ id, path: path("/f"), flags: READ | WRITE, attrs: {} }));
  const { handle } = m.Handle.decode(opened!);
  for (const offset of [0n, 4_999_999_990n, 5_000_000_000n, 6_000_000_000n]) {
    await ask(`READ ${offset}`, m.Read.encode({ id, handle, offset, length: 10 }));
  }
  await ask("READ of nothing", m.Read.encode({ id, handle, offset: 0n, length: 0 }));
  await ask("READ of nothing behind the end", m.Read.encode({ id, handle, offset: 6_000_000_000n, length: 0 }));
  await ask("WRITE 6e9", m.Write.encode({ id, handle, offset: 6_000_000_000n, data: text.encode("end") }));
  await ask("WRITE of nothing", m.Write.encode({ id, handle, offset: 0n, data: new Uint8Array() }));
  await ask("REMOVE of an open file", m.Remove.encode({ id, path: path("/f") }));
  for (const attrs of changes) await ask("FSETSTAT", m.Fsetstat.encode({ id, handle, attrs }));
  await ask("FSTAT of a removed file", m.Fstat.encode({ id, handle }));
  await ask("READ of a removed file", m.Read.encode({ id, handle, offset: 0n, length: 10 }));
  await ask("fsync", m.Fsync.encode({ id, extension: Extension.fsync, handle }));
  await ask("CLOSE", m.Close.encode({ id, handle }));
  return list;
}

for (const strategy of [undefined, "named"] as const) {
  const how = strategy ?? "held", options = strategy === undefined ? {} : { strategy };

  // S24
  Deno.test({
    name: `serveSftp() gives the statuses that OpenSSH's server gives (${how})`,
    ignore: isMissing(OPENSSH_SERVER),
    async fn() {
      await using mine = await tempDir();
      await using theirs = await tempDir();
      await using own = await rooted(mine.path, options);
      await using other = await openssh(theirs.path);
      const got = await answers(own, diskAt(mine.path)), wanted = await answers(other, diskAt(theirs.path));
      assertEquals(got.length, wanted.length);
      const differ = got.filter((line, i) => line !== wanted[i]);
      // What may differ: the root is no link and never one to be made, a directory is not linked wherever to, and where
      // directories go by names a link to a link cannot be made.
      const known = /^(READLINK \/|hardlink \/d \S+|hardlink \/l \S+): PERMISSION_DENIED$/;
      assertEquals(differ.filter((line) => !known.test(line)), [], differ.join("\n"));
      assert(got.length > 200);
    },
  });

  Deno.test(`serveSftp() creates with READ and CREAT, as flock(1) on SSHFS opens its file (${how})`, async () => {
    await using dir = await tempDir();
    await using world = await rooted(dir.path, options);
    const attrs = { mode: 0o640 };
    const reply = await world.peer.ask(m.Open.encode({ id: 1, path: "/lock", flags: READ | CREAT, attrs }));
    assertEquals(word(reply), "HANDLE");
    assertEquals((await Deno.stat(`${dir.path}/lock`)).size, 0);
    const again = await world.peer.ask(m.Open.encode({ id: 1, path: "/lock", flags: READ | CREAT | EXCL, attrs }));
    assertEquals(word(again), "FAILURE");
  });

  Deno.test(`serveSftp() tells the size of a link as the length of what READLINK tells (${how})`, async () => {
    await using dir = await tempDir();
    await using world = await rooted(dir.path, options);
    const { peer } = world;
    await peer.ask(m.Symlink.encode({ id: 1, target: "/abs", path: "/l" }));
    const { attrs } = m.Attrs.decode((await peer.ask(m.Lstat.encode({ id: 1, path: "/l" })))!);
    const [shown] = m.Name.decode((await peer.ask(m.Readlink.encode({ id: 1, path: "/l" })))!).entries;
    assertEquals(shown!.name, "/abs");
    // More than that is the length of the path of the root.
    assertEquals(attrs.size, 4);
    const { handle } = m.Handle.decode((await peer.ask(m.Opendir.encode({ id: 1, path: "/" })))!);
    const { entries } = m.Name.decode((await peer.ask(m.Readdir.encode({ id: 1, handle })))!);
    assertEquals(entries.map((entry) => entry.attrs.size), [4]);
  });

  Deno.test(`row 126: READLINK does not tell the root as it was given (${how})`, async () => {
    await using dir = await tempDir();
    await Deno.mkdir(`${dir.path}/disk/www`, { recursive: true });
    await Deno.symlink("disk/www", `${dir.path}/srv`);
    await Deno.writeTextFile(`${dir.path}/srv/f`, "inside");
    // The administrator knows the root as /srv.
    await Deno.symlink(`${dir.path}/srv/f`, `${dir.path}/srv/link`);
    await Deno.symlink(`${dir.path}//disk/www/f`, `${dir.path}/srv/slashes`);
    const backend = await openRootedBackend({ root: `${dir.path}/srv`, ...options });
    await using peer = await ours(backend);
    const shown = [await peer.sftp.readLink("/link"), await peer.sftp.readLink("/slashes")];
    const read = await peer.sftp.readTextFile("/link").catch((error) => error.message);
    await backend[Symbol.asyncDispose]();
    assertEquals([shown, read], [["/f", "/f"], "inside"]);
  });

  Deno.test(`row 124: a link that moves leads no process of the host out (${how})`, async () => {
    await using dir = await tempDir();
    const root = `${dir.path}/root`, secret = `${dir.path}/secret`;
    await Deno.mkdir(`${root}/a/b`, { recursive: true });
    await Deno.writeTextFile(secret, "nobody may read this");
    const backend = await openRootedBackend({ root, ...options });
    await using peer = await ours(backend);
    const { sftp } = peer;
    // Each of these links is fine where it is made, and made of a kind that symlink() itself refuses at the top.
    for (const name of ["moved", "replaced", "linked", "kept"]) await sftp.symlink("../secret", `/a/b/${name}`);
    await assertRejects(() => sftp.symlink("../secret", "/direct"), SftpError);
    const ask = async (payload: (oldPath: string, newPath: string) => Promise<void>, from: string, to: string) =>
      await payload(from, to).catch((error) => assert(error instanceof SftpError, String(error)));
    await ask((from, to) => sftp.rename(from, to), "/a/b/moved", "/moved");
    await ask((from, to) => sftp.link(from, to), "/a/b/linked", "/linked");
    await ask((from, to) => sftp.rename(from, to), "/a/b", "/b");
    await ask((from, to) => sftp.rename(from, to), "/b/kept", "/kept");
    const leaks: string[] = [];
    for (const path of ["moved", "linked", "kept", "b/kept", "b/replaced"]) {
      const read = await Deno.readTextFile(`${root}/${path}`).catch(() => "");
      if (read !== "") leaks.push(path);
      await assertRejects(() => sftp.readTextFile(`/${path}`), SftpError);
    }
    await backend[Symbol.asyncDispose]();
    assertEquals(leaks, []);
  });

  Deno.test(`serveSftp() in read-only mode refuses each request and flag that changes something (${how})`, async () => {
    await using dir = await tempDir();
    for (const name of ["f", "g"]) await Deno.writeTextFile(`${dir.path}/${name}`, name);
    await Deno.mkdir(`${dir.path}/d`);
    await Deno.symlink("f", `${dir.path}/l`);
    await Deno.symlink("new", `${dir.path}/dangling`);
    const state = async (): Promise<string[]> => {
      const list: string[] = [];
      for await (const { name } of Deno.readDir(dir.path)) {
        const { size, mode, mtime, uid, ino, ctime } = await Deno.lstat(`${dir.path}/${name}`);
        list.push(`${name} ${size} ${mode} ${mtime?.getTime()} ${uid} ${ino} ${ctime?.getTime()}`);
      }
      return list.sort();
    };
    const before = await state();
    await using world = await rooted(dir.path, { ...options, readOnly: true });
    const { peer } = world, id = 1;
    const refused = async (payload: Uint8Array, what: string): Promise<void> => {
      assertEquals(word(await peer.ask(payload)), "PERMISSION_DENIED", what);
    };
    for (const path of ["/f", "/new", "/l", "/dangling"]) {
      for (const more of [0, READ]) {
        for (const flags of [0, APPEND, CREAT, TRUNC, CREAT | EXCL, CREAT | TRUNC, CREAT | APPEND]) {
          await refused(m.Open.encode({ id, path, flags: flags | more | WRITE, attrs: {} }), `OPEN ${path} ${flags}`);
        }
      }
    }
    for (const flags of [APPEND, CREAT, TRUNC, CREAT | EXCL, CREAT | TRUNC]) {
      for (const path of ["/f", "/new", "/dangling"]) {
        await peer.ask(m.Open.encode({ id, path, flags: flags | READ, attrs: { size: 0, mode: 0o777 } }));
        await peer.ask(m.Open.encode({ id, path, flags, attrs: { size: 0, mode: 0o777 } }));
      }
    }
    const opened = await peer.ask(m.Open.encode({ id, path: "/f", flags: READ, attrs: {} }));
    const { handle } = m.Handle.decode(opened!);
    const all = [{ size: 0 }, { mode: 0o777 }, { uid: 7, gid: 7 }, { atime: 7, mtime: 7 }];
    for (const attrs of all) {
      await refused(m.Fsetstat.encode({ id, handle, attrs }), "FSETSTAT");
      for (const path of ["/f", "/l", "/d"]) {
        await refused(m.Setstat.encode({ id, path, attrs }), "SETSTAT");
        await refused(m.Lsetstat.encode({ id, extension: Extension.lsetstat, path, attrs }), "lsetstat");
      }
    }
    await refused(m.Write.encode({ id, handle, offset: 0n, data: new Uint8Array(1) }), "WRITE");
    const range = { from: handle, fromOffset: 0n, length: 1n, to: handle, toOffset: 0n };
    await refused(m.CopyData.encode({ id, extension: Extension.copyData, ...range }), "copy-data");
    await refused(m.Remove.encode({ id, path: "/f" }), "REMOVE");
    await refused(m.Mkdir.encode({ id, path: "/new", attrs: {} }), "MKDIR");
    await refused(m.Rmdir.encode({ id, path: "/d" }), "RMDIR");
    await refused(m.Symlink.encode({ id, target: "f", path: "/new" }), "SYMLINK");
    for (const newPath of ["/new", "/g"]) {
      const pair = { oldPath: "/f", newPath };
      await refused(m.Rename.encode({ id, ...pair }), "RENAME");
      await refused(m.PosixRename.encode({ id, extension: Extension.posixRename, ...pair }), "posix-rename");
      await refused(m.Hardlink.encode({ id, extension: Extension.hardlink, ...pair }), "hardlink");
    }
    assertEquals(await state(), before);
  });
}

Deno.test({
  name: "memoryFiles() gives the statuses that OpenSSH's server gives on a disk",
  ignore: isMissing(OPENSSH_SERVER),
  async fn() {
    // There are files with holes among them.
    const files = memoryFiles({}, { maxBytes: 2 ** 40 });
    await using theirs = await tempDir();
    await using own = await inMemory(files);
    await using other = await openssh(theirs.path);
    const got = await answers(own, diskOf(files)), wanted = await answers(other, diskAt(theirs.path));
    assertEquals(got.length, wanted.length);
    assertEquals(got.filter((line, i) => line !== wanted[i]), []);
    assert(got.length > 200);
  },
});

/** Requests drawn at random over few names, and what comes of each; `root` is left out of paths. */
async function wander({ peer, path }: World, seed: number, count: number): Promise<string[]> {
  const roll = dice(seed * 7919), list: string[] = [], id = 1;
  const pick = <T>(choices: readonly T[]): T => choices[roll(choices.length)]!;
  const name = (): string =>
    `/${Array.from({ length: pick([1, 1, 1, 2, 2, 3]) }, () => pick(["a", "b", "c"])).join("/")}`;
  const handles: Uint8Array[] = [];
  const root = path("");
  for (let i = 0; i < count; i++) {
    const [one, two] = [name(), name()], [oldPath, newPath] = [path(one), path(two)];
    // What a handle is open for, the session sees to, and tells more of it than OpenSSH's.
    const flags = READ | WRITE | pick([0, CREAT, CREAT, CREAT | TRUNC, CREAT | EXCL]);
    const data = text.encode("x".repeat(roll(9))), size = roll(100_000);
    const isDangling = word(await peer.ask(m.Lstat.encode({ id, path: newPath }))) === "ATTRS" &&
      word(await peer.ask(m.Stat.encode({ id, path: newPath }))) !== "ATTRS";
    const handle = handles.length === 0 ? null : pick(handles);
    const open = (make: (handle: Uint8Array) => [string, Uint8Array]) => (): [string, Uint8Array] =>
      handle === null ? makeDirectory() : make(handle);
    const makeDirectory = (): [
      string,
      Uint8Array,
    ] => [`MKDIR ${one}`, m.Mkdir.encode({ id, path: oldPath, attrs: {} })];
    const create = (): [string, Uint8Array] => [
      `OPEN ${flags} ${one}`,
      m.Open.encode({ id, path: oldPath, flags, attrs: {} }),
    ];
    const [what, payload] = pick<() => [string, Uint8Array]>([
      create,
      open((handle) => ["CLOSE", m.Close.encode({ id, handle })]),
      open((handle) => [`WRITE ${size}`, m.Write.encode({ id, handle, offset: BigInt(size), data })]),
      open((handle) => [`READ ${size}`, m.Read.encode({ id, handle, offset: BigInt(size), length: 70_000 })]),
      open((handle) => ["FSTAT", m.Fstat.encode({ id, handle })]),
      open((handle) => [`FSETSTAT ${size}`, m.Fsetstat.encode({ id, handle, attrs: { size } })]),
      () => [`SETSTAT ${one} ${size}`, m.Setstat.encode({ id, path: oldPath, attrs: { size } })],
      () => [`STAT ${one}`, m.Stat.encode({ id, path: oldPath })],
      () => [`LSTAT ${one}`, m.Lstat.encode({ id, path: oldPath })],
      () => [`REALPATH ${one}`, m.Realpath.encode({ id, path: oldPath })],
      () => [`READLINK ${one}`, m.Readlink.encode({ id, path: oldPath })],
      makeDirectory,
      makeDirectory,
      create,
      create,
      () => [`RMDIR ${one}`, m.Rmdir.encode({ id, path: oldPath })],
      () => [`REMOVE ${one}`, m.Remove.encode({ id, path: oldPath })],
      () => {
        // No `..`, which would lead to the disk's own files there.
        const target = pick(["a", "b", "b/c", "c/b", ".", "missing"]);
        return [`SYMLINK ${target} ${one}`, m.Symlink.encode({ id, target, path: oldPath })];
      },
      () => [`link ${one} ${two}`, m.Hardlink.encode({ id, extension: Extension.hardlink, oldPath, newPath })],
      // Over a link that leads nowhere OpenSSH's goes, which takes the name for free.
      () => isDangling ? makeDirectory() : [`RENAME ${one} ${two}`, m.Rename.encode({ id, oldPath, newPath })],
      () => [`move ${one} ${two}`, m.PosixRename.encode({ id, extension: Extension.posixRename, oldPath, newPath })],
    ])();
    const reply = (await peer.ask(payload))!;
    let said = word(reply);
    if (said === "HANDLE") handles.push(m.Handle.decode(reply).handle);
    if (what === "CLOSE" && said === "OK") handles.splice(handles.indexOf(handle!), 1);
    if (said === "DATA") said += ` ${await sha256(m.Data.decode(reply).data)}`;
    if (said === "NAME") said += ` ${m.Name.decode(reply).entries[0]!.name.replace(root, "")}`;
    if (said === "ATTRS") {
      const { size, mode } = m.Attrs.decode(reply).attrs;
      // How many bytes a directory takes is the disk's own matter.
      said += ` ${mode!.toString(8)} ${(mode! & 0o170000) === 0o040000 ? "" : size}`;
    }
    list.push(`${i} ${what}: ${said}`);
  }
  return list;
}

Deno.test({
  name: "memoryFiles() does what OpenSSH's server does on a disk, for requests drawn at random",
  ignore: isMissing(OPENSSH_SERVER),
  async fn() {
    for (const seed of [1, 2, 3]) {
      await using theirs = await tempDir();
      await using own = await inMemory(memoryFiles());
      await using other = await openssh(theirs.path);
      const got = await wander(own, seed, 400), wanted = await wander(other, seed, 400);
      const first = got.findIndex((line, i) => line !== wanted[i]);
      assertEquals(got[first], wanted[first], got.slice(Math.max(0, first - 60), first).join("\n"));
      const done = got.filter((line) => !/NO_SUCH|FAILURE|BAD_/.test(line)).length;
      assert(done > 100, `only ${done} requests succeeded`);
    }
  },
});

Deno.test("serveSftp() knows that WinSCP puts the link first", async () => {
  await using dir = await tempDir();
  // To every server but OpenSSH's and ProFTPD's, WinSCP keeps to the draft's order.
  await using world = await rooted(dir.path, { ident: "SSH-2.0-WinSCP_release_6.3.5" });
  const payload = m.Symlink.encode({ id: 1, target: "/link", path: "its-target" });
  assertEquals(word(await world.peer.ask(payload)), "OK");
  assertEquals(await Deno.readLink(`${dir.path}/link`).catch(() => null), "its-target");
});

Deno.test("serveSftp() tells the space of a file that is open and removed", async () => {
  await using dir = await tempDir();
  await using world = await rooted(dir.path);
  const { peer } = world;
  const opened = await peer.ask(m.Open.encode({ id: 1, path: "/f", flags: READ | WRITE | CREAT, attrs: {} }));
  const { handle } = m.Handle.decode(opened!);
  const ask = async (): Promise<string> =>
    word(await peer.ask(m.Fstatvfs.encode({ id: 2, extension: Extension.fstatvfs, handle })));
  assertEquals(await ask(), "EXTENDED_REPLY");
  await Deno.remove(`${dir.path}/f`);
  assertEquals(await ask(), "EXTENDED_REPLY");
});
