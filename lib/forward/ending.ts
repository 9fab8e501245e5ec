/**
 * The end of a connection, for those who have something to let go of then and may have done so before. No I/O.
 *
 * @module
 */
import { closedError } from "../transport/closing.ts";

/** Told of the end: null where it was a clean one. */
export type Watcher = (lost: { readonly error: unknown } | null) => void;

/** The end of one connection. */
export class Ending {
  readonly #watchers = new Set<Watcher>();
  #ended: { readonly lost: { readonly error: unknown } | null } | null = null;

  /** `closed` settles when the connection has ended, and rejects when it was lost. */
  constructor(closed: Promise<void>) {
    const end = (lost: { readonly error: unknown } | null): void => {
      this.#ended = { lost };
      const watchers = [...this.#watchers];
      this.#watchers.clear();
      for (const told of watchers) told(lost);
    };
    closed.then(() => end(null), (error) => end({ error }));
  }

  /** Throws where it has come: what would begin now would end at once. */
  throwIfEnded(): void {
    if (this.#ended !== null) throw this.#ended.lost === null ? closedError(null) : this.#ended.lost.error;
  }

  /** Tells of the end, a turn later where it has come already, unless what this returns is called before. */
  watch(told: Watcher): () => void {
    const ended = this.#ended;
    this.#watchers.add(told);
    if (ended !== null) queueMicrotask(() => this.#watchers.delete(told) && told(ended.lost));
    return () => void this.#watchers.delete(told);
  }
}
