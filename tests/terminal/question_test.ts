/** Questions at a terminal that is the test's. */
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { ask, type AskOptions } from "../../lib/terminal/question.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { FakeTerminal } from "./_fake_terminal.ts";

/** Types pieces at a question; what the terminal is afterwards is looked at as well. */
async function answerTo(pieces: readonly (string | Uint8Array)[], terminal = new FakeTerminal()): Promise<string> {
  const answer = ask("Password: ", {}, terminal);
  for (const piece of pieces) terminal.type(piece);
  try {
    return await answer;
  } finally {
    assertEquals([terminal.raw, terminal.reading, terminal.listeners], [false, false, 0]);
    assertEquals(terminal.shown, { stdout: "", stderr: "Password: \r\n" });
  }
}

Deno.test("ask() gives the line that was typed without echo, as it was edited", async () => {
  const rows: readonly [typed: readonly (string | Uint8Array)[], answer: string][] = [
    [["secret\r"], "secret"],
    [["secret\n"], "secret"],
    [[..."secret\r"], "secret"],
    [["\r"], ""],
    [["secrex\u007ft\r"], "secret"],
    [["ab\b\b\b\u007fsecret\r"], "secret"],
    [["wrong\u0015secret\r"], "secret"],
    [["pä\u007faß€😀\u007f\r"], "paß€"],
    [["a\u0004b\r"], "ab"],
    // A character that is cut in two.
    [[new Uint8Array([0xc3]), new Uint8Array([0xa4, 13])], "ä"],
    [["x".repeat(5_000), "\r"], "x".repeat(4_096)],
  ];
  for (const [typed, answer] of rows) assertEquals(await answerTo(typed), answer, JSON.stringify(typed));
});

Deno.test("ask() leaves what stands behind the line to the next who reads, and asks one question after the other", async () => {
  const terminal = new FakeTerminal();
  const answers = ["one? ", "two? "].map((question) => ask(question, {}, terminal));
  await until(() => terminal.reading, "Nobody asks");
  await turns();
  assertEquals(terminal.shown.stderr, "one? ");
  terminal.type("first\rsecond\rrest");
  assertEquals(await Promise.all(answers), ["first", "second"]);
  assertEquals([terminal.shown.stderr, terminal.left], ["one? \r\ntwo? \r\n", "rest"]);
});

Deno.test("ask() with `echo` leaves the editing to the terminal", async () => {
  const terminal = new FakeTerminal(), answer = ask("Name: ", { echo: true }, terminal);
  await until(() => terminal.reading, "Nobody asks");
  assertEquals(terminal.listeners, 0);
  terminal.type("alice\nmore");
  assertEquals(await answer, "alice");
  assertEquals([terminal.modes, terminal.shown.stderr, terminal.left], [[], "Name: ", "more"]);
});

Deno.test("ask() rejects, with the terminal as it was, where there is no answer", async () => {
  const rows: readonly [words: string, act: (terminal: FakeTerminal) => void][] = [
    ["interrupted", (terminal) => terminal.type("half\u0003")],
    ["its input has ended", (terminal) => terminal.type("\u0004")],
    ["its input has ended", (terminal) => terminal.hangUp()],
    ["it is gone", (terminal) => terminal.hangUp(new Error("EIO"))],
    ["by SIGTERM", (terminal) => terminal.signal("SIGTERM")],
  ];
  for (const [words, act] of rows) {
    const terminal = new FakeTerminal(), answer = ask("Password: ", {}, terminal);
    await until(() => terminal.shown.stderr !== "", "Nobody asks");
    act(terminal);
    const error = await assertRejects(() => answer, SshError, words);
    assertEquals(error.code, "AUTH_FAILED");
    assertEquals([terminal.raw, terminal.reading, terminal.listeners], [false, false, 0]);
  }
  const none = new FakeTerminal();
  none.isTerminal = false;
  await assertRejects(() => ask("Password: ", {}, none), SshError, "standard input is no terminal");
  assertEquals([none.modes, none.shown.stderr], [[], ""]);
});

Deno.test("ask() gives up when its signal aborts, and what was typed by then is no answer to the next question", async () => {
  const terminal = new FakeTerminal(), abort = new AbortController(), reason = new Error("too late");
  const answer = ask("Password: ", { signal: abort.signal }, terminal);
  terminal.type("half");
  await until(() => terminal.reading && terminal.left === "", "Nobody reads");
  abort.abort(reason);
  assertEquals(await answer.catch((error) => error), reason);
  assertEquals([terminal.raw, terminal.reading, terminal.listeners], [false, false, 0]);
  assertEquals(await ask("Again: ", { signal: abort.signal }, terminal).catch((error) => error), reason);
  const late = await assertRejects(() => ask("Late: ", { timeout: 1 }, terminal), DOMException, "for an answer");
  assertEquals(late.name, "TimeoutError");
  const next = ask("Next: ", {}, terminal);
  terminal.type("other\r");
  assertEquals(await next, "other");
});

Deno.test("ask() can be given up while others are asked before, and while the terminal shows nothing", async () => {
  const terminal = new FakeTerminal(), abort = new AbortController(), reason = new Error("too late");
  const first = ask("one? ", {}, terminal);
  const queued = ask("two? ", { signal: abort.signal }, terminal).catch((error) => error);
  const late = assertRejects(() => ask("three? ", { timeout: 1 }, terminal), DOMException, "for an answer");
  const last = ask("four? ", {}, terminal);
  await until(() => terminal.reading, "Nobody asks");
  abort.abort(reason);
  assertEquals(await inTime(queued, "It waits for the answer of another"), reason);
  await inTime(late, "It waits for the answer of another");
  terminal.type("first\rlast\r");
  assertEquals(await Promise.all([first, last]), ["first", "last"]);
  assertEquals(terminal.shown.stderr, "one? \r\nfour? \r\n");
  const stuck = new FakeTerminal(), held = Promise.withResolvers<void>(), other = new AbortController();
  stuck.writing = held.promise;
  const answer = ask("Password: ", { signal: other.signal }, stuck).catch((error) => error);
  await until(() => stuck.waiting === 1, "Nothing is written");
  other.abort(reason);
  assertEquals(await inTime(answer, "It waits for the terminal"), reason);
  assertEquals([stuck.raw, stuck.reading, stuck.listeners], [false, false, 0]);
  held.resolve();
});

Deno.test("ask() refuses what makes no sense, before it asks", async () => {
  const terminal = new FakeTerminal();
  for (const question of [undefined, null, 5, {}]) {
    assertInstanceOf(await ask(question as unknown as string, {}, terminal).catch((error) => error), TypeError);
  }
  for (const options of [null, 5, { echo: 1 }, { signal: 5 }, { Echo: true }]) {
    const error = await ask("x", options as unknown as AskOptions, terminal).catch((error) => error);
    assertInstanceOf(error, TypeError, JSON.stringify(options));
  }
  assert(terminal.shown.stderr === "" && !terminal.reading);
});
