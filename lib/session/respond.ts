/**
 * Answers to what a process asks. No I/O of its own.
 *
 * Output is looked at as it comes, whoever reads it, and goes on whole. An answer leaves behind what was written before; the input that
 * was given beforehand, and the end of file, wait until every answer has been given, or a question would take it for the answer.
 *
 * @module
 */
import { type BaseChannel, channelCore } from "../connection/channel.ts";
import { SshError } from "../errors.ts";
import { checkNames, checkObject, type Habit, kindOf, wrongKind } from "../wire/check.ts";
import type { MaybePromise } from "../wire/types.ts";
import { checkPattern, type Found, type OutputMatch, Pattern, textDecoder } from "./pattern.ts";
import type { Secrets } from "./secrets.ts";

/** What answers: a line of text, bytes as they are, or a function that gives either. */
export type AnswerValue = string | Uint8Array;

/** A question that a process asks in its output, and the answer. */
export interface Answer {
  /**
   * What the question looks like, in the last 16,384 characters of standard output, or of standard error. `$` is the end of what has
   * come so far, and misses a question that more has come behind. A match of no characters is none.
   */
  pattern: string | RegExp;
  /**
   * What is sent to standard input: a text as a line, whether it has the newline at its end or not, and bytes as they are. A function is
   * called with the match, once for each time; what it throws ends the process. The answer is in no error.
   */
  answer: AnswerValue | ((match: OutputMatch) => MaybePromise<AnswerValue>);
  /**
   * How often it may be asked. Once more, and the process is ended with `SshError` `CLOSED`: the answer was wrong, most likely, and who
   * sends a wrong password again and again is locked out. @default {1}
   */
  times?: number | undefined;
}

/** Characters of each output that are looked at. */
const KEPT = 16_384;
/** Answers of functions that are waited for; more is a peer that asks without end. */
const MAX_WAITING = 64;

const habits: Readonly<Record<string, Habit>> = {
  response: { ours: ["answer"], write: "`answer`" },
  prompt: { ours: ["pattern"], write: "`pattern`" },
  question: { ours: ["pattern"], write: "`pattern`" },
  count: { ours: ["times"], write: "`times`" },
};

/** Throws `TypeError` or `RangeError` for what is no list of answers. */
export function checkRespond(value: unknown, name: string): void {
  if (!Array.isArray(value)) throw wrongKind(name, value, "an array such as `[{ pattern: /password: $/, answer }]`");
  value.forEach((row: unknown, i) => {
    const where = `${name}[${i}]`;
    checkObject(where, row, "an object such as `{ pattern, answer }`");
    checkNames(`\`${name}\``, row as object, ["pattern", "answer", "times"], habits);
    const { pattern, answer, times } = row as Partial<Record<keyof Answer, unknown>>;
    checkPattern(pattern, `${where}.pattern`);
    if (typeof answer !== "function") checkAnswer(answer, `${where}.answer`, ", or a function that gives one");
    if (times === undefined || times === Infinity || Number.isInteger(times) && (times as number) > 0) return;
    throw new RangeError(`Cannot use ${kindOf(times)} as \`${where}.times\`: it must be an integer, 1 or more`);
  });
}

function checkAnswer(value: unknown, name: string, more = ""): asserts value is AnswerValue {
  // What is wrong with it is not told: it may be a secret.
  if (typeof value !== "string" && !(value instanceof Uint8Array)) {
    throw wrongKind(name, value, `a text or bytes${more}`);
  }
}

/** What is sent for an answer. */
function encodeAnswer(answer: AnswerValue): Uint8Array {
  if (answer instanceof Uint8Array) return answer;
  return new TextEncoder().encode(/[\r\n]$/.test(answer) ? answer : `${answer}\n`);
}

/** What a gate can do to its process. */
export interface GatedProcess {
  /** Sends bytes to standard input; false where that is closed. */
  send(bytes: Uint8Array): boolean;
  /** Ends it. */
  fail(error: unknown): void;
}

/** What stands before an output until the process is let through. */
export interface Gate {
  /** The output that it stands before. */
  readonly before: "readable" | "stderr";
  /** Nothing else is sent before this resolves. */
  readonly opened: Promise<void>;
  /** Is told of the output's data; returns how many bytes of its beginning nobody is to get. */
  pass(data: Uint8Array, process: GatedProcess): number;
}

/** One row and how often it has answered. */
interface Row {
  readonly pattern: Pattern;
  readonly answer: Answer["answer"];
  left: number;
}

/** What one output has said since it was answered last. */
interface Heard {
  readonly decoder: TextDecoder;
  text: string;
}

