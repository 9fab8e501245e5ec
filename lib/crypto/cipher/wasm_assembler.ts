/**
 * Writes a WebAssembly module (core specification 2.0, binary format) from nested expressions. Knows the few
 * instructions that this library uses, and nothing of cryptography. No I/O.
 *
 * An operand is a {@linkcode Local} or {@linkcode Code}; each helper puts its operands before its own opcode, so that
 * `i32.add(a, b)` reads as it runs.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";

/** Instructions in binary form, nested as they were written. */
export type Code = readonly (number | Uint8Array | Code)[];

/** Types of locals and results, by their binary codes. */
export const ValueType = { i32: 0x7f, i64: 0x7e, v128: 0x7b } as const;

/** A local variable or parameter of a function. */
export class Local {
  /** Its index. */
  readonly index: number;
  /** Names the local with that index. */
  constructor(index: number) {
    this.index = index;
  }
  /** Assigns `value`. */
  set(value: Operand): Code {
    return [code(value), 0x21, unsigned(this.index)];
  }
  /** Assigns `value` and leaves it on the stack. */
  tee(value: Operand): Code {
    return [code(value), 0x22, unsigned(this.index)];
  }
}

/** What an instruction takes. */
export type Operand = Local | Code;

function code(operand: Operand): Code {
  return operand instanceof Local ? [0x20, unsigned(operand.index)] : operand;
}

/** LEB128 of a number from 0 to 2^32 - 1. */
function unsigned(value: number): number | Code {
  return value < 128 ? value : [value % 128 | 0x80, unsigned(Math.floor(value / 128))];
}

/** Signed LEB128. */
function signed(value: bigint): number | Code {
  const low = Number(value & 0x7fn);
  return value >= -64n && value < 64n ? low : [low | 0x80, signed(value >> 7n)];
}

type Binary = (a: Operand, b: Operand) => Code;
type Load = (pointer: Operand, offset?: number) => Code;
type Store = (pointer: Operand, value: Operand, offset?: number) => Code;

function binary(opcode: number): Binary {
  return (a, b) => [code(a), code(b), opcode];
}

/** Loads and stores promise no alignment: the second byte is the exponent, always 0. */
function load(...opcode: number[]): Load {
  return (pointer, offset = 0) => [code(pointer), opcode, 0, unsigned(offset)];
}

function store(...opcode: number[]): Store {
  return (pointer, value, offset = 0) => [code(pointer), code(value), opcode, 0, unsigned(offset)];
}

/** Instructions on 32-bit integers. */
export const i32 = {
  const: (value: number): Code => [0x41, signed(BigInt(value | 0))],
  add: binary(0x6a),
  sub: binary(0x6b),
  and: binary(0x71),
  or: binary(0x72),
  xor: binary(0x73),
  shl: binary(0x74),
  shrS: binary(0x75),
  ltU: binary(0x49),
  geU: binary(0x4f),
  eqz: (a: Operand): Code => [code(a), 0x45],
  load: load(0x28),
  load8U: load(0x2d),
  store: store(0x36),
  store8: store(0x3a),
} as const;

/** Instructions on 64-bit integers. */
export const i64 = {
  const: (value: bigint): Code => [0x42, signed(BigInt.asIntN(64, value))],
  add: binary(0x7c),
  sub: binary(0x7d),
  mul: binary(0x7e),
  and: binary(0x83),
  or: binary(0x84),
  xor: binary(0x85),
  shl: binary(0x86),
  shrU: binary(0x88),
  load: load(0x29),
  load32U: load(0x35),
  store: store(0x37),
  store32: store(0x3e),
} as const;

function simd(opcode: number): Code {
  return [0xfd, unsigned(opcode)];
}

function simdBinary(opcode: number): Binary {
  return (a, b) => [code(a), code(b), simd(opcode)];
}

/** Instructions on 128-bit vectors, mostly as four 32-bit integers. */
export const v128 = {
  const: (words: readonly [number, number, number, number]): Code => [
    simd(12),
    words.map((word) => [word & 0xff, word >>> 8 & 0xff, word >>> 16 & 0xff, word >>> 24]),
  ],
  load: load(0xfd, 0),
  store: store(0xfd, 11),
  load32Splat: load(0xfd, 9),
  splat: (a: Operand): Code => [code(a), simd(17)],
  add: simdBinary(0xae),
  sub: simdBinary(0xb1),
  mul: simdBinary(0xb5),
  and: simdBinary(0x4e),
  or: simdBinary(0x50),
  xor: simdBinary(0x51),
  shl: (a: Operand, bits: number): Code => [code(a), i32.const(bits), simd(0xab)],
  shrS: (a: Operand, bits: number): Code => [code(a), i32.const(bits), simd(0xac)],
  shrU: (a: Operand, bits: number): Code => [code(a), i32.const(bits), simd(0xad)],
  /** Picks 16 bytes of `a` by the indices in `b`; 0 where one is above 15. */
  swizzle: simdBinary(14),
  /** Picks 16 bytes by index from the 32 of `a` and `b`. */
  shuffle: (a: Operand, b: Operand, lanes: readonly number[]): Code => [code(a), code(b), simd(13), lanes],
} as const;

