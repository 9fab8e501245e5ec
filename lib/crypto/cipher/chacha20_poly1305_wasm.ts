/**
 * ChaCha20 (the original with a 64-bit counter and a 64-bit nonce) and Poly1305 as WebAssembly, written with the
 * assembler at first use. RFC 8439 sections 2.3 to 2.5 for the steps. No I/O, no secrets in the code's control flow.
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
  i64,
  type Local,
  type Locals,
} from "./wasm_assembler.ts";
import { loop, loopWhile, type Operand, v128, ValueType, when } from "./wasm_assembler.ts";

/** The module's functions. All pointers are offsets into its memory. */
export interface ChachaFunctions {
  /**
   * XORs `length` bytes at `data` with the key stream of the 32-byte `key`, from block `counter` on. `nonce` points to the low
   * half of the nonce, as it stands on the wire; the high half is zero.
   */
  chacha20(key: number, nonce: number, counter: number, data: number, length: number): void;
  /** Writes 256 bytes of key stream, from block `counter` on, to `out`. */
  keystream(key: number, nonce: number, counter: number, out: number): void;
  /** The same for one word: XORs the first 4 bytes of block 0 for four nonces into the 16 bytes at `data`. */
  headers(key: number, nonces: number, data: number): void;
  /** XORs `length` bytes at `data` with those at `stream`. */
  xor(data: number, stream: number, length: number): void;
  /** Writes the 16-byte tag of `length` bytes at `data` under the 32-byte one-time `key`. */
  poly1305(key: number, data: number, length: number, tag: number): void;
  /**
   * First `chacha20()` with five parameters, then `poly1305()` with four, but side by side: ChaCha20 keeps the vector units busy,
   * and Poly1305 the others. Both together take no longer than ChaCha20 by itself. What is authenticated is either elsewhere
   * than `data`, or begins at least 256 bytes before it: by then it has been XORed.
   */
  chacha20Poly1305(
    key: number,
    nonce: number,
    counter: number,
    data: number,
    length: number,
    oneTimeKey: number,
    authenticated: number,
    authenticatedLength: number,
    tag: number,
  ): void;
}

/** Memory that the functions use themselves: 256 bytes of key stream and one padded block. */
const STREAM = 0;
const PADDED = 256;
/** First offset that callers may use. */
export const FREE = 272;

/** Bytes that come from one run of the four-lane block function. */
const GROUP = 256;

const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const;
const ROTATE_16 = [2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13];

function rotate(x: Local, bits: number): Code {
  if (bits === 16) return x.set(v128.shuffle(x, x, ROTATE_16));
  return x.set(v128.or(v128.shl(x, bits), v128.shrU(x, 32 - bits)));
}

/** RFC 8439 section 2.1, on four blocks at once. Four go in step, because each by itself waits for its own results. */
function quarterRounds(x: readonly Local[], quarters: readonly (readonly [number, number, number, number])[]): Code {
  const all = (step: (a: Local, b: Local, c: Local, d: Local) => Code) =>
    quarters.map(([a, b, c, d]) => step(x[a]!, x[b]!, x[c]!, x[d]!));
  const half = (first: number, second: number) => [
    [all((a, b) => a.set(v128.add(a, b))), all((a, _b, _c, d) => d.set(v128.xor(d, a)))],
    all((_a, _b, _c, d) => rotate(d, first)),
    [all((_a, _b, c, d) => c.set(v128.add(c, d))), all((_a, b, c) => b.set(v128.xor(b, c)))],
    all((_a, b) => rotate(b, second)),
  ];
  return [half(16, 12), half(8, 7)];
}

/**
 * Sets the state and runs the twenty rounds; `initial[i]` is word i in four lanes, evaluated once more by the caller. `beside`
 * is run sixteen times on the way.
 */
function rounds(x: readonly Local[], initial: readonly Code[], turns: Local, beside: Code | null = null): Code {
  const columns = quarterRounds(x, [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]);
  const diagonals = quarterRounds(x, [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]]);
  const next = again(turns.tee(i32.sub(turns, i32.const(1))));
  const start = x.map((word, i) => word.set(initial[i]!));
  if (beside === null) return [start, turns.set(i32.const(10)), loop(columns, diagonals, next)];
  return [
    [start, turns.set(i32.const(8)), loop(columns, beside, diagonals, beside, next)],
    [columns, diagonals, columns, diagonals],
  ];
}

/** Words 0 to 11: the constants and the key. */
function keyWords(key: Local): Code[] {
  const constants = CONSTANTS.map((word) => v128.const([word, word, word, word]));
  return [...constants, ...Array.from({ length: 8 }, (_, i) => v128.load32Splat(key, 4 * i))];
}

