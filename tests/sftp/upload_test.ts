/** Uploads: what they leave behind, what they refuse, and what they say. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import type { SftpClient } from "../../lib/sftp/client.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import { PacketReader } from "../../lib/sftp/wire/packet_reader.ts";
import { openRootedBackend } from "../../lib/files/rooted/backend.ts";
import {
  isMissing,
  namesBelow,
  OPENSSH_SERVER,
  ours,
  pattern,
  sha256,
  spawned,
  tempDir,
} from "../_support/sftp_peers.ts";

Deno.test("upload() leaves no part behind when a directory has the file's name there", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there/small`, { recursive: true });
  await Deno.mkdir(`${dir.path}/here`);
  await Deno.writeTextFile(`${dir.path}/here/small`, "x");
  await using peer = await ours({ root: `${dir.path}/there` });
  await assertRejects(() => peer.sftp.upload(`${dir.path}/here/small`, "/"), SftpError);
  assertEquals(await namesBelow(`${dir.path}/there`), ["small"]);
});

Deno.test("upload() copies a file whose size is given as 0, as those of /proc", async () => {
  await using dir = await tempDir();
  await using peer = await ours({ root: dir.path });
  await peer.sftp.upload("/proc/self/status", "/status");
  assert((await Deno.readTextFile(`${dir.path}/status`)).length > 0, "the copy is empty");
});

Deno.test("upload() of a glob that matches nothing tells so", async () => {
  await using dir = await tempDir();
  await using peer = await ours({ root: dir.path });
  const outcome = await peer.sftp.upload(`${dir.path}/*.none`, "/into")
    .then((summary) => summary, (error) => error as Error);
  assert(outcome instanceof Error, `${JSON.stringify(outcome)}, and ${(await namesBelow(dir.path)).join(" ")} made`);
});

Deno.test("upload() of a glob does not let one file take another's place", async () => {
  await using dir = await tempDir();
  for (const folder of ["a", "b"]) {
    await Deno.mkdir(`${dir.path}/here/${folder}`, { recursive: true });
    await Deno.writeTextFile(`${dir.path}/here/${folder}/same`, folder);
  }
  await using peer = await ours({ root: dir.path });
  const outcome = await peer.sftp.upload(`${dir.path}/here/*/same`, "/there")
    .then((summary) => summary, (error) => error as Error);
  assert(outcome instanceof SftpError, `${JSON.stringify(outcome)}, but there is one file`);
});

Deno.test("upload() names the path that the user gave when the target's parent is missing", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  await using peer = await ours({ root: dir.path });
  const error = await assertRejects(() => peer.sftp.upload(`${dir.path}/f`, "/missing/f"), SftpError);
  assert(!error.message.includes(".part"), error.message);
  assertEquals(error.path, "/missing/f");
});

/** Our client on our server, with the types of the packets that it sends. */
async function counted(root: string): Promise<AsyncDisposable & { sftp: SftpClient; readonly sent: number[] }> {
  const sent: number[] = [];
  const packets = new PacketReader({ packet: (payload) => void sent.push(payload[0]!) });
  const peer = await ours({ root }, ({ readable, writable }) => {
    const tap = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        packets.push(chunk.slice());
        controller.enqueue(chunk);
      },
    });
    tap.readable.pipeTo(writable).catch(() => {});
    return { readable, writable: tap.writable };
  });
  return { sftp: peer.sftp, sent, [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose]() };
}

Deno.test("upload() gives a new file its source's bits, and one that is replaced those it had", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there/tree`, { recursive: true });
  await Deno.mkdir(`${dir.path}/here`);
  for (const [name, mode] of [["narrow", 0o640], ["wide", 0o640], ["new", 0o600]] as const) {
    await Deno.writeFile(`${dir.path}/here/${name}`, pattern(300_000));
    await Deno.chmod(`${dir.path}/here/${name}`, mode);
  }
  await Deno.writeTextFile(`${dir.path}/there/tree/narrow`, "old");
  await Deno.chmod(`${dir.path}/there/tree/narrow`, 0o400);
  await Deno.writeTextFile(`${dir.path}/there/tree/wide`, "old");
  await Deno.chmod(`${dir.path}/there/tree/wide`, 0o666);
  await using peer = await counted(`${dir.path}/there`);
  const modes = (): string[] =>
    ["narrow", "wide", "new"].map((name) => {
      return (Deno.statSync(`${dir.path}/there/tree/${name}`).mode! & 0o777).toString(8);
    });
  await peer.sftp.upload(`${dir.path}/here`, "/tree", { recursive: true });
  assertEquals(modes(), ["400", "666", "600"]);
  await peer.sftp.upload(`${dir.path}/here`, "/tree", { recursive: true, preserve: true });
  assertEquals(modes(), ["640", "640", "600"]);
  // The bits come before the contents that they may have to hide.
  await Deno.chmod(`${dir.path}/there/tree/narrow`, 0o600);
  peer.sent.length = 0;
  await peer.sftp.upload(`${dir.path}/here/narrow`, "/tree/narrow");
  const first = peer.sent.indexOf(Fxp.FSETSTAT);
  assert(first >= 0 && first < peer.sent.indexOf(Fxp.WRITE), peer.sent.join());
});

