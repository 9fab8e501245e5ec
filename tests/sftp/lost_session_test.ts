/** What calls of a session say that ended under them, and what a server says that lives. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError, SshError, SshProtocolError } from "../../lib/errors.ts";
import { openSftp, type SftpClient } from "../../lib/sftp/client.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import type { SftpFile } from "../../lib/sftp/remote/file.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { fileNode, memoryFiles, refusing } from "../_support/refusing_server.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { framed, pipes, RawPeer, someone, statusReply, tempDir } from "../_support/sftp_peers.ts";
import { inTime, turns } from "../_support/until.ts";

/** Every call that asks the server something, with a file that is open and a local one. */
const calls: readonly ((sftp: SftpClient, file: SftpFile, local: string) => Promise<unknown>)[] = [
  (sftp) => sftp.open("/f"),
  (sftp) => sftp.readFile("/f"),
  (sftp) => sftp.readTextFile("/f"),
  (sftp) => sftp.writeFile("/f", new Uint8Array(5)),
  (sftp) => sftp.writeFile("/f", new Uint8Array(500_000)),
  (sftp) => Array.fromAsync(sftp.readDir("/d")),
  (sftp) => sftp.stat("/f"),
  (sftp) => sftp.lstat("/f"),
  (sftp) => sftp.mkdir("/d"),
  (sftp) => sftp.mkdir("/d/e", { recursive: true }),
  (sftp) => sftp.remove("/f"),
  (sftp) => sftp.remove("/d", { recursive: true }),
  (sftp) => sftp.rename("/f", "/g"),
  (sftp) => sftp.realPath("/f"),
  (sftp) => sftp.readLink("/f"),
  (sftp) => sftp.symlink("f", "/g"),
  (sftp) => sftp.chmod("/f", 0o600),
  (sftp) => sftp.chown("/f", 1, 1),
  (sftp) => sftp.utime("/f", 1, 1),
  (sftp) => sftp.truncate("/f"),
  (sftp) => sftp.setStat("/f", { mode: 0o600 }),
  (sftp) => sftp.copyFile("/f", "/g"),
  (sftp) => Array.fromAsync(sftp.glob("/*")),
  (sftp) => Array.fromAsync(sftp.glob("/f")),
  (sftp, _, local) => sftp.upload(local, "/f"),
  (sftp, _, local) => sftp.upload(local, "/f", { inPlace: true }),
  (sftp, _, local) => sftp.download("/f", `${local}-copy`),
  (sftp, _, local) => sftp.download("/*", `${local}-copies`),
  (_, file) => file.read(new Uint8Array(5)),
  (_, file) => file.readAt(new Uint8Array(5), 9),
  (_, file) => file.write(new Uint8Array(5)),
  (_, file) => file.writeAt(new Uint8Array(5), 9),
  (_, file) => file.stat(),
  (_, file) => file.truncate(),
  (_, file) => file.seek(0, 2),
];

/** A server that opens one file, and then answers nothing. */
async function silent(): Promise<{
  readonly sftp: SftpClient;
  readonly file: SftpFile;
  readonly writer: WritableStreamDefaultWriter<Uint8Array>;
}> {
  const { near, far } = pipes(), reader = far.readable.getReader(), writer = far.writable.getWriter();
  const answered = (async () => {
    await reader.read();
    await writer.write(framed(m.encodeVersion(Fxp.VERSION, 3)));
    await reader.read();
    await writer.write(framed(m.Handle.encode({ id: 0, handle: new Uint8Array([1]) })));
    reader.releaseLock();
    await far.readable.pipeTo(new WritableStream()).catch(() => {});
  })();
  answered.catch(() => {});
  const sftp = await openSftp(near);
  return { sftp, file: await sftp.open("/open", { read: true, write: true }), writer };
}

type Silent = Awaited<ReturnType<typeof silent>>;

