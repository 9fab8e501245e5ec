/**
 * The inner loops of Streamlined NTRU Prime as WebAssembly, written with the assembler at first use: in JavaScript they would take
 * ten times as long until they are compiled, and whoever dials one server never gets there. No I/O.
 *
 * No branch and no address depends on a coefficient, nothing is divided, and what is compiled stays as it is: what a loop does cannot
 * change with the values that it met, as it can in JavaScript.
 *
 * @module
 */
import {
  again,
  assemble,
  type Code,
  type FunctionSource,
  i32,
  type Local,
  type Locals,
  loop,
  loopWhile,
  type Operand,
  v128,
  ValueType,
  when,
} from "../cipher/wasm_assembler.ts";

/** The module's functions, on arrays of 32-bit integers. All pointers are offsets in bytes into its memory. */
export interface SntrupFunctions {
  /** Adds the product of the `count` numbers at `a`, a multiple of four, and `factor` to those at `out`. */
  addProduct(out: number, a: number, factor: number, count: number): void;
  /**
   * One division step for `count` coefficients, a multiple of four, modulo 4591: exchanges those at `f` and `g` where `swap` is -1 and
   * not 0, then puts `f0` g - `g0` f where g was, `shift` bytes lower.
   */
  stepQ(f: number, g: number, count: number, swap: number, f0: number, g0: number, shift: number): void;
  /** The same modulo 3. */
  step3(f: number, g: number, count: number, swap: number, f0: number, g0: number, shift: number): void;
  /** Puts the smaller first of the numbers `i` and `i + distance` at `values`, for each `i` below `limit` in which `bit` is `set`. */
  exchangePass(values: number, limit: number, distance: number, bit: number, set: number): void;
}

const bytes = (count: Operand): Code => i32.shl(count, i32.const(2));

const addProduct: FunctionSource = {
  name: "addProduct",
  parameters: 4,
  body([out, a, factor, count]: readonly [Local, Local, Local, Local], locals: Locals): Code {
    const factors = locals.new(ValueType.v128), end = locals.new(ValueType.i32);
    return [
      factors.set(v128.splat(factor)),
      end.set(i32.add(a, bytes(count))),
      loop(
        v128.store(out, v128.add(v128.load(out), v128.mul(v128.load(a), factors))),
        out.set(i32.add(out, i32.const(16))),
        again(i32.ltU(a.tee(i32.add(a, i32.const(16))), end)),
      ),
    ];
  },
};

/** What reduces four numbers at once: constants, which wait in locals, and steps, as modQ() and mod3() of sntrup761_rings.ts have them. */
interface Reduction {
  readonly constants: readonly number[];
  reduce(x: Local, constants: readonly Local[]): Code;
}

const modQ: Reduction = {
  constants: [4591, 57, 29235, 1 << 26],
  reduce: (x, [q, near, exact, half]: readonly Local[] & readonly [Local, Local, Local, Local]) => [
    x.set(v128.sub(x, v128.mul(q, v128.shrS(v128.mul(near, x), 18)))),
    x.set(v128.sub(x, v128.mul(q, v128.shrS(v128.add(v128.mul(exact, x), half), 27)))),
  ],
};
const mod3: Reduction = {
  constants: [3, 10923, 1 << 14],
  reduce: (x, [three, exact, half]: readonly Local[] & readonly [Local, Local, Local]) =>
    x.set(v128.sub(x, v128.mul(three, v128.shrS(v128.add(v128.mul(exact, x), half), 15)))),
};

function divisionStep(name: string, { constants, reduce }: Reduction): FunctionSource {
  return {
    name,
    parameters: 7,
    body([f, g, count, swap, f0, g0, shift]: readonly [Local, Local, Local, Local, Local, Local, Local], locals): Code {
      const [swaps, f0s, g0s, x, y, t] = locals.list(ValueType.v128, 6) as [Local, Local, Local, Local, Local, Local];
      const end = locals.new(ValueType.i32), kept = locals.list(ValueType.v128, constants.length);
      return [
        [swaps.set(v128.splat(swap)), f0s.set(v128.splat(f0)), g0s.set(v128.splat(g0))],
        constants.map((constant, i) => kept[i]!.set(v128.splat(i32.const(constant)))),
        end.set(i32.add(f, bytes(count))),
        loop(
          [x.set(v128.load(f)), y.set(v128.load(g))],
          t.set(v128.and(swaps, v128.xor(x, y))),
          [x.set(v128.xor(x, t)), y.set(v128.xor(y, t))],
          y.set(v128.sub(v128.mul(f0s, y), v128.mul(g0s, x))),
          reduce(y, kept),
          v128.store(f, x),
          v128.store(i32.sub(g, shift), y),
          g.set(i32.add(g, i32.const(16))),
          again(i32.ltU(f.tee(i32.add(f, i32.const(16))), end)),
        ),
      ];
    },
  };
}

const exchangePass: FunctionSource = {
  name: "exchangePass",
  parameters: 5,
  body([values, limit, distance, bit, set]: readonly [Local, Local, Local, Local, Local], locals: Locals): Code {
    const [i, other, a, b, t] = locals.list(ValueType.i32, 5) as [Local, Local, Local, Local, Local];
    return loopWhile(
      i32.ltU(i, limit),
      when(
        i32.eqz(i32.xor(i32.and(i, bit), set)),
        other.set(i32.add(values, bytes(distance))),
        [a.set(i32.load(values)), b.set(i32.load(other))],
        // The sign of b - a as if it could not overflow, in each bit, and with it what the two differ by.
        t.set(i32.sub(b, a)),
        t.set(i32.shrS(i32.xor(t, i32.and(i32.xor(a, b), i32.xor(t, b))), i32.const(31))),
        t.set(i32.and(t, i32.xor(a, b))),
        i32.store(values, i32.xor(a, t)),
        i32.store(other, i32.xor(b, t)),
      ),
      i.set(i32.add(i, i32.const(1))),
      values.set(i32.add(values, i32.const(4))),
    );
  },
};

/** Compiles and starts the module, with a memory of 64 KiB. */
export function instantiateSntrup(): { memory: Int32Array<ArrayBuffer>; functions: SntrupFunctions } {
  const functions = [addProduct, divisionStep("stepQ", modQ), divisionStep("step3", mod3), exchangePass];
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(assemble(1, functions)));
  const memory = new Int32Array((exports.memory as WebAssembly.Memory).buffer as ArrayBuffer);
  return { memory, functions: exports as unknown as SntrupFunctions };
}
