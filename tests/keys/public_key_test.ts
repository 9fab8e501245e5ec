import { assert, assertEquals, assertFalse, assertLess, assertNotEquals, assertThrows } from "@std/assert";
import {
  insecureVerifySha1,
  keyTypeOf,
  parsePublicKey,
  publicKeyFromBlob,
  publicKeyLine,
  signatureAlgorithm,
  signatureAlgorithmsOf,
  verifyWith,
} from "../../lib/keys/public_key.ts";
import { generateKey, insecureSha1Signer, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { fastest } from "../_support/until.ts";
import { assertKeyFormat, blobOf, opensshKeys, strings, utf8, vectors } from "../_support/key_vectors.ts";

Deno.test("parsePublicKey() reads what ssh-keygen writes", async () => {
  for (const { public: line, fingerprint, comment } of opensshKeys()) {
    const key = parsePublicKey(line + "\n");
    assertEquals(await key.fingerprint(), fingerprint);
    assertEquals(key.blob, blobOf(line));
    assertEquals(publicKeyLine(key, comment), line);
    assertEquals(publicKeyFromBlob(key.blob).type, key.type);
  }
});

Deno.test("parsePublicKey() reads RFC 4716 blocks", async () => {
  for (const { public: line, rfc4716 } of vectors<{ public: string; rfc4716: string }>("rfc4716", 6)) {
    assertEquals(parsePublicKey(rfc4716).blob, blobOf(line));
    assertEquals(parsePublicKey(rfc4716.replaceAll("\n", "\r\n")).blob, blobOf(line));
    const continued = rfc4716.replace(
      /Comment: .*\n/,
      'Subject: me\nComment: "a comment \\\nthat goes on: here"\nx-y: z\n',
    );
    assertNotEquals(continued, rfc4716);
    assertEquals(parsePublicKey(continued).blob, blobOf(line));
    await assertKeyFormat(() => parsePublicKey(rfc4716.replace(/---- END.*\n/, "")), "no end line");
  }
});

Deno.test("parsePublicKey() says what it found instead of a public key", async () => {
  const line = opensshKeys()[0]!.public;
  const [type, base64] = line.split(" ") as [string, string];
  await assertKeyFormat(() => parsePublicKey(""), "empty");
  await assertKeyFormat(() => parsePublicKey(base64), "type base64 comment");
  await assertKeyFormat(() => parsePublicKey(`${line}\n${line}`), "2 lines");
  await assertKeyFormat(() => parsePublicKey(`ssh-rsa ${base64}`), "holds a key of type ssh-ed25519");
  await assertKeyFormat(() => parsePublicKey(`${type} ${base64.slice(0, -1)}`), "not base64");
  await assertKeyFormat(() => parsePublicKey(`${type} ${base64.slice(0, -4)}`));
  await assertKeyFormat(() => parsePublicKey("ssh-dss AAAAB3NzaC1kc3M="), '"ssh-dss" is not supported');
  await assertKeyFormat(() => parsePublicKey(opensshKeys()[0]!.private), "it is a private key");
  await assertKeyFormat(() => parsePublicKey("-----BEGIN PUBLIC KEY-----\n"), "is missing");
  await assertKeyFormat(() => parsePublicKey(" ".repeat(65_537)), "65536");
  assertThrows(() => publicKeyLine(parsePublicKey(line), "a\nb"), TypeError);
});

Deno.test("publicKeyFromBlob() refuses unsound keys before any arithmetic", async () => {
  const point = new Uint8Array(32).fill(1);
  const n = (bits: number) => (1n << BigInt(bits - 1)) + 1n;
  const p256 = blobOf(opensshKeys()[1]!.public).slice(-65);
  const off = p256.slice();
  off[64]! ^= 1;
  const compressed = p256.slice(0, 33);
  compressed[0] = 2;
  const cases: [string, Uint8Array][] = [
    ["empty", new Uint8Array(0)],
    ["unknown type", strings("ssh-unknown", point)],
    ["escape in the type", strings("ssh-\x1b[31m", point)],
    ["ed25519 31", strings("ssh-ed25519", point.slice(1))],
    ["ed25519 33", strings("ssh-ed25519", new Uint8Array(33))],
    ["ed25519 and more", strings("ssh-ed25519", point, "x")],
    ["rsa 1023", strings("ssh-rsa", 65537n, n(1023))],
    ["rsa 2046", strings("ssh-rsa", 65537n, n(2046))],
    ["rsa 16385", strings("ssh-rsa", 65537n, n(16_385))],
    ["rsa a million bits", strings("ssh-rsa", 65537n, n(300_000))],
    ["rsa even n", strings("ssh-rsa", 65537n, n(2048) + 1n)],
    ["rsa e 1", strings("ssh-rsa", 1n, n(2048))],
    ["rsa e 0", strings("ssh-rsa", 0n, n(2048))],
    ["rsa e even", strings("ssh-rsa", 65536n, n(2048))],
    ["rsa e 2^64+1", strings("ssh-rsa", (1n << 64n) + 1n, n(2048))],
    ["rsa e negative", strings("ssh-rsa", new Uint8Array([0xff]), n(2048))],
    ["rsa e padded", strings("ssh-rsa", new Uint8Array([0, 3]), n(2048))],
    ["ecdsa other curve name", strings("ecdsa-sha2-nistp256", "nistp384", p256)],
    ["ecdsa other curve", strings("ecdsa-sha2-nistp384", "nistp384", p256)],
    ["ecdsa off the curve", strings("ecdsa-sha2-nistp256", "nistp256", off)],
    ["ecdsa compressed", strings("ecdsa-sha2-nistp256", "nistp256", compressed)],
    ["ecdsa infinity", strings("ecdsa-sha2-nistp256", "nistp256", new Uint8Array(1))],
    ["ecdsa coordinates >= p", strings("ecdsa-sha2-nistp256", "nistp256", new Uint8Array(65).fill(0xff).fill(4, 0, 1))],
    ["dss", strings("ssh-dss", 5n, 5n, 5n, 5n)],
  ];
  for (const [what, blob] of cases) {
    assertLess(await fastest(1000, () => assertKeyFormat(() => publicKeyFromBlob(blob), "", what)), 1000, what);
  }
  assertEquals(publicKeyFromBlob(strings("ssh-rsa", (1n << 64n) - 1n, n(16_384))).type, "ssh-rsa");
});

Deno.test("publicKeyFromBlob() keeps its own copy of the blob", async () => {
  const blob = blobOf(opensshKeys()[0]!.public);
  const key = publicKeyFromBlob(blob);
  const before = key.blob;
  blob.fill(0);
  key.blob.fill(1);
  assertEquals(key.blob, before);
  assertEquals(await key.fingerprint(), opensshKeys()[0]!.fingerprint);
});

Deno.test("signatureAlgorithmsOf() and keyTypeOf() never lead to SHA-1 by themselves", () => {
  assertEquals(signatureAlgorithmsOf("ssh-rsa"), ["rsa-sha2-512", "rsa-sha2-256"]);
  assertEquals(signatureAlgorithmsOf("ssh-ed25519"), ["ssh-ed25519"]);
  assertEquals(signatureAlgorithmsOf("ecdsa-sha2-nistp521"), ["ecdsa-sha2-nistp521"]);
  assertEquals(signatureAlgorithmsOf("ssh-dss"), []);
  assertEquals(keyTypeOf("rsa-sha2-256"), "ssh-rsa");
  assertEquals(keyTypeOf("ssh-ed25519"), "ssh-ed25519");
  assertEquals(keyTypeOf("ssh-dss"), null);
});

Deno.test("verifyWith() takes exactly the algorithm asked for", async () => {
  const data = utf8("data");
  for (const vector of opensshKeys().slice(0, 5)) {
    const key = await parsePrivateKey(vector.private);
    const { publicKey } = key;
    for (const algorithm of key.algorithms) {
      const signature = await key.sign(data, algorithm);
      assertEquals(signatureAlgorithm(signature), algorithm);
      assert(await publicKey.verify(data, signature), algorithm);
      assertFalse(await publicKey.verify(utf8("date"), signature), algorithm);
      for (const other of ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", ""]) {
        assertEquals(
          await verifyWith(publicKey, other, data, signature),
          other === algorithm,
          `${algorithm} as ${other}`,
        );
      }
      // Somebody else's object is verified by its blob.
      const foreign = { ...publicKey, type: publicKey.type, blob: publicKey.blob, verify: () => Promise.resolve(true) };
      assert(await verifyWith(foreign, algorithm, data, signature));
      assertFalse(await verifyWith(foreign, algorithm, utf8("date"), signature));
      assertFalse(await verifyWith({ ...foreign, blob: new Uint8Array(3) }, algorithm, data, signature));
    }
  }
});

Deno.test("verify() is false for each flipped bit, each truncation and whatever follows", async () => {
  const data = utf8("data");
  for (const vector of opensshKeys().slice(0, 5)) {
    const key = await parsePrivateKey(vector.private);
    const signature = await key.sign(data, key.algorithms[0]!);
    const step = key.publicKey.type === "ssh-rsa" ? 7 : 1;
    for (let i = 0; i < signature.length; i += step) {
      const flipped = signature.slice();
      flipped[i]! ^= 1 << (i % 8);
      assertFalse(await key.publicKey.verify(data, flipped), `${vector.public} byte ${i}`);
      assertFalse(await key.publicKey.verify(data, signature.slice(0, i)), `${vector.public} cut at ${i}`);
    }
    assertFalse(await key.publicKey.verify(data, new Uint8Array([...signature, 0])));
  }
});

Deno.test("verify() refuses malformed signature values", async () => {
  const data = utf8("data");
  const ed = await generateKey();
  const signature = (await ed.sign(data, "ssh-ed25519")).slice(-64);
  const verifyEd = (value: Uint8Array) => ed.publicKey.verify(data, strings("ssh-ed25519", value));
  assert(await verifyEd(signature));
  assertFalse(await verifyEd(signature.slice(0, 63)));
  assertFalse(await verifyEd(new Uint8Array([...signature, 0])));
  // S + L signs the same data where S is not checked against the order.
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const s = BigInt("0x" + signature.slice(32).reverse().toHex()) + order;
  const malleable = signature.slice();
  malleable.set(Uint8Array.fromHex(s.toString(16).padStart(64, "0")).reverse(), 32);
  assertFalse(await verifyEd(malleable));

  const orders = {
    256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    521: (1n << 521n) - 0x5ae79787c40d069948033feb708f65a2fc44a36477663b851449048e16ec79bf7n,
  };
  for (const bits of [256, 521] as const) {
    const key = await generateKey("ecdsa", { bits });
    const type = key.publicKey.type;
    const value = (await key.sign(data, type)).slice(4 + type.length + 4);
    const length = new DataView(value.buffer).getUint32(0);
    const r = BigInt("0x" + value.slice(4, 4 + length).toHex()), s = BigInt("0x" + value.slice(8 + length).toHex());
    const n = orders[bits];
    const verify = (...parts: (bigint | Uint8Array)[]) => key.publicKey.verify(data, strings(type, strings(...parts)));
    assert(await verify(r, s));
    assert(await verify(r, n - s), "ECDSA itself allows both halves");
    for (const [a, b] of [[0n, s], [r, 0n], [n, s], [r, n], [r + n, s], [r, s + n], [1n << 600n, s]] as const) {
      assertFalse(await verify(a, b));
    }
    assertFalse(await verify(new Uint8Array([0x80]), s), "negative");
    assertFalse(await verify(r, s, 1n), "more");
    assertFalse(await verify(r), "less");
    assert(await verify(new Uint8Array([0, ...value.slice(4, 4 + length)]), s), "OpenSSH bears zeros too many");
  }
});

Deno.test("verify() takes an RSA signature whose leading zeros were stripped", async () => {
  const key = await parsePrivateKey(opensshKeys()[4]!.private);
  for (let i = 0;; i++) {
    const data = utf8(`data ${i}`);
    const value = (await key.sign(data, "rsa-sha2-256")).slice(-256);
    if (value[0] !== 0) continue;
    assert(await key.publicKey.verify(data, strings("rsa-sha2-256", value)));
    assert(await key.publicKey.verify(data, strings("rsa-sha2-256", value.slice(1))));
    assertFalse(await key.publicKey.verify(data, strings("rsa-sha2-256", new Uint8Array([0, ...value]))));
    break;
  }
});

Deno.test("insecureVerifySha1() is the only way to SHA-1", async () => {
  const data = utf8("data");
  const key = await parsePrivateKey(opensshKeys()[4]!.private);
  const signer = insecureSha1Signer(key);
  assertEquals(signer.algorithms, ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]);
  const signature = await signer.sign(data, "ssh-rsa");
  assertFalse(await key.publicKey.verify(data, signature));
  assertFalse(await verifyWith(key.publicKey, "ssh-rsa", data, signature));
  assert(await insecureVerifySha1(key.publicKey, data, signature));
  assertFalse(await insecureVerifySha1(key.publicKey, data, await signer.sign(data, "rsa-sha2-256")));
  const ed = await generateKey();
  assertFalse(await insecureVerifySha1(ed.publicKey, data, await ed.sign(data, "ssh-ed25519")));
  assertThrows(() => insecureSha1Signer(ed), TypeError);
});

