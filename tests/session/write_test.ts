/**
 * `process.write()` and `session.write()`: text and bytes without a writer.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { leavable } from "../../lib/connection/output_stream.ts";
import { SshError } from "../../lib/errors.ts";
import { join, text } from "../_support/joined.ts";
import { until } from "../_support/until.ts";

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

/** What of the rejections that went unhandled while `work` ran, by the name of each. */
async function unhandledIn(work: () => Promise<void>): Promise<string[]> {
  const names: string[] = [];
  const listen = (event: PromiseRejectionEvent): void => {
    event.preventDefault();
    names.push((event.reason as Error).name);
  };
  globalThis.addEventListener("unhandledrejection", listen);
  try {
    await work();
    // Told of at the end of a turn.
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
  } finally {
    globalThis.removeEventListener("unhandledrejection", listen);
  }
  return names;
}

Deno.test("what a handler writes and does not wait for ends no program when the client leaves", async () => {
  const much = new Uint8Array(3_000_000);
  const names = await unhandledIn(async () => {
    let writes = 0;
    await using joined = await join({
      async handler(session) {
        const { promise: left, resolve } = Promise.withResolvers<void>();
        session.signal.addEventListener("abort", () => resolve());
        if (session.command === "writer") {
          const writer = session.stdout.getWriter();
          for (let i = 0; i < 3; i++) void writer.write(much);
          void writer.close();
        } else {
          for (let i = 0; i < 3; i++) void session.write(much);
          void session.stdout.close();
        }
        writes++;
        await left;
        void session.write("late", "stderr");
      },
    });
    await joined.client.spawn("writer");
    const process = await joined.client.spawn("session");
    void process.write(much);
    await until(() => writes === 2, "The handlers did not write");
  });
  assertEquals(names, []);
});

Deno.test("what a handler of forwards writes and does not wait for ends no program when the client leaves", async () => {
  const names = await unhandledIn(async () => {
    const { promise: written, resolve } = Promise.withResolvers<void>();
    await using joined = await join({
      allowForward: () => true,
      onForward: (_info, { conn }) => {
        void conn.write(new Uint8Array(3_000_000));
        void conn.closeWrite();
        resolve();
      },
    });
    await joined.client.dial({ hostname: "web.internal", port: 80 });
    await written;
  });
  assertEquals(names, []);
});

Deno.test("leavable() leaves a mistake what it is, and tells whoever listens", async () => {
  const gone = new SshError("gone", { code: "CLOSED" });
  const names = await unhandledIn(async () => {
    void leavable(Promise.reject(gone));
    void leavable(Promise.reject(new TypeError("wrong")));
    await assertRejects(() => leavable(Promise.reject(gone)), SshError, "gone");
    await leavable(Promise.resolve());
  });
  assertEquals(names, ["TypeError"]);
});
