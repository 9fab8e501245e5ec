/** The server over backends that others write: what they throw, return and leave open. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { info } from "../_support/file_info.ts";
import { connect, insecureAcceptAnyHostKey, none, parsePrivateKey, serve, sftpSubsystem } from "../../mod.ts";
import { SftpError } from "../../lib/errors.ts";
import type { SftpBackend, SftpBackendFile } from "../../lib/files/backend.ts";
import { openSftp, type SftpClient } from "../../lib/sftp/client.ts";
import { Fxp, OpenFlag } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import type { SftpDirEntry } from "../../lib/files/file_info.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import { testKeys } from "../_support/keys.ts";
import { begin, ours, pattern, pipes, someone, statusIn } from "../_support/sftp_peers.ts";

/** The shortest backend that is of use: files of one directory, in memory. */
function memory(files: Map<string, Uint8Array>): SftpBackend {
  const get = (path: string): Uint8Array => {
    const data = files.get(path);
    if (data === undefined) throw new Deno.errors.NotFound(path);
    return data;
  };
  return {
    open(path, options) {
      if (options.createNew && files.has(path)) throw new Deno.errors.AlreadyExists(path);
      if (options.truncate || options.create && !files.has(path)) files.set(path, new Uint8Array());
      get(path);
      return {
        readAt(p: Uint8Array, offset: number) {
          const part = get(path).subarray(offset, offset + p.length);
          p.set(part);
          return part.length;
        },
        writeAt(p: Uint8Array, offset: number) {
          const old = get(path), data = new Uint8Array(Math.max(old.length, offset + p.length));
          data.set(old);
          data.set(p, offset);
          files.set(path, data);
        },
        stat: () => info(get(path).length),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      };
    },
    async *readDir() {
      for (const [path, { length }] of files) {
        yield { name: path.slice(1), isFile: true, isDirectory: false, isSymlink: false, info: info(length) };
      }
    },
    stat: (path) => path === "/" ? info(0, true) : info(get(path).length),
    remove: (path: string) => void (get(path), files.delete(path)),
    setStat(path: string, { size }: { size?: number }) {
      const data = new Uint8Array(size ?? get(path).length);
      data.set(get(path).subarray(0, data.length));
      files.set(path, data);
    },
  };
}

Deno.test("serveSftp() serves a backend in memory of thirty lines", async () => {
  const files = new Map<string, Uint8Array>();
  await using peer = await ours(memory(files));
  const { sftp } = peer, large = pattern(700_000);
  await sftp.writeFile("/a", large);
  assertEquals(await sftp.readFile("a"), large);
  assertEquals((await sftp.stat("/a")).size, 700_000);
  assertEquals(await Array.fromAsync(sftp.readDir("."), ({ name }) => name), ["a"]);
  await sftp.writeTextFile("/a", "end", { append: true });
  assertEquals(files.get("/a")!.length, 700_003);
  assertEquals((await assertRejects(() => sftp.stat("/b"), SftpError)).status, Status.NO_SUCH_FILE);
  await assertRejects(() => sftp.open("/a", { write: true, createNew: true }), SftpError);
  await sftp.truncate("/a", 5);
  assertEquals(files.get("/a"), large.subarray(0, 5));
  await sftp.remove("/a");
  assertEquals(files.size, 0);
  assertEquals((await assertRejects(() => sftp.mkdir("/d"), SftpError)).status, Status.OP_UNSUPPORTED);
  assertEquals((await assertRejects(() => sftp.symlink("a", "/l"), SftpError)).status, Status.OP_UNSUPPORTED);
});

Deno.test("serveSftp() changes an open file by the backend's setStat() where the file has none of its own", async () => {
  const files = new Map([["/a", pattern(10)]]);
  const backend = memory(files);
  await using peer = await ours(backend);
  // fstatvfs falls back to statfs() in the same way. What WinSCP, SSHFS and `sftp put -p` send after an upload is FSETSTAT.
  await using file = await peer.sftp.open("/a", { read: true, write: true });
  await file.truncate(4);
  assertEquals(files.get("/a"), pattern(10).subarray(0, 4));
});

