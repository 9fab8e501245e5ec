/**
 * L4. Answers requests one at a time and in order, however long the application takes, without holding up the reader.
 * RFC 4254 sections 4 and 5.4. No I/O.
 *
 * @module
 */
import { SshError, SshProtocolError } from "../errors.ts";
import type { MaybePromise } from "../wire/types.ts";

/** A bounded queue of things to do one after the other; what can be done at once is done at once. */
export class RequestQueue {
  readonly #most: number;
  readonly #failed: (error: Error) => void;
  #waiting: (() => MaybePromise<void>)[] = [];
  #busy = false;

  /** At most `most` wait; what a task throws is told to `failed`, and the tasks behind it are dropped. */
  constructor(most: number, failed: (error: Error) => void) {
    this.#most = most;
    this.#failed = failed;
  }

  /** Does `task` when those before it are done. Throws when too many wait. */
  add(task: () => MaybePromise<void>): void {
    if (this.#waiting.length >= this.#most) {
      throw new SshProtocolError(`Peer sent more than ${this.#most} requests ahead of their answers`);
    }
    this.#waiting.push(task);
    if (!this.#busy) this.#run();
  }

  #run(): void {
    for (let task = this.#waiting.shift(); task !== undefined; task = this.#waiting.shift()) {
      const result = this.#attempt(task);
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
    this.#waiting = [];
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
  return result instanceof Promise ? result.catch(failed).then(done) : done(result);
}
