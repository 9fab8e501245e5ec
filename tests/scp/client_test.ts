/** `scpDownload()` and `scpUpload()` with senders and targets that are not as they should be. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError, SshProtocolError } from "../../lib/errors.ts";
import { scpDownload, type ScpOptions, scpUpload } from "../../lib/scp/scp.ts";
import { scpCommand } from "../../lib/scp/command.ts";
import { FakeTime } from "../_support/fake_time.ts";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { inTime, until } from "../_support/until.ts";
import { isMissing, pattern, pipes, tempDir } from "../_support/sftp_peers.ts";

const text = new TextEncoder();

/** What `scpDownload` makes of a sender that sends these bytes and takes any answer. */
async function sent(bytes: string, remote: string, local: string, options: ScpOptions = {}): Promise<unknown> {
  const { near, far } = pipes(), writer = far.writable.getWriter();
  const sending = (async () => {
    await writer.write(text.encode(bytes));
    await writer.close();
  })().catch(() => {});
  const drained = far.readable.pipeTo(new WritableStream()).catch(() => {});
  const outcome = await scpDownload(near, remote, local, options).then((summary) => summary, (error) => error);
  await Promise.all([sending, drained]);
  return outcome;
}

function entries(path: string): string[] {
  return Array.from(Deno.readDirSync(path), (entry) => entry.name).sort();
}

Deno.test("scpDownload() leaves no part behind when a directory has the file's name", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/out/f`, { recursive: true });
  assert(await sent("C0644 1 f\nx\0", "/there/f", `${dir.path}/out`) instanceof Error);
  assertEquals(entries(`${dir.path}/out`), ["f"]);
});

Deno.test("scpDownload() leaves nothing behind when a size lies", async () => {
  await using dir = await tempDir();
  for (
    const bytes of [
      "C0644 10 f\nx\0",
      "C0644 1 f\nxyz\0",
      "C0644 9007199254740991 f\nx",
      "C0644 0 f\nx\0",
      "C0644 1 f\nx",
      "T1 0 1 0\nT2 0 2 0\nC0644 3 f\nx\0",
    ]
  ) {
    const outcome = await sent(bytes, "/f", `${dir.path}/f`);
    assert(outcome instanceof SftpError || outcome instanceof SshProtocolError, `${JSON.stringify(bytes)}: ${outcome}`);
    assertEquals(entries(dir.path), [], JSON.stringify(bytes));
  }
});

Deno.test("scpDownload() does not keep errors without bound", async () => {
  await using dir = await tempDir();
  const outcome = await sent("\x01no\n".repeat(20_000), "/f", `${dir.path}/f`);
  assert(outcome instanceof SftpError, `${outcome}`);
  assert(outcome.cause instanceof AggregateError);
  assert(outcome.cause.errors.length <= 1000, `${outcome.cause.errors.length} errors are kept`);
});

Deno.test("scpDownload() tells which path failed", async () => {
  await using dir = await tempDir();
  const outcome = await sent("\x01scp: /there/f: No such file or directory\n", "/there/f", `${dir.path}/f`);
  assert(outcome instanceof SftpError, `${outcome}`);
  assertEquals(outcome.path, "/there/f");
});

Deno.test("scpDownload() takes a directory that the server calls a dot, whose name does not matter", async () => {
  await using dir = await tempDir();
  const outcome = await sent("D0755 0 .\nC0644 1 f\nx\0E\n", ".", `${dir.path}/out`, { recursive: true });
  assertEquals(outcome, { files: 1, bytes: 1, warnings: [] });
});

Deno.test("scpDownload() and scpUpload() that fail before they begin end the streams that they were given", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  const signal = AbortSignal.abort(new Error("enough"));
  for (
    const start of [
      (near: ByteDuplex) => scpDownload(near, "/there", `${dir.path}/f/no`),
      (near: ByteDuplex) => scpDownload(near, "/there", `${dir.path}/g`, { signal }),
      (near: ByteDuplex) => scpUpload(near, `${dir.path}/f`, { signal }),
    ]
  ) {
    const { near, far } = pipes(), reader = far.readable.getReader(), writer = far.writable.getWriter();
    await assertRejects(() => start(near), Error);
    await inTime(assertRejects(() => reader.closed), "what is sent there");
    await inTime(writer.closed.catch(() => {}), "what comes from there");
    assertEquals(entries(dir.path), ["f"]);
  }
});

Deno.test("scpDownload() leaves the permission bits of the file that it replaces alone, unless it keeps those of the source", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/f`, during: number[] = [];
  const modeOf = (name: string): number => Deno.statSync(`${dir.path}/${name}`).mode! & 0o777;
  const onProgress = (): void => void during.push(...entries(dir.path).filter((name) => name !== "f").map(modeOf));
  for (
    const [there, source, preserve, expected] of [
      [0o600, 0o644, false, 0o600],
      [0o666, 0o600, false, 0o666],
      [0o400, 0o755, false, 0o400],
      [0o600, 0o644, true, 0o644],
      [0o666, 0o600, true, 0o600],
    ] as const
  ) {
    await Deno.writeTextFile(path, "old");
    await Deno.chmod(path, there);
    const line = `C0${source.toString(8)} 3 f\nnew\0`;
    const outcome = await sent((preserve ? "T1 0 1 0\n" : "") + line, "/f", path, { preserve, onProgress });
    assertEquals(outcome, { files: 1, bytes: 3, warnings: [] });
    assertEquals([await Deno.readTextFile(path), modeOf("f")], ["new", expected]);
    assert(during.splice(0).every((mode) => (mode & ~there) === 0 && (mode & ~source) === 0), `${there} ${source}`);
    await Deno.remove(path);
  }
});

