/**
 * The NIST curves as ECDSA keys use them; their numbers stand with those of key exchange. RFC 5656 section 10.1. No I/O.
 *
 * @module
 */
import { curveParameters, type NistCurve } from "../crypto/kex/nist_curves.ts";

/** A curve and the names it has in different places. */
export interface Curve {
  /** Name in SSH (RFC 5656 section 10.1). */
  readonly name: "nistp256" | "nistp384" | "nistp521";
  /** Key and signature type. */
  readonly type: string;
  /** Name in WebCrypto. */
  readonly webName: NistCurve;
  /** Hash that signatures use (RFC 5656 section 6.2.1). */
  readonly hash: "SHA-256" | "SHA-384" | "SHA-512";
  /** Bytes of a coordinate and of a scalar. */
  readonly size: number;
  /** Order of the base point. */
  readonly n: bigint;
  /** Content of the curve's object identifier in DER, as hex. */
  readonly oid: string;
}

function curve(name: Curve["name"], webName: NistCurve, hash: Curve["hash"], oid: string): [string, Curve] {
  const type = `ecdsa-sha2-${name}`, { length: size, n } = curveParameters(webName);
  return [type, { name, type, webName, hash, size, n, oid }];
}

/** All curves, by key type. */
export const curves: ReadonlyMap<string, Curve> = new Map([
  curve("nistp256", "P-256", "SHA-256", "2a8648ce3d030107"),
  curve("nistp384", "P-384", "SHA-384", "2b81040022"),
  curve("nistp521", "P-521", "SHA-512", "2b81040023"),
]);
