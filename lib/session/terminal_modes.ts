/**
 * Encoded terminal modes. RFC 4254 section 8, RFC 8160 (IUTF8). No I/O.
 *
 * @module
 */
import { Reader } from "../wire/reader.ts";
import { Writer } from "../wire/writer.ts";
import { SshProtocolError } from "../errors.ts";
import type { Bytes } from "../wire/types.ts";

const TTY_OP_END = 0;
/** From here on RFC 4254 defines no argument, so reading stops. */
const FIRST_UNDEFINED = 160;
/** Every defined opcode fits many times over. */
const MAX_ENCODED = 2048;

/** Opcodes by the names that RFC 4254 section 8 gives them. */
export const TerminalModes: Readonly<Record<string, number>> = Object.freeze({
  __proto__: null as never,
  VINTR: 1,
  VQUIT: 2,
  VERASE: 3,
  VKILL: 4,
  VEOF: 5,
  VEOL: 6,
  VEOL2: 7,
  VSTART: 8,
  VSTOP: 9,
  VSUSP: 10,
  VDSUSP: 11,
  VREPRINT: 12,
  VWERASE: 13,
  VLNEXT: 14,
  VFLUSH: 15,
  VSWTCH: 16,
  VSTATUS: 17,
  VDISCARD: 18,
  IGNPAR: 30,
  PARMRK: 31,
  INPCK: 32,
  ISTRIP: 33,
  INLCR: 34,
  IGNCR: 35,
  ICRNL: 36,
  IUCLC: 37,
  IXON: 38,
  IXANY: 39,
  IXOFF: 40,
  IMAXBEL: 41,
  IUTF8: 42,
  ISIG: 50,
  ICANON: 51,
  XCASE: 52,
  ECHO: 53,
  ECHOE: 54,
  ECHOK: 55,
  ECHONL: 56,
  NOFLSH: 57,
  TOSTOP: 58,
  IEXTEN: 59,
  ECHOCTL: 60,
  ECHOKE: 61,
  PENDIN: 62,
  OPOST: 70,
  OLCUC: 71,
  ONLCR: 72,
  OCRNL: 73,
  ONOCR: 74,
  ONLRET: 75,
  CS7: 90,
  CS8: 91,
  PARENB: 92,
  PARODD: 93,
  TTY_OP_ISPEED: 128,
  TTY_OP_OSPEED: 129,
});

const nameOf: ReadonlyMap<number, string> = new Map(Object.entries(TerminalModes).map(([name, code]) => [code, name]));

/** Encodes modes by name. Throws `TypeError` for a name that RFC 4254 does not have, `RangeError` for a value that is no uint32. */
export function encodeTerminalModes(modes: Readonly<Record<string, number>>): Bytes {
  const writer = new Writer(5 * 16);
  for (const [name, value] of Object.entries(modes)) {
    const code = TerminalModes[name];
    if (code === undefined) throw new TypeError(`Cannot encode terminal modes: RFC 4254 has no mode "${name}"`);
    if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
      throw new RangeError(`Cannot encode terminal modes: the value of "${name}" is not an unsigned 32-bit integer`);
    }
    writer.u8(code).u32(value);
  }
  return writer.u8(TTY_OP_END).bytes();
}

/**
 * Decodes modes by name. Opcodes without a name are left out, the last of a repeated one counts, and what follows the end
 * is not looked at. The end may be missing. Throws `SshProtocolError` where a value is cut short.
 */
export function decodeTerminalModes(encoded: Uint8Array): Record<string, number> {
  if (encoded.length > MAX_ENCODED) {
    throw new SshProtocolError(`Cannot read terminal modes: ${encoded.length} bytes, at most ${MAX_ENCODED} allowed`);
  }
  const reader = new Reader(encoded), modes: Record<string, number> = {};
  while (reader.remaining > 0) {
    const code = reader.u8();
    if (code === TTY_OP_END || code >= FIRST_UNDEFINED) break;
    const value = reader.u32(), name = nameOf.get(code);
    if (name !== undefined) modes[name] = value;
  }
  return modes;
}
