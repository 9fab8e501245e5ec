/** What is handed over to be served is looked at when it is handed over: misspelt methods and options, and roots that are not there. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { scpHandler, type SftpBackend, type SftpBackendFile, sftpSubsystem } from "../../mod.ts";
import { serveScp } from "../../lib/scp/server.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import { ours, pipes, someone, tempDir } from "../_support/sftp_peers.ts";

const stat = () => ({
  isFile: true,
  isDirectory: false,
  isSymlink: false,
  size: 3,
  mode: null,
  uid: null,
  gid: null,
  mtime: null,
  atime: null,
});
const file = (): SftpBackendFile => ({
  readAt: (p, offset) => {
    const part = new TextEncoder().encode("abc").subarray(offset, offset + p.length);
    p.set(part);
    return part.length;
  },
  writeAt: () => {},
  stat,
  [Symbol.asyncDispose]: () => Promise.resolve(),
});
/** The least that a backend has, without extended attributes. */
const least = {
  open: file,
  stat,
  async *readDir() {
    yield { name: "f", ...stat(), info: stat() };
  },
} satisfies SftpBackend;

/** Every place that takes something to serve. */
async function refused(options: unknown, ...words: string[]): Promise<void> {
  const served = options as SftpBackend, { near, far } = pipes();
  const errors = [
    assertThrows(() => sftpSubsystem(served), TypeError),
    assertThrows(() => scpHandler(served), TypeError),
    await assertRejects(() => serveSftp(far, served, someone), TypeError),
    await assertRejects(() => serveScp(near, "scp -t f", served, someone), TypeError),
  ];
  for (const { message } of errors) {
    for (const word of words) assert(message.includes(word), `${message} does not say ${word}`);
  }
}

Deno.test("a backend with a name that is none of SftpBackend's is refused, with the one that was meant", async () => {
  for (
    const [given, meant] of [
      ["mkDir", "mkdir"],
      ["MKDIR", "mkdir"],
      ["makeDir", "mkdir"],
      ["rmDir", "rmdir"],
      ["remvoe", "remove"],
      ["unlink", "remove"],
      ["delete", "remove"],
      ["renam", "rename"],
      ["symLink", "symlink"],
      ["simlink", "symlink"],
      ["hardlink", "link"],
      ["statvfs", "statfs"],
      ["statFs", "statfs"],
      ["setStats", "setStat"],
      ["chmod", "setStat"],
      ["real_path", "realPath"],
      ["usersgroups", "usersGroups"],
      ["homeDir", null],
      ["toString", null],
      ["helper", null],
    ] as const
  ) {
    const backend = { ...least, [given]: () => {} };
    if (meant === null) sftpSubsystem(backend as SftpBackend);
    else await refused(backend, `\`${given}\``, `\`${meant}\``);
    // Where there is the one that is meant, the other is the program's own.
    if (meant !== null) sftpSubsystem({ ...backend, [meant]: () => {} } as SftpBackend);
  }
  for (const [given, meant] of [["readdir", "readDir"], ["list", "readDir"], ["lstat", "stat"]] as const) {
    const { [meant]: method, ...rest } = least;
    await refused({ ...rest, [given]: method }, `\`${given}\``, `\`${meant}\``);
  }
});

Deno.test("a backend without the methods that each needs is refused, and one whose methods are none", async () => {
  const { open, readDir } = least;
  await refused({ open }, "`readDir`");
  await refused({ open, readDir }, "`stat`");
  await refused({ ...least, mkdir: true }, "`mkdir`", "a function");
  await refused({ ...least, remove: {} }, "`remove`", "a function");
  sftpSubsystem({ ...least, mkdir: undefined } as unknown as SftpBackend);
});

Deno.test("a class with methods of its own is a backend, but for a slip in the name of one that is missing", async () => {
  class Own implements SftpBackend {
    readonly root = "/not/a/root";
    open = (): SftpBackendFile => this.openFile();
    readDir = least.readDir;
    stat = stat;
    openFile(): SftpBackendFile {
      return file();
    }
    unlink(): void {}
    removeAll(): void {}
    lstat(): void {}
    stats(): void {}
    private list(): void {}
    protected makeDir(): void {
      this.list();
    }
  }
  sftpSubsystem(new Own());
  class More extends Own {
    mkdir(): void {}
    mkDir(): void {}
  }
  sftpSubsystem(new More());
  class Slip extends Own {
    reName(): void {}
  }
  await refused(new Slip(), "`reName`", "`rename`");
  class Below extends Slip {}
  await refused(new Below(), "`reName`", "`rename`");
});

Deno.test("requests reach methods by the names that they have on the wire, too", async () => {
  const asked: string[] = [];
  await using peer = await ours({
    ...least,
    setstat: (path) => void asked.push(`setstat ${path}`),
    realpath: (path) => `/real${path}`,
    readlink: (path) => `${path}-target`,
  });
  await peer.sftp.chmod("/f", 0o600);
  assertEquals(await peer.sftp.realPath("f"), "/real/f");
  assertEquals(await peer.sftp.readLink("/f"), "/f-target");
  assertEquals(asked, ["setstat /f"]);
});

Deno.test("a backend needs no extended attributes", async () => {
  await using peer = await ours(least);
  assertEquals((await peer.sftp.stat("/f")).size, 3);
  assertEquals((await peer.sftp.stat("/f")).extended, new Map());
  assertEquals(await Array.fromAsync(peer.sftp.readDir("/"), ({ name }) => name), ["f"]);
  assertEquals(await peer.sftp.readTextFile("/f"), "abc");
});

Deno.test("what is neither a root nor a backend is refused in words", async () => {
  const all: unknown[] = [
    undefined,
    null,
    "/srv",
    5,
    [],
    () => {},
    {},
    { root: undefined },
    { root: 5 },
    { root: "" },
    {
      root: "a\0b",
    },
    { root: new URL("file:///srv") },
  ];
  for (const options of all) await refused(options, "Cannot");
  for (const name of ["path", "dir", "directory", "cwd", "Root"]) {
    await refused({ [name]: "/" }, `\`${name}\``, "`root`");
  }
  // A server that was meant to change nothing must not come up as one that does.
  for (const name of ["readonly", "read_only", "readOnyl"]) {
    await refused({ root: "/", [name]: true }, `\`${name}\``, "`readOnly`");
  }
  for (const readOnly of ["no", 1, null]) await refused({ root: "/", readOnly }, "`readOnly`", "true or false");
});

Deno.test("sftpSubsystem() and scpHandler() fail at once for a root that is not there, or no directory", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "f");
  await Deno.symlink("none", `${dir.path}/l`);
  for (const make of [sftpSubsystem, scpHandler]) {
    for (const name of ["none", "f", "l", "f/x"]) {
      const error = assertThrows(
        () => make({ root: `${dir.path}/${name}` }),
        TypeError,
        `Cannot serve "${dir.path}/${name}"`,
      );
      assert(error.message.includes("director"), error.message);
    }
    assertEquals(typeof make({ root: dir.path }), "function");
    assertEquals(typeof make({ root: `${dir.path}/`, readOnly: true }), "function");
    assertEquals(typeof make({ root: dir.path, readOnly: undefined }), "function");
  }
});

Deno.test({
  name: "sftpSubsystem() says which permission it lacks",
  permissions: { read: false },
  fn() {
    assertThrows(() => sftpSubsystem({ root: "/" }), TypeError, "--allow-read");
  },
});
