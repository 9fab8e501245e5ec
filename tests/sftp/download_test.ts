/** Downloads: what they leave behind, what they refuse, and what they say. security.md row 135. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { openSftp, type SftpClient } from "../../lib/sftp/client.ts";
import { scpDownload } from "../../lib/scp/scp.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import {
  idOf,
  isMissing,
  namesBelow,
  OPENSSH_SERVER,
  ours,
  pattern,
  pipes,
  RawPeer,
  spawned,
  tempDir,
} from "../_support/sftp_peers.ts";

const openssh = { ignore: isMissing(OPENSSH_SERVER) };

Deno.test("download() leaves no part behind when a directory has the file's name here", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.mkdir(`${dir.path}/here/small`, { recursive: true });
  await Deno.mkdir(`${dir.path}/here/large`);
  await Deno.writeTextFile(`${dir.path}/there/small`, "x");
  await Deno.writeFile(`${dir.path}/there/large`, pattern(600_000));
  await using peer = await ours({ root: `${dir.path}/there` });
  await assertRejects(() => peer.sftp.download("/small", `${dir.path}/here`));
  await assertRejects(() => peer.sftp.download("/large", `${dir.path}/here`));
  assertEquals(await namesBelow(`${dir.path}/here`), ["large", "small"]);
});

Deno.test("download() in place does not write through a link that lies in the tree here", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there/tree`, { recursive: true });
  await Deno.writeTextFile(`${dir.path}/there/tree/f`, "evil");
  await Deno.mkdir(`${dir.path}/here`);
  await Deno.writeTextFile(`${dir.path}/precious`, "precious");
  await Deno.symlink(`${dir.path}/precious`, `${dir.path}/here/f`);
  await using peer = await ours({ root: `${dir.path}/there` });
  await peer.sftp.download("/tree", `${dir.path}/here`, { recursive: true, inPlace: true }).catch(() => {});
  assertEquals(await Deno.readTextFile(`${dir.path}/precious`), "precious");
});

Deno.test("download() of a missing file whose name holds a glob's characters tells that it is missing", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await using peer = await ours({ root: `${dir.path}/there` });
  const outcome = await peer.sftp.download("/report[1].txt", `${dir.path}/report`)
    .then((summary) => summary, (error) => error as Error);
  assert(outcome instanceof Error, `${JSON.stringify(outcome)}, and ${(await namesBelow(dir.path)).join(" ")} made`);
});

Deno.test("download() of a glob does not let one file take another's place", async () => {
  await using dir = await tempDir();
  for (const folder of ["a", "b"]) {
    await Deno.mkdir(`${dir.path}/there/${folder}`, { recursive: true });
    await Deno.writeTextFile(`${dir.path}/there/${folder}/same`, folder);
  }
  await using peer = await ours({ root: `${dir.path}/there` });
  const outcome = await peer.sftp.download("/*/same", `${dir.path}/here`)
    .then((summary) => summary, (error) => error as Error);
  assert(outcome instanceof SftpError, `${JSON.stringify(outcome)}, but there is one file`);
});

Deno.test({
  name: "download() and copyFile() take a relative path that starts with a tilde for a name (OpenSSH sftp-server)",
  ...openssh,
  async fn() {
    await using dir = await tempDir();
    await Deno.writeTextFile(`${dir.path}/~$doc.docx`, "x");
    await using peer = await spawned(OPENSSH_SERVER, ["-d", dir.path]);
    const { sftp } = peer;
    assertEquals(await sftp.readTextFile("~$doc.docx"), "x");
    await sftp.copyFile("~$doc.docx", "copy");
    await sftp.download("~$doc.docx", `${dir.path}/down`);
    assertEquals(await Deno.readTextFile(`${dir.path}/down`), "x");
  },
});

