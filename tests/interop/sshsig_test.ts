/**
 * Signatures of messages, with `ssh-keygen -Y` at the other end: it verifies ours and we verify its, and both say the same of each allowed
 * signer and each file.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { signMessage } from "../../lib/keys/sshsig/sign_message.ts";
import { findPrincipals, messageSigner, verifyMessage } from "../../lib/keys/sshsig/verify_message.ts";
import type { Signer } from "../../lib/keys/types.ts";
import { signCertificate } from "../../lib/keys/sign_certificate.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { softwareKey } from "../_support/authenticator.ts";
import { run, runText } from "../_support/child.ts";
import { scratchDir } from "../_support/keys.ts";
import { opensshKeys, utf8 } from "../_support/key_vectors.ts";
import { openSsh10, peerTest } from "../_support/peers.ts";

const data = utf8("a message\n"), namespace = "file";
const versions = [["openssh", "9.2", "/usr/bin/ssh-keygen"], [
  "openssh10",
  "10",
  `${openSsh10()}/bin/ssh-keygen`,
]] as const;

/** Whether it ends well. */
async function holds(promise: Promise<unknown>): Promise<boolean> {
  try {
    await promise;
    return true;
  } catch (error) {
    if (error instanceof SshError) return false;
    throw error;
  }
}

