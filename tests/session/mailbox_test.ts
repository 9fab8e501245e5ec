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
