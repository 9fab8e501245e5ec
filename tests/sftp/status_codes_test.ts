/** Numbers of versions 4 to 6 in sessions of version 3: what they mean decides, wherever something depends on a status. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import type { SftpBackend } from "../../lib/files/backend.ts";
import { Extension } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import { meaningOf, refusalOfStatus } from "../../lib/files/refusals.ts";
import { statusError } from "../../lib/sftp/remote/errors.ts";
import { type Fault, fileNode, memoryFiles, type Node, refusing } from "../_support/refusing_server.ts";
import { namesBelow, ours, tempDir } from "../_support/sftp_peers.ts";

const directory = (): Node => ({ kind: "directory", mode: 0o755, mtime: 0, atime: 0 });

/** Whatever servers may say of a parent that is missing. */
const ofMissing = [2, 3, 4, 5, 10, 19, 20, 21, 23, 99];
/** Whatever they may say of what is there already. */
const ofExisting = [3, 4, 5, 11, 24, 99];

/** Files in memory, whose MKDIR tells of both by these numbers. */
function making(missing: number, existing: number): { backend: SftpBackend; nodes: Map<string, Node> } {
  const { backend, nodes } = memoryFiles();
  return {
    nodes,
    backend: {
      ...backend,
      mkdir(path, options, info) {
        try {
          return backend.mkdir!(path, options, info);
        } catch (error) {
          throw new SftpError("No", error instanceof Deno.errors.NotFound ? missing : existing);
        }
      },
    },
  };
}

