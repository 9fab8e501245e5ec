/** How long a call waits: the time, the signal, whichever comes first, and what is left of both. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import { abortable } from "../../lib/wire/abortable.ts";
import { startDeadline, withDeadline } from "../../lib/wire/deadline.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { FakeTime } from "../_support/fake_time.ts";

/** Never settles but by the signal. */
const forever = (signal: AbortSignal | undefined): Promise<never> =>
  abortable(Promise.withResolvers<never>().promise, signal);
const bread = (): string => "bread";

Deno.test("withDeadline() ends a wait when its time is over, with a TimeoutError that says what was waited for", async () => {
  using time = new FakeTime();
  for (const timeout of [1, 0.5, 5000, 2 ** 31, 2 ** 40]) {
    const counted = countedSignal();
    let error: unknown = null;
    const waiting = withDeadline({ timeout, signal: counted.signal }, bread, forever).catch((reason) => error = reason);
    time.tick(timeout - 0.25);
    await Promise.resolve();
    assertEquals([error, counted.listeners], [null, 1]);
    time.tick(0.25);
    await waiting;
    assertInstanceOf(error, DOMException);
    assertEquals([error.name, error.message], ["TimeoutError", `Timed out after ${timeout} ms waiting for bread`]);
    assertEquals([counted.listeners, time.pending], [0, 0]);
  }
  // What is too long for `setTimeout()` is never a time that is over at once.
  assert(time.delays.every((delay) => delay < 2 ** 31));
});

Deno.test("withDeadline() leaves neither a timer nor a listener behind, however the wait ends", async () => {
  using time = new FakeTime();
  const counted = countedSignal(), mine = new Error("mine"), options = { timeout: 1000, signal: counted.signal };
  assertEquals(await withDeadline(options, bread, () => Promise.resolve(7)), 7);
  assertStrictEquals(await assertRejects(() => withDeadline(options, bread, () => Promise.reject(mine))), mine);
  const thrown = await assertRejects(() =>
    withDeadline(options, bread, () => {
      throw mine;
    })
  );
  assertStrictEquals(thrown, mine);
  assertEquals([counted.listeners, counted.added, time.pending], [0, 3, 0]);
  const waiting = withDeadline(options, bread, forever).catch((error) => error);
  counted.abort(mine);
  assertStrictEquals(await waiting, mine);
  assertEquals([counted.listeners, time.pending], [0, 0]);
});

Deno.test("withDeadline() hands on the caller's own signal where no time is given, and sets no timer", async () => {
  using time = new FakeTime();
  const { signal } = new AbortController(), seen: unknown[] = [];
  const look = (signal: AbortSignal | undefined): Promise<void> => Promise.resolve(void seen.push(signal));
  for (const options of [{ signal }, { signal, timeout: Infinity }, { signal, timeout: undefined }]) {
    await withDeadline(options, bread, look);
  }
  for (const options of [undefined, {}, { timeout: Infinity }]) await withDeadline(options, bread, look);
  assertEquals(seen, [signal, signal, signal, undefined, undefined, undefined]);
  assertEquals(time.delays, []);
});

Deno.test("withDeadline() does not begin its time for a signal that has aborted", async () => {
  using time = new FakeTime();
  const reason = new Error("early"), options = { timeout: 5, signal: AbortSignal.abort(reason) };
  assertStrictEquals(await withDeadline(options, bread, forever).catch((error) => error), reason);
  assertEquals(time.delays, []);
});

Deno.test("startDeadline() ends once: what comes after the first end changes nothing", () => {
  using time = new FakeTime();
  const counted = countedSignal();
  const late = startDeadline({ timeout: 5, signal: counted.signal }, bread);
  time.tick(5);
  counted.abort("too late");
  assertEquals((late.signal!.reason as DOMException).name, "TimeoutError");
  const over = startDeadline({ timeout: 5 }, bread);
  over.stop();
  time.tick(100);
  assertEquals(over.signal!.aborted, false);
});
