/**
 * The first packet of an X client, in which it proves itself: X Window System Protocol, section 8. RFC 4254 section 6.3.1 has a cookie of
 * its own stand there, which is replaced by the display's. No I/O.
 *
 * Byte order, a byte of no meaning, two numbers of the version, the lengths of a name and of a secret, two bytes of no meaning; then the
 * name and the secret, each filled up to a multiple of four.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";

const HEADER = 12;
const BIG_ENDIAN = 0x42, LITTLE_ENDIAN = 0x6c;

/** How a client proves itself, and the bytes that stand around that. */
export interface Setup {
  /** Name of the way. */
  readonly name: string;
  /** The secret. */
  readonly data: Uint8Array;
  /** The header as it came. */
  readonly header: Uint8Array;
  /** Length of all of it. */
  readonly length: number;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

function viewOf(header: Uint8Array): { view: DataView; little: boolean } {
  return {
    view: new DataView(header.buffer, header.byteOffset, header.byteLength),
    little: header[0] === LITTLE_ENDIAN,
  };
}

/**
 * Reads the packet from the beginning of what has come: null where there is more to come, `"wrong"` where it is none, or is longer than
 * a name and a secret of these lengths make it. That shows in the header: nothing is kept for what would not fit.
 */
export function readSetup(bytes: Uint8Array, nameLength: number, dataLength: number): Setup | "wrong" | null {
  if (bytes.length > 0 && bytes[0] !== BIG_ENDIAN && bytes[0] !== LITTLE_ENDIAN) return "wrong";
  if (bytes.length < HEADER) return null;
  const { view, little } = viewOf(bytes);
  if (view.getUint16(6, little) !== nameLength || view.getUint16(8, little) !== dataLength) return "wrong";
  const dataAt = HEADER + padded(nameLength), length = dataAt + padded(dataLength);
  if (bytes.length < length) return null;
  return {
    name: new TextDecoder("latin1").decode(bytes.subarray(HEADER, HEADER + nameLength)),
    data: bytes.subarray(dataAt, dataAt + dataLength),
    header: bytes.subarray(0, HEADER),
    length,
  };
}

/** The packet with another name and secret. */
export function writeSetup(header: Uint8Array, name: string, data: Uint8Array): Bytes {
  const dataAt = HEADER + padded(name.length), packet = new Uint8Array(dataAt + padded(data.length));
  packet.set(header);
  const { view, little } = viewOf(packet);
  view.setUint16(6, name.length, little);
  view.setUint16(8, data.length, little);
  packet.set(new TextEncoder().encode(name), HEADER);
  packet.set(data, dataAt);
  return packet;
}
