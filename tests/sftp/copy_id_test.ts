/** `copyId()`: what stands in authorized_keys of the far end afterwards, by SFTP and by a shell, and what never leaves. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  copyId,
  type CopyIdOptions,
  exportPublicKey,
  generateKey,
  KeyFormatError,
  publicKeyLine,
  type ServerSession,
  type SftpBackend,
  SftpError,
  sftpSubsystem,
  type SshClient,
  SshError,
  withCertificate,
} from "../../mod.ts";
import { signCertificate } from "../../lib/keys/mod.ts";
import { memoryFiles as memoryFilesOf } from "../../lib/testing/mod.ts";
import { fileNode, memoryFiles, refusing } from "../_support/refusing_server.ts";
import { tempDir } from "../_support/sftp_peers.ts";
import { join, type Joined, text } from "../_support/joined.ts";
import { inTime, until } from "../_support/until.ts";

const [key, other] = await Promise.all([
  generateKey("ed25519", { comment: "me at desk" }),
  generateKey(),
]);
const line = `${publicKeyLine(key.publicKey, "me at desk")}\n`, otherLine = `${publicKeyLine(other.publicKey)}\n`;
const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

/** A client of a server with these files. */
function withFiles(root: string | SftpBackend): Promise<Joined> {
  return join({ subsystems: { sftp: sftpSubsystem(typeof root === "string" ? { root } : root) } });
}

async function modes(...paths: string[]): Promise<string[]> {
  return await Promise.all(paths.map(async (path) => ((await Deno.stat(path)).mode! & 0o7777).toString(8)));
}

Deno.test("copyId() makes the folder and the file for the user alone, and adds a key once", async () => {
  await using dir = await tempDir();
  await using joined = await withFiles(dir.path);
  const { client } = joined, folder = `${dir.path}/.ssh`, file = `${folder}/authorized_keys`;
  assertEquals(await copyId(client, key), true);
  assertEquals(await modes(folder, file), ["700", "600"]);
  assertEquals(await Deno.readTextFile(file), line);
  // In whatever form it comes, and whatever stands behind it.
  const certified = withCertificate(
    key,
    await signCertificate(other, key.publicKey, { kind: "user", validAfter: new Date(0), validBefore: null }),
  );
  for (
    const again of [
      key,
      key.publicKey,
      line,
      bytes(line),
      publicKeyLine(key.publicKey, "another comment"),
      exportPublicKey(key.publicKey, { format: "rfc4716" }),
      exportPublicKey(key.publicKey, { format: "spki" }),
      certified,
    ]
  ) assertEquals(await copyId(client, again, { options: "restrict" }), false);
  assertEquals(await Deno.readTextFile(file), line);
  assertEquals(
    await copyId(client, other.publicKey, { options: 'restrict,command="echo \\"hi\\""', comment: "é 'x'" }),
    true,
  );
  const added = `restrict,command="echo \\"hi\\"" ${publicKeyLine(other.publicKey, "é 'x'")}\n`;
  assertEquals(await Deno.readTextFile(file), line + added);
  assertEquals(await copyId(client, other, { file: "~/elsewhere/keys" }), true);
  assertEquals(await Deno.readTextFile(`${dir.path}/elsewhere/keys`), otherLine);
  assertEquals(await copyId(client, other, { file: "/elsewhere/keys" }), false);
  assertEquals(joined.errors, []);
});

Deno.test("copyId() changes nothing of what is in the file, nor its permissions, and sees the key behind options", async () => {
  await using dir = await tempDir();
  await using joined = await withFiles(dir.path);
  await Deno.mkdir(`${dir.path}/.ssh`, { mode: 0o755 });
  const file = `${dir.path}/.ssh/authorized_keys`, own = publicKeyLine(key.publicKey);
  for (
    const [before, isAdded] of [
      ["", true],
      ["\n", true],
      [otherLine, true],
      [otherLine.trim(), true],
      [`# \xff\xfe\n${otherLine.trim()} no newline`, true],
      [`#${own}\n`, true],
      [`cert-authority ${own}\n`, true],
      [`command="${own}" ${otherLine}`, true],
      [own, false],
      [`${otherLine}restrict,pty ${own} somebody\r\n`, false],
      [`  ${own}\n${otherLine}`, false],
      // What it says of the key is not understood here, and must not be undone.
      [`brand-new-option="5" ${own}\n`, false],
    ] as const
  ) {
    const there = Uint8Array.from(before, (character) => character.charCodeAt(0));
    await Deno.writeFile(file, there);
    await Deno.chmod(file, 0o640);
    assertEquals(await copyId(joined.client, key), isAdded, before);
    const after = await Deno.readFile(file), gap = before === "" || before.endsWith("\n") ? "" : "\n";
    assertEquals(after, isAdded ? new Uint8Array([...there, ...bytes(gap + line)]) : there, before);
    assertEquals(await modes(`${dir.path}/.ssh`, file), ["755", "640"]);
  }
});

