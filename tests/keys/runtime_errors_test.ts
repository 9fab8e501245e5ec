/**
 * What a runtime cannot do is told as that, and never as a signature, passphrase or key that does not fit.
 *
 * @module
 */
import { assert, assertEquals, assertFalse, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { knownHosts } from "../../lib/keys/trust/known_hosts.ts";
import { generateKey, insecureSha1Signer, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { insecureVerifySha1, parsePublicKey, verifyWith } from "../../lib/keys/public_key.ts";
import { join } from "../_support/joined.ts";
import { assertKeyFormat, opensshKeys, utf8, vectors } from "../_support/key_vectors.ts";

/** Runs `action` while `object[name]` is `value`; undefined takes it away. */
async function without<T extends object>(
  object: T,
  name: keyof T & string,
  value: unknown,
  action: () => Promise<unknown>,
): Promise<void> {
  const owner = Object.hasOwn(object, name) ? object : Object.getPrototypeOf(object);
  const descriptor = Object.getOwnPropertyDescriptor(owner, name)!;
  Object.defineProperty(owner, name, { ...descriptor, value });
  try {
    await action();
  } finally {
    Object.defineProperty(owner, name, descriptor);
  }
}

const fails = (error: unknown) => () => Promise.reject(error);
const missing = new DOMException("Unrecognized algorithm name", "NotSupportedError");
const mistake = new TypeError("x is not a function");

Deno.test("verify() rejects where the runtime fails, and is false only where the signature does not fit", async () => {
  for (const vector of [opensshKeys()[0]!, opensshKeys()[1]!, opensshKeys()[4]!]) {
    const key = await parsePrivateKey(vector.private), data = utf8("data"), algorithm = key.algorithms[0]!;
    const signature = await key.sign(data, algorithm);
    // Keys are imported once, so each try has one of its own.
    const fresh = () => parsePublicKey(vector.public);
    for (const error of [missing, mistake]) {
      await without(crypto.subtle, "verify", fails(error), async () => {
        for (const tried of [fresh().verify(data, signature), verifyWith(fresh(), algorithm, data, signature)]) {
          const thrown = await assertRejects(() => tried, TypeError, `Cannot verify ${algorithm} signature`);
          assertEquals(thrown.cause, error);
        }
      });
    }
    for (const name of ["DataError", "OperationError"]) {
      await without(crypto.subtle, "verify", fails(new DOMException("no", name)), async () => {
        assertFalse(await fresh().verify(data, signature));
      });
    }
    await without(Uint8Array.prototype, "toHex", undefined, async () => {
      // RSA has no use for it.
      if (key.publicKey.type === "ssh-rsa") return;
      const thrown = await assertRejects(() => fresh().verify(data, signature), TypeError, "this runtime failed");
      assertInstanceOf(thrown.cause, TypeError);
    });
    assert(await fresh().verify(data, signature));
  }
});

Deno.test("verify() says which algorithm a runtime's WebCrypto lacks", async () => {
  const vector = opensshKeys()[0]!, key = await parsePrivateKey(vector.private);
  const signature = await key.sign(utf8("x"), "ssh-ed25519");
  await without(crypto.subtle, "importKey", fails(missing), async () => {
    const says = "signature: the WebCrypto of this runtime does not have it";
    await assertRejects(() => parsePublicKey(vector.public).verify(utf8("x"), signature), TypeError, says);
    await assertRejects(() => generateKey(), TypeError, "Cannot use ssh-ed25519 private key");
    await assertRejects(() => parsePrivateKey(vector.private), TypeError, "the WebCrypto of this runtime");
    const ecdsa = opensshKeys()[1]!;
    await assertRejects(() => parsePrivateKey(ecdsa.private), TypeError, "ecdsa-sha2-nistp256 private key");
  });
});

Deno.test("insecureVerifySha1() rejects where the runtime fails", async () => {
  const key = await parsePrivateKey(opensshKeys()[4]!.private);
  const signature = await insecureSha1Signer(key).sign(utf8("x"), "ssh-rsa");
  await without(crypto.subtle, "verify", fails(mistake), async () => {
    await assertRejects(
      () => insecureVerifySha1(parsePublicKey(opensshKeys()[4]!.public), utf8("x"), signature),
      TypeError,
    );
  });
});

Deno.test("a runtime without base64 is not told as text that is none, nor as a host that is not known", async () => {
  const { public: line, private: pem } = opensshKeys()[0]!, key = parsePublicKey(line);
  await without(Uint8Array as unknown as { fromBase64: unknown }, "fromBase64", undefined, async () => {
    assertThrows(() => parsePublicKey(line), TypeError, "fromBase64");
    await assertRejects(() => parsePrivateKey(pem), TypeError, "fromBase64");
    await assertRejects(
      async () => await knownHosts(`host ${line}`)(key, { hostname: "host", port: 22 }),
      TypeError,
      "fromBase64",
    );
  });
});

Deno.test("parsePrivateKey() does not blame the passphrase for what the runtime cannot do", async () => {
  const pkcs8 = vectors<{ name: string; private: string }>("pem_keys", 24).find(({ name }) =>
    name.includes("aes-256")
  )!;
  await without(crypto.subtle, "decrypt", fails(missing), async () => {
    await assertRejects(() => parsePrivateKey(pkcs8.private, { passphrase: "secret" }), DOMException);
    const gcm = vectors<{ cipher: string; private: string }>("file_ciphers", 14).find(({ cipher }) =>
      /gcm/.test(cipher)
    )!;
    await assertRejects(() => parsePrivateKey(gcm.private, { passphrase: "secret" }), DOMException);
  });
  await assertKeyFormat(() => parsePrivateKey(pkcs8.private, { passphrase: "wrong" }), "passphrase is wrong");
});

Deno.test("connect() does not call it an attack when its own runtime cannot verify", async () => {
  let calls = 0;
  const verify = crypto.subtle.verify.bind(crypto.subtle);
  // First the server looks at its own signature, then the client does.
  const second = (...args: Parameters<typeof verify>) => calls++ === 0 ? verify(...args) : Promise.reject(mistake);
  await without(crypto.subtle, "verify", second, async () => {
    const error = await assertRejects(() => join());
    assertFalse(error instanceof SshError && /did not prove/.test(error.message), String(error));
    const causes: unknown[] = [];
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) causes.push(cause);
    assert(causes.includes(mistake), String(error));
  });
});
