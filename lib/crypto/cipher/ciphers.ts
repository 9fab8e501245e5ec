/**
 * The table of packet ciphers and MACs, and what makes them from keys. RFC 4253 sections 6.3 and 6.4, RFC 4344 section
 * 3.2, RFC 5647, RFC 6668, OpenSSH PROTOCOL. No I/O.
 *
 * @module
 */
import { BLOCK, CtrOpener, CtrStream } from "./aes_ctr.ts";
import { WebCtrOpener, WebCtrSealer, WebCtrStream } from "./aes_ctr_web_crypto.ts";
import { gcmOpener, gcmSealer } from "./aes_gcm.ts";
import { CbcOpener } from "./cbc_insecure.ts";
import { chachaOpener, chachaSealer, hasChacha } from "./chacha20_poly1305.ts";
import { BlockSealer, EtmOpener } from "./cipher_and_mac.ts";
import { type MacHash, packetHmac } from "./hmac.ts";
import { hasNodeCrypto, nodeCipher } from "../node_crypto.ts";
import type { DirectionKeys, PacketOpener, PacketSealer } from "../types.ts";

export { plainOpener, plainSealer, unpaddedOpener, unpaddedSealer } from "./plain.ts";

/** A packet cipher. */
export interface CipherInfo {
  /** Name on the wire. */
  readonly name: string;
  /** Bytes of key to derive. */
  readonly keyLength: number;
  /** Bytes of initial IV to derive. */
  readonly ivLength: number;
  /** What the padded part is a multiple of. */
  readonly blockSize: number;
  /** Whether it authenticates by itself, so that no MAC is negotiated with it. */
  readonly aead: boolean;
  /** Whether it is offered only by a program that names it. */
  readonly insecure: boolean;
  /** Bytes in one direction after which new keys are due (RFC 4344 section 3.2, and RFC 4253 section 9 for small blocks). */
  readonly rekeyBytes: number;
}

/** A MAC. */
export interface MacInfo {
  /** Name on the wire. */
  readonly name: string;
  /** Bytes of key to derive. */
  readonly keyLength: number;
  /** Bytes after each packet. */
  readonly tagLength: number;
  /** Whether the packet is encrypted first, and its length is clear. */
  readonly etm: boolean;
  /** Whether it is offered only by a program that names it. */
  readonly insecure: boolean;
}

/** Which file makes a cipher, and under which name OpenSSL knows it. */
interface Kind {
  readonly kind: "chacha" | "gcm" | "ctr" | "cbc";
  readonly openssl: string;
}

const GIB = 2 ** 30;
/** 2^(L/4) blocks of L = 128 bits. */
const AES_BYTES = 2 ** 32 * 16;

function cipher(name: string, keyLength: number, ivLength: number, kind: Kind, blockSize = 16): CipherInfo & Kind {
  const aead = kind.kind === "chacha" || kind.kind === "gcm";
  const rekeyBytes = blockSize === 16 ? AES_BYTES : GIB;
  return { name, keyLength, ivLength, blockSize, aead, insecure: kind.kind === "cbc", rekeyBytes, ...kind };
}

const CIPHERS = [
  cipher("chacha20-poly1305@openssh.com", 64, 0, { kind: "chacha", openssl: "" }, 8),
  cipher("aes128-gcm@openssh.com", 16, 12, { kind: "gcm", openssl: "aes-128-gcm" }),
  cipher("aes256-gcm@openssh.com", 32, 12, { kind: "gcm", openssl: "aes-256-gcm" }),
  cipher("aes128-ctr", 16, 16, { kind: "ctr", openssl: "aes-128-ctr" }),
  cipher("aes192-ctr", 24, 16, { kind: "ctr", openssl: "aes-192-ctr" }),
  cipher("aes256-ctr", 32, 16, { kind: "ctr", openssl: "aes-256-ctr" }),
  cipher("aes128-cbc", 16, 16, { kind: "cbc", openssl: "aes-128-cbc" }),
  cipher("aes256-cbc", 32, 16, { kind: "cbc", openssl: "aes-256-cbc" }),
  cipher("3des-cbc", 24, 8, { kind: "cbc", openssl: "des-ede3-cbc" }, 8),
];

function mac(name: string, hash: MacHash, tagLength: number): MacInfo & { readonly hash: MacHash } {
  return { name, keyLength: tagLength, tagLength, etm: name.includes("-etm@"), insecure: hash === "SHA-1", hash };
}

