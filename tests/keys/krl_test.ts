/** Key revocation lists: what is written is read, what cannot be read refuses. tests/interop/krl_test.ts has `ssh-keygen`. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { HostKeyError, HostKeyRevokedError, SshError } from "../../lib/errors.ts";
import { anyKeyFromBlob } from "../../lib/keys/certificate.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { parsePublicKey } from "../../lib/keys/public_key.ts";
import { signMessage } from "../../lib/keys/sshsig/sign_message.ts";
import { verifyMessage } from "../../lib/keys/sshsig/verify_message.ts";
import { knownHosts } from "../../lib/keys/trust/known_hosts.ts";
import { type Krl, type KrlContent, parseKrl, type SerialRange } from "../../lib/keys/trust/krl.ts";
import { writeKrl } from "../../lib/keys/trust/krl_writer.ts";
import { revokedKeys } from "../../lib/keys/trust/revoked_keys.ts";
import type { PublicKey, Signer } from "../../lib/keys/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { type RawCertificate, rawCertificate, rawCertificateLine } from "../_support/certificates.ts";
import { fuzzAsync, mutate } from "../_support/fuzz.ts";
import { opensshKeys, strings, utf8 } from "../_support/key_vectors.ts";

const lines = opensshKeys().slice(0, 5).map(({ public: line }) => line);
const [a, b] = lines.map((line) => parsePublicKey(line)) as [PublicKey, PublicKey];
const ca = await parsePrivateKey(opensshKeys()[0]!.private), otherCa = await generateKey();

const certified = async (raw: RawCertificate = {}, by = ca): Promise<PublicKey> =>
  anyKeyFromBlob(await rawCertificate(by, b, raw));
const why = async (content: KrlContent, key: PublicKey) => await (await parseKrl(writeKrl(content))).revocation(key);

/** All that a list says, as a value. */
function contentOf({ version, generated, comment, keys, fingerprints, certificates }: Krl): unknown {
  return {
    version,
    generated: generated.toISOString(),
    comment,
    keys: [...keys].map((key) => key.toHex()),
    fingerprints: [...fingerprints],
    certificates: [...certificates].map(({ ca, serials, keyIds }) => ({
      ca: ca?.toString() ?? null,
      serials: [...serials!].flatMap((one) => typeof one === "bigint" ? [one] : rangeOf(one)).sort((a, b) =>
        a < b ? -1 : 1
      ),
      keyIds: [...keyIds!],
    })),
  };
}

function rangeOf([from, to]: readonly [bigint, bigint]): bigint[] {
  return to - from > 100n ? [from, to] : Array.from({ length: Number(to - from) + 1 }, (_, i) => from + BigInt(i));
}

Deno.test("writeKrl() and parseKrl() revoke keys and fingerprints, and no others", async () => {
  const sha1 = `SHA1:${new Uint8Array(await crypto.subtle.digest("SHA-1", a.blob)).toBase64({ omitPadding: true })}`;
  for (
    const content of [{ keys: [a] }, { keys: [a.blob] }, { fingerprints: [sha1] }, {
      fingerprints: [await a.fingerprint()],
    }]
  ) {
    assertEquals(await why(content, a), "the key is revoked");
    assertEquals(await why(content, b), null);
    // Whoever a revoked CA has certified, too.
    assertEquals(await why(content, await certified()), "the key of its certificate's CA is revoked");
    assertEquals(await why(content, await certified({}, otherCa)), null);
  }
  assertEquals(await why({ keys: [b] }, await certified()), "the key is revoked");
  assertEquals(await why({ keys: [await certified()] }, b), "the key is revoked");
  assertEquals(await why({}, a), null);
});

