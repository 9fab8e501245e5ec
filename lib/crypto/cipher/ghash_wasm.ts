/**
 * GHASH (NIST SP 800-38D section 6.4) as WebAssembly, written with the assembler at first use. RFC 5647 section 7. No I/O, no secrets
 * in addresses or in the control flow.
 *
 * Sixteen blocks are hashed side by side. They lie turned: vector i holds byte i of all sixteen. Multiplying by a constant of the field
 * is linear, so that each half of a byte adds to each byte of the product what one vector of sixteen bytes has for it, and a vector is
 * looked up in by a shuffle, sixteen times at once.
 *
 * @module
 */
import {
  again,
  assemble,
  call,
  type Code,
  type FunctionSource,
  i32,
  type Local,
  type Locals,
  loop,
  loopWhile,
  v128,
  ValueType,
} from "./wasm_assembler.ts";

/** The module's functions. All pointers are offsets into its memory. */
export interface GhashFunctions {
  /**
   * Writes the hash of `length` bytes at `data`, whole groups of {@linkcode GROUP} bytes, to `out`. Zeros ahead of what is to be
   * hashed change nothing. `tables` points to {@linkcode TABLES} bytes.
   */
  ghash(tables: number, data: number, length: number, out: number): void;
  /** XORs `length` bytes at `data`, whole blocks of 16, with those at `stream`. */
  xor(data: number, stream: number, length: number): void;
}

/** Bytes hashed side by side. */
export const GROUP = 256;
/** Bytes of one multiplier's table: a vector for each half byte of a factor and each byte of the product. */
const TABLE = 32 * 16 * 16;
/** By which powers of H the tables multiply, in their order. */
const POWERS = 5;
/** Bytes of all tables of a key. */
export const TABLES = POWERS * TABLE;

/** The sixteen sums, turned, what is being multiplied, and what is added after that. */
const SUMS = 0;
const FACTORS = 256;
const KEPT = 512;
/** First offset that callers may use. */
export const FREE = 768;

const LOW = v128.const([0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f]);
const ZERO = v128.const([0, 0, 0, 0]);
const LOW_BYTES = [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23];
const HIGH_BYTES = [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31];
const SIXTEEN = Array.from({ length: 16 }, (_, i) => i);
const AT_SUMS = i32.const(SUMS);

/** The sums become their products with the number whose table that is. */
const multiply: FunctionSource = {
  name: "multiply",
  parameters: 1,
  body([table]: readonly [Local], locals: Locals): Code {
    const product = locals.list(ValueType.v128, 16);
    const [factor, low, high] = locals.list(ValueType.v128, 3) as [Local, Local, Local];
    const at = locals.new(ValueType.i32);
    return [
      SIXTEEN.map((i) => v128.store(AT_SUMS, v128.load(AT_SUMS, 16 * i), FACTORS + 16 * i)),
      product.map((byte) => byte.set(ZERO)),
      at.set(i32.const(FACTORS)),
      loop(
        factor.set(v128.load(at)),
        low.set(v128.and(factor, LOW)),
        high.set(v128.and(v128.shrU(factor, 4), LOW)),
        product.map((byte, i) =>
          byte.set(v128.xor(
            byte,
            v128.xor(
              v128.swizzle(v128.load(table, 32 * i), low),
              v128.swizzle(v128.load(table, 32 * i + 16), high),
            ),
          ))
        ),
        table.set(i32.add(table, i32.const(512))),
        at.set(i32.add(at, i32.const(16))),
        again(i32.ltU(at, i32.const(FACTORS + 256))),
      ),
      product.map((byte, i) => v128.store(AT_SUMS, byte, 16 * i)),
    ];
  },
};

/** Adds sixteen blocks to the sums. */
const add: FunctionSource = {
  name: "add",
  parameters: 1,
  body([data]: readonly [Local], locals: Locals): Code {
    const x = locals.list(ValueType.v128, 16), y = locals.list(ValueType.v128, 16);
    const steps: Code[] = [x.map((block, i) => block.set(v128.load(data, 16 * i)))];
    // Four rounds in which neighbours come from either half turn rows into columns.
    for (const [from, to] of [[x, y], [y, x], [x, y], [y, x]] as const) {
      for (let i = 0; i < 8; i++) {
        steps.push(to[2 * i]!.set(v128.shuffle(from[i]!, from[i + 8]!, LOW_BYTES)));
        steps.push(to[2 * i + 1]!.set(v128.shuffle(from[i]!, from[i + 8]!, HIGH_BYTES)));
      }
    }
    return [steps, x.map((byte, i) => v128.store(AT_SUMS, v128.xor(v128.load(AT_SUMS, 16 * i), byte), 16 * i))];
  },
};

