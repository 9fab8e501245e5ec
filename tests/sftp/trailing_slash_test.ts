/** A path with a slash at its end is a directory's: where there is none, no file of that name is made. */
import { assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { openSftp } from "../../lib/sftp/client.ts";
import { Extension, Fxp, OpenFlag } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { scpDownload, scpUpload } from "../../lib/scp/scp.ts";
import { serveScp } from "../../lib/scp/server.ts";
import { scpCommand } from "../../lib/scp/command.ts";
import type { SftpChannel } from "../../lib/sftp/wire/channel.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import {
  isMissing,
  namesBelow,
  OPENSSH_SERVER,
  pipes,
  RawPeer,
  someone,
  statusIn,
  tempDir,
} from "../_support/sftp_peers.ts";

const SCP = "/usr/bin/scp";

/** Servers in a directory: ours and OpenSSH's. */
const servers: Record<string, (root: string) => { readonly channel: SftpChannel; readonly ended: Promise<unknown> }> = {
  "our server": (root) => {
    const { near, far } = pipes();
    return { channel: near, ended: serveSftp(far, { root }, someone) };
  },
  ...isMissing(OPENSSH_SERVER) ? {} : {
    "OpenSSH's server": (root: string) => {
      const options = { cwd: root, stdin: "piped", stdout: "piped", stderr: "null" } as const;
      const child = new Deno.Command(OPENSSH_SERVER, options).spawn();
      return { channel: { readable: child.stdout, writable: child.stdin }, ended: child.status };
    },
  },
};

for (const [name, start] of Object.entries(servers)) {
  // S23
  Deno.test(`OPEN makes no file of a path that ends in a slash or a dot (${name})`, async () => {
    await using dir = await tempDir();
    await Deno.mkdir(`${dir.path}/d`);
    const { channel, ended } = start(dir.path), peer = new RawPeer(channel), attrs = {};
    await peer.ask(m.encodeVersion(Fxp.INIT, 3));
    const { WRITE, READ, CREAT, TRUNC, EXCL } = OpenFlag;
    for (const flags of [WRITE | CREAT, WRITE | CREAT | TRUNC, WRITE | CREAT | EXCL, READ | WRITE | CREAT]) {
      for (const path of ["none/", "d/none/", "none/.", "none//", "d/", "d/.", "."]) {
        const reply = await peer.ask(m.Open.encode({ id: 1, path, flags, attrs }));
        // OpenSSH's server says of "none/." that there is no such file.
        assertEquals([Status.FAILURE, Status.NO_SUCH_FILE].includes(statusIn(reply) as 2 | 4), true, path);
      }
    }
    await peer.end();
    await ended;
    assertEquals(await namesBelow(dir.path), ["d"]);
  });
}

const sinks: Record<string, (command: string, root: string) => { channel: SftpChannel; code: Promise<number> }> = {
  "our server": (command, root) => {
    const { near, far } = pipes();
    return { channel: near, code: serveScp(far, command, { root }, someone) };
  },
  ...isMissing(SCP) ? {} : {
    "OpenSSH's scp": (command: string, root: string) => {
      const options = { cwd: root, stdin: "piped", stdout: "piped", stderr: "null" } as const;
      const child = new Deno.Command("/bin/sh", { args: ["-c", command], ...options }).spawn();
      return { channel: { readable: child.stdout, writable: child.stdin }, code: child.status.then((s) => s.code) };
    },
  },
};

for (const [name, start] of Object.entries(sinks)) {
  Deno.test(`scp -t makes no file of a path that ends in a slash, but a directory (${name})`, async () => {
    await using dir = await tempDir();
    const root = `${dir.path}/root`;
    await Deno.mkdir(root);
    await Deno.mkdir(`${dir.path}/tree`);
    await Deno.writeTextFile(`${dir.path}/tree/f`, "f");
    const file = start(scpCommand("to", "none/"), root);
    await assertRejects(() => scpUpload(file.channel, `${dir.path}/tree/f`), SftpError);
    assertEquals([await file.code > 0, await namesBelow(root)], [true, []]);
    const tree = start(scpCommand("to", "made/", { recursive: true }), root);
    assertEquals((await scpUpload(tree.channel, `${dir.path}/tree`, { recursive: true })).files, 1);
    assertEquals([await tree.code, await namesBelow(root)], [0, ["made", "made/f"]]);
  });
}

