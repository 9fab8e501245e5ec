/**
 * Private keys in PEM: PKCS#1 (RFC 8017 appendix A.1.2), PKCS#8 (RFC 5958, RFC 8410), SEC1 (RFC 5915). No I/O.
 *
 * @module
 */
import { printable, SshError } from "../../errors.ts";
import { uncompressedPoint } from "../../crypto/kex/nist_curves.ts";
import type { Bytes } from "../../wire/types.ts";
import type { Curve } from "../curves.ts";
import { DerReader, Tag } from "./der.ts";
import { readCurve } from "./ec_parameters.ts";
import { keyFormatError, unsupported, wrongPassphrase } from "./format_error.ts";
import { fromBigEndian, toBigEndian } from "../integers.ts";
import { ed25519Point } from "../ed25519.ts";
import type { AskPassphrase } from "../passphrase.ts";
import type { KeyMaterial } from "../key_types.ts";
import { type RsaMaterial, rsaMaterialOf } from "../rsa.ts";
import { RSA_BITS } from "../rsa_public.ts";
import { isDataError } from "../webcrypto_errors.ts";
import { OID_EC, OID_ED25519, OID_RSA } from "./oids.ts";
import { isEncryptedPem } from "./pem.ts";

const fail = (format: string, what: string) => keyFormatError(`Cannot read ${format} private key: ${what}`);

/** Reads the content of a PEM block. The material is not checked yet. */
export async function readPemMaterial(
  label: string,
  headers: ReadonlyMap<string, string>,
  bytes: Uint8Array,
  ask: AskPassphrase | undefined,
): Promise<KeyMaterial> {
  const read = async (content: Uint8Array): Promise<KeyMaterial> => {
    const reader = new DerReader(content);
    const material = await readLabelled(label, reader, ask);
    reader.end();
    return material;
  };
  if (!isEncryptedPem(headers)) return await read(bytes);
  const { decryptPem } = await import("./pem_headers.ts");
  return await readDecrypted("PEM", await decryptPem(headers, bytes, ask), read);
}

/** Reads what was decrypted, and wipes it. */
async function readDecrypted(
  format: string,
  plain: Bytes,
  read: (plain: Bytes) => Promise<KeyMaterial>,
): Promise<KeyMaterial> {
  try {
    return await read(plain);
  } catch (cause) {
    if (!(cause instanceof SshError) && !isDataError(cause)) throw cause;
    // One wrong passphrase in 256 gives sound padding, and nonsense before it.
    throw wrongPassphrase(
      `Cannot decrypt ${format} private key: the passphrase is wrong, or the key is malformed`,
      cause,
    );
  } finally {
    plain.fill(0);
  }
}

async function readLabelled(label: string, reader: DerReader, ask: AskPassphrase | undefined): Promise<KeyMaterial> {
  switch (label) {
    case "RSA PRIVATE KEY":
      return readRsa(reader.nested());
    case "EC PRIVATE KEY":
      return await readEc(reader.nested(), null);
    case "PRIVATE KEY":
      return await readPkcs8(reader.nested());
    case "ENCRYPTED PRIVATE KEY": {
      const { decryptPkcs8 } = await import("./pbes2.ts");
      const plain = await decryptPkcs8(reader.nested(), ask);
      return await readDecrypted("PKCS#8", plain, async () => {
        const inner = new DerReader(plain);
        const material = await readPkcs8(inner.nested());
        inner.end();
        return material;
      });
    }
    default:
      throw unsupported(`Cannot read private key: "${printable(label, 40)}" is not supported`);
  }
}

function readRsa(reader: DerReader): RsaMaterial {
  if (reader.integer(1) !== 0n) throw unsupported("Cannot read RSA private key: only keys of two primes are supported");
  const max = RSA_BITS.max / 8;
  const n = reader.integer(max), e = reader.integer(8), d = reader.integer(max + 8);
  const p = reader.integer(max), q = reader.integer(max);
  // Some programs leave these out or have them wrong.
  for (let i = 0; i < 3; i++) reader.integer(max);
  reader.end();
  return rsaMaterialOf(n, e, d, p, q);
}

async function readEc(reader: DerReader, outer: Curve | null): Promise<KeyMaterial> {
  if (reader.integer(1) !== 1n) throw fail("EC", "its version is not 1");
  const secret = reader.element(Tag.OCTET_STRING);
  let curve = outer;
  if (reader.tag === Tag.CONTEXT_0) {
    const parameters = reader.nested(Tag.CONTEXT_0);
    const named = readCurve(parameters);
    parameters.end();
    if (curve !== null && named !== curve) throw fail("EC", "it names two curves");
    curve = named;
  }
  if (curve === null) throw fail("EC", "it names no curve");
  // RFC 5915 wants the scalar in full width; some write it as short as it is, or as an integer with a zero before it.
  const d = fromBigEndian(secret.subarray(Math.max(0, secret.findIndex((byte) => byte !== 0))));
  let point: Uint8Array<ArrayBuffer> | null = null;
  if (reader.tag === Tag.CONTEXT_1) {
    const wrapped = reader.nested(Tag.CONTEXT_1);
    const bits = wrapped.element(Tag.BIT_STRING);
    wrapped.end();
    if (bits[0] !== 0) throw fail("EC", "its point is no whole number of bytes");
    point = uncompressedPoint(curve.webName, bits.subarray(1));
    if (point === null) throw fail("EC", "its public part is no point of the curve");
  }
  reader.end();
  return { kind: "ecdsa", curve, point: point ?? await pointOf(curve, d), d };
}

/** The point of a scalar, for the few files that leave it out: no WebCrypto computes it, so this takes noble. */
async function pointOf(curve: Curve, d: bigint): Promise<Uint8Array<ArrayBuffer>> {
  if (d < 1n || d >= curve.n) throw keyFormatError(`Cannot read ${curve.type} private key: its scalar is out of range`);
  const { p256, p384, p521 } = await import("@noble/curves/nist.js");
  const noble = { nistp256: p256, nistp384: p384, nistp521: p521 }[curve.name];
  return noble.getPublicKey(toBigEndian(d, curve.size), false).slice();
}

async function readPkcs8(reader: DerReader): Promise<KeyMaterial> {
  const version = reader.integer(1);
  if (version > 1n) throw fail("PKCS#8", "its version is not 0 or 1");
  const algorithm = reader.nested();
  const oid = algorithm.oid();
  const content = new DerReader(reader.element(Tag.OCTET_STRING));
  // Attributes and the public key that may follow (RFC 5958 section 2) are not needed.
  let material: KeyMaterial;
  switch (oid) {
    case OID_RSA:
      if (algorithm.remaining > 0) algorithm.element(Tag.NULL);
      material = readRsa(content.nested());
      break;
    case OID_EC:
      material = await readEc(content.nested(), readCurve(algorithm));
      break;
    case OID_ED25519: {
      const seed = content.element(Tag.OCTET_STRING).slice();
      if (seed.length !== 32) throw fail("Ed25519", `${seed.length} bytes where 32 are needed`);
      material = { kind: "ed25519", seed, point: await ed25519Point(seed) };
      break;
    }
    default:
      throw unsupported("Cannot read PKCS#8 private key: only RSA, EC and Ed25519 keys are supported");
  }
  algorithm.end();
  content.end();
  return material;
}
