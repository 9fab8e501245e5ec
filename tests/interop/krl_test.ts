/**
 * Key revocation lists, with `ssh-keygen -k` and `-Q` at the other end: each says of each key and certificate what the other says, of lists
 * by either, and what one cannot read the other cannot.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { anyKeyFromBlob } from "../../lib/keys/certificate.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { signMessage } from "../../lib/keys/sshsig/sign_message.ts";
import { parseKrl } from "../../lib/keys/trust/krl.ts";
import { writeKrl } from "../../lib/keys/trust/krl_writer.ts";
import { revokedKeys } from "../../lib/keys/trust/revoked_keys.ts";
import type { PublicKey } from "../../lib/keys/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { rawCertificate } from "../_support/certificates.ts";
import { run, runText } from "../_support/child.ts";
import { Prng } from "../_support/fuzz.ts";
import { scratchDir } from "../_support/keys.ts";
import { opensshKeys, strings, utf8 } from "../_support/key_vectors.ts";
import { openSsh10, peerTest } from "../_support/peers.ts";

/** What we say of keys by a list: for each whether it is revoked, or that the list cannot be read. */
async function ours(bytes: Uint8Array, keys: readonly PublicKey[]): Promise<readonly boolean[] | "unreadable"> {
  try {
    const krl = await parseKrl(bytes);
    return await Promise.all(keys.map(async (key) => await krl.revocation(key) !== null));
  } catch (error) {
    if (error instanceof SshError) return "unreadable";
    throw error;
  }
}

