/**
 * Commands as people write them: text and lines, input at hand, checked ends, deadlines, bounds.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { SshCommandError } from "../../lib/session/output.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { join, say } from "../_support/joined.ts";
import { inTime, turns, until } from "../_support/until.ts";

/** `say TEXT`, `words`, `both`, `fail`, `input`, `first`, `hang`: what these tests run. `\n` is a new line. */
async function handler({ command, stdin, stdout, stderr, signal }: ServerSession): Promise<number> {
  const [name, ...rest] = command!.split(" ");
  if (name === "input") {
    await stdin.pipeTo(stdout);
    return 0;
  }
  const out = stdout.getWriter(), err = stderr.getWriter();
  switch (name) {
    case "say":
      await say(out, rest.join(" ").replaceAll("\\n", "\n").replaceAll("\\r", "\r"));
      return 0;
    case "both": {
      // Each goes when what was before has been read.
      const reader = rest.length === 0 ? null : stdin.getReader();
      for (const [writer, text] of [[out, "a"], [err, "b"], [out, "c"], [err, "d"]] as const) {
        await say(writer, text);
        await reader?.read();
      }
      return 0;
    }
    case "fail":
      await say(out, "half");
      await say(err, `${"x".repeat(9_000)}\nfirst line\nNo such \u001bthing\n`);
      return 4;
    case "first": {
      const reader = stdin.getReader();
      const { value } = await reader.read();
      await say(out, String(value!.length > 0));
      return 0;
    }
    case "hang":
      await say(out, "hanging\n");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      return 0;
    case "many":
      for (let i = 0; i < Number(rest[0]); i++) await say(out, `line ${i}\n`);
      return 0;
  }
  await say(out, command!);
  return 0;
}

Deno.test("the output of a command is text and lines", async () => {
  await using joined = await join({ handler });
  const { client } = joined;
  const output = await client.exec("say one\\ntwo\\r\\n\\nf\u00fcr");
  assertEquals(output.text(), "one\ntwo\r\n\nf\u00fcr");
  assertEquals(output.lines(), ["one", "two", "", "f\u00fcr"]);
  assertEquals((await client.exec("say one\\n")).lines(), ["one"]);
  assertEquals((await client.exec("say ")).lines(), []);
});

Deno.test("a process gives lines as they come, and leaving their loop ends its output", async () => {
  await using joined = await join({ handler });
  const { client } = joined, seen: string[] = [];
  await using process = await client.spawn("many 3", { stderr: "null" });
  for await (const line of process.lines()) seen.push(line);
  assertEquals(seen, ["line 0", "line 1", "line 2"]);
  await using hanging = await client.spawn("hang");
  for await (const line of hanging.lines()) {
    assertEquals(line, "hanging");
    break;
  }
  await using used = await client.spawn("hang");
  using _lock = { [Symbol.dispose]: ((reader) => () => reader.releaseLock())(used.stdout.getReader()) };
  assertThrows(() => used.lines(), TypeError);
});

Deno.test("text, bytes and a stream are sent as standard input, and then the end of file", async () => {
  await using joined = await join({ handler });
  const { client } = joined;
  assertEquals((await client.exec("input", { stdin: { text: "f\u00fcr" } })).text(), "f\u00fcr");
  assertEquals((await client.exec("input", { stdin: { text: "" } })).text(), "");
  const big = new Uint8Array(300_000).fill(7);
  assertEquals((await client.exec("input", { stdin: big })).stdout, big);
  const stream = ReadableStream.from([new Uint8Array([65]), new Uint8Array([66, 67])]);
  assertEquals((await client.exec("input", { stdin: stream })).text(), "ABC");
  await using process = await client.spawn("input", { stdin: { text: "spawned" } });
  assertEquals((await process.output()).text(), "spawned");
  assert(process.stdin.locked);
});

Deno.test("input that a process does not read to its end is cancelled, also while its stream stands still", async () => {
  await using joined = await join({ handler });
  for (const more of [true, false]) {
    let cancelled = false;
    const stdin = new ReadableStream<Uint8Array>({
      pull: more ? (controller) => controller.enqueue(new Uint8Array(1000)) : undefined,
      start: (controller) => controller.enqueue(new Uint8Array(10)),
      cancel: () => void (cancelled = true),
    } as UnderlyingDefaultSource<Uint8Array>);
    assertEquals((await inTime(joined.client.exec("first", { stdin }), "exec")).text(), "true");
    await until(() => cancelled, "The stream was not cancelled");
  }
});

Deno.test("half of an input never looks like all of it: a stream that fails ends the process with its error", async () => {
  await using joined = await join({ handler });
  const broken = new Error("The disk is gone");
  const stdin = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new Uint8Array(10)),
    pull: (controller) => controller.error(broken),
  }, { highWaterMark: 0 });
  assertEquals(await joined.client.exec("input", { stdin }).catch((error) => error), broken);
  const wrong = ReadableStream.from(["text"]) as unknown as ReadableStream<Uint8Array>;
  await assertRejects(() => joined.client.exec("input", { stdin: wrong }), TypeError, "no Uint8Array");
});

