/** Certificates: what ssh-keygen signed is read as it shows it, and what nobody should have signed is refused. */
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { anyKeyFromBlob, parseCertificate } from "../../lib/keys/certificate.ts";
import {
  agentFlagsOf,
  certificateTypes,
  keyTypeOf,
  keyTypes,
  signatureAlgorithmsOf,
  signatureLabelOf,
} from "../../lib/keys/key_types.ts";
import { generateKey, insecureSha1Signer, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { parsePublicKey, publicKeyFromBlob, verifyWith } from "../../lib/keys/public_key.ts";
import { type CertificateOptions, signCertificate } from "../../lib/keys/sign_certificate.ts";
import type { Certificate, Signer } from "../../lib/keys/types.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { assertKeyFormat, blobOf, opensshKeys, utf8 } from "../_support/key_vectors.ts";
import { certificates, type RawCertificate, rawCertificate, rawCertificateLine } from "../_support/certificates.ts";

const mldsa44: Readonly<
  Record<
    "ca" | "publicKey" | "privateKey" | "userCertificate" | "hostCertificate" | "ed25519CertificateBySameCa",
    string
  >
> = JSON.parse(
  Deno.readTextFileSync(new URL("../vectors/mldsa44_ed25519.json", import.meta.url)),
);

const keys = async (...which: number[]) =>
  await Promise.all(which.map((i) => parsePrivateKey(opensshKeys()[i]!.private)));

/** What `ssh-keygen -L` shows of a certificate, in its words. */
function listing(
  { kind, keyId, serial, principals, validAfter, validBefore, criticalOptions, extensions }: Certificate,
) {
  const time = (date: Date) => date.toISOString().slice(0, 19);
  const list = (name: string, entries: readonly string[]) =>
    entries.length === 0 ? [`${name}: (none)`] : [`${name}:`, ...entries];
  const hex = (text: string) => utf8(text).length.toString(16).padStart(8, "0") + utf8(text).toHex();
  const shown = (options: ReadonlyMap<string, string>) =>
    [...options].map(([name, text]) =>
      name.includes("@")
        ? `${name} UNKNOWN OPTION: ${hex(text)} (len ${hex(text).length / 2})`
        : `${name} ${text}`.trim()
    );
  return [
    `${kind} certificate`,
    `Key ID: "${keyId}"`,
    `Serial: ${serial}`,
    validBefore === null && validAfter.getTime() === 0
      ? "Valid: forever"
      : `Valid: from ${time(validAfter)} to ${time(validBefore!)}`,
    ...list("Principals", principals),
    ...list("Critical Options", shown(criticalOptions)),
    ...list("Extensions", shown(extensions)),
  ];
}

Deno.test("parseCertificate() reads what ssh-keygen signed, as ssh-keygen -L shows it", async () => {
  for (const { command, key, ca, certificate, fingerprint, listing: shown } of certificates()) {
    const read = await parseCertificate(certificate);
    const [head, , , ...rest] = shown;
    assertEquals(listing(read), [head!.replace(/^Type: \S+ /, ""), ...rest], command);
    assertEquals([String(read.publicKey), String(read.signedBy)], [key, ca]);
    const whole = anyKeyFromBlob(blobOf(certificate));
    assertEquals([whole.type, await whole.fingerprint()], [certificate.split(" ")[0], fingerprint]);
    assertEquals([String(whole), whole.certificate?.serial], [
      certificate.split(" ").slice(0, 2).join(" "),
      read.serial,
    ]);
  }
});

Deno.test("parseCertificate() reads those of post-quantum keys and by post-quantum CAs, as OpenSSH 10.6 made them", async () => {
  const names = ["userCertificate", "hostCertificate", "ed25519CertificateBySameCa"] as const;
  for (const name of names) {
    const read = await parseCertificate(mldsa44[name]), words = (line: string) => line.split(" ").slice(0, 2).join(" ");
    assertEquals(String(read.signedBy), words(mldsa44.ca), name);
    if (name !== "ed25519CertificateBySameCa") assertEquals(String(read.publicKey), words(mldsa44.publicKey));
    assertEquals(read.kind, name === "hostCertificate" ? "host" : "user");
    const blob = blobOf(mldsa44[name]);
    const spoilt = `${mldsa44[name].split(" ")[0]} ${blob.with(-70, blob.at(-70)! ^ 1).toBase64()}`;
    await assertKeyFormat(() => parseCertificate(spoilt), "not one of its CA's");
  }
  const ca = await parsePrivateKey(mldsa44.privateKey);
  const line = await signCertificate(ca, ca.publicKey, { kind: "user", principals: ["alice"] });
  assertEquals(line.split(" ")[0], mldsa44.userCertificate.split(" ")[0]);
  const data = utf8("x"), signer = withCertificate(ca, line);
  assertEquals(signer.algorithms, ["ssh-mldsa44-ed25519-cert"]);
  assert(
    await verifyWith(
      signer.publicKey,
      "ssh-mldsa44-ed25519-cert",
      data,
      await signer.sign(data, signer.algorithms[0]!),
    ),
  );
});

Deno.test("a key with its certificate verifies as the key does, by algorithms of its own", async () => {
  const line = certificates()[4]!.certificate, [rsa] = await keys(4);
  const key = anyKeyFromBlob(blobOf(line)), data = utf8("data");
  const signature = await rsa!.sign(data, "rsa-sha2-256");
  assert(await key.verify(data, signature));
  assert(await verifyWith(key, "rsa-sha2-256-cert-v01@openssh.com", data, signature));
  for (const other of ["rsa-sha2-256", "rsa-sha2-512-cert-v01@openssh.com", "ssh-rsa-cert-v01@openssh.com"]) {
    assertEquals(await verifyWith(key, other, data, signature), false, other);
  }
  assertEquals(await verifyWith(rsa!.publicKey, "rsa-sha2-256-cert-v01@openssh.com", data, signature), false);
});

Deno.test("each key type has a type of certificate and algorithms that go with it, SHA-1 none", () => {
  for (const [name, row] of keyTypes) {
    const type = [...certificateTypes.values()].find(({ plain }) => plain === row)!.name;
    // OpenSSH's suffix is for the types that are older than the draft, which names those that come after it.
    assertEquals(
      type,
      name.startsWith("ssh-mldsa") ? `${name}-cert` : `${name.replace("@openssh.com", "")}-cert-v01@openssh.com`,
    );
    const algorithms = signatureAlgorithmsOf(type);
    assertEquals(algorithms.map(signatureLabelOf), [...signatureAlgorithmsOf(name)]);
    for (const algorithm of algorithms) {
      assertEquals(keyTypeOf(algorithm), type);
      assertEquals(agentFlagsOf(algorithm), agentFlagsOf(signatureLabelOf(algorithm)));
    }
  }
  assertEquals(keyTypeOf("ssh-rsa-cert-v01@openssh.com"), null);
  assertEquals(signatureAlgorithmsOf("ssh-rsa-cert-v01@openssh.com"), [
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
  ]);
});

Deno.test("readers of plain keys take no certificate, and say what does", async () => {
  const line = certificates()[0]!.certificate;
  await assertKeyFormat(() => parsePublicKey(line), "parseCertificate()");
  await assertKeyFormat(() => publicKeyFromBlob(blobOf(line)), "parseCertificate()");
  await assertKeyFormat(() => parseCertificate(opensshKeys()[0]!.public), "no certificate's");
  await assertKeyFormat(() => parseCertificate(""), "empty");
  await assertKeyFormat(() => parseCertificate("/home/me/.ssh/id_ed25519-cert.pub"), "path");
  await assertKeyFormat(() => parseCertificate(`${line}\n${line}`), "2 lines");
  await assertKeyFormat(() => parseCertificate(line.replace("ssh-ed25519-cert", "ssh-rsa-cert")), "the line says");
  await assertRejects(() => parseCertificate(5 as never), TypeError);
});

Deno.test("parseCertificate() takes what OpenSSH bears: odd order, empty names, unknown options, times beyond a Date", async () => {
  const [ca] = await keys(0), key = ca!.publicKey;
  const read = await parseCertificate(
    await rawCertificateLine(ca!, key, {
      principals: ["", "b", new Uint8Array([0xff])],
      keyId: new Uint8Array([0x61, 0xfe]),
      validAfter: 0xffff_ffff_ffff_fffen,
      validBefore: 0xffff_ffff_ffff_fffen,
      critical: [["z", ""], ["a", new Uint8Array([1, 2])], ["force-command", new Uint8Array(4)]],
      extensions: [["permit-pty", ""], ["permit-pty", "again"], ["a", ""]],
      reserved: utf8("whatever"),
    }),
  );
  // What is no UTF-8 equals nobody's name.
  assertEquals(read.principals, ["", "b", "\udcff"]);
  assertEquals(read.keyId, "a\udcfe");
  assertEquals([read.validAfter.getTime(), read.validBefore?.getTime()], [8.64e15, 8.64e15]);
  assertEquals([...read.criticalOptions], [["z", ""], ["a", "\x01\x02"], ["force-command", ""]]);
  assertEquals(read.extensions.get("permit-pty"), "");
  const most = await parseCertificate(
    await rawCertificateLine(ca!, key, { principals: Array.from({ length: 256 }, (_, i) => `user${i}`) }),
  );
  assertEquals(most.principals.length, 256);
});

Deno.test("parseCertificate() refuses what is malformed, weak or not signed by its CA", async () => {
  const [ca, ec, rsa, other] = await keys(0, 1, 4, 5), key = ec!.publicKey;
  const host = blobOf(certificates()[3]!.certificate);
  const rows: [string, RawCertificate, string, Signer?][] = [
    ["a signature by another CA", { ca: other!.publicKey.blob }, "not one of its CA's"],
    ["a bit that is changed", { spoil: (bytes) => bytes.with(-1, bytes.at(-1)! ^ 1) }, "not one of its CA's"],
    ["a signature of other data", { spoil: () => blobOf(certificates()[0]!.certificate).slice(-1) }, "Cannot read"],
    ["SHA-1", { algorithm: "ssh-rsa" }, "not one of its CA's", insecureSha1Signer(rsa!)],
    ["a CA that is a certificate", { ca: host }, "its CA's key"],
    ["a CA of no known type", { ca: utf8("\0\0\0\x03abc") }, "its CA's key"],
    ["no CA", { ca: new Uint8Array(0) }, "its CA's key"],
    ["kind 0", { kind: 0 }, "kind 0"],
    ["kind 3", { kind: 3 }, "kind 3"],
    ["bytes behind the signature", { trailing: new Uint8Array(1) }, "follow its last field"],
    ["257 principals", { principals: new Array(257).fill("a") }, "more than 256"],
    ["a principal with a NUL", { principals: ["a\0b"] }, "NUL"],
    ["a key ID with a NUL", { keyId: "\0" }, "NUL"],
    ["an option with a NUL", { critical: [["a\0", ""]] }, "NUL"],
    ["an option twice", { critical: [["force-command", "a"], ["force-command", "a"]] }, "twice"],
    ["a certificate of another type", { type: "ssh-ed25519-cert-v01@openssh.com" }, ""],
    ["more than 32 KiB", { keyId: "x".repeat(33_000) }, "32768"],
  ];
  for (const [what, raw, why, signer = ca!] of rows) {
    const blob = await rawCertificate(signer, key, raw);
    const line = `${raw.type ?? "ecdsa-sha2-nistp256-cert-v01@openssh.com"} ${blob.toBase64()}`;
    await assertKeyFormat(() => parseCertificate(line), why, what);
  }
  const right = await rawCertificate(ca!, key, { critical: [["a", "b"]] });
  const type = "ecdsa-sha2-nistp256-cert-v01@openssh.com";
  for (let i = 0; i < right.length; i++) await assertKeyFormat(() => anyKeyFromBlob(right.slice(0, i)));
  for (let i = 40; i < right.length; i += 7) {
    const wrong = right.with(i, right[i]! ^ 0x10);
    await assertKeyFormat(() => parseCertificate(`${type} ${wrong.toBase64()}`), "", `byte ${i}`);
  }
});

Deno.test("signCertificate() writes byte for byte what ssh-keygen -s writes", async () => {
  const [ed, ec] = await keys(0, 1);
  // All but the nonce and the signature.
  const bare = (line: string) => {
    const { fields } = anyKeyFromBlob(blobOf(line)) as unknown as { fields: { signed: Uint8Array } };
    return fields.signed.toHex().replace(/^(.{72}).{72}/, "$1");
  };
  const rows: [number, Signer, Signer, CertificateOptions][] = [
    [0, ec!, ed!, {
      kind: "user",
      keyId: "one user",
      principals: ["alice", "bob"],
      serial: 42n,
      validAfter: new Date("2025-01-01T00:00:00.999Z"),
      validBefore: new Date("2035-01-01T00:00:00Z"),
    }],
    [1, ed!, ec!, {
      kind: "user",
      keyId: "forced",
      principals: ["alice"],
      criticalOptions: new Map([["source-address", "10.0.0.0/8,::1"], ["force-command", 'echo "a, b"']]),
      extensions: new Map([["who@example.com", "me"], ["permit-pty", ""]]),
    }],
  ];
  for (const [i, ca, { publicKey }, options] of rows) {
    const line = await signCertificate(ca, publicKey, options);
    if (i === 0) assertEquals(bare(line), bare(certificates()[i]!.certificate));
    else assertEquals(bare(line).slice(160), bare(certificates()[i]!.certificate).slice(160));
    assertNotEquals(line, await signCertificate(ca, publicKey, options));
  }
});

Deno.test("signCertificate() and parseCertificate() say the same, for each type of key and of CA", async () => {
  const all = await keys(0, 1, 2, 3, 4), [ed] = all;
  for (const [i, ca] of all.entries()) {
    const { publicKey } = all[(i + 1) % all.length]!;
    const options = {
      kind: i % 2 === 0 ? "host" : "user",
      keyId: `number ${i}`,
      serial: 2n ** 64n - 1n - BigInt(i),
      principals: ["*.example.com", "ü"],
      validAfter: new Date(i * 1000),
      validBefore: i === 0 ? null : new Date(4e12),
      criticalOptions: new Map([["verify-required", ""], ["x", ""], ["y", "z"]]),
      extensions: new Map(),
    } as const;
    const { publicKey: certified, signedBy, ...rest } = await parseCertificate(
      await signCertificate(ca, publicKey, options),
    );
    assertEquals(rest, options);
    assertEquals([String(certified), String(signedBy)], [String(publicKey), String(ca.publicKey)]);
  }
  const defaults = await parseCertificate(await signCertificate(ed!, ed!.publicKey, { kind: "user" }));
  assertEquals([...defaults.extensions.keys()], [
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
  ]);
  assertEquals([defaults.keyId, defaults.serial, defaults.principals, defaults.validBefore], ["", 0n, [], null]);
  const host = await parseCertificate(await signCertificate(ed!, ed!.publicKey, { kind: "host" }));
  assertEquals([host.extensions.size, host.criticalOptions.size], [0, 0]);
});

Deno.test("signCertificate() signs with any signer, an RSA one with SHA-2, and looks at what it gave", async () => {
  const [ed, rsa] = await keys(0, 4), { publicKey } = ed!;
  const asked: string[] = [];
  const external = (algorithms: readonly string[]): Signer => ({
    publicKey: rsa!.publicKey,
    algorithms,
    sign: (data, algorithm) => {
      asked.push(algorithm);
      return rsa!.sign(data, algorithm);
    },
  });
  await signCertificate(external(["rsa-sha2-512", "rsa-sha2-256"]), publicKey, { kind: "user" });
  await signCertificate(external(["ssh-rsa", "rsa-sha2-256"]), publicKey, { kind: "user" });
  assertEquals(asked, ["rsa-sha2-512", "rsa-sha2-256"]);
  await assertRejects(() => signCertificate(external(["ssh-rsa"]), publicKey, { kind: "user" }), TypeError);
  await assertRejects(() => signCertificate(insecureSha1Signer(rsa!), rsa as never, { kind: "user" }), TypeError);
  const lies: Signer = { ...external(["rsa-sha2-512"]), sign: () => ed!.sign(utf8("x"), "ssh-ed25519") };
  await assertKeyFormat(() => signCertificate(lies, publicKey, { kind: "user" }), "gave no rsa-sha2-512 signature");
  const none: Signer = { ...external(["rsa-sha2-512"]), sign: () => Promise.resolve("x" as never) };
  await assertRejects(() => signCertificate(none, publicKey, { kind: "user" }), TypeError);
  const gone: Signer = { ...external(["rsa-sha2-512"]), sign: () => Promise.reject(new Error("KMS is away")) };
  await assertRejects(() => signCertificate(gone, publicKey, { kind: "user" }), Error, "KMS is away");
});

Deno.test("signCertificate() refuses options that make no sense", async () => {
  const ca = await generateKey(), { publicKey } = ca;
  const certified = anyKeyFromBlob(blobOf(await signCertificate(ca, publicKey, { kind: "user" })));
  const wrong: [unknown, typeof TypeError | typeof RangeError][] = [
    [undefined, TypeError],
    [{}, TypeError],
    [{ kind: "robot" }, TypeError],
    [{ kind: "user", keyID: "x" }, TypeError],
    [{ kind: "user", keyId: 5 }, TypeError],
    [{ kind: "user", keyId: "a\0" }, TypeError],
    [{ kind: "user", keyId: "\ud800" }, TypeError],
    [{ kind: "user", serial: 5 }, TypeError],
    [{ kind: "user", serial: -1n }, RangeError],
    [{ kind: "user", serial: 2n ** 64n }, RangeError],
    [{ kind: "user", principals: "alice" }, TypeError],
    [{ kind: "user", principals: [""] }, TypeError],
    [{ kind: "user", principals: ["a\0"] }, TypeError],
    [{ kind: "user", principals: new Array(257).fill("a") }, RangeError],
    [{ kind: "user", validAfter: "now" }, TypeError],
    [{ kind: "user", validAfter: new Date(NaN) }, RangeError],
    [{ kind: "user", validAfter: new Date(-1) }, RangeError],
    [{ kind: "user", validBefore: new Date(0) }, RangeError],
    [{ kind: "user", validAfter: new Date(5000), validBefore: new Date(5999) }, RangeError],
    [{ kind: "user", criticalOptions: { "force-command": "x" } }, TypeError],
    [{ kind: "user", criticalOptions: new Map([["force-command", 1]]) }, TypeError],
    [{ kind: "user", criticalOptions: new Map([["source-address", "10.0.0.1/8"]]) }, TypeError],
    [{ kind: "user", criticalOptions: new Map([["source-address", "!10.0.0.1"]]) }, TypeError],
    [{ kind: "user", criticalOptions: new Map([["source-address", "10.0.0.*"]]) }, TypeError],
    [{ kind: "user", extensions: new Map([["", ""]]) }, TypeError],
    [{ kind: "user", keyId: "x".repeat(20_000) }, RangeError],
  ];
  for (const [options, error] of wrong) {
    await assertRejects(() => signCertificate(ca, publicKey, options as CertificateOptions), error);
  }
  await assertRejects(() => signCertificate(ca, certified, { kind: "user" }), TypeError, "itself a certificate");
  const signer: Signer = { ...ca, publicKey: certified, sign: ca.sign.bind(ca) };
  await assertRejects(() => signCertificate(signer, publicKey, { kind: "user" }), TypeError, "itself a certificate");
  await assertRejects(() => signCertificate(publicKey as never, publicKey, { kind: "user" }), TypeError);
  await assertRejects(() => signCertificate(ca, ca as never, { kind: "user" }), TypeError, "publicKey");
});
