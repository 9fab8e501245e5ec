/** `timeout` and `signal` of each request: a wait ends when it is told to, and nothing more is asked for behind that. */
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { Status } from "../../lib/files/limits.ts";
import type { SftpClient } from "../../lib/sftp/client.ts";
import type { SftpFile } from "../../lib/sftp/remote/file.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import type { WaitOptions } from "../../lib/wire/deadline.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { framed, pattern, scripted, statusReply } from "../_support/sftp_peers.ts";
import { inTime, turns, until } from "../_support/until.ts";

/** All that this client can ask for, but the limits, which it asks for at the start. */
const extensions = Object.values(Extension).filter((name) => name !== m.Limits.name)
  .map((name): [string, string] => [name, "1"]);

/** What one request, or several, wait for; on a path. */
const calls: readonly (readonly [string, (sftp: SftpClient, wait: WaitOptions) => Promise<unknown>])[] = [
  ["stat", (sftp, wait) => sftp.stat("/f", wait)],
  ["lstat", (sftp, wait) => sftp.lstat("/f", wait)],
  ["open directory", (sftp, wait) => Array.fromAsync(sftp.readDir("/f", wait))],
  ["make directory", (sftp, wait) => sftp.mkdir("/f", wait)],
  ["make directory", (sftp, wait) => sftp.mkdir("/f", { ...wait, recursive: true, mode: 0o700 })],
  ["rename", (sftp, wait) => sftp.rename("/f", "/g", wait)],
  ["resolve", (sftp, wait) => sftp.realPath("/f", wait)],
  ["resolve", (sftp, wait) => sftp.expandPath("/f", wait)],
  ["find the home directory of", (sftp, wait) => sftp.homeDirectory("/f", wait)],
  ["look up users and groups", (sftp, wait) => sftp.usersGroups([0], [0], wait)],
  ["read link", (sftp, wait) => sftp.readLink("/f", wait)],
  ["make symbolic link", (sftp, wait) => sftp.symlink("/g", "/f", wait)],
  ["link", (sftp, wait) => sftp.link("/g", "/f", wait)],
  ["change attributes of", (sftp, wait) => sftp.setStat("/f", { mode: 0o600 }, wait)],
  ["change attributes of", (sftp, wait) => sftp.setStat("/f", { mode: 0o600 }, { ...wait, followLinks: false })],
  ["change mode of", (sftp, wait) => sftp.chmod("/f", 0o600, wait)],
  ["change owner of", (sftp, wait) => sftp.chown("/f", 0, 0, wait)],
  ["change times of", (sftp, wait) => sftp.utime("/f", 1, 1, wait)],
  ["truncate", (sftp, wait) => sftp.truncate("/f", 1, wait)],
  ["stat file system of", (sftp, wait) => sftp.statfs("/f", wait)],
  ["open directory", (sftp, wait) => Array.fromAsync(sftp.glob("/f/*", wait))],
  ["stat", (sftp, wait) => Array.fromAsync(sftp.glob("/f", wait))],
  ["remove", (sftp, wait) => sftp.remove("/f", wait)],
  ["remove", (sftp, wait) => sftp.remove("/f", { ...wait, recursive: true })],
  ["copy", (sftp, wait) => sftp.copyFile("/f", "/g", wait)],
];

/** The same of an open file. */
const ofFile: readonly (readonly [string, (file: SftpFile, wait: WaitOptions) => Promise<unknown>])[] = [
  ["read", (file, wait) => file.read(new Uint8Array(10), wait)],
  ["read", (file, wait) => file.readAt(new Uint8Array(10), 5, wait)],
  ["write", (file, wait) => file.write(pattern(10), wait)],
  ["write", (file, wait) => file.writeAt(pattern(10), 5, wait)],
  ["seek in", (file, wait) => file.seek(0, 2, wait)],
  ["stat", (file, wait) => file.stat(wait)],
  ["change attributes of", (file, wait) => file.setStat({ mode: 0o600 }, wait)],
  ["truncate", (file, wait) => file.truncate(1, wait)],
  ["change attributes of", (file, wait) => file.utime(1, 1, wait)],
  ["sync", (file, wait) => file.sync(wait)],
  ["stat file system of", (file, wait) => file.statfs(wait)],
];

