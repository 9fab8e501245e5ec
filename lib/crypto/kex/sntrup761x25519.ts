/**
 * Post-quantum hybrid key agreement for servers from before ML-KEM: sntrup761x25519-sha512, also @openssh.com.
 * draft-josefsson-ntruprime-ssh, RFC 8731. No I/O.
 *
 * @module
 */
import { hybrid, type Kem } from "./hybrid.ts";
import { kexFailed } from "./shared_secret.ts";
import { x25519 } from "./x25519.ts";

/** Loaded by those who need it: most peers of today have ML-KEM. */
const sntrup761: Kem = {
  publicKeyLength: 1158,
  ciphertextLength: 1039,
  async generate() {
    const { decapsulate, generateSntrup761 } = await import("./sntrup761.ts");
    const key = generateSntrup761();
    return { publicKey: key.publicKey, decapsulate: (ciphertext) => decapsulate(key, ciphertext) };
  },
  async encapsulate(publicKey) {
    const { encapsulate } = await import("./sntrup761.ts");
    const made = await encapsulate(publicKey);
    if (made !== null) return made;
    throw kexFailed("Cannot agree on a key: the peer's sntrup761 key is not written as such keys are");
  },
};

/** sntrup761x25519-sha512. */
export const sntrup761x25519 = hybrid(sntrup761, x25519, "SHA-512");
