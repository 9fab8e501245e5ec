/** OpenSSH's clients on our server, run as `sftp -D` and `scp -D` run a server. */
import { assert, assertEquals } from "@std/assert";
import { isMissing, pattern, sha256, tempDir } from "../_support/sftp_peers.ts";

const SFTP = "/usr/bin/sftp", SCP = "/usr/bin/scp";

/** A program that serves a root on standard input and output. */
async function program(path: string, root: string, ...flags: string[]): Promise<string> {
  const script = new URL("../_support/stdio_server.ts", import.meta.url).pathname;
  const words = ["run", "-A", "--quiet", "--no-check", script, root, ...flags].map((word) => `'${word}'`).join(" ");
  await Deno.writeTextFile(path, `#!/bin/sh\nexec '${Deno.execPath()}' ${words}\n`, { mode: 0o755 });
  return path;
}

async function sftp(
  server: string,
  commands: string[],
  cwd: string,
): Promise<{ code: number; out: string; err: string }> {
  const child = new Deno.Command(SFTP, {
    args: ["-q", "-D", server, "-b", "-"],
    cwd,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(commands.join("\n") + "\n"));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

for (const flags of [[], ["--named"]]) {
  Deno.test({
    name: `OpenSSH's sftp does everything it can on our server ${flags}`,
    ignore: isMissing(SFTP),
    async fn() {
      await using dir = await tempDir();
      const root = `${dir.path}/root`;
      await Deno.mkdir(root);
      await Deno.mkdir(`${dir.path}/tree/sub`, { recursive: true });
      await Deno.writeFile(`${dir.path}/large`, pattern(6_000_001));
      await Deno.writeFile(`${dir.path}/tree/one`, pattern(1));
      await Deno.writeFile(`${dir.path}/tree/sub/a b`, pattern(40_000));
      await Deno.writeFile(`${root}/big2`, pattern(6_000_001).subarray(0, 2_500_000));
      const server = await program(`${dir.path}/server`, root, ...flags);
      const { code, out, err } = await sftp(server, [
        "put large",
        "get large back",
        "put -rp tree",
        "get -rp tree tree2",
        "rename large big",
        "ln -s big soft",
        "ln big hard",
        "chmod 600 big",
        "mkdir made",
        "rmdir made",
        "copy big copied",
        "get soft followed",
        "df .",
        "pwd",
        "cd tree/sub",
        "pwd",
        "ls -l",
        "cd /",
        "-ls nothing",
        "-get ../../../etc/passwd stolen",
        "reput large big2",
        "rm hard",
        "ls -1",
      ], dir.path);
      assertEquals(code, 0, err);
      assert(out.includes("Remote working directory: /\n") && out.includes("Remote working directory: /tree/sub"));
      for (const copy of ["back", "followed", "root/big", "root/copied", "root/big2"]) {
        assertEquals(await sha256(`${dir.path}/${copy}`), await sha256(`${dir.path}/large`), copy);
      }
      for (const file of ["one", "sub/a b"]) {
        assertEquals(await sha256(`${dir.path}/tree2/${file}`), await sha256(`${dir.path}/tree/${file}`));
      }
      assertEquals(Array.from(Deno.readDirSync(root), (e) => e.name).sort(), ["big", "big2", "copied", "soft", "tree"]);
      assertEquals((await Deno.stat(`${root}/big`)).mode! & 0o777, 0o600);
      assertEquals(Array.from(Deno.readDirSync(dir.path), (e) => e.name).includes("stolen"), false);
    },
  });
}

Deno.test({
  name: "OpenSSH's scp over SFTP copies trees to and from our server",
  ignore: isMissing(SCP),
  async fn() {
    await using dir = await tempDir();
    const root = `${dir.path}/root`;
    await Deno.mkdir(root);
    await Deno.mkdir(`${dir.path}/tree/sub`, { recursive: true });
    await Deno.writeFile(`${dir.path}/tree/large`, pattern(3_000_000));
    await Deno.writeFile(`${dir.path}/tree/sub/g`, pattern(5));
    const server = await program(`${dir.path}/server`, root);
    const scp = async (...args: string[]): Promise<void> => {
      const { code, stderr } = await new Deno.Command(SCP, { args: ["-q", "-D", server, ...args] }).output();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
    };
    await scp("-rp", `${dir.path}/tree`, "host:/copy");
    await scp("-rp", "host:copy", `${dir.path}/back`);
    for (const file of ["large", "sub/g"]) {
      assertEquals(await sha256(`${root}/copy/${file}`), await sha256(`${dir.path}/tree/${file}`));
      assertEquals(await sha256(`${dir.path}/back/${file}`), await sha256(`${dir.path}/tree/${file}`));
    }
  },
});

Deno.test({
  name: "OpenSSH's sftp is refused every change in read-only mode",
  ignore: isMissing(SFTP),
  async fn() {
    await using dir = await tempDir();
    await Deno.mkdir(`${dir.path}/root`);
    await Deno.writeTextFile(`${dir.path}/root/f`, "x");
    const server = await program(`${dir.path}/server`, `${dir.path}/root`, "--read-only");
    const commands = ["-put server", "-rm f", "-mkdir d", "-rename f g", "-chmod 777 f", "-ln -s f l", "get f"];
    const { code, err } = await sftp(server, commands, dir.path);
    assertEquals(code, 0);
    assertEquals(err.match(/permission denied/gi)?.length, 6, err);
    assertEquals(Array.from(Deno.readDirSync(`${dir.path}/root`), (e) => e.name), ["f"]);
  },
});
