/**
 * `process.expect()`: what it takes, what it leaves, and how it ends.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import type { ExpectOptions } from "../../lib/session/expect.ts";
import { bytesOf } from "../../lib/session/pattern.ts";
import { startProcess } from "../../lib/session/process.ts";
import type { RemoteProcess } from "../../lib/session/process.ts";
import type { ExecOptions } from "../../lib/session/types.ts";
import type { MuxOptions } from "../../lib/connection/mux.ts";
import { ChannelClose, ChannelEof, ChannelOpen, ChannelSuccess } from "../../lib/connection/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { confirmation, data, extendedData, fakeMux, settle, stateOf } from "../_support/fake_transport.ts";
import { Prng } from "../_support/fuzz.ts";
import { join } from "../_support/joined.ts";

const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

/** A process, and its server at hand. */
async function started(options: ExecOptions = {}, window: MuxOptions = {}): Promise<{
  process: RemoteProcess;
  transport: ReturnType<typeof fakeMux>["transport"];
  say(...parts: (string | Uint8Array)[]): void;
  end(): void;
}> {
  const { transport, mux } = fakeMux(window);
  const starting = startProcess(mux, { kind: "exec", command: "x" }, options);
  await settle();
  ChannelOpen.decode(transport.takeType(Msg.CHANNEL_OPEN)[0]!);
  transport.receive(confirmation(0));
  await settle();
  transport.receive(ChannelSuccess.encode({ recipient: 0 }));
  return {
    process: await starting,
    transport,
    // Each part is a batch of its own.
    say: (...parts) => {
      for (const part of parts) transport.receive(data(0, part));
    },
    end: () => transport.receive(ChannelEof.encode({ recipient: 0 }), ChannelClose.encode({ recipient: 0 })),
  };
}

async function noMatch(waiting: Promise<unknown>, words: string): Promise<void> {
  const error = await waiting.then(() => null, (error) => error);
  assertInstanceOf(error, SshError);
  assertEquals([error.code, error.message], ["NO_MATCH", words]);
}

Deno.test("expect() takes what is before a match and the match, and leaves what comes behind it", async () => {
  await using joined = await join({
    handler: async ({ stdin, stdout }) => {
      const writer = stdout.getWriter(), reader = stdin.getReader();
      await writer.write(utf8("Welcome\nlogin: "));
      const { value } = await reader.read();
      await writer.write(utf8(`\nHello ${new TextDecoder().decode(value)}, port 8080\nrest\nof it\n`));
      return 0;
    },
  });
  for (const pty of [false, true]) {
    await using process = await joined.client.spawn("x", { pty });
    assertEquals(await process.expect("login: "), { before: "Welcome\n", match: "login: ", captures: [], groups: {} });
    const writer = process.stdin.getWriter();
    await writer.write(utf8("bob"));
    assertEquals(await process.expect(/Hello (\w+)(!)?, port (?<port>\d+)\n/), {
      before: "\n",
      match: "Hello bob, port 8080\n",
      captures: ["bob", undefined, "8080"],
      groups: { port: "8080" },
    });
    assertEquals(process.stdout.locked, false);
    if (pty) assertEquals((await process.output()).text(), "rest\nof it\n");
    else assertEquals(await Array.fromAsync(process.lines()), ["rest", "of it"]);
  }
});

