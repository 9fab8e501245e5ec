/** `writeFile()` where the server refuses a part of what it asks for. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { Status } from "../../lib/files/limits.ts";
import { type Fault, fileNode, memoryFiles, refusing, statuses } from "../_support/refusing_server.ts";
import { pattern, scripted, statusReply } from "../_support/sftp_peers.ts";
import { inTime, turns, until } from "../_support/until.ts";

const fresh = pattern(1000, 3);

Deno.test("writeFile() of one request leaves the old file whole where the server refuses anything, or the new one", async () => {
  const faults: Fault[] = [...statuses.map((status) => ({ status })), "lost before", "lost behind"];
  for (const length of [null, 0, 500, 1000, 5000]) {
    for (const mode of [undefined, 0o600]) {
      for (const fault of faults) {
        for (let at = 0, count = 1; at < count; at++) {
          const files = memoryFiles(), before = length === null ? null : pattern(length, 5);
          if (before !== null) files.nodes.set("/f", fileNode(before));
          await using peer = await refusing(files, (_, index) => index === at ? fault : null, [Extension.limits]);
          const error = await peer.sftp.writeFile("/f", fresh, mode === undefined ? {} : { mode })
            .then(() => null, (error) => error as Error);
          count = peer.asked.length;
          const node = files.nodes.get("/f") as { data: Uint8Array } | undefined;
          const is = (bytes: Uint8Array | null): boolean => {
            return bytes !== null && node?.data.length === bytes.length &&
              bytes.every((byte, i) => byte === node.data[i]);
          };
          const where = `${length} ${mode} ${JSON.stringify(fault)} ${
            peer.asked.join(" ")
          }, the one of ${at}: ${error?.message}`;
          if (error === null) assert(is(fresh), where);
          else {
            assert(error instanceof SftpError, where);
            // A connection that is lost between the write and the cut, and nothing else.
            const told = typeof fault === "string" && error.message.includes("is not whole");
            const nothing = before === null && (node === undefined || node.data.length === 0);
            assert(is(fresh) || is(before) || nothing || told, where);
          }
          if (typeof fault !== "string") assertEquals(peer.open(), 0, where);
        }
      }
    }
  }
});

Deno.test("writeFile() cuts what was longer whichever way the server lets it, and writes to no device twice", async () => {
  for (const [refused, isRegular] of [["FSETSTAT", true], ["SETSTAT", true], ["FSETSTAT", false]] as const) {
    const files = memoryFiles();
    files.nodes.set("/f", fileNode(pattern(5000, 5)));
    let opened = 0;
    const { stat, open } = files.backend;
    const backend: typeof files.backend = {
      ...files.backend,
      open(...args) {
        opened++;
        return open(...args);
      },
      async stat(...args) {
        const info = await stat(...args);
        return isRegular ? info : { ...info, isFile: false, mode: 0o020666 };
      },
    };
    await using peer = await refusing(
      { backend },
      (kind) => kind.endsWith(refused) ? { status: Status.FAILURE } : null,
    );
    await peer.sftp.writeFile("/f", fresh);
    const { data } = files.nodes.get("/f") as { data: Uint8Array };
    assertEquals(data.length, isRegular ? 1000 : 5000);
    assertEquals(data.subarray(0, 1000), fresh);
    // Where neither attribute request is done, there is emptying it first.
    assertEquals(opened, refused === "SETSTAT" ? 2 : 1);
  }
});

Deno.test("writeFile() of more than a request says that what is there is not whole any more", async () => {
  const files = memoryFiles(), large = pattern(200_000, 3);
  files.nodes.set("/f", fileNode(pattern(5000, 5)));
  let written = 0;
  const fault = (kind: string): Fault | null => kind === "WRITE" && ++written === 3 ? { status: Status.FAILURE } : null;
  await using peer = await refusing(files, fault, [Extension.limits]);
  for (const data of [large, ReadableStream.from([large])]) {
    written = 0;
    await assertRejects(() => peer.sftp.writeFile("/f", data), SftpError, '; what is at "/f" is not whole');
  }
  assertEquals(peer.open(), 0);
});

Deno.test("writeFile() tells what was refused first, and that what is there is not whole, also where CLOSE is refused as well", async () => {
  // Few bytes wait for the answers when the stream is closed; of many, one is refused before the last is sent.
  for (const size of [100_000, 5_000_000]) {
    for (const kind of ["WRITE", "SETSTAT"]) {
      const files = memoryFiles(), before = fileNode(pattern(5000, 5));
      files.nodes.set("/f", before);
      const plan = (asked: string): Fault | null =>
        asked === "CLOSE" ? { status: 9, done: true } : asked.endsWith(kind) ? { status: 14 } : null;
      await using peer = await refusing(files, plan, [Extension.limits]);
      const error = await assertRejects(
        () => peer.sftp.writeFile("/f", pattern(size), kind === "WRITE" ? {} : { mode: 0o600 }),
        SftpError,
        "no space is left there; what is at",
      );
      assert(error.message.includes('"/f" is not whole'), error.message);
    }
  }
});

Deno.test("writeFile() gives a mode by path where the server does not do it by handle, and writes nothing where it does neither", async () => {
  for (const size of [10, 500_000]) {
    for (const status of [Status.PERMISSION_DENIED, Status.FAILURE, Status.OP_UNSUPPORTED]) {
      for (const refused of [["FSETSTAT"], ["FSETSTAT", "SETSTAT"]]) {
        const files = memoryFiles();
        files.nodes.set("/f", fileNode(new Uint8Array(5)));
        await using peer = await refusing(files, (kind) => refused.includes(kind) ? { status } : null);
        const data = pattern(size);
        const work = peer.sftp.writeFile("/f", data, { mode: 0o600 });
        if (refused.length === 2) {
          assertEquals((await assertRejects(() => work, SftpError)).status, status);
          if (size === 10) assertEquals((files.nodes.get("/f") as { data: Uint8Array }).data.length, 5);
          continue;
        }
        await work;
        const { data: written, mode } = files.nodes.get("/f") as { data: Uint8Array; mode: number };
        assertEquals([written.length, mode], [size, 0o600]);
        assertEquals(written, data);
      }
    }
  }
});

/** What is written, with which mode, and the request that is not answered before the call is given up. */
const givenUp: readonly (readonly [string, number, number | undefined, number])[] = [
  ["a mode that is given by handle", 10, 0o600, Fxp.FSETSTAT],
  ["the mode of more than a request", 100_000, 0o600, Fxp.FSETSTAT],
  ["a look at what may have to be cut", 10, undefined, Fxp.STAT],
];

