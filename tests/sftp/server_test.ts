/** The server against clients that break the protocol. security.md rows 116 to 121 and 127 to 132. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError, SshProtocolError } from "../../lib/errors.ts";
import type { SftpBackend } from "../../lib/files/backend.ts";
import { Extension, Fxp, OpenFlag } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import type { RootedOptions } from "../../lib/files/rooted/backend.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { info } from "../_support/file_info.ts";
import { turns, until } from "../_support/until.ts";
import { framed, idOf, ours, pattern, pipes, RawPeer, someone, statusIn, tempDir } from "../_support/sftp_peers.ts";

/** A raw client on our server, past INIT unless told otherwise. */
async function raw(
  backend: SftpBackend | RootedOptions,
  begin = true,
): Promise<AsyncDisposable & { readonly peer: RawPeer; readonly served: Promise<void> }> {
  const { near, far } = pipes();
  const served = serveSftp(far, backend, someone);
  served.catch(() => {});
  const peer = new RawPeer(near);
  if (begin) assertEquals((await peer.ask(m.encodeVersion(Fxp.INIT, 3)))![0], Fxp.VERSION);
  return {
    peer,
    served,
    async [Symbol.asyncDispose]() {
      await peer.end();
      await served.catch(() => {});
    },
  };
}

async function opened(peer: RawPeer, path: string, flags: number, id = 1): Promise<Uint8Array> {
  const reply = (await peer.ask(m.Open.encode({ id, path, flags, attrs: {} })))!;
  if (reply[0] !== Fxp.HANDLE) throw new SftpError("not opened", statusIn(reply));
  return m.Handle.decode(reply).handle;
}

/** Open descriptors of this process, where the system tells. */
function descriptors(): number {
  try {
    return Array.from(Deno.readDirSync("/proc/self/fd")).length;
  } catch {
    return 0;
  }
}

Deno.test("row 116: lengths that lie end the session before anything is set aside", async () => {
  await using dir = await tempDir();
  for (const length of [0, 1, 4, 262_145, 0xffff_ffff]) {
    await using client = await raw({ root: dir.path });
    await client.peer.raw(new Writer().u32(length).bytes());
    await assertRejects(() => client.served, SshProtocolError, "length");
    assertEquals(await client.peer.next(), null);
  }
  // A packet that trickles in is a packet, and one that ends early ends the session.
  await using client = await raw({ root: dir.path });
  for (const byte of framed(m.Stat.encode({ id: 3, path: "/" }))) await client.peer.raw(new Uint8Array([byte]));
  assertEquals((await client.peer.next())![0], Fxp.ATTRS);
  await client.peer.raw(new Writer().u32(262_144).u8(3).bytes());
  await client.peer.end();
  await assertRejects(() => client.served, SshProtocolError, "inside a packet");
});

Deno.test("row 117: requests before INIT and a second INIT end the session", async () => {
  await using dir = await tempDir();
  await using early = await raw({ root: dir.path }, false);
  await early.peer.send(m.Stat.encode({ id: 1, path: "/" }));
  await assertRejects(() => early.served, SshProtocolError, "before SSH_FXP_INIT");
  await using twice = await raw({ root: dir.path });
  await twice.peer.send(m.encodeVersion(Fxp.INIT, 3));
  await assertRejects(() => twice.served, SshProtocolError, "twice");
});

Deno.test("row 117: unknown types and malformed requests get their status, and the session goes on", async () => {
  await using dir = await tempDir();
  await using client = await raw({ root: dir.path });
  const { peer } = client, stat = m.Stat.encode({ id: 9, path: "/" });
  assertEquals(statusIn(await peer.ask(new Writer().u8(199).u32(9).bytes())), Status.OP_UNSUPPORTED);
  assertEquals(
    statusIn(await peer.ask(new Writer().u8(Fxp.EXTENDED).u32(9).text("x@y").bytes())),
    Status.OP_UNSUPPORTED,
  );
  assertEquals(statusIn(await peer.ask(new Writer().u8(Fxp.EXTENDED).u32(9).bytes())), Status.BAD_MESSAGE);
  assertEquals(statusIn(await peer.ask(new Uint8Array([...stat, 0]))), Status.BAD_MESSAGE);
  assertEquals(statusIn(await peer.ask(stat.subarray(0, stat.length - 1))), Status.BAD_MESSAGE);
  assertEquals(statusIn(await peer.ask(new Writer().u8(Fxp.STAT).u32(9).u32(0xffff_fff0).bytes())), Status.BAD_MESSAGE);
  assertEquals(statusIn(await peer.ask(new Writer().u8(Fxp.STATUS).u32(9).u32(0).bytes())), Status.OP_UNSUPPORTED);
  assertEquals((await peer.ask(stat))![0], Fxp.ATTRS);
});

