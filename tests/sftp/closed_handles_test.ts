/** Handles: each is closed once, and none is used after its file was closed. Servers give the numbers of closed handles out again. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { openSftp, type SftpClient } from "../../lib/sftp/client.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import {
  idOf,
  isMissing,
  OPENSSH_SERVER,
  ours,
  pattern,
  pipes,
  RawPeer,
  sha256,
  spawned,
  tempDir,
} from "../_support/sftp_peers.ts";

const openssh = { ignore: isMissing(OPENSSH_SERVER) };

type Reply = Uint8Array | null | undefined;
type Override = (payload: Uint8Array, id: number, peer: RawPeer) => Reply | Promise<Reply>;

/** A server that gives out the lowest free handle, as OpenSSH's does, and keeps account of what is open. */
async function accountant(override: Override, extensions: [string, string][] = []): Promise<
  AsyncDisposable & {
    readonly sftp: SftpClient;
    readonly open: Map<number, string>;
    readonly strays: string[];
  }
> {
  const { near, far } = pipes(), peer = new RawPeer(far);
  const open = new Map<number, string>(), strays: string[] = [];
  const running = (async () => {
    await peer.next();
    await peer.send(m.encodeVersion(Fxp.VERSION, 3, extensions));
    for (let payload = await peer.next(); payload !== null; payload = await peer.next()) {
      const id = idOf(payload);
      const status = (code: number): Uint8Array => m.StatusReply.encode({ id, status: code, text: "", language: "" });
      const of = (handle: Uint8Array, what: string): boolean => {
        const known = open.has(handle[0]!);
        if (!known) strays.push(what);
        return known;
      };
      let reply = await override(payload, id, peer);
      if (payload[0] === Fxp.CLOSE) {
        const { handle } = m.Close.decode(payload);
        reply = of(handle, "CLOSE") && open.delete(handle[0]!) ? status(Status.OK) : status(Status.FAILURE);
      } else if (reply !== undefined) {
        // The override has answered.
      } else if (payload[0] === Fxp.OPEN) {
        let free = 0;
        while (open.has(free)) free++;
        open.set(free, m.Open.decode(payload).path);
        reply = m.Handle.encode({ id, handle: new Uint8Array([free]) });
      } else if (payload[0] === Fxp.WRITE) {
        reply = of(m.Write.decode(payload).handle, "WRITE") ? status(Status.OK) : status(Status.FAILURE);
      } else if (payload[0] === Fxp.READ) {
        reply = of(m.Read.decode(payload).handle, "READ") ? status(Status.EOF) : status(Status.FAILURE);
      } else if (payload[0] === Fxp.STAT || payload[0] === Fxp.LSTAT) reply = status(Status.NO_SUCH_FILE);
      else if (payload[0] === Fxp.FSTAT) reply = m.Attrs.encode({ id, attrs: { size: 0, mode: 0o100644 } });
      else reply = status(Status.OK);
      if (reply !== null) await peer.send(reply!).catch(() => {});
    }
    await peer.end();
  })();
  const sftp = await openSftp(near);
  return {
    sftp,
    open,
    strays,
    async [Symbol.asyncDispose]() {
      await sftp.close();
      await running;
    },
  };
}

Deno.test("upload() closes a handle once when the server refuses the attributes", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  await using peer = await accountant((payload, id) =>
    payload[0] === Fxp.FSETSTAT || payload[0] === Fxp.SETSTAT
      ? m.StatusReply.encode({ id, status: Status.PERMISSION_DENIED, text: "", language: "" })
      : undefined
  );
  const { warnings } = await peer.sftp.upload(`${dir.path}/f`, "/f", { preserve: true });
  assertEquals(warnings.length, 1);
  // What follows shows that all of it has been read.
  await assertRejects(() => peer.sftp.stat("/x"));
  assertEquals(peer.strays, []);
  assertEquals([...peer.open.values()], []);
});

Deno.test("upload() closes a handle once when the server refuses a write", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  await using peer = await accountant((payload, id) =>
    payload[0] === Fxp.WRITE
      ? m.StatusReply.encode({ id, status: Status.FAILURE, text: "disk full", language: "" })
      : undefined
  );
  await assertRejects(() => peer.sftp.upload(`${dir.path}/f`, "/f"));
  await assertRejects(() => peer.sftp.stat("/x"));
  assertEquals(peer.strays, []);
});