for (
  const [id, version, keygen] of [["openssh", "9.2", "/usr/bin/ssh-keygen"], [
    "openssh10",
    "10",
    `${openSsh10()}/bin/ssh-keygen`,
  ]] as const
) {
  peerTest(
    id,
    `ssh-keygen ${version} and parseKrl() say the same of each key by each list, whoever made it`,
    async () => {
      const dir = scratchDir(), ca = await generateKey("ecdsa"), other = await generateKey();
      const plain = await Promise.all(opensshKeys().slice(0, 5).map(({ private: text }) => parsePrivateKey(text)));
      const certified = await Promise.all(
        [[ca, 0n, "zero"], [ca, 1n, "one"], [ca, 5n, "five"], [ca, 300n, "bob"], [ca, 0xffff_ffff_ffff_ffffn, "last"], [
          other,
          5n,
          "five",
        ], [other, 6n, "bob"]] as const,
      ).then((all) =>
        Promise.all(
          all.map(async ([by, serial, keyId], i) =>
            anyKeyFromBlob(await rawCertificate(by, plain[i % 5]!.publicKey, { serial, keyId }))
          ),
        )
      );
      const keys = [...plain.map(({ publicKey }) => publicKey), ca.publicKey, other.publicKey, ...certified];
      const files = await Promise.all(keys.map(async (key, i) => {
        await Deno.writeTextFile(`${dir}/${i}.pub`, `${key.toString()} key${i}\n`);
        return `${dir}/${i}.pub`;
      }));
      await Deno.writeTextFile(`${dir}/ca.pub`, ca.publicKey.toString());
      const theirs = async (bytes: Uint8Array): Promise<readonly boolean[] | "unreadable"> => {
        await Deno.writeFile(`${dir}/asked`, bytes);
        const { stdout, code } = await run([keygen, "-Q", "-f", `${dir}/asked`, ...files]);
        const said = new TextDecoder().decode(stdout).trim().split("\n").map((line) => line.endsWith("REVOKED"));
        if (code !== 0 && code !== 1 && said.length !== keys.length) return "unreadable";
        return said.length === keys.length ? said : "unreadable";
      };

      /** Lists by ssh-keygen: what is revoked, and whether by certificates of the one CA alone. */
      const made: [spec: string, ofCa: boolean][] = [
        [`serial: 1\nserial: 5\nid: last\n`, true],
        [`serial: 2-400\n`, true],
        [Array.from({ length: 60 }, (_, i) => `serial: ${1 + 4 * i}\n`).join(""), true],
        [`serial: 5\nid: bob\n`, false],
        [`key: ${keys[0]}\nsha1: ${keys[1]}\nsha256: ${keys[2]}\nhash: ${await keys[3]!.fingerprint()}\n`, false],
        [`key: ${other.publicKey}\n`, false],
        [`key: ${ca.publicKey}\nserial: 18446744073709551615\n`, true],
      ];
      const lists = await Promise.all(made.map(async ([spec, ofCa], i) => {
        await Deno.writeTextFile(`${dir}/spec${i}`, spec);
        const signer = ofCa
          ? ["-s", `${dir}/ca.pub`]
          : spec.includes("serial") || spec.includes("id:")
          ? ["-s", "none"]
          : [];
        await runText([keygen, "-q", "-k", "-f", `${dir}/krl${i}`, "-z", String(i), ...signer, `${dir}/spec${i}`]);
        return await Deno.readFile(`${dir}/krl${i}`);
      }));
      const some = [{ ca: ca.publicKey, serials: [1n, [250n, 350n] as const], keyIds: ["last"] }];
      lists.push(
        writeKrl({}),
        writeKrl({ keys: [keys[0]!, keys[4]!], comment: "ours" }),
        writeKrl({ keys: [ca.publicKey] }),
        writeKrl({ fingerprints: [await keys[1]!.fingerprint(), await keys[2]!.fingerprint()] }),
        writeKrl({ certificates: some }),
        writeKrl({ certificates: [{ ca: null, serials: [5n], keyIds: ["bob"] }], keys: [keys[3]!] }),
        writeKrl({
          certificates: [{ ca: ca.publicKey, serials: Array.from({ length: 90 }, (_, i) => BigInt(1 + 4 * i)) }],
        }),
      );
      for (const [i, bytes] of lists.entries()) {
        const said = await theirs(bytes);
        assertEquals(await ours(bytes, keys), said, `list ${i}`);
        // What we write of what we read says the same.
        const { version, generated, comment, keys: blobs, fingerprints, certificates } = await parseKrl(bytes);
        const again = writeKrl({ version, generated, comment, keys: blobs, fingerprints, certificates });
        if (i < 5) assertEquals(await theirs(again), said, `list ${i} by us`);
        else if (i > 6) assertEquals(again, bytes);
      }

      // Bytes that were changed, and what is signed: read by both to say the same, or by neither.
      const head = writeKrl({ generated: new Date(0) }), prng = new Prng(20_26), changed: Uint8Array[] = [];
      const with_ = (...sections: Uint8Array[]) => new Uint8Array([...head, ...sections.flatMap((one) => [...one])]);
      const section = (type: number, body: Uint8Array) => new Writer().u8(type).string(body).bytes();
      const signed = with_(Uint8Array.of(4), strings(ca.publicKey.blob));
      changed.push(
        new Uint8Array([...signed, ...strings(await ca.sign(signed, ca.algorithms[0]!))]),
        new Uint8Array([...signed, ...strings(await other.sign(signed, other.algorithms[0]!))]),
        with_(section(6, new Uint8Array(0))),
        with_(section(255, new Uint8Array([...strings("x"), 1, ...strings("")]))),
        with_(section(1, new Uint8Array([...strings(ca.publicKey.blob, ""), ...section(0x20, new Uint8Array(8))]))),
        with_(
          section(
            1,
            new Uint8Array([
              ...strings(ca.publicKey.blob, ""),
              ...section(0x22, new Uint8Array([...new Uint8Array(8), ...strings(Uint8Array.of(1))])),
            ]),
          ),
        ),
      );
      for (let i = 0; i < 12; i++) {
        const bytes = lists[[4, 9, 11, 12][i % 4]!]!.slice(), at = 8 + prng.below(bytes.length - 8);
        changed.push(
          i % 3 === 0 ? bytes.slice(0, at) : bytes.map((byte, j) => j === at ? byte ^ (1 << prng.below(8)) : byte),
        );
      }
      for (const [i, bytes] of changed.entries()) {
        // OpenSSH 10 does not look at signatures any more.
        const wanted = i === 1 ? "unreadable" : await theirs(bytes);
        assertEquals(await ours(bytes, keys), wanted, `changed ${i}: ${bytes.toBase64()}`);
        if (i === 1 && version === "9.2") assertEquals(await theirs(bytes), wanted);
      }
    },
  );

  peerTest(id, `ssh-keygen ${version} and revokedKeys() say the same of plain lists of keys`, async () => {
    const dir = scratchDir(),
      [first, second] = opensshKeys().map(({ public: line }) => line);
    const key = await parsePrivateKey(opensshKeys()[0]!.private), data = utf8("data");
    await Deno.writeTextFile(`${dir}/sig`, await signMessage(key, data, { namespace: "file" }));
    await Deno.writeTextFile(`${dir}/allowed`, `alice ${key.publicKey}\n`);
    for (
      const list of [
        "",
        `# nobody\n\n`,
        `${first}\n`,
        `# one\n  ${first}\r\n`,
        `${second}\n${first}`,
        `${second}\n`,
        `${second}\nrubbish\n`,
        `no-pty ${second}\n`,
      ]
    ) {
      await Deno.writeTextFile(`${dir}/list`, list);
      const { code, stderr } = await run([
        ...[
          keygen,
          "-Y",
          "verify",
          "-f",
          `${dir}/allowed`,
          "-I",
          "alice",
          "-n",
          "file",
          "-s",
          `${dir}/sig`,
          "-r",
          `${dir}/list`,
        ],
      ], { stdin: data });
      const refused = await revokedKeys(`${dir}/list`).revocation(key.publicKey).then(
        (why) => why !== null,
        () => true,
      );
      assertEquals(refused, code !== 0, `${list}: ${stderr}`);
    }
    const missing = [
      keygen,
      "-Y",
      "verify",
      "-f",
      `${dir}/allowed`,
      "-I",
      "alice",
      "-n",
      "file",
      "-s",
      `${dir}/sig`,
      "-r",
      `${dir}/none`,
    ];
    assert((await run(missing, { stdin: data })).code !== 0);
    await assertRejects(() => revokedKeys(`${dir}/none`).revocation(key.publicKey), SshError, "is not there");
  });
}
