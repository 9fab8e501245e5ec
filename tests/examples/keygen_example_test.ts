/**
 * Starts keygen.ts and copy_id.ts as a reader would, with the permissions that their first lines name and no others.
 *
 * @module
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { exportPublicKey, generateKey, parsePrivateKey, publicKeyLine, sftpSubsystem } from "../../mod.ts";
import { commandOf } from "../_support/examples.ts";
import { text } from "../_support/joined.ts";
import { run, serverWithHome } from "./_help.ts";

/** Runs keygen.ts with lines for what it asks. */
async function keygen(args: readonly string[], lines = "") {
  const [program, ...rest] = commandOf("keygen.ts", args);
  const child = new Deno.Command(program, { args: rest, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(lines)).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("examples/keygen.ts makes a key, converts it, changes its passphrase, and overwrites nothing", async () => {
  const dir = await Deno.makeTempDir({ prefix: "amiko_ssh_" }), file = `${dir}/key`;
  try {
    const made = await keygen(["make", file, "ecdsa", "me@desk"], "secret\n");
    assertMatch(made.stdout, /^ecdsa-sha2-nistp256 SHA256:\S+ me@desk\n$/, made.stderr);
    assertEquals((await Deno.stat(file)).mode! & 0o777, 0o600);
    const key = await parsePrivateKey(await Deno.readTextFile(file), { passphrase: "secret" });
    assertEquals(await Deno.readTextFile(`${file}.pub`), `${publicKeyLine(key.publicKey, "me@desk")}\n`);
    const again = await keygen(["make", file], "\n");
    assertEquals([again.code, again.stdout], [1, ""]);

    assertEquals((await keygen(["passphrase", file], "secret\nother\n")).code, 0);
    assertEquals((await parsePrivateKey(await Deno.readTextFile(file), { passphrase: "other" })).comment, "me@desk");

    const converted = await keygen(["convert", file, "pkcs8", `${file}.pem`], "other\n");
    assertEquals(converted.code, 0, converted.stderr);
    const pem = await parsePrivateKey(await Deno.readTextFile(`${file}.pem`), { passphrase: "other" });
    assertEquals(pem.publicKey.blob, key.publicKey.blob);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("examples/copy_id.ts adds a key to the far end's authorized_keys once, and loses no byte of what is there", async () => {
  const far = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  try {
    await using server = await serverWithHome({ subsystems: { sftp: sftpSubsystem({ root: far }) } });
    const { publicKey } = await generateKey(), other = await generateKey();
    const file = `${server.env.HOME}/new.pub`, there = `${far}/.ssh/authorized_keys`;
    await Deno.writeTextFile(file, `${publicKeyLine(publicKey, "me at desk")}\n`);
    const copy = () => run("copy_id.ts", [file, server.target], server.env);
    const added = await copy();
    assertMatch(added.stdout, /^Added SHA256:/, added.stderr);
    const line = `${publicKeyLine(publicKey, "me at desk")}\n`;
    assertEquals(await Deno.readTextFile(there), line);
    const modes = await Promise.all([`${far}/.ssh`, there].map(async (path) => (await Deno.stat(path)).mode! & 0o777));
    assertEquals(modes, [0o700, 0o600]);
    // A format of more lines than one.
    await Deno.writeTextFile(file, exportPublicKey(publicKey, { format: "rfc4716", comment: "me" }));
    const again = await copy();
    assertMatch(again.stdout, /is there already\n$/, again.stderr);
    assertEquals(await Deno.readTextFile(there), line);
    await Deno.writeTextFile(file, line);
    // Bytes that are no UTF-8, and no line break at the end.
    const odd = new Uint8Array([35, 0xff, 10, ...new TextEncoder().encode(`no-pty ${publicKeyLine(other.publicKey)}`)]);
    await Deno.writeFile(there, odd);
    assertMatch((await copy()).stdout, /^Added/);
    assertEquals(await Deno.readFile(there), new Uint8Array([...odd, 10, ...new TextEncoder().encode(line)]));
    await Deno.writeTextFile(file, await other.export());
    const secret = await copy();
    assertEquals([secret.code, secret.stdout], [1, ""]);
    assertStringIncludes(secret.stderr, "it is a private key");
  } finally {
    await Deno.remove(far, { recursive: true });
  }
});
