/** Uploads to servers that refuse a part of what an upload asks for, as others' servers do. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import type { SftpClient } from "../../lib/sftp/client.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { fileNode, memoryFiles, refusing } from "../_support/refusing_server.ts";
import {
  isMissing,
  namesBelow,
  OPENSSH_SERVER,
  pattern,
  scripted,
  sha256,
  spawned,
  statusReply,
  tempDir,
} from "../_support/sftp_peers.ts";

const openssh = { ignore: isMissing(OPENSSH_SERVER) };

/** A directory with a new file `f`, one to upload to with an old one, and a server that refuses these requests. */
async function withRequests(
  denied: string,
  test: (
    paths: { local: string; remote: string; there: string },
    sftp: SftpClient,
  ) => Promise<void>,
): Promise<void> {
  await using dir = await tempDir();
  const local = `${dir.path}/f`, there = `${dir.path}/there`, remote = `${there}/f`;
  await Deno.mkdir(there);
  await Deno.writeFile(local, pattern(300_000));
  await Deno.utime(local, 1000, 2000);
  await Deno.writeFile(remote, pattern(400_000, 2));
  await using peer = await spawned(OPENSSH_SERVER, ["-P", denied]);
  await test({ local, remote, there }, peer.sftp);
}

// S2
Deno.test({
  name:
    "upload() writes in place where the server renames nothing, with the whole file beside it until it is there (OpenSSH sftp-server)",
  ...openssh,
  async fn() {
    await withRequests("rename,posix-rename", async ({ local, remote, there }, sftp) => {
      for (const exists of [true, false]) {
        if (!exists) await Deno.remove(remote);
        assertEquals(await sftp.upload(local, remote), { files: 1, bytes: 300_000, warnings: [] });
        assertEquals(await sha256(remote), await sha256(local));
        assertEquals(await namesBelow(there), ["f"]);
      }
    });
    // The part that may not be removed is told.
    await withRequests("rename,posix-rename,remove", async ({ local, remote, there }, sftp) => {
      const { files, warnings } = await sftp.upload(local, remote);
      assertEquals(files, 1);
      assertEquals(await sha256(remote), await sha256(local));
      const [part] = (await namesBelow(there)).filter((name) => name !== "f");
      assert(warnings.length === 1 && warnings[0]!.includes(part!), `${part}: ${warnings}`);
    });
  },
});

// S4
Deno.test({
  name:
    "upload() with preserve keeps a file whose times the server does not let it set, and says so (OpenSSH sftp-server)",
  ...openssh,
  async fn() {
    await withRequests("fsetstat", async ({ local, remote }, sftp) => {
      assertEquals(await sftp.upload(local, remote, { preserve: true }), { files: 1, bytes: 300_000, warnings: [] });
      assertEquals((await Deno.stat(remote)).mtime!.getTime(), 2_000_000);
    });
    await withRequests("fsetstat,setstat", async ({ local, remote, there }, sftp) => {
      const { files, warnings } = await sftp.upload(local, remote, { preserve: true });
      assertEquals([files, warnings.length], [1, 1]);
      assert(warnings[0]!.startsWith(`Cannot change attributes of "${remote}": permission denied`));
      assertEquals(await sha256(remote), await sha256(local));
      assertEquals(await namesBelow(there), ["f"]);
      const tree = await sftp.upload(there, `${there}-copy`, { preserve: true, recursive: true });
      assertEquals([tree.files, tree.warnings.length], [1, 2]);
      assertEquals(await sha256(`${there}-copy/f`), await sha256(local));
    });
  },
});

/** A local file of new contents and a server in memory that has an old one of the name, and refuses kinds of requests. */
async function over(
  refused: (kind: string, index: number) => number | null,
  test: (
    local: string,
    peer: Awaited<ReturnType<typeof refusing>>,
    nodes: ReturnType<typeof memoryFiles>["nodes"],
  ) => Promise<void>,
  hidden: readonly string[] = [],
): Promise<void> {
  await using dir = await tempDir();
  const local = `${dir.path}/f`, files = memoryFiles();
  await Deno.writeFile(local, pattern(1000, 3));
  files.nodes.set("/f", fileNode(pattern(500, 4)));
  await using peer = await refusing(files, (kind, index) => {
    const status = refused(kind, index);
    return status === null ? null : { status };
  }, hidden);
  await test(local, peer, files.nodes);
}

