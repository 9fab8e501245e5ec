/** Aborts, lost connections and silent servers: everything settles. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { openSftp } from "../../lib/sftp/client.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { framed, namesBelow, pattern, pipes, RawPeer, scripted, statusReply, tempDir } from "../_support/sftp_peers.ts";

Deno.test("writeFile() can be aborted while the server answers no WRITE", async () => {
  let writes = 0;
  await using server = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    if (payload[0] === Fxp.WRITE) writes++;
    return null;
  });
  const controller = new AbortController();
  const writing = server.sftp.writeFile("/f", pattern(6_000_000), { signal: controller.signal })
    .then(() => "written", (error) => (error as Error).message);
  await until(() => writes > 0, "No WRITE came");
  controller.abort(new Error("stop it"));
  assertEquals(await inTime(writing, "The write"), "stop it");
});

Deno.test("writeFile() can be aborted while the server answers no CLOSE", async () => {
  let closes = 0;
  await using server = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    if (payload[0] !== Fxp.CLOSE) return statusReply(id, Status.OK);
    closes++;
    return null;
  });
  const controller = new AbortController();
  const writing = server.sftp.writeFile("/f", pattern(100), { signal: controller.signal })
    .then(() => "written", (error) => (error as Error).message);
  await until(() => closes > 0, "No CLOSE came");
  controller.abort(new Error("stop it"));
  assertEquals(await inTime(writing, "The write"), "stop it");
});

Deno.test("SftpClient.close() lets go of both streams when the server reads nothing more", async () => {
  const { near, far } = pipes(), peer = new RawPeer(far);
  const opening = openSftp(near);
  await peer.next();
  await peer.send(m.encodeVersion(Fxp.VERSION, 3));
  const sftp = await opening;
  const asked = Promise.allSettled(Array.from({ length: 50 }, () => sftp.readTextFile("/f")));
  await turns();
  const more = Promise.allSettled(Array.from({ length: 50 }, () => sftp.readTextFile("/f")));
  await turns();
  assertEquals(await inTime(sftp.close(), "close()"), undefined);
  assert((await asked).every((result) => result.status === "rejected"));
  assert((await more).every((result) => result.status === "rejected"));
  // The far side is told: what was being written has failed or ended, and reading comes to an end.
  const ended = (async () => {
    while (await peer.next() !== null);
    return "ended";
  })();
  assertEquals(await inTime(ended, "The end"), "ended");
  await peer.end();
});

Deno.test("openSftp() with a signal that has aborted already ends the streams it was given", async () => {
  const { near, far } = pipes();
  await assertRejects(() => openSftp(near, { signal: AbortSignal.abort(new Error("early")) }), Error, "early");
  const reading = far.readable.getReader().read().then(() => "ended", () => "ended");
  assertEquals(await inTime(reading, "The read"), "ended");
});

Deno.test("readFile() and writeFile() keep a bounded number of requests under way where the server's limits are absurdly small", async () => {
  let reads = 0, writes = 0;
  await using server = await scripted((payload, id) => {
    switch (payload[0]) {
      case Fxp.EXTENDED:
        return m.LimitsReply.encode({
          id,
          maxPacketLength: 262_144n,
          maxReadLength: 1n,
          maxWriteLength: 1n,
          maxOpenHandles: 0n,
        });
      case Fxp.OPEN:
        return m.Handle.encode({ id, handle: new Uint8Array([1]) });
      case Fxp.FSTAT:
        return m.Attrs.encode({ id, attrs: { size: 100_000, mode: 0o100644 } });
      case Fxp.READ:
        reads++;
        return null;
      case Fxp.WRITE:
        writes++;
        return null;
      default:
        return statusReply(id, Status.OK);
    }
  }, [[Extension.limits, "1"]]);
  const controller = new AbortController();
  const reading = server.sftp.readFile("/f", { signal: controller.signal });
  const writing = server.sftp.writeFile("/g", new Uint8Array(100_000), { signal: controller.signal });
  reading.catch(() => {});
  writing.catch(() => {});
  await until(() => reads >= 64 && writes >= 64, "No requests came");
  // What is answered behind them shows that no more of them are on their way.
  for (let before = -1; before < reads + writes;) {
    before = reads + writes;
    await server.sftp.mkdir("/d");
  }
  controller.abort(new Error("enough"));
  await assertRejects(() => reading, Error, "enough");
  await assertRejects(() => writing, Error, "enough");
  assert(reads <= 4096, `${reads} requests under way for a file of 100,000 bytes`);
  assert(writes <= 4096, `${writes} requests under way for a file of 100,000 bytes`);
});

Deno.test("readAt() that failed writes nothing into the buffer afterwards", async () => {
  let first: Uint8Array | null = null;
  await using server = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    if (payload[0] !== Fxp.READ) return statusReply(id, Status.OK);
    const { offset, length } = m.Read.decode(payload);
    if (offset === 0n) return statusReply(id, Status.FAILURE);
    first ??= m.Data.encode({ id, data: new Uint8Array(length).fill(7) });
    return null;
  });
  const file = await server.sftp.open("/f");
  const p = new Uint8Array(65_536);
  await assertRejects(() => file.readAt(p, 0), SftpError);
  await until(() => first !== null, "No second READ came");
  assert(first !== null);
  // The caller has the buffer back, and hands it on.
  structuredClone(p, { transfer: [p.buffer] });
  await server.peer.send(first);
  await file.close();
});

Deno.test("SftpFile.writable can be aborted while a write waits for the server", async () => {
  await using server = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    return payload[0] === Fxp.CLOSE ? statusReply(id, Status.OK) : null;
  });
  const file = await server.sftp.open("/f", { write: true });
  const writer = file.writable.getWriter();
  const writing = writer.write(pattern(6_000_000)).then(() => "written", () => "refused");
  writer.closed.catch(() => {});
  await turns();
  const aborting = writer.abort(new Error("given up")).then(() => "aborted", () => "aborted");
  assertEquals(await inTime(aborting, "abort()"), "aborted");
  assertEquals(await inTime(writing, "The write"), "refused");
});

Deno.test("readDir() that is left early while the server is silent does not hang", async () => {
  let given = false;
  await using server = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPENDIR) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    if (payload[0] !== Fxp.READDIR || given) return null;
    given = true;
    return m.Name.encode({ id, entries: [{ name: "a", longName: "", attrs: {} }] });
  });
  const leaving = (async () => {
    for await (const _ of server.sftp.readDir("/")) break;
    return "left";
  })();
  assertEquals(await inTime(leaving, "readDir()"), "left");
});

Deno.test("readAt() that failed leaves the buffer alone when half of another answer was in it", async () => {
  let half: Uint8Array | null = null, failed: Uint8Array = new Uint8Array(0);
  await using server = await scripted(async (payload, id, peer) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    if (payload[0] === Fxp.STAT) return m.Attrs.encode({ id, attrs: { size: 5 } });
    if (payload[0] !== Fxp.READ) return undefined;
    const { offset, length } = m.Read.decode(payload);
    if (offset === 0n) {
      failed = framed(statusReply(id, Status.FAILURE));
      return null;
    }
    const data = framed(m.Data.encode({ id, data: new Uint8Array(length).fill(7) }));
    half = data.subarray(20_000);
    // The failure and what follows it are handled before anyone hears of the failure.
    await peer.raw(Uint8Array.from([...failed, ...data.subarray(0, 20_000)]));
    return null;
  });
  const file = await server.sftp.open("/f");
  const p = new Uint8Array(65_536);
  await assertRejects(() => file.readAt(p, 0), SftpError);
  assert(half !== null && p[40_000] === 7);
  p.fill(1);
  await server.peer.raw(half);
  assertEquals((await server.sftp.stat("/f")).size, 5);
  assert(p.every((byte) => byte === 1));
});

Deno.test("read() and readAt() say so where their buffer is moved elsewhere meanwhile, and the session goes on", async (t) => {
  // How much of an answer has come when the buffer goes: nothing, its head, a part of its data, all of the first of two.
  for (const sent of [0, 13, 20_000, 32_781]) {
    for (const how of ["read", "readAt"] as const) {
      await t.step(`${how}(), ${sent} bytes of an answer`, async () => {
        let answer: Uint8Array | null = null;
        const p = new Uint8Array(50_000);
        const move = (): void => void structuredClone(p.buffer, { transfer: [p.buffer] });
        await using server = await scripted(async (payload, id, peer) => {
          if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
          if (payload[0] === Fxp.STAT) return m.Attrs.encode({ id, attrs: { size: 5 } });
          if (payload[0] !== Fxp.READ) return undefined;
          const data = framed(m.Data.encode({ id, data: new Uint8Array(m.Read.decode(payload).length).fill(7) }));
          if (answer === null) {
            await peer.raw(data.subarray(0, sent));
            answer = data.subarray(sent);
            return null;
          }
          await turns();
          move();
          await peer.raw(Uint8Array.from([...answer, ...data]));
          return null;
        });
        await using file = await server.sftp.open("/f");
        const error = await assertRejects(() => how === "read" ? file.read(p) : file.readAt(p, 0), TypeError);
        assertStringIncludes(error.message, "Cannot read: the buffer was moved elsewhere");
        assertEquals((await server.sftp.stat("/f")).size, 5);
        if (how === "read") assertEquals(await file.seek(0, Deno.SeekMode.Current), 0);
      });
    }
  }
});

Deno.test("SftpFile.writable can be aborted while the end of a file opened to append is asked for", async () => {
  await using server = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    return payload[0] === Fxp.CLOSE ? undefined : null;
  });
  const writer = (await server.sftp.open("/f", { append: true })).writable.getWriter();
  writer.closed.catch(() => {});
  const writing = writer.write(pattern(10)).then(() => "written", () => "refused");
  await turns();
  const aborting = writer.abort(new Error("given up")).then(() => "aborted", () => "aborted");
  assertEquals(await inTime(aborting, "abort()"), "aborted");
  assertEquals(await inTime(writing, "The write"), "refused");
});

Deno.test("SftpFile.writable that is being closed can be aborted while the server answers no CLOSE", async () => {
  await using server = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    return payload[0] === Fxp.CLOSE ? null : undefined;
  });
  const file = await server.sftp.open("/f", { write: true }), writer = file.writable.getWriter();
  writer.closed.catch(() => {});
  await writer.write(pattern(10));
  const closing = writer.close().then(() => "closed", (error) => (error as Error).message);
  await turns();
  writer.abort(new Error("given up")).catch(() => {});
  assertEquals(await inTime(closing, "close()"), "given up");
});

Deno.test("SftpFile.readable can be cancelled while the server answers nothing", async () => {
  await using server = await scripted((payload, id) =>
    payload[0] === Fxp.OPEN ? m.Handle.encode({ id, handle: new Uint8Array([1]) }) : null
  );
  const reader = (await server.sftp.open("/f")).readable.getReader();
  const reading = reader.read().then(({ done }) => done ? "ended" : "read");
  await turns();
  assertEquals(await inTime(reader.cancel(), "cancel()"), undefined);
  assertEquals(await inTime(reading, "The read"), "ended");
});

/** Copies, the request that is not answered before they are given up, and what that must not lead to. */
const copies: readonly (readonly [string, number, number, readonly number[]])[] = [
  ["download", Fxp.STAT, 0o040755, [Fxp.OPENDIR]],
  ["download", Fxp.REALPATH, 0o040755, [Fxp.OPENDIR]],
  ["download", Fxp.READLINK, 0o040755, []],
  ["upload", Fxp.SYMLINK, 0o040755, [Fxp.RENAME, Fxp.REMOVE]],
  ["upload", Fxp.READLINK, 0o040755, [Fxp.SYMLINK, Fxp.RENAME]],
  ["upload of a file", Fxp.STAT, 0o100644, [Fxp.OPEN]],
];

