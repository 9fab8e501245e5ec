/**
 * The NIST curves that ECDSA keys use. RFC 5656 section 10.1, FIPS 186-4 appendix D.1.2. No I/O.
 *
 * @module
 */
/** A curve and the names it has in different places. */
export interface Curve {
  /** Name in SSH (RFC 5656 section 10.1). */
  readonly name: "nistp256" | "nistp384" | "nistp521";
  /** Key and signature type. */
  readonly type: string;
  /** Name in WebCrypto. */
  readonly webName: "P-256" | "P-384" | "P-521";
  /** Hash that signatures use (RFC 5656 section 6.2.1). */
  readonly hash: "SHA-256" | "SHA-384" | "SHA-512";
  /** Bytes of a coordinate and of a scalar. */
  readonly size: number;
  /** Order of the base point. */
  readonly n: bigint;
  /** Content of the curve's object identifier in DER, as hex. */
  readonly oid: string;
}

/** All curves, by key type. */
export const curves: ReadonlyMap<string, Curve> = new Map(
  ([
    {
      name: "nistp256",
      type: "ecdsa-sha2-nistp256",
      webName: "P-256",
      hash: "SHA-256",
      size: 32,
      n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
      oid: "2a8648ce3d030107",
    },
    {
      name: "nistp384",
      type: "ecdsa-sha2-nistp384",
      webName: "P-384",
      hash: "SHA-384",
      size: 48,
      n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
      oid: "2b81040022",
    },
    {
      name: "nistp521",
      type: "ecdsa-sha2-nistp521",
      webName: "P-521",
      hash: "SHA-512",
      size: 66,
      n: 0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
      oid: "2b81040023",
    },
  ] satisfies Curve[]).map((curve) => [curve.type, curve]),
);
