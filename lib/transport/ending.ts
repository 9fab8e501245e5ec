/**
 * The end of one connection, as all its parts see it: it comes once, for one reason. No I/O.
 *
 * @module
 */
import { closedError, type End, reasonOf } from "./closing.ts";

/** The end of one connection: what reads, writes and closes asks whether it has come. */
export class Ending {
  #end: End | null = null;
  readonly #come = Promise.withResolvers<void>();

  /** How the connection has ended, or null while it has not. */
  get end(): End | null {
    return this.#end;
  }

  /** Whether the connection has ended: nothing is delivered or accepted any more. */
  get hasCome(): boolean {
    return this.#end !== null;
  }

  /** Resolves when the end has come, before anything is let go of. */
  get come(): Promise<void> {
    return this.#come.promise;
  }

  /** What whoever comes too late is told. */
  get closedError(): Error {
    return closedError(this.#end === null ? null : reasonOf(this.#end));
  }

  /** The end comes. To be called once. */
  take(end: End): void {
    this.#end = end;
    this.#come.resolve();
  }
}
