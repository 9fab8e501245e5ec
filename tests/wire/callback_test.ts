import { assert, assertEquals } from "@std/assert";
import { callBack, isThenable } from "../../lib/wire/callback.ts";

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("callBack() tells once of what a function throws or rejects with, and lets nothing out", async () => {
  const mine = new Error("mine"), told: unknown[] = [];
  const fails: (() => unknown)[] = [
    () => {
      throw mine;
    },
    () => Promise.reject(mine),
    // A promise of another library, and one that fails in its own `then`.
    () => ({ then: (_: unknown, reject: (error: unknown) => void) => reject(mine) }),
    () => ({
      then: () => {
        throw mine;
      },
    }),
  ];
  for (const fail of fails) {
    callBack(fail, (error) => {
      told.push(error);
      // Whoever is told may fail in all these ways as well.
      return fail();
    });
    callBack(fail);
    await turn();
    assertEquals(told.length, 1);
    assert(told.pop() === mine);
  }
  for (const value of [undefined, 1, Promise.resolve(1), { then: (done: () => void) => done() }]) {
    callBack(() => value, (error) => told.push(error));
  }
  await turn();
  assertEquals(told, []);
});

Deno.test("callBack() has called the function when it returns", () => {
  let called = false;
  callBack(() => called = true);
  assert(called);
});

Deno.test("isThenable() knows promises of any library", () => {
  assertEquals([Promise.resolve(), { then: () => {} }].map(isThenable), [true, true]);
  assertEquals([null, undefined, 1, "then", {}, { then: 1 }].map(isThenable), [
    false,
    false,
    false,
    false,
    false,
    false,
  ]);
});
