/** SCP, client and server, and those who cheat. security.md rows 134 and 135 for SCP. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { info } from "../_support/file_info.ts";
import { connect, insecureAcceptAnyHostKey, none, parsePrivateKey, scpHandler, serve } from "../../mod.ts";
import { SftpError, SshProtocolError } from "../../lib/errors.ts";
import type { SftpBackend, SftpBackendFile } from "../../lib/files/backend.ts";
import { openRootedBackend } from "../../lib/files/rooted/backend.ts";
import { scpDownload, scpUpload } from "../../lib/scp/scp.ts";
import { serveScp, type ServeScpOptions } from "../../lib/scp/server.ts";
import { parseScpCommand, scpCommand } from "../../lib/scp/command.ts";
import { parseControl } from "../../lib/scp/stream.ts";
import type { SftpChannel } from "../../lib/sftp/wire/channel.ts";
import { testKeys } from "../_support/keys.ts";
import { holdings, openFiles } from "../_support/resources.ts";
import { fastest, inTime, turns, until } from "../_support/until.ts";
import { dice, isMissing, pattern, pipes, sha256, someone, tempDir } from "../_support/sftp_peers.ts";

const SCP = "/usr/bin/scp", text = new TextEncoder();

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

/** An entry of a backend's listing. */
const entry = (name: string, isDirectory = false) => ({
  name,
  isFile: !isDirectory,
  isDirectory,
  isSymlink: false,
  info: info(0, isDirectory),
});

/** Bytes sent to `serveScp()`, and what it says. */
async function scp(
  command: string,
  bytes: string,
  backend: SftpBackend | { root: string; readOnly?: boolean },
  options: ServeScpOptions = {},
): Promise<{ code: number; said: string }> {
  const { near, far } = pipes(), code = serveScp(far, command, backend, someone, options);
  let said = "";
  const read = near.readable.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)
    .pipeTo(new WritableStream({ write: (part) => void (said += part) })).catch(() => {});
  const writer = near.writable.getWriter();
  await writer.write(text.encode(bytes)).catch(() => {});
  await writer.close().catch(() => {});
  const result = await code;
  await read;
  return { code: result, said };
}