Deno.test("expect() finds text and expressions over any cut of the bytes, and the rest is exact", async () => {
  const bytes = new Uint8Array([
    ...utf8("a\ufefff\u00fcr \u{1f600} \ufffd"),
    0xff,
    0xe2,
    0x82,
    ...utf8("$ more"),
    0xf0,
    0x9f,
  ]);
  const end = bytes.length - 7;
  for (const pattern of ["$", /\$/g, / \ufffd\ufffd+\$/, /\u{1f600}[^]*\$/u]) {
    for (let cut = 1; cut < bytes.length; cut++) {
      const { process, say, end: finish } = await started();
      const waiting = process.expect(pattern);
      say(bytes.subarray(0, cut), bytes.subarray(cut));
      const { before, match } = await waiting;
      assertEquals(before + match, "a\ufefff\u00fcr \u{1f600} \ufffd\ufffd\ufffd$");
      finish();
      assertEquals(new Uint8Array(await new Response(process.stdout).arrayBuffer()), bytes.slice(end));
    }
  }
  // Half of a character counts as all of it.
  const { process, say, end: finish } = await started();
  say("x\u{1f600}y");
  assertEquals((await process.expect(/x\ud83d/)).match, "x\ud83d");
  finish();
  assertEquals(await new Response(process.stdout).text(), "y");
});

Deno.test("bytesOf() counts the bytes of a decoded text, also of what is no UTF-8 (twin: the decoder)", () => {
  const prng = new Prng(7), pieces = ["a", "\u00e9", "\u20ac", "\u{1f600}", "\ufffd", "\ufeff"].map(utf8);
  for (let n = 0; n < 3000; n++) {
    const parts = Array.from({ length: 1 + prng.below(6) }, () => {
      const piece = prng.pick(pieces);
      return prng.below(3) === 0
        ? prng.bytes(2).map((byte) => byte | 0x80)
        : piece.subarray(0, prng.below(4) === 0 ? 1 + prng.below(piece.length) : piece.length);
    });
    const bytes = new Uint8Array(parts.flatMap((part) => [...part]));
    const decode = (part: Uint8Array): string => new TextDecoder("utf-8", { ignoreBOM: true }).decode(part);
    const text = decode(bytes);
    for (let end = 0; end <= text.length; end++) {
      const at = bytesOf(text, end, bytes), whole = /[\ud800-\udbff]$/.test(text.slice(0, end)) ? end + 1 : end;
      assertEquals(decode(bytes.subarray(0, at)) + decode(bytes.subarray(at)), text, String(bytes));
      assertEquals(decode(bytes.subarray(0, at)), text.slice(0, whole), String(bytes));
    }
  }
});

Deno.test("expect() that finds nothing leaves everything, and its error quotes the end of what came", async () => {
  const { process, say, end } = await started();
  say("one\n", "tw\u00f6\u001b");
  await noMatch(
    process.expect("three", { maxOutput: 9 }),
    'Output did not match "three" within 9 bytes: it ends with "one\\ntw\u00f6\\u001b"',
  );
  const waiting = process.expect(/three/i);
  say("x".repeat(300));
  end();
  const error = await assertRejects(() => waiting, SshError);
  assertStringIncludes(error.message, `Output ended before it matched /three/i: it ends with …"${"x".repeat(200)}"`);
  await noMatch(
    process.expect(`it's "3"`, { maxOutput: 1000 }),
    `Output ended before it matched "it's \\"3\\"": it ends with …"${"x".repeat(200)}"`,
  );
  assertEquals(await new Response(process.stdout).text(), `one\ntw\u00f6\u001b${"x".repeat(300)}`);
  const silent = await started();
  silent.end();
  await noMatch(silent.process.expect("x"), 'Output ended before it matched "x": there was none');
});

Deno.test("expect() ends by its time and its signal without taking anything, and the next one finds what was there", async () => {
  const { process, say, end } = await started();
  const reason = new Error("enough");
  {
    using time = new FakeTime();
    const waiting = process.expect("x", { timeout: 50 }).catch((error) => error);
    say("Pass");
    await settle();
    time.tick(50);
    const error = await waiting;
    assertInstanceOf(error, DOMException);
    assertEquals(error.name, "TimeoutError");
    assertEquals(error.message, 'Output did not match "x" within 50 milliseconds: it ends with "Pass"');
  }
  const counted = countedSignal();
  const waiting = process.expect("x", { signal: counted.signal }).catch((error) => error);
  say("word:");
  await settle();
  counted.abort(reason);
  assertEquals(await waiting, reason);
  assertEquals(counted.listeners, 0);
  await assertRejects(() => process.expect("Pass", { signal: AbortSignal.abort(reason) }), Error, "enough");
  assertEquals((await process.expect(/pass(word)/i)).captures, ["word"]);
  say("secret");
  end();
  assertEquals(await new Response(process.stdout).text(), ":secret");
});