Deno.test("SftpFile.writable writes nothing after file.close()", async () => {
  await using peer = await accountant(() => undefined);
  const file = await peer.sftp.open("/first", { write: true, create: true });
  const writer = file.writable.getWriter();
  await writer.write(pattern(40_000));
  await file.close();
  const second = await peer.sftp.open("/second", { write: true, create: true });
  const late = writer.write(pattern(40_000)).then(() => "written", () => "refused");
  const outcome = await late;
  await writer.close().catch(() => {});
  await writer.closed.catch(() => {});
  assertEquals(outcome, "refused");
  await second.close();
});

Deno.test({
  name: "SftpFile.writable of a closed file writes nothing into another file (OpenSSH sftp-server)",
  ...openssh,
  async fn() {
    await using dir = await tempDir();
    await using peer = await spawned();
    const { sftp } = peer;
    const first = await sftp.open(`${dir.path}/first`, { write: true, create: true });
    const writer = first.writable.getWriter();
    await writer.write(new TextEncoder().encode("first"));
    await first.close();
    await using second = await sftp.open(`${dir.path}/second`, { write: true, create: true });
    await second.write(new TextEncoder().encode("precious precious"));
    await writer.write(new TextEncoder().encode("LEAK")).catch(() => {});
    await writer.close().catch(() => {});
    await writer.closed.catch(() => {});
    assertEquals(await Deno.readTextFile(`${dir.path}/second`), "precious precious");
  },
});

Deno.test({
  name: "SftpFile.readable of a closed file reads nothing of another file (OpenSSH sftp-server)",
  ...openssh,
  async fn() {
    await using dir = await tempDir();
    await Deno.writeFile(`${dir.path}/first`, new Uint8Array(30_000_000).fill(1));
    await Deno.writeFile(`${dir.path}/second`, new Uint8Array(30_000_000).fill(2));
    await using peer = await spawned();
    const { sftp } = peer;
    const first = await sftp.open(`${dir.path}/first`);
    const reader = first.readable.getReader();
    await reader.read();
    await first.close();
    await using _second = await sftp.open(`${dir.path}/second`);
    const alien = await (async () => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return false;
        if (value.includes(2)) return true;
      }
    })().catch(() => false);
    assertEquals(alien, false, "bytes of the second file came out of the first");
  },
});

Deno.test({
  name: "SftpFile.close() waits for writeAt(), which never reaches another file (OpenSSH sftp-server)",
  ...openssh,
  async fn() {
    await using dir = await tempDir();
    await using peer = await spawned();
    const { sftp } = peer, data = new Uint8Array(20_000_000).fill(1);
    const first = await sftp.open(`${dir.path}/first`, { write: true, create: true });
    const writing = first.writeAt(data, 0).then(() => "written", () => "refused");
    const closing = first.close();
    for (let turns = 0; turns < 10; turns++) await null;
    const opening = sftp.open(`${dir.path}/second`, { write: true, create: true });
    await closing;
    await using second = await opening;
    const outcome = await writing;
    assertEquals((await second.stat()).size, 0, "bytes of the first file are in the second");
    if (outcome === "written") assertEquals(await sha256(`${dir.path}/first`), await sha256(data));
  },
});

Deno.test("copyFile() sends no write after it closed the target", async () => {
  // Reads of 20,000 bytes and writes of 32,768: what came second is still gathered when the third read fails. The
  // answers to the writes come late, which a server may do: only requests for one file are in order.
  let reads = 0;
  const held: Uint8Array[] = [];
  await using peer = await accountant(async (payload, id, raw) => {
    switch (payload[0]) {
      case Fxp.EXTENDED: {
        const limits = { maxPacketLength: 262_144n, maxReadLength: 20_000n, maxWriteLength: 32_768n };
        return m.LimitsReply.encode({ id, ...limits, maxOpenHandles: 0n });
      }
      case Fxp.REALPATH:
        return m.Name.encode({ id, entries: [{ name: m.Realpath.decode(payload).path, longName: "", attrs: {} }] });
      case Fxp.READ:
        return ++reads <= 2
          ? m.Data.encode({ id, data: new Uint8Array(20_000) })
          : m.StatusReply.encode({ id, status: Status.FAILURE, text: "", language: "" });
      case Fxp.WRITE:
        held.push(m.StatusReply.encode({ id, status: Status.OK, text: "", language: "" }));
        // One that comes when the file is closed is answered as such.
        return peer.open.size > 1 ? null : undefined;
      case Fxp.CLOSE:
        for (const one of held.splice(0)) await raw.send(one);
    }
    return undefined;
  }, [[Extension.limits, "1"]]);
  await assertRejects(() => peer.sftp.copyFile("/from", "/to"));
  await assertRejects(() => peer.sftp.stat("/x"));
  await assertRejects(() => peer.sftp.stat("/x"));
  assertEquals(peer.strays, []);
});