/** Starts a wait, lets its time pass once `asked` holds, and gives what it is told. */
async function expired(start: (wait: WaitOptions) => Promise<unknown>, asked: () => boolean): Promise<string> {
  using time = new FakeTime();
  const counted = countedSignal();
  const waiting = start({ timeout: 300, signal: counted.signal }).then(() => "resolved", (error) => error);
  while (!asked()) await turns(1);
  time.tick(300);
  const error = await waiting;
  assertInstanceOf(error, DOMException);
  assertEquals([error.name, counted.listeners], ["TimeoutError", 0]);
  return error.message;
}

/** A server that answers nothing but OPEN and CLOSE, and counts what else it is asked. */
async function silent() {
  let asked = 0;
  const server = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    if (payload[0] === Fxp.CLOSE) return statusReply(id, Status.OK);
    asked++;
    return null;
  }, extensions);
  return Object.assign(server, { asked: () => asked });
}

Deno.test("each request waits for its answer as long as its caller says, and another is answered behind it", async () => {
  for (const [action, start] of calls) {
    await using server = await silent();
    const message = await expired((wait) => start(server.sftp, wait), () => server.asked() > 0);
    const what = action === "look up users and groups" ? action : `${action} "/f"`;
    assertEquals(message, `Timed out after 300 ms waiting for the server to ${what}`);
    await (await server.sftp.open("/still")).close();
  }
});

Deno.test("each request about an open file likewise, and the file can be closed then", async () => {
  for (const [action, start] of ofFile) {
    await using server = await silent();
    const file = await server.sftp.open("/f", { read: true, write: true });
    const message = await expired((wait) => start(file, wait), () => server.asked() > 0);
    assertEquals(message, `Timed out after 300 ms waiting for the server to ${action} "/f"`);
    await inTime(file.close(), "close()");
  }
});

Deno.test("nothing is asked for by a signal that has aborted, and options that are none are refused", async () => {
  await using server = await silent();
  const file = await server.sftp.open("/f", { read: true, write: true }), reason = new Error("enough");
  const starts = [
    ...calls.map(([, start]) => (wait: WaitOptions) => start(server.sftp, wait)),
    ...ofFile.map(([, start]) => (wait: WaitOptions) => start(file, wait)),
    // A wait goes in beside options of Deno's own shape.
    (wait: WaitOptions) => server.sftp.writeFile("/f", new Uint8Array(1), { append: true, ...wait }),
    (wait: WaitOptions) => server.sftp.writeTextFile("/f", "x", { append: true, ...wait }),
  ];
  for (const start of starts) {
    assertEquals(await assertRejects(() => start({ signal: AbortSignal.abort(reason) })), reason);
    await assertRejects(() => start({ timeout: 0 }), RangeError, "milliseconds above 0");
    await assertRejects(() => start({ timeouts: 5 } as WaitOptions), TypeError, "`timeout`");
  }
  await assertRejects(() => file.close({ timeout: 0 }), RangeError, "milliseconds above 0");
  assertEquals(server.asked(), 0);
  await file.close();
});

Deno.test("a file whose CLOSE is not answered can be left: it is closed when the server answers", async () => {
  await using server = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    return payload[0] === Fxp.CLOSE ? null : undefined;
  });
  const file = await server.sftp.open("/f");
  const message = await expired((wait) => file.close(wait), () => true);
  assertEquals(message, 'Timed out after 300 ms waiting for "/f" to be closed');
  await assertRejects(() => file.stat(), Error, "the file is closed");
});

/** What changes something there. */
const changing: ReadonlySet<number> = new Set([
  Fxp.MKDIR,
  Fxp.REMOVE,
  Fxp.RMDIR,
  Fxp.WRITE,
  Fxp.FSETSTAT,
  Fxp.SETSTAT,
]);

/** Calls of several requests: what to wait for, and what is answered by then. */
const stepwise: readonly (readonly [string, (sftp: SftpClient, wait: WaitOptions) => Promise<unknown>, number])[] = [
  ["mkdir", (sftp, wait) => sftp.mkdir("/a/b/c", { ...wait, recursive: true }), Fxp.MKDIR],
  ["remove", (sftp, wait) => sftp.remove("/d", wait), Fxp.LSTAT],
  ["remove of a tree", (sftp, wait) => sftp.remove("/d", { ...wait, recursive: true }), Fxp.READDIR],
  ["copyFile", (sftp, wait) => sftp.copyFile("/f", "/g", wait), Fxp.READ],
  ["setStat", (sftp, wait) => sftp.setStat("/f", { mode: 0o600 }, { ...wait, followLinks: false }), Fxp.LSTAT],
];

