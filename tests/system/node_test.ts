/**
 * The system as Node's modules show it, beside Deno's own, which is the oracle: the same calls give the same.
 */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import process from "node:process";
import { Readable, Writable } from "node:stream";
import { nodeSystem } from "../../lib/system/node.ts";
import { asDenoError } from "../../lib/system/node_errors.ts";
import { endOf, NodeSource, writableOver, writeTo } from "../../lib/system/node_streams.ts";
import { isNotCapable, system } from "../../lib/system/system.ts";
import type { FileFacts, System, SystemConn } from "../../lib/system/types.ts";
import { inTime, until } from "../_support/until.ts";

const encoder = new TextEncoder(), decoder = new TextDecoder();
const systems: readonly (readonly [string, System])[] = [["Deno", Deno], ["Node", nodeSystem]];

/** What is the same wherever the file is. */
function known({ isFile, isDirectory, isSymlink, isSocket, size, mode, uid, gid, atime, mtime }: FileFacts): unknown {
  return {
    isFile,
    isDirectory,
    isSymlink,
    isSocket: isSocket ?? false,
    size: isFile ? size : 0,
    mode,
    uid,
    gid,
    atime,
    mtime,
  };
}

/** The class and the words of what a call rejects with; the folder and the name of the call may differ. */
async function failure(call: () => Promise<unknown>): Promise<string> {
  try {
    await call();
  } catch (error) {
    const { name, message } = error as Error;
    return `${name}: ${message.split(/(?<=\(os error \d+\))/)[0]!.toLowerCase()}`;
  }
  return "nothing";
}

/** Does one thing after the other with files, and tells what came of it. */
async function withFiles(system: System, dir: string): Promise<unknown[]> {
  const told: unknown[] = [], at = (name: string) => `${dir}/${name}`, bytes = encoder.encode("0123456789");
  const tell = (what: unknown): void => void told.push(what);
  const put = async (name: string, bytes: Uint8Array, options: Deno.OpenOptions = {}): Promise<void> => {
    using file = await system.open(at(name), { write: true, create: true, truncate: true, ...options });
    await file.write(bytes);
  };
  await system.mkdir(at("one/two"), { recursive: true, mode: 0o700 });
  await system.mkdir(at("one/two"), { recursive: true });
  await put("made", bytes, { createNew: true, mode: 0o640 });
  await system.utime(at("made"), 1e9, 1_100_000_000);
  tell(known(await system.stat(at("made"))));
  tell(known(await system.stat(new URL(`file://${at("made")}`))));
  await put("short", bytes);
  await put("short", bytes.subarray(4));
  tell([await system.readFile(at("short")), await system.readTextFile(at("made"))]);
  {
    using file = await system.open(at("made"), { read: true, write: true });
    const room = new Uint8Array(4);
    tell([
      await file.read(room),
      room.slice(),
      await file.read(room),
      room.slice(),
      await file.read(new Uint8Array(0)),
    ]);
    tell([await file.write(encoder.encode("ab")), await file.read(room), await file.seek(1, 0), await file.read(room)]);
    tell([room.slice(), (await file.stat()).size, file.statSync().isFile]);
    await file.truncate(3);
    await file.sync();
    tell([await file.seek(0, 0), await file.read(new Uint8Array(10)), await file.read(room)]);
  }
  {
    using file = await system.open(at("log"), { read: true, append: true, create: true, mode: 0o600 });
    await file.write(encoder.encode("one"));
    await file.write(encoder.encode("two"));
    tell([await system.readTextFile(at("log")), (await file.stat()).mode]);
  }
  {
    const file = await system.open(at("log"));
    tell(await new Response(file.readable).text());
  }
  {
    const file = await system.open(at("log"), { write: true, truncate: true }), writer = file.writable.getWriter();
    await writer.write(encoder.encode("three"));
    await writer.close();
    await until(async () => await system.readTextFile(at("log")) === "three", "what was written");
  }
  await system.symlink("made", at("link"));
  tell([await system.readLink(at("link")), (await system.realPath(at("link"))).endsWith("/made")]);
  tell([(await system.lstat(at("link"))).isSymlink, (await system.stat(at("link"))).size]);
  await system.chmod(at("made"), 0o600);
  await system.chown(at("made"), system.uid()!, Deno.gid()!);
  tell((await system.stat(at("made"))).mode);
  await system.rename(at("made"), at("short"));
  tell(
    (await Array.fromAsync(system.readDir(dir), (entry) => ({ ...entry }))).sort((a, b) => a.name < b.name ? -1 : 1),
  );
  for (const name of ["link", "short", "log", "one/two"]) await system.remove(at(name));
  tell((await Array.fromAsync(system.readDir(dir))).map(({ name }) => name));
  await put("file", bytes);
  tell(await failure(() => system.readTextFile(at("no"))));
  tell(await failure(() => system.stat(at("file/no"))));
  tell(await failure(() => system.open(at("file"), { write: true, createNew: true })));
  tell(await failure(() => system.mkdir(at("one"))));
  tell(await failure(() => system.readFile(at("one"))));
  tell(await failure(() => Array.fromAsync(system.readDir(at("no")))));
  tell(await failure(() => system.remove(at("no"))));
  return told;
}

