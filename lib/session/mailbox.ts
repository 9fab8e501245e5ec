/**
 * Events waiting for a reader that may never come: bounded, the oldest is given up first. No I/O, no timers.
 *
 * @module
 */

/** A bounded queue read as an `AsyncIterable`; several readers share it, each event going to one of them. */
export class Mailbox<T> implements AsyncIterable<T> {
  readonly #capacity: number;
  readonly #unread: T[] = [];
  readonly #waiting = new Set<(result: IteratorResult<T>) => void>();
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
    for (const reader of this.#waiting) return reader({ done: false, value: event });
    if (this.#unread.length === this.#capacity) this.#unread.shift();
    this.#unread.push(event);
  }

  /** No more will come: readers get what is unread, then the end. */
  end(): void {
    this.#ended = true;
    for (const reader of [...this.#waiting]) reader({ done: true, value: undefined });
  }

  /** Reads events until the end. Who returns while he waits gets none: it is for those who still read. */
  [Symbol.asyncIterator](): AsyncIterator<T> {
    const own = new Set<(result: IteratorResult<T>) => void>();
    let open = true;
    this.#readers++;
    const leave = (): void => {
      if (open) this.#readers--;
      open = false;
      for (const reader of [...own]) reader({ done: true, value: undefined });
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
        return new Promise((resolve) => {
          const reader = (result: IteratorResult<T>): void => {
            this.#waiting.delete(reader);
            own.delete(reader);
            resolve(result);
          };
          this.#waiting.add(reader);
          own.add(reader);
        });
      },
      return: (): Promise<IteratorResult<T>> => {
        leave();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}