const ZERO = v128.const([0, 0, 0, 0]);
const LOW_32 = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
const HIGH_32 = [8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31];
const LOW_64 = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const HIGH_64 = [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31];

/** XORs words `4g` to `4g + 3` of the four blocks into `data`: lanes become rows, rows become lanes. */
function xorRows(data: Local, row: number, words: readonly Local[], t: readonly Local[]): Code {
  const [a, b, c, d] = words as [Local, Local, Local, Local];
  const [t0, t1, t2, t3] = t as [Local, Local, Local, Local];
  const put = (block: number, value: Code) => {
    const offset = 64 * block + 16 * row;
    return v128.store(data, v128.xor(v128.load(data, offset), value), offset);
  };
  return [
    t0.set(v128.shuffle(a, b, LOW_32)),
    t1.set(v128.shuffle(c, d, LOW_32)),
    t2.set(v128.shuffle(a, b, HIGH_32)),
    t3.set(v128.shuffle(c, d, HIGH_32)),
    put(0, v128.shuffle(t0, t1, LOW_64)),
    put(1, v128.shuffle(t0, t1, HIGH_64)),
    put(2, v128.shuffle(t2, t3, LOW_64)),
    put(3, v128.shuffle(t2, t3, HIGH_64)),
  ];
}

/** XORs one group of four blocks into `data`, and runs `beside` sixteen times on the way. */
function xorGroup(
  [key, nonce, counter, data]: readonly [Local, Local, Local, Local],
  locals: Locals,
  beside: Code | null = null,
): Code {
  const x = locals.list(ValueType.v128, 16), t = locals.list(ValueType.v128, 4), turns = locals.new(ValueType.i32);
  const initial = [
    ...keyWords(key),
    v128.add(v128.splat(counter), v128.const([0, 1, 2, 3])),
    ZERO,
    ZERO,
    v128.load32Splat(nonce),
  ];
  return [
    rounds(x, initial, turns, beside),
    x.map((word, i) => i === 13 || i === 14 ? [] : word.set(v128.add(word, initial[i]!))),
    [0, 1, 2, 3].map((row) => xorRows(data, row, x.slice(4 * row, 4 * row + 4), t)),
  ];
}

const group: FunctionSource = {
  name: "group",
  parameters: 4,
  body: (parameters: readonly [Local, Local, Local, Local], locals: Locals) => xorGroup(parameters, locals),
};

const GROUP_INDEX = 0, KEYSTREAM_INDEX = 1, XOR_INDEX = 2, CHACHA20_INDEX = 3;

const keystream: FunctionSource = {
  name: "keystream",
  parameters: 4,
  body([key, nonce, counter, out]: readonly [Local, Local, Local, Local]): Code {
    const zero = Array.from({ length: GROUP / 16 }, (_, i) => v128.store(out, ZERO, 16 * i));
    return [zero, call(GROUP_INDEX, key, nonce, counter, out)];
  },
};

const xor: FunctionSource = {
  name: "xor",
  parameters: 3,
  body([data, stream, length]: readonly [Local, Local, Local]): Code {
    const stepWhile = (size: number, step: Code) =>
      loopWhile(
        i32.geU(length, i32.const(size)),
        step,
        data.set(i32.add(data, i32.const(size))),
        stream.set(i32.add(stream, i32.const(size))),
        length.set(i32.sub(length, i32.const(size))),
      );
    const sixteen = (at: number) => v128.store(data, v128.xor(v128.load(data, at), v128.load(stream, at)), at);
    return [
      stepWhile(64, [0, 16, 32, 48].map(sixteen)),
      stepWhile(16, sixteen(0)),
      stepWhile(4, i32.store(data, i32.xor(i32.load(data), i32.load(stream)))),
      stepWhile(1, i32.store8(data, i32.xor(i32.load8U(data), i32.load8U(stream)))),
    ];
  },
};

const chacha20: FunctionSource = {
  name: "chacha20",
  parameters: 5,
  body([key, nonce, counter, data, length]: readonly [Local, Local, Local, Local, Local]): Code {
    return [
      loopWhile(
        i32.geU(length, i32.const(GROUP)),
        call(GROUP_INDEX, key, nonce, counter, data),
        counter.set(i32.add(counter, i32.const(4))),
        data.set(i32.add(data, i32.const(GROUP))),
        length.set(i32.sub(length, i32.const(GROUP))),
      ),
      when(
        length,
        call(KEYSTREAM_INDEX, key, nonce, counter, i32.const(STREAM)),
        call(XOR_INDEX, data, i32.const(STREAM), length),
      ),
    ];
  },
};

