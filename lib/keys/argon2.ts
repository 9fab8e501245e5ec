/**
 * L2. Argon2d, Argon2i and Argon2id. RFC 9106. PuTTY's key files use it. The caller bounds memory and passes: it runs on this
 * thread. No I/O.
 *
 * @module
 */
import { concat } from "@std/bytes";
import type { Bytes } from "../wire/types.ts";
import { blake2b } from "./blake2b.ts";

/** 32-bit words of a block of 1024 bytes; each 64-bit word is its low half, then its high half. */
const WORDS = 256;
/** Slices of a pass (section 3.4). */
const SLICES = 4;
const VERSION = 0x13;

/** Variants and their numbers (section 3.1). */
export const argon2Types = { Argon2d: 0, Argon2i: 1, Argon2id: 2 } as const;

/** Parameters of {@linkcode argon2}. */
export interface Argon2Parameters {
  /** Variant. */
  readonly type: keyof typeof argon2Types;
  /** Memory in KiB, at least 8 for each lane. */
  readonly memory: number;
  /** Passes over the memory. */
  readonly passes: number;
  /** Lanes. */
  readonly parallelism: number;
  /** Bytes of output. */
  readonly length: number;
  /** Optional secret value. */
  readonly secret?: Uint8Array;
  /** Optional associated data. */
  readonly data?: Uint8Array;
}

function u32(...values: number[]): Bytes {
  const bytes = new Uint8Array(4 * values.length), view = new DataView(bytes.buffer);
  values.forEach((value, i) => view.setUint32(4 * i, value, true));
  return bytes;
}

/** The variable-length hash H' (section 3.3). */
function longHash(input: Uint8Array, length: number): Bytes {
  const first = concat([u32(length), input]);
  if (length <= 64) return blake2b(first, length);
  const out = new Uint8Array(length);
  let part = blake2b(first, 64), at = 0;
  for (; length - at > 64; at += 32) {
    out.set(part.subarray(0, 32), at);
    part = blake2b(part, Math.min(64, Math.max(length - at - 32, 0)));
  }
  out.set(part.subarray(0, length - at), at);
  return out;
}

/** High half of the product of two unsigned 32-bit integers. */
function high(a: number, b: number): number {
  const al = a & 0xffff, ah = a >>> 16, bl = b & 0xffff, bh = b >>> 16;
  const middle = al * bh + (al * bl >>> 16);
  const cross = ah * bl + (middle & 0xffff);
  return ah * bh + Math.floor(middle / 0x1_0000) + Math.floor(cross / 0x1_0000);
}

/** a = a + b + 2 * low(a) * low(b), d = (d ^ a) rotated right by `turn` bits; a, b, d are offsets of 64-bit words (section 3.6). */
function step(v: Uint32Array, a: number, b: number, d: number, turn: number): void {
  const al = v[a]!, bl = v[b]!;
  const productLow = Math.imul(al, bl) >>> 0;
  const low = al + bl + 2 * productLow;
  const carry = Math.floor(low / 0x1_0000_0000);
  v[a] = low;
  v[a + 1] = v[a + 1]! + v[b + 1]! + 2 * high(al, bl) + carry;
  const xl = v[d]! ^ v[a]!, xh = v[d + 1]! ^ v[a + 1]!;
  switch (turn) {
    case 32:
      v[d] = xh;
      v[d + 1] = xl;
      return;
    case 63:
      v[d] = xl << 1 | xh >>> 31;
      v[d + 1] = xh << 1 | xl >>> 31;
      return;
    default:
      v[d] = xl >>> turn | xh << 32 - turn;
      v[d + 1] = xh >>> turn | xl << 32 - turn;
  }
}

function mix(v: Uint32Array, a: number, b: number, c: number, d: number): void {
  step(v, a, b, d, 32);
  step(v, c, d, b, 24);
  step(v, a, b, d, 16);
  step(v, c, d, b, 63);
}

/** The permutation P over sixteen 64-bit words at the offsets given by a start and two strides (section 3.6). */
function permute(v: Uint32Array, start: number, pair: number): void {
  const at = (i: number) => start + (i >> 1) * pair + (i & 1) * 2;
  for (let i = 0; i < 4; i++) mix(v, at(i), at(4 + i), at(8 + i), at(12 + i));
  for (let i = 0; i < 4; i++) mix(v, at(i), at(4 + (i + 1) % 4), at(8 + (i + 2) % 4), at(12 + (i + 3) % 4));
}

