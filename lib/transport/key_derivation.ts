/**
 * Key derivation. RFC 4253 section 7.2. No I/O.
 *
 * @module
 */
import { digest } from "../crypto/hash.ts";
import { ciphers, macs } from "../crypto/cipher/ciphers.ts";
import type { DirectionKeys, HashName } from "../crypto/types.ts";
import type { Bytes } from "../wire/types.ts";
import type { NegotiatedDirection } from "./types.ts";

/** What the keys of an exchange come from. */
export interface KeySource {
  /** Hash of the exchange. */
  readonly hash: HashName;
  /** Shared secret as it stands in the exchange hash, length included. */
  readonly secret: Uint8Array;
  /** Exchange hash H. */
  readonly exchangeHash: Uint8Array;
  /** Hash of the first exchange. */
  readonly sessionId: Uint8Array;
}

/** K1 = HASH(K || H || X || session_id), K2 = HASH(K || H || K1), and so on. */
async function derive(source: KeySource, letter: string, length: number): Promise<Bytes> {
  const { hash, secret, exchangeHash, sessionId } = source;
  const key = new Uint8Array(length);
  let have = 0;
  while (have < length) {
    const next = have === 0
      ? await digest(hash, secret, exchangeHash, new Uint8Array([letter.charCodeAt(0)]), sessionId)
      : await digest(hash, secret, exchangeHash, key.subarray(0, have));
    key.set(next.subarray(0, length - have), have);
    have += next.length;
  }
  return key;
}

/** The keys of one direction. */
export async function deriveKeys(
  source: KeySource,
  direction: "clientToServer" | "serverToClient",
  algorithms: NegotiatedDirection,
): Promise<DirectionKeys> {
  const cipher = ciphers.get(algorithms.cipher);
  const mac = algorithms.mac === null ? undefined : macs.get(algorithms.mac);
  if (cipher === undefined) throw new TypeError(`Cipher "${algorithms.cipher}" is not in the table`);
  const letters = direction === "clientToServer" ? "ACE" : "BDF";
  const [iv, key, macKey] = await Promise.all([
    derive(source, letters[0]!, cipher.ivLength),
    derive(source, letters[1]!, cipher.keyLength),
    derive(source, letters[2]!, mac?.keyLength ?? 0),
  ]);
  return { iv, key, macKey };
}
