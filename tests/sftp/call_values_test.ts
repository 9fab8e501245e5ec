/** Every call at and beyond the bounds of what it takes: refused in words, before anything is asked of the server. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { openSftp, type SftpClient } from "../../lib/sftp/client.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import type { SftpFile } from "../../lib/sftp/remote/file.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { scpDownload, scpUpload } from "../../lib/scp/scp.ts";
import { serveScp } from "../../lib/scp/server.ts";
import { scpCommand } from "../../lib/scp/command.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import { memoryFiles } from "../_support/refusing_server.ts";
import {
  isMissing,
  OPENSSH_SERVER,
  ours,
  pipes,
  scripted,
  someone,
  spawned,
  statusReply,
  tempDir,
} from "../_support/sftp_peers.ts";

// What a program in JavaScript hands over has no types.
// deno-lint-ignore no-explicit-any
type Loose = any;

const noTexts: readonly Loose[] = [
  undefined,
  null,
  5,
  {},
  ["/f"],
  new URL("file:///f"),
  Promise.resolve("/f"),
  () => "/f",
];
const noLengths: readonly Loose[] = [-1, 0.5, NaN, Infinity, 2 ** 53, "5", null, 5n];
const noFlags: readonly Loose[] = ["yes", 1, 0, null, {}];
const noModes: readonly Loose[] = [-1, 0.5, NaN, Infinity, 0x10000, "0644", null];
const noSignals: readonly Loose[] = [5, "abort", {}, new AbortController()];
const noFunctions: readonly Loose[] = [5, "log", {}, null];
const noPatterns: readonly Loose[] = ["*.log", 5, null, [""], [5], ["a", null], ["/"], ["../a"], ["!a"], ["a\0"]];

/** A call with one value that makes no sense in it, for each of them. */
type Call = (sftp: SftpClient, value: Loose, file: SftpFile) => Promise<unknown>;

const first = (list: AsyncIterable<unknown>): Promise<unknown> => list[Symbol.asyncIterator]().next();
const data = new Uint8Array(5);

const paths: Record<string, Call> = {
  open: (sftp, path) => sftp.open(path),
  readFile: (sftp, path) => sftp.readFile(path),
  readTextFile: (sftp, path) => sftp.readTextFile(path),
  writeFile: (sftp, path) => sftp.writeFile(path, data),
  writeTextFile: (sftp, path) => sftp.writeTextFile(path, "x"),
  readDir: (sftp, path) => first(sftp.readDir(path)),
  stat: (sftp, path) => sftp.stat(path),
  lstat: (sftp, path) => sftp.lstat(path),
  mkdir: (sftp, path) => sftp.mkdir(path),
  "mkdir recursive": (sftp, path) => sftp.mkdir(path, { recursive: true }),
  remove: (sftp, path) => sftp.remove(path),
  "remove recursive": (sftp, path) => sftp.remove(path, { recursive: true }),
  "rename from": (sftp, path) => sftp.rename(path, "/g"),
  "rename to": (sftp, path) => sftp.rename("/f", path),
  realPath: (sftp, path) => sftp.realPath(path),
  expandPath: (sftp, path) => sftp.expandPath(path),
  readLink: (sftp, path) => sftp.readLink(path),
  "symlink target": (sftp, path) => sftp.symlink(path, "/g"),
  "symlink path": (sftp, path) => sftp.symlink("f", path),
  "link from": (sftp, path) => sftp.link(path, "/g"),
  "link to": (sftp, path) => sftp.link("/f", path),
  setStat: (sftp, path) => sftp.setStat(path, { mode: 0o600 }),
  chmod: (sftp, path) => sftp.chmod(path, 0o600),
  chown: (sftp, path) => sftp.chown(path, 0, 0),
  utime: (sftp, path) => sftp.utime(path, 0, 0),
  truncate: (sftp, path) => sftp.truncate(path),
  "copyFile from": (sftp, path) => sftp.copyFile(path, "/g"),
  "copyFile to": (sftp, path) => sftp.copyFile("/f", path),
  statfs: (sftp, path) => sftp.statfs(path),
  glob: (sftp, path) => first(sftp.glob(path)),
  "upload from": (sftp, path) => sftp.upload(path, "/g"),
  "upload to": (sftp, path) => sftp.upload("/proc/version", path),
  "download from": (sftp, path) => sftp.download(path, "/nowhere/f"),
  "download to": (sftp, path) => sftp.download("/f", path),
};

