/**
 * Private keys written as PKCS#8, in clear and encrypted. RFC 5958, RFC 8018 section 6.2, RFC 7468 sections 10 and 11. No I/O.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { type KeyMaterial, typeOfMaterial } from "../key_types.ts";
import { integer, nothing, octets, oid, sequence } from "./der_writer.ts";
import { foreignFormOf } from "./jwk.ts";
import { OID_AES256_CBC, OID_HMAC_SHA256, OID_PBES2, OID_PBKDF2 } from "./oids.ts";
import { deriveBits } from "./pbes2.ts";
import { armour } from "./pem.ts";

/** Writes a key, encrypted where there is a passphrase. */
export async function writePkcs8(
  material: KeyMaterial,
  passphrase: string | undefined,
  iterations: number,
): Promise<string> {
  const foreign = foreignFormOf(typeOfMaterial(material).name, "Cannot write private key");
  const secret = foreign.writePrivate(material);
  const plain = sequence(integer(0n), sequence(foreign.algorithm), octets(secret));
  secret.fill(0);
  try {
    if (passphrase === undefined) return armour("PRIVATE KEY", plain);
    return armour("ENCRYPTED PRIVATE KEY", await encrypt(plain, passphrase, iterations));
  } finally {
    plain.fill(0);
  }
}

/** PBES2 with what every OpenSSL since 1.1 reads: PBKDF2 with HMAC-SHA-256, and AES-256 in CBC mode. */
async function encrypt(plain: Bytes, passphrase: string, iterations: number): Promise<Bytes> {
  const salt = crypto.getRandomValues(new Uint8Array(16)), iv = crypto.getRandomValues(new Uint8Array(16));
  const raw = await deriveBits(passphrase, "SHA-256", salt, iterations, 32);
  const key = await crypto.subtle.importKey("raw", raw, "AES-CBC", false, ["encrypt"]);
  raw.fill(0);
  const body = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-CBC", iv }, key, plain));
  const prf = sequence(oid(OID_HMAC_SHA256), nothing);
  const kdf = sequence(oid(OID_PBKDF2), sequence(octets(salt), integer(BigInt(iterations)), prf));
  const cipher = sequence(oid(OID_AES256_CBC), octets(iv));
  return sequence(sequence(oid(OID_PBES2), sequence(kdf, cipher)), octets(body));
}
