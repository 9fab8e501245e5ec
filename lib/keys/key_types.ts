/**
 * The table of key types: whatever is done by type of key asks it. A new type is a row here, in a file that says what it is.
 * RFC 4253 section 6.6, RFC 5656, RFC 8332, RFC 8709, OpenSSH PROTOCOL.certkeys, OpenSSH PROTOCOL.u2f. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { type EcdsaMaterial, ecdsaTypes } from "./ecdsa.ts";
import { ed25519, type Ed25519Material } from "./ed25519.ts";
import { fidoTypes } from "./fido.ts";
import { unsupported } from "./format/format_error.ts";
import { rsa, type RsaMaterial } from "./rsa.ts";
import type { KeyType, PrivateForm } from "./key_type.ts";
import { mldsa44Ed25519, type Mldsa44Ed25519Material } from "./mldsa44_ed25519.ts";

/** A private key's components. */
export type KeyMaterial = Ed25519Material | EcdsaMaterial | RsaMaterial | Mldsa44Ed25519Material;

const rows: readonly KeyType<KeyMaterial>[] = [ed25519, ...ecdsaTypes, rsa, mldsa44Ed25519, ...fidoTypes];

/** All key types by name. */
export const keyTypes: ReadonlyMap<string, KeyType<KeyMaterial>> = new Map(rows.map((row) => [row.name, row]));

const algorithms = new Map(
  rows.flatMap((row) => row.algorithms.map((algorithm) => [algorithm.name, { ...algorithm, type: row.name }])),
);

/** A type of certificate, with the type of the keys that it certifies (OpenSSH PROTOCOL.certkeys). */
export interface CertificateType {
  /** Name of the format. */
  readonly name: string;
  /** What stands between its nonce and its serial number. */
  readonly plain: KeyType<KeyMaterial>;
}

const CERTIFICATE = "-cert-v01@openssh.com";

/** What a type or an algorithm is called where a certificate goes with it: a suffix for the domain that a name of OpenSSH's own has. */
export function certified(name: string): string {
  return keyTypes.get(name)?.certificate ?? name.replace(/@openssh\.com$/, "") + CERTIFICATE;
}

/** All types of certificates by name. */
export const certificateTypes: ReadonlyMap<string, CertificateType> = new Map(
  rows.map((plain) => [certified(plain.name), { name: certified(plain.name), plain }]),
);

/** The type of the key that a type of certificate certifies, or null for what is none. */
export function certifiedTypeOf(type: string): string | null {
  return certificateTypes.get(type)?.plain.name ?? null;
}

/** Signature algorithms with a certificate, by name, and those without. An insecure one has none: no certificate makes SHA-1 better. */
const certifiedAlgorithms: ReadonlyMap<string, string> = new Map(
  rows.flatMap(({ algorithms }) =>
    algorithms.filter(({ insecure, inPlaceOf }) => !insecure && inPlaceOf === undefined)
      .map(({ name }) => [certified(name), name])
  ),
);

/** What a signature is labelled with where an algorithm was agreed on: the algorithm itself, without the certificate that goes with it. */
export function signatureLabelOf(algorithm: string): string {
  return certifiedAlgorithms.get(algorithm) ?? algorithm;
}

/** The signature algorithms that a type of key or certificate can be asked for, most wanted first; empty for a type that is not known. */
export function signatureAlgorithmsOf(type: string): readonly string[] {
  const plain = certificateTypes.get(type)?.plain.name;
  const names = acceptedAlgorithmsOf(plain ?? type).filter((name) => algorithms.get(name)!.inPlaceOf === undefined);
  return plain === undefined ? names : names.map(certified);
}

/** Those that signatures of a key of that type may be made with. */
export function acceptedAlgorithmsOf(type: string): readonly string[] {
  return keyTypes.get(type)?.algorithms.map(({ name }) => name).filter((name) => !isInsecure(name)) ?? [];
}

/** The algorithms of FIDO authenticators: those that need no private key here. */
export const fidoAlgorithms: readonly string[] = fidoTypes.flatMap((row) => row.algorithms.map(({ name }) => name));

/** Whether a signature that was asked for with `algorithm` may say that it was made with `label`. */
export function fitsAlgorithm(label: string, algorithm: string): boolean {
  const wanted = signatureLabelOf(algorithm);
  return label === wanted || algorithms.get(label)?.inPlaceOf === wanted;
}

/** Whether signatures with an algorithm, or of a type that has its name, are made by a FIDO authenticator, and have more behind their value. */
export function isAuthenticators(algorithm: string): boolean {
  return algorithms.get(signatureLabelOf(algorithm))?.authenticator ?? false;
}

/** Those that only a program's own lists and functions named insecure lead to. */
export function insecureAlgorithmsOf(type: string): readonly string[] {
  return keyTypes.get(type)?.algorithms.map(({ name }) => name).filter(isInsecure) ?? [];
}

/** Whether a signature algorithm is one of those. */
export function isInsecure(algorithm: string): boolean {
  return algorithms.get(algorithm)?.insecure ?? false;
}

/** The type of key or certificate that a signature algorithm belongs to, or null: `ssh-rsa` for `rsa-sha2-256`. */
export function keyTypeOf(algorithm: string): string | null {
  const label = certifiedAlgorithms.get(algorithm), type = algorithms.get(label ?? algorithm)?.type ?? null;
  return label === undefined || type === null ? type : certified(type);
}

/** The flags that ask an agent for a signature algorithm. */
export function agentFlagsOf(algorithm: string): number {
  return algorithms.get(signatureLabelOf(algorithm))?.agentFlags ?? 0;
}

/** How private keys of a type are read; throws `KEY_FORMAT` where there are none. */
export function privateFormOf(type: string): PrivateForm<KeyMaterial> {
  const found = keyTypes.get(type), form = found?.private ?? null;
  if (form !== null) return form;
  const why = found?.elsewhere ?? "the type is not supported";
  throw unsupported(`Cannot read private key of type "${printable(type, 64)}": ${why}`);
}

/** The type of a private key, by its components. */
export function typeOfMaterial(material: KeyMaterial): { name: string; private: PrivateForm<KeyMaterial> } {
  for (const { name, private: form } of rows) if (form?.holds(material)) return { name, private: form };
  throw new TypeError(`Cannot use private key: its kind "${material.kind}" is not known`);
}