const MACS = [
  mac("hmac-sha2-256-etm@openssh.com", "SHA-256", 32),
  mac("hmac-sha2-512-etm@openssh.com", "SHA-512", 64),
  mac("hmac-sha2-256", "SHA-256", 32),
  mac("hmac-sha2-512", "SHA-512", 64),
  mac("hmac-sha1-etm@openssh.com", "SHA-1", 20),
  mac("hmac-sha1", "SHA-1", 20),
];

/** All ciphers by their names on the wire, the most wanted first. */
export const ciphers: ReadonlyMap<string, CipherInfo> = new Map(CIPHERS.map((info) => [info.name, info]));

/** All MACs by their names on the wire, the most wanted first. */
export const macs: ReadonlyMap<string, MacInfo> = new Map(MACS.map((info) => [info.name, info]));

function find<T extends { readonly name: string }>(list: readonly T[], what: string, name: string | null): T {
  const found = list.find((info) => info.name === name);
  if (found === undefined) throw new TypeError(`Cannot use ${what} "${name}": it is not known`);
  return found;
}

function check(info: CipherInfo, keys: DirectionKeys): void {
  if (keys.key.length !== info.keyLength || keys.iv.length < info.ivLength) {
    throw new RangeError(`Cannot use keys: "${info.name}" wants ${info.keyLength} and ${info.ivLength} bytes`);
  }
}

/**
 * Those of the ciphers and MACs that this runtime can do, both ways and in any pairing. Without `node:crypto`, as in a browser, that
 * is chacha20-poly1305, where WebAssembly is allowed, AES-GCM, and aes128-ctr and aes256-ctr with an encrypt-then-MAC MAC.
 */
export function available<T extends { readonly cipher: readonly string[]; readonly mac: readonly string[] }>(
  names: T,
): T {
  if (hasNodeCrypto()) return names;
  const cipher = names.cipher.filter((name) => {
    const info = CIPHERS.find((one) => one.name === name);
    if (info?.kind === "chacha") return hasChacha();
    return info?.kind === "gcm" || info?.kind === "ctr" && info.keyLength !== 24;
  });
  return { ...names, cipher, mac: names.mac.filter((name) => macs.get(name)?.etm === true) };
}

/** Makes what protects outbound packets. `mac` is not looked at where the cipher authenticates by itself. */
export async function createSealer(cipher: string, mac: string | null, keys: DirectionKeys): Promise<PacketSealer> {
  const info = find(CIPHERS, "cipher", cipher);
  check(info, keys);
  if (info.kind === "chacha") return chachaSealer(keys);
  if (info.kind === "gcm") return await gcmSealer(keys);
  const { hash, etm } = find(MACS, "MAC", mac);
  const hmac = packetHmac(hash, keys.macKey);
  if (info.kind === "ctr") {
    return etm && !hasNodeCrypto()
      ? new WebCtrSealer(await WebCtrStream.create(keys), hmac)
      : new BlockSealer(new CtrStream(keys), BLOCK, hmac, etm);
  }
  return new BlockSealer(nodeCipher(info.openssl, "encrypt", keys.key, keys.iv), info.blockSize, hmac, etm);
}

/** Makes what opens inbound packets. `mac` is not looked at where the cipher authenticates by itself. */
export async function createOpener(cipher: string, mac: string | null, keys: DirectionKeys): Promise<PacketOpener> {
  const info = find(CIPHERS, "cipher", cipher);
  check(info, keys);
  if (info.kind === "chacha") return chachaOpener(keys);
  if (info.kind === "gcm") return await gcmOpener(keys);
  const { hash, etm } = find(MACS, "MAC", mac);
  const hmac = packetHmac(hash, keys.macKey);
  if (info.kind === "ctr") {
    if (!etm) return new CtrOpener(new CtrStream(keys), hmac);
    return hasNodeCrypto()
      ? new EtmOpener(new CtrStream(keys), BLOCK, hmac)
      : new WebCtrOpener(await WebCtrStream.create(keys), hmac);
  }
  if (etm) return new EtmOpener(nodeCipher(info.openssl, "decrypt", keys.key, keys.iv), info.blockSize, hmac);
  return new CbcOpener(info.openssl, info.blockSize, keys, hmac);
}
