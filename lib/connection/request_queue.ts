/**
 * Answers requests one at a time and in order, however long the application takes, without holding up the reader.
 * RFC 4254 sections 4 and 5.4. No I/O.
 *
 * @module
 */
import { SshError, SshProtocolError } from "../errors.ts";
import { isThenable } from "../wire/callback.ts";
import type { MaybePromise } from "../wire/types.ts";

/** Bytes of requests that wait in one queue; more is abuse. */
const MAX_BYTES = 1_048_576;
/** What a request that waits takes beside its bytes, by a generous guess. */
const OVERHEAD = 256;

/** Bytes that requests of one peer may hold while they wait, in all the queues that share it. */
export class Budget {
  #left: number;

  /** So many bytes are there. */
  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Whether nothing is left. What is taken last may go beyond it, and is one message at most. */
  get isSpent(): boolean {
    return this.#left <= 0;
  }

  /** A request with `bytes` begins to wait. Returns what ends that. */
  take(bytes: number): () => void {
    let taken = bytes + OVERHEAD;
    this.#left -= taken;
    return () => {
      this.#left += taken;
      taken = 0;
    };
  }
}

interface Waiting {
  readonly task: () => MaybePromise<void>;
  /** Its bytes are free again. */
  readonly release: () => void;
}

/** A bounded queue of things to do one after the other; what can be done at once is done at once. */
export class RequestQueue {
  readonly #most: number;
  readonly #failed: (error: Error) => void;
  readonly #own = new Budget(MAX_BYTES);
  #waiting: Waiting[] = [];
  #busy = false;

  /** At most `most` wait; what a task throws is told to `failed`, and the tasks behind it are dropped. */
  constructor(most: number, failed: (error: Error) => void) {
    this.#most = most;
    this.#failed = failed;
  }

  /**
   * Does `task`, which holds `bytes` of a request until it is done, when those before it are. Throws when too many or too much wait,
   * here or in the queues that share the budget.
   */
  add(task: () => MaybePromise<void>, bytes: number, shared?: Budget): void {
    if (this.#waiting.length >= this.#most || this.#own.isSpent || shared?.isSpent) {
      throw new SshProtocolError(`Peer sent more than ${this.#waiting.length} requests ahead of their answers`);
    }
    const parts = [this.#own.take(bytes), shared?.take(bytes)];
    this.#waiting.push({ task, release: () => parts.forEach((part) => part?.()) });
    if (!this.#busy) this.#run();
  }

  /** Drops what waits: there is nobody to answer. */
  clear(): void {
    for (const { release } of this.#waiting) release();
    this.#waiting = [];
  }

  #run(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const { task, release } = next;
      const result = this.#attempt(task);
      if (result === undefined) {
        release();
        continue;
      }
      this.#busy = true;
      result.catch((cause) => this.#fail(cause)).then(() => {
        release();
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
 * wrong, but for a breach of the protocol, and `report` is told of it.
 */
export function decide<T>(
  decision: () => MaybePromise<T>,
  refused: T,
  done: (result: T) => void,
  report?: (error: unknown) => void,
): MaybePromise<void> {
  const failed = (error: unknown): T => {
    if (error instanceof SshProtocolError) throw error;
    report?.(error);
    return refused;
  };
  let result: MaybePromise<T>;
  try {
    result = decision();
  } catch (error) {
    result = failed(error);
  }
  // A promise of another realm or library counts as one: taken for a value it would count as granted.
  return isThenable(result) ? Promise.resolve(result).catch(failed).then(done) : done(result as T);
}
