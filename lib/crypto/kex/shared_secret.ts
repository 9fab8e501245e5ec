/**
 * What all key agreements share: how the secret stands in the exchange hash, and how an agreement fails.
 * RFC 4251 section 5, RFC 4253 section 8, RFC 8731 section 3.1. No I/O.
 *
 * @module
 */
import { DisconnectReason, SshProtocolError } from "../../errors.ts";
import type { Bytes } from "../../wire/types.ts";
import { Writer } from "../../wire/writer.ts";

/** The error of a key agreement, which tells the peer that key exchange failed. It never carries a value of the exchange. */
export function kexFailed(message: string, options?: ErrorOptions): SshProtocolError {
  return new SshProtocolError(message, DisconnectReason.KEY_EXCHANGE_FAILED, options);
}

/** Unsigned big-endian `bytes` as an encoded `mpint`, length included: leading zeros go, and a set top bit gets one before it. */
export function encodeMpint(bytes: Uint8Array): Bytes {
  let skip = 0;
  while (skip < bytes.length && bytes[skip] === 0) skip++;
  const pad = skip < bytes.length && bytes[skip]! >= 0x80 ? 1 : 0;
  const length = bytes.length - skip + pad;
  const out = new Uint8Array(4 + length);
  new DataView(out.buffer).setUint32(0, length);
  out.set(bytes.subarray(skip), 4 + pad);
  return out;
}

/** `bytes` as an encoded `string`, length included. */
export function encodeString(bytes: Uint8Array): Bytes {
  return new Writer(4 + bytes.length).string(bytes).bytes();
}

/** Whether all bytes are 0, in a time that depends on their number only. */
export function isAllZero(bytes: Uint8Array): boolean {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum |= bytes[i]!;
  return sum === 0;
}

/** Bytes as an unsigned big-endian integer. */
export function bigIntOf(bytes: Uint8Array): bigint {
  let hex = "0x0";
  for (let i = 0; i < bytes.length; i++) hex += bytes[i]!.toString(16).padStart(2, "0");
  return BigInt(hex);
}
