import { assert, assertEquals, assertRejects } from "@std/assert";
import { abortable } from "../../lib/wire/abortable.ts";
import { countedSignal } from "../_support/counted_signal.ts";

Deno.test("abortable() settles as its promise does, and has let go of the signal then", async () => {
  const counted = countedSignal(), mine = new Error("mine");
  assertEquals(await abortable(Promise.resolve(7), counted.signal), 7);
  assert(await abortable(Promise.reject(mine), counted.signal).catch((error) => error) === mine);
  assertEquals(await abortable(Promise.resolve(7), undefined), 7);
  assertEquals([counted.listeners, counted.added], [0, 2]);
});

Deno.test("abortable() rejects with the reason of its signal, and hands on what comes late", async () => {
  const counted = countedSignal(), reason = new Error("enough"), late: number[] = [];
  const promise = Promise.withResolvers<number>(), failing = Promise.withResolvers<number>();
  const waiting = abortable(promise.promise, counted.signal, (value) => late.push(value));
  const other = abortable(failing.promise, counted.signal, (value) => late.push(value));
  waiting.catch(() => {});
  other.catch(() => {});
  counted.abort(reason);
  for (const rejected of [waiting, other]) assert(await rejected.catch((error) => error) === reason);
  assertEquals(counted.listeners, 0);
  promise.resolve(7);
  failing.reject(new Error("late"));
  await promise.promise;
  await Promise.resolve();
  assertEquals(late, [7]);
  const done = Promise.resolve(8);
  await assertRejects(() => abortable(done, counted.signal, (value) => late.push(value)), Error, "enough");
  assertEquals(late, [7, 8]);
});

Deno.test("abortable() gives a value to the caller or to `late`, never to both, when the signal aborts in the same turn", async () => {
  for (const first of ["value", "abort"]) {
    const controller = new AbortController(), promise = Promise.withResolvers<number>(), late: number[] = [];
    const waiting = abortable(promise.promise, controller.signal, (value) => late.push(value)).catch(() => null);
    if (first === "value") promise.resolve(7);
    controller.abort();
    promise.resolve(7);
    assertEquals([await waiting, late], [null, [7]], first);
  }
});
