/**
 * L4. Answers requests one at a time and in order, however long the application takes, without holding up the reader.
 * RFC 4254 sections 4 and 5.4. No I/O.
 *
 * @module
 */
import { SshError, SshProtocolError } from "../errors.ts";
import type { MaybePromise } from "../wire/types.ts";

/** Bytes of requests that wait; more is abuse. */
const MAX_BYTES = 1_048_576;

interface Waiting {
  readonly task: () => MaybePromise<void>;
  readonly bytes: number;
}

/** A bounded queue of things to do one after the other; what can be done at once is done at once. */
export class RequestQueue {
  readonly #most: number;
  readonly #failed: (error: Error) => void;
  #waiting: Waiting[] = [];
  #bytes = 0;
  #busy = false;

  /** At most `most` wait; what a task throws is told to `failed`, and the tasks behind it are dropped. */
  constructor(most: number, failed: (error: Error) => void) {
    this.#most = most;
    this.#failed = failed;
  }

  /** Does `task`, which holds `bytes` of a request, when those before it are done. Throws when too many or too much wait. */
  add(task: () => MaybePromise<void>, bytes: number): void {
    if (this.#waiting.length >= this.#most || this.#bytes > MAX_BYTES) {
      throw new SshProtocolError(`Peer sent more than ${this.#waiting.length} requests ahead of their answers`);
    }
    this.#waiting.push({ task, bytes });
    this.#bytes += bytes;
    if (!this.#busy) this.#run();
  }

  /** Drops what waits: there is nobody to answer. */
  clear(): void {
    this.#waiting = [];
    this.#bytes = 0;
  }

  #run(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#bytes -= next.bytes;
      const result = this.#attempt(next.task);
      if (result === undefined) continue;
      this.#busy = true;
      result.catch((cause) => this.#fail(cause)).then(() => {
        this.#busy = false;
        this.#run();
      });
      return;
    }
  }

  #attempt(task: () => MaybePromise<void>): void | Promise<void> {
    try {
      return task();
    } catch (cause) {
      this.#fail(cause);
    }
  }

  #fail(cause: unknown): void {
    this.clear();
    this.#failed(cause instanceof Error ? cause : new SshError("Request failed", { code: "PROTOCOL_ERROR", cause }));
  }
}

/**
 * The outcome of a decision of the application, which may be a promise and may throw: `refused` stands for whatever goes
 * wrong, but for a breach of the protocol.
 */
export function decide<T>(decision: () => MaybePromise<T>, refused: T, done: (result: T) => void): MaybePromise<void> {
  const failed = (error: unknown): T => {
    if (error instanceof SshProtocolError) throw error;
    return refused;
  };
  let result: MaybePromise<T>;
  try {
    result = decision();
  } catch (error) {
    result = failed(error);
  }
  return isThenable(result) ? Promise.resolve(result).catch(failed).then(done) : done(result);
}

/** A promise of another realm or library counts as one: taken for a value it would count as granted. */
function isThenable<T>(value: MaybePromise<T>): value is Promise<T> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}
