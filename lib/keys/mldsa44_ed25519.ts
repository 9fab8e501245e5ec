/**
 * Keys of ML-DSA-44 and Ed25519 together, whose signatures hold as long as one of the two does: OpenSSH's post-quantum type.
 * draft-ietf-lamps-pq-composite-sigs section 3, FIPS 204, RFC 8032. No I/O.
 *
 * WebCrypto's ML-DSA takes no context, so that of `@noble/post-quantum` is loaded when such a key is made, signs or verifies.
 *
 * @module
 */
import { concat, equals } from "@std/bytes";
import { digest } from "../crypto/hash.ts";
import type { Bytes } from "../wire/types.ts";
import { ed25519Point, ed25519Signer, ed25519Verifier } from "./ed25519.ts";
import { keyFormatError, notTogether, unsupported } from "./format/format_error.ts";
import type { KeyType } from "./key_type.ts";

/** Two seeds that have nothing to do with each other, and the public keys they give. */
export interface Mldsa44Ed25519Material {
  readonly kind: "mldsa44-ed25519";
  /** Seed of ML-DSA-44 (FIPS 204 section 5.1), 32 bytes. */
  readonly mldsaSeed: Bytes;
  /** Seed of Ed25519 (RFC 8032 section 5.1.5), 32 bytes. */
  readonly ed25519Seed: Bytes;
  /** Public key of ML-DSA-44, then that of Ed25519: 1,344 bytes. */
  readonly publicKey: Bytes;
}

/** draft-miller-sshm-mldsa44-ed25519-composite-sigs-00, which has the encodings below, too. */
const NAME = "ssh-mldsa44-ed25519";
/** Bytes of ML-DSA-44: its public key, and its signature. */
const MLDSA_PUBLIC = 1312, MLDSA_SIGNATURE = 2420;
/** What OpenSSH 10.6 says of its size. */
const BITS = 512;
/** Bytes of both halves together. */
const PUBLIC_LENGTH = MLDSA_PUBLIC + 32, SIGNATURE_LENGTH = MLDSA_SIGNATURE + 64;

const ascii = (text: string): Bytes => new TextEncoder().encode(text);
/** What ML-DSA takes as its context, so that none of its signatures is one of a key of its own. */
const LABEL = ascii("COMPSIG-MLDSA44-Ed25519-SHA512");
/** What stands before the hash in the message that both sign; the zero is the length of a context, of which SSH has none. */
const PREFIX = concat([ascii("CompositeAlgorithmSignatures2025"), LABEL, Uint8Array.of(0)]);

/** The message that both halves sign. */
async function representative(data: Uint8Array): Promise<Bytes> {
  return concat([PREFIX, await digest("SHA-512", data)]);
}

/** Loaded by those who need it: most programs never meet such a key. */
async function mldsa() {
  return (await import("@noble/post-quantum/ml-dsa.js")).ml_dsa44;
}

/** The public key of two seeds. */
async function publicKeyOf(mldsaSeed: Bytes, ed25519Seed: Bytes): Promise<Bytes> {
  const { publicKey, secretKey } = (await mldsa()).keygen(mldsaSeed);
  secretKey.fill(0);
  return concat([publicKey, await ed25519Point(ed25519Seed)]);
}

/** The components, of the lengths they have. */
function materialOf(publicKey: Bytes, seeds: Bytes): Mldsa44Ed25519Material {
  if (publicKey.length !== PUBLIC_LENGTH || seeds.length !== 64) {
    throw keyFormatError(`Cannot read ${NAME} private key: ${PUBLIC_LENGTH} public and 64 private bytes are needed`);
  }
  return { kind: "mldsa44-ed25519", mldsaSeed: seeds.slice(0, 32), ed25519Seed: seeds.slice(32), publicKey };
}

/** Makes a key. */
export async function generateMldsa44Ed25519(bits = BITS): Promise<Mldsa44Ed25519Material> {
  if (bits !== BITS) throw new RangeError(`Cannot make mldsa44-ed25519 key: ${bits} bits given, it counts as ${BITS}`);
  const mldsaSeed = crypto.getRandomValues(new Uint8Array(32));
  const ed25519Seed = crypto.getRandomValues(new Uint8Array(32));
  return { kind: "mldsa44-ed25519", mldsaSeed, ed25519Seed, publicKey: await publicKeyOf(mldsaSeed, ed25519Seed) };
}

/** `ssh-mldsa44-ed25519`. */
export const mldsa44Ed25519: KeyType<Mldsa44Ed25519Material> = {
  name: NAME,
  certificate: `${NAME}-cert`,
  algorithms: [{ name: NAME }],
  readPublic(reader) {
    const raw = reader.string();
    if (raw.length !== PUBLIC_LENGTH) {
      throw keyFormatError(`Cannot read ${NAME} key: ${raw.length} bytes where ${PUBLIC_LENGTH} are needed`);
    }
    const mldsaKey = raw.subarray(0, MLDSA_PUBLIC), verifyEd25519 = ed25519Verifier(raw.slice(MLDSA_PUBLIC));
    return {
      async verify(value, data): Promise<boolean> {
        if (value.length !== SIGNATURE_LENGTH) return false;
        // What is checked late must be what came: the value is the caller's.
        const signature = value.slice(), message = await representative(data);
        if (!await verifyEd25519(signature.subarray(MLDSA_SIGNATURE), message)) return false;
        return (await mldsa()).verify(signature.subarray(0, MLDSA_SIGNATURE), message, mldsaKey, { context: LABEL });
      },
    };
  },
  private: {
    holds: ({ kind }) => kind === "mldsa44-ed25519",
    read(reader) {
      const publicKey = reader.string();
      return materialOf(publicKey, reader.string());
    },
    write: (writer, { mldsaSeed, ed25519Seed, publicKey }) =>
      void writer.string(publicKey).u32(64).raw(mldsaSeed).raw(ed25519Seed),
    behindCertificate: {
      read(half, reader) {
        const publicKey = half.string();
        return materialOf(publicKey, reader.string());
      },
      write: (writer, { mldsaSeed, ed25519Seed }) => void writer.u32(64).raw(mldsaSeed).raw(ed25519Seed),
    },
    readPutty() {
      throw unsupported(`Cannot read PuTTY private key: PuTTY has no keys of type ${NAME}`);
    },
    writePublic: (writer, { publicKey }) => void writer.string(publicKey),
    async check({ mldsaSeed, ed25519Seed, publicKey }) {
      if (!equals(await publicKeyOf(mldsaSeed, ed25519Seed), publicKey)) throw notTogether();
    },
    signer({ mldsaSeed, ed25519Seed }) {
      const signEd25519 = ed25519Signer(ed25519Seed);
      let expanded: Uint8Array | undefined;
      return async (data) => {
        const mldsa44 = await mldsa(), message = await representative(data);
        expanded ??= mldsa44.keygen(mldsaSeed).secretKey;
        // With random bytes in it (FIPS 204 section 3.4), as OpenSSH signs: what leaks of one signature does not add up with another's.
        const first = mldsa44.sign(message, expanded, { context: LABEL });
        return concat([first, await signEd25519(message)]);
      };
    },
  },
};
