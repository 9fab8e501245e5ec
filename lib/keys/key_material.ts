/**
 * What private keys are made of, whatever their type. No I/O, no file formats.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { type KeyMaterial, typeOfMaterial } from "./key_types.ts";

export type { RsaMaterial } from "./rsa.ts";

/** Room for any public blob: an RSA modulus of 16,384 bits, an exponent of 64 bits, the lengths and the name. */
const MAX_PUBLIC_BLOB = 2304;

/** The public key in wire encoding (RFC 4253 section 6.6). */
export function publicBlobOf(material: KeyMaterial): Bytes {
  const type = typeOfMaterial(material), writer = new Writer(MAX_PUBLIC_BLOB).text(type.name);
  type.private.writePublic(writer, material);
  return writer.bytes();
}

/** Refuses material whose private part does not belong to its public part. */
export async function checkMaterial(material: KeyMaterial, minRsaBits: number): Promise<void> {
  await typeOfMaterial(material).private.check(material, minRsaBits);
}
