/** `download()` into a stream of the program's: the whole file, or an error that the stream hears too. */
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import type { SftpClient } from "../../lib/sftp/client.ts";
import type { TransferOptions } from "../../lib/sftp/transfer/run.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { fileNode, memoryFiles, type Node, refusing } from "../_support/refusing_server.ts";
import {
  isMissing,
  OPENSSH_SERVER,
  ours,
  pattern,
  scripted,
  sha256,
  spawned,
  statusReply,
  tempDir,
} from "../_support/sftp_peers.ts";

/** A stream, and what it got. */
function sink(): { stream: WritableStream<Uint8Array>; chunks: Uint8Array[]; ended: () => unknown } {
  const chunks: Uint8Array[] = [];
  let end: unknown = null;
  const stream = new WritableStream<Uint8Array>({
    write: (chunk) => void chunks.push(chunk),
    close: () => void (end = "closed"),
    abort: (reason) => void (end = { reason }),
  });
  return { stream, chunks, ended: () => end };
}

const length = (chunks: readonly Uint8Array[]): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0);

for (
  const { name, ignore, start } of [
    { name: "OpenSSH sftp-server", ignore: isMissing(OPENSSH_SERVER), start: () => spawned() },
    { name: "our server", ignore: false, start: () => ours({ root: "/" }) },
  ]
) {
  Deno.test({
    name: `download() gives a stream the whole file and closes it (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      await using peer = await start();
      for (const size of [0, 1, 32_768, 261_120, 5_000_001]) {
        await Deno.writeFile(`${dir.path}/f[${size}]`, pattern(size));
        const to = sink(), told: number[] = [], trees: number[] = [];
        const summary = await peer.sftp.download(`${dir.path}/f[${size}]`, to.stream, {
          onProgress: ({ bytes }) => void told.push(bytes),
          onTreeProgress: ({ bytes }) => void trees.push(bytes),
        });
        assertEquals(summary, { files: 1, bytes: size, warnings: [] });
        assertEquals(to.ended(), "closed");
        assertEquals(await sha256(await new Blob(to.chunks as BlobPart[]).bytes()), await sha256(pattern(size)));
        assertEquals([told[0], told.at(-1), trees[0], trees.at(-1)], [0, size, 0, size]);
      }
      // As a response has it.
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const copying = peer.sftp.download(`${dir.path}/f[5000001]`, writable);
      assertEquals((await new Response(readable).bytes()).length, 5_000_001);
      await copying;
      for (const path of [dir.path, `${dir.path}/none`]) {
        const to = sink();
        const error = await assertRejects(() => peer.sftp.download(path, to.stream), SftpError);
        assertEquals([error.path, to.ended()], [path, { reason: error }]);
        assertEquals(to.chunks, []);
      }
    },
  });
}

Deno.test("download() refuses a stream that cannot be written to, and options that a stream cannot have, before it asks", async () => {
  const files = memoryFiles();
  files.nodes.set("/f", fileNode(pattern(10)));
  await using peer = await refusing(files, () => null);
  const to = sink(), before = peer.asked.length;
  for (
    const options of [{ recursive: true }, { preserve: true }, { resume: true }, { inPlace: true }, { exclude: ["a"] }]
  ) {
    await assertRejects(
      () => peer.sftp.download("/f", to.stream, options),
      TypeError,
      "Cannot download to a stream with",
    );
  }
  const writer = to.stream.getWriter();
  await assertRejects(() => peer.sftp.download("/f", to.stream), TypeError, "it is locked");
  writer.releaseLock();
  // deno-lint-ignore no-explicit-any
  for (const other of [new ReadableStream(), { writable: to.stream }, new TransformStream()] as any[]) {
    await assertRejects(() => peer.sftp.download("/f", other), TypeError, "local");
  }
  await assertRejects(() => peer.sftp.upload(new ReadableStream() as never, "/g"), TypeError, "`writeFile()` takes");
  assertEquals([peer.asked.length, to.ended()], [before, null]);
  const off = { recursive: false, preserve: false, resume: false, inPlace: false, exclude: [], links: "skip" } as const;
  assertEquals((await peer.sftp.download("/f", to.stream, off)).bytes, 10);
  await assertRejects(() => peer.sftp.download("/f", to.stream), TypeError);
  assertEquals(peer.open(), 0);
});

Deno.test("download() reads no faster than its stream takes", async () => {
  const files = memoryFiles(), size = 40_000_000;
  files.nodes.set("/f", fileNode(new Uint8Array(size)));
  const { open } = files.backend;
  let read = 0;
  files.backend.open = async (...args) => {
    const file = await open(...args);
    return {
      ...file,
      readAt: (p, offset) => {
        read += p.length;
        return file.readAt(p, offset);
      },
      [Symbol.asyncDispose]: file[Symbol.asyncDispose],
    };
  };
  await using peer = await refusing(files, () => null);
  let go = (): void => {}, written = 0;
  const gate = new Promise<void>((resolve) => go = resolve);
  const stream = new WritableStream<Uint8Array>({
    write: async (chunk) => {
      await gate;
      written += chunk.length;
    },
  });
  const copying = peer.sftp.download("/f", stream);
  let before = -1;
  await until(async () => {
    const stands = read > 0 && read === before;
    before = read;
    await turns(20);
    return stands;
  }, "reading goes on");
  assert(read < 30_000_000, `${read} bytes were read for a stream that takes none`);
  go();
  await copying;
  assertEquals(written, size);
});

Deno.test("download() ends with its signal whatever the stream and the server do, and the stream is aborted with the reason", async () => {
  const files = memoryFiles();
  files.nodes.set("/f", fileNode(pattern(3_000_000)));
  let silent = "";
  await using peer = await refusing(files, (kind) => kind === silent ? "silent" : null);
  const reason = new Error("stop it");
  // Before it begins, while the server says nothing, while the stream takes nothing, and in the midst.
  for (const case_ of ["before", "OPEN", "FSTAT", "READ", "stuck", "midst"]) {
    silent = case_;
    const controller = new AbortController(), to = sink();
    if (case_ === "before") controller.abort(reason);
    let isStuck = false;
    const stream = case_ !== "stuck" ? to.stream : new WritableStream<Uint8Array>({
      write: () => {
        isStuck = true;
        return new Promise(() => {});
      },
    });
    const options: TransferOptions = {
      signal: controller.signal,
      onProgress: ({ bytes }) => case_ === "midst" && bytes > 0 && controller.abort(reason),
    };
    const asked = peer.asked.length, copying = peer.sftp.download("/f", stream, options);
    copying.catch(() => {});
    if (case_ === "stuck") await until(() => isStuck, "nothing is written");
    else if (case_ !== "before" && case_ !== "midst") {
      await until(() => peer.asked.slice(asked).includes(case_), "it is not asked for");
    }
    if (case_ !== "midst") controller.abort(reason);
    assertEquals(await inTime(copying.then(() => null, (error) => error), case_), reason);
    if (case_ !== "stuck") await until(() => to.ended() !== null, `${case_}: the stream is not ended`);
    if (case_ !== "stuck") assertEquals(to.ended(), { reason }, case_);
    await until(() => peer.open() === 0, `${case_}: the file is still open`);
  }
  silent = "";
  assertEquals((await peer.sftp.download("/f", sink().stream)).bytes, 3_000_000);
});

Deno.test("download() into a stream that fails rejects with what that says, and lets go of the file", async () => {
  const files = memoryFiles();
  files.nodes.set("/f", fileNode(pattern(3_000_000)));
  await using peer = await refusing(files, () => null);
  const broken = new Error("the disk is full");
  let count = 0;
  const stream = new WritableStream<Uint8Array>({
    write: () => {
      if (count++ === 1) throw broken;
    },
  });
  assertEquals(await peer.sftp.download("/f", stream).then(() => null, (error) => error), broken);
  const other = new TransformStream<Uint8Array, Uint8Array>(), copying = peer.sftp.download("/f", other.writable);
  await other.readable.cancel(broken);
  assertEquals(await copying.then(() => null, (error) => error), broken);
  await until(() => peer.open() === 0, "a handle is left open");
  const closing = new WritableStream<Uint8Array>({
    close: () => {
      throw broken;
    },
  });
  assertEquals(await peer.sftp.download("/f", closing).then(() => null, (error) => error), broken);
});

Deno.test("download() into a stream fails where the file ends before its size, and takes what is behind it", async () => {
  for (
    const [size, told] of [[1000, 1500], [0, 10], [1000, 500], [100_000, 1], [1000, 0], [1000, undefined]] as const
  ) {
    const data = pattern(size);
    await using peer = await scripted((payload, id) => {
      if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
      if (payload[0] === Fxp.FSTAT) {
        return told === undefined ? statusReply(id, 8) : m.Attrs.encode({ id, attrs: { size: told, mode: 0o100644 } });
      }
      if (payload[0] !== Fxp.READ) return undefined;
      const { offset, length } = m.Read.decode(payload);
      const part = data.subarray(Number(offset), Number(offset) + length);
      return part.length === 0 ? statusReply(id, 1) : m.Data.encode({ id, data: part });
    });
    const to = sink(), totals = new Set<number | null>();
    const outcome = await peer.sftp.download("/f", to.stream, { onProgress: ({ total }) => void totals.add(total) })
      .then((summary) => summary, (error) => error);
    if (told === undefined || told <= size) {
      assertEquals([outcome, length(to.chunks), to.ended()], [{ files: 1, bytes: size, warnings: [] }, size, "closed"]);
      assertEquals(to.chunks.flatMap((chunk) => [...chunk]), [...data]);
    } else {
      assertInstanceOf(outcome, SftpError);
      assert(outcome.message.includes(`it ended after ${size} of ${told} bytes`), outcome.message);
      assertEquals(to.ended(), { reason: outcome });
    }
  }
});

Deno.test("download() into a stream refuses what is no regular file, and a listener's error ends it", async () => {
  for (const mode of [0o040755, 0o010644, 0o020644, 0o140644]) {
    await using peer = await scripted((payload, id) => {
      if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
      if (payload[0] === Fxp.FSTAT) return m.Attrs.encode({ id, attrs: { size: 5, mode } });
      return payload[0] === Fxp.READ ? m.Data.encode({ id, data: pattern(5) }) : undefined;
    });
    const to = sink();
    await assertRejects(
      () => peer.sftp.download("/f", to.stream),
      SftpError,
      mode === 0o040755 ? "directory" : "regular",
    );
    assertEquals(to.chunks, []);
  }
  const files = memoryFiles();
  files.nodes.set("/f", fileNode(pattern(300_000)) as Node);
  await using peer = await refusing(files, () => null);
  for (const at of [0, 1]) {
    for (const listener of ["onProgress", "onTreeProgress"]) {
      const to = sink();
      const options = {
        [listener]: ({ bytes }: { bytes: number }) => {
          if (bytes >= at) throw new RangeError("in the listener");
        },
      };
      await assertRejects(() => peer.sftp.download("/f", to.stream, options), RangeError, "in the listener");
    }
  }
  await until(() => peer.open() === 0, "a handle is left open");
});

Deno.test("download() into a stream fails with the session, and the stream with it", async () => {
  const files = memoryFiles();
  files.nodes.set("/f", fileNode(pattern(3_000_000)));
  let reads = 0;
  await using peer = await refusing(files, (kind) => kind === "READ" && ++reads === 3 ? "lost before" : null);
  const sftp: SftpClient = peer.sftp, to = sink();
  const error = await assertRejects(() => sftp.download("/f", to.stream), SftpError);
  assertEquals([error.code, to.ended()], ["CONNECTION_LOST", { reason: error }]);
});

Deno.test("download() into a stream that takes nothing any more fails with the session, and not where all has been read", async () => {
  for (const isWhole of [false, true]) {
    const files = memoryFiles(), stuck = Promise.withResolvers<void>();
    files.nodes.set("/f", fileNode(pattern(3_000_000)));
    await using peer = await refusing(files, (kind) => kind === "STAT" ? "lost before" : null);
    let isStuck = false;
    const wait = (): Promise<void> => {
      isStuck = true;
      return stuck.promise;
    };
    const stream = new WritableStream<Uint8Array>(isWhole ? { close: wait } : { write: wait });
    const copying = peer.sftp.download("/f", stream).then(({ bytes }) => bytes, (error) => error);
    await until(() => isStuck, "nothing is written");
    await peer.sftp.stat("/f").catch(() => {});
    if (isWhole) {
      await turns();
      stuck.resolve();
      assertEquals(await inTime(copying, "the whole file"), 3_000_000);
    } else {
      const error = await inTime(copying, "the lost session");
      assertInstanceOf(error, SftpError);
      assertEquals(error.code, "CONNECTION_LOST");
    }
  }
});
