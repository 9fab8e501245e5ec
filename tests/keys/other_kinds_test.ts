/** A missing passphrase, a wrong one, a damaged file, an unknown format and another kind of file are told apart. */
import { assert, assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { KeyFormatError, type KeyFormatReason, type KeyText, parsePrivateKey, parsePublicKey } from "../../mod.ts";
import { inspectPrivateKey } from "../../lib/keys/private_key.ts";
import { opensshKeys, utf8 } from "../_support/key_vectors.ts";

const line = opensshKeys()[0]!.public, text = opensshKeys()[0]!.private;
const locked = opensshKeys().find(({ passphrase }) => passphrase !== null)!;
const pem = (label: string) => `-----BEGIN ${label}-----\nAAAA\n-----END ${label}-----\n`;
const hex = (text: string) => Uint8Array.fromHex(text.replaceAll(" ", ""));

async function reasonOf(read: () => unknown): Promise<[KeyFormatReason, string]> {
  try {
    await read();
  } catch (error) {
    assertInstanceOf(error, KeyFormatError, String(error));
    assertEquals([error.code, error.name], ["KEY_FORMAT", "KeyFormatError"]);
    return [error.reason, error.message];
  }
  throw new Error("It was read");
}

/** What is no private key, why, and a word of the error. */
const noPrivateKeys: readonly [text: KeyText, reason: KeyFormatReason, says: string][] = [
  [line, "OTHER_KIND", "it is a public key"],
  [`${line}\n`, "OTHER_KIND", "it is a public key"],
  [`# mine\n${line}\n`, "OTHER_KIND", "it is a public key"],
  [`restrict,command="x" ${line}`, "OTHER_KIND", "authorized keys or known hosts"],
  [`host.example ${line}`, "OTHER_KIND", "authorized keys or known hosts"],
  ["ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQ=", "OTHER_KIND", "an OpenSSH certificate"],
  ["---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n", "OTHER_KIND", "it is a public key"],
  [pem("PUBLIC KEY"), "OTHER_KIND", 'a public key ("PUBLIC KEY")'],
  [pem("RSA PUBLIC KEY"), "OTHER_KIND", "a public key"],
  [pem("CERTIFICATE"), "OTHER_KIND", "an X.509 certificate"],
  [`subject=CN = x\n${pem("TRUSTED CERTIFICATE")}`, "OTHER_KIND", "an X.509 certificate"],
  [pem("CERTIFICATE REQUEST"), "OTHER_KIND", "a certificate request"],
  [pem("NEW CERTIFICATE REQUEST"), "OTHER_KIND", "a certificate request"],
  [pem("PKCS7"), "OTHER_KIND", "PKCS#7"],
  [pem("SSH SIGNATURE"), "OTHER_KIND", "a signature"],
  [pem("AGE ENCRYPTED FILE"), "OTHER_KIND", "age"],
  [pem("PGP PRIVATE KEY BLOCK"), "OTHER_KIND", "PGP"],
  [pem("EC PARAMETERS"), "OTHER_KIND", "parameters"],
  [pem("SOMETHING"), "OTHER_KIND", 'of another kind ("SOMETHING")'],
  ["# created: 2026\n# public key: age1x\nAGE-SECRET-KEY-1QQQQ\n", "OTHER_KIND", "an age key"],
  [`age1${"q".repeat(58)}\n`, "OTHER_KIND", "an age recipient"],
  ['{"kty":"OKP","crv":"Ed25519","x":"AA"}', "OTHER_KIND", "it is a public key"],
  ['{"kty":"oct","k":"AA"}', "OTHER_KIND", "a symmetric key"],
  [utf8("SSHKRL\n\0\0\0\0\x01"), "OTHER_KIND", "a list of revoked keys"],
  [hex("feedfeed 00000002"), "OTHER_KIND", "a Java key store"],
  // PKCS#12, a certificate, and a request, as far as they are looked at.
  [hex("3010 020103 300b 06092a864886f70d010701"), "OTHER_KIND", "a PKCS#12 key store"],
  [hex("3009 3007 a003020102 0500"), "OTHER_KIND", "an X.509 certificate"],
  [hex("3007 3005 020100 3000"), "OTHER_KIND", "a request"],
  [hex("300a 3005 06032b6570 030100"), "UNSUPPORTED", "a public key in DER"],
  ["---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n", "UNSUPPORTED", "the ssh.com format is not supported; convert it"],
  ["SSH PRIVATE KEY FILE FORMAT 1.1\n\0", "UNSUPPORTED", "SSH-1"],
  [pem("DSA PRIVATE KEY"), "UNSUPPORTED", '"DSA PRIVATE KEY" is not supported'],
  ["PuTTY-User-Key-File-9: ssh-ed25519\n", "UNSUPPORTED", '"PuTTY-User-Key-File-9" is not supported'],
  ["hello", "UNSUPPORTED", "PRIVATE KEY-----"],
  ["{}", "UNSUPPORTED", '"kty"'],
  ["[1]", "UNSUPPORTED", "no JSON Web Key"],
  ["", "DAMAGED", "the text is empty"],
  ["{", "DAMAGED", "it is not sound JSON"],
  [text.replace(/-----END.*/, ""), "DAMAGED", "is missing"],
  [text.replace(/.{70}\n/, ""), "DAMAGED", ""],
  [pem("PRIVATE KEY"), "DAMAGED", ""],
  [locked.private, "NO_PASSPHRASE", "no passphrase was given"],
];

Deno.test("parsePrivateKey() tells five errors apart, by their reason and in words", async () => {
  for (const [given, reason, says] of noPrivateKeys) {
    const [found, message] = await reasonOf(() => parsePrivateKey(given));
    assertEquals(found, reason, message);
    assertStringIncludes(message, says);
    if (reason === "OTHER_KIND") assertEquals((await reasonOf(() => inspectPrivateKey(given)))[0], reason, message);
  }
  const [reason, message] = await reasonOf(() => parsePrivateKey(locked.private, { passphrase: "not this one" }));
  assertEquals(reason, "WRONG_PASSPHRASE");
  assert(!message.includes("not this one"));
});

Deno.test("parsePublicKey() tells another kind of text from a damaged one and an unknown format", async () => {
  const noPublicKeys: readonly [text: KeyText, reason: KeyFormatReason, says: string][] = [
    [text, "OTHER_KIND", 'it is a private key ("OPENSSH PRIVATE KEY")'],
    [pem("EC PRIVATE KEY"), "OTHER_KIND", "it is a private key"],
    [pem("ENCRYPTED PRIVATE KEY"), "OTHER_KIND", "it is a private key"],
    ["PuTTY-User-Key-File-3: ssh-ed25519\n", "OTHER_KIND", "a PuTTY private key"],
    [pem("CERTIFICATE"), "OTHER_KIND", "an X.509 certificate"],
    [`host.example ${line}`, "OTHER_KIND", "authorized keys or known hosts"],
    ["AGE-SECRET-KEY-1QQQQ\n", "OTHER_KIND", "an age key"],
    ["ssh-dss AAAAB3NzaC1kc3M=", "UNSUPPORTED", '"ssh-dss" is not supported'],
    [
      pem("PUBLIC KEY").replace("AAAA", "MCowBQYDK2VuAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
      "UNSUPPORTED",
      "algorithm",
    ],
    [pem("PUBLIC KEY"), "DAMAGED", "DER"],
    [pem("RSA PUBLIC KEY"), "DAMAGED", "DER"],
    [line.split(" ").slice(0, 2).join(" ").slice(0, -9), "DAMAGED", ""],
    ["", "DAMAGED", "empty"],
    ["hello", "UNSUPPORTED", "type base64 comment"],
  ];
  for (const [given, reason, says] of noPublicKeys) {
    const [found, message] = await reasonOf(() => parsePublicKey(given));
    assertEquals(found, reason, message);
    assertStringIncludes(message, says);
  }
});