Deno.test("copyId() adds the key of a certificate authority once, beside a line that lets in the key itself", async () => {
  const node = memoryFilesOf({ ".ssh/authorized_keys": line });
  await using joined = await withFiles(node);
  const { client } = joined, options = 'cert-authority,principals="alice"';
  assertEquals(await copyId(client, key, { options }), true);
  assertEquals(await copyId(client, key, { options }), false);
  assertEquals(await copyId(client, key), false);
  assertEquals(node.text("/.ssh/authorized_keys"), `${line}${options} ${line}`);
});

Deno.test("copyId() adds through a link to a file, and makes nothing where a link leads to nothing", async () => {
  await using dir = await tempDir();
  await using joined = await withFiles(dir.path);
  await Deno.mkdir(`${dir.path}/real`);
  await Deno.writeTextFile(`${dir.path}/real/keys`, otherLine);
  await Deno.symlink("real", `${dir.path}/.ssh`);
  await Deno.symlink("keys", `${dir.path}/real/authorized_keys`);
  assertEquals(await copyId(joined.client, key), true);
  assertEquals(await Deno.readTextFile(`${dir.path}/real/keys`), otherLine + line);
  assertEquals(await Deno.readLink(`${dir.path}/real/authorized_keys`), "keys");
  await Deno.remove(`${dir.path}/real/keys`);
  await assertRejects(() => copyId(joined.client, key), SftpError, "is a link, and nothing is where it leads");
  await assertRejects(() => Deno.stat(`${dir.path}/real/keys`), Deno.errors.NotFound);
  await Deno.remove(`${dir.path}/real/authorized_keys`);
  await Deno.mkdir(`${dir.path}/real/authorized_keys`);
  await assertRejects(() => copyId(joined.client, key), SftpError);
});

Deno.test("copyId() refuses private keys and what makes no sense, and nothing is sent", async () => {
  let asked = 0;
  const told = (): void => void asked++;
  await using joined = await join({ handler: told, subsystems: { sftp: told } });
  const { client } = joined;
  const secrets = await Promise.all(
    (["openssh", "pkcs8", "putty", "jwk"] as const).map((format) => other.export({ format })),
  );
  for (const secret of [...secrets, bytes(secrets[0]!), `\n${secrets[0]}`]) {
    const error = await assertRejects(() => copyId(client, secret), KeyFormatError);
    assertStringIncludes(error.message, "private key");
    for (const part of text(typeof secret === "string" ? bytes(secret) : secret).match(/[A-Za-z0-9+/_-]{30,}/g) ?? []) {
      assert(!error.message.includes(part), error.message);
    }
  }
  for (
    const bad of [
      "",
      "ssh-ed25519",
      "~/.ssh/id_ed25519.pub",
      `${line}${otherLine}`,
      `restrict ${line}`,
      "ssh-ed25519 AAAA",
    ]
  ) {
    await assertRejects(() => copyId(client, bad), KeyFormatError);
  }
  // deno-lint-ignore no-explicit-any
  const loose = copyId as any;
  for (const bad of [undefined, null, 5, {}, [line], Promise.resolve(line), new URL("file:///k.pub")]) {
    await assertRejects(() => loose(client, bad), TypeError, "Cannot");
  }
  for (
    const bad of [
      5,
      null,
      "restrict",
      { options: 5 },
      { options: "restrict\n" },
      { options: `${otherLine}restrict` },
      { options: "#" },
      { options: "no-such-option" },
      { options: 'command="open' },
      { options: "restrict " + publicKeyLine(other.publicKey) },
      { comment: "a\nb" },
      { comment: 5 },
      { file: "" },
      { file: "a\nb" },
      { file: "folder/" },
      { file: ".." },
      { file: 5 },
      { path: ".ssh/x" },
      { signal: 5 },
    ]
  ) await assertRejects(() => loose(client, key, bad), TypeError, "Cannot", Deno.inspect(bad));
  await assertRejects(() => loose(undefined, key), TypeError, "`client`");
  await assertRejects(() => copyId(client, key, { signal: AbortSignal.abort(new Error("early")) }), Error, "early");
  assertEquals(asked, 0);
});

