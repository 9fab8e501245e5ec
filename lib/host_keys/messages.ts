/**
 * Host keys as they are announced, and the proof of one. OpenSSH PROTOCOL section 2.5. No I/O.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";
import { signatureLabelOf } from "../keys/key_types.ts";
import { keyTypeOf } from "../keys/public_key.ts";
import { parsing } from "../keys/format/format_error.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";

/** Global request by which a server tells its host keys; it wants no answer. */
export const ANNOUNCE = "hostkeys-00@openssh.com";
/** Global request that wants signatures by some of them. */
export const PROVE = "hostkeys-prove-00@openssh.com";

/** Host keys in one request, and signatures in one answer; more is abuse. */
export const MAX_KEYS = 64;

/** Strings one behind the other, until the end. Throws `SshError` for what is none, and for more than {@linkcode MAX_KEYS}. */
export function readStrings(data: Uint8Array): Bytes[] {
  return parsing("Cannot read host keys", () => {
    const reader = new Reader(data), strings: Bytes[] = [];
    while (reader.remaining > 0) {
      if (strings.length === MAX_KEYS) throw new SshProtocolError(`there are more than ${MAX_KEYS}`);
      strings.push(reader.view().slice());
    }
    return strings;
  });
}

/** The other way. */
export function writeStrings(strings: readonly Uint8Array[]): Bytes {
  const writer = new Writer(strings.reduce((length, string) => length + 4 + string.length, 0));
  for (const string of strings) writer.string(string);
  return writer.bytes();
}

/** What a host key signs to prove that the server has it, in this session and for this purpose only. */
export function proofOf(sessionId: Uint8Array, blob: Uint8Array): Bytes {
  return new Writer(64 + sessionId.length + blob.length).text(PROVE).string(sessionId).string(blob).bytes();
}

/**
 * The algorithm of a proof, among those that the key makes: that of the exchange, where it is of the key's type, as an RSA key has several
 * and the peer is known to take that one, with a certificate or without; else the first.
 */
export function proofAlgorithm(type: string, algorithms: readonly string[], agreed: string): string | undefined {
  const label = signatureLabelOf(agreed);
  return keyTypeOf(label) === type && algorithms.includes(label) ? label : algorithms[0];
}