// S11
Deno.test("mkdir({ recursive }) and upload() of a tree make parents by whatever number a server tells of one that is missing, or there", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/tree/sub`, { recursive: true });
  await Deno.writeTextFile(`${dir.path}/tree/sub/f`, "f");
  for (const missing of ofMissing) {
    for (const existing of ofExisting) {
      const { backend, nodes } = making(missing, existing), what = `${missing} and ${existing}`;
      await using peer = await ours(backend);
      nodes.set("/a", directory());
      for (let times = 0; times < 2; times++) await peer.sftp.mkdir("/a/b/c/d", { recursive: true });
      assertEquals([...nodes.keys()].sort(), ["/", "/a", "/a/b", "/a/b/c", "/a/b/c/d"], what);
      for (let times = 0; times < 2; times++) {
        assertEquals((await peer.sftp.upload(`${dir.path}/tree`, "/x/y/tree", { recursive: true })).files, 1, what);
      }
      assertEquals(nodes.get("/x/y/tree/sub/f")?.kind, "file", what);
      // A file is no directory, whatever the server says of it.
      nodes.set("/file", fileNode(new Uint8Array(1)));
      const error = await assertRejects(() => peer.sftp.mkdir("/file", { recursive: true }), SftpError);
      assertEquals(error.status, existing);
    }
  }
});

// S1, S11
Deno.test("mkdir({ recursive }) finds a directory that is there though STAT is refused, by OPENDIR or by what MKDIR says", async () => {
  for (const refused of [2, 3, 4, 8, 10]) {
    for (const [existing, kinds] of [[4, ["STAT"]], [3, ["STAT"]], [11, ["STAT", "OPENDIR"]]] as const) {
      // Where the server says that there is nothing, and not that it exists, it is taken at its word.
      if (refusalOfStatus(refused) === "missing" && existing !== 11) continue;
      const files = making(2, existing);
      files.nodes.set("/a", directory());
      files.nodes.set("/a/b", directory());
      const fault = (kind: string): Fault | null =>
        (kinds as readonly string[]).includes(kind) ? { status: refused } : null;
      await using peer = await refusing(files, fault);
      await peer.sftp.mkdir("/a/b/c", { recursive: true });
      await peer.sftp.mkdir("/a/b/c", { recursive: true });
      assertEquals([...files.nodes.keys()], ["/", "/a", "/a/b", "/a/b/c"]);
      assertEquals(peer.open(), 0);
    }
  }
});

Deno.test("mkdir({ recursive }) gives up where a server makes no directories, with what it said of the path asked for", async () => {
  for (const status of [Status.PERMISSION_DENIED, Status.OP_UNSUPPORTED, 12, 14]) {
    const files = memoryFiles();
    await using peer = await refusing(files, (kind) => kind === "MKDIR" ? { status } : null);
    const error = await assertRejects(() => peer.sftp.mkdir("/a/b", { recursive: true }), SftpError);
    assertEquals(error.status, status);
    assert(peer.asked.filter((kind) => kind === "MKDIR").length <= 2, peer.asked.join());
  }
});

// S12
Deno.test("remove() takes a directory away whatever a server says to REMOVE and to LSTAT, and no file by RMDIR", async () => {
  const said = [1, 2, 3, 4, 5, 8, 10, 11, 19, 22, 24, 99];
  for (const status of said) {
    for (const looked of [null, 2, 3, 4, 8, 10]) {
      const files = memoryFiles(), { nodes } = files;
      nodes.set("/d", directory());
      nodes.set("/f", fileNode(new Uint8Array(1)));
      const { backend } = files, tried: string[] = [];
      const own: SftpBackend = {
        ...backend,
        rmdir(path, info) {
          tried.push(path);
          if (nodes.get(path)?.kind !== "directory") throw new SftpError("No", 19);
          if ([...nodes.keys()].some((name) => name.startsWith(`${path}/`))) throw new SftpError("No", 18);
          return backend.rmdir!(path, info);
        },
      };
      const fault = (kind: string): Fault | null =>
        kind === "REMOVE" ? { status } : kind === "LSTAT" && looked !== null ? { status: looked } : null;
      await using peer = await refusing({ backend: own }, fault);
      const { sftp } = peer, saysNothing = (code: number): boolean => [2, 10, 19, 21].includes(code);
      for (const options of [{}, { recursive: true }]) {
        nodes.set("/d", directory());
        // Where both say that there is nothing, there is nothing to be taken away.
        if (saysNothing(status) && looked !== null && saysNothing(looked)) {
          await assertRejects(() => sftp.remove("/d", options), SftpError);
          nodes.delete("/d");
        } else await sftp.remove("/d", options);
      }
      assertEquals([...nodes.keys()], ["/", "/f"], `${status} ${looked}`);
      for (const path of ["/f", "/none"]) {
        const error = await assertRejects(() => sftp.remove(path), SftpError, `Cannot remove "${path}"`);
        assertEquals(error.status, status);
      }
      assertEquals(nodes.has("/f"), true);
      if (looked === null) assertEquals(tried.includes("/f"), false);
    }
  }
});

Deno.test("a directory that is not empty stays, and the error says what takes it away, by version 3's number and by the later one", async () => {
  for (const status of [Status.FAILURE, 18]) {
    const files = memoryFiles();
    files.nodes.set("/d", directory());
    await using peer = await refusing(files, (kind) => kind === "RMDIR" ? { status } : null);
    const error = await assertRejects(() => peer.sftp.remove("/d"), SftpError, "recursive: true");
    assert(error.message.includes("not be empty") || error.message.includes("not empty"), error.message);
  }
});

Deno.test("glob() passes over what cannot be listed, and what is not there, by whatever number a server says it", async () => {
  for (const status of [2, 3, 4, 10, 12, 19, 20, 21, 24, 99]) {
    const { backend, nodes } = memoryFiles();
    for (const name of ["/a1", "/a2"]) nodes.set(name, directory());
    nodes.set("/a2/x", fileNode(new Uint8Array(1)));
    nodes.set("/a3", fileNode(new Uint8Array(1)));
    const refuse = (): never => {
      throw new SftpError("No", status);
    };
    await using peer = await ours({
      ...backend,
      readDir: (path, info) => nodes.get(path)?.kind === "directory" ? backend.readDir(path, info) : refuse(),
      stat: (path, follow, info) => nodes.has(path) ? backend.stat(path, follow, info) : refuse(),
    });
    const found = async (pattern: string) => await Array.fromAsync(peer.sftp.glob(pattern));
    assertEquals(await found("/a?/*"), ["/a2/x"], String(status));
    assertEquals(await found("/{a1,a2,a3}/{x,*}"), ["/a2/x"], String(status));
    assertEquals(await found("/a?/x"), ["/a2/x"], String(status));
    assertEquals(await found("/none"), [], String(status));
  }
});

Deno.test("glob() looks by STAT where a server has no LSTAT", async () => {
  const files = memoryFiles();
  files.nodes.set("/f", fileNode(new Uint8Array(1)));
  await using peer = await refusing(files, (kind) => kind === "LSTAT" ? { status: Status.OP_UNSUPPORTED } : null);
  assertEquals(await Array.fromAsync(peer.sftp.glob("/{f,g}")), ["/f"]);
});

Deno.test("download() takes for a glob what a server cannot have as a name, whatever it says of it", async () => {
  await using dir = await tempDir();
  for (const status of [2, 4, 5, 10, 20, 23]) {
    const { backend, nodes } = memoryFiles();
    nodes.set("/a.txt", fileNode(new Uint8Array(3)));
    const stat: SftpBackend["stat"] = (path, follow, info) => {
      if (path.includes("*")) throw new SftpError("No", status);
      return backend.stat(path, follow, info);
    };
    await using peer = await ours({ ...backend, stat });
    assertEquals((await peer.sftp.download("/*.txt", `${dir.path}/${status}`)).files, 1);
    assertEquals(await namesBelow(`${dir.path}/${status}`), ["a.txt"]);
    await assertRejects(() => peer.sftp.download("/*.none", `${dir.path}/${status}`), SftpError);
  }
});

Deno.test("upload() replaces a file though RENAME says by a later number that the name is taken", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "new");
  const { backend, nodes } = memoryFiles();
  nodes.set("/f", fileNode(new Uint8Array(9)));
  const rename: SftpBackend["rename"] = (from, to, options, info) => {
    if (nodes.has(to)) throw new SftpError("No", 11);
    return backend.rename!(from, to, options, info);
  };
  await using peer = await refusing({ backend: { ...backend, rename } }, () => null, [Extension.posixRename]);
  assertEquals((await peer.sftp.upload(`${dir.path}/f`, "/f")).files, 1);
  assertEquals([...nodes.keys()], ["/", "/f"]);
  assertEquals(await peer.sftp.readTextFile("/f"), "new");
});

Deno.test("each status of a later version reads as words in an error, and an unknown one as its number", () => {
  for (let status = 1; status <= 31; status++) {
    const { message } = statusError({ action: "open", path: "/f" }, status, "");
    assert(!/\d/.test(message), message);
    assert(message.startsWith('Cannot open "/f": '), message);
  }
  assertEquals(meaningOf(32), "the server reports status 32");
  assertEquals([refusalOfStatus(32), refusalOfStatus(4_000_000_000)], ["unclear", "unclear"]);
});

Deno.test("a backend whose own upstream is lost tells its clients FAILURE, and not that their connection is lost", async () => {
  for (const status of [Status.NO_CONNECTION, Status.CONNECTION_LOST]) {
    const { backend } = memoryFiles();
    const stat = (): never => {
      throw new SftpError("upstream", status);
    };
    await using peer = await ours({ ...backend, stat });
    const error = await assertRejects(() => peer.sftp.stat("/"), SftpError);
    assertEquals(error.status, Status.FAILURE);
  }
});