Deno.test("writeKrl() and parseKrl() revoke certificates by number and by key ID, of one CA or of any", async () => {
  const serials: SerialRange[] = [7n, [100n, 199n], 0xffff_ffff_ffff_ffffn], keyIds = ["bob", "c d"];
  for (const issuer of [ca.publicKey, null]) {
    const krl = await parseKrl(writeKrl({ certificates: [{ ca: issuer, serials, keyIds }] }));
    for (
      const [raw, reason] of [
        [{ serial: 6n }, null],
        [{ serial: 7n }, "the serial number 7 of its certificate is revoked"],
        [{ serial: 99n }, null],
        [{ serial: 100n }, "the serial number 100 of its certificate is revoked"],
        [{ serial: 199n }, "the serial number 199 of its certificate is revoked"],
        [{ serial: 200n }, null],
        [{ serial: 0xffff_ffff_ffff_ffffn }, "the serial number 18446744073709551615 of its certificate is revoked"],
        [{ serial: 0n }, null],
        [{ serial: 0n, keyId: "bob" }, "the key ID of its certificate is revoked"],
        [{ serial: 0n, keyId: "bo" }, null],
        [{ serial: 0n, keyId: "c d" }, "the key ID of its certificate is revoked"],
      ] as const
    ) {
      assertEquals(await krl.revocation(await certified(raw)), reason, JSON.stringify(reason));
      assertEquals(await krl.revocation(await certified(raw, otherCa)), issuer === null ? reason : null);
    }
    assertEquals(await krl.revocation(b), null);
  }
});

Deno.test("writeKrl() writes numbers as lists, ranges and bitmaps, whichever is shorter, and they are read as they were", async () => {
  const cases: [SerialRange[], bigint[], number][] = [
    [[1n], [1n], 13],
    [[[1n, 1_000_000n]], [1n, 1_000_000n], 21],
    [[5n, [1n, 3n], 4n, [2n, 9n], 11n], [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n, 11n], 19],
    [
      Array.from({ length: 1000 }, (_, i) => BigInt(1 + 2 * i)),
      Array.from({ length: 1000 }, (_, i) => BigInt(1 + 2 * i)),
      267,
    ],
    [[1n, 1n << 20n, 1n << 40n, 1n << 63n], [1n, 1n << 20n, 1n << 40n, 1n << 63n], 37],
    [
      [(1n << 64n) - 1n, (1n << 64n) - 3n, (1n << 64n) - 5n, (1n << 64n) - 7n],
      [(1n << 64n) - 7n, (1n << 64n) - 5n, (1n << 64n) - 3n, (1n << 64n) - 1n],
      18,
    ],
  ];
  const empty = writeKrl({ certificates: [{ ca: null }] }).length;
  for (const [serials, all, size] of cases) {
    const bytes = writeKrl({ certificates: [{ ca: null, serials }] });
    assertEquals(bytes.length - empty, size);
    assertEquals(
      (contentOf(await parseKrl(bytes)) as { certificates: { serials: bigint[] }[] }).certificates[0]!.serials,
      all,
    );
  }
});

Deno.test("what parseKrl() read can be written again, and gives the same list", async () => {
  const content: KrlContent = {
    version: 0xffff_ffff_ffff_ffffn,
    generated: new Date("2025-01-02T03:04:05Z"),
    comment: "of the tests",
    keys: [a, b],
    fingerprints: [await a.fingerprint(), `SHA1:${"A".repeat(27)}`],
    certificates: [
      { ca: ca.publicKey, serials: [1n, 3n, 5n, 7n, 9n, [1000n, 2000n]], keyIds: ["x", "y"] },
      { ca: null, keyIds: ["z"] },
      { ca: otherCa.publicKey },
    ],
  };
  const krl = await parseKrl(writeKrl(content));
  const { version, generated, comment, keys, fingerprints, certificates } = krl;
  assertEquals([version, generated.toISOString(), comment], [
    content.version,
    "2025-01-02T03:04:05.000Z",
    "of the tests",
  ]);
  const again = await parseKrl(writeKrl({ version, generated, comment, keys, fingerprints, certificates }));
  assertEquals(contentOf(again), contentOf(krl));
});

