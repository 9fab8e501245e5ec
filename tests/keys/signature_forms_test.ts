/**
 * Signatures in forms that other programs give them: what OpenSSH bears is borne by both sides. C18 of the cases.
 *
 * @module
 */
import { assert, assertEquals, assertFalse, assertRejects } from "@std/assert";
import { publicKey } from "../../lib/auth/methods.ts";
import { SshAuthError, SshError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { verifyWith } from "../../lib/keys/public_key.ts";
import { readSignature } from "../../lib/keys/signature_blob.ts";
import type { PrivateKey, Signer } from "../../lib/keys/types.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { join } from "../_support/joined.ts";
import { strings, utf8 } from "../_support/key_vectors.ts";

/** Signs as `key` does, and gives the value of the signature another form. */
function reshaped(key: PrivateKey, reshape: (value: Uint8Array) => Uint8Array): Signer {
  return {
    publicKey: key.publicKey,
    algorithms: key.algorithms,
    async sign(data, algorithm) {
      return strings(algorithm, reshape(readSignature(await key.sign(data, algorithm)).value));
    },
  };
}

/** r and s of an ECDSA signature, each as `change` makes it of its shortest form without a sign byte. */
function numbers(change: (bytes: Uint8Array) => Uint8Array): (value: Uint8Array) => Uint8Array {
  return (value) => {
    const reader = new Reader(value);
    const bare = () => {
      const bytes = reader.string();
      return bytes[0] === 0 ? bytes.slice(1) : bytes;
    };
    return strings(change(bare()), change(bare()));
  };
}

const zeros = (count: number) => (bytes: Uint8Array) => new Uint8Array([...new Uint8Array(count), ...bytes]);
/** In a fixed width, behind a byte for the sign. */
const fixedWidth = (size: number) => (bytes: Uint8Array) => zeros(1 + size - bytes.length)(bytes);

const data = utf8("data");

// C18
Deno.test("verify() takes ECDSA signatures whose numbers are in fixed width or have zeros too many", async () => {
  for (const [bits, size] of [[256, 32], [384, 48], [521, 66]] as const) {
    const key = await generateKey("ecdsa", { bits });
    const [algorithm] = key.algorithms;
    for (const change of [fixedWidth(size), zeros(1), zeros(2), zeros(300)]) {
      const signer = reshaped(key, numbers(change));
      // Some numbers are short by chance: several signatures meet them.
      for (let i = 0; i < 8; i++) {
        const signature = await signer.sign(data, algorithm!);
        assert(await key.publicKey.verify(data, signature), `${bits}`);
        assert(await verifyWith(key.publicKey, algorithm!, data, signature));
        assertFalse(await verifyWith(key.publicKey, algorithm!, utf8("other"), signature));
      }
    }
  }
});

Deno.test("verify() refuses ECDSA numbers that are negative, zero, too large, or followed by more", async () => {
  const key = await generateKey("ecdsa"), [algorithm] = key.algorithms;
  const changes: [string, (value: Uint8Array) => Uint8Array][] = [
    ["negative", numbers((bytes) => new Uint8Array([0xff, ...bytes]))],
    ["empty", numbers(() => new Uint8Array(0))],
    ["zeros only", numbers((bytes) => new Uint8Array(bytes.length))],
    ["zeros behind", numbers((bytes) => new Uint8Array([0, ...bytes, 0]))],
    ["a byte more in front", numbers((bytes) => new Uint8Array([1, ...bytes]))],
    ["bytes behind", (value) => new Uint8Array([...value, 0])],
    ["cut", (value) => value.slice(0, -1)],
  ];
  for (const [what, change] of changes) {
    assertFalse(await key.publicKey.verify(data, await reshaped(key, change).sign(data, algorithm!)), what);
  }
});

Deno.test("verify() takes RSA signatures without the zeros in front, and none that is longer than the modulus", async () => {
  const key = await generateKey("rsa", { bits: 2048 });
  const strip = (value: Uint8Array) => value.subarray(value.findIndex((byte) => byte !== 0));
  let stripped = 0;
  // One signature in 256 begins with a zero.
  for (let i = 0; stripped < 1; i++) {
    const message = utf8(`${i}`);
    const signature = await reshaped(key, strip).sign(message, "rsa-sha2-256");
    if (readSignature(signature).value.length < 256) stripped++;
    else if (i > 0) continue;
    assert(await key.publicKey.verify(message, signature), `${i}`);
  }
  for (const change of [zeros(1), zeros(8), () => new Uint8Array(0), () => new Uint8Array(256)]) {
    assertFalse(await key.publicKey.verify(data, await reshaped(key, change).sign(data, "rsa-sha2-256")));
  }
});

Deno.test("verify() takes Ed25519 signatures of 64 bytes and no other length", async () => {
  const key = await generateKey();
  const changes = [
    zeros(1),
    (value: Uint8Array) => value.slice(1),
    (value: Uint8Array) => new Uint8Array([...value, 0]),
  ];
  for (const change of changes) {
    assertFalse(await key.publicKey.verify(data, await reshaped(key, change).sign(data, "ssh-ed25519")));
  }
});

// C18
Deno.test("both sides of a connection take ECDSA signatures with zeros too many", async () => {
  const key = await generateKey("ecdsa");
  for (const change of [fixedWidth(32), zeros(3)]) {
    const signer = reshaped(key, numbers(change));
    await using joined = await join(
      { hostKeys: [signer], auth: { publicKey: () => true } },
      { auth: [publicKey(signer)] },
    );
    assertEquals(joined.client.info.hostKey.type, "ecdsa-sha2-nistp256");
    await joined.client.rekey();
  }
});

Deno.test("neither side of a connection sends a signature that does not fit", async () => {
  const key = await generateKey("ecdsa");
  const negative = reshaped(key, numbers((bytes) => new Uint8Array([0xff, ...bytes])));
  // Both look at what their signer gives before they send it.
  await assertRejects(() => join({ hostKeys: [negative] }), SshError);
  await assertRejects(
    () => join({ auth: { publicKey: () => true } }, { auth: [publicKey(negative)] }),
    SshAuthError,
    "could not sign: what its signer gave is no ecdsa-sha2-nistp256 signature",
  );
});
