/**
 * What all packet ciphers share: limits, the workspace, and the one error of an opener. RFC 4253 section 6. No I/O.
 *
 * @module
 */
import { DisconnectReason, SshProtocolError } from "../../errors.ts";
import type { Bytes } from "../../wire/types.ts";
import type { PacketFrame } from "../types.ts";

/** Largest packet_length that a peer may send; a packet on the wire has 4 bytes and a tag more. */
export const MAX_PACKET_LENGTH = 262_144;

/** The error for a packet that is not what the peer sent. It says nothing about how it differs. */
export function macInvalid(): SshProtocolError {
  return new SshProtocolError(
    "Cannot open packet: it was changed on its way, or a key is wrong",
    DisconnectReason.MAC_ERROR,
    {
      code: "MAC_INVALID",
    },
  );
}

/** The `uint32` at `offset`. */
export function uint32At(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 24 | bytes[offset + 1]! << 16 | bytes[offset + 2]! << 8 | bytes[offset + 3]!) >>> 0;
}

/** The offset at which a frame ends, its tag included; throws as for a wrong MAC where the chunk ends before. */
export function frameEnd(chunk: Uint8Array, frame: PacketFrame, tagLength: number): number {
  const end = frame.offset + 4 + frame.length + tagLength;
  if (!(frame.length >= 1 && end <= chunk.length)) throw macInvalid();
  return end;
}

/** Where `length` sealed bytes go: the start of `kept` if that is there and has the room, else memory of their own. */
export function sealedInto(kept: Bytes | undefined, length: number): Bytes {
  return kept !== undefined && kept.length >= length ? kept.subarray(0, length) : new Uint8Array(length);
}

let shared = new Uint8Array(0);

/** Memory that all connections use in turn: whoever asks fills it and reads it in the same turn of the event loop. */
export function sharedWorkspace(size: number): Bytes {
  if (shared.length < size) shared = new Uint8Array(Math.max(size, 65_536));
  return shared;
}
