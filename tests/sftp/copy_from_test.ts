/** `copyFrom()`: files and trees from one server to another, neither of which is trusted by the other. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { Status } from "../../lib/files/limits.ts";
import type { SftpClient } from "../../lib/sftp/client.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import {
  isMissing,
  namesBelow,
  OPENSSH_SERVER,
  ours,
  pattern,
  scripted,
  sha256,
  spawned,
  statusReply,
  tempDir,
} from "../_support/sftp_peers.ts";
import { inTime, until } from "../_support/until.ts";

type Server = AsyncDisposable & { readonly sftp: SftpClient };

/** Each server as either end. */
const servers: readonly (readonly [string, (root: string) => Promise<Server>])[] = [
  ["our server", (root) => ours({ root })],
  ...(isMissing(OPENSSH_SERVER) ? [] : [["OpenSSH sftp-server", () => spawned()] as const]),
];

async function makeTree(path: string): Promise<void> {
  await Deno.mkdir(`${path}/tree/sub/deep`, { recursive: true });
  await Deno.mkdir(`${path}/tree/empty`);
  await Deno.writeFile(`${path}/tree/none`, new Uint8Array(0));
  await Deno.writeFile(`${path}/tree/small`, pattern(1000));
  await Deno.writeFile(`${path}/tree/sub/large`, pattern(3_000_001, 2));
  await Deno.writeFile(`${path}/tree/sub/deep/leaf.log`, pattern(70_000, 3));
  await Deno.symlink("../small", `${path}/tree/sub/link`);
  await Deno.chmod(`${path}/tree/small`, 0o640);
  await Deno.chmod(`${path}/tree/sub`, 0o750);
  for (const name of ["small", "sub/large", "sub/deep", "sub", ""]) {
    await Deno.utime(`${path}/tree/${name}`, 1_000_000, 2_000_000);
  }
}

async function sums(path: string): Promise<Record<string, string>> {
  const result: Record<string, string> = {};
  for (const name of (await namesBelow(path)).sort()) {
    const { isFile, isSymlink } = await Deno.lstat(`${path}/${name}`);
    result[name] = isSymlink
      ? await Deno.readLink(`${path}/${name}`)
      : isFile
      ? await sha256(await Deno.readFile(`${path}/${name}`))
      : "/";
  }
  return result;
}

/** Where a path of this machine is for a server. */
function at(name: string, root: string, path: string): string {
  return name === "our server" ? `/${path}` : `${root}/${path}`;
}

for (const [from, openFrom] of servers) {
  for (const [to, openTo] of servers) {
    Deno.test(`copyFrom() copies a tree with its links, modes and times (${from} to ${to})`, async () => {
      await using here = await tempDir();
      await using there = await tempDir();
      await makeTree(here.path);
      await using a = await openFrom(here.path);
      await using b = await openTo(there.path);
      const path = at(from, here.path, "tree"), target = at(to, there.path, "copy");
      const told: number[] = [];
      const options = {
        recursive: true,
        preserve: true,
        onTreeProgress: ({ bytes }: { bytes: number }) => void told.push(bytes),
      };
      const { files, bytes, warnings } = await b.sftp.copyFrom(a.sftp, path, target, options);
      assertEquals([files, bytes, warnings], [5, 3_071_001, []]);
      assertEquals(told.at(-1), 3_071_001);
      assertEquals(await sums(`${there.path}/copy`), await sums(`${here.path}/tree`));
      for (const name of ["small", "sub", "sub/deep", ""]) {
        const [was, is] = await Promise.all(
          [`${here.path}/tree/${name}`, `${there.path}/copy/${name}`].map((path) => Deno.stat(path)),
        );
        assertEquals([is!.mode, is!.mtime], [was!.mode, was!.mtime], name);
      }
      // Again: what is there whole is left alone, and a file that has changed is replaced.
      await Deno.writeFile(`${here.path}/tree/small`, pattern(2000, 9));
      const again = await b.sftp.copyFrom(a.sftp, path, target, { recursive: true, resume: true });
      assertEquals([again.files, again.bytes], [1, 2000]);
      assertEquals(await sums(`${there.path}/copy`), await sums(`${here.path}/tree`));
    });
  }
}

