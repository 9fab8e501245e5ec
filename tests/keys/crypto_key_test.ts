/** Keys that never leave WebCrypto, and signers of the program's own, as user keys and host keys. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  connect,
  KeyFormatError,
  publicKey,
  serveConn,
  type Signer,
  signerFromCryptoKey,
  SshAuthError,
  SshError,
} from "../../mod.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { memoryPair } from "../_support/duplex.ts";
import { join, login, serverOptions } from "../_support/joined.ts";
import { vectors } from "../_support/key_vectors.ts";
import { oneOfEach, secretsOf } from "../_support/one_of_each.ts";

const keys = await oneOfEach();

/** The WebCrypto algorithms of {@linkcode keys}, and what each signs with. */
const algorithms: readonly [key: number, algorithm: Parameters<typeof crypto.subtle.importKey>[2], signs: string][] = [
  [0, "Ed25519", "ssh-ed25519"],
  [1, { name: "ECDSA", namedCurve: "P-256" }, "ecdsa-sha2-nistp256"],
  [2, { name: "ECDSA", namedCurve: "P-384" }, "ecdsa-sha2-nistp384"],
  [3, { name: "ECDSA", namedCurve: "P-521" }, "ecdsa-sha2-nistp521"],
  [4, { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, "rsa-sha2-256"],
  [4, { name: "RSASSA-PKCS1-v1_5", hash: "SHA-512" }, "rsa-sha2-512"],
];

/** A key of the vectors as a pair whose private half cannot be taken out. */
async function pairOf(
  key: number,
  algorithm: Parameters<typeof crypto.subtle.importKey>[2],
  usages: [KeyUsage, KeyUsage] = ["sign", "verify"],
): Promise<CryptoKeyPair> {
  const { kid: _, ...jwk } = await secretsOf(keys[key]!);
  const { kty, crv, x, y, n, e } = jwk;
  const half = Object.fromEntries(Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined));
  return {
    privateKey: await crypto.subtle.importKey("jwk", jwk, algorithm, false, [usages[0]]),
    publicKey: await crypto.subtle.importKey("jwk", half, algorithm, true, [usages[1]]),
  };
}

Deno.test("signerFromCryptoKey() signs with keys that cannot be extracted, as user key and as host key", async () => {
  for (const [key, algorithm, signs] of algorithms) {
    const pair = await pairOf(key, algorithm);
    assertEquals(pair.privateKey.extractable, false);
    const signer = await signerFromCryptoKey(pair);
    assertEquals(signer.algorithms, [signs]);
    assertEquals(signer.publicKey.blob, keys[key]!.publicKey.blob);
    const data = new Uint8Array([1, 2, 3]);
    assert(await signer.publicKey.verify(data, await signer.sign(data, signs)));
    await assertRejects(() => signer.sign(data, "rsa-sha1"), TypeError, `signs with ${signs}`);
    const { blob } = signer.publicKey;
    await using joined = await join({
      hostKeys: [signer],
      algorithms: { hostKey: [signs] },
      auth: { publicKey: (_info, offered) => offered.blob.toBase64() === blob.toBase64() },
    }, { auth: [publicKey(signer)], algorithms: { hostKey: [signs] } });
    assertEquals(joined.client.info.hostKey.blob, blob);
  }
  // The public half may be a key of ours.
  const { privateKey } = await pairOf(0, "Ed25519");
  const signer = await signerFromCryptoKey({ privateKey, publicKey: keys[0]!.publicKey });
  assertEquals(signer.publicKey.type, "ssh-ed25519");
});

