/** Sizes that a server gives are hints: a file ends where the server says EOF. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import type { SftpBackend } from "../../lib/files/backend.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { type Fault, fileNode, memoryFiles, refusing } from "../_support/refusing_server.ts";
import { namesBelow, pattern, scripted, statusReply, tempDir } from "../_support/sftp_peers.ts";

/** Files in memory, whose sizes are what `size` makes of them wherever they are told. */
function lying(
  size: (real: number) => number,
): { backend: SftpBackend; nodes: ReturnType<typeof memoryFiles>["nodes"] } {
  const { backend, nodes } = memoryFiles();
  const { stat, open, readDir } = backend;
  return {
    nodes,
    backend: {
      ...backend,
      async stat(...args) {
        const info = await stat(...args);
        return info.isFile ? { ...info, size: size(info.size) } : info;
      },
      async open(...args) {
        const file = await open(...args), stat = file.stat;
        return {
          ...file,
          async stat() {
            const info = await stat();
            return { ...info, size: size(info.size) };
          },
          [Symbol.asyncDispose]: file[Symbol.asyncDispose],
        };
      },
      async *readDir(...args) {
        for await (const entry of readDir(...args)) {
          const { info } = entry;
          yield info?.isFile ? { ...entry, info: { ...info, size: size(info.size) } } : entry;
        }
      },
    },
  };
}

const lies: readonly (readonly [string, (real: number) => number])[] = [
  ["the size itself", (real) => real],
  ["0", () => 0],
  ["one byte less", (real) => Math.max(0, real - 1)],
  ["7", (real) => Math.min(7, real)],
  ["two thirds", (real) => Math.floor(real * 2 / 3)],
];
/** A request, just more, many, and around their multiples. */
const sizes = [1, 11, 32_767, 32_768, 32_769, 65_536, 700_001];

for (const [name, lie] of lies) {
  // S7
  Deno.test(`what a server says is ${name} is read to its end by readFile(), readable, copyFile() and download()`, async () => {
    await using dir = await tempDir();
    const files = lying(lie);
    for (const size of sizes) files.nodes.set(`/f${size}`, fileNode(pattern(size)));
    await using peer = await refusing(files, () => null, [Extension.limits, Extension.copyData]);
    const { sftp } = peer;
    for (const size of sizes) {
      const path = `/f${size}`, local = `${dir.path}/f`, whole = pattern(size);
      const same = async (way: string, bytes: Uint8Array | Promise<Uint8Array>): Promise<void> => {
        const got = await bytes;
        assertEquals(got.length, size, `${way} of ${size}`);
        assert(got.every((byte, i) => byte === whole[i]), `${way} of ${size}`);
      };
      await same("readFile()", sftp.readFile(path));
      await same("readable", new Response((await sftp.open(path)).readable).bytes());
      // What is longer than the source is cut.
      files.nodes.set("/copy", fileNode(pattern(size + 500, 9)));
      await sftp.copyFile(path, "/copy");
      await same("copyFile()", (files.nodes.get("/copy") as { data: Uint8Array }).data);
      for (const options of [{}, { inPlace: true }, { preserve: true }, { concurrency: 1 }, { resume: true }]) {
        const totals: (number | null)[] = [];
        const onProgress = ({ bytes, total }: { bytes: number; total: number | null }) =>
          void totals.push(bytes, total);
        assertEquals(await sftp.download(path, local, { ...options, onProgress }), {
          files: 1,
          bytes: size,
          warnings: [],
        });
        await same(`download() ${JSON.stringify(options)}`, Deno.readFile(local));
        assert(totals.includes(size), totals.join());
        await Deno.remove(local);
      }
    }
    await sftp.download("/", `${dir.path}/tree`, { recursive: true });
    for (const size of sizes) assertEquals((await Deno.stat(`${dir.path}/tree/f${size}`)).size, size);
    assertEquals(peer.open(), 0);
  });
}

Deno.test("what is shorter than the server says is all of it for readFile(), and no whole copy for download()", async () => {
  await using dir = await tempDir();
  const files = lying((real) => real + 40_000);
  for (const size of [...sizes, 0]) files.nodes.set(`/f${size}`, fileNode(pattern(size)));
  await using peer = await refusing(files, () => null, [Extension.limits]);
  for (const size of [...sizes, 0]) {
    assertEquals((await peer.sftp.readFile(`/f${size}`)).length, size);
    for (const options of [{}, { inPlace: false, resume: true }, { preserve: true }]) {
      const error = await assertRejects(() => peer.sftp.download(`/f${size}`, `${dir.path}/f`, options), SftpError);
      assert(error.message.includes(`after ${size} of ${size + 40_000} bytes`), error.message);
      assertEquals(await namesBelow(dir.path), []);
    }
  }
});