Deno.test("upload() of a tree into a directory that it makes asks for nothing but to open, write, close and rename", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/here/sub`, { recursive: true });
  await Deno.mkdir(`${dir.path}/there`);
  for (let i = 0; i < 10; i++) await Deno.writeTextFile(`${dir.path}/here/sub/f${i}`, "x");
  await using peer = await counted(`${dir.path}/there`);
  peer.sent.length = 0;
  await peer.sftp.upload(`${dir.path}/here`, "/new", { recursive: true });
  const count = (type: number): number => peer.sent.filter((sent) => sent === type).length;
  assertEquals([Fxp.MKDIR, Fxp.OPEN, Fxp.WRITE, Fxp.CLOSE, Fxp.EXTENDED].map(count), [2, 10, 10, 10, 10]);
  assertEquals(peer.sent.length, 42);
});

for (
  const { name, ignore, start, inside } of [
    {
      name: "OpenSSH sftp-server",
      ignore: isMissing(OPENSSH_SERVER),
      start: (_: string) => spawned(),
      inside: (root: string) => root,
    },
    { name: "our server", ignore: false, start: (root: string) => ours({ root }), inside: () => "" },
  ]
) {
  Deno.test({
    name: `upload() keeps times of files whatever their size is (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      await using peer = await start(dir.path);
      for (const size of [0, 10, 32_769, 1_048_576, 1_048_676, 2_000_000]) {
        await Deno.writeFile(`${dir.path}/f`, pattern(size));
        await Deno.utime(`${dir.path}/f`, 1000, 2000);
        await peer.sftp.upload(`${dir.path}/f`, `${inside(dir.path)}/g`, { preserve: true });
        const { mtime, size: copied } = await Deno.stat(`${dir.path}/g`);
        assertEquals([mtime!.getTime(), copied], [2_000_000, size], String(size));
      }
    },
  });

  Deno.test({
    name: `upload() never writes to what has the name of its part already (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      await Deno.mkdir(`${dir.path}/there`);
      await Deno.writeFile(`${dir.path}/f`, pattern(3_000_000));
      await Deno.writeTextFile(`${dir.path}/there/precious`, "precious");
      await using peer = await start(`${dir.path}/there`);
      const remote = `${inside(`${dir.path}/there`)}/f`, controller = new AbortController();
      await assertRejects(
        () =>
          peer.sftp.upload(`${dir.path}/f`, remote, {
            signal: controller.signal,
            onProgress: ({ bytes }) => bytes > 0 && controller.abort(new Error("stop it")),
          }),
        Error,
        "stop it",
      );
      const [part, ...others] = (await namesBelow(`${dir.path}/there`)).filter((name) => name.endsWith(".part"));
      assertEquals(others, []);
      await Deno.remove(`${dir.path}/there/${part}`);
      await Deno.symlink("precious", `${dir.path}/there/${part}`);
      await peer.sftp.upload(`${dir.path}/f`, remote);
      assertEquals(await Deno.readTextFile(`${dir.path}/there/precious`), "precious");
      assertEquals(await sha256(`${dir.path}/there/f`), await sha256(`${dir.path}/f`));
      assertEquals((await Deno.lstat(`${dir.path}/there/f`)).isFile, true);
      assertEquals(await namesBelow(`${dir.path}/there`), ["f", "precious"]);
    },
  });
}

Deno.test("upload() takes no empty directory away where the server has no posix-rename", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there/f`, { recursive: true });
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  const served = await openRootedBackend({ root: `${dir.path}/there` });
  const old = new TextEncoder().encode(Extension.posixRename);
  await using peer = await ours(served, ({ readable, writable }) => {
    // The name in the server's list of extensions is spoilt.
    const hide = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        for (let i = 0; i + old.length <= chunk.length; i++) {
          if (old.every((byte, k) => chunk[i + k] === byte)) chunk[i] = 0x78;
        }
        controller.enqueue(chunk);
      },
    });
    return { readable: readable.pipeThrough(hide), writable };
  });
  const error = await assertRejects(() => peer.sftp.upload(`${dir.path}/f`, "/"), SftpError);
  assertEquals(error.path, "/f");
  assertEquals(await namesBelow(`${dir.path}/there`), ["f"]);
  assert((await Deno.stat(`${dir.path}/there/f`)).isDirectory);
});

