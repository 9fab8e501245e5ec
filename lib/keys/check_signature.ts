/**
 * Whether what a signer gave is the signature that it was asked for: before a peer gets it, because a wrong RSA signature could tell who
 * listens the key itself. No I/O.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";
import { anyKeyFromBlob } from "./certificate.ts";
import { keyTypeOf, keyTypes } from "./key_types.ts";
import { verifyAgreed } from "./public_key.ts";
import { RSA_BITS } from "./rsa_public.ts";
import type { PublicKey, Signer } from "./types.ts";

/**
 * Whether a signature is not the key's with this algorithm over the data. False where the key or the algorithm is of a kind that nothing
 * here can tell about, such as a hardware token's.
 */
export async function isWrongSignature(
  signer: Signer,
  algorithm: string,
  data: Uint8Array,
  signature: Bytes,
): Promise<boolean> {
  let key: PublicKey;
  try {
    key = anyKeyFromBlob(signer.publicKey.blob, { insecureMinRsaBits: RSA_BITS.insecureMin });
  } catch {
    return false;
  }
  if (
    keyTypeOf(algorithm) === null || (keyTypes.get((key.certificate?.publicKey ?? key).type)?.private ?? null) === null
  ) return false;
  return !await verifyAgreed(key, algorithm, data, signature);
}
