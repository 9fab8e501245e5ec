/** A remote process on a terminal that is the test's; the real one stands in tests/interop/terminal_test.ts. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import type { RemoteProcess } from "../../lib/session/process.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import type { ExecOptions } from "../../lib/session/types.ts";
import { attach, type AttachOptions } from "../../lib/terminal/attach.ts";
import { join, type Joined, say } from "../_support/joined.ts";
import { type MemoryPair, memoryPair } from "../_support/duplex.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { FakeTerminal } from "./_fake_terminal.ts";

/** Says what it is typed, as `<codes>`, ends with 7 at `q`, and tells resizes. */
async function echo(session: ServerSession): Promise<number> {
  const writer = session.stdout.getWriter();
  await say(writer, `${session.pty?.columns}x${session.pty?.rows} `);
  void (async () => {
    for await (const { columns, rows } of session.resizes) await say(writer, `${columns}x${rows} `);
  })().catch(() => {});
  for await (const chunk of session.stdin) {
    for (const byte of chunk) {
      if (byte === 113) return 7;
      await say(writer, `<${byte}>`);
    }
  }
  await say(writer, "EOF ");
  return 8;
}

interface Attached extends AsyncDisposable {
  readonly joined: Joined;
  readonly process: RemoteProcess;
  readonly terminal: FakeTerminal;
  readonly over: Promise<{ code: number | null }>;
  /** Fails unless the terminal is as it was, and nobody has to do with it. */
  isRestored(): void;
}

/** A shell on a fake terminal. */
async function attached(
  handler: (session: ServerSession) => Promise<number | void> = echo,
  { terminal = new FakeTerminal(), exec = { pty: true }, options = {}, pair = memoryPair(), window }: {
    terminal?: FakeTerminal;
    exec?: ExecOptions;
    options?: AttachOptions;
    pair?: MemoryPair;
    window?: number;
  } = {},
): Promise<Attached> {
  const joined = await join({ handler, window }, {}, pair);
  const process = await joined.client.shell(exec);
  const over = attach(process, options, terminal);
  over.catch(() => {});
  return {
    joined,
    process,
    terminal,
    over,
    isRestored() {
      assertEquals([terminal.raw, terminal.reading, terminal.listeners], [false, false, 0]);
    },
    [Symbol.asyncDispose]: () => joined[Symbol.asyncDispose](),
  };
}

Deno.test("attach() sends every key as it is, shows what comes, passes resizes on, and resolves to the exit status", async () => {
  await using shell = await attached();
  const { terminal } = shell;
  await terminal.shows("80x24 ");
  assert(terminal.raw);
  terminal.type("a\u0003\u0004\u001a\u001c\u001b[A\u00e9");
  await terminal.shows("<97><3><4><26><28><27><91><65><195><169>");
  terminal.resize({ columns: 100, rows: 30 });
  await terminal.shows("100x30 ");
  for (const none of [null, { columns: 0, rows: 24 }, { columns: 80, rows: 0 }]) terminal.resize(none);
  terminal.type("q");
  assertEquals((await shell.over).code, 7);
  shell.isRestored();
  assertEquals(terminal.modes, ["both ways", false]);
  assert(!/x0 |0x/.test(terminal.shown.stdout.replace(/[180]0x/g, "")), terminal.shown.stdout);
  // What is typed now is for who reads next.
  terminal.type("later");
  await turns();
  assertEquals(terminal.left, "later");
});

Deno.test("attach() sets the terminal raw again, and tells its size, when the program goes on after a stop", async () => {
  await using shell = await attached();
  const { terminal } = shell;
  await terminal.shows("80x24 ");
  terminal.type("~\u001a");
  await until(() => terminal.suspended === 1, "It is not suspended");
  terminal.now = { columns: 90, rows: 25 };
  terminal.continue();
  assert(terminal.raw);
  await terminal.shows("90x25 ");
  terminal.type("q");
  await shell.over;
  shell.isRestored();
  terminal.continue();
  assert(!terminal.raw);
});