/** A peer that runs the command: OpenSSH's scp by a shell, or our server. */
interface Runner {
  readonly name: string;
  readonly ignore: boolean;
  run(
    command: string,
    root: string,
  ): AsyncDisposable & { readonly channel: SftpChannel; readonly code: Promise<number> };
}
const openssh: Runner = {
  name: "OpenSSH scp",
  ignore: isMissing(SCP),
  run(command, root) {
    const child = new Deno.Command("/bin/sh", {
      args: ["-c", command],
      cwd: root,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    return {
      channel: { readable: child.stdout, writable: child.stdin },
      code: child.status.then((status) => status.code),
      [Symbol.asyncDispose]: async () => void await child.status,
    };
  },
};
const own: Runner = {
  name: "our server",
  ignore: false,
  run(command, root) {
    const { near, far } = pipes(), code = serveScp(far, command, { root }, someone);
    return { channel: near, code, [Symbol.asyncDispose]: async () => void await code };
  },
};

for (const { name, ignore, run } of [openssh, own]) {
  Deno.test({
    name: `scpUpload() and scpDownload() copy files and trees (${name})`,
    ignore,
    async fn() {
      await using dir = await tempDir();
      const there = `${dir.path}/there`;
      await Deno.mkdir(there);
      await Deno.mkdir(`${dir.path}/src/sub`, { recursive: true });
      for (const [i, file] of ["a b", "quo'te\"", "$(id)", "-x", "grüße", "sub/large", "empty"].entries()) {
        await Deno.writeFile(
          `${dir.path}/src/${file}`,
          pattern(file === "empty" ? 0 : file.includes("large") ? 3_000_001 : i + 1),
        );
      }
      await Deno.chmod(`${dir.path}/src/a b`, 0o750);
      await Deno.utime(`${dir.path}/src/a b`, 1000, 2000);
      const options = { recursive: true, preserve: true };
      {
        await using peer = run(scpCommand("to", "tree", options), there);
        const result = await scpUpload(peer.channel, `${dir.path}/src`, options);
        assertEquals([result.files, await peer.code], [7, 0]);
      }
      {
        await using peer = run(scpCommand("from", "tree", options), there);
        assertEquals((await scpDownload(peer.channel, "tree", `${dir.path}/back`, options)).files, 7);
      }
      for (const file of ["a b", "quo'te\"", "$(id)", "-x", "grüße", "sub/large", "empty"]) {
        assertEquals(await sha256(`${there}/tree/${file}`), await sha256(`${dir.path}/src/${file}`), file);
        assertEquals(await sha256(`${dir.path}/back/${file}`), await sha256(`${dir.path}/src/${file}`), file);
      }
      for (const base of [`${there}/tree`, `${dir.path}/back`]) {
        const info = await Deno.stat(`${base}/a b`);
        assertEquals([info.mode! & 0o777, info.mtime], [0o750, new Date(2_000_000)]);
      }
      {
        await using peer = run(scpCommand("to", "one ' file"), there);
        assertEquals(await scpUpload(peer.channel, `${dir.path}/src/sub/large`), {
          files: 1,
          bytes: 3_000_001,
          warnings: [],
        });
      }
      {
        await using peer = run(scpCommand("from", "one ' file"), there);
        await scpDownload(peer.channel, "one ' file", dir.path);
        assertEquals(await sha256(`${dir.path}/one ' file`), await sha256(`${dir.path}/src/sub/large`));
      }
      {
        await Deno.mkdir(`${dir.path}/box`);
        await using peer = run(scpCommand("from", "one ' file", { recursive: true }), there);
        await scpDownload(peer.channel, "one ' file", `${dir.path}/box`, { recursive: true });
        assertEquals(Array.from(Deno.readDirSync(`${dir.path}/box`), (entry) => entry.name), ["one ' file"]);
      }
      {
        await using peer = run(scpCommand("from", "none"), there);
        await assertRejects(() => scpDownload(peer.channel, "none", `${dir.path}/x`), SftpError, "No such file");
        assert(await peer.code !== 0);
      }
      {
        await using peer = run(scpCommand("from", "tree"), there);
        await assertRejects(() => scpDownload(peer.channel, "tree", `${dir.path}/x`), SftpError, "the other side says");
      }
      {
        await using peer = run(scpCommand("to", "none/x"), there);
        await assertRejects(() => scpUpload(peer.channel, `${dir.path}/src/a b`), SftpError);
      }
    },
  });
}

Deno.test({
  name: "serveScp() serves `scp -O`, in both directions",
  ignore: isMissing(SCP),
  async fn() {
    await using dir = await tempDir();
    await Deno.mkdir(`${dir.path}/root`);
    await Deno.mkdir(`${dir.path}/src/sub`, { recursive: true });
    await Deno.writeFile(`${dir.path}/src/f`, pattern(500_000));
    await Deno.writeFile(`${dir.path}/src/sub/g`, pattern(3));
    const stub = `${dir.path}/stub`, script = new URL("./_ssh_stub.ts", import.meta.url).pathname;
    await Deno.writeTextFile(stub, `#!/bin/sh\nexec "${Deno.execPath()}" run -A --quiet --no-check ${script} "$@"\n`, {
      mode: 0o755,
    });
    const scp = async (...args: string[]): Promise<number> =>
      (await new Deno.Command(SCP, {
        args: ["-O", "-q", "-S", stub, ...args],
        env: { SCP_ROOT: `${dir.path}/root` },
        stderr: "null",
      }).output()).code;
    assertEquals(await scp("-r", "-p", `${dir.path}/src`, "host:/tree"), 0);
    assertEquals(await scp("-r", "host:tree", `${dir.path}/back`), 0);
    for (const file of ["f", "sub/g"]) {
      assertEquals(await sha256(`${dir.path}/root/tree/${file}`), await sha256(`${dir.path}/src/${file}`));
      assertEquals(await sha256(`${dir.path}/back/${file}`), await sha256(`${dir.path}/src/${file}`));
    }
    assert(await scp("host:/../../../../etc/passwd", `${dir.path}/stolen`) !== 0);
    assert(await scp(`${dir.path}/src/f`, "host:../../escaped/x") !== 0);
    await assertRejects(() => Deno.lstat(`${dir.path}/stolen`), Deno.errors.NotFound);
  },
});

Deno.test("scpCommand() quotes, and parseScpCommand() reads it back", () => {
  for (const path of ["/a/b", "a b", "it's", "-rf", "$(id)", "`x`", "a\nb", "*", "~", "\\", '"', ";", ""]) {
    const command = scpCommand("to", path, { recursive: true, preserve: true, directory: true });
    const shown = path === "" ? "." : path;
    assertEquals(parseScpCommand(command), {
      direction: "to",
      recursive: true,
      preserve: true,
      directory: true,
      paths: [{ text: shown, glob: null }],
    }, command);
  }
  assertEquals(parseScpCommand("scp -v -f /a/*.txt b")!.paths, [{ text: "/a/*.txt", glob: "/a/*.txt" }, {
    text: "b",
    glob: null,
  }]);
  assertEquals(parseScpCommand("scp -f ~ ~/x '~/y' ~z")!.paths.map(({ text }) => text), [".", "x", "~/y", "~z"]);
  assertThrows(() => scpCommand("to", "a\0b"), TypeError);
});

Deno.test("parseScpCommand() refuses what is not SCP and nothing else", () => {
  for (
    const line of [
      "",
      "ls",
      "scp",
      "scp -t",
      "scp a b",
      "scp -t a b",
      "scp -t -f a",
      "scp -t a; id",
      "scp -t $(id)",
      "scp -t `id`",
      'scp -t "$(id)"',
      "scp -t a\nid",
      "scp -t a > /etc/x",
      "scp -S evil -t a",
      "scp -oProxyCommand=x -t a",
      "/tmp/scp -t a",
      "scp -t 'a",
      "env scp -t a",
    ]
  ) assertEquals(parseScpCommand(line), null, line);
});

Deno.test("parseControl() takes what scp sends and nothing else", () => {
  assertEquals(parseControl(text.encode("C0644 5 a b")), { kind: "file", mode: 0o644, size: 5, name: "a b" });
  assertEquals(parseControl(text.encode("D04755 0 d")), { kind: "directory", mode: 0o755, size: 0, name: "d" });
  assertEquals(parseControl(text.encode("T12 0 13 0")), { kind: "times", mtime: 12, atime: 13 });
  for (
    const bad of [
      "",
      "C",
      "C0644 5",
      "C0644 -5 x",
      "C9999 5 x",
      "C0644 99999999999999999 x",
      "T1 2",
      "Ex",
      "X",
      "C0644  5 x",
      "T-1 0 1 0",
    ]
  ) {
    assertThrows(() => parseControl(text.encode(bad)), SshProtocolError, undefined, bad);
  }
  const random = dice(77);
  for (let i = 0; i < 5000; i++) {
    const line = Uint8Array.from({ length: random(30) }, () => random(3) ? 48 + random(10) : random(256));
    if (line.length > 0) line[0] = [67, 68, 84, 69][random(4)]!;
    try {
      parseControl(line);
    } catch (error) {
      assert(error instanceof SshProtocolError);
    }
  }
});

/** Runs `scpDownload` against a sender that sends these bytes and takes any answer. */
async function cheated(bytes: string | Uint8Array, local: string, recursive: boolean): Promise<unknown> {
  const { near, far } = pipes();
  const writer = far.writable.getWriter();
  const sending = (async () => {
    await writer.write(typeof bytes === "string" ? text.encode(bytes) : bytes);
    await writer.close();
  })().catch(() => {});
  const drained = far.readable.pipeTo(new WritableStream()).catch(() => {});
  const outcome = await scpDownload(near, "asked", local, { recursive }).then((summary) => summary, (error) => error);
  await sending;
  await drained;
  return outcome;
}

Deno.test("scpDownload() writes only what was asked for, and under the name asked for", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/down`);
  for (
    const [bytes, recursive] of [
      ["C0644 1 ../evil\nx\0", false],
      ["C0644 1 /tmp/evil\nx\0", false],
      ["C0644 1 ..\nx\0", false],
      ["C0644 1 .\nx\0", false],
      ["D0755 0 evil\nC0644 1 f\nx\0E\n", false],
      ["C0644 1 a\nx\0C0644 1 b\nx\0", false],
      ["D0755 0 d\nC0644 1 ../../evil\nx\0E\n", true],
      ["D0755 0 d\nD0755 0 ..\nC0644 1 evil\nx\0E\nE\n", true],
      ["D0755 0 d\nE\nE\nC0644 1 evil\nx\0", true],
      ["D0755 0 d\nD0755 0 .\nE\nE\n", true],
      ["D0755 0 d\n".repeat(70), true],
      ["E\n", true],
      ["Xwhat\n", false],
      ["x".repeat(10_000), false],
      ["C0644 5 f\nab", false],
      ["D0755 0 d\n", true],
      ["", false],
      ["\x02gone wrong\n", false],
      ["\x01gone wrong\n", false],
    ] as const
  ) {
    const outcome = await cheated(bytes, `${dir.path}/down/target`, recursive);
    assert(outcome instanceof SftpError || outcome instanceof SshProtocolError, `${JSON.stringify(bytes)}: ${outcome}`);
    await Deno.remove(`${dir.path}/down/target`, { recursive: true }).catch(() => {});
    assertEquals(Array.from(Deno.readDirSync(`${dir.path}/down`), (entry) => entry.name), [], JSON.stringify(bytes));
    assertEquals(Array.from(Deno.readDirSync(dir.path), (entry) => entry.name), ["down"]);
  }
  // Whatever it is called there, and with bits that are not set here.
  assertEquals(await cheated("C6755 1 .bashrc\nx\0", `${dir.path}/down`, false), { files: 1, bytes: 1, warnings: [] });
  assertEquals(Array.from(Deno.readDirSync(`${dir.path}/down`), (entry) => entry.name), ["asked"]);
  assertEquals((await Deno.stat(`${dir.path}/down/asked`)).mode! & 0o7000, 0);
});

Deno.test("scpDownload() does not write through links that are here", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/outside`);
  await Deno.writeTextFile(`${dir.path}/outside/f`, "precious");
  await Deno.mkdir(`${dir.path}/down`);
  await Deno.symlink(`${dir.path}/outside`, `${dir.path}/down/sub`);
  await Deno.symlink(`${dir.path}/outside/f`, `${dir.path}/down/f`);
  const bytes = "D0755 0 d\nC0644 1 f\nx\0D0755 0 sub\nC0644 1 f\nx\0E\nE\n";
  assert(await cheated(bytes, `${dir.path}/down`, true) instanceof SftpError);
  assertEquals(await Deno.readTextFile(`${dir.path}/outside/f`), "precious");
  assertEquals(await Deno.readTextFile(`${dir.path}/down/f`), "x");
});

