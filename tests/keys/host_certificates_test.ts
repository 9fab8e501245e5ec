/** Host certificates: what known_hosts trusts of them, which keys `connect()` asks for, and what `serve()` shows. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { ConnectOptions } from "../../lib/api/client.ts";
import { serveConn } from "../../lib/api/server.ts";
import { HostKeyChangedError, HostKeyError, HostKeyRevokedError, HostKeyUnknownError } from "../../lib/errors.ts";
import { anyKeyFromBlob } from "../../lib/keys/certificate.ts";
import { signatureAlgorithmsOf } from "../../lib/keys/key_types.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { signCertificate } from "../../lib/keys/sign_certificate.ts";
import { knownHosts, pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import type { HostKeyVerifier, PublicKey, Signer } from "../../lib/keys/types.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { type RawCertificate, rawCertificate, rawCertificateLine } from "../_support/certificates.ts";
import { memoryPair } from "../_support/duplex.ts";
import { join, serverOptions } from "../_support/joined.ts";
import { opensshKeys } from "../_support/key_vectors.ts";
import { scratchDir } from "../_support/keys.ts";
import { until } from "../_support/until.ts";

const ca = await generateKey(), other = await generateKey(), host = await generateKey();
const at = (hostname: string, port = 22) => ({ hostname, port });
const now = () => BigInt(Math.floor(Date.now() / 1000));

/** The host's key with a certificate. */
const certified = async (raw: RawCertificate = {}): Promise<PublicKey> =>
  anyKeyFromBlob(await rawCertificate(ca, host.publicKey, { kind: 2, principals: ["h.example"], ...raw }));

/** How the verifier ends: true, or the class of its error. */
async function verdict(verify: HostKeyVerifier, key: PublicKey, where = at("h.example")): Promise<unknown> {
  try {
    return await verify(key, where);
  } catch (error) {
    return (error as Error).constructor;
  }
}

const trusting = `@cert-authority *.example ${ca.publicKey}`;

Deno.test("a certificate that holds is trusted by a CA of the host's, by whichever name and port the line has", async () => {
  const key = await certified({ validAfter: now() - 5n, validBefore: now() + 3600n });
  const lines: [string, unknown, ReturnType<typeof at>?][] = [
    [trusting, true],
    [`@cert-authority other,h.example ${ca.publicKey}`, true],
    [`@cert-authority * ${ca.publicKey}`, true, at("h.example", 2222)],
    [`@cert-authority [h.example]:2222 ${ca.publicKey}`, true, at("h.example", 2222)],
    // As for `ssh`, a CA is looked up without the port as well.
    [trusting, true, at("H.Example", 2222)],
    [`@cert-authority [h.example]:2222 ${ca.publicKey}`, HostKeyUnknownError],
    [`@cert-authority *,!h.example ${ca.publicKey}`, HostKeyUnknownError],
    [`@cert-authority * ${other.publicKey}`, HostKeyUnknownError],
    [`* ${ca.publicKey}`, HostKeyChangedError],
    // Where the CA is not known, the key alone is.
    [`h.example ${host.publicKey}`, true],
    [`@cert-authority * ${other.publicKey}\nh.example ${host.publicKey}`, true],
    [`@cert-authority * ${other.publicKey}\nh.example ${other.publicKey}`, HostKeyChangedError],
    // What is revoked is never trusted, the key, its CA and the certificate.
    [`${trusting}\n@revoked * ${ca.publicKey}`, HostKeyRevokedError],
    [`${trusting}\n@revoked h.example ${host.publicKey}`, HostKeyRevokedError],
    [`@revoked * ${key}\n${trusting}`, HostKeyRevokedError],
    [`@revoked h.example ${ca.publicKey}\nh.example ${host.publicKey}`, HostKeyRevokedError],
    [`${trusting}\n@revoked h.example ${ca.publicKey}`, HostKeyRevokedError, at("h.example", 2222)],
    [`${trusting}\n@revoked other ${ca.publicKey}`, true],
  ];
  for (const [text, want, where] of lines) assertEquals(await verdict(knownHosts(text), key, where), want, text);
});

