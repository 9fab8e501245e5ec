/** Signatures of messages (SSHSIG): both ways, each refusal, messages of any size. tests/interop/sshsig_test.ts has `ssh-keygen`. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { SshError, type SshErrorCode } from "../../lib/errors.ts";
import { generateKey, insecureSha1Signer, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { publicKeyFromBlob } from "../../lib/keys/public_key.ts";
import { allowedSigners } from "../../lib/keys/sshsig/allowed_signers.ts";
import { readSignatureFile } from "../../lib/keys/sshsig/signature_file.ts";
import { signMessage } from "../../lib/keys/sshsig/sign_message.ts";
import {
  findPrincipals,
  messageSigner,
  verifyMessage,
  type VerifyMessageOptions,
} from "../../lib/keys/sshsig/verify_message.ts";
import type { Signer } from "../../lib/keys/types.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { softwareKey } from "../_support/authenticator.ts";
import { type RawCertificate, rawCertificateLine } from "../_support/certificates.ts";
import { fuzz, fuzzAsync, mutate } from "../_support/fuzz.ts";
import { opensshKeys, strings, utf8 } from "../_support/key_vectors.ts";
import { inTime, PROGRAM_HANGS } from "../_support/until.ts";

const namespace = "file", data = utf8("a message");
const key = await parsePrivateKey(opensshKeys()[0]!.private);
const allowed = (options = "", principals = "alice"): VerifyMessageOptions => ({
  namespace,
  principal: "alice",
  allowedSigners: `${principals} ${options} ${key.publicKey} a comment\n`,
});

async function refused(promise: Promise<unknown>, why: string, code: SshErrorCode = "AUTH_FAILED"): Promise<void> {
  const error = await assertRejects(() => promise);
  assertInstanceOf(error, SshError, why);
  assertEquals(error.code, code, error.message);
  assertStringIncludes(error.message, why);
}

/** A stream, and whether it was cancelled. */
function streamOf(...chunks: unknown[]): { stream: ReadableStream<Uint8Array>; cancelled: () => unknown } {
  let cancelled: unknown;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = chunks.shift();
      if (next instanceof Error) controller.error(next);
      else if (next === undefined) controller.close();
      else controller.enqueue(next as Uint8Array);
    },
    cancel: (reason) => void (cancelled = reason),
  }, { highWaterMark: 0 });
  return { stream, cancelled: () => cancelled };
}

Deno.test("signMessage() and verifyMessage() fit, for each type of key, hash and form of data", async () => {
  const keys: Signer[] = [
    ...await Promise.all(opensshKeys().slice(0, 5).map(({ private: text }) => parsePrivateKey(text))),
    await softwareKey("ed25519"),
    await softwareKey("ecdsa"),
    await softwareKey("ecdsa", { origin: "https://example.com" }),
    await generateKey("mldsa44-ed25519"),
  ];
  for (const signer of keys) {
    const options = { namespace, principal: "alice", allowedSigners: `alice ${signer.publicKey}` };
    for (const hash of ["sha256", "sha512"] as const) {
      const signature = await signMessage(signer, streamOf(data.slice(0, 4), data.slice(4)).stream, {
        namespace,
        hash,
      });
      assertEquals(readSignatureFile(signature, {}).hash, hash);
      const found = await verifyMessage(signature, data, options);
      assertEquals(found.blob, signer.publicKey.blob);
      await verifyMessage(utf8(signature), streamOf(data).stream, options);
      assertEquals((await messageSigner(signature, data, { namespace })).blob, signer.publicKey.blob);
      await refused(verifyMessage(signature, utf8("another"), options), "not one of this message");
      await refused(messageSigner(signature, utf8("another"), { namespace }), "not one of this message");
    }
  }
});