Deno.test("signerFromCryptoKey() says what is wrong with a key that SSH cannot use", async () => {
  const rsa = (hash: string) => ({ name: "RSASSA-PKCS1-v1_5", hash });
  const ed25519 = await pairOf(0, "Ed25519"), p256 = await pairOf(1, { name: "ECDSA", namedCurve: "P-256" });
  const hidden = await crypto.subtle.importKey("raw", new Uint8Array(32).fill(3), "Ed25519", false, ["verify"]);
  const other = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]) as CryptoKeyPair;
  const ecdh = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, false, ["deriveBits"]);
  const refused: readonly [pair: unknown, says: string][] = [
    [undefined, "a pair of CryptoKeys"],
    [{}, "a pair of CryptoKeys"],
    [ed25519.privateKey, "write `{ privateKey, publicKey }`"],
    [{ privateKey: keys[0], publicKey: ed25519.publicKey }, "a pair of CryptoKeys"],
    [{ privateKey: ed25519.publicKey, publicKey: ed25519.publicKey }, "it is a public key"],
    [{ privateKey: ed25519.privateKey, publicKey: ed25519.privateKey }, "its public half is a private key"],
    [{ privateKey: ed25519.privateKey, publicKey: hidden }, "its public half cannot be exported"],
    [{ privateKey: ed25519.privateKey, publicKey: other.publicKey }, "do not belong together"],
    [{ privateKey: ed25519.privateKey, publicKey: p256.publicKey }, "do not belong together"],
    [ecdh, 'the usage "sign"'],
    [await pairOf(4, { name: "RSA-PSS", hash: "SHA-256" } as RsaHashedImportParams), "SSH has no keys of RSA-PSS"],
    [await pairOf(4, rsa("SHA-1")), "signatures with SHA-1"],
    [await pairOf(4, rsa("SHA-384")), "signatures with SHA-384"],
  ];
  for (const [pair, says] of refused) {
    await assertRejects(() => signerFromCryptoKey(pair as CryptoKeyPair), TypeError, says, says);
  }
  await assertRejects(() => signerFromCryptoKey(ed25519, { insecureMinRsaBits: 7 }), RangeError);
  const short = vectors<{ bits: number; "PKCS#1": string }>("short_rsa", 4).find(({ bits }) => bits === 1024)!;
  const read = await parsePrivateKey(short["PKCS#1"], { insecureMinRsaBits: 1024 });
  const jwk = JSON.parse(await read.export({ format: "jwk" }));
  const algorithm = rsa("SHA-256");
  const pair = {
    privateKey: await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["sign"]),
    publicKey: await crypto.subtle.importKey("jwk", { kty: "RSA", n: jwk.n, e: jwk.e }, algorithm, true, ["verify"]),
  };
  await assertRejects(() => signerFromCryptoKey(pair), KeyFormatError, "insecureMinRsaBits");
  assertEquals((await signerFromCryptoKey(pair, { insecureMinRsaBits: 1024 })).algorithms, ["rsa-sha2-256"]);
});

Deno.test("a wrong signature of a signer is told as its fault and never sent, and the next key is tried", async () => {
  const alice: Signer = keys[0]!, other: Signer = keys[1]!, rsa: Signer = keys[4]!;
  const make = (sign: Signer["sign"], key = alice): Signer => ({
    publicKey: key.publicKey,
    algorithms: key.algorithms,
    sign,
  });
  const wrong: readonly Signer[] = [
    make((data, algorithm) => alice.sign(data.slice(1), algorithm)),
    make((data) => other.sign(data, other.algorithms[0]!)),
    make(() => Promise.resolve(new Uint8Array(0))),
    make((data) => rsa.sign(data, "rsa-sha2-256"), rsa),
  ];
  for (const signer of wrong) {
    let asked = 0;
    const auth = { publicKey: () => (asked++, true) };
    const error = await assertRejects(
      () => join({ auth }, { auth: [publicKey(signer)] }),
      SshAuthError,
    );
    assertStringIncludes(error.message, `could not sign: what its signer gave is no ${signer.algorithms[0]} signature`);
    assertEquals(asked, 1);
    await using joined = await join({ auth }, { auth: [publicKey(signer, other)] });
    assertEquals((await joined.client.exec("exit 3")).code, 3);
  }
});

Deno.test("a host key whose signer hangs costs its connection when the time for a login is over", async () => {
  const pair = memoryPair();
  const stuck: Signer = {
    publicKey: keys[0]!.publicKey,
    algorithms: keys[0]!.algorithms,
    sign: () => new Promise(() => {}),
  };
  const served = serveConn(pair.server, await serverOptions({ hostKeys: [stuck], loginTimeout: 200 }))
    .catch((error) => error);
  await assertRejects(() => connect({ hostname: "test.invalid", ...login, transport: pair.client }), SshError);
  assertStringIncludes(String(await served), "200 ms");
});