Deno.test("row 118: a READ of 4 GiB is cut to 261,120 bytes", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/f`, pattern(400_000));
  await using client = await raw({ root: dir.path });
  const handle = await opened(client.peer, "/f", OpenFlag.READ);
  const reply = (await client.peer.ask(m.Read.encode({ id: 2, handle, offset: 0n, length: 0xffff_ffff })))!;
  assertEquals(m.Data.decode(reply).data, pattern(400_000).subarray(0, 261_120));
  // Nothing was asked for, which is not the end of the file: as from OpenSSH, empty DATA, behind the end too.
  for (const offset of [0n, 400_000n, 500_000n]) {
    const empty = (await client.peer.ask(m.Read.encode({ id: 2, handle, offset, length: 0 })))!;
    assertEquals([idOf(empty), Array.from(m.Data.decode(empty).data)], [2, []]);
  }
});

Deno.test("row 119: offsets beyond what a file system has are FAILURE", async () => {
  await using dir = await tempDir();
  await using client = await raw({ root: dir.path });
  const { peer } = client, handle = await opened(peer, "/f", OpenFlag.READ | OpenFlag.WRITE | OpenFlag.CREAT);
  for (const offset of [2n ** 63n, 2n ** 64n - 1n, 2n ** 53n - 1n]) {
    assertEquals(statusIn(await peer.ask(m.Read.encode({ id: 2, handle, offset, length: 10 }))), Status.FAILURE);
    const data = new Uint8Array(10);
    assertEquals(statusIn(await peer.ask(m.Write.encode({ id: 2, handle, offset, data }))), Status.FAILURE);
  }
  const attrs = { size: 2 ** 63 };
  assertEquals(statusIn(await peer.ask(m.Fsetstat.encode({ id: 2, handle, attrs }))), Status.FAILURE);
  assertEquals((await Deno.stat(`${dir.path}/f`)).size, 0);
});

Deno.test("row 120: handles that are unknown, closed, too long, another session's or of another kind", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  await using client = await raw({ root: dir.path });
  await using other = await raw({ root: dir.path });
  const { peer } = client, file = await opened(peer, "/f", OpenFlag.READ);
  const foreign = await opened(other.peer, "/f", OpenFlag.READ);
  const directory = m.Handle.decode((await peer.ask(m.Opendir.encode({ id: 2, path: "/" })))!).handle;
  const read = async (handle: Uint8Array): Promise<number> =>
    statusIn(await peer.ask(m.Read.encode({ id: 3, handle, offset: 0n, length: 10 })));
  assertEquals(await read(foreign), Status.FAILURE);
  assertEquals(await read(directory), Status.FAILURE);
  assertEquals(await read(new Uint8Array(12)), Status.FAILURE);
  assertEquals(await read(new Uint8Array(1)), Status.FAILURE);
  assertEquals(await read(new Uint8Array(257)), Status.BAD_MESSAGE);
  assertEquals(await read(new Uint8Array(0)), Status.BAD_MESSAGE);
  assertEquals(statusIn(await peer.ask(m.Readdir.encode({ id: 3, handle: file }))), Status.FAILURE);
  assertEquals(statusIn(await peer.ask(m.Close.encode({ id: 3, handle: file }))), Status.OK);
  assertEquals(statusIn(await peer.ask(m.Close.encode({ id: 3, handle: file }))), Status.FAILURE);
  assertEquals(await read(file), Status.FAILURE);
  for (const message of [m.Fstat, m.Fsync, m.Fstatvfs]) {
    const payload = message.encode({ id: 3, handle: file, extension: message.name } as never);
    assertEquals(statusIn(await peer.ask(payload)), Status.FAILURE);
  }
});

Deno.test("row 121: 1,024 handles and no more, all closed when the session ends", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  const before = descriptors();
  {
    await using client = await raw({ root: dir.path });
    let opens = 0;
    for (; opens < 2000; opens++) {
      const reply = await client.peer.ask(
        opens % 2
          ? m.Opendir.encode({ id: opens, path: "/" })
          : m.Open.encode({ id: opens, path: "/f", flags: OpenFlag.READ, attrs: {} }),
      );
      if (reply![0] !== Fxp.HANDLE) {
        assertEquals(statusIn(reply), Status.FAILURE);
        break;
      }
    }
    assertEquals(opens, 1024);
    if (before > 0) assert(descriptors() >= before + 1024);
  }
  if (before > 0) assert(descriptors() <= before + 2);
});

Deno.test("row 127: a backend sees one form of each path", async () => {
  const seen: string[] = [];
  const backend: SftpBackend = {
    open: () => Promise.reject(new SftpError("no", Status.NO_SUCH_FILE)),
    async *readDir() {},
    stat(path) {
      seen.push(path);
      return info();
    },
    remove: (path: string) => void seen.push(path),
  };
  await using client = await raw(backend);
  for (const path of ["/a//b/", "/a/./b", "a/b", "/x/../a/b", "//a/b/."]) {
    await client.peer.ask(m.Stat.encode({ id: 1, path }));
    await client.peer.ask(m.Remove.encode({ id: 1, path }));
  }
  assertEquals(new Set(seen), new Set(["/a/b"]));
  assertEquals(seen.length, 10);
});

Deno.test("row 128: attributes that lie are BAD_MESSAGE, and special permission bits are masked", async () => {
  await using dir = await tempDir();
  await using client = await raw({ root: dir.path });
  const { peer } = client;
  const setstat = (flags: number, rest: Uint8Array): Uint8Array =>
    new Writer().u8(Fxp.SETSTAT).u32(1).text("/f").u32(flags).raw(rest).bytes();
  const lie = setstat(0x8000_0000, new Writer().u32(0xffff_ffff).bytes());
  assertEquals(statusIn(await peer.ask(lie)), Status.BAD_MESSAGE);
  assertEquals(statusIn(await peer.ask(setstat(15, new Uint8Array(8)))), Status.BAD_MESSAGE);
  const attrs = { mode: 0o107777 };
  const made = await peer.ask(m.Open.encode({ id: 1, path: "/f", flags: OpenFlag.WRITE | OpenFlag.CREAT, attrs }));
  assertEquals(made![0], Fxp.HANDLE);
  assertEquals((await Deno.stat(`${dir.path}/f`)).mode! & 0o7000, 0);
  const { handle } = m.Handle.decode(made!);
  for (const payload of [m.Setstat.encode({ id: 1, path: "/f", attrs }), m.Fsetstat.encode({ id: 1, handle, attrs })]) {
    assertEquals(statusIn(await peer.ask(payload)), Status.OK);
    assertEquals((await Deno.stat(`${dir.path}/f`)).mode! & 0o7777, 0o777);
  }
  assertEquals(statusIn(await peer.ask(m.Mkdir.encode({ id: 1, path: "/d", attrs: { mode: 0o7777 } }))), Status.OK);
  assertEquals((await Deno.stat(`${dir.path}/d`)).mode! & 0o7000, 0);
});

Deno.test("row 129: copy-data refuses one file as both ends, and is bounded by what is there", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/f`, pattern(500_000));
  await Deno.link(`${dir.path}/f`, `${dir.path}/same`);
  await using client = await raw({ root: dir.path });
  const { peer } = client, both = OpenFlag.READ | OpenFlag.WRITE;
  const from = await opened(peer, "/f", both), again = await opened(peer, "/f", both);
  const linked = await opened(peer, "/same", OpenFlag.WRITE), to = await opened(peer, "/g", both | OpenFlag.CREAT);
  const copy = async (a: Uint8Array, b: Uint8Array, length: bigint, toOffset = 0n): Promise<number> =>
    statusIn(
      await peer.ask(
        m.CopyData.encode({ id: 1, extension: "copy-data", from: a, fromOffset: 0n, length, to: b, toOffset }),
      ),
    );
  assertEquals(await copy(from, from, 0n), Status.FAILURE);
  assertEquals(await copy(from, again, 10n), Status.FAILURE);
  assertEquals(await copy(from, to, 0n), Status.OK);
  assertEquals(await Deno.readFile(`${dir.path}/g`), pattern(500_000));
  assertEquals(await copy(from, to, 2n ** 64n - 1n), Status.OK);
  assertEquals(await copy(from, to, 1n, 2n ** 64n - 1n), Status.FAILURE);
  // The same file by another name ends, at the size it had.
  assertEquals(await copy(from, linked, 0n, 400_000n), Status.OK);
  assertEquals((await Deno.stat(`${dir.path}/f`)).size, 900_000);
  assertEquals(await copy(linked, to, 0n), Status.PERMISSION_DENIED);
});