/** How a session ends, and what its calls are to say. */
const ends: readonly (readonly [string, (session: Silent) => Promise<unknown>, string, number])[] = [
  ["the server ends it", ({ writer }) => writer.close(), "CONNECTION_LOST", 7],
  [
    "the stream breaks",
    ({ writer }) => writer.abort(new Deno.errors.ConnectionReset("reset")),
    "CONNECTION_LOST",
    7,
  ],
  [
    "the connection is lost",
    ({ writer }) => writer.abort(new SshError("The line was cut", { code: "CONNECTION_LOST" })),
    "CONNECTION_LOST",
    7,
  ],
  [
    "the server disconnects",
    ({ writer }) => writer.abort(new SshError("The peer disconnected", { code: "DISCONNECTED" })),
    "CONNECTION_LOST",
    7,
  ],
  [
    "the connection is closed here",
    ({ writer }) => writer.abort(new SshError("Connection is closed", { code: "CLOSED" })),
    "CLOSED",
    6,
  ],
  ["the session is closed here", ({ sftp }) => sftp.close(), "CLOSED", 6],
  ["the server breaks the protocol", ({ writer }) => writer.write(framed(statusReply(4711, 0))), "PROTOCOL_ERROR", 7],
];

for (const [how, end, code, status] of ends) {
  Deno.test(`calls that wait, and later ones, carry ${code} when ${how}`, async () => {
    await using dir = await tempDir();
    await Promise.all(calls.map(async (call, at) => {
      const local = `${dir.path}/${at}`;
      await Deno.writeTextFile(local, "some");
      const session = await silent(), { sftp, file } = session;
      const waiting = call(sftp, file, local).then(() => null, (error) => error);
      // The call is under way.
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
      end(session).catch(() => {});
      for (const error of [await waiting, await call(sftp, file, local).then(() => null, (error) => error)]) {
        assert(error instanceof SftpError, `${how}, ${at}: ${error}`);
        assertEquals([error.code, error.status], [code, status], `${how}, ${at}: ${error.message}`);
        assert(error.cause !== undefined, `${how}, ${at}`);
      }
      await sftp.close();
    }));
  });
}

Deno.test("a copy that is cut carries CONNECTION_LOST though some of it failed before, and though much of it was done", async () => {
  await using dir = await tempDir();
  for (let i = 0; i < 20; i++) await Deno.writeTextFile(`${dir.path}/${i}`, "some");
  const files = memoryFiles();
  let opened = 0;
  await using peer = await refusing(files, (kind) => {
    if (kind !== "OPEN") return null;
    opened++;
    return opened === 2 ? { status: Status.PERMISSION_DENIED } : opened === 9 ? "lost before" : null;
  });
  const error = await assertRejects(() => peer.sftp.upload(dir.path, "/d", { recursive: true }), SftpError);
  assertEquals(error.code, "CONNECTION_LOST");
  assert(error.cause instanceof AggregateError);
});

Deno.test("status 6 or 7 from a server that lives is an answer like any other", async () => {
  for (const status of [Status.NO_CONNECTION, Status.CONNECTION_LOST]) {
    const files = memoryFiles();
    await using peer = await refusing(files, (kind) => kind === "STAT" ? { status } : null);
    const error = await assertRejects(() => peer.sftp.stat("/"), SftpError, "the server says");
    assertEquals([error.code, error.status], ["SFTP_STATUS", status]);
    assertEquals((await peer.sftp.lstat("/")).isDirectory, true);
  }
});

Deno.test("what a signal ends rejects with its reason, and not as a loss", async () => {
  const reason = new Error("enough of it");
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "some");
  const signals: readonly ((sftp: SftpClient, signal: AbortSignal) => Promise<unknown>)[] = [
    (sftp, signal) => sftp.open("/f", { signal }),
    (sftp, signal) => sftp.readFile("/f", { signal }),
    (sftp, signal) => sftp.writeFile("/f", new Uint8Array(5), { signal }),
    (sftp, signal) => sftp.upload(`${dir.path}/f`, "/f", { signal }),
    (sftp, signal) => sftp.download("/f", `${dir.path}/g`, { signal }),
  ];
  await Promise.all(signals.map(async (call) => {
    const { sftp } = await silent(), controller = new AbortController();
    const waiting = call(sftp, controller.signal).then(() => null, (error) => error);
    await new Promise((resolve) => setTimeout(resolve, 0));
    controller.abort(reason);
    assertEquals(await waiting === reason, true);
    assertEquals(await call(sftp, controller.signal).then(() => null, (error) => error) === reason, true);
    await sftp.close();
  }));
});

Deno.test("a session that does not begin carries how it ended", async () => {
  for (
    const [end, code] of [
      [(peer: RawPeer) => peer.end(), "CONNECTION_LOST"],
      [(peer: RawPeer) => peer.send(m.encodeVersion(Fxp.VERSION, 2)), "PROTOCOL_ERROR"],
    ] as const
  ) {
    const { near, far } = pipes(), peer = new RawPeer(far), opening = openSftp(near).then(() => null, (error) => error);
    await peer.next();
    await end(peer);
    const error = await opening;
    assert(error instanceof SftpError || error instanceof SshProtocolError, String(error));
    assertEquals((error as SshError).code, code);
    await peer.end();
  }
});