Deno.test("writeKrl() revokes by key IDs that are no UTF-8, and keys by the bytes of their certificates", async () => {
  const key = await certified({ keyId: Uint8Array.of(0x66, 0xfc, 0x72) }), { keyId } = key.certificate!;
  const content: KrlContent = { comment: keyId, certificates: [{ ca: ca.publicKey, keyIds: [keyId] }] };
  assertEquals(await why(content, key), "the key ID of its certificate is revoked");
  assertEquals((await parseKrl(writeKrl(content))).comment, keyId);
  for (const revoked of [key, key.blob]) {
    for (const shown of [key, b]) assertEquals(await why({ keys: [revoked] }, shown), "the key is revoked");
  }
  // Nobody could read such a list.
  assertThrows(() => writeKrl({ certificates: [{ ca: key, keyIds: ["x"] }] }), TypeError, "itself a certificate");
});

Deno.test("writeKrl() refuses what makes no sense", () => {
  // deno-lint-ignore no-explicit-any
  const anything = (value: unknown) => value as any;
  for (
    const content of [
      undefined,
      { version: -1n },
      { version: 1 },
      { version: 1n << 64n },
      { generated: new Date(NaN) },
      { generated: new Date(-1) },
      { comment: "a\0b" },
      { keys: ["text"] },
      { fingerprints: ["MD5:00"] },
      { fingerprints: ["SHA256:short"] },
      { fingerprints: [`SHA1:${"A".repeat(43)}`] },
      { certificates: [{ ca: "text" }] },
      { certificates: [{ ca: null, serials: [0n] }] },
      { certificates: [{ ca: null, serials: [1n << 64n] }] },
      { certificates: [{ ca: null, serials: [1] }] },
      { certificates: [{ ca: null, serials: [[2n, 1n]] }] },
      { certificates: [{ ca: null, keyIds: [""] }] },
      { certificates: [{ ca: null, keyIds: ["a\0"] }] },
      { certificates: [{ ca: null, keyIds: ["\ud800"] }] },
      { comment: "\udfff" },
    ]
  ) {
    const error = assertThrows(() => writeKrl(anything(content)));
    assert(error instanceof TypeError || error instanceof RangeError, `${error}`);
  }
});

/** A list with these bytes behind its head. */
function raw(...sections: Uint8Array[]): Uint8Array {
  const head = writeKrl({ generated: new Date(0) });
  return new Uint8Array([...head, ...sections.flatMap((section) => [...section])]);
}

const section = (type: number, ...body: Uint8Array[]) =>
  new Writer().u8(type).string(new Uint8Array(body.flatMap((part) => [...part]))).bytes();
const ofCa = (...body: Uint8Array[]) => section(1, strings(ca.publicKey.blob, ""), ...body);
const u64 = (...numbers: bigint[]) => numbers.reduce((writer, n) => writer.u64(n), new Writer()).bytes();

/** A list with a signature. */
async function signedBy(list: Uint8Array, key: Signer, by = key): Promise<Uint8Array> {
  const signed = new Uint8Array([...list, 4, ...strings(key.publicKey.blob)]);
  return new Uint8Array([...signed, ...strings(await by.sign(signed, by.algorithms[0]!))]);
}