Deno.test("copyId() writes a key of others' making by what its bytes say", async () => {
  await using dir = await tempDir();
  await using joined = await withFiles(dir.path);
  const { publicKey } = key;
  const forged = {
    type: `ssh-ed25519\n${otherLine}`,
    blob: publicKey.blob,
    fingerprint: () => publicKey.fingerprint(),
    verify: () => Promise.resolve(false),
    toString: () => "nothing",
    comment: `x\n${otherLine}\u001b[2J`,
  };
  assertEquals(await copyId(joined.client, forged), true);
  const lines = (await Deno.readTextFile(`${dir.path}/.ssh/authorized_keys`)).split("\n");
  assertEquals([lines.length, lines[1]], [2, ""]);
  assert(lines[0]!.startsWith(publicKeyLine(publicKey)) && !lines[0]!.includes("\u001b"));
});

Deno.test("copyId() tells what the server refuses, and never that a key is there that is not", async () => {
  const folder = { kind: "directory", mode: 0o700, mtime: 0, atime: 0 } as const;
  const denied = (): never => {
    throw new Deno.errors.PermissionDenied("No");
  };
  /** A server, and what became of the file there. */
  const outcome = async (change: (backend: SftpBackend) => Partial<SftpBackend>, before: string | null = otherLine) => {
    const { backend, nodes } = memoryFiles();
    if (before !== null) {
      nodes.set("/.ssh", { ...folder });
      nodes.set("/.ssh/authorized_keys", fileNode(bytes(before)));
    }
    await using joined = await withFiles({ ...backend, ...change(backend) });
    const result = await copyId(joined.client, key).then((added) => added, (error) => error);
    const node = nodes.get("/.ssh/authorized_keys");
    return [result instanceof Error ? result.constructor : result, node?.kind === "file" ? text(node.data) : null];
  };
  assertEquals(await outcome(() => ({})), [true, otherLine + line]);
  // A server that keeps no attributes has the file all the same, and one that does not know how to append.
  assertEquals(await outcome(() => ({ setStat: denied }), null), [true, line]);
  const noAppend = ({ open }: SftpBackend): Partial<SftpBackend> => ({
    open(path, options, who) {
      if (options.append) throw new Deno.errors.NotSupported("No");
      return open(path, options, who);
    },
  });
  assertEquals(await outcome(noAppend), [true, otherLine + line]);
  assertEquals(await outcome(() => ({ mkdir: denied }), null), [SftpError, null]);
  for (const what of ["append", "createNew", "read"] as const) {
    const change = ({ open }: SftpBackend): Partial<SftpBackend> => ({
      open: (path, options, who) => options[what] ? denied() : open(path, options, who),
    });
    const before = what === "createNew" ? null : otherLine;
    assertEquals(await outcome(change, before), [SftpError, before]);
  }
  // A full disk, and one that says nothing of it.
  for (const write of [denied, () => {}]) {
    const change = ({ open }: SftpBackend): Partial<SftpBackend> => ({
      open: async (path, options, who) => {
        const file = await open(path, options, who);
        return { ...file, writeAt: write, [Symbol.asyncDispose]: file[Symbol.asyncDispose] };
      },
    });
    assertEquals(await outcome(change), [SftpError, otherLine]);
    assertEquals((await outcome(change, null))[0], SftpError);
  }
  // Over nothing but pipes, as it is long.
  const huge = memoryFiles();
  huge.nodes.set("/.ssh", { ...folder });
  huge.nodes.set("/.ssh/authorized_keys", fileNode(new Uint8Array(17_000_000)));
  await using peer = await refusing(huge, () => null);
  const client = { sftp: () => Promise.resolve(peer.sftp), info: { remoteIdent: "SSH-2.0-x" } } as unknown as SshClient;
  await assertRejects(() => copyId(client, key), SftpError, "more than 16 MiB");
});

Deno.test("copyId() by many at once, to a file that is not there yet, loses none of them", async () => {
  await using dir = await tempDir();
  await using joined = await withFiles(dir.path);
  const keys = await Promise.all(Array.from({ length: 6 }, () => generateKey()));
  assertEquals(await Promise.all(keys.map((one) => copyId(joined.client, one))), keys.map(() => true));
  const lines = (await Deno.readTextFile(`${dir.path}/.ssh/authorized_keys`)).trimEnd().split("\n");
  assertEquals(lines.toSorted(), keys.map(({ publicKey }) => publicKeyLine(publicKey)).toSorted());
});