const [MULTIPLY, ADD] = [0, 1];

const ghash: FunctionSource = {
  name: "ghash",
  parameters: 4,
  body([tables, data, length, out]: readonly [Local, Local, Local, Local]): Code {
    const table = (i: number) => i32.add(tables, i32.const(i * TABLE));
    /** Sum i of `count` times H^count, and sum i + count: half as many are left. */
    const fold = (count: number, i: number): Code => {
      const later = Array.from({ length: 16 }, (_, byte) => byte + count < 16 ? byte + count : 16);
      return [
        SIXTEEN.map((k) => v128.store(AT_SUMS, v128.load(AT_SUMS, 16 * k), KEPT + 16 * k)),
        call(MULTIPLY, table(i)),
        SIXTEEN.map((k) =>
          v128.store(
            AT_SUMS,
            v128.xor(v128.load(AT_SUMS, 16 * k), v128.shuffle(v128.load(AT_SUMS, KEPT + 16 * k), ZERO, later)),
            16 * k,
          )
        ),
      ];
    };
    return [
      SIXTEEN.map((i) => v128.store(AT_SUMS, ZERO, 16 * i)),
      call(ADD, data),
      loopWhile(
        i32.ltU(i32.const(GROUP), length),
        call(MULTIPLY, table(0)),
        data.set(i32.add(data, i32.const(GROUP))),
        length.set(i32.sub(length, i32.const(GROUP))),
        call(ADD, data),
      ),
      [fold(8, 1), fold(4, 2), fold(2, 3), fold(1, 4)],
      call(MULTIPLY, table(4)),
      SIXTEEN.map((i) => i32.store8(out, i32.load8U(AT_SUMS, 16 * i), i)),
    ];
  },
};

const xor: FunctionSource = {
  name: "xor",
  parameters: 3,
  body([data, stream, length]: readonly [Local, Local, Local]): Code {
    return loopWhile(
      length,
      v128.store(data, v128.xor(v128.load(data), v128.load(stream))),
      data.set(i32.add(data, i32.const(16))),
      stream.set(i32.add(stream, i32.const(16))),
      length.set(i32.sub(length, i32.const(16))),
    );
  },
};

/** Compiles and starts the module with a memory of `pages` times 64 KiB. */
export function instantiateGhash(pages: number): { memory: Uint8Array<ArrayBuffer>; functions: GhashFunctions } {
  const module = new WebAssembly.Module(assemble(pages, [multiply, add, ghash, xor]));
  const { exports } = new WebAssembly.Instance(module);
  const memory = new Uint8Array((exports.memory as WebAssembly.Memory).buffer as ArrayBuffer);
  return { memory, functions: exports as unknown as GhashFunctions };
}

/** The factor times x, in the order of bits of GCM: the first byte's highest bit stands for 1. */
function timesX(words: Uint32Array): void {
  const [a, b, c, d] = words as unknown as [number, number, number, number];
  words[0] = a >>> 1 ^ (0xe1000000 & -(d & 1));
  words[1] = b >>> 1 | a << 31;
  words[2] = c >>> 1 | b << 31;
  words[3] = d >>> 1 | c << 31;
}

/** The tables of the hash key `h`: what multiplies by H^16, H^8, H^4, H^2 and H. Takes the same time for any key. */
export function ghashTables(h: Uint8Array): Uint8Array<ArrayBuffer> {
  const tables = new Uint8Array(TABLES), view = new DataView(h.buffer, h.byteOffset, 16);
  const power = Uint32Array.from({ length: 4 }, (_, i) => view.getUint32(4 * i));
  const shifted = new Uint32Array(4), square = new Uint32Array(4);
  for (let p = POWERS - 1; p >= 0; p--) {
    shifted.set(power);
    square.fill(0);
    for (let bit = 0; bit < 128; bit++) {
      const mask = -(power[bit >> 5]! >>> (31 - (bit & 31)) & 1);
      for (let word = 0; word < 4; word++) square[word]! ^= shifted[word]! & mask;
      const byte = bit >> 3, low = (bit & 7) >> 2, weight = 8 >> (bit & 3);
      for (let k = 0; k < 16; k++) {
        const value = shifted[k >> 2]! >>> (24 - 8 * (k & 3)) & 0xff;
        const vector = p * TABLE + 32 * (16 * byte + k) + 16 * (1 - low);
        for (let n = weight; n < 16; n = n + 1 | weight) tables[vector + n]! ^= value;
      }
      timesX(shifted);
    }
    power.set(square);
  }
  return tables;
}
