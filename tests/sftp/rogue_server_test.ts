/** Servers that lie, answer in any order, or have small limits. security.md rows 133, 136 and 137. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError, SshProtocolError } from "../../lib/errors.ts";
import { openSftp, type SftpClient } from "../../lib/sftp/client.ts";
import { memoryFiles } from "../../lib/files/memory/files.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { dice, idOf, ours, pattern, pipes, RawPeer, sha256, tempDir } from "../_support/sftp_peers.ts";

type Answer = Uint8Array | Uint8Array[] | null;

/** A server that answers each request with what `answer` makes of it; `null` is no answer. */
async function rogue(
  answer: (payload: Uint8Array, peer: RawPeer) => Answer | Promise<Answer>,
  extensions: [string, string][] = [],
  version = 3,
): Promise<AsyncDisposable & { readonly sftp: SftpClient }> {
  const { near, far } = pipes();
  const peer = new RawPeer(far);
  const running = (async () => {
    await peer.next();
    await peer.send(m.encodeVersion(Fxp.VERSION, version, extensions));
    for (let payload = await peer.next(); payload !== null; payload = await peer.next()) {
      const reply = await answer(payload, peer);
      if (reply === null) continue;
      for (const one of Array.isArray(reply) ? reply : [reply]) await peer.send(one).catch(() => {});
    }
    await peer.end();
  })();
  try {
    const sftp = await openSftp(near);
    return {
      sftp,
      async [Symbol.asyncDispose]() {
        await sftp.close();
        await running;
      },
    };
  } catch (error) {
    await running;
    throw error;
  }
}

const status = (id: number, code: number): Uint8Array =>
  m.StatusReply.encode({ id, status: code, text: "", language: "" });
const handleFor = (id: number): Uint8Array => m.Handle.encode({ id, handle: new Uint8Array([1]) });

/** Serves one file and answers through `read`; everything else is fine. */
function fileServer(size: number, read: (request: { id: number; offset: bigint; length: number }) => Answer) {
  return (payload: Uint8Array): Answer => {
    const id = idOf(payload);
    switch (payload[0]) {
      case Fxp.OPEN:
      case Fxp.OPENDIR:
        return handleFor(id);
      case Fxp.FSTAT:
      case Fxp.STAT:
        return m.Attrs.encode({ id, attrs: { size, mode: 0o100644 } });
      case Fxp.READ:
        return read(m.Read.decode(payload));
      default:
        return status(id, Status.OK);
    }
  };
}

Deno.test("row 133: a reply that fits no request, or not its request, ends the session with every call rejected", async () => {
  const cases: [string, (id: number) => Answer][] = [
    ["unknown id", (id) => status(id + 7, 0)],
    ["duplicate id", (id) => [status(id, 2), status(id, 2)]],
    ["wrong type", (id) => handleFor(id)],
    ["no reply at all", (id) => new Writer().u8(77).u32(id).bytes()],
    ["attributes cut short", (id) => new Writer().u8(Fxp.ATTRS).u32(id).u32(1).bytes()],
    ["NAME that lies", (id) => new Writer().u8(Fxp.NAME).u32(id).u32(0xffff_ffff).bytes()],
    ["DATA where none was asked for", (id) => m.Data.encode({ id, data: new Uint8Array(5) })],
    ["status OK for attributes", (id) => status(id, 0)],
  ];
  for (const [name, answer] of cases) {
    await using peer = await rogue((payload) => answer(idOf(payload)));
    const first = await assertRejects(() => peer.sftp.stat("/first"), SftpError, undefined, name);
    assertEquals(first.path, "/first", name);
    const second = await assertRejects(() => peer.sftp.stat("/second"), SftpError, undefined, name);
    assertEquals(second.path, "/second", name);
    assert(second.status === Status.CONNECTION_LOST, name);
    assert(second.cause instanceof SshProtocolError, name);
  }
});

Deno.test("row 133: handles that are empty or too long end the session", async () => {
  for (const length of [0, 257]) {
    const bytes = (id: number): Uint8Array =>
      new Writer().u8(Fxp.HANDLE).u32(id).string(new Uint8Array(length)).bytes();
    await using peer = await rogue((payload) => bytes(idOf(payload)));
    await assertRejects(() => peer.sftp.open("/f"), SftpError, "handle");
  }
});

