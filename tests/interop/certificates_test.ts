/**
 * Certificates with others' programs: those of `ssh-keygen -s` with us, ours with `sshd` and `ssh`, in each of the places where one may stand.
 *
 * @module
 */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { connectAgent } from "../../lib/agent/agent.ts";
import { defaultIdentities } from "../../lib/agent/default_identities.ts";
import { connect, type SshClient } from "../../lib/api/client.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { SshAuthError } from "../../lib/errors.ts";
import { parseCertificate } from "../../lib/keys/certificate.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { publicKeyLine } from "../../lib/keys/public_key.ts";
import { type CertificateOptions, signCertificate } from "../../lib/keys/sign_certificate.ts";
import { pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import type { Agent, PrivateKey, Signer } from "../../lib/keys/types.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { runText } from "../_support/child.ts";
import { keyTypes, scratchDir, testKeys } from "../_support/keys.ts";
import { openSsh10, peerTest, type ServerPeer, startOpenSshd } from "../_support/peers.ts";
import { until } from "../_support/until.ts";
import { rawCertificateLine } from "../_support/certificates.ts";

const versions = [["9.2", "openssh"], ["10", "openssh10"]] as const;

const keygen = (version: "9.2" | "10"): string =>
  version === "10" ? `${openSsh10()}/bin/ssh-keygen` : "/usr/bin/ssh-keygen";

/** Logs in at a peer. */
async function logIn(server: ServerPeer, ...keys: readonly (Signer | Agent)[]): Promise<SshClient> {
  const { hostname, port, username } = server;
  const verifyHostKey = pinnedHostKey(...server.hostKeys);
  return await connect({ hostname, port, username, verifyHostKey, auth: [publicKey(...keys)] });
}

/** What a command says that is run with these keys. */
async function says(server: ServerPeer, ...keys: readonly (Signer | Agent)[]): Promise<string> {
  await using client = await logIn(server, ...keys);
  return (await client.exec("echo asked")).text().trim();
}

/** Runs something with variables that are set, or not. */
async function withEnv(variables: Record<string, string | undefined>, body: () => Promise<void>): Promise<void> {
  const set = (name: string, value: string | undefined): void =>
    value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
  const before = Object.keys(variables).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(variables)) set(name, value);
  try {
    await body();
  } finally {
    for (const [name, value] of before) set(name, value);
  }
}

/** The user's keys, each of another type. */
async function userKeys(): Promise<PrivateKey[]> {
  const { user } = await testKeys();
  return await Promise.all(keyTypes.map((type) => parsePrivateKey(user[type].text)));
}

for (const [version, id] of versions) {
  peerTest(
    id,
    `sshd ${version} lets in by certificates, ours and ssh-keygen's, of each type, and refuses what it should`,
    async () => {
      const dir = scratchDir(), ca = await generateKey(), { user, host } = await testKeys();
      await Deno.writeTextFile(`${dir}/cas`, [publicKeyLine(ca.publicKey), host.rsa.line, ""].join("\n"));
      await using server = await startOpenSshd({
        version,
        config: [`TrustedUserCAKeys=${dir}/cas`, "AuthorizedKeysFile=none", "MaxAuthTries=50"],
        defaults: true,
      });
      const principals = ["nobody-else", server.username], keys = await userKeys();
      const rsaCa = await parsePrivateKey(host.rsa.text);
      const options: CertificateOptions = { kind: "user", principals, keyId: "ours", serial: 5n };
      const lines: string[] = [];
      for (const [i, key] of keys.entries()) {
        lines.push(await signCertificate(i % 2 === 0 ? ca : rsaCa, key.publicKey, options));
        await using _client = await logIn(server, withCertificate(key, lines[i]!));
      }
      // What ssh-keygen says of them.
      await Deno.writeTextFile(`${dir}/ours`, lines.map((line) => `${line}\n`).join(""));
      const shown = await runText([keygen(version), "-L", "-f", `${dir}/ours`]);
      assertEquals(shown.match(/Type: \S+ user certificate/g)?.length, keys.length);
      assertEquals(shown.match(/Key ID: "ours"\n\s+Serial: 5\n\s+Valid: forever/g)?.length, keys.length);
      assertEquals(shown.match(/using rsa-sha2-512/g)?.length, 2);

      // And the other way round: files of ssh-keygen's, with a forced command.
      const files = keyTypes.map((type) => user[type].file);
      await Deno.chmod(host.rsa.file, 0o600);
      await runText([
        keygen(version),
        ...["-q", "-s", host.rsa.file, "-I", "theirs", "-n", principals.join(","), "-O", "force-command=echo forced"],
        ...files.map((file) => `${file}.pub`),
      ]);
      for (const [i, key] of keys.entries()) {
        const text = await Deno.readTextFile(`${files[i]}-cert.pub`);
        assertEquals((await parseCertificate(text)).criticalOptions.get("force-command"), "echo forced");
        assertEquals(await says(server, withCertificate(key, text)), "forced");
      }

      // A key without a certificate opens nothing, and neither do these.
      const [key] = keys, hour = 3_600_000, now = Date.now(), other = await generateKey();
      const rows: [Signer, Partial<CertificateOptions>][] = [
        [ca, { principals: ["nobody-else"] }],
        [ca, { principals: [] }],
        [ca, { validBefore: new Date(now - hour) }],
        [ca, { validAfter: new Date(now + hour) }],
        [ca, { kind: "host" }],
        [ca, { criticalOptions: new Map([["source-address", "10.0.0.0/8"]]) }],
        [ca, { criticalOptions: new Map([["unknown@example.com", ""]]) }],
        [other, {}],
      ];
      const refused = await Promise.all(
        rows.map(([signer, extra]) => signCertificate(signer, key!.publicKey, { ...options, ...extra })),
      );
      refused.push(await rawCertificateLine(ca, key!.publicKey, { principals, ca: rsaCa.publicKey.blob }));
      const error = await assertRejects(
        () => logIn(server, ...keys, ...refused.map((line) => withCertificate(key!, line))),
        SshAuthError,
      );
      assertEquals(error.message.match(/ was refused/g)?.length, keys.length + refused.length, error.message);
      const near = await signCertificate(ca, key!.publicKey, {
        ...options,
        validAfter: new Date(now - hour),
        validBefore: new Date(now + hour),
        criticalOptions: new Map([["source-address", "10.0.0.0/8,127.0.0.1"]]),
      });
      assertEquals(await says(server, withCertificate(key!, near)), "asked");
    },
  );
}

