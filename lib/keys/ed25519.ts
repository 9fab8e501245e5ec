/**
 * Ed25519 keys. RFC 8032, RFC 8709. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { fromBase64, fromHex, toHex } from "../wire/base_text.ts";
import type { Bytes } from "../wire/types.ts";
import { keyFormatError, notTogether } from "./format/format_error.ts";
import { base64url, fromLittleEndian } from "./integers.ts";
import { octets, oid } from "./format/der_writer.ts";
import { OID_ED25519 } from "./format/oids.ts";
import type { ForeignForm, KeyType, PublicPart, WebCryptoForm } from "./key_type.ts";
import { isDataError, runtimeError } from "./webcrypto_errors.ts";

/** The seed of RFC 8032 section 5.1.5, and the public point it gives. */
export interface Ed25519Material {
  readonly kind: "ed25519";
  /** 32 bytes. */
  readonly seed: Bytes;
  /** 32 bytes. */
  readonly point: Bytes;
}

const NAME = "ssh-ed25519";
/** Order of the base point (RFC 8032 section 5.1). */
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
/** What stands before a seed in PKCS#8 (RFC 8410). */
const PKCS8 = "302e020100300506032b657004220420";

/** `value` as a signature of 64 bytes with S below the group's order, or null. RFC 8709 section 6. */
function signatureOf(value: Uint8Array): Bytes | null {
  if (value.length !== 64 || fromLittleEndian(value.subarray(32)) >= ORDER) return null;
  return value.slice();
}

/** The public part of a key by its point; throws `KEY_FORMAT` for what has not its length. */
export function ed25519Public(raw: Bytes, type = NAME): PublicPart {
  if (raw.length !== 32) throw keyFormatError(`Cannot read ${type} key: ${raw.length} bytes where 32 are needed`);
  return { verify: ed25519Verifier(raw) };
}

/** WebCrypto's private key for a seed; it computes the public point itself. */
function importSeed(seed: Bytes, extractable: boolean): Promise<CryptoKey> {
  const der = fromHex(PKCS8 + toHex(seed));
  return crypto.subtle.importKey("pkcs8", der, "Ed25519", extractable, ["sign"]).catch((error) => {
    throw isDataError(error) ? error : runtimeError(`Cannot use ${NAME} private key`, error);
  });
}

/** The public point of a seed. */
export async function ed25519Point(seed: Bytes): Promise<Bytes> {
  const { x } = await crypto.subtle.exportKey("jwk", await importSeed(seed, true));
  return fromBase64(x!, { alphabet: "base64url" });
}

/** Checks signatures of 64 bytes with a public point of 32; the runtime's key is imported on first use. */
export function ed25519Verifier(point: Bytes): (signature: Uint8Array, data: Bytes) => Promise<boolean> {
  let key: Promise<CryptoKey> | undefined;
  return async (value, data) => {
    const signature = signatureOf(value);
    if (signature === null) return false;
    key ??= crypto.subtle.importKey("raw", point, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", await key, signature, data);
  };
}

/** Signs with a seed of 32 bytes; the runtime's key is imported on first use. */
export function ed25519Signer(seed: Bytes): (data: Bytes) => Promise<Bytes> {
  let key: Promise<CryptoKey> | undefined;
  return async (data) => {
    key ??= importSeed(seed, false);
    return new Uint8Array(await crypto.subtle.sign("Ed25519", await key, data));
  };
}

/** Makes a key. */
export async function generateEd25519(bits = 256): Promise<Ed25519Material> {
  if (bits !== 256) throw new RangeError(`Cannot make ed25519 key: ${bits} bits given, it has 256`);
  const seed = crypto.getRandomValues(new Uint8Array(32));
  return { kind: "ed25519", seed, point: await ed25519Point(seed) };
}

/** RFC 8410, RFC 8037. */
const foreign: ForeignForm<Ed25519Material> = {
  algorithm: oid(OID_ED25519),
  jwk: { kty: "OKP", crv: "Ed25519" },
  writePublic: (half) => half.string(),
  readPublic: (bits, writer) => void writer.string(bits),
  writePublicJwk: (half) => ({ kty: "OKP", crv: "Ed25519", x: base64url(half.string()) }),
  readPublicJwk: (members, writer) => void writer.string(members.exactly("x", 32)),
  writePrivate: ({ seed }) => octets(seed),
  writePrivateJwk: ({ seed }) => ({ d: base64url(seed) }),
  readPrivateJwk: (members) => ({
    kind: "ed25519",
    seed: members.exactly("d", 32),
    point: members.exactly("x", 32),
  }),
};

const webCrypto: WebCryptoForm = {
  algorithmsOf: ({ name }) => name === "Ed25519" ? [NAME] : null,
  sign: async (key, data) => new Uint8Array(await crypto.subtle.sign("Ed25519", key, data)),
};

/** `ssh-ed25519`. */
export const ed25519: KeyType<Ed25519Material> = {
  name: NAME,
  algorithms: [{ name: NAME }],
  readPublic: (reader) => ed25519Public(reader.string()),
  foreign,
  webCrypto,
  private: {
    holds: ({ kind }) => kind === "ed25519",
    read(reader) {
      const point = reader.string(), secret = reader.string();
      if (point.length !== 32 || secret.length !== 64 || !equals(secret.subarray(32), point)) {
        throw keyFormatError(`Cannot read ${NAME} private key: 32 public and 64 private bytes are needed`);
      }
      return { kind: "ed25519", seed: secret.slice(0, 32), point };
    },
    write: (writer, { seed, point }) => void writer.string(point).u32(64).raw(seed).raw(point),
    readPutty: (half, secret) => ({ kind: "ed25519", point: half.string(), seed: secret.string() }),
    writePutty: (writer, { seed }) => void writer.string(seed),
    writePublic: (writer, { point }) => void writer.string(point),
    async check({ seed, point }) {
      if (seed.length !== 32 || point.length !== 32) {
        throw keyFormatError(`Cannot read ${NAME} private key: 32 bytes are needed for each half`);
      }
      if (!equals(await ed25519Point(seed), point)) throw notTogether();
    },
    signer: ({ seed }) => ed25519Signer(seed),
  },
};
