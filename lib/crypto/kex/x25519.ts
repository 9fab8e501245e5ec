/**
 * Key agreement on Curve25519: curve25519-sha256 and curve25519-sha256@libssh.org, and the classical half of the hybrids.
 * RFC 8731, RFC 7748. WebCrypto only, no I/O.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import type { DiffieHellman, EphemeralKey } from "./hybrid.ts";
import { encodeMpint, isAllZero, kexFailed } from "./shared_secret.ts";
import type { KeyAgreement } from "../types.ts";

/** Bytes of a public value and of a shared secret. */
export const X25519_LENGTH = 32;

/** Makes an ephemeral X25519 key, whose values have 32 bytes; one that leads to zero is not sound. */
export async function x25519Key(): Promise<EphemeralKey> {
  const pair = await crypto.subtle.generateKey("X25519", false, ["deriveBits"]) as CryptoKeyPair;
  return {
    publicValue: new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)),
    agree: (peerValue) => x25519Agree(pair.privateKey, peerValue),
  };
}

/** X25519 of a private key and the peer's public value, with every check of RFC 8731 section 3. */
export async function x25519Agree(privateKey: CryptoKey, peerValue: Uint8Array): Promise<Bytes> {
  if (peerValue.length !== X25519_LENGTH) {
    throw kexFailed(`Cannot agree on a key: a Curve25519 value has 32 bytes, ${peerValue.length} received`);
  }
  let secret: Bytes;
  try {
    const peerKey = await crypto.subtle.importKey("raw", new Uint8Array(peerValue), "X25519", false, []);
    secret = new Uint8Array(await crypto.subtle.deriveBits({ name: "X25519", public: peerKey }, privateKey, 256));
  } catch (cause) {
    throw kexFailed("Cannot agree on a key: the peer's Curve25519 value is not valid", { cause });
  }
  // WebCrypto demands this check too; this one holds whatever the runtime does.
  if (isAllZero(secret)) throw kexFailed("Cannot agree on a key: the peer's Curve25519 value is a point of low order");
  return secret;
}

/** The classical half of a hybrid. */
export const x25519: DiffieHellman = { publicLength: X25519_LENGTH, generate: x25519Key };

/** curve25519-sha256 (RFC 8731): the secret's 32 bytes stand as a big-endian number in the exchange hash. */
export const curve25519: KeyAgreement = {
  async start() {
    const { publicValue, agree } = await x25519Key();
    return { publicValue, finish: async (peerValue) => encodeMpint(await agree(new Uint8Array(peerValue))) };
  },
  async respond(peerValue) {
    const { publicValue, agree } = await x25519Key();
    return { publicValue, secret: encodeMpint(await agree(new Uint8Array(peerValue))) };
  },
};