Deno.test("row 133: DATA longer than asked, empty, or after the end of the file", async () => {
  for (
    const read of [
      ({ id, length }: { id: number; length: number }) => m.Data.encode({ id, data: new Uint8Array(length + 1) }),
      ({ id }: { id: number }) => m.Data.encode({ id, data: new Uint8Array(0) }),
      ({ id }: { id: number }) => [status(id, Status.EOF), m.Data.encode({ id, data: new Uint8Array(3) })],
      ({ id }: { id: number }) => status(id, Status.OK),
    ]
  ) {
    await using peer = await rogue(fileServer(100, read));
    await peer.sftp.readFile("/f").catch((error) => assert(error instanceof SftpError));
    await assertRejects(() => peer.sftp.stat("/f"), SftpError, "ended");
  }
});

Deno.test("row 136: a size that lies is no bound of what is read, and a file without end has one", async () => {
  let asked = 0, most = 0;
  await using peer = await rogue(fileServer(10, ({ id, offset, length }) => {
    asked++;
    most = Math.max(most, Number(offset));
    return m.Data.encode({ id, data: new Uint8Array(length) });
  }));
  const error = await assertRejects(() => peer.sftp.readFile("/f"), RangeError, "`readable`");
  assert(error.message.includes("the server says it has 10 bytes"), error.message);
  assert(most < 100_000_000, `${most} bytes were asked for`);
  // Whoever does not want to wait for that aborts it.
  const controller = new AbortController();
  asked = 0;
  const reading = peer.sftp.readFile("/f", { signal: controller.signal });
  reading.catch(() => {});
  while (asked < 50) await peer.sftp.stat("/f");
  controller.abort(new Error("enough"));
  await assertRejects(() => reading, Error, "enough");
  await peer.sftp.stat("/f");
  await using huge = await rogue(fileServer(2 ** 60, ({ id }) => status(id, Status.EOF)));
  assertEquals((await huge.sftp.readFile("/f")).length, 0);
});

Deno.test("row 136: a listing without end is read as far as it is wanted, and empty answers end it", async () => {
  let count = 0;
  await using peer = await rogue((payload) => {
    const id = idOf(payload);
    if (payload[0] === Fxp.OPENDIR) return handleFor(id);
    if (payload[0] !== Fxp.READDIR) return status(id, 0);
    count++;
    return m.Name.encode({ id, entries: [{ name: "same", longName: "", attrs: {} }] });
  });
  let seen = 0;
  for await (const _ of peer.sftp.readDir("/")) if (++seen === 100) break;
  assert(count < 110);

  await using empty = await rogue((payload) => {
    const id = idOf(payload);
    return payload[0] === Fxp.OPENDIR
      ? handleFor(id)
      : payload[0] === Fxp.READDIR
      ? m.Name.encode({ id, entries: [] })
      : status(id, 0);
  });
  assertEquals(await Array.fromAsync(empty.sftp.readDir("/")), []);
});

Deno.test("readDir() refuses names that are paths", async () => {
  for (const name of ["../x", "a/b", "", "a\0b"]) {
    await using peer = await rogue((payload) => {
      const id = idOf(payload);
      if (payload[0] === Fxp.OPENDIR) return handleFor(id);
      if (payload[0] !== Fxp.READDIR) return status(id, 0);
      return m.Name.encode({ id, entries: [{ name, longName: "", attrs: {} }] });
    });
    await assertRejects(() => Array.fromAsync(peer.sftp.readDir("/d")), SftpError, "the server names");
  }
});

Deno.test("row 135: a link that a server names where links are followed is made nowhere, and not followed without end", async () => {
  await using dir = await tempDir();
  let asked = 0;
  const answer = (payload: Uint8Array): Answer => {
    const id = idOf(payload);
    switch (payload[0]) {
      case Fxp.LSTAT:
      case Fxp.STAT:
        asked++;
        return m.Attrs.encode({ id, attrs: { size: 1, mode: 0o120777 } });
      case Fxp.REALPATH:
      case Fxp.READLINK: {
        const name = payload[0] === Fxp.REALPATH ? "/x" : "../../outside";
        return m.Name.encode({ id, entries: [{ name, longName: name, attrs: {} }] });
      }
      default:
        return status(id, Status.NO_SUCH_FILE);
    }
  };
  await using peer = await rogue(answer);
  const files = memoryFiles({ "/a/b": null });
  await using to = await ours(files);
  for (const links of ["copy", "follow", "skip"] as const) {
    for (const path of ["/x", "/x{1,2}"]) {
      const why = "what the link leads to";
      await assertRejects(
        () => peer.sftp.download(path, `${dir.path}/to`, { links }),
        SftpError,
        why,
        `${links} ${path}`,
      );
      await assertRejects(() => to.sftp.copyFrom(peer.sftp, path, "/a/b/to", { links }), SftpError, why);
    }
  }
  assert(asked < 100, `${asked} looks`);
  const made = await Array.fromAsync(Deno.readDir(dir.path), ({ name, isSymlink }) => `${name} ${isSymlink}`);
  assertEquals(made.filter((name) => name !== "to false"), []);
  await assertRejects(() => Deno.readLink(`${dir.path}/to`));
  assertEquals(files.list("/a/b").filter((path) => path !== "/a/b/to/"), []);
});