/** A root, and what lies beside it and may be neither read nor changed. */
async function prison(): Promise<AsyncDisposable & { readonly path: string; readonly root: string }> {
  const dir = await tempDir(), root = `${dir.path}/root`;
  await Deno.mkdir(`${root}/d/sub`, { recursive: true });
  await Deno.mkdir(`${dir.path}/outside`);
  await Deno.writeTextFile(`${dir.path}/outside/secret`, "nobody may read this", { mode: 0o640 });
  await Deno.writeTextFile(`${root}/mine`, "mine");
  for (
    const [target, name] of [
      [`${dir.path}/outside`, "link"],
      [`${dir.path}/outside/secret`, "flink"],
      ["../outside", "relative"],
      ["../outside/secret", "frelative"],
      ["..", "up"],
      ["../../..", "d/sub/up"],
    ] as const
  ) await Deno.symlink(target, `${root}/${name}`);
  return { path: dir.path, root, [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose]() };
}

async function assertUntouched({ path, root }: { path: string; root: string }, what: string): Promise<void> {
  assertEquals(Array.from(Deno.readDirSync(path), (entry) => entry.name).sort(), ["outside", "root"], what);
  assertEquals(Array.from(Deno.readDirSync(`${path}/outside`), (entry) => entry.name), ["secret"], what);
  assertEquals(await Deno.readTextFile(`${path}/outside/secret`), "nobody may read this", what);
  assertEquals((await Deno.stat(`${path}/outside/secret`)).mode! & 0o7777, 0o640, what);
  const special = async (directory: string): Promise<void> => {
    for (const { name } of Deno.readDirSync(directory)) {
      const { mode, isDirectory } = await Deno.lstat(`${directory}/${name}`);
      assertEquals(mode! & 0o6000, 0, `${what}: ${name}`);
      if (isDirectory) await special(`${directory}/${name}`);
    }
  };
  await special(root);
}