const work = new Uint32Array(WORDS), mixed = new Uint32Array(WORDS);

/** The compression G of two blocks (section 3.5): into `out`, over what is there when `add` is set. */
function compress(out: Uint32Array, x: Uint32Array, y: Uint32Array, add: boolean): void {
  for (let i = 0; i < WORDS; i++) work[i] = mixed[i] = x[i]! ^ y[i]!;
  for (let row = 0; row < 8; row++) permute(work, 32 * row, 4);
  for (let column = 0; column < 8; column++) permute(work, 4 * column, 32);
  for (let i = 0; i < WORDS; i++) out[i] = work[i]! ^ mixed[i]! ^ (add ? out[i]! : 0);
}

/** Derives bytes from a password and a salt. Throws `RangeError` for parameters outside RFC 9106 section 3.1. */
export function argon2(password: Uint8Array, salt: Uint8Array, parameters: Argon2Parameters): Bytes {
  const { memory, passes, parallelism: lanes, length, secret, data } = parameters;
  const type = argon2Types[parameters.type];
  if (lanes < 1 || passes < 1 || length < 4 || memory < 8 * lanes || salt.length < 8) {
    throw new RangeError("Cannot derive key: a parameter of Argon2 is out of range");
  }
  const field = (bytes: Uint8Array = new Uint8Array(0)) => concat([u32(bytes.length), bytes]);
  const h0 = blake2b(
    concat([
      u32(lanes, length, memory, passes, VERSION, type),
      field(password),
      field(salt),
      field(secret),
      field(data),
    ]),
    64,
  );
  const segment = Math.floor(memory / (SLICES * lanes)), columns = SLICES * segment;
  const blocks = new Uint32Array(lanes * columns * WORDS);
  const block = (lane: number, column: number) => {
    const at = (lane * columns + column) * WORDS;
    return blocks.subarray(at, at + WORDS);
  };
  for (let lane = 0; lane < lanes; lane++) {
    for (let column = 0; column < 2; column++) {
      block(lane, column).set(wordsOf(longHash(concat([h0, u32(column, lane)]), 4 * WORDS)));
    }
  }

  const zero = new Uint32Array(WORDS), input = new Uint32Array(WORDS), addresses = new Uint32Array(WORDS);
  /** Fills `addresses` with the next 128 pairs of the data-independent variants (section 3.4.1.2). */
  const nextAddresses = () => {
    input[12]! += 1;
    compress(addresses, zero, input, false);
    compress(addresses, zero, addresses, false);
  };

  for (let pass = 0; pass < passes; pass++) {
    for (let slice = 0; slice < SLICES; slice++) {
      const independent = type === 1 || (type === 2 && pass === 0 && slice < 2);
      for (let lane = 0; lane < lanes; lane++) {
        input.fill(0);
        [pass, lane, slice, lanes * columns, passes, type].forEach((value, i) => input[2 * i] = value);
        const first = pass === 0 && slice === 0 ? 2 : 0;
        if (independent && first > 0) nextAddresses();
        for (let i = first; i < segment; i++) {
          const column = slice * segment + i;
          const previous = block(lane, (column + columns - 1) % columns);
          if (independent && i % 128 === 0) nextAddresses();
          const source = independent ? addresses : previous;
          const at = independent ? 2 * (i % 128) : 0;
          const j1 = source[at]!, j2 = source[at + 1]!;
          const other = pass === 0 && slice === 0 ? lane : j2 % lanes;
          // Which blocks may be referred to (section 3.4.2).
          const finished = pass === 0 ? slice * segment : columns - segment;
          const area = other === lane ? finished + i - 1 : finished - (i === 0 ? 1 : 0);
          const position = area - 1 - high(area, high(j1, j1));
          const start = pass === 0 || slice === SLICES - 1 ? 0 : (slice + 1) * segment;
          compress(block(lane, column), previous, block(other, (start + position) % columns), pass > 0);
        }
      }
    }
  }

  const last = new Uint32Array(WORDS);
  for (let lane = 0; lane < lanes; lane++) {
    block(lane, columns - 1).forEach((word, i) => last[i]! ^= word);
  }
  return longHash(u32(...last), length);
}

function wordsOf(bytes: Bytes): Uint32Array {
  const view = new DataView(bytes.buffer);
  return Uint32Array.from({ length: bytes.length >> 2 }, (_, i) => view.getUint32(4 * i, true));
}