Deno.test("upload() tells of what fails by the path that the user knows, and what may help", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there/taken`, { recursive: true });
  await Deno.writeTextFile(`${dir.path}/taken`, "x");
  await using peer = await ours({ root: `${dir.path}/there` });
  const missing = await assertRejects(() => peer.sftp.upload(`${dir.path}/taken`, "/missing/f"), SftpError);
  assert(missing.message.endsWith("its directory may be missing: make that first"), missing.message);
  assert(!missing.message.includes("recursive"), missing.message);
  const taken = await assertRejects(() => peer.sftp.upload(`${dir.path}/taken`, "/"), SftpError);
  assert(taken.message.startsWith('Cannot replace "/taken": '), taken.message);
  assertEquals(taken.path, "/taken");
  const parent = `${dir.path}/taken/f`;
  const local = await assertRejects(() => peer.sftp.upload(parent, "/f"), SftpError);
  assert(local.message.startsWith(`Cannot upload "${parent}": `), local.message);
  assertEquals(local.path, parent);
});

Deno.test("upload() of a glob tells of a link that leads nowhere, and copies the rest", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/here`);
  await Deno.writeTextFile(`${dir.path}/here/b`, "x");
  await Deno.symlink("nowhere", `${dir.path}/here/a`);
  await using peer = await ours({ root: dir.path });
  const error = await assertRejects(() => peer.sftp.upload(`${dir.path}/here/*`, "/there"), SftpError, "1 failed");
  assertEquals(error.path, `${dir.path}/here/a`);
  assertEquals(await namesBelow(`${dir.path}/there`), ["b"]);
});

Deno.test("upload() replaces a file where there are no permission bits, and not where it would be open to more", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.writeTextFile(`${dir.path}/there/f`, "old");
  await Deno.writeTextFile(`${dir.path}/f`, "new");
  const served = await openRootedBackend({ root: `${dir.path}/there` }), open = served.open.bind(served);
  const attributes: { setStat?: () => void } = {};
  served.open = async (...args) => {
    const file = await open(...args);
    return {
      readAt: (p: Uint8Array, offset: number) => file.readAt(p, offset),
      writeAt: (p: Uint8Array, offset: number) => file.writeAt(p, offset),
      stat: () => file.stat(),
      ...attributes,
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    };
  };
  Object.assign(served, { setStat: undefined });
  await using peer = await ours(served);
  assertEquals(await peer.sftp.upload(`${dir.path}/f`, "/f"), { files: 1, bytes: 3, warnings: [] });
  assertEquals(await Deno.readTextFile(`${dir.path}/there/f`), "new");
  attributes.setStat = () => {
    throw new Deno.errors.PermissionDenied("Permission denied");
  };
  await Deno.writeTextFile(`${dir.path}/there/f`, "old");
  await Deno.chmod(`${dir.path}/f`, 0o644);
  await Deno.chmod(`${dir.path}/there/f`, 0o664);
  assertEquals(await peer.sftp.upload(`${dir.path}/f`, "/f"), { files: 1, bytes: 3, warnings: [] });
  // Others could read what they could not before.
  await Deno.writeTextFile(`${dir.path}/there/f`, "old");
  await Deno.chmod(`${dir.path}/there/f`, 0o600);
  const error = await assertRejects(() => peer.sftp.upload(`${dir.path}/f`, "/f"), SftpError, "`inPlace: true`");
  assertEquals([error.path, error.status], ["/f", Status.PERMISSION_DENIED]);
  assertEquals(await Deno.readTextFile(`${dir.path}/there/f`), "old");
  assertEquals(await namesBelow(`${dir.path}/there`), ["f"]);
});