Deno.test("signMessage() signs with RSA by SHA-512, and never by SHA-1", async () => {
  const rsa = await parsePrivateKey(opensshKeys()[4]!.private), asked: string[] = [];
  const of = (algorithms: readonly string[], label?: string): Signer => ({
    publicKey: rsa.publicKey,
    algorithms,
    sign: async (data, algorithm) => {
      asked.push(algorithm);
      return label === undefined ? await rsa.sign(data, algorithm) : strings(label, "a signature");
    },
  });
  await signMessage(of(["ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"]), data, { namespace });
  await signMessage(of(["ssh-rsa", "rsa-sha2-256"]), data, { namespace });
  assertEquals(asked, ["rsa-sha2-512", "rsa-sha2-256"]);
  await signMessage(insecureSha1Signer(rsa), data, { namespace });
  const { stream, cancelled } = streamOf(data);
  await assertRejects(() => signMessage(of(["ssh-rsa"]), stream, { namespace }), TypeError, "SHA-1 alone");
  assertInstanceOf(cancelled(), TypeError);
  await refused(
    signMessage(of(["rsa-sha2-512"], "ssh-rsa"), data, { namespace }),
    'signed with "ssh-rsa"',
    "PROTOCOL_ERROR",
  );
  // A wrong one could tell whoever gets the file the key itself.
  await refused(
    signMessage(of(["rsa-sha2-512"], "rsa-sha2-512"), data, { namespace }),
    "no signature of it by its key",
    "PROTOCOL_ERROR",
  );
  // Nor does one by SHA-1 verify, whoever made it.
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-512", data));
  const tbs = new Uint8Array([...utf8("SSHSIG"), ...strings(namespace, "", "sha512", digest)]);
  const sha1 = await insecureSha1Signer(rsa).sign(tbs, "ssh-rsa");
  const blob = new Uint8Array([
    ...utf8("SSHSIG"),
    0,
    0,
    0,
    1,
    ...strings(rsa.publicKey.blob, namespace, "", "sha512", sha1),
  ]);
  await refused(messageSigner(armoured(blob), data, { namespace }), "not one of this message");
});

function armoured(bytes: Uint8Array): string {
  return `-----BEGIN SSH SIGNATURE-----\n${bytes.toBase64()}\n-----END SSH SIGNATURE-----\n`;
}

Deno.test("verifyMessage() says why it refuses", async () => {
  const signature = await signMessage(key, data, { namespace }), other = (await generateKey()).publicKey;
  const lists: [VerifyMessageOptions, string][] = [
    [{ ...allowed(), namespace: "git" }, 'is for "file", and not for "git"'],
    [{ ...allowed(), principal: "bob" }, 'no line names "bob"'],
    [{ ...allowed(), principal: "Alice" }, 'no line names "Alice"'],
    [{ ...allowed(), allowedSigners: "" }, 'no line names "alice"'],
    [{ ...allowed(), allowedSigners: "/etc/allowed_signers" }, "it looks like a path"],
    [allowed("", "*,!alice"), 'no line names "alice"'],
    [allowed("", "!bob"), 'no line names "alice"'],
    [{ ...allowed(), allowedSigners: `alice ${other}\n` }, 'the line that names "alice" has another key'],
    [{ ...allowed(), allowedSigners: `alice ${other}\nal* ${other}` }, "none of the lines"],
    [allowed('namespaces="git,!file,*"'), "line 1 has the key, and its namespaces do not have this one"],
    [allowed('namespaces=""'), "its namespaces do not have this one"],
    [allowed('valid-after="29990101Z"'), "it is valid from 2999-01-01T00:00:00.000Z on"],
    [allowed('valid-before="20200101Z"'), "it was valid until 2020-01-01T00:00:00.000Z"],
    [allowed("cert-authority"), "has another key"],
    [allowed("no-pty"), "line 1 cannot be read: an option is not known"],
    [allowed("namespaces=file"), "cannot be read"],
    [allowed('namespaces="a",namespaces="file"'), "an option stands twice"],
    [allowed('valid-after="soon"'), "valid-after: it is no time"],
    [allowed('valid-after="20300101",valid-before="20200101"'), "it is not behind valid-after"],
    [allowed('namespaces="file"x'), "the options are not followed by a key"],
    [allowed('namespaces="file'), "a quote is not closed"],
    [allowed("", '"alice'), "a quote is not closed"],
  ];
  for (const [options, why] of lists) {
    const { stream, cancelled } = streamOf(data);
    await refused(verifyMessage(signature, stream, options), why);
    assertInstanceOf(cancelled(), SshError, why);
  }
  const right: VerifyMessageOptions[] = [
    allowed(),
    allowed("", "bob,a?ice*"),
    allowed("", '"alice"'),
    allowed("", 'al"ice,b c"'),
    allowed('NameSpaces="git,fi*",VALID-after="20200101",valid-before="29990101utc"'),
    {
      ...allowed(),
      allowedSigners: `# a comment\r\n\r\nrubbish\n${
        allowed('namespaces="git"').allowedSigners
      }${allowed().allowedSigners}`,
    },
    { ...allowed(), allowedSigners: utf8(allowed().allowedSigners as string) },
  ];
  for (const options of right) await verifyMessage(signature, data, options);
  for (
    const [at, lets] of [
      ["2024-12-31T23:59:59.999Z", false],
      ["2025-01-01T00:00:00Z", true],
      ["2025-01-02T00:00:00.999Z", true],
      ["2025-01-02T00:00:01Z", false],
    ] as const
  ) {
    const options = { ...allowed('valid-after="20250101Z",valid-before="20250102Z"'), at: new Date(at) };
    if (lets) await verifyMessage(signature, data, options);
    else await refused(verifyMessage(signature, data, options), "valid");
    assertEquals(await findPrincipals(signature, options), lets ? ["alice"] : []);
  }
});