Deno.test("files are read and written by Node's modules as by Deno, and fail with the same errors", async () => {
  const results = [];
  for (const [, system] of systems) {
    const dir = await Deno.makeTempDir();
    results.push(await withFiles(system, dir));
    await Deno.remove(dir, { recursive: true });
  }
  assertEquals(results[1], results[0]);
  assert(results[0]!.length > 20);
});

/** A server for one connection, and what this side has of it. */
async function joined(unix?: string): Promise<{ conn: SystemConn; peer: Deno.Conn } & Disposable> {
  const listener = unix === undefined
    ? Deno.listen({ hostname: "127.0.0.1", port: 0 })
    : Deno.listen({ transport: "unix", path: unix });
  const [conn, peer] = await Promise.all([
    unix === undefined
      ? nodeSystem.connect({ hostname: "127.0.0.1", port: (listener.addr as Deno.NetAddr).port })
      : nodeSystem.connect({ transport: "unix", path: unix }),
    listener.accept() as Promise<Deno.Conn>,
  ]);
  listener.close();
  return {
    conn,
    peer,
    [Symbol.dispose]: () => {
      conn.close();
      try {
        peer.close();
      } catch {
        // Its streams have closed it.
      }
    },
  };
}

async function all(readable: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(readable).arrayBuffer());
}

Deno.test("a connection of node:net carries bytes both ways, and each side ends by itself", async () => {
  const sent = crypto.getRandomValues(new Uint8Array(60_000)), dir = await Deno.makeTempDir();
  for (const unix of [undefined, `${dir}/s`]) {
    using pair = await joined(unix);
    const { conn, peer } = pair;
    const echoed = peer.readable.pipeTo(peer.writable);
    const received = all(conn.readable), writer = conn.writable.getWriter();
    for (let at = 0; at < sent.length; at += 999) await writer.write(sent.subarray(at, at + 999));
    await writer.close();
    assertEquals(await inTime(received, "the echo"), sent);
    await echoed;
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a connection of node:net is read and written by calls, as forwards do, and half-closed", async () => {
  using pair = await joined();
  const { conn, peer } = pair;
  const room = new Uint8Array(3);
  await peer.write(encoder.encode("12345"));
  assertEquals([await conn.read(room), decoder.decode(room)], [3, "123"]);
  assertEquals([await conn.read(room), decoder.decode(room.subarray(0, 2))], [2, "45"]);
  assertEquals(await conn.write(encoder.encode("abc")), 3);
  await conn.closeWrite();
  assertEquals(decoder.decode(await all(peer.readable)), "abc");
  conn.unref();
  conn.ref();
});

Deno.test("a connection of node:net is not read while nobody takes what came", async () => {
  using pair = await joined();
  const { conn, peer } = pair, chunk = new Uint8Array(65_536);
  let written = 0, ended = false;
  const flood = (async () => {
    try {
      for (; written < 1e9; written += chunk.length) await peer.write(chunk);
    } catch {
      ended = true;
    }
  })();
  let before = -1;
  await until(() => {
    const stands = written > 0 && written === before;
    before = written;
    return stands;
  }, "the flood standing still");
  assert(written < 1e8, String(written));
  const reader = conn.readable.getReader({ mode: "byob" });
  for (let read = 0; read <= before;) read += (await reader.read(new Uint8Array(1e6))).value!.length;
  await until(() => written > before, "the flood going on");
  await reader.cancel();
  await inTime(flood, "the end of the flood");
  assert(ended);
});

Deno.test("a connection of node:net that was reset or closed says so to who reads and writes", async () => {
  const stream = new Readable({ read() {} }), source = new NodeSource(stream), room = new Uint8Array(9);
  const read = source.read(room);
  stream.push("what came");
  assertEquals(await read, 9);
  stream.destroy(Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET", errno: -104, syscall: "read" }));
  const reset = await assertRejects(() => source.read(room), Error, "Connection reset by peer (os error 104)");
  assertEquals([reset.name, (reset.cause as Error).message], ["ConnectionReset", "read ECONNRESET"]);
  using pair = await joined();
  const reading = pair.conn.read(new Uint8Array(1));
  pair.conn.close();
  await assertRejects(() => reading, Error, "Connection is closed");
  await assertRejects(() => pair.conn.write(room), Error);
});

Deno.test("connecting by node:net fails as with Deno, and ends with its signal", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }), { port } = listener.addr;
  listener.close();
  const told = [];
  for (const [, system] of systems) {
    told.push([
      await failure(() => system.connect({ hostname: "127.0.0.1", port })),
      // Both addresses of a name are tried.
      await failure(() => system.connect({ hostname: "localhost", port })),
      await failure(() => system.connect({ transport: "unix", path: "/no/such/socket" })),
    ]);
    assertInstanceOf(
      await system.connect({ hostname: "127.0.0.1", port }).catch((error) => error),
      system.errors.ConnectionRefused,
    );
  }
  assertEquals(told[1], told[0]);
  const reason = new Error("no longer wanted"), aborter = new AbortController();
  const waiting = nodeSystem.connect({ hostname: "127.0.0.1", port, signal: aborter.signal });
  aborter.abort(reason);
  assertEquals(await waiting.catch((error) => error), reason);
  const late = nodeSystem.connect({ hostname: "127.0.0.1", port, signal: AbortSignal.abort(reason) });
  assertEquals(await late.catch((error) => error), reason);
});

