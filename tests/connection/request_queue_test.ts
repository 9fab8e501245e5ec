import { assert, assertEquals, assertThrows } from "@std/assert";
import { SshError, SshProtocolError } from "../../lib/errors.ts";
import { decide, RequestQueue } from "../../lib/connection/request_queue.ts";
import { settle } from "./_fake_transport.ts";

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