Deno.test("a certificate goes along with its key's signature, and lets whom it names sign under a line with its CA", async () => {
  const ca = await generateKey("ecdsa"), user = await parsePrivateKey(opensshKeys()[4]!.private);
  const line = `al* cert-authority,namespaces="file" ${ca.publicKey}`;
  const signed = async (raw: RawCertificate = {}, signer: Signer = user) => {
    const certificate = await rawCertificateLine(ca, signer.publicKey, raw);
    return await signMessage(withCertificate(signer, certificate), data, { namespace });
  };
  const options = { namespace, principal: "alice", allowedSigners: line, at: new Date("2025-01-01T00:00:00Z") };
  const signature = await signed(), now = BigInt(options.at.getTime() / 1000);
  assertEquals((await verifyMessage(signature, data, options)).certificate!.publicKey.blob, user.publicKey.blob);
  await refused(verifyMessage(signature, utf8("another"), options), "not one of this message");
  const own = `alice ${await rawCertificateLine(ca, user.publicKey)}`;
  await verifyMessage(signature, data, { ...options, allowedSigners: own });
  for (
    const [why, raw, other] of [
      ["its certificate does not name this principal", {}, { principal: "alfred" }],
      ['no line names "bob"', {}, { principal: "bob" }],
      ["its certificate does not name this principal", { principals: [] }],
      ["its certificate does not name this principal", { principals: ["al*"] }],
      ["has another key", {}, { allowedSigners: `alice ${ca.publicKey}` }],
      ["has another key", {}, { allowedSigners: `alice ${user.publicKey}` }],
      ["has another key", {}, { allowedSigners: `alice cert-authority ${user.publicKey}` }],
      ["its certificate is for hosts", { kind: 2 }],
      ["its certificate is valid from 2025-01-01T00:00:01.000Z on", { validAfter: now + 1n }],
      ["its certificate was valid until 2025-01-01T00:00:00.000Z", { validBefore: now }],
      ["its namespaces do not have this one", {}, { allowedSigners: line.replace("file", "git") }],
      ['the critical option "frobnicate"', { critical: [["frobnicate", ""]] }],
      ["in no FIDO authenticator", { critical: [["verify-required", ""]] }],
    ] as const
  ) {
    const signature = await signed(raw as RawCertificate);
    await refused(verifyMessage(signature, data, { ...options, ...other }), why);
    const found = await findPrincipals(signature, options);
    if (["al*", "for hosts", "valid"].some((part) => why.includes(part))) assertEquals(found, [], why);
  }
  await verifyMessage(await signed({ validAfter: now, validBefore: now + 1n }), data, options);
  await verifyMessage(await signed({ critical: [["force-command", "x"]] }), data, options);
  assertEquals(await findPrincipals(await signed({ principals: ["bob", "alice", "albert"] }), options), [
    "alice",
    "albert",
  ]);
  const fido = await softwareKey("ed25519", { flags: 5 }), critical = [["verify-required", ""]] as const;
  await verifyMessage(await signed({ critical }, fido), data, options);
  fido.says = { flags: 1 };
  await refused(verifyMessage(await signed({ critical }, fido), data, options), "did not verify who touched it");
  // Its CA has to have signed it.
  const forged = rawCertificateLine(ca, user.publicKey, { spoil: (bytes) => bytes.fill(1, bytes.length - 8) });
  const { publicKey: certified } = withCertificate(user, await forged);
  const bytes = await signMessage(
    { ...user, publicKey: certified, algorithms: user.algorithms, sign: user.sign.bind(user) },
    data,
    {
      namespace,
    },
  );
  await refused(verifyMessage(bytes, data, options), "is not one of its CA's", "KEY_FORMAT");
  await refused(findPrincipals(bytes, options), "is not one of its CA's", "KEY_FORMAT");
});

