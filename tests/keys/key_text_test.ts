/**
 * Text of keys as strings and as bytes, and comments that are not UTF-8. C16 of the cases.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { publicKey } from "../../lib/auth/methods.ts";
import { connectAgent } from "../../lib/agent/agent.ts";
import { matchAuthorizedKey } from "../../lib/auth/authorized_keys.ts";
import { parseAuthorizedKeys } from "../../lib/keys/trust/authorized_keys.ts";
import { looksLikePath } from "../../lib/keys/key_text.ts";
import { inspectPrivateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { parsePublicKey, publicKeyLine } from "../../lib/keys/public_key.ts";
import { join } from "../_support/joined.ts";
import { memoryPair } from "../_support/duplex.ts";
import { assertKeyFormat, blobOf, opensshKeys, strings, utf8, vectors } from "../_support/key_vectors.ts";

interface PuttyFile {
  readonly name: string;
  readonly passphrase: string | null;
  readonly bytes: string;
  readonly public: string;
}

const options = (passphrase: string | null) => passphrase === null ? {} : { passphrase };

// C16
Deno.test("parsePrivateKey() reads a PuTTY file whose comment is Latin-1 from its bytes", async () => {
  for (const vector of vectors<PuttyFile>("latin1_putty", 4)) {
    const bytes = Uint8Array.fromBase64(vector.bytes);
    const key = await parsePrivateKey(bytes, options(vector.passphrase));
    assertEquals([publicKeyLine(key.publicKey), key.comment], [vector.public, "café key"], vector.name);
    assertEquals(publicKeyLine(inspectPrivateKey(bytes).publicKey!), vector.public);
    const crlf = bytes.toHex().replaceAll(/(..)/g, (byte) => byte === "0a" ? "0d0a" : byte);
    assertEquals((await parsePrivateKey(Uint8Array.fromHex(crlf), options(vector.passphrase))).comment, "café key");
  }
});

Deno.test("parsePrivateKey() says of a PuTTY file that was decoded with loss to pass its bytes", async () => {
  for (const vector of vectors<PuttyFile>("latin1_putty", 4)) {
    const text = new TextDecoder().decode(Uint8Array.fromBase64(vector.bytes));
    const says = "pass its bytes, `await Deno.readFile(path)`";
    await assertKeyFormat(() => parsePrivateKey(text, options(vector.passphrase)), says, vector.name);
    const changed = text.replace("caf\ufffd", "cafe");
    const wrong = vector.passphrase === null ? "its MAC is wrong" : "the passphrase is wrong";
    await assertKeyFormat(() => parsePrivateKey(changed, options(vector.passphrase)), wrong, vector.name);
  }
});

Deno.test("comments that are not UTF-8 are read as Windows and old systems wrote them", async () => {
  const text = `-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACD1IHCIsZzIXFKkLRRQoel32uaxOtjEvlCMEK1wMHO33QAAAIjqzI6d6syO
nQAAAAtzc2gtZWQyNTUxOQAAACD1IHCIsZzIXFKkLRRQoel32uaxOtjEvlCMEK1wMHO33Q
AAAECLyQf2fj0qn0X5VLfdkiTB+lWhsYUAJMx3whaaHVWToPUgcIixnMhcUqQtFFCh6Xfa
5rE62MS+UIwQrXAwc7fdAAAABGNhZukB
-----END OPENSSH PRIVATE KEY-----
`;
  const key = await parsePrivateKey(text);
  assertEquals(key.comment, "café");
  assertEquals((await parsePrivateKey(await key.export())).comment, "café");

  const { client, server } = memoryPair({ highWaterMark: 65_536 });
  await using agent = await connectAgent(client);
  const listed = agent.signers();
  const blob = key.publicKey.blob, comment = [0x63, 0x61, 0x66, 0xe9];
  const answer = [12, 0, 0, 0, 1, ...strings(blob, new Uint8Array(comment))];
  const writer = server.writable.getWriter();
  await writer.write(new Uint8Array([0, 0, 0, answer.length, ...answer]));
  assertEquals((await listed).map((signer) => signer.comment), ["café"]);
  writer.releaseLock();
});

Deno.test("wherever the text of a key is taken, its bytes are taken", async () => {
  const vector = opensshKeys()[0]!, bytes = utf8(vector.private), line = utf8(vector.public + "\n");
  const bom = new Uint8Array([0xef, 0xbb, 0xbf]);
  for (const given of [bytes, new Uint8Array([...bom, ...bytes]), new Uint8Array([0, ...bytes]).subarray(1)]) {
    assertEquals((await parsePrivateKey(given)).publicKey.blob, blobOf(vector.public));
    assertEquals(inspectPrivateKey(given).publicKey?.blob, blobOf(vector.public));
  }
  for (const given of [line, new Uint8Array([...bom, ...line])]) {
    assertEquals(parsePublicKey(given).blob, blobOf(vector.public));
  }
  assertEquals(parseAuthorizedKeys(line).keys.length, 1);
  assertEquals(matchAuthorizedKey(line, parsePublicKey(line))?.line, 1);
  await using joined = await join({ auth: { publicKey: () => true } }, { auth: [publicKey(bytes)] });
  assertEquals((await joined.client.exec("exit 3")).code, 3);
});

Deno.test("a text that is too long is refused before it is looked at, as a string and as bytes", async () => {
  await assertKeyFormat(() => parsePrivateKey(" ".repeat(65_537)), "more than 65536 characters");
  await assertKeyFormat(() => parsePrivateKey(new Uint8Array(65_537)), "more than 65536 bytes");
  await assertKeyFormat(() => parsePublicKey(new Uint8Array(65_537)), "more than 65536 bytes");
});

Deno.test("a path in the place of a key is told as one", async () => {
  const paths = [
    "/home/me/.ssh/id_ed25519",
    "~/.ssh/id_rsa",
    "./key",
    "../keys/my key",
    "C:\\Users\\me\\key.ppk",
    "id_rsa.pub",
  ];
  for (const path of paths) {
    assert(looksLikePath(path), path);
    const says = "it looks like a path: pass `await Deno.readTextFile(path)`";
    await assertKeyFormat(() => parsePrivateKey(path), says, path);
    await assertKeyFormat(() => parsePublicKey(path), says, path);
    assertThrows(() => publicKey(path), TypeError, says);
  }
  const { private: pem, public: line } = opensshKeys()[0]!;
  for (const text of [pem, line, "", "a b c", line.split(" ")[1]!]) assert(!looksLikePath(text), text);
});

Deno.test("what is no text of a key is a TypeError in words", async () => {
  const wrong: [unknown, string][] = [
    [undefined, "this is undefined"],
    [null, "this is null"],
    [5, "this is a number"],
    [true, "this is a boolean"],
    [["text"], "this is an array"],
    [{}, "this is an object"],
    [new ArrayBuffer(5), "this is an object"],
    [Promise.resolve(""), "a promise, await it"],
    [new URL("file:///key"), "a URL: pass `await Deno.readTextFile(path)`"],
  ];
  for (const [value, says] of wrong) {
    await assertRejects(() => parsePrivateKey(value as string), TypeError, says);
    assertThrows(() => inspectPrivateKey(value as string), TypeError, says);
    assertThrows(() => parsePublicKey(value as string), TypeError, says);
    assertThrows(() => parseAuthorizedKeys(value as string), TypeError, says);
    assertThrows(() => publicKey(value as string), TypeError, "Cannot use ");
  }
  const line = opensshKeys()[0]!.public;
  assertThrows(() => publicKey(parsePublicKey(line) as unknown as string), TypeError, "the private one is needed");
  // deno-lint-ignore no-explicit-any
  await assertRejects(() => parsePrivateKey(opensshKeys()[0]!.private, { passphrase: 5 as any }), TypeError, "string");
});
