/**
 * ECDSA keys, a type for each curve. RFC 5656. No I/O.
 *
 * @module
 */
import { concat } from "@std/bytes";
import { isOnCurve, uncompressedPoint } from "../crypto/kex/nist_curves.ts";
import { printable } from "../errors.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { type Curve, curves } from "./curves.ts";
import { bits, context1, integer, octets, oid, sequence } from "./format/der_writer.ts";
import { keyFormatError, notTogether } from "./format/format_error.ts";
import { base64url, bitLength, fromBigEndian, jwkIntegers, paddedMpint, toBigEndian } from "./integers.ts";
import { OID_EC } from "./format/oids.ts";
import type { JwkMembers, JwkText } from "./jwk_members.ts";
import type { ForeignForm, KeyType, PublicPart, Sign, WebCryptoForm } from "./key_type.ts";
import { isDataError, runtimeError } from "./webcrypto_errors.ts";

/** A scalar and its point. */
export interface EcdsaMaterial {
  readonly kind: "ecdsa";
  /** The curve. */
  readonly curve: Curve;
  /** Uncompressed point. */
  readonly point: Bytes;
  /** Secret scalar. */
  readonly d: bigint;
}

/** `value` (`mpint` r, `mpint` s) as WebCrypto takes it, r and s in full width; null when either is out of range. */
function signatureOf(curve: Curve, value: Uint8Array): Bytes | null {
  const reader = new Reader(value);
  const r = paddedMpint(reader, curve.size), s = paddedMpint(reader, curve.size);
  reader.end();
  return r < curve.n && s < curve.n ? concat([toBigEndian(r, curve.size), toBigEndian(s, curve.size)]) : null;
}

/** The other way (RFC 5656 section 3.1.2). */
function valueOf(curve: Curve, raw: Uint8Array): Bytes {
  if (raw.length !== 2 * curve.size) throw keyFormatError(`Cannot write ${curve.type} signature: unexpected length`);
  return new Writer(2 * (5 + curve.size))
    .mpint(fromBigEndian(raw.subarray(0, curve.size)))
    .mpint(fromBigEndian(raw.subarray(curve.size)))
    .bytes();
}

/** The public part of a key on `curve`; throws `KEY_FORMAT` for a point that is none of its. */
export function publicPart(curve: Curve, point: Bytes, what = "key"): PublicPart {
  if (!isOnCurve(curve.webName, point)) {
    throw keyFormatError(`Cannot read ${curve.type} ${what}: it holds no uncompressed point of the curve`);
  }
  const algorithm = { name: "ECDSA", namedCurve: curve.webName };
  let key: Promise<CryptoKey> | undefined;
  return {
    async verify(value, data): Promise<boolean> {
      const signature = signatureOf(curve, value);
      if (signature === null) return false;
      key ??= crypto.subtle.importKey("raw", point, algorithm, false, ["verify"]);
      return await crypto.subtle.verify({ name: "ECDSA", hash: curve.hash }, await key, signature, data);
    },
  };
}

/** The public members of a JSON Web Key (RFC 7518 section 6.2.1). */
function publicJwk(curve: Curve, point: Uint8Array): JwkText {
  const x = base64url(point.subarray(1, 1 + curve.size)), y = base64url(point.subarray(1 + curve.size));
  return { kty: "EC", crv: curve.webName, x, y };
}

function importScalar({ curve, point, d }: EcdsaMaterial): Promise<CryptoKey> {
  const jwk = { ...publicJwk(curve, point), d: base64url(toBigEndian(d, curve.size)) };
  return crypto.subtle.importKey("jwk", jwk, { name: "ECDSA", namedCurve: curve.webName }, false, ["sign"]);
}

async function signWith(curve: Curve, key: CryptoKey, data: Bytes): Promise<Bytes> {
  return valueOf(curve, new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash: curve.hash }, key, data)));
}

function signer(material: EcdsaMaterial): Sign {
  const { curve } = material;
  let key: Promise<CryptoKey> | undefined;
  return async (data) => {
    key ??= importScalar(material);
    return await signWith(curve, await key, data);
  };
}

/** Makes a key on the curve of that size. */
export async function generateEcdsa(bits = 256): Promise<EcdsaMaterial> {
  const curve = [...curves.values()].find(({ n }) => bitLength(n) === bits);
  if (curve === undefined) {
    throw new RangeError(`Cannot make ecdsa key: ${bits} bits given, 256, 384 or 521 are allowed`);
  }
  const algorithm = { name: "ECDSA", namedCurve: curve.webName };
  const pair = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const { d } = jwkIntegers(await crypto.subtle.exportKey("jwk", pair.privateKey));
  const point = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return { kind: "ecdsa", curve, point, d: d! };
}