Deno.test("programs run by node:child_process as by Deno: streams, exit codes, signals, none there", async () => {
  const piped = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
  const nothing = { stdin: "null", stdout: "null", stderr: "null" } as const;
  for (const [name, system] of systems) {
    const child = new system.Command("/bin/sh", { args: ["-c", "cat; echo end >&2; exit 3"], ...piped }).spawn();
    const writer = child.stdin.getWriter();
    child.unref();
    child.ref();
    await writer.write(encoder.encode("through"));
    await writer.close();
    const [out, err, { success, code, signal }] = await Promise.all([
      all(child.stdout),
      all(child.stderr),
      child.status,
    ]);
    assertEquals([decoder.decode(out), decoder.decode(err), success, code, signal], [
      "through",
      "end\n",
      false,
      3,
      null,
    ], name);

    const slept = new system.Command("/bin/sleep", { args: ["100"], ...nothing }).spawn();
    slept.kill("SIGTERM");
    assertEquals((await slept.status).signal, "SIGTERM", name);

    const command = new system.Command("/no/such/program", { args: [], ...piped });
    assertThrows(() => command.spawn(), system.errors.NotFound, "Failed to spawn '/no/such/program'", name);

    assertEquals((await new system.Command("/bin/true", { args: [], ...nothing }).output()).success, true, name);
    const aborter = new AbortController();
    const running = new system.Command("/bin/sleep", { args: ["100"], ...nothing, signal: aborter.signal }).output();
    aborter.abort();
    assertEquals((await inTime(running, "the end of the program")).success, false, name);
  }
});

Deno.test("environment, user and machine are the same by Node's modules as by Deno", () => {
  Deno.env.set("AMIKO_SYSTEM_TEST", "set");
  const facts = systems.map(([, system]) => [
    system.build.os,
    system.uid(),
    system.hostname(),
    [...new Set(system.networkInterfaces().map(({ address }) => address))].sort(),
    system.env.get("AMIKO_SYSTEM_TEST"),
    system.env.get("AMIKO_NO_SUCH"),
    system.env.toObject().AMIKO_SYSTEM_TEST,
    system.permissions.querySync({ name: "env", variable: "HOME" }).state,
  ]);
  Deno.env.delete("AMIKO_SYSTEM_TEST");
  assertEquals(facts[1], facts[0]);
  assertEquals(system, Deno);
  assertEquals([isNotCapable(new Deno.errors.NotCapable("")), isNotCapable(new Error())], [true, false]);
});

