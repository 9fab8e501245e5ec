/** Keys of FIDO authenticators: public keys, signatures and what they say. */
import { assert, assertEquals, assertFalse } from "@std/assert";
import { defaultIdentities } from "../../lib/agent/default_identities.ts";
import { inspectPrivateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import {
  parsePublicKey,
  publicKeyFromBlob,
  signatureAlgorithm,
  verifySignature,
  verifyWith,
} from "../../lib/keys/public_key.ts";
import { fidoAlgorithms, signatureAlgorithmsOf } from "../../lib/keys/key_types.ts";
import type { Signer } from "../../lib/keys/types.ts";
import { type Saying, softwareKey } from "../_support/authenticator.ts";
import { mutate } from "../_support/fuzz.ts";
import { agentAt } from "../_support/served_agent.ts";
import { assertKeyFormat, strings, utf8, vectors } from "../_support/key_vectors.ts";

const ED25519 = "sk-ssh-ed25519@openssh.com", ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com";
const WEBAUTHN = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";
const data = utf8("data");

Deno.test("publicKeyFromBlob() reads keys of FIDO authenticators, and refuses what is none", async () => {
  for (const kind of ["ed25519", "ecdsa"] as const) {
    for (const application of ["ssh:", "ssh:work", "example.com", ""]) {
      const { publicKey } = await softwareKey(kind, {}, application);
      assertEquals(parsePublicKey(publicKey.toString()).blob, publicKey.blob);
      assertEquals(publicKey.type, kind === "ed25519" ? ED25519 : ECDSA);
    }
  }
  for (
    const [what, blob] of Object.entries({
      "no application": strings(ED25519, new Uint8Array(32)),
      "31 bytes": strings(ED25519, new Uint8Array(31), "ssh:"),
      "a NUL": strings(ED25519, new Uint8Array(32), "ssh:\0"),
      "more": strings(ED25519, new Uint8Array(32), "ssh:", ""),
      "another curve": strings(ECDSA, "nistp384", new Uint8Array(97).fill(4), "ssh:"),
      "no point": strings(ECDSA, "nistp256", new Uint8Array(65).fill(4), "ssh:"),
      "the algorithm of browsers": strings(WEBAUTHN, "nistp256", new Uint8Array(65).fill(4), "ssh:"),
    })
  ) await assertKeyFormat(() => publicKeyFromBlob(blob), "", what);
});

Deno.test("verifySignature() tells what an authenticator said, and verify() wants to have been touched", async () => {
  for (const kind of ["ed25519", "ecdsa"] as const) {
    const key = await softwareKey(kind), { publicKey, algorithms } = key;
    for (
      const [flags, userPresent, userVerified] of [
        [0x00, false, false],
        [0x01, true, false],
        [0x04, false, true],
        [0x05, true, true],
        [0xff, true, true],
      ] as const
    ) {
      for (const counter of [0, 0xffff_ffff]) {
        key.says = { flags, counter };
        const signature = await key.sign(data, algorithms[0]!);
        assertEquals(await verifySignature(publicKey, data, signature), {
          algorithm: algorithms[0]!,
          authenticator: { userPresent, userVerified, flags, counter },
        });
        assertEquals(await publicKey.verify(data, signature), userPresent);
        assertEquals(await verifyWith(publicKey, algorithms[0]!, data, signature), userPresent);
        assertEquals(await verifySignature(publicKey, utf8("date"), signature), null);
        // The flags and the counter are signed.
        for (const at of [1, 5]) {
          const changed = signature.slice();
          changed[changed.length - at]! ^= 1;
          assertEquals(await verifySignature(publicKey, data, changed), null);
        }
        assertFalse(await publicKey.verify(data, signature.slice(0, -1)));
        assertFalse(await publicKey.verify(data, new Uint8Array([...signature, 0])));
      }
    }
  }
});

Deno.test("a signature by an authenticator is for one application, and no plain key's", async () => {
  const key = await softwareKey("ed25519"), other = strings(ED25519, key.publicKey.blob.slice(34, 66), "ssh:other");
  const signature = await key.sign(data, ED25519);
  assert(await key.publicKey.verify(data, signature));
  assertFalse(await publicKeyFromBlob(other).verify(data, signature));
  const plain = publicKeyFromBlob(strings("ssh-ed25519", key.publicKey.blob.slice(34, 66)));
  assertFalse(await plain.verify(data, signature));
  assertFalse(await plain.verify(data, strings("ssh-ed25519", signature.slice(34, 98))));
  assertFalse(await key.publicKey.verify(data, strings("ssh-ed25519", signature.slice(34, 98))));
});

Deno.test("a browser's signature is about its data, of its origin, and says no more than its flags tell", async () => {
  const key = await softwareKey("ecdsa", {}, "example.com"), origin = "https://example.com";
  const right: Saying[] = [
    { origin },
    { origin: "" },
    { origin, client: `{"type":"webauthn.get","challenge":"%","origin":"${origin}"` },
    { origin, flags: 0x05, client: `{"type":"webauthn.get","challenge":"%","origin":"${origin}","crossOrigin":true}` },
    { origin, flags: 0x81, extensions: Uint8Array.of(0xa0) },
  ];
  const wrong: Saying[] = [
    { origin, client: `{"type":"webauthn.create","challenge":"%","origin":"${origin}"}` },
    { origin, client: `{"type":"webauthn.get","challenge":"AAAA","origin":"${origin}"}` },
    { origin, client: `{"type":"webauthn.get","challenge":"%=","origin":"${origin}"}` },
    { origin, client: `{"type":"webauthn.get","challenge":"%","origin":"https://example.org"}` },
    { origin, client: `{"type":"webauthn.get","challenge":"%","origin":"${origin}` },
    { origin, client: `{ "type":"webauthn.get","challenge":"%","origin":"${origin}"}` },
    { origin, client: `{"challenge":"%","type":"webauthn.get","origin":"${origin}"}` },
    { origin, client: "" },
    { origin: 'https://example.com","x":"' },
    { origin: "https://example.com\0" },
    { origin, flags: 0x41 },
    { origin, flags: 0x81 },
    { origin, flags: 0x01, extensions: Uint8Array.of(0xa0) },
  ];
  for (const says of right) {
    key.says = says;
    const signature = await key.sign(data, ECDSA);
    assertEquals(signatureAlgorithm(signature), WEBAUTHN);
    assert(await key.publicKey.verify(data, signature), JSON.stringify(says));
    assertFalse(await key.publicKey.verify(utf8("date"), signature));
    // It stands in the place of the key's own algorithm, and not the other way round.
    assert(await verifyWith(key.publicKey, ECDSA, data, signature));
    assert(await verifyWith(key.publicKey, WEBAUTHN, data, signature));
  }
  for (const says of wrong) {
    key.says = says;
    assertFalse(await key.publicKey.verify(data, await key.sign(data, ECDSA)), JSON.stringify(says));
  }
  key.says = {};
  assertFalse(await verifyWith(key.publicKey, WEBAUTHN, data, await key.sign(data, ECDSA)));
  assertEquals(signatureAlgorithmsOf(ECDSA), [ECDSA]);
  assertEquals(fidoAlgorithms, [ED25519, ECDSA, WEBAUTHN]);
});

Deno.test("signatures by authenticators survive fuzzing, and are never right by chance", async () => {
  for (const [kind, says] of [["ed25519", {}], ["ecdsa", {}], ["ecdsa", { origin: "https://a" }]] as const) {
    const key = await softwareKey(kind, says), right = await key.sign(data, key.algorithms[0]!);
    for (let seed = 0; seed < 60; seed++) {
      const changed = mutate(right, seed);
      assertEquals(await key.publicKey.verify(data, changed), changed.toHex() === right.toHex());
    }
  }
});

Deno.test("parsePrivateKey() says of the file of an authenticator's key that it needs an agent, and asks for no passphrase", async () => {
  for (const { private: text, public: line, encrypted } of vectors<SkFile>("sk_files", 4)) {
    await assertKeyFormat(
      () => parsePrivateKey(text),
      "FIDO authenticator; add the file to an agent with `ssh-add FILE`",
    );
    const found = inspectPrivateKey(text);
    assertEquals([found.encrypted, found.publicKey!.toString()], [encrypted, line]);
  }
});

Deno.test("defaultIdentities() tells of the file of an authenticator's key, unless the agent has the key", async () => {
  const home = await Deno.makeTempDir({ prefix: "amiko_keys_" }), notes: string[] = [];
  const before = ["HOME", "SSH_AUTH_SOCK"].map((name) => [name, Deno.env.get(name)] as const);
  const file = vectors<SkFile>("sk_files", 4)[1]!;
  const holds: Signer = { ...await softwareKey("ed25519"), publicKey: parsePublicKey(file.public) };
  const agent = agentAt(`${home}/agent`, [holds]);
  try {
    await Deno.mkdir(`${home}/.ssh`);
    await Deno.writeTextFile(`${home}/.ssh/id_ed25519_sk`, file.private);
    Deno.env.set("HOME", home);
    for (const socket of ["", `${home}/agent`]) {
      Deno.env.set("SSH_AUTH_SOCK", socket);
      const found: string[] = [];
      for await (const { publicKey } of defaultIdentities({ onSkip: (note) => notes.push(note) })) {
        found.push(String(publicKey));
      }
      assertEquals(found, socket === "" ? [] : [file.public]);
    }
    assertEquals(notes.length, 1);
    assert(notes[0]!.includes("id_ed25519_sk: ") && notes[0]!.includes("use the agent"), notes[0]);
  } finally {
    for (const [name, value] of before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    await agent[Symbol.asyncDispose]();
    await Deno.remove(home, { recursive: true });
  }
});

/** A vector of sk_files.json. */
interface SkFile {
  readonly private: string;
  readonly public: string;
  readonly encrypted: boolean;
}
