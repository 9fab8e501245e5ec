/** The order in which a server does what it is asked for, and in which its answers leave. */
import { assert, assertEquals } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import type { SftpFileInfo } from "../../lib/files/file_info.ts";
import type { SftpBackend, SftpBackendFile } from "../../lib/files/backend.ts";
import { Extension, Fxp, OpenFlag } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import type { SftpChannel } from "../../lib/sftp/wire/channel.ts";
import { begin, framed, idOf, type RawPeer, statusIn } from "../_support/sftp_peers.ts";

const info: SftpFileInfo = {
  isFile: true,
  isDirectory: false,
  isSymlink: false,
  size: 2 ** 40,
  mtime: null,
  atime: null,
  mode: null,
  uid: null,
  gid: null,
  extended: new Map(),
};

/** A call to the backend that ends when the test says so. */
interface Call {
  readonly what: string;
  readonly offset: number;
  readonly done: (value?: number) => void;
  readonly fail: (error: unknown) => void;
}

/** A backend whose calls wait for the test, in `calls`; those that `quick` names do not. */
class SlowBackend implements SftpBackend {
  readonly calls: Call[] = [];
  readonly closed: string[] = [];
  quick = (_what: string, _offset: number): boolean => false;
  #arrived: (() => void) | null = null;

  /** Waits until so many calls have been made. */
  async made(count: number): Promise<void> {
    while (this.calls.length < count) await new Promise<void>((resolve) => this.#arrived = resolve);
  }

  #call(what: string, offset = 0): Promise<number> {
    return new Promise((resolve, reject) => {
      this.calls.push({ what, offset, done: (value = 0) => resolve(value), fail: reject });
      if (this.quick(what, offset)) resolve(0);
      this.#arrived?.();
    });
  }

