/** A path with a slash at its end is a directory's: where there is none, no file of that name is made. */
import { assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { Fxp, OpenFlag, Status } from "../../lib/sftp/constants.ts";
import * as m from "../../lib/sftp/messages.ts";
import { scpUpload, serveScp } from "../../lib/sftp/scp.ts";
import { scpCommand } from "../../lib/sftp/scp_command.ts";
import type { SftpChannel } from "../../lib/sftp/requests.ts";
import { serveSftp } from "../../lib/sftp/server.ts";
import { isMissing, namesBelow, OPENSSH_SERVER, pipes, RawPeer, someone, statusIn, tempDir } from "./_support.ts";

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
