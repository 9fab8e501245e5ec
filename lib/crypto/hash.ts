/**
 * The hashes of key exchange. RFC 4253 section 8, RFC 8732 section 5. WebCrypto only, no I/O.
 *
 * @module
 */
import { concat } from "@std/bytes";
import type { Bytes } from "../wire/types.ts";
import type { HashName } from "./types.ts";

/** Hash of `parts`, one after the other. */
export async function digest(hash: HashName, ...parts: Uint8Array[]): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest(hash, concat(parts)));
}