for (const [id, version, keygen] of versions) {
  peerTest(
    id,
    `ssh-keygen ${version} verifies signMessage(), and verifyMessage() verifies ssh-keygen, for each type of key`,
    async () => {
      const dir = scratchDir(), vectors = opensshKeys().slice(0, 5);
      const ca = await generateKey(), certified = await generateKey("ecdsa");
      const certificate = await signCertificate(ca, certified.publicKey, {
        kind: "user",
        principals: ["user8@example.com"],
      });
      const keys: Signer[] = [
        ...await Promise.all(vectors.map(({ private: text }) => parsePrivateKey(text))),
        await softwareKey("ed25519"),
        await softwareKey("ecdsa", { flags: 0 }),
        await softwareKey("ecdsa", { origin: "https://example.com" }),
        withCertificate(certified, certificate),
      ];
      const allowedSigners = keys.map(({ publicKey }, i) =>
        `user${i}@example.com ${publicKey.certificate === undefined ? publicKey : `cert-authority ${ca.publicKey}`}`
      ).join("\n");
      await Deno.writeTextFile(`${dir}/allowed`, allowedSigners);
      await Deno.writeFile(`${dir}/message`, data);
      const verify = async (i: number, name: string, stdin: Uint8Array) =>
        (await run([
          keygen,
          ...[
            "-Y",
            "verify",
            "-f",
            `${dir}/allowed`,
            "-I",
            `user${i}@example.com`,
            "-n",
            namespace,
            "-s",
            `${dir}/${name}`,
          ],
        ], { stdin })).code === 0;
      await Promise.all(keys.map(async (key, i) => {
        const hash = i % 2 === 0 ? "sha256" : "sha512";
        await Deno.writeTextFile(`${dir}/${i}.sig`, await signMessage(key, data, { namespace, hash }));
        assertEquals(await verify(i, `${i}.sig`, data), true, key.publicKey.type);
      }));
      assertEquals(await verify(0, "0.sig", utf8("another")), false);
      assertEquals(await verify(1, "0.sig", data), false);
      // A whole loop of ours at both ends, with what ssh-keygen signs in between.
      for (const [i, { private: text }] of vectors.entries()) {
        await Deno.writeTextFile(`${dir}/key${i}`, text, { mode: 0o600 });
        const hash = i % 2 === 0 ? "sha512" : "sha256";
        const signature = await runText([
          keygen,
          "-Y",
          "sign",
          "-f",
          `${dir}/key${i}`,
          "-n",
          namespace,
          "-O",
          `hashalg=${hash}`,
        ], {
          stdin: data,
        });
        const options = { namespace, allowedSigners, principal: `user${i}@example.com` };
        assertEquals((await verifyMessage(signature, data, options)).blob, keys[i]!.publicKey.blob);
        assertEquals(await holds(verifyMessage(signature, utf8("another"), options)), false);
        // What it writes is what we write.
        if (i === 0) assertEquals(await signMessage(keys[0]!, data, { namespace }), signature);
      }
      await Deno.writeTextFile(`${dir}/certified`, await certified.export(), { mode: 0o600 });
      await Deno.writeTextFile(`${dir}/certified-cert.pub`, certificate);
      const signature = await runText([keygen, "-Y", "sign", "-f", `${dir}/certified-cert.pub`, "-n", namespace], {
        stdin: data,
      });
      await verifyMessage(signature, data, { namespace, allowedSigners, principal: "user8@example.com" });
      await Deno.writeTextFile(`${dir}/8.sig`, signature);
      const find = [keygen, "-Y", "find-principals", "-f", `${dir}/allowed`, "-s", `${dir}/8.sig`];
      assertEquals([(await runText(find)).trim()], await findPrincipals(signature, { allowedSigners }));
    },
  );

  peerTest(
    id,
    `ssh-keygen ${version} and verifyMessage() say the same of lines of allowed signers, and of files`,
    async () => {
      const dir = scratchDir(), key = await parsePrivateKey(opensshKeys()[0]!.private);
      const own = String(key.publicKey), other = String((await generateKey()).publicKey), base64 = own.split(" ")[1]!;
      const signature = await signMessage(key, data, { namespace });
      await Deno.writeTextFile(`${dir}/message.sig`, signature);
      // One version is enough of what takes a process for each.
      const lists = version === "9.2" ? [] : [
        `alice ${own}`,
        `alice\t${own} with a comment`,
        `  alice   ${own}`,
        `bob,al* ${own}`,
        `"alice" ${own}`,
        `"bob,alice" ${own}`,
        `al"ice,b c" ${own}`,
        `alice,!bob ${own}\r`,
        `alice NameSpaces="git,fi*" ${own}`,
        `alice namespaces="!git,fil?" ${own}`,
        String.raw`alice namespaces="a\"b,file" ${own}`,
        `alice valid-after="20200101",valid-before="29991231235959Z" ${own}`,
        `alice valid-after="20200101utc" ${own}`,
        `# a comment\n\nrubbish\nalice x y\nalice namespaces="git" ${own}\nalice ${own}`,
        `alice ${other}\nalice ${own}`,
        "",
        `bob ${own}`,
        `Alice ${own}`,
        `*,!alice ${own}`,
        `!bob ${own}`,
        `"alice ${own}`,
        `"alice",bob ${own}`,
        `alice ${other}`,
        `alice namespaces="git" ${own}`,
        `alice namespaces="" ${own}`,
        `alice namespaces="file",namespaces="git" ${own}`,
        `alice namespaces="file" namespaces="git" ${own}`,
        `alice namespaces=file ${own}`,
        `alice namespaces="file", ${own}`,
        `alice namespaces="file"x ${own}`,
        `alice namespaces="file ${own}`,
        `alice valid-after="29991231Z" ${own}`,
        `alice valid-before="20200101Z" ${own}`,
        `alice valid-after="20300101",valid-before="20200101" ${own}`,
        `alice valid-after="19700101Z" ${own}`,
        `alice valid-after="soon" ${own}`,
        `alice cert-authority ${own}`,
        `alice CERT-authority,namespaces="file" ${own}`,
        `alice no-pty ${own}`,
        `alice ssh-rsa ${base64}`,
        `alice ${base64}`,
        `alice`,
      ];
      const base = ["-Y", "verify", "-I", "alice", "-n", namespace];
      const verdicts = await Promise.all(lists.map(async (allowedSigners, i) => {
        await Deno.writeTextFile(`${dir}/allowed${i}`, allowedSigners);
        const { code } = await run([keygen, ...base, "-f", `${dir}/allowed${i}`, "-s", `${dir}/message.sig`], {
          stdin: data,
        });
        return code === 0;
      }));
      for (const [i, allowedSigners] of lists.entries()) {
        const ours = await holds(verifyMessage(signature, data, { namespace, principal: "alice", allowedSigners }));
        assertEquals(ours, verdicts[i], allowedSigners);
      }
      assertEquals(verdicts, lists.map((_, i) => i < 15));

      // What is in front of the line that ends it, and what is behind.
      const lines = signature.trimEnd().split("\n"), body = lines.slice(1, -1).join("\n");
      const files = [
        signature.trimEnd(),
        `${signature.trimEnd()}x\nmore`,
        signature.replace(body, `\n\n ${body.replaceAll("A", "A \t\v\f")} \n`),
        signature.replace(body, body.replaceAll("\n", "")),
        `\n${signature}`,
        signature.replace(body, `Comment: x\n${body}`),
        signature.replace("-\n", "- \n"),
        signature.replace("\n-----END", "-----END"),
        signature.replace("\n-----END", "\n -----END"),
        signature.replace(body, `${body}=`),
        signature.replace(body, body.slice(0, -4)),
      ];
      const said = await Promise.all(files.map(async (file, i) => {
        await Deno.writeTextFile(`${dir}/file${i}`, file);
        return (await run([keygen, "-Y", "check-novalidate", "-n", namespace, "-s", `${dir}/file${i}`], {
          stdin: data,
        })).code === 0;
      }));
      for (const [i, file] of files.entries()) {
        assertEquals(await holds(messageSigner(file, data, { namespace })), said[i], file);
      }
      assertEquals(said, files.map((_, i) => i < 4));

      for (
        const allowedSigners of [
          `x ${other}\na@b,c* namespaces="git" ${own}\nd ${own}`,
          `a valid-before="20200101Z" ${own}\nb ${own}`,
          `a cert-authority ${own}`,
        ]
      ) {
        await Deno.writeTextFile(`${dir}/find`, allowedSigners);
        const { stdout, code } = await run([
          keygen,
          "-Y",
          "find-principals",
          "-f",
          `${dir}/find`,
          "-s",
          `${dir}/message.sig`,
        ]);
        const theirs = code === 0 ? new TextDecoder().decode(stdout).trim().split("\n") : [];
        assertEquals(
          await findPrincipals(signature, { allowedSigners }),
          theirs.flatMap((line) => line.split(",")),
          allowedSigners,
        );
      }
    },
  );
}
