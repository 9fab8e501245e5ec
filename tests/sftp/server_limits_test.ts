/** The server against clients that want its time, its memory or its descriptors. security.md rows 118 to 121, 129 to 131. */
import { assert, assertEquals } from "@std/assert";
import type { SftpBackend } from "../../lib/files/backend.ts";
import { Fxp, OpenFlag } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { openRootedBackend } from "../../lib/files/rooted/backend.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import { info } from "../_support/file_info.ts";
import { holdings, openFiles } from "../_support/resources.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { begin, framed, pipes, type RawPeer, someone, statusIn, tempDir } from "../_support/sftp_peers.ts";

/** A backend of nothing, to put methods into. */
const nothing: SftpBackend = {
  open: () => {
    throw new Deno.errors.NotFound();
  },
  async *readDir() {},
  stat: () => {
    throw new Deno.errors.NotFound();
  },
};

async function handleOf(peer: RawPeer, payload: Uint8Array): Promise<Uint8Array> {
  return m.Handle.decode((await peer.ask(payload))!).handle;
}

Deno.test("serveSftp() ends copy-data with the session, and closes both files", async () => {
  let reads = 0;
  const closed: string[] = [], controller = new AbortController();
  const backend: SftpBackend = {
    ...nothing,
    open: (path) => ({
      async readAt(p: Uint8Array) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        // Ends the test where the signal does not.
        return ++reads > 1000 ? 0 : p.length;
      },
      writeAt() {},
      stat: () => info(2 ** 40),
      [Symbol.asyncDispose]: () => Promise.resolve(void closed.push(path)),
    }),
  };
  const { peer, served } = await begin(backend, { signal: controller.signal });
  const from = await handleOf(peer, m.Open.encode({ id: 1, path: "/a", flags: OpenFlag.READ, attrs: {} }));
  const flags = OpenFlag.WRITE | OpenFlag.CREAT;
  const to = await handleOf(peer, m.Open.encode({ id: 1, path: "/b", flags, attrs: {} }));
  const range = { fromOffset: 0n, length: 0n, toOffset: 0n };
  await peer.send(m.CopyData.encode({ id: 2, extension: "copy-data", from, to, ...range }));
  await until(() => reads > 3, "Nothing is copied");
  controller.abort();
  const before = reads;
  await inTime(served, "The end");
  await peer.end();
  // One that is under way, and what is read ahead of it.
  assert(reads <= before + 4, `${reads - before} blocks were copied after the client had gone`);
  assertEquals(closed.sort(), ["/a", "/b"]);
});

Deno.test("serveSftp() ends with its signal when the client has ended and takes no answers", async () => {
  await using dir = await tempDir();
  const controller = new AbortController(), { near, far } = pipes();
  const served = serveSftp(far, { root: dir.path }, someone, { signal: controller.signal });
  const writer = near.writable.getWriter(), reader = near.readable.getReader();
  const version = reader.read();
  await writer.write(framed(m.encodeVersion(Fxp.INIT, 3)));
  await version;
  for (let i = 0; i < 3; i++) await writer.write(framed(m.Stat.encode({ id: i, path: "/" })));
  await writer.close();
  await turns();
  controller.abort();
  await inTime(served, "The end");
  await reader.cancel();
});