  open(path: string): SftpBackendFile {
    return {
      readAt: async (p, offset) => {
        p.fill(offset % 251);
        await this.#call("read", offset);
        return p.length;
      },
      writeAt: async (_p, offset) => void await this.#call("write", offset),
      stat: async () => ({ ...info, size: await this.#call("fstat") }),
      sync: async () => void await this.#call("sync"),
      [Symbol.asyncDispose]: () => Promise.resolve(void this.closed.push(path)),
    };
  }
  async *readDir() {}
  async stat(): Promise<SftpFileInfo> {
    await this.#call("stat");
    return info;
  }
}

async function opened(peer: RawPeer, path = "/f"): Promise<Uint8Array> {
  const flags = OpenFlag.READ | OpenFlag.WRITE;
  return m.Handle.decode((await peer.ask(m.Open.encode({ id: 1, path, flags, attrs: {} })))!).handle;
}

/** Requests in one chunk. */
function together(payloads: readonly Uint8Array[]): Uint8Array {
  const parts = payloads.map(framed), bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function readOf(id: number, handle: Uint8Array, offset = 0, length = 100): Uint8Array {
  return m.Read.encode({ id, handle, offset: BigInt(offset), length });
}
function writeOf(id: number, handle: Uint8Array, offset: number, length = 10): Uint8Array {
  return m.Write.encode({ id, handle, offset: BigInt(offset), data: new Uint8Array(length) });
}

Deno.test("DATA leaves in the order of the READs, though the first one takes longer", async () => {
  const backend = new SlowBackend();
  await using session = await begin(backend);
  const { peer } = session, handle = await opened(peer);
  await peer.raw(together([10, 11, 12].map((id) => readOf(id, handle, id))));
  await backend.made(3);
  for (const at of [2, 1, 0]) backend.calls[at]!.done();
  for (const id of [10, 11, 12]) {
    const reply = (await peer.next())!;
    assertEquals([reply[0], idOf(reply)], [Fxp.DATA, id]);
    assertEquals(m.Data.decode(reply).data, new Uint8Array(100).fill(id));
  }
});

Deno.test("READs of 100 bytes, of 100,000 and of 261,120 keep their order, whichever ends first", async () => {
  const backend = new SlowBackend(), lengths = [261_120, 100, 100_000, 20_000, 261_120, 70_000];
  await using session = await begin(backend);
  const { peer } = session, handle = await opened(peer);
  await peer.raw(together(lengths.map((length, i) => readOf(20 + i, handle, i, length))));
  await backend.made(lengths.length);
  for (const at of [4, 5, 0, 2, 3, 1]) backend.calls[at]!.done();
  for (const [i, length] of lengths.entries()) {
    const { id, data } = m.Data.decode((await peer.next())!);
    assertEquals([id, data.length, data[0]], [20 + i, length, i]);
  }
});

Deno.test("READ, WRITE, FSTAT and CLOSE of one handle happen and are answered in the order of the requests", async () => {
  const backend = new SlowBackend();
  await using session = await begin(backend);
  const { peer } = session, handle = await opened(peer);
  await peer.raw(together([
    readOf(10, handle, 1),
    m.Fstat.encode({ id: 11, handle }),
    writeOf(12, handle, 0),
    writeOf(13, handle, 10),
    readOf(14, handle, 2),
    m.Close.encode({ id: 15, handle }),
    readOf(16, handle, 3),
  ]));
  await backend.made(2);
  // What the session runs beside each other ends the wrong way round, each time.
  assertEquals(backend.calls.map(({ what }) => what), ["read", "fstat"]);
  backend.calls[1]!.done(7);
  backend.calls[0]!.done();
  await backend.made(4);
  assertEquals(backend.calls.slice(2).map(({ what, offset }) => [what, offset]), [["write", 0], ["write", 10]]);
  backend.calls[3]!.done();
  backend.calls[2]!.done();
  await backend.made(5);
  assertEquals(backend.closed, [], "closed under a READ");
  backend.calls[4]!.done();
  const types: [number, number][] = [];
  for (let i = 0; i < 7; i++) {
    const reply = (await peer.next())!;
    types.push([idOf(reply), reply[0]!]);
    if (idOf(reply) === 16) assertEquals(statusIn(reply), Status.FAILURE);
  }
  assertEquals(types, [
    [10, Fxp.DATA],
    [11, Fxp.ATTRS],
    [12, Fxp.STATUS],
    [13, Fxp.STATUS],
    [14, Fxp.DATA],
    [15, Fxp.STATUS],
    [16, Fxp.STATUS],
  ]);
  assertEquals(backend.closed, ["/f"]);
});

Deno.test("answers of other handles and of paths keep the order of the requests too", async () => {
  const backend = new SlowBackend();
  backend.quick = (what, offset) => what === "stat" || offset === 2;
  await using session = await begin(backend);
  const { peer } = session, slow = await opened(peer), quick = await opened(peer, "/g");
  await peer.raw(together([
    readOf(10, slow, 1),
    readOf(11, quick, 2),
    m.Stat.encode({ id: 12, path: "/x" }),
    m.Realpath.encode({ id: 13, path: "/x" }),
    m.Limits.encode({ id: 14, extension: Extension.limits }),
    m.Open.encode({ id: 15, path: "/h", flags: OpenFlag.READ, attrs: {} }),
  ]));
  await backend.made(3);
  backend.calls[0]!.done();
  const ids: number[] = [];
  for (let i = 0; i < 6; i++) ids.push(idOf((await peer.next())!));
  assertEquals(ids, [10, 11, 12, 13, 14, 15]);
});

Deno.test("a READ that fails keeps its place, whether the backend throws or rejects", async () => {
  const backend = new SlowBackend(), mistakes: unknown[] = [];
  await using session = await begin(backend, { onError: (error) => mistakes.push(error) });
  const { peer } = session, handle = await opened(peer), none = new Uint8Array(4);
  await peer.raw(together([
    readOf(10, handle, 1),
    readOf(11, handle, 2),
    // Fails at once: there is no such handle.
    readOf(12, none),
    readOf(13, handle, 3),
    readOf(14, handle, 4),
  ]));
  await backend.made(4);
  backend.calls[3]!.fail(new TypeError("a mistake"));
  backend.calls[2]!.done();
  backend.calls[1]!.fail(new SftpError("No such block", Status.NO_SUCH_FILE));
  backend.calls[0]!.fail(new Deno.errors.PermissionDenied());
  const got: (number | undefined)[][] = [];
  for (let i = 0; i < 5; i++) {
    const reply = (await peer.next())!;
    got.push([idOf(reply), reply[0] === Fxp.STATUS ? statusIn(reply) : undefined]);
  }
  assertEquals(got, [
    [10, Status.PERMISSION_DENIED],
    [11, Status.NO_SUCH_FILE],
    [12, Status.FAILURE],
    [13, undefined],
    [14, Status.FAILURE],
  ]);
  assertEquals(mistakes.map(String), ["TypeError: a mistake"]);
});

for (const [length, most] of [[100, 64], [32_768, 64], [65_537, 16], [261_120, 16]] as const) {
  Deno.test(`behind a READ that takes long, at most ${most} of ${length} bytes are started, and none is lost`, async () => {
    const backend = new SlowBackend();
    backend.quick = (_what, offset) => offset > 0;
    await using session = await begin(backend);
    const { peer } = session, handle = await opened(peer), count = 300;
    const requests = Array.from({ length: count }, (_, i) => readOf(100 + i, handle, i, length));
    const sent = peer.raw(together(requests));
    await backend.made(most);
    // Each of these would let the next one start, if what is held back did not count.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
    assertEquals(backend.calls.length, most);
    backend.calls[0]!.done();
    for (let i = 0; i < count; i++) {
      const { id, data } = m.Data.decode((await peer.next())!);
      assertEquals([id, data.length, data[0]], [100 + i, length, i % 251]);
    }
    await sent;
  });
}

Deno.test("answers that were held back leave in one chunk", async () => {
  const backend = new SlowBackend(), chunks: number[] = [];
  const shape = (far: SftpChannel): SftpChannel => {
    const count = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        chunks.push(chunk.length);
        controller.enqueue(chunk);
      },
    });
    count.readable.pipeTo(far.writable).catch(() => {});
    return { readable: far.readable, writable: count.writable };
  };
  await using session = await begin(backend, { shape });
  const { peer } = session, handle = await opened(peer);
  await peer.raw(together(Array.from({ length: 20 }, (_, i) => readOf(i, handle, i, 10))));
  await backend.made(20);
  chunks.length = 0;
  for (const call of backend.calls.toReversed()) call.done();
  for (let i = 0; i < 20; i++) assertEquals(idOf((await peer.next())!), i);
  assertEquals(chunks, [20 * (13 + 10)]);
});