Deno.test("copyFrom() copies one file, into a directory, what a glob finds, and leaves out what is excluded", async () => {
  await using here = await tempDir();
  await makeTree(here.path);
  await using a = await ours({ root: here.path });
  await using b = await ours({ root: here.path });
  await b.sftp.copyFrom(a.sftp, "/tree/small", "/one");
  await b.sftp.mkdir("/into");
  await b.sftp.copyFrom(a.sftp, "/tree/small", "/into");
  await b.sftp.copyFrom(a.sftp, "/tree/sub/deep/*.log", "/logs");
  await b.sftp.copyFrom(a.sftp, "/tree", "/less", { recursive: true, exclude: ["*.log", "large"], links: "follow" });
  assertEquals((await namesBelow(here.path)).filter((name) => !name.startsWith("tree")).sort(), [
    "into",
    "into/small",
    "less",
    "less/empty",
    "less/none",
    "less/small",
    "less/sub",
    "less/sub/deep",
    "less/sub/link",
    "logs",
    "logs/leaf.log",
    "one",
  ]);
  assertEquals(await Deno.readFile(`${here.path}/less/sub/link`), await Deno.readFile(`${here.path}/tree/small`));
  await assertRejects(() => b.sftp.copyFrom(a.sftp, "/missing", "/x"), SftpError, "no such file there");
  await assertRejects(() => b.sftp.copyFrom(a.sftp, "/tree/*.no", "/x"), SftpError, "matches it as a glob");
  await assertRejects(() => b.sftp.copyFrom(a.sftp, "/tree", "/x"), SftpError, "use `recursive: true`");
});

Deno.test("copyFrom() copies within a server, but nothing into itself", async () => {
  await using here = await tempDir();
  await makeTree(here.path);
  await using a = await ours({ root: here.path });
  const { files } = await a.sftp.copyFrom(a.sftp, "/tree", "/copy", { recursive: true });
  assertEquals(files, 5);
  for (const to of ["/tree", "/tree/sub/new", "/tree/../tree/x"]) {
    const error = await assertRejects(() => a.sftp.copyFrom(a.sftp, "/tree", to, { recursive: true }), SftpError);
    assertStringIncludes(error.message, "that is it, or lies in it");
  }
  await assertRejects(() => a.sftp.copyFrom(a.sftp, "/tree/small", "/tree/small"), SftpError, "that is it");
  assertEquals(await Deno.readFile(`${here.path}/tree/small`), pattern(1000));
  await assertRejects(() => a.sftp.copyFrom(here.path as unknown as SftpClient, "/a", "/b"), TypeError, "`source`");
});

/** A server of one directory with these entries, each file of which has `contents`, and whose sizes are `size`. */
async function hostile(
  entries: readonly (readonly [string, "file" | "directory" | "link"])[],
  size: number,
  contents: Uint8Array,
  target = "/etc",
) {
  const modes = { file: 0o100644, directory: 0o040755, link: 0o120777 };
  const info = (kind: keyof typeof modes) => ({ mode: modes[kind], size, atime: 5, mtime: 5 });
  const listed = new Set<string>();
  return await scripted((payload, id) => {
    switch (payload[0]) {
      case Fxp.STAT:
      case Fxp.LSTAT: {
        const { path } = (payload[0] === Fxp.STAT ? m.Stat : m.Lstat).decode(payload);
        const entry = entries.find(([name]) => path.endsWith(`/${name}`));
        return m.Attrs.encode({ id, attrs: info(path === "/d" ? "directory" : entry?.[1] ?? "file") });
      }
      case Fxp.REALPATH:
        return statusReply(id, Status.FAILURE);
      case Fxp.OPENDIR:
        return m.Handle.encode({ id, handle: new TextEncoder().encode(m.Opendir.decode(payload).path) });
      case Fxp.READDIR: {
        const path = new TextDecoder().decode(m.Readdir.decode(payload).handle);
        if (path !== "/d" || listed.has(path)) return statusReply(id, Status.EOF);
        listed.add(path);
        const names = entries.map(([name, kind]) => ({ name, longName: "", attrs: info(kind) }));
        return m.Name.encode({ id, entries: names });
      }
      case Fxp.READLINK:
        return m.Name.encode({ id, entries: [{ name: target, longName: "", attrs: {} }] });
      case Fxp.OPEN:
        return m.Handle.encode({ id, handle: new Uint8Array([1]) });
      case Fxp.FSTAT:
        return m.Attrs.encode({ id, attrs: info("file") });
      case Fxp.READ: {
        const { offset, length } = m.Read.decode(payload), from = Number(offset);
        const data = contents.subarray(from, from + length);
        return data.length === 0 ? statusReply(id, Status.EOF) : m.Data.encode({ id, data });
      }
      default:
        return undefined;
    }
  });
}

Deno.test("copyFrom() takes no name that is none, no name twice, and makes no link that leads out of the tree", async () => {
  await using there = await tempDir();
  await Deno.mkdir(`${there.path}/outside`);
  await using b = await ours({ root: there.path });
  await using a = await hostile(
    [["../outside/x", "file"], ["", "file"], ["a", "link"], ["a", "directory"], ["a", "file"], ["good", "file"]],
    10,
    pattern(10),
    "../outside",
  );
  const error = await assertRejects(() => b.sftp.copyFrom(a.sftp, "/d", "/copy", { recursive: true }), SftpError);
  assertStringIncludes(error.message, "5 failed, 1 files were copied");
  const all = ((error.cause as AggregateError).errors as Error[]).map(({ message }) => message).join("\n");
  for (const why of ['names "../outside/x"', 'names ""', "names it twice", "the link leads out of the tree"]) {
    assertStringIncludes(all, why);
  }
  assertEquals((await namesBelow(there.path)).sort(), ["copy", "copy/good", "outside"]);
});