const headers: FunctionSource = {
  name: "headers",
  parameters: 3,
  body([key, nonces, data]: readonly [Local, Local, Local], locals: Locals): Code {
    const x = locals.list(ValueType.v128, 16), turns = locals.new(ValueType.i32);
    const initial = [...keyWords(key), ZERO, ZERO, ZERO, v128.load(nonces)];
    const first = v128.add(x[0]!, initial[0]!);
    return [rounds(x, initial, turns), v128.store(data, v128.xor(v128.load(data), first))];
  },
};

const MASK = i64.const(0xffff_ffffn);
const low = (a: Operand) => i64.and(a, MASK);
const high = (a: Operand) => i64.shrU(a, i64.const(32n));
/** 34 of an accumulator's 130 bits are in its topmost word: those, and five times what is above them, for the lowest word. */
const lowTop = (a: Operand) => i64.and(a, i64.const(0x3_ffff_ffffn));
const wrapped = (a: Operand) => i64.mul(i64.shrU(a, i64.const(34n)), i64.const(5n));
/** The 1 above a whole block, as it stands in the topmost word. */
const ABOVE = i64.const(1n << 32n);
const sum = (...terms: Code[]) => terms.reduce((a, b) => i64.add(a, b));

/** Carries from each word into the one above. */
const propagate = (words: readonly Local[]) =>
  [0, 1, 2].map((i) => [
    words[i + 1]!.set(i64.add(words[i + 1]!, high(words[i]!))),
    words[i]!.set(low(words[i]!)),
  ]);

/** Poly1305 as parts of a function's body, in this order. */
interface Authenticator {
  /** Takes the key. */
  readonly start: Code;
  /** Takes 16 bytes of data and moves on. The length is left to the caller. */
  readonly block: Code;
  /** Takes what is left of the data and writes the tag. */
  readonly finish: Code;
}

/**
 * RFC 8439 section 2.5, with the accumulator as h0 + h1 2^32 + h2 2^64 + h3 2^96.
 *
 * Clamping makes r0 to r3 smaller than 2^28, and r1 to r3 multiples of 4. As 2^130 = 5 modulo p, 2^128 r_i = r_i 5/4 = s_i.
 * Between blocks h0 < 2.05 2^32, h1 and h2 < 2^32, h3 < 2^34. A block adds less than 2^32 to each and 2^32 more to h3, so that
 * d0 to d3, with their carries of 2^32, stay below (3.05 + 1.25 (2 + 2 + 6)) 2^60 + 2^32 < 2^64. d3 has no s_i in it and stays
 * below 13.1 2^60: what is above its 34 bits, times five, is less than 1.05 2^32 for h0.
 */