Deno.test("serveSftp() maps what a backend throws to the status of its kind", async () => {
  const { errors } = Deno;
  const kinds: readonly [unknown, number][] = [
    [new errors.NotFound(), Status.NO_SUCH_FILE],
    [new errors.NotADirectory(), Status.NO_SUCH_FILE],
    [new errors.FilesystemLoop(), Status.NO_SUCH_FILE],
    [new errors.PermissionDenied(), Status.PERMISSION_DENIED],
    [new errors.NotCapable(), Status.PERMISSION_DENIED],
    [new errors.AlreadyExists(), Status.FAILURE],
    [new errors.IsADirectory(), Status.FAILURE],
    [new errors.Busy(), Status.FAILURE],
    [new errors.NotSupported(), Status.OP_UNSUPPORTED],
    [new SftpError("mine", Status.BAD_MESSAGE), Status.BAD_MESSAGE],
    [new SftpError("mine", 77), 77],
    [new SftpError("mine", Status.OK), Status.FAILURE],
    [new SftpError("mine", -1), Status.FAILURE],
    [Object.assign(new Error(), { code: "EACCES" }), Status.PERMISSION_DENIED],
    [Object.assign(new Error(), { code: "ENOTEMPTY" }), Status.FAILURE],
    ["a string", Status.FAILURE],
    [undefined, Status.FAILURE],
  ];
  const mistakes: unknown[] = [];
  for (const [error, status] of kinds) {
    const fail = (): never => {
      throw error;
    };
    const rejects = (): Promise<never> => Promise.reject(error);
    for (const stat of [fail, rejects]) {
      const { peer, served } = await begin({ ...memory(new Map()), stat }, { onError: (e) => mistakes.push(e) });
      assertEquals(statusIn(await peer.ask(m.Stat.encode({ id: 1, path: "/x" }))), status, String(error));
      await peer.end();
      await served;
    }
  }
  assertEquals(mistakes, ["a string", "a string", undefined, undefined]);
});

Deno.test("serveSftp() goes on when onError throws or rejects", async () => {
  const bug = new TypeError("mine");
  const stat = (): never => {
    throw bug;
  };
  for (const fail of [stat, () => Promise.reject(bug)]) {
    let told = 0;
    const { peer, served } = await begin({ ...memory(new Map()), stat }, {
      onError: () => {
        told++;
        return fail();
      },
    });
    for (const id of [1, 2]) {
      assertEquals(statusIn(await peer.ask(m.Stat.encode({ id, path: "/x" }))), Status.FAILURE);
      assertEquals(told, id);
    }
    await peer.end();
    await served;
  }
});

Deno.test("serveSftp() tells onError of a mistake in a backend that has a code", async () => {
  const mistakes: unknown[] = [];
  const bug = Object.assign(new TypeError("The argument must be of type string"), { code: "ERR_INVALID_ARG_TYPE" });
  const stat = (): never => {
    throw bug;
  };
  const { peer, served } = await begin({ ...memory(new Map()), stat }, { onError: (error) => mistakes.push(error) });
  assertEquals(statusIn(await peer.ask(m.Stat.encode({ id: 1, path: "/x" }))), Status.FAILURE);
  await peer.end();
  await served;
  assertEquals(mistakes, [bug]);
});

Deno.test("serveSftp() tells onError of files that cannot be closed when the session ends", async () => {
  const mistakes: unknown[] = [], bug = new TypeError("not flushed");
  const backend: SftpBackend = {
    ...memory(new Map()),
    open: () => ({
      readAt: () => 0,
      writeAt: () => {},
      stat: () => info(0),
      [Symbol.asyncDispose]: () => Promise.reject(bug),
    }),
  };
  const { peer, served } = await begin(backend, { onError: (error) => mistakes.push(error) });
  await peer.ask(m.Open.encode({ id: 1, path: "/x", flags: OpenFlag.WRITE, attrs: {} }));
  await peer.end();
  await served;
  assertEquals(mistakes, [bug]);
});

/** `serve()` with these files, and a client of it. */
async function served(
  backend: SftpBackend,
  use: (client: Awaited<ReturnType<typeof connect>>) => Promise<void>,
): Promise<unknown[]> {
  const { host } = await testKeys(), errors: unknown[] = [];
  await using server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await parsePrivateKey(host.ed25519.text)],
    auth: { none: () => true },
    subsystems: { sftp: sftpSubsystem(backend) },
    onError: (error) => errors.push(error),
  });
  await using client = await connect({
    hostname: "127.0.0.1",
    port: server.addr.port,
    username: "tester",
    auth: [none()],
    verifyHostKey: insecureAcceptAnyHostKey(),
  });
  await use(client);
  return errors.filter((error) => error instanceof TypeError);
}

