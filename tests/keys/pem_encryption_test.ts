/**
 * Private keys in PEM that is encrypted the old ways: by the headers of RFC 1421, and PKCS#8 under triple DES.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { inspectPrivateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { publicKeyLine } from "../../lib/keys/public_key.ts";
import { run } from "../_support/child.ts";
import { scratchDir } from "../_support/keys.ts";
import { peerTest } from "../_support/peers.ts";
import { assertKeyFormat, utf8, vectors } from "../_support/key_vectors.ts";

interface EncryptedKey {
  readonly name: string;
  readonly private: string;
  readonly public: string;
}

const keys = vectors<EncryptedKey>("pem_encryption", 5);

Deno.test("parsePrivateKey() reads PEM under each cipher that ssh-keygen and openssl have written by default", async () => {
  for (const { name, private: text, public: line } of keys) {
    for (const form of [text, utf8(text), text.replaceAll("\n", "\r\n"), text.replace(/(DEK-Info.*)\n\n/, "$1\n")]) {
      const key = await parsePrivateKey(form, { passphrase: "secret" });
      assertEquals(publicKeyLine(key.publicKey), line, name);
      assert(await key.publicKey.verify(utf8("x"), await key.sign(utf8("x"), key.algorithms[0]!)), name);
    }
    assertEquals(inspectPrivateKey(text), { encrypted: true, publicKey: null });
    for (const options of [{}, { passphrase: "" }]) {
      await assertKeyFormat(() => parsePrivateKey(text, options), "no passphrase was given", name);
    }
  }
});

Deno.test("a wrong passphrase of encrypted PEM is an error that says so, and never another key", async () => {
  for (const { name, private: text } of keys.filter(({ name }) => !name.startsWith("PKCS#8"))) {
    // Of so many, some leave sound padding.
    for (let i = 0; i < 600; i++) {
      await assertKeyFormat(() => parsePrivateKey(text, { passphrase: `wrong ${i}` }), "the passphrase is wrong", name);
    }
  }
});

Deno.test("parsePrivateKey() refuses encrypted PEM whose headers or content do not fit", async () => {
  const { private: text } = keys[0]!;
  const changed: readonly (readonly [string, string])[] = [
    [text.replace(/DEK-Info.*\n/, ""), 'the cipher "" is not supported'],
    [text.replace("AES-128-CBC", "AES-128-CBX"), '"AES-128-CBX" is not supported; convert it'],
    [text.replace("AES-128-CBC", "DES-EDE3-CBC"), "its IV does not fit"],
    [text.replace(/(DEK-Info: AES-128-CBC),.*/, "$1"), "its IV does not fit"],
    [text.replace(/(DEK-Info: AES-128-CBC,).*/, `$1${"g".repeat(32)}`), "its IV does not fit"],
    [text.replace(/(\n\n)(.|\n)*(\n-----END)/, "$1AAAA$3"), "no whole number of blocks"],
  ];
  for (const [form, says] of changed) {
    await assertKeyFormat(() => parsePrivateKey(form, { passphrase: "secret" }), says, says);
  }
  // What is cut by whole blocks, and what is changed, decrypts to something else.
  const hex = Uint8Array.fromBase64(text.split("\n\n")[1]!.split("-----")[0]!);
  for (let end = 16; end < hex.length; end += 16) {
    const cut = text.replace(/(\n\n)(.|\n)*(\n-----END)/, `$1${hex.slice(0, end).toBase64()}$3`);
    await assertKeyFormat(() => parsePrivateKey(cut, { passphrase: "secret" }), "the passphrase is wrong", `${end}`);
  }
});

peerTest("openssh", "parsePrivateKey() reads what ssh-keygen -m PEM and -m PKCS8 encrypt today", async () => {
  for (const type of ["rsa", "ecdsa"]) {
    for (const format of ["PEM", "PKCS8"]) {
      const file = `${scratchDir()}/${type}.${format}`;
      const passphrase = "caf\u00e9 secret";
      await run(["ssh-keygen", "-q", "-t", type, "-m", format, "-N", passphrase, "-C", "", "-f", file]);
      const text = await Deno.readTextFile(file);
      assert(inspectPrivateKey(text).encrypted);
      const key = await parsePrivateKey(text, { passphrase });
      assertEquals(publicKeyLine(key.publicKey), (await Deno.readTextFile(`${file}.pub`)).trim());
      const error = await parsePrivateKey(text, { passphrase: "cafe secret" }).catch((error) => error);
      assert(error instanceof SshError && error.message.includes("the passphrase is wrong"), String(error));
    }
  }
});
