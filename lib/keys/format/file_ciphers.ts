/**
 * The ciphers that key files are encrypted with: on WebCrypto, but for what it has not. OpenSSH PROTOCOL.key. No I/O.
 *
 * @module
 */
import { concat } from "@std/bytes";
import { hasNodeCrypto, nodeCipherOnce } from "../../crypto/node_crypto.ts";
import type { Bytes } from "../../wire/types.ts";
import { unsupported } from "./format_error.ts";
import { isDataError } from "../webcrypto_errors.ts";

/** A cipher of the OpenSSH key format. */
export interface FileCipher {
  /** Bytes of key. */
  readonly keyLength: number;
  /** Bytes of IV. */
  readonly ivLength: number;
  /** The plaintext is padded to a multiple of this. */
  readonly blockSize: number;
  /** Bytes of tag that follow the ciphertext. */
  readonly tagLength: number;
  /** Plaintext, or null when the tag is wrong. */
  decrypt(key: Bytes, iv: Bytes, body: Bytes, tag: Bytes): Promise<Bytes | null>;
}

/** A cipher that files are written with, too. */
export interface WritingCipher extends FileCipher {
  /** Ciphertext. */
  encrypt(key: Bytes, iv: Bytes, body: Bytes): Promise<Bytes>;
}

const subtle = crypto.subtle;

/** Browsers have AES without its keys of 192 bits. */
async function importAes(name: string, key: Bytes, usages: KeyUsage[]): Promise<CryptoKey> {
  try {
    return await subtle.importKey("raw", key, name, false, usages);
  } catch (cause) {
    if (key.length !== 24) throw cause;
    throw unsupported(
      'Cannot decrypt private key: this runtime has no AES with keys of 192 bits; convert it with "ssh-keygen -p -f FILE"',
      cause,
    );
  }
}

function ctr(keyLength: number): WritingCipher {
  const run = async (mode: "encrypt" | "decrypt", key: Bytes, iv: Bytes, body: Bytes): Promise<Bytes> => {
    const imported = await importAes("AES-CTR", key, [mode]);
    return new Uint8Array(await subtle[mode]({ name: "AES-CTR", counter: iv, length: 128 }, imported, body));
  };
  return {
    keyLength,
    ivLength: 16,
    blockSize: 16,
    tagLength: 0,
    decrypt: (key, iv, body) => run("decrypt", key, iv, body),
    encrypt: (key, iv, body) => run("encrypt", key, iv, body),
  };
}

/** AES-CBC without padding of its own. */
export async function cbcDecrypt(key: Bytes, iv: Bytes, body: Bytes): Promise<Bytes> {
  const imported = await importAes("AES-CBC", key, ["encrypt", "decrypt"]);
  // WebCrypto insists on PKCS#7 padding, so a block is appended that decrypts to sixteen bytes of 16.
  const last = body.slice(-16);
  const padding = await subtle.encrypt({ name: "AES-CBC", iv: last }, imported, new Uint8Array(16).fill(16));
  const padded = concat([body, new Uint8Array(padding, 0, 16)]);
  return new Uint8Array(await subtle.decrypt({ name: "AES-CBC", iv }, imported, padded));
}

/** The other way, of a whole number of blocks. */
export async function cbcEncrypt(key: Bytes, iv: Bytes, body: Bytes): Promise<Bytes> {
  const imported = await importAes("AES-CBC", key, ["encrypt"]);
  const padded = await subtle.encrypt({ name: "AES-CBC", iv }, imported, body);
  return new Uint8Array(padded.slice(0, body.length));
}

function cbc(keyLength: number): FileCipher {
  return { keyLength, ivLength: 16, blockSize: 16, tagLength: 0, decrypt: cbcDecrypt };
}

function gcm(keyLength: number): FileCipher {
  return {
    keyLength,
    ivLength: 12,
    blockSize: 16,
    tagLength: 16,
    async decrypt(key, iv, body, tag): Promise<Bytes | null> {
      const imported = await subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
      return await subtle.decrypt({ name: "AES-GCM", iv }, imported, concat([body, tag])).then(
        (plain) => new Uint8Array(plain),
        (error) => {
          if (isDataError(error)) return null;
          throw error;
        },
      );
    },
  };
}

const chacha: FileCipher = {
  keyLength: 64,
  ivLength: 0,
  blockSize: 8,
  tagLength: 16,
  async decrypt(key, _iv, body, tag): Promise<Bytes | null> {
    const { chachaFileDecrypt } = await import("./chacha_file.ts");
    return chachaFileDecrypt(key, body, tag);
  },
};

const tripleDes: FileCipher = {
  keyLength: 24,
  ivLength: 8,
  blockSize: 8,
  tagLength: 0,
  decrypt(key, iv, body): Promise<Bytes> {
    if (!hasNodeCrypto()) {
      throw unsupported(
        'Cannot decrypt OpenSSH private key: this runtime has no 3des-cbc; convert it with "ssh-keygen -p -f FILE"',
      );
    }
    return Promise.resolve(nodeCipherOnce("des-ede3-cbc", "decrypt", key, iv, body).slice() as Bytes);
  },
};

/** The cipher that files are written with. */
export const aes256Ctr: WritingCipher = ctr(32);

/** Ciphers by their names in the file. */
export const fileCiphers: ReadonlyMap<string, FileCipher> = new Map([
  ["aes256-ctr", aes256Ctr],
  ["aes192-ctr", ctr(24)],
  ["aes128-ctr", ctr(16)],
  ["aes256-cbc", cbc(32)],
  ["aes192-cbc", cbc(24)],
  ["aes128-cbc", cbc(16)],
  ["aes256-gcm@openssh.com", gcm(32)],
  ["aes128-gcm@openssh.com", gcm(16)],
  ["chacha20-poly1305@openssh.com", chacha],
  ["3des-cbc", tripleDes],
]);