// S23
Deno.test({
  name: "requests for a path with a slash at its end fare with our server as with OpenSSH's",
  ignore: isMissing(OPENSSH_SERVER),
  async fn() {
    const attrs = {}, id = 1;
    const requests = (at: (path: string) => string): readonly (readonly [string, Uint8Array])[] => [
      ...["f/", "none/", "lf/", "f/."].flatMap((path) =>
        [
          [`OPEN ${path}`, m.Open.encode({ id, path: at(path), flags: OpenFlag.READ, attrs })],
          [`OPEN to write ${path}`, m.Open.encode({ id, path: at(path), flags: OpenFlag.WRITE, attrs })],
          [`STAT ${path}`, m.Stat.encode({ id, path: at(path) })],
          [`LSTAT ${path}`, m.Lstat.encode({ id, path: at(path) })],
          [`SETSTAT ${path}`, m.Setstat.encode({ id, path: at(path), attrs: { mode: 0o600 } })],
          [`REMOVE ${path}`, m.Remove.encode({ id, path: at(path) })],
          [`RMDIR ${path}`, m.Rmdir.encode({ id, path: at(path) })],
          [`OPENDIR ${path}`, m.Opendir.encode({ id, path: at(path) })],
          [`RENAME from ${path}`, m.Rename.encode({ id, oldPath: at(path), newPath: at("new") })],
          [
            `posix-rename from ${path}`,
            m.PosixRename.encode({ id, oldPath: at(path), newPath: at("new"), extension: PosixRename }),
          ],
          [`link from ${path}`, m.Hardlink.encode({ id, oldPath: at(path), newPath: at("new"), extension: Hardlink })],
        ] as const
      ),
      ...["new/", "new/."].flatMap((path) =>
        [
          [`RENAME to ${path}`, m.Rename.encode({ id, oldPath: at("f"), newPath: at(path) })],
          [
            `posix-rename to ${path}`,
            m.PosixRename.encode({ id, oldPath: at("f"), newPath: at(path), extension: PosixRename }),
          ],
          [`link to ${path}`, m.Hardlink.encode({ id, oldPath: at("f"), newPath: at(path), extension: Hardlink })],
          [`SYMLINK ${path}`, m.Symlink.encode({ id, target: "f", path: at(path) })],
        ] as const
      ),
      ["REMOVE d/", m.Remove.encode({ id, path: at("d/") })],
      ["REMOVE ld/", m.Remove.encode({ id, path: at("ld/") })],
      ["RENAME of ld/", m.Rename.encode({ id, oldPath: at("ld/"), newPath: at("new") })],
      ["STAT d/", m.Stat.encode({ id, path: at("d/") })],
      ["LSTAT ld/", m.Lstat.encode({ id, path: at("ld/") })],
      ["SETSTAT d/", m.Setstat.encode({ id, path: at("d/"), attrs: { mode: 0o755 } })],
      ["RENAME of d/", m.Rename.encode({ id, oldPath: at("d/"), newPath: at("moved/") })],
      ["MKDIR made/", m.Mkdir.encode({ id, path: at("made/"), attrs })],
      ["RMDIR made/", m.Rmdir.encode({ id, path: at("made/") })],
    ];
    const { posixRename: PosixRename, hardlink: Hardlink } = Extension;
    const outcomes: Record<string, boolean>[] = [], left: string[][] = [];
    for (const [name, start] of Object.entries(servers)) {
      await using dir = await tempDir();
      await Deno.mkdir(`${dir.path}/d`);
      await Deno.writeTextFile(`${dir.path}/f`, "f");
      await Deno.symlink("f", `${dir.path}/lf`);
      await Deno.symlink("d", `${dir.path}/ld`);
      const { channel, ended } = start(dir.path), peer = new RawPeer(channel);
      await peer.ask(m.encodeVersion(Fxp.INIT, 3));
      const outcome: Record<string, boolean> = {};
      const at = (path: string): string => name === "our server" ? `/${path}` : `${dir.path}/${path}`;
      for (const [what, payload] of requests(at)) {
        const reply = (await peer.ask(payload))!;
        outcome[what] = reply[0] !== Fxp.STATUS || statusIn(reply) === Status.OK;
        if (reply[0] === Fxp.HANDLE) await peer.ask(m.Close.encode({ id: 2, handle: m.Handle.decode(reply).handle }));
      }
      await peer.end();
      await ended;
      outcomes.push(outcome);
      left.push(await namesBelow(dir.path));
    }
    assertEquals(outcomes[0], outcomes[1]);
    assertEquals(left[0], left[1]);
  },
});