/** A server of one directory `/top` with plain files whose listing tells `attrs`, and LSTAT and STAT more. */
async function bareLister(
  files: string[],
  attrs: object,
  longName: string,
): Promise<AsyncDisposable & { sftp: SftpClient }> {
  const { near, far } = pipes(), peer = new RawPeer(far);
  const running = (async () => {
    await peer.next();
    await peer.send(m.encodeVersion(Fxp.VERSION, 3));
    const listed = new Set<string>();
    let handles = 0;
    for (let payload = await peer.next(); payload !== null; payload = await peer.next()) {
      const id = idOf(payload);
      const status = (code: number) => m.StatusReply.encode({ id, status: code, text: "", language: "" });
      let reply;
      if (payload[0] === Fxp.STAT || payload[0] === Fxp.LSTAT) {
        const { path } = m.Stat.decode(Uint8Array.from([Fxp.STAT, ...payload.subarray(1)]));
        const isDirectory = path === "/top" || path === "/top/sub";
        reply = m.Attrs.encode({ id, attrs: { mode: isDirectory ? 0o040755 : 0o100644, size: 1 } });
      } else if (payload[0] === Fxp.REALPATH) {
        reply = m.Name.encode({ id, entries: [{ name: m.Realpath.decode(payload).path, longName: "", attrs: {} }] });
      } else if (payload[0] === Fxp.OPENDIR) reply = m.Handle.encode({ id, handle: new Uint8Array([++handles]) });
      else if (payload[0] === Fxp.OPEN) {
        const { path } = m.Open.decode(payload);
        reply = path === "/top/sub"
          ? status(Status.FAILURE)
          : m.Handle.encode({ id, handle: new Uint8Array([++handles]) });
      } else if (payload[0] === Fxp.READDIR) {
        const key = m.Readdir.decode(payload).handle.join(), first = !listed.has(key) && listed.size === 0;
        listed.add(key);
        const entries = files.map((name) => ({ name, longName, attrs }));
        reply = first ? m.Name.encode({ id, entries }) : status(Status.EOF);
      } else if (payload[0] === Fxp.READ) {
        const { offset } = m.Read.decode(payload);
        reply = offset === 0n ? m.Data.encode({ id, data: new Uint8Array([0x78]) }) : status(Status.EOF);
      } else reply = status(Status.OK);
      await peer.send(reply).catch(() => {});
    }
    await peer.end();
  })();
  const sftp = await openSftp(near);
  return {
    sftp,
    async [Symbol.asyncDispose]() {
      await sftp.close();
      await running;
    },
  };
}

Deno.test("download() of a tree asks for the type of what a listing tells nothing of", async () => {
  await using dir = await tempDir();
  await using peer = await bareLister(["f", "sub"], {}, "");
  await peer.sftp.download("/top", `${dir.path}/down`, { recursive: true });
  assertEquals(await namesBelow(`${dir.path}/down`), ["f", "sub"]);
});

Deno.test("download() of a tree takes permissions without a file type for those of what the long name says", async () => {
  await using dir = await tempDir();
  await using peer = await bareLister(["f"], { mode: 0o644, size: 1 }, "-rw-r--r--    1 0 0 1 Jan 1 00:00 f");
  await peer.sftp.download("/top", `${dir.path}/down`, { recursive: true });
  assertEquals(await namesBelow(`${dir.path}/down`), ["f"]);
});

Deno.test("download() of a tree asks for the size of what a listing tells the type of only", async () => {
  await using dir = await tempDir();
  await using peer = await bareLister(["f"], { mode: 0o100644 }, "");
  const totals = new Set<number | null>();
  await peer.sftp.download("/top", `${dir.path}/down`, {
    recursive: true,
    onProgress: ({ total }) => void totals.add(total),
  });
  assertEquals([...totals], [1]);
});

Deno.test("download() of a file to an empty name puts it into the directory it runs in", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.mkdir(`${dir.path}/here`);
  await Deno.writeTextFile(`${dir.path}/there/f`, "x");
  await using peer = await ours({ root: `${dir.path}/there` });
  const before = Deno.cwd();
  try {
    Deno.chdir(`${dir.path}/here`);
    await peer.sftp.download("/f", "");
  } finally {
    Deno.chdir(before);
  }
  assertEquals(await namesBelow(`${dir.path}/here`), ["f"]);
});

Deno.test("download() in place writes through the link that the caller named, and none that lies in a directory", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.mkdir(`${dir.path}/here`);
  await Deno.writeTextFile(`${dir.path}/there/f`, "new");
  await Deno.writeTextFile(`${dir.path}/target`, "old");
  await Deno.symlink(`${dir.path}/target`, `${dir.path}/here/f`);
  await using peer = await ours({ root: `${dir.path}/there` });
  for (const [remote, local] of [["/f", `${dir.path}/here`], ["/f*", `${dir.path}/here`]] as const) {
    await Deno.remove(`${dir.path}/here/f`);
    await Deno.symlink(`${dir.path}/target`, `${dir.path}/here/f`);
    await peer.sftp.download(remote, local, { inPlace: true });
    assertEquals(await Deno.readTextFile(`${dir.path}/target`), "old");
    assertEquals(await Deno.readTextFile(`${dir.path}/here/f`), "new");
  }
  await Deno.symlink(`${dir.path}/target`, `${dir.path}/link`);
  await peer.sftp.download("/f", `${dir.path}/link`, { inPlace: true });
  assertEquals(await Deno.readTextFile(`${dir.path}/target`), "new");
});