Deno.test("row 130: a listing of 1,000,000 entries goes out 100 at a time and is never held", async () => {
  let made = 0, returned = false;
  const backend: SftpBackend = {
    open: () => Promise.reject(new SftpError("no", Status.NO_SUCH_FILE)),
    async *readDir() {
      try {
        for (; made < 1_000_000; made++) {
          yield {
            name: `entry-${made}-${"x".repeat(40)}`,
            isFile: true,
            isDirectory: false,
            isSymlink: false,
            info: info(),
          };
        }
      } finally {
        returned = true;
      }
    },
    stat: () => info(),
  };
  await using client = await raw(backend);
  const { peer } = client, { handle } = m.Handle.decode((await peer.ask(m.Opendir.encode({ id: 1, path: "/" })))!);
  let total = 0;
  for (let i = 0; i < 200; i++) {
    const { entries } = m.Name.decode((await peer.ask(m.Readdir.encode({ id: 2, handle })))!);
    assertEquals(entries.length, 100);
    total += entries.length;
    assert(made <= total + 1);
  }
  assertEquals(statusIn(await peer.ask(m.Close.encode({ id: 3, handle }))), Status.OK);
  assert(returned);
});

Deno.test("row 130: names that are none, or not UTF-8, do not break a listing", async () => {
  const names = ["ok", "", "a/b", "\0", "caf\udce9", "x".repeat(100_000), "last"];
  const backend: SftpBackend = {
    open: () => Promise.reject(new SftpError("no", Status.NO_SUCH_FILE)),
    async *readDir() {
      for (const name of names) yield { name, isFile: true, isDirectory: false, isSymlink: false, info: info() };
    },
    stat: () => info(),
  };
  await using peer = await ours(backend);
  assertEquals(await Array.fromAsync(peer.sftp.readDir("/"), (entry) => entry.name), ["ok", "caf\udce9", "last"]);
});

