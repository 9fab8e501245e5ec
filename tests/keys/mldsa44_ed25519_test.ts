/** Keys of ML-DSA-44 and Ed25519 together, held to what OpenSSH 10.6 wrote. draft-miller-sshm-mldsa44-ed25519-composite-sigs-00. */
import { assert, assertEquals, assertFalse, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { concat } from "@std/bytes";
import { connectAgent } from "../../lib/agent/agent.ts";
import { readAddedKey, writeAddedKey } from "../../lib/agent/added_key.ts";
import { KeyFormatError } from "../../lib/errors.ts";
import { parseCertificate } from "../../lib/keys/certificate.ts";
import { certifiedTypeOf, keyTypeOf, privateFormOf, signatureLabelOf } from "../../lib/keys/key_types.ts";
import { signCertificate } from "../../lib/keys/sign_certificate.ts";
import { verifyMessage } from "../../lib/keys/sshsig/verify_message.ts";
import { digest } from "../../lib/crypto/hash.ts";
import { generateKey, inspectPrivateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { parsePublicKey, publicKeyFromBlob, signatureAlgorithm, verifyWith } from "../../lib/keys/public_key.ts";
import { readSignature } from "../../lib/keys/signature_blob.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { memoryPair } from "../_support/duplex.ts";
import { assertKeyFormat, blobOf, strings, utf8 } from "../_support/key_vectors.ts";
import vectors from "../vectors/mldsa44_ed25519.json" with { type: "json" };
import { mutator } from "./_mutator.ts";

const NAME = "ssh-mldsa44-ed25519";
const MLDSA_PUBLIC = 1312, MLDSA_SIGNATURE = 2420, SIGNATURE = 2484;

const armoured = (text: string) => Uint8Array.fromBase64(text.replace(/-----.*-----|\n/g, ""));
const publicKey = () => parsePublicKey(vectors.publicKey);

/** What `ssh-keygen -Y sign` signed, and the signature. */
async function sshSig(): Promise<{ data: Uint8Array<ArrayBuffer>; signature: Uint8Array<ArrayBuffer> }> {
  const reader = new Reader(armoured(vectors.signature));
  assertEquals(reader.raw(6), utf8("SSHSIG"));
  assertEquals(reader.u32(), 1);
  assertEquals(reader.string(), publicKey().blob);
  assertEquals(reader.text(), vectors.namespace);
  assertEquals(reader.string().length, 0);
  assertEquals(reader.text(), "sha512");
  const signature = reader.string();
  reader.end();
  const hash = await digest("SHA-512", utf8(vectors.message));
  return { data: concat([utf8("SSHSIG"), strings(vectors.namespace, "", "sha512", hash)]), signature };
}

Deno.test("a public key and a signature by OpenSSH 10.6 are read, and the signature fits its data alone", async () => {
  const key = publicKey(), { data, signature } = await sshSig();
  assertEquals(key.type, NAME);
  assertEquals(await key.fingerprint(), vectors.fingerprint);
  assertEquals(key.toString(), vectors.publicKey.split(" ").slice(0, 2).join(" "));
  assertEquals(signatureAlgorithm(signature), NAME);
  assert(await key.verify(data, signature));
  assert(await verifyWith(key, NAME, data, signature));
  assertFalse(await verifyWith(key, "ssh-ed25519", data, signature));
  assertFalse(await key.verify(utf8("another message"), signature));
  assertFalse(await parsePublicKey(vectors.lockedPublicKey).verify(data, signature));
  const signers = { principal: "me", namespace: vectors.namespace, allowedSigners: `me ${vectors.publicKey}` };
  const signedBy = await verifyMessage(vectors.signature, utf8(vectors.message), signers);
  assertEquals(String(signedBy), String(key));
});

Deno.test("a private key by OpenSSH 10.6 is read, in clear and locked, signs, and is written as it was", async () => {
  const key = await parsePrivateKey(vectors.privateKey);
  assertEquals(key.publicKey.toString(), publicKey().toString());
  assertEquals(key.comment, "vector@example");
  assertEquals(key.algorithms, [NAME]);
  const data = utf8("data"), signature = await key.sign(data, NAME);
  assert(await publicKey().verify(data, signature));
  // Random bytes go into each signature of ML-DSA, and none into one of Ed25519.
  const halves = [signature, await key.sign(data, NAME)].map((blob) => readSignature(blob).value);
  assertEquals(halves.map(({ length }) => length), [SIGNATURE, SIGNATURE]);
  assertNotEquals(halves[0]!.slice(0, MLDSA_SIGNATURE), halves[1]!.slice(0, MLDSA_SIGNATURE));
  assertEquals(halves[0]!.slice(MLDSA_SIGNATURE), halves[1]!.slice(MLDSA_SIGNATURE));

  // The two files differ in their check numbers alone.
  const [written, original] = [await key.export(), vectors.privateKey].map(armoured);
  const check = 15 + 8 + 8 + 4 + 4 + 4 + publicKey().blob.length + 4;
  assertEquals(written!.fill(0, check, check + 8), original!.fill(0, check, check + 8));
  assertEquals(await parsePrivateKey(await key.export()).then((again) => again.publicKey.blob), key.publicKey.blob);

  await assertKeyFormat(() => parsePrivateKey(vectors.lockedPrivateKey), "no passphrase");
  await assertKeyFormat(
    () => parsePrivateKey(vectors.lockedPrivateKey, { passphrase: "x" }),
    "the passphrase is wrong",
  );
  assert(inspectPrivateKey(vectors.lockedPrivateKey).encrypted);
  const locked = await parsePrivateKey(vectors.lockedPrivateKey, { passphrase: vectors.lockedPassphrase });
  assertEquals(locked.publicKey.blob, blobOf(vectors.lockedPublicKey));
  const relocked = await locked.export({ passphrase: "another", rounds: 1 });
  assertEquals((await parsePrivateKey(relocked, { passphrase: "another" })).publicKey.blob, locked.publicKey.blob);
});

Deno.test('generateKey("mldsa44-ed25519") makes a key that signs, is written and read, and refuses sizes', async () => {
  const key = await generateKey("mldsa44-ed25519", { comment: "new" });
  assertEquals(key.publicKey.type, NAME);
  assertEquals(key.publicKey.blob.length, 4 + NAME.length + 4 + 1344);
  const data = utf8("data"), signature = await key.sign(data, NAME);
  const again = await parsePrivateKey(await key.export());
  assertEquals(again.toString(), key.toString());
  assert(await again.publicKey.verify(data, signature));
  assert(await key.publicKey.verify(data, await again.sign(data, NAME)));
  await assertRejects(() => key.sign(data, "ssh-ed25519"), TypeError, `has ${NAME}`);
  await generateKey("mldsa44-ed25519", { bits: 512 });
  for (const bits of [0, 44, 256, 511, 513, 1312]) {
    await assertRejects(() => generateKey("mldsa44-ed25519", { bits }), RangeError, "counts as 512");
  }
});

Deno.test("a signature fits only if both halves do, whichever half is wrong, exchanged or of another key", async () => {
  const key = publicKey(), { data, signature } = await sshSig();
  const value = readSignature(signature).value.slice();
  const verify = (changed: Uint8Array) => key.verify(data, strings(NAME, changed));
  assert(await verify(value));
  const at = (index: number) => value.map((byte, i) => i === index ? byte ^ 1 : byte);
  // The challenge, the response, the hint, and R and S of Ed25519.
  for (const index of [0, 31, 32, 1200, 2335, 2336, 2419, 2420, 2451, 2452, 2483]) {
    assertFalse(await verify(at(index)), `byte ${index}`);
  }
  const other = await parsePrivateKey(vectors.privateKey);
  const fresh = readSignature(await other.sign(data, NAME)).value.slice();
  // Halves of two signatures of the same data by the same key fit together.
  assert(await verify(concat([fresh.slice(0, MLDSA_SIGNATURE), value.slice(MLDSA_SIGNATURE)])));
  const stranger = await generateKey("mldsa44-ed25519");
  const strange = readSignature(await stranger.sign(data, NAME)).value.slice();
  assertFalse(await verify(concat([strange.slice(0, MLDSA_SIGNATURE), value.slice(MLDSA_SIGNATURE)])));
  assertFalse(await verify(concat([value.slice(0, MLDSA_SIGNATURE), strange.slice(MLDSA_SIGNATURE)])));
  assertFalse(await verify(concat([value.slice(MLDSA_SIGNATURE), value.slice(0, MLDSA_SIGNATURE)])));
});

Deno.test("a half that signs by itself is no signature of the composite key, nor the other way round", async () => {
  const seeds = armoured(vectors.privateKey);
  const reader = new Reader(seeds.slice(15));
  for (let i = 0; i < 3; i++) reader.string();
  reader.u32();
  reader.string();
  const section = new Reader(reader.string());
  section.u64();
  section.text();
  section.string();
  const pair = section.string(), point = publicKey().blob.slice(-32);
  // A file of an Ed25519 key of the composite key's second half.
  const body = concat([
    new Uint8Array(8),
    strings("ssh-ed25519", point, concat([pair.slice(32), point]), ""),
    Uint8Array.of(1, 2, 3, 4, 5),
  ]);
  const file = concat([
    utf8("openssh-key-v1\0"),
    strings("none", "none", ""),
    Uint8Array.of(0, 0, 0, 1),
    strings(strings("ssh-ed25519", point), body),
  ]);
  const half = await parsePrivateKey(
    `-----BEGIN OPENSSH PRIVATE KEY-----\n${file.toBase64()}\n-----END OPENSSH PRIVATE KEY-----`,
  );
  const { data, signature } = await sshSig();
  const alone = readSignature(await half.sign(data, "ssh-ed25519")).value, value = readSignature(signature).value;
  assertFalse(await half.publicKey.verify(data, strings("ssh-ed25519", value.slice(MLDSA_SIGNATURE))));
  assertFalse(await publicKey().verify(data, strings(NAME, concat([value.slice(0, MLDSA_SIGNATURE), alone]))));
});

Deno.test("verify() is false for values of every other length and never throws for any bytes", async () => {
  const key = publicKey(), { data, signature } = await sshSig();
  const value = readSignature(signature).value.slice();
  for (const length of [0, 1, 64, 2419, 2420, 2421, 2483, 2485, 4968]) {
    const cut = new Uint8Array(length);
    cut.set(value.subarray(0, length));
    assertFalse(await key.verify(data, strings(NAME, cut)), `${length} bytes`);
  }
  for (const fill of [0, 0x7f, 0x80, 0xff]) {
    assertFalse(await key.verify(data, strings(NAME, new Uint8Array(SIGNATURE).fill(fill))));
    // With an Ed25519 half that fits, ML-DSA's half is looked at in any case.
    const bad = concat([new Uint8Array(MLDSA_SIGNATURE).fill(fill), value.slice(MLDSA_SIGNATURE)]);
    assertFalse(await key.verify(data, strings(NAME, bad)));
  }
  const next = mutator([signature], 44);
  for (let i = 0; i < 100; i++) {
    const changed = next();
    assertEquals(await key.verify(data, changed), changed.toHex() === signature.toHex());
  }
  // Keys whose halves are no key of anything verify nothing.
  for (const fill of [0, 1, 0xff]) {
    const strange = publicKeyFromBlob(strings(NAME, new Uint8Array(1344).fill(fill)));
    assertFalse(await strange.verify(data, signature));
  }
});

Deno.test("verify() is not misled by a caller that changes data and signature while it works", async () => {
  const { data, signature } = await sshSig();
  const wrong = signature.slice();
  wrong[100]! ^= 1;
  const verifying = publicKey().verify(data, wrong);
  wrong.set(signature);
  assertFalse(await verifying);
});

Deno.test("public and private keys of wrong lengths, with bytes left over or halves of two keys are refused", async () => {
  for (const length of [0, 32, 1312, 1343, 1345, 2688]) {
    await assertKeyFormat(() => publicKeyFromBlob(strings(NAME, new Uint8Array(length))), `${length} bytes where 1344`);
  }
  const blob = publicKey().blob;
  await assertKeyFormat(() => publicKeyFromBlob(blob.slice(0, -1)));
  await assertKeyFormat(() => publicKeyFromBlob(concat([blob, Uint8Array.of(0)])));
  // The name that OpenSSH 10.4 and 10.5 tried it under is no key's.
  assertThrows(() => publicKeyFromBlob(strings(`${NAME}@openssh.com`, blob.slice(-1344))), Error, "is not supported");

  const file = armoured(vectors.privateKey), at = file.length - 7 - 18 - 64;
  const armour = (bytes: Uint8Array) =>
    `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toBase64()}\n-----END OPENSSH PRIVATE KEY-----`;
  for (const [index, what] of [[at, "seed of ML-DSA"], [at + 32, "seed of Ed25519"]] as const) {
    const changed = file.slice();
    changed[index]! ^= 1;
    await assertKeyFormat(() => parsePrivateKey(armour(changed)), "do not belong together", what);
  }
  // The public half in the private part.
  for (const index of [at - 5, at - 5 - 32 - MLDSA_PUBLIC / 2]) {
    const changed = file.slice();
    changed[index]! ^= 1;
    await assertKeyFormat(() => parsePrivateKey(armour(changed)), "are of different keys");
  }
  const body = concat([new Uint8Array(8), strings(NAME, blob.slice(-1344), new Uint8Array(63), "")]);
  const short = concat([
    utf8("openssh-key-v1\0"),
    strings("none", "none", ""),
    Uint8Array.of(0, 0, 0, 1),
    strings(blob, concat([body, Uint8Array.from({ length: 8 - body.length % 8 }, (_, i) => i + 1)])),
  ]);
  await assertKeyFormat(() => parsePrivateKey(armour(short)), "1344 public and 64 private bytes");
  await assertKeyFormat(() =>
    parsePrivateKey([
      "PuTTY-User-Key-File-2: ssh-mldsa44-ed25519",
      "Encryption: none",
      "Comment: x",
      "Public-Lines: 1",
      blob.toBase64(),
      "Private-Lines: 1",
      "AAAA",
      `Private-MAC: ${"00".repeat(20)}`,
    ].join("\n"))
  );
  const putty = () => privateFormOf(NAME).readPutty(new Reader(blob), new Reader(blob));
  assertEquals(assertThrows(putty, KeyFormatError).reason, "UNSUPPORTED");
});

Deno.test("parsePrivateKey() and publicKeyFromBlob() take any bytes of such keys", async () => {
  const next = mutator([armoured(vectors.privateKey)], 10_6), blobs = mutator([publicKey().blob], 10_7);
  for (let i = 0; i < 60; i++) {
    const text = `-----BEGIN OPENSSH PRIVATE KEY-----\n${next().toBase64()}\n-----END OPENSSH PRIVATE KEY-----`;
    await parsePrivateKey(text).catch((error) => assertEquals(error.code, "KEY_FORMAT", text));
    try {
      publicKeyFromBlob(blobs());
    } catch (error) {
      assertEquals((error as { code?: string }).code, "KEY_FORMAT");
    }
  }
});

Deno.test("connectAgent() gives such identities of an agent, and asks it for their signatures without flags", async () => {
  const key = await parsePrivateKey(vectors.privateKey), blob = key.publicKey.blob;
  const { client, server } = memoryPair();
  const requests: Uint8Array[] = [];
  const answering = async () => {
    const reader = server.readable.getReader(), writer = server.writable.getWriter();
    let buffer = new Uint8Array(0);
    for (;;) {
      while (buffer.length < 4 || buffer.length < 4 + new DataView(buffer.buffer).getUint32(0)) {
        const { done, value } = await reader.read();
        if (done) return await writer.close().catch(() => {});
        buffer = concat([buffer, value]);
      }
      const request = new Reader(buffer).string();
      buffer = buffer.slice(4 + request.length);
      requests.push(request);
      const answer = request[0] === 11
        ? concat([Uint8Array.of(12, 0, 0, 0, 1), strings(blob, "post-quantum")])
        : concat([
          Uint8Array.of(14),
          strings(await key.sign(new Reader(request.slice(1 + 4 + blob.length)).string(), NAME)),
        ]);
      await writer.write(strings(answer));
    }
  };
  // How the client leaves is no concern of this test.
  const serving = answering().catch(() => {});
  {
    await using agent = await connectAgent(client);
    const [signer] = await agent.signers();
    assertEquals(signer!.algorithms, [NAME]);
    assertEquals(signer!.publicKey.blob, blob);
    const data = utf8("to be signed");
    assert(await signer!.publicKey.verify(data, await signer!.sign(data, NAME)));
    assertEquals(requests[1], concat([Uint8Array.of(13), strings(blob, data), new Uint8Array(4)]));
  }
  await serving;
});

Deno.test("certificates by OpenSSH 10.6 are read and hold: of such a key, and by such a CA", async () => {
  const user = await parseCertificate(vectors.userCertificate), host = await parseCertificate(vectors.hostCertificate);
  for (const one of [user, host]) {
    assertEquals(String(one.publicKey), String(publicKey()));
    assertEquals(String(one.signedBy), vectors.ca.split(" ").slice(0, 2).join(" "));
  }
  assertEquals([user.kind, user.keyId, user.serial, user.principals], ["user", "cert-user", 7n, ["alice", "bob"]]);
  assertEquals([host.kind, host.principals], ["host", ["host.example", "127.0.0.1"]]);
  const other = await parseCertificate(vectors.ed25519CertificateBySameCa);
  assertEquals([other.publicKey.type, other.signedBy.type], ["ssh-ed25519", NAME]);
  assertEquals([keyTypeOf(`${NAME}-cert`), signatureLabelOf(`${NAME}-cert`)], [`${NAME}-cert`, NAME]);
  assertEquals(certifiedTypeOf(`${NAME}-cert`), NAME);
  // OpenSSH's suffix is for its older types; nobody writes it behind this one.
  assertEquals([keyTypeOf(`${NAME}-cert-v01@openssh.com`), certifiedTypeOf(`${NAME}-cert-v01@openssh.com`)], [
    null,
    null,
  ]);

  const [type, base64] = vectors.userCertificate.split(" "), blob = Uint8Array.fromBase64(base64!);
  for (const at of [blob.length - 1, blob.length - 64, blob.length - 65, blob.length - 2400, 100]) {
    const changed = blob.slice();
    changed[at]! ^= 1;
    await assertRejects(() => parseCertificate(`${type} ${changed.toBase64()}`));
  }
});

Deno.test("signCertificate() with such a CA makes what parseCertificate() takes, of any key", async () => {
  const ca = await generateKey("mldsa44-ed25519"), ed25519 = await generateKey();
  for (const { publicKey } of [ca, ed25519]) {
    const line = await signCertificate(ca, publicKey, { kind: "user", principals: ["alice"] });
    const read = await parseCertificate(line);
    assertEquals([String(read.publicKey), String(read.signedBy)], [String(publicKey), String(ca.publicKey)]);
  }
  const [type] = (await signCertificate(ed25519, ca.publicKey, { kind: "host" })).split(" ");
  assertEquals(type, `${NAME}-cert`);
});

Deno.test("an agent is handed such a key with its certificate, in front of which the public half does not stand again", async () => {
  const key = await parsePrivateKey(vectors.privateKey), certificate = blobOf(vectors.userCertificate);
  const written = writeAddedKey(withCertificate(key, vectors.userCertificate), "both").bytes();
  assertEquals(written.length, 4 + `${NAME}-cert`.length + 4 + certificate.length + 4 + 64 + 4 + "both".length);
  const added = await readAddedKey(new Reader(written), 2048);
  assertEquals([added.blob, added.comment, String(added.key.publicKey)], [certificate, "both", String(key.publicKey)]);
  const plain = await readAddedKey(new Reader(writeAddedKey(key, "").bytes()), 2048);
  assertEquals(plain.blob, key.publicKey.blob);
  // Of another key: its seeds stand in front of the comment.
  const other = written.slice(), seeds = other.length - 4 - "both".length - 64;
  crypto.getRandomValues(other.subarray(seeds, seeds + 64));
  await assertKeyFormat(() => readAddedKey(new Reader(other), 2048));
});

Deno.test("formats that have no such keys say so", async () => {
  const key = await parsePrivateKey(vectors.privateKey);
  for (const format of ["pkcs8", "putty", "jwk"] as const) {
    await assertRejects(() => key.export({ format }), Error, NAME, format);
  }
});