/** Runs what it is asked to run by a shell, in a home of its own. */
function shell(home: string, words: readonly string[], seen: string[] = []) {
  return async (session: ServerSession): Promise<number> => {
    seen.push(session.command ?? "");
    const child = new Deno.Command(words[0]!, {
      args: [...words.slice(1), "-c", session.command!],
      cwd: home,
      clearEnv: true,
      env: { HOME: home, PATH: "/usr/bin:/bin" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    await Promise.all([
      session.stdin.pipeTo(child.stdin).catch(() => {}),
      child.stdout.pipeTo(session.stdout),
      child.stderr.pipeTo(session.stderr),
    ]);
    return (await child.status).code;
  };
}

const shells = [["/bin/dash"], ["/bin/bash"], ["/usr/bin/busybox", "sh"], ["/usr/bin/zsh"], ["/bin/tcsh"], [
  "/usr/bin/fish",
]]
  .filter(([program]) => {
    try {
      return Deno.statSync(program!).isFile;
    } catch {
      return false;
    }
  });

for (const words of shells) {
  Deno.test(`copyId() does without SFTP what it does with it, whatever the login shell (${words.join(" ")})`, async () => {
    await using dir = await tempDir();
    const home = `${dir.path}/it's $HOME`, seen: string[] = [];
    await Deno.mkdir(home);
    await using joined = await join({ handler: shell(home, words, seen) });
    const { client } = joined, file = `${home}/.ssh/authorized_keys`;
    const options: CopyIdOptions = { comment: "'; touch owned; \"$(touch owned)" };
    const odd = `${publicKeyLine(key.publicKey, options.comment)}\n`;
    assertEquals(await copyId(client, key, options), true);
    assertEquals(await modes(`${home}/.ssh`, file), ["700", "600"]);
    assertEquals(await Deno.readTextFile(file), odd);
    assertEquals(await copyId(client, key), false);
    const before = new Uint8Array([35, 0xff, 10, ...bytes(otherLine.trim())]);
    await Deno.writeFile(file, before);
    await Deno.chmod(file, 0o640);
    assertEquals(await copyId(client, key), true);
    assertEquals(await Deno.readFile(file), new Uint8Array([...before, 10, ...bytes(line)]));
    assertEquals(await modes(file), ["640"]);
    assertEquals(await copyId(client, key, { file: "-odd/it's" }), true);
    assertEquals(await Deno.readTextFile(`${home}/-odd/it's`), line);
    await Deno.remove(file);
    await Deno.symlink("nowhere", file);
    const error = await assertRejects(() => copyId(client, key), SshError, "Cannot copy key");
    assertEquals(error.code, "COMMAND_FAILED");
    assertEquals(Array.from(Deno.readDirSync(home), ({ name }) => name).sort(), ["-odd", ".ssh"]);
    // The key goes by standard input, and no line break or `!` is in a command.
    for (const command of seen) assert(!/[\n!]|AAAA/.test(command), command);
  });
}

Deno.test("copyId() on a server that has neither SFTP nor a shell says both, and one that only says yes is not believed", async () => {
  await using none = await join({ handler: () => 127 });
  const error = await assertRejects(() => copyId(none.client, key), SshError, "subsystem");
  assertStringIncludes(error.message, "and by its shell: Command failed with exit code 127");
  await using yes = await join({ handler: async (session) => void await session.stdin.pipeTo(new WritableStream()) });
  await assertRejects(() => copyId(yes.client, key), SftpError, "is not in");
});

Deno.test("copyId() ends with its signal while the server says nothing, and with the connection", async () => {
  let begun = 0;
  const silent = (session: ServerSession): Promise<void> => {
    begun++;
    return new Promise((resolve) => session.signal.addEventListener("abort", () => resolve()));
  };
  const { backend } = memoryFiles();
  const slow = { ...backend, open: () => (begun++, new Promise<never>(() => {})) };
  for (
    const options of [{ subsystems: { sftp: silent } }, { handler: silent }, {
      subsystems: { sftp: sftpSubsystem(slow) },
    }]
  ) {
    begun = 0;
    await using joined = await join(options);
    const controller = new AbortController(), copying = copyId(joined.client, key, { signal: controller.signal });
    copying.catch(() => {});
    await until(() => begun > 0, "nothing is asked for");
    controller.abort(new Error("stop it"));
    await assertRejects(() => inTime(copying, "it goes on"), Error, "stop it");
    const cut = copyId(joined.client, key);
    cut.catch(() => {});
    await until(() => begun > 1, "nothing is asked for");
    await joined.client.close();
    await assertRejects(() => inTime(cut, "it goes on"), SshError);
  }
});
