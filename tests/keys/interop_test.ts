/** OpenSSH's own tools against ours: ssh-keygen reads what we write, ssh-agent holds it and signs with it, and the other way round. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { HostKeyChangedError, HostKeyUnknownError } from "../../lib/errors.ts";
import { connectAgent } from "../../lib/agent/agent.ts";
import { defaultIdentities } from "../../lib/agent/default_identities.ts";
import { hashHostname, knownHosts } from "../../lib/keys/trust/known_hosts.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { parsePublicKey, publicKeyLine } from "../../lib/keys/public_key.ts";
import type { PrivateKey } from "../../lib/keys/types.ts";
import { endChild, run, runText } from "../_support/child.ts";
import { peerTest } from "../_support/peers.ts";
import { until } from "../_support/until.ts";
import { opensshKeys, strings, utf8 } from "../_support/key_vectors.ts";

const keygen = "/usr/bin/ssh-keygen";

/** One key of each kind, made here. */
async function made(): Promise<PrivateKey[]> {
  return [
    await generateKey("ed25519", { comment: "made here" }),
    await generateKey("ecdsa", { bits: 256, comment: "made here" }),
    await generateKey("ecdsa", { bits: 384, comment: "made here" }),
    await generateKey("ecdsa", { bits: 521, comment: "made here" }),
    await generateKey("rsa", { bits: 2048, comment: "made here" }),
  ];
}

/** Runs `body` with a folder that is removed afterwards. */
async function inFolder(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "amiko_keys_" });
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Runs `body` with environment variables that are put back afterwards. */
async function withEnv(variables: Record<string, string | null>, body: () => Promise<void>): Promise<void> {
  const before = Object.keys(variables).map((name) => [name, Deno.env.get(name)] as const);
  const set = (name: string, value: string | null | undefined) =>
    value === null || value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
  try {
    for (const [name, value] of Object.entries(variables)) set(name, value);
    await body();
  } finally {
    for (const [name, value] of before) set(name, value);
  }
}

