/** SCP, client and server, and those who cheat. security.md rows 134 and 135 for SCP. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { SftpError, SshProtocolError } from "../../lib/errors.ts";
import { scpDownload, scpUpload, serveScp } from "../../lib/sftp/scp.ts";
import { parseScpCommand, scpCommand } from "../../lib/sftp/scp_command.ts";
import { parseControl } from "../../lib/sftp/scp_stream.ts";
import type { SftpChannel } from "../../lib/sftp/requests.ts";
import { dice, isMissing, pattern, pipes, sha256, someone, tempDir } from "./_support.ts";

const SCP = "/usr/bin/scp", text = new TextEncoder();

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
        assertEquals(await scpUpload(peer.channel, `${dir.path}/src/sub/large`), { files: 1, bytes: 3_000_001 });
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
      paths: [{ text: shown, glob: false }],
    }, command);
  }
  assertEquals(parseScpCommand("scp -v -f /a/*.txt b")!.paths, [{ text: "/a/*.txt", glob: true }, {
    text: "b",
    glob: false,
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
  assertEquals(await cheated("C6755 1 .bashrc\nx\0", `${dir.path}/down`, false), { files: 1, bytes: 1 });
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

Deno.test("serveScp() keeps clients in its root", async () => {
  await using dir = await tempDir();
  const root = `${dir.path}/root`;
  await Deno.mkdir(root);
  await Deno.mkdir(`${dir.path}/outside`);
  await Deno.symlink(`${dir.path}/outside`, `${root}/link`);
  for (
    const [command, bytes] of [
      ["scp -t ../evil", "C0644 1 f\nx\0"],
      ["scp -t .", "C0644 1 ../evil\nx\0"],
      ["scp -t link", "C0644 1 evil\nx\0"],
      ["scp -t link/evil", "C0644 1 evil\nx\0"],
      ["scp -r -t .", "D0755 0 link\nC0644 1 evil\nx\0E\n"],
      ["scp -r -t .", "D0755 0 ..\nC0644 1 evil\nx\0E\n"],
    ] as const
  ) {
    const { near, far } = pipes(), code = serveScp(far, command, { root }, someone);
    const writer = near.writable.getWriter();
    const drained = near.readable.pipeTo(new WritableStream()).catch(() => {});
    await writer.write(text.encode(bytes)).catch(() => {});
    await writer.close().catch(() => {});
    await code;
    await drained;
    assertEquals(Array.from(Deno.readDirSync(`${dir.path}/outside`)), [], command);
    assertEquals(Array.from(Deno.readDirSync(dir.path), (entry) => entry.name).sort(), ["outside", "root"], command);
  }
  assertEquals(await serveScp(pipes().far, "id", { root }, someone), 127);
});

Deno.test("scpUpload() and serveScp() end with their signal", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/f`, pattern(1_000_000));
  const controller = new AbortController(), { near, far } = pipes();
  const sending = scpUpload(near, `${dir.path}/f`, { signal: controller.signal });
  sending.catch(() => {});
  const serving = serveScp(far, "scp -f f", { root: dir.path }, someone, { signal: controller.signal });
  await new Promise((resolve) => setTimeout(resolve, 20));
  controller.abort(new Error("stop it"));
  await assertRejects(() => sending, Error, "stop it");
  assertEquals(await serving, 1);
});
