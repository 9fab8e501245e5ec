/** `exclude` of uploads and downloads, by SFTP and SCP: what is left out, compared with rsync where it is there. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { scpCommand } from "../../lib/scp/command.ts";
import { scpDownload, type ScpOptions, scpUpload } from "../../lib/scp/scp.ts";
import { serveScp } from "../../lib/scp/server.ts";
import type { TransferOptions } from "../../lib/sftp/transfer/run.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import type { TransferSummary } from "../../lib/files/copied.ts";
import { join } from "../_support/joined.ts";
import { scpHandler } from "../../lib/api/scp_handler.ts";
import { fileNode, memoryFiles, refusing } from "../_support/refusing_server.ts";
import {
  isMissing,
  namesBelow,
  OPENSSH_SERVER,
  ours,
  pattern,
  pipes,
  scripted,
  someone,
  spawned,
  statusReply,
  tempDir,
} from "../_support/sftp_peers.ts";

const RSYNC = "/usr/bin/rsync", SCP = "/usr/bin/scp";

const paths = [
  ".git/config",
  ".hidden",
  "a.log",
  "build/out.js",
  "build/sub/x.log",
  "docs/a.txt",
  "docs/build/y",
  "empty/",
  "node_modules/m/index.js",
  "src/a.ts",
  "src/b.log",
  "src/build",
  "src/node_modules/n/index.js",
];

async function makeTree(path: string): Promise<void> {
  for (const [i, name] of paths.entries()) {
    const directory = `${path}/${name.slice(0, name.lastIndexOf("/") + 1)}`;
    await Deno.mkdir(directory, { recursive: true });
    if (!name.endsWith("/")) await Deno.writeFile(`${path}/${name}`, pattern(i + 1));
  }
}

/** Files, and directories with a slash. */
async function below(path: string, prefix = ""): Promise<string[]> {
  const list: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${path}/${prefix}`)) {
    list.push(`${prefix}${name}${isDirectory ? "/" : ""}`);
    if (isDirectory) list.push(...await below(path, `${prefix}${name}/`));
  }
  return list.sort();
}

const sets: readonly (readonly string[])[] = [
  ["*.log"],
  ["build", ".git/"],
  ["/build", "node_modules/", ".*"],
  ["/docs/**", "src/build/"],
  ["**/build/", "/*.log"],
  ["*"],
];

/** What is there where these are left out. */
const expected: readonly (readonly string[])[] = [
  [
    ".git/",
    ".git/config",
    ".hidden",
    "build/",
    "build/out.js",
    "build/sub/",
    "docs/",
    "docs/a.txt",
    "docs/build/",
    "docs/build/y",
    "empty/",
    "node_modules/",
    "node_modules/m/",
    "node_modules/m/index.js",
    "src/",
    "src/a.ts",
    "src/build",
    "src/node_modules/",
    "src/node_modules/n/",
    "src/node_modules/n/index.js",
  ],
  [
    ".hidden",
    "a.log",
    "docs/",
    "docs/a.txt",
    "empty/",
    "node_modules/",
    "node_modules/m/",
    "node_modules/m/index.js",
    "src/",
    "src/a.ts",
    "src/b.log",
    "src/node_modules/",
    "src/node_modules/n/",
    "src/node_modules/n/index.js",
  ],
  [
    "a.log",
    "docs/",
    "docs/a.txt",
    "docs/build/",
    "docs/build/y",
    "empty/",
    "src/",
    "src/a.ts",
    "src/b.log",
    "src/build",
  ],
  [
    ".git/",
    ".git/config",
    ".hidden",
    "a.log",
    "build/",
    "build/out.js",
    "build/sub/",
    "build/sub/x.log",
    "docs/",
    "empty/",
    "node_modules/",
    "node_modules/m/",
    "node_modules/m/index.js",
    "src/",
    "src/a.ts",
    "src/b.log",
    "src/build",
    "src/node_modules/",
    "src/node_modules/n/",
    "src/node_modules/n/index.js",
  ],
  [
    ".git/",
    ".git/config",
    ".hidden",
    "docs/",
    "docs/a.txt",
    "empty/",
    "node_modules/",
    "node_modules/m/",
    "node_modules/m/index.js",
    "src/",
    "src/a.ts",
    "src/b.log",
    "src/build",
    "src/node_modules/",
    "src/node_modules/n/",
    "src/node_modules/n/index.js",
  ],
  [],
];

Deno.test({
  name: "the trees that these tests expect are those that rsync leaves",
  ignore: isMissing(RSYNC),
  async fn() {
    await using dir = await tempDir();
    await makeTree(`${dir.path}/src`);
    for (const [i, set] of sets.entries()) {
      const args = ["-a", ...set.map((one) => `--exclude=${one}`), `${dir.path}/src/`, `${dir.path}/${i}/`];
      assert((await new Deno.Command(RSYNC, { args }).output()).success);
      assertEquals(await below(`${dir.path}/${i}`), expected[i], set.join());
    }
  },
});

/** Copies a tree one way or the other: `exclude` is the same for all. */
type Copy = (from: string, to: string, options: TransferOptions & ScpOptions) => Promise<TransferSummary>;

/** Streams of `scp` as a server starts it. */
async function withScp<T>(
  command: string,
  act: (streams: { readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array> }) => Promise<T>,
): Promise<T> {
  const child = new Deno.Command("/bin/sh", { args: ["-c", command], stdin: "piped", stdout: "piped", stderr: "null" })
    .spawn();
  try {
    return await act({ readable: child.stdout, writable: child.stdin });
  } finally {
    await child.status;
  }
}

/** The same with our server of SCP. */
async function withOurs<T>(
  command: string,
  act: (streams: { readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array> }) => Promise<T>,
): Promise<T> {
  const { near, far } = pipes(), served = serveScp(far, command, { root: "/" }, someone);
  try {
    return await act(near);
  } finally {
    await served;
  }
}

const recursive = { recursive: true, preserve: true };

for (
  const { name, ignore, upload, download } of [
    {
      name: "OpenSSH sftp-server",
      ignore: isMissing(OPENSSH_SERVER),
      upload: async (from, to, options) => {
        await using peer = await spawned();
        return await peer.sftp.upload(from, to, options);
      },
      download: async (from, to, options) => {
        await using peer = await spawned();
        return await peer.sftp.download(from, to, options);
      },
    },
    {
      name: "our SFTP server",
      ignore: false,
      upload: async (from, to, options) => {
        await using peer = await ours({ root: "/" });
        return await peer.sftp.upload(from, to, options);
      },
      download: async (from, to, options) => {
        await using peer = await ours({ root: "/" });
        return await peer.sftp.download(from, to, options);
      },
    },
    {
      name: "OpenSSH scp",
      ignore: isMissing(SCP),
      upload: (from, to, options) =>
        withScp(scpCommand("to", to, recursive), (streams) => scpUpload(streams, from, options)),
      download: (from, to, options) =>
        withScp(scpCommand("from", from, recursive), (streams) => scpDownload(streams, from, to, options)),
    },
    {
      name: "our SCP server",
      ignore: false,
      upload: (from, to, options) =>
        withOurs(scpCommand("to", to, recursive), (streams) => scpUpload(streams, from, options)),
      download: (from, to, options) =>
        withOurs(scpCommand("from", from, recursive), (streams) => scpDownload(streams, from, to, options)),
    },
  ] as { name: string; ignore: boolean; upload: Copy; download: Copy }[]
) {
  Deno.test({
    name: `upload and download leave out of a tree what rsync leaves out (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      await makeTree(`${dir.path}/src`);
      for (const [i, exclude] of sets.entries()) {
        for (const [way, copy] of Object.entries({ up: upload, down: download })) {
          const to = `${dir.path}/${way}${i}`;
          const summary = await copy(`${dir.path}/src`, to, { recursive: true, preserve: i === 1, exclude });
          assertEquals(await below(to), expected[i], `${way} ${exclude}`);
          assertEquals(summary.files, expected[i]!.filter((path) => !path.endsWith("/")).length);
          assertEquals(summary.warnings, []);
        }
      }
      // What is named is copied, whatever it is called.
      await upload(`${dir.path}/src/a.log`, `${dir.path}/named`, { exclude: ["*", "a.log"] });
      await download(`${dir.path}/src/a.log`, `${dir.path}/named2`, { exclude: ["*", "a.log"] });
      assertEquals(await Deno.readFile(`${dir.path}/named`), await Deno.readFile(`${dir.path}/named2`));
    },
  });
}