for (const [name, start] of Object.entries(servers)) {
  // S23
  Deno.test(`no call of the client makes a file of a path that ends in a slash, here or there (${name})`, async () => {
    await using dir = await tempDir();
    const root = `${dir.path}/root`, here = `${dir.path}/here`;
    await Deno.mkdir(root);
    await Deno.mkdir(here);
    for (const place of [root, here]) await Deno.writeTextFile(`${place}/f`, "f");
    const { channel, ended } = start(root), sftp = await openSftp(channel);
    const base = name === "our server" ? "/" : `${root}/`;
    const refused = async (work: () => Promise<unknown>): Promise<void> => {
      const error = await assertRejects(work, SftpError);
      assertEquals([Status.NO_SUCH_FILE, Status.FAILURE].includes(error.status as 2 | 4), true, error.message);
    };
    for (const end of ["none/", "none//", "f/", "none/."]) {
      await refused(() => sftp.upload(`${here}/f`, base + end));
      await refused(() => sftp.upload(`${here}/f`, base + end, { inPlace: true }));
      await refused(() => sftp.writeFile(base + end, new Uint8Array(1)));
      await refused(() => sftp.writeFile(base + end, new Uint8Array(100_000)));
      await refused(() => sftp.writeTextFile(base + end, "x", { append: true }));
      await refused(() => sftp.writeFile(base + end, new Uint8Array(1), { createNew: true }));
      await refused(() => sftp.open(base + end, { write: true, create: true }));
      await refused(() => sftp.open(base + end));
      await refused(() => sftp.copyFile(`${base}f`, base + end));
      await refused(() => sftp.rename(`${base}f`, base + end));
      await refused(() => sftp.download(`${base}f`, `${here}/${end}`));
      await refused(() => sftp.download(`${base}f`, `${here}/${end}`, { inPlace: true }));
    }
    assertEquals([await namesBelow(root), await namesBelow(here)], [["f"], ["f"]]);
    for (const place of [root, here]) await Deno.mkdir(`${place}/d`);
    await sftp.upload(`${here}/f`, `${base}d/`);
    await sftp.download(`${base}f`, `${here}/d/`);
    assertEquals([await namesBelow(root), await namesBelow(here)], [["d", "d/f", "f"], ["d", "d/f", "f"]]);
    await sftp.close();
    await ended;
  });
}

for (const [name, start] of Object.entries(sinks)) {
  // S23
  Deno.test(`scp makes no file of a path that ends in a slash when it takes one, and sends one by such a name (${name})`, async () => {
    await using dir = await tempDir();
    const root = `${dir.path}/root`, here = `${dir.path}/here`;
    await Deno.mkdir(`${root}/d`, { recursive: true });
    await Deno.mkdir(`${here}/d`, { recursive: true });
    await Deno.writeTextFile(`${root}/f`, "f");
    await Deno.writeTextFile(`${here}/g`, "g");
    for (const end of ["none/", "none//", "g/"]) {
      const peer = start(scpCommand("from", "f"), root);
      await assertRejects(() => scpDownload(peer.channel, "f", `${here}/${end}`), SftpError);
      await peer.channel.writable.close().catch(() => {});
      await peer.channel.readable.cancel().catch(() => {});
      await peer.code;
    }
    const strange = start(scpCommand("from", "f/"), root);
    await scpDownload(strange.channel, "f/", `${here}/x`);
    assertEquals([await strange.code, await Deno.readTextFile(`${here}/x`)], [0, "f"]);
    await Deno.remove(`${here}/x`);
    for (const end of ["none/", "none//", "f/"]) {
      const peer = start(scpCommand("to", end), root);
      await assertRejects(() => scpUpload(peer.channel, `${here}/g`), SftpError);
      await peer.code;
    }
    assertEquals([await namesBelow(root), await namesBelow(here)], [["d", "f"], ["d", "g"]]);
    const into = start(scpCommand("from", "f"), root);
    await scpDownload(into.channel, "f", `${here}/d/`);
    const up = start(scpCommand("to", "d/"), root);
    await scpUpload(up.channel, `${here}/g`);
    assertEquals([await into.code, await up.code], [0, 0]);
    assertEquals([await namesBelow(root), await namesBelow(here)], [["d", "d/g", "f"], ["d", "d/f", "g"]]);
  });
}