const one = "C0644 1 evil\nx\0";

/** What a client sends, and the exit code: 0 where it writes inside the root after all. */
const escapes: readonly (readonly [command: string, bytes: string, code: number])[] = [
  // The path of the command.
  ["scp -t ../evil", one, 0],
  ["scp -t /../../evil", one, 0],
  ["scp -t d/../../evil", one, 0],
  ["scp -t /etc/x", one, 1],
  ["scp -t link", one, 1],
  ["scp -t link/", one, 1],
  ["scp -t link/evil", one, 1],
  ["scp -t relative/evil", one, 1],
  ["scp -t flink", one, 1],
  ["scp -t frelative", one, 1],
  ["scp -t up/evil", one, 0],
  ["scp -t d/sub/up/evil", one, 0],
  ["scp -d -t up/outside", one, 1],
  ["scp -r -t link", "D0755 0 evil\nE\n", 1],
  ["scp -r -p -t link", "T1 0 1 0\nD0777 0 evil\nE\n", 1],
  ["scp -r -p -t up", "T1 0 1 0\nD0755 0 outside\nC0644 1 secret\nx\0E\n", 0],
  // The names that come.
  ...["..", ".", "", "a/b", "../evil", "../outside/secret", "/etc/x", "d/../../evil", "a\0b", "\0", "..\0"].flatMap(
    (name) =>
      [
        ["scp -t .", `C0644 1 ${name}\nx\0`, 1],
        ["scp -r -t .", `D0755 0 ${name}\nC0644 1 evil\nx\0E\n`, 1],
        ["scp -r -t .", `D0755 0 new\nD0755 0 ${name}\n${one}E\nE\n`, 1],
        ["scp -r -t .", `D0755 0 new\nC0644 1 ${name}\nx\0E\n`, 1],
        ["scp -t new", `C0644 1 ${name}\nx\0`, 1],
      ] as const,
  ),
  // Links that are there already.
  ...["link", "flink", "relative", "frelative"].flatMap((name) =>
    [
      ["scp -t .", `C0644 1 ${name}\nx\0`, name === "relative" ? 0 : 1],
      ["scp -p -t .", `T1 0 1 0\nC0777 1 ${name}\nx\0`, name === "relative" ? 0 : 1],
      ["scp -r -t .", `D0755 0 ${name}\n${one}E\n`, 1],
      ["scp -r -p -t .", `T1 0 1 0\nD0777 0 ${name}\nE\n`, 1],
    ] as const
  ),
  ["scp -r -t .", `D0755 0 up\nD0755 0 outside\nC0644 1 secret\nx\0E\nE\n`, 0],
  ["scp -r -t .", `D0755 0 d\nD0755 0 sub\nD0755 0 up\nC0644 1 evil\nx\0E\nE\nE\n`, 0],
  // Past the top.
  ["scp -r -t .", "E\n", 1],
  ["scp -r -t .", `D0755 0 new\nE\nE\n${one}`, 1],
  ["scp -r -t d", `D0755 0 new\nE\nE\nE\nD0755 0 outside\n${one}`, 1],
  ["scp -r -t new", `D0755 0 x\nE\n${one}`, 1],
  ["scp -t new", `${one}${one}`, 1],
  ["scp -t .", "D0755 0 new\nE\n", 1],
  ["scp -r -t .", "D0755 0 d\n".repeat(70), 1],
  // Sizes and modes that lie.
  ["scp -t new", "C0644 0 f\nx\0", 1],
  ["scp -t new", "C0644 1 f\nxyz\0", 1],
  ["scp -t new", "C0644 5 f\nab", 1],
  ["scp -t new", "C0644 9007199254740991 f\nx", 1],
  ["scp -t new", "C0644 9007199254740993 f\nx", 1],
  ["scp -t new", "C0644 -1 f\nx\0", 1],
  ["scp -t new", "C0644 1e1 f\nx\0", 1],
  ["scp -t new", "C0648 1 f\nx\0", 1],
  ["scp -t new", "C6755 1 f\nx\0", 0],
  ["scp -p -t new", "T1 0 1 0\nC06755 1 f\nx\0", 0],
  ["scp -r -p -t .", "T1 0 1 0\nD6777 0 new\nC4755 1 f\nx\0E\n", 0],
  ["scp -p -t mine", "T1 0 1 0\nC6777 1 mine\nx\0", 0],
];

/** What a client asks for: nothing of it leads out. */
const thefts: readonly string[] = [
  "../outside/secret",
  "/../outside/secret",
  "d/../../outside/secret",
  "link/secret",
  "relative/secret",
  "flink",
  "frelative",
  "up/outside/secret",
  "up/../outside/secret",
  "d/sub/up/outside/secret",
  "/etc/passwd",
  "../*/secret",
  "*/secret",
  "l*/*",
  "**/secret",
  "**/sec*",
  "up/up/up/outside/*",
  "{..,link,up/..}/*/secret*",
  "-r .",
  "-r /",
  "-r ..",
  "-r link",
  "-r up",
  "-r *",
];

