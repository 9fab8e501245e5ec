/**
 * Test support. A key of each type, in clear: those of the vectors, because making RSA keys takes seconds.
 *
 * @module
 */
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import type { PrivateKey } from "../../lib/keys/types.ts";
import { opensshKeys } from "./key_vectors.ts";

/** ed25519, ecdsa 256, 384 and 521, rsa 2048. */
export function oneOfEach(): Promise<PrivateKey[]> {
  return Promise.all(opensshKeys().slice(0, 5).map(({ private: text }) => parsePrivateKey(text)));
}

/** All of a private key that matters, to compare. */
export async function secretsOf(key: PrivateKey): Promise<Record<string, string>> {
  return JSON.parse(await key.export({ format: "jwk" }));
}
