/**
 * The table of key types: whatever is done by type of key asks it. A new type is a row here, in a file that says what it is.
 * RFC 4253 section 6.6, RFC 5656, RFC 8332, RFC 8709. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { type EcdsaMaterial, ecdsaTypes } from "./ecdsa.ts";
import { ed25519, type Ed25519Material } from "./ed25519.ts";
import { keyFormatError } from "./format/format_error.ts";
import { rsa, type RsaMaterial } from "./rsa.ts";
import type { KeyType, PrivateForm } from "./key_type.ts";
import { mldsa44Ed25519, type Mldsa44Ed25519Material } from "./mldsa44_ed25519.ts";

/** A private key's components. */
export type KeyMaterial = Ed25519Material | EcdsaMaterial | RsaMaterial | Mldsa44Ed25519Material;

const rows: readonly KeyType<KeyMaterial>[] = [ed25519, ...ecdsaTypes, rsa, mldsa44Ed25519];

/** All key types by name. */
export const keyTypes: ReadonlyMap<string, KeyType<KeyMaterial>> = new Map(rows.map((row) => [row.name, row]));

const algorithms = new Map(
  rows.flatMap((row) => row.algorithms.map((algorithm) => [algorithm.name, { ...algorithm, type: row.name }])),
);

/** The signature algorithms that a key type allows, most wanted first; empty for a type that is not known. */
export function signatureAlgorithmsOf(type: string): readonly string[] {
  return keyTypes.get(type)?.algorithms.map(({ name }) => name).filter((name) => !isInsecure(name)) ?? [];
}

/** Those that only a program's own lists and functions named insecure lead to. */
export function insecureAlgorithmsOf(type: string): readonly string[] {
  return keyTypes.get(type)?.algorithms.map(({ name }) => name).filter(isInsecure) ?? [];
}

/** Whether a signature algorithm is one of those. */
export function isInsecure(algorithm: string): boolean {
  return algorithms.get(algorithm)?.insecure ?? false;
}

/** The key type that a signature algorithm belongs to, or null: `ssh-rsa` for `rsa-sha2-256`. */
export function keyTypeOf(algorithm: string): string | null {
  return algorithms.get(algorithm)?.type ?? null;
}

/** The flags that ask an agent for a signature algorithm. */
export function agentFlagsOf(algorithm: string): number {
  return algorithms.get(algorithm)?.agentFlags ?? 0;
}

/** How private keys of a type are read; throws `KEY_FORMAT` where there are none. */
export function privateFormOf(type: string): PrivateForm<KeyMaterial> {
  const form = keyTypes.get(type)?.private ?? null;
  if (form !== null) return form;
  throw keyFormatError(`Cannot read private key: the type "${printable(type, 64)}" is not supported`);
}

/** The type of a private key, by its components. */
export function typeOfMaterial(material: KeyMaterial): { name: string; private: PrivateForm<KeyMaterial> } {
  for (const { name, private: form } of rows) if (form?.holds(material)) return { name, private: form };
  throw new TypeError(`Cannot use private key: its kind "${material.kind}" is not known`);
}