Deno.test("expect() locks stdout while it waits, and wants it free", async () => {
  const { process, say } = await started();
  const waiting = process.expect("x");
  assert(process.stdout.locked);
  for (const pattern of ["x", /x/]) {
    await assertRejects(() => process.expect(pattern), TypeError, "`stdout` is in use");
  }
  say("x");
  await waiting;
  const reader = process.stdout.getReader();
  await assertRejects(() => process.expect("x"), TypeError, "by a reader");
  reader.releaseLock();
  // A reader who left asked for something, and another left a part of a chunk.
  const gone = process.stdout.getReader();
  void gone.read().catch(() => {});
  gone.releaseLock();
  say("abcdef");
  const byob = process.stdout.getReader({ mode: "byob" });
  assertEquals((await byob.read(new Uint8Array(2))).value, utf8("ab"));
  byob.releaseLock();
  const next = process.expect("gh");
  say("gh");
  assertEquals((await next).before, "cdef");
  // One who left while he waited does not get what comes, and neither is it lost for a reader of another kind.
  const left = process.stdout.getReader({ mode: "byob" });
  void left.read(new Uint8Array(100)).catch(() => {});
  await settle();
  left.releaseLock();
  const seen = process.expect("ij");
  await settle();
  say("ij");
  await seen;
  const plain = process.stdout.getReader(), rest = plain.read();
  await settle();
  say("kl");
  assertEquals((await rest).value, utf8("kl"));
  plain.releaseLock();
  const nobody = await started({ stdout: "null" });
  await assertRejects(() => nobody.process.expect("x"), TypeError, '`stdout` is "null"');
});

Deno.test("expect() gives the window back while it looks, and keeps no more than its bound", async () => {
  const { process, say, transport } = await started({}, { window: 65_536 });
  const waiting = process.expect("end"), part = new Uint8Array(16_384).fill(97), parts = 20;
  for (let n = 0; n < parts; n++) {
    say(part);
    await settle();
  }
  assertEquals(transport.end, null);
  say("end");
  assertEquals((await waiting).before.length, parts * part.length);
  // What has been looked at before is not credited again, nor kept twice.
  const next = process.expect("end", { maxOutput: 40_000 });
  say(part, part, part);
  await assertRejects(() => next, SshError, "within 40000 bytes");
  for (let n = 0; n < 5; n++) await assertRejects(() => process.expect("end", { maxOutput: 40_000 }), SshError);
  assertEquals((await process.expect(/a{3}/)).match, "aaa");
  const last = process.expect("end");
  for (let n = 0; n < 64; n++) {
    say(part);
    await settle();
  }
  await assertRejects(() => last, SshError, "within 1048576 bytes");
  assertEquals(transport.end, null);
});

Deno.test("expect() sees standard error where that goes into standard output, and rejects with what ends its process", async () => {
  const merged = await started({ stderr: "stdout" });
  const waiting = merged.process.expect("ab");
  merged.transport.receive(data(0, "a"), extendedData(0, 1, "b"));
  assertEquals((await waiting).match, "ab");
  const reason = new Error("enough");
  for (const how of ["signal", "lost", "closed"]) {
    const controller = new AbortController();
    const { process, transport, say } = await started({ signal: controller.signal });
    const waiting = process.expect("x").catch((error) => error);
    say("y");
    await settle();
    if (how === "signal") controller.abort(reason);
    else if (how === "lost") transport.finish(reason);
    else await process[Symbol.asyncDispose]();
    const error = await waiting;
    if (how === "closed") assertEquals((error as SshError).code, "CLOSED");
    else assertEquals(error, reason);
  }
});