Deno.test("sftpSubsystem() tells the server's onError of a mistake in the backend", async () => {
  const bug = new TypeError("Cannot read properties of undefined");
  const stat = (): never => {
    throw bug;
  };
  const errors = await served({ ...memory(new Map()), stat }, async (client) => {
    await using sftp = await client.sftp();
    await assertRejects(() => sftp.stat("/x"), SftpError);
  });
  assertEquals(errors, [bug]);
});

Deno.test("serveSftp() takes what a backend returns at once, later, or as any thenable", async () => {
  const files = new Map([["/a", pattern(1000)]]), plain = memory(files);
  // A query of Prisma or Knex is a thenable, and no Promise.
  const ways: readonly (<T>(value: T) => T)[] = [
    (value) => value,
    (value) => Promise.resolve(value) as never,
    (value) => ({ then: (done: (value: unknown) => void) => done(value) }) as never,
  ];
  for (const way of ways) {
    const backend: SftpBackend = {
      ...plain,
      stat: (...args) => way(plain.stat(...args)),
      open(...args) {
        const file = plain.open(...args) as SftpBackendFile;
        return way({
          readAt: (p: Uint8Array, offset: number) => way(file.readAt(p, offset)),
          writeAt: (p: Uint8Array, offset: number) => way(file.writeAt(p, offset)),
          stat: () => way(file.stat()),
          [Symbol.asyncDispose]: () => way(Promise.resolve()),
        });
      },
      readLink: () => way("target"),
      realPath: (path: string) => way(path),
      homeDirectory: () => way("/home"),
      statfs: () => way({ f_bsize: 4096n }),
    };
    const mistakes: unknown[] = [], { near, far } = pipes();
    const running = serveSftp(far, backend, someone, { onError: (error) => mistakes.push(error) });
    running.catch(() => {});
    const sftp: SftpClient = await openSftp(near);
    assertEquals((await sftp.stat("/a")).size, 1000, String(way));
    assertEquals(await sftp.readFile("/a"), pattern(1000));
    await sftp.writeFile("/b", pattern(50));
    await sftp.writeFile("/b", pattern(5), { append: true });
    assertEquals(files.get("/b")!.length, 55);
    assertEquals(await sftp.readLink("/a"), "target");
    assertEquals(await sftp.realPath("/a"), "/a");
    assertEquals(await sftp.homeDirectory(), "/home");
    assertEquals((await sftp.statfs("/")).raw.f_bsize, 4096n);
    await sftp.close();
    await running;
    assertEquals(mistakes, []);
  }
});