/** Runs `body` until it falls through; `again` inside it starts over. */
export function loop(...body: Code[]): Code {
  return [0x03, 0x40, body, 0x0b];
}

/** Starts the innermost {@linkcode loop} over if `condition` is not zero. Not to be used within a {@linkcode when}. */
export function again(condition: Operand): Code {
  return [code(condition), 0x0d, 0];
}

/** Runs `body` if `condition` is not zero. */
export function when(condition: Operand, ...body: Code[]): Code {
  return [code(condition), 0x04, 0x40, body, 0x0b];
}

/** Runs `body` as long as `condition` is not zero. */
export function loopWhile(condition: Operand, ...body: Code[]): Code {
  return when(condition, loop(...body, again(condition)));
}

/** Calls the function with that index in the module. */
export function call(index: number, ...operands: Operand[]): Code {
  return [operands.map(code), 0x10, unsigned(index)];
}

/** Hands out the locals of one function. */
export class Locals {
  readonly #types: number[] = [];
  readonly #parameters: number;
  /** Starts after that many parameters. */
  constructor(parameters: number) {
    this.#parameters = parameters;
  }
  /** A new local of a {@linkcode ValueType}. */
  new(type: number): Local {
    return new Local(this.#parameters + this.#types.push(type) - 1);
  }
  /** New locals of one type. */
  list(type: number, count: number): Local[] {
    return Array.from({ length: count }, () => this.new(type));
  }
  /** Their declaration in binary form. */
  get declaration(): Code {
    return [unsigned(this.#types.length), this.#types.map((type) => [1, type])];
  }
}

/** A function that takes `i32` values and returns none. */
export interface FunctionSource {
  /** Name it is exported by. */
  readonly name: string;
  /** Count of its parameters. */
  readonly parameters: number;
  /** Writes its body. */
  body(parameters: readonly Local[], locals: Locals): Code;
}

function section(id: number, content: Code): Code {
  const bytes = flat(content);
  return [id, unsigned(bytes.length), bytes];
}

let sink = new Uint8Array(16_384);

/** Puts `source` into {@linkcode sink} at `length`, and returns where it ends. Runs once and cold, so loops are plain. */
function append(source: Code, length: number): number {
  for (let i = 0; i < source.length; i++) {
    const item = source[i]!;
    if (typeof item === "number") {
      if (length === sink.length) grow(length + 1);
      sink[length++] = item;
    } else if (item instanceof Uint8Array) {
      if (length + item.length > sink.length) grow(length + item.length);
      sink.set(item, length);
      length += item.length;
    } else length = append(item, length);
  }
  return length;
}

function grow(length: number): void {
  const grown = new Uint8Array(2 * length);
  grown.set(sink);
  sink = grown;
}

function flat(source: Code): Bytes {
  const length = append(source, 0);
  return sink.slice(0, length);
}

function text(value: string): Code {
  return [unsigned(value.length), [...value].map((c) => c.charCodeAt(0))];
}

/** A module with one memory of exactly `pages` times 64 KiB, exported as `memory`, and `functions` in that order. */
export function assemble(pages: number, functions: readonly FunctionSource[]): Bytes {
  const bodies = functions.map((source) => {
    const locals = new Locals(source.parameters);
    const parameters = Array.from({ length: source.parameters }, (_, index) => new Local(index));
    const body = source.body(parameters, locals);
    const bytes = flat([locals.declaration, body, 0x0b]);
    return [unsigned(bytes.length), bytes];
  });
  const count = unsigned(functions.length);
  return flat([
    [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    section(1, [
      count,
      functions.map((source) => [0x60, unsigned(source.parameters), Array(source.parameters).fill(ValueType.i32), 0]),
    ]),
    section(3, [count, functions.map((_, index) => unsigned(index))]),
    section(5, [1, 1, unsigned(pages), unsigned(pages)]),
    section(7, [
      unsigned(functions.length + 1),
      [text("memory"), 2, 0],
      functions.map((source, index) => [text(source.name), 0, unsigned(index)]),
    ]),
    section(10, [count, bodies]),
  ]);
}

/** Whether WebAssembly is there: a page whose content security policy does not allow it has none. */
export function hasWebAssembly(): boolean {
  try {
    return new WebAssembly.Module(assemble(1, [])) instanceof WebAssembly.Module;
  } catch {
    return false;
  }
}