Deno.test("client.scp does not warn of the exit code that what is not wanted has", async () => {
  await using dir = await tempDir();
  await makeTree(`${dir.path}/src`);
  await using joined = await join({ handler: scpHandler({ root: dir.path }) });
  const summary = await joined.client.scp.download("/src", `${dir.path}/down`, { recursive: true, exclude: sets[1]! });
  assertEquals(summary.warnings, []);
  assertEquals(await below(`${dir.path}/down`), expected[1]);
  const all = await joined.client.scp.upload(`${dir.path}/src`, "/up", { recursive: true, exclude: sets[2]! });
  assertEquals([all.warnings, await below(`${dir.path}/up`)], [[], expected[2]]);
});

Deno.test("what a glob finds lies at the top, and what is left out of that needs no directory", async () => {
  await using dir = await tempDir();
  await makeTree(`${dir.path}/src`);
  await using peer = await ours({ root: dir.path });
  for (const [way, to] of [["up", `/g`], ["down", `${dir.path}/h`]] as const) {
    const copy = (pattern: string, exclude: string[]) =>
      way === "up"
        ? peer.sftp.upload(`${dir.path}/src/${pattern}`, to, { recursive: true, exclude })
        : peer.sftp.download(`/src/${pattern}`, to, { recursive: true, exclude });
    await copy("*.log", ["/a.log"]);
    await assertRejects(() => Deno.stat(`${dir.path}${way === "up" ? to : "/h"}`), Deno.errors.NotFound);
    await copy("*", ["a.log", "/build/", "src/b*", "index.js", "empty"]);
    assertEquals(await below(`${dir.path}/${way === "up" ? "g" : "h"}`), [
      "docs/",
      "docs/a.txt",
      "docs/build/",
      "docs/build/y",
      "node_modules/",
      "node_modules/m/",
      "src/",
      "src/a.ts",
      "src/node_modules/",
      "src/node_modules/n/",
    ]);
  }
});