for (const strategy of [undefined, "named"] as const) {
  const how = strategy ?? "held", options = strategy === undefined ? {} : { strategy };

  Deno.test(`serveScp() keeps clients that send in its root (${how})`, async () => {
    assert(escapes.length > 100);
    for (const [command, bytes, code] of escapes) {
      await using dir = await prison();
      await using backend = await openRootedBackend({ root: dir.root, ...options });
      const what = `${command} ${JSON.stringify(bytes.slice(0, 99))}`, outcome = await scp(command, bytes, backend);
      await assertUntouched(dir, what);
      assertEquals(outcome.code, code, `${what}: ${JSON.stringify(outcome.said)}`);
      assert(!outcome.said.includes(dir.path), outcome.said);
    }
  });

  Deno.test(`serveScp() keeps clients that take in its root (${how})`, async () => {
    await using dir = await prison();
    await using backend = await openRootedBackend({ root: dir.root, ...options });
    for (const what of thefts) {
      const { said } = await scp(
        `scp ${what.startsWith("-r ") ? "-r -f" : "-f --"} ${what.replace("-r ", "")}`,
        "\0".repeat(99),
        backend,
      );
      assert(!said.includes("nobody") && !said.includes("root:") && !said.includes(dir.path), `${what}: ${said}`);
      assert(said.includes("\x01scp: ") || what.startsWith("-r"), `${what}: ${JSON.stringify(said)}`);
    }
    assert((await scp("scp -r -f .", "\0".repeat(99), backend)).said.includes("C0644 4 mine\nmine\0"));
    await assertUntouched(dir, "after reading");
  });
}

Deno.test("serveScp() refuses what is no command of SCP", async () => {
  await using dir = await tempDir();
  assertEquals(await serveScp(pipes().far, "id", { root: dir.path }, someone), 127);
});

Deno.test("scpUpload() and serveScp() end with their signal", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/f`, pattern(1_000_000));
  const controller = new AbortController(), { near, far } = pipes();
  const sending = scpUpload(near, `${dir.path}/f`, { signal: controller.signal });
  sending.catch(() => {});
  const serving = serveScp(far, "scp -f f", { root: dir.path }, someone, { signal: controller.signal });
  await turns();
  controller.abort(new Error("stop it"));
  await assertRejects(() => sending, Error, "stop it");
  assertEquals(await serving, 1);
});

Deno.test("serveScp() expands a pattern in a time that does not depend on its stars", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/${"a".repeat(255)}`, "");
  const expand = async () => {
    const { near, far } = pipes();
    const code = serveScp(far, "scp -f *a*a*a*a*b", { root: dir.path }, someone);
    const said = near.readable.pipeTo(new WritableStream()).catch(() => {});
    const writer = near.writable.getWriter();
    await writer.write(new Uint8Array(3)).catch(() => {});
    await writer.close().catch(() => {});
    assertEquals(await code, 1);
    await said;
  };
  // By trying all ways that the stars can stand for it takes a minute, and meanwhile nobody else is served.
  const time = await fastest(5000, expand);
  assert(time < 5000, `${time} ms`);
});

Deno.test("serveScp() ends with its signal while it expands patterns", async () => {
  let listings = 0;
  const controller = new AbortController();
  // A tree without end, as a link to its own parent is in a backend that follows it.
  const backend: SftpBackend = {
    ...nothing,
    async *readDir() {
      // Ends the test where the signal does not.
      if (++listings > 3000) throw new Deno.errors.NotFound();
      await new Promise((resolve) => setTimeout(resolve, 0));
      yield { name: "d", isFile: false, isDirectory: true, isSymlink: false, info: info(0, true) };
    },
    stat: () => info(0, true),
  };
  const { near, far } = pipes();
  const code = serveScp(far, "scp -f /**/**/**/**/x*", backend, someone, { signal: controller.signal });
  const writer = near.writable.getWriter();
  await writer.write(new Uint8Array(1));
  await until(() => listings > 3, "Nothing is listed");
  controller.abort();
  const before = listings;
  assertEquals(await inTime(code, "The end"), 1);
  await near.readable.cancel().catch(() => {});
  await writer.abort().catch(() => {});
  assert(listings <= before + 1, `${listings - before} directories were listed after the client had gone`);
});

Deno.test("serveScp() expands one pattern of a command at a time, when its turn has come", async () => {
  let listings = 0;
  const backend: SftpBackend = {
    ...nothing,
    async *readDir() {
      listings++;
      for (let i = 0; i < 10; i++) {
        yield { name: `f${i}`, isFile: true, isDirectory: false, isSymlink: false, info: info(0) };
      }
    },
    stat: (path) => info(0, path === "/"),
  };
  const { near, far } = pipes();
  // 256 KiB of it would be 130,000 patterns, each a list of all there is.
  const code = serveScp(far, `scp -f ${"* ".repeat(500)}`, backend, someone);
  const writer = near.writable.getWriter(), reader = near.readable.getReader();
  await turns(20);
  assertEquals(listings, 0, "patterns were expanded before the client had said a word");
  await writer.write(new Uint8Array(1));
  await reader.read();
  await turns(20);
  const before = listings;
  await writer.close();
  await reader.cancel();
  await code;
  assert(before >= 1 && before <= 2, `${before} patterns were expanded when the first file was offered`);
});