Deno.test("attach() that is aborted lets go of the process, which can be attached again, and nothing is lost", async () => {
  const abort = new AbortController(), reason = new Error("enough");
  await using shell = await attached(echo, { options: { signal: abort.signal } });
  const { terminal, process } = shell;
  terminal.type("a");
  await terminal.shows("<97>");
  abort.abort(reason);
  assertEquals(await shell.over.catch((error) => error), reason);
  shell.isRestored();
  assertEquals([process.stdin.locked, process.stdout.locked, process.stderr.locked], [false, false, false]);
  await assertRejects(() => attach(process, { signal: abort.signal }, terminal), Error, "enough");
  const late = await assertRejects(() => attach(process, { timeout: 1 }, terminal), DOMException, "the session to end");
  assertEquals(late.name, "TimeoutError");
  shell.isRestored();
  terminal.type("b");
  await turns();
  assertEquals(terminal.left, "b");
  const over = attach(process, {}, terminal);
  await terminal.shows("<98>");
  terminal.type("q");
  assertEquals((await over).code, 7);
  shell.isRestored();
});

Deno.test("attach() rejects with the connection's error where that is lost, behind what came", async () => {
  await using shell = await attached(async (session) => {
    await say(session.stdout.getWriter(), "so far");
    await new Promise(() => {});
  });
  await shell.terminal.shows("so far");
  shell.joined.pair.reset();
  const error = await inTime(shell.over.catch((error) => error), "It hangs");
  assertInstanceOf(error, SshError);
  assertEquals(error.code, "CONNECTION_LOST");
  shell.isRestored();
});

Deno.test("attach() ends at ~. where nothing comes and nothing is taken any more", async () => {
  let ended = false;
  await using shell = await attached(async (session) => {
    session.signal.addEventListener("abort", () => ended = true);
    await new Promise(() => {});
  }, { window: 32_768, pair: memoryPair({ chunks: "whole" }) });
  const { terminal } = shell;
  // More than the window and what waits for it here.
  for (let i = 0; i < 40; i++) terminal.type(new Uint8Array(5_000).fill(97));
  terminal.type("\r~?");
  await terminal.shows("Keys for this side", "stderr");
  // Nor does anything get through.
  const { toServer, toClient } = shell.joined.pair;
  for (const way of [toServer, toClient]) way.stall();
  terminal.type("~.");
  const error = await inTime(shell.over.catch((error) => error), "It hangs");
  assertInstanceOf(error, SshError);
  assertEquals([error.code, error.message], ["CLOSED", "Session was ended by ~."]);
  shell.isRestored();
  for (const way of [toServer, toClient]) way.resume();
  await until(() => ended, "The session goes on");
});

Deno.test("attach() reads no further than a mebibyte ahead of a process that takes no keys, and loses none", async () => {
  const start = Promise.withResolvers<void>(), typed = 150 * 20_000;
  let taken = 0;
  await using shell = await attached(async (session) => {
    await start.promise;
    for await (const chunk of session.stdin) if ((taken += chunk.length) === typed) break;
    return 6;
  }, { window: 32_768, pair: memoryPair({ chunks: "whole" }) });
  const { terminal } = shell;
  for (let i = 0; i < 150; i++) terminal.type(new Uint8Array(20_000).fill(97));
  let before = -1;
  await until(async () => {
    const same = before === (before = terminal.left.length);
    await turns(30);
    return same;
  }, "It reads on");
  assert(terminal.left.length > typed - 2 ** 21, `${terminal.left.length} left`);
  assert(terminal.left.length < typed - 2 ** 20, `${terminal.left.length} left`);
  start.resolve();
  assertEquals((await shell.over).code, 6);
  assertEquals(taken, typed);
});

Deno.test("attach() leaves the alternate screen that the process has left on, and touches nothing else", async () => {
  await using shell = await attached(async (session) => {
    await say(session.stdout.getWriter(), "\x1b[?1049h\x1b[?7lediting");
    await new Promise(() => {});
  });
  await shell.terminal.shows("editing");
  shell.terminal.type("~.");
  await assertRejects(() => shell.over, SshError);
  assertEquals(shell.terminal.shown.stdout, "\x1b[?1049h\x1b[?7lediting\x1b[0m\x1b[?1049l");
  assertEquals(shell.terminal.modes, ["both ways", false]);
});