Deno.test({
  name: "upload() of a tree loses only the file that the server refuses (OpenSSH sftp-server)",
  ignore: openssh.ignore || isMissing("/proc/self/status"),
  async fn() {
    await using dir = await tempDir();
    await Deno.mkdir(`${dir.path}/src`);
    await Deno.mkdir(`${dir.path}/dst`);
    for (let i = 0; i < 300; i++) {
      await Deno.writeFile(`${dir.path}/src/f${i}`, pattern(70_000, i + 1));
      // A full disk, for every tenth.
      if (i % 10 === 0) await Deno.symlink("/dev/full", `${dir.path}/dst/f${i}`);
    }
    await using peer = await spawned();
    const options = { recursive: true, inPlace: true };
    const error = await assertRejects(() => peer.sftp.upload(`${dir.path}/src`, `${dir.path}/dst`, options));
    const told = (error as Error & { cause: AggregateError }).cause.errors.map(({ path }) => path);
    for (let i = 0; i < 300; i++) {
      const path = `${dir.path}/dst/f${i}`;
      if (i % 10 === 0 || told.includes(path)) continue;
      assertEquals(await sha256(path), await sha256(`${dir.path}/src/f${i}`), `${path} is said to be copied`);
    }
    assert((error as Error).message.includes("30 failed, 270 files were copied"), (error as Error).message);
  },
});

Deno.test("SftpFile.close() lets what was asked for before come to its end, and refuses the rest", async () => {
  await using dir = await tempDir();
  await using peer = await ours({ root: dir.path });
  const file = await peer.sftp.open("/f", { read: true, write: true, create: true });
  const calls = [
    file.write(pattern(100_000)),
    file.writeAt(new Uint8Array(50), 100_000),
    file.seek(-10, Deno.SeekMode.End),
    file.read(new Uint8Array(10)),
  ];
  const closing = file.close();
  const late = [
    () => file.write(pattern(1)),
    () => file.readAt(pattern(1), 0),
    () => file.seek(0, Deno.SeekMode.Start),
    () => file.truncate(1),
  ];
  for (const call of late) {
    const error = await assertRejects(call, SshError, '"/f": the file is closed');
    assertEquals(error.code, "CLOSED");
  }
  assertEquals((await Promise.all(calls))[0], 100_000);
  await closing;
  assertEquals((await Deno.stat(`${dir.path}/f`)).size, 100_050);
});

Deno.test("SftpFile.close() writes what its stream has taken", async () => {
  await using dir = await tempDir();
  await using peer = await ours({ root: dir.path });
  const file = await peer.sftp.open("/f", { write: true, create: true }), writer = file.writable.getWriter();
  // All but the first are gathered while that is under way.
  for (let i = 0; i < 100; i++) await writer.write(pattern(10, i + 1));
  await file.close();
  assertEquals((await Deno.stat(`${dir.path}/f`)).size, 1000);
  await writer.close();
});

Deno.test("a write that fails is told once to whoever closes the stream and then the file", async () => {
  await using peer = await accountant((payload, id) =>
    payload[0] === Fxp.WRITE
      ? m.StatusReply.encode({ id, status: Status.FAILURE, text: "disk full", language: "" })
      : undefined
  );
  await using file = await peer.sftp.open("/f", { write: true, create: true });
  const writer = file.writable.getWriter();
  writer.closed.catch(() => {});
  await writer.write(pattern(10));
  await assertRejects(() => writer.close(), SshError, "disk full");
  await assertRejects(() => peer.sftp.stat("/x"));
  assertEquals([...peer.open.values()], []);
});