Deno.test("verify() takes RSA keys that WebCrypto does not", async () => {
  interface Unusual {
    name: string;
    public: string;
    private?: string;
    signatures: Record<string, string>;
  }
  for (const vector of vectors<Unusual>("unusual_rsa", 3)) {
    const key = parsePublicKey(vector.public);
    for (const [algorithm, value] of Object.entries(vector.signatures)) {
      const bytes = Uint8Array.fromBase64(value);
      assert(await key.verify(utf8("data"), strings(algorithm, bytes)), vector.name);
      assertFalse(await key.verify(utf8("date"), strings(algorithm, bytes)), vector.name);
      bytes[100]! ^= 1;
      assertFalse(await key.verify(utf8("data"), strings(algorithm, bytes)), vector.name);
      assertFalse(
        await key.verify(utf8("data"), strings(algorithm, new Uint8Array(bytes.length).fill(0xff))),
        vector.name,
      );
    }
    if (vector.private === undefined) continue;
    const pair = await parsePrivateKey(vector.private);
    assertEquals(pair.publicKey.blob, key.blob);
    assert(await key.verify(utf8("data"), await pair.sign(utf8("data"), "rsa-sha2-512")));
  }
  const largest = publicKeyFromBlob(strings("ssh-rsa", (1n << 64n) - 1n, (1n << 16_383n) + 1n));
  const signature = strings("rsa-sha2-512", new Uint8Array(2048).fill(7));
  const verify = async () => assertFalse(await largest.verify(utf8("data"), signature));
  // It takes some 10 ms.
  assertLess(await fastest(2000, verify), 2000);
});
