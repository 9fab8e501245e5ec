/** Every parser of keys on mutated and random input: a typed error or a value, never anything else, and soon. */
import { assert, assertEquals, assertLess } from "@std/assert";
import { matchAuthorizedKey } from "../../lib/auth/authorized_keys.ts";
import { SshError } from "../../lib/errors.ts";
import { anyKeyFromBlob, parseCertificate } from "../../lib/keys/certificate.ts";
import { parseAuthorizedKeys } from "../../lib/keys/trust/authorized_keys.ts";
import { hashHostname, parseKnownHosts } from "../../lib/keys/trust/known_hosts.ts";
import { readPemMaterial } from "../../lib/keys/format/pem_format.ts";
import { inspectPrivateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { readSpki } from "../../lib/keys/format/spki.ts";
import { exportPublicKey, parsePublicKey, publicKeyFromBlob } from "../../lib/keys/public_key.ts";
import { signatureAlgorithm } from "../../lib/keys/signature_blob.ts";
import { fastest } from "../_support/until.ts";
import { blobOf, opensshKeys, strings, utf8, vectors } from "../_support/key_vectors.ts";
import { mutator } from "./_mutator.ts";
import { certificates } from "../_support/certificates.ts";
import { oneOfEach } from "../_support/one_of_each.ts";

/** Milliseconds for each parser; `AMIKO_FUZZ_SECONDS` makes it longer. */
const BUDGET = 1000 * Number(Deno.env.get("AMIKO_FUZZ_SECONDS") ?? 0) || 250;

async function fuzz(samples: readonly Uint8Array[], parse: (bytes: Uint8Array<ArrayBuffer>) => unknown): Promise<void> {
  const next = mutator(samples, 20_26);
  const end = performance.now() + BUDGET;
  let rounds = 0, refused = 0, slowest = 0;
  for (; rounds <= 20 || performance.now() < end; rounds++) {
    const input = next();
    const time = await fastest(2000, async () => {
      try {
        await parse(input);
      } catch (error) {
        assert(error instanceof SshError, `${error} for ${input.toBase64()}`);
        assertEquals(error.code, "KEY_FORMAT");
        refused++;
      }
    });
    slowest = Math.max(slowest, time);
  }
  assert(refused > 0);
  assertLess(slowest, 2000);
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const der = (pem: string) => Uint8Array.fromBase64(pem.split("\n").filter((line) => !/[-:]/.test(line)).join(""));

Deno.test("publicKeyFromBlob() survives fuzzing", () =>
  fuzz(opensshKeys().map(({ public: line }) => blobOf(line)), (bytes) => publicKeyFromBlob(bytes)));

Deno.test("parsePublicKey() survives fuzzing", () =>
  fuzz(
    [
      ...opensshKeys().map(({ public: line }) => utf8(line)),
      ...vectors<{ rfc4716: string }>("rfc4716", 6).map(({ rfc4716 }) => utf8(rfc4716)),
    ],
    (bytes) => parsePublicKey(text(bytes)),
  ));

Deno.test("parseCertificate() and anyKeyFromBlob() survive fuzzing", () => {
  const lines = certificates().map(({ certificate }) => certificate);
  const types = new Set(lines.map((line) => line.split(" ")[0]!));
  return fuzz(lines.map(blobOf), async (bytes) => {
    const { certificate } = anyKeyFromBlob(bytes);
    // What can still be read is a certificate, and its CA has not signed it.
    assert(certificate !== undefined && types.has(text(bytes.subarray(4, 4 + bytes[3]!))));
    await parseCertificate(`${text(bytes.subarray(4, 4 + bytes[3]!))} ${bytes.toBase64()}`);
    assert(lines.some((line) => line.includes(bytes.toBase64())), bytes.toBase64());
  });
});

Deno.test("parsePrivateKey() survives fuzzing inside the armour", () =>
  fuzz(
    opensshKeys().slice(0, 8).map(({ private: key }) => der(key)),
    (bytes) =>
      parsePrivateKey(`-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toBase64()}\n-----END OPENSSH PRIVATE KEY-----`),
  ));

Deno.test("parsePrivateKey() and inspectPrivateKey() survive fuzzing of the text", () =>
  fuzz(opensshKeys().slice(0, 6).map(({ private: key }) => utf8(key)), async (bytes) => {
    inspectPrivateKey(text(bytes));
    await parsePrivateKey(text(bytes));
  }));

Deno.test("readPemMaterial() survives fuzzing", () => {
  const pem = vectors<{ private: string }>("pem_keys", 24).map(({ private: key }) =>
    key.slice(key.lastIndexOf("-----BEGIN"))
  );
  const labels = ["RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"];
  let i = 0;
  return fuzz(pem.map(der), (bytes) => readPemMaterial(labels[i++ % 3]!, new Map(), bytes, undefined));
});

Deno.test("parsePrivateKey() survives fuzzing of PuTTY's format", () =>
  fuzz(
    vectors<{ private: string }>("putty_keys", 13).slice(0, 7).map(({ private: key }) => utf8(key)),
    (bytes) => parsePrivateKey(text(bytes)),
  ));

Deno.test("parsePublicKey() and parsePrivateKey() survive fuzzing of JSON Web Keys, PEM and DER", async () => {
  const keys = await oneOfEach(), secret: string[] = [], open: string[] = [];
  for (const key of keys) {
    secret.push(
      await key.export({ format: "jwk" }),
      await key.export({ format: "pkcs8" }),
      await key.export({ format: "putty" }),
    );
    for (const format of ["jwk", "spki", "rfc4716"] as const) open.push(exportPublicKey(key.publicKey, { format }));
  }
  await fuzz(open.map(utf8), (bytes) => parsePublicKey(bytes));
  await fuzz(secret.map(utf8), (bytes) => parsePrivateKey(bytes));
  await fuzz(
    [...secret, ...open].filter((pem) => pem.startsWith("-----")).map(der),
    (bytes) => {
      bytes[0] = 0x30;
      // The length is right, so that what is inside is looked at.
      const length = bytes.length - 4;
      if (length >= 256) bytes.set([0x82, length >> 8, length & 0xff], 1);
      else if (length >= 0) bytes[1] = bytes.length - 2;
      return parsePrivateKey(bytes);
    },
  );
  await fuzz(open.filter((pem) => pem.startsWith("-----")).map(der), (bytes) => readSpki(bytes));
});

Deno.test("signatureAlgorithm() survives fuzzing", () =>
  fuzz(
    [strings("ssh-ed25519", new Uint8Array(64)), strings("rsa-sha2-512", "x")],
    (bytes) => signatureAlgorithm(bytes),
  ));

Deno.test("verify() survives fuzzing and is never true by chance", async () => {
  for (const vector of opensshKeys().slice(0, 5)) {
    const key = await parsePrivateKey(vector.private);
    const right = await key.sign(utf8("data"), key.algorithms[0]!);
    const next = mutator([right, right.slice().reverse()], 7);
    for (let i = 0; i < 60; i++) {
      const signature = next();
      assertEquals(await key.publicKey.verify(utf8("data"), signature), signature.toHex() === right.toHex());
    }
  }
});

Deno.test("parseKnownHosts() and parseAuthorizedKeys() survive fuzzing without a throw", async () => {
  const lines = opensshKeys().slice(0, 6).map(({ public: line }) => line);
  const samples = [
    ...lines.map((line) => `host,*.net,!x ${line}`),
    `@revoked * ${lines[0]}`,
    `${await hashHostname("host")} ${lines[1]}`,
    `restrict,command="a \\"b\\" c",from="10.0.0.0/8,!10.1.*,::1" ${lines[2]}`,
    `expiry-time="20991231Z",permitopen="a:1",permitlisten="2",environment="A=b" ${lines[4]}`,
    `no-pty ${lines[3]}`,
  ].map(utf8);
  const next = mutator(samples, 99);
  const end = performance.now() + BUDGET;
  while (performance.now() < end) {
    const input = text(next());
    for (const entry of parseKnownHosts(input)) await entry.hosts.matches("host");
    for (const entry of parseAuthorizedKeys(input).keys) {
      // Whatever was accepted holds one of the keys whole, and its restrictions if the line began with them.
      const line = input.split("\n")[entry.line - 1]!;
      assert(line.includes(entry.key.blob.toBase64()), line);
      if (/^(restrict|no-pty)/.test(line)) assert(entry.options.length > 0, line);
      const match = matchAuthorizedKey(input, entry.key, {
        remoteAddr: { transport: "tcp", hostname: "::1", port: 1 },
      });
      if (match !== null && /^(restrict|no-pty) /i.test(input.split("\n")[match.line - 1]!)) {
        assertEquals(match.grant.pty, false);
      }
    }
  }
});