Deno.test("writeFile() that is given up changes nothing by path behind that, where another may have written since", async () => {
  for (const [name, size, mode, held] of givenUp) {
    const asked: number[] = [], answer = Promise.withResolvers<void>(), reason = new Error("enough");
    let open = 0;
    await using server = await scripted(async (payload, id) => {
      const type = payload[0]!;
      asked.push(type);
      if (type === held) await answer.promise;
      if (type === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([++open]) });
      if (type === Fxp.CLOSE) open--;
      if (type === Fxp.STAT) return m.Attrs.encode({ id, attrs: { mode: 0o100644, size: 5000 } });
      return type === Fxp.FSETSTAT || type === Fxp.REALPATH ? statusReply(id, Status.OP_UNSUPPORTED) : undefined;
    });
    const controller = new AbortController(), { signal } = controller;
    const writing = server.sftp.writeFile("/f", pattern(size), { signal, ...mode === undefined ? {} : { mode } })
      .then(() => "done", (error) => error);
    await until(() => asked.includes(held), `${name}: it was not asked for`);
    controller.abort(reason);
    assertEquals(await inTime(writing, name), reason);
    answer.resolve();
    await until(() => open === 0, `${name}: a handle is still open`);
    // More answers, behind all that could have been asked for.
    for (let i = 0; i < 10; i++) await server.sftp.realPath("/").catch(() => {});
    assert(!asked.includes(Fxp.SETSTAT), `${name}: ${asked}`);
  }
});

Deno.test("writeFile() cancels the stream that it was given where it cannot write it", async () => {
  for (const refused of [Fxp.OPEN, Fxp.FSETSTAT, Fxp.WRITE, null]) {
    await using server = await scripted((payload, id) => {
      if (payload[0] === refused || payload[0] === Fxp.SETSTAT) return statusReply(id, Status.PERMISSION_DENIED);
      return payload[0] === Fxp.OPEN ? m.Handle.encode({ id, handle: new Uint8Array([1]) }) : undefined;
    });
    let told: unknown = null;
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(pattern(1000)),
      cancel: (reason) => void (told = reason),
    });
    const signal = refused === null ? AbortSignal.abort(new Error("enough")) : undefined;
    const writing = server.sftp.writeFile("/f", stream, { mode: 0o600, ...signal === undefined ? {} : { signal } });
    await assertRejects(() => inTime(writing, "The write"), Error, refused === null ? "enough" : "permission denied");
    await until(() => told !== null, `${refused}: the stream goes on`);
  }
});

Deno.test("writeFile() that is given up lets go of its stream and of the file at once, though the server answers no WRITE", async () => {
  await using peer = await refusing(memoryFiles(), (kind) => kind === "WRITE" ? "silent" : null);
  const controller = new AbortController(), reason = new Error("enough");
  let told: unknown = null, given = 0;
  const stream = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      given += 1_000_000;
      controller.enqueue(pattern(1_000_000));
    },
    cancel: (reason) => void (told = reason),
  });
  const writing = peer.sftp.writeFile("/f", stream, { signal: controller.signal });
  writing.catch(() => {});
  let before = -1;
  await until(async () => {
    const stands = given > 2_000_000 && given === before;
    before = given;
    await turns(20);
    return stands;
  }, "the stream is read without end");
  controller.abort(reason);
  assertEquals(await inTime(writing.then(() => null, (error) => error), "The write"), reason);
  await until(() => told === reason && !stream.locked, "the stream is not let go of");
  await until(() => peer.open() === 0, "the file is not closed");
});

