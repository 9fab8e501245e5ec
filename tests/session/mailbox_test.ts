import { assertEquals } from "@std/assert";
import { Mailbox } from "../../lib/session/mailbox.ts";

Deno.test("Mailbox keeps the latest unread events in order, and ends behind them", async () => {
  const box = new Mailbox<number>(2);
  for (const n of [1, 2, 3]) box.push(n);
  box.end();
  box.push(4);
  assertEquals(await Array.fromAsync(box), [2, 3]);
  assertEquals(await Array.fromAsync(box), []);
});

Deno.test("Mailbox hands events to readers that wait", async () => {
  const box = new Mailbox<string>(1), seen: string[] = [];
  const reading = (async () => {
    for await (const event of box) seen.push(event);
  })();
  for (const event of ["a", "b", "c"]) {
    box.push(event);
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
  }
  box.end();
  await reading;
  assertEquals(seen.at(-1), "c");
});

Deno.test("Mailbox knows whether somebody reads", async () => {
  const box = new Mailbox<number>(1);
  assertEquals(box.hasReader, false);
  box.push(1);
  for await (const _ of box) {
    assertEquals(box.hasReader, true);
    break;
  }
  assertEquals(box.hasReader, false);
});

Deno.test("Mailbox gives nothing to a reader that has returned while it waited: who still reads gets it", async () => {
  const box = new Mailbox<number>(2);
  const [gone, stays] = [box[Symbol.asyncIterator](), box[Symbol.asyncIterator]()];
  const [first, second] = [gone.next(), stays.next()];
  await gone.return!();
  assertEquals([box.hasReader, (await first).done], [true, true]);
  box.push(1);
  assertEquals(await second, { done: false, value: 1 });
  await stays.return!();
  assertEquals(box.hasReader, false);
});
