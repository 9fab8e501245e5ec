import { assertEquals } from "@std/assert";
import { AcceptQueue } from "../../lib/api/transport/accept_queue.ts";

Deno.test("AcceptQueue gives items in order, whether they or their readers come first", async () => {
  const queue = new AcceptQueue<number>(2);
  queue.push(1);
  queue.push(2);
  assertEquals(queue.isFull, true);
  assertEquals([await queue.next(), await queue.next()], [1, 2]);
  const waiting = [queue.next(), queue.next()];
  queue.push(3);
  queue.push(4);
  assertEquals(await Promise.all(waiting), [3, 4]);
});

Deno.test("AcceptQueue.next() resolves to null at the end and when its signal aborts", async () => {
  const queue = new AcceptQueue<number>(2), abort = new AbortController();
  const [aborted, ended] = [queue.next(abort.signal), queue.next()];
  abort.abort();
  assertEquals(await aborted, null);
  queue.push(1);
  assertEquals(await ended, 1);
  const last = queue.next();
  queue.push(2);
  queue.end();
  assertEquals([await last, await queue.next(), await queue.next(abort.signal)], [2, null, null]);
});
