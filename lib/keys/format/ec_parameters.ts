/**
 * Which curve a key in DER is on: its name, or all of its numbers. RFC 5480 section 2.1.1, RFC 3279 section 2.3.5,
 * SEC 1 appendix C.2. No I/O.
 *
 * Numbers are never computed with: they are compared with those of the curves that are known, each of them, the base point among
 * them. Whoever may choose a base point has a private key for any public key (CVE-2020-0601).
 *
 * @module
 */
import { curveParameters, uncompressedPoint } from "../../crypto/kex/nist_curves.ts";
import { type Curve, curves } from "../curves.ts";
import { type DerReader, Tag } from "./der.ts";
import { keyFormatError, unsupported as unsupportedError } from "./format_error.ts";
import { fromBigEndian } from "../integers.ts";

const OID_PRIME_FIELD = "2a8648ce3d0101";
/** Bytes of the longest number that any of the curves has. */
const MAX_BYTES = 66;

const unsupported = () =>
  unsupportedError("Cannot read EC private key: the curve is not supported; nistp256, nistp384 and nistp521 are");

/** The curve that the next element names or spells out. */
export function readCurve(reader: DerReader): Curve {
  if (reader.tag === Tag.SEQUENCE) return readNumbers(reader.nested());
  const oid = reader.oid();
  for (const curve of curves.values()) if (curve.oid === oid) return curve;
  throw unsupported();
}

function readNumbers(reader: DerReader): Curve {
  const version = reader.integer(1);
  if (version < 1n || version > 3n) throw keyFormatError("Cannot read EC private key: its parameters are malformed");
  const field = reader.nested();
  if (field.oid() !== OID_PRIME_FIELD) throw unsupported();
  const p = field.integer(MAX_BYTES);
  field.end();
  const coefficients = reader.nested();
  const a = element(coefficients), b = element(coefficients);
  // The seed that the curve's coefficients are said to come from says nothing about them.
  if (coefficients.tag === Tag.BIT_STRING) coefficients.element(Tag.BIT_STRING);
  coefficients.end();
  const base = reader.element(Tag.OCTET_STRING);
  const order = reader.integer(MAX_BYTES);
  const cofactor = reader.tag === Tag.INTEGER ? reader.integer(MAX_BYTES) : 1n;
  reader.end();
  for (const curve of curves.values()) {
    const known = curveParameters(curve.webName);
    if (p !== known.p) continue;
    const g = uncompressedPoint(curve.webName, base);
    if (
      a === p - 3n && b === known.b && order === curve.n && cofactor === 1n && g !== null &&
      fromBigEndian(g.subarray(1, 1 + curve.size)) === known.g.x &&
      fromBigEndian(g.subarray(1 + curve.size)) === known.g.y
    ) return curve;
    throw keyFormatError(`Cannot read EC private key: its parameters look like ${curve.name} and differ from it`);
  }
  throw unsupported();
}

/** An element of the field. */
function element(reader: DerReader): bigint {
  const bytes = reader.element(Tag.OCTET_STRING);
  if (bytes.length > MAX_BYTES) throw unsupported();
  return fromBigEndian(bytes);
}