Deno.test("row 137: version 2 is refused, 99 is taken as 3, and 10,000 extensions do not matter", async () => {
  await assertRejects(() => rogue(() => null, [], 2), SftpError, "version 2");
  await using peer = await rogue((payload) => status(idOf(payload), 2), [], 99);
  assertEquals(peer.sftp.server.version, 3);
  const many: [string, string][] = Array.from({ length: 10_000 }, (_, i) => [`x${i}`, "1"]);
  await using crowded = await rogue((payload) => status(idOf(payload), 2), many);
  assertEquals(crowded.sftp.server.extensions.size, 1024);
  await assertRejects(() => rogue(() => null, [...many, ...many, ...many]), SftpError, "262144 allowed");
});

Deno.test("row 137: limits that are 0 or absurd are not taken at their word", async () => {
  for (
    const [limit, asked] of [
      [0n, 32_768],
      [2n ** 64n - 1n, 261_120],
      [1000n, 1000],
      [100_000n, 100_000],
    ] as const
  ) {
    let largest = 0;
    const serve = fileServer(500_000, ({ id, length, offset }) => {
      largest = Math.max(largest, length);
      return offset >= 500_000n ? status(id, 1) : m.Data.encode({ id, data: new Uint8Array(length) });
    });
    await using peer = await rogue((payload) => {
      if (payload[0] !== Fxp.EXTENDED) return serve(payload);
      return m.LimitsReply.encode({
        id: idOf(payload),
        maxPacketLength: limit === 0n ? 0n : 2n ** 64n - 1n,
        maxReadLength: limit,
        maxWriteLength: limit,
        maxOpenHandles: limit,
      });
    }, [[Extension.limits, "1"]]);
    assertEquals((await peer.sftp.readFile("/f")).length, 500_000);
    assertEquals(largest, asked);
  }
});

Deno.test("a server that offers limits and refuses them is used without", async () => {
  await using peer = await rogue((payload) => status(idOf(payload), payload[0] === Fxp.EXTENDED ? 8 : 2), [[
    Extension.limits,
    "1",
  ]]);
  await assertRejects(() => peer.sftp.stat("/x"), SftpError, "no such file");
});

