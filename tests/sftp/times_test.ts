/** Times that the wire cannot carry: before 1970, beyond 2106, and beyond what a `Date` can tell. SCP and SFTP, both sides. */
import { assert, assertEquals } from "@std/assert";
import type { SftpFileInfo } from "../../lib/files/file_info.ts";
import type { SftpBackend } from "../../lib/files/backend.ts";
import { scpDownload, scpUpload } from "../../lib/scp/scp.ts";
import { serveScp } from "../../lib/scp/server.ts";
import { scpCommand } from "../../lib/scp/command.ts";
import { parseControl } from "../../lib/scp/stream.ts";
import type { SftpChannel } from "../../lib/sftp/wire/channel.ts";
import { isMissing, ours, pipes, someone, tempDir } from "../_support/sftp_peers.ts";

const SCP = "/usr/bin/scp", text = new TextEncoder();

/** Seconds since 1970 of a file, and what SCP and SFTP make of them. */
const cases = [
  { seconds: -152_668_800, scp: 0, sftp: 0 },
  { seconds: -1, scp: 0, sftp: 0 },
  { seconds: 0, scp: 0, sftp: 0 },
  { seconds: 2 ** 31 + 7, scp: 2 ** 31 + 7, sftp: 2 ** 31 + 7 },
  { seconds: 2 ** 32 - 1, scp: 2 ** 32 - 1, sftp: 2 ** 32 - 1 },
  { seconds: 2 ** 32 + 5, scp: 2 ** 32 + 5, sftp: 2 ** 32 - 1 },
  { seconds: 5_680_281_600, scp: 5_680_281_600, sftp: 2 ** 32 - 1 },
];

/** The other side of an exchange: OpenSSH's `scp` or our server, in a directory. */
type Peer = (command: string, root: string) => { readonly channel: SftpChannel; readonly code: Promise<number> };
const peers: Record<string, Peer> = {
  "our server": (command, root) => {
    const { near, far } = pipes();
    return { channel: near, code: serveScp(far, command, { root }, someone) };
  },
  ...isMissing(SCP) ? {} : {
    "OpenSSH's scp": (command: string, root: string) => {
      const child = new Deno.Command("/bin/sh", {
        args: ["-c", command],
        cwd: root,
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
      }).spawn();
      return { channel: { readable: child.stdout, writable: child.stdin }, code: child.status.then((s) => s.code) };
    },
  },
};

async function secondsOf(path: string): Promise<number> {
  return (await Deno.stat(path)).mtime!.getTime() / 1000;
}

for (const [name, peer] of Object.entries(peers)) {
  // S15
  Deno.test(`SCP with preserve copies files of every time, in a directory of such a time, both ways (${name})`, async () => {
    await using dir = await tempDir();
    const tree = `${dir.path}/tree`, remote = `${dir.path}/remote`, options = { recursive: true, preserve: true };
    for (const path of [tree, remote]) await Deno.mkdir(path);
    for (const { seconds } of cases) {
      await Deno.writeTextFile(`${tree}/${seconds}`, String(seconds));
      await Deno.utime(`${tree}/${seconds}`, seconds, seconds);
      // The file system may hold less.
      assertEquals(await secondsOf(`${tree}/${seconds}`), seconds);
    }
    await Deno.utime(tree, -5000, -5000);
    const up = peer(scpCommand("to", ".", options), remote);
    assertEquals((await scpUpload(up.channel, tree, options)).files, cases.length);
    assertEquals(await up.code, 0);
    const down = peer(scpCommand("from", "tree", options), dir.path);
    assertEquals((await scpDownload(down.channel, "tree", `${dir.path}/back`, options)).files, cases.length);
    assertEquals(await down.code, 0);
    for (const copy of [`${remote}/tree`, `${dir.path}/back`]) {
      assertEquals(await secondsOf(copy), 0);
      for (const { seconds, scp } of cases) {
        assertEquals(await Deno.readTextFile(`${copy}/${seconds}`), String(seconds));
        assertEquals(await secondsOf(`${copy}/${seconds}`), scp, `${copy}/${seconds}`);
      }
    }
  });
}

Deno.test("T lines of every system's times are taken, and those beyond what a Date can tell as its last second", () => {
  const last = 8_640_000_000_000;
  for (
    const [line, mtime, atime] of [
      ["T0 0 4294967301 0", 0, 4_294_967_301],
      ["T99999999999999 0 18446744073709551615 0", last, last],
      ["T8640000000000 999999 1 0", last, 1],
    ] as const
  ) assertEquals(parseControl(text.encode(line)), { kind: "times", mtime, atime });
});

Deno.test("SFTP tells times outside of its 32 bits as the first or the last second there is, and keeps the listing", async () => {
  await using dir = await tempDir();
  for (const { seconds } of cases) {
    await Deno.writeTextFile(`${dir.path}/${seconds}`, "");
    await Deno.utime(`${dir.path}/${seconds}`, seconds, seconds);
  }
  await using peer = await ours({ root: dir.path });
  const { sftp } = peer, listed = new Map<string, SftpFileInfo>();
  for await (const entry of sftp.readDir("/")) listed.set(entry.name, entry.info);
  assertEquals(listed.size, cases.length);
  for (const { seconds, sftp: wanted } of cases) {
    const path = `/${seconds}`;
    await using file = await sftp.open(path);
    for (const found of [listed.get(`${seconds}`)!, await sftp.stat(path), await sftp.lstat(path), await file.stat()]) {
      assertEquals([found.mtime!.getTime() / 1000, found.atime!.getTime() / 1000], [wanted, wanted], path);
    }
    await sftp.utime(path, seconds, seconds);
    assertEquals(await secondsOf(dir.path + path), wanted);
  }
});

Deno.test("a file whose time no Date can tell is listed, served and copied like any other", async () => {
  const info = (name: string): SftpFileInfo => ({
    isFile: name !== "/",
    isDirectory: name === "/",
    isSymlink: false,
    size: 3,
    mtime: new Date(name === "/b" ? NaN : 5000),
    atime: name === "/c" ? new Date(NaN) : null,
    mode: null,
    uid: null,
    gid: null,
    extended: new Map(),
  });
  const backend: SftpBackend = {
    open: (path) => ({
      readAt: (p, offset) => offset > 0 ? 0 : new TextEncoder().encodeInto("abc", p).written,
      writeAt: () => {},
      stat: () => info(path),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
    async *readDir() {
      for (const name of ["a", "b", "c", "d"]) {
        yield { name, isFile: true, isDirectory: false, isSymlink: false, info: info(`/${name}`) };
      }
    },
    stat: info,
  };
  await using peer = await ours(backend);
  const names = await Array.fromAsync(peer.sftp.readDir("/"), ({ name, info }) => `${name} ${info.mtime?.getTime()}`);
  assertEquals(names, ["a 5000", "b 0", "c 5000", "d 5000"]);
  assertEquals((await peer.sftp.stat("/b")).mtime!.getTime(), 0);
  await using dir = await tempDir();
  const { near, far } = pipes(), options = { recursive: true, preserve: true };
  const code = serveScp(far, scpCommand("from", "/", options), backend, someone);
  assertEquals((await scpDownload(near, "/", `${dir.path}/copy`, options)).files, 4);
  assertEquals(await code, 0);
  assertEquals(await Promise.all(["b", "c"].map((name) => secondsOf(`${dir.path}/copy/${name}`))), [0, 5]);
  assert(isMissing(`${dir.path}/copy`));
});
