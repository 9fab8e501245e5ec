/** Files of keys that we write and others read, and the other way round: each type of key in each format. */
import { assertEquals } from "@std/assert";
import { exportPublicKey, parsePublicKey, type PrivateKey, publicKeyLine } from "../../mod.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { runText } from "../_support/child.ts";
import { newerPython, openSsh10, peerTest, scripts } from "../_support/peers.ts";
import { oneOfEach, secretsOf } from "../_support/one_of_each.ts";

const keys = await oneOfEach();
const passphrase = "correct horse";

/** A folder with files of all keys, and the public key that each holds. */
async function filesOf(
  formats: readonly ("openssh" | "pkcs8" | "putty")[],
): Promise<{ dir: string; lines: Map<string, string> } & AsyncDisposable> {
  const dir = await Deno.makeTempDir({ prefix: "amiko_keys_" }), lines = new Map<string, string>();
  for (const [i, key] of keys.entries()) {
    for (const format of formats) {
      for (const locked of [false, true]) {
        // Argon2 takes its time, and is the same for each key.
        if (format === "putty" && locked && i > 0) continue;
        const name = `private_${i}_${format}_${locked ? "locked" : "clear"}`;
        const text = await key.export(
          locked ? { format, passphrase, rounds: format === "pkcs8" ? 2048 : 1 } : { format },
        );
        await Deno.writeTextFile(`${dir}/${name}`, text, { mode: 0o600 });
        lines.set(name, publicKeyLine(key.publicKey));
      }
    }
  }
  await Deno.writeTextFile(`${dir}/passphrase`, passphrase);
  return { dir, lines, [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
}

/** What a shell's loop over the files of a folder prints: `name` and the rest of a line each. */
async function overFiles(dir: string, command: string): Promise<Map<string, string>> {
  const script = `cd "$1"; for f in private_*; do line=$(${command} 2>/dev/null) && echo "$f $line"; done`;
  const out = await runText(["/bin/sh", "-c", script, "sh", dir]);
  return new Map(
    out.trim().split("\n").map((line) => {
      const [name, type, base64] = line.split(" ");
      return [name!, `${type} ${base64}`];
    }),
  );
}

for (
  const [peer, keygen] of [["openssh", "/usr/bin/ssh-keygen"], ["openssh10", `${openSsh10()}/bin/ssh-keygen`]] as const
) {
  peerTest(peer, `${peer}'s ssh-keygen reads the OpenSSH format and PKCS#8 as we write them`, async () => {
    await using files = await filesOf(["openssh", "pkcs8"]);
    const read = await overFiles(files.dir, `${keygen} -y -P '${passphrase}' -f "$f"`);
    // Older ones know no Ed25519 there.
    const unknown = peer === "openssh" ? ["private_0_pkcs8_clear", "private_0_pkcs8_locked"] : [];
    assertEquals(read, new Map([...files.lines].filter(([name]) => !unknown.includes(name))));
  });
}

peerTest("openssh", "openssl reads PKCS#8 as we write it, and sees the public key that we write", async () => {
  await using files = await filesOf(["pkcs8"]);
  const script = `cd "$1"; for f in private_*; do openssl pkey -in "$f" -passin file:passphrase -pubout; done`;
  const out = await runText(["/bin/sh", "-c", script, "sh", files.dir]);
  const expected = keys.flatMap(({ publicKey }) => Array(2).fill(exportPublicKey(publicKey, { format: "spki" })));
  assertEquals(out, expected.join(""));
});

peerTest(
  "putty",
  "puttygen reads PuTTY's format and RFC 4716 as we write them, and finds the same secrets",
  async () => {
    await using files = await filesOf(["putty"]);
    const script = `cd "$1"; for f in private_*; do
    puttygen "$f" --old-passphrase passphrase --new-passphrase /dev/null -O private-openssh-new -o "new_$f" || echo "$f"; done
    for f in public_*; do puttygen -L "$f"; done`;
    for (const [i, { publicKey }] of keys.entries()) {
      const text = exportPublicKey(publicKey, { format: "rfc4716", comment: `key ${i}` });
      await Deno.writeTextFile(`${files.dir}/public_${i}`, text);
    }
    const out = await runText(["/bin/sh", "-c", script, "sh", files.dir]);
    assertEquals(out, keys.map(({ publicKey }, i) => `${publicKeyLine(publicKey, `key ${i}`)}\n`).join(""));
    for (const name of files.lines.keys()) {
      const read = await parsePrivateKey(await Deno.readTextFile(`${files.dir}/new_${name}`));
      assertEquals(await secretsOf(read), await secretsOf(keys[Number(name.split("_")[1])]!), name);
    }
  },
);

/** What a script of Python tells of the files in a folder. */
async function toldBy(library: string, dir: string): Promise<Map<string, string>> {
  const out = await runText(["/usr/bin/python3", `${scripts}/key_files.py`, library, dir, passphrase], {
    env: library === "paramiko" ? newerPython : {},
  });
  return new Map(out.trim().split("\n").map((line) => JSON.parse(line)));
}

peerTest("paramiko", "paramiko reads the OpenSSH format as we write it", async () => {
  await using files = await filesOf(["openssh"]);
  assertEquals(await toldBy("paramiko", files.dir), files.lines);
});

// The newer AsyncSSH reads no RSA keys with the cryptography of Debian 12.
peerTest("asyncssh2", "AsyncSSH reads what we write, private and public, and we read what it writes", async () => {
  await using files = await filesOf(["openssh", "pkcs8"]);
  const expected = new Map(files.lines);
  for (const [i, { publicKey }] of keys.entries()) {
    for (const format of ["openssh", "rfc4716", "spki"] as const) {
      const name = `public_${i}_${format}`;
      await Deno.writeTextFile(`${files.dir}/${name}`, exportPublicKey(publicKey, { format, comment: "made here" }));
      expected.set(name, publicKeyLine(publicKey));
    }
  }
  assertEquals(await toldBy("asyncssh", files.dir), expected);
  let count = 0;
  for await (const { name } of Deno.readDir(files.dir)) {
    if (!name.startsWith("written")) continue;
    const key: PrivateKey = keys[Number(name.split("_")[1])]!;
    const bytes = await Deno.readFile(`${files.dir}/${name}`);
    const read = name.startsWith("writtenpublic")
      ? parsePublicKey(bytes)
      : (await parsePrivateKey(bytes, { passphrase })).publicKey;
    assertEquals(read.blob, key.publicKey.blob, name);
    count++;
  }
  assertEquals(count, keys.length * 8);
});