Deno.test("the end of a small file is asked for together with its contents, and with another request only where an answer may be cut", async () => {
  const asked: { id: number; offset: bigint; length: number }[] = [];
  let data = pattern(1000), wanted = 1;
  await using dir = await tempDir();
  await using peer = await scripted(async (payload, id, raw) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    if (payload[0] === Fxp.FSTAT || payload[0] === Fxp.STAT) {
      return m.Attrs.encode({ id, attrs: { size: data.length, mode: 0o100644 } });
    }
    if (payload[0] === Fxp.REALPATH) return m.Name.encode({ id, entries: [{ name: "/f", longName: "", attrs: {} }] });
    if (payload[0] !== Fxp.READ) return statusReply(id, Status.OK);
    // Nothing is answered before both have come.
    asked.push(m.Read.decode(payload));
    if (asked.length < wanted) return null;
    for (const { id, offset, length } of asked.slice(wanted === 1 ? -1 : 0)) {
      const part = data.subarray(Number(offset), Number(offset) + length);
      await raw.send(part.length === 0 ? statusReply(id, Status.EOF) : m.Data.encode({ id, data: part }));
    }
    return null;
  });
  assertEquals(await peer.sftp.readFile("/f"), data);
  const ranges = (): number[][] => asked.splice(0).map(({ offset, length }) => [Number(offset), length]);
  assertEquals(ranges(), [[0, 1001]]);
  await peer.sftp.download("/f", `${dir.path}/f`);
  assertEquals(await Deno.readFile(`${dir.path}/f`), data);
  assertEquals(ranges(), [[0, 1001]]);
  // A whole request leaves no room for more: two go out together.
  data = pattern(32_768);
  wanted = 2;
  assertEquals(await peer.sftp.readFile("/f"), data);
  assertEquals(ranges(), [[0, 32_768], [32_768, 1]]);
  // Servers cut answers at round numbers, so that a short one of such a length proves nothing: here, too, two go out together.
  data = pattern(4096);
  assertEquals(await peer.sftp.readFile("/f"), data);
  assertEquals(ranges(), [[0, 4096], [4096, 1]]);
});

Deno.test("a small file whose answers are cut in the middle is read to its end", async () => {
  const data = pattern(1000);
  await using dir = await tempDir();
  await using peer = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    if (payload[0] === Fxp.FSTAT || payload[0] === Fxp.STAT) {
      return m.Attrs.encode({ id, attrs: { size: data.length, mode: 0o100644 } });
    }
    if (payload[0] === Fxp.REALPATH) return m.Name.encode({ id, entries: [{ name: "/f", longName: "", attrs: {} }] });
    if (payload[0] !== Fxp.READ) return statusReply(id, Status.OK);
    const { offset, length } = m.Read.decode(payload), from = Number(offset);
    const part = data.subarray(from, from + Math.min(length, 300));
    return part.length === 0 ? statusReply(id, Status.EOF) : m.Data.encode({ id, data: part });
  });
  assertEquals(await peer.sftp.readFile("/f"), data);
  await peer.sftp.download("/f", `${dir.path}/f`);
  assertEquals(await Deno.readFile(`${dir.path}/f`), data);
});

// S5, S10
Deno.test("readFile(), copyFile(), append and download() do without FSTAT, and without REALPATH of files", async () => {
  await using dir = await tempDir();
  for (const status of [Status.NO_SUCH_FILE, Status.PERMISSION_DENIED, Status.FAILURE, Status.OP_UNSUPPORTED]) {
    for (const hidden of [[], [Extension.copyData]]) {
      const files = memoryFiles();
      const fault = (kind: string): Fault | null => kind === "FSTAT" || kind === "REALPATH" ? { status } : null;
      await using peer = await refusing(files, fault, hidden);
      const { sftp } = peer, at = (path: string) => (files.nodes.get(path) as { data: Uint8Array }).data;
      files.nodes.set("/f", fileNode(pattern(100_000)));
      assertEquals(await sftp.readFile("/f"), pattern(100_000));
      for (const longer of [0, 200_000]) {
        files.nodes.set("/g", fileNode(pattern(longer, 5)));
        await sftp.copyFile("/f", "/g");
        assertEquals(at("/g"), pattern(100_000), `${status} ${hidden} ${longer}`);
      }
      await sftp.writeFile("/g", new Uint8Array([1, 2]), { append: true });
      assertEquals(at("/g").length, 100_002);
      assertEquals([...at("/g").subarray(100_000)], [1, 2]);
      await sftp.download("/f", `${dir.path}/f`);
      assertEquals(await Deno.readFile(`${dir.path}/f`), pattern(100_000));
      await assertRejects(() => sftp.copyFile("/f", "/f"), SftpError, "one file");
      assertEquals(at("/f"), pattern(100_000));
    }
  }
});

Deno.test("a server that cuts its answers where it says that the file ends gives the whole file all the same", async () => {
  await using dir = await tempDir();
  const data = pattern(10_000);
  // The last three cut at no round number, and it is the answers before that tell.
  const cuts = [[1024, 1024], [4096, 4096], [8192, 8192], [1000, 3000], [7, 70], [3000, 9000]] as const;
  for (const [cut, size] of cuts) {
    await using peer = await scripted((payload, id) => {
      switch (payload[0]) {
        case Fxp.OPEN:
          return m.Handle.encode({ id, handle: new Uint8Array([1]) });
        case Fxp.REALPATH:
          return m.Name.encode({ id, entries: [{ name: "/f", longName: "", attrs: {} }] });
        case Fxp.STAT:
        case Fxp.FSTAT:
          return m.Attrs.encode({ id, attrs: { size, mode: 0o100644 } });
        case Fxp.READ: {
          const { offset, length } = m.Read.decode(payload), from = Number(offset);
          const part = data.subarray(from, from + Math.min(length, cut));
          return part.length === 0 ? statusReply(id, Status.EOF) : m.Data.encode({ id, data: part });
        }
      }
      return undefined;
    });
    assertEquals(await peer.sftp.readFile("/f"), data);
    await peer.sftp.download("/f", `${dir.path}/f`);
    assertEquals(await Deno.readFile(`${dir.path}/f`), data);
  }
});
