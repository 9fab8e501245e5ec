/**
 * Channels that a peer opened, in order, until somebody accepts them. No I/O.
 *
 * @module
 */

/** A bounded queue with waiting readers. */
export class AcceptQueue<T> {
  readonly #capacity: number;
  readonly #queue: T[] = [];
  readonly #waiting = new Set<(item: T | null) => void>();
  /** Places that are kept. */
  #kept = 0;
  #ended = false;

  /** Keeps at most `capacity` items; who adds looks at `isFull` first. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Whether no more fit. */
  get isFull(): boolean {
    return this.#queue.length + this.#kept >= this.#capacity;
  }

  /** Keeps a place for one that may come: what is returned adds that, or gives the place up for null. Its first call counts. */
  keepPlace(): (item: T | null) => void {
    let isKept = true;
    this.#kept++;
    return (item) => {
      if (!isKept) return;
      isKept = false;
      this.#kept--;
      if (item !== null) this.push(item);
    };
  }

  /** Adds one. */
  push(item: T): void {
    for (const reader of this.#waiting) return reader(item);
    this.#queue.push(item);
  }

  /** No more will come. */
  end(): void {
    this.#ended = true;
    for (const reader of [...this.#waiting]) reader(null);
  }

  /** The next one, or null at the end or when the signal aborts. */
  next(signal?: AbortSignal): Promise<T | null> {
    const item = this.#queue.shift();
    if (item !== undefined) return Promise.resolve(item);
    if (this.#ended || signal?.aborted) return Promise.resolve(null);
    return new Promise((resolve) => {
      const take = (item: T | null): void => {
        this.#waiting.delete(take);
        signal?.removeEventListener("abort", onAbort);
        resolve(item);
      };
      const onAbort = (): void => take(null);
      this.#waiting.add(take);
      signal?.addEventListener("abort", onAbort);
    });
  }
}
