/** Uploads that a channel's window holds up, over several sessions: what a server may do to any of them, and what is then there. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { equals } from "@std/bytes";
import { SftpError } from "../../lib/errors.ts";
import { openSftpOn, type SftpClient } from "../../lib/sftp/client.ts";
import { Status } from "../../lib/files/limits.ts";
import { LAST_WINDOW } from "../../lib/sftp/remote/flight_window.ts";
import { SftpSession } from "../../lib/sftp/remote/session.ts";
import { WritePipeline } from "../../lib/sftp/remote/write_pipeline.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { sleep } from "../_support/relay.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { idOf, pattern, pipes, RawPeer, tempDir } from "../_support/sftp_peers.ts";

/** What one session of a server does otherwise than another. */
interface Manner {
  /** There is no such channel. */
  readonly isRefused?: boolean;
  /** OPEN gets this status. */
  readonly open?: number;
  /** WRITE gets this status. */
  readonly write?: number;
  /** CLOSE gets this status, once `written` has been resolved. */
  readonly close?: number;
  /** It ends when it has read so many WRITEs, and answers none of them. */
  readonly diesAt?: number;
  /** It answers no WRITE. */
  readonly isStalled?: boolean;
  /** What FSTAT gives. */
  readonly size?: number;
}

/** Milliseconds that the first answer takes: a path that is long enough to be worth several channels. */
const DELAY = 12;

/** A server of one folder, with as many sessions as are asked for. */
class Server {
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>();
  /** What came, by session and type. */
  readonly log: { session: number; type: number }[] = [];
  readonly peers: RawPeer[] = [];
  readonly running: Promise<void>[] = [];
  readonly #manner: (session: number) => Manner;
  readonly written = Promise.withResolvers<void>();
  /** Channels that were asked for. */
  asked = 0;
  ended = 0;
  /** Until this says so the first session answers slowly, and not at all once there are more. */
  gate = (): boolean => this.count(Fxp.FSTAT) === 3 && this.count(Fxp.WRITE) > this.count(Fxp.WRITE, 0);

  constructor(manner: (session: number) => Manner = () => ({})) {
    this.#manner = manner;
  }

  count(type: number, session?: number): number {
    return this.log.filter((one) => one.type === type && (session ?? one.session) === one.session).length;
  }

  channel(isHeld = true) {
    const { near, far } = pipes(), session = this.asked++, manner = this.#manner(session);
    if (manner.isRefused) throw new Error("No more sessions");
    const peer = new RawPeer(far), since = performance.now();
    this.peers.push(peer);
    this.running.push(this.#serve(peer, session, manner).finally(() => this.ended++));
    const sending = () => ({ window: 1, held: isHeld ? 10 * (performance.now() - since) : 0 });
    return { ...near, sending };
  }

  #write(path: string, offset: number, bytes: Uint8Array): void {
    const file = this.files.get(path)!, end = Math.max(file.length, offset + bytes.length);
    const room = file.buffer.byteLength >= end ? file.buffer : new ArrayBuffer(2 * end);
    const grown = new Uint8Array(room, 0, end);
    if (room !== file.buffer) grown.set(file);
    grown.set(bytes, offset);
    this.files.set(path, grown);
  }