Deno.test("attach() sends ~~ as one, ~B as a BREAK, and every ~ where `escape` is false or another", async () => {
  const breaks: number[] = [];
  const handler = async (session: ServerSession): Promise<number> => {
    void (async () => {
      for await (const length of session.breaks) breaks.push(length);
    })().catch(() => {});
    return await echo(session);
  };
  await using shell = await attached(handler);
  shell.terminal.type("~~~B\r~B");
  await shell.terminal.shows("<126><126><66><13>");
  await until(() => breaks.length === 1, "There is no BREAK");
  shell.terminal.type("q");
  await shell.over;
  await using other = await attached(echo, { options: { escape: "%" } });
  other.terminal.type("~.\r%%q");
  await other.over;
  assertStringIncludes(other.terminal.shown.stdout, "<126><46><13><37>");
  await using none = await attached(echo, { options: { escape: false } });
  none.terminal.type("~.\r~?q");
  await none.over;
  assertStringIncludes(none.terminal.shown.stdout, "<126><46><13><126><63>");
});

Deno.test("attach() ends the process, and says why, where a signal ends this program or its terminal goes away", async () => {
  const gone = new Error("EIO");
  const rows: readonly [act: (terminal: FakeTerminal) => void, words: string, cause?: Error][] = [
    [(terminal) => terminal.signal("SIGTERM"), "Session was ended by SIGTERM to this program"],
    [(terminal) => terminal.hangUp(), "Session was ended: this program's terminal is gone"],
    [(terminal) => terminal.hangUp(gone), "Session was ended: this program's terminal is gone", gone],
    [
      (terminal) => {
        terminal.writing = Promise.reject(gone);
        terminal.writing.catch(() => {});
        terminal.type("a");
      },
      "Session was ended: this program's stdout takes no more",
      gone,
    ],
  ];
  let ended = 0;
  await using joined = await join({
    handler: (session) => {
      session.signal.addEventListener("abort", () => ended++);
      return echo(session);
    },
  });
  for (const [i, [act, words, cause]] of rows.entries()) {
    const terminal = new FakeTerminal(), over = attach(await joined.client.shell({ pty: true }), {}, terminal);
    over.catch(() => {});
    await terminal.shows("80x24 ");
    // A terminal that is gone cannot be set either.
    if (i > 0) terminal.broken = gone;
    act(terminal);
    const error = await inTime(over.catch((error) => error), words);
    assertInstanceOf(error, SshError);
    assertEquals([error.code, error.message, error.cause], ["CLOSED", words, cause]);
    assertEquals([terminal.modes.at(-1), terminal.reading, terminal.listeners], [false, false, 0]);
    await until(() => ended === i + 1, `The session goes on: ${words}`);
  }
});

Deno.test("attach() holds the process up while the terminal is slow, and loses nothing", async () => {
  let written = 0;
  const held = Promise.withResolvers<void>(), terminal = new FakeTerminal(), total = 8 * 2 ** 20;
  terminal.writing = held.promise;
  await using shell = await attached(async ({ stdout }) => {
    const writer = stdout.getWriter();
    for (; written < total; written += 65_536) await writer.write(new Uint8Array(65_536).fill(120));
    return 3;
  }, { terminal, pair: memoryPair({ chunks: "whole" }) });
  await until(() => terminal.waiting === 1, "Nothing is written");
  let before = -1;
  await until(() => before === (before = written), "It goes on");
  assert(written < total, "the window is the bound");
  held.resolve();
  assertEquals((await shell.over).code, 3);
  assertEquals(terminal.shown.stdout.length, total);
  shell.isRestored();
});

Deno.test("attach() can be ended while the terminal takes nothing: by ~., and by its signal", async () => {
  const abort = new AbortController();
  for (const act of [(t: FakeTerminal) => t.type("~."), () => abort.abort(new Error("enough"))]) {
    const held = Promise.withResolvers<void>(), terminal = new FakeTerminal();
    terminal.writing = held.promise;
    await using shell = await attached(echo, { terminal, options: { signal: abort.signal } });
    await until(() => terminal.waiting === 1, "Nothing is written");
    act(terminal);
    assertInstanceOf(await inTime(shell.over.catch((error) => error), "It hangs"), Error);
    shell.isRestored();
    held.resolve();
    // What had come is shown all the same.
    await terminal.shows("80x24 ");
  }
});

