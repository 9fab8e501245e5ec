/**
 * Terminal modes of a client in the kernel's `struct termios`, as x86-64 and arm64 Linux have it. RFC 4254 section 8, RFC 8160 (IUTF8).
 * No I/O.
 *
 * @module
 */

/** Bytes of the structure, which is the kernel's and not the C library's. */
export const TERMIOS_BYTES = 36;

const IFLAG = 0, OFLAG = 4, CFLAG = 8, LFLAG = 12, CHARS = 17;

/** Flags: where they stand, and their bits. */
const flags: Readonly<Record<string, readonly [at: number, bits: number]>> = {
  IGNPAR: [IFLAG, 0o4],
  PARMRK: [IFLAG, 0o10],
  INPCK: [IFLAG, 0o20],
  ISTRIP: [IFLAG, 0o40],
  INLCR: [IFLAG, 0o100],
  IGNCR: [IFLAG, 0o200],
  ICRNL: [IFLAG, 0o400],
  IUCLC: [IFLAG, 0o1000],
  IXON: [IFLAG, 0o2000],
  IXANY: [IFLAG, 0o4000],
  IXOFF: [IFLAG, 0o10000],
  IMAXBEL: [IFLAG, 0o20000],
  IUTF8: [IFLAG, 0o40000],
  ISIG: [LFLAG, 0o1],
  ICANON: [LFLAG, 0o2],
  XCASE: [LFLAG, 0o4],
  ECHO: [LFLAG, 0o10],
  ECHOE: [LFLAG, 0o20],
  ECHOK: [LFLAG, 0o40],
  ECHONL: [LFLAG, 0o100],
  NOFLSH: [LFLAG, 0o200],
  TOSTOP: [LFLAG, 0o400],
  IEXTEN: [LFLAG, 0o100000],
  ECHOCTL: [LFLAG, 0o1000],
  ECHOKE: [LFLAG, 0o4000],
  PENDIN: [LFLAG, 0o40000],
  OPOST: [OFLAG, 0o1],
  OLCUC: [OFLAG, 0o2],
  ONLCR: [OFLAG, 0o4],
  OCRNL: [OFLAG, 0o10],
  ONOCR: [OFLAG, 0o20],
  ONLRET: [OFLAG, 0o40],
  PARENB: [CFLAG, 0o400],
  PARODD: [CFLAG, 0o1000],
};

/** Bits that say how many bits a character has, and the choices of RFC 4254. */
const CHARACTER_SIZE = 0o60, sizes: Readonly<Record<string, number>> = { CS7: 0o40, CS8: 0o60 };

/** Characters, by their place. VDSUSP, VSTATUS and VFLUSH are other systems'. */
const chars: Readonly<Record<string, number>> = {
  VINTR: 0,
  VQUIT: 1,
  VERASE: 2,
  VKILL: 3,
  VEOF: 4,
  VSWTCH: 7,
  VSTART: 8,
  VSTOP: 9,
  VSUSP: 10,
  VEOL: 11,
  VREPRINT: 12,
  VDISCARD: 13,
  VWERASE: 14,
  VLNEXT: 15,
  VEOL2: 16,
};

/** What RFC 4254 writes for a character that does nothing, and what the kernel does. */
const NO_CHARACTER = 255, DISABLED = 0;

/** Bits of the speed within the flags of the line, and the speeds that have a number there. */
const SPEED = 0o10017, speeds = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
const fastSpeeds = [57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000];

function speedBits(speed: number): number | null {
  const slow = speeds.indexOf(speed), fast = fastSpeeds.indexOf(speed);
  return slow !== -1 ? slow : fast !== -1 ? 0o10001 + fast : null;
}

/** Changes the structure as a client's modes say. What this system does not have is left out, as OpenSSH's server does. */
export function applyModes(termios: Uint8Array, modes: Readonly<Record<string, number>>): void {
  const view = new DataView(termios.buffer, termios.byteOffset);
  const change = (at: number, mask: number, bits: number): void =>
    view.setUint32(at, view.getUint32(at, true) & ~mask | bits, true);
  for (const [name, value] of Object.entries(modes)) {
    const flag = flags[name], char = chars[name], size = sizes[name];
    if (flag !== undefined) change(flag[0], flag[1], value === 0 ? 0 : flag[1]);
    else if (char !== undefined) termios[CHARS + char] = value === NO_CHARACTER ? DISABLED : value;
    else if (size !== undefined && value !== 0) change(CFLAG, CHARACTER_SIZE, size);
    // Both directions have one speed here.
    else if (name === "TTY_OP_OSPEED" && speedBits(value) !== null) change(CFLAG, SPEED, speedBits(value)!);
  }
}

/** The character that ends input while lines are edited; null where bytes are taken as they are, or nothing ends input. */
export function endOfInput(termios: Uint8Array): number | null {
  const isCanonical =
    (new DataView(termios.buffer, termios.byteOffset).getUint32(LFLAG, true) & flags["ICANON"]![1]) !== 0;
  const char = termios[CHARS + chars["VEOF"]!]!;
  return isCanonical && char !== DISABLED ? char : null;
}
