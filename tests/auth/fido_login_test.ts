/** Logins with keys of FIDO authenticators: what their signatures say, and what a server wants them to. */
import { assertEquals, assertRejects } from "@std/assert";
import { connectAgent } from "../../lib/agent/agent.ts";
import { authenticate, ClientAuth } from "../../lib/auth/client.ts";
import { matchAuthorizedKey } from "../../lib/auth/authorized_keys.ts";
import type { Grant } from "../../lib/auth/grants.ts";
import { type AuthMethod, password, publicKey } from "../../lib/auth/methods.ts";
import { serveAuth } from "../../lib/auth/server.ts";
import type { AuthResult, ServerAuth } from "../../lib/auth/types.ts";
import { trustedUserCAs } from "../../lib/auth/user_certificates.ts";
import { SshAuthError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { AuthenticatorData } from "../../lib/keys/key_type.ts";
import type { Signer } from "../../lib/keys/types.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { type Saying, softwareKey } from "../_support/authenticator.ts";
import { type RawCertificate, rawCertificateLine } from "../_support/certificates.ts";
import { fakePair } from "../_support/fake_pair.ts";
import { agentStreams } from "../_support/served_agent.ts";

/** Whether a key of an agent logs in, with other methods where the server wants more. */
async function logsIn(auth: ServerAuth, key: Signer, ...others: readonly AuthMethod[]): Promise<boolean> {
  const { client, server } = fakePair();
  const user = serveAuth(server, { auth, failureDelay: 0, onSuccess: () => {} });
  user.catch(() => {});
  await using agent = await connectAgent(agentStreams([key]));
  const clientAuth = new ClientAuth(client, { onBanner: () => {}, onSuccess: () => {} });
  try {
    await authenticate(clientAuth, "alice", [publicKey(agent), ...others]);
    assertEquals((await user).publicKey!.blob, key.publicKey.blob);
    return true;
  } catch (error) {
    if (!(error instanceof SshAuthError)) throw error;
    client.close();
    await assertRejects(() => user);
    return false;
  }
}

const touched = 1, verified = 4;

Deno.test("a login with a FIDO key wants it touched, and verified where the grant says so", async () => {
  const results: [AuthResult, (flags: number) => boolean][] = [
    [true, (flags) => (flags & touched) !== 0],
    [{ grant: {} }, (flags) => (flags & touched) !== 0],
    [{ grant: { touchRequired: true } }, (flags) => (flags & touched) !== 0],
    [{ grant: { touchRequired: false } }, () => true],
    [{ grant: { verifyRequired: true } }, (flags) => flags === (touched | verified)],
    [{ grant: { verifyRequired: true, touchRequired: false } }, (flags) => (flags & verified) !== 0],
  ];
  const keys = [await softwareKey("ed25519"), await softwareKey("ecdsa"), await softwareKey("ecdsa")];
  for (const [result, wanted] of results) {
    for (const flags of [0, touched, verified, touched | verified]) {
      for (const [i, key] of keys.entries()) {
        key.says = { flags, ...i === 2 ? { origin: "https://example.com" } : {} };
        assertEquals(
          await logsIn({ publicKey: () => result }, key),
          wanted(flags),
          `${JSON.stringify(result)} ${flags} ${i}`,
        );
      }
    }
  }
});

Deno.test("a partial success by a FIDO key wants it touched, too", async () => {
  const key = await softwareKey("ed25519", { flags: 0 });
  let passed = 0;
  const auth: ServerAuth = {
    publicKey: () => ({ partial: ["password"] }),
    password: (info) => (passed = info.passed.length, false),
  };
  assertEquals(await logsIn(auth, key), false);
  assertEquals(passed, 0);
});

Deno.test("what any step of a login grants may want the key touched or verified, whether it comes before the key or behind it", async () => {
  const key = await softwareKey("ed25519"), plain = await generateKey();
  const steps = (own: Grant, other: Grant): ServerAuth[] => [
    {
      password: (info) => info.passed.length === 0 ? { partial: ["publickey"], grant: other } : false,
      publicKey: (info) => info.passed.length > 0 && { grant: own },
    },
    {
      publicKey: () => ({ partial: ["password"], grant: own }),
      password: (info) => info.passed.length > 0 && { grant: other },
    },
  ];
  for (
    const [own, other, signer, flags, wanted] of [
      [{}, { verifyRequired: true }, key, touched, false],
      [{}, { verifyRequired: true }, key, touched | verified, true],
      [{}, { verifyRequired: true }, plain, 0, false],
      [{ touchRequired: false }, {}, key, 0, true],
      [{ touchRequired: false }, { touchRequired: true }, key, 0, false],
      [{ touchRequired: false }, { touchRequired: true }, key, touched, true],
      [{}, { touchRequired: false }, key, 0, false],
      [{}, { touchRequired: true }, plain, 0, true],
    ] as const
  ) {
    key.says = { flags };
    for (const auth of steps(own, other)) {
      assertEquals(await logsIn(auth, signer, password("x")), wanted, JSON.stringify({ own, other, flags }));
    }
  }
});

Deno.test("a plain key cannot be verified, and needs no touch", async () => {
  const key = await generateKey();
  assertEquals(await logsIn({ publicKey: () => ({ grant: { verifyRequired: true } }) }, key), false);
  assertEquals(await logsIn({ publicKey: () => ({ grant: { touchRequired: true } }) }, key), true);
});

Deno.test("a handler hears what the authenticator said once the key has signed, and not while it is offered", async () => {
  const says: Saying = { flags: 0x05, counter: 77 }, key = await softwareKey("ed25519", says);
  const heard: (AuthenticatorData | undefined)[] = [];
  const auth: ServerAuth = { publicKey: ({ authenticator }) => (heard.push(authenticator), true) };
  assertEquals(await logsIn(auth, key), true);
  assertEquals(heard, [undefined, { userPresent: true, userVerified: true, flags: 0x05, counter: 77 }]);
  heard.length = 0;
  assertEquals(await logsIn(auth, await generateKey()), true);
  assertEquals(heard, [undefined, undefined]);
});

Deno.test("matchAuthorizedKey() grants what the options of a FIDO key's line say of touching and verifying", async () => {
  const { publicKey: key } = await softwareKey("ed25519"), plain = (await generateKey()).publicKey;
  for (
    const [options, grant, ofPlain] of [
      ["", {}, {}],
      ["no-touch-required", { touchRequired: false }, {}],
      ["no-touch-required,touch-required", {}, {}],
      ["touch-required,no-touch-required", { touchRequired: false }, {}],
      ["verify-required", { verifyRequired: true }, null],
      ["verify-required,no-verify-required", {}, {}],
      ["no-touch-required,verify-required", { touchRequired: false, verifyRequired: true }, null],
    ] as const
  ) {
    assertEquals(matchAuthorizedKey(`${options} ${key}`.trim(), key)?.grant, grant, options);
    assertEquals(matchAuthorizedKey(`${options} ${plain}`.trim(), plain)?.grant ?? null, ofPlain, options);
  }
  // A handler that forgets the grant lets nobody in where it asks for more, and asks for the touch where it asks for less.
  const touchless = await softwareKey("ed25519", { flags: 0 }), attended = await softwareKey("ed25519");
  const forgets = (options: string): ServerAuth => ({
    publicKey: (_, offered) => matchAuthorizedKey(`${options} ${offered}`, offered) !== null,
  });
  assertEquals(await logsIn(forgets("verify-required"), attended), false);
  assertEquals(await logsIn(forgets("no-touch-required"), touchless), false);
  assertEquals(await logsIn(forgets("no-touch-required"), attended), true);
});

Deno.test("a FIDO key's certificate says whether it has to be touched and its user verified, and a line that has its CA, too", async () => {
  const ca = await generateKey(), key = await softwareKey("ed25519");
  const noTouch = { extensions: [["no-touch-required", ""]] } as const;
  const verify = { critical: [["verify-required", ""]] } as const;
  const cas: ServerAuth = { publicKey: trustedUserCAs(ca.publicKey) };
  const line = (options: string): ServerAuth => ({
    publicKey: (info, offered) => matchAuthorizedKey(`cert-authority${options} ${ca.publicKey}`, offered, info),
  });
  const cases: [ServerAuth, RawCertificate, (flags: number) => boolean][] = [
    [cas, {}, (flags) => (flags & touched) !== 0],
    [cas, noTouch, () => true],
    [cas, verify, (flags) => flags === 5],
    [cas, { ...noTouch, ...verify }, (flags) => (flags & verified) !== 0],
    [line(""), noTouch, (flags) => (flags & touched) !== 0],
    [line(",no-touch-required"), {}, (flags) => (flags & touched) !== 0],
    [line(",no-touch-required"), noTouch, () => true],
    [line(",verify-required"), {}, (flags) => flags === 5],
  ];
  for (const [i, [auth, raw, wanted]] of cases.entries()) {
    const certificate = await rawCertificateLine(ca, key.publicKey, raw);
    for (const flags of [0, touched, verified, touched | verified]) {
      key.says = { flags };
      assertEquals(await logsIn(auth, withCertificate(key, certificate)), wanted(flags), `${i} ${flags}`);
    }
  }
  // A handler that forgets the line's grant cannot let the certificate alone leave the touch out.
  const forgets: ServerAuth = {
    publicKey: (info, offered) => matchAuthorizedKey(`cert-authority ${ca.publicKey}`, offered, info) !== null,
  };
  for (const [raw, flags, wanted] of [[noTouch, 0, false], [{}, 0, false], [{}, touched, true]] as const) {
    key.says = { flags };
    const certificate = await rawCertificateLine(ca, key.publicKey, raw);
    assertEquals(await logsIn(forgets, withCertificate(key, certificate)), wanted);
  }
  const plain = await generateKey(), certificate = await rawCertificateLine(ca, plain.publicKey, verify);
  assertEquals(await logsIn(cas, withCertificate(plain, certificate)), false);
});