Deno.test("serveScp() lists no further when its signal aborts in the middle of a pattern", async () => {
  for (const [command, isWide] of [["scp -f /**/x*", false], ["scp -f *", true]] as const) {
    let listed = 0;
    const controller = new AbortController();
    // A tree without end, or a directory without one.
    const backend: SftpBackend = {
      ...nothing,
      async *readDir() {
        for (let i = 0; (isWide || i < 9) && listed < 100_000; i++) {
          if (++listed % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
          yield entry(`d${i}`, true);
        }
      },
      stat: () => info(0, true),
    };
    const { near, far } = pipes();
    const code = serveScp(far, command, backend, someone, { signal: controller.signal });
    const writer = near.writable.getWriter();
    await writer.write(new Uint8Array(1));
    await until(() => listed > 50, `${command}: nothing is listed`);
    controller.abort();
    const before = listed;
    assertEquals(await inTime(code, "The end"), 1, command);
    assert(listed <= before + 50, `${command}: ${before} before, ${listed - before} after`);
    await near.readable.cancel().catch(() => {});
    await writer.abort().catch(() => {});
  }
});

Deno.test("serveScp() looks at so many names for a command, and not more", async () => {
  let listed = 0;
  const backend: SftpBackend = {
    ...nothing,
    async *readDir() {
      for (; listed < 1_000_000; listed++) yield entry(`f${listed}`);
    },
    stat: (path) => info(0, path === "/"),
  };
  for (const command of ["scp -f x*", "scp -f x* y* z*", "scp -f {a,b,c,d}* {a,b}{a,b}*"]) {
    listed = 0;
    const { code, said } = await scp(command, "\0\0\0", backend);
    assertEquals(code, 1);
    assert(listed <= 262_144, `${listed} names`);
    assert(/: Argument list too long\n$/.test(said), said);
  }
  const { said } = await scp(`scp -f *${"{a,b}".repeat(20)}`, "\0", backend);
  assert(/: Argument list too long\n$/.test(said), said);
});

Deno.test("serveScp() sends what a pattern finds", async () => {
  await using dir = await tempDir();
  for (const name of ["a.txt", "b.txt", "c.md", ".d.txt"]) await Deno.writeTextFile(`${dir.path}/${name}`, name);
  const names = async (pattern: string): Promise<string[]> => {
    const { said } = await scp(`scp -f ${pattern}`, "\0".repeat(9), { root: dir.path });
    return Array.from(said.matchAll(/C0\d+ \d+ (.+)\n/g), ([, name]) => name!).sort();
  };
  assertEquals(await names("*.txt"), ["a.txt", "b.txt"]);
  assertEquals(await names("/[!a]* a*"), ["a.txt", "b.txt", "c.md"]);
  assertEquals(await names("'c.md' x*"), ["c.md"]);
  // What is quoted stands for itself.
  await Deno.mkdir(`${dir.path}/q`);
  const odd = ["x[1].md", "x1.md", "{a,b}.md", "a.md", "s*r.md", "star.md", "w\\v.md"];
  for (const name of odd) await Deno.writeTextFile(`${dir.path}/q/${name}`, name);
  for (const pattern of ["'q/x[1]'*", '"q/x[1]".m?', "q/x\\[1]*", "~/'q/x[1]'*"]) {
    assertEquals(await names(pattern), ["x[1].md"], pattern);
  }
  assertEquals(await names("q/x[1]*"), ["x1.md"]);
  assertEquals(await names("'q/{a,b}'*"), ["{a,b}.md"]);
  assertEquals(await names("q/'s*r'*"), ["s*r.md"]);
  assertEquals(await names("q/'w\\v'*"), ["w\\v.md"]);
});

Deno.test("serveScp() keeps no more of a client's errors than it can tell", async () => {
  await using dir = await tempDir();
  const { near, far } = pipes();
  const code = serveScp(far, "scp -t .", { root: dir.path }, someone);
  const said = near.readable.pipeTo(new WritableStream()).catch(() => {});
  const writer = near.writable.getWriter(), chunk = text.encode("\x01x\n".repeat(10_000));
  const before = await holdings();
  for (let i = 0; i < 5; i++) await writer.write(chunk);
  await turns();
  const after = await holdings();
  await writer.close();
  await code;
  await said;
  const grown = after.memory - before.memory;
  assert(grown < 4_000_000, `150 KB of errors are ${Math.round(grown / 1e6)} MB here`);
});

Deno.test("serveScp() closes its file when the client is lost in the middle of it", async () => {
  await using dir = await tempDir();
  const before = openFiles(), controller = new AbortController(), { near, far } = pipes();
  const code = serveScp(far, "scp -t g", { root: dir.path }, someone, { signal: controller.signal });
  const said = near.readable.pipeTo(new WritableStream()).catch(() => {});
  const writer = near.writable.getWriter();
  await writer.write(text.encode("C0644 1000000 g\nabc"));
  await turns();
  controller.abort();
  assertEquals(await inTime(code, "The end"), 1);
  await writer.abort().catch(() => {});
  await said;
  assert(openFiles() <= before + 1, `${openFiles() - before} files more are open`);
});

Deno.test("serveScp() ends with its signal while the client takes nothing, and closes its file", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/f`, new Uint8Array(3_000_000));
  const before = openFiles(), controller = new AbortController(), { near, far } = pipes();
  const code = serveScp(far, "scp -f f", { root: dir.path }, someone, { signal: controller.signal });
  const writer = near.writable.getWriter(), reader = near.readable.getReader();
  const sent = writer.write(new Uint8Array(2)).catch(() => {});
  // A line and a block.
  for (let i = 0; i < 2; i++) await reader.read();
  await sent;
  await turns();
  controller.abort();
  assertEquals(await inTime(code, "The end"), 1);
  const files = openFiles();
  await reader.cancel().catch(() => {});
  await writer.abort().catch(() => {});
  assert(files <= before + 1, `${files - before} files more are open`);
});

Deno.test("serveScp() in read-only mode changes nothing", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/d`, { mode: 0o750 });
  await Deno.writeTextFile(`${dir.path}/f`, "old", { mode: 0o640 });
  await Deno.utime(dir.path, 5, 5);
  for (
    const [command, bytes] of [
      ["scp -t /f", "C0777 3 f\nnew\0"],
      ["scp -p -t /f", "T7 0 7 0\nC0777 3 f\nnew\0"],
      ["scp -t /new", "C0777 3 f\nnew\0"],
      ["scp -t /d", "C0777 3 f\nnew\0"],
      ["scp -r -t /", "D0777 0 new\nE\n"],
      ["scp -r -p -t /", "T7 0 7 0\nD0777 0 d\nE\n"],
      ["scp -r -p -d -t /", "T7 0 7 0\nD0777 0 d\nC0777 1 x\nx\0E\n"],
    ] as const
  ) {
    const { code, said } = await scp(command, bytes, { root: dir.path, readOnly: true });
    assertEquals(code, 1, command);
    assert(/permission denied/i.test(said), `${command}: ${JSON.stringify(said)}`);
  }
  assertEquals(await Deno.readTextFile(`${dir.path}/f`), "old");
  assertEquals(Array.from(Deno.readDirSync(dir.path), ({ name }) => name).sort(), ["d", "f"]);
  assertEquals(Array.from(Deno.readDirSync(`${dir.path}/d`)), []);
  assertEquals((await Deno.stat(`${dir.path}/d`)).mode! & 0o777, 0o750);
  assertEquals((await Deno.stat(dir.path)).mtime, new Date(5000));
});