/** Lists that nobody may go on with. */
const broken: Record<string, Uint8Array> = {
  "nothing": new Uint8Array(0),
  "half a head": raw().slice(0, 30),
  "another format": raw().map((byte, i) => i === 11 ? 2 : byte),
  "an unknown section": raw(section(6)),
  "a section cut short": raw(section(2, strings("x"))).slice(0, -1),
  "a signature that is none": new Uint8Array([...raw(), 4, ...strings(ca.publicKey.blob, "x")]),
  "a signature by another": await signedBy(raw(), ca, otherCa),
  "a signature of another list": (await signedBy(raw(), ca)).map((byte, i) => i === 20 ? byte ^ 1 : byte),
  "two signatures by one": await signedBy(await signedBy(raw(), ca), ca),
  "more behind the signature": new Uint8Array([...await signedBy(raw(), ca), ...section(2, strings("x"))]),
  "a signature by whom it revokes": await signedBy(writeKrl({ keys: [ca.publicKey] }), ca),
  "a SHA-1 fingerprint of 21 bytes": raw(section(3, strings(new Uint8Array(21)))),
  "a SHA-256 fingerprint of 20 bytes": raw(section(5, strings(new Uint8Array(20)))),
  "bytes behind a key": raw(section(2, strings("x"), Uint8Array.of(0))),
  "a critical extension": raw(section(255, strings("x"), Uint8Array.of(1), strings(""))),
  "an extension with more": raw(section(255, strings("x"), Uint8Array.of(0), strings(""), Uint8Array.of(0))),
  "a CA that is no key": raw(section(1, strings("x", ""))),
  "an unknown section of certificates": raw(ofCa(section(0x24))),
  "a critical extension of certificates": raw(ofCa(section(0x39, strings("x"), Uint8Array.of(1), strings("")))),
  "serial number 0": raw(ofCa(section(0x20, u64(0n)))),
  "half a serial number": raw(ofCa(section(0x20, new Uint8Array(7)))),
  "a range from 0": raw(ofCa(section(0x21, u64(0n, 5n)))),
  "a range backwards": raw(ofCa(section(0x21, u64(5n, 4n)))),
  "a range with more": raw(ofCa(section(0x21, u64(4n, 5n, 6n)))),
  "a bitmap from 0": raw(ofCa(section(0x22, u64(0n), strings(Uint8Array.of(1))))),
  "a negative bitmap": raw(ofCa(section(0x22, u64(1n), strings(Uint8Array.of(0x80))))),
  "a bitmap beyond the end": raw(ofCa(section(0x22, u64((1n << 64n) - 1n), strings(Uint8Array.of(2))))),
  "a bitmap of 2,049 bytes": raw(ofCa(section(0x22, u64(1n), strings(new Uint8Array(2049).fill(1))))),
};

Deno.test("parseKrl() refuses what it does not know, and passes over extensions that are not critical", async () => {
  for (const [what, bytes] of Object.entries(broken)) {
    const error = await assertRejects(() => parseKrl(bytes), SshError, "Cannot read", what);
    assertEquals(error.code, "KEY_FORMAT", what);
  }
  const extension = section(255, strings("x"), Uint8Array.of(0), strings("y"));
  const inner = section(0x39, strings("x"), Uint8Array.of(0), strings("y"));
  const krl = await parseKrl(raw(extension, ofCa(inner, section(0x22, u64(6n), strings(Uint8Array.of(0, 2))))));
  assertEquals(
    await krl.revocation(await certified({ serial: 7n })),
    "the serial number 7 of its certificate is revoked",
  );
  assertEquals(await krl.revocation(await certified({ serial: 6n })), null);
  assertEquals(
    await (await parseKrl(raw(ofCa(section(0x22, u64(6n), strings("")))))).revocation(await certified({ serial: 6n })),
    null,
  );
});

Deno.test("parseKrl() takes lists that are signed, each signature being right and one of the keys not revoked", async () => {
  for (
    const bytes of [
      await signedBy(writeKrl({ keys: [b] }), ca),
      await signedBy(await signedBy(writeKrl({ keys: [b] }), ca), otherCa),
      await signedBy(await signedBy(writeKrl({ keys: [b, ca.publicKey] }), ca), otherCa),
    ]
  ) assertEquals(await (await parseKrl(bytes)).revocation(b), "the key is revoked");
});

Deno.test("parseKrl() survives fuzzing", async () => {
  const samples = [
    writeKrl({ keys: [a, b], fingerprints: [await a.fingerprint()] }),
    writeKrl({ certificates: [{ ca: ca.publicKey, serials: [1n, 3n, 5n, [70n, 100n]], keyIds: ["x"] }] }),
  ];
  const run = await fuzzAsync(async (seed) => {
    try {
      const krl = await parseKrl(mutate(samples[seed % 2]!, seed));
      for (const { serials } of krl.certificates) for (const _ of serials!);
      return true;
    } catch (error) {
      assertInstanceOf(error, SshError);
      assertEquals(error.code, "KEY_FORMAT");
      return false;
    }
  }, { count: 600 });
  assert(run.accepted > 0);
});