Deno.test("row 131: 10,000 READs whose answers nobody takes are started 64 at a time, and held back", async () => {
  let running = 0, most = 0, reads = 0;
  const backend: SftpBackend = {
    open: () => ({
      async readAt(p: Uint8Array) {
        reads++;
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, 1));
        running--;
        return p.length;
      },
      writeAt: () => {},
      stat: () => info(2 ** 40),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
    async *readDir() {},
    stat: () => info(),
  };
  await using client = await raw(backend);
  const handle = await opened(client.peer, "/f", OpenFlag.READ);
  const request = framed(m.Read.encode({ id: 5, handle, offset: 0n, length: 32_768 }));
  const many = new Uint8Array(10_000 * request.length);
  for (let i = 0; i < 10_000; i++) many.set(request, i * request.length);
  const sent = client.peer.raw(many);
  await until(() => reads >= 64, "It does not read");
  await turns(50);
  assert(most <= 64, `${most} at once`);
  // 4 MiB of replies, and what was under way when that was reached.
  assert(reads <= 128 + 64, `${reads} read`);
  let answers = 0;
  while (answers < 500) answers += (await client.peer.next())![0] === Fxp.DATA ? 1 : 0;
  await client.peer.end();
  await sent.catch(() => {});
});

Deno.test("row 132: handles are used as they were opened", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "old");
  await using client = await raw({ root: dir.path });
  const { peer } = client, data = new TextEncoder().encode("new");
  const reader = await opened(peer, "/f", OpenFlag.READ), writer = await opened(peer, "/f", OpenFlag.WRITE);
  assertEquals(
    statusIn(await peer.ask(m.Write.encode({ id: 1, handle: reader, offset: 0n, data }))),
    Status.PERMISSION_DENIED,
  );
  assertEquals(
    statusIn(await peer.ask(m.Read.encode({ id: 1, handle: writer, offset: 0n, length: 5 }))),
    Status.PERMISSION_DENIED,
  );
  assertEquals(
    statusIn(await peer.ask(m.Fsetstat.encode({ id: 1, handle: reader, attrs: { size: 0 } }))),
    Status.PERMISSION_DENIED,
  );
  const tail = await opened(peer, "/f", OpenFlag.WRITE | OpenFlag.APPEND);
  assertEquals(statusIn(await peer.ask(m.Write.encode({ id: 1, handle: tail, offset: 0n, data }))), Status.OK);
  assertEquals(await Deno.readTextFile(`${dir.path}/f`), "oldnew");
});