/** What is written to whoever has gone, as to a pipe without a reader: the call hears of it, and so does the stream. */
function broken(): Writable {
  const error = Object.assign(new Error("write EPIPE"), { code: "EPIPE", errno: -32, syscall: "write" });
  return new Writable({ write: (_chunk, _encoding, done) => done(error) });
}

Deno.test("a write that nobody takes rejects, and ends no program by an event that nobody listens to", async () => {
  const chunk = new Uint8Array(1), told = "Broken pipe (os error 32)", program = broken(), own = broken();
  const writer = writableOver(program).getWriter();
  writer.closed.catch(() => {});
  await assertRejects(() => writer.write(chunk), Error, told);
  await assertRejects(() => writeTo(own, chunk), Error, told);
  // One after the other, as to a standard output whose reader has gone.
  await assertRejects(() => writeTo(own, chunk), Error);
  // What comes without a call, as when the other end of a socket pair is reset.
  const idle = broken();
  writableOver(idle);
  for (const stream of [program, own, idle]) {
    const closed = new Promise((resolve) => stream.once("close", resolve));
    stream.destroy(new Error("reset"));
    if (!stream.closed) await closed;
  }
});

Deno.test("the end of a stream that was lost does not pass for one that the other side has seen", async () => {
  const lost = broken();
  await assertRejects(() => writeTo(lost, new Uint8Array(1)), Error);
  await assertRejects(() => endOf(lost), Error);
  const stuck = new Writable({ write: () => {} });
  stuck.write("never taken", () => {});
  const ending = assertRejects(() => endOf(stuck), Error, "reset");
  stuck.destroy(new Error("reset"));
  await ending;
  const whole = new Writable({ write: (_chunk, _encoding, done) => done() });
  await endOf(whole);
  await endOf(whole);
});

Deno.test("DNS that knows no such name says NotFound, and numbers of Bun's are no errors of the system", () => {
  const of = (code: string, errno: number | undefined): Error =>
    asDenoError(Object.assign(new Error(`queryA ${code} nope.invalid`), { code, errno, syscall: "queryA" })) as Error;
  for (const code of ["ENOTFOUND", "ENODATA"]) assertEquals(of(code, undefined).name, "NotFound");
  assertEquals(of("ENOTFOUND", 4).message, "queryA ENOTFOUND nope.invalid");
  assertEquals(of("ECONNREFUSED", 11).name, "ConnectionRefused");
  const lookup = asDenoError(Object.assign(new Error("x"), { code: "ENOTFOUND", errno: 4, syscall: "getaddrinfo" }));
  assertEquals((lookup as Error).message, "failed to lookup address information: name or service not known");
});

Deno.test("one of many that open a file has its lock until it closes it, by Node's modules as by Deno", async () => {
  const path = await Deno.makeTempFile(), other = await Deno.makeTempFile();
  try {
    for (const [name, system] of systems) {
      using elsewhere = await system.open(other);
      const first = await system.open(path), second = await system.open(path, { write: true });
      const told = [await first.tryLock(true), await first.tryLock(true), await second.tryLock(true)];
      told.push(await elsewhere.tryLock(true));
      // Who has no lock takes nobody's away.
      (await system.open(path)).close();
      told.push(await second.tryLock(true));
      first.close();
      told.push(await second.tryLock(true));
      second.close();
      assertEquals(told, [true, true, false, true, false, true], name);
    }
  } finally {
    for (const one of [path, other]) await Deno.remove(one);
  }
});

Deno.test("on Windows files have neither owners nor permission bits, whatever Node makes up", async () => {
  const path = await Deno.makeTempFile(), { platform } = process;
  try {
    Object.defineProperty(process, "platform", { value: "win32" });
    for (const { mode, uid, gid } of [await nodeSystem.stat(path), await nodeSystem.lstat(path)]) {
      assertEquals([mode, uid, gid], [null, null, null]);
    }
    assertEquals(nodeSystem.build.os, "windows");
  } finally {
    Object.defineProperty(process, "platform", { value: platform });
    await Deno.remove(path);
  }
});