Deno.test("revokedKeys() takes lists of keys, and refuses each key where a line is none", async () => {
  const list = `# revoked\r\n\n  ${lines[0]} a comment\r\n${await rawCertificateLine(otherCa, b)}\n`;
  for (const source of [list, utf8(list)]) {
    const revoked = revokedKeys(source);
    assertEquals(await revoked.revocation(a), "the key is revoked");
    assertEquals(await revoked.revocation(b), "the key is revoked");
    assertEquals(await revoked.revocation(parsePublicKey(lines[2]!)), null);
    assertEquals(
      await revoked.revocation(anyKeyFromBlob(await rawCertificate(ca, parsePublicKey(lines[2]!)))),
      "the key of its certificate's CA is revoked",
    );
  }
  assertEquals(await revokedKeys("").revocation(a), null);
  for (
    const line of [
      "rubbish",
      "ssh-ed25519",
      `ssh-rsa ${lines[0]!.split(" ")[1]}`,
      `no-pty ${lines[0]}`,
      "ssh-dss AAAAB3NzaC1kc3M=",
    ]
  ) {
    assertThrows(() => revokedKeys(`${lines[0]}\n${line}\n`), SshError, "line 2");
  }
});

Deno.test("revokedKeys() reads its file anew, and refuses each key where that cannot be read", async () => {
  const dir = await Deno.makeTempDir({ prefix: "amiko_keys_" }), file = `${dir}/revoked`;
  try {
    const revoked = revokedKeys(file), asked: PublicKey[] = [];
    const login = revoked.logins((_: null, key) => (asked.push(key), "let in" as const));
    const host = { hostname: "h", port: 22 }, verify = revoked.hosts(knownHosts(`h ${lines[0]}\nh ${lines[1]}`));
    assertEquals(await verify.keyTypes(host), [a.type, b.type]);
    const refuses = async (why: string) => {
      for (const attempt of [() => revoked.revocation(a), () => login(null, a)]) {
        const error = await assertRejects(attempt, SshError, why);
        assertEquals(error.code, "KEY_FORMAT");
      }
      assertStringIncludes((await assertRejects(async () => void await verify(a, host), HostKeyError)).message, why);
      assertEquals(asked, []);
    };
    await refuses("is not there");
    await Deno.mkdir(file);
    await refuses("is no file");
    await Deno.remove(file);
    for (const bytes of Object.values(broken).slice(1)) {
      await Deno.writeFile(file, bytes);
      await refuses("Cannot read");
    }
    await Deno.truncate(file, 16_777_217);
    await refuses("at most 16777216 are read");
    await Deno.writeFile(file, writeKrl({ keys: [b] }));
    assertEquals([await login(null, a), await login(null, b)], ["let in", false]);
    assertEquals(asked, [a]);
    assertEquals(await verify(a, host), true);
    await assertRejects(async () => void await verify(b, host), HostKeyRevokedError, "the key is revoked");
    await Deno.writeTextFile(file, lines[0]!);
    assertEquals([await login(null, a), await login(null, b)], [false, "let in"]);
    await Deno.writeTextFile(file, "");
    assertEquals(await revokedKeys(new URL(`file://${file}`)).revocation(a), null);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("verifyMessage() refuses the keys that are revoked", async () => {
  const data = utf8("data"), namespace = "file", signature = await signMessage(ca, data, { namespace });
  const options = { namespace, principal: "alice", allowedSigners: `alice ${ca.publicKey}` };
  await verifyMessage(signature, data, { ...options, revoked: revokedKeys(writeKrl({ keys: [b] })) });
  const revoked = revokedKeys(writeKrl({ keys: [a] }));
  await assertRejects(() => verifyMessage(signature, data, { ...options, revoked }), SshError, "the key is revoked");
  const missing = revokedKeys("/nonexistent/revoked");
  await assertRejects(() => verifyMessage(signature, data, { ...options, revoked: missing }), SshError, "is not there");
});

Deno.test("revokedKeys() refuses what is no source", () => {
  for (const source of [undefined, 1, {}, new URL("https://example.com/krl")]) {
    assertThrows(() => revokedKeys(source as string), TypeError);
  }
  assertThrows(() => revokedKeys("").logins(undefined as unknown as () => boolean), TypeError);
  assertThrows(() => revokedKeys("").hosts(undefined as unknown as () => boolean), TypeError);
});