Deno.test("row 132: duplicate ids each get an answer, in a state as if one after the other", async () => {
  await using dir = await tempDir();
  await using client = await raw({ root: dir.path });
  const { peer } = client, handle = await opened(peer, "/f", OpenFlag.READ | OpenFlag.WRITE | OpenFlag.CREAT);
  const parts: Uint8Array[] = [];
  // Overlapping writes, reads between them, and a close: sent at once, as if each had waited.
  for (let i = 0; i < 50; i++) {
    parts.push(framed(m.Write.encode({ id: 7, handle, offset: BigInt(i % 3), data: new Uint8Array(5).fill(i) })));
    parts.push(framed(m.Read.encode({ id: 7, handle, offset: BigInt(i % 3), length: 5 })));
  }
  parts.push(framed(m.Close.encode({ id: 7, handle })));
  await peer.raw(new Uint8Array(parts.flatMap((part) => Array.from(part))));
  for (let i = 0; i < 50; i++) {
    assertEquals(statusIn(await peer.next()), Status.OK);
    const reply = (await peer.next())!;
    assertEquals(idOf(reply), 7);
    assertEquals(Array.from(m.Data.decode(reply).data), new Array(5).fill(i));
  }
  assertEquals(statusIn(await peer.next()), Status.OK);
});

Deno.test("row 132: RENAME over a file fails, posix-rename does it", async () => {
  await using dir = await tempDir();
  await using client = await raw({ root: dir.path });
  const { peer } = client;
  for (const name of ["a", "b"]) await Deno.writeTextFile(`${dir.path}/${name}`, name);
  await Deno.mkdir(`${dir.path}/d1`);
  await Deno.mkdir(`${dir.path}/d2`);
  assertEquals(statusIn(await peer.ask(m.Rename.encode({ id: 1, oldPath: "/a", newPath: "/b" }))), Status.FAILURE);
  assertEquals(statusIn(await peer.ask(m.Rename.encode({ id: 1, oldPath: "/d1", newPath: "/d2" }))), Status.FAILURE);
  assertEquals(statusIn(await peer.ask(m.Rename.encode({ id: 1, oldPath: "/a", newPath: "/c" }))), Status.OK);
  const extension = Extension.posixRename;
  const posix = m.PosixRename.encode({ id: 1, extension, oldPath: "/c", newPath: "/b" });
  assertEquals(statusIn(await peer.ask(posix)), Status.OK);
  assertEquals(await Deno.readTextFile(`${dir.path}/b`), "a");
  assertEquals(statusIn(await peer.ask(m.Remove.encode({ id: 1, path: "/d1" }))), Status.FAILURE);
  assertEquals(statusIn(await peer.ask(m.Rmdir.encode({ id: 1, path: "/b" }))), Status.NO_SUCH_FILE);
  assertEquals(statusIn(await peer.ask(m.Rmdir.encode({ id: 1, path: "/d1" }))), Status.OK);
});