Deno.test("copyFrom() writes nothing through a link of the other server, wherever the listing has it", async () => {
  await using there = await tempDir();
  await using b = await ours({ root: there.path });
  await using a = await hostile([["l", "link"], ["x", "file"]], 10, pattern(10), "x");
  const { files } = await b.sftp.copyFrom(a.sftp, "/d", "/copy", { recursive: true });
  assertEquals(files, 2);
  assertEquals(await Deno.readLink(`${there.path}/copy/l`), "x");
});

Deno.test("copyFrom() ends a file where the other server says so, and takes none that ends before its size", async () => {
  await using there = await tempDir();
  await using b = await ours({ root: there.path });
  for (const size of [0, 1, 99_999]) {
    await using a = await hostile([["f", "file"]], size, pattern(100_000));
    const { bytes } = await b.sftp.copyFrom(a.sftp, "/d/f", "/f");
    assertEquals([bytes, await Deno.readFile(`${there.path}/f`)], [100_000, pattern(100_000)]);
  }
  await using short = await hostile([["f", "file"]], 100_001, pattern(100_000));
  await assertRejects(
    () => short.sftp.stat("/x").then(() => b.sftp.copyFrom(short.sftp, "/d/f", "/f")),
    SftpError,
    "shorter",
  );
  // The old one is left whole.
  assertEquals(await Deno.readFile(`${there.path}/f`), pattern(100_000));
  assertEquals(await namesBelow(there.path), ["f"]);
});

Deno.test("copyFrom() ends with its signal, and with the loss of either server", async () => {
  const held = [Fxp.STAT, Fxp.REALPATH, Fxp.OPEN, Fxp.FSTAT, Fxp.READ];
  for (
    const [what, silent] of ["signal", "source", "target"].flatMap((what) => held.map((type) => [what, type] as const))
  ) {
    await using there = await tempDir();
    let isAsked = false;
    await using b = await ours({ root: there.path });
    await using a = await scripted((payload, id) => {
      if (payload[0] === silent) {
        isAsked = true;
        return null;
      }
      if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
      if (payload[0] === Fxp.REALPATH) return statusReply(id, Status.FAILURE);
      if (payload[0] === Fxp.CLOSE) return undefined;
      return m.Attrs.encode({ id, attrs: { mode: 0o100644, size: 1_000_000, atime: 5, mtime: 5 } });
    });
    const controller = new AbortController();
    const copying = b.sftp.copyFrom(a.sftp, "/f", "/f", { signal: controller.signal })
      .then(() => "copied", (error) => error);
    await until(() => isAsked, `${silent} did not come`);
    if (what === "signal") controller.abort(new Error("enough"));
    if (what === "source") await a.sftp.close();
    if (what === "target") await b.sftp.close();
    const error = await inTime(copying, what);
    assert(error instanceof Error, what);
    if (what === "signal") assertEquals(error.message, "enough");
    else assertEquals((error as SftpError).code, "CLOSED", what);
  }
});

Deno.test("copyFrom() keeps no more requests in flight at either server than `concurrency` says", async () => {
  for (const concurrency of [1, 3]) {
    const unanswered = new Map<number, number>();
    let most = 0;
    await using there = await tempDir();
    await using b = await ours({ root: there.path });
    await using a = await scripted((payload, id, peer) => {
      if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
      if (payload[0] === Fxp.REALPATH) return statusReply(id, Status.FAILURE);
      if (payload[0] === Fxp.CLOSE) return undefined;
      if (payload[0] !== Fxp.READ) {
        return m.Attrs.encode({ id, attrs: { mode: 0o100644, size: 1_000_000, atime: 5, mtime: 5 } });
      }
      const { offset, length } = m.Read.decode(payload), from = Number(offset);
      unanswered.set(id, from);
      most = Math.max(most, unanswered.size);
      // Whatever else is asked at once comes before the answer.
      setTimeout(() => {
        unanswered.delete(id);
        const data = pattern(1_000_000).subarray(from, from + length);
        const reply = data.length === 0 ? statusReply(id, Status.EOF) : m.Data.encode({ id, data });
        peer.send(reply).catch(() => {});
      }, 0);
      return null;
    });
    await b.sftp.copyFrom(a.sftp, "/f", "/f", { concurrency });
    assertEquals(await Deno.readFile(`${there.path}/f`), pattern(1_000_000));
    assert(most <= concurrency, `${most} at once`);
  }
});