Deno.test("`await using` of a file lets the error of a lost session through, and tells of one that nobody has heard of", async () => {
  const methods: readonly (readonly [string, (file: SftpFile) => Promise<unknown>])[] = [
    ["READ", (file) => file.read(new Uint8Array(10))],
    ["READ", (file) => file.readAt(new Uint8Array(10), 5)],
    ["READ", (file) => new Response(file.readable).bytes()],
    ["WRITE", (file) => file.write(new Uint8Array(10))],
    ["WRITE", (file) => file.writeAt(new Uint8Array(10), 5)],
    ["WRITE", (file) => new Blob(["some"]).stream().pipeTo(file.writable)],
    ["FSTAT", (file) => file.stat()],
    ["FSTAT", (file) => file.seek(0, Deno.SeekMode.End)],
    ["FSETSTAT", (file) => file.setStat({ mode: 0o600 })],
    ["FSETSTAT", (file) => file.truncate(1)],
    ["FSETSTAT", (file) => file.utime(1, 1)],
    ["fsync@openssh.com", (file) => file.sync()],
  ];
  for (const [lost, method] of methods) {
    const files = memoryFiles();
    files.nodes.set("/f", fileNode(new Uint8Array(100)));
    await using peer = await refusing(files, (kind) => kind === lost ? "lost before" : null);
    const error = await assertRejects(async () => {
      await using file = await peer.sftp.open("/f", { read: true, write: true });
      await method(file);
    }, SftpError);
    assertEquals(error.code, "CONNECTION_LOST", `${lost}: ${error.message}`);
  }
  // What was written may not be stored: whether it is, only CLOSE could tell.
  for (const write of [true, false]) {
    const files = memoryFiles();
    files.nodes.set("/f", fileNode(new Uint8Array(100)));
    await using peer = await refusing(files, (kind) => kind === "STAT" ? "lost before" : null);
    const used = async (): Promise<void> => {
      await using file = await peer.sftp.open("/f", { read: true, write });
      if (write) await file.write(new Uint8Array(10));
      await peer.sftp.stat("/f").catch(() => {});
    };
    const outcome = await used().then(() => null, (error) => error);
    assertEquals(outcome?.code ?? null, write ? "CONNECTION_LOST" : null, String(outcome));
  }
});

Deno.test("a session that is lost while remove() and mkdir() look at what is there is told as lost", async () => {
  const cases: readonly (readonly [string, (sftp: SftpClient) => Promise<void>])[] = [
    ["LSTAT", (sftp) => sftp.remove("/d")],
    ["LSTAT", (sftp) => sftp.remove("/d", { recursive: true })],
    ["RMDIR", (sftp) => sftp.remove("/d")],
    ["STAT", (sftp) => sftp.mkdir("/d", { recursive: true })],
    ["OPENDIR", (sftp) => sftp.mkdir("/d", { recursive: true })],
  ];
  for (const [lost, call] of cases) {
    const files = memoryFiles();
    files.nodes.set("/d", { kind: "directory", mode: 0o755, mtime: 0, atime: 0 });
    const refused = lost === "RMDIR" ? "LSTAT" : lost === "OPENDIR" ? "STAT" : null;
    await using peer = await refusing(files, (kind) => {
      return kind === lost ? "lost before" : kind === refused ? { status: Status.FAILURE } : null;
    });
    const error = await assertRejects(() => call(peer.sftp), SftpError);
    assertEquals(error.code, "CONNECTION_LOST", `${lost}: ${error.message}`);
  }
});

Deno.test("close() waits until the other end is done with the session, which may be later than its last byte, but not for ever", async () => {
  const files = memoryFiles();
  for (const isLate of [true, false]) {
    using time = new FakeTime();
    const { near, far } = pipes(), served = serveSftp(far, files.backend, someone);
    let done = (): void => {}, isClosed = false;
    const ended = new Promise<void>((resolve) => done = resolve);
    const sftp = await openSftp({ ...near, ended });
    const closing = sftp.close().then(() => isClosed = true);
    await served;
    await turns();
    assertEquals(isClosed, false);
    if (isLate) done();
    else time.tick(1000);
    await inTime(closing, "close() does not end");
  }
});