function contents(node: unknown): Uint8Array | undefined {
  return (node as { data?: Uint8Array } | undefined)?.data;
}

Deno.test("upload() removes nothing where posix-rename is refused, and says how else it may be done", async () => {
  for (const status of [Status.PERMISSION_DENIED, Status.FAILURE, 31]) {
    await over((kind) => kind === Extension.posixRename ? status : null, async (local, peer, nodes) => {
      const error = await assertRejects(() => peer.sftp.upload(local, "/f"), SftpError, 'Cannot replace "/f"');
      assertEquals([error.status, error.path], [status, "/f"]);
      assert(error.message.includes("`inPlace: true`"), error.message);
      assertEquals(contents(nodes.get("/f")), pattern(500, 4));
      assertEquals([...nodes.keys()], ["/", "/f"]);
      assertEquals(peer.asked.filter((kind) => kind === "REMOVE" || kind === "RENAME"), ["REMOVE"]);
    });
  }
  // Named among the extensions, and not there: RENAME is.
  await over((kind) => kind === Extension.posixRename ? Status.OP_UNSUPPORTED : null, async (local, peer, nodes) => {
    assertEquals(await peer.sftp.upload(local, "/f"), { files: 1, bytes: 1000, warnings: [] });
    assertEquals(contents(nodes.get("/f")), pattern(1000, 3));
    assertEquals([...nodes.keys()], ["/", "/f"]);
  });
});

Deno.test("upload() says where both files are when the server renames the old one and then nothing more", async () => {
  let renames = 0;
  await over((kind) => kind === "RENAME" && ++renames !== 2 ? Status.FAILURE : null, async (local, peer, nodes) => {
    const error = await assertRejects(() => peer.sftp.upload(local, "/f"), SftpError, 'Cannot replace "/f"');
    const names = [...nodes.keys()].filter((name) => name !== "/").sort();
    assertEquals(names.length, 2);
    assert(names[0]!.endsWith(".old") && names[1]!.endsWith(".part"), names.join());
    for (const name of names) assert(error.message.includes(JSON.stringify(name)), error.message);
    assertEquals(contents(nodes.get(names[0]!)), pattern(500, 4));
    assertEquals(contents(nodes.get(names[1]!)), pattern(1000, 3));
  }, [Extension.posixRename]);
});

// S1
Deno.test("upload() goes into a drop box, where nothing may be looked at", async () => {
  for (const status of [Status.PERMISSION_DENIED, Status.FAILURE, Status.OP_UNSUPPORTED, 10]) {
    for (const hidden of [[], [Extension.posixRename]]) {
      await over((kind) => /STAT$/.test(kind) && !/SET/.test(kind) ? status : null, async (local, peer, nodes) => {
        assertEquals(await peer.sftp.upload(local, "/new"), { files: 1, bytes: 1000, warnings: [] });
        assertEquals(contents(nodes.get("/new")), pattern(1000, 3));
      }, hidden);
    }
  }
});

