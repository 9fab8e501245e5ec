import { assertEquals } from "@std/assert";
import {
  assemble,
  call,
  hasWebAssembly,
  i32,
  i64,
  loopWhile,
  v128,
  when,
} from "../../lib/crypto/cipher/wasm_assembler.ts";
import type { Code, FunctionSource, Local } from "../../lib/crypto/cipher/wasm_assembler.ts";
import { ValueType } from "../../lib/crypto/cipher/wasm_assembler.ts";

function run(...functions: FunctionSource[]) {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(assemble(1, functions)));
  const memory = exports.memory as WebAssembly.Memory;
  return {
    memory,
    view: new DataView(memory.buffer),
    exports: exports as unknown as Record<string, (...args: number[]) => void>,
  };
}

function plain(name: string, body: Code): FunctionSource {
  return { name, parameters: 0, body: () => body };
}

Deno.test("assemble() writes constants of all sizes", () => {
  const words = [0, 1, -1, 63, 64, -64, -65, 8191, 8192, -8193, 2 ** 31 - 1, -(2 ** 31), 0xffffffff];
  const longs = [0n, 63n, 64n, -64n, -65n, 0xffffffffn, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 64n - 1n];
  const { view, exports } = run(
    plain("words", words.map((word, i) => i32.store(i32.const(0), i32.const(word), 4 * i))),
    plain("longs", longs.map((long, i) => i64.store(i32.const(0), i64.const(long), 1000 + 8 * i))),
    plain("vector", v128.store(i32.const(2000), v128.const([1, 0xffffffff, 0x80000000, 0x01020304]))),
  );
  for (const name of ["words", "longs", "vector"]) exports[name]!();
  words.forEach((word, i) => assertEquals(view.getUint32(4 * i, true), word >>> 0));
  longs.forEach((long, i) => assertEquals(view.getBigUint64(1000 + 8 * i, true), BigInt.asUintN(64, long)));
  assertEquals([0, 4, 8, 12].map((i) => view.getUint32(2000 + i, true)), [1, 0xffffffff, 0x80000000, 0x01020304]);
});

Deno.test("assemble() writes loops, conditions, calls and locals", () => {
  const sum: FunctionSource = {
    name: "sum",
    parameters: 2,
    body([from, out]: readonly [Local, Local], locals) {
      const total = locals.new(ValueType.i32);
      return [
        loopWhile(from, total.set(i32.add(total, from)), from.set(i32.sub(from, i32.const(1)))),
        i32.store(out, total),
      ];
    },
  };
  const twice: FunctionSource = {
    name: "twice",
    parameters: 1,
    body: ([from]: readonly [Local]) => [call(0, from, i32.const(8)), when(from, call(0, from, i32.const(300)))],
  };
  const { memory, view, exports } = run(sum, twice);
  exports.twice!(100);
  assertEquals([view.getUint32(8, true), view.getUint32(300, true)], [5050, 5050]);
  exports.sum!(0, 8);
  assertEquals(view.getUint32(8, true), 0);
  assertEquals(memory.buffer.byteLength, 65_536);
});

Deno.test("assemble() writes functions of any length", () => {
  for (const count of [0, 10, 3000, 20_000]) {
    const add: FunctionSource = {
      name: "add",
      parameters: 1,
      body: ([out]: readonly [Local], locals) => {
        const total = locals.new(ValueType.i32);
        const steps = Array.from({ length: count }, (_, i) => total.set(i32.add(total, i32.const(i))));
        return [steps, i32.store(out, total)];
      },
    };
    const { view, exports } = run(plain("before", []), add, plain("after", i32.store(i32.const(0), i32.const(7))));
    exports.add!(100);
    exports.after!();
    assertEquals([view.getUint32(100, true), view.getUint32(0, true)], [count * (count - 1) / 2, 7]);
  }
});

Deno.test("assemble() writes shifts, and arithmetic of vectors with signs", () => {
  const { view, exports } = run(
    plain("numbers", [
      i32.store(i32.const(0), i32.shl(i32.const(-3), i32.const(4))),
      i32.store(i32.const(0), i32.shrS(i32.const(-100), i32.const(3)), 4),
    ]),
    plain("vectors", [
      v128.store(i32.const(0), v128.mul(v128.const([-3, 5, 0, 65_536]), v128.const([7, -5, 1, 65_536])), 16),
      v128.store(i32.const(0), v128.sub(v128.const([1, 2, 3, 4]), v128.const([4, 3, 2, 1])), 32),
      v128.store(i32.const(0), v128.shrS(v128.const([-100, 100, -1, 1]), 3), 48),
      v128.store(i32.const(0), v128.and(v128.const([-1, 12, 0, 5]), v128.const([7, 10, 3, -2])), 64),
    ]),
  );
  exports.numbers!();
  exports.vectors!();
  const four = (at: number) => [0, 4, 8, 12].map((offset) => view.getInt32(at + offset, true));
  assertEquals([view.getInt32(0, true), view.getInt32(4, true)], [-48, -13]);
  assertEquals([16, 32, 48, 64].map(four), [[-21, -25, 0, 0], [-3, -1, 1, 3], [-13, 12, -1, 0], [7, 8, 0, 4]]);
});

Deno.test("hasWebAssembly() says whether modules may be compiled", () => {
  assertEquals(hasWebAssembly(), true);
  const { WebAssembly: real } = globalThis;
  const set = (value: unknown) =>
    Object.defineProperty(globalThis, "WebAssembly", { value, configurable: true, writable: true });
  try {
    set(undefined);
    assertEquals(hasWebAssembly(), false);
    set({
      Module: class {
        constructor() {
          throw new Error("refused by the page's policy");
        }
      },
    });
    assertEquals(hasWebAssembly(), false);
  } finally {
    set(real);
  }
});