peerTest("openssh", "certificates that ssh-agent holds log in, as its keys do", async () => {
  const dir = scratchDir(), { user, host } = await testKeys(), ca = await generateKey();
  await Deno.writeTextFile(`${dir}/cas`, `${publicKeyLine(ca.publicKey)}\n`);
  await using server = await startOpenSshd({
    config: [`TrustedUserCAKeys=${dir}/cas`, "AuthorizedKeysFile=none", "MaxAuthTries=50"],
    defaults: true,
  });
  const path = `${dir}/agent`;
  const agentProcess = new Deno.Command("ssh-agent", { args: ["-D", "-a", path], stdout: "null" }).spawn();
  try {
    for (const type of ["ed25519", "rsa"] as const) {
      const file = `${dir}/${type}`;
      await Deno.writeTextFile(file, user[type].text, { mode: 0o600 });
      const { publicKey } = await parsePrivateKey(user[type].text);
      const options = { kind: "user", principals: [server.username] } as const;
      await Deno.writeTextFile(`${file}-cert.pub`, await signCertificate(ca, publicKey, options));
    }
    await until(() => Deno.stat(path).then(() => true, () => false), "ssh-agent has no socket");
    await runText(["ssh-add", "-q", `${dir}/ed25519`, `${dir}/rsa`], { env: { SSH_AUTH_SOCK: path } });
    await using agent = await connectAgent(await Deno.connect({ transport: "unix", path }));
    const signers = await agent.signers();
    assertEquals(signers.map(({ publicKey }) => publicKey.type).sort(), [
      "ssh-ed25519",
      "ssh-ed25519-cert-v01@openssh.com",
      "ssh-rsa",
      "ssh-rsa-cert-v01@openssh.com",
    ]);
    assertEquals(await says(server, agent), "asked");
    for (const signer of signers.filter(({ publicKey }) => publicKey.certificate !== undefined)) {
      assertEquals(await says(server, signer), "asked");
    }
    // An agent's key with a certificate from a file.
    const plain = signers.find(({ publicKey }) => publicKey.type === "ssh-rsa")!;
    assertEquals(await says(server, withCertificate(plain, await Deno.readTextFile(`${dir}/rsa-cert.pub`))), "asked");
    // The same for a key file that is encrypted, among the identities that are tried by default.
    const home = scratchDir(), rsa = await parsePrivateKey(user.rsa.text);
    await Deno.mkdir(`${home}/.ssh`);
    await Deno.writeTextFile(`${home}/.ssh/id_rsa`, await rsa.export({ passphrase: "secret", rounds: 1 }));
    const beside = await signCertificate(ca, rsa.publicKey, { kind: "user", serial: 2n });
    await Deno.writeTextFile(`${home}/.ssh/id_rsa-cert.pub`, beside);
    await withEnv({ HOME: home, SSH_AUTH_SOCK: path }, async () => {
      const found = await Array.fromAsync(defaultIdentities(), ({ publicKey }) => String(publicKey));
      assertEquals(found, [...signers.map(({ publicKey }) => String(publicKey)), beside]);
    });
    // And an agent's key as CA.
    const line = await signCertificate(plain, (await parsePrivateKey(host.rsa.text)).publicKey, { kind: "host" });
    assertEquals(String((await parseCertificate(line)).signedBy), user.rsa.line);
  } finally {
    agentProcess.kill();
    await agentProcess.status;
  }
});

Deno.test("a certificate beside a default key file goes before its key, and one that is none is told of", async () => {
  const home = scratchDir(), folder = `${home}/.ssh`, ca = await generateKey(), notes: string[] = [];
  await Deno.mkdir(folder);
  const [ed, ec] = [await generateKey(), await generateKey("ecdsa")];
  const line = await signCertificate(ca, ed.publicKey, { kind: "user" });
  for (const [name, text] of [["id_ed25519", await ed.export()], ["id_ecdsa", await ec.export()]] as const) {
    await Deno.writeTextFile(`${folder}/${name}`, text);
    await Deno.writeTextFile(`${folder}/${name}-cert.pub`, `${line} comment\n`);
  }
  await withEnv({ HOME: home, SSH_AUTH_SOCK: undefined }, async () => {
    const found = await Array.fromAsync(
      defaultIdentities({ onSkip: (note) => void notes.push(note) }),
      ({ publicKey }) => String(publicKey),
    );
    assertEquals(found, [line, String(ed.publicKey), String(ec.publicKey)]);
  });
  assertEquals(notes.length, 1);
  assertMatch(notes[0]!, /id_ecdsa-cert\.pub: Cannot use certificate: it belongs to another key/);
});
