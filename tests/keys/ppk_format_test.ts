import { assert, assertEquals, assertLess, assertNotEquals, assertStringIncludes } from "@std/assert";
import { coveredByMac } from "../../lib/keys/format/ppk.ts";
import { generateKey, inspectPrivateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { publicKeyLine } from "../../lib/keys/public_key.ts";
import { signCertificate } from "../../lib/keys/sign_certificate.ts";
import { fromBase64, toHex } from "../../lib/wire/base_text.ts";
import { runText } from "../_support/child.ts";
import { peerTest } from "../_support/peers.ts";
import { fastest } from "../_support/until.ts";
import { assertKeyFormat, utf8, vectors } from "../_support/key_vectors.ts";

interface PuttyKey {
  readonly command: string;
  readonly passphrase: string | null;
  readonly private: string;
  readonly public: string;
  readonly comment: string;
}

const putty = () => vectors<PuttyKey>("putty_keys", 13);
const options = (passphrase: string | null) => passphrase === null ? {} : { passphrase };

Deno.test("parsePrivateKey() reads PuTTY's keys, versions 2 and 3", async () => {
  for (const vector of putty()) {
    for (const text of [vector.private, vector.private.replaceAll("\n", "\r\n")]) {
      const key = await parsePrivateKey(text, options(vector.passphrase));
      assertEquals([publicKeyLine(key.publicKey), key.comment], [vector.public, vector.comment], vector.command);
      const algorithm = key.algorithms[0]!;
      assert(await key.publicKey.verify(utf8("x"), await key.sign(utf8("x"), algorithm)), vector.command);
    }
    const seen = inspectPrivateKey(vector.private);
    assertEquals(seen.encrypted, vector.passphrase !== null);
    assertEquals(publicKeyLine(seen.publicKey!), vector.public);
    if (vector.passphrase === null) continue;
    await assertKeyFormat(() => parsePrivateKey(vector.private), "no passphrase was given");
    await assertKeyFormat(() => parsePrivateKey(vector.private, { passphrase: "wrong" }), "passphrase is wrong");
  }
});

Deno.test("parsePrivateKey() refuses PuTTY's keys with anything changed, cut or added", async () => {
  for (const vector of [putty()[0]!, putty()[1]!, putty()[6]!]) {
    const read = (text: string) => parsePrivateKey(text, options(vector.passphrase));
    const lines = vector.private.trimEnd().split("\n");
    for (let i = 0; i < lines.length; i++) {
      await assertKeyFormat(() => read(lines.toSpliced(i, 1).join("\n")), "", `without line ${i}`);
      await assertKeyFormat(() => read(lines.toSpliced(i, 0, lines[i]!).join("\n")), "", `line ${i} twice`);
      await assertKeyFormat(() => read(lines.slice(0, i).join("\n")), "", `${i} lines`);
    }
    await assertKeyFormat(() => read(vector.private + "more\n"), "follow its MAC");
    const changes: [string, string][] = [
      ["Comment: key", "Comment: kez"],
      ["Private-MAC: ", "Private-MAC: 00"],
      ["Private-MAC: ", "Private-MAC: x"],
      ["Public-Lines: 2", "Public-Lines: 999"],
      ["Public-Lines: 2", "Public-Lines: -1"],
      ["Public-Lines: 2", "Public-Lines: 1e2"],
      ["ssh-ed25519", "ssh-rsa"],
      ["Key-File-", "Key-File-1"],
      ["Encryption: ", "Encryption: x"],
    ];
    for (const [from, to] of changes) {
      const changed = vector.private.replace(from, to);
      assertNotEquals(changed, vector.private);
      await assertKeyFormat(() => read(changed), "", to);
    }
  }
});

Deno.test("parsePrivateKey() bounds what PuTTY's keys may ask of Argon2", async () => {
  const text = putty()[6]!.private;
  for (
    const [name, value] of [
      ["Memory", "262145"],
      ["Memory", "4294967296"],
      ["Memory", "7"],
      ["Memory", "-1"],
      ["Passes", "0"],
      ["Passes", "16385"],
      ["Parallelism", "0"],
      ["Parallelism", "9"],
      ["Salt", "00"],
      ["Salt", "zz".repeat(16)],
      ["Salt", "00".repeat(65)],
    ] as const
  ) {
    const changed = text.replace(new RegExp(`Argon2-${name}: .*`), `Argon2-${name}: ${value}`);
    const refused = () =>
      assertKeyFormat(
        () => parsePrivateKey(changed, { passphrase: "secret" }),
        "are not supported",
        `${name} ${value}`,
      );
    assertLess(await fastest(1000, refused), 1000, `${name} ${value}`);
  }
  const unknown = text.replace("Argon2id", "Argon3");
  await assertKeyFormat(() => parsePrivateKey(unknown, { passphrase: "secret" }), 'the KDF "Argon3"');
});

Deno.test("parsePrivateKey() reads the key of a PuTTY file to which a certificate was added", async () => {
  const key = await generateKey("ed25519", { comment: "key" }), ca = await generateKey();
  const certificate = await signCertificate(ca, key.publicKey, { kind: "user", keyId: "id", principals: ["alice"] });
  const [type, base64] = certificate.trim().split(" ") as [string, string], blob = fromBase64(base64);
  const plain = await key.export({ format: "putty" }), body = /Private-Lines: 1\n(.*)\n/.exec(plain)![1]!;
  const covered = coveredByMac(type, "none", utf8("key"), blob, fromBase64(body));
  const hmac = await crypto.subtle.importKey("raw", new Uint8Array(1), { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  const mac = toHex(new Uint8Array(await crypto.subtle.sign("HMAC", hmac, covered)));
  const lines = base64.match(/.{1,64}/g)!;
  const text = plain.replace("ssh-ed25519", type).replace(/-MAC: .*/, `-MAC: ${mac}`)
    .replace(/Public-Lines: 2\n.*\n.*/, `Public-Lines: ${lines.length}\n${lines.join("\n")}`);
  const read = await parsePrivateKey(text);
  assertEquals([String(read), String(read.publicKey)], [String(key), String(key.publicKey)]);
  assertEquals(String(inspectPrivateKey(text).publicKey), String(key.publicKey));
  await assertKeyFormat(() => parsePrivateKey(text.replace(type, "ssh-ed25519")), "its type is not that");
  // In its nonce, which means nothing.
  const changed = lines[1]!.replace(/^./, (first) => first === "A" ? "B" : "A");
  await assertKeyFormat(() => parsePrivateKey(text.replace(lines[1]!, changed)), "MAC is wrong");
});

peerTest(
  "putty",
  "puttygen reads keys made by generateKey() and writes keys that parsePrivateKey() reads",
  async () => {
    const dir = await Deno.makeTempDir({ prefix: "amiko_keys_" });
    try {
      await Deno.writeTextFile(`${dir}/passphrase`, "correct horse");
      for (const [type, bits] of [["ed25519", 256], ["ecdsa", 384], ["rsa", 2048]] as const) {
        const key = await generateKey(type, { bits, comment: "made here" });
        await Deno.writeTextFile(`${dir}/key`, await key.export(), { mode: 0o600 });
        for (const parameters of ["version=2", "version=3,memory=64,passes=1"]) {
          await runText([
            ...["puttygen", `${dir}/key`, "-O", "private", "-o", `${dir}/key.ppk`],
            ...["--ppk-param", parameters, "--new-passphrase", `${dir}/passphrase`],
          ]);
          const again = await parsePrivateKey(await Deno.readTextFile(`${dir}/key.ppk`), {
            passphrase: "correct horse",
          });
          assertEquals([again.publicKey.blob, again.comment], [key.publicKey.blob, "made here"]);
          if (type === "ed25519") {
            const user = { kind: "user", keyId: "id", principals: ["alice"] } as const;
            await Deno.writeTextFile(`${dir}/cert.pub`, await signCertificate(key, key.publicKey, user));
            await runText([
              ...["puttygen", `${dir}/key.ppk`, "--old-passphrase", `${dir}/passphrase`],
              ...["--certificate", `${dir}/cert.pub`, "-O", "private", "-o", `${dir}/certified.ppk`],
            ]);
            const text = await Deno.readTextFile(`${dir}/certified.ppk`);
            assertStringIncludes(text, "-cert-v01@openssh.com");
            const { publicKey } = await parsePrivateKey(text, { passphrase: "correct horse" });
            assertEquals(publicKey.blob, key.publicKey.blob);
          }
          await Deno.remove(`${dir}/key.ppk`);
        }
      }
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
);
