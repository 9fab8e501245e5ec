/** Removing trees. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { memoryFiles, refusing } from "../_support/refusing_server.ts";
import { namesBelow, ours, scripted, statusReply, tempDir } from "../_support/sftp_peers.ts";

/** How many rejections went unhandled while `work` ran. */
async function unhandledIn(work: () => Promise<void>): Promise<number> {
  let count = 0;
  const listen = (event: PromiseRejectionEvent): void => {
    event.preventDefault();
    count++;
  };
  globalThis.addEventListener("unhandledrejection", listen);
  try {
    await work();
    await new Promise((resolve) => setTimeout(resolve, 20));
  } finally {
    globalThis.removeEventListener("unhandledrejection", listen);
  }
  return count;
}

Deno.test("remove() takes a broad tree away with the handles that a server has", async () => {
  await using dir = await tempDir();
  for (let i = 0; i < 40; i++) {
    for (let k = 0; k < 40; k++) await Deno.mkdir(`${dir.path}/t/${i}/${k}`, { recursive: true });
    await Deno.writeTextFile(`${dir.path}/t/${i}/0/f`, "");
  }
  await using peer = await ours({ root: dir.path });
  await peer.sftp.remove("/t", { recursive: true });
  assertEquals(await namesBelow(dir.path), []);
});

Deno.test("remove() of a tree leaves no rejection unhandled when one entry fails before the listing ends", async () => {
  await using server = await scripted(async (payload, id, peer) => {
    switch (payload[0]) {
      case Fxp.OPENDIR:
        return m.Handle.encode({ id, handle: new Uint8Array([1]) });
      case Fxp.READDIR:
        if (id > 4) {
          // The end of the listing comes late, as from a disk that is slow.
          setTimeout(() => void peer.send(statusReply(id, Status.EOF)).catch(() => {}), 50);
          return await Promise.resolve(null);
        }
        return m.Name.encode({ id, entries: [{ name: "kept", longName: "", attrs: { mode: 0o100444 } }] });
      case Fxp.LSTAT:
        return m.Attrs.encode({ id, attrs: { mode: m.Lstat.decode(payload).path === "/d" ? 0o040755 : 0o100444 } });
      case Fxp.REMOVE:
        return statusReply(id, m.Remove.decode(payload).path === "/d" ? Status.FAILURE : Status.PERMISSION_DENIED);
      default:
        return statusReply(id, Status.OK);
    }
  });
  const count = await unhandledIn(async () => {
    const error = await assertRejects(() => server.sftp.remove("/d", { recursive: true }), SftpError);
    assertEquals(error.path, "/d/kept");
    await new Promise((resolve) => setTimeout(resolve, 100));
  });
  assertEquals(count, 0);
});

for (const at of ["the listing", "entries"]) {
  Deno.test(`remove() of a tree leaves no rejection unhandled when the connection is lost at ${at}`, async () => {
    let asked = 0;
    await using server = await scripted(async (payload, id, peer) => {
      switch (payload[0]) {
        case Fxp.OPENDIR:
          return m.Handle.encode({ id, handle: new Uint8Array([1]) });
        case Fxp.READDIR: {
          const entries = ["a", "b", "c"].map((name) => ({ name, longName: "", attrs: { mode: 0o100644 } }));
          if (asked++ === 0) return m.Name.encode({ id, entries });
          if (at === "entries") return statusReply(id, Status.EOF);
          setTimeout(() => void peer.end(), 20);
          return null;
        }
        case Fxp.LSTAT:
          return m.Attrs.encode({ id, attrs: { mode: 0o040755 } });
        case Fxp.REMOVE:
          if (m.Remove.decode(payload).path === "/d") return statusReply(id, Status.FAILURE);
          await peer.end();
          return null;
        default:
          return statusReply(id, Status.OK);
      }
    });
    const count = await unhandledIn(async () => {
      const error = await assertRejects(() => server.sftp.remove("/d", { recursive: true }), SftpError);
      assertEquals(error.status, Status.CONNECTION_LOST);
    });
    assertEquals(count, 0);
  });
}

Deno.test("remove() of a tree begins nothing more after what failed, and tells what did", async () => {
  let removed = 0;
  await using server = await scripted((payload, id) => {
    switch (payload[0]) {
      case Fxp.OPENDIR:
        return m.Handle.encode({ id, handle: new Uint8Array([1]) });
      case Fxp.READDIR: {
        if (removed > 1) throw new Error("The directory is listed while its entries are removed");
        const names = id < 8 ? Array.from({ length: 100 }, (_, i) => `${id}-${i}`) : [];
        if (names.length === 0) return statusReply(id, Status.EOF);
        return m.Name.encode({ id, entries: names.map((name) => ({ name, longName: "", attrs: {} })) });
      }
      case Fxp.LSTAT:
        return m.Attrs.encode({ id, attrs: { mode: m.Lstat.decode(payload).path === "/d" ? 0o040755 : 0o100644 } });
      case Fxp.REMOVE:
        removed++;
        if (m.Remove.decode(payload).path === "/d") return statusReply(id, Status.FAILURE);
        return statusReply(id, removed === 10 ? Status.PERMISSION_DENIED : Status.OK);
    }
    return undefined;
  });
  const error = await assertRejects(() => server.sftp.remove("/d", { recursive: true }), SftpError);
  assertEquals(error.status, Status.PERMISSION_DENIED);
  assert(removed < 200, `${removed} of 401 were asked for`);
});

// S12
Deno.test("remove() takes a directory away of which the server says that there is no file of its name", async () => {
  for (const status of [Status.NO_SUCH_FILE, 10]) {
    const files = memoryFiles();
    files.nodes.set("/d", { kind: "directory", mode: 0o755, mtime: 0, atime: 0 });
    let isDirectory = true;
    await using peer = await refusing(files, (kind) => kind === "REMOVE" && isDirectory ? { status } : null);
    await peer.sftp.remove("/d");
    assertEquals([...files.nodes.keys()], ["/"]);
    isDirectory = false;
    const error = await assertRejects(() => peer.sftp.remove("/none"), SftpError, 'Cannot remove "/none"');
    assertEquals(error.status, Status.NO_SUCH_FILE);
  }
});