Deno.test("a certificate that does not hold is as good as none, and its key is no new host's", async () => {
  const refused: [string, RawCertificate][] = [
    ["expired", { validBefore: now() - 1n }],
    ["not valid yet", { validAfter: now() + 3600n }],
    ["is for users", { kind: 1 }],
    ["not for this host", { principals: ["other.example"] }],
    ["not for this host", { principals: [] }],
    ["not for this host", { principals: ["*.h.example", "h.example.org", "H.EXAMPLE", "h.example,x"] }],
    ["not for this host", { principals: ["[h.example]:22"] }],
    ['critical option "force-command"', { critical: [["force-command", "x"]] }],
  ];
  const file = `${scratchDir()}/known_hosts`;
  Deno.writeTextFileSync(file, `${trusting}\n`);
  for (const [why, raw] of refused) {
    const key = await certified(raw), verify = knownHosts(trusting);
    const error = await assertRejects(() => verify(key, at("h.example")), HostKeyError, why);
    assertEquals(error.constructor, HostKeyError, why);
    // Nobody takes such a host for new.
    await assertRejects(() => knownHosts({ files: [file], acceptNew: true })(key, at("h.example")), HostKeyError, why);
    assertEquals(await verdict(knownHosts(`${trusting}\nh.example ${host.publicKey}`), key), true);
    assertEquals(await verdict(knownHosts(`${trusting}\nh.example ${other.publicKey}`), key), HostKeyChangedError);
  }
  assertEquals(Deno.readTextFileSync(file), `${trusting}\n`);
  for (const principals of [["*"], ["h.*"], ["x", "h.exampl?"]]) {
    assertEquals(await verdict(knownHosts(trusting), await certified({ principals })), true);
  }
  // A host whose certificate is by nobody known is new, by its key.
  const fresh = `${scratchDir()}/known_hosts`;
  assert(await knownHosts({ files: [fresh], acceptNew: true })(await certified(), at("h.example")));
  assertEquals(Deno.readTextFileSync(fresh), `h.example ${host.publicKey}\n`);
});

Deno.test("known_hosts knows certificates of a host by a CA that is not revoked, before its keys", async () => {
  const types = (text: string, port?: number) => knownHosts(text).wantedTypes(at("h.example", port));
  const all = await types(trusting);
  assertEquals(all[0], "ssh-ed25519-cert-v01@openssh.com");
  assert(all.every((type) => /-cert(-v01@openssh\.com)?$/.test(type) && signatureAlgorithmsOf(type).length > 0));
  assertEquals(await types(`h.example ${host.publicKey}\n${trusting}`), [...all, "ssh-ed25519"]);
  assertEquals(await types(trusting, 2222), all);
  assertEquals(await types(`${trusting}\n@revoked * ${ca.publicKey}`), []);
  assertEquals(await types(`@cert-authority x ${ca.publicKey}`), []);
});

Deno.test("a pinned key is the same with a certificate", async () => {
  const key = await certified();
  for (const pin of [String(host.publicKey), await host.publicKey.fingerprint()]) {
    assertEquals(await pinnedHostKey(pin)(key, at("h")), true);
  }
  assertEquals(await pinnedHostKey(String(ca.publicKey))(key, at("h")), false);
});

/** Connects to a server with these host keys, as `test.invalid`. */
async function connected(hostKeys: readonly Signer[], client: Partial<ConnectOptions>): Promise<string> {
  await using joined = await join({ hostKeys }, client);
  const { hostKey, hostKeyAlgorithm } = joined.client.info;
  // A rekey shows the same again.
  await joined.client.rekey();
  assertEquals(joined.client.info.hostKeyAlgorithm, hostKeyAlgorithm);
  return `${hostKeyAlgorithm} ${hostKey.certificate?.keyId ?? "plain"}`;
}

const presented = async (key = host, raw: RawCertificate = {}): Promise<Signer> =>
  withCertificate(key, await rawCertificateLine(ca, key.publicKey, { kind: 2, principals: ["test.invalid"], ...raw }));