Deno.test("a server that answers out of order and in short pieces gives the same bytes", async () => {
  const data = pattern(3_000_000), random = dice(5), held: Uint8Array[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  await using peer = await rogue((payload, raw) => {
    const id = idOf(payload);
    if (payload[0] === Fxp.READ) {
      const { offset, length } = m.Read.decode(payload), from = Number(offset);
      const short = random(3) === 0 ? 1 + random(length) : length;
      const part = data.subarray(from, Math.min(from + short, data.length));
      held.push(part.length === 0 ? status(id, 1) : m.Data.encode({ id, data: part }));
      clearTimeout(timer);
      const release = async (): Promise<void> => {
        for (const one of held.splice(0).sort(() => random(2) - 0.5)) await raw.send(one);
      };
      if (held.length >= 8) return release().then(() => null);
      timer = setTimeout(() => void release(), 2);
      return null;
    }
    return fileServer(data.length, () => null)(payload);
  });
  assertEquals(await sha256(await peer.sftp.readFile("/f")), await sha256(data));
  const streamed = await new Response((await peer.sftp.open("/f")).readable).bytes();
  assertEquals(await sha256(streamed), await sha256(data));
  clearTimeout(timer);
});

Deno.test("a failed write is told by the stream, by the file, and by writeFile()", async () => {
  await using peer = await rogue((payload) => {
    const id = idOf(payload);
    if (payload[0] === Fxp.OPEN) return handleFor(id);
    return status(id, payload[0] === Fxp.WRITE ? 4 : 0);
  });
  const { sftp } = peer;
  await assertRejects(() => sftp.writeFile("/f", pattern(100_000)), SftpError, 'Cannot write "/f"');
  const file = await sftp.open("/g", { write: true });
  await assertRejects(() => file.write(pattern(10)), SftpError, "disk may be full");
  await file.close();
});

Deno.test("a failed read says that it may be a directory, which OpenSSH opens like a file", async () => {
  await using peer = await rogue((payload) => {
    const id = idOf(payload);
    if (payload[0] === Fxp.OPEN) return handleFor(id);
    if (payload[0] === Fxp.STAT || payload[0] === Fxp.FSTAT) return m.Attrs.encode({ id, attrs: { mode: 0o040755 } });
    return status(id, payload[0] === Fxp.READ ? 4 : 0);
  });
  const message = 'Cannot read "/d": the server reports a failure; it may be a directory';
  await assertRejects(() => peer.sftp.readFile("/d"), SftpError, message);
  await using file = await peer.sftp.open("/d");
  await assertRejects(() => file.read(new Uint8Array(1)), SftpError, message);
});

Deno.test("openSftp() fails with what happened, and aborts", async () => {
  const { near, far } = pipes();
  const peer = new RawPeer(far);
  const opening = openSftp(near);
  opening.catch(() => {});
  await peer.next();
  await peer.raw(new TextEncoder().encode("Welcome to this machine\n"));
  await assertRejects(() => opening, SftpError, "login script");
  await peer.end();

  const silent = pipes(), controller = new AbortController();
  const waiting = openSftp(silent.near, { signal: controller.signal });
  waiting.catch(() => {});
  controller.abort(new Error("enough"));
  await assertRejects(() => waiting, Error, "enough");
});

Deno.test("row 133: a malformed answer to an extension, or names where one is due, end the session", async () => {
  await using space = await rogue(
    (payload) => new Writer().u8(Fxp.EXTENDED_REPLY).u32(idOf(payload)).u64(1n).bytes(),
    [[Extension.statvfs, "2"]],
  );
  await assertRejects(() => space.sftp.statfs("/x"), SftpError, "SSH_FXP_EXTENDED_REPLY");
  await assertRejects(() => space.sftp.stat("/x"), SftpError, "ended");
  for (const count of [0, 2]) {
    const entries = Array.from({ length: count }, () => ({ name: "x", longName: "", attrs: {} }));
    await using names = await rogue((payload) => m.Name.encode({ id: idOf(payload), entries }));
    await assertRejects(() => names.sftp.realPath("/x"), SftpError, `${count} names`);
  }
});

Deno.test("SftpClient ends every call with SftpError or a result, whatever bytes answer it", async () => {
  const random = dice(99);
  for (let round = 0; round < 150; round++) {
    const replies: Uint8Array[] = [
      m.Attrs.encode({ id: 0, attrs: { size: 5, mode: 0o100644, uid: 1, gid: 1, atime: 1, mtime: 1 } }),
      m.Name.encode({ id: 0, entries: [{ name: "a", longName: "-", attrs: { mode: 0o100644, size: 3 } }] }),
      m.Handle.encode({ id: 0, handle: new Uint8Array([1, 2, 3]) }),
      m.StatusReply.encode({ id: 0, status: 4, text: "no", language: "" }),
      m.Data.encode({ id: 0, data: new Uint8Array(20) }),
    ];
    let answered = 0;
    await using peer = await rogue((payload) => {
      const id = idOf(payload);
      const reply = Uint8Array.from(replies[random(replies.length)]!);
      new DataView(reply.buffer).setUint32(1, id);
      // Some answers fit, many are spoilt, and none goes on for ever.
      if (++answered > 40) return m.StatusReply.encode({ id, status: 1, text: "", language: "" });
      for (let i = random(4); i > 0; i--) reply[random(reply.length)] = random(256);
      return random(5) === 0 ? reply.subarray(0, 5 + random(reply.length - 4)) : reply;
    });
    const { sftp } = peer;
    const calls = [
      sftp.stat("/a"),
      sftp.readFile("/b"),
      Array.fromAsync(sftp.readDir("/c")),
      sftp.realPath("/d"),
      sftp.writeFile("/e", pattern(10)),
      sftp.remove("/f", { recursive: true }),
      sftp.copyFile("/g", "/h"),
      Array.fromAsync(sftp.glob("/i/*")),
    ];
    for (const call of calls) call.catch(() => {});
    await sftp.stat("/last").catch(() => {});
    // Where an answer went to another id, nobody waits for ever: the session ends.
    await sftp.close();
    for (const result of await Promise.allSettled(calls)) {
      if (result.status === "rejected") assert(result.reason instanceof SftpError, `${round}: ${result.reason?.stack}`);
    }
  }
});