  async #serve(peer: RawPeer, session: number, manner: Manner): Promise<void> {
    await peer.next();
    await peer.send(m.encodeVersion(Fxp.VERSION, 3, [[Extension.limits, "1"]]));
    const open = new Map<number, string>();
    let handles = 0, asked = 0, gap = 0, answers: Promise<unknown> = Promise.resolve();
    for (let payload = await peer.next(); payload !== null; payload = await peer.next()) {
      const id = idOf(payload), type = payload[0]!, reader = new Reader(payload, 5);
      this.log.push({ session, type });
      if (type === Fxp.WRITE && this.count(Fxp.WRITE, session) === manner.diesAt) break;
      const reply = this.#answer(type, id, reader, open, manner, () => ++handles);
      if (reply === null) continue;
      if (type === Fxp.OPEN) [asked, gap] = [this.asked, DELAY];
      const isGated = type === Fxp.WRITE && session === 0;
      answers = answers.then(async () => {
        if (type === Fxp.CLOSE && manner.close !== undefined) await this.written.promise;
        if (isGated && !this.gate()) {
          // Ever longer: soon each is a round trip behind the one before, however busy the machine is.
          if (this.asked === asked) await sleep(gap);
          gap *= 2;
          if (this.asked > asked) await until(() => this.gate(), "The gate").catch(() => this.gate = () => true);
        }
        await peer.send(reply).catch(() => {});
      });
    }
    await answers;
    await peer.end();
  }

  #answer(
    type: number,
    id: number,
    reader: Reader,
    open: Map<number, string>,
    manner: Manner,
    handleOf: () => number,
  ): Uint8Array | null {
    const status = (status: number) => m.StatusReply.encode({ id, status, text: "", language: "" });
    const name = () => new TextDecoder().decode(reader.string()), handle = () => reader.string()[0]!;
    const sized = (path: string | undefined) => {
      const file = this.files.get(path ?? "");
      return file === undefined
        ? status(Status.NO_SUCH_FILE)
        : m.Attrs.encode({ id, attrs: { size: manner.size ?? file.length, mode: 0o100644 } });
    };
    switch (type) {
      case Fxp.OPEN: {
        const path = name(), flags = reader.u32();
        if (manner.open !== undefined) return status(manner.open);
        // What is opened once more is neither made nor emptied.
        if (!this.files.has(path)) {
          if ((flags & 8) === 0) return status(Status.NO_SUCH_FILE);
          this.files.set(path, new Uint8Array(0));
        } else if (flags & 32) return status(Status.FAILURE);
        const number = handleOf();
        open.set(number, path);
        return m.Handle.encode({ id, handle: new Uint8Array([number]) });
      }
      case Fxp.WRITE: {
        const path = open.get(handle())!, offset = Number(reader.u64()), bytes = reader.string();
        if (manner.isStalled) return null;
        if (manner.write !== undefined) return status(manner.write);
        this.#write(path, offset, bytes);
        return status(Status.OK);
      }
      case Fxp.CLOSE:
        return status(manner.close ?? Status.OK);
      case Fxp.FSTAT:
        return sized(open.get(handle()));
      case Fxp.STAT:
      case Fxp.LSTAT:
        return sized(name());
      case Fxp.RENAME: {
        const from = name(), to = name();
        this.files.set(to, this.files.get(from)!);
        this.files.delete(from);
        return status(Status.OK);
      }
      case Fxp.REMOVE:
        return status(this.files.delete(name()) ? Status.OK : Status.NO_SUCH_FILE);
      case Fxp.EXTENDED: {
        const most = { maxPacketLength: 262_144n, maxReadLength: 65_536n, maxWriteLength: 65_536n };
        return m.LimitsReply.encode({ id, ...most, maxOpenHandles: 0n });
      }
      default:
        return status(Status.OK);
    }
  }
}

const SIZE = 6_500_000;
const contents = pattern(SIZE);

/** A client of a server, and a local file of some size. */
async function begin(server: Server, most = 3, isHeld = true) {
  const dir = await tempDir(), local = `${dir.path}/f`;
  await Deno.writeFile(local, contents);
  const sftp: SftpClient = await openSftpOn(
    server.channel(isHeld),
    {},
    () => Promise.resolve().then(() => server.channel()),
    most,
  );
  return {
    sftp,
    local,
    /** Whether the file is there whole, and nothing else. */
    check() {
      assertEquals([...server.files.keys()], ["g"]);
      assert(equals(server.files.get("g")!, contents), "other bytes");
    },
    async [Symbol.asyncDispose]() {
      await sftp.close();
      server.gate = () => true;
      await Promise.all(server.running);
      await dir[Symbol.asyncDispose]();
    },
  };
}

Deno.test("upload() that the window holds up goes on over four channels, and closes three of them when it ends", async () => {
  const server = new Server();
  await using link = await begin(server);
  await link.sftp.upload(link.local, "g");
  link.check();
  assertEquals(server.asked, 4);
  for (let session = 1; session < 4; session++) assertEquals(server.count(Fxp.OPEN, session), 1);
  assert(server.count(Fxp.WRITE) > server.count(Fxp.WRITE, 0));
  // All handles are closed before the file takes its place.
  const renamed = server.log.findIndex(({ type }) => type === Fxp.RENAME);
  assertEquals(server.log.slice(0, renamed).filter(({ type }) => type === Fxp.CLOSE).length, 4);
  const last = server.log.findIndex(({ session, type }) => session === 0 && type === Fxp.CLOSE);
  assert(server.log.slice(last + 1).every(({ type }) => type !== Fxp.CLOSE), "the first one's is closed last");
  await until(() => server.ended === 3, "The end of the further sessions");
  // The next one has them anew.
  server.gate = () => server.asked >= 7;
  await link.sftp.upload(link.local, "g");
  link.check();
  assertEquals(server.asked, 7);
});

