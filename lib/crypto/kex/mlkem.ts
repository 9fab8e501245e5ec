/**
 * Post-quantum hybrid key agreement: mlkem768x25519-sha256.
 * draft-ietf-sshm-mlkem-hybrid-kex, FIPS 203, RFC 8731. WebCrypto only, no I/O.
 *
 * @module
 */
import { concat } from "@std/bytes";
import type { Bytes } from "../../wire/types.ts";
import { digest } from "../hash.ts";
import { encodeString, kexFailed } from "./shared_secret.ts";
import type { KeyAgreement } from "../types.ts";
import { X25519_LENGTH, x25519Key } from "./x25519.ts";

/** Bytes of an ML-KEM-768 encapsulation key. */
const EK_LENGTH = 1184;
/** Bytes of an ML-KEM-768 ciphertext. */
const CT_LENGTH = 1088;
/** Bytes of the encapsulation key that hold coefficients, two in three bytes; a seed follows. */
const COEFFICIENT_BYTES = 1152;
const Q = 3329;

/** The part of WebCrypto's key encapsulation that is used here, which TypeScript's library does not declare. */
interface KemSubtle {
  /** Makes a key pair. */
  generateKey(algorithm: "ML-KEM-768", extractable: boolean, usages: string[]): Promise<CryptoKeyPair>;
  /** Imports an encapsulation key. */
  importKey(format: "raw-public", key: Bytes, algorithm: "ML-KEM-768", extractable: boolean, usages: string[]): Promise<
    CryptoKey
  >;
  /** Exports an encapsulation key. */
  exportKey(format: "raw-public", key: CryptoKey): Promise<ArrayBuffer>;
  /** Makes a secret and its ciphertext for the owner of the key. */
  encapsulateBits(
    algorithm: "ML-KEM-768",
    key: CryptoKey,
  ): Promise<{ sharedKey: ArrayBuffer; ciphertext: ArrayBuffer }>;
  /** Recovers the secret from a ciphertext. */
  decapsulateBits(algorithm: "ML-KEM-768", key: CryptoKey, ciphertext: Bytes): Promise<ArrayBuffer>;
}

const subtle = crypto.subtle as unknown as KemSubtle;

/** Whether this runtime has ML-KEM. Without it the method is not in the table, so that it is never offered. */
export const hasMlKem = typeof subtle?.encapsulateBits === "function";

/** Whether every coefficient of an encapsulation key is below q (FIPS 203 section 7.2, the modulus check). */
export function coefficientsReduced(encapsulationKey: Uint8Array): boolean {
  for (let i = 0; i < COEFFICIENT_BYTES; i += 3) {
    const middle = encapsulationKey[i + 1]!;
    const first = encapsulationKey[i]! | ((middle & 0x0f) << 8);
    const second = (middle >> 4) | (encapsulationKey[i + 2]! << 4);
    if (first >= Q || second >= Q) return false;
  }
  return true;
}

async function encapsulate(encapsulationKey: Bytes): Promise<{ secret: Bytes; ciphertext: Bytes }> {
  if (!coefficientsReduced(encapsulationKey)) {
    throw kexFailed("Cannot agree on a key: the peer's ML-KEM key has a coefficient that is not reduced");
  }
  try {
    const key = await subtle.importKey("raw-public", encapsulationKey, "ML-KEM-768", false, ["encapsulateBits"]);
    const { sharedKey, ciphertext } = await subtle.encapsulateBits("ML-KEM-768", key);
    return { secret: new Uint8Array(sharedKey), ciphertext: new Uint8Array(ciphertext) };
  } catch (cause) {
    throw kexFailed("Cannot agree on a key: the peer's ML-KEM key is not valid", { cause });
  }
}

/** The secret in an ML-KEM-768 ciphertext of 1088 bytes; one that was not made for the key gives a secret that nobody knows. */
export async function decapsulate(privateKey: CryptoKey, ciphertext: Uint8Array): Promise<Bytes> {
  return new Uint8Array(await subtle.decapsulateBits("ML-KEM-768", privateKey, new Uint8Array(ciphertext)));
}

/** K of the hybrid: SHA-256(K_PQ || K_CL), as a `string`. */
async function combine(postQuantum: Bytes, classical: Bytes): Promise<Bytes> {
  return encodeString(await digest("SHA-256", postQuantum, classical));
}

/**
 * mlkem768x25519-sha256. A flipped ciphertext is not noticed here: ML-KEM rejects implicitly, the two secrets differ, and the
 * server's signature does not verify.
 */
export const mlkem768x25519: KeyAgreement = {
  async start() {
    const [pair, classical] = await Promise.all([
      subtle.generateKey("ML-KEM-768", false, ["encapsulateBits", "decapsulateBits"]),
      x25519Key(),
    ]);
    const encapsulationKey = new Uint8Array(await subtle.exportKey("raw-public", pair.publicKey));
    return {
      publicValue: concat([encapsulationKey, classical.publicValue]),
      finish: async (peerValue) => {
        if (peerValue.length !== CT_LENGTH + X25519_LENGTH) {
          throw kexFailed(
            `Cannot agree on a key: the server's hybrid value has 1120 bytes, ${peerValue.length} received`,
          );
        }
        const value = new Uint8Array(peerValue);
        const classicalSecret = await classical.agree(value.subarray(CT_LENGTH));
        return await combine(await decapsulate(pair.privateKey, value.subarray(0, CT_LENGTH)), classicalSecret);
      },
    };
  },
  async respond(peerValue) {
    if (peerValue.length !== EK_LENGTH + X25519_LENGTH) {
      throw kexFailed(`Cannot agree on a key: the client's hybrid value has 1216 bytes, ${peerValue.length} received`);
    }
    const value = new Uint8Array(peerValue);
    const classical = await x25519Key();
    const classicalSecret = await classical.agree(value.subarray(EK_LENGTH));
    const { secret, ciphertext } = await encapsulate(value.subarray(0, EK_LENGTH));
    const publicValue = concat([ciphertext, classical.publicValue]);
    return { publicValue, secret: await combine(secret, classicalSecret) };
  },
};
