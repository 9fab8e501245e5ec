/**
 * Private keys in OpenSSH's format under every cipher that ssh-keygen encrypts them with. C20 of the cases.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { fileCiphers } from "../../lib/keys/format/file_ciphers.ts";
import { inspectPrivateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { publicKeyLine } from "../../lib/keys/public_key.ts";
import { run } from "../_support/child.ts";
import { scratchDir } from "../_support/keys.ts";
import { peerTest } from "../_support/peers.ts";
import { assertKeyFormat, utf8, vectors } from "../_support/key_vectors.ts";

interface EncryptedKey {
  readonly cipher: string;
  readonly private: string;
  readonly public: string;
}

const keys = vectors<EncryptedKey>("file_ciphers", 14);

// C20
Deno.test("parsePrivateKey() reads OpenSSH's format under each of ssh-keygen's ciphers", async () => {
  assertEquals(new Set(keys.map(({ cipher }) => cipher)), new Set(fileCiphers.keys()));
  for (const vector of keys) {
    const key = await parsePrivateKey(vector.private, { passphrase: "secret" });
    assertEquals(publicKeyLine(key.publicKey, key.comment), vector.public, vector.cipher);
    assert(await key.publicKey.verify(utf8("x"), await key.sign(utf8("x"), key.algorithms[0]!)), vector.cipher);
    assert(inspectPrivateKey(vector.private).encrypted);
    await assertKeyFormat(() => parsePrivateKey(vector.private), "no passphrase was given", vector.cipher);
    const wrong = () => parsePrivateKey(vector.private, { passphrase: "wrong" });
    await assertKeyFormat(wrong, "the passphrase is wrong", vector.cipher);
  }
});

Deno.test("parsePrivateKey() says of AES-192 that a browser has none", async () => {
  const { importKey } = SubtleCrypto.prototype;
  SubtleCrypto.prototype.importKey = function (...parts: unknown[]) {
    const [, key] = parts;
    if (key instanceof Uint8Array && key.length === 24) throw new DOMException("Not supported", "OperationError");
    return Reflect.apply(importKey, this, parts);
  };
  try {
    const affected = keys.filter(({ cipher }) => cipher.startsWith("aes192"));
    assert(affected.length >= 2);
    for (const vector of affected) {
      await assertKeyFormat(
        () => parsePrivateKey(vector.private, { passphrase: "secret" }),
        "ssh-keygen -p",
        vector.cipher,
      );
    }
  } finally {
    SubtleCrypto.prototype.importKey = importKey;
  }
});

Deno.test("parsePrivateKey() reads nothing that chacha20-poly1305@openssh.com does not vouch for", async () => {
  const vector = keys.find(({ cipher }) => cipher.startsWith("chacha"))!;
  const bytes = Uint8Array.fromBase64(vector.private.split("\n").slice(1, -2).join(""));
  for (let back = 1; back <= 152; back += 7) {
    const changed = bytes.slice();
    changed[bytes.length - back]! ^= 1;
    const text = `-----BEGIN OPENSSH PRIVATE KEY-----\n${changed.toBase64()}\n-----END OPENSSH PRIVATE KEY-----\n`;
    await assertKeyFormat(() => parsePrivateKey(text, { passphrase: "secret" }), "the passphrase is wrong", `${back}`);
  }
});

Deno.test("parsePrivateKey() says how to convert a key whose cipher or KDF it does not know", async () => {
  for (const [name, instead] of [["3des-cbc", "rot1-cbc"], ["bcrypt", "xcrypt"]] as const) {
    const vector = keys.find(({ cipher }) => cipher === "3des-cbc")!;
    const hex = Uint8Array.fromBase64(vector.private.split("\n").slice(1, -2).join("")).toHex();
    const changed = Uint8Array.fromHex(hex.replace(utf8(name).toHex(), utf8(instead).toHex())).toBase64();
    const text = `-----BEGIN OPENSSH PRIVATE KEY-----\n${changed}\n-----END OPENSSH PRIVATE KEY-----\n`;
    const says = `"${instead}" is not supported; convert it with "ssh-keygen -p -f FILE"`;
    await assertKeyFormat(() => parsePrivateKey(text, { passphrase: "secret" }), says);
  }
});

peerTest(
  "openssh",
  "export() writes encrypted keys that ssh-keygen reads, and those alone who know the passphrase",
  async () => {
    const file = `${scratchDir()}/key`;
    for (const vector of keys) {
      const key = await parsePrivateKey(vector.private, { passphrase: "secret" });
      await Deno.writeTextFile(file, await key.export({ passphrase: "another", rounds: 2 }), { mode: 0o600 });
      const read = await run(["ssh-keygen", "-y", "-P", "another", "-f", file]);
      assertEquals([new TextDecoder().decode(read.stdout).trim(), read.code], [vector.public, 0], read.stderr);
      assert((await run(["ssh-keygen", "-y", "-P", "wrong", "-f", file])).code !== 0);
      assert((await run(["ssh-keygen", "-y", "-P", "", "-f", file])).code !== 0);
    }
  },
);
