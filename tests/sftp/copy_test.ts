/** Copies on the server. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import type { SftpBackend } from "../../lib/files/backend.ts";
import { Status } from "../../lib/files/limits.ts";
import { Extension } from "../../lib/sftp/wire/constants.ts";
import type { SftpChannel } from "../../lib/sftp/wire/channel.ts";
import { type Fault, fileNode, memoryFiles, refusing, statuses } from "../_support/refusing_server.ts";
import { isMissing, OPENSSH_SERVER, ours, pattern, sha256, spawned, tempDir } from "../_support/sftp_peers.ts";

const openssh = { ignore: isMissing(OPENSSH_SERVER) };

Deno.test({
  name: "copyFile() to another link of the same file loses nothing (OpenSSH sftp-server)",
  ...openssh,
  async fn() {
    await using dir = await tempDir();
    await Deno.writeTextFile(`${dir.path}/f`, "precious");
    await Deno.link(`${dir.path}/f`, `${dir.path}/other`);
    await using peer = await spawned();
    await peer.sftp.copyFile(`${dir.path}/f`, `${dir.path}/other`).catch(() => {});
    assertEquals(await Deno.readTextFile(`${dir.path}/f`), "precious");
  },
});

Deno.test({
  name: "copyFile() of a directory makes no file (OpenSSH sftp-server)",
  ...openssh,
  async fn() {
    await using dir = await tempDir();
    await Deno.mkdir(`${dir.path}/d`);
    await using peer = await spawned();
    await assertRejects(() => peer.sftp.copyFile(`${dir.path}/d`, `${dir.path}/new`), SftpError, "it is a directory");
    assertEquals(Array.from(Deno.readDirSync(dir.path), ({ name }) => name), ["d"]);
  },
});

/** The server's list of extensions, with the name of copy-data spoilt. */
function withoutCopyData(channel: SftpChannel): SftpChannel {
  const name = new TextEncoder().encode(Extension.copyData);
  const hide = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      for (let i = 0; i + name.length <= chunk.length; i++) {
        if (name.every((byte, k) => chunk[i + k] === byte)) chunk[i] = 0x78;
      }
      controller.enqueue(chunk);
    },
  });
  return { readable: channel.readable.pipeThrough(hide), writable: channel.writable };
}

for (const shape of [undefined, withoutCopyData]) {
  Deno.test(`copyFile() replaces what is shorter and what is longer (${shape === undefined ? "there" : "through here"})`, async () => {
    await using dir = await tempDir();
    await Deno.writeFile(`${dir.path}/from`, pattern(500_000));
    await Deno.chmod(`${dir.path}/from`, 0o640);
    await using peer = await ours({ root: dir.path }, shape);
    assertEquals(peer.sftp.server.extensions.has(Extension.copyData), shape === undefined);
    for (const size of [null, 0, 10, 500_000, 1_000_000]) {
      if (size !== null) await Deno.writeFile(`${dir.path}/to`, pattern(size, 7));
      await peer.sftp.copyFile("/from", "/to");
      assertEquals(await sha256(`${dir.path}/to`), await sha256(`${dir.path}/from`), String(size));
      if (size === null) assertEquals((await Deno.stat(`${dir.path}/to`)).mode! & 0o777, 0o640);
    }
    await Deno.link(`${dir.path}/from`, `${dir.path}/link`);
    await peer.sftp.copyFile("/from", "/link").catch(() => {});
    assertEquals(await sha256(`${dir.path}/link`), await sha256(pattern(500_000)));
  });
}

Deno.test("copyFile() leaves nothing of what was there where the source ends before the size that the server gives", async () => {
  for (const there of [0, 26, 100, 4096, 5000]) {
    const files = memoryFiles(), source = pattern(26), { backend } = files;
    files.nodes.set("/from", fileNode(source));
    files.nodes.set("/to", fileNode(pattern(there, 7)));
    const open: SftpBackend["open"] = async (path, options, who) => {
      const file = await backend.open(path, options, who);
      if (path !== "/from") return file;
      // As of files of /sys.
      return { ...file, stat: async () => ({ ...await file.stat(), size: 4096 }) };
    };
    await using peer = await refusing({ backend: { ...backend, open } }, () => null);
    assert(peer.sftp.server.extensions.has(Extension.copyData));
    assertEquals((await peer.sftp.readFile("/from")).length, 26);
    await peer.sftp.copyFile("/from", "/to");
    assertEquals((files.nodes.get("/to") as { data: Uint8Array }).data, source, `${there} bytes were there`);
  }
});

Deno.test("copyFile() copies through here where the server has no copy-data after all", async () => {
  const files = memoryFiles(), source = pattern(70_000, 3);
  files.nodes.set("/from", fileNode(source));
  for (const there of [0, 100, 100_000]) {
    files.nodes.set("/to", fileNode(pattern(there, 7)));
    const plan = (name: string): Fault | null => name === Extension.copyData ? { status: Status.OP_UNSUPPORTED } : null;
    await using peer = await refusing(files, plan);
    assert(peer.sftp.server.extensions.has(Extension.copyData));
    await peer.sftp.copyFile("/from", "/to");
    assert(peer.asked.includes(Extension.copyData));
    assertEquals(await sha256((files.nodes.get("/to") as { data: Uint8Array }).data), await sha256(source));
  }
});

Deno.test("copyFile() tells of what is not whole whatever becomes of any request, and leaves its source", async () => {
  const from = pattern(70_000, 3), before = pattern(100_000, 5);
  const faults: Fault[] = [...statuses.map((status) => ({ status })), "lost before", "lost behind"];
  for (const hidden of [[], [Extension.copyData]]) {
    for (const there of [null, before]) {
      for (const fault of faults) {
        for (let at = 0, count = 1; at < count; at++) {
          const files = memoryFiles();
          files.nodes.set("/from", fileNode(from));
          if (there !== null) files.nodes.set("/to", fileNode(there));
          const plan = (_: string, index: number): Fault | null => index === at ? fault : null;
          await using peer = await refusing(files, plan, [Extension.limits, ...hidden]);
          const error = await peer.sftp.copyFile("/from", "/to").then(() => null, (error) => error as Error);
          count = peer.asked.length;
          const is = (path: string, bytes: Uint8Array | null): boolean => {
            const node = files.nodes.get(path) as { data: Uint8Array } | undefined;
            return node?.data.length === bytes?.length && (bytes?.every((byte, i) => byte === node!.data[i]) ?? true);
          };
          const where = `${JSON.stringify(fault)} ${peer.asked.join(" ")}, the one of ${at}: ${error?.message}`;
          assert(is("/from", from), where);
          if (error === null) assert(is("/to", from), where);
          else {
            assert(error instanceof SftpError, where);
            const empty = there === null && is("/to", new Uint8Array(0));
            assert(is("/to", there) || is("/to", from) || empty || error.message.includes('"/to" is not whole'), where);
          }
          if (typeof fault !== "string") assertEquals(peer.open(), 0, where);
        }
      }
    }
  }
});
