/** Users with certificates: who is let in, by a CA or by a line of authorized_keys, and what the certificate and the line let the login do. */
import { assert, assertEquals, assertFalse, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { matchAuthorizedKey } from "../../lib/auth/authorized_keys.ts";
import type { Grant } from "../../lib/auth/grants.ts";
import { password, publicKey } from "../../lib/auth/methods.ts";
import type { AuthInfo, AuthResult, ServerAuth } from "../../lib/auth/types.ts";
import { trustedUserCAs } from "../../lib/auth/user_certificates.ts";
import { ChannelOpenError, SshAuthError, SshError } from "../../lib/errors.ts";
import { anyKeyFromBlob } from "../../lib/keys/certificate.ts";
import { generateKey, insecureSha1Signer, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { signCertificate } from "../../lib/keys/sign_certificate.ts";
import type { PublicKey, Signer } from "../../lib/keys/types.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { join } from "../_support/joined.ts";
import { opensshKeys } from "../_support/key_vectors.ts";
import { type RawCertificate, rawCertificate, rawCertificateLine } from "../_support/certificates.ts";

const ca = await generateKey(), other = await generateKey(), user = await generateKey();
const caLine = String(ca.publicKey);
const at = (hostname: string) => ({ remoteAddr: { transport: "tcp", hostname, port: 1 } as const });
const info = { username: "alice", ...at("10.1.2.3") } as AuthInfo;

/** The user's key with a certificate. */
const certified = async (raw: RawCertificate = {}, signer: Signer = ca): Promise<PublicKey> =>
  anyKeyFromBlob(await rawCertificate(signer, user.publicKey, raw));

const now = () => BigInt(Math.floor(Date.now() / 1000));

/** What is refused, and why. */
const refused: readonly (readonly [what: string, RawCertificate, why: RegExp])[] = [
  ["expired", { validBefore: now() - 1n }, /has expired/],
  ["expired at this moment", { validAfter: 0n, validBefore: 1n }, /has expired/],
  ["not yet valid", { validAfter: now() + 3600n }, /not valid yet/],
  ["never valid", { validAfter: 2n ** 64n - 1n }, /not valid yet/],
  ["a host's", { kind: 2 }, /for hosts/],
  ["another's", { principals: ["bob"] }, /none of the principals/],
  ["nobody's", { principals: [] }, /none of the principals/],
  ["of an empty name", { principals: [""] }, /none of the principals/],
  ["of two names in one", { principals: ["alice,bob", "bob,alice"] }, /none of the principals/],
  ["of a pattern", { principals: ["*", "a*", "alic?"] }, /none of the principals/],
  ["of another case", { principals: ["Alice", " alice", "alice "] }, /none of the principals/],
  ["with an option that is not known", { critical: [["frobnicate@example.com", ""]] }, /frobnicate.*not known/],
  ["with an extension that is critical", { critical: [["permit-pty", ""]] }, /permit-pty.*not known/],
  ["with a command in no string", { critical: [["force-command", new Uint8Array([0x6c, 0x73])]] }, /malformed/],
  ["with no command", { critical: [["force-command", ""]] }, /malformed/],
  ["with more behind the command", { critical: [["force-command", new Uint8Array(9)]] }, /malformed/],
  ["with a NUL in the command", { critical: [["force-command", "a\0b"]] }, /malformed/],
  ["from elsewhere", { critical: [["source-address", "10.2.0.0/16,::1"]] }, /source-address/],
  ["from nowhere", { critical: [["source-address", new Uint8Array(4)]] }, /malformed/],
  ["without an address", { critical: [["source-address", ""]] }, /malformed/],
  ["from a pattern", { critical: [["source-address", "10.1.2.*"]] }, /malformed/],
  ["from not elsewhere", { critical: [["source-address", "!10.2.0.0/16,10.0.0.0/8"]] }, /malformed/],
  ["from a network with a host's bits", { critical: [["source-address", "10.1.2.3/8"]] }, /malformed/],
  ["with data behind a flag", { extensions: [["permit-pty", "x"]] }, /malformed/],
  ["of somebody who has to be there", { critical: [["verify-required", ""]] }, /wants the user verified/],
  ["verified with data", { critical: [["verify-required", "x"]] }, /malformed/],
];

Deno.test("a certificate that does not hold lets nobody in, by a CA or by a line of authorized_keys, and both say why", async () => {
  for (const [what, raw, why] of refused) {
    const key = await certified(raw), reasons: string[] = [];
    const byCa = trustedUserCAs(ca.publicKey, { onRejected: (reason) => void reasons.push(reason) });
    assertEquals(await byCa(info, key), false, what);
    const onRejected = ({ reason }: { reason: string }) => void reasons.push(reason);
    assertEquals(matchAuthorizedKey(`cert-authority ${caLine}`, key, info, { onRejected }), null, what);
    assertEquals(reasons.length, 2, what);
    for (const reason of reasons) assertMatch(reason, why, what);
  }
  // Who comes from nowhere that is known comes from no address that is listed.
  const bound = await certified({ critical: [["source-address", "0.0.0.0/0,::/0"]] });
  assert(await trustedUserCAs(caLine)(info, bound));
  assertFalse(await trustedUserCAs(caLine)({ ...info, remoteAddr: undefined }, bound));
});

Deno.test("trustedUserCAs() lets in by any of its CAs, as the user or by the principals that the program gives", async () => {
  const key = await certified({ principals: ["x", "alice"], validBefore: now() + 3600n });
  const file = `# those of the office\n\n${other.publicKey} office\r\n${caLine} home\n`;
  for (const cas of [ca.publicKey, caLine, file, new TextEncoder().encode(file), [other.publicKey, caLine]]) {
    assert(await trustedUserCAs(cas)(info, key));
  }
  const elsewhere = await certified({ ca: other.publicKey.blob });
  for (const [cas, one] of [[ca, elsewhere], [other, key], [ca, user.publicKey]] as const) {
    assertFalse(await trustedUserCAs(cas.publicKey)(info, one as PublicKey));
  }
  assertFalse(await trustedUserCAs(ca.publicKey)({ ...info, username: "bob" }, key));
  const roles = trustedUserCAs(ca.publicKey, {
    principals: ({ username }, { serial }) => username === "root" && serial === 7n ? ["admin", "x"] : [],
  });
  assert(await roles({ ...info, username: "root" }, key));
  assertFalse(await roles(info, key));
  await assertRejects(
    () => trustedUserCAs(ca.publicKey, { principals: () => "x" as never })(info, key),
    TypeError,
    "a list of names",
  );
});

Deno.test("trustedUserCAs() throws for what are no CAs, and for options that are none", async () => {
  const certificate = await certified();
  const short = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7";
  for (const none of ["", "# nobody", [], "/etc/ssh/ca.pub", short, certificate, String(certificate), 5, null, ca]) {
    assertThrows(() => trustedUserCAs(none as never), TypeError);
  }
  for (const options of [5, { principals: ["alice"] }, { onRejected: 1 }, { principal: () => [] }]) {
    assertThrows(() => trustedUserCAs(caLine, options as never), TypeError);
  }
  assertThrows(() => trustedUserCAs(caLine, { insecureMinRsaBits: 5 }), RangeError);
});

Deno.test("a line with cert-authority lets in by certificates alone, by its own principals where it has some", async () => {
  const key = await certified({ principals: ["alice", "staff"] });
  const line = (options: string, of: PublicKey = key, client: object = info) =>
    matchAuthorizedKey(`${options} ${caLine}`.trim(), of, client)?.grant ?? null;
  assertEquals(line("cert-authority"), {});
  assertEquals(line("CERT-AUTHORITY,restrict,pty"), {
    agentForwarding: false,
    x11Forwarding: false,
    portForwarding: false,
  });
  assertEquals(line('cert-authority,principals="x,staff",command="ls"', key, { ...info, username: "bob" }), {
    command: "ls",
  });
  assertEquals(line('cert-authority,principals="staff"', key, {}), {});
  const no: [string, PublicKey?, object?][] = [
    [""],
    ["no-pty"],
    ['principals="alice"'],
    ['cert-authority,principals="x"'],
    ['cert-authority,principals=""'],
    ['cert-authority,principals="staf?,*"'],
    ['cert-authority,principals=" staff"'],
    ['cert-authority,from="10.2.0.0/16"'],
    ['cert-authority,expiry-time="20200101"'],
    ["cert-authority", ca.publicKey],
    ["cert-authority", key, {}],
    ["cert-authority", key, { ...info, username: "bob" }],
    ["cert-authority", key, ["cert-authority"]],
  ];
  for (const [options, of, client] of no) assertEquals(line(options, of, client), null, options);
  // The key of the certificate stands for itself, without it.
  assertEquals(matchAuthorizedKey(String(user.publicKey), key, info), null);
  assertEquals(matchAuthorizedKey(`cert-authority ${user.publicKey}`, key, info), null);
  const match = matchAuthorizedKey(`${user.publicKey}\n${other.publicKey}\ncert-authority ${caLine} home`, key, info);
  assertEquals([match?.line, match?.comment, String(match?.key)], [3, "home", caLine]);
});

/** Logs in with a certificate, and gives what the server's program was told. */
async function logIn(
  auth: ServerAuth,
  raw: RawCertificate = {},
  options: { signer?: Signer; from?: string; errors?: unknown[] } = {},
) {
  const line = await rawCertificateLine(ca, user.publicKey, raw);
  return await join(
    { auth, onError: (error) => void options.errors?.push(error) },
    { auth: [publicKey(options.signer ?? withCertificate(user, line))] },
  );
}

Deno.test("a server lets in by a CA, and the session says by which certificate", async () => {
  const seen: PublicKey[] = [];
  await using joined = await join({
    auth: { publicKey: trustedUserCAs(ca.publicKey) },
    handler: ({ user }) => void seen.push(user.publicKey!),
  }, { auth: [publicKey(withCertificate(user, await rawCertificateLine(ca, user.publicKey, { keyId: "laptop" })))] });
  await joined.client.exec("x");
  assertEquals([seen[0]?.certificate?.keyId, seen[0]?.type], ["laptop", "ssh-ed25519-cert-v01@openssh.com"]);
  assertEquals(await seen[0]?.fingerprint(), await user.publicKey.fingerprint());
});

Deno.test("a certificate lets nobody in whom only a handler that knows nothing of certificates lets in, and the program is told", async () => {
  const pin = await user.publicKey.fingerprint(), errors: unknown[] = [];
  const handlers: ServerAuth["publicKey"][] = [
    () => true,
    () => ({ grant: {} }),
    () => ({ partial: ["password"] }),
    async (_, key) => await key.fingerprint() === pin,
    (_, key) => key.certificate?.principals.includes("alice") ?? false,
    async (info, key) => (await trustedUserCAs(other.publicKey)(info, key), true),
    async (info, key) => (await trustedUserCAs(ca.publicKey)({ ...info, username: "bob" }, key), true),
    (info, key) => (matchAuthorizedKey(`restrict ${user.publicKey}\n${caLine}`, key, info), true),
  ];
  for (const handler of handlers) {
    await assertRejects(() => logIn({ publicKey: handler }, {}, { errors }), SshAuthError);
  }
  assertEquals(errors.length, handlers.length);
  for (const error of errors) {
    assertMatch(String(error), /TypeError: Cannot grant login: the key comes with a certificate/);
  }
  // As with plain keys, the options of a line are not to be left out.
  const forgets: ServerAuth["publicKey"] = (info, key) =>
    matchAuthorizedKey(`cert-authority,no-pty ${caLine}`, key, info) !== null;
  await assertRejects(() => logIn({ publicKey: forgets }, {}, { errors }), SshAuthError);
  assertMatch(String(errors.at(-1)), /options/);
});

Deno.test("a server refuses certificates that their CA has not signed, before its handler hears of them", async () => {
  const heard: unknown[] = [], auth: ServerAuth = { publicKey: (_, key) => (heard.push(key), true) };
  const rsa = await parsePrivateKey(opensshKeys()[4]!.private);
  const blobs: [string, Uint8Array<ArrayBuffer>][] = [
    ["another CA's", await rawCertificate(ca, user.publicKey, { ca: other.publicKey.blob })],
    ["changed", await rawCertificate(ca, user.publicKey, { spoil: (bytes) => bytes.with(-1, bytes.at(-1)! ^ 1) })],
    ["SHA-1", await rawCertificate(insecureSha1Signer(rsa), user.publicKey, { algorithm: "ssh-rsa" })],
    ["of a CA with a certificate", await rawCertificate(ca, user.publicKey, { ca: (await certified()).blob })],
    ["with more behind it", await rawCertificate(ca, user.publicKey, { trailing: new Uint8Array(1) })],
  ];
  for (const [what, blob] of blobs) {
    const key: PublicKey = {
      ...user.publicKey,
      type: "ssh-ed25519-cert-v01@openssh.com",
      blob,
      fingerprint: () => Promise.resolve(what),
    };
    const signer: Signer = {
      publicKey: key,
      algorithms: [key.type],
      sign: (data) => user.sign(data, "ssh-ed25519"),
    };
    await assertRejects(() => logIn(auth, {}, { signer }), SshAuthError);
  }
  assertEquals(heard, []);
});

Deno.test("an RSA certificate logs in with SHA-2, and with SHA-1 never", async () => {
  const rsa = await parsePrivateKey(opensshKeys()[4]!.private);
  const line = await signCertificate(ca, rsa.publicKey, { kind: "user", principals: ["alice"] });
  const good = withCertificate(rsa, line), auth = { publicKey: trustedUserCAs(ca.publicKey) };
  for (const algorithm of good.algorithms) {
    await using _joined = await logIn(auth, {}, { signer: { ...good, algorithms: [algorithm] } });
  }
  const sha1 = insecureSha1Signer(rsa);
  for (const algorithm of ["ssh-rsa-cert-v01@openssh.com", "ssh-rsa", "rsa-sha2-256"]) {
    const signer: Signer = {
      publicKey: good.publicKey,
      algorithms: [algorithm],
      sign: (data) => sha1.sign(data, algorithm.startsWith("ssh-rsa") ? "ssh-rsa" : algorithm),
    };
    await assertRejects(() => logIn(auth, {}, { signer }), SshAuthError);
  }
  // A signature with another label than was said.
  const lies: Signer = { ...good, algorithms: [good.algorithms[0]!], sign: (data) => rsa.sign(data, "rsa-sha2-256") };
  await assertRejects(() => logIn(auth, {}, { signer: lies }), SshAuthError);
});

Deno.test("what a certificate does not permit the login may not do, whatever the handler grants", async () => {
  const permits = ["permit-pty", "permit-agent-forwarding", "permit-X11-forwarding", "permit-port-forwarding"];
  const answer = async (extensions: readonly string[], result: AuthResult): Promise<boolean[]> => {
    await using joined = await logIn({
      publicKey: async (info, key) => await trustedUserCAs(ca.publicKey)(info, key) && result,
    }, { extensions: extensions.map((name) => [name, ""] as const) });
    const { client } = joined;
    const works = async (attempt: () => Promise<unknown>): Promise<boolean> => {
      try {
        await attempt();
        return true;
      } catch (error) {
        if (error instanceof ChannelOpenError || error instanceof SshError && error.code === "REQUEST_DENIED") {
          return false;
        }
        throw error;
      }
    };
    return [
      await works(async () => void await letGo(client.spawn("echo x", { pty: true }))),
      await works(async () => void await letGo(client.listen({ hostname: "127.0.0.1", port: 0 }))),
    ];
  };
  const all: Grant = { pty: true, agentForwarding: true, x11Forwarding: true, portForwarding: true };
  assertEquals(await answer(permits, { grant: all }), [true, true]);
  assertEquals(await answer(["permit-user-rc"], { grant: all }), [false, false]);
  assertEquals(await answer(["permit-pty"], { grant: all }), [true, false]);
  assertEquals(await answer(permits, { grant: { pty: false, portForwarding: false } }), [false, false]);
  assertEquals(await answer([], true), [false, false]);
});

/** Lets go of what was made. */
async function letGo(made: Promise<AsyncDisposable>): Promise<void> {
  await using _made = await made;
}

Deno.test("a forced command runs in the place of another, and one that contradicts it refuses the login", async () => {
  const forced: RawCertificate = { critical: [["force-command", "echo forced"]] };
  const by = (options: string): ServerAuth => ({
    publicKey: (info, key) => matchAuthorizedKey(`cert-authority${options} ${caLine}`, key, info),
  });
  const says = async (auth: ServerAuth, raw: RawCertificate): Promise<string> => {
    await using joined = await logIn(auth, raw);
    return (await joined.client.exec("echo asked")).text().trim();
  };
  assertEquals(await says({ publicKey: trustedUserCAs(caLine) }, forced), "forced");
  assertEquals(await says(by(""), forced), "forced");
  assertEquals(await says(by(',command="echo forced"'), forced), "forced");
  assertEquals(await says(by(',command="echo line"'), {}), "line");
  await assertRejects(() => says(by(',command="echo line"'), forced), SshAuthError);
});

Deno.test("a certificate may be one step of a login, and holds its restrictions behind the next", async () => {
  const byCa = trustedUserCAs(caLine), line = await rawCertificateLine(ca, user.publicKey);
  await using joined = await join({
    auth: {
      publicKey: async (info, key) => await byCa(info, key) && { partial: ["password"] },
      password: () => ({ grant: { pty: true } }),
    },
  }, { auth: [publicKey(withCertificate(user, line)), password("x")] });
  await assertRejects(() => joined.client.spawn("echo x", { pty: true }), SshError, "no terminal");
});

Deno.test("a plain key logs in where its certificate is refused", async () => {
  const auth: ServerAuth = {
    publicKey: async (info, key) =>
      await trustedUserCAs(other.publicKey)(info, key) || matchAuthorizedKey(String(user.publicKey), key, info),
  };
  const certificate = withCertificate(user, await rawCertificateLine(ca, user.publicKey));
  await using joined = await join({ auth }, { auth: [publicKey(certificate, user)] });
  assertEquals(joined.errors, []);
});