Deno.test("verifyMessage() wants a FIDO key touched or verified where it is told to", async () => {
  const fido = await softwareKey("ed25519");
  for (
    const [flags, touch, verify] of [[0, false, false], [1, true, false], [4, false, true], [5, true, true]] as const
  ) {
    fido.says = { flags };
    const signature = await signMessage(fido, data, { namespace });
    const options = { namespace, principal: "alice", allowedSigners: `alice ${fido.publicKey}` };
    await verifyMessage(signature, data, options);
    const touched = verifyMessage(signature, data, { ...options, touchRequired: true });
    await (touch ? touched : refused(touched, "nobody touched"));
    const verified = verifyMessage(signature, data, { ...options, verifyRequired: true });
    await (verify ? verified : refused(verified, "did not verify who touched it"));
  }
  const signature = await signMessage(key, data, { namespace });
  await verifyMessage(signature, data, { ...allowed(), touchRequired: true });
  await refused(verifyMessage(signature, data, { ...allowed(), verifyRequired: true }), "in no FIDO authenticator");
});

Deno.test("a signature's file is read as ssh-keygen reads it, and nothing else is", async () => {
  const signature = await signMessage(key, data, { namespace }), lines = signature.trimEnd().split("\n");
  const body = lines.slice(1, -1).join("\n"), file = (body: string) => `${lines[0]}\n${body}\n${lines.at(-1)}\n`;
  const raw = Uint8Array.fromBase64(body),
    at = (changes: Record<number, number>) => {
      const bytes = raw.slice();
      for (const [i, byte] of Object.entries(changes)) bytes[Number(i)] = byte;
      return armoured(bytes);
    };
  const right = {
    "as it is": signature,
    "no line break at the end": signature.trimEnd(),
    "carriage returns": signature.replaceAll("\n", "\r\n"),
    "more behind it": `${signature.trimEnd()}x\nand more`,
    "one line": file(body.replaceAll("\n", "")),
    "white space": file(`\n\n ${body.replaceAll("A", "A \t\v\f\n")} \n`),
  };
  for (const text of Object.values(right)) await verifyMessage(text, data, allowed());
  const wrong: Record<string, string> = {
    "nothing": "",
    "a line break before it": `\n${signature}`,
    "text before it": `x\n${signature}`,
    "text behind the first line": signature.replace("-\n", "- \n"),
    "no end": file(body).slice(0, -10),
    "an end that is indented": signature.replace("\n-----END", "\n -----END"),
    "an end behind the base64": file(body).replace("\n-----END", "-----END"),
    "headers": file(`Comment: x\n${body}`),
    "no base64": file("*"),
    "half of it": file(body.slice(0, 100)),
    "another magic": at({ 0: 0x54 }),
    "version 0": at({ 9: 0 }),
    "version 2": at({ 9: 2 }),
    "bytes behind it": armoured(new Uint8Array([...raw, 0])),
    "another format": signature.replaceAll("SSH SIGNATURE", "PGP SIGNATURE"),
    "too long": file(body + " ".repeat(70_000)),
  };
  const hashes = ["sha1", "md5", "SHA512", ""].map((hash) =>
    armoured(
      new Uint8Array([
        ...raw.slice(0, 10),
        ...strings(key.publicKey.blob, namespace, "", hash, strings("ssh-ed25519", "x")),
      ]),
    )
  );
  for (const [what, text] of [...Object.entries(wrong), ...hashes.map((text) => ["a hash", text] as const)]) {
    const error = await assertRejects(() => verifyMessage(text, data, allowed()), what);
    assertInstanceOf(error, SshError, what);
    assertEquals(error.code, "KEY_FORMAT", what);
  }
});

