/**
 * The ciphers in CBC mode, with padding, that files in PEM are encrypted with. PKCS#7 padding, RFC 8018 section 6.1.1. No I/O.
 *
 * @module
 */
import { hasNodeCrypto, nodeCipherOnce } from "../../crypto/node_crypto.ts";
import type { Bytes } from "../../wire/types.ts";
import { isDataError } from "../webcrypto_errors.ts";
import { unsupported } from "./format_error.ts";

/** A block cipher in CBC mode. */
export interface PaddedCipher {
  /** Bytes of key. */
  readonly keyLength: number;
  /** Bytes of a block, and of the IV. */
  readonly blockSize: number;
  /** Plaintext without its padding, or null where there is no sound padding. The content is a whole number of blocks. */
  decrypt(key: Bytes, iv: Bytes, body: Bytes): Promise<Bytes | null>;
}

function aes(keyLength: number): PaddedCipher {
  return {
    keyLength,
    blockSize: 16,
    async decrypt(key, iv, body): Promise<Bytes | null> {
      const imported = await crypto.subtle.importKey("raw", key, "AES-CBC", false, ["decrypt"]);
      try {
        return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-CBC", iv }, imported, body));
      } catch (error) {
        if (isDataError(error)) return null;
        throw error;
      }
    },
  };
}

const tripleDes: PaddedCipher = {
  keyLength: 24,
  blockSize: 8,
  decrypt(key, iv, body): Promise<Bytes | null> {
    if (!hasNodeCrypto()) {
      throw unsupported(
        'Cannot decrypt private key: this runtime has no 3des-cbc; convert it with "ssh-keygen -p -f FILE"',
      );
    }
    const padded = nodeCipherOnce("des-ede3-cbc", "decrypt", key, iv, body), count = padded.at(-1)!;
    const isSound = count >= 1 && count <= 8 && padded.subarray(-count).every((byte) => byte === count);
    const plain = isSound ? new Uint8Array(padded.subarray(0, -count)) : null;
    padded.fill(0);
    return Promise.resolve(plain);
  },
};

/** The ciphers. */
export const paddedCiphers = { aes128: aes(16), aes192: aes(24), aes256: aes(32), tripleDes } as const;