Deno.test("download() enters no link to a directory that a glob's match would have the name of", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there/tree`, { recursive: true });
  await Deno.writeTextFile(`${dir.path}/there/tree/f`, "x");
  await Deno.mkdir(`${dir.path}/here`);
  await Deno.mkdir(`${dir.path}/outside`);
  await Deno.symlink(`${dir.path}/outside`, `${dir.path}/here/tree`);
  await using peer = await ours({ root: `${dir.path}/there` });
  await assertRejects(
    () => peer.sftp.download("/tr*", `${dir.path}/here`, { recursive: true }),
    SftpError,
    "something else of that name",
  );
  assertEquals(await namesBelow(`${dir.path}/outside`), []);
});

Deno.test("download() tells of what fails on this side by the paths that the user knows, with the cause", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.mkdir(`${dir.path}/taken/f`, { recursive: true });
  await Deno.writeTextFile(`${dir.path}/there/f`, "x");
  await Deno.writeTextFile(`${dir.path}/file`, "x");
  await using peer = await ours({ root: `${dir.path}/there` });
  const cases = [
    { local: `${dir.path}/missing/f`, named: `${dir.path}/missing/f`, cause: Deno.errors.NotFound },
    { local: `${dir.path}/taken`, named: `${dir.path}/taken/f`, cause: Deno.errors.IsADirectory },
    { local: `${dir.path}/file/f`, named: `${dir.path}/file/f`, cause: Deno.errors.NotADirectory },
  ];
  for (const { local, named, cause } of cases) {
    const error = await assertRejects(() => peer.sftp.download("/f", local), SftpError);
    assert(error.message.startsWith(`Cannot download "/f" to "${named}": `), error.message);
    assert(!error.message.includes(".part"), error.message);
    assertEquals(error.path, "/f");
    assert(error.cause instanceof cause, String(error.cause));
  }
});

Deno.test("download() gives a new file its source's bits, and one that is replaced those it had", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there/tree`, { recursive: true });
  await Deno.mkdir(`${dir.path}/here`);
  const large = 600_000;
  for (const [name, size, mode] of [["small", 1, 0o640], ["large", large, 0o640], ["new", 1, 0o600]] as const) {
    await Deno.writeFile(`${dir.path}/there/tree/${name}`, pattern(size, 2));
    await Deno.chmod(`${dir.path}/there/tree/${name}`, mode);
  }
  await Deno.writeTextFile(`${dir.path}/here/small`, "old");
  await Deno.chmod(`${dir.path}/here/small`, 0o400);
  await Deno.writeTextFile(`${dir.path}/here/large`, "old");
  await Deno.chmod(`${dir.path}/here/large`, 0o666);
  await using peer = await ours({ root: `${dir.path}/there` });
  const modes = (): string[] =>
    ["small", "large", "new"].map((name) => (Deno.statSync(`${dir.path}/here/${name}`).mode! & 0o777).toString(8));
  await peer.sftp.download("/tree", `${dir.path}/here`, { recursive: true });
  assertEquals(modes(), ["400", "666", "600"]);
  assertEquals((await Deno.stat(`${dir.path}/here/large`)).size, large);
  await peer.sftp.download("/tree", `${dir.path}/here`, { recursive: true, preserve: true });
  assertEquals(modes(), ["640", "640", "600"]);
});

Deno.test("download() of a link that cannot be made leaves what is here", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there/tree`, { recursive: true });
  await Deno.symlink("target", `${dir.path}/there/tree/link`);
  await Deno.mkdir(`${dir.path}/here`);
  await Deno.writeTextFile(`${dir.path}/here/link`, "old");
  await using peer = await ours({ root: `${dir.path}/there` });
  const symlink = Deno.symlink;
  try {
    Deno.symlink = () => Promise.reject(new Deno.errors.PermissionDenied("no links here (os error 1)"));
    await assertRejects(() => peer.sftp.download("/tree", `${dir.path}/here`, { recursive: true }), SftpError);
  } finally {
    Deno.symlink = symlink;
  }
  assertEquals(await Deno.readTextFile(`${dir.path}/here/link`), "old");
  await peer.sftp.download("/tree", `${dir.path}/here`, { recursive: true });
  assertEquals(await Deno.readLink(`${dir.path}/here/link`), "target");
  assertEquals(await namesBelow(`${dir.path}/here`), ["link"]);
});

Deno.test("download() and scpDownload() keep what came whole where times cannot be set here, and say so", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.writeTextFile(`${dir.path}/there/f`, "x");
  await using peer = await ours({ root: `${dir.path}/there` });
  const utime = Deno.utime;
  try {
    Deno.utime = () => Promise.reject(new Deno.errors.PermissionDenied("not permitted (os error 1)"));
    const { files, warnings } = await peer.sftp.download("/f", `${dir.path}/f`, { preserve: true });
    assertEquals([files, warnings.length], [1, 1]);
    assert(warnings[0]!.startsWith('Cannot download "/f" to'), warnings[0]);
    const { near, far } = pipes(), writer = far.writable.getWriter();
    const sending = writer.write(new TextEncoder().encode("T1 0 1 0\nC0644 1 g\nx\0")).then(() => writer.close());
    const drained = far.readable.pipeTo(new WritableStream());
    await assertRejects(() => scpDownload(near, "/g", `${dir.path}/g`, { preserve: true }), SftpError, "there whole");
    await Promise.allSettled([sending, drained]);
  } finally {
    Deno.utime = utime;
  }
  for (const name of ["f", "g"]) assertEquals(await Deno.readTextFile(`${dir.path}/${name}`), "x");
  assertEquals((await namesBelow(dir.path)).filter((name) => name.includes(".part")), []);
});