const flags = (
  call: (sftp: SftpClient, options: Loose) => Promise<unknown>,
  ...names: string[]
): [Call, readonly Loose[]][] => names.map((name) => [(sftp, value) => call(sftp, { [name]: value }), noFlags]);
const signals = (call: (sftp: SftpClient, options: Loose) => Promise<unknown>): [Call, readonly Loose[]] => [
  (sftp, signal) => call(sftp, { signal }),
  noSignals,
];
const upload = (sftp: SftpClient, options: Loose) => sftp.upload("/proc/version", "/g", options);
const download = (sftp: SftpClient, options: Loose) => sftp.download("/f", "/nowhere/f", options);
const open = (sftp: SftpClient, options: Loose) => sftp.open("/f", { read: true, ...options });
const write = (sftp: SftpClient, options: Loose) => sftp.writeFile("/f", data, options);
const noObjects: readonly Loose[] = [5, "recursive", null, [], true];

const values: readonly [Call, readonly Loose[]][] = [
  ...Object.values(paths).map((call): [Call, readonly Loose[]] => [call, noTexts]),
  ...flags(open, "write", "append", "truncate", "create", "createNew"),
  ...flags(write, "append", "create", "createNew"),
  ...flags((sftp, options) => sftp.mkdir("/d", options), "recursive"),
  ...flags((sftp, options) => sftp.remove("/d", options), "recursive"),
  ...flags((sftp, options) => sftp.setStat("/f", { mode: 0 }, options), "followLinks"),
  ...flags(upload, "recursive", "preserve", "resume", "inPlace"),
  ...flags(download, "recursive", "preserve", "resume", "inPlace"),
  signals(open),
  signals(write),
  signals(upload),
  signals(download),
  signals((sftp, options) => sftp.readFile("/f", options)),
  signals((sftp, options) => sftp.readTextFile("/f", options)),
  ...[upload, download].flatMap((call): [Call, readonly Loose[]][] => [
    [(sftp, concurrency) => call(sftp, { concurrency }), [0, -1, 0.5, NaN, -Infinity, "8", null, 8n]],
    [(sftp, onProgress) => call(sftp, { onProgress }), noFunctions],
    [(sftp, onTreeProgress) => call(sftp, { onTreeProgress }), noFunctions],
    [(sftp, exclude) => call(sftp, { exclude }), noPatterns],
    [(sftp, filter) => call(sftp, { filter }), [() => true, ["*"]]],
    [(sftp, links) => call(sftp, { links }), ["Copy", "keep", true, null, 1]],
    [call, [5, "recursive", null, [], true]],
    [(sftp, [name, value]) => call(sftp, { [name]: value }), [
      ["recursiv", true],
      ["Resume", true],
      ["inplace", true],
      ["onprogress", () => {}],
      ["progress", () => {}],
      ["concurency", 4],
    ]],
  ]),
  ...[open, write, (sftp: SftpClient, options: Loose) => sftp.mkdir("/d", options)].map((
    call,
  ): [Call, readonly Loose[]] => [
    (sftp, mode) => call(sftp, { mode, write: true }),
    noModes,
  ]),
  [(sftp, options) => sftp.open("/f", options), noObjects],
  [(sftp, options) => sftp.open("/f", options), [{ createnew: true }, { Write: true }, { create: true }, {
    read: false,
  }]],
  [(sftp, options) => sftp.mkdir("/d", options), [...noObjects, { Recursive: true }, { parents: true }]],
  [(sftp, options) => sftp.remove("/d", options), [...noObjects, { recursve: true }, { recurse: true }]],
  [(sftp, mode) => sftp.chmod("/f", mode), [...noModes, undefined]],
  [(sftp, id) => sftp.chown("/f", id, 0), [-1, 0.5, NaN, 2 ** 32, "0", null, undefined]],
  [(sftp, id) => sftp.chown("/f", 0, id), [-1, 0.5, NaN, 2 ** 32, "0", null, undefined]],
  [(sftp, time) => sftp.utime("/f", time, 0), [NaN, Infinity, new Date(NaN), "now", null, undefined]],
  [(sftp, time) => sftp.utime("/f", 0, time), [NaN, Infinity, new Date(NaN), "now", null, undefined]],
  [(sftp, len) => sftp.truncate("/f", len), noLengths],
  [(sftp, attrs) => sftp.setStat("/f", attrs), [
    ...noObjects,
    undefined,
    { size: -1 },
    { size: 2 ** 53 },
    { mode: 0x10000 },
    { uid: -1, gid: 0 },
    { uid: 0, gid: 2 ** 32 },
    { atime: NaN, mtime: 0 },
    { atime: 0, mtime: new Date() },
    { atime: 0 },
    { mtime: 0, size: 5 },
    { uid: 0 },
    { gid: 0, uid: undefined },
    { Mode: 0o600 },
  ]],
  [(sftp, contents) => sftp.writeFile("/f", contents), ["text", [1, 2], new ArrayBuffer(5), null, undefined, {}]],
  [(sftp, text) => sftp.writeTextFile("/f", text), [5, data, null, undefined, {}]],
  [(_, p, file) => file.read(p), ["text", 5, null, undefined, new ArrayBuffer(5)]],
  [(_, p, file) => file.write(p), ["text", 5, null, undefined, new ArrayBuffer(5)]],
  [(_, p, file) => file.readAt(p, 0), ["text", 5, null, undefined]],
  [(_, p, file) => file.writeAt(p, 0), ["text", 5, null, undefined]],
  [(_, offset, file) => file.readAt(data, offset), [...noLengths, undefined]],
  [(_, offset, file) => file.writeAt(data, offset), [...noLengths, undefined]],
  [(_, offset, file) => file.seek(offset, 0), [...noLengths, undefined]],
  [(_, whence, file) => file.seek(0, whence), [-1, 3, "start", null, undefined]],
  [(_, len, file) => file.truncate(len), noLengths],
  [(_, attrs, file) => file.setStat(attrs), [{ size: -1 }, { mtime: 0 }, { uid: 0 }, null, 5]],
  [(_, time, file) => file.utime(time, 0), [NaN, "now", null, undefined]],
];