Deno.test("upload() of a link leaves the old one where the server refuses the new one", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/tree`);
  await Deno.symlink("new", `${dir.path}/tree/link`);
  for (const hidden of [[], [Extension.posixRename]]) {
    for (const allowed of [0, 1, 2]) {
      const files = memoryFiles(), link = { kind: "link", target: "old", mode: 0o777, mtime: 0, atime: 0 } as const;
      files.nodes.set("/tree", { kind: "directory", mode: 0o755, mtime: 0, atime: 0 });
      files.nodes.set("/tree/link", link);
      let made = 0;
      await using peer = await refusing(files, (kind) => {
        return kind === "SYMLINK" && ++made > allowed ? { status: Status.PERMISSION_DENIED } : null;
      }, hidden);
      const outcome = await peer.sftp.upload(`${dir.path}/tree`, "/tree", { recursive: true })
        .then(({ files }) => files, (error) => error as Error);
      const now = files.nodes.get("/tree/link") as typeof link | undefined;
      if (allowed === 2) assertEquals([outcome, now?.target], [1, "new"]);
      else {
        assert(outcome instanceof SftpError, String(outcome));
        assertEquals(now?.target, "old");
      }
      assertEquals([...files.nodes.keys()].sort(), ["/", "/tree", "/tree/link"]);
    }
  }
});

// S11
Deno.test("mkdir() with recursive and upload() of a tree make parents that a server calls missing by a later version's number", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/tree/sub`, { recursive: true });
  await Deno.writeTextFile(`${dir.path}/tree/sub/f`, "x");
  const files = memoryFiles(), { mkdir, stat } = files.backend;
  const later = (error: unknown): never => {
    throw error instanceof Deno.errors.NotFound ? new SftpError("No such path", 10) : error;
  };
  const backend: typeof files.backend = {
    ...files.backend,
    mkdir: (...args) => Promise.try(() => mkdir!(...args)).catch(later),
    stat: (...args) => Promise.try(() => stat(...args)).catch(later),
  };
  await using peer = await refusing({ backend }, () => null);
  await peer.sftp.mkdir("/a/b/c", { recursive: true });
  await peer.sftp.upload(`${dir.path}/tree`, "/x/y", { recursive: true });
  assertEquals([...files.nodes.keys()].sort(), ["/", "/a", "/a/b", "/a/b/c", "/x", "/x/y", "/x/y/sub", "/x/y/sub/f"]);
});

Deno.test("upload() in place that fails leaves nothing that resume would take for the whole file", async () => {
  await using dir = await tempDir();
  const local = `${dir.path}/f`, data = pattern(200_000, 3);
  await Deno.writeFile(local, data);
  for (const refused of [0, 2, 6]) {
    const files = memoryFiles();
    let written = 0, isOver = false;
    await using peer = await refusing(files, (kind) => {
      return kind === "WRITE" && written++ === refused && !isOver ? { status: Status.FAILURE } : null;
    }, [Extension.limits]);
    await assertRejects(() => peer.sftp.upload(local, "/f", { inPlace: true }), SftpError, "is not whole");
    isOver = true;
    const node = files.nodes.get("/f") as { data: Uint8Array; mtime: number };
    assertEquals(node.data, data.subarray(0, refused * 32_768));
    node.mtime = Date.now() / 1000;
    assertEquals((await peer.sftp.upload(local, "/f", { resume: true })).files, 1);
    assertEquals(contents(files.nodes.get("/f")), data);
  }
});

Deno.test("upload() replaces a file, and no directory, where the server tells no types and has no posix-rename", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "new");
  for (const isDirectory of [false, true]) {
    const there = new Map<string, string>([["/f", "old"]]), open = new Map<number, string>();
    await using peer = await scripted((payload, id) => {
      switch (payload[0]) {
        case Fxp.STAT:
          return statusReply(id, Status.NO_SUCH_FILE);
        case Fxp.LSTAT:
          return m.Attrs.encode({ id, attrs: { size: 3 } });
        case Fxp.OPENDIR:
          if (!isDirectory) return statusReply(id, Status.FAILURE);
          return m.Handle.encode({ id, handle: new Uint8Array([open.size]) });
        case Fxp.OPEN: {
          const { path } = m.Open.decode(payload);
          if (isDirectory && path === "/f") return statusReply(id, Status.FAILURE);
          there.set(path, "");
          open.set(open.size, path);
          return m.Handle.encode({ id, handle: new Uint8Array([open.size - 1]) });
        }
        case Fxp.WRITE: {
          const { handle, data } = m.Write.decode(payload);
          there.set(open.get(handle[0]!)!, new TextDecoder().decode(data));
          return undefined;
        }
        case Fxp.REMOVE:
          return statusReply(id, there.delete(m.Remove.decode(payload).path) ? Status.OK : Status.NO_SUCH_FILE);
        case Fxp.RENAME: {
          const { oldPath, newPath } = m.Rename.decode(payload), what = there.get(oldPath);
          if (what === undefined || there.has(newPath)) return statusReply(id, Status.FAILURE);
          there.delete(oldPath);
          there.set(newPath, what);
        }
      }
      return undefined;
    });
    const outcome = await peer.sftp.upload(`${dir.path}/f`, "/f").then(() => null, (error) => error as Error);
    assertEquals(outcome instanceof SftpError, isDirectory, String(outcome));
    assertEquals([...there], [["/f", isDirectory ? "old" : "new"]]);
  }
});