Deno.test("serveSftp() answers writes in the order they were asked for, whichever ends first", async () => {
  const waits = [30, 0, 10, 0, 0], order: number[] = [];
  const backend: SftpBackend = {
    ...memory(new Map()),
    open: () => ({
      readAt: () => 0,
      writeAt: (_p: Uint8Array, offset: number) => {
        const wait = waits[offset / 10]!, done = () => void order.push(offset / 10);
        if (offset === 40) throw new Deno.errors.PermissionDenied();
        return wait === 0 ? done() : new Promise<void>((resolve) => setTimeout(resolve, wait)).then(done);
      },
      stat: () => info(0),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
  };
  const { peer, served } = await begin(backend);
  const opened = await peer.ask(m.Open.encode({ id: 1, path: "/x", flags: OpenFlag.WRITE, attrs: {} }));
  const { handle } = m.Handle.decode(opened!);
  for (let i = 0; i < 5; i++) {
    await peer.send(m.Write.encode({ id: 10 + i, handle, offset: BigInt(10 * i), data: new Uint8Array(10) }));
  }
  const replies: [number, number][] = [];
  for (let i = 0; i < 5; i++) {
    const { id, status } = m.StatusReply.decode((await peer.next())!);
    replies.push([id, status]);
  }
  assertEquals(replies, [[10, 0], [11, 0], [12, 0], [13, 0], [14, Status.PERMISSION_DENIED]]);
  assertEquals(order, [1, 3, 2, 0]);
  await peer.end();
  await served;
});

Deno.test("serveSftp() closes a listing that is left before its end, however that comes about", async () => {
  for (const end of ["CLOSE", "the session", "the signal"]) {
    let returned = 0;
    const entry: SftpDirEntry = { name: "x", isFile: true, isDirectory: false, isSymlink: false, info: info(0) };
    const iterator: AsyncIterator<SftpDirEntry> = {
      next: () => Promise.resolve({ done: false, value: entry }),
      return: () => Promise.resolve({ done: true, value: (returned++, undefined) }),
    };
    const controller = new AbortController();
    const backend = { ...memory(new Map()), readDir: () => ({ [Symbol.asyncIterator]: () => iterator }) };
    const { peer, served } = await begin(backend, { signal: controller.signal });
    const { handle } = m.Handle.decode((await peer.ask(m.Opendir.encode({ id: 1, path: "/" })))!);
    assertEquals((await peer.ask(m.Readdir.encode({ id: 1, handle })))![0], Fxp.NAME);
    if (end === "CLOSE") assertEquals(statusIn(await peer.ask(m.Close.encode({ id: 1, handle }))), Status.OK);
    if (end === "the signal") controller.abort();
    await peer.end();
    await served;
    assertEquals(returned, 1, end);
  }
});

Deno.test("serveSftp() passes over a name that no bytes stand for, and lists what follows", async () => {
  const names = ["first", "lone \ud800", "last"];
  const backend: SftpBackend = {
    ...memory(new Map()),
    async *readDir() {
      for (const name of names) yield { name, isFile: true, isDirectory: false, isSymlink: false, info: info(0) };
    },
  };
  await using peer = await ours(backend);
  assertEquals(await Array.fromAsync(peer.sftp.readDir("/"), ({ name }) => name), ["first", "last"]);
});

Deno.test("serveSftp() takes null from readAt() for the end, as Deno.FsFile.read() gives it", async () => {
  const backend: SftpBackend = {
    ...memory(new Map()),
    open: () => ({
      readAt: () => null as unknown as number,
      writeAt: () => {},
      stat: () => info(0),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
  };
  const { peer, served } = await begin(backend);
  const opened = await peer.ask(m.Open.encode({ id: 1, path: "/x", flags: OpenFlag.READ, attrs: {} }));
  const { handle } = m.Handle.decode(opened!);
  for (const length of [100, 100_000]) {
    // DATA of no bytes is what a client may ask for again without end.
    const reply = await peer.ask(m.Read.encode({ id: 2, handle, offset: 0n, length }));
    assert(reply![0] === Fxp.STATUS, `packet type ${reply![0]}`);
    assertEquals(statusIn(reply), Status.EOF);
  }
  await peer.end();
  await served;
});

Deno.test("serveSftp() makes no packet that is too long, whatever a backend gives: extended attributes, links, names of users", async () => {
  const told: unknown[] = [];
  const withExtended = (length: number): SftpDirEntry["info"] => ({
    ...info(1),
    extended: new Map([["user.a@b", new Uint8Array(length)]]),
  });
  const backend: SftpBackend = {
    ...memory(new Map()),
    async *readDir() {
      for (let i = 0; i < 150; i++) {
        yield { name: `f${i}`, isFile: true, isDirectory: false, isSymlink: false, info: withExtended(4000) };
      }
      yield { name: "last", isFile: true, isDirectory: false, isSymlink: false, info: withExtended(400_000) };
    },
    stat: (path) => withExtended(path === "/much" ? 400_000 : 4000),
    readLink: () => "x".repeat(200_000),
    usersGroups: (uids, gids) => ({ users: uids.map(() => "some user"), groups: gids.map(() => "group") }),
  };
  const { near, far } = pipes(), served = serveSftp(far, backend, someone, { onError: (error) => told.push(error) });
  const sftp = await openSftp(near);
  const entries = await Array.fromAsync(sftp.readDir("/"), ({ name, info }) => `${name} ${info.extended.size}`);
  assertEquals(entries, [...Array.from({ length: 150 }, (_, i) => `f${i} 1`), "last 0"]);
  assertEquals((await sftp.stat("/some")).extended, new Map([["user.a@b", new Uint8Array(4000)]]));
  assertEquals((await sftp.stat("/much")).extended, new Map());
  const many = new Array<number>(30_000).fill(1);
  for (const ask of [() => sftp.readLink("/l"), () => sftp.usersGroups(many, [])]) {
    const { status } = await assertRejects(ask, SftpError);
    assertEquals([status, told.splice(0).map((error) => error instanceof RangeError)], [Status.FAILURE, [true]]);
  }
  assertEquals((await sftp.usersGroups([1], [2])).users, ["some user"]);
  await sftp.close();
  await served;
});
