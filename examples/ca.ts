#!/usr/bin/env -S deno run --allow-read --allow-write
// deno-lint-ignore-file no-console
/**
 * A certificate authority: signs a public key for a working day, as `ssh-keygen -s` does, and writes the certificate beside it. Servers let users in
 * who have one (`trustedUserCAs()`, or `TrustedUserCAKeys` of `sshd`), and clients trust hosts that have one (`@cert-authority` of known_hosts).
 *
 *     examples/ca.ts ca_key user|host name,… id_ed25519.pub
 */
import { parsePrivateKey, parsePublicKey, signCertificate } from "@amiko/ssh";

const [ca, kind, names, file] = Deno.args;
if (ca === undefined || kind !== "user" && kind !== "host" || names === undefined || file === undefined) {
  console.error("Usage: ca.ts ca_key user|host name,… id_ed25519.pub");
  Deno.exit(2);
}

const passphrase = () => prompt(`Passphrase of ${ca}:`) ?? "";
const certificate = await signCertificate(
  await parsePrivateKey(await Deno.readTextFile(ca), { passphrase }),
  parsePublicKey(await Deno.readTextFile(file)),
  { kind, keyId: file, principals: names.split(","), validBefore: new Date(Date.now() + 8 * 3_600_000) },
);
await Deno.writeTextFile(file.replace(/(\.pub)?$/, "-cert.pub"), `${certificate}\n`);