Deno.test("every call refuses values that make no sense with TypeError or RangeError, before it asks for anything", async () => {
  let asked = 0;
  await using peer = await scripted((payload, id) => {
    asked++;
    return payload[0] === Fxp.OPEN ? m.Handle.encode({ id, handle: new Uint8Array([1]) }) : statusReply(id, 0);
  });
  const file = await peer.sftp.open("/f", { read: true, write: true });
  asked = 0;
  for (const [call, all] of values) {
    for (const value of all) {
      const what = `${call} of ${typeof value === "bigint" ? `${value}n` : JSON.stringify(value) ?? typeof value}`;
      const error = await call(peer.sftp, value, file).then(() => null, (error) => error);
      assert(error instanceof TypeError || error instanceof RangeError, `${what}: ${error}`);
      assert(error.message.startsWith("Cannot "), `${what}: ${error.message}`);
      assert(!/is not a function|undefined \(reading|undefined value/.test(error.message), `${what}: ${error.message}`);
      assertEquals(asked, 0, what);
    }
  }
});

Deno.test("calls take what lies at their bounds, and options that are undefined", async () => {
  const { backend } = memoryFiles();
  await using peer = await ours(backend);
  const { sftp } = peer, none = undefined;
  await sftp.writeFile("/f", data, { append: none, create: none, createNew: none, mode: none, signal: none } as Loose);
  await sftp.chmod("/f", 0);
  await sftp.chmod("/f", (await sftp.stat("/f")).mode!);
  await sftp.utime("/f", 0, new Date(0));
  await sftp.utime("/f", -1.5, 2 ** 40);
  await sftp.truncate("/f", 0);
  await sftp.truncate("/f");
  await sftp.setStat("/f", { size: none, mode: 0o644, uid: none }, { followLinks: none });
  await sftp.mkdir("/d", { mode: 0o7777, recursive: none });
  await sftp.remove("/d", { recursive: none });
  assertEquals((await sftp.readFile("/f", { signal: none })).length, 0);
  for (const concurrency of [1, 1024, Infinity, none]) {
    await sftp.upload("/proc/version", "/v", {
      concurrency,
      recursive: none,
      preserve: none,
      resume: none,
      inPlace: none,
      links: none,
      onProgress: none,
      signal: none,
    });
  }
  await using file = await sftp.open("/f", { read: true, write: true, truncate: none } as Loose);
  assertEquals(await file.writeAt(data, 0), 5);
  assertEquals(await file.seek(-2, 2), 3);
  assertEquals(await file.readAt(new Uint8Array(0), Number.MAX_SAFE_INTEGER), 0);
});

Deno.test("SCP and both servers refuse values that make no sense, before a stream is touched", async () => {
  const { near, far } = pipes(), { backend } = memoryFiles();
  const refused = async (work: () => Promise<unknown>): Promise<void> => {
    const error = await work().then(() => null, (error) => error);
    assert(error instanceof TypeError || error instanceof RangeError, String(error));
    assert(error.message.startsWith("Cannot "), error.message);
    assertEquals([near, far].some(({ readable, writable }) => readable.locked || writable.locked), false);
  };
  const scpOptions: readonly Loose[] = [
    ...[5, "r", null, []],
    ...noFlags.flatMap((flag) => [{ recursive: flag }, { preserve: flag }]),
    ...noSignals.map((signal) => ({ signal })),
    ...noFunctions.flatMap((one) => [{ onProgress: one }, { onTreeProgress: one }]),
    ...noPatterns.map((exclude) => ({ exclude })),
    { Recursive: true },
    { preserv: true },
  ];
  for (const path of noTexts) {
    await refused(() => scpUpload(near, path));
    await refused(() => scpDownload(near, path, "/nowhere"));
    await refused(() => scpDownload(near, "/f", path));
    await refused(() => serveScp(near, path, backend, someone));
    assertThrows(() => scpCommand("to", path), TypeError, "Cannot");
  }
  for (const options of scpOptions) {
    await refused(() => scpUpload(near, "/proc/version", options));
    await refused(() => scpDownload(near, "/f", "/nowhere", options));
  }
  for (const options of [5, null, [], { signal: 5 }, { onError: "log" }, { onerror: () => {} }] as readonly Loose[]) {
    await refused(() => serveScp(near, "scp -t f", backend, someone, options));
    await refused(() => serveSftp(near, backend, someone, options));
  }
  for (const channel of [undefined, null, "channel", {}, { readable: near.readable }] as readonly Loose[]) {
    await refused(() => openSftp(channel));
    await refused(() => scpUpload(channel, "/proc/version"));
    await refused(() => scpDownload(channel, "/f", "/nowhere"));
    await refused(() => serveSftp(channel, backend, someone));
    await refused(() => serveScp(channel, "scp -t f", backend, someone));
  }
  for (const options of [5, { signal: 5 }, { linkFirst: "yes" }, { linkfirst: true }] as readonly Loose[]) {
    await refused(() => openSftp(near, options));
  }
  for (const direction of ["up", "", null, undefined] as readonly Loose[]) {
    assertThrows(() => scpCommand(direction, "f"), TypeError, "Cannot");
  }
  assertThrows(() => scpCommand("to", "f", { recursive: 1 } as Loose), TypeError, "recursive");
});

const servers = {
  "our server": (root: string) => ours({ root }),
  ...isMissing(OPENSSH_SERVER) ? {} : { "OpenSSH's server": (_root: string) => spawned() },
};

for (const [name, start] of Object.entries(servers)) {
  Deno.test(`an open file is used as it was opened, and the error says how to open it otherwise (${name})`, async () => {
    await using dir = await tempDir();
    await Deno.writeTextFile(`${dir.path}/f`, "12345");
    await using peer = await start(dir.path);
    const { sftp } = peer, path = name === "our server" ? "/f" : `${dir.path}/f`;
    const refused = async (work: () => Promise<unknown>, ...words: string[]): Promise<void> => {
      const { message } = await assertRejects(work, TypeError);
      for (const word of [`"${path}"`, ...words]) assert(message.includes(word), message);
    };
    const p = new Uint8Array(3);
    {
      await using file = await sftp.open(path);
      await refused(() => file.write(p), "opened to read only", "`write: true`");
      await refused(() => file.writeAt(p, 0), "opened to read only");
      await refused(() => file.truncate(), "opened to read only");
      await refused(() => file.setStat({ size: 0 }), "opened to read only");
      assertEquals(await file.read(p), 3);
    }
    {
      const file = await sftp.open(path), writer = file.writable.getWriter();
      writer.closed.catch(() => {});
      await refused(() => writer.write(p), "opened to read only");
    }
    for (const options of [{ write: true }, { append: true }]) {
      await using file = await sftp.open(path, options);
      await refused(() => file.read(p), "opened to write only", "`read: true`");
      await refused(() => file.readAt(p, 0), "opened to write only");
    }
    {
      const file = await sftp.open(path, { write: true });
      await refused(() => new Response(file.readable).bytes(), "opened to write only");
    }
    assertEquals(await Deno.readTextFile(`${dir.path}/f`), "12345");
  });
}