Deno.test("upload() opens no channel where no window holds it up, and none with a concurrency, in place, or on a bare channel", async () => {
  const server = new Server();
  server.gate = () => true;
  await using link = await begin(server, 3, false);
  await link.sftp.upload(link.local, "g");
  link.check();
  assertEquals(server.asked, 1);
  const held = new Server();
  held.gate = () => true;
  await using other = await begin(held);
  await other.sftp.upload(other.local, "g", { concurrency: 64 });
  held.files.clear();
  await other.sftp.upload(other.local, "g", { inPlace: true });
  assertEquals(held.asked, 1);
  const alone = new Server();
  alone.gate = () => true;
  await using bare = await begin(alone, 0);
  await bare.sftp.upload(bare.local, "g");
  assertEquals(alone.asked, 1);
});

const further: readonly { name: string; manner: Manner; by?: (session: number) => boolean }[] = [
  { name: "refuses another channel", manner: { isRefused: true } },
  { name: "does not open the file twice", manner: { open: Status.FAILURE } },
  { name: "shows another session a file of its own", manner: { size: 0 } },
  { name: "refuses another session's writes", manner: { write: Status.PERMISSION_DENIED } },
  { name: "ends another session in the middle", manner: { diesAt: 3 } },
  { name: "ends one of the others in the middle", manner: { diesAt: 2 }, by: (session) => session === 2 },
];
for (const { name, manner, by = (session: number) => session > 0 } of further) {
  Deno.test(`upload() is whole where the server ${name}`, async () => {
    const server = new Server((session) => by(session) ? manner : {});
    server.gate = () => server.asked >= 4;
    await using link = await begin(server);
    await link.sftp.upload(link.local, "g");
    link.check();
    assertEquals(server.asked, 4);
    if (manner.size === 0) assertEquals(server.count(Fxp.WRITE), server.count(Fxp.WRITE, 0));
    // What cannot be had is not asked for again and again.
    await link.sftp.upload(link.local, "g");
    link.check();
    if (manner.isRefused) assertEquals(server.asked, 4);
  });
}

Deno.test("upload() gives back one channel where the server refuses further ones: it may be the program's", async () => {
  const server = new Server((session) => ({ isRefused: session > 2 }));
  server.gate = () => server.asked >= 4 && server.count(Fxp.WRITE, 1) > 0;
  await using link = await begin(server);
  await link.sftp.upload(link.local, "g");
  link.check();
  assertEquals(server.asked, 4);
  assertEquals([0, 1, 2].map((session) => server.count(Fxp.WRITE, session) > 0), [true, true, false]);
  server.gate = () => server.asked === 5;
  await link.sftp.upload(link.local, "g");
  assertEquals(server.asked, 5);
});

Deno.test("upload() that is aborted ends its further channels, and leaves what it wrote for resume", async () => {
  const server = new Server((session) => ({ isStalled: session === 2 }));
  await using link = await begin(server);
  const controller = new AbortController();
  const copying = link.sftp.upload(link.local, "g", { signal: controller.signal });
  copying.catch(() => {});
  await until(() => server.count(Fxp.WRITE, 2) > 0, "The writes");
  controller.abort(new Error("enough"));
  await inTime(assertRejects(() => copying, Error, "enough"), "The end of the copy");
  await until(() => server.ended === 3, "The end of the further sessions");
  const [part] = server.files.keys();
  assert(part!.endsWith(".part"));
  server.gate = () => true;
  await link.sftp.upload(link.local, "g", { resume: true });
  link.check();
});

Deno.test("upload() of a tree shares the channels among its files", async () => {
  const server = new Server();
  await using link = await begin(server);
  const folder = `${link.local}s`;
  await Deno.mkdir(folder);
  for (const name of ["a", "b", "c"]) await Deno.copyFile(link.local, `${folder}/${name}`);
  server.gate = () => server.count(Fxp.FSTAT) >= 3;
  await link.sftp.upload(folder, "t", { recursive: true });
  assertEquals([...server.files.keys()].sort(), ["t/a", "t/b", "t/c"]);
  for (const file of server.files.values()) assert(equals(file, contents));
  assertEquals(server.asked, 4);
  assert(server.count(Fxp.OPEN, 1) > 1, "one file alone was shared");
});

Deno.test("SftpClient.close() in the middle of an upload ends all channels", async () => {
  const server = new Server((session) => ({ isStalled: session > 0 }));
  await using link = await begin(server);
  const copying = link.sftp.upload(link.local, "g");
  copying.catch(() => {});
  await until(() => server.count(Fxp.WRITE, 2) > 0, "The writes");
  server.gate = () => true;
  await inTime(link.sftp.close(), "The end of the session");
  await assertRejects(() => copying);
  await until(() => server.ended === 4, "The end of all");
});