const SCP = "/usr/bin/scp";

/** The streams of OpenSSH's own scp as a server starts it. */
function server(
  command: string,
): { readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array>; status: Promise<unknown> } {
  const child = new Deno.Command("/bin/sh", { args: ["-c", command], stdin: "piped", stdout: "piped", stderr: "null" })
    .spawn();
  return { readable: child.stdout, writable: child.stdin, status: child.status };
}

Deno.test({
  name: "scpUpload() says which file became shorter, and goes on (OpenSSH scp)",
  ignore: isMissing(SCP),
  async fn() {
    await using dir = await tempDir();
    await Deno.mkdir(`${dir.path}/src`);
    await Deno.writeFile(`${dir.path}/src/a`, pattern(3_000_000));
    await Deno.writeTextFile(`${dir.path}/src/b`, "x");
    const peer = server(scpCommand("to", `${dir.path}/dst`, { recursive: true }));
    let cut = false;
    const error = await assertRejects(() =>
      scpUpload(peer, `${dir.path}/src`, {
        recursive: true,
        onProgress: ({ path, bytes }) => {
          if (cut || !path.endsWith("/a") || bytes === 0) return;
          cut = true;
          Deno.truncateSync(`${dir.path}/src/a`, 300_000);
        },
      }), SftpError);
    await peer.status;
    assert(error.message.includes("shorter"), error.message);
    assertEquals(await Deno.readTextFile(`${dir.path}/dst/b`), "x");
  },
});

Deno.test("scpDownload() that fails here does not wait for a sender that takes nothing", async () => {
  await using dir = await tempDir();
  using time = new FakeTime();
  const { near, far } = pipes(), writer = far.writable.getWriter(), reader = far.readable.getReader();
  const failing = assertRejects(
    () =>
      scpDownload(near, "f", `${dir.path}/f`, {
        onProgress: () => {
          throw new RangeError("in the listener");
        },
      }),
    RangeError,
    "in the listener",
  );
  await reader.read();
  const sending = writer.write(text.encode("C0644 5 f\nhello\0"));
  // The answer to the line is taken, and nothing behind it.
  await reader.read();
  await sending;
  await until(() => time.pending > 0, "the last word is not said");
  time.next();
  await failing;
  assertEquals(entries(dir.path), []);
});

Deno.test({
  name: "scpDownload() and scpUpload() give back what they opened when the listener throws (OpenSSH scp)",
  ignore: isMissing(SCP),
  async fn() {
    await using dir = await tempDir();
    await Deno.writeFile(`${dir.path}/f`, pattern(3_000_000));
    const onProgress = ({ bytes }: { bytes: number }): void => {
      if (bytes > 0) throw new RangeError("in the listener");
    };
    const down = server(scpCommand("from", `${dir.path}/f`));
    await assertRejects(() => scpDownload(down, "f", `${dir.path}/g`, { onProgress }), RangeError, "in the listener");
    await down.status;
    const up = server(scpCommand("to", `${dir.path}/h`));
    await assertRejects(() => scpUpload(up, `${dir.path}/f`, { onProgress }), RangeError, "in the listener");
    await up.status;
    assert(!entries(dir.path).some((name) => name.includes(".part") || name === "g"), entries(dir.path).join());
  },
});

