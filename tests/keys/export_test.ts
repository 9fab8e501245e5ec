/** What we write is what we read: each format, each type of key, in clear and encrypted. */
import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { exportPublicKey, KeyFormatError, parsePublicKey, type PrivateKeyFormat, publicKeyLine } from "../../mod.ts";
import { inspectPrivateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { assertKeyFormat, utf8, vectors } from "../_support/key_vectors.ts";
import { oneOfEach, secretsOf } from "../_support/one_of_each.ts";

const keys = await oneOfEach();
const encrypted: readonly [PrivateKeyFormat, RegExp][] = [
  ["openssh", /^-----BEGIN OPENSSH PRIVATE KEY-----\n/],
  ["pkcs8", /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/],
  ["putty", /^PuTTY-User-Key-File-3: .*\nEncryption: aes256-cbc\n/],
];
const clear: readonly [PrivateKeyFormat, RegExp][] = [
  ["openssh", /^-----BEGIN OPENSSH PRIVATE KEY-----\n/],
  ["pkcs8", /^-----BEGIN PRIVATE KEY-----\n/],
  ["putty", /^PuTTY-User-Key-File-3: .*\nEncryption: none\n/],
  ["jwk", /^\{\n {2}"kty": /],
];

Deno.test("export() writes each format, and parsePrivateKey() reads the same key and comment from it", async () => {
  for (const key of keys) {
    for (const [format, begins] of clear) {
      const text = await key.export({ format });
      assertMatch(text, begins);
      assert(text.endsWith("\n"));
      const read = await parsePrivateKey(text);
      // PKCS#8 has no comment, which is the `kid` of a JSON Web Key.
      const { kid, ...secrets } = await secretsOf(key);
      assertEquals(await secretsOf(read), format === "pkcs8" ? secrets : { ...secrets, kid }, format);
      assertEquals(await parsePrivateKey(utf8(text)).then(secretsOf), await secretsOf(read));
      const { encrypted, publicKey } = inspectPrivateKey(text);
      assertEquals(encrypted, false);
      if (format !== "pkcs8") assertEquals(publicKey?.blob, key.publicKey.blob);
    }
  }
});

Deno.test("export() encrypts each format that can be, with the cost that is asked for, and differently each time", async () => {
  for (const [i, key] of keys.entries()) {
    for (const [format, begins] of encrypted) {
      // Argon2 takes its time, and is the same for each key.
      if (format === "putty" && i > 0) continue;
      const text = await key.export({ format, passphrase: "correct hörse", rounds: 1 });
      assertMatch(text, begins);
      const read = await parsePrivateKey(text, { passphrase: "correct hörse" });
      assertEquals(read.publicKey.blob, key.publicKey.blob);
      if (i > 0) continue;
      assertNotEquals(text, await key.export({ format, passphrase: "correct hörse", rounds: 1 }));
      assertEquals(inspectPrivateKey(text).encrypted, true);
      const wrong = await assertRejects(() => parsePrivateKey(text, { passphrase: "Correct hörse" }), KeyFormatError);
      assertEquals(wrong.reason, "WRONG_PASSPHRASE", format);
      const none = await assertRejects(() => parsePrivateKey(text), KeyFormatError);
      assertEquals(none.reason, "NO_PASSPHRASE", format);
    }
  }
  assertMatch(await keys[0]!.export({ format: "putty", passphrase: "x", rounds: 2 }), /^Argon2-Passes: 2$/m);
});

Deno.test("export() refuses what a format cannot do, and costs beyond what is read", async () => {
  const key = keys[0]!;
  await assertRejects(() => key.export({ format: "jwk", passphrase: "x" }), TypeError, "has no encryption");
  await assertRejects(() => key.export({ format: "jwk", rounds: 1 }), TypeError, "has no encryption");
  await assertRejects(() => key.export({ format: "pem" as "jwk" }), TypeError, "openssh, pkcs8, putty, jwk");
  await assertRejects(() => key.export({ format: null as unknown as "jwk" }), TypeError, "openssh, pkcs8, putty, jwk");
  await assertRejects(() => key.export("x" as never), TypeError, "`options`");
  await assertRejects(() => key.export({ passphrase: 7 as unknown as string }), TypeError, "not a string");
  for (const [format, max] of [["openssh", 2048], ["pkcs8", 10_000_000], ["putty", 128]] as const) {
    await assertRejects(() => key.export({ format, passphrase: "" }), TypeError, "the passphrase is empty");
    for (const rounds of [0, -1, 1.5, NaN, Infinity, max + 1]) {
      await assertRejects(() => key.export({ format, passphrase: "x", rounds }), RangeError, `1 to ${max}`);
    }
  }
  const text = (await key.export({ format: "jwk" })).replace(/"kid": ".*"/, '"kid": "a\\nb"');
  const odd = await parsePrivateKey(text);
  assertEquals(odd.comment, "a\nb");
  await assertRejects(() => odd.export({ format: "putty" }), TypeError, "control character");
  assertEquals((await parsePrivateKey(await odd.export())).comment, "a\nb");
});

Deno.test("exportPublicKey() writes each format, and parsePublicKey() reads the same key from it", () => {
  for (const { publicKey } of keys) {
    for (const format of ["openssh", "rfc4716", "spki", "jwk"] as const) {
      for (const comment of ["", "made here", `ü"\\ ${"long ".repeat(60)}`]) {
        const text = exportPublicKey(publicKey, { format, comment });
        assertEquals(parsePublicKey(text).blob, publicKey.blob, format);
        assertEquals(parsePublicKey(utf8(text.replaceAll("\n", "\r\n"))).blob, publicKey.blob, format);
        assert(text.endsWith("\n") && !text.endsWith("\n\n"));
        if (format !== "rfc4716") continue;
        for (const line of text.split("\n")) assert(utf8(line).length <= 72, line);
      }
    }
    assertEquals(exportPublicKey(publicKey, { comment: "x y" }), `${publicKeyLine(publicKey, "x y")}\n`);
  }
  const { publicKey } = keys[0]!;
  assertThrows(() => exportPublicKey(publicKey, { comment: "a\nb", format: "jwk" }), TypeError, "line break");
  assertThrows(
    () => exportPublicKey(publicKey, { format: "pkcs8" as "jwk" }),
    TypeError,
    "openssh, rfc4716, spki, jwk",
  );
  assertThrows(() => exportPublicKey(keys[0]! as never), TypeError, "write `key.publicKey`");
  const long = { format: "rfc4716", comment: "x".repeat(1014) } as const;
  assertThrows(() => exportPublicKey(publicKey, long), RangeError, "1013 bytes");
  assertEquals(
    parsePublicKey(exportPublicKey(publicKey, { ...long, comment: "x".repeat(1012) })).blob,
    publicKey.blob,
  );
});

Deno.test("parsePrivateKey() reads the DER that stands in PEM", async () => {
  for (const { private: text, passphrase } of vectors<{ private: string; passphrase: string | null }>("pem_keys", 24)) {
    if (text.includes("DEK-Info")) continue;
    const der = derOf(text), options = passphrase === null ? {} : { passphrase };
    const expected = await parsePrivateKey(text, options);
    assertEquals((await parsePrivateKey(der, options)).publicKey.blob, expected.publicKey.blob);
    const cut = await assertRejects(() => parsePrivateKey(der.slice(0, -1), options), KeyFormatError);
    assertEquals(cut.reason, "UNSUPPORTED");
  }
});

/** What stands in the last block of a file. */
function derOf(text: string): Uint8Array<ArrayBuffer> {
  const lines = text.slice(text.lastIndexOf("-----BEGIN")).split("\n").filter((line) => !line.startsWith("-"));
  return Uint8Array.fromBase64(lines.join(""));
}

Deno.test("JSON Web Keys are read as others write them, and refused for what they are not", async () => {
  for (const key of keys) {
    const members = await secretsOf(key);
    const read = (changes: Record<string, unknown>) => parsePrivateKey(JSON.stringify({ ...members, ...changes }));
    for (
      const fine of [{}, { use: "sig", alg: "ES256", ext: true }, { key_ops: ["sign"] }, { kid: 7 }, {
        kid: undefined,
      }]
    ) {
      assertEquals((await read(fine)).publicKey.blob, key.publicKey.blob);
    }
    const refused: readonly [Record<string, unknown>, string, KeyFormatError["reason"]][] = [
      [{ d: undefined }, "it is a public key", "OTHER_KIND"],
      [{ use: "enc" }, "not for signatures", "OTHER_KIND"],
      [{ key_ops: ["verify"] }, "not for signatures", "OTHER_KIND"],
      [{ key_ops: "sign" }, "not for signatures", "OTHER_KIND"],
      [{ kty: "oct" }, "a symmetric key", "OTHER_KIND"],
      [{ kty: "XYZ" }, 'the JSON Web Key type "XYZ', "UNSUPPORTED"],
      [{ kty: undefined }, 'it has no "kty"', "UNSUPPORTED"],
      [{ kty: 7 }, 'it has no "kty"', "UNSUPPORTED"],
      [{ d: 7 }, 'its member "d" is missing or no text', "DAMAGED"],
      [{ d: "+/+/" }, 'its member "d" is not base64url', "DAMAGED"],
      [{ d: "" }, "", "DAMAGED"],
      [{ d: `${members.d}AA` }, "", "DAMAGED"],
      [{ d: "AQ" }, "", "DAMAGED"],
    ];
    for (const [changes, says, reason] of refused) {
      const error = await assertRejects(() => read(changes), KeyFormatError, says, JSON.stringify(changes));
      assertEquals(error.reason, reason, error.message);
    }
    const publicText = exportPublicKey(key.publicKey, { format: "jwk" });
    assertThrows(() => parsePublicKey(JSON.stringify(members)), KeyFormatError, "it is a private key");
    const forEncryption = JSON.stringify({ ...JSON.parse(publicText), use: "enc" });
    assertThrows(() => parsePublicKey(forEncryption), KeyFormatError, "not for signatures");
    assertEquals(parsePublicKey(`\n ${publicText}`).blob, key.publicKey.blob);
  }
  const rsa = await secretsOf(keys[4]!);
  // What a signature would give away: with d of another key, or a wrong inverse of q, which is not even looked at.
  await assertKeyFormat(() => parsePrivateKey(JSON.stringify({ ...rsa, d: rsa.p })), "do not belong together");
  await assertKeyFormat(() => parsePrivateKey(JSON.stringify({ ...rsa, p: rsa.q })), "do not belong together");
  assertEquals(await parsePrivateKey(JSON.stringify({ ...rsa, qi: "AQ", dp: "AQ" })).then(secretsOf), rsa);
  assertEquals(await parsePrivateKey(JSON.stringify({ ...rsa, e: "AAABAAE" })).then(secretsOf), rsa);
  const noPrimes = { ...rsa, p: undefined, q: undefined };
  await assertKeyFormat(() => parsePrivateKey(JSON.stringify(noPrimes)), "without its primes");
  await assertKeyFormat(() => parsePrivateKey(JSON.stringify({ ...rsa, oth: [] })), "two primes");
  await assertKeyFormat(() => parsePrivateKey(JSON.stringify({ keys: [rsa] })), "a set of JSON Web Keys");
  const wrongPoint = { ...await secretsOf(keys[1]!), x: (await secretsOf(keys[1]!)).y };
  await assertKeyFormat(() => parsePrivateKey(JSON.stringify(wrongPoint)), "no uncompressed point");
});

Deno.test("no error about a JSON Web Key, nor its cause, shows any of the key", async () => {
  const d = (await secretsOf(keys[0]!)).d!;
  for (const text of [`{"kty":"OKP","d":"${d}`, `{"d":${d}}`, `{"kty":"OKP","crv":"Ed25519","x":"AA","d":"${d}!"}`]) {
    const error = await assertRejects(() => parsePrivateKey(text), KeyFormatError);
    assert(!Deno.inspect(error).includes(d.slice(0, 8)), error.message);
    assertEquals(error.cause, undefined);
  }
});

const scrypt = `-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGTME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAh8uCd6o+RZJQICQAAC
AQgCAQEwHQYJYIZIAWUDBAEqBBC1zs711FldtcS5Btn5c+bVBEAFKukpYJmiKrNd
kb2DORorYjklGJmdFVjNUj05GdhsLeG6BRIyhIXu3yGKs5r9Ia072w9cDtKhDqfs
X6FCwsPj
-----END ENCRYPTED PRIVATE KEY-----
`;

Deno.test("parsePrivateKey() reads PKCS#8 under scrypt as openssl writes it, and bounds what that may take", async () => {
  const key = await parsePrivateKey(scrypt, { passphrase: "secret" });
  assertEquals(key.publicKey.type, "ssh-ed25519");
  const wrong = await assertRejects(() => parsePrivateKey(scrypt, { passphrase: "x" }), KeyFormatError);
  assertEquals(wrong.reason, "WRONG_PASSPHRASE");
  const der = derOf(scrypt), at = der.toHex().indexOf("02024000" + "020108" + "020101") / 2;
  // N 16,384, r 8, p 1.
  const changes: readonly (readonly [offset: number, value: number])[] = [
    [2, 0x7f], // no power of two
    [2, 0],
    [6, 0],
    [9, 0],
    [6, 0x7f], // N times r above a million
    [9, 0x7f],
  ];
  for (const [offset, value] of changes) {
    const changed = der.slice();
    changed[at + offset] = value;
    const error = await assertRejects(() => parsePrivateKey(changed, { passphrase: "secret" }), KeyFormatError);
    assertEquals(error.reason, "UNSUPPORTED", `${offset} ${value}: ${error.message}`);
    assert(error.message.includes("scrypt with N"), error.message);
  }
});