Deno.test("findPrincipals() has the patterns of the first line with the key", async () => {
  const signature = await signMessage(key, data, { namespace }), other = (await generateKey()).publicKey;
  const find = (allowedSigners: string) => findPrincipals(signature, { allowedSigners });
  assertEquals(await find(`x ${other}\na,b*,!c namespaces="git" ${key.publicKey}\nd ${key.publicKey}`), [
    "a",
    "b*",
    "!c",
  ]);
  assertEquals(await find(`x ${other}\na cert-authority ${key.publicKey}`), []);
  assertEquals(await find(`a valid-before="20200101" ${key.publicKey}\nrubbish\nb ${key.publicKey}`), ["b"]);
  await refused(findPrincipals("rubbish", { allowedSigners: "" }), "does not begin with", "KEY_FORMAT");
});

Deno.test("messages are streams of any size, of which no more than a chunk is kept", async () => {
  const chunk = new Uint8Array(65_536).fill(7);
  let pulled = 0, inside = 0, most = 0;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      most = Math.max(most, ++inside);
      if (++pulled > 60) return controller.close();
      controller.enqueue(chunk.slice());
      inside--;
    },
  }, { highWaterMark: 0 });
  const signature = await signMessage(key, stream, { namespace });
  assertEquals([pulled, most], [61, 1]);
  const whole = new Uint8Array(60 * chunk.length).fill(7);
  await verifyMessage(signature, whole, allowed());
  await verifyMessage(await signMessage(key, new Uint8Array(0), { namespace }), streamOf().stream, allowed());
});

Deno.test("messages are hashed where there is no node:crypto, as in a page", async () => {
  const worker = new Worker(new URL("./_without_node_worker.ts", import.meta.url), { type: "module" });
  try {
    const posted = new Promise<MessageEvent>((resolve, reject) => {
      worker.onmessage = resolve;
      worker.onerror = (event) => (event.preventDefault(), reject(new Error(event.message)));
    });
    const { node, hashes } = (await inTime(posted, "the worker", PROGRAM_HANGS)).data;
    assertEquals(node, false);
    assertEquals([hashes[0], hashes[2]], [hashes[1], hashes[3]]);
    assertEquals(hashes.map((hash: string) => hash.length), [64, 64, 128, 128]);
  } finally {
    worker.terminate();
  }
});

Deno.test("a stream that fails or is no stream of bytes fails the call, and a signal ends it", async () => {
  const signature = await signMessage(key, data, { namespace }), error = new Error("the disk is gone");
  await assertRejects(() => signMessage(key, streamOf(data, error).stream, { namespace }), Error, "the disk is gone");
  await assertRejects(
    () => verifyMessage(signature, streamOf(data, error).stream, allowed()),
    Error,
    "the disk is gone",
  );
  const texts = streamOf("text");
  await assertRejects(() => verifyMessage(signature, texts.stream, allowed()), TypeError, "a stream of bytes");
  assertInstanceOf(texts.cancelled(), TypeError);
  for (const early of [true, false]) {
    const abort = new AbortController(), reason = new Error("enough"), hangs = { cancelled: null as unknown };
    if (early) abort.abort(reason);
    const stream = new ReadableStream<Uint8Array>({ cancel: (why) => void (hangs.cancelled = why) }, {
      highWaterMark: 0,
    });
    const verifying = verifyMessage(signature, stream, { ...allowed(), signal: abort.signal });
    abort.abort(reason);
    assertEquals(await assertRejects(() => verifying), reason);
    assertEquals(hangs.cancelled, reason);
  }
  await assertRejects(() => signMessage(key, data, { namespace, signal: AbortSignal.abort() }), DOMException);
});