Deno.test("half of an input never looks like all of it: bytes that are moved elsewhere meanwhile end the process with an error", async () => {
  await using joined = await join({ handler });
  const { client } = joined, wanted = "Cannot send standard input: its buffer was moved elsewhere";
  for (const length of [10, 6_000_000]) {
    const stdin = new Uint8Array(length), running = client.exec("input", { stdin });
    structuredClone(stdin.buffer, { transfer: [stdin.buffer] });
    await assertRejects(() => running, TypeError, wanted);
  }
  // While a part of it waits for room, as nobody reads what comes back.
  const stdin = new Uint8Array(24_000_000);
  await using process = await client.spawn("input", { stdin });
  const reader = process.stdout.getReader();
  await reader.read();
  await turns();
  structuredClone(stdin.buffer, { transfer: [stdin.buffer] });
  reader.releaseLock();
  await assertRejects(() => inTime(process.output(), "The end"), TypeError, wanted);
});

Deno.test("a stream that two commands are to read goes to one of them, and the other one is ended", async () => {
  await using joined = await join({ handler });
  const stdin = new Blob(["once"]).stream(), run = () => joined.client.exec("input", { stdin });
  const ends = Promise.allSettled([run(), run()]);
  const outcomes = (await inTime(ends, "both commands")).map((end) =>
    end.status === "fulfilled" ? end.value.text() : end.reason
  );
  assertEquals(outcomes.filter((outcome) => outcome === "once").length, 1);
  assertEquals(outcomes.filter((outcome) => outcome instanceof TypeError).length, 1);
});

Deno.test("standard error goes into standard output in the order of arrival", async () => {
  await using joined = await join({ handler });
  await using process = await joined.client.spawn("both in turn", { stderr: "stdout" });
  const reader = process.stdout.getReader(), writer = process.stdin.getWriter();
  let seen = "";
  while (seen.length < 4) {
    const { value } = await reader.read();
    seen += new TextDecoder().decode(value);
    await writer.write(new Uint8Array(1));
  }
  assertEquals(seen, "abcd");
  const { text, stderr } = await joined.client.exec("both", { stderr: "stdout" }).then((output) => ({
    text: output.text(),
    stderr: output.stderr,
  }));
  assertEquals([[...text].sort().join(""), stderr.length], ["abcd", 0]);
});

Deno.test("run() and `check` reject with what a command left on standard error, and say nothing of the command itself", async () => {
  await using joined = await join({ handler });
  const { client } = joined;
  for (
    const run of [
      () => client.run("fail secret"),
      () => client.exec("fail secret", { check: true }),
      () => client.run("fail secret", { check: false }),
      async () => await (await client.spawn("fail secret", { check: true })).output(),
      async () => await client.$`fail secret`,
      async () => await client.$`fail secret`.text(),
      async () => await Array.fromAsync(client.$`fail secret`.lines()),
    ]
  ) {
    const error = await run().then(() => null, (error) => error);
    assertInstanceOf(error, SshCommandError);
    assertEquals([error.code, error.command, error.status.code], ["COMMAND_FAILED", "fail secret", 4]);
    assertEquals(error.message, "Command failed with exit code 4: No such \ufffdthing");
    assert(error.stderr.endsWith("\nfirst line\nNo such \u001bthing\n") && error.stderr.length <= 4096);
    for (const shown of [error.message, String(error), Deno.inspect(error), JSON.stringify(error)]) {
      assertEquals(shown.includes("secret"), false);
    }
  }
  await using process = await client.spawn("fail x", { check: true, stderr: "null" });
  await assertRejects(() => Array.fromAsync(process.lines()), SshCommandError, "exit code 4");
  assertEquals((await client.exec("fail x")).code, 4);
});

Deno.test("a deadline ends a command with TERM, and is a TimeoutError that says how long it was waited for", async () => {
  const signals: string[] = [];
  await using joined = await join({
    handler: async (session) => {
      if (session.command === "other") return 0;
      for await (const signal of session.signals) signals.push(signal);
      return 0;
    },
  });
  let error: unknown;
  {
    using time = new FakeTime();
    const running = joined.client.exec("x", { timeout: 50 }).catch((error) => error);
    // Answers come in their order: behind this one the first command has begun, for its client too.
    await joined.client.exec("other");
    time.tick(50);
    error = await inTime(running, "the deadline");
  }
  assertInstanceOf(error, DOMException);
  assertEquals([error.name, error.message], ["TimeoutError", "Timed out after 50 ms waiting for the command to end"]);
  await until(() => signals.length === 1, "TERM did not come");
  assertEquals(signals, ["TERM"]);
  // The signal comes first, and a deadline that is far away keeps nothing.
  const reason = new Error("enough"), controller = new AbortController();
  const waiting = joined.client.exec("x", { timeout: 2 ** 40, signal: controller.signal }).catch((error) => error);
  controller.abort(reason);
  assertEquals(await waiting, reason);
});