Deno.test("expect() refuses what is no pattern and no option, and a RegExp stays as it was", async () => {
  const { process, say } = await started();
  for (const pattern of ["", undefined, null, 5, {}, ["x"], Promise.resolve("x")]) {
    await assertRejects(() => process.expect(pattern as string), TypeError, "as `pattern`: it must be a text");
  }
  for (const maxOutput of [0, -1, 1.5, NaN, "5", null]) {
    await assertRejects(() => process.expect("x", { maxOutput } as ExpectOptions), RangeError, "`maxOutput`");
  }
  for (const timeout of [0, -1, NaN, "5", null]) {
    await assertRejects(() => process.expect("x", { timeout } as ExpectOptions), RangeError, "`timeout`");
  }
  await assertRejects(() => process.expect("x", { signal: 5 } as unknown as ExpectOptions), TypeError, "AbortSignal");
  await assertRejects(() => process.expect("x", null as unknown as ExpectOptions), TypeError, "`options`");
  await assertRejects(() => process.expect("x", { maxBuffer: 5 } as ExpectOptions), TypeError, "`maxOutput`");
  assertEquals(process.stdout.locked, false);
  const pattern = /b/g, sticky = /b/y;
  pattern.lastIndex = 2;
  say("abab");
  assertEquals((await process.expect(pattern)).before, "a");
  assertEquals(pattern.lastIndex, 2);
  const waiting = process.expect(sticky);
  assertEquals(await stateOf(waiting), "pending");
  await process[Symbol.asyncDispose]();
  await assertRejects(() => waiting, SshError);
});

Deno.test("expect() searches long output now and then, and not at each byte of a peer that drips, and misses nothing", async () => {
  const long = "x".repeat(70_000);
  for (const pattern of [/ne+dle/, "needle"]) {
    for (const end of ["pause", "end", "timeout", "bound"] as const) {
      const { process, say, end: close } = await started();
      using time = new FakeTime();
      let matched: unknown = null;
      const options = { timeout: 15, maxOutput: end === "bound" ? 70_006 : 100_000 };
      const waiting = process.expect(pattern, end === "timeout" || end === "bound" ? options : {}).then(
        ({ before, match }) => matched = `${before.length} ${match}`,
        (error) => matched = error,
      );
      say(long.slice(0, 32_000), long.slice(32_000, 64_000), long.slice(64_000));
      await settle();
      say(..."needle");
      await settle();
      if (end !== "bound") assertEquals(matched, null, `${pattern}, ${end}: not searched yet`);
      if (end === "pause") time.tick(20);
      if (end === "timeout") time.tick(15);
      if (end === "end") close();
      await waiting;
      assertEquals(matched, "70000 needle", `${pattern}, ${end}`);
      // What comes behind the pause is looked at at once again.
      if (end === "end") continue;
      const next = process.expect(/b/);
      say("ab");
      await settle();
      assertEquals((await next).before, "a");
      close();
    }
  }
});

Deno.test("expect() searches what came last when its process is given up: a match is one, and else it rejects", async () => {
  for (const how of ["signal", "close"] as const) {
    for (const comes of ["needle", "noodle"]) {
      const controller = new AbortController(), reason = new Error("enough");
      const { process, say } = await started({ signal: controller.signal });
      using _time = new FakeTime();
      const waiting = process.expect("needle").then(
        ({ before, match }) => `${before.length} ${match}`,
        (error) => error instanceof SshError ? error.code : String(error),
      );
      say("x".repeat(30_000), "x".repeat(30_000), "x".repeat(10_000));
      await settle();
      say(...comes);
      await settle();
      if (how === "signal") controller.abort(reason);
      else process[Symbol.asyncDispose]().catch(() => {});
      const without = how === "signal" ? String(reason) : "CLOSED";
      assertEquals(await waiting, comes === "needle" ? "70000 needle" : without, `${how}, ${comes}`);
      assertEquals(process.stdout.locked, false);
    }
  }
});
