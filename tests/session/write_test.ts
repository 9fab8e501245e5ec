/**
 * `process.write()` and `session.write()`: text and bytes without a writer.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { join, text } from "../_support/joined.ts";

Deno.test("process.write() and session.write() write texts and bytes in the order of the calls, waited for or not", async () => {
  await using joined = await join({
    async handler(session) {
      const read = await new Response(session.stdin).text();
      // Nobody waits for the first ones.
      const written = [
        session.write("got "),
        session.write(new Uint8Array([0xc3])),
        session.write(new Uint8Array([0xa4])),
      ];
      await session.write(` ${read} `.repeat(1000));
      await Promise.all(written);
      // The stream is free, and goes on behind them.
      const writer = session.stdout.getWriter();
      await assertRejects(() => session.write("x"), TypeError, "Cannot write: `stdout` is in use");
      writer.releaseLock();
      await session.write("");
      const { write } = session;
      await write("end");
      await session.write("why", "stderr");
      await assertRejects(() => session.write("x", "elsewhere" as "stderr"), TypeError, "one of stdout, stderr");
    },
  });
  await using process = await joined.client.spawn("x");
  const written = [process.write("ö"), process.write(new Uint8Array([65])), process.write("z")];
  await Promise.all(written);
  const writer = process.stdin.getWriter();
  await assertRejects(() => process.write("x"), TypeError, "Cannot write: `stdin` is in use");
  await writer.close();
  writer.releaseLock();
  const output = await process.output();
  assertEquals(text(output.stderr), "why");
  assertEquals(output.text(), `got ä${" öAz ".repeat(1000)}end`);
  assertEquals(joined.errors, []);
});

Deno.test("process.write() and session.write() reject for what is no text, and where nobody takes it any more", async () => {
  const wrong: unknown[] = [];
  const ended = Promise.withResolvers<unknown>();
  await using joined = await join({
    async handler(session) {
      await session.write(1 as unknown as string).catch((error) => wrong.push(error.message));
      await session.write("ready");
      await new Promise((resolve) => session.signal.addEventListener("abort", resolve));
      ended.resolve(await session.write("late").catch((error) => error));
    },
  });
  await using process = await joined.client.spawn("x");
  await process.write(undefined as unknown as string).catch((error) => wrong.push(error.message));
  const reader = process.stdout.getReader();
  let said = "";
  while (said !== "ready") said += text((await reader.read()).value!);
  reader.releaseLock();
  await process[Symbol.asyncDispose]();
  await assertRejects(() => process.write("late"));
  assertEquals((await ended.promise as SshError).code, "CLOSED");
  assertEquals(wrong, [
    "Cannot use a number as `data`: it must be a text or a Uint8Array",
    "Cannot use undefined as `data`: it must be a text or a Uint8Array",
  ]);
  await using nothing = await joined.client.spawn("y", { stdin: "null" });
  await assertRejects(() => nothing.write("x"), SshError, "EOF has been sent");
});
