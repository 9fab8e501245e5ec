import {
  assert,
  assertEquals,
  assertFalse,
  assertGreater,
  assertLess,
  assertNotEquals,
  assertRejects,
} from "@std/assert";
import { inspect } from "node:util";
import { DEFAULT_ROUNDS } from "../../lib/keys/format/openssh.ts";
import { generateKey, insecureSha1Signer, inspectPrivateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { parsePublicKey, publicKeyLine } from "../../lib/keys/public_key.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { runText } from "../_support/child.ts";
import { scratchDir } from "../_support/keys.ts";
import { peerTest } from "../_support/peers.ts";
import { fastest } from "../_support/until.ts";
import { assertKeyFormat, blobOf, opensshKeys, rsaBits, strings, utf8, vectors } from "../_support/key_vectors.ts";

interface PemKey {
  readonly name: string;
  readonly passphrase: string | null;
  readonly private: string;
  readonly public: string;
}

const options = (passphrase: string | null) => passphrase === null ? {} : { passphrase };

/** The bytes inside the armour, changed and armoured again. */
function edited(text: string, edit: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array | void): string {
  const bytes = Uint8Array.fromBase64(text.split("\n").filter((line) => !line.startsWith("-")).join(""));
  const changed = edit(bytes) ?? bytes;
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${
    new Uint8Array(changed).toBase64()
  }\n-----END OPENSSH PRIVATE KEY-----\n`;
}

Deno.test("parsePrivateKey() reads what ssh-keygen writes, encrypted with any cipher", async () => {
  for (const vector of opensshKeys()) {
    const key = await parsePrivateKey(vector.private, options(vector.passphrase));
    assertEquals(publicKeyLine(key.publicKey, key.comment), vector.public, vector.command);
    assertEquals(key.comment, vector.comment);
    for (const algorithm of key.algorithms) {
      assert(
        await parsePublicKey(vector.public).verify(utf8("x"), await key.sign(utf8("x"), algorithm)),
        vector.command,
      );
    }
    const seen = inspectPrivateKey(vector.private);
    assertEquals([seen.encrypted, seen.publicKey?.blob], [vector.passphrase !== null, key.publicKey.blob]);
  }
});

Deno.test("parsePrivateKey() reads PKCS#1, PKCS#8 and SEC1", async () => {
  for (const vector of vectors<PemKey>("pem_keys", 24)) {
    const key = await parsePrivateKey(vector.private, options(vector.passphrase));
    assertEquals(publicKeyLine(key.publicKey), vector.public, vector.name);
    assert(await key.publicKey.verify(utf8("x"), await key.sign(utf8("x"), key.algorithms[0]!)), vector.name);
    assertEquals(inspectPrivateKey(vector.private).encrypted, vector.passphrase !== null, vector.name);
    const crlf = await parsePrivateKey(vector.private.replaceAll("\n", "\r\n"), options(vector.passphrase));
    assertEquals(crlf.publicKey.blob, key.publicKey.blob);
    if (vector.passphrase !== null) {
      await assertKeyFormat(() => parsePrivateKey(vector.private), "no passphrase was given", vector.name);
      await assertKeyFormat(() => parsePrivateKey(vector.private, { passphrase: "wrong" }), "passphrase is wrong");
    }
  }
});

Deno.test("parsePrivateKey() names what it does not support", async () => {
  for (const vector of vectors<{ name: string; private: string; says: string }>("unsupported_keys", 7)) {
    await assertKeyFormat(() => parsePrivateKey(vector.private, { passphrase: "x" }), vector.says, vector.name);
  }
  await assertKeyFormat(() => parsePrivateKey(""), "empty");
  await assertKeyFormat(() => parsePrivateKey("hello"), "no line");
  await assertKeyFormat(() => parsePrivateKey(opensshKeys()[0]!.public), "it is a public key");
  await assertKeyFormat(() => parsePrivateKey("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n"), "ssh.com");
  await assertKeyFormat(() => parsePrivateKey(" ".repeat(65_537)), "65536");
});

Deno.test("parsePrivateKey() tells a wrong passphrase from a missing one", async () => {
  for (const vector of opensshKeys().slice(6)) {
    await assertKeyFormat(() => parsePrivateKey(vector.private), "no passphrase was given");
    await assertKeyFormat(() => parsePrivateKey(vector.private, { passphrase: "" }), "no passphrase was given");
    await assertKeyFormat(() => parsePrivateKey(vector.private, { passphrase: "wrong" }), "the passphrase is wrong");
  }
});

Deno.test("parsePrivateKey() refuses a file that is cut at any byte or has more behind it", async () => {
  for (const vector of [opensshKeys()[0]!, opensshKeys()[1]!, opensshKeys()[4]!]) {
    const length = Uint8Array.fromBase64(vector.private.split("\n").slice(1, -2).join("")).length;
    const step = length > 1000 ? 13 : 1;
    for (let i = 0; i < length; i += step) {
      await assertKeyFormat(() => parsePrivateKey(edited(vector.private, (bytes) => bytes.slice(0, i))), "", `${i}`);
    }
    await assertKeyFormat(() => parsePrivateKey(edited(vector.private, (bytes) => new Uint8Array([...bytes, 0]))));
    await assertKeyFormat(() => parsePrivateKey(vector.private.replace(/-----END.*/, "")), "is missing");
  }
});

Deno.test("parsePrivateKey() reads no key from a file with any byte changed but the comment's", async () => {
  const vector = opensshKeys()[0]!;
  const { length } = Uint8Array.fromBase64(vector.private.split("\n").slice(1, -2).join(""));
  let comments = 0;
  for (let i = 0; i < length; i++) {
    const text = edited(vector.private, (bytes) => {
      bytes[i]! ^= 1;
    });
    try {
      const key = await parsePrivateKey(text);
      assertNotEquals(key.comment, vector.comment, `byte ${i}`);
      assertEquals(key.publicKey.blob, blobOf(vector.public));
      comments++;
    } catch (error) {
      await assertKeyFormat(() => Promise.reject(error));
    }
  }
  // One more: a comment of one character more swallows a padding of one byte.
  assertLess(comments, vector.comment.length + 2);
});

Deno.test("parsePrivateKey() bounds what a file may ask for before it starts to work", async () => {
  const magic = utf8("openssh-key-v1\0");
  const blob = blobOf(opensshKeys()[0]!.public);
  const u32 = (n: number) => Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);
  const file = (o: { cipher?: string; kdf?: string; salt?: number; rounds?: number; keys?: number; body?: number }) => {
    const kdf = o.kdf ?? "bcrypt";
    const kdfOptions = kdf === "none"
      ? new Uint8Array(0)
      : new Uint8Array([...strings(new Uint8Array(o.salt ?? 16)), ...u32(o.rounds ?? 1)]);
    return edited("", () =>
      new Uint8Array([
        ...magic,
        ...strings(o.cipher ?? "aes256-ctr", kdf, kdfOptions),
        ...u32(o.keys ?? 1),
        ...strings(blob, new Uint8Array(o.body ?? 32)),
      ]));
  };
  const cases: [Parameters<typeof file>[0], string][] = [
    [{ rounds: 2049 }, "2049 rounds"],
    [{ rounds: 0xffff_ffff }, "4294967295 rounds"],
    [{ rounds: 0 }, "0 rounds"],
    [{ salt: 0 }, "a salt of 0 bytes"],
    [{ salt: 65 }, "a salt of 65 bytes"],
    [{ keys: 0 }, "holds 0 keys"],
    [{ keys: 2 }, "holds 2 keys"],
    [{ keys: 0x8000_0000 }, "holds 2147483648 keys"],
    [{ cipher: "rot13" }, 'the cipher "rot13"'],
    [{ kdf: "scrypt" }, 'the KDF "scrypt"'],
    [{ kdf: "none" }, 'cipher "aes256-ctr" with KDF "none"'],
    [{ cipher: "none" }, 'cipher "none" with KDF "bcrypt"'],
    [{ body: 33 }, "no whole number of blocks"],
    [{ body: 0 }, "no whole number of blocks"],
  ];
  for (const [what, says] of cases) {
    // The rounds that are refused take ten seconds at least.
    const refused = () => assertKeyFormat(() => parsePrivateKey(file(what), { passphrase: "x" }), says);
    assertLess(await fastest(1000, refused), 1000, says);
  }
});

Deno.test("parsePrivateKey() refuses components that do not belong together", async () => {
  const header = (blob: Uint8Array, ...key: (string | Uint8Array | bigint)[]) => {
    const body = [1, 2, 3, 4, 1, 2, 3, 4, ...strings(...key, "comment")];
    for (let i = 1; body.length % 8 !== 0; i++) body.push(i);
    return edited("", () =>
      new Uint8Array([
        ...utf8("openssh-key-v1\0"),
        ...strings("none", "none", ""),
        ...[0, 0, 0, 1],
        ...strings(blob, new Uint8Array(body)),
      ]));
  };
  const seed = new Uint8Array(32).fill(9);
  const right = Uint8Array.fromHex("fd1724385aa0c75b64fb78cd602fa1d991fdebf76b13c58ed702eac835e9f618");
  const ed = (point: Uint8Array, secret: Uint8Array) =>
    header(strings("ssh-ed25519", point), "ssh-ed25519", point, secret);
  await parsePrivateKey(ed(right, new Uint8Array([...seed, ...right])));
  const wrong = right.slice();
  wrong[3]! ^= 4;
  await assertKeyFormat(
    () => parsePrivateKey(ed(wrong, new Uint8Array([...seed, ...wrong]))),
    "do not belong together",
  );
  await assertKeyFormat(
    () => parsePrivateKey(ed(right, new Uint8Array([...seed, ...wrong]))),
    "32 public and 64 private",
  );
  for (const length of [0, 31, 32, 33, 63, 65]) {
    await assertKeyFormat(
      () => parsePrivateKey(ed(right, new Uint8Array([...seed, ...right, 0]).slice(0, length))),
      "64 private",
    );
  }

  const point = blobOf(opensshKeys()[1]!.public).slice(-65);
  const ec = (d: bigint) =>
    header(strings("ecdsa-sha2-nistp256", "nistp256", point), "ecdsa-sha2-nistp256", "nistp256", point, d);
  await assertKeyFormat(() => parsePrivateKey(ec(5n)), "do not belong together");
  await assertKeyFormat(() => parsePrivateKey(ec(1n << 255n | 1n << 200n)), "do not belong together");
  await assertKeyFormat(() => parsePrivateKey(ec((1n << 256n) - 1n)), "out of range");
  await assertKeyFormat(() => parsePrivateKey(ec(1n << 300n)), "longer than 32 bytes");
  await assertKeyFormat(() => parsePrivateKey(ec(0n)), "not positive");

  const n = (1n << 2047n) + 1n;
  const rsa = (...rest: bigint[]) => header(strings("ssh-rsa", 65537n, n), "ssh-rsa", n, 65537n, ...rest);
  await assertKeyFormat(() => parsePrivateKey(rsa(5n, 5n, 5n, 5n)), "do not belong together");
  await assertKeyFormat(() => parsePrivateKey(rsa(5n, 1n, 1n, n)), "do not belong together");
  await assertKeyFormat(() => parsePrivateKey(rsa(1n << 200_000n, 1n, 1n, n)), "longer than 2048 bytes");
});

Deno.test("generateKey() makes keys that read back and sign", async () => {
  for (
    const [type, bits, name] of [
      ["ed25519", undefined, "ssh-ed25519"],
      ["ecdsa", undefined, "ecdsa-sha2-nistp256"],
      ["ecdsa", 384, "ecdsa-sha2-nistp384"],
      ["ecdsa", 521, "ecdsa-sha2-nistp521"],
      ["rsa", 2048, "ssh-rsa"],
    ] as const
  ) {
    const key = await generateKey(type, { comment: "ä comment", ...(bits === undefined ? {} : { bits }) });
    assertEquals(key.publicKey.type, name);
    if (type === "rsa") assertEquals(rsaBits(key.publicKey), bits);
    const again = await parsePrivateKey(await key.export());
    assertEquals([again.comment, again.publicKey.blob], ["ä comment", key.publicKey.blob]);
    assert(await key.publicKey.verify(utf8("x"), await again.sign(utf8("x"), again.algorithms[0]!)));
    assertEquals((await key.export()).length, (await again.export()).length);
  }
  assertEquals((await generateKey()).publicKey.type, "ssh-ed25519");
  assertNotEquals((await generateKey()).publicKey.blob, (await generateKey()).publicKey.blob);
  await assertRejects(() => generateKey("ed25519", { bits: 512 }), RangeError);
  await assertRejects(() => generateKey("ecdsa", { bits: 255 }), RangeError);
  for (const bits of [1024, 2047, 16_385, 2048.5, NaN]) {
    await assertRejects(() => generateKey("rsa", { bits }), RangeError);
  }
  // @ts-expect-error: what a program without types might ask for
  await assertRejects(() => generateKey("dsa"), TypeError);
});

Deno.test("export() encrypts, and writes in clear only where no passphrase is given", async () => {
  const key = await generateKey("ed25519", { comment: "c" });
  const text = await key.export({ passphrase: "pä", rounds: 1 });
  assertEquals(inspectPrivateKey(text).encrypted, true);
  const again = await parsePrivateKey(text, { passphrase: "pä" });
  assertEquals((await again.export()).length, (await key.export()).length);
  await assertKeyFormat(() => parsePrivateKey(text, { passphrase: "pa" }), "the passphrase is wrong");
  assertNotEquals(text, await key.export({ passphrase: "pä", rounds: 1 }));
  assertFalse(inspectPrivateKey(await key.export()).encrypted);
  await assertRejects(() => key.export({ passphrase: "" }), TypeError, "empty");
  for (const rounds of [0, -1, 1.5, 2049]) {
    await assertRejects(() => key.export({ passphrase: "x", rounds }), RangeError);
  }
  assertGreater(DEFAULT_ROUNDS, 15);
});

Deno.test("sign() refuses algorithms that the key does not list", async () => {
  const ed = await generateKey();
  await assertRejects(() => ed.sign(utf8("x"), "rsa-sha2-512"), TypeError, "ssh-ed25519");
  const rsa = await parsePrivateKey(opensshKeys()[4]!.private);
  await assertRejects(() => rsa.sign(utf8("x"), "ssh-rsa"), TypeError);
  await assertRejects(() => insecureSha1Signer(rsa).sign(utf8("x"), "ssh-ed25519"), TypeError);
});

Deno.test("PrivateKey shows nothing of itself to who looks at it", async () => {
  for (
    const key of [
      await generateKey("ed25519", { comment: "me@here" }),
      await generateKey("ecdsa"),
      await generateKey("rsa"),
    ]
  ) {
    const text = await key.export();
    const secret = text.split("\n").slice(1, -2).join("");
    const views = [
      Deno.inspect(key, { depth: 9, showHidden: true }),
      inspect(key, { depth: 9, showHidden: true }),
      JSON.stringify(key),
      JSON.stringify({ key }),
      `${key}`,
      String(key),
      "" + key,
      [key].join(),
      new Error(`no ${key}`).message,
      key.toString(),
      Object.prototype.toString.call(key),
      Object.values(key).map(String).join(),
    ];
    for (const view of views) {
      assertFalse(view.includes("PRIVATE KEY"), view);
      assertFalse(view.includes(secret.slice(-60, -10)), view);
    }
    const shown = `${key.publicKey.type} ${await key.publicKey.fingerprint()}`;
    assertEquals(`${key}`, key.comment === "" ? shown : `${shown} me@here`);
    assertEquals(`${await parsePrivateKey(text)}`, `${key}`);
  }
  assertFalse(`${await generateKey("ed25519", { comment: "\x1b[31mred\n" })}`.includes("\x1b"));
});

Deno.test("a public key as text is its line", async () => {
  const key = await generateKey();
  assertEquals(`${key.publicKey}`, publicKeyLine(key.publicKey));
  assertEquals(parsePublicKey(String(key.publicKey)).blob, key.publicKey.blob);
});

peerTest(
  "openssh",
  "export() without a passphrase writes what ssh-keygen reads, and rounds are 24 unless given",
  async () => {
    const file = `${scratchDir()}/key`;
    for (
      const key of [
        await generateKey(),
        await generateKey("ecdsa", { bits: 384 }),
        await generateKey("rsa", { bits: 2048 }),
      ]
    ) {
      await Deno.writeTextFile(file, await key.export(), { mode: 0o600 });
      assertEquals((await runText(["ssh-keygen", "-y", "-P", "", "-f", file])).trim(), `${key.publicKey}`);
      await Deno.writeTextFile(file, await key.export({ passphrase: "secret" }), { mode: 0o600 });
      assertEquals((await runText(["ssh-keygen", "-y", "-P", "secret", "-f", file])).trim(), `${key.publicKey}`);
      const bytes = Uint8Array.fromBase64((await Deno.readTextFile(file)).split("\n").slice(1, -2).join(""));
      // Behind the magic: cipher, KDF, and its options, which are a salt of 16 bytes and the rounds.
      const reader = new Reader(bytes.subarray(15));
      assertEquals([reader.ascii(), reader.ascii()], ["aes256-ctr", "bcrypt"]);
      const options = new Reader(reader.string());
      assertEquals([options.string().length, options.u32()], [16, 24]);
    }
  },
);

Deno.test("sign() makes RFC 8032's signatures", async () => {
  interface Rfc8032 {
    name: string;
    seed: string;
    point: string;
    message: string;
    signature: string;
  }
  for (const vector of vectors<Rfc8032>("rfc8032", 4)) {
    const der = Uint8Array.fromHex("302e020100300506032b657004220420" + vector.seed);
    const key = await parsePrivateKey(`-----BEGIN PRIVATE KEY-----\n${der.toBase64()}\n-----END PRIVATE KEY-----\n`);
    assertEquals(key.publicKey.blob, strings("ssh-ed25519", Uint8Array.fromHex(vector.point)), vector.name);
    const message = Uint8Array.fromHex(vector.message);
    const signature = await key.sign(message, "ssh-ed25519");
    assertEquals(signature, strings("ssh-ed25519", Uint8Array.fromHex(vector.signature)), vector.name);
    assert(await key.publicKey.verify(message, signature));
  }
});