Deno.test("a call of several requests that is aborted changes nothing more, whatever is answered later", async () => {
  for (const [name, start, held] of stepwise) {
    const answer = Promise.withResolvers<void>(), reason = new Error("enough"), asked: number[] = [];
    let open = 0, isHeld = false, later = 0;
    const attrs = { mode: name === "copyFile" ? 0o100644 : 0o040755, size: 100_000, atime: 1, mtime: 1 };
    await using server = await scripted(async (payload, id) => {
      const type = payload[0]!;
      asked.push(type);
      if (isHeld && changing.has(type)) later++;
      if (type === Fxp.CLOSE) open--;
      if (type === held) {
        isHeld = true;
        await answer.promise;
      }
      if (type === Fxp.OPEN || type === Fxp.OPENDIR) return m.Handle.encode({ id, handle: new Uint8Array([++open]) });
      if (type === Fxp.STAT || type === Fxp.LSTAT || type === Fxp.FSTAT) return m.Attrs.encode({ id, attrs });
      if (type === Fxp.READ) return m.Data.encode({ id, data: pattern(1000) });
      if (type === Fxp.READDIR) {
        const isFirst = asked.filter((type) => type === Fxp.READDIR).length === 1;
        if (!isFirst) return statusReply(id, Status.EOF);
        const names = Array.from({ length: 10 }, (_, i) => ({ name: `${i}`, longName: "", attrs }));
        return m.Name.encode({ id, entries: names });
      }
      if (type === Fxp.REALPATH) return statusReply(id, Status.FAILURE);
      return changing.has(type)
        ? statusReply(id, type === Fxp.MKDIR ? Status.NO_SUCH_FILE : Status.FAILURE)
        : undefined;
    });
    const controller = new AbortController();
    const waiting = start(server.sftp, { signal: controller.signal }).then(() => "done", (error) => error);
    await until(() => isHeld, `${name}: it was not asked for`);
    controller.abort(reason);
    assertEquals(await inTime(waiting, name), reason);
    answer.resolve();
    await until(() => open === 0, `${name}: a handle is still open`);
    // More answers, behind all that could have been asked for.
    for (let i = 0; i < 10; i++) await server.sftp.realPath("/").catch(() => {});
    assertEquals(later, 0, name);
  }
});

Deno.test("a read that is given up leaves its buffer and the position alone, and one that waits for its turn asks nothing", async () => {
  const held: { id: number }[] = [], offsets: number[] = [];
  await using server = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    if (payload[0] !== Fxp.READ) return undefined;
    offsets.push(Number(m.Read.decode(payload).offset));
    if (offsets.length > 1) return m.Data.encode({ id, data: pattern(10, 2) });
    held.push({ id });
    return null;
  });
  await using file = await server.sftp.open("/f");
  const first = new AbortController(), second = new AbortController(), buffer = new Uint8Array(10);
  const reading = file.read(buffer, { signal: first.signal }).catch((error) => error.message);
  const waiting = file.read(new Uint8Array(10), { signal: second.signal }).catch((error) => error.message);
  await until(() => held.length === 1, "No READ came");
  second.abort(new Error("the second"));
  assertEquals(await inTime(waiting, "The second"), "the second");
  first.abort(new Error("the first"));
  assertEquals(await inTime(reading, "The first"), "the first");
  await server.peer.send(m.Data.encode({ id: held[0]!.id, data: pattern(10) }));
  const again = new Uint8Array(10);
  assertEquals(await file.read(again), 10);
  assertEquals([buffer, again, offsets], [new Uint8Array(10), pattern(10, 2), [0, 0]]);
});

Deno.test("of a write that is given up nothing more is sent, and the session goes on", async () => {
  const writes: number[] = [];
  await using server = await scripted((payload, id) => {
    if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    if (payload[0] === Fxp.REALPATH) return statusReply(id, Status.FAILURE);
    if (payload[0] !== Fxp.WRITE) return undefined;
    writes.push(id);
    return null;
  });
  const file = await server.sftp.open("/f", { write: true }), controller = new AbortController();
  const writing = file.writeAt(pattern(20_000_000), 0, { signal: controller.signal }).catch((error) => error.message);
  await until(() => writes.length > 0, "No WRITE came");
  controller.abort(new Error("enough"));
  assertEquals(await inTime(writing, "The write"), "enough");
  await server.sftp.realPath("/").catch(() => {});
  const sent = writes.length;
  for (const id of writes.slice()) await server.peer.send(statusReply(id, Status.OK));
  for (let i = 0; i < 10; i++) await server.sftp.realPath("/").catch(() => {});
  assertEquals(writes.length, sent);
  await inTime(file.close(), "close()");
});