Deno.test("what is collected has a bound, and a process that writes more is ended", async () => {
  await using joined = await join({ handler });
  const { client } = joined;
  assertEquals((await client.exec("say 12345", { maxOutput: 5 })).text(), "12345");
  const error = await client.exec("many 100000", { maxOutput: 1000 }).catch((error) => error);
  assertInstanceOf(error, SshError);
  assertEquals([error.code, error.message], [
    "CLOSED",
    "Command wrote more than `maxOutput`, 1000 bytes: it was ended",
  ]);
  await assertRejects(() => client.exec("both", { maxOutput: 3 }), SshError, "maxOutput");
});

Deno.test("a template runs once, and gives output, text, lines and JSON", async () => {
  let ran = 0;
  await using joined = await join({ handler: (session) => (ran++, handler(session)) });
  const { client } = joined, name = "it's $HOME";
  const command = client.$`ls -- ${name} ${["a", "b c"]}`;
  assertEquals(ran, 0);
  assertEquals(await command.text(), "ls -- 'it'\\''s $HOME' 'a' 'b c'");
  assertEquals((await command).text(), "ls -- 'it'\\''s $HOME' 'a' 'b c'");
  assertEquals(ran, 1);
  assertEquals(await client.$`say one\\ntwo\\n\\n`.text(), "one\ntwo\n");
  assertEquals(await Array.fromAsync(client.$`say one\\ntwo\\n`.lines()), ["one", "two"]);
  assertEquals(await client.$`say {"a":[1]}`.json(), { a: [1] });
  await assertRejects(() => client.$`say no`.json(), SyntaxError);
  for await (const line of client.$`hang`.lines()) {
    assertEquals(line, "hanging");
    break;
  }
  assertThrows(() => client.$("ls" as unknown as TemplateStringsArray), TypeError, "run() takes a text");
});

Deno.test("a template takes the options of a command, and checks its exit code unless they say otherwise", async () => {
  await using joined = await join({ handler });
  const { client } = joined, there = client.$({ cwd: "/srv" }), name = "a b";
  assertEquals(await there`ls ${name}`.text(), "cd '/srv' || exit\nls 'a b'");
  // One template is for many commands.
  assertEquals(await Array.fromAsync(there`x`.lines()), ["cd '/srv' || exit", "x"]);
  const merged = client.$({ stderr: "stdout" });
  assertEquals([...await merged`both`.text()].sort().join(""), "abcd");
  assertEquals([...(await Array.fromAsync(merged`both`.lines())).join("")].sort().join(""), "abcd");
  assertEquals(await client.$({ stdin: { text: "x" } })`first`.text(), "true");
  const late = await assertRejects(() => client.$({ timeout: 30 })`hang`.text(), DOMException);
  assertEquals(late.name, "TimeoutError");
  const never = await assertRejects(() => Array.fromAsync(client.$({ timeout: 30 })`hang`.lines()), DOMException);
  assertEquals(never.name, "TimeoutError");
  await assertRejects(async () => await client.$({ stderr: "null" })`fail`, SshCommandError);
  await assertRejects(() => Array.fromAsync(client.$({ stderr: "null" })`fail`.lines()), SshCommandError);
  const loose = client.$({ check: false });
  assertEquals((await loose`fail`).code, 4);
  assertEquals(await Array.fromAsync(loose`fail`.lines()), ["half"]);
  assertThrows(() => client.$({ timeout: -1 }), RangeError, "timeout");
  assertThrows(() => client.$({ stdin: "piped" }), TypeError, "nobody could write to it");
  assertThrows(() => client.$({ timeOut: 1 } as never), TypeError, "timeOut");
  assertThrows(() => client.$(null as never), TypeError, "run() takes a text");
});

Deno.test("a command begins in the directory that is named", async () => {
  await using joined = await join({ handler });
  assertEquals((await joined.client.exec("say x", { cwd: "a b" })).text(), "cd './a b' || exit\nsay x");
  assertEquals((await joined.client.exec("x", { cwd: "/srv" })).text(), "cd '/srv' || exit\nx");
  await assertRejects(() => joined.client.shell({ cwd: "/srv" }), TypeError, "Cannot start shell in a directory");
  await assertRejects(() => joined.client.subsystem("x", { cwd: "/srv" }), TypeError, "`cwd` is for commands");
});

Deno.test("outputs go to this program's own, from several commands at once", async () => {
  const program = `
    import { join } from ${JSON.stringify(import.meta.resolve("../_support/joined.ts"))};
    await using joined = await join();
    const options = { stdout: "inherit", stderr: "inherit" };
    const all = await Promise.all([1, 2].map(() => joined.client.exec("stderr", options)));
    if (all.some(({ code, stdout, stderr }) => code !== 3 || stdout.length + stderr.length > 0)) Deno.exit(9);
  `;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", program],
    cwd: new URL("../../", import.meta.url).pathname,
    env: { AMIKO_CHUNK: "", AMIKO_HWM: "" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals([code, out], [0, "outout"], err);
  assertStringIncludes(err!, "errerr");
});
