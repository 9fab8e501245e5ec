/**
 * What is refused at the very byte: limits of keys, lines and agents, and encodings that say the same in another way.
 *
 * @module
 */
import { assert, assertEquals, assertFalse, assertRejects, assertThrows } from "@std/assert";
import { HostKeyUnknownError, SshError, SshProtocolError } from "../../lib/errors.ts";
import { connectAgent } from "../../lib/agent/agent.ts";
import { parseAuthorizedKeys } from "../../lib/keys/trust/authorized_keys.ts";
import { DerReader, Tag } from "../../lib/keys/format/der.ts";
import { publicPower, toBigEndian } from "../../lib/keys/integers.ts";
import { hashHostname, knownHosts, parseKnownHosts } from "../../lib/keys/trust/known_hosts.ts";
import { checkMaterial, type RsaMaterial } from "../../lib/keys/key_material.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { parsePublicKey, publicKeyFromBlob } from "../../lib/keys/public_key.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { memoryPair } from "../_support/duplex.ts";
import { assertKeyFormat, opensshKeys, strings, utf8 } from "../_support/key_vectors.ts";

const line = opensshKeys()[0]!.public.split(" ").slice(0, 2).join(" ");
const key = parsePublicKey(line);

Deno.test("DerReader.element() takes a length in its shortest form only", () => {
  const zeros = (count: number) => new Array<number>(count).fill(0);
  for (
    const [head, count] of [[[127], 127], [[0x81, 128], 128], [[0x82, 1, 0], 256], [[0x83, 1, 0, 0], 65_536]] as const
  ) {
    const reader = new DerReader(Uint8Array.from([Tag.OCTET_STRING, ...head, ...zeros(count)]));
    assertEquals(reader.element(Tag.OCTET_STRING).length, count);
    reader.end();
  }
  const wrong = [[0x80], [0x81, 5], [0x81, 127], [0x82, 0, 5], [0x82, 0, 200], [0x83, 0, 1, 0], [0x84, 0, 0, 0, 5], [
    0xff,
  ]];
  for (const head of wrong) {
    const reader = new DerReader(Uint8Array.from([Tag.OCTET_STRING, ...head, ...zeros(300)]));
    assertThrows(() => reader.element(Tag.OCTET_STRING), SshError, "Cannot read DER", `${head}`);
  }
});

Deno.test("DerReader.end() refuses a byte behind the last element", () => {
  const reader = new DerReader(Uint8Array.of(Tag.SEQUENCE, 3, Tag.INTEGER, 1, 5, 0));
  const nested = reader.nested();
  assertEquals(nested.integer(1), 5n);
  nested.end();
  assertThrows(() => reader.end(), SshError, "bytes follow");
});

// A signature that stands for the same number modulo n would be a second one for the same data.
Deno.test("verify() takes no RSA signature at or above the modulus where WebCrypto does not do the work", async () => {
  // Mersenne primes: the modulus has 2,407 bits in 301 bytes, so that s + n has as many bytes as s.
  const primes = [521n, 607n, 1279n].map((bits) => (1n << bits) - 1n);
  const n = primes.reduce((product, p) => product * p), order = primes.reduce((product, p) => product * (p - 1n), 1n);
  const e = (1n << 32n) + 15n, rsa = publicKeyFromBlob(strings("ssh-rsa", e, n));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", utf8("data")));
  const info = Uint8Array.fromHex("3031300d060960864801650304020105000420" + digest.toHex());
  const padded = new Uint8Array(301).fill(0xff);
  padded.set([0, 1]);
  padded.set([0, ...info], padded.length - info.length - 1);
  const s = publicPower(BigInt("0x" + padded.toHex()), inverse(e, order), n);
  const verify = (value: bigint) => rsa.verify(utf8("data"), strings("rsa-sha2-256", toBigEndian(value, 301)));
  assert(await verify(s));
  assertFalse(await verify(s + n));
  assertFalse(await verify(n));
});

/** The inverse of `a` modulo `m`, by Euclid. */
function inverse(a: bigint, m: bigint): bigint {
  let [r, next, t, nextT] = [m, a % m, 0n, 1n];
  while (next > 0n) {
    const quotient = r / next;
    [r, next, t, nextT] = [next, r % next, nextT, t - quotient * nextT];
  }
  assertEquals(r, 1n);
  return (t + m) % m;
}

Deno.test("knownHosts() takes a dot in a pattern for a dot", async () => {
  const verify = knownHosts(`a.example.com,10.0.0.* ${line}`);
  assert(await verify(key, { hostname: "a.example.com", port: 22 }));
  assert(await verify(key, { hostname: "10.0.0.7", port: 22 }));
  for (const hostname of ["aXexample.com", "a.exampleXcom", "10.0.070", "10x0.0.7"]) {
    await assertRejects(() => verify(key, { hostname, port: 22 }), HostKeyUnknownError, undefined, hostname);
  }
});

Deno.test("parseKnownHosts() passes over hashed names whose salt or hash has not 20 bytes", async () => {
  const [, , salt, hash] = (await hashHostname("host", 22, new Uint8Array(20).fill(1))).split("|");
  const sized = (length: number) => new Uint8Array(length).fill(1).toBase64();
  assertEquals(parseKnownHosts(`|1|${salt}|${hash} ${line}`).length, 1);
  for (
    const field of [`${sized(19)}|${hash}`, `${sized(21)}|${hash}`, `|${hash}`, `${salt}|${sized(19)}`, `${salt}|`]
  ) {
    assertEquals(parseKnownHosts(`|1|${field} ${line}`), [], field);
    assertEquals(parseKnownHosts(`|2|${field} ${line}`), [], field);
  }
});

