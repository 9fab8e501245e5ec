/**
 * Who waits for the answers to requests: they come in the order of the requests, but for those that the peer does not know at all.
 * RFC 4254 sections 4 and 5.4, RFC 4253 section 11.4. No I/O.
 *
 * @module
 */
import type { Question } from "../transport/types.ts";

/** A request that waits for its answer. */
class Waiter<T> implements Question {
  readonly #settled = Promise.withResolvers<T>();
  readonly #signal: AbortSignal | undefined;
  readonly #unknown: (waiter: Waiter<T>) => void;
  readonly #aborted: (waiter: Waiter<T>) => void;
  readonly #abort = (): void => {
    this.#settled.reject(this.#signal!.reason);
    this.#aborted(this);
  };
  waits = true;

  constructor(
    signal: AbortSignal | undefined,
    unknown: (waiter: Waiter<T>) => void,
    aborted: (waiter: Waiter<T>) => void,
  ) {
    this.#signal = signal;
    this.#unknown = unknown;
    this.#aborted = aborted;
    // The answer still comes, in its place in the order: an aborted waiter stays and is ignored.
    signal?.addEventListener("abort", this.#abort, { once: true });
  }

  /** Whether nobody wants the answer any more. */
  get isAborted(): boolean {
    return this.#signal?.aborted ?? false;
  }

  /** The answer. */
  get answer(): Promise<T> {
    return this.#settled.promise;
  }

  settle(act: (settled: PromiseWithResolvers<T>) => void): void {
    this.waits = false;
    this.#signal?.removeEventListener("abort", this.#abort);
    act(this.#settled);
  }

  unimplemented(): void {
    this.#unknown(this);
  }
}

/** The requests of one order that wait for their answers. */
export class Waiters<T> {
  readonly #refused: T;
  readonly #most: number;
  #waiting: Waiter<T>[] = [];
  /** Requests that have not left, as too many wait, and what sends them. */
  readonly #held = new Map<Waiter<T>, (question: Question) => void>();

  /** `refused` is the answer to a request that the peer does not know; no more than `most` wait at once. */
  constructor(refused: T, most: number) {
    this.#refused = refused;
    this.#most = most;
  }

  /** Requests that have not left. */
  get held(): number {
    return this.#held.size;
  }

  /** Sends a request once there is room for it, and those before it have left; resolves with the answer. An `urgent` one waits for none. */
  ask(signal: AbortSignal | undefined, send: (question: Question) => void, urgent = false): Promise<T> {
    const waiter = this.#make(signal);
    if (urgent) this.#leave(waiter, send);
    else {
      this.#held.set(waiter, send);
      this.#release();
    }
    return waiter.answer;
  }

  #make(signal: AbortSignal | undefined): Waiter<T> {
    return new Waiter<T>(signal, (unknown) => {
      this.#waiting.splice(this.#waiting.indexOf(unknown), 1);
      unknown.settle(({ resolve }) => resolve(this.#refused));
      this.#release();
    }, (waiter) => {
      this.#held.delete(waiter);
      this.#release();
    });
  }

  #leave(waiter: Waiter<T>, send: (question: Question) => void): void {
    this.#waiting.push(waiter);
    send(waiter);
  }

  /** Aborted ones take no room: some peers never answer. */
  #release(): void {
    if (this.#held.size === 0) return;
    const asked = this.#waiting.reduce((count, { isAborted }) => isAborted ? count : count + 1, 0);
    let room = this.#most - asked;
    for (const [waiter, send] of this.#held) {
      if (room <= 0) break;
      this.#held.delete(waiter);
      // One signal may be that of many, which hear of it one after the other.
      if (waiter.isAborted) continue;
      room--;
      this.#leave(waiter, send);
    }
  }

  /** The answer to the oldest has come; one that nobody waits for is dropped. */
  answered(value: () => T): void {
    this.#waiting.shift()?.settle(({ resolve }) => resolve(value()));
    this.#release();
  }

  /** No answer comes any more. */
  end(error: unknown): void {
    const waiting = [...this.#waiting, ...this.#held.keys()];
    this.#waiting = [];
    this.#held.clear();
    for (const waiter of waiting) {
      waiter.answer.catch(() => {});
      waiter.settle(({ reject }) => reject(error));
    }
  }
}
