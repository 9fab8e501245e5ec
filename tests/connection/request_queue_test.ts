import { assert, assertEquals, assertThrows } from "@std/assert";
import { SshError, SshProtocolError } from "../../lib/errors.ts";
import { Budget, decide, RequestQueue } from "../../lib/connection/request_queue.ts";
import { settle } from "../_support/fake_transport.ts";

const unexpected = (error: Error) => {
  throw error;
};

Deno.test("RequestQueue does at once what can be done at once, and the rest one after the other", async () => {
  const queue = new RequestQueue(10, unexpected);
  const order: string[] = [];
  const first = Promise.withResolvers<void>();
  queue.add(() => void order.push("a"), 0);
  assertEquals(order, ["a"]);
  queue.add(() => first.promise.then(() => void order.push("b")), 0);
  queue.add(() => void order.push("c"), 0);
  queue.add(() => Promise.resolve().then(() => void order.push("d")), 0);
  queue.add(() => void order.push("e"), 0);
  await settle();
  assertEquals(order, ["a"]);
  first.resolve();
  await settle();
  assertEquals(order, ["a", "b", "c", "d", "e"]);
  queue.add(() => void order.push("f"), 0);
  assertEquals(order.at(-1), "f");
});

Deno.test("RequestQueue.add() throws when too many requests wait, and when they hold too much", () => {
  const many = new RequestQueue(3, unexpected);
  for (let i = 0; i < 4; i++) many.add(() => new Promise<void>(() => {}), 0);
  assertThrows(() => many.add(() => {}, 0), SshProtocolError, "ahead of their answers");
  const large = new RequestQueue(1000, unexpected);
  large.add(() => new Promise<void>(() => {}), 200_000);
  let added = 0;
  assertThrows(() => {
    for (; added < 1000; added++) large.add(() => {}, 200_000);
  }, SshProtocolError);
  assert(added >= 5 && added <= 7, `${added}`);
});

Deno.test("RequestQueue tells of what a task throws, and drops the tasks behind it", async () => {
  const failures: Error[] = [];
  const queue = new RequestQueue(10, (error) => void failures.push(error));
  const cause = new RangeError("no");
  let ran = false;
  queue.add(() => Promise.reject(cause), 0);
  queue.add(() => void (ran = true), 0);
  await settle();
  assertEquals(failures, [cause]);
  assert(!ran);
  queue.add(() => {
    throw "text";
  }, 0);
  assert(failures[1] instanceof SshError && failures[1].cause === "text");
});

Deno.test("RequestQueue.clear() drops what waits", async () => {
  const queue = new RequestQueue(10, unexpected);
  const first = Promise.withResolvers<void>();
  let ran = false;
  queue.add(() => first.promise, 10);
  queue.add(() => void (ran = true), 10);
  queue.clear();
  first.resolve();
  await settle();
  assert(!ran);
});

Deno.test("decide() takes what goes wrong for a refusal, but for a breach of the protocol", async () => {
  const results: unknown[] = [];
  const done = (result: unknown) => void results.push(result);
  decide(() => true, false, done);
  decide(
    () => {
      throw new Error("no");
    },
    false,
    done,
  );
  await decide(() => Promise.reject(new Error("no")), false, done);
  await decide(() => Promise.resolve(true), false, done);
  assertEquals(results, [true, false, false, true]);
  const breach = new SshProtocolError("breach");
  assertThrows(() => {
    decide(
      () => {
        throw breach;
      },
      false,
      done,
    );
  }, SshProtocolError);
  assert(await Promise.resolve(decide(() => Promise.reject(breach), false, done)).catch((error) => error) === breach);
});

Deno.test("decide() waits for any thenable", async () => {
  const results: unknown[] = [];
  const thenable = { then: (resolve: (value: boolean) => void) => resolve(false) };
  await decide(() => thenable as unknown as Promise<boolean>, false, (result) => void results.push(result));
  assertEquals(results, [false]);
});

Deno.test("RequestQueue counts what its tasks hold until they are done, and shares a budget with others", async () => {
  const budget = new Budget(1_000_000), first = Promise.withResolvers<void>();
  const a = new RequestQueue(1000, unexpected), b = new RequestQueue(1000, unexpected);
  // One that runs holds its bytes as well as those behind it.
  a.add(() => first.promise, 400_000, budget);
  a.add(() => {}, 400_000, budget);
  b.add(() => new Promise<void>(() => {}), 300_000, budget);
  assert(budget.isSpent);
  assertThrows(() => b.add(() => {}, 0, budget), SshProtocolError, "ahead of their answers");
  assertThrows(() => new RequestQueue(1000, unexpected).add(() => {}, 0, budget), SshProtocolError);
  // Its own bytes are not spent.
  b.add(() => {}, 0);
  first.resolve();
  await settle();
  assert(!budget.isSpent);
  a.add(() => {}, 600_000, budget);
  assert(!budget.isSpent, "what is done at once holds nothing");
});

Deno.test("RequestQueue gives back what tasks hold that fail or are dropped, once", async () => {
  for (
    const fail of [() => Promise.reject(new Error("no")), () => {
      throw new Error("no");
    }]
  ) {
    const budget = new Budget(1_000_000),
      queue = new RequestQueue(1000, () => {}),
      first = Promise.withResolvers<void>();
    queue.add(() => first.promise.then(fail), 500_000, budget);
    queue.add(() => {}, 600_000, budget);
    assert(budget.isSpent);
    first.resolve();
    await settle();
    queue.clear();
    assert(!budget.isSpent);
    const release = budget.take(999_000);
    assert(!budget.isSpent);
    budget.take(1_000);
    assert(budget.isSpent, "nothing was given back twice");
    release();
    release();
    assert(!budget.isSpent);
    // Two of those are held: the one of a thousand, and this one.
    budget.take(998_500);
    assert(budget.isSpent, "what is given back twice counts once");
  }
});

Deno.test("RequestQueue bounds requests that hold no bytes by what they take themselves", () => {
  const budget = new Budget(4_194_304);
  let added = 0;
  assertThrows(() => {
    for (; added < 100_000; added += 256) {
      const queue = new RequestQueue(256, unexpected);
      for (let i = 0; i < 256; i++) queue.add(() => new Promise<void>(() => {}), 0, budget);
    }
  }, SshProtocolError);
  assert(added < 20_000, `${added}`);
});