Deno.test("upload() fails where the server says as late as at the CLOSE of another session that it could not keep the bytes", async () => {
  const server = new Server((session) => session === 2 ? { close: Status.FAILURE } : {});
  server.gate = () => server.asked >= 4;
  await using link = await begin(server);
  const onProgress = ({ bytes }: { bytes: number }) => void (bytes === SIZE && server.written.resolve());
  await assertRejects(() => link.sftp.upload(link.local, "g", { onProgress }), SftpError, "Cannot close");
  assertEquals([...server.files.keys()], []);
});

Deno.test("upload() fails as the first session does, whatever the others do", async () => {
  const server = new Server((session) => session === 0 ? { diesAt: 14 } : {});
  server.gate = () => server.asked >= 4;
  await using link = await begin(server);
  await assertRejects(() => link.sftp.upload(link.local, "g"), Error, "ended the SFTP session");
  assert(!server.files.has("g"));
  await until(() => server.ended === server.asked, "The end of all");
});

Deno.test("WritePipeline is never farther ahead of what is whole than resume goes back, whichever session is behind", async () => {
  const server = new Server((session) => ({ isStalled: session === 1 }));
  server.gate = () => true;
  const open = async () => {
    const session = new SftpSession(server.channel());
    await session.start();
    return session;
  };
  const first = await open(),
    second = await open(),
    handle = new Uint8Array([1]),
    purpose = { action: "open", path: "g" };
  await first.handle(m.Open, { path: "g", flags: 8 | 2, attrs: {} }, purpose);
  await second.handle(m.Open, { path: "g", flags: 2, attrs: {} }, purpose);
  const block = contents.subarray(0, 1_048_576), twice = new Uint8Array(2 * block.length);
  twice.set(block);
  twice.set(block, block.length);
  let sentAgain = 0;
  const pipeline = new WritePipeline(first, handle, "g", {
    offset: 0,
    again: (offset, length) => {
      sentAgain += length;
      return Promise.resolve(twice.subarray(offset % block.length, offset % block.length + length));
    },
  });
  assert(pipeline.join(second, handle.slice()));
  let most = 0, blocks = 0;
  const writing = (async () => {
    for (; blocks < 20; blocks++) {
      await pipeline.write(block);
      most = Math.max(most, pipeline.offset - pipeline.whole);
    }
    await pipeline.finish();
  })();
  // The second one answers nothing, and the first is done with all that it got.
  await until(() => server.count(Fxp.WRITE, 0) * 65_536 > LAST_WINDOW - 4_194_304 && blocks > 12, "The writes");
  await second.close();
  await writing;
  assert(most <= LAST_WINDOW, `${most} bytes ahead`);
  assert(sentAgain > 0);
  assertEquals(server.files.get("g")!.length, 20 * block.length);
  for (let at = 0; at < 20; at++) {
    const there = server.files.get("g")!.subarray(at * block.length, (at + 1) * block.length);
    assert(equals(there, block), `block ${at}`);
  }
  await first.close();
  await Promise.all(server.running);
});

Deno.test("WritePipeline leaves a session that answers nothing for ten seconds, to the millisecond, and writes its bytes by the first", async () => {
  const server = new Server((session) => ({ isStalled: session === 1 }));
  server.gate = () => true;
  const sessions = [new SftpSession(server.channel()), new SftpSession(server.channel())] as const;
  const [first, second] = sessions, handle = new Uint8Array([1]), purpose = { action: "open", path: "g" };
  for (const session of sessions) {
    await session.start();
    await session.handle(m.Open, { path: "g", flags: 8 | 2, attrs: {} }, purpose);
  }
  const again = (offset: number, length: number) => Promise.resolve(contents.subarray(offset, offset + length));
  {
    using time = new FakeTime();
    const pipeline = new WritePipeline(first, handle, "g", { offset: 0, again });
    assert(pipeline.join(second, handle.slice()));
    let isDone = false;
    const writing = (async () => {
      await pipeline.write(contents);
      await pipeline.finish();
      isDone = true;
    })();
    const answered = () => server.count(Fxp.WRITE, 0) * 65_536 + server.count(Fxp.WRITE, 1) * 65_536 >= SIZE;
    for (let n = 0; n < 1000 && !(answered() && time.pending > 0); n++) await turns();
    await turns();
    assert(server.count(Fxp.WRITE, 1) > 0 && second.ended === null);
    time.tick(9999);
    assert(second.ended === null);
    time.tick(1);
    assert(second.ended !== null);
    for (let n = 0; n < 1000 && !isDone; n++) await turns();
    assert(isDone);
    await writing;
  }
  assert(equals(server.files.get("g")!, contents));
  await first.close();
  await Promise.all(server.running);
});