Deno.test("serveSftp() in read-only mode changes nothing", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/d`);
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  const before = (await Deno.stat(`${dir.path}/f`)).mode;
  await using peer = await ours({ root: dir.path, readOnly: true });
  const { sftp } = peer;
  assertEquals(await sftp.readTextFile("/f"), "x");
  for (
    const attempt of [
      () => sftp.writeTextFile("/f", "y"),
      () => sftp.writeTextFile("/new", "y"),
      () => sftp.open("/f", { read: true, write: true }),
      () => sftp.mkdir("/e"),
      () => sftp.remove("/f"),
      () => sftp.remove("/d"),
      () => sftp.rename("/f", "/g"),
      () => sftp.symlink("f", "/l"),
      () => sftp.link("/f", "/l"),
      () => sftp.chmod("/f", 0o777),
      () => sftp.truncate("/f", 0),
      () => sftp.utime("/f", 1, 1),
      () => sftp.setStat("/f", { mode: 0o777 }, { followLinks: false }),
      async () => {
        await using file = await sftp.open("/f");
        await file.setStat({ mode: 0o777 });
      },
    ]
  ) {
    const error = await assertRejects(attempt, SftpError);
    assertEquals(error.status, Status.PERMISSION_DENIED, attempt.toString());
  }
  assertEquals(await Array.fromAsync(sftp.readDir("/"), (entry) => entry.name).then((names) => names.sort()), [
    "d",
    "f",
  ]);
  assertEquals([await Deno.readTextFile(`${dir.path}/f`), (await Deno.stat(`${dir.path}/f`)).mode], ["x", before]);
});

Deno.test("serveSftp() serves any backend, tells its errors by status, and other mistakes to onError", async () => {
  const files = new Map([["/a", pattern(300_000)]]);
  const mistakes: unknown[] = [];
  const backend: SftpBackend = {
    open(path) {
      const data = files.get(path);
      if (data === undefined) throw new Deno.errors.NotFound("in the backend");
      return {
        readAt(p: Uint8Array, offset: number) {
          const part = data.subarray(offset, offset + p.length);
          p.set(part);
          return part.length;
        },
        writeAt() {
          throw new SftpError("Quota exceeded", Status.FAILURE);
        },
        stat: () => info(data.length),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      };
    },
    async *readDir() {},
    stat(path) {
      if (path === "/bug") throw new TypeError("oops");
      return info();
    },
  };
  const { near, far } = pipes();
  const served = serveSftp(far, backend, someone, { onError: (error) => mistakes.push(error) });
  const { openSftp } = await import("../../lib/sftp/client.ts");
  const sftp = await openSftp(near);
  assertEquals(await sftp.readFile("/a"), files.get("/a")!);
  assertEquals((await assertRejects(() => sftp.readFile("/b"), SftpError)).status, Status.NO_SUCH_FILE);
  await assertRejects(() => sftp.writeFile("/a", new Uint8Array(5)), SftpError, "Quota exceeded");
  assertEquals((await assertRejects(() => sftp.mkdir("/d"), SftpError)).status, Status.OP_UNSUPPORTED);
  const bug = await assertRejects(() => sftp.stat("/bug"), SftpError);
  assert(!bug.message.includes("oops"));
  assert(mistakes.length === 1 && mistakes[0] instanceof TypeError);
  assertEquals(sftp.server.extensions.has(Extension.posixRename), false);
  assertEquals(await sftp.realPath("x/.."), "/");
  await sftp.close();
  await served;
});

/** What a client may be doing when its session is ended: what it sends, and what it has open by then. */
const moments: Record<string, (peer: RawPeer, file: Uint8Array, listing: Uint8Array) => Promise<void>> = {
  "nothing": async () => {},
  "reading": (peer, handle) => peer.send(m.Read.encode({ id: 2, handle, offset: 0n, length: 200_000 })),
  "reading, 40 times over": async (peer, handle) => {
    const one = framed(m.Read.encode({ id: 2, handle, offset: 0n, length: 200_000 }));
    await peer.raw(new Uint8Array(Array.from({ length: 40 }, () => Array.from(one)).flat()));
  },
  "writing": (peer, handle) => peer.send(m.Write.encode({ id: 2, handle, offset: 0n, data: pattern(200_000) })),
  "writing, inside the packet": (peer, handle) =>
    peer.raw(framed(m.Write.encode({ id: 2, handle, offset: 0n, data: pattern(200_000) })).subarray(0, 70_000)),
  "listing": (peer, _file, handle) => peer.send(m.Readdir.encode({ id: 2, handle })),
  "opening": (peer) => peer.send(m.Open.encode({ id: 2, path: "/f", flags: OpenFlag.READ, attrs: {} })),
  "opening a directory": (peer) => peer.send(m.Opendir.encode({ id: 2, path: "/" })),
  "closing": (peer, handle) => peer.send(m.Close.encode({ id: 2, handle })),
  "syncing": (peer, handle) => peer.send(m.Fsync.encode({ id: 2, extension: Extension.fsync, handle })),
  "copying": async (peer, from) => {
    const to = await opened(peer, "/g", OpenFlag.WRITE | OpenFlag.CREAT);
    const range = { fromOffset: 0n, length: 0n, toOffset: 0n };
    await peer.send(m.CopyData.encode({ id: 2, extension: Extension.copyData, from, to, ...range }));
  },
};

for (const [what, doing] of Object.entries(moments)) {
  Deno.test(`serveSftp() ends with its signal in the middle of ${what}, and leaves nothing open`, async () => {
    await using dir = await tempDir();
    await Deno.writeFile(`${dir.path}/f`, pattern(1_000_000));
    for (let i = 0; i < 150; i++) await Deno.writeTextFile(`${dir.path}/entry${i}`, "");
    const before = descriptors(), { near, far } = pipes(), controller = new AbortController();
    const served = serveSftp(far, { root: dir.path }, someone, { signal: controller.signal });
    const peer = new RawPeer(near);
    await peer.ask(m.encodeVersion(Fxp.INIT, 3));
    const file = await opened(peer, "/f", OpenFlag.READ | OpenFlag.WRITE);
    const { handle: listing } = m.Handle.decode((await peer.ask(m.Opendir.encode({ id: 1, path: "/" })))!);
    await doing(peer, file, listing);
    controller.abort();
    await served;
    const left = descriptors();
    assert(left <= before, `${left - before} descriptors more are open`);
    await peer.end();
  });
}

Deno.test("random requests get an answer each or end the session with SshProtocolError", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/f`, pattern(1000));
  const { dice } = await import("../_support/sftp_peers.ts");
  const random = dice(2024), types = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 200, 77];
  const names = Object.values(Extension), paths = ["/f", "/d", "/d/x", "..", "/l", "", "/f/x"];
  const sessions = Number(Deno.env.get("AMIKO_FUZZ_SECONDS") ?? 0) > 0 ? 2000 : 60;
  for (let round = 0; round < sessions; round++) {
    await using client = await raw({ root: dir.path });
    for (let i = 0; i < 30; i++) {
      const type = types[random(types.length)]!, body = new Writer().u8(type).u32(i);
      if (type === 200) body.text(names[random(names.length)]!);
      for (let fields = random(5); fields > 0; fields--) {
        const kind = random(4);
        if (kind === 0) body.text(paths[random(paths.length)]!);
        else if (kind === 1) body.u32(random(16));
        else if (kind === 2) body.u64(BigInt(random(1000)));
        else body.u32(random(2 ** 32 - 1));
      }
      const reply = await client.peer.ask(body.bytes());
      assert(reply !== null && idOf(reply) === i);
    }
  }
});