function authenticator(
  [key, data, length, tag]: readonly [Local, Local, Local, Local],
  locals: Locals,
): Authenticator {
  const [r0, r1, r2, r3, s1, s2, s3, h0, h1, h2, h3, d0, d1, d2, d3, last] = locals.list(ValueType.i64, 16) as [
    ...[Local, Local, Local, Local, Local, Local, Local, Local],
    ...[Local, Local, Local, Local, Local, Local, Local, Local],
  ];
  const padded = locals.new(ValueType.i32);
  const h = [h0, h1, h2, h3], d = [d0, d1, d2, d3];
  const clamped = (offset: number, mask: bigint) => i64.and(i64.load32U(key, offset), i64.const(mask));
  const s = (r: Local) => i64.add(r, i64.shrU(r, i64.const(2n)));

  /** Adds a block, with `one` for what is above it, and multiplies by r. */
  const step = (one: Operand): Code => [
    [d0.set(i64.load(data)), d1.set(i64.load(data, 8))],
    [h0.set(i64.add(h0, low(d0))), h1.set(i64.add(h1, high(d0))), h2.set(i64.add(h2, low(d1)))],
    h3.set(i64.add(h3, i64.add(high(d1), one))),
    d0.set(sum(i64.mul(h1, s3), i64.mul(h2, s2), i64.mul(h3, s1), i64.mul(h0, r0))),
    d1.set(sum(i64.mul(h1, r0), i64.mul(h2, s3), i64.mul(h3, s2), i64.mul(h0, r1))),
    d2.set(sum(i64.mul(h1, r1), i64.mul(h2, r0), i64.mul(h3, s3), i64.mul(h0, r2))),
    d3.set(sum(i64.mul(h1, r2), i64.mul(h2, r1), i64.mul(h3, r0), i64.mul(h0, r3))),
    [d1.set(i64.add(d1, high(d0))), d2.set(i64.add(d2, high(d1))), d3.set(i64.add(d3, high(d2)))],
    h0.set(i64.add(low(d0), wrapped(d3))),
    [h1.set(low(d1)), h2.set(low(d2)), h3.set(lowTop(d3))],
    data.set(i32.add(data, i32.const(16))),
  ];

  /** The last block, when it is not whole: its bytes, a 1, zeros. Afterwards the data is that block, 16 bytes long. */
  const pad: Code = [
    v128.store(i32.const(PADDED), ZERO),
    padded.set(i32.const(PADDED)),
    loopWhile(
      length,
      i32.store8(padded, i32.load8U(data)),
      data.set(i32.add(data, i32.const(1))),
      padded.set(i32.add(padded, i32.const(1))),
      length.set(i32.sub(length, i32.const(1))),
    ),
    i32.store8(padded, i32.const(1)),
    data.set(i32.const(PADDED)),
    length.set(i32.const(16)),
    last.set(i64.const(0n)),
  ];

  return {
    start: [
      [r0.set(clamped(0, 0x0fff_ffffn)), r1.set(clamped(4, 0x0fff_fffcn))],
      [r2.set(clamped(8, 0x0fff_fffcn)), r3.set(clamped(12, 0x0fff_fffcn))],
      [s1.set(s(r1)), s2.set(s(r2)), s3.set(s(r3))],
    ],
    block: step(ABOVE),
    finish: [
      last.set(ABOVE),
      loopWhile(
        length,
        when(i32.ltU(length, i32.const(16)), pad),
        step(last),
        length.set(i32.sub(length, i32.const(16))),
      ),
      // Below 2^130 + 2^4 after this, and so below 2p.
      propagate(h),
      [h0.set(i64.add(h0, wrapped(h3))), h3.set(lowTop(h3))],
      propagate(h),
      // h + 5 has bit 130 set exactly if h is not below p = 2^130 - 5; then h - p = (h + 5) modulo 2^130.
      d.map((word, i) => word.set(i === 0 ? i64.add(h0, i64.const(5n)) : h[i]!)),
      propagate(d),
      last.set(i64.sub(i64.const(0n), i64.shrU(d3, i64.const(34n)))),
      h.map((word, i) => word.set(i64.xor(word, i64.and(last, i64.xor(word, d[i]!))))),
      [0, 1, 2, 3].map((i) => h[i]!.set(i64.add(h[i]!, i64.load32U(key, 16 + 4 * i)))),
      propagate(h),
      [0, 1, 2, 3].map((i) => i64.store32(tag, h[i]!, 4 * i)),
    ],
  };
}

const poly1305: FunctionSource = {
  name: "poly1305",
  parameters: 4,
  body(parameters: readonly [Local, Local, Local, Local], locals: Locals): Code {
    const { start, finish } = authenticator(parameters, locals);
    return [start, finish];
  },
};

const chacha20Poly1305: FunctionSource = {
  name: "chacha20Poly1305",
  parameters: 9,
  body(
    [key, nonce, counter, data, length, ...authentication]: readonly [
      ...[Local, Local, Local, Local, Local],
      ...[Local, Local, Local, Local],
    ],
    locals: Locals,
  ): Code {
    const { start, block, finish } = authenticator(authentication, locals), authenticated = authentication[2];
    return [
      start,
      loopWhile(
        i32.and(i32.geU(length, i32.const(GROUP)), i32.geU(authenticated, i32.const(GROUP))),
        xorGroup([key, nonce, counter, data], locals, block),
        counter.set(i32.add(counter, i32.const(4))),
        data.set(i32.add(data, i32.const(GROUP))),
        length.set(i32.sub(length, i32.const(GROUP))),
        authenticated.set(i32.sub(authenticated, i32.const(GROUP))),
      ),
      call(CHACHA20_INDEX, key, nonce, counter, data, length),
      finish,
    ];
  },
};

/** Compiles and starts the module with a memory of `pages` times 64 KiB. */
export function instantiateChacha(pages: number): { memory: Uint8Array<ArrayBuffer>; functions: ChachaFunctions } {
  const module = new WebAssembly.Module(
    assemble(pages, [group, keystream, xor, chacha20, headers, poly1305, chacha20Poly1305]),
  );
  const { exports } = new WebAssembly.Instance(module);
  const memory = new Uint8Array((exports.memory as WebAssembly.Memory).buffer as ArrayBuffer);
  return { memory, functions: exports as unknown as ChachaFunctions };
}