Deno.test("a copy that was given up begins nothing, here or there, and tells nothing when the server answers at last", async () => {
  for (const [copy, held, mode, begun] of copies) {
    await using dir = await tempDir();
    await Deno.mkdir(`${dir.path}/tree`);
    await Deno.symlink("new", `${dir.path}/tree/link`);
    await Deno.writeTextFile(`${dir.path}/file`, "x");
    const answer = Promise.withResolvers<void>(), asked: number[] = [], what = `${copy}, ${held}`;
    let directories = 0;
    const listed = new Set<number>();
    await using server = await scripted(async (payload, id) => {
      const type = payload[0]!;
      asked.push(type);
      // The name itself is taken.
      const isTaken = type === Fxp.SYMLINK && asked.filter((one) => one === type).length === 1;
      if (type === held) await answer.promise;
      if (type === Fxp.STAT) return m.Attrs.encode({ id, attrs: { mode, size: 1 } });
      if (type === Fxp.LSTAT) return statusReply(id, Status.NO_SUCH_FILE);
      if (type === Fxp.OPENDIR) return m.Handle.encode({ id, handle: new Uint8Array([++directories]) });
      const names = type === Fxp.READDIR
        ? ["link"]
        : type === Fxp.REALPATH
        ? ["/d"]
        : type === Fxp.READLINK
        ? ["old"]
        : [];
      if (names.length === 0) return isTaken ? statusReply(id, Status.FAILURE) : undefined;
      if (type === Fxp.READDIR) {
        const [handle] = m.Readdir.decode(payload).handle;
        if (listed.has(handle!)) return statusReply(id, Status.EOF);
        listed.add(handle!);
      }
      const attrs = { mode: 0o120777, size: 3 };
      return m.Name.encode({ id, entries: names.map((name) => ({ name, longName: "", attrs })) });
    });
    using time = new FakeTime();
    let isOver = false, told = 0;
    const controller = new AbortController(), reason = new Error("enough"), tell = (): void => void (isOver && told++);
    const options = { recursive: true, signal: controller.signal, onProgress: tell, onTreeProgress: tell };
    const copying = (copy === "download"
      ? server.sftp.download("/d", `${dir.path}/here`, options)
      : server.sftp.upload(`${dir.path}/${copy === "upload" ? "tree" : "file"}`, "/d", options))
      .then(() =>
        "done", (error) => error);
    await until(() => asked.includes(held), `${what}: it was not asked for`);
    controller.abort(reason);
    time.tick(1000);
    assertEquals(await inTime(copying, what), reason);
    isOver = true;
    const before = await namesBelow(dir.path), sent = asked.length;
    answer.resolve();
    for (let i = 0; i < 10; i++) await server.sftp.lstat("/").catch(() => {});
    await turns(20);
    const later = asked.slice(sent).filter((type) => begun.includes(type));
    assertEquals([await namesBelow(dir.path), later, told], [before, [], 0], what);
  }
});