for (const end of ["its signal", "the end of its stream", "a broken request"] as const) {
  Deno.test(`serveSftp() ends with ${end} while answers are held back, and closes the handle after the last call`, async () => {
    const backend = new SlowBackend(), controller = new AbortController();
    const session = await begin(backend, { signal: controller.signal });
    const { peer, served } = session, handle = await opened(peer);
    await peer.raw(together(Array.from({ length: 10 }, (_, i) => readOf(10 + i, handle, i))));
    await backend.made(10);
    for (const call of backend.calls.slice(1)) call.done();
    let over = false;
    const outcome = served.then(() => "done", (error) => String(error)).finally(() => over = true);
    if (end === "its signal") controller.abort();
    else if (end === "a broken request") await peer.raw(new Uint8Array(4));
    const ended = end === "the end of its stream" ? peer.end() : Promise.resolve();
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
    assertEquals([over, backend.closed], [false, []], "a file was closed under a call");
    backend.calls[0]!.done();
    const said = await outcome;
    if (end === "its signal") assertEquals(said, "done");
    else if (end === "a broken request") assert(said.startsWith("SshProtocolError"), said);
    assertEquals(backend.closed, ["/f"]);
    await ended;
    await peer.end();
  });
}

Deno.test("a WRITE that overlaps one under way starts when that has ended, one that does not starts beside it", async () => {
  const backend = new SlowBackend();
  await using session = await begin(backend);
  const { peer } = session, handle = await opened(peer);
  await peer.raw(together([
    writeOf(10, handle, 0, 100),
    writeOf(11, handle, 100, 100),
    writeOf(12, handle, 150, 100),
    writeOf(13, handle, 0, 100),
  ]));
  await backend.made(2);
  const offsets = (): number[] => backend.calls.map(({ offset }) => offset);
  const turns = async (): Promise<void> => {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
  };
  await turns();
  assertEquals(offsets(), [0, 100], "a WRITE started beside one that it overlaps");
  backend.calls[1]!.done();
  await turns();
  assertEquals(offsets(), [0, 100], "a WRITE started before all that it follows had ended");
  backend.calls[0]!.done();
  await backend.made(3);
  await turns();
  assertEquals(offsets(), [0, 100, 150]);
  backend.calls[2]!.done();
  await backend.made(4);
  backend.calls[3]!.done();
  for (const id of [10, 11, 12, 13]) assertEquals(idOf((await peer.next())!), id);
});

Deno.test("fsync@openssh.com calls the file's sync() once, behind the writes, and is answered when that has ended", async () => {
  const backend = new SlowBackend();
  await using session = await begin(backend);
  const { peer } = session, handle = await opened(peer);
  const fsync = (id: number): Uint8Array => m.Fsync.encode({ id, extension: Extension.fsync, handle });
  await peer.raw(together([writeOf(10, handle, 0), fsync(11), m.Stat.encode({ id: 12, path: "/" })]));
  await backend.made(1);
  assertEquals(backend.calls.map(({ what }) => what), ["write"]);
  backend.calls[0]!.done();
  await backend.made(2);
  assertEquals(backend.calls[1]!.what, "sync");
  assertEquals(idOf((await peer.next())!), 10);
  // An answer before sync() has ended would be there before the first sign of what follows it.
  backend.calls[1]!.fail(new Deno.errors.NotSupported());
  const reply = await peer.next();
  assertEquals([idOf(reply!), statusIn(reply)], [11, Status.OP_UNSUPPORTED]);
  await backend.made(3);
  backend.calls[2]!.done();
  assertEquals(idOf((await peer.next())!), 12);
  await peer.send(fsync(13));
  await backend.made(4);
  backend.calls[3]!.done();
  assertEquals(statusIn(await peer.next()), Status.OK);
  assertEquals(backend.calls.filter(({ what }) => what === "sync").length, 2);
});
