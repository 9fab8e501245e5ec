/**
 * Public keys outside of SSH: SubjectPublicKeyInfo, and PKCS#1 for RSA. RFC 5280 section 4.1.2.7, RFC 8017 appendix A.1.1. No I/O, no
 * crypto.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import { Writer } from "../../wire/writer.ts";
import { keyTypes } from "../key_types.ts";
import { bits, nothing, oid, sequence } from "./der_writer.ts";
import { DerReader, Tag } from "./der.ts";
import { keyFormatError, parsing, unsupported } from "./format_error.ts";
import { foreignFormOf } from "./jwk.ts";
import { OID_RSA } from "./oids.ts";

/** Room for any public key. */
const MAX_PUBLIC = 2304;

/** SubjectPublicKeyInfo of a public key, given its wire encoding. */
export function writeSpki(blob: Uint8Array): Bytes {
  return parsing("Cannot write public key", () => {
    const half = new Reader(blob), foreign = foreignFormOf(half.ascii(), "Cannot write public key");
    return sequence(sequence(foreign.algorithm), bits(foreign.writePublic(half)));
  });
}

/** The wire encoding of the public key in a SubjectPublicKeyInfo. It is not checked yet. */
export function readSpki(der: Uint8Array): Bytes {
  const outer = new DerReader(der), reader = outer.nested();
  outer.end();
  const algorithm = reader.element(Tag.SEQUENCE), key = reader.element(Tag.BIT_STRING);
  reader.end();
  if (key[0] !== 0) throw keyFormatError("Cannot read public key: it is no whole number of bytes");
  return blobOf(algorithm, key.subarray(1));
}

/** The wire encoding of an RSA key in PKCS#1. It is not checked yet. */
export function readPkcs1Public(der: Uint8Array): Bytes {
  return blobOf(new Uint8Array([...oid(OID_RSA), ...nothing]), der);
}

function blobOf(algorithm: Uint8Array, key: Uint8Array): Bytes {
  for (const { name, foreign } of keyTypes.values()) {
    if (foreign === undefined || !equals(foreign.algorithm, algorithm)) continue;
    const writer = new Writer(MAX_PUBLIC).text(name);
    foreign.readPublic(key, writer);
    return writer.bytes();
  }
  throw unsupported(
    "Cannot read public key: its algorithm is not supported; RSA, Ed25519, and EC on nistp256, nistp384 and nistp521 by name are",
  );
}
