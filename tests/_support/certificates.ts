/** Test support. Certificates of ssh-keygen, and a maker of certificates that nobody should sign. */
import type { PublicKey, Signer } from "../../lib/keys/types.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { vectors } from "./key_vectors.ts";

/** A vector of certificates.json. */
export interface CertificateVector {
  readonly command: string;
  readonly version: string;
  /** Line of the key that is certified. */
  readonly key: string;
  /** Line of the CA's key. */
  readonly ca: string;
  /** Line of the certificate. */
  readonly certificate: string;
  /** As `ssh-keygen -l` prints it. */
  readonly fingerprint: string;
  /** Lines of `ssh-keygen -L`, without the first. */
  readonly listing: readonly string[];
}

/** Certificates by ssh-keygen. */
export const certificates = (): readonly CertificateVector[] => vectors<CertificateVector>("certificates", 11);

/** Whatever a certificate may say, whether it makes sense or not. */
export interface RawCertificate {
  readonly type?: string;
  readonly serial?: bigint;
  readonly kind?: number;
  readonly keyId?: string | Uint8Array;
  readonly principals?: readonly (string | Uint8Array)[];
  readonly validAfter?: bigint;
  readonly validBefore?: bigint;
  /** Names and data; a text is wrapped in a string of its own. */
  readonly critical?: readonly (readonly [name: string | Uint8Array, data: string | Uint8Array])[];
  readonly extensions?: readonly (readonly [name: string | Uint8Array, data: string | Uint8Array])[];
  readonly reserved?: Uint8Array;
  /** The CA's key, where it is not the one that signs. */
  readonly ca?: Uint8Array;
  /** What the CA signs with, and how the signature is changed. */
  readonly algorithm?: string;
  readonly spoil?: (signature: Uint8Array<ArrayBuffer>) => Uint8Array;
  readonly trailing?: Uint8Array;
}

const encoder = new TextEncoder();
const bytesOf = (value: string | Uint8Array): Uint8Array => typeof value === "string" ? encoder.encode(value) : value;

function options(list: RawCertificate["critical"] = []): Uint8Array {
  const writer = new Writer();
  for (const [name, data] of list) {
    writer.string(bytesOf(name)).string(
      typeof data === "string" ? data === "" ? new Uint8Array(0) : new Writer().text(data).bytes() : data,
    );
  }
  return writer.bytes();
}

/** A certificate as its blob. */
export async function rawCertificate(
  ca: Signer,
  key: PublicKey,
  raw: RawCertificate = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const plain = new Reader(key.blob), name = plain.ascii();
  const writer = new Writer(4096).text(raw.type ?? `${name.replace(/@openssh\.com$/, "")}-cert-v01@openssh.com`);
  writer.string(new Uint8Array(32)).raw(plain.rest()).u64(raw.serial ?? 7n).u32(raw.kind ?? 1);
  writer.string(bytesOf(raw.keyId ?? "id"));
  const principals = new Writer();
  for (const principal of raw.principals ?? ["alice"]) principals.string(bytesOf(principal));
  writer.string(principals.bytes()).u64(raw.validAfter ?? 0n).u64(raw.validBefore ?? 0xffff_ffff_ffff_ffffn);
  writer.string(options(raw.critical)).string(options(raw.extensions)).string(raw.reserved ?? new Uint8Array(0));
  const signed = writer.string(raw.ca ?? ca.publicKey.blob).bytes();
  const signature = await ca.sign(signed, raw.algorithm ?? ca.algorithms[0]!);
  return writer.string((raw.spoil ?? ((same) => same))(signature)).raw(raw.trailing ?? new Uint8Array(0)).bytes();
}

/** The same as its line. */
export async function rawCertificateLine(ca: Signer, key: PublicKey, raw: RawCertificate = {}): Promise<string> {
  const blob = await rawCertificate(ca, key, raw);
  return `${new Reader(blob).ascii()} ${blob.toBase64()}`;
}