Deno.test({
  name: "scpUpload() sends all of a file whose size is given as 0, and times before 1970 as 0 (OpenSSH scp)",
  ignore: isMissing(SCP) || isMissing("/proc/version"),
  async fn() {
    await using dir = await tempDir();
    const peer = server(scpCommand("to", `${dir.path}/version`));
    const whole = await Deno.readTextFile("/proc/version");
    assertEquals(await scpUpload(peer, "/proc/version"), { files: 1, bytes: whole.length, warnings: [] });
    await peer.status;
    assertEquals(await Deno.readTextFile(`${dir.path}/version`), whole);
    await Deno.writeTextFile(`${dir.path}/old`, "x");
    await Deno.utime(`${dir.path}/old`, -158_000_000, -158_000_000);
    await Deno.writeTextFile(`${dir.path}/empty`, "");
    for (const name of ["old", "empty"]) {
      const again = server(scpCommand("to", `${dir.path}/copy`, { preserve: true }));
      assertEquals((await scpUpload(again, `${dir.path}/${name}`, { preserve: true })).files, 1);
      await again.status;
      assertEquals((await Deno.stat(`${dir.path}/copy`)).size, name === "old" ? 1 : 0);
      if (name === "old") assertEquals((await Deno.stat(`${dir.path}/copy`)).mtime!.getTime(), 0);
    }
  },
});

Deno.test("scpDownload() of what ends at any byte fails and leaves what was here, or is whole", async () => {
  await using dir = await tempDir();
  const whole = "T1 0 1 0\nC0644 5 f\nhello\0";
  for (let length = 0; length <= whole.length; length++) {
    await Deno.writeTextFile(`${dir.path}/f`, "old");
    const outcome = await sent(whole.slice(0, length), "/f", `${dir.path}/f`);
    const isWhole = length === whole.length;
    if (isWhole) assertEquals(outcome, { files: 1, bytes: 5, warnings: [] });
    else assert(outcome instanceof Error, `${length}: ${JSON.stringify(outcome)}`);
    assertEquals(await Deno.readTextFile(`${dir.path}/f`), isWhole ? "hello" : "old", String(length));
    assertEquals(entries(dir.path), ["f"]);
  }
  // In a tree, an end outside of all directories is one; what a line of times was for is missing.
  const tree = "D0755 0 d\nC0644 1 a\nx\0E\nT1 0 1 0\n";
  for (let length = 0; length <= tree.length; length++) {
    await Deno.remove(`${dir.path}/d`, { recursive: true }).catch(() => {});
    const outcome = await sent(tree.slice(0, length), "/d", `${dir.path}/d`, { recursive: true });
    if (tree.slice(0, length).endsWith("E\n")) assertEquals(outcome, { files: 1, bytes: 1, warnings: [] });
    else assert(outcome instanceof Error, `${length}: ${JSON.stringify(outcome)}`);
  }
});

Deno.test("scpDownload() is whole though another one of the same path and size is under way", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/f`;
  const begun = ["a", "b"].map((letter) => {
    const { near, far } = pipes(), writer = far.writable.getWriter(), copying = scpDownload(near, "/f", path);
    copying.catch(() => {});
    const drained = far.readable.pipeTo(new WritableStream()).catch(() => {});
    return { letter, writer, copying, drained };
  });
  for (const [i, { writer, letter }] of begun.entries()) {
    await writer.write(text.encode(`C0644 6 f\n${letter.repeat(3)}`));
    const isBegun = (): boolean =>
      entries(dir.path).filter((name) => Deno.statSync(`${dir.path}/${name}`).size === 3).length === i + 1;
    await until(isBegun, `${letter} does not begin`);
  }
  for (const { writer, letter, copying, drained } of begun) {
    await writer.write(text.encode(`${letter.repeat(3)}\0`));
    await writer.close();
    assertEquals((await inTime(copying, letter)).bytes, 6);
    assertEquals(await Deno.readTextFile(path), letter.repeat(6));
    await drained;
  }
  assertEquals(entries(dir.path), ["f"]);
});
