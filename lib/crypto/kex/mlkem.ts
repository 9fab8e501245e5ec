/**
 * Post-quantum hybrid key agreement with ML-KEM: mlkem768x25519-sha256, mlkem768nistp256-sha256 and mlkem1024nistp384-sha384.
 * draft-ietf-sshm-mlkem-hybrid-kex, FIPS 203, RFC 8731, RFC 5656. WebCrypto only, no I/O.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { hybrid, type Kem } from "./hybrid.ts";
import { ecdh } from "./nistp.ts";
import { kexFailed } from "./shared_secret.ts";
import { x25519 } from "./x25519.ts";

/** A parameter set, by its WebCrypto name. */
export type MlKemName = "ML-KEM-768" | "ML-KEM-1024";

/** Bytes of a seed, which ends an encapsulation key; coefficients stand before it, two in three bytes. */
const SEED = 32;
const Q = 3329;

/** The part of WebCrypto's key encapsulation that is used here, which TypeScript's library does not declare. */
interface KemSubtle {
  /** Makes a key pair. */
  generateKey(algorithm: MlKemName, extractable: boolean, usages: string[]): Promise<CryptoKeyPair>;
  /** Imports an encapsulation key. */
  importKey(
    format: "raw-public",
    key: Bytes,
    algorithm: MlKemName,
    extractable: boolean,
    usages: string[],
  ): Promise<CryptoKey>;
  /** Exports an encapsulation key. */
  exportKey(format: "raw-public", key: CryptoKey): Promise<ArrayBuffer>;
  /** Makes a secret and its ciphertext for the owner of the key. */
  encapsulateBits(algorithm: MlKemName, key: CryptoKey): Promise<{ sharedKey: ArrayBuffer; ciphertext: ArrayBuffer }>;
  /** Recovers the secret from a ciphertext. */
  decapsulateBits(algorithm: MlKemName, key: CryptoKey, ciphertext: Bytes): Promise<ArrayBuffer>;
}

const subtle = crypto.subtle as unknown as KemSubtle;

/** Whether this runtime has ML-KEM. Without it the methods are not in the table, so that they are never offered. */
export const hasMlKem = typeof subtle?.encapsulateBits === "function";

/** Whether every coefficient of an encapsulation key is below q (FIPS 203 section 7.2, the modulus check). */
export function coefficientsReduced(encapsulationKey: Uint8Array): boolean {
  for (let i = 0; i < encapsulationKey.length - SEED; i += 3) {
    const middle = encapsulationKey[i + 1]!;
    const first = encapsulationKey[i]! | ((middle & 0x0f) << 8);
    const second = (middle >> 4) | (encapsulationKey[i + 2]! << 4);
    if (first >= Q || second >= Q) return false;
  }
  return true;
}

/** The secret in a ciphertext of the right length; one that was not made for the key gives a secret that nobody knows. */
export async function decapsulate(
  privateKey: CryptoKey,
  ciphertext: Bytes,
  name: MlKemName = "ML-KEM-768",
): Promise<Bytes> {
  return new Uint8Array(await subtle.decapsulateBits(name, privateKey, ciphertext));
}

function mlKem(name: MlKemName, publicKeyLength: number, ciphertextLength: number): Kem {
  return {
    publicKeyLength,
    ciphertextLength,
    async generate() {
      const { publicKey, privateKey } = await subtle.generateKey(name, false, ["encapsulateBits", "decapsulateBits"]);
      return {
        publicKey: new Uint8Array(await subtle.exportKey("raw-public", publicKey)),
        decapsulate: (ciphertext) => decapsulate(privateKey, ciphertext, name),
      };
    },
    async encapsulate(encapsulationKey) {
      if (!coefficientsReduced(encapsulationKey)) {
        throw kexFailed("Cannot agree on a key: the peer's ML-KEM key has a coefficient that is not reduced");
      }
      try {
        const key = await subtle.importKey("raw-public", encapsulationKey, name, false, ["encapsulateBits"]);
        const { sharedKey, ciphertext } = await subtle.encapsulateBits(name, key);
        return { secret: new Uint8Array(sharedKey), ciphertext: new Uint8Array(ciphertext) };
      } catch (cause) {
        throw kexFailed("Cannot agree on a key: the peer's ML-KEM key is not valid", { cause });
      }
    },
  };
}

const mlKem768 = mlKem("ML-KEM-768", 1184, 1088), mlKem1024 = mlKem("ML-KEM-1024", 1568, 1568);

/** mlkem768x25519-sha256. */
export const mlkem768x25519 = hybrid(mlKem768, x25519, "SHA-256");
/** mlkem768nistp256-sha256. */
export const mlkem768nistp256 = hybrid(mlKem768, ecdh("P-256"), "SHA-256");
/** mlkem1024nistp384-sha384. */
export const mlkem1024nistp384 = hybrid(mlKem1024, ecdh("P-384"), "SHA-384");