Deno.test("attach() sends what is no terminal as it is, and then the end of file", async () => {
  const terminal = new FakeTerminal();
  terminal.isTerminal = false;
  await using shell = await attached(echo, { terminal });
  terminal.type("~.\r~.\u0003");
  terminal.hangUp();
  assertEquals((await shell.over).code, 8);
  assertStringIncludes(terminal.shown.stdout, "<126><46><13><126><46><3>EOF ");
  assertEquals(terminal.modes, []);
  shell.isRestored();
});

Deno.test("attach() leaves the terminal as it is where the process has none, and keeps its two outputs apart", async () => {
  await using shell = await attached(async (session) => {
    await say(session.stdout.getWriter(), "out");
    await say(session.stderr.getWriter(), "err");
    const text = await new Response(session.stdin).text();
    return text === "a line\n" ? 5 : 6;
  }, { exec: {} });
  const { terminal } = shell;
  await terminal.shows("out");
  await terminal.shows("err", "stderr");
  terminal.signal("SIGTERM");
  terminal.type("a line\n");
  terminal.hangUp();
  assertEquals((await shell.over).code, 5);
  assertEquals([terminal.modes, terminal.shown], [[], { stdout: "out", stderr: "err" }]);
  shell.isRestored();
});

Deno.test("attach() lets go of a pipe as soon as the process takes no more, and ends a process whose input fails", async () => {
  const terminal = new FakeTerminal(), other = new FakeTerminal();
  terminal.isTerminal = other.isTerminal = false;
  await using shell = await attached(() => Promise.resolve(4), { terminal });
  assertEquals((await shell.over).code, 4);
  shell.isRestored();
  const cause = new Error("Is a directory");
  await using failing = await attached(echo, { terminal: other });
  other.hangUp(cause);
  const error = await assertRejects(() => failing.over, SshError, "standard input of this program failed");
  assertEquals([error.code, error.cause], ["CLOSED", cause]);
  failing.isRestored();
});

Deno.test("attach() refuses what it cannot attach, before it touches the terminal", async () => {
  const terminal = new FakeTerminal();
  await using joined = await join({ handler: echo });
  await using process = await joined.client.shell({ pty: true });
  const refused = async (one: unknown, options: unknown, words: string): Promise<void> => {
    await assertRejects(() => attach(one as RemoteProcess, options as AttachOptions, terminal), TypeError, words);
  };
  for (const one of [null, undefined, {}, joined.client, Promise.resolve(process)]) {
    await refused(one, {}, "as `process`: it must be");
  }
  for (const escape of ["", "~.", "\n", "é", null, true, 5]) {
    await refused(process, { escape }, "as `escape`: it must be one character of ASCII, or false");
  }
  for (const options of [null, 5, "text"]) await refused(process, options, "as `options`");
  await refused(process, { escapeChar: "%" }, "`escape`");
  await refused(process, { signal: 5 }, "signal");
  for (const timeout of [0, -1, NaN, "5", null]) {
    await assertRejects(() => attach(process, { timeout } as AttachOptions, terminal), RangeError, "as `timeout`");
  }
  for (const name of ["stdout", "stderr"] as const) {
    const reader = process[name].getReader();
    await refused(process, {}, `\`${name}\` of the process is in use`);
    reader.releaseLock();
  }
  const writer = process.stdin.getWriter();
  await refused(process, {}, "`stdin` of the process is in use");
  writer.releaseLock();
  const input = terminal.input();
  await refused(process, {}, "Cannot read standard input");
  await input.cancel();
  assertEquals([terminal.modes, terminal.listeners], [[], 0]);
  // A terminal that cannot be set is left alone, and the process with it.
  terminal.broken = new Error("ENOTTY");
  await assertRejects(() => attach(process, {}, terminal), Error, "ENOTTY");
  terminal.broken = null;
  assertEquals([terminal.raw, terminal.reading, terminal.listeners], [false, false, 0]);
  const over = attach(process, {}, terminal);
  terminal.type("q");
  assertEquals((await over).code, 7);
});