Deno.test("parseAuthorizedKeys() rejects a line with a NUL anywhere, and takes 16,384 characters and no more", () => {
  for (const text of [`${line} me\0`, `${line}\0 me`, `restrict\0 ${line}`, `command="a\0b" ${line}`, `\0${line}`]) {
    const { keys, rejected } = parseAuthorizedKeys(text);
    assertEquals([keys.length, rejected.length], [0, 1], JSON.stringify(text));
  }
  const longest = `${line} `.padEnd(16_384, "x");
  assertEquals(parseAuthorizedKeys(longest).keys.length, 1);
  assertEquals(parseAuthorizedKeys(`${longest}x`).rejected.length, 1);
});

Deno.test("connectAgent() lists 2,048 identities, and takes an agent that claims one more for broken", async () => {
  for (const count of [2048, 2049]) {
    // Nobody reads the request.
    const { client, server } = memoryPair({ highWaterMark: 1 << 20 });
    await using agent = await connectAgent(client);
    const answer = new Writer().u8(12).u32(count);
    // Identities of a type that nobody knows are passed over, and count.
    for (let i = 0; i < count; i++) answer.string(strings("x@y")).text("");
    const writer = server.writable.getWriter();
    await writer.write(strings(answer.bytes()));
    if (count === 2048) assertEquals(await agent.signers(), []);
    else await assertRejects(() => agent.signers(), SshProtocolError, "2049 identities, at most 2048 are read");
    writer.releaseLock();
  }
});

Deno.test("parsePrivateKey() reads no PuTTY key of more than 65,536 characters", async () => {
  const text = "PuTTY-User-Key-File-3: ssh-ed25519\n".padEnd(65_536, "x");
  const why = (text: string) => parsePrivateKey(text).then(() => "", (error: Error) => error.message);
  assertEquals(await why(`${text}x`), "Cannot read PuTTY private key: more than 65536 characters");
  assertFalse((await why(text)).includes("characters"));
});

Deno.test("checkMaterial() looks at each component of an RSA key by itself", async () => {
  const algorithm = {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 2048,
    publicExponent: Uint8Array.of(1, 0, 1),
    hash: "SHA-256",
  };
  const pair = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const jwk = await crypto.subtle.exportKey("jwk", pair.privateKey);
  const number = (text: string | undefined) => {
    return BigInt("0x" + Uint8Array.fromBase64(text!, { alphabet: "base64url" }).toHex());
  };
  const [n, e, d, p, q, iqmp] = [jwk.n, jwk.e, jwk.d, jwk.p, jwk.q, jwk.qi].map(number) as [
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const right: RsaMaterial = { kind: "rsa", n, e, d, p, q, iqmp };
  await checkMaterial(right, 2048);
  const order = (p - 1n) * (q - 1n);
  const wrong: [what: string, change: Partial<RsaMaterial>][] = [
    ["a modulus that is not their product", { n: n + 2n }],
    ["an exponent that fits neither prime", { d: d + 2n }],
    ["an exponent that fits p alone", { d: d + p - 1n }],
    ["an exponent that fits q alone", { d: d + q - 1n }],
    ["an exponent above the modulus", { d: d + 2n * order }],
    ["another coefficient", { iqmp: iqmp > 1n ? iqmp - 1n : iqmp + 1n }],
    ["a coefficient above p", { iqmp: iqmp + p }],
    ["primes that change places", { p: q, q: p }],
    ["no primes", { p: n, q: 1n }],
    ["negative ones", { p: -p, q: -q }],
  ];
  for (const [what, change] of wrong) {
    await assertKeyFormat(() => checkMaterial({ ...right, ...change }, 2048), "do not belong together", what);
  }
});

Deno.test("parsePrivateKey() bounds the salt and the iterations of PKCS#8 before it asks for a passphrase", async () => {
  const tlv = (tag: number, ...content: Uint8Array[]): Uint8Array => {
    const bytes = content.flatMap((part) => [...part]), { length } = bytes;
    return Uint8Array.from([tag, ...(length < 128 ? [length] : [0x81, length]), ...bytes]);
  };
  const oid = (hex: string) => tlv(Tag.OBJECT_IDENTIFIER, Uint8Array.fromHex(hex));
  const read = (salt: number, iterations: number) => {
    const count = tlv(
      Tag.INTEGER,
      Uint8Array.fromHex(iterations.toString(16).padStart(8, "0").replace(/^00(?=00|[0-7])/, "")),
    );
    const kdf = tlv(
      Tag.SEQUENCE,
      oid("2a864886f70d01050c"),
      tlv(Tag.SEQUENCE, tlv(Tag.OCTET_STRING, new Uint8Array(salt)), count),
    );
    const cipher = tlv(Tag.SEQUENCE, oid("60864801650304012a"), tlv(Tag.OCTET_STRING, new Uint8Array(16)));
    const scheme = tlv(Tag.SEQUENCE, oid("2a864886f70d01050d"), tlv(Tag.SEQUENCE, kdf, cipher));
    const base64 = tlv(Tag.SEQUENCE, scheme, tlv(Tag.OCTET_STRING, new Uint8Array(48))).toBase64();
    return parsePrivateKey(`-----BEGIN ENCRYPTED PRIVATE KEY-----\n${base64}\n-----END ENCRYPTED PRIVATE KEY-----\n`);
  };
  for (const [salt, iterations] of [[1, 1], [64, 10_000_000]] as const) {
    await assertKeyFormat(() => read(salt, iterations), "no passphrase was given", `${salt} ${iterations}`);
  }
  for (const [salt, iterations] of [[0, 1], [65, 1], [8, 0], [8, 10_000_001], [8, 2 ** 31 - 1]] as const) {
    await assertKeyFormat(() => read(salt, iterations), "are allowed", `${salt} ${iterations}`);
  }
});
