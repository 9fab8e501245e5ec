/**
 * Events waiting for a reader that may never come: bounded, the oldest is given up first. No I/O, no timers.
 *
 * @module
 */

/** A bounded queue read as an `AsyncIterable`; several readers share it, each event going to one of them. */
export class Mailbox<T> implements AsyncIterable<T> {
  readonly #capacity: number;
  readonly #unread: T[] = [];
  readonly #waiting: ((result: IteratorResult<T>) => void)[] = [];
  #ended = false;
  #readers = 0;

  /** Keeps at most `capacity` unread events. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Whether somebody iterates. */
  get hasReader(): boolean {
    return this.#readers > 0;
  }

  /** Adds an event; the oldest unread one makes room. */
  push(event: T): void {
    if (this.#ended) return;
    const reader = this.#waiting.shift();
    if (reader !== undefined) return reader({ done: false, value: event });
    if (this.#unread.length === this.#capacity) this.#unread.shift();
    this.#unread.push(event);
  }

  /** No more will come: readers get what is unread, then the end. */
  end(): void {
    this.#ended = true;
    for (const reader of this.#waiting.splice(0)) reader({ done: true, value: undefined });
  }

  /** Reads events until the end. */
  [Symbol.asyncIterator](): AsyncIterator<T> {
    let open = true;
    this.#readers++;
    const leave = (): void => {
      if (open) this.#readers--;
      open = false;
    };
    return {
      next: (): Promise<IteratorResult<T>> => {
        if (open && this.#unread.length > 0) {
          return Promise.resolve({ done: false, value: this.#unread.shift()! });
        }
        if (!open || this.#ended) {
          leave();
          return Promise.resolve({ done: true, value: undefined });
        }
        return new Promise((resolve) => this.#waiting.push(resolve));
      },
      return: (): Promise<IteratorResult<T>> => {
        leave();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}
