/**
 * Host certificates with OpenSSH: those that `sshd` shows, and ours as `ssh` takes them, whose verdict ours is, by the same known_hosts.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serve } from "../../lib/api/server.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { HostKeyError } from "../../lib/errors.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { signCertificate } from "../../lib/keys/sign_certificate.ts";
import { knownHosts } from "../../lib/keys/trust/known_hosts.ts";
import type { PrivateKey, Signer } from "../../lib/keys/types.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { type RawCertificate, rawCertificateLine } from "../_support/certificates.ts";
import { run } from "../_support/child.ts";
import { keyTypes, scratchDir, testKeys } from "../_support/keys.ts";
import { openSsh10, peerTest, startOpenSshd } from "../_support/peers.ts";

const ca = await generateKey(), other = await generateKey(), host = await generateKey();

for (const [version, id] of [["9.2", "openssh"], ["10", "openssh10"]] as const) {
  peerTest(
    id,
    `connect() trusts the certificates of sshd ${version}, of each type of key, and asks for them first`,
    async () => {
      const dir = scratchDir(), keys = (await testKeys()).host, config: string[] = [];
      for (const type of keyTypes) {
        const { publicKey } = await parsePrivateKey(keys[type].text), file = `${dir}/${type}-cert.pub`;
        const options = { kind: "host", keyId: type, principals: ["127.0.0.?"] } as const;
        await Deno.writeTextFile(file, `${await signCertificate(ca, publicKey, options)}\n`);
        config.push(`HostCertificate=${file}`);
      }
      await using server = await startOpenSshd({ version, config, defaults: true });
      const { hostname, port, username, clientKey } = server, auth = [publicKey(await parsePrivateKey(clientKey.text))];
      const verifyHostKey = knownHosts(`@cert-authority 127.0.0.* ${ca.publicKey}`);
      {
        await using client = await connect({ hostname, port, username, auth, verifyHostKey });
        assertEquals(client.info.hostKeyAlgorithm, "ssh-ed25519-cert-v01@openssh.com");
      }
      for (const algorithm of ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512"]) {
        const algorithms = { hostKey: [`${algorithm}-cert-v01@openssh.com`] };
        await using client = await connect({ hostname, port, username, auth, verifyHostKey, algorithms });
        assertEquals(
          client.info.hostKey.certificate?.keyId,
          algorithm.startsWith("rsa") ? "rsa" : `ecdsa${algorithm.slice(-3)}`,
        );
      }
    },
  );
}

/** What is shown, lines of known_hosts, and whether that is trusted; `P` stands for the port, `C`, `O` and `H` for the keys of the CA, another one and the host. */
const rows: readonly (readonly [lines: string, trusted: boolean, raw?: RawCertificate])[] = [
  ["@cert-authority * C", true],
  ["@cert-authority [127.0.0.1]:P C", true],
  ["@cert-authority 127.0.0.1 C", true],
  ["@cert-authority 127.0.0.2 C", false],
  ["@cert-authority * O", false],
  ["* C", false],
  ["@cert-authority * O\n[127.0.0.1]:P H", true],
  ["@cert-authority * C\n@revoked * C", false],
  ["@cert-authority * C\n@revoked * H", false],
  // Patterns count from OpenSSH 10.3 on: its ssh is not here to be asked.
  ["@cert-authority * C", true, { principals: ["x", "127.0.0.1"] }],
  ["@cert-authority * C", false, { principals: ["localhost"] }],
  ["@cert-authority * C", false, { principals: ["[127.0.0.1]:P"] }],
  ["@cert-authority * C", false, { kind: 1 }],
  ["@cert-authority * C", false, { validBefore: 1n }],
  ["@cert-authority * C", false, { validAfter: 2n ** 62n }],
  ["@cert-authority * C", false, { critical: [["force-command", "x"]] }],
  ["@cert-authority * C\n[127.0.0.1]:P H", true, { validBefore: 1n }],
  ["@cert-authority * C\n[127.0.0.1]:P O", false, { validBefore: 1n }],
  ["@cert-authority * C", true, { extensions: [["x", "y"]] }],
];

/** A signer with a certificate that `serve()` does not look into. */
function blindly(signer: Signer): Signer {
  const { type, blob } = signer.publicKey, { verify, fingerprint } = host.publicKey;
  return { ...signer, publicKey: { type, blob, verify, fingerprint: fingerprint.bind(host.publicKey) } };
}

peerTest("openssh10", "ssh 10 trusts what serve() shows, and connect() does by the same known_hosts", async () => {
  const dir = scratchDir(), user = await generateKey();
  await Deno.writeTextFile(`${dir}/key`, await user.export(), { mode: 0o600 });
  const said: [string, boolean, boolean][] = [];
  // Those that are shown the same share a server.
  for (const raws of Map.groupBy(rows, ([, , raw = {}]) => Deno.inspect(raw)).values()) {
    const raw = raws[0]![2] ?? {};
    const line = await rawCertificateLine(ca, host.publicKey, { kind: 2, principals: ["127.0.0.1"], ...raw });
    await using server = serve({
      hostname: "127.0.0.1",
      port: 0,
      hostKeys: [blindly(withCertificate(host, line)), host],
      auth: { publicKey: () => true },
      handler: () => 0,
      onListen: () => {},
    });
    const { port } = server.addr;
    for (const [pattern] of raws) {
      const keys: Record<string, PrivateKey> = { C: ca, O: other, H: host };
      const text = pattern.replace(/\b[COH]$/gm, (name) => String(keys[name]!.publicKey)).replaceAll(
        ":P ",
        `:${port} `,
      );
      await Deno.writeTextFile(`${dir}/known_hosts`, `${text}\n`);
      const { code } = await run([
        `${openSsh10()}/bin/ssh`,
        ...["-F", "/dev/null", "-T", "-n", "-p", String(port), "-i", `${dir}/key`, "-o", "IdentitiesOnly=yes"],
        ...["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "IdentityAgent=none"],
        ...["-o", `UserKnownHostsFile=${dir}/known_hosts`, "-o", "GlobalKnownHostsFile=/dev/null"],
        ...["amiko@127.0.0.1", "x"],
      ]);
      const options = { hostname: "127.0.0.1", port, username: "amiko", auth: [publicKey(user)] };
      const ours = await connect({ ...options, verifyHostKey: knownHosts(text) }).then(
        (client) => client.close().then(() => true),
        (error) => {
          if (error instanceof HostKeyError) return false;
          throw error;
        },
      );
      said.push([`${pattern} ${Deno.inspect(raw)}`, code === 0, ours]);
    }
  }
  const want = [...Map.groupBy(rows, ([, , raw = {}]) => Deno.inspect(raw)).values()].flat()
    .map(([pattern, trusted, raw = {}]) => [`${pattern} ${Deno.inspect(raw)}`, trusted, trusted]);
  assertEquals(said, want);
});
