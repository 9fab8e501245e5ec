/**
 * Questions to whoever sits at this program's terminal, with answers that are not shown. No I/O of its own.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import { callBack } from "../wire/callback.ts";
import { checkFlag, checkNames, checkObject, checkText, checkWait } from "../wire/check.ts";
import { abortable } from "../wire/abortable.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import type { Bytes } from "../wire/types.ts";
import { briefly, type OwnTerminal, rawMode } from "./own_terminal.ts";

/** Options of `askTerminal()`. */
export interface AskOptions extends WaitOptions {
  /** Whether what is typed is shown. @default {false} */
  echo?: boolean | undefined;
}

/** Bytes of an answer; more are not taken. */
const MAX_ANSWER = 4_096;

const INTERRUPT = 3, END = 4, BACKSPACE = 8, NEWLINE = 10, RETURN = 13, KILL_LINE = 21, DELETE = 127;

function checkAsk(question: unknown, options: unknown): asserts options is AskOptions {
  checkText("question", question, "a text");
  checkObject("options", options, "an object such as `{ echo: true }`");
  checkNames("askTerminal()", options as object, ["echo", "signal", "timeout"], {});
  checkFlag("echo", (options as AskOptions).echo);
  checkWait(options);
}

/** The question that is asked last: one goes after the other. */
const last = new WeakMap<OwnTerminal, Promise<unknown>>();

/** Asks, and resolves to the line that was typed, without its end. */
export async function ask(question: string, options: AskOptions, terminal: OwnTerminal): Promise<string> {
  checkAsk(question, options);
  return await withDeadline(options, () => "an answer", (signal) => {
    const before = last.get(terminal) ?? Promise.resolve();
    const turn = before.then(() => askNow(question, { ...options, signal }, terminal));
    last.set(terminal, turn.catch(() => {}));
    // Who gives up does not wait for those who ask before; who asks sets the terminal back first.
    return abortable(before, signal).then(() => turn);
  });
}

async function askNow(question: string, { echo = false, signal }: AskOptions, terminal: OwnTerminal): Promise<string> {
  signal?.throwIfAborted();
  if (!terminal.isTerminal) throw unanswered("standard input is no terminal");
  const given = Promise.withResolvers<never>(), undo: (() => void)[] = [];
  given.promise.catch(() => {});
  try {
    const input = terminal.input().getReader();
    undo.push(() => void input.cancel().catch(() => {}));
    if (!echo) {
      undo.push(rawMode(terminal));
      undo.push(terminal.onSignal((name) => given.reject(unanswered(`this program was told to end, by ${name}`))));
    }
    const onAbort = (): void => given.reject(signal!.reason);
    signal?.addEventListener("abort", onAbort);
    undo.push(() => signal?.removeEventListener("abort", onAbort));
    await Promise.race([terminal.write("stderr", new TextEncoder().encode(question)), given.promise]);
    const answered = lineOf(input, !echo, terminal);
    answered.catch(() => {});
    return await Promise.race([answered, given.promise]);
  } finally {
    // Each is done, whatever happens to the others.
    for (const one of undo.reverse()) callBack(one);
    // What is not shown shows no newline either.
    if (!echo) await briefly(terminal.write("stderr", new Uint8Array([RETURN, NEWLINE])));
  }
}

/** It may hold a secret of somebody's, and stays out of the message. */
function unanswered(why: string): SshError {
  return new SshError(`Cannot ask on the terminal: ${why}`, { code: "AUTH_FAILED" });
}

/** One line; `isRaw` says that the terminal has not edited it. What stands behind it is for the next reader. */
async function lineOf(
  input: ReadableStreamDefaultReader<Bytes>,
  isRaw: boolean,
  terminal: OwnTerminal,
): Promise<string> {
  const typed: number[] = [];
  for (;;) {
    const { done, value } = await input.read().catch((cause) => {
      throw new SshError("Cannot ask on the terminal: it is gone", { code: "AUTH_FAILED", cause });
    });
    if (done) throw unanswered("its input has ended");
    for (const [at, byte] of value.entries()) {
      if (byte === NEWLINE || byte === RETURN) {
        if (at + 1 < value.length) terminal.unread(value.slice(at + 1));
        const answer = new TextDecoder().decode(new Uint8Array(typed));
        typed.fill(0);
        return answer;
      }
      if (isRaw && edit(typed, byte)) continue;
      if (typed.length < MAX_ANSWER) typed.push(byte);
    }
  }
}

/** What keys do that a terminal would have seen to. Returns whether this was one. */
function edit(typed: number[], byte: number): boolean {
  switch (byte) {
    case INTERRUPT:
      throw unanswered("interrupted");
    case END:
      if (typed.length === 0) throw unanswered("its input has ended");
      return true;
    case BACKSPACE:
    case DELETE:
      // The whole character: bytes that go on with one begin with the bits 10.
      while (((typed.pop() ?? 0) & 0xc0) === 0x80);
      return true;
    case KILL_LINE:
      typed.length = 0;
      return true;
    default:
      return false;
  }
}