Deno.test("serveScp() says what went wrong, by names and held", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/d`);
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  for (const strategy of [undefined, "named"] as const) {
    await using backend = await openRootedBackend({ root: dir.path, ...(strategy === undefined ? {} : { strategy }) });
    for (
      const [command, bytes, why] of [
        ["scp -t /none/x", "C0644 1 x\nx\0", /no such file|not found/i],
        ["scp -t /f/x", "C0644 1 x\nx\0", /no such file|not a directory/i],
        [`scp -t /${"n".repeat(300)}`, "C0644 1 x\nx\0", /name too long|bad message/i],
        ["scp -d -t /f", "C0644 1 x\nx\0", /not a directory/i],
        ["scp -f /none", "\0\0", /no such file/i],
        ["scp -f /d", "\0\0", /directory/i],
        ["scp -f [z-a]*", "\0\0", /no such file/i],
      ] as const
    ) {
      const { code, said } = await scp(command, bytes, backend);
      assertEquals(code, 1, command);
      assert(why.test(said), `${command} (${strategy ?? "held"}): ${JSON.stringify(said)}`);
      assert(!said.includes(dir.path), said);
      // It is read by a user of scp, who has no options of this module.
      assert(!said.includes("recursive: true"), said);
    }
  }
});

Deno.test("serveScp() names what went wrong as scp does", async () => {
  const { errors } = Deno;
  for (
    const [error, why] of [
      [new errors.NotFound("/host/path"), "No such file or directory"],
      [new errors.PermissionDenied("/host/path"), "Permission denied"],
      [new errors.IsADirectory("/host/path"), "Is a directory"],
      [new errors.AlreadyExists("/host/path"), "File exists"],
      [Object.assign(new Error("/host/path"), { code: "ENOSPC" }), "No space left on device"],
      [Object.assign(new Error("/host/path"), { code: "EDQUOT" }), "Disk quota exceeded"],
      [Object.assign(new Error("/host/path"), { code: "constructor" }), "Failure"],
      [new TypeError("/host/path"), "Failure"],
      ["/host/path", "Failure"],
      [undefined, "Failure"],
      [new SftpError("No such file", 2), "No such file or directory"],
      [new SftpError("Your quota is 5 files", 4), "Your quota is 5 files"],
    ] as const
  ) {
    const fail = (): never => {
      throw error;
    };
    const there = { ...nothing, stat: (path: string) => info(0, path === "/"), open: fail };
    for (const command of ["scp -f /dir/f", "scp -t /"]) {
      const { code, said } = await scp(command, command === "scp -t /" ? "C0644 0 f\n" : "\0", there);
      assertEquals(code, 1);
      assertEquals(said.replace(/^\0/, ""), `\x01scp: ${command === "scp -t /" ? "/f" : "/dir/f"}: ${why}\n`);
    }
    const { said } = await scp("scp -r -t /", "D0755 0 d\n", { ...nothing, stat: there.stat, mkdir: fail });
    assertEquals(said, `\0\x02scp: /d: ${why}\n`);
  }
});

Deno.test("serveScp() tells onError of mistakes in a backend, wherever they are, and of nothing else", async () => {
  const bug = new TypeError("Cannot read properties of undefined"), full = new Deno.errors.Busy();
  const file: SftpBackendFile = {
    readAt: () => 0,
    writeAt: () => {},
    stat: () => info(1),
    setStat: () => {},
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const whole: SftpBackend = {
    ...nothing,
    stat(path) {
      if (path === "/new") throw new Deno.errors.NotFound();
      return info(1, path === "/" || path === "/d");
    },
    open: () => file,
    mkdir: () => {},
    setStat: () => {},
  };
  for (const error of [bug, full]) {
    const fail = (): never => {
      throw error;
    };
    const later = (): Promise<never> => Promise.reject(error);
    const upload = "T1 0 1 0\nC0644 1 f\nx\0";
    for (
      const [command, bytes, backend] of [
        ["scp -f f", "\0\0\0", { ...whole, stat: fail }],
        ["scp -f f", "\0\0\0", { ...whole, open: later }],
        ["scp -f f", "\0\0\0", { ...whole, open: () => ({ ...file, readAt: later }) }],
        ["scp -f f", "\0\0\0", { ...whole, open: () => ({ ...file, [Symbol.asyncDispose]: later }) }],
        ["scp -r -f d", "\0\0\0\0", { ...whole, readDir: fail }],
        ["scp -r -f d", "\0\0\0\0", { ...whole, readDir: () => ({ [Symbol.asyncIterator]: () => ({ next: later }) }) }],
        ["scp -f *", "\0\0\0\0", { ...whole, readDir: fail }],
        ["scp -t f", upload, { ...whole, stat: later }],
        ["scp -t f", upload, { ...whole, open: fail }],
        ["scp -t f", upload, { ...whole, open: () => ({ ...file, writeAt: fail }) }],
        ["scp -p -t f", upload, { ...whole, open: () => ({ ...file, setStat: later }) }],
        ["scp -t f", upload, { ...whole, open: () => ({ ...file, [Symbol.asyncDispose]: later }) }],
        ["scp -t f", "C0644 5 f\nx", { ...whole, open: () => ({ ...file, [Symbol.asyncDispose]: later }) }],
        ["scp -r -t /", "D0755 0 new\nE\n", { ...whole, mkdir: fail }],
        ["scp -r -p -t /", "T1 0 1 0\nD0755 0 d\nE\n", { ...whole, setStat: later }],
      ] as const
    ) {
      const told: unknown[] = [];
      const { said } = await scp(command, bytes, backend as SftpBackend, { onError: (error) => told.push(error) });
      assertEquals(told, error === bug ? [bug] : [], `${command} ${Deno.inspect(backend)}: ${said}`);
      assert(!said.includes(bug.message));
    }
  }
  // A client that leaves, breaks the protocol or sends errors is none.
  for (const bytes of ["", "\0", "\x02bye\n", "x", "\x01no\n"]) {
    for (const command of ["scp -f f", "scp -t f"]) {
      const told: unknown[] = [];
      await scp(command, bytes, whole, { onError: (error) => told.push(error) });
      assertEquals(told, [], command);
    }
  }
});

Deno.test("serveScp() goes on when onError throws or rejects, and exits as it would", async () => {
  const bug = new TypeError("mine");
  const stat = (): never => {
    throw bug;
  };
  const fails: (() => void)[] = [stat, () => Promise.reject(bug) as unknown as void];
  for (const fail of fails) {
    let told = 0;
    const broken: SftpBackend = { ...nothing, stat };
    const { code } = await scp("scp -f f", "\0", broken, {
      onError: () => {
        told++;
        return fail();
      },
    });
    assertEquals([code, told > 0], [1, true]);
  }
});

Deno.test("scpHandler() tells the server's onError of a mistake in the backend", async () => {
  const bug = new TypeError("Cannot read properties of undefined"), told: unknown[] = [];
  const open = (): never => {
    throw bug;
  };
  const { host } = await testKeys();
  await using server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await parsePrivateKey(host.ed25519.text)],
    auth: { none: () => true },
    handler: scpHandler({ ...nothing, stat: () => info(5), open }),
    onError: (error) => told.push(error),
  });
  await using client = await connect({
    hostname: "127.0.0.1",
    port: server.addr.port,
    username: "tester",
    auth: [none()],
    verifyHostKey: insecureAcceptAnyHostKey(),
  });
  await assertRejects(() => client.scp.download("/a", "/nowhere/a"), SftpError, "/a: Failure");
  assertEquals(told, [bug]);
});

Deno.test("serveScp() sets times by setStat() of the file, of the backend, or by its name in lower case", async () => {
  const file: SftpBackendFile = {
    readAt: () => 0,
    writeAt: () => {},
    stat: () => info(0),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const there = { ...nothing, stat: (path: string) => info(0, path !== "/f"), open: () => file };
  for (const kind of ["file", "setStat", "setstat"]) {
    const calls: unknown[] = [];
    const setStat = (path: string, attrs: unknown): void => void calls.push([path, attrs]);
    const backend: SftpBackend = kind === "file"
      ? { ...there, open: (path) => ({ ...file, setStat: (attrs) => setStat(path, attrs) }) }
      : { ...there, [kind]: setStat };
    assertEquals((await scp("scp -p -t /", "T5 0 6 0\nC0640 0 f\n\0", backend)).code, 0);
    assertEquals(calls, [["/f", { mode: 0o640, mtime: 5, atime: 6 }]], kind);
    if (kind === "file") continue;
    assertEquals((await scp("scp -r -p -t /", "T5 0 6 0\nD0750 0 d\nE\n", backend)).code, 0);
    assertEquals(calls[1], ["/d", { mode: 0o750, mtime: 5, atime: 6 }], kind);
  }
  // One that keeps none takes the file all the same.
  assertEquals((await scp("scp -p -t /", "T5 0 6 0\nC0640 0 f\n\0", there)).code, 0);
});

Deno.test("scpUpload() keeps the first of many errors, and their count", async () => {
  await using dir = await tempDir();
  for (let i = 0; i < 300; i++) Deno.writeFileSync(`${dir.path}/${i}`, new Uint8Array());
  const { near, far } = pipes(), writer = far.writable.getWriter();
  const drained = far.readable.pipeTo(new WritableStream()).catch(() => {});
  const answers = writer.write(text.encode("\0\0" + "\x01scp: full\n".repeat(300) + "\0")).catch(() => {});
  const error = await assertRejects(() => scpUpload(near, dir.path, { recursive: true }), SftpError, "300 failed");
  assert(error.cause instanceof AggregateError);
  assertEquals(error.cause.errors.length, 100);
  await Promise.all([answers, drained]);
});

Deno.test("scpDownload() takes the root of a server", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/root`);
  await Deno.writeTextFile(`${dir.path}/root/f`, "x");
  for (const path of ["/", "."]) {
    const { near, far } = pipes();
    const code = serveScp(far, scpCommand("from", path, { recursive: true }), { root: `${dir.path}/root` }, someone);
    assertEquals(await scpDownload(near, path, `${dir.path}/copy`, { recursive: true }), {
      files: 1,
      bytes: 1,
      warnings: [],
    });
    assertEquals([await code, await Deno.readTextFile(`${dir.path}/copy/f`)], [0, "x"]);
    await Deno.remove(`${dir.path}/copy`, { recursive: true });
  }
});