Deno.test("serveSftp() closes all files when the client is lost in the middle of a write and a read", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/f`, new Uint8Array(1_000_000));
  const before = openFiles(), controller = new AbortController();
  const { peer, served } = await begin({ root: dir.path }, { signal: controller.signal });
  const flags = OpenFlag.READ | OpenFlag.WRITE;
  const handle = await handleOf(peer, m.Open.encode({ id: 1, path: "/f", flags, attrs: {} }));
  await handleOf(peer, m.Opendir.encode({ id: 1, path: "/" }));
  for (let i = 0; i < 4; i++) {
    await peer.send(m.Write.encode({ id: i, handle, offset: 0n, data: new Uint8Array(200_000) }));
    await peer.send(m.Read.encode({ id: i, handle, offset: 0n, length: 200_000 }));
  }
  await peer.raw(framed(m.Write.encode({ id: 9, handle, offset: 0n, data: new Uint8Array(200_000) })).subarray(0, 999));
  controller.abort();
  await inTime(served, "The end");
  await peer.end();
  assert(openFiles() <= before + 1, `${openFiles() - before} files more are open`);
});

Deno.test("serveSftp() gives the rest of the program its turns while a client floods it", async () => {
  await using dir = await tempDir();
  const path = "/a".repeat(1000);
  await Deno.mkdir(dir.path + path, { recursive: true });
  const { peer, served } = await begin({ root: dir.path });
  const one = framed(m.Stat.encode({ id: 1, path })), many = new Uint8Array(120 * one.length);
  for (let i = 0; i < 120; i++) many.set(one, i * one.length);
  // A clock that moves when it is looked at: how many requests fit into a turn does not depend on the machine.
  const { now } = performance;
  let clock = now.call(performance), passed = 0, going = true;
  const counting = (async () => {
    for (; going; passed++) await turns(1);
  })();
  performance.now = () => clock += 3;
  try {
    const sent = peer.raw(many);
    for (let i = 0; i < 120; i++) assertEquals((await peer.next())![0], Fxp.ATTRS);
    await sent;
  } finally {
    performance.now = now;
    going = false;
  }
  await counting;
  await peer.end();
  await served;
  assert(passed >= 10, `120 requests of 2 KB left the program ${passed} turns`);
});

for (const strategy of [undefined, "named"] as const) {
  Deno.test(`serveSftp() does not hold the names of every listing that is open (${strategy ?? "held"})`, async () => {
    await using dir = await tempDir();
    for (let i = 0; i < 3000; i++) Deno.writeFileSync(`${dir.path}/a-name-of-usual-length-${i}`, new Uint8Array());
    await using backend = await openRootedBackend({ root: dir.path, ...(strategy === undefined ? {} : { strategy }) });
    const { peer, served } = await begin(backend);
    await handleOf(peer, m.Opendir.encode({ id: 1, path: "/" }));
    const before = await holdings();
    let refused = 0;
    for (let i = 0; i < 100; i++) {
      const reply = (await peer.ask(m.Opendir.encode({ id: i, path: "/" })))!;
      if (reply[0] === Fxp.STATUS) {
        assertEquals(statusIn(reply), Status.FAILURE);
        refused++;
        continue;
      }
      const { handle } = m.Handle.decode(reply);
      assertEquals((await peer.ask(m.Readdir.encode({ id: i, handle })))![0], Fxp.NAME);
    }
    // By names, a listing holds what it lists, and there is a cap on the sum.
    assertEquals(refused > 0, strategy === "named");
    const grown = (await holdings()).memory - before.memory;
    await peer.end();
    await served;
    // 1,024 handles on 100,000 files would be 6 GB.
    assert(grown < 8_000_000, `100 listings of 3,000 names hold ${(grown / 1e6).toFixed(1)} MB`);
  });
}

Deno.test("serveSftp() leaves no descriptor behind for a listing that is closed early", async () => {
  await using dir = await tempDir();
  for (let i = 0; i < 500; i++) Deno.writeFileSync(`${dir.path}/${i}`, new Uint8Array());
  const { peer, served } = await begin({ root: dir.path });
  const before = openFiles();
  for (let i = 0; i < 30; i++) {
    const handle = await handleOf(peer, m.Opendir.encode({ id: i, path: "/" }));
    if (i % 2) assertEquals((await peer.ask(m.Readdir.encode({ id: i, handle })))![0], Fxp.NAME);
    assertEquals(statusIn(await peer.ask(m.Close.encode({ id: i, handle }))), Status.OK);
  }
  assert(openFiles() <= before + 1);
  await peer.end();
  await served;
});

Deno.test("serveSftp() answers extensions that are named like members of every object as unknown ones", async () => {
  await using dir = await tempDir();
  const mistakes: unknown[] = [];
  const { peer, served } = await begin({ root: dir.path }, { onError: (error) => mistakes.push(error) });
  const { Writer } = await import("../../lib/wire/writer.ts");
  for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty", "valueOf"]) {
    const payload = new Writer().u8(Fxp.EXTENDED).u32(5).text(name).bytes();
    assertEquals(statusIn(await peer.ask(payload)), Status.OP_UNSUPPORTED, name);
  }
  assertEquals(mistakes, []);
  await peer.end();
  await served;
});