/**
 * What a call comes to whose answer follows that of another request in one chunk, of which the program hears some turns of its promises
 * before it aborts the call: null where that is in time.
 */
async function closelyAborted<T>(
  turns: number,
  type: number,
  answer: (id: number) => Uint8Array,
  start: (sftp: SftpClient, signal: AbortSignal) => Promise<T>,
) {
  let held: number | null = null, stat: number | null = null;
  const asked: Uint8Array[] = [];
  const server = await scripted(async (payload, id, peer) => {
    asked.push(payload);
    if (payload[0] === type && held === null) held = id;
    else if (payload[0] === Fxp.STAT) stat = id;
    else if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
    else if (payload[0] === Fxp.READ) return m.Data.encode({ id, data: pattern(10) });
    else return payload[0] === Fxp.READDIR || payload[0] === Fxp.REALPATH ? statusReply(id, Status.EOF) : undefined;
    if (held !== null && stat !== null) {
      await peer.raw(new Uint8Array([...framed(m.Attrs.encode({ id: stat, attrs: {} })), ...framed(answer(held))]));
    }
    return null;
  });
  const controller = new AbortController(), started = start(server.sftp, controller.signal);
  const aborting = (async () => {
    await until(() => held !== null, "It was not asked for");
    await server.sftp.stat("/g");
    for (let i = 0; i < turns; i++) await null;
    controller.abort();
  })();
  const got = await started.catch(() => null);
  await aborting;
  return Object.assign(server, { got, asked });
}

Deno.test("what comes just before an abort is the caller's, or is let go of", async () => {
  const handle = (id: number) => m.Handle.encode({ id, handle: new Uint8Array([1]) });
  for (let turns = 0; turns < 20; turns++) {
    {
      await using server = await closelyAborted(turns, Fxp.OPEN, handle, (sftp, signal) => sftp.open("/f", { signal }));
      await server.got?.close();
      const isClosed = (): boolean => server.asked.some((payload) => payload[0] === Fxp.CLOSE);
      await until(isClosed, `An abort after ${turns} turns left the file open`);
    }
    {
      const list = (sftp: SftpClient, signal: AbortSignal) => Array.fromAsync(sftp.readDir("/d", { signal }));
      await using server = await closelyAborted(turns, Fxp.OPENDIR, handle, list);
      const isClosed = (): boolean => server.asked.some((payload) => payload[0] === Fxp.CLOSE);
      await until(isClosed, `An abort after ${turns} turns left the directory open`);
    }
    {
      const data = (id: number) => m.Data.encode({ id, data: pattern(10) });
      let file!: SftpFile;
      await using server = await closelyAborted(turns, Fxp.READ, data, async (sftp, signal) => {
        file = await sftp.open("/f");
        return await file.read(new Uint8Array(10), { signal });
      });
      await file.read(new Uint8Array(10));
      const offsets = server.asked.filter((payload) => payload[0] === Fxp.READ).map((one) => m.Read.decode(one).offset);
      assertEquals(offsets, [0n, server.got === null ? 0n : 10n], `An abort after ${turns} turns`);
      await file.close();
    }
  }
});

Deno.test("an abort whose reason is the error of another request is no answer of the server", async () => {
  for (const status of [Status.NO_SUCH_FILE, Status.PERMISSION_DENIED, Status.FAILURE, Status.OP_UNSUPPORTED]) {
    const reason = new SftpError('Cannot open "/other": no such file or directory', status, "/other");
    for (const [action, start] of calls) {
      await using server = await silent();
      const controller = new AbortController(), waiting = start(server.sftp, { signal: controller.signal });
      await until(() => server.asked() > 0, `${action}: it was not asked for`);
      controller.abort(reason);
      const got = await inTime(waiting.then(() => "done", (error) => error), action);
      assert(got === reason, `${action}, status ${status}: ${got}`);
    }
  }
});