Deno.test("serve() shows a certificate to whoever asks for one, and the plain key to all others", async () => {
  const signer = await presented(), authority = `@cert-authority test.* ${ca.publicKey}`;
  const plain = `test.invalid ${host.publicKey}`;
  const inside = (text: string): HostKeyVerifier => {
    const known = knownHosts(text);
    return (key, where) => known(key, where);
  };
  const rows: [Partial<ConnectOptions>, string][] = [
    [{ verifyHostKey: knownHosts(authority) }, "ssh-ed25519-cert-v01@openssh.com id"],
    [{ verifyHostKey: knownHosts(`${plain}\n${authority}`) }, "ssh-ed25519-cert-v01@openssh.com id"],
    [{ verifyHostKey: knownHosts(plain) }, "ssh-ed25519 plain"],
    [{ verifyHostKey: inside(plain) }, "ssh-ed25519 plain"],
    [{ verifyHostKey: () => true }, "ssh-ed25519 plain"],
    [{ verifyHostKey: pinnedHostKey(String(host.publicKey)) }, "ssh-ed25519 plain"],
    [{
      verifyHostKey: ({ certificate }) => certificate?.kind === "host",
      algorithms: { hostKey: ["ssh-ed25519-cert-v01@openssh.com"] },
    }, "ssh-ed25519-cert-v01@openssh.com id"],
  ];
  for (const [client, want] of rows) assertEquals(await connected([signer], client), want);
  // Besides other keys, and of RSA with SHA-2.
  const rsa = await parsePrivateKey(opensshKeys()[4]!.private), certifiedRsa = await presented(rsa, { keyId: "rsa" });
  const byCa = { verifyHostKey: knownHosts(authority) };
  assertEquals(await connected([host, certifiedRsa], byCa), "rsa-sha2-512-cert-v01@openssh.com rsa");
  assertEquals(await connected([host], { verifyHostKey: knownHosts(`${authority}\n${plain}`) }), "ssh-ed25519 plain");
  for (
    const [hostKeys, name] of [[[signer], "ssh-ed25519"], [
      [host, certifiedRsa],
      "rsa-sha2-256-cert-v01@openssh.com",
    ]] as const
  ) {
    const algorithms = { hostKey: [name] };
    await using joined = await join({ hostKeys, algorithms }, { verifyHostKey: () => true, algorithms });
    assertEquals(joined.client.info.hostKeyAlgorithm, name);
  }
});

Deno.test("connect() refuses a certificate that its CA has not signed, or that the host did not sign with", async () => {
  const verifyHostKey = knownHosts(`@cert-authority * ${ca.publicKey}`), asked: unknown[] = [];
  const spoilt = await rawCertificate(ca, host.publicKey, {
    kind: 2,
    principals: ["test.invalid"],
    spoil: (signature) => signature.with(-1, signature.at(-1)! ^ 1),
  });
  const show = (blob: Uint8Array<ArrayBuffer>, key: Signer): Signer => ({
    publicKey: {
      ...anyKeyFromBlob(blob),
      type: "ssh-ed25519-cert-v01@openssh.com",
      blob,
      fingerprint: () => host.publicKey.fingerprint(),
    },
    algorithms: ["ssh-ed25519-cert-v01@openssh.com"],
    sign: (data) => key.sign(data, "ssh-ed25519"),
  });
  const client = {
    verifyHostKey: Object.assign(
      (key: PublicKey, where: ReturnType<typeof at>) => (asked.push(key), verifyHostKey(key, where)),
      {
        wantedTypes: verifyHostKey.wantedTypes,
      },
    ),
  };
  await assertRejects(() => join({ hostKeys: [show(spoilt, host)] }, client), Error, "Host certificate cannot be used");
  assertEquals(asked, []);
  // Whoever has the certificate and not its key is told apart on either side.
  const right = await rawCertificate(ca, host.publicKey, { kind: 2, principals: ["test.invalid"] });
  await assertRejects(() => join({ hostKeys: [show(right, other)] }, client), Error);
  assertEquals(asked, []);
});

Deno.test("serve() refuses a user's certificate as a host key", async () => {
  const line = await signCertificate(ca, host.publicKey, { kind: "user" });
  const options = await serverOptions({ hostKeys: [withCertificate(host, line)] });
  await assertRejects(() => serveConn(memoryPair().server, options), TypeError, "is for users");
  assertThrows(() => withCertificate(other, line), TypeError, "another key");
});

Deno.test("a client learns the key of a certificate that its server has besides, and none by a CA's word", async () => {
  // The certificate's key is listed besides, as the host keys of `sshd` are.
  const file = `${scratchDir()}/known_hosts`, hostKeys = [other, await presented(), host];
  const learn = async (text: string, isThere: () => boolean): Promise<string> => {
    Deno.writeTextFileSync(file, text);
    const options = { verifyHostKey: knownHosts({ files: [file] }), updateHostKeys: true };
    await using joined = await join({ hostKeys }, options);
    await until(isThere, "the key is not learnt");
    await joined.client.exec("echo x");
    return Deno.readTextFileSync(file);
  };
  const known = `test.invalid ${other.publicKey}\n`, both = `${known}test.invalid ${host.publicKey}\n`;
  assertEquals(await learn(known, () => Deno.readTextFileSync(file) === both), both);
  const byCa = `@cert-authority test.invalid ${ca.publicKey}\n`;
  assertEquals(await learn(byCa, () => true), byCa);
});
