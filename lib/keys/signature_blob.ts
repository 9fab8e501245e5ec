/**
 * Signature blobs: `string` algorithm, `string` signature, and what an authenticator says behind them. RFC 4253 section 6.6, OpenSSH
 * PROTOCOL.u2f. No I/O, no crypto.
 *
 * @module
 */
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { parsing } from "./format/format_error.ts";
import { isAuthenticators } from "./key_types.ts";

/**
 * Takes a signature blob apart, into the algorithm that it claims and what that makes of it. Anything behind the two is an error, but for
 * algorithms that have more there.
 */
export function readSignature(signature: Uint8Array): { algorithm: string; value: Uint8Array; more: Uint8Array } {
  return parsing("Cannot read signature", () => {
    const reader = new Reader(signature);
    const algorithm = reader.ascii();
    const value = reader.view();
    const more = isAuthenticators(algorithm) ? reader.rest() : new Uint8Array(0);
    reader.end();
    return { algorithm, value, more };
  });
}

/** Puts a signature blob together. */
export function writeSignature(algorithm: string, value: Uint8Array): Bytes {
  return new Writer(8 + algorithm.length + value.length).text(algorithm).string(value).bytes();
}

/** The algorithm that a signature blob names; throws `SshError` with code `KEY_FORMAT` when it is malformed. */
export function signatureAlgorithm(signature: Uint8Array): string {
  return readSignature(signature).algorithm;
}