/** RFC 5480, RFC 5915, RFC 7518 section 6.2. */
function foreignForm(curve: Curve): ForeignForm<EcdsaMaterial> {
  const { size, webName } = curve;
  const point = (half: Reader): Bytes => {
    half.view();
    return half.string();
  };
  const pointOf = (members: JwkMembers): Bytes =>
    concat([
      Uint8Array.of(4),
      toBigEndian(members.integer("x", size), size),
      toBigEndian(members.integer("y", size), size),
    ]);
  return {
    algorithm: concat([oid(OID_EC), oid(curve.oid)]),
    jwk: { kty: "EC", crv: webName },
    writePublic: point,
    readPublic(bits, writer) {
      const found = uncompressedPoint(webName, bits);
      if (found === null) throw keyFormatError(`Cannot read ${curve.type} key: it holds no point of the curve`);
      writer.text(curve.name).string(found);
    },
    writePublicJwk: (half) => publicJwk(curve, point(half)),
    readPublicJwk: (members, writer) => void writer.text(curve.name).string(pointOf(members)),
    writePrivate: ({ point, d }) => sequence(integer(1n), octets(toBigEndian(d, size)), context1(bits(point))),
    writePrivateJwk: ({ d }) => ({ d: base64url(toBigEndian(d, size)) }),
    readPrivateJwk: (members) => ({
      kind: "ecdsa",
      curve,
      point: pointOf(members),
      d: members.integer("d", size),
    }),
  };
}

function webCryptoForm(curve: Curve): WebCryptoForm {
  return {
    algorithmsOf: (algorithm) =>
      algorithm.name === "ECDSA" && (algorithm as EcKeyAlgorithm).namedCurve === curve.webName ? [curve.type] : null,
    sign: (key, data) => signWith(curve, key, data),
  };
}

function ecdsaType(curve: Curve): KeyType<EcdsaMaterial> {
  const { type } = curve, fail = (what: string) => keyFormatError(`Cannot read ${type} private key: ${what}`);
  return {
    name: type,
    algorithms: [{ name: type }],
    readPublic(reader) {
      const name = reader.ascii();
      if (name !== curve.name) {
        throw keyFormatError(`Cannot read ${type} key: it names the curve "${printable(name, 64)}"`);
      }
      return publicPart(curve, reader.string());
    },
    foreign: foreignForm(curve),
    webCrypto: webCryptoForm(curve),
    private: {
      holds: (material: { kind: string; curve?: Curve }) => material.kind === "ecdsa" && material.curve === curve,
      read(reader) {
        if (reader.ascii() !== curve.name) throw fail("it names another curve");
        const point = reader.string();
        if (point.length !== 1 + 2 * curve.size) throw fail("its point does not fit");
        return { kind: "ecdsa", curve, point, d: paddedMpint(reader, curve.size) };
      },
      write: (writer, { point, d }) => void writer.text(curve.name).string(point).mpint(d),
      behindCertificate: {
        read(half, reader) {
          if (half.ascii() !== curve.name) throw fail("it names another curve");
          return { kind: "ecdsa", curve, point: half.string(), d: paddedMpint(reader, curve.size) };
        },
        write: (writer, { d }) => void writer.mpint(d),
      },
      readPutty(half, secret) {
        half.view();
        return { kind: "ecdsa", curve, point: half.string(), d: paddedMpint(secret, curve.size) };
      },
      writePutty: (writer, { d }) => void writer.mpint(d),
      writePublic: (writer, { point }) => void writer.text(curve.name).string(point),
      async check(material) {
        const { verify } = publicPart(curve, material.point, "private key");
        if (material.d < 1n || material.d >= curve.n) throw fail("its scalar is out of range");
        const probe = crypto.getRandomValues(new Uint8Array(32));
        const none = new Uint8Array(0), sign = signer(material);
        const fits = await sign(probe, type).then((value) => verify(value, probe, type, none)).catch((error) => {
          if (isDataError(error)) return false;
          throw runtimeError(`Cannot check ${type} private key`, error);
        });
        if (fits !== true) throw notTogether();
      },
      signer,
    },
  };
}

/** `ecdsa-sha2-nistp256`, `ecdsa-sha2-nistp384` and `ecdsa-sha2-nistp521`. */
export const ecdsaTypes: readonly KeyType<EcdsaMaterial>[] = [...curves.values()].map(ecdsaType);
