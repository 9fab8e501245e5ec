/** Names that Linux and macOS take, whatever other systems make of them, and those that none takes. */
import { assert, assertEquals } from "@std/assert";
import { localNameOf } from "../../lib/files/local_names.ts";
import { scpDownload, scpUpload } from "../../lib/scp/scp.ts";
import { serveScp } from "../../lib/scp/server.ts";
import { scpCommand } from "../../lib/scp/command.ts";
import type { SftpChannel } from "../../lib/sftp/wire/channel.ts";
import {
  isMissing,
  namesBelow,
  OPENSSH_SERVER,
  ours,
  pipes,
  someone,
  spawned,
  tempDir,
} from "../_support/sftp_peers.ts";

/** Legal where only the slash and NUL are not. */
const legal = [
  "home\\x2dx.mount",
  "a:b",
  "C:",
  "C:\\x",
  "c:x",
  "..\\x",
  "\\",
  "\\\\host\\share",
  ".hidden",
  "...",
  "..a",
  " lead",
  "trail ",
  "dot.",
  ". ",
  "~",
  "~root",
  "-rf",
  "--",
  "con",
  "nul.txt",
  "a*b?[c]{d,e}",
  "<>|\"'`$(x);&",
  "tab\tbell\x07esc\x1b",
  "return\r",
  "größe ✓",
  "%41",
  "#",
];

const SCP = "/usr/bin/scp";

async function madeTree(path: string): Promise<string[]> {
  await Deno.mkdir(`${path}/sub`, { recursive: true });
  for (const name of legal) {
    await Deno.writeTextFile(`${path}/${name}`, name);
    await Deno.mkdir(`${path}/sub/${name}`);
    await Deno.writeTextFile(`${path}/sub/${name}/${name}`, name);
  }
  return await namesBelow(path);
}

const servers = {
  "our server": (root: string) => ours({ root }),
  ...isMissing(OPENSSH_SERVER) ? {} : { "OpenSSH's server": (_root: string) => spawned() },
};

for (const [name, start] of Object.entries(servers)) {
  // S14
  Deno.test({
    name: `upload(), download() and glob() carry every name that Linux takes (${name})`,
    ignore: Deno.build.os === "windows",
    async fn() {
      await using dir = await tempDir();
      const own = name === "our server", base = own ? "" : `${dir.path}/root`;
      await Deno.mkdir(`${dir.path}/root`);
      const names = await madeTree(`${dir.path}/tree`);
      await using peer = await start(`${dir.path}/root`);
      const { sftp } = peer;
      await sftp.upload(`${dir.path}/tree`, `${base}/tree`, { recursive: true });
      assertEquals(await namesBelow(`${dir.path}/root/tree`), names);
      await sftp.download(`${base}/tree`, `${dir.path}/back`, { recursive: true });
      assertEquals(await namesBelow(`${dir.path}/back`), names);
      assertEquals(await Deno.readTextFile(`${dir.path}/back/home\\x2dx.mount`), "home\\x2dx.mount");
      await sftp.download(`${base}/tree/{*,.*}`, `${dir.path}/found`, { recursive: true });
      assertEquals((await namesBelow(`${dir.path}/found`)).length, names.length);
      for (const one of legal) {
        await sftp.download(`${base}/tree/${one}`, `${dir.path}/found`);
        await sftp.download(`${base}/tree/${one}`, `${dir.path}/single`);
        assertEquals(await Deno.readTextFile(`${dir.path}/single`), one);
      }
    },
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
  // S14
  Deno.test({
    name: `scpUpload() and scpDownload() carry every name that Linux takes (${name})`,
    ignore: Deno.build.os === "windows",
    async fn() {
      await using dir = await tempDir();
      const root = `${dir.path}/root`, options = { recursive: true };
      await Deno.mkdir(root);
      const names = await madeTree(`${dir.path}/tree`);
      const up = start(scpCommand("to", "tree", options), root);
      await scpUpload(up.channel, `${dir.path}/tree`, options);
      assertEquals([await up.code, await namesBelow(`${root}/tree`)], [0, names]);
      const down = start(scpCommand("from", "tree", options), root);
      await scpDownload(down.channel, "tree", `${dir.path}/back`, options);
      assertEquals([await down.code, await namesBelow(`${dir.path}/back`)], [0, names]);
      await Deno.mkdir(`${dir.path}/single`);
      for (const one of ["home\\x2dx.mount", "a:b", "C:\\x", "-rf"]) {
        const single = start(scpCommand("from", one), `${root}/tree`);
        await scpDownload(single.channel, one, `${dir.path}/single`);
        assertEquals([await Deno.readTextFile(`${dir.path}/single/${one}`), await single.code], [one, 0]);
      }
    },
  });
}

Deno.test("localNameOf() takes on Linux and macOS what holds no slash, and on Windows what leads nowhere else", () => {
  for (const system of ["linux", "darwin", "windows"] as const) {
    for (const bad of ["", ".", "..", "a/b", "/", "../x", "x/..", "nul\0"]) {
      assertEquals(localNameOf(bad, system), null);
    }
    for (const good of ["a", "a b", ".hidden", "...a", "größe ✓", "console", "com10", "null", "a.con"]) {
      assertEquals(localNameOf(good, system), good);
    }
    assertEquals(localNameOf("caf\udce9", system), "caf%E9");
  }
  for (const name of legal) assertEquals([localNameOf(name, "linux"), localNameOf(name, "darwin")], [name, name]);
  for (
    const name of [
      ...[
        "a\\b",
        "C:\\x",
        "C:x",
        "a:b",
        "..\\x",
        "\\",
        "a*",
        "a?",
        'a"',
        "<a",
        "a>",
        "a|b",
        "a\x1f",
        "dot.",
        "a ",
        "...",
      ],
      ...["con", "CON", "nul", "Nul.txt", "aux.tar.gz", "com1", "LPT9.x", "COM\u00b9", "prn", "conin$", "CONOUT$"],
    ]
  ) assertEquals(localNameOf(name, "windows"), null, name);
  assert(legal.length > 20);
});