Deno.test("links are left out by their names, and by a slash where they are followed to a directory", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/src/real`, { recursive: true });
  await Deno.writeTextFile(`${dir.path}/src/real/f`, "x");
  await Deno.symlink("real", `${dir.path}/src/link`);
  await Deno.symlink("nowhere", `${dir.path}/src/dangling`);
  await using peer = await ours({ root: dir.path });
  for (
    const [exclude, links, left] of [
      [["dangling", "link/"], "copy", ["link", "real/", "real/f"]],
      [["dangling", "link/"], "follow", ["real/", "real/f"]],
      [["dangling", "link"], "follow", ["real/", "real/f"]],
      [["dangling", "/link/f"], "follow", ["link/", "real/", "real/f"]],
    ] as const
  ) {
    for (const way of ["up", "down"]) {
      const to = `${dir.path}/to`, options = { recursive: true, exclude, links };
      if (way === "up") await peer.sftp.upload(`${dir.path}/src`, "/to", options);
      else await peer.sftp.download("/src", to, options);
      assertEquals(await below(to), [...left], `${way} ${exclude} ${links}`);
      await Deno.remove(to, { recursive: true });
    }
  }
});

Deno.test("a directory that is left out is not opened there, and nothing that only a listing tells is asked for", async () => {
  await using dir = await tempDir();
  const files = memoryFiles();
  for (const path of ["/top", "/top/out", "/top/in"]) {
    files.nodes.set(path, { kind: "directory", mode: 0o755, mtime: 0, atime: 0 });
  }
  for (const path of ["/top/out/f", "/top/in/f", "/top/x.log"]) files.nodes.set(path, fileNode(pattern(3)));
  await using peer = await refusing(files, () => null);
  await peer.sftp.download("/top", `${dir.path}/down`, { recursive: true, exclude: ["out", "*.log"] });
  assertEquals(await below(`${dir.path}/down`), ["in/", "in/f"]);
  assertEquals(peer.asked.filter((kind) => kind === "OPENDIR").length, 2);
  assertEquals(peer.asked.filter((kind) => kind === "OPEN").length, 1);
  assertEquals(peer.open(), 0);
});

Deno.test("names that lead out of the tree are told of, and not left out in silence", async () => {
  await using dir = await tempDir();
  let listed = false;
  await using peer = await scripted((payload, id) => {
    if (payload[0] === Fxp.STAT) return m.Attrs.encode({ id, attrs: { mode: 0o40755 } });
    if (payload[0] === Fxp.OPENDIR) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    if (payload[0] !== Fxp.READDIR) return statusReply(id, payload[0] === Fxp.CLOSE ? 0 : 4);
    if (listed) return statusReply(id, 1);
    listed = true;
    const attrs = { mode: 0o100644, size: 1 };
    return m.Name.encode({
      id,
      entries: ["../x", "a/b", "ok"].map((name) => ({ name, longName: "", attrs })),
    });
  });
  const options = { recursive: true, exclude: ["*", "**"] };
  const error = await assertRejects(() => peer.sftp.download("/top", `${dir.path}/d`, options), SftpError);
  assert(error.message.includes("2 failed"), error.message);
  assertEquals(await namesBelow(`${dir.path}/d`), []);
});