/** An ssh-agent on a socket in `dir`. */
async function startAgent(dir: string): Promise<AsyncDisposable & { socket: string }> {
  const socket = `${dir}/agent`;
  const child = new Deno.Command("/usr/bin/ssh-agent", {
    args: ["-D", "-a", socket],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const answers = () =>
    Deno.connect({ transport: "unix", path: socket }).then((conn) => (conn.close(), true), () => false);
  await until(answers, "The agent does not listen");
  return { socket, [Symbol.asyncDispose]: () => endChild(child) };
}

peerTest("openssh", "ssh-keygen reads keys made by generateKey()", () =>
  inFolder(async (dir) => {
    for (const [i, key] of (await made()).entries()) {
      for (const passphrase of [undefined, "correct horse"]) {
        const file = `${dir}/key${i}${passphrase === undefined ? "" : "e"}`;
        const text = await key.export(passphrase === undefined ? {} : { passphrase, rounds: 3 });
        await Deno.writeTextFile(file, text, { mode: 0o600 });
        assertEquals(
          (await runText([keygen, "-yf", file, "-P", passphrase ?? ""])).trim(),
          publicKeyLine(key.publicKey, key.comment),
        );
        const [, fingerprint] = (await runText([keygen, "-lf", file])).split(" ");
        assertEquals(fingerprint, await key.publicKey.fingerprint());
        // Changes the passphrase and the cipher, and we read it again.
        await runText([
          keygen,
          "-q",
          "-p",
          "-f",
          file,
          "-P",
          passphrase ?? "",
          "-N",
          "another",
          "-a",
          "2",
          "-Z",
          "aes256-cbc",
        ]);
        const again = await parsePrivateKey(await Deno.readTextFile(file), { passphrase: "another" });
        assertEquals([again.publicKey.blob, again.comment], [key.publicKey.blob, key.comment]);
      }
    }
  }));

peerTest("openssh", "ssh-keygen verifies signatures made by sign()", () =>
  inFolder(async (dir) => {
    for (const key of await made()) {
      for (const algorithm of key.algorithms) {
        // An SSHSIG around our signature (OpenSSH PROTOCOL.sshsig): what ssh-keygen can check.
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-512", utf8("message")));
        const tbs = new Uint8Array([...utf8("SSHSIG"), ...strings("test", "", "sha512", digest)]);
        const signature = await key.sign(tbs, algorithm);
        const sshsig = new Uint8Array([
          ...utf8("SSHSIG"),
          ...[0, 0, 0, 1],
          ...strings(key.publicKey.blob, "test", "", "sha512", signature),
        ]);
        const base64 = sshsig.toBase64().match(/.{1,70}/g)!.join("\n");
        await Deno.writeTextFile(
          `${dir}/sig`,
          `-----BEGIN SSH SIGNATURE-----\n${base64}\n-----END SSH SIGNATURE-----\n`,
        );
        const command = [keygen, "-Y", "check-novalidate", "-n", "test", "-s", `${dir}/sig`];
        assertEquals((await run(command, { stdin: utf8("message") })).code, 0, algorithm);
        assert((await run(command, { stdin: utf8("other") })).code !== 0, algorithm);
      }
    }
  }));

peerTest("openssh", "parsePublicKey() reads what ssh-keygen exports", () =>
  inFolder(async (dir) => {
    for (const key of await made()) {
      await Deno.writeTextFile(`${dir}/key.pub`, publicKeyLine(key.publicKey, "a comment") + "\n");
      const block = await runText([keygen, "-e", "-m", "RFC4716", "-f", `${dir}/key.pub`]);
      assertEquals(parsePublicKey(block).blob, key.publicKey.blob);
    }
  }));

peerTest("openssh", "ssh-keygen and knownHosts() agree about known_hosts", () =>
  inFolder(async (dir) => {
    const lines = opensshKeys().map(({ public: line }) => line.split(" ").slice(0, 2).join(" "));
    const [a, b] = [lines[0]!, lines[6]!];
    const file = `${dir}/known_hosts`;
    await Deno.writeTextFile(file, `plain.example,10.1.2.3 ${a}\n[port.example]:2222 ${b}\n`);
    await runText([keygen, "-q", "-H", "-f", file]);
    const hashed = await Deno.readTextFile(file);
    assertEquals(hashed.match(/^\|1\|/gm)?.length, 3);
    const verify = knownHosts(hashed);
    assertEquals(await verify(parsePublicKey(a), { hostname: "plain.example", port: 22 }), true);
    assertEquals(await verify(parsePublicKey(a), { hostname: "10.1.2.3", port: 22 }), true);
    assertEquals(await verify(parsePublicKey(b), { hostname: "port.example", port: 2222 }), true);
    const changed = async () => void await verify(parsePublicKey(b), { hostname: "plain.example", port: 22 });
    await assertRejects(changed, HostKeyChangedError);
    const unknown = async () => void await verify(parsePublicKey(b), { hostname: "port.example", port: 22 });
    await assertRejects(unknown, HostKeyUnknownError);
    // And ssh-keygen finds what we hash.
    await Deno.writeTextFile(
      file,
      `${await hashHostname("Our.Example")} ${a}\n${await hashHostname("our.example", 2200)} ${b}\n`,
    );
    assert((await runText([keygen, "-F", "our.example", "-f", file])).includes(a));
    assert((await runText([keygen, "-F", "[our.example]:2200", "-f", file])).includes(b));
  }));

peerTest("openssh", "connectAgent() works with ssh-agent", () =>
  inFolder(async (dir) => {
    await using server = await startAgent(dir);
    const keys = await made();
    for (const [i, key] of keys.entries()) {
      await Deno.writeTextFile(`${dir}/key${i}`, await key.export(), { mode: 0o600 });
      await run(["/usr/bin/ssh-add", "-q", `${dir}/key${i}`], { env: { SSH_AUTH_SOCK: server.socket } });
    }
    await withEnv({ SSH_AUTH_SOCK: server.socket }, async () => {
      await using agent = await connectAgent();
      const signers = await agent.signers();
      assertEquals(signers.map((signer) => signer.publicKey.blob), keys.map((key) => key.publicKey.blob));
      assertEquals(signers.map((signer) => signer.comment), keys.map((key) => key.comment));
      const data = new Uint8Array(5000).fill(7);
      await Promise.all(signers.flatMap((signer, i) =>
        signer.algorithms.map(async (algorithm) => {
          const signature = await signer.sign(data, algorithm);
          assert(await keys[i]!.publicKey.verify(data, signature), algorithm);
        })
      ));
      // The agent forgets them: it refuses, and the connection lives.
      await run(["/usr/bin/ssh-add", "-q", "-D"], { env: { SSH_AUTH_SOCK: server.socket } });
      await assertRejects(() => signers[0]!.sign(data, "ssh-ed25519"), "refused");
      assertEquals(await agent.signers(), []);
    });
  }));

peerTest(
  "openssh",
  "defaultIdentities() yields the agent's keys, then the files' that are not encrypted",
  () =>
    inFolder(async (dir) => {
      await using server = await startAgent(dir);
      await Deno.mkdir(`${dir}/.ssh`);
      const [ed, ecdsa, , , rsa] = await made();
      const write = (name: string, text: string) => Deno.writeTextFile(`${dir}/.ssh/${name}`, text, { mode: 0o600 });
      await write("id_ed25519", await ed!.export());
      await write("id_ecdsa", await ecdsa!.export({ passphrase: "x", rounds: 1 }));
      await write("id_rsa", await rsa!.export());
      await run(["/usr/bin/ssh-add", "-q", `${dir}/.ssh/id_rsa`], { env: { SSH_AUTH_SOCK: server.socket } });
      const collect = async () => {
        const types: string[] = [], notes: string[] = [];
        for await (const signer of defaultIdentities({ onSkip: (note) => notes.push(note) })) {
          const algorithm = signer.algorithms[0]!;
          assert(await signer.publicKey.verify(utf8("x"), await signer.sign(utf8("x"), algorithm)));
          types.push(signer.publicKey.type);
        }
        return { types, notes };
      };
      await withEnv({ HOME: dir, SSH_AUTH_SOCK: server.socket }, async () => {
        assertEquals(await collect(), {
          types: ["ssh-rsa", "ssh-ed25519"],
          notes: [`${dir}/.ssh/id_ecdsa: it is encrypted; add it to an agent, or hand it over with its passphrase`],
        });
        // Leaving early lets go of the agent too.
        for await (const _ of defaultIdentities()) break;
      });
      await withEnv({ HOME: dir, SSH_AUTH_SOCK: null }, async () => {
        assertEquals((await collect()).types, ["ssh-ed25519", "ssh-rsa"]);
      });
      await write("id_ed25519", "nonsense");
      await withEnv({ HOME: dir, SSH_AUTH_SOCK: `${dir}/nobody` }, async () => {
        const { types, notes } = await collect();
        assertEquals(types, ["ssh-rsa"]);
        assertEquals(notes.length, 3);
        assert(notes[0]!.startsWith(`agent: Cannot connect to agent at SSH_AUTH_SOCK "${dir}/nobody"`), notes[0]);
      });
      await withEnv({ HOME: `${dir}/nowhere`, SSH_AUTH_SOCK: null }, async () => {
        assertEquals(await collect(), { types: [], notes: [] });
      });
    }),
);