/** Answers what a process asks on one channel. */
export class Responder {
  /** Resolves when every answer has been given as often as it may be. */
  readonly done: Promise<void>;
  readonly #done = Promise.withResolvers<void>();
  readonly #channel: BaseChannel;
  readonly #rows: readonly Row[];
  readonly #secrets: Secrets;
  readonly #failed: (error: unknown) => void;
  #answering: Promise<void> = Promise.resolve();
  #waiting = 0;
  #isOver = false;

  /** `failed` is to end the process. */
  constructor(channel: BaseChannel, answers: readonly Answer[], secrets: Secrets, failed: (error: unknown) => void) {
    this.#channel = channel;
    this.#rows = answers.map(({ pattern, answer, times = 1 }) => ({
      pattern: new Pattern(pattern),
      answer,
      left: times,
    }));
    this.#secrets = secrets;
    this.#failed = failed;
    this.done = this.#done.promise;
    // An answer may be echoed before it is counted as given.
    for (const { answer } of this.#rows) if (typeof answer !== "function") secrets.add(answer);
    if (this.#rows.length === 0) this.#done.resolve();
  }

  /** What is told of one output's data. */
  listener(): (data: Uint8Array) => void {
    const heard: Heard = { decoder: textDecoder(), text: "" };
    return (data) => this.#hear(heard, data);
  }

  #hear(heard: Heard, data: Uint8Array): void {
    if (this.#isOver || this.#rows.length === 0) return;
    let known = heard.text.length;
    heard.text += heard.decoder.decode(data, { stream: true });
    for (;;) {
      const asked = this.#find(heard.text, known);
      if (asked === null) break;
      heard.text = heard.text.slice(asked.found.end);
      known = 0;
      this.#answer(asked.row, asked.found.found);
      if (this.#isOver) return;
    }
    // Cut seldom, as that copies.
    if (heard.text.length > 2 * KEPT) heard.text = heard.text.slice(-KEPT);
  }

  /** The question that comes first; of those that begin together, the first in the list. */
  #find(text: string, known: number): { row: Row; found: Found } | null {
    let first: { row: Row; found: Found } | null = null;
    for (const row of this.#rows) {
      const found = row.pattern.find(text, known);
      if (found === null || found.end === found.start) continue;
      if (first === null || found.start < first.found.start) first = { row, found };
    }
    return first;
  }

  #answer(row: Row, match: OutputMatch): void {
    if (row.left === 0) {
      const words = `Process asks again for what was answered: its output matches ${row.pattern.shown} once more; ` +
        "it was ended, as the answer may be wrong (`times` allows more)";
      return this.#fail(new SshError(words, { code: "CLOSED" }));
    }
    row.left--;
    if (++this.#waiting > MAX_WAITING) {
      return this.#fail(
        new SshError(`Process asks more than ${MAX_WAITING} times without waiting`, { code: "CLOSED" }),
      );
    }
    const { answer } = row, isLast = this.#rows.every(({ left }) => left === 0);
    this.#answering = this.#answering.then(async () => {
      const value: unknown = typeof answer === "function" ? await answer(match) : answer;
      this.#waiting--;
      if (this.#isOver) return;
      checkAnswer(value, "answer");
      this.#secrets.add(value);
      if (!channelCore(this.#channel).sent.insert(encodeAnswer(value)) && this.#channel.isOpen) {
        throw new SshError("Process asks and takes no answer: its standard input is closed or full", {
          code: "CLOSED",
        });
      }
      if (isLast) this.#done.resolve();
    }).catch((error) => this.#fail(error));
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#failed(error);
  }
}

/**
 * Lets a process be answered: by a list, and by a gate. Resolves when the input may begin that was given beforehand; `failed` is to end
 * the process.
 */
export async function converse(
  channel: BaseChannel,
  { answers = [], gate }: { answers: readonly Answer[] | undefined; gate: Gate | undefined },
  secrets: Secrets,
  failed: (error: unknown) => void,
): Promise<void> {
  const core = channelCore(channel), responder = new Responder(channel, answers, secrets, failed);
  const process: GatedProcess = { send: (bytes) => core.sent.insert(bytes), fail: failed };
  const streams = { readable: core.received, stderr: core.receivedStderr };
  for (const name of ["readable", "stderr"] as const) {
    const listen = answers.length > 0 ? responder.listener() : null;
    const own = gate?.before === name ? gate : null;
    if (listen === null && own === null) continue;
    streams[name].tap = (data) => {
      try {
        listen?.(data);
        return own === null ? 0 : own.pass(data, process);
      } catch (error) {
        failed(error);
        return 0;
      }
    };
  }
  await Promise.all([responder.done, gate?.opened]);
}
