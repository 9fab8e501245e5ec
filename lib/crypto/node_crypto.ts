/**
 * The only file that names `node:crypto`. It is loaded at first use, where it exists, without an import statement: in a
 * browser there is none, and loading it takes some 20 ms. No I/O.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";

/** A block cipher kept open over many packets. Takes whole blocks, except in counter mode, and returns as many bytes. */
export interface NodeCipher {
  /** The next bytes, encrypted or decrypted. */
  update(data: Uint8Array): Uint8Array;
  /** Lets go of its state. */
  close(): void;
}

interface NodeAead {
  update(data: Uint8Array): Uint8Array;
  setAAD(data: Uint8Array): unknown;
  setAuthTag(tag: Uint8Array): unknown;
  getAuthTag(): Uint8Array;
  setAutoPadding(on: boolean): unknown;
  final(): Uint8Array;
}

interface NodeHash {
  update(data: Uint8Array): NodeHash;
  digest(): Uint8Array<ArrayBuffer>;
}

interface NodeCryptoModule {
  createCipheriv(name: string, key: Uint8Array, iv: Uint8Array | null, options?: { authTagLength: number }): NodeAead;
  createDecipheriv(name: string, key: Uint8Array, iv: Uint8Array | null, options?: { authTagLength: number }): NodeAead;
  createHmac(hash: string, key: Uint8Array): NodeHash;
  createHash(hash: string): NodeHash;
}

interface WithProcess {
  readonly process?: { getBuiltinModule?: (name: string) => unknown };
}

let loaded: NodeCryptoModule | null | undefined;

function load(): NodeCryptoModule | null {
  if (loaded === undefined) {
    const found = (globalThis as WithProcess).process?.getBuiltinModule?.("node:crypto");
    loaded = (found as NodeCryptoModule | undefined) ?? null;
  }
  return loaded;
}

function required(): NodeCryptoModule {
  const node = load();
  if (node === null) throw new TypeError("Cannot use node:crypto: this runtime has none");
  return node;
}

/** A `Buffer` must not leave this file: its `slice()` does not copy. */
function plainArray(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

/** Whether `node:crypto` is there. Does not load it. */
export function hasNodeCrypto(): boolean {
  return loaded !== undefined ? loaded !== null : (globalThis as WithProcess).process?.getBuiltinModule !== undefined;
}

/**
 * Deno keeps the state of a cipher, about 1 KiB, until `final()`, whatever becomes of the object: the state of one that nobody
 * closed goes when nobody holds it any more.
 */
const abandoned = new FinalizationRegistry<NodeAead>(finish);

function finish(cipher: NodeAead): void {
  try {
    cipher.final();
  } catch {
    // What is left over does not matter.
  }
}

function makeCipher(name: string, direction: "encrypt" | "decrypt", key: Bytes, iv: Bytes | null): NodeAead {
  const node = required();
  const cipher = direction === "encrypt" ? node.createCipheriv(name, key, iv) : node.createDecipheriv(name, key, iv);
  cipher.setAutoPadding(false);
  return cipher;
}

/** A block cipher by the name OpenSSL gives it, such as `aes-256-ctr`, without padding. */
export function nodeCipher(name: string, direction: "encrypt" | "decrypt", key: Bytes, iv: Bytes | null): NodeCipher {
  const cipher = makeCipher(name, direction, key, iv);
  const open = {
    update: (data: Uint8Array) => plainArray(cipher.update(data)),
    close: () => {
      if (abandoned.unregister(open)) finish(cipher);
    },
  };
  abandoned.register(open, cipher, open);
  return open;
}

/** The same for data that comes all at once. */
export function nodeCipherOnce(
  name: string,
  direction: "encrypt" | "decrypt",
  key: Bytes,
  iv: Bytes | null,
  data: Uint8Array,
): Uint8Array {
  const cipher = makeCipher(name, direction, key, iv);
  try {
    return plainArray(cipher.update(data));
  } finally {
    finish(cipher);
  }
}

/** Encrypts with AES-GCM: `aad` authenticated, `data` encrypted into `out` at `offset`, the 16-byte tag after it. */
export function nodeGcmSeal(
  key: Bytes,
  iv: Bytes,
  aad: Uint8Array,
  data: Uint8Array,
  out: Bytes,
  offset: number,
): void {
  const cipher = required().createCipheriv(`aes-${8 * key.length}-gcm`, key, iv, { authTagLength: 16 });
  cipher.setAAD(aad);
  out.set(cipher.update(data), offset);
  cipher.final();
  out.set(cipher.getAuthTag(), offset + data.length);
}

/** Decrypts with AES-GCM, or returns null where the tag is wrong. */
export function nodeGcmOpen(
  key: Bytes,
  iv: Bytes,
  aad: Uint8Array,
  data: Uint8Array,
  tag: Uint8Array,
): Uint8Array | null {
  const cipher = required().createDecipheriv(`aes-${8 * key.length}-gcm`, key, iv, { authTagLength: 16 });
  let plain: Uint8Array;
  try {
    cipher.setAAD(aad);
    cipher.setAuthTag(tag);
    plain = cipher.update(data);
  } catch (error) {
    finish(cipher);
    throw error;
  }
  try {
    cipher.final();
  } catch {
    return null;
  }
  return plainArray(plain);
}

/** HMAC of the parts, one after the other. `hash` is named as OpenSSL does, such as `sha256`. */
export function nodeHmac(hash: string, key: Bytes, ...parts: Uint8Array[]): Uint8Array {
  const hmac = required().createHmac(hash, key);
  for (const part of parts) hmac.update(part);
  return plainArray(hmac.digest());
}

/** A hash that takes its data in parts, such as `sha256`; null where the runtime has none. */
export function nodeHash(name: string): { update(data: Uint8Array): void; digest(): Bytes } | null {
  const node = load();
  if (node === null) return null;
  const hash = node.createHash(name);
  return {
    update: (data) => void hash.update(data),
    digest: () => plainArray(hash.digest()).slice() as Bytes,
  };
}

/** MD5 of the parts, one after the other, for files of keys that nothing else opens; null where the runtime has none. */
export function nodeMd5(...parts: Uint8Array[]): Uint8Array | null {
  const node = load();
  if (node === null) return null;
  const hash = node.createHash("md5");
  for (const part of parts) hash.update(part);
  return plainArray(hash.digest());
}
