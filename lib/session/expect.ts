/**
 * Waiting for what a process writes. No I/O of its own.
 *
 * Nothing is read before it matches: bytes that are looked at stay in the channel's queue, for which the window is given back all the
 * same, up to a bound. A match takes what is before it and the match itself out of the queue; whatever else ends the waiting takes
 * nothing.
 *
 * @module
 */
import { type BaseChannel, channelCore } from "../connection/channel.ts";
import { SshError } from "../errors.ts";
import { checkInteger, checkNames, checkSignalOption, checkTime, type Habit } from "../wire/check.ts";
import { Timer } from "../wire/timer.ts";
import type { Bytes } from "../wire/types.ts";
import { bytesOf, checkPattern, type OutputMatch, Pattern, quotedEnd, textDecoder } from "./pattern.ts";

/** Options of `RemoteProcess.expect()`. */
export interface ExpectOptions {
  /**
   * Bytes within which the match must end. They are kept until then; with more, it rejects with `SshError` `NO_MATCH`.
   * @default {1048576}
   */
  maxOutput?: number | undefined;
  /** Milliseconds until it rejects with a `TimeoutError`. The process goes on. @default {Infinity} */
  timeout?: number | undefined;
  /** Ends the waiting, with its reason. The process goes on. */
  signal?: AbortSignal | undefined;
}

const MAX_OUTPUT = 1_048_576;
/** A match may begin anywhere, so all that came is looked at again: where that is more characters than this, only now and then. */
const SEARCHED_AT_ONCE = 65_536;
/** Milliseconds between two of those searches, while output comes in ever so small pieces. */
const SEARCH_PAUSE = 20;

const habits: Readonly<Record<string, Habit>> = {
  maxBytes: { ours: ["maxOutput"], write: "`maxOutput`" },
  maxBuffer: { ours: ["maxOutput"], write: "`maxOutput`" },
};

/** Throws for what cannot be waited for. */
function check(pattern: unknown, options: ExpectOptions): void {
  checkPattern(pattern, "pattern");
  checkSignalOption(options);
  checkNames("expect()", options, ["maxOutput", "timeout", "signal"], habits);
  checkInteger("maxOutput", options.maxOutput, { min: 1, max: Infinity });
  checkTime("timeout", options.timeout);
}

/** Looks for a pattern in what comes. */
class Search {
  readonly #pattern: Pattern;
  readonly #most: number;
  readonly #decoder = textDecoder();
  #bytes: Bytes = new Uint8Array(1024);
  #length = 0;
  #text = "";
  /** Characters that have been searched. */
  #searched = 0;

  constructor(pattern: Pattern, most: number) {
    this.#pattern = pattern;
    this.#most = most;
  }

  /** What came so far. */
  get text(): string {
    return this.#text;
  }

  /** Whether nothing that comes could still end within the bound. */
  get isFull(): boolean {
    return this.#length >= this.#most;
  }

  /** Whether something came that has not been searched. */
  get hasNew(): boolean {
    return this.#text.length > this.#searched;
  }

  /** Whether each search costs so much that it is not to follow each piece of output. */
  get isLong(): boolean {
    return this.#text.length > SEARCHED_AT_ONCE;
  }

  /** Takes what came. Without bytes it is the end of the output. */
  add(bytes: Uint8Array | null): void {
    if (bytes === null) this.#text += this.#decoder.decode();
    else {
      const part = bytes.subarray(0, Math.min(bytes.length, this.#most - this.#length));
      this.#keep(part);
      this.#text += this.#decoder.decode(part, { stream: true });
    }
  }

  /** A match, and the bytes up to its end. */
  find(): { found: OutputMatch; bytes: number } | null {
    if (!this.hasNew) return null;
    const match = this.#pattern.find(this.#text, this.#searched);
    this.#searched = this.#text.length;
    if (match === null) return null;
    return { found: match.found, bytes: bytesOf(this.#text, match.end, this.#bytes.subarray(0, this.#length)) };
  }

  #keep(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(length, Math.min(2 * this.#bytes.length, this.#most)));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
  }
}

/** Waits until the output of a channel matches. `hide` takes out of a text what no error may show. */
export async function expectOn(
  channel: BaseChannel,
  pattern: string | RegExp,
  options: ExpectOptions,
  hide: (text: string) => string,
): Promise<OutputMatch> {
  check(pattern, options);
  const { maxOutput = MAX_OUTPUT, timeout = Infinity, signal } = options;
  signal?.throwIfAborted();
  if (channel.readable.locked) {
    throw new TypeError("Cannot wait for output: `stdout` is in use, by a reader or by another expect()");
  }
  const reader = channel.readable.getReader(), { received } = channelCore(channel);
  const wanted = new Pattern(pattern), search = new Search(wanted, maxOutput);
  const { promise, resolve, reject } = Promise.withResolvers<OutputMatch>();
  promise.catch(() => {});
  let release: (take: number) => void = () => {}, isOver = false;
  const fail = (error: unknown): void => {
    isOver = true;
    release(0);
    reject(error);
  };
  const quoted = (): string => search.text === "" ? "there was none" : `it ends with ${quotedEnd(hide(search.text))}`;
  const timer = new Timer(() => {
    if (find()) return;
    const words = `Output did not match ${wanted.shown} within ${timeout} milliseconds: ${quoted()}`;
    fail(new DOMException(words, "TimeoutError"));
  });
  const onAbort = (): void => fail(signal!.reason);
  timer.start(timeout);
  signal?.addEventListener("abort", onAbort, { once: true });
  const find = (): boolean => {
    const match = search.find();
    if (match === null) return false;
    isOver = true;
    release(match.bytes);
    resolve(match.found);
    return true;
  };
  let isPausing = false;
  const pause = new Timer(() => {
    isPausing = false;
    if (!isOver) findNext();
  });
  /** Looks at what came, or a little later, with what comes until then. */
  const findNext = (): boolean => {
    const isLong = search.isLong && !search.isFull;
    if (isLong && (isPausing || !search.hasNew)) return false;
    const found = find();
    // The pause begins when the search is done, however long that took: others have their turn.
    if (isLong && !found) {
      isPausing = true;
      pause.start(SEARCH_PAUSE);
    }
    return found;
  };
  try {
    const unread: Bytes[] = [];
    while (received.hasRest) unread.push((await reader.read()).value!);
    release = received.look({
      more: (bytes) => {
        search.add(bytes);
        if (findNext() || !search.isFull) return;
        const words = `Output did not match ${wanted.shown} within ${maxOutput} bytes: ${quoted()}`;
        fail(new SshError(words, { code: "NO_MATCH" }));
      },
      ended: (error) => {
        if (error === null) search.add(null);
        if (find()) return;
        if (error !== null) return fail(error.reason);
        const words = `Output ended before it matched ${wanted.shown}: ${quoted()}`;
        fail(new SshError(words, { code: "NO_MATCH" }));
      },
    }, unread);
    // Where it was given up meanwhile, what was read goes back, and no more.
    if (isOver) release(0);
    else received.flush();
    return await promise;
  } finally {
    timer.stop();
    pause.stop();
    signal?.removeEventListener("abort", onAbort);
    release(0);
    reader.releaseLock();
  }
}