Deno.test("signMessage() and verifyMessage() wait no longer than their time for a stream and for a signer, and say so", async () => {
  const signature = await signMessage(key, data, { namespace, timeout: 2 ** 40 }), cancelled: unknown[] = [];
  const stream = () =>
    new ReadableStream<Uint8Array>({ cancel: (why) => void cancelled.push(why) }, { highWaterMark: 0 });
  const silent = {
    ...key,
    publicKey: key.publicKey,
    algorithms: key.algorithms,
    sign: () => new Promise<never>(() => {}),
  };
  const waits: [() => Promise<unknown>, string, number][] = [
    [() => verifyMessage(signature, stream(), { ...allowed(), timeout: 5 }), "the message", 1],
    [() => signMessage(key, stream(), { namespace, timeout: 5 }), "the message and its signature", 1],
    [() => signMessage(silent, data, { namespace, timeout: 5 }), "the message and its signature", 0],
  ];
  for (const [wait, what, streams] of waits) {
    const error = await assertRejects(wait, DOMException);
    assertEquals([error.name, error.message], ["TimeoutError", `Timed out after 5 ms waiting for ${what}`]);
    assertEquals(cancelled.splice(0), streams === 0 ? [] : [error]);
  }
  await assertRejects(() => signMessage(key, data, { namespace, timeout: NaN }), RangeError, "`timeout`");
  await assertRejects(() => verifyMessage(signature, data, { ...allowed(), timeout: -1 }), RangeError, "`timeout`");
});

Deno.test("signMessage() and verifyMessage() refuse what makes no sense", async () => {
  const signature = await signMessage(key, data, { namespace });
  // deno-lint-ignore no-explicit-any
  const anything = (value: unknown) => value as any;
  const locked = streamOf(data).stream;
  locked.getReader();
  for (
    const attempt of [
      ...["", "a\0b", 1, undefined].map((namespace) => () => signMessage(key, data, anything({ namespace }))),
      () => signMessage(key, data, anything(undefined)),
      () => signMessage(key, data, anything({ namespace, hash: "sha1" })),
      () => signMessage(anything(key.publicKey), data, { namespace }),
      () => signMessage(key, anything("text"), { namespace }),
      () => signMessage(key, locked, { namespace }),
      () => verifyMessage(signature, anything("text"), allowed()),
      () => verifyMessage(signature, data, { ...allowed(), namespace: "" }),
      () => verifyMessage(signature, data, { ...allowed(), principal: "" }),
      () => verifyMessage(signature, data, { ...allowed(), principal: anything(undefined) }),
      () => verifyMessage(signature, data, { ...allowed(), at: new Date(NaN) }),
      () => verifyMessage(signature, data, { ...allowed(), at: anything(5) }),
      () => verifyMessage(signature, data, { ...allowed(), touchRequired: anything(1) }),
      () => verifyMessage(signature, data, { ...allowed(), allowedSigners: anything(undefined) }),
      () => verifyMessage(anything(undefined), data, allowed()),
      () => findPrincipals(signature, anything({})),
      () => messageSigner(signature, data, anything({})),
    ]
  ) await assertRejects(attempt, TypeError, "Cannot", attempt.toString());
  await assertRejects(() => messageSigner(signature, data, { namespace, insecureMinRsaBits: 512 }), RangeError);
});

Deno.test("files of signatures survive fuzzing, and none is right by chance", async () => {
  const raw = Uint8Array.fromBase64((await signMessage(key, data, { namespace })).split("\n").slice(1, -2).join(""));
  let right = 0;
  const run = await fuzzAsync(async (seed) => {
    const changed = mutate(raw, seed);
    try {
      await messageSigner(armoured(changed), data, { namespace });
    } catch (error) {
      assertInstanceOf(error, SshError);
      return false;
    }
    // Nothing but the reserved field is without effect.
    const file = readSignatureFile(armoured(changed), {});
    assertEquals([file.publicKey.blob, file.namespace, file.hash], [key.publicKey.blob, namespace, "sha512"]);
    right++;
    return true;
  }, { count: 400, share: 2 });
  assert(run.accepted === right);
});

Deno.test("allowedSigners() survives fuzzing", () => {
  const samples = [
    `alice,bob* namespaces="a,b",valid-after="20200101" ${key.publicKey} c`,
    `"a b",!c cert-authority,valid-before="20300101Z" ${key.publicKey}`,
    `x ${key.publicKey}\n# y\r\nz ${key.publicKey}`,
  ].map(utf8);
  fuzz((seed) => {
    let read = 0;
    for (const entry of allowedSigners(mutate(samples[seed % 3]!, seed))) {
      if ("reason" in entry) continue;
      read++;
      assert(entry.principals !== "");
      if (entry.blob.length === key.publicKey.blob.length) publicKeyFromBlob(key.publicKey.blob);
    }
    return read > 0;
  }, { count: 600, share: 2 });
});
