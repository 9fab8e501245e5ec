import { assertEquals } from "@std/assert";
import { assemble, call, i32, i64, loopWhile, v128, when } from "../../lib/crypto/cipher/wasm_assembler.ts";
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