Deno.test("writeFile() fails with the session though its stream has nothing to give just then, which is cancelled", async () => {
  for (const append of [false, true]) {
    const files = memoryFiles(), given = pattern(100);
    let isLost = false;
    await using peer = await refusing(files, () => isLost ? "lost before" : null);
    let told: unknown = null;
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(given),
      cancel: (reason) => void (told = reason),
    });
    const writing = peer.sftp.writeFile("/f", stream, { append });
    writing.catch(() => {});
    await until(() => (files.nodes.get("/f") as { data: Uint8Array } | undefined)?.data.length === 100, "nothing came");
    isLost = true;
    await assertRejects(() => peer.sftp.stat("/"), SftpError, "ended");
    const error = await assertRejects(() => inTime(writing, "The write"), SftpError, "Cannot write");
    assertEquals([error.code, error.path, error.message.includes("is not whole")], ["CONNECTION_LOST", "/f", !append]);
    await until(() => told !== null, "the stream goes on");
  }
});

Deno.test("writeFile() refuses a stream that somebody else reads before it asks: the old file was emptied", async () => {
  const files = memoryFiles(), old = pattern(500);
  files.nodes.set("/f", fileNode(old));
  await using peer = await refusing(files, () => null);
  const stream = new ReadableStream<Uint8Array>(), before = peer.asked.length;
  stream.getReader();
  await assertRejects(() => peer.sftp.writeFile("/f", stream), TypeError, "it is locked");
  assertEquals(peer.asked.length, before);
  assertEquals((files.nodes.get("/f") as { data: Uint8Array }).data, old);
});

Deno.test("what is written and moved elsewhere meanwhile is an error, and the old file is whole where it fitted into a request", async () => {
  const move = (data: Uint8Array<ArrayBuffer>): void => void structuredClone(data.buffer, { transfer: [data.buffer] });
  for (const length of [1000, 200_000, 1_500_000, 3_000_000]) {
    for (const behind of ["the call", "OPEN", "WRITE"]) {
      // Few bytes are in a packet by the time of the first WRITE.
      if (length === 1000 && behind === "WRITE") continue;
      const files = memoryFiles(), old = pattern(5000, 5), data = pattern(length, 3);
      files.nodes.set("/f", fileNode(old.slice()));
      await using peer = await refusing(files, (kind) => {
        if (kind === behind && data.length > 0) move(data);
        return null;
      }, [Extension.limits]);
      const writing = peer.sftp.writeFile("/f", data);
      if (behind === "the call") move(data);
      await assertRejects(
        () => writing,
        TypeError,
        "Cannot write: the buffer was moved elsewhere",
        `${length}, ${behind}`,
      );
      if (length === 1000) assertEquals((files.nodes.get("/f") as { data: Uint8Array }).data, old);
      assertEquals(peer.open(), 0);
    }
  }
});

Deno.test("SftpFile.write(), writeAt() and a stream say so where what they write is moved elsewhere meanwhile", async () => {
  const move = (data: Uint8Array<ArrayBuffer>): void => void structuredClone(data.buffer, { transfer: [data.buffer] });
  for (const way of ["write", "writeAt", "writable"] as const) {
    const files = memoryFiles(), large = pattern(6_000_000), first = pattern(10, 2);
    let writes = 0;
    await using peer = await refusing(files, (kind) => {
      if (kind === "WRITE" && ++writes === 2) move(large);
      return null;
    }, [Extension.limits]);
    const file = await peer.sftp.open("/f", { write: true, create: true });
    const writer = way === "writable" ? file.writable.getWriter() : null;
    writer?.closed.catch(() => {});
    const write = (bytes: Uint8Array): Promise<unknown> =>
      way === "writable" ? writer!.write(bytes) : way === "write" ? file.write(bytes) : file.writeAt(bytes, 10);
    await write(first);
    await assertRejects(() => write(large), TypeError, "Cannot write: the buffer was moved elsewhere");
    await file.close();
  }
});

Deno.test("what SftpFile is to read into or write, and is moved elsewhere behind the call, is an error", async () => {
  const files = memoryFiles();
  files.nodes.set("/f", fileNode(pattern(5000, 5)));
  await using peer = await refusing(files, () => null, [Extension.limits]);
  await using file = await peer.sftp.open("/f", { read: true, write: true });
  const calls: Record<string, (p: Uint8Array) => Promise<unknown>> = {
    read: (p) => file.read(p),
    readAt: (p) => file.readAt(p, 10),
    write: (p) => file.write(p),
    writeAt: (p) => file.writeAt(p, 10),
  };
  for (const [name, call] of Object.entries(calls)) {
    const p = pattern(1000), calling = call(p).then((result) => `${name}(): ${result}`, (error) => error);
    structuredClone(p.buffer, { transfer: [p.buffer] });
    const error = await calling;
    // What had left by then is as good as done.
    if (error === "writeAt(): 1000") assertEquals(await readBack(), pattern(1000));
    else assert(error instanceof TypeError && error.message.includes("was moved elsewhere"), String(error));
  }
  async function readBack(): Promise<Uint8Array> {
    const back = new Uint8Array(1000);
    await file.readAt(back, 10);
    return back;
  }
});
